/* snapshot/near.h: the lookaside of a keyed operator: lines that the user's loop probes inline, and when they pay.
 * Owner: the operator's slot, its thread.
 *
 * One batch: if (wr_near_begin(...)) { ctx->near = &near->probe; on_near(ctx); resolve the near->probe.misses
 * indices of near->probe.miss with wr_table_find; wr_near_end(...); on_left with pick = miss } else hash, find,
 * on_left. */
#ifndef WR_SNAPSHOT_NEAR_H
#define WR_SNAPSHOT_NEAR_H
#include "snapshot/table.h"

typedef struct wr_near {
    weir_near  probe;            /* for weir_ctx.near; probe.miss has room for WR_BATCH_RECORDS_MAX */
    uint64_t   generation;       /* of the table, when the lines were filled */
    uint64_t   seen, hits;       /* of this trial */
    uint64_t   hits_min_percent; /* below, it pauses */
    uint64_t   cold;             /* records until it begins: the lines fill */
    uint64_t   since_drop;       /* records since the lines were dropped */
    uint64_t   off_left;         /* records until the next trial; 0: on */
    uint64_t   off_length;       /* of the next pause */
    uint64_t   bytes;            /* of line and miss */
    wr_budget *budget;
} wr_near;

/* Whether on_near of an operator has no branch on a hit when the key is a string: see weir/loop.h. */
static inline bool wr_near_blind(const weir_op *def)
{
    return def->kind == WEIR_OP_AGGREGATE && def->state->size <= WEIR_NEAR_BLIND_BYTES;
}

/* True when keys of the table fit lines (one integer of at most 8 bytes, or one string); false: leave on_near alone.
 * blind: wr_near_blind, so fewer hits of string keys pay. */
bool wr_near_init(wr_near *near, const wr_table *table, bool blind);
void wr_near_fini(wr_near *near);
/* All lines will be dropped: what they point at is something else now. */
static inline void wr_near_drop(wr_near *near)
{
    near->generation = 0;
}
/* The line of one key, if it has one. `state`: of the table. */
void wr_near_forget(wr_near *near, const wr_table *table, const void *state);
/* Whether this batch of n records shall use on_near. Drops all lines when the table's generation has changed. */
bool wr_near_begin(wr_near *near, const wr_table *table, uint32_t n);
/* After the misses were resolved (state[i] for each i of miss): fills their lines and keeps the statistics. fill =
 * false for loops with const state, whose entries are not marked. */
void wr_near_end(wr_near *near, const wr_table *table, const void *records, uint32_t n, void *const *state, bool fill);

#endif
