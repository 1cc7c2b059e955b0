/* tests/unit/taskmanager/jobs.h: a small job with real threads: numbers from splits, by key, summed up, counted by a
 * sink. User code meets the test through one struct of atomics. */
#ifndef WR_TESTS_TASKMANAGER_JOBS_H
#define WR_TESTS_TASKMANAGER_JOBS_H
#include "graph/exec.h"
#include "taskmanager/worker.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <weir/pipeline.h>

#include <cmocka.h>

/* What runs, and what it saw. Any thread. */
typedef struct jobs_world {
    uint32_t         splits, parallelism, keys;
    uint64_t         records; /* of each split; UINT64_MAX: without end */
    bool             own_keyed, own_sink, strings, idles;
    int64_t          rest_ns; /* of a source, behind each record; 0: none */
    uint64_t         fail_at; /* the sink fails when it has seen so many; 0: never */
    _Atomic uint64_t polls, sent, sent_sum, seen, seen_sum;
    _Atomic int64_t  open; /* readers, writers and resources that are open now */
} jobs_world;
static jobs_world jobs;

WEIR_RECORD(reading, (uint64_t, key), (uint64_t, value), (weir_str, tag))
WEIR_RECORD(part, (uint32_t, index), (uint64_t, at))
WEIR_STATE(sums, (uint64_t, n), (weir_text, tag))

static void parts_of_all(part_out *out, weir_ctx *ctx)
{
    (void)ctx;
    for (uint32_t i = 0; i < jobs.splits; i++) part_emit(out, (part){.index = i});
}
typedef struct feeder {
    uint64_t at;
    char     text[40];
} feeder;
static bool feeder_open(const part *split, feeder *f, weir_ctx *ctx)
{
    (void)ctx;
    f->at = split->at;
    memset(f->text, 't', sizeof f->text);
    jobs.open++;
    return true;
}
static void feeder_close(feeder *f)
{
    (void)f;
    jobs.open--;
}
WEIR_SOURCE(readings, part, split, feeder, f, reading, out, ctx, parts_of_all, feeder_open, feeder_close)
{
    uint64_t n = 0, sum = 0, most = jobs.rest_ns != 0 ? 1 : 300;
    atomic_fetch_add(&jobs.polls, 1);
    for (; weir_room(&out->out) && f->at < jobs.records && n < most; f->at++, n++) {
        reading r = {.key = (f->at * 7 + split->index) % jobs.keys, .value = f->at + 1};
        if (jobs.strings) r.tag = weir_str_of(f->text, r.key % sizeof f->text);
        sum += r.value;
        reading_emit(out, r);
    }
    split->at = f->at;
    atomic_fetch_add(&jobs.sent, n);
    atomic_fetch_add(&jobs.sent_sum, sum);
    if (f->at == jobs.records) return WEIR_END;
    if (jobs.rest_ns == 0 && (!jobs.idles || f->at % 900 != 0)) return WEIR_MORE;
    weir_wake_after(ctx, jobs.rest_ns != 0 ? jobs.rest_ns : 20 * WEIR_MICROSECOND);
    return WEIR_IDLE;
}

WEIR_MAP(pass, reading, in, reading, out)
{
    *out = *in;
    return true;
}
WEIR_KEYED(add, reading, in, sums, st, reading, out, ctx)
{
    st->n++;
    if (in->tag.len > 0) {
        weir_str kept = weir_text_get(ctx, &st->tag);
        if (st->n > 1 && !weir_str_equal(&kept, &in->tag)) weir_fail(ctx, "the tag of the key changed");
        weir_text_set(ctx, &st->tag, in->tag);
    }
    reading_emit(out, (reading){.key = in->key, .value = in->value, .tag = in->tag});
}
typedef struct counter {
    uint64_t seen, sum;
} counter;
static bool counter_open(counter *c, weir_ctx *ctx)
{
    (void)c;
    (void)ctx;
    jobs.open++;
    return true;
}
static bool counter_flush(counter *c, weir_ctx *ctx)
{
    (void)ctx;
    atomic_fetch_add(&jobs.seen, c->seen);
    atomic_fetch_add(&jobs.seen_sum, c->sum);
    c->seen = c->sum = 0;
    return true;
}
static void counter_close(counter *c, weir_ctx *ctx)
{
    counter_flush(c, ctx);
    jobs.open--;
}
WEIR_SINK(counted, reading, in, counter, c, ctx, counter_open, counter_flush, counter_close)
{
    c->seen++;
    c->sum += in->value;
    if (c->seen >= 64) counter_flush(c, ctx);
    if (jobs.fail_at != 0 && atomic_load(&jobs.seen) >= jobs.fail_at) weir_fail(ctx, "as planned");
}

static void jobs_build(weir_pipeline *p)
{
    reading_stream in = weir_read(readings, p);
    reading_stream passed = weir_apply(pass, weir_rebalance(in));
    reading_stream sums = weir_apply(add, weir_key_by(passed, key),
                                     .blocking = jobs.own_keyed ? WEIR_OWN_THREAD : WEIR_ON_SLOT);
    weir_write(counted, sums, .blocking = jobs.own_sink ? WEIR_OWN_THREAD : WEIR_ON_SLOT);
}

/* One worker of the job, and the test's side of it. */
typedef struct jobs_run {
    weir_pipeline  *pipeline;
    const wr_job   *job;
    wr_exec        *exec;
    wr_worker      *worker;
    wr_errinfo      failure;
    uint32_t        in[WR_TASK_FAILED + 1]; /* final states */
    pthread_mutex_t lock;
    pthread_cond_t  told;
    bool            news;
} jobs_run;

WEIR_UNUSED_ static void jobs_notify(void *self)
{
    jobs_run *r = self;
    pthread_mutex_lock(&r->lock);
    r->news = true;
    pthread_cond_signal(&r->told);
    pthread_mutex_unlock(&r->lock);
}

/* waits: its tasks wait in LOADED, as in a cluster. */
WEIR_UNUSED_ static void jobs_new_waiting(jobs_run *r, const wr_env *env, bool waits)
{
    wr_errinfo info = {0};
    memset(r, 0, sizeof *r);
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->told, NULL);
    r->pipeline = wr_job_new("jobs", NULL, 0);
    jobs_build(r->pipeline);
    wr_job_settings settings = {.parallelism = jobs.parallelism};
    static bool     here[64]; /* all slots: only a part of a job waits */
    memset(here, waits, sizeof here);
    wr_worker_options options = {.env = env,
                                 .job = "jobs",
                                 .seed = 1,
                                 .notify = jobs_notify,
                                 .self = r,
                                 .here = waits ? here : NULL,
                                 .wait_go = waits};
    if (wr_job_finish(r->pipeline, &settings, &r->job, &info) != WR_OK ||
        wr_exec_new(r->job, &r->exec, &info) != WR_OK || wr_worker_new(&r->worker, r->exec, &options, &info) != WR_OK) {
        fail_msg("%s", info.text);
    }
}

WEIR_UNUSED_ static void jobs_new(jobs_run *r, const wr_env *env)
{
    jobs_new_waiting(r, env, false);
}

WEIR_UNUSED_ static void jobs_start(jobs_run *r)
{
    wr_errinfo info = {0};
    if (wr_worker_start(r->worker, &info) != WR_OK) fail_msg("%s", info.text);
}

WEIR_UNUSED_ static void jobs_cancel(jobs_run *r)
{
    for (uint32_t i = 0; i < r->exec->subtasks; i++) wr_worker_cancel(r->worker, i);
}

/* Takes reports until every task has ended, as a JobManager does: the first failure cancels the others. */
WEIR_UNUSED_ static void jobs_end(jobs_run *r)
{
    while (!wr_worker_done(r->worker)) {
        for (wr_task_event e; wr_worker_event(r->worker, &e);) {
            if (e.state != WR_TASK_FAILED || r->failure.code != WR_OK) continue;
            r->failure = e.info;
            jobs_cancel(r);
        }
        pthread_mutex_lock(&r->lock);
        while (!r->news) pthread_cond_wait(&r->told, &r->lock); /* each change of a state is told */
        r->news = false;
        pthread_mutex_unlock(&r->lock);
    }
    wr_worker_join(r->worker);
    wr_task_stats s;
    for (uint32_t i = 0; wr_worker_task_stats(r->worker, i, &s); i++) r->in[s.state]++;
}

WEIR_UNUSED_ static void jobs_free(jobs_run *r)
{
    wr_worker_free(r->worker);
    wr_exec_free(r->exec);
    wr_job_free(r->pipeline);
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->told);
    assert_int_equal(atomic_load(&jobs.open), 0);
}

WEIR_UNUSED_ static void jobs_reset(uint32_t splits, uint32_t parallelism, uint64_t records)
{
    jobs.splits = splits;
    jobs.parallelism = parallelism;
    jobs.records = records;
    jobs.keys = 37;
    jobs.own_keyed = jobs.own_sink = jobs.strings = jobs.idles = false;
    jobs.fail_at = 0;
    jobs.rest_ns = 0;
    jobs.polls = jobs.sent = jobs.sent_sum = jobs.seen = jobs.seen_sum = 0;
}
#endif
