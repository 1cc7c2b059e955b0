/* connectors/reader.h: bytes in, records out: what files and standard input have in common.
 *
 * A reader holds a window of the input. Its owner puts bytes behind the window between two polls and says where in it
 * the next record lies; records point into the window, which stays untouched until the next poll. */
#ifndef WR_CONNECTORS_READER_H
#define WR_CONNECTORS_READER_H
#include "connectors/host.h"

#define WR_READER_BYTES WR_KIB(64) /* the first window: little beside what a second-level cache holds */

typedef struct wr_reader wr_reader;

/* Owner: one open split, on the thread of its loops. Zero is closed. */
struct wr_reader {
    wr_codec *codec;
    char     *memory, *buffer; /* buffer lies in memory with room before and behind it */
    size_t    bytes;           /* of buffer */
    size_t    begin, end;      /* the next record begins at begin; bytes are there up to end */
    size_t    record_max;      /* bytes of a record, as it is in the input */
    uint64_t  lines;           /* line ends passed since the owner took this number last */
    bool      ended;           /* the input has no bytes behind end */
    bool      skipping;        /* begin lies in a record that nobody wants: go on behind the next line end */
    bool      skip_blank;      /* lines without a byte are no records */
    char     *scratch;
    size_t    scratch_bytes;
    /* Names the place of the record at buffer[at], for people. */
    void (*place)(const wr_reader *reader, weir_ctx *ctx, size_t at, char *text, size_t n);
    wr_layout layout;
};

enum wr_read {
    WR_READ_FULL,   /* the output has no room left */
    WR_READ_HUNGRY, /* the window ends within a record */
    WR_READ_DONE,   /* no further record begins below the limit */
    WR_READ_FAILED, /* the task has failed */
};

/* False after it has failed the task. wr_reader_close takes a reader that was never opened, or failed to. */
bool wr_reader_open(wr_reader *reader, weir_ctx *ctx);
void wr_reader_close(wr_reader *reader);

/* Between two polls only: where further bytes go. Drops what lies before begin: *dropped bytes. At least one byte of
 * room, or NULL after it has failed the task. */
char *wr_reader_space(wr_reader *reader, weir_ctx *ctx, size_t *room, size_t *dropped);

/* Emits records that begin below buffer[limit]. */
enum wr_read wr_reader_emit(wr_reader *reader, weir_ctx *ctx, weir_out *out, size_t limit);

#endif
