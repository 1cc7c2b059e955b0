/* bench/meter.h: what the pipelines of this folder share: the clock between their sources and their sinks, and the
 * generator of the reference query.
 *
 * The clock starts with the first real record and ends when the last sink has everything. A job may first send records
 * that only make the engine meet every key; the sources then wait until all of them are through, and start together.
 * All of it lives once per process: `weir run` is one process. Workers of a cluster share it in a file: meter_share. */
#ifndef WEIR_BENCH_METER_H
#define WEIR_BENCH_METER_H
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <weir/pipeline.h>

#define METER_SEED      UINT64_C(88172645463325252)
#define METER_SEED_STEP 7919u /* source i starts from METER_SEED + i * METER_SEED_STEP */
#define METER_GOLDEN    UINT64_C(0x9E3779B97F4A7C15)
#define METER_SETTLE_NS (50 * WEIR_MILLISECOND) /* after the last preloaded record has left its source */

/* Written by the slots of the job, hence atomic; nothing here is touched per record. */
typedef struct meter_state {
    _Atomic uint32_t ready;      /* sources that have sent their preload */
    _Atomic int64_t  go_ns;      /* when all may start */
    _Atomic int64_t  start_ns;   /* when the first one did */
    _Atomic uint64_t subtasks;   /* bit per subtask that had a source */
    _Atomic uint64_t count, sum; /* of the closed sinks */
    _Atomic uint32_t closed;
} meter_state;
static meter_state            meter_own;
static _Atomic(meter_state *) meter_at = &meter_own;
#define meter (*atomic_load(&meter_at))

/* In open, where there may be several processes: with an argument meter=FILE, which is there and has zeros, all of it
 * lies in that file. */
static inline bool meter_share(const weir_ctx *ctx)
{
    const char *path = weir_arg(weir_ctx_args(ctx), "meter", "");
    if (path[0] == 0 || atomic_load(&meter_at) != &meter_own) return true;
    int   file = open(path, O_RDWR | O_CLOEXEC);
    void *at = file >= 0 ? mmap(NULL, sizeof(meter_state), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0) : MAP_FAILED;
    if (file >= 0) close(file);
    if (at == MAP_FAILED) return false;
    atomic_store(&meter_at, (meter_state *)at);
    return true;
}

static inline int64_t meter_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * WEIR_SECOND + t.tv_nsec;
}

/* Called once by each of `sources` sources, when its preload is out. */
static inline void meter_ready(uint32_t sources, weir_duration settle)
{
    if (atomic_fetch_add(&meter.ready, 1) + 1 == sources) atomic_store(&meter.go_ns, meter_now_ns() + settle);
}

/* May the source send its real records? If not, it is woken in time to ask again. */
static inline bool meter_go(weir_ctx *ctx)
{
    int64_t go_ns = atomic_load(&meter.go_ns), now_ns = meter_now_ns(), none = 0;
    if (!go_ns || now_ns < go_ns) {
        weir_duration wait = go_ns ? go_ns - now_ns : WEIR_MILLISECOND;
        weir_wake_after(ctx, wait < WEIR_MILLISECOND ? wait : WEIR_MILLISECOND);
        return false;
    }
    atomic_compare_exchange_strong(&meter.start_ns, &none, now_ns);
    atomic_fetch_or(&meter.subtasks, UINT64_C(1) << (weir_subtask(ctx) % 64));
    return true;
}

/* The last sink prints one line that bench/run reads. */
static inline void meter_close(const weir_ctx *ctx, uint64_t count, uint64_t sum)
{
    int64_t now_ns = meter_now_ns();
    atomic_fetch_add(&meter.count, count);
    atomic_fetch_add(&meter.sum, sum);
    if (atomic_fetch_add(&meter.closed, 1) + 1 < weir_subtasks(ctx)) return;
    char        line[256], path[4096], part[4112];
    const char *shared = weir_arg(weir_ctx_args(ctx), "meter", "");
    snprintf(line, sizeof line, "\nbench seconds=%.6f count=%llu sum=%llu slots=%d\n",
             (double)(now_ns - atomic_load(&meter.start_ns)) * 1e-9, (unsigned long long)atomic_load(&meter.count),
             (unsigned long long)atomic_load(&meter.sum), __builtin_popcountll(atomic_load(&meter.subtasks)));
    fputs(line, stdout);
    fflush(stdout);
    if (shared[0] == 0) return;
    snprintf(path, sizeof path, "%s.txt", shared); /* which appears whole */
    snprintf(part, sizeof part, "%s.part", path);
    FILE *file = fopen(part, "w");
    if (file == NULL) return;
    fputs(line, file);
    fclose(file);
    rename(part, path);
}

static inline uint64_t meter_xorshift(uint64_t x)
{
    x ^= x << 13;
    x ^= x >> 7;
    return x ^ x << 17;
}

/* A number below `limit` out of 64 random bits. */
static inline uint64_t meter_below(uint64_t x, uint64_t limit)
{
    return (uint64_t)(((unsigned __int128)x * limit) >> 64);
}

static inline uint64_t meter_price(uint64_t x)
{
    return (x * METER_GOLDEN) >> 44;
}
#endif
