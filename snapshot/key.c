/* snapshot/key.c: keys in records and in entries. */
#include "snapshot/key.h"
#include "base/check.h"

bool wr_key_is_string(uint32_t kind, bool *known)
{
    *known = (kind >= WEIR_BOOL && kind <= WEIR_U64) || kind == WEIR_TIME || kind == WEIR_STR || kind == WEIR_BYTES;
    return kind == WEIR_STR || kind == WEIR_BYTES;
}

wr_err wr_key_layout_of(wr_key_layout *layout, const weir_key *key, wr_errinfo *info)
{
    *layout = (wr_key_layout){.count = key->count};
    if (key->count > WR_KEY_FIELDS_MAX)
        return wr_fail(info, WR_LIMIT, "a key of %u fields; at most %d", key->count, WR_KEY_FIELDS_MAX);
    for (uint32_t i = 0; i < key->count; i++) {
        bool known, string = wr_key_is_string(key->field[i].kind, &known);
        if (!known)
            return wr_fail(info, WR_NOT_YET, "a key field of kind %u; keys are bool, integers, time, str and bytes",
                           key->field[i].kind);
        layout->part[i] = (wr_key_part){key->field[i].offset, key->field[i].kind, layout->fields_bytes, string};
        layout->fields_bytes += string ? 16 : 8;
        layout->strings += string;
    }
    layout->bytes = layout->fields_bytes + (layout->strings != 0 ? 8 : 0);
    layout->shape = key->count == 0        ? WR_KEY_NONE
                    : key->count > 1       ? WR_KEY_COMPOSITE
                    : layout->strings != 0 ? WR_KEY_STRING
                                           : WR_KEY_INTEGER;
    return WR_OK;
}

#define LOAD(TYPE, WIDE)                                                                                               \
    {                                                                                                                  \
        TYPE value;                                                                                                    \
        memcpy(&value, field, sizeof value);                                                                           \
        return (uint64_t)(WIDE)value;                                                                                  \
    }

uint64_t wr_key_widen(uint32_t kind, const void *field)
{
    switch (kind) {
    case WEIR_BOOL:
    case WEIR_U8: LOAD(uint8_t, uint64_t)
    case WEIR_I8: LOAD(int8_t, int64_t)
    case WEIR_I16: LOAD(int16_t, int64_t)
    case WEIR_U16: LOAD(uint16_t, uint64_t)
    case WEIR_I32: LOAD(int32_t, int64_t)
    case WEIR_U32: LOAD(uint32_t, uint64_t)
    default: LOAD(uint64_t, uint64_t)
    }
}

void wr_key_narrow(uint32_t kind, uint64_t value, void *field)
{
    size_t bytes = 8;
    if (kind == WEIR_BOOL || kind == WEIR_U8 || kind == WEIR_I8) bytes = 1;
    if (kind == WEIR_U16 || kind == WEIR_I16) bytes = 2;
    if (kind == WEIR_U32 || kind == WEIR_I32) bytes = 4;
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    memcpy(field, (const char *)&value + 8 - bytes, bytes);
#else
    memcpy(field, &value, bytes);
#endif
}

#define WIDEN_ALL(TYPE, WIDE)                                                                                          \
    for (uint32_t i = 0; i < n; i++) {                                                                                 \
        TYPE value;                                                                                                    \
        memcpy(&value, field + (uint64_t)(pick != NULL ? pick[i] : i) * stride, sizeof value);                         \
        to[i] = (uint64_t)(WIDE)value;                                                                                 \
    }                                                                                                                  \
    return;

void wr_key_widen_all(uint32_t kind, const char *field, uint32_t stride, const uint32_t *pick, uint32_t n, uint64_t *to)
{
    switch (kind) {
    case WEIR_BOOL:
    case WEIR_U8: WIDEN_ALL(uint8_t, uint64_t)
    case WEIR_I8: WIDEN_ALL(int8_t, int64_t)
    case WEIR_I16: WIDEN_ALL(int16_t, int64_t)
    case WEIR_U16: WIDEN_ALL(uint16_t, uint64_t)
    case WEIR_I32: WIDEN_ALL(int32_t, int64_t)
    case WEIR_U32: WIDEN_ALL(uint32_t, uint64_t)
    default: WIDEN_ALL(uint64_t, uint64_t)
    }
}

void wr_key_pack(const wr_key_layout *layout, const void *record, void *packed)
{
    for (uint32_t i = 0; i < layout->count; i++) {
        const wr_key_part *part = &layout->part[i];
        const char        *field = (const char *)record + part->offset;
        char              *to = (char *)packed + part->place;
        if (part->string) {
            memcpy(to, field, 16);
        } else {
            uint64_t value = wr_key_widen(part->kind, field);
            memcpy(to, &value, 8);
        }
    }
}

bool wr_key_equal(const wr_key_layout *layout, const void *packed, const void *entry)
{
    for (uint32_t i = 0; i < layout->count; i++) {
        uint64_t a[2], b[2];
        uint32_t place = layout->part[i].place;
        memcpy(a, (const char *)packed + place, 8);
        memcpy(b, (const char *)entry + place, 8);
        if (a[0] != b[0]) return false;
        if (!layout->part[i].string) continue;
        weir_str x, y;
        memcpy(&x, (const char *)packed + place, 16);
        memcpy(&y, (const char *)entry + place, 16);
        if (x.len <= WEIR_STR_INLINE ? memcmp(x.u.tail, y.u.tail, 8) != 0 : !wr_key_far_equal(x.u.far, y.u.far, x.len))
            return false;
    }
    return true;
}

uint64_t wr_key_hash_packed(const wr_key_layout *layout, const void *packed)
{
    uint64_t hash = 0;
    for (uint32_t i = 0; i < layout->count; i++) {
        uint64_t one;
        if (layout->part[i].string) {
            weir_str s;
            memcpy(&s, (const char *)packed + layout->part[i].place, 16);
            one = wr_hash_str(&s);
        } else {
            memcpy(&one, (const char *)packed + layout->part[i].place, 8);
            one = wr_fmix64(one);
        }
        hash = i == 0 ? one : wr_hash_fold(hash, one);
    }
    return hash;
}

void wr_key_scatter(const wr_key_layout *layout, const void *entry, void *record)
{
    for (uint32_t i = 0; i < layout->count; i++) {
        const wr_key_part *part = &layout->part[i];
        char              *field = (char *)record + part->offset;
        const char        *from = (const char *)entry + part->place;
        if (part->string) {
            memcpy(field, from, 16);
        } else {
            uint64_t value;
            memcpy(&value, from, 8);
            wr_key_narrow(part->kind, value, field);
        }
    }
}
