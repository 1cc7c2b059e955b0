/* snapshot/rows_write.c: keyed state as logical rows. It reads the snapshot's own files, group range by group range,
 * so it needs neither the job nor much memory. */
#include "base/check.h"
#include "snapshot/image_convert.h"
#include "snapshot/rows_format.h"
#include "wire/record.h"
#include <errno.h>
#include <stdlib.h>

#define AT_ONCE 64u

/* Owner: who writes, one thread. */
typedef struct writer {
    const wr_env         *env;
    const wr_rows_target *target;
    char                  path[WR_PATH_BYTES_MAX];
    int                   file;
    uint64_t              at, keys, blocks;
    XXH3_state_t         *hash; /* of the whole file */
    wr_pack               block;
    wr_rows_block         head; /* of the block */
    wr_rows_stamps        stamps;
    wr_rows_types         types;
    const weir_type      *state;
    wr_err                err;
    wr_errinfo           *info;
} writer;

/* ---- blocks ------------------------------------------------------------------------------------------------------ */

static void put(writer *w, const void *bytes, size_t n)
{
    const char *from = bytes;
    if (w->err == WR_OK) XXH3_128bits_update(w->hash, bytes, n);
    while (n > 0 && w->err == WR_OK) {
        int64_t done = w->env->pwrite(w->env->self, w->file, from, n, (int64_t)w->at);
        if (done == 0) done = -EIO;
        if (done < 0) {
            w->err = wr_fail_errno(w->info, (int)-done, "cannot write %s, offset %llu", w->path,
                                   (unsigned long long)w->at);
            return;
        }
        from += done;
        n -= (size_t)done;
        w->at += (uint64_t)done;
    }
}

static void put_block(writer *w, uint32_t magic)
{
    if (w->block.bytes > WR_ROWS_BLOCK_MAX && w->err == WR_OK)
        w->err = wr_fail(w->info, WR_LIMIT, "a row of a savepoint has %zu bytes; %s; at most %zu", w->block.bytes,
                         w->path, WR_ROWS_BLOCK_MAX);
    w->head.magic = magic;
    w->head.bytes = (uint32_t)w->block.bytes;
    w->head.hash = wr_rows_hash(&w->head, w->at, w->block.data);
    put(w, &w->head, sizeof w->head);
    put(w, w->block.data, w->block.bytes);
    w->blocks++;
    w->block.bytes = 0;
    w->head = (wr_rows_block){0};
}

/* Before an item of a key of this group. */
static void room_for(writer *w, uint32_t group)
{
    if (w->block.bytes >= WR_ROWS_BLOCK_BYTES) put_block(w, WR_ROWS_BLOCK_MAGIC);
    if (w->block.bytes == 0) w->head.group_first = group;
    w->head.group_end = group + 1;
}

static void put_end(writer *w)
{
    if (w->block.bytes > 0) put_block(w, WR_ROWS_BLOCK_MAGIC);
    wr_pack_raw(&w->block, &w->keys, 8);
    wr_pack_raw(&w->block, &w->blocks, 8);
    put_block(w, WR_ROWS_END_MAGIC);
}

/* ---- items ------------------------------------------------------------------------------------------------------- */

static void put_record(writer *w, const weir_type *type, const void *record)
{
    size_t n = wr_record_bytes(type, record), at = w->block.bytes;
    char   small[256];
    if (n <= sizeof small) {
        wr_pack_raw(&w->block, small, wr_record_write(type, record, small));
        return;
    }
    char *large = malloc(n);
    check(large != NULL);
    wr_pack_raw(&w->block, large, wr_record_write(type, record, large));
    free(large);
    check(w->block.bytes == at + n);
}

static void put_key(writer *w, const void *key, const void *state, int64_t stamp, uint32_t group)
{
    uint8_t tag = WR_ROWS_KEY;
    room_for(w, group);
    wr_pack_raw(&w->block, &tag, 1);
    if (w->stamps.keys) wr_pack_raw(&w->block, &stamp, 8);
    put_record(w, &w->types.key, key);
    put_record(w, &w->types.plain, state);
    w->head.keys++;
    w->keys++;
}

/* Where the count of the cell item that is open stands in the block. */
static size_t open_cell(writer *w, uint32_t field, uint32_t group)
{
    uint8_t  tag = WR_ROWS_CELL;
    uint16_t which = (uint16_t)field;
    uint32_t rows = 0;
    room_for(w, group);
    wr_pack_raw(&w->block, &tag, 1);
    wr_pack_raw(&w->block, &which, 2);
    wr_pack_raw(&w->block, &rows, 4);
    return w->block.bytes - 4;
}

static void close_cell(writer *w, size_t at, uint32_t rows)
{
    memcpy(w->block.data + at, &rows, 4);
}

static void put_text(writer *w, uint32_t field, const weir_text *cell, uint32_t group)
{
    weir_str text = wr_cell_text_get(cell);
    if (text.len == 0) return;
    size_t at = open_cell(w, field, group);
    wr_pack_raw(&w->block, &text.len, 4);
    wr_pack_raw(&w->block, weir_str_data(&text), text.len);
    close_cell(w, at, 1);
}

static void put_rows(writer *w, uint32_t field, const wr_table *table, const void *state, int64_t stamp, uint32_t group)
{
    const weir_field *f = &w->state->field[field];
    const weir_cell  *cell = (const weir_cell *)(const void *)((const char *)state + f->offset);
    weir_rows         rows = wr_cell_rows(table, state, cell);
    size_t            size = f->element->size, at = 0;
    uint32_t          count = 0;
    while (w->err == WR_OK && (rows.at != rows.end || wr_cell_rows_refill(&rows, size))) {
        if (rows.at == rows.end) continue;
        const char *row = rows.at;
        rows.at += size;
        if (count > 0 && w->block.bytes >= WR_ROWS_BLOCK_BYTES) {
            close_cell(w, at, count);
            count = 0;
        }
        if (count++ == 0) at = open_cell(w, field, group);
        int64_t own = wr_row_stamp(table, state, &rows, row, stamp);
        if (w->stamps.cell[field]) wr_pack_raw(&w->block, &own, 8);
        put_record(w, f->element, row);
    }
    if (count > 0) close_cell(w, at, count);
}

static void put_state(writer *w, const wr_table *table, const void *key, const void *state)
{
    uint32_t group = table->config.group_first + wr_table_state_group(table, state);
    int64_t  stamp = 0;
    if (table->stamp_at != 0) memcpy(&stamp, wr_table_entry_of(table, state) + table->stamp_at, 8);
    put_key(w, key, state, stamp, group);
    for (uint32_t i = 0; i < w->state->fields && w->err == WR_OK; i++) {
        const weir_field *f = &w->state->field[i];
        if (f->kind == WEIR_TEXT)
            put_text(w, i, (const weir_text *)(const void *)((const char *)state + f->offset), group);
        else if (wr_rows_is_cell(f->kind))
            put_rows(w, i, table, state, stamp, group);
    }
}

static void put_table(writer *w, wr_table *table, char *keys)
{
    wr_table_scan scan = {0};
    void         *state[AT_ONCE];
    uint32_t      n;
    while (w->err == WR_OK && (n = wr_table_scan_next(table, &scan, state, keys, AT_ONCE)) != 0) {
        for (uint32_t i = 0; i < n; i++) put_state(w, table, keys + (uint64_t)i * table->config.record->size, state[i]);
        if (w->target->stop != NULL && atomic_load_explicit(w->target->stop, memory_order_relaxed))
            w->err = wr_fail(w->info, WR_CANCELED, "the savepoint was given up; %s", w->path);
    }
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static void put_head(writer *w, const wr_manifest_op *op)
{
    wr_rows_head head = {.job = w->target->job,
                         .lineage = w->target->lineage,
                         .uid = op->uid,
                         .snapshot = w->target->snapshot,
                         .max_parallelism = op->max_parallelism,
                         .record = op->record,
                         .state = op->state,
                         .key = op->key,
                         .stamps = w->stamps};
    wr_pack      bytes = {0};
    wr_rows_head_put(&bytes, &head);
    put(w, bytes.data, bytes.bytes);
    wr_pack_free(&bytes);
}

static void put_all(writer *w, wr_image_origin *origin)
{
    const wr_manifest_op *op = origin->op;
    wr_table_config       config = wr_image_origin_config(origin);
    char                 *keys = malloc((size_t)AT_ONCE * op->record->size + 1);
    check(keys != NULL);
    w->stamps.keys = config.ttl_ns != 0;
    for (uint32_t i = 0; i < op->state->fields; i++) w->stamps.cell[i] = config.state->field[i].ttl != 0;
    wr_rows_types_of(&w->types, op->record, &op->key, op->state);
    put_head(w, op);
    for (uint32_t first = 0; first < op->max_parallelism && w->err == WR_OK;) {
        uint32_t  left = op->max_parallelism - first;
        uint32_t  end = first + (left < origin->groups_at_once ? left : origin->groups_at_once);
        wr_budget budget = {0};
        wr_table *table = NULL;
        w->err = wr_image_origin_table(origin, first, end, &budget, &table, w->info);
        if (w->err == WR_OK) put_table(w, table, keys);
        wr_table_free(table);
        first = end;
    }
    free(keys);
    put_end(w);
    if (w->err != WR_OK) return;
    int result = w->env->fsync(w->env->self, w->file);
    if (result < 0) w->err = wr_fail_errno(w->info, -result, "cannot sync %s", w->path);
}

static void describe(writer *w, const wr_manifest_op *op, wr_state_file *file)
{
    XXH128_hash_t hash = XXH3_128bits_digest(w->hash);
    *file = (wr_state_file){.bytes = w->at, .hash = {hash.low64, hash.high64}, .group_end = op->max_parallelism};
    snprintf(file->name, sizeof file->name, "%s", w->target->name);
}

wr_err wr_rows_write(const wr_env *env, const char *from, const wr_manifest_op *op, const wr_rows_target *target,
                     wr_state_file *file, wr_errinfo *info)
{
    wr_image_origin origin;
    check(strlen(target->name) < sizeof file->name);
    WR_TRY(wr_image_origin_open(&origin, env, from, op, 0, op->max_parallelism, info));
    writer *w = calloc(1, sizeof *w);
    check(w != NULL);
    *w = (writer){.env = env, .target = target, .state = op->state, .info = info, .hash = XXH3_createState()};
    check(w->hash != NULL);
    XXH3_128bits_reset(w->hash);
    snprintf(w->path, sizeof w->path, "%s/%s", target->folder, target->name);
    w->file = env->open(env->self, w->path, WR_OPEN_WRITE | WR_OPEN_CREATE | WR_OPEN_EXCLUSIVE);
    if (w->file < 0) {
        w->err = wr_fail_errno(info, -w->file, "cannot make %s", w->path);
    } else {
        put_all(w, &origin);
        int result = env->close(env->self, w->file);
        if (w->err == WR_OK && result < 0) w->err = wr_fail_errno(info, -result, "cannot close %s", w->path);
        if (w->err != WR_OK) env->unlink(env->self, w->path);
    }
    wr_err err = w->err;
    if (err == WR_OK) describe(w, op, file);
    wr_image_origin_close(&origin);
    wr_pack_free(&w->block);
    XXH3_freeState(w->hash);
    free(w);
    return err;
}
