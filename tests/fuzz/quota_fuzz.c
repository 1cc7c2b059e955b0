/* What says how many CPUs a process may use: lines of mountinfo and of /proc/PID/cgroup, and quotas. */
#include "base/quota.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    wr_cgroup_mount *mount = malloc(sizeof *mount); /* blocks of their own: a write behind the end is seen */
    char            *text = own_text(bytes, size), *path = malloc(WR_PATH_BYTES_MAX);
    must(mount != NULL && path != NULL);
    if (wr_cgroup_mount_of(text, mount)) {
        must(mount->group[0] != 0 && strlen(mount->group) < sizeof mount->group);
        must(mount->point[0] != 0 && strlen(mount->point) < sizeof mount->point);
        must(strstr(text, mount->unified ? "cgroup2" : "cgroup") != NULL);
    }
    for (int unified = 0; unified < 2; unified++) {
        if (!wr_cgroup_of(text, unified != 0, path)) continue;
        must(path[0] == '/' && strlen(path) < WR_PATH_BYTES_MAX && strchr(path, '\n') == NULL);
        must(strstr(text, path) != NULL);
        must((strncmp(text, "0::/", 4) == 0) == (unified != 0));
    }
    uint64_t quota = wr_cpu_max_of(text);
    must(quota == 0 || strpbrk(text, "123456789") != NULL);
    free(path);
    free(text);
    free(mount);
    return 0;
}
