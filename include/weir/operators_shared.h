/* weir/operators_shared.h: WEIR_SHARED with WEIR_FLAT_MAP_SHARED or WEIR_KEYED_SHARED: broadcast state, a small
 * table that every subtask has whole.
 *
 *   WEIR_SHARED(NAME, R, IN, B, SH [, CTX]) {...}    first; on every subtask for every R, in one order: write *SH, be
 *                                                    deterministic
 * then, with the same NAME, one of
 *   WEIR_FLAT_MAP_SHARED(NAME, T, IN, B, SH, U, OUT [, CTX])                       SH is const: enrichment
 *   WEIR_KEYED_SHARED(NAME, T, IN, S, ST, B, SH, U, OUT [, CTX [, ON_TIMER]])      SH is const: rules
 * weir_connect(NAME, main, broadcast): the second stream is broadcast because the operator says so. */
#ifndef WEIR_OPERATORS_SHARED_H
#define WEIR_OPERATORS_SHARED_H
#include <weir/operators_keyed.h>

#define WEIR_SHARED(NAME, R, IN, B, ...)                                                                               \
    typedef R          weir_SHARED_of_this_name_must_stand_before_##NAME;                                              \
    typedef B          weir_shared_##NAME;                                                                             \
    typedef R##_stream weir_shared_stream_##NAME;                                                                      \
    WEIR_COPY_TYPE_(weir_shared_type_##NAME, R)                                                                        \
    static inline void weir_user_shared_##NAME(const R *, B *, weir_ctx *);                                            \
    WEIR_LOOP_         weir_loop_shared_##NAME(weir_ctx *c_)                                                           \
    {                                                                                                                  \
        const R *in_ = (const R *)c_->in;                                                                              \
        WEIR_FOR_EACH_(c_->state[0], weir_user_shared_##NAME(&in_[i_], (B *)c_->state[0], c_))                         \
    }                                                                                                                  \
    static inline void weir_user_shared_##NAME(const R *IN, B *WEIR_OUT_(__VA_ARGS__), WEIR_CTX_PARAM_(__VA_ARGS__))

#define WEIR_SHARED_CHECK_(NAME, B)                                                                                    \
    typedef weir_SHARED_of_this_name_must_stand_before_##NAME weir_has_shared_##NAME;                                  \
    WEIR_CHECK_(WEIR_SAME_(weir_shared_##NAME, B), "operator " #NAME ": WEIR_SHARED fills another state than " #B)

#define WEIR_FLAT_MAP_SHARED(NAME, T, IN, B, SH, U, ...)                                                               \
    WEIR_SHARED_CHECK_(NAME, B)                                                                                        \
    static inline void weir_user_##NAME(const T *, const B *, U##_out *, weir_ctx *);                                  \
    WEIR_LOOP_         weir_loop_##NAME(weir_ctx *c_)                                                                  \
    {                                                                                                                  \
        const T *in_ = (const T *)c_->in;                                                                              \
        const B *shared_ = (const B *)c_->shared;                                                                      \
        U##_out  out_ = weir_load_##U(c_, true);                                                                       \
        WEIR_FOR_EACH_(NULL, weir_user_##NAME(&in_[i_], shared_, &out_, c_))                                           \
        WEIR_STORE_(c_, out_);                                                                                         \
    }                                                                                                                  \
    WEIR_OP_(NAME){                                                                                                    \
        WEIR_OP_IS_(FLAT_MAP_SHARED, NAME, WEIR_OP_TRACKS).outs = WEIR_OUTS_(U),                                       \
        .left = &weir_type_##T,                                                                                        \
        .right = &weir_shared_type_##NAME,                                                                             \
        .out = weir_outs_##U,                                                                                          \
        .shared = &weir_type_##B,                                                                                      \
        .on_left = weir_loop_##NAME,                                                                                   \
        .on_right = weir_loop_shared_##NAME,                                                                           \
    };                                                                                                                 \
    typedef weir_options weir_options_of_##NAME;                                                                       \
    WEIR_FN_ U##_stream weir_connect_##NAME(T##_stream left_, weir_shared_stream_##NAME right_, weir_options o_)       \
        WEIR_VERB_(NAME, U, x_.left = left_.handle.node; x_.right = right_.handle.node;) static inline void            \
            weir_user_##NAME(const T *IN, const B *SH, U##_out *WEIR_OUT_(__VA_ARGS__), WEIR_CTX_PARAM_(__VA_ARGS__))

#define WEIR_KEYED_SHARED(NAME, T, IN, S, ST, B, SH, U, ...)                                                           \
    WEIR_SHARED_CHECK_(NAME, B)                                                                                        \
    static inline void weir_user_##NAME(const T *, S *, const B *, U##_out *, weir_ctx *);                             \
    WEIR_LOOP_         weir_loop_##NAME(weir_ctx *c_)                                                                  \
    {                                                                                                                  \
        const T *in_ = (const T *)c_->in;                                                                              \
        const B *shared_ = (const B *)c_->shared;                                                                      \
        U##_out  out_ = weir_load_##U(c_, true);                                                                       \
        WEIR_PICK_PASS_(true, {                                                                                        \
            weir_track_(c_, true, i_, c_->state[i_]);                                                                  \
            weir_user_##NAME(&in_[i_], (S *)c_->state[i_], shared_, &out_, c_);                                        \
        })                                                                                                             \
        WEIR_STORE_(c_, out_);                                                                                         \
    }                                                                                                                  \
    WEIR_TIMER_LOOP_(NAME, T, S, U, __VA_ARGS__)                                                                       \
    WEIR_OP_(NAME){                                                                                                    \
        WEIR_OP_IS_(KEYED_SHARED, NAME, WEIR_OP_TRACKS).outs = WEIR_OUTS_(U),                                          \
        .left = &weir_type_##T,                                                                                        \
        .right = &weir_shared_type_##NAME,                                                                             \
        .out = weir_outs_##U,                                                                                          \
        .state = &weir_type_##S,                                                                                       \
        .shared = &weir_type_##B,                                                                                      \
        .on_left = weir_loop_##NAME,                                                                                   \
        .on_right = weir_loop_shared_##NAME,                                                                           \
        .on_timer = WEIR_TIMER_OF_(NAME, __VA_ARGS__),                                                                 \
    };                                                                                                                 \
    typedef weir_state_options weir_options_of_##NAME;                                                                 \
    WEIR_FN_ U##_stream weir_connect_##NAME(T##_keyed left_, weir_shared_stream_##NAME right_, weir_state_options o_)  \
        WEIR_VERB_(                                                                                                    \
            NAME, U, x_.left = left_.handle.node; x_.right = right_.handle.node;                                       \
            x_.left_key = left_.handle.key;) static inline void weir_user_##NAME(const T *IN, S *ST, const B *SH,      \
                                                                                 U##_out *WEIR_OUT_(__VA_ARGS__),      \
                                                                                 WEIR_CTX_PARAM_(__VA_ARGS__))
#endif
