#include "taskmanager/proc.h"
#include "taskmanager/files.h"
#include <string.h>

enum { TICK_NS = 10000000 /* of utime in /proc: USER_HZ is 100 on every Linux that we run on */ };

uint64_t wr_process_rss_bytes(const wr_env *env, const char *pid)
{
    char          path[64], text[256];
    unsigned long all = 0, resident = 0;
    snprintf(path, sizeof path, "/proc/%.20s/statm", pid);
    if (!wr_tm_text_read(env, path, text, sizeof text) || sscanf(text, "%lu %lu", &all, &resident) != 2) return 0;
    return (uint64_t)resident * WR_PAGE_BYTES;
}

uint64_t wr_process_cpu_ns(const wr_env *env, const char *pid)
{
    char          path[64], text[1024];
    unsigned long user = 0, kernel = 0;
    snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
    if (!wr_tm_text_read(env, path, text, sizeof text)) return 0;
    const char *at = strrchr(text, ')'); /* the name of the program may hold anything */
    if (at == NULL || sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &kernel) != 2)
        return 0;
    return (uint64_t)(user + kernel) * TICK_NS;
}
