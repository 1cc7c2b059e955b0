/* connectors/test_source.c: records that a test pushes. One split; its position is the number of records taken. */
#include "base/arena.h"
#include "base/check.h"
#include "connectors/connectors.h"
#include "connectors/host.h"
#include "connectors/memory.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { CHUNK_RECORDS = 256 };

/* Records in the order of pushing; a chunk never moves. */
typedef struct chunk {
    struct chunk *next; /* set before count passes this chunk */
    char          records[];
} chunk;

/* Shared: count, ended (atomics; they publish what was written before). The rest belongs to the thread that pushes. */
struct wr_test_queue {
    _Atomic uint64_t count;
    atomic_bool      ended;
    chunk           *first, *last;
    const weir_type *type;
    wr_arena         strings;
    char            *name;
    void (*wake)(void *arg);
    void                 *wake_arg;
    struct wr_test_queue *next; /* in the list of all, under its lock */
};

/* Looked at when a source opens, never by a loop. */
static pthread_mutex_t queues_lock = PTHREAD_MUTEX_INITIALIZER;
static wr_test_queue  *queues;

static wr_test_queue *find_locked(const char *name)
{
    for (wr_test_queue *queue = queues; queue != NULL; queue = queue->next) {
        if (strcmp(queue->name, name) == 0) return queue;
    }
    return NULL;
}

wr_test_queue *wr_test_queue_new(const char *name, const weir_type *type)
{
    wr_test_queue *queue = calloc(1, sizeof *queue);
    check(queue != NULL);
    queue->name = strdup(name);
    check(queue->name != NULL);
    queue->type = type;
    wr_arena_init(&queue->strings);
    pthread_mutex_lock(&queues_lock);
    bool taken = find_locked(name) != NULL;
    if (!taken) {
        queue->next = queues;
        queues = queue;
    }
    pthread_mutex_unlock(&queues_lock);
    if (!taken) return queue;
    free(queue->name);
    free(queue);
    return NULL;
}

void wr_test_queue_free(wr_test_queue *queue)
{
    if (queue == NULL) return;
    pthread_mutex_lock(&queues_lock);
    for (wr_test_queue **at = &queues; *at != NULL; at = &(*at)->next) {
        if (*at != queue) continue;
        *at = queue->next;
        break;
    }
    pthread_mutex_unlock(&queues_lock);
    for (chunk *c = queue->first; c != NULL;) {
        chunk *next = c->next;
        free(c);
        c = next;
    }
    wr_arena_fini(&queue->strings);
    free(queue->name);
    free(queue);
}

void wr_test_queue_push(wr_test_queue *queue, const void *record)
{
    const weir_type *type = queue->type;
    uint64_t         count = atomic_load_explicit(&queue->count, memory_order_relaxed);
    if (count % CHUNK_RECORDS == 0) {
        chunk *c = calloc(1, sizeof *c + (size_t)CHUNK_RECORDS * type->size);
        check(c != NULL);
        if (queue->last != NULL)
            queue->last->next = c;
        else
            queue->first = c;
        queue->last = c;
    }
    char *to = queue->last->records + (count % CHUNK_RECORDS) * type->size;
    memcpy(to, record, type->size);
    for (uint32_t i = 0; i < type->fields; i++) {
        if (!wr_kind_is_string(type->field[i].kind)) continue;
        weir_str *str = (weir_str *)(void *)(to + type->field[i].offset);
        if (str->len > WEIR_STR_INLINE) str->u.far = wr_arena_copy(&queue->strings, str->u.far, str->len);
    }
    atomic_store_explicit(&queue->count, count + 1, memory_order_release);
    if (queue->wake != NULL) queue->wake(queue->wake_arg);
}

void wr_test_queue_end(wr_test_queue *queue)
{
    atomic_store_explicit(&queue->ended, true, memory_order_release);
    if (queue->wake != NULL) queue->wake(queue->wake_arg);
}

uint64_t wr_test_queue_count(const wr_test_queue *queue)
{
    return atomic_load_explicit(&queue->count, memory_order_acquire);
}

void wr_test_queue_on_push(wr_test_queue *queue, void (*wake)(void *arg), void *arg)
{
    queue->wake = wake;
    queue->wake_arg = arg;
}

/* ---- the source -------------------------------------------------------------------------------------------------- */

typedef struct test_split {
    weir_str name;
    uint64_t taken;
} test_split;

static const weir_field split_fields[] = {
    {"name", offsetof(test_split, name), sizeof(weir_str), WEIR_STR, 0, NULL, 0, 0, 0, {0}},
    {"taken", offsetof(test_split, taken), sizeof(uint64_t), WEIR_U64, 0, NULL, 0, 0, 0, {0}},
};
static const weir_type split_type = {.abi_size = sizeof(weir_type),
                                     .fields = 2,
                                     .name = "test_split",
                                     .size = sizeof(test_split),
                                     .align = _Alignof(test_split),
                                     .field = split_fields};

/* The one open split. */
typedef struct test_reader {
    const wr_test_queue *queue;
    const chunk         *at; /* of record `taken`, or NULL: not looked for yet */
} test_reader;

static void test_enumerate(weir_ctx *ctx)
{
    weir_out out = ctx->out[0];
    wr_emit_room(&out);
    *(test_split *)(void *)out.next = (test_split){.name = weir_str_of("test", 4)};
    out.next += sizeof(test_split);
    ctx->out[0] = out;
}

static void test_open(weir_ctx *ctx)
{
    test_reader         *reader = ctx->local;
    const weir_endpoint *endpoint = wr_host_endpoint(ctx);
    const char          *name = endpoint->path != NULL && endpoint->path[0] != 0 ? endpoint->path : endpoint->name;
    pthread_mutex_lock(&queues_lock);
    reader->queue = find_locked(name);
    pthread_mutex_unlock(&queues_lock);
    bool ok = reader->queue != NULL && reader->queue->type->size == endpoint->type->size;
    ctx->verdict[0] = ok;
    if (ok) return;
    wr_op_fail(wr_host_op(ctx), reader->queue == NULL ? WR_NOT_FOUND : WR_CONFIG,
               "%s; source %s (%s); \"test:\" sources run in the test harness (weir/test.h); "
               "to run the pipeline, give another URI by --set %s=URI",
               reader->queue == NULL ? "no test pushes into it" : "the test pushes records of another size",
               endpoint->name, endpoint->uri, endpoint->name);
}

static void test_poll(weir_ctx *ctx)
{
    test_split          *split = ctx->state[0];
    test_reader         *reader = ctx->local;
    const wr_test_queue *queue = reader->queue;
    const weir_type     *type = queue->type;
    bool                 ended = atomic_load_explicit(&queue->ended, memory_order_acquire);
    uint64_t             count = wr_test_queue_count(queue);
    weir_out             out = ctx->out[0];
    if (reader->at == NULL && count > split->taken) {
        reader->at = queue->first;
        for (uint64_t i = CHUNK_RECORDS; i <= split->taken; i += CHUNK_RECORDS) reader->at = reader->at->next;
    }
    for (; split->taken < count && out.next != out.end; split->taken++) {
        uint64_t within = split->taken % CHUNK_RECORDS;
        memcpy(out.next, reader->at->records + within * type->size, type->size);
        for (uint32_t i = 0; i < type->fields; i++) {
            weir_str *str = (weir_str *)(void *)(out.next + type->field[i].offset);
            if (wr_kind_is_string(type->field[i].kind) && str->len > WEIR_STR_INLINE) weir_out_own(out.engine, str);
        }
        out.next += type->size;
        if (out.time != NULL) *out.time++ = (weir_time){WEIR_NO_TIME};
        if (within == CHUNK_RECORDS - 1) reader->at = split->taken + 1 < count ? reader->at->next : NULL;
    }
    ctx->out[0] = out;
    bool all = split->taken == count;
    ctx->verdict[0] = !all ? WEIR_MORE : ended ? WEIR_END : WEIR_IDLE;
}

static const weir_op test_source = {
    WR_CONNECTOR_OP(WEIR_OP_SOURCE, "test"),
    .outs = 1,
    .out = wr_endpoint_out,
    .state = &split_type,
    .local_size = sizeof(test_reader),
    .on_left = test_poll,
    .open = test_open,
    .enumerate = test_enumerate,
};

const weir_connector wr_connector_test = {
    .magic = WEIR_CONNECTOR_MAGIC,
    .abi = WEIR_ABI,
    .size = sizeof(weir_connector),
    .flags = WEIR_CONNECTOR_ONE,
    .scheme = "test",
    .summary = "source: records that a test pushes",
    .source = &test_source,
};
