/* Tumbling and sliding windows: when time comes to the end of one, its results by a sweep over all keys. The sweep
 * writes nothing where it need not: an accumulator of a slice that is over is forgotten by its number. Keys that have
 * nothing left stay as long as they are at most twice as many as those that had data: most of them come again, and to
 * forget and make one costs more than to pass it by. */
#include "base/mem.h"
#include "operators/window.h"
#include <stdlib.h>

enum { ENTRIES_PER_STEP = 4096, ENTRIES_PER_RUN = 512, UNUSED_PER_USED_MAX = 2, PREFETCH_AHEAD = 160 };

static int64_t row_slice(const char *row)
{
    int64_t slice;
    memcpy(&slice, row, 8);
    return slice;
}

static const char *next_row(const wr_windows *k, weir_rows *rows)
{
    if (rows->at == rows->end && !wr_cell_rows_refill(rows, k->type.row.size)) return NULL;
    const char *row = rows->at;
    rows->at += k->type.row.size;
    return row;
}

static weir_span span_of(const wr_windows *k, int64_t end)
{
    return (weir_span){{wr_slice_start(k, end - k->per)}, {wr_slice_start(k, end)}};
}

/* ---- putting a window together ---- */

/* One accumulator after the other, the first one is copied. */
typedef struct gathering {
    void       *made;
    const void *only; /* the first one */
    uint32_t    n;
} gathering;

static void take(wr_op *op, wr_windows *k, gathering *g, const void *acc)
{
    if (g->n++ == 0) {
        g->only = acc;
        return;
    }
    if (g->n == 2) memcpy(g->made, g->only, k->type.acc_bytes);
    wr_pairs_add(op, k, &k->merge, g->made, acc);
}

/* Accumulators of the slices [first, end) of one key, in order of slices: NULL when there is none, else all of them
 * in one, which may be `made`. */
static const void *combine(wr_op *op, wr_windows *k, char *state, int64_t first, int64_t end, void *made)
{
    gathering  g = {.made = made};
    int64_t    mark = *wr_mark_of(k, state), base = mark >> WR_PLACE_BITS;
    uint32_t   d = 0;
    weir_cell *cell = wr_windows_list(k, state);
    weir_rows  rows = {0};
    if (cell->count != 0) rows = wr_cell_rows(op->table, state, cell);
    for (bool more = true; more;) {
        const char *row = cell->count != 0 ? next_row(k, &rows) : NULL;
        int64_t     until = row != NULL ? row_slice(row) : INT64_MAX;
        for (; d < k->type.places && base + d < until; d++) {
            int64_t slice = base + d;
            if (slice < first || slice >= end || !wr_mark_has(k, mark, slice)) continue;
            take(op, k, &g, state + k->type.acc[wr_place_of(k, slice)]);
        }
        more = row != NULL && until < end;
        if (more && until >= first) take(op, k, &g, row + k->type.row_acc);
    }
    return g.n > 1 ? g.made : g.only;
}

/* Rows of slices before this one are no more: the list is in order. */
static void drop_rows(wr_op *op, wr_windows *k, char *state, int64_t before)
{
    weir_cell *cell = wr_windows_list(k, state);
    uint32_t   old = 0;
    if (cell->count == 0) return;
    weir_rows rows = wr_cell_rows(op->table, state, cell);
    for (const char *row; (row = next_row(k, &rows)) != NULL && row_slice(row) < before;) old++;
    if (old == 0) return;
    wr_table_touch(op->table, (void *[1]){state}, 1);
    wr_cell_list_drop(op->table, state, cell, old);
}

/* Room in k->made for the next result. */
static void *made_at(wr_windows *k)
{
    return k->made + (size_t)k->results * k->type.acc_bytes;
}

static bool put_result(wr_op *op, wr_windows *k, char *state, int64_t end)
{
    weir_span span = span_of(k, end);
    void     *acc = NULL;
    if (k->rows) {
        weir_rows rows;
        if (!wr_rows_gather(op, k, state, span.start.ns, span.end.ns, &rows)) return false;
        k->row[k->results] = rows;
    } else {
        acc = (void *)(uintptr_t)combine(op, k, state, end - k->per, end, made_at(k));
        if (acc == NULL) return false;
    }
    wr_result_add(op, k, state, acc, span, span.end.ns - 1);
    return true;
}

void wr_slices_refire(wr_op *op, wr_windows *k, char *state, int64_t end)
{
    (void)put_result(op, k, state, end);
}

/* ---- sliding windows with RETRACT: the accumulator of the last window goes on ---- */

static uint64_t *total_end(const wr_windows *k, char *state)
{
    return (uint64_t *)(void *)(state + k->type.total_end);
}

/* What stands there when the total is of the window that ends at `end`; never 0. */
static uint64_t total_of(int64_t end)
{
    return (uint64_t)end << 1 | 1;
}

/* From nothing: all rows of the window. */
static void total_anew(wr_op *op, wr_windows *k, char *state, int64_t first, int64_t end)
{
    char       *total = state + k->type.total;
    const void *all = combine(op, k, state, first, end, total);
    if (all != NULL && all != total) memcpy(total, all, k->type.acc_bytes);
}

static bool put_total(wr_op *op, wr_windows *k, char *state, int64_t end)
{
    weir_cell *cell = wr_windows_list(k, state);
    int64_t   *mark = wr_mark_of(k, state), base = *mark >> WR_PLACE_BITS, first = end - k->per;
    if (cell->count == 0 && ((uint64_t)*mark & ((1u << WR_PLACE_BITS) - 1)) == 0) return false;
    wr_table_touch(op->table, (void *[1]){state}, 1);
    char       *total = state + k->type.total;
    const char *last = wr_cell_list_last(op->table, state, cell);
    bool goes_on = *total_end(k, state) == total_of(end - k->step) && (last == NULL || row_slice(last) < end - k->step);
    for (uint32_t d = 0; d < k->type.places; d++) { /* slices that are complete become rows */
        int64_t slice = base + d;
        if (slice >= end || !wr_mark_has(k, *mark, slice)) continue;
        if (slice < first) {
            *mark &= ~(INT64_C(1) << wr_place_of(k, slice));
            continue;
        }
        if (goes_on) wr_pairs_add(op, k, &k->merge, total, state + k->type.acc[wr_place_of(k, slice)]);
        wr_place_evict(op, k, state, slice);
    }
    if (goes_on && cell->count != 0) {
        weir_rows rows = wr_cell_rows(op->table, state, cell);
        for (const char *row; (row = next_row(k, &rows)) != NULL && row_slice(row) < first;)
            wr_pairs_add(op, k, &k->retract, total, row + k->type.row_acc);
    }
    drop_rows(op, k, state, first);
    weir_rows   rows;
    const char *oldest = NULL;
    if (cell->count != 0) {
        rows = wr_cell_rows(op->table, state, cell);
        oldest = next_row(k, &rows);
    }
    *total_end(k, state) = 0;
    if (oldest == NULL || row_slice(oldest) >= end) return false;
    if (!goes_on) total_anew(op, k, state, first, end);
    *total_end(k, state) = total_of(end);
    weir_span span = span_of(k, end);
    wr_result_add(op, k, state, total, span, span.end.ns - 1);
    return true;
}

/* ---- the sweep ---- */

/* Whether nothing of this entry will be asked for again: the youngest slice that it had, or INT64_MAX. */
static int64_t idle_since(const wr_windows *k, char *state)
{
    const weir_cell *cell = wr_windows_list(k, state);
    int64_t          mark = *wr_mark_of(k, state), base = mark >> WR_PLACE_BITS, last = base;
    bool             any = false;
    if (cell->count != 0 || (k->ring && wr_ring_any(k, state))) return INT64_MAX;
    if (k->rows) return mark;
    for (uint32_t d = 0; d < k->type.places; d++) {
        if (!wr_mark_has(k, mark, base + d)) continue;
        last = base + d;
        any = true;
    }
    return any && last >= k->alive ? INT64_MAX : last;
}

void wr_may_forget(wr_op *op, wr_windows *k, char *state)
{
    int64_t last;
    k->unused++;
    if (!k->forgetting || (last = idle_since(k, state)) == INT64_MAX) return;
    if (wr_slice_last_end(k, last) + k->per >= k->sweep_end) return; /* it had data in the window before */
    wr_table_touch(op->table, (void *[1]){state}, 1);
    wr_table_forget(op->table, state);
}

static bool fired_before(const wr_op *op, const wr_windows *k, uint32_t group)
{
    if (k->fired_of == NULL || k->purging) return false;
    return k->fired_of[group - wr_key_groups_of(op->subtask, op->subtasks, op->max_parallelism).first] >= k->sweep_end;
}

/* The next entries, of as many regions as it takes; 0: all keys are done. */
static uint32_t next_entries(wr_op *op, wr_windows *k, uint32_t most)
{
    uint32_t n = 0, group;
    if (k->walks) {
        uint64_t stride = wr_table_stride(op->table);
        for (uint32_t more = 1; more != 0 && most - n >= WR_TABLE_RUN_MIN; n += more) {
            char *state = wr_table_walk_next(op->table, &k->walk, most - n, &more);
            for (uint32_t i = 0; i < more; i++) k->state[n + i] = state + i * stride;
        }
        return n;
    }
    while (n < most) {
        uint32_t more = wr_table_sweep_next(op->table, &k->sweep, k->state + n, most - n, &group);
        if (more == 0) break;
        if (fired_before(op, k, group)) continue;
        for (uint32_t i = n; i < n + more && i < PREFETCH_AHEAD; i++) WR_FETCH(k->state[i]);
        n += more;
    }
    return n;
}

/* Entries of a tumbling window that do not have the slice in its place, but perhaps in their list. */
static void run_rest(wr_op *op, wr_windows *k, void *const *rest, uint32_t rests)
{
    int64_t slice = k->sweep_end - 1;
    for (uint32_t j = 0; j < rests; j++) {
        char       *of = rest[j];
        weir_rows   rows;
        const char *row = wr_far_find(op, k, of, slice, &rows);
        if (row == NULL) {
            wr_may_forget(op, k, of);
            continue;
        }
        k->used++;
        k->result_key[k->results] = of;
        k->result[k->results++] = (char *)(uintptr_t)row + k->type.row_acc;
        if (k->lateness == 0) drop_rows(op, k, of, slice + 1);
    }
}

/* n entries, of which those that run_rest is for come into state[]. `first`: they lie side by side from there on;
 * NULL: they are those of state[]. Returns how many are for run_rest. */
static inline __attribute__((always_inline)) uint32_t tumbling_loop(wr_windows *k, void **state, char *first,
                                                                    uint64_t stride, uint32_t n)
{
    const wr_table_place in = wr_table_place_of(k, k->sweep_end - 1);
    const uint32_t       list = k->type.list + (uint32_t)offsetof(weir_cell, count), forgetting = k->forgetting;
    void               **key = k->result_key, **value = k->result;
    uint32_t             r = k->results, rests = 0;
    for (uint32_t i = 0; i < n; i++) {
        char    *of = first != NULL ? first + i * stride : state[i];
        char    *ahead = of + PREFETCH_AHEAD * WR_CACHE_LINE;
        uint64_t mark;
        uint32_t listed;
        WR_FETCH(first == NULL && i + PREFETCH_AHEAD < n ? state[i + PREFETCH_AHEAD] : ahead);
        memcpy(&mark, of + in.word, 8);
        memcpy(&listed, of + list, 4);
        uint32_t has = wr_table_placed(&in, mark);
        key[r] = of;
        value[r] = of + in.value;
        r += has;
        state[rests] = of;
        rests += ~has & ((listed != 0) | forgetting) & 1;
    }
    k->used += r - k->results;
    k->unused += n - rests - (r - k->results);
    k->results = r;
    return rests;
}

/* Tumbling windows: most entries have the slice in its place, or nothing at all. Results are as many as entries at
 * most. Returns how many entries; 0: all are done. */
static uint32_t run_tumbling(wr_op *op, wr_windows *k, uint32_t most)
{
    uint32_t n, rests;
    if (k->walks) {
        char *first = wr_table_walk_next(op->table, &k->walk, most, &n);
        rests = n == 0 ? 0 : tumbling_loop(k, k->state, first, wr_table_stride(op->table), n);
    } else {
        n = next_entries(op, k, most);
        rests = tumbling_loop(k, k->state, NULL, 0, n);
    }
    run_rest(op, k, k->state, rests);
    return n;
}

static void run_any(wr_op *op, wr_windows *k, void *const *state, uint32_t n)
{
    int64_t end = k->sweep_end, dead = end + k->step - k->per;
    for (uint32_t i = 0; i < n && !wr_op_failed(op); i++) {
        char *of = state[i];
        bool  had = !k->purging && (k->totals ? put_total(op, k, of, end) : put_result(op, k, of, end));
        if (k->purging || k->lateness == 0) {
            if (k->rows)
                wr_rows_drop(op, k, of, wr_slice_start(k, dead));
            else if (!k->totals)
                drop_rows(op, k, of, dead);
        }
        if (had)
            k->used++;
        else
            wr_may_forget(op, k, of);
    }
}

/* About a batch of results, or many entries without; false: all keys are done. No more, then room is looked for, as
 * operators/keyed.c says. */
static bool sweep_step(wr_op *op, wr_windows *k)
{
    bool      tumbling = k->per == 1 && !k->rows && !k->purging;
    weir_span span = span_of(k, k->sweep_end);
    uint64_t  before = op->home->results;
    uint32_t  run = wr_home_results(op->home, ENTRIES_PER_RUN), most = wr_home_results(op->home, WR_RESULTS);
    if (run < WR_TABLE_RUN_MIN) most = run = WR_TABLE_RUN_MIN;
    for (uint32_t seen = 0, n; seen < ENTRIES_PER_STEP && !wr_op_failed(op); seen += n) {
        if (op->home->results - before + k->results + run > most) return true; /* whoever calls flushes them */
        n = tumbling ? run_tumbling(op, k, run) : next_entries(op, k, run);
        if (n == 0) return false;
        if (tumbling) continue;
        if (k->ring)
            wr_ring_run(op, k, k->state, n, k->sweep_end, &span);
        else
            run_any(op, k, k->state, n);
    }
    return true;
}

static void sweep_begin(wr_windows *k, int64_t end, bool purge)
{
    weir_span span = span_of(k, end);
    k->sweeping = true;
    k->purging = purge;
    k->sweep_end = end;
    k->sweep = (wr_table_sweep){0};
    k->walk = (wr_table_walk){0};
    k->walks = !k->forgetting && k->fired_of == NULL;
    k->used = k->unused = 0;
    for (uint32_t i = 0; i < WR_RESULTS; i++) {
        k->span[i] = span;
        k->time[i].ns = span.end.ns - 1;
    }
}

static void sweep_end(wr_windows *k)
{
    k->sweeping = false;
    if (!k->purging) {
        k->forgetting = k->unused > UNUSED_PER_USED_MAX * k->used;
        k->fired = k->sweep_end;
    }
    if (k->purging || k->lateness == 0) wr_dead_until(k, k->sweep_end);
    wr_live_drop(k);
}

bool wr_slices_until(wr_op *op, wr_windows *k, int64_t watermark)
{
    int64_t end;
    bool    purge;
    if (!k->sweeping && k->next_ns <= watermark && wr_live_next(k, watermark, &end, &purge)) sweep_begin(k, end, purge);
    if (k->sweeping) {
        if (sweep_step(op, k)) return wr_op_failed(op);
        wr_result_flush(op, k);
        sweep_end(k);
        if (k->next_ns <= watermark) return false;
    }
    int64_t fired = wr_slice_ends_by(k, watermark),
            dead = wr_slice_ends_by(k, watermark == INT64_MAX ? watermark : wr_saturating(watermark, -k->lateness));
    if (fired > k->fired) k->fired = fired;
    if (dead > k->dead) wr_dead_until(k, dead);
    if (k->fired_of != NULL && k->fired >= k->fired_most) { /* all have come to the same time */
        free(k->fired_of);
        k->fired_of = NULL;
    }
    return true;
}
