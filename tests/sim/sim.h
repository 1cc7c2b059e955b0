/* tests/sim/sim.h: a random job (plan), the same job computed without the engine (reference), and one run of it in one
 * thread under a seeded scheduler (run). */
#ifndef WR_SIM_H
#define WR_SIM_H
#include "base/env.h"
#include "base/prng.h"
#include <weir/pipeline.h>

enum {
    SIM_NODES = 40,
    SIM_INPUTS = 3,
    SIM_SOURCES = 3,
    SIM_SPLITS = 12,
    SIM_SUBTASKS = 7 /* greatest parallelism */
};

/* ---- what flows, as the reference sees it: name is made of key and text of ink, so four numbers say all ---- */
typedef struct sim_item {
    uint64_t key, seq, value, ink;
    int64_t  at; /* event time, for the reference's windows; 0 in what sinks get */
} sim_item;
typedef struct sim_items { /* growable; owner: whoever made it */
    sim_item *at;
    uint32_t  n, capacity;
} sim_items;
void sim_items_add(sim_items *items, sim_item item);
void sim_items_free(sim_items *items);

static inline uint64_t sim_mix(uint64_t a, uint64_t b)
{
    uint64_t x = (a ^ (b + UINT64_C(0x632be59bd9b4e019))) * UINT64_C(0x9fb21c651e98df25);
    x ^= x >> 29;
    x *= UINT64_C(0xd6e8feb86659fd93);
    return x ^ (x >> 32);
}
/* The text that an ink makes: mostly short, sometimes long, with the top bit set up to a few hundred KiB. */
#define SIM_HUGE (UINT64_C(1) << 63)
uint32_t sim_text_bytes(uint64_t ink);
char     sim_text_byte(uint64_t ink, uint32_t at);
uint32_t sim_name_bytes(uint64_t key);

/* ---- plan ---- */
typedef enum sim_kind {
    SIM_SOURCE = 1,
    SIM_MAP,       /* value and ink are mixed */
    SIM_REKEY,     /* another key: ends any order */
    SIM_FILTER,    /* a quarter goes */
    SIM_SPREAD,    /* 0 to amp copies */
    SIM_REJECT,    /* a seventh is bad */
    SIM_PARTS,     /* two outputs */
    SIM_WIDEN,     /* item -> wide */
    SIM_NARROW,    /* wide -> item */
    SIM_FUSED,     /* filter and map in one loop */
    SIM_COUNT,     /* keyed, all cells: the nth record of a key */
    SIM_CHAIN,     /* keyed, order-sensitive: hash over all values so far */
    SIM_FORGET,    /* keyed, forgets itself at each fifth record */
    SIM_REDUCE,    /* one window: sum, greatest ink */
    SIM_TOTAL,     /* one window: aggregate */
    SIM_TOTAL_ALL, /* the same without a key */
    SIM_TUMBLE,    /* by event time: aggregate */
    SIM_SLIDE,
    SIM_SESSION,
    SIM_SIEVE, /* tumbling windows give their records as they are, and so does what is too late: which way is chance */
    SIM_TIMER, /* keyed, an event timer at the end of each tumbling piece of time: order-sensitive */
    SIM_SINK
} sim_kind;
typedef enum sim_route {
    SIM_FORWARD,
    SIM_REBALANCE,
    SIM_RESCALE,
    SIM_SHUFFLE,
    SIM_GLOBAL,
    SIM_BROADCAST,
    SIM_OWN
} sim_route;

typedef struct sim_stream { /* what an input reads */
    uint32_t  node, port;
    sim_route route;
} sim_stream;

typedef struct sim_node {
    sim_kind   kind;
    char       uid[16];
    sim_stream in[SIM_INPUTS];
    uint32_t   ins;
    uint32_t   parallelism, blocking, chaining, policy; /* policy: WEIR_SKIP or WEIR_DEAD_LETTER */
    uint32_t   keyed_by;                                /* 0 key, 1 name, 2 key32, 3 key and name */
    uint64_t   salt, amp;
    int64_t    size, slide; /* of windows; SESSION: size is the gap */
    bool       vault;       /* SINK: a two-phase sink of our own; else the file sink */
    bool       timed;       /* its records have the event times of their source */
    uint32_t   source;      /* SOURCE: index among the sources; SINK: index among the sinks */
    uint32_t   splits, rate;
    uint64_t   records[SIM_SPLITS];
    bool       ordered; /* the records of one key come in their order, from one subtask */
    uint32_t   origins; /* sources whose keys can be in it, a bit each */
    uint32_t   sources; /* sources that it hangs on */
    double     expect;  /* records, about */
} sim_node;

typedef enum sim_ending { SIM_TO_THE_END, SIM_STOP, SIM_CANCEL, SIM_FAIL } sim_ending;
typedef struct sim_plan {
    uint64_t   seed;
    uint32_t   effort; /* how often it was too little */
    sim_node   node[SIM_NODES];
    uint32_t   nodes, sources, sinks;
    bool       dead; /* has dead letters */
    sim_ending ending;
    uint32_t   ending_after; /* steps, or records for FAIL */
    uint32_t   fail_node;
    uint32_t   max_parallelism;
    bool       timed;         /* records have event times */
    bool       windows;       /* and results by them */
    bool       late;          /* and records that come too late for windows */
    bool       own_marks;     /* watermarks are the pipeline's own */
    int64_t    delay_ns;      /* how far a record may be behind */
    int64_t    idle_after_ns; /* 0: never; else a record may come too late */
} sim_plan;
/* snapshots: for runs with snapshots, which have more kinds of operators and sinks. */
void sim_plan_make(sim_plan *plan, uint64_t seed, uint32_t effort, bool snapshots);
/* The same job with other parallelisms, chosen by a seed: what it gives stays the same. */
void        sim_plan_rescale(sim_plan *plan, const sim_plan *from, uint64_t seed);
const char *sim_kind_name(sim_kind kind);

/* ---- reference ---- */
typedef struct sim_expected {
    sim_items sink[SIM_NODES]; /* by sink index */
    uint64_t  in[SIM_NODES], out[SIM_NODES], bad[SIM_NODES];
    uint64_t  dead;
} sim_expected;
/* emitted[s][i]: records that split i of source s gave. closed: bit s: all of source s has ended (windows over it have
 * results). */
void sim_reference(const sim_plan *plan, const uint64_t emitted[SIM_SOURCES][SIM_SPLITS], uint32_t closed,
                   sim_expected *expected);
void sim_expected_free(sim_expected *expected);

sim_item sim_source_item(const sim_plan *plan, uint32_t source, uint32_t split, uint64_t seq);
/* Times rise from split to split, since a reader may take one when another is done, and within it but for the delay. */
int64_t sim_time(const sim_plan *plan, uint32_t source, uint32_t split, uint64_t seq);
/* What operators do to one record; shared with the pipeline: what is under test is the engine, not these. */
bool     sim_keeps(uint64_t salt, const sim_item *in);
bool     sim_is_bad(uint64_t salt, const sim_item *in);
uint32_t sim_copies(uint64_t salt, uint64_t amp, const sim_item *in);
sim_item sim_copy(uint64_t salt, const sim_item *in, uint32_t i);
sim_item sim_mapped(uint64_t salt, const sim_item *in);
sim_item sim_rekeyed(uint64_t salt, const sim_item *in);
uint32_t sim_part(uint64_t salt, const sim_item *in);
sim_item sim_counted(uint64_t salt, uint64_t key, uint64_t n);
uint64_t sim_chained(uint64_t chain, const sim_item *in);
/* The result of one window, or of one timer: hash is of all before it. */
sim_item sim_windowed(uint64_t salt, uint64_t key, int64_t start, uint64_t n, uint64_t sum);
sim_item sim_rung(uint64_t salt, uint64_t key, int64_t end, uint64_t n, uint64_t sum, uint64_t *hash);
uint32_t sim_fold_ink(uint64_t a, uint64_t b); /* 1: b is greater */

/* ---- the pipeline: pipeline.c ---- */
typedef struct sim_log { /* what a sink's subtask has written */
    sim_items items;
    uint32_t  opened, closed;
    bool      unflushed;
} sim_log;
/* Where two-phase sinks of our own write to: it outlives processes, and forgets nothing. */
typedef struct sim_page {
    uint64_t  id; /* rising */
    uint32_t  sink, subtask;
    bool      committed, gone;
    sim_items items;
} sim_page;
typedef struct sim_vault {
    sim_page *page;
    uint32_t  pages, capacity;
    uint64_t  retries, repeats, recovered; /* commits put off, done again; pages that recover ended */
    uint64_t  late;                        /* records that came too late for a window, each time that they did */
} sim_vault;
void sim_vault_free(sim_vault *vault);

typedef struct sim_world {
    const sim_plan *plan;
    sim_vault      *vault;
    bool            exact; /* sinks are folders of files, written exactly once; else they keep what they get in `log` */
    wr_prng         user;  /* random of user code */
    uint64_t        emitted[SIM_SOURCES][SIM_SPLITS];
    uint64_t        position[SIM_SOURCES][SIM_SPLITS]; /* where its reader is; UINT64_MAX: it was not opened */
    int32_t         owner[SIM_SOURCES][SIM_SPLITS];    /* subtask, -1: not yet */
    bool            read[SIM_SOURCES][SIM_SPLITS];
    sim_log         log[SIM_NODES][SIM_SUBTASKS];
    uint64_t        dead;
    uint32_t        resources;  /* open now */
    uint32_t        readers;    /* open now */
    uint64_t        failing;    /* records until the planned failure */
    char            wrong[512]; /* what user code saw that must not be; "": nothing */
} sim_world;
extern sim_world *sim_world_now; /* one run at a time, one thread */
void              sim_build(weir_pipeline *p);

/* ---- environment: env.c ---- */
struct sim_disk;
struct sim_threads;
typedef struct sim_clock {
    struct sim_disk    *disk;    /* or NULL: there are no files */
    struct sim_threads *threads; /* of the process, or NULL: it has none */
    uint64_t            tick_ns; /* between two looks at it, at most; 0: 1500 */
    int64_t             now_ns;
    wr_prng             random;
    uint64_t            wakes, parkers;
    bool                apart; /* who uses the disk has waited for it: nobody waits with it */
} sim_clock;
wr_env sim_env(sim_clock *clock);

/* ---- one run: run.c ---- */
typedef struct sim_result {
    uint64_t records, batches, channels, blocked, steps, watermarks, idles;
    uint64_t trace; /* hash over all lines */
    bool     violated;
    char     why[1024];
} sim_result;
/* trace: a line per event on standard output. */
void sim_run(const sim_plan *plan, bool trace, sim_result *result);
#endif
