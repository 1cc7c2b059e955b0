/* The receiving half of a plane: frames become elements. */
#include "base/check.h"
#include "base/lease.h"
#include "net/plane_inner.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- heads ---- */

static wr_far_in *in_of(wr_link_conn *c, uint32_t channel)
{
    if (c->into != NULL && c->into->channel == channel) return c->into;
    for (uint32_t lo = 0, hi = c->ins; lo < hi;) {
        uint32_t mid = (lo + hi) / 2;
        if (c->in[mid]->channel == channel) return c->in[mid];
        if (c->in[mid]->channel < channel)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

static bool refuse(wr_link_conn *c, const char *what)
{
    return wr_plane_fail(c->plane, c, WR_IO, "%s; frame %u of channel %u", what, c->head.seq, c->head.channel);
}

static wr_batch *control_new(wr_plane *p)
{
    wr_batch *b = p->spare;
    if (b != NULL) {
        p->spare = b->next;
    } else if ((b = malloc(sizeof *b)) == NULL) {
        fprintf(stderr, "weir: out of memory for a control element\n");
        abort();
    }
    *b = (wr_batch){0};
    return b;
}

/* A batch that the body goes into as it is. */
static bool begin_records(wr_link_conn *c, wr_far_in *in)
{
    const wr_data_head *h = &c->head;
    wr_shape           *s = in->shape;
    if (h->stride != s->pool.stride || h->timed != s->timed || (h->heap_bytes > 0 && s->strings == 0))
        return refuse(c, "its records are of another type");
    bool special = h->heap_bytes > s->pool.heap_bytes;
    if (special && h->n != 1) return refuse(c, "its strings do not fit a batch");
    wr_batch *b = special ? wr_pool_take_special(&s->pool, h->heap_bytes) : wr_pool_take(&s->pool);
    c->batch = b;
    if (h->n > b->capacity) return refuse(c, "it has more records than a batch");
    b->n = h->n;
    b->heap_used = h->heap_bytes;
    c->body[c->bodies++] = (wr_span){b->records, (size_t)h->n * h->stride};
    if (h->timed) c->body[c->bodies++] = (wr_span){b->time, (size_t)h->n * sizeof(weir_time)};
    if (h->heap_bytes > 0) c->body[c->bodies++] = (wr_span){b->heap, h->heap_bytes};
    return true;
}

static bool begin_frame(wr_link_conn *c, const char *from)
{
    const wr_plane_config *config = &c->plane->config;
    wr_errinfo             info = {0};
    uint8_t                bytes[WR_DATA_HEAD_BYTES];
    memcpy(bytes, from, sizeof bytes);
    if (wr_data_head_get(&c->head, bytes, &info) != WR_OK) return wr_plane_fail(c->plane, c, WR_IO, "%s", info.text);
    wr_data_head *h = &c->head;
    if (h->job != config->job || h->attempt != config->attempt) return refuse(c, "it is of another job or attempt");
    uint64_t sum = h->sum;
    h->sum = 0;
    wr_data_head_put(h, bytes);
    h->sum = sum;
    c->seed = c->plane->sum->of64(bytes, sizeof bytes, 0);
    c->bodies = c->body_at = 0;
    c->in_body = true;
    if (h->kind == WR_FRAME_CREDIT) return true;
    wr_far_in *in = c->into = in_of(c, h->channel);
    if (in == NULL) return refuse(c, "there is no such channel");
    if (h->seq != in->seq) return refuse(c, "frames are missing");
    wr_plane_reclaim(c->plane, in);
    if (in->room == 0) return refuse(c, "there was no credit for it");
    in->seq++;
    in->room--;
    if (h->kind == WR_FRAME_BARRIER) c->body[c->bodies++] = (wr_span){c->small, WR_BARRIER_BYTES};
    return h->kind != WR_FRAME_RECORDS || begin_records(c, in);
}

/* ---- bodies ---- */

/* Offsets become pointers. All of it came from outside: bounds, and the canonical form, without which equal keys would
 * differ. */
static bool to_pointers(const wr_shape *s, wr_batch *b)
{
    uint32_t wrong = 0;
    for (uint32_t i = 0; i < b->n; i++) {
        char *record = b->records + (size_t)i * b->stride;
        for (uint32_t k = 0; k < s->strings; k++) {
            weir_str *at = (weir_str *)(void *)(record + s->string_at[k]);
            if (at->len <= WEIR_STR_INLINE) {
                weir_str same = weir_str_of((const char *)at + offsetof(weir_str, head), at->len);
                wrong |= memcmp(&same, at, sizeof same) != 0;
                continue;
            }
            uint64_t offset;
            memcpy(&offset, &at->u, sizeof offset);
            if (offset > b->heap_used || at->len > b->heap_used - offset) return false;
            at->u.far = b->heap + offset;
            wrong |= memcmp(at->head, at->u.far, sizeof at->head) != 0;
        }
        for (uint32_t k = 0; k < s->bools; k++) wrong |= (uint8_t)record[s->bool_at[k]] > 1;
    }
    return wrong == 0;
}

static wr_batch *control_of(wr_link_conn *c)
{
    const wr_data_head *h = &c->head;
    wr_batch           *b = control_new(c->plane);
    b->kind = h->kind; /* the numbers are the same */
    b->at = h->at;
    if (h->kind == WR_FRAME_BARRIER) {
        const wr_env *env = c->plane->config.env;
        b->at = h->at < 0 ? 0 : env->mono_ns(env->self) - h->at;
    }
    return b;
}

_Static_assert((int)WR_FRAME_RECORDS == (int)WR_RECORDS && (int)WR_FRAME_WATERMARK == (int)WR_WATERMARK &&
                   (int)WR_FRAME_BARRIER == (int)WR_BARRIER && (int)WR_FRAME_END == (int)WR_END &&
                   (int)WR_FRAME_IDLE == (int)WR_IDLE && (int)WR_FRAME_ABORT == (int)WR_ABORT,
               "frames and elements have the same numbers");

static bool end_frame(wr_link_conn *c)
{
    wr_plane           *p = c->plane;
    const wr_data_head *h = &c->head;
    wr_span             piece[PIECES];
    uint32_t            pieces = 0;
    if (h->kind == WR_FRAME_BARRIER) piece[pieces++] = (wr_span){c->small, WR_BARRIER_BYTES};
    if (h->kind == WR_FRAME_RECORDS) {
        piece[pieces++] = (wr_span){c->batch->records, (size_t)h->n * h->stride};
        if (h->timed) piece[pieces++] = (wr_span){c->batch->time, (size_t)h->n * sizeof(weir_time)};
        if (h->heap_bytes > 0) piece[pieces++] = (wr_span){c->batch->heap, h->heap_bytes};
    }
    c->in_body = false;
    if (wr_plane_sum(p, c->seed, piece, pieces) != h->sum) return refuse(c, "its sum is wrong");
    wr_plane_count(&p->received_frames, 1);
    if (h->kind == WR_FRAME_CREDIT) return wr_plane_granted(c, h);
    wr_far_in *in = c->into;
    wr_batch  *b = c->batch;
    if (h->kind == WR_FRAME_RECORDS) {
        if ((in->shape->strings > 0 || in->shape->bools > 0) && !to_pointers(in->shape, b))
            return refuse(c, "a string of it is not as weir_str_of makes it");
    } else {
        b = control_of(c);
        wr_errinfo info = {0};
        if (h->kind == WR_FRAME_BARRIER && wr_data_barrier_get(&b->barrier, c->small, &info) != WR_OK) {
            free(b);
            return refuse(c, info.text);
        }
    }
    c->batch = NULL;
    check(wr_ring_push(&in->pipe->data, b)); /* credits are never more than its ring has places */
    if (in->pipe->consumer != p->config.parker) wr_parker_wake(p->config.env, in->pipe->consumer);
    return true;
}

/* ---- bytes ---- */

/* From what was read ahead. False: the plane has failed. */
static bool parse(wr_link_conn *c)
{
    for (;;) {
        uint32_t have = c->ahead_end - c->ahead_at;
        if (!c->in_body) {
            if (have < WR_DATA_HEAD_BYTES) return true;
            const char *head = c->ahead + c->ahead_at;
            c->ahead_at += WR_DATA_HEAD_BYTES;
            if (!begin_frame(c, head)) return false;
            continue;
        }
        while (c->body_at < c->bodies) {
            wr_span *s = &c->body[c->body_at];
            uint32_t n = have < s->bytes ? have : (uint32_t)s->bytes;
            if (n > 0) memcpy(s->at, c->ahead + c->ahead_at, n);
            s->at = (char *)s->at + n;
            s->bytes -= n;
            c->ahead_at += n;
            have -= n;
            if (s->bytes > 0) return true;
            c->body_at++;
        }
        if (!end_frame(c)) return false;
    }
}

/* Into the body first, then ahead. */
static uint32_t spans_of(wr_link_conn *c, wr_span span[1 + PIECES], size_t *wanted)
{
    uint32_t n = 0, have = c->ahead_end - c->ahead_at, room = AHEAD_BYTES;
    *wanted = 0;
    for (uint32_t i = c->body_at; c->in_body && i < c->bodies; i++) {
        span[n++] = c->body[i];
        *wanted += c->body[i].bytes;
    }
    if (*wanted > SMALL_BYTES) room = WR_DATA_HEAD_BYTES;
    if (c->ahead_at > 0 && have > 0) memmove(c->ahead, c->ahead + c->ahead_at, have);
    c->ahead_at = 0;
    c->ahead_end = have;
    span[n++] = (wr_span){c->ahead + have, room - have};
    *wanted += room - have;
    return n;
}

static void took(wr_link_conn *c, size_t n)
{
    wr_plane_count(&c->plane->received_bytes, n);
    for (; c->in_body && c->body_at < c->bodies; c->body_at++) {
        wr_span *s = &c->body[c->body_at];
        if (n < s->bytes) {
            s->at = (char *)s->at + n;
            s->bytes -= n;
            return;
        }
        n -= s->bytes;
        s->bytes = 0;
    }
    c->ahead_end += (uint32_t)n;
}

bool wr_plane_receive(wr_link_conn *c, int64_t now_ns)
{
    const wr_plane_config *config = &c->plane->config;
    bool                   progress = false;
    c->looked_ns = now_ns;
    for (uint32_t i = 0; i < RECEIVES; i++) {
        wr_span  span[1 + PIECES];
        size_t   wanted;
        uint32_t n = spans_of(c, span, &wanted);
        int64_t  got = config->env->receive(config->env->self, c->socket, span, n);
        c->dry = got < (int64_t)wanted;
        if (got == -EAGAIN) return progress;
        if (got <= 0) return wr_plane_lost(c, (int)-got);
        if (wr_lease_over(config->env, config->lease_until_ns))
            return wr_plane_fail(c->plane, c, WR_UNREACHABLE, "the lease of this worker is over");
        progress = true;
        took(c, (size_t)got);
        if (!parse(c)) return true;
        if (c->dry) return true;
    }
    return progress;
}
