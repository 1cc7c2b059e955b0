/* The sending half of a plane: elements and credits become frames. */
#include "base/check.h"
#include "base/lease.h"
#include "base/sabotage.h"
#include "net/plane_inner.h"
#include <errno.h>

/* ---- credits ---- */

void wr_plane_reclaim(wr_plane *p, wr_far_in *in)
{
    for (wr_batch *b; (b = wr_ring_pop(&in->pipe->home)) != NULL;) {
        in->owed++;
        if (b->stride == 0) {
            b->next = p->spare;
            p->spare = b;
        } else {
            in->owed_records++;
            wr_pool_give(&in->shape->pool, b);
        }
    }
}

bool wr_plane_granted(wr_link_conn *c, const wr_data_head *head)
{
    wr_far_out *o = NULL;
    for (uint32_t lo = 0, hi = c->outs; lo < hi && o == NULL;) {
        uint32_t mid = (lo + hi) / 2;
        if (c->out[mid]->channel == head->channel)
            o = c->out[mid];
        else if (c->out[mid]->channel < head->channel)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (o == NULL || head->seq != o->credit_seq || head->n > WR_CREDITS_MAX - o->credits ||
        (o->splits && head->at > o->helds))
        return wr_plane_fail(c->plane, c, WR_IO, "credit %u of channel %u came where %u was due", head->seq,
                             head->channel, o != NULL ? o->credit_seq : 0);
    o->credit_seq++;
    o->credits += head->n;
    if (o->credits > o->credits_most) o->credits_most = o->credits;
    o->stalled = false;
    if (!o->splits) return true;
    uint32_t n = (uint32_t)head->at;
    for (uint32_t i = 0; i < n; i++) wr_pipe_return(o->pipe, o->held[i], c->plane->config.env);
    o->helds -= n;
    memmove(o->held, o->held + n, o->helds * sizeof(wr_batch *));
    return true;
}

/* ---- frames ---- */

uint64_t wr_plane_sum(const wr_plane *p, uint64_t seed, const wr_span *piece, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) seed = p->sum->of64(piece[i].at, piece[i].bytes, seed);
    return seed;
}

/* Pointers into the heap become offsets, where the strings lie. The batch is ours until it goes home, and who fills it
 * next reads nothing of this. */
static void to_offsets(const wr_shape *s, wr_batch *b)
{
    const char *heap = b->heap;
    for (uint32_t i = 0; i < b->n; i++) {
        char *record = b->records + (size_t)i * b->stride;
        for (uint32_t k = 0; k < s->strings; k++) {
            weir_str *at = (weir_str *)(void *)(record + s->string_at[k]);
            if (at->len <= WEIR_STR_INLINE) continue;
            uint64_t offset = (uint64_t)(at->u.far - heap);
            dcheck(offset + at->len <= b->heap_used);
            memcpy(&at->u, &offset, sizeof offset);
        }
    }
}

static void head_of(const wr_plane *p, const wr_far_out *o, const wr_batch *b, wr_data_head *h)
{
    *h = (wr_data_head){.kind = (uint8_t)b->kind,
                        .attempt = p->config.attempt,
                        .channel = o->channel,
                        .seq = o->seq,
                        .at = b->at,
                        .job = p->config.job};
    if (b->kind == WR_BARRIER) {
        int64_t now = p->config.env->mono_ns(p->config.env->self);
        h->at = b->at == 0 ? -1 : now > b->at ? now - b->at : 0;
        h->body_bytes = WR_BARRIER_BYTES;
    } else if (b->kind == WR_RECORDS) {
        h->at = 0;
        h->n = b->n;
        h->stride = b->stride;
        h->timed = o->shape->timed;
        h->heap_bytes = b->heap_used;
        h->body_bytes = b->n * b->stride + (h->timed ? b->n * (uint32_t)sizeof(weir_time) : 0) + b->heap_used;
    }
}

/* Its pieces, none of them empty. barrier: room for one. */
static uint32_t body_of(const wr_data_head *h, wr_batch *b, uint8_t barrier[WR_BARRIER_BYTES], wr_span piece[PIECES])
{
    uint32_t n = 0;
    if (h->kind == WR_FRAME_BARRIER) {
        wr_data_barrier_put(&b->barrier, barrier);
        piece[n++] = (wr_span){barrier, WR_BARRIER_BYTES};
    }
    if (h->kind != WR_FRAME_RECORDS) return n;
    piece[n++] = (wr_span){b->records, (size_t)h->n * h->stride};
    if (h->timed) piece[n++] = (wr_span){b->time, (size_t)h->n * sizeof(weir_time)};
    if (h->heap_bytes > 0) piece[n++] = (wr_span){b->heap, h->heap_bytes};
    return n;
}

static void stage_head(wr_link_conn *c, wr_data_head *h, const wr_span *piece, uint32_t pieces)
{
    uint8_t *to = (uint8_t *)c->stage + c->staged;
    h->sum = 0;
    wr_data_head_put(h, to);
    h->sum = wr_plane_sum(c->plane, c->plane->sum->of64(to, WR_DATA_HEAD_BYTES, 0), piece, pieces);
    wr_data_head_put(h, to);
    c->staged += WR_DATA_HEAD_BYTES;
    wr_plane_count(&c->plane->sent_frames, 1);
}

/* Its frame has left, or is a copy: the batch goes home. */
static void give_home(wr_link_conn *c, wr_far_out *o, wr_batch *b)
{
    if (o->splits && b->stride != 0) {
        check(o->helds < WR_CREDITS_MAX);
        o->held[o->helds++] = b;
    } else {
        wr_pipe_return(o->pipe, b, c->plane->config.env);
    }
}

static void stage_credit(wr_link_conn *c, wr_far_in *in)
{
    wr_data_head h = {.kind = WR_FRAME_CREDIT,
                      .attempt = c->plane->config.attempt,
                      .channel = in->channel,
                      .seq = in->credit_seq++,
                      .n = in->owed,
                      .at = in->owed_records,
                      .job = c->plane->config.job};
    if (wr_sabotage.credit_leak && h.n > 1 && !in->splits) h.n--;
    in->room += h.n;
    in->owed = in->owed_records = 0;
    stage_head(c, &h, NULL, 0);
}

static void stage_credits(wr_link_conn *c)
{
    for (uint32_t i = 0; i < c->ins && c->staged + WR_DATA_HEAD_BYTES <= STAGE_BYTES; i++) {
        wr_far_in *in = c->in[i];
        wr_plane_reclaim(c->plane, in);
        if (in->owed > 0 && (in->splits || in->owed >= (in->credits + 1) / 2)) stage_credit(c, in);
    }
}

/* The next element of a channel, if there is one and room for it. True: it was put; *large: nothing behind it. */
static bool stage_next(wr_link_conn *c, wr_far_out *o, bool *large)
{
    wr_batch    *b = wr_ring_peek(&o->pipe->data);
    wr_data_head h;
    wr_span      piece[PIECES];
    uint8_t      barrier[WR_BARRIER_BYTES];
    if (b == NULL) return false;
    if (o->credits == 0) {
        if (!o->stalled) wr_plane_count(&c->plane->stalled, 1);
        o->stalled = true;
        return false;
    }
    head_of(c->plane, o, b, &h);
    *large = h.body_bytes > SMALL_BYTES;
    if (c->staged + WR_DATA_HEAD_BYTES + (*large ? 0 : h.body_bytes) > STAGE_BYTES) {
        *large = true; /* as much as fits has been put */
        return false;
    }
    wr_ring_pop(&o->pipe->data);
    o->seq++;
    o->credits--;
    if (b->kind == WR_RECORDS && o->shape->strings > 0 && b->heap_used > 0) to_offsets(o->shape, b);
    uint32_t pieces = body_of(&h, b, barrier, piece);
    stage_head(c, &h, piece, pieces);
    if (*large) {
        memcpy(c->span + 1, piece, pieces * sizeof *piece);
        c->spans = 1 + pieces;
        c->flying_of = o;
        c->flying = b;
        return true;
    }
    for (uint32_t i = 0; i < pieces; i++) {
        memcpy(c->stage + c->staged, piece[i].at, piece[i].bytes);
        c->staged += (uint32_t)piece[i].bytes;
    }
    give_home(c, o, b);
    return true;
}

/* Credits, then elements channel by channel, until there is one large frame: 32 KiB in one call are sent faster than
 * 64. */
static bool gather(wr_link_conn *c)
{
    bool large = false;
    c->staged = c->spans = c->span_at = 0;
    stage_credits(c);
    for (uint32_t i = 0; i < c->outs && !large; i++) {
        if (++c->next_out >= c->outs) c->next_out = 0;
        while (!large && stage_next(c, c->out[c->next_out], &large)) {}
    }
    if (c->staged == 0) return false;
    c->span[0] = (wr_span){c->stage, c->staged};
    if (c->spans == 0) c->spans = 1;
    return true;
}

/* ---- sending ---- */

/* True: all of it left. */
static bool advance(wr_link_conn *c, size_t sent)
{
    wr_plane_count(&c->plane->sent_bytes, sent);
    while (c->span_at < c->spans) {
        wr_span *s = &c->span[c->span_at];
        if (sent < s->bytes) {
            s->at = (char *)s->at + sent;
            s->bytes -= sent;
            return false;
        }
        sent -= s->bytes;
        c->span_at++;
    }
    c->spans = 0;
    if (c->flying_of != NULL) give_home(c, c->flying_of, c->flying);
    c->flying_of = NULL;
    return true;
}

/* One call: more at once would leave the caches before the other side reads it. */
bool wr_plane_send(wr_link_conn *c, int64_t now_ns)
{
    const wr_plane_config *config = &c->plane->config;
    if (c->spans == 0 && !gather(c)) return false;
    if (wr_lease_over(config->env, config->lease_until_ns))
        return wr_plane_fail(c->plane, c, WR_UNREACHABLE, "the lease of this worker is over");
    int64_t sent = config->env->send(config->env->self, c->socket, c->span + c->span_at, c->spans - c->span_at);
    if (sent < 0 && sent != -EAGAIN) return wr_plane_lost(c, (int)-sent);
    c->blocked = sent < 0 || !advance(c, (size_t)sent);
    if (c->blocked) c->blocked_ns = now_ns;
    return sent > 0;
}
