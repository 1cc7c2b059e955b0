/* The store: commit, list, newest, mark and sweep; every error at every step; what damage and stale epochs do. */
#include "tests/unit/jobmanager/folder.h"
#include "tests/unit/wire/manifest_sample.h"
#include <sys/stat.h>

static wr_store *opened(const wr_env *env, uint32_t epoch)
{
    wr_store  *s;
    wr_errinfo info = {0};
    mkdir(folder, 0700);
    assert_int_equal(wr_store_open(&s, env, folder, epoch, &info), WR_OK);
    return s;
}

/* A snapshot of one file, and on top of that the file of `below` (0: none). */
typedef struct small {
    wr_manifest       m;
    wr_manifest_op    op;
    wr_manifest_layer layer[2];
} small;

static void make(small *s, uint32_t epoch, uint64_t id, uint32_t below_epoch, uint64_t below)
{
    s->m = sample_manifest();
    s->m.id = id;
    s->m.epoch = epoch;
    s->op = sample_op[1];
    s->op.layer = s->layer;
    s->op.layers = below != 0 ? 2 : 1;
    s->layer[0] = s->layer[1] = sample_layer[0];
    s->layer[0].file.bytes = s->layer[1].file.bytes = 4; /* of put_file() */
    wr_name_state(s->layer[0].file.name, epoch, id, 2, "count", 0);
    wr_name_state(s->layer[1].file.name, below_epoch, below, 2, "count", 0);
    s->m.op = &s->op;
    s->m.ops = 1;
}

static const char *state_name(uint32_t epoch, uint64_t id)
{
    static char name[WR_FILE_NAME_BYTES];
    wr_name_state(name, epoch, id, 2, "count", 0);
    return name;
}
static const char *manifest_name(uint32_t epoch, uint64_t id)
{
    static char name[WR_FILE_NAME_BYTES];
    wr_name_manifest(name, epoch, id);
    return name;
}

static wr_err commit(wr_store *store, uint32_t epoch, uint64_t id, uint32_t below_epoch, uint64_t below,
                     bool *uncertain, wr_errinfo *info)
{
    small s;
    make(&s, epoch, id, below_epoch, below);
    put_file(s.layer[0].file.name, "data", 4);
    return wr_store_commit(store, &s.m, uncertain, info);
}

static void must_commit(wr_store *store, uint32_t epoch, uint64_t id, uint32_t below_epoch, uint64_t below)
{
    wr_errinfo info = {0};
    if (commit(store, epoch, id, below_epoch, below, NULL, &info) != WR_OK) fail_msg("%s", info.text);
}

static uint64_t newest(const char *lineage, wr_err want, wr_errinfo *info)
{
    wr_manifest m;
    bool        found;
    *info = (wr_errinfo){0};
    assert_int_equal(wr_store_newest(wr_env_real(), folder, lineage, &m, &found, info), want);
    uint64_t id = found ? m.id : 0;
    wr_manifest_free(&m);
    return id;
}

static void commits_and_lists(void **state)
{
    (void)state;
    wr_errinfo      info;
    wr_store_entry *list;
    uint32_t        n;
    assert_true(newest(NULL, WR_OK, &info) == 0); /* no folder */
    wr_store *s = opened(wr_env_real(), 4);
    assert_true(newest(NULL, WR_OK, &info) == 0);
    must_commit(s, 4, 9, 0, 0);
    must_commit(s, 4, 10, 4, 9);
    put_file("notes.txt", "mine", 4);
    put_file(manifest_name(3, 7), "x", 1); /* an older one that is damaged is in nobody's way */
    assert_true(newest(NULL, WR_OK, &info) == 10);
    assert_true(newest(sample_manifest().lineage, WR_OK, &info) == 10);
    assert_int_equal(wr_store_list(wr_env_real(), folder, &list, &n, &info), WR_OK);
    assert_int_equal(n, 3);
    assert_true(list[0].id == 10 && list[1].id == 9 && list[2].id == 7 && list[2].epoch == 3 && list[2].bytes == 1);
    assert_string_equal(list[0].name, manifest_name(4, 10));
    free(list);
    wr_store_close(s);
}

static void lineages(void **state)
{
    (void)state;
    wr_errinfo info = {0};
    small      one;
    wr_store  *s = opened(wr_env_real(), 4);
    must_commit(s, 4, 9, 0, 0);
    make(&one, 4, 10, 0, 0);
    one.m.lineage = "another";
    put_file(one.layer[0].file.name, "data", 4);
    assert_int_equal(wr_store_commit(s, &one.m, NULL, &info), WR_OK);
    assert_true(newest(NULL, WR_OK, &info) == 10);
    assert_true(newest("another", WR_OK, &info) == 10);
    assert_true(newest(sample_manifest().lineage, WR_OK, &info) == 9);
    assert_true(newest("a third", WR_OK, &info) == 0);
    wr_store_close(s);
}

/* No older one is taken in the place of a newest that is damaged. */
static void damaged_newest(void **state)
{
    (void)state;
    wr_errinfo info;
    size_t     n = 0;
    wr_store  *s = opened(wr_env_real(), 4);
    must_commit(s, 4, 9, 0, 0);
    must_commit(s, 4, 10, 0, 0);
    char *bytes = get_file(manifest_name(4, 10), &n);
    put_file(manifest_name(4, 10), bytes, n - 1);
    assert_true(newest(NULL, WR_DAMAGED, &info) == 0);
    assert_non_null(strstr(info.text, in_folder(manifest_name(4, 10))));
    assert_non_null(strstr(info.text, "offset"));
    put_file(manifest_name(4, 11), bytes, n); /* whole, but another's */
    assert_true(newest(NULL, WR_DAMAGED, &info) == 0);
    assert_non_null(strstr(info.text, "is that of snapshot 10"));
    free(bytes);
    wr_store_close(s);
}

static void loads(void **state)
{
    (void)state;
    wr_errinfo  info = {0};
    wr_manifest m;
    char        where[WR_PATH_BYTES_MAX], path[256];
    wr_store   *s = opened(wr_env_real(), 4);
    assert_int_equal(wr_store_load(wr_env_real(), folder, &m, where, &info), WR_NOT_FOUND);
    must_commit(s, 4, 9, 0, 0);
    must_commit(s, 4, 10, 0, 0);
    info = (wr_errinfo){0};
    assert_int_equal(wr_store_load(wr_env_real(), folder, &m, where, &info), WR_OK);
    assert_true(m.id == 10);
    assert_string_equal(where, folder);
    wr_manifest_free(&m);
    snprintf(path, sizeof path, "%s", in_folder(manifest_name(4, 9)));
    assert_int_equal(wr_store_load(wr_env_real(), path, &m, where, &info), WR_OK);
    assert_true(m.id == 9);
    assert_string_equal(where, folder);
    wr_manifest_free(&m);
    assert_int_equal(wr_store_load(wr_env_real(), in_folder("nothing"), &m, where, &info), WR_NOT_FOUND);
    wr_store_close(s);
}

static void sweeps(void **state)
{
    (void)state;
    wr_errinfo info = {0};
    uint32_t   deleted;
    wr_store  *s = opened(wr_env_real(), 4);
    must_commit(s, 4, 5, 0, 0);
    must_commit(s, 4, 6, 4, 5);
    must_commit(s, 4, 7, 4, 6); /* needs the file of 6, not its manifest */
    must_commit(s, 4, 8, 0, 0);
    put_file(state_name(2, 3), "", 0);                         /* of an aborted one */
    put_file(state_name(4, 9), "", 0);                         /* under way */
    put_file(state_name(5, 4), "", 0);                         /* of a later leader */
    put_file(manifest_name(5, 4), "unreadable, not ours", 20); /* but it must be understood */
    put_file("m-00000004-0000000000000002.wman.tmp", "x", 1);  /* left by a crash */
    put_file("m-00000005-0000000000000002.wman.tmp", "x", 1);  /* a later leader may be writing it */
    put_file("journal.tmp", "x", 1);
    put_file("notes.txt", "mine", 4);
    const uint64_t keep[] = {7, 8};
    uint32_t       before = files_in_folder();
    assert_int_equal(wr_store_sweep(s, keep, 2, 9, &deleted, &info), WR_DAMAGED);
    assert_int_equal(files_in_folder(), before); /* a manifest that cannot be read stops all of it */
    unlink(in_folder(manifest_name(5, 4)));
    info = (wr_errinfo){0};
    if (wr_store_sweep(s, keep, 2, 9, &deleted, &info) != WR_OK) fail_msg("%s", info.text);
    assert_false(is_there(manifest_name(4, 5)) || is_there(manifest_name(4, 6)));
    assert_true(is_there(manifest_name(4, 7)) && is_there(manifest_name(4, 8)));
    assert_false(is_there(state_name(4, 5)) || is_there(state_name(2, 3)));
    assert_true(is_there(state_name(4, 6)) && is_there(state_name(4, 7)) && is_there(state_name(4, 8)));
    assert_true(is_there(state_name(4, 9)) && is_there(state_name(5, 4)) && is_there("notes.txt"));
    assert_false(is_there("m-00000004-0000000000000002.wman.tmp") || is_there("journal.tmp"));
    assert_true(is_there("m-00000005-0000000000000002.wman.tmp"));
    assert_int_equal(deleted, 6);
    assert_int_equal(wr_store_sweep(s, keep, 2, UINT64_MAX, &deleted, &info), WR_OK);
    assert_false(is_there(state_name(4, 9)));
    assert_int_equal(deleted, 1);
    wr_store_close(s);
}

/* A store that was opened just now knows the marks of none, and sweeps the same. */
static void sweeps_after_a_restart(void **state)
{
    (void)state;
    wr_errinfo info = {0};
    wr_store  *s = opened(wr_env_real(), 4);
    must_commit(s, 4, 5, 0, 0);
    must_commit(s, 4, 6, 4, 5);
    wr_store_close(s);
    s = opened(wr_env_real(), 5);
    const uint64_t keep[] = {6};
    assert_int_equal(wr_store_sweep(s, keep, 1, 7, NULL, &info), WR_OK);
    assert_false(is_there(manifest_name(4, 5)));
    assert_true(is_there(state_name(4, 5)) && is_there(state_name(4, 6)));
    must_commit(s, 5, 7, 0, 0);
    const uint64_t later[] = {7};
    assert_int_equal(wr_store_sweep(s, later, 1, 8, NULL, &info), WR_OK);
    assert_int_equal(files_in_folder(), 2);
    wr_store_close(s);
}

/* What the tasks say is not believed: files may lie where the folder was not mounted, or be gone. */
static void files_that_are_not_whole(void **state)
{
    (void)state;
    for (uint32_t which = 0; which < 2; which++) { /* its own, and what it builds on */
        small      x;
        wr_errinfo info = {0};
        wr_store  *s = opened(wr_env_real(), 4);
        must_commit(s, 4, 5, 0, 0);
        make(&x, 4, 6, 4, 5);
        const char *name = x.layer[which].file.name;
        put_file(x.layer[0].file.name, "data", 4);
        put_file(name, "dat", 3);
        assert_int_equal(wr_store_commit(s, &x.m, NULL, &info), WR_DAMAGED);
        assert_non_null(strstr(info.text, name));
        assert_int_equal(unlink(in_folder(name)), 0);
        info = (wr_errinfo){0};
        assert_int_equal(wr_store_commit(s, &x.m, NULL, &info), WR_DAMAGED);
        assert_non_null(strstr(info.text, name));
        assert_true(newest(NULL, WR_OK, &info) == 5);
        must_commit(s, 4, 7, 0, 0); /* a full one is none the worse */
        wr_store_close(s);
        wr_env_real()->list(NULL, folder, folder_remove, folder);
    }
}

/* A later snapshot ends the doubt: but what the uncertain one names goes only when its own going is durable. */
static void after_doubt(wr_store *s, broken *b)
{
    const uint64_t keep[] = {5, 7};
    wr_errinfo     info = {0};
    must_commit(s, 4, 7, 0, 0);
    b->no_sync_from = 1;
    b->syncs = 0;
    assert_int_equal(wr_store_sweep(s, keep, 2, 8, NULL, &info), WR_IO);
    assert_true(is_there(state_name(4, 6)) && is_there(state_name(4, 5)));
    b->no_sync_from = 0;
    assert_int_equal(wr_store_sweep(s, keep, 2, 8, NULL, &info), WR_OK);
    assert_true(!is_there(state_name(4, 6)) && !is_there(manifest_name(4, 6)));
    assert_true(is_there(state_name(4, 5)) && is_there(manifest_name(4, 5)) && is_there(manifest_name(4, 7)));
}

/* Each step of a commit fails once or from then on: it was committed, or it was not and nothing of it is found, or it
 * is uncertain and nothing is deleted until a later one is there. Never is an older one lost. */
static void errors(void **state)
{
    (void)state;
    uint32_t uncertains = 0, commits = 0, failures = 0;
    for (uint32_t sticky = 0; sticky < 2; sticky++) {
        for (uint32_t at = 1;; at++) {
            broken     b;
            wr_errinfo info = {0};
            bool       uncertain = false;
            broken_init(&b);
            wr_store *good = opened(wr_env_real(), 4), *s = opened(&b.env, 4);
            must_commit(good, 4, 5, 0, 0);
            b.fail_at = at;
            b.fails = sticky ? UINT32_MAX : 1;
            wr_err   err = commit(s, 4, 6, 4, 5, &uncertain, &info);
            bool     done = b.steps < at;
            uint64_t found = newest(NULL, WR_OK, &info);
            b.fail_at = 0;
            const uint64_t keep[] = {5};
            wr_errinfo     swept = {0};
            wr_err         sweeping = wr_store_sweep(s, keep, 1, 7, NULL, &swept);
            if (err == WR_OK) {
                commits++;
                assert_true(found == 6);
            } else if (uncertain) {
                uncertains++;
                assert_int_equal(sweeping, WR_IO);
                assert_true(is_there(state_name(4, 6)) && is_there(state_name(4, 5)));
                after_doubt(s, &b);
            } else {
                failures++;
                assert_true(found == 5);
                assert_int_equal(sweeping, WR_OK);
                assert_int_equal(files_in_folder(), 2); /* no temp is left */
            }
            wr_store_close(s);
            wr_store_close(good);
            wr_env_real()->list(NULL, folder, folder_remove, folder);
            if (done) break;
        }
    }
    assert_true(uncertains >= 1 && commits >= 2 && failures >= 6);
}

/* The manifest has gone again, but nobody knows whether that is durable. */
static void gone_but_uncertain(void **state)
{
    (void)state;
    broken     b;
    wr_errinfo info = {0};
    bool       uncertain = false;
    broken_init(&b);
    wr_store *s = opened(&b.env, 4);
    must_commit(s, 4, 5, 0, 0);
    b.no_sync_from = 3; /* behind those of the data files' names and of the manifest */
    assert_int_equal(commit(s, 4, 6, 4, 5, &uncertain, &info), WR_IO);
    b.no_sync_from = 0;
    assert_true(uncertain && !is_there(manifest_name(4, 6)));
    after_doubt(s, &b);
    wr_store_close(s);
}

/* Sweeping fails at every step: what is kept can still be read, with all of its files. */
static void sweep_errors(void **state)
{
    (void)state;
    for (uint32_t at = 1;; at++) {
        broken     b;
        wr_errinfo info = {0};
        broken_init(&b);
        wr_store *s = opened(&b.env, 4);
        must_commit(s, 4, 5, 0, 0);
        must_commit(s, 4, 6, 4, 5);
        must_commit(s, 4, 7, 0, 0);
        put_file(state_name(3, 3), "", 0);
        const uint64_t keep[] = {7};
        b.steps = 0;
        b.fail_at = at;
        wr_err err = wr_store_sweep(s, keep, 1, 8, NULL, &info);
        bool   done = b.steps < at;
        assert_int_equal(err, done ? WR_OK : WR_IO);
        for (uint64_t id = 5; id <= 7; id++) { /* a manifest never outlives its files */
            assert_true(!is_there(manifest_name(4, id)) || is_there(state_name(4, id)));
        }
        assert_true(!is_there(manifest_name(4, 6)) || is_there(state_name(4, 5)));
        b.fail_at = 0;
        info = (wr_errinfo){0};
        assert_int_equal(wr_store_sweep(s, keep, 1, 8, NULL, &info), WR_OK);
        assert_int_equal(files_in_folder(), 2);
        wr_store_close(s);
        wr_env_real()->list(NULL, folder, folder_remove, folder);
        if (done) break;
    }
}

static const char *spare_name(uint32_t epoch, uint64_t id)
{
    static char name[WR_FILE_NAME_BYTES];
    wr_name_spare(name, state_name(epoch, id));
    return name;
}

static void must_sweep(wr_store *s, uint64_t keep, uint64_t pending)
{
    wr_errinfo info = {0};
    if (wr_store_sweep(s, &keep, 1, pending, NULL, &info) != WR_OK) fail_msg("%s", info.text);
}

/* The file of a snapshot that completed and was retired stays, one of each subtask, and no other one. */
static void keeps_spares(void **state)
{
    (void)state;
    wr_store *s = opened(wr_env_real(), 4);
    wr_store_keep_spares(s, 8, 1000);
    must_commit(s, 4, 5, 0, 0);
    must_commit(s, 4, 6, 4, 5);
    put_file(state_name(4, 4), "of one that failed", 18);
    must_sweep(s, 6, 7); /* the file of 5 is needed */
    assert_true(is_there(state_name(4, 5)) && is_there(state_name(4, 6)));
    assert_false(is_there(state_name(4, 4)) || is_there(spare_name(4, 4)) || is_there(spare_name(4, 5)));
    must_commit(s, 4, 7, 0, 0);
    put_file(state_name(4, 6), "a little more", 13);
    must_sweep(s, 7, 8); /* of two the larger one */
    assert_true(is_there(spare_name(4, 6)) && is_there(state_name(4, 7)));
    assert_int_equal(files_in_folder(), 3);
    size_t n;
    char  *bytes = get_file(spare_name(4, 6), &n);
    assert_memory_equal(bytes, "a little more", n);
    free(bytes);
    must_commit(s, 4, 8, 0, 0);
    must_sweep(s, 8, 9); /* the one that is there is larger */
    assert_true(is_there(spare_name(4, 6)) && !is_there(spare_name(4, 7)));
    assert_int_equal(files_in_folder(), 3);
    put_file(spare_name(5, 1), "of a later leader", 17);
    wr_store_keep_spares(s, 0, 0);
    must_sweep(s, 8, 9);
    assert_true(is_there(spare_name(5, 1)));
    assert_int_equal(files_in_folder(), 3); /* and the manifest and the file of 8 */
    wr_store_close(s);
}

/* Not more of them than is allowed, and not for ever. A manifest that goes may be damaged: what it named goes, too. */
static void bounds_spares(void **state)
{
    (void)state;
    wr_errinfo info = {0};
    wr_store  *s = opened(wr_env_real(), 4);
    char       name[2][WR_FILE_NAME_BYTES], other[WR_FILE_NAME_BYTES];
    for (uint32_t i = 0; i < 2; i++) {
        wr_name_state(other, 4, 3, 2, "count", 6 + i);
        wr_name_spare(name[i], other);
        put_file(name[i], "1234567890", 10);
    }
    must_commit(s, 4, 8, 0, 0);
    wr_store_keep_spares(s, 2, 20);
    must_sweep(s, 8, 9);
    assert_true(is_there(name[0]) && is_there(name[1]));
    wr_store_keep_spares(s, 2, 19);
    must_sweep(s, 8, 9);
    assert_int_equal(is_there(name[0]) + is_there(name[1]), 1);
    put_file(name[0], "1234567890", 10);
    put_file(name[1], "1234567890", 10);
    wr_store_keep_spares(s, 1, 1000);
    must_sweep(s, 8, 9);
    assert_int_equal(is_there(name[0]) + is_there(name[1]), 1);
    must_sweep(s, 8, 3 + WR_SPARE_SNAPSHOTS);
    assert_int_equal(is_there(name[0]) + is_there(name[1]), 1);
    must_sweep(s, 8, 4 + WR_SPARE_SNAPSHOTS);
    assert_int_equal(is_there(name[0]) + is_there(name[1]), 0);
    wr_store_close(s);
    s = opened(wr_env_real(), 5);
    put_file(manifest_name(4, 8), "damaged", 7);
    must_commit(s, 5, 9, 0, 0);
    wr_store_keep_spares(s, 8, 1000);
    const uint64_t keep[] = {9};
    assert_int_equal(wr_store_sweep(s, keep, 1, 10, NULL, &info), WR_OK);
    assert_false(is_there(manifest_name(4, 8)) || is_there(state_name(4, 8)) || is_there(spare_name(4, 8)));
    assert_int_equal(files_in_folder(), 2);
    wr_store_close(s);
}

/* Whichever step fails: what a manifest names is no spare, and it is durable that none does before it becomes one. */
static void spare_errors(void **state)
{
    (void)state;
    for (uint32_t at = 1;; at++) {
        broken b;
        broken_init(&b);
        wr_store *s = opened(&b.env, 4);
        wr_store_keep_spares(s, 8, 1000);
        must_commit(s, 4, 5, 0, 0);
        must_commit(s, 4, 6, 4, 5);
        must_commit(s, 4, 7, 0, 0);
        const uint64_t keep[] = {7};
        wr_errinfo     info = {0};
        b.steps = 0;
        b.fail_at = at;
        wr_err err = wr_store_sweep(s, keep, 1, 8, NULL, &info);
        bool   done = b.steps < at;
        assert_int_equal(err, done ? WR_OK : WR_IO);
        for (uint64_t id = 5; id <= 7; id++) {
            assert_true(!is_there(manifest_name(4, id)) || is_there(state_name(4, id)));
            if (is_there(spare_name(4, id)))
                assert_true(!is_there(manifest_name(4, 5)) && !is_there(manifest_name(4, 6)));
        }
        b.fail_at = 0;
        info = (wr_errinfo){0};
        assert_int_equal(wr_store_sweep(s, keep, 1, 8, NULL, &info), WR_OK);
        assert_int_equal(files_in_folder(), 2 + is_there(spare_name(4, 6)) + is_there(spare_name(4, 5)));
        assert_false(is_there(spare_name(4, 6)) && is_there(spare_name(4, 5)));
        if (done) assert_true(is_there(spare_name(4, 6)));
        wr_store_close(s);
        wr_env_real()->list(NULL, folder, folder_remove, folder);
        if (done) break;
    }
}

static void greatest(void **state)
{
    (void)state;
    wr_errinfo info = {0};
    uint32_t   epoch;
    uint64_t   id;
    assert_int_equal(wr_store_greatest(wr_env_real(), folder, &epoch, &id, &info), WR_OK);
    assert_true(epoch == 0 && id == 0);
    mkdir(folder, 0700);
    put_file(state_name(7, 3), "", 0);
    put_file(manifest_name(2, 99), "", 0);
    put_file("m-00000009-0000000000000100.wman.tmp", "", 0);
    assert_int_equal(wr_store_greatest(wr_env_real(), folder, &epoch, &id, &info), WR_OK);
    assert_true(epoch == 9 && id == 0x100);
}

#define TEST(NAME) cmocka_unit_test_setup_teardown(NAME, folder_begin, folder_end)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(commits_and_lists),
        TEST(lineages),
        TEST(damaged_newest),
        TEST(loads),
        TEST(sweeps),
        TEST(sweeps_after_a_restart),
        TEST(errors),
        TEST(gone_but_uncertain),
        TEST(files_that_are_not_whole),
        TEST(sweep_errors),
        TEST(greatest),
        TEST(keeps_spares),
        TEST(bounds_spares),
        TEST(spare_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
