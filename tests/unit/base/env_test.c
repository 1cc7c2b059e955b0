/* The operating system's table: clock, random, files, threads, parking. ctest: threads */
#include "base/env.h"
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const wr_env *env;

static void clocks(void **state)
{
    (void)state;
    int64_t before = env->mono_ns(env->self);
    assert_true(env->mono_ns(env->self) >= before);
    assert_true(env->wall_ns(env->self) > INT64_C(1577836800) * 1000000000); /* after 2020 */
    assert_true(env->random(env->self) != env->random(env->self));
    assert_true(env->cpu_count(env->self) >= 1);
}

static bool count_name(void *arg, const char *name)
{
    int *seen = arg;
    if (strcmp(name, "a") == 0) *seen |= 1;
    if (strcmp(name, "b") == 0) *seen |= 2;
    *seen += 4;
    return true;
}

static bool first_only(void *arg, const char *name)
{
    (void)name;
    ++*(int *)arg;
    return false;
}

/* The file `b`; `a` is a name that is not there. */
static void holding(const char *a, const char *b)
{
    int reader = env->open(env->self, b, WR_OPEN_READ), other = env->open(env->self, b, WR_OPEN_READ);
    int writer = env->open(env->self, b, WR_OPEN_WRITE);
    assert_true(reader >= 0 && other >= 0 && writer >= 0);
    assert_int_equal(env->hold(env->self, reader, false), 0);
    assert_int_equal(env->hold(env->self, other, false), 0);
    assert_int_equal(env->hold(env->self, writer, true), -EAGAIN);
    assert_int_equal(env->close(env->self, reader), 0);
    assert_int_equal(env->hold(env->self, writer, true), -EAGAIN);
    assert_int_equal(env->close(env->self, other), 0);
    assert_int_equal(env->hold(env->self, writer, true), 0);
    reader = env->open(env->self, b, WR_OPEN_READ);
    assert_int_equal(env->hold(env->self, reader, false), -EAGAIN);
    assert_int_equal(env->close(env->self, writer), 0);
    assert_int_equal(env->hold(env->self, reader, false), 0);
    assert_int_equal(env->close(env->self, reader), 0);
    assert_int_equal(link(b, a), 0); /* whoever made it counts on what the file holds */
    writer = env->open(env->self, b, WR_OPEN_WRITE);
    assert_int_equal(env->hold(env->self, writer, true), -EAGAIN);
    assert_int_equal(env->close(env->self, writer), 0);
    assert_int_equal(env->unlink(env->self, a), 0);
    writer = env->open(env->self, b, WR_OPEN_WRITE);
    assert_int_equal(env->hold(env->self, writer, true), 0);
    assert_int_equal(env->close(env->self, writer), 0);
}

/* Whatever other names it has. */
static void owning(void **state)
{
    (void)state;
    char         folder[] = "/tmp/weir-env-XXXXXX", a[64], b[64];
    wr_file_info one, two;
    assert_non_null(mkdtemp(folder));
    snprintf(a, sizeof a, "%s/a", folder);
    snprintf(b, sizeof b, "%s/b", folder);
    int first = env->open(env->self, a, WR_OPEN_WRITE | WR_OPEN_CREATE);
    assert_int_equal(link(a, b), 0);
    assert_int_equal(env->stat(env->self, a, &one), 0);
    assert_int_equal(env->stat(env->self, b, &two), 0);
    assert_true(one.inode != 0 && one.inode == two.inode && one.device == two.device);
    int second = env->open(env->self, b, WR_OPEN_WRITE), third = env->open(env->self, b, WR_OPEN_READ);
    assert_int_equal(env->own(env->self, first), 0);
    assert_int_equal(env->own(env->self, first), 0);
    assert_int_equal(env->own(env->self, second), -EAGAIN);
    assert_int_equal(env->hold(env->self, third, false), -EAGAIN);
    assert_int_equal(env->close(env->self, first), 0);
    assert_int_equal(env->own(env->self, second), 0);
    assert_int_equal(env->close(env->self, second), 0);
    assert_int_equal(env->close(env->self, third), 0);
    assert_int_equal(env->unlink(env->self, a), 0);
    assert_int_equal(env->unlink(env->self, b), 0);
    assert_int_equal(env->rmdir(env->self, folder), 0);
}

/* With folders in it it has more than one name, as file systems count. */
static void holding_a_folder(void **state)
{
    (void)state;
    char folder[] = "/tmp/weir-env-XXXXXX", below[64];
    assert_non_null(mkdtemp(folder));
    snprintf(below, sizeof below, "%s/below", folder);
    assert_int_equal(env->mkdir(env->self, below), 0);
    int one = env->open(env->self, folder, WR_OPEN_READ | WR_OPEN_FOLDER);
    int two = env->open(env->self, folder, WR_OPEN_READ | WR_OPEN_FOLDER);
    assert_int_equal(env->hold(env->self, one, true), 0);
    assert_int_equal(env->hold(env->self, two, true), -EAGAIN);
    assert_int_equal(env->close(env->self, one), 0);
    assert_int_equal(env->hold(env->self, two, true), 0);
    assert_int_equal(env->close(env->self, two), 0);
    assert_int_equal(env->rmdir(env->self, below), 0);
    assert_int_equal(env->rmdir(env->self, folder), 0);
}

static void files(void **state)
{
    (void)state;
    char folder[] = "/tmp/weir-env-XXXXXX", a[64], b[64], text[16];
    assert_non_null(mkdtemp(folder));
    snprintf(a, sizeof a, "%s/a", folder);
    snprintf(b, sizeof b, "%s/b", folder);
    assert_int_equal(env->open(env->self, a, WR_OPEN_READ), -ENOENT);
    int file = env->open(env->self, a, WR_OPEN_READ_WRITE | WR_OPEN_CREATE | WR_OPEN_EXCLUSIVE);
    assert_true(file >= 0);
    assert_int_equal(env->open(env->self, a, WR_OPEN_WRITE | WR_OPEN_CREATE | WR_OPEN_EXCLUSIVE), -EEXIST);
    assert_int_equal(env->write(env->self, file, "hello ", 6), 6);
    assert_int_equal(env->pwrite(env->self, file, "world", 5, 6), 5);
    assert_int_equal(env->pread(env->self, file, text, sizeof text, 0), 11);
    assert_memory_equal(text, "hello world", 11);
    assert_int_equal(env->fsync(env->self, file), 0);
    assert_int_equal(env->truncate(env->self, file, 5), 0);
    assert_int_equal(env->read(env->self, file, text, sizeof text), 0); /* behind the end */
    assert_int_equal(env->close(env->self, file), 0);
    wr_file_info info;
    assert_int_equal(env->stat(env->self, a, &info), 0);
    assert_true(info.is_file && !info.is_folder && info.bytes == 5 && info.changed_ns > 0);
    assert_int_equal(env->rename(env->self, a, b), 0);
    assert_int_equal(env->stat(env->self, a, &info), -ENOENT);
    holding(a, b);
    assert_int_equal(env->rename_new(env->self, b, b), -EEXIST);
    int got = env->rename_new(env->self, b, a);
    if (got != -EINVAL) { /* else this file system cannot */
        assert_int_equal(got, 0);
        assert_int_equal(env->rename_new(env->self, b, a), -ENOENT);
        file = env->open(env->self, b, WR_OPEN_WRITE | WR_OPEN_CREATE);
        assert_int_equal(env->close(env->self, file), 0);
        assert_int_equal(env->rename_new(env->self, a, b), -EEXIST);
        assert_int_equal(env->stat(env->self, b, &info), 0);
        assert_int_equal(info.bytes, 0);
        assert_int_equal(env->rename(env->self, a, b), 0);
    }
    assert_int_equal(env->mkdir(env->self, a), 0);
    assert_int_equal(env->mkdir(env->self, a), -EEXIST);
    int seen = 0, calls = 0;
    assert_int_equal(env->list(env->self, folder, count_name, &seen), 0);
    assert_int_equal(seen, 4 * 2 + 3);
    assert_int_equal(env->list(env->self, folder, first_only, &calls), 0);
    assert_int_equal(calls, 1);
    assert_int_equal(env->list(env->self, b, first_only, &calls), -ENOTDIR);
    int dir = env->open(env->self, folder, WR_OPEN_READ | WR_OPEN_FOLDER);
    assert_true(dir >= 0);
    assert_int_equal(env->fsync(env->self, dir), 0);
    assert_int_equal(env->close(env->self, dir), 0);
    assert_int_equal(env->rmdir(env->self, a), 0);
    assert_int_equal(env->unlink(env->self, b), 0);
    assert_int_equal(env->rmdir(env->self, folder), 0);
}

static void set_flag(void *arg)
{
    *(int *)arg = 7;
}

static void threads(void **state)
{
    (void)state;
    wr_thread *thread[2];
    int        flag[2] = {0};
    assert_int_equal(env->thread_start(env->self, &thread[0], set_flag, &flag[0], "a-name-that-is-too-long", -1), 0);
    assert_int_equal(env->thread_start(env->self, &thread[1], set_flag, &flag[1], "pinned", 0), 0);
    for (int i = 0; i < 2; i++) env->thread_join(env->self, thread[i]);
    assert_int_equal(flag[0] + flag[1], 14);
}

static void who_am_i(void *arg)
{
    const void *first = env->thread_self(env->self);
    *(const void **)arg = first == env->thread_self(env->self) ? first : NULL;
}

static void a_thread_is_itself_and_no_other(void **state)
{
    (void)state;
    wr_thread  *thread;
    const void *other = NULL, *me = env->thread_self(env->self);
    assert_int_equal(env->thread_start(env->self, &thread, who_am_i, &other, "other", -1), 0);
    env->thread_join(env->self, thread);
    assert_non_null(other);
    assert_ptr_not_equal(other, me);
    assert_ptr_equal(env->thread_self(env->self), me);
}

static void count_cpus(void *arg)
{
    *(int *)arg = env->cpu_count(env->self);
}

static void start_another(void *arg)
{
    wr_thread *thread;
    assert_int_equal(env->thread_start(env->self, &thread, count_cpus, arg, "helper", -1), 0);
    env->thread_join(env->self, thread);
}

/* Slots are pinned, and start helpers. */
static void helpers_are_not_where_who_starts_them_is(void **state)
{
    (void)state;
    wr_thread *thread;
    int        cpus = 0;
    assert_int_equal(env->thread_start(env->self, &thread, start_another, &cpus, "pinned", 0), 0);
    env->thread_join(env->self, thread);
    assert_int_equal(cpus, env->cpu_count(env->self));
}

static int helpers_cpus(void)
{
    int cpus = 0;
    start_another(&cpus);
    return cpus;
}

static void helpers_keep_off_pinned_cpus(void **state)
{
    (void)state;
    cpu_set_t all;
    int       mine[CPU_SETSIZE], n = 0;
    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &all)) mine[n++] = cpu;
    wr_env_keep_off(mine, 1);
    assert_int_equal(helpers_cpus(), n > 1 ? n - 1 : n);
    wr_env_keep_off(mine, (uint32_t)n); /* there is none left: they must be somewhere */
    assert_int_equal(helpers_cpus(), n);
    wr_env_keep_off(mine, 0);
    assert_int_equal(helpers_cpus(), n);
}

static void parking(void **state)
{
    (void)state;
    wr_parker parker;
    assert_int_equal(env->parker_init(env->self, &parker), 0);
    wr_parker_prepare(&parker);
    int64_t before = env->mono_ns(env->self);
    env->park(env->self, &parker, 2000000); /* nobody wakes: at least the time */
    assert_true(env->mono_ns(env->self) - before >= 2000000);
    assert_int_equal(atomic_load(&parker.state), WR_PARKER_AWAKE);
    wr_parker_wake(env, &parker); /* awake: nothing happens, nothing is left behind */
    wr_parker_prepare(&parker);
    wr_parker_wake(env, &parker); /* between prepare and park: park returns at once */
    env->park(env->self, &parker, -1);
    env->parker_fini(env->self, &parker);
}

int main(void)
{
    env = wr_env_real();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clocks),
        cmocka_unit_test(holding_a_folder),
        cmocka_unit_test(owning),
        cmocka_unit_test(files),
        cmocka_unit_test(threads),
        cmocka_unit_test(a_thread_is_itself_and_no_other),
        cmocka_unit_test(helpers_are_not_where_who_starts_them_is),
        cmocka_unit_test(helpers_keep_off_pinned_cpus),
        cmocka_unit_test(parking),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
