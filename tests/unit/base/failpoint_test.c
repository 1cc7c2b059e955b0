/* Places to be killed at: off by default, and then exactly the n-th time. Each case is a process of its own. */
#include "base/failpoint.h"
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* How often the child came by before it was killed; -1: it was not. */
static int comes_by(const char *setting)
{
    int   ends[2], times = 0;
    char  byte;
    int   status;
    pid_t pid;
    assert_int_equal(pipe(ends), 0);
    pid = fork();
    if (pid == 0) {
        if (setting != NULL) setenv("WEIR_FAILPOINT", setting, 1);
        for (int i = 0; i < 10; i++) {
            wr_failpoint("another");
            if (write(ends[1], "x", 1) != 1) _exit(2);
            wr_failpoint("place");
        }
        _exit(0);
    }
    close(ends[1]);
    while (read(ends[0], &byte, 1) == 1) times++;
    close(ends[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return -1;
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    return times;
}

static void kills(void **state)
{
    (void)state;
    assert_int_equal(comes_by(NULL), -1);
    assert_int_equal(comes_by(""), -1);
    assert_int_equal(comes_by("place"), 1);
    assert_int_equal(comes_by("place:1"), 1);
    assert_int_equal(comes_by("place:7"), 7);
    assert_int_equal(comes_by("place:11"), -1);
    assert_int_equal(comes_by("place:0"), -1);
    assert_int_equal(comes_by("place:x"), -1);
    assert_int_equal(comes_by("plac"), -1);
    assert_int_equal(comes_by("places:2"), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(kills)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
