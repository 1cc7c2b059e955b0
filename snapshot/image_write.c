/* snapshot/image_write.c: tables into a file, in steps. Regions are captured right into staging buffers, 1 MiB each,
 * which go to storage while the next one fills. */
#include "base/check.h"
#include "base/mem.h"
#include "base/sabotage.h"
#include "snapshot/image_inner.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#define BUFFERS 8u

/* Stays with the first table between snapshots: fresh memory and a fresh queue would cost each barrier. Owner: the
 * table, its slot's thread. */
typedef struct staging {
    const wr_env *env;
    wr_parker    *parker;
    wr_io        *io; /* NULL: the environment has none, or none yet */
    char         *base;
    bool          huge; /* `base` has huge pages */
} staging;

/* One table on its way. */
typedef struct part {
    const char     *uid;
    wr_table       *table;
    bool            full, captured;
    wr_capture_walk walk;
    uint32_t        started, counted; /* groups whose start, whose counts are known */
    uint64_t       *start;            /* per group: block << 32 | offset of its first piece */
    uint64_t        end, keys, bytes;
    wr_bytes        layout, groups;
} part;

enum phase { CAPTURE, FOOTER, DRAIN, SYNC, DURABLE, FAILED };

/* Owner: the slot that owns the tables; one thread. With `apart` who steps it has all of it from the first step to the
 * last, but for parts[].captured and `taken`. */
struct wr_image_writer {
    const wr_env    *env;
    wr_parker       *parker;
    char             path[WR_PATH_BYTES_MAX], name[64];
    wr_image_head    head;
    uint64_t         tail_hash[2];
    uint64_t         changed;
    uint32_t         phase;
    int              file;    /* -1: not open */
    int              created; /* the file that was made in advance; -1: none */
    bool             raced;   /* it may be made at this moment */
    staging         *staging;
    uint32_t         busy, flying; /* buffers under way; operations under way */
    uint32_t         buffer;       /* the one that fills; BUFFERS: none */
    uint64_t         fill;         /* bytes in it */
    uint64_t         block;        /* where in it the open block begins; UINT64_MAX: none */
    uint32_t         block_kind, sequence;
    uint64_t         file_at; /* of the buffer's first byte */
    wr_image_hasher *hasher;
    wr_bytes         blocks, footer;
    uint64_t         footer_at, footer_done;
    uint32_t         footer_blocks;
    part            *part;
    uint32_t         parts, at;    /* at: which is captured now */
    bool             apart, large; /* as its tables; large: so is the first one */
    _Atomic bool     taken;        /* nothing more is captured */
    wr_errinfo       error;
};

/* ---- staging ----------------------------------------------------------------------------------------------------- */

static void staging_free(void *self)
{
    staging *s = self;
    if (s->io != NULL) s->env->io_free(s->env->self, s->io);
    wr_mem_release(s->base, BUFFERS * WR_IMAGE_BLOCK_BYTES);
    free(s);
}

static wr_err staging_of(wr_table *table, const wr_env *env, wr_parker *parker, wr_errinfo *info)
{
    staging *s = table->staging;
    if (s != NULL && (s->env != env || s->parker != parker)) {
        staging_free(s);
        table->staging = NULL;
        table->staging_free = NULL;
        s = NULL;
    }
    if (s == NULL) {
        s = calloc(1, sizeof *s);
        char *base = wr_mem_reserve(BUFFERS * WR_IMAGE_BLOCK_BYTES);
        if (s == NULL || base == NULL) {
            free(s);
            wr_mem_release(base, BUFFERS * WR_IMAGE_BLOCK_BYTES);
            return wr_fail(info, WR_MEMORY, "out of memory: buffers of snapshots");
        }
        *s = (staging){.env = env, .parker = parker, .base = base};
        table->staging = s;
        table->staging_free = staging_free;
    }
    return WR_OK;
}

static void staging_queue(staging *s)
{
    wr_io *io = NULL;
    if (s->io != NULL || s->env->io_new == NULL) return;
    if (s->env->io_new(s->env->self, &io, s->parker, BUFFERS) == 0) s->io = io; /* else by plain writes */
}

wr_err wr_image_prepare(wr_table *table, const wr_env *env, wr_parker *parker, wr_errinfo *info)
{
    if (!wr_table_strings(table)) return wr_fail(info, WR_MEMORY, "out of memory: snapshots of a table");
    WR_TRY(staging_of(table, env, parker, info));
    if (!table->entries.capture.apart) staging_queue(table->staging); /* it belongs to the thread that uses it */
    return WR_OK;
}

/* ---- failing ----------------------------------------------------------------------------------------------------- */

static void end_captures(wr_image_writer *w)
{
    for (uint32_t i = 0; i < w->parts; i++) {
        if (!w->part[i].captured) wr_capture_end(w->part[i].table);
        w->part[i].captured = true;
    }
}

static void fail(wr_image_writer *w, int number, const char *what)
{
    if (w->phase == FAILED) return;
    if (number == ENOMEM)
        wr_fail(&w->error, WR_MEMORY, "out of memory; snapshot file %s", w->path);
    else
        wr_fail_errno(&w->error, number, "cannot %s snapshot file %s", what, w->path);
    w->phase = FAILED;
    if (!w->apart) end_captures(w);
    atomic_store_explicit(&w->taken, true, memory_order_release);
}

/* ---- storage ----------------------------------------------------------------------------------------------------- */

static void reap(wr_image_writer *w)
{
    wr_io_done done[BUFFERS];
    if (w->flying == 0 || w->staging->io == NULL) return;
    uint32_t n = w->env->io_reap(w->env->self, w->staging->io, done, BUFFERS);
    for (uint32_t i = 0; i < n; i++) {
        w->flying--;
        uint64_t bytes = done[i].tag >> 32;
        if (done[i].result < 0)
            fail(w, (int)-done[i].result, "write");
        else if (done[i].tag != UINT64_MAX && (uint64_t)done[i].result != bytes)
            fail(w, EIO, "write");
        if (done[i].tag != UINT64_MAX) w->busy &= ~(1u << (done[i].tag & 0xff));
    }
}

static int write_now(wr_image_writer *w, const char *from, uint64_t bytes, uint64_t at)
{
    while (bytes > 0) {
        int64_t n = w->env->pwrite(w->env->self, w->file, from, bytes, (int64_t)at);
        if (n <= 0) return n < 0 ? (int)-n : EIO;
        from += n;
        at += (uint64_t)n;
        bytes -= (uint64_t)n;
    }
    return 0;
}

/* The buffer goes to storage; whole pages. False: the queue is full, again later (or it failed). */
static bool submit(wr_image_writer *w)
{
    char *from = w->staging->base + w->buffer * WR_IMAGE_BLOCK_BYTES;
    check(w->block == UINT64_MAX && w->fill % WR_PAGE_BYTES == 0);
    if (w->staging->io == NULL) {
        int number = write_now(w, from, w->fill, w->file_at);
        if (number != 0) fail(w, number, "write");
    } else {
        wr_io_op op = {.kind = WR_IO_WRITE,
                       .file = w->file,
                       .at = from,
                       .bytes = w->fill,
                       .offset = (int64_t)w->file_at,
                       .tag = w->fill << 32 | w->buffer};
        int      result = w->env->io_submit(w->env->self, w->staging->io, &op);
        if (result == -EAGAIN) return false;
        if (result != 0) {
            fail(w, -result, "write");
            return false;
        }
        w->busy |= 1u << w->buffer;
        w->flying++;
    }
    w->file_at += w->fill;
    w->buffer = BUFFERS;
    w->fill = 0;
    return w->phase != FAILED;
}

/* A buffer to fill; false: all are under way. */
static bool have_buffer(wr_image_writer *w)
{
    if (w->buffer != BUFFERS) return true;
    uint32_t free_ones = ~w->busy & ((1u << BUFFERS) - 1);
    if (free_ones == 0) return false;
    w->buffer = (uint32_t)__builtin_ctz(free_ones);
    w->fill = 0;
    return true;
}

static char *place(const wr_image_writer *w)
{
    return w->staging->base + w->buffer * WR_IMAGE_BLOCK_BYTES + w->fill;
}

/* ---- blocks ------------------------------------------------------------------------------------------------------ */

static void open_block(wr_image_writer *w, uint32_t kind)
{
    w->block = w->fill;
    w->block_kind = kind;
    w->fill += sizeof(wr_image_block);
    wr_image_hasher_begin(w->hasher);
}

static void close_block(wr_image_writer *w)
{
    char    *from = w->staging->base + w->buffer * WR_IMAGE_BLOCK_BYTES + w->block;
    uint64_t content = w->fill - w->block - sizeof(wr_image_block);
    uint64_t padding = (WR_PAGE_BYTES - w->fill % WR_PAGE_BYTES) % WR_PAGE_BYTES;
    memset(place(w), 0, padding);
    wr_image_hasher_add(w->hasher, place(w), padding);
    w->fill += padding;
    wr_image_block head = {.magic = WR_IMAGE_BLOCK_MAGIC,
                           .sequence = w->sequence++,
                           .id = w->head.id,
                           .lineage_hash = w->head.lineage_hash,
                           .bytes = (uint32_t)content,
                           .kind = w->block_kind,
                           .at = w->file_at + w->block};
    wr_image_hasher_end(w->hasher, &head, head.hash);
    memcpy(from, &head, sizeof head);
    if (w->block_kind == WR_IMAGE_PAYLOAD) {
        wr_bytes_u64(&w->blocks, head.at);
        wr_bytes_u32(&w->blocks, (uint32_t)(w->fill - w->block));
        wr_bytes_u32(&w->blocks, head.bytes);
        wr_bytes_put(&w->blocks, head.hash, sizeof head.hash);
    } else {
        w->footer_blocks++;
    }
    w->block = UINT64_MAX;
}

/* ---- capturing --------------------------------------------------------------------------------------------------- */

/* Where groups begin, out of the pieces that were just made. */
static void note_starts(wr_image_writer *w, part *p, const char *pieces, uint64_t bytes)
{
    uint64_t offset = w->fill - w->block - sizeof(wr_image_block);
    for (uint64_t at = 0; at < bytes;) {
        const wr_piece *piece = (const wr_piece *)(const void *)(pieces + at);
        uint32_t        group = piece->group - p->table->config.group_first;
        p->end = (uint64_t)w->sequence << 32 | (offset + at);
        while (p->started <= group) p->start[p->started++] = p->end;
        at += sizeof *piece + piece->bytes;
    }
    if (bytes != 0) p->end = (uint64_t)w->sequence << 32 | (offset + bytes);
}

static void put_blob_frees(part *p, uint32_t group)
{
    const uint32_t *heads = p->table->has_blobs ? &p->table->blob_free_begin[group * WR_BLOB_CLASSES] : NULL;
    uint32_t        count = 0;
    for (uint32_t i = 0; heads != NULL && i < WR_BLOB_CLASSES; i++) count += heads[i] != 0;
    wr_bytes_u32(&p->groups, count);
    for (uint32_t i = 0; count != 0 && i < WR_BLOB_CLASSES; i++) {
        if (heads[i] == 0) continue;
        wr_bytes_u32(&p->groups, i);
        wr_bytes_u32(&p->groups, heads[i]);
    }
}

/* What groups remember besides their entries, up to the one that is being captured. */
static void note_counts(part *p, uint32_t up_to)
{
    wr_table *table = p->table;
    for (; p->counted < up_to; p->counted++) {
        uint32_t group = table->config.group_first + p->counted;
        wr_bytes_u64(&p->groups, wr_capture_group(table, group, 0).ids);
        for (uint32_t f = 0; f < wr_capture_families(table); f++) {
            const wr_family *family = wr_table_family(table, f);
            wr_group_image   image = {0};
            if (family != NULL) image = wr_capture_group(table, group, f);
            wr_bytes_u32(&p->groups, image.count);
            wr_bytes_u32(&p->groups, image.free);
            if (f == 0) p->keys += image.count;
            if (family != NULL) p->bytes += (uint64_t)image.count * family->stride;
        }
        put_blob_frees(p, p->counted);
    }
}

static void end_part(const wr_image_writer *w, part *p)
{
    note_counts(p, p->table->groups);
    if (p->end == UINT64_MAX) p->end = 0;
    while (p->started < p->table->groups) p->start[p->started++] = p->end;
    wr_layout_put(&p->layout, p->table);
    if (w->apart) return; /* the table's thread ends it */
    wr_capture_end(p->table);
    p->captured = true;
}

static enum wr_image_step capture(wr_image_writer *w, uint64_t *looked)
{
    if (w->at == w->parts) {
        if (w->block != UINT64_MAX) close_block(w);
        w->phase = FOOTER;
        return WR_IMAGE_MORE;
    }
    if (w->block == UINT64_MAX && WR_IMAGE_BLOCK_BYTES - w->fill < WR_PIECE_BYTES_MAX + sizeof(wr_image_block) &&
        w->buffer != BUFFERS && !submit(w))
        return WR_IMAGE_WAIT;
    if (!have_buffer(w)) return WR_IMAGE_WAIT;
    if (w->block == UINT64_MAX) open_block(w, WR_IMAGE_PAYLOAD);
    part            *p = &w->part[w->at];
    wr_pieces_result result;
    enum wr_pieces   got = wr_capture_pieces(p->table, &p->walk, (uint16_t)w->at, place(w),
                                             WR_IMAGE_BLOCK_BYTES - w->fill, &result);
    note_starts(w, p, place(w), result.bytes);
    wr_image_hasher_add(w->hasher, place(w), result.bytes);
    w->fill += result.bytes;
    *looked += result.looked;
    w->changed += result.changed;
    note_counts(p, p->walk.group);
    if (got == WR_PIECES_NO_ROOM) close_block(w);
    if (got == WR_PIECES_ALL) {
        end_part(w, p);
        w->at++;
        if (w->at == w->parts) atomic_store_explicit(&w->taken, true, memory_order_release);
    }
    return WR_IMAGE_MORE;
}

/* ---- the end of the file ----------------------------------------------------------------------------------------- */

static void make_footer(wr_image_writer *w)
{
    wr_bytes *f = &w->footer;
    wr_bytes_u32(f, (uint32_t)(w->blocks.n / 32));
    wr_bytes_u32(f, w->parts);
    wr_bytes_put(f, w->blocks.at, w->blocks.n);
    for (uint32_t i = 0; i < w->parts; i++) {
        const part            *p = &w->part[i];
        const wr_table_config *config = &p->table->config;
        f->failed |= p->layout.failed || p->groups.failed;
        wr_bytes_text(f, p->uid);
        wr_bytes_u32(f, config->max_parallelism);
        wr_bytes_u32(f, config->group_first);
        wr_bytes_u32(f, config->group_end);
        wr_bytes_u32(f, wr_capture_families(p->table));
        for (uint32_t k = 0; k < wr_capture_families(p->table); k++) {
            const wr_family *family = wr_table_family(p->table, k);
            wr_bytes_u32(f, family == NULL ? 0 : family->stride);
        }
        wr_bytes_u32(f, !p->full);
        wr_bytes_u32(f, (uint32_t)p->layout.n);
        wr_bytes_put(f, p->layout.at, p->layout.n);
        wr_bytes_u64(f, p->keys);
        wr_bytes_put(f, p->start, p->table->groups * sizeof *p->start);
        wr_bytes_u64(f, p->end);
        wr_bytes_u64(f, p->groups.n);
        wr_bytes_put(f, p->groups.at, p->groups.n);
    }
    if (f->failed || w->blocks.failed) fail(w, ENOMEM, "write");
    w->footer_at = w->file_at + w->fill;
}

static void put_tail(wr_image_writer *w)
{
    wr_image_tail *tail = (wr_image_tail *)(void *)place(w);
    memset(tail, 0, sizeof *tail);
    memcpy(tail->magic, WR_IMAGE_TAIL_MAGIC, sizeof tail->magic);
    tail->version = WR_IMAGE_VERSION;
    tail->footer_blocks = w->footer_blocks;
    tail->id = w->head.id;
    tail->lineage_hash = w->head.lineage_hash;
    tail->footer_at = w->footer_at;
    tail->footer_bytes = w->footer.n;
    tail->file_bytes = w->file_at + w->fill + sizeof *tail;
    memcpy(tail->head_hash, w->head.hash, sizeof tail->head_hash);
    wr_image_hash(w->footer.at, w->footer.n, tail->footer_hash);
    wr_image_hash(tail, offsetof(wr_image_tail, hash), tail->hash);
    memcpy(w->tail_hash, tail->hash, sizeof w->tail_hash);
    w->fill += sizeof *tail;
}

/* As much of the footer as goes into one block, and behind the last one the tail. */
static enum wr_image_step put_footer(wr_image_writer *w, uint64_t *looked)
{
    if (w->buffer != BUFFERS && w->fill == WR_IMAGE_BLOCK_BYTES && !submit(w)) return WR_IMAGE_WAIT;
    if (!have_buffer(w)) return WR_IMAGE_WAIT;
    if (w->footer.n == 0) make_footer(w);
    if (w->phase == FAILED) return WR_IMAGE_FAILED;
    if (w->footer_done == w->footer.n) {
        put_tail(w);
        w->phase = DRAIN;
        return WR_IMAGE_MORE;
    }
    open_block(w, WR_IMAGE_FOOTER);
    uint64_t room = WR_IMAGE_BLOCK_BYTES - w->fill, n = w->footer.n - w->footer_done;
    if (n > room) n = room;
    memcpy(place(w), w->footer.at + w->footer_done, n);
    wr_image_hasher_add(w->hasher, place(w), n);
    w->fill += n;
    w->footer_done += n;
    *looked += n;
    close_block(w);
    return WR_IMAGE_MORE;
}

static enum wr_image_step drain(wr_image_writer *w)
{
    if (w->buffer != BUFFERS && !submit(w)) return WR_IMAGE_WAIT;
    if (w->flying != 0) return WR_IMAGE_WAIT;
    if (wr_sabotage.ack_before_fsync) {
        w->phase = DURABLE;
        return WR_IMAGE_MORE;
    }
    if (w->staging->io == NULL) {
        int result = w->env->fsync(w->env->self, w->file);
        if (result < 0) fail(w, -result, "write");
    } else {
        wr_io_op op = {.kind = WR_IO_SYNC, .file = w->file, .tag = UINT64_MAX};
        int      result = w->env->io_submit(w->env->self, w->staging->io, &op);
        if (result == -EAGAIN) return WR_IMAGE_WAIT;
        if (result != 0)
            fail(w, -result, "write");
        else
            w->flying++;
    }
    if (w->phase != FAILED) w->phase = SYNC;
    return WR_IMAGE_MORE;
}

static enum wr_image_step finish(wr_image_writer *w)
{
    if (w->flying != 0) return WR_IMAGE_WAIT;
    int result = w->env->close(w->env->self, w->file);
    w->file = -1;
    if (result < 0)
        fail(w, -result, "close");
    else
        w->phase = DURABLE;
    return WR_IMAGE_MORE;
}

/* ---- the interface ----------------------------------------------------------------------------------------------- */

wr_err wr_image_writer_new(wr_image_writer **take, const wr_image_config *config, wr_errinfo *info)
{
    *take = NULL;
    wr_image_writer *w = calloc(1, sizeof *w);
    if (w != NULL) w->hasher = wr_image_hasher_new();
    if (w == NULL || w->hasher == NULL) {
        free(w);
        return wr_fail(info, WR_MEMORY, "out of memory: a snapshot file");
    }
    check(strlen(config->name) < sizeof w->name);
    w->env = config->env;
    w->parker = config->parker;
    w->file = w->created = -1;
    w->buffer = BUFFERS;
    w->block = UINT64_MAX;
    snprintf(w->name, sizeof w->name, "%s", config->name);
    int n = snprintf(w->path, sizeof w->path, "%s/%s", config->folder, config->name);
    if (n < 0 || (size_t)n >= sizeof w->path) {
        wr_image_writer_free(w);
        return wr_fail(info, WR_LIMIT, "a path is longer than %d bytes; snapshot folder %.200s; choose a shorter one",
                       WR_PATH_BYTES_MAX, config->folder);
    }
    wr_image_head *head = &w->head;
    memcpy(head->magic, WR_IMAGE_MAGIC, sizeof head->magic);
    head->version = WR_IMAGE_VERSION;
    head->id = config->barrier.id;
    head->base = config->barrier.base;
    head->epoch = config->barrier.epoch;
    head->kind = config->barrier.kind;
    snprintf(head->job, sizeof head->job, "%s", config->job);
    snprintf(head->lineage, sizeof head->lineage, "%s", config->lineage);
    snprintf(head->weir, sizeof head->weir, "%s", WR_VERSION);
    head->lineage_hash = wr_image_lineage_hash(head->lineage);
    w->created = config->file > 0 ? config->file : -1;
    w->raced = config->raced;
    *take = w;
    return WR_OK;
}

wr_err wr_image_writer_add(wr_image_writer *w, const char *uid, wr_table *table, bool full, wr_errinfo *info)
{
    check(w->phase == CAPTURE && w->file < 0 && w->parts < WR_CHAIN_MAX && strlen(uid) <= WR_NAME_BYTES_MAX);
    part *more = realloc(w->part, (w->parts + 1) * sizeof *more);
    if (more != NULL) w->part = more;
    uint64_t *start = calloc(table->groups, sizeof *start);
    if (more == NULL || start == NULL || !wr_table_strings(table)) {
        free(start);
        return wr_fail(info, WR_MEMORY, "out of memory: a snapshot of operator %s", uid);
    }
    wr_err err = w->staging == NULL ? staging_of(table, w->env, w->parker, info) : WR_OK;
    if (w->staging == NULL) {
        w->staging = table->staging;
        w->large = table->entries.huge;
    }
    check(w->parts == 0 || w->apart == table->entries.capture.apart);
    w->apart = table->entries.capture.apart;
    if (err == WR_OK) err = wr_capture_begin(table, full, info);
    if (err != WR_OK) {
        free(start);
        return err;
    }
    w->part[w->parts++] = (part){.uid = uid, .table = table, .full = full, .start = start, .end = UINT64_MAX};
    if (!full) w->head.increment = 1;
    return WR_OK;
}

/* A buffer of one page is one piece of memory for the kernel and the disk; one of 256 small pages costs both of them
 * time. Not for small tables: they would need 2 MiB where some KiB do. */
static void staging_huge(staging *s, bool large)
{
    if (s->huge || !large) return;
    s->huge = true;
    wr_mem_discard(s->base, BUFFERS * WR_IMAGE_BLOCK_BYTES); /* else what was touched already stays small */
    wr_mem_huge(s->base, BUFFERS * WR_IMAGE_BLOCK_BYTES);
}

/* The file, and its first page. */
static bool begin_file(wr_image_writer *w)
{
    w->file = w->created >= 0 ? w->created : wr_image_open_write(w->env, w->path, WR_IMAGE_NEW);
    if (w->file == -EEXIST && w->raced) w->file = wr_image_open_write(w->env, w->path, 0);
    w->created = -1;
    if (w->file < 0) {
        int number = -w->file;
        w->file = -1;
        fail(w, number, "create");
        return false;
    }
    check(w->staging != NULL);
    staging_huge(w->staging, w->large);
    staging_queue(w->staging);
    check(have_buffer(w));
    wr_image_hash(&w->head, offsetof(wr_image_head, hash), w->head.hash);
    memcpy(place(w), &w->head, sizeof w->head);
    w->fill = sizeof w->head;
    return true;
}

enum wr_image_step wr_image_writer_step(wr_image_writer *w, uint64_t quantum, wr_errinfo *info)
{
    uint64_t           looked = 0;
    enum wr_image_step step = WR_IMAGE_MORE;
    if (w->phase == CAPTURE && w->file < 0) (void)begin_file(w);
    reap(w);
    while (w->phase < DURABLE && step == WR_IMAGE_MORE) {
        if (looked >= quantum && w->phase <= FOOTER) return WR_IMAGE_MORE;
        step = w->phase == CAPTURE  ? capture(w, &looked)
               : w->phase == FOOTER ? put_footer(w, &looked)
               : w->phase == DRAIN  ? drain(w)
                                    : finish(w);
    }
    if (w->phase == FAILED) {
        wr_fail(info, w->error.code, "%s", w->error.text);
        return WR_IMAGE_FAILED;
    }
    if (w->phase == DURABLE) return WR_IMAGE_DURABLE;
    return looked != 0 ? WR_IMAGE_MORE : WR_IMAGE_WAIT;
}

bool wr_image_writer_captured(const wr_image_writer *w)
{
    return atomic_load_explicit(&w->taken, memory_order_acquire);
}

void wr_image_writer_settle(wr_image_writer *w)
{
    check(wr_image_writer_captured(w));
    end_captures(w);
}

uint64_t wr_image_writer_undo_bytes(const wr_image_writer *w)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < w->parts; i++) bytes += w->part[i].captured ? 0 : wr_capture_undo_bytes(w->part[i].table);
    return bytes;
}

uint64_t wr_image_writer_changed(const wr_image_writer *w)
{
    return w->changed;
}

void wr_image_writer_result(const wr_image_writer *w, wr_state_file *file, uint64_t *bytes_full)
{
    check(w->phase == DURABLE && w->parts != 0);
    *file = (wr_state_file){.bytes = w->file_at, .increment = w->head.increment != 0};
    snprintf(file->name, sizeof file->name, "%s", w->name);
    memcpy(file->hash, w->tail_hash, sizeof file->hash);
    file->group_first = w->part[0].table->config.group_first;
    file->group_end = w->part[0].table->config.group_end;
    *bytes_full = 0;
    for (uint32_t i = 0; i < w->parts; i++) *bytes_full += w->part[i].bytes;
}

void wr_image_writer_free(wr_image_writer *w)
{
    if (w == NULL) return;
    end_captures(w);
    if (w->flying != 0) { /* its buffers are still being read: io_free waits, and the next writer makes a new queue */
        w->env->io_free(w->env->self, w->staging->io);
        w->staging->io = NULL;
    }
    if (w->file < 0) w->file = w->created; /* it never came to that */
    if (w->file >= 0) (void)w->env->close(w->env->self, w->file);
    bool made = w->file >= 0 || (w->phase == FAILED && w->file_at != 0);
    if (made && w->phase != DURABLE) (void)w->env->unlink(w->env->self, w->path);
    for (uint32_t i = 0; i < w->parts; i++) {
        free(w->part[i].start);
        free(w->part[i].layout.at);
        free(w->part[i].groups.at);
    }
    free(w->part);
    free(w->blocks.at);
    free(w->footer.at);
    wr_image_hasher_free(w->hasher);
    free(w);
}
