/* weir check: loads the pipeline and runs its build function in a child, whose crash or endless loop harms nobody. */
#include "base/env.h"
#include "base/json.h"
#include "cli/lines.h"
#include "cli/module.h"
#include "cli/prepare.h"
#include "taskmanager/crash.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BUILD_SECONDS_MAX = 30 };

/* The child's side. */
int wr_cli_check_here(const wr_options *options)
{
    wr_prepared prepared;
    wr_crash_install(wr_cli_lines_program);
    int exit_code = wr_prepare_file(&prepared, options);
    if (exit_code != WR_EXIT_OK) return exit_code;
    const wr_job *job = prepared.job;
    if (options->json) {
        wr_json json;
        wr_json_init_file(&json, stdout);
        wr_json_object(&json, NULL);
        wr_json_str(&json, "job", job->name);
        wr_json_bool(&json, "ok", true);
        wr_json_u64(&json, "operators", job->nodes);
        wr_json_u64(&json, "tasks", job->tasks);
        wr_json_u64(&json, "subtasks", prepared.exec->subtasks);
        wr_json_u64(&json, "slots", prepared.exec->slots);
        wr_json_printf(&json, "fingerprint", "%016llx", (unsigned long long)job->fingerprint);
        wr_json_end(&json);
    } else {
        printf("%s: ok: %u operators in %u tasks, %u subtasks, %u slots\n", job->name, job->nodes, job->tasks,
               prepared.exec->subtasks, prepared.exec->slots);
    }
    wr_prepared_fini(&prepared);
    return WR_EXIT_OK;
}

/* The flags once more, for the child. NULL without memory. */
static char **child_arguments(const wr_options *o, char parallelism[16])
{
    size_t most = 16 + 2 * (size_t)(o->set.count + o->connector.count) + o->rests;
    char **argv = calloc(most, sizeof *argv);
    size_t n = 0;
#define PUT(TEXT) (argv[n++] = (char *)(uintptr_t)(TEXT))
    if (argv == NULL) return NULL;
    PUT("weir");
    PUT("check-here");
    if (o->json) PUT("--json");
    if (o->parallelism != 0) {
        snprintf(parallelism, 16, "%u", o->parallelism);
        PUT("-p");
        PUT(parallelism);
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

static pid_t child;

static void kill_child(int number)
{
    (void)number;
    kill(child, SIGKILL);
}

/* Waits for the child, which is killed when its time is up. *timed_out says so. */
static int wait_for(pid_t pid, bool *timed_out)
{
    struct sigaction action;
    int              status = 0;
    memset(&action, 0, sizeof action);
    action.sa_handler = kill_child;
    child = pid;
    sigaction(SIGALRM, &action, NULL);
    alarm(BUILD_SECONDS_MAX);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    *timed_out = alarm(0) == 0;
    return status;
}

int wr_cli_check(const wr_options *options)
{
    wr_errinfo info = {0};
    char       parallelism[16];
    /* What needs no child comes at once, and from here. */
    if (wr_module_look(options->file, "pipeline", &info) != WR_OK) return wr_cli_fail(&info);
    char **argv = child_arguments(options, parallelism);
    pid_t  pid = argv != NULL ? fork() : -1;
    if (pid == 0) {
        execv("/proc/self/exe", argv);
        _exit(127);
    }
    free(argv);
    if (pid < 0) {
        wr_fail_errno(&info, errno, "cannot start the process that loads the pipeline");
        return wr_cli_fail(&info);
    }
    bool timed_out;
    int  status = wait_for(pid, &timed_out);
    if (WIFEXITED(status)) return WEXITSTATUS(status);
    if (timed_out) {
        wr_fail(&info, WR_TIMEOUT,
                "the build function did not return within %d s; %s; it must only describe the pipeline",
                BUILD_SECONDS_MAX, options->file);
    } else {
        wr_fail(&info, WR_CRASH,
                "the build function crashed: signal %d (%s); %s; run it in a debugger: gdb --args weir plan %s",
                WTERMSIG(status), strsignal(WTERMSIG(status)), options->file, options->file);
    }
    return wr_cli_fail(&info);
}
