/* The edge of a chain: routes a batch over channels and copies it into their open batches, strings and all. */
#include "operators/exchange.h"
#include "base/check.h"
#include "graph/job.h"
#include <stdlib.h>

enum {
    LIST_SPARE = 64, /* vector code writes whole lanes */
    PREFETCH_BYTES = 1024,
    SELECT_CHANNELS_MAX = 16 /* up to here a vector pass per channel is faster than a sort */
};

wr_err wr_exchange_init(wr_exchange *x, const wr_edge *edge, wr_op *op, wr_pipe **channel, uint32_t channels,
                        uint32_t max_parallelism)
{
    memset(x, 0, sizeof *x);
    x->edge = edge;
    x->type = edge->type;
    x->home = op->home;
    x->op = op;
    x->channel = channel;
    x->channels = channels;
    x->max_parallelism = max_parallelism;
    x->stride = edge->type->size;
    x->timed = op->timed && edge->from_port != WR_PORT_DEAD;
    x->watermark_sent = WEIR_NO_TIME;
    x->string_at = calloc(edge->type->fields + 1, sizeof *x->string_at);
    x->bound = calloc(channels + 1, sizeof *x->bound);
    x->start = calloc(channels + 1, sizeof *x->start);
    x->hash = aligned_alloc(WR_CACHE_LINE, WR_BATCH_RECORDS_MAX * sizeof *x->hash);
    x->list = aligned_alloc(WR_CACHE_LINE, (WR_BATCH_RECORDS_MAX + LIST_SPARE) * sizeof *x->list);
    x->verdict = aligned_alloc(WR_CACHE_LINE, (WR_BATCH_RECORDS_MAX + LIST_SPARE) * sizeof *x->verdict);
    if (!x->string_at || !x->bound || !x->start || !x->hash || !x->list || !x->verdict) return WR_MEMORY;
    for (uint32_t i = 0; i < edge->type->fields; i++) {
        uint32_t kind = edge->type->field[i].kind;
        if (kind == WEIR_STR || kind == WEIR_BYTES) x->string_at[x->strings++] = (uint16_t)edge->type->field[i].offset;
    }
    if (channels > SELECT_CHANNELS_MAX && edge->route == WR_ROUTE_HASH) {
        x->of_group = calloc(max_parallelism, sizeof *x->of_group);
        if (x->of_group == NULL) return WR_MEMORY;
        for (uint32_t g = 0; g < max_parallelism; g++)
            x->of_group[g] = (uint16_t)wr_subtask_of(g, channels, max_parallelism);
    }
    uint32_t cap = channels * WR_EXCLUSIVE_BATCHES + 2 * WR_RING_MAX; /* its own, and a floating pool */
    wr_pool_init(&x->pool, x->stride, x->strings > 0, x->timed, cap);
    for (uint32_t c = 0; c < channels; c++) {
        /* The smallest h >> 32 whose key group belongs to c: key groups and subtasks are contiguous ranges of the
         * hash. */
        uint64_t group = ((uint64_t)c * max_parallelism + channels - 1) / channels;
        x->bound[c] = (uint32_t)(((group << 32) + max_parallelism - 1) / max_parallelism);
    }
    x->own.abi_size = sizeof x->own;
    x->own.channels = channels;
    x->own.verdict = x->verdict;
    return WR_OK;
}

void wr_exchange_fini(wr_exchange *x)
{
    free(x->string_at);
    free(x->bound);
    free(x->of_group);
    free(x->start);
    free(x->hash);
    free(x->list);
    free(x->verdict);
    wr_pool_fini(&x->pool);
}

/* ---- copying ---- */

static void pipe_seal(wr_exchange *x, wr_pipe *p)
{
    wr_batch *b = p->open;
    if (b == NULL) return;
    p->open = NULL;
    x->open--;
    if (wr_pool_tight(&x->pool)) x->pool.beyond += b->heap_used;
    if (b->n == 0)
        wr_pool_give(&x->pool, b);
    else
        wr_pipe_send(p, b, x->home->env);
}

static wr_batch *pipe_open(wr_exchange *x, wr_pipe *p)
{
    if (p->open != NULL) return p->open;
    wr_pipe_reclaim(p);
    p->open = wr_pool_take(&x->pool);
    p->open_since_ns = x->home->mono_ns;
    x->open++;
    return p->open;
}

static size_t record_heap_bytes(const wr_exchange *x, const char *record)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < x->strings; i++) {
        const weir_str *s = (const weir_str *)(record + x->string_at[i]);
        if (s->len > WEIR_STR_INLINE) bytes += s->len;
    }
    return bytes;
}

/* The record already stands at `to`; its far strings move into the heap, which has room. */
static void own_strings(const wr_exchange *x, wr_batch *b, char *to)
{
    for (uint32_t i = 0; i < x->strings; i++) {
        weir_str *s = (weir_str *)(to + x->string_at[i]);
        if (s->len <= WEIR_STR_INLINE) continue;
        char *copy = b->heap + b->heap_used;
        memcpy(copy, s->u.far, s->len);
        b->heap_used += s->len;
        s->u.far = copy;
    }
}

static void put_special(wr_exchange *x, wr_pipe *p, const char *record, const weir_time *time, size_t heap)
{
    if (heap + x->stride > WR_RECORD_BYTES_MAX) {
        wr_op_fail(x->op, WR_RECORD_TOO_LARGE,
                   "a record of %zu bytes is larger than %d MiB; output of operator %s subtask %u; "
                   "split it or drop its long strings",
                   heap + x->stride, WR_RECORD_BYTES_MAX >> 20, x->op->node->uid, x->op->subtask);
        return;
    }
    pipe_seal(x, p); /* order */
    wr_batch *b = wr_pool_take_special(&x->pool, heap);
    memcpy(b->records, record, x->stride);
    own_strings(x, b, b->records);
    if (time != NULL) b->time[0] = *time;
    b->n = 1;
    wr_pipe_send(p, b, x->home->env);
}

/* time: of this record, or NULL. */
static void put_with_strings(wr_exchange *x, wr_pipe *p, const char *record, const weir_time *time)
{
    size_t    heap = record_heap_bytes(x, record);
    wr_batch *b = pipe_open(x, p);
    if (heap > b->heap_bytes - b->heap_used) {
        if (heap > x->pool.heap_bytes) {
            put_special(x, p, record, time, heap);
            return;
        }
        pipe_seal(x, p);
        b = pipe_open(x, p);
    }
    char *to = b->records + (size_t)b->n * x->stride;
    memcpy(to, record, x->stride);
    own_strings(x, b, to);
    if (time != NULL) b->time[b->n] = *time;
    if (++b->n == b->capacity) pipe_seal(x, p);
}

/* The lines of a batch that came home belong to the consumer's CPU: asking for them ahead hides the way. */
#define COPY_LISTED(BYTES)                                                                                             \
    for (uint32_t i = 0; i < n; i++) {                                                                                 \
        __builtin_prefetch(to + (size_t)i * (BYTES) + PREFETCH_BYTES, 1);                                              \
        memcpy(to + (size_t)i * (BYTES), from + (size_t)list[i] * (BYTES), (BYTES));                                   \
    }

static void copy_listed(char *restrict to, const char *restrict from, const uint32_t *restrict list, uint32_t n,
                        uint32_t stride)
{
    switch (stride) {
    case 8: COPY_LISTED(8); break;
    case 16: COPY_LISTED(16); break;
    case 24: COPY_LISTED(24); break;
    case 32: COPY_LISTED(32); break;
    case 40: COPY_LISTED(40); break;
    case 48: COPY_LISTED(48); break;
    case 64: COPY_LISTED(64); break;
    default: COPY_LISTED(stride); break;
    }
}

/* The records of `list` go to p, in this order. */
static void put_listed(wr_exchange *x, wr_pipe *p, const wr_view *view, const uint32_t *list, uint32_t n)
{
    const weir_time *time = view->time;
    if (x->strings > 0) {
        for (uint32_t i = 0; i < n; i++)
            put_with_strings(x, p, view->records + (size_t)list[i] * x->stride, time ? time + list[i] : NULL);
        return;
    }
    while (n > 0) {
        wr_batch *b = pipe_open(x, p);
        uint32_t  k = b->capacity - b->n;
        if (k > n) k = n;
        copy_listed(b->records + (size_t)b->n * x->stride, view->records, list, k, x->stride);
        if (time != NULL) copy_listed((char *)(b->time + b->n), (const char *)time, list, k, sizeof *time);
        b->n += k;
        list += k;
        n -= k;
        if (b->n == b->capacity) pipe_seal(x, p);
    }
}

/* n records from the one at `at` go to p. */
static void put_run(wr_exchange *x, wr_pipe *p, const wr_view *view, uint32_t at, uint32_t n)
{
    const char      *first = view->records + (size_t)at * x->stride;
    const weir_time *time = view->time ? view->time + at : NULL;
    if (x->strings > 0) {
        for (uint32_t i = 0; i < n; i++) put_with_strings(x, p, first + (size_t)i * x->stride, time ? time + i : NULL);
        return;
    }
    while (n > 0) {
        wr_batch *b = pipe_open(x, p);
        uint32_t  k = b->capacity - b->n;
        if (k > n) k = n;
        memcpy(b->records + (size_t)b->n * x->stride, first, (size_t)k * x->stride);
        if (time != NULL) {
            memcpy(b->time + b->n, time, k * sizeof *time);
            time += k;
        }
        b->n += k;
        first += (size_t)k * x->stride;
        n -= k;
        if (b->n == b->capacity) pipe_seal(x, p);
    }
}

/* ---- routes ---- */

/* Many channels: a pass over the batch for each costs more than sorting it once by channel. */
static void push_hash_many(wr_exchange *x, const wr_view *view, const uint64_t *hash)
{
    uint32_t  n = view->n;
    uint32_t *start = x->start; /* channels + 1 of them: where each channel's part of the list begins */
    memset(start, 0, (x->channels + 1) * sizeof *start);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t c = x->of_group[wr_key_group_of(hash[i], x->max_parallelism)];
        x->verdict[i] = c;
        start[c + 1]++;
    }
    for (uint32_t c = 0; c < x->channels; c++) start[c + 1] += start[c];
    for (uint32_t i = 0; i < n; i++) x->list[start[x->verdict[i]]++] = i;
    /* Filling has moved each start to its end, which is the next one's start. */
    for (uint32_t c = 0, from = 0; c < x->channels; from = start[c++]) {
        if (start[c] > from) put_listed(x, x->channel[c], view, x->list + from, start[c] - from);
    }
}

static void push_hash(wr_exchange *x, const wr_view *view)
{
    const uint64_t *hash = view->hash;
    if (hash == NULL) {
        wr_key_hash(&x->edge->key, view->records, x->stride, view->n, x->hash);
        hash = x->hash;
    }
    if (x->channels > SELECT_CHANNELS_MAX) {
        push_hash_many(x, view, hash);
        return;
    }
    for (uint32_t c = 0; c < x->channels; c++) {
        uint32_t last = c + 1 < x->channels ? x->bound[c + 1] - 1 : UINT32_MAX;
        if (c + 1 < x->channels && x->bound[c + 1] == x->bound[c]) continue; /* more subtasks than key groups */
        uint32_t n = wr_select_range(hash, view->n, x->bound[c], last, x->list);
        put_listed(x, x->channel[c], view, x->list, n);
    }
}

/* Slices of one batch, so that a small input is spread as well; each batch begins one channel further. */
static void push_rebalance(wr_exchange *x, const wr_view *view)
{
    uint32_t slices = view->n < x->channels ? view->n : x->channels;
    for (uint32_t s = 0; s < slices; s++) {
        uint32_t first = (uint32_t)((uint64_t)view->n * s / slices),
                 end = (uint32_t)((uint64_t)view->n * (s + 1) / slices);
        put_run(x, x->channel[(x->next + s) % x->channels], view, first, end - first);
    }
    x->next = (x->next + slices) % x->channels;
}

static void push_verdicts(wr_exchange *x, const wr_view *view)
{
    for (uint32_t c = 0; c < x->channels; c++) {
        uint32_t n = wr_select_equal(x->verdict, view->n, c, x->list);
        put_listed(x, x->channel[c], view, x->list, n);
    }
}

static void push_shuffle(wr_exchange *x, const wr_view *view)
{
    for (uint32_t i = 0; i < view->n; i++)
        x->verdict[i] = (uint32_t)(((wr_prng_next(&x->home->random) >> 32) * x->channels) >> 32);
    push_verdicts(x, view);
}

static void push_own(wr_exchange *x, const wr_view *view)
{
    x->own.in = view->records;
    x->own.n = view->n;
    x->own.time = view->time;
    x->own.engine = x->op;
    wr_user_call((wr_user){.op = x->op, .does = "in the partitioner behind it"}, x->edge->own, &x->own);
    for (uint32_t i = 0; i < view->n; i++) {
        if (x->verdict[i] < x->channels) continue;
        wr_op_fail(x->op, WR_USER_FAIL,
                   "the partitioner behind operator %s chose channel %u of %u; record %u of its batch; "
                   "return a number below `channels`",
                   x->op->node->uid, x->verdict[i], x->channels, i);
        return;
    }
    push_verdicts(x, view);
}

/* A buffer that is full in the middle of a call has records of those before it: only what follows is all its own. */
static void count_overdraft(wr_exchange *x, uint64_t before)
{
    wr_op *whose = wr_calls_add(&x->calls, 0, x->pool.beyond - before);
    if (whose != NULL) wr_op_fail_overdraft(whose, false, false);
    if (x->pool.exhausted) wr_op_fail_overdraft(wr_user_now.op != NULL ? wr_user_now.op : x->op, false, true);
}

void wr_exchange_push(wr_exchange *x, const wr_view *view)
{
    uint64_t before = x->pool.beyond;
    check(x->timed == (view->time != NULL));
    if (x->channels == 1 && x->edge->route != WR_ROUTE_OWN) {
        put_run(x, x->channel[0], view, 0, view->n);
    } else {
        switch (x->edge->route) {
        case WR_ROUTE_HASH: push_hash(x, view); break;
        case WR_ROUTE_BROADCAST:
            for (uint32_t c = 0; c < x->channels; c++) put_run(x, x->channel[c], view, 0, view->n);
            break;
        case WR_ROUTE_SHUFFLE: push_shuffle(x, view); break;
        case WR_ROUTE_OWN: push_own(x, view); break;
        case WR_ROUTE_FORWARD:
        case WR_ROUTE_GLOBAL: put_run(x, x->channel[0], view, 0, view->n); break;
        default: push_rebalance(x, view); break;
        }
    }
    if (wr_pool_tight(&x->pool)) count_overdraft(x, before);
}

/* ---- time and control ---- */

void wr_exchange_send_open(wr_exchange *x, int64_t older_than_ns)
{
    if (x->open == 0) return;
    for (uint32_t c = 0; c < x->channels; c++) {
        if (x->channel[c]->open != NULL && x->channel[c]->open_since_ns <= older_than_ns) pipe_seal(x, x->channel[c]);
    }
}

void wr_exchange_control(wr_exchange *x, uint32_t kind, int64_t at)
{
    for (uint32_t c = 0; c < x->channels; c++) {
        pipe_seal(x, x->channel[c]);
        wr_pipe_control(x->channel[c], kind, at, x->home->env);
    }
}

void wr_exchange_barrier(wr_exchange *x, const wr_barrier *barrier, int64_t triggered_mono_ns)
{
    for (uint32_t c = 0; c < x->channels; c++) {
        pipe_seal(x, x->channel[c]);
        wr_pipe_barrier(x->channel[c], barrier, triggered_mono_ns, x->home->env);
    }
}

bool wr_exchange_ready(wr_exchange *x)
{
    bool ready = true;
    for (uint32_t c = 0; c < x->channels; c++) ready &= wr_pipe_flush(x->channel[c], x->home->env);
    if (wr_pool_tight(&x->pool)) {
        for (uint32_t c = 0; c < x->channels; c++) wr_pipe_reclaim(x->channel[c]);
        ready &= !wr_pool_tight(&x->pool);
    }
    return ready;
}

void wr_exchange_put(wr_exchange *x, uint32_t channel, const void *record)
{
    check(channel < x->channels);
    put_run(x, x->channel[channel], &(wr_view){.records = record, .n = 1}, 0, 1);
    pipe_seal(x, x->channel[channel]);
}
