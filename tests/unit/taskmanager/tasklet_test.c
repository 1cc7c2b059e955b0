/* One worker, stepped by hand in one thread: the order in which tasks end, back-pressure, the least of watermarks,
 * over every kind of edge. */
#include "taskmanager/slot.h"
#include "tests/unit/taskmanager/jobs.h"

typedef struct stepped {
    jobs_run run;
    uint32_t at;
} stepped;

static wr_tasklet *tasklet_of(stepped *s, const char *uid, uint32_t subtask)
{
    for (uint32_t i = 0; i < wr_worker_slots(s->run.worker); i++) {
        wr_slot *slot = wr_worker_slot(s->run.worker, i);
        for (uint32_t k = 0; k < slot->tasklets; k++) {
            wr_tasklet *t = slot->tasklet[k];
            if (t->enumerator == NULL && strcmp(t->op[0].node->uid, uid) == 0 && t->subtask->index == subtask) return t;
        }
    }
    fail_msg("no task of %s %u", uid, subtask);
    return NULL;
}

static uint32_t state_of(const wr_tasklet *t)
{
    return atomic_load(&t->state);
}

/* Calls one task; home gets the time that a slot would give it. */
static enum wr_called call(wr_tasklet *t, int64_t now_ns)
{
    t->home->mono_ns = t->home->now_ns = now_ns;
    return wr_tasklet_call(t);
}

/* Calls all tasks in turn until none has anything to do. */
static void settle(stepped *s)
{
    for (uint32_t quiet = 0; quiet < 2; quiet++) {
        for (uint32_t i = 0; i < wr_worker_slots(s->run.worker); i++) {
            wr_slot *slot = wr_worker_slot(s->run.worker, i);
            for (uint32_t k = 0; k < slot->tasklets; k++) {
                if (wr_worker_step(s->run.worker, i)) quiet = 0;
            }
        }
    }
}

/* Two sources, a and b, give their records when they are told to; a union of both goes into a sink over `route`. */
static uint64_t       may_send[2];
static bool           may_end[2];
static reading_stream route_of(reading_stream s, uint32_t route)
{
    switch (route) {
    case WEIR_ROUTE_REBALANCE: return weir_rebalance(s);
    case WEIR_ROUTE_RESCALE: return weir_rescale(s);
    case WEIR_ROUTE_SHUFFLE: return weir_shuffle(s);
    case WEIR_ROUTE_GLOBAL: return weir_global(s);
    case WEIR_ROUTE_BROADCAST: return weir_broadcast(s);
    default: return s;
    }
}
static void one_part(part_out *out, weir_ctx *ctx)
{
    part_emit(out, (part){.index = (uint32_t)weir_arg_i64(weir_ctx_args(ctx), "me", 0)});
}
static bool valve_open(const part *split, feeder *f, weir_ctx *ctx)
{
    return split != NULL && f != NULL && ctx != NULL;
}
static void valve_close(feeder *f)
{
    (void)f;
}
WEIR_SOURCE(valve, part, split, feeder, f, reading, out, ctx, one_part, valve_open, valve_close)
{
    (void)ctx;
    while (f->at < may_send[split->index] && weir_room(&out->out)) {
        reading_emit(out, (reading){.key = f->at * 2 + split->index, .value = ++f->at});
    }
    if (f->at < may_send[split->index]) return WEIR_MORE;
    return may_end[split->index] ? WEIR_END : WEIR_IDLE;
}

static void build_valves(weir_pipeline *p, uint32_t route, uint32_t parallelism, bool keyed)
{
    reading_stream a = weir_read(valve, p, .uid = "a", .parallelism = 1, .args = "me=0");
    reading_stream b = weir_read(valve, p, .uid = "b", .parallelism = 1, .args = "me=1");
    reading_stream both = weir_union(route_of(a, route), route_of(b, route));
    reading_stream end = keyed ? weir_apply(add, weir_key_by(both, key), .parallelism = parallelism)
                               : weir_apply(pass, both, .parallelism = parallelism);
    weir_write(counted, end, .blocking = WEIR_ON_SLOT, .parallelism = parallelism);
}

static void begin_with(stepped *s, uint32_t route, uint32_t parallelism, bool keyed, bool wait_run)
{
    wr_errinfo info = {0};
    memset(s, 0, sizeof *s);
    jobs_reset(1, 1, 0);
    may_send[0] = may_send[1] = 0;
    may_end[0] = may_end[1] = false;
    s->run.pipeline = wr_job_new("valves", NULL, 0);
    build_valves(s->run.pipeline, route, parallelism, keyed);
    wr_job_settings   settings = {.parallelism_default = 1};
    wr_worker_options options = {.env = wr_env_real(), .job = "valves", .wait_run = wait_run};
    if (wr_job_finish(s->run.pipeline, &settings, &s->run.job, &info) != WR_OK ||
        wr_exec_new(s->run.job, &s->run.exec, &info) != WR_OK ||
        wr_worker_new(&s->run.worker, s->run.exec, &options, &info) != WR_OK) {
        fail_msg("%s", info.text);
    }
    settle(s);
}

static void begin(stepped *s, uint32_t route, uint32_t parallelism, bool keyed)
{
    begin_with(s, route, parallelism, keyed, false);
}

static void end(stepped *s)
{
    if (!wr_worker_done(s->run.worker)) {
        jobs_cancel(&s->run);
        settle(s);
    }
    assert_true(wr_worker_done(s->run.worker));
    wr_worker_free(s->run.worker);
    wr_exec_free(s->run.exec);
    wr_job_free(s->run.pipeline);
    assert_int_equal(atomic_load(&jobs.open), 0);
}

static void send(stepped *s, const char *uid, uint32_t kind, int64_t at)
{
    wr_tasklet *t = tasklet_of(s, uid, 0);
    for (uint32_t i = 0; i < t->exchanges; i++) wr_exchange_control(&t->exchange[i], kind, at);
}

/* Records that the operator behind the sources has taken, over all subtasks. */
static uint64_t taken(stepped *s, const char *uid)
{
    uint64_t          sum = 0;
    wr_operator_stats stats;
    for (uint32_t i = 0; wr_worker_operator_stats(s->run.worker, i, &stats); i++) {
        if (strcmp(stats.node->uid, uid) == 0) sum += stats.in;
    }
    return sum;
}

static const struct edge_kind {
    uint32_t route, parallelism;
    bool     keyed;
} edge_kinds[] = {{0, 2, false},
                  {0, 3, true},
                  {WEIR_ROUTE_REBALANCE, 3, false},
                  {WEIR_ROUTE_RESCALE, 2, false},
                  {WEIR_ROUTE_SHUFFLE, 3, false},
                  {WEIR_ROUTE_GLOBAL, 2, false},
                  {WEIR_ROUTE_BROADCAST, 2, false}};
enum { EDGE_KINDS = sizeof edge_kinds / sizeof edge_kinds[0] };

static bool reached(const struct edge_kind *e, uint32_t subtask)
{
    return e->route != WEIR_ROUTE_GLOBAL || subtask == 0;
}

static void expect_watermark(stepped *s, const struct edge_kind *e, int64_t at)
{
    for (uint32_t k = 0; k < e->parallelism; k++) {
        if (reached(e, k)) assert_int_equal(tasklet_of(s, e->keyed ? "add" : "pass", k)->watermark, at);
    }
}

static void test_watermarks_are_the_least_of_live_inputs(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < EDGE_KINDS; i++) {
        const struct edge_kind *e = &edge_kinds[i];
        stepped                 s;
        begin(&s, e->route, e->parallelism, e->keyed);
        send(&s, "a", WR_WATERMARK, 50);
        settle(&s);
        expect_watermark(&s, e, WEIR_NO_TIME); /* b has said nothing yet */
        send(&s, "b", WR_WATERMARK, 30);
        settle(&s);
        expect_watermark(&s, e, 30);
        send(&s, "a", WR_WATERMARK, 20); /* never back */
        send(&s, "b", WR_WATERMARK, 45);
        settle(&s);
        expect_watermark(&s, e, 45);
        may_end[1] = true; /* b ends: it holds time back no longer */
        settle(&s);
        send(&s, "a", WR_WATERMARK, 60);
        settle(&s);
        expect_watermark(&s, e, 60);
        end(&s);
    }
}

/* ---- the end ---- */

static void test_tasks_end_behind_those_that_feed_them(void **state)
{
    (void)state;
    stepped s;
    begin(&s, WEIR_ROUTE_REBALANCE, 2, true);
    may_send[0] = may_send[1] = 5000;
    may_end[0] = true;
    settle(&s);
    assert_int_equal(state_of(tasklet_of(&s, "a", 0)), WR_TASK_FINISHED);
    assert_int_equal(state_of(tasklet_of(&s, "b", 0)), WR_TASK_RUNNING);
    for (uint32_t k = 0; k < 2; k++) assert_int_equal(state_of(tasklet_of(&s, "add", k)), WR_TASK_RUNNING);
    may_end[1] = true;
    wr_tasklet *b = tasklet_of(&s, "b", 0), *add[] = {tasklet_of(&s, "add", 0), tasklet_of(&s, "add", 1)};
    while (state_of(b) != WR_TASK_FINISHED) {
        assert_int_equal(state_of(add[0]), WR_TASK_RUNNING);
        call(b, 1);
    }
    settle(&s);
    assert_true(wr_worker_done(s.run.worker));
    assert_int_equal(atomic_load(&jobs.seen), 10000);
    end(&s);
}

/* ---- back-pressure ---- */

static void test_a_full_channel_stops_its_producer_only(void **state)
{
    (void)state;
    stepped s;
    begin(&s, 0, 2, true);
    wr_tasklet *a = tasklet_of(&s, "a", 0), *add[] = {tasklet_of(&s, "add", 0), tasklet_of(&s, "add", 1)};
    may_send[0] = UINT64_C(1) << 40;
    uint32_t calls = 0;
    while (call(a, 1) != WR_CALLED_BLOCKED) assert_true(++calls < 1000);
    uint64_t sent = atomic_load(&a->op[0].stats.out);
    assert_true(calls > WR_RING_MAX / 2);
    for (int i = 0; i < 10; i++) assert_int_equal(call(a, 2), WR_CALLED_BLOCKED);
    assert_int_equal(atomic_load(&a->op[0].stats.out), sent);
    while (call(add[0], 3) == WR_CALLED_PROGRESS) {} /* one of two consumers: the other ring is still full */
    assert_int_equal(call(a, 4), WR_CALLED_BLOCKED);
    while (call(add[1], 5) == WR_CALLED_PROGRESS) {}
    assert_int_equal(call(a, 6), WR_CALLED_PROGRESS);
    assert_true(atomic_load(&a->op[0].stats.out) > sent);
    end(&s);
}

static void test_a_blocked_task_can_be_canceled(void **state)
{
    (void)state;
    stepped s;
    begin(&s, 0, 1, true);
    wr_tasklet *a = tasklet_of(&s, "a", 0);
    may_send[0] = UINT64_C(1) << 40;
    while (call(a, 1) != WR_CALLED_BLOCKED) {}
    wr_worker_cancel(s.run.worker, a->subtask->id);
    assert_int_equal(call(a, 2), WR_CALLED_DONE);
    assert_int_equal(state_of(a), WR_TASK_CANCELED);
    end(&s);
}

/* Partial batches leave when the producer is idle, and when they are a millisecond old. */
static void test_partial_batches_leave(void **state)
{
    (void)state;
    stepped s;
    begin(&s, 0, 1, true);
    wr_tasklet *a = tasklet_of(&s, "a", 0), *add = tasklet_of(&s, "add", 0);
    may_send[0] = 3;
    assert_int_equal(call(a, 1000), WR_CALLED_PROGRESS);
    assert_int_equal(call(add, 1000), WR_CALLED_IDLE);
    may_send[0] = 6;
    assert_int_equal(call(a, 1000 + WR_FLUSH_NS - 1), WR_CALLED_PROGRESS);
    assert_int_equal(call(add, 1000 + WR_FLUSH_NS), WR_CALLED_IDLE);
    may_send[0] = 7;
    assert_int_equal(call(a, 1000 + WR_FLUSH_NS), WR_CALLED_PROGRESS); /* old enough now, and still busy */
    assert_int_equal(call(add, 1000 + WR_FLUSH_NS), WR_CALLED_PROGRESS);
    assert_int_equal(taken(&s, "add"), 7);
    may_send[0] = 8;
    assert_int_equal(call(a, 1000 + WR_FLUSH_NS), WR_CALLED_PROGRESS);
    assert_int_equal(call(a, 1000 + WR_FLUSH_NS), WR_CALLED_IDLE); /* nothing more: out with it */
    assert_int_equal(call(add, 1000 + WR_FLUSH_NS), WR_CALLED_PROGRESS);
    assert_int_equal(taken(&s, "add"), 8);
    end(&s);
}

/* All are open before the first record leaves its source, and whoever waits can be canceled. */
static void test_records_wait_for_the_word(void **state)
{
    (void)state;
    for (int canceled = 0; canceled < 2; canceled++) {
        stepped s;
        begin_with(&s, 0, 2, false, true);
        may_send[0] = may_send[1] = 10;
        settle(&s);
        wr_tasklet *a = tasklet_of(&s, "a", 0);
        assert_int_equal(state_of(a), WR_TASK_RUNNING);
        assert_int_equal(taken(&s, "pass"), 0);
        assert_int_equal(call(a, 1000), WR_CALLED_IDLE);
        if (canceled == 0) {
            wr_worker_run(s.run.worker);
            settle(&s);
            assert_int_equal(taken(&s, "pass"), 20);
        }
        end(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_watermarks_are_the_least_of_live_inputs),
        cmocka_unit_test(test_tasks_end_behind_those_that_feed_them),
        cmocka_unit_test(test_a_full_channel_stops_its_producer_only),
        cmocka_unit_test(test_a_blocked_task_can_be_canceled),
        cmocka_unit_test(test_partial_batches_leave),
        cmocka_unit_test(test_records_wait_for_the_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
