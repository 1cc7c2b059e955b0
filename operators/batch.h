/* operators/batch.h: batches of records, the pools they come from, and the channels they travel on. A batch is a
 * header, an array of one record type and a heap for far strings. It never mixes data with control: watermarks,
 * barriers and the end of a stream are elements of their own, in the same order as the data. */
#ifndef WR_OPERATORS_BATCH_H
#define WR_OPERATORS_BATCH_H
#include "base/env.h"
#include "base/limits.h"
#include "base/ring.h"
#include "wire/snapshot.h"
#include <weir/op.h>

/* Readable and writable bytes behind the last record: vector code may run over, an 8-byte key may be loaded as a
 * whole. */
#define WR_BATCH_SPARE_BYTES 1024

enum wr_element {
    WR_RECORDS = 1,
    WR_WATERMARK, /* at: event time, ns */
    WR_BARRIER,   /* barrier; at: when it was triggered, monotonic, 0: not known */
    WR_END,       /* of the data; barriers may still follow */
    WR_IDLE,      /* at: 1 nothing comes that would move event time, 0 something does again */
    WR_ABORT      /* at: id of a snapshot that will not complete */
};

typedef struct wr_pool  wr_pool;
typedef struct wr_batch wr_batch;

/* Owner: the pool's slot while it is filled, then the consumer's slot, then by the return ring the pool's slot
 * again. */
struct wr_batch {
    uint32_t   kind;        /* enum wr_element */
    uint32_t   n, capacity; /* records */
    uint32_t   heap_used, heap_bytes;
    uint32_t   stride;
    int64_t    at; /* see enum wr_element */
    char      *records, *heap;
    weir_time *time;    /* event time of each record, or NULL: the stream has none */
    wr_batch  *next;    /* free list, overdraft list */
    bool       special; /* of its own size: freed when it comes home */
    size_t     bytes;   /* of the allocation */

    wr_barrier barrier; /* WR_BARRIER */
};

/* Slot-owned. Batches of one geometry; `out` are those not at home. */
struct wr_pool {
    wr_batch *free;
    uint32_t  stride, heap_bytes;
    bool      timed;    /* batches carry event times */
    uint32_t  out, cap; /* beyond cap the tasklet is not called again until batches come home */
    uint64_t  bytes, overdraft_bytes;
    uint64_t  overdrawn; /* all overdrafts so far */
    uint64_t  beyond;    /* of those, what is records and strings: heaps are mostly empty */
    bool      exhausted; /* the overdraft passed its bound: the task fails */
};

void      wr_pool_init(wr_pool *pool, uint32_t stride, bool has_strings, bool timed, uint32_t cap);
void      wr_pool_fini(wr_pool *pool); /* frees the batches that are home; the others are freed where they lie */
wr_batch *wr_pool_take(wr_pool *pool); /* never NULL: aborts the process when the system has no memory */
/* A batch for one record with more string bytes than an ordinary heap holds. */
wr_batch          *wr_pool_take_special(wr_pool *pool, size_t heap_bytes);
void               wr_pool_give(wr_pool *pool, wr_batch *batch);
static inline bool wr_pool_tight(const wr_pool *pool)
{
    return pool->out > pool->cap;
}

/* One direction between two subtasks. Its two sides live on two slots (or on one). */
typedef struct wr_pipe {
    wr_ring data; /* producer -> consumer: filled batches and control elements */
    wr_ring home; /* consumer -> producer: the same, empty */

    /* Producer's slot. */
    wr_pool   *pool;
    wr_batch  *open; /* being filled, or NULL */
    int64_t    open_since_ns;
    wr_batch  *pending, **pending_end; /* did not fit into the ring: the overdraft */
    uint32_t   away;                   /* batches of records that did not come home yet */
    wr_parker *consumer;               /* frozen */

    /* Consumer's slot. */
    alignas(WR_CACHE_LINE) wr_parker *producer; /* frozen */
    uint32_t port;
    bool     ended, blocked; /* blocked: its barrier came, the others' did not (alignment) */
    bool     idle;           /* nothing comes that would move event time */
    int64_t  watermark;
    int64_t  taken_mono_ns; /* when the last element was taken from it */
    uint64_t origin;        /* what wr_home.split is while its records are pushed */
} wr_pipe;

void wr_pipe_init(wr_pipe *c, wr_pool *pool, wr_parker *consumer, wr_parker *producer, uint32_t port);
/* Producer. Takes home what came back; cheap when nothing did. */
void wr_pipe_reclaim(wr_pipe *c);
/* Producer. Hands the batch over, or keeps it pending when the ring is full. Wakes the consumer. */
void wr_pipe_send(wr_pipe *c, wr_batch *batch, const wr_env *env);
/* Producer. True when nothing is pending any more. */
bool wr_pipe_flush(wr_pipe *c, const wr_env *env);
/* Producer. Sends a control element; it follows all data. */
void wr_pipe_control(wr_pipe *c, uint32_t kind, int64_t at, const wr_env *env);
void wr_pipe_barrier(wr_pipe *c, const wr_barrier *barrier, int64_t triggered_mono_ns, const wr_env *env);
/* Consumer. Gives the element back; wakes the producer when it may be waiting for room. */
void wr_pipe_return(wr_pipe *c, wr_batch *batch, const wr_env *env);
/* Both threads have ended: frees what still lies in the rings. */
void wr_pipe_fini(wr_pipe *c);
#endif
