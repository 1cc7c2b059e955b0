/* taskmanager/litter.h: folders that are over. They go out of the way at once, by a rename, and are removed bit by bit:
 * a job may have left any number of files, and heartbeats must not wait for that. */
#ifndef WR_TASKMANAGER_LITTER_H
#define WR_TASKMANAGER_LITTER_H
#include "base/env.h"
#include "base/error.h"

/* Owner: its supervisor. */
typedef struct wr_tm_litter {
    const wr_env *env;
    char          folder[WR_PATH_BYTES_MAX]; /* where it lies until it is gone */
    uint64_t      self, count;               /* make names that nobody has used */
    bool          some;                      /* something lies there that was not tried in vain */
} wr_tm_litter;

/* folder: for litter only; what a former process left in it goes as well. self: a number that it did not have. */
void wr_tm_litter_init(wr_tm_litter *l, const wr_env *env, const char *folder, uint64_t self);
/* FOLDER is not there any more, if it was. */
void wr_tm_litter_put(wr_tm_litter *l, const char *folder);
/* Removes some. True: there is more to do. */
bool wr_tm_litter_step(wr_tm_litter *l);

#endif
