/* weir/op.h: the thin layer: what every macro expands to, and the whole contract between a pipeline and the engine.
 * Bindings, generated code and people who want no macro write these structs and loops by hand. Frozen by WEIR_ABI:
 * a struct may grow at its end; the engine reads abi_size before it reads a member that an older header lacks. */
#ifndef WEIR_OP_H
#define WEIR_OP_H
#include <weir/types.h>
WEIR_EXTERN_C_BEGIN_
#define WEIR_ABI          1u          /* changes when something that is strided changes */
#define WEIR_HEADER       100u        /* version of these headers: 0.1.0 */
#define WEIR_MODULE_MAGIC 0x52494557u /* "WEIR" */

typedef struct weir_pipeline weir_pipeline;
typedef struct weir_args     weir_args;
typedef struct weir_ctx      weir_ctx;
typedef struct weir_op       weir_op;
typedef struct weir_reply    weir_reply;

typedef struct weir_node {
    weir_pipeline *pipeline;
    uint32_t       id;
    uint32_t       port; /* which output of the node */
} weir_node;
#define WEIR_PORT_LATE 0xffffu
typedef struct weir_key_field {
    uint32_t offset;
    uint32_t kind; /* enum weir_kind */
} weir_key_field;
typedef struct weir_key {
    uint32_t       count; /* 0: no key, one state for all */
    weir_key_field field[4];
} weir_key;

/* ---- emitter -----------------------------------------------------------------------------------------------------
 * One per output, in an array (stride: the module's out_size). Records are built in place between next and end; what
 * lies at or beyond `next` is garbage, not data. A loop works on a COPY in a local variable whose address stays
 * inside the loop, so that next and end live in registers, and stores it back when it is done; so nothing here takes
 * a weir_out pointer. */
typedef struct weir_grown {
    char      *next, *end;
    weir_time *time;
} weir_grown;
typedef struct weir_out weir_out;
struct weir_out {
    char       *next, *end; /* free room of the current batch, in whole records */
    weir_time  *time;       /* event time of the record at `next`, or NULL when the job has no event time */
    weir_ctx   *ctx;        /* of the operator that emits */
    const char *borrowed;   /* memory that outlives the output batch: far strings inside need no copy */
    size_t      borrowed_bytes;
    void       *engine;
    /* WEIR_FUSE after a source: takes what is emitted, and the room for it by value; else NULL. */
    weir_grown (*fused)(const void *record, weir_grown room, weir_ctx *ctx);
    uint64_t reserved[2];
};
/* Called with next == end: hands the full batch on and returns room for at least one record. Never fails, never
 * blocks: a task that outgrows its bound is stopped after the loop. `engine` is out->engine. Thread: the loop's. */
weir_grown weir_out_grow(void *engine, char *next);
/* Copies the far bytes of *s into memory that lives as long as the output batch, and repoints *s. Thread: the
 * loop's. */
void weir_out_own(void *engine, weir_str *s);

/* ---- the loop of WEIR_SPLIT: constant tables of the module ------------------------------------------------------- */

/* A field that each token's record has from the record that it was split from. */
typedef struct weir_copy {
    uint32_t from, to, size; /* offsets in the two records; bytes */
    uint32_t string;         /* 1: it is a string */
} weir_copy;
typedef struct weir_splitting {
    uint32_t         abi_size;        /* sizeof(weir_splitting) in the author's header */
    uint32_t         text, in_size;   /* the offset of the string that is split; bytes of its record */
    uint32_t         token, out_size; /* the same of the string that gets a token */
    uint32_t         copies;
    const weir_copy *copy;
    char             separator;
} weir_splitting;
/* One record at ctx->out[0] for each token of each of the ctx->n records; empty tokens are skipped. All other bytes of
 * a record are zero, but for the copies. Thread: the loop's. */
void weir_split(weir_ctx *ctx, const weir_splitting *how);

/* ---- lookaside: lines that keyed loops probe inline --------------------------------------------------------------
 * near[(word * WEIR_NEAR_MIX) >> shift]. Keys of at most 8 bytes use weir_near8 with word = the 8 bytes at the key's
 * offset & mask, and state == NULL is an empty line; a single string key uses weir_near16 when len <= 12, word = lo ^
 * hi * MIX, and an empty line's lo is UINT64_MAX, which begins no string. */
typedef struct weir_near8 {
    uint64_t key;
    void    *state;
} weir_near8;
typedef struct weir_near16 {
    uint64_t lo, hi;
    void    *state;
    uint64_t unused;
} weir_near16;
#define WEIR_NEAR_MIX         UINT64_C(0x9E3779B97F4A7C15)
#define WEIR_NEAR_BLIND_BYTES 32u /* accumulators of string keys up to this size: on_near does not branch on a hit */
typedef struct weir_near {
    uint32_t  bytes;  /* 8 or 16: which of the two line types; 0: off, state[] is complete */
    uint32_t  shift;  /* 64 - log2(lines) */
    uint32_t  offset; /* of the key in the record */
    uint32_t  misses; /* written by the loop: how many indices stand in miss[] */
    uint64_t  mask;   /* of the 8 bytes loaded; records have 8 readable bytes behind the last one */
    void     *line;   /* weir_near8[] or weir_near16[] */
    uint32_t *miss;   /* room for n indices, ascending */
} weir_near;

/* ---- call: everything a loop sees; also the `ctx` of user functions. One signature for every loop. ---------------
 * Owned by the engine, one per operator and slot, used by that slot's thread only. Members that an operator kind
 * does not use are NULL. Arrays have n entries and are indexed by the record's index. */
struct weir_ctx {
    uint32_t         abi_size; /* sizeof(weir_ctx) in the engine: never below the module's */
    uint32_t         n;        /* how many records, pairs, timers, windows, accumulators */
    uint32_t         channels; /* partitioners: how many */
    uint32_t         at;       /* index now in user code; kept by loops whose function names a ctx (WEIR_OP_TRACKS) */
    const void      *in;       /* n records of the input type, contiguous */
    const weir_time *time;     /* event time of each, or NULL when the job has no event time */
    /* keyed state or accumulator; already marked for the snapshot; NULL: unknown key (READ) */
    void *const       *state;
    void              *current; /* state of the record now in user code; kept with `at` */
    const uint32_t    *pick;    /* keyed loops: the pick_n indices to work on, or NULL: all n */
    uint32_t           pick_n;
    uint32_t           subtask; /* 0 ... subtasks - 1 */
    weir_near         *near;    /* on_near only */
    const void *const *other;   /* accumulator to merge from; left record of a pair */
    const void *const *right;   /* right record of a pair, NULL in outer joins */
    const uint8_t     *fresh;   /* 1 = state was created for this record (zeroed) */
    const void        *key;     /* timers, results: n input records in which only the key fields are set */
    const void        *shared;  /* broadcast state */
    void              *local;   /* reader or writer of this subtask; not saved */
    const weir_span   *window;
    weir_rows         *rows, *rows2; /* contents of windows, groups */
    weir_reply *const *reply;        /* async */
    uint32_t          *verdict;      /* written by the loop: channel, weir_fire, weir_commit, weir_poll, open's bool */
    weir_time         *mark;         /* written: watermark or WEIR_NO_TIME */
    weir_out          *out;          /* op->outs emitters */
    uint32_t           subtasks, failed; /* failed: set by weir_fail; loops over user calls stop */
    uint64_t           snapshot;         /* commit, recover: the snapshot that holds these committables */
    void              *engine;
    uint64_t           reserved[4];
};
typedef void weir_loop(weir_ctx *ctx);

enum weir_op_kind {
    WEIR_OP_MAP = 1,
    WEIR_OP_FILTER,
    WEIR_OP_FLAT_MAP,
    WEIR_OP_KEYED,
    WEIR_OP_CO_KEYED,
    WEIR_OP_FLAT_MAP_SHARED,
    WEIR_OP_KEYED_SHARED,
    WEIR_OP_AGGREGATE,
    WEIR_OP_REDUCE,
    WEIR_OP_WINDOW,
    WEIR_OP_UPDATE,
    WEIR_OP_JOIN,
    WEIR_OP_COGROUP,
    WEIR_OP_ASYNC,
    WEIR_OP_SOURCE,
    WEIR_OP_SINK,
    WEIR_OP_TWO_PHASE_SINK
};
/* The mode says which half of a pair may be NULL. */
enum weir_join_mode {
    WEIR_INNER = 1,
    WEIR_LEFT_OUTER,
    WEIR_RIGHT_OUTER,
    WEIR_FULL_OUTER,
    WEIR_LEFT_SEMI,
    WEIR_LEFT_ANTI
};
/* weir_op.flags */
#define WEIR_OP_TRACKS      0x1u /* its loops keep `at` and `current`: a crash names its record without a replay */
#define WEIR_OP_READS       0x2u /* keyed, state is const: creates no entry, marks nothing; state[i] may be NULL */
#define WEIR_OP_BLOCKING    0x4u /* runs on its own thread unless .blocking says otherwise (custom sinks) */
#define WEIR_OP_READS_RIGHT 0x8u /* of two inputs: the right one's state is const (WEIR_OP_READS: the left one's) */

/* What an operator is. const, in the .so's read-only data. Unused members are zero.
 * Room: before it calls on_left of a MAP or FILTER the engine guarantees room for n records in out[0]. */
struct weir_op {
    uint32_t                abi_size; /* sizeof(weir_op) in the author's header */
    uint32_t                kind;     /* enum weir_op_kind */
    const char             *name, *file;
    uint32_t                line, flags;
    uint32_t                mode, outs;   /* mode: enum weir_join_mode */
    const weir_type        *left, *right; /* inputs */
    const weir_type *const *out;
    const weir_type        *state;      /* keyed state, accumulator, split */
    const weir_type        *shared;     /* broadcast state; committable of a sink */
    uint32_t                local_size; /* bytes of ctx->local */
    uint32_t                reserved0;
    weir_loop              *on_left, *on_right; /* records; add for aggregates; poll for sources; write for sinks */
    weir_loop              *on_near;            /* keyed and aggregates: on_left that probes ctx->near; may be NULL */
    weir_loop              *on_timer;           /* key, state, out */
    weir_loop              *on_merge, *on_retract;      /* state[i] <- other[i] */
    weir_loop              *on_result;                  /* key, state, window, out */
    weir_loop              *open, *close;               /* local (and state: the split) */
    weir_loop              *enumerate;                  /* sources: emits splits into out[0] */
    weir_loop              *flush;                      /* sinks: at each barrier and at the end, before close */
    weir_loop              *prepare, *commit, *recover; /* two-phase sinks; committables in `in` */
    weir_loop              *durable;                    /* sources: the snapshot that holds this position is durable */
    uint64_t                reserved[6];
};

/* ---- graph: called by the typed wrappers only --------------------------------------------------------------------
 * Enums stand in structs as uint32_t, so that their size is no question of the compiler's. */
enum weir_policy { WEIR_POLICY_DEFAULT, WEIR_FAIL, WEIR_SKIP, WEIR_DEAD_LETTER };
enum weir_chaining { WEIR_CHAIN, WEIR_CHAIN_HEAD, WEIR_CHAIN_NEVER };
enum weir_ttl_rule { WEIR_TTL_ON_WRITE, WEIR_TTL_ON_READ };
enum weir_blocking { WEIR_BLOCKING_DEFAULT, WEIR_OWN_THREAD, WEIR_ON_SLOT };
typedef struct weir_upgrade {
    const weir_type *from, *to;
    weir_loop       *loop;
} weir_upgrade;

/* Options that every operator takes. Every option struct begins with its size (the macros fill it) and these
 * members. */
#define WEIR_COMMON_OPTIONS_                                                                                           \
    const char *uid;         /* snapshots match on it; default: the operator's name */                                 \
    const char *name;        /* what people see; default: uid */                                                       \
    uint32_t    parallelism; /* 0: the job's */                                                                        \
    uint32_t    max_parallelism;                                                                                       \
    const char *slot_group;                                                                                            \
    uint32_t    chaining;     /* enum weir_chaining */                                                                 \
    uint32_t    on_error;     /* enum weir_policy: what to do with a bad record */                                     \
    const char *args;         /* "limit=120 unit=km": shadows program arguments in this operator */                    \
    uint32_t    blocking;     /* true: may block, runs on its own thread; WEIR_ON_SLOT: promises not to */             \
    uint32_t    reserved_u32; /* 0 */                                                                                  \
    uint64_t    reserved_u64; /* 0 */
typedef struct weir_options {
    uint32_t size;
    WEIR_COMMON_OPTIONS_
    int weir_end_;
} weir_options;
typedef struct weir_state_options {
    uint32_t size;
    WEIR_COMMON_OPTIONS_
    weir_duration       ttl;        /* of a key's whole state, by processing time; 0: for ever */
    uint32_t            ttl_rule;   /* enum weir_ttl_rule */
    const char         *initial;    /* URI of starting states, read through the field table */
    const weir_upgrade *upgrade[4]; /* the snapshot's schema picks one; none: fields match by name */
    int                 weir_end_;
} weir_state_options;
typedef struct weir_async_options {
    uint32_t size;
    WEIR_COMMON_OPTIONS_
    weir_duration timeout;
    uint32_t      capacity;
    bool          unordered;
    uint32_t      retries;
    weir_duration backoff;
    int           weir_end_;
} weir_async_options;

/* ---- what a function may ask its ctx. Thread: the one that called the function, while it runs -------------------- */
weir_time         weir_now(const weir_ctx *ctx);       /* processing time of this batch */
weir_time         weir_watermark(const weir_ctx *ctx); /* .ns == WEIR_NO_TIME: none yet */
uint64_t          weir_batch_id(const weir_ctx *ctx);  /* micro-batch mode; else the snapshot epoch */
WEIR_FN_ uint32_t weir_subtask(const weir_ctx *ctx)
{
    return ctx->subtask;
}
WEIR_FN_ uint32_t weir_subtasks(const weir_ctx *ctx)
{
    return ctx->subtasks;
}
WEIR_FN_ weir_time weir_time_of(const weir_ctx *ctx)
{
    weir_time none = {WEIR_NO_TIME};
    return ctx->time ? ctx->time[ctx->at] : none;
}
/* This record is bad: .on_error decides. Returns false, so that a MAP can say `return weir_reject(ctx, "why")`.
 * The reason is copied. The record itself, as the raw format has it, goes into the dead letter; a timer's or a result's
 * has the key, a source's none. */
bool weir_reject(weir_ctx *ctx, const char *reason);
void weir_reject_unmapped(weir_ctx *ctx, uint32_t at); /* a MAP returned false; no second report after weir_reject */
/* The task fails when this call returns to the loop; no further record is given to it. The reason is copied. */
void weir_fail(weir_ctx *ctx, const char *reason);
/* The window that a result is of. Elsewhere there is none: the task fails, and it is from and to WEIR_NO_TIME. */
WEIR_FN_ weir_span weir_window_of(const weir_ctx *ctx)
{
    weir_span none = {{WEIR_NO_TIME}, {WEIR_NO_TIME}};
    if (ctx->window) return ctx->window[ctx->at];
    weir_fail((weir_ctx *)(uintptr_t)ctx, "weir_window_of: only a function that makes a window's result has one");
    return none;
}
/* printf into memory of the batch: the string may be put into `out`. */
weir_str weir_format(weir_ctx *ctx, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A copy of n bytes in memory of the batch: what a MAP puts into `out` comes from `in`, weir_keep or weir_format. */
weir_str weir_keep(weir_ctx *ctx, const char *bytes, size_t n);
/* Empties this key's state now, drops it and its timers. In keyed operators and their timer functions, and in
 * WEIR_UPDATE; elsewhere, and where a state is only read, the task fails. */
void weir_forget(weir_ctx *ctx);
enum weir_log_level { WEIR_LOG_DEBUG, WEIR_LOG_INFO, WEIR_LOG_WARN, WEIR_LOG_ERROR };
void weir_log(weir_ctx *ctx, uint32_t level, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Cells of the state of the current record. Setters copy. Getters' memory lives until the cell changes or the function
 * returns. A state that is const (READS) takes no setter. */
void        weir_text_set(weir_ctx *ctx, weir_text *cell, weir_str s);
weir_str    weir_text_get(const weir_ctx *ctx, const weir_text *cell);
void        weir_event_timer_set(weir_ctx *ctx, weir_event_timer *cell, weir_time at); /* set again = move */
void        weir_event_timer_clear(weir_ctx *ctx, weir_event_timer *cell);
bool        weir_event_timer_fired(const weir_ctx *ctx, const weir_event_timer *cell);
void        weir_clock_timer_set(weir_ctx *ctx, weir_clock_timer *cell, weir_time at);
void        weir_clock_timer_clear(weir_ctx *ctx, weir_clock_timer *cell);
bool        weir_clock_timer_fired(const weir_ctx *ctx, const weir_clock_timer *cell);
const void *weir_value_get(const weir_ctx *ctx, const weir_cell *cell, const weir_type *type);
void        weir_value_set(weir_ctx *ctx, weir_cell *cell, const weir_type *type, const void *record);
void        weir_list_add(weir_ctx *ctx, weir_cell *cell, const weir_type *type, const void *record);
void        weir_list_drop(weir_ctx *ctx, weir_cell *cell, const weir_type *type, uint32_t oldest);
const void *weir_table_get(const weir_ctx *ctx, const weir_cell *cell, const weir_field *schema, const void *key);
void        weir_table_put(weir_ctx *ctx, weir_cell *cell, const weir_field *schema, const void *record);
bool        weir_table_remove(weir_ctx *ctx, weir_cell *cell, const weir_field *schema, const void *key);
void        weir_cell_clear(weir_ctx *ctx, weir_cell *cell, const weir_type *type);
weir_rows   weir_cell_rows(const weir_ctx *ctx, const weir_cell *cell, const weir_type *type);
/* Takes the row that weir_rows gave last out of its list or table; the iteration goes on. */
void weir_rows_remove(weir_ctx *ctx, weir_cell *cell, weir_rows *rows, const weir_type *type);
/* Copies a record into state that the engine keeps (an accumulator), with its strings. */
void weir_record_own(weir_ctx *ctx, const weir_type *type, void *to, const void *from);

/* Resources: one per subtask, opened at first use, closed at the end by the same thread; never saved. Aligned to 64
 * bytes. open returning false fails the task: no further record comes, but this call returns what open has left. */
typedef struct weir_resource {
    const char *name;
    uint32_t    size;
    bool (*open)(void *self, const weir_args *args);
    void (*close)(void *self);
} weir_resource;
void *weir_resource_of(weir_ctx *ctx, const weir_resource *resource); /* never NULL */

/* Metrics: a static const descriptor; its address is its identity. */
typedef struct weir_counter {
    const char *name;
} weir_counter;
typedef struct weir_gauge {
    const char *name;
} weir_gauge;
typedef struct weir_histogram {
    const char *name;
} weir_histogram;
void weir_counter_add(weir_ctx *ctx, const weir_counter *counter, uint64_t by);
void weir_gauge_set(weir_ctx *ctx, const weir_gauge *gauge, double value);
void weir_histogram_add(weir_ctx *ctx, const weir_histogram *histogram, uint64_t value);

/* Async replies: from any thread, exactly one of the two, once; later ones are ignored. */
void weir_reply_with(weir_reply *reply, const weir_type *type, const void *record);
void weir_reply_error(weir_reply *reply, const char *reason);

/* Program arguments (weir run x.so -- limit=120), shadowed by an operator's .args. Strings live as long as the job.
 * A value that does not parse fails the build step or the task, naming argument and text; the call returns `otherwise`,
 * as without the argument. */
const weir_args *weir_pipeline_args(const weir_pipeline *p);
const weir_args *weir_ctx_args(const weir_ctx *ctx);
const char      *weir_arg(const weir_args *args, const char *name, const char *otherwise);
int64_t          weir_arg_i64(const weir_args *args, const char *name, int64_t otherwise);
double           weir_arg_f64(const weir_args *args, const char *name, double otherwise);
weir_duration    weir_arg_duration(const weir_args *args, const char *name, weir_duration otherwise); /* "5s" */

/* The one exported symbol of a pipeline: const data, nothing runs at dlopen. The loader checks it before any call:
 * equal where strided (out, near8, near16, field, rows, str), at most the engine's elsewhere. */
typedef struct weir_module {
    uint32_t    magic, abi, header, module_size;
    uint32_t    op_size, ctx_size, out_size, type_size, field_size, rows_size, str_size, near_size;
    const char *name;
    void (*build)(weir_pipeline *);
    const char *file;
    uint64_t    reserved[4];
} weir_module;
WEIR_EXTERN_C_END_
#endif
