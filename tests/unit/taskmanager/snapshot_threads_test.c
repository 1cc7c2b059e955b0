/* ctest: threads timeout=300
 * Snapshots of jobs on real threads: taken one after the other as fast as they come, called off at any moment, with
 * crashes in between. Run by ThreadSanitizer as well. */
#include "base/env.h"
#include "tests/unit/taskmanager/snaps.h"
#include <unistd.h>

enum { LIVES = 12 };

static wr_parker   parker;
static wr_manifest manifest[2]; /* the newest that completed, and the one before */
static bool        completed;
static uint32_t    epoch;
static uint64_t    id;

static int make_folder(void **state)
{
    (void)state;
    const wr_env *env = wr_env_real();
    return snaps_folder_make() && env->parker_init(env->self, &parker) == 0 ? 0 : -1;
}

static int drop_folder(void **state)
{
    (void)state;
    const wr_env *env = wr_env_real();
    env->parker_fini(env->self, &parker);
    return snaps_folder_drop();
}

/* Takes what was reported, and lets the slots work. */
static void look(snaps_run *r)
{
    const wr_env *env = wr_env_real();
    env->park(env->self, &parker, 50000);
    snaps_listen(r);
    if (r->failure.code != WR_OK) fail_msg("%s", r->failure.text);
}

static void start(snaps_run *r, uint32_t parallelism, uint64_t seed)
{
    wr_errinfo info = {0};
    epoch++;
    snaps.parallelism = snaps.source_parallelism = snaps.sink_parallelism = parallelism;
    snaps_new(r, seed, snaps_folder, completed ? &manifest[0] : NULL, 2);
    assert_int_equal(wr_worker_start(r->worker, &info), WR_OK);
    while (completed && snaps_at_least(r, WR_TASK_LOADED) < r->exec->subtasks) look(r);
    wr_worker_go(r->worker);
    while (snaps_at_least(r, WR_TASK_RUNNING) < r->exec->subtasks) look(r);
}

static snaps_shot *order(snaps_run *r)
{
    if (r->shots == SNAPS_SHOTS) snaps_free_shots(r); /* late answers to those find nobody: none is under way */
    return snaps_trigger(
        r, (wr_barrier){.id = ++id, .base = completed ? manifest[0].id : 0, .kind = WR_SNAPSHOT, .epoch = epoch});
}

static void complete(snaps_run *r, snaps_shot *s)
{
    while (s->acked < r->exec->subtasks) {
        look(r);
        if (s->declined > 0) fail_msg("%s", s->why.text);
    }
    wr_manifest made;
    snaps_manifest(&made, r, s, completed ? &manifest[0] : NULL);
    if (completed) wr_arena_fini(&manifest[0].arena);
    manifest[0] = made;
    completed = true;
    wr_worker_complete(r->worker, s->barrier.id);
}

static void crash(snaps_run *r)
{
    for (uint32_t i = 0; i < r->exec->subtasks; i++) wr_worker_cancel(r->worker, i);
    wr_worker_join(r->worker);
    for (wr_ack *a; (a = wr_worker_ack(r->worker)) != NULL;) wr_ack_free(a);
    snaps_free(r);
}

static void live(uint64_t seed, wr_prng *random, uint32_t parallelism)
{
    snaps_run r;
    start(&r, parallelism, seed);
    for (uint64_t n = 2 + wr_prng_below(random, 10); n > 0; n--) {
        snaps_shot *s = order(&r);
        if (wr_prng_one_in(random, 3)) {
            for (uint64_t k = wr_prng_below(random, 4); k > 0; k--) look(&r);
            wr_worker_abort(r.worker, s->barrier.id);
            continue;
        }
        complete(&r, s);
    }
    if (wr_prng_one_in(random, 2)) order(&r);
    crash(&r);
}

static void end(uint64_t seed, uint32_t parallelism)
{
    snaps_run r;
    start(&r, parallelism, seed);
    while (snaps_at_least(&r, WR_TASK_ENDED) < r.exec->subtasks) look(&r);
    complete(&r, order(&r));
    assert_true(manifest[0].ended);
    /* The tasks live on; their tables are nobody's but theirs until the threads are gone, so they are looked at by a
     * worker that only restores. */
    wr_worker_finish(r.worker);
    wr_worker_join(r.worker);
    snaps_free(&r);
    snaps_new(&r, seed, snaps_folder, &manifest[0], 2);
    snaps_all_in(&r, WR_TASK_LOADED);
    assert_int_equal(snaps_wrong_keys(&r), 0);
    assert_int_equal(snaps.disorder, 0);
    snaps_free(&r);
}

static void test_lives_of_jobs_on_threads(void **state)
{
    (void)state;
    static const uint32_t parallelisms[] = {1, 2, 3, 7};
    for (uint64_t seed = 1; seed <= LIVES; seed++) {
        wr_prng random = wr_prng_of(seed);
        completed = false;
        snaps_reset((uint32_t)wr_prng_below(&random, SNAPS_SHAPES), WEIR_ROUTE_REBALANCE, 1, 0);
        snaps.keyed = snaps.threads = true;
        snaps.own = wr_prng_one_in(&random, 2);
        snaps.scribes = (uint32_t)(seed % 3);
        if (seed % 4 >= 2) snaps.keys = SNAPS_KEYS_MAX;
        for (uint32_t i = 0; i < 2 * SNAPS_SPLITS; i++) snaps.records[i] = 10000 + wr_prng_below(&random, 200000);
        for (uint64_t n = 1 + wr_prng_below(&random, 3); n > 0; n--)
            live(seed, &random, parallelisms[wr_prng_below(&random, 4)]);
        end(seed, parallelisms[wr_prng_below(&random, 4)]);
        wr_arena_fini(&manifest[0].arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lives_of_jobs_on_threads),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
