/* snapshot/key_hash.c: hashes of a whole batch of keys. One integer key of 8 bytes is the case that matters: it has
 * a version for AVX2 (32-bit products) and one for AVX-512 (64-bit products), chosen at run time. */
#include "base/check.h"
#include "base/hash.h"
#include "snapshot/key.h"
#include "snapshot/table.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define BLOCK 512u /* keys widened at a time; on the stack */

void wr_key_words_plain(const char *field, uint32_t stride, uint32_t n, uint64_t *hash)
{
    for (uint32_t i = 0; i < n; i++) {
        uint64_t key;
        memcpy(&key, field + (uint64_t)i * stride, 8);
        hash[i] = wr_fmix64(key);
    }
}

#if defined(__x86_64__)
#define AVX2   __attribute__((target("avx2")))
#define AVX512 __attribute__((target("avx512f,avx512dq")))

AVX2 static inline __m256i times4(__m256i x, uint64_t factor)
{
    __m256i low = _mm256_set1_epi64x((long long)(factor & 0xffffffff));
    __m256i high = _mm256_set1_epi64x((long long)(factor >> 32));
    __m256i cross = _mm256_add_epi64(_mm256_mul_epu32(_mm256_srli_epi64(x, 32), low), _mm256_mul_epu32(x, high));
    return _mm256_add_epi64(_mm256_mul_epu32(x, low), _mm256_slli_epi64(cross, 32));
}

AVX2 void wr_key_words_avx2(const char *field, uint32_t stride, uint32_t n, uint64_t *hash)
{
    uint32_t i = 0;
    for (; i + 4 <= n; i += 4) {
        const char *at = field + (uint64_t)i * stride;
        long long   key[4];
        for (uint32_t k = 0; k < 4; k++) memcpy(&key[k], at + (uint64_t)k * stride, 8);
        __m256i x = _mm256_set_epi64x(key[3], key[2], key[1], key[0]);
        x = times4(_mm256_xor_si256(x, _mm256_srli_epi64(x, 33)), UINT64_C(0xff51afd7ed558ccd));
        x = times4(_mm256_xor_si256(x, _mm256_srli_epi64(x, 33)), UINT64_C(0xc4ceb9fe1a85ec53));
        x = _mm256_xor_si256(x, _mm256_srli_epi64(x, 33));
        _mm256_storeu_si256((__m256i *)(void *)(hash + i), x);
    }
    wr_key_words_plain(field + (uint64_t)i * stride, stride, n - i, hash + i);
}

AVX512 void wr_key_words_avx512(const char *field, uint32_t stride, uint32_t n, uint64_t *hash)
{
    const __m512i first = _mm512_set1_epi64((long long)UINT64_C(0xff51afd7ed558ccd));
    const __m512i second = _mm512_set1_epi64((long long)UINT64_C(0xc4ceb9fe1a85ec53));
    uint32_t      i = 0;
    for (; i + 8 <= n; i += 8) {
        const char *at = field + (uint64_t)i * stride;
        long long   key[8];
        for (uint32_t k = 0; k < 8; k++) memcpy(&key[k], at + (uint64_t)k * stride, 8);
        __m512i x = _mm512_set_epi64(key[7], key[6], key[5], key[4], key[3], key[2], key[1], key[0]);
        x = _mm512_mullo_epi64(_mm512_xor_si512(x, _mm512_srli_epi64(x, 33)), first);
        x = _mm512_mullo_epi64(_mm512_xor_si512(x, _mm512_srli_epi64(x, 33)), second);
        x = _mm512_xor_si512(x, _mm512_srli_epi64(x, 33));
        _mm512_storeu_si512(hash + i, x);
    }
    wr_key_words_plain(field + (uint64_t)i * stride, stride, n - i, hash + i);
}
#endif

static wr_key_words_fn *choose(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512dq")) return wr_key_words_avx512;
    if (__builtin_cpu_supports("avx2")) return wr_key_words_avx2;
#endif
    return wr_key_words_plain;
}

static void hash_words(const char *field, uint32_t stride, uint32_t n, uint64_t *hash)
{
    choose()(field, stride, n, hash);
}

static void hash_strings(const char *field, uint32_t stride, const uint32_t *pick, uint32_t n, uint64_t *hash)
{
    for (uint32_t i = 0; i < n; i++) {
        uint64_t at = pick != NULL ? pick[i] : i;
        hash[i] = wr_hash_str((const weir_str *)(const void *)(field + at * stride));
    }
}

/* One field of n <= BLOCK records; pick == NULL: the first n. */
static void hash_field(const weir_key_field *key, const char *records, uint32_t stride, const uint32_t *pick,
                       uint32_t n, uint64_t *hash)
{
    const char *field = records + key->offset;
    bool        known;
    if (wr_key_is_string(key->kind, &known)) {
        hash_strings(field, stride, pick, n, hash);
        return;
    }
    check(known);
    if (pick == NULL && (key->kind == WEIR_I64 || key->kind == WEIR_U64 || key->kind == WEIR_TIME)) {
        hash_words(field, stride, n, hash);
        return;
    }
    uint64_t wide[BLOCK];
    wr_key_widen_all(key->kind, field, stride, pick, n, wide);
    hash_words((const char *)wide, sizeof *wide, n, hash);
}

static void hash_block(const weir_key *key, const char *records, uint32_t stride, const uint32_t *pick, uint32_t n,
                       uint64_t *hash)
{
    if (key->count == 0) {
        memset(hash, 0, n * sizeof *hash);
        return;
    }
    hash_field(&key->field[0], records, stride, pick, n, hash);
    for (uint32_t f = 1; f < key->count; f++) {
        uint64_t next[BLOCK];
        hash_field(&key->field[f], records, stride, pick, n, next);
        for (uint32_t i = 0; i < n; i++) hash[i] = wr_hash_fold(hash[i], next[i]);
    }
}

void wr_key_hash(const weir_key *key, const void *records, uint32_t stride, uint32_t n, uint64_t *hash)
{
    for (uint32_t at = 0; at < n; at += BLOCK) {
        uint32_t count = n - at < BLOCK ? n - at : BLOCK;
        hash_block(key, (const char *)records + (uint64_t)at * stride, stride, NULL, count, hash + at);
    }
}

void wr_key_hash_picked(const weir_key *key, const void *records, uint32_t stride, const uint32_t *pick,
                        uint32_t pick_n, uint64_t *hash)
{
    for (uint32_t at = 0; at < pick_n; at += BLOCK) {
        uint64_t made[BLOCK];
        uint32_t count = pick_n - at < BLOCK ? pick_n - at : BLOCK;
        hash_block(key, records, stride, pick + at, count, made);
        for (uint32_t i = 0; i < count; i++) hash[pick[at + i]] = made[i];
    }
}
