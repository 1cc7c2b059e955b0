/* A chain of pass-through operators, to see what one hop costs; hand_hop.c is the same copy without an engine.
 *
 *     weir run hop.so -p 1 -- records=R hops=H
 *
 * Each hop is an unfused WEIR_MAP of a 32-byte record. The time of 11 hops minus that of 1, divided by ten, is one
 * hop. */
#include "meter.h"

enum { HOPS_MAX = 32 };

WEIR_RECORD(row, (uint64_t, key), (uint64_t, value), (uint64_t, at), (uint64_t, step))
WEIR_RECORD(range, (uint64_t, first), (uint64_t, next), (uint64_t, end))

typedef struct {
    bool going;
} counter;

static void ranges(range_out *out, weir_ctx *ctx)
{
    range_emit(out, (range){.end = (uint64_t)weir_arg_i64(weir_ctx_args(ctx), "records", 100000000)});
}

static bool counter_open(const range *at, counter *c, weir_ctx *ctx)
{
    (void)at;
    (void)c;
    (void)ctx;
    meter_ready(1, 0);
    return true;
}

static void counter_close(counter *c)
{
    (void)c;
}

WEIR_SOURCE(count_up, range, at, counter, c, row, out, ctx, ranges, counter_open, counter_close)
{
    if (!c->going && !(c->going = meter_go(ctx))) return WEIR_IDLE;
    uint64_t next = at->next, end = at->end;
    for (; next < end && weir_room(&out->out); next++) row_emit(out, (row){.key = next, .value = next + 1});
    at->next = next;
    return next < end ? WEIR_MORE : WEIR_END;
}

WEIR_MAP(pass, row, in, row, out)
{
    *out = *in;
    return true;
}

typedef struct {
    uint64_t count, sum;
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
    meter_close(ctx, c->count, c->sum);
}

WEIR_SINK(check_sum, row, in, checksum, c, ctx, checksum_open, checksum_flush, checksum_close)
{
    (void)ctx;
    c->count++;
    c->sum += in->value;
}

WEIR_PIPELINE(hop, p)
{
    static char uids[HOPS_MAX][8];
    int64_t     hops = weir_arg_i64(weir_args_of(p), "hops", 1);
    row_stream  rows = weir_read(count_up, p);
    for (int64_t i = 0; i < hops && i < HOPS_MAX; i++) {
        snprintf(uids[i], sizeof uids[i], "hop-%d", (int)i);
        rows = weir_apply(pass, rows, .uid = uids[i]);
    }
    weir_write(check_sum, rows, .blocking = WEIR_ON_SLOT);
}
