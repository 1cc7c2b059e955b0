#include "base/hash.h"

static uint64_t load_u32_le(const unsigned char *from)
{
    return (uint64_t)from[0] | (uint64_t)from[1] << 8 | (uint64_t)from[2] << 16 | (uint64_t)from[3] << 24;
}

uint64_t wr_hash_long_(const void *bytes, size_t count)
{
    const unsigned char *at = bytes;
    size_t               rest = count;
    uint64_t             hash = WR_HASH_D ^ count;
    if (rest > 64) { /* four products that do not wait for each other */
        uint64_t a = hash ^ WR_HASH_A, b = hash ^ WR_HASH_B, c = hash ^ WR_HASH_C, d = hash;
        do {
            a = wr_hash_mum_(wr_load_u64_le(at) ^ WR_HASH_A, wr_load_u64_le(at + 8) ^ a);
            b = wr_hash_mum_(wr_load_u64_le(at + 16) ^ WR_HASH_B, wr_load_u64_le(at + 24) ^ b);
            c = wr_hash_mum_(wr_load_u64_le(at + 32) ^ WR_HASH_C, wr_load_u64_le(at + 40) ^ c);
            d = wr_hash_mum_(wr_load_u64_le(at + 48) ^ WR_HASH_D, wr_load_u64_le(at + 56) ^ d);
            at += 64;
            rest -= 64;
        } while (rest > 64);
        hash = wr_hash_mum_(a ^ WR_HASH_B, b) ^ wr_hash_mum_(c ^ WR_HASH_A, d);
    }
    for (; rest > 16; at += 16, rest -= 16)
        hash = wr_hash_mum_(wr_load_u64_le(at) ^ WR_HASH_C, wr_load_u64_le(at + 8) ^ hash);
    /* The last 16 bytes, which may overlap what was read; 13 to 15 bytes are read as two words that overlap each
     * other. */
    const unsigned char *end = at + rest;
    uint64_t             first = wr_load_u64_le(count >= 16 ? end - 16 : bytes);
    uint64_t             second = wr_load_u64_le(end - 8);
    return wr_hash_mum_(hash ^ WR_HASH_C, wr_hash_mum_(second ^ WR_HASH_B, first ^ hash) ^ WR_HASH_D);
}

uint64_t wr_hash_bytes(const void *bytes, size_t count)
{
    if (count > 12) return wr_hash_long_(bytes, count);
    unsigned char padded[12] = {0};
    if (count > 0) memcpy(padded, bytes, count);
    return wr_hash_words_((uint64_t)count | load_u32_le(padded) << 32, wr_load_u64_le(padded + 4));
}
