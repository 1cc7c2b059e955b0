/* Files of savepoints: the input is items of blocks, which get a right head, right checksums and a right end, so that
 * what is behind them is what is tested. What is taken can be walked, and keys lie where they belong. */
#include "memory.h"
#include "snapshot/image.h"
#include "snapshot/rows_format.h"

enum { GROUPS = 4 };

typedef struct event {
    int32_t  user;
    weir_str name;
} event;
typedef struct note {
    weir_str name;
    uint32_t value;
} note;
typedef struct keep {
    uint64_t         count;
    weir_event_timer due;
    weir_text        text;
    weir_cell        value, list, table;
} keep;
#define FUZZ_CELL(NAME, KIND, TTL)                                                                                     \
    {                                                                                                                  \
        .name = #NAME, .offset = offsetof(keep, NAME), .size = 16, .kind = (KIND), .element = &note_type,              \
        .key_kind = (KIND) == WEIR_CELL_TABLE ? WEIR_STR : 0, .ttl = (TTL)                                             \
    }
static const weir_field event_fields[] = {FUZZ_FIELD(event, user, WEIR_I32), FUZZ_FIELD(event, name, WEIR_STR)};
static const weir_type  event_type = FUZZ_TYPE(event, event_fields);
static const weir_field note_fields[] = {FUZZ_FIELD(note, name, WEIR_STR), FUZZ_FIELD(note, value, WEIR_U32)};
static const weir_type  note_type = FUZZ_TYPE(note, note_fields);
static const weir_field keep_fields[] = {
    FUZZ_FIELD(keep, count, WEIR_U64),          FUZZ_FIELD(keep, due, WEIR_EVENT_TIMER),
    FUZZ_FIELD(keep, text, WEIR_TEXT),          FUZZ_CELL(value, WEIR_CELL_VALUE, 0),
    FUZZ_CELL(list, WEIR_CELL_LIST, WEIR_HOUR), FUZZ_CELL(table, WEIR_CELL_TABLE, WEIR_HOUR)};
static const weir_type keep_type = FUZZ_TYPE(keep, keep_fields);
static const weir_key  key = {.count = 2,
                              .field = {{offsetof(event, name), WEIR_STR}, {offsetof(event, user), WEIR_I32}}};

static void put_block(wr_pack *file, wr_rows_block *b, const void *body)
{
    uint64_t at = file->bytes;
    b->hash = wr_rows_hash(b, at, body);
    wr_pack_raw(file, b, sizeof *b);
    wr_pack_raw(file, body, b->bytes);
}

static void make_file(wr_pack *file, input *in)
{
    const wr_rows_head head = {.job = "j",
                               .lineage = "l",
                               .uid = "it",
                               .snapshot = 9,
                               .max_parallelism = GROUPS,
                               .record = &event_type,
                               .state = &keep_type,
                               .key = key,
                               .stamps = {.keys = take_u8(in) % 2 == 1, .cell = {[4] = true, [5] = true}}};
    uint64_t           total[2] = {0};
    wr_rows_head_put(file, &head);
    while (rest(in) > 0) {
        wr_rows_block b = {.magic = WR_ROWS_BLOCK_MAGIC, .keys = take_u8(in), .group_end = GROUPS};
        size_t        n = take_u16(in);
        b.bytes = (uint32_t)(n < rest(in) ? n : rest(in));
        b.group_first = b.keys >> 6;
        b.keys &= 63;
        char *body = own(in->at, b.bytes);
        put_block(file, &b, body);
        free(body);
        in->at += b.bytes;
        total[0] += b.keys;
        total[1]++;
    }
    wr_rows_block end = {.magic = WR_ROWS_END_MAGIC, .bytes = sizeof total};
    put_block(file, &end, total);
}

static void walk(const wr_env *env, const wr_manifest_op *op)
{
    wr_image_reader *r;
    const wr_table  *table;
    const void      *record, *state;
    wr_errinfo       info = {0};
    if (wr_image_reader_new(&r, env, "d", op, &info) != WR_OK) return;
    while (wr_image_reader_next(r, &table, &record, &state, &info)) {
        const keep *k = state;
        uint64_t    hash;
        void       *found;
        weir_rows   rows = wr_cell_rows(table, k, &k->list);
        uint32_t    n = 0;
        wr_key_hash(&key, record, sizeof(event), 1, &hash);
        wr_table_peek(table, record, 1, &hash, NULL, 0, &found);
        must(found == state);
        while (rows.at != rows.end || wr_cell_rows_refill(&rows, sizeof(note))) {
            if (rows.at == rows.end) continue;
            rows.at += sizeof(note);
            n++;
        }
        must(n == k->list.count && wr_cell_text_get(&k->text).len <= WR_CELL_BYTES_MAX);
    }
    must(info.code == WR_OK || info.code == WR_DAMAGED);
    wr_image_reader_free(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    input             in = {bytes, bytes + size};
    wr_pack           file = {0};
    wr_errinfo        info = {0};
    memory            m;
    wr_manifest_layer layer = {.snapshot = 9, .file = {.name = "it.rows", .group_end = GROUPS}};
    wr_manifest_op    op = {.uid = "it",
                            .max_parallelism = GROUPS,
                            .layer = &layer,
                            .layers = 1,
                            .record = &event_type,
                            .state = &keep_type,
                            .key = key};
    make_file(&file, &in);
    char             *copy = own(file.data, file.bytes);
    const memory_file in_memory = {"d/it.rows", copy, file.bytes};
    XXH128_hash_t     hash = XXH3_128bits(copy, file.bytes);
    memory_init(&m, &in_memory, 1);
    layer.file.bytes = file.bytes;
    layer.file.hash[0] = hash.low64;
    layer.file.hash[1] = hash.high64;
    wr_err err = wr_rows_check(&m.env, "d", &layer.file, &info);
    must(err == WR_OK || err == WR_DAMAGED);
    must(err == info.code);
    walk(&m.env, &op);
    free(copy);
    wr_pack_free(&file);
    return 0;
}
