/* snapshot/image_convert.c: states into a table with another schema or layout, through the same setters that a user's
 * function calls. */
#include "snapshot/image_convert.h"
#include <stdlib.h>

#define AT_ONCE 64u

/* One cell or text of the new state that the old one has too. */
typedef struct cell_map {
    uint32_t             kind, from, to; /* offsets in the states */
    const weir_type     *old_type, *new_type;
    const wr_record_map *map;
} cell_map;

struct wr_convert {
    wr_table           *to;
    const weir_type    *old_state, *new_state;
    const weir_upgrade *upgrade;
    wr_upgrading        how;
    int64_t             now_ns; /* for what had no stamp */
    wr_record_map       map;
    bool                strings; /* the new state has some: an accumulator */
    uint32_t            cells;
    cell_map            cell[WR_FIELDS_MAX];
    wr_record_map      *maps; /* of the cells */
    char               *record, *scratch;
};

/* ---- making ------------------------------------------------------------------------------------------------------ */

static uint32_t larger(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

static wr_err map_cells(wr_convert *c, wr_errinfo *info)
{
    c->maps = calloc(c->new_state->fields + 1u, sizeof *c->maps);
    uint32_t most = c->new_state->size;
    if (c->maps == NULL) return wr_fail(info, WR_MEMORY, "out of memory: converting states");
    for (uint32_t i = 0; i < c->new_state->fields; i++) {
        const weir_field *b = &c->new_state->field[i], *a = wr_field_named(c->old_state, b->name);
        c->strings |= b->kind == WEIR_STR || b->kind == WEIR_BYTES;
        if (a == NULL || (b->kind != WEIR_TEXT && !wr_kind_is_cell(b->kind))) continue;
        c->cell[c->cells] = (cell_map){.kind = b->kind,
                                       .from = a->offset,
                                       .to = b->offset,
                                       .old_type = a->element,
                                       .new_type = b->element,
                                       .map = &c->maps[c->cells]};
        if (b->element != NULL) {
            if (!wr_record_map_of(&c->maps[c->cells], a->element, b->element, c->how.upgrade != NULL, info))
                return WR_STATE;
            most = larger(most, b->element->size);
        }
        c->cells++;
    }
    c->scratch = aligned_alloc(WR_CACHE_LINE, (most + WR_CACHE_LINE) & ~(size_t)(WR_CACHE_LINE - 1));
    c->record = calloc(AT_ONCE + 1, larger(c->to->config.record->size, 1));
    if (c->scratch == NULL || c->record == NULL) return wr_fail(info, WR_MEMORY, "out of memory: converting states");
    return WR_OK;
}

wr_err wr_convert_new(wr_convert **take, const wr_table_config *from, wr_table *to, const wr_upgrading *how,
                      wr_errinfo *info)
{
    *take = NULL;
    wr_convert *c = calloc(1, sizeof *c);
    if (c == NULL) return wr_fail(info, WR_MEMORY, "out of memory: converting states");
    const wr_keyed_by was = {from->record, &from->key}, is = {to->config.record, &to->config.key};
    c->to = to;
    c->old_state = from->state;
    c->new_state = to->config.state;
    c->now_ns = to->now_ns;
    if (how != NULL) c->how = *how;
    c->upgrade = wr_upgrade_of(c->how.upgrade, c->old_state, c->new_state);
    wr_err err = wr_key_match(&was, &is, from->uid, info);
    if (err == WR_OK && c->upgrade != NULL && c->how.ctx == NULL)
        err = wr_fail(info, WR_STATE, "the state of operator %s needs its WEIR_UPGRADE, which cannot run here",
                      from->uid);
    if (err == WR_OK && c->upgrade == NULL &&
        !wr_record_map_of(&c->map, c->old_state, c->new_state, c->how.upgrade != NULL, info))
        err = WR_STATE;
    if (err == WR_OK && c->upgrade == NULL) err = map_cells(c, info);
    if (err == WR_OK && c->record == NULL) {
        c->record = calloc(AT_ONCE + 1, larger(to->config.record->size, 1));
        if (c->record == NULL) err = wr_fail(info, WR_MEMORY, "out of memory: converting states");
    }
    if (err != WR_OK) {
        wr_convert_free(c);
        return err;
    }
    *take = c;
    return WR_OK;
}

void wr_convert_free(wr_convert *c)
{
    if (c == NULL) return;
    wr_table_now(c->to, c->now_ns);
    free(c->maps);
    free(c->record);
    free(c->scratch);
    free(c);
}

/* ---- one state --------------------------------------------------------------------------------------------------- */

int64_t wr_row_stamp(const wr_table *from, const void *state, const weir_rows *rows, const char *row, int64_t own)
{
    const wr_cell_plan *plan = rows->source;
    if (plan->stamp_at == 0) return own;
    uint32_t    group = wr_table_state_group(from, state);
    uint32_t    position = wr_family_place(&plan->family, group, (uint32_t)rows->reserved[1] - 1);
    const char *entry = wr_family_at(&plan->family, position);
    uint64_t    i = plan->kind == WEIR_CELL_LIST ? (uint64_t)(row - entry - plan->record_at) / plan->element->size : 0;
    int64_t     stamp;
    memcpy(&stamp, entry + plan->stamp_at + i * 8, sizeof stamp);
    return stamp;
}

static wr_err put_row(wr_convert *c, const cell_map *m, void *state, const char *row)
{
    weir_cell *cell = (weir_cell *)(void *)((char *)state + m->to);
    wr_record_convert(m->map, m->new_type, row, c->scratch);
    if (m->kind == WEIR_CELL_VALUE) return wr_cell_value_set(c->to, state, cell, c->scratch);
    if (m->kind == WEIR_CELL_LIST) return wr_cell_list_add(c->to, state, cell, c->scratch);
    return wr_cell_table_put(c->to, state, cell, c->scratch);
}

static wr_err convert_cell(wr_convert *c, const cell_map *m, const wr_table *from, const void *old, void *state,
                           int64_t stamp)
{
    const char *at = (const char *)old + m->from;
    if (m->kind == WEIR_TEXT)
        return wr_cell_text_set(c->to, state, (weir_text *)(void *)((char *)state + m->to),
                                wr_cell_text_get((const weir_text *)(const void *)at));
    weir_rows rows = wr_cell_rows(from, old, (const weir_cell *)(const void *)at);
    size_t    size = m->old_type->size;
    while (rows.at != rows.end || wr_cell_rows_refill(&rows, size)) {
        if (rows.at == rows.end) continue;
        const char *row = rows.at;
        rows.at += size;
        wr_table_now(c->to, wr_row_stamp(from, old, &rows, row, stamp));
        wr_err err = put_row(c, m, state, row);
        if (err != WR_OK) return err;
    }
    return WR_OK;
}

static wr_err convert_state(wr_convert *c, const wr_table *from, const void *old, void *state, int64_t stamp)
{
    wr_record_convert(&c->map, c->new_state, old, c->scratch);
    if (c->strings)
        WR_TRY(wr_cell_record_own(c->to, c->new_state, state, c->scratch));
    else
        memcpy(state, c->scratch, c->new_state->size);
    for (uint32_t i = 0; i < c->cells; i++) WR_TRY(convert_cell(c, &c->cell[i], from, old, state, stamp));
    return WR_OK;
}

static wr_err run_upgrade(wr_convert *c, const wr_table *from, void **old, void **state, uint32_t n, wr_errinfo *info)
{
    weir_ctx *ctx = c->how.ctx;
    ctx->n = n;
    ctx->state = state;
    ctx->other = (const void *const *)old;
    if (c->how.old != NULL) *c->how.old = from;
    c->how.call(ctx, c->upgrade);
    if (c->how.old != NULL) *c->how.old = NULL;
    ctx->n = 0;
    ctx->state = NULL;
    ctx->other = NULL;
    if (ctx->failed == 0) return WR_OK;
    return wr_fail(info, WR_USER_FAIL, "the WEIR_UPGRADE of state %s failed; operator %s", c->new_state->name,
                   c->to->config.uid);
}

/* ---- all of them ------------------------------------------------------------------------------------------------- */

static void make_keys(wr_convert *c, const wr_table *from, void *const *old, uint32_t n)
{
    uint32_t size = c->to->config.record->size;
    memset(c->record, 0, (uint64_t)n * size);
    for (uint32_t i = 0; i < n; i++) {
        const char *entry = wr_table_entry_of(from, old[i]);
        for (uint32_t k = 0; k < c->to->key.count; k++) {
            const wr_key_part *part = &c->to->key.part[k];
            const char        *value = entry + from->key.part[k].place;
            char              *field = c->record + (uint64_t)i * size + part->offset;
            uint64_t           number;
            memcpy(&number, value, sizeof number);
            if (part->string)
                memcpy(field, value, sizeof(weir_str));
            else
                wr_key_narrow(part->kind, number, field);
        }
    }
}

static wr_err convert_some(wr_convert *c, wr_table *from, void **old, uint32_t n, int64_t stamp, wr_errinfo *info)
{
    uint64_t hash[AT_ONCE];
    void    *state[AT_ONCE];
    uint8_t  fresh[AT_ONCE];
    wr_err   err = WR_OK;
    make_keys(c, from, old, n);
    wr_table_now(c->to, stamp);
    wr_key_hash(&c->to->config.key, c->record, c->to->config.record->size, n, hash);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t group = wr_table_group_of(c->to, hash[i]);
        if (group >= c->to->groups)
            return wr_fail(info, WR_DAMAGED, "%s: a key of another key group; offset 0; restore another snapshot",
                           c->to->config.uid);
    }
    bool room = wr_table_find(c->to, c->record, n, hash, NULL, 0, state, fresh);
    for (uint32_t i = 0; i < n; i++) {
        if (!fresh[i])
            return wr_fail(info, WR_DAMAGED, "%s: a key stands twice; offset 0; restore another snapshot",
                           c->to->config.uid);
    }
    if (c->upgrade != NULL) err = run_upgrade(c, from, old, state, n, info);
    for (uint32_t i = 0; c->upgrade == NULL && err == WR_OK && i < n; i++)
        err = convert_state(c, from, old[i], state[i], stamp);
    for (uint32_t i = 0; c->to->stamp_at != 0 && i < n; i++)
        memcpy(wr_table_entry_of(c->to, state[i]) + c->to->stamp_at, &stamp, sizeof stamp);
    wr_table_settle(c->to);
    if (err != WR_OK) return wr_fail(info, err, "a state cannot be converted; operator %s", c->to->config.uid);
    if (room && !c->to->config.budget->exceeded) return WR_OK;
    return wr_fail(info, WR_STATE_MAX, "state of operator %s does not fit --state-max; raise it", c->to->config.uid);
}

wr_err wr_convert_all(wr_convert *c, wr_table *from, wr_errinfo *info)
{
    wr_table_scan scan = {0};
    void         *old[AT_ONCE];
    uint32_t      at_once = from->stamp_at != 0 ? 1 : AT_ONCE; /* each state with its own stamp */
    for (uint32_t n; (n = wr_table_scan_next(from, &scan, old, NULL, at_once)) != 0;) {
        int64_t stamp = c->now_ns;
        if (from->stamp_at != 0) memcpy(&stamp, wr_table_entry_of(from, old[0]) + from->stamp_at, sizeof stamp);
        WR_TRY(convert_some(c, from, old, n, stamp, info));
    }
    return WR_OK;
}
