/* jobmanager/core_job.h: the life of one job, as a pure machine: events in, actions out. It knows no clock, thread,
 * file or worker; a shell turns reports of workers into events, and actions into calls or messages. The same events
 * give the same actions. Memory is fixed when it is made. */
#ifndef WR_JOBMANAGER_CORE_JOB_H
#define WR_JOBMANAGER_CORE_JOB_H
#include "base/error.h"
#include <stdbool.h>
#include <stdint.h>

/* Flink's job states. */
typedef enum wr_job_state {
    WR_JOB_CREATED = 1,
    WR_JOB_RUNNING,
    WR_JOB_RESTARTING, /* reserved for restart strategies: never entered yet */
    WR_JOB_FAILING,    /* one subtask failed; the others are being canceled */
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

const char        *wr_job_state_name(wr_job_state state);   /* "RUNNING" */
const char        *wr_exec_state_name(wr_exec_state state); /* "DEPLOYING" */
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
    uint32_t      attempt; /* 1 is the first */
    int64_t       since_ms;
} wr_execution;

/* Owner: its shell, one thread. */
typedef struct wr_core_job {
    uint32_t      magic;
    wr_job_state  state;
    int64_t       now_ms;                  /* of the last event */
    int64_t       since_ms[WR_JOB_STATES]; /* when each state was entered; -1: never */
    bool          stopping;                /* a stop was ordered */
    uint32_t      subtasks;                /* 0 until submitted */
    uint32_t      in[WR_EXEC_STATES];      /* how many subtasks are in each state */
    uint32_t      failed_subtask;          /* whose failure is the cause; UINT32_MAX: none */
    uint64_t      ignored;                 /* reports that were stale, repeated or of no subtask */
    wr_errinfo    cause;                   /* the first failure of all */
    wr_execution *execution;               /* the caller's memory */
    uint32_t      capacity;
} wr_core_job;

typedef enum wr_job_event_kind {
    WR_JOB_SUBMIT = 1, /* once, in CREATED */
    WR_JOB_REPORT,     /* a worker says what became of a subtask */
    WR_JOB_STOP,       /* end the sources; results come and the job finishes */
    WR_JOB_CANCEL      /* end at once, without results */
} wr_job_event_kind;

typedef struct wr_job_event {
    wr_job_event_kind kind;
    int64_t           now_ms;           /* never goes back */
    uint32_t          subtasks;         /* SUBMIT: at least 1 */
    uint32_t          subtask, attempt; /* REPORT */
    wr_exec_state     reported;         /* REPORT: INITIALIZING, RUNNING or a final state */
    const wr_errinfo *info;             /* REPORT of FAILED: why; or NULL */
} wr_job_event;

typedef enum wr_job_action_kind {
    WR_JOB_DO_DEPLOY = 1,   /* start this attempt of the subtask */
    WR_JOB_DO_STOP_SOURCES, /* once */
    WR_JOB_DO_CANCEL,       /* end this attempt of the subtask */
    WR_JOB_DO_TELL          /* the job entered `state`; when that is final, cause says why unless it FINISHED */
} wr_job_action_kind;

typedef struct wr_job_action {
    wr_job_action_kind kind;
    uint32_t           subtask, attempt;
    wr_job_state       state;
} wr_job_action;

/* The most actions that one step gives: one for each subtask, and the states entered. */
static inline uint32_t wr_core_job_actions_max(uint32_t subtasks)
{
    return subtasks + 3;
}

/* execution: memory for `capacity` subtasks, which must outlive the machine. */
void wr_core_job_init(wr_core_job *job, wr_execution *execution, uint32_t capacity, int64_t now_ms);
/* One event. Writes actions, in the order in which they must be done, and returns how many; cap is at least
 * wr_core_job_actions_max of the subtasks. What workers report is checked and, when it does not fit, ignored and
 * counted; a wrong call of the shell is a failed check. */
uint32_t wr_core_job_step(wr_core_job *job, const wr_job_event *event, wr_job_action *actions, uint32_t cap);
/* Checks what must hold between any two steps. step does it by itself. */
void wr_core_job_check(const wr_core_job *job);

#endif
