/* Windows: the kernel that all kinds share: the table, results, time. */
#include "operators/window.h"
#include "operators/kernels.h"
#include "snapshot/image.h"
#include <stdlib.h>

static const wr_window_form *form_of(uint32_t kind)
{
    switch (kind) {
    case WEIR_TUMBLING:
    case WEIR_SLIDING: return &wr_form_slices;
    case WEIR_SESSION: return &wr_form_sessions;
    case WEIR_COUNT: return &wr_form_count;
    case WEIR_RUNNING: return &wr_form_running;
    case WEIR_GLOBAL: return &wr_form_global;
    default: return NULL;
    }
}

static void *aligned(size_t bytes)
{
    bytes = (bytes + WR_BATCH_SPARE_BYTES + WR_CACHE_LINE - 1) & ~(size_t)(WR_CACHE_LINE - 1);
    return aligned_alloc(WR_CACHE_LINE, bytes);
}

/* ---- making ------------------------------------------------------------------------------------------------------ */

static wr_err windows_new(wr_op *op, uint32_t places, wr_errinfo *info)
{
    wr_windows *k = aligned(sizeof *k);
    if (k == NULL) return wr_fail(info, WR_MEMORY, "no memory for windows of operator %s", op->node->uid);
    memset(k, 0, sizeof *k);
    op->kernel_state = k;
    k->window = op->node->window.window;
    k->lateness = op->node->window.lateness;
    k->form = form_of(k->window.kind);
    if (k->form == NULL) return wr_fail(info, WR_NOT_YET, "this kind of window; operator %s", op->node->uid);
    k->rows = op->def->kind == WEIR_OP_WINDOW;
    k->clock_ns = INT64_MIN;
    if (k->window.kind == WEIR_TUMBLING || k->window.kind == WEIR_SLIDING) wr_slices_init(k);
    WR_TRY(wr_window_type_make(&k->type, op->node, places, info));
    k->totals = k->type.total != WR_NONE;
    k->ring = k->type.ring != WR_NONE;
    k->keys = aligned((size_t)op->def->left->size * WR_RESULTS);
    k->made = aligned((size_t)k->type.acc_bytes * WR_RESULTS);
    k->left = aligned((size_t)k->type.acc_bytes * WR_RESULTS);
    if (k->keys == NULL || k->made == NULL || k->left == NULL)
        return wr_fail(info, WR_MEMORY, "no memory for windows of operator %s", op->node->uid);
    memset(k->keys, 0, (size_t)op->def->left->size * WR_RESULTS); /* for good: only key fields are ever set */
    wr_key_groups   groups = wr_key_groups_of(op->subtask, op->subtasks, op->max_parallelism);
    wr_table_config config = {.uid = op->node->uid,
                              .record = op->def->left,
                              .key = op->node->key[0],
                              .state = &k->type.state,
                              .max_parallelism = op->max_parallelism,
                              .group_first = groups.first,
                              .group_end = groups.end,
                              .budget = op->home->budget,
                              .large_pages = true};
    WR_TRY(wr_table_new(&op->table, &config, info));
    k->calendar.budget = op->home->budget;
    return WR_OK;
}

static wr_err windows_open(wr_op *op, wr_errinfo *info)
{
    if (op->kernel_state == NULL) WR_TRY(windows_new(op, 0, info));
    wr_windows *k = op->kernel_state;
    wr_windows_near_open(op, k);
    bool has_places = k->form == &wr_form_slices && !k->rows && !k->window.clock; /* what finds none goes to a list */
    if (!has_places || __builtin_mul_overflow(k->slice_ns, k->type.places - 1, &op->apart_ns)) op->apart_ns = 0;
    op->ctx.state = k->state;
    op->ctx.fresh = k->fresh;
    op->ctx.near = &k->near[0].lines.probe;
    return k->form->open != NULL ? k->form->open(op, k, info) : WR_OK;
}

/* The types stay until the operator goes (wr_op_fini calls once more): answers to barriers name them, and those are
 * read by other threads when this task has long failed. */
static void windows_close(wr_op *op)
{
    wr_windows *k = op->kernel_state;
    bool        last = op->table == NULL;
    if (k != NULL) {
        wr_windows_near_close(k);
        wr_calendar_fini(&k->calendar);
        free(k->keys);
        free(k->made);
        free(k->left);
        free(k->gathered);
        free(k->live);
        free(k->fired_of);
        k->keys = NULL;
        k->made = NULL;
        k->left = NULL;
        k->gathered = NULL;
        k->live = NULL;
        k->fired_of = NULL;
    }
    wr_table_free(op->table); /* before the types of its states */
    op->table = NULL;
    if (k == NULL || !last) return;
    wr_window_type_free(&k->type);
    free(k);
    op->kernel_state = NULL;
}

/* ---- from a snapshot --------------------------------------------------------------------------------------------- */

static wr_err windows_load(wr_op *op, const wr_manifest_op *saved, const char *folder, wr_errinfo *info)
{
    uint32_t places, match;
    WR_TRY(wr_windows_places(op->node, saved, &places, info));
    WR_TRY(windows_new(op, places, info));
    wr_windows *k = op->kernel_state;
    WR_TRY(wr_windows_fit(op->node, saved, &k->type, &match, info));
    WR_TRY(wr_windows_times(op, k, saved, info));
    return wr_image_load(op->table, op->home->env, folder, saved, NULL, info);
}

/* ---- records ----------------------------------------------------------------------------------------------------- */

bool wr_windows_full(wr_op *op)
{
    wr_op_fail(op, WR_STATE_MAX,
               "keyed state is larger than --state-max (%llu of %llu bytes in this slot); operator %s "
               "subtask %u with %llu keys; raise --state-max, run with more slots, or use shorter windows",
               (unsigned long long)op->home->budget->bytes, (unsigned long long)op->home->budget->bytes_max,
               op->node->uid, op->subtask, (unsigned long long)wr_table_count(op->table));
    return false;
}

bool wr_windows_find(wr_op *op, wr_windows *k, const wr_view *view, const uint32_t *pick, uint32_t n)
{
    if (wr_table_find(op->table, view->records, view->n, k->hash, pick, n, k->state, k->fresh)) return true;
    return wr_windows_full(op);
}

void wr_windows_add(wr_op *op, wr_windows *k, const wr_view *view, const uint32_t *pick, uint32_t n)
{
    weir_ctx *ctx = &op->ctx;
    (void)k;
    if (n == 0) return;
    ctx->in = view->records;
    ctx->time = view->time;
    ctx->n = view->n;
    ctx->pick = pick;
    ctx->pick_n = n;
    wr_op_call(op, op->def->on_left, "");
    ctx->pick = NULL;
}

static void note_state(wr_op *op)
{
    atomic_store_explicit(&op->stats.keys, wr_table_count(op->table), memory_order_relaxed);
    atomic_store_explicit(&op->stats.state_bytes, wr_table_bytes(op->table), memory_order_relaxed);
}

/* A sweep by the clock that was left in the middle ends before anything else happens. */
static void windows_flush(wr_op *op)
{
    const wr_windows *k = op->kernel_state;
    check(!k->sweeping || k->window.clock || wr_op_failed(op));
    bool behind = k->window.clock && k->sweeping;
    while (behind && !wr_op_failed(op)) behind = !wr_op_tick(op);
}

static void windows_push(wr_op *op, const wr_view *view, uint32_t port)
{
    (void)port;
    wr_windows *k = op->kernel_state;
    windows_flush(op);
    wr_op_borrow(op, view);
    k->form->push(op, k, view);
    wr_op_settle(op); /* before the table's: what was emitted may borrow from a cell */
    wr_table_settle(op->table);
    note_state(op);
}

/* Keeps a record with its time. */
void wr_rows_add(wr_op *op, wr_windows *k, void *state, const char *record, int64_t at)
{
    uint64_t row[WR_BATCH_BYTES / 8 + 1];
    check(k->type.row.size <= sizeof row);
    memset(row, 0, k->type.row.size);
    memcpy(row, record, op->def->left->size);
    row[k->type.row.size / 8 - 1] = (uint64_t)at;
    wr_err err = wr_cell_list_add(op->table, state, wr_windows_list(k, state), row);
    if (err != WR_OK)
        wr_op_fail(op, err, "a string is larger than %d MiB; operator %s subtask %u; keep less",
                   WR_CELL_BYTES_MAX >> 20, op->node->uid, op->subtask);
}

static int64_t row_time(const wr_windows *k, const char *row)
{
    int64_t at;
    memcpy(&at, row + k->type.row.size - 8, 8);
    return at;
}

/* The next stored row, or NULL. */
static const char *next_row(weir_rows *rows, uint32_t size)
{
    if (rows->at == rows->end && !wr_cell_rows_refill(rows, size)) return NULL;
    const char *row = rows->at;
    rows->at += size;
    return row;
}

static bool make_room(wr_op *op, wr_windows *k, uint64_t bytes)
{
    if (k->gathered_max - k->gathered_bytes >= bytes) return true;
    wr_result_flush(op, k); /* nobody points into it any more */
    if (k->gathered_max >= bytes) return true;
    uint64_t max = bytes < WR_MIB(1) ? WR_MIB(1) : bytes + bytes / 2;
    free(k->gathered);
    k->gathered = aligned(max);
    k->gathered_max = k->gathered == NULL ? 0 : max;
    if (k->gathered == NULL)
        wr_op_fail(op, WR_MEMORY, "no memory for the %llu bytes of one window; operator %s; use shorter windows",
                   (unsigned long long)bytes, op->node->uid);
    return k->gathered != NULL;
}

bool wr_rows_gather(wr_op *op, wr_windows *k, void *state, int64_t start, int64_t end, weir_rows *to)
{
    const weir_cell *cell = wr_windows_list(k, state);
    uint32_t         size = op->def->left->size;
    *to = (weir_rows){0};
    if (cell->count == 0 || !make_room(op, k, (uint64_t)cell->count * size)) return false;
    weir_rows rows = wr_cell_rows(op->table, state, cell);
    char     *at = k->gathered + k->gathered_bytes;
    to->at = at;
    for (const char *row; (row = next_row(&rows, k->type.row.size)) != NULL;) {
        int64_t time = row_time(k, row);
        if (time < start || time >= end) continue;
        memcpy(at, row, size);
        at += size;
        to->left++;
    }
    to->end = at;
    k->gathered_bytes = (uint64_t)(at - k->gathered);
    return to->left != 0;
}

void wr_rows_drop(wr_op *op, wr_windows *k, void *state, int64_t start)
{
    weir_cell *cell = wr_windows_list(k, state);
    if (cell->count == 0) return;
    weir_rows rows = wr_cell_rows(op->table, state, cell);
    uint32_t  old = 0;
    for (const char *row; (row = next_row(&rows, k->type.row.size)) != NULL && row_time(k, row) < start;) old++;
    if (old == 0) return;
    wr_table_touch(op->table, &state, 1);
    wr_cell_list_drop(op->table, state, cell, old);
}

bool wr_round_first(wr_windows *k, const void *state)
{
    wr_due *seen = &k->seen[((uintptr_t)state / 16 * WEIR_NEAR_MIX) >> 54];
    if (seen->hash == k->round) return false; /* this state or, now and then, another one */
    seen->hash = k->round;
    return true;
}

/* ---- results ----------------------------------------------------------------------------------------------------- */

void wr_result_flush(wr_op *op, wr_windows *k)
{
    weir_ctx *ctx = &op->ctx;
    uint32_t  n = k->results;
    wr_pairs_flush(op, k, &k->merge); /* what the results are made of */
    wr_pairs_flush(op, k, &k->retract);
    k->results = 0;
    if (n == 0 || wr_op_failed(op)) {
        k->gathered_bytes = 0;
        return;
    }
    op->home->results += n;
    wr_table_put_keys(op->table, k->result_key, n, k->keys);
    const void      *in = ctx->in;
    const weir_time *time = ctx->time;
    uint32_t         in_n = ctx->n;
    ctx->n = n;
    ctx->in = ctx->key = k->keys;
    ctx->state = k->result;
    ctx->rows = k->row;
    ctx->window = k->span;
    ctx->time = k->time;
    wr_op_call(op, op->def->on_result, "making a result");
    ctx->n = in_n;
    ctx->in = in;
    ctx->key = NULL;
    ctx->state = k->state;
    ctx->rows = NULL;
    ctx->window = NULL;
    ctx->time = time;
    k->gathered_bytes = 0;
}

void wr_result_add(wr_op *op, wr_windows *k, void *key_state, void *acc, weir_span span, int64_t at)
{
    uint32_t n = k->results++;
    k->result_key[n] = key_state;
    k->result[n] = acc;
    k->span[n] = span;
    k->time[n].ns = at;
    if (k->results == WR_RESULTS) wr_result_flush(op, k);
}

void wr_pairs_flush(wr_op *op, wr_windows *k, wr_pairs *pairs)
{
    weir_ctx *ctx = &op->ctx;
    if (pairs->n == 0) return;
    static const uint8_t none[WR_RESULTS];
    weir_ctx             was = *ctx;
    ctx->n = pairs->n;
    ctx->state = pairs->into;
    ctx->other = pairs->from;
    ctx->fresh = none;
    if (pairs == &k->retract)
        wr_op_call(op, op->def->on_retract, "in its retract function");
    else
        wr_op_call(op, op->def->on_merge, "in its merge function");
    ctx->n = was.n;
    ctx->state = was.state;
    ctx->other = NULL;
    ctx->fresh = was.fresh;
    pairs->n = 0;
}

void wr_pairs_add(wr_op *op, wr_windows *k, wr_pairs *pairs, void *into, const void *from)
{
    pairs->into[pairs->n] = into;
    pairs->from[pairs->n++] = from;
    if (pairs->n == WR_RESULTS) wr_pairs_flush(op, k, pairs);
}

/* ---- time -------------------------------------------------------------------------------------------------------- */

/* One step of whatever time has brought: results, then what they borrowed is given back. */
static bool step(wr_op *op, bool (*until)(wr_op *, wr_windows *, int64_t), int64_t watermark)
{
    wr_windows *k = op->kernel_state;
    if (until == NULL || wr_op_failed(op)) return true;
    wr_op_borrow(op, &(wr_view){0});
    bool done = until(op, k, watermark);
    wr_result_flush(op, k);
    wr_op_settle(op);
    wr_table_settle(op->table);
    note_state(op);
    return done;
}

static bool windows_advance(wr_op *op)
{
    wr_windows *k = op->kernel_state;
    return k->window.clock || step(op, k->form->until, op->watermark);
}

static bool windows_tick(wr_op *op)
{
    wr_windows *k = op->kernel_state;
    if (!k->window.clock) {
        op->due_ns = INT64_MAX;
        return true;
    }
    if (!k->sweeping && op->home->now_ns > k->clock_ns) k->clock_ns = op->home->now_ns;
    if (!step(op, k->form->until, k->clock_ns - 1)) return false;
    op->due_ns = wr_saturating(k->next_ns, 1);
    return true;
}

/* All input is there: whatever waits for time has its result now. */
static bool windows_end(wr_op *op)
{
    wr_windows *k = op->kernel_state;
    if (k->form->end == NULL) return step(op, k->form->until, INT64_MAX);
    wr_op_borrow(op, &(wr_view){0});
    bool done = k->form->end(op, k);
    wr_result_flush(op, k);
    wr_op_settle(op);
    wr_table_settle(op->table);
    return done;
}

const wr_kernel wr_kernel_windows = {.name = "windows",
                                     .open = windows_open,
                                     .push = windows_push,
                                     .advance = windows_advance,
                                     .tick = windows_tick,
                                     .end = windows_end,
                                     .save = wr_windows_save,
                                     .load = windows_load,
                                     .flush = windows_flush,
                                     .close = windows_close};
