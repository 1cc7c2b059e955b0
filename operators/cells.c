/* Cells of the state of the current record: the public functions, over snapshot/'s. */
#include "base/check.h"
#include "operators/keyed.h"

static inline wr_op *op_of(const weir_ctx *ctx)
{
    return (wr_op *)ctx->engine;
}

/* The table and the state that a cell to be read lies in: while a state is upgraded, the old one's lie elsewhere. */
static const wr_table *place_of(const weir_ctx *ctx, const weir_cell *cell, const void **state)
{
    const wr_op *op = ctx->engine;
    *state = ctx->current;
    if (__builtin_expect(op->upgrading == NULL, 1)) return op->table;
    if ((uint64_t)((const char *)cell - (const char *)ctx->current) < op->def->state->size) return op->table;
    *state = ctx->other[ctx->at];
    return op->upgrading;
}

/* One call of the user's function goes on to its end, and could take all address space: what it sets beyond this is
 * dropped. Families reserve twice the bound and 512 MiB; a cell is at most 16 MiB. */
#define DROPPED_FROM_BYTES (UINT64_C(256) << 20)

static bool is_dropped(const weir_ctx *ctx)
{
    const wr_op     *op = op_of(ctx);
    const wr_budget *budget = op->home->budget;
    if (__builtin_expect(!budget->exceeded, 1)) return false;
    return wr_op_failed(op) && budget->bytes > budget->bytes_max + DROPPED_FROM_BYTES;
}

/* State beyond --state-max ends the loop at its next record: a whole batch could be far larger than the bound. */
static void cell_result(weir_ctx *ctx, wr_err err)
{
    wr_op *op = op_of(ctx);
    if (__builtin_expect(op->home->budget->exceeded, 0) && !wr_op_failed(op)) wr_keyed_fail_state_max(op);
    if (err == WR_OK) return;
    wr_op_fail(op, err, "a string of a cell is larger than %d MiB; operator %s subtask %u; keep less",
               WR_CELL_BYTES_MAX >> 20, op->node->uid, op->subtask);
}

/* Only an entry of the operator's own table can be dropped. Accumulators are the window's, which ends them itself. */
static bool has_state_to_forget(const wr_op *op)
{
    uint32_t kind = op->def->kind;
    bool     keyed = kind == WEIR_OP_KEYED || kind == WEIR_OP_CO_KEYED || kind == WEIR_OP_KEYED_SHARED;
    bool     reads = (op->def->flags & WEIR_OP_READS) != 0;
    return (keyed || kind == WEIR_OP_UPDATE) && !reads && op->table != NULL && op->ctx.current != NULL;
}

void weir_forget(weir_ctx *ctx)
{
    wr_op *op = op_of(ctx);
    char   place[WR_PLACE_BYTES];
    if (has_state_to_forget(op)) {
        wr_table_forget(op->table, ctx->current);
        return;
    }
    wr_op_place(op, place);
    wr_op_fail(op, WR_USER_FAIL,
               "weir_forget: there is no state here that could be dropped; operator %s, %s; only keyed operators that "
               "write their state have one",
               op->node->uid, place);
}

void weir_text_set(weir_ctx *ctx, weir_text *cell, weir_str s)
{
    if (is_dropped(ctx)) return;
    cell_result(ctx, wr_cell_text_set(op_of(ctx)->table, ctx->current, cell, s));
}
weir_str weir_text_get(const weir_ctx *ctx, const weir_text *cell)
{
    (void)ctx;
    return wr_cell_text_get(cell);
}
const void *weir_value_get(const weir_ctx *ctx, const weir_cell *cell, const weir_type *type)
{
    (void)type;
    const void     *state;
    const wr_table *table = place_of(ctx, cell, &state);
    return wr_cell_value_get(table, state, cell);
}
void weir_value_set(weir_ctx *ctx, weir_cell *cell, const weir_type *type, const void *record)
{
    (void)type;
    if (is_dropped(ctx)) return;
    cell_result(ctx, wr_cell_value_set(op_of(ctx)->table, ctx->current, cell, record));
}
void weir_list_add(weir_ctx *ctx, weir_cell *cell, const weir_type *type, const void *record)
{
    (void)type;
    if (is_dropped(ctx)) return;
    cell_result(ctx, wr_cell_list_add(op_of(ctx)->table, ctx->current, cell, record));
}
void weir_list_drop(weir_ctx *ctx, weir_cell *cell, const weir_type *type, uint32_t oldest)
{
    (void)type;
    wr_cell_list_drop(op_of(ctx)->table, ctx->current, cell, oldest);
}
const void *weir_table_get(const weir_ctx *ctx, const weir_cell *cell, const weir_field *schema, const void *key)
{
    (void)schema;
    const void     *state;
    const wr_table *table = place_of(ctx, cell, &state);
    return wr_cell_table_get(table, state, cell, key);
}
void weir_table_put(weir_ctx *ctx, weir_cell *cell, const weir_field *schema, const void *record)
{
    (void)schema;
    if (is_dropped(ctx)) return;
    cell_result(ctx, wr_cell_table_put(op_of(ctx)->table, ctx->current, cell, record));
}
bool weir_table_remove(weir_ctx *ctx, weir_cell *cell, const weir_field *schema, const void *key)
{
    (void)schema;
    return wr_cell_table_remove(op_of(ctx)->table, ctx->current, cell, key);
}
void weir_cell_clear(weir_ctx *ctx, weir_cell *cell, const weir_type *type)
{
    (void)type;
    wr_cell_clear(op_of(ctx)->table, ctx->current, cell);
}
weir_rows weir_cell_rows(const weir_ctx *ctx, const weir_cell *cell, const weir_type *type)
{
    (void)type;
    const void     *state;
    const wr_table *table = place_of(ctx, cell, &state);
    return wr_cell_rows(table, state, cell);
}
bool weir_rows_refill(weir_rows *rows, size_t size)
{
    return wr_cell_rows_refill(rows, size);
}
void weir_rows_remove(weir_ctx *ctx, weir_cell *cell, weir_rows *rows, const weir_type *type)
{
    (void)type;
    wr_cell_rows_remove(op_of(ctx)->table, ctx->current, cell, rows);
}
/* An accumulator in the table owns its strings; one that is only made for a result lives as long as the batch. */
void weir_record_own(weir_ctx *ctx, const weir_type *type, void *to, const void *from)
{
    wr_op *op = op_of(ctx);
    wr_err err = wr_cell_record_own(op->table, type, to, from);
    if (err != WR_NOT_FOUND) {
        cell_result(ctx, err);
        return;
    }
    memmove(to, from, type->size);
    for (uint32_t i = 0; i < type->fields; i++) {
        uint32_t kind = type->field[i].kind;
        if (kind != WEIR_STR && kind != WEIR_BYTES) continue;
        weir_str *s = (weir_str *)(void *)((char *)to + type->field[i].offset);
        if (s->len > WEIR_STR_INLINE) *s = weir_keep(ctx, s->u.far, s->len);
    }
}
