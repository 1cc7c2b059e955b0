/* Storage in the background: the same tests over io_uring and over the helper thread. ctest: threads */
#include "base/env_io.h"
#include "base/limits.h"
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#ifdef WR_TSAN /* ends a child that starts threads */
enum { CAN_FORK = 0 };
#else
enum { CAN_FORK = 1 };
#endif
enum { DEPTH = 8, BLOCK = WR_KIB(64), BLOCKS = 40 };

/* One test's folder, parker and queue. */
typedef struct fixture {
    const wr_env *env;
    wr_parker     parker;
    wr_io        *io;
    char          folder[32], path[64];
} fixture;

static void wish(void **state)
{
    bool thread = *state != NULL;
    if (thread)
        setenv("WEIR_IO", "thread", 1);
    else
        unsetenv("WEIR_IO");
}

static void begin(fixture *f, void **state)
{
    wish(state);
    *f = (fixture){.env = wr_env_real(), .folder = "/tmp/weir-io-XXXXXX"};
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->path, sizeof f->path, "%s/file", f->folder);
    assert_int_equal(f->env->parker_init(f->env->self, &f->parker), 0);
    assert_int_equal(f->env->io_new(f->env->self, &f->io, &f->parker, DEPTH), 0);
    if (*state != NULL) assert_string_equal(wr_io_real_name(f->io), "thread");
}

static void finish(fixture *f)
{
    f->env->io_free(f->env->self, f->io);
    f->env->parker_fini(f->env->self, &f->parker);
    unlink(f->path);
    assert_int_equal(rmdir(f->folder), 0);
}

static int open_file(fixture *f, int flags)
{
    int file = f->env->open(f->env->self, f->path, flags);
    assert_true(file >= 0);
    return file;
}

/* Parks until something can be reaped: hangs, and so fails, when a completion wakes nobody. */
static wr_io_done wait_one(fixture *f)
{
    wr_io_done done;
    for (;;) {
        wr_parker_prepare(&f->parker);
        if (f->env->io_reap(f->env->self, f->io, &done, 1) == 1) {
            wr_parker_cancel(&f->parker);
            return done;
        }
        f->env->park(f->env->self, &f->parker, -1);
    }
}

static wr_io_done run_one(fixture *f, wr_io_op op)
{
    op.tag = 77;
    assert_int_equal(f->env->io_submit(f->env->self, f->io, &op), 0);
    wr_io_done done = wait_one(f);
    assert_int_equal(done.tag, 77);
    return done;
}

static char *aligned(size_t bytes)
{
    char *memory = aligned_alloc(WR_PAGE_BYTES, bytes);
    assert_non_null(memory);
    return memory;
}

static void write_blocks(fixture *f, int file, const char *memory)
{
    bool     written[BLOCKS] = {false};
    uint32_t submitted = 0, reaped = 0;
    while (reaped < BLOCKS) {
        while (submitted < BLOCKS) {
            wr_io_op op = {WR_IO_WRITE,
                           file,
                           (char *)(uintptr_t)memory + (size_t)submitted * BLOCK,
                           BLOCK,
                           (int64_t)submitted * BLOCK,
                           submitted};
            int      result = f->env->io_submit(f->env->self, f->io, &op);
            if (result == -EAGAIN) break;
            assert_int_equal(result, 0);
            submitted++;
        }
        assert_true(submitted - reaped <= DEPTH);
        wr_io_done done = wait_one(f);
        assert_int_equal(done.result, BLOCK);
        assert_true(done.tag < BLOCKS && !written[done.tag]);
        written[done.tag] = true;
        reaped++;
    }
}

static void round_trip(void **state, int direct)
{
    fixture f;
    begin(&f, state);
    char *from = aligned(BLOCK * BLOCKS), *to = aligned(BLOCK * BLOCKS);
    for (size_t i = 0; i < BLOCK * BLOCKS; i++) from[i] = (char)(i * 31 + i / 4096);
    int file = open_file(&f, WR_OPEN_READ_WRITE | WR_OPEN_CREATE | direct);
    write_blocks(&f, file, from);
    assert_int_equal(run_one(&f, (wr_io_op){.kind = WR_IO_SYNC, .file = file}).result, 0);
    wr_io_op all = {WR_IO_READ, file, to, BLOCK * BLOCKS, 0, 0};
    assert_int_equal(run_one(&f, all).result, BLOCK * BLOCKS);
    assert_memory_equal(from, to, BLOCK * BLOCKS);
    f.env->close(f.env->self, file);
    free(from);
    free(to);
    finish(&f);
}

static void buffered(void **state)
{
    round_trip(state, 0);
}
static void direct(void **state)
{
    round_trip(state, WR_OPEN_DIRECT);
}

/* Reads are short at the end of a file only, also where that is not aligned and the file is open for direct reads. */
static void end_of_file(void **state)
{
    fixture f;
    begin(&f, state);
    char *memory = aligned(BLOCK);
    memset(memory, 'x', BLOCK);
    int file = open_file(&f, WR_OPEN_READ_WRITE | WR_OPEN_CREATE);
    assert_int_equal(run_one(&f, (wr_io_op){WR_IO_WRITE, file, memory, 10001, 0, 0}).result, 10001);
    assert_int_equal(run_one(&f, (wr_io_op){WR_IO_READ, file, memory, BLOCK, 0, 0}).result, 10001);
    assert_int_equal(run_one(&f, (wr_io_op){WR_IO_READ, file, memory, BLOCK, 10001, 0}).result, 0);
    f.env->close(f.env->self, file);
    file = open_file(&f, WR_OPEN_READ | WR_OPEN_DIRECT);
    assert_int_equal(run_one(&f, (wr_io_op){WR_IO_READ, file, memory, BLOCK, 0, 0}).result, 10001);
    assert_int_equal(run_one(&f, (wr_io_op){WR_IO_READ, file, memory, WR_PAGE_BYTES, 8192, 0}).result, 10001 - 8192);
    f.env->close(f.env->self, file);
    free(memory);
    finish(&f);
}

static void full_queue(void **state)
{
    fixture f;
    begin(&f, state);
    int      file = open_file(&f, WR_OPEN_READ_WRITE | WR_OPEN_CREATE);
    wr_io_op op = {WR_IO_WRITE, file, f.path, 8, 0, 0};
    for (int i = 0; i < DEPTH; i++) assert_int_equal(f.env->io_submit(f.env->self, f.io, &op), 0);
    assert_int_equal(f.env->io_submit(f.env->self, f.io, &op), -EAGAIN); /* done perhaps, but not reaped */
    for (int i = 0; i < DEPTH; i++) assert_int_equal(wait_one(&f).result, 8);
    wr_io_done done;
    assert_int_equal(f.env->io_reap(f.env->self, f.io, &done, 1), 0);
    assert_int_equal(run_one(&f, op).result, 8);
    f.env->close(f.env->self, file);
    finish(&f);
}

/* What is under way is done before io_free returns: its memory may go then. */
static void free_waits(void **state)
{
    fixture f;
    begin(&f, state);
    char *memory = aligned(BLOCK);
    memset(memory, 'y', BLOCK);
    int file = open_file(&f, WR_OPEN_READ_WRITE | WR_OPEN_CREATE);
    for (int i = 0; i < DEPTH; i++) {
        wr_io_op op = {WR_IO_WRITE, file, memory, BLOCK, (int64_t)i * BLOCK, 0};
        assert_int_equal(f.env->io_submit(f.env->self, f.io, &op), 0);
    }
    f.env->io_free(f.env->self, f.io);
    memset(memory, 'z', BLOCK);
    wr_file_info info;
    assert_int_equal(f.env->stat(f.env->self, f.path, &info), 0);
    assert_int_equal(info.bytes, DEPTH * BLOCK);
    assert_int_equal(f.env->pread(f.env->self, file, memory, 1, (DEPTH - 1) * BLOCK), 1);
    assert_int_equal(memory[0], 'y');
    f.env->close(f.env->self, file);
    free(memory);
    assert_int_equal(f.env->io_new(f.env->self, &f.io, NULL, 1), 0); /* without a parker */
    wr_io_op op = {WR_IO_READ, -1, f.path, 1, 0, 5};
    assert_int_equal(f.env->io_submit(f.env->self, f.io, &op), 0);
    wr_io_done done;
    while (f.env->io_reap(f.env->self, f.io, &done, 1) == 0) sched_yield();
    assert_int_equal(done.result, -EBADF);
    finish(&f);
}

static void errors(void **state)
{
    fixture f;
    begin(&f, state);
    char *memory = aligned(BLOCK);
    memset(memory, 'x', BLOCK);
    int file = open_file(&f, WR_OPEN_READ_WRITE | WR_OPEN_CREATE);
    f.env->close(f.env->self, file);
    assert_int_equal(run_one(&f, (wr_io_op){WR_IO_WRITE, file, memory, BLOCK, 0, 0}).result, -EBADF);
    assert_int_equal(run_one(&f, (wr_io_op){.kind = WR_IO_SYNC, .file = file}).result, -EBADF);
    file = f.env->open(f.env->self, "/dev/full", WR_OPEN_WRITE);
    assert_true(file >= 0);
    assert_int_equal(run_one(&f, (wr_io_op){WR_IO_WRITE, file, memory, BLOCK, 0, 0}).result, -ENOSPC);
    f.env->close(f.env->self, file);
    file = open_file(&f, WR_OPEN_READ);
    assert_int_equal(run_one(&f, (wr_io_op){WR_IO_WRITE, file, memory, BLOCK, 0, 0}).result, -EBADF);
    f.env->close(f.env->self, file);
    free(memory);
    finish(&f);
}

/* A disk that has room for a part of a write: the system writes that part, the caller sees the error. */
static void full_disk(void **state)
{
    fixture f;
    if (geteuid() != 0 || unshare(CLONE_NEWNS) != 0) {
        print_message("not root, or no mounts here: skipped\n");
        return;
    }
    begin(&f, state);
    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
    if (mount("tmpfs", f.folder, "tmpfs", 0, "size=256k") == 0) {
        char *memory = aligned(BLOCK * 8);
        memset(memory, 'x', BLOCK * 8);
        int file = open_file(&f, WR_OPEN_READ_WRITE | WR_OPEN_CREATE | WR_OPEN_DIRECT); /* old kernels: not on tmpfs */
        assert_int_equal(run_one(&f, (wr_io_op){WR_IO_WRITE, file, memory, BLOCK * 8, 0, 0}).result, -ENOSPC);
        f.env->close(f.env->self, file);
        free(memory);
        assert_int_equal(umount(f.folder), 0);
    }
    finish(&f);
}

/* A file that ends where the process may write no more: a short write, then an error. */
static void too_large(void **state)
{
    if (!CAN_FORK) return;
    fixture f;
    begin(&f, state);
    pid_t child = fork();
    if (child == 0) {
        struct rlimit  limit = {100000, 100000};
        struct rlimit *set = &limit;
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, set);
        wr_io *io;
        wish(state);
        if (f.env->io_new(f.env->self, &io, NULL, 1) != 0) _exit(1);
        char      *memory = calloc(2, 100000);
        int        file = f.env->open(f.env->self, f.path, WR_OPEN_READ_WRITE | WR_OPEN_CREATE);
        wr_io_op   op = {WR_IO_WRITE, file, memory, 200000, 0, 9};
        wr_io_done done;
        if (f.env->io_submit(f.env->self, io, &op) != 0) _exit(2);
        while (f.env->io_reap(f.env->self, io, &done, 1) == 0) sched_yield();
        f.env->io_free(f.env->self, io);
        free(memory);
        _exit(done.result == -EFBIG && done.tag == 9 ? 0 : 3);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    finish(&f);
}

/* Files whose system knows no direct access, and one where an exclusive create is refused late. */
static void direct_falls_back(void **state)
{
    (void)state;
    const wr_env *env = wr_env_real();
    char          byte;
    int           file = env->open(env->self, "/proc/version", WR_OPEN_READ | WR_OPEN_DIRECT);
    assert_true(file >= 0);
    assert_int_equal(env->read(env->self, file, &byte, 1), 1);
    env->close(env->self, file);
    if (access("/dev/shm", W_OK) != 0) return;
    char path[64];
    snprintf(path, sizeof path, "/dev/shm/weir-io-%d", (int)getpid());
    int flags = WR_OPEN_WRITE | WR_OPEN_CREATE | WR_OPEN_EXCLUSIVE | WR_OPEN_DIRECT;
    file = env->open(env->self, path, flags);
    assert_true(file >= 0);
    assert_int_equal(env->open(env->self, path, flags), -EEXIST);
    env->close(env->self, file);
    unlink(path);
}

/* As in a container that forbids io_uring. */
static void forbidden(void **state)
{
    (void)state;
    if (!CAN_FORK) return;
    pid_t child = fork();
    if (child == 0) {
        struct sock_filter code[] = {
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog program = {.len = sizeof code / sizeof code[0], .filter = code};
        unsetenv("WEIR_IO");
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
            _exit(0); /* no seccomp here */
        wr_io *io;
        if (wr_io_real_new(NULL, &io, NULL, 4) != 0) _exit(1);
        bool thread = strcmp(wr_io_real_name(io), "thread") == 0;
        wr_io_real_free(NULL, io);
        _exit(thread ? 0 : 2);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

int main(void)
{
    static char thread;
#define BOTH(TEST)                                                                                                     \
    {#TEST "/io_uring", TEST, NULL, NULL, NULL},                                                                       \
    {                                                                                                                  \
#TEST "/thread", TEST, NULL, NULL, &thread                                                                     \
    }
    const struct CMUnitTest tests[] = {
        BOTH(buffered),
        BOTH(direct),
        BOTH(end_of_file),
        BOTH(full_queue),
        BOTH(free_waits),
        BOTH(errors),
        BOTH(full_disk),
        BOTH(too_large),
        cmocka_unit_test(direct_falls_back),
        cmocka_unit_test(forbidden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
