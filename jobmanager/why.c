#include "jobmanager/why.h"
#include "base/text.h"
#include "jobmanager/why_flow.h"
#include <string.h>

enum { NAMES_MOST = 3, RECENT_MS = 60000 };

const char *wr_why_kind_name(uint32_t kind)
{
    static const char *const NAME[WR_WHY_KINDS] = {
        [WR_WHY_RUNS] = "runs",
        [WR_WHY_ENDED] = "ended",
        [WR_WHY_FAILED] = "failed",
        [WR_WHY_RESTARTS] = "restarts",
        [WR_WHY_SLOTS] = "slots",
        [WR_WHY_RECONCILES] = "reconciles",
        [WR_WHY_STARTS] = "starts",
        [WR_WHY_ENDS] = "ends",
        [WR_WHY_STOPS] = "stops",
        [WR_WHY_SNAPSHOTS] = "snapshots",
        [WR_WHY_SLOW] = "slow",
        [WR_WHY_SKEW] = "skew",
        [WR_WHY_EVENT_TIME] = "event-time",
        [WR_WHY_NO_INPUT] = "no-input",
        [WR_WHY_UNKNOWN] = "unknown",
        [WR_WHY_STOPPED] = "stopped",
    };
    return kind > 0 && kind < WR_WHY_KINDS ? NAME[kind] : "?";
}

void wr_why_say(wr_why_answer *a, uint32_t kind, const char *format, ...)
{
    if (a->lines == WR_WHY_LINES_MAX) return;
    wr_why_line *l = &a->line[a->lines++];
    va_list      args;
    l->kind = kind;
    va_start(args, format);
    vsnprintf(l->text, sizeof l->text, format, args);
    va_end(args);
}

static const char *duration(char to[WR_TEXT_NUMBER_MAX + 1], int64_t ms)
{
    int64_t round = ms > 10000 ? 1000 : ms > 1000 ? 100 : 1;
    wr_text_of_duration(to, (ms > 0 ? ms : 0) / round * round * 1000000);
    return to;
}

/* "count subtask 3"; "" when nobody knows. */
static void place_of(const wr_why_input *in, uint32_t subtask, char *to, size_t bytes)
{
    to[0] = 0;
    if (in->exec == NULL || subtask >= in->exec->subtasks) return;
    const wr_subtask *t = &in->exec->subtask[subtask];
    snprintf(to, bytes, "; '%s' subtask %u", in->exec->vertex[t->vertex].name, t->index);
}

/* ---- failures ---- */

static void say_failed(const wr_why_input *in, wr_why_answer *a)
{
    const wr_errinfo *cause = in->cause != NULL && in->cause->code != WR_OK ? in->cause
                              : in->failure != NULL                         ? &in->failure->info
                                                                            : NULL;
    char              place[WR_NAME_BYTES_MAX * 2] = "", ago[WR_TEXT_NUMBER_MAX + 1], when[64] = "";
    uint32_t          subtask = in->cause == cause    ? in->failed_subtask
                                : in->failure != NULL ? in->failure->subtask
                                                      : UINT32_MAX;
    if (cause == NULL) return;
    place_of(in, subtask, place, sizeof place);
    if (in->failure != NULL && in->wall_ms >= in->failure->wall_ms)
        snprintf(when, sizeof when, " %s ago", duration(ago, in->wall_ms - in->failure->wall_ms));
    wr_why_say(a, WR_WHY_FAILED, "it failed%s: %s: %s%s", when, wr_err_name(cause->code), wr_errinfo_text(cause),
               place);
}

static bool some(const char *text)
{
    return text != NULL && text[0] != 0;
}

/* What it was stopped with, and how to go on. */
static void say_stopped(const wr_why_stop *s, wr_why_answer *a)
{
    bool        drained = s->how == WR_LEDGER_DRAIN, failed = s->failure != NULL;
    const char *how = drained ? "it was stopped with --drain, as if its input had ended" : "it was stopped";
    if (!some(s->folder)) {
        wr_why_say(a, WR_WHY_STOPPED, "%s; it took no snapshots: submitted again it begins anew", how);
        return;
    }
    if (s->last != 0)
        wr_why_say(a, WR_WHY_STOPPED, "%s; snapshot %llu in %s is its last", how, (unsigned long long)s->last,
                   s->folder);
    else
        wr_why_say(a, WR_WHY_STOPPED, "%s; its last snapshot is in %s", how, s->folder);
    if (failed) wr_why_say(a, WR_WHY_STOPPED, "not all that was asked for was done: %s", wr_errinfo_text(s->failure));
    if (some(s->savepoint) && !failed)
        wr_why_say(a, WR_WHY_STOPPED, s->seen ? "a savepoint of it is in %s" : "a savepoint of it was to go to %s",
                   s->savepoint);
    if (!drained)
        wr_why_say(a, WR_WHY_STOPPED, "to go on where it was: weir submit PIPELINE --restore %s",
                   some(s->savepoint) && s->seen && !failed ? s->savepoint : s->folder);
}

static void say_final(const wr_why_input *in, wr_why_answer *a)
{
    bool stopped = in->stop.how == WR_LEDGER_STOP || in->stop.how == WR_LEDGER_DRAIN;
    if (in->state == WR_JOB_FINISHED && stopped)
        say_stopped(&in->stop, a);
    else if (in->state == WR_JOB_FINISHED)
        wr_why_say(a, WR_WHY_ENDED, "it has finished: all of its input was processed");
    if (in->state == WR_JOB_CANCELED) wr_why_say(a, WR_WHY_ENDED, "it was canceled");
    if (in->state != WR_JOB_FAILED) return;
    say_failed(in, a);
    if (in->job != NULL && in->job->why_no_restart[0] != 0)
        wr_why_say(a, WR_WHY_ENDED, "it was not restarted: %s", in->job->why_no_restart);
}

/* ---- slots ---- */

static void say_slots(const wr_why_input *in, wr_why_answer *a)
{
    const wr_pool_sums *p = &in->pool;
    uint32_t            missing = in->slots > p->free_slots ? in->slots - p->free_slots : 0;
    char                others[96] = "", drains[64] = "";
    if (p->tms == 0) {
        wr_why_say(a, WR_WHY_SLOTS,
                   "it waits for %u slots, and there is no TaskManager; start one: weir taskmanager --slots %u",
                   in->slots, in->slots);
        return;
    }
    if (p->waiting > 1) snprintf(others, sizeof others, "; %u jobs wait for %u slots", p->waiting, p->wanted);
    if (p->draining > 0)
        snprintf(drains, sizeof drains, "; %u TaskManager%s no work: drained", p->draining,
                 p->draining == 1 ? " takes" : "s take");
    if (missing == 0)
        wr_why_say(a, WR_WHY_SLOTS, "it waits for %u slots, %u are free, and it gets them now", in->slots,
                   p->free_slots);
    else
        wr_why_say(a, WR_WHY_SLOTS, "it waits for slots: it needs %u, %u of %u are free, %u %s missing%s%s; %s",
                   in->slots, p->free_slots, p->slots, missing, missing == 1 ? "is" : "are", drains, others,
                   in->slots > p->slots ? "start a TaskManager, or lower its parallelism: weir rescale"
                                        : "start a TaskManager, or end another job");
}

/* ---- what has not come, or not gone ---- */

/* The first few of the subtasks for which `which` is true, as "'count' subtask 1, 'count' subtask 2 and 5 more". */
typedef struct names {
    char     text[4 * (WR_NAME_BYTES_MAX + 32)];
    uint32_t n;
} names;

static void add_name(names *n, const wr_why_input *in, uint32_t subtask)
{
    const wr_subtask *t = &in->exec->subtask[subtask];
    size_t            at = strlen(n->text);
    if (n->n++ >= NAMES_MOST) return;
    snprintf(n->text + at, sizeof n->text - at, "%s'%s' subtask %u", at > 0 ? ", " : "",
             in->exec->vertex[t->vertex].name, t->index);
}

static void end_names(names *n)
{
    size_t at = strlen(n->text);
    if (n->n > NAMES_MOST) snprintf(n->text + at, sizeof n->text - at, " and %u more", n->n - NAMES_MOST);
}

static void subtasks_in(const wr_why_input *in, uint32_t states, bool unloaded, names *n)
{
    memset(n, 0, sizeof *n);
    for (uint32_t i = 0; in->exec != NULL && i < in->exec->subtasks && i < in->job->subtasks; i++) {
        const wr_execution *e = &in->job->execution[i];
        if ((states & (1u << e->state)) != 0 && (!unloaded || !e->loaded)) add_name(n, in, i);
    }
    end_names(n);
}

static void say_ends(const wr_why_input *in, wr_why_answer *a)
{
    names n;
    char  left[WR_TEXT_NUMBER_MAX + 1], kill[80] = "";
    subtasks_in(in, 1u << WR_EXEC_CANCELING, false, &n);
    if (n.n == 0) return;
    if (in->job->kill_ms != INT64_MAX)
        snprintf(kill, sizeof kill, "; what is left in %s is killed", duration(left, in->job->kill_ms - in->now_ms));
    wr_why_say(a, WR_WHY_ENDS, "%u subtask%s told to end and did not yet: %s%s", n.n, n.n == 1 ? " was" : "s were",
               n.text, kill);
}

static void say_starts(const wr_why_input *in, wr_why_answer *a)
{
    names n;
    char  ago[WR_TEXT_NUMBER_MAX + 1];
    subtasks_in(in, 1u << WR_EXEC_DEPLOYING | 1u << WR_EXEC_INITIALIZING, true, &n);
    bool here = (in->job->in[WR_EXEC_DEPLOYING] > 0);
    wr_why_say(a, WR_WHY_STARTS, "it starts since %s: %u of %u subtasks are loaded; %s %s",
               duration(ago, in->now_ms - in->job->since_ms[WR_JOB_RUNNING]), in->job->loaded, in->job->subtasks,
               here ? "their workers are being started, or get the job's files:" : "state is being read, or connected:",
               n.text);
}

static void say_reconciles(const wr_why_input *in, wr_why_answer *a)
{
    char     text[4 * (WR_NAME_BYTES_MAX + 4)] = "";
    uint32_t n = 0;
    for (uint32_t i = 0; i < in->workers; i++) {
        size_t at = strlen(text);
        if (!in->worker[i].awaited || n++ >= NAMES_MOST) continue;
        snprintf(text + at, sizeof text - at, "%s%s", at > 0 ? ", " : "", in->worker[i].name);
    }
    if (n > 0)
        wr_why_say(a, WR_WHY_RECONCILES,
                   "the JobManager is new, and waits for %u of %u TaskManagers that had workers of this job: %s%s; if "
                   "they do not come back, it restarts",
                   n, in->workers, text, n > NAMES_MOST ? "..." : "");
    else
        wr_why_say(a, WR_WHY_RECONCILES, "the JobManager is new, and waits for %u subtasks to say how they are",
                   in->job->in[WR_EXEC_DEPLOYING]);
}

static void say_restarts(const wr_why_input *in, wr_why_answer *a)
{
    char               in_time[WR_TEXT_NUMBER_MAX + 1];
    const wr_core_job *j = in->job;
    if (j->cause.code != WR_OK) say_failed(in, a);
    if (j->waits) say_slots(in, a);
    if (j->restart_ms != INT64_MAX)
        wr_why_say(a, WR_WHY_RESTARTS, "it starts again in %s, as attempt %u (restart strategy %s)",
                   duration(in_time, j->restart_ms - in->now_ms), j->attempt + 1,
                   wr_restart_strategy_name(j->restart.config.strategy));
    if (wr_core_job_alive(j))
        wr_why_say(a, WR_WHY_RESTARTS, "it was ordered to start again (rescaled, or moved), as attempt %u",
                   j->attempt + 1);
    say_ends(in, a);
}

/* ---- snapshots ---- */

static void say_pending(const wr_why_input *in, wr_why_answer *a, const wr_pending_snapshot *p)
{
    names n = {0};
    char  ago[WR_TEXT_NUMBER_MAX + 1];
    for (uint32_t i = 0; in->exec != NULL && i < in->exec->subtasks && i < in->snapshots->config.subtasks; i++)
        if (!p->figures[i].acked) add_name(&n, in, i);
    end_names(&n);
    wr_why_say(a, WR_WHY_SNAPSHOTS, "snapshot %llu is under way since %s, and waits for %u of %u subtasks: %s",
               (unsigned long long)p->barrier.id, duration(ago, in->now_ms - p->begun_ms), n.n,
               in->snapshots->config.subtasks, n.text);
}

/* Nothing ends it but its folder: what is written may be complete already. */
static void say_savepoint(const wr_why_input *in, wr_why_answer *a)
{
    char ago[WR_TEXT_NUMBER_MAX + 1];
    wr_why_say(a, WR_WHY_SNAPSHOTS, "a savepoint is being written since %s, and %s: see that this folder answers: %s",
               duration(ago, in->now_ms - in->savepoint_ms),
               in->snapshots->finished ? "the job ends after it"
                                       : "snapshots wait for it, so results are not committed",
               in->savepoint);
}

static void say_snapshots(const wr_why_input *in, wr_why_answer *a, bool ending)
{
    const wr_core_checkpoint *m = in->snapshots;
    char                      place[WR_NAME_BYTES_MAX * 2] = "";
    if (m == NULL) return;
    const wr_snapshot_record *r = wr_core_checkpoint_failing(m);
    if (r != NULL) {
        char many[48] = "the last snapshot failed";
        if (m->failures > 1) snprintf(many, sizeof many, "the last %u snapshots failed", m->failures);
        place_of(in, r->failed_subtask, place, sizeof place);
        wr_why_say(a, WR_WHY_SNAPSHOTS, "%s, and results are not committed: %s%s", many, wr_errinfo_text(&r->why),
                   place);
    }
    int64_t slow_ms = m->config.interval_ms > 1000 ? m->config.interval_ms : 1000;
    if (m->phase == WR_CHECKPOINT_ACKS && (ending || in->now_ms - m->pending.begun_ms > slow_ms))
        say_pending(in, a, &m->pending);
    if (in->savepoint != NULL && (ending || in->now_ms - in->savepoint_ms > slow_ms)) say_savepoint(in, a);
}

/* ---- all of it ---- */

static void say_running(const wr_why_input *in, wr_why_answer *a)
{
    bool ending = in->job->stopping;
    if (in->failure != NULL && in->wall_ms - in->failure->wall_ms < RECENT_MS) {
        say_failed(in, a);
        wr_why_say(a, WR_WHY_RESTARTS, "it was started again, as attempt %u", in->job->attempt);
    }
    if (!in->job->went && in->job->cluster) {
        say_starts(in, a);
        return;
    }
    if (ending) wr_why_say(a, WR_WHY_STOPS, "it was ordered to stop: its sources give nothing more, and it finishes");
    say_snapshots(in, a, ending);
    wr_why_flows(in, a, ending);
}

void wr_why(const wr_why_input *in, wr_why_answer *a)
{
    a->lines = 0;
    if (wr_job_state_final(in->state) || in->job == NULL) {
        say_final(in, a);
    } else {
        switch (in->state) {
        case WR_JOB_CREATED: say_slots(in, a); break;
        case WR_JOB_RECONCILING: say_reconciles(in, a); break;
        case WR_JOB_RESTARTING: say_restarts(in, a); break;
        case WR_JOB_FAILING:
            say_failed(in, a);
            say_ends(in, a);
            break;
        case WR_JOB_CANCELLING:
            wr_why_say(a, WR_WHY_ENDS, "it was canceled");
            say_ends(in, a);
            break;
        default: say_running(in, a); break;
        }
    }
    if (a->lines == 0) wr_why_say(a, WR_WHY_UNKNOWN, "it is %s, and no more is known", wr_job_state_name(in->state));
}

void wr_why_json(wr_json *json, const wr_why_input *in, const wr_why_answer *answer)
{
    wr_json_object(json, NULL);
    wr_json_str(json, "job", in->name);
    wr_json_str(json, "state", wr_job_state_name(in->state));
    wr_json_array(json, "reasons");
    for (uint32_t i = 0; i < answer->lines; i++) {
        wr_json_object(json, NULL);
        wr_json_str(json, "kind", wr_why_kind_name(answer->line[i].kind));
        wr_json_str(json, "text", answer->line[i].text);
        wr_json_end(json);
    }
    wr_json_end(json);
    wr_json_end(json);
}
