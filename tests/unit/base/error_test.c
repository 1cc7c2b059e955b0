/* The error table, and checks that end the process. */
#include "base/check.h"
#include "base/error.h"
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void table(void **state)
{
    (void)state;
    assert_string_equal(wr_err_name(WR_OK), "OK");
    assert_int_equal(wr_err_exit(WR_OK), 0);
    assert_string_equal(wr_err_name(WR_NOT_FOUND), "NOT_FOUND");
    assert_string_equal(wr_err_name((wr_err)9999), "?");
    assert_int_equal(wr_err_exit((wr_err)9999), 1);
    /* What the documentation promises. */
    assert_int_equal(wr_err_exit(WR_USAGE), 2);
    assert_int_equal(wr_err_exit(WR_GRAPH), 2);
    assert_int_equal(wr_err_exit(WR_NOT_YET), 2);
    assert_int_equal(wr_err_exit(WR_BAD_RECORD), 5);
    assert_int_equal(wr_err_exit(WR_CRASH), 5);
    assert_int_equal(wr_err_exit(WR_TIMEOUT), 6);
    assert_int_equal(wr_err_exit(WR_WRONG_ABI), 7);
    assert_int_equal(wr_err_exit(WR_PERMISSION), 8);
    assert_int_equal(wr_err_exit(WR_CANCELED), 130);
    /* Every row has a text, and no number stands twice. */
    static const wr_err ALL[] = {
#define CODE(NAME, NUMBER, EXIT, REACTION, TEXT) WR_##NAME,
        WR_ERRORS(CODE)
#undef CODE
    };
    for (size_t i = 0; i < sizeof ALL / sizeof ALL[0]; i++) {
        assert_true(strlen(wr_err_text(ALL[i])) > 0 && wr_err_exit(ALL[i]) > 0);
        for (size_t j = 0; j < i; j++) assert_true(ALL[i] != ALL[j]);
    }
}

static void first_wins(void **state)
{
    (void)state;
    wr_errinfo info = {0};
    assert_int_equal(wr_fail(&info, WR_IO, "cannot read %s", "x"), WR_IO);
    assert_int_equal(wr_fail(&info, WR_GRAPH, "later"), WR_GRAPH);
    assert_int_equal(info.code, WR_IO);
    assert_string_equal(info.text, "cannot read x");
    assert_int_equal(wr_fail(NULL, WR_GRAPH, "nobody listens"), WR_GRAPH);
    wr_errinfo_init(&info);
    assert_int_equal(wr_fail_errno(&info, ENOENT, "cannot open %s", "y"), WR_NOT_FOUND);
    assert_string_equal(info.text, "cannot open y: No such file or directory");
    wr_errinfo_init(&info);
    char text[3000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    wr_fail_errno(&info, EACCES, "%s", text);
    assert_int_equal(strlen(info.text), sizeof info.text - 1);
    assert_int_equal(wr_err_of_errno(EACCES), WR_PERMISSION);
    assert_int_equal(wr_err_of_errno(EIO), WR_IO);
    assert_int_equal(wr_err_of_errno(0), WR_OK);
}

static wr_err fails_at(int step, wr_errinfo *info)
{
    WR_TRY(step == 1 ? wr_fail(info, WR_URI, "one") : WR_OK);
    wr_err err;
    WR_GOTO(step == 2 ? wr_fail(info, WR_OPTION, "two") : WR_OK);
    return WR_OK;
out:
    return err;
}

static void macros(void **state)
{
    (void)state;
    wr_errinfo info = {0};
    assert_int_equal(fails_at(0, &info), WR_OK);
    assert_int_equal(fails_at(1, &info), WR_URI);
    assert_int_equal(fails_at(2, NULL), WR_OPTION);
}

static void printed(void **state)
{
    (void)state;
    wr_errinfo info = {0};
    char      *text = NULL;
    size_t     count;
    FILE      *file = open_memstream(&text, &count);
    wr_err_print(file, &info);
    wr_fail(&info, WR_GRAPH, "a cycle; at operator 'a'; use weir_feedback");
    wr_err_print(file, &info);
    fclose(file);
    assert_string_equal(text, "weir: error[E0301 GRAPH]: a cycle; at operator 'a'; use weir_feedback\n");
    free(text);
}

static void check_aborts(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        signal(SIGABRT, SIG_DFL);
        int two = 2;
        check(two == 2);
        check(two == 3);
        _exit(0);
    }
    close(ends[1]);
    char    text[300];
    ssize_t count = read(ends[0], text, sizeof text - 1);
    close(ends[0]);
    assert_true(count > 0);
    text[count] = 0;
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_ptr_equal(strstr(text, "weir: check failed: two == 3; at "), text);
    assert_non_null(strstr(text, "error_test.c:"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table),   cmocka_unit_test(first_wins),   cmocka_unit_test(macros),
        cmocka_unit_test(printed), cmocka_unit_test(check_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
