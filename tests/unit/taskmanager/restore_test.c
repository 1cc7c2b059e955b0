/* ctest: timeout=120
 * Jobs with state by key that crash and start again from a snapshot, at other parallelisms and several times in a row:
 * what is counted at the end is what a run without a crash counts. */
#include "base/env.h"
#include "base/sabotage.h"
#include "tests/unit/taskmanager/snaps.h"
#include <unistd.h>

static uint32_t epoch; /* of the newest life: file names never repeat */

static int make_folder(void **state)
{
    (void)state;
    return snaps_folder_make() ? 0 : -1;
}

static int drop_folder(void **state)
{
    (void)state;
    return snaps_folder_drop();
}

/* A job over several lives. */
typedef struct life {
    wr_prng     random;
    wr_manifest manifest[64]; /* all that completed */
    uint32_t    manifests;
    uint64_t    id;
    uint32_t    increments, fulls, empty;
    bool        savepoints;
} life;

static const wr_manifest *newest(const life *l)
{
    for (uint32_t i = l->manifests; i > 0; i--) {
        if (l->manifest[i - 1].kind == WR_SNAPSHOT) return &l->manifest[i - 1];
    }
    return NULL;
}

static wr_barrier next_barrier(life *l)
{
    const wr_manifest *base = newest(l);
    bool               savepoint = l->savepoints && wr_prng_one_in(&l->random, 4);
    return (wr_barrier){.id = ++l->id,
                        .base = base != NULL ? base->id : 0,
                        .kind = savepoint ? WR_SAVEPOINT : WR_SNAPSHOT,
                        .epoch = epoch};
}

static void note(life *l, snaps_run *r, const snaps_shot *s)
{
    const wr_manifest *base = newest(l);
    assert_true(l->manifests < 64);
    snaps_manifest(&l->manifest[l->manifests++], r, s, base);
    for (uint32_t i = 0; i < r->exec->subtasks; i++) {
        if (s->ack[i]->file.name[0] == 0) continue;
        l->increments += s->ack[i]->file.increment;
        l->fulls += !s->ack[i]->file.increment;
    }
}

static void begin(life *l, snaps_run *r, uint32_t parallelism)
{
    epoch++;
    snaps.parallelism = snaps.source_parallelism = snaps.sink_parallelism = parallelism;
    const wr_manifest *from = newest(l);
    snaps_new(r, wr_prng_next(&l->random), snaps_folder, from, 2);
    if (from == NULL) return;
    snaps_all_in(r, WR_TASK_LOADED);
    for (int i = 0; i < 50; i++) snaps_step(r);
    assert_int_equal(r->in[WR_TASK_LOADED], r->exec->subtasks); /* nobody runs ahead */
    wr_worker_go(r->worker);
}

/* Some snapshots, of which some fail, and then a crash. */
static void live(life *l, uint32_t parallelism, uint32_t snapshots)
{
    snaps_run r;
    begin(l, &r, parallelism);
    snaps_all_in(&r, WR_TASK_RUNNING);
    for (uint32_t i = 0; i < snapshots; i++) {
        for (uint64_t n = wr_prng_below(&l->random, 300); n > 0; n--) snaps_step(&r);
        snaps_shot *s = snaps_trigger(&r, next_barrier(l));
        if (wr_prng_one_in(&l->random, 4)) { /* called off on its way, or when all have answered */
            for (uint64_t n = wr_prng_below(&l->random, 200); n > 0; n--) snaps_step(&r);
            wr_worker_abort(r.worker, s->barrier.id);
            continue;
        }
        snaps_take(&r, s);
        if (wr_prng_one_in(&l->random, 5)) continue; /* its manifest could not be written */
        note(l, &r, s);
        wr_worker_complete(r.worker, s->barrier.id);
    }
    for (uint64_t n = wr_prng_below(&l->random, 300); n > 0; n--) snaps_step(&r);
    if (wr_prng_one_in(&l->random, 2)) snaps_trigger(&r, next_barrier(l)); /* under way when it crashes */
    for (uint64_t n = wr_prng_below(&l->random, 60); n > 0; n--) snaps_step(&r);
    snaps_free(&r);
}

/* To the end of all input. How much is wrong there. */
static uint64_t end(life *l, uint32_t parallelism)
{
    snaps_run r;
    begin(l, &r, parallelism);
    snaps_all_in(&r, WR_TASK_ENDED);
    uint64_t   wrong = snaps_wrong_keys(&r) + snaps.disorder;
    wr_barrier barrier = next_barrier(l);
    barrier.kind = WR_SNAPSHOT;
    snaps_shot *s = snaps_trigger(&r, barrier);
    snaps_take(&r, s);
    note(l, &r, s);
    assert_true(newest(l)->ended);
    wr_worker_complete(r.worker, s->barrier.id);
    wr_worker_finish(r.worker);
    snaps_all_in(&r, WR_TASK_FINISHED);
    snaps_free(&r);
    return wrong;
}

static void life_free(life *l)
{
    for (uint32_t i = 0; i < l->manifests; i++) wr_arena_fini(&l->manifest[i].arena);
}

static void draw_records(wr_prng *random, uint64_t most)
{
    for (uint32_t i = 0; i < 2 * SNAPS_SPLITS; i++) snaps.records[i] = 1 + wr_prng_below(random, most);
}

static const uint32_t PARALLELISMS[] = {1, 2, 3, 7};

static void test_any_parallelism_to_any_other(void **state)
{
    (void)state;
    for (uint32_t from = 0; from < 4; from++) {
        for (uint32_t to = 0; to < 4; to++) {
            life l = {.random = wr_prng_of(100 + 4 * from + to)};
            snaps_reset(SNAPS_UNION, WEIR_ROUTE_REBALANCE, 1, 0);
            snaps.keyed = true;
            snaps.splits = SNAPS_SPLITS;
            snaps.names = true;
            draw_records(&l.random, 8000);
            live(&l, PARALLELISMS[from], 4);
            assert_int_equal(end(&l, PARALLELISMS[to]), 0);
            life_free(&l);
        }
    }
}

/* Several lives of a job that the seed draws. How much is wrong at its end. */
static uint64_t lives(uint64_t seed, uint32_t *increments, uint32_t *fulls)
{
    life l = {.random = wr_prng_of(seed), .savepoints = true};
    snaps_reset((uint32_t)wr_prng_below(&l.random, SNAPS_SHAPES), WEIR_ROUTE_SHUFFLE, 1, 0);
    snaps.keyed = true;
    snaps.own = wr_prng_one_in(&l.random, 3);
    snaps.splits = 1 + (uint32_t)wr_prng_below(&l.random, SNAPS_SPLITS);
    draw_records(&l.random, 10000);
    for (uint64_t n = 2 + wr_prng_below(&l.random, 3); n > 0; n--)
        live(&l, PARALLELISMS[wr_prng_below(&l.random, 4)], (uint32_t)wr_prng_below(&l.random, 8));
    uint64_t wrong = end(&l, PARALLELISMS[wr_prng_below(&l.random, 4)]);
    *increments += l.increments;
    *fulls += l.fulls;
    life_free(&l);
    return wrong;
}

enum { SEEDS = 40 };

static void test_many_lives(void **state)
{
    (void)state;
    uint32_t increments = 0, fulls = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) assert_int_equal(lives(seed, &increments, &fulls), 0);
    assert_true(increments > 50 && fulls > 50);
}

/* Between two snapshots nearly all keys are written, or hardly any: marks go off and on, and some snapshots fail. */
static uint64_t ups_and_downs(uint64_t seed, uint32_t *increments, uint32_t *changes)
{
    life      l = {.random = wr_prng_of(seed)};
    snaps_run r;
    uint32_t  was = 0;
    snaps_reset(SNAPS_ROUTE, WEIR_ROUTE_REBALANCE, 1, 0);
    snaps.keyed = true;
    snaps.keys = SNAPS_KEYS_MAX;
    snaps.splits = 2;
    for (uint32_t i = 0; i < snaps.splits; i++) snaps.records[i] = UINT64_C(1) << 20, snaps.may[i] = 0;
    begin(&l, &r, 1);
    snaps_all_in(&r, WR_TASK_RUNNING);
    for (uint32_t i = 0; i < 30; i++) {
        uint64_t n = wr_prng_one_in(&l.random, 2) ? wr_prng_below(&l.random, 50) : 2 * snaps.keys;
        for (uint32_t k = 0; k < snaps.splits; k++) snaps.may[k] += n;
        if (wr_prng_one_in(&l.random, 2)) snaps_settle(&r); /* else records come while it is written */
        snaps_shot *s = snaps_trigger(&r, next_barrier(&l));
        if (wr_prng_one_in(&l.random, 6)) {
            for (uint64_t k = wr_prng_below(&l.random, 60); k > 0; k--) snaps_step(&r);
            wr_worker_abort(r.worker, s->barrier.id);
        } else {
            snaps_take(&r, s);
            if (!wr_prng_one_in(&l.random, 6)) note(&l, &r, s);
        }
        snaps_settle(&r);
        *changes += snaps_marking(&r) != was;
        was = snaps_marking(&r);
        if (r.shots == SNAPS_SHOTS) snaps_free_shots(&r);
    }
    for (uint32_t k = 0; k < snaps.splits; k++) snaps.records[k] = snaps.may[k];
    snaps_free(&r);
    for (uint32_t k = 0; k < snaps.splits; k++) snaps.may[k] = UINT64_MAX;
    *increments += l.increments;
    uint64_t wrong = end(&l, 2);
    life_free(&l);
    return wrong;
}

static void test_marks_that_go_off_and_on_lose_nothing(void **state)
{
    (void)state;
    uint32_t increments = 0, changes = 0;
    for (uint64_t seed = 1; seed <= 12; seed++) assert_int_equal(ups_and_downs(seed, &increments, &changes), 0);
    assert_true(increments >= 36 && changes >= 36);
}

/* The same with a rule broken: it must show. */
static void test_broken_rules_show(void **state)
{
    (void)state;
    bool *const rules[] = {&wr_sabotage.skip_alignment, &wr_sabotage.lose_split, &wr_sabotage.position_behind};
    for (uint32_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        uint32_t increments, fulls;
        uint64_t wrong = 0;
        *rules[i] = true;
        for (uint64_t seed = 1; seed <= SEEDS && wrong == 0; seed++) wrong = lives(seed, &increments, &fulls);
        *rules[i] = false;
        if (wrong == 0) fail_msg("rule %u can be broken", i);
    }
}

/* The snapshot of the end: everything says its end again, and gives nothing. */
static void test_what_had_ended_gives_nothing_again(void **state)
{
    (void)state;
    life l = {.random = wr_prng_of(5)};
    snaps_reset(SNAPS_UNION, WEIR_ROUTE_REBALANCE, 1, 3000);
    snaps.keyed = true;
    assert_int_equal(end(&l, 2), 0);
    assert_true(snaps.seen[0] + snaps.seen[1] > 0);
    assert_int_equal(end(&l, 3), 0);
    for (uint32_t i = 0; i < SNAPS_SUBTASKS; i++) assert_int_equal(snaps.seen[i], 0);
    life_free(&l);
}

/* One input ends long before the other: its part of the job says so in the snapshot, and again after the restart. */
static void test_one_input_ended_before(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 4; i++) {
        life l = {.random = wr_prng_of(7 + i)};
        snaps_reset(SNAPS_UNION, WEIR_ROUTE_REBALANCE, 1, 20000);
        snaps.keyed = true;
        for (uint32_t k = SNAPS_SPLITS; k < 2 * SNAPS_SPLITS; k++) snaps.records[k] = 20;
        live(&l, 2, 6);
        assert_non_null(newest(&l));
        assert_int_equal(end(&l, PARALLELISMS[i]), 0);
        life_free(&l);
    }
}

static uint64_t seen(void)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < SNAPS_SUBTASKS; i++) n += snaps.seen[i];
    return n;
}

/* What was handed out once is not handed out again, however often the enumerator looks; what comes up later is. */
static void test_discovered_splits_are_read_once(void **state)
{
    (void)state;
    for (uint32_t names = 0; names < 2; names++) {
        life      l = {.random = wr_prng_of(11)};
        snaps_run r;
        snaps_reset(SNAPS_ROUTE, WEIR_ROUTE_REBALANCE, 1, 1000);
        snaps.keyed = snaps.discovers = true;
        snaps.names = names;
        snaps.splits = 4;
        begin(&l, &r, 2);
        while (seen() < 4000) snaps_step(&r);
        snaps_shot *s = snaps_trigger(&r, next_barrier(&l));
        snaps_take(&r, s);
        note(&l, &r, s);
        snaps_free(&r);
        begin(&l, &r, 3);
        for (int i = 0; i < 3000; i++) snaps_step(&r);
        assert_int_equal(seen(), 0);
        snaps.splits = 5;
        while (seen() < 1000) snaps_step(&r);
        for (int i = 0; i < 3000; i++) snaps_step(&r);
        assert_int_equal(seen(), 1000);
        assert_int_equal(snaps_wrong_keys(&r), 0);
        snaps_free(&r);
        life_free(&l);
    }
}

/* A snapshot from before the splits were listed: the next life lists them. One from after: it does not. */
static void test_splits_are_listed_in_one_life(void **state)
{
    (void)state;
    for (uint32_t listed = 0; listed < 2; listed++) {
        life      l = {.random = wr_prng_of(13)};
        snaps_run r;
        snaps_reset(SNAPS_ROUTE, WEIR_ROUTE_REBALANCE, 1, 1000);
        snaps.keyed = true;
        snaps.splits = 2;
        for (uint32_t i = 0; i < 2; i++) snaps.may[i] = 10;
        begin(&l, &r, 1);
        if (listed) snaps_all_in(&r, WR_TASK_RUNNING);
        while (listed && seen() < 20) snaps_step(&r);
        while (!listed && snaps_at_least(&r, WR_TASK_RUNNING) < r.exec->subtasks) {
            /* whoever runs first is ordered before its next step */
            snaps_step(&r);
        }
        snaps_shot *s = snaps_trigger(&r, next_barrier(&l));
        snaps_take(&r, s);
        note(&l, &r, s);
        snaps_free(&r);
        snaps.splits = 3; /* came up since */
        for (uint32_t i = 0; i < 3; i++) snaps.may[i] = UINT64_MAX;
        begin(&l, &r, 1);
        snaps_all_in(&r, WR_TASK_ENDED);
        bool ran = false;
        for (uint32_t i = 0; i < l.manifest[0].ops; i++) {
            for (uint32_t k = 0; k < l.manifest[0].op[i].items; k++)
                ran |= l.manifest[0].op[i].item[k].kind == WR_ITEM_OWN;
        }
        if (listed) assert_true(ran);
        if (ran) snaps.splits = 2;
        assert_int_equal(snaps_wrong_keys(&r), 0);
        snaps_free(&r);
        life_free(&l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_parallelism_to_any_other),
        cmocka_unit_test(test_many_lives),
        cmocka_unit_test(test_broken_rules_show),
        cmocka_unit_test(test_marks_that_go_off_and_on_lose_nothing),
        cmocka_unit_test(test_what_had_ended_gives_nothing_again),
        cmocka_unit_test(test_one_input_ended_before),
        cmocka_unit_test(test_discovered_splits_are_read_once),
        cmocka_unit_test(test_splits_are_listed_in_one_life),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
