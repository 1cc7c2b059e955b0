/* connectors/format_csv.c: comma-separated values after RFC 4180: a field in quotes may hold the separator, quotes
 * (written twice) and, with multiline=true, line breaks. Numbers are strict: no blanks, no empty cells. */
#include "connectors/format.h"
#include <ctype.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* One cell of a line. */
typedef struct cell {
    const char *at;
    size_t      n;
    bool        quoted, rewritten; /* rewritten: lies in scratch */
} cell;

/* The first of two characters in [p, end), or end. */
static inline const char *find_either(const char *p, const char *end, char a, char b)
{
#ifdef __SSE2__
    const __m128i all_a = _mm_set1_epi8(a), all_b = _mm_set1_epi8(b);
    for (; end - p >= 16; p += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)p);
        int     mask = _mm_movemask_epi8(_mm_or_si128(_mm_cmpeq_epi8(bytes, all_a), _mm_cmpeq_epi8(bytes, all_b)));
        if (mask != 0) return p + __builtin_ctz((unsigned)mask);
    }
#endif
    while (p < end && *p != a && *p != b) p++;
    return p;
}

/* Reads the cell that begins at *at and moves *at to its separator or to end. Scratch moves behind what was put
 * there. */
static bool cell_quoted(cell *c, const char **at, const char *end, char separator, char **scratch, wr_reason *reason)
{
    const char *from = *at + 1;
    char       *to = NULL;
    for (const char *p = from;;) {
        const char *quote = memchr(p, '"', (size_t)(end - p));
        if (quote == NULL) return wr_reason_set(reason, "a quoted field is not closed before the end of the record");
        bool twice = quote + 1 < end && quote[1] == '"';
        if (to == NULL && !twice) {
            *c = (cell){.at = from, .n = (size_t)(quote - from), .quoted = true};
        } else {
            if (to == NULL) to = *scratch;
            size_t part = (size_t)(quote - p) + (twice ? 1u : 0u);
            memcpy(to, p, part);
            to += part;
        }
        p = quote + (twice ? 2 : 1);
        if (twice) continue;
        *at = p;
        break;
    }
    if (to != NULL) {
        *c = (cell){.at = *scratch, .n = (size_t)(to - *scratch), .quoted = true, .rewritten = true};
        *scratch = to;
    }
    if (*at == end || **at == separator) return true;
    char show[8];
    return wr_reason_set(reason, "'%s' behind a closing quote; a quote within a quoted field is written twice",
                         wr_shown(show, sizeof show, *at, 1));
}

static bool cell_next(cell *c, const char **at, const char *end, char separator, char **scratch, wr_reason *reason)
{
    const char *p = *at;
    if (p < end && *p == '"') return cell_quoted(c, at, end, separator, scratch, reason);
    p = find_either(p, end, separator, '"');
    if (p < end && *p == '"')
        return wr_reason_set(reason, "a quote within a field that does not begin with one; put the field in quotes");
    *c = (cell){.at = *at, .n = (size_t)(p - *at)};
    *at = p;
    return true;
}

static wr_err csv_prepare(wr_codec *codec, wr_errinfo *info)
{
    const weir_type *type = codec->type;
    unsigned char    separator = (unsigned char)codec->separator;
    if (separator == '"' || separator == '\n' || separator == '\r' || separator >= 0x80)
        return wr_fail(info, WR_OPTION,
                       "separator: a quote, a line break or a byte above 127 cannot part CSV fields; use , ; or a tab");
    if (codec->header && wr_csv_header_bound(codec) > WR_CSV_HEADER_BYTES_MAX)
        return wr_fail(info, WR_LIMIT,
                       "the header line of record %s may have up to %zu bytes, and at most %d are possible; give its "
                       "columns shorter names by .fields",
                       type->name, wr_csv_header_bound(codec), WR_CSV_HEADER_BYTES_MAX);
    for (uint32_t i = 0; i < type->fields; i++) {
        if (type->field[i].kind == WEIR_BYTES)
            return wr_fail(info, WR_FORMAT,
                           "format csv is text and cannot hold weir_bytes; record %s, field %s; use raw, or weir_str",
                           type->name, type->field[i].name);
        /* Letters: true, nan, inf, 1e9, 2024-05-06T07:08:09Z. */
        bool stands = isalnum(separator) || strchr("+-.:[] ", separator) != NULL;
        if (stands && !wr_kind_is_string(type->field[i].kind))
            return wr_fail(info, WR_OPTION, "separator: '%c' can stand in numbers, bools and times; use , ; or a tab",
                           separator);
    }
    return WR_OK;
}

static bool csv_frame(const wr_codec *codec, const char *bytes, size_t n, wr_frame *frame, wr_reason *reason)
{
    (void)reason;
    size_t at = 0, quotes = 0;
    *frame = (wr_frame){.content = n};
    for (;;) {
        const char *end = memchr(bytes + at, '\n', n - at);
        size_t      stop = end == NULL ? n : (size_t)(end - bytes);
        if (codec->multiline) {
            for (size_t i = at; i < stop; i++) quotes += bytes[i] == '"';
        }
        if (end != NULL) frame->lines++;
        if (end == NULL) break;
        at = stop + 1;
        if (quotes % 2 != 0) continue; /* the break lies within quotes */
        frame->whole = at;
        frame->content = stop;
        break;
    }
    if (frame->content > 0 && bytes[frame->content - 1] == '\r') frame->content--;
    return true;
}

static bool in_field(wr_reason *reason, const char *name)
{
    char text[sizeof reason->text];
    memcpy(text, reason->text, sizeof text);
    return wr_reason_set(reason, "field %s: %.900s", name, text);
}

static bool csv_decode(const wr_codec *codec, const wr_layout *layout, const char *bytes, size_t n, void *record,
                       char *scratch, wr_reason *reason)
{
    const weir_type *type = codec->type;
    const char      *at = bytes, *end = bytes + n;
    uint32_t         column = 0;
    for (;; at++) {
        cell c = {.at = at};
        int  index = column < layout->columns ? layout->field[column] : -1;
        if (!cell_next(&c, &at, end, codec->separator, &scratch, reason))
            return index < 0 ? false : in_field(reason, type->field[index].name);
        if (index >= 0) {
            const weir_field *field = &type->field[index];
            if (wr_kind_is_string(field->kind)) {
                *(weir_str *)(void *)((char *)record + field->offset) = weir_str_of(c.at, c.n);
            } else if (!wr_value_read(field, codec->field[index].unit, c.at, c.n, record, reason)) {
                return false;
            }
        }
        column++;
        if (at == end) break;
    }
    if (column == layout->columns) return true;
    return wr_reason_set(reason, "%u column%s, %u wanted", column, column == 1 ? "" : "s", layout->columns);
}

static int field_called(const wr_codec *codec, const char *name, size_t n)
{
    for (uint32_t i = 0; i < codec->type->fields; i++) {
        if (codec->field[i].name_bytes == n && memcmp(codec->field[i].name, name, n) == 0) return (int)i;
    }
    return -1;
}

bool wr_layout_of_header(wr_layout *layout, const wr_codec *codec, const char *line, size_t n, wr_reason *reason)
{
    const char *at = line, *end = line + n;
    bool        found[WR_FIELDS_MAX] = {false};
    char        scratch[WR_CSV_HEADER_BYTES_MAX], *to = scratch;
    if (n > sizeof scratch)
        return wr_reason_set(reason, "a header line of %zu bytes; at most %zu are possible", n, sizeof scratch);
    layout->columns = 0;
    for (;; at++) {
        cell c = {.at = at};
        if (layout->columns == WR_COLUMNS_MAX)
            return wr_reason_set(reason, "the header has more than %d columns", WR_COLUMNS_MAX);
        if (!cell_next(&c, &at, end, codec->separator, &to, reason)) return in_field(reason, "of the header");
        int index = field_called(codec, c.at, c.n);
        if (index >= 0 && found[index])
            return wr_reason_set(reason, "the header names column \"%s\" twice", codec->field[index].name);
        if (index >= 0) found[index] = true;
        layout->field[layout->columns++] = (int16_t)index;
        if (at == end) break;
    }
    for (uint32_t i = 0; i < codec->type->fields; i++) {
        if (found[i]) continue;
        return wr_reason_set(
            reason, "the header has no column \"%s\"; it is \"%.*s%s\"; map the field by .fields = \"%s=COLUMN\"",
            codec->field[i].name, (int)(n < 200 ? n : 200), line, n < 200 ? "" : "...", codec->type->field[i].name);
    }
    return true;
}

/* first: of its line. */
static bool needs_quotes(const wr_codec *codec, const char *text, size_t n, bool first)
{
    if (n == 0) return codec->type->fields == 1; /* an empty line could be taken for a blank one */
    if (first && n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) return true; /* and this for the mark of UTF-8 */
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (c == codec->separator || c == '"' || c == '\n' || c == '\r') return true;
    }
    return false;
}

static char *write_string(const wr_codec *codec, const char *text, size_t n, bool first, char *to)
{
    if (!needs_quotes(codec, text, n, first)) {
        memcpy(to, text, n);
        return to + n;
    }
    *to++ = '"';
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '"') *to++ = '"';
        *to++ = text[i];
    }
    *to++ = '"';
    return to;
}

static size_t csv_bound(const wr_codec *codec, const void *record)
{
    size_t bytes = 1;
    for (uint32_t i = 0; i < codec->type->fields; i++) {
        const weir_field *field = &codec->type->field[i];
        const weir_str   *str = (const weir_str *)(const void *)((const char *)record + field->offset);
        bytes += wr_kind_is_string(field->kind) ? 2 * (size_t)str->len + 3 : wr_value_bound(field) + 1;
    }
    return bytes;
}

static char *csv_encode(const wr_codec *codec, const void *record, char *to)
{
    for (uint32_t i = 0; i < codec->type->fields; i++) {
        const weir_field *field = &codec->type->field[i];
        if (i > 0) *to++ = codec->separator;
        if (wr_kind_is_string(field->kind)) {
            const weir_str *str = (const weir_str *)(const void *)((const char *)record + field->offset);
            to = write_string(codec, weir_str_data(str), str->len, i == 0, to);
        } else {
            to = wr_value_write(field, codec->field[i].unit, record, to);
        }
    }
    *to++ = '\n';
    return to;
}

size_t wr_csv_header_bound(const wr_codec *codec)
{
    size_t bytes = 1;
    for (uint32_t i = 0; i < codec->type->fields; i++) bytes += 2 * codec->field[i].name_bytes + 3;
    return bytes;
}

char *wr_csv_header(const wr_codec *codec, char *to)
{
    for (uint32_t i = 0; i < codec->type->fields; i++) {
        if (i > 0) *to++ = codec->separator;
        to = write_string(codec, codec->field[i].name, codec->field[i].name_bytes, i == 0, to);
    }
    *to++ = '\n';
    return to;
}

const wr_format wr_format_csv = {
    .name = "csv",
    .summary = "comma-separated values (RFC 4180), one column per field",
    .lines = true,
    .prepare = csv_prepare,
    .frame = csv_frame,
    .decode = csv_decode,
    .bound = csv_bound,
    .encode = csv_encode,
};
