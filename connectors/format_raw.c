/* connectors/format_raw.c: the fields in their order, packed, little-endian; strings as a 32-bit length and their
 * bytes. Records stand one behind the other with nothing between. */
#include "connectors/format.h"

static uint32_t load_length(const char *from)
{
    const unsigned char *b = (const unsigned char *)from;
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static void store_length(char *to, uint32_t length)
{
    for (int i = 0; i < 4; i++) to[i] = (char)(length >> (8 * i));
}

/* Copies one number or array; big-endian machines turn each element. */
static void copy_elements(char *to, const char *from, const weir_field *field)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    uint32_t size = wr_kind_bytes(field->kind & ~(uint32_t)WEIR_ARRAY);
    for (uint32_t i = 0; i < field->size; i += size) {
        for (uint32_t b = 0; b < size; b++) to[i + b] = from[i + size - 1 - b];
    }
#else
    memcpy(to, from, field->size);
#endif
}

static wr_err raw_prepare(wr_codec *codec, wr_errinfo *info)
{
    if (codec->header) return wr_fail(info, WR_OPTION, "header: format raw has no header line; use it with csv");
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < codec->type->fields; i++) bytes += codec->type->field[i].size;
    codec->record_bytes = codec->strings == 0 ? (uint32_t)bytes : 0;
    return WR_OK;
}

static bool raw_frame(const wr_codec *codec, const char *bytes, size_t n, wr_frame *frame, wr_reason *reason)
{
    size_t at = 0;
    *frame = (wr_frame){.content = n};
    for (uint32_t i = 0; i < codec->type->fields; i++) {
        const weir_field *field = &codec->type->field[i];
        if (!wr_kind_is_string(field->kind)) {
            at += field->size;
            continue;
        }
        if (n < at + 4) return true;
        uint32_t length = load_length(bytes + at);
        if (length > WR_RECORD_BYTES_MAX - WR_BATCH_BYTES)
            return wr_reason_set(reason,
                                 "field %s: a string of %u bytes; at most %d are possible, so this is no raw record",
                                 field->name, length, WR_RECORD_BYTES_MAX - WR_BATCH_BYTES);
        at += 4 + (size_t)length;
    }
    if (n < at) return true;
    frame->content = frame->whole = at;
    return true;
}

/* Any other byte in a bool is undefined behaviour for whoever reads it. */
static bool are_bools(const char *bytes, const weir_field *field, wr_reason *reason)
{
    for (uint32_t i = 0; i < field->size; i++) {
        unsigned char byte = (unsigned char)bytes[i];
        if (byte > 1) return wr_reason_set(reason, "field %s: byte %u is no bool (0 or 1)", field->name, byte);
    }
    return true;
}

static bool raw_decode(const wr_codec *codec, const wr_layout *layout, const char *bytes, size_t n, void *record,
                       char *scratch, wr_reason *reason)
{
    (void)layout, (void)scratch;
    size_t at = 0;
    for (uint32_t i = 0; i < codec->type->fields; i++) {
        const weir_field *field = &codec->type->field[i];
        char             *to = (char *)record + field->offset;
        bool              string = wr_kind_is_string(field->kind);
        size_t            fixed = string ? 4 : field->size;
        if (n - at < fixed)
            return wr_reason_set(reason, "field %s: the record ends after %zu bytes, within this field", field->name,
                                 n);
        if (!string) {
            copy_elements(to, bytes + at, field);
            at += fixed;
            if ((field->kind & ~(uint32_t)WEIR_ARRAY) == WEIR_BOOL && !are_bools(to, field, reason)) return false;
            continue;
        }
        uint32_t length = load_length(bytes + at);
        at += 4;
        if (n - at < length)
            return wr_reason_set(reason, "field %s: a string of %u bytes, but the record has only %zu more",
                                 field->name, length, n - at);
        *(weir_str *)to = weir_str_of(bytes + at, length);
        at += length;
    }
    if (at != n) return wr_reason_set(reason, "%zu bytes too many behind the last field", n - at);
    return true;
}

static size_t raw_bound(const wr_codec *codec, const void *record)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < codec->type->fields; i++) {
        const weir_field *field = &codec->type->field[i];
        const weir_str   *str = (const weir_str *)((const char *)record + field->offset);
        bytes += wr_kind_is_string(field->kind) ? 4 + (size_t)str->len : field->size;
    }
    return bytes;
}

static char *raw_encode(const wr_codec *codec, const void *record, char *to)
{
    for (uint32_t i = 0; i < codec->type->fields; i++) {
        const weir_field *field = &codec->type->field[i];
        const char       *from = (const char *)record + field->offset;
        if (!wr_kind_is_string(field->kind)) {
            copy_elements(to, from, field);
            to += field->size;
            continue;
        }
        const weir_str *str = (const weir_str *)from;
        store_length(to, str->len);
        memcpy(to + 4, weir_str_data(str), str->len);
        to += 4 + str->len;
    }
    return to;
}

const wr_format wr_format_raw = {
    .name = "raw",
    .summary = "packed little-endian fields; strings with a 32-bit length",
    .prepare = raw_prepare,
    .frame = raw_frame,
    .decode = raw_decode,
    .bound = raw_bound,
    .encode = raw_encode,
};
