/* connectors/format_value.c: numbers, times and arrays from text and back, by the kind of the field. */
#include "base/text.h"
#include "connectors/format.h"
#include <ctype.h>
#include <math.h>
#include <stdio.h>

/* X(kind, type in C, what people call it) */
#define KINDS(X)                                                                                                       \
    X(BOOL, bool, "bool")                                                                                              \
    X(I8, int8_t, "int8_t")                                                                                            \
    X(I16, int16_t, "int16_t")                                                                                         \
    X(I32, int32_t, "int32_t")                                                                                         \
    X(I64, int64_t, "int64_t")                                                                                         \
    X(U8, uint8_t, "uint8_t")                                                                                          \
    X(U16, uint16_t, "uint16_t")                                                                                       \
    X(U32, uint32_t, "uint32_t")                                                                                       \
    X(U64, uint64_t, "uint64_t")                                                                                       \
    X(F32, float, "float")                                                                                             \
    X(F64, double, "double")                                                                                           \
    X(TIME, weir_time, "weir_time")                                                                                    \
    X(STR, weir_str, "weir_str")                                                                                       \
    X(BYTES, weir_bytes, "weir_bytes")

uint32_t wr_kind_bytes(uint32_t kind)
{
    switch (kind) {
#define KIND_BYTES(KIND, TYPE, NAME)                                                                                   \
    case WEIR_##KIND: return sizeof(TYPE);
        KINDS(KIND_BYTES)
#undef KIND_BYTES
    default: return 0;
    }
}

const char *wr_kind_name(uint32_t kind)
{
    switch (kind & ~(uint32_t)WEIR_ARRAY) {
#define KIND_NAME(KIND, TYPE, NAME)                                                                                    \
    case WEIR_##KIND: return NAME;
        KINDS(KIND_NAME)
#undef KIND_NAME
    default: return "?";
    }
}

const char *wr_shown(char *to, size_t bytes, const char *text, size_t n)
{
    size_t keep = n < bytes - 4 ? n : bytes - 4;
    for (size_t i = 0; i < keep; i++) to[i] = (unsigned char)text[i] < 0x20 || text[i] == 0x7f ? '?' : text[i];
    memcpy(to + keep, keep < n ? "..." : "", keep < n ? 4 : 1);
    return to;
}

static bool bad_value(wr_reason *reason, const weir_field *field, const char *text, size_t n, const char *what)
{
    char show[48];
    if (n == 0) return wr_reason_set(reason, "field %s: empty, %s wanted", field->name, wr_kind_name(field->kind));
    return wr_reason_set(reason, "field %s: '%s' %s", field->name, wr_shown(show, sizeof show, text, n), what);
}

static bool is_integer(const char *text, size_t n)
{
    size_t i = n > 0 && (text[0] == '-' || text[0] == '+');
    if (i == n) return false;
    while (i < n && isdigit((unsigned char)text[i])) i++;
    return i == n;
}

static bool bad_number(wr_reason *reason, const weir_field *field, uint32_t kind, const char *text, size_t n)
{
    char   what[64];
    double far; /* a number that a double cannot hold is read as infinite */
    if (kind >= WEIR_F32 ? !wr_text_to_f64(text, n, &far) : !is_integer(text, n))
        return bad_value(reason, field, text, n, kind >= WEIR_F32 ? "is not a number" : "is not a whole number");
    snprintf(what, sizeof what, "does not fit into %s", wr_kind_name(kind));
    return bad_value(reason, field, text, n, what);
}

/* Up to 18 digits without further ado: most numbers are that. */
static inline bool read_i64(const char *text, size_t n, int64_t *value)
{
    size_t  i = n > 0 && text[0] == '-';
    int64_t v = 0;
    if (n - i - 1 > 17) return wr_text_to_i64(text, n, value); /* also when nothing is left */
    for (size_t at = i; at < n; at++) {
        unsigned digit = (unsigned)(unsigned char)text[at] - '0';
        if (digit > 9) return wr_text_to_i64(text, n, value);
        v = v * 10 + (int64_t)digit;
    }
    *value = i ? -v : v;
    return true;
}

static bool read_signed(uint32_t kind, const char *text, size_t n, char *to)
{
    int64_t v;
    if (!read_i64(text, n, &v)) return false;
    int64_t high = kind == WEIR_I8 ? INT8_MAX : kind == WEIR_I16 ? INT16_MAX : kind == WEIR_I32 ? INT32_MAX : INT64_MAX;
    if (v > high || v < -high - 1) return false;
    if (kind == WEIR_I8)
        memcpy(to, &(int8_t){(int8_t)v}, 1);
    else if (kind == WEIR_I16)
        memcpy(to, &(int16_t){(int16_t)v}, 2);
    else if (kind == WEIR_I32)
        memcpy(to, &(int32_t){(int32_t)v}, 4);
    else
        memcpy(to, &v, 8);
    return true;
}

static bool read_unsigned(uint32_t kind, const char *text, size_t n, char *to)
{
    uint64_t v;
    if (!wr_text_to_u64(text, n, &v)) return false;
    uint64_t high = kind == WEIR_U8    ? UINT8_MAX
                    : kind == WEIR_U16 ? UINT16_MAX
                    : kind == WEIR_U32 ? UINT32_MAX
                                       : UINT64_MAX;
    if (v > high) return false;
    if (kind == WEIR_U8)
        memcpy(to, &(uint8_t){(uint8_t)v}, 1);
    else if (kind == WEIR_U16)
        memcpy(to, &(uint16_t){(uint16_t)v}, 2);
    else if (kind == WEIR_U32)
        memcpy(to, &(uint32_t){(uint32_t)v}, 4);
    else
        memcpy(to, &v, 8);
    return true;
}

static bool read_float(uint32_t kind, const char *text, size_t n, char *to)
{
    double v;
    if (!wr_text_to_f64(text, n, &v)) return false;
    if (isinf(v) && memchr(text, 'i', n) == NULL && memchr(text, 'I', n) == NULL) return false; /* a number too large */
    if (kind == WEIR_F32) {
        float f = (float)v;
        if (isinf(f) && !isinf(v)) return false;
        memcpy(to, &f, sizeof f);
    } else {
        memcpy(to, &v, sizeof v);
    }
    return true;
}

static int64_t unit_ns(uint32_t unit)
{
    switch (unit) {
    case WR_UNIT_S: return WEIR_SECOND;
    case WR_UNIT_MS: return WEIR_MILLISECOND;
    case WR_UNIT_US: return WEIR_MICROSECOND;
    default: return 1;
    }
}

static bool is_iso(uint32_t unit)
{
    return unit == WR_UNIT_NONE || unit == WR_UNIT_ISO;
}

static bool read_time(const weir_field *field, uint32_t unit, const char *text, size_t n, char *to, wr_reason *reason)
{
    int64_t ns;
    if (is_iso(unit)) {
        if (!wr_text_to_time(text, n, &ns))
            return bad_value(reason, field, text, n,
                             wr_text_is_time(text, n) ? "is a time beyond the years 1678 to 2261"
                                                      : "is not a time (2024-05-06T07:08:09.123Z)");
    } else {
        if (!read_i64(text, n, &ns)) return bad_number(reason, field, WEIR_I64, text, n);
        if (__builtin_mul_overflow(ns, unit_ns(unit), &ns))
            return bad_value(reason, field, text, n, "is a time beyond the years 1678 to 2261");
    }
    memcpy(to, &ns, sizeof ns);
    return true;
}

static bool read_one(const weir_field *field, uint32_t kind, uint32_t unit, const char *text, size_t n, char *to,
                     wr_reason *reason)
{
    switch (kind) {
    case WEIR_BOOL: {
        bool v;
        if (!wr_text_to_bool(text, n, &v)) return bad_value(reason, field, text, n, "is not true or false");
        memcpy(to, &v, sizeof v);
        return true;
    }
    case WEIR_I8:
    case WEIR_I16:
    case WEIR_I32:
    case WEIR_I64: return read_signed(kind, text, n, to) || bad_number(reason, field, kind, text, n);
    case WEIR_U8:
    case WEIR_U16:
    case WEIR_U32:
    case WEIR_U64: return read_unsigned(kind, text, n, to) || bad_number(reason, field, kind, text, n);
    case WEIR_F32:
    case WEIR_F64: return read_float(kind, text, n, to) || bad_number(reason, field, kind, text, n);
    case WEIR_TIME: return read_time(field, unit, text, n, to, reason);
    default: return wr_reason_set(reason, "field %s: no format can hold its kind (%u)", field->name, kind);
    }
}

/* "[1 2 3]", exactly as many as the array has. */
static bool read_array(const weir_field *field, uint32_t unit, const char *text, size_t n, char *to, wr_reason *reason)
{
    uint32_t    kind = field->kind & ~(uint32_t)WEIR_ARRAY;
    uint32_t    size = wr_kind_bytes(kind), wanted = field->size / size, found = 0;
    const char *at = text + 1, *end = text + n - 1;
    if (n < 2 || text[0] != '[' || text[n - 1] != ']')
        return bad_value(reason, field, text, n, "is not an array ([1 2 3])");
    while (at < end) {
        if (*at == ' ') {
            at++;
            continue;
        }
        const char *stop = memchr(at, ' ', (size_t)(end - at));
        if (stop == NULL) stop = end;
        if (found < wanted && !read_one(field, kind, unit, at, (size_t)(stop - at), to + found * size, reason))
            return false;
        found++;
        at = stop;
    }
    if (found == wanted) return true;
    return wr_reason_set(reason, "field %s: an array of %u, but it has %u elements", field->name, found, wanted);
}

bool wr_value_read(const weir_field *field, uint32_t unit, const char *text, size_t n, void *record, wr_reason *reason)
{
    char *to = (char *)record + field->offset;
    if (field->kind & WEIR_ARRAY) return read_array(field, unit, text, n, to, reason);
    return read_one(field, field->kind, unit, text, n, to, reason);
}

size_t wr_value_bound(const weir_field *field)
{
    uint32_t size = wr_kind_bytes(field->kind & ~(uint32_t)WEIR_ARRAY);
    return (size_t)(field->size / size) * (WR_TEXT_NUMBER_MAX + 1) + 4;
}

static int64_t load_signed(uint32_t kind, const char *from)
{
    int64_t v = 0;
    switch (kind) {
    case WEIR_I8: return *(const int8_t *)from;
    case WEIR_I16: return *(const int16_t *)(const void *)from;
    case WEIR_I32: return *(const int32_t *)(const void *)from;
    default: memcpy(&v, from, sizeof v); return v;
    }
}

static uint64_t load_unsigned(uint32_t kind, const char *from)
{
    uint64_t v = 0;
    memcpy(&v, from, wr_kind_bytes(kind)); /* little-endian: the low bytes */
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v >>= 64 - 8 * wr_kind_bytes(kind);
#endif
    return v;
}

static size_t write_one(uint32_t kind, uint32_t unit, const char *from, char *to)
{
    int64_t ns;
    float   f;
    double  d;
    switch (kind) {
    case WEIR_BOOL: return wr_text_of_bool(to, *from != 0);
    case WEIR_I8:
    case WEIR_I16:
    case WEIR_I32:
    case WEIR_I64: return wr_text_of_i64(to, load_signed(kind, from));
    case WEIR_U8:
    case WEIR_U16:
    case WEIR_U32:
    case WEIR_U64: return wr_text_of_u64(to, load_unsigned(kind, from));
    case WEIR_F32: memcpy(&f, from, sizeof f); return wr_text_of_f32(to, f);
    case WEIR_F64: memcpy(&d, from, sizeof d); return wr_text_of_f64(to, d);
    case WEIR_TIME:
        memcpy(&ns, from, sizeof ns);
        return is_iso(unit) ? wr_text_of_time(to, ns) : wr_text_of_i64(to, ns / unit_ns(unit));
    default: *to = '?'; return 1;
    }
}

char *wr_value_write(const weir_field *field, uint32_t unit, const void *record, char *to)
{
    const char *from = (const char *)record + field->offset;
    uint32_t    kind = field->kind & ~(uint32_t)WEIR_ARRAY;
    if (kind == field->kind) return to + write_one(kind, unit, from, to);
    uint32_t size = wr_kind_bytes(kind);
    *to++ = '[';
    for (uint32_t at = 0; at < field->size; at += size) {
        if (at > 0) *to++ = ' ';
        to += write_one(kind, unit, from + at, to);
    }
    *to++ = ']';
    return to;
}
