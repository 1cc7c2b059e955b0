/* connectors/collect.c: a sink that keeps records for the program around it, and one that keeps nothing. */
#include "base/check.h"
#include "connectors/connectors.h"
#include "connectors/host.h"
#include "connectors/memory.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

/* A batch as it came, with copies of its strings behind the records. Owned by the list, then by who takes. */
typedef struct kept {
    struct kept *next;
    uint32_t     n, taken;
    uint64_t     bytes;
    char         records[];
} kept;

/* Shared: newest, count, bytes (atomics). oldest and name belong to the thread that takes. */
struct wr_collector {
    kept *_Atomic        newest; /* every subtask pushes here */
    _Atomic uint64_t     count, bytes;
    kept                *oldest, *done; /* done: its strings are still lent */
    const weir_type     *type;
    uint64_t             bytes_max;
    char                *name;
    struct wr_collector *next; /* in the list of all, under its lock */
};

/* Looked at when a sink opens, never by a loop. */
static pthread_mutex_t collectors_lock = PTHREAD_MUTEX_INITIALIZER;
static wr_collector   *collectors;

wr_collector *wr_collector_new(const char *name, const weir_type *type, uint64_t bytes_max)
{
    wr_collector *collector = calloc(1, sizeof *collector);
    check(collector != NULL);
    collector->name = strdup(name);
    check(collector->name != NULL);
    collector->type = type;
    collector->bytes_max = bytes_max > 0 ? bytes_max : WR_OVERDRAFT_BYTES_MAX;
    pthread_mutex_lock(&collectors_lock);
    collector->next = collectors;
    collectors = collector;
    pthread_mutex_unlock(&collectors_lock);
    return collector;
}

static void free_list(kept *list)
{
    while (list != NULL) {
        kept *next = list->next;
        free(list);
        list = next;
    }
}

void wr_collector_free(wr_collector *collector)
{
    if (collector == NULL) return;
    pthread_mutex_lock(&collectors_lock);
    for (wr_collector **at = &collectors; *at != NULL; at = &(*at)->next) {
        if (*at != collector) continue;
        *at = collector->next;
        break;
    }
    pthread_mutex_unlock(&collectors_lock);
    free_list(atomic_load(&collector->newest));
    free_list(collector->oldest);
    free_list(collector->done);
    free(collector->name);
    free(collector);
}

uint64_t wr_collector_count(const wr_collector *collector)
{
    return atomic_load_explicit(&collector->count, memory_order_acquire);
}

/* Takes what the subtasks pushed, newest first, and turns it round. */
static kept *fetch(wr_collector *collector)
{
    kept *newest = atomic_exchange_explicit(&collector->newest, NULL, memory_order_acquire), *list = NULL;
    while (newest != NULL) {
        kept *next = newest->next;
        newest->next = list;
        list = newest;
        newest = next;
    }
    return list;
}

bool wr_collector_take(wr_collector *collector, void *record)
{
    free_list(collector->done);
    collector->done = NULL;
    if (collector->oldest == NULL) collector->oldest = fetch(collector);
    kept *k = collector->oldest;
    if (k == NULL) return false;
    memcpy(record, k->records + (size_t)k->taken * collector->type->size, collector->type->size);
    if (++k->taken == k->n) {
        collector->oldest = k->next;
        k->next = NULL;
        collector->done = k;
        atomic_fetch_sub_explicit(&collector->bytes, k->bytes, memory_order_relaxed);
    }
    return true;
}

/* ---- the sinks --------------------------------------------------------------------------------------------------- */

/* One subtask's. */
typedef struct collect_writer {
    wr_collector *collector;
} collect_writer;

static void collect_open(weir_ctx *ctx)
{
    collect_writer      *writer = ctx->local;
    const weir_endpoint *endpoint = wr_host_endpoint(ctx);
    const char          *name = endpoint->path != NULL && endpoint->path[0] != 0 ? endpoint->path : endpoint->name;
    pthread_mutex_lock(&collectors_lock);
    for (wr_collector *c = collectors; c != NULL && writer->collector == NULL; c = c->next) {
        if (strcmp(c->name, name) == 0) writer->collector = c;
    }
    pthread_mutex_unlock(&collectors_lock);
    bool ok = writer->collector != NULL && writer->collector->type->size == endpoint->type->size;
    ctx->verdict[0] = ok;
    if (ok) return;
    wr_op_fail(wr_host_op(ctx), writer->collector == NULL ? WR_NOT_FOUND : WR_CONFIG,
               "%s; sink %s (%s); \"collect:\" hands records to the program that embeds Weir; "
               "to run the pipeline otherwise, give another URI by --set %s=URI",
               writer->collector == NULL ? "nobody collects its records"
                                         : "the program collects records of another size",
               endpoint->name, endpoint->uri, endpoint->name);
}

static uint64_t far_bytes(const weir_type *type, const char *records, uint32_t n)
{
    uint64_t bytes = 0;
    for (uint32_t f = 0; f < type->fields; f++) {
        if (!wr_kind_is_string(type->field[f].kind)) continue;
        for (uint32_t i = 0; i < n; i++) {
            const weir_str *str = (const weir_str *)(const void *)(records + (size_t)i * type->size +
                                                                   type->field[f].offset);
            bytes += str->len > WEIR_STR_INLINE ? str->len : 0;
        }
    }
    return bytes;
}

static void copy_strings(const weir_type *type, char *records, uint32_t n, char *to)
{
    for (uint32_t f = 0; f < type->fields; f++) {
        if (!wr_kind_is_string(type->field[f].kind)) continue;
        for (uint32_t i = 0; i < n; i++) {
            weir_str *str = (weir_str *)(void *)(records + (size_t)i * type->size + type->field[f].offset);
            if (str->len <= WEIR_STR_INLINE) continue;
            memcpy(to, str->u.far, str->len);
            str->u.far = to;
            to += str->len;
        }
    }
}

static void collect_write(weir_ctx *ctx)
{
    wr_collector    *collector = ((collect_writer *)ctx->local)->collector;
    const weir_type *type = collector->type;
    size_t           records = (size_t)ctx->n * type->size;
    uint64_t         bytes = records + far_bytes(type, ctx->in, ctx->n);
    uint64_t         before = atomic_fetch_add_explicit(&collector->bytes, bytes, memory_order_relaxed);
    kept            *k = before + bytes > collector->bytes_max ? NULL : malloc(sizeof *k + bytes);
    if (k == NULL) {
        wr_op_fail(wr_host_op(ctx), WR_LIMIT,
                   "the collected records that nobody took are more than %llu bytes; sink %s (%s); "
                   "take them while the job runs, or collect less",
                   (unsigned long long)collector->bytes_max, wr_host_endpoint(ctx)->name, wr_host_endpoint(ctx)->uri);
        return;
    }
    *k = (kept){.n = ctx->n, .bytes = bytes};
    memcpy(k->records, ctx->in, records);
    copy_strings(type, k->records, ctx->n, k->records + records);
    k->next = atomic_load_explicit(&collector->newest, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&collector->newest, &k->next, k, memory_order_release,
                                                  memory_order_relaxed)) {}
    atomic_fetch_add_explicit(&collector->count, ctx->n, memory_order_release);
}

static const weir_op collect_sink = {
    WR_CONNECTOR_OP(WEIR_OP_SINK, "collect"),
    .local_size = sizeof(collect_writer),
    .on_left = collect_write,
    .open = collect_open,
};

const weir_connector wr_connector_collect = {
    .magic = WEIR_CONNECTOR_MAGIC,
    .abi = WEIR_ABI,
    .size = sizeof(weir_connector),
    .scheme = "collect",
    .summary = "sink: keeps records for the program that embeds Weir",
    .sink = &collect_sink,
};

static void blackhole_write(weir_ctx *ctx)
{
    (void)ctx;
}

static const weir_op blackhole_sink = {WR_CONNECTOR_OP(WEIR_OP_SINK, "blackhole"), .on_left = blackhole_write};

const weir_connector wr_connector_blackhole = {
    .magic = WEIR_CONNECTOR_MAGIC,
    .abi = WEIR_ABI,
    .size = sizeof(weir_connector),
    .scheme = "blackhole",
    .summary = "sink: takes everything and keeps nothing",
    .sink = &blackhole_sink,
};
