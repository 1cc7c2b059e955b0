/* taskmanager/agent_stats.h: what a worker measures, as a message. */
#ifndef WR_TASKMANAGER_AGENT_STATS_H
#define WR_TASKMANAGER_AGENT_STATS_H
#include "taskmanager/worker.h"
#include "wire/control.h"

/* Fills m->stats; the memory is m->arena's. */
void wr_agent_measure(const wr_worker *w, const wr_env *env, wr_message *m);

#endif
