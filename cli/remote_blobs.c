/* Files on their way to and from the JobManager, named by their SHA-256, a piece per message and answer. */
#include "base/check.h"
#include "cli/remote.h"
#include "net/mac.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *bare_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static wr_err too_large(const char *path, uint64_t bytes, wr_errinfo *info)
{
    return wr_fail(info, WR_LIMIT, "%s is too large to be shipped: %llu bytes, at most %llu", path,
                   (unsigned long long)bytes, (unsigned long long)WR_BLOB_BYTES_MAX);
}

/* Only what has an end, and will be the same when it is read again: no pipe, no device. */
static wr_err open_file(const char *path, FILE **take, wr_errinfo *info)
{
    struct stat about;
    int         fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return wr_fail_errno(info, errno, "cannot read %s", path);
    wr_err err = WR_OK;
    if (fstat(fd, &about) != 0)
        err = wr_fail_errno(info, errno, "cannot look at %s", path);
    else if (!S_ISREG(about.st_mode))
        err = wr_fail(info, WR_CONFIG, "%s is no regular file: only such can be shipped", path);
    else if ((uint64_t)about.st_size > WR_BLOB_BYTES_MAX)
        err = too_large(path, (uint64_t)about.st_size, info);
    *take = err == WR_OK ? fdopen(fd, "r") : NULL;
    if (err == WR_OK && *take == NULL) err = wr_fail_errno(info, errno, "cannot read %s", path);
    if (err != WR_OK) close(fd);
    return err;
}

wr_err wr_blob_describe(const char *path, wr_blob_ref *ref, wr_errinfo *info)
{
    FILE *file;
    WR_TRY(open_file(path, &file, info));
    char      *piece = malloc(WR_BLOB_PIECE_BYTES);
    wr_sha256 *sum = wr_sha256_new();
    size_t     n = 0;
    ref->name = bare_name(path);
    ref->bytes = 0;
    while (piece != NULL && ref->bytes <= WR_BLOB_BYTES_MAX && (n = fread(piece, 1, WR_BLOB_PIECE_BYTES, file)) > 0) {
        wr_sha256_add(sum, piece, n);
        ref->bytes += n;
    }
    bool broken = ferror(file) != 0;
    int  why = errno;
    wr_sha256_end(sum, ref->digest);
    fclose(file);
    if (piece == NULL) return wr_fail(info, WR_MEMORY, "no memory to read %s", path);
    free(piece);
    if (broken) return wr_fail_errno(info, why, "cannot read %s", path);
    return ref->bytes > WR_BLOB_BYTES_MAX ? too_large(path, ref->bytes, info) : WR_OK;
}

static wr_err put_pieces(wr_link *l, FILE *file, char *piece, const char *path, const wr_blob_ref *ref,
                         wr_errinfo *info)
{
    uint64_t   at = 0;
    wr_message m = {.kind = WR_MSG_BLOB_PUT}, reply;
    memcpy(m.blob.digest, ref->digest, sizeof ref->digest);
    m.blob.bytes = ref->bytes;
    do {
        if (fseeko(file, (off_t)at, SEEK_SET) != 0) return wr_fail_errno(info, errno, "cannot read %s", path);
        size_t n = fread(piece, 1, WR_BLOB_PIECE_BYTES, file);
        if (ferror(file) != 0) return wr_fail_errno(info, errno, "cannot read %s", path);
        if (at + n > ref->bytes || (n == 0 && ref->bytes > 0))
            return wr_fail(info, WR_IO, "%s changed while it was sent", path);
        m.blob.offset = at;
        m.blob.data = piece;
        m.blob.data_bytes = (uint32_t)n;
        WR_TRY(wr_link_exchange(l, &m, &reply, info));
        wr_errinfo why = reply.reply.info;
        uint64_t   has = reply.reply.snapshot;
        bool       is_reply = reply.kind == WR_MSG_REPLY;
        wr_message_free(&reply);
        if (!is_reply) return wr_fail(info, WR_INTERNAL, "the JobManager answers a file with something else");
        if (why.code != WR_OK) return wr_fail(info, why.code, "%s", why.text);
        if (has <= at && has < ref->bytes)
            return wr_fail(info, WR_IO, "the JobManager has %llu bytes of %s after %llu were sent",
                           (unsigned long long)has, path, (unsigned long long)(at + n));
        at = has;
    } while (at < ref->bytes);
    return WR_OK;
}

wr_err wr_link_put(wr_link *l, const char *path, const wr_blob_ref *ref, wr_errinfo *info)
{
    FILE *file;
    WR_TRY(open_file(path, &file, info));
    char  *piece = malloc(WR_BLOB_PIECE_BYTES);
    wr_err err = piece == NULL ? wr_fail(info, WR_MEMORY, "no memory to send %s", path)
                               : put_pieces(l, file, piece, path, ref, info);
    free(piece);
    fclose(file);
    return err;
}

static wr_err get_pieces(wr_link *l, const wr_blob_ref *ref, FILE *file, const char *path, wr_errinfo *info)
{
    uint8_t    digest[WR_DIGEST_BYTES];
    wr_sha256 *sum = wr_sha256_new();
    wr_err     err = WR_OK;
    for (uint64_t at = 0; at < ref->bytes && err == WR_OK;) {
        wr_message m = {.kind = WR_MSG_BLOB_GET}, piece;
        memcpy(m.blob.digest, ref->digest, sizeof ref->digest);
        m.blob.bytes = ref->bytes;
        m.blob.offset = at;
        err = wr_link_exchange(l, &m, &piece, info);
        if (err != WR_OK) break;
        const wr_blob *b = &piece.blob;
        if (piece.kind != WR_MSG_BLOB || b->info.code != WR_OK)
            err = wr_fail(info, piece.kind == WR_MSG_BLOB ? b->info.code : WR_INTERNAL, "cannot fetch %s; %s",
                          ref->name,
                          piece.kind == WR_MSG_BLOB ? b->info.text : "the JobManager answers with something else");
        else if (b->offset != at || b->data_bytes == 0 || b->data_bytes > ref->bytes - at)
            err = wr_fail(info, WR_INTERNAL, "the JobManager sends another piece of %s than it was asked for",
                          ref->name);
        else if (fwrite(b->data, 1, b->data_bytes, file) != b->data_bytes)
            err = wr_fail_errno(info, errno, "cannot write %s", path);
        else
            wr_sha256_add(sum, b->data, b->data_bytes);
        at += err == WR_OK ? b->data_bytes : 0;
        wr_message_free(&piece);
    }
    wr_sha256_end(sum, digest);
    if (err == WR_OK && memcmp(digest, ref->digest, sizeof digest) != 0)
        err = wr_fail(info, WR_DAMAGED, "%s came with another content than its name says", ref->name);
    return err;
}

wr_err wr_link_get(wr_link *l, const wr_blob_ref *ref, const char *path, wr_errinfo *info)
{
    FILE *file = fopen(path, "wbe");
    if (file == NULL) return wr_fail_errno(info, errno, "cannot write %s", path);
    wr_err err = get_pieces(l, ref, file, path, info);
    if (fclose(file) != 0 && err == WR_OK) err = wr_fail_errno(info, errno, "cannot write %s", path);
    return err;
}
