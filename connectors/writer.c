/* connectors/writer.c: a buffer of whole records before a file. */
#include "connectors/writer.h"
#include <errno.h>
#include <poll.h>
#include <stdlib.h>

enum { WAIT_MS = 100 };

bool wr_writer_open(wr_writer *writer, weir_ctx *ctx, size_t full)
{
    writer->codec = wr_host_codec(ctx);
    if (writer->codec == NULL) return false;
    writer->full = writer->bytes = full;
    writer->buffer = malloc(writer->bytes);
    if (writer->buffer != NULL) return true;
    wr_host_fail_errno(ctx, ENOMEM, "write", writer->path, "free some memory");
    return false;
}

void wr_writer_close(wr_writer *writer)
{
    wr_codec_free(writer->codec);
    free(writer->buffer);
    memset(writer, 0, sizeof *writer);
}

/* Until whoever reads has made room. It may stand still: then a cancel ends the wait. */
static bool wait_for_room(wr_writer *writer, weir_ctx *ctx)
{
    struct pollfd ready = {.fd = writer->file, .events = POLLOUT};
    while (poll(&ready, 1, WAIT_MS) <= 0) {
        if (!wr_home_canceled(wr_host_op(ctx)->home)) continue;
        writer->broken = true;
        writer->used = 0;
        wr_op_fail(wr_host_op(ctx), WR_CANCELED, "canceled, while nobody reads what is written to %s; sink %s",
                   writer->path, wr_host_endpoint(ctx)->name);
        return false;
    }
    return true;
}

bool wr_writer_flush(wr_writer *writer, weir_ctx *ctx)
{
    const wr_env *env = wr_host_env(ctx);
    size_t        done = 0;
    if (writer->broken) return false;
    while (done < writer->used) {
        if (writer->waits && !wait_for_room(writer, ctx)) return false;
        int64_t n = env->write(env->self, writer->file, writer->buffer + done, writer->used - done);
        if (n == -EAGAIN) { /* somebody made it non-blocking */
            if (!wait_for_room(writer, ctx)) return false;
            continue;
        }
        if (n < 0) {
            writer->broken = true;
            writer->used = 0;
            wr_host_fail_errno(ctx, (int)-n, "write", writer->path,
                               n == -ENOSPC ? "make room on the disk" : "check where it goes");
            return false;
        }
        done += (size_t)n;
        writer->written += (uint64_t)n;
    }
    writer->used = 0;
    return true;
}

/* Room for one record of at most n bytes. */
static bool make_room(wr_writer *writer, weir_ctx *ctx, size_t n)
{
    if (writer->used > 0 && writer->used + n > writer->full && !wr_writer_flush(writer, ctx)) return false;
    if (writer->used + n <= writer->bytes) return true;
    char *more = realloc(writer->buffer, writer->used + n);
    if (more == NULL) {
        wr_host_fail_errno(ctx, ENOMEM, "write", writer->path, "free some memory");
        return false;
    }
    writer->buffer = more;
    writer->bytes = writer->used + n;
    return true;
}

void wr_writer_put(wr_writer *writer, weir_ctx *ctx)
{
    const wr_codec *codec = writer->codec;
    const char     *record = ctx->in;
    if (writer->broken) return;
    for (uint32_t i = 0; i < ctx->n; i++, record += codec->type->size) {
        size_t bound = codec->format->bound(codec, record) + writer->prefix_bytes;
        if (writer->used + bound > writer->full && !make_room(writer, ctx, bound)) return;
        char *to = writer->buffer + writer->used;
        memcpy(to, writer->prefix, writer->prefix_bytes);
        writer->used = (size_t)(codec->format->encode(codec, record, to + writer->prefix_bytes) - writer->buffer);
    }
}

bool wr_writer_header(wr_writer *writer, weir_ctx *ctx)
{
    if (!writer->codec->header || writer->codec->format != &wr_format_csv) return true;
    if (!make_room(writer, ctx, wr_csv_header_bound(writer->codec))) return false;
    writer->used = (size_t)(wr_csv_header(writer->codec, writer->buffer + writer->used) - writer->buffer);
    return true;
}
