#include "base/check.h"
#include "base/log.h"
#include "base/sabotage.h"
#include "taskmanager/agent_parts.h"
#include "taskmanager/agent_stats.h"
#include <stdlib.h>
#include <string.h>

wr_err wr_agent_new(wr_agent **take, const wr_agent_config *config, wr_errinfo *info)
{
    wr_agent *a = calloc(1, sizeof *a);
    *take = a;
    if (a == NULL) return wr_fail(info, WR_MEMORY, "no memory for a worker");
    a->config = *config;
    a->env = config->env;
    a->state = WR_AGENT_EMPTY;
    a->lease_until_ns = a->stats_ns = INT64_MAX;
    return WR_OK;
}

static int64_t now_ns(const wr_agent *a)
{
    return a->env->mono_ns(a->env->self);
}

static void end(wr_agent *a, int exit_code)
{
    if (a->state == WR_AGENT_ENDS) return;
    a->state = WR_AGENT_ENDS;
    a->exit_code = exit_code;
}

/* ---- up ---- */

void wr_agent_send(wr_agent *a, wr_message *m)
{
    char      *bytes = NULL;
    size_t     n = 0;
    wr_errinfo info = {0};
    m->job = a->deployment.job;
    m->attempt = a->deployment.attempt;
    m->leader = a->leader;
    if (wr_message_encode(m, &bytes, &n, &info) != WR_OK) {
        wr_log(WR_LOG_ERROR, "a message to the TaskManager cannot be made: %s", info.text);
        return;
    }
    a->config.peers->send(a->config.peers->self, a->config.up, bytes, n);
}

void wr_agent_give_up(wr_agent *a, const wr_errinfo *why)
{
    wr_message m = {.kind = WR_MSG_GONE};
    m.gone.subtask = UINT32_MAX;
    m.gone.info = *why;
    m.gone.report = "";
    wr_agent_send(a, &m);
    wr_log(WR_LOG_ERROR, "the worker cannot go on: %s", why->text);
    end(a, wr_err_exit(why->code));
}

/* Tasks are LOADED for the world only when they can talk to each other. */
static void report(wr_agent *a)
{
    uint32_t      n = 0;
    wr_task_event e;
    bool          news = false;
    while (wr_worker_event(a->worker, &e)) {
        a->report[e.subtask] = (wr_task_report){.subtask = e.subtask, .state = e.state, .info = e.info};
        a->withheld[e.subtask] = true;
        a->withholds = true;
    }
    if (!a->withholds) return;
    wr_task_report *task = calloc(a->exec->subtasks, sizeof *task);
    check(task != NULL);
    for (uint32_t i = 0; i < a->exec->subtasks; i++) {
        if (!a->withheld[i]) continue;
        if (a->report[i].state == WR_TASK_LOADED && !a->connected) {
            news = true;
            continue;
        }
        a->withheld[i] = false;
        task[n++] = a->report[i];
    }
    a->withholds = news;
    if (n > 0) {
        wr_message m = {.kind = WR_MSG_REPORT};
        m.report.task = task;
        m.report.tasks = n;
        wr_agent_send(a, &m);
    }
    free(task);
}

static bool lease_over(const wr_agent *a)
{
    return now_ns(a) >= a->lease_until_ns && !wr_sabotage.no_lease;
}

static void answer_barriers(wr_agent *a)
{
    for (wr_ack *ack; (ack = wr_worker_ack(a->worker)) != NULL;) {
        wr_message m = {.kind = WR_MSG_ACK, .ack = ack};
        if (!lease_over(a)) wr_agent_send(a, &m);
        wr_ack_free(ack);
    }
}

static void tell_stats(wr_agent *a)
{
    if (a->config.stats_ms <= 0 || now_ns(a) < a->stats_ns) return;
    wr_message m = {.kind = WR_MSG_STATS};
    wr_agent_measure(a->worker, a->env, &m);
    wr_agent_send(a, &m);
    wr_arena_fini(&m.arena);
    a->stats_ns = now_ns(a) + a->config.stats_ms * 1000000;
}

/* ---- down ---- */

/* Owns the message from here on. */
static void deploy(wr_agent *a, wr_message *m)
{
    wr_errinfo info = {0};
    if (a->state != WR_AGENT_EMPTY) { /* it came twice */
        wr_message_free(m);
        return;
    }
    a->deployment = *m;
    a->deploy = &a->deployment.deploy;
    a->state = WR_AGENT_RUNS;
    a->stats_ns = now_ns(a);
    if (wr_agent_deploy(a, &info) != WR_OK) wr_agent_give_up(a, &info);
}

/* Not before what came meanwhile was taken: loading may have taken longer than the lease that was there before. */
static void start(wr_agent *a)
{
    wr_errinfo info = {0};
    if (!a->config.threads || a->started || lease_over(a)) return;
    a->started = true;
    if (wr_worker_start(a->worker, &info) != WR_OK) wr_agent_give_up(a, &info);
}

static void cancel_all(wr_agent *a)
{
    for (uint32_t i = 0; i < a->exec->subtasks; i++) {
        if (a->here[a->exec->subtask[i].slot]) wr_worker_cancel(a->worker, i);
    }
}

static void obey(wr_agent *a, const wr_worker_order *o)
{
    wr_worker *w = a->worker;
    switch (o->verb) {
    case WR_DO_GO: wr_worker_go(w); break;
    case WR_DO_TRIGGER: wr_worker_trigger(w, &o->barrier); break;
    case WR_DO_ABORT: wr_worker_abort(w, o->barrier.id); break;
    case WR_DO_COMPLETE: wr_worker_complete(w, o->barrier.id); break;
    case WR_DO_PAUSE_SOURCES: wr_worker_pause_sources(w); break;
    case WR_DO_STOP_SOURCES: wr_worker_stop_sources(w); break;
    case WR_DO_FINISH: wr_worker_finish(w); break;
    case WR_DO_CANCEL: cancel_all(a); break;
    case WR_DO_RELEASE: end(a, WR_EXIT_OK); break;
    default: wr_log(WR_LOG_WARN, "an order that is not known: %u", o->verb);
    }
}

/* Of another attempt, or by a JobManager that is no longer the leader. */
static bool stale(wr_agent *a, const wr_message *m)
{
    if (m->leader < a->leader && !wr_sabotage.stale_epoch && !wr_sabotage.two_leaders) return true;
    if (m->leader > a->leader) a->leader = m->leader;
    if (m->kind == WR_MSG_DEPLOY || a->deploy == NULL || wr_sabotage.stale_epoch) return false;
    return m->job != a->deployment.job || m->attempt != a->deployment.attempt;
}

static void renew(wr_agent *a, int64_t until_ns)
{
    a->lease_until_ns = until_ns;
    if (a->worker != NULL) wr_worker_lease(a->worker, until_ns);
}

static void take_message(wr_agent *a, const char *bytes, size_t n)
{
    wr_message m;
    wr_errinfo info = {0};
    if (wr_message_decode(&m, bytes, n, &info) != WR_OK) {
        wr_log(WR_LOG_ERROR, "a message of the TaskManager cannot be read: %s", info.text);
        return;
    }
    if (!stale(a, &m)) {
        switch (m.kind) {
        case WR_MSG_DEPLOY: deploy(a, &m); return;
        case WR_MSG_LEASE: renew(a, m.until_mono_ns); break;
        case WR_MSG_ORDER:
            if (a->worker != NULL && a->state == WR_AGENT_RUNS)
                obey(a, &m.order);
            else if (m.order.verb == WR_DO_RELEASE)
                end(a, WR_EXIT_OK);
            break;
        default: break;
        }
    }
    wr_message_free(&m);
}

static void take_events(wr_agent *a)
{
    wr_peers     *p = a->config.peers;
    wr_peer_event e;
    while (a->state != WR_AGENT_ENDS && p->next(p->self, &e)) {
        if (e.kind == WR_PEER_MESSAGE) {
            if (e.peer == a->config.up) take_message(a, e.bytes, e.n);
            free(e.bytes);
        } else if (e.kind == WR_PEER_CLOSED && e.peer == a->config.up) {
            wr_log(WR_LOG_WARN, "the TaskManager is gone: the worker ends");
            end(a, WR_EXIT_FAILED);
        }
    }
}

bool wr_agent_step(wr_agent *a, int *exit_code)
{
    if (a->state != WR_AGENT_ENDS && lease_over(a)) {
        /* A renewal may lie in the queue; but the lease was over, and others may have acted on that. */
        wr_errinfo why = {0};
        wr_fail(&why, WR_UNREACHABLE,
                "its lease ran out: nothing was heard of the JobManager for so long that another worker may do the "
                "work by now");
        wr_agent_give_up(a, &why);
    }
    take_events(a);
    if (a->state == WR_AGENT_RUNS) start(a);
    if (a->state == WR_AGENT_RUNS) wr_agent_connect(a);
    if (a->state == WR_AGENT_RUNS) {
        answer_barriers(a); /* before what says that a task has ended */
        report(a);
        tell_stats(a);
    }
    *exit_code = a->exit_code;
    return a->state == WR_AGENT_ENDS;
}

int64_t wr_agent_wait_ns(const wr_agent *a)
{
    int64_t at = wr_sabotage.no_lease ? INT64_MAX : a->lease_until_ns;
    if (a->state == WR_AGENT_ENDS) return 0;
    if (a->config.stats_ms > 0 && a->state == WR_AGENT_RUNS && a->stats_ns < at) at = a->stats_ns;
    if (a->dialer != NULL) {
        int64_t due = wr_dialer_due_ns(a->dialer);
        if (due < at) at = due;
    }
    if (at == INT64_MAX) return -1;
    int64_t now = now_ns(a);
    return at > now ? at - now : 0;
}

uint32_t wr_agent_fds(const wr_agent *a, int fd[WR_PARK_FDS_MAX])
{
    int of_dialer = a->dialer != NULL ? wr_dialer_fd(a->dialer) : -1;
    if (of_dialer < 0) return 0;
    fd[0] = of_dialer;
    return 1;
}

wr_worker *wr_agent_worker(wr_agent *a)
{
    return a->state == WR_AGENT_RUNS ? a->worker : NULL;
}

void wr_agent_free(wr_agent *a)
{
    if (a == NULL) return;
    if (a->started) {
        cancel_all(a);
        wr_worker_join(a->worker);
    }
    if (a->dialer != NULL) wr_dialer_free(a->dialer);
    wr_worker_free(a->worker);
    if (a->loaded_module && a->config.unload != NULL) a->config.unload(a->config.self);
    if (a->restores) wr_manifest_free(&a->manifest);
    wr_message_free(&a->deployment);
    free(a->here);
    free(a->report);
    free(a->withheld);
    free(a);
}
