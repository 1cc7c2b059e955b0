/* Files with keyed state: a small one with every kind of cell, in which the input overwrites bytes. Without new
 * checksums that must be noticed; with new ones the file is refused, or what it gives can be read, written and
 * forgotten. */
#include "memory.h"
#include "snapshot/capture.h"
#include "snapshot/image.h"
#include "snapshot/image_format.h"

enum { GROUPS = 2, FILE_MAX = 1 << 18 };

typedef struct event {
    int32_t  user;
    weir_str name;
} event;
typedef struct note {
    weir_str name;
    uint32_t value;
} note;
typedef struct keep {
    uint64_t  count;
    weir_text text;
    weir_cell value, list, table;
} keep;
#define FUZZ_CELL(NAME, KIND)                                                                                          \
    {                                                                                                                  \
        .name = #NAME, .offset = offsetof(keep, NAME), .size = 16, .kind = (KIND), .element = &note_type,              \
        .key_kind = (KIND) == WEIR_CELL_TABLE ? WEIR_STR : 0                                                           \
    }
static const weir_field event_fields[] = {FUZZ_FIELD(event, user, WEIR_I32), FUZZ_FIELD(event, name, WEIR_STR)};
static const weir_type  event_type = FUZZ_TYPE(event, event_fields);
static const weir_field note_fields[] = {FUZZ_FIELD(note, name, WEIR_STR), FUZZ_FIELD(note, value, WEIR_U32)};
static const weir_type  note_type = FUZZ_TYPE(note, note_fields);
static const weir_field keep_fields[] = {FUZZ_FIELD(keep, count, WEIR_U64), FUZZ_FIELD(keep, text, WEIR_TEXT),
                                         FUZZ_CELL(value, WEIR_CELL_VALUE), FUZZ_CELL(list, WEIR_CELL_LIST),
                                         FUZZ_CELL(table, WEIR_CELL_TABLE)};
static const weir_type  keep_type = FUZZ_TYPE(keep, keep_fields);
static const weir_key   key = {.count = 2,
                               .field = {{offsetof(event, name), WEIR_STR}, {offsetof(event, user), WEIR_I32}}};

/* ---- the file ---------------------------------------------------------------------------------------------------- */

static wr_table *new_table(wr_budget *budget)
{
    wr_table_config config = {.uid = "it",
                              .record = &event_type,
                              .key = key,
                              .state = &keep_type,
                              .max_parallelism = GROUPS,
                              .group_end = GROUPS,
                              .budget = budget};
    wr_table       *table;
    must(wr_table_new(&table, &config, NULL) == WR_OK);
    return table;
}

static void put(wr_table *table, int32_t user, uint32_t more)
{
    static char text[600];
    memset(text, 'x', sizeof text);
    event    e = {.user = user, .name = weir_str_of(text, (size_t)(user * 7 % 50))};
    uint64_t hash;
    void    *state;
    wr_key_hash(&key, &e, sizeof e, 1, &hash);
    must(wr_table_find(table, &e, 1, &hash, NULL, 0, &state, NULL));
    keep *k = state;
    k->count++;
    (void)wr_cell_text_set(table, k, &k->text, weir_str_of(text, (size_t)(user * 31 % 600)));
    for (uint32_t i = 0; i < more; i++) {
        note n = {.name = weir_str_of(text, (i * 5 + (uint32_t)user) % 40), .value = i};
        (void)wr_cell_value_set(table, k, &k->value, &n);
        (void)wr_cell_list_add(table, k, &k->list, &n);
        (void)wr_cell_table_put(table, k, &k->table, &n);
    }
    if (user % 3 == 0) wr_cell_list_drop(table, k, &k->list, 2);
    if (user % 4 == 0) wr_cell_clear(table, k, &k->table);
    wr_table_settle(table);
}

static char   made[FILE_MAX];
static size_t made_bytes;

static int write_open(void *self, const char *path, int flags)
{
    (void)self;
    (void)path;
    (void)flags;
    return 1;
}
static int64_t write_at(void *self, int file, const void *from, size_t n, int64_t at)
{
    (void)self;
    (void)file;
    must((size_t)at + n <= sizeof made);
    memcpy(made + at, from, n);
    if ((size_t)at + n > made_bytes) made_bytes = (size_t)at + n;
    return (int64_t)n;
}
static int write_end(void *self, int file)
{
    (void)self;
    (void)file;
    return 0;
}

/* The same bytes at each start. */
static void make_file(wr_state_file *file)
{
    wr_budget budget = {0};
    wr_env    env = {.open = write_open, .pwrite = write_at, .fsync = write_end, .close = write_end};
    wr_table *table = new_table(&budget);
    for (int32_t user = 1; user < 12; user++) put(table, user, (uint32_t)user % 5 * 3);
    for (int32_t user = 2; user < 12; user += 3) put(table, user, 1);
    wr_image_config config = {.env = &env, .folder = "d", .name = "it.wst", .job = "j", .lineage = "l", .barrier = {9}};
    wr_image_writer *w;
    uint64_t         full;
    must(wr_image_writer_new(&w, &config, NULL) == WR_OK);
    must(wr_image_writer_add(w, "it", table, true, NULL) == WR_OK);
    while (wr_image_writer_step(w, UINT64_MAX, NULL) != WR_IMAGE_DURABLE) {}
    wr_image_writer_result(w, file, &full);
    wr_image_writer_free(w);
    wr_table_free(table);
}

/* New checksums over whatever stands there, where the original has its blocks. */
static void seal(char *bytes, size_t n)
{
    wr_image_tail *tail = (wr_image_tail *)(void *)(bytes + n - sizeof *tail), original;
    wr_image_head *head = (wr_image_head *)(void *)bytes;
    memcpy(&original, made + n - sizeof original, sizeof original);
    char    *footer = bytes + original.footer_at + sizeof(wr_image_block);
    uint32_t blocks;
    memcpy(&blocks, made + original.footer_at + sizeof(wr_image_block), sizeof blocks);
    for (uint32_t i = 0; i < blocks; i++) {
        const char *row = made + original.footer_at + sizeof(wr_image_block) + 8 + (size_t)i * 32;
        uint64_t    at, hash[2];
        uint32_t    size;
        memcpy(&at, row, 8);
        memcpy(&size, row + 8, 4);
        wr_image_block_hash(bytes + at, size, hash);
        memcpy(bytes + at + offsetof(wr_image_block, hash), hash, sizeof hash);
        memcpy(footer + 8 + (size_t)i * 32 + 16, hash, sizeof hash);
    }
    uint64_t hash[2], footer_size = n - sizeof *tail - original.footer_at;
    wr_image_block_hash(bytes + original.footer_at, footer_size, hash);
    memcpy(bytes + original.footer_at + offsetof(wr_image_block, hash), hash, sizeof hash);
    uint64_t content = tail->footer_bytes <= footer_size - sizeof(wr_image_block) ? tail->footer_bytes : 0;
    wr_image_hash(footer, content, tail->footer_hash);
    wr_image_hash(head, offsetof(wr_image_head, hash), head->hash);
    memcpy(tail->head_hash, head->hash, sizeof tail->head_hash);
    wr_image_hash(tail, offsetof(wr_image_tail, hash), tail->hash);
}

/* ---- what a file gives can be used ------------------------------------------------------------------------------- */

static uint64_t read_rows(const wr_table *table, const keep *k, const weir_cell *cell)
{
    weir_rows rows = wr_cell_rows(table, k, cell);
    uint64_t  sum = 0, count = 0;
    while (rows.at != rows.end || wr_cell_rows_refill(&rows, sizeof(note))) {
        if (rows.at == rows.end) continue;
        note n;
        memcpy(&n, rows.at, sizeof n);
        rows.at += sizeof n;
        for (uint32_t i = 0; i < n.name.len; i++) sum += (unsigned char)weir_str_data(&n.name)[i];
        count++;
    }
    must(count == cell->count || cell->body <= UINT32_MAX);
    return sum;
}

static uint64_t read_state(const wr_table *table, const keep *k)
{
    weir_str text = wr_cell_text_get(&k->text);
    uint64_t sum = read_rows(table, k, &k->list) + read_rows(table, k, &k->table) + read_rows(table, k, &k->value);
    for (uint32_t i = 0; i < text.len; i++) sum += (unsigned char)weir_str_data(&text)[i];
    return sum;
}

static void use(wr_table *table)
{
    static volatile uint64_t sum;
    wr_table_scan            scan = {0};
    void                    *state[32];
    for (uint32_t n; (n = wr_table_scan_next(table, &scan, state, NULL, 32)) != 0;) {
        for (uint32_t i = 0; i < n; i++) sum = sum + read_state(table, state[i]);
    }
    for (int32_t user = 1; user < 20; user++) put(table, user, 4);
    wr_table_sweep sweep = {0};
    uint32_t       group;
    for (uint32_t n; (n = wr_table_sweep_next(table, &sweep, state, 32, &group)) != 0;) {
        for (uint32_t i = 0; i < n; i++) {
            wr_table_touch(table, &state[i], 1);
            wr_table_forget(table, state[i]);
        }
        wr_table_settle(table);
    }
    must(wr_table_count(table) == 0);
    for (int32_t user = 1; user < 20; user++) put(table, user, 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static wr_state_file file;
    input                in = {bytes, bytes + size};
    if (made_bytes == 0) make_file(&file);
    uint8_t       mode = take_u8(&in);
    char         *copy = own(made, made_bytes);
    wr_state_file state = file;
    while (rest(&in) >= 3) {
        size_t at = take_u16(&in);
        for (uint32_t n = 1 + (uint32_t)(at >> 15) * 7; n > 0; n--) copy[(at + n) % made_bytes] = (char)take_u8(&in);
    }
    bool changed = memcmp(copy, made, made_bytes) != 0, sealed = mode & 1;
    if (sealed) {
        seal(copy, made_bytes);
        memcpy(state.hash, copy + made_bytes - 16, 16);
    }
    memory_file files[] = {{"d/it.wst", copy, made_bytes}};
    memory      m;
    wr_errinfo  info = {0};
    wr_budget   budget = {.bytes_max = UINT64_C(1) << 30};
    wr_table   *table = new_table(&budget);
    memory_init(&m, files, 1);
    wr_manifest_layer layer = {.file = state, .snapshot = 9};
    wr_manifest_op    op = {.uid = "it",
                            .max_parallelism = GROUPS,
                            .layer = &layer,
                            .layers = 1,
                            .record = &event_type,
                            .state = &keep_type,
                            .key = key};
    wr_err            checked = wr_image_check(&m.env, "d", &state, &info);
    must(checked == WR_OK || (checked == info.code && info.text[0] != 0));
    if (!sealed) must((checked == WR_OK) == !changed);
    info = (wr_errinfo){0};
    wr_err loaded = wr_image_load(table, &m.env, "d", &op, NULL, &info);
    if (!changed) must(checked == WR_OK && loaded == WR_OK);
    if (checked != WR_OK) must(loaded != WR_OK);
    if (loaded == WR_OK) use(table);
    wr_table_free(table);
    must(m.open == 0 && budget.bytes == 0);
    free(copy);
    return 0;
}
