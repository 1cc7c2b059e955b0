/* Logs in segments: where one begins, what is read across them, what is thrown away. */
#include "base/check.h"
#include "taskmanager/files.h"
#include "taskmanager/logs.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char          folder[64];
static const wr_env *env;

static int begin(void **state)
{
    (void)state;
    env = wr_env_real();
    snprintf(folder, sizeof folder, "/tmp/weir-logs-XXXXXX");
    return mkdtemp(folder) == NULL;
}
static int end(void **state)
{
    (void)state;
    wr_tm_folder_remove(env, folder);
    return access(folder, F_OK) == 0;
}

static void put(const char *path, const char *text, long bytes)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    if (bytes > 0) assert_int_equal(truncate(path, bytes), 0);
}

static uint32_t count(void)
{
    uint32_t n;
    char   **name = wr_tm_folder_list(env, folder, &n);
    free(name);
    return n;
}

static void segments_follow_each_other(void **state)
{
    (void)state;
    char       path[WR_PATH_BYTES_MAX], next[WR_PATH_BYTES_MAX], newest[WR_PATH_BYTES_MAX], text[8];
    wr_errinfo info = {0};
    uint64_t   offset = 0;
    assert_int_equal(wr_log_newest(env, folder, path, &info), WR_OK);
    assert_string_equal(strrchr(path, '/'), "/log-00000000000000000000");
    assert_false(wr_log_full(env, path, next)); /* is not there yet */
    put(path, "begin", WR_LOG_SEGMENT_BYTES - 1);
    assert_false(wr_log_full(env, path, next));
    for (int i = 0; i < 10; i++) {
        long bytes = WR_LOG_SEGMENT_BYTES + i;
        put(path, "begin", bytes);
        assert_true(wr_log_full(env, path, next));
        offset += (uint64_t)bytes;
        snprintf(newest, sizeof newest, "%.60s/log-%020llu", folder, (unsigned long long)offset);
        assert_string_equal(next, newest);
        memcpy(path, next, sizeof path);
        assert_true(count() <= WR_LOG_SEGMENTS);
    }
    put(path, "end", 0);
    assert_int_equal(wr_log_newest(env, folder, newest, &info), WR_OK);
    assert_string_equal(newest, path);
    /* An offset means the same byte for ever. */
    wr_log_piece piece = {.offset = offset};
    wr_log_read(env, folder, &piece, text, sizeof text);
    assert_true(piece.offset == offset && piece.end == offset + 3 && piece.data_bytes == 3);
    assert_memory_equal(piece.data, "end", 3);
    piece = (wr_log_piece){.offset = 5}; /* long gone */
    wr_log_read(env, folder, &piece, text, sizeof text);
    assert_true(piece.offset > 5 && piece.data_bytes == sizeof text);
    assert_memory_equal(piece.data, "begin", 5);
    piece = (wr_log_piece){.offset = offset + 99}; /* not yet */
    wr_log_read(env, folder, &piece, text, sizeof text);
    assert_true(piece.offset == offset + 3 && piece.data_bytes == 0);
}

/* Between the look at a full segment and the turn to the next one others go on writing. */
static void what_is_written_while_it_turns_stays_visible(void **state)
{
    (void)state;
    char       path[WR_PATH_BYTES_MAX], next[WR_PATH_BYTES_MAX], newest[WR_PATH_BYTES_MAX], text[16];
    wr_errinfo info = {0};
    assert_int_equal(wr_log_newest(env, folder, path, &info), WR_OK);
    put(path, "begin", WR_LOG_SEGMENT_BYTES);
    assert_true(wr_log_full(env, path, next));
    put(next, "next", 0);
    put(path, "begin", WR_LOG_SEGMENT_BYTES + 4); /* four bytes more */
    wr_log_settle(env, path, next);
    assert_int_equal(wr_log_newest(env, folder, newest, &info), WR_OK);
    assert_string_equal(newest, next);
    wr_log_piece piece = {.offset = WR_LOG_SEGMENT_BYTES};
    wr_log_read(env, folder, &piece, text, sizeof text);
    assert_true(piece.end == WR_LOG_SEGMENT_BYTES + 8 && piece.data_bytes == 8);
    assert_memory_equal(text + 4, "next", 4);
    memcpy(newest, next, sizeof next);
    wr_log_settle(env, path, next); /* it is right now */
    assert_string_equal(newest, next);
}

static void other_files_are_left_alone(void **state)
{
    (void)state;
    static const char *const names[] = {"log-1", "log-0000000000000000000x", "log-00000000000000000000.old", "LOG",
                                        "log-"};
    char                     path[WR_PATH_BYTES_MAX], next[WR_PATH_BYTES_MAX];
    wr_errinfo               info = {0};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_true(wr_tm_path(path, folder, names[i]));
        put(path, "x", WR_LOG_SEGMENT_BYTES + 1);
        assert_false(wr_log_full(env, path, next));
    }
    assert_int_equal(wr_log_newest(env, folder, path, &info), WR_OK);
    assert_string_equal(strrchr(path, '/'), "/log-00000000000000000000");
    for (uint64_t i = 0; i < 9; i++) {
        put(path, "", WR_LOG_SEGMENT_BYTES);
        assert_true(wr_log_full(env, path, next));
        memcpy(path, next, sizeof path);
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_true(wr_tm_path(path, folder, names[i]));
        assert_int_equal(access(path, F_OK), 0);
    }
}

static void nothing_is_there(void **state)
{
    (void)state;
    char         text[8];
    wr_log_piece piece = {.offset = 7};
    wr_log_read(env, "/tmp/there/is/none", &piece, text, sizeof text);
    assert_true(piece.offset == 0 && piece.end == 0 && piece.data_bytes == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(segments_follow_each_other, begin, end),
        cmocka_unit_test_setup_teardown(what_is_written_while_it_turns_stays_visible, begin, end),
        cmocka_unit_test_setup_teardown(other_files_are_left_alone, begin, end),
        cmocka_unit_test(nothing_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
