/* What enumerate lists: splits are known by their first field, however many there are, and none is lost in silence. */
#include "graph/exec.h"
#include "taskmanager/worker.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <weir/pipeline.h>

#include <cmocka.h>

enum { MANY = 400000 };

WEIR_RECORD(part, (weir_str, file), (uint64_t, from), (uint64_t, end))
WEIR_RECORD(number, (uint64_t, n))

/* What the next run lists, how often it did, and what came of it. */
static void (*list_now)(part_out *out);
static uint32_t calls, calls_max;
static uint64_t records, sum;

typedef struct none {
    char unused;
} none;
static void list(part_out *out, weir_ctx *ctx)
{
    (void)ctx;
    calls++;
    list_now(out);
}
static bool part_open(const part *split, none *r, weir_ctx *ctx)
{
    return split != NULL && r != NULL && ctx != NULL;
}
static void part_close(none *r)
{
    (void)r;
}
WEIR_SOURCE(parts, part, split, none, r, number, out, ctx, list, part_open, part_close)
{
    (void)r;
    (void)ctx;
    for (; split->from < split->end && weir_room(&out->out); split->from++) number_emit(out, (number){split->from});
    return split->from < split->end ? WEIR_MORE : WEIR_END;
}
static bool sink_open(none *w, weir_ctx *ctx)
{
    return w != NULL && ctx != NULL;
}
static bool sink_flush(none *w, weir_ctx *ctx)
{
    return w != NULL && ctx != NULL;
}
static void sink_close(none *w, weir_ctx *ctx)
{
    (void)w;
    (void)ctx;
}
WEIR_SINK(add, number, in, none, w, ctx, sink_open, sink_flush, sink_close)
{
    (void)w;
    (void)ctx;
    records++;
    sum += in->n;
}

/* Runs the job in this thread, until it ends or enumerate was called calls_max times; the first failure, or WR_OK. */
static wr_errinfo run(void (*lists)(part_out *out), uint32_t most)
{
    wr_errinfo     info = {0}, why = {0};
    const wr_job  *job;
    wr_exec       *exec;
    wr_worker     *worker;
    bool           canceled = false;
    weir_pipeline *p = wr_job_new("splits", NULL, 0);
    list_now = lists;
    calls_max = most;
    calls = 0;
    records = sum = 0;
    number_stream all = weir_read(parts, p, .discover_every = most > 1 ? WEIR_MILLISECOND : 0);
    weir_write(add, all, .blocking = WEIR_ON_SLOT);
    wr_job_settings   settings = {.parallelism_default = 1};
    wr_worker_options options = {.env = wr_env_real(), .job = "splits"};
    assert_int_equal(wr_job_finish(p, &settings, &job, &info), WR_OK);
    assert_int_equal(wr_exec_new(job, &exec, &info), WR_OK);
    assert_int_equal(wr_worker_new(&worker, exec, &options, &info), WR_OK);
    while (!wr_worker_done(worker)) {
        for (uint32_t s = 0; s < wr_worker_slots(worker); s++) wr_worker_step(worker, s);
        bool cancel = most > 1 && calls >= calls_max;
        for (wr_task_event e; wr_worker_event(worker, &e);) {
            if (e.state != WR_TASK_FAILED) continue;
            if (why.code == WR_OK) why = e.info;
            cancel = true;
        }
        for (uint32_t i = 0; cancel && !canceled && i < exec->subtasks; i++) wr_worker_cancel(worker, i);
        canceled |= cancel;
    }
    wr_worker_free(worker);
    wr_exec_free(exec);
    wr_job_free(p);
    return why;
}

static void put(part_out *out, const char *file, uint64_t from, uint64_t end)
{
    part_emit(out, (part){weir_str_of(file, strlen(file)), from, end});
}

static void list_many(part_out *out)
{
    for (uint64_t i = 0; i < MANY; i++) {
        char name[32];
        snprintf(name, sizeof name, "a rather long name %llu", (unsigned long long)i);
        put(out, name, i, i + 1);
    }
}
static void many_splits_are_listed_soon(void **state)
{
    (void)state;
    assert_int_equal(run(list_many, 1).code, WR_OK);
    assert_int_equal(records, MANY);
    assert_int_equal(sum, (uint64_t)MANY * (MANY - 1) / 2);
}

static void list_twice(part_out *out)
{
    for (int i = 0; i < 2; i++) {
        put(out, "one", 0, 10);
        put(out, "two", 10, 20);
    }
}
static void the_same_split_counts_once(void **state)
{
    (void)state;
    assert_int_equal(run(list_twice, 1).code, WR_OK);
    assert_int_equal(records, 20);
}

static void list_ranges(part_out *out)
{
    for (uint64_t i = 0; i < 4; i++) put(out, "data\n.bin", i * 10, i * 10 + 10);
}
static void list_late_ranges(part_out *out)
{
    put(out, "known", 0, 10);
    if (calls > 1) put(out, "known", 10, 20);
}
static void two_splits_of_one_name_are_refused(void **state)
{
    (void)state;
    wr_errinfo why = run(list_ranges, 1);
    assert_int_equal(why.code, WR_USER_FAIL);
    assert_non_null(strstr(why.text, "enumerate listed two different splits with the name 'data?.bin'; source parts;"));
    why = run(list_late_ranges, 3); /* also when the first is known from an earlier call */
    assert_int_equal(why.code, WR_USER_FAIL);
    assert_non_null(strstr(why.text, "'known'"));
    assert_int_equal(calls, 2);
}

static void list_growing(part_out *out)
{
    put(out, "log", 0, 10 * (uint64_t)calls);
}
static void a_known_split_may_come_again_otherwise(void **state)
{
    (void)state;
    assert_int_equal(run(list_growing, 3).code, WR_OK);
    assert_int_equal(calls, 3);
    assert_int_equal(records, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_splits_are_listed_soon),
        cmocka_unit_test(the_same_split_counts_once),
        cmocka_unit_test(two_splits_of_one_name_are_refused),
        cmocka_unit_test(a_known_split_may_come_again_otherwise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
