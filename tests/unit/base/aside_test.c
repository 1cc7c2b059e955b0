/* Storage that is slow holds up nobody: what must not wait is done meanwhile, and the result is the disk's. */
#include "base/aside.h"
#include "base/limits.h"
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATIENCE_MS = 20000 };

static wr_env           base;
static wr_aside        *aside;
static const wr_env    *env;
static _Atomic uint32_t meanwhiles;
static _Atomic bool     stuck, in_vain; /* stuck: fsync ends when something was done meanwhile */
static char             folder[64];

static int64_t since_ns; /* as it was said meanwhile */

static void meanwhile(void *self)
{
    assert_ptr_equal(self, &meanwhiles);
    since_ns = wr_aside_since_ns(aside);
    atomic_fetch_add(&meanwhiles, 1);
}

/* A disk that waits for us to do something else: on our own thread it would do so in vain. */
static int slow_fsync(void *self, int file)
{
    uint32_t before = atomic_load(&meanwhiles);
    int64_t  until = wr_env_real()->mono_ns(self) + PATIENCE_MS * INT64_C(1000000);
    while (atomic_load(&stuck) && atomic_load(&meanwhiles) < before + 3) {
        if (wr_env_real()->mono_ns(self) > until) {
            atomic_store(&in_vain, true);
            return -EIO;
        }
        sched_yield();
    }
    return wr_env_real()->fsync(self, file);
}

static int begin(void **state)
{
    (void)state;
    wr_errinfo info = {0};
    base = *wr_env_real();
    base.fsync = slow_fsync;
    atomic_store(&meanwhiles, 0);
    atomic_store(&stuck, false);
    atomic_store(&in_vain, false);
    snprintf(folder, sizeof folder, "/tmp/weir-aside-XXXXXX");
    assert_non_null(mkdtemp(folder));
    assert_int_equal(wr_aside_new(&aside, &base, meanwhile, &meanwhiles, &info), WR_OK);
    env = wr_aside_env(aside);
    return 0;
}

static int finish(void **state)
{
    (void)state;
    wr_aside_free(aside);
    return rmdir(folder);
}

static bool is_it(void *arg, const char *name)
{
    *(bool *)arg |= strcmp(name, "b") == 0;
    return true;
}

/* Every call of storage does what the one below does. */
static void what_is_asked_is_done(void **state)
{
    (void)state;
    char         a[96], b[96], sub[96], text[16] = "";
    wr_file_info about;
    bool         found = false;
    uint64_t     holder = 0;
    snprintf(a, sizeof a, "%s/a", folder);
    snprintf(b, sizeof b, "%s/b", folder);
    snprintf(sub, sizeof sub, "%s/sub", folder);
    assert_int_equal(env->open(env->self, a, WR_OPEN_READ), -ENOENT);
    int file = env->open(env->self, a, WR_OPEN_READ_WRITE | WR_OPEN_CREATE);
    assert_true(file >= 0);
    assert_int_equal(env->lock(env->self, file, &holder), 0);
    assert_int_equal(env->write(env->self, file, "hello", 5), 5);
    assert_int_equal(env->pwrite(env->self, file, "J", 1, 0), 1);
    assert_int_equal(env->fsync(env->self, file), 0);
    assert_int_equal(env->truncate(env->self, file, 4), 0);
    assert_int_equal(env->pread(env->self, file, text, sizeof text, 1), 3);
    assert_string_equal(text, "ell");
    assert_int_equal(env->close(env->self, file), 0);
    assert_int_equal(env->rename(env->self, a, b), 0);
    assert_int_equal(env->rename_new(env->self, b, b), -EEXIST);
    file = env->open(env->self, b, WR_OPEN_READ);
    assert_int_equal(env->hold(env->self, file, false), 0);
    assert_int_equal(env->read(env->self, file, text, sizeof text), 4);
    assert_memory_equal(text, "Jell", 4);
    assert_int_equal(env->close(env->self, file), 0);
    assert_int_equal(env->mkdir(env->self, sub), 0);
    assert_int_equal(env->stat(env->self, sub, &about), 0);
    assert_true(about.is_folder);
    assert_int_equal(env->list(env->self, folder, is_it, &found), 0);
    assert_true(found);
    assert_int_equal(env->rename_new(env->self, b, sub), -EEXIST);
    file = env->open(env->self, b, WR_OPEN_WRITE);
    assert_int_equal(env->own(env->self, file), 0);
    assert_int_equal(env->close(env->self, file), 0);
    file = env->open(env->self, b, WR_OPEN_READ);
    assert_int_equal(env->hold(env->self, file, false), 0);
    assert_int_equal(env->close(env->self, file), 0);
    assert_int_equal(env->rmdir(env->self, sub), 0);
    assert_int_equal(env->unlink(env->self, b), 0);
    assert_int_equal(env->unlink(env->self, b), -ENOENT);
}

static void others_go_on_while_the_disk_does_not(void **state)
{
    (void)state;
    int file = env->open(env->self, folder, WR_OPEN_READ | WR_OPEN_FOLDER);
    assert_true(file >= 0);
    atomic_store(&stuck, true);
    assert_int_equal(env->fsync(env->self, file), 0);
    assert_false(atomic_load(&in_vain));
    assert_true(atomic_load(&meanwhiles) >= 3);
    atomic_store(&stuck, false);
    assert_int_equal(env->close(env->self, file), 0);
}

static int64_t run_slowly(void *arg)
{
    uint32_t before = atomic_load(&meanwhiles);
    int64_t  until = wr_env_real()->mono_ns(NULL) + PATIENCE_MS * INT64_C(1000000);
    while (atomic_load(&meanwhiles) < before + 3)
        if (wr_env_real()->mono_ns(NULL) > until) return -1;
    return *(int64_t *)arg;
}

/* It is done in the same way, and known since when. */
static void what_is_in_no_table(void **state)
{
    (void)state;
    int64_t seven = 7, begun_ns = env->mono_ns(env->self);
    assert_int_equal(wr_aside_since_ns(aside), 0);
    since_ns = 0;
    atomic_store(&stuck, true);
    int file = env->open(env->self, folder, WR_OPEN_READ | WR_OPEN_FOLDER);
    assert_int_equal(env->fsync(env->self, file), 0);
    assert_true(since_ns >= begun_ns);
    assert_int_equal(wr_aside_run(aside, run_slowly, &seven), 7);
    assert_int_equal(wr_aside_since_ns(aside), 0);
    assert_int_equal(env->close(env->self, file), 0);
}

/* Many calls, none of which is long, are long as well. */
static void many_short_calls_are_a_long_one(void **state)
{
    (void)state;
    wr_file_info about;
    int64_t      until = env->mono_ns(env->self) + PATIENCE_MS * INT64_C(1000000);
    while (atomic_load(&meanwhiles) < 2 && env->mono_ns(env->self) < until)
        assert_int_equal(env->stat(env->self, folder, &about), 0);
    assert_true(atomic_load(&meanwhiles) >= 2);
}

static void other_thread(void *arg)
{
    wr_file_info about;
    *(int *)arg = env->stat(env->self, folder, &about);
    int file = env->open(env->self, folder, WR_OPEN_READ | WR_OPEN_FOLDER);
    if (file < 0 || env->fsync(env->self, file) != 0 || env->close(env->self, file) != 0) *(int *)arg = -1;
}

/* A thread of ours uses the same table, also while its maker waits for its end. */
static void other_threads_ask_for_themselves(void **state)
{
    (void)state;
    wr_thread *thread;
    int        got = -1;
    atomic_store(&stuck, true); /* so it ends only if what must not wait goes on during the join */
    assert_int_equal(env->thread_start(env->self, &thread, other_thread, &got, "other", -1), 0);
    env->thread_join(env->self, thread);
    assert_int_equal(got, 0);
    assert_false(atomic_load(&in_vain));
}

#define TEST(NAME) cmocka_unit_test_setup_teardown(NAME, begin, finish)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_asked_is_done),           TEST(others_go_on_while_the_disk_does_not), TEST(what_is_in_no_table),
        TEST(many_short_calls_are_a_long_one), TEST(other_threads_ask_for_themselves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
