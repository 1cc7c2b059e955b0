/* graph/job.h: the job graph. A weir_pipeline collects what the build function says (include/weir/graph.h);
 * wr_job_finish validates it, resolves its connectors, chains it and gives a wr_job, which nobody changes any more.
 * Pure: no clock, file, thread or socket. */
#ifndef WR_GRAPH_JOB_H
#define WR_GRAPH_JOB_H
#include "base/error.h"
#include "graph/args.h"
#include "wire/manifest.h"
#include <weir/connector.h>

#define WR_NONE      UINT32_MAX
#define WR_PORT_DEAD 0xfffeu /* wr_edge.from_port: rejected records, as wr_dead; only from nodes with wr_node.dead */

/* weir_op.kind of operators that the engine puts into a graph itself. */
#define WR_OP_TIME 1000u

/* What a dead-letter stream carries: the engine's twin of the record weir_dead. */
typedef struct wr_dead {
    weir_str   uid, reason, source, position;
    weir_bytes record;
    weir_time  at;
} wr_dead;
extern const weir_type wr_dead_type;

typedef enum wr_node_kind {
    WR_NODE_OP = 1,       /* an operator: node->op */
    WR_NODE_SOURCE,       /* by URI: op = connector->source, when a connector was found */
    WR_NODE_SINK,         /* by URI: op = connector->sink */
    WR_NODE_READ,         /* a custom source: op->kind == WEIR_OP_SOURCE */
    WR_NODE_WRITE,        /* a custom sink */
    WR_NODE_DEAD_LETTERS, /* takes WR_PORT_DEAD of others and passes all of it on: op is a filter that keeps all */
    WR_NODE_TIME          /* gives its records event times and makes watermarks: op->kind == WR_OP_TIME */
} wr_node_kind;

/* Part of a wr_job: read only, any thread. Strings are never NULL unless it says so. */
typedef struct wr_node {
    uint32_t                    id;        /* index in wr_job.node */
    uint32_t                    kind;      /* wr_node_kind */
    const weir_op              *op;        /* NULL: URI without a connector (no resolver was given) */
    const weir_connector       *connector; /* SOURCE, SINK; else NULL */
    const struct weir_endpoint *endpoint;  /* SOURCE, SINK; else NULL: graph/endpoint.h */
    const weir_type *type; /* SOURCE, READ, DEAD_LETTERS: what it gives; SINK, WRITE: what it takes; OP: first output */
    const weir_type *in[2];         /* of the left and right input, or NULL */
    const weir_type *const   *out;  /* of each output */
    uint32_t                  outs; /* outputs; 0 for sinks */
    const char               *uid, *name;
    const char               *slot_group; /* "default" */
    const char               *args;       /* the option's text, or NULL */
    const weir_args          *arguments;  /* of this operator, the pipeline's behind them; make a wr_args_view of it */
    uint32_t                  parallelism, max_parallelism;
    uint32_t                  chaining;  /* enum weir_chaining */
    uint32_t                  on_error;  /* enum weir_policy, never DEFAULT */
    bool                      blocking;  /* runs on its own thread */
    bool                      dead;      /* on_error is WEIR_DEAD_LETTER: has one edge from port WR_PORT_DEAD */
    bool                      timed;     /* what it gives (sinks: takes) has event times */
    bool                      late;      /* its late records go somewhere: edges from port WEIR_PORT_LATE */
    bool                      replaced;  /* its URI came from --set */
    const char               *uri;       /* SOURCE, SINK: after --set; else NULL */
    const char               *format;    /* after the connector's default, or NULL */
    const char               *fields;    /* or NULL */
    const char               *options;   /* or NULL */
    char                      separator; /* 0: not said */
    bool                      header;
    uint64_t                  rate_max;   /* records per second and subtask; 0: no limit */
    uint32_t                  guarantee;  /* enum weir_guarantee */
    uint32_t                  mode;       /* enum weir_output_mode */
    weir_duration             ttl;        /* of a key's whole state; 0: for ever */
    uint32_t                  ttl_rule;   /* enum weir_ttl_rule */
    const weir_upgrade       *upgrade[5]; /* from older states to this one; the first NULL ends them */
    weir_key                  key[2];     /* of the left and right input; count 0: none */
    weir_window_spec          window;
    weir_duration             discover_every;
    uint32_t                  time_offset; /* TIME: of the field */
    weir_duration             max_delay, idle_after;
    const weir_watermark_def *watermark; /* TIME: says the watermark itself, or NULL */
    const uint32_t           *in_edge;   /* ids, left ones first */
    const uint32_t           *out_edge;  /* ids, by port */
    uint32_t                  in_edges, out_edges;
    uint32_t                  task; /* index in wr_job.task */
} wr_node;

/* How records of an edge find their subtask. The first ones have the numbers of enum weir_route. */
typedef enum wr_route {
    WR_ROUTE_FORWARD = 0, /* i to i */
    WR_ROUTE_REBALANCE = WEIR_ROUTE_REBALANCE,
    WR_ROUTE_RESCALE = WEIR_ROUTE_RESCALE,
    WR_ROUTE_SHUFFLE = WEIR_ROUTE_SHUFFLE,
    WR_ROUTE_GLOBAL = WEIR_ROUTE_GLOBAL,
    WR_ROUTE_BROADCAST = WEIR_ROUTE_BROADCAST,
    WR_ROUTE_OWN = WEIR_ROUTE_OWN,
    WR_ROUTE_HASH = 7
} wr_route;

typedef struct wr_edge {
    uint32_t         id; /* index in wr_job.edge */
    uint32_t         from, from_port;
    uint32_t         to, to_port; /* 0: left, 1: right */
    uint32_t         route;       /* wr_route, as it runs: forward between different parallelism is REBALANCE here */
    weir_loop       *own;         /* OWN: the partitioner */
    weir_key         key;         /* HASH */
    const weir_type *type;
    bool             chained; /* a call, not a channel */
} wr_edge;

/* A chain: nodes that call each other on one thread. */
typedef struct wr_task {
    uint32_t        id;    /* index in wr_job.task */
    const uint32_t *nodes; /* ids, head first, each behind the one that feeds it */
    uint32_t        n;
    uint32_t        parallelism, max_parallelism; /* of the head */
    bool            blocking;
    const char     *slot_group;
    const char     *name; /* "lines -> split" */
} wr_task;

typedef struct wr_job {
    const char *name;
    wr_node    *node; /* in the order in which the build function made them */
    uint32_t    nodes;
    wr_edge    *edge;
    uint32_t    edges;
    wr_task    *task; /* producers before consumers */
    uint32_t    tasks;
    uint32_t    parallelism;     /* of operators that do not say */
    uint32_t    max_parallelism; /* likewise; 0: made from each operator's parallelism */
    uint64_t    fingerprint;     /* of the structure; equal in every process that builds the same job */
} wr_job;

/* Something is wrong with node[at] of those that were compared. */
typedef void wr_job_clash(void *to, uint32_t at, wr_err err, const char *text);

/* All optional: zero is a run without flags and without connectors (URIs stay unresolved). */
typedef struct wr_job_settings {
    uint32_t           parallelism;         /* the flag -p: wins over the pipeline's own. 0: not given */
    uint32_t           parallelism_default; /* when neither says; 0: 1 */
    uint32_t           parallelism_max;     /* slots that there can be; 0: WR_PARALLELISM_MAX */
    const char *const *set;                 /* "NAME=URI" */
    uint32_t           sets;
    /* The job starts from this snapshot, or NULL. What is in it keeps its max_parallelism, whatever the flags say. */
    const wr_manifest *restore;
    bool               loose_ends; /* streams without a consumer are no problem (tests pull from them) */
    /* The connector of a scheme (n bytes), or NULL and perhaps a scheme that may have been meant. */
    const weir_connector *(*connector)(void *self, const char *scheme, size_t n, const char **suggestion);
    /* Looks at a finished endpoint (format against record, say); an error is one more problem. Or NULL. */
    wr_err (*inspect)(void *self, const struct weir_endpoint *endpoint, bool sink, wr_errinfo *info);
    /* Looks at the sources and sinks of the job together, and calls clash(to, ...) for each that does harm to another
     * one. `restores`: the job goes on from a snapshot. Or NULL. */
    void (*compare)(void *self, const wr_node *const node[], uint32_t n, bool restores, wr_job_clash *clash, void *to);
    void *self;
} wr_job_settings;

/* An empty pipeline for a build function; args are "name=value". Never NULL: what is wrong is a problem of the
 * pipeline. Until finish or free it is the pipeline of this thread to which a stream that was never assigned is
 * reported. */
weir_pipeline *wr_job_new(const char *name, const char *const args[], uint32_t count);
void           wr_job_free(weir_pipeline *p); /* also frees the wr_job made of it */

/* Once. *job lives as long as the pipeline. On problems *job is NULL and info has the first of them that fit, one per
 * line. */
wr_err wr_job_finish(weir_pipeline *p, const wr_job_settings *settings, const wr_job **job, wr_errinfo *info);
/* All problems collected so far, at most WR_PROBLEMS_MAX and a line that counts the others. */
uint32_t wr_job_problems(const weir_pipeline *p, const char *const **texts);
/* How many there are, also those that are not kept. */
uint32_t wr_job_problems_all(const weir_pipeline *p);
/* The i-th of those that are kept. Belongs to the pipeline. */
typedef struct wr_problem {
    wr_err      code;
    const char *node; /* name of the operator, source or sink; NULL: of the job as a whole */
    const char *text;
} wr_problem;
bool wr_job_problem_at(const weir_pipeline *p, uint32_t i, wr_problem *problem); /* false: there is no such one */
/* One more problem, from whoever runs the build function. */
void wr_job_problem(weir_pipeline *p, wr_err err, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* After the build function: what it said about snapshots by weir_configure. NULL and 0: nothing. */
const char *wr_job_wants_snapshots(const weir_pipeline *p, weir_duration *every);

/* After finish: the node (and output) behind a stream, through its routes, or WR_NONE for a union or nothing. */
uint32_t wr_job_node_of(const weir_pipeline *p, weir_node stream, uint32_t *port);

/* For a job that takes snapshots: WR_OPTION when a sink that asks for exactly once gets records of a source that cannot
 * read them again. */
wr_err wr_job_replays(const wr_job *job, wr_errinfo *info);

/* Default number of key groups: clamp(pow2ceil(1.5 P), 128, 32768). */
uint32_t               wr_max_parallelism_of(uint32_t parallelism);
static inline uint32_t wr_key_group_of(uint64_t hash, uint32_t max_parallelism)
{
    return (uint32_t)(((hash >> 32) * max_parallelism) >> 32);
}
static inline uint32_t wr_subtask_of(uint32_t key_group, uint32_t parallelism, uint32_t max_parallelism)
{
    return (uint32_t)((uint64_t)key_group * parallelism / max_parallelism);
}
typedef struct wr_key_groups {
    uint32_t first, end; /* [first, end) */
} wr_key_groups;
wr_key_groups wr_key_groups_of(uint32_t subtask, uint32_t parallelism, uint32_t max_parallelism);

const char *wr_route_name(uint32_t route); /* "hash" */
/* Name of the field that a key reads; "?" when there is none. */
const char *wr_key_field_name(const weir_type *type, uint32_t offset);
const char *wr_node_kind_name(const wr_node *); /* "map", "source", "dead letters" */

#endif
