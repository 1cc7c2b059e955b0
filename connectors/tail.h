/* connectors/tail.h: where to go on behind what a killed process has written. */
#ifndef WR_CONNECTORS_TAIL_H
#define WR_CONNECTORS_TAIL_H
#include "base/env.h"
#include "connectors/format.h"

/* Where the last whole record ends, of a file of `bytes` bytes that sinks with this codec have written; a header line
 * counts as one. It reads from the end where a line break can only be the end of a record, else all of the file.
 * -errno; -EBADMSG: these are not such records. */
int64_t wr_tail_find(const wr_env *env, int file, const wr_codec *codec, int64_t bytes);

#endif
