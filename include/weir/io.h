/* weir/io.h: own sources and sinks: WEIR_SOURCE, WEIR_SINK, WEIR_TWO_PHASE_SINK. A reader or writer is your plain
 * struct, zeroed before OPEN, touched by one thread only, never saved. */
#ifndef WEIR_IO_H
#define WEIR_IO_H
#include <weir/operators.h>
WEIR_EXTERN_C_BEGIN_

/* What a source says after a poll. IDLE: nothing now, call me after weir_wake_*. END: this split is read to its end. */
typedef enum weir_poll { WEIR_MORE, WEIR_IDLE, WEIR_END } weir_poll;
/* What a sink says to a commit. RETRY: later again. LOST: cannot be done any more; fails the job, never silent. */
typedef enum weir_commit { WEIR_COMMITTED, WEIR_RETRY, WEIR_LOST } weir_commit;

/* May the source emit one more record now? A poll ends when a batch is full. Thread: the loop's. */
WEIR_FN_ bool weir_room(const weir_out *out)
{
    return out->next < out->end;
}
/* Polls the source again when fd is readable, or has failed. Each split has one: asked for in OPEN it holds while the
 * split is open, asked for in a poll until the next poll of that split (-1: none till then). At most 16 are watched per
 * slot; those of more splits are polled every millisecond. Thread: the source's, in OPEN or a poll; elsewhere the task
 * fails. */
void weir_wake_on_fd(weir_ctx *ctx, int fd);
/* Polls the source again after d; until then perhaps not at all, if nothing else was asked for and it has one split. A
 * d beyond the end of time is never. Thread: the source's, in OPEN or a poll; elsewhere the task fails. */
void weir_wake_after(weir_ctx *ctx, weir_duration d);
/* A handle by which other threads wake the source; valid until CLOSE returns. Thread: the source's, in OPEN or a poll;
 * elsewhere the task fails, and it wakes nobody. */
typedef struct weir_waker weir_waker;
weir_waker               *weir_waker_of(weir_ctx *ctx);
/* Polls the source again, soon. From any thread; many calls before the poll count as one. */
void weir_wake(weir_waker *waker);

/* Whose output this is: for ids that are a sink's own (transactions, file names). Strings live as long as the task. */
typedef struct weir_sink_id {
    const char *job, *lineage, *uid; /* lineage: a job that was started from a savepoint is another one */
    uint32_t    subtask, subtasks;
} weir_sink_id;
const weir_sink_id *weir_sink_id_of(const weir_ctx *ctx);
WEIR_EXTERN_C_END_

/* ---- WEIR_SOURCE(NAME, P, SPLIT, R, READER, T, OUT, CTX, ENUMERATE, OPEN, CLOSE [, DURABLE]) ---------------------
 * weir_poll: emit while weir_room(&OUT->out). weir_read(NAME, p, .parallelism = 4). P is a WEIR_RECORD: the split
 * AND its position. Weir saves it at each barrier and hands it back after a restore: nothing else to do. Its first
 * field names the split. Strings that a poll puts into *SPLIT are copied when the poll returns.
 *
 *   void ENUMERATE(P_out *out, weir_ctx *ctx)              emit all splits; known ones are ignored; may block; again
 *                                                          every .discover_every
 *   bool OPEN(const P *split, R *reader, weir_ctx *ctx)    one reader per open split: seek to the split's position;
 *                                                          false, after weir_fail, fails the task
 *   void CLOSE(R *reader)                                  also when OPEN returned false
 *   void DURABLE(const P *split, R *reader)                this position is in a durable snapshot: acknowledge upstream
 * ENUMERATE runs on a thread of its own, the others on the source's. */
#define WEIR_SOURCE(NAME, P, SPLIT, R, READER, T, OUT, CTX, ENUMERATE, OPEN, ...)                                      \
    WEIR_SIGNATURE_(ENUMERATE, void, (P##_out *, weir_ctx *),                                                          \
                    "source " #NAME ": must be void " #ENUMERATE "(" #P "_out *out, weir_ctx *ctx)")                   \
    WEIR_SIGNATURE_(OPEN, bool, (const P *, R *, weir_ctx *),                                                          \
                    "source " #NAME ": must be bool " #OPEN "(const " #P " *split, " #R " *reader, weir_ctx *ctx)")    \
    WEIR_SIGNATURE_(WEIR_OUT_(__VA_ARGS__), void, (R *), "source " #NAME ": close must be void (" #R " *reader)")      \
    WEIR_BODY_ weir_poll weir_user_##NAME(P *, R *, T##_out *, weir_ctx *);                                            \
    WEIR_INLINE_ void    weir_poll_into_##NAME(weir_ctx *c_, void *out_)                                               \
    {                                                                                                                  \
        c_->verdict[0] = (uint32_t)weir_user_##NAME((P *)c_->state[0], (R *)c_->local, (T##_out *)out_, c_);           \
    }                                                                                                                  \
    WEIR_LOOP_ weir_loop_##NAME(weir_ctx *c_)                                                                          \
    {                                                                                                                  \
        WEIR_TWICE_({                                                                                                  \
            T##_out out_ = weir_load_##T(c_, timed_);                                                                  \
            weir_poll_into_##NAME(c_, &out_);                                                                          \
            WEIR_STORE_(c_, out_);                                                                                     \
        })                                                                                                             \
    }                                                                                                                  \
    WEIR_LOOP_ weir_enumerate_of_##NAME(weir_ctx *c_)                                                                  \
    {                                                                                                                  \
        P##_out out_ = weir_load_##P(c_, true);                                                                        \
        ENUMERATE(&out_, c_);                                                                                          \
        WEIR_STORE_(c_, out_);                                                                                         \
    }                                                                                                                  \
    WEIR_LOOP_ weir_open_of_##NAME(weir_ctx *c_)                                                                       \
    {                                                                                                                  \
        c_->verdict[0] = OPEN((const P *)c_->state[0], (R *)c_->local, c_);                                            \
    }                                                                                                                  \
    WEIR_LOOP_ weir_close_of_##NAME(weir_ctx *c_)                                                                      \
    {                                                                                                                  \
        WEIR_OUT_(__VA_ARGS__)((R *)c_->local);                                                                        \
    }                                                                                                                  \
    WEIR_CAT_(WEIR_DURABLE_, WEIR_COUNT_(__VA_ARGS__))                                                                 \
    (NAME, P, R, __VA_ARGS__) WEIR_OP_(NAME){                                                                          \
        WEIR_OP_IS_(SOURCE, NAME, 0u).outs = 1,                                                                        \
        .out = weir_outs_##T,                                                                                          \
        .state = &weir_type_##P,                                                                                       \
        .local_size = sizeof(R),                                                                                       \
        .on_left = weir_loop_##NAME,                                                                                   \
        .open = weir_open_of_##NAME,                                                                                   \
        .close = weir_close_of_##NAME,                                                                                 \
        .enumerate = weir_enumerate_of_##NAME,                                                                         \
        .durable = WEIR_CAT_(WEIR_DURABLE_OF_, WEIR_COUNT_(__VA_ARGS__))(NAME),                                        \
    };                                                                                                                 \
    WEIR_FN_ T##_stream weir_read_by_##NAME(weir_pipeline *p_, weir_read_options o_)                                   \
    {                                                                                                                  \
        return weir_stream_##T(weir_graph_read(p_, &weir_op_##NAME, &o_));                                             \
    }                                                                                                                  \
    WEIR_FUSABLE_SOURCE_(NAME, T)                                                                                      \
    static inline weir_poll weir_user_##NAME(P *SPLIT, WEIR_UNUSED_ R *READER, T##_out *OUT, WEIR_UNUSED_ weir_ctx *CTX)
#define WEIR_DURABLE_1(NAME, P, R, CLOSE)
#define WEIR_DURABLE_2(NAME, P, R, CLOSE, DURABLE)                                                                     \
    WEIR_SIGNATURE_(DURABLE, void, (const P *, R *),                                                                   \
                    "source " #NAME ": must be void " #DURABLE "(const " #P " *split, " #R " *reader)")                \
    WEIR_LOOP_ weir_durable_of_##NAME(weir_ctx *c_)                                                                    \
    {                                                                                                                  \
        DURABLE((const P *)c_->other[0], (R *)c_->local);                                                              \
    }
#define WEIR_DURABLE_OF_1(NAME) NULL
#define WEIR_DURABLE_OF_2(NAME) weir_durable_of_##NAME

/* What WEIR_FUSE wants to know of its first part: a source takes nothing, so weir_apply of it does not compile. */
#define WEIR_FUSABLE_SOURCE_(NAME, T)                                                                                  \
    typedef struct weir_a_source_is_read_by_weir_read_##NAME {                                                         \
        weir_handle handle;                                                                                            \
    } weir_takes_##NAME;                                                                                               \
    typedef struct weir_nothing_##NAME {                                                                               \
        char none;                                                                                                     \
    } weir_in_##NAME;                                                                                                  \
    typedef T             weir_made_by_##NAME;                                                                         \
    typedef weir_pipeline weir_reads_##NAME;                                                                           \
    enum { weir_tracks_of_##NAME = false };                                                                            \
    WEIR_FN_ bool weir_step_##NAME(const weir_in_##NAME *in_, T *made_, weir_ctx *c_, uint32_t i_)                     \
    {                                                                                                                  \
        (void)in_;                                                                                                     \
        (void)made_;                                                                                                   \
        (void)c_;                                                                                                      \
        (void)i_;                                                                                                      \
        return false;                                                                                                  \
    }

/* ---- WEIR_SINK(NAME, T, IN, W, WRITER, CTX, OPEN, FLUSH, CLOSE)     writes one record ----------------------------
 *   bool OPEN(W *writer, weir_ctx *ctx)     false, after weir_fail, fails the task
 *   bool FLUSH(W *writer, weir_ctx *ctx)    when idle, at each barrier, at the end: true: what was written is safe
 *   void CLOSE(W *writer, weir_ctx *ctx)    also when OPEN returned false
 * At least once, unless the write is idempotent. Runs on a thread of its own; .blocking = WEIR_ON_SLOT promises that
 * nothing in it blocks. weir_write(NAME, stream). */
#define WEIR_SINK(NAME, T, IN, W, WRITER, CTX, OPEN, FLUSH, CLOSE)                                                     \
    WEIR_SIGNATURE_(FLUSH, bool, (W *, weir_ctx *),                                                                    \
                    "sink " #NAME ": must be bool " #FLUSH "(" #W " *writer, weir_ctx *ctx)")                          \
    WEIR_WRITER_(NAME, T, W, OPEN, CLOSE)                                                                              \
    WEIR_LOOP_ weir_flush_of_##NAME(weir_ctx *c_)                                                                      \
    {                                                                                                                  \
        c_->verdict[0] = FLUSH((W *)c_->local, c_);                                                                    \
    }                                                                                                                  \
    WEIR_OP_(NAME){                                                                                                    \
        WEIR_OP_IS_(SINK, NAME, WEIR_OP_TRACKS | WEIR_OP_BLOCKING).left = &weir_type_##T,                              \
        .local_size = sizeof(W),                                                                                       \
        .on_left = weir_loop_##NAME,                                                                                   \
        .open = weir_open_of_##NAME,                                                                                   \
        .close = weir_close_of_##NAME,                                                                                 \
        .flush = weir_flush_of_##NAME,                                                                                 \
    };                                                                                                                 \
    WEIR_WRITE_VERB_(NAME, T)                                                                                          \
    static inline void weir_user_##NAME(const T *IN, WEIR_UNUSED_ W *WRITER, WEIR_UNUSED_ weir_ctx *CTX)

/* ---- WEIR_TWO_PHASE_SINK(NAME, T, IN, W, WRITER, C, CTX, OPEN, CLOSE, PREPARE, COMMIT, RECOVER)     exactly once ----
 * C is a WEIR_RECORD: a committable, what a later process needs to finish (or find finished) a prepared write.
 *   bool PREPARE(W *writer, C_out *out, weir_ctx *ctx)
 *       at barrier n: make what was written durable but invisible; emit its committables, which snapshot n will hold
 *   weir_commit COMMIT(W *writer, const C *c, uint32_t n, uint64_t snapshot, weir_ctx *ctx)
 *       after the snapshot is durable, with all n that wait; again after every restore: must be idempotent.
 *       Those of a snapshot that failed come with the next one: what a living task has prepared is never thrown away
 *   bool RECOVER(W *writer, const weir_sink_id *id, const C *known, uint32_t n, weir_ctx *ctx)
 *       after a start from a snapshot, before the first record: end what a crash left under this id and is not among
 *       the n known committables
 * OPEN, CLOSE and the thread are as in WEIR_SINK. */
#define WEIR_TWO_PHASE_SINK(NAME, T, IN, W, WRITER, C, CTX, OPEN, CLOSE, PREPARE, COMMIT, RECOVER)                     \
    WEIR_SIGNATURE_(PREPARE, bool, (W *, C##_out *, weir_ctx *),                                                       \
                    "sink " #NAME ": must be bool " #PREPARE "(" #W " *writer, " #C "_out *out, weir_ctx *ctx)")       \
    WEIR_SIGNATURE_(COMMIT, weir_commit, (W *, const C *, uint32_t, uint64_t, weir_ctx *),                             \
                    "sink " #NAME ": must be weir_commit " #COMMIT "(" #W " *writer, const " #C                        \
                    " *c, uint32_t n, uint64_t snapshot, weir_ctx *ctx)")                                              \
    WEIR_SIGNATURE_(RECOVER, bool, (W *, const weir_sink_id *, const C *, uint32_t, weir_ctx *),                       \
                    "sink " #NAME ": must be bool " #RECOVER "(" #W " *writer, const weir_sink_id *id, const " #C      \
                    " *known, uint32_t n, weir_ctx *ctx)")                                                             \
    WEIR_WRITER_(NAME, T, W, OPEN, CLOSE)                                                                              \
    WEIR_LOOP_ weir_prepare_of_##NAME(weir_ctx *c_)                                                                    \
    {                                                                                                                  \
        C##_out out_ = weir_load_##C(c_, true);                                                                        \
        c_->verdict[0] = PREPARE((W *)c_->local, &out_, c_);                                                           \
        WEIR_STORE_(c_, out_);                                                                                         \
    }                                                                                                                  \
    WEIR_LOOP_ weir_commit_of_##NAME(weir_ctx *c_)                                                                     \
    {                                                                                                                  \
        c_->verdict[0] = (uint32_t)COMMIT((W *)c_->local, (const C *)c_->in, c_->n, c_->snapshot, c_);                 \
    }                                                                                                                  \
    WEIR_LOOP_ weir_recover_of_##NAME(weir_ctx *c_)                                                                    \
    {                                                                                                                  \
        c_->verdict[0] = RECOVER((W *)c_->local, weir_sink_id_of(c_), (const C *)c_->in, c_->n, c_);                   \
    }                                                                                                                  \
    WEIR_OP_(NAME){                                                                                                    \
        WEIR_OP_IS_(TWO_PHASE_SINK, NAME, WEIR_OP_TRACKS | WEIR_OP_BLOCKING).outs = 1,                                 \
        .left = &weir_type_##T,                                                                                        \
        .out = weir_outs_##C,                                                                                          \
        .shared = &weir_type_##C,                                                                                      \
        .local_size = sizeof(W),                                                                                       \
        .on_left = weir_loop_##NAME,                                                                                   \
        .open = weir_open_of_##NAME,                                                                                   \
        .close = weir_close_of_##NAME,                                                                                 \
        .prepare = weir_prepare_of_##NAME,                                                                             \
        .commit = weir_commit_of_##NAME,                                                                               \
        .recover = weir_recover_of_##NAME,                                                                             \
    };                                                                                                                 \
    WEIR_WRITE_VERB_(NAME, T)                                                                                          \
    static inline void weir_user_##NAME(const T *IN, WEIR_UNUSED_ W *WRITER, WEIR_UNUSED_ weir_ctx *CTX)

/* What both kinds of sinks have. */
#define WEIR_WRITER_(NAME, T, W, OPEN, CLOSE)                                                                          \
    WEIR_SIGNATURE_(OPEN, bool, (W *, weir_ctx *),                                                                     \
                    "sink " #NAME ": must be bool " #OPEN "(" #W " *writer, weir_ctx *ctx)")                           \
    WEIR_SIGNATURE_(CLOSE, void, (W *, weir_ctx *),                                                                    \
                    "sink " #NAME ": must be void " #CLOSE "(" #W " *writer, weir_ctx *ctx)")                          \
    static inline void weir_user_##NAME(const T *, W *, weir_ctx *);                                                   \
    WEIR_LOOP_         weir_loop_##NAME(weir_ctx *c_)                                                                  \
    {                                                                                                                  \
        const T *in_ = (const T *)c_->in;                                                                              \
        W       *writer_ = (W *)c_->local;                                                                             \
        WEIR_FOR_EACH_(NULL, weir_user_##NAME(&in_[i_], writer_, c_))                                                  \
    }                                                                                                                  \
    WEIR_LOOP_ weir_open_of_##NAME(weir_ctx *c_)                                                                       \
    {                                                                                                                  \
        c_->verdict[0] = OPEN((W *)c_->local, c_);                                                                     \
    }                                                                                                                  \
    WEIR_LOOP_ weir_close_of_##NAME(weir_ctx *c_)                                                                      \
    {                                                                                                                  \
        CLOSE((W *)c_->local, c_);                                                                                     \
    }
#define WEIR_WRITE_VERB_(NAME, T)                                                                                      \
    WEIR_FN_ void weir_write_##NAME(T##_stream s_, weir_options o_)                                                    \
    {                                                                                                                  \
        weir_graph_write(s_.handle.node, &weir_op_##NAME, &o_);                                                        \
    }
#endif
