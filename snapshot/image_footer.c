/* snapshot/image_footer.c: what a footer says, checked. */
#include "snapshot/image_inner.h"
#include <stdlib.h>

static wr_err wrong(const wr_image_file *f, wr_errinfo *info, const char *what)
{
    return wr_image_damaged(f, f->tail->footer_at, info, "the footer is wrong: %s", what);
}

static wr_err read_blocks(wr_image_file *f, wr_reading *r, wr_errinfo *info)
{
    uint64_t at = WR_PAGE_BYTES;
    if ((uint64_t)f->blocks * sizeof *f->block > (uint64_t)(r->end - r->at)) return wrong(f, info, "count of blocks");
    f->block = calloc(f->blocks + 1, sizeof *f->block);
    if (f->block == NULL) return wr_fail(info, WR_MEMORY, "out of memory; file %s", f->path);
    for (uint32_t i = 0; i < f->blocks; i++) {
        wr_footer_block *b = &f->block[i];
        b->at = wr_reading_u64(r);
        b->size = wr_reading_u32(r);
        b->bytes = wr_reading_u32(r);
        b->hash[0] = wr_reading_u64(r);
        b->hash[1] = wr_reading_u64(r);
        uint64_t used = sizeof(wr_image_block) + (uint64_t)b->bytes;
        if (b->at != at || b->size == 0 || b->size > WR_IMAGE_BLOCK_BYTES || b->size % WR_PAGE_BYTES != 0 ||
            used > b->size || b->size - used >= WR_PAGE_BYTES)
            return wrong(f, info, "a block");
        at += b->size;
    }
    return at == f->tail->footer_at ? WR_OK : wrong(f, info, "where the blocks end");
}

/* A place in the payload: within a block or right behind its last piece. */
static bool is_place(const wr_image_file *f, uint64_t place)
{
    uint64_t block = place >> 32;
    uint32_t offset = (uint32_t)place;
    if (block >= f->blocks) return block == f->blocks && offset == 0;
    return offset <= f->block[block].bytes && offset % 8 == 0;
}

static wr_err read_starts(wr_image_file *f, wr_footer_table *t, wr_reading *r, wr_errinfo *info)
{
    uint64_t before = 0;
    for (uint32_t i = 0; i <= t->group_end - t->group_first; i++) {
        uint64_t start = t->group[i].start = wr_reading_u64(r);
        if (r->failed || start < before || !is_place(f, start)) return wrong(f, info, "where a group begins");
        before = start;
    }
    return WR_OK;
}

static wr_err read_group(wr_image_file *f, wr_footer_table *t, wr_footer_group *g, wr_reading *r, wr_errinfo *info)
{
    g->ids = wr_reading_u64(r);
    g->counts = wr_reading_take(r, t->families * 8u);
    g->free_count = wr_reading_u32(r);
    if (r->failed || g->free_count > WR_BLOB_CLASSES) return wrong(f, info, "a group");
    g->frees = wr_reading_take(r, g->free_count * 8u);
    if (r->failed) return wrong(f, info, "a group");
    uint32_t group = t->group_first + (uint32_t)(g - t->group);
    for (uint32_t i = 0; i < t->families; i++) {
        uint32_t count = wr_footer_count(t, group, i), first_free = wr_footer_free(t, group, i);
        if (first_free > count || (t->stride[i] == 0 && count != 0)) return wrong(f, info, "the counts of a group");
    }
    for (uint32_t i = 0; i < g->free_count; i++) {
        uint32_t free_one[2];
        memcpy(free_one, g->frees + i * 8u, sizeof free_one);
        if (free_one[0] >= WR_BLOB_CLASSES || free_one[1] == 0 || t->families < 2 ||
            free_one[1] > wr_footer_count(t, group, 1))
            return wrong(f, info, "free blobs of a group");
    }
    t->keys -= wr_footer_count(t, group, 0);
    return WR_OK;
}

static wr_err read_table(wr_image_file *f, wr_footer_table *t, wr_reading *r, wr_errinfo *info)
{
    uint32_t    n = wr_reading_u32(r);
    const char *uid = n <= WR_NAME_BYTES_MAX ? wr_reading_take(r, n) : NULL;
    if (uid == NULL || memchr(uid, 0, n) != NULL) return wrong(f, info, "a uid");
    memcpy(t->uid, uid, n);
    t->max_parallelism = wr_reading_u32(r);
    t->group_first = wr_reading_u32(r);
    t->group_end = wr_reading_u32(r);
    t->families = wr_reading_u32(r);
    if (t->max_parallelism > WR_PARALLELISM_MAX || t->group_first >= t->group_end ||
        t->group_end > t->max_parallelism || t->families < 2 || t->families > WR_IMAGE_FAMILIES_MAX)
        return wrong(f, info, "groups of a table");
    for (uint32_t i = 0; i < t->families; i++) {
        t->stride[i] = wr_reading_u32(r);
        if (t->stride[i] % 8 != 0 || t->stride[i] > WR_PIECE_BYTES_MAX) return wrong(f, info, "a stride");
    }
    uint32_t increment = wr_reading_u32(r);
    t->increment = increment != 0;
    t->layout_bytes = wr_reading_u32(r);
    t->layout = wr_reading_take(r, t->layout_bytes);
    t->keys = wr_reading_u64(r);
    if (r->failed || increment > 1 || t->stride[0] == 0) return wrong(f, info, "a layout");
    t->group = calloc(t->group_end - t->group_first + 1, sizeof *t->group);
    if (t->group == NULL) return wr_fail(info, WR_MEMORY, "out of memory; file %s", f->path);
    WR_TRY(read_starts(f, t, r, info));
    uint64_t bytes = wr_reading_u64(r), keys = t->keys;
    if (r->failed || bytes > (uint64_t)(r->end - r->at)) return wrong(f, info, "length of groups");
    wr_reading groups = {.at = r->at, .end = r->at + bytes};
    r->at += bytes;
    for (uint32_t i = 0; i < t->group_end - t->group_first; i++) WR_TRY(read_group(f, t, &t->group[i], &groups, info));
    if (groups.at != groups.end || t->keys != 0) return wrong(f, info, "count of keys");
    t->keys = keys;
    return WR_OK;
}

wr_err wr_footer_read(wr_image_file *f, const char *bytes, size_t n, wr_errinfo *info)
{
    wr_reading r = {.at = bytes, .end = bytes + n};
    f->blocks = wr_reading_u32(&r);
    uint32_t tables = wr_reading_u32(&r);
    if (r.failed || tables > WR_CHAIN_MAX) return wrong(f, info, "count of tables");
    WR_TRY(read_blocks(f, &r, info));
    f->table = calloc(tables + 1u, sizeof *f->table);
    if (f->table == NULL) return wr_fail(info, WR_MEMORY, "out of memory; file %s", f->path);
    f->tables = tables;
    uint64_t before = 0;
    for (uint32_t i = 0; i < tables; i++) {
        wr_footer_table *t = &f->table[i];
        WR_TRY(read_table(f, t, &r, info));
        uint32_t groups = t->group_end - t->group_first;
        if (t->group[0].start != t->group[groups].start) {
            if (t->group[0].start < before) return wrong(f, info, "order of tables");
            before = t->group[groups].start;
        }
        if (t->increment && f->head->increment == 0) return wrong(f, info, "an increment in a full file");
    }
    return r.failed || r.at != r.end ? wrong(f, info, "its length") : WR_OK;
}
