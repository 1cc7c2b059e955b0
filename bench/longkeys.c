/* Sum and count with keys of 8 bytes (a number) and of 24 bytes (a string that does not fit into its 16 bytes).
 *
 *     weir run longkeys.so -p 1 -- records=R keys=K bytes=8|24
 *
 * Both jobs draw the same keys and prices and send records of 32 bytes; every key is sent once before the clock starts.
 * Names are made by arithmetic: a table of them would charge its cache misses to the engine. */
#include "meter.h"

enum { LONG_KEY_BYTES = 24, PRELOAD_PRICE = 10 };

WEIR_RECORD(by_number, (uint64_t, key), (uint64_t, price), (uint64_t, bidder), (uint64_t, ts))
WEIR_RECORD(by_name, (weir_str, key), (uint64_t, price), (uint64_t, ts))
WEIR_RECORD(total, (uint64_t, count), (uint64_t, sum))
WEIR_RECORD(range, (uint64_t, first), (uint64_t, key), (uint64_t, next), (uint64_t, end), (uint64_t, rng))
WEIR_STATE(running, (uint64_t, count), (uint64_t, sum))

typedef struct {
    uint64_t keys;
    char     name[LONG_KEY_BYTES]; /* of the record just made; emit copies it */
    bool     ready, going;
} generator;

static void ranges(range_out *out, weir_ctx *ctx)
{
    range_emit(out, (range){.end = (uint64_t)weir_arg_i64(weir_ctx_args(ctx), "records", 50000000), .rng = METER_SEED});
}

static bool generator_open(const range *at, generator *g, weir_ctx *ctx)
{
    (void)at;
    g->keys = (uint64_t)weir_arg_i64(weir_ctx_args(ctx), "keys", 100000);
    memcpy(g->name, "auction-aaaaaaaaaaaaaaaa", LONG_KEY_BYTES);
    return true;
}

static void generator_close(generator *g)
{
    (void)g;
}

static by_number number_record(generator *g, uint64_t key, uint64_t price)
{
    (void)g;
    return (by_number){.key = key, .price = price};
}

/* The last eight letters of the name spell the key, four bits each. */
static by_name name_record(generator *g, uint64_t key, uint64_t price)
{
    uint64_t letters = (key | key << 16) & 0x0000ffff0000ffff;
    letters = (letters | letters << 8) & 0x00ff00ff00ff00ff;
    letters = ((letters | letters << 4) & 0x0f0f0f0f0f0f0f0f) + 0x6161616161616161;
    memcpy(g->name + LONG_KEY_BYTES - 8, &letters, 8);
    return (by_name){.key = weir_str_of(g->name, LONG_KEY_BYTES), .price = price};
}

/* The body of both sources: T and MAKE differ, the work does not. */
#define GENERATE(T, MAKE)                                                                                              \
    for (; at->key < g->keys && weir_room(&out->out); at->key++) T##_emit(out, MAKE(g, at->key, PRELOAD_PRICE));       \
    if (at->key < g->keys) return WEIR_MORE;                                                                           \
    if (!g->going) {                                                                                                   \
        if (!g->ready) meter_ready(1, METER_SETTLE_NS);                                                                \
        g->ready = true;                                                                                               \
        g->going = meter_go(ctx);                                                                                      \
        if (!g->going) return WEIR_IDLE;                                                                               \
    }                                                                                                                  \
    uint64_t x = at->rng, next = at->next, end = at->end, keys = g->keys;                                              \
    for (; next < end && weir_room(&out->out); next++) {                                                               \
        x = meter_xorshift(x);                                                                                         \
        T##_emit(out, MAKE(g, meter_below(x, keys), meter_price(x)));                                                  \
    }                                                                                                                  \
    at->rng = x;                                                                                                       \
    at->next = next;                                                                                                   \
    return next < end ? WEIR_MORE : WEIR_END

WEIR_SOURCE(numbers, range, at, generator, g, by_number, out, ctx, ranges, generator_open, generator_close)
{
    GENERATE(by_number, number_record);
}

WEIR_SOURCE(names, range, at, generator, g, by_name, out, ctx, ranges, generator_open, generator_close)
{
    GENERATE(by_name, name_record);
}

static void add_up(running *into, const running *from)
{
    into->count += from->count;
    into->sum += from->sum;
}

static void number_total(const by_number *key, const running *acc, total_out *out, weir_ctx *ctx)
{
    (void)key;
    (void)ctx;
    total_emit(out, (total){.count = acc->count, .sum = acc->sum});
}

static void name_total(const by_name *key, const running *acc, total_out *out, weir_ctx *ctx)
{
    (void)key;
    (void)ctx;
    total_emit(out, (total){.count = acc->count, .sum = acc->sum});
}

WEIR_AGGREGATE(per_number, by_number, in, running, acc, total, add_up, number_total)
{
    acc->count++;
    acc->sum += in->price;
}

WEIR_AGGREGATE(per_name, by_name, in, running, acc, total, add_up, name_total)
{
    acc->count++;
    acc->sum += in->price;
}

typedef struct {
    uint64_t results, count, sum;
} checksum;

static bool checksum_open(checksum *c, weir_ctx *ctx)
{
    (void)c;
    (void)ctx;
    return true;
}

static bool checksum_flush(checksum *c, weir_ctx *ctx)
{
    (void)c;
    (void)ctx;
    return true;
}

static void checksum_close(checksum *c, weir_ctx *ctx)
{
    meter_close(ctx, c->count - c->results, c->sum - c->results * PRELOAD_PRICE);
}

WEIR_SINK(check_sum, total, in, checksum, c, ctx, checksum_open, checksum_flush, checksum_close)
{
    (void)ctx;
    c->results++;
    c->count += in->count;
    c->sum += in->sum;
}

WEIR_PIPELINE(longkeys, p)
{
    total_stream totals;
    if (weir_arg_i64(weir_args_of(p), "bytes", 24) == 8) {
        by_number_stream s = weir_read(numbers, p);
        totals = weir_apply(per_number, weir_window(weir_key_by(s, key), weir_one_window()));
    } else {
        by_name_stream s = weir_read(names, p);
        totals = weir_apply(per_name, weir_window(weir_key_by(s, key), weir_one_window()));
    }
    weir_write(check_sum, totals, .blocking = WEIR_ON_SLOT);
}
