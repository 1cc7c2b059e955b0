/* snapshot/image_restore.c: filling a table from a snapshot. */
#include "snapshot/image_load.h"

static wr_err check_op(const wr_table *table, const wr_manifest_op *op, wr_errinfo *info)
{
    const wr_table_config *config = &table->config;
    if (config->max_parallelism == op->max_parallelism) return WR_OK;
    return wr_fail(info, WR_STATE,
                   "operator %s has max_parallelism %u in the snapshot and %u in the pipeline; leave it as "
                   "it was",
                   op->uid, op->max_parallelism, config->max_parallelism);
}

wr_err wr_image_load(wr_table *table, const wr_env *env, const char *folder, const wr_manifest_op *op,
                     const weir_upgrade *const *upgrade, wr_errinfo *info)
{
    wr_image_source s;
    (void)upgrade;
    WR_TRY(check_op(table, op, info));
    WR_TRY(wr_image_source_open(&s, env, folder, op, table->config.group_first, table->config.group_end, info));
    wr_err err;
    if (s.layers == 0 || wr_image_source_fits(&s, table))
        err = wr_image_source_fill(&s, table, info);
    else
        err = wr_fail(info, WR_STATE, "the state of operator %s has another layout in the snapshot", op->uid);
    wr_image_source_close(&s);
    return err;
}
