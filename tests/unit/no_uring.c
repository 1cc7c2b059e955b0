/* Runs a program as in a container that forbids io_uring: no_uring PROGRAM [ARGUMENT...]. 77: no seccomp here. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static int forbid(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_enter, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_register, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof code / sizeof code[0], .filter = code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

int main(int argc, char **argv)
{
    struct io_uring_params params = {0};
    if (argc < 2) return 2;
    if (forbid() != 0) {
        fprintf(stderr, "no_uring: no seccomp: errno %d\n", errno);
        return 77;
    }
    if (syscall(SYS_io_uring_setup, 1, &params) != -1 || errno != EPERM) {
        fprintf(stderr, "no_uring: the filter lets io_uring through\n");
        return 1;
    }
    execv(argv[1], argv + 1);
    fprintf(stderr, "no_uring: cannot run %s: errno %d\n", argv[1], errno);
    return 1;
}
