/* Files of retired snapshots that new ones overwrite: longer and shorter ones, and readers of the old ones.
 * ctest: no_uring */
#include "snapshot/image_inner.h"
#include "tests/unit/snapshot/image_kit.h"

static uint64_t bytes_of(const char *name)
{
    char         path[256];
    wr_file_info about;
    snprintf(path, sizeof path, "%s/%s", kit_folder, name);
    return wr_env_real()->stat(NULL, path, &about) == 0 ? (uint64_t)about.bytes : UINT64_MAX;
}

/* Of `table`, over the file `spare`. */
static void rewrite(wr_table *table, uint64_t id, const char *spare, wr_state_file *file)
{
    wr_errinfo      info = {0};
    char            name[64];
    wr_image_config config = {.env = wr_env_real(),
                              .folder = kit_folder,
                              .name = name,
                              .job = "kit",
                              .lineage = "a lineage",
                              .barrier = {.id = id, .kind = WR_SNAPSHOT, .epoch = 3}};
    snprintf(name, sizeof name, "s-%lu-0.wst", id);
    config.file = wr_image_reuse(config.env, kit_folder, spare, name);
    assert_true(config.file > 0);
    assert_true(bytes_of(spare) == UINT64_MAX);
    wr_image_writer *w;
    assert_int_equal(wr_image_writer_new(&w, &config, &info), WR_OK);
    assert_int_equal(wr_image_writer_add(w, "keeper", table, true, &info), WR_OK);
    enum wr_image_step step;
    uint64_t           full;
    while ((step = wr_image_writer_step(w, UINT64_MAX, &info)) != WR_IMAGE_DURABLE)
        assert_int_not_equal(step, WR_IMAGE_FAILED);
    wr_image_writer_result(w, file, &full);
    wr_image_writer_free(w);
}

/* The file gives what the table holds. */
static void holds(kit *k, const wr_state_file *file, uint64_t id)
{
    static kit_copy   truth, loaded;
    wr_errinfo        info = {0};
    wr_manifest_layer layer = {.file = *file, .snapshot = id};
    wr_manifest_op    op = {.uid = "keeper",
                            .max_parallelism = KIT_GROUPS,
                            .layer = &layer,
                            .layers = 1,
                            .record = &kit_event_type,
                            .state = k->cells ? &kit_keep_type : &kit_tally_type,
                            .key = kit_keys[k->key]};
    if (wr_image_check(wr_env_real(), kit_folder, file, &info) != WR_OK) fail_msg("%s", info.text);
    wr_table *table = kit_table(k, 0, KIT_GROUPS);
    if (wr_image_load(table, wr_env_real(), kit_folder, &op, NULL, &info) != WR_OK) fail_msg("%s", info.text);
    memset(&truth, 0, sizeof truth);
    memset(&loaded, 0, sizeof loaded);
    kit_copy_add(k, k->table, &truth);
    kit_copy_add(k, table, &loaded);
    kit_same(&truth, &loaded);
    wr_table_free(table);
}

static void over_a_spare(void **unused)
{
    (void)unused;
    kit           small, large;
    wr_errinfo    info = {0};
    wr_state_file first, second, third;
    kit_begin(&small, 71);
    kit_begin(&large, 72);
    kit_batches(&small, 10);
    kit_batches(&large, 400);
    kit_write(wr_env_real(), large.table, 1, 0, true, &first);
    rewrite(small.table, 2, first.name, &second); /* what is left of the old one goes */
    assert_true(second.bytes < first.bytes && bytes_of(second.name) == first.bytes);
    assert_int_equal(wr_image_check(wr_env_real(), kit_folder, &second, &info), WR_DAMAGED);
    info = (wr_errinfo){0};
    assert_int_equal(wr_image_cut(wr_env_real(), kit_folder, &second, &info), WR_OK);
    assert_true(bytes_of(second.name) == second.bytes);
    assert_int_equal(wr_image_cut(wr_env_real(), kit_folder, &second, &info), WR_OK);
    holds(&small, &second, 2);
    rewrite(large.table, 3, second.name, &third); /* a shorter one grows */
    assert_int_equal(wr_image_cut(wr_env_real(), kit_folder, &third, &info), WR_OK);
    assert_true(bytes_of(third.name) == third.bytes && third.bytes > second.bytes);
    holds(&large, &third, 3);
    assert_int_equal(wr_image_cut(wr_env_real(), kit_folder, &first, &info), WR_NOT_FOUND);
    kit_end(&small);
    kit_end(&large);
    (void)kit_clear();
}

/* Who has opened a file goes on reading what he opened, and who comes too late is told so. */
static void a_reader_is_not_disturbed(void **unused)
{
    (void)unused;
    kit           k;
    wr_errinfo    info = {0};
    wr_state_file file;
    char          from[256], to[256];
    kit_begin(&k, 73);
    kit_batches(&k, 10);
    kit_write(wr_env_real(), k.table, 1, 0, true, &file);
    snprintf(from, sizeof from, "%s/%s", kit_folder, file.name);
    snprintf(to, sizeof to, "%s/spare", kit_folder);
    wr_image_file f;
    assert_int_equal(wr_image_file_open(&f, wr_env_real(), kit_folder, &file, &info), WR_OK);
    assert_int_equal(rename(from, to), 0); /* its snapshot is retired meanwhile */
    assert_true(wr_image_reuse(wr_env_real(), kit_folder, "spare", "s-2-0.wst") <= 0);
    assert_true(bytes_of("spare") == file.bytes);
    wr_image_file_close(&f);
    assert_int_equal(wr_image_file_open(&f, wr_env_real(), kit_folder, &file, &info), WR_NOT_FOUND);
    int writer = wr_image_reuse(wr_env_real(), kit_folder, "spare", "s-2-0.wst");
    assert_true(writer > 0);
    /* Somebody had found it under its old name, and looks into it now. */
    snprintf(to, sizeof to, "%s/s-2-0.wst", kit_folder);
    assert_int_equal(link(to, from), 0);
    info = (wr_errinfo){0};
    assert_int_equal(wr_image_file_open(&f, wr_env_real(), kit_folder, &file, &info), WR_NOT_FOUND);
    assert_non_null(strstr(info.text, "retired"));
    wr_env_real()->close(NULL, writer);
    info = (wr_errinfo){0};
    assert_int_equal(wr_image_file_open(&f, wr_env_real(), kit_folder, &file, &info), WR_OK);
    wr_image_file_close(&f);
    /* A file that somebody has linked to keeps what it holds: so backups are made. */
    snprintf(to, sizeof to, "%s/spare", kit_folder);
    assert_int_equal(rename(from, to), 0);
    snprintf(from, sizeof from, "%s/s-2-0.wst", kit_folder);
    assert_int_equal(wr_image_reuse(wr_env_real(), kit_folder, "spare", "s-3-0.wst"), -EAGAIN);
    assert_true(bytes_of("spare") == file.bytes);
    assert_int_equal(unlink(to), 0);
    /* A name that is there is not taken from anybody. */
    assert_int_equal(link(from, to), 0);
    assert_int_equal(unlink(from), 0);
    int there = wr_env_real()->open(NULL, from, WR_OPEN_WRITE | WR_OPEN_CREATE);
    wr_env_real()->close(NULL, there);
    assert_int_equal(wr_image_reuse(wr_env_real(), kit_folder, "spare", "s-2-0.wst"), -EEXIST);
    assert_true(wr_image_reuse(wr_env_real(), kit_folder, "nothing", "s-9-0.wst") == -ENOENT);
    kit_end(&k);
    (void)kit_clear();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(over_a_spare),
        cmocka_unit_test(a_reader_is_not_disturbed),
    };
    return cmocka_run_group_tests(tests, kit_folder_begin, kit_folder_end);
}
