#include "wire/frame.h"
#include "base/check.h"
#include <string.h>
#include <xxhash.h>

static void hash_of(uint64_t hash[2], const void *bytes, size_t n)
{
    XXH128_hash_t h = XXH3_128bits(bytes, n);
    hash[0] = h.low64;
    hash[1] = h.high64;
}

void wr_frame_begin(wr_pack *p, const char magic[8], uint32_t version)
{
    check(p->bytes == 0);
    uint32_t words[4] = {version, 0, 0, 0};
    wr_pack_raw(p, magic, 8);
    wr_pack_raw(p, words, sizeof words);
}

void wr_frame_end(wr_pack *p)
{
    uint64_t body = p->bytes - WR_FRAME_HEAD_BYTES, hash[2];
    memcpy(p->data + 16, &body, 8);
    hash_of(hash, p->data, p->bytes);
    wr_pack_raw(p, hash, sizeof hash);
}

wr_err wr_frame_open(wr_frame *frame, const char magic[8], uint32_t version, const char *what, const char *bytes,
                     size_t n, const char *name, wr_errinfo *info)
{
    uint64_t body, hash[2];
    uint32_t written, flags;
    if (n < 8 || memcmp(bytes, magic, 8) != 0)
        return wr_fail(info, WR_DAMAGED, "this is no %s; %s, offset 0", what, name);
    if (n < WR_FRAME_HEAD_BYTES + WR_FRAME_TAIL_BYTES)
        return wr_fail(info, WR_DAMAGED, "the %s is cut off; %s, offset %zu", what, name, n);
    memcpy(&written, bytes + 8, 4);
    memcpy(&flags, bytes + 12, 4);
    memcpy(&body, bytes + 16, 8);
    if (body != n - WR_FRAME_HEAD_BYTES - WR_FRAME_TAIL_BYTES)
        return wr_fail(info, WR_DAMAGED, "the %s is cut off or damaged: it should have %llu bytes; %s, offset %zu",
                       what, (unsigned long long)body + WR_FRAME_HEAD_BYTES + WR_FRAME_TAIL_BYTES, name, n);
    hash_of(hash, bytes, n - WR_FRAME_TAIL_BYTES);
    if (memcmp(hash, bytes + n - WR_FRAME_TAIL_BYTES, sizeof hash) != 0)
        return wr_fail(info, WR_DAMAGED, "the checksum of the %s does not match; %s, offset %zu", what, name,
                       n - WR_FRAME_TAIL_BYTES);
    if (written == 0 || flags != 0 || written > version)
        return wr_fail(
            info, WR_NEWER,
            "the %s has format version %u, this Weir reads up to %u; %s; use the Weir that wrote it, or a newer "
            "one",
            what, written, version, name);
    *frame = (wr_frame){.version = written, .body = bytes + WR_FRAME_HEAD_BYTES, .bytes = (size_t)body};
    return WR_OK;
}
