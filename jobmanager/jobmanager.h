/* jobmanager/jobmanager.h: the JobManager: it joins its pure machines (core_pool, core_job, core_checkpoint) to
 * connections, the ledger, blobs and snapshot folders. Stepped by one thread: `weir jobmanager` has it, and the
 * simulator. It never runs user code: it knows a job by graph/remote.h. */
#ifndef WR_JOBMANAGER_JOBMANAGER_H
#define WR_JOBMANAGER_JOBMANAGER_H
#include "base/env.h"
#include "base/error.h"
#include "net/peers.h"

typedef struct wr_jobmanager wr_jobmanager; /* Owner: the thread that made it */

typedef struct wr_jobmanager_config {
    const wr_env *env;
    wr_peers     *peers;   /* it listens there */
    wr_parker    *parker;  /* woken by helper threads (savepoints), too; the caller parks */
    const char   *folder;  /* its own: ledger, blobs */
    const char *snapshots; /* where jobs that say nothing have theirs: a folder per job below it; "": they take none */
    int64_t     heartbeat_ms, lease_ms, silent_ms; /* 1000, 5000, 5000: 2 * heartbeat <= lease <= silent */
    int64_t     cancel_timeout_ms;                 /* then workers are killed */
    bool        threads;                           /* false: all storage is used within a step (simulator) */
    uint64_t    seed;                              /* of jitter and secrets in the simulator; 0: env->random */
} wr_jobmanager_config;

/* Whether its times can be; wr_jobmanager_new asks that as well. Nothing is made. */
wr_err wr_jobmanager_may_be(const wr_jobmanager_config *config, wr_errinfo *info);
/* Opens the ledger, takes back what it names. *leader (for the greeting) is set before this returns. */
wr_err wr_jobmanager_new(wr_jobmanager **take, const wr_jobmanager_config *config, uint64_t *leader, wr_errinfo *info);
/* Takes all events and does what is due. Never waits. */
void wr_jobmanager_step(wr_jobmanager *jm);
/* It has heard of a JobManager that leads after it, and does nothing any more: its process is to end. info: why. */
bool wr_jobmanager_over(const wr_jobmanager *jm, wr_errinfo *info);
/* How long until step is wanted without an event; negative: not at all. */
int64_t wr_jobmanager_wait_ns(const wr_jobmanager *jm);
/* Jobs stay as they are: the next JobManager takes them back. */
void wr_jobmanager_free(wr_jobmanager *jm);

/* The reading verbs' JSON, and metrics: what = "jobs", "jobs/ID", "taskmanagers", "metrics" (text)...; for the HTTP
 * server, on the owner's thread. Malloc'ed; NULL: no such thing. */
char *wr_jobmanager_read(wr_jobmanager *jm, const char *what, size_t *n);

#endif
