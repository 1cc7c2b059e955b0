/* Keyed operators that go on from a file: their timers, their times to live, and states that are upgraded. Operators
 * are driven by hand, so that what one subtask wrote is loaded by any number of them. */
#include "graph/job.h"
#include "operators/op.h"
#include "tests/unit/snapshot/image_kit.h"
#include <weir/pipeline.h>

WEIR_RECORD(tick, (uint64_t, key), (uint32_t, what), (weir_time, at))
WEIR_RECORD(nothing, (uint64_t, key))

/* ---- one life of an operator: its subtasks ---- */

enum { SUBTASKS_MAX = 7, GROUPS = 128 };
typedef struct life {
    const weir_op *def;
    wr_budget      budget;
    wr_home        home;
    wr_node        node;
    wr_op          op[SUBTASKS_MAX];
    uint32_t       n;
} life;

/* The types of the saved state; NULL: there is none. */
static void begin(life *l, const weir_op *def, uint32_t n, const wr_manifest_op *saved, int64_t watermark,
                  int64_t now_ns)
{
    l->def = def;
    l->n = n;
    l->home = (wr_home){.env = wr_env_real(), .budget = &l->budget, .now_ns = now_ns, .job = "test"};
    l->node.uid = l->node.name = "watch";
    l->node.key[0] = (weir_key){.count = 1, .field = {{0, WEIR_U64}}};
    for (uint32_t i = 0; i < n; i++) {
        wr_op     *op = &l->op[i];
        wr_errinfo info = {0};
        *op = (wr_op){
            .def = def, .node = &l->node, .home = &l->home, .subtask = i, .subtasks = n, .max_parallelism = GROUPS};
        assert_int_equal(wr_op_init(op, &info), WR_OK);
        if (saved != NULL && op->kernel->load(op, saved, kit_folder, &info) != WR_OK) fail_msg("%s", info.text);
        op->watermark = watermark;
        if (wr_op_open(op, &info) != WR_OK) fail_msg("%s", info.text);
    }
}

static void end(life *l)
{
    for (uint32_t i = 0; i < l->n; i++) {
        assert_int_equal(l->op[i].failure.code, WR_OK);
        wr_op_fini(&l->op[i]);
    }
    wr_scratch_fini(&l->home.scratch);
    assert_int_equal(l->budget.bytes, 0);
    *l = (life){0};
}

static void push(life *l, const tick *in)
{
    uint64_t hash;
    wr_key_hash(&l->node.key[0], in, sizeof *in, 1, &hash);
    uint32_t to = wr_subtask_of(wr_key_group_of(hash, GROUPS), l->n, GROUPS);
    wr_op_push(&l->op[to], &(wr_view){.records = (const char *)in, .n = 1, .time = &in->at}, 0);
}

static void advance(life *l, int64_t watermark)
{
    for (uint32_t i = 0; i < l->n; i++) {
        l->op[i].watermark = watermark;
        while (!wr_op_advance(&l->op[i])) {}
    }
}

static void tick_to(life *l, int64_t now_ns)
{
    l->home.now_ns = now_ns;
    for (uint32_t i = 0; i < l->n; i++) {
        for (uint32_t tries = 0; l->op[i].due_ns <= now_ns && tries < 100000; tries++) wr_op_tick(&l->op[i]);
        assert_true(l->op[i].due_ns > now_ns);
    }
}

/* Takes a full image of the one subtask. */
typedef struct saved {
    wr_manifest_op    op;
    wr_manifest_layer layer;
} saved;
static void save(life *l, saved *s, uint64_t id)
{
    const wr_table_config *config = wr_table_config_of(l->op[0].table);
    assert_int_equal(l->n, 1);
    *s = (saved){.op = {.uid = "watch",
                        .parallelism = 1,
                        .max_parallelism = GROUPS,
                        .layers = 1,
                        .record = config->record,
                        .state = config->state,
                        .key = config->key},
                 .layer = {.snapshot = id}};
    s->op.layer = &s->layer;
    wr_image_writer   *w;
    wr_errinfo         info = {0};
    char               name[64];
    uint64_t           bytes;
    enum wr_image_step step;
    wr_image_config    image = {.env = wr_env_real(),
                                .folder = kit_folder,
                                .name = name,
                                .job = "kit",
                                .lineage = "a lineage",
                                .barrier = {.id = id, .kind = WR_SNAPSHOT, .epoch = 3}};
    snprintf(name, sizeof name, "s-%lu.wst", (unsigned long)id);
    if (wr_image_writer_new(&w, &image, &info) != WR_OK) fail_msg("%s", info.text);
    if (wr_image_writer_add(w, "watch", l->op[0].table, true, &info) != WR_OK) fail_msg("%s", info.text);
    while ((step = wr_image_writer_step(w, UINT64_MAX, &info)) != WR_IMAGE_DURABLE) {
        if (step == WR_IMAGE_FAILED) fail_msg("%s", info.text);
    }
    wr_image_writer_result(w, &s->layer.file, &bytes);
    wr_image_writer_free(w);
}

/* ---- timers ---- */

WEIR_STATE(watched, (uint64_t, seen), (weir_event_timer, first), (weir_event_timer, second), (weir_clock_timer, ring))
enum { FIRES_MAX = 20000 };
typedef struct fire {
    uint64_t key, seen;
    int64_t  at;
    uint32_t which;
} fire;
static fire     fires[FIRES_MAX];
static uint32_t fired;

static void note(const tick *key, watched *st, nothing_out *out, weir_ctx *ctx)
{
    (void)out;
    uint32_t which = weir_event_timer_fired(ctx, &st->first) ? 0 : weir_event_timer_fired(ctx, &st->second) ? 1 : 2;
    assert_true(which != 2 || weir_clock_timer_fired(ctx, &st->ring));
    assert_true(fired < FIRES_MAX);
    fires[fired++] = (fire){key->key, st->seen, weir_time_of(ctx).ns, which};
    if (which == 0 && key->key % 5 == 0) weir_event_timer_set(ctx, &st->second, weir_after(weir_time_of(ctx), 7));
    if (which == 1 && key->key % 7 == 0) weir_forget(ctx);
}
WEIR_KEYED(watch, tick, in, watched, st, nothing, out, ctx, note)
{
    (void)out;
    st->seen++;
    switch (in->what) {
    case 0: weir_event_timer_set(ctx, &st->first, in->at); break;
    case 1: weir_event_timer_set(ctx, &st->second, in->at); break;
    case 2: weir_clock_timer_set(ctx, &st->ring, in->at); break;
    case 3: weir_event_timer_clear(ctx, &st->first); break;
    default: weir_forget(ctx); break;
    }
}

static int by_time(const void *a, const void *b)
{
    const fire *x = a, *y = b;
    if ((x->which == 2) != (y->which == 2)) return x->which == 2 ? 1 : -1;
    if (x->at != y->at) return x->at < y->at ? -1 : 1;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return x->which < y->which ? -1 : x->which > y->which;
}

/* From a watermark and a clock on to the end; what fired, in an order that subtasks do not change. */
static uint32_t to_the_end(life *l, fire *into)
{
    fired = 0;
    for (int64_t w = 1000; w <= 12000; w += 500) advance(l, w);
    tick_to(l, 9000);
    for (uint32_t i = 0; i < l->n; i++) {
        while (!wr_op_end(&l->op[i])) {}
    }
    memcpy(into, fires, fired * sizeof *fires);
    qsort(into, fired, sizeof *into, by_time);
    return fired;
}

static void test_timers_come_along(void **state)
{
    (void)state;
    static fire           want[FIRES_MAX], got[FIRES_MAX];
    static const uint32_t parallelism[] = {1, 2, 3, 7};
    for (uint64_t seed = 1; seed <= 5; seed++) {
        static life l;
        saved       s;
        wr_prng     prng = wr_prng_of(seed);
        begin(&l, &weir_op_watch, 1, NULL, WEIR_NO_TIME, 10);
        for (uint32_t i = 0; i < 6000; i++) {
            uint64_t what = wr_prng_below(&prng, 9);
            tick     in = {.key = wr_prng_below(&prng, 700),
                           .what = what > 4 ? (uint32_t)what % 3 : (uint32_t)what,
                           .at = {(int64_t)wr_prng_below(&prng, 8000)}};
            push(&l, &in);
            if (i == 4000) advance(&l, 900);
            if (i == 4000) tick_to(&l, 400);
        }
        /* Timers before the watermark wait for their tick: they are in the snapshot, too. */
        save(&l, &s, seed);
        uint32_t n = to_the_end(&l, want);
        assert_in_range(n, 500, FIRES_MAX);
        end(&l);
        for (uint32_t i = 0; i < 4; i++) {
            begin(&l, &weir_op_watch, parallelism[i], &s.op, 900, 500);
            assert_int_equal(to_the_end(&l, got), n);
            assert_memory_equal(got, want, n * sizeof *want);
            end(&l);
        }
    }
}

/* While nobody watched, clock timers became due: they fire once, at the first tick. */
static void test_overdue_clock_timers_fire_once(void **state)
{
    (void)state;
    static life l;
    saved       s;
    begin(&l, &weir_op_watch, 1, NULL, WEIR_NO_TIME, 10);
    for (uint64_t i = 0; i < 100; i++) push(&l, &(tick){.key = i, .what = 2, .at = {1000 + (int64_t)i}});
    save(&l, &s, 50);
    end(&l);
    begin(&l, &weir_op_watch, 2, &s.op, WEIR_NO_TIME, 1050);
    fired = 0;
    for (uint32_t i = 0; i < 2; i++) assert_true(l.op[i].due_ns <= 1050);
    tick_to(&l, 1050);
    assert_int_equal(fired, 51);
    tick_to(&l, 1060);
    assert_int_equal(fired, 61);
    for (uint32_t i = 0; i < fired; i++) assert_int_equal(fires[i].which, 2);
    end(&l);
}

/* ---- times to live ---- */

WEIR_RECORD(entry, (uint64_t, id), (uint64_t, value))
WEIR_TABLE(entry, id)
WEIR_STATE(memory, (uint64_t, seen), (list, entry, recent, 100), (table, entry, known, 200 * WEIR_MILLISECOND))
static struct {
    uint64_t seen, recent, known;
} answer;
WEIR_KEYED(remember, tick, in, memory, st, nothing, out, ctx)
{
    (void)out;
    answer.seen = st->seen;
    answer.recent = entry_list_count(&st->recent);
    answer.known = entry_table_count(&st->known);
    if (in->what == 1) return;
    st->seen++;
    entry_list_add(ctx, &st->recent, (entry){1, 2});
    entry_table_put(ctx, &st->known, (entry){st->seen, 2});
}

static void ask(life *l, uint64_t key, uint64_t seen, uint64_t recent, uint64_t known)
{
    push(l, &(tick){.key = key, .what = 1});
    assert_int_equal(answer.seen, seen);
    assert_int_equal(answer.recent, recent);
    assert_int_equal(answer.known, known);
}

static void test_times_to_live_come_along(void **state)
{
    (void)state;
    static life   l;
    saved         s;
    const int64_t ms = WEIR_MILLISECOND, second = WEIR_SECOND;
    l.node.ttl = second;
    begin(&l, &weir_op_remember, 1, NULL, WEIR_NO_TIME, second);
    for (uint64_t i = 0; i < 300; i++) push(&l, &(tick){.key = i});
    l.home.now_ns = second + 50;
    push(&l, &(tick){.key = 7});
    save(&l, &s, 60);
    end(&l);
    for (uint32_t n = 1; n <= 3; n++) {
        l.node.ttl = second;
        begin(&l, &weir_op_remember, n, &s.op, WEIR_NO_TIME, second + 99);
        ask(&l, 7, 2, 2, 2);
        l.home.now_ns = second + 100;
        ask(&l, 7, 2, 1, 2);
        ask(&l, 8, 1, 0, 1);
        l.home.now_ns = second + 150 * ms;
        ask(&l, 7, 2, 0, 2);
        l.home.now_ns = second + 205 * ms;
        ask(&l, 7, 2, 0, 0);
        l.home.now_ns = 2 * second + 49;
        ask(&l, 7, 2, 0, 0);
        ask(&l, 8, 0, 0, 0); /* its key is over, and this call makes it anew */
        l.home.now_ns = 2 * second + 50;
        ask(&l, 7, 0, 0, 0);
        uint64_t keys = 0;
        tick_to(&l, 4 * second); /* and all is swept away */
        for (uint32_t i = 0; i < n; i++) keys += wr_table_count(l.op[i].table);
        for (uint32_t round = 0; round < 20 && keys != 0; round++) {
            tick_to(&l, l.home.now_ns + second);
            keys = 0;
            for (uint32_t i = 0; i < n; i++) keys += wr_table_count(l.op[i].table);
        }
        assert_int_equal(keys, 0);
        for (uint32_t i = 0; i < n; i++) assert_int_equal(l.op[i].due_ns, INT64_MAX);
        end(&l);
    }
}

/* ---- a state that was another ---- */

WEIR_STATE(old_state, (uint64_t, count), (weir_text, name), (value, entry, best), (list, entry, recent),
           (table, entry, known), (weir_event_timer, ends))
WEIR_STATE(new_state, (double, count), (weir_text, name), (uint64_t, sum), (weir_event_timer, ends))
static uint64_t ended;
static void     old_over(const tick *key, old_state *st, nothing_out *out, weir_ctx *ctx)
{
    (void)key;
    (void)st;
    (void)out;
    (void)ctx;
}
static char names[64];
WEIR_KEYED(old_op, tick, in, old_state, st, nothing, out, ctx, old_over)
{
    (void)out;
    st->count++;
    int n = snprintf(names, sizeof names, "a name that is long: %lu", (unsigned long)in->key);
    weir_text_set(ctx, &st->name, weir_str_of(names, (size_t)n));
    entry_value_set(ctx, &st->best, (entry){in->key, 1000});
    entry_list_add(ctx, &st->recent, (entry){st->count, 10});
    entry_table_put(ctx, &st->known, (entry){st->count, 100});
    weir_event_timer_set(ctx, &st->ends, in->at);
}
WEIR_UPGRADE(newer, old_state, from, new_state, to, ctx)
{
    to->count = (double)from->count + 0.5;
    weir_text_set(ctx, &to->name, weir_text_get(ctx, &from->name));
    to->sum = entry_value_get(ctx, &from->best)->value;
    entry_rows rows = entry_list_rows(ctx, &from->recent);
    for (const entry *e; (e = entry_next(&rows)) != NULL;) to->sum += e->value;
    for (uint64_t i = 1; i <= from->count; i++) to->sum += entry_table_get(ctx, &from->known, i)->value;
    to->ends = from->ends;
}
static void new_over(const tick *key, new_state *st, nothing_out *out, weir_ctx *ctx)
{
    (void)out;
    double   times = (double)(1 + key->key % 3);
    weir_str name = weir_text_get(ctx, &st->name);
    int      n = snprintf(names, sizeof names, "a name that is long: %lu", (unsigned long)key->key);
    weir_str want = weir_str_of(names, (size_t)n);
    assert_true(weir_str_equal(&name, &want));
    assert_true(st->count == times + 0.5);
    assert_true((double)st->sum == 1000 + times * 110);
    assert_int_equal(weir_time_of(ctx).ns, 5000 + (int64_t)key->key);
    ended++;
}
WEIR_KEYED(new_op, tick, in, new_state, st, nothing, out, ctx, new_over)
{
    (void)in;
    (void)st;
    (void)out;
    (void)ctx;
}

static void test_states_are_upgraded(void **state)
{
    (void)state;
    static life l;
    saved       s;
    begin(&l, &weir_op_old_op, 1, NULL, WEIR_NO_TIME, 0);
    for (uint64_t i = 0; i < 400; i++) {
        for (uint64_t k = 0; k <= i % 3; k++) push(&l, &(tick){.key = i, .at = {5000 + (int64_t)i}});
    }
    save(&l, &s, 70);
    end(&l);
    for (uint32_t n = 1; n <= 3; n += 2) {
        ended = 0;
        l.node.upgrade[0] = &newer;
        begin(&l, &weir_op_new_op, n, &s.op, WEIR_NO_TIME, 0);
        advance(&l, 5099);
        assert_int_equal(ended, 100);
        advance(&l, 6000);
        assert_int_equal(ended, 400);
        end(&l);
    }
    wr_errinfo info = {0}; /* without the upgrade it is refused, by the field's name */
    l.home = (wr_home){.env = wr_env_real(), .budget = &l.budget, .job = "test"};
    l.node = (wr_node){.uid = "watch", .name = "watch", .key = {{.count = 1, .field = {{0, WEIR_U64}}}}};
    l.op[0] = (wr_op){
        .def = &weir_op_new_op, .node = &l.node, .home = &l.home, .subtasks = 1, .max_parallelism = GROUPS};
    assert_int_equal(wr_op_init(&l.op[0], &info), WR_OK);
    assert_int_not_equal(l.op[0].kernel->load(&l.op[0], &s.op, kit_folder, &info), WR_OK);
    assert_non_null(strstr(info.text, "count"));
    wr_op_fini(&l.op[0]);
    assert_int_equal(l.budget.bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timers_come_along),
        cmocka_unit_test(test_overdue_clock_timers_fire_once),
        cmocka_unit_test(test_times_to_live_come_along),
        cmocka_unit_test(test_states_are_upgraded),
    };
    return cmocka_run_group_tests(tests, kit_folder_begin, kit_folder_end);
}
