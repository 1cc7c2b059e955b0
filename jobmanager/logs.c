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

/* One piece as an object; NULL without memory. p NULL: it is not to be had. */
static char *as_json(const char *name, const wr_log_piece *p, size_t *n)
{
    wr_json j;
    char   *text = NULL;
    FILE   *file = open_memstream(&text, n);
    if (file == NULL) return NULL;
    wr_json_init_file(&j, file);
    wr_json_object(&j, NULL);
    wr_json_str(&j, "taskmanager", name);
    wr_json_u64(&j, "offset", p != NULL ? p->offset : 0);
    wr_json_bytes(&j, "text", p != NULL ? p->data : "", p != NULL ? p->data_bytes : 0);
    if (p == NULL) wr_json_bool(&j, "away", true);
    wr_json_end(&j);
    fclose(file);
    return text;
}

/* ---- what is not here ---- */

static bool is_here(const wr_jobmanager *jm, const char *name)
{
    for (uint32_t k = 0; k < jm->tms; k++)
        if (strcmp(jm->tm[k]->name, name) == 0) return true;
    return false;
}

/* The client says it beside the log. */
static void say_away(wr_jobmanager *jm, wr_jm_wait *w, const char *name)
{
    size_t     n = 0;
    char      *out = w->json ? as_json(name, NULL, &n) : NULL;
    wr_message m = {.kind = WR_MSG_PROGRESS, .request = w->request, .job = w->job};
    m.reply = (wr_reply){.out = out != NULL ? out : "", .out_bytes = (uint32_t)n, .job = w->job};
    if (name != NULL)
        wr_fail(&m.reply.info, WR_NOT_FOUND,
                "the job was on TaskManager %s, which is not here: what it wrote there lies in that one's folder",
                name);
    else
        wr_fail(&m.reply.info, WR_NOT_FOUND,
                "the job was on a TaskManager that has not come back since the JobManager began: what it wrote there "
                "lies in that one's folder");
    w->away = true;
    wr_jm_send(jm, w->peer, &m);
    free(out);
}

static void say_all_away(wr_jobmanager *jm, wr_jm_wait *w, const wr_jm_job *j)
{
    bool nameless = false;
    for (uint32_t i = 0; i < j->was_ons; i++)
        if (!is_here(jm, j->was_on[i])) say_away(jm, w, j->was_on[i]);
    for (uint32_t i = 0; i < j->workers; i++)
        nameless |= j->worker[i].tm_name == NULL && wr_jm_tm_of(jm, j->worker[i].tm) == NULL;
    if (nameless) say_away(jm, w, NULL);
}

static bool was_on(const wr_jm_job *j, const char *name)
{
    for (uint32_t i = 0; j != NULL && i < j->was_ons; i++)
        if (strcmp(j->was_on[i], name) == 0) return true;
    return false;
}

/* ---- what is ---- */

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
    wr_errinfo none = {0};
    bool       nothing = !w->any && w->from == 0;
    if (nothing && w->away)
        wr_fail(&none, WR_NOT_FOUND, "nothing of the job's log is here");
    else if (nothing && j == NULL)
        wr_fail(&none, WR_NOT_FOUND,
                "no TaskManager that is here has anything of the job's log; where it ran is not known: it ended before "
                "this JobManager began");
    wr_jm_reply(jm, w->peer, w->request, &none, w->job, 0);
    wr_jm_wait_end(jm, w);
}

void wr_jm_logs(wr_jobmanager *jm, uint64_t peer, const wr_message *m, uint64_t job)
{
    wr_errinfo       info = {0};
    const wr_jm_job *j = wr_jm_job_of(jm, job);
    if (jm->tms == 0 && (!m->ask.follow || j == NULL || j->ended)) { /* there is nothing to wait for, either */
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
    if (j != NULL) say_all_away(jm, w, j);
    ask_all(jm, w);
    look(jm, w);
}

static void pass_on(wr_jobmanager *jm, wr_jm_wait *w, uint32_t i, const wr_log_piece *p)
{
    if (p->data_bytes == 0) return;
    w->any = true;
    if (w->json) {
        size_t n = 0;
        char  *text = as_json(w->log[i].name, p, &n);
        if (text != NULL) wr_jm_progress(jm, w, text, n);
        free(text);
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
            wr_jm_log *log = &w->log[i];
            bool       had = log->offset > w->from || was_on(wr_jm_job_of(jm, w->job), log->name);
            if (!log->gone && had && (w->follow || !log->whole)) say_away(jm, w, log->name);
            log->gone = any = true;
            log->asked = false;
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
