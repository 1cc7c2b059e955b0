/* tests/unit/no_uring.h: the same tests once more as in a container that forbids io_uring. */
#ifndef WR_TESTS_NO_URING_H
#define WR_TESTS_NO_URING_H
#include "base/env.h"
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static inline int no_uring_forbid(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof code / sizeof code[0], .filter = code};
    int               got = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    return got == 0 ? prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) : got;
}

/* Runs all tests in a child under the filter, then here; how many failed, or more. */
static inline int no_uring_run(int (*tests)(void))
{
#ifdef WR_TSAN /* no threads in a child that was forked */
    return tests();
#endif
    int   status = 0;
    pid_t child = fork();
    if (child == 0) {
        if (no_uring_forbid() != 0) _exit(0); /* there is no seccomp here */
        printf("without io_uring:\n");
        int failed = tests();
        fflush(NULL);
        _exit(failed != 0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0) return 1;
    return tests();
}
#endif
