/* The journal: locks, names, epochs, ids, lineages; crashes and errors at every step; every flip and truncation. */
#include "base/log.h"
#include "jobmanager/journal.h"
#include "tests/unit/jobmanager/folder.h"
#include "tests/unit/wire/manifest_sample.h"
#include <xxhash.h>

#define GOLDEN   "tests/golden/journal-2"
#define GOLDEN_1 "tests/golden/journal-1"

static wr_err begin(wr_journal **j, const wr_env *env, const char *job, bool fresh, wr_errinfo *info)
{
    const wr_journal_config config = {.env = env, .folder = folder, .job = job, .fresh = fresh};
    *info = (wr_errinfo){0};
    return wr_journal_open(j, &config, info);
}

static wr_journal *opened(bool fresh)
{
    wr_journal *j;
    wr_errinfo  info;
    if (begin(&j, wr_env_real(), "job", fresh, &info) != WR_OK) fail_msg("%s", info.text);
    return j;
}

static void goes_on(void **state)
{
    (void)state;
    wr_errinfo  info = {0};
    char        lineage[40];
    wr_journal *j = opened(false);
    assert_int_equal(wr_journal_epoch(j), 1);
    assert_true(wr_journal_ids(j) == 0);
    assert_false(wr_journal_finished(j, NULL));
    assert_int_equal(strlen(wr_journal_lineage(j)), 32);
    snprintf(lineage, sizeof lineage, "%s", wr_journal_lineage(j));
    assert_int_equal(wr_journal_reserve(j, 64, &info), WR_OK);
    assert_int_equal(wr_journal_reserve(j, 10, &info), WR_OK); /* is reserved already */
    assert_true(wr_journal_ids(j) == 64);
    wr_journal_close(j);
    j = opened(false);
    assert_int_equal(wr_journal_epoch(j), 2);
    assert_true(wr_journal_ids(j) == 64);
    assert_string_equal(wr_journal_lineage(j), lineage);
    wr_journal_close(j);
    j = opened(true);
    assert_int_equal(wr_journal_epoch(j), 3);
    assert_true(wr_journal_ids(j) == 64); /* ids go on: they are never used twice, whatever is begun anew */
    assert_string_not_equal(wr_journal_lineage(j), lineage);
    wr_journal_close(j);
}

static uint32_t attempt_of(bool next, uint32_t attempt)
{
    wr_journal             *j;
    wr_errinfo              info = {0};
    const wr_journal_config config = {
        .env = wr_env_real(), .folder = folder, .job = "job", .next = next, .attempt = attempt};
    if (wr_journal_open(&j, &config, &info) != WR_OK) fail_msg("%s", info.text);
    uint32_t is = wr_journal_attempt(j);
    wr_journal_close(j);
    return is;
}

/* Whoever counts them elsewhere, and forgets: here they never go back. */
static void attempts(void **state)
{
    (void)state;
    wr_journal             *j;
    wr_errinfo              info = {0};
    const wr_journal_config last = {.env = wr_env_real(), .folder = folder, .job = "job", .next = true, .attempt = 2};
    assert_int_equal(attempt_of(true, 1), 1);
    assert_int_equal(attempt_of(true, 1), 2);
    assert_int_equal(attempt_of(true, 7), 7);
    assert_int_equal(attempt_of(true, 1), 8);
    assert_int_equal(attempt_of(false, 8), 8); /* it goes on, under a new JobManager */
    assert_int_equal(attempt_of(false, 9), 9); /* and when only that knew of it */
    assert_int_equal(attempt_of(false, 0), 9); /* none begins: one process */
    assert_int_equal(attempt_of(true, 0), 10);
    assert_int_equal(attempt_of(false, UINT32_MAX - 1), UINT32_MAX - 1);
    assert_int_equal(wr_journal_open(&j, &last, &info), WR_LIMIT);
}

/* There were no more attempts than epochs. */
static void attempts_of_who_did_not_count_them(void **state)
{
    (void)state;
    size_t n = 0;
    char  *bytes = sample_file(GOLDEN_1, &n);
    assert_non_null(bytes);
    uint32_t body;
    memcpy(&body, bytes + 16, 4); /* the first record: the job had not finished */
    wr_journal_close(opened(false));
    put_file("journal", bytes, 16 + 12 + body);
    free(bytes);
    char name[WR_FILE_NAME_BYTES];
    wr_name_state(name, 41, 5, 1, "count", 0);
    put_file(name, "", 0);
    assert_int_equal(attempt_of(true, 3), 42);
    unlink(in_folder("journal"));
    wr_log_setup(2, WR_LOG_ERROR, NULL);
    assert_int_equal(attempt_of(true, 3), 42); /* lost: the same */
}

static void finished(void **state)
{
    (void)state;
    wr_errinfo  info = {0};
    uint64_t    last = 0;
    size_t      n = 0, m = 0;
    wr_journal *j = opened(false);
    assert_int_equal(wr_journal_reserve(j, 8, &info), WR_OK);
    assert_int_equal(wr_journal_finish(j, 7, &info), WR_OK);
    wr_journal_close(j);
    char *before = get_file("journal", &n);
    j = opened(false);
    assert_true(wr_journal_finished(j, &last));
    assert_true(last == 7);
    wr_journal_close(j);
    char *after = get_file("journal", &m);
    assert_true(n == m && memcmp(before, after, n) == 0); /* looking changes nothing */
    free(before);
    free(after);
    j = opened(true);
    assert_false(wr_journal_finished(j, NULL));
    assert_int_equal(wr_journal_epoch(j), 2);
    assert_true(wr_journal_ids(j) == 8);
    wr_journal_close(j);
}

/* A start that comes to nothing leaves the job where it was. */
static void fresh_is_written_when_it_begins(void **state)
{
    (void)state;
    wr_errinfo  info = {0};
    size_t      n = 0, m = 0;
    char        lineage[40];
    wr_journal *j = opened(false);
    assert_int_equal(wr_journal_reserve(j, 8, &info), WR_OK);
    assert_int_equal(wr_journal_finish(j, 7, &info), WR_OK);
    wr_journal_close(j);
    char *before = get_file("journal", &n);
    j = opened(true);
    wr_journal_close(j);
    char *after = get_file("journal", &m);
    assert_true(n == m && memcmp(before, after, n) == 0);
    free(before);
    free(after);
    j = opened(true);
    snprintf(lineage, sizeof lineage, "%s", wr_journal_lineage(j));
    assert_int_equal(wr_journal_begin(j, &info), WR_OK);
    assert_int_equal(wr_journal_begin(j, &info), WR_OK);
    wr_journal_close(j);
    j = opened(false);
    assert_false(wr_journal_finished(j, NULL));
    assert_string_equal(wr_journal_lineage(j), lineage);
    assert_int_equal(wr_journal_epoch(j), 3);
    assert_true(wr_journal_ids(j) == 8);
    wr_journal_close(j);
}

/* Whoever begins anew needs nothing of a journal, nor of a manifest, that is damaged. */
static void fresh_helps_out_of_damage(void **state)
{
    (void)state;
    wr_errinfo  info;
    char        name[WR_FILE_NAME_BYTES];
    wr_journal *j;
    wr_journal_close(opened(false));
    wr_name_manifest(name, 6, 40);
    put_file(name, "no manifest", 11);
    put_file("journal", "no journal", 10);
    assert_int_equal(begin(&j, wr_env_real(), "job", false, &info), WR_DAMAGED);
    wr_log_setup(2, WR_LOG_ERROR, NULL);
    j = opened(true);
    assert_int_equal(wr_journal_epoch(j), 7);
    assert_true(wr_journal_ids(j) >= 40);
    assert_int_equal(wr_journal_begin(j, &info), WR_OK);
    wr_journal_close(j);
    wr_journal_close(opened(false));
}

static void a_folder_that_was_replaced(void **state)
{
    (void)state;
    char        away[200];
    wr_errinfo  info = {0};
    wr_journal *other, *j = opened(false);
    assert_false(wr_journal_replaced(j, &info));
    assert_int_equal(wr_journal_reserve(j, 8, &info), WR_OK);
    assert_false(wr_journal_replaced(j, &info));
    snprintf(away, sizeof away, "%s-away", folder);
    assert_int_equal(rename(folder, away), 0);
    assert_true(wr_journal_replaced(j, &info)); /* there is nothing */
    assert_int_equal(info.code, WR_NOT_FOUND);
    other = opened(false);
    info = (wr_errinfo){0};
    assert_true(wr_journal_replaced(j, &info));
    assert_int_equal(info.code, WR_BUSY);
    assert_non_null(strstr(info.text, folder));
    assert_false(wr_journal_replaced(other, &info));
    wr_journal_close(other);
    wr_env_real()->list(NULL, folder, folder_remove, folder);
    assert_int_equal(rmdir(folder), 0);
    assert_int_equal(rename(away, folder), 0);
    assert_false(wr_journal_replaced(j, &info));
    wr_journal_close(j);
}

static void one_at_a_time(void **state)
{
    (void)state;
    wr_errinfo  info;
    wr_journal *other, *j = opened(false);
    char        pid[32];
    assert_int_equal(begin(&other, wr_env_real(), "job", false, &info), WR_BUSY);
    snprintf(pid, sizeof pid, "process %d", (int)getpid());
    assert_non_null(strstr(info.text, pid));
    assert_non_null(strstr(info.text, folder));
    assert_int_equal(begin(&other, wr_env_real(), "job", true, &info), WR_BUSY);
    assert_int_equal(unlink(in_folder("lock")), 0); /* by somebody who thinks that it was left over */
    assert_int_equal(begin(&other, wr_env_real(), "job", false, &info), WR_BUSY);
    assert_non_null(strstr(info.text, folder));
    wr_journal_close(j);
    wr_journal_close(opened(false));
}

static void one_job(void **state)
{
    (void)state;
    wr_errinfo  info;
    wr_journal *j;
    wr_journal_close(opened(false));
    assert_int_equal(begin(&j, wr_env_real(), "other", false, &info), WR_CONFIG);
    assert_non_null(strstr(info.text, "those of the job 'job', not of 'other'"));
    assert_int_equal(begin(&j, wr_env_real(), "other", true, &info), WR_CONFIG);
    j = opened(false); /* and the refused ones hold no lock */
    assert_int_equal(wr_journal_epoch(j), 2);
    wr_journal_close(j);
    assert_int_equal(begin(&j, wr_env_real(), "", false, &info), WR_LIMIT);
}

/* Lost: what the files' names say is used; the newest manifest says whose they are. */
static void lost(void **state)
{
    (void)state;
    wr_errinfo  info = {0};
    wr_manifest m = sample_manifest();
    char        name[WR_FILE_NAME_BYTES], *bytes;
    size_t      n = 0;
    wr_journal_close(opened(false));
    unlink(in_folder("journal"));
    m.job = "job";
    assert_int_equal(wr_manifest_encode(&m, &bytes, &n, &info), WR_OK);
    wr_name_manifest(name, m.epoch, m.id);
    put_file(name, bytes, n);
    wr_name_state(name, 17, 5, 1, "count", 0);
    put_file(name, "", 0);
    wr_name_state(name, 3, 1000, 1, "count", 0);
    put_file(name, "", 0);
    free(bytes);
    wr_log_setup(2, WR_LOG_ERROR, NULL);
    wr_journal *j = opened(false);
    assert_int_equal(wr_journal_epoch(j), 18);
    assert_true(wr_journal_ids(j) == 1000);
    assert_string_equal(wr_journal_lineage(j), m.lineage);
    wr_journal_close(j);
    unlink(in_folder("journal"));
    assert_int_equal(begin(&j, wr_env_real(), "other", false, &info), WR_CONFIG);
    j = opened(true);
    assert_string_not_equal(wr_journal_lineage(j), m.lineage);
    assert_true(wr_journal_ids(j) == 1000);
    wr_journal_close(j);
}

/* The record that was written last is cut off anywhere, as a crash does it: the ones before it count, and the ids that
 * it may have reserved are skipped. */
static void torn(void **state)
{
    (void)state;
    wr_errinfo  info = {0};
    size_t      before = 0, n = 0;
    wr_journal *j = opened(false);
    assert_int_equal(wr_journal_reserve(j, 64, &info), WR_OK);
    free(get_file("journal", &before));
    assert_int_equal(wr_journal_reserve(j, 128, &info), WR_OK);
    wr_journal_close(j);
    char *bytes = get_file("journal", &n);
    assert_true(n > before);
    wr_log_setup(2, WR_LOG_ERROR, NULL);
    for (size_t cut = before; cut < n; cut++) {
        for (int zeros = 0; zeros < 2; zeros++) { /* the file's length may be durable before its bytes */
            char *torn = calloc(1, n);
            memcpy(torn, bytes, cut);
            put_file("journal", torn, zeros ? n : cut);
            free(torn);
            j = opened(false);
            assert_int_equal(wr_journal_epoch(j), 2);
            assert_true(cut == before && !zeros ? wr_journal_ids(j) == 64 : wr_journal_ids(j) >= 128);
            wr_journal_close(j);
        }
    }
    free(bytes);
}

/* Golden: every record type. Made by hand, since lineages are random. */
static char *golden_bytes(size_t *n)
{
    char *bytes = sample_file(GOLDEN, n);
    assert_non_null(bytes);
    return bytes;
}

static void golden(void **state)
{
    (void)state;
    size_t          n = 0;
    wr_journal_view view;
    wr_errinfo      info = {0};
    if (getenv("WEIR_GOLDEN") != NULL) {
        assert_int_equal(attempt_of(true, 5), 5);
        wr_journal *j = opened(false);
        assert_int_equal(wr_journal_reserve(j, 64, &info), WR_OK);
        assert_int_equal(wr_journal_reserve(j, 128, &info), WR_OK);
        assert_int_equal(wr_journal_finish(j, 77, &info), WR_OK);
        wr_journal_close(j);
        char *made = get_file("journal", &n);
        assert_true(sample_is_golden(GOLDEN, made, n));
        free(made);
    }
    for (uint32_t version = 1; version <= 2; version++) {
        const char *path = version == 1 ? GOLDEN_1 : GOLDEN;
        char       *bytes = sample_file(path, &n);
        assert_non_null(bytes);
        assert_int_equal(wr_journal_parse(bytes, n, path, &view, &info), WR_OK);
        assert_int_equal(view.good_bytes, n);
        assert_string_equal(view.job, "job");
        assert_int_equal(strlen(view.lineage), 32);
        assert_true(view.epoch == version && view.ids == 128 && view.finished && view.snapshot == 77);
        assert_int_equal(view.attempt, version == 1 ? 0 : 5);
        free(bytes);
    }
}

/* Whatever is damaged is either said, with the offset, or it is the last record, which is as good as never written. */
static void every_flip_and_truncation(void **state)
{
    (void)state;
    size_t          n = 0, last = 16;
    wr_journal_view view;
    char           *bytes = golden_bytes(&n);
    for (size_t at = 16; at < n;) {
        uint32_t body;
        memcpy(&body, bytes + at, 4);
        last = at;
        at += 12 + body;
    }
    for (size_t i = 0; i < n; i++) {
        for (int bit = 0; bit < 9; bit++) {
            bool       cut = bit == 8;
            wr_errinfo info = {0};
            char      *copy = malloc(n);
            memcpy(copy, bytes, n);
            if (!cut) copy[i] ^= (char)(1 << bit);
            char *exact = realloc(copy, cut ? (i > 0 ? i : 1) : n);
            memset(&view, 0, sizeof view);
            wr_err err = wr_journal_parse(exact, cut ? i : n, "FILE", &view, &info);
            if (cut && err == WR_OK) {
                assert_true(view.good_bytes <= i && (view.good_bytes < i || i < n) && view.epoch == 2);
                assert_false(view.finished);
            } else if (err == WR_OK) {
                assert_true(i >= last && view.good_bytes == last && !view.finished);
            } else {
                assert_true(err == WR_DAMAGED);
                assert_non_null(strstr(info.text, "FILE, offset "));
                assert_true(cut || i < last);
            }
            free(exact);
        }
    }
    free(bytes);
}

static void newer(void **state)
{
    (void)state;
    wr_errinfo      info = {0};
    wr_journal_view view;
    char            head[17] = "WEIRJRNL\x03\0\0\0";
    assert_int_equal(wr_journal_parse(head, 16, "FILE", &view, &info), WR_DAMAGED);
    uint32_t sum = (uint32_t)XXH3_64bits(head, 12);
    memcpy(head + 12, &sum, 4);
    info = (wr_errinfo){0};
    assert_int_equal(wr_journal_parse(head, 16, "FILE", &view, &info), WR_NEWER);
    assert_non_null(strstr(info.text, "format version 3"));
    info = (wr_errinfo){0};
    assert_int_equal(wr_journal_parse("WEIRJRNX", 8, "FILE", &view, &info), WR_DAMAGED);
}

static int failing_sync(void *self, int file)
{
    (void)self;
    (void)file;
    return -EIO;
}

/* Written and not synced: the caller was told no, so who opens the folder next must not find it. */
static void what_was_refused_is_gone(void **state)
{
    (void)state;
    wr_log_setup(2, WR_LOG_ERROR, NULL);
    wr_env      env = *wr_env_real();
    wr_errinfo  info = {0};
    wr_journal *j;
    assert_int_equal(begin(&j, &env, "job", false, &info), WR_OK);
    assert_int_equal(wr_journal_reserve(j, 10, &info), WR_OK);
    env.fsync = failing_sync;
    assert_int_equal(wr_journal_reserve(j, 1000, &info), WR_IO);
    wr_journal_close(j);
    j = opened(false);
    assert_true(wr_journal_ids(j) >= 10 && wr_journal_ids(j) < 1000);
    wr_journal_close(j);
}

/* Each step fails once, or from then on; whatever was said to be durable is there when the folder is opened again, and
 * no epoch and no id comes twice. */
static void errors(void **state)
{
    (void)state;
    wr_log_setup(2, WR_LOG_ERROR, NULL);
    uint32_t reached = 0;
    for (uint32_t sticky = 0; sticky < 2; sticky++) {
        for (uint32_t at = 1;; at++) {
            broken      b;
            wr_journal *j;
            wr_errinfo  info;
            uint64_t    ids = 0;
            uint32_t    epoch = 0;
            broken_init(&b);
            b.fail_at = at;
            b.fails = sticky ? UINT32_MAX : 1;
            b.error = at % 2 ? EIO : ENOSPC;
            if (begin(&j, &b.env, "job", false, &info) == WR_OK) {
                epoch = wr_journal_epoch(j);
                for (uint64_t up_to = 10; up_to <= 50; up_to += 10) {
                    info = (wr_errinfo){0};
                    uint64_t want = up_to + 100 * (epoch - 1);
                    if (wr_journal_reserve(j, want, &info) == WR_OK) ids = want;
                    assert_true(info.code != WR_OK || wr_journal_ids(j) == want);
                }
                assert_true(wr_journal_ids(j) == ids || ids < wr_journal_ids(j));
                if (!sticky) assert_true(ids >= 40 + 100 * (epoch - 1)); /* one error, and the next one goes well */
                wr_journal_close(j);
            } else {
                assert_true(info.text[0] != 0);
            }
            bool done = b.steps < at;
            j = opened(false);
            assert_true(wr_journal_epoch(j) > epoch && wr_journal_ids(j) >= ids);
            wr_journal_close(j);
            wr_env_real()->list(NULL, folder, folder_remove, folder);
            rmdir(folder);
            if (done) break;
            reached = at;
        }
    }
    assert_true(reached > 10);
}

static void compaction(void **state)
{
    (void)state;
    wr_errinfo  info = {0};
    size_t      n = 0, most = 0;
    wr_journal *j = opened(false);
    for (uint64_t i = 1; i <= 3000; i++) {
        assert_int_equal(wr_journal_reserve(j, i, &info), WR_OK);
        if (i % 50 == 0) {
            free(get_file("journal", &n));
            if (n > most) most = n;
        }
    }
    wr_journal_close(j);
    assert_true(most <= WR_JOURNAL_BYTES_MAX + 100 && most > 1000);
    free(get_file("journal", &n));
    assert_true(n < most);
    j = opened(false);
    assert_true(wr_journal_ids(j) == 3000 && wr_journal_epoch(j) == 2);
    wr_journal_close(j);
}

#define TEST(NAME) cmocka_unit_test_setup_teardown(NAME, folder_begin, folder_end)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(goes_on),
        TEST(attempts),
        TEST(attempts_of_who_did_not_count_them),
        TEST(finished),
        TEST(one_at_a_time),
        TEST(one_job),
        TEST(lost),
        TEST(torn),
        TEST(a_folder_that_was_replaced),
        TEST(fresh_is_written_when_it_begins),
        TEST(fresh_helps_out_of_damage),
        TEST(golden),
        TEST(every_flip_and_truncation),
        TEST(newer),
        TEST(what_was_refused_is_gone),
        TEST(errors),
        TEST(compaction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
