/* What clients ask for, and how they are answered. A request that cannot be answered at once is a wr_jm_wait. */
#include "base/check.h"
#include "base/log.h"
#include "jobmanager/inside.h"
#include "jobmanager/savepoint.h"
#include <stdlib.h>
#include <string.h>

enum { WAITS_MAX = 4096 };

/* ---- answers ---- */

void wr_jm_reply(wr_jobmanager *jm, uint64_t peer, uint64_t request, const wr_errinfo *info, uint64_t job,
                 uint64_t snapshot)
{
    wr_message m = {.kind = WR_MSG_REPLY, .request = request, .job = job};
    m.reply = (wr_reply){.out = "", .job = job, .snapshot = snapshot};
    if (info != NULL) m.reply.info = *info;
    wr_jm_send(jm, peer, &m);
}

void wr_jm_reply_text(wr_jobmanager *jm, uint64_t peer, uint64_t request, char *out, size_t n)
{
    wr_message m = {.kind = WR_MSG_REPLY, .request = request};
    m.reply.out = out != NULL ? out : "";
    m.reply.out_bytes = n < WR_OUTPUT_BYTES_MAX ? (uint32_t)n : WR_OUTPUT_BYTES_MAX;
    if (out == NULL) wr_fail(&m.reply.info, WR_MEMORY, "no memory for an answer");
    wr_jm_send(jm, peer, &m);
    free(out);
}

void wr_jm_progress(wr_jobmanager *jm, const wr_jm_wait *w, const char *out, size_t n)
{
    wr_message m = {.kind = WR_MSG_PROGRESS, .request = w->request, .job = w->job};
    m.reply = (wr_reply){.out = out, .out_bytes = (uint32_t)n, .job = w->job};
    wr_jm_send(jm, w->peer, &m);
}

__attribute__((format(printf, 5, 6))) static void fail(wr_jobmanager *jm, uint64_t peer, const wr_message *m,
                                                       wr_err err, const char *format, ...)
{
    wr_errinfo info = {.code = err};
    va_list    args;
    va_start(args, format);
    vsnprintf(info.text, sizeof info.text, format, args);
    va_end(args);
    wr_jm_reply(jm, peer, m->request, &info, 0, 0);
}

/* ---- who waits ---- */

wr_jm_wait *wr_jm_wait_new(wr_jobmanager *jm, uint64_t peer, uint64_t request, uint64_t job, uint32_t kind)
{
    uint32_t n = 0;
    for (const wr_jm_wait *w = jm->wait; w != NULL; w = w->next) n++;
    wr_jm_wait *w = n < WAITS_MAX ? calloc(1, sizeof *w) : NULL;
    if (w == NULL) {
        static const wr_errinfo full = {WR_LIMIT, "too many requests wait already; ask again later"};
        if (peer != 0) wr_jm_reply(jm, peer, request, &full, job, 0);
        return NULL;
    }
    *w = (wr_jm_wait){.next = jm->wait,
                      .peer = peer,
                      .request = request,
                      .job = job,
                      .ticket = ++jm->tickets,
                      .kind = kind,
                      .next_ms = INT64_MAX};
    jm->wait = w;
    return w;
}

void wr_jm_wait_end(wr_jobmanager *jm, wr_jm_wait *w)
{
    for (wr_jm_wait **at = &jm->wait; *at != NULL; at = &(*at)->next) {
        if (*at != w) continue;
        *at = w->next;
        break;
    }
    free(w->log);
    free(w);
}

void wr_jm_peer_gone(wr_jobmanager *jm, uint64_t peer)
{
    for (wr_jm_wait *w = jm->wait, *next; w != NULL; w = next) {
        next = w->next;
        if (w->peer != peer) continue;
        wr_jm_job *j = w->kind == WR_JM_WAIT_RESCALED ? wr_jm_job_of(jm, w->job) : NULL;
        w->peer = 0;
        if (j != NULL && j->short_of_slots)
            wr_jm_not_rescaled(j, NULL);         /* nobody waits for that any more */
        else if (w->kind != WR_JM_WAIT_RESCALED) /* that goes on all the same */
            wr_jm_wait_end(jm, w);
    }
}

static void end_with(wr_jobmanager *jm, wr_jm_wait *w, const wr_errinfo *info, uint64_t snapshot)
{
    if (w->peer != 0) wr_jm_reply(jm, w->peer, w->request, info, w->job, snapshot);
    wr_jm_wait_end(jm, w);
}

/* How the job ended, for those who waited for that. */
static void end_of_job(wr_jobmanager *jm, wr_jm_wait *w, wr_job_state state, const wr_errinfo *cause, uint64_t snapshot)
{
    static const wr_errinfo canceled = {WR_CANCELED, "the job was canceled"};
    const wr_errinfo       *info = state == WR_JOB_FAILED ? cause : state == WR_JOB_CANCELED ? &canceled : NULL;
    switch (w->kind) {
    case WR_JM_WAIT_CANCELED:
        if (state == WR_JOB_CANCELED) info = NULL;
        break;
    case WR_JM_WAIT_SNAPSHOT:
    case WR_JM_WAIT_RESCALED: {
        static const wr_errinfo ended = {WR_CANCELED, "the job ended before"};
        if (info == NULL) info = &ended;
        break;
    }
    case WR_JM_WAIT_LOGS: return; /* what is left of the log still comes */
    default: break;
    }
    end_with(jm, w, info, w->kind == WR_JM_WAIT_STOPPED ? snapshot : 0);
}

void wr_jm_told(wr_jm_job *j, wr_job_state state)
{
    wr_jobmanager *jm = j->jm;
    char           line[64];
    int            n = snprintf(line, sizeof line, "%s\n", wr_job_state_name(state));
    for (wr_jm_wait *w = jm->wait, *next; w != NULL; w = next) {
        next = w->next;
        if (w->job != j->id) continue;
        if (w->kind == WR_JM_WAIT_END && w->follow) wr_jm_progress(jm, w, line, (size_t)n);
        bool concerns = w->kind == WR_JM_WAIT_STOPPED && (w->savepoint || j->stop_target == NULL);
        if (state == WR_JOB_FINISHED && concerns && j->stop_why.code != WR_OK)
            end_with(jm, w, &j->stop_why, j->last_snapshot);
        else if (wr_job_state_final(state))
            end_of_job(jm, w, state, &j->core.cause, j->last_snapshot);
    }
}

void wr_jm_went(wr_jm_job *j)
{
    j->jm->look_at_moves = true;
    for (wr_jm_wait *w = j->jm->wait, *next; w != NULL; w = next) {
        next = w->next;
        if (w->job == j->id && w->kind == WR_JM_WAIT_RESCALED && w->taken) end_with(j->jm, w, NULL, w->snapshot);
    }
}

/* The coordinator has answered. Nothing of the machines is called from here: settle does what follows. */
void wr_jm_answered(wr_jm_job *j, uint64_t ticket, uint64_t id, const wr_errinfo *why)
{
    wr_jobmanager *jm = j->jm;
    wr_jm_wait    *w = jm->wait;
    while (w != NULL && w->ticket != ticket) w = w->next;
    bool of_stop = ticket == j->stop_ticket;
    if (of_stop && id != 0) j->last_snapshot = id;
    if (of_stop && why != NULL && why->code != WR_CANCELED) {
        wr_log(WR_LOG_WARN, "job %s is stopped, but not all that was asked for is done: %s", j->name, why->text);
        j->stop_why = *why; /* for who asks later: also again, by another connection */
    }
    if (w == NULL) return; /* who asked has gone */
    switch (w->kind) {
    case WR_JM_WAIT_STOPPED:
        /* An attempt that fails while it is being stopped is followed by one that is stopped again; and who is told
         * that the job has ended is told when it has. */
        if (why != NULL && why->code != WR_CANCELED && !of_stop) end_with(jm, w, why, id);
        break;
    case WR_JM_WAIT_RESCALED:
        if (why != NULL) {
            free(j->spec_next);
            j->spec_next = NULL;
            end_with(jm, w, why, 0);
            break;
        }
        w->taken = true;
        w->snapshot = id;
        j->restart = j->respec = true;
        break;
    case WR_JM_WAIT_MOVE:
        j->moving = false;
        if (why == NULL) j->restart = true; /* else again, in a while */
        wr_jm_wait_end(jm, w);
        break;
    default: end_with(jm, w, why, id);
    }
}

/* ---- which job is meant ---- */

static bool is_hex_prefix(uint64_t id, const char *text)
{
    char   name[17];
    size_t n = strlen(text);
    snprintf(name, sizeof name, "%016llx", (unsigned long long)id);
    return n <= 16 && n > 0 && memcmp(name, text, n) == 0;
}

/* A whole id, else a name (of a job that runs before one that has ended, the newest first), else the beginning of an
 * id. */
const wr_ledger_job *wr_jm_find_job(wr_jobmanager *jm, const char *text, wr_errinfo *info)
{
    const wr_ledger_job *l, *named = NULL, *begins = NULL;
    uint32_t             names = 0, beginnings = 0;
    for (uint32_t i = 0; (l = wr_ledger_job_at(jm->ledger, i)) != NULL; i++) {
        bool begin = is_hex_prefix(l->id, text);
        if (begin && strlen(text) == 16) return l;
        if (strcmp(l->spec.name, text) == 0) {
            if (l->state == 0) names++;
            if (named == NULL || l->state == 0 || named->state != 0) named = l;
        }
        if (begin) {
            begins = l;
            beginnings++;
        }
    }
    if (names > 1)
        wr_fail(info, WR_CONFIG, "%u jobs are called %s; name one by its id, as weir list shows it", names, text);
    else if (named != NULL)
        return named;
    else if (beginnings > 1)
        wr_fail(info, WR_CONFIG, "the ids of %u jobs begin with %s; give more of it", beginnings, text);
    else if (beginnings == 1)
        return begins;
    else
        wr_fail(info, WR_NO_JOB, "there is no job %s; weir list shows those that there are", text);
    return NULL;
}

/* ---- verbs that change something ---- */

static void wait_for(wr_jobmanager *jm, uint64_t peer, const wr_message *m, const wr_ledger_job *l, wr_jm_job *j,
                     uint32_t kind)
{
    wr_jm_wait *w = wr_jm_wait_new(jm, peer, m->request, l->id, kind);
    if (w == NULL) return;
    w->follow = m->ask.follow;
    if (l->state != 0) {
        end_of_job(jm, w, (wr_job_state)l->state, &l->cause, 0);
    } else if (w->follow && j != NULL) {
        char line[64];
        int  n = snprintf(line, sizeof line, "%s\n", wr_job_state_name(j->core.state));
        wr_jm_progress(jm, w, line, (size_t)n);
    }
}

static void cancel(wr_jobmanager *jm, uint64_t peer, const wr_message *m, const wr_ledger_job *l, wr_jm_job *j)
{
    wr_errinfo info = {0};
    if (l->state != 0) {
        fail(jm, peer, m, WR_CONFIG, "job %s has ended already: %s", l->spec.name,
             wr_job_state_name((wr_job_state)l->state));
        return;
    }
    if (wr_ledger_stopping(jm->ledger, l->id, WR_LEDGER_CANCEL, "", &info) != WR_OK) {
        wr_jm_reply(jm, peer, m->request, &info, l->id, 0);
        return;
    }
    wr_jm_wait_new(jm, peer, m->request, l->id, WR_JM_WAIT_CANCELED); /* or not: it is ordered now */
    wr_jm_feed(j, (wr_job_event){.kind = WR_JOB_CANCEL});
}

static void stop(wr_jobmanager *jm, uint64_t peer, const wr_message *m, const wr_ledger_job *l, wr_jm_job *j)
{
    wr_errinfo info = {0};
    bool       taken = l->spec.snapshots[0] != 0;
    if (l->state != 0 || l->stopping == WR_LEDGER_CANCEL) {
        fail(jm, peer, m, WR_CONFIG, "job %s %s", l->spec.name,
             l->state != 0 ? "has ended already" : "is being canceled");
        return;
    }
    if (m->ask.path[0] != 0 && !taken) {
        fail(jm, peer, m, WR_CONFIG, "job %s takes no snapshots; submit it with --snapshots DIR", l->spec.name);
        return;
    }
    bool same = (m->ask.path[0] == 0 || strcmp(m->ask.path, l->target) == 0) &&
                m->ask.drain == (l->stopping == WR_LEDGER_DRAIN);
    if (l->stopping != 0 && !same) {
        fail(jm, peer, m, WR_CONFIG, "job %s is being stopped already", l->spec.name);
        return;
    }
    bool again = l->stopping != 0;
    if (!again && m->ask.path[0] != 0 && wr_savepoint_may_write(jm->env, m->ask.path, &info) != WR_OK) {
        wr_jm_reply(jm, peer, m->request, &info, l->id, 0); /* the job goes on */
        return;
    }
    if (!again && wr_ledger_stopping(jm->ledger, l->id, m->ask.drain ? WR_LEDGER_DRAIN : WR_LEDGER_STOP, m->ask.path,
                                     &info) != WR_OK) {
        wr_jm_reply(jm, peer, m->request, &info, l->id, 0);
        return;
    }
    wr_jm_wait *w = wr_jm_wait_new(jm, peer, m->request, l->id, WR_JM_WAIT_STOPPED);
    if (w != NULL) w->savepoint = m->ask.path[0] != 0;
    if (again) return;
    j->stop_ticket = w != NULL ? w->ticket : ++jm->tickets; /* it is ordered now, whoever waits */
    if (m->ask.path[0] != 0) j->stop_target = strdup(m->ask.path);
    wr_jm_feed(j, (wr_job_event){.kind = WR_JOB_STOP});
}

static void snapshot(wr_jobmanager *jm, uint64_t peer, const wr_message *m, const wr_ledger_job *l, wr_jm_job *j,
                     uint32_t kind)
{
    if (l->state != 0) {
        fail(jm, peer, m, WR_CONFIG, "job %s has ended already", l->spec.name);
    } else if (l->spec.snapshots[0] == 0) {
        fail(jm, peer, m, WR_CONFIG, "job %s takes no snapshots; submit it with --snapshots DIR", l->spec.name);
    } else if (kind == WR_SAVEPOINT && m->ask.path[0] == 0) {
        fail(jm, peer, m, WR_USAGE, "a savepoint needs a folder to go to");
    } else if (j->coordinator == NULL || j->quiet || j->core.state != WR_JOB_RUNNING) {
        fail(jm, peer, m, WR_TIMEOUT, "job %s is %s; ask again when it runs", l->spec.name,
             wr_job_state_name(j->core.state));
    } else {
        wr_jm_wait *w = wr_jm_wait_new(jm, peer, m->request, l->id, WR_JM_WAIT_SNAPSHOT);
        if (w != NULL)
            wr_coordinator_request(j->coordinator, w->ticket, kind, kind == WR_SAVEPOINT ? m->ask.path : NULL);
    }
}

/* ---- verbs that show something ---- */

static void graph(wr_jobmanager *jm, uint64_t peer, const wr_message *m, const wr_ledger_job *l)
{
    char      *bytes;
    size_t     n;
    wr_errinfo info = {0};
    wr_message answer = {.kind = WR_MSG_REPLY, .request = m->request, .job = l->id};
    if (wr_job_spec_encode(&l->spec, &bytes, &n, &info) != WR_OK) {
        wr_jm_reply(jm, peer, m->request, &info, l->id, 0);
        return;
    }
    answer.reply = (wr_reply){.out = bytes, .out_bytes = (uint32_t)n, .job = l->id};
    wr_jm_send(jm, peer, &answer);
    free(bytes);
}

static bool show(wr_jobmanager *jm, uint64_t peer, const wr_message *m, uint64_t id)
{
    static const struct {
        const char *verb;
        char *(*show)(wr_jobmanager *jm, uint64_t id, bool json, size_t *n);
        bool of_all; /* also without a job */
    } shows[] = {{"list", wr_jm_show_list, true}, {"taskmanagers", wr_jm_show_taskmanagers, true},
                 {"info", wr_jm_show_job, false}, {"snapshots", wr_jm_show_snapshots, false},
                 {"top", wr_jm_show_top, true},   {"why", wr_jm_show_why, false}};
    for (uint32_t i = 0; i < sizeof shows / sizeof *shows; i++) {
        if (strcmp(m->ask.verb, shows[i].verb) != 0 || (id == 0 && !shows[i].of_all)) continue;
        size_t n = 0;
        char  *text = shows[i].show(jm, id, m->ask.json, &n);
        wr_jm_reply_text(jm, peer, m->request, text, n);
        return true;
    }
    return false;
}

static void ask_of_job(wr_jobmanager *jm, uint64_t peer, wr_message *m)
{
    wr_errinfo           info = {0};
    const char          *verb = m->ask.verb;
    const wr_ledger_job *l = wr_jm_find_job(jm, m->ask.job, &info);
    if (l == NULL) {
        wr_jm_reply(jm, peer, m->request, &info, 0, 0);
        return;
    }
    wr_jm_job *j = wr_jm_job_of(jm, l->id);
    if (strcmp(verb, "wait") == 0)
        wait_for(jm, peer, m, l, j, WR_JM_WAIT_END);
    else if (strcmp(verb, "cancel") == 0)
        cancel(jm, peer, m, l, j);
    else if (strcmp(verb, "stop") == 0)
        stop(jm, peer, m, l, j);
    else if (strcmp(verb, "snapshot") == 0)
        snapshot(jm, peer, m, l, j, WR_SNAPSHOT);
    else if (strcmp(verb, "savepoint") == 0)
        snapshot(jm, peer, m, l, j, WR_SAVEPOINT);
    else if (strcmp(verb, "rescale") == 0)
        wr_jm_rescale(jm, peer, m, l->state == 0 ? j : NULL);
    else if (strcmp(verb, "graph") == 0)
        graph(jm, peer, m, l);
    else if (strcmp(verb, "logs") == 0)
        wr_jm_logs(jm, peer, m, l->id);
    else if (!show(jm, peer, m, l->id))
        fail(jm, peer, m, WR_USAGE, "this JobManager does not know the request %s", verb);
}

static void ask(wr_jobmanager *jm, uint64_t peer, wr_message *m)
{
    const char *verb = m->ask.verb;
    if (strcmp(verb, "submit") == 0)
        wr_jm_submit(jm, peer, m);
    else if (strcmp(verb, "drain") == 0 || strcmp(verb, "undrain") == 0)
        wr_jm_drain(jm, peer, m, verb[0] == 'd');
    else if (m->ask.job[0] != 0)
        ask_of_job(jm, peer, m);
    else if (!show(jm, peer, m, 0))
        fail(jm, peer, m, WR_USAGE, "this JobManager does not know the request %s without a job", verb);
}

void wr_jm_from_client(wr_jobmanager *jm, uint64_t peer, wr_message *m)
{
    if (m->kind == WR_MSG_REQUEST) {
        ask(jm, peer, m);
    } else if (m->kind == WR_MSG_BLOB_GET) {
        wr_jm_send_blob(jm, peer, m);
    } else {
        wr_errinfo info = {0};
        uint64_t   have = 0;
        wr_err     err = wr_blobs_put(jm->blobs, peer, &m->blob, &have, &info);
        wr_jm_reply(jm, peer, m->request, err != WR_OK ? &info : NULL, 0, have);
    }
}
