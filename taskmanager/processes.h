/* taskmanager/processes.h: real worker processes behind the table of supervisor.h: `weir worker`, started from our own
 * program, with one end of a socket pair and a file for its crash report. */
#ifndef WR_TASKMANAGER_PROCESSES_H
#define WR_TASKMANAGER_PROCESSES_H
#include "net/peers_pair.h"
#include "taskmanager/identity.h"
#include "taskmanager/supervisor.h"

enum { WR_WORKER_SOCKET = 3, WR_WORKER_REPORT = 4 /* descriptors that a worker is born with */ };

typedef struct wr_real_processes wr_real_processes; /* Owner: the supervisor's thread */

/* Ends of sockets are added to `pair`. program: what is executed, with the argument "worker"; NULL: ourselves. */
wr_err wr_real_processes_new(wr_real_processes **take, const wr_env *env, wr_peers_pair *pair, const char *program,
                             wr_errinfo *info);
/* From now on workers run as these. id: must outlive p. */
void          wr_real_processes_identity(wr_real_processes *p, const wr_identity *id);
wr_processes *wr_real_processes_table(wr_real_processes *p);
/* To wait at: readable when one has ended. */
int wr_real_processes_fd(const wr_real_processes *p);
/* When `ended` wants to be called to measure memory; INT64_MAX: not. */
int64_t wr_real_processes_due_ns(const wr_real_processes *p);
/* Its process id; 0: there is none. */
uint64_t wr_real_processes_pid(const wr_real_processes *p, uint64_t process);
void     wr_real_processes_free(wr_real_processes *p); /* kills them */

#endif
