/* Records of 64 bytes from a source in one slot to a sink in another one, and how long each was on its way since it was
 * due; hand_latency.c is the same by plain send and recv.
 *
 *     weir submit latency.so -- rate=R seconds=S out=FILE
 *
 * rate=0: as fast as it goes. The sink looks at the clock for one record of 64, and writes into FILE when it ends. */
#include "latency.h"
#include <weir/pipeline.h>

WEIR_RECORD(ping, (int64_t, due_ns), (uint64_t, number), (uint64_t, a), (uint64_t, b), (uint64_t, c), (uint64_t, d),
            (uint64_t, e), (uint64_t, f))
WEIR_RECORD(turn, (uint64_t, sent))

typedef struct {
    int64_t  start_ns, end_ns;
    uint64_t rate;
} pacer;

static void one_turn(turn_out *out, weir_ctx *ctx)
{
    (void)ctx;
    turn_emit(out, (turn){0});
}
static bool pacer_open(const turn *at, pacer *p, weir_ctx *ctx)
{
    (void)at;
    p->rate = (uint64_t)weir_arg_i64(weir_ctx_args(ctx), "rate", 0);
    p->start_ns = latency_now() + 200 * WEIR_MILLISECOND; /* all sides have opened by then */
    p->end_ns = p->start_ns + weir_arg_i64(weir_ctx_args(ctx), "seconds", 5) * WEIR_SECOND;
    return true;
}
static void pacer_close(pacer *p)
{
    (void)p;
}

WEIR_SOURCE(pings, turn, at, pacer, p, ping, out, ctx, one_turn, pacer_open, pacer_close)
{
    int64_t now = latency_now();
    if (now >= p->end_ns) return WEIR_END;
    uint64_t n = at->sent, until = latency_due_until(p->start_ns, now, p->rate, n);
    for (; n < until && weir_room(&out->out); n++)
        ping_emit(out, (ping){.due_ns = latency_due(p->start_ns, now, p->rate, n), .number = n});
    at->sent = n;
    if (n < until) return WEIR_MORE;
    if (p->rate == 0 && now >= p->start_ns) return WEIR_MORE;
    int64_t wait = latency_due(p->start_ns, now, p->rate, n) - now;
    weir_wake_after(ctx, wait > 0 ? wait : 0);
    return WEIR_IDLE;
}

typedef struct {
    latency_counts *counts;
} taker;
static bool taker_open(taker *t, weir_ctx *ctx)
{
    (void)ctx;
    t->counts = calloc(1, sizeof *t->counts);
    return t->counts != NULL;
}
static bool taker_flush(taker *t, weir_ctx *ctx)
{
    (void)t;
    (void)ctx;
    return true;
}
static void taker_close(taker *t, weir_ctx *ctx)
{
    latency_write(t->counts, weir_arg(weir_ctx_args(ctx), "out", "latency.txt"));
    free(t->counts);
}
WEIR_SINK(taken, ping, in, taker, t, ctx, taker_open, taker_flush, taker_close)
{
    (void)ctx;
    latency_add(t->counts, in->number, in->due_ns);
}

WEIR_PIPELINE(latency, p)
{
    ping_stream all = weir_read(pings, p, .parallelism = 1);
    weir_write(taken, all, .parallelism = 1, .slot_group = "far", .blocking = WEIR_ON_SLOT);
}
