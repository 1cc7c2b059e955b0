/* operators/op.h: an operator at work in a slot, and how a batch goes through a chain of them.
 *
 * A chain is a tree of operators on one slot. A batch is pushed through it depth first and completely: when
 * wr_op_push returns, every record is processed, kept in state, or copied into the open batch of a channel. So
 * strings that lie in the chain's input, or in the heap of an operator further up, live long enough without any
 * reference count, and only the edge of a chain copies. An output that fills up in the middle of a loop is pushed
 * down from within weir_out_grow. */
#ifndef WR_OPERATORS_OP_H
#define WR_OPERATORS_OP_H
#include "base/error.h"
#include "base/prng.h"
#include "graph/endpoint.h"
#include "graph/job.h"
#include "operators/batch.h"
#include "snapshot/table.h"
#include "wire/manifest.h"
#include <weir/io.h>

typedef struct wr_op       wr_op;
typedef struct wr_emit     wr_emit;
typedef struct wr_kernel   wr_kernel;
typedef struct wr_exchange wr_exchange;
typedef struct wr_home     wr_home;

/* Borrowed for one push: n records, contiguous, and the memory that their far strings may lie in. */
typedef struct wr_view {
    const char      *records;
    uint32_t         n;
    const weir_time *time;
    const char      *borrowed;
    size_t           borrowed_bytes;
    const uint64_t  *hash; /* of the key by which they came, or NULL */
} wr_view;

/* Where an output goes: an operator of the same chain, or the edge of the chain. */
typedef struct wr_target {
    wr_op       *op;
    uint32_t     port;
    wr_exchange *exchange; /* when op == NULL */
} wr_target;

/* What an operator puts into a snapshot besides its keyed table, and what it finds in one. */
typedef struct wr_saver wr_saver;
void wr_save_item(wr_saver *saver, uint32_t kind, const void *data, size_t bytes); /* copies; enum wr_item_kind */

/* What the call of a function that a user wrote has used of something. */
typedef struct wr_calls {
    const wr_op *op;
    uint64_t     number, bytes; /* number: of the loop's call */
    uint32_t     at;            /* record in it */
} wr_calls;
/* The call that runs now used so many bytes (the first ones: `first`, which others may have a part in). The operator
 * whose one call has passed WR_OVERDRAFT_BYTES_MAX, or NULL. */
wr_op *wr_calls_add(wr_calls *calls, uint64_t first, uint64_t bytes);

/* Memory that lives until the batch is done: bump allocation over a list of chunks. Slot-owned. */
typedef struct wr_scratch {
    char                    *at, *end;
    struct wr_scratch_chunk *chunk, *spare;
    uint32_t                 chunks;        /* in the list of `chunk`; wr_scratch_holds may look at each */
    uint64_t                 bytes, before; /* of this step; of those before it */
    wr_calls                 calls;
    bool                     exhausted; /* the bound was passed, and nobody's code runs whose fault it would be */
} wr_scratch;
void *wr_scratch_take(wr_scratch *s, size_t bytes);
bool  wr_scratch_holds(const wr_scratch *s, const char *p);
void  wr_scratch_reset(wr_scratch *s); /* keeps one chunk for the next batch */
void  wr_scratch_fini(wr_scratch *s);

/* The engine's side of one weir_out. Slot-owned. */
struct wr_emit {
    wr_op           *op;
    weir_out        *pub;
    const weir_type *type;
    uint32_t         stride, capacity, index;
    char            *base; /* capacity records and spare bytes behind them */
    bool             lent; /* base is another emitter's: see wr_op_share_buffers */
    weir_time       *time; /* beside base; NULL: what leaves here has no event time */
    wr_target       *target;
    uint32_t         targets;
    uint64_t         records; /* emitted so far */
};

/* Counters of one subtask's operator: written by its slot, read by anyone (relaxed atomics). */
typedef struct wr_op_stats {
    _Atomic uint64_t in, out, bad, late, batches, state_bytes, keys;
    _Atomic int64_t  watermark; /* a copy for readers */
} wr_op_stats;

/* What holds event time back: a short text that its slot writes and anybody reads. */
enum { WR_HOLDER_BYTES = 64 };
typedef struct wr_holder {
    _Atomic uint32_t turn; /* odd while it is written */
    _Atomic uint64_t word[WR_HOLDER_BYTES / 8];
} wr_holder;
void wr_holder_set(wr_holder *h, const char *text);                 /* its slot only */
void wr_holder_get(const wr_holder *h, char text[WR_HOLDER_BYTES]); /* "" when it is just being written */

/* User metrics: found by the address of their descriptor. Slot-owned; values are relaxed atomics for readers. */
typedef struct wr_metric {
    const void      *id;
    const char      *name;
    uint32_t         kind;  /* 1 counter, 2 gauge, 3 histogram */
    _Atomic uint64_t value; /* gauge: bits of the double; histogram: sum */
    _Atomic uint64_t count;
} wr_metric;

#define WR_ORIGIN_CHANNEL (UINT64_C(1) << 63) /* in wr_home.split: records came by the nth channel of the tasklet */

/* What all operators of a slot share. Slot-owned. */
struct wr_home {
    const wr_env     *env;
    wr_parker        *parker;
    struct wr_scribe *scribe; /* taskmanager/scribe.h; NULL: the slot writes its snapshots itself */
    wr_budget        *budget;
    wr_prng           random;
    int64_t           now_ns; /* wall clock, read once per call of a tasklet */
    int64_t           mono_ns;
    int64_t           spare_ns; /* for so long the slot has had nothing to do but waiting for input and capturing */
    bool              back_pressured; /* at the end of the last round: whoever it waits for is slower than its input */
    uint64_t          epoch;          /* id of the newest barrier that the running tasklet has passed */
    uint64_t    split; /* whose records are being pushed: the number of a source's split, or WR_ORIGIN_CHANNEL | n */
    uint32_t    slot;
    uint32_t    attempt;                    /* of the job in a cluster; 0: it is not in one */
    const char *job, *lineage;              /* lineage: "" or NULL when no snapshots are taken */
    const _Atomic uint32_t *command;        /* of the running tasklet, see wr_home_canceled; NULL: nobody commands */
    const _Atomic int64_t  *lease_until_ns; /* base/lease.h */
    bool       snapshots;    /* barriers come, and complete follows; the last barrier comes after the end of input */
    uint32_t   piece;        /* so many records may a source emit in the next poll; 0: as many as there is room for */
    uint32_t   results_most; /* so many results or timers should one step make; 0: as many as it likes */
    uint64_t   results;      /* made so far; only differences mean something */
    wr_scratch scratch;      /* weir_keep, weir_format, far strings of emitted records */
    uint32_t   depth;        /* pushes under way: scratch is reset when the outermost ends */
};

/* So many results or timers may this step make, of those that it could. */
static inline uint32_t wr_home_results(const wr_home *home, uint32_t most)
{
    return home->results_most != 0 && home->results_most < most ? home->results_most : most;
}

/* For loops that wait for somebody outside: whoever commands the tasklet wants it to end at once. */
#define WR_HOME_CANCEL 2u
static inline bool wr_home_canceled(const wr_home *home)
{
    return home->command != NULL && (atomic_load_explicit(home->command, memory_order_relaxed) & WR_HOME_CANCEL) != 0;
}

/* An operator of one subtask. Slot-owned. */
struct wr_op {
    const weir_op              *def;
    const wr_node              *node;
    const wr_kernel            *kernel;
    wr_home                    *home;
    wr_op                      *up; /* the operator that feeds it in the chain, or NULL: head */
    weir_ctx                    ctx;
    weir_out                   *out; /* def->outs of them, handed to the loops */
    wr_emit                    *emit;
    uint32_t                    outs;
    wr_emit                    *dead;     /* dead letters leave here; NULL: not routed */
    wr_emit                    *late;     /* late records leave here; NULL: they are only counted: wr_op_late */
    uint32_t                    on_error; /* enum weir_policy, resolved */
    bool                        rejected; /* weir_reject spoke in this call already */
    uint32_t                    rejected_at;
    uint32_t                    behind;       /* records of the push that this call of the loop does not have yet */
    wr_errinfo                  failure;      /* first failure; code WR_OK: none */
    wr_table                   *table;        /* keyed operators */
    const wr_table             *upgrading;    /* where the old states lie while they are upgraded; else NULL */
    void                       *kernel_state; /* of this kind, made by kernel->open */
    const struct weir_endpoint *endpoint;     /* connectors by URI */
    const weir_args            *args;
    struct wr_held             *held; /* open resources */
    wr_metric                  *metric;
    _Atomic uint32_t            metrics;
    wr_op_stats                 stats;
    int64_t                     watermark; /* event time that this operator has come to; WEIR_NO_TIME: none yet */
    int64_t      mark;        /* time operators: what they say the watermark is; with keys: what it was in a snapshot */
    int64_t      due_ns;      /* wall clock: kernel->tick wants to be called then; INT64_MAX: never */
    int64_t      due_mono_ns; /* the same by the monotonic clock, which nobody sets: tries again */
    int64_t      apart_ns;    /* inputs further apart in event time slow it down (hold.h); 0: never */
    bool         idle;        /* nothing comes that would move event time: holds nobody back */
    bool         timed;       /* what it gives has event times */
    uint32_t     max_parallelism, subtask, subtasks;
    uint32_t     task; /* the subtask that it is part of: index in wr_exec.subtask */
    weir_sink_id sink_id;
    wr_holder    holder; /* time operators */
};

/* What a kind of operator does. One const table per kind, all listed in operators/kernels.c. */
struct wr_kernel {
    const char *name;
    wr_err (*open)(wr_op *op, wr_errinfo *info);                 /* before the first batch, on the slot's thread */
    void (*push)(wr_op *op, const wr_view *view, uint32_t port); /* a batch */
    bool (*end)(wr_op *op); /* all inputs ended: a batch of last results; true: that was all */
    /* Event time came to op->watermark (set before): fires what is due, in order of time, about a batch of it. True:
     * that was all. The new watermark goes to those below only then. */
    bool (*advance)(wr_op *op);
    /* The clock came to op->due_ns (wall): the same for processing time; or to op->due_mono_ns. Sets them anew. */
    bool (*tick)(wr_op *op);
    /* At a barrier, after flush: operator state by wr_save_item. Keyed tables are captured by the tasklet. */
    wr_err (*save)(wr_op *op, const wr_barrier *barrier, wr_saver *saver, wr_errinfo *info);
    /* Before open, when the job starts from a snapshot: `saved` has the items of all subtasks of then, and outlives the
     * operator. Keyed operators make and fill their table here. No side effects: another task may yet fail to load. */
    wr_err (*load)(wr_op *op, const wr_manifest_op *saved, const char *folder, wr_errinfo *info);
    /* Snapshot `id` and all older ones are durable, and are never taken back. May be skipped or repeated. */
    void (*complete)(wr_op *op, uint64_t id);
    /* False: something is left without which the task is not finished; tick does it when it is due. Or NULL. */
    bool (*settled)(const wr_op *op);
    /* Behind open: false: something is left without which no record may come; tick does it when it is due. Or NULL. */
    bool (*opened)(const wr_op *op);
    void (*flush)(wr_op *op); /* barrier, idle: sinks make visible what they hold */
    void (*close)(wr_op *op); /* always, also after a failure */
};
const wr_kernel *wr_kernel_of(uint32_t op_kind); /* NULL: this kind does not run yet */

/* op points to zeroed memory with def, node, home, up, subtask, subtasks, args and endpoint set. Allocates emitters
 * (targets are the caller's to add before the first push), then calls kernel->open. */
wr_err wr_op_init(wr_op *op, wr_errinfo *info);
wr_err wr_op_open(wr_op *op, wr_errinfo *info);
void   wr_op_fini(wr_op *op);
/* Runs of one-in-one-out operators write alternately into two buffers of the slot, which stay in its cache. */
void wr_op_share_buffers(wr_op *op);

void wr_op_push(wr_op *op, const wr_view *view, uint32_t port);
bool wr_op_end(wr_op *op);     /* all inputs of this operator ended: one step; true when done. Then those below it */
void wr_op_flush(wr_op *op);   /* this operator only */
bool wr_op_advance(wr_op *op); /* event time came to op->watermark: one step; true when done */
bool wr_op_tick(wr_op *op);    /* it is due: one step; true when done */
static inline bool wr_op_due(const wr_op *op)
{
    return op->due_ns <= op->home->now_ns || op->due_mono_ns <= op->home->mono_ns;
}
int64_t wr_op_due_at(const wr_op *op); /* when it is going to be (monotonic); INT64_MAX: never */
bool    wr_op_failed(const wr_op *op);

/* Hands on what the outputs hold. Kernels call it at the end of each push. */
void wr_op_settle(wr_op *op);
/* Before a loop: outputs take strings of this view without copying. */
void wr_op_borrow(wr_op *op, const wr_view *view);
/* Room for n records in out[0] without growing: pushes down what is there when it must. n <= WR_BATCH_RECORDS_MAX. */
void wr_op_room(wr_op *op, uint32_t n);
/* Fails the operator; the first cause stays. */
void wr_op_fail(wr_op *op, wr_err code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* One call of its function, or (step) all calls of one step together, passed the bound of strings or of batches. */
void wr_op_fail_overdraft(wr_op *op, bool strings, bool step);
/* Where the function is that runs now: the record's number, the split and how far it is read, or what it does. */
enum { WR_PLACE_BYTES = 256 };
void wr_op_place(const wr_op *op, char place[WR_PLACE_BYTES]);
/* A record that the policy decides about. place NULL: what runs now says where. raw: what a format could not read;
 * NULL: the record now in user code, if there is one, goes into a dead letter as the raw format has it. */
void wr_op_bad(wr_op *op, const char *reason, const char *place, const void *raw, size_t raw_bytes);

/* The whole view goes on to those behind out[0], with nothing copied. */
void wr_op_pass(wr_op *op, const wr_view *view);
/* A record of the input came too late: counted, and given to those that take late records. */
void wr_op_late(wr_op *op, const void *record, weir_time time);

void wr_op_close_resources(wr_op *op) __attribute__((noinline)); /* as wr_user_call */

/* What user code runs on this thread, for the crash report. Every function that a pipeline brought is called by
 * wr_op_call or wr_user_call, or between wr_user_enter and wr_user_leave: else its crash is taken for one of ours. */
typedef struct wr_user {
    wr_op      *op;     /* NULL: none */
    weir_loop  *loop;   /* over op->ctx; NULL: a function of another kind */
    const char *does;   /* for people: "in its flush function"; "": it works on records */
    const char *name;   /* of that function or what it belongs to, said behind `does`; NULL: the operator's is enough */
    uint64_t    number; /* of the call, on this thread: set by wr_user_enter */
} wr_user;
extern _Thread_local wr_user  wr_user_now;
extern _Thread_local uint64_t wr_user_calls;
/* Returns what ran before, for wr_user_leave. */
static inline wr_user wr_user_enter(wr_user user)
{
    wr_user was = wr_user_now;
    user.number = ++wr_user_calls;
    wr_user_now = user;
    return was;
}
static inline void wr_user_leave(wr_user was)
{
    wr_user_now = was;
}
/* The backtrace of a crash report ends at it. */
void wr_user_call(wr_user user, weir_loop *loop, weir_ctx *ctx) __attribute__((noinline));
/* A loop over op->ctx. */
static inline void wr_op_call(wr_op *op, weir_loop *loop, const char *does)
{
    wr_user_call((wr_user){.op = op, .loop = loop, .does = does}, loop, &op->ctx);
}
#endif
