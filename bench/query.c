/* The reference query as a pipeline; hand_query.c is the same work without an engine.
 *
 *     generate bids -> keep price % 100 >= 10 -> key by auction -> sum and count per key over the whole run -> checksum
 *
 *     weir run query.so -p N -- records=R keys=K sources=N preload=1
 *
 * Each of the sources generates R / sources bids. preload=1: before the clock starts, each key is sent once, so that
 * the engine knows it; price and count of these bids are taken out again by the sink. */
#include "meter.h"

enum { EVENTS_PER_MS = 10000, PRELOAD_PRICE = 10 }; /* a price that the filter keeps */

WEIR_RECORD(bid, (uint64_t, auction), (uint64_t, bidder), (uint64_t, price), (uint64_t, ts))
WEIR_RECORD(total, (uint64_t, auction), (uint64_t, count), (uint64_t, sum))
WEIR_STATE(running, (uint64_t, count), (uint64_t, sum))

/* One source's share of the work, and how far it is. */
WEIR_RECORD(share, (uint64_t, source), (uint64_t, key), (uint64_t, key_end), (uint64_t, next), (uint64_t, end),
            (uint64_t, rng))

typedef struct {
    uint64_t keys, sources;
    bool     preloads, ready, going;
} generator;

static void shares(share_out *out, weir_ctx *ctx)
{
    const weir_args *args = weir_ctx_args(ctx);
    uint64_t         records = (uint64_t)weir_arg_i64(args, "records", 100000000);
    uint64_t         sources = (uint64_t)weir_arg_i64(args, "sources", 1);
    uint64_t         keys = weir_arg_i64(args, "preload", 0) ? (uint64_t)weir_arg_i64(args, "keys", 1000) : 0;
    for (uint64_t i = 0; i < sources; i++) {
        share_emit(out, (share){.source = i,
                                .key = keys * i / sources,
                                .key_end = keys * (i + 1) / sources,
                                .end = records / sources,
                                .rng = METER_SEED + i * METER_SEED_STEP});
    }
}

static bool generator_open(const share *at, generator *g, weir_ctx *ctx)
{
    g->keys = (uint64_t)weir_arg_i64(weir_ctx_args(ctx), "keys", 1000);
    g->sources = (uint64_t)weir_arg_i64(weir_ctx_args(ctx), "sources", 1);
    g->preloads = at->key < at->key_end;
    return meter_share(ctx);
}

static void generator_close(generator *g)
{
    (void)g;
}

WEIR_SOURCE(generate, share, at, generator, g, bid, out, ctx, shares, generator_open, generator_close)
{
    for (; at->key < at->key_end && weir_room(&out->out); at->key++)
        bid_emit(out, (bid){.auction = at->key, .price = PRELOAD_PRICE});
    if (at->key < at->key_end) return WEIR_MORE;
    if (!g->going) {
        if (!g->ready) meter_ready((uint32_t)g->sources, g->preloads ? METER_SETTLE_NS : 0);
        g->ready = true;
        g->going = meter_go(ctx);
        if (!g->going) return WEIR_IDLE;
    }
    uint64_t x = at->rng, next = at->next, end = at->end, keys = g->keys, sources = g->sources;
    while (next < end && weir_room(&out->out)) { /* one round per millisecond of event time: no division per record */
        uint64_t ts = next * sources / EVENTS_PER_MS, later = ((ts + 1) * EVENTS_PER_MS + sources - 1) / sources;
        for (uint64_t until = later < end ? later : end; next < until && weir_room(&out->out); next++) {
            x = meter_xorshift(x);
            bid_emit(out,
                     (bid){.auction = meter_below(x, keys), .bidder = x & 0xfffff, .price = meter_price(x), .ts = ts});
        }
    }
    at->rng = x;
    at->next = next;
    return next < end ? WEIR_MORE : WEIR_END;
}

WEIR_FILTER(wanted, bid, in)
{
    return in->price % 100 >= 10;
}

WEIR_FUSE(bids, generate, wanted)

static void add_up(running *into, const running *from)
{
    into->count += from->count;
    into->sum += from->sum;
}

static void total_of(const bid *key, const running *acc, total_out *out, weir_ctx *ctx)
{
    (void)ctx;
    total_emit(out, (total){.auction = key->auction, .count = acc->count, .sum = acc->sum});
}

WEIR_AGGREGATE(per_auction, bid, in, running, acc, total, add_up, total_of)
{
    acc->count++;
    acc->sum += in->price;
}

typedef struct {
    uint64_t results, count, sum;
    bool     preloaded;
} checksum;

static bool checksum_open(checksum *c, weir_ctx *ctx)
{
    c->preloaded = weir_arg_i64(weir_ctx_args(ctx), "preload", 0) != 0;
    return meter_share(ctx);
}

static bool checksum_flush(checksum *c, weir_ctx *ctx)
{
    (void)c;
    (void)ctx;
    return true;
}

static void checksum_close(checksum *c, weir_ctx *ctx)
{
    uint64_t once = c->preloaded ? c->results : 0; /* every key was sent once */
    meter_close(ctx, c->count - once, c->sum - once * PRELOAD_PRICE);
}

WEIR_SINK(check_sum, total, in, checksum, c, ctx, checksum_open, checksum_flush, checksum_close)
{
    c->results++;
    c->count += in->count;
    c->sum += in->sum;
}

WEIR_PIPELINE(query, p)
{
    bid_stream   kept = weir_read(bids, p);
    total_stream totals = weir_apply(per_auction, weir_window(weir_key_by(kept, auction), weir_one_window()));
    weir_write(check_sum, totals, .blocking = WEIR_ON_SLOT);
}
