/* The simulated disk itself: what it must keep, what it may lose, and that it does lose it. */
#include "tests/sim/disk.h"
#include "tests/sim/sim.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static sim_clock clock_now;
static wr_env    env;
static sim_disk *disk;

static int begin(void **state)
{
    (void)state;
    clock_now = (sim_clock){.now_ns = 1, .random = wr_prng_of(1)};
    disk = sim_disk_new(7, &clock_now);
    clock_now.disk = disk;
    env = sim_env(&clock_now);
    return 0;
}
static int end(void **state)
{
    (void)state;
    sim_disk_free(disk);
    return 0;
}

static int make(const char *path, int flags)
{
    int file = env.open(env.self, path, WR_OPEN_READ_WRITE | WR_OPEN_CREATE | flags);
    assert_true(file >= 0);
    return file;
}
static void write_all(int file, const char *text, size_t n)
{
    for (size_t done = 0; done < n;) {
        int64_t one = env.write(env.self, file, text + done, n - done);
        assert_true(one > 0);
        done += (size_t)one;
    }
}
static void sync_folder(const char *path)
{
    int folder = env.open(env.self, path, WR_OPEN_READ | WR_OPEN_FOLDER);
    assert_true(folder >= 0);
    assert_int_equal(env.fsync(env.self, folder), 0);
    env.close(env.self, folder);
}
static bool there(const char *path, const char *text)
{
    const char *bytes;
    size_t      n;
    return sim_disk_content(disk, path, &bytes, &n) && n == strlen(text) && memcmp(bytes, text, n) == 0;
}
static void power(void)
{
    sim_disk_kill(disk);
    sim_disk_restart(disk, true);
}

static void files(void **state)
{
    (void)state;
    wr_file_info info;
    char         text[16];
    assert_int_equal(env.mkdir(env.self, "/d"), 0);
    assert_int_equal(env.mkdir(env.self, "/d/"), -EEXIST);
    assert_int_equal(env.mkdir(env.self, "/e/f"), -ENOENT);
    assert_int_equal(env.open(env.self, "/d/a", WR_OPEN_READ), -ENOENT);
    int file = make("/d/a", WR_OPEN_EXCLUSIVE);
    assert_int_equal(env.open(env.self, "/d/a", WR_OPEN_WRITE | WR_OPEN_CREATE | WR_OPEN_EXCLUSIVE), -EEXIST);
    write_all(file, "hello world", 11);
    assert_int_equal(env.stat(env.self, "d/./a", &info), 0);
    assert_true(info.is_file && info.bytes == 11);
    size_t got = 0;
    for (int64_t n; (n = env.pread(env.self, file, text + got, sizeof text - got, (int64_t)got)) > 0;) got += (size_t)n;
    assert_int_equal(got, 11);
    assert_int_equal(env.truncate(env.self, file, 5), 0);
    assert_int_equal(env.close(env.self, file), 0);
    assert_int_equal(env.close(env.self, file), -EBADF);
    assert_int_equal(env.rename(env.self, "/d/a", "/d/b"), 0);
    assert_true(there("/d/b", "hello"));
    assert_int_equal(env.rmdir(env.self, "/d"), -ENOTEMPTY);
    assert_int_equal(env.unlink(env.self, "/d/b"), 0);
    assert_int_equal(env.rmdir(env.self, "/d"), 0);
    uint64_t holder = 0;
    file = make("/l", 0);
    int other = make("/l", 0);
    assert_int_equal(env.lock(env.self, file, &holder), 0);
    assert_int_equal(env.lock(env.self, other, &holder), -EAGAIN);
    env.close(env.self, file);
    assert_int_equal(env.lock(env.self, other, &holder), 0);
    power();
    assert_int_equal(env.close(env.self, other), -EBADF); /* handles and locks die with the process */
}

/* What was synced, file and folder, is there after any number of power failures. */
static void synced_stays(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        char name[32], text[32];
        snprintf(name, sizeof name, "/f%d", i);
        snprintf(text, sizeof text, "content %d", i);
        int file = make(name, 0);
        write_all(file, text, strlen(text));
        assert_int_equal(env.fsync(env.self, file), 0);
        sync_folder("/");
        env.close(env.self, file);
        power();
        assert_true(there(name, text));
    }
}

/* Each way of losing happens. */
static void unsynced_goes(void **state)
{
    (void)state;
    int  kept = 0, lost = 0, torn = 0, gone = 0, whole = 0, both = 0;
    char old[4096], new[4096];
    memset(old, 'o', sizeof old);
    memset(new, 'n', sizeof new);
    for (int i = 0; i < 400; i++) {
        int file = make("/f", WR_OPEN_TRUNCATE);
        write_all(file, old, sizeof old);
        env.fsync(env.self, file);
        sync_folder("/");
        for (size_t at = 0; at < sizeof new;)
            at += (size_t)env.pwrite(env.self, file, new + at, sizeof new - at, (int64_t)at);
        int fresh = make("/g", 0);
        write_all(fresh, "x", 1);
        env.rename(env.self, "/g", "/h");
        power();
        const char *bytes;
        size_t      n;
        assert_true(sim_disk_content(disk, "/f", &bytes, &n) && n == sizeof old);
        size_t news = 0;
        for (size_t k = 0; k < n; k++) news += bytes[k] == 'n';
        kept += news == n;
        lost += news == 0;
        torn += news > 0 && news < n && news % 512 == 0;
        bool g = sim_disk_content(disk, "/g", &bytes, &n), h = sim_disk_content(disk, "/h", &bytes, &n);
        gone += !g && !h;
        whole += h && !g;
        both += g && h; /* a rename is one change */
        env.unlink(env.self, "/g");
        env.unlink(env.self, "/h");
    }
    assert_true(kept > 20 && lost > 20 && torn > 20 && gone > 20 && whole > 20 && both == 0);
    assert_true(sim_disk_stats_of(disk)->files_torn > 0 && sim_disk_stats_of(disk)->names_lost > 0);
}

static void a_killed_process_loses_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) {
        int file = make("/f", WR_OPEN_TRUNCATE);
        write_all(file, "written", 7);
        sim_disk_kill(disk);
        assert_int_equal(env.write(env.self, file, "more", 4), -EIO);
        assert_int_equal(env.unlink(env.self, "/f"), -EIO);
        sim_disk_restart(disk, false);
        assert_true(there("/f", "written"));
    }
}

static void errors(void **state)
{
    (void)state;
    int file = make("/f", 0);
    write_all(file, "one", 3);
    sim_disk_faults(disk)->sync_error = 1;
    assert_int_equal(env.fsync(env.self, file), -EIO);
    sim_disk_faults(disk)->sync_error = 0;
    assert_int_equal(env.fsync(env.self, file), 0); /* the lie: it was thrown away by the one that failed */
    sync_folder("/");
    power();
    assert_true(there("/f", ""));
    file = make("/f", 0);
    sim_disk_faults(disk)->write_error = 1;
    assert_int_equal(env.write(env.self, file, "x", 1), -EIO);
    sim_disk_faults(disk)->write_error = 0;
    sim_disk_faults(disk)->full = true;
    int64_t n = 1;
    for (int i = 0; i < 100 && n > 0; i++) n = env.write(env.self, file, "many bytes", 10);
    assert_int_equal(n, -ENOSPC);
    assert_int_equal(env.open(env.self, "/new", WR_OPEN_WRITE | WR_OPEN_CREATE), -ENOSPC);
    sim_disk_die_in(disk, 2);
    sim_disk_faults(disk)->full = false;
    assert_true(env.write(env.self, file, "x", 1) == 1);
    assert_int_equal(env.write(env.self, file, "x", 1), -EIO);
    assert_true(sim_disk_dead(disk));
    sim_disk_restart(disk, false);
}

static void background(void **state)
{
    (void)state;
    wr_io      *io;
    wr_io_done  done;
    static char bytes[64][1024];
    int         file = make("/f", 0);
    assert_int_equal(env.io_new(env.self, &io, NULL, 8), 0);
    uint32_t submitted = 0, reaped = 0, last = 0, swapped = 0;
    while (reaped < 64) {
        for (; submitted < 64; submitted++) {
            memset(bytes[submitted], 'a' + (int)submitted % 26, 1024);
            wr_io_op op = {WR_IO_WRITE, file, bytes[submitted], 1024, (int64_t)submitted * 1024, submitted};
            if (env.io_submit(env.self, io, &op) < 0) break;
        }
        if (env.io_reap(env.self, io, &done, 1) == 0) {
            clock_now.now_ns += 1000;
            continue;
        }
        assert_int_equal(done.result, 1024);
        swapped += done.tag < last;
        last = (uint32_t)done.tag;
        reaped++;
    }
    assert_true(swapped > 0); /* not in order */
    wr_io_op sync = {.kind = WR_IO_SYNC, .file = file};
    env.io_submit(env.self, io, &sync);
    while (env.io_reap(env.self, io, &done, 1) == 0) clock_now.now_ns += 1000;
    assert_int_equal(done.result, 0);
    sync_folder("/");
    wr_io_op late = {WR_IO_WRITE, file, bytes[0], 1024, 0, 1};
    env.io_submit(env.self, io, &late);
    sim_disk_kill(disk);
    env.io_free(env.self, io);
    sim_disk_restart(disk, true);
    const char *now;
    size_t      n;
    assert_true(sim_disk_content(disk, "/f", &now, &n) && n == sizeof bytes);
    for (size_t i = 1; i < 64; i++) assert_memory_equal(now + i * 1024, bytes[i], 1024);
}

static void holding(void **state)
{
    (void)state;
    int writer = make("/f", 10), reader = env.open(env.self, "/f", WR_OPEN_READ);
    int other = env.open(env.self, "/f", WR_OPEN_READ);
    assert_int_equal(env.hold(env.self, reader, false), 0);
    assert_int_equal(env.hold(env.self, reader, false), 0); /* again */
    assert_int_equal(env.hold(env.self, other, false), 0);
    assert_int_equal(env.hold(env.self, writer, true), -EAGAIN);
    env.close(env.self, reader);
    assert_int_equal(env.hold(env.self, writer, true), -EAGAIN);
    env.close(env.self, other);
    assert_int_equal(env.hold(env.self, writer, true), 0);
    reader = env.open(env.self, "/f", WR_OPEN_READ);
    assert_int_equal(env.hold(env.self, reader, false), -EAGAIN);
    sim_disk_kill(disk);
    sim_disk_restart(disk, false); /* who is dead holds nothing */
    reader = env.open(env.self, "/f", WR_OPEN_READ);
    assert_int_equal(env.hold(env.self, reader, false), 0);
    env.close(env.self, reader);
    writer = env.open(env.self, "/f", WR_OPEN_WRITE);
    other = env.open(env.self, "/f", WR_OPEN_WRITE);
    assert_int_equal(env.own(env.self, writer), 0);
    assert_int_equal(env.own(env.self, other), -EAGAIN);
    env.close(env.self, writer);
    assert_int_equal(env.own(env.self, other), 0);
    env.close(env.self, other);
    env.close(env.self, make("/g", 1));
    assert_int_equal(env.rename_new(env.self, "/f", "/g"), -EEXIST);
    assert_int_equal(env.rename_new(env.self, "/f", "/h"), 0);
    assert_int_equal(env.rename_new(env.self, "/f", "/h2"), -ENOENT);
}

int main(void)
{
#define TEST(F) cmocka_unit_test_setup_teardown(F, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(files),  TEST(synced_stays), TEST(unsynced_goes), TEST(a_killed_process_loses_nothing),
        TEST(errors), TEST(background),   TEST(holding)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
