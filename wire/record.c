#include "wire/record.h"
#include "base/check.h"
#include "base/limits.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers are copied as they lie");

static bool is_string(uint32_t kind)
{
    return kind == WEIR_STR || kind == WEIR_BYTES;
}

static const weir_str *string_at(const void *record, uint32_t offset)
{
    return (const weir_str *)(const void *)((const char *)record + offset);
}

size_t wr_record_bytes(const weir_type *type, const void *record)
{
    size_t n = type->fields == 0 ? 1 : 0;
    for (uint32_t i = 0; i < type->fields; i++) {
        const weir_field *f = &type->field[i];
        n += is_string(f->kind) ? 4 + (size_t)string_at(record, f->offset)->len : f->size;
    }
    return n;
}

size_t wr_record_write(const weir_type *type, const void *record, char *to)
{
    char *at = to;
    if (type->fields == 0) *at++ = 0;
    for (uint32_t i = 0; i < type->fields; i++) {
        const weir_field *f = &type->field[i];
        dcheck(f->kind != WEIR_TEXT && (f->kind & ~(uint32_t)WEIR_ARRAY) <= WEIR_CLOCK_TIMER);
        if (!is_string(f->kind)) {
            memcpy(at, (const char *)record + f->offset, f->size);
            at += f->size;
            continue;
        }
        const weir_str *s = string_at(record, f->offset);
        memcpy(at, &s->len, 4);
        if (s->len > 0) memcpy(at + 4, weir_str_data(s), s->len);
        at += 4 + (size_t)s->len;
    }
    return (size_t)(at - to);
}

char *wr_record_encode(const weir_type *type, const void *record, size_t *bytes)
{
    size_t n = wr_record_bytes(type, record);
    char  *to = malloc(n);
    if (to == NULL) return NULL;
    *bytes = wr_record_write(type, record, to);
    return to;
}

/* Bytes of the string at `from`, length included, or 0. */
static size_t read_string(const char *from, size_t n, void *to)
{
    uint32_t len;
    if (n < 4) return 0;
    memcpy(&len, from, 4);
    if (len > WR_RECORD_BYTES_MAX || len > n - 4) return 0;
    weir_str s = weir_str_of(from + 4, len);
    memcpy(to, &s, sizeof s);
    return 4 + (size_t)len;
}

size_t wr_record_read(const weir_type *type, const char *from, size_t n, void *record)
{
    size_t at = type->fields == 0 ? 1 : 0;
    if (at > n || (at == 1 && from[0] != 0)) return 0;
    memset(record, 0, type->size);
    for (uint32_t i = 0; i < type->fields; i++) {
        const weir_field *f = &type->field[i];
        char             *to = (char *)record + f->offset;
        size_t            bytes = f->size;
        if (is_string(f->kind)) {
            bytes = read_string(from + at, n - at, to);
            if (bytes == 0) return 0;
        } else {
            if (bytes > n - at) return 0;
            memcpy(to, from + at, bytes);
            if (f->kind == WEIR_BOOL && (uint8_t)*to > 1) return 0;
        }
        at += bytes;
    }
    return at;
}

bool wr_record_decode(const weir_type *type, const char *from, size_t n, void *record)
{
    return n > 0 && wr_record_read(type, from, n, record) == n;
}
