/* jobmanager/core_job.h: the life of one job, as a pure machine: events in, actions out. It knows no clock, thread,
 * file or worker; a shell turns reports of workers into events, and actions into calls or messages. The same events
 * give the same actions. Memory is fixed when it is made.
 *
 * It is used in two ways. As wr_core_job_init leaves it, the job has one worker in this process: it is deployed when it
 * is submitted, each subtask runs as soon as it can, and a failure ends the job. After wr_core_job_configure it runs in
 * a cluster, and each attempt goes through these steps:
 *
 *   WANT -> GRANTED -> DEPLOY ... LOADED by all -> GO -> RUNNING ... all final -> RELEASE, and restart or end
 *
 * A restart is a new attempt with the next number. The shell takes the newest completed snapshot when it does WANT. */
#ifndef WR_JOBMANAGER_CORE_JOB_H
#define WR_JOBMANAGER_CORE_JOB_H
#include "base/error.h"
#include "jobmanager/core_restart.h"
#include "wire/task.h"
#include <stdbool.h>
#include <stdint.h>

/* Flink's job states. */
typedef enum wr_job_state {
    WR_JOB_CREATED = 1, /* and waiting for slots, of a first attempt */
    WR_JOB_RECONCILING, /* the JobManager is new; workers of this attempt come back one by one */
    WR_JOB_RUNNING,     /* an attempt is being deployed, or runs */
    WR_JOB_RESTARTING,  /* its attempt is ended by order; or none is there: it waits for its time, or for slots */
    WR_JOB_FAILING,     /* one subtask failed; the others are being canceled */
    WR_JOB_CANCELLING,
    WR_JOB_FAILED, /* from here on: final */
    WR_JOB_CANCELED,
    WR_JOB_FINISHED,
    WR_JOB_STATES
} wr_job_state;

/* Flink's states of an execution attempt. */
typedef enum wr_exec_state {
    WR_EXEC_CREATED = 1,
    WR_EXEC_DEPLOYING,
    WR_EXEC_INITIALIZING,
    WR_EXEC_RUNNING,
    WR_EXEC_CANCELING,
    WR_EXEC_FINISHED, /* from here on: final */
    WR_EXEC_CANCELED,
    WR_EXEC_FAILED,
    WR_EXEC_STATES
} wr_exec_state;

const char *wr_job_state_name(wr_job_state state);   /* "RUNNING" */
const char *wr_exec_state_name(wr_exec_state state); /* "DEPLOYING" */
/* What a worker's word for a subtask means here: enum wr_task_state; CREATED for any other number. */
wr_exec_state      wr_exec_state_of(uint32_t task_state);
static inline bool wr_job_state_final(wr_job_state state)
{
    return state >= WR_JOB_FAILED;
}
static inline bool wr_exec_state_final(wr_exec_state state)
{
    return state >= WR_EXEC_FINISHED;
}

/* One subtask's newest attempt. Part of a wr_core_job. */
typedef struct wr_execution {
    wr_exec_state state;
    uint32_t      attempt; /* the job's; 1 is the first */
    int64_t       since_ms;
    bool          loaded; /* it waits for GO, or has gone */
} wr_execution;

typedef struct wr_core_job_config {
    wr_restart_config      restart; /* complete */
    const wr_restart_past *past;    /* how it failed before this process began; NULL: it did not */
    int64_t                cancel_timeout_ms;
    int64_t                deploy_timeout_ms; /* 0: none */
} wr_core_job_config;

/* Owner: its shell, one thread. */
typedef struct wr_core_job {
    uint32_t      magic;
    wr_job_state  state;
    bool          cluster;                 /* it was configured */
    bool          waits;                   /* WANT was said and not answered; `attempt` is the wanted one */
    bool          went;                    /* GO was said in this attempt */
    bool          stopping;                /* a stop was ordered; every later attempt is stopped again */
    bool          canceled;                /* ordered while FAILING: no restart */
    bool          secondary;               /* the cause is only what another failure brought about */
    int64_t       now_ms;                  /* of the last event */
    int64_t       since_ms[WR_JOB_STATES]; /* when each state was entered last; -1: never */
    int64_t       went_ms;
    int64_t       ran_ms;     /* adopted: before that */
    int64_t       kill_ms;    /* when workers that do not end are killed; INT64_MAX: not */
    int64_t       deploy_ms;  /* when nothing may be deployed of which nobody has said anything; INT64_MAX: any */
    int64_t       restart_ms; /* RESTARTING: when WANT is said; INT64_MAX: not by time */
    uint32_t      attempt;    /* newest, or wanted one; 0: none yet */
    uint32_t      restarts;   /* attempts after the first that this machine began */
    uint32_t      subtasks;   /* of the newest attempt; 0: none was granted yet */
    uint32_t      in[WR_EXEC_STATES]; /* how many subtasks are in each state */
    uint32_t      loaded;             /* how many are loaded, or further */
    uint32_t      failed_subtask;     /* whose failure is the cause; UINT32_MAX: none, or nobody's */
    uint64_t      ignored;            /* events that were stale, repeated or of no subtask */
    wr_errinfo    cause;              /* of the newest failure, until an attempt runs again; or of the end */
    const char   *why_no_restart;     /* FAILED: "" or the strategy's reason */
    wr_restart    restart;
    int64_t       cancel_timeout_ms, deploy_timeout_ms;
    wr_execution *execution; /* the caller's memory */
    uint32_t      capacity;
} wr_core_job;

typedef enum wr_job_event_kind {
    WR_JOB_SUBMIT = 1, /* once, in CREATED. attempt: the last that there has been, 0 of a new job; delay_ms: until
                       the next one begins */
    WR_JOB_REPORT,     /* a worker says what became of a subtask */
    WR_JOB_STOP,       /* end the sources; results come and the job finishes */
    WR_JOB_CANCEL,     /* end at once, without results */

    /* Only in a cluster. */
    WR_JOB_ADOPT, /* instead of SUBMIT: this attempt may be running. REPORT and LOST say about each subtask what became
                       of it; when something is known of all and none has failed, the job is RUNNING. attempt, subtasks,
                       ran_ms.
                       The shell says LOST of what does not come back in time */
    WR_JOB_GRANTED, /* attempt: there are slots for it. subtasks: so many has it. A stale one is ignored: look whether
                       job->waits and job->attempt is its number before */
    WR_JOB_REFUSED, /* attempt: it cannot be made, info says why (a damaged snapshot...). Like a failure of it. Before
                       DEPLOY was done: as the answer to WANT */
    WR_JOB_LOST, /* a worker of `attempt` is no more: its process ended, or its TaskManager is lost, or connections to
                       it. subtask_list: what it had. info: why; clean: it was released or killed by order */
    WR_JOB_RESTART, /* by order (rescale, drain): end the attempt, start the next without delay */
    WR_JOB_TICK     /* wr_core_job_due has come */
} wr_job_event_kind;

typedef struct wr_job_event {
    wr_job_event_kind kind;
    int64_t           now_ms;           /* never goes back */
    uint64_t          random;           /* any event in a cluster: fresh bits, for the jitter of delays */
    int64_t           delay_ms, ran_ms; /* SUBMIT; ADOPT: how long it had been there before */
    uint32_t          subtasks;         /* SUBMIT in one process, ADOPT, GRANTED: at least 1 */
    uint32_t          subtask, attempt; /* REPORT; LOST: whose code it was, UINT32_MAX: nobody's */
    wr_exec_state     reported;         /* REPORT: INITIALIZING, RUNNING or a final state */
    bool              loaded;           /* REPORT of INITIALIZING: it is LOADED and waits for GO */
    bool              clean;            /* LOST */
    bool              guessed;          /* LOST: info is what is told when nobody says better */
    const wr_errinfo *info;             /* REPORT of FAILED, LOST, REFUSED: why; or NULL */
    const uint32_t   *subtask_list;     /* LOST */
    uint32_t          subtasks_listed;
} wr_job_event;

typedef enum wr_job_action_kind {
    WR_JOB_DO_DEPLOY = 1,   /* start this attempt of the subtask; said of all subtasks at once */
    WR_JOB_DO_STOP_SOURCES, /* once per attempt */
    WR_JOB_DO_CANCEL,       /* end this attempt of the subtask; said of all that have not ended, at once */
    WR_JOB_DO_TELL,         /* the job entered `state`; when that is final, cause says why unless it FINISHED */

    /* Only in a cluster; each once per attempt, KILL perhaps again. */
    WR_JOB_DO_WANT,   /* ask the pool for the slots of `attempt`. From here until GRANTED the shell may change the graph
                          and give other memory: wr_core_job_memory */
    WR_JOB_DO_FORGET, /* `attempt` was wanted, and is not any more */
    WR_JOB_DO_GO,     /* order GO of all workers; then the coordinator starts */
    WR_JOB_DO_KILL,   /* all workers of `attempt` that are still there: they were told to end and did not */
    WR_JOB_DO_NOTE,   /* `attempt` failed, and all of it has ended: job->cause and failed_subtask for the history */
    WR_JOB_DO_RELEASE, /* all of `attempt` has ended: its workers may go. Behind TELL, which is made durable first */
} wr_job_action_kind;

typedef struct wr_job_action {
    wr_job_action_kind kind;
    uint32_t           subtask, attempt;
    wr_job_state       state;
} wr_job_action;

/* The most actions that one step gives: one for each subtask, and the rest. */
static inline uint32_t wr_core_job_actions_max(uint32_t subtasks)
{
    return subtasks + 8;
}

/* execution: memory for `capacity` subtasks, which must outlive the machine. */
void wr_core_job_init(wr_core_job *job, wr_execution *execution, uint32_t capacity, int64_t now_ms);
/* Before the first event: it is a job of a cluster. */
void wr_core_job_configure(wr_core_job *job, const wr_core_job_config *config);
/* While nothing is deployed: other memory for the next attempt, which may have more or fewer subtasks. */
void wr_core_job_memory(wr_core_job *job, wr_execution *execution, uint32_t capacity);
/* As the answer to WANT: the attempt that is wanted has at least this number. */
void wr_core_job_number(wr_core_job *job, uint32_t least);
/* One event. Writes actions, in the order in which they must be done, and returns how many; cap is at least
 * wr_core_job_actions_max of the subtasks (of the event's, when it says how many). What workers report is checked and,
 * when it does not fit, ignored and counted; a wrong call of the shell is a failed check. */
uint32_t wr_core_job_step(wr_core_job *job, const wr_job_event *event, wr_job_action *actions, uint32_t cap);
/* When a TICK is wanted; INT64_MAX: not before another event. */
int64_t wr_core_job_due(const wr_core_job *job);
/* An attempt is deployed, and not all of it has ended. */
bool wr_core_job_alive(const wr_core_job *job);
/* Checks what must hold between any two steps. step does it by itself. */
void wr_core_job_check(const wr_core_job *job);

#endif
