/* Timers as a pipeline: each key gets one timer, all of them are pending at once, then event time goes on and all fire.
 *
 *     generate -> event time -> key by key -> set the timer ... on_timer: emit the key -> checksum
 *
 *     weir run timers.so -p 1 -- keys=K
 *
 * Records come at 1,000 per millisecond of event time; a timer is due 60 to 120 s later, so no two neighbours in time
 * are neighbours in the table. Then a record each 10 ms moves time on. The clock runs from the first timer that is set
 * to the last one that has fired; before it, every key is met once. */
#include "meter.h"

enum { SETTINGS_PER_MS = 1000, MOVE_ON_MS = 10 };
#define WAIT_LEAST (60 * WEIR_SECOND)
#define WAIT_MORE  UINT64_C(60000000000)

/* wait: 0 moves time on, negative meets the key. */
WEIR_RECORD(setting, (uint64_t, key), (weir_time, at), (weir_duration, wait))
WEIR_RECORD(fired, (uint64_t, key))
WEIR_STATE(pending, (uint64_t, seen), (weir_event_timer, due))
WEIR_RECORD(progress, (uint64_t, met), (uint64_t, set), (uint64_t, moved), (uint64_t, rng))

typedef struct {
    uint64_t keys;
    bool     ready, going;
} generator;

static void one(progress_out *out, weir_ctx *ctx)
{
    (void)ctx;
    progress_emit(out, (progress){.rng = METER_SEED});
}

static bool generator_open(const progress *at, generator *g, weir_ctx *ctx)
{
    (void)at;
    g->keys = (uint64_t)weir_arg_i64(weir_ctx_args(ctx), "keys", 10000000);
    return true;
}

static void generator_close(generator *g)
{
    (void)g;
}

WEIR_SOURCE(generate, progress, at, generator, g, setting, out, ctx, one, generator_open, generator_close)
{
    uint64_t keys = g->keys, last_ms = keys / SETTINGS_PER_MS, moves = last_ms + 121000 / MOVE_ON_MS;
    for (; at->met < keys && weir_room(&out->out); at->met++) setting_emit(out, (setting){.key = at->met, .wait = -1});
    if (at->met < keys) return WEIR_MORE;
    if (!g->going) {
        if (!g->ready) meter_ready(1, METER_SETTLE_NS);
        g->ready = true;
        g->going = meter_go(ctx);
        if (!g->going) return WEIR_IDLE;
    }
    for (; at->set < keys && weir_room(&out->out); at->set++) {
        uint64_t x = at->rng = meter_xorshift(at->rng);
        setting_emit(out, (setting){.key = at->set * 7919 % keys,
                                    .at.ns = (int64_t)(at->set / SETTINGS_PER_MS) * WEIR_MILLISECOND,
                                    .wait = WAIT_LEAST + (int64_t)meter_below(x, WAIT_MORE)});
    }
    for (; at->set == keys && at->moved < moves && weir_room(&out->out); at->moved++)
        setting_emit(out, (setting){.at.ns = (int64_t)(last_ms + at->moved * MOVE_ON_MS) * WEIR_MILLISECOND});
    return at->moved < moves ? WEIR_MORE : WEIR_END;
}

static void over(const setting *key, pending *st, fired_out *out, weir_ctx *ctx)
{
    (void)st;
    (void)ctx;
    fired_emit(out, (fired){key->key});
}

WEIR_KEYED(wait_for, setting, in, pending, st, fired, out, ctx, over)
{
    (void)out;
    st->seen++;
    if (in->wait > 0) weir_event_timer_set(ctx, &st->due, weir_after(in->at, in->wait));
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

WEIR_SINK(check_sum, fired, in, checksum, c, ctx, checksum_open, checksum_flush, checksum_close)
{
    c->count++;
    c->sum += in->key;
}

WEIR_PIPELINE(timers, p)
{
    setting_stream settings = weir_event_time(weir_read(generate, p), at);
    weir_write(check_sum, weir_apply(wait_for, weir_key_by(settings, key)), .blocking = WEIR_ON_SLOT);
}
