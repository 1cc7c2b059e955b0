/* cli/history.h: what a running job tells about itself and its snapshots, for
 * people or as JSON. */
#ifndef WR_CLI_HISTORY_H
#define WR_CLI_HISTORY_H
#include "cli/local_snapshots.h"
#include <stdio.h>
struct wr_local;

/* One line, or one object: `weir list`. */
void wr_history_job(FILE *file, const struct wr_local *local, const wr_exec *exec, int64_t up_ns, bool json);
/* `weir snapshots`: the newest first, and what its subtasks did. */
void wr_history_snapshots(FILE *file, const wr_snapshots *s, bool json);
/* For the summary of a run: an object of this name, null without snapshots. */
struct wr_json;
void wr_history_json(struct wr_json *j, const char *key, const wr_snapshots *s);

#endif
