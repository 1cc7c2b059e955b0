/* Rows of CSV, and the line that names the columns. Strings against a parser that reads byte by byte as the rules
 * say; all kinds of fields by printing what was read and reading it again. */
#include "connectors/format.h"
#include "tests/fuzz/fuzz.h"

typedef struct words {
    weir_str a, b, c;
} words;
static const weir_field words_fields[] = {FUZZ_FIELD(words, a, WEIR_STR), FUZZ_FIELD(words, b, WEIR_STR),
                                          FUZZ_FIELD(words, c, WEIR_STR)};
static const weir_type  words_type = FUZZ_TYPE(words, words_fields);

typedef struct numbers {
    int64_t   i64;
    uint64_t  u64;
    double    f64;
    weir_time time, seconds;
    weir_str  text;
    int32_t   i32;
    float     f32;
    int16_t   list[3];
    uint8_t   u8;
    bool      flag, flags[2];
} numbers;
static const weir_field numbers_fields[] = {
    FUZZ_FIELD(numbers, flag, WEIR_BOOL),    FUZZ_FIELD(numbers, i64, WEIR_I64),
    FUZZ_FIELD(numbers, text, WEIR_STR),     FUZZ_FIELD(numbers, list, WEIR_I16 | WEIR_ARRAY),
    FUZZ_FIELD(numbers, f64, WEIR_F64),      FUZZ_FIELD(numbers, time, WEIR_TIME),
    FUZZ_FIELD(numbers, seconds, WEIR_TIME), FUZZ_FIELD(numbers, u64, WEIR_U64),
    FUZZ_FIELD(numbers, i32, WEIR_I32),      FUZZ_FIELD(numbers, f32, WEIR_F32),
    FUZZ_FIELD(numbers, u8, WEIR_U8),        FUZZ_FIELD(numbers, flags, WEIR_BOOL | WEIR_ARRAY),
};
static const weir_type         numbers_type = FUZZ_TYPE(numbers, numbers_fields);
static const wr_endpoint_field numbers_names[] = {
    {"flag"}, {"i64"}, {"text"}, {"list"}, {"f64"},  {"time"}, {"seconds", WR_UNIT_S},
    {"u64"},  {"i32"}, {"f32"},  {"u8"},   {"flags"}};

/* ---- by the rules ------------------------------------------------------------------------------------------------ */

enum { CELLS_MAX = 4 };

/* The cells of a row, ended by zero bytes in `to`. -1: it is none. More cells than CELLS_MAX are only counted. */
static int naive_row(const char *row, size_t n, char separator, char *to, size_t length[CELLS_MAX])
{
    int    count = 0;
    size_t at = 0;
    for (;;) {
        size_t cell = 0;
        bool   quoted = at < n && row[at] == '"';
        at += quoted;
        for (;; at++) {
            if (at == n && quoted) return -1;
            if (at == n || (row[at] == separator && !quoted)) break;
            if (row[at] == '"') {
                if (!quoted) return -1;
                bool twice = at + 1 < n && row[at + 1] == '"';
                at++;
                if (!twice) break;
            }
            *to++ = row[at];
            cell++;
        }
        if (at < n && row[at] != separator) return -1;
        if (count < CELLS_MAX) length[count] = cell;
        count++;
        if (at == n) return count;
        at++;
    }
}

static void row_like_naive(const wr_codec *codec, const char *row, size_t n)
{
    wr_layout layout;
    wr_reason reason;
    words     w = {0};
    size_t    length[CELLS_MAX];
    char     *scratch = own("", 0), *cells = own("", 0);
    scratch = realloc(scratch, n + 1);
    cells = realloc(cells, n + 1);
    wr_layout_init(&layout, codec);
    int  count = naive_row(row, n, codec->separator, cells, length);
    bool good = codec->format->decode(codec, &layout, row, n, &w, scratch, &reason);
    must(good == (count == 3));
    if (good) {
        const weir_str *got[] = {&w.a, &w.b, &w.c};
        const char     *wanted = cells;
        for (int i = 0; i < 3; wanted += length[i++]) {
            must(got[i]->len == length[i]);
            must(memcmp(weir_str_data(got[i]), wanted, length[i]) == 0);
        }
    } else {
        must(reason.text[0] != 0);
    }
    free(scratch);
    free(cells);
}

/* ---- round trips ------------------------------------------------------------------------------------------------- */

static char *encoded(const wr_codec *codec, const void *record, size_t *n)
{
    size_t bound = codec->format->bound(codec, record);
    char  *text = malloc(bound);
    must(text != NULL);
    *n = (size_t)(codec->format->encode(codec, record, text) - text);
    must(*n > 0 && *n <= bound);
    return text;
}

/* What can be read can be printed, and reads back as a record that prints the same. */
static void round_trip(const wr_codec *codec, const char *row, size_t n)
{
    wr_layout         layout;
    wr_reason         reason;
    wr_frame          frame;
    size_t            first_n, again_n;
    _Alignas(16) char record[256] = {0}, back[256] = {0};
    must(codec->type->size <= sizeof record);
    wr_layout_init(&layout, codec);
    char *scratch = malloc(n + 1);
    must(scratch != NULL);
    if (codec->format->decode(codec, &layout, row, n, record, scratch, &reason)) {
        char  line[64];
        char *first = encoded(codec, record, &first_n);
        must(wr_record_print(codec->type, record, line, sizeof line) < sizeof line);
        must(codec->format->frame(codec, first, first_n, &frame, &reason));
        if (codec->multiline || memchr(first, '\n', first_n - 1) == NULL) {
            must(frame.whole == first_n);
            char *other = malloc(first_n);
            must(other != NULL);
            must(codec->format->decode(codec, &layout, first, frame.content, back, other, &reason));
            char *again = encoded(codec, back, &again_n);
            must(first_n == again_n && memcmp(first, again, first_n) == 0);
            free(again);
            free(other);
        }
        free(first);
    } else {
        must(reason.text[0] != 0);
    }
    free(scratch);
}

/* A record ends where it ends, however much of it is there already. */
static void frames_alike(const wr_codec *codec, const char *bytes, size_t n)
{
    wr_frame  whole, part;
    wr_reason reason;
    must(codec->format->frame(codec, bytes, n, &whole, &reason));
    must(whole.whole <= n && whole.content <= n);
    for (size_t i = 0; i <= n; i += 1 + n / 64) {
        must(codec->format->frame(codec, bytes, i, &part, &reason));
        must(part.whole == (whole.whole != 0 && whole.whole <= i ? whole.whole : 0));
        if (part.whole != 0) must(part.content == whole.content && part.lines == whole.lines);
    }
}

static void header(const wr_codec *codec, const char *line, size_t n)
{
    static wr_layout layout; /* large */
    wr_reason        reason;
    uint32_t         seen[WR_FIELDS_MAX] = {0};
    if (!wr_layout_of_header(&layout, codec, line, n, &reason)) {
        must(reason.text[0] != 0);
        return;
    }
    must(layout.columns <= WR_COLUMNS_MAX);
    for (uint32_t i = 0; i < layout.columns; i++) {
        must(layout.field[i] >= -1 && layout.field[i] < (int)codec->type->fields);
        if (layout.field[i] >= 0) seen[layout.field[i]]++;
    }
    for (uint32_t i = 0; i < codec->type->fields; i++) must(seen[i] == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    input         in = {bytes, bytes + size};
    uint8_t       flags = take_u8(&in), separator = take_u8(&in);
    wr_codec     *codec;
    wr_errinfo    info = {0};
    bool          with_numbers = flags & 1;
    wr_codec_spec spec = {.type = with_numbers ? &numbers_type : &words_type,
                          .format = "csv",
                          .field = with_numbers ? numbers_names : NULL,
                          .separator = (char)separator,
                          .multiline = flags & 2};
    if (wr_codec_new(&codec, &spec, &info) != WR_OK) {
        must(info.text[0] != 0);
        return 0;
    }
    size_t n = rest(&in);
    char  *row = own(in.at, n);
    frames_alike(codec, row, n);
    header(codec, row, n);
    round_trip(codec, row, n);
    if (!with_numbers) row_like_naive(codec, row, n);
    free(row);
    wr_codec_free(codec);
    return 0;
}
