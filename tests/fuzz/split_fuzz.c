/* The kernels of WEIR_SPLIT against a loop over bytes: a text that is cut into lines at line ends, some of which lie
 * elsewhere, are left out or change places. */
#include "tests/fuzz/fuzz.h"
#include "tests/unit/operators/split_kit.h"

enum { LINES = 600 };

/* How the text becomes lines. */
typedef struct cut {
    uint32_t flags, bits, at, stride;
    bool     crlf;
} cut;

/* Says of the line whose turn it is, by the bits of a byte that come round and round. */
static bool chosen(const cut *c, uint32_t flag)
{
    return (c->flags & flag) != 0 && (c->bits >> c->at % 8 & 1) != 0;
}

/* Returns how many lines there are; away[]: copies to free. */
static uint32_t make_lines(cut *c, const char *text, size_t count, char *strings, char **away, uint32_t *aways)
{
    uint32_t n = 0;
    for (size_t at = 0; at < count && n < LINES; c->at++) {
        const char *newline = memchr(text + at, '\n', count - at);
        size_t      end = newline != NULL ? (size_t)(newline - text) : count, bytes = end - at;
        if (c->crlf && bytes > 0 && text[end - 1] == '\r') bytes--;
        const char *line = text + at;
        at = end + 1;
        if (chosen(c, 1)) continue;
        if (chosen(c, 2)) line = away[(*aways)++] = own(line, bytes);
        weir_str str = weir_str_of(line, bytes);
        char    *to = strings + (size_t)n * c->stride;
        memcpy(to, &str, sizeof str);
        if (n > 0 && chosen(c, 4)) {
            memcpy(to, to - c->stride, sizeof str);
            memcpy(to - c->stride, &str, sizeof str);
        }
        n++;
    }
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    input    in = {bytes, bytes + size};
    char     separator = (char)take_u8(&in);
    uint32_t flags = take_u8(&in), aways = 0;
    cut      c = {.flags = flags, .bits = take_u8(&in), .stride = flags & 32 ? 16 : 40, .crlf = (flags & 64) != 0};
    uint32_t piece = 1 + take_u8(&in);
    size_t   before = take_u8(&in), count = rest(&in); /* bytes at the front that are outside of the region */
    char    *text = own(in.at, count), *away[LINES];
    char    *strings = calloc(LINES, c.stride);
    must(strings != NULL);
    uint32_t n = make_lines(&c, text, count, strings, away, &aways);
    if (before > count || (flags & 8) == 0) before = 0;
    split_batch   b = {.strings = strings,
                       .n = n,
                       .stride = c.stride,
                       .region = text + before,
                       .region_bytes = flags & 16 ? 0 : count - before,
                       .separator = separator,
                       .to_stride = flags & 128 ? 24 : 16,
                       .piece = piece};
    split_kernels k[2];
    split_seen    seen[2];
    uint32_t      kernels = split_kernels_here(k);
    for (uint32_t i = 0; i < kernels; i++) {
        const char *why = split_holds(&b, &k[i], &seen[i]);
        if (why != NULL) fprintf(stderr, "kernel %u: %s\n", i, why);
        must(why == NULL);
    }
    must(kernels == 1 || memcmp(&seen[0], &seen[1], sizeof seen[0]) == 0);
    while (aways > 0) free(away[--aways]);
    free(strings);
    free(text);
    return 0;
}
