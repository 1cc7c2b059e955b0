/* Simulated threads, and the helper of storage on them: what runs when, and that a seed says all of it. */
#include "base/aside.h"
#include "tests/sim/host.h"
#include "tests/sim/net.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { WORDS = 64 };

static sim_clock now;
static sim_net  *net;
static sim_host  host;
static char      said[4096]; /* who did what, in its order */

static void say(const char *what)
{
    size_t n = strlen(said);
    assert_true(n + strlen(what) + 2 < sizeof said);
    snprintf(said + n, sizeof said - n, "%s ", what);
}

static void begin_with(uint64_t seed)
{
    now = (sim_clock){.now_ns = 1, .tick_ns = 100, .random = wr_prng_of(seed)};
    now.disk = sim_disk_new(seed, &now);
    net = sim_net_new(seed, &now);
    sim_host_init(&host, &now, net, 0, seed);
    host.threaded = true;
    said[0] = 0;
}
static void end_all(void)
{
    sim_net_free(net);
    sim_disk_free(now.disk);
}
static int begin(void **state)
{
    (void)state;
    begin_with(3);
    return 0;
}
static int end(void **state)
{
    (void)state;
    end_all();
    return 0;
}

static const wr_env *env(void)
{
    return &host.env;
}
static wr_thread *start(void (*run)(void *arg), void *arg)
{
    wr_thread *thread = NULL;
    assert_int_equal(env()->thread_start(env()->self, &thread, run, arg, "a thread", -1), 0);
    return thread;
}
static bool turn(enum sim_which which)
{
    return sim_threads_step(&host.threads, which);
}
static void join(wr_thread *thread)
{
    env()->thread_join(env()->self, thread);
}

/* ---- threads ---- */

static void three_words(void *arg)
{
    for (int i = 0; i < 3; i++) {
        say(arg);
        sim_thread_yield();
    }
}

static void they_go_on_when_they_are_stepped(void **state)
{
    (void)state;
    wr_thread *a = start(three_words, "a");
    assert_string_equal(said, "");
    assert_true(turn(SIM_UNDER_WAY));
    assert_string_equal(said, "a ");
    assert_null(sim_thread_running());
    while (turn(SIM_UNDER_WAY)) continue;
    assert_string_equal(said, "a a a ");
    assert_true(sim_threads_due_ns(&host.threads, SIM_ANY) == INT64_MAX);
    join(a);
}

static void order_of(uint64_t seed, char text[WORDS])
{
    begin_with(seed);
    wr_thread *a = start(three_words, "a"), *b = start(three_words, "b");
    join(a);
    join(b);
    assert_true(strlen(said) < WORDS);
    memcpy(text, said, strlen(said) + 1);
    end_all();
}

static void a_seed_says_their_order(void **state)
{
    (void)state;
    char     first[WORDS], text[WORDS];
    uint32_t others = 0;
    order_of(1, first);
    for (uint64_t seed = 1; seed <= 20; seed++) {
        char again[WORDS];
        order_of(seed, text);
        order_of(seed, again);
        assert_string_equal(text, again);
        others += strcmp(text, first) != 0;
    }
    assert_true(others > 0);
}

static wr_parker parker;

static void park_twice(void *arg)
{
    wr_parker_prepare(&parker);
    env()->park(env()->self, &parker, -1);
    say("woken");
    wr_parker_prepare(&parker);
    env()->park(env()->self, &parker, *(const int64_t *)arg);
    say("late");
}

static void who_is_parked_is_woken_or_late(void **state)
{
    (void)state;
    int64_t    timeout = 1000000;
    wr_thread *t = start(park_twice, &timeout);
    assert_true(turn(SIM_UNDER_WAY));
    assert_false(turn(SIM_ANY)); /* nobody wakes it, and no time will */
    assert_true(sim_threads_due_ns(&host.threads, SIM_UNDER_WAY) == INT64_MAX);
    wr_parker_wake(env(), &parker);
    assert_true(turn(SIM_UNDER_WAY));
    assert_string_equal(said, "woken ");
    int64_t due = sim_threads_due_ns(&host.threads, SIM_UNDER_WAY);
    assert_true(due > now.now_ns && due <= now.now_ns + timeout);
    assert_false(turn(SIM_UNDER_WAY));
    now.now_ns = due;
    assert_true(turn(SIM_UNDER_WAY));
    assert_string_equal(said, "woken late ");
    join(t);
}

static void make_a(void *arg)
{
    say("asks");
    *(int *)arg = env()->mkdir(env()->self, "/a");
    say("has");
}

/* What the system was asked for it does for a process that is stopped, too; the process learns of it later. */
static void a_call_ends_though_its_process_is_stopped(void **state)
{
    (void)state;
    int        got = 1;
    wr_thread *t = start(make_a, &got);
    assert_false(turn(SIM_CALLS)); /* it has not asked yet */
    assert_true(turn(SIM_UNDER_WAY));
    assert_false(sim_disk_is_folder(now.disk, "/a"));
    now.now_ns = sim_threads_due_ns(&host.threads, SIM_CALLS);
    assert_true(turn(SIM_CALLS));
    assert_true(sim_disk_is_folder(now.disk, "/a"));
    assert_false(turn(SIM_CALLS));
    assert_string_equal(said, "asks ");
    assert_true(turn(SIM_UNDER_WAY));
    assert_string_equal(said, "asks has ");
    assert_int_equal(got, 0);
    join(t);
}

/* Who is killed in a call: it is done or it is not. What comes behind it is not. */
static void what_is_under_way_at_the_end_is_anybodys_guess(void **state)
{
    (void)state;
    uint32_t done = 0, seeds = 40;
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        int got = 1;
        end_all();
        begin_with(seed);
        wr_thread *a = start(make_a, &got);
        assert_true(turn(SIM_UNDER_WAY));
        sim_host_kill(&host);
        join(a);
        done += sim_disk_is_folder(now.disk, "/a");
        assert_int_equal(env()->mkdir(env()->self, "/b"), -EIO);
    }
    assert_true(done > 0 && done < seeds);
}

/* ---- the helper of storage ---- */

static uint32_t meanwhiles;

static void meanwhile(void *self)
{
    assert_null(self);
    meanwhiles++;
}

static void use_storage(void *arg)
{
    wr_errinfo info = {0};
    wr_aside  *aside;
    int        folders = 0;
    (void)arg;
    assert_int_equal(wr_aside_new(&aside, env(), meanwhile, NULL, &info), WR_OK);
    const wr_env *e = wr_aside_env(aside);
    for (char path[16]; folders < 200; folders++) {
        snprintf(path, sizeof path, "/%d", folders);
        int got = e->mkdir(e->self, path);
        assert_true(got == 0 || (host.dead && got == -EIO)); /* the last one may have been done */
        if (got == 0) assert_true(sim_disk_is_folder(now.disk, path));
    }
    wr_aside_free(aside);
    say("ends");
}

static void to_the_end(void)
{
    while (!turn(SIM_UNDER_WAY)) now.now_ns = sim_threads_due_ns(&host.threads, SIM_UNDER_WAY);
}

static void storage_is_used_aside(void **state)
{
    uint64_t turns[2];
    int64_t  ended_ns[2];
    for (int i = 0; i < 2; i++) {
        meanwhiles = 0;
        wr_thread *t = start(use_storage, NULL);
        while (strcmp(said, "ends ") != 0) to_the_end();
        join(t);
        assert_true(meanwhiles > 0);
        assert_true(host.calls == 200);
        turns[i] = host.threads.turns;
        ended_ns[i] = now.now_ns;
        if (i == 0) {
            end_all();
            begin(state);
        }
    }
    assert_true(turns[0] == turns[1] && ended_ns[0] == ended_ns[1]);
}

/* Wherever its process is killed, both come to their ends. */
static void it_ends_wherever_it_is_killed(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        end_all();
        begin_with(seed);
        wr_thread *t = start(use_storage, NULL);
        for (uint64_t i = 0; i < seed * 7; i++) to_the_end();
        sim_host_kill(&host);
        join(t);
        assert_string_equal(said, "ends ");
        assert_null(host.threads.first);
    }
}

#define TEST(NAME) cmocka_unit_test_setup_teardown(NAME, begin, end)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(they_go_on_when_they_are_stepped),
        cmocka_unit_test(a_seed_says_their_order),
        TEST(who_is_parked_is_woken_or_late),
        TEST(a_call_ends_though_its_process_is_stopped),
        TEST(what_is_under_way_at_the_end_is_anybodys_guess),
        TEST(storage_is_used_aside),
        TEST(it_ends_wherever_it_is_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
