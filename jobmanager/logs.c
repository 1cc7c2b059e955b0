/* `weir logs`: a job's logs on all TaskManagers of its newest attempt. Each is asked for the next piece when the last
 * one has come, so that a client which is slow is not flooded; a follower asks again after a while. */
#include "jobmanager/inside.h"
#include <stdlib.h>
#include <string.h>

enum { FOLLOW_MS = 300 };

static void ask(wr_jobmanager *jm, wr_jm_wait *w, wr_jm_log *log)
{
    wr_jm_tm  *t = wr_jm_tm_of(jm, log->tm);
    wr_message m = {.kind = WR_MSG_LOG_GET, .job = w->job, .request = w->ticket};
    if (t == NULL) {
        log->gone = true;
        return;
    }
    m.log = (wr_log_piece){.offset = log->offset, .data = "", .data_bytes = 0};
    log->asked = true;
    wr_jm_send(jm, t->peer, &m);
}

/* All of it was told as it was when it was asked for: the end, unless somebody follows. */
static void look(wr_jobmanager *jm, wr_jm_wait *w)
{
    bool       open = false, there = false;
    wr_jm_job *j = wr_jm_job_of(jm, w->job);
    for (uint32_t i = 0; i < w->logs; i++) {
        open = open || (!w->log[i].whole && !w->log[i].gone);
        there = there || !w->log[i].gone;
    }
    if (open) return;
    if (w->follow && there && j != NULL && !j->ended) {
        if (w->next_ms == INT64_MAX) w->next_ms = wr_jm_now_ms(jm) + FOLLOW_MS;
        return;
    }
    wr_jm_reply(jm, w->peer, w->request, NULL, w->job, 0);
    wr_jm_wait_end(jm, w);
}

void wr_jm_logs(wr_jobmanager *jm, uint64_t peer, const wr_message *m, wr_jm_job *j, uint64_t job)
{
    wr_errinfo info = {0};
    if (j == NULL || j->workers == 0) {
        wr_fail(&info, WR_NOT_FOUND,
                "the job has no worker in this JobManager's time; its log lies in the folders of "
                "the TaskManagers that it was on");
        wr_jm_reply(jm, peer, m->request, &info, job, 0);
        return;
    }
    wr_jm_wait *w = wr_jm_wait_new(jm, peer, m->request, job, WR_JM_WAIT_LOGS);
    if (w == NULL) return;
    w->follow = m->ask.follow;
    w->log = calloc(j->workers, sizeof *w->log);
    w->logs = w->log != NULL ? j->workers : 0;
    for (uint32_t i = 0; i < w->logs; i++) {
        w->log[i] = (wr_jm_log){.tm = j->worker[i].tm, .offset = m->ask.offset};
        ask(jm, w, &w->log[i]);
    }
    look(jm, w);
}

static void pass_on(wr_jobmanager *jm, wr_jm_wait *w, uint32_t i, const wr_log_piece *p)
{
    if (p->data_bytes == 0) return;
    if (w->logs > 1 && w->told != i + 1) {
        const wr_jm_tm *t = wr_jm_tm_of(jm, w->log[i].tm);
        char            head[WR_NAME_BYTES_MAX + 16];
        int             n = snprintf(head, sizeof head, "==> %.*s <==\n", WR_NAME_BYTES_MAX, t != NULL ? t->name : "?");
        wr_jm_progress(jm, w, head, (size_t)n);
    }
    w->told = i + 1;
    wr_jm_progress(jm, w, p->data, p->data_bytes);
}

void wr_jm_log_came(wr_jobmanager *jm, uint64_t tm, const wr_message *m)
{
    wr_jm_wait *w = jm->wait;
    while (w != NULL && (w->kind != WR_JM_WAIT_LOGS || w->ticket != m->request)) w = w->next;
    for (uint32_t i = 0; w != NULL && i < w->logs; i++) {
        wr_jm_log *log = &w->log[i];
        if (log->tm != tm || !log->asked) continue;
        log->asked = false;
        pass_on(jm, w, i, &m->log);
        log->offset = m->log.offset + m->log.data_bytes;
        log->whole = m->log.data_bytes == 0 || log->offset >= m->log.end;
        if (!log->whole) ask(jm, w, log);
        look(jm, w);
        return;
    }
}

void wr_jm_logs_lost(wr_jobmanager *jm, uint64_t tm)
{
    for (wr_jm_wait *w = jm->wait, *next; w != NULL; w = next) {
        bool any = false;
        next = w->next;
        for (uint32_t i = 0; i < w->logs; i++) {
            if (w->log[i].tm != tm) continue;
            w->log[i].gone = any = true;
            w->log[i].asked = false;
        }
        if (any) look(jm, w);
    }
}

void wr_jm_logs_due(wr_jobmanager *jm)
{
    int64_t now = wr_jm_now_ms(jm);
    for (wr_jm_wait *w = jm->wait, *next; w != NULL; w = next) {
        next = w->next;
        if (w->kind != WR_JM_WAIT_LOGS || w->next_ms > now) continue;
        w->next_ms = INT64_MAX;
        for (uint32_t i = 0; i < w->logs; i++) {
            if (w->log[i].gone || w->log[i].asked) continue;
            w->log[i].whole = false;
            ask(jm, w, &w->log[i]);
        }
        look(jm, w);
    }
}

int64_t wr_jm_logs_next_ms(const wr_jobmanager *jm)
{
    int64_t at = INT64_MAX;
    for (const wr_jm_wait *w = jm->wait; w != NULL; w = w->next)
        if (w->next_ms < at) at = w->next_ms;
    return at;
}
