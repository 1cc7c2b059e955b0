/* net/sum.h: the sum of a data frame: xxh3-64, with the widest vectors of this CPU. The system's library is built for
 * the oldest one, and takes more than twice as long. Pure; any thread. */
#ifndef WR_NET_SUM_H
#define WR_NET_SUM_H
#include <stddef.h>
#include <stdint.h>

typedef uint64_t wr_sum_fn(const void *bytes, size_t n, uint64_t seed);
wr_sum_fn       *wr_sum_best(void);
wr_sum_fn        wr_sum_plain;
#if defined(__x86_64__)
wr_sum_fn wr_sum_avx2, wr_sum_avx512;
#endif

#endif
