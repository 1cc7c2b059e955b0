/* snapshot/cells.c: what the fields of a state own: texts, strings of accumulators, values; and the way to lists and
 * tables. */
#include "base/limits.h"
#include "snapshot/table_inner.h"
#include <stdlib.h>

/* ---- plans ------------------------------------------------------------------------------------------------------- */

static bool is_string(uint32_t kind)
{
    return kind == WEIR_STR || kind == WEIR_BYTES;
}

static wr_err plan_element(wr_cell_plan *plan, const weir_field *field, wr_errinfo *info)
{
    const weir_type *element = field->element;
    check(element != NULL && element->fields <= WR_FIELDS_MAX);
    plan->element = element;
    plan->has_family = true;
    for (uint32_t i = 0; i < element->fields; i++) {
        if (is_string(element->field[i].kind)) plan->string[plan->strings++] = element->field[i].offset;
    }
    plan->ttl_ns = plan->kind == WEIR_CELL_VALUE ? 0 : field->ttl;
    if (plan->kind != WEIR_CELL_TABLE) return WR_OK;
    weir_key key = {.count = 1, .field = {{field->key, field->key_kind}}};
    return wr_key_layout_of(&plan->key, &key, info);
}

/* Bytes before the records: none of a value, prev, next, first and count of a chunk, id, prev and next of an element;
 * then a stamp for each row that has a time to live. */
static void plan_rows(wr_cell_plan *plan, uint32_t *bytes)
{
    uint32_t size = plan->element->size == 0 ? 1 : plan->element->size;
    uint32_t stamp = plan->ttl_ns != 0 ? 8 : 0, each = size + stamp;
    plan->record_at = plan->kind == WEIR_CELL_VALUE ? 0 : 16;
    plan->stamp_at = stamp != 0 ? 16 : 0;
    plan->rows = 1;
    if (plan->kind == WEIR_CELL_LIST && each * 2 + 16 <= 256) plan->rows = (256 - 16) / each;
    *bytes = plan->record_at + plan->rows * each;
    if (plan->kind == WEIR_CELL_LIST) plan->rows = (wr_family_stride(*bytes) - 16) / each;
    plan->record_at += plan->rows * stamp;
    plan->stamp_log2 = 20; /* 1 ms, or between a 64th and a 128th of the time to live */
    while (plan->ttl_ns >> plan->stamp_log2 >= 128) plan->stamp_log2++;
}

static wr_err init_plan(wr_table *table, wr_cell_plan *plan, wr_errinfo *info)
{
    const wr_table_config *config = &table->config;
    uint32_t               bytes;
    plan_rows(plan, &bytes);
    WR_TRY(wr_family_init(&plan->family, wr_family_stride(bytes), table->groups, config->budget, &table->bytes,
                          config->large_pages, info));
    if (plan->kind != WEIR_CELL_TABLE) return WR_OK;
    return wr_index_init(&plan->index, 0, 0, wr_element_hash_at, plan, &plan->family, info);
}

wr_err wr_cells_init(wr_table *table, wr_errinfo *info)
{
    const weir_type *state = table->config.state;
    table->cell = calloc(state->fields == 0 ? 1 : state->fields, sizeof *table->cell);
    table->cell_at = malloc(state->size / 8 + 1);
    if (table->cell == NULL || table->cell_at == NULL)
        return wr_fail(info, WR_MEMORY, "out of memory: a table of operator %s", table->config.uid);
    memset(table->cell_at, WR_NO_CELL, state->size / 8 + 1);
    table->has_blobs = table->key.strings != 0;
    for (uint32_t i = 0; i < state->fields; i++) {
        const weir_field *field = &state->field[i];
        uint32_t          kind = field->kind == WEIR_BYTES ? (uint32_t)WEIR_STR : field->kind;
        bool              cell = kind == WEIR_CELL_VALUE || kind == WEIR_CELL_LIST || kind == WEIR_CELL_TABLE;
        if (!cell && kind != WEIR_TEXT && kind != WEIR_STR) continue;
        check(field->offset % 8 == 0 && field->offset + 16 <= state->size);
        wr_cell_plan *plan = &table->cell[table->cells];
        *plan = (wr_cell_plan){.kind = kind, .offset = field->offset};
        table->cell_at[field->offset / 8] = (uint8_t)table->cells++;
        table->owns = true;
        if (cell) WR_TRY(plan_element(plan, field, info));
        table->expires |= plan->ttl_ns != 0;
        table->has_ids |= kind == WEIR_CELL_TABLE; /* (id, key) finds an element */
        table->has_blobs |= !cell || plan->strings != 0;
        if (cell) WR_TRY(init_plan(table, plan, info));
    }
    return WR_OK;
}

void wr_cells_fini(wr_table *table)
{
    for (uint32_t i = 0; table->cell != NULL && i < table->cells; i++) {
        if (!table->cell[i].has_family) continue;
        wr_family_fini(&table->cell[i].family);
        wr_index_fini(&table->cell[i].index);
    }
    free(table->cell);
    free(table->cell_at);
}

wr_cell_plan *wr_cell_of(const wr_table *table, const void *state, const void *cell)
{
    uint64_t offset = (uint64_t)((const char *)cell - (const char *)state);
    check(offset < table->config.state->size && table->cell_at[offset / 8] != WR_NO_CELL);
    return &table->cell[table->cell_at[offset / 8]];
}

/* ---- strings ----------------------------------------------------------------------------------------------------- */

static weir_str *string_at(char *record, uint32_t offset)
{
    return (weir_str *)(void *)(record + offset);
}

wr_err wr_cell_own_strings(wr_table *table, uint32_t group, const wr_cell_plan *plan, char *record)
{
    for (uint32_t i = 0; i < plan->strings; i++) {
        if (string_at(record, plan->string[i])->len > WR_CELL_BYTES_MAX) return WR_RECORD_TOO_LARGE;
    }
    for (uint32_t i = 0; i < plan->strings; i++) {
        weir_str *s = string_at(record, plan->string[i]);
        if (s->len > WEIR_STR_INLINE) s->u.far = wr_blob_new(table, group, s->u.far, s->len);
    }
    return WR_OK;
}

void wr_cell_free_strings(wr_table *table, const wr_cell_plan *plan, const char *record)
{
    for (uint32_t i = 0; i < plan->strings; i++) {
        const weir_str *s = string_at((char *)(uintptr_t)record, plan->string[i]);
        if (s->len > WEIR_STR_INLINE) wr_blob_free(table, s->u.far, s->len);
    }
}

weir_str wr_cell_text_get(const weir_text *cell)
{
    weir_str s;
    memcpy(&s, cell, sizeof s);
    return s;
}

wr_err wr_cell_text_set(wr_table *table, void *state, weir_text *cell, weir_str text)
{
    if (text.len > WR_CELL_BYTES_MAX) return WR_RECORD_TOO_LARGE;
    weir_str old = wr_cell_text_get(cell);
    if (weir_str_equal(&old, &text)) return WR_OK;
    if (text.len > WEIR_STR_INLINE)
        text.u.far = wr_blob_new(table, wr_table_state_group(table, state), text.u.far, text.len);
    if (old.len > WEIR_STR_INLINE) wr_blob_free(table, old.u.far, old.len);
    memcpy(cell, &text, sizeof text);
    return WR_OK;
}

/* The key group of an entry or a list's row at this address. */
static bool group_at(const wr_table *table, const void *at, uint32_t *group)
{
    for (uint32_t i = 0; i <= table->cells; i++) {
        if (i != 0 && !table->cell[i - 1].has_family) continue;
        const wr_family *family = i == 0 ? &table->entries : &table->cell[i - 1].family;
        uint64_t         offset = (uint64_t)((const char *)at - family->base);
        if ((const char *)at < family->base || offset >= family->next * family->stride) continue;
        *group = wr_family_group_of(family, (uint32_t)(offset / family->stride));
        return true;
    }
    return false;
}

wr_err wr_cell_record_own(wr_table *table, const weir_type *type, void *to, const void *from)
{
    uint64_t made[WR_STATE_BYTES_MAX / 8];
    uint32_t group;
    if (!group_at(table, to, &group)) return WR_NOT_FOUND;
    check(type->size <= sizeof made);
    memcpy(made, from, type->size);
    for (uint32_t i = 0; i < type->fields; i++) {
        if (is_string(type->field[i].kind) && string_at((char *)made, type->field[i].offset)->len > WR_CELL_BYTES_MAX)
            return WR_RECORD_TOO_LARGE;
    }
    for (uint32_t i = 0; i < type->fields; i++) {
        if (!is_string(type->field[i].kind)) continue;
        weir_str       *s = string_at((char *)made, type->field[i].offset);
        const weir_str *old = string_at(to, type->field[i].offset);
        bool            kept = s->len > WEIR_STR_INLINE && old->len == s->len && old->u.far == s->u.far;
        if (kept) continue;
        if (s->len > WEIR_STR_INLINE) s->u.far = wr_blob_new(table, group, s->u.far, s->len);
        if (old->len > WEIR_STR_INLINE)
            wr_blob_free(table, old->u.far, old->len); /* at settle: `from` may still point at it */
    }
    memcpy(to, made, type->size);
    return WR_OK;
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

const void *wr_cell_value_get(const wr_table *table, const void *state, const weir_cell *cell)
{
    if (cell->body == 0) return NULL;
    const wr_cell_plan *plan = wr_cell_of(table, state, cell);
    return wr_family_at(&plan->family,
                        wr_family_place(&plan->family, wr_table_state_group(table, state), (uint32_t)cell->body - 1));
}

/* A new entry each time: what a getter gave stays as it was until the batch ends. */
wr_err wr_cell_value_set(wr_table *table, void *state, weir_cell *cell, const void *record)
{
    wr_cell_plan *plan = wr_cell_of(table, state, cell);
    uint32_t      group = wr_table_state_group(table, state), size = plan->element->size;
    uint32_t      position = wr_family_take(&plan->family, group);
    char         *to = wr_family_at(&plan->family, position);
    memcpy(to, record, size);
    memset(to + size, 0, plan->family.stride - size);
    wr_err err = wr_cell_own_strings(table, group, plan, to);
    if (err != WR_OK) {
        wr_table_pend(table, &plan->family, position, 0);
        return err;
    }
    wr_cell_free_value(table, state, plan, cell);
    *cell = (weir_cell){.body = wr_family_number_of(&plan->family, position) + UINT64_C(1), .count = 1};
    return WR_OK;
}

void wr_cell_free_value(wr_table *table, void *state, wr_cell_plan *plan, weir_cell *cell)
{
    if (cell->body == 0) return;
    uint32_t position = wr_family_place(&plan->family, wr_table_state_group(table, state), (uint32_t)cell->body - 1);
    wr_cell_free_strings(table, plan, wr_family_at(&plan->family, position));
    wr_table_pend(table, &plan->family, position, 0);
    *cell = (weir_cell){0};
}

/* ---- all kinds --------------------------------------------------------------------------------------------------- */

static void clear(wr_table *table, void *state, wr_cell_plan *plan, void *cell)
{
    if (plan->kind == WEIR_CELL_VALUE)
        wr_cell_free_value(table, state, plan, cell);
    else if (plan->kind == WEIR_CELL_LIST)
        wr_list_clear(table, state, plan, cell);
    else if (plan->kind == WEIR_CELL_TABLE)
        wr_element_clear(table, state, plan, cell);
    else {
        weir_str *s = cell;
        if (s->len > WEIR_STR_INLINE) wr_blob_free(table, s->u.far, s->len);
        memset(cell, 0, sizeof *s);
    }
}

void wr_cell_clear(wr_table *table, void *state, weir_cell *cell)
{
    clear(table, state, wr_cell_of(table, state, cell), cell);
}

void wr_cells_release(wr_table *table, void *state)
{
    for (uint32_t i = 0; i < table->cells; i++)
        clear(table, state, &table->cell[i], (char *)state + table->cell[i].offset);
}

/* In weir_rows: source = the plan, reserved[0] = group << 32 | number + 1 of what comes next (0: nothing),
 * reserved[1] = the number + 1 of what [at, end) lies in. */
weir_rows wr_cell_rows(const wr_table *table, const void *state, const weir_cell *cell)
{
    weir_rows rows = {.left = cell->count};
    if (cell->body == 0) return rows;
    rows.source = wr_cell_of(table, state, cell);
    rows.reserved[0] = (uint64_t)wr_table_state_group(table, state) << 32 | (uint32_t)cell->body;
    return rows;
}

bool wr_cell_rows_refill(weir_rows *rows, size_t size)
{
    wr_cell_plan *plan = rows->source;
    if (plan == NULL || (uint32_t)rows->reserved[0] == 0) return false;
    check(size == plan->element->size);
    if (plan->kind == WEIR_CELL_LIST) return wr_list_refill(plan, rows);
    if (plan->kind == WEIR_CELL_TABLE) return wr_element_refill(plan, rows);
    uint32_t number = (uint32_t)rows->reserved[0] - 1;
    rows->at = wr_family_at(&plan->family, wr_family_place(&plan->family, (uint32_t)(rows->reserved[0] >> 32), number));
    rows->end = rows->at + size;
    rows->reserved[1] = number + 1;
    rows->reserved[0] = 0;
    rows->left = 0;
    return true;
}

void wr_cell_rows_remove(wr_table *table, void *state, weir_cell *cell, weir_rows *rows)
{
    wr_cell_plan *plan = rows->source;
    check(plan != NULL && plan == wr_cell_of(table, state, cell) && rows->reserved[1] != 0);
    if (plan->kind == WEIR_CELL_LIST)
        wr_list_rows_remove(table, state, plan, cell, rows);
    else if (plan->kind == WEIR_CELL_TABLE)
        wr_element_rows_remove(table, state, plan, cell, rows);
    else
        wr_cell_free_value(table, state, plan, cell);
}
