#include "taskmanager/spares.h"
#include "base/limits.h"
#include "snapshot/image.h"
#include <stdlib.h>
#include <string.h>

void wr_spares_begin(wr_spares *s, const wr_env *env, const char *folder)
{
    s->env = env;
    s->folder = folder;
    s->listed = false;
    s->n = 0;
}

void wr_spares_fini(wr_spares *s)
{
    free(s->name);
    *s = (wr_spares){0};
}

static bool note(void *arg, const char *name)
{
    wr_spares *s = arg;
    uint32_t   epoch;
    uint64_t   id;
    if (wr_name_read(name, &epoch, &id) != WR_NAME_SPARE) return true;
    if (s->n == s->room) {
        uint32_t room = s->room == 0 ? 16 : 2 * s->room;
        void    *more = room <= WR_SPARE_FILES_MAX ? realloc(s->name, room * sizeof *s->name) : NULL;
        if (more == NULL) return false; /* the others are for another time */
        s->name = more;
        s->room = room;
    }
    memcpy(s->name[s->n++], name, strlen(name) + 1);
    return true;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

int wr_spares_take(wr_spares *s, const char *name)
{
    if (!s->listed) {
        s->listed = true;
        (void)s->env->list(s->env->self, s->folder, note, s);
        if (s->n > 0) qsort(s->name, s->n, sizeof *s->name, by_name); /* a simulated run must not depend on the order */
    }
    for (uint32_t i = 0; i < s->n; i++) {
        if (strcmp(wr_name_task(s->name[i]), wr_name_task(name)) != 0) continue;
        int file = wr_image_reuse(s->env, s->folder, s->name[i], name);
        if (file > 0) return file;
    }
    return 0;
}
