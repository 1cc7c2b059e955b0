/* base/mem.h: large ranges of memory straight from the system. A range is reserved at its greatest size and costs
 * nothing until it is touched; so tables and pools grow without moving. Any thread; a range belongs to who reserved
 * it. */
#ifndef WR_BASE_MEM_H
#define WR_BASE_MEM_H
#include <stddef.h>
#include <stdint.h>

/* Asks for a line that is used some dozens of records later. Into the second level: a core waits for 24 lines at once
 * in its first level (Zen 5) and for twice as many in its second, so where memory is slow (250 ns) that doubles how
 * many come per second. Not for what is used next. A macro, as gcc drops calls of functions that only prefetch. */
#define WR_FETCH(at) __builtin_prefetch(at, 0, 2)

/* Zeroed when first touched, aligned to 2 MiB, rounded up to whole pages. NULL when the system has no address space
 * left. */
void *wr_mem_reserve(size_t bytes);
/* Asks for huge pages in the whole range; advice only, so nothing to check. Good for tables, bad for small things. */
void wr_mem_huge(void *at, size_t bytes);
/* Gives pages back to the system; they read as zero when touched again. at and bytes are multiples of the page. */
void wr_mem_discard(void *at, size_t bytes);
/* at is what wr_mem_reserve gave, bytes what it was asked for. NULL is nothing. */
void wr_mem_release(void *at, size_t bytes);

/* Private memory that this process may have besides all ranges (RLIMIT_DATA, which counts what is only reserved). Once,
 * before there are threads; 0: no bound. */
void wr_mem_bound(uint64_t bytes);

uint64_t wr_mem_reserved_bytes(void); /* address space of all ranges now */
uint64_t wr_mem_resident_bytes(void); /* resident memory of the process now, as the system counts it; 0 when unknown */

#endif
