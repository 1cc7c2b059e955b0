/* Files of sinks in savepoints: copied, named, checked; every error at every step leaves nothing behind. */
#include "jobmanager/origin.h"
#include "jobmanager/savepoint.h"
#include "snapshot/kept.h"
#include "tests/unit/jobmanager/folder.h"
#include "tests/unit/wire/manifest_sample.h"
#include <stdatomic.h>
#include <sys/stat.h>

enum { LARGE = 600 * 1000 }; /* more than one piece of a copy */

typedef struct job {
    wr_manifest    m;
    wr_manifest_op op;
    wr_item        item[4];
    char           target[100], source[2][150];
} job;

static int64_t broken_write(void *self, int file, const void *from, size_t bytes)
{
    BROKEN_STEP(self);
    return wr_env_real()->write(NULL, file, from, bytes);
}

/* A sink with two committables, each with a file, and one that has none. */
static void make(job *j)
{
    static char large[LARGE];
    mkdir(folder, 0700);
    for (size_t i = 0; i < LARGE; i++) large[i] = (char)(i * i >> 3);
    put_file(".a.pending", large, LARGE);
    put_file(".b.pending", "", 0);
    *j = (job){.m = sample_manifest()};
    snprintf(j->target, sizeof j->target, "%s/saved", folder_top);
    j->op = (wr_manifest_op){.uid = "out",
                             .name = "out",
                             .kind = WEIR_OP_TWO_PHASE_SINK,
                             .parallelism = 2,
                             .max_parallelism = 128,
                             .watermark = WEIR_NO_TIME,
                             .item = j->item,
                             .items = 4,
                             .state = &sample_word};
    for (uint32_t i = 0; i < 2; i++) {
        const wr_kept kept = {.name = i == 0 ? "a" : "b", .path = j->source[i]};
        size_t        n;
        snprintf(j->source[i], sizeof j->source[i], "%s/.%s.pending", folder, kept.name);
        assert_int_equal(wr_kept_encode(&kept, &j->item[2 * i + 1].data, &n, NULL), WR_OK);
        j->item[2 * i + 1] = (wr_item){WR_ITEM_FILE, i, (uint32_t)n, j->item[2 * i + 1].data};
        j->item[2 * i] = (wr_item){WR_ITEM_COMMITTABLE, i, 3, (char *)"abc"};
    }
    j->m.op = &j->op;
    j->m.ops = 1;
}

static void forget_target(const job *j)
{
    wr_env_real()->list(NULL, j->target, folder_remove, (void *)(uintptr_t)j->target);
    rmdir(j->target);
}

static void forget(job *j)
{
    free(j->item[1].data);
    free(j->item[3].data);
    forget_target(j);
}

static void kept_and_checked(void **state)
{
    (void)state;
    job          j;
    wr_manifest  back;
    wr_errinfo   info = {0};
    wr_kept_list list = {0};
    char         where[WR_PATH_BYTES_MAX], path[WR_PATH_BYTES_MAX + 100];
    make(&j);
    assert_int_equal(wr_savepoint_write(wr_env_real(), folder, &j.m, j.target, &info), WR_OK);
    assert_int_equal(wr_store_load(wr_env_real(), j.target, &back, where, &info), WR_OK);
    assert_int_equal(wr_savepoint_check_kept(wr_env_real(), where, &back, &info), WR_OK);
    assert_int_equal(back.op[0].items, 4);
    for (uint32_t i = 1; i < 4; i += 2) assert_int_equal(wr_kept_add(&list, where, &back.op[0].item[i], &info), WR_OK);
    const wr_kept *a = wr_kept_find(&list, "a", 1), *b = wr_kept_find(&list, "b", 1);
    assert_true(a != NULL && b != NULL && wr_kept_find(&list, "ab", 2) == NULL);
    assert_true(a->bytes == LARGE && b->bytes == 0 && a->path[0] == 0);
    assert_memory_equal(back.op[0].item[2].data, "abc", 3);
    snprintf(path, sizeof path, "%s/%s", where, a->file);
    for (long at = 0; at < LARGE; at += LARGE / 3) { /* any byte that is another one is seen */
        FILE *file = fopen(path, "r+b");
        int   byte;
        assert_non_null(file);
        fseek(file, at, SEEK_SET);
        byte = getc(file);
        fseek(file, at, SEEK_SET);
        putc(byte ^ 1, file);
        fclose(file);
        wr_errinfo_init(&info);
        assert_int_equal(wr_savepoint_check_kept(wr_env_real(), where, &back, &info), WR_DAMAGED);
        assert_non_null(strstr(info.text, a->file));
        file = fopen(path, "r+b");
        fseek(file, at, SEEK_SET);
        putc(byte, file);
        fclose(file);
    }
    assert_int_equal(truncate(path, LARGE - 1), 0);
    assert_int_equal(wr_savepoint_check_kept(wr_env_real(), where, &back, NULL), WR_DAMAGED);
    unlink(path);
    assert_int_equal(wr_savepoint_check_kept(wr_env_real(), where, &back, NULL), WR_NOT_FOUND);
    wr_kept_fini(&list);
    wr_manifest_free(&back);
    forget(&j);
}

/* What begins is checked to the last byte; what runs already is not held up by reading it all again. */
static void not_read_again_for_who_runs(void **state)
{
    (void)state;
    job        j;
    wr_origin  o;
    wr_errinfo info = {0};
    char       path[160];
    make(&j);
    assert_int_equal(wr_savepoint_write(wr_env_real(), folder, &j.m, j.target, &info), WR_OK);
    snprintf(path, sizeof path, "%s/prepared-0", j.target);
    assert_int_equal(truncate(path, LARGE - 1), 0);
    wr_origin_config config = {.env = wr_env_real(), .job = j.m.job, .restore = j.target};
    assert_int_equal(wr_origin_open(&o, &config, &info), WR_DAMAGED);
    config.runs = true;
    wr_errinfo_init(&info);
    assert_int_equal(wr_origin_open(&o, &config, &info), WR_OK);
    assert_true(o.restores && o.manifest.id == j.m.id);
    wr_origin_close(&o);
    forget(&j);
}

static void assert_nothing_saved(const job *j)
{
    wr_file_info about;
    assert_int_equal(wr_env_real()->stat(NULL, j->target, &about), -ENOENT);
}

static void every_error(void **state)
{
    (void)state;
    job      j;
    broken   b;
    uint32_t refused = 0;
    make(&j);
    broken_init(&b);
    b.env.write = broken_write;
    for (uint32_t at = 1; at < 100; at++) {
        wr_errinfo info = {0};
        b.steps = 0;
        b.fail_at = at;
        wr_err err = wr_savepoint_write(&b.env, folder, &j.m, j.target, &info);
        if (b.steps < at) {
            assert_int_equal(err, WR_OK);
            break;
        }
        refused += err != WR_OK;
        if (err == WR_OK) { /* only its claim could not be taken away */
            forget_target(&j);
            continue;
        }
        assert_true(info.text[0] != 0);
        assert_nothing_saved(&j);
    }
    assert_true(refused >= 10 && refused < 90);
    forget(&j);
}

/* Another job writes its savepoint into the same empty folder, between our looking at it and our writing. */
static const char *comes_between; /* the file it makes */
static const job  *between;

static void put_into_target(const job *j, const char *name, const char *text)
{
    char path[WR_PATH_BYTES_MAX];
    snprintf(path, sizeof path, "%s/%s", j->target, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static bool in_target(const job *j, const char *name)
{
    char path[WR_PATH_BYTES_MAX];
    snprintf(path, sizeof path, "%s/%s", j->target, name);
    return access(path, F_OK) == 0;
}

static int other_comes(void *self, const char *path, bool (*each)(void *arg, const char *name), void *arg)
{
    int result = wr_env_real()->list(self, path, each, arg);
    if (comes_between != NULL) put_into_target(between, comes_between, "another");
    comes_between = NULL;
    return result;
}

static void two_into_one_folder(void **state)
{
    (void)state;
    job                      j;
    wr_env                   env = *wr_env_real();
    static const char *const theirs[] = {"savepoint.claim", "prepared-0", "savepoint.wman"};
    env.list = other_comes;
    make(&j);
    between = &j;
    for (size_t i = 0; i < 3; i++) {
        wr_errinfo info = {0};
        mkdir(j.target, 0700);
        comes_between = theirs[i];
        assert_int_equal(wr_savepoint_write(&env, folder, &j.m, j.target, &info), WR_CONFIG);
        assert_null(comes_between);
        assert_non_null(strstr(info.text, j.target));
        assert_true(in_target(&j, theirs[i])); /* and nothing of ours */
        assert_int_equal(in_target(&j, "savepoint.claim"), i == 0);
        if (i == 0) wr_savepoint_clear(wr_env_real(), j.target, j.m.lineage);
        assert_true(in_target(&j, theirs[i]));
        forget_target(&j);
    }
    mkdir(j.target, 0700); /* what we left behind when we were killed */
    put_into_target(&j, "savepoint.claim", j.m.lineage);
    put_into_target(&j, "prepared-0", "");
    wr_savepoint_clear(wr_env_real(), j.target, j.m.lineage);
    wr_errinfo info = {0};
    assert_int_equal(wr_savepoint_write(wr_env_real(), folder, &j.m, j.target, &info), WR_OK);
    assert_false(in_target(&j, "savepoint.claim"));
    forget(&j);
}

static void what_cannot_be_kept(void **state)
{
    (void)state;
    job          j;
    wr_errinfo   info = {0};
    _Atomic bool stop = true;
    make(&j);
    assert_int_equal(wr_savepoint_write_until(wr_env_real(), folder, &j.m, j.target, &stop, &info), WR_CANCELED);
    assert_nothing_saved(&j);
    unlink(j.source[1]); /* cannot be reached from here: no savepoint without it */
    wr_errinfo_init(&info);
    assert_int_equal(wr_savepoint_write(wr_env_real(), folder, &j.m, j.target, &info), WR_IO);
    assert_non_null(strstr(info.text, j.source[1]));
    assert_non_null(strstr(info.text, "sink out"));
    assert_nothing_saved(&j);
    forget(&j);
}

static void what_is_no_description(void **state)
{
    (void)state;
    static const char *const bad[] = {"../x", ".x", "a/b"};
    wr_arena                 arena = {0};
    char                    *bytes;
    size_t                   n;
    wr_kept                  k = {.name = "a", .path = "p", .file = "prepared-0", .bytes = 5, .hash = {1, 2}}, back;
    assert_int_equal(wr_kept_encode(&k, &bytes, &n, NULL), WR_OK);
    assert_int_equal(wr_kept_decode(&back, &arena, bytes, n, NULL), WR_OK);
    assert_true(back.bytes == 5 && back.hash[1] == 2);
    assert_string_equal(back.file, "prepared-0");
    for (size_t i = 0; i < n; i++) assert_int_equal(wr_kept_decode(&back, &arena, bytes, i, NULL), WR_DAMAGED);
    free(bytes);
    for (size_t i = 0; i < 3; i++) {
        k.file = bad[i];
        assert_int_equal(wr_kept_encode(&k, &bytes, &n, NULL), WR_LIMIT);
    }
    k = (wr_kept){.name = "", .path = "p"};
    assert_int_equal(wr_kept_encode(&k, &bytes, &n, NULL), WR_LIMIT);
    wr_arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(kept_and_checked, folder_begin, folder_end),
        cmocka_unit_test_setup_teardown(not_read_again_for_who_runs, folder_begin, folder_end),
        cmocka_unit_test_setup_teardown(every_error, folder_begin, folder_end),
        cmocka_unit_test_setup_teardown(two_into_one_folder, folder_begin, folder_end),
        cmocka_unit_test_setup_teardown(what_cannot_be_kept, folder_begin, folder_end),
        cmocka_unit_test(what_is_no_description),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
