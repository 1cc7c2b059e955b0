/* weir run: prepares, finds out where to begin, starts, shows how it goes, obeys signals, sums up. */
#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "cli/lines.h"
#include "cli/local.h"
#include "cli/pin.h"
#include "cli/prepare.h"
#include "cli/progress.h"
#include "taskmanager/crash.h"
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
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

/* What a run with snapshots begins with. */
typedef struct beginning {
    const wr_options *options;
    wr_origin         origin;
    bool              open;  /* there are snapshots to take, or one to start from */
    bool              begun; /* its tasks have run */
    int64_t           interval_ms;
} beginning;

/* Between the build function and the validation: the pipeline may name the folder, and the snapshot has a word in the
 * validation. Flags win. */
static wr_err begin(void *self, const char *job, const weir_pipeline *p, const wr_manifest **restore, wr_errinfo *info)
{
    beginning        *b = self;
    const wr_options *o = b->options;
    weir_duration     every = 0;
    const char       *folder = wr_job_wants_snapshots(p, &every);
    if (every != 0 && every < WR_SNAPSHOT_EVERY_NS_MIN) return WR_OK; /* refused with the pipeline */
    if (o->snapshots != NULL) folder = o->snapshots;
    if (o->snapshot_interval_ns > 0) every = o->snapshot_interval_ns;
    bool keep = o->settings.source[WR_SET_SNAPSHOTS_KEEP] == WR_FROM_FLAG;
    bool asked = o->settings.source[WR_SET_SNAPSHOT_INTERVAL] == WR_FROM_FLAG ||
                 (every > 0 && o->snapshot_interval_ns == 0);
    if (folder == NULL && (o->fresh || keep || asked))
        return wr_fail(info, WR_USAGE, "%s needs a folder; give --snapshots DIR",
                       o->fresh ? "--fresh"
                       : keep   ? "--snapshots-keep"
                                : "an interval of snapshots");
    if (every > 0 && every < WR_SNAPSHOT_EVERY_NS_MIN)
        return wr_fail(info, WR_CONFIG, "an interval of snapshots is at least 1 ms");
    if (folder == NULL && o->restore == NULL) return WR_OK;
    const wr_origin_config config = {
        .env = wr_env_real(), .job = job, .folder = folder, .restore = o->restore, .fresh = o->fresh};
    WR_TRY(wr_origin_open(&b->origin, &config, info));
    b->open = true;
    b->interval_ms = every / 1000000;
    if (b->origin.restores) *restore = &b->origin.manifest;
    return WR_OK;
}

static int say_finished(const beginning *b, const char *job)
{
    if (b->options->json) {
        wr_json j;
        wr_json_init_file(&j, stderr);
        wr_json_object(&j, NULL);
        wr_json_str(&j, "job", job);
        wr_json_str(&j, "state", wr_job_state_name(WR_JOB_FINISHED));
        wr_json_bool(&j, "before", true);
        wr_json_u64(&j, "newest", b->origin.last);
        wr_json_end(&j);
    } else { /* also when quiet: nothing is run, and that is no summary */
        fprintf(stderr, "weir: %s has finished, and %s has its last snapshot, %llu; --fresh starts it anew\n", job,
                b->origin.folder, (unsigned long long)b->origin.last);
    }
    return WR_EXIT_OK;
}

static void say_where(const beginning *b, const char *job)
{
    if (!b->open || !b->origin.restores || b->options->json || b->options->quiet) return;
    fprintf(stderr, "weir: %s goes on from snapshot %llu in %s\n", job, (unsigned long long)b->origin.manifest.id,
            b->origin.files);
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
            fputs(now > 1 ? "weir: canceling\n"
                  : wr_local_snapshots(local) != NULL
                      ? "weir: stopping: a last snapshot is taken; once more cancels\n"
                      : "weir: stopping: the sources end, results are written; once more cancels\n",
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

static int run(const wr_prepared *prepared, const wr_options *options, beginning *b)
{
    const wr_env *env = wr_env_real();
    wr_errinfo    info = {0};
    wr_pin        pin;
    wr_progress   progress;
    wr_local     *local = NULL;
    uint32_t      slots = prepared->exec->slots;
    if (wr_pin_parse(&pin, options->pin, slots, &info) != WR_OK) return wr_cli_fail(&info);
    if (pin.on) wr_env_keep_off(pin.cpu, slots);
    const wr_local_options of_local = {.env = env,
                                       .state_max = options->state_max,
                                       .cpu = pin.on ? pin.cpu : NULL,
                                       .spin = slots <= (uint32_t)env->cpu_count(env->self),
                                       .scribes = wr_setting_threads(&options->settings, WR_SET_SNAPSHOT_THREADS,
                                                                     (uint32_t)env->cpu_count(env->self), slots),
                                       .seed = env->random(env->self),
                                       .origin = b->open ? &b->origin : NULL,
                                       .snapshot_interval_ms = b->interval_ms,
                                       .snapshot_timeout_ms = options->snapshot_timeout_ns / 1000000,
                                       .snapshots_keep = options->snapshots_keep,
                                       .control = true};
    if (wr_local_new(&local, prepared->exec, &of_local, &info) != WR_OK) return wr_cli_fail(&info);
    obey_signals(local);
    wr_progress_init(&progress, env, prepared->exec, local);
    b->begun = true;
    run_to_the_end(local, &progress, env, !options->quiet && !options->json && isatty(STDERR_FILENO) == 1);
    ignore_signals();
    const wr_core_job *job = wr_local_job(local);
    int                exit_code = job->state == WR_JOB_FINISHED ? WR_EXIT_OK : wr_cli_fail(&job->cause);
    if (options->json)
        wr_progress_summary_json(&progress, stderr);
    else if (!options->quiet)
        wr_progress_summary_text(&progress, stderr);
    wr_progress_fini(&progress);
    wr_origin_unlock(&b->origin); /* before whoever waits for our end at the socket learns of it */
    wr_local_free(local);
    return exit_code;
}

static int prepare_and_run(wr_prepared *prepared, const wr_options *options, beginning *b)
{
    wr_errinfo info = {0};
    int        exit_code = wr_prepare_file_from(prepared, options, begin, b);
    if (exit_code != WR_EXIT_OK) return exit_code;
    const wr_job *job = prepared->job;
    if (b->open && b->origin.finished) {
        exit_code = say_finished(b, job->name);
    } else if (b->open && wr_origin_match(&b->origin, job, options->allow_non_restored, &info) != WR_OK) {
        exit_code = wr_cli_fail(&info);
    } else {
        say_where(b, job->name);
        exit_code = run(prepared, options, b);
    }
    wr_prepared_fini(prepared);
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
    beginning *b = calloc(1, sizeof *b);
    if (b == NULL) {
        wr_fail(&info, WR_MEMORY, "no memory to begin");
        return wr_cli_fail(&info);
    }
    b->options = options;
    int exit_code = prepare_and_run(&prepared, options, b);
    if (!b->begun) wr_origin_withdraw(&b->origin);
    wr_origin_close(&b->origin);
    free(b);
    return exit_code;
}
