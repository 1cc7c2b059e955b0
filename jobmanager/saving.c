#include "jobmanager/saving.h"
#include "jobmanager/savepoint.h"
#include <stdlib.h>
#include <string.h>

/* Its thread's between start and done, but for `stop`. */
struct wr_saving {
    const wr_env *env;
    char         *folder, *target;
    wr_manifest   manifest;
    wr_thread    *thread; /* NULL: it is done already */
    _Atomic bool  done, stop;
    wr_errinfo    info;
    void (*wake)(void *self);
    void *self;
};

static void save(void *arg)
{
    wr_saving *s = arg;
    wr_savepoint_write_until(s->env, s->folder, &s->manifest, s->target, &s->stop, &s->info);
    atomic_store(&s->done, true);
    if (s->wake != NULL) s->wake(s->self);
}

static void free_saving(wr_saving *s)
{
    wr_manifest_free(&s->manifest);
    free(s->folder);
    free(s->target);
    free(s);
}

static wr_err begin(wr_saving **take, const wr_env *env, const char *folder, const char *target, wr_errinfo *info)
{
    wr_saving *s = calloc(1, sizeof *s);
    *take = NULL;
    if (s == NULL) return wr_fail(info, WR_MEMORY, "no memory for a savepoint");
    s->env = env;
    s->folder = strdup(folder);
    s->target = strdup(target);
    if (s->folder == NULL || s->target == NULL) {
        free_saving(s);
        return wr_fail(info, WR_MEMORY, "no memory for a savepoint");
    }
    *take = s;
    return WR_OK;
}

wr_err wr_saving_start(wr_saving **take, const wr_env *env, const char *folder, wr_manifest *m, const char *target,
                       void (*wake)(void *self), void *self, wr_errinfo *info)
{
    wr_saving *s;
    *take = NULL;
    WR_TRY(begin(&s, env, folder, target, info));
    s->wake = wake;
    s->self = self;
    s->manifest = *m;
    int got = env->thread_start(env->self, &s->thread, save, s, "weir-savepoint", -1);
    if (got < 0) {
        memset(&s->manifest, 0, sizeof s->manifest); /* stays the caller's */
        free_saving(s);
        return wr_fail_errno(info, -got, "cannot start a thread for the savepoint; raise the limit of threads");
    }
    memset(m, 0, sizeof *m);
    *take = s;
    return WR_OK;
}

wr_err wr_saving_do(wr_saving **take, const wr_env *env, const char *folder, wr_manifest *m, const char *target,
                    wr_errinfo *info)
{
    WR_TRY(begin(take, env, folder, target, info));
    (*take)->manifest = *m;
    memset(m, 0, sizeof *m);
    save(*take);
    return WR_OK;
}

bool wr_saving_done(const wr_saving *s)
{
    return atomic_load(&((wr_saving *)(uintptr_t)s)->done);
}

const char *wr_saving_target(const wr_saving *s)
{
    return s->target;
}

wr_err wr_saving_end(wr_saving *s, bool stop, wr_errinfo *info)
{
    if (stop) atomic_store(&s->stop, true);
    if (s->thread != NULL) s->env->thread_join(s->env->self, s->thread);
    wr_err err = s->info.code;
    if (err != WR_OK) wr_fail(info, err, "%s", s->info.text);
    free_saving(s);
    return err;
}
