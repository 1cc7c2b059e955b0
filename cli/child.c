#include "cli/child.h"
#include "base/check.h"
#include "base/env.h"
#include "cli/lines.h"
#include "cli/module.h"
#include "cli/prepare.h"
#include "graph/remote.h"
#include "taskmanager/crash.h"
#include "wire/pack.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

/* The flags once more, for the child. NULL without memory. */
static char **child_arguments(const wr_options *o, const char *verb, char number[2][16])
{
    size_t most = 16 + 2 * (size_t)(o->set.count + o->connector.count) + o->rests;
    char **argv = calloc(most, sizeof *argv);
    size_t n = 0;
#define PUT(TEXT) (argv[n++] = (char *)(uintptr_t)(TEXT))
    if (argv == NULL) return NULL;
    PUT("weir");
    PUT(verb);
    PUT("--config=/dev/null"); /* the parent has read it */
    if (o->json) PUT("--json");
    if (o->parallelism != 0) {
        snprintf(number[0], 16, "%u", o->parallelism);
        PUT("-p");
        PUT(number[0]);
    }
    if (o->parallelism_default != 0) {
        snprintf(number[1], 16, "%u", o->parallelism_default);
        PUT("--parallelism-default");
        PUT(number[1]);
    }
    for (uint32_t i = 0; i < o->set.count; i++) {
        PUT("--set");
        PUT(o->set.text[i]);
    }
    for (uint32_t i = 0; i < o->connector.count; i++) {
        PUT("--connector");
        PUT(o->connector.text[i]);
    }
    PUT(o->file);
    PUT("--");
    for (uint32_t i = 0; i < o->rests; i++) PUT(o->rest[i]);
#undef PUT
    return argv;
}

/* A child that may run for so long. */
typedef struct child {
    pid_t   pid;
    int     out; /* its standard output; -1: ours */
    int64_t until_ns;
    bool    hurried; /* that is sooner than it might otherwise have */
    bool    timed_out;
} child;

static wr_err start(child *c, char **argv, bool piped, const char *folder, int64_t until_ns, wr_errinfo *info)
{
    const wr_env *env = wr_env_real();
    int           fd[2] = {-1, -1};
    if (argv == NULL) return wr_fail(info, WR_MEMORY, "no memory to start a process");
    if (piped && pipe2(fd, O_CLOEXEC) != 0) return wr_fail_errno(info, errno, "cannot make a pipe");
    fflush(NULL);
    c->pid = fork();
    if (c->pid == 0) {
        if (piped) dup2(fd[1], STDOUT_FILENO);
        if (folder == NULL || chdir(folder) == 0) execv("/proc/self/exe", argv);
        _exit(127);
    }
    int why = errno;
    if (fd[1] >= 0) close(fd[1]);
    c->out = fd[0];
    c->timed_out = false;
    c->until_ns = env->mono_ns(env->self) + WR_BUILD_SECONDS_MAX * INT64_C(1000000000);
    c->hurried = until_ns < c->until_ns;
    if (c->hurried) c->until_ns = until_ns;
    if (c->pid >= 0) return WR_OK;
    if (fd[0] >= 0) close(fd[0]);
    return wr_fail_errno(info, why, "cannot start the process that loads the pipeline");
}

/* What it writes, until it has ended or its time is up: then it is killed. */
static char *read_all(child *c, size_t most, size_t *n)
{
    const wr_env *env = wr_env_real();
    size_t        room = 65536;
    char         *bytes = malloc(room);
    *n = 0;
    while (bytes != NULL) {
        int64_t       left_ms = (c->until_ns - env->mono_ns(env->self)) / 1000000;
        struct pollfd fd = {.fd = c->out, .events = POLLIN};
        int           ready = left_ms > 0 ? poll(&fd, 1, (int)left_ms) : 0;
        if (ready < 0 && errno == EINTR) continue;
        if (ready <= 0) break;
        if (*n == room) {
            char *more = room < most ? realloc(bytes, 2 * room) : NULL;
            if (more == NULL) break;
            bytes = more;
            room *= 2;
        }
        ssize_t got = read(c->out, bytes + *n, room - *n);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        *n += (size_t)got;
    }
    return bytes;
}

static pid_t doomed; /* for the alarm's handler */

static void kill_doomed(int number)
{
    (void)number;
    kill(doomed, SIGKILL);
}

/* Waits for its end, and kills it when its time is up. */
static int finish(child *c)
{
    const wr_env    *env = wr_env_real();
    struct sigaction action;
    int              status = 0;
    int64_t          left_us = (c->until_ns - env->mono_ns(env->self)) / 1000;
    struct itimerval timer = {.it_interval.tv_usec = 100000}; /* again: it may have rung before we waited */
    memset(&action, 0, sizeof action);
    action.sa_handler = kill_doomed;
    doomed = c->pid;
    sigaction(SIGALRM, &action, NULL);
    timer.it_value.tv_sec = left_us > 0 ? left_us / 1000000 : 0;
    timer.it_value.tv_usec = left_us > 0 ? left_us % 1000000 + 1 : 1;
    if (timer.it_value.tv_usec >= 1000000) timer.it_value.tv_usec = 999999;
    setitimer(ITIMER_REAL, &timer, NULL);
    while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR) {}
    setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
    c->timed_out = env->mono_ns(env->self) >= c->until_ns;
    if (c->out >= 0) close(c->out);
    return status;
}

/* info: set when it has no exit code of its own. */
static int exit_code_of(const child *c, int status, const char *path, wr_errinfo *info)
{
    if (WIFEXITED(status)) return WEXITSTATUS(status);
    if (c->timed_out && c->hurried)
        wr_fail(info, WR_TIMEOUT,
                "the build function of %s did not return within the --timeout; it must only describe the pipeline; "
                "nothing was asked of the cluster",
                path);
    else if (c->timed_out)
        wr_fail(info, WR_TIMEOUT,
                "the build function did not return within %d s; %s; it must only describe the pipeline",
                WR_BUILD_SECONDS_MAX, path);
    else
        wr_fail(info, WR_CRASH,
                "the build function crashed: signal %d (%s); %s; run it in a debugger: gdb --args weir plan %s",
                WTERMSIG(status), strsignal(WTERMSIG(status)), path, path);
    return wr_cli_fail(info);
}

/* By _exit: exit() it reports itself. */
static int left_too_early(const char *path, wr_errinfo *info)
{
    wr_fail(
        info, WR_CRASH,
        "the pipeline's build function ended the process, with exit code 0; %s; it must only describe the pipeline, "
        "and return",
        path);
    return wr_cli_fail(info);
}

int wr_child_check(const wr_options *o)
{
    wr_errinfo info = {0};
    char       number[2][16];
    child      c;
    char     **argv = child_arguments(o, "check-here", number);
    wr_err     err = start(&c, argv, false, NULL, INT64_MAX, &info);
    free(argv);
    if (err != WR_OK) return wr_cli_fail(&info);
    int exit_code = exit_code_of(&c, finish(&c), o->file, &info);
    if (exit_code == WR_CHILD_CHECKED) return WR_EXIT_OK;
    if (exit_code == WR_EXIT_OK) exit_code = left_too_early(o->file, &info);
    if (!o->json) return exit_code;
    if (exit_code > WR_CHILD_TOLD && exit_code <= WR_CHILD_TOLD + WR_EXIT_PERMISSION) return exit_code - WR_CHILD_TOLD;
    wr_fail(&info, WR_CRASH,
            "the pipeline's build function crashed, or ended its process, with exit code %d; %s; standard error says "
            "more",
            exit_code, o->file);
    wr_check_tell(NULL, &info);
    return exit_code;
}

/* ---- graph-here ---- */

/* What the child found out before the validation. */
typedef struct wish {
    const char   *name, *folder;
    weir_duration every;
} wish;

static wr_err look(void *self, const char *job, const weir_pipeline *p, const wr_manifest **restore, wr_errinfo *info)
{
    wish *w = self;
    (void)restore;
    (void)info;
    w->name = job;
    w->folder = wr_job_wants_snapshots(p, &w->every);
    return WR_OK;
}

/* What runs here, and cannot on a cluster; and what can, but hardly as it was meant. */
static wr_err fits_cluster(const wr_job *job, wr_errinfo *info)
{
    for (uint32_t i = 0; i < job->nodes; i++) {
        const wr_node *n = &job->node[i];
        if (n->connector == NULL) continue;
        if (n->kind == WR_NODE_SOURCE && strcmp(n->connector->scheme, "stdin") == 0)
            return wr_fail(info, WR_URI,
                           "source '%s' (%s): a job on a cluster has no standard input; write the input to a file that "
                           "the workers see, and name it by --set %s=file:PATH",
                           n->name, n->uri, n->name);
        if (n->kind == WR_NODE_SINK && strncmp(n->uri, "file:", 5) == 0 && n->uri[5] != '/')
            fprintf(stderr,
                    "weir: warning: sink '%s' (%s) writes below the working folders of the workers, which are removed "
                    "when the job ends; name a whole path, or give --set %s=file:PATH\n",
                    n->name, n->uri, n->name);
    }
    return WR_OK;
}

/* The child's side: an array on standard output. */
int wr_cli_graph_here(const wr_options *options)
{
    wr_prepared prepared;
    wish        w = {0};
    wr_errinfo  info = {0};
    char       *graph = NULL;
    size_t      n = 0;
    /* User code may print; what we say has a descriptor of its own. */
    int out = dup(STDOUT_FILENO);
    dup2(STDERR_FILENO, STDOUT_FILENO);
    wr_crash_install(wr_cli_lines_program);
    int exit_code = wr_prepare_file_from(&prepared, options, look, &w);
    if (exit_code != WR_EXIT_OK) return exit_code;
    if (fits_cluster(prepared.job, &info) != WR_OK) return wr_cli_fail(&info);
    if (wr_remote_encode(prepared.job, &graph, &n, &info) != WR_OK) return wr_cli_fail(&info);
    wr_errinfo replays = {0};
    wr_pack    p = {0};
    wr_pack_array(&p, 6);
    wr_pack_str(&p, w.name);
    wr_pack_str(&p, w.folder != NULL ? w.folder : "");
    wr_pack_i64(&p, w.every / 1000000);
    wr_pack_u64(&p, prepared.exec->slots);
    wr_pack_bin(&p, graph, n);
    wr_job_replays(prepared.job, &replays); /* matters only where snapshots are taken: who submits it knows */
    wr_pack_str(&p, replays.text);
    for (size_t at = 0; at < p.bytes;) {
        ssize_t put = write(out, p.data + at, p.bytes - at);
        if (put < 0 && errno != EINTR) return WR_EXIT_FAILED;
        at += put > 0 ? (size_t)put : 0;
    }
    wr_pack_free(&p);
    free(graph);
    wr_prepared_fini(&prepared);
    return WR_EXIT_OK;
}

/* Texts are ended where the next value begins: they are copied behind the bytes. */
static bool end_texts(wr_child_graph *g, size_t n, const char *const text[3], const size_t length[3])
{
    const char **member[3] = {&g->name, &g->snapshots, &g->gone};
    size_t       offset[3], graph_offset = (size_t)(g->graph - g->bytes);
    for (int i = 0; i < 3; i++) offset[i] = (size_t)(text[i] - g->bytes);
    char *bytes = realloc(g->bytes, n + length[0] + length[1] + length[2] + 3);
    if (bytes == NULL) return false;
    g->bytes = bytes;
    g->graph = bytes + graph_offset;
    for (int i = 0; i < 3; i++) {
        *member[i] = memcpy(bytes + n, bytes + offset[i], length[i]);
        n += length[i];
        bytes[n++] = 0;
    }
    return true;
}

static bool unpack(wr_child_graph *g, size_t n)
{
    wr_unpack   u;
    const char *text[3];
    size_t      length[3] = {0};
    wr_unpack_init(&u, g->bytes, n);
    if (wr_unpack_array(&u) != 6) return false;
    text[0] = wr_unpack_str(&u, WR_NAME_BYTES_MAX, &length[0]);
    text[1] = wr_unpack_str(&u, WR_PATH_BYTES_MAX, &length[1]);
    g->snapshot_interval_ms = wr_unpack_i64(&u);
    g->slots = (uint32_t)wr_unpack_u64(&u, UINT32_MAX);
    g->graph = wr_unpack_bin(&u, WR_GRAPH_BYTES_MAX, &g->graph_bytes);
    text[2] = wr_unpack_str(&u, sizeof((wr_errinfo *)0)->text, &length[2]);
    wr_unpack_leave(&u);
    wr_unpack_end(&u);
    return u.problem == NULL && end_texts(g, n, text, length);
}

int wr_child_graph_of(const wr_options *o, const char *folder, int64_t until_ns, wr_child_graph *g)
{
    wr_errinfo info = {0};
    char       number[2][16];
    child      c;
    size_t     n = 0;
    memset(g, 0, sizeof *g);
    if (wr_module_look(o->file, "pipeline", &info) != WR_OK) return wr_cli_fail(&info);
    char **argv = child_arguments(o, "graph-here", number);
    wr_err err = start(&c, argv, true, folder, until_ns, &info);
    free(argv);
    if (err != WR_OK) return wr_cli_fail(&info);
    g->bytes = read_all(&c, WR_GRAPH_BYTES_MAX + WR_KIB(64), &n);
    int exit_code = exit_code_of(&c, finish(&c), o->file, &info);
    if (exit_code == WR_EXIT_OK && g->bytes != NULL && n == 0) {
        exit_code = left_too_early(o->file, &info);
    } else if (exit_code == WR_EXIT_OK && (g->bytes == NULL || !unpack(g, n))) {
        wr_fail(&info, WR_INTERNAL, "the process that builds %s gave no graph", o->file);
        exit_code = wr_cli_fail(&info);
    }
    if (exit_code != WR_EXIT_OK) wr_child_graph_free(g);
    return exit_code;
}

void wr_child_graph_free(wr_child_graph *g)
{
    free(g->bytes);
    memset(g, 0, sizeof *g);
}
