/* weir/graph.h: what a build function calls, below the typed macros: options of sources, sinks, time and job, and
 * the verbs. All of it runs in the build function's thread. Nothing here fails at once: every problem is collected,
 * and the build step reports all of them together with operator names. Strings in options are copied. */
#ifndef WEIR_GRAPH_H
#define WEIR_GRAPH_H
#include <weir/window.h>
WEIR_EXTERN_C_BEGIN_

enum weir_output_mode { WEIR_APPEND, WEIR_UPDATE_MODE, WEIR_COMPLETE };
enum weir_guarantee { WEIR_GUARANTEE_DEFAULT, WEIR_EXACTLY_ONCE, WEIR_AT_LEAST_ONCE, WEIR_BEST_EFFORT };

/* Names of formats; a third party's format is named the same way. NULL: the connector's own default. */
#define WEIR_TEXT_LINES "text"
#define WEIR_CSV        "csv"
#define WEIR_RAW        "raw"
#define WEIR_JSON       "json"
#define WEIR_MSGPACK    "msgpack"

typedef struct weir_source_options {
    uint32_t    size;
    const char *uri; /* "file:///data/x.csv?header=true": options of a connector are ?key=value */
    WEIR_COMMON_OPTIONS_
    const char *format;
    char        separator; /* CSV; 0: ',' */
    bool        header;    /* CSV: the first line names the fields */
    const char *fields;    /* "at=@timestamp:ms, user=user-id": names and units outside that differ from the record's */
    const char *options;   /* appended to the URI's: "group=billing start=earliest" */
    uint64_t    rate_max;  /* records per second and subtask; 0: no limit */
    bool        journal;   /* write-ahead for sources that cannot replay */
    const char *latest, *until; /* reserved: end positions that a micro-batch plans */
    int         weir_end_;
} weir_source_options;
typedef struct weir_read_options {
    uint32_t size;
    WEIR_COMMON_OPTIONS_
    weir_duration discover_every; /* ask for new splits; 0: once */
    uint64_t      rate_max;
    const char   *latest, *until; /* reserved */
    int           weir_end_;
} weir_read_options;
typedef struct weir_sink_options {
    uint32_t    size;
    const char *uri;
    WEIR_COMMON_OPTIONS_
    const char *format;
    char        separator;
    bool        header;
    const char *fields;
    const char *options;
    uint32_t    mode;      /* enum weir_output_mode */
    uint32_t    guarantee; /* enum weir_guarantee; default: the best the connector has */
    int         weir_end_;
} weir_sink_options;
typedef struct weir_time_options {
    uint32_t      size;
    weir_duration max_delay;  /* watermark = greatest time seen - max_delay - 1 ns, per split */
    weir_duration idle_after; /* a silent split stops holding time back */
    const char   *align_group;
    weir_duration align_drift_max;
    int           weir_end_;
} weir_time_options;
typedef struct weir_watermark_def {
    const char *name;
    weir_loop  *loop;
} weir_watermark_def;
enum weir_mode { WEIR_STREAMING, WEIR_MICRO_BATCH };
enum weir_batch_trigger { WEIR_ASAP, WEIR_INTERVAL, WEIR_ONCE, WEIR_AVAILABLE_NOW, WEIR_CONTINUOUS };
typedef struct weir_job_options {
    uint32_t      size;
    uint32_t      mode, trigger; /* enum weir_mode, enum weir_batch_trigger */
    weir_duration interval;
    uint32_t      parallelism, max_parallelism; /* flags of `weir run` win */
    weir_duration snapshot_every;
    const char   *snapshots; /* URI of the snapshot directory */
    uint32_t      on_error;  /* enum weir_policy: of operators that do not say */
    uint32_t      restarts_max;
    int           weir_end_;
} weir_job_options;

enum weir_route {
    WEIR_ROUTE_REBALANCE = 1,
    WEIR_ROUTE_RESCALE,
    WEIR_ROUTE_SHUFFLE,
    WEIR_ROUTE_GLOBAL,
    WEIR_ROUTE_BROADCAST,
    WEIR_ROUTE_OWN
};
typedef struct weir_inputs {
    uint32_t         size;
    weir_node        left, right;
    weir_key         left_key, right_key;
    weir_window_spec window;
    weir_meet        meet;
} weir_inputs;

/* Adds any operator. `options` is the struct that the kind of operator takes; its size stands first in it. */
weir_node weir_graph_op(const weir_op *op, const weir_inputs *inputs, const weir_options *options);
weir_node weir_graph_source(weir_pipeline *p, const weir_type *type, const weir_source_options *options);
void      weir_graph_sink(weir_node node, const weir_type *type, const weir_sink_options *options);
weir_node weir_graph_read(weir_pipeline *p, const weir_op *op, const weir_read_options *options);
void      weir_graph_write(weir_node node, const weir_op *op, const weir_options *options);
weir_node weir_graph_feedback(weir_pipeline *p, const weir_type *type, const weir_options *options);
void      weir_graph_feed(weir_node feedback, weir_node from);
weir_node weir_graph_union(uint32_t n, ...); /* n weir_node, at least 2 */
weir_node weir_graph_route(weir_node node, uint32_t route, weir_loop *own);
weir_node weir_graph_time(weir_node node, uint32_t field_offset, const weir_watermark_def *own,
                          const weir_time_options *options);
weir_node weir_graph_dead_letters(weir_pipeline *p);
void      weir_graph_job(weir_pipeline *p, const weir_job_options *options);
WEIR_EXTERN_C_END_
#endif
