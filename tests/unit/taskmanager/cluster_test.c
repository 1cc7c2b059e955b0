/* ctest: threads no_uring timeout=300
 * Jobs spread over several workers, with real sockets between them: every route and shape, strings, snapshots and
 * restarts, stopped sources, leases. Stepped by hand, and on threads, under ThreadSanitizer as well. */
#include "base/env.h"
#include "net/plane.h"
#include "tests/unit/taskmanager/snaps.h"
#include <unistd.h>

enum { LIVES = 8 };

static wr_parker   parker;
static wr_manifest newest;
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

/* ---- stepped ---- */

static void go(snaps_run *r)
{
    snaps_all_in(r, WR_TASK_LOADED);
    SNAPS_EACH(r, w) wr_worker_go(w);
}

static void vary(wr_prng *random, uint32_t shape, uint32_t route)
{
    snaps_reset(shape, route, 1 + (uint32_t)wr_prng_below(random, 5), 1 + wr_prng_below(random, 3000));
    snaps.workers = 2 + (uint32_t)wr_prng_below(random, 3);
    snaps.source_parallelism = 1 + (uint32_t)wr_prng_below(random, 3);
    if (route == 0) snaps.source_parallelism = snaps.parallelism; /* forward */
    snaps.sink_parallelism = 1 + (uint32_t)wr_prng_below(random, 4);
    if (snaps.parallelism + 1 < snaps.workers) snaps.workers = snaps.parallelism + 1;
    if (snaps.workers < 2) snaps.workers = 2;
    snaps.sink_parallelism += snaps.workers; /* so many slots there are at least */
    snaps.keyed = wr_prng_one_in(random, 2);
    snaps.own = wr_prng_one_in(random, 2);
    snaps.tagged = wr_prng_one_in(random, 2);
    snaps.names = wr_prng_one_in(random, 2);
}

static void check_counts(void)
{
    uint64_t seen = 0, sum = 0, wanted = 0, wanted_sum = 0;
    for (uint32_t i = 0; i < SNAPS_SUBTASKS; i++) {
        seen += snaps.seen[i];
        sum += snaps.sum[i];
    }
    uint32_t of_b = snaps.shape == SNAPS_UNION ? snaps.splits : 0;
    for (uint32_t i = 0; i < SNAPS_SPLITS + of_b; i++) {
        if (i >= snaps.splits && i < SNAPS_SPLITS) continue;
        wanted += snaps.records[i] * snaps_times();
        wanted_sum += snaps.records[i] * (snaps.records[i] + 1) / 2 * snaps_times();
    }
    assert_int_equal(seen, wanted);
    if (!snaps.keyed) assert_int_equal(sum, wanted_sum);
    assert_int_equal(snaps.wrong_tags, 0);
}

static void test_every_route_and_shape(void **state)
{
    (void)state;
    static const uint32_t routes[] = {
        0, WEIR_ROUTE_REBALANCE, WEIR_ROUTE_RESCALE, WEIR_ROUTE_SHUFFLE, WEIR_ROUTE_GLOBAL, WEIR_ROUTE_BROADCAST};
    wr_prng random = wr_prng_of(11);
    for (uint32_t shape = 0; shape < SNAPS_SHAPES; shape++) {
        for (uint32_t i = 0; i < sizeof routes / sizeof *routes; i++) {
            for (uint32_t again = 0; again < 3; again++) {
                snaps_run r;
                vary(&random, shape, routes[i]);
                snaps_new(&r, wr_prng_next(&random), NULL, NULL, 2);
                go(&r);
                snaps_all_in(&r, WR_TASK_FINISHED);
                assert_int_equal(r.in[WR_TASK_FINISHED], r.exec->subtasks);
                check_counts();
                snaps_free(&r);
            }
        }
    }
}

/* The cut: what the sinks had when they answered is exactly what the sources had given when they did. */
static void test_snapshots_are_cuts(void **state)
{
    (void)state;
    wr_prng random = wr_prng_of(12);
    for (uint32_t i = 0; i < 20; i++) {
        snaps_run r;
        vary(&random, (uint32_t)wr_prng_below(&random, SNAPS_SHAPES), WEIR_ROUTE_REBALANCE);
        snaps.keyed = false;
        snaps_new(&r, wr_prng_next(&random), snaps_folder, NULL, 2);
        go(&r);
        snaps_all_in(&r, WR_TASK_RUNNING);
        for (uint32_t k = 0; k < 4; k++) {
            for (uint64_t n = wr_prng_below(&random, 300); n > 0; n--) snaps_step(&r);
            snaps_shot *s = snaps_trigger(&r, (wr_barrier){.id = ++id, .kind = WR_SNAPSHOT, .epoch = 1});
            snaps_take(&r, s);
            uint64_t records, sum;
            uint32_t splits;
            snaps_positions(&r, s, &records, &sum, &splits);
            assert_int_equal(s->cut, records * snaps_times());
            assert_int_equal(s->cut_sum, sum * snaps_times());
            SNAPS_EACH(&r, w) wr_worker_complete(w, s->barrier.id);
        }
        snaps_all_in(&r, WR_TASK_ENDED);
        SNAPS_EACH(&r, w) wr_worker_finish(w);
        snaps_all_in(&r, WR_TASK_FINISHED);
        check_counts();
        snaps_free(&r);
    }
}

/* Nothing is reported as loaded before all connections are there, and nothing runs before it is told to. */
static void test_waits_for_connections_and_for_go(void **state)
{
    (void)state;
    snaps_reset(SNAPS_ROUTE, WEIR_ROUTE_REBALANCE, 4, 100);
    snaps.workers = 2;
    snaps_run r;
    snaps_new(&r, 1, NULL, NULL, 2);
    bool              here[SNAPS_SUBTASKS] = {true, true};
    wr_worker_options options = {.env = wr_env_real(), .job = "snaps", .here = here, .wait_go = true, .attempt = 3};
    wr_worker        *w;
    assert_int_equal(wr_worker_new(&w, r.exec, &options, NULL), WR_OK);
    assert_false(wr_worker_connected(w));
    for (uint32_t i = 0; i < 1000; i++) wr_worker_step(w, i % wr_worker_slots(w));
    wr_task_event e;
    assert_true(wr_worker_event(w, &e) == false || e.state == WR_TASK_INITIALIZING);
    uint32_t slot, remote, n = 0, other[8];
    int      socket[2];
    for (; wr_worker_remote(w, n, &slot, &remote); n++) {
        assert_true(here[slot] && !here[remote]);
        snaps_socket_pair(socket);
        wr_worker_connect(w, slot, remote, socket[0]);
        other[n] = (uint32_t)socket[1];
    }
    assert_int_equal(n, 4); /* two slots here, two elsewhere */
    assert_true(wr_worker_connected(w));
    uint32_t loaded = 0, all = 0;
    for (uint32_t i = 0; i < 1000; i++) wr_worker_step(w, i % wr_worker_slots(w));
    while (wr_worker_event(w, &e)) {
        assert_int_equal(e.attempt, 3);
        assert_true(e.state <= WR_TASK_LOADED && here[r.exec->subtask[e.subtask].slot]);
        loaded += e.state == WR_TASK_LOADED;
    }
    for (uint32_t i = 0; i < r.exec->subtasks; i++) all += here[r.exec->subtask[i].slot];
    assert_int_equal(loaded, all);
    snaps_socket_pair(socket); /* one too many is closed */
    wr_worker_connect(w, 0, 2, socket[0]);
    char byte;
    assert_int_equal(read(socket[1], &byte, 1), 0);
    close(socket[1]);
    for (uint32_t i = 0; i < r.exec->subtasks; i++) wr_worker_cancel(w, i);
    for (uint32_t i = 0; !wr_worker_done(w); i++) wr_worker_step(w, i % wr_worker_slots(w));
    wr_worker_free(w);
    for (uint32_t i = 0; i < n; i++) close((int)other[i]);
    snaps_free(&r);
}

static void test_a_worker_whose_lease_is_over_stops(void **state)
{
    (void)state;
    snaps_reset(SNAPS_ROUTE, WEIR_ROUTE_REBALANCE, 3, UINT64_MAX);
    snaps.workers = 3;
    snaps_run r;
    snaps_new(&r, 5, NULL, NULL, 3);
    const wr_env *env = wr_env_real();
    SNAPS_EACH(&r, w) wr_worker_lease(w, env->mono_ns(env->self) + 3600 * INT64_C(1000000000));
    go(&r);
    snaps_all_in(&r, WR_TASK_RUNNING);
    for (uint32_t i = 0; i < 500; i++) snaps_step(&r);
    wr_worker_lease(r.more[1], env->mono_ns(env->self));
    while (!wr_worker_done(r.more[1])) snaps_step(&r);
    assert_int_equal(r.failure.code, WR_UNREACHABLE);
    snaps_free(&r);
}

/* ---- on threads ---- */

static void look(snaps_run *r)
{
    const wr_env *env = wr_env_real();
    env->park(env->self, &parker, 50000);
    snaps_listen(r);
}

static void look_well(snaps_run *r)
{
    look(r);
    if (r->failure.code != WR_OK) fail_msg("%s", r->failure.text);
}

static void start(snaps_run *r, uint32_t parallelism, uint64_t seed, const char *where)
{
    wr_errinfo info = {0};
    epoch++;
    snaps.parallelism = snaps.source_parallelism = snaps.sink_parallelism = parallelism;
    snaps_new(r, seed, where, completed ? &newest : NULL, 2);
    SNAPS_EACH(r, w) assert_int_equal(wr_worker_start(w, &info), WR_OK);
    while (snaps_at_least(r, WR_TASK_LOADED) < r->exec->subtasks) look_well(r);
    SNAPS_EACH(r, w) wr_worker_go(w);
    while (snaps_at_least(r, WR_TASK_RUNNING) < r->exec->subtasks) look_well(r);
}

static snaps_shot *order(snaps_run *r)
{
    if (r->shots == SNAPS_SHOTS) snaps_free_shots(r);
    return snaps_trigger(
        r, (wr_barrier){.id = ++id, .base = completed ? newest.id : 0, .kind = WR_SNAPSHOT, .epoch = epoch});
}

static void complete(snaps_run *r, snaps_shot *s)
{
    while (s->acked < r->exec->subtasks) {
        look_well(r);
        if (s->declined > 0) fail_msg("%s", s->why.text);
    }
    wr_manifest made;
    snaps_manifest(&made, r, s, completed ? &newest : NULL);
    if (completed) wr_arena_fini(&newest.arena);
    newest = made;
    completed = true;
    SNAPS_EACH(r, w) wr_worker_complete(w, s->barrier.id);
}

/* All tasks first: a worker that leaves takes its connections along. */
static void leave(snaps_run *r)
{
    SNAPS_EACH(r, w) while (!wr_worker_done(w)) look(r);
    SNAPS_EACH(r, w) wr_worker_join(w);
    SNAPS_EACH(r, w) for (wr_ack *a; (a = wr_worker_ack(w)) != NULL;) wr_ack_free(a);
    snaps_free(r);
}

static void cancel(snaps_run *r)
{
    SNAPS_EACH(r, w) for (uint32_t i = 0; i < r->exec->subtasks; i++) wr_worker_cancel(w, i);
    leave(r);
}

static void live(uint64_t seed, wr_prng *random, uint32_t parallelism)
{
    snaps_run r;
    start(&r, parallelism, seed, snaps_folder);
    for (uint64_t n = 2 + wr_prng_below(random, 8); n > 0; n--) {
        snaps_shot *s = order(&r);
        if (wr_prng_one_in(random, 3)) {
            for (uint64_t k = wr_prng_below(random, 4); k > 0; k--) look_well(&r);
            SNAPS_EACH(&r, w) wr_worker_abort(w, s->barrier.id);
            continue;
        }
        complete(&r, s);
    }
    if (wr_prng_one_in(random, 2)) order(&r);
    cancel(&r);
}

static void end(uint64_t seed, uint32_t parallelism)
{
    snaps_run r;
    start(&r, parallelism, seed, snaps_folder);
    while (snaps_at_least(&r, WR_TASK_ENDED) < r.exec->subtasks) look_well(&r);
    complete(&r, order(&r));
    assert_true(newest.ended);
    SNAPS_EACH(&r, w) wr_worker_finish(w);
    leave(&r);
    snaps_new(&r, seed, snaps_folder, &newest, 2);
    snaps_all_in(&r, WR_TASK_LOADED);
    assert_int_equal(snaps_wrong_keys(&r), 0);
    assert_int_equal(snaps.disorder, 0);
    assert_int_equal(snaps.wrong_tags, 0);
    snaps_free(&r);
}

static void test_lives_of_jobs_on_threads(void **state)
{
    (void)state;
    static const uint32_t parallelisms[] = {2, 3, 5};
    for (uint64_t seed = 1; seed <= LIVES; seed++) {
        wr_prng random = wr_prng_of(seed);
        completed = false;
        snaps_reset((uint32_t)wr_prng_below(&random, SNAPS_SHAPES), WEIR_ROUTE_REBALANCE, 1, 0);
        snaps.keyed = snaps.threads = true;
        snaps.own = wr_prng_one_in(&random, 2);
        snaps.tagged = wr_prng_one_in(&random, 2);
        snaps.workers = 2;
        for (uint32_t i = 0; i < 2 * SNAPS_SPLITS; i++) snaps.records[i] = 10000 + wr_prng_below(&random, 60000);
        for (uint64_t n = 1 + wr_prng_below(&random, 3); n > 0; n--)
            live(seed, &random, parallelisms[wr_prng_below(&random, 3)]);
        end(seed, parallelisms[wr_prng_below(&random, 3)]);
        wr_arena_fini(&newest.arena);
    }
    completed = false;
}

static void test_stopped_sources_lose_nothing(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        snaps_run r;
        snaps_reset(SNAPS_ROUTE, WEIR_ROUTE_SHUFFLE, 3, UINT64_MAX);
        snaps.threads = true;
        snaps.workers = 3;
        start(&r, 3, seed, NULL);
        for (wr_plane_stats sum = {0}; sum.received_frames < 100; wr_worker_plane_stats(r.worker, &sum)) look_well(&r);
        SNAPS_EACH(&r, w) wr_worker_stop_sources(w);
        while (snaps_at_least(&r, WR_TASK_FINISHED) < r.exec->subtasks) look_well(&r);
        wr_operator_stats s;
        uint64_t          out = 0, in = 0;
        SNAPS_EACH(&r, w) for (uint32_t i = 0; wr_worker_operator_stats(w, i, &s); i++)
        {
            if (strcmp(s.node->uid, "a") == 0) out += s.out;
            if (strcmp(s.node->uid, "end") == 0) in += s.in;
        }
        assert_true(out > 0);
        assert_int_equal(in, out);
        wr_plane_stats sum;
        wr_worker_plane_stats(r.worker, &sum);
        assert_true(sum.sent_frames > 0 && sum.received_bytes > 0);
        leave(&r);
    }
}

static void test_a_failure_of_one_worker_ends_the_others_by_cancel(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        snaps_run r;
        snaps_reset(SNAPS_DIAMOND, WEIR_ROUTE_REBALANCE, 3, UINT64_MAX);
        snaps.threads = true;
        snaps.workers = 2;
        snaps.own = seed % 2 == 0;
        start(&r, 3, seed, NULL);
        const wr_env *env = wr_env_real();
        wr_worker_lease(r.more[seed % 2], env->mono_ns(env->self));
        while (r.failure.code == WR_OK) look(&r);
        assert_int_equal(r.failure.code, WR_UNREACHABLE);
        cancel(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_route_and_shape),
        cmocka_unit_test(test_snapshots_are_cuts),
        cmocka_unit_test(test_waits_for_connections_and_for_go),
        cmocka_unit_test(test_a_worker_whose_lease_is_over_stops),
        cmocka_unit_test(test_lives_of_jobs_on_threads),
        cmocka_unit_test(test_stopped_sources_lose_nothing),
        cmocka_unit_test(test_a_failure_of_one_worker_ends_the_others_by_cancel),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
