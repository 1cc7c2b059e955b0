/* cli/local.h: the embedded cluster: the job machine of jobmanager/ and the
 * worker of taskmanager/, joined in one process. It is what `weir run` and an
 * embedding program run on. JobManager and worker share their fate here: no
 * lease, no heartbeat. */
#ifndef WR_CLI_LOCAL_H
#define WR_CLI_LOCAL_H
#include "jobmanager/coordinator.h"
#include "jobmanager/core_job.h"
#include "taskmanager/worker.h"

/* Owner: the thread that made it, which calls everything unless it says "any
 * thread". */
typedef struct wr_local wr_local;

typedef struct wr_local_options {
    const wr_env *env;
    uint64_t      state_max; /* 0: no bound */
    const int    *cpu;       /* of each slot, or NULL */
    bool          spin;
    uint32_t      scribes; /* threads that write snapshots for slots */
    uint64_t      seed;
    /* Snapshots: where the job begins, and how often; NULL: none are taken, and
   * nothing is restored. It outlives the job. The figures: 0 is the default. */
    wr_origin *origin;
    int64_t    snapshot_interval_ms, snapshot_timeout_ms;
    uint32_t   snapshots_keep;
    bool       control; /* people can talk to the job by its socket: cli/control.h */
} wr_local_options;

enum { WR_SNAPSHOT_INTERVAL_MS = 10000, WR_SNAPSHOT_TIMEOUT_MS = 600000, WR_SNAPSHOTS_KEEP = 3 };

/* Allocates; opens and starts nothing. exec must outlive it. */
wr_err wr_local_new(wr_local **take, const wr_exec *exec, const wr_local_options *options, wr_errinfo *info);
/* Starts the threads. What fails from here on is the job's failure, not an
 * error of the call. */
void wr_local_start(wr_local *l);
/* Does what is due, after waiting at most timeout_ns for something to be
 * (negative: no limit). True: the job has ended, and its threads too. */
bool wr_local_step(wr_local *l, int64_t timeout_ns);
/* Any thread, and signal handlers. stop: with snapshots the sources pause and a
 * last one is taken, from which the job can go on; without, or when draining,
 * sources end and results come. cancel: ends at once. */
void wr_local_stop(wr_local *l);
void wr_local_drain(wr_local *l);
void wr_local_cancel(wr_local *l);
/* Any thread, and signal handlers: the next or present step returns soon. */
void wr_local_wake(wr_local *l);

wr_job_state       wr_local_state(const wr_local *l); /* any thread */
const wr_core_job *wr_local_job(const wr_local *l);
const wr_worker   *wr_local_worker(const wr_local *l);
/* NULL: the job takes no snapshots. */
const wr_coordinator *wr_local_snapshots(const wr_local *l);
/* The name of a task that has not ended though it was told to; NULL: none. For
 * the report of what hangs. */
const char *wr_local_hanging(const wr_local *l);
/* Owner, from a request by the control socket: ticket as in coordinator.h.
 */
void            wr_local_stop_for(wr_local *l, uint64_t ticket, bool drain, const char *savepoint);
wr_coordinator *wr_local_snapshots_to_ask(wr_local *l);
/* After the job has ended, or before start. */
void wr_local_free(wr_local *l);

#endif
