/* Sessions: windows that end after a silence. The youngest one of a key lies in its entry, further ones in a list.
 * A session stands in the calendar once, at the end that it had when it was put there, or later: what is due earlier
 * than its end has grown and is put there anew, what is due later than its end has fired and is only kept for late
 * records. */
#include "operators/window.h"
#include <stdlib.h>

enum { DUES_PER_STEP = 512 };
#define GONE INT64_MIN /* wr_session.due: is taken out of the list after the results */

static wr_session *hot_of(const wr_windows *k, char *state)
{
    return (wr_session *)(void *)(state + k->type.session);
}

static int64_t end_of(const wr_windows *k, const wr_session *s)
{
    return wr_saturating(s->last, k->window.size);
}

static uint32_t list_at(const wr_windows *k)
{
    return k->rows ? k->type.list2 : k->type.list;
}

static uint32_t row_bytes(const wr_windows *k)
{
    return k->rows ? k->type.row2.size : k->type.row.size;
}

static wr_session *next_session(wr_op *op, const wr_windows *k, char *state, weir_rows *rows)
{
    if (rows->at == rows->end && !wr_cell_rows_refill(rows, row_bytes(k))) return NULL;
    rows->at += row_bytes(k);
    return wr_cell_list_open(op->table, state, wr_cell_at(state, list_at(k)), rows);
}

static weir_rows sessions_of(wr_op *op, const wr_windows *k, char *state)
{
    weir_cell *cell = wr_cell_at(state, list_at(k));
    if (cell->count == 0) return (weir_rows){0};
    return wr_cell_rows(op->table, state, cell);
}

static int64_t time_now(const wr_op *op, const wr_windows *k)
{
    return k->window.clock ? WEIR_NO_TIME : op->watermark;
}

/* ---- firing ---- */

static void fire(wr_op *op, wr_windows *k, char *state, const wr_session *s, void *acc)
{
    weir_span span = {{s->first}, {end_of(k, s)}};
    if (k->rows) {
        weir_rows rows;
        if (!wr_rows_gather(op, k, state, s->first, wr_saturating(s->last, 1), &rows)) return;
        k->row[k->results] = rows;
    }
    wr_result_add(op, k, state, acc, span, span.end.ns - 1);
}

/* It stands in the calendar at s->due, and that time has come. */
static void come_due(wr_op *op, wr_windows *k, char *state, wr_session *s, void *acc, uint64_t hash)
{
    int64_t at = s->due, end = end_of(k, s) - 1;
    if (at < end) {
        s->due = end;
    } else {
        if (at == end) fire(op, k, state, s, acc);
        s->due = wr_saturating(end, k->lateness);
        if (s->due <= at) {
            s->due = GONE;
            return;
        }
    }
    wr_calendar_add(&k->calendar, s->due, hash);
}

static void *acc_of(const wr_windows *k, wr_session *row)
{
    return k->rows ? NULL : (char *)row + k->type.row_acc;
}

static bool all_due(wr_op *op, wr_windows *k, char *state, int64_t at, uint64_t hash)
{
    bool        any = false;
    wr_session *hot = hot_of(k, state);
    wr_table_touch(op->table, (void *[1]){state}, 1);
    if (*wr_mark_of(k, state) != 0 && hot->due == at) {
        come_due(op, k, state, hot, k->rows ? NULL : state + k->type.acc[0], hash);
        any = true;
    }
    weir_rows rows = sessions_of(op, k, state);
    for (wr_session *s; (s = next_session(op, k, state, &rows)) != NULL;) {
        if (s->due != at) continue;
        come_due(op, k, state, s, acc_of(k, s), hash);
        any = true;
    }
    return any;
}

/* After the results: what is over leaves, and so does a key that has nothing left. */
static void tidy(wr_op *op, wr_windows *k, char *state)
{
    wr_session *hot = hot_of(k, state);
    int64_t     oldest = INT64_MAX;
    if (*wr_mark_of(k, state) != 0 && hot->due == GONE) *wr_mark_of(k, state) = 0;
    if (*wr_mark_of(k, state) != 0) oldest = hot->first;
    weir_rows rows = sessions_of(op, k, state);
    for (wr_session *s; (s = next_session(op, k, state, &rows)) != NULL;) {
        if (s->due == GONE)
            wr_cell_rows_remove(op->table, state, wr_cell_at(state, list_at(k)), &rows);
        else if (s->first < oldest)
            oldest = s->first;
    }
    if (k->rows && oldest != INT64_MAX) wr_rows_drop(op, k, state, oldest);
    if (oldest == INT64_MAX) wr_table_forget(op->table, state);
}

static bool sessions_until(wr_op *op, wr_windows *k, int64_t watermark)
{
    wr_due         due;
    uint32_t       n = 0;
    bool           more = true;
    const uint32_t most = wr_home_results(op->home, DUES_PER_STEP);
    while (n < most && !wr_op_failed(op) && (more = wr_calendar_next(&k->calendar, watermark, &due))) {
        void    *state[8];
        uint32_t found = wr_table_by_hash(op->table, due.hash, state, 8);
        for (uint32_t i = 0; i < found; i++) {
            if (all_due(op, k, state[i], due.at, due.hash)) k->state[n++] = state[i];
        }
    }
    wr_result_flush(op, k);
    for (uint32_t i = 0; i < n; i++) tidy(op, k, k->state[i]);
    k->next_ns = wr_calendar_when(&k->calendar);
    return !more || wr_op_failed(op);
}

/* ---- records ---- */

static bool touches(const wr_windows *k, const wr_session *s, int64_t at)
{
    return at <= end_of(k, s) && wr_saturating(at, k->window.size) >= s->first;
}

static void copy_acc(wr_op *op, wr_windows *k, void *to, const void *from)
{
    if (op->def->kind == WEIR_OP_REDUCE)
        (void)wr_cell_record_own(op->table, op->def->state, to, from);
    else
        memcpy(to, from, k->type.acc_bytes);
}

/* The youngest session goes to the list, so that another one can have its place. */
static void move_hot(wr_op *op, wr_windows *k, char *state)
{
    uint64_t row[WR_STATE_BYTES_MAX / 8];
    memcpy(row, hot_of(k, state), sizeof(wr_session));
    if (!k->rows) memcpy((char *)row + k->type.row_acc, state + k->type.acc[0], k->type.acc_bytes);
    wr_err err = wr_cell_list_add(op->table, state, wr_cell_at(state, list_at(k)), row);
    check(err == WR_OK); /* its strings are in the table already, so none is too long */
    *wr_mark_of(k, state) = 0;
}

/* All sessions that the record at `at` joins, as one, in *s, and their accumulators in k->made, earlier ones first.
 * They leave the entry when `leave`. Returns how many there are. */
static uint32_t join(wr_op *op, wr_windows *k, char *state, int64_t at, wr_session *s, bool leave)
{
    wr_session *with[64];
    void       *acc[64];
    uint32_t    n = 0;
    wr_session *hot = hot_of(k, state);
    weir_cell  *cell = wr_cell_at(state, list_at(k));
    weir_rows   rows = sessions_of(op, k, state);
    *s = (wr_session){.first = at, .last = at, .due = INT64_MAX};
    for (wr_session *row; n < 63 && (row = next_session(op, k, state, &rows)) != NULL;) {
        if (!touches(k, row, at)) continue;
        acc[n] = acc_of(k, row);
        with[n++] = row;
    }
    if (*wr_mark_of(k, state) != 0 && touches(k, hot, at)) {
        acc[n] = k->rows ? NULL : state + k->type.acc[0];
        with[n++] = hot;
    }
    for (uint32_t i = 1; i < n; i++) { /* by time; there are one or two */
        for (uint32_t j = i; j > 0 && with[j]->first < with[j - 1]->first; j--) {
            wr_session *x = with[j];
            void       *y = acc[j];
            with[j] = with[j - 1], acc[j] = acc[j - 1];
            with[j - 1] = x, acc[j - 1] = y;
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        if (with[i]->first < s->first) s->first = with[i]->first;
        if (with[i]->last > s->last) s->last = with[i]->last;
        if (with[i]->due < s->due) s->due = with[i]->due;
        if (!leave || k->rows) continue;
        if (i == 0)
            memcpy(k->made, acc[0], k->type.acc_bytes);
        else
            wr_pairs_add(op, k, &k->merge, k->made, acc[i]);
    }
    wr_pairs_flush(op, k, &k->merge);
    for (uint32_t i = 0; leave && i < n; i++) with[i]->due = GONE;
    if (!leave || n == 0) return n;
    if (*wr_mark_of(k, state) != 0 && hot->due == GONE) *wr_mark_of(k, state) = 0;
    rows = sessions_of(op, k, state);
    for (wr_session *row; (row = next_session(op, k, state, &rows)) != NULL;) {
        if (row->due == GONE) wr_cell_rows_remove(op->table, state, cell, &rows);
    }
    return n;
}

/* Any record, alone: a new session, one that grows together with others, or one that is late. */
static void add_alone(wr_op *op, wr_windows *k, const wr_view *view, uint32_t i, int64_t at)
{
    char      *state = k->state[i];
    wr_session s;
    (void)join(op, k, state, at, &s, false);
    int64_t watermark = time_now(op, k), end = end_of(k, &s) - 1;
    if (at == WEIR_NO_TIME || (watermark != WEIR_NO_TIME && wr_saturating(end, k->lateness) <= watermark)) {
        wr_op_late(op, view->records + (size_t)i * op->def->left->size, view->time[i]);
        if (*wr_mark_of(k, state) == 0 && wr_cell_at(state, list_at(k))->count == 0) wr_table_forget(op->table, state);
        return;
    }
    bool     behind = watermark != WEIR_NO_TIME && end <= watermark;
    uint32_t joined = join(op, k, state, at, &s, true);
    int64_t  stood = s.due;
    s.due = behind ? wr_saturating(end, k->lateness) : stood < end ? stood : end;
    if (s.due != stood) wr_calendar_add(&k->calendar, s.due, wr_table_hash_of(op->table, state));
    if (*wr_mark_of(k, state) != 0) move_hot(op, k, state);
    *wr_mark_of(k, state) = 1;
    *hot_of(k, state) = s;
    if (k->rows) {
        wr_rows_add(op, k, state, view->records + (size_t)i * op->def->left->size, at);
    } else {
        void *acc = state + k->type.acc[0];
        if (joined != 0)
            copy_acc(op, k, acc, k->made);
        else if (op->def->kind != WEIR_OP_REDUCE)
            memset(acc, 0, k->type.acc_bytes);
        k->state[i] = acc;
        k->fresh[i] = joined == 0;
        wr_windows_add(op, k, view, &i, 1);
    }
    if (!behind) return;
    fire(op, k, state, &s, k->rows ? NULL : state + k->type.acc[0]);
    wr_result_flush(op, k);
}

/* The usual record continues the youngest session, and there is no other one. */
static bool goes_on(wr_op *op, wr_windows *k, char *state, int64_t at)
{
    wr_session *hot = hot_of(k, state);
    if (*wr_mark_of(k, state) == 0 || wr_cell_at(state, list_at(k))->count != 0 || !touches(k, hot, at) ||
        at == WEIR_NO_TIME)
        return false;
    int64_t last = at > hot->last ? at : hot->last, watermark = time_now(op, k);
    int64_t end = wr_saturating(last, k->window.size) - 1;
    if (end <= watermark || hot->due > end) return false;
    hot->last = last;
    if (at < hot->first) hot->first = at;
    return true;
}

static void sessions_push(wr_op *op, wr_windows *k, const wr_view *view)
{
    if (k->window.clock && op->home->now_ns > k->clock_ns) k->clock_ns = op->home->now_ns;
    wr_key_hash(&op->node->key[0], view->records, op->def->left->size, view->n, k->hash);
    if (!wr_windows_find(op, k, view, NULL, view->n)) return;
    uint32_t n = 0;
    for (uint32_t i = 0; i < view->n && !wr_op_failed(op); i++) {
        int64_t at = k->window.clock ? k->clock_ns : view->time[i].ns;
        char   *state = k->state[i];
        if (goes_on(op, k, state, at)) {
            if (k->rows) {
                wr_rows_add(op, k, state, view->records + (size_t)i * op->def->left->size, at);
            } else {
                k->state[i] = state + k->type.acc[0];
                k->fresh[i] = 0;
                k->pick[n++] = i;
            }
            continue;
        }
        wr_windows_add(op, k, view, k->pick, n); /* accumulators may move now */
        n = 0;
        add_alone(op, k, view, i, at);
    }
    wr_windows_add(op, k, view, k->pick, n);
    k->next_ns = wr_calendar_when(&k->calendar);
    if (k->window.clock) op->due_ns = wr_saturating(k->next_ns, 1);
}

static wr_err sessions_open(wr_op *op, wr_windows *k, wr_errinfo *info)
{
    (void)info;
    k->calendar.width_ns = k->window.size / 64 > 0 ? k->window.size / 64 : 1;
    k->calendar.edge = INT64_MIN;
    wr_table_sweep sweep = {0};
    uint32_t       group;
    for (uint32_t n; (n = wr_table_sweep_next(op->table, &sweep, k->result, WR_RESULTS, &group)) != 0;) {
        for (uint32_t i = 0; i < n; i++) {
            char    *state = k->result[i];
            uint64_t hash = wr_table_hash_of(op->table, state);
            wr_table_touch(op->table, k->result + i, 1);
            if (*wr_mark_of(k, state) != 0) wr_calendar_add(&k->calendar, hot_of(k, state)->due, hash);
            weir_rows rows = sessions_of(op, k, state);
            for (wr_session *s; (s = next_session(op, k, state, &rows)) != NULL;)
                wr_calendar_add(&k->calendar, s->due, hash);
        }
    }
    k->next_ns = wr_calendar_when(&k->calendar);
    if (k->window.clock && k->next_ns != INT64_MAX) op->due_ns = op->home->now_ns;
    return WR_OK;
}

const wr_window_form wr_form_sessions = {.open = sessions_open, .push = sessions_push, .until = sessions_until};
