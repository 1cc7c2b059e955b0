/* Workers: from a deployment to what is told when the process has gone. */
#include "base/check.h"
#include "base/log.h"
#include "base/sabotage.h"
#include "taskmanager/files.h"
#include "taskmanager/supervisor_parts.h"
#include <stdlib.h>
#include <string.h>

#define MS INT64_C(1000000)

enum {
    END_MS = 10000,    /* a worker that was released and has not ended by then is killed */
    BUILDS_MS = 10000, /* for its own report, that much longer than it may be silent */
    FETCH_AHEAD = 16
};

wr_tm_worker *wr_tm_find(const wr_supervisor *s, uint64_t job, uint32_t attempt)
{
    for (uint32_t i = 0; i < s->workers; i++)
        if (s->worker[i]->job == job && s->worker[i]->attempt == attempt && s->worker[i]->state != WR_TM_OVER)
            return s->worker[i];
    return NULL;
}

void wr_tm_worker_free(wr_supervisor *s, wr_tm_worker *w)
{
    wr_tm_blob_copy_end(s->blobs, &w->copy);
    for (uint32_t i = 0; i < w->guests; i++) s->env->hang_up(s->env->self, w->guest[i].socket);
    free(w->guest);
    wr_exec_free(w->exec);
    wr_remote_free(w->graph);
    wr_message_free(&w->deployment);
    wr_message_free(&w->stats);
    free(w->bytes);
    free(w->task);
    free(w);
}

static void remember(wr_supervisor *s, uint64_t job, uint32_t attempt)
{
    s->past[s->pasts++ % WR_TM_PAST_MAX] = (wr_tm_past){.job = job, .attempt = attempt};
}

static bool was_here(const wr_supervisor *s, uint64_t job, uint32_t attempt)
{
    uint32_t n = s->pasts < WR_TM_PAST_MAX ? s->pasts : WR_TM_PAST_MAX;
    for (uint32_t i = 0; i < n; i++)
        if (s->past[i].job == job && s->past[i].attempt == attempt) return true;
    return false;
}

/* ---- gone ---- */

static void tell_gone(wr_supervisor *s, uint64_t job, uint32_t attempt, bool clean, const wr_errinfo *why,
                      const char *report, uint32_t subtask)
{
    wr_message m = {.kind = WR_MSG_GONE, .job = job, .attempt = attempt};
    m.gone.clean = clean;
    m.gone.subtask = subtask;
    m.gone.report = report != NULL ? report : "";
    if (!clean && why != NULL) m.gone.info = *why;
    wr_tm_send_sure(s, &m);
}

static void leave(wr_supervisor *s, wr_tm_worker *w)
{
    for (uint32_t i = 0; i < s->workers; i++) {
        if (s->worker[i] != w) continue;
        s->worker[i] = s->worker[--s->workers];
        break;
    }
    remember(s, w->job, w->attempt);
    if (w->folder[0] != 0) wr_tm_litter_put(&s->litter, w->folder);
    s->count.ended++;
    wr_tm_worker_free(s, w);
}

/* It has no process (any more). */
static void gone(wr_supervisor *s, wr_tm_worker *w, const char *report, uint32_t subtask)
{
    w->process = 0;
    if (w->state == WR_TM_OVER) return; /* that was told */
    if (!w->clean) {
        s->count.crashed++;
        if (w->why.code == WR_OK) wr_fail(&w->why, WR_CRASH, "the worker process ended, and nobody knows why");
        wr_log(WR_LOG_WARN, "the worker of job %016llx, attempt %u, is gone: %s", (unsigned long long)w->job,
               w->attempt, w->why.text);
    }
    tell_gone(s, w->job, w->attempt, w->clean, &w->why, report, subtask);
    w->state = WR_TM_OVER;
    if (!s->waits) leave(s, w);
}

static void kill_worker(wr_supervisor *s, wr_tm_worker *w)
{
    w->state = WR_TM_ENDS;
    w->end_by_ns = INT64_MAX;
    if (w->process == 0) {
        gone(s, w, "", UINT32_MAX);
        return;
    }
    s->count.killed++;
    s->config.processes->kill(s->config.processes->self, w->process);
}

void wr_tm_kill(wr_supervisor *s, uint64_t job, uint32_t attempt)
{
    wr_tm_worker *w = wr_tm_find(s, job, attempt);
    if (w == NULL) {
        tell_gone(s, job, attempt, true, NULL, "", UINT32_MAX);
        return;
    }
    if (w->why.code == WR_OK) w->clean = true;
    kill_worker(s, w);
}

/* ---- data connections ---- */

/* Files may be long on their way, and who dials knows nothing of that: it is let in, and waits. */
static void keep_guest(wr_tm_worker *w, int socket, const wr_data_hello *hello)
{
    if (w->guests == w->guests_max) {
        w->guests_max = w->guests_max ? 2 * w->guests_max : 16;
        w->guest = realloc(w->guest, w->guests_max * sizeof *w->guest);
        check(w->guest != NULL);
    }
    w->guest[w->guests++] = (wr_tm_guest){.socket = socket, .hello = *hello};
}

void wr_tm_connect(wr_supervisor *s, int socket, const wr_data_hello *hello)
{
    wr_tm_worker *w = wr_tm_find(s, hello->job, hello->attempt);
    if (w != NULL && w->state == WR_TM_RUNS)
        s->config.processes->give(s->config.processes->self, w->process, socket, hello);
    else if (w != NULL && w->state == WR_TM_FETCHES && w->guests < WR_GIFTS_MAX)
        keep_guest(w, socket, hello);
    else
        s->env->hang_up(s->env->self, socket); /* it has ended since */
}

static void let_guests_in(wr_supervisor *s, wr_tm_worker *w)
{
    for (uint32_t i = 0; i < w->guests; i++)
        s->config.processes->give(s->config.processes->self, w->process, w->guest[i].socket, &w->guest[i].hello);
    w->guests = 0;
}

/* ---- deploy ---- */

void wr_tm_deploy(wr_supervisor *s, wr_message *m, char *bytes, size_t n)
{
    wr_errinfo why = {0};
    bool       stale = was_here(s, m->job, m->attempt);
    for (uint32_t i = 0; i < s->workers; i++) {
        wr_tm_worker *w = s->worker[i];
        if (w->job == m->job) stale |= w->attempt >= m->attempt;
    }
    stale &= !wr_sabotage.stale_epoch || wr_tm_find(s, m->job, m->attempt) != NULL;
    bool full = s->workers == WR_TM_WORKERS_MAX;
    if (full) wr_fail(&why, WR_LIMIT, "the TaskManager %s has %u workers already", s->name, s->workers);
    wr_tm_worker *w = stale || full || wr_tm_stuck(s, &why) ? NULL : calloc(1, sizeof *w);
    if (w == NULL) {
        s->count.stale += stale;
        if (!stale) tell_gone(s, m->job, m->attempt, false, &why, "", UINT32_MAX);
        wr_message_free(m);
        free(bytes);
        return;
    }
    for (uint32_t i = s->workers; i > 0; i--) { /* an older attempt is over, or this one would not be deployed */
        wr_tm_worker *old = s->worker[i - 1];
        if (old->job != m->job || old->state >= WR_TM_ENDS || wr_sabotage.stale_epoch) continue;
        old->clean = true;
        kill_worker(s, old);
    }
    *w = (wr_tm_worker){.job = m->job,
                        .attempt = m->attempt,
                        .state = WR_TM_FETCHES,
                        .bytes = bytes,
                        .n = n,
                        .deployment = *m,
                        .said_ns = wr_tm_now(s),
                        .end_by_ns = INT64_MAX};
    s->worker[s->workers++] = w;
    s->count.deployed++;
}

/* Names of files come from the client; they must not lead out of the working folder. */
static bool name_fits(const char *name)
{
    return name != NULL && name[0] != 0 && strchr(name, '/') == NULL && strcmp(name, ".") != 0 &&
           strcmp(name, "..") != 0 && strlen(name) < WR_NAME_BYTES_MAX * 2;
}

static const wr_blob_ref *blob_of(const wr_job_spec *spec, uint32_t i)
{
    return i == 0 ? &spec->module : i <= spec->files ? &spec->file[i - 1] : NULL;
}

static wr_err make_folder(wr_supervisor *s, wr_tm_worker *w, wr_errinfo *info)
{
    int n = snprintf(w->folder, sizeof w->folder, "%s/jobs/%016llx-%u", s->folder, (unsigned long long)w->job,
                     w->attempt);
    if (n >= (int)sizeof w->folder) return wr_fail(info, WR_LIMIT, "the folder's path is too long; %.200s", s->folder);
    wr_tm_litter_put(&s->litter, w->folder);
    return wr_tm_folder_make(s->files, w->folder, info);
}

/* A piece of a file per call. *done: all files are there. */
static wr_err fill_folder(wr_supervisor *s, wr_tm_worker *w, bool *done, wr_errinfo *info)
{
    const wr_blob_ref *ref = blob_of(&w->deployment.deploy.spec, w->copied);
    char               path[WR_PATH_BYTES_MAX];
    bool               whole = false;
    *done = ref == NULL;
    if (w->folder[0] == 0) WR_TRY(make_folder(s, w, info));
    if (*done) return WR_OK;
    if (!name_fits(ref->name) || !wr_tm_path(path, w->folder, ref->name))
        return wr_fail(info, WR_CONFIG, "a file of the job has a name that cannot be: \"%.100s\"",
                       ref->name != NULL ? ref->name : "");
    WR_TRY(wr_tm_blob_copy(s->blobs, &w->copy, ref, path, &whole, info));
    w->copied += whole;
    s->busy = true;
    return WR_OK;
}

static void send_worker(wr_supervisor *s, const wr_tm_worker *w, char *bytes, size_t n)
{
    s->config.workers->send(s->config.workers->self, w->peer, bytes, n);
}

static void send_lease(wr_supervisor *s, const wr_tm_worker *w, uint64_t leader)
{
    char      *bytes;
    size_t     n;
    wr_errinfo info = {0};
    wr_message m = {.kind = WR_MSG_LEASE,
                    .job = w->job,
                    .attempt = w->attempt,
                    .leader = leader,
                    .until_mono_ns = s->lease_until_ns};
    if (wr_message_encode(&m, &bytes, &n, &info) == WR_OK) send_worker(s, w, bytes, n);
}

void wr_tm_relay_lease(wr_supervisor *s)
{
    for (uint32_t i = 0; i < s->workers; i++)
        if (s->worker[i]->state == WR_TM_RUNS) send_lease(s, s->worker[i], s->leader);
}

/* Who runs the machine says how much of it one job may take; the job may say less. 0: no bound. */
static uint64_t memory_max_of(const wr_supervisor *s, const wr_job_spec *spec)
{
    uint64_t here = s->config.memory_max, wanted = spec->memory_max;
    return here == 0 || (wanted != 0 && wanted < here) ? wanted : here;
}

static wr_err start(wr_supervisor *s, wr_tm_worker *w, wr_errinfo *info)
{
    const wr_job_spec *spec = &w->deployment.deploy.spec;
    char               log[WR_PATH_BYTES_MAX];
    WR_TRY(wr_tm_log_open(s, w->job, log, info));
    const wr_process_spec process = {.job = w->job,
                                     .attempt = w->attempt,
                                     .folder = w->folder,
                                     .log = log,
                                     .memory_max = memory_max_of(s, spec),
                                     .aside = s->aside};
    WR_TRY(s->config.processes->start(s->config.processes->self, &process, &w->process, &w->peer, info));
    if (w->state == WR_TM_OVER) { /* since then */
        s->config.processes->kill(s->config.processes->self, w->process);
        return WR_OK;
    }
    w->state = WR_TM_RUNS;
    w->said_ns = wr_tm_now(s);
    /* First: before it does anything. As of who deployed it: there may have been another leader while its files came,
     * and a worker that had heard of that one would not take what follows. */
    send_lease(s, w, w->deployment.leader);
    send_worker(s, w, w->bytes, w->n);
    w->bytes = NULL;
    let_guests_in(s, w);
    return WR_OK;
}

/* File by file: what is here is copied at once. So a job holds on to few of them at a time, and however many jobs with
 * however many files come at once, none drives out what another waits for. */
static wr_err fetch_some(wr_supervisor *s, wr_tm_worker *w, wr_errinfo *info)
{
    const wr_job_spec *spec = &w->deployment.deploy.spec;
    bool               here = true, all = false;
    uint32_t           first = w->copied + (w->copy.out > 0);
    for (uint32_t i = first; i < first + FETCH_AHEAD && blob_of(spec, i) != NULL; i++) {
        enum wr_tm_blob_state state = wr_tm_blob_want(s->blobs, blob_of(spec, i), info);
        if (state == WR_TM_BLOB_FAILED) return info->code;
        if (i == w->copied) here = state == WR_TM_BLOB_HERE;
    }
    if (!here) return WR_OK;
    WR_TRY(fill_folder(s, w, &all, info));
    return all && w->state == WR_TM_FETCHES ? start(s, w, info) : WR_OK;
}

static void fetch(wr_supervisor *s, wr_tm_worker *w)
{
    wr_errinfo why = {0};
    wr_err     err = fetch_some(s, w, &why);
    if (err == WR_OK || w->state == WR_TM_OVER) return; /* it was given up while the disk did not answer */
    w->why = why;
    kill_worker(s, w);
}

/* ---- orders ---- */

void wr_tm_order(wr_supervisor *s, const wr_message *m, const char *bytes, size_t n)
{
    wr_tm_worker *w = wr_tm_find(s, m->job, m->attempt);
    if (w == NULL || w->state == WR_TM_ENDS) {
        s->count.stale += w == NULL;
        return;
    }
    if (w->state == WR_TM_FETCHES) {
        w->clean = m->order.verb == WR_DO_CANCEL || m->order.verb == WR_DO_RELEASE;
        if (w->clean) kill_worker(s, w); /* there is none yet */
        return;
    }
    char *copy = malloc(n);
    check(copy != NULL);
    send_worker(s, w, memcpy(copy, bytes, n), n);
    if (m->order.verb != WR_DO_RELEASE) return;
    w->clean = true;
    w->state = WR_TM_ENDS;
    w->end_by_ns = wr_tm_now(s) + END_MS * MS;
}

/* ---- what workers say ---- */

static void note_report(wr_tm_worker *w, const wr_task_report *r)
{
    for (uint32_t i = 0; i < w->tasks; i++) {
        if (w->task[i].subtask != r->subtask) continue;
        w->task[i] = *r;
        return;
    }
    if (w->tasks == w->tasks_max) {
        w->tasks_max = w->tasks_max ? 2 * w->tasks_max : 16;
        w->task = realloc(w->task, w->tasks_max * sizeof *w->task);
        check(w->task != NULL);
    }
    w->task[w->tasks++] = *r;
}

/* A worker speaks for its own attempt only, and knows of no leader that we do not: the JobManager would step down. */
static void take_message(wr_supervisor *s, wr_tm_worker *w, char *bytes, size_t n)
{
    wr_message m;
    wr_errinfo info = {0};
    bool       pass = false;
    bool       read = wr_message_decode(&m, bytes, n, &info) == WR_OK;
    if (!read || m.job != w->job || m.attempt != w->attempt || m.leader > s->leader) {
        if (read) wr_message_free(&m);
        s->count.garbage++;
        free(bytes);
        return;
    }
    w->said_ns = wr_tm_now(s);
    switch (m.kind) {
    case WR_MSG_REPORT:
        for (uint32_t i = 0; i < m.report.tasks; i++) note_report(w, &m.report.task[i]);
        pass = true;
        break;
    case WR_MSG_ACK: pass = true; break;
    case WR_MSG_STATS:
        pass = true;
        wr_message_free(&w->stats);
        w->stats = m;
        memset(&m, 0, sizeof m);
        break;
    case WR_MSG_GONE: /* its last word */
        if (w->why.code == WR_OK) w->why = m.gone.info;
        break;
    default: s->count.garbage++;
    }
    if (pass && s->link >= WR_TM_OPENS) /* behind REGISTER, which said how far it was then */
        s->config.peers->send(s->config.peers->self, s->jm, bytes, n);
    else
        free(bytes);
    wr_message_free(&m);
}

static wr_tm_worker *by_peer(const wr_supervisor *s, uint64_t peer)
{
    for (uint32_t i = 0; i < s->workers; i++)
        if (s->worker[i]->peer == peer && s->worker[i]->process != 0 && s->worker[i]->state != WR_TM_OVER)
            return s->worker[i];
    return NULL;
}

static void take_events(wr_supervisor *s)
{
    wr_peers     *p = s->config.workers;
    wr_peer_event e;
    while (p->next(p->self, &e)) {
        wr_tm_worker *w = by_peer(s, e.peer);
        if (e.kind == WR_PEER_MESSAGE && w != NULL)
            take_message(s, w, e.bytes, e.n);
        else if (e.kind == WR_PEER_MESSAGE)
            free(e.bytes);
        else if (e.kind == WR_PEER_CLOSED && w != NULL && w->end_by_ns == INT64_MAX)
            w->end_by_ns = wr_tm_now(s) + END_MS * MS; /* it is ending; how, the process says */
    }
}

static void take_ends(wr_supervisor *s)
{
    wr_processes  *p = s->config.processes;
    wr_process_end end;
    for (;;) {
        memset(&end, 0, sizeof end);
        if (!p->ended(p->self, &end)) return;
        take_events(s); /* what it said before it ended, and since we looked: its last word says why */
        for (uint32_t i = 0; i < s->workers; i++) {
            wr_tm_worker *w = s->worker[i];
            if (w->process != end.process) continue;
            if (w->why.code == WR_OK && w->state != WR_TM_OVER) w->why = end.info;
            gone(s, w, end.report, end.subtask);
            break;
        }
    }
}

/* A worker that builds the pipeline cannot speak meanwhile: it looks at its time by itself, and says where it hangs. */
static int64_t silent_at(const wr_supervisor *s, const wr_tm_worker *w)
{
    if (w->state != WR_TM_RUNS || s->config.hang_ms <= 0) return INT64_MAX;
    return w->said_ns + (s->config.hang_ms + (w->stats.kind == 0 ? BUILDS_MS : 0)) * MS;
}

static void end_what_is_due(wr_supervisor *s, wr_tm_worker *w)
{
    int64_t now = wr_tm_now(s), hang = s->config.hang_ms * MS;
    if (now >= w->end_by_ns) {
        kill_worker(s, w);
    } else if (now >= silent_at(s, w)) {
        wr_fail(&w->why, WR_CRASH, "the worker process did not say anything for %lld s; it was killed",
                (long long)(hang / (1000 * MS)));
        kill_worker(s, w);
    }
}

void wr_tm_step_workers(wr_supervisor *s)
{
    take_events(s);
    take_ends(s);
    s->busy = wr_tm_blobs_step(s->blobs);
    for (uint32_t i = s->workers; i > 0; i--) {
        wr_tm_worker *w = s->worker[i - 1];
        if (w->state == WR_TM_FETCHES)
            fetch(s, w);
        else if (w->state != WR_TM_OVER)
            end_what_is_due(s, w);
        else if (w->process == 0)
            leave(s, w);
    }
    if (wr_tm_litter_step(&s->litter)) s->busy = true;
}

/* The list stays as it is: somebody is walking along it. */
void wr_tm_workers_meanwhile(wr_supervisor *s, const wr_errinfo *give_up)
{
    take_events(s);
    take_ends(s);
    for (uint32_t i = 0; i < s->workers; i++) {
        wr_tm_worker *w = s->worker[i];
        if (w->state == WR_TM_RUNS || w->state == WR_TM_ENDS) {
            end_what_is_due(s, w);
        } else if (w->state == WR_TM_FETCHES && give_up != NULL) {
            w->why = *give_up;
            kill_worker(s, w);
        }
    }
}

int64_t wr_tm_workers_due(const wr_supervisor *s)
{
    int64_t at = INT64_MAX;
    for (uint32_t i = 0; i < s->workers; i++) {
        const wr_tm_worker *w = s->worker[i];
        if (w->state == WR_TM_OVER && w->process == 0) return 0; /* it is to be put away */
        if (w->end_by_ns < at) at = w->end_by_ns;
        if (silent_at(s, w) < at) at = silent_at(s, w);
    }
    return at;
}
