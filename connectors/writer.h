/* connectors/writer.h: records in, bytes out: what print and file sinks have in common. */
#ifndef WR_CONNECTORS_WRITER_H
#define WR_CONNECTORS_WRITER_H
#include "connectors/host.h"

/* Owner: one subtask of a sink, on the thread of its loops. Zero is closed. */
typedef struct wr_writer {
    wr_codec   *codec;
    char       *buffer;
    size_t      used, bytes; /* bytes: of buffer; it grows for a record that is larger */
    size_t      full;        /* written out before a record would pass it: never in the middle of a record */
    uint64_t    written;     /* bytes given to the system; the owner begins it anew */
    int         file;        /* a descriptor of the environment; not ours to close */
    const char *path;        /* for messages */
    char        prefix[16];  /* of every record, "3> " */
    size_t      prefix_bytes;
    bool waits;  /* for room before each write, so that a reader that stands still does not hold a canceled task */
    bool broken; /* a write has failed: nothing more is tried */
} wr_writer;

/* file, path, waits and prefix are the caller's to set before. False after it has failed the task. */
bool wr_writer_open(wr_writer *writer, weir_ctx *ctx, size_t full);
void wr_writer_close(wr_writer *writer); /* drops what was not flushed */
/* The n records of ctx->in. */
void wr_writer_put(wr_writer *writer, weir_ctx *ctx);
bool wr_writer_header(wr_writer *writer, weir_ctx *ctx);
/* Gives everything to the system. False after it has failed the task. */
bool wr_writer_flush(wr_writer *writer, weir_ctx *ctx);

#endif
