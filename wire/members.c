#include "wire/members.h"
#include "base/check.h"
#include "base/limits.h"
#include "wire/schema.h"
#include <stdio.h>
#include <string.h>
#include <weir/op.h>

/* ---- packing ----------------------------------------------------------------------------------------------------- */

static uint32_t count_of(const wr_member *m, const char *it)
{
    uint32_t n;
    memcpy(&n, it + m->count_at, sizeof n);
    return n;
}

static const void *pointer_at(const char *at)
{
    const void *p;
    memcpy(&p, at, sizeof p);
    return p;
}

static const char *pack_text(wr_pack *p, const wr_member *m, const char *text)
{
    if (text == NULL && m->optional) {
        wr_pack_nil(p);
        return NULL;
    }
    if (text == NULL) text = "";
    wr_pack_str(p, text);
    return strlen(text) <= m->max ? NULL : m->name;
}

static const char *pack_number(wr_pack *p, const wr_member *m, const char *at)
{
    uint64_t value = 0;
    uint32_t small;
    int64_t  number;
    switch (m->kind) {
    case WR_IS_I64:
        memcpy(&number, at, sizeof number);
        wr_pack_i64(p, number);
        return number < 0 && m->max != UINT64_MAX ? m->name : NULL;
    case WR_IS_U32:
        memcpy(&small, at, sizeof small);
        value = small;
        break;
    default: memcpy(&value, at, sizeof value); break;
    }
    wr_pack_u64(p, value);
    return value <= m->max ? NULL : m->name;
}

static const char *pack_key(wr_pack *p, const wr_member *m, const weir_key *key)
{
    if (key->count > WR_KEY_FIELDS_MAX) return m->name;
    wr_pack_array(p, key->count);
    for (uint32_t i = 0; i < key->count; i++) {
        wr_pack_array(p, 2);
        wr_pack_u64(p, key->field[i].offset);
        wr_pack_u64(p, key->field[i].kind);
        if (key->field[i].kind > 0xff) return m->name;
    }
    return NULL;
}

static const char *pack_many(wr_pack *p, const wr_member *m, const char *it)
{
    uint32_t    n = count_of(m, it);
    const char *from = pointer_at(it + m->at), *bad = NULL;
    if (m->kind == WR_IS_BYTES) {
        wr_pack_bin(p, from, n);
        return n <= m->max ? NULL : m->name;
    }
    if (n > m->count_max) return m->name;
    wr_pack_array(p, n);
    for (uint32_t i = 0; i < n && bad == NULL; i++) {
        switch (m->kind) {
        case WR_IS_STRS: bad = pack_text(p, m, ((const char *const *)(const void *)from)[i]); break;
        case WR_IS_TYPES: wr_schema_pack(p, ((const weir_type *const *)(const void *)from)[i]); break;
        case WR_IS_LIST: bad = wr_struct_pack(p, m->of, from + (size_t)i * m->of->bytes); break;
        default: {
            uint32_t value;
            memcpy(&value, from + (size_t)i * sizeof value, sizeof value);
            wr_pack_u64(p, value);
            if (value > m->max) bad = m->name;
        }
        }
    }
    return bad;
}

static const char *pack_member(wr_pack *p, const wr_member *m, const char *it)
{
    const char *at = it + m->at;
    switch (m->kind) {
    case WR_IS_BOOL: wr_pack_bool(p, *(const bool *)(const void *)at); return NULL;
    case WR_IS_U32:
    case WR_IS_U64:
    case WR_IS_I64: return pack_number(p, m, at);
    case WR_IS_F64: {
        double value;
        memcpy(&value, at, sizeof value);
        wr_pack_f64(p, value);
        return NULL;
    }
    case WR_IS_STR: return pack_text(p, m, pointer_at(at));
    case WR_IS_CHARS:
        if (memchr(at, 0, (size_t)m->max + 1) == NULL) return m->name;
        return pack_text(p, m, at);
    case WR_IS_FIXED: wr_pack_bin(p, at, (size_t)m->max); return NULL;
    case WR_IS_STRUCT:
        if (!m->optional || m->of->empty == NULL || !m->of->empty(at)) return wr_struct_pack(p, m->of, at);
        wr_pack_nil(p);
        return NULL;
    case WR_IS_TYPE: wr_schema_pack(p, pointer_at(at)); return NULL;
    case WR_IS_KEY: return pack_key(p, m, (const weir_key *)(const void *)at);
    case WR_IS_KEY_AT:
        if (pointer_at(at) != NULL) return pack_key(p, m, pointer_at(at));
        wr_pack_nil(p);
        return NULL;
    default: return pack_many(p, m, it);
    }
}

const char *wr_struct_pack(wr_pack *p, const wr_struct *s, const void *it)
{
    check(s->members <= 64);
    wr_pack_map(p, s->members);
    for (uint32_t i = 0; i < s->members; i++) {
        wr_pack_str(p, s->member[i].name);
        const char *bad = pack_member(p, &s->member[i], it);
        if (bad != NULL) return bad;
    }
    return s->wrong != NULL ? s->wrong(it) : NULL;
}

/* ---- unpacking --------------------------------------------------------------------------------------------------- */

/* Caller's storage, one thread. */
typedef struct reader {
    wr_unpack *u;
    wr_arena  *arena;
    size_t     bytes_max;
} reader;

static void read_struct(reader *r, const wr_struct *s, char *it);

/* Counts are bounded by the bytes that are left, but what they count may be much larger in memory. */
static void *room(reader *r, size_t n, size_t each)
{
    if (each != 0 && n > (r->bytes_max - (r->arena->bytes < r->bytes_max ? r->arena->bytes : r->bytes_max)) / each)
        wr_unpack_fail(r->u, "it would take more memory than a message may");
    if (r->u->problem != NULL) return NULL;
    return wr_arena_get(r->arena, n * each);
}

static void put(char *it, const wr_member *m, const void *pointer, uint32_t n)
{
    memcpy(it + m->at, &pointer, sizeof pointer);
    memcpy(it + m->count_at, &n, sizeof n);
}

static const char *read_text(reader *r, const wr_member *m)
{
    size_t      n;
    const char *from = wr_unpack_str(r->u, (size_t)m->max, &n);
    char       *copy = from != NULL ? room(r, n + 1, 1) : NULL;
    if (copy == NULL) return "";
    memcpy(copy, from, n);
    return copy;
}

static void read_chars(reader *r, const wr_member *m, char *at)
{
    size_t      n;
    const char *from = wr_unpack_str(r->u, (size_t)m->max, &n);
    if (from != NULL) memcpy(at, from, n);
}

static void read_fixed(reader *r, const wr_member *m, char *at)
{
    size_t      n;
    const char *from = wr_unpack_bin(r->u, (size_t)m->max, &n);
    if (n != m->max) wr_unpack_fail(r->u, "bytes of a fixed length have another one");
    if (r->u->problem == NULL) memcpy(at, from, n);
}

static void read_number(reader *r, const wr_member *m, char *at)
{
    if (m->kind == WR_IS_I64) {
        int64_t value = wr_unpack_i64(r->u);
        if (value < 0 && m->max != UINT64_MAX) wr_unpack_fail(r->u, "a number is negative");
        memcpy(at, &value, sizeof value);
    } else if (m->kind == WR_IS_U32) {
        uint32_t value = (uint32_t)wr_unpack_u64(r->u, m->max < UINT32_MAX ? m->max : UINT32_MAX);
        memcpy(at, &value, sizeof value);
    } else {
        uint64_t value = wr_unpack_u64(r->u, m->max);
        memcpy(at, &value, sizeof value);
    }
}

static void read_key(reader *r, weir_key *key)
{
    uint32_t n = wr_unpack_array(r->u);
    if (n > WR_KEY_FIELDS_MAX) wr_unpack_fail(r->u, "a key has too many fields");
    for (uint32_t i = 0; i < n && r->u->problem == NULL; i++) {
        if (wr_unpack_array(r->u) != 2) wr_unpack_fail(r->u, "a field of a key is an offset and a kind");
        key->field[i].offset = (uint32_t)wr_unpack_u64(r->u, UINT32_MAX);
        key->field[i].kind = (uint32_t)wr_unpack_u64(r->u, 0xff);
        wr_unpack_leave(r->u);
    }
    wr_unpack_leave(r->u);
    key->count = r->u->problem == NULL ? n : 0;
}

static void read_bytes(reader *r, const wr_member *m, char *it)
{
    size_t      n;
    const char *from = wr_unpack_bin(r->u, (size_t)m->max, &n);
    char       *copy = r->u->problem == NULL ? room(r, n + 1, 1) : NULL;
    if (copy == NULL) return;
    if (n > 0) memcpy(copy, from, n);
    put(it, m, copy, (uint32_t)n);
}

static const weir_type *read_type(reader *r, bool may_be_none)
{
    const weir_type *type = wr_schema_unpack(r->u, r->arena);
    if (type == NULL && !may_be_none) wr_unpack_fail(r->u, "a type is expected here");
    if (r->arena->bytes > r->bytes_max) wr_unpack_fail(r->u, "it would take more memory than a message may");
    return type;
}

static size_t element_bytes(const wr_member *m)
{
    switch (m->kind) {
    case WR_IS_LIST: return m->of->bytes;
    case WR_IS_U32S: return sizeof(uint32_t);
    default: return sizeof(void *);
    }
}

static void read_many(reader *r, const wr_member *m, char *it)
{
    uint32_t n = wr_unpack_array(r->u);
    if (n > m->count_max) wr_unpack_fail(r->u, "a list is longer than it may be");
    size_t each = element_bytes(m);
    char  *list = room(r, n > 0 ? n : 1, each);
    for (uint32_t i = 0; i < n && r->u->problem == NULL; i++) {
        char *at = list + i * each;
        switch (m->kind) {
        case WR_IS_LIST: read_struct(r, m->of, at); break;
        case WR_IS_STRS: *(const char **)(void *)at = read_text(r, m); break;
        case WR_IS_TYPES: *(const weir_type **)(void *)at = read_type(r, false); break;
        default: *(uint32_t *)(void *)at = (uint32_t)wr_unpack_u64(r->u, m->max); break;
        }
    }
    wr_unpack_leave(r->u);
    if (r->u->problem == NULL) put(it, m, list, n);
}

static void read_member(reader *r, const wr_member *m, char *it)
{
    char *at = it + m->at;
    if (m->optional && wr_unpack_is_nil(r->u)) return;
    switch (m->kind) {
    case WR_IS_BOOL: *(bool *)(void *)at = wr_unpack_bool(r->u); break;
    case WR_IS_U32:
    case WR_IS_U64:
    case WR_IS_I64: read_number(r, m, at); break;
    case WR_IS_F64: {
        double value = wr_unpack_f64(r->u);
        memcpy(at, &value, sizeof value);
        break;
    }
    case WR_IS_STR: {
        const char *text = read_text(r, m);
        memcpy(at, &text, sizeof text);
        break;
    }
    case WR_IS_CHARS: read_chars(r, m, at); break;
    case WR_IS_FIXED: read_fixed(r, m, at); break;
    case WR_IS_BYTES: read_bytes(r, m, it); break;
    case WR_IS_STRUCT: read_struct(r, m->of, at); break;
    case WR_IS_TYPE: {
        const weir_type *type = read_type(r, true);
        memcpy(at, &type, sizeof type);
        break;
    }
    case WR_IS_KEY: read_key(r, (weir_key *)(void *)at); break;
    case WR_IS_KEY_AT: {
        weir_key *key = wr_unpack_is_nil(r->u) ? NULL : wr_arena_array(r->arena, weir_key, 1);
        if (key != NULL) read_key(r, key);
        memcpy(at, &key, sizeof key);
        break;
    }
    default: read_many(r, m, it); break;
    }
}

static void read_struct(reader *r, const wr_struct *s, char *it)
{
    const char *names[64];
    uint64_t    seen = 0;
    check(s->members <= 64);
    for (uint32_t i = 0; i < s->members; i++) names[i] = s->member[i].name;
    for (uint32_t n = wr_unpack_map(r->u); n > 0 && r->u->problem == NULL; n--) {
        int i = wr_unpack_key(r->u, names, s->members, &seen);
        if (i >= 0) read_member(r, &s->member[i], it);
    }
    for (uint32_t i = 0; i < s->members; i++) {
        if (!s->member[i].optional && !(seen >> i & 1)) wr_unpack_fail(r->u, "a member is missing");
    }
    wr_unpack_leave(r->u);
    const char *wrong = r->u->problem == NULL && s->wrong != NULL ? s->wrong(it) : NULL;
    if (wrong != NULL) wr_unpack_fail(r->u, wrong);
}

void wr_struct_unpack(wr_unpack *u, wr_arena *arena, size_t bytes_max, const wr_struct *s, void *it)
{
    reader r = {.u = u, .arena = arena, .bytes_max = bytes_max};
    memset(it, 0, s->bytes);
    read_struct(&r, s, it);
}
