#include "base/aside.h"
#include "base/check.h"
#include "base/sabotage.h"
#include <stdlib.h>

enum { MEANWHILE_MS = 50 };

enum what {
    DO_OPEN = 1,
    DO_CLOSE,
    DO_READ,
    DO_WRITE,
    DO_PREAD,
    DO_PWRITE,
    DO_FSYNC,
    DO_TRUNCATE,
    DO_RENAME,
    DO_RENAME_NEW,
    DO_UNLINK,
    DO_MKDIR,
    DO_RMDIR,
    DO_STAT,
    DO_LIST,
    DO_LOCK,
    DO_HOLD,
    DO_OWN,
    DO_JOIN,
    DO_RUN
};

/* What is asked for. On the asking thread's stack; the helper's from `asked` to `done`. */
typedef struct call {
    enum what     what;
    int           file, flags;
    const char   *path, *to_path;
    void         *to;
    const void   *from;
    size_t        bytes;
    int64_t       offset;
    wr_file_info *about;
    bool (*each)(void *arg, const char *name);
    void      *arg;
    uint64_t  *holder;
    wr_thread *thread;
    int64_t (*run)(void *arg);
} call;

struct wr_aside {
    wr_env        env; /* ours */
    const wr_env *base;
    const void   *owner; /* its thread_self */
    void (*meanwhile)(void *self);
    void      *self;
    wr_thread *helper;
    wr_parker  asking, helping;
    int64_t    meanwhile_ns; /* when that was last */
    int64_t    since_ns;     /* when the call under way began; 0: none is */
    bool       busy;         /* the owner is in a call */
    int        unsynced;     /* the helper's: see perform_later; 0: none */
    /* Shared. call and result belong to who sees `asked`, and then to who sees `done`. */
    const call  *call;
    int64_t      result;
    _Atomic bool asked, done, ends;
};

static int64_t perform(const wr_env *e, const call *c)
{
    switch (c->what) {
    case DO_OPEN: return e->open(e->self, c->path, c->flags);
    case DO_CLOSE: return e->close(e->self, c->file);
    case DO_READ: return e->read(e->self, c->file, c->to, c->bytes);
    case DO_WRITE: return e->write(e->self, c->file, c->from, c->bytes);
    case DO_PREAD: return e->pread(e->self, c->file, c->to, c->bytes, c->offset);
    case DO_PWRITE: return e->pwrite(e->self, c->file, c->from, c->bytes, c->offset);
    case DO_FSYNC: return e->fsync(e->self, c->file);
    case DO_TRUNCATE: return e->truncate(e->self, c->file, c->offset);
    case DO_RENAME: return e->rename(e->self, c->path, c->to_path);
    case DO_RENAME_NEW: return e->rename_new(e->self, c->path, c->to_path);
    case DO_UNLINK: return e->unlink(e->self, c->path);
    case DO_MKDIR: return e->mkdir(e->self, c->path);
    case DO_RMDIR: return e->rmdir(e->self, c->path);
    case DO_STAT: return e->stat(e->self, c->path, c->about);
    case DO_LIST: return e->list(e->self, c->path, c->each, c->arg);
    case DO_LOCK: return e->lock(e->self, c->file, c->holder);
    case DO_HOLD: return e->hold(e->self, c->file, c->flags != 0);
    case DO_OWN: return e->own(e->self, c->file);
    case DO_JOIN: e->thread_join(e->self, c->thread); return 0;
    case DO_RUN: return c->run(c->arg);
    }
    check(!"a call that there is not");
    return 0;
}

/* The helper: a file is said to be synced, and is when something else is asked for. */
static int64_t perform_later(wr_aside *a, const call *c)
{
    if (a->unsynced > 0) a->base->fsync(a->base->self, a->unsynced);
    a->unsynced = c->what == DO_FSYNC ? c->file : 0;
    return c->what == DO_FSYNC ? 0 : perform(a->base, c);
}

static void help(void *arg)
{
    wr_aside     *a = arg;
    const wr_env *e = a->base;
    for (;;) {
        wr_parker_prepare(&a->helping);
        if (atomic_load_explicit(&a->asked, memory_order_acquire)) {
            wr_parker_cancel(&a->helping);
            atomic_store_explicit(&a->asked, false, memory_order_relaxed);
            a->result = wr_sabotage.sync_later ? perform_later(a, a->call) : perform(e, a->call);
            atomic_store_explicit(&a->done, true, memory_order_release);
            wr_parker_wake(e, &a->asking);
        } else if (atomic_load_explicit(&a->ends, memory_order_acquire)) {
            wr_parker_cancel(&a->helping);
            return;
        } else {
            e->park(e->self, &a->helping, -1);
        }
    }
}

static void do_meanwhile(wr_aside *a)
{
    a->meanwhile(a->self);
    a->meanwhile_ns = a->base->mono_ns(a->base->self);
}

static int64_t ask(void *self, const call *c)
{
    wr_aside     *a = self;
    const wr_env *e = a->base;
    if (a->owner != e->thread_self(e->self)) return perform(e, c);
    check(!a->busy); /* meanwhile must not */
    a->busy = true;
    a->since_ns = e->mono_ns(e->self);
    a->call = c;
    atomic_store_explicit(&a->asked, true, memory_order_release);
    wr_parker_wake(e, &a->helping);
    for (;;) {
        wr_parker_prepare(&a->asking);
        if (atomic_load_explicit(&a->done, memory_order_acquire)) break;
        e->park(e->self, &a->asking, MEANWHILE_MS * INT64_C(1000000));
        if (!atomic_load_explicit(&a->done, memory_order_acquire)) do_meanwhile(a);
    }
    wr_parker_cancel(&a->asking);
    atomic_store_explicit(&a->done, false, memory_order_relaxed);
    int64_t result = a->result;
    a->since_ns = 0;
    if (e->mono_ns(e->self) - a->meanwhile_ns >= MEANWHILE_MS * INT64_C(1000000)) do_meanwhile(a);
    a->busy = false;
    return result;
}

/* ---- storage ---- */

static int aside_open(void *self, const char *path, int flags)
{
    return (int)ask(self, &(call){.what = DO_OPEN, .path = path, .flags = flags});
}
static int aside_close(void *self, int file)
{
    return (int)ask(self, &(call){.what = DO_CLOSE, .file = file});
}
static int64_t aside_read(void *self, int file, void *to, size_t bytes)
{
    return ask(self, &(call){.what = DO_READ, .file = file, .to = to, .bytes = bytes});
}
static int64_t aside_write(void *self, int file, const void *from, size_t bytes)
{
    return ask(self, &(call){.what = DO_WRITE, .file = file, .from = from, .bytes = bytes});
}
static int64_t aside_pread(void *self, int file, void *to, size_t bytes, int64_t offset)
{
    return ask(self, &(call){.what = DO_PREAD, .file = file, .to = to, .bytes = bytes, .offset = offset});
}
static int64_t aside_pwrite(void *self, int file, const void *from, size_t bytes, int64_t offset)
{
    return ask(self, &(call){.what = DO_PWRITE, .file = file, .from = from, .bytes = bytes, .offset = offset});
}
static int aside_fsync(void *self, int file)
{
    return (int)ask(self, &(call){.what = DO_FSYNC, .file = file});
}
static int aside_truncate(void *self, int file, int64_t bytes)
{
    return (int)ask(self, &(call){.what = DO_TRUNCATE, .file = file, .offset = bytes});
}
static int aside_rename(void *self, const char *from, const char *to)
{
    return (int)ask(self, &(call){.what = DO_RENAME, .path = from, .to_path = to});
}
static int aside_rename_new(void *self, const char *from, const char *to)
{
    return (int)ask(self, &(call){.what = DO_RENAME_NEW, .path = from, .to_path = to});
}
static int aside_unlink(void *self, const char *path)
{
    return (int)ask(self, &(call){.what = DO_UNLINK, .path = path});
}
static int aside_mkdir(void *self, const char *path)
{
    return (int)ask(self, &(call){.what = DO_MKDIR, .path = path});
}
static int aside_rmdir(void *self, const char *path)
{
    return (int)ask(self, &(call){.what = DO_RMDIR, .path = path});
}
static int aside_stat(void *self, const char *path, wr_file_info *info)
{
    return (int)ask(self, &(call){.what = DO_STAT, .path = path, .about = info});
}
static int aside_list(void *self, const char *folder, bool (*each)(void *arg, const char *name), void *arg)
{
    return (int)ask(self, &(call){.what = DO_LIST, .path = folder, .each = each, .arg = arg});
}
static int aside_lock(void *self, int file, uint64_t *holder)
{
    return (int)ask(self, &(call){.what = DO_LOCK, .file = file, .holder = holder});
}
static int aside_hold(void *self, int file, bool alone)
{
    return (int)ask(self, &(call){.what = DO_HOLD, .file = file, .flags = alone});
}
static int aside_own(void *self, int file)
{
    return (int)ask(self, &(call){.what = DO_OWN, .file = file});
}
static void aside_thread_join(void *self, wr_thread *thread)
{
    ask(self, &(call){.what = DO_JOIN, .thread = thread});
}

int64_t wr_aside_run(wr_aside *a, int64_t (*run)(void *arg), void *arg)
{
    return ask(a, &(call){.what = DO_RUN, .run = run, .arg = arg});
}

int64_t wr_aside_since_ns(const wr_aside *a)
{
    return a->since_ns;
}

/* ---- what is not storage ---- */

static const wr_env *base_of(const void *self)
{
    return ((const wr_aside *)self)->base;
}

static int64_t aside_mono_ns(void *self)
{
    return base_of(self)->mono_ns(base_of(self)->self);
}
static int64_t aside_wall_ns(void *self)
{
    return base_of(self)->wall_ns(base_of(self)->self);
}
static uint64_t aside_random(void *self)
{
    return base_of(self)->random(base_of(self)->self);
}
static int aside_thread_start(void *self, wr_thread **thread, void (*run)(void *arg), void *arg, const char *name,
                              int cpu)
{
    return base_of(self)->thread_start(base_of(self)->self, thread, run, arg, name, cpu);
}
static const void *aside_thread_self(void *self)
{
    return base_of(self)->thread_self(base_of(self)->self);
}
static int aside_cpu_count(void *self)
{
    return base_of(self)->cpu_count(base_of(self)->self);
}
static int aside_parker_init(void *self, wr_parker *parker)
{
    return base_of(self)->parker_init(base_of(self)->self, parker);
}
static void aside_parker_fini(void *self, wr_parker *parker)
{
    base_of(self)->parker_fini(base_of(self)->self, parker);
}
static void aside_park(void *self, wr_parker *parker, int64_t timeout_ns)
{
    base_of(self)->park(base_of(self)->self, parker, timeout_ns);
}
static void aside_park_fds(void *self, wr_parker *parker, int64_t timeout_ns, const int *fd, uint32_t fds)
{
    base_of(self)->park_fds(base_of(self)->self, parker, timeout_ns, fd, fds);
}
static void aside_wake(void *self, wr_parker *parker)
{
    base_of(self)->wake(base_of(self)->self, parker);
}

/* ---- life ---- */

static const wr_env TABLE = {
    .mono_ns = aside_mono_ns,
    .wall_ns = aside_wall_ns,
    .random = aside_random,
    .open = aside_open,
    .close = aside_close,
    .read = aside_read,
    .write = aside_write,
    .pread = aside_pread,
    .pwrite = aside_pwrite,
    .fsync = aside_fsync,
    .truncate = aside_truncate,
    .rename = aside_rename,
    .rename_new = aside_rename_new,
    .unlink = aside_unlink,
    .mkdir = aside_mkdir,
    .rmdir = aside_rmdir,
    .stat = aside_stat,
    .list = aside_list,
    .lock = aside_lock,
    .hold = aside_hold,
    .own = aside_own,
    .thread_start = aside_thread_start,
    .thread_join = aside_thread_join,
    .thread_self = aside_thread_self,
    .cpu_count = aside_cpu_count,
    .parker_init = aside_parker_init,
    .parker_fini = aside_parker_fini,
    .park = aside_park,
    .park_fds = aside_park_fds,
    .wake = aside_wake,
};

_Static_assert(sizeof(wr_env) == 49 * sizeof(void *), "whatever is new in the table has a place in this one, too");

wr_err wr_aside_new(wr_aside **take, const wr_env *env, void (*meanwhile)(void *self), void *self, wr_errinfo *info)
{
    wr_aside *a = calloc(1, sizeof *a);
    *take = NULL;
    if (a == NULL) return wr_fail(info, WR_MEMORY, "no memory for a helper of storage");
    a->base = env;
    a->owner = env->thread_self(env->self);
    a->meanwhile = meanwhile;
    a->self = self;
    a->meanwhile_ns = env->mono_ns(env->self);
    a->env = TABLE;
    a->env.self = a;
    int got = env->parker_init(env->self, &a->asking);
    if (got < 0) {
        free(a);
        return wr_fail_errno(info, -got, "cannot make an event descriptor; raise the limit of open files");
    }
    got = env->parker_init(env->self, &a->helping);
    if (got == 0) {
        got = env->thread_start(env->self, &a->helper, help, a, "weir-storage", -1);
        if (got < 0) env->parker_fini(env->self, &a->helping);
    }
    if (got < 0) {
        env->parker_fini(env->self, &a->asking);
        free(a);
        return wr_fail_errno(info, -got, "cannot start a thread; raise the limit of threads or of open files");
    }
    *take = a;
    return WR_OK;
}

void wr_aside_free(wr_aside *a)
{
    if (a == NULL) return;
    const wr_env *e = a->base;
    atomic_store_explicit(&a->ends, true, memory_order_release);
    wr_parker_wake(e, &a->helping);
    e->thread_join(e->self, a->helper);
    e->parker_fini(e->self, &a->helping);
    e->parker_fini(e->self, &a->asking);
    free(a);
}

const wr_env *wr_aside_env(const wr_aside *a)
{
    return &a->env;
}
