/* taskmanager/identity.h: whom workers run as when the TaskManager is root and the configuration says so: one user, or
 * of a range of users one for each worker. Everything blocks; looked up once, when the TaskManager starts. */
#ifndef WR_TASKMANAGER_IDENTITY_H
#define WR_TASKMANAGER_IDENTITY_H
#include "base/error.h"
#include "base/limits.h"
#include <stdbool.h>
#include <stdint.h>

/* Const once made. Zero: workers are who the TaskManager is. */
typedef struct wr_identity {
    bool     on;
    uint32_t first, last; /* users; first == last: all workers are this one */
    uint32_t gid;
    uint32_t group[WR_WORKER_GROUPS_MAX], groups; /* others that they are in */
} wr_identity;

/* user: "NAME", "UID" or "FIRST-LAST", "": none. group: theirs; "": that of the user. groups: "NAME,GID,...", "". */
wr_err wr_identity_make(wr_identity *id, const char *user, const char *group, const char *groups, wr_errinfo *info);
/* "NAME" or "GID". */
wr_err wr_identity_group(const char *text, uint32_t *gid, wr_errinfo *info);
/* Whether this process may make files of that group. */
wr_err wr_identity_member(uint32_t gid, const char *text, wr_errinfo *info);

/* What is below the TaskManager's folder becomes closed to workers but for what is theirs; and whether we may become
 * them, end them, and they get there at all. */
wr_err wr_identity_guard(const wr_identity *id, const char *folder, wr_errinfo *info);

/* A user for a new worker: nobody else's on this machine, as long as *lock is open, and without a process. */
wr_err wr_identity_claim(const wr_identity *id, uint32_t *uid, int *lock, wr_errinfo *info);
/* Working folder with its files, and the folder of its logs, are the user's now. */
wr_err wr_identity_hand_over(const wr_identity *id, uint32_t uid, const char *folder, const char *log,
                             wr_errinfo *info);
/* Between fork and exec: this process is that user from now on, for ever. -1: errno. */
int wr_identity_become(const wr_identity *id, uint32_t uid);
/* Its worker has ended: so do all processes that it left. */
void wr_identity_release(const wr_identity *id, uint32_t uid, int lock);

#endif
