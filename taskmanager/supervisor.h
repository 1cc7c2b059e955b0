/* taskmanager/supervisor.h: the TaskManager: registers with the JobManager, starts one worker process per job, passes
 * messages on in both directions, keeps blobs, owns the data port, relays leases, and tells how a worker ended. It
 * runs no user code. Stepped by one thread: `weir taskmanager` has it, and the simulator. */
#ifndef WR_TASKMANAGER_SUPERVISOR_H
#define WR_TASKMANAGER_SUPERVISOR_H
#include "base/aside.h"
#include "net/dial.h"
#include "net/peers.h"
#include "wire/control.h"

/* Worker processes, as one table: taskmanager/processes.h has the real ones. */
typedef struct wr_process_spec {
    uint64_t    job;
    uint32_t    attempt;
    const char *folder; /* its working folder: files of the job lie there under their names */
    const char *log;    /* file for its stdout and stderr */
    uint64_t    memory_max;
    wr_aside   *aside; /* does what may wait for a disk, while the supervisor goes on; NULL: nobody does */
} wr_process_spec;
typedef struct wr_process_end {
    uint64_t    process;
    int         signal, exit_code; /* signal 0: it exited */
    bool        out_of_memory;
    const char *report; /* crash report that it left, "" */
    wr_errinfo  info;   /* in one line: operator, signal, file:line, record */
    uint32_t    subtask;
} wr_process_end;
typedef struct wr_processes {
    void *self;
    /* *peer: the process in `peers` (of the workers). */
    wr_err (*start)(void *self, const wr_process_spec *spec, uint64_t *process, uint64_t *peer, wr_errinfo *info);
    void (*kill)(void *self, uint64_t process);
    void (*give)(void *self, uint64_t process, int socket, const wr_data_hello *hello);
    /* The next one that ended. Its peer is still there until the next call: what it said last can be taken. */
    bool (*ended)(void *self, wr_process_end *end);
} wr_processes;

typedef struct wr_supervisor wr_supervisor; /* Owner: the thread that made it */
typedef struct wr_supervisor_config {
    const wr_env *env;
    wr_peers     *peers;   /* to the JobManager */
    wr_peers     *workers; /* to its worker processes */
    wr_processes *processes;
    const char   *jobmanager;              /* HOST:PORT */
    const char   *name, *folder;           /* folder: blobs, working folders, logs */
    const char   *data_listen, *data_host; /* what it binds; how others reach it, "" : as bound */
    const char   *http;                    /* HOST:PORT of its metrics, or "" */
    uint32_t      slots;
    uint64_t      pid;        /* told for people */
    uint64_t      memory_max; /* of a worker, also when its job says more; 0: no bound */
    /* A worker whose agent says nothing for that long is killed, and jobs that wait for our disk fail when it has not
     * answered for so long; 0: never. */
    int64_t hang_ms;
    bool    threads; /* false: storage is used within a step (simulator) */
    /* Or NULL: called again and again while our disk does not answer, on the owner's thread, within step. */
    void (*meanwhile)(void *self);
    void *self;
} wr_supervisor_config;

wr_err   wr_supervisor_new(wr_supervisor **take, const wr_supervisor_config *config, wr_errinfo *info);
void     wr_supervisor_step(wr_supervisor *s); /* never waits */
int64_t  wr_supervisor_wait_ns(const wr_supervisor *s);
uint32_t wr_supervisor_fds(const wr_supervisor *s, int fd[WR_PARK_FDS_MAX]);
bool     wr_supervisor_registered(const wr_supervisor *s);
/* How long the call of storage has lasted that step waits for; 0: it waits for none. For `meanwhile`. */
int64_t wr_supervisor_stuck_ms(const wr_supervisor *s);
/* All worker processes are killed, nothing is waited for: the TaskManager ends now. */
void wr_supervisor_kill(wr_supervisor *s);
/* Its data port, as others reach it: "HOST:PORT". */
const char *wr_supervisor_data(const wr_supervisor *s);
/* Its metrics as text, and those of its workers. malloc'ed. */
char *wr_supervisor_metrics(wr_supervisor *s, size_t *n);
void  wr_supervisor_free(wr_supervisor *s); /* kills its workers */

#endif
