/* base/sum.h: xxh3 with the widest vectors of this CPU. The system's library is built for the oldest one, and takes two
 * to four times as long. Pure; any thread. */
#ifndef WR_BASE_SUM_H
#define WR_BASE_SUM_H
#include <stdalign.h>
#include <stddef.h>
#include <stdint.h>

/* A sum in pieces: begin, add, add ..., end. Caller's storage, from aligned_alloc. */
typedef struct wr_sum_state {
    alignas(64) unsigned char bytes[576];
} wr_sum_state;

/* The same sums, whichever it is. Const. */
typedef struct wr_sum {
    uint64_t (*of64)(const void *bytes, size_t n, uint64_t seed);
    void (*of128)(const void *bytes, size_t n, uint64_t sum[2]);
    void (*begin)(wr_sum_state *s);
    void (*add)(wr_sum_state *s, const void *bytes, size_t n);
    void (*end)(const wr_sum_state *s, uint64_t sum[2]);
} wr_sum;

const wr_sum       *wr_sum_best(void);
extern const wr_sum wr_sum_plain;
#if defined(__x86_64__)
extern const wr_sum wr_sum_avx2, wr_sum_avx512; /* not for each CPU */
#endif

#endif
