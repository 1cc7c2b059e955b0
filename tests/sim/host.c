#include "tests/sim/host.h"
#include "base/check.h"
#include "tests/sim/net.h"
#include <errno.h>
#include <string.h>

static void kill_queues(sim_host *h)
{
    for (uint32_t i = 0; i < SIM_HOST_QUEUES; i++) {
        if (h->queue[i] != NULL) sim_disk_kill_io(h->clock->disk, h->queue[i]);
    }
}

/* Before a storage call. False: it fails, since the process is dead. Its very last call may still be done. */
static bool lives(sim_host *h)
{
    if (h->dead) return false;
    if (h->die_in == 0 || --h->die_in > 0) return true;
    h->dead = true;
    kill_queues(h);
    return wr_prng_one_in(&h->random, 2) != 0;
}

static void keep_file(sim_host *h, int file)
{
    for (uint32_t i = 0; i < SIM_HOST_FILES && file >= 0; i++) {
        if (h->file[i] != 0) continue;
        h->file[i] = file;
        return;
    }
    check(file < 0);
}

static int64_t mono_ns(void *self)
{
    sim_host *h = self;
    return h->base.mono_ns(h->base.self);
}
static int64_t wall_ns(void *self)
{
    sim_host *h = self;
    return h->base.wall_ns(h->base.self);
}
static uint64_t random_bits(void *self)
{
    return wr_prng_next(&((sim_host *)self)->random);
}

/* ---- storage: as the disk does it, while the process lives ----
 * Who is on a thread waits for it, while others go on: mostly a little, sometimes for longer than a lease. */

static int64_t call_ns(sim_host *h)
{
    const int64_t slow_ns = sim_disk_faults(h->clock->disk)->slow_ns;
    int64_t       most = wr_prng_one_in(&h->waits, 40) ? 1000000 : 10000;
    if (wr_prng_one_in(&h->waits, h->long_one_in)) most = 40000000;
    return (int64_t)wr_prng_below(&h->waits, (uint64_t)(most + slow_ns));
}

static bool begins(sim_host *h)
{
    const bool apart = sim_thread_running() != NULL;
    if (apart && !h->dead) {
        int64_t ns = call_ns(h);
        h->calls++;
        h->long_calls += ns >= 1000000;
        sim_thread_call(ns);
    }
    if (!lives(h)) return false;
    h->clock->apart = apart;
    return true;
}

/* What was asked for is done; who asked learns of it when it has its turn. */
static int64_t ends(sim_host *h, int64_t result)
{
    h->clock->apart = false;
    if (sim_thread_running() != NULL && !h->dead) sim_thread_yield();
    return result;
}

#define CALL(WHAT, ...) (begins(h) ? ends(h, h->base.WHAT(h->base.self, __VA_ARGS__)) : -EIO)

static int host_open(void *self, const char *path, int flags)
{
    sim_host *h = self;
    int       file = (int)CALL(open, path, flags);
    keep_file(h, file);
    return file;
}
static int host_close(void *self, int file)
{
    sim_host *h = self;
    for (uint32_t i = 0; i < SIM_HOST_FILES; i++) {
        if (h->file[i] != file) continue;
        h->file[i] = 0;
        return h->base.close(h->base.self, file);
    }
    return 0;
}
static int64_t host_read(void *self, int file, void *to, size_t bytes)
{
    sim_host *h = self;
    return CALL(read, file, to, bytes);
}
static int64_t host_write(void *self, int file, const void *from, size_t bytes)
{
    sim_host *h = self;
    return CALL(write, file, from, bytes);
}
static int64_t host_pread(void *self, int file, void *to, size_t bytes, int64_t offset)
{
    sim_host *h = self;
    return CALL(pread, file, to, bytes, offset);
}
static int64_t host_pwrite(void *self, int file, const void *from, size_t bytes, int64_t offset)
{
    sim_host *h = self;
    return CALL(pwrite, file, from, bytes, offset);
}
static int host_fsync(void *self, int file)
{
    sim_host *h = self;
    return (int)CALL(fsync, file);
}
static int host_truncate(void *self, int file, int64_t bytes)
{
    sim_host *h = self;
    return (int)CALL(truncate, file, bytes);
}
static int host_rename(void *self, const char *from, const char *to)
{
    sim_host *h = self;
    return (int)CALL(rename, from, to);
}
static int host_rename_new(void *self, const char *from, const char *to)
{
    sim_host *h = self;
    return (int)CALL(rename_new, from, to);
}
static int host_unlink(void *self, const char *path)
{
    sim_host *h = self;
    return (int)CALL(unlink, path);
}
static int host_mkdir(void *self, const char *path)
{
    sim_host *h = self;
    return (int)CALL(mkdir, path);
}
static int host_rmdir(void *self, const char *path)
{
    sim_host *h = self;
    return (int)CALL(rmdir, path);
}
static int host_stat(void *self, const char *path, wr_file_info *info)
{
    sim_host *h = self;
    return (int)CALL(stat, path, info);
}
static int host_list(void *self, const char *folder, bool (*each)(void *arg, const char *name), void *arg)
{
    sim_host *h = self;
    return (int)CALL(list, folder, each, arg);
}
static int host_lock(void *self, int file, uint64_t *holder)
{
    sim_host *h = self;
    return (int)CALL(lock, file, holder);
}

static int host_hold(void *self, int file, bool alone)
{
    sim_host *h = self;
    return (int)CALL(hold, file, alone);
}

static int host_own(void *self, int file)
{
    sim_host *h = self;
    return (int)CALL(own, file);
}

static int host_io_new(void *self, wr_io **io, wr_parker *parker, uint32_t depth)
{
    sim_host *h = self;
    int       result = h->base.io_new(h->base.self, io, parker, depth);
    uint32_t  i = 0;
    while (i < SIM_HOST_QUEUES && h->queue[i] != NULL) i++;
    check(result == 0 && i < SIM_HOST_QUEUES);
    h->queue[i] = *io;
    if (h->dead) sim_disk_kill_io(h->clock->disk, *io);
    return 0;
}
static void host_io_free(void *self, wr_io *io)
{
    sim_host *h = self;
    for (uint32_t i = 0; i < SIM_HOST_QUEUES; i++) {
        if (h->queue[i] == io) h->queue[i] = NULL;
    }
    h->base.io_free(h->base.self, io);
}
static int host_io_submit(void *self, wr_io *io, const wr_io_op *op)
{
    sim_host *h = self;
    return h->base.io_submit(h->base.self, io, op);
}
static uint32_t host_io_reap(void *self, wr_io *io, wr_io_done *done, uint32_t n)
{
    sim_host *h = self;
    return h->base.io_reap(h->base.self, io, done, n);
}

/* ---- the rest ---- */

static int cpu_count(void *self)
{
    return ((sim_host *)self)->cpus;
}
static int parker_init(void *self, wr_parker *parker)
{
    sim_host *h = self;
    return h->base.parker_init(h->base.self, parker);
}
static void parker_fini(void *self, wr_parker *parker)
{
    sim_host *h = self;
    h->base.parker_fini(h->base.self, parker);
}
static void park(void *self, wr_parker *parker, int64_t timeout_ns)
{
    sim_host *h = self;
    if (h->threads.first != NULL)
        sim_threads_park(&h->threads, parker, timeout_ns);
    else
        h->base.park(h->base.self, parker, timeout_ns);
}
static void park_fds(void *self, wr_parker *parker, int64_t timeout_ns, const int *fd, uint32_t fds)
{
    (void)fd;
    (void)fds;
    park(self, parker, timeout_ns > 0 ? timeout_ns : 0);
}
static void wake(void *self, wr_parker *parker)
{
    sim_host *h = self;
    h->base.wake(h->base.self, parker);
}
static int thread_start(void *self, wr_thread **thread, void (*run)(void *arg), void *arg, const char *name, int cpu)
{
    sim_host *h = self;
    (void)name;
    (void)cpu;
    check(h->threaded);
    return sim_threads_start(&h->threads, thread, run, arg);
}
static void thread_join(void *self, wr_thread *thread)
{
    sim_threads_join(&((sim_host *)self)->threads, thread);
}
static const void *thread_self(void *self)
{
    return sim_thread_running() != NULL ? (const void *)sim_thread_running() : self;
}

void sim_host_init(sim_host *h, sim_clock *clock, sim_net *net, uint32_t machine, uint64_t seed)
{
    *h = (sim_host){.clock = clock, .net = net, .machine = machine, .random = wr_prng_of(seed), .cpus = 1};
    sim_threads_init(&h->threads, clock, seed + 1);
    h->waits = wr_prng_of(seed + 2);
    h->long_one_in = wr_prng_one_in(&h->waits, 4) ? 20 : 300;
    h->base = sim_env(clock);
    h->env = (wr_env){.self = h,
                      .mono_ns = mono_ns,
                      .wall_ns = wall_ns,
                      .random = random_bits,
                      .open = host_open,
                      .close = host_close,
                      .read = host_read,
                      .write = host_write,
                      .pread = host_pread,
                      .pwrite = host_pwrite,
                      .fsync = host_fsync,
                      .truncate = host_truncate,
                      .rename = host_rename,
                      .rename_new = host_rename_new,
                      .unlink = host_unlink,
                      .mkdir = host_mkdir,
                      .rmdir = host_rmdir,
                      .stat = host_stat,
                      .list = host_list,
                      .lock = host_lock,
                      .hold = host_hold,
                      .own = host_own,
                      .io_new = host_io_new,
                      .io_free = host_io_free,
                      .io_submit = host_io_submit,
                      .io_reap = host_io_reap,
                      .thread_start = thread_start,
                      .thread_join = thread_join,
                      .thread_self = thread_self,
                      .cpu_count = cpu_count,
                      .parker_init = parker_init,
                      .parker_fini = parker_fini,
                      .park = park,
                      .park_fds = park_fds,
                      .wake = wake};
    sim_net_env(&h->env);
}

int64_t sim_host_io_due_ns(const sim_host *h)
{
    int64_t due = INT64_MAX;
    for (uint32_t i = 0; i < SIM_HOST_QUEUES; i++) {
        int64_t at = h->queue[i] != NULL ? sim_disk_io_due_ns(h->queue[i]) : INT64_MAX;
        if (at < due) due = at;
    }
    return due;
}

void sim_host_kill(sim_host *h)
{
    if (!h->dead) sim_threads_cut(&h->threads, &h->waits);
    h->dead = h->threads.hurry = true;
    kill_queues(h);
    for (uint32_t i = 0; i < SIM_HOST_FILES; i++) {
        if (h->file[i] != 0) h->base.close(h->base.self, h->file[i]);
        h->file[i] = 0;
    }
    sim_net_forget(h->net, h);
}
