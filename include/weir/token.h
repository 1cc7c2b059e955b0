/* weir/token.h: splitting a string into tokens, fast. Plain data in the caller's hands: no lock, no allocation, any
 * thread. (check: part of weir/types.h, which includes it.)
 *
 * The cursor looks at the string in blocks of 64 bytes and keeps two masks of the current one: where tokens begin
 * and where they stop. A token then costs two bit scans and one copy of 16 bytes instead of a test per byte, and the
 * next one does not wait for it: each mask only loses its lowest bit. Nothing outside the string is ever read: what
 * is left at its end is read by loads that overlap what was read before. */
#ifndef WEIR_TOKEN_H
#define WEIR_TOKEN_H
#if defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__BMI2__)
#define WEIR_MASKED_LOADS_ 1 /* bytes that a mask leaves out are not read, so no load needs room around the string */
#include <immintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#endif

/* Owner: the caller, usually a local variable. Borrows the string. */
typedef struct weir_cursor {
    const char *begin, *end;
    const char *at;            /* where the last token stopped */
    const char *block;         /* where the 64 bytes of the masks begin */
    const char *open;          /* start of a token that an earlier block did not end, or NULL */
    uint64_t    starts, stops; /* bit i: a token begins at block[i]; stops before block[i]. Without those given out */
    int         separator;     /* that the masks are about; -1: none yet */
} weir_cursor;

WEIR_INLINE_ uint64_t weir_load64_(const char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

/* Bit i is set when block[i] == separator; for up to 64 bytes from `block`, which lies in [begin, end). */
WEIR_FN_ uint64_t weir_separators_scalar_(const char *block, const char *end, char separator)
{
    size_t   n = (size_t)(end - block) < 64 ? (size_t)(end - block) : 64;
    uint64_t mask = 0;
    for (size_t i = 0; i < n; i++) mask |= (uint64_t)(block[i] == separator) << i;
    return mask;
}

#ifdef __SSE2__
WEIR_INLINE_ uint64_t weir_separators_16_(const char *at, __m128i wanted)
{
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
    return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, wanted));
}
#endif

/* The same, and all bits behind the end of the string are set. */
WEIR_FN_ uint64_t weir_separators_(const char *begin, const char *block, const char *end, char separator)
{
    size_t n = (size_t)(end - block);
#ifdef WEIR_MASKED_LOADS_
    (void)begin;
    uint64_t inside = _bzhi_u64(~UINT64_C(0), n < 64 ? (unsigned)n : 64);
    __m512i  bytes = _mm512_maskz_loadu_epi8(inside, block);
    return _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(separator)) | ~inside;
#else
    uint64_t mask = 0;
#ifdef __SSE2__
    __m128i  wanted = _mm_set1_epi8(separator);
    if (WEIR_LIKELY_(n >= 64)) {
        return weir_separators_16_(block, wanted) | weir_separators_16_(block + 16, wanted) << 16 |
               weir_separators_16_(block + 32, wanted) << 32 | weir_separators_16_(block + 48, wanted) << 48;
    }
    if (end - begin < 16) return weir_separators_scalar_(block, end, separator) | ~UINT64_C(0) << n;
    size_t whole = n & ~(size_t)15, rest = n & 15;
    for (size_t i = 0; i < whole; i += 16) mask |= weir_separators_16_(block + i, wanted) << i;
    if (rest) mask |= weir_separators_16_(end - 16, wanted) >> (16 - rest) << whole;
#else
    (void)begin;
    mask = weir_separators_scalar_(block, end, separator);
    if (n >= 64) return mask;
#endif
    return mask | ~UINT64_C(0) << n;
#endif
}

/* The n <= 12 bytes at `at` as a string. The bytes lie in a string [begin, end), of which any may be read. */
WEIR_INLINE_ weir_str weir_str_inline_(const char *begin, const char *at, const char *end, uint32_t n)
{
    weir_str s;
#ifdef WEIR_MASKED_LOADS_
    (void)begin;
    (void)end;
    __mmask16 wanted = (__mmask16)(_bzhi_u32(~UINT32_C(0), n) << 4);
    __m128i   made = _mm_or_si128(_mm_maskz_loadu_epi8(wanted, at - 4), _mm_cvtsi32_si128((int)n));
    memcpy(&s, &made, sizeof s);
    return s;
#else
    uint64_t word[2];
#ifdef __SSE2__
    if (WEIR_LIKELY_(end - at >= 16)) {
        /* 16 bytes of ones in front of 16 zeros: the window that starts 16 - n in keeps n bytes. */
        static const uint8_t keep[32] = {255, 255, 255, 255, 255, 255, 255, 255,
                                         255, 255, 255, 255, 255, 255, 255, 255};
        __m128i              bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
        __m128i              window = _mm_loadu_si128((const __m128i *)(const void *)(keep + 16 - n));
        __m128i made = _mm_or_si128(_mm_slli_si128(_mm_and_si128(bytes, window), 4), _mm_cvtsi32_si128((int)n));
        memcpy(&s, &made, sizeof s);
        return s;
    }
#endif
    uint64_t low = 0, high = 0;
    if (n > 8) {
        low = weir_load64_(at);
        high = weir_load64_(at + n - 8) >> (8 * (16 - n));
    } else if (n == 8) {
        low = weir_load64_(at);
    } else if (at + n - begin >= 8 && n) {
        low = weir_load64_(at + n - 8) >> (8 * (8 - n));
    } else if (end - at >= 8) {
        low = weir_load64_(at) & ~(~UINT64_C(0) << (8 * n));
    } else {
        return weir_str_of(at, n);
    }
    word[0] = n | low << 32;
    word[1] = low >> 32 | high << 32;
    memcpy(&s, word, sizeof s);
    return s;
#endif
}

/* A cursor over *s, which must outlive it (it may point into *s itself). */
WEIR_FN_ weir_cursor weir_str_cursor(const weir_str *s)
{
    const char *bytes = weir_str_data(s);
    weir_cursor c = {bytes, bytes + s->len, bytes, bytes, NULL, 0, 0, -1};
    return c;
}

/* The masks of the block; bytes behind the end of the string count as separators. */
WEIR_INLINE_ void weir_cursor_look_(weir_cursor *c)
{
    uint64_t apart = weir_separators_(c->begin, c->block, c->end, (char)c->separator);
    uint64_t before = ~apart << 1 | (uint64_t)(c->open != NULL); /* bit i: the byte before i belongs to a token */
    c->starts = ~apart & ~before;
    c->stops = apart & before;
}

/* No token stops in this block any more: goes on to the next. false: the string is read, or its last token is open. */
WEIR_INLINE_ bool weir_cursor_next_block_(weir_cursor *c)
{
    if (c->starts) c->open = c->block + __builtin_ctzll(c->starts);
    c->starts = 0;
    if (c->end - c->block <= 64) return false;
    c->block += 64;
    weir_cursor_look_(c);
    return true;
}

/* The next token between separators; empty ones are skipped. false: there is none. *token borrows the string's
 * bytes, so it lives as long as they do. The separator may change from call to call: it then counts from behind the
 * last token. */
WEIR_INLINE_ bool weir_next_token(weir_cursor *c, char separator, weir_str *token)
{
    const char *from, *to;
    if (WEIR_RARE_(c->separator != (unsigned char)separator)) {
        c->block = c->separator < 0 || c->at == c->end ? c->at : c->at + 1;
        c->separator = (unsigned char)separator;
        c->open = NULL;
        c->starts = c->stops = 0;
        if (c->block < c->end) weir_cursor_look_(c);
    }
    while (WEIR_RARE_(!c->stops)) {
        if (weir_cursor_next_block_(c)) continue;
        if (!c->open) return false;
        from = c->open;
        to = c->end;
        c->open = NULL;
        goto found;
    }
    to = c->block + __builtin_ctzll(c->stops);
    c->stops &= c->stops - 1;
    if (WEIR_RARE_(c->open != NULL)) {
        from = c->open;
        c->open = NULL;
    } else {
        from = c->block + __builtin_ctzll(c->starts);
        c->starts &= c->starts - 1;
    }
found:
    c->at = to;
    uint32_t n = (uint32_t)(to - from);
    *token = WEIR_LIKELY_(n <= WEIR_STR_INLINE) ? weir_str_inline_(c->begin, from, c->end, n) : weir_str_of(from, n);
    return true;
}
#endif
