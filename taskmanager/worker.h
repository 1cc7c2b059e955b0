/* taskmanager/worker.h: the part of a TaskManager that runs one job: slots, their tasklets and the channels between
 * them.
 *
 * `weir run` has one worker in its own process; in a cluster a supervisor starts one per job, which has only the
 * subtasks of some of the job's slots, and data planes (net/plane.h) to the others. The worker decides nothing about
 * the job: it deploys what it is told, reports each task's state, and obeys stop and cancel. */
#ifndef WR_TASKMANAGER_WORKER_H
#define WR_TASKMANAGER_WORKER_H
#include "base/env.h"
#include "graph/exec.h"
#include "wire/manifest.h"
#include "wire/task.h"

typedef struct wr_worker wr_worker;
typedef struct wr_slot   wr_slot;

const char *wr_task_state_name(wr_task_state state); /* "RUNNING" */

/* One report. state FAILED: info says why. */
typedef struct wr_task_event {
    uint32_t      subtask; /* index in wr_exec.subtask */
    uint32_t      attempt;
    wr_task_state state;
    wr_errinfo    info;
} wr_task_event;

typedef struct wr_worker_options {
    const wr_env *env;
    const char   *job;       /* name, for logs */
    uint64_t      state_max; /* bytes of keyed state of the whole worker; 0: no bound */
    const int    *cpu;       /* CPU of each slot, or NULL: not pinned */
    uint32_t      scribes;   /* threads that write snapshots for slots; at most one for each slot; 0: slots do it */
    bool          spin;      /* idle slots look a while before they park: only where each has a CPU; see `here` */
    uint64_t      seed;      /* of shuffles */
    /* Something can be polled: a task's state changed. Any thread; must not block. */
    void (*notify)(void *self);
    void *self;
    /* Snapshots: folder of the files, NULL: none are taken, and tasks finish by themselves. Strings and restore must
     * outlive the worker. */
    const char        *snapshots;
    const char        *lineage;
    const wr_manifest *restore;             /* start from this one, or NULL */
    const char        *restore_folder;      /* where its files are; NULL: `snapshots` */
    int64_t            snapshot_timeout_ns; /* when half of it is gone, writing comes before records; 0: never */
    /* In a cluster. here: by slot of the job (wr_subtask.slot), which ones this worker has; read by wr_worker_new only.
     * NULL: all of them, and nothing below counts. With it more slots than CPUs do not spin. */
    const bool *here;
    uint64_t    job_id;
    uint32_t    attempt;  /* in every report and answer, instead of the execution graph's */
    bool        wait_go;  /* every task waits in LOADED for wr_worker_go, not only one that starts from a snapshot */
    bool        wait_run; /* not in a cluster: what is RUNNING takes no record before wr_worker_run */
} wr_worker_options;

/* Allocates everything; opens nothing. exec outlives the worker. Owner: the caller's thread, which also does all of
 * the calls below unless they say "any thread". */
wr_err wr_worker_new(wr_worker **take, const wr_exec *exec, const wr_worker_options *options, wr_errinfo *info);
/* Starts one thread per slot and one per own-thread subtask. */
wr_err wr_worker_start(wr_worker *w, wr_errinfo *info);
/* Of it only the threads that write snapshots, before the first wr_worker_step of who steps the slots (simulator). */
void wr_worker_start_scribes(wr_worker *w);
/* The next report, or false. */
bool wr_worker_event(wr_worker *w, wr_task_event *event);
/* ---- snapshots; owner only ---- */
/* To all tasks without inputs: they send the barrier to the others. */
void wr_worker_trigger(wr_worker *w, const wr_barrier *barrier);
/* Snapshot id will not complete. Repeated, late and unknown ids are harmless. */
void wr_worker_abort(wr_worker *w, uint64_t id);
/* Snapshot id, an ordinary one, is durable, and with it all older ones: sinks commit. Likewise harmless. */
void wr_worker_complete(wr_worker *w, uint64_t id);
/* The next answer to a barrier, or NULL; the caller frees it. */
struct wr_ack *wr_worker_ack(wr_worker *w);
/* All tasks are LOADED: open and run. */
void wr_worker_go(wr_worker *w);
/* All tasks are RUNNING, so nothing of the job has been refused: records may come. */
void wr_worker_run(wr_worker *w);
/* All tasks are ENDED and what they prepared is committed: they finish. */
void wr_worker_finish(wr_worker *w);
/* A last snapshot follows: sources emit no more, nothing ends, no results come. */
void wr_worker_pause_sources(wr_worker *w);

/* Sources end as if their input had ended: what was read is processed, results come, tasks finish. */
void wr_worker_stop_sources(wr_worker *w);
/* Ends a subtask at once, without results. */
void wr_worker_cancel(wr_worker *w, uint32_t subtask);
/* Every subtask is FINISHED, CANCELED or FAILED. */
bool wr_worker_done(const wr_worker *w);
/* Waits for the threads, which end when their subtasks are done. Only now data connections are given up: what a
 * finished task sent may still be on its way, so in a cluster the attempt must be over everywhere. */
void wr_worker_join(wr_worker *w);
void wr_worker_free(wr_worker *w); /* joined, or never started */

/* ---- in a cluster; any thread unless it says more ---- */
/* Walks what must be connected: a slot of the job that is here, and one that is not. The one with the lower number
 * dials. index from 0 until false. */
bool wr_worker_remote(const wr_worker *w, uint32_t index, uint32_t *slot, uint32_t *remote);
/* A greeted data connection between the two; the worker closes it. Repeated ones and unknown ones are closed. */
void wr_worker_connect(wr_worker *w, uint32_t slot, uint32_t remote, int socket);
/* All are there. Before that no task is reported as LOADED. */
bool wr_worker_connected(const wr_worker *w);
/* Beyond it (monotonic) no frame is sent or taken, no answer given, nothing published or committed, and all tasks fail.
 * Never told: there is no end. */
void wr_worker_lease(wr_worker *w, int64_t until_mono_ns);
struct wr_plane_stats;
void wr_worker_plane_stats(const wr_worker *w, struct wr_plane_stats *sum);

/* ---- single-threaded use: simulator and test harness step slots themselves, instead of wr_worker_start ---- */
uint32_t wr_worker_slots(const wr_worker *w); /* slots and own threads */
/* Calls one tasklet of the slot once. True: it did something. */
bool wr_worker_step(wr_worker *w, uint32_t slot);
/* The slot itself, to look at and to send elements from its sources between two steps. */
wr_slot *wr_worker_slot(wr_worker *w, uint32_t slot);

/* ---- what it measures; any thread, while the worker lives ---- */
typedef struct wr_operator_stats {
    const wr_node *node;
    uint32_t       subtask; /* index within the operator */
    uint64_t       in, out, bad, late, batches, state_bytes, keys;
    int64_t        watermark; /* WEIR_NO_TIME: none yet */
    char           held[64];  /* time operators: what holds it back, a split or channel; "": nothing */
} wr_operator_stats;
typedef struct wr_task_stats {
    uint32_t      subtask; /* index in wr_exec.subtask */
    wr_task_state state;
    uint64_t      busy_ns, idle_ns, back_pressured_ns;
    uint32_t      place;
} wr_task_stats;
typedef struct wr_user_metric {
    const wr_node *node;
    uint32_t       subtask;
    const char    *name;
    uint32_t       kind; /* 1 counter, 2 gauge, 3 histogram */
    double         value;
    uint64_t       count;
} wr_user_metric;
/* Walks over what is here; index from 0 until false. */
bool     wr_worker_operator_stats(const wr_worker *w, uint32_t index, wr_operator_stats *stats);
bool     wr_worker_task_stats(const wr_worker *w, uint32_t index, wr_task_stats *stats);
bool     wr_worker_metric(const wr_worker *w, uint32_t index, wr_user_metric *metric);
uint64_t wr_worker_state_bytes(const wr_worker *w);
/* Wall clock at which the first operator wants to be called; INT64_MAX: none does. Only where slots are stepped. */
int64_t wr_worker_due(const wr_worker *);

/* For the test harness: the operator instance behind (node id, subtask), before start. NULL: not of this worker. */
struct wr_op *wr_worker_op(wr_worker *w, uint32_t node, uint32_t subtask);
#endif
