/* graph/endpoint.h: one source or sink by URI, parsed and checked before anything is opened. The functions
 * weir_endpoint_* of <weir/connector.h> read it, all but weir_endpoint_of. */
#ifndef WR_GRAPH_ENDPOINT_H
#define WR_GRAPH_ENDPOINT_H
#include "base/arena.h"
#include "base/error.h"
#include <weir/connector.h>

/* Units of a time or duration outside, in .fields "at=@timestamp:ms". */
typedef enum wr_unit { WR_UNIT_NONE = 0, WR_UNIT_S, WR_UNIT_MS, WR_UNIT_US, WR_UNIT_NS, WR_UNIT_ISO } wr_unit;

typedef struct wr_endpoint_field {
    const char *name; /* outside; the field's own unless .fields says otherwise */
    uint32_t    unit; /* wr_unit; NONE: the format's own */
} wr_endpoint_field;

typedef struct wr_endpoint_value {
    const char *text;   /* given or default; NULL: neither */
    uint64_t    number; /* U64, BYTES, BOOL, DURATION in ns; else 0 */
    bool        given;
} wr_endpoint_value;

/* Part of a wr_job: read only, any thread. */
struct weir_endpoint {
    const weir_connector    *connector; /* or NULL: not resolved */
    const weir_type         *type;
    const char              *name;      /* of the node */
    const char              *uri;       /* whole */
    const char              *path;      /* behind "scheme:" or "scheme://", without ?..., percent-decoded */
    const char              *format;    /* NULL: the connector takes none */
    char                     separator; /* CSV; ',' unless said */
    bool                     header;    /* CSV */
    bool                     sink;
    const wr_endpoint_field *field; /* type->fields of them */
    const wr_endpoint_value *value; /* connector->options of them */
    uint64_t                 rate_max;
    /* 0 at first, and the one thing in a job that is written: the connector's, for what one subtask of this process
     * does for all. Whoever uses it orders that. */
    uint32_t *mark;
};

/* What a node says about its endpoint. Strings are copied. */
typedef struct wr_endpoint_spec {
    const char      *name, *uri, *format, *fields, *options;
    char             separator;
    bool             header, sink;
    bool             replaced; /* the URI came from --set: format, header and separator hold only where they fit */
    uint64_t         rate_max;
    const weir_type *type;
} wr_endpoint_spec;

/* Called for each problem. */
typedef void wr_endpoint_bad(void *self, wr_err err, const char *text);

/* The scheme of a URI: *n bytes at its start, or false. */
bool wr_uri_scheme(const char *uri, size_t *n);
/* Never NULL; whatever is wrong is reported, all of it. connector may be NULL: then options are not checked. */
const weir_endpoint *wr_endpoint_new(wr_arena *arena, const wr_endpoint_spec *spec, const weir_connector *connector,
                                     wr_endpoint_bad *bad, void *self);

#endif
