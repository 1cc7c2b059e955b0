/* taskmanager/agent_parts.h: what agent.c and agent_deploy.c share. */
#ifndef WR_TASKMANAGER_AGENT_PARTS_H
#define WR_TASKMANAGER_AGENT_PARTS_H
#include "net/dial.h"
#include "taskmanager/agent.h"

enum wr_agent_state {
    WR_AGENT_EMPTY = 1, /* waits for DEPLOY */
    WR_AGENT_RUNS,
    WR_AGENT_ENDS /* step returns true */
};

/* Owner: the thread that steps it. */
struct wr_agent {
    wr_agent_config  config;
    const wr_env    *env;
    uint32_t         state; /* enum wr_agent_state */
    int              exit_code;
    wr_message       deployment; /* DEPLOY, as long as we live: its strings are in use */
    const wr_deploy *deploy;
    uint64_t         leader; /* greatest heard of */
    const wr_exec   *exec;
    bool             loaded_module;
    wr_manifest      manifest; /* that it starts from */
    bool             restores;
    bool            *here; /* by slot of the job */
    wr_worker       *worker;
    wr_dialer       *dialer;
    bool             connected; /* all data connections are there */
    bool             started;
    wr_task_report  *report;   /* by subtask: what was reported last; state 0: not ours, or nothing yet */
    bool            *withheld; /* by subtask: not told yet */
    bool             withholds;
    int64_t          lease_until_ns, stats_ns;
};

/* Makes the worker of a deployment. After an error nothing of the job runs here. */
wr_err wr_agent_deploy(wr_agent *a, wr_errinfo *info);
/* Data connections that have come about. */
void wr_agent_connect(wr_agent *a);
/* Takes the message over in any case; sends it up with the agent's numbers in its head. */
void wr_agent_send(wr_agent *a, wr_message *m);
/* The last word: the supervisor passes it on when the process is gone. */
void wr_agent_give_up(wr_agent *a, const wr_errinfo *why);

#endif
