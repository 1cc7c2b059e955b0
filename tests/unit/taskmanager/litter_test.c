/* Folders that are over: out of the way at once, removed bit by bit, however much there is and however deep. */
#include "base/limits.h"
#include "taskmanager/files.h"
#include "taskmanager/litter.h"
#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { FILES = 3000, MOST = 256 };

static wr_env   env;
static char     folder[64], work[96], away[96];
static uint32_t calls; /* of unlink and rmdir that did something */

static int counted_unlink(void *self, const char *path)
{
    int result = wr_env_real()->unlink(self, path);
    calls += result >= 0;
    return result;
}

static int remove_one(const char *path, const struct stat *about, int kind, struct FTW *where)
{
    (void)about;
    (void)kind;
    (void)where;
    return remove(path);
}

static int begin(void **state)
{
    (void)state;
    env = *wr_env_real();
    env.unlink = counted_unlink;
    snprintf(folder, sizeof folder, "/tmp/weir-litter-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(work, sizeof work, "%s/work", folder);
    snprintf(away, sizeof away, "%s/away", folder);
    assert_int_equal(mkdir(work, 0700), 0);
    return 0;
}

static int finish(void **state)
{
    (void)state;
    return nftw(folder, remove_one, 64, FTW_DEPTH | FTW_PHYS);
}

static void put_files(const char *where, uint32_t n)
{
    char path[200];
    for (uint32_t i = 0; i < n; i++) {
        snprintf(path, sizeof path, "%s/file-%u", where, i);
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        fclose(f);
    }
}

static void any_number_of_files(void **state)
{
    (void)state;
    wr_tm_litter l;
    char         deep[160];
    put_files(work, FILES);
    snprintf(deep, sizeof deep, "%s/a", work);
    mkdir(deep, 0700);
    snprintf(deep, sizeof deep, "%s/a/b", work);
    mkdir(deep, 0700);
    put_files(deep, FILES);
    snprintf(deep, sizeof deep, "%s/a/b/link", work);
    assert_int_equal(symlink("/", deep), 0); /* it goes, and not what it names */
    wr_tm_litter_init(&l, &env, away, 7);
    wr_tm_litter_put(&l, work);
    assert_int_equal(access(work, F_OK), -1); /* its place is free */
    uint32_t steps = 0;
    for (bool more = true; more; steps++) {
        calls = 0;
        more = wr_tm_litter_step(&l);
        assert_in_range(calls, 0, MOST);
        assert_in_range(steps, 0, 10000);
    }
    assert_in_range(steps, 2 * FILES / MOST, 10000);
    assert_int_equal(access(away, F_OK), -1);
    assert_int_equal(access("/tmp", F_OK), 0);
    assert_false(wr_tm_litter_step(&l));
}

/* The same name again and again, and what a former process left. */
static void one_behind_the_other(void **state)
{
    (void)state;
    wr_tm_litter l;
    wr_tm_litter_init(&l, &env, away, 7);
    wr_tm_litter_put(&l, work);
    assert_int_equal(access(away, F_OK), 0);
    wr_tm_litter_init(&l, &env, away, 8); /* killed, and started again */
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(mkdir(work, 0700), 0);
        put_files(work, 5);
        wr_tm_litter_put(&l, work);
    }
    wr_tm_litter_put(&l, work); /* is not there */
    while (wr_tm_litter_step(&l)) continue;
    assert_int_equal(access(away, F_OK), -1);
}

static int no_unlink(void *self, const char *path)
{
    return strstr(path, "file-1") != NULL ? -EACCES : wr_env_real()->unlink(self, path);
}

/* What cannot be removed stays, is tried no more than once, and keeps nothing else from going. */
static void some_that_cannot_go(void **state)
{
    (void)state;
    wr_tm_litter l;
    uint32_t     count, steps = 0;
    char         path[200];
    put_files(work, 20);
    env.unlink = no_unlink;
    wr_tm_litter_init(&l, &env, away, 7);
    wr_tm_litter_put(&l, work);
    while (wr_tm_litter_step(&l)) assert_in_range(++steps, 0, 100);
    snprintf(path, sizeof path, "%s/%016x-0", away, 7);
    free(wr_tm_folder_list(&env, path, &count));
    assert_int_equal(count, 11); /* file-1, file-10 to file-19 */
    assert_false(wr_tm_litter_step(&l));
}

#define TEST(NAME) cmocka_unit_test_setup_teardown(NAME, begin, finish)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(any_number_of_files),
        TEST(one_behind_the_other),
        TEST(some_that_cannot_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
