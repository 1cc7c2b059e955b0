/* base/hash.h: the hash of keys. Fixed for ever, since snapshots hold key groups made of it; docs/formats-hash.md
 * defines it. Pure. Any thread. */
#ifndef WR_BASE_HASH_H
#define WR_BASE_HASH_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <weir/types.h>

/* The first 64 bits after the point of the square roots of 2, 3, 5 and 7, made odd. */
#define WR_HASH_A UINT64_C(0x6a09e667f3bcc909)
#define WR_HASH_B UINT64_C(0xbb67ae8584caa73b)
#define WR_HASH_C UINT64_C(0x3c6ef372fe94f82b)
#define WR_HASH_D UINT64_C(0xa54ff53a5f1d36f1)

/* The finalizer of MurmurHash3 (Austin Appleby, public domain): a bijection of 64 bits. The hash of every integer
 * key, which is widened to 64 bits by value before. */
static inline uint64_t wr_fmix64(uint64_t x)
{
    x ^= x >> 33;
    x *= UINT64_C(0xff51afd7ed558ccd);
    x ^= x >> 33;
    x *= UINT64_C(0xc4ceb9fe1a85ec53);
    x ^= x >> 33;
    return x;
}

/* Its inverse: wr_unfmix64(wr_fmix64(x)) == x. */
static inline uint64_t wr_unfmix64(uint64_t x)
{
    x ^= x >> 33;
    x *= UINT64_C(0x9cb4b2f8129337db);
    x ^= x >> 33;
    x *= UINT64_C(0x4f74430c22a54005);
    x ^= x >> 33;
    return x;
}

/* Both halves of a 64 x 64 -> 128 bit product, joined. The sum keeps y alive when x is 0, 1 or all ones. */
static inline uint64_t wr_hash_mum_(uint64_t x, uint64_t y)
{
    unsigned __int128 product = (unsigned __int128)x * y;
    return ((uint64_t)product ^ (uint64_t)(product >> 64)) + y;
}

/* Up to 12 bytes, given as the 16 bytes of a weir_str read as two little-endian words. */
static inline uint64_t wr_hash_words_(uint64_t first, uint64_t second)
{
    return wr_hash_mum_(first ^ WR_HASH_C, wr_hash_mum_(second ^ WR_HASH_B, first ^ WR_HASH_A) ^ WR_HASH_D);
}

static inline uint64_t wr_load_u64_le(const void *from)
{
    uint64_t word;
    memcpy(&word, from, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

uint64_t wr_hash_long_(const void *bytes, size_t count); /* more than 12 bytes */
uint64_t wr_hash_bytes(const void *bytes, size_t count);

/* The same value as wr_hash_bytes of its content. Reads the far bytes only when there are any. */
static inline uint64_t wr_hash_str(const weir_str *str)
{
    if (__builtin_expect(str->len > 12, 0)) return wr_hash_long_(str->u.far, str->len);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return wr_hash_bytes((const char *)str + offsetof(weir_str, head), str->len);
#else
    return wr_hash_words_(wr_load_u64_le(str), wr_load_u64_le((const char *)str + 8));
#endif
}

/* Composite keys: the hash so far and the hash of the next field, in field order. */
static inline uint64_t wr_hash_fold(uint64_t hash, uint64_t next)
{
    return wr_hash_mum_(hash ^ WR_HASH_A, next ^ WR_HASH_B);
}

#endif
