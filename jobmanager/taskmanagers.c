/* What TaskManagers say: registration, heartbeats, and what comes from workers behind them. */
#include "base/log.h"
#include "base/sabotage.h"
#include "jobmanager/inside.h"
#include <stdlib.h>
#include <string.h>

enum { LATE_MS = 500 /* what was said in no JobManager's time is said again behind REGISTER */ };

wr_jm_tm *wr_jm_tm_of_peer(wr_jobmanager *jm, uint64_t peer)
{
    for (uint32_t i = 0; i < jm->tms; i++)
        if (jm->tm[i]->peer == peer) return jm->tm[i];
    return NULL;
}

static void kill_worker(wr_jobmanager *jm, uint64_t peer, uint64_t job, uint32_t attempt)
{
    wr_message m = {.kind = WR_MSG_KILL, .job = job, .attempt = attempt};
    wr_jm_send(jm, peer, &m);
}

/* ---- going ---- */

static void forget(wr_jobmanager *jm, uint64_t tm)
{
    for (uint32_t i = 0; i < jm->tms; i++) {
        wr_jm_tm *t = jm->tm[i];
        if (t->tm != tm) continue;
        jm->tm[i] = jm->tm[--jm->tms];
        free(t->name);
        free(t->data);
        free(t->http);
        free(t);
        return;
    }
}

void wr_jm_tm_lost(wr_jobmanager *jm, uint64_t tm, bool in_pool, const char *how)
{
    wr_jm_tm  *t = wr_jm_tm_of(jm, tm);
    wr_errinfo info = {0};
    if (t == NULL) return;
    wr_fail(&info, WR_UNREACHABLE, "TaskManager %s is lost: %s", t->name, how);
    wr_log(WR_LOG_WARN, "%s", info.text);
    wr_jm_close(jm, t->peer);
    forget(jm, tm);
    wr_jm_logs_lost(jm, tm);
    if (in_pool) wr_jm_pool(jm, (wr_pool_event){.kind = WR_POOL_LEAVE, .tm = tm});
    for (uint32_t i = 0; i < jm->jobs; i++) {
        wr_jm_worker *w = wr_jm_worker_of(jm->job[i], tm);
        if (w != NULL && !w->gone) wr_jm_worker_lost(jm->job[i], w, false, UINT32_MAX, &info);
    }
}

/* ---- coming ---- */

/* What an older JobManager placed there and what has not come back is no more. Why, a GONE may say that comes next. */
static void not_back(wr_jobmanager *jm, const wr_jm_tm *t)
{
    for (uint32_t i = 0; i < jm->jobs; i++) {
        wr_jm_worker *w = wr_jm_worker_of(jm->job[i], t->tm);
        if (w == NULL || !w->awaited) continue;
        w->awaited = false;
        w->missing = true;
        jm->job[i]->late_ms = wr_jm_now_ms(jm) + LATE_MS;
    }
}

void wr_jm_nobody_said_why(wr_jm_job *j)
{
    j->late_ms = INT64_MAX;
    for (uint32_t i = 0; i < j->workers; i++) {
        wr_jm_worker   *w = &j->worker[i];
        const wr_jm_tm *t = wr_jm_tm_of(j->jm, w->tm);
        wr_pool_event   freed = {.kind = WR_POOL_FREED, .job = j->id, .attempt = j->attempt, .tm = w->tm};
        wr_errinfo      info = {0};
        if (!w->missing || w->gone) continue;
        wr_fail(&info, WR_UNREACHABLE, "the worker on TaskManager %s ended while there was no JobManager",
                t != NULL ? t->name : "that is lost");
        wr_jm_worker_lost(j, w, false, UINT32_MAX, &info);
        wr_jm_pool(j->jm, freed); /* nobody else will say so */
    }
}

static void back(wr_jobmanager *jm, const wr_jm_tm *t, const wr_running_worker *r)
{
    wr_jm_job    *j = wr_jm_job_of(jm, r->job);
    wr_jm_worker *w = j != NULL && j->attempt == r->attempt ? wr_jm_worker_of(j, t->tm) : NULL;
    if (w == NULL || w->gone || !wr_core_job_alive(&j->core)) {
        jm->count.stale++;
        kill_worker(jm, t->peer, r->job, r->attempt);
        return;
    }
    w->awaited = false;
    wr_jm_was_on(j, t);
    for (uint32_t i = 0; i < r->tasks; i++) wr_jm_report(j, t->tm, &r->task[i]);
    if (!wr_core_job_alive(&j->core) || j->core.state <= WR_JOB_RUNNING) return;
    wr_message m = {.kind = WR_MSG_ORDER, .job = r->job, .attempt = r->attempt, .order = {.verb = WR_DO_CANCEL}};
    wr_jm_send(jm, t->peer, &m); /* it was not here when the others heard that */
}

static void refuse(wr_jobmanager *jm, uint64_t peer, wr_err err, const char *why)
{
    wr_message m = {.kind = WR_MSG_REFUSED};
    wr_fail(&m.refused, err, "%s", why);
    wr_jm_send(jm, peer, &m);
    wr_jm_close(jm, peer);
}

static wr_jm_tm *add(wr_jobmanager *jm, uint64_t peer, const wr_register *r)
{
    wr_jm_tm *t = jm->tms < WR_TMS_MAX ? calloc(1, sizeof *t) : NULL;
    if (t == NULL) return NULL;
    *t = (wr_jm_tm){.tm = r->tm,
                    .peer = peer,
                    .pid = r->pid,
                    .name = strdup(r->name),
                    .data = strdup(r->data),
                    .http = strdup(r->http),
                    .slots = r->slots,
                    .heard_ms = wr_jm_now_ms(jm),
                    .since_wall_ms = wr_jm_wall_ms(jm)};
    jm->tm[jm->tms++] = t;
    if (t->name != NULL && t->data != NULL && t->http != NULL) return t;
    forget(jm, r->tm);
    return NULL;
}

static void joined(wr_jobmanager *jm, uint64_t peer, const wr_register *r)
{
    wr_jm_tm *before = wr_jm_tm_of_peer(jm, peer), *same = wr_jm_tm_of(jm, r->tm);
    if (before != NULL && before == same) return; /* said twice */
    if (r->tm == 0 || r->slots == 0 || r->slots > WR_SLOTS_MAX || before != NULL) {
        refuse(jm, peer, WR_CONFIG, "a TaskManager has 1 to 256 slots and one number");
        if (before != NULL) wr_jm_tm_lost(jm, before->tm, true, "it said that it is another one");
        return;
    }
    if (same != NULL) wr_jm_tm_lost(jm, r->tm, true, "it came by another connection");
    wr_jm_tm *t = add(jm, peer, r);
    if (t == NULL) {
        refuse(jm, peer, WR_LIMIT, "there is no room for one more TaskManager");
        return;
    }
    wr_jm_pool(jm,
               (wr_pool_event){
                   .kind = WR_POOL_JOIN, .tm = t->tm, .slots = t->slots, .on = wr_ledger_drained(jm->ledger, t->tm)});
    wr_message m = {.kind = WR_MSG_REGISTERED,
                    .registered = {.heartbeat_ms = jm->config.heartbeat_ms, .lease_ms = jm->config.lease_ms}};
    wr_jm_send(jm, peer, &m);
    wr_log(WR_LOG_INFO, "TaskManager %s with %u slots is here; data port %s", t->name, t->slots, t->data);
    for (uint32_t i = 0; i < r->workers; i++) back(jm, t, &r->worker[i]);
    not_back(jm, t);
}

/* ---- from workers ---- */

static void worker_ended(wr_jobmanager *jm, wr_jm_tm *t, const wr_message *m)
{
    wr_jm_job *j = wr_jm_job_of(jm, m->job);
    bool       mine = j != NULL && j->attempt == m->attempt;
    if (mine) {
        wr_jm_worker *w = wr_jm_worker_of(j, t->tm);
        if (m->gone.report[0] != 0) {
            free(j->report);
            j->report = strdup(m->gone.report);
            wr_jm_crash_keep(jm, j->id, m->gone.report);
        }
        if (!m->gone.clean)
            wr_log(WR_LOG_WARN, "job %s: the worker on %s ended: %s", j->name, t->name, m->gone.info.text);
        const wr_errinfo *why = m->gone.info.code != WR_OK ? &m->gone.info : NULL;
        if (w != NULL && !w->gone)
            wr_jm_worker_lost(j, w, m->gone.clean, m->gone.subtask, why);
        else if (w != NULL && !m->gone.clean && why != NULL) /* better late than never */
            wr_jm_feed(
                j, (wr_job_event){.kind = WR_JOB_LOST, .attempt = j->attempt, .subtask = m->gone.subtask, .info = why});
    }
    /* A job that will go on keeps the slot until it asks for slots again. */
    bool keep = mine && !wr_job_state_final(j->core.state) && !j->core.waits && j->core.attempt == m->attempt;
    wr_jm_pool(jm,
               (wr_pool_event){.kind = WR_POOL_FREED, .job = m->job, .attempt = m->attempt, .tm = t->tm, .keep = keep});
}

static void take_stats(wr_jm_job *j, wr_jm_worker *w, wr_message *m)
{
    wr_jobmanager *jm = j->jm;
    wr_message     old = w->stats;
    w->before_ms = w->measured ? w->stats_ms : 0;
    w->stats_ms = wr_jm_now_ms(jm);
    w->stats = *m;
    if (w->measured) {
        wr_message_free(&w->last);
        w->last = old;
        w->compared = true;
    }
    w->measured = true;
    memset(m, 0, sizeof *m); /* it is ours now */
}

static void from_worker(wr_jobmanager *jm, wr_jm_tm *t, wr_message *m)
{
    wr_jm_job    *j = wr_jm_job_of(jm, m->job);
    wr_jm_worker *w = j != NULL && (j->attempt == m->attempt || wr_sabotage.stale_epoch) ? wr_jm_worker_of(j, t->tm)
                                                                                         : NULL;
    if (w == NULL || w->gone) { /* a worker of an attempt that is over: it must end, and has no effect */
        jm->count.stale++;
        if (j == NULL || m->attempt <= j->attempt) kill_worker(jm, t->peer, m->job, m->attempt);
        return;
    }
    if (m->kind == WR_MSG_REPORT) {
        for (uint32_t i = 0; i < m->report.tasks; i++) wr_jm_report(j, t->tm, &m->report.task[i]);
    } else if (m->kind == WR_MSG_ACK) {
        wr_ack *ack = m->ack;
        m->ack = NULL;
        if (ack != NULL) wr_jm_ack(j, t->tm, ack);
    } else {
        take_stats(j, w, m);
    }
}

void wr_jm_send_blob(wr_jobmanager *jm, uint64_t peer, const wr_message *m)
{
    wr_message  answer = {.kind = WR_MSG_BLOB, .request = m->request};
    wr_errinfo  info = {0};
    const char *name = NULL;
    if (wr_blobs_get(jm->blobs, peer, &m->blob, &answer.blob, &info) != WR_OK) {
        name = wr_jm_blob_name(jm, m->blob.digest);
        wr_fail(&answer.blob.info, info.code, "%s%s%s", name != NULL ? name : "", name != NULL ? ": " : "", info.text);
    }
    wr_jm_send(jm, peer, &answer);
    free((char *)(uintptr_t)answer.blob.data);
}

static void heard(wr_jobmanager *jm, wr_jm_tm *t, uint64_t seq)
{
    wr_message answer = {.kind = WR_MSG_HEARD, .seq = seq};
    t->heard_ms = wr_jm_now_ms(jm);
    wr_jm_pool(jm, (wr_pool_event){.kind = WR_POOL_HEARD, .tm = t->tm});
    wr_jm_send(jm, t->peer, &answer);
}

bool wr_jm_heartbeat(wr_jobmanager *jm, const wr_peer_event *e)
{
    enum { BYTES_MAX = 256 }; /* what is larger is none, and need not be looked into */
    wr_jm_tm  *t = wr_jm_tm_of_peer(jm, e->peer);
    wr_message m;
    if (e->kind != WR_PEER_MESSAGE || e->n > BYTES_MAX || t == NULL) return false;
    if (wr_core_pool_tm_of(&jm->pool, t->tm) == NULL) return false; /* its slots may be another's by now */
    if (wr_message_decode(&m, e->bytes, e->n, NULL) != WR_OK) return false;
    bool is = m.kind == WR_MSG_HEARTBEAT && m.leader <= jm->leader; /* else we are not the leader any more */
    if (is) heard(jm, t, m.seq);
    wr_message_free(&m);
    return is;
}

void wr_jm_from_tm(wr_jobmanager *jm, uint64_t peer, wr_message *m)
{
    wr_jm_tm *t = wr_jm_tm_of_peer(jm, peer);
    if (m->kind == WR_MSG_REGISTER) {
        joined(jm, peer, &m->reg);
        return;
    }
    if (t == NULL) { /* what a lost one had sent before */
        jm->count.stale++;
        return;
    }
    switch (m->kind) {
    case WR_MSG_HEARTBEAT: heard(jm, t, m->seq); break;
    case WR_MSG_GONE: worker_ended(jm, t, m); break;
    case WR_MSG_BLOB_GET: wr_jm_send_blob(jm, peer, m); break;
    case WR_MSG_LOG: wr_jm_log_came(jm, t->tm, m); break;
    default: from_worker(jm, t, m);
    }
}
