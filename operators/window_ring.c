/* Sliding windows with RETRACT and not too many slices: an entry keeps the slices of the last window side by side in a
 * ring, slice s in slot s mod per. The slice that enters takes the slot of the one that leaves, so that a window costs
 * two accumulators and three cache lines at any length. */
#include "operators/window.h"

enum { PREFETCH_AHEAD = 6 };

static uint64_t *held_of(const wr_windows *k, char *state)
{
    return (uint64_t *)(void *)(state + k->type.held);
}

/* The window of the ring: its end << 1, and whether the total is of it. */
static int64_t *ring_end(const wr_windows *k, char *state)
{
    return (int64_t *)(void *)(state + k->type.total_end);
}

static uint32_t slot_of(const wr_windows *k, int64_t slice)
{
    int64_t rest = slice % k->per;
    return (uint32_t)(rest < 0 ? rest + k->per : rest);
}

static char *slot_at(const wr_windows *k, char *state, uint32_t slot)
{
    return state + k->type.ring + (size_t)slot * k->type.acc_bytes;
}

static inline bool any_held(const wr_windows *k, char *state)
{
    uint64_t        any = 0;
    const uint64_t *held = held_of(k, state);
    uint32_t        words = (uint32_t)(k->per + 63) / 64;
    for (uint32_t i = 0; i < words; i++) any |= held[i];
    return any != 0;
}
bool wr_ring_any(const wr_windows *k, char *state)
{
    return any_held(k, state);
}

/* Accumulators are small and of whole words. */
static inline void copy_acc(const wr_windows *k, void *to, const void *from)
{
    uint64_t       *a = to;
    const uint64_t *b = from;
    for (uint32_t i = 0; i < k->type.acc_bytes / 8; i++) a[i] = b[i];
}

/* Slices that left the window [.., end) are taken out, and out of the total when that goes on. True: it does. */
static bool roll(wr_op *op, wr_windows *k, char *state, int64_t end)
{
    uint64_t *held = held_of(k, state);
    int64_t   was = *ring_end(k, state) >> 1, until = end - k->per < was ? end - k->per : was;
    bool      valid = *ring_end(k, state) & 1;
    uint32_t  left = 0;
    *ring_end(k, state) = (int64_t)((uint64_t)end << 1);
    if (k->retract.n + (uint64_t)k->per > WR_RESULTS) {
        wr_pairs_flush(op, k, &k->merge);
        wr_pairs_flush(op, k, &k->retract);
    }
    uint32_t slot = slot_of(k, was), per = (uint32_t)k->per;
    for (int64_t slice = was - k->per; slice < until; slice++, slot = slot + 1 == per ? 0 : slot + 1) {
        uint64_t bit = UINT64_C(1) << (slot & 63);
        if (!(held[slot >> 6] & bit)) continue;
        held[slot >> 6] &= ~bit;
        copy_acc(k, k->left + (size_t)(k->retract.n + left++) * k->type.acc_bytes, slot_at(k, state, slot));
    }
    if (!valid || !any_held(k, state)) return false;
    for (; left > 0; left--)
        wr_pairs_add(op, k, &k->retract, state + k->type.total, k->left + (size_t)k->retract.n * k->type.acc_bytes);
    return true;
}

char *wr_ring_open(wr_op *op, wr_windows *k, char *state, int64_t slice, int64_t end)
{
    if (!any_held(k, state)) *ring_end(k, state) = (int64_t)((uint64_t)end << 1);
    *ring_end(k, state) &= ~INT64_C(1); /* the total is not of it any more */
    (void)roll(op, k, state, end);
    uint32_t slot = slot_of(k, slice);
    char    *acc = slot_at(k, state, slot);
    if (!(held_of(k, state)[slot >> 6] >> (slot & 63) & 1)) memset(acc, 0, k->type.acc_bytes);
    held_of(k, state)[slot >> 6] |= UINT64_C(1) << (slot & 63);
    return acc;
}

static void enter(wr_op *op, wr_windows *k, char *state, int64_t slice, const void *acc, bool goes_on)
{
    uint32_t slot = slot_of(k, slice);
    copy_acc(k, slot_at(k, state, slot), acc);
    held_of(k, state)[slot >> 6] |= UINT64_C(1) << (slot & 63);
    if (goes_on) wr_pairs_add(op, k, &k->merge, state + k->type.total, slot_at(k, state, slot));
}

/* Rows of slices that came before their time go into the ring. */
static void enter_rows(wr_op *op, wr_windows *k, char *state, int64_t end, bool goes_on)
{
    weir_cell *cell = wr_windows_list(k, state);
    uint32_t   entered = 0;
    weir_rows  rows = wr_cell_rows(op->table, state, cell);
    while (rows.at != rows.end || wr_cell_rows_refill(&rows, k->type.row.size)) {
        int64_t slice;
        memcpy(&slice, rows.at, 8);
        if (slice >= end) break;
        if (slice >= end - k->per) enter(op, k, state, slice, rows.at + k->type.row_acc, goes_on);
        rows.at += k->type.row.size;
        entered++;
    }
    if (entered != 0) wr_cell_list_drop(op->table, state, cell, entered);
}

/* All that the ring holds, from the oldest on. */
static void total_anew(wr_op *op, wr_windows *k, char *state, int64_t end)
{
    char *total = state + k->type.total;
    bool  first = true;
    for (int64_t slice = end - k->per; slice < end; slice++) {
        uint32_t slot = slot_of(k, slice);
        if (!(held_of(k, state)[slot >> 6] >> (slot & 63) & 1)) continue;
        if (first)
            copy_acc(k, total, slot_at(k, state, slot));
        else
            wr_pairs_add(op, k, &k->merge, total, slot_at(k, state, slot));
        first = false;
    }
}

static bool put(wr_op *op, wr_windows *k, char *state, int64_t end, const weir_span *span)
{
    weir_cell *cell = wr_windows_list(k, state);
    int64_t   *mark = wr_mark_of(k, state), base = *mark >> WR_PLACE_BITS;
    bool       any = any_held(k, state);
    if (!any && cell->count == 0 && ((uint64_t)*mark & ((1u << WR_PLACE_BITS) - 1)) == 0) return false;
    wr_table_touch(op->table, (void *[1]){state}, 1);
    if (!any) *ring_end(k, state) = (int64_t)((uint64_t)end << 1);
    bool goes_on = roll(op, k, state, end);
    for (uint32_t d = 0; d < k->type.places; d++) {
        int64_t slice = base + d;
        if (slice >= end || !wr_mark_has(k, *mark, slice)) continue;
        uint32_t place = wr_place_of(k, slice);
        if (slice >= end - k->per) enter(op, k, state, slice, state + k->type.acc[place], goes_on);
        *mark &= ~(INT64_C(1) << place);
    }
    if (cell->count != 0) enter_rows(op, k, state, end, goes_on);
    if (!any_held(k, state)) return false;
    if (!goes_on) total_anew(op, k, state, end);
    *ring_end(k, state) |= 1;
    wr_result_add(op, k, state, state + k->type.total, *span, span->end.ns - 1);
    return true;
}

void wr_ring_run(wr_op *op, wr_windows *k, void *const *state, uint32_t n, int64_t end, const weir_span *span)
{
    uint32_t slot = k->type.ring + slot_of(k, end - 1) * k->type.acc_bytes;
    for (uint32_t i = 0; i < n && !wr_op_failed(op); i++) {
        if (i + PREFETCH_AHEAD < n) {
            const char *ahead = state[i + PREFETCH_AHEAD];
            __builtin_prefetch(ahead, 1);
            __builtin_prefetch(ahead + k->type.total_end, 1);
            __builtin_prefetch(ahead + slot, 1);
        }
        if (put(op, k, state[i], end, span))
            k->used++;
        else
            wr_may_forget(op, k, state[i]);
    }
}

void wr_ring_live(wr_windows *k, char *state)
{
    int64_t end = *ring_end(k, state) >> 1;
    for (int64_t slice = end - k->per; slice < end; slice++) {
        uint32_t slot = slot_of(k, slice);
        if ((held_of(k, state)[slot >> 6] >> (slot & 63) & 1) && slice >= k->alive) wr_live_add(k, slice);
    }
}
