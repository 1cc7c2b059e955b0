/* bench/meter.h: what the pipelines of this folder share: the clock between their sources and their sinks, and the
 * generator of the reference query.
 *
 * The clock starts with the first real record and ends when the last sink has everything. A job may first send records
 * that only make the engine meet every key; the sources then wait until all of them are through, and start together.
 * All of it lives once per process: `weir run` is one process. */
#ifndef WEIR_BENCH_METER_H
#define WEIR_BENCH_METER_H
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <weir/pipeline.h>

#define METER_SEED      UINT64_C(88172645463325252)
#define METER_SEED_STEP 7919u /* source i starts from METER_SEED + i * METER_SEED_STEP */
#define METER_GOLDEN    UINT64_C(0x9E3779B97F4A7C15)
#define METER_SETTLE_NS (50 * WEIR_MILLISECOND) /* after the last preloaded record has left its source */

/* Written by the slots of the job, hence atomic; nothing here is touched per record. */
static struct {
    _Atomic uint32_t ready;      /* sources that have sent their preload */
    _Atomic int64_t  go_ns;      /* when all may start */
    _Atomic int64_t  start_ns;   /* when the first one did */
    _Atomic uint64_t subtasks;   /* bit per subtask that had a source */
    _Atomic uint64_t count, sum; /* of the closed sinks */
    _Atomic uint32_t closed;
} meter;

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
    printf("\nbench seconds=%.6f count=%llu sum=%llu slots=%d\n",
           (double)(now_ns - atomic_load(&meter.start_ns)) * 1e-9, (unsigned long long)atomic_load(&meter.count),
           (unsigned long long)atomic_load(&meter.sum), __builtin_popcountll(atomic_load(&meter.subtasks)));
    fflush(stdout);
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
