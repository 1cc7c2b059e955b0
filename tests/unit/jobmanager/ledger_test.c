/* The ledger: what was said to be durable is there after any end; crashes and errors at every step; every flip and
 * truncation; what it forgets, and when it is compacted. */
#include "base/log.h"
#include "base/prng.h"
#include "base/sabotage.h"
#include "jobmanager/ledger.h"
#include "tests/unit/jobmanager/folder.h"
#include "tests/unit/wire/manifest_sample.h"
#include <sys/stat.h>
#include <xxhash.h>

#define GOLDEN  "tests/golden/ledger2"
#define GOLDEN1 "tests/golden/ledger1" /* of the version before */

static wr_job_spec spec_of(const char *name, uint32_t parallelism, const char *graph)
{
    return (wr_job_spec){.name = name,
                         .module = {.name = "pipeline.so", .bytes = 7},
                         .parallelism = parallelism,
                         .graph = graph,
                         .graph_bytes = (uint32_t)strlen(graph),
                         .snapshots = "",
                         .restore = "latest"};
}

static wr_ledger *opened(const wr_env *env)
{
    wr_ledger *l;
    wr_errinfo info = {0};
    if (wr_ledger_open(&l, env, folder, &info) != WR_OK) fail_msg("%s", info.text);
    return l;
}

static void submit(wr_ledger *l, uint64_t id, const char *name)
{
    wr_errinfo        info = {0};
    const wr_job_spec spec = spec_of(name, 2, "graph");
    assert_int_equal(wr_ledger_submit(l, id, id + 1000, &spec, &info), WR_OK);
}

static void attempt(wr_ledger *l, uint64_t id, uint32_t number)
{
    const uint64_t place[] = {77, 78, 77};
    uint8_t        secret[WR_MAC_BYTES];
    memset(secret, (int)number, sizeof secret);
    assert_int_equal(wr_ledger_attempt(l, id, number, place, 3, secret, NULL), WR_OK);
}

static void failed(wr_ledger *l, uint64_t id, uint32_t number)
{
    const wr_ledger_failure f = {.wall_ms = 5 + number,
                                 .attempt = number,
                                 .subtask = 3,
                                 .info = {WR_CRASH, "it crashed; operator 'count'"},
                                 .count = number + 100,
                                 .delay_ms = 1000 * number};
    assert_int_equal(wr_ledger_failed(l, id, &f, NULL), WR_OK);
}

static void end(wr_ledger *l, uint64_t id, wr_job_state state)
{
    const wr_errinfo why = {state == WR_JOB_FAILED ? WR_CRASH : WR_OK, "why"};
    assert_int_equal(wr_ledger_end(l, id, state, &why, NULL), WR_OK);
}

/* A specification as bytes: lives until the process ends. */
static char *next_spec;

static size_t next_spec_bytes(void)
{
    static size_t     n;
    const wr_job_spec wider = spec_of("wider", 9, "a graph that is to be");
    if (next_spec == NULL) assert_int_equal(wr_job_spec_encode(&wider, &next_spec, &n, NULL), WR_OK);
    return n;
}

/* ---- all that is known, as text ---- */

typedef struct text {
    char   at[1 << 16];
    size_t n;
} text;

static void put_job(void *arg, const wr_ledger_job *j)
{
    text *t = arg;
#define PUT(...) t->n += (size_t)snprintf(t->at + t->n, sizeof t->at - t->n, __VA_ARGS__)
    PUT("job %llx request %llu at %lld..%lld '%s' p %u graph %.*s state %u cause %d '%s' attempt %u stopping %u",
        (unsigned long long)j->id, (unsigned long long)j->request, (long long)j->submitted_wall_ms,
        (long long)j->ended_wall_ms, j->spec.name, j->spec.parallelism, (int)j->spec.graph_bytes, j->spec.graph,
        j->state, j->cause.code, j->cause.text, j->attempt, j->stopping);
    for (uint32_t i = 0; i < j->places; i++) PUT(" %llu", (unsigned long long)j->place[i]);
    if (j->places > 0) PUT(" secret %02x%02x", j->secret[0], j->secret[WR_MAC_BYTES - 1]);
    for (uint32_t i = 0; i < j->failures; i++)
        PUT(" failed %u:%u %lld %d '%s'", j->failure[i].attempt, j->failure[i].subtask,
            (long long)j->failure[i].wall_ms, j->failure[i].info.code, j->failure[i].info.text);
    if (j->failed_times > 0) PUT(" count %u delay %lld times", j->count, (long long)j->delay_ms);
    for (uint32_t i = 0; i < j->failed_times; i++) PUT(" %lld", (long long)j->failed_wall_ms[i]);
    if (j->attempt_wall_ms != 0) PUT(" first %u began %lld", j->first, (long long)j->attempt_wall_ms);
    if (j->target[0] != 0) PUT(" to '%s'", j->target);
    if (j->restarting != 0) PUT(" restarting %u next %zu", j->restarting, j->next_spec_bytes);
    if (j->planned != 0) PUT(" planned %u", j->planned);
    PUT("\n");
#undef PUT
    assert_true(t->n < sizeof t->at);
}

static const char *all_of(text *t, const wr_ledger *l)
{
    const wr_ledger_job *j;
    t->n = 0;
    t->at[0] = 0;
    for (uint32_t i = 0; (j = wr_ledger_job_at(l, i)) != NULL; i++) put_job(t, j);
    return t->at;
}

static text before, after;

static void same_when_opened_again(wr_ledger **l)
{
    uint64_t leader = wr_ledger_leader(*l);
    all_of(&before, *l);
    wr_ledger_close(*l);
    *l = opened(wr_env_real());
    all_of(&after, *l);
    for (size_t i = 0; i < before.n; i++) /* a long text: where they differ */
        if (after.at[i] != before.at[i])
            fail_msg("%.200s\nis now\n%.200s", before.at + (i > 99 ? i - 99 : 0), after.at + (i > 99 ? i - 99 : 0));
    assert_string_equal(after.at, before.at);
    assert_true(wr_ledger_leader(*l) == leader + 1);
}

/* ---- what it keeps ---- */

/* For tests of many records, none of which is about crashes. */
static int no_sync(void *self, int file)
{
    (void)self;
    return file < 0 ? file : 0;
}

static void keeps_everything(void **state)
{
    (void)state;
    wr_ledger *l = opened(wr_env_real());
    assert_true(wr_ledger_leader(l) == 1 && wr_ledger_job_at(l, 0) == NULL);
    submit(l, 0xa, "one");
    submit(l, 0xb, "two");
    attempt(l, 0xa, 1);
    const wr_ledger_job *a = wr_ledger_find(l, 0xa);
    assert_true(a == wr_ledger_job_at(l, 0) && a->places == 3 && a->place[1] == 78 && a->secret[31] == 1);
    assert_true(a->submitted_wall_ms > 1500000000000 && a->request == 0xa + 1000);
    same_when_opened_again(&l);
    failed(l, 0xa, 1);
    assert_null(wr_ledger_find(l, 0xa)->place); /* nobody looks for its workers any more */
    same_when_opened_again(&l);
    attempt(l, 0xa, 2);
    failed(l, 0xb, 3); /* attempts that were never made */
    assert_int_equal(wr_ledger_find(l, 0xb)->attempt, 3);
    same_when_opened_again(&l);
    const wr_job_spec wide = spec_of("one", 6, "a wider graph");
    assert_int_equal(wr_ledger_respec(l, 0xa, &wide, NULL), WR_OK);
    assert_int_equal(wr_ledger_find(l, 0xa)->spec.parallelism, 6);
    assert_int_equal(wr_ledger_stopping(l, 0xa, WR_LEDGER_DRAIN, "/save/it/here", NULL), WR_OK);
    same_when_opened_again(&l);
    end(l, 0xa, WR_JOB_FAILED);
    a = wr_ledger_find(l, 0xa);
    assert_true(a->state == WR_JOB_FAILED && a->place == NULL && a->cause.code == WR_CRASH && a->failures == 1);
    same_when_opened_again(&l);
    end(l, 0xb, WR_JOB_CANCELED);
    same_when_opened_again(&l);
    same_when_opened_again(&l);
    wr_errinfo info = {0};
    assert_int_equal(wr_ledger_stopping(l, 0xc, WR_LEDGER_STOP, "", &info), WR_NO_JOB);
    wr_ledger_close(l);
}

/* What was ordered is there after it, until it is done. */
static void keeps_orders(void **state)
{
    (void)state;
    wr_ledger *l = opened(wr_env_real());
    submit(l, 1, "job");
    attempt(l, 1, 4);
    const wr_ledger_job *j = wr_ledger_find(l, 1);
    assert_true(j->first == 4 && j->attempt_wall_ms > 1500000000000 && j->restarting == 0 && j->target[0] == 0);
    size_t n = next_spec_bytes();
    assert_int_equal(wr_ledger_restart(l, 1, next_spec, n, NULL), WR_OK);
    same_when_opened_again(&l);
    j = wr_ledger_find(l, 1);
    assert_true(j->restarting == 4 && j->next_spec_bytes == n && memcmp(j->next_spec, next_spec, n) == 0);
    const wr_job_spec wide = spec_of("job", 9, "a graph that is to be");
    assert_int_equal(wr_ledger_respec(l, 1, &wide, NULL), WR_OK); /* now it is that */
    assert_true(wr_ledger_find(l, 1)->restarting == 4 && wr_ledger_find(l, 1)->next_spec == NULL);
    same_when_opened_again(&l);
    attempt(l, 1, 5);
    assert_true(wr_ledger_find(l, 1)->restarting == 0 && wr_ledger_find(l, 1)->first == 4);
    assert_int_equal(wr_ledger_restart(l, 1, NULL, 0, NULL), WR_OK); /* as it was */
    same_when_opened_again(&l);
    assert_true(wr_ledger_find(l, 1)->restarting == 5 && wr_ledger_find(l, 1)->next_spec == NULL);
    failed(l, 1, 6); /* the next one could not be made */
    assert_int_equal(wr_ledger_find(l, 1)->restarting, 0);
    same_when_opened_again(&l);
    wr_ledger_close(l);
}

static void keeps_drained_taskmanagers(void **state)
{
    (void)state;
    wr_env env = *wr_env_real();
    env.fsync = no_sync;
    wr_ledger *l = opened(&env);
    assert_int_equal(wr_ledger_drain(l, 7, true, NULL), WR_OK);
    assert_int_equal(wr_ledger_drain(l, 8, true, NULL), WR_OK);
    assert_int_equal(wr_ledger_drain(l, 8, true, NULL), WR_OK);
    same_when_opened_again(&l);
    assert_true(wr_ledger_drained(l, 7) && wr_ledger_drained(l, 8) && !wr_ledger_drained(l, 9));
    assert_int_equal(wr_ledger_drain(l, 7, false, NULL), WR_OK);
    assert_int_equal(wr_ledger_drain(l, 9, false, NULL), WR_OK);
    same_when_opened_again(&l);
    assert_true(!wr_ledger_drained(l, 7) && wr_ledger_drained(l, 8));
    for (uint64_t tm = 100; tm < 100 + WR_TMS_MAX; tm++) assert_int_equal(wr_ledger_drain(l, tm, true, NULL), WR_OK);
    assert_true(!wr_ledger_drained(l, 8) && wr_ledger_drained(l, 100)); /* the oldest had to go */
    same_when_opened_again(&l);
    assert_true(wr_ledger_drained(l, 100) && wr_ledger_drained(l, 99 + WR_TMS_MAX));
    wr_ledger_close(l);
}

/* Of more failures than are told, the restart strategy knows number and times all the same. */
static void keeps_what_restarting_needs(void **state)
{
    (void)state;
    wr_ledger *l = opened(wr_env_real());
    submit(l, 1, "job");
    for (uint32_t i = 1; i <= WR_RESTART_RATE_MAX + 9; i++) {
        failed(l, 1, i);
        if (i % 13 == 0) same_when_opened_again(&l);
    }
    same_when_opened_again(&l);
    const wr_ledger_job *j = wr_ledger_find(l, 1);
    assert_true(j->count == WR_RESTART_RATE_MAX + 109 && j->delay_ms == 1000 * (WR_RESTART_RATE_MAX + 9));
    assert_int_equal(j->failed_times, WR_RESTART_RATE_MAX);
    assert_true(j->failed_wall_ms[0] == 5 + 10 &&
                j->failed_wall_ms[WR_RESTART_RATE_MAX - 1] == 5 + 9 + WR_RESTART_RATE_MAX);
    wr_ledger_close(l);
}

static void remembers_the_newest_failures(void **state)
{
    (void)state;
    wr_ledger *l = opened(wr_env_real());
    submit(l, 1, "job");
    for (uint32_t i = 1; i <= WR_FAILURES_KEPT + 5; i++) failed(l, 1, i);
    const wr_ledger_job *j = wr_ledger_find(l, 1);
    assert_int_equal(j->failures, WR_FAILURES_KEPT);
    assert_int_equal(j->failure[0].attempt, 6);
    assert_int_equal(j->failure[j->failures - 1].attempt, WR_FAILURES_KEPT + 5);
    same_when_opened_again(&l);
    wr_ledger_close(l);
}

/* Attempts by order are told from those after failures, whatever was said when the file was written anew. */
static void counts_planned(void **state)
{
    (void)state;
    wr_ledger *l = opened(wr_env_real());
    submit(l, 1, "job");
    attempt(l, 1, 4);
    assert_int_equal(wr_ledger_restart(l, 1, NULL, 0, NULL), WR_OK);
    attempt(l, 1, 5);
    assert_int_equal(wr_ledger_find(l, 1)->planned, 1);
    failed(l, 1, 5);
    attempt(l, 1, 6);
    assert_int_equal(wr_ledger_find(l, 1)->planned, 1);
    same_when_opened_again(&l);
    assert_int_equal(wr_ledger_restart(l, 1, NULL, 0, NULL), WR_OK);
    failed(l, 1, 7); /* that which followed the order could not be made */
    assert_int_equal(wr_ledger_find(l, 1)->planned, 2);
    attempt(l, 1, 9); /* rescaled while 8 waited for slots */
    assert_int_equal(wr_ledger_find(l, 1)->planned, 3);
    same_when_opened_again(&l);
    same_when_opened_again(&l);
    wr_ledger_close(l);
}

/* Who ended first is forgotten first, however old it is. */
static void forgets_what_ended(void **state)
{
    (void)state;
    enum { MORE = 7 };
    wr_env env = *wr_env_real();
    env.fsync = no_sync;
    wr_ledger *l = opened(&env);
    for (uint64_t id = 1; id <= WR_JOBS_ENDED_KEPT + MORE; id++) submit(l, id, "job");
    for (uint64_t id = WR_JOBS_ENDED_KEPT + MORE; id > 0; id--) {
        end(l, id, WR_JOB_FINISHED);
        if (id % 20 == 0) same_when_opened_again(&l);
    }
    assert_null(wr_ledger_find(l, WR_JOBS_ENDED_KEPT + 1));
    assert_non_null(wr_ledger_find(l, WR_JOBS_ENDED_KEPT));
    assert_true(wr_ledger_job_at(l, 0)->id == 1 && wr_ledger_job_at(l, WR_JOBS_ENDED_KEPT) == NULL);
    same_when_opened_again(&l);
    wr_ledger_close(l);
}

static void has_bounds(void **state)
{
    (void)state;
    wr_errinfo        info = {0};
    const wr_job_spec spec = spec_of("job", 1, "g"), wrong = spec_of("", 1, "g");
    wr_env            env = *wr_env_real();
    env.fsync = no_sync;
    wr_ledger *l = opened(&env);
    assert_int_not_equal(wr_ledger_submit(l, 5, 0, &wrong, &info), WR_OK); /* never written what cannot be read */
    assert_null(wr_ledger_find(l, 5));
    for (uint64_t id = 1; id <= WR_JOBS_MAX; id++) assert_int_equal(wr_ledger_submit(l, id, 0, &spec, NULL), WR_OK);
    info = (wr_errinfo){0};
    assert_int_equal(wr_ledger_submit(l, WR_JOBS_MAX + 1, 0, &spec, &info), WR_LIMIT);
    for (uint64_t id = 1; id <= WR_JOBS_ENDED_KEPT; id++) end(l, id, WR_JOB_FINISHED);
    for (uint64_t id = 1; id <= WR_JOBS_ENDED_KEPT; id++)
        assert_int_equal(wr_ledger_submit(l, WR_JOBS_MAX + id, 0, &spec, NULL), WR_OK);
    uint64_t n = 0;
    while (wr_ledger_job_at(l, (uint32_t)n) != NULL) n++;
    assert_int_equal(n, WR_JOBS_MAX + WR_JOBS_ENDED_KEPT);
    wr_ledger_close(l);
    l = opened(wr_env_real()); /* as many as can be, read back */
    assert_non_null(wr_ledger_job_at(l, WR_JOBS_MAX + WR_JOBS_ENDED_KEPT - 1));
    wr_ledger_close(l);
}

static void one_at_a_time(void **state)
{
    (void)state;
    wr_errinfo info = {0};
    wr_ledger *other, *l = opened(wr_env_real());
    char       pid[32];
    assert_int_equal(wr_ledger_open(&other, wr_env_real(), folder, &info), WR_BUSY);
    snprintf(pid, sizeof pid, "process %d", (int)getpid());
    assert_non_null(strstr(info.text, pid));
    wr_ledger_close(l);
    l = opened(wr_env_real());
    assert_true(wr_ledger_leader(l) == 2); /* who was refused has changed nothing */
    wr_ledger_close(l);
}

static void is_compacted(void **state)
{
    (void)state;
    uint64_t bytes, base, most = 0;
    uint32_t rewritten = 0;
    wr_env   env = *wr_env_real();
    env.fsync = no_sync;
    wr_ledger *l = opened(&env);
    char      *graph = calloc(1, 20001);
    memset(graph, 'g', 20000);
    submit(l, 1, "job");
    wr_ledger_size(l, &bytes, &base);
    for (uint32_t i = 1; i <= 300; i++) {
        uint64_t          old = bytes;
        const wr_job_spec spec = spec_of("job", i, graph);
        assert_int_equal(wr_ledger_respec(l, 1, &spec, NULL), WR_OK);
        wr_ledger_size(l, &bytes, &base);
        if (bytes > most) most = bytes;
        rewritten += bytes < old;
    }
    assert_true(most < WR_LEDGER_SLACK_BYTES + 100000 && rewritten > 3 && rewritten < 10);
    assert_int_equal(wr_ledger_find(l, 1)->spec.parallelism, 300);
    same_when_opened_again(&l);
    wr_ledger_close(l);
    free(graph);
}

/* ---- random changes, opened again and again ---- */

static void random_change(wr_ledger *l, wr_prng *random, uint64_t *ids)
{
    uint64_t             id = 1 + wr_prng_below(random, *ids + 1), what = wr_prng_below(random, 12);
    const wr_ledger_job *j = wr_ledger_find(l, id);
    if (what < 2 || j == NULL) {
        submit(l, ++*ids, "random");
    } else if (j->state != 0) {
        return;
    } else if (what < 6) {
        attempt(l, id, j->attempt + 1);
    } else if (what < 8) {
        failed(l, id, j->attempt);
    } else if (what < 9) {
        const wr_job_spec spec = spec_of("changed", (uint32_t)wr_prng_below(random, 100), "other graph");
        assert_int_equal(wr_ledger_respec(l, id, &spec, NULL), WR_OK);
    } else if (what < 10 && j->attempt > 0 && wr_prng_below(random, 2) == 0) {
        size_t n = wr_prng_below(random, 2) == 0 ? 0 : next_spec_bytes();
        assert_int_equal(wr_ledger_restart(l, id, next_spec, n, NULL), WR_OK);
        assert_int_equal(wr_ledger_drain(l, 1 + wr_prng_below(random, 5), wr_prng_below(random, 2) == 0, NULL), WR_OK);
    } else if (what < 10) {
        assert_int_equal(wr_ledger_stopping(l, id, (uint32_t)wr_prng_below(random, 4), "/somewhere", NULL), WR_OK);
    } else {
        end(l, id, WR_JOB_FAILED + (uint32_t)wr_prng_below(random, 3));
    }
}

static void random_changes(void **state)
{
    (void)state;
    wr_prng    random = wr_prng_of(1);
    uint64_t   ids = 0;
    wr_ledger *l = opened(wr_env_real());
    for (uint32_t n = 0; n < 60; n++) {
        for (uint64_t i = wr_prng_below(&random, 20); i > 0; i--) random_change(l, &random, &ids);
        same_when_opened_again(&l);
    }
    wr_ledger_close(l);
    assert_true(ids > 60);
}

/* ---- crashes, errors, damage ---- */

/* The record that was written last is cut off anywhere, as a crash does it: what was before it counts. */
static void torn(void **state)
{
    (void)state;
    size_t     old = 0, n = 0;
    wr_ledger *l = opened(wr_env_real());
    submit(l, 1, "job");
    attempt(l, 1, 1);
    all_of(&before, l);
    free(get_file("ledger", &old));
    failed(l, 1, 1);
    wr_ledger_close(l);
    char *bytes = get_file("ledger", &n);
    assert_true(n > old);
    wr_log_setup(2, WR_LOG_ERROR, NULL);
    for (size_t cut = old; cut < n; cut++) {
        for (int zeros = 0; zeros < 2; zeros++) { /* the file's length may be durable before its bytes */
            char *part = calloc(1, n);
            memcpy(part, bytes, cut);
            put_file("ledger", part, zeros ? n : cut);
            free(part);
            l = opened(wr_env_real());
            assert_true(wr_ledger_leader(l) == 2);
            assert_string_equal(all_of(&after, l), before.at);
            wr_ledger_close(l);
        }
    }
    free(bytes);
}

/* Each step fails once, or from then on. What was said to be durable is there when it is opened again; what was not
 * may be, as a whole; and no leader comes twice. */
static void errors(void **state)
{
    (void)state;
    wr_log_setup(2, WR_LOG_ERROR, NULL);
    uint32_t reached = 0;
    for (uint32_t sticky = 0; sticky < 2; sticky++) {
        for (uint32_t at = 1;; at++) {
            broken     b;
            wr_ledger *l;
            wr_errinfo info = {0};
            uint64_t   leader = 0;
            uint32_t   told = 0;
            broken_init(&b);
            b.fail_at = at;
            b.fails = sticky ? UINT32_MAX : 1;
            b.error = at % 2 ? EIO : ENOSPC;
            bool submitted = false;
            if (wr_ledger_open(&l, &b.env, folder, &info) == WR_OK) {
                const wr_job_spec spec = spec_of("job", 2, "graph");
                leader = wr_ledger_leader(l);
                submitted = wr_ledger_submit(l, 1, 1, &spec, &info) == WR_OK;
                assert_int_equal(submitted, wr_ledger_find(l, 1) != NULL);
                for (uint32_t i = 1; i <= 5 && submitted; i++) {
                    const uint64_t place[] = {i};
                    uint8_t        secret[WR_MAC_BYTES] = {0};
                    if (wr_ledger_attempt(l, 1, i, place, 1, secret, &info) == WR_OK) told = i;
                    assert_int_equal(wr_ledger_find(l, 1)->attempt, told);
                }
                if (!sticky && submitted) assert_true(told >= 4); /* one error, and the next one goes well */
                wr_ledger_close(l);
            } else {
                assert_true(info.text[0] != 0);
            }
            bool done = b.steps < at;
            l = opened(wr_env_real());
            const wr_ledger_job *j = wr_ledger_find(l, 1);
            assert_true(wr_ledger_leader(l) > leader);
            if (submitted) assert_true(j != NULL && j->attempt >= told && j->attempt <= told + 1 && j->places <= 1);
            wr_ledger_close(l);
            wr_env_real()->list(NULL, folder, folder_remove, folder);
            rmdir(folder);
            if (done) break;
            reached = at;
        }
    }
    assert_true(reached > 10);
}

static int failing_sync(void *self, int file)
{
    (void)self;
    (void)file;
    return -EIO;
}

/* Written and not synced: the caller was told no, so the next JobManager must not find it. */
static void what_was_refused_is_gone(void **state)
{
    (void)state;
    wr_log_setup(2, WR_LOG_ERROR, NULL);
    wr_env            env = *wr_env_real();
    wr_errinfo        info = {0};
    const wr_job_spec spec = spec_of("job", 2, "graph");
    const uint64_t    place[] = {7};
    uint8_t           secret[WR_MAC_BYTES] = {0};
    wr_ledger        *l = opened(&env);
    assert_int_equal(wr_ledger_submit(l, 1, 1, &spec, &info), WR_OK);
    env.fsync = failing_sync;
    assert_int_equal(wr_ledger_attempt(l, 1, 1, place, 1, secret, &info), WR_IO);
    wr_ledger_close(l);
    l = opened(wr_env_real());
    assert_int_equal(wr_ledger_find(l, 1)->attempt, 0);
    wr_ledger_close(l);
}

static void no_job(void *arg, const wr_ledger_job *job)
{
    (void)job;
    if (arg != NULL) ++*(uint32_t *)arg;
}

static int64_t fixed_wall(void *self)
{
    (void)self;
    return INT64_C(1767225600123) * 1000000;
}

static void is_golden(const char *path, const char *all)
{
    wr_errinfo info = {0};
    size_t     n = 0, good = 0;
    uint64_t   leader = 0;
    char      *bytes = sample_file(path, &n);
    assert_non_null(bytes);
    after.n = 0;
    if (wr_ledger_parse(bytes, n, path, &leader, &good, put_job, &after, &info) != WR_OK) fail_msg("%s", info.text);
    assert_true(good == n && leader == 2);
    assert_string_equal(after.at, all);
    free(bytes);
}

static void golden(void **state)
{
    (void)state;
    if (getenv("WEIR_GOLDEN") != NULL) {
        wr_env env = *wr_env_real();
        env.wall_ns = fixed_wall;
        wr_ledger *l = opened(&env);
        submit(l, 0xa, "one");
        attempt(l, 0xa, 1);
        failed(l, 0xa, 1);
        assert_int_equal(wr_ledger_drain(l, 77, true, NULL), WR_OK);
        wr_ledger_close(l);
        l = opened(&env);
        const wr_job_spec wide = spec_of("one", 6, "a wider graph");
        size_t            n = next_spec_bytes();
        assert_int_equal(wr_ledger_respec(l, 0xa, &wide, NULL), WR_OK);
        attempt(l, 0xa, 2);
        assert_int_equal(wr_ledger_restart(l, 0xa, next_spec, n, NULL), WR_OK);
        assert_int_equal(wr_ledger_stopping(l, 0xa, WR_LEDGER_DRAIN, "/save/it/here", NULL), WR_OK);
        submit(l, 0xb, "two");
        end(l, 0xb, WR_JOB_FAILED);
        assert_int_equal(wr_ledger_drain(l, 77, false, NULL), WR_OK);
        wr_ledger_close(l);
        char *made = get_file("ledger", &n);
        assert_true(sample_is_golden(GOLDEN, made, n));
        free(made);
    }
    is_golden(GOLDEN,
              "job a request 1010 at 1767225600123..0 'one' p 6 graph a wider graph state 0 cause 0 '' "
              "attempt 2 stopping 2 77 78 77 secret 0202 failed 1:3 6 506 'it crashed; operator 'count'' "
              "count 101 delay 1000 times 6 first 1 began 1767225600123 to '/save/it/here' restarting 2 next 406\n"
              "job b request 1011 at 1767225600123..1767225600123 'two' p 2 graph graph state 7 cause 506 "
              "'why' attempt 0 stopping 0\n");
}

/* What a JobManager of the version before wrote, and what it did not know. */
static void golden_of_version_1(void **state)
{
    (void)state;
    is_golden(GOLDEN1, "job a request 1010 at 1767225600123..0 'one' p 6 graph a wider graph state 0 cause 0 '' "
                       "attempt 2 stopping 2 77 78 77 secret 0202 failed 1:3 5 506 'it crashed; operator 'count'' "
                       "count 1 delay 0 times 5\n"
                       "job b request 1011 at 1767225600123..1767225600123 'two' p 2 graph graph state 7 cause 506 "
                       "'why' attempt 0 stopping 0\n");
    size_t n = 0;
    char  *bytes = sample_file(GOLDEN1, &n);
    assert_non_null(bytes);
    mkdir(folder, 0700);
    put_file("ledger", bytes, n);
    free(bytes);
    wr_ledger *l = opened(wr_env_real()); /* from now on it is of ours */
    assert_true(wr_ledger_leader(l) == 3 && wr_ledger_find(l, 0xa)->stopping == WR_LEDGER_DRAIN);
    same_when_opened_again(&l);
    wr_ledger_close(l);
}

/* What is damaged is said, with the offset, or it is the last record, which is as good as never written. What was
 * renamed into place as a whole can lack nothing. */
static void every_flip_and_truncation(void **state)
{
    (void)state;
    size_t   n = 0, good = 0, last = 16;
    uint64_t leader;
    char    *bytes = sample_file(GOLDEN, &n);
    assert_non_null(bytes);
    for (size_t at = 16; at < n;) {
        uint32_t body;
        memcpy(&body, bytes + at + 4, 4);
        last = at;
        at += 16 + body;
    }
    uint32_t cut_off = 0;
    for (size_t i = 0; i < n; i++) {
        for (int bit = 0; bit < 9; bit++) {
            bool       cut = bit == 8;
            wr_errinfo info = {0};
            char      *copy = malloc(n);
            memcpy(copy, bytes, n);
            if (!cut) copy[i] ^= (char)(1 << bit);
            char  *exact = realloc(copy, cut ? (i > 0 ? i : 1) : n);
            wr_err err = wr_ledger_parse(exact, cut ? i : n, "FILE", &leader, &good, no_job, NULL, &info);
            if (cut && err == WR_OK) {
                assert_true(good <= i && leader == 2);
                cut_off++;
            } else if (err == WR_OK) {
                assert_true(i >= last && good == last);
            } else {
                assert_true(err == WR_DAMAGED);
                assert_non_null(strstr(info.text, "FILE, offset "));
                assert_true(cut || i < last);
            }
            free(exact);
        }
    }
    assert_true(cut_off > 100 && cut_off < n - 100); /* the second part only */
    free(bytes);
}

static void newer(void **state)
{
    (void)state;
    wr_errinfo info = {0};
    size_t     good;
    uint64_t   leader;
    char       head[17] = "WEIRLDGR\x03\0\0\0";
    assert_int_equal(wr_ledger_parse(head, 16, "FILE", &leader, &good, no_job, NULL, &info), WR_DAMAGED);
    uint32_t sum = (uint32_t)XXH3_64bits(head, 12);
    memcpy(head + 12, &sum, 4);
    info = (wr_errinfo){0};
    assert_int_equal(wr_ledger_parse(head, 16, "FILE", &leader, &good, no_job, NULL, &info), WR_NEWER);
    assert_non_null(strstr(info.text, "format version 3"));
    info = (wr_errinfo){0};
    assert_int_equal(wr_ledger_parse("WEIRLDGX", 8, "FILE", &leader, &good, no_job, NULL, &info), WR_DAMAGED);
}

/* The simulator's switch does what its name says: so the rule can be seen to be needed. */
static void written_late(void **state)
{
    (void)state;
    wr_ledger *l = opened(wr_env_real());
    submit(l, 1, "job");
    wr_sabotage.ledger_late = true;
    attempt(l, 1, 1);
    attempt(l, 1, 2);
    assert_int_equal(wr_ledger_find(l, 1)->attempt, 2);
    wr_sabotage.ledger_late = false;
    wr_ledger_close(l);
    l = opened(wr_env_real());
    assert_int_equal(wr_ledger_find(l, 1)->attempt, 1);
    wr_ledger_close(l);
}

#define TEST(NAME) cmocka_unit_test_setup_teardown(NAME, folder_begin, folder_end)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(keeps_everything),
        TEST(keeps_orders),
        TEST(counts_planned),
        TEST(keeps_drained_taskmanagers),
        TEST(keeps_what_restarting_needs),
        TEST(remembers_the_newest_failures),
        TEST(forgets_what_ended),
        TEST(has_bounds),
        TEST(one_at_a_time),
        TEST(is_compacted),
        TEST(random_changes),
        TEST(torn),
        TEST(errors),
        TEST(what_was_refused_is_gone),
        TEST(golden),
        TEST(golden_of_version_1),
        TEST(every_flip_and_truncation),
        TEST(newer),
        TEST(written_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
