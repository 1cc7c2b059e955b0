/* Savepoints' files: what a table under random work held comes back, into its own type and into others, at any
 * parallelism, with stamps; damage is found; what cannot be written leaves nothing behind. */
#include "jobmanager/savepoint.h"
#include "jobmanager/store.h"
#include "snapshot/rows.h"
#include "tests/unit/snapshot/image_kit.h"
#include "wire/names.h"

static char target[96];

static int begin_folder(void **unused)
{
    (void)unused;
    /* In memory where it can be: each byte of a file is tried, and none of it is about the disk. */
    if (kit_folder_in(access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp") != 0) return 1;
    snprintf(target, sizeof target, "%s-savepoint", kit_folder);
    return 0;
}
static bool unlink_in_target(void *arg, const char *name)
{
    char path[512];
    (void)arg;
    snprintf(path, sizeof path, "%s/%s", target, name);
    (void)unlink(path);
    return true;
}
static void clear_target(void)
{
    if (wr_env_real()->list(NULL, target, unlink_in_target, NULL) == 0) (void)rmdir(target);
}
static int end_folder(void **unused)
{
    clear_target();
    return kit_folder_end(unused);
}

/* A snapshot of the kit's table: a full one, and an increment on top; by two subtasks when there are so many. */
typedef struct taken {
    wr_manifest       m;
    wr_manifest_op    op[2];
    wr_manifest_layer layer[2];
} taken;

static void take_snapshot(kit *k, taken *t, uint64_t seed)
{
    kit_begin(k, seed);
    *t = (taken){0};
    assert_int_equal(wr_table_mark(k->table, true, NULL), WR_OK);
    kit_batches(k, 200);
    kit_write(wr_env_real(), k->table, 1, 0, true, &t->layer[0].file);
    wr_capture_outcome(k->table, true);
    kit_batches(k, 20);
    kit_write(wr_env_real(), k->table, 2, 1, false, &t->layer[1].file);
    t->layer[0].snapshot = 1;
    t->layer[1].snapshot = 2;
    t->layer[1].order = 1;
    t->op[0] = (wr_manifest_op){.uid = "source", .name = "source", .kind = WEIR_OP_SOURCE, .parallelism = 1};
    t->op[1] = (wr_manifest_op){.uid = "keeper",
                                .name = "keeper",
                                .kind = WEIR_OP_KEYED,
                                .parallelism = 1,
                                .max_parallelism = KIT_GROUPS,
                                .layer = t->layer,
                                .layers = 2,
                                .record = &kit_event_type,
                                .state = k->cells ? &kit_keep_type : &kit_tally_type,
                                .key = kit_keys[k->key]};
    t->m = (wr_manifest){.version = 1,
                         .kind = WR_SNAPSHOT,
                         .id = 2,
                         .base = 1,
                         .epoch = 3,
                         .job = "kit",
                         .lineage = "a lineage",
                         .weir = "0",
                         .op = t->op,
                         .ops = 2};
}

static void save(const taken *t)
{
    wr_errinfo info = {0};
    if (wr_savepoint_write(wr_env_real(), kit_folder, &t->m, target, &info) != WR_OK) fail_msg("%s", info.text);
}

static void load(wr_manifest *m, const wr_manifest_op **op)
{
    wr_errinfo info = {0};
    char       folder[WR_PATH_BYTES_MAX];
    if (wr_store_load(wr_env_real(), target, m, folder, &info) != WR_OK) fail_msg("%s", info.text);
    assert_string_equal(folder, target);
    *op = wr_manifest_find(m, "keeper");
    assert_non_null(*op);
}

static void comes_back(void **unused)
{
    (void)unused;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        static kit_copy       truth, got, walked;
        kit                   k;
        taken                 t;
        wr_manifest           m;
        const wr_manifest_op *op;
        wr_errinfo            info = {0};
        take_snapshot(&k, &t, seed);
        save(&t);
        (void)kit_clear(); /* the savepoint needs nothing of the snapshot */
        load(&m, &op);
        assert_int_equal(m.kind, WR_SAVEPOINT);
        assert_int_equal(op->layers, 1);
        if (wr_image_check(wr_env_real(), target, &op->layer[0].file, &info) != WR_OK) fail_msg("%s", info.text);
        memset(&truth, 0, sizeof truth);
        memset(&got, 0, sizeof got);
        memset(&walked, 0, sizeof walked);
        kit_copy_add(&k, k.table, &truth);
        uint32_t parts = 1 + (uint32_t)(seed % 3);
        for (uint32_t i = 0; i < parts; i++) {
            wr_table *part = kit_table(&k, KIT_GROUPS * i / parts, KIT_GROUPS * (i + 1) / parts);
            if (wr_image_load(part, wr_env_real(), target, op, NULL, &info) != WR_OK) fail_msg("%s", info.text);
            kit_copy_add(&k, part, &got);
            wr_table_free(part);
        }
        kit_same(&truth, &got);
        wr_image_reader *r;
        const wr_table  *table;
        const void      *key, *state;
        if (wr_image_reader_new(&r, wr_env_real(), target, op, &info) != WR_OK) fail_msg("%s", info.text);
        while (wr_image_reader_next(r, &table, &key, &state, &info)) {
            const kit_keep *s = state;
            walked.hash[s->id] = kit_hash(table, s, k.cells) | 1;
            walked.count++;
        }
        assert_int_equal(info.code, WR_OK);
        kit_same(&truth, &walked);
        wr_image_reader_free(r);
        wr_manifest_free(&m);
        clear_target();
        kit_end(&k);
    }
}

/* The savepoint that is kept for ever: what it holds stands beside it. WEIR_GOLDEN=write makes it anew. */
#define GOLDEN "tests/golden/savepoint-1"

static void golden(void **unused)
{
    (void)unused;
    static kit_copy got;
    kit             k;
    wr_manifest     m;
    wr_errinfo      info = {0};
    char            folder[WR_PATH_BYTES_MAX];
    uint64_t        count = 0, mixed = 0, hash = 0;
    if (getenv("WEIR_GOLDEN") != NULL) {
        taken t;
        take_snapshot(&k, &t, 1);
        kit_end(&k);
        kit_begin(&k, 1);
        kit_batches(&k, 12);
        kit_write(wr_env_real(), k.table, 5, 0, true, &t.layer[0].file);
        t.layer[0].snapshot = 5;
        t.op[1].layers = 1;
        t.m.id = 5;
        if (wr_savepoint_write(wr_env_real(), kit_folder, &t.m, GOLDEN, &info) != WR_OK) fail_msg("%s", info.text);
        kit_end(&k);
    }
    kit_begin(&k, 1);
    if (wr_store_load(wr_env_real(), GOLDEN, &m, folder, &info) != WR_OK) fail_msg("%s", info.text);
    const wr_manifest_op *op = wr_manifest_find(&m, "keeper");
    if (wr_image_check(wr_env_real(), GOLDEN, &op->layer[0].file, &info) != WR_OK) fail_msg("%s", info.text);
    wr_table *table = kit_table(&k, 0, KIT_GROUPS);
    if (wr_image_load(table, wr_env_real(), GOLDEN, op, NULL, &info) != WR_OK) fail_msg("%s", info.text);
    memset(&got, 0, sizeof got);
    kit_copy_add(&k, table, &got);
    for (uint32_t i = 0; i < KIT_USERS; i++) mixed = wr_hash_fold(mixed, got.hash[i]);
    FILE *expected = fopen(GOLDEN ".txt", getenv("WEIR_GOLDEN") != NULL ? "w+" : "r");
    assert_non_null(expected);
    if (getenv("WEIR_GOLDEN") != NULL) {
        fprintf(expected, "%lu keys, %016lx\n", got.count, mixed);
        rewind(expected);
    }
    assert_int_equal(fscanf(expected, "%lu keys, %lx", &count, &hash), 2);
    fclose(expected);
    assert_true(count == got.count && count > 50 && hash == mixed);
    wr_table_free(table);
    wr_manifest_free(&m);
    kit_end(&k);
}

/* Times of the last write go with keys and rows. */
typedef struct lived {
    uint64_t  n;
    weir_cell list, table;
} lived;
static const weir_field lived_fields[] = {
    KIT_FIELD(lived, n, WEIR_U64, .ttl = 0),
    KIT_FIELD(lived, list, WEIR_CELL_LIST, .element = &kit_point_type, .ttl = 1000 * WEIR_SECOND),
    KIT_FIELD(lived, table, WEIR_CELL_TABLE, .element = &kit_point_type, .key = 0, .key_kind = WEIR_I32,
              .ttl = 1000 * WEIR_SECOND)};
static const weir_type lived_type = KIT_TYPE(lived, lived_fields);

static wr_table *lived_table(wr_budget *budget)
{
    wr_errinfo      info = {0};
    wr_table       *table;
    wr_table_config config = {.uid = "keeper",
                              .record = &kit_event_type,
                              .key = kit_keys[0],
                              .state = &lived_type,
                              .max_parallelism = KIT_GROUPS,
                              .group_end = KIT_GROUPS,
                              .budget = budget,
                              .ttl_ns = 1000 * WEIR_SECOND};
    if (wr_table_new(&table, &config, &info) != WR_OK) fail_msg("%s", info.text);
    return table;
}

static void *lived_find(wr_table *table, int32_t user, int64_t now)
{
    kit_event event = {.user = user};
    uint64_t  hash;
    void     *state;
    wr_table_now(table, now * WEIR_SECOND);
    wr_key_hash(&kit_keys[0], &event, sizeof event, 1, &hash);
    wr_table_find(table, &event, 1, &hash, NULL, 0, &state, NULL);
    return state;
}

static uint32_t rows_of(const wr_table *table, const lived *s, const weir_cell *cell)
{
    weir_rows rows = wr_cell_rows(table, s, cell);
    uint32_t  n = 0;
    while (rows.at != rows.end || wr_cell_rows_refill(&rows, sizeof(kit_point))) {
        if (rows.at == rows.end) continue;
        rows.at += sizeof(kit_point);
        n++;
    }
    return n;
}

static void stamps_come_back(void **unused)
{
    (void)unused;
    kit                   k;
    taken                 t;
    wr_manifest           m;
    const wr_manifest_op *op;
    wr_errinfo            info = {0};
    wr_budget             budget = {0};
    take_snapshot(&k, &t, 5);
    wr_table *table = lived_table(&budget);
    for (int32_t user = 0; user < 50; user++) { /* key at 5000 + user; rows at 5000 and at 5500 */
        lived *s = lived_find(table, user, 5000 + user);
        s->n = 1;
        for (int64_t at = 5000; at <= 5500; at += 500) {
            wr_table_now(table, at * WEIR_SECOND);
            kit_point p = {.x = (int32_t)at, .y = 1};
            assert_int_equal(wr_cell_list_add(table, s, &s->list, &p), WR_OK);
            assert_int_equal(wr_cell_table_put(table, s, &s->table, &p), WR_OK);
        }
        memcpy(wr_table_entry_of(table, s) + table->stamp_at, &(int64_t){(5000 + user * 10) * WEIR_SECOND}, 8);
        wr_table_settle(table);
    }
    kit_write(wr_env_real(), table, 7, 0, true, &t.layer[0].file);
    wr_table_free(table);
    t.layer[0].snapshot = 7;
    t.m.id = 7;
    t.op[1].layers = 1;
    t.op[1].state = &lived_type;
    t.op[1].key = kit_keys[0];
    save(&t);
    load(&m, &op);
    table = lived_table(&budget);
    wr_table_now(table, 6200 * WEIR_SECOND);
    if (wr_image_load(table, wr_env_real(), target, op, NULL, &info) != WR_OK) fail_msg("%s", info.text);
    wr_ttl_loaded(table);
    assert_int_equal(wr_table_count(table), 50);
    for (int32_t user = 0; user < 50; user++) { /* at 6200 what was written up to 5200 is over */
        lived *s = lived_find(table, user, 6200);
        assert_int_equal(s->n, 5000 + user * 10 <= 5200 ? 0 : 1);
        assert_int_equal(rows_of(table, s, &s->list), s->n);
        assert_int_equal(rows_of(table, s, &s->table), s->n);
        wr_table_settle(table);
    }
    wr_table_free(table);
    wr_manifest_free(&m);
    kit_end(&k);
}

static char *whole(const char *name, size_t *n)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", target, name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    char *bytes = malloc(1 << 22);
    assert_non_null(bytes);
    *n = fread(bytes, 1, 1 << 22, file);
    fclose(file);
    return bytes;
}
static void put(const char *name, const char *bytes, size_t n)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", target, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    fclose(file);
}

/* A small one: each byte is flipped, and the file is cut behind each byte. Loading finds it as well, but for what a
 * flip leaves in the head of a block that the table does not need: there is none. */
static void every_flip_and_truncation(void **unused)
{
    (void)unused;
    kit                   k;
    taken                 t;
    wr_manifest           m;
    const wr_manifest_op *op;
    size_t                n;
    take_snapshot(&k, &t, 1);
    kit_end(&k);
    kit_begin(&k, 1);
    kit_batches(&k, 4);
    kit_write(wr_env_real(), k.table, 5, 0, true, &t.layer[0].file);
    t.layer[0].snapshot = 5;
    t.op[1].layers = 1;
    t.m.id = 5;
    save(&t);
    load(&m, &op);
    const wr_state_file *file = &op->layer[0].file;
    char                *bytes = whole(file->name, &n);
    assert_true(n == file->bytes && n < 100000);
    for (size_t i = 0; i < n; i++) {
        for (uint32_t what = 0; what < 3; what++) {
            wr_errinfo info = {0};
            char       was = bytes[i];
            if (what == 0) bytes[i] ^= (char)(1 << (i % 8));
            if (what == 1) bytes[i] = (char)~bytes[i];
            put(file->name, bytes, what == 2 ? i : n);
            bytes[i] = was;
            assert_int_equal(wr_image_check(wr_env_real(), target, file, &info), WR_DAMAGED);
            assert_non_null(strstr(info.text, file->name));
            assert_non_null(strstr(info.text, "offset"));
            if (i % 7 != 0) continue;
            wr_table *table = kit_table(&k, 0, KIT_GROUPS);
            info = (wr_errinfo){0};
            wr_err err = wr_image_load(table, wr_env_real(), target, op, NULL, &info);
            assert_true(err == WR_DAMAGED || err == WR_NEWER);
            wr_table_free(table);
        }
    }
    free(bytes);
    wr_manifest_free(&m);
    kit_end(&k);
}

/* Another savepoint's file under the right name. */
static void swapped(void **unused)
{
    (void)unused;
    kit                   k;
    taken                 t;
    wr_manifest           m;
    const wr_manifest_op *op;
    wr_errinfo            info = {0};
    size_t                n;
    take_snapshot(&k, &t, 1);
    save(&t);
    load(&m, &op);
    char *bytes = whole(op->layer[0].file.name, &n);
    op->layer[0].snapshot = 99;
    wr_table *table = kit_table(&k, 0, KIT_GROUPS);
    assert_int_equal(wr_image_load(table, wr_env_real(), target, op, NULL, &info), WR_DAMAGED);
    assert_non_null(strstr(info.text, "not the file that the manifest means"));
    wr_table_free(table);
    free(bytes);
    wr_manifest_free(&m);
    kit_end(&k);
}

/* The real environment whose steps that change something fail from one on. */
typedef struct failing {
    wr_env env;
    int    left;
} failing;
#define STEP(SELF)                                                                                                     \
    do {                                                                                                               \
        failing *f_ = (SELF);                                                                                          \
        if (f_->left-- <= 0) {                                                                                         \
            f_->left = 1000000; /* once; cleaning up works again */                                                    \
            return -EIO;                                                                                               \
        }                                                                                                              \
    } while (0)
static int fail_open(void *self, const char *path, int flags)
{
    if ((flags & 3) != WR_OPEN_READ) STEP(self);
    return wr_env_real()->open(NULL, path, flags);
}
static int64_t fail_pwrite(void *self, int file, const void *from, size_t n, int64_t at)
{
    STEP(self);
    return wr_env_real()->pwrite(NULL, file, from, n, at);
}
static int fail_fsync(void *self, int file)
{
    STEP(self);
    return wr_env_real()->fsync(NULL, file);
}
static int fail_rename(void *self, const char *from, const char *to)
{
    STEP(self);
    return wr_env_real()->rename(NULL, from, to);
}
static int fail_mkdir(void *self, const char *path)
{
    STEP(self);
    return wr_env_real()->mkdir(NULL, path);
}
static void fail_after(failing *f, int steps)
{
    *f = (failing){.env = *wr_env_real(), .left = steps};
    f->env.self = f;
    f->env.open = fail_open;
    f->env.pwrite = fail_pwrite;
    f->env.fsync = fail_fsync;
    f->env.rename = fail_rename;
    f->env.mkdir = fail_mkdir;
}

static void errors(void **unused)
{
    (void)unused;
    kit        k;
    taken      t;
    wr_errinfo info = {0};
    uint32_t   refused = 0;
    take_snapshot(&k, &t, 1);
    for (int after = 0; after < 400; after++) {
        failing      failing;
        wr_file_info about;
        wr_manifest  m;
        char         folder[WR_PATH_BYTES_MAX];
        fail_after(&failing, after);
        info = (wr_errinfo){0};
        wr_err err = wr_savepoint_write(&failing.env, kit_folder, &t.m, target, &info);
        if (err == WR_OK) {
            assert_int_equal(wr_store_load(wr_env_real(), target, &m, folder, &info), WR_OK);
            wr_manifest_free(&m);
            clear_target();
            break;
        }
        refused++;
        assert_true(info.text[0] != 0);
        assert_int_equal(wr_env_real()->stat(NULL, target, &about), -ENOENT);
    }
    assert_true(refused >= 8 && refused < 400);
    save(&t); /* a folder with anything in it is not touched */
    info = (wr_errinfo){0};
    assert_int_equal(wr_savepoint_write(wr_env_real(), kit_folder, &t.m, target, &info), WR_CONFIG);
    assert_non_null(strstr(info.text, "is not empty"));
    _Atomic bool stop = true;
    clear_target();
    info = (wr_errinfo){0};
    assert_int_equal(wr_savepoint_write_until(wr_env_real(), kit_folder, &t.m, target, &stop, &info), WR_CANCELED);
    kit_end(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(comes_back, begin_folder, end_folder),
        cmocka_unit_test_setup_teardown(golden, begin_folder, end_folder),
        cmocka_unit_test_setup_teardown(stamps_come_back, begin_folder, end_folder),
        cmocka_unit_test_setup_teardown(every_flip_and_truncation, begin_folder, end_folder),
        cmocka_unit_test_setup_teardown(swapped, begin_folder, end_folder),
        cmocka_unit_test_setup_teardown(errors, begin_folder, end_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
