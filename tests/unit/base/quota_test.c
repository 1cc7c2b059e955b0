/* Quotas of CPUs: texts of both versions of control groups, trees of them, and a real group where one can be had. */
#include "base/env.h"
#include "base/quota.h"
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void numbers(void **state)
{
    (void)state;
    assert_int_equal(wr_cpu_max_of("max 100000\n"), 0);
    assert_int_equal(wr_cpu_max_of("200000 100000\n"), 2000);
    assert_int_equal(wr_cpu_max_of("150000 100000\n"), 1500);
    assert_int_equal(wr_cpu_max_of("1000 100000\n"), 10);
    assert_int_equal(wr_cpu_max_of("1 1000000\n"), 1); /* never rounded to no quota */
    assert_int_equal(wr_cpu_max_of("-1 100000"), 0);
    assert_int_equal(wr_cpu_max_of("0 100000"), 0);
    assert_int_equal(wr_cpu_max_of("5 0"), 0);
    assert_int_equal(wr_cpu_max_of("5"), 0);
    assert_int_equal(wr_cpu_max_of(""), 0);
    assert_int_equal(wr_cpu_max_of("9999999999999999999 1"), 0); /* too large to be meant */
}

static void mounts(void **state)
{
    (void)state;
    wr_cgroup_mount m;
    assert_true(wr_cgroup_mount_of("30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n", &m));
    assert_true(m.unified);
    assert_string_equal(m.group, "/");
    assert_string_equal(m.point, "/sys/fs/cgroup");
    assert_true(wr_cgroup_mount_of("1 2 0:3 /docker/a\\040b /sys/fs/cgroup/cpu,cpuacct ro shared:9 master:1 - cgroup c "
                                   "rw,cpu,cpuacct\n",
                                   &m));
    assert_false(m.unified);
    assert_string_equal(m.group, "/docker/a b");
    assert_string_equal(m.point, "/sys/fs/cgroup/cpu,cpuacct");
    assert_true(wr_cgroup_mount_of("1 2 0:3 / /c rw - cgroup c rw,xattr,cpu", &m));
    assert_false(wr_cgroup_mount_of("1 2 0:3 / /c rw - cgroup c rw,cpuacct,cpuset", &m));
    assert_false(wr_cgroup_mount_of("1 2 0:3 / /c rw - ext4 /dev/sda rw,cpu", &m));
    assert_false(wr_cgroup_mount_of("1 2 0:3 / /c rw shared:1 cgroup2 c rw", &m)); /* no hyphen */
    assert_false(wr_cgroup_mount_of("1 2 0:3 / /c", &m));
    assert_false(wr_cgroup_mount_of("", &m));
    size_t size = 3 * WR_PATH_BYTES_MAX;
    char  *line = malloc(size);
    snprintf(line, size, "1 2 0:3 / /%0*d rw - cgroup2 c rw", WR_PATH_BYTES_MAX, 0);
    assert_false(wr_cgroup_mount_of(line, &m));
    free(line);
}

static void groups(void **state)
{
    (void)state;
    char path[WR_PATH_BYTES_MAX];
    assert_true(wr_cgroup_of("0::/user.slice/a:b\n", true, path));
    assert_string_equal(path, "/user.slice/a:b");
    assert_false(wr_cgroup_of("0::/user.slice\n", false, path));
    assert_true(wr_cgroup_of("4:cpu,cpuacct:/docker/1\n", false, path));
    assert_string_equal(path, "/docker/1");
    assert_true(wr_cgroup_of("1:cpu:/\n", false, path));
    assert_false(wr_cgroup_of("1:cpu:/\n", true, path));
    assert_false(wr_cgroup_of("4:cpuacct,cpuset:/x\n", false, path));
    assert_false(wr_cgroup_of("10::/x\n", true, path));
    assert_false(wr_cgroup_of("0:/x\n", true, path));
    assert_false(wr_cgroup_of("0::x\n", true, path));
    assert_false(wr_cgroup_of("", true, path));
}

/* ---- whole trees ---- */

static char root[64];

static void put(const char *path, const char *text)
{
    char name[512];
    snprintf(name, sizeof name, "%s%s", root, path);
    for (char *slash = name + strlen(root) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = 0;
        mkdir(name, 0755);
        *slash = '/';
    }
    FILE *file = fopen(name, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static void begin(const char *mountinfo, const char *cgroup)
{
    snprintf(root, sizeof root, "/tmp/weir-quota-XXXXXX");
    assert_non_null(mkdtemp(root));
    put("/proc/self/mountinfo", mountinfo);
    put("/proc/self/cgroup", cgroup);
}

static int remove_one(const char *path, const struct stat *s, int type, struct FTW *at)
{
    (void)s;
    (void)type;
    (void)at;
    return remove(path);
}

static void end(void)
{
    assert_int_equal(nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static void unified(void **state)
{
    (void)state;
    begin("22 1 0:5 / / rw - ext4 /dev/a rw\n30 22 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "0::/a/b\n");
    assert_int_equal(wr_cpu_quota(root), 0);
    put("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
    assert_int_equal(wr_cpu_quota(root), 0);
    put("/sys/fs/cgroup/a/cpu.max", "350000 100000\n"); /* a pod around the container */
    assert_int_equal(wr_cpu_quota(root), 4);
    put("/sys/fs/cgroup/a/b/cpu.max", "200000 100000\n");
    assert_int_equal(wr_cpu_quota(root), 2);
    put("/sys/fs/cgroup/a/b/cpu.max", "900000 100000\n");
    assert_int_equal(wr_cpu_quota(root), 4);
    put("/sys/fs/cgroup/a/b/cpu.max", "10000 100000\n");
    assert_int_equal(wr_cpu_quota(root), 1);
    put("/sys/fs/cgroup/a/b/cpu.max", "nonsense\n");
    assert_int_equal(wr_cpu_quota(root), 4);
    end();
}

static void namespaces(void **state)
{
    (void)state;
    begin("30 22 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n", "0::/\n"); /* as a container sees itself */
    put("/sys/fs/cgroup/cpu.max", "250000 100000\n");
    assert_int_equal(wr_cpu_quota(root), 3);
    end();
    /* A container without a namespace of its own: its group is the root of the mount. */
    begin("31 22 0:27 /docker/7 /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n", "3:cpu,cpuacct:/docker/7\n");
    put("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "200000\n");
    put("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    assert_int_equal(wr_cpu_quota(root), 2);
    put("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
    assert_int_equal(wr_cpu_quota(root), 0);
    end();
}

/* Both versions at once, as on a host in transition: the one that has controllers says it. */
static void both(void **state)
{
    (void)state;
    begin("31 22 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n30 22 0:26 / /sys/fs/cgroup/unified rw - cgroup2 "
          "cgroup2 rw\n",
          "3:cpu:/jobs/x\n0::/init.scope\n");
    put("/sys/fs/cgroup/cpu/jobs/x/cpu.cfs_quota_us", "120000\n");
    put("/sys/fs/cgroup/cpu/jobs/x/cpu.cfs_period_us", "50000\n");
    put("/sys/fs/cgroup/unified/init.scope/cgroup.procs", "1\n");
    assert_int_equal(wr_cpu_quota(root), 3);
    end();
}

static void nothing_there(void **state)
{
    (void)state;
    assert_int_equal(wr_cpu_quota("/nowhere/at/all"), 0);
}

/* ---- the machine's own ---- */

static bool write_to(const char *folder, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int  fd = open(path, O_WRONLY | O_CLOEXEC);
    bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0) close(fd);
    return written;
}

static bool limit_to_one(const char *folder)
{
    return write_to(folder, "cpu.max", "50000 100000") || write_to(folder, "cpu.cfs_quota_us", "50000");
}

static void a_real_group(void **state)
{
    (void)state;
    static const char *const tops[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/cpu"};
    char                     folder[128] = "";
    for (int i = 0; i < 2 && folder[0] == 0; i++) {
        snprintf(folder, sizeof folder, "%s/weir-quota-%d", tops[i], (int)getpid());
        if (mkdir(folder, 0755) == 0 && limit_to_one(folder)) continue;
        rmdir(folder);
        folder[0] = 0;
    }
    if (folder[0] == 0) skip(); /* not root, or no group may be made here */
    pid_t child = fork();
    if (child == 0) {
        char own[32];
        snprintf(own, sizeof own, "%d", (int)getpid());
        if (!write_to(folder, "cgroup.procs", own)) _exit(99);
        const wr_env *env = wr_env_real();
        _exit(wr_cpu_quota("") == 1 && env->cpu_count(env->self) == 1 ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(rmdir(folder), 0);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 99) skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers),       cmocka_unit_test(mounts),       cmocka_unit_test(groups),
        cmocka_unit_test(unified),       cmocka_unit_test(namespaces),   cmocka_unit_test(both),
        cmocka_unit_test(nothing_there), cmocka_unit_test(a_real_group),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
