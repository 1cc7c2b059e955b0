/* What fails a task, and what it says: sources and sinks that do not open or flush, too much state. */
#include "graph/exec.h"
#include "taskmanager/worker.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <weir/pipeline.h>

#include <cmocka.h>

WEIR_RECORD(number, (uint64_t, n), (weir_str, text))
WEIR_RECORD(part, (uint32_t, index))
WEIR_STATE(kept, (uint64_t, n), (weir_text, text))

/* What goes wrong in this run; and what was opened and closed. */
static bool     source_opens, source_speaks, sink_opens, sink_flushes;
static int      opened, closed, sinks_closed;
static uint64_t count;

typedef struct reader {
    uint64_t at;
} reader;
static void parts(part_out *out, weir_ctx *ctx)
{
    (void)ctx;
    part_emit(out, (part){0});
}
static bool reader_open(const part *split, reader *r, weir_ctx *ctx)
{
    (void)split;
    (void)r;
    opened++;
    if (source_speaks) weir_fail(ctx, "the door is locked");
    return source_opens;
}
static void reader_close(reader *r)
{
    (void)r;
    closed++;
}
WEIR_SOURCE(numbers, part, split, reader, r, number, out, ctx, parts, reader_open, reader_close)
{
    (void)split;
    (void)ctx;
    char text[40];
    memset(text, 'x', sizeof text);
    for (; r->at < count && weir_room(&out->out); r->at++)
        number_emit(out, (number){.n = r->at, .text = weir_str_of(text, sizeof text)});
    return r->at < count ? WEIR_MORE : WEIR_END;
}
WEIR_KEYED(keep, number, in, kept, st, number, out, ctx)
{
    st->n++;
    weir_text_set(ctx, &st->text, in->text);
    number_emit(out, *in);
}
typedef struct writer {
    int unused;
} writer;
static bool writer_open(writer *w, weir_ctx *ctx)
{
    (void)w;
    (void)ctx;
    opened++;
    return sink_opens;
}
static bool writer_flush(writer *w, weir_ctx *ctx)
{
    (void)w;
    (void)ctx;
    return sink_flushes;
}
static void writer_close(writer *w, weir_ctx *ctx)
{
    (void)w;
    (void)ctx;
    closed++;
    sinks_closed++;
}
WEIR_SINK(write, number, in, writer, w, ctx, writer_open, writer_flush, writer_close)
{
    (void)in;
    (void)w;
}

/* Runs the job in this thread; the first failure, or WR_OK. */
static wr_errinfo run(uint64_t state_max)
{
    wr_errinfo     info = {0}, why = {0};
    const wr_job  *job;
    wr_exec       *exec;
    wr_worker     *worker;
    weir_pipeline *p = wr_job_new("failures", NULL, 0);
    weir_write(write, weir_apply(keep, weir_key_by(weir_read(numbers, p), n)), .blocking = WEIR_ON_SLOT);
    wr_job_settings   settings = {.parallelism_default = 1};
    wr_worker_options options = {.env = wr_env_real(), .job = "failures", .state_max = state_max};
    opened = closed = sinks_closed = 0;
    assert_int_equal(wr_job_finish(p, &settings, &job, &info), WR_OK);
    assert_int_equal(wr_exec_new(job, &exec, &info), WR_OK);
    assert_int_equal(wr_worker_new(&worker, exec, &options, &info), WR_OK);
    while (!wr_worker_done(worker)) {
        for (uint32_t s = 0; s < wr_worker_slots(worker); s++) wr_worker_step(worker, s);
        for (wr_task_event e; wr_worker_event(worker, &e);) {
            if (e.state != WR_TASK_FAILED || why.code != WR_OK) continue;
            why = e.info;
            for (uint32_t i = 0; i < exec->subtasks; i++) wr_worker_cancel(worker, i);
        }
    }
    wr_worker_free(worker);
    wr_exec_free(exec);
    wr_job_free(p);
    assert_int_equal(opened, closed);
    return why;
}

static int all_well(void **state)
{
    (void)state;
    source_opens = sink_opens = sink_flushes = true;
    source_speaks = false;
    count = 1000;
    return 0;
}

static void fails_with(wr_errinfo why, wr_err code, const char *text)
{
    assert_int_equal(why.code, code);
    if (strstr(why.text, text) == NULL) fail_msg("\"%s\" is not in: %s", text, why.text);
}

static void test_nothing_fails(void **state)
{
    (void)state;
    assert_int_equal(run(0).code, WR_OK);
    assert_int_equal(run(UINT64_C(64) << 20).code, WR_OK);
    assert_int_equal(opened, 2);
}

static void test_a_source_that_does_not_open(void **state)
{
    (void)state;
    source_opens = false;
    fails_with(run(0), WR_USER_FAIL, "the open function of the source returned false; operator numbers subtask 0 (");
    source_speaks = true;
    fails_with(run(0), WR_USER_FAIL, "the door is locked; operator numbers subtask 0");
}

static void test_a_sink_that_does_not_open(void **state)
{
    (void)state;
    sink_opens = false;
    fails_with(run(0), WR_USER_FAIL, "the open function of the sink returned false; operator write subtask 0 (");
    assert_int_equal(sinks_closed, 1); /* close has what open had begun */
}

static void test_a_sink_that_does_not_flush(void **state)
{
    (void)state;
    sink_flushes = false;
    fails_with(run(0), WR_USER_FAIL, "the flush function of the sink returned false; operator write subtask 0");
}

static void test_state_has_a_bound(void **state)
{
    (void)state;
    count = UINT64_C(1) << 40;
    wr_errinfo why = run(UINT64_C(4) << 20);
    fails_with(why, WR_STATE_MAX, "keyed state is larger than --state-max");
    fails_with(why, WR_STATE_MAX, "operator keep subtask 0 with ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_nothing_fails, all_well),
        cmocka_unit_test_setup(test_a_source_that_does_not_open, all_well),
        cmocka_unit_test_setup(test_a_sink_that_does_not_open, all_well),
        cmocka_unit_test_setup(test_a_sink_that_does_not_flush, all_well),
        cmocka_unit_test_setup(test_state_has_a_bound, all_well),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
