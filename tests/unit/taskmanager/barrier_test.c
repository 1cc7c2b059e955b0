/* Barriers through every kind of edge, stepped by hand: what the sinks had at a snapshot is what the sources had given;
 * aborted, repeated and late commands; inputs that end before, between and after. */
#include "tests/unit/taskmanager/snaps.h"

static const char *const NOWHERE = "/nonexistent"; /* no keyed state: nothing is written */

static wr_barrier ordinary(uint64_t id)
{
    return (wr_barrier){.id = id, .kind = WR_SNAPSHOT, .epoch = 1};
}

static wr_tasklet *tasklet_of(snaps_run *r, const char *uid, uint32_t subtask)
{
    for (uint32_t i = 0; i < wr_worker_slots(r->worker); i++) {
        wr_slot *slot = wr_worker_slot(r->worker, i);
        for (uint32_t k = 0; k < slot->tasklets; k++) {
            wr_tasklet *t = slot->tasklet[k];
            if (t->enumerator == NULL && strcmp(t->op[0].node->uid, uid) == 0 && t->subtask->index == subtask) return t;
        }
    }
    fail_msg("no task of %s %u", uid, subtask);
    return NULL;
}

static void expect_cut(snaps_run *r, const snaps_shot *s)
{
    uint64_t records, sum;
    uint32_t splits;
    snaps_positions(r, s, &records, &sum, &splits);
    assert_int_equal(s->cut, (records - r->from) * snaps_times());
    assert_int_equal(s->cut_sum, (sum - r->from_sum) * snaps_times());
}

static const uint32_t ROUTES[] = {
    0, WEIR_ROUTE_REBALANCE, WEIR_ROUTE_RESCALE, WEIR_ROUTE_SHUFFLE, WEIR_ROUTE_GLOBAL, WEIR_ROUTE_BROADCAST};
enum { ROUTES_N = sizeof ROUTES / sizeof ROUTES[0] };

/* Several snapshots in the middle of the stream, at moments and in orders that the seed draws. */
static void cuts(uint32_t shape, uint32_t route, bool own, bool names, uint64_t seed)
{
    snaps_run r;
    wr_prng   random = wr_prng_of(seed);
    snaps_reset(shape, route, 1 + (uint32_t)wr_prng_below(&random, 3), 3000 + wr_prng_below(&random, 3000));
    for (uint32_t i = 0; i < 2 * SNAPS_SPLITS; i++) snaps.records[i] = wr_prng_below(&random, 6000);
    snaps.own = own;
    snaps.names = names;
    snaps.source_parallelism = 1 + (uint32_t)wr_prng_below(&random, 4);
    snaps.sink_parallelism = 1 + (uint32_t)wr_prng_below(&random, 3);
    snaps_new(&r, seed, NOWHERE, NULL, 2);
    snaps_all_in(&r, WR_TASK_RUNNING);
    for (uint64_t id = 1; id <= 5; id++) {
        for (uint64_t n = wr_prng_below(&random, 400); n > 0; n--) snaps_step(&r);
        snaps_shot *s = snaps_trigger(&r, ordinary(id));
        snaps_take(&r, s);
        expect_cut(&r, s);
        if (wr_prng_one_in(&random, 2)) wr_worker_complete(r.worker, id);
    }
    snaps_all_in(&r, WR_TASK_ENDED);
    snaps_shot *last = snaps_trigger(&r, ordinary(6));
    snaps_take(&r, last);
    expect_cut(&r, last);
    for (uint32_t i = 0; i < r.exec->subtasks; i++) assert_true(last->ack[i]->ended);
    wr_worker_complete(r.worker, 6);
    wr_worker_finish(r.worker);
    snaps_all_in(&r, WR_TASK_FINISHED);
    snaps_free(&r);
}

static void test_the_cut_is_exact_over_all_routes(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        for (uint32_t i = 0; i < ROUTES_N; i++) cuts(SNAPS_ROUTE, ROUTES[i], false, false, seed);
    }
}

static void test_the_cut_is_exact_behind_unions(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        for (uint32_t i = 0; i < ROUTES_N; i++) cuts(SNAPS_UNION, ROUTES[i], false, true, seed);
    }
}

static void test_the_cut_is_exact_behind_diamonds(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        cuts(SNAPS_DIAMOND, WEIR_ROUTE_REBALANCE, false, false, seed);
        cuts(SNAPS_DIAMOND, WEIR_ROUTE_BROADCAST, false, false, seed);
    }
}

static void test_the_cut_is_exact_with_side_outputs(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) cuts(SNAPS_SIDE, WEIR_ROUTE_SHUFFLE, false, false, seed);
}

static void test_the_cut_is_exact_on_own_threads(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) cuts(SNAPS_UNION, WEIR_ROUTE_REBALANCE, true, false, seed);
}

/* ---- one input is late ---- */

/* Source b gives nothing and its splits wait: the barrier of a alone aligns nobody. */
static void begin_two(snaps_run *r, uint64_t records)
{
    snaps_reset(SNAPS_UNION, WEIR_ROUTE_REBALANCE, 2, records);
    snaps.splits = 1;
    snaps.source_parallelism = 1;
    snaps_new(r, 1, NOWHERE, NULL, 1);
    snaps_all_in(r, WR_TASK_RUNNING);
}

/* What a barrier of `id` looks like behind source uid, though nobody ordered it there. */
static void send(snaps_run *r, const char *uid, uint64_t id)
{
    wr_tasklet *t = tasklet_of(r, uid, 0);
    wr_barrier  barrier = ordinary(id);
    for (uint32_t i = 0; i < t->exchanges; i++) wr_exchange_barrier(&t->exchange[i], &barrier, 0);
}

static uint64_t seen(void)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < SNAPS_SUBTASKS; i++) n += snaps.seen[i];
    return n;
}

static void test_what_comes_behind_a_barrier_waits(void **state)
{
    (void)state;
    snaps_run r;
    begin_two(&r, 1000);
    snaps.may[0] = snaps.may[SNAPS_SPLITS] = 100;
    snaps_settle(&r);
    assert_int_equal(seen(), 200);
    snaps_shot *s = &r.shot[r.shots++];
    *s = (snaps_shot){.barrier = ordinary(7)};
    send(&r, "a", 7);
    snaps.may[0] = snaps.may[SNAPS_SPLITS] = 150;
    snaps_settle(&r);
    assert_int_equal(seen(), 250);
    assert_true(tasklet_of(&r, "mid", 0)->barriers.aligning);
    send(&r, "b", 7);
    snaps_settle(&r);
    assert_int_equal(seen(), 300);
    assert_false(tasklet_of(&r, "mid", 0)->barriers.aligning);
    assert_int_equal(s->cut, 250);
    snaps_free(&r);
}

static void test_a_newer_barrier_ends_an_alignment(void **state)
{
    (void)state;
    snaps_run r;
    begin_two(&r, 1000);
    snaps.may[0] = snaps.may[SNAPS_SPLITS] = 100;
    snaps_settle(&r);
    r.shots = 2;
    r.shot[0] = (snaps_shot){.barrier = ordinary(7)};
    r.shot[1] = (snaps_shot){.barrier = ordinary(8)};
    send(&r, "a", 7);
    snaps.may[0] = 150;
    snaps_settle(&r);
    assert_int_equal(seen(), 200);
    send(&r, "b", 8); /* 7 never came this way */
    snaps_settle(&r);
    assert_int_equal(seen(), 250); /* a flows again */
    assert_int_equal(r.shot[0].declined, 2);
    assert_int_equal(r.shot[0].phase, WR_PHASE_ALIGN);
    send(&r, "b", 7); /* late */
    snaps.may[SNAPS_SPLITS] = 150;
    snaps_settle(&r);
    assert_int_equal(seen(), 250);
    send(&r, "a", 8);
    snaps_settle(&r);
    assert_int_equal(seen(), 300);
    assert_int_equal(r.shot[1].cut, 250);
    assert_int_equal(r.shot[1].declined, 0);
    snaps_free(&r);
}

static void test_an_abort_ends_an_alignment(void **state)
{
    (void)state;
    for (int in_band = 0; in_band < 2; in_band++) {
        snaps_run r;
        begin_two(&r, 1000);
        snaps.may[0] = snaps.may[SNAPS_SPLITS] = 100;
        snaps_settle(&r);
        r.shots = 1;
        r.shot[0] = (snaps_shot){.barrier = ordinary(7)};
        send(&r, "a", 7);
        snaps.may[0] = 150;
        snaps_settle(&r);
        assert_int_equal(seen(), 200);
        if (in_band) {
            wr_tasklet *t = tasklet_of(&r, "b", 0);
            wr_exchange_control(&t->exchange[0], WR_ABORT, 7);
            wr_exchange_control(&t->exchange[0], WR_ABORT, 7);
        } else {
            wr_worker_abort(r.worker, 7);
            wr_worker_abort(r.worker, 7);
        }
        snaps_settle(&r);
        assert_int_equal(seen(), 250);
        send(&r, "b", 7); /* late: nobody waits for it */
        snaps.may[SNAPS_SPLITS] = 150;
        snaps_settle(&r);
        assert_int_equal(seen(), 300);
        assert_int_equal(r.shot[0].declined, 0);
        snaps_shot *s = snaps_trigger(&r, ordinary(8)); /* and the next one goes well */
        snaps_take(&r, s);
        expect_cut(&r, s);
        snaps_free(&r);
    }
}

/* ---- commands ---- */

static void test_repeated_late_and_unknown_commands_are_harmless(void **state)
{
    (void)state;
    snaps_run  r;
    wr_barrier five = ordinary(5), three = ordinary(3), old = {.id = 9, .kind = WR_SNAPSHOT, .epoch = 0};
    begin_two(&r, 1000);
    wr_worker_abort(r.worker, 4); /* before it was ordered */
    wr_worker_complete(r.worker, 2);
    wr_worker_go(r.worker);
    snaps_shot *s = snaps_trigger(&r, five);
    wr_worker_trigger(r.worker, &five);
    snaps_take(&r, s);
    expect_cut(&r, s);
    wr_worker_trigger(r.worker, &five);
    wr_worker_trigger(r.worker, &three);
    wr_worker_trigger(r.worker, &old);
    wr_worker_abort(r.worker, 5); /* it is answered already */
    wr_worker_complete(r.worker, 5);
    wr_worker_complete(r.worker, 5);
    wr_worker_complete(r.worker, 1);
    snaps_settle(&r);
    assert_int_equal(s->acked, r.exec->subtasks);
    assert_int_equal(r.shots, 1);
    s = snaps_trigger(&r, ordinary(6));
    snaps_take(&r, s);
    expect_cut(&r, s);
    snaps_free(&r);
}

static void test_an_order_that_is_called_off_in_time_does_nothing(void **state)
{
    (void)state;
    snaps_run r;
    begin_two(&r, 1000);
    snaps_trigger(&r, ordinary(1));
    wr_worker_abort(r.worker, 1);
    snaps_settle(&r);
    assert_int_equal(r.shot[0].acked, 0);
    assert_int_equal(r.shot[0].declined, 0);
    snaps_free(&r);
}

/* More than the queue holds: the owner keeps them, in order. */
static void test_more_orders_than_fit(void **state)
{
    (void)state;
    snaps_run r;
    begin_two(&r, 1000);
    for (uint64_t id = 1; id <= 5 * WR_RING_SLOTS_MAX; id++) wr_worker_abort(r.worker, id);
    snaps_shot *s = snaps_trigger(&r, ordinary(5 * WR_RING_SLOTS_MAX + 1));
    snaps_take(&r, s);
    expect_cut(&r, s);
    snaps_free(&r);
}

static void test_paused_sources_give_nothing_and_answer(void **state)
{
    (void)state;
    snaps_run r;
    begin_two(&r, 100000);
    for (int i = 0; i < 200; i++) snaps_step(&r);
    wr_worker_pause_sources(r.worker);
    snaps_settle(&r);
    uint64_t before = seen();
    assert_true(before > 0);
    snaps_shot *s = snaps_trigger(&r, ordinary(1));
    snaps_take(&r, s);
    expect_cut(&r, s);
    assert_int_equal(seen(), before);
    assert_int_equal(s->cut, before);
    for (uint32_t i = 0; i < r.exec->subtasks; i++) { /* an enumerator may have handed out all */
        if (s->ack[i]->ops > 1) assert_false(s->ack[i]->ended);
    }
    wr_worker_complete(r.worker, 1);
    wr_worker_finish(r.worker);
    snaps_all_in(&r, WR_TASK_FINISHED);
    assert_int_equal(seen(), before);
    snaps_free(&r);
}

/* Ended by order: the last snapshot still knows where each split is. */
static void test_stopped_sources_keep_their_positions(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        snaps_run r;
        snaps_reset(SNAPS_UNION, WEIR_ROUTE_REBALANCE, 2, 100000);
        snaps.splits = 5;
        snaps_new(&r, seed, NOWHERE, NULL, 2);
        snaps_all_in(&r, WR_TASK_RUNNING);
        for (uint64_t n = 50 * seed; n > 0; n--) snaps_step(&r);
        wr_worker_stop_sources(r.worker);
        snaps_all_in(&r, WR_TASK_ENDED);
        snaps_shot *s = snaps_trigger(&r, ordinary(1));
        snaps_take(&r, s);
        expect_cut(&r, s);
        assert_int_equal(s->cut, seen());
        for (uint32_t i = 0; i < r.exec->subtasks; i++) assert_true(s->ack[i]->ended);
        wr_worker_complete(r.worker, 1);
        wr_worker_finish(r.worker);
        snaps_all_in(&r, WR_TASK_FINISHED);
        snaps_free(&r);
    }
}

static void test_sources_hear_what_is_durable(void **state)
{
    (void)state;
    snaps_run r;
    begin_two(&r, 100000);
    for (int i = 0; i < 300; i++) snaps_step(&r);
    snaps_shot *s = snaps_trigger(&r, ordinary(1));
    snaps_take(&r, s);
    for (int i = 0; i < 100; i++) snaps_step(&r);
    assert_int_equal(snaps.durable, 0);
    wr_worker_complete(r.worker, 1);
    snaps_settle(&r);
    assert_true(snaps.durable > 0 && snaps.durable < 100000);
    snaps_free(&r);
}

/* A split that is at its end goes nowhere any more; that it is durable there is told all the same, once, and only when
 * the snapshot behind its end is. */
static void test_a_split_at_its_end_is_durable(void **state)
{
    (void)state;
    snaps_run r;
    begin_two(&r, 1000);
    snaps_all_in(&r, WR_TASK_ENDED);
    snaps_shot *one = snaps_trigger(&r, ordinary(1));
    snaps_take(&r, one);
    snaps_shot *two = snaps_trigger(&r, ordinary(2)); /* the first one fails somewhere else */
    snaps_take(&r, two);
    assert_int_equal(snaps.durable, 0);
    wr_worker_complete(r.worker, 2);
    snaps_settle(&r);
    assert_int_equal(snaps.durable, 1000);
    snaps.durable = 0;
    wr_worker_complete(r.worker, 3);
    snaps_settle(&r);
    assert_int_equal(snaps.durable, 0);
    wr_worker_finish(r.worker);
    snaps_all_in(&r, WR_TASK_FINISHED);
    snaps_free(&r);
}

/* ---- splits ---- */

/* A reader that is busy with one split has the next one waiting in its channel: the barrier behind it comes through,
 * and the split is found once. */
static void test_a_waiting_split_holds_no_barrier_up(void **state)
{
    (void)state;
    snaps_run r;
    snaps_reset(SNAPS_ROUTE, WEIR_ROUTE_REBALANCE, 1, 1000000);
    snaps.splits = 5;
    snaps.source_parallelism = 1;
    snaps.names = true;
    snaps_new(&r, 3, NOWHERE, NULL, 1);
    snaps_all_in(&r, WR_TASK_RUNNING);
    for (uint64_t id = 1; id <= 8; id++) {
        uint64_t    records, sum;
        uint32_t    splits;
        snaps_shot *s = snaps_trigger(&r, ordinary(id));
        snaps_take(&r, s);
        expect_cut(&r, s);
        snaps_positions(&r, s, &records, &sum, &splits);
        assert_true(splits == 5 || (id == 1 && splits == 0));
        for (int i = 0; i < 40; i++) snaps_step(&r);
    }
    snaps_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_cut_is_exact_over_all_routes),
        cmocka_unit_test(test_the_cut_is_exact_behind_unions),
        cmocka_unit_test(test_the_cut_is_exact_behind_diamonds),
        cmocka_unit_test(test_the_cut_is_exact_with_side_outputs),
        cmocka_unit_test(test_the_cut_is_exact_on_own_threads),
        cmocka_unit_test(test_what_comes_behind_a_barrier_waits),
        cmocka_unit_test(test_a_newer_barrier_ends_an_alignment),
        cmocka_unit_test(test_an_abort_ends_an_alignment),
        cmocka_unit_test(test_repeated_late_and_unknown_commands_are_harmless),
        cmocka_unit_test(test_an_order_that_is_called_off_in_time_does_nothing),
        cmocka_unit_test(test_more_orders_than_fit),
        cmocka_unit_test(test_paused_sources_give_nothing_and_answer),
        cmocka_unit_test(test_stopped_sources_keep_their_positions),
        cmocka_unit_test(test_sources_hear_what_is_durable),
        cmocka_unit_test(test_a_split_at_its_end_is_durable),
        cmocka_unit_test(test_a_waiting_split_holds_no_barrier_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
