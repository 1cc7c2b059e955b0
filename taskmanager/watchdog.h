/* taskmanager/watchdog.h: finds a slot whose user code does not return, and makes its thread say where it is. A slot
 * that works, waits or is held up moves a counter of one of its tasks at least every WR_PARK_NS_MAX: one that moves
 * none
 * is within a call. Code on a thread of its own may block as long as it likes; so may a task that loads its state,
 * which is one call, however long. */
#ifndef WR_TASKMANAGER_WATCHDOG_H
#define WR_TASKMANAGER_WATCHDOG_H
#include "taskmanager/worker.h"

typedef struct wr_watchdog wr_watchdog; /* Owner: the agent's thread */

/* signal: wr_crash_hang_signal. The worker is looked at from the first step with one on. */
wr_err wr_watchdog_new(wr_watchdog **take, const wr_env *env, const wr_exec *exec, int64_t hang_ms, int signal,
                       wr_errinfo *info);
/* Looks now and then, whenever it is called. A slot that hangs ends the process, with a report. */
void    wr_watchdog_step(wr_watchdog *d, const wr_worker *w);
int64_t wr_watchdog_due_ns(const wr_watchdog *d);
void    wr_watchdog_free(wr_watchdog *d);

/* For code of the pipeline outside of slots (its build function): the calling thread gets the signal when _off does not
 * come in time. Once at a time. */
void wr_watchdog_alone(int64_t hang_ms, int signal);
void wr_watchdog_alone_off(void);

#endif
