/* The JobManager's shell: anything that may be said, in any order. The machines check themselves at each step. */
#include "base/log.h"
#include "base/prng.h"
#include "tests/unit/jobmanager/jobmanager_kit.h"

static wr_prng dice;

static uint64_t below(uint64_t n)
{
    return wr_prng_below(&dice, n);
}

static void random_request(const uint64_t *job, uint32_t jobs)
{
    static const char *const verbs[] = {"list",      "info",    "cancel", "stop",      "snapshot",    "savepoint",
                                        "snapshots", "why",     "top",    "logs",      "wait",        "graph",
                                        "drain",     "undrain", "info",   "snapshots", "taskmanagers"};
    char                     id[17], path[128];
    uint32_t                 which = (uint32_t)below(sizeof verbs / sizeof *verbs);
    if (which < 4 && which >= 2 && below(4) != 0) which = 4; /* let them live a while */
    bool       drain = which == 12 || which == 13;
    wr_message m = {.kind = WR_MSG_REQUEST, .request = 1000 + below(1000)};
    snprintf(id, sizeof id, "%016llx", (unsigned long long)(jobs > 0 ? job[below(jobs)] : 1));
    snprintf(path, sizeof path, "%s/point%u", folder, (unsigned)below(1000));
    m.ask = (wr_request){.verb = verbs[which],
                         .job = drain ? "" : id,
                         .path = drain ? "host:1" : path,
                         .json = below(2) == 0,
                         .drain = below(2) == 0,
                         .follow = below(2) == 0};
    say(CLIENT, &m);
}

static void random_rescale(const uint64_t *job, uint32_t jobs)
{
    wr_message m = submit_message("numbers", 1 + (uint32_t)below(3));
    char       id[17];
    if (jobs == 0) return;
    snprintf(id, sizeof id, "%016llx", (unsigned long long)job[below(jobs)]);
    m.request = 2000 + below(1000);
    m.ask.verb = "rescale";
    m.ask.job = id;
    say(CLIENT, &m);
}

/* What a worker might say, now or late, about an attempt that there is, was or will be. */
static void random_word(const uint64_t *job, uint32_t jobs, uint64_t tm)
{
    if (jobs == 0) return;
    uint64_t id = job[below(jobs)];
    uint32_t attempt = (uint32_t)below(8), n = 1 + (uint32_t)below(8);
    for (uint32_t i = outs; i-- > 0 && below(4) != 0;) { /* mostly what it was told to run */
        if (outbox[i].m.kind != WR_MSG_DEPLOY || outbox[i].peer != tm) continue;
        id = outbox[i].m.job;
        attempt = outbox[i].m.attempt;
        break;
    }
    switch (below(6)) {
    case 0: gone(tm, id, attempt, below(2) == 0); break;
    case 1: {
        wr_ack     ack = {.id = below(200), .subtask = (uint32_t)below(6), .attempt = attempt, .ended = below(2) == 0};
        wr_message m = {.kind = WR_MSG_ACK, .job = id, .attempt = attempt, .ack = &ack};
        const wr_message *trigger = order_of(WR_DO_TRIGGER);
        if (trigger != NULL) ack.id = trigger->order.barrier.id;
        say(tm, &m);
        break;
    }
    default: report(tm, id, attempt, 0, n, 1 + (uint32_t)below(8)); break;
    }
}

static void random_step(uint64_t *job, uint32_t *jobs)
{
    uint64_t tm = 1 + below(3);
    switch (below(12)) {
    case 0: come(tm, 1 + (uint32_t)below(3)); break;
    case 1:
        if (below(4) == 0) hang_up(tm);
        break;
    case 2: pass_ms((int64_t)below(3000)); break;
    case 3:
        if (*jobs < 4) {
            wr_message m = submit_message("numbers", 1 + (uint32_t)below(3));
            m.request = wr_prng_next(&dice);
            say(CLIENT, &m);
            job[(*jobs)++] = last(WR_MSG_REPLY, CLIENT)->reply.job;
        }
        break;
    case 4: random_request(job, *jobs); break;
    case 5: random_rescale(job, *jobs); break;
    case 6:
        beat(1, 1);
        beat(2, 1);
        beat(3, 1);
        break;
    case 7:
        if (below(20) == 0) {
            close_jm();
            open_jm();
        }
        break;
    case 8: {
        bool all[16];
        memset(all, 1, sizeof all);
        if (*jobs > 0) come_back(tm, job[below(*jobs)], 1 + (uint32_t)below(4), all, 1 + (uint32_t)below(8));
        break;
    }
    default: random_word(job, *jobs, tm);
    }
    if (outs > 400) forget_sent();
}

/* The machines check themselves at each step; here nobody is polite to them. */
static void test_anything_at_any_time(void **state)
{
    (void)state;
    uint64_t job[4] = {0};
    uint32_t jobs = 0;
    wr_log_setup(2, WR_LOG_ERROR, NULL);
    for (uint32_t seed = 1; seed <= 12; seed++) {
        dice = wr_prng_of(seed);
        jobs = 0; /* those before go on, or wait */
        for (uint32_t i = 0; i < 400; i++) random_step(job, &jobs);
    }
    assert_in_range(all_sent, 1000, UINT32_MAX); /* something happened */
    wr_log_setup(2, WR_LOG_WARN, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_anything_at_any_time, begin, finish)};
    int                     result = cmocka_run_group_tests(tests, NULL, NULL);
    free_graphs();
    return result;
}
