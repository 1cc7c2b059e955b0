/* Golden files of format version 1: they are restored for ever; every flip of a byte and every other length is noticed.
 * With WEIR_GOLDEN=write the test makes them anew.
 * ctest: timeout=240 */
#include "tests/fuzz/memory.h"
#include "tests/unit/snapshot/image_kit.h"

enum { GROUPS = 4 };

/* ---- what the golden files hold ---------------------------------------------------------------------------------- */

static kit world;

static void put(uint32_t user, uint32_t seed)
{
    char      room[64], text[300];
    kit_event e = kit_event_of(user, room);
    uint64_t  hash;
    void     *state;
    kit_note  note = {.value = seed};
    wr_key_hash(&kit_keys[2], &e, sizeof e, 1, &hash);
    assert_true(wr_table_find(world.table, &e, 1, &hash, NULL, 0, &state, NULL));
    kit_keep *s = state;
    memset(text, 'a' + (int)(seed % 26), sizeof text);
    s->id = user;
    s->count += seed;
    wr_cell_text_set(world.table, s, &s->text, weir_str_of(text, seed % 300));
    note.name = weir_str_of(text, seed * 3 % 50);
    if (user % 3 != 0) wr_cell_value_set(world.table, s, &s->value, &note);
    for (uint32_t i = 0; i < user % 5; i++) {
        note.value = i;
        wr_cell_list_add(world.table, s, &s->list, &note);
    }
    for (uint32_t i = 0; i < user % 7; i++) {
        kit_point point = {.x = (int32_t)(i * seed % 30), .y = i};
        wr_cell_table_put(world.table, s, &s->table, &point);
        wr_cell_list_add(world.table, s, &s->points, &point);
        note.name = weir_str_of(text, i * 9);
        wr_cell_table_put(world.table, s, &s->names, &note);
    }
    if (seed % 4 == 3) wr_cell_list_drop(world.table, s, &s->list, 1);
    if (seed % 4 == 2) wr_cell_clear(world.table, s, &s->points);
    if (seed == 1) wr_table_forget(world.table, s);
    wr_table_settle(world.table);
}

static wr_table *small_table(void)
{
    wr_table_config config = {.uid = "keeper",
                              .record = &kit_event_type,
                              .key = kit_keys[2],
                              .state = &kit_keep_type,
                              .max_parallelism = GROUPS,
                              .group_end = GROUPS,
                              .budget = &world.budget};
    wr_table       *table;
    assert_int_equal(wr_table_new(&table, &config, NULL), WR_OK);
    return table;
}

static void begin_world(void)
{
    memset(&world, 0, sizeof world);
    world.cells = true;
    world.key = 2;
    world.table = small_table();
    assert_int_equal(wr_table_mark(world.table, true, NULL), WR_OK);
}
static void first_part(void)
{
    for (uint32_t user = 0; user < 9; user++) put(user, user * 37 + 5);
}
static void second_part(void)
{
    put(4, 99);
    put(5, 1);
    put(20, 203);
}

/* ---- files in memory --------------------------------------------------------------------------------------------- */

static struct {
    char             *bytes;
    size_t            n;
    char              name[64];
    wr_manifest_layer layer;
} golden[2];

static void load_golden(void)
{
    static const char *const names[] = {"state-1-full.wst", "state-1-increment.wst"};
    for (uint32_t i = 0; i < 2; i++) {
        char path[300];
        snprintf(path, sizeof path, "tests/golden/%s", names[i]);
        FILE *file = fopen(path, "rb");
        if (file == NULL) fail_msg("%s is not there", path);
        golden[i].bytes = malloc(1 << 20);
        golden[i].n = fread(golden[i].bytes, 1, 1 << 20, file);
        fclose(file);
        assert_true(golden[i].n > 3 * 4096);
        snprintf(golden[i].name, sizeof golden[i].name, "%s", names[i]);
        wr_manifest_layer *layer = &golden[i].layer;
        *layer = (wr_manifest_layer){.snapshot = i + 1, .order = i};
        snprintf(layer->file.name, sizeof layer->file.name, "%s", names[i]);
        layer->file.bytes = golden[i].n;
        memcpy(layer->file.hash, golden[i].bytes + golden[i].n - 16, 16);
        layer->file.group_end = GROUPS;
        layer->file.increment = i == 1;
    }
}

static void write_golden(void)
{
    begin_world();
    for (uint64_t id = 1; id <= 2; id++) {
        wr_state_file file;
        char          from[300], to[300];
        id == 1 ? first_part() : second_part();
        kit_write(wr_env_real(), world.table, id, id - 1, id == 1, &file);
        wr_capture_outcome(world.table, true);
        snprintf(from, sizeof from, "%s/%s", kit_folder, file.name);
        snprintf(to, sizeof to, "tests/golden/state-1-%s.wst", id == 1 ? "full" : "increment");
        assert_int_equal(rename(from, to), 0);
    }
    wr_table_free(world.table);
}

static memory_file files[2];
static memory      env;

static void all_files(void)
{
    static char paths[2][80];
    for (uint32_t i = 0; i < 2; i++) {
        snprintf(paths[i], sizeof paths[i], "dir/%s", golden[i].name);
        files[i] = (memory_file){paths[i], golden[i].bytes, golden[i].n};
    }
    memory_init(&env, files, 2);
}

static void golden_files_restore(void **unused)
{
    static kit_copy truth, loaded;
    (void)unused;
    if (getenv("WEIR_GOLDEN") != NULL) write_golden();
    load_golden();
    all_files();
    begin_world();
    for (uint32_t layers = 1; layers <= 2; layers++) {
        wr_errinfo        info = {0};
        wr_manifest_layer layer[2] = {golden[0].layer, golden[1].layer};
        wr_manifest_op    op = {.uid = "keeper",
                                .max_parallelism = GROUPS,
                                .layer = layer,
                                .layers = layers,
                                .record = &kit_event_type,
                                .state = &kit_keep_type,
                                .key = kit_keys[2]};
        layers == 1 ? first_part() : second_part();
        memset(&truth, 0, sizeof truth);
        memset(&loaded, 0, sizeof loaded);
        kit_copy_add(&world, world.table, &truth);
        wr_table *table = small_table();
        if (wr_image_load(table, &env.env, "dir", &op, NULL, &info) != WR_OK) fail_msg("%s", info.text);
        kit_copy_add(&world, table, &loaded);
        kit_same(&truth, &loaded);
        assert_int_equal(truth.count, layers == 1 ? 9 : 9);
        wr_table_free(table);
    }
    wr_table_free(world.table);
    assert_int_equal(env.open, 0);
}

/* ---- damage ------------------------------------------------------------------------------------------------------ */

static void must_be_noticed(const wr_state_file *file, const char *what, size_t at)
{
    wr_errinfo info = {0};
    wr_err     err = wr_image_check(&env.env, "dir", file, &info);
    if (err != WR_DAMAGED) fail_msg("%s at %zu of %s: %d %s", what, at, file->name, err, info.text);
    if (strstr(info.text, file->name) == NULL || strstr(info.text, "offset ") == NULL) fail_msg("%s", info.text);
    assert_int_equal(env.open, 0);
}

static void every_flip_is_noticed(void **unused)
{
    static const unsigned char flips[] = {0x01, 0x80, 0xff};
    (void)unused;
    all_files();
    for (uint32_t i = 0; i < 2; i++) {
        wr_errinfo info = {0};
        if (wr_image_check(&env.env, "dir", &golden[i].layer.file, &info) != WR_OK) fail_msg("%s", info.text);
        for (size_t at = 0; at < golden[i].n; at++) {
            for (uint32_t k = 0; k < sizeof flips; k++) {
                golden[i].bytes[at] = (char)(golden[i].bytes[at] ^ flips[k]);
                must_be_noticed(&golden[i].layer.file, "a flip", at);
                golden[i].bytes[at] = (char)(golden[i].bytes[at] ^ flips[k]);
            }
        }
    }
}

static void every_length_is_noticed(void **unused)
{
    (void)unused;
    all_files();
    for (uint32_t i = 0; i < 2; i++) {
        char *own_block = malloc(golden[i].n + 8192);
        for (size_t n = 0; n <= golden[i].n + 8192; n++) {
            if (n == golden[i].n) continue;
            memset(own_block, 0, golden[i].n + 8192);
            memcpy(own_block, golden[i].bytes, n < golden[i].n ? n : golden[i].n);
            files[i].bytes = own_block;
            files[i].n = n;
            wr_state_file file = golden[i].layer.file;
            must_be_noticed(&file, "a length", n);
            file.bytes = n; /* even when the manifest believes it */
            must_be_noticed(&file, "a length in the manifest", n);
        }
        free(own_block);
        all_files();
    }
}

/* Pages of another file of the same job in the place of its own: what a recycled file would show. */
static void pages_of_others_are_noticed(void **unused)
{
    (void)unused;
    all_files();
    char saved[4096];
    for (size_t page = 0; page < golden[0].n && page < golden[1].n; page += 4096) {
        if (memcmp(golden[0].bytes + page, golden[1].bytes + page, 4096) == 0) continue;
        memcpy(saved, golden[0].bytes + page, 4096);
        memcpy(golden[0].bytes + page, golden[1].bytes + page, 4096);
        must_be_noticed(&golden[0].layer.file, "a page", page);
        memcpy(golden[0].bytes + page, saved, 4096);
    }
    /* the file of another snapshot under this one's name */
    files[0].bytes = golden[1].bytes;
    files[0].n = golden[1].n;
    wr_state_file file = golden[0].layer.file;
    must_be_noticed(&file, "another file", 0);
    file.bytes = golden[1].n;
    must_be_noticed(&file, "another file", 0);
}

static void refuses(wr_manifest_op *op, const char *says)
{
    wr_errinfo info = {0};
    wr_table  *table = small_table();
    all_files();
    assert_int_not_equal(wr_image_load(table, &env.env, "dir", op, NULL, &info), WR_OK);
    if (strstr(info.text, says) == NULL) fail_msg("%s: %s", says, info.text);
    wr_table_free(table);
    assert_int_equal(env.open, 0);
}

/* Manifests that name the wrong files. */
static void wrong_layers_are_refused(void **unused)
{
    (void)unused;
    memset(&world, 0, sizeof world);
    wr_manifest_layer layer[2] = {golden[0].layer, golden[1].layer};
    wr_manifest_op    op = {.uid = "keeper",
                            .max_parallelism = GROUPS,
                            .layer = layer,
                            .layers = 2,
                            .record = &kit_event_type,
                            .state = &kit_keep_type,
                            .key = kit_keys[2]};
    op.uid = "other";
    refuses(&op, "no state of operator other");
    op.uid = "keeper";
    layer[1].snapshot = 7;
    refuses(&op, "it is of snapshot 2, not 7");
    layer[1] = golden[1].layer;
    layer[1].order = 0;
    layer[0].order = 1;
    refuses(&op, "increment without a base");
    layer[0] = golden[0].layer;
    layer[1] = golden[0].layer;
    layer[1].from = 1;
    refuses(&op, "more than one file has key group 0");
    layer[0] = golden[1].layer;
    op.layers = 1;
    refuses(&op, "increment without a base");
    layer[0] = golden[0].layer;
    layer[0].file.group_first =
        1; /* says so, but the file has it: who believes the manifest loads nothing of group 0 */
    op.max_parallelism = 8;
    refuses(&op, "max_parallelism 8 in the snapshot and 4");
    op.max_parallelism = GROUPS;
    snprintf(layer[0].file.name, sizeof layer[0].file.name, "missing.wst");
    refuses(&op, "missing.wst");
    assert_int_equal(world.budget.bytes, 0);
}

static int end(void **state)
{
    for (uint32_t i = 0; i < 2; i++) free(golden[i].bytes);
    return kit_folder_end(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_files_restore),     cmocka_unit_test(every_flip_is_noticed),
        cmocka_unit_test(every_length_is_noticed),  cmocka_unit_test(pages_of_others_are_noticed),
        cmocka_unit_test(wrong_layers_are_refused),
    };
    return cmocka_run_group_tests(tests, kit_folder_begin, end);
}
