/* jobmanager/why.h: why a job does not run, or does not move: what is known of it becomes sentences, the root cause
 * first. Each says cause, place, and what to do. Pure; any thread. */
#ifndef WR_JOBMANAGER_WHY_H
#define WR_JOBMANAGER_WHY_H
#include "base/json.h"
#include "graph/exec.h"
#include "jobmanager/core_checkpoint.h"
#include "jobmanager/core_job.h"
#include "jobmanager/core_pool.h"
#include "jobmanager/ledger.h"

enum wr_why_kind {
    WR_WHY_RUNS = 1,   /* nothing is wrong that can be seen */
    WR_WHY_ENDED,      /* finished or canceled */
    WR_WHY_FAILED,     /* the failure that ended it, or for which it restarts */
    WR_WHY_RESTARTS,   /* when, and how often it did */
    WR_WHY_SLOTS,      /* it waits for slots */
    WR_WHY_RECONCILES, /* the JobManager is new, and waits for workers */
    WR_WHY_STARTS,     /* not all subtasks are loaded */
    WR_WHY_ENDS,       /* subtasks were told to end and have not */
    WR_WHY_STOPS,
    WR_WHY_SNAPSHOTS, /* they fail, or one takes long, or a savepoint does */
    WR_WHY_SLOW,      /* an operator that holds back others, or has no time left */
    WR_WHY_SKEW,      /* one subtask has the work of all */
    WR_WHY_EVENT_TIME,
    WR_WHY_NO_INPUT,
    WR_WHY_UNKNOWN, /* nothing was measured yet */
    WR_WHY_STOPPED, /* by order, and so it has ended */
    WR_WHY_KINDS
};
const char *wr_why_kind_name(uint32_t kind); /* "slots" */

typedef struct wr_why_time { /* of a vertex's subtasks, since the measurement before: shares of their time */
    uint32_t measured;       /* subtasks; 0: none */
    double   busy, idle, back_pressured, busiest;
    uint32_t busiest_subtask;
} wr_why_time;

typedef struct wr_why_flow { /* of an operator's subtasks */
    bool        measured;    /* twice: rates are known */
    double      in_rate, out_rate;
    int64_t     watermark; /* the least; WEIR_NO_TIME: one has none */
    int64_t     ahead;     /* the greatest of those that have not ended; WEIR_NO_TIME: none */
    uint32_t    slowest;   /* whose the least is */
    bool        stands;    /* it did not move since the measurement before */
    const char *held;      /* what holds it back, e.g. a split; "" or NULL: not known */
} wr_why_flow;

typedef struct wr_why_worker {
    const char *name; /* of its TaskManager */
    bool        awaited, gone;
    uint32_t    slots;
} wr_why_worker;

typedef struct wr_why_stop {              /* that was ordered */
    uint32_t          how;                /* enum wr_ledger_stopping; 0: none was */
    const char       *folder, *savepoint; /* of its snapshots; where one was to go. NULL or "": none */
    uint64_t          last;               /* snapshot; 0: not known */
    bool              seen;               /* by this JobManager: it knows whether the savepoint was written */
    const wr_errinfo *failure;            /* what of it could not be done; NULL: nothing, as far as is known */
} wr_why_stop;

/* Everything that may be looked at. What is not known is NULL or 0. */
typedef struct wr_why_input {
    const char               *name;
    wr_job_state              state;
    const wr_errinfo         *cause; /* FAILED, FAILING, RESTARTING */
    uint32_t                  failed_subtask;
    const wr_core_job        *job;     /* NULL: it ended in an older JobManager's time */
    const wr_exec            *exec;    /* of the newest attempt */
    const wr_ledger_failure  *failure; /* the newest */
    wr_pool_sums              pool;
    uint32_t                  slots; /* that it wants */
    const wr_why_worker      *worker;
    uint32_t                  workers;
    const wr_core_checkpoint *snapshots;
    const char               *savepoint;    /* the folder of one that is being written */
    int64_t                   savepoint_ms; /* since when */
    const wr_why_time        *time;         /* by vertex */
    const wr_why_flow        *flow;         /* by node */
    wr_why_stop               stop;
    int64_t                   now_ms, wall_ms;
} wr_why_input;

enum { WR_WHY_LINES_MAX = 12, WR_WHY_BYTES_MAX = WR_ERROR_BYTES_MAX + 512 };
typedef struct wr_why_line {
    uint32_t kind;
    char     text[WR_WHY_BYTES_MAX];
} wr_why_line;
typedef struct wr_why_answer {
    wr_why_line line[WR_WHY_LINES_MAX];
    uint32_t    lines; /* at least one */
} wr_why_answer;

void wr_why(const wr_why_input *in, wr_why_answer *answer);
/* {"job":...,"state":...,"reasons":[{"kind":"slots","text":...}]}. */
void wr_why_json(wr_json *json, const wr_why_input *in, const wr_why_answer *answer);

#endif
