/* Event time on its way through whole jobs, stepped by hand under a clock of the test: channels are merged, silent ones
 * let go, nothing goes back, all of it comes to its end. */
#include "graph/exec.h"
#include "taskmanager/slot.h"
#include "taskmanager/worker.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <weir/pipeline.h>

#include <cmocka.h>

enum { SPLITS = 4, TIMES = 64, SEEN = 4096 };
static const int64_t NONE = WEIR_NO_TIME, ALL = INT64_MAX, MS = 1000000;

/* What splits give, when they are told to, and what user code saw. */
static struct world {
    int64_t  time[SPLITS][TIMES];
    uint32_t count[SPLITS];
    bool     ends[SPLITS];
    bool     flood; /* split 0 never stops */
    int64_t  flooded;
    int64_t  now_ns;
    struct {
        int64_t time, watermark;
    } seen[SEEN];
    uint32_t sights;
} world;

WEIR_RECORD(event, (uint64_t, key), (weir_time, at), (weir_str, text))
WEIR_RECORD(spring, (uint32_t, index), (uint64_t, given))
typedef struct bucket {
    int unused;
} bucket;
static void springs_of(spring_out *out, weir_ctx *ctx)
{
    int64_t first = weir_arg_i64(weir_ctx_args(ctx), "first", 0), n = weir_arg_i64(weir_ctx_args(ctx), "n", 1);
    for (int64_t i = 0; i < n; i++) spring_emit(out, (spring){.index = (uint32_t)(first + i)});
}
static bool bucket_open(const spring *split, bucket *b, weir_ctx *ctx)
{
    return split != NULL && b != NULL && ctx != NULL;
}
static void bucket_close(bucket *b)
{
    (void)b;
}
WEIR_SOURCE(well, spring, split, bucket, b, event, out, ctx, springs_of, bucket_open, bucket_close)
{
    (void)b;
    (void)ctx;
    uint32_t i = split->index;
    while (split->given < world.count[i] && weir_room(&out->out)) {
        int64_t at = world.time[i][split->given % TIMES];
        event_emit(out, (event){.key = split->given * 7 + i, .at = {at}, .text = weir_lit("longer than twelve bytes")});
        split->given++;
    }
    if (world.flood && i == 0) {
        for (uint32_t k = 0; k < 300 && weir_room(&out->out); k++)
            event_emit(out, (event){.key = k, .at = {++world.flooded}});
        return WEIR_MORE;
    }
    if (split->given < world.count[i]) return WEIR_MORE;
    return world.ends[i] ? WEIR_END : WEIR_IDLE;
}

WEIR_FILTER(pass, event, in, ctx)
{
    if (world.sights < SEEN) {
        world.seen[world.sights].time = weir_time_of(ctx).ns;
        world.seen[world.sights++].watermark = weir_watermark(ctx).ns;
    }
    return in->text.len != 1;
}
WEIR_STATE(nothing, (uint64_t, n))
WEIR_KEYED(keep, event, in, nothing, st, event, out, ctx)
{
    st->n++;
    if (weir_time_of(ctx).ns != in->at.ns) weir_fail(ctx, "a record lost its time");
    event_emit(out, *in);
}
WEIR_FLAT_MAP(twice, event, in, event, out, ctx)
{
    if (weir_time_of(ctx).ns != in->at.ns) weir_fail(ctx, "a record lost its time");
    event_emit(out, *in);
    event_emit(out, *in);
}
typedef struct drain {
    int unused;
} drain;
static bool drain_open(drain *d, weir_ctx *ctx)
{
    return d != NULL && ctx != NULL;
}
static void drain_close(drain *d, weir_ctx *ctx)
{
    (void)d;
    (void)ctx;
}
WEIR_SINK(sewer, event, in, drain, d, ctx, drain_open, drain_open, drain_close)
{
    (void)d;
    if (weir_time_of(ctx).ns != in->at.ns) weir_fail(ctx, "a record lost its time");
}

/* ---- jobs, and steps through them ---- */

typedef struct run {
    wr_env         env;
    weir_pipeline *pipeline;
    const wr_job  *job;
    wr_exec       *exec;
    wr_worker     *worker;
} run;

static int64_t clock_ns(void *self)
{
    (void)self;
    return world.now_ns;
}

static void begin(run *r, void (*build)(weir_pipeline *))
{
    wr_errinfo info = {0};
    memset(r, 0, sizeof *r);
    memset(&world, 0, sizeof world);
    world.now_ns = 1000 * MS;
    r->env = *wr_env_real();
    r->env.mono_ns = r->env.wall_ns = clock_ns;
    r->pipeline = wr_job_new("times", NULL, 0);
    build(r->pipeline);
    wr_job_settings   settings = {.parallelism_default = 1};
    wr_worker_options options = {.env = &r->env, .job = "times"};
    if (wr_job_finish(r->pipeline, &settings, &r->job, &info) != WR_OK ||
        wr_exec_new(r->job, &r->exec, &info) != WR_OK || wr_worker_new(&r->worker, r->exec, &options, &info) != WR_OK) {
        fail_msg("%s", info.text);
    }
}

/* Until nothing has anything to do. */
static void settle(run *r)
{
    for (uint32_t quiet = 0; quiet < 3; quiet++) { /* an idle one sends what it holds; then others may have work */
        for (uint32_t i = 0; i < wr_worker_slots(r->worker); i++) {
            for (uint32_t k = 0; k < wr_worker_slot(r->worker, i)->tasklets; k++) {
                if (wr_worker_step(r->worker, i)) quiet = 0;
            }
        }
    }
    for (wr_task_event e; wr_worker_event(r->worker, &e);) {
        if (e.state == WR_TASK_FAILED) fail_msg("%s", e.info.text);
    }
}

static void end(run *r)
{
    for (uint32_t i = 0; i < r->exec->subtasks; i++) wr_worker_cancel(r->worker, i);
    settle(r);
    assert_true(wr_worker_done(r->worker));
    wr_worker_free(r->worker);
    wr_exec_free(r->exec);
    wr_job_free(r->pipeline);
}

static wr_op *op_of(run *r, const char *uid, uint32_t subtask)
{
    for (uint32_t i = 0; i < r->job->nodes; i++) {
        if (strcmp(r->job->node[i].uid, uid) == 0) return wr_worker_op(r->worker, i, subtask);
    }
    fail_msg("no operator %s", uid);
    return NULL;
}

static wr_tasklet *task_of(run *r, const char *uid)
{
    const wr_op *op = op_of(r, uid, 0);
    for (uint32_t i = 0; i < wr_worker_slots(r->worker); i++) {
        wr_slot *slot = wr_worker_slot(r->worker, i);
        for (uint32_t k = 0; k < slot->tasklets; k++) {
            wr_tasklet *t = slot->tasklet[k];
            if (op >= t->op && op < t->op + t->ops) return t;
        }
    }
    fail_msg("no task of %s", uid);
    return NULL;
}

static void give(uint32_t split, int64_t time)
{
    world.time[split][world.count[split]++ % TIMES] = time;
}

/* All subtasks of it. */
static void expect(run *r, const char *uid, int64_t watermark, bool idle)
{
    uint32_t n = op_of(r, uid, 0)->subtasks;
    for (uint32_t i = 0; i < n; i++) {
        assert_int_equal(op_of(r, uid, i)->watermark, watermark);
        assert_int_equal(op_of(r, uid, i)->idle, idle);
    }
}

/* ---- two sources into one keyed operator, and that into the next ---- */

static void two_sources(weir_pipeline *p)
{
    event_stream a = weir_read(well, p, .uid = "a", .parallelism = 1, .args = "first=0");
    event_stream b = weir_read(well, p, .uid = "b", .parallelism = 1, .args = "first=1");
    a = weir_event_time(a, at, .max_delay = 10, .idle_after = 100 * WEIR_MILLISECOND);
    b = weir_event_time(b, at, .idle_after = 100 * WEIR_MILLISECOND);
    event_stream both = weir_union(weir_apply(twice, a), b);
    event_stream kept = weir_apply(keep, weir_key_by(both, key), .parallelism = 3);
    event_stream again = weir_apply(keep, weir_key_by(weir_apply(pass, kept, .parallelism = 3), at), .uid = "again",
                                    .parallelism = 2);
    weir_write(sewer, again, .blocking = WEIR_ON_SLOT, .parallelism = 2);
}

static void test_the_least_of_the_channels(void **state)
{
    (void)state;
    run r;
    begin(&r, two_sources);
    settle(&r);
    give(0, 100);
    settle(&r);
    expect(&r, "a-time", 89, false);
    expect(&r, "twice", 89, false);
    expect(&r, "keep", NONE, false);
    give(1, 51);
    settle(&r);
    expect(&r, "keep", 50, false);
    expect(&r, "pass", 50, false);
    expect(&r, "again", 50, false);
    expect(&r, "sewer", 50, false);
    give(1, 20); /* late: nothing goes back */
    settle(&r);
    expect(&r, "again", 50, false);
    give(1, 200);
    settle(&r);
    expect(&r, "again", 89, false);
    give(0, 500);
    world.ends[1] = true; /* what has ended holds nothing back */
    settle(&r);
    expect(&r, "again", 489, false);
    world.ends[0] = true;
    settle(&r);
    assert_true(wr_worker_done(r.worker));
    expect(&r, "keep", ALL, false);
    expect(&r, "sewer", ALL, false);
    assert_int_equal(world.sights, 2 * 2 + 3);
    for (uint32_t i = 0; i < world.sights; i++) {
        if (world.seen[i].time != 20) assert_true(world.seen[i].time > world.seen[i].watermark);
    }
    end(&r);
}

static void test_silent_channels_are_let_go(void **state)
{
    (void)state;
    run r;
    begin(&r, two_sources);
    settle(&r);
    give(1, 51);
    settle(&r);
    expect(&r, "keep", NONE, false);
    world.now_ns += 99 * MS;
    settle(&r);
    give(1, 61);
    settle(&r);
    expect(&r, "keep", NONE, false);
    world.now_ns += 1 * MS; /* a was silent for 100 ms */
    settle(&r);
    assert_true(op_of(&r, "a-time", 0)->idle);
    expect(&r, "keep", 60, false);
    expect(&r, "again", 60, false);
    world.now_ns += 99 * MS; /* now b, too */
    settle(&r);
    expect(&r, "keep", 60, true);
    expect(&r, "sewer", 60, true);
    give(0, 30); /* a is back, and behind */
    settle(&r);
    expect(&r, "keep", 60, false);
    expect(&r, "sewer", 60, false);
    give(0, 80);
    settle(&r);
    expect(&r, "sewer", 69, false); /* b is silent still */
    give(1, 62);
    settle(&r);
    expect(&r, "sewer", 69, false);
    give(0, 1000);
    settle(&r);
    expect(&r, "sewer", 69, false); /* b holds it again */
    give(1, 1000);
    settle(&r);
    expect(&r, "sewer", 989, false);
    world.now_ns += 60 * MS;
    give(1, 1100);
    settle(&r);
    expect(&r, "sewer", 989, false);
    world.now_ns += 60 * MS; /* a is silent, then it ends: either way b counts alone */
    settle(&r);
    expect(&r, "sewer", 1099, false);
    world.ends[0] = true;
    settle(&r);
    expect(&r, "sewer", 1099, false);
    world.now_ns += 60 * MS;
    settle(&r);
    expect(&r, "sewer", 1099, true);
    give(1, 2000);
    settle(&r);
    expect(&r, "sewer", 1999, false);
    end(&r);
}

/* ---- several splits in one reader; times behind an exchange ---- */

static void splits_behind_an_exchange(weir_pipeline *p)
{
    event_stream in = weir_read(well, p, .uid = "in", .parallelism = 2, .args = "n=3");
    event_stream fine = weir_event_time(in, at);
    event_stream coarse = weir_event_time(weir_apply(pass, in, .parallelism = 1), at);
    weir_write(sewer, fine, .uid = "fine", .blocking = WEIR_ON_SLOT, .parallelism = 1);
    weir_write(sewer, coarse, .uid = "coarse", .blocking = WEIR_ON_SLOT, .parallelism = 1);
}

static void test_splits_and_channels(void **state)
{
    (void)state;
    run r;
    begin(&r, splits_behind_an_exchange);
    settle(&r);
    give(0, 100);
    give(1, 200);
    settle(&r);
    expect(&r, "fine", NONE, false); /* split 2 has said nothing */
    give(2, 300);
    settle(&r);
    expect(&r, "fine", 99, false);
    expect(&r, "coarse", op_of(&r, "pass-time", 0)->watermark, false);
    /* Behind the exchange the splits of one reader cannot be told apart: one of the readers has two. */
    assert_true(op_of(&r, "pass-time", 0)->watermark >= 99);
    assert_true(op_of(&r, "pass-time", 0)->watermark <= 199);
    assert_false(op_of(&r, "pass", 0)->timed);
    assert_int_equal(op_of(&r, "pass", 0)->watermark, NONE);
    give(0, 400);
    settle(&r);
    expect(&r, "fine", 199, false);
    world.ends[1] = true;
    settle(&r);
    expect(&r, "fine", 299, false);
    world.ends[0] = world.ends[2] = true;
    settle(&r);
    expect(&r, "fine", ALL, false);
    expect(&r, "coarse", ALL, false);
    end(&r);
}

/* ---- pace, and room ---- */

static void one_source(weir_pipeline *p)
{
    event_stream a = weir_read(well, p, .uid = "a", .parallelism = 1, .args = "first=0 n=2");
    a = weir_event_time(a, at, .idle_after = 100 * WEIR_MILLISECOND);
    event_stream kept = weir_apply(keep, weir_key_by(a, key), .parallelism = 1, .chaining = WEIR_CHAIN_HEAD);
    weir_write(sewer, kept, .blocking = WEIR_ON_SLOT, .parallelism = 1);
}

static enum wr_called call(wr_tasklet *t)
{
    t->home->mono_ns = t->home->now_ns = world.now_ns;
    return t->called = wr_tasklet_call(t);
}

static uint32_t watermarks_in(wr_pipe *p, const wr_env *env)
{
    uint32_t n = 0;
    for (wr_batch *b; (b = wr_ring_pop(&p->data)) != NULL; wr_pipe_return(p, b, env)) n += b->kind == WR_WATERMARK;
    return n;
}

static void test_a_busy_task_sends_one_watermark_a_millisecond(void **state)
{
    (void)state;
    run r;
    begin(&r, one_source);
    settle(&r);
    wr_tasklet *a = task_of(&r, "a");
    wr_pipe    *p = a->exchange[0].channel[0];
    give(1, 5000);
    settle(&r);
    world.flood = true;
    while (call(a) != WR_CALLED_PROGRESS) {}
    world.now_ns += WR_WATERMARK_NS;
    call(a);
    watermarks_in(p, &r.env);
    for (uint32_t i = 0; i < 20; i++) {
        world.now_ns += WR_WATERMARK_NS / 10;
        assert_int_equal(call(a), WR_CALLED_PROGRESS);
    }
    assert_int_equal(watermarks_in(p, &r.env), 2);
    assert_int_equal(call(a), WR_CALLED_PROGRESS);
    world.flood = false;
    while (call(a) != WR_CALLED_IDLE) {}
    assert_int_equal(watermarks_in(p, &r.env), 1); /* nothing to do: what is left goes at once */
    assert_int_equal(op_of(&r, "a-time", 0)->watermark, world.flooded - 1);
    end(&r);
}

static void test_silence_does_not_count_while_there_is_no_room(void **state)
{
    (void)state;
    run r;
    begin(&r, one_source);
    settle(&r);
    wr_tasklet *a = task_of(&r, "a");
    give(1, 10);
    settle(&r);
    world.flood = true;
    while (call(a) != WR_CALLED_BLOCKED) {}
    for (uint32_t i = 0; i < 50; i++) { /* split 1 is not asked all that while: it is not silent */
        world.now_ns += 10 * MS;
        assert_int_equal(call(a), WR_CALLED_BLOCKED);
    }
    world.flood = false;
    settle(&r);
    world.now_ns += 60 * MS;
    settle(&r);
    assert_int_equal(op_of(&r, "a-time", 0)->watermark, 9);
    give(0, world.flooded + 1000);
    settle(&r);
    world.now_ns += 60 * MS;
    settle(&r);
    expect(&r, "a-time", world.flooded + 999, false); /* now it is */
    expect(&r, "sewer", world.flooded + 999, false);
    end(&r);
}

/* An idle task says when it wants to be called: when its silent splits are to be let go. */
static void test_an_idle_task_wakes_in_time(void **state)
{
    (void)state;
    run r;
    begin(&r, one_source);
    settle(&r);
    wr_tasklet *a = task_of(&r, "a");
    give(1, 10);
    settle(&r);
    int      fd[WR_PARK_FDS_MAX];
    uint32_t fds = 0;
    int64_t  until = INT64_MAX;
    wr_tasklet_waits(a, fd, &fds, &until);
    assert_int_equal(until, world.now_ns + 100 * MS);
    end(&r);
}

/* A job without event time knows nothing of all this. */
static void no_time(weir_pipeline *p)
{
    event_stream a = weir_read(well, p, .uid = "a", .parallelism = 2, .args = "first=0");
    weir_write(sewer, weir_apply(pass, weir_rebalance(a), .parallelism = 2), .blocking = WEIR_ON_SLOT,
               .parallelism = 2);
}

static void test_jobs_without_event_time(void **state)
{
    (void)state;
    run r;
    begin(&r, no_time);
    settle(&r);
    for (uint32_t i = 0; i < r.job->nodes; i++) assert_false(r.job->node[i].timed);
    assert_null(op_of(&r, "pass", 0)->emit[0].time);
    assert_false(task_of(&r, "pass")->advance.timed);
    assert_false(task_of(&r, "a")->exchange[0].timed);
    give(0, NONE); /* so that the sink's check holds: there is no time */
    settle(&r);
    assert_int_equal(world.sights, 1);
    assert_int_equal(world.seen[0].time, NONE);
    assert_int_equal(world.seen[0].watermark, NONE);
    world.ends[0] = true;
    settle(&r);
    assert_true(wr_worker_done(r.worker));
    end(&r);
}

/* ---- inputs that are apart ---- */

WEIR_STATE(tally, (uint64_t, n))
static void add_tally(tally *into, const tally *from)
{
    into->n += from->n;
}
static void tell_tally(const event *key, const tally *acc, event_out *out, weir_ctx *ctx)
{
    (void)acc;
    event_emit(out, (event){.key = key->key, .at = weir_time_of(ctx)});
}
WEIR_AGGREGATE(count, event, in, tally, acc, event, add_tally, tell_tally)
{
    (void)in;
    acc->n++;
}
static void two_into_windows(weir_pipeline *p)
{
    event_stream a = weir_event_time(weir_read(well, p, .uid = "a", .args = "first=0"), at);
    event_stream b = weir_event_time(weir_read(well, p, .uid = "b", .args = "first=1"), at);
    event_stream counts = weir_apply(
        count, weir_window(weir_key_by(weir_union(a, b), key), weir_tumbling(WEIR_MILLISECOND)), .parallelism = 1);
    weir_write(sewer, counts, .blocking = WEIR_ON_SLOT);
}

static uint64_t counted(run *r)
{
    settle(r);
    return atomic_load(&op_of(r, "count", 0)->stats.in);
}

static void later(int64_t ns)
{
    world.now_ns += ns;
}

/* An input that is some windows ahead waits while the other brings something, a little and not for ever. */
static void test_who_is_ahead_waits_a_little(void **state)
{
    (void)state;
    run r;
    begin(&r, two_into_windows);
    give(0, 10 * MS);
    give(1, 13 * MS);
    assert_int_equal(counted(&r), 2); /* what is not known yet holds nobody */
    give(1, 13 * MS + 1);
    assert_int_equal(counted(&r), 2);
    int      fd[WR_PARK_FDS_MAX];
    uint32_t fds = 0;
    int64_t  until = INT64_MAX;
    wr_tasklet_waits(task_of(&r, "count"), fd, &fds, &until);
    assert_in_range(until, world.now_ns + 1, world.now_ns + MS / 5);
    world.now_ns = until;
    assert_int_equal(counted(&r), 3); /* the other is silent */
    uint32_t held = 0;
    uint64_t n = 3;
    give(1, 13 * MS + 2);
    for (give(0, 10 * MS); counted(&r) == n + 1 && held < 100; held++, n++) { /* the other talks, but comes no nearer */
        later(MS / 10);
        give(0, 10 * MS);
    }
    assert_in_range(held, 15, 25); /* tenths of a millisecond */
    n = counted(&r);
    give(0, 10 * MS);
    give(1, 13 * MS + 3);
    assert_int_equal(counted(&r), n + 2); /* its turn, for as long */
    later(10 * MS);
    give(0, 12 * MS + MS / 2);
    give(1, 13 * MS + 4);
    assert_int_equal(counted(&r), n + 4); /* near enough */
    give(1, 500 * MS);
    assert_int_equal(counted(&r), n + 5);
    give(0, 12 * MS + MS / 2 + 1);
    give(1, 500 * MS + 1);
    assert_int_equal(counted(&r), n + 7); /* at another time altogether */
    end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_least_of_the_channels),
        cmocka_unit_test(test_silent_channels_are_let_go),
        cmocka_unit_test(test_splits_and_channels),
        cmocka_unit_test(test_a_busy_task_sends_one_watermark_a_millisecond),
        cmocka_unit_test(test_silence_does_not_count_while_there_is_no_room),
        cmocka_unit_test(test_an_idle_task_wakes_in_time),
        cmocka_unit_test(test_jobs_without_event_time),
        cmocka_unit_test(test_who_is_ahead_waits_a_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
