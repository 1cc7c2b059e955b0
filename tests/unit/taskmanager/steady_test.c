/* ctest: slow serial timeout=300
 * A job that runs steadily costs nothing but its work: after warm-up no allocation and fewer than one system call per
 * 1,000 batches on a slot's thread, between two saturated slots with an exchange by key; none of either in one thread.
 *
 * Allocations are counted by malloc and its family defined here, per thread. System calls are counted where the engine
 * makes them: at its environment table (park, wake, files; a clock read is none, it stays in the process) and at the
 * calls of the C library that it uses directly (mmap and its family). Where other programs take a slot's CPU away, the
 * other slot has to park, and to be woken: a few calls for each time, which are no fault of the engine's. The system
 * says how often that was. */
#include "graph/exec.h"
#include "taskmanager/worker.h"
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <weir/pipeline.h>

#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

/* ---- counting ---- */

static _Thread_local uint64_t allocations, calls;

#ifndef SANITIZED /* which bring a malloc of their own */
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *p, size_t bytes);
void *__libc_memalign(size_t align, size_t bytes);
void  __libc_free(void *p);

__attribute__((visibility("default"))) void *malloc(size_t bytes)
{
    allocations++;
    return __libc_malloc(bytes);
}
__attribute__((visibility("default"))) void *calloc(size_t count, size_t bytes)
{
    allocations++;
    return __libc_calloc(count, bytes);
}
__attribute__((visibility("default"))) void *realloc(void *p, size_t bytes)
{
    allocations++;
    return __libc_realloc(p, bytes);
}
__attribute__((visibility("default"))) void *aligned_alloc(size_t align, size_t bytes)
{
    allocations++;
    return __libc_memalign(align, bytes);
}
__attribute__((visibility("default"))) int posix_memalign(void **p, size_t align, size_t bytes)
{
    allocations++;
    *p = __libc_memalign(align, bytes);
    return *p != NULL ? 0 : ENOMEM;
}
__attribute__((visibility("default"))) void free(void *p)
{
    if (p != NULL) allocations++;
    __libc_free(p);
}
__attribute__((visibility("default"))) void *mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t offset)
{
    calls++;
    return (void *)syscall(SYS_mmap, at, bytes, prot, flags, fd, offset);
}
__attribute__((visibility("default"))) int munmap(void *at, size_t bytes)
{
    calls++;
    return (int)syscall(SYS_munmap, at, bytes);
}
__attribute__((visibility("default"))) int madvise(void *at, size_t bytes, int advice)
{
    calls++;
    return (int)syscall(SYS_madvise, at, bytes, advice);
}
#endif

static const wr_env *real;
static void          counting_park(void *self, wr_parker *parker, int64_t timeout_ns)
{
    calls++;
    real->park(self, parker, timeout_ns);
}
static void counting_park_fds(void *self, wr_parker *parker, int64_t timeout_ns, const int *fd, uint32_t fds)
{
    calls++;
    real->park_fds(self, parker, timeout_ns, fd, fds);
}
static void counting_wake(void *self, wr_parker *parker)
{
    calls++;
    real->wake(self, parker);
}
static int64_t counting_read(void *self, int file, void *to, size_t bytes)
{
    calls++;
    return real->read(self, file, to, bytes);
}
static int64_t counting_write(void *self, int file, const void *from, size_t bytes)
{
    calls++;
    return real->write(self, file, from, bytes);
}
static wr_env counting_env(void)
{
    real = wr_env_real();
    wr_env env = *real;
    env.park = counting_park;
    env.park_fds = counting_park_fds;
    env.wake = counting_wake;
    env.read = counting_read;
    env.write = counting_write;
    return env;
}

/* ---- the job: two sources without end, counts by key on two slots, into nothing ---- */

enum { SLOTS = 2, KEYS = 5000, WARM_UP = 40000, MEASURED = 20000, ATTEMPTS = 10, CALLS_PER_LOSS = 8 };

/* Of one slot; its source writes. A poll fills one batch. */
typedef struct meter {
    uint64_t         polls, allocations, calls; /* the last two: at the end of the warm-up, then since */
    uint64_t         losses;                    /* likewise: how often its CPU was taken away */
    _Atomic uint32_t done;
} meter;
static meter        meters[SLOTS];
static _Atomic bool enough;

WEIR_RECORD(pair, (uint64_t, key), (uint64_t, value))
WEIR_RECORD(part, (uint32_t, index))
WEIR_STATE(sums, (uint64_t, n))

static void parts_of_all(part_out *out, weir_ctx *ctx)
{
    (void)ctx;
    for (uint32_t i = 0; i < SLOTS; i++) part_emit(out, (part){.index = i});
}
typedef struct feeder {
    uint64_t at;
} feeder;
static bool feeder_open(const part *split, feeder *f, weir_ctx *ctx)
{
    (void)split;
    (void)f;
    (void)ctx;
    return true;
}
static void feeder_close(feeder *f)
{
    (void)f;
}

static uint64_t losses_now(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_THREAD, &usage) == 0 ? (uint64_t)usage.ru_nivcsw : 0; /* 0 excuses nothing */
}

static void measure(meter *m)
{
    m->polls++;
    if (m->polls == WARM_UP) {
        m->allocations = allocations;
        m->calls = calls;
        m->losses = losses_now();
    }
    if (m->polls == WARM_UP + MEASURED) {
        m->allocations = allocations - m->allocations;
        m->calls = calls - m->calls;
        m->losses = losses_now() - m->losses;
        atomic_store(&m->done, 1);
    }
}

WEIR_SOURCE(pairs, part, split, feeder, f, pair, out, ctx, parts_of_all, feeder_open, feeder_close)
{
    measure(&meters[weir_subtask(ctx)]);
    for (; weir_room(&out->out); f->at++)
        pair_emit(out, (pair){.key = f->at * UINT64_C(0x9e3779b97f4a7c15) % KEYS, .value = split->index});
    return atomic_load_explicit(&enough, memory_order_relaxed) ? WEIR_END : WEIR_MORE;
}
WEIR_KEYED(count, pair, in, sums, st, pair, out)
{
    pair_emit(out, (pair){.key = in->key, .value = ++st->n});
}
typedef struct hole {
    uint64_t sum;
} hole;
static bool hole_open(hole *h, weir_ctx *ctx)
{
    return h != NULL && ctx != NULL;
}
static bool hole_flush(hole *h, weir_ctx *ctx)
{
    return h != NULL && ctx != NULL;
}
static void hole_close(hole *h, weir_ctx *ctx)
{
    (void)h;
    (void)ctx;
}
WEIR_SINK(nothing, pair, in, hole, h, ctx, hole_open, hole_flush, hole_close)
{
    h->sum += in->value;
}

typedef struct steady {
    weir_pipeline *pipeline;
    const wr_job  *job;
    wr_exec       *exec;
    wr_worker     *worker;
    wr_env         env;
} steady;

/* The nth CPU that this process may use, or -1. */
static int allowed_cpu(int n)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return -1;
    for (int i = 0; i < CPU_SETSIZE; i++) {
        if (CPU_ISSET(i, &set) && n-- == 0) return i;
    }
    return -1;
}

static void steady_new(steady *s)
{
    wr_errinfo info = {0};
    memset(meters, 0, sizeof meters);
    atomic_store(&enough, false);
    s->env = counting_env();
    s->pipeline = wr_job_new("steady", NULL, 0);
    pair_stream in = weir_read(pairs, s->pipeline);
    weir_write(nothing, weir_apply(count, weir_key_by(in, key)), .blocking = WEIR_ON_SLOT);
    wr_job_settings   settings = {.parallelism = SLOTS};
    const int         cpu[SLOTS] = {allowed_cpu(0), allowed_cpu(1)};
    wr_worker_options options = {.env = &s->env, .job = "steady", .spin = true, .cpu = cpu};
    assert_int_equal(wr_job_finish(s->pipeline, &settings, &s->job, &info), WR_OK);
    assert_int_equal(wr_exec_new(s->job, &s->exec, &info), WR_OK);
    assert_int_equal(wr_worker_new(&s->worker, s->exec, &options, &info), WR_OK);
}

static void steady_free(steady *s)
{
    wr_worker_free(s->worker);
    wr_exec_free(s->exec);
    wr_job_free(s->pipeline);
}

static bool measured(void)
{
    bool all = true;
    for (uint32_t i = 0; i < SLOTS; i++) all &= atomic_load(&meters[i].done) != 0;
    return all;
}

/* Looks now and then, so that the slots keep their CPUs. */
static void wait_until_measured(void)
{
    const wr_env *env = wr_env_real();
    wr_parker     parker;
    assert_int_equal(env->parker_init(env->self, &parker), 0);
    while (!measured()) env->park(env->self, &parker, 1000000);
    env->parker_fini(env->self, &parker);
}

static void test_two_saturated_slots(void **state)
{
    (void)state;
#ifdef SANITIZED
    skip();
#endif
    /* The best of a few: a CPU that is lost can also be lost for long. */
    for (uint32_t attempt = 1;; attempt++) {
        steady     s;
        wr_errinfo info = {0};
        uint64_t   sum_allocations = 0, sum_calls = 0, losses = 0;
        steady_new(&s);
        assert_int_equal(wr_worker_start(s.worker, &info), WR_OK);
        wait_until_measured();
        atomic_store(&enough, true);
        wr_worker_join(s.worker);
        for (uint32_t i = 0; i < SLOTS; i++) {
            printf("slot %u: %lu allocations, %lu system calls in %d batches; its CPU was lost %lu times\n", i,
                   (unsigned long)meters[i].allocations, (unsigned long)meters[i].calls, MEASURED,
                   (unsigned long)meters[i].losses);
            sum_allocations += meters[i].allocations;
            sum_calls += meters[i].calls;
            losses += meters[i].losses;
        }
        steady_free(&s);
        /* Where a CPU was lost, more batches are on their way than ever before: the pool grows once more. */
        assert_true(sum_allocations == 0 || losses != 0);
        if (sum_allocations == 0 && sum_calls < SLOTS * MEASURED / 1000 + CALLS_PER_LOSS * losses) return;
        if (attempt == ATTEMPTS) fail_msg("allocations, or too many system calls, in each of %d attempts", ATTEMPTS);
    }
}

static void test_in_one_thread_there_are_none(void **state)
{
    (void)state;
#ifdef SANITIZED
    skip();
#endif
    steady   s;
    uint32_t at = 1;
    steady_new(&s);
    while (!wr_worker_done(s.worker)) {
        at = at * 1103515245 + 12345; /* any order will do */
        wr_worker_step(s.worker, (at >> 16) % wr_worker_slots(s.worker));
        if (measured()) atomic_store(&enough, true);
    }
    for (uint32_t i = 0; i < SLOTS; i++) {
        assert_int_equal(meters[i].allocations, 0);
        assert_int_equal(meters[i].calls, 0);
    }
    steady_free(&s);
}

/* The counters themselves can count. */
static void test_counting_works(void **state)
{
    (void)state;
#ifdef SANITIZED
    skip();
#endif
    uint64_t before = allocations, before_calls = calls;
    void *volatile p = malloc(10);
    free(p);
    wr_env    env = counting_env();
    wr_parker parker = {0};
    assert_int_equal(env.parker_init(env.self, &parker), 0);
    env.park(env.self, &parker, 0);
    env.parker_fini(env.self, &parker);
    assert_true(allocations >= before + 2);
    assert_true(calls > before_calls);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counting_works),
        cmocka_unit_test(test_in_one_thread_there_are_none),
        cmocka_unit_test(test_two_saturated_slots),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
