/* The simulated environment: a clock that moves when it is read or told to, seeded random, an empty file system or
 * a disk, threads that are stepped. Parkers are flags: whoever is woken is stepped sooner or later anyway. */
#include "base/check.h"
#include "tests/sim/disk.h"
#include "tests/sim/threads.h"
#include <errno.h>
#include <stddef.h>

static int64_t mono_ns(void *self)
{
    sim_clock *c = self;
    c->now_ns += 1 + (int64_t)wr_prng_below(&c->random, c->tick_ns > 0 ? c->tick_ns : 1500);
    return c->now_ns;
}
static int64_t wall_ns(void *self)
{
    return mono_ns(self) + INT64_C(1700000000000000000);
}
static uint64_t random_bits(void *self)
{
    return wr_prng_next(&((sim_clock *)self)->random);
}

static int open_file(void *self, const char *path, int flags)
{
    (void)self;
    (void)path;
    return flags & WR_OPEN_CREATE ? -EROFS : -ENOENT;
}
static int stat_file(void *self, const char *path, wr_file_info *info)
{
    (void)self;
    (void)path;
    (void)info;
    return -ENOENT;
}

static const void *thread_self(void *self)
{
    return sim_thread_running() != NULL ? (const void *)sim_thread_running() : self;
}

static int cpu_count(void *self)
{
    (void)self;
    return 1;
}

static int parker_init(void *self, wr_parker *parker)
{
    parker->fd = (int)((sim_clock *)self)->parkers++;
    return 0;
}
static void parker_fini(void *self, wr_parker *parker)
{
    ((sim_clock *)self)->parkers--;
    parker->fd = -1;
}
static void wake(void *self, wr_parker *parker)
{
    atomic_store(&parker->state, WR_PARKER_AWAKE);
    ((sim_clock *)self)->wakes++;
}
/* A slot that is stepped never parks. A sink that waits to try again does, and nobody can wake it; who waits for what
 * it reads is woken by the disk. */
static void park(void *self, wr_parker *parker, int64_t timeout_ns)
{
    sim_clock *clock = self;
    if (clock->threads != NULL && clock->threads->first != NULL) {
        sim_threads_park(clock->threads, parker, timeout_ns);
        return;
    }
    check(timeout_ns >= 0);
    int64_t until = clock->now_ns + timeout_ns;
    int64_t woken = clock->disk != NULL ? sim_disk_wakes_ns(clock->disk, parker) : INT64_MAX;
    if (woken < until) until = woken;
    if (clock->now_ns < until) clock->now_ns = until;
    atomic_store(&parker->state, WR_PARKER_AWAKE);
}
static int thread_start(void *self, wr_thread **thread, void (*run)(void *arg), void *arg, const char *name, int cpu)
{
    sim_clock *clock = self;
    (void)name;
    (void)cpu;
    check(clock->threads != NULL); /* else the simulator has one thread */
    return sim_threads_start(clock->threads, thread, run, arg);
}
static void thread_join(void *self, wr_thread *thread)
{
    sim_threads_join(((sim_clock *)self)->threads, thread);
}

wr_env sim_env(sim_clock *clock)
{
    wr_env env = {.self = clock,
                  .mono_ns = mono_ns,
                  .wall_ns = wall_ns,
                  .random = random_bits,
                  .open = open_file,
                  .stat = stat_file,
                  .cpu_count = cpu_count,
                  .parker_init = parker_init,
                  .parker_fini = parker_fini,
                  .park = park,
                  .wake = wake,
                  .thread_start = thread_start,
                  .thread_join = thread_join,
                  .thread_self = thread_self};
    if (clock->disk != NULL) sim_disk_env(&env);
    return env;
}
