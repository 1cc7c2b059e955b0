/* snapshot/wheel.h: a queue of hints by time: a timing wheel of 8 levels with 256 slots, one byte of the 64-bit time
 * each. Hints may be stale: who takes one asks the truth.
 *
 * Owner: a timer index, its slot's thread. Hints lie in chunks of 1 KiB; one costs 16 bytes, an append when it is
 * added, and a copy for each level that it sinks. What is due is sorted in runs of a few thousand. All steps are
 * bounded: a slot with millions of hints sinks over many calls. */
#ifndef WR_SNAPSHOT_WHEEL_H
#define WR_SNAPSHOT_WHEEL_H
#include "snapshot/table.h"

#define WR_WHEEL_RUN_MAX 4096u

/* key: time as an unsigned number in the same order. */
typedef struct wr_hint {
    uint64_t key;
    uint32_t position, field;
} wr_hint;

/* Owner: a timer index. `near` are the hints before `at` (and at it, when `past`): a sorted run, and a heap of those
 * that came late. All others are in slots, by the highest byte in which they differ from `at`. */
typedef struct wr_wheel {
    wr_budget *budget;
    uint64_t  *table_bytes;
    char      *base; /* of the chunks; chunk 0 is nobody's */
    uint64_t   reserved_bytes, counted_bytes;
    uint32_t   chunks, free; /* ever used; first of those that are free again */
    uint32_t   spill;        /* chunks of the slot that is sinking */
    uint64_t   count;        /* hints */
    uint64_t   at;
    bool       past;
    wr_hint   *run, *other; /* other: room to sort */
    uint32_t   run_at, run_end;
    wr_hint   *heap; /* reserved */
    uint64_t   heaped, heap_bytes, heap_counted;
    uint64_t   map[8][4]; /* slots that hold something */
    uint32_t   head[8][256];
} wr_wheel;

wr_err wr_wheel_init(wr_wheel *wheel, wr_budget *budget, uint64_t *table_bytes, wr_errinfo *info);
void   wr_wheel_fini(wr_wheel *wheel);
void   wr_wheel_add(wr_wheel *wheel, uint64_t key, uint32_t position, uint32_t field);

enum wr_wheel_state { WR_WHEEL_NOT_YET, WR_WHEEL_DUE, WR_WHEEL_SINKING };
/* Brings what is due by `limit` to the front. SINKING: `*work` chunks were moved, and that was not all; call again. */
enum wr_wheel_state wr_wheel_look(wr_wheel *wheel, uint64_t limit, uint32_t *work);
/* After DUE: the earliest hint; stays until wr_wheel_drop or the next add. */
const wr_hint *wr_wheel_first(const wr_wheel *wheel);
void           wr_wheel_drop(wr_wheel *wheel);
/* A time at or before the earliest hint; false: there is none. */
bool wr_wheel_next(const wr_wheel *wheel, uint64_t *key);

/* The i-th hint behind the first of the run, or NULL: to ask for its entry ahead. */
static inline const wr_hint *wr_wheel_ahead(const wr_wheel *wheel, uint32_t i)
{
    return i < wheel->run_end - wheel->run_at ? &wheel->run[wheel->run_at + i] : NULL;
}

#endif
