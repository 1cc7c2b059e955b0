/* cli/test_kept.h: snapshots of the test harness: a folder that nobody else has, and one snapshot after the other, each
 * by hand. Belongs to the test's thread. */
#ifndef WR_CLI_TEST_KEPT_H
#define WR_CLI_TEST_KEPT_H
#include "graph/exec.h"
#include "taskmanager/worker.h"

typedef struct wr_test_kept wr_test_kept;

wr_err wr_test_kept_new(wr_test_kept **take, const wr_env *env, wr_errinfo *info);
/* Removes the folder. NULL is nothing. */
void wr_test_kept_free(wr_test_kept *k);
/* Before the worker is made: where its snapshots go, and what it starts from, if there is something. */
wr_err wr_test_kept_configure(wr_test_kept *k, wr_worker_options *options, wr_errinfo *info);
bool   wr_test_kept_restores(const wr_test_kept *k);
/* The newest; 0: none. */
uint64_t wr_test_kept_newest(const wr_test_kept *k);
wr_err   wr_test_kept_trigger(wr_test_kept *k, const wr_exec *exec, wr_worker *worker, wr_errinfo *info);
/* Takes answers. *all: the last one has come, and the snapshot is complete. Waits a moment for the disk. */
wr_err wr_test_kept_take(wr_test_kept *k, wr_worker *worker, bool *all, wr_errinfo *info);

#endif
