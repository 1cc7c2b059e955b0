/* snapshot/image_schema.c: which schemas fit each other, and how fields become others. */
#include "snapshot/image_convert.h"
#include "wire/schema.h"

static const char *const kind_names[] = {"nothing", "bool", "i8",          "i16",         "i32",   "i64",  "u8",
                                         "u16",     "u32",  "u64",         "f32",         "f64",   "time", "str",
                                         "bytes",   "text", "event timer", "clock timer", "value", "list", "table"};

static const char *kind_name(uint32_t kind)
{
    kind &= ~(uint32_t)WEIR_ARRAY;
    return kind < sizeof kind_names / sizeof kind_names[0] ? kind_names[kind] : "?";
}

bool wr_kind_is_cell(uint32_t kind)
{
    return kind == WEIR_CELL_VALUE || kind == WEIR_CELL_LIST || kind == WEIR_CELL_TABLE;
}

const weir_field *wr_field_named(const weir_type *type, const char *name)
{
    for (uint32_t i = 0; i < type->fields; i++) {
        if (strcmp(type->field[i].name, name) == 0) return &type->field[i];
    }
    return NULL;
}

static bool is_signed(uint32_t kind)
{
    return kind >= WEIR_I8 && kind <= WEIR_I64;
}
static bool is_unsigned(uint32_t kind)
{
    return kind >= WEIR_U8 && kind <= WEIR_U64;
}
static uint32_t number_bytes(uint32_t kind)
{
    if (is_signed(kind)) return 1u << (kind - WEIR_I8);
    if (is_unsigned(kind)) return 1u << (kind - WEIR_U8);
    return kind == WEIR_F32 ? 4 : 8;
}

/* How a value of one kind becomes one of another; WR_FIELD_ZERO: it cannot without loss. */
static uint32_t widening(uint32_t from, uint32_t to)
{
    if (from == to) return WR_FIELD_COPY;
    uint32_t a = number_bytes(from), b = number_bytes(to);
    if (is_signed(from) && is_signed(to) && a < b) return WR_FIELD_SIGNED;
    if (is_unsigned(from) && (is_signed(to) || is_unsigned(to)) && a < b) return WR_FIELD_UNSIGNED;
    if (from == WEIR_F32 && to == WEIR_F64) return WR_FIELD_FLOAT;
    return WR_FIELD_ZERO;
}

static const char *advice(bool upgrades)
{
    return upgrades ? "undo that, give the field another name, or write a WEIR_UPGRADE"
                    : "undo that, or give the field another name: it begins at zero then";
}

static bool refuse(const weir_type *type, const weir_field *to, const weir_field *from, bool upgrades, wr_errinfo *info)
{
    wr_fail(info, WR_STATE, "field %s of %s was %s%s (%u bytes) in the snapshot and is %s%s (%u bytes) now; %s",
            to->name, type->name, from->kind & WEIR_ARRAY ? "an array of " : "", kind_name(from->kind), from->size,
            to->kind & WEIR_ARRAY ? "an array of " : "", kind_name(to->kind), to->size, advice(upgrades));
    return false;
}

static bool map_field(wr_field_map *m, const weir_type *type, const weir_field *from, const weir_field *to,
                      bool upgrades, wr_errinfo *info)
{
    uint32_t a = from->kind & ~(uint32_t)WEIR_ARRAY, b = to->kind & ~(uint32_t)WEIR_ARRAY;
    bool     array = to->kind & WEIR_ARRAY;
    *m = (wr_field_map){.how = WR_FIELD_COPY, .from = from->offset, .to = to->offset, .count = 1};
    if ((from->kind & WEIR_ARRAY) != (to->kind & WEIR_ARRAY)) return refuse(type, to, from, upgrades, info);
    bool number = b >= WEIR_I8 && b <= WEIR_F64 && a >= WEIR_I8 && a <= WEIR_F64;
    if (!number) {
        m->from_bytes = m->bytes = to->size;
        return a == b && from->size == to->size ? true : refuse(type, to, from, upgrades, info);
    }
    m->how = widening(a, b);
    m->from_bytes = number_bytes(a);
    m->bytes = number_bytes(b);
    m->count = array ? to->size / m->bytes : 1;
    if (m->how == WR_FIELD_ZERO || from->size / m->from_bytes != to->size / m->bytes)
        return refuse(type, to, from, upgrades, info);
    return true;
}

/* A cell's elements become others field by field, under the same key. */
static bool cell_fits(const weir_type *type, const weir_field *from, const weir_field *to, bool upgrades,
                      wr_errinfo *info)
{
    wr_record_map map;
    if (from->kind != to->kind) return refuse(type, to, from, upgrades, info);
    if (!wr_record_map_of(&map, from->element, to->element, upgrades, info)) return false;
    if (to->kind != WEIR_CELL_TABLE) return true;
    const weir_field *a = NULL, *b = NULL;
    for (uint32_t i = 0; i < from->element->fields; i++) {
        if (from->element->field[i].offset == from->key) a = &from->element->field[i];
    }
    for (uint32_t i = 0; i < to->element->fields; i++) {
        if (to->element->field[i].offset == to->key) b = &to->element->field[i];
    }
    if (a != NULL && b != NULL && strcmp(a->name, b->name) == 0) return true;
    wr_fail(info, WR_STATE, "table %s of %s was keyed by %s in the snapshot and is by %s now; %s", to->name, type->name,
            a == NULL ? "?" : a->name, b == NULL ? "?" : b->name, advice(upgrades));
    return false;
}

bool wr_record_map_of(wr_record_map *map, const weir_type *from, const weir_type *to, bool upgrades, wr_errinfo *info)
{
    map->fields = 0;
    for (uint32_t i = 0; i < to->fields; i++) {
        const weir_field *b = &to->field[i], *a = wr_field_named(from, b->name);
        if (a == NULL) continue; /* new: zero */
        if (wr_kind_is_cell(b->kind) || wr_kind_is_cell(a->kind)) {
            if (!cell_fits(to, a, b, upgrades, info)) return false;
        } else if (!map_field(&map->field[map->fields], to, a, b, upgrades, info)) {
            return false;
        } else if (b->kind != WEIR_TEXT) {
            map->fields++;
        }
    }
    return true;
}

static void convert_number(const wr_field_map *m, const char *from, char *to)
{
    if (m->how == WR_FIELD_FLOAT) {
        float  narrow;
        double wide;
        memcpy(&narrow, from, sizeof narrow);
        wide = (double)narrow;
        memcpy(to, &wide, sizeof wide);
        return;
    }
    uint64_t value = 0;
    memcpy(&value, from, m->from_bytes);
    if (m->how == WR_FIELD_SIGNED) {
        uint32_t shift = 64 - m->from_bytes * 8;
        value = (uint64_t)((int64_t)(value << shift) >> shift);
    }
    memcpy(to, &value, m->bytes);
}

void wr_record_convert(const wr_record_map *map, const weir_type *to_type, const void *from, void *to)
{
    memset(to, 0, to_type->size);
    for (uint32_t i = 0; i < map->fields; i++) {
        const wr_field_map *m = &map->field[i];
        const char         *a = (const char *)from + m->from;
        char               *b = (char *)to + m->to;
        if (m->how == WR_FIELD_COPY) {
            memcpy(b, a, (uint64_t)m->bytes * m->count);
            continue;
        }
        for (uint32_t k = 0; k < m->count; k++, a += m->from_bytes, b += m->bytes) convert_number(m, a, b);
    }
}

/* ---- schemas ----------------------------------------------------------------------------------------------------- */

static bool same_places(const weir_type *a, const weir_type *b)
{
    if (a->size != b->size || a->fields != b->fields) return false;
    for (uint32_t i = 0; i < a->fields; i++) {
        if (a->field[i].offset != b->field[i].offset) return false;
        if (a->field[i].element != NULL && !same_places(a->field[i].element, b->field[i].element)) return false;
    }
    return true;
}

const weir_upgrade *wr_upgrade_of(const weir_upgrade *const *upgrade, const weir_type *from, const weir_type *to)
{
    for (; upgrade != NULL && *upgrade != NULL; upgrade++) {
        const weir_upgrade *u = *upgrade;
        if (wr_schema_same(u->from, from) && same_places(u->from, from) && wr_schema_same(u->to, to)) return u;
    }
    return NULL;
}

enum wr_schema_match wr_schema_match(const weir_type *from, const weir_type *to, const weir_upgrade *const *upgrade,
                                     wr_errinfo *info)
{
    wr_record_map map;
    wr_errinfo    why = {0};
    if (wr_schema_same(from, to)) return WR_SCHEMA_SAME;
    if (wr_upgrade_of(upgrade, from, to) != NULL) return WR_SCHEMA_UPGRADE;
    if (wr_record_map_of(&map, from, to, upgrade != NULL, &why)) return WR_SCHEMA_CONVERT;
    wr_fail(info, why.code, "%s%s", why.text,
            upgrade != NULL && upgrade[0] != NULL ? "; none that the operator has in .upgrade takes these fields" : "");
    return WR_SCHEMA_REFUSED;
}

/* Words, one after the other. */
typedef struct phrase {
    char  *text;
    size_t bytes, n;
} phrase;

static void say(phrase *p, const char *verb, const char *of, const char *name)
{
    int n = snprintf(p->text + p->n, p->bytes - p->n, "%s%s %s%s%s", p->n != 0 ? ", " : "", verb, of,
                     of[0] != 0 ? "." : "", name);
    p->n = p->n + (size_t)n < p->bytes ? p->n + (size_t)n : p->bytes - 1;
}

static void say_fields(phrase *p, const weir_type *from, const weir_type *to, const char *of)
{
    for (uint32_t i = 0; i < to->fields; i++) {
        const weir_field *b = &to->field[i], *a = wr_field_named(from, b->name);
        if (a == NULL)
            say(p, "adds", of, b->name);
        else if (a->element != NULL && b->element != NULL)
            say_fields(p, a->element, b->element, b->name); /* elements have none of their own */
        else if (a->kind != b->kind || a->size != b->size)
            say(p, "changes", of, b->name);
    }
    for (uint32_t i = 0; i < from->fields; i++) {
        if (wr_field_named(to, from->field[i].name) == NULL) say(p, "drops", of, from->field[i].name);
    }
}

void wr_schema_changes(const weir_type *from, const weir_type *to, char *text, size_t bytes)
{
    phrase p = {text, bytes, 0};
    text[0] = 0;
    say_fields(&p, from, to, "");
}

/* The record's field that is part of a key; its name, or "?" (nothing has it, and then it fits nothing). */
static const char *name_at(const weir_type *record, const weir_key_field *part)
{
    for (uint32_t i = 0; record != NULL && i < record->fields; i++) {
        if (record->field[i].offset == part->offset && record->field[i].kind == part->kind)
            return record->field[i].name;
    }
    return "?";
}

/* Keys are compared by value and content, so a wider integer is the same key; a narrower one may not hold them. Another
 * field of the same type is another key: the states would go to strangers. */
wr_err wr_key_match(const wr_keyed_by *from, const wr_keyed_by *to, const char *uid, wr_errinfo *info)
{
    if (from->key->count != to->key->count)
        return wr_fail(info, WR_STATE,
                       "the key of operator %s has %u fields in the snapshot and %u in the pipeline; give "
                       "the operator another uid",
                       uid, from->key->count, to->key->count);
    for (uint32_t i = 0; i < to->key->count; i++) {
        const weir_key_field *x = &from->key->field[i], *y = &to->key->field[i];
        const char           *was = name_at(from->record, x), *is = name_at(to->record, y);
        uint32_t              a = x->kind, b = y->kind;
        bool                  strings = (a == WEIR_STR || a == WEIR_BYTES) && (b == WEIR_STR || b == WEIR_BYTES);
        bool                  number = a >= WEIR_I8 && a <= WEIR_U64 && b >= WEIR_I8 && b <= WEIR_U64;
        if (strcmp(was, is) != 0)
            return wr_fail(
                info, WR_STATE,
                "field %u of the key of operator %s was %s in the snapshot and is %s now; give the field its "
                "name back, or, if it is another one, give the operator another uid",
                i + 1, uid, was, is);
        if (a == b || strings || (number && widening(a, b) != WR_FIELD_ZERO)) continue;
        return wr_fail(info, WR_STATE,
                       "field %s of the key of operator %s was %s in the snapshot and is %s now; give the "
                       "operator another uid",
                       is, uid, kind_name(a), kind_name(b));
    }
    return WR_OK;
}
