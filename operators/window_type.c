/* The type of an entry's state, made of the operator's accumulator or record and the kind of window. Pure: a job that
 * starts and a look at a snapshot make the same. */
#include "operators/window.h"
#include <stdlib.h>

typedef struct builder {
    weir_field *field;
    weir_type  *type;
} builder;

static void begin(builder *b, weir_type *type, const char *name)
{
    b->type = type;
    *type = (weir_type){.abi_size = sizeof *type, .name = name, .align = 8, .field = b->field};
}

static weir_field *add(builder *b, const char *name, uint32_t kind, uint32_t size)
{
    *b->field = (weir_field){.name = name, .offset = b->type->size, .size = size, .kind = kind};
    b->type->fields++;
    b->type->size += (size + 7) & ~7u;
    return b->field++;
}

static uint32_t add_number(builder *b, const char *name)
{
    return add(b, name, WEIR_I64, 8)->offset;
}

static uint32_t add_list(builder *b, const char *name, const weir_type *row)
{
    weir_field *f = add(b, name, WEIR_CELL_LIST, sizeof(weir_cell));
    f->element = row;
    return f->offset;
}

/* All fields of a record, with their names behind a prefix. Returns where it begins; aborts without memory. */
static uint32_t add_record(builder *b, const weir_type *type, const char *prefix)
{
    uint32_t at = b->type->size;
    for (uint32_t i = 0; i < type->fields; i++) {
        char *name = NULL;
        if (asprintf(&name, "%s%s", prefix, type->field[i].name) < 0) abort();
        *b->field = type->field[i];
        b->field->name = name;
        b->field->offset += at;
        b->field++;
        b->type->fields++;
    }
    b->type->size = at + ((type->size + 7) & ~7u);
    return at;
}

/* Names that are made here, and have to be given back. */
static bool made_name(const char *name)
{
    return name[0] != '(';
}

void wr_window_type_free(wr_window_type *type)
{
    const weir_type *of[] = {&type->state, &type->row, &type->row2};
    for (uint32_t t = 0; t < 3; t++) {
        for (uint32_t i = 0; i < of[t]->fields; i++) {
            if (made_name(of[t]->field[i].name)) free((char *)(uintptr_t)of[t]->field[i].name);
        }
    }
    free(type->field);
    *type = (wr_window_type){0};
}

static void make_row_of_record(builder *b, wr_window_type *t, const weir_type *record)
{
    begin(b, &t->row, record->name);
    (void)add_record(b, record, "");
    (void)add_number(b, "(time)");
}

static void make_session_row(builder *b, weir_type *row, const weir_type *acc)
{
    begin(b, row, "(session)");
    (void)add_number(b, "(first)");
    (void)add_number(b, "(last)");
    (void)add_number(b, "(due)");
    if (acc != NULL) (void)add_record(b, acc, "");
}

static void make_sessions(builder *b, wr_window_type *t, const weir_op *op, bool rows)
{
    const weir_type *acc = rows ? NULL : op->state;
    if (rows) make_row_of_record(b, t, op->left);
    make_session_row(b, rows ? &t->row2 : &t->row, acc);
    begin(b, &t->state, "(sessions)");
    t->list = add_list(b, rows ? "(records)" : "(sessions)", &t->row);
    if (rows) t->list2 = add_list(b, "(sessions)", &t->row2);
    t->mark = add_number(b, "(open)");
    t->session = add_number(b, "(first)");
    (void)add_number(b, "(last)");
    (void)add_number(b, "(due)");
    t->row_acc = WR_SESSION_REST;
    if (acc != NULL) t->acc[0] = add_record(b, acc, "");
}

/* As many slices side by side as may be open at a time; a power of two. */
static uint32_t places_for(const weir_type *acc, const weir_window_spec *spec)
{
    const weir_window *w = &spec->window;
    uint32_t           places = 2;
    if (w->kind == WEIR_COUNT || w->kind == WEIR_RUNNING || w->kind == WEIR_GLOBAL) return 1;
    if (acc == NULL) return 1;
    int64_t open = spec->lateness / (w->slide > 0 ? w->slide : 1) + 2;
    while (places < WR_PLACES_MAX && places < open && acc->size * 2 * places <= 512) places *= 2;
    return places;
}

/* Slices of a window whose total is kept from one to the next; 0: it is made anew for each. */
static uint64_t slices_totalled(const wr_node *node)
{
    const weir_window *w = &node->window.window;
    if (w->kind != WEIR_SLIDING || w->slide >= w->size || node->window.lateness != 0) return 0;
    if (node->op->on_retract == NULL || node->op->kind == WEIR_OP_WINDOW) return 0;
    return (uint64_t)wr_slices_per(w);
}

static void make_folds(builder *b, wr_window_type *t, const weir_type *acc, uint64_t totalled)
{
    static const char *const prefix[WR_PLACES_MAX] = {"0.", "1.", "2.", "3.", "4.", "5.", "6.", "7."};
    begin(b, &t->row, "(slice)");
    (void)add_number(b, "(slice)");
    t->row_acc = add_record(b, acc, "");
    begin(b, &t->state, "(slices)");
    t->list = add_list(b, "(slices)", &t->row);
    t->mark = add_number(b, "(mark)");
    for (uint32_t i = 0; i < t->places; i++) t->acc[i] = add_record(b, acc, prefix[i]);
    if (totalled == 0) return;
    t->total_end = add_number(b, "(end)");
    t->total = add_record(b, acc, "total.");
    if (totalled * t->acc_bytes > WR_RING_BYTES_MAX) return;
    t->held = add(b, "(held)", WEIR_ARRAY | WEIR_U64, (uint32_t)(totalled + 63) / 64 * 8)->offset;
    t->ring = add(b, "(ring)", WEIR_ARRAY | WEIR_U64, (uint32_t)totalled * t->acc_bytes)->offset;
}

wr_err wr_window_type_make(wr_window_type *t, const wr_node *node, uint32_t places, wr_errinfo *info)
{
    const weir_op   *op = node->op;
    const weir_type *acc = op->state;
    bool             rows = op->kind == WEIR_OP_WINDOW;
    uint32_t         fields = (rows ? op->left : acc)->fields;
    uint64_t         totalled = slices_totalled(node);
    *t = (wr_window_type){.places = places != 0 ? places : places_for(acc, &node->window)};
    t->list2 = t->total = t->total_end = t->held = t->ring = t->session = WR_NONE;
    uint32_t all = (t->places + 2) * fields + 16;
    if ((t->places + (totalled != 0)) * fields + 6 > WR_FIELDS_MAX && !rows)
        return wr_fail(info, WR_LIMIT, "accumulator %s of operator %s has %u fields; at most %d in windows; use fewer",
                       acc->name, node->uid, fields, (WR_FIELDS_MAX - 6) / 3);
    if (rows && fields + 1 > WR_FIELDS_MAX)
        return wr_fail(info, WR_LIMIT,
                       "record %s of operator %s has %u fields; at most %d in windows that keep records",
                       op->left->name, node->uid, fields, WR_FIELDS_MAX - 1);
    t->field = calloc(all, sizeof *t->field);
    if (t->field == NULL) return wr_fail(info, WR_MEMORY, "no memory for operator %s", node->uid);
    builder b = {.field = t->field};
    t->acc_bytes = acc == NULL ? 0 : (acc->size + 7) & ~7u;
    if (node->window.window.kind == WEIR_SESSION) {
        make_sessions(&b, t, op, rows);
    } else if (rows) {
        make_row_of_record(&b, t, op->left);
        begin(&b, &t->state, "(records)");
        t->list = add_list(&b, "(records)", &t->row);
        t->mark = add_number(&b, "(mark)");
    } else {
        make_folds(&b, t, acc, totalled);
    }
    check((uint32_t)(b.field - t->field) <= all);
    return WR_OK;
}
