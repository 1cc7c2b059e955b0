/* operators/split.h: where the tokens of a text begin and end, many lines at once. Pure; any thread.
 *
 * Lines that lie one behind the other in memory, as those of a file do, are a stretch: its gaps (line ends) are marked
 * by bits and count as separators, so that the loop over blocks of 64 bytes knows no lines and has no branch that
 * depends on them. */
#ifndef WR_OPERATORS_SPLIT_H
#define WR_OPERATORS_SPLIT_H
#include <weir/op.h>

enum {
    WR_STRETCH_BYTES = 4096, /* a longer line is split by a cursor */
    WR_STRETCH_LINES = 256,
    WR_STRETCH_TOKENS = WR_STRETCH_BYTES / 2 + 1,
    WR_TOKENS_SPARE = 48 /* places behind the last token that a kernel may write */
};

/* A stretch of lines. On the stack of the loop. */
typedef struct wr_stretch {
    const char *base, *readable, *readable_end; /* the lines; around them all of this may be read */
    uint32_t    bytes, lines;
    uint64_t    gap[WR_STRETCH_BYTES / 64 + 1]; /* bit i: base[i] belongs to no line */
    uint32_t    line_end[WR_STRETCH_LINES];     /* offsets */
} wr_stretch;

/* Takes as many of the n strings, which lie `stride` bytes apart, as follow each other in `region`; at least one,
 * unless the first is longer than a stretch: then 0 lines. */
void wr_stretch_take(wr_stretch *s, const char *strings, uint32_t n, uint32_t stride, const char *region,
                     size_t region_bytes);

/* Offsets of all tokens in their order. Returns how many. */
typedef uint32_t wr_tokens_fn(const wr_stretch *s, char separator, uint32_t *start, uint32_t *end);
wr_tokens_fn     wr_tokens_plain;
/* Makes n strings that lie `stride` bytes apart. far[], which has WR_TOKENS_SPARE places more, gets the numbers of
 * those with more than 12 bytes, of which only the room is made. Returns how many those are. */
typedef uint32_t wr_strings_fn(const wr_stretch *s, const uint32_t *start, const uint32_t *end, uint32_t n, char *to,
                               uint32_t stride, uint32_t *far);
wr_strings_fn    wr_strings_plain;
#if defined(__x86_64__)
bool          wr_split_has_avx512(void);
wr_tokens_fn  wr_tokens_avx512;
wr_strings_fn wr_strings_avx512;
#endif

#endif
