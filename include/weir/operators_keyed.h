/* weir/operators_keyed.h: WEIR_KEYED and WEIR_KEYED_READ, WEIR_LEFT and WEIR_RIGHT with their _READ forms: state per
 * key.
 *
 * The engine finds or creates the states of a batch before it calls the loop; state[i] belongs to record i. Where it
 * keeps a lookaside it calls the near loop first, which finds the state of hot keys itself, and then on_left with
 * the misses. */
#ifndef WEIR_OPERATORS_KEYED_H
#define WEIR_OPERATORS_KEYED_H
#include <weir/loop.h>

/* ---- WEIR_KEYED(NAME, T, IN, S, ST, U, OUT [, CTX [, ON_TIMER]])     ST: this key's state, zeroed at first -------
 *   void ON_TIMER(const T *key, S *st, U_out *out, weir_ctx *ctx)     key: a T in which only the key fields are set
 * Flink's process function, Spark's mapWithState and the plain stateful map are all this. weir_apply(NAME, keyed
 * stream). */
#define WEIR_KEYED(NAME, T, IN, S, ST, U, ...)                                                                         \
    WEIR_KEYED_(NAME, T, S, S, U, 0u, __VA_ARGS__)                                                                     \
    WEIR_TIMER_LOOP_(NAME, T, S, U, __VA_ARGS__)                                                                       \
    WEIR_KEYED_OP_(NAME, T, S, U, 0u, __VA_ARGS__)                                                                     \
    WEIR_BODY_ void weir_user_##NAME(const T *IN, S *ST, U##_out *WEIR_OUT_(__VA_ARGS__), WEIR_CTX_PARAM_(__VA_ARGS__))

/* ---- WEIR_KEYED_READ(NAME, T, IN, S, ST, U, OUT [, CTX])     ST is const, and NULL for a key that has no state ----
 * Creates no entry and marks nothing for the snapshot. */
#define WEIR_KEYED_READ(NAME, T, IN, S, ST, U, ...)                                                                    \
    WEIR_NO_TIMER_(NAME, S)                                                                                            \
    WEIR_KEYED_(NAME, T, S, const S, U, WEIR_OP_READS, __VA_ARGS__)                                                    \
    WEIR_KEYED_OP_(NAME, T, S, U, WEIR_OP_READS, __VA_ARGS__)                                                          \
    WEIR_BODY_ void weir_user_##NAME(const T *IN, const S *ST, U##_out *WEIR_OUT_(__VA_ARGS__),                        \
                                     WEIR_CTX_PARAM_(__VA_ARGS__))

/* The loops of a keyed function. STATE is S or const S. */
#define WEIR_KEYED_(NAME, T, S, STATE, U, FLAGS, ...)                                                                  \
    WEIR_BODY_ void weir_user_##NAME(const T *, STATE *, U##_out *, weir_ctx *);                                       \
    WEIR_LOOP_      weir_loop_##NAME(weir_ctx *c_)                                                                     \
    {                                                                                                                  \
        const bool tracks_ = WEIR_TRACKS_(__VA_ARGS__);                                                                \
        const T   *in_ = (const T *)c_->in;                                                                            \
        WEIR_TWICE_({                                                                                                  \
            U##_out out_ = weir_load_##U(c_, timed_);                                                                  \
            WEIR_PICK_PASS_(tracks_, {                                                                                 \
                STATE *state_ = (STATE *)c_->state[i_];                                                                \
                weir_locate_(c_, timed_, i_);                                                                          \
                weir_track_(c_, tracks_, i_, c_->state[i_]);                                                           \
                weir_user_##NAME(&in_[i_], state_, &out_, c_);                                                         \
            })                                                                                                         \
            WEIR_STORE_(c_, out_);                                                                                     \
        })                                                                                                             \
    }                                                                                                                  \
    WEIR_LOOP_ weir_near_loop_##NAME(weir_ctx *c_)                                                                     \
    {                                                                                                                  \
        const bool tracks_ = WEIR_TRACKS_(__VA_ARGS__);                                                                \
        const T   *in_ = (const T *)c_->in;                                                                            \
        U##_out    out_ = weir_load_##U(c_, true);                                                                     \
        WEIR_NEAR_PASSES_(tracks_, {                                                                                   \
            weir_locate_(c_, true, i_);                                                                                \
            weir_track_(c_, tracks_, i_, state_);                                                                      \
            weir_user_##NAME(&in_[i_], (STATE *)state_, &out_, c_);                                                    \
        })                                                                                                             \
        WEIR_STORE_(c_, out_);                                                                                         \
    }

#define WEIR_KEYED_OP_(NAME, T, S, U, FLAGS, ...)                                                                      \
    WEIR_OP_(NAME){                                                                                                    \
        WEIR_OP_IS_(KEYED, NAME, (FLAGS) | WEIR_TRACKS_FLAG_(__VA_ARGS__)).outs = WEIR_OUTS_(U),                       \
        .left = &weir_type_##T,                                                                                        \
        .out = weir_outs_##U,                                                                                          \
        .state = &weir_type_##S,                                                                                       \
        .on_left = weir_loop_##NAME,                                                                                   \
        .on_near = weir_near_loop_##NAME,                                                                              \
        .on_timer = WEIR_TIMER_OF_(NAME, __VA_ARGS__),                                                                 \
    };                                                                                                                 \
    WEIR_APPLY_KEYED_(NAME, T, U)

/* ---- timers: a function if and only if the state has some -------------------------------------------------------- */
#define WEIR_TIMER_LOOP_(NAME, T, S, U, ...)                                                                           \
    WEIR_CAT_(WEIR_TIMER_LOOP_, WEIR_COUNT_(__VA_ARGS__))(NAME, T, S, U, __VA_ARGS__)
#define WEIR_TIMER_LOOP_1(NAME, T, S, U, OUT)      WEIR_NO_TIMER_(NAME, S)
#define WEIR_TIMER_LOOP_2(NAME, T, S, U, OUT, CTX) WEIR_NO_TIMER_(NAME, S)
#define WEIR_NO_TIMER_(NAME, S)                                                                                        \
    WEIR_CHECK_(!weir_timers_##S, "operator " #NAME ": state " #S " has timers: name the timer function last: ..., "   \
                                  "out, ctx, on_timer")
#define WEIR_TIMER_LOOP_3(NAME, T, S, U, OUT, CTX, ON_TIMER)                                                           \
    WEIR_CHECK_(weir_timers_##S, "operator " #NAME ": " #ON_TIMER " would never run: state " #S " has no "             \
                                 "weir_event_timer or weir_clock_timer")                                               \
    WEIR_SIGNATURE_(ON_TIMER, void, (const T *, S *, U##_out *, weir_ctx *),                                           \
                    "operator " #NAME ": must be void " #ON_TIMER "(const " #T " *key, " #S " *state, " #U             \
                    "_out *out, weir_ctx *ctx)")                                                                       \
    WEIR_LOOP_ weir_timer_of_##NAME(weir_ctx *c_)                                                                      \
    {                                                                                                                  \
        const T *key_ = (const T *)c_->key;                                                                            \
        U##_out  out_ = weir_load_##U(c_, true);                                                                       \
        WEIR_FOR_EACH_(c_->state[i_], ON_TIMER(&key_[i_], (S *)c_->state[i_], &out_, c_))                              \
        WEIR_STORE_(c_, out_);                                                                                         \
    }
#define WEIR_TIMER_OF_(NAME, ...) WEIR_CAT_(WEIR_TIMER_OF_, WEIR_COUNT_(__VA_ARGS__))(NAME)
#define WEIR_TIMER_OF_1(NAME)     NULL
#define WEIR_TIMER_OF_2(NAME)     NULL
#define WEIR_TIMER_OF_3(NAME)     weir_timer_of_##NAME

/* ---- two inputs, one state per key -------------------------------------------------------------------------------
 *   WEIR_LEFT (NAME, L, IN, S, ST, U, OUT [, CTX]) {...}                   first
 *   WEIR_RIGHT(NAME, R, IN, S, ST, U, OUT [, CTX [, ON_TIMER]]) {...}      then, with the same NAME
 * WEIR_LEFT_READ and WEIR_RIGHT_READ: ST is const, and NULL for a key that has no state. weir_connect(NAME, left
 * keyed, right keyed). The timer's key is an L. */
#define WEIR_LEFT(NAME, L, IN, S, ST, U, ...)                                                                          \
    WEIR_LEFT_(NAME, L, S, S, U, 0u, __VA_ARGS__)                                                                      \
    WEIR_BODY_ void weir_user_left_##NAME(const L *IN, S *ST, U##_out *WEIR_OUT_(__VA_ARGS__),                         \
                                          WEIR_CTX_PARAM_(__VA_ARGS__))
#define WEIR_LEFT_READ(NAME, L, IN, S, ST, U, ...)                                                                     \
    WEIR_LEFT_(NAME, L, S, const S, U, WEIR_OP_READS, __VA_ARGS__)                                                     \
    WEIR_BODY_ void weir_user_left_##NAME(const L *IN, const S *ST, U##_out *WEIR_OUT_(__VA_ARGS__),                   \
                                          WEIR_CTX_PARAM_(__VA_ARGS__))
#define WEIR_RIGHT(NAME, R, IN, S, ST, U, ...)                                                                         \
    WEIR_RIGHT_CHECK_(NAME, S, U)                                                                                      \
    WEIR_SIDE_LOOP_(NAME, right, R, S, U, __VA_ARGS__)                                                                 \
    WEIR_TIMER_LOOP_(NAME, weir_left_##NAME, S, U, __VA_ARGS__)                                                        \
    WEIR_RIGHT_OP_(NAME, R, S, U, 0u, WEIR_TIMER_OF_(NAME, __VA_ARGS__), __VA_ARGS__)                                  \
    WEIR_BODY_ void weir_user_right_##NAME(const R *IN, S *ST, U##_out *WEIR_OUT_(__VA_ARGS__),                        \
                                           WEIR_CTX_PARAM_(__VA_ARGS__))
#define WEIR_RIGHT_READ(NAME, R, IN, S, ST, U, ...)                                                                    \
    WEIR_RIGHT_CHECK_(NAME, S, U)                                                                                      \
    WEIR_SIDE_LOOP_(NAME, right, R, const S, U, __VA_ARGS__)                                                           \
    WEIR_TIMER_LOOP_(NAME, weir_left_##NAME, S, U, __VA_ARGS__)                                                        \
    WEIR_RIGHT_OP_(NAME, R, S, U, WEIR_OP_READS_RIGHT, WEIR_TIMER_OF_(NAME, __VA_ARGS__), __VA_ARGS__)                 \
    WEIR_BODY_ void weir_user_right_##NAME(const R *IN, const S *ST, U##_out *WEIR_OUT_(__VA_ARGS__),                  \
                                           WEIR_CTX_PARAM_(__VA_ARGS__))

#define WEIR_LEFT_(NAME, L, S, STATE, U, FLAGS, ...)                                                                   \
    typedef L         weir_LEFT_of_this_name_must_stand_before_RIGHT_##NAME;                                           \
    typedef L         weir_left_##NAME;                                                                                \
    typedef S         weir_left_state_##NAME;                                                                          \
    typedef U##_out   weir_left_out_##NAME;                                                                            \
    typedef L##_keyed weir_left_keyed_##NAME;                                                                          \
    enum { weir_left_flags_##NAME = (FLAGS) | WEIR_TRACKS_FLAG_(__VA_ARGS__) };                                        \
    WEIR_COPY_TYPE_(weir_left_type_##NAME, L)                                                                          \
    WEIR_SIDE_LOOP_(NAME, left, L, STATE, U, __VA_ARGS__)

/* One side's loop: as that of WEIR_KEYED, but without lookaside. */
#define WEIR_SIDE_LOOP_(NAME, SIDE, T, STATE, U, ...)                                                                  \
    WEIR_BODY_ void weir_user_##SIDE##_##NAME(const T *, STATE *, U##_out *, weir_ctx *);                              \
    WEIR_LOOP_      weir_loop_##SIDE##_##NAME(weir_ctx *c_)                                                            \
    {                                                                                                                  \
        const bool tracks_ = WEIR_TRACKS_(__VA_ARGS__);                                                                \
        const T   *in_ = (const T *)c_->in;                                                                            \
        U##_out    out_ = weir_load_##U(c_, true);                                                                     \
        WEIR_PICK_PASS_(tracks_, {                                                                                     \
            weir_track_(c_, true, i_, c_->state[i_]);                                                                  \
            weir_user_##SIDE##_##NAME(&in_[i_], (STATE *)c_->state[i_], &out_, c_);                                    \
        })                                                                                                             \
        WEIR_STORE_(c_, out_);                                                                                         \
    }

#define WEIR_RIGHT_CHECK_(NAME, S, U)                                                                                  \
    typedef weir_LEFT_of_this_name_must_stand_before_RIGHT_##NAME weir_has_left_##NAME;                                \
    WEIR_CHECK_(WEIR_SAME_(weir_left_state_##NAME, S),                                                                 \
                "operator " #NAME ": WEIR_LEFT and WEIR_RIGHT share one state; this one says " #S)                     \
    WEIR_CHECK_(WEIR_SAME_(weir_left_out_##NAME, U##_out),                                                             \
                "operator " #NAME ": WEIR_LEFT and WEIR_RIGHT share one output; this one says " #U)

#define WEIR_RIGHT_OP_(NAME, R, S, U, FLAGS, ON_TIMER, ...)                                                            \
    WEIR_OP_(NAME){                                                                                                    \
        WEIR_OP_IS_(CO_KEYED, NAME, (FLAGS) | weir_left_flags_##NAME | WEIR_TRACKS_FLAG_(__VA_ARGS__)).outs =          \
            WEIR_OUTS_(U),                                                                                             \
        .left = &weir_left_type_##NAME,                                                                                \
        .right = &weir_type_##R,                                                                                       \
        .out = weir_outs_##U,                                                                                          \
        .state = &weir_type_##S,                                                                                       \
        .on_left = weir_loop_left_##NAME,                                                                              \
        .on_right = weir_loop_right_##NAME,                                                                            \
        .on_timer = ON_TIMER,                                                                                          \
    };                                                                                                                 \
    typedef weir_state_options weir_options_of_##NAME;                                                                 \
    WEIR_FN_ U##_stream weir_connect_##NAME(weir_left_keyed_##NAME left_, R##_keyed right_, weir_state_options o_)     \
        WEIR_VERB_(NAME, U, x_.left = left_.handle.node; x_.right = right_.handle.node;                                \
                   x_.left_key = left_.handle.key; x_.right_key = right_.handle.key;)
#endif
