/* taskmanager/spares.h: files of retired snapshots (wire/names.h) that new ones may overwrite: found, and taken. */
#ifndef WR_TASKMANAGER_SPARES_H
#define WR_TASKMANAGER_SPARES_H
#include "base/env.h"
#include "wire/names.h"

/* Those of one folder, at one time. Worker's owner. Zero has none. */
typedef struct wr_spares {
    const wr_env *env;
    const char   *folder;
    bool          listed;
    uint32_t      n, room;
    char (*name)[WR_FILE_NAME_BYTES];
} wr_spares;

/* Before a snapshot: the folder is looked at again when one is wanted. */
void wr_spares_begin(wr_spares *s, const wr_env *env, const char *folder);
/* The file `name` of a snapshot, open for writing, that was a spare of the same subtask; 0 or less: there is none. */
int  wr_spares_take(wr_spares *s, const char *name);
void wr_spares_fini(wr_spares *s);
#endif
