/* weir/loop.h: what the loops and descriptors of all operators are made of. Nothing here is for pipeline authors. */
#ifndef WEIR_LOOP_H
#define WEIR_LOOP_H
#include <weir/record.h>

/* ---- "OUT [, CTX [, ON_TIMER]]": what ends the argument list of an operator macro -------------------------------- */
#define WEIR_OUT_(...)            WEIR_FIRST2_(__VA_ARGS__, )
#define WEIR_CTX_(...)            WEIR_CTX2_(__VA_ARGS__, weir_no_ctx_, )
#define WEIR_CTX2_(OUT, CTX, ...) CTX
#define WEIR_CTX_PARAM_(...)      WEIR_UNUSED_ weir_ctx *WEIR_CTX_(__VA_ARGS__)
/* true when a CTX is named: then the loop says which record is in user code, and stops after weir_fail. */
#define WEIR_TRACKS_(...)      WEIR_CAT_(WEIR_TRACKS_, WEIR_COUNT_(__VA_ARGS__))
#define WEIR_TRACKS_1          false
#define WEIR_TRACKS_2          true
#define WEIR_TRACKS_3          true
#define WEIR_TRACKS_FLAG_(...) (WEIR_TRACKS_(__VA_ARGS__) ? WEIR_OP_TRACKS : 0u)

/* Which record is in user code now; volatile, because a crash handler reads it. Costs nothing where `tracks` is
 * false. */
WEIR_INLINE_ void weir_track_(weir_ctx *c, bool tracks, uint32_t i, void *state)
{
    if (!tracks) return;
    *(volatile uint32_t *)&c->at = i;
    *(void *volatile *)&c->current = state;
}
/* For event time, which emitters look up by the index: only where there is any. */
WEIR_INLINE_ void weir_locate_(weir_ctx *c, bool timed, uint32_t i)
{
    if (timed) c->at = i;
}
WEIR_INLINE_ bool weir_stopped_(const weir_ctx *c, bool tracks)
{
    return tracks && WEIR_RARE_(c->failed != 0);
}

/* The block twice, with `timed_` a constant: jobs without event time pay nothing for it. */
#define WEIR_TWICE_(...)                                                                                               \
    if (!c_->out->time) {                                                                                              \
        const bool timed_ = false;                                                                                     \
        __VA_ARGS__                                                                                                    \
    } else {                                                                                                           \
        const bool timed_ = true;                                                                                      \
        __VA_ARGS__                                                                                                    \
    }

/* For all i_ below n: says where it is, runs the statement, stops after weir_fail. For loops that are not hot. */
#define WEIR_FOR_EACH_(STATE, ...)                                                                                     \
    for (uint32_t i_ = 0, n_ = c_->n; i_ < n_; i_++) {                                                                 \
        weir_track_(c_, true, i_, STATE);                                                                              \
        __VA_ARGS__;                                                                                                   \
        if (weir_stopped_(c_, true)) break;                                                                            \
    }

/* ---- lookaside: the state of record `at`, or NULL for a miss ----------------------------------------------------- */
WEIR_INLINE_ void *weir_near8_find_(const weir_near *near, const weir_near8 *line, const char *record)
{
    uint64_t          key = weir_load64_(record + near->offset) & near->mask;
    const weir_near8 *at = &line[(key * WEIR_NEAR_MIX) >> near->shift];
    return WEIR_LIKELY_(at->key == key) ? at->state : NULL;
}

/* A line only holds inline strings, and their length is part of `lo`: a long key never matches. */
WEIR_INLINE_ void *weir_near16_find_(const weir_near *near, const weir_near16 *line, const char *record)
{
    uint64_t           lo = weir_load64_(record + near->offset), hi = weir_load64_(record + near->offset + 8);
    const weir_near16 *at = &line[((lo ^ hi * WEIR_NEAR_MIX) * WEIR_NEAR_MIX) >> near->shift];
    return WEIR_LIKELY_(at->lo == lo && at->hi == hi) ? at->state : NULL;
}

/* `same` where `differs` is 0, else `other`. Compilers make a branch of a plain condition; here it would be
 * mispredicted. */
WEIR_INLINE_ void *weir_select_(uint64_t differs, void *same, void *other)
{
#if defined(__x86_64__)
    __asm__("test %1, %1\n\tcmovne %2, %0" : "+r"(same) : "r"(differs), "r"(other) : "cc");
    return same;
#else
    uintptr_t take = 0 - (uintptr_t)(differs != 0);
    __asm__("" : "+r"(take)); /* not known to be all ones or none */
    return (void *)(((uintptr_t)same & ~take) | ((uintptr_t)other & take));
#endif
}

/* The same without a branch, in two steps: the line's offset in bytes; its state, or `nobody` for a miss, when *miss
 * is 1. */
WEIR_INLINE_ uint64_t weir_near16_line_(const weir_near *near, const char *record)
{
    uint64_t lo = weir_load64_(record + near->offset), hi = weir_load64_(record + near->offset + 8);
    return ((lo ^ hi * WEIR_NEAR_MIX) * WEIR_NEAR_MIX >> near->shift) * sizeof(weir_near16);
}
WEIR_INLINE_ void *weir_near16_blind_(const weir_near *near, uint64_t line, const char *record, void *nobody,
                                      uint32_t *miss)
{
    uint64_t           lo = weir_load64_(record + near->offset), hi = weir_load64_(record + near->offset + 8);
    const weir_near16 *at = (const weir_near16 *)(const void *)((const char *)near->line + line);
    uint64_t           differs = (at->lo ^ lo) | (at->hi ^ hi);
    *miss = differs != 0;
    return weir_select_(differs, at->state, nobody);
}

/* One pass over the batch with lines of one size. CALL is a statement about i_ and state_ (void *). Hits are worked
 * on at once; the indices of the others go to miss[], and the engine calls on_left for them. */
#define WEIR_NEAR_PASS_(BYTES, TRACKS, ...)                                                                            \
    {                                                                                                                  \
        const weir_near         near_ = *c_->near;                                                                     \
        const weir_near##BYTES *line_ = (const weir_near##BYTES *)near_.line;                                          \
        uint32_t                misses_ = 0;                                                                           \
        for (uint32_t i_ = 0, n_ = c_->n; i_ < n_; i_++) {                                                             \
            void *state_ = weir_near##BYTES##_find_(&near_, line_, (const char *)&in_[i_]);                            \
            if (WEIR_RARE_(!state_)) {                                                                                 \
                near_.miss[misses_++] = i_;                                                                            \
                continue;                                                                                              \
            }                                                                                                          \
            if (TRACKS) ((void **)(uintptr_t)c_->state)[i_] = state_;                                                  \
            __VA_ARGS__;                                                                                               \
            if (weir_stopped_(c_, TRACKS)) break;                                                                      \
        }                                                                                                              \
        c_->near->misses = misses_;                                                                                    \
    }
#define WEIR_NEAR_PASSES_(TRACKS, ...)                                                                                 \
    if (c_->near->bytes == 8)                                                                                          \
        WEIR_NEAR_PASS_(8, TRACKS, __VA_ARGS__)                                                                        \
    else                                                                                                               \
        WEIR_NEAR_PASS_(16, TRACKS, __VA_ARGS__)

/* String keys of small accumulators, without a branch on hit or miss: a body does nothing but change its accumulator,
 * so a miss is added to an empty one, which is thrown away: made anew for each record, as no key's has been given
 * records of other keys. Words are near or not as coins fall, and a mispredicted branch throws away dozens of loads
 * that are under way. Integer keys are few or many: there the branch is predicted, and faster (3.3 against 4.4 ns per
 * record). Emptying a large accumulator for each record would cost more than the branch does. */
#define WEIR_NEAR_STRIP_ 128u /* records whose lines are computed first: a loop of its own, which has vectors */
#define WEIR_NEAR_BLIND_PASS_(A, ...)                                                                                  \
    {                                                                                                                  \
        const weir_near near_ = *c_->near;                                                                             \
        uint64_t        line_[WEIR_NEAR_STRIP_];                                                                       \
        uint32_t        misses_ = 0;                                                                                   \
        A               nobody_;                                                                                       \
        for (uint32_t from_ = 0, end_, n_ = c_->n; from_ < n_; from_ = end_) {                                         \
            end_ = n_ - from_ < WEIR_NEAR_STRIP_ ? n_ : from_ + WEIR_NEAR_STRIP_;                                      \
            for (uint32_t i_ = from_; i_ < end_; i_++)                                                                 \
                line_[i_ - from_] = weir_near16_line_(&near_, (const char *)&in_[i_]);                                 \
            for (uint32_t i_ = from_; i_ < end_; i_++) {                                                               \
                uint32_t far_;                                                                                         \
                memset(&nobody_, 0, sizeof nobody_);                                                                   \
                A *state_ = (A *)weir_near16_blind_(&near_, line_[i_ - from_], (const char *)&in_[i_], &nobody_,       \
                                                    &far_);                                                            \
                near_.miss[misses_] = i_;                                                                              \
                misses_ += far_;                                                                                       \
                __VA_ARGS__;                                                                                           \
            }                                                                                                          \
        }                                                                                                              \
        c_->near->misses = misses_;                                                                                    \
    }
#define WEIR_NEAR_BLIND_PASSES_(A, ...)                                                                                \
    if (c_->near->bytes == 8)                                                                                          \
        WEIR_NEAR_PASS_(8, false, __VA_ARGS__)                                                                         \
    else if (sizeof(A) > WEIR_NEAR_BLIND_BYTES)                                                                        \
        WEIR_NEAR_PASS_(16, false, __VA_ARGS__)                                                                        \
    else                                                                                                               \
        WEIR_NEAR_BLIND_PASS_(A, __VA_ARGS__)

/* All records, or those that `pick` names. CALL is a statement about i_. */
#define WEIR_PICK_PASS_(TRACKS, ...)                                                                                   \
    if (!c_->pick) {                                                                                                   \
        for (uint32_t i_ = 0, n_ = c_->n; i_ < n_; i_++) {                                                             \
            __VA_ARGS__;                                                                                               \
            if (weir_stopped_(c_, TRACKS)) break;                                                                      \
        }                                                                                                              \
    } else {                                                                                                           \
        const uint32_t *pick_ = c_->pick;                                                                              \
        for (uint32_t k_ = 0, n_ = c_->pick_n; k_ < n_; k_++) {                                                        \
            uint32_t i_ = pick_[k_];                                                                                   \
            __VA_ARGS__;                                                                                               \
            if (weir_stopped_(c_, TRACKS)) break;                                                                      \
        }                                                                                                              \
    }

/* ---- descriptors: the members that all share, in the order of the struct ----------------------------------------- */
#define WEIR_OP_IS_(KIND, NAME, FLAGS)                                                                                 \
    .abi_size = sizeof(weir_op), .kind = WEIR_OP_##KIND, .name = #NAME, .file = __FILE__, .line = __LINE__,            \
    .flags = FLAGS,
#define WEIR_OUTS_(U)  (uint32_t)(sizeof weir_outs_##U / sizeof weir_outs_##U[0])
#define WEIR_OP_(NAME) WEIR_UNUSED_ static const weir_op weir_op_##NAME =

/* A copy of a record's type under a name of the operator: the second half of an operator cannot name the first
 * half's T. */
#define WEIR_COPY_TYPE_(NAME, T) WEIR_TYPE_(NAME, T)

/* ---- verbs: the typed function that adds the operator to the graph ----------------------------------------------- */
#define WEIR_VERB_(NAME, U, ...)                                                                                       \
    {                                                                                                                  \
        weir_inputs x_;                                                                                                \
        memset(&x_, 0, sizeof x_);                                                                                     \
        x_.size = sizeof x_;                                                                                           \
        __VA_ARGS__                                                                                                    \
        return weir_streams_##U(weir_graph_op(&weir_op_##NAME, &x_, (const weir_options *)(const void *)&o_));         \
    }
#define WEIR_APPLY_STREAM_(NAME, T, U)                                                                                 \
    typedef T##_stream   weir_takes_##NAME;                                                                            \
    typedef U##_stream   weir_gives_##NAME;                                                                            \
    typedef weir_options weir_options_of_##NAME;                                                                       \
    WEIR_FN_ U##_stream weir_apply_##NAME(T##_stream in_, weir_options o_)                                             \
        WEIR_VERB_(NAME, U, x_.left = in_.handle.node;)
#define WEIR_APPLY_KEYED_(NAME, T, U)                                                                                  \
    typedef weir_state_options weir_options_of_##NAME;                                                                 \
    WEIR_FN_ U##_stream weir_apply_##NAME(T##_keyed in_, weir_state_options o_)                                        \
        WEIR_VERB_(NAME, U, x_.left = in_.handle.node; x_.left_key = in_.handle.key;)
#define WEIR_APPLY_WINDOWED_(NAME, T, U)                                                                               \
    typedef weir_state_options weir_options_of_##NAME;                                                                 \
    WEIR_FN_ U##_stream weir_apply_##NAME(T##_windowed in_, weir_state_options o_)                                     \
        WEIR_VERB_(NAME, U, x_.left = in_.handle.node; x_.left_key = in_.handle.key; x_.window = in_.window;)          \
            WEIR_FN_ T##_stream weir_late_##NAME(weir_node result_)                                                    \
    {                                                                                                                  \
        result_.port = WEIR_PORT_LATE;                                                                                 \
        return weir_stream_##T(result_);                                                                               \
    }
#endif
