/* base/ring.h: a queue of pointers between two threads. One thread pushes, one pops, nobody else touches it. */
#ifndef WR_BASE_RING_H
#define WR_BASE_RING_H
#include "base/check.h"
#include "base/limits.h"
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Shared by its producer and its consumer: pushed and popped are atomics, the rest belongs to the side named. Each
 * side keeps its last sight of the other's index, so that it reads the other's cache line only when the ring seems
 * full or empty. */
typedef struct wr_ring {
    alignas(WR_CACHE_LINE) _Atomic uint32_t pushed; /* written by the producer */
    uint32_t popped_seen;                           /* producer's */
    alignas(WR_CACHE_LINE) _Atomic uint32_t popped; /* written by the consumer */
    uint32_t pushed_seen;                           /* consumer's */
    alignas(WR_CACHE_LINE) uint32_t capacity;       /* a power of two; frozen */
    void *slot[WR_RING_SLOTS_MAX];
} wr_ring;

/* Before any use and not while in use. capacity is a power of two, 1 to WR_RING_SLOTS_MAX. */
static inline void wr_ring_init(wr_ring *ring, uint32_t capacity)
{
    check(capacity >= 1 && capacity <= WR_RING_SLOTS_MAX && (capacity & (capacity - 1)) == 0);
    atomic_init(&ring->pushed, 0);
    atomic_init(&ring->popped, 0);
    ring->popped_seen = ring->pushed_seen = 0;
    ring->capacity = capacity;
}

/* Producer: how many pushes will succeed at least. */
static inline uint32_t wr_ring_free(wr_ring *ring)
{
    uint32_t pushed = atomic_load_explicit(&ring->pushed, memory_order_relaxed);
    ring->popped_seen = atomic_load_explicit(&ring->popped, memory_order_acquire);
    return ring->capacity - (pushed - ring->popped_seen);
}

/* Producer. False when full. item is not NULL. */
static inline bool wr_ring_push(wr_ring *ring, void *item)
{
    dcheck(item != NULL);
    uint32_t pushed = atomic_load_explicit(&ring->pushed, memory_order_relaxed);
    if (pushed - ring->popped_seen == ring->capacity && wr_ring_free(ring) == 0) return false;
    ring->slot[pushed & (ring->capacity - 1)] = item;
    atomic_store_explicit(&ring->pushed, pushed + 1, memory_order_release);
    return true;
}

/* Consumer: how many pops will succeed at least. */
static inline uint32_t wr_ring_count(wr_ring *ring)
{
    uint32_t popped = atomic_load_explicit(&ring->popped, memory_order_relaxed);
    ring->pushed_seen = atomic_load_explicit(&ring->pushed, memory_order_acquire);
    return ring->pushed_seen - popped;
}

/* Consumer. The oldest item, which stays; NULL when empty. */
static inline void *wr_ring_peek(wr_ring *ring)
{
    uint32_t popped = atomic_load_explicit(&ring->popped, memory_order_relaxed);
    if (popped == ring->pushed_seen && wr_ring_count(ring) == 0) return NULL;
    return ring->slot[popped & (ring->capacity - 1)];
}

/* Consumer. The oldest item, taken; NULL when empty. */
static inline void *wr_ring_pop(wr_ring *ring)
{
    void *item = wr_ring_peek(ring);
    if (item == NULL) return NULL;
    uint32_t popped = atomic_load_explicit(&ring->popped, memory_order_relaxed);
    atomic_store_explicit(&ring->popped, popped + 1, memory_order_release);
    return item;
}

#endif
