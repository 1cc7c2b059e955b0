/* The operators of simulated jobs, and the build function that makes a pipeline of a plan. */
#include "tests/sim/sim.h"
#include "wire/record.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

sim_world *sim_world_now;

static void wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void wrong(const char *format, ...)
{
    if (sim_world_now->wrong[0]) return;
    va_list args;
    va_start(args, format);
    vsnprintf(sim_world_now->wrong, sizeof sim_world_now->wrong, format, args);
    va_end(args);
}

/* ---- what flows ---- */
WEIR_RECORD(item, (uint64_t, key), (uint64_t, seq), (uint64_t, value), (uint64_t, ink), (uint32_t, key32),
            (weir_time, at), (weir_str, name), (weir_str, text))
enum { WIDE = 700 };
WEIR_RECORD(wide, (uint64_t, key), (WEIR_ARRAY_OF(uint64_t, WIDE), many), (uint64_t, seq), (uint64_t, value),
            (uint64_t, ink), (weir_time, at), (weir_str, text))
WEIR_RECORD(split, (uint32_t, index), (uint32_t, source), (uint64_t, at), (weir_str, label))

static sim_item plain_of(const item *in)
{
    return (sim_item){in->key, in->seq, in->value, in->ink, 0};
}

static void check_text(weir_str s, uint64_t ink, const char *where)
{
    uint32_t n = sim_text_bytes(ink);
    if (s.len != n) {
        wrong("%s: a text of %u bytes must have %u", where, s.len, n);
        return;
    }
    const char *bytes = weir_str_data(&s);
    for (uint32_t i = 0; i<n; i += n> 4096 ? 61 : 1) {
        if (bytes[i] == sim_text_byte(ink, i)) continue;
        wrong("%s: byte %u of a text of %u bytes is %d instead of '%c'", where, i, n, bytes[i], sim_text_byte(ink, i));
        return;
    }
}

static weir_str name_in(char to[80], uint64_t key)
{
    uint32_t n = sim_name_bytes(key);
    memset(to, 'n', n);
    for (uint32_t i = 0; i < 8; i++) to[i] = (char)('A' + (key >> (4 * i)) % 16);
    return weir_str_of(to, n);
}

/* The record's event time is the one it left its source with, and event time has not come to it before. What a window
 * gives at the end has none that is looked at. */
static void check_time(const weir_ctx *ctx, weir_time at, const char *where)
{
    const sim_plan *p = sim_world_now->plan;
    int64_t         time = weir_time_of(ctx).ns, watermark = weir_watermark(ctx).ns;
    if (!p->timed) {
        if (time != WEIR_NO_TIME || watermark != WEIR_NO_TIME) wrong("%s: there is event time in a job without", where);
        return;
    }
    if (at.ns == WEIR_NO_TIME) return;
    if (time != at.ns) wrong("%s: the event time is %lld instead of %lld", where, (long long)time, (long long)at.ns);
    if (p->idle_after_ns == 0 && time <= watermark)
        wrong("%s: the watermark %lld has overtaken %lld", where, (long long)watermark, (long long)time);
}

/* ctx: NULL where there is none to ask. */
static void check_item(const item *in, const char *where, const weir_ctx *ctx)
{
    if (ctx != NULL) check_time(ctx, in->at, where);
    char     bytes[80];
    weir_str name = name_in(bytes, in->key);
    if (!weir_str_equal(&name, &in->name))
        wrong("%s: the name of key %llu is broken", where, (unsigned long long)in->key);
    if (in->key32 != (uint32_t)in->key) wrong("%s: key32 is not the key", where);
    check_text(in->text, in->ink, where);
}

/* ---- parameters: a resource of each operator, opened once per subtask ---- */
typedef struct tune {
    uint64_t salt, amp;
    bool     fails;
} tune;
static bool tune_open(tune *t, const weir_args *args)
{
    t->salt = (uint64_t)weir_arg_i64(args, "salt", 0);
    t->amp = (uint64_t)weir_arg_i64(args, "amp", 0);
    t->fails = weir_arg_i64(args, "fails", 0) != 0;
    sim_world_now->resources++;
    return true;
}
static void tune_close(tune *t)
{
    t->salt = 0;
    sim_world_now->resources--;
}
WEIR_RESOURCE(tune, tune_open, tune_close)

static void fail_when_planned(weir_ctx *ctx)
{
    if (tune_of(ctx)->fails && sim_world_now->failing > 0 && --sim_world_now->failing == 0)
        weir_fail(ctx, "as planned");
}

/* Growable memory for texts that are made here. Never more than one thread. */
static char *text_bytes(uint32_t n)
{
    static char room[400000];
    return n <= sizeof room ? room : NULL;
}
static weir_str text_made(uint64_t ink)
{
    uint32_t n = sim_text_bytes(ink);
    char    *to = text_bytes(n);
    for (uint32_t i = 0; i < n; i++) to[i] = sim_text_byte(ink, i);
    return weir_str_of(to, n);
}

/* ---- sources ---- */
typedef struct reader {
    uint64_t at;
    bool     open;
} reader;
static const sim_node *source_of(const weir_ctx *ctx)
{
    return &sim_world_now->plan->node[weir_arg_i64(weir_ctx_args(ctx), "source", 0)];
}
static void numbers_enumerate(split_out *out, weir_ctx *ctx)
{
    const sim_node *n = source_of(ctx);
    for (uint32_t i = 0; i < n->splits; i++) {
        split_emit(out, (split){.index = i,
                                .source = n->source,
                                .label = weir_format(ctx, "the split number %u of this source", i)});
    }
}
static bool numbers_open(const split *s, reader *r, weir_ctx *ctx)
{
    sim_world *w = sim_world_now;
    if (w->owner[s->source][s->index] != -1) wrong("split %u was given twice", s->index);
    w->owner[s->source][s->index] = (int32_t)weir_subtask(ctx);
    w->readers++;
    r->at = w->position[s->source][s->index] = s->at;
    r->open = true;
    return true;
}
static void numbers_close(reader *r)
{
    if (!r->open) wrong("a reader was closed that is not open");
    r->open = false;
    sim_world_now->readers--;
}
WEIR_SOURCE(numbers, split, sp, reader, r, item, out, ctx, numbers_enumerate, numbers_open, numbers_close)
{
    sim_world      *w = sim_world_now;
    const sim_node *n = &w->plan->node[sp->source];
    char            label[64], name[80];
    int             length = snprintf(label, sizeof label, "the split number %u of this source", sp->index);
    weir_str        wanted = weir_str_of(label, (size_t)length);
    if (!weir_str_equal(&wanted, &sp->label)) wrong("the label of split %u is broken", sp->index);
    if (wr_prng_one_in(&w->user, 9)) {
        if (wr_prng_one_in(&w->user, 2)) weir_wake_after(ctx, (weir_duration)wr_prng_below(&w->user, 3000000));
        return WEIR_IDLE;
    }
    uint64_t most = 1 + wr_prng_below(&w->user, n->rate);
    for (uint64_t i = 0; i < most && r->at < n->records[sp->index] && weir_room(&out->out); i++, r->at++) {
        sim_item x = sim_source_item(w->plan, sp->source, sp->index, r->at);
        item_emit(out, (item){.key = x.key,
                              .seq = x.seq,
                              .value = x.value,
                              .ink = x.ink,
                              .key32 = (uint32_t)x.key,
                              .at = {sim_time(w->plan, sp->source, sp->index, r->at)},
                              .name = name_in(name, x.key),
                              .text = text_made(x.ink)});
        w->emitted[sp->source][sp->index]++;
    }
    sp->at = w->position[sp->source][sp->index] = r->at;
    if (r->at < n->records[sp->index]) return wr_prng_one_in(&w->user, 4) ? WEIR_IDLE : WEIR_MORE;
    w->read[sp->source][sp->index] = true;
    return WEIR_END;
}

/* ---- stateless ---- */
static bool map_into(const item *in, item *out, weir_ctx *ctx)
{
    fail_when_planned(ctx);
    check_item(in, "map", ctx);
    sim_item x = plain_of(in), y = sim_mapped(tune_of(ctx)->salt, &x);
    *out = *in;
    out->value = y.value;
    out->ink = y.ink;
    if (y.ink == x.ink) return true;
    weir_str text = text_made(y.ink);
    out->text = y.value & 1 ? weir_keep(ctx, weir_str_data(&text), text.len)
                            : weir_format(ctx, "%.*s", (int)text.len, weir_str_data(&text));
    return true;
}
WEIR_MAP(map, item, in, item, out, ctx)
{
    return map_into(in, out, ctx);
}
WEIR_MAP(rekey, item, in, item, out, ctx)
{
    char     name[80];
    sim_item x = plain_of(in), y = sim_rekeyed(tune_of(ctx)->salt, &x);
    weir_str made = name_in(name, y.key);
    *out = *in;
    out->key = y.key;
    out->key32 = (uint32_t)y.key;
    out->name = weir_keep(ctx, weir_str_data(&made), made.len);
    return true;
}
WEIR_FILTER(filter, item, in, ctx)
{
    sim_item x = plain_of(in);
    check_item(in, "filter", ctx);
    return sim_keeps(tune_of(ctx)->salt, &x);
}
WEIR_FLAT_MAP(spread, item, in, item, out, ctx)
{
    const tune *t = tune_of(ctx);
    sim_item    x = plain_of(in);
    for (uint32_t i = 0, n = sim_copies(t->salt, t->amp, &x); i < n; i++) {
        item copy = *in;
        copy.value = sim_copy(t->salt, &x, i).value;
        item_emit(out, copy);
    }
    check_item(in, "spread", ctx);
}
WEIR_MAP(reject, item, in, item, out, ctx)
{
    sim_item x = plain_of(in);
    *out = *in;
    if (!sim_is_bad(tune_of(ctx)->salt, &x)) return true;
    return x.value & 2 ? false : weir_reject(ctx, "bad as planned");
}
WEIR_OUTPUTS(halves, (item, even), (item, odd))
WEIR_FLAT_MAP(parts, item, in, halves, out, ctx)
{
    sim_item x = plain_of(in);
    check_item(in, "parts", ctx);
    if (sim_part(tune_of(ctx)->salt, &x))
        item_emit(&out->odd, *in);
    else
        item_emit(&out->even, *in);
}
WEIR_MAP(widen, item, in, wide, out)
{
    *out = (wide){.key = in->key, .seq = in->seq, .value = in->value, .ink = in->ink, .at = in->at, .text = in->text};
    for (uint32_t i = 0; i < WIDE; i++) out->many[i] = in->value + i;
    return true;
}
WEIR_MAP(narrow, wide, in, item, out, ctx)
{
    char     name[80];
    weir_str made = name_in(name, in->key);
    check_time(ctx, in->at, "narrow");
    for (uint32_t i = 0; i < WIDE; i++) {
        if (in->many[i] != in->value + i) wrong("narrow: number %u of a wide record is broken", i);
    }
    *out = (item){.key = in->key,
                  .seq = in->seq,
                  .value = in->value,
                  .ink = in->ink,
                  .key32 = (uint32_t)in->key,
                  .at = in->at,
                  .text = in->text,
                  .name = weir_keep(ctx, weir_str_data(&made), made.len)};
    return true;
}
WEIR_FUSE(fused, filter, map)

/* ---- keyed ---- */
/* In memory of the batch: emitting may run what follows in the chain, which makes texts as well. */
static weir_str text_kept(weir_ctx *ctx, uint64_t ink)
{
    weir_str text = text_made(ink);
    return weir_keep(ctx, weir_str_data(&text), text.len);
}

static void emit_counted(item_out *out, const item *in, sim_item made, weir_ctx *ctx)
{
    item_emit(out, (item){.key = in->key,
                          .seq = made.seq,
                          .value = made.value,
                          .ink = made.ink,
                          .key32 = in->key32,
                          .at = in->at,
                          .name = in->name,
                          .text = text_kept(ctx, made.ink)});
}

WEIR_RECORD(note, (uint32_t, place), (uint64_t, n), (weir_str, text))
WEIR_TABLE(note, place)
WEIR_STATE(ledger, (uint64_t, n), (weir_text, memo), (value, note, last), (list, note, recent), (table, note, places))
enum { PLACES = 7, KEPT = 5 };

static uint64_t note_ink(uint64_t key, uint64_t n)
{
    return sim_mix(key, n) & 0xfffff & ~(uint64_t)(512 << 8);
}
static note note_of(uint64_t key, uint64_t n)
{
    return (note){.place = (uint32_t)(n % PLACES), .n = n, .text = text_made(note_ink(key, n))};
}
static void check_note(const note *x, uint64_t key, uint64_t n, const char *where)
{
    if (x == NULL)
        wrong("%s: nothing is there for n %llu", where, (unsigned long long)n);
    else if (x->n != n)
        wrong("%s: n is %llu instead of %llu", where, (unsigned long long)x->n, (unsigned long long)n);
    else
        check_text(x->text, note_ink(key, n), where);
}

/* What the cells hold after n records of this key. */
static void check_cells(const weir_ctx *ctx, const ledger *st, uint64_t key, uint64_t n)
{
    if (n == 0) return;
    check_text(weir_text_get(ctx, &st->memo), note_ink(key, n), "text cell");
    check_note(note_value_get(ctx, &st->last), key, n, "value cell");
    uint64_t  first = n > KEPT ? n - KEPT + 1 : 1, at = first;
    note_rows rows = note_list_rows(ctx, &st->recent);
    for (const note *x; (x = note_next(&rows)) != NULL; at++) check_note(x, key, at, "list cell");
    if (at != n + 1 || note_list_count(&st->recent) != n + 1 - first)
        wrong("list cell: %llu rows", (unsigned long long)(at - first));
    uint32_t there = 0;
    for (uint64_t i = 0; i < PLACES && i < n; i++) {
        const note *x = note_table_get(ctx, &st->places, (uint32_t)((n - i) % PLACES));
        if ((n - i) % 11 != 0) {
            there++;
            check_note(x, key, n - i, "table cell");
        } else if (x != NULL) {
            wrong("table cell: a removed row is there");
        }
    }
    if (note_table_count(&st->places) != there)
        wrong("table cell: %u rows instead of %u", note_table_count(&st->places), there);
}

WEIR_KEYED(count, item, in, ledger, st, item, out, ctx)
{
    fail_when_planned(ctx);
    check_item(in, "count", ctx);
    check_cells(ctx, st, in->key, st->n);
    note now = note_of(in->key, ++st->n);
    weir_text_set(ctx, &st->memo, now.text);
    note_value_set(ctx, &st->last, now);
    note_list_add(ctx, &st->recent, now);
    if (note_list_count(&st->recent) > KEPT) note_list_drop(ctx, &st->recent, 1);
    if (st->n % 11 == 0)
        note_table_remove(ctx, &st->places, now.place);
    else
        note_table_put(ctx, &st->places, now);
    emit_counted(out, in, sim_counted(tune_of(ctx)->salt, in->key, st->n), ctx);
}

WEIR_STATE(link, (uint64_t, n), (uint64_t, hash))
WEIR_KEYED(chain, item, in, link, st, item, out, ctx)
{
    check_item(in, "chain", ctx);
    sim_item x = plain_of(in), made = sim_counted(tune_of(ctx)->salt, in->key, ++st->n);
    made.value = st->hash = sim_chained(st->hash, &x);
    emit_counted(out, in, made, ctx);
}
WEIR_STATE(five, (uint64_t, n), (weir_text, memo))
WEIR_KEYED(forget, item, in, five, st, item, out, ctx)
{
    uint64_t n = ++st->n;
    if (n > 1)
        check_text(weir_text_get(ctx, &st->memo), note_ink(in->key, n - 1), "forgetful");
    else if (weir_text_get(ctx, &st->memo).len != 0)
        wrong("forgetful: a new state is not empty");
    weir_text_set(ctx, &st->memo, note_of(in->key, n).text);
    emit_counted(out, in, sim_counted(tune_of(ctx)->salt, in->key, n), ctx);
    if (n == 5) weir_forget(ctx);
}

/* ---- one window ---- */
/* seq counts: a record that comes in stands for one. */
WEIR_REDUCE(reduce, item, so_far, in)
{
    so_far->seq += in->seq;
    so_far->value += in->value;
    if (sim_fold_ink(so_far->ink, in->ink)) {
        so_far->ink = in->ink;
        so_far->text = in->text;
    }
}
WEIR_MAP(one, item, in, item, out)
{
    *out = *in;
    out->seq = 1;
    out->at.ns = WEIR_NO_TIME;
    return true;
}
WEIR_STATE(sums, (uint64_t, key), (uint64_t, n), (uint64_t, value))
static void total_merge(sums *into, const sums *from)
{
    into->n += from->n;
    into->value += from->value;
}
static void total_result(const item *key, const sums *acc, item_out *out, weir_ctx *ctx)
{
    char     bytes[80];
    uint32_t by = (uint32_t)tune_of(ctx)->amp;
    weir_str name = name_in(bytes, acc->key);
    if ((by == 0 || by == 3) && key->key != acc->key) wrong("total: the key is %llu", (unsigned long long)key->key);
    if ((by == 1 || by == 3) && !weir_str_equal(&key->name, &name)) wrong("total: the name of the key is broken");
    if (by == 2 && key->key32 != acc->key) wrong("total: key32 is %u", key->key32);
    if (key->text.len != 0 || key->seq != 0) wrong("total: more than the key is set");
    uint64_t ink = sim_mix(acc->value, 5) & ~SIM_HUGE;
    item_emit(out, (item){.key = acc->key,
                          .seq = acc->n,
                          .value = acc->value,
                          .ink = ink,
                          .key32 = (uint32_t)acc->key,
                          .at = {WEIR_NO_TIME},
                          .name = name,
                          .text = text_kept(ctx, ink)});
}
WEIR_AGGREGATE(total, item, in, sums, acc, item, total_merge, total_result)
{
    acc->key = in->key;
    acc->n++;
    acc->value += in->value;
}
static void total_all_result(const item *key, const sums *acc, item_out *out, weir_ctx *ctx)
{
    char     bytes[80];
    uint64_t ink = sim_mix(acc->value, 5) & ~SIM_HUGE;
    if (key->key != 0 || key->name.len != 0) wrong("total of all: there is a key");
    item_emit(out, (item){.seq = acc->n,
                          .value = acc->value,
                          .ink = ink,
                          .at = {WEIR_NO_TIME},
                          .name = name_in(bytes, 0),
                          .text = text_kept(ctx, ink)});
}
WEIR_AGGREGATE(total_all, item, in, sums, acc, item, total_merge, total_all_result)
{
    acc->n++;
    acc->value += in->value;
}

/* ---- windows by event time, and the same made of a timer ---- */
static item windowed_item(const weir_str *name, const sim_item *made, weir_ctx *ctx)
{
    return (item){.key = made->key,
                  .seq = made->seq,
                  .value = made->value,
                  .ink = made->ink,
                  .key32 = (uint32_t)made->key,
                  .at = {WEIR_NO_TIME},
                  .name = *name,
                  .text = text_kept(ctx, made->ink)};
}

static void span_result(const item *key, const sums *acc, item_out *out, weir_ctx *ctx)
{
    char      bytes[80];
    weir_str  name = name_in(bytes, acc->key);
    weir_span span = weir_window_of(ctx);
    sim_item  made = sim_windowed(tune_of(ctx)->salt, acc->key, span.start.ns, acc->n, acc->value);
    if (key->text.len != 0 || key->seq != 0) wrong("window: more than the key is set");
    if (weir_time_of(ctx).ns != span.end.ns - 1)
        wrong("window: its result has the time %lld, and it ends at %lld", (long long)weir_time_of(ctx).ns,
              (long long)span.end.ns);
    item_emit(out, windowed_item(&name, &made, ctx));
}
WEIR_AGGREGATE(span, item, in, sums, acc, item, total_merge, span_result)
{
    check_item(in, "window", NULL);
    acc->key = in->key;
    acc->n++;
    acc->value += in->value;
}

/* Its records as they came, but for their time, which is now the window's or none. */
WEIR_WINDOW(sieve, item, rows, item, out, ctx)
{
    weir_span   span = weir_window_of(ctx);
    const item *in;
    while ((in = item_next(rows)) != NULL) {
        check_item(in, "sieve", NULL);
        if (in->at.ns < span.start.ns || in->at.ns >= span.end.ns)
            wrong("sieve: a record of %lld is in the window that ends at %lld", (long long)in->at.ns,
                  (long long)span.end.ns);
        item_emit(out, *in);
    }
}
WEIR_FILTER(too_late, item, in)
{
    check_item(in, "too late", NULL);
    sim_world_now->vault->late++;
    return true;
}
WEIR_MAP(sieved, item, in, item, out)
{
    *out = *in;
    out->at.ns = WEIR_NO_TIME;
    return true;
}

WEIR_RECORD(piece, (int64_t, end), (uint64_t, n), (uint64_t, sum))
WEIR_TABLE(piece, end)
WEIR_STATE(bell, (uint64_t, key), (uint64_t, hash), (int64_t, due), (table, piece, open), (weir_event_timer, next))

static void bell_set(bell *b, int64_t due, weir_ctx *ctx)
{
    b->due = due;
    weir_event_timer_set(ctx, &b->next, (weir_time){due});
}
static void bell_rings(const item *key, bell *b, item_out *out, weir_ctx *ctx)
{
    char         bytes[80];
    weir_str     name = name_in(bytes, b->key);
    const piece *p = piece_table_get(ctx, &b->open, b->due);
    (void)key;
    if (weir_time_of(ctx).ns != b->due) wrong("timer: it fires at %lld", (long long)weir_time_of(ctx).ns);
    if (p == NULL) {
        wrong("timer: nothing is there for %lld", (long long)b->due);
        return;
    }
    sim_item made = sim_rung(tune_of(ctx)->salt, b->key, p->end, p->n, p->sum, &b->hash);
    item_emit(out, windowed_item(&name, &made, ctx));
    piece_table_remove(ctx, &b->open, b->due);
    int64_t    next = INT64_MAX;
    piece_rows rows = piece_table_rows(ctx, &b->open);
    for (const piece *x; (x = piece_next(&rows)) != NULL;) next = x->end < next ? x->end : next;
    b->due = 0;
    if (next != INT64_MAX) bell_set(b, next, ctx);
}
WEIR_KEYED(timer, item, in, bell, b, item, out, ctx, bell_rings)
{
    int64_t      size = (int64_t)tune_of(ctx)->amp, end = in->at.ns - in->at.ns % size + size;
    const piece *p = piece_table_get(ctx, &b->open, end);
    (void)out;
    check_item(in, "timer", ctx);
    b->key = in->key;
    piece_table_put(ctx, &b->open,
                    (piece){.end = end, .n = (p != NULL ? p->n : 0) + 1, .sum = (p != NULL ? p->sum : 0) + in->value});
    if (b->due == 0 || end < b->due) bell_set(b, end, ctx);
}

/* ---- edges and sinks ---- */
WEIR_WATERMARK(marks, item, in)
{
    return (weir_time){in->seq % 3 == 0 ? in->at.ns - sim_world_now->plan->delay_ns - 1 : WEIR_NO_TIME};
}
WEIR_PARTITION(by_key, item, in, channels)
{
    return (uint32_t)(in->key % channels);
}
WEIR_PARTITION(wide_by_key, wide, in, channels)
{
    return (uint32_t)(in->key % channels);
}

WEIR_RECORD(row, (uint64_t, key), (uint64_t, seq), (uint64_t, value), (uint64_t, ink))
WEIR_MAP(to_row, item, in, row, out, ctx)
{
    check_item(in, "row", ctx);
    *out = (row){.key = in->key, .seq = in->seq, .value = in->value, .ink = in->ink};
    return true;
}

typedef struct writer {
    sim_log *log;
} writer;
static bool keep_open(writer *w, weir_ctx *ctx)
{
    w->log = &sim_world_now->log[weir_arg_i64(weir_ctx_args(ctx), "sink", 0)][weir_subtask(ctx)];
    w->log->opened++;
    return true;
}
static void keep_close(writer *w, weir_ctx *ctx)
{
    (void)ctx;
    w->log->closed++;
}
static bool keep_flush(writer *w, weir_ctx *ctx)
{
    (void)ctx;
    w->log->unflushed = false;
    return true;
}
WEIR_SINK(keep, item, in, writer, w, ctx, keep_open, keep_flush, keep_close)
{
    check_item(in, "sink", ctx);
    sim_items_add(&w->log->items, plain_of(in));
    w->log->unflushed = true;
}
typedef struct grave {
    int unused;
} grave;
static bool bury_open(grave *g, weir_ctx *ctx)
{
    return g != NULL && ctx != NULL;
}
static bool bury_flush(grave *g, weir_ctx *ctx)
{
    return g != NULL && ctx != NULL;
}
static void bury_close(grave *g, weir_ctx *ctx)
{
    (void)g;
    (void)ctx;
}
WEIR_SINK(bury, weir_dead, in, grave, g, ctx, bury_open, bury_flush, bury_close)
{
    (void)g;
    weir_str one = weir_lit("bad as planned"), other = weir_lit("the map function returned false");
    if (!weir_str_equal(&in->reason, &one) && !weir_str_equal(&in->reason, &other)) {
        wrong("dead letter: the reason is %.*s", (int)in->reason.len, weir_str_data(&in->reason));
    }
    if (in->uid.len < 7 || memcmp(weir_str_data(&in->uid), "reject", 6) != 0) wrong("dead letter: the uid is broken");
    item x; /* as it was rejected, strings and all */
    if (wr_record_decode(&weir_type_item, weir_str_data(&in->record.raw), in->record.raw.len, &x))
        check_item(&x, "dead letter", NULL);
    else
        wrong("dead letter: the record has %u bytes, which are none", in->record.raw.len);
    sim_world_now->dead++;
}

/* ---- a two-phase sink whose other side often says: not now ---- */
enum { AGAIN_MAX = 4 };
WEIR_RECORD(leaf, (uint64_t, id), (uint64_t, rows), (weir_str, label))
typedef struct scribe {
    sim_items open;
    uint32_t  sink, again; /* again: how often in a row it said: not now */
} scribe;

static sim_page *page_of(uint64_t id)
{
    sim_vault *v = sim_world_now->vault;
    return id >= 1 && id <= v->pages ? &v->page[id - 1] : NULL;
}
static bool scribe_open(scribe *s, weir_ctx *ctx)
{
    s->sink = (uint32_t)weir_arg_i64(weir_ctx_args(ctx), "sink", 0);
    return true;
}
static void scribe_close(scribe *s, weir_ctx *ctx)
{
    (void)ctx;
    sim_items_free(&s->open);
}
static bool scribe_prepare(scribe *s, leaf_out *out, weir_ctx *ctx)
{
    sim_vault *v = sim_world_now->vault;
    if (s->open.n == 0) return true;
    if (v->pages == v->capacity) {
        v->capacity = v->capacity > 0 ? 2 * v->capacity : 64;
        v->page = realloc(v->page, v->capacity * sizeof *v->page);
        if (v->page == NULL) abort();
    }
    v->page[v->pages] = (sim_page){.id = v->pages + 1, .sink = s->sink, .subtask = weir_subtask(ctx), .items = s->open};
    v->pages++;
    leaf_emit(
        out,
        (leaf){.id = v->pages, .rows = s->open.n, .label = weir_format(ctx, "page %u of sink %u", v->pages, s->sink)});
    memset(&s->open, 0, sizeof s->open);
    return true;
}
static weir_commit scribe_commit(scribe *s, const leaf *c, uint32_t n, uint64_t snapshot, weir_ctx *ctx)
{
    sim_world *w = sim_world_now;
    uint32_t   until = wr_prng_one_in(&w->user, 3) ? (uint32_t)wr_prng_below(&w->user, n) : n;
    if (s->again == AGAIN_MAX) until = n; /* a dozen in a row took longer than the whole job may */
    s->again = until < n ? s->again + 1 : 0;
    (void)snapshot;
    (void)ctx;
    for (uint32_t i = 0; i < n; i++) {
        char      label[64];
        sim_page *p = page_of(c[i].id);
        int       length = snprintf(label, sizeof label, "page %u of sink %u", (unsigned)c[i].id, s->sink);
        weir_str  wanted = weir_str_of(label, (size_t)length);
        if (p == NULL || p->gone || p->sink != s->sink || p->items.n != c[i].rows ||
            !weir_str_equal(&wanted, &c[i].label)) {
            wrong("vault: page %llu is to be committed and is not there", (unsigned long long)c[i].id);
            return WEIR_LOST;
        }
        if (i == until) { /* some of them are done, and come again */
            w->vault->retries++;
            return WEIR_RETRY;
        }
        w->vault->repeats += p->committed;
        p->committed = true;
    }
    return WEIR_COMMITTED;
}
static bool scribe_recover(scribe *s, const weir_sink_id *id, const leaf *known, uint32_t n, weir_ctx *ctx)
{
    sim_vault *v = sim_world_now->vault;
    (void)ctx;
    for (uint32_t i = 0; i < v->pages; i++) {
        sim_page *p = &v->page[i];
        bool      is_known = p->committed || p->sink != s->sink || p->subtask != id->subtask;
        for (uint32_t k = 0; k < n && !is_known; k++) is_known = known[k].id == p->id;
        if (is_known || p->gone) continue;
        p->gone = true;
        v->recovered++;
    }
    return true;
}
WEIR_TWO_PHASE_SINK(vault, item, in, scribe, s, leaf, ctx, scribe_open, scribe_close, scribe_prepare, scribe_commit,
                    scribe_recover)
{
    check_item(in, "vault", ctx);
    sim_items_add(&s->open, plain_of(in));
}

void sim_vault_free(sim_vault *v)
{
    for (uint32_t i = 0; i < v->pages; i++) sim_items_free(&v->page[i].items);
    free(v->page);
    memset(v, 0, sizeof *v);
}

/* ---- from plan to pipeline ---- */
typedef struct made { /* streams of one node */
    item_stream item[2];
    wide_stream wide;
} made;

static item_stream routed(item_stream s, sim_route route)
{
    switch (route) {
    case SIM_REBALANCE: return weir_rebalance(s);
    case SIM_RESCALE: return weir_rescale(s);
    case SIM_SHUFFLE: return weir_shuffle(s);
    case SIM_GLOBAL: return weir_global(s);
    case SIM_BROADCAST: return weir_broadcast(s);
    case SIM_OWN: return weir_partition(by_key, s);
    default: return s;
    }
}

static wide_stream routed_wide(wide_stream s, sim_route route)
{
    switch (route) {
    case SIM_REBALANCE: return weir_rebalance(s);
    case SIM_RESCALE: return weir_rescale(s);
    case SIM_SHUFFLE: return weir_shuffle(s);
    case SIM_GLOBAL: return weir_global(s);
    case SIM_BROADCAST: return weir_broadcast(s);
    case SIM_OWN: return weir_partition(wide_by_key, s);
    default: return s;
    }
}

static item_stream input(const made *of, const sim_node *n)
{
    item_stream s[SIM_INPUTS];
    for (uint32_t i = 0; i < n->ins; i++) s[i] = routed(of[n->in[i].node].item[n->in[i].port], n->in[i].route);
    if (n->ins == 3) return weir_union(s[0], s[1], s[2]);
    return n->ins == 2 ? weir_union(s[0], s[1]) : s[0];
}

static item_keyed keyed(item_stream s, uint32_t by)
{
    switch (by) {
    case 0: return weir_key_by(s, key);
    case 1: return weir_key_by(s, name);
    case 2: return weir_key_by(s, key32);
    default: return weir_key_by(s, key, name);
    }
}

#define COMMON(N)                                                                                                      \
    .uid = (N)->uid, .parallelism = (N)->parallelism, .blocking = (N)->blocking, .chaining = (N)->chaining, .args = args
#define APPLY(OP, S)       weir_apply(OP, S, COMMON(n))
#define APPLY_KEYED(OP, S) weir_apply(OP, keyed(S, n->keyed_by), COMMON(n))

static item_stream build_window(const sim_node *n, item_stream in, const char *args)
{
    if (n->kind == SIM_TOTAL_ALL) return weir_apply(total_all, weir_window_all(in, weir_one_window()), COMMON(n));
    if (n->kind == SIM_TOTAL)
        return weir_apply(total, weir_window(keyed(in, n->keyed_by), weir_one_window()), COMMON(n));
    if (n->kind == SIM_TUMBLE)
        return weir_apply(span, weir_window(keyed(in, n->keyed_by), weir_tumbling(n->size)), COMMON(n));
    if (n->kind == SIM_SLIDE)
        return weir_apply(span, weir_window(keyed(in, n->keyed_by), weir_sliding(n->size, n->slide)), COMMON(n));
    if (n->kind == SIM_SESSION)
        return weir_apply(span, weir_window(keyed(in, n->keyed_by), weir_session(n->size)), COMMON(n));
    char ones[24];
    snprintf(ones, sizeof ones, "one-%s", n->uid);
    item_stream counted = weir_apply(one, in, .uid = ones, .parallelism = n->parallelism);
    return weir_apply(reduce, weir_window(keyed(counted, n->keyed_by), weir_one_window()), COMMON(n));
}

static item_stream build_sieve(const sim_node *n, item_stream in, const char *args)
{
    char uid[24], late[24];
    snprintf(uid, sizeof uid, "sieved-%s", n->uid);
    snprintf(late, sizeof late, "late-%s", n->uid);
    item_stream on_time = weir_apply(sieve, weir_window(keyed(in, n->keyed_by), weir_tumbling(n->size)), COMMON(n));
    item_stream too = weir_apply(too_late, weir_late(sieve, on_time), .uid = late, .parallelism = n->parallelism);
    return weir_apply(sieved, weir_union(on_time, too), .uid = uid, .parallelism = n->parallelism);
}

static item_stream timed(item_stream in, const sim_plan *plan)
{
    if (plan->own_marks) return weir_event_time_by(marks, in, at, .idle_after = plan->idle_after_ns);
    return weir_event_time(in, at, .max_delay = plan->delay_ns, .idle_after = plan->idle_after_ns);
}

static void build_exact(const sim_node *n, item_stream in)
{
    char uri[80], rows[24];
    snprintf(uri, sizeof uri, "file:/out/%s%s", n->uid, n->salt % 3 == 0 ? "?roll-bytes=2000" : "");
    snprintf(rows, sizeof rows, "row-%s", n->uid);
    row_stream made = weir_apply(to_row, in, .uid = rows, .parallelism = n->parallelism);
    weir_sink(made, uri, .uid = n->uid, .name = n->uid, .parallelism = n->parallelism, .blocking = n->blocking,
              .chaining = n->chaining, .guarantee = n->salt % 2 ? WEIR_EXACTLY_ONCE : WEIR_GUARANTEE_DEFAULT);
}

static void build_node(weir_pipeline *p, const sim_plan *plan, uint32_t index, made *of)
{
    const sim_node *n = &plan->node[index];
    made           *m = &of[index];
    char            args[160];
    snprintf(args, sizeof args, "salt=%llu amp=%llu fails=%d", (unsigned long long)n->salt,
             (unsigned long long)(n->kind == SIM_TOTAL   ? n->keyed_by
                                  : n->kind == SIM_TIMER ? (uint64_t)n->size
                                                         : n->amp),
             plan->ending == SIM_FAIL && plan->fail_node == index);
    switch (n->kind) {
    case SIM_SOURCE:
        snprintf(args, sizeof args, "source=%u", index);
        m->item[0] = weir_read(numbers, p, COMMON(n));
        if (plan->timed) m->item[0] = timed(m->item[0], plan);
        break;
    case SIM_MAP: m->item[0] = APPLY(map, input(of, n)); break;
    case SIM_REKEY: m->item[0] = APPLY(rekey, input(of, n)); break;
    case SIM_FILTER: m->item[0] = APPLY(filter, input(of, n)); break;
    case SIM_FUSED: m->item[0] = APPLY(fused, input(of, n)); break;
    case SIM_SPREAD: m->item[0] = APPLY(spread, input(of, n)); break;
    case SIM_REJECT: m->item[0] = weir_apply(reject, input(of, n), COMMON(n), .on_error = n->policy); break;
    case SIM_PARTS: {
        halves_streams h = APPLY(parts, input(of, n));
        m->item[0] = h.even;
        m->item[1] = h.odd;
        break;
    }
    case SIM_WIDEN: m->wide = APPLY(widen, input(of, n)); break;
    case SIM_NARROW: m->item[0] = APPLY(narrow, routed_wide(of[n->in[0].node].wide, n->in[0].route)); break;
    case SIM_COUNT: m->item[0] = APPLY_KEYED(count, input(of, n)); break;
    case SIM_CHAIN: m->item[0] = APPLY_KEYED(chain, input(of, n)); break;
    case SIM_FORGET: m->item[0] = APPLY_KEYED(forget, input(of, n)); break;
    case SIM_REDUCE:
    case SIM_TOTAL:
    case SIM_TOTAL_ALL:
    case SIM_TUMBLE:
    case SIM_SLIDE:
    case SIM_SESSION: m->item[0] = build_window(n, input(of, n), args); break;
    case SIM_SIEVE: m->item[0] = build_sieve(n, input(of, n), args); break;
    case SIM_TIMER: m->item[0] = APPLY_KEYED(timer, input(of, n)); break;
    case SIM_SINK:
        snprintf(args, sizeof args, "sink=%u", n->source);
        if (n->vault)
            weir_write(vault, input(of, n), COMMON(n));
        else if (sim_world_now->exact)
            build_exact(n, input(of, n));
        else
            weir_write(keep, input(of, n), COMMON(n));
        break;
    }
}

void sim_build(weir_pipeline *p)
{
    const sim_plan *plan = sim_world_now->plan;
    made           *of = calloc(plan->nodes, sizeof *of);
    if (of == NULL) abort();
    weir_configure(p, .parallelism = 2, .max_parallelism = plan->max_parallelism);
    for (uint32_t i = 0; i < plan->nodes; i++) build_node(p, plan, i, of);
    if (plan->dead) weir_write(bury, weir_dead_letters(p), .parallelism = 1);
    free(of);
}
