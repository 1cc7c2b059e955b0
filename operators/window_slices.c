/* Tumbling and sliding windows: records to the accumulators of their slices, or to the rows that are kept. */
#include "operators/window.h"
#include <stdlib.h>

/* ---- further slices of a key: rows of a list, in order of slices ---- */

static int64_t row_slice(const void *row)
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

const void *wr_far_find(wr_op *op, wr_windows *k, char *state, int64_t slice, weir_rows *rows)
{
    const weir_cell *cell = wr_windows_list(k, state);
    if (cell->count == 0 || row_slice(wr_cell_list_last(op->table, state, cell)) < slice) return NULL;
    *rows = wr_cell_rows(op->table, state, cell);
    for (const char *row; (row = next_row(k, rows)) != NULL;) {
        if (row_slice(row) == slice) return row;
        if (row_slice(row) > slice) break;
    }
    return NULL;
}

static void fail_cell(wr_op *op, wr_err err)
{
    if (err != WR_OK)
        wr_op_fail(op, err, "a string is larger than %d MiB; operator %s subtask %u; keep less",
                   WR_CELL_BYTES_MAX >> 20, op->node->uid, op->subtask);
}

/* A row goes in where its slice belongs. Out of order, which is rare: all behind it are added anew. */
static void far_insert(wr_op *op, wr_windows *k, char *state, const void *made)
{
    weir_cell  *cell = wr_windows_list(k, state);
    const void *last = wr_cell_list_last(op->table, state, cell);
    if (last == NULL || row_slice(last) < row_slice(made)) {
        fail_cell(op, wr_cell_list_add(op->table, state, cell, made));
        return;
    }
    uint32_t size = k->type.row.size, n = 0;
    char    *all = malloc((size_t)(cell->count + 1) * size);
    check(all != NULL);
    bool      in = false;
    weir_rows rows = wr_cell_rows(op->table, state, cell);
    for (const char *row; (row = next_row(k, &rows)) != NULL;) {
        if (!in && row_slice(row) > row_slice(made)) {
            memcpy(all + (size_t)n++ * size, made, size);
            in = true;
        }
        memcpy(all + (size_t)n++ * size, row, size);
    }
    if (!in) memcpy(all + (size_t)n++ * size, made, size);
    wr_cell_clear(op->table, state, cell); /* its strings can be read until the table settles */
    wr_windows_near_moved(op, k, state);
    for (uint32_t i = 0; i < n; i++) fail_cell(op, wr_cell_list_add(op->table, state, cell, all + (size_t)i * size));
    free(all);
}

void wr_place_evict(wr_op *op, wr_windows *k, char *state, int64_t slice)
{
    uint64_t row[WR_STATE_BYTES_MAX / 8];
    uint32_t place = wr_place_of(k, slice);
    int64_t *mark = wr_mark_of(k, state);
    memcpy(row, &slice, 8);
    memcpy((char *)row + k->type.row_acc, state + k->type.acc[place], k->type.acc_bytes);
    far_insert(op, k, state, row);
    *mark &= ~(INT64_C(1) << place);
    wr_windows_near_moved(op, k, state);
}

/* The accumulator of a slice in the list, made when it is not there. */
static char *far_open(wr_op *op, wr_windows *k, char *state, int64_t slice, uint8_t *fresh)
{
    weir_rows rows;
    *fresh = wr_far_find(op, k, state, slice, &rows) == NULL;
    if (*fresh) {
        uint64_t row[WR_STATE_BYTES_MAX / 8];
        memset(row, 0, k->type.row.size);
        memcpy(row, &slice, 8);
        far_insert(op, k, state, row);
        if (wr_far_find(op, k, state, slice, &rows) == NULL) return state + k->type.acc[0]; /* failed */
    }
    return (char *)wr_cell_list_open(op->table, state, wr_windows_list(k, state), &rows) + k->type.row_acc;
}

/* ---- places ---- */

/* Slices of the entry's places that are over, and so hold nothing, are taken out of its mark. */
static int64_t fresh_mark(const wr_windows *k, int64_t mark)
{
    int64_t  base = mark >> WR_PLACE_BITS, low = INT64_MAX;
    uint64_t kept = 0;
    for (uint32_t d = 0; d < k->type.places; d++) {
        uint32_t place = wr_place_of(k, base + d);
        if (!((uint64_t)mark >> place & 1) || base + d < k->alive) continue;
        kept |= UINT64_C(1) << place;
        if (base + d < low) low = base + d;
    }
    return kept == 0 ? 0 : (int64_t)((uint64_t)low << WR_PLACE_BITS | kept);
}

/* The slices of a mark that is not empty. */
static void span_of_mark(const wr_windows *k, int64_t mark, int64_t *low, int64_t *high)
{
    *low = *high = mark >> WR_PLACE_BITS;
    for (uint32_t d = 0; d < k->type.places; d++) {
        if ((uint64_t)mark >> wr_place_of(k, *low + d) & 1) *high = *low + d;
    }
}

/* Whether a slice belongs into the list: it is too far behind those that have places. The mark is a fresh one. */
static bool is_behind(const wr_windows *k, int64_t mark, int64_t slice)
{
    int64_t low, high;
    if (mark == 0) return false;
    span_of_mark(k, mark, &low, &high);
    return slice < low && high - slice >= k->type.places;
}

/* Takes a place for a slice that has none and is not behind, in an entry that has been marked. */
static char *claim(wr_op *op, wr_windows *k, char *state, int64_t slice)
{
    int64_t *mark = wr_mark_of(k, state), now = fresh_mark(k, *mark);
    uint32_t places = k->type.places, place = wr_place_of(k, slice);
    *mark = now;
    while (now != 0) {
        int64_t low = now >> WR_PLACE_BITS;
        if (slice < low || slice - low < places) {
            if (slice < low) low = slice;
            *mark = (int64_t)((uint64_t)low << WR_PLACE_BITS | ((uint64_t)now & ((1u << WR_PLACE_BITS) - 1)) |
                              UINT64_C(1) << place);
            return state + k->type.acc[place];
        }
        wr_place_evict(op, k, state, low);
        now = fresh_mark(k, *mark);
        *mark = now;
    }
    *mark = (int64_t)((uint64_t)slice << WR_PLACE_BITS | UINT64_C(1) << place);
    return state + k->type.acc[place];
}

/* A slice that has no place in this entry yet. */
static char *place_or_row(wr_op *op, wr_windows *k, char *state, int64_t slice, uint8_t *fresh)
{
    weir_rows rows;
    if (is_behind(k, fresh_mark(k, *wr_mark_of(k, state)), slice)) return far_open(op, k, state, slice, fresh);
    const char *row = wr_far_find(op, k, state, slice, &rows);
    char       *acc = claim(op, k, state, slice);
    *fresh = row == NULL;
    bool owns = op->def->kind == WEIR_OP_REDUCE; /* what lies there is its to release */
    if (row == NULL) {
        if (!owns) memset(acc, 0, k->type.acc_bytes);
        return acc;
    }
    if (owns)
        fail_cell(op, wr_cell_record_own(op->table, op->def->state, acc, row + k->type.row_acc));
    else
        memcpy(acc, row + k->type.row_acc, k->type.acc_bytes);
    if (wr_far_find(op, k, state, slice, &rows) != NULL) { /* eviction may have moved it */
        wr_cell_rows_remove(op->table, state, wr_windows_list(k, state), &rows);
        wr_windows_near_moved(op, k, state);
    }
    return acc;
}

/* The place of a slice; reduced ones own what lies there, and release it themselves. */
static wr_table_place placing_of(const wr_op *op, const wr_windows *k, int64_t slice)
{
    wr_table_place p = wr_table_place_of(k, slice);
    p.words = op->def->kind == WEIR_OP_REDUCE ? 0 : k->type.acc_bytes / 8;
    return p;
}

/* The places of a mark without those of slices that are over, and what its base is then. */
static inline uint64_t live_places(const wr_table_place *p, uint64_t used, int64_t *base)
{
    uint32_t at = (uint32_t)*base & (p->places - 1);
    uint64_t over = *base >= p->alive ? 0 : (uint64_t)(p->alive - *base);
    if (over > p->places) over = p->places;
    uint64_t gone = (UINT64_C(1) << over) - 1;
    used &= ~(gone << at | gone >> (p->places - at));
    *base = used == 0 ? p->number : *base + (int64_t)over;
    return used;
}

/* Entries that take the slice in without a look at anything else: nothing lies in the list, and what they had is over
 * or leaves its place free, or an earlier record of the batch has done it already. The others go to `rest`, in place.
 * `words`: of an accumulator, to be zeroed. */
static inline __attribute__((always_inline)) uint32_t claim_loop(wr_table_place p, void *const *of, uint8_t *fresh,
                                                                 uint32_t *miss, uint32_t misses, uint32_t words)
{
    const uint64_t bit = UINT64_C(1) << p.place;
    uint32_t       rest = 0;
    p.words = words;
    for (uint32_t j = 0; j < misses; j++) {
        uint32_t i = miss[j], listed;
        char    *acc = of[i], *state = acc - p.value;
        uint64_t mark;
        if (wr_table_take_place(&p, state)) {
            fresh[i] = 1;
            continue;
        }
        memcpy(&mark, state + p.word, 8);
        memcpy(&listed, state + p.others, 4);
        int64_t base = (int64_t)mark >> WR_PLACE_BITS;
        bool    fits = (uint64_t)(p.number - base) < p.places;
        if ((listed == 0) & (base >= p.alive) & fits & ((mark & bit) == 0)) { /* beside slices that are not over */
            mark |= bit;
            memcpy(state + p.word, &mark, 8);
            memset(acc, 0, words * 8);
            fresh[i] = 1;
            continue;
        }
        uint64_t used = live_places(&p, mark & ((1u << WR_PLACE_BITS) - 1), &base);
        fits = (uint64_t)(p.number - base) < p.places;
        bool has = fits & (bool)(used & bit);
        miss[rest] = i;
        if (!(has | ((listed == 0) & fits))) {
            rest++;
            continue;
        }
        mark = (uint64_t)base << WR_PLACE_BITS | used | bit;
        memcpy(state + p.word, &mark, 8);
        if (!has) memset(acc, 0, words * 8);
        fresh[i] = !has;
    }
    return rest;
}

/* Small accumulators, which nearly all are, in registers. */
static uint32_t claim_all(const wr_table_place *p, void *const *of, uint8_t *fresh, uint32_t *miss, uint32_t misses)
{
    switch (p->words) {
    case 0: return claim_loop(*p, of, fresh, miss, misses, 0);
    case 1: return claim_loop(*p, of, fresh, miss, misses, 1);
    case 2: return claim_loop(*p, of, fresh, miss, misses, 2);
    case 3: return claim_loop(*p, of, fresh, miss, misses, 3);
    case 4: return claim_loop(*p, of, fresh, miss, misses, 4);
    default: return claim_loop(*p, of, fresh, miss, misses, p->words);
    }
}

/* From states to accumulators of a slice; those that do not have it in its place go to miss[]. */
static uint32_t look_at_places(wr_table_place p, void **of, const uint32_t *pick, uint32_t n, uint32_t *miss)
{
    uint32_t misses = 0;
    for (uint32_t j = 0; j < n; j++) {
        uint32_t i = pick != NULL ? pick[j] : j;
        char    *state = of[i];
        uint64_t mark;
        memcpy(&mark, state + p.word, 8);
        of[i] = state + p.value;
        miss[misses] = i;
        misses += !wr_table_placed(&p, mark);
    }
    return misses;
}

/* Those of miss[], which do not have the slice in its place; k->state[] says already where that is. */
static void take_places(wr_op *op, wr_windows *k, const wr_table_place *placing, uint32_t *miss, uint32_t misses)
{
    const wr_table_place p = *placing;
    if (misses == 0) return;
    misses = claim_all(placing, k->state, k->fresh, miss, misses);
    for (uint32_t j = 0; j < misses; j++) { /* rows of lists come from memory */
        char *state = (char *)k->state[miss[j]] - p.value;
        wr_cell_list_ask(op->table, state, wr_windows_list(k, state));
    }
    for (uint32_t j = 0; j < misses; j++) {
        uint32_t i = miss[j];
        char    *state = (char *)k->state[i] - p.value;
        if (wr_mark_has(k, *wr_mark_of(k, state), p.number)) continue; /* by an earlier record of the batch */
        k->fresh[i] = 1;
        k->state[i] = place_or_row(op, k, state, p.number, &k->fresh[i]);
    }
}

/* From the states of a batch to the accumulators of one slice. */
static void to_places(wr_op *op, wr_windows *k, int64_t slice, const uint32_t *pick, uint32_t n)
{
    const wr_table_place p = placing_of(op, k, slice);
    bool                 owns = op->def->kind == WEIR_OP_REDUCE;
    for (uint32_t j = 0; owns && j < n; j++) k->fresh[pick != NULL ? pick[j] : j] = 0;
    take_places(op, k, &p, k->rest, look_at_places(p, k->state, pick, n, k->rest));
}

/* A whole batch: keys and places in one look-up. */
static bool find_places(wr_op *op, wr_windows *k, int64_t slice, const wr_view *view)
{
    const wr_table_place p = placing_of(op, k, slice);
    uint32_t             rests, n = view->n;
    bool                 owns = op->def->kind == WEIR_OP_REDUCE;
    if (!wr_table_find_place(op->table, view->records, n, k->hash, &p, k->state, NULL, k->rest, &rests))
        return wr_windows_full(op);
    if (owns) memset(k->fresh, 0, n);
    take_places(op, k, &p, k->rest, rests);
    return true;
}

/* ---- a batch ---- */

static void add_to_slice(wr_op *op, wr_windows *k, const wr_view *view, int64_t slice, const uint32_t *pick, uint32_t n)
{
    const weir_key *key = &op->node->key[0];
    if (pick == NULL)
        wr_key_hash(key, view->records, op->def->left->size, n, k->hash);
    else
        wr_key_hash_picked(key, view->records, op->def->left->size, pick, n, k->hash);
    if (pick == NULL && wr_table_has_find_place(op->table)) {
        if (!find_places(op, k, slice, view)) return;
    } else {
        if (!wr_windows_find(op, k, view, pick, n)) return;
        to_places(op, k, slice, pick, n);
    }
    wr_windows_add(op, k, view, pick, n);
}

/* The whole batch belongs to one slice, which has lines. */
static void add_near(wr_op *op, wr_windows *k, wr_near *near, const wr_view *view, int64_t slice)
{
    weir_ctx *ctx = &op->ctx;
    ctx->in = view->records;
    ctx->time = view->time;
    ctx->n = view->n;
    ctx->near = &near->probe;
    near->probe.misses = 0;
    wr_op_call(op, op->def->on_near, "");
    uint32_t misses = near->probe.misses;
    check(misses <= view->n);
    if (misses > 0 && !wr_op_failed(op)) {
        uint32_t *miss = near->probe.miss;
        wr_key_hash_picked(&op->node->key[0], view->records, op->def->left->size, miss, misses, k->hash);
        if (!wr_windows_find(op, k, view, miss, misses)) return;
        to_places(op, k, slice, miss, misses);
        wr_windows_add(op, k, view, miss, misses);
    }
    wr_near_end(near, op->table, view->records, view->n, k->state, !wr_op_failed(op));
}

static void add_whole(wr_op *op, wr_windows *k, const wr_view *view, int64_t slice)
{
    wr_near *near = wr_windows_near(op, k, slice, view->n);
    if (near != NULL)
        add_near(op, k, near, view, slice);
    else
        add_to_slice(op, k, view, slice, NULL, view->n);
}

static int64_t slice_of(wr_windows *k, int64_t ns)
{
    if (ns < k->slice_from || ns >= k->slice_to) {
        k->slice_now = wr_slice_of(k, ns);
        k->slice_from = wr_slice_start(k, k->slice_now);
        k->slice_to = wr_slice_start(k, k->slice_now + 1);
        if (k->slice_to <= ns) k->slice_to = k->slice_from; /* at the end of time */
    }
    return k->slice_now;
}

/* Keys that keep records: the youngest slice that had some. */
static void note_last(const wr_windows *k, char *state, int64_t slice, bool fresh)
{
    int64_t *mark = wr_mark_of(k, state);
    if (fresh || slice > *mark) *mark = slice;
}

/* A record behind time: windows that have fired do so again, as far as they still take records. */
static void add_behind(wr_op *op, wr_windows *k, const wr_view *view, uint32_t i, int64_t slice)
{
    uint32_t pick[1] = {i};
    if (wr_slice_last_end(k, slice) <= k->dead || view->time[i].ns == WEIR_NO_TIME) {
        wr_op_late(op, view->records + (size_t)i * op->def->left->size, view->time[i]);
        return;
    }
    wr_live_add(k, slice);
    wr_key_hash_picked(&op->node->key[0], view->records, op->def->left->size, pick, 1, k->hash);
    if (!wr_windows_find(op, k, view, pick, 1)) return;
    char *state = k->state[i];
    if (k->totals && !k->ring) memset(state + k->type.total_end, 0, 8);
    if (k->rows) {
        wr_rows_add(op, k, state, view->records + (size_t)i * op->def->left->size, view->time[i].ns);
        note_last(k, state, slice, k->fresh[i]);
    } else {
        if (k->ring)
            k->state[i] = wr_ring_open(op, k, state, slice, k->fired);
        else
            to_places(op, k, slice, pick, 1);
        wr_windows_add(op, k, view, pick, 1);
    }
    for (int64_t end = wr_slice_first_end(k, slice); end <= k->fired && end <= wr_slice_last_end(k, slice);
         end += k->step) {
        if (end > k->dead) wr_slices_refire(op, k, state, end);
    }
    wr_result_flush(op, k);
}

static void add_rows(wr_op *op, wr_windows *k, const wr_view *view, const uint32_t *pick, uint32_t n)
{
    const weir_key *key = &op->node->key[0];
    if (pick == NULL)
        wr_key_hash(key, view->records, op->def->left->size, n, k->hash);
    else
        wr_key_hash_picked(key, view->records, op->def->left->size, pick, n, k->hash);
    if (!wr_windows_find(op, k, view, pick, n)) return;
    for (uint32_t j = 0; j < n && !wr_op_failed(op); j++) {
        uint32_t i = pick != NULL ? pick[j] : j;
        int64_t  at = k->window.clock ? k->clock_ns : view->time[i].ns, slice = slice_of(k, at);
        wr_rows_add(op, k, k->state[i], view->records + (size_t)i * op->def->left->size, at);
        note_last(k, k->state[i], slice, k->fresh[i]);
    }
}

static int by_slice(const void *a, const void *b, void *slices)
{
    uint32_t       x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    const int64_t *slice = slices;
    if (slice[x] != slice[y]) return slice[x] < slice[y] ? -1 : 1;
    return x < y ? -1 : 1;
}

/* Records that are kept stay in their order. */
static void add_mixed_rows(wr_op *op, wr_windows *k, const wr_view *view)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < view->n && !wr_op_failed(op); i++) {
        int64_t slice = slice_of(k, view->time[i].ns);
        if (wr_slice_first_end(k, slice) > k->fired && view->time[i].ns != WEIR_NO_TIME) {
            wr_live_add(k, slice);
            k->pick[n++] = i;
            continue;
        }
        if (n != 0) add_rows(op, k, view, k->pick, n);
        n = 0;
        add_behind(op, k, view, i, slice);
    }
    if (n != 0) add_rows(op, k, view, k->pick, n);
}

/* Several slices: slice after slice, in each the records in their order. */
static void add_mixed(wr_op *op, wr_windows *k, const wr_view *view)
{
    uint32_t n = 0;
    bool     sorted = true;
    for (uint32_t i = 0; i < view->n; i++) {
        int64_t slice = slice_of(k, view->time[i].ns);
        k->slice[i] = slice;
        if (wr_slice_first_end(k, slice) <= k->fired || view->time[i].ns == WEIR_NO_TIME) {
            add_behind(op, k, view, i, slice);
            continue;
        }
        sorted &= n == 0 || k->slice[k->pick[n - 1]] <= slice;
        k->pick[n++] = i;
    }
    if (!sorted) qsort_r(k->pick, n, sizeof *k->pick, by_slice, k->slice);
    for (uint32_t from = 0, to; from < n && !wr_op_failed(op); from = to) {
        int64_t slice = k->slice[k->pick[from]];
        for (to = from + 1; to < n && k->slice[k->pick[to]] == slice;) to++;
        wr_live_add(k, slice);
        add_to_slice(op, k, view, slice, k->pick + from, to - from);
    }
}

static void range_of(const weir_time *time, uint32_t n, int64_t *least, int64_t *most)
{
    int64_t low = INT64_MAX, high = INT64_MIN;
    for (uint32_t i = 0; i < n; i++) {
        low = time[i].ns < low ? time[i].ns : low;
        high = time[i].ns > high ? time[i].ns : high;
    }
    *least = low;
    *most = high;
}

static void slices_push(wr_op *op, wr_windows *k, const wr_view *view)
{
    int64_t least, most;
    if (k->window.clock) {
        if (op->home->now_ns > k->clock_ns) k->clock_ns = op->home->now_ns;
        least = most = k->clock_ns;
    } else {
        check(view->time != NULL);
        least = most = k->slice_from;
        if (!wr_times_within(view->time, view->n, k->slice_from, k->slice_to))
            range_of(view->time, view->n, &least, &most);
    }
    int64_t slice = slice_of(k, least);
    bool    whole = least == most || (most < k->slice_to && least >= k->slice_from);
    if (!whole || least == WEIR_NO_TIME || (!k->window.clock && wr_slice_first_end(k, slice) <= k->fired)) {
        (k->rows ? add_mixed_rows : add_mixed)(op, k, view);
    } else {
        if (k->lives == 0 || k->live[k->lives - 1] != slice) wr_live_add(k, slice);
        if (k->rows)
            add_rows(op, k, view, NULL, view->n);
        else
            add_whole(op, k, view, slice);
    }
    if (k->window.clock) op->due_ns = wr_saturating(k->next_ns, 1);
}

/* ---- after a restore: which slices have data ---- */

static void note_entry(wr_op *op, wr_windows *k, char *state)
{
    weir_cell *cell = wr_windows_list(k, state);
    int64_t    mark = *wr_mark_of(k, state);
    for (uint32_t d = 0; !k->rows && d < k->type.places; d++) {
        int64_t slice = (mark >> WR_PLACE_BITS) + d;
        if (wr_mark_has(k, mark, slice) && slice >= k->alive) wr_live_add(k, slice);
    }
    if (k->ring && wr_ring_any(k, state)) wr_ring_live(k, state);
    if (cell->count == 0) return;
    weir_rows rows = wr_cell_rows(op->table, state, cell);
    for (const char *row; (row = next_row(k, &rows)) != NULL;) {
        int64_t slice = row_slice(k->rows ? row + k->type.row.size - 8 : row);
        if (k->rows) slice = slice_of(k, slice);
        if (slice >= k->alive) wr_live_add(k, slice);
    }
}

static wr_err slices_open(wr_op *op, wr_windows *k, wr_errinfo *info)
{
    (void)info;
    wr_table_sweep sweep = {0};
    uint32_t       group;
    for (uint32_t n; (n = wr_table_sweep_next(op->table, &sweep, k->result, WR_RESULTS, &group)) != 0;) {
        for (uint32_t i = 0; i < n; i++) note_entry(op, k, k->result[i]);
    }
    if (k->window.clock && k->lives != 0) op->due_ns = op->home->now_ns; /* what came due meanwhile */
    return WR_OK;
}

const wr_window_form wr_form_slices = {.open = slices_open, .push = slices_push, .until = wr_slices_until};
