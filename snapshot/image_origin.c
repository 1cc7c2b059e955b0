/* snapshot/image_origin.c: the states of an operator as a snapshot has them, as private tables of some key groups. */
#include "snapshot/image_convert.h"
#include "snapshot/rows.h"

#define BYTES_AT_ONCE (UINT64_C(64) << 20)
#define FOR_EVER      (INT64_MAX / 4) /* a private table lets nothing expire, but its entries have stamps */

/* How the file's entries lie, as far as the types do not say: which of them have stamps. */
static bool read_stamps(wr_image_origin *o, const wr_footer_table *t)
{
    wr_reading r = {.at = t->layout, .end = t->layout + t->layout_bytes};
    (void)wr_reading_take(&r, 8);
    uint32_t keys = wr_reading_u32(&r), cells = t->families - 2;
    if (keys > WR_KEY_FIELDS_MAX) return false;
    (void)wr_reading_take(&r, keys * 4u + 12);
    o->ttl_ns = wr_reading_u32(&r) != 0 ? FOR_EVER : 0;
    (void)wr_reading_take(&r, 8 + t->families * 4u);
    uint32_t field = 0;
    for (uint32_t i = 0; i < cells; i++) {
        (void)wr_reading_u32(&r);
        uint32_t stamp_at = wr_reading_u32(&r);
        (void)wr_reading_u32(&r);
        while (field < o->state.fields && !wr_kind_is_cell(o->fields[field].kind) &&
               o->fields[field].kind != WEIR_TEXT && o->fields[field].kind != WEIR_STR &&
               o->fields[field].kind != WEIR_BYTES)
            field++;
        if (field == o->state.fields) return false;
        o->fields[field++].ttl = stamp_at != 0 ? FOR_EVER : 0;
    }
    return !r.failed;
}

static void choose_groups(wr_image_origin *o, uint32_t group_first, uint32_t group_end)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < o->source.layers; i++) bytes += o->source.layer[i]->file.bytes;
    for (uint32_t i = 0; o->rows && i < o->op->layers; i++) bytes += o->op->layer[i].file.bytes;
    uint64_t groups = group_end - group_first;
    if (bytes > BYTES_AT_ONCE) groups = groups * BYTES_AT_ONCE / bytes;
    o->groups_at_once = groups == 0 ? 1 : (uint32_t)groups;
}

/* Keys are written into records: they must lie in them. */
static bool key_fits(const wr_manifest_op *op)
{
    for (uint32_t i = 0; i < op->key.count; i++) {
        bool     known, string = i < WR_KEY_FIELDS_MAX && wr_key_is_string(op->key.field[i].kind, &known);
        uint32_t bytes = string ? (uint32_t)sizeof(weir_str) : 8;
        if (i >= WR_KEY_FIELDS_MAX || !known) return false;
        for (uint32_t k = 0; k < op->record->fields; k++) {
            const weir_field *field = &op->record->field[k];
            if (field->offset == op->key.field[i].offset && field->kind == op->key.field[i].kind) bytes = field->size;
        }
        if ((uint64_t)op->key.field[i].offset + bytes > op->record->size) return false;
    }
    return true;
}

/* A savepoint has other files than a snapshot; all of an operator's are of one sort. */
static wr_err look_at_file(wr_image_origin *o, wr_errinfo *info)
{
    char path[WR_PATH_BYTES_MAX], first[8];
    if (o->op->layers == 0) return WR_OK;
    snprintf(path, sizeof path, "%s/%s", o->folder, o->op->layer[0].file.name);
    int result = wr_image_first_bytes(o->env, path, first);
    if (result < 0) return wr_fail_errno(info, -result, "cannot read %s", path);
    o->rows = wr_rows_is(first);
    return WR_OK;
}

static wr_err open_rows(wr_image_origin *o, wr_errinfo *info)
{
    wr_rows_stamps stamps;
    WR_TRY(wr_rows_stamps_of(o->env, o->folder, o->op, &stamps, info));
    o->ttl_ns = stamps.keys ? FOR_EVER : 0;
    for (uint32_t i = 0; i < o->state.fields; i++) { /* what a table rounds stamps to comes from the time to live */
        if (!stamps.cell[i]) o->fields[i].ttl = 0;
        if (stamps.cell[i] && o->fields[i].ttl == 0) o->fields[i].ttl = FOR_EVER;
    }
    return WR_OK;
}

wr_err wr_image_origin_open(wr_image_origin *o, const wr_env *env, const char *folder, const wr_manifest_op *op,
                            uint32_t group_first, uint32_t group_end, wr_errinfo *info)
{
    *o = (wr_image_origin){.env = env, .folder = folder, .op = op};
    if (op->record == NULL || op->state == NULL || op->state->fields > WR_FIELDS_MAX || !key_fits(op))
        return wr_fail(info, WR_STATE, "the snapshot does not say what operator %s has kept", op->uid);
    o->state = *op->state;
    memcpy(o->fields, op->state->field, op->state->fields * sizeof *o->fields);
    o->state.field = o->fields;
    WR_TRY(look_at_file(o, info));
    if (!o->rows) WR_TRY(wr_image_source_open(&o->source, env, folder, op, group_first, group_end, info));
    choose_groups(o, group_first, group_end);
    if (o->rows) return open_rows(o, info);
    if (o->source.layers == 0) return WR_OK;
    if (read_stamps(o, &o->source.file[0].table[o->source.table[0]])) return WR_OK;
    wr_image_origin_close(o);
    return wr_fail(info, WR_DAMAGED, "%s: the layout of operator %s makes no sense; offset 0; restore another snapshot",
                   folder, op->uid);
}

void wr_image_origin_close(wr_image_origin *o)
{
    wr_image_source_close(&o->source);
}

wr_table_config wr_image_origin_config(const wr_image_origin *o)
{
    return (wr_table_config){.uid = o->op->uid,
                             .record = o->op->record,
                             .key = o->op->key,
                             .state = &o->state,
                             .max_parallelism = o->op->max_parallelism,
                             .ttl_ns = o->ttl_ns};
}

wr_err wr_image_origin_table(wr_image_origin *o, uint32_t group_first, uint32_t group_end, wr_budget *budget,
                             wr_table **take, wr_errinfo *info)
{
    wr_table_config config = wr_image_origin_config(o);
    config.group_first = group_first;
    config.group_end = group_end;
    config.budget = budget;
    WR_TRY(wr_table_new(take, &config, info));
    wr_err err = WR_OK;
    o->source.group_first = group_first;
    o->source.group_end = group_end;
    if (o->rows)
        err = wr_rows_fill(*take, o->env, o->folder, o->op, group_first, group_end, info);
    else if (!wr_image_source_fits(&o->source, *take))
        err = wr_fail(info, WR_STATE, "the state of operator %s has a layout that this version of Weir cannot read; %s",
                      o->op->uid, o->folder);
    if (err == WR_OK && !o->rows) err = wr_image_source_fill(&o->source, *take, info);
    if (err == WR_OK) return WR_OK;
    wr_table_free(*take);
    *take = NULL;
    return err;
}
