#include "taskmanager/watchdog.h"
#include "base/log.h"
#include "base/text.h"
#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define REPORT_NS_MAX INT64_C(25000000000) /* then the process ends without one */

typedef struct watched {
    uint64_t counters;    /* sum over the slot's tasks when it was last seen to move */
    int64_t  since_ns;    /* and when that was */
    int64_t  signaled_ns; /* 0: not yet */
    bool     any, done;
} watched;

struct wr_watchdog {
    const wr_env  *env;
    const wr_exec *exec;
    int64_t        hang_ns, look_ns;
    int            signal;
    watched       *slot;
    uint64_t      *sum; /* by slot, of one look */
    bool          *live, *starts;
};

wr_err wr_watchdog_new(wr_watchdog **take, const wr_env *env, const wr_exec *exec, int64_t hang_ms, int signal,
                       wr_errinfo *info)
{
    wr_watchdog *d = calloc(1, sizeof *d);
    *take = d;
    if (d == NULL) return wr_fail(info, WR_MEMORY, "no memory for a watchdog");
    d->env = env;
    d->exec = exec;
    d->hang_ns = hang_ms * 1000000;
    d->signal = signal;
    d->slot = calloc(exec->slots + 1u, sizeof *d->slot);
    d->sum = calloc(exec->slots + 1u, sizeof *d->sum);
    d->live = calloc(exec->slots + 1u, sizeof *d->live);
    d->starts = calloc(exec->slots + 1u, sizeof *d->starts);
    if (d->slot != NULL && d->sum != NULL && d->live != NULL && d->starts != NULL) return WR_OK;
    wr_watchdog_free(d);
    *take = NULL;
    return wr_fail(info, WR_MEMORY, "no memory for a watchdog of %u slots", exec->slots);
}

/* The thread of that name, or 0. */
static pid_t thread_of(const char *name)
{
    DIR  *all = opendir("/proc/self/task");
    pid_t found = 0;
    for (struct dirent *e; all != NULL && found == 0 && (e = readdir(all)) != NULL;) {
        char  path[300], text[32] = "";
        FILE *file = NULL;
        if (e->d_name[0] != '.' && snprintf(path, sizeof path, "/proc/self/task/%s/comm", e->d_name) > 0)
            file = fopen(path, "re");
        if (file == NULL) continue;
        if (fgets(text, sizeof text, file) != NULL) text[strcspn(text, "\n")] = 0;
        fclose(file);
        uint64_t id = 0;
        if (strcmp(text, name) == 0 && wr_text_to_u64(e->d_name, strlen(e->d_name), &id)) found = (pid_t)id;
    }
    if (all != NULL) closedir(all);
    return found;
}

static void hangs(wr_watchdog *d, uint32_t slot, int64_t now)
{
    char  name[24];
    pid_t thread;
    snprintf(name, sizeof name, "weir-slot-%u", slot);
    if (d->slot[slot].signaled_ns != 0) {
        if (now - d->slot[slot].signaled_ns < REPORT_NS_MAX) return;
        wr_log(WR_LOG_ERROR, "code of the pipeline in slot %u does not return, and does not say where it is", slot);
        _exit(WR_EXIT_JOB_FAILED);
    }
    d->slot[slot].signaled_ns = now;
    thread = thread_of(name);
    wr_log(WR_LOG_ERROR, "code of the pipeline in slot %u has not returned for %lld s: the worker ends", slot,
           (long long)(d->hang_ns / 1000000000));
    if (thread == 0 || d->signal == 0 || syscall(SYS_tgkill, getpid(), thread, d->signal) != 0)
        _exit(WR_EXIT_JOB_FAILED);
}

void wr_watchdog_step(wr_watchdog *d, const wr_worker *w)
{
    int64_t now = d->env->mono_ns(d->env->self);
    if (d->hang_ns <= 0 || now < d->look_ns) return;
    d->look_ns = now + d->hang_ns / 8;
    memset(d->sum, 0, d->exec->slots * sizeof *d->sum);
    memset(d->live, 0, d->exec->slots * sizeof *d->live);
    memset(d->starts, 0, d->exec->slots * sizeof *d->starts);
    wr_task_stats s;
    for (uint32_t i = 0; wr_worker_task_stats(w, i, &s); i++) {
        const wr_subtask *t = &d->exec->subtask[s.subtask];
        if (t->own_thread || t->place >= d->exec->slots) continue;
        d->sum[t->place] += s.busy_ns + s.idle_ns + s.back_pressured_ns + s.state;
        d->live[t->place] |= s.state < WR_TASK_FINISHED;
        d->starts[t->place] |= s.state < WR_TASK_LOADED; /* loading large state is one call, and takes its time */
    }
    for (uint32_t i = 0; i < d->exec->slots; i++) {
        watched *slot = &d->slot[i];
        if (!d->live[i] || d->starts[i] || !slot->any || slot->counters != d->sum[i]) {
            *slot = (watched){.any = true, .counters = d->sum[i], .since_ns = now};
            continue;
        }
        if (now - slot->since_ns >= d->hang_ns) hangs(d, i, now);
    }
}

int64_t wr_watchdog_due_ns(const wr_watchdog *d)
{
    return d->hang_ns > 0 ? d->look_ns : INT64_MAX;
}

void wr_watchdog_free(wr_watchdog *d)
{
    if (d == NULL) return;
    free(d->slot);
    free(d->sum);
    free(d->live);
    free(d->starts);
    free(d);
}

/* ---- outside of slots ---- */

static timer_t alone;
static bool    alone_on;

void wr_watchdog_alone(int64_t hang_ms, int signal)
{
    struct sigevent         event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = signal};
    const struct itimerspec when = {.it_value = {.tv_sec = hang_ms / 1000, .tv_nsec = hang_ms % 1000 * 1000000}};
    event._sigev_un._tid = gettid();
    if (hang_ms <= 0 || signal == 0 || timer_create(CLOCK_MONOTONIC, &event, &alone) != 0) return;
    alone_on = true;
    timer_settime(alone, 0, &when, NULL);
}

void wr_watchdog_alone_off(void)
{
    if (alone_on) timer_delete(alone);
    alone_on = false;
}
