/* Event time: clicks per user and minute, though they come late and out of order; what comes too late is told apart.
 * With --snapshots the job can be killed at any moment: the same command goes on, and each click counts once.
 *
 *     $ weir build -q clicks.c
 *     $ printf 'ada,2026-01-01T12:00:05Z\nbob,2026-01-01T12:00:10Z\nada,2026-01-01T12:01:30Z\n' >clicks.csv
 *     $ printf 'ada,2026-01-01T12:00:59Z\nbob,2026-01-01T12:02:10Z\n' >>clicks.csv
 *     $ weir run -q -p 1 clicks.so --snapshots snapshots
 *     $ sort minutes/clicks-*
 *     ada,2026-01-01T12:00:00Z,2
 *     ada,2026-01-01T12:01:00Z,1
 *     bob,2026-01-01T12:00:00Z,1
 *     bob,2026-01-01T12:02:00Z,1
 *     $ weir run -q -p 1 clicks.so --snapshots snapshots 2>&1
 *     weir: clicks has finished, and snapshots has its last snapshot, 1; --fresh starts it anew
 */
#include <weir/pipeline.h>

WEIR_RECORD(click, (weir_str, user), (weir_time, at))
WEIR_RECORD(minute, (weir_str, user), (weir_time, from), (uint64_t, clicks))
WEIR_STATE(tally, (uint64_t, n))

static void merge(tally *into, const tally *from)
{
    into->n += from->n;
}
static void result(const click *key, const tally *acc, minute_out *out, weir_ctx *ctx)
{
    minute_emit(out, (minute){key->user, weir_window_of(ctx).start, acc->n});
}
WEIR_AGGREGATE(count, click, in, tally, acc, minute, merge, result)
{
    acc->n += 1;
}

WEIR_PIPELINE(clicks, p)
{
    click_stream  clicks = weir_source(click, p, "file:clicks.csv", .format = WEIR_CSV, .name = "clicks");
    click_stream  timed = weir_event_time(clicks, at, .max_delay = WEIR_MINUTE);
    minute_stream minutes = weir_apply(count, weir_window(weir_key_by(timed, user), weir_tumbling(WEIR_MINUTE)));
    weir_sink(minutes, "file:minutes", .name = "minutes");
    weir_sink(weir_late(count, minutes), "file:late", .name = "late"); /* its minute was told already */
}
