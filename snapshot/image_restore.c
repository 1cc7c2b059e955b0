/* snapshot/image_restore.c: filling a table from a snapshot: by copying where entries lie alike, else one by one. */
#include "snapshot/image_convert.h"
#include "wire/schema.h"

static wr_err check_op(const wr_table *table, const wr_manifest_op *op, wr_errinfo *info)
{
    const wr_table_config *config = &table->config;
    if (config->max_parallelism != op->max_parallelism)
        return wr_fail(info, WR_STATE,
                       "operator %s has max_parallelism %u in the snapshot and %u in the pipeline; leave "
                       "it as it was",
                       op->uid, op->max_parallelism, config->max_parallelism);
    const wr_keyed_by was = {op->record, &op->key}, is = {config->record, &config->key};
    return wr_key_match(&was, &is, op->uid, info);
}

static wr_err convert(wr_image_origin *o, wr_table *table, const wr_upgrading *how, wr_errinfo *info)
{
    wr_table_config from = wr_image_origin_config(o);
    wr_convert     *c;
    uint32_t        first = table->config.group_first, end = table->config.group_end;
    WR_TRY(wr_convert_new(&c, &from, table, how, info));
    wr_err err = WR_OK;
    for (uint32_t g = first; err == WR_OK && g < end; g += o->groups_at_once) {
        wr_budget budget = {0};
        wr_table *part;
        uint32_t  to = end - g < o->groups_at_once ? end : g + o->groups_at_once;
        err = wr_image_origin_table(o, g, to, &budget, &part, info);
        if (err != WR_OK) break;
        err = wr_convert_all(c, part, info);
        wr_table_free(part);
    }
    wr_convert_free(c);
    return err;
}

wr_err wr_image_upgrade(wr_table *table, const wr_env *env, const char *folder, const wr_manifest_op *op,
                        const wr_upgrading *how, wr_errinfo *info)
{
    wr_image_origin        o;
    const wr_table_config *config = &table->config;
    if (op->layers == 0) return WR_OK; /* it had no state; it may have been no keyed operator */
    WR_TRY(check_op(table, op, info));
    WR_TRY(wr_image_origin_open(&o, env, folder, op, config->group_first, config->group_end, info));
    bool   same = wr_schema_same(op->state, config->state) && !o.rows && wr_image_source_fits(&o.source, table);
    wr_err err = same ? wr_image_source_fill(&o.source, table, info) : convert(&o, table, how, info);
    wr_image_origin_close(&o);
    return err;
}

wr_err wr_image_load(wr_table *table, const wr_env *env, const char *folder, const wr_manifest_op *op,
                     const weir_upgrade *const *upgrade, wr_errinfo *info)
{
    wr_upgrading how = {.upgrade = upgrade};
    return wr_image_upgrade(table, env, folder, op, &how, info);
}
