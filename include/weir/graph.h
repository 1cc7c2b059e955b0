/* weir/graph.h: what a build function calls, below the typed macros: options of sources, sinks, time and job, and
 * the verbs. All of it runs in the build function's thread. Nothing here fails at once: every problem is collected,
 * and the build step reports all of them together with operator names. Strings in options are copied; descriptors
 * (weir_type, weir_op) are not, and stay as long as the pipeline's file is loaded. Every struct of options begins with
 * its size in bytes; NULL for it, and a member that is 0, mean the default; `weir_end_` is the macros'. */
#ifndef WEIR_GRAPH_H
#define WEIR_GRAPH_H
#include <weir/window.h>
WEIR_EXTERN_C_BEGIN_

/* What a sink gets of results that change. Only WEIR_APPEND runs yet. */
enum weir_output_mode { WEIR_APPEND, WEIR_UPDATE_MODE, WEIR_COMPLETE };
/* How often the records of a sink come out when the job restarts; BEST_EFFORT promises nothing. */
enum weir_guarantee { WEIR_GUARANTEE_DEFAULT, WEIR_EXACTLY_ONCE, WEIR_AT_LEAST_ONCE, WEIR_BEST_EFFORT };

/* Names of formats; a third party's format is named the same way. NULL: the connector's own default. */
#define WEIR_TEXT_LINES "text"
#define WEIR_CSV        "csv"
#define WEIR_RAW        "raw"
#define WEIR_JSON       "json"
#define WEIR_MSGPACK    "msgpack"

/* Of a source by URI. */
typedef struct weir_source_options {
    uint32_t    size;
    const char *uri; /* "file:///data/x.csv?header=true": options of a connector are ?key=value */
    WEIR_COMMON_OPTIONS_
    const char *format;    /* a name from above */
    char        separator; /* CSV; 0: ',' */
    bool        header;    /* CSV: the first line names the fields */
    const char *fields;    /* "at=@timestamp:ms, user=user-id": names and units outside that differ from the record's */
    const char *options;   /* appended to the URI's: "group=billing start=earliest" */
    uint64_t    rate_max;  /* records per second and subtask; 0: no limit */
    bool        journal;   /* not yet: write-ahead for sources that cannot replay */
    const char *latest, *until; /* reserved: end positions that a micro-batch plans */
    int         weir_end_;
} weir_source_options;
/* Of a source of one's own. */
typedef struct weir_read_options {
    uint32_t size;
    WEIR_COMMON_OPTIONS_
    weir_duration discover_every; /* ask for new splits; 0: once */
    uint64_t      rate_max;       /* records per second and subtask; 0: no limit */
    const char   *latest, *until; /* reserved */
    int           weir_end_;
} weir_read_options;
/* Of a sink by URI. format, separator, header, fields and options are as those of a source. */
typedef struct weir_sink_options {
    uint32_t    size;
    const char *uri; /* "file:out?overwrite=true" */
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
/* Of event time. Durations are not negative. */
typedef struct weir_time_options {
    uint32_t      size;
    weir_duration max_delay;       /* watermark = greatest time seen - max_delay - 1 ns, per split */
    weir_duration idle_after;      /* a split that is silent for so long stops holding time back; 0: never */
    const char   *align_group;     /* not yet: sources that wait for each other ... */
    weir_duration align_drift_max; /* ... when they are further apart in event time */
    int           weir_end_;
} weir_time_options;
/* Watermarks by a function of one's own, as WEIR_WATERMARK makes it. Const, like a descriptor. */
typedef struct weir_watermark_def {
    const char *name; /* of the function, for people */
    weir_loop  *loop; /* is called with each batch, on the thread of the operator that reads the times */
} weir_watermark_def;
/* Only WEIR_STREAMING runs yet; the triggers are those of micro-batches. */
enum weir_mode { WEIR_STREAMING, WEIR_MICRO_BATCH };
enum weir_batch_trigger { WEIR_ASAP, WEIR_INTERVAL, WEIR_ONCE, WEIR_AVAILABLE_NOW, WEIR_CONTINUOUS };
/* Of the job as a whole. */
typedef struct weir_job_options {
    uint32_t      size;
    uint32_t      mode, trigger;                /* enum weir_mode, enum weir_batch_trigger */
    weir_duration interval;                     /* not yet: between micro-batches */
    uint32_t      parallelism, max_parallelism; /* flags of `weir run` win */
    weir_duration snapshot_every;               /* 0: as the setting says */
    const char   *snapshots;                    /* URI of the snapshot directory */
    uint32_t      on_error;                     /* enum weir_policy: of operators that do not say */
    uint32_t      restarts_max;                 /* not yet */
    int           weir_end_;
} weir_job_options;

/* Which subtask of the next operator a record goes to. OWN: as a function of the pipeline says. */
enum weir_route {
    WEIR_ROUTE_REBALANCE = 1,
    WEIR_ROUTE_RESCALE,
    WEIR_ROUTE_SHUFFLE,
    WEIR_ROUTE_GLOBAL,
    WEIR_ROUTE_BROADCAST,
    WEIR_ROUTE_OWN
};
/* What an operator is fed with. */
typedef struct weir_inputs {
    uint32_t         size;
    weir_node        left, right;         /* right: not yet */
    weir_key         left_key, right_key; /* no field: not keyed */
    weir_window_spec window;              /* kind 0: none */
    weir_meet        meet;                /* of a join: not yet */
} weir_inputs;

/* The verbs. Each gives a stream, which belongs to the pipeline: also after a problem, so that the build function can
 * go on; what is built on such a stream makes no further problem. `node` and `from` are streams of the same pipeline.
 *
 * Adds any operator. `options` is the struct that the kind of operator takes; its size stands first in it. */
weir_node weir_graph_op(const weir_op *op, const weir_inputs *inputs, const weir_options *options);
/* A connector by its URI: gives and takes records of `type`. */
weir_node weir_graph_source(weir_pipeline *p, const weir_type *type, const weir_source_options *options);
void      weir_graph_sink(weir_node node, const weir_type *type, const weir_sink_options *options);
/* A source and a sink of one's own: descriptors of WEIR_SOURCE, WEIR_SINK, WEIR_TWO_PHASE_SINK. */
weir_node weir_graph_read(weir_pipeline *p, const weir_op *op, const weir_read_options *options);
void      weir_graph_write(weir_node node, const weir_op *op, const weir_options *options);
/* Not yet: a stream that is fed later, by what is made of it. */
weir_node weir_graph_feedback(weir_pipeline *p, const weir_type *type, const weir_options *options);
void      weir_graph_feed(weir_node feedback, weir_node from);
weir_node weir_graph_union(uint32_t n, ...); /* n weir_node of one record, 2 to 16 */
/* The same stream, by another way (enum weir_route); own: the function of WEIR_ROUTE_OWN, else NULL. */
weir_node weir_graph_route(weir_node node, uint32_t route, weir_loop *own);
/* The same stream with event time, of the weir_time at this byte of the record; own: its watermarks, or NULL for
 * max_delay. */
weir_node weir_graph_time(weir_node node, uint32_t field_offset, const weir_watermark_def *own,
                          const weir_time_options *options);
/* Records of weir_dead (pipeline.h): what WEIR_DEAD_LETTER took out anywhere. Called again: the same stream. */
weir_node weir_graph_dead_letters(weir_pipeline *p);
/* Settings of the job; once, and not NULL. */
void weir_graph_job(weir_pipeline *p, const weir_job_options *options);
WEIR_EXTERN_C_END_
#endif
