/* Formats in both directions: random records come back as they were; bad input is named precisely. */
#include "tests/unit/connectors/drive.h"
#include <float.h>
#include <math.h>

typedef struct every {
    bool      b;
    int8_t    i8;
    int16_t   i16;
    int32_t   i32;
    int64_t   i64;
    uint8_t   u8;
    uint16_t  u16;
    uint32_t  u32;
    uint64_t  u64;
    float     f32;
    double    f64;
    weir_time at;
    weir_str  text;
    int16_t   three[3];
    weir_time at_ms;
    weir_str  last;
    double    two[2];
} every;
static const weir_field every_fields[] = {FIELD(every, b, WEIR_BOOL),
                                          FIELD(every, i8, WEIR_I8),
                                          FIELD(every, i16, WEIR_I16),
                                          FIELD(every, i32, WEIR_I32),
                                          FIELD(every, i64, WEIR_I64),
                                          FIELD(every, u8, WEIR_U8),
                                          FIELD(every, u16, WEIR_U16),
                                          FIELD(every, u32, WEIR_U32),
                                          FIELD(every, u64, WEIR_U64),
                                          FIELD(every, f32, WEIR_F32),
                                          FIELD(every, f64, WEIR_F64),
                                          FIELD(every, at, WEIR_TIME),
                                          FIELD(every, text, WEIR_STR),
                                          FIELD(every, three, WEIR_I16 | WEIR_ARRAY),
                                          FIELD(every, at_ms, WEIR_TIME),
                                          FIELD(every, last, WEIR_STR),
                                          FIELD(every, two, WEIR_F64 | WEIR_ARRAY)};
static const weir_type  every_type = TYPE(every, every_fields);
enum { AT_MS = 14 };

typedef struct tick {
    weir_str  symbol;
    double    price;
    int32_t   size;
    weir_time at;
} tick;
static const weir_field tick_fields[] = {FIELD(tick, symbol, WEIR_STR), FIELD(tick, price, WEIR_F64),
                                         FIELD(tick, size, WEIR_I32), FIELD(tick, at, WEIR_TIME)};
static const weir_type  tick_type = TYPE(tick, tick_fields);

typedef struct blob {
    weir_bytes bytes;
    uint32_t   n;
} blob;
static const weir_field blob_fields[] = {FIELD(blob, bytes, WEIR_BYTES), FIELD(blob, n, WEIR_U32)};
static const weir_type  blob_type = TYPE(blob, blob_fields);

static wr_codec *codec_of(const weir_type *type, const char *format)
{
    wr_codec     *codec = NULL;
    wr_errinfo    info = {0};
    wr_codec_spec spec = {.type = type, .format = format, .separator = ','};
    if (wr_codec_new(&codec, &spec, &info) != WR_OK) fail_msg("%s", info.text);
    return codec;
}

static weir_str random_string(wr_prng *prng, char *room, bool csv_safe)
{
    static const char hard[] = "\",;\r\n' \tab\"\"";
    size_t            n = wr_prng_one_in(prng, 4) ? 0 : wr_prng_below(prng, 40);
    for (size_t i = 0; i < n; i++) {
        room[i] = wr_prng_one_in(prng, 3) ? hard[wr_prng_below(prng, sizeof hard - 1)] : (char)wr_prng_below(prng, 256);
        if (csv_safe && room[i] == '\n') room[i] = 'n';
    }
    return weir_str_of(room, n);
}

static every random_record(wr_prng *prng, char *room, bool csv_safe)
{
    every e;
    memset(&e, 0, sizeof e);
    uint64_t x = wr_prng_next(prng) >> wr_prng_below(prng, 64);
    e.b = x & 1;
    e.i8 = (int8_t)x, e.i16 = (int16_t)x, e.i32 = (int32_t)x, e.i64 = (int64_t)wr_prng_next(prng);
    e.u8 = (uint8_t)x, e.u16 = (uint16_t)x, e.u32 = (uint32_t)x, e.u64 = x;
    e.f32 = (float)((double)(int64_t)wr_prng_next(prng) * pow(10, (double)wr_prng_below(prng, 40) - 30));
    e.f64 = (double)(int64_t)wr_prng_next(prng) * pow(10, (double)wr_prng_below(prng, 500) - 260);
    e.at.ns = (int64_t)wr_prng_below(prng, INT64_MAX);
    e.at_ms.ns = (int64_t)wr_prng_below(prng, INT64_MAX / 1000000) * 1000000;
    e.text = random_string(prng, room, csv_safe);
    e.last = random_string(prng, room + 64, csv_safe);
    for (int i = 0; i < 3; i++) e.three[i] = (int16_t)wr_prng_next(prng);
    e.two[0] = wr_prng_unit(prng), e.two[1] = -wr_prng_unit(prng);
    return e;
}

static void assert_same(const weir_type *type, const void *a, const void *b)
{
    for (uint32_t i = 0; i < type->fields; i++) {
        const weir_field *f = &type->field[i];
        const char       *x = (const char *)a + f->offset, *y = (const char *)b + f->offset;
        const weir_str   *s = (const weir_str *)(const void *)x, *t = (const weir_str *)(const void *)y;
        bool              same = wr_kind_is_string(f->kind) ? weir_str_equal(s, t) : memcmp(x, y, f->size) == 0;
        if (!same) fail_msg("field %s differs", f->name);
    }
}

/* Encodes, frames and decodes; line formats without their line end. */
static void round_trip(const wr_codec *codec, const void *record)
{
    static char bytes[65536], scratch[65536];
    static char back[4096];
    wr_layout   layout;
    wr_frame    frame;
    wr_reason   reason = {""};
    size_t      bound = codec->format->bound(codec, record);
    assert_true(bound <= sizeof bytes);
    char  *end = codec->format->encode(codec, record, bytes);
    size_t n = (size_t)(end - bytes);
    assert_true(n <= bound);
    assert_true(codec->format->frame(codec, bytes, n, &frame, &reason));
    assert_int_equal(frame.whole, n);
    for (size_t cut = 0; cut < n && !codec->multiline; cut += 1 + n / 7) {
        wr_frame part;
        assert_true(codec->format->frame(codec, bytes, cut, &part, &reason));
        assert_int_equal(part.whole, 0);
    }
    wr_layout_init(&layout, codec);
    memset(back, 0, sizeof back);
    if (!codec->format->decode(codec, &layout, bytes, frame.content, back, scratch, &reason))
        fail_msg("%s", reason.text);
    assert_same(codec->type, record, back);
}

static void random_records_round_trip(void **state)
{
    (void)state;
    wr_prng           prng = wr_prng_of(42);
    wr_endpoint_field fields[17] = {{0}};
    char              room[128];
    fields[AT_MS] = (wr_endpoint_field){"stamp", WR_UNIT_MS};
    wr_errinfo    info = {0};
    wr_codec_spec spec = {.type = &every_type, .format = "csv", .field = fields, .multiline = true};
    wr_codec     *csv = NULL, *lines = codec_of(&every_type, "csv"), *raw = codec_of(&every_type, "raw");
    assert_int_equal(wr_codec_new(&csv, &spec, &info), WR_OK);
    for (int i = 0; i < 20000; i++) {
        every e = random_record(&prng, room, false);
        round_trip(csv, &e);
        round_trip(raw, &e);
        e = random_record(&prng, room, true);
        round_trip(lines, &e);
    }
    wr_codec_free(csv);
    wr_codec_free(lines);
    wr_codec_free(raw);
}

static void text_and_bytes_round_trip(void **state)
{
    (void)state;
    wr_codec *text = codec_of(&line_type, "text"), *raw = codec_of(&blob_type, "raw");
    line      l = {weir_lit("some words, \"quoted\" or not")};
    line      empty = {weir_lit("")};
    blob      b = {{weir_lit("\0\1\2 bytes \xff\xfe and more of them")}, 7};
    assert_true(text->plain);
    round_trip(text, &l);
    round_trip(text, &empty);
    round_trip(raw, &b);
    wr_codec_free(text);
    wr_codec_free(raw);
}

static void csv_writes_what_people_expect(void **state)
{
    (void)state;
    wr_codec *csv = codec_of(&tick_type, "csv");
    tick      t = {weir_lit("AC\"ME, Inc"), 12.5, -3, {1714979289123000000}};
    char      bytes[256], printed[256];
    *csv->format->encode(csv, &t, bytes) = 0;
    assert_string_equal(bytes, "\"AC\"\"ME, Inc\",12.5,-3,2024-05-06T07:08:09.123Z\n");
    *wr_csv_header(csv, bytes) = 0;
    assert_string_equal(bytes, "symbol,price,size,at\n");
    size_t n = wr_record_print(&tick_type, &t, printed, sizeof printed);
    assert_string_equal(printed, "{symbol=\"AC\\\"ME, Inc\", price=12.5, size=-3, at=2024-05-06T07:08:09.123Z}");
    assert_int_equal(n, strlen(printed));
    for (size_t room = 1; room < n; room++) { /* cut anywhere, always ended */
        assert_int_equal(wr_record_print(&tick_type, &t, printed, room), room - 1);
        assert_int_equal(printed[room - 1], 0);
    }
    blob b = {{weir_lit("weir")}, 4};
    wr_record_print(&blob_type, &b, printed, sizeof printed);
    assert_string_equal(printed, "{bytes=base64(d2Vpcg==), n=4}");
    wr_codec_free(csv);
}

static void malformed_csv_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *line, *reason;
    } cases[] = {
        {"A,abc,1,2024-05-06", "field price: 'abc' is not a number"},
        {"A,,1,2024-05-06", "field price: empty, double wanted"},
        {"A,1.5,1.5,2024-05-06", "field size: '1.5' is not a whole number"},
        {"A,1.5, 1,2024-05-06", "field size: ' 1' is not a whole number"},
        {"A,1.5,3000000000,2024-05-06", "field size: '3000000000' does not fit into int32_t"},
        {"A,1.5,99999999999999999999999,2024-05-06", "does not fit into int32_t"},
        {"A,1.5,1,yesterday", "field at: 'yesterday' is not a time (2024-05-06T07:08:09.123Z)"},
        {"A,1.5,1,2024-13-06", "field at: '2024-13-06' is not a time"},
        {"A,1.5,1,2300-01-01", "field at: '2300-01-01' is a time beyond the years 1678 to 2261"},
        {"A,1.5,1,2300-01-01T25:00:00", "is not a time"},
        {"A,2e308,1,2024-05-06", "field price: '2e308' does not fit into double"},
        {"A,-2e308x,1,2024-05-06", "field price: '-2e308x' is not a number"},
        {"A,1.5,1", "3 columns, 4 wanted"},
        {"", "field price"},
        {"A,1.5,1,2024-05-06,", "5 columns, 4 wanted"},
        {"\"A,1.5,1,2024-05-06", "field symbol: a quoted field is not closed"},
        {"\"A\"B,1.5,1,2024-05-06", "field symbol: 'B' behind a closing quote"},
        {"A\"B,1.5,1,2024-05-06", "field symbol: a quote within a field that does not begin with one"},
        {"A,\"1.5\"\"\",1,2024-05-06", "field price: '1.5\"' is not a number"},
        {"A,0x10,1,2024-05-06", "field price: '0x10' is not a number"},
        {"A,1\x01,1,2024-05-06", "'1?' is not a number"},
    };
    wr_codec *csv = codec_of(&tick_type, "csv");
    wr_layout layout;
    char      scratch[256];
    tick      t;
    wr_layout_init(&layout, csv);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        wr_reason reason = {""};
        size_t    n = strlen(cases[i].line);
        bool      ok = csv->format->decode(csv, &layout, cases[i].line, n, &t, scratch, &reason);
        if (ok) fail_msg("\"%s\" was taken", cases[i].line);
        if (cases[i].line[0] != 0)
            assert_contains(reason.text, cases[i].reason);
        else
            assert_contains(reason.text, "1 column, 4 wanted");
    }
    static const char nul[] = "\"A\"\0,1.5,1,2024-05-06"; /* would end the reason where it stands */
    wr_reason         reason;
    assert_false(csv->format->decode(csv, &layout, nul, sizeof nul - 1, &t, scratch, &reason));
    assert_contains(reason.text, "field symbol: '?' behind a closing quote; a quote within");
    wr_codec_free(csv);
}

static void small_kinds_check_their_range(void **state)
{
    (void)state;
    static const struct {
        uint32_t    kind, size;
        const char *good, *bad;
    } cases[] = {
        {WEIR_I8, 1, "-128", "-129"},
        {WEIR_I8, 1, "127", "128"},
        {WEIR_U8, 1, "255", "256"},
        {WEIR_U8, 1, "0", "-1"},
        {WEIR_I16, 2, "-32768", "32768"},
        {WEIR_U16, 2, "65535", "65536"},
        {WEIR_I32, 4, "-2147483648", "2147483648"},
        {WEIR_U32, 4, "4294967295", "4294967296"},
        {WEIR_I64, 8, "-9223372036854775808", "9223372036854775808"},
        {WEIR_U64, 8, "18446744073709551615", "18446744073709551616"},
        {WEIR_F32, 4, "3e38", "4e38"},
        {WEIR_F32, 4, "inf", "2e308"},
        {WEIR_F64, 8, "1e308", "2e308"},
        {WEIR_F64, 8, "-Infinity", "-1e400"},
        {WEIR_F64, 8, "1e308", "one"},
        {WEIR_BOOL, 1, "true", "maybe"},
        {WEIR_I64, 8, "123456789012345678", "-"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        weir_field field = {.name = "x", .size = cases[i].size, .kind = cases[i].kind};
        char       to[8];
        wr_reason  reason;
        if (!wr_value_read(&field, 0, cases[i].good, strlen(cases[i].good), to, &reason))
            fail_msg("%s: %s", cases[i].good, reason.text);
        char text[WR_TEXT_NUMBER_MAX + 4];
        if (cases[i].kind <= WEIR_U64 && cases[i].kind > WEIR_BOOL) {
            *wr_value_write(&field, 0, to, text) = 0;
            assert_string_equal(text, cases[i].good);
        }
        assert_false(wr_value_read(&field, 0, cases[i].bad, strlen(cases[i].bad), to, &reason));
        bool number = strspn(cases[i].bad, "-e0123456789") == strlen(cases[i].bad) && strlen(cases[i].bad) > 1;
        assert_contains(reason.text, number && cases[i].bad[0] != 'e' ? "does not fit into " : "x: '");
    }
    weir_field  array = {.name = "a", .size = 4, .kind = WEIR_I16 | WEIR_ARRAY};
    const char *bad[] = {"", "1 2", "[1 2", "[1]", "[1 2 3]", "[1 x]", "[]", "["};
    char        to[4];
    wr_reason   reason;
    assert_true(wr_value_read(&array, 0, "[1  -2]", 7, to, &reason));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(wr_value_read(&array, 0, bad[i], strlen(bad[i]), to, &reason));
}

static void headers_map_columns(void **state)
{
    (void)state;
    wr_endpoint_field fields[4] = {{0}};
    fields[3] = (wr_endpoint_field){"@timestamp", WR_UNIT_MS};
    wr_errinfo    info = {0};
    wr_codec_spec spec = {.type = &tick_type, .format = "csv", .field = fields, .separator = ';', .header = true};
    wr_codec     *csv = NULL;
    wr_layout     layout;
    wr_reason     reason;
    char          scratch[64];
    tick          t;
    assert_int_equal(wr_codec_new(&csv, &spec, &info), WR_OK);
    const char *header = "@timestamp;venue;\"price\";symbol;size", *row = "1714979289123;XETRA;1e2;SAP;5";
    assert_true(wr_layout_of_header(&layout, csv, header, strlen(header), &reason));
    if (!csv->format->decode(csv, &layout, row, strlen(row), &t, scratch, &reason)) fail_msg("%s", reason.text);
    assert_str(&t.symbol, "SAP");
    assert_true(t.price == 100 && t.size == 5 && t.at.ns == 1714979289123000000);
    const char *missing = "@timestamp;symbol;size";
    assert_false(wr_layout_of_header(&layout, csv, missing, strlen(missing), &reason));
    assert_contains(reason.text, "no column \"price\"");
    const char *twice = "@timestamp;symbol;size;price;size";
    assert_false(wr_layout_of_header(&layout, csv, twice, strlen(twice), &reason));
    assert_contains(reason.text, "\"size\" twice");
    wr_codec_free(csv);
}

static void what_cannot_fit_is_refused(void **state)
{
    (void)state;
    static const struct {
        const weir_type *type;
        wr_codec_spec    spec;
        wr_err           err;
        const char      *text;
    } cases[] = {
        {&tick_type, {.format = "text"}, WR_FORMAT, "use .format = WEIR_CSV"},
        {&tick_type, {.format = NULL}, WR_FORMAT, "format text takes one field"},
        {&blob_type, {.format = "csv"}, WR_FORMAT, "cannot hold weir_bytes"},
        {&tick_type, {.format = "cvs"}, WR_FORMAT, "did you mean \"csv\""},
        {&tick_type, {.format = "json"}, WR_NOT_YET, "not yet"},
        {&tick_type, {.format = "raw", .header = true}, WR_OPTION, "no header"},
        {&tick_type, {.format = "csv", .separator = '"'}, WR_OPTION, "separator"},
        {&tick_type, {.format = "csv", .separator = '.'}, WR_OPTION, "'.' can stand in numbers"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        wr_codec_spec spec = cases[i].spec;
        wr_codec     *codec = NULL;
        wr_errinfo    info = {0};
        spec.type = cases[i].type;
        assert_int_equal(wr_codec_new(&codec, &spec, &info), cases[i].err);
        assert_null(codec);
        assert_contains(info.text, cases[i].text);
    }
}

static void damaged_raw_is_named(void **state)
{
    (void)state;
    wr_codec *raw = codec_of(&blob_type, "raw");
    wr_frame  frame;
    wr_reason reason;
    wr_layout layout;
    blob      b;
    assert_int_equal(raw->record_bytes, 0);
    assert_false(raw->format->frame(raw, "\xff\xff\xff\xff....", 8, &frame, &reason));
    assert_contains(reason.text, "field bytes: a string of 4294967295 bytes");
    assert_false(raw->format->decode(raw, &layout, "\5\0\0\0ab", 6, &b, NULL, &reason));
    assert_contains(reason.text, "only 2 more");
    assert_false(raw->format->decode(raw, &layout, "\1\0\0\0a\1\2\3", 8, &b, NULL, &reason));
    assert_contains(reason.text, "field n: the record ends");
    assert_false(raw->format->decode(raw, &layout, "\1\0\0\0a\1\2\3\4\5", 10, &b, NULL, &reason));
    assert_contains(reason.text, "1 bytes too many");
    assert_false(raw->format->decode(raw, &layout, "\1\0", 2, &b, NULL, &reason));
    wr_codec_free(raw);
}

/* Random bytes and slightly damaged records: refused or taken, never out of bounds (run under ASan). */
static void garbage_is_survived(void **state)
{
    (void)state;
    wr_prng     prng = wr_prng_of(7);
    wr_codec   *codecs[] = {codec_of(&every_type, "csv"), codec_of(&every_type, "raw"), codec_of(&tick_type, "csv")};
    static char back[4096];
    char        room[128];
    int         taken = 0, refused = 0;
    for (int i = 0; i < 30000; i++) {
        wr_codec *codec = codecs[i % 3];
        every     e = random_record(&prng, room, true);
        tick      t = {weir_lit("SYM"), 1, 2, {3}};
        char     *bytes = malloc(8192);
        size_t n = (size_t)(codec->format->encode(codec, codec->type == &tick_type ? (void *)&t : (void *)&e, bytes) -
                            bytes);
        if (codec->format->lines) n--;
        for (uint64_t k = wr_prng_below(&prng, 3); k > 0; k--)
            bytes[wr_prng_below(&prng, n)] = (char)wr_prng_next(&prng);
        if (wr_prng_one_in(&prng, 4)) n = wr_prng_below(&prng, n);
        char     *exact = malloc(n + 1), *scratch = malloc(n + 1);
        wr_layout layout;
        wr_reason reason;
        memcpy(exact, bytes, n);
        wr_layout_init(&layout, codec);
        if (codec->format->decode(codec, &layout, exact, n, back, scratch, &reason))
            taken++;
        else
            refused++;
        free(bytes);
        free(exact);
        free(scratch);
    }
    assert_true(taken > 1000 && refused > 1000);
    for (int i = 0; i < 3; i++) wr_codec_free(codecs[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_records_round_trip),     cmocka_unit_test(text_and_bytes_round_trip),
        cmocka_unit_test(csv_writes_what_people_expect), cmocka_unit_test(malformed_csv_is_named),
        cmocka_unit_test(small_kinds_check_their_range), cmocka_unit_test(headers_map_columns),
        cmocka_unit_test(what_cannot_fit_is_refused),    cmocka_unit_test(damaged_raw_is_named),
        cmocka_unit_test(garbage_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
