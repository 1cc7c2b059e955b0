/* graph/build.h: inside graph/ only: what a pipeline holds while it is built. Everything lies in the pipeline's
 * arena. */
#ifndef WR_GRAPH_BUILD_H
#define WR_GRAPH_BUILD_H
#include "base/arena.h"
#include "graph/endpoint.h"
#include "graph/job.h"

#define WR_STREAMS_MAX WR_EDGES_MAX

/* A stream is what a weir_node names: an output of a node, or a view on other streams, which never becomes a node. */
typedef enum wr_stream_kind {
    WR_STREAM_NODE = 1,
    WR_STREAM_UNION,
    WR_STREAM_ROUTE,
    WR_STREAM_FEEDBACK,
    WR_STREAM_BROKEN /* its maker already has a problem: nothing more is said about it */
} wr_stream_kind;

/* Arena of the pipeline; the build function's thread. */
typedef struct wr_stream {
    uint32_t         kind;
    uint32_t         node; /* NODE: index of the draft */
    const weir_node *from; /* UNION, ROUTE */
    uint32_t         froms;
    uint32_t         route; /* ROUTE */
    weir_loop       *own;
    const weir_type *type; /* FEEDBACK */
    bool             used;
    bool             open; /* on the path of the walk: a view of itself would never end */
} wr_stream;

/* A node before the job is finished: the node itself, and what was asked for. Arena of the pipeline. */
typedef struct wr_draft {
    wr_node          node;
    weir_node        input[2];
    uint32_t         inputs;
    uint32_t         blocking;    /* enum weir_blocking */
    uint32_t         parallelism; /* as asked for, 0: not */
    uint32_t         max_parallelism;
    const char      *slot_group; /* or NULL */
    bool             alone;      /* one state for all: parallelism 1 */
    bool             uid_given;
    bool             wrong;   /* has a problem of its own */
    bool             unread;  /* its descriptor cannot be read: nobody looks at it again */
    bool             refused; /* a kind of operator that does not run yet: no further questions */
    const weir_type *out_one; /* for node.out of those with one output */
    uint64_t         seen;    /* mark of the pass that looks at it */
} wr_draft;

/* Owned by wr_job_new's caller; one thread. */
struct weir_pipeline {
    wr_arena          arena;
    const char       *name;
    const weir_args  *args; /* in the arena; reports to problems */
    wr_draft         *draft[WR_NODES_MAX];
    uint32_t          drafts;
    wr_stream        *stream[WR_STREAMS_MAX];
    uint32_t          streams;
    uint32_t          dead; /* index of the dead-letter draft, or WR_NONE */
    weir_job_options  options;
    bool              configured, finished, too_many;
    const weir_type **checked; /* types that were looked at already */
    uint32_t          checked_count, checked_cap;
    const char       *problem[WR_PROBLEMS_MAX + 1];
    wr_err            problem_code[WR_PROBLEMS_MAX];
    const wr_draft   *problem_of[WR_PROBLEMS_MAX]; /* or NULL */
    uint32_t          problems;                    /* that are kept */
    uint32_t          problems_more;               /* that are not */
    wr_job            job;
};

/* "operator 'count' (wordcount.c:14)": how every problem begins. */
const char *wr_graph_where(weir_pipeline *p, const wr_draft *draft);
void        wr_graph_problem(weir_pipeline *p, wr_draft *draft, wr_err err, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
wr_draft *wr_graph_draft(weir_pipeline *p, uint32_t kind, weir_node *node); /* NULL: too many, *node is broken */
void      wr_graph_give(wr_draft *draft, const weir_type *type);            /* its one output */
/* The pipeline of a verb that has only streams to go by. */
weir_pipeline *wr_graph_pipeline_of(weir_node node, const char *verb);
wr_stream     *wr_graph_stream(weir_pipeline *p, uint32_t kind, weir_node *node);

/* check.c: one operator by itself. */
bool wr_graph_type_equal(const weir_type *a, const weir_type *b);
typedef enum wr_type_role { WR_ROLE_RECORD, WR_ROLE_STATE, WR_ROLE_ACCUMULATOR } wr_type_role;
void wr_graph_check_type(weir_pipeline *p, wr_draft *draft, const weir_type *type, wr_type_role role);
bool wr_graph_check_op(weir_pipeline *p, wr_draft *draft, const weir_op *op); /* false: cannot be read at all */
void wr_graph_check_parts(weir_pipeline *p, wr_draft *draft);
void wr_graph_check_key(weir_pipeline *p, wr_draft *draft, const weir_type *type, const weir_key *key);
void wr_graph_check_keys(weir_pipeline *p, wr_draft *draft);

/* options.c: options of operators, copied in. */
void wr_graph_common(weir_pipeline *p, wr_draft *draft, const weir_options *options, const char *name);
bool wr_graph_options(weir_pipeline *p, wr_draft *draft, const void *options, void *to, size_t size, const char *type);
void wr_graph_op_options(weir_pipeline *p, wr_draft *draft, const weir_options *options);

/* later.c: what does not run yet. */
void wr_graph_later_op(weir_pipeline *p, wr_draft *draft);
void wr_graph_window(weir_pipeline *p, wr_draft *draft, const weir_window_spec *spec); /* window.c */
void wr_graph_windows_timed(weir_pipeline *p);                                         /* after wr_graph_timed */
void wr_graph_later_job(weir_pipeline *p, const weir_job_options *options);

/* edges.c: from streams to edges. False when there is no job to look at. */
bool wr_graph_edges(weir_pipeline *p, bool loose_ends);
void wr_graph_dead_edge(weir_pipeline *p, uint32_t from);
/* time.c: event time. What is asked of its nodes while others are resolved; then which streams have it. */
void wr_graph_time_blocking(weir_pipeline *p, wr_draft *draft);
void wr_graph_time_parallelism(weir_pipeline *p, wr_draft *draft);
void wr_graph_timed(weir_pipeline *p, const uint32_t *order);
bool wr_graph_can_be_late(const wr_node *node);
void wr_graph_late(weir_pipeline *p, bool all);
/* shape.c: order (ids, producers first) of all nodes, or NULL when there is a cycle; then names, ends. */
uint32_t *wr_graph_order(weir_pipeline *p);
void      wr_graph_check_names(weir_pipeline *p);
void      wr_graph_check_ends(weir_pipeline *p);
/* resolve.c: --set, connectors, parallelism, policies, slot groups. */
void wr_graph_set(weir_pipeline *p, const wr_job_settings *settings);
void wr_graph_endpoints(weir_pipeline *p, const wr_job_settings *settings);
void wr_graph_compare(weir_pipeline *p, const wr_job_settings *settings); /* what does harm to another one */
void wr_graph_parallelism(weir_pipeline *p, const wr_job_settings *settings);
void wr_graph_policies(weir_pipeline *p);
void wr_graph_routes(weir_pipeline *p);
void wr_graph_groups(weir_pipeline *p, const uint32_t *order);
/* chain.c, fingerprint.c: of a finished graph. */
void     wr_graph_chain(weir_pipeline *p, const uint32_t *order);
uint64_t wr_graph_fingerprint(const wr_job *job);

/* finish.c: in_edge and out_edge of all nodes, from the edges. */
void wr_graph_link_nodes(wr_arena *arena, wr_job *job);

#endif
