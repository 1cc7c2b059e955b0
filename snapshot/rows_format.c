#include "snapshot/rows_format.h"
#include "base/check.h"
#include "wire/frame.h"
#include "wire/schema.h"

enum { H_JOB, H_LINEAGE, H_UID, H_SNAPSHOT, H_GROUPS, H_RECORD, H_STATE, H_KEY, H_STAMPS, H_CELL_STAMPS, H_KEYS };
static const char *const head_key[] = {"job",    "lineage", "uid", "snapshot", "max_parallelism",
                                       "record", "state",   "key", "stamps",   "cell_stamps"};

/* ---- head -------------------------------------------------------------------------------------------------------- */

void wr_rows_head_put(wr_pack *file, const wr_rows_head *head)
{
    wr_frame_begin(file, WR_ROWS_MAGIC, WR_ROWS_VERSION);
    wr_pack_map(file, H_KEYS);
    wr_pack_str(file, head_key[H_JOB]);
    wr_pack_str(file, head->job);
    wr_pack_str(file, head_key[H_LINEAGE]);
    wr_pack_str(file, head->lineage);
    wr_pack_str(file, head_key[H_UID]);
    wr_pack_str(file, head->uid);
    wr_pack_str(file, head_key[H_SNAPSHOT]);
    wr_pack_u64(file, head->snapshot);
    wr_pack_str(file, head_key[H_GROUPS]);
    wr_pack_u64(file, head->max_parallelism);
    wr_pack_str(file, head_key[H_RECORD]);
    wr_schema_pack(file, head->record);
    wr_pack_str(file, head_key[H_STATE]);
    wr_schema_pack(file, head->state);
    wr_pack_str(file, head_key[H_KEY]);
    wr_pack_array(file, head->key.count);
    for (uint32_t i = 0; i < head->key.count; i++) {
        wr_pack_array(file, 2);
        wr_pack_u64(file, head->key.field[i].offset);
        wr_pack_u64(file, head->key.field[i].kind);
    }
    wr_pack_str(file, head_key[H_STAMPS]);
    wr_pack_bool(file, head->stamps.keys);
    wr_pack_str(file, head_key[H_CELL_STAMPS]);
    wr_pack_array(file, head->state->fields);
    for (uint32_t i = 0; i < head->state->fields; i++) wr_pack_bool(file, head->stamps.cell[i]);
    wr_frame_end(file);
}

static const char *text(wr_unpack *u, wr_arena *arena)
{
    size_t      n;
    const char *from = wr_unpack_str(u, WR_NAME_BYTES_MAX, &n);
    return from != NULL ? wr_arena_copy(arena, from, n) : "";
}

static void read_key(wr_unpack *u, weir_key *key)
{
    uint32_t n = wr_unpack_array(u);
    if (n > WR_KEY_FIELDS_MAX) wr_unpack_fail(u, "a key has too many fields");
    for (uint32_t i = 0; i < n && u->problem == NULL; i++) {
        if (wr_unpack_array(u) != 2) wr_unpack_fail(u, "a field of a key is an offset and a kind");
        key->field[i].offset = (uint32_t)wr_unpack_u64(u, UINT32_MAX);
        key->field[i].kind = (uint32_t)wr_unpack_u64(u, 0xff);
        wr_unpack_leave(u);
    }
    wr_unpack_leave(u);
    key->count = u->problem == NULL ? n : 0;
}

static void read_cell_stamps(wr_unpack *u, wr_rows_stamps *stamps, uint32_t *count)
{
    uint32_t n = wr_unpack_array(u);
    if (n > WR_FIELDS_MAX) wr_unpack_fail(u, "a state has too many fields");
    for (uint32_t i = 0; i < n && u->problem == NULL; i++) stamps->cell[i] = wr_unpack_bool(u);
    wr_unpack_leave(u);
    *count = n;
}

static void check_head(wr_unpack *u, const wr_rows_head *h, uint32_t cell_stamps)
{
    if (h->record == NULL || h->state == NULL) {
        wr_unpack_fail(u, "a schema is missing");
        return;
    }
    if (cell_stamps != h->state->fields) wr_unpack_fail(u, "a state has other fields than it says");
    for (uint32_t i = 0; i < h->key.count; i++) {
        uint32_t kind = h->key.field[i].kind;
        bool     found = false;
        for (uint32_t f = 0; f < h->record->fields; f++)
            found |= h->record->field[f].offset == h->key.field[i].offset && h->record->field[f].kind == kind;
        if (!found || kind > WEIR_BYTES || kind == WEIR_F32 || kind == WEIR_F64)
            wr_unpack_fail(u, "a key is no field of its record");
    }
}

wr_err wr_rows_head_read(wr_rows_head *head, wr_arena *arena, const char *bytes, size_t n, const char *path,
                         wr_errinfo *info)
{
    wr_frame frame;
    memset(head, 0, sizeof *head);
    WR_TRY(wr_frame_open(&frame, WR_ROWS_MAGIC, WR_ROWS_VERSION, "savepoint's file", bytes, n, path, info));
    wr_unpack in, *u = &in;
    uint64_t  seen = 0;
    uint32_t  cell_stamps = 0;
    wr_unpack_init(u, frame.body, frame.bytes);
    for (uint32_t left = wr_unpack_map(u); left > 0 && u->problem == NULL; left--) {
        switch (wr_unpack_key(u, head_key, H_KEYS, &seen)) {
        case H_JOB: head->job = text(u, arena); break;
        case H_LINEAGE: head->lineage = text(u, arena); break;
        case H_UID: head->uid = text(u, arena); break;
        case H_SNAPSHOT: head->snapshot = wr_unpack_u64(u, UINT64_MAX); break;
        case H_GROUPS: head->max_parallelism = (uint32_t)wr_unpack_u64(u, WR_PARALLELISM_MAX); break;
        case H_RECORD: head->record = wr_schema_unpack(u, arena); break;
        case H_STATE: head->state = wr_schema_unpack(u, arena); break;
        case H_KEY: read_key(u, &head->key); break;
        case H_STAMPS: head->stamps.keys = wr_unpack_bool(u); break;
        case H_CELL_STAMPS: read_cell_stamps(u, &head->stamps, &cell_stamps); break;
        default: break;
        }
    }
    wr_unpack_leave(u);
    if (seen != (UINT64_C(1) << H_KEYS) - 1) wr_unpack_fail(u, "a member is missing");
    wr_unpack_end(u);
    if (u->problem == NULL) check_head(u, head, cell_stamps);
    if (u->problem == NULL) return WR_OK;
    return wr_fail(info, WR_DAMAGED, "%s; %s, offset %zu", u->problem, path, WR_FRAME_HEAD_BYTES + u->offset);
}

/* ---- types ------------------------------------------------------------------------------------------------------- */

void wr_rows_types_of(wr_rows_types *types, const weir_type *record, const weir_key *key, const weir_type *state)
{
    *types = (wr_rows_types){.key = *record, .plain = *state};
    types->key.field = types->key_field;
    types->plain.field = types->plain_field;
    types->key.fields = key->count;
    types->plain.fields = 0;
    for (uint32_t i = 0; i < key->count; i++) {
        for (uint32_t f = 0; f < record->fields; f++) {
            if (record->field[f].offset == key->field[i].offset) types->key_field[i] = record->field[f];
        }
        check(types->key_field[i].size != 0);
    }
    for (uint32_t f = 0; f < state->fields; f++) {
        if (!wr_rows_is_cell(state->field[f].kind)) types->plain_field[types->plain.fields++] = state->field[f];
    }
}
