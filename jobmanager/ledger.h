/* jobmanager/ledger.h: the JobManager's own memory of all jobs: leader epochs, jobs and what they were asked to be,
 * attempts with their placement, ends. One append-only file with a checksum per record, locked by its process,
 * compacted by rename. (Each job's snapshot folder has a journal of its own besides, jobmanager/journal.h: it locks
 * the folder and gives ids.) Format: docs/formats-ledger.md. */
#ifndef WR_JOBMANAGER_LEDGER_H
#define WR_JOBMANAGER_LEDGER_H
#include "base/env.h"
#include "jobmanager/core_job.h"
#include "wire/control.h"

enum wr_ledger_stopping { WR_LEDGER_STOP = 1, WR_LEDGER_DRAIN, WR_LEDGER_CANCEL }; /* what was ordered */

/* What is known of one job; owned by the ledger. */
typedef struct wr_ledger_failure {
    int64_t    wall_ms;
    uint32_t   attempt, subtask; /* UINT32_MAX: none */
    wr_errinfo info;
    uint32_t   count;    /* of the restart strategy, behind it */
    int64_t    delay_ms; /* until the next attempt begins, before jitter; negative: there is none */
} wr_ledger_failure;
typedef struct wr_ledger_job {
    uint64_t           id, request; /* request: of the submit, so that a repeated one finds it */
    int64_t            submitted_wall_ms, ended_wall_ms;
    wr_job_spec        spec;
    uint32_t           state;           /* final: enum wr_job_state; else 0 */
    wr_errinfo         cause;           /* of a failed one */
    uint32_t           attempt;         /* newest; 0: none yet */
    uint32_t           first;           /* attempt of this job; 0: not known */
    uint32_t           planned;         /* attempts that followed an order, not a failure */
    int64_t            attempt_wall_ms; /* when its slots were given; 0: not known */
    uint64_t          *place;           /* TaskManager by slot of that attempt; NULL: it has none (any more) */
    uint32_t           places;
    uint8_t            secret[WR_MAC_BYTES];
    wr_ledger_failure *failure; /* oldest first, at most WR_FAILURES_KEPT */
    uint32_t           failures;
    uint32_t           count; /* what the restart strategy knew behind the newest failure */
    int64_t            delay_ms, failed_wall_ms[WR_RESTART_RATE_MAX]; /* of the newest failures, oldest first */
    uint32_t           failed_times;
    uint32_t           stopping;   /* enum wr_ledger_stopping */
    const char        *target;     /* of a stop: the folder of a savepoint, or "" */
    uint32_t           restarting; /* this attempt is being ended by order, and another one follows; 0: none is */
    const char        *next_spec;  /* what it is to be then, as bytes; NULL: as it was */
    size_t             next_spec_bytes;
} wr_ledger_job;

typedef struct wr_ledger wr_ledger; /* Owner: the JobManager's thread */
/* Locks (WR_BUSY names who has it), reads, makes the next leader epoch durable. */
wr_err   wr_ledger_open(wr_ledger **take, const wr_env *env, const char *folder, wr_errinfo *info);
void     wr_ledger_close(wr_ledger *l);
uint64_t wr_ledger_leader(const wr_ledger *l);
/* Jobs, oldest first; NULL past the end. Pointers live until the job is forgotten. */
const wr_ledger_job *wr_ledger_job_at(const wr_ledger *l, uint32_t i);
const wr_ledger_job *wr_ledger_find(const wr_ledger *l, uint64_t id);

/* Each is durable when it returns; only then may what it covers be told to anybody. After an error nobody knows
 * whether it is; nothing has changed here, and the next one is written into a new file. WR_NO_JOB: there is none. */
wr_err wr_ledger_submit(wr_ledger *l, uint64_t id, uint64_t request, const wr_job_spec *spec, wr_errinfo *info);
/* What it is from now on (rescaled). Pointers into its old specification are gone. */
wr_err wr_ledger_respec(wr_ledger *l, uint64_t id, const wr_job_spec *spec, wr_errinfo *info);
wr_err wr_ledger_attempt(wr_ledger *l, uint64_t id, uint32_t attempt, const uint64_t *place, uint32_t places,
                         const uint8_t secret[WR_MAC_BYTES], wr_errinfo *info);
/* Ends the attempt: after it, and a restart, nobody looks for its workers. */
wr_err wr_ledger_failed(wr_ledger *l, uint64_t id, const wr_ledger_failure *failure, wr_errinfo *info);
/* target: of a stop with a savepoint, or "". */
wr_err wr_ledger_stopping(wr_ledger *l, uint64_t id, uint32_t how, const char *target, wr_errinfo *info);
/* Before the newest attempt is told to end so that another one follows. spec: what the job is to be then, as bytes. */
wr_err wr_ledger_restart(wr_ledger *l, uint64_t id, const char *spec, size_t spec_bytes, wr_errinfo *info);
wr_err wr_ledger_end(wr_ledger *l, uint64_t id, uint32_t state, const wr_errinfo *cause, wr_errinfo *info);
/* Of a TaskManager: whether it takes no new work. Of the newest WR_TMS_MAX that were drained. */
wr_err wr_ledger_drain(wr_ledger *l, uint64_t tm, bool on, wr_errinfo *info);
bool   wr_ledger_drained(const wr_ledger *l, uint64_t tm);
/* Of jobs that have ended: the oldest go beyond WR_JOBS_ENDED_KEPT, by itself. */

/* Bytes of the file, and how many it had when it was written anew: for metrics and tests. */
void wr_ledger_size(const wr_ledger *l, uint64_t *bytes, uint64_t *base_bytes);
/* Pure: for tests, the fuzzer and people. Calls each(arg, job) for all jobs of the bytes. */
wr_err wr_ledger_parse(const char *bytes, size_t n, const char *path, uint64_t *leader, size_t *good_bytes,
                       void (*each)(void *arg, const wr_ledger_job *job), void *arg, wr_errinfo *info);

#endif
