/* jobmanager/coordinator.h: the shell of the checkpoint machine: acks of tasks become events, actions become barriers,
 * manifests and orders to the tasks, wherever those are. One per attempt of a job that takes snapshots, or starts from
 * one. */
#ifndef WR_JOBMANAGER_COORDINATOR_H
#define WR_JOBMANAGER_COORDINATOR_H
#include "graph/exec.h"
#include "jobmanager/origin.h"
#include "wire/control.h"
#include "wire/task.h"

/* Owner: the thread of its job, which calls everything. */
typedef struct wr_coordinator wr_coordinator;

typedef struct wr_coordinator_options {
    const wr_env *env;
    const wr_env *lasting;     /* for threads that may be left behind; NULL: env, which outlives them, too */
    wr_origin    *origin;      /* outlives it */
    int64_t       interval_ms; /* 0: only when asked, and at the end */
    int64_t       timeout_ms, pause_ms;
    uint32_t      keep;
    /* To all tasks of the job: WR_DO_TRIGGER, _ABORT, _COMPLETE, _PAUSE_SOURCES, _STOP_SOURCES, _FINISH. */
    void (*order)(void *self, const wr_worker_order *order);
    /* Somebody's request has come to its end: info NULL, or why not. */
    void (*answer)(void *self, uint64_t ticket, uint64_t id, const wr_errinfo *why);
    /* A snapshot failed: for the user's eyes. Or NULL. */
    void (*failed)(void *self, const wr_snapshot_record *record);
    /* One that a later attempt may begin with is complete. Or NULL. */
    void (*completed)(void *self, const wr_snapshot_record *record);
    void (*wake)(void *self); /* any thread: step has something to do */
    void *self;
    bool  adopts; /* its tasks run already: they may write increments to the newest snapshot of the folder */
    bool  alone;  /* no threads: savepoints are written within a call (simulator) */
} wr_coordinator_options;

wr_err wr_coordinator_new(wr_coordinator **take, const wr_exec *exec, const wr_coordinator_options *options,
                          wr_errinfo *info);
void   wr_coordinator_free(wr_coordinator *s);

/* What a task said. */
void wr_coordinator_report(wr_coordinator *s, uint32_t subtask, wr_task_state state);
/* A task's answer, which it takes. Of another attempt, late or unknown: counted and dropped. */
void wr_coordinator_ack(wr_coordinator *s, wr_ack *ack);
/* Does what is due. */
void wr_coordinator_step(wr_coordinator *s);
/* How long until step wants to be called; negative: until something happens. */
int64_t wr_coordinator_wait_ns(const wr_coordinator *s);
/* The job is failing or canceled: nothing begins or completes any more. A savepoint that is being written is given up,
 * and left behind if its folder does not answer (jobmanager/saving.h). */
void wr_coordinator_close(wr_coordinator *s);
/* The job FINISHED: remembered, if its input had come to its end and it was not
 * only stopped. */
wr_err wr_coordinator_finished(wr_coordinator *s, wr_errinfo *info);

/* ticket 0: nobody waits for the answer. target: the folder of a savepoint. */
void wr_coordinator_request(wr_coordinator *s, uint64_t ticket, uint32_t kind, const char *target);
/* target: a savepoint is made of the last snapshot, or NULL. */
void wr_coordinator_stop(wr_coordinator *s, uint64_t ticket, bool drain, const char *target);

bool                      wr_coordinator_taken(const wr_coordinator *s); /* false: it only restores */
const wr_core_checkpoint *wr_coordinator_machine(const wr_coordinator *s);
/* The folder of the savepoint that is being written, and since when; NULL: none is. */
const char    *wr_coordinator_saving(const wr_coordinator *s, int64_t *since_ms);
const wr_exec *wr_coordinator_exec(const wr_coordinator *s);
/* Reads the newest completed snapshot; of a coordinator that takes some. */
wr_err           wr_coordinator_newest(const wr_coordinator *s, wr_manifest *m, bool *found, wr_errinfo *info);
const wr_origin *wr_coordinator_origin(const wr_coordinator *s);
#endif
