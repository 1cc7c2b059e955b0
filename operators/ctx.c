/* What user functions may ask their ctx: time, rejects, strings, logs, arguments. */
#include "base/check.h"
#include "base/log.h"
#include "base/text.h"
#include "operators/op.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <weir/io.h>

static inline wr_op *op_of(const weir_ctx *ctx)
{
    return (wr_op *)ctx->engine;
}

weir_time weir_now(const weir_ctx *ctx)
{
    return (weir_time){op_of(ctx)->home->now_ns};
}
weir_time weir_watermark(const weir_ctx *ctx)
{
    return (weir_time){op_of(ctx)->watermark};
}
uint64_t weir_batch_id(const weir_ctx *ctx)
{
    return op_of(ctx)->home->epoch;
}
const weir_args *weir_ctx_args(const weir_ctx *ctx)
{
    return op_of(ctx)->args;
}
const weir_endpoint *weir_endpoint_of(const weir_ctx *ctx)
{
    return op_of(ctx)->endpoint;
}

void weir_fail(weir_ctx *ctx, const char *reason)
{
    wr_op *op = op_of(ctx);
    wr_op_fail(op, WR_USER_FAIL, "%s; operator %s subtask %u", reason, op->node->uid, op->subtask);
}

const weir_sink_id *weir_sink_id_of(const weir_ctx *ctx)
{
    wr_op         *op = op_of(ctx);
    const wr_home *home = op->home;
    const char    *lineage = home->lineage != NULL && *home->lineage != 0 ? home->lineage : home->job;
    if (op->sink_id.job == NULL)
        op->sink_id = (weir_sink_id){home->job ? home->job : "", lineage ? lineage : "", op->node->uid, op->subtask,
                                     op->subtasks};
    return &op->sink_id;
}

/* ---- strings of the batch ---- */

weir_str weir_keep(weir_ctx *ctx, const char *bytes, size_t n)
{
    if (n <= WEIR_STR_INLINE) return weir_str_of(bytes, n);
    char *copy = wr_scratch_take(&op_of(ctx)->home->scratch, n);
    memcpy(copy, bytes, n);
    return weir_str_of(copy, n);
}

weir_str weir_format(weir_ctx *ctx, const char *format, ...)
{
    char    short_text[256];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(short_text, sizeof short_text, format, args);
    va_end(args);
    if (n < 0) {
        weir_fail(ctx, "weir_format: the format cannot be printed");
        return weir_str_of("", 0);
    }
    if ((size_t)n < sizeof short_text) return weir_keep(ctx, short_text, (size_t)n);
    char *text = wr_scratch_take(&op_of(ctx)->home->scratch, (size_t)n + 1);
    va_start(args, format);
    vsnprintf(text, (size_t)n + 1, format, args);
    va_end(args);
    return weir_str_of(text, (size_t)n);
}

bool weir_str_to_i64(const weir_str *s, int64_t *value)
{
    int64_t found;
    if (!wr_text_to_i64(weir_str_data(s), s->len, &found)) return false;
    *value = found;
    return true;
}

bool weir_str_to_f64(const weir_str *s, double *value)
{
    double found;
    if (!wr_text_to_f64(weir_str_data(s), s->len, &found)) return false;
    *value = found;
    return true;
}

/* ---- asynchronous replies: a graph with WEIR_ASYNC is refused, so nobody can have one. They are here so that such a
 * pipeline can be loaded and is told so. ---- */

void weir_reply_with(weir_reply *reply, const weir_type *type, const void *record)
{
    (void)type;
    (void)record;
    check(reply == NULL);
}

void weir_reply_error(weir_reply *reply, const char *reason)
{
    (void)reason;
    check(reply == NULL);
}

void weir_log(weir_ctx *ctx, uint32_t level, const char *format, ...)
{
    static const wr_log_level levels[] = {WR_LOG_DEBUG, WR_LOG_INFO, WR_LOG_WARN, WR_LOG_ERROR};
    wr_log_level              to = level <= WEIR_LOG_ERROR ? levels[level] : WR_LOG_ERROR;
    if (!wr_log_wanted(to)) return;
    wr_op *op = op_of(ctx);
    char   where[WR_NAME_BYTES_MAX + 16];
    snprintf(where, sizeof where, "%s[%u]", op->node->uid, op->subtask);
    va_list args;
    va_start(args, format);
    wr_log_vline(to, where, format, args);
    va_end(args);
}

/* ---- resources ---- */

/* One opened resource of one operator and subtask; closed in reverse order. */
struct wr_held {
    struct wr_held      *next;
    const weir_resource *resource;
    _Alignas(WR_CACHE_LINE) char self[]; /* as WEIR_RESOURCE promises */
};

/* The caller's code uses what it gets until it returns, so it must be memory; nobody else ever sees it. A large one
 * cannot be had in any other way: that ends the process, as it does where strings find no memory. */
static void *no_resource(wr_op *op, const weir_resource *resource)
{
    static _Thread_local _Alignas(WR_CACHE_LINE) char nowhere[WR_PAGE_BYTES];
    wr_op_fail(op, WR_MEMORY, "no memory for resource %s (%u bytes); operator %s subtask %u", resource->name,
               resource->size, op->node->uid, op->subtask);
    if (resource->size > sizeof nowhere) {
        fprintf(stderr, "weir: %s\n", op->failure.text);
        abort();
    }
    memset(nowhere, 0, sizeof nowhere);
    return nowhere;
}

void *weir_resource_of(weir_ctx *ctx, const weir_resource *resource)
{
    wr_op *op = op_of(ctx);
    for (struct wr_held *h = op->held; h != NULL; h = h->next) {
        if (h->resource == resource) return h->self;
    }
    size_t          lines = (resource->size + WR_CACHE_LINE - 1) / WR_CACHE_LINE;
    size_t          bytes = sizeof(struct wr_held) + lines * WR_CACHE_LINE;
    struct wr_held *h = aligned_alloc(WR_CACHE_LINE, bytes);
    if (h == NULL) return no_resource(op, resource);
    memset(h, 0, bytes);
    h->resource = resource;
    h->next = op->held;
    op->held = h;
    wr_user was = wr_user_enter((wr_user){op, NULL, "in the open function of resource", resource->name, 0});
    bool    opened = resource->open(h->self, op->args);
    wr_user_leave(was);
    if (!opened) {
        wr_op_fail(op, WR_USER_FAIL,
                   "resource %s did not open; operator %s subtask %u; look at its open function and arguments",
                   resource->name, op->node->uid, op->subtask);
    }
    return h->self;
}

void wr_op_close_resources(wr_op *op)
{
    while (op->held != NULL) {
        struct wr_held *h = op->held;
        op->held = h->next;
        wr_user was = wr_user_enter((wr_user){op, NULL, "in the close function of resource", h->resource->name, 0});
        h->resource->close(h->self);
        wr_user_leave(was);
        free(h);
    }
}

/* ---- metrics ---- */

static wr_metric *metric_of(wr_op *op, const void *id, const char *name, uint32_t kind)
{
    for (uint32_t i = 0; i < op->metrics; i++) {
        if (op->metric[i].id == id) return &op->metric[i];
    }
    if (op->metric == NULL) op->metric = calloc(WR_METRICS_MAX, sizeof *op->metric);
    if (op->metric == NULL || op->metrics == WR_METRICS_MAX) {
        wr_op_fail(op, WR_LIMIT, "more than %d metrics; operator %s; make fewer", WR_METRICS_MAX, op->node->uid);
        return NULL;
    }
    wr_metric *m = &op->metric[op->metrics];
    m->id = id;
    m->name = name;
    m->kind = kind;
    atomic_fetch_add_explicit(&op->metrics, 1, memory_order_release); /* a reader sees a whole metric */
    return m;
}

static inline void add_relaxed(_Atomic uint64_t *to, uint64_t by)
{
    atomic_store_explicit(to, atomic_load_explicit(to, memory_order_relaxed) + by, memory_order_relaxed);
}

void weir_counter_add(weir_ctx *ctx, const weir_counter *counter, uint64_t by)
{
    wr_metric *m = metric_of(op_of(ctx), counter, counter->name, 1);
    if (m != NULL) add_relaxed(&m->value, by);
}

void weir_gauge_set(weir_ctx *ctx, const weir_gauge *gauge, double value)
{
    wr_metric *m = metric_of(op_of(ctx), gauge, gauge->name, 2);
    uint64_t   bits;
    memcpy(&bits, &value, sizeof bits);
    if (m != NULL) atomic_store_explicit(&m->value, bits, memory_order_relaxed);
}

void weir_histogram_add(weir_ctx *ctx, const weir_histogram *histogram, uint64_t value)
{
    wr_metric *m = metric_of(op_of(ctx), histogram, histogram->name, 3);
    if (m == NULL) return;
    add_relaxed(&m->value, value);
    add_relaxed(&m->count, 1);
}
