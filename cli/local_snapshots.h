/* cli/local_snapshots.h: the shell of the checkpoint machine: acks of tasks
 * become events, actions become barriers, manifests and orders to the worker.
 * One per job that takes snapshots, or starts from one. */
#ifndef WR_CLI_LOCAL_SNAPSHOTS_H
#define WR_CLI_LOCAL_SNAPSHOTS_H
#include "cli/origin.h"
#include "graph/exec.h"
#include "taskmanager/worker.h"

/* Owner: the thread of its wr_local, which calls everything. */
typedef struct wr_snapshots wr_snapshots;

typedef struct wr_snapshots_options {
    const wr_env *env;
    wr_origin    *origin;      /* outlives it */
    int64_t       interval_ms; /* 0: only when asked, and at the end */
    int64_t       timeout_ms, pause_ms;
    uint32_t      keep;
    /* Somebody's request has come to its end: info NULL, or why not. */
    void (*answer)(void *self, uint64_t ticket, uint64_t id, const wr_errinfo *why);
    /* A snapshot failed: for the user's eyes. Or NULL. */
    void (*failed)(void *self, const wr_snapshot_record *record);
    void (*wake)(void *self); /* any thread: step has something to do */
    void *self;
} wr_snapshots_options;

wr_err wr_snapshots_new(wr_snapshots **take, const wr_exec *exec, const wr_snapshots_options *options,
                        wr_errinfo *info);
/* What the worker must know; before it is made. */
void wr_snapshots_configure(const wr_snapshots *s, wr_worker_options *options);
void wr_snapshots_attach(wr_snapshots *s, wr_worker *worker);
void wr_snapshots_free(wr_snapshots *s);

/* What a task said. */
void wr_snapshots_report(wr_snapshots *s, const wr_task_event *event);
/* Takes the answers of tasks, and does what is due. */
void wr_snapshots_step(wr_snapshots *s);
/* How long until step wants to be called; negative: until something happens. */
int64_t wr_snapshots_wait_ns(const wr_snapshots *s);
/* The job is failing or canceled: nothing begins or completes any more. */
void wr_snapshots_close(wr_snapshots *s);
/* The job FINISHED: remembered, if its input had come to its end and it was not
 * only stopped. */
wr_err wr_snapshots_finished(wr_snapshots *s, wr_errinfo *info);

/* ticket 0: nobody waits for the answer. target: the folder of a savepoint. */
void wr_snapshots_request(wr_snapshots *s, uint64_t ticket, uint32_t kind, const char *target);
/* target: a savepoint is made of the last snapshot, or NULL. */
void wr_snapshots_stop(wr_snapshots *s, uint64_t ticket, bool drain, const char *target);

bool                      wr_snapshots_taken(const wr_snapshots *s); /* false: it only restores */
const wr_core_checkpoint *wr_snapshots_machine(const wr_snapshots *s);
const wr_exec            *wr_snapshots_exec(const wr_snapshots *s);
const wr_origin          *wr_snapshots_origin(const wr_snapshots *s);
#endif
