/* taskmanager/proc.h: what /proc knows of a process. */
#ifndef WR_TASKMANAGER_PROC_H
#define WR_TASKMANAGER_PROC_H
#include "base/env.h"

/* Of a process ("self", or a number): what it has resident, and the time it has used. 0: not known. */
uint64_t wr_process_rss_bytes(const wr_env *env, const char *pid);
uint64_t wr_process_cpu_ns(const wr_env *env, const char *pid);

#endif
