#include "jobmanager/saving.h"
#include "base/limits.h"
#include "jobmanager/savepoint.h"
#include <stdlib.h>
#include <string.h>

enum whose_turn { IT_WRITES = 0, IT_WAKES, IT_IS_LEFT };

/* Its thread's between start and done, but for `stop`, `turn` and `next`. */
struct wr_saving {
    const wr_env    *env;
    char            *folder, *target;
    wr_manifest      manifest;
    wr_thread       *thread; /* NULL: it is done already */
    _Atomic bool     done, stop;
    _Atomic uint32_t turn;  /* enum whose_turn */
    wr_parker        owner; /* who waits for its end */
    bool             parks; /* owner is one */
    wr_errinfo       info;
    void (*wake)(void *self);
    void             *self;
    struct wr_saving *next; /* of those that were left behind */
};

/* Of this process: what a thread does to a folder holds for all that are in it. */
static struct {
    atomic_flag taken;
    wr_saving  *first;
} left = {.taken = ATOMIC_FLAG_INIT};

static void lock_left(void)
{
    while (atomic_flag_test_and_set_explicit(&left.taken, memory_order_acquire)) {} /* for a few instructions */
}

static void unlock_left(void)
{
    atomic_flag_clear_explicit(&left.taken, memory_order_release);
}

static void save(void *arg)
{
    wr_saving *s = arg;
    uint32_t   writes = IT_WRITES;
    wr_savepoint_write_until(s->env, s->folder, &s->manifest, s->target, &s->stop, &s->info);
    bool wakes = atomic_compare_exchange_strong(&s->turn, &writes, IT_WAKES);
    atomic_store(&s->done, true); /* from here on, one that was left may be freed as soon as this thread is over */
    if (!wakes) return;
    if (s->parks) wr_parker_wake(s->env, &s->owner);
    if (s->wake != NULL) s->wake(s->self);
}

static void free_saving(wr_saving *s)
{
    if (s->parks) s->env->parker_fini(s->env->self, &s->owner);
    wr_manifest_free(&s->manifest);
    free(s->folder);
    free(s->target);
    free(s);
}

/* What was left behind and has ended. */
static void reap(void)
{
    wr_saving *over = NULL;
    lock_left();
    for (wr_saving **at = &left.first; *at != NULL;) {
        wr_saving *s = *at;
        if (!atomic_load(&s->done)) {
            at = &s->next;
            continue;
        }
        *at = s->next;
        s->next = over;
        over = s;
    }
    unlock_left();
    while (over != NULL) {
        wr_saving *s = over;
        over = s->next;
        s->env->thread_join(s->env->self, s->thread);
        free_saving(s);
    }
}

wr_err wr_saving_may_begin(const char *target, wr_errinfo *info)
{
    bool busy = false;
    reap();
    lock_left();
    for (const wr_saving *s = left.first; s != NULL && !busy; s = s->next) busy = strcmp(s->target, target) == 0;
    unlock_left();
    if (!busy) return WR_OK;
    return wr_fail(info, WR_BUSY,
                   "a savepoint that was given up is not over there: the folder did not answer; %s; see that it does, "
                   "or name another one",
                   target);
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

/* Texts, types and items lie in what belongs to the job, its tasks' answers for one. */
static wr_err copy_manifest(wr_saving *s, const wr_manifest *m, wr_errinfo *info)
{
    char  *bytes;
    size_t n;
    WR_TRY(wr_manifest_encode(m, &bytes, &n, info));
    wr_err err = wr_manifest_decode(&s->manifest, bytes, n, "the manifest of a savepoint", info);
    free(bytes);
    return err;
}

static wr_err start(wr_saving *s, const wr_manifest *m, wr_errinfo *info)
{
    WR_TRY(copy_manifest(s, m, info));
    int got = s->env->parker_init(s->env->self, &s->owner);
    s->parks = got == 0;
    if (got == 0) got = s->env->thread_start(s->env->self, &s->thread, save, s, "weir-savepoint", -1);
    if (got == 0) return WR_OK;
    return wr_fail_errno(info, -got, "cannot start a thread for the savepoint; raise the limit of threads");
}

wr_err wr_saving_start(wr_saving **take, const wr_env *env, const char *folder, const wr_manifest *m,
                       const char *target, void (*wake)(void *self), void *self, wr_errinfo *info)
{
    wr_saving *s;
    *take = NULL;
    WR_TRY(wr_saving_may_begin(target, info));
    WR_TRY(begin(&s, env, folder, target, info));
    s->wake = wake;
    s->self = self;
    wr_err err = start(s, m, info);
    if (err == WR_OK)
        *take = s;
    else
        free_saving(s);
    return err;
}

wr_err wr_saving_do(wr_saving **take, const wr_env *env, const char *folder, const wr_manifest *m, const char *target,
                    wr_errinfo *info)
{
    WR_TRY(begin(take, env, folder, target, info));
    (*take)->manifest = *m;
    save(*take);
    memset(&(*take)->manifest, 0, sizeof *m); /* stays the caller's */
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

static bool ends_soon(wr_saving *s)
{
    const wr_env *e = s->env;
    int64_t       until = e->mono_ns(e->self) + WR_SAVING_LEAVE_MS * INT64_C(1000000);
    for (;;) {
        wr_parker_prepare(&s->owner);
        int64_t left_ns = atomic_load(&s->done) ? 0 : until - e->mono_ns(e->self);
        if (left_ns <= 0) break;
        e->park(e->self, &s->owner, left_ns);
    }
    wr_parker_cancel(&s->owner);
    return atomic_load(&s->done);
}

/* False: it has just come to its end. */
static bool leave(wr_saving *s, wr_errinfo *info)
{
    uint32_t writes = IT_WRITES;
    if (!atomic_compare_exchange_strong(&s->turn, &writes, IT_IS_LEFT)) return false;
    wr_fail(info, WR_CANCELED,
            "the job ended before it was complete, and its folder does not answer; %s; what was written there goes "
            "when it does",
            s->target);
    lock_left();
    s->next = left.first;
    left.first = s;
    unlock_left();
    return true;
}

wr_err wr_saving_end(wr_saving *s, bool stop, wr_errinfo *info)
{
    if (stop) atomic_store(&s->stop, true);
    if (stop && s->thread != NULL && !ends_soon(s) && leave(s, info)) return WR_CANCELED;
    if (s->thread != NULL) s->env->thread_join(s->env->self, s->thread);
    wr_err err = s->info.code;
    if (err == WR_CANCELED)
        wr_fail(info, err, "the job ended before it was complete");
    else if (err != WR_OK)
        wr_fail(info, err, "%s", s->info.text);
    free_saving(s);
    return err;
}
