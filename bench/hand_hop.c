/* The hand-written side of one hop: a plain copy loop between two buffers of 1,024 records of 32 bytes (64 KiB
 * together: in the second-level cache, as batches are). One record copied is one hop of one record.
 *
 *     hand_hop RECORDS
 *
 *     gcc -O3 -march=native hand_hop.c -o hand_hop
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define BATCH 1024u

typedef struct {
    uint64_t key, value, at, step;
} record;

static record buffers[2][BATCH] __attribute__((aligned(4096)));

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Out of line, so that two rounds cannot be folded into one. The compiler may make it a memcpy: that is a plain copy
 * too. */
static __attribute__((noinline)) void copy(record *restrict to, const record *restrict from, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) to[i] = from[i];
    __asm__ volatile("" ::: "memory");
}

int main(int argc, char **argv)
{
    uint64_t records = argc == 2 ? strtoull(argv[1], NULL, 10) : 0, sum = 0;
    if (records < BATCH) {
        fprintf(stderr, "usage: hand_hop RECORDS (at least %u)\n", BATCH);
        return 2;
    }
    uint64_t batches = records / BATCH;
    for (uint32_t i = 0; i < BATCH; i++) buffers[0][i] = (record){i, i + 1, 0, 0};
    copy(buffers[1], buffers[0], BATCH);
    double start_s = now_s();
    for (uint64_t i = 0; i < batches; i++) copy(buffers[(i & 1) ^ 1], buffers[i & 1], BATCH);
    double seconds = now_s() - start_s;
    for (uint32_t i = 0; i < BATCH; i++) sum += buffers[batches & 1][i].value;
    printf("records=%llu seconds=%.6f sum=%llu\n", (unsigned long long)(batches * BATCH), seconds,
           (unsigned long long)sum);
    return 0;
}
