/* operators/split.c: weir_split, the loop of WEIR_SPLIT: strings into their tokens, a batch at a time. */
#include "operators/split.h"
#include "base/check.h"
#include "operators/op.h"
#include <weir/record.h>

/* ---- stretches --------------------------------------------------------------------------------------------------- */

enum { GAP_MAX = 8 }; /* bytes between two lines of a stretch */

/* Where the line's bytes lie behind `at` if the stretch goes on with it, or NULL. A short line lies in its record, but
 * mostly in the region as well: there it is looked for. */
static const char *follows(const weir_str *line, const char *at, const char *end)
{
    size_t left = (size_t)(end - at);
    if (line->len > WEIR_STR_INLINE) {
        size_t gap = (size_t)(line->u.far - at);
        return gap - 1 < GAP_MAX && gap <= left && line->len <= left - gap ? line->u.far : NULL;
    }
    for (uint32_t gap = 1; gap <= 2 && gap + line->len <= left; gap++) { /* "\n", "\r\n" */
        if (memcmp(at + gap, line->head, line->len) == 0) return at + gap;
    }
    return NULL;
}

void wr_stretch_take(wr_stretch *s, const char *strings, uint32_t n, uint32_t stride, const char *region,
                     size_t region_bytes)
{
    const weir_str *line = (const weir_str *)(const void *)strings;
    const char     *base = weir_str_data(line);
    s->base = s->readable = base;
    s->bytes = s->lines = 0;
    if (line->len > WR_STRETCH_BYTES) return;
    memset(s->gap, 0, sizeof s->gap);
    const char *at = base + line->len;
    s->readable_end = at;
    s->line_end[0] = line->len;
    uint32_t lines = 1;
    if ((size_t)(base - region) < region_bytes) { /* else alone: nobody knows what lies behind it */
        const char *end = region + region_bytes, *stop = end - base < WR_STRETCH_BYTES ? end : base + WR_STRETCH_BYTES;
        s->readable = region;
        s->readable_end = end;
        for (; lines < n && lines < WR_STRETCH_LINES; lines++) {
            line = (const weir_str *)(const void *)(strings + (size_t)lines * stride);
            const char *text = follows(line, at, stop);
            if (text == NULL) break;
            do {
                size_t gap = (size_t)(at - base);
                s->gap[gap / 64] |= UINT64_C(1) << gap % 64;
            } while (++at < text);
            at += line->len;
            s->line_end[lines] = (uint32_t)(at - base);
        }
    }
    s->lines = lines;
    s->bytes = (uint32_t)(at - base);
}

/* ---- tokens ------------------------------------------------------------------------------------------------------ */

uint32_t wr_tokens_plain(const wr_stretch *s, char separator, uint32_t *start, uint32_t *end)
{
    const char *text_end = s->base + s->bytes;
    uint64_t    before = 1;
    uint32_t    starts = 0, ends = 0;
    for (uint32_t at = 0; at < s->bytes; at += 64) {
        uint64_t apart = weir_separators_(s->base, s->base + at, text_end, separator) | s->gap[at / 64];
        uint64_t behind = apart << 1 | before;
        for (uint64_t bits = ~apart & behind; bits != 0; bits &= bits - 1)
            start[starts++] = at + (uint32_t)__builtin_ctzll(bits);
        for (uint64_t bits = apart & ~behind; bits != 0; bits &= bits - 1)
            end[ends++] = at + (uint32_t)__builtin_ctzll(bits);
        before = apart >> 63;
    }
    if (before == 0) end[ends++] = s->bytes;
    return ends;
}

uint32_t wr_strings_plain(const wr_stretch *s, const uint32_t *start, const uint32_t *end, uint32_t n, char *to,
                          uint32_t stride, uint32_t *far)
{
    uint32_t fars = 0;
    for (uint32_t i = 0; i < n; i++, to += stride) {
        uint32_t bytes = end[i] - start[i];
        weir_str made = bytes > WEIR_STR_INLINE
                            ? weir_str_of(s->base + start[i], bytes)
                            : weir_str_inline_(s->base, s->base + start[i], s->base + s->bytes, bytes);
        memcpy(to, &made, sizeof made);
        far[fars] = i;
        fars += bytes > WEIR_STR_INLINE;
    }
    return fars;
}

/* ---- the loop ---------------------------------------------------------------------------------------------------- */

/* Of one batch. On the stack. */
typedef struct splitting {
    const weir_splitting *how;
    weir_ctx             *ctx;
    weir_out              out; /* the local copy of the emitter */
    wr_tokens_fn         *tokens;
    wr_strings_fn        *strings;
    wr_stretch            stretch;
    uint32_t              start[WR_STRETCH_TOKENS + WR_TOKENS_SPARE], end[WR_STRETCH_TOKENS + WR_TOKENS_SPARE];
    uint32_t              far[WR_STRETCH_TOKENS + WR_TOKENS_SPARE];
} splitting;

/* What the record of a token has from its line, `line` of the batch. */
static void copy_fields(splitting *s, char *record, uint32_t line)
{
    const char *from = (const char *)s->ctx->in + (size_t)line * s->how->in_size;
    for (uint32_t i = 0; i < s->how->copies; i++) {
        const weir_copy *c = &s->how->copy[i];
        memcpy(record + c->to, from + c->from, c->size);
        if (c->string) weir_own_field_(&s->out, record + c->to, WEIR_STR);
    }
}

/* Tokens [from, from + n) become records at out.next; *line: of the stretch, the one that the last token came from. */
static void emit(splitting *s, uint32_t from, uint32_t n, uint32_t first_line, uint32_t *line)
{
    const weir_splitting *how = s->how;
    weir_out             *o = &s->out;
    if (how->out_size != sizeof(weir_str)) memset(o->next, 0, (size_t)n * how->out_size);
    for (uint32_t i = 0; (how->copies != 0 || o->time != NULL) && i < n; i++) {
        while (s->start[from + i] >= s->stretch.line_end[*line]) ++*line;
        copy_fields(s, o->next + (size_t)i * how->out_size, first_line + *line);
        if (o->time != NULL) o->time[i] = s->ctx->time[first_line + *line];
    }
    char    *token = o->next + how->token; /* behind the copies: one of the same field does not count */
    uint32_t fars = s->strings(&s->stretch, s->start + from, s->end + from, n, token, how->out_size, s->far);
    for (uint32_t i = 0; i < fars; i++) {
        weir_str *str = (weir_str *)(void *)(token + (size_t)s->far[i] * how->out_size);
        *str = weir_str_of(s->stretch.base + s->start[from + s->far[i]],
                           s->end[from + s->far[i]] - s->start[from + s->far[i]]);
        weir_own_field_(o, str, WEIR_STR);
    }
    if (o->time != NULL) o->time += n;
    o->next += (size_t)n * how->out_size;
}

/* A line that is longer than a stretch. */
static void split_long(splitting *s, const weir_str *text, uint32_t line)
{
    weir_cursor c = weir_str_cursor(text);
    for (weir_str token; weir_next_token(&c, s->how->separator, &token);) {
        weir_out *o = &s->out;
        weir_need_(o);
        memset(o->next, 0, s->how->out_size);
        copy_fields(s, o->next, line);
        weir_str *made = (weir_str *)(void *)(o->next + s->how->token);
        *made = token;
        weir_own_field_(o, made, WEIR_STR);
        if (o->time != NULL) *o->time++ = s->ctx->time[line];
        o->next += s->how->out_size;
    }
}

void weir_split(weir_ctx *ctx, const weir_splitting *how)
{
    splitting s;
    s.how = how;
    s.ctx = ctx;
    s.out = ctx->out[0];
    s.tokens = wr_tokens_plain;
    s.strings = wr_strings_plain;
#if defined(__x86_64__)
    if (wr_split_has_avx512()) {
        s.tokens = wr_tokens_avx512;
        s.strings = wr_strings_avx512;
    }
#endif
    const char *text = (const char *)ctx->in + how->text;
    for (uint32_t i = 0; i < ctx->n;) {
        const char *first = text + (size_t)i * how->in_size;
        wr_stretch_take(&s.stretch, first, ctx->n - i, how->in_size, s.out.borrowed, s.out.borrowed_bytes);
        if (s.stretch.lines == 0) {
            split_long(&s, (const weir_str *)(const void *)first, i++);
            continue;
        }
        uint32_t tokens = s.tokens(&s.stretch, how->separator, s.start, s.end), line = 0;
        check(tokens <= WR_STRETCH_TOKENS);
        for (uint32_t done = 0, n; done < tokens; done += n) {
            weir_need_(&s.out);
            n = (uint32_t)((size_t)(s.out.end - s.out.next) / how->out_size);
            if (n > tokens - done) n = tokens - done;
            emit(&s, done, n, i, &line);
        }
        i += s.stretch.lines;
    }
    ctx->out[0] = s.out;
}
