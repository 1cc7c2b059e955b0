/* Raw records: what is read is written back as the same bytes, and values are what their type may hold. */
#include "connectors/format.h"
#include "tests/fuzz/fuzz.h"

typedef struct mixed {
    weir_str   text;
    weir_bytes bytes;
    double     number;
    int16_t    list[3];
    bool       flag, flags[3];
    uint8_t    small;
} mixed;
static const weir_field mixed_fields[] = {
    FUZZ_FIELD(mixed, small, WEIR_U8),    FUZZ_FIELD(mixed, text, WEIR_STR),
    FUZZ_FIELD(mixed, flag, WEIR_BOOL),   FUZZ_FIELD(mixed, list, WEIR_I16 | WEIR_ARRAY),
    FUZZ_FIELD(mixed, bytes, WEIR_BYTES), FUZZ_FIELD(mixed, flags, WEIR_BOOL | WEIR_ARRAY),
    FUZZ_FIELD(mixed, number, WEIR_F64),
};
static const weir_type mixed_type = FUZZ_TYPE(mixed, mixed_fields);

typedef struct fixed {
    uint64_t wide;
    bool     flag;
    uint8_t  small;
} fixed;
static const weir_field fixed_fields[] = {FUZZ_FIELD(fixed, flag, WEIR_BOOL), FUZZ_FIELD(fixed, wide, WEIR_U64),
                                          FUZZ_FIELD(fixed, small, WEIR_U8)};
static const weir_type  fixed_type = FUZZ_TYPE(fixed, fixed_fields);

static bool is_bool(const bool *b)
{
    unsigned char byte;
    memcpy(&byte, b, 1);
    return byte <= 1;
}

static void one(const wr_codec *codec, const char *bytes, size_t n)
{
    wr_reason         reason;
    char              line[48];
    wr_layout         layout;
    _Alignas(16) char record[128] = {0};
    wr_layout_init(&layout, codec);
    if (!codec->format->decode(codec, &layout, bytes, n, record, NULL, &reason)) {
        must(reason.text[0] != 0);
        return;
    }
    const mixed *m = (const mixed *)(const void *)record;
    const fixed *f = (const fixed *)(const void *)record;
    if (codec->type == &mixed_type)
        must(is_bool(&m->flag) && is_bool(&m->flags[0]) && is_bool(&m->flags[1]) && is_bool(&m->flags[2]));
    else
        must(is_bool(&f->flag) && n == codec->record_bytes);
    size_t bound = codec->format->bound(codec, record);
    must(bound == n);
    char *back = own("", 0);
    back = realloc(back, bound + 1);
    must(codec->format->encode(codec, record, back) == back + n);
    must(memcmp(back, bytes, n) == 0);
    must(wr_record_print(codec->type, record, line, sizeof line) < sizeof line);
    free(back);
}

static void framed(const wr_codec *codec, const char *bytes, size_t n)
{
    wr_frame  whole, part;
    wr_reason reason;
    bool      good = codec->format->frame(codec, bytes, n, &whole, &reason);
    for (size_t i = 0; i <= n && good; i += 1 + n / 64) {
        must(codec->format->frame(codec, bytes, i, &part, &reason));
        must(part.whole == (whole.whole != 0 && whole.whole <= i ? whole.whole : 0));
    }
    if (!good || whole.whole == 0) return;
    must(whole.whole <= n && whole.content == whole.whole);
    char *record = own(bytes, whole.content);
    one(codec, record, whole.content);
    free(record);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    input         in = {bytes, bytes + size};
    wr_codec_spec spec = {.type = take_u8(&in) & 1 ? &fixed_type : &mixed_type, .format = "raw"};
    wr_codec     *codec;
    must(wr_codec_new(&codec, &spec, NULL) == WR_OK);
    char *record = own(in.at, rest(&in));
    framed(codec, record, rest(&in));
    one(codec, record, rest(&in));
    free(record);
    wr_codec_free(codec);
    return 0;
}
