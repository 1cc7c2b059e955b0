#include "connectors/tail.h"
#include <errno.h>
#include <stdlib.h>

enum { BLOCK_BYTES = WR_KIB(16), RECORD_BYTES = WR_KIB(64) };

/* As many as there are. */
static int64_t read_block(const wr_env *env, int file, char *to, int64_t bytes, int64_t at)
{
    int64_t done = 0;
    while (done < bytes) {
        int64_t n = env->pread(env->self, file, to + done, (size_t)(bytes - done), at + done);
        if (n < 0) return n;
        if (n == 0) break;
        done += n;
    }
    return done;
}

static int64_t behind_last_line(const wr_env *env, int file, int64_t bytes)
{
    char block[BLOCK_BYTES];
    for (int64_t end = bytes, n = 0; end > 0; end -= n) {
        n = end < (int64_t)sizeof block ? end : (int64_t)sizeof block;
        int64_t got = read_block(env, file, block, n, end - n);
        if (got < 0) return got;
        for (int64_t i = got; i > 0; i--) {
            if (block[i - 1] == '\n') return end - n + i;
        }
    }
    return 0;
}

/* Within quotes a line break is part of a string, and which quotes are open is known from the beginning only. */
static int64_t behind_last_row(const wr_env *env, int file, int64_t bytes)
{
    char    block[BLOCK_BYTES];
    int64_t whole = 0;
    bool    quoted = false;
    for (int64_t at = 0, n = 0; at < bytes; at += n) {
        n = bytes - at < (int64_t)sizeof block ? bytes - at : (int64_t)sizeof block;
        n = read_block(env, file, block, n, at);
        if (n <= 0) return n < 0 ? n : whole;
        for (int64_t i = 0; i < n; i++) {
            quoted ^= block[i] == '"';
            if (block[i] == '\n' && !quoted) whole = at + i + 1;
        }
    }
    return whole;
}

/* Where a record ends is known from where it begins. */
static int64_t behind_last_frame(const wr_env *env, int file, const wr_codec *codec, int64_t bytes)
{
    int64_t   room = RECORD_BYTES, whole = 0, result = 0;
    char     *block = malloc((size_t)room);
    wr_reason reason;
    while (block != NULL && whole < bytes && result >= 0) {
        int64_t  want = bytes - whole < room ? bytes - whole : room, at = 0;
        int64_t  n = read_block(env, file, block, want, whole);
        wr_frame frame = {.whole = 1};
        for (; n >= 0 && frame.whole > 0; at += (int64_t)frame.whole) {
            if (!codec->format->frame(codec, block + at, (size_t)(n - at), &frame, &reason)) n = -EBADMSG;
        }
        result = n;
        whole += at;
        if (n < 0 || at > 0) continue;
        if (n < room) break; /* the beginning of one */
        room *= 2;
        free(block);
        block = malloc((size_t)room);
    }
    if (block == NULL) result = -ENOMEM;
    free(block);
    return result < 0 ? result : whole;
}

int64_t wr_tail_find(const wr_env *env, int file, const wr_codec *codec, int64_t bytes)
{
    if (codec->record_bytes > 0) return bytes - bytes % codec->record_bytes;
    if (!codec->format->lines) return behind_last_frame(env, file, codec, bytes);
    if (codec->format == &wr_format_csv && codec->strings > 0) return behind_last_row(env, file, bytes);
    return behind_last_line(env, file, bytes);
}
