/* The store of shipped files: what no job has in the end goes; what somebody is about to submit a job with stays. */
#include "jobmanager/blobs.h"
#include "net/mac.h"
#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static wr_env    env;
static int64_t   now_ns;
static char      folder[64];
static wr_blobs *blobs;
static bool      in_job[4]; /* by file */

static int64_t fake_now(void *self)
{
    (void)self;
    return now_ns;
}

static void describe(uint32_t file, char text[32], wr_blob *b)
{
    memset(b, 0, sizeof *b);
    b->bytes = (uint64_t)snprintf(text, 32, "the content of file %u", file);
    wr_sha256 *sum = wr_sha256_new();
    wr_sha256_add(sum, text, b->bytes);
    wr_sha256_end(sum, b->digest);
}

static bool here(uint32_t file)
{
    char    text[32];
    wr_blob b;
    describe(file, text, &b);
    return wr_blobs_has(blobs, b.digest, b.bytes);
}

/* Half of it, or all of it. */
static void ship(uint64_t peer, uint32_t file, bool whole)
{
    char       text[32];
    wr_blob    b;
    uint64_t   have = 0;
    wr_errinfo info = {0};
    describe(file, text, &b);
    b.data = text;
    b.data_bytes = (uint32_t)(whole ? b.bytes : b.bytes / 2);
    if (wr_blobs_put(blobs, peer, &b, &have, &info) != WR_OK) fail_msg("%s", info.text);
    assert_int_equal(have, b.data_bytes);
}

static bool named(void *self, const uint8_t digest[WR_DIGEST_BYTES])
{
    (void)self;
    for (uint32_t i = 0; i < 4; i++) {
        char    text[32];
        wr_blob b;
        describe(i, text, &b);
        if (in_job[i] && memcmp(b.digest, digest, sizeof b.digest) == 0) return true;
    }
    return false;
}

/* As the JobManager does. Whether it was due. */
static bool pass(int64_t ms)
{
    now_ns += ms * 1000000;
    if (now_ns / 1000000 < wr_blobs_due_ms(blobs)) return false;
    wr_blobs_sweep(blobs, named, NULL);
    assert_true(wr_blobs_due_ms(blobs) > now_ns / 1000000);
    return true;
}

static int begin(void **state)
{
    wr_errinfo info = {0};
    (void)state;
    env = *wr_env_real();
    env.mono_ns = fake_now;
    now_ns = 1000000000;
    memset(in_job, 0, sizeof in_job);
    snprintf(folder, sizeof folder, "/tmp/weir-blobs-XXXXXX");
    assert_non_null(mkdtemp(folder));
    assert_int_equal(wr_blobs_open(&blobs, &env, folder, &info), WR_OK);
    wr_blobs_sweep(blobs, named, NULL);
    return 0;
}

static int remove_one(const char *path, const struct stat *about, int kind, struct FTW *where)
{
    (void)about, (void)kind, (void)where;
    return remove(path);
}

static int finish(void **state)
{
    (void)state;
    wr_blobs_close(blobs);
    return nftw(folder, remove_one, 4, FTW_DEPTH | FTW_PHYS);
}

static void what_no_job_has_goes_behind_its_client(void **state)
{
    (void)state;
    ship(7, 0, true);
    ship(7, 1, true);
    in_job[1] = true;
    assert_false(pass(600000)); /* it is still there, and may submit */
    wr_blobs_peer_gone(blobs, 7);
    assert_false(pass(60000)); /* it may dial again */
    assert_true(here(0) && here(1));
    assert_true(pass(60000));
    assert_true(!here(0) && here(1));
}

/* Who ships what is there already counts on it as well. */
static void who_was_told_that_it_is_there_has_it(void **state)
{
    (void)state;
    char       text[32];
    wr_blob    b;
    uint64_t   have;
    wr_errinfo info = {0};
    ship(7, 0, true);
    wr_blobs_peer_gone(blobs, 7);
    pass(100000);
    describe(0, text, &b);
    b.data = text;
    b.data_bytes = 1;
    assert_int_equal(wr_blobs_put(blobs, 8, &b, &have, &info), WR_OK);
    assert_int_equal(have, b.bytes);
    assert_true(pass(100000)); /* the first one's time is over */
    assert_true(here(0));
    wr_blobs_peer_gone(blobs, 8);
    assert_true(pass(120000));
    assert_false(here(0));
}

static void what_is_on_its_way_stays(void **state)
{
    (void)state;
    char       text[32];
    wr_blob    b;
    uint64_t   have;
    wr_errinfo info = {0};
    ship(7, 0, true);
    wr_blobs_peer_gone(blobs, 7);
    ship(8, 1, false);
    assert_true(pass(120000));
    assert_false(here(0));
    describe(1, text, &b);
    b.offset = b.bytes / 2;
    b.data = text + b.offset;
    b.data_bytes = (uint32_t)(b.bytes - b.offset);
    assert_int_equal(wr_blobs_put(blobs, 8, &b, &have, &info), WR_OK);
    assert_true(here(1));
}

static uint32_t files_here(void)
{
    uint32_t       n = 0;
    struct dirent *e;
    DIR           *d = opendir(folder);
    assert_non_null(d);
    while ((e = readdir(d)) != NULL) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

/* Said to be: its bytes need not come for it to be refused. */
static void what_is_too_large_is_not_begun(void **state)
{
    (void)state;
    char       text[32];
    wr_blob    b;
    uint64_t   have;
    wr_errinfo info = {0};
    describe(0, text, &b);
    b.data = text;
    b.data_bytes = 10;
    b.bytes = (UINT64_C(512) << 20) + 1;
    assert_int_equal(wr_blobs_put(blobs, 7, &b, &have, &info), WR_LIMIT);
    assert_int_equal(files_here(), 0);
    b.bytes--;
    assert_int_equal(wr_blobs_put(blobs, 7, &b, &have, &info), WR_OK);
    assert_int_equal(have, 10);
}

/* In its first piece or a later one; its bytes are none that were asked for, and nothing of it stays. */
static void what_is_longer_than_it_was_said_is_refused(void **state)
{
    (void)state;
    char       text[32];
    wr_blob    b;
    uint64_t   have;
    wr_errinfo info = {0};
    for (uint32_t first = 0; first <= 4; first += 4) {
        describe(0, text, &b);
        b.data = text;
        b.bytes = 5;
        b.data_bytes = first;
        if (first > 0) assert_int_equal(wr_blobs_put(blobs, 7, &b, &have, &info), WR_OK);
        b.offset = first;
        b.data = text + first;
        b.data_bytes = 6 - first;
        assert_int_equal(wr_blobs_put(blobs, 7, &b, &have, &info), WR_CONFIG);
        assert_non_null(strstr(info.text, "longer than it was said to be"));
        assert_int_equal(files_here(), 0);
        b.data_bytes--; /* it is not gone on with */
        if (first > 0) assert_int_equal(wr_blobs_put(blobs, 7, &b, &have, &info), WR_CONFIG);
    }
    ship(7, 0, true); /* all of it, by its right length */
    assert_true(here(0));
}

/* Each call of storage fails in turn; reads are short. What is answered is a whole piece, or nothing and why. */
static uint32_t calls, fails_at;

static bool fails(void)
{
    return ++calls == fails_at;
}
static int bad_stat(void *self, const char *path, wr_file_info *about)
{
    return fails() ? -EACCES : wr_env_real()->stat(self, path, about);
}
static int bad_open(void *self, const char *path, int flags)
{
    return fails() ? -EACCES : wr_env_real()->open(self, path, flags);
}
static int64_t bad_pread(void *self, int file, void *to, size_t bytes, int64_t offset)
{
    return fails() ? -EIO : wr_env_real()->pread(self, file, to, bytes > 10 ? 10 : bytes, offset);
}

static void what_cannot_be_read_is_not_sent(void **state)
{
    (void)state;
    char     text[32];
    wr_blob  want, piece;
    uint32_t failures = 0;
    ship(7, 0, true);
    describe(0, text, &want);
    env.stat = bad_stat;
    env.open = bad_open;
    env.pread = bad_pread;
    for (fails_at = 1;; fails_at++) {
        wr_errinfo info = {0};
        calls = 0;
        wr_err err = wr_blobs_get(blobs, 3, &want, &piece, &info);
        if (calls < fails_at) {
            assert_int_equal(err, WR_OK);
            assert_int_equal(piece.data_bytes, want.bytes);
            assert_memory_equal(piece.data, text, want.bytes);
            free((char *)(uintptr_t)piece.data);
            break;
        }
        failures++;
        assert_int_equal(err, WR_IO); /* the job is tried again: it is not missing */
        assert_true(piece.data == NULL && piece.data_bytes == 0);
    }
    assert_true(failures >= 4);
    fails_at = 0;
    want.digest[0] ^= 1;
    assert_int_equal(wr_blobs_get(blobs, 3, &want, &piece, NULL), WR_NOT_FOUND);
}

/* A bit of it, without its length. */
static void rot(uint32_t file)
{
    char    text[32], path[256], c;
    wr_blob b;
    describe(file, text, &b);
    int n = snprintf(path, sizeof path, "%s/", folder);
    for (uint32_t i = 0; i < WR_DIGEST_BYTES; i++)
        n += snprintf(path + n, sizeof path - (size_t)n, "%02x", b.digest[i]);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    c = (char)fgetc(f);
    rewind(f);
    fputc(c ^ 1, f);
    assert_int_equal(fclose(f), 0);
}

static wr_err get(uint64_t peer, uint32_t file, uint64_t offset, wr_errinfo *info)
{
    char    text[32];
    wr_blob want, piece;
    describe(file, text, &want);
    want.offset = offset;
    wr_err err = wr_blobs_get(blobs, peer, &want, &piece, info);
    if (err == WR_OK) assert_int_equal(piece.data_bytes, want.bytes - offset);
    if (err != WR_OK) assert_true(piece.data == NULL && piece.data_bytes == 0);
    free((char *)(uintptr_t)piece.data);
    return err;
}

/* Nobody runs it, and who submits a job with it once more makes it whole. */
static void a_file_that_rots_is_named_and_taken_anew(void **state)
{
    (void)state;
    char       text[32];
    uint64_t   have;
    wr_blob    b;
    wr_errinfo info = {0};
    ship(7, 0, true);
    assert_int_equal(get(3, 0, 0, &info), WR_OK);
    rot(0);
    assert_int_equal(get(3, 0, 0, &info), WR_IO);
    assert_non_null(strstr(info.text, folder));
    assert_non_null(strstr(info.text, "checksum"));
    describe(0, text, &b);
    b.data = text;
    b.data_bytes = 1;
    assert_int_equal(wr_blobs_put(blobs, 8, &b, &have, &info), WR_OK);
    assert_int_equal(have, 1); /* it is not here */
    ship(8, 0, true);
    assert_int_equal(get(3, 0, 0, &info), WR_OK);
}

/* Jobs are forgotten, and nobody says so here. */
static void files_of_forgotten_jobs_go(void **state)
{
    (void)state;
    ship(7, 0, true);
    in_job[0] = true;
    wr_blobs_peer_gone(blobs, 7);
    assert_true(pass(120000));
    assert_true(here(0));
    in_job[0] = false;
    assert_false(pass(3000000));
    assert_true(pass(600000));
    assert_false(here(0));
}

int main(void)
{
#define T(NAME) cmocka_unit_test_setup_teardown(NAME, begin, finish)
    const struct CMUnitTest tests[] = {T(what_no_job_has_goes_behind_its_client),
                                       T(who_was_told_that_it_is_there_has_it),
                                       T(what_is_on_its_way_stays),
                                       T(files_of_forgotten_jobs_go),
                                       T(what_is_too_large_is_not_begun),
                                       T(what_is_longer_than_it_was_said_is_refused),
                                       T(what_cannot_be_read_is_not_sent),
                                       T(a_file_that_rots_is_named_and_taken_anew)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
