/* ctest: threads timeout=300
 * Snapshots that another thread writes while the slot goes on: storage that fails or stands still, orders to stop at
 * any moment. What they hold is looked at in snapshot_threads_test. */
#include "base/env.h"
#include "tests/unit/taskmanager/snaps.h"
#include <errno.h>
#include <stdatomic.h>
#include <unistd.h>

enum { KEYS = 300000 };

static wr_env           env;
static wr_parker        parker;
static uint32_t         epoch;
static _Atomic bool     stalled;
static _Atomic int64_t  result_now; /* of writes; 0: what it is */
static _Atomic uint64_t reaped;

static uint32_t odd_reap(void *self, wr_io *io, wr_io_done *done, uint32_t n)
{
    if (atomic_load(&stalled)) return 0;
    uint32_t got = wr_env_real()->io_reap(self, io, done, n);
    int64_t  result = atomic_load(&result_now);
    for (uint32_t i = 0; i < got && result != 0; i++) done[i].result = result;
    atomic_fetch_add(&reaped, got);
    return got;
}

static int make_folder(void **state)
{
    (void)state;
    env = *wr_env_real();
    env.io_reap = odd_reap;
    snaps_env = &env;
    return snaps_folder_make() && env.parker_init(env.self, &parker) == 0 ? 0 : -1;
}

static int drop_folder(void **state)
{
    (void)state;
    env.parker_fini(env.self, &parker);
    return snaps_folder_drop();
}

static void look(snaps_run *r)
{
    env.park(env.self, &parker, 50000);
    snaps_listen(r);
    if (r->failure.code != WR_OK) fail_msg("%s", r->failure.text);
}

/* On each slot a source that never ends, a keyed operator whose every key is met again and again, and a sink. */
static void begin(snaps_run *r, uint32_t slots)
{
    wr_errinfo info = {0};
    epoch++;
    atomic_store(&stalled, false);
    atomic_store(&result_now, 0);
    snaps_reset(SNAPS_ROUTE, 0, slots, UINT64_MAX);
    snaps.splits = snaps.source_parallelism = slots;
    snaps.scribes = 1;
    snaps.keyed = snaps.threads = true;
    snaps.keys = KEYS;
    snaps_new(r, 1, snaps_folder, NULL, slots);
    assert_int_equal(wr_worker_start(r->worker, &info), WR_OK);
    wr_worker_go(r->worker);
    while (snaps_at_least(r, WR_TASK_RUNNING) < r->exec->subtasks) look(r);
}

static void end(snaps_run *r)
{
    for (uint32_t i = 0; i < r->exec->subtasks; i++) wr_worker_cancel(r->worker, i);
    wr_worker_join(r->worker);
    for (wr_ack *a; (a = wr_worker_ack(r->worker)) != NULL;) wr_ack_free(a);
    snaps_free(r);
}

static snaps_shot *trigger(snaps_run *r, uint64_t id)
{
    if (r->shots == SNAPS_SHOTS) snaps_free_shots(r);
    return snaps_trigger(r, (wr_barrier){.id = id, .kind = WR_SNAPSHOT, .epoch = epoch});
}

static bool taken(snaps_run *r, snaps_shot *s)
{
    while (s->acked + s->declined < r->exec->subtasks) look(r);
    return s->declined == 0;
}

/* All but the task with the state have answered: its file is under way. */
static void under_way(snaps_run *r, snaps_shot *s)
{
    while (s->acked + 1 < r->exec->subtasks) look(r);
}

static uint64_t met(snaps_run *r) /* by the slot, which goes on: about */
{
    wr_operator_stats stats;
    for (uint32_t i = 0; wr_worker_operator_stats(r->worker, i, &stats); i++) {
        if (strcmp(stats.node->uid, "sums") == 0) return stats.in;
    }
    return 0;
}

static void wait_for_records(snaps_run *r, uint64_t n)
{
    for (uint64_t from = met(r); met(r) < from + n;) look(r);
}

static void test_records_flow_while_it_is_written(void **state)
{
    (void)state;
    snaps_run r;
    begin(&r, 1);
    wait_for_records(&r, 2 * KEYS);
    for (uint64_t id = 1; id <= 8; id++) assert_true(taken(&r, trigger(&r, id)));
    atomic_store(&stalled, true);
    snaps_shot *s = trigger(&r, 9);
    under_way(&r, s);
    wait_for_records(&r, 1000); /* as far as old bytes may be */
    assert_int_equal(s->acked + s->declined, r.exec->subtasks - 1);
    atomic_store(&stalled, false);
    assert_true(taken(&r, s));
    wait_for_records(&r, KEYS);
    end(&r);
}

static void test_a_failed_write_fails_the_snapshot_only(void **state)
{
    (void)state;
    snaps_run r;
    begin(&r, 1);
    wait_for_records(&r, KEYS);
    atomic_store(&result_now, -ENOSPC);
    snaps_shot *s = trigger(&r, 1);
    assert_false(taken(&r, s));
    assert_int_equal(s->phase, WR_PHASE_ASYNC);
    assert_non_null(strstr(s->why.text, "No space left"));
    atomic_store(&result_now, -EIO);
    s = trigger(&r, 2);
    assert_false(taken(&r, s));
    assert_non_null(strstr(s->why.text, "Input/output error")); /* its own reason */
    atomic_store(&result_now, 0);
    wait_for_records(&r, KEYS);
    assert_true(taken(&r, trigger(&r, 3)));
    end(&r);
}

/* At any moment, with writes under way. */
static void test_an_abort_takes_it_back(void **state)
{
    (void)state;
    snaps_run r;
    wr_prng   random = wr_prng_of(7);
    uint64_t  id = 0;
    begin(&r, 1);
    wait_for_records(&r, KEYS);
    for (uint32_t i = 0; i < 40; i++) {
        bool stall = wr_prng_one_in(&random, 2);
        atomic_store(&stalled, stall);
        snaps_shot *s = trigger(&r, ++id);
        if (stall) under_way(&r, s);
        for (uint64_t k = wr_prng_below(&random, 20); k > 0; k--) look(&r);
        wr_worker_abort(r.worker, s->barrier.id);
        if (i % 4 != 0) continue;
        atomic_store(&stalled, false);
        assert_true(taken(&r, trigger(&r, ++id)));
    }
    atomic_store(&stalled, false);
    assert_true(taken(&r, trigger(&r, ++id)));
    end(&r);
}

/* The next barrier comes before the file is there. */
static void test_the_next_snapshot_ends_it(void **state)
{
    (void)state;
    snaps_run r;
    begin(&r, 1);
    wait_for_records(&r, KEYS);
    atomic_store(&stalled, true);
    snaps_shot *first = trigger(&r, 1);
    under_way(&r, first);
    snaps_shot *second = trigger(&r, 2);
    while (first->declined == 0) look(&r);
    atomic_store(&stalled, false);
    assert_true(taken(&r, second));
    end(&r);
}

static void test_a_cancel_ends_it(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 6; i++) {
        snaps_run r;
        begin(&r, 1);
        wait_for_records(&r, KEYS);
        atomic_store(&stalled, i % 2 == 0);
        snaps_shot *s = trigger(&r, 1);
        if (i % 2 == 0) under_way(&r, s);
        for (uint32_t k = 0; k < i; k++) look(&r);
        end(&r);
    }
}

/* Two slots have one between them. */
static void test_two_files_at_once(void **state)
{
    (void)state;
    snaps_run r;
    begin(&r, 2);
    wait_for_records(&r, KEYS);
    for (uint64_t id = 1; id <= 12; id++) assert_true(taken(&r, trigger(&r, id)));
    end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records_flow_while_it_is_written),
        cmocka_unit_test(test_a_failed_write_fails_the_snapshot_only),
        cmocka_unit_test(test_an_abort_takes_it_back),
        cmocka_unit_test(test_the_next_snapshot_ends_it),
        cmocka_unit_test(test_a_cancel_ends_it),
        cmocka_unit_test(test_two_files_at_once),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
