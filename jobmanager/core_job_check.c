/* What can be asked of a job machine without a step: names, times, and what must always hold. */
#include "base/check.h"
#include "jobmanager/core_job.h"
#include "jobmanager/core_job_inside.h"

const char *wr_job_state_name(wr_job_state state)
{
    static const char *const NAME[WR_JOB_STATES] = {
        [WR_JOB_CREATED] = "CREATED",       [WR_JOB_RECONCILING] = "RECONCILING", [WR_JOB_RUNNING] = "RUNNING",
        [WR_JOB_RESTARTING] = "RESTARTING", [WR_JOB_FAILING] = "FAILING",         [WR_JOB_FAILED] = "FAILED",
        [WR_JOB_CANCELLING] = "CANCELLING", [WR_JOB_CANCELED] = "CANCELED",       [WR_JOB_FINISHED] = "FINISHED",
    };
    check(state > 0 && state < WR_JOB_STATES);
    return NAME[state];
}

const char *wr_exec_state_name(wr_exec_state state)
{
    static const char *const NAME[WR_EXEC_STATES] = {
        [WR_EXEC_CREATED] = "CREATED",   [WR_EXEC_DEPLOYING] = "DEPLOYING", [WR_EXEC_INITIALIZING] = "INITIALIZING",
        [WR_EXEC_RUNNING] = "RUNNING",   [WR_EXEC_CANCELING] = "CANCELING", [WR_EXEC_FINISHED] = "FINISHED",
        [WR_EXEC_CANCELED] = "CANCELED", [WR_EXEC_FAILED] = "FAILED",
    };
    check(state > 0 && state < WR_EXEC_STATES);
    return NAME[state];
}

wr_exec_state wr_exec_state_of(uint32_t task_state)
{
    switch (task_state) {
    case WR_TASK_INITIALIZING:
    case WR_TASK_LOADED: return WR_EXEC_INITIALIZING;
    case WR_TASK_RUNNING:
    case WR_TASK_ENDED: return WR_EXEC_RUNNING;
    case WR_TASK_FINISHED: return WR_EXEC_FINISHED;
    case WR_TASK_CANCELED: return WR_EXEC_CANCELED;
    case WR_TASK_FAILED: return WR_EXEC_FAILED;
    default: return WR_EXEC_CREATED;
    }
}

bool wr_core_job_alive(const wr_core_job *job)
{
    return wr_core_job_ended(job) < job->subtasks;
}

int64_t wr_core_job_due(const wr_core_job *job)
{
    int64_t due = job->kill_ms < job->restart_ms ? job->kill_ms : job->restart_ms;
    return due < job->deploy_ms ? due : job->deploy_ms;
}

static void check_restarting(const wr_core_job *job, bool alive)
{
    check(job->cluster);
    uint32_t ways = (uint32_t)job->waits + (uint32_t)(job->restart_ms != INT64_MAX) + (uint32_t)alive;
    check(ways == 1); /* it waits for slots, or for its time, or for the end of what runs */
    if (alive) check(wr_core_job_ended(job) + job->in[WR_EXEC_CANCELING] == job->subtasks);
}

static void check_state(const wr_core_job *job, bool alive)
{
    const uint32_t *in = job->in;
    switch (job->state) {
    case WR_JOB_CREATED: check(job->subtasks == 0); break;
    case WR_JOB_RECONCILING: check(job->cluster && alive && in[WR_EXEC_DEPLOYING] > 0); /* fall through */
    case WR_JOB_RUNNING:
        check(alive && in[WR_EXEC_FAILED] == 0 && in[WR_EXEC_CANCELED] == 0);
        check(in[WR_EXEC_CANCELING] == 0 && in[WR_EXEC_CREATED] == 0);
        break;
    case WR_JOB_RESTARTING: check_restarting(job, alive); break;
    case WR_JOB_FAILING:
    case WR_JOB_CANCELLING: /* nobody is left who was not told to end */
        check(alive && wr_core_job_ended(job) + in[WR_EXEC_CANCELING] == job->subtasks);
        break;
    case WR_JOB_FAILED: check(!alive && job->cause.code != WR_OK); break;
    case WR_JOB_FINISHED:
        check(job->subtasks > 0 && in[WR_EXEC_FINISHED] == job->subtasks && job->cause.code == WR_OK);
        break;
    default: check(!alive && job->cause.code == WR_CANCELED); break;
    }
}

/* Constant time: the sums over all subtasks are kept by enter() and looked at again by the tests. */
void wr_core_job_check(const wr_core_job *job)
{
    check(job->magic == WR_CORE_JOB_MAGIC);
    check(job->state >= WR_JOB_CREATED && job->state < WR_JOB_STATES);
    check(job->subtasks <= job->capacity && job->loaded <= job->subtasks);
    check(job->in[0] == 0);
    uint32_t sum = 0;
    for (uint32_t i = 0; i < WR_EXEC_STATES; i++) sum += job->in[i];
    check(sum == job->subtasks);
    check(job->since_ms[job->state] >= 0 && job->since_ms[job->state] <= job->now_ms);
    bool alive = wr_core_job_alive(job);
    if (job->waits) check(job->cluster && job->subtasks == 0 && job->attempt > 0);
    if (job->waits) check(job->state == WR_JOB_CREATED || job->state == WR_JOB_RESTARTING);
    if (job->went) check(job->cluster && job->loaded == job->subtasks);
    if (job->restart_ms != INT64_MAX) check(job->state == WR_JOB_RESTARTING);
    if (job->deploy_ms != INT64_MAX) check(job->state == WR_JOB_RUNNING && job->in[WR_EXEC_DEPLOYING] > 0);
    bool ending = alive &&
                  (job->state == WR_JOB_FAILING || job->state == WR_JOB_CANCELLING || job->state == WR_JOB_RESTARTING);
    check((job->kill_ms != INT64_MAX) == (job->cluster && ending));
    check_state(job, alive);
}
