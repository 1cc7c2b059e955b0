#include "taskmanager/litter.h"
#include "taskmanager/files.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

enum { ENTRIES = 256 /* of one step */ };

void wr_tm_litter_init(wr_tm_litter *l, const wr_env *env, const char *folder, uint64_t self)
{
    *l = (wr_tm_litter){.env = env, .self = self, .some = true};
    snprintf(l->folder, sizeof l->folder, "%s", folder);
}

void wr_tm_litter_put(wr_tm_litter *l, const char *folder)
{
    char         name[64], path[WR_PATH_BYTES_MAX];
    wr_file_info about;
    if (l->env->stat(l->env->self, folder, &about) == -ENOENT) return;
    snprintf(name, sizeof name, "%016" PRIx64 "-%" PRIu64, l->self, l->count++);
    l->env->mkdir(l->env->self, l->folder);
    if (wr_tm_path(path, l->folder, name) && l->env->rename(l->env->self, folder, path) >= 0)
        l->some = true;
    else
        wr_tm_folder_remove(l->env, folder); /* late rather than never: its place is needed */
}

bool wr_tm_litter_step(wr_tm_litter *l)
{
    if (l->some) l->some = !wr_tm_folder_remove_some(l->env, l->folder, ENTRIES);
    return l->some;
}
