#include "operators/batch.h"
#include "base/check.h"
#include <stdio.h>
#include <stdlib.h>

void wr_pool_init(wr_pool *pool, uint32_t stride, bool has_strings, bool timed, uint32_t cap)
{
    memset(pool, 0, sizeof *pool);
    pool->stride = stride;
    pool->heap_bytes = has_strings ? WR_BATCH_HEAP_BYTES : 0;
    pool->timed = timed;
    pool->cap = cap;
}

static wr_batch *batch_new(uint32_t stride, uint32_t capacity, size_t heap_bytes, bool timed)
{
    size_t head = (sizeof(wr_batch) + WR_CACHE_LINE - 1) & ~(size_t)(WR_CACHE_LINE - 1);
    size_t area = ((size_t)stride * capacity + WR_BATCH_SPARE_BYTES + WR_CACHE_LINE - 1) & ~(size_t)(WR_CACHE_LINE - 1);
    size_t heap = (heap_bytes + WR_CACHE_LINE - 1) & ~(size_t)(WR_CACHE_LINE - 1);
    size_t times = timed ? capacity * sizeof(weir_time) : 0;
    size_t bytes = head + area + heap + times + WR_CACHE_LINE;
    char  *memory = NULL;
    if (posix_memalign((void **)&memory, WR_CACHE_LINE, bytes) != 0) {
        fprintf(stderr, "weir: out of memory for a batch of %zu bytes\n", bytes);
        abort();
    }
    wr_batch *b = (wr_batch *)memory;
    memset(b, 0, sizeof *b);
    b->kind = WR_RECORDS;
    b->capacity = capacity;
    b->stride = stride;
    b->records = memory + head;
    b->heap = memory + head + area;
    b->heap_bytes = (uint32_t)heap_bytes;
    b->time = timed ? (weir_time *)(void *)(memory + head + area + heap) : NULL;
    b->bytes = bytes;
    return b;
}

static uint32_t batch_capacity(uint32_t stride)
{
    uint32_t n = stride ? WR_BATCH_BYTES / stride : 0;
    if (n > WR_BATCH_RECORDS_MAX) n = WR_BATCH_RECORDS_MAX;
    return n ? n : 1;
}

static wr_batch *pool_out(wr_pool *pool, wr_batch *b)
{
    pool->out++;
    if (wr_pool_tight(pool)) {
        pool->overdraft_bytes += b->bytes;
        pool->overdrawn += b->bytes;
        pool->beyond += b->special ? b->bytes : b->bytes - b->heap_bytes;
        if (pool->overdraft_bytes > WR_STEP_BYTES_MAX) pool->exhausted = true;
    }
    return b;
}

wr_batch *wr_pool_take(wr_pool *pool)
{
    wr_batch *b = pool->free;
    if (b != NULL) {
        pool->free = b->next;
        b->next = NULL;
    } else {
        b = batch_new(pool->stride, batch_capacity(pool->stride), pool->heap_bytes, pool->timed);
        pool->bytes += b->bytes;
    }
    return pool_out(pool, b);
}

wr_batch *wr_pool_take_special(wr_pool *pool, size_t heap_bytes)
{
    wr_batch *b = batch_new(pool->stride, 1, heap_bytes, pool->timed);
    b->special = true;
    pool->bytes += b->bytes;
    return pool_out(pool, b);
}

void wr_pool_give(wr_pool *pool, wr_batch *b)
{
    check(pool->out > 0);
    pool->out--;
    if (!wr_pool_tight(pool)) pool->overdraft_bytes = 0;
    if (b->special) {
        pool->bytes -= b->bytes;
        free(b);
        return;
    }
    b->kind = WR_RECORDS;
    b->n = 0;
    b->heap_used = 0;
    b->next = pool->free;
    pool->free = b;
}

void wr_pool_fini(wr_pool *pool)
{
    while (pool->free != NULL) {
        wr_batch *b = pool->free;
        pool->free = b->next;
        free(b);
    }
}

/* ---- channels ---- */

void wr_pipe_init(wr_pipe *c, wr_pool *pool, wr_parker *consumer, wr_parker *producer, uint32_t port)
{
    memset(c, 0, sizeof *c);
    wr_ring_init(&c->data, WR_RING_MAX);
    wr_ring_init(&c->home, WR_RING_SLOTS_MAX);
    c->pool = pool;
    c->pending_end = &c->pending;
    c->consumer = consumer;
    c->producer = producer;
    c->port = port;
    c->watermark = WEIR_NO_TIME;
}

void wr_pipe_reclaim(wr_pipe *c)
{
    for (wr_batch *b; (b = wr_ring_pop(&c->home)) != NULL;) {
        if (b->stride == 0) {
            free(b); /* a control element */
        } else {
            c->away--;
            wr_pool_give(c->pool, b);
        }
    }
}

void wr_pipe_send(wr_pipe *c, wr_batch *b, const wr_env *env)
{
    wr_pipe_reclaim(c);
    c->away += b->stride != 0;
    if (c->pending == NULL && wr_ring_push(&c->data, b)) {
        wr_parker_wake(env, c->consumer);
        return;
    }
    b->next = NULL;
    *c->pending_end = b;
    c->pending_end = &b->next;
}

bool wr_pipe_flush(wr_pipe *c, const wr_env *env)
{
    if (c->pending == NULL) return true;
    bool sent = false;
    while (c->pending != NULL) {
        wr_pipe_reclaim(c); /* each time: a fast consumer could fill the home ring while a long overdraft leaves */
        wr_batch *b = c->pending, *next = b->next; /* read before the push: afterwards it is the consumer's */
        if (!wr_ring_push(&c->data, b)) break;
        c->pending = next;
        sent = true;
    }
    if (c->pending == NULL) c->pending_end = &c->pending;
    if (sent) wr_parker_wake(env, c->consumer);
    return c->pending == NULL;
}

/* Behind all that was sent; what is still open leaves before it. */
static void send_control(wr_pipe *c, const wr_batch *like, const wr_env *env)
{
    wr_batch *b = malloc(sizeof *b);
    if (b == NULL) {
        fprintf(stderr, "weir: out of memory for a control element\n");
        abort();
    }
    *b = *like;
    if (c->open != NULL) {
        wr_batch *open = c->open;
        c->open = NULL;
        wr_pipe_send(c, open, env);
    }
    wr_pipe_send(c, b, env);
}

void wr_pipe_control(wr_pipe *c, uint32_t kind, int64_t at, const wr_env *env)
{
    send_control(c, &(wr_batch){.kind = kind, .at = at}, env);
}

void wr_pipe_barrier(wr_pipe *c, const wr_barrier *barrier, int64_t triggered_mono_ns, const wr_env *env)
{
    send_control(c, &(wr_batch){.kind = WR_BARRIER, .at = triggered_mono_ns, .barrier = *barrier}, env);
}

void wr_pipe_return(wr_pipe *c, wr_batch *b, const wr_env *env)
{
    /* The home ring has room for all that can be in flight: the producer empties it at each send. */
    check(wr_ring_push(&c->home, b));
    /* A producer that waits for room is woken when it can send a few batches, or it would park again after each. What
     * is known here of the ring's content is never too much; the rest of it will be taken, and then it is woken. */
    if (c->data.pushed_seen - atomic_load_explicit(&c->data.popped, memory_order_relaxed) > WR_RING_MAX / 2) return;
    wr_parker_wake(env, c->producer);
}

void wr_pipe_fini(wr_pipe *c)
{
    for (wr_batch *b; (b = wr_ring_pop(&c->data)) != NULL;) free(b);
    for (wr_batch *b; (b = wr_ring_pop(&c->home)) != NULL;) free(b);
    while (c->pending != NULL) {
        wr_batch *b = c->pending;
        c->pending = b->next;
        free(b);
    }
    free(c->open);
}
