/* taskmanager/agent.h: the control side of one worker process: what its TaskManager says becomes calls of wr_worker,
 * what tasks report becomes messages. It decides nothing but one thing: when its lease has run out it stops. Stepped
 * by one thread: `weir worker` has it, and the simulator. */
#ifndef WR_TASKMANAGER_AGENT_H
#define WR_TASKMANAGER_AGENT_H
#include "graph/exec.h"
#include "net/peers.h"
#include "taskmanager/worker.h"
#include "wire/control.h"
#include "wire/data.h"

typedef struct wr_agent wr_agent; /* Owner: the thread that made it */

typedef struct wr_agent_config {
    const wr_env *env;
    wr_peers     *peers; /* `up` is the TaskManager */
    uint64_t      up;
    wr_parker    *parker; /* woken when a task has something to say; the caller parks */
    /* The job's execution graph, from the pipeline that the deployment names; it lives until unload. restore: the
     * snapshot that it starts from (max_parallelism is then that one's), or NULL. Both outlive the worker. */
    wr_err (*load)(void *self, const wr_deploy *deploy, const wr_manifest *restore, const wr_exec **exec,
                   wr_errinfo *info);
    void (*unload)(void *self);
    /* The next data connection that the TaskManager accepted for us, with its hello; -1: none now. */
    int (*accepted)(void *self, wr_data_hello *hello);
    void    *self;
    bool     threads;  /* false: the slots of wr_agent_worker are stepped by hand (simulator) */
    bool     spin;     /* idle slots look a while before they park */
    uint32_t scribes;  /* threads that write snapshots for slots */
    int64_t  stats_ms; /* how often STATS go up; 0: never */
} wr_agent_config;

wr_err wr_agent_new(wr_agent **take, const wr_agent_config *config, wr_errinfo *info);
/* Takes all events and does what is due; never waits. True: the process may end, *exit_code says how. */
bool    wr_agent_step(wr_agent *a, int *exit_code);
int64_t wr_agent_wait_ns(const wr_agent *a);
/* Descriptors to wait at besides the parker. */
uint32_t wr_agent_fds(const wr_agent *a, int fd[WR_PARK_FDS_MAX]);
/* Simulator: the worker that is stepped by hand; NULL: not yet. */
wr_worker *wr_agent_worker(wr_agent *a);
void       wr_agent_free(wr_agent *a);

#endif
