/* `weir logs`: a job's logs on all TaskManagers: any of them may have had an attempt of it, also before this
 * JobManager was there. Each is asked for the next piece when the last one has come, so that a client which is slow is
 * not flooded; a follower asks again after a while, those that have come since, too. */
#include "base/check.h"
#include "base/json.h"
#include "jobmanager/inside.h"
#include <stdlib.h>
#include <string.h>

enum { FOLLOW_MS = 300 };

static void ask(wr_jobmanager *jm, wr_jm_wait *w, wr_jm_log *log)
{
    wr_jm_tm  *t = wr_jm_tm_of(jm, log->tm);
    wr_message m = {.kind = WR_MSG_LOG_GET, .job = w->job, .request = w->ticket};
    log->whole = false;
    log->gone = t == NULL;
    if (log->gone) return;
    m.log = (wr_log_piece){.offset = log->offset, .data = "", .data_bytes = 0};
    log->asked = true;
    wr_jm_send(jm, t->peer, &m);
}

/* The entry of a TaskManager that has come: a new one, or that of its predecessor, whose log it goes on with. */
static wr_jm_log *entry_for(wr_jobmanager *jm, wr_jm_wait *w, const wr_jm_tm *t)
{
    for (uint32_t i = 0; i < w->logs; i++) {
        if (wr_jm_tm_of(jm, w->log[i].tm) == NULL && strcmp(w->log[i].name, t->name) == 0) return &w->log[i];
    }
    wr_jm_log *more = realloc(w->log, (w->logs + 1) * sizeof *more);
    if (more == NULL) return NULL;
    w->log = more;
    more[w->logs] = (wr_jm_log){.offset = w->from};
    snprintf(more[w->logs].name, sizeof more->name, "%.*s", (int)sizeof more->name - 1, t->name);
    return &more[w->logs++];
}

static void ask_all(wr_jobmanager *jm, wr_jm_wait *w)
{
    for (uint32_t k = 0; k < jm->tms; k++) {
        uint32_t i = 0;
        while (i < w->logs && w->log[i].tm != jm->tm[k]->tm) i++;
        wr_jm_log *log = i < w->logs ? NULL : entry_for(jm, w, jm->tm[k]);
        if (log != NULL) log->tm = jm->tm[k]->tm;
    }
    for (uint32_t i = 0; i < w->logs; i++)
        if (!w->log[i].asked) ask(jm, w, &w->log[i]);
}

/* All of it was told as it was when it was asked for: the end, unless somebody follows. What was written until the job
 * ended is asked for after that. */
static void look(wr_jobmanager *jm, wr_jm_wait *w)
{
    wr_jm_job *j = wr_jm_job_of(jm, w->job);
    for (uint32_t i = 0; i < w->logs; i++)
        if (!w->log[i].whole && !w->log[i].gone) return;
    if (w->follow && j != NULL && !j->ended) {
        if (w->next_ms == INT64_MAX) w->next_ms = wr_jm_now_ms(jm) + FOLLOW_MS;
        return;
    }
    if (w->follow && !w->last_round) {
        w->last_round = true;
        w->next_ms = wr_jm_now_ms(jm);
        return;
    }
    wr_jm_reply(jm, w->peer, w->request, NULL, w->job, 0);
    wr_jm_wait_end(jm, w);
}

void wr_jm_logs(wr_jobmanager *jm, uint64_t peer, const wr_message *m, uint64_t job)
{
    wr_errinfo info = {0};
    if (jm->tms == 0 && !m->ask.follow) {
        wr_fail(&info, WR_NOT_FOUND,
                "there is no TaskManager; the job's log lies in the folders of those that it was on");
        wr_jm_reply(jm, peer, m->request, &info, job, 0);
        return;
    }
    wr_jm_wait *w = wr_jm_wait_new(jm, peer, m->request, job, WR_JM_WAIT_LOGS);
    if (w == NULL) return;
    w->follow = m->ask.follow;
    w->json = m->ask.json;
    w->from = m->ask.offset;
    ask_all(jm, w);
    look(jm, w);
}

static void pass_as_json(wr_jobmanager *jm, const wr_jm_wait *w, const wr_jm_log *log, const wr_log_piece *p)
{
    wr_json j;
    char   *text = NULL;
    size_t  n = 0;
    FILE   *file = open_memstream(&text, &n);
    if (file == NULL) return;
    wr_json_init_file(&j, file);
    wr_json_object(&j, NULL);
    wr_json_str(&j, "taskmanager", log->name);
    wr_json_u64(&j, "offset", p->offset);
    wr_json_bytes(&j, "text", p->data, p->data_bytes);
    wr_json_end(&j);
    fclose(file);
    if (text != NULL) wr_jm_progress(jm, w, text, n);
    free(text);
}

static void pass_on(wr_jobmanager *jm, wr_jm_wait *w, uint32_t i, const wr_log_piece *p)
{
    if (p->data_bytes == 0) return;
    if (w->json) {
        pass_as_json(jm, w, &w->log[i], p);
        return;
    }
    if (w->logs > 1 && w->told != i + 1) {
        char head[WR_NAME_BYTES_MAX + 16];
        int  n = snprintf(head, sizeof head, "==> %s <==\n", w->log[i].name);
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
        if (log->offset != UINT64_MAX &&
            m->log.end < log->offset) { /* not the folder that it was before: from its start */
            log->offset = 0;
            log->whole = m->log.end == 0;
        } else {
            pass_on(jm, w, i, &m->log);
            log->offset = m->log.offset + m->log.data_bytes;
            log->whole = m->log.data_bytes == 0 || log->offset >= m->log.end;
        }
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
        ask_all(jm, w);
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
