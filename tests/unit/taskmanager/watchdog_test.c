/* The watchdog: who moves, waits or loads is left alone; a slot that stands still ends the process. */
#include "taskmanager/watchdog.h"
#include "tests/unit/taskmanager/jobs.h"
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { HANG_MS = 1000, MS = 1000000 };

static int64_t now_ns;
static int64_t clock_of_test(void *self)
{
    (void)self;
    return now_ns;
}

/* A job without end on slots that are stepped by hand, and its watchdog. */
typedef struct world {
    jobs_run     run;
    wr_env       env;
    wr_watchdog *dog;
} world;

static void begin_waiting(world *w, bool waits)
{
    wr_errinfo info = {0};
    now_ns = 1000000 * (int64_t)MS;
    w->env = *wr_env_real();
    w->env.mono_ns = clock_of_test;
    jobs_reset(2, 2, UINT64_MAX);
    jobs_new_waiting(&w->run, &w->env, waits);
    assert_int_equal(wr_watchdog_new(&w->dog, &w->env, w->run.exec, HANG_MS, 0, &info), WR_OK);
}

static void begin(world *w)
{
    begin_waiting(w, false);
}

static void end(world *w)
{
    jobs_cancel(&w->run);
    for (int i = 0; !wr_worker_done(w->run.worker); i++) {
        for (uint32_t s = 0; s < wr_worker_slots(w->run.worker); s++) wr_worker_step(w->run.worker, s);
        if (i > 100000) fail_msg("it does not end");
    }
    wr_watchdog_free(w->dog);
    jobs_free(&w->run);
}

/* For that long; skip: a slot that stands still, UINT32_MAX: none. */
static void go(world *w, int64_t ms, uint32_t skip)
{
    for (int64_t i = 0; i < ms; i += 10) {
        now_ns += 10 * MS;
        for (uint32_t s = 0; s < wr_worker_slots(w->run.worker); s++) {
            for (int k = 0; k < 4 && s != skip; k++) wr_worker_step(w->run.worker, s);
        }
        wr_watchdog_step(w->dog, w->run.worker);
    }
}

static void who_moves_is_left_alone(void **state)
{
    (void)state;
    world w;
    begin(&w);
    go(&w, 20 * HANG_MS, UINT32_MAX);
    assert_true(jobs.seen > 1000);
    assert_true(wr_watchdog_due_ns(w.dog) > now_ns && wr_watchdog_due_ns(w.dog) <= now_ns + HANG_MS * (int64_t)MS);
    end(&w);
}

static void who_loads_is_left_alone(void **state)
{
    (void)state;
    world w;
    begin(&w);
    for (int i = 0; i < 200; i++) { /* no task has come further than its creation */
        now_ns += HANG_MS / 10 * (int64_t)MS;
        wr_watchdog_step(w.dog, w.run.worker);
    }
    end(&w);
}

static void who_stands_still_ends_the_process(void **state)
{
    (void)state;
    for (uint32_t slot = 0; slot < 2; slot++) {
        world w;
        int   status = 0;
        begin(&w);
        go(&w, HANG_MS, UINT32_MAX);
        fflush(NULL);
        pid_t child = fork();
        if (child == 0) {
            go(&w, 3 * HANG_MS, slot);
            _exit(0);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), WR_EXIT_JOB_FAILED);
        end(&w);
    }
}

/* What opens, once all have loaded, is code of the pipeline. */
static void who_stands_still_when_it_opens_ends_the_process(void **state)
{
    (void)state;
    world w;
    int   status = 0;
    begin_waiting(&w, true);
    go(&w, 20 * HANG_MS, UINT32_MAX); /* LOADED, and waits for the others: however long */
    assert_true(jobs.seen == 0);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        go(&w, 3 * HANG_MS, 1);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), WR_EXIT_JOB_FAILED);
    wr_worker_go(w.run.worker);
    go(&w, 20 * HANG_MS, UINT32_MAX);
    assert_true(jobs.seen > 1000);
    end(&w);
}

static void leave_with_7(int number)
{
    (void)number;
    _exit(7);
}

static void code_outside_of_slots_is_watched(void **state)
{
    (void)state;
    for (int off = 0; off < 2; off++) {
        int status = 0;
        fflush(NULL);
        pid_t child = fork();
        if (child == 0) {
            signal(SIGUSR1, leave_with_7);
            wr_watchdog_alone(off ? 1000000 : 1, SIGUSR1);
            if (!off)
                for (;;) pause();
            wr_watchdog_alone_off();
            wr_watchdog_alone(1000000, SIGUSR1); /* once more */
            wr_watchdog_alone_off();
            _exit(0);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), off ? 0 : 7);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_moves_is_left_alone),
        cmocka_unit_test(who_loads_is_left_alone),
        cmocka_unit_test(who_stands_still_ends_the_process),
        cmocka_unit_test(who_stands_still_when_it_opens_ends_the_process),
        cmocka_unit_test(code_outside_of_slots_is_watched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
