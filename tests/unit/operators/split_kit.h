/* tests/unit/operators/split_kit.h: the kernels of operators/split.h against a loop over bytes. No test library, so
 * that the fuzz target has it as well. All arrays are as long as is promised: a sanitizer sees what lies outside. */
#ifndef WR_TESTS_OPERATORS_SPLIT_KIT_H
#define WR_TESTS_OPERATORS_SPLIT_KIT_H
#include "operators/split.h"
#include <stdlib.h>

/* A batch as the loop gets it. */
typedef struct split_batch {
    const char *strings; /* n of them, `stride` bytes apart */
    uint32_t    n, stride;
    const char *region;
    size_t      region_bytes;
    char        separator;
    uint32_t    to_stride, piece; /* of the strings that are made; how many at a time, as room comes */
} split_batch;

typedef struct split_kernels {
    wr_tokens_fn  *tokens;
    wr_strings_fn *strings;
} split_kernels;

/* What the stretches of a batch were. */
typedef struct split_seen {
    uint32_t stretches, lines, tokens, far;
} split_seen;

static inline const weir_str *split_line(const split_batch *b, uint32_t i)
{
    return (const weir_str *)(const void *)(b->strings + (size_t)i * b->stride);
}

/* The token in [at, n) of a line: returns where it begins, or n. */
static inline uint32_t split_naive(const char *text, uint32_t n, uint32_t at, char separator, uint32_t *to)
{
    while (at < n && text[at] == separator) at++;
    for (*to = at; *to < n && text[*to] != separator;) ++*to;
    return at;
}

/* Lines [first, first + s->lines) of the batch against the offsets. Returns NULL or what does not hold. */
static inline const char *split_offsets_hold(const split_batch *b, const wr_stretch *s, uint32_t first,
                                             const uint32_t *start, const uint32_t *end, uint32_t count)
{
    uint32_t token = 0, after = 0;
    for (uint32_t i = 0; i < s->lines; i++) {
        const weir_str *line = split_line(b, first + i);
        const char     *text = weir_str_data(line);
        if (s->line_end[i] > s->bytes || s->line_end[i] < line->len) return "a line ends outside of its stretch";
        uint32_t begin = s->line_end[i] - line->len, to;
        if (i == 0 ? begin != 0 : begin <= after) return "lines overlap";
        if (memcmp(s->base + begin, text, line->len) != 0) return "a line is not where its stretch has it";
        after = s->line_end[i];
        for (uint32_t at = 0; (at = split_naive(text, line->len, at, b->separator, &to)) < line->len; at = to) {
            if (token == count) return "tokens are missing";
            if (start[token] != begin + at || end[token] != begin + to) return "a token is elsewhere";
            token++;
        }
    }
    if (after != s->bytes) return "the stretch does not end with its last line";
    return token == count ? NULL : "too many tokens";
}

static inline const char *split_piece_holds(const split_batch *b, const wr_stretch *s, const uint32_t *start,
                                            const uint32_t *end, uint32_t n, const char *to, const uint32_t *far,
                                            uint32_t fars)
{
    uint32_t next = 0;
    for (uint32_t i = 0; i < n; i++) {
        const char *made = to + (size_t)i * b->to_stride;
        weir_str    wanted = weir_str_of(s->base + start[i], end[i] - start[i]);
        if (wanted.len > WEIR_STR_INLINE) {
            if (next == fars || far[next++] != i) return "a long token is not named as one";
        } else if (memcmp(made, &wanted, sizeof wanted) != 0) {
            return "a short string is wrong";
        }
        for (uint32_t k = sizeof wanted; k < b->to_stride && i + 1 < n; k++) {
            if (made[k] != '#') return "bytes between two strings are written";
        }
    }
    return next == fars ? NULL : "too many long tokens";
}

/* Makes the strings of all tokens of a stretch, a piece at a time. */
static inline const char *split_strings_hold(const split_batch *b, const wr_stretch *s, const split_kernels *k,
                                             const uint32_t *start, const uint32_t *end, uint32_t count,
                                             split_seen *seen)
{
    const char *why = NULL;
    for (uint32_t done = 0, n; done < count && why == NULL; done += n) {
        n = count - done < b->piece ? count - done : b->piece;
        size_t    bytes = (size_t)(n - 1) * b->to_stride + sizeof(weir_str);
        char     *to = malloc(bytes);
        uint32_t *far = malloc((n + WR_TOKENS_SPARE) * sizeof *far);
        if (to == NULL || far == NULL) abort();
        memset(to, '#', bytes);
        uint32_t fars = k->strings(s, start + done, end + done, n, to, b->to_stride, far);
        seen->far += fars;
        why = split_piece_holds(b, s, start + done, end + done, n, to, far, fars);
        free(far);
        free(to);
    }
    return why;
}

static inline uint32_t split_count(const split_batch *b, uint32_t first, uint32_t lines)
{
    uint32_t count = 0, to;
    for (uint32_t i = first; i < first + lines; i++) {
        const weir_str *line = split_line(b, i);
        const char     *text = weir_str_data(line);
        for (uint32_t at = 0; (at = split_naive(text, line->len, at, b->separator, &to)) < line->len; at = to) count++;
    }
    return count;
}

/* All stretches of a batch. Lines that are longer than one are left out. Returns NULL or what does not hold. */
static inline const char *split_holds(const split_batch *b, const split_kernels *k, split_seen *seen)
{
    wr_stretch *s = malloc(sizeof *s);
    const char *why = NULL;
    if (s == NULL) abort();
    *seen = (split_seen){0};
    for (uint32_t i = 0; i < b->n && why == NULL;) {
        memset(s, 0xa5, sizeof *s); /* what is not set is garbage */
        wr_stretch_take(s, b->strings + (size_t)i * b->stride, b->n - i, b->stride, b->region, b->region_bytes);
        if (s->lines == 0) {
            if (split_line(b, i)->len <= WR_STRETCH_BYTES) why = "a line that fits is not taken";
            i++;
            continue;
        }
        if (s->lines > b->n - i || s->lines > WR_STRETCH_LINES || s->bytes > WR_STRETCH_BYTES) {
            why = "a stretch is too long";
            break;
        }
        uint32_t  count = split_count(b, i, s->lines);
        size_t    room = (count + WR_TOKENS_SPARE) * sizeof(uint32_t);
        uint32_t *start = malloc(room), *end = malloc(room);
        if (start == NULL || end == NULL) abort();
        uint32_t found = k->tokens(s, b->separator, start, end);
        why = count > WR_STRETCH_TOKENS ? "more tokens than a stretch may have"
              : found != count          ? "another number of tokens"
                                        : split_offsets_hold(b, s, i, start, end, count);
        if (why == NULL) why = split_strings_hold(b, s, k, start, end, count, seen);
        free(start);
        free(end);
        i += s->lines;
        seen->stretches++;
        seen->lines += s->lines;
        seen->tokens += count;
    }
    free(s);
    return why;
}

/* The kernels that this CPU has. Returns how many pairs. */
static inline uint32_t split_kernels_here(split_kernels k[2])
{
    k[0] = (split_kernels){wr_tokens_plain, wr_strings_plain};
#if defined(__x86_64__)
    k[1] = (split_kernels){wr_tokens_avx512, wr_strings_avx512};
    return wr_split_has_avx512() ? 2 : 1;
#else
    return 1;
#endif
}

#endif
