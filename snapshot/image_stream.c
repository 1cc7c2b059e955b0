/* snapshot/image_stream.c: blocks of a file with several reads under way, and the pieces in them, in order. */
#include "base/check.h"
#include "base/mem.h"
#include "snapshot/image_inner.h"
#include <errno.h>
#include <stdlib.h>

#define READS           8u
#define QUEUE_MIN_BYTES (UINT64_C(8) << 20) /* below, a queue does not pay */

wr_err wr_image_reads_init(wr_image_reads *reads, const wr_env *env, wr_errinfo *info)
{
    *reads = (wr_image_reads){.env = env, .base = wr_mem_reserve(READS * WR_IMAGE_BLOCK_BYTES)};
    if (reads->base == NULL) return wr_fail(info, WR_MEMORY, "no memory to read a snapshot");
    return WR_OK;
}

void wr_image_reads_fini(wr_image_reads *reads)
{
    if (reads->io != NULL) reads->env->io_free(reads->env->self, reads->io);
    if (reads->has_parker) reads->env->parker_fini(reads->env->self, &reads->parker);
    wr_mem_release(reads->base, READS * WR_IMAGE_BLOCK_BYTES);
    *reads = (wr_image_reads){0};
}

static void want_queue(wr_image_reads *reads)
{
    const wr_env *env = reads->env;
    if (reads->io != NULL || env->io_new == NULL) return;
    if (!reads->has_parker) reads->has_parker = env->parker_init(env->self, &reads->parker) == 0;
    wr_io *io = NULL;
    if (reads->has_parker && env->io_new(env->self, &io, &reads->parker, READS) == 0) reads->io = io;
}

/* ---- blocks ------------------------------------------------------------------------------------------------------ */

/* Blocks [next, end) of a file; block i goes to buffer i % READS. */
typedef struct stream {
    wr_image_file  *f;
    wr_image_reads *reads;
    bool            queued;
    uint32_t        asked, end;    /* asked: the next to be asked for */
    uint32_t        flying, ready; /* ready: bit per buffer */
} stream;

static char *buffer_of(const stream *s, uint32_t block)
{
    return s->reads->base + block % READS * WR_IMAGE_BLOCK_BYTES;
}

static wr_err ask(stream *s, uint32_t up_to, wr_errinfo *info)
{
    const wr_env *env = s->reads->env;
    for (; s->asked < s->end && s->asked < up_to; s->asked++) {
        const wr_footer_block *b = &s->f->block[s->asked];
        wr_io_op               op = {.kind = WR_IO_READ,
                                     .file = s->f->file,
                                     .at = buffer_of(s, s->asked),
                                     .bytes = b->size,
                                     .offset = (int64_t)b->at,
                                     .tag = s->asked};
        int                    result = env->io_submit(env->self, s->reads->io, &op);
        if (result == -EAGAIN) return WR_OK;
        if (result < 0) return wr_fail_errno(info, -result, "cannot read %s", s->f->path);
        s->flying++;
    }
    return WR_OK;
}

static wr_err reap(stream *s, wr_errinfo *info)
{
    const wr_env *env = s->reads->env;
    wr_io_done    done[READS];
    uint32_t      n = env->io_reap(env->self, s->reads->io, done, READS);
    wr_err        err = WR_OK;
    for (uint32_t i = 0; i < n; i++) {
        const wr_footer_block *b = &s->f->block[done[i].tag];
        s->flying--;
        s->ready |= 1u << (done[i].tag % READS);
        if (done[i].result < 0)
            err = wr_fail_errno(info, (int)-done[i].result, "cannot read %s; offset %llu", s->f->path,
                                (unsigned long long)b->at);
        else if (done[i].result != b->size)
            err = wr_image_damaged(s->f, b->at + (uint64_t)done[i].result, info, "the file ends here");
    }
    return err;
}

static wr_err wait_for(stream *s, uint32_t block, wr_errinfo *info)
{
    const wr_env *env = s->reads->env;
    while ((s->ready >> (block % READS) & 1) == 0) {
        WR_TRY(ask(s, block + READS, info));
        wr_parker_prepare(&s->reads->parker);
        wr_err   err = reap(s, info);
        uint32_t bit = s->ready >> (block % READS) & 1;
        if (err != WR_OK || bit != 0)
            wr_parker_cancel(&s->reads->parker);
        else
            env->park(env->self, &s->reads->parker, WR_PARK_NS_MAX);
        WR_TRY(err);
    }
    s->ready &= ~(1u << (block % READS));
    return WR_OK;
}

/* The block's bytes, checked; they stay until the next call. The one before is done with. */
static wr_err get_block(stream *s, uint32_t block, const char **bytes, wr_errinfo *info)
{
    const wr_footer_block *b = &s->f->block[block];
    char                  *at = buffer_of(s, block);
    if (s->queued) {
        WR_TRY(wait_for(s, block, info));
        WR_TRY(ask(s, block + READS, info));
    } else {
        WR_TRY(wr_image_file_read(s->f, at, b->size, b->at, info));
    }
    wr_image_block head;
    WR_TRY(wr_image_block_check(s->f, at, b->size, b->at, WR_IMAGE_PAYLOAD, block, info));
    memcpy(&head, at, sizeof head);
    if (memcmp(head.hash, b->hash, sizeof head.hash) != 0 || head.bytes != b->bytes)
        return wr_image_damaged(s->f, b->at, info, "block %u is not the one that the footer names", block);
    *bytes = at + sizeof head;
    return WR_OK;
}

/* Reads under way write to our buffers: they must end, whatever went wrong. */
static void stop(stream *s)
{
    if (s->flying == 0) return;
    s->reads->env->io_free(s->reads->env->self, s->reads->io);
    s->reads->io = NULL;
}

/* ---- pieces ------------------------------------------------------------------------------------------------------ */

const char *wr_piece_problem(const wr_piece *piece, uint64_t n)
{
    if (n < sizeof *piece || piece->bytes > n - sizeof *piece || piece->bytes % 8 != 0) return "a piece is cut off";
    bool shape = piece->stride != 0 && piece->stride % 8 == 0 && piece->entries != 0 && piece->picked != 0 &&
                 piece->picked <= piece->entries && piece->entries <= WR_REGION_BYTES / 8 && piece->zero == 0 &&
                 piece->form >= WR_PIECE_FULL && piece->form <= WR_PIECE_POSITIONS &&
                 (piece->form != WR_PIECE_FULL || piece->picked == piece->entries);
    if (!shape) return "a piece makes no sense";
    uint64_t    index = wr_piece_index_bytes(piece->form, piece->entries, piece->picked);
    const char *at = (const char *)(piece + 1);
    if (index + (uint64_t)piece->picked * piece->stride != piece->bytes) return "a piece has a wrong length";
    uint32_t picked = 0;
    for (uint32_t i = 0; piece->form == WR_PIECE_BITS && i < index / 8; i++) {
        uint64_t word, left = piece->entries - (uint64_t)i * 64;
        memcpy(&word, at + (uint64_t)i * 8, 8);
        if (left < 64 && word >> left != 0) return "a piece names entries that it has not";
        picked += (uint32_t)__builtin_popcountll(word);
    }
    if (piece->form == WR_PIECE_BITS && picked != piece->picked) return "a piece names entries that it has not";
    for (uint32_t i = 0, before = 0; piece->form == WR_PIECE_POSITIONS && i < piece->picked; i++) {
        uint16_t position;
        memcpy(&position, at + (uint64_t)i * 2, 2);
        if (position >= piece->entries || (i != 0 && position <= before))
            return "a piece names entries that it has not";
        before = position;
    }
    return "";
}

/* Where a walk through the payload is: entries below `next` of a table's group's family have come. */
typedef struct walk {
    wr_image_file *f;
    uint32_t       table, group, family, next; /* group: absolute */
} walk;

/* On to a family of a group; everything before it must be there. False: a full image lacks something. */
static bool go_on(walk *w, uint32_t table, uint32_t group, uint32_t family)
{
    for (;;) {
        if (w->table == table && w->group == group && w->family == family) return true;
        const wr_footer_table *t = &w->f->table[w->table];
        if (!t->increment && w->next != wr_footer_count(t, w->group, w->family)) return false;
        w->next = 0;
        if (++w->family < t->families) continue;
        w->family = 0;
        if (++w->group < t->group_end) continue;
        if (w->table == table) return group == t->group_end; /* the end of a range */
        if (++w->table == w->f->tables) return table == w->table;
        w->group = t[1].group_first;
    }
}

static bool is_behind(const walk *w, const wr_piece *piece)
{
    if (piece->table != w->table) return piece->table > w->table;
    if (piece->group != w->group) return piece->group > w->group;
    if (piece->family != w->family) return piece->family > w->family;
    return piece->first >= w->next;
}

/* The piece at `place` is right where the footer says that it may be. */
static const char *piece_problem(walk *w, const wr_piece *piece, uint64_t n, uint64_t place)
{
    const char *problem = wr_piece_problem(piece, n);
    if (problem[0] != 0) return problem;
    if (piece->table >= w->f->tables) return "a piece of no table";
    const wr_footer_table *t = &w->f->table[piece->table];
    if (piece->group < t->group_first || piece->group >= t->group_end || piece->family >= t->families ||
        t->stride[piece->family] != piece->stride)
        return "a piece of no group";
    const wr_footer_group *g = &t->group[piece->group - t->group_first];
    uint32_t               count = wr_footer_count(t, piece->group, piece->family);
    if (place < g->start || place >= g[1].start) return "a piece in a wrong place";
    if (piece->first >= count || piece->entries > count - piece->first) return "a piece of too many entries";
    if (!is_behind(w, piece)) return "pieces out of order";
    if (!go_on(w, piece->table, piece->group, piece->family)) return "entries are missing";
    if (!t->increment && (piece->form != WR_PIECE_FULL || piece->first != w->next)) return "entries are missing";
    w->next = piece->first + piece->entries;
    return "";
}

static wr_err one_block(walk *w, uint32_t block, const char *bytes, uint32_t from, uint32_t to, wr_image_each *each,
                        void *arg, wr_errinfo *info)
{
    for (uint64_t at = from; at < to;) {
        const wr_piece *piece = (const wr_piece *)(const void *)(bytes + at);
        const char     *problem = piece_problem(w, piece, to - at, (uint64_t)block << 32 | at);
        if (problem[0] != 0)
            return wr_image_damaged(w->f, w->f->block[block].at + sizeof(wr_image_block) + at, info, "%s", problem);
        WR_TRY(each(arg, piece, info));
        at += sizeof *piece + piece->bytes;
    }
    return WR_OK;
}

wr_err wr_image_pieces(wr_image_file *f, wr_image_reads *reads, const wr_image_range *range, wr_image_each *each,
                       void *arg, wr_errinfo *info)
{
    uint64_t from = 0, to = (uint64_t)f->blocks << 32;
    walk     w = {.f = f};
    if (range != NULL) {
        const wr_footer_table *t = &f->table[range->table];
        w.table = range->table;
        w.group = range->group_first;
        from = t->group[range->group_first - t->group_first].start;
        to = t->group[range->group_end - t->group_first].start;
    } else if (f->tables != 0) {
        w.group = f->table[0].group_first;
    }
    uint32_t first = (uint32_t)(from >> 32), end = (uint32_t)(to >> 32) + ((uint32_t)to != 0);
    stream   s = {.f = f, .reads = reads, .asked = first, .end = end};
    wr_err   err = WR_OK;
    if (end > first && f->block[end - 1].at + f->block[end - 1].size - f->block[first].at >= QUEUE_MIN_BYTES)
        want_queue(reads);
    s.queued = reads->io != NULL;
    for (uint32_t i = first; i < end && err == WR_OK && from < to; i++) {
        const char *bytes = NULL;
        uint32_t    begin = i == first ? (uint32_t)from : 0;
        uint32_t    stop_at = i == (uint32_t)(to >> 32) ? (uint32_t)to : f->block[i].bytes;
        err = get_block(&s, i, &bytes, info);
        if (err == WR_OK) err = one_block(&w, i, bytes, begin, stop_at, each, arg, info);
    }
    stop(&s);
    if (err != WR_OK || f->tables == 0) return err;
    bool all = range == NULL ? go_on(&w, f->tables, 0, 0) : go_on(&w, range->table, range->group_end, 0);
    return all ? WR_OK : wr_image_damaged(f, f->tail->footer_at, info, "entries are missing");
}
