/* weir/operators_join.h: WEIR_JOIN and WEIR_COGROUP. The condition says who meets, the mode says which half may be
 * NULL. weir_join(NAME, left keyed, right keyed, condition); weir_cross(NAME, left, right, condition) without keys. */
#ifndef WEIR_OPERATORS_JOIN_H
#define WEIR_OPERATORS_JOIN_H
#include <weir/loop.h>

/* ---- WEIR_JOIN(NAME, MODE, L, LEFT, R, RIGHT, U, OUT [, CTX]) ----------------------------------------------------
 *   INNER        neither is NULL                      LEFT_SEMI    once per left, with its first match
 *   LEFT_OUTER   right may be NULL                    LEFT_ANTI    right is always NULL
 *   RIGHT_OUTER  left may be NULL                     FULL_OUTER   one of them may be NULL
 * Outer results come when the watermark (or .ttl) says that no match can follow. */
#define WEIR_JOIN(NAME, MODE, L, LEFT, R, RIGHT, U, ...)                                                               \
    static inline void weir_user_##NAME(const L *, const R *, U##_out *, weir_ctx *);                                  \
    WEIR_LOOP_         weir_loop_##NAME(weir_ctx *c_)                                                                  \
    {                                                                                                                  \
        U##_out out_ = weir_load_##U(c_, true);                                                                        \
        WEIR_FOR_EACH_(NULL, weir_user_##NAME((const L *)c_->other[i_], (const R *)c_->right[i_], &out_, c_))          \
        WEIR_STORE_(c_, out_);                                                                                         \
    }                                                                                                                  \
    WEIR_OP_(NAME){                                                                                                    \
        WEIR_OP_IS_(JOIN, NAME, WEIR_OP_TRACKS).mode = WEIR_##MODE,                                                    \
        .outs = WEIR_OUTS_(U),                                                                                         \
        .left = &weir_type_##L,                                                                                        \
        .right = &weir_type_##R,                                                                                       \
        .out = weir_outs_##U,                                                                                          \
        .on_result = weir_loop_##NAME,                                                                                 \
    };                                                                                                                 \
    WEIR_JOIN_VERBS_(NAME, L, R, U)                                                                                    \
    static inline void weir_user_##NAME(const L *LEFT, WEIR_UNUSED_ const R *RIGHT, U##_out *WEIR_OUT_(__VA_ARGS__),   \
                                        WEIR_CTX_PARAM_(__VA_ARGS__))

/* ---- WEIR_COGROUP(NAME, L, LEFTS, R, RIGHTS, U, OUT [, CTX])     both sides' rows of a key and window ---- */
#define WEIR_COGROUP(NAME, L, LEFTS, R, RIGHTS, U, ...)                                                                \
    static inline void weir_user_##NAME(L##_rows *, R##_rows *, U##_out *, weir_ctx *);                                \
    WEIR_LOOP_         weir_loop_##NAME(weir_ctx *c_)                                                                  \
    {                                                                                                                  \
        U##_out out_ = weir_load_##U(c_, true);                                                                        \
        WEIR_FOR_EACH_(                                                                                                \
            NULL, weir_user_##NAME((L##_rows *)(void *)&c_->rows[i_], (R##_rows *)(void *)&c_->rows2[i_], &out_, c_))  \
        WEIR_STORE_(c_, out_);                                                                                         \
    }                                                                                                                  \
    WEIR_OP_(NAME){                                                                                                    \
        WEIR_OP_IS_(COGROUP, NAME, WEIR_OP_TRACKS).outs = WEIR_OUTS_(U),                                               \
        .left = &weir_type_##L,                                                                                        \
        .right = &weir_type_##R,                                                                                       \
        .out = weir_outs_##U,                                                                                          \
        .on_result = weir_loop_##NAME,                                                                                 \
    };                                                                                                                 \
    WEIR_JOIN_VERBS_(NAME, L, R, U)                                                                                    \
    static inline void weir_user_##NAME(L##_rows *LEFTS, R##_rows *RIGHTS, U##_out *WEIR_OUT_(__VA_ARGS__),            \
                                        WEIR_CTX_PARAM_(__VA_ARGS__))

#define WEIR_JOIN_VERBS_(NAME, L, R, U)                                                                                \
    WEIR_FN_ U##_stream weir_join_##NAME(L##_keyed left_, R##_keyed right_, weir_meet meet_, weir_state_options o_)    \
        WEIR_VERB_(NAME, U, x_.left = left_.handle.node; x_.right = right_.handle.node;                                \
                   x_.left_key = left_.handle.key; x_.right_key = right_.handle.key; x_.meet = meet_;)                 \
            WEIR_FN_ U##_stream weir_cross_##NAME(L##_stream left_, R##_stream right_, weir_meet meet_,                \
                                                  weir_state_options o_)                                               \
                WEIR_VERB_(NAME, U, x_.left = left_.handle.node; x_.right = right_.handle.node; x_.meet = meet_;)
#endif
