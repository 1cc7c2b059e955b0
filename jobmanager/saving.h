/* jobmanager/saving.h: a savepoint on its way to the disk, on a thread of its own: it reads and writes all state, and
 * nobody should wait for that but who asked. Nor for a folder that does not answer: whoever ends it leaves the thread
 * behind then, which has copies of all that it needs, and lets nobody else write there before it has ended. */
#ifndef WR_JOBMANAGER_SAVING_H
#define WR_JOBMANAGER_SAVING_H
#include "base/env.h"
#include "wire/manifest.h"

/* Owner: who started it, one thread. */
typedef struct wr_saving wr_saving;

/* Copies *m, and whatever that borrows. env outlives the process's last savepoint. wake: any thread, when it is done,
 * but never after wr_saving_end. WR_BUSY: one that was left behind is still at work in that folder. */
wr_err wr_saving_start(wr_saving **take, const wr_env *env, const char *folder, const wr_manifest *m,
                       const char *target, void (*wake)(void *self), void *self, wr_errinfo *info);
/* The same without a thread: done when it returns. */
wr_err wr_saving_do(wr_saving **take, const wr_env *env, const char *folder, const wr_manifest *m, const char *target,
                    wr_errinfo *info);
bool   wr_saving_done(const wr_saving *s);
const char *wr_saving_target(const wr_saving *s);
/* Waits; `stop`: tells it to stop, and waits for WR_SAVING_LEAVE_MS at most. Gives how it went, and frees it, or leaves
 * it behind: WR_CANCELED either way, and what it has written goes when the folder answers. */
wr_err wr_saving_end(wr_saving *s, bool stop, wr_errinfo *info);

/* WR_BUSY: one that was left behind has not ended yet, and is to write there. Any thread. */
wr_err wr_saving_may_begin(const char *target, wr_errinfo *info);

#endif
