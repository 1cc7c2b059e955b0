/* Log lines: levels, form, cut, whole lines from several threads. ctest: threads */
#include "base/limits.h"
#include "base/log.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static FILE *file;

static int set_up(void **state)
{
    (void)state;
    file = tmpfile();
    return file == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    wr_log_setup(STDERR_FILENO, WR_LOG_WARN, NULL);
    return fclose(file);
}

static size_t read_all(char *text, size_t cap)
{
    ssize_t count = pread(fileno(file), text, cap - 1, 0);
    assert_true(count >= 0);
    text[count] = 0;
    return (size_t)count;
}

static int64_t noon(void *self)
{
    (void)self;
    return INT64_C(1714996800123456789);
}

static void lines(void **state)
{
    (void)state;
    char         text[1024];
    const wr_env clock = {.wall_ns = noon};
    wr_log_setup(fileno(file), WR_LOG_INFO, NULL);
    wr_log(WR_LOG_INFO, "one %d", 1);
    wr_log(WR_LOG_DEBUG, "not wanted");
    wr_log_line(WR_LOG_TRACE, "x", "not wanted");
    wr_log_line(WR_LOG_ERROR, "count[2]", "two\nlines");
    wr_log_setup(fileno(file), WR_LOG_INFO, &clock);
    wr_log(WR_LOG_WARN, "three");
    read_all(text, sizeof text);
    assert_string_equal(text, "info  one 1\nerror count[2]: two lines\n2024-05-06T12:00:00.123Z warn  three\n");
    wr_log_level level = WR_LOG_ERROR;
    assert_true(wr_log_level_of("debug", &level) && level == WR_LOG_DEBUG);
    assert_false(wr_log_level_of("loud", &level));
}

static void cut(void **state)
{
    (void)state;
    static char text[3 * WR_LOG_LINE_BYTES_MAX], filler[2 * WR_LOG_LINE_BYTES_MAX];
    memset(filler, 'x', sizeof filler - 1);
    wr_log_setup(fileno(file), WR_LOG_INFO, NULL);
    wr_log_line(WR_LOG_INFO, NULL, "%s", filler);
    wr_log_line(WR_LOG_INFO, filler, "text");
    size_t count = read_all(text, sizeof text);
    char  *end = strchr(text, '\n');
    assert_non_null(end);
    assert_true(end - text <= WR_LOG_LINE_BYTES_MAX && end - text > WR_LOG_LINE_BYTES_MAX - 10);
    assert_true(count <= 2 * WR_LOG_LINE_BYTES_MAX && text[count - 1] == '\n');
}

enum { THREADS = 4, LINES = 500 };

static void talk(void *arg)
{
    for (int i = 0; i < LINES; i++) wr_log_line(WR_LOG_INFO, NULL, "%s", (const char *)arg);
}

static void whole_lines(void **state)
{
    (void)state;
    static char  *words[THREADS] = {"aaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbb", "cccccccccccccccccccc",
                                    "dddddddddddddddddddd"};
    const wr_env *env = wr_env_real();
    wr_thread    *thread[THREADS];
    wr_log_setup(fileno(file), WR_LOG_INFO, NULL);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(env->thread_start(env->self, &thread[i], talk, words[i], "talk", -1), 0);
    for (int i = 0; i < THREADS; i++) env->thread_join(env->self, thread[i]);
    static char text[THREADS * LINES * 32];
    read_all(text, sizeof text);
    int counts[THREADS] = {0};
    for (char *line = text, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        *end = 0;
        int found = -1;
        for (int i = 0; i < THREADS; i++)
            if (strcmp(line + 6, words[i]) == 0) found = i;
        assert_true(found >= 0);
        counts[found]++;
    }
    for (int i = 0; i < THREADS; i++) assert_int_equal(counts[i], LINES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lines, set_up, tear_down),
        cmocka_unit_test_setup_teardown(cut, set_up, tear_down),
        cmocka_unit_test_setup_teardown(whole_lines, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
