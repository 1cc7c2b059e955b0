/* weir/connector.h: sources and sinks by URI. One exported const descriptor per scheme, over the loops of weir_op: the
 * built-in connectors use it, and a third party ships one as a .so of its own. */
#ifndef WEIR_CONNECTOR_H
#define WEIR_CONNECTOR_H
#include <weir/graph.h>
WEIR_EXTERN_C_BEGIN_
/* weir_connector.magic: how its file is known to be one. */
#define WEIR_CONNECTOR_MAGIC 0x4e4f4357u /* "WCON" */

/* One option of a connector, given as ?name=value in the URI or in .options. Checked before anything is opened.
 * BYTES is a size ("64KiB") in bytes, DURATION a time ("250ms") in ns. */
enum weir_option_kind {
    WEIR_OPTION_STR = 1,
    WEIR_OPTION_BOOL,
    WEIR_OPTION_U64,
    WEIR_OPTION_BYTES,
    WEIR_OPTION_DURATION
};
typedef struct weir_option_def {
    const char *name;      /* as it stands in the URI */
    uint32_t    kind;      /* enum weir_option_kind */
    uint32_t    reserved;  /* 0 */
    const char *otherwise; /* default, in text; NULL: NULL or 0 */
    const char *help;      /* one line */
} weir_option_def;

/* weir_connector.flags */
#define WEIR_CONNECTOR_BLOCKS 0x1u /* its calls may block: own thread by default */
#define WEIR_CONNECTOR_ONE    0x2u /* one subtask only (standard input) */
/* What its source has read cannot be read again: no exactly once behind it. With ONE: and a job has one source of each
 * path, since two would tear the input apart. */
#define WEIR_CONNECTOR_GONE 0x4u

/* A source gives enumerate, open, on_left (poll), close, with state = its split type; a sink open, on_left, flush,
 * close. `in` and `out` hold records of the stream's type, known only at run time: weir_endpoint_type. Const;
 * of a third party exported as weir_connector_v1 by a file that stays loaded. */
typedef struct weir_connector {
    uint32_t               magic, abi, size; /* WEIR_CONNECTOR_MAGIC, WEIR_ABI, sizeof(weir_connector) */
    uint32_t               flags;            /* from above */
    const char            *scheme;           /* "file" */
    const char            *summary;          /* one line */
    const char            *source_formats;   /* "text csv raw": names it takes, the first is the default */
    const char            *sink_formats;     /* the same of a sink */
    const weir_option_def *option;           /* `options` of them */
    uint32_t               options, reserved0;
    const weir_op         *source, *sink; /* NULL: it has none */
    uint64_t               reserved[6];
} weir_connector;

/* What a connector's loop may ask: one URI, with its options checked. Thread: the loop's. What it gives belongs to it
 * and lives as long as the task. weir_endpoint_str and weir_endpoint_u64 know the options that the connector declares
 * in weir_connector.option, and those only: to ask for another one is a mistake in the connector, which ends the
 * process (abort) with a report. weir_endpoint_of gives NULL in a loop that is none of a connector's, and the others
 * do not take that. */
typedef struct weir_endpoint weir_endpoint;
const weir_endpoint         *weir_endpoint_of(const weir_ctx *ctx);      /* that of the running task */
const char                  *weir_endpoint_uri(const weir_endpoint *e);  /* as it was given, by --set or the pipeline */
const char                  *weir_endpoint_path(const weir_endpoint *e); /* what follows "scheme:" or "scheme://" */
const weir_type             *weir_endpoint_type(const weir_endpoint *e); /* the stream's record */
/* As it was given, or weir_option_def.otherwise, which may be NULL. Of any kind. */
const char *weir_endpoint_str(const weir_endpoint *e, const char *option);
/* U64, BYTES, BOOL (0 or 1), DURATION in ns; of a STR, and without value and default, 0. */
uint64_t weir_endpoint_u64(const weir_endpoint *e, const char *option);
uint64_t weir_endpoint_rate_max(const weir_endpoint *e); /* records per second and subtask, which Weir keeps; 0: none */

/* Parses one record (without its line end) by the endpoint's format and emits it to out[0]; `place` is named when it is
 * bad ("FILE:LINE"): then the operator's policy decides and the call returns false, as it does after a failure. bytes
 * stay the caller's: strings are copied, but for those that lie in out[0].borrowed. A record is one line of CSV without
 * a header: `header` is refused for connectors that are not built in. */
bool weir_decode(weir_ctx *ctx, const char *bytes, size_t n, const char *place, uint64_t place_number);
/* Writes record `at` of `in` in the endpoint's format, with its line end, into memory of the batch: Weir's, until
 * the loop returns. Empty after a failure. */
weir_str weir_encode(weir_ctx *ctx, const void *record);
WEIR_EXTERN_C_END_
#endif
