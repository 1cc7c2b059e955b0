/* Sliding windows with RETRACT and not too many slices: an entry keeps the slices of the last window side by side in a
 * ring, slice s in slot s mod per. The slice that enters takes the slot of the one that leaves, so that a window costs
 * two accumulators and three cache lines at any length. */
#include "base/mem.h"
#include "operators/window.h"

enum { PREFETCH_AHEAD = 16, RUN_MAX = 512 };

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

/* What a run over many keys does per key, as constants of its loop. */
typedef struct ring_step {
    int64_t  end;           /* of the window that fires */
    int64_t  goes_on, done; /* what stands at total_end before and after */
    uint64_t bit;           /* of the slot that the youngest slice takes from the oldest one */
    uint32_t place, places, mark, list, total, total_end, held, slot, acc;
    uint32_t held_all, held_words;
} ring_step;

static ring_step step_of(const wr_windows *k, int64_t end)
{
    uint32_t slot = slot_of(k, end - 1), place = wr_place_of(k, end - 1);
    return (ring_step){.end = end,
                       .goes_on = (int64_t)((uint64_t)(end - 1) << 1 | 1),
                       .done = (int64_t)((uint64_t)end << 1 | 1),
                       .bit = UINT64_C(1) << (slot & 63),
                       .place = place,
                       .places = k->type.places,
                       .mark = k->type.mark,
                       .list = k->type.list + (uint32_t)offsetof(weir_cell, count),
                       .total = k->type.total,
                       .total_end = k->type.total_end,
                       .held = k->type.held + slot / 64 * 8,
                       .slot = k->type.ring + slot * k->type.acc_bytes,
                       .acc = k->type.acc[place],
                       .held_all = k->type.held,
                       .held_words = (uint32_t)(k->per + 63) / 64};
}

static inline __attribute__((always_inline)) void ask_for(const ring_step *p, const char *of)
{
    WR_FETCH(of);
    WR_FETCH(of + p->total_end);
    WR_FETCH(of + p->slot);
}

/* A run, split. */
typedef struct ring_run {
    void    *easy[RUN_MAX], *quiet[RUN_MAX], *hard[RUN_MAX];
    uint32_t easies, quiets, hards;
} ring_run;

/* Whether the ring holds more than the slice that leaves. */
static bool stays(const ring_step *p, const char *of)
{
    uint64_t any = 0, held;
    for (uint32_t i = 0; i < p->held_words; i++) {
        memcpy(&held, of + p->held_all + 8 * i, 8);
        any |= p->held_all + 8 * i == p->held ? held & ~p->bit : held;
    }
    return any != 0;
}

/* Keys whose total is of the window before are easy if they have the youngest slice, and quiet if they have nothing new
 * but older slices; the others are hard. Reads only. */
static void sort_out(const ring_step *at, void *const *state, uint32_t n, ring_run *to)
{
    const ring_step p = *at;
    uint32_t        easies = 0, quiets = 0, hards = 0;
    for (uint32_t i = 0; i < n && i < PREFETCH_AHEAD; i++) ask_for(&p, state[i]);
    for (uint32_t i = 0; i < n; i++) {
        char *of = state[i];
        ask_for(&p, state[i + PREFETCH_AHEAD < n ? i + PREFETCH_AHEAD : i]);
        int64_t  goes_on, mark;
        uint32_t listed;
        memcpy(&goes_on, of + p.total_end, 8);
        memcpy(&mark, of + p.mark, 8);
        memcpy(&listed, of + p.list, 4);
        uint64_t above = (uint64_t)(p.end - 1 - (mark >> WR_PLACE_BITS));
        bool     has = (above < p.places) & (bool)((uint64_t)mark >> p.place & 1);
        bool     smooth = (goes_on == p.goes_on) & (listed == 0), is_quiet = smooth & !has;
        if (__builtin_expect(is_quiet, 0)) is_quiet = stays(&p, of);
        to->easy[easies] = of;
        to->quiet[quiets] = of;
        to->hard[hards] = of;
        easies += smooth & has;
        quiets += is_quiet;
        hards += !((smooth & has) | is_quiet);
    }
    to->easies = easies;
    to->quiets = quiets;
    to->hards = hards;
}

/* One slice leaves, one enters, in one slot; or, if the key is quiet, none enters. What is left in places is of later
 * slices. */
static inline __attribute__((always_inline)) void step_loop(wr_windows *k, const ring_step *at, void *const *state,
                                                            uint32_t n, uint32_t words, bool enters)
{
    const ring_step p = *at;
    const uint64_t  used = (UINT64_C(1) << WR_PLACE_BITS) - 1;
    uint32_t        gone = k->retract.n, come = k->merge.n, r = k->results;
    char           *left = k->left + (size_t)gone * words * 8;
    for (uint32_t i = 0; i < n; i++) {
        char    *of = state[i];
        uint64_t held, mark;
        memcpy(&held, of + p.held, 8);
        memcpy(&mark, of + p.mark, 8);
        k->retract.into[gone] = of + p.total;
        k->retract.from[gone] = left;
        memcpy(left, of + p.slot, words * 8);
        bool leaves = (held & p.bit) != 0;
        left += leaves ? words * 8 : 0;
        gone += leaves;
        if (enters) {
            memcpy(of + p.slot, of + p.acc, words * 8);
            k->merge.into[come] = of + p.total;
            k->merge.from[come++] = of + p.slot;
            mark = (mark & used & ~(UINT64_C(1) << p.place)) | (uint64_t)p.end << WR_PLACE_BITS;
            memcpy(of + p.mark, &mark, 8);
        }
        held = enters ? held | p.bit : held & ~p.bit;
        memcpy(of + p.held, &held, 8);
        memcpy(of + p.total_end, &p.done, 8);
        k->result_key[r] = of;
        k->result[r++] = of + p.total;
    }
    k->retract.n = gone;
    k->merge.n = come;
    k->results = r;
}

static void step_all(wr_op *op, wr_windows *k, const ring_step *at, void *const *state, uint32_t n, bool enters)
{
    uint32_t words = k->type.acc_bytes / 8;
    wr_table_touch(op->table, state, n);
    k->used += n;
    if (!enters)
        step_loop(k, at, state, n, words, false);
    else if (words == 1)
        step_loop(k, at, state, n, 1, true);
    else if (words == 2)
        step_loop(k, at, state, n, 2, true);
    else if (words == 3)
        step_loop(k, at, state, n, 3, true);
    else if (words == 4)
        step_loop(k, at, state, n, 4, true);
    else
        step_loop(k, at, state, n, words, true);
}

void wr_ring_run(wr_op *op, wr_windows *k, void *const *state, uint32_t n, int64_t end, const weir_span *span)
{
    ring_run run;
    check(n <= RUN_MAX && k->results + n <= WR_RESULTS);
    if (k->step == 1 && k->per > 1) {
        ring_step step = step_of(k, end);
        sort_out(&step, state, n, &run);
        if (k->merge.n + run.easies >= WR_RESULTS || k->retract.n + run.easies + run.quiets >= WR_RESULTS) {
            wr_pairs_flush(op, k, &k->merge);
            wr_pairs_flush(op, k, &k->retract);
        }
        step_all(op, k, &step, run.easy, run.easies, true);
        step_all(op, k, &step, run.quiet, run.quiets, false);
        state = run.hard;
        n = run.hards;
    }
    for (uint32_t i = 0; i < n && !wr_op_failed(op); i++) {
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
