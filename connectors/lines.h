/* connectors/lines.h: line ends, 64 bytes at a time. Pure. */
#ifndef WR_CONNECTORS_LINES_H
#define WR_CONNECTORS_LINES_H
#include <stdint.h>
#include <string.h>
#include <weir/types.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* Bytes that may be read behind the end of what is scanned. */
#define WR_LINES_SPARE 64

/* Bit i is set when from[i] == '\n'. Reads 64 bytes. */
static inline uint64_t wr_newlines_64(const char *from)
{
#ifdef __SSE2__
    const __m128i newline = _mm_set1_epi8('\n');
    uint64_t      mask = 0;
    for (int i = 0; i < 4; i++) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(from + 16 * i));
        mask |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, newline)) << (16 * i);
    }
    return mask;
#else
    uint64_t mask = 0;
    for (int i = 0; i < 64; i++) mask |= (uint64_t)(from[i] == '\n') << i;
    return mask;
#endif
}

/* A string over bytes behind which 16 more may be read. */
static inline weir_str wr_str_spare(const char *bytes, size_t n)
{
    weir_str str;
    if (n > WEIR_STR_INLINE) {
        str.len = (uint32_t)n;
        memcpy(str.head, bytes, 4);
        str.u.far = bytes;
        return str;
    }
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    uint32_t head;
    uint64_t tail;
    memcpy(&head, bytes, 4);
    memcpy(&tail, bytes + 4, 8);
    if (n < 4) {
        head &= (UINT32_C(1) << (8 * n)) - 1;
        tail = 0;
    } else {
        tail = n == 4 ? 0 : tail & (UINT64_MAX >> (8 * (WEIR_STR_INLINE - n)));
    }
    str.len = (uint32_t)n;
    memcpy(str.head, &head, 4);
    memcpy(str.u.tail, &tail, 8);
    return str;
#else
    return weir_str_of(bytes, n);
#endif
}

#endif
