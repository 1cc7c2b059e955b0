/* Oracles that look at messages: they know nothing of those who send and take them. */
#include "tests/sim/cluster_inner.h"
#include "tests/sim/states.h"
#include "wire/names.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STALE "this comes from the past and must have no effect"

static uint32_t folder_of(const char *snapshots)
{
    uint32_t folder = 0;
    sscanf(snapshots, "/snapshots/sim%u", &folder);
    return folder;
}

static const seen_attempt *attempt_of(world *w, const wr_message *m)
{
    for (uint32_t i = 0; i < w->attempts; i++) {
        if (w->attempt[i].job == m->job && w->attempt[i].attempt == m->attempt) return &w->attempt[i];
    }
    return NULL;
}

/* It begins with the newest snapshot that anybody was told to be complete, and with none only when there is none. */
static void see_restore(world *w, const seen_attempt *a)
{
    uint32_t    epoch;
    uint64_t    id = 0;
    const char *name = strrchr(a->restore, '/');
    bool        savepoint = name != NULL && strcmp(name + 1, WR_SAVEPOINT_NAME) == 0;
    if (a->folder != w->client.folder || a->leader < w->leader || (savepoint && w->durable == 0)) return;
    if (name != NULL && !savepoint) wr_name_read(name + 1, &epoch, &id);
    if (id < w->durable)
        sim_violate(w, "attempt %u begins with snapshot %" PRIu64 ", and %" PRIu64 " was complete", a->attempt, id,
                    w->durable);
}

static bool read_manifest(world *w, const char *path, wr_manifest *m)
{
    const char *bytes;
    size_t      n;
    wr_errinfo  info;
    if (!sim_disk_content(w->disk, path, &bytes, &n)) return false;
    return wr_manifest_decode(m, bytes, n, path, &info) == WR_OK;
}

/* How far the sources have come when it begins. */
static void note_positions(world *w, const seen_attempt *a)
{
    wr_manifest m;
    char        why[256];
    memset(w->read, 0, sizeof w->read);
    if (a->restore[0] == 0 || !read_manifest(w, a->restore, &m)) return;
    if (!sim_positions(w->plan, &m, w->read, why)) memset(w->read, 0, sizeof w->read);
    if (why[0] != 0) sim_violate(w, "%s", why);
    wr_manifest_free(&m);
}

/* Of this attempt everything is loaded, and nothing runs yet. */
static void check_states(world *w, const seen_attempt *a)
{
    wr_manifest m;
    uint64_t    emitted[SIM_SOURCES][SIM_SPLITS];
    sim_digest  want[SIM_NODES];
    char        why[256] = "";
    if (a->restore[0] == 0 || !read_manifest(w, a->restore, &m)) return;
    bool known = sim_positions(w->plan, &m, emitted, why);
    if (known) sim_reference_states(w->plan, (const uint64_t(*)[SIM_SPLITS])emitted, want);
    for (uint32_t i = 0; i < w->plan->nodes && known; i++) {
        const sim_node *n = &w->plan->node[i];
        sim_digest      got = {0};
        uint32_t        tables = 0, wanted = UINT32_MAX;
        if (n->kind < SIM_COUNT || n->kind > SIM_TIMER || wr_manifest_find(&m, n->uid) == NULL) continue;
        for (uint32_t k = 0; k < WORKERS; k++) {
            worker_node *node = &w->worker[k];
            wr_worker   *worker = node->used && node->attempt == a->attempt && node->job == a->job
                                      ? wr_agent_worker(node->agent)
                                      : NULL;
            if (worker == NULL || node->exec == NULL || node->host.dead) continue;
            sim_digest_loaded(n, &m, node->exec->job, worker, &got, &tables, why);
            wanted = node->plan.node[i].parallelism;
        }
        /* Not all of them: a worker has died since. */
        if (why[0] != 0 || tables != wanted || !sim_state_known(w->plan, i, emitted)) continue;
        w->result->states++;
        if (got.keys != want[i].keys || got.sum != want[i].sum)
            snprintf(why, sizeof why,
                     "%s has %" PRIu64 " keys after the restore of %.100s, and the reference %" PRIu64 "%s", n->uid,
                     got.keys, a->restore, want[i].keys, got.keys == want[i].keys ? ", with other values" : "");
    }
    if (why[0] != 0) sim_violate(w, "%s", why);
    wr_manifest_free(&m);
}

static void see_go(world *w, const wr_message *m)
{
    seen_attempt *a = (seen_attempt *)(uintptr_t)attempt_of(w, m);
    if (a == NULL || a->went) return;
    a->went = true;
    check_states(w, a);
}

/* An attempt is made once, by one leader, with one secret. */
static void see_deploy(world *w, const wr_message *m)
{
    const uint32_t folder = folder_of(m->deploy.spec.snapshots);
    if (folder == OTHERS_FOLDER) w->other_job = m->job;
    if (folder == OTHERS_FOLDER) return;
    for (uint32_t i = 0; i < w->attempts; i++) {
        const seen_attempt *a = &w->attempt[i];
        if (a->attempt != m->attempt || a->folder != folder) continue;
        if (memcmp(a->secret, m->deploy.secret, sizeof a->secret) != 0)
            sim_violate(w, "attempt %u was made by leader %" PRIu64 ", and again, another one, by leader %" PRIu64,
                        m->attempt, a->leader, m->leader);
        return;
    }
    if (w->attempts == SEEN) return;
    seen_attempt *a = &w->attempt[w->attempts++];
    *a = (seen_attempt){.leader = m->leader, .job = m->job, .attempt = m->attempt, .folder = folder};
    memcpy(a->secret, m->deploy.secret, sizeof a->secret);
    snprintf(a->restore, sizeof a->restore, "%s", m->deploy.restore_manifest);
    w->newest = a->attempt;
    see_restore(w, a);
    note_positions(w, a);
    if (m->job == w->client.over_job && m->leader > w->over_leader)
        sim_violate(w, "job %016" PRIx64 " is started again, and its end was told", m->job);
    w->result->attempts++;
    if (m->deploy.restore_manifest[0] != 0) w->result->restores++;
    sim_note(w, "attempt %u of leader %" PRIu64 ", %u slots, from %s", m->attempt, m->leader, m->deploy.places,
             m->deploy.restore_manifest[0] != 0 ? m->deploy.restore_manifest : "the beginning");
}

/* No id is given to two barriers, whoever gives it. */
static void see_trigger(world *w, const wr_message *m)
{
    const seen_attempt *a = attempt_of(w, m);
    const uint64_t      id = m->order.barrier.id;
    const uint32_t      folder = a != NULL ? a->folder : w->client.folder;
    if (m->job == w->other_job) return;
    for (uint32_t i = 0; i < w->ids; i++) {
        if (w->id[i].id != id || w->id[i].folder != folder) continue;
        if (w->id[i].attempt != m->attempt || w->id[i].leader != m->leader)
            sim_violate(w,
                        "snapshot %" PRIu64 " was begun for attempt %u by leader %" PRIu64
                        ", and again for attempt %u by leader %" PRIu64,
                        id, w->id[i].attempt, w->id[i].leader, m->attempt, m->leader);
        return;
    }
    if (w->ids == sizeof w->id / sizeof *w->id) return;
    w->id[w->ids++] = (seen_id){
        .id = id, .leader = m->leader, .attempt = m->attempt, .folder = folder, .kind = m->order.barrier.kind};
}

static void see_complete(world *w, const wr_message *m)
{
    const seen_attempt *a = attempt_of(w, m);
    const uint64_t      id = m->order.barrier.id;
    if (a == NULL || a->folder != w->client.folder) return;
    for (uint32_t i = 0; i < w->ids; i++) {
        bool it = w->id[i].id == id && w->id[i].folder == a->folder && w->id[i].kind == WR_SNAPSHOT;
        if (it && id > w->durable) w->durable = id;
    }
    if (id <= w->completed) return;
    w->completed = id;
    w->result->snapshots++;
    sim_note(w, "snapshot %" PRIu64 " is complete", w->completed);
}

void sim_watch_tm(void *arg, const char *bytes, size_t n)
{
    tm_node   *tm = arg;
    world     *w = tm->w;
    wr_message m = {0};
    wr_errinfo info;
    if (wr_message_decode(&m, bytes, n, &info) != WR_OK) {
        sim_violate(w, "a message to %s cannot be read: %s", tm->name, info.text);
        return;
    }
    if (m.leader > w->top_leader[tm->index]) w->top_leader[tm->index] = m.leader;
    if (m.kind == WR_MSG_DEPLOY) see_deploy(w, &m);
    if (m.kind == WR_MSG_ORDER && m.order.verb == WR_DO_TRIGGER) see_trigger(w, &m);
    if (m.kind == WR_MSG_ORDER && m.order.verb == WR_DO_COMPLETE) see_complete(w, &m);
    if (m.kind == WR_MSG_ORDER && m.order.verb == WR_DO_GO) see_go(w, &m);
    if (m.leader > w->leader) w->leader = m.leader;
    wr_message_free(&m);
}

/* For people who read traces. */
void sim_watch_jm(void *arg, const char *bytes, size_t n)
{
    world     *w = ((jm_node *)arg)->w;
    wr_message m = {0};
    wr_errinfo info;
    if (wr_message_decode(&m, bytes, n, &info) != WR_OK) {
        sim_violate(w, "a message to the JobManager cannot be read: %s", info.text);
        return;
    }
    if (memmem(bytes, n, STALE, strlen(STALE)) != NULL) w->injected = w->result->aside ? 2 : 1;
    for (uint32_t i = 0; m.kind == WR_MSG_REPORT && i < m.report.tasks; i++) {
        const wr_task_report *t = &m.report.task[i];
        sim_note(w, "attempt %u: task %u is in state %u %s", m.attempt, t->subtask, t->state, t->info.text);
    }
    if (m.kind == WR_MSG_GONE)
        sim_note(w, "attempt %u: a worker is gone, clean %d: %s", m.attempt, (int)m.gone.clean, m.gone.info.text);
    wr_message_free(&m);
}

/* What reaches a worker is of its own attempt, and of a leader that is not over. */
void sim_watch_worker(void *arg, const char *bytes, size_t n)
{
    worker_node *k = arg;
    world       *w = k->w;
    wr_message   m = {0};
    wr_errinfo   info;
    if (wr_message_decode(&m, bytes, n, &info) != WR_OK) {
        sim_violate(w, "a message to a worker cannot be read: %s", info.text);
        return;
    }
    if (m.kind == WR_MSG_DEPLOY) {
        k->attempt = m.attempt;
        k->job = m.job;
    }
    if (m.kind == WR_MSG_LEASE) k->lease_ns = m.until_mono_ns;
    if (m.kind == WR_MSG_DEPLOY || m.kind == WR_MSG_ORDER) {
        if (m.attempt != k->attempt)
            sim_violate(w, "a worker of attempt %u was given an order of attempt %u", k->attempt, m.attempt);
        if (m.leader < k->leader)
            sim_violate(w, "a worker that obeyed leader %" PRIu64 " was given an order of leader %" PRIu64, k->leader,
                        m.leader);
        k->leader = m.leader;
    }
    wr_message_free(&m);
}

static bool encode(world *w, const wr_message *m, char **bytes, size_t *n)
{
    wr_errinfo info;
    if (wr_message_encode(m, bytes, n, &info) == WR_OK) return true;
    sim_violate(w, "a message cannot be made: %s", info.text);
    return false;
}

void sim_inject(world *w)
{
    jm_node       *jm = w->jm[1].alive ? &w->jm[1] : &w->jm[0];
    tm_node       *tm = &w->tm[below(w, TMS)];
    uint32_t       newest = 0;
    uint64_t       leader = w->top_leader[tm->index];
    wr_task_report report = {.subtask = 0, .state = WR_TASK_FAILED};
    wr_message     m = {.job = w->client.job, .leader = jm->leader};
    char          *bytes;
    size_t         n;
    w->inject_ns = w->clock.now_ns + (int64_t)below(w, 8000000);
    for (uint32_t i = 0; i < w->attempts; i++) {
        if (w->attempt[i].job == m.job && w->attempt[i].attempt > newest) newest = w->attempt[i].attempt;
    }
    if (one_in(w, 2) && newest >= 2 && jm->alive) {
        m.kind = one_in(w, 2) ? WR_MSG_REPORT : WR_MSG_GONE;
        m.attempt = newest - 1;
        wr_fail(&report.info, WR_CRASH, STALE);
        if (m.kind == WR_MSG_REPORT) {
            m.report.task = &report;
            m.report.tasks = 1;
        } else {
            m.gone = (wr_gone){.subtask = UINT32_MAX, .info = report.info, .report = ""};
        }
        if (encode(w, &m, &bytes, &n)) sim_port_inject(jm->port, bytes, n);
    } else if (leader >= 2 && newest > 0 && tm->alive) {
        m.kind = WR_MSG_ORDER;
        m.attempt = newest;
        m.leader = leader - 1;
        m.order.verb = WR_DO_CANCEL;
        if (encode(w, &m, &bytes, &n)) sim_port_inject(tm->up, bytes, n);
    }
}

void sim_watch_injected(jm_node *n)
{
    size_t bytes = 0;
    char  *text = wr_jobmanager_read(n->jm, "jobs", &bytes);
    n->w->injected--;
    if (text != NULL && memmem(text, bytes, STALE, strlen(STALE)) != NULL)
        sim_violate(n->w, "a report of an attempt that is over failed the job");
    free(text);
}

/* It was stepped with its lease over, more than once, and is still there. */
void sim_watch_lease(worker_node *n)
{
    bool over = n->lease_ns > 0 && n->w->clock.now_ns > n->lease_ns;
    n->overdue = over ? n->overdue + 1 : 0;
    if (n->overdue > 2)
        sim_violate(n->w, "a worker of attempt %u lives on, and its lease was over %lld us ago", n->attempt,
                    (long long)(n->w->clock.now_ns - n->lease_ns) / 1000);
}
