/* jobmanager/history.h: what a running job tells about its snapshots, for people or as JSON. */
#ifndef WR_JOBMANAGER_HISTORY_H
#define WR_JOBMANAGER_HISTORY_H
#include "jobmanager/coordinator.h"
#include <stdio.h>

/* `weir snapshots`: the newest first, and what its subtasks did. */
void wr_history_snapshots(FILE *file, const wr_coordinator *s, bool json);
/* For the summary of a run: an object of this name, null without snapshots. */
struct wr_json;
void wr_history_json(struct wr_json *j, const char *key, const wr_coordinator *s);

#endif
