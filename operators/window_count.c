/* Windows without time: the last records of a key, all records of a key with a result after each or at the end. */
#include "operators/window.h"

static const weir_span WHOLE = {{INT64_MIN + 1}, {INT64_MAX}};

static int64_t time_of(const wr_view *view, uint32_t i)
{
    return view->time != NULL ? view->time[i].ns : WEIR_NO_TIME;
}

static const char *record_of(const wr_op *op, const wr_view *view, uint32_t i)
{
    return view->records + (size_t)i * op->def->left->size;
}

static bool find(wr_op *op, wr_windows *k, const wr_view *view)
{
    wr_key_hash(&op->node->key[0], view->records, op->def->left->size, view->n, k->hash);
    return wr_windows_find(op, k, view, NULL, view->n);
}

static void put_rows(wr_op *op, wr_windows *k, char *state, int64_t at)
{
    weir_rows rows;
    if (!wr_rows_gather(op, k, state, INT64_MIN, INT64_MAX, &rows)) return;
    k->row[k->results] = rows;
    wr_result_add(op, k, state, NULL, WHOLE, at);
}

/* ---- weir_count: accumulators of gcd(size, slide) records ---- */

/* The rest of a round: records whose states are in k->slice, as addresses, and which make a slice complete. */
static void complete(wr_op *op, wr_windows *k, char *state, int64_t at)
{
    int64_t n = *wr_mark_of(k, state), slices = n / k->slice_ns;
    char   *acc = state + k->type.acc[0];
    if (k->per == 1 && k->step == 1) {
        wr_result_add(op, k, state, acc, WHOLE, at);
        return;
    }
    uint64_t   row[WR_STATE_BYTES_MAX / 8];
    weir_cell *cell = wr_windows_list(k, state);
    row[0] = (uint64_t)slices;
    memcpy((char *)row + k->type.row_acc, acc, k->type.acc_bytes);
    wr_err err = wr_cell_list_add(op->table, state, cell, row);
    check(err == WR_OK);
    if (cell->count > k->per) wr_cell_list_drop(op->table, state, cell, cell->count - (uint32_t)k->per);
    if (n % k->window.slide != 0) return;
    void     *made = k->made + (size_t)k->results * k->type.acc_bytes;
    weir_rows rows = wr_cell_rows(op->table, state, cell);
    for (uint32_t i = 0; rows.at != rows.end || wr_cell_rows_refill(&rows, k->type.row.size); i++) {
        if (i == 0)
            memcpy(made, rows.at + k->type.row_acc, k->type.acc_bytes);
        else
            wr_pairs_add(op, k, &k->merge, made, rows.at + k->type.row_acc);
        rows.at += k->type.row.size;
    }
    wr_result_add(op, k, state, made, WHOLE, at);
}

/* Accumulates what was picked, then looks after the slices that are complete now: k->rest has their records. */
static void end_round(wr_op *op, wr_windows *k, const wr_view *view, uint32_t n, uint32_t complete_n)
{
    wr_windows_add(op, k, view, k->pick, n);
    for (uint32_t j = 0; j < complete_n && !wr_op_failed(op); j++)
        complete(op, k, (char *)k->state[k->rest[j]] - k->type.acc[0], time_of(view, k->rest[j]));
    wr_result_flush(op, k);
    for (uint32_t j = 0; j < complete_n; j++) { /* a key that has nothing left */
        if (k->per == 1 && k->step == 1) wr_table_forget(op->table, (char *)k->state[k->rest[j]] - k->type.acc[0]);
    }
    k->round++;
}

static void count_rows(wr_op *op, wr_windows *k, const wr_view *view)
{
    for (uint32_t i = 0; i < view->n && !wr_op_failed(op); i++) {
        char      *state = k->state[i];
        weir_cell *cell = wr_windows_list(k, state);
        int64_t    n = ++*wr_mark_of(k, state);
        wr_rows_add(op, k, state, record_of(op, view, i), time_of(view, i));
        if (cell->count > (uint64_t)k->window.size)
            wr_cell_list_drop(op->table, state, cell, cell->count - (uint32_t)k->window.size);
        if (n % k->window.slide != 0) continue;
        put_rows(op, k, state, time_of(view, i));
        if (k->window.size != k->window.slide) continue;
        wr_result_flush(op, k);
        wr_table_forget(op->table, state);
    }
    wr_result_flush(op, k);
}

static void count_push(wr_op *op, wr_windows *k, const wr_view *view)
{
    if (!find(op, k, view)) return;
    if (k->rows) {
        count_rows(op, k, view);
        return;
    }
    uint32_t n = 0, complete_n = 0;
    for (uint32_t i = 0; i < view->n && !wr_op_failed(op); i++) {
        char    *state = k->state[i];
        int64_t *mark = wr_mark_of(k, state);
        if (*mark % k->slice_ns == 0 && !wr_round_first(k, state)) { /* perhaps complete in this round */
            end_round(op, k, view, n, complete_n);
            n = complete_n = 0;
            (void)wr_round_first(k, state);
        }
        k->fresh[i] = *mark % k->slice_ns == 0;
        if (k->fresh[i] && op->def->kind != WEIR_OP_REDUCE) memset(state + k->type.acc[0], 0, k->type.acc_bytes);
        k->state[i] = state + k->type.acc[0];
        k->pick[n++] = i;
        if (++*mark % k->slice_ns == 0) k->rest[complete_n++] = i;
        if (*mark % k->slice_ns == 0) (void)wr_round_first(k, state);
    }
    end_round(op, k, view, n, complete_n);
}

static wr_err count_open(wr_op *op, wr_windows *k, wr_errinfo *info)
{
    (void)op;
    (void)info;
    wr_slices_init(k);
    k->round = 1;
    return WR_OK;
}

const wr_window_form wr_form_count = {.open = count_open, .push = count_push};

/* ---- weir_running ---- */

static void results_of_round(wr_op *op, wr_windows *k, const wr_view *view, uint32_t n)
{
    wr_windows_add(op, k, view, k->pick, n);
    for (uint32_t j = 0; j < n && !wr_op_failed(op); j++) {
        uint32_t i = k->pick[j];
        wr_result_add(op, k, (char *)k->state[i] - k->type.acc[0], k->state[i], WHOLE, time_of(view, i));
    }
    wr_result_flush(op, k);
    k->round++;
}

static void running_push(wr_op *op, wr_windows *k, const wr_view *view)
{
    uint32_t n = 0;
    if (!find(op, k, view)) return;
    for (uint32_t i = 0; i < view->n && !wr_op_failed(op); i++) {
        char *state = k->state[i];
        if (k->rows) {
            wr_rows_add(op, k, state, record_of(op, view, i), time_of(view, i));
            put_rows(op, k, state, time_of(view, i));
            continue;
        }
        if (!wr_round_first(k, state)) { /* its result stands before the next record of its key */
            results_of_round(op, k, view, n);
            n = 0;
            (void)wr_round_first(k, state);
        }
        int64_t *mark = wr_mark_of(k, state);
        k->fresh[i] = *mark == 0;
        *mark = 1;
        k->state[i] = state + k->type.acc[0];
        k->pick[n++] = i;
    }
    results_of_round(op, k, view, n);
}

static wr_err running_open(wr_op *op, wr_windows *k, wr_errinfo *info)
{
    (void)op;
    (void)info;
    k->round = 1;
    return WR_OK;
}

const wr_window_form wr_form_running = {.open = running_open, .push = running_push};

/* ---- weir_one_window, with records ---- */

static void global_push(wr_op *op, wr_windows *k, const wr_view *view)
{
    if (!find(op, k, view)) return;
    for (uint32_t i = 0; i < view->n && !wr_op_failed(op); i++)
        wr_rows_add(op, k, k->state[i], record_of(op, view, i), time_of(view, i));
}

static bool global_end(wr_op *op, wr_windows *k)
{
    const uint32_t most = wr_home_results(op->home, WR_RESULTS / 2);
    uint32_t       group, n = wr_table_sweep_next(op->table, &k->sweep, k->state, most, &group);
    for (uint32_t i = 0; i < n && !wr_op_failed(op); i++) put_rows(op, k, k->state[i], INT64_MAX - 1);
    return n == 0;
}

const wr_window_form wr_form_global = {.push = global_push, .end = global_end};
