/* What the kept snapshots of this folder are of: state of all kinds, two kinds of windows, a timer, exactly-once sinks.
 * No result depends on how event time and records of different keys interleave, so every run gives the same lines. */
#include <weir/pipeline.h>

WEIR_RECORD(visit, (weir_str, user), (weir_str, page), (uint32_t, ms), (weir_time, at))
WEIR_RECORD(page, (weir_str, name), (uint32_t, views))
WEIR_RECORD(story, (weir_str, user), (uint32_t, visits), (weir_str, first), (weir_str, slowest), (uint32_t, pages),
            (weir_str, recent))
WEIR_RECORD(ring, (weir_str, user), (uint32_t, nth), (weir_time, due))
WEIR_RECORD(span, (weir_str, user), (weir_time, from), (weir_time, to), (uint64_t, visits), (uint64_t, ms))
WEIR_RECORD(charge, (uint32_t, account), (int64_t, cents))
WEIR_RECORD(nth, (uint32_t, account), (uint32_t, n))
WEIR_TABLE(page, name)

/* ---- cells of all kinds ---- */

WEIR_STATE(memory, (uint32_t, visits), (weir_text, first), (weir_text, last), (value, visit, slowest),
           (list, visit, recent), (table, page, pages))

WEIR_KEYED(remember, visit, in, memory, st, story, out, ctx)
{
    const visit *slowest = visit_value_get(ctx, &st->slowest);
    const page  *known = page_table_get(ctx, &st->pages, in->page);
    if (st->visits++ == 0) weir_text_set(ctx, &st->first, in->page);
    weir_text_set(ctx, &st->last, in->page);
    if (!slowest || in->ms > slowest->ms) visit_value_set(ctx, &st->slowest, *in);
    page_table_put(ctx, &st->pages, (page){.name = in->page, .views = known ? known->views + 1 : 1});
    visit_list_add(ctx, &st->recent, *in);
    if (visit_list_count(&st->recent) > 3) visit_list_drop(ctx, &st->recent, 1);

    weir_str   recent = weir_lit("");
    visit_rows rows = visit_list_rows(ctx, &st->recent);
    for (const visit *v; (v = visit_next(&rows));)
        recent = weir_format(ctx, "%.*s/%u", (int)recent.len, weir_str_data(&recent), v->ms);
    story_emit(out, (story){in->user, st->visits, weir_text_get(ctx, &st->first),
                            visit_value_get(ctx, &st->slowest)->page, page_table_count(&st->pages), recent});
    if (in->page.len == 4) weir_forget(ctx); /* "exit" */
}

/* ---- a timer that sets itself again ---- */

WEIR_STATE(alarm, (uint32_t, rings), (bool, known), (weir_event_timer, wake))

static void wake(const visit *key, alarm *st, ring_out *out, weir_ctx *ctx)
{
    ring_emit(out, (ring){key->user, ++st->rings, weir_time_of(ctx)});
    if (st->rings < 9) weir_event_timer_set(ctx, &st->wake, weir_after(weir_time_of(ctx), 2 * WEIR_MINUTE));
}
WEIR_KEYED(wind, visit, in, alarm, st, ring, out, ctx, wake)
{
    (void)out;
    if (!st->known) weir_event_timer_set(ctx, &st->wake, weir_after(in->at, 2 * WEIR_MINUTE));
    st->known = true;
}

/* ---- windows ---- */

WEIR_AGGREGATE_FIELDS(per_minute, visit, span, (user, key, user), (from, start), (to, end), (visits, count),
                      (ms, sum, ms))
WEIR_AGGREGATE_FIELDS(sitting, visit, span, (user, key, user), (from, start), (to, end), (visits, count), (ms, sum, ms))

/* ---- a second source, of several splits, without event time ---- */

WEIR_STATE(account, (uint32_t, n), (int64_t, cents))
WEIR_KEYED(book, charge, in, account, st, nth, out)
{
    st->cents += in->cents;
    nth_emit(out, (nth){in->account, ++st->n});
}

/* .. -- rate=200: slowly, so that the snapshots are of the middle */
WEIR_PIPELINE(diary, p)
{
    uint64_t      rate = (uint64_t)weir_arg_i64(weir_args_of(p), "rate", 0);
    visit_stream  all = weir_source(visit, p, "file:visits.csv?format=csv", .name = "visits", .rate_max = rate);
    charge_stream charges = weir_source(charge, p, "file:charges.csv?format=csv&split-bytes=1024", .name = "charges",
                                        .rate_max = rate);
    visit_keyed   visits = weir_key_by(weir_event_time(all, at, .max_delay = 20 * WEIR_SECOND), user);
    weir_sink(weir_apply(remember, visits), "file:out/stories", .name = "stories");
    weir_sink(weir_apply(wind, visits), "file:out/rings", .name = "rings");
    weir_sink(weir_apply(per_minute, weir_window(visits, weir_tumbling(WEIR_MINUTE))), "file:out/minutes",
              .name = "minutes");
    weir_sink(weir_apply(sitting, weir_window(visits, weir_session(30 * WEIR_SECOND))), "file:out/sittings",
              .name = "sittings");
    weir_sink(weir_apply(book, weir_key_by(charges, account)), "file:out/booked", .name = "booked");
}
