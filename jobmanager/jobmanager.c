#include "jobmanager/jobmanager.h"
#include "base/check.h"
#include "base/log.h"
#include "base/sabotage.h"
#include "jobmanager/files.h"
#include "jobmanager/inside.h"
#include <stdlib.h>
#include <string.h>

enum { CLAIMS_MAX = WR_JOBS_MAX, EVENTS_MAX = 256 /* of one step: time goes on */ };

int64_t wr_jm_now_ms(const wr_jobmanager *jm)
{
    return jm->env->mono_ns(jm->env->self) / 1000000;
}

int64_t wr_jm_wall_ms(const wr_jobmanager *jm)
{
    return jm->env->wall_ns(jm->env->self) / 1000000;
}

uint64_t wr_jm_random(wr_jobmanager *jm)
{
    return jm->config.seed != 0 ? wr_prng_next(&jm->random) : jm->env->random(jm->env->self);
}

wr_err wr_jm_try_send(wr_jobmanager *jm, uint64_t peer, wr_message *m, wr_errinfo *info)
{
    char  *bytes;
    size_t n;
    if (jm->over.code != WR_OK) return WR_OK; /* nobody heeds it */
    m->leader = jm->leader;
    WR_TRY(wr_message_encode(m, &bytes, &n, info));
    jm->peers->send(jm->peers->self, peer, bytes, n);
    return WR_OK;
}

void wr_jm_send(wr_jobmanager *jm, uint64_t peer, wr_message *m)
{
    wr_errinfo info = {0};
    if (wr_jm_try_send(jm, peer, m, &info) != WR_OK)
        wr_log(WR_LOG_ERROR, "cannot send %s: %s", wr_message_name(m->kind), info.text);
}

wr_jm_job *wr_jm_job_of(wr_jobmanager *jm, uint64_t id)
{
    for (uint32_t i = 0; i < jm->jobs; i++)
        if (jm->job[i]->id == id) return jm->job[i];
    return NULL;
}

wr_jm_tm *wr_jm_tm_of(wr_jobmanager *jm, uint64_t tm)
{
    for (uint32_t i = 0; i < jm->tms; i++)
        if (jm->tm[i]->tm == tm) return jm->tm[i];
    return NULL;
}

/* ---- the pool ---- */

static void remember_grant(wr_jobmanager *jm, uint64_t job, uint32_t attempt)
{
    if (jm->grants == jm->grants_room) {
        uint32_t room = jm->grants_room * 2 + 16;
        void    *more = realloc(jm->grant, room * sizeof *jm->grant);
        check(more != NULL); /* a grant that is forgotten would hold its slots for ever */
        jm->grant = more;
        jm->grants_room = room;
    }
    jm->grant[jm->grants++] = (wr_jm_grant){job, attempt};
}

void wr_jm_pool(wr_jobmanager *jm, wr_pool_event event)
{
    event.now_ms = wr_jm_now_ms(jm);
    if (event.now_ms < jm->pool.now_ms) event.now_ms = jm->pool.now_ms;
    uint32_t n = wr_core_pool_step(&jm->pool, &event, jm->pool_action, WR_TMS_MAX + CLAIMS_MAX);
    for (uint32_t i = 0; i < n; i++)
        if (jm->pool_action[i].kind == WR_POOL_DO_GRANT)
            remember_grant(jm, jm->pool_action[i].job, jm->pool_action[i].attempt);
    if (event.kind != WR_POOL_HEARD) jm->look_at_moves = true;
    if (event.kind != WR_POOL_TICK) return;
    for (;;) { /* who was silent; the list of actions is used by what follows */
        uint64_t lost = 0;
        for (uint32_t i = 0; i < jm->tms && lost == 0; i++)
            if (wr_core_pool_tm_of(&jm->pool, jm->tm[i]->tm) == NULL) lost = jm->tm[i]->tm;
        if (lost == 0) return;
        wr_jm_tm_lost(jm, lost, false, "it was silent for too long");
    }
}

/* All that events left to be done, outside of them. */
static void settle(wr_jobmanager *jm)
{
    for (bool more = true; more;) {
        more = false;
        if (jm->grants > 0) {
            wr_jm_grant g = jm->grant[0];
            wr_jm_job  *j = wr_jm_job_of(jm, g.job);
            memmove(jm->grant, jm->grant + 1, --jm->grants * sizeof *jm->grant);
            if (j != NULL)
                wr_jm_granted(j, g.attempt);
            else
                wr_jm_pool(jm, (wr_pool_event){.kind = WR_POOL_RETURN, .job = g.job, .attempt = g.attempt});
            more = true;
        }
        for (uint32_t i = 0; i < jm->jobs; i++) wr_jm_settle_job(jm->job[i], &more);
        if (!more && jm->look_at_moves) {
            jm->look_at_moves = false;
            wr_jm_moves(jm);
            wr_jm_rescales(jm);
            more = true;
        }
    }
    for (uint32_t i = 0; i < jm->jobs;) { /* those that the ledger does not keep any more */
        wr_jm_job *j = jm->job[i];
        if (!j->ended || wr_ledger_find(jm->ledger, j->id) != NULL) {
            i++;
            continue;
        }
        memmove(jm->job + i, jm->job + i + 1, (--jm->jobs - i) * sizeof(wr_jm_job *));
        wr_jm_job_free(j);
    }
}

/* It goes on where the JobManager before us was. */
static void configure(wr_jm_job *j, const wr_ledger_job *l, wr_errinfo *info)
{
    wr_jobmanager  *jm = j->jm;
    int64_t         at_ms[WR_RESTART_RATE_MAX], ago = wr_jm_wall_ms(jm) - wr_jm_now_ms(jm);
    wr_restart_past past = {.failed = l->count, .last_delay_ms = l->delay_ms, .at_ms = at_ms, .times = l->failed_times};
    for (uint32_t i = 0; i < l->failed_times; i++) at_ms[i] = l->failed_wall_ms[i] - ago;
    wr_core_job_config config = {
        .restart = {.strategy = l->spec.restart,
                    .delay_ms = l->spec.restart_delay_ms,
                    .delay_most_ms = l->spec.restart_delay_most_ms,
                    .window_ms = l->spec.restart_window_ms,
                    .attempts = l->spec.restart_attempts,
                    .factor_permille = l->spec.restart_factor_permille},
        .past = &past,
        .cancel_timeout_ms = jm->config.cancel_timeout_ms,
        .deploy_timeout_ms = WR_DEPLOY_MS,
    };
    if (wr_restart_complete(&config.restart, l->spec.snapshots[0] != 0, info) != WR_OK) {
        config.restart = (wr_restart_config){.strategy = WR_RESTART_NONE}; /* submit has checked it */
        wr_restart_complete(&config.restart, false, NULL);
    }
    wr_core_job_configure(&j->core, &config);
}

wr_jm_job *wr_jm_job_new(wr_jobmanager *jm, uint64_t id, wr_errinfo *info)
{
    const wr_ledger_job *l = wr_ledger_find(jm->ledger, id);
    check(l != NULL);
    if (jm->jobs == jm->jobs_room) {
        uint32_t    room = jm->jobs_room * 2 + 16;
        wr_jm_job **more = realloc(jm->job, room * sizeof(wr_jm_job *));
        if (more == NULL) goto none;
        jm->job = more;
        jm->jobs_room = room;
    }
    wr_jm_job *j = calloc(1, sizeof *j);
    if (j == NULL) goto none;
    j->actions_max = wr_core_job_actions_max(1);
    j->action = calloc(j->actions_max, sizeof *j->action);
    if (j->action == NULL) {
        free(j);
        goto none;
    }
    j->jm = jm;
    j->id = id;
    j->rank = ++jm->ranks;
    j->attempt = l->attempt;
    j->reconcile_ms = j->release_ms = j->late_ms = j->move_ms = j->end_ms = j->want_ms = INT64_MAX;
    snprintf(j->name, sizeof j->name, "%s", l->spec.name);
    wr_core_job_init(&j->core, &j->none, 1, wr_jm_now_ms(jm));
    configure(j, l, info);
    jm->job[jm->jobs++] = j;
    return j;
none:
    wr_fail(info, WR_MEMORY, "no memory for a job");
    return NULL;
}

/* ---- what comes ---- */

static bool of_taskmanager(uint32_t kind)
{
    return kind >= WR_MSG_REGISTER && kind <= WR_MSG_LOG;
}

static bool of_client(uint32_t kind)
{
    return kind == WR_MSG_REQUEST || kind == WR_MSG_BLOB_PUT || kind == WR_MSG_BLOB_GET;
}

/* It was greeted, so it is no stranger; but what it says cannot be taken. */
static void turn_out(wr_jobmanager *jm, uint64_t peer, const char *how)
{
    wr_jm_close(jm, peer);
    wr_jm_tm *t = wr_jm_tm_of_peer(jm, peer);
    if (t != NULL) wr_jm_tm_lost(jm, t->tm, true, how);
    wr_blobs_peer_gone(jm->blobs, peer);
    wr_jm_peer_gone(jm, peer);
}

/* Who came as a client, and registers, would be given work by mistake. */
static bool has_role(wr_jobmanager *jm, const wr_peer_event *e, uint32_t kind)
{
    bool is_tm = e->role == WR_ROLE_TASKMANAGER;
    if (is_tm ? of_taskmanager(kind) : of_client(kind)) return true;
    if (!of_taskmanager(kind) && !of_client(kind)) { /* nobody says that to a JobManager */
        jm->count.unknown++;
        return false;
    }
    wr_message no = {.kind = WR_MSG_REFUSED};
    wr_fail(&no.refused, WR_PERMISSION, "%s does not say %s", is_tm ? "a TaskManager" : "a client",
            wr_message_name(kind));
    jm->count.wrong_role++;
    wr_log(WR_LOG_WARN, "%s; its connection is closed", no.refused.text);
    wr_jm_send(jm, e->peer, &no);
    turn_out(jm, e->peer, "it said what only clients say");
    return false;
}

/* Leaders rise with each start: there is a later one, and whatever we said from here on would be wrong. */
static void step_down(wr_jobmanager *jm, uint64_t peer, const wr_message *m)
{
    const wr_jm_tm *t = wr_jm_tm_of_peer(jm, peer);
    const char     *name = m->kind == WR_MSG_REGISTER ? m->reg.name : t != NULL ? t->name : "?";
    wr_fail(
        &jm->over, WR_CONFIG,
        "TaskManager %s obeys a JobManager that leads after this one: leader epoch %llu, and this one has %llu; let "
        "only one run; if there is no other, and the folder %s is new or an old copy, restart the TaskManagers",
        name, (unsigned long long)m->leader, (unsigned long long)jm->leader, jm->folder);
    wr_log(WR_LOG_ERROR, "%s", jm->over.text);
}

bool wr_jobmanager_over(const wr_jobmanager *jm, wr_errinfo *info)
{
    if (jm->over.code == WR_OK) return false;
    *info = jm->over;
    return true;
}

static void take(wr_jobmanager *jm, wr_peer_event *e)
{
    wr_message m;
    wr_errinfo info = {0};
    wr_err     err = wr_message_decode(&m, e->bytes, e->n, &info);
    free(e->bytes);
    if (err == WR_NEWER) {
        jm->count.unknown++;
        return;
    }
    if (err != WR_OK) { /* its version is wrong, or it is broken */
        jm->count.undecodable++;
        wr_log(WR_LOG_WARN, "a message cannot be read: %s; its connection is closed", info.text);
        turn_out(jm, e->peer, "it sent what cannot be read");
        return;
    }
    if (has_role(jm, e, m.kind)) {
        bool is_tm = e->role == WR_ROLE_TASKMANAGER;
        if (is_tm && m.leader > jm->leader && !wr_sabotage.two_leaders)
            step_down(jm, e->peer, &m);
        else if (is_tm)
            wr_jm_from_tm(jm, e->peer, &m);
        else
            wr_jm_from_client(jm, e->peer, &m);
    }
    wr_message_free(&m);
}

static void gone(wr_jobmanager *jm, const wr_peer_event *e)
{
    wr_jm_tm *t = wr_jm_tm_of_peer(jm, e->peer);
    if (t != NULL) wr_jm_tm_lost(jm, t->tm, true, "its connection was closed");
    wr_blobs_peer_gone(jm->blobs, e->peer);
    wr_jm_peer_gone(jm, e->peer);
}

/* ---- while storage is waited for ---- */

static void hold(wr_jobmanager *jm, const wr_peer_event *e)
{
    if (wr_sabotage.lose_held) {
        if (e->kind == WR_PEER_MESSAGE) free(e->bytes);
        return;
    }
    if (jm->helds == jm->held_room) {
        uint32_t       room = jm->held_room * 2 + 16;
        wr_peer_event *more = calloc(room, sizeof *more);
        check(more != NULL); /* what was taken cannot be given back */
        for (uint32_t i = 0; i < jm->helds; i++) more[i] = jm->held[(jm->held_first + i) % jm->held_room];
        free(jm->held);
        jm->held = more;
        jm->held_first = 0;
        jm->held_room = room;
    }
    jm->held[(jm->held_first + jm->helds++) % jm->held_room] = *e;
    if (e->kind == WR_PEER_MESSAGE) jm->held_bytes += e->n;
}

/* Leases hang on the answers to heartbeats; all else waits, in its order. Called in the middle of anything: it may
 * change nothing but when a TaskManager was heard. */
static void meanwhile(void *self)
{
    wr_jobmanager *jm = self;
    wr_peer_event  e;
    if (jm->leader == 0) return; /* nobody is greeted before it is known who we are */
    while (jm->helds < WR_HELD_MAX && jm->held_bytes < WR_HELD_BYTES_MAX && jm->peers->next(jm->peers->self, &e)) {
        if (wr_jm_heartbeat(jm, &e))
            free(e.bytes);
        else
            hold(jm, &e);
    }
}

const char *wr_jm_blob_name(const wr_jobmanager *jm, const uint8_t digest[WR_DIGEST_BYTES])
{
    const wr_ledger_job *l;
    for (uint32_t i = 0; (l = wr_ledger_job_at(jm->ledger, i)) != NULL; i++) {
        if (memcmp(l->spec.module.digest, digest, WR_DIGEST_BYTES) == 0) return l->spec.module.name;
        for (uint32_t k = 0; k < l->spec.files; k++)
            if (memcmp(l->spec.file[k].digest, digest, WR_DIGEST_BYTES) == 0) return l->spec.file[k].name;
    }
    return NULL;
}

static bool named(void *self, const uint8_t digest[WR_DIGEST_BYTES])
{
    return wr_jm_blob_name(self, digest) != NULL;
}

static bool next(wr_jobmanager *jm, wr_peer_event *e)
{
    while (jm->helds > 0) {
        *e = jm->held[jm->held_first];
        jm->held_first = (jm->held_first + 1) % jm->held_room;
        jm->helds--;
        if (e->kind == WR_PEER_MESSAGE) jm->held_bytes -= e->n;
        if (e->kind != 0) return true;
    }
    return jm->peers->next(jm->peers->self, e);
}

void wr_jm_close(wr_jobmanager *jm, uint64_t peer)
{
    jm->peers->close(jm->peers->self, peer);
    for (uint32_t i = 0; i < jm->helds; i++) { /* nothing is heard of it any more */
        wr_peer_event *e = &jm->held[(jm->held_first + i) % jm->held_room];
        if (e->peer != peer || e->kind == 0) continue;
        if (e->kind == WR_PEER_MESSAGE) {
            jm->held_bytes -= e->n;
            free(e->bytes);
        }
        *e = (wr_peer_event){0};
    }
}

void wr_jobmanager_step(wr_jobmanager *jm)
{
    wr_peer_event e;
    uint32_t      n = 0;
    for (; jm->over.code == WR_OK && n < EVENTS_MAX && next(jm, &e); n++) {
        if (e.kind == WR_PEER_MESSAGE)
            take(jm, &e);
        else if (e.kind == WR_PEER_CLOSED)
            gone(jm, &e);
        if (jm->over.code == WR_OK) settle(jm);
    }
    if (jm->over.code != WR_OK) return; /* what is left to do is another's */
    jm->more = n == EVENTS_MAX || jm->helds > 0;
    /* Nobody is silent whose heartbeat may still lie here. */
    if (!jm->more && wr_core_pool_due(&jm->pool) <= wr_jm_now_ms(jm))
        wr_jm_pool(jm, (wr_pool_event){.kind = WR_POOL_TICK});
    for (uint32_t i = 0; i < jm->jobs; i++) wr_jm_job_due(jm->job[i]);
    wr_jm_logs_due(jm);
    if (wr_jm_now_ms(jm) >= wr_blobs_due_ms(jm->blobs)) {
        wr_blobs_sweep(jm->blobs, named, jm);
        wr_jm_crashes_sweep(jm);
    }
    settle(jm);
}

static int64_t until_ns(const wr_jobmanager *jm, int64_t at_ms)
{
    if (at_ms == INT64_MAX) return INT64_MAX;
    int64_t now_ns = jm->env->mono_ns(jm->env->self), left = at_ms - now_ns / 1000000;
    return left <= 0 ? 0 : left > 3600000 ? INT64_C(3600000000000) : left * 1000000 - now_ns % 1000000;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t wr_jobmanager_wait_ns(const wr_jobmanager *jm)
{
    int64_t wait = until_ns(jm, wr_core_pool_due(&jm->pool));
    if (jm->over.code != WR_OK) return 0;
    if (jm->more || jm->helds > 0) return 0; /* nobody wakes us for what came before */
    for (uint32_t i = 0; i < jm->jobs; i++) {
        const wr_jm_job *j = jm->job[i];
        int64_t          of_snapshots = j->coordinator != NULL ? wr_coordinator_wait_ns(j->coordinator) : -1;
        int64_t          of_job = least(wr_core_job_due(&j->core), j->late_ms);
        const int64_t    at_ms[] = {of_job, j->reconcile_ms, j->release_ms, j->move_ms, j->end_ms, j->want_ms};
        for (uint32_t k = 0; k < sizeof at_ms / sizeof *at_ms; k++) wait = least(wait, until_ns(jm, at_ms[k]));
        if (of_snapshots >= 0 && !j->quiet) wait = least(wait, of_snapshots);
    }
    wait = least(wait, until_ns(jm, wr_jm_logs_next_ms(jm)));
    wait = least(wait, until_ns(jm, wr_blobs_due_ms(jm->blobs)));
    return wait == INT64_MAX ? -1 : wait;
}

/* ---- beginning and end ---- */

static void take_jobs_back(wr_jobmanager *jm)
{
    const wr_ledger_job *l;
    wr_errinfo           info = {0};
    uint32_t             n = 0;
    for (uint32_t i = 0; (l = wr_ledger_job_at(jm->ledger, i)) != NULL; i++) {
        if (l->state != 0) continue;
        wr_jm_job *j = wr_jm_job_new(jm, l->id, &info);
        if (j == NULL) continue;
        wr_jm_begin(j, l);
        while (i > 0 && wr_ledger_job_at(jm->ledger, i) != l) i--; /* it ended, and an older one was forgotten */
        n++;
    }
    if (n > 0) wr_log(WR_LOG_INFO, "%u jobs are taken back; leader epoch %llu", n, (unsigned long long)jm->leader);
    settle(jm);
}

static wr_err new_pool(wr_jobmanager *jm, wr_errinfo *info)
{
    jm->pool_tm = calloc(WR_TMS_MAX, sizeof *jm->pool_tm);
    jm->pool_claim = calloc(CLAIMS_MAX, sizeof *jm->pool_claim);
    jm->pool_action = calloc(WR_TMS_MAX + CLAIMS_MAX, sizeof *jm->pool_action);
    jm->tm = calloc(WR_TMS_MAX, sizeof(wr_jm_tm *));
    if (jm->pool_tm == NULL || jm->pool_claim == NULL || jm->pool_action == NULL || jm->tm == NULL)
        return wr_fail(info, WR_MEMORY, "no memory for a JobManager");
    wr_core_pool_init(&jm->pool, jm->pool_tm, WR_TMS_MAX, jm->pool_claim, CLAIMS_MAX, jm->config.silent_ms,
                      wr_jm_now_ms(jm));
    return WR_OK;
}

wr_err wr_jobmanager_may_be(const wr_jobmanager_config *c, wr_errinfo *info)
{
    if (c->silent_ms < c->lease_ms) /* its workers would still be running when others take their place */
        return wr_fail(info, WR_CONFIG,
                       "the heartbeat timeout (%lld ms) is shorter than the lease of workers (%lld ms); make it longer",
                       (long long)c->silent_ms, (long long)c->lease_ms);
    if (c->heartbeat_ms > c->lease_ms / 2) /* they would end whenever a heartbeat is late, or all the time */
        return wr_fail(
            info, WR_CONFIG,
            "the heartbeat interval (%lld ms) is longer than half of the lease of workers (%lld ms), which "
            "must outlive a late heartbeat; make the interval shorter, or lease and heartbeat timeout longer",
            (long long)c->heartbeat_ms, (long long)c->lease_ms);
    return WR_OK;
}

wr_err wr_jobmanager_new(wr_jobmanager **take, const wr_jobmanager_config *config, uint64_t *leader, wr_errinfo *info)
{
    *take = NULL;
    WR_TRY(wr_jobmanager_may_be(config, info));
    wr_jobmanager *jm = calloc(1, sizeof *jm);
    wr_err         err = WR_OK;
    if (jm == NULL) return wr_fail(info, WR_MEMORY, "no memory for a JobManager");
    jm->config = *config;
    jm->env = config->env;
    jm->peers = config->peers;
    jm->random = wr_prng_of(config->seed);
    jm->started_ms = wr_jm_now_ms(jm);
    snprintf(jm->folder, sizeof jm->folder, "%s", config->folder);
    snprintf(jm->snapshots, sizeof jm->snapshots, "%s", config->snapshots != NULL ? config->snapshots : "");
    jm->config.folder = jm->folder;
    jm->config.snapshots = jm->snapshots;
    WR_GOTO(wr_path_join(jm->blobs_folder, jm->folder, "blobs", info));
    WR_GOTO(new_pool(jm, info));
    if (config->threads) {
        WR_GOTO(wr_aside_new(&jm->aside, config->env, meanwhile, jm, info));
        jm->env = wr_aside_env(jm->aside);
    }
    WR_GOTO(wr_ledger_open(&jm->ledger, jm->env, jm->folder, info));
    jm->leader = *leader = wr_ledger_leader(jm->ledger);
    WR_GOTO(wr_blobs_open(&jm->blobs, jm->env, jm->blobs_folder, info));
    wr_blobs_sweep(jm->blobs, named, jm);
    wr_jm_crashes_sweep(jm);
    take_jobs_back(jm);
    *take = jm;
    return WR_OK;
out:
    wr_jobmanager_free(jm);
    return err;
}

void wr_jobmanager_free(wr_jobmanager *jm)
{
    if (jm == NULL) return;
    jm->leader = 0; /* it leads nobody any more, and answers nothing meanwhile */
    for (uint32_t i = 0; i < jm->jobs; i++) wr_jm_job_free(jm->job[i]);
    while (jm->wait != NULL) wr_jm_wait_end(jm, jm->wait);
    for (uint32_t i = 0; i < jm->tms; i++) {
        free(jm->tm[i]->name);
        free(jm->tm[i]->data);
        free(jm->tm[i]->http);
        free(jm->tm[i]);
    }
    wr_blobs_close(jm->blobs);
    wr_ledger_close(jm->ledger);
    free(jm->tm);
    free(jm->job);
    free(jm->grant);
    free(jm->pool_tm);
    free(jm->pool_claim);
    free(jm->pool_action);
    for (; jm->helds > 0; jm->helds--, jm->held_first++) {
        wr_peer_event *e = &jm->held[jm->held_first % jm->held_room];
        if (e->kind == WR_PEER_MESSAGE) free(e->bytes);
    }
    free(jm->held);
    wr_aside_free(jm->aside);
    free(jm);
}
