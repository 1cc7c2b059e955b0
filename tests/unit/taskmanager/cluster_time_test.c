/* ctest: timeout=120
 * Event time across workers: the windows of a job whose slots are spread over workers are those of one worker, although
 * each channel has its own pace. Keys have long names. Real sockets, stepped by hand. */
#include "base/env.h"
#include "base/prng.h"
#include "graph/exec.h"
#include "taskmanager/worker.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <weir/pipeline.h>

#include <cmocka.h>

enum { SPLITS = 1, RECORDS = 12000, KEYS = 13, WINDOWS = RECORDS / 50 + 2, WORKERS = 3, SLOTS = 6 };

WEIR_RECORD(event, (weir_str, who), (weir_time, at), (uint64_t, key))
WEIR_RECORD(count_of, (weir_str, who), (weir_time, from), (uint64_t, n))
WEIR_RECORD(part, (uint64_t, index), (uint64_t, at))
WEIR_STATE(tally, (uint64_t, n))

static uint64_t windows[KEYS][WINDOWS], wrong, results;
static char     names[KEYS][40];

static void parts(part_out *out, weir_ctx *ctx)
{
    (void)ctx;
    for (uint64_t i = 0; i < SPLITS; i++) part_emit(out, (part){.index = i});
}
typedef struct nothing {
    bool open;
} nothing;
static bool nothing_open(const part *p, nothing *n, weir_ctx *ctx)
{
    (void)p;
    (void)ctx;
    return n->open = true;
}
static void nothing_close(nothing *n)
{
    n->open = false;
}
/* Out of order by a few. */
WEIR_SOURCE(events, part, at, nothing, n, event, out, ctx, parts, nothing_open, nothing_close)
{
    (void)n;
    (void)ctx;
    for (uint64_t k = 0; k < 20 + 7 * at->index && at->at < RECORDS && weir_room(&out->out); k++, at->at++) {
        uint64_t key = (at->at * 5 + at->index) % KEYS;
        event_emit(out, (event){.who = weir_str_of(names[key], sizeof names[key] - 1),
                                .at = {.ns = (int64_t)(at->at ^ 3) * WEIR_SECOND},
                                .key = key});
    }
    return at->at < RECORDS ? WEIR_MORE : WEIR_END;
}

WEIR_MAP(pass, event, in, event, out)
{
    *out = *in;
    return true;
}

static void merge(tally *into, const tally *from)
{
    into->n += from->n;
}
static void result(const event *key, const tally *acc, count_of_out *out, weir_ctx *ctx)
{
    count_of_emit(out, (count_of){.who = key->who, .from = weir_window_of(ctx).start, .n = acc->n});
}
WEIR_AGGREGATE(count, event, in, tally, acc, count_of, merge, result)
{
    acc->n++;
}

static bool taker_open(nothing *n, weir_ctx *ctx)
{
    (void)ctx;
    return n->open = true;
}
static bool taker_flush(nothing *n, weir_ctx *ctx)
{
    return n->open && ctx != NULL;
}
static void taker_close(nothing *n, weir_ctx *ctx)
{
    (void)ctx;
    n->open = false;
}
WEIR_SINK(taken, count_of, in, nothing, n, ctx, taker_open, taker_flush, taker_close)
{
    (void)n;
    (void)ctx;
    uint64_t window = (uint64_t)(in->from.ns / (50 * WEIR_SECOND)), key = 0;
    while (key < KEYS &&
           (in->who.len != sizeof names[0] - 1 || memcmp(weir_str_data(&in->who), names[key], in->who.len) != 0))
        key++;
    if (key == KEYS || window >= WINDOWS)
        wrong++;
    else
        windows[key][window] += in->n;
    results++;
}

static void build(weir_pipeline *p, uint32_t parallelism)
{
    event_stream    all = weir_read(events, p, .parallelism = 1);
    event_stream    timed = weir_event_time(all, at, .max_delay = 10 * WEIR_SECOND);
    event_stream    same = weir_apply(pass, weir_rebalance(timed), .parallelism = 3);
    count_of_stream counts = weir_apply(count, weir_window(weir_key_by(same, who), weir_tumbling(50 * WEIR_SECOND)),
                                        .parallelism = parallelism);
    weir_write(taken, weir_rebalance(counts), .parallelism = 2, .blocking = WEIR_ON_SLOT);
}

static void connect_all(wr_worker **w, uint32_t workers, const uint32_t *worker_of)
{
    const wr_env *env = wr_env_real();
    uint32_t      slot, remote;
    for (uint32_t k = 0; k < workers; k++) {
        for (uint32_t i = 0; wr_worker_remote(w[k], i, &slot, &remote); i++) {
            char address[32];
            int  from, to, listener = env->listen(env->self, "127.0.0.1:0");
            if (slot < remote) {
                snprintf(address, sizeof address, "127.0.0.1:%d", env->port_of(env->self, listener));
                from = env->connect(env->self, address);
                do to = env->accept(env->self, listener);
                while (to < 0);
                wr_worker_connect(w[k], slot, remote, from);
                wr_worker_connect(w[worker_of[remote]], remote, slot, to);
            }
            env->hang_up(env->self, listener);
        }
    }
}

static void run(uint32_t workers, uint64_t seed)
{
    wr_errinfo     info = {0};
    wr_prng        random = wr_prng_of(seed);
    const wr_job  *job = NULL;
    wr_exec       *exec = NULL;
    wr_worker     *w[WORKERS] = {NULL};
    bool           here[WORKERS][SLOTS] = {{false}};
    uint32_t       worker_of[SLOTS];
    weir_pipeline *p = wr_job_new("time", NULL, 0);
    memset(windows, 0, sizeof windows);
    wrong = results = 0;
    build(p, SLOTS);
    if (wr_job_finish(p, &(wr_job_settings){.parallelism_default = 2}, &job, &info) != WR_OK ||
        wr_exec_new(job, &exec, &info) != WR_OK)
        fail_msg("%s", info.text);
    assert_int_equal(exec->slots, SLOTS);
    for (uint32_t i = 0; i < SLOTS; i++)
        here[worker_of[i] = i < workers ? i : (uint32_t)wr_prng_below(&random, workers)][i] = true;
    for (uint32_t k = 0; k < workers; k++) {
        wr_worker_options options = {.env = wr_env_real(), .job = "time", .here = workers > 1 ? here[k] : NULL};
        if (wr_worker_new(&w[k], exec, &options, &info) != WR_OK) fail_msg("%s", info.text);
    }
    connect_all(w, workers, worker_of);
    for (bool done = false; !done;) {
        done = true;
        for (uint32_t k = 0; k < workers; k++) {
            for (uint32_t n = 0; n < 20; n++)
                wr_worker_step(w[k], (uint32_t)wr_prng_below(&random, wr_worker_slots(w[k])));
            for (wr_task_event e; wr_worker_event(w[k], &e);) {
                if (e.state == WR_TASK_FAILED) fail_msg("%s", e.info.text);
            }
            done &= wr_worker_done(w[k]);
        }
    }
    for (uint32_t k = 0; k < workers; k++) wr_worker_free(w[k]);
    wr_exec_free(exec);
    wr_job_free(p);
}

static void test_windows_are_those_of_one_worker(void **state)
{
    (void)state;
    static uint64_t expected[KEYS][WINDOWS];
    for (int i = 0; i < KEYS; i++) snprintf(names[i], sizeof names[i], "the key with the long name, number %4d", i);
    for (uint64_t i = 0; i < SPLITS; i++) {
        for (uint64_t at = 0; at < RECORDS; at++) expected[(at * 5 + i) % KEYS][(at ^ 3) / 50]++;
    }
    for (uint64_t seed = 1; seed <= 12; seed++) {
        run(seed == 1 ? 1 : 2 + seed % 2, seed);
        assert_int_equal(wrong, 0);
        assert_memory_equal(windows, expected, sizeof expected); /* nothing late, nothing twice */
        assert_true(results < 3 * KEYS * WINDOWS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_windows_are_those_of_one_worker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
