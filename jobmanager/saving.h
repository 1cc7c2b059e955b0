/* jobmanager/saving.h: a savepoint on its way to the disk, on a thread of its own: it reads and writes all state, and
 * nobody should wait for that but who asked. */
#ifndef WR_JOBMANAGER_SAVING_H
#define WR_JOBMANAGER_SAVING_H
#include "base/env.h"
#include "wire/manifest.h"

/* Owner: who started it, one thread. */
typedef struct wr_saving wr_saving;

/* Takes *m over when it returns WR_OK; what m borrows must live until the end. wake: any thread, when it is done. */
wr_err wr_saving_start(wr_saving **take, const wr_env *env, const char *folder, wr_manifest *m, const char *target,
                       void (*wake)(void *self), void *self, wr_errinfo *info);
/* The same without a thread: done when it returns. */
wr_err      wr_saving_do(wr_saving **take, const wr_env *env, const char *folder, wr_manifest *m, const char *target,
                         wr_errinfo *info);
bool        wr_saving_done(const wr_saving *s);
const char *wr_saving_target(const wr_saving *s);
/* Waits, after telling it to stop when `stop`. Gives how it went, and frees it. */
wr_err wr_saving_end(wr_saving *s, bool stop, wr_errinfo *info);

#endif
