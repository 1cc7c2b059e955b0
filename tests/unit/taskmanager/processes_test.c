/* Real worker processes: this program once more, as "worker", which does what it is told over its socket. */
#include "base/check.h"
#include "base/text.h"
#include "net/peers_pair.h"
#include "taskmanager/crash.h"
#include "taskmanager/files.h"
#include "taskmanager/processes.h"
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/* ---- the worker ---- */

static void say(wr_peers *p, uint64_t up, const char *text)
{
    p->send(p->self, up, strdup(text), strlen(text));
}

/* What it finds when it is born. */
static void describe(wr_peers *p, uint64_t up)
{
    char        text[512], folder[256] = "";
    struct stat log, out;
    mode_t      mask = umask(0);
    bool        same = fstat(1, &out) == 0 && fstat(2, &log) == 0 && out.st_ino == log.st_ino;
    check(getcwd(folder, sizeof folder) != NULL);
    snprintf(text, sizeof text, "%s mask %o leads %d log %d null %d", folder, mask, getsid(0) == getpid(), same,
             read(0, folder, 1) == 0);
    say(p, up, text);
}

static void eat(void)
{
    for (;;) {
        char *p = malloc(1 << 20);
        while (p == NULL) pause(); /* what it has is more than enough */
        memset(p, 1, 1 << 20);
        __asm__ volatile("" : : "r"(p) : "memory"); /* a compiler that sees through it leaves all of it out */
    }
}

static void obey(wr_peers_pair *pair, wr_peers *p, uint64_t up, const char *what)
{
    if (strcmp(what, "describe") == 0) {
        describe(p, up);
    } else if (strcmp(what, "take") == 0) {
        char   bytes[WR_HELLO_BYTES];
        size_t n = 0;
        int    socket;
        while ((socket = wr_peers_pair_take(pair, up, bytes, sizeof bytes, &n)) < 0) {
            wr_peer_event e;
            if (p->next(p->self, &e) && e.kind == WR_PEER_MESSAGE) free(e.bytes);
        }
        check(n == WR_HELLO_BYTES && write(socket, "given", 5) == 5);
        close(socket);
    } else if (strcmp(what, "print") == 0) {
        puts("out");
        fflush(stdout);
        fputs("err\n", stderr);
        say(p, up, "printed");
    } else if (strcmp(what, "report") == 0) {
        static const char text[] =
            "@7\nweir: error[E0506 CRASH]: it crashed; operator x\n  #0  raise  at ./libc.c:1\n  #1  f  at a.c:3\n";
        check(write(WR_WORKER_REPORT, text, sizeof text - 1) == sizeof text - 1);
        _exit(5);
    } else if (strcmp(what, "child") == 0) {
        int  ready[2];
        char byte, text[32];
        check(pipe(ready) == 0);
        pid_t child = fork();
        if (child == 0) {
            check(write(ready[1], "x", 1) == 1);
            for (;;) pause();
        }
        check(read(ready[0], &byte, 1) == 1);
        snprintf(text, sizeof text, "%d", (int)child);
        say(p, up, text);
    } else if (strcmp(what, "crash") == 0) {
        wr_crash_install(NULL);
        wr_crash_report_to(WR_WORKER_REPORT);
        wr_crash_in("the build function of x");
        abort();
    } else if (strcmp(what, "exit") == 0) {
        wr_crash_install(NULL);
        wr_crash_report_to(WR_WORKER_REPORT);
        wr_crash_at_exit(false);
        wr_crash_in("the build function of x");
        exit(3);
    } else if (strcmp(what, "hang") == 0) {
        wr_crash_install(NULL);
        wr_crash_report_to(WR_WORKER_REPORT);
        raise(wr_crash_hang_signal(9));
    } else if (strcmp(what, "eat") == 0) {
        eat();
    } else if (strcmp(what, "die") == 0) {
        kill(getpid(), SIGKILL);
    } else {
        _exit(what[0] - '0');
    }
}

static int be_worker(void)
{
    wr_peers_pair *pair;
    wr_errinfo     info = {0};
    check(wr_peers_pair_new(&pair, wr_env_real(), &info) == WR_OK);
    uint64_t  up = wr_peers_pair_add(pair, WR_WORKER_SOCKET);
    wr_peers *p = wr_peers_pair_table(pair);
    for (;;) {
        wr_peer_event e;
        wr_parker     none = {0};
        int           fd = wr_peers_pair_fd(pair);
        if (!p->next(p->self, &e)) {
            check(wr_env_real()->parker_init(NULL, &none) == 0);
            wr_parker_prepare(&none);
            wr_env_real()->park_fds(NULL, &none, -1, &fd, 1);
            wr_env_real()->parker_fini(NULL, &none);
            continue;
        }
        if (e.kind == WR_PEER_CLOSED) _exit(44);
        char what[64] = "";
        if (e.kind == WR_PEER_MESSAGE && e.n < sizeof what) memcpy(what, e.bytes, e.n);
        free(e.bytes);
        obey(pair, p, up, what);
    }
}

/* ---- the TaskManager ---- */

typedef struct world {
    char               folder[64], log[96];
    wr_peers_pair     *pair;
    wr_peers          *peers;
    wr_real_processes *processes;
    wr_processes      *table;
} world;

static int begin(void **state)
{
    world     *w = calloc(1, sizeof *w);
    wr_errinfo info = {0};
    check(w != NULL);
    snprintf(w->folder, sizeof w->folder, "/tmp/weir-processes-XXXXXX");
    check(mkdtemp(w->folder) != NULL);
    snprintf(w->log, sizeof w->log, "%s/log", w->folder);
    check(wr_peers_pair_new(&w->pair, wr_env_real(), &info) == WR_OK);
    check(wr_real_processes_new(&w->processes, wr_env_real(), w->pair, NULL, &info) == WR_OK);
    w->peers = wr_peers_pair_table(w->pair);
    w->table = wr_real_processes_table(w->processes);
    *state = w;
    return 0;
}

static int end(void **state)
{
    world *w = *state;
    wr_real_processes_free(w->processes);
    wr_peers_pair_free(w->pair);
    wr_tm_folder_remove(wr_env_real(), w->folder);
    free(w);
    return 0;
}

static uint64_t start(world *w, uint64_t memory_max, uint64_t *process)
{
    uint64_t              peer = 0;
    wr_errinfo            info = {0};
    const wr_process_spec spec = {.job = 1, .attempt = 1, .folder = w->folder, .log = w->log, .memory_max = memory_max};
    if (w->table->start(w->table->self, &spec, process, &peer, &info) != WR_OK) fail_msg("%s", info.text);
    return peer;
}

static void tell(world *w, uint64_t peer, const char *what)
{
    w->peers->send(w->peers->self, peer, strdup(what), strlen(what));
}

/* Waits at both descriptors until one of them has something. */
static void wait(world *w)
{
    wr_parker     parker = {0};
    const wr_env *env = wr_env_real();
    const int     fd[2] = {wr_peers_pair_fd(w->pair), wr_real_processes_fd(w->processes)};
    int64_t       due = wr_real_processes_due_ns(w->processes);
    assert_int_equal(env->parker_init(NULL, &parker), 0);
    wr_parker_prepare(&parker);
    env->park_fds(NULL, &parker, due == INT64_MAX ? -1 : 50000000, fd, 2);
    env->parker_fini(NULL, &parker);
}

/* Its next message, as text. */
static void hear(world *w, uint64_t peer, char *to, size_t room)
{
    wr_peer_event e;
    for (;;) {
        if (!w->peers->next(w->peers->self, &e)) {
            wait(w);
            continue;
        }
        if (e.kind != WR_PEER_MESSAGE) fail_msg("the worker is gone");
        assert_true(e.peer == peer && e.n < room);
        memcpy(to, e.bytes, e.n);
        to[e.n] = 0;
        free(e.bytes);
        return;
    }
}

static void see_end(world *w, uint64_t process, wr_process_end *e)
{
    memset(e, 0, sizeof *e);
    while (!w->table->ended(w->table->self, e)) {
        wr_peer_event event;
        while (w->peers->next(w->peers->self, &event)) {
            if (event.kind == WR_PEER_MESSAGE) free(event.bytes);
        }
        wait(w);
    }
    assert_int_equal(e->process, process);
    assert_int_equal(wr_real_processes_pid(w->processes, process), 0);
}

static void do_and_end(world *w, const char *what, wr_process_end *e)
{
    uint64_t process, peer = start(w, 0, &process);
    tell(w, peer, what);
    see_end(w, process, e);
}

static void is_born_alone(void **state)
{
    world   *w = *state;
    char     text[512], want[256];
    uint64_t process, peer = start(w, 0, &process);
    tell(w, peer, "describe");
    hear(w, peer, text, sizeof text);
    snprintf(want, sizeof want, "%s mask 7 leads 1 log 1 null 1", w->folder);
    assert_string_equal(text, want);
    tell(w, peer, "print");
    hear(w, peer, text, sizeof text);
    assert_true(wr_tm_text_read(wr_env_real(), w->log, text, sizeof text));
    assert_string_equal(text, "out\nerr\n");
}

static void gets_connections(void **state)
{
    world              *w = *state;
    int                 pair[2];
    char                text[8] = "";
    uint64_t            process, peer = start(w, 0, &process);
    const wr_data_hello hello = {.job = 1, .attempt = 1, .to_slot = 1};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    w->table->give(w->table->self, process, pair[1], &hello);
    tell(w, peer, "take");
    assert_int_equal(read(pair[0], text, 5), 5);
    assert_string_equal(text, "given");
    assert_int_equal(read(pair[0], text, 1), 0); /* nobody else has it */
    close(pair[0]);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    w->table->give(w->table->self, 99, pair[1], &hello); /* no such process: closed */
    assert_int_equal(read(pair[0], text, 1), 0);
    close(pair[0]);
}

static void ends_of_all_kinds(void **state)
{
    world         *w = *state;
    wr_process_end e;
    do_and_end(w, "3", &e);
    assert_true(e.signal == 0 && e.exit_code == 3 && e.subtask == UINT32_MAX);
    assert_int_equal(e.info.code, WR_CRASH);
    assert_non_null(strstr(e.info.text, "exit code 3"));
    do_and_end(w, "die", &e);
    assert_true(e.signal == SIGKILL && e.info.code == WR_CRASH);
    assert_non_null(strstr(e.info.text, "signal 9"));
    do_and_end(w, "report", &e);
    assert_int_equal(e.subtask, 7);
    assert_string_equal(e.info.text, "it crashed; operator x; in f  at a.c:3");
    assert_non_null(strstr(e.report, "#0  raise"));
    assert_true(strncmp(e.report, "weir: error", 11) == 0);
    uint64_t process;
    start(w, 0, &process);
    w->table->kill(w->table->self, process);
    see_end(w, process, &e);
    assert_int_equal(e.info.code, WR_OK); /* we know why */
}

static void a_lost_supervisor_is_noticed(void **state)
{
    world         *w = *state;
    wr_process_end e;
    uint64_t       process, peer = start(w, 0, &process);
    w->peers->close(w->peers->self, peer);
    see_end(w, process, &e);
    assert_int_equal(e.exit_code, 44);
}

static void programs_that_it_started_go_with_it(void **state)
{
    world         *w = *state;
    wr_process_end e;
    char           text[32];
    uint64_t       process, peer = start(w, 0, &process);
    tell(w, peer, "child");
    hear(w, peer, text, sizeof text);
    uint64_t number = 0;
    assert_true(wr_text_to_u64(text, strlen(text), &number));
    pid_t child = (pid_t)number;
    assert_int_equal(kill(child, 0), 0);
    w->table->kill(w->table->self, process);
    see_end(w, process, &e);
    char path[64], stat[512];
    snprintf(path, sizeof path, "/proc/%d/stat", child);
    for (int i = 0; wr_tm_text_read(wr_env_real(), path, stat, sizeof stat) && strstr(stat, ") Z ") == NULL; i++) {
        sched_yield(); /* killed, and on its way */
        if (i > 1000000) fail_msg("process %d lives on", child);
    }
}

static void what_cannot_be_started_is_said(void **state)
{
    world                *w = *state;
    uint64_t              process = 0, peer = 0;
    wr_errinfo            info = {0};
    const wr_process_spec spec = {.folder = "/tmp/there/is/none", .log = w->log};
    assert_int_not_equal(w->table->start(w->table->self, &spec, &process, &peer, &info), WR_OK);
    assert_non_null(strstr(info.text, "/tmp/there/is/none"));
    wr_real_processes *other;
    wr_errinfo         why = {0};
    assert_int_equal(wr_real_processes_new(&other, wr_env_real(), w->pair, "/tmp/there/is/no/program", &info), WR_OK);
    wr_processes         *table = wr_real_processes_table(other);
    const wr_process_spec good = {.folder = w->folder, .log = w->log};
    assert_int_equal(table->start(table->self, &good, &process, &peer, &why), WR_NOT_FOUND);
    wr_real_processes_free(other);
}

/* A log that cannot be written, since the disk is full or it is gone, keeps nobody from running. */
static void a_log_that_cannot_be_written_does_not_matter(void **state)
{
    world   *w = *state;
    char     text[512];
    uint64_t process;
    snprintf(w->log, sizeof w->log, "%s/none/log", w->folder);
    uint64_t peer = start(w, 0, &process);
    tell(w, peer, "print");
    hear(w, peer, text, sizeof text);
    assert_string_equal(text, "printed");
    snprintf(w->log, sizeof w->log, "/dev/full");
    peer = start(w, 0, &process);
    tell(w, peer, "print");
    hear(w, peer, text, sizeof text);
    assert_string_equal(text, "printed");
}

static void crashes_are_reported(void **state)
{
    world         *w = *state;
    wr_process_end e;
    if (SANITIZED) skip(); /* the sanitizer reports by itself */
    do_and_end(w, "crash", &e);
    assert_int_equal(e.exit_code, WR_EXIT_JOB_FAILED);
    assert_int_equal(e.info.code, WR_CRASH);
    assert_non_null(strstr(e.info.text, "SIGABRT: abort() was called; in the build function of x"));
    do_and_end(w, "exit", &e);
    assert_non_null(strstr(e.info.text, "it called exit(3); in the build function of x"));
    do_and_end(w, "hang", &e);
    assert_non_null(strstr(e.info.text, "did not return for 9 s"));
}

static void too_much_memory_ends_it(void **state)
{
    world         *w = *state;
    wr_process_end e;
    if (SANITIZED) skip(); /* their shadows count as data */
    uint64_t process, peer = start(w, 64 << 20, &process);
    tell(w, peer, "eat");
    see_end(w, process, &e);
    assert_true(e.out_of_memory);
    assert_int_equal(e.info.code, WR_CRASH);
    assert_non_null(strstr(e.info.text, "of 64 MiB"));
}

int main(int argc, char *argv[])
{
    if (argc == 2 && strcmp(argv[1], "worker") == 0) return be_worker();
#define TEST(NAME) cmocka_unit_test_setup_teardown(NAME, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(is_born_alone),
        TEST(gets_connections),
        TEST(ends_of_all_kinds),
        TEST(a_lost_supervisor_is_noticed),
        TEST(programs_that_it_started_go_with_it),
        TEST(what_cannot_be_started_is_said),
        TEST(a_log_that_cannot_be_written_does_not_matter),
        TEST(crashes_are_reported),
        TEST(too_much_memory_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
