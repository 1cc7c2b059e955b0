/* operators/split_avx512.c: tokens where bytes can be packed by a mask (AVX-512 VBMI2), and loads have masks. */
#include "operators/split.h"
#if defined(__x86_64__)
#include <immintrin.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,bmi,bmi2,lzcnt,popcnt")))
#define INLINE static inline __attribute__((always_inline)) TARGET

bool wr_split_has_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vbmi") &&
           __builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt");
}

static const uint8_t COUNT_UP[64] = {
    0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
    22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43,
    44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63,
};

/* Writes base + the position of each bit; nearly always fewer than 16 tokens begin in 64 bytes, never more than 32. */
INLINE uint32_t positions(uint32_t *to, __m512i base, uint64_t bits)
{
    __m512i  packed = _mm512_maskz_compress_epi8(bits, _mm512_loadu_si512(COUNT_UP));
    uint32_t n = (uint32_t)__builtin_popcountll(bits);
    _mm512_storeu_si512(to, _mm512_add_epi32(base, _mm512_cvtepu8_epi32(_mm512_castsi512_si128(packed))));
    if (__builtin_expect(n > 16, 0)) {
        __m128i more = _mm512_extracti32x4_epi32(packed, 1);
        _mm512_storeu_si512(to + 16, _mm512_add_epi32(base, _mm512_cvtepu8_epi32(more)));
    }
    return n;
}

TARGET uint32_t wr_tokens_avx512(const wr_stretch *s, char separator, uint32_t *start, uint32_t *end)
{
    const __m512i wanted = _mm512_set1_epi8(separator);
    uint64_t      before = 1; /* the byte before the block belongs to no token */
    uint32_t      starts = 0, ends = 0;
    for (uint32_t at = 0; at < s->bytes; at += 64) {
        uint64_t outside = s->bytes - at < 64 ? ~UINT64_C(0) << (s->bytes - at) : 0;
        __m512i  bytes = _mm512_maskz_loadu_epi8(~outside, s->base + at);
        uint64_t apart = _mm512_cmpeq_epi8_mask(bytes, wanted) | s->gap[at / 64] | outside;
        uint64_t behind = apart << 1 | before; /* bit i: the byte before i is apart */
        __m512i  base = _mm512_set1_epi32((int)at);
        starts += positions(start + starts, base, ~apart & behind);
        ends += positions(end + ends, base, apart & ~behind);
        before = apart >> 63;
    }
    if (before == 0) end[ends++] = s->bytes;
    return ends;
}

/* One by one, by loads that leave out what lies around the token. */
INLINE uint32_t strings_alone(const char *base, const uint32_t *start, const uint32_t *end, uint32_t from, uint32_t n,
                              char *to, uint32_t stride, uint32_t *far, uint32_t fars)
{
    for (uint32_t i = from; i < n; i++) {
        uint32_t  bytes = end[i] - start[i];
        __mmask16 wanted = (__mmask16)_bzhi_u32(0xfff0, bytes + 4); /* behind the length, at most 12 */
        __m128i   made = _mm_mask_loadu_epi8(_mm_cvtsi32_si128((int)bytes), wanted, base + start[i] - 4);
        _mm_storeu_si128((__m128i *)(void *)(to + (size_t)i * stride), made);
        far[fars] = i;
        fars += bytes > WEIR_STR_INLINE;
    }
    return fars;
}

/* Byte i of a lane of 16: which byte of the string's 12 that is; those of the length are none. */
#define LANE_    -1, -1, -1, -1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
#define BYTE_(I) I, I, I, I, I, I, I, I, I, I, I, I, I, I, I, I
#define WORD_(I) I, I, I, I
static const int8_t  LANES[64] = {LANE_, LANE_, LANE_, LANE_};
static const uint8_t BYTES[4][64] = {{BYTE_(0), BYTE_(4), BYTE_(8), BYTE_(12)},
                                     {BYTE_(16), BYTE_(20), BYTE_(24), BYTE_(28)},
                                     {BYTE_(32), BYTE_(36), BYTE_(40), BYTE_(44)},
                                     {BYTE_(48), BYTE_(52), BYTE_(56), BYTE_(60)}};
static const int32_t WORDS[4][16] = {{WORD_(0), WORD_(1), WORD_(2), WORD_(3)},
                                     {WORD_(4), WORD_(5), WORD_(6), WORD_(7)},
                                     {WORD_(8), WORD_(9), WORD_(10), WORD_(11)},
                                     {WORD_(12), WORD_(13), WORD_(14), WORD_(15)}};

INLINE __m128i around(const char *base, uint32_t start)
{
    return _mm_loadu_si128((const __m128i *)(const void *)(base + start - 4));
}

/* 16 strings of 16 bytes each, where the 4 bytes before and the 12 behind each start may be read. */
INLINE void strings_16(const char *base, const uint32_t *start, __m512i lengths, char *to)
{
    const __m512i lanes = _mm512_loadu_si512(LANES);
    for (uint32_t q = 0; q < 4; q++, start += 4, to += 64) {
        __m512i text = _mm512_castsi128_si512(around(base, start[0]));
        text = _mm512_inserti32x4(text, around(base, start[1]), 1);
        text = _mm512_inserti32x4(text, around(base, start[2]), 2);
        text = _mm512_inserti32x4(text, around(base, start[3]), 3);
        __m512i   length = _mm512_permutexvar_epi8(_mm512_loadu_si512(BYTES[q]), lengths);
        __mmask64 inside = _mm512_cmpgt_epu8_mask(length, lanes);
        __m512i   made = _mm512_maskz_mov_epi8(inside, text);
        made = _mm512_mask_permutexvar_epi32(made, 0x1111, _mm512_loadu_si512(WORDS[q]), lengths);
        _mm512_storeu_si512(to, made);
    }
}

TARGET uint32_t wr_strings_avx512(const wr_stretch *s, const uint32_t *start, const uint32_t *end, uint32_t n, char *to,
                                  uint32_t stride, uint32_t *far)
{
    const __m512i count_up = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)COUNT_UP));
    const size_t  before = (size_t)(s->base - s->readable), behind = (size_t)(s->readable_end - s->base);
    uint32_t      i = 0, safe = stride == sizeof(weir_str) ? n : 0, fars;
    while (safe > 0 && start[safe - 1] + WEIR_STR_INLINE > behind) safe--;
    while (i < safe && before + start[i] < 4) i++;
    fars = strings_alone(s->base, start, end, 0, i, to, stride, far, 0);
    for (; i + 16 <= safe; i += 16) {
        __m512i   lengths = _mm512_sub_epi32(_mm512_loadu_si512(end + i), _mm512_loadu_si512(start + i));
        __mmask16 long_ones = _mm512_cmpgt_epu32_mask(lengths, _mm512_set1_epi32(WEIR_STR_INLINE));
        __m512i   number = _mm512_add_epi32(count_up, _mm512_set1_epi32((int)i));
        _mm512_storeu_si512(far + fars, _mm512_maskz_compress_epi32(long_ones, number));
        fars += (uint32_t)__builtin_popcount(long_ones);
        strings_16(s->base, start + i, lengths, to + (size_t)i * sizeof(weir_str));
    }
    return strings_alone(s->base, start, end, i, n, to, stride, far, fars);
}
#endif
