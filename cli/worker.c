/* weir worker: what a TaskManager starts for one attempt of one job. It is born with a socket to its TaskManager, a
 * file for its crash report, a log behind its standard output and error, and its working folder. */
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/lines.h"
#include "cli/module.h"
#include "cli/options.h"
#include "cli/prepare.h"
#include "connectors/connectors.h"
#include "net/peers_pair.h"
#include "taskmanager/agent.h"
#include "taskmanager/crash.h"
#include "taskmanager/logs.h"
#include "taskmanager/processes.h"
#include "taskmanager/watchdog.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { STATS_MS = 1000, LOOK_NS = 1000000000 };

/* Main thread. */
typedef struct worker {
    const wr_env  *env;
    wr_parker      parker;
    wr_peers_pair *pair;
    uint64_t       up;
    wr_agent      *agent;
    wr_watchdog   *watchdog;
    int64_t        hang_ms;
    uint32_t       scribes; /* threads that write snapshots for slots */
    wr_prepared    prepared;
    char           log[WR_PATH_BYTES_MAX]; /* its own thread's; "": standard output is no file */
    wr_parker      log_parker;
    wr_thread     *log_thread;
} worker;

/* ---- what it runs ---- */

static bool is_connector(const char *name)
{
    size_t n = strlen(name);
    return n > 3 && strcmp(name + n - 3, ".so") == 0;
}

static wr_err load_connectors(const wr_job_spec *spec, wr_errinfo *info)
{
    for (uint32_t i = 0; i < spec->files; i++) {
        const char *name = spec->file[i].name;
        if (!is_connector(name)) continue;
        WR_TRY(wr_module_look(name, "connector", info));
        char *whole = realpath(name, NULL); /* stays, as the code does */
        if (whole == NULL) return wr_fail_errno(info, errno, "cannot find the connector %s", name);
        WR_TRY(wr_connector_load(whole, info));
    }
    return WR_OK;
}

static wr_err give_restore(void *self, const char *job, const weir_pipeline *p, const wr_manifest **restore,
                           wr_errinfo *info)
{
    (void)job, (void)p, (void)info;
    *restore = self;
    return WR_OK;
}

/* Opens it and runs its build function. */
static wr_err build(worker *w, const wr_job_spec *spec, const wr_manifest *restore, wr_errinfo *info)
{
    wr_module module;
    wr_crash_in("what runs when a connector is loaded");
    wr_err err = load_connectors(spec, info);
    wr_crash_in(NULL);
    if (err == WR_OK) err = wr_module_open(&module, spec->module.name, info);
    if (err != WR_OK) return err;
    const wr_prepare_spec prepare = {.name = module.descriptor->name,
                                     .build = module.descriptor->build,
                                     .args = spec->arg,
                                     .arg_count = spec->args,
                                     .set = spec->set,
                                     .sets = spec->sets,
                                     .parallelism = spec->parallelism,
                                     .parallelism_default = spec->parallelism_default,
                                     .origin = give_restore,
                                     .self = (void *)(uintptr_t)restore};
    return wr_prepare(&w->prepared, &prepare, info);
}

/* On the thread that everything else waits for: the supervisor does not hear of this worker meanwhile. */
static wr_err load(void *self, const wr_deploy *deploy, const wr_manifest *restore, const wr_exec **exec,
                   wr_errinfo *info)
{
    worker *w = self;
    int     signal = w->hang_ms > 0 ? wr_crash_hang_signal((unsigned)(w->hang_ms / 1000)) : 0;
    wr_watchdog_alone(w->hang_ms, signal);
    wr_err err = build(w, &deploy->spec, restore, info);
    wr_watchdog_alone_off();
    if (err != WR_OK) return err;
    *exec = w->prepared.exec;
    if (w->hang_ms <= 0) return WR_OK;
    return wr_watchdog_new(&w->watchdog, w->env, *exec, w->hang_ms, signal, info);
}

static int accepted(void *self, wr_data_hello *hello)
{
    worker    *w = self;
    uint8_t    bytes[WR_HELLO_BYTES];
    size_t     n = 0;
    wr_errinfo info = {0};
    for (;;) {
        int socket = wr_peers_pair_take(w->pair, w->up, bytes, sizeof bytes, &n);
        if (socket < 0) return -1;
        if (n == sizeof bytes && wr_data_hello_get(hello, bytes, &info) == WR_OK) return socket;
        close(socket);
    }
}

/* ---- log ---- */

static void find_log(worker *w)
{
    ssize_t n = readlink("/proc/self/fd/1", w->log, sizeof w->log - 1);
    w->log[n > 0 ? n : 0] = 0;
}

/* Two descriptors that everybody writes to are turned to the next segment: nothing is lost, and nobody waits. */
static void turn_log(worker *w)
{
    char next[WR_PATH_BYTES_MAX];
    if (!wr_log_full(w->env, w->log, next)) return;
    int file = open(next, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0660);
    if (file < 0) return;
    dup2(file, STDOUT_FILENO);
    dup2(file, STDERR_FILENO);
    close(file);
    wr_log_settle(w->env, w->log, next);
    memcpy(w->log, next, sizeof w->log);
}

/* A thread of its own: the disk of the logs may not answer, and the lease must be renewed all the same. */
static void watch_log(void *arg)
{
    worker *w = arg;
    for (;;) {
        wr_parker_prepare(&w->log_parker);
        w->env->park(w->env->self, &w->log_parker, LOOK_NS);
        turn_log(w);
    }
}

static wr_err start_log(worker *w, wr_errinfo *info)
{
    find_log(w);
    if (w->log[0] == 0) return WR_OK;
    int got = w->env->parker_init(w->env->self, &w->log_parker);
    if (got == 0) got = w->env->thread_start(w->env->self, &w->log_thread, watch_log, w, "weir-log", -1);
    return got == 0 ? WR_OK : wr_fail_errno(info, -got, "cannot start a thread that watches the log of a worker");
}

/* ---- life ---- */

static wr_err open_worker(worker *w, wr_errinfo *info)
{
    WR_TRY(wr_peers_pair_new(&w->pair, w->env, info));
    w->up = wr_peers_pair_add(w->pair, WR_WORKER_SOCKET);
    int got = w->env->parker_init(w->env->self, &w->parker);
    if (got < 0) return wr_fail_errno(info, -got, "cannot make an event descriptor; raise the limit of open files");
    const wr_agent_config config = {.env = w->env,
                                    .peers = wr_peers_pair_table(w->pair),
                                    .up = w->up,
                                    .parker = &w->parker,
                                    .load = load,
                                    .accepted = accepted,
                                    .self = w,
                                    .threads = true,
                                    .spin = true, /* as far as there are CPUs, and nobody else wants them */
                                    .scribes = w->scribes,
                                    .stats_ms = STATS_MS};
    return wr_agent_new(&w->agent, &config, info);
}

static void wait(worker *w)
{
    int     fd[WR_PARK_FDS_MAX];
    int64_t timeout = wr_agent_wait_ns(w->agent), now = w->env->mono_ns(w->env->self);
    if (timeout < 0 || timeout > LOOK_NS) timeout = LOOK_NS;
    if (w->watchdog != NULL && wr_watchdog_due_ns(w->watchdog) - now < timeout)
        timeout = wr_watchdog_due_ns(w->watchdog) > now ? wr_watchdog_due_ns(w->watchdog) - now : 0;
    uint32_t fds = wr_agent_fds(w->agent, fd);
    fd[fds++] = wr_peers_pair_fd(w->pair);
    w->env->park_fds(w->env->self, &w->parker, timeout, fd, fds);
}

static int run(worker *w)
{
    for (int exit_code = 0;;) {
        wr_parker_prepare(&w->parker); /* what happens from here on wakes us */
        if (wr_agent_step(w->agent, &exit_code)) return exit_code;
        const wr_worker *running = wr_agent_worker(w->agent);
        if (w->watchdog != NULL && running != NULL) wr_watchdog_step(w->watchdog, running);
        wait(w);
    }
}

/* As we were born: what is only reserved comes on top of it. */
static void bound_memory(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_DATA, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) wr_mem_bound(limit.rlim_cur);
}

int wr_cli_worker(const wr_options *options)
{
    static worker w; /* threads may look at it until the very end */
    wr_errinfo    info = {0};
    const char   *hang = getenv("WEIR_WORKER_HANG_MS"), *level = getenv("WEIR_WORKER_LOG");
    const char   *group = getenv("WEIR_WORKER_FILES_GROUP"), *scribes = getenv("WEIR_WORKER_SCRIBES");
    uint64_t      hang_ms = 0, gid = 0, number = 0;
    wr_log_level  wanted = WR_LOG_INFO;
    (void)options;
    if (fcntl(WR_WORKER_SOCKET, F_SETFD, FD_CLOEXEC) != 0 || fcntl(WR_WORKER_REPORT, F_SETFD, FD_CLOEXEC) != 0) {
        wr_fail(&info, WR_USAGE, "`weir worker` is started by `weir taskmanager`, and by nobody else");
        return wr_cli_fail(&info);
    }
    if (level != NULL) wr_log_level_of(level, &wanted);
    w.env = wr_env_real();
    if (hang != NULL && wr_text_to_u64(hang, strlen(hang), &hang_ms)) w.hang_ms = (int64_t)hang_ms;
    if (group != NULL && wr_text_to_u64(group, strlen(group), &gid)) wr_env_share_folders((uint32_t)gid);
    if (scribes != NULL && wr_text_to_u64(scribes, strlen(scribes), &number) && number <= WR_SLOTS_MAX)
        w.scribes = (uint32_t)number;
    signal(SIGPIPE, SIG_IGN);
    wr_log_setup(STDERR_FILENO, wanted, w.env);
    wr_crash_install(wr_cli_lines_program);
    wr_crash_report_to(WR_WORKER_REPORT);
    wr_crash_at_exit(false);
    bound_memory();
    setvbuf(stdout, NULL, _IOLBF, 0); /* a log is read while it is written */
    wr_err err = start_log(&w, &info);
    if (err == WR_OK) err = open_worker(&w, &info);
    int exit_code = err == WR_OK ? run(&w) : wr_cli_fail(&info);
    fflush(stdout);
    _exit(exit_code); /* user code may still run; its destructors and exit handlers must not */
}
