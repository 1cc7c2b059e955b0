/* What bench/recovery.py kills and starts again: `keys` keys with entries of 64 bytes, each record updates one of them,
 * one record in 256 is printed.
 *
 *     generate -> key = number % keys -> update -> (one record in 256) print
 *
 *     weir run recovery.so --snapshots DIR -- keys=K */
#include <weir/pipeline.h>

enum { SAMPLE = 256 };

WEIR_RECORD(event, (uint64_t, n))
WEIR_RECORD(change, (uint64_t, key), (uint64_t, n))
WEIR_RECORD(sample, (uint64_t, n), (uint64_t, times))
WEIR_STATE(entry, (uint64_t, times), (uint64_t, sum), (uint64_t, most), (uint64_t, least), (uint64_t, first),
           (uint64_t, last), (uint64_t, odd))

WEIR_MAP(spread, event, in, change, out, ctx)
{
    out->key = in->n % (uint64_t)weir_arg_i64(weir_ctx_args(ctx), "keys", 1000);
    out->n = in->n;
    return true;
}

WEIR_KEYED(update, change, in, entry, state, sample, out)
{
    if (state->times++ == 0) state->first = state->least = in->n;
    state->sum += in->n;
    if (in->n > state->most) state->most = in->n;
    if (in->n < state->least) state->least = in->n;
    state->odd += in->n & 1;
    state->last = in->n;
    if (in->n % SAMPLE == 0) sample_emit(out, (sample){.n = in->n, .times = state->times});
}

WEIR_PIPELINE(recovery, p)
{
    event_stream  events = weir_source(event, p, "generator:?count=1000", .name = "events");
    change_stream changes = weir_apply(spread, events);
    weir_sink(weir_apply(update, weir_key_by(changes, key)), "print:", .name = "samples");
}
