/* snapshot/rows_read.c: logical rows back into a table, through the setters that a user's function calls, and the check
 * of a whole file. Nothing is believed: lengths against the file, checksums, groups, keys that come twice. */
#include "base/check.h"
#include "snapshot/rows_format.h"
#include "snapshot/table_inner.h"
#include "wire/frame.h"
#include "wire/record.h"
#include "wire/schema.h"
#include <errno.h>
#include <stdlib.h>

/* A file of rows, read from its beginning to its end. Owner: who reads, one thread. */
typedef struct rows_file {
    const wr_env *env;
    char          path[WR_PATH_BYTES_MAX];
    int           file;
    uint64_t      bytes, at; /* at: of the next block */
    uint64_t      keys, blocks;
    wr_arena      arena; /* of the head */
    wr_rows_head  head;
    wr_rows_block block; /* the last one */
    uint64_t      block_at;
    char         *body;
    size_t        room;
    XXH3_state_t *hash; /* NULL: not wanted */
} rows_file;

static wr_err damaged(const rows_file *f, uint64_t at, const char *why, wr_errinfo *info)
{
    return wr_fail(info, WR_DAMAGED, "%s; %s, offset %llu; restore another savepoint or snapshot", why, f->path,
                   (unsigned long long)at);
}

/* n bytes at `at`, which lie in the file as it was when it was opened. */
static wr_err read_at(rows_file *f, char *to, size_t n, uint64_t at, wr_errinfo *info)
{
    for (size_t done = 0; done < n;) {
        int64_t got = f->env->pread(f->env->self, f->file, to + done, n - done, (int64_t)(at + done));
        if (got < 0)
            return wr_fail_errno(info, (int)-got, "cannot read %s, offset %llu", f->path, (unsigned long long)at);
        if (got == 0) return damaged(f, at + done, "the file became shorter", info);
        done += (size_t)got;
    }
    if (f->hash != NULL) XXH3_128bits_update(f->hash, to, n);
    return WR_OK;
}

static wr_err make_room(rows_file *f, size_t n, wr_errinfo *info)
{
    if (n <= f->room) return WR_OK;
    char *body = realloc(f->body, n);
    if (body == NULL) return wr_fail(info, WR_MEMORY, "out of memory: %s", f->path);
    f->body = body;
    f->room = n;
    return WR_OK;
}

static wr_err read_head(rows_file *f, wr_errinfo *info)
{
    uint64_t body;
    if (f->bytes < WR_FRAME_HEAD_BYTES + WR_FRAME_TAIL_BYTES) return damaged(f, f->bytes, "the file is cut off", info);
    WR_TRY(make_room(f, WR_FRAME_HEAD_BYTES, info));
    XXH3_state_t *hash = f->hash;
    f->hash = NULL; /* these bytes come once more */
    wr_err err = read_at(f, f->body, WR_FRAME_HEAD_BYTES, 0, info);
    f->hash = hash;
    if (err != WR_OK) return err;
    memcpy(&body, f->body + 16, 8);
    if (!wr_rows_is(f->body)) return damaged(f, 0, "this is no savepoint's file", info);
    if (body > WR_ROWS_HEAD_MAX || body > f->bytes - WR_FRAME_HEAD_BYTES - WR_FRAME_TAIL_BYTES)
        return damaged(f, 16, "the head is longer than the file", info);
    size_t n = (size_t)body + WR_FRAME_HEAD_BYTES + WR_FRAME_TAIL_BYTES;
    WR_TRY(make_room(f, n, info));
    WR_TRY(read_at(f, f->body, n, 0, info));
    WR_TRY(wr_rows_head_read(&f->head, &f->arena, f->body, n, f->path, info));
    f->at = n;
    return WR_OK;
}

static void close_rows(rows_file *f)
{
    if (f->file >= 0) f->env->close(f->env->self, f->file);
    wr_arena_fini(&f->arena);
    free(f->body);
    XXH3_freeState(f->hash);
}

static wr_err open_rows(rows_file *f, const wr_env *env, const char *folder, const wr_state_file *file, bool hash,
                        wr_errinfo *info)
{
    wr_file_info about;
    *f = (rows_file){.env = env, .file = -1, .bytes = file->bytes};
    snprintf(f->path, sizeof f->path, "%s/%s", folder, file->name);
    int result = env->stat(env->self, f->path, &about);
    if (result < 0) return wr_fail_errno(info, -result, "cannot read the savepoint's file %s", f->path);
    if ((uint64_t)about.bytes != file->bytes)
        return wr_fail(info, WR_DAMAGED, "the file has %lld bytes, the manifest says %llu; %s, offset %llu",
                       (long long)about.bytes, (unsigned long long)file->bytes, f->path,
                       (unsigned long long)((uint64_t)about.bytes < file->bytes ? (uint64_t)about.bytes : file->bytes));
    f->file = env->open(env->self, f->path, WR_OPEN_READ);
    if (f->file < 0) return wr_fail_errno(info, -f->file, "cannot open %s", f->path);
    if (hash) {
        f->hash = XXH3_createState();
        check(f->hash != NULL);
        XXH3_128bits_reset(f->hash);
    }
    wr_err err = read_head(f, info);
    if (err != WR_OK) close_rows(f);
    return err;
}

static wr_err read_end(const rows_file *f, wr_errinfo *info)
{
    uint64_t said[2];
    if (f->block.bytes != sizeof said) return damaged(f, f->block_at, "the last block is none", info);
    memcpy(said, f->body, sizeof said);
    if (said[0] != f->keys || said[1] + 1 != f->blocks || f->at != f->bytes)
        return damaged(f, f->block_at, "keys or blocks are missing", info);
    return WR_OK;
}

/* The next block; only its head is read when it has no key group of [first, end). *more is false at the end. */
static wr_err next_block(rows_file *f, uint32_t first, uint32_t end, bool *more, bool *wanted, wr_errinfo *info)
{
    wr_rows_block *b = &f->block;
    f->block_at = f->at;
    *more = *wanted = false;
    if (f->bytes - f->at < sizeof *b) return damaged(f, f->at, "the file ends without its last block", info);
    WR_TRY(read_at(f, (char *)b, sizeof *b, f->at, info));
    bool ends = b->magic == WR_ROWS_END_MAGIC;
    if ((!ends && b->magic != WR_ROWS_BLOCK_MAGIC) || b->zero != 0 || b->bytes > WR_ROWS_BLOCK_MAX ||
        b->bytes > f->bytes - f->at - sizeof *b)
        return damaged(f, f->at, "the head of a block is damaged", info);
    bool groups = b->group_first < b->group_end && b->group_end <= f->head.max_parallelism;
    if (ends ? b->group_end != 0 : !groups) return damaged(f, f->at, "a block has impossible key groups", info);
    *wanted = ends || (b->group_first < end && b->group_end > first);
    if (*wanted) {
        WR_TRY(make_room(f, b->bytes, info));
        WR_TRY(read_at(f, f->body, b->bytes, f->at + sizeof *b, info));
        if (wr_rows_hash(b, f->at, f->body) != b->hash)
            return damaged(f, f->at, "the checksum of a block does not match", info);
    }
    f->at += sizeof *b + b->bytes;
    f->keys += b->keys;
    f->blocks++;
    *more = !ends;
    return ends ? read_end(f, info) : WR_OK;
}

/* ---- items ------------------------------------------------------------------------------------------------------- */

/* Where a reader is within a block, and what it fills. table == NULL: only looks. */
typedef struct filling {
    rows_file    *f;
    const char   *at, *end;
    wr_table     *table;
    uint32_t      first, last_group; /* wanted: [first, end_group) */
    uint32_t      end_group;
    wr_rows_types types;
    bool          strings; /* the state has some */
    char         *key, *plain, *row;
    void         *state; /* of the key read last; NULL: not wanted */
    int64_t       stamp;
    uint32_t      keys; /* in this block */
} filling;

static wr_err bad_item(const filling *r, const char *why, wr_errinfo *info)
{
    return damaged(r->f, r->f->block_at + sizeof(wr_rows_block) + (uint64_t)(r->at - r->f->body), why, info);
}

static bool take(filling *r, void *to, size_t n)
{
    if ((size_t)(r->end - r->at) < n) return false;
    memcpy(to, r->at, n);
    r->at += n;
    return true;
}

static bool take_record(filling *r, const weir_type *type, void *to)
{
    size_t n = wr_record_read(type, r->at, (size_t)(r->end - r->at), to);
    r->at += n;
    return n > 0;
}

/* The state before is complete: its key's stamp is what the file says, whatever its cells were given at. */
static void settle(filling *r)
{
    if (r->state == NULL || r->table == NULL) return;
    wr_table *t = r->table;
    if (t->stamp_at != 0 && r->f->head.stamps.keys) memcpy(wr_table_entry_of(t, r->state) + t->stamp_at, &r->stamp, 8);
    wr_table_settle(t);
    r->state = NULL;
}

static wr_err make_state(filling *r, uint64_t hash, wr_errinfo *info)
{
    void   *state;
    uint8_t fresh;
    if (r->f->head.stamps.keys) wr_table_now(r->table, r->stamp);
    bool room = wr_table_find(r->table, r->key, 1, &hash, NULL, 0, &state, &fresh);
    if (!room)
        return wr_fail(info, WR_STATE_MAX, "state of operator %s does not fit --state-max; raise it", r->f->head.uid);
    if (!fresh) return bad_item(r, "a key stands twice", info);
    r->state = state;
    if (!r->strings)
        memcpy(state, r->plain, r->f->head.state->size);
    else if (wr_cell_record_own(r->table, r->f->head.state, state, r->plain) != WR_OK)
        return bad_item(r, "a string is too long", info);
    return WR_OK;
}

static wr_err take_key(filling *r, wr_errinfo *info)
{
    const wr_rows_head *h = &r->f->head;
    uint64_t            hash;
    settle(r);
    r->keys++;
    if (h->stamps.keys && !take(r, &r->stamp, 8)) return bad_item(r, "a key is cut off", info);
    if (!take_record(r, &r->types.key, r->key)) return bad_item(r, "a key is damaged", info);
    if (!take_record(r, &r->types.plain, r->plain)) return bad_item(r, "a state is damaged", info);
    wr_key_hash(&h->key, r->key, h->record->size, 1, &hash);
    uint32_t group = (uint32_t)(((hash >> 32) * h->max_parallelism) >> 32);
    if (group < r->f->block.group_first || group >= r->f->block.group_end || group < r->last_group)
        return bad_item(r, "a key is not of the key group where it stands", info);
    r->last_group = group;
    if (r->table == NULL || group < r->first || group >= r->end_group) return WR_OK;
    return make_state(r, hash, info);
}

/* One row of a cell: into the state when that is wanted. */
static wr_err take_row(filling *r, const weir_field *f, bool stamped, wr_errinfo *info)
{
    int64_t stamp = 0;
    wr_err  err = WR_OK;
    if (f->kind == WEIR_TEXT) {
        uint32_t len;
        if (!take(r, &len, 4) || len > WR_CELL_BYTES_MAX || len > (size_t)(r->end - r->at))
            return bad_item(r, "a text is cut off", info);
        weir_str text = weir_str_of(r->at, len);
        r->at += len;
        if (r->state != NULL)
            err = wr_cell_text_set(r->table, r->state, (weir_text *)(void *)((char *)r->state + f->offset), text);
        return err == WR_OK ? WR_OK : bad_item(r, "a text is too long", info);
    }
    if (stamped && !take(r, &stamp, 8)) return bad_item(r, "a row is cut off", info);
    if (!take_record(r, f->element, r->row)) return bad_item(r, "a row is damaged", info);
    if (r->state == NULL) return WR_OK;
    if (stamped) wr_table_now(r->table, stamp);
    weir_cell *cell = (weir_cell *)(void *)((char *)r->state + f->offset);
    if (f->kind == WEIR_CELL_VALUE)
        err = wr_cell_value_set(r->table, r->state, cell, r->row);
    else if (f->kind == WEIR_CELL_LIST)
        err = wr_cell_list_add(r->table, r->state, cell, r->row);
    else
        err = wr_cell_table_put(r->table, r->state, cell, r->row);
    return err == WR_OK ? WR_OK : bad_item(r, "a row is too large", info);
}

static wr_err take_cell(filling *r, wr_errinfo *info)
{
    const wr_rows_head *h = &r->f->head;
    uint16_t            field;
    uint32_t            rows;
    if (!take(r, &field, 2) || !take(r, &rows, 4) || field >= h->state->fields)
        return bad_item(r, "a cell is damaged", info);
    const weir_field *f = &h->state->field[field];
    bool              one = f->kind == WEIR_TEXT || f->kind == WEIR_CELL_VALUE;
    if (!wr_rows_is_cell(f->kind) || rows == 0 || (one && rows != 1)) return bad_item(r, "a cell is damaged", info);
    for (uint32_t i = 0; i < rows; i++) WR_TRY(take_row(r, f, h->stamps.cell[field], info));
    return WR_OK;
}

static wr_err take_block(filling *r, wr_errinfo *info)
{
    r->at = r->f->body;
    r->end = r->f->body + r->f->block.bytes;
    r->keys = 0;
    while (r->at < r->end) {
        uint8_t tag = (uint8_t)*r->at++;
        if (tag == WR_ROWS_KEY)
            WR_TRY(take_key(r, info));
        else if (tag == WR_ROWS_CELL)
            WR_TRY(take_cell(r, info));
        else
            return bad_item(r, "an item of no known kind", info);
        if (r->table != NULL && r->table->config.budget->exceeded)
            return wr_fail(info, WR_STATE_MAX, "state of operator %s does not fit --state-max; raise it",
                           r->f->head.uid);
    }
    if (r->keys != r->f->block.keys) return bad_item(r, "a block has other keys than it says", info);
    return WR_OK;
}

/* ---- whole files ------------------------------------------------------------------------------------------------- */

static wr_err begin(filling *r, rows_file *f, wr_errinfo *info)
{
    const wr_rows_head *h = &f->head;
    size_t              row = 1;
    r->f = f;
    wr_rows_types_of(&r->types, h->record, &h->key, h->state);
    for (uint32_t i = 0; i < h->state->fields; i++) {
        const weir_field *field = &h->state->field[i];
        r->strings |= field->kind == WEIR_STR || field->kind == WEIR_BYTES;
        if (field->element != NULL && field->element->size > row) row = field->element->size;
    }
    r->key = calloc(1, h->record->size + 1u);
    r->plain = calloc(1, h->state->size + 1u);
    r->row = calloc(1, row);
    if (r->key != NULL && r->plain != NULL && r->row != NULL) return WR_OK;
    return wr_fail(info, WR_MEMORY, "out of memory: %s", f->path);
}

static wr_err read_all(filling *r, wr_errinfo *info)
{
    for (bool more = true, wanted;;) {
        WR_TRY(next_block(r->f, r->first, r->end_group, &more, &wanted, info));
        if (!more) return WR_OK;
        if (wanted)
            WR_TRY(take_block(r, info));
        else
            settle(r);
    }
}

static void end(filling *r)
{
    settle(r);
    free(r->key);
    free(r->plain);
    free(r->row);
}

static wr_err read_rows(rows_file *f, wr_table *table, uint32_t first, uint32_t end_group, wr_errinfo *info)
{
    filling r = {.table = table, .first = first, .end_group = end_group};
    wr_err  err = begin(&r, f, info);
    if (err == WR_OK) err = read_all(&r, info);
    end(&r);
    return err;
}

/* The file is what the manifest says it is. */
static wr_err check_names(const rows_file *f, const wr_manifest_op *op, const wr_manifest_layer *layer,
                          wr_errinfo *info)
{
    const wr_rows_head *h = &f->head;
    bool                same = strcmp(h->uid, op->uid) == 0 && h->snapshot == layer->snapshot &&
                h->max_parallelism == op->max_parallelism && h->key.count == op->key.count &&
                h->record->size == op->record->size && h->state->size == op->state->size &&
                wr_schema_same(h->record, op->record) && wr_schema_same(h->state, op->state);
    for (uint32_t i = 0; same && i < h->key.count; i++)
        same = h->key.field[i].offset == op->key.field[i].offset && h->key.field[i].kind == op->key.field[i].kind;
    for (uint32_t i = 0; same && i < h->state->fields; i++)
        same = h->state->field[i].offset == op->state->field[i].offset;
    return same ? WR_OK : damaged(f, 0, "it is not the file that the manifest means", info);
}

wr_err wr_rows_stamps_of(const wr_env *env, const char *folder, const wr_manifest_op *op, wr_rows_stamps *stamps,
                         wr_errinfo *info)
{
    rows_file f;
    memset(stamps, 0, sizeof *stamps);
    for (uint32_t i = 0; i < op->layers; i++) {
        WR_TRY(open_rows(&f, env, folder, &op->layer[i].file, false, info));
        wr_err err = check_names(&f, op, &op->layer[i], info);
        if (err == WR_OK) {
            stamps->keys |= f.head.stamps.keys;
            for (uint32_t k = 0; k < f.head.state->fields; k++) stamps->cell[k] |= f.head.stamps.cell[k];
        }
        close_rows(&f);
        if (err != WR_OK) return err;
    }
    return WR_OK;
}

wr_err wr_rows_fill(wr_table *table, const wr_env *env, const char *folder, const wr_manifest_op *op,
                    uint32_t group_first, uint32_t group_end, wr_errinfo *info)
{
    rows_file f;
    int64_t   now = table->now_ns;
    for (uint32_t i = 0; i < op->layers; i++) {
        const wr_manifest_layer *layer = &op->layer[i];
        if (layer->file.group_first >= group_end || layer->file.group_end <= group_first) continue;
        WR_TRY(open_rows(&f, env, folder, &layer->file, false, info));
        wr_err err = check_names(&f, op, layer, info);
        if (err == WR_OK) err = read_rows(&f, table, group_first, group_end, info);
        close_rows(&f);
        if (err != WR_OK) return err;
    }
    wr_table_now(table, now);
    return WR_OK;
}

wr_err wr_rows_check(const wr_env *env, const char *folder, const wr_state_file *file, wr_errinfo *info)
{
    rows_file f;
    WR_TRY(open_rows(&f, env, folder, file, true, info));
    wr_err err = read_rows(&f, NULL, 0, UINT32_MAX, info);
    if (err == WR_OK) {
        XXH128_hash_t hash = XXH3_128bits_digest(f.hash);
        if (hash.low64 != file->hash[0] || hash.high64 != file->hash[1])
            err = damaged(&f, 0, "the checksum of the file is not the one in the manifest", info);
    }
    close_rows(&f);
    return err;
}
