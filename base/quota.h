/* base/quota.h: how many CPUs the control groups of this process let it use: containers see all CPUs of their host, and
 * are throttled beyond their quota. Any thread.
 *
 * Formats: proc(5) for mountinfo, cgroups(7) for /proc/PID/cgroup; cpu.max of version 2 and cpu.cfs_quota_us of version
 * 1 as in the kernel's documentation of both. */
#ifndef WR_BASE_QUOTA_H
#define WR_BASE_QUOTA_H
#include "base/limits.h"
#include <stdbool.h>
#include <stdint.h>

/* The quota in CPUs, rounded up: the least one of the process's group and those above it. 0: none. `root` stands before
 * all paths that are read; "" but in tests. What cannot be read or understood sets no quota. */
uint32_t wr_cpu_quota(const char *root);

/* Parts of it that take text from outside. Pure. */
typedef struct wr_cgroup_mount {
    bool unified;                  /* version 2 */
    char group[WR_PATH_BYTES_MAX]; /* that is seen at `point`; "/": the highest one */
    char point[WR_PATH_BYTES_MAX];
} wr_cgroup_mount;
/* A line of mountinfo; false: no group that could have a quota of CPUs is mounted there. */
bool wr_cgroup_mount_of(const char *line, wr_cgroup_mount *mount);
/* A line of /proc/PID/cgroup; false: not of the hierarchy that is asked for. */
bool wr_cgroup_of(const char *line, bool unified, char path[WR_PATH_BYTES_MAX]);
/* "QUOTA PERIOD" as in cpu.max, in thousandths of a CPU; 0: none. */
uint64_t wr_cpu_max_of(const char *text);

#endif
