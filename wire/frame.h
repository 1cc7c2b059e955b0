/* wire/frame.h: what every file of ours that is written at once has around its body: 8 bytes of magic, version and
 * flags (4 each, little endian), length of the body (8), the body, xxh3-128 of all before it (16). Later versions keep
 * it, so that damage and a newer version can be told apart. Pure. */
#ifndef WR_WIRE_FRAME_H
#define WR_WIRE_FRAME_H
#include "base/error.h"
#include "wire/pack.h"

enum { WR_FRAME_HEAD_BYTES = 24, WR_FRAME_TAIL_BYTES = 16 };

typedef struct wr_frame {
    uint32_t    version;
    const char *body;
    size_t      bytes;
} wr_frame;

void wr_frame_begin(wr_pack *p, const char magic[8], uint32_t version); /* p is empty */
void wr_frame_end(wr_pack *p);
/* WR_DAMAGED or, above `version`, WR_NEWER. `what` ("manifest") and the file's name are for messages. */
wr_err wr_frame_open(wr_frame *frame, const char magic[8], uint32_t version, const char *what, const char *bytes,
                     size_t n, const char *name, wr_errinfo *info);

#endif
