#include "wire/schema.h"
#include "base/limits.h"
#include <string.h>

enum { TYPE_BYTES_MAX = WR_STATE_BYTES_MAX > WR_BATCH_BYTES ? WR_STATE_BYTES_MAX : WR_BATCH_BYTES };

static uint32_t kind_bytes(uint32_t kind)
{
    static const uint8_t bytes[] = {
        [WEIR_BOOL] = 1,        [WEIR_I8] = 1,          [WEIR_I16] = 2,        [WEIR_I32] = 4,
        [WEIR_I64] = 8,         [WEIR_U8] = 1,          [WEIR_U16] = 2,        [WEIR_U32] = 4,
        [WEIR_U64] = 8,         [WEIR_F32] = 4,         [WEIR_F64] = 8,        [WEIR_TIME] = 8,
        [WEIR_STR] = 16,        [WEIR_BYTES] = 16,      [WEIR_TEXT] = 16,      [WEIR_EVENT_TIMER] = 8,
        [WEIR_CLOCK_TIMER] = 8, [WEIR_CELL_VALUE] = 16, [WEIR_CELL_LIST] = 16, [WEIR_CELL_TABLE] = 16};
    return kind < sizeof bytes ? bytes[kind] : 0;
}

static bool has_element(uint32_t kind)
{
    return kind == WEIR_CELL_VALUE || kind == WEIR_CELL_LIST || kind == WEIR_CELL_TABLE;
}

/* ---- what an engine asks of a type ------------------------------------------------------------------------------- */

static const char *type_problem(const weir_type *type, bool is_element);

static const char *table_problem(const weir_field *f)
{
    uint32_t kind = f->key_kind;
    if (kind < WEIR_BOOL || kind > WEIR_BYTES || kind == WEIR_F32 || kind == WEIR_F64)
        return "the key of a table is of a kind that is no key";
    for (uint32_t i = 0; i < f->element->fields; i++) {
        if (f->element->field[i].offset == f->key && f->element->field[i].kind == kind) return "";
    }
    return "the key of a table is no field of its elements";
}

static const char *field_problem(const weir_type *type, const weir_field *f, bool is_element)
{
    uint32_t kind = f->kind & ~(uint32_t)WEIR_ARRAY, bytes = kind_bytes(kind);
    bool     array = f->kind & WEIR_ARRAY;
    if (f->name == NULL || f->name[0] == 0 || strlen(f->name) > WR_NAME_BYTES_MAX) return "a field has no name";
    if (bytes == 0) return "a field is of a kind that this Weir does not know";
    if (array && (kind < WEIR_I8 || kind > WEIR_F64)) return "an array is of something that is no number";
    if (array ? f->size == 0 || f->size % bytes != 0 || f->size > WR_FIELD_BYTES_MAX : f->size != bytes)
        return "a field has not the size of its kind";
    if ((uint64_t)f->offset + f->size > type->size) return "a field ends behind its record";
    if (kind >= WEIR_STR && f->offset % 8 != 0) return "a string or a cell is not aligned";
    if (kind > WEIR_BYTES && is_element) return "an element of a cell holds a cell";
    if (f->ttl < 0) return "a time to live is negative";
    if (!has_element(kind)) return f->element == NULL ? "" : "a field that is no cell has elements";
    if (f->element == NULL) return "a cell does not say what it holds";
    const char *problem = type_problem(f->element, true);
    if (problem[0] == 0 && kind == WEIR_CELL_TABLE) problem = table_problem(f);
    return problem;
}

static const char *type_problem(const weir_type *type, bool is_element)
{
    if (type->name == NULL || type->name[0] == 0 || strlen(type->name) > WR_NAME_BYTES_MAX) return "a type has no name";
    if (type->fields > WR_FIELDS_MAX) return "a type has too many fields";
    if (type->size > TYPE_BYTES_MAX) return "a type is too large";
    if (type->align == 0 || (type->align & (type->align - 1)) != 0 || type->align > WR_CACHE_LINE)
        return "a type cannot be aligned";
    for (uint32_t i = 0; i < type->fields; i++) {
        const weir_field *a = &type->field[i];
        const char       *problem = field_problem(type, a, is_element);
        if (problem[0] != 0) return problem;
        for (uint32_t k = 0; k < i; k++) {
            const weir_field *b = &type->field[k];
            if (strcmp(a->name, b->name) == 0) return "a field stands twice";
            if (a->offset < b->offset + b->size && b->offset < a->offset + a->size) return "two fields overlap";
        }
    }
    return "";
}

const char *wr_schema_problem(const weir_type *type)
{
    return type_problem(type, false);
}

bool wr_schema_same(const weir_type *a, const weir_type *b)
{
    if (a == NULL || b == NULL) return a == b;
    if (a->fields != b->fields) return false;
    for (uint32_t i = 0; i < a->fields; i++) {
        const weir_field *f = &a->field[i], *g = &b->field[i];
        if (strcmp(f->name, g->name) != 0 || f->kind != g->kind || f->size != g->size || f->ttl != g->ttl) return false;
        if (f->kind == WEIR_CELL_TABLE && f->key_kind != g->key_kind) return false;
        if (!wr_schema_same(f->element, g->element)) return false;
        if (f->kind != WEIR_CELL_TABLE) continue;
        for (uint32_t k = 0; k < f->element->fields; k++) { /* the same field is the key */
            if ((f->element->field[k].offset == f->key) != (g->element->field[k].offset == g->key)) return false;
        }
    }
    return true;
}

const weir_type *wr_schema_copy(wr_arena *arena, const weir_type *type)
{
    if (type == NULL) return NULL;
    weir_type  *copy = wr_arena_array(arena, weir_type, 1);
    weir_field *field = wr_arena_array(arena, weir_field, type->fields);
    *copy = *type;
    copy->abi_size = sizeof *copy;
    copy->name = wr_arena_str(arena, type->name);
    copy->field = field;
    for (uint32_t i = 0; i < type->fields; i++) {
        field[i] = type->field[i];
        field[i].name = wr_arena_str(arena, type->field[i].name);
        field[i].element = wr_schema_copy(arena, type->field[i].element);
    }
    return copy;
}

/* ---- bytes ------------------------------------------------------------------------------------------------------- */

enum { TYPE_NAME, TYPE_SIZE, TYPE_ALIGN, TYPE_FIELDS, TYPE_KEYS };
static const char *const type_key[] = {"name", "size", "align", "fields"};
enum {
    FIELD_NAME,
    FIELD_KIND,
    FIELD_OFFSET,
    FIELD_SIZE,
    FIELD_KEY,
    FIELD_KEY_KIND,
    FIELD_TTL,
    FIELD_ELEMENT,
    FIELD_KEYS
};
static const char *const field_key[] = {"name", "kind", "offset", "size", "key", "key_kind", "ttl", "element"};

static void pack_field(wr_pack *p, const weir_field *f)
{
    bool table = f->kind == WEIR_CELL_TABLE;
    wr_pack_map(p, 4u + 2 * table + (f->ttl != 0) + (f->element != NULL));
    wr_pack_str(p, field_key[FIELD_NAME]);
    wr_pack_str(p, f->name);
    wr_pack_str(p, field_key[FIELD_KIND]);
    wr_pack_u64(p, f->kind);
    wr_pack_str(p, field_key[FIELD_OFFSET]);
    wr_pack_u64(p, f->offset);
    wr_pack_str(p, field_key[FIELD_SIZE]);
    wr_pack_u64(p, f->size);
    if (table) {
        wr_pack_str(p, field_key[FIELD_KEY]);
        wr_pack_u64(p, f->key);
        wr_pack_str(p, field_key[FIELD_KEY_KIND]);
        wr_pack_u64(p, f->key_kind);
    }
    if (f->ttl != 0) {
        wr_pack_str(p, field_key[FIELD_TTL]);
        wr_pack_i64(p, f->ttl);
    }
    if (f->element != NULL) {
        wr_pack_str(p, field_key[FIELD_ELEMENT]);
        wr_schema_pack(p, f->element);
    }
}

void wr_schema_pack(wr_pack *p, const weir_type *type)
{
    if (type == NULL) {
        wr_pack_nil(p);
        return;
    }
    wr_pack_map(p, TYPE_KEYS);
    wr_pack_str(p, type_key[TYPE_NAME]);
    wr_pack_str(p, type->name);
    wr_pack_str(p, type_key[TYPE_SIZE]);
    wr_pack_u64(p, type->size);
    wr_pack_str(p, type_key[TYPE_ALIGN]);
    wr_pack_u64(p, type->align);
    wr_pack_str(p, type_key[TYPE_FIELDS]);
    wr_pack_array(p, type->fields);
    for (uint32_t i = 0; i < type->fields; i++) pack_field(p, &type->field[i]);
}

static const weir_type *unpack_type(wr_unpack *u, wr_arena *arena, uint32_t level);

static const char *unpack_name(wr_unpack *u, wr_arena *arena)
{
    size_t      n;
    const char *name = wr_unpack_str(u, WR_NAME_BYTES_MAX, &n);
    return name != NULL ? wr_arena_copy(arena, name, n) : NULL;
}

static void unpack_field(wr_unpack *u, wr_arena *arena, weir_field *f, uint32_t level)
{
    uint64_t seen = 0;
    for (uint32_t n = wr_unpack_map(u); n > 0; n--) {
        switch (wr_unpack_key(u, field_key, FIELD_KEYS, &seen)) {
        case FIELD_NAME: f->name = unpack_name(u, arena); break;
        case FIELD_KIND: f->kind = (uint32_t)wr_unpack_u64(u, 0xff); break;
        case FIELD_OFFSET: f->offset = (uint32_t)wr_unpack_u64(u, TYPE_BYTES_MAX); break;
        case FIELD_SIZE: f->size = (uint32_t)wr_unpack_u64(u, TYPE_BYTES_MAX); break;
        case FIELD_KEY: f->key = (uint32_t)wr_unpack_u64(u, TYPE_BYTES_MAX); break;
        case FIELD_KEY_KIND: f->key_kind = (uint32_t)wr_unpack_u64(u, 0xff); break;
        case FIELD_TTL: f->ttl = wr_unpack_i64(u); break;
        case FIELD_ELEMENT: f->element = unpack_type(u, arena, level + 1); break;
        default: break;
        }
        if (u->problem != NULL) return;
    }
    wr_unpack_leave(u);
}

static const weir_type *unpack_type(wr_unpack *u, wr_arena *arena, uint32_t level)
{
    if (level > 1) wr_unpack_fail(u, "an element of a cell holds a cell");
    weir_type *type = wr_arena_array(arena, weir_type, 1);
    type->abi_size = sizeof *type;
    uint64_t seen = 0;
    for (uint32_t n = wr_unpack_map(u); n > 0; n--) {
        switch (wr_unpack_key(u, type_key, TYPE_KEYS, &seen)) {
        case TYPE_NAME: type->name = unpack_name(u, arena); break;
        case TYPE_SIZE: type->size = (uint32_t)wr_unpack_u64(u, TYPE_BYTES_MAX); break;
        case TYPE_ALIGN: type->align = (uint32_t)wr_unpack_u64(u, WR_CACHE_LINE); break;
        case TYPE_FIELDS: {
            uint32_t fields = wr_unpack_array(u);
            if (fields > WR_FIELDS_MAX) wr_unpack_fail(u, "a type has too many fields");
            if (u->problem != NULL) return NULL;
            weir_field *field = wr_arena_array(arena, weir_field, fields);
            for (uint32_t i = 0; i < fields; i++) unpack_field(u, arena, &field[i], level);
            wr_unpack_leave(u);
            type->field = field;
            type->fields = fields;
            break;
        }
        default: break;
        }
        if (u->problem != NULL) return NULL;
    }
    wr_unpack_leave(u);
    return u->problem == NULL ? type : NULL;
}

const weir_type *wr_schema_unpack(wr_unpack *u, wr_arena *arena)
{
    if (wr_unpack_is_nil(u)) return NULL;
    const weir_type *type = unpack_type(u, arena, 0);
    if (type == NULL) return NULL;
    const char *problem = type_problem(type, false);
    if (problem[0] != 0) wr_unpack_fail(u, problem);
    return u->problem == NULL ? type : NULL;
}
