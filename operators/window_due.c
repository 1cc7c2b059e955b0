/* A calendar: keys by the time at which something of them is due. What is near in time is a heap, what is further away
 * lies unsorted in buckets of one width, so that adding costs the same for ten keys and for ten million. */
#include "operators/window.h"
#include <stdlib.h>

static void *grow(wr_calendar *c, void *array, uint32_t *max, uint32_t first, size_t size)
{
    uint32_t was = *max;
    *max = was == 0 ? first : 2 * was;
    array = realloc(array, *max * size);
    check(array != NULL);
    if (c->budget != NULL) c->budget->bytes += (*max - was) * size;
    return array;
}

static void heap_push(wr_calendar *c, wr_due due)
{
    if (c->heap_n == c->heap_max) c->heap = grow(c, c->heap, &c->heap_max, 64, sizeof *c->heap);
    uint32_t at = c->heap_n++;
    for (; at > 0 && c->heap[(at - 1) / 2].at > due.at; at = (at - 1) / 2) c->heap[at] = c->heap[(at - 1) / 2];
    c->heap[at] = due;
}

static wr_due heap_pop(wr_calendar *c)
{
    wr_due   first = c->heap[0], last = c->heap[--c->heap_n];
    uint32_t at = 0;
    for (uint32_t child; (child = 2 * at + 1) < c->heap_n; at = child) {
        if (child + 1 < c->heap_n && c->heap[child + 1].at < c->heap[child].at) child++;
        if (c->heap[child].at >= last.at) break;
        c->heap[at] = c->heap[child];
    }
    c->heap[at] = last;
    return first;
}

static int64_t number_of(const wr_calendar *c, int64_t at)
{
    return at / c->width_ns - (at % c->width_ns < 0);
}

void wr_calendar_add(wr_calendar *c, int64_t at, uint64_t hash)
{
    int64_t number = number_of(c, at);
    if (number < c->edge || c->width_ns == 0) {
        heap_push(c, (wr_due){at, hash});
        return;
    }
    uint32_t b = c->buckets;
    while (b > 0 && c->bucket[b - 1].number >= number) b--; /* mostly one of the last */
    if (b == c->buckets || c->bucket[b].number != number) {
        if (c->buckets == c->buckets_max) c->bucket = grow(c, c->bucket, &c->buckets_max, 64, sizeof *c->bucket);
        memmove(c->bucket + b + 1, c->bucket + b, (c->buckets - b) * sizeof *c->bucket);
        c->bucket[b] = (wr_due_bucket){.number = number};
        c->buckets++;
    }
    wr_due_bucket *in = &c->bucket[b];
    if (in->n == in->max) in->due = grow(c, in->due, &in->max, 16, sizeof *in->due);
    in->due[in->n++] = (wr_due){at, hash};
}

static void open_bucket(wr_calendar *c)
{
    wr_due_bucket in = c->bucket[0];
    c->buckets--;
    memmove(c->bucket, c->bucket + 1, c->buckets * sizeof *c->bucket);
    c->edge = in.number + 1;
    for (uint32_t i = 0; i < in.n; i++) heap_push(c, in.due[i]);
    if (c->budget != NULL) c->budget->bytes -= in.max * sizeof *in.due;
    free(in.due);
}

bool wr_calendar_next(wr_calendar *c, int64_t until, wr_due *due)
{
    int64_t last = number_of(c, until);
    while (c->heap_n == 0 && c->buckets > 0 && c->bucket[0].number <= last) /* all in the heap is earlier */
        open_bucket(c);
    if (c->heap_n == 0 || c->heap[0].at > until) return false;
    *due = heap_pop(c);
    return true;
}

int64_t wr_calendar_when(const wr_calendar *c)
{
    int64_t when = c->heap_n != 0 ? c->heap[0].at : INT64_MAX, start;
    if (c->buckets == 0) return when;
    if (__builtin_mul_overflow(c->bucket[0].number, c->width_ns, &start)) start = INT64_MIN;
    return start < when ? start : when;
}

void wr_calendar_fini(wr_calendar *c)
{
    uint64_t bytes = c->heap_max * sizeof *c->heap + c->buckets_max * sizeof *c->bucket;
    for (uint32_t i = 0; i < c->buckets; i++) {
        bytes += c->bucket[i].max * sizeof *c->bucket[i].due;
        free(c->bucket[i].due);
    }
    free(c->bucket);
    free(c->heap);
    if (c->budget != NULL) c->budget->bytes -= bytes;
    *c = (wr_calendar){0};
}
