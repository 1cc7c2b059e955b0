/* weir/operators_window.h: WEIR_REDUCE, WEIR_AGGREGATE, WEIR_WINDOW, WEIR_UPDATE, WEIR_TRIGGER. A window says when,
 * a function says what. All take a T_windowed: weir_apply(NAME, weir_window(keyed, when)). */
#ifndef WEIR_OPERATORS_WINDOW_H
#define WEIR_OPERATORS_WINDOW_H
#include <weir/operators_keyed.h>

/* ---- WEIR_REDUCE(NAME, T, SO_FAR, IN)     folds two T into one, in place; associative. The result is that T ------
 * The accumulator owns its strings: one is copied when the fold has changed it. */
#define WEIR_REDUCE(NAME, T, SO_FAR, IN)                                                                               \
    WEIR_BODY_ void   weir_user_##NAME(T *, const T *);                                                                \
    WEIR_INLINE_ void weir_fold_##NAME(weir_ctx *c_, T *into_, const T *from_, bool fresh_)                            \
    {                                                                                                                  \
        if (!weir_strings_##T) {                                                                                       \
            if (fresh_)                                                                                                \
                *into_ = *from_;                                                                                       \
            else                                                                                                       \
                weir_user_##NAME(into_, from_);                                                                        \
            return;                                                                                                    \
        }                                                                                                              \
        T made_ = fresh_ ? *from_ : *into_;                                                                            \
        if (!fresh_) weir_user_##NAME(&made_, from_);                                                                  \
        if (!fresh_ && weir_same_strings_##T(&made_, into_))                                                           \
            *into_ = made_;                                                                                            \
        else                                                                                                           \
            weir_record_own(c_, &weir_type_##T, into_, &made_);                                                        \
    }                                                                                                                  \
    WEIR_LOOP_ weir_loop_##NAME(weir_ctx *c_)                                                                          \
    {                                                                                                                  \
        const bool owns_ = weir_strings_##T;                                                                           \
        const T   *in_ = (const T *)c_->in;                                                                            \
        WEIR_PICK_PASS_(owns_, {                                                                                       \
            weir_track_(c_, owns_, i_, c_->state[i_]);                                                                 \
            weir_fold_##NAME(c_, (T *)c_->state[i_], &in_[i_], c_->fresh[i_]);                                         \
        })                                                                                                             \
    }                                                                                                                  \
    WEIR_LOOP_ weir_near_loop_##NAME(weir_ctx *c_)                                                                     \
    {                                                                                                                  \
        const T *in_ = (const T *)c_->in;                                                                              \
        WEIR_NEAR_PASSES_(false, { weir_fold_##NAME(c_, (T *)state_, &in_[i_], false); })                              \
    }                                                                                                                  \
    WEIR_LOOP_ weir_merge_of_##NAME(weir_ctx *c_)                                                                      \
    {                                                                                                                  \
        WEIR_FOR_EACH_(c_->state[i_],                                                                                  \
                       weir_fold_##NAME(c_, (T *)c_->state[i_], (const T *)c_->other[i_], c_->fresh[i_]))              \
    }                                                                                                                  \
    WEIR_LOOP_ weir_result_of_##NAME(weir_ctx *c_)                                                                     \
    {                                                                                                                  \
        T##_out out_ = weir_load_##T(c_, true);                                                                        \
        WEIR_FOR_EACH_(c_->state[i_], T##_emit(&out_, *(const T *)c_->state[i_]))                                      \
        WEIR_STORE_(c_, out_);                                                                                         \
    }                                                                                                                  \
    WEIR_OP_(NAME){                                                                                                    \
        WEIR_OP_IS_(REDUCE, NAME, weir_strings_##T ? WEIR_OP_TRACKS : 0u).outs = 1,                                    \
        .left = &weir_type_##T,                                                                                        \
        .out = weir_outs_##T,                                                                                          \
        .state = &weir_type_##T,                                                                                       \
        .on_left = weir_loop_##NAME,                                                                                   \
        .on_near = weir_strings_##T ? NULL : weir_near_loop_##NAME,                                                    \
        .on_merge = weir_merge_of_##NAME,                                                                              \
        .on_result = weir_result_of_##NAME,                                                                            \
    };                                                                                                                 \
    WEIR_APPLY_WINDOWED_(NAME, T, T)                                                                                   \
    WEIR_BODY_ void weir_user_##NAME(T *SO_FAR, const T *IN)

/* ---- WEIR_AGGREGATE(NAME, T, IN, A, ACC, U, MERGE, RESULT [, RETRACT])     the body adds one record ----
 *   void MERGE(A *into, const A *from)
 *   void RESULT(const T *key, const A *acc, U_out *out, weir_ctx *ctx)     key: a T with only the key fields set
 *   void RETRACT(A *from, const A *leaving)     makes sliding windows cost the same at any length
 * The accumulator holds plain fields, so that it can be sliced, pre-aggregated and moved as bytes. It is all zero
 * before the key's first record.
 * The body may rely on this: *ACC has had records of this key only, each once. It must do nothing but change *ACC, by
 * what *IN and *ACC say: for speed it may run twice for a record, the first time on an empty accumulator that is thrown
 * away. What it counts or prints elsewhere may come twice, an assert may find *ACC empty; it has no ctx. */
#define WEIR_AGGREGATE(NAME, T, IN, A, ACC, U, MERGE, ...)                                                             \
    WEIR_CHECK_(!weir_cells_##A, "aggregate " #NAME ": an accumulator holds plain fields; for lists and texts use "    \
                                 "WEIR_WINDOW or WEIR_UPDATE")                                                         \
    WEIR_SIGNATURE_(MERGE, void, (A *, const A *),                                                                     \
                    "aggregate " #NAME ": must be void " #MERGE "(" #A " *into, const " #A " *from)")                  \
    WEIR_SIGNATURE_(WEIR_OUT_(__VA_ARGS__), void, (const T *, const A *, U##_out *, weir_ctx *),                       \
                    "aggregate " #NAME ": the result function must be void (const " #T " *key, const " #A " *acc, " #U \
                    "_out *out, weir_ctx *ctx)")                                                                       \
    WEIR_BODY_ void weir_user_##NAME(const T *, A *);                                                                  \
    WEIR_LOOP_      weir_loop_##NAME(weir_ctx *c_)                                                                     \
    {                                                                                                                  \
        const T     *in_ = (const T *)c_->in;                                                                          \
        void *const *state_ = c_->state;                                                                               \
        WEIR_PICK_PASS_(false, { weir_user_##NAME(&in_[i_], (A *)state_[i_]); })                                       \
    }                                                                                                                  \
    WEIR_LOOP_ weir_near_loop_##NAME(weir_ctx *c_)                                                                     \
    {                                                                                                                  \
        const T *in_ = (const T *)c_->in;                                                                              \
        WEIR_NEAR_BLIND_PASSES_(A, { weir_user_##NAME(&in_[i_], (A *)state_); })                                       \
    }                                                                                                                  \
    WEIR_LOOP_ weir_merge_of_##NAME(weir_ctx *c_)                                                                      \
    {                                                                                                                  \
        WEIR_FOR_EACH_(c_->state[i_], MERGE((A *)c_->state[i_], (const A *)c_->other[i_]))                             \
    }                                                                                                                  \
    WEIR_LOOP_ weir_result_of_##NAME(weir_ctx *c_)                                                                     \
    {                                                                                                                  \
        const T *key_ = (const T *)c_->key;                                                                            \
        U##_out  out_ = weir_load_##U(c_, true);                                                                       \
        WEIR_FOR_EACH_(c_->state[i_], WEIR_OUT_(__VA_ARGS__)(&key_[i_], (const A *)c_->state[i_], &out_, c_))          \
        WEIR_STORE_(c_, out_);                                                                                         \
    }                                                                                                                  \
    WEIR_CAT_(WEIR_RETRACT_, WEIR_COUNT_(__VA_ARGS__))                                                                 \
    (NAME, A, __VA_ARGS__) WEIR_OP_(NAME){                                                                             \
        WEIR_OP_IS_(AGGREGATE, NAME, 0u).outs = WEIR_OUTS_(U),                                                         \
        .left = &weir_type_##T,                                                                                        \
        .out = weir_outs_##U,                                                                                          \
        .state = &weir_type_##A,                                                                                       \
        .on_left = weir_loop_##NAME,                                                                                   \
        .on_near = weir_near_loop_##NAME,                                                                              \
        .on_merge = weir_merge_of_##NAME,                                                                              \
        .on_retract = WEIR_CAT_(WEIR_RETRACT_OF_, WEIR_COUNT_(__VA_ARGS__))(NAME),                                     \
        .on_result = weir_result_of_##NAME,                                                                            \
    };                                                                                                                 \
    WEIR_APPLY_WINDOWED_(NAME, T, U)                                                                                   \
    WEIR_BODY_ void weir_user_##NAME(WEIR_UNUSED_ const T *IN, A *ACC)
#define WEIR_RETRACT_1(NAME, A, RESULT)
#define WEIR_RETRACT_2(NAME, A, RESULT, RETRACT)                                                                       \
    WEIR_SIGNATURE_(RETRACT, void, (A *, const A *),                                                                   \
                    "aggregate " #NAME ": must be void " #RETRACT "(" #A " *from, const " #A " *leaving)")             \
    WEIR_LOOP_ weir_retract_of_##NAME(weir_ctx *c_)                                                                    \
    {                                                                                                                  \
        WEIR_FOR_EACH_(c_->state[i_], RETRACT((A *)c_->state[i_], (const A *)c_->other[i_]))                           \
    }
#define WEIR_RETRACT_OF_1(NAME) NULL
#define WEIR_RETRACT_OF_2(NAME) weir_retract_of_##NAME

/* ---- WEIR_WINDOW(NAME, T, ROWS, U, OUT [, CTX])     all rows of one window at once -------------------------------
 * T_next(ROWS) walks them; weir_window_of(ctx) says from when to when. */
#define WEIR_WINDOW(NAME, T, ROWS, U, ...)                                                                             \
    WEIR_BODY_ void weir_user_##NAME(T##_rows *, U##_out *, weir_ctx *);                                               \
    WEIR_LOOP_      weir_loop_##NAME(weir_ctx *c_)                                                                     \
    {                                                                                                                  \
        U##_out out_ = weir_load_##U(c_, true);                                                                        \
        WEIR_FOR_EACH_(NULL, weir_user_##NAME((T##_rows *)(void *)&c_->rows[i_], &out_, c_))                           \
        WEIR_STORE_(c_, out_);                                                                                         \
    }                                                                                                                  \
    WEIR_OP_(NAME){                                                                                                    \
        WEIR_OP_IS_(WINDOW, NAME, WEIR_OP_TRACKS).outs = WEIR_OUTS_(U),                                                \
        .left = &weir_type_##T,                                                                                        \
        .out = weir_outs_##U,                                                                                          \
        .on_result = weir_loop_##NAME,                                                                                 \
    };                                                                                                                 \
    WEIR_APPLY_WINDOWED_(NAME, T, U)                                                                                   \
    WEIR_BODY_ void weir_user_##NAME(T##_rows *ROWS, U##_out *WEIR_OUT_(__VA_ARGS__), WEIR_CTX_PARAM_(__VA_ARGS__))

/* ---- WEIR_UPDATE(NAME, T, KEY, ROWS, S, ST, U, OUT [, CTX])     as WEIR_WINDOW, with a state that stays ----
 * Runs for all known keys, also those without rows: Spark's updateStateByKey. weir_forget(ctx) drops the key. */
#define WEIR_UPDATE(NAME, T, KEY, ROWS, S, ST, U, ...)                                                                 \
    WEIR_CHECK_(!weir_timers_##S,                                                                                      \
                "operator " #NAME ": WEIR_UPDATE runs at every window end; state " #S " needs no timers")              \
    WEIR_BODY_ void weir_user_##NAME(const T *, T##_rows *, S *, U##_out *, weir_ctx *);                               \
    WEIR_LOOP_      weir_loop_##NAME(weir_ctx *c_)                                                                     \
    {                                                                                                                  \
        const T *key_ = (const T *)c_->key;                                                                            \
        U##_out  out_ = weir_load_##U(c_, true);                                                                       \
        WEIR_FOR_EACH_(c_->state[i_],                                                                                  \
                       weir_user_##NAME(&key_[i_], (T##_rows *)(void *)&c_->rows[i_], (S *)c_->state[i_], &out_, c_))  \
        WEIR_STORE_(c_, out_);                                                                                         \
    }                                                                                                                  \
    WEIR_OP_(NAME){                                                                                                    \
        WEIR_OP_IS_(UPDATE, NAME, WEIR_OP_TRACKS).outs = WEIR_OUTS_(U),                                                \
        .left = &weir_type_##T,                                                                                        \
        .out = weir_outs_##U,                                                                                          \
        .state = &weir_type_##S,                                                                                       \
        .on_result = weir_loop_##NAME,                                                                                 \
    };                                                                                                                 \
    WEIR_APPLY_WINDOWED_(NAME, T, U)                                                                                   \
    WEIR_BODY_ void weir_user_##NAME(WEIR_UNUSED_ const T *KEY, T##_rows *ROWS, S *ST,                                 \
                                     U##_out *WEIR_OUT_(__VA_ARGS__), WEIR_CTX_PARAM_(__VA_ARGS__))

/* ---- WEIR_TRIGGER(NAME, T, IN, S, ST, CTX [, ON_TIMER])     weir_fire: after each record -------------------------
 *   weir_fire ON_TIMER(S *st, weir_ctx *ctx)
 * Use: .trigger = weir_own_trigger(NAME). */
#define WEIR_TRIGGER(NAME, T, IN, S, ST, ...)                                                                          \
    static inline weir_fire weir_user_##NAME(const T *, S *, weir_ctx *);                                              \
    WEIR_LOOP_              weir_loop_##NAME(weir_ctx *c_)                                                             \
    {                                                                                                                  \
        const T *in_ = (const T *)c_->in;                                                                              \
        WEIR_FOR_EACH_(c_->state[i_], c_->verdict[i_] = (uint32_t)weir_user_##NAME(&in_[i_], (S *)c_->state[i_], c_))  \
    }                                                                                                                  \
    WEIR_CAT_(WEIR_TRIGGER_TIMER_, WEIR_COUNT_(__VA_ARGS__))                                                           \
    (NAME, S, __VA_ARGS__) WEIR_UNUSED_ static const weir_trigger_def weir_trigger_##NAME = {                          \
        .record = &weir_type_##T,                                                                                      \
        .state = &weir_type_##S,                                                                                       \
        .on_record = weir_loop_##NAME,                                                                                 \
        .on_timer = WEIR_CAT_(WEIR_TRIGGER_TIMER_OF_, WEIR_COUNT_(__VA_ARGS__))(NAME),                                 \
        .name = #NAME,                                                                                                 \
    };                                                                                                                 \
    static inline weir_fire weir_user_##NAME(const T *IN, S *ST, WEIR_UNUSED_ weir_ctx *WEIR_OUT_(__VA_ARGS__))
#define WEIR_TRIGGER_TIMER_1(NAME, S, CTX) WEIR_NO_TIMER_(NAME, S)
#define WEIR_TRIGGER_TIMER_2(NAME, S, CTX, ON_TIMER)                                                                   \
    WEIR_SIGNATURE_(ON_TIMER, weir_fire, (S *, weir_ctx *),                                                            \
                    "trigger " #NAME ": must be weir_fire " #ON_TIMER "(" #S " *state, weir_ctx *ctx)")                \
    WEIR_LOOP_ weir_trigger_timer_##NAME(weir_ctx *c_)                                                                 \
    {                                                                                                                  \
        WEIR_FOR_EACH_(c_->state[i_], c_->verdict[i_] = (uint32_t)ON_TIMER((S *)c_->state[i_], c_))                    \
    }
#define WEIR_TRIGGER_TIMER_OF_1(NAME) NULL
#define WEIR_TRIGGER_TIMER_OF_2(NAME) weir_trigger_timer_##NAME
#endif
