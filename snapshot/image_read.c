/* snapshot/image_read.c: walking the states of a snapshot without its pipeline. */
#include "snapshot/image_convert.h"
#include <stdlib.h>

#define AT_ONCE 64u

/* Owner: who reads, one thread. */
struct wr_image_reader {
    wr_image_origin origin;
    wr_budget       budget;
    wr_table       *table; /* of groups before `group`; NULL: none yet */
    uint32_t        group;
    wr_table_scan   scan;
    void           *state[AT_ONCE];
    char           *keys;
    uint32_t        n, at;
};

wr_err wr_image_reader_new(wr_image_reader **take, const wr_env *env, const char *folder, const wr_manifest_op *op,
                           wr_errinfo *info)
{
    *take = NULL;
    wr_image_reader *r = calloc(1, sizeof *r);
    if (r == NULL) return wr_fail(info, WR_MEMORY, "out of memory: reading a snapshot");
    wr_err err = wr_image_origin_open(&r->origin, env, folder, op, 0, op->max_parallelism, info);
    if (err == WR_OK) {
        r->keys = calloc(AT_ONCE, op->record->size == 0 ? 1 : op->record->size);
        if (r->keys == NULL) err = wr_fail(info, WR_MEMORY, "out of memory: reading a snapshot");
    }
    if (err != WR_OK) {
        wr_image_reader_free(r);
        return err;
    }
    if (r->origin.source.layers == 0 && !r->origin.rows) r->group = op->max_parallelism; /* nothing was kept */
    *take = r;
    return WR_OK;
}

/* More states, of this table or of the next groups. */
static bool refill(wr_image_reader *r, wr_errinfo *info)
{
    r->at = r->n = 0;
    for (;;) {
        if (r->table != NULL) r->n = wr_table_scan_next(r->table, &r->scan, r->state, r->keys, AT_ONCE);
        if (r->n != 0) return true;
        wr_table_free(r->table);
        r->table = NULL;
        r->scan = (wr_table_scan){0};
        uint32_t end = r->origin.op->max_parallelism, first = r->group;
        if (first >= end) return false;
        r->group = end - first < r->origin.groups_at_once ? end : first + r->origin.groups_at_once;
        if (wr_image_origin_table(&r->origin, first, r->group, &r->budget, &r->table, info) != WR_OK) {
            r->group = end;
            return false;
        }
    }
}

bool wr_image_reader_next(wr_image_reader *r, const wr_table **table, const void **key, const void **state,
                          wr_errinfo *info)
{
    if (r->at == r->n && !refill(r, info)) return false;
    *table = r->table;
    *key = r->keys + (uint64_t)r->at * r->origin.op->record->size;
    *state = r->state[r->at++];
    return true;
}

void wr_image_reader_free(wr_image_reader *r)
{
    if (r == NULL) return;
    wr_table_free(r->table);
    wr_image_origin_close(&r->origin);
    free(r->keys);
    free(r);
}
