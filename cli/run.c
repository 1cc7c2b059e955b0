/* weir run: prepares, starts, shows how it goes, obeys signals, sums up. */
#include "base/log.h"
#include "cli/lines.h"
#include "cli/local.h"
#include "cli/pin.h"
#include "cli/prepare.h"
#include "cli/progress.h"
#include "taskmanager/crash.h"
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

enum {
    LINE_EVERY_MS = 250, /* the progress line */
    HANG_MS = 10000      /* a job that must end and does not is left behind after this */
};

/* Shared with the signal handler. */
static wr_local   *running;
static _Atomic int interrupts; /* the handler may run on any thread that does not block it */

static void on_interrupt(int number)
{
    (void)number;
    int count = atomic_fetch_add(&interrupts, 1) + 1;
    if (count == 1) wr_local_stop(running);
    if (count == 2) wr_local_cancel(running);
    if (count > 2) _exit(WR_EXIT_INTERRUPTED); /* user code does not let go, and the user has no patience left */
}

static void obey_signals(wr_local *local)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    running = local;
    action.sa_handler = on_interrupt;
    action.sa_flags = SA_RESTART;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN); /* a sink is told by its write, and says which one it is */
}

static void ignore_signals(void)
{
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    running = NULL;
}

/* Whether the job should have ended long ago. Threads cannot be ended from outside: the process can. */
static void leave_if_it_hangs(const wr_local *local, wr_progress *progress, const wr_env *env)
{
    const wr_core_job *job = wr_local_job(local);
    if (job->state != WR_JOB_FAILING && job->state != WR_JOB_CANCELLING) return;
    int64_t ms = env->mono_ns(env->self) / 1000000 - job->since_ms[job->state];
    if (ms < HANG_MS) return;
    wr_progress_clear(progress);
    const char *name = wr_local_hanging(local);
    fprintf(stderr, "weir: the task %s did not end within %d s of being canceled: its user code does not return\n",
            name != NULL ? name : "?", HANG_MS / 1000);
    _exit(wr_cli_fail(&job->cause));
}

static void run_to_the_end(wr_local *local, wr_progress *progress, const wr_env *env, bool terminal)
{
    int      told = 0;
    sigset_t ours, before;
    sigemptyset(&ours);
    sigaddset(&ours, SIGINT);
    sigaddset(&ours, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &ours, &before); /* slots inherit it: a signal must not cut a sleep of user code short */
    wr_local_start(local);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    for (;;) {
        bool    ending = wr_local_state(local) != WR_JOB_RUNNING;
        int64_t timeout_ms = terminal ? LINE_EVERY_MS : ending ? 1000 : -1;
        if (wr_local_step(local, timeout_ms < 0 ? -1 : timeout_ms * 1000000)) break;
        if (wr_crash_under_way()) continue;
        int now = atomic_load(&interrupts);
        if (now > told) {
            wr_progress_clear(progress);
            fputs(now == 1 ? "weir: stopping: the sources end, results are written; once more cancels\n"
                           : "weir: canceling\n",
                  stderr);
            told = now;
        }
        if (terminal && env->mono_ns(env->self) - progress->line_ns >= LINE_EVERY_MS * INT64_C(1000000) &&
            env->mono_ns(env->self) - progress->start_ns >= LINE_EVERY_MS * INT64_C(1000000))
            wr_progress_line(progress);
        leave_if_it_hangs(local, progress, env);
    }
    progress->end_ns = env->mono_ns(env->self);
    wr_progress_clear(progress);
}

static int run(const wr_prepared *prepared, const wr_options *options)
{
    const wr_env *env = wr_env_real();
    wr_errinfo    info = {0};
    wr_pin        pin;
    wr_progress   progress;
    wr_local     *local = NULL;
    if (wr_pin_parse(&pin, options->pin, prepared->exec->slots, &info) != WR_OK) return wr_cli_fail(&info);
    const wr_local_options of_local = {.env = env,
                                       .state_max = options->state_max,
                                       .cpu = pin.on ? pin.cpu : NULL,
                                       .spin = prepared->exec->slots <= (uint32_t)env->cpu_count(env->self),
                                       .seed = env->random(env->self)};
    if (wr_local_new(&local, prepared->exec, &of_local, &info) != WR_OK) return wr_cli_fail(&info);
    obey_signals(local);
    wr_progress_init(&progress, env, prepared->exec, local);
    run_to_the_end(local, &progress, env, !options->quiet && !options->json && isatty(STDERR_FILENO) == 1);
    ignore_signals();
    const wr_core_job *job = wr_local_job(local);
    int                exit_code = job->state == WR_JOB_FINISHED ? WR_EXIT_OK : wr_cli_fail(&job->cause);
    if (options->json)
        wr_progress_summary_json(&progress, stderr);
    else if (!options->quiet)
        wr_progress_summary_text(&progress, stderr);
    wr_progress_fini(&progress);
    wr_local_free(local);
    return exit_code;
}

int wr_cli_run(const wr_options *options)
{
    wr_errinfo   info = {0};
    wr_prepared  prepared;
    wr_log_level level = WR_LOG_WARN;
    if (options->log != NULL && !wr_log_level_of(options->log, &level)) {
        wr_fail(&info, WR_USAGE, "--log takes error, warn, info, debug or trace, not \"%s\"", options->log);
        return wr_cli_fail(&info);
    }
    wr_log_setup(STDERR_FILENO, level, wr_env_real());
    wr_crash_install(wr_cli_lines_program);
    int exit_code = wr_prepare_file(&prepared, options);
    if (exit_code != WR_EXIT_OK) return exit_code;
    exit_code = run(&prepared, options);
    wr_prepared_fini(&prepared);
    return exit_code;
}
