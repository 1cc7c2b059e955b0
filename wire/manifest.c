/* wire/manifest.c: the bytes of a manifest: one msgpack map in a frame. Every member is always written, and must be
 * there; members that nobody knows are skipped. */
#include "wire/manifest.h"
#include "base/limits.h"
#include "wire/frame.h"
#include "wire/pack.h"
#include "wire/schema.h"
#include <string.h>

enum { LINEAGE_BYTES_MAX = 64, VERSION_BYTES_MAX = 64 };
static const char magic[8] = {'W', 'E', 'I', 'R', 'S', 'N', 'A', 'P'};

enum {
    M_KIND,
    M_ID,
    M_BASE,
    M_EPOCH,
    M_JOB,
    M_LINEAGE,
    M_WEIR,
    M_TRIGGERED,
    M_COMPLETED,
    M_FINGERPRINT,
    M_ENDED,
    M_OPS,
    M_KEYS
};
static const char *const manifest_key[] = {"kind", "id",        "base",      "epoch",       "job",   "lineage",
                                           "weir", "triggered", "completed", "fingerprint", "ended", "ops"};
enum {
    O_UID,
    O_NAME,
    O_KIND,
    O_PARALLELISM,
    O_MAX_PARALLELISM,
    O_ENDED,
    O_WATERMARK,
    O_RECORD,
    O_STATE,
    O_KEY,
    O_ITEMS,
    O_LAYERS,
    O_KEYS
};
static const char *const op_key[] = {"uid",       "name",   "kind",  "parallelism", "max_parallelism", "ended",
                                     "watermark", "record", "state", "key",         "items",           "layers"};
enum { L_FILE, L_BYTES, L_HASH, L_GROUPS, L_INCREMENT, L_SNAPSHOT, L_FROM, L_ORDER, L_KEYS };
static const char *const layer_key[] = {"file", "bytes", "hash", "groups", "increment", "snapshot", "from", "order"};

/* ---- encode ------------------------------------------------------------------------------------------------------ */

static void pack_layer(wr_pack *p, const wr_manifest_layer *l)
{
    uint8_t hash[16];
    memcpy(hash, l->file.hash, sizeof hash);
    wr_pack_map(p, L_KEYS);
    wr_pack_str(p, layer_key[L_FILE]);
    wr_pack_str(p, l->file.name);
    wr_pack_str(p, layer_key[L_BYTES]);
    wr_pack_u64(p, l->file.bytes);
    wr_pack_str(p, layer_key[L_HASH]);
    wr_pack_bin(p, hash, sizeof hash);
    wr_pack_str(p, layer_key[L_GROUPS]);
    wr_pack_array(p, 2);
    wr_pack_u64(p, l->file.group_first);
    wr_pack_u64(p, l->file.group_end);
    wr_pack_str(p, layer_key[L_INCREMENT]);
    wr_pack_bool(p, l->file.increment);
    wr_pack_str(p, layer_key[L_SNAPSHOT]);
    wr_pack_u64(p, l->snapshot);
    wr_pack_str(p, layer_key[L_FROM]);
    wr_pack_u64(p, l->from);
    wr_pack_str(p, layer_key[L_ORDER]);
    wr_pack_u64(p, l->order);
}

static void pack_op_parts(wr_pack *p, const wr_manifest_op *op)
{
    wr_pack_str(p, op_key[O_RECORD]);
    wr_schema_pack(p, op->record);
    wr_pack_str(p, op_key[O_STATE]);
    wr_schema_pack(p, op->state);
    wr_pack_str(p, op_key[O_KEY]);
    wr_pack_array(p, op->key.count);
    for (uint32_t i = 0; i < op->key.count; i++) {
        wr_pack_array(p, 2);
        wr_pack_u64(p, op->key.field[i].offset);
        wr_pack_u64(p, op->key.field[i].kind);
    }
    wr_pack_str(p, op_key[O_ITEMS]);
    wr_pack_array(p, op->items);
    for (uint32_t i = 0; i < op->items; i++) {
        wr_pack_array(p, 3);
        wr_pack_u64(p, op->item[i].kind);
        wr_pack_u64(p, op->item[i].from);
        wr_pack_bin(p, op->item[i].data, op->item[i].bytes);
    }
    wr_pack_str(p, op_key[O_LAYERS]);
    wr_pack_array(p, op->layers);
    for (uint32_t i = 0; i < op->layers; i++) pack_layer(p, &op->layer[i]);
}

static void pack_op(wr_pack *p, const wr_manifest_op *op)
{
    wr_pack_map(p, O_KEYS);
    wr_pack_str(p, op_key[O_UID]);
    wr_pack_str(p, op->uid);
    wr_pack_str(p, op_key[O_NAME]);
    wr_pack_str(p, op->name != NULL ? op->name : op->uid);
    wr_pack_str(p, op_key[O_KIND]);
    wr_pack_u64(p, op->kind);
    wr_pack_str(p, op_key[O_PARALLELISM]);
    wr_pack_u64(p, op->parallelism);
    wr_pack_str(p, op_key[O_MAX_PARALLELISM]);
    wr_pack_u64(p, op->max_parallelism);
    wr_pack_str(p, op_key[O_ENDED]);
    wr_pack_bool(p, op->ended);
    wr_pack_str(p, op_key[O_WATERMARK]);
    wr_pack_i64(p, op->watermark);
    pack_op_parts(p, op);
}

static void pack_body(wr_pack *p, const wr_manifest *m)
{
    wr_pack_map(p, M_KEYS);
    wr_pack_str(p, manifest_key[M_KIND]);
    wr_pack_u64(p, m->kind);
    wr_pack_str(p, manifest_key[M_ID]);
    wr_pack_u64(p, m->id);
    wr_pack_str(p, manifest_key[M_BASE]);
    wr_pack_u64(p, m->base);
    wr_pack_str(p, manifest_key[M_EPOCH]);
    wr_pack_u64(p, m->epoch);
    wr_pack_str(p, manifest_key[M_JOB]);
    wr_pack_str(p, m->job);
    wr_pack_str(p, manifest_key[M_LINEAGE]);
    wr_pack_str(p, m->lineage);
    wr_pack_str(p, manifest_key[M_WEIR]);
    wr_pack_str(p, m->weir);
    wr_pack_str(p, manifest_key[M_TRIGGERED]);
    wr_pack_i64(p, m->triggered_ns);
    wr_pack_str(p, manifest_key[M_COMPLETED]);
    wr_pack_i64(p, m->completed_ns);
    wr_pack_str(p, manifest_key[M_FINGERPRINT]);
    wr_pack_u64(p, m->fingerprint);
    wr_pack_str(p, manifest_key[M_ENDED]);
    wr_pack_bool(p, m->ended);
    wr_pack_str(p, manifest_key[M_OPS]);
    wr_pack_array(p, m->ops);
    for (uint32_t i = 0; i < m->ops; i++) pack_op(p, &m->op[i]);
}

wr_err wr_manifest_encode(const wr_manifest *m, char **bytes, size_t *n, wr_errinfo *info)
{
    wr_pack     p = {0};
    wr_manifest back;
    wr_errinfo  why = {0};
    wr_frame_begin(&p, magic, WR_MANIFEST_VERSION);
    pack_body(&p, m);
    wr_frame_end(&p);
    /* A manifest that cannot be read is worth nothing: so the reader says whether this one may be written. */
    if (p.bytes > WR_MANIFEST_BYTES_MAX || wr_manifest_decode(&back, p.data, p.bytes, "it", &why) != WR_OK) {
        wr_fail(info, WR_LIMIT, "the manifest of snapshot %llu cannot be written: %s; %zu bytes",
                (unsigned long long)m->id, why.code != WR_OK ? why.text : "it is too large", p.bytes);
        wr_pack_free(&p);
        return WR_LIMIT;
    }
    wr_manifest_free(&back);
    *bytes = p.data;
    *n = p.bytes;
    return WR_OK;
}

/* ---- decode ------------------------------------------------------------------------------------------------------ */

/* Caller's storage, one thread. */
typedef struct reader {
    wr_unpack *u;
    wr_arena  *arena;
} reader;

static const char *text(reader *r, size_t max)
{
    size_t      n;
    const char *from = wr_unpack_str(r->u, max, &n);
    return from != NULL ? wr_arena_copy(r->arena, from, n) : "";
}

/* Every member that version 1 writes must be there: none has a default. */
static void leave_map(reader *r, uint64_t seen, uint32_t keys)
{
    if (seen != (UINT64_C(1) << keys) - 1) wr_unpack_fail(r->u, "a member is missing");
    wr_unpack_leave(r->u);
}

static void read_groups(reader *r, wr_state_file *file)
{
    if (wr_unpack_array(r->u) != 2) wr_unpack_fail(r->u, "key groups are a first one and an end");
    file->group_first = (uint32_t)wr_unpack_u64(r->u, WR_PARALLELISM_MAX);
    file->group_end = (uint32_t)wr_unpack_u64(r->u, WR_PARALLELISM_MAX);
    if (file->group_first >= file->group_end) wr_unpack_fail(r->u, "a range of key groups is empty");
    wr_unpack_leave(r->u);
}

/* A name, never a path: nothing outside the folder is ever opened. */
static void read_file_name(reader *r, wr_state_file *file)
{
    size_t      n;
    const char *name = wr_unpack_str(r->u, sizeof file->name - 1, &n);
    if (name == NULL) return;
    if (n == 0 || name[0] == '.' || memchr(name, '/', n) != NULL) {
        wr_unpack_fail(r->u, "a file's name is none");
        return;
    }
    memcpy(file->name, name, n);
    file->name[n] = 0;
}

static void read_layer(reader *r, wr_manifest_layer *l)
{
    wr_unpack *u = r->u;
    uint64_t   seen = 0;
    size_t     n;
    for (uint32_t left = wr_unpack_map(u); left > 0 && u->problem == NULL; left--) {
        switch (wr_unpack_key(u, layer_key, L_KEYS, &seen)) {
        case L_FILE: read_file_name(r, &l->file); break;
        case L_BYTES: l->file.bytes = wr_unpack_u64(u, INT64_MAX); break;
        case L_HASH: {
            const char *hash = wr_unpack_bin(u, sizeof l->file.hash, &n);
            if (n != sizeof l->file.hash) wr_unpack_fail(u, "a checksum has 16 bytes");
            if (u->problem == NULL) memcpy(l->file.hash, hash, n);
            break;
        }
        case L_GROUPS: read_groups(r, &l->file); break;
        case L_INCREMENT: l->file.increment = wr_unpack_bool(u); break;
        case L_SNAPSHOT: l->snapshot = wr_unpack_u64(u, UINT64_MAX); break;
        case L_FROM: l->from = (uint32_t)wr_unpack_u64(u, WR_PARALLELISM_MAX); break;
        case L_ORDER: l->order = (uint32_t)wr_unpack_u64(u, UINT32_MAX); break;
        default: break;
        }
    }
    leave_map(r, seen, L_KEYS);
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

static void read_items(reader *r, wr_manifest_op *op)
{
    wr_unpack *u = r->u;
    uint32_t   n = wr_unpack_array(u);
    op->item = wr_arena_array(r->arena, wr_item, n);
    for (uint32_t i = 0; i < n && u->problem == NULL; i++) {
        size_t bytes;
        if (wr_unpack_array(u) != 3) wr_unpack_fail(u, "an item is a kind, a subtask and bytes");
        op->item[i].kind = (uint32_t)wr_unpack_u64(u, UINT32_MAX);
        op->item[i].from = (uint32_t)wr_unpack_u64(u, WR_PARALLELISM_MAX);
        const char *data = wr_unpack_bin(u, WR_ITEM_BYTES_MAX, &bytes);
        wr_unpack_leave(u);
        if (u->problem != NULL) return;
        op->item[i].bytes = (uint32_t)bytes;
        op->item[i].data = wr_arena_copy(r->arena, data, bytes);
    }
    wr_unpack_leave(u);
    op->items = u->problem == NULL ? n : 0;
}

static void read_layers(reader *r, wr_manifest_op *op)
{
    wr_unpack *u = r->u;
    uint32_t   n = wr_unpack_array(u);
    op->layer = wr_arena_array(r->arena, wr_manifest_layer, n);
    for (uint32_t i = 0; i < n && u->problem == NULL; i++) read_layer(r, &op->layer[i]);
    wr_unpack_leave(u);
    op->layers = u->problem == NULL ? n : 0;
}

static void check_key(reader *r, const wr_manifest_op *op)
{
    for (uint32_t i = 0; i < op->key.count; i++) {
        const weir_key_field *k = &op->key.field[i];
        bool                  found = false;
        for (uint32_t f = 0; op->record != NULL && f < op->record->fields && !found; f++) {
            found = op->record->field[f].offset == k->offset && op->record->field[f].kind == k->kind;
        }
        if (!found || k->kind < WEIR_BOOL || k->kind > WEIR_BYTES || k->kind == WEIR_F32 || k->kind == WEIR_F64)
            wr_unpack_fail(r->u, "a key is no field of its record");
    }
}

/* What cannot be seen in one member alone. */
static void check_op(reader *r, const wr_manifest_op *op)
{
    wr_unpack *u = r->u;
    if (op->uid[0] == 0) wr_unpack_fail(u, "an operator has no uid");
    if (op->parallelism == 0) wr_unpack_fail(u, "an operator has no subtasks");
    for (uint32_t i = 0; i < op->layers; i++) {
        if (op->layer[i].file.group_end > op->max_parallelism)
            wr_unpack_fail(u, "a file has key groups that its operator has not");
    }
    if (op->layers > 0 && (op->record == NULL || op->state == NULL))
        wr_unpack_fail(u, "an operator has keyed state, but no schema of it");
    check_key(r, op);
}

static void read_op(reader *r, wr_manifest_op *op)
{
    wr_unpack *u = r->u;
    uint64_t   seen = 0;
    for (uint32_t n = wr_unpack_map(u); n > 0 && u->problem == NULL; n--) {
        switch (wr_unpack_key(u, op_key, O_KEYS, &seen)) {
        case O_UID: op->uid = text(r, WR_NAME_BYTES_MAX); break;
        case O_NAME: op->name = text(r, WR_NAME_BYTES_MAX); break;
        case O_KIND: op->kind = (uint32_t)wr_unpack_u64(u, UINT32_MAX); break;
        case O_PARALLELISM: op->parallelism = (uint32_t)wr_unpack_u64(u, WR_PARALLELISM_MAX); break;
        case O_MAX_PARALLELISM: op->max_parallelism = (uint32_t)wr_unpack_u64(u, WR_PARALLELISM_MAX); break;
        case O_ENDED: op->ended = wr_unpack_bool(u); break;
        case O_WATERMARK: op->watermark = wr_unpack_i64(u); break;
        case O_RECORD: op->record = wr_schema_unpack(u, r->arena); break;
        case O_STATE: op->state = wr_schema_unpack(u, r->arena); break;
        case O_KEY: read_key(r, &op->key); break;
        case O_ITEMS: read_items(r, op); break;
        case O_LAYERS: read_layers(r, op); break;
        default: break;
        }
    }
    leave_map(r, seen, O_KEYS);
    if (u->problem == NULL) check_op(r, op);
}

static void read_ops(reader *r, wr_manifest *m)
{
    wr_unpack *u = r->u;
    uint32_t   n = wr_unpack_array(u);
    if (n > WR_NODES_MAX) wr_unpack_fail(u, "there are too many operators");
    if (u->problem != NULL) return;
    m->op = wr_arena_array(r->arena, wr_manifest_op, n);
    for (uint32_t i = 0; i < n && u->problem == NULL; i++) {
        read_op(r, &m->op[i]);
        for (uint32_t k = 0; k < i && u->problem == NULL; k++) {
            if (strcmp(m->op[k].uid, m->op[i].uid) == 0) wr_unpack_fail(u, "two operators have the same uid");
        }
    }
    wr_unpack_leave(u);
    m->ops = u->problem == NULL ? n : 0;
}

static void read_body(reader *r, wr_manifest *m)
{
    wr_unpack *u = r->u;
    uint64_t   seen = 0;
    for (uint32_t n = wr_unpack_map(u); n > 0 && u->problem == NULL; n--) {
        switch (wr_unpack_key(u, manifest_key, M_KEYS, &seen)) {
        case M_KIND: m->kind = (uint32_t)wr_unpack_u64(u, WR_SAVEPOINT); break;
        case M_ID: m->id = wr_unpack_u64(u, UINT64_MAX); break;
        case M_BASE: m->base = wr_unpack_u64(u, UINT64_MAX); break;
        case M_EPOCH: m->epoch = (uint32_t)wr_unpack_u64(u, UINT32_MAX); break;
        case M_JOB: m->job = text(r, WR_NAME_BYTES_MAX); break;
        case M_LINEAGE: m->lineage = text(r, LINEAGE_BYTES_MAX); break;
        case M_WEIR: m->weir = text(r, VERSION_BYTES_MAX); break;
        case M_TRIGGERED: m->triggered_ns = wr_unpack_i64(u); break;
        case M_COMPLETED: m->completed_ns = wr_unpack_i64(u); break;
        case M_FINGERPRINT: m->fingerprint = wr_unpack_u64(u, UINT64_MAX); break;
        case M_ENDED: m->ended = wr_unpack_bool(u); break;
        case M_OPS: read_ops(r, m); break;
        default: break;
        }
    }
    leave_map(r, seen, M_KEYS);
    if (m->kind == 0) wr_unpack_fail(u, "it is neither a snapshot nor a savepoint");
    wr_unpack_end(u);
}

wr_err wr_manifest_decode(wr_manifest *m, const char *bytes, size_t n, const char *name, wr_errinfo *info)
{
    memset(m, 0, sizeof *m);
    wr_frame frame;
    WR_TRY(wr_frame_open(&frame, magic, WR_MANIFEST_VERSION, "manifest", bytes, n, name, info));
    wr_unpack u;
    reader    r = {.u = &u, .arena = &m->arena};
    wr_unpack_init(&u, frame.body, frame.bytes);
    m->version = frame.version;
    read_body(&r, m);
    if (u.problem == NULL) return WR_OK;
    wr_manifest_free(m);
    return wr_fail(info, WR_DAMAGED, "%s; %s, offset %zu", u.problem, name, (size_t)(frame.body - bytes) + u.offset);
}

void wr_manifest_free(wr_manifest *m)
{
    wr_arena_fini(&m->arena);
    memset(m, 0, sizeof *m);
}

const wr_manifest_op *wr_manifest_find(const wr_manifest *m, const char *uid)
{
    for (uint32_t i = 0; i < m->ops; i++) {
        if (strcmp(m->op[i].uid, uid) == 0) return &m->op[i];
    }
    return NULL;
}
