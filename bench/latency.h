/* bench/latency.h: the pace, the clock and the counts that latency.c and hand_latency.c share. */
#ifndef WEIR_BENCH_LATENCY_H
#define WEIR_BENCH_LATENCY_H
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { LATENCY_SAMPLE = 64, LATENCY_STEP_NS = 250, LATENCY_STEPS = 1 << 20, LATENCY_WARM_NS = 500000000 };

/* Receiver's. */
typedef struct latency_counts {
    uint64_t records, samples, step[LATENCY_STEPS];
    int64_t  first_ns, last_ns;
} latency_counts;

static inline int64_t latency_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* rate 0: everything is due when it is sent. */
static inline int64_t latency_due(int64_t start_ns, int64_t now_ns, uint64_t rate, uint64_t n)
{
    if (rate == 0) return now_ns > start_ns ? now_ns : start_ns;
    return start_ns + (int64_t)((unsigned __int128)n * 1000000000u / rate);
}

/* The first one that is not due yet. */
static inline uint64_t latency_due_until(int64_t start_ns, int64_t now_ns, uint64_t rate, uint64_t n)
{
    if (now_ns < start_ns) return n;
    if (rate == 0) return n + 4096;
    return (uint64_t)((unsigned __int128)(uint64_t)(now_ns - start_ns) * rate / 1000000000u) + 1;
}

static inline void latency_add(latency_counts *c, uint64_t number, int64_t due_ns)
{
    c->records++;
    if (number % LATENCY_SAMPLE != 0) return;
    int64_t now = latency_now(), took = now - due_ns;
    if (c->first_ns == 0) c->first_ns = now;
    c->last_ns = now;
    if (now - c->first_ns < LATENCY_WARM_NS) return;
    uint64_t at = took < 0 ? 0 : (uint64_t)took / LATENCY_STEP_NS;
    c->step[at < LATENCY_STEPS ? at : LATENCY_STEPS - 1]++;
    c->samples++;
}

static inline double latency_at(const latency_counts *c, double share)
{
    uint64_t wanted = (uint64_t)((double)c->samples * share), sum = 0;
    for (uint32_t i = 0; i < LATENCY_STEPS; i++) {
        sum += c->step[i];
        if (sum > wanted) return (i + 0.5) * LATENCY_STEP_NS * 1e-3;
    }
    return 0;
}

/* One line; the file appears whole. */
static inline void latency_write(const latency_counts *c, const char *path)
{
    char  other[4200];
    FILE *file = (snprintf(other, sizeof other, "%s.part", path), fopen(other, "w"));
    if (file == NULL) return;
    fprintf(file, "bench count=%llu seconds=%.6f p50_us=%.2f p90_us=%.2f p99_us=%.2f p999_us=%.2f p9999_us=%.2f\n",
            (unsigned long long)c->records, (double)(c->last_ns - c->first_ns) * 1e-9, latency_at(c, 0.5),
            latency_at(c, 0.9), latency_at(c, 0.99), latency_at(c, 0.999), latency_at(c, 0.9999));
    fclose(file);
    rename(other, path);
}
#endif
