/* base/ahead.h: touches memory before its owner does. The kernel clears fresh pages at the first touch, which takes
 * half of the time of a table that fills up; a thread that runs a few megabytes ahead takes it off the owner's path.
 * Advice only: where the thread or the kernel does not help, the owner touches its pages itself. */
#ifndef WR_BASE_AHEAD_H
#define WR_BASE_AHEAD_H
#include "base/env.h"
#include <stdatomic.h>

typedef struct wr_ahead wr_ahead;

/* A range that fills from its beginning. Caller's storage; its owner's thread calls, the helper's reads `used`. */
typedef struct wr_ahead_range {
    wr_ahead              *ahead; /* NULL: nobody runs ahead */
    struct wr_ahead_range *next;
    char                  *base;
    uint64_t               bytes, told;
    uint64_t               done;    /* touched up to here; the helper's */
    bool                   no_lead; /* set before it is added: touched as far as it is wanted, and no further */
    _Atomic uint64_t       used, wanted;
    _Atomic uint64_t       ready; /* nothing below it costs a first touch any more */
} wr_ahead_range;

/* Any thread. The thread starts with the first range. NULL when out of memory, which is no error. */
wr_ahead *wr_ahead_new(const wr_env *env);
void      wr_ahead_free(wr_ahead *ahead); /* after every range was removed; NULL is nothing */

/* base is aligned to WR_HUGE_BYTES and stays mapped until wr_ahead_remove, which may wait for a few milliseconds. */
void wr_ahead_add(wr_ahead *ahead, wr_ahead_range *range, void *base, uint64_t bytes, uint64_t used);
void wr_ahead_remove(wr_ahead_range *range);
void wr_ahead_tell(wr_ahead_range *range, uint64_t used); /* slow path of wr_ahead_used */
/* The range will be used up to here: all of it is touched soon. */
void wr_ahead_want(wr_ahead_range *range, uint64_t bytes);

/* How much of it was. */
static inline uint64_t wr_ahead_ready(const wr_ahead_range *range)
{
    return atomic_load_explicit(&((wr_ahead_range *)(uintptr_t)range)->ready, memory_order_acquire);
}

#define WR_AHEAD_STEP_BYTES (UINT64_C(4) << 20)

/* The owner uses the range up to here. Cheap: says it to the helper every few megabytes. */
static inline void wr_ahead_used(wr_ahead_range *range, uint64_t used)
{
    if (range->ahead != NULL && used >= range->told + WR_AHEAD_STEP_BYTES) wr_ahead_tell(range, used);
}
#endif
