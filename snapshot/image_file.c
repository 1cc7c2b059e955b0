/* snapshot/image_file.c: opening a file with keyed state: head, tail and footer. Nothing of it is believed before its
 * checksum was right. */
#include "snapshot/image_inner.h"
#include "snapshot/rows.h"
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

wr_err wr_image_damaged(const wr_image_file *f, uint64_t offset, wr_errinfo *info, const char *format, ...)
{
    char    text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return wr_fail(info, WR_DAMAGED, "%s: %s; offset %llu; restore another snapshot", f->path, text,
                   (unsigned long long)offset);
}

wr_err wr_image_file_read(const wr_image_file *f, void *to, size_t n, uint64_t offset, wr_errinfo *info)
{
    char *at = to;
    while (n > 0) {
        int64_t got = f->env->pread(f->env->self, f->file, at, n, (int64_t)offset);
        if (got < 0)
            return wr_fail_errno(info, (int)-got, "cannot read %s; offset %llu", f->path, (unsigned long long)offset);
        if (got == 0) return wr_image_damaged(f, offset, info, "the file ends here");
        at += got;
        offset += (uint64_t)got;
        n -= (size_t)got;
    }
    return WR_OK;
}

wr_err wr_image_block_check(const wr_image_file *f, const char *block, uint64_t size, uint64_t at, uint32_t kind,
                            uint32_t sequence, wr_errinfo *info)
{
    wr_image_block head;
    uint64_t       hash[2];
    memcpy(&head, block, sizeof head);
    wr_image_block_hash(block, size, hash);
    if (memcmp(hash, head.hash, sizeof hash) != 0)
        return wr_image_damaged(f, at, info, "the checksum of block %u is wrong", sequence);
    if (head.magic != WR_IMAGE_BLOCK_MAGIC || head.kind != kind || head.sequence != sequence || head.at != at ||
        head.id != f->tail->id || head.lineage_hash != f->tail->lineage_hash)
        return wr_image_damaged(f, at, info, "block %u belongs to another file or place", sequence);
    if (head.bytes > size - sizeof head || size - sizeof head - head.bytes >= WR_PAGE_BYTES)
        return wr_image_damaged(f, at, info, "block %u has a wrong length", sequence);
    return WR_OK;
}

/* ---- head and tail ----------------------------------------------------------------------------------------------- */

static bool ends_in_zeros(const char *bytes, size_t n)
{
    while (n > 0 && bytes[n - 1] == 0) n--;
    return n == 0;
}

static wr_err read_tail(wr_image_file *f, uint64_t size, const wr_state_file *state, wr_errinfo *info)
{
    wr_image_tail *tail = f->tail;
    uint64_t       hash[2], at = size - sizeof *tail;
    WR_TRY(wr_image_file_read(f, tail, sizeof *tail, at, info));
    wr_image_hash(tail, offsetof(wr_image_tail, hash), hash);
    if (memcmp(tail->magic, WR_IMAGE_TAIL_MAGIC, sizeof tail->magic) != 0)
        return wr_image_damaged(f, at, info, "it does not end as a file with keyed state");
    if (memcmp(hash, tail->hash, sizeof hash) != 0)
        return wr_image_damaged(f, at, info, "the checksum of the last page is wrong");
    if (tail->version > WR_IMAGE_VERSION)
        return wr_fail(info, WR_NEWER, "%s has version %u of the format; this Weir reads %u; use a newer one", f->path,
                       tail->version, WR_IMAGE_VERSION);
    if (memcmp(tail->hash, state->hash, sizeof hash) != 0)
        return wr_image_damaged(f, at, info, "it is not the file that the manifest names: the checksum differs");
    if (tail->version == 0 || tail->file_bytes != size || tail->footer_at < WR_PAGE_BYTES || tail->footer_at > at ||
        tail->footer_at % WR_PAGE_BYTES != 0 || tail->footer_bytes == 0 || tail->footer_bytes > at - tail->footer_at ||
        tail->footer_bytes > WR_IMAGE_FOOTER_MAX)
        return wr_image_damaged(f, at, info, "its lengths do not fit");
    return WR_OK;
}

static wr_err read_head(wr_image_file *f, const wr_state_file *state, wr_errinfo *info)
{
    wr_image_head *head = f->head;
    uint64_t       hash[2];
    WR_TRY(wr_image_file_read(f, head, sizeof *head, 0, info));
    wr_image_hash(head, offsetof(wr_image_head, hash), hash);
    if (memcmp(head->magic, WR_IMAGE_MAGIC, sizeof head->magic) != 0)
        return wr_image_damaged(f, 0, info, "it does not begin as a file with keyed state");
    if (memcmp(hash, head->hash, sizeof hash) != 0 || memcmp(hash, f->tail->head_hash, sizeof hash) != 0)
        return wr_image_damaged(f, 0, info, "the checksum of the first page is wrong");
    bool ends = memchr(head->job, 0, sizeof head->job) != NULL &&
                memchr(head->lineage, 0, sizeof head->lineage) != NULL &&
                memchr(head->weir, 0, sizeof head->weir) != NULL;
    if (!ends || head->version != f->tail->version || head->id != f->tail->id ||
        head->lineage_hash != f->tail->lineage_hash || head->lineage_hash != wr_image_lineage_hash(head->lineage) ||
        head->increment > 1 || (head->increment != 0) != state->increment ||
        !ends_in_zeros(head->zero, sizeof head->zero))
        return wr_image_damaged(f, 0, info, "first and last page are of different files");
    return WR_OK;
}

/* ---- footer ------------------------------------------------------------------------------------------------------ */

/* Its blocks' contents, one after the other, in f->footer. */
static wr_err join_footer(wr_image_file *f, char *raw, uint64_t size, wr_errinfo *info)
{
    uint64_t at = f->tail->footer_at, content = 0, n = 0;
    uint32_t first = 0;
    for (uint32_t i = 0; i < f->tail->footer_blocks; i++) {
        wr_image_block head;
        if (size - n < WR_PAGE_BYTES) return wr_image_damaged(f, at + n, info, "the footer is cut off");
        memcpy(&head, raw + n, sizeof head);
        uint64_t bytes = (sizeof head + (uint64_t)head.bytes + WR_PAGE_BYTES - 1) & ~(uint64_t)(WR_PAGE_BYTES - 1);
        if (i == 0) first = head.sequence;
        if (bytes > size - n || bytes > WR_IMAGE_BLOCK_BYTES || head.bytes > f->tail->footer_bytes - content)
            return wr_image_damaged(f, at + n, info, "the footer's block %u has a wrong length", i);
        WR_TRY(wr_image_block_check(f, raw + n, bytes, at + n, WR_IMAGE_FOOTER, first + i, info));
        memmove(f->footer + content, raw + n + sizeof head, head.bytes);
        content += head.bytes;
        n += bytes;
    }
    uint64_t hash[2];
    wr_image_hash(f->footer, content, hash);
    if (n != size || content != f->tail->footer_bytes || memcmp(hash, f->tail->footer_hash, sizeof hash) != 0)
        return wr_image_damaged(f, at, info, "the footer is not the one that the last page names");
    WR_TRY(wr_footer_read(f, f->footer, content, info));
    if (first != f->blocks) return wr_image_damaged(f, at, info, "the footer counts %u blocks", f->blocks);
    return WR_OK;
}

static wr_err read_footer(wr_image_file *f, uint64_t size, wr_errinfo *info)
{
    uint64_t bytes = size - sizeof(wr_image_tail) - f->tail->footer_at;
    char    *raw = aligned_alloc(WR_PAGE_BYTES, bytes);
    f->footer = malloc(f->tail->footer_bytes);
    wr_err err = raw == NULL || f->footer == NULL ? wr_fail(info, WR_MEMORY, "out of memory; file %s", f->path) : WR_OK;
    if (err == WR_OK) err = wr_image_file_read(f, raw, bytes, f->tail->footer_at, info);
    if (err == WR_OK) err = join_footer(f, raw, bytes, info);
    free(raw);
    return err;
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

/* Held until it is closed, so that nobody overwrites it, though its snapshot may be retired meanwhile. What has its
 * name still when it is held is not being overwritten. */
static wr_err open_held(wr_image_file *f, wr_file_info *about, wr_errinfo *info)
{
    const wr_env *env = f->env;
    f->file = env->open(env->self, f->path, WR_OPEN_READ | WR_OPEN_DIRECT);
    if (f->file == -EINVAL) f->file = env->open(env->self, f->path, WR_OPEN_READ);
    if (f->file < 0) return wr_fail_errno(info, -f->file, "cannot open %s; a snapshot names it", f->path);
    int held = env->hold(env->self, f->file, false); /* where a file system cannot, none is overwritten */
    int result = held == -EAGAIN ? -ENOENT : env->stat(env->self, f->path, about);
    if (result < 0)
        return wr_fail_errno(info, -result, "%s went while it was opened; a snapshot that was retired named it",
                             f->path);
    return WR_OK;
}

static wr_err open_file(wr_image_file *f, const wr_state_file *state, wr_errinfo *info)
{
    wr_file_info about;
    WR_TRY(open_held(f, &about, info));
    uint64_t size = (uint64_t)about.bytes;
    if (!about.is_file) return wr_fail(info, WR_DAMAGED, "%s: not a file; offset 0; restore another snapshot", f->path);
    if (size != state->bytes)
        return wr_image_damaged(f, size < state->bytes ? size : state->bytes, info,
                                "it has %llu bytes, but its snapshot says %llu", (unsigned long long)size,
                                (unsigned long long)state->bytes);
    if (size < 3 * WR_PAGE_BYTES || size % WR_PAGE_BYTES != 0) return wr_image_damaged(f, size, info, "it is cut off");
    f->head = aligned_alloc(WR_PAGE_BYTES, sizeof *f->head);
    f->tail = aligned_alloc(WR_PAGE_BYTES, sizeof *f->tail);
    if (f->head == NULL || f->tail == NULL) return wr_fail(info, WR_MEMORY, "out of memory; file %s", f->path);
    WR_TRY(read_tail(f, size, state, info));
    WR_TRY(read_head(f, state, info));
    return read_footer(f, size, info);
}

wr_err wr_image_file_open(wr_image_file *f, const wr_env *env, const char *folder, const wr_state_file *state,
                          wr_errinfo *info)
{
    *f = (wr_image_file){.env = env, .file = -1};
    if (memchr(state->name, 0, sizeof state->name) == NULL || strchr(state->name, '/') != NULL)
        return wr_fail(info, WR_DAMAGED, "%s: a file's name is wrong; offset 0; restore another snapshot", folder);
    int n = snprintf(f->path, sizeof f->path, "%s/%s", folder, state->name);
    if (n < 0 || (size_t)n >= sizeof f->path)
        return wr_fail(info, WR_LIMIT, "a path is longer than %d bytes; folder %.200s", WR_PATH_BYTES_MAX, folder);
    wr_err err = open_file(f, state, info);
    if (err != WR_OK) wr_image_file_close(f);
    return err;
}

void wr_image_file_close(wr_image_file *f)
{
    if (f->file >= 0) (void)f->env->close(f->env->self, f->file);
    for (uint32_t i = 0; f->table != NULL && i < f->tables; i++) free(f->table[i].group);
    free(f->table);
    free(f->block);
    free(f->footer);
    free(f->head);
    free(f->tail);
    f->file = -1;
    f->head = NULL;
    f->tail = NULL;
    f->footer = NULL;
    f->block = NULL;
    f->table = NULL;
}

/* ---- the whole of it --------------------------------------------------------------------------------------------- */

static wr_err nothing(void *arg, const wr_piece *piece, wr_errinfo *info)
{
    (void)arg;
    (void)piece;
    (void)info;
    return WR_OK;
}

int wr_image_first_bytes(const wr_env *env, const char *path, char first[8])
{
    size_t  n = 0;
    int64_t got = 1;
    int     file = env->open(env->self, path, WR_OPEN_READ);
    memset(first, 0, 8);
    if (file < 0) return file;
    for (; n < 8 && got > 0; n += got > 0 ? (size_t)got : 0)
        got = env->pread(env->self, file, first + n, 8 - n, (int64_t)n);
    env->close(env->self, file);
    return got < 0 ? (int)got : 0;
}

/* Whether it begins as a savepoint's file; what cannot be read is told by whoever opens it next. */
static bool holds_rows(const wr_env *env, const char *folder, const wr_state_file *file)
{
    char path[WR_PATH_BYTES_MAX], first[8];
    snprintf(path, sizeof path, "%s/%s", folder, file->name);
    return wr_image_first_bytes(env, path, first) == 0 && wr_rows_is(first);
}

wr_err wr_image_check(const wr_env *env, const char *folder, const wr_state_file *file, wr_errinfo *info)
{
    wr_image_file  f;
    wr_image_reads reads;
    if (holds_rows(env, folder, file)) return wr_rows_check(env, folder, file, info);
    WR_TRY(wr_image_file_open(&f, env, folder, file, info));
    wr_err err = wr_image_reads_init(&reads, env, info);
    if (err == WR_OK) err = wr_image_pieces(&f, &reads, NULL, nothing, NULL, info);
    wr_image_reads_fini(&reads);
    wr_image_file_close(&f);
    return err;
}
