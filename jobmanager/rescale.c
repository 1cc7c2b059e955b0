/* A job that goes on with another parallelism, from a snapshot that is taken for it. Whatever speaks against it is said
 * while the job still runs: what was ended for nothing would be missed. */
#include "base/check.h"
#include "base/log.h"
#include "jobmanager/inside.h"
#include "jobmanager/restore.h"
#include <stdlib.h>
#include <string.h>

/* The old specification with the new graph. */
static wr_job_spec changed(const wr_job_spec *old, const wr_job_spec *to)
{
    wr_job_spec spec = *old;
    spec.graph = to->graph;
    spec.graph_bytes = to->graph_bytes;
    spec.parallelism = to->parallelism;
    spec.parallelism_default = to->parallelism_default;
    return spec;
}

/* ---- whether it may be ---- */

/* Key groups are what they were: an operator cannot have more subtasks than that. */
static wr_err enough_groups(const wr_jm_job *j, const wr_job *to, wr_errinfo *info)
{
    const wr_job *from = j->run.exec->job;
    for (uint32_t i = 0; i < to->nodes; i++) {
        for (uint32_t k = 0; k < from->nodes; k++) {
            if (strcmp(to->node[i].uid, from->node[k].uid) != 0) continue;
            if (to->node[i].parallelism <= from->node[k].max_parallelism) continue;
            return wr_fail(info, WR_STATE, "%s: parallelism %u is above its max_parallelism of %u; lower it",
                           to->node[i].uid, to->node[i].parallelism, from->node[k].max_parallelism);
        }
    }
    return WR_OK;
}

/* What its next attempt begins with, as far as is known now: *m is the caller's to free when `read` is set. */
static wr_err newest(const wr_jm_job *j, wr_manifest *m, bool *found, bool *read, wr_errinfo *info)
{
    bool taken = j->coordinator != NULL && wr_coordinator_taken(j->coordinator);
    *read = *found = false;
    if (taken) {
        WR_TRY(wr_coordinator_newest(j->coordinator, m, found, info));
        *read = *found;
    }
    if (*found || !j->run.origin.restores) return WR_OK;
    *m = j->run.origin.manifest;
    *found = true;
    return WR_OK;
}

/* Whether the job could go on from its newest snapshot as it is going to be, and with how many slots. */
static wr_err try_graph(const wr_jm_job *j, const wr_job_spec *spec, uint32_t *slots, wr_errinfo *info)
{
    wr_manifest m;
    bool        found = false, read = false;
    wr_remote  *remote;
    wr_exec    *exec = NULL;
    if (j->run.exec == NULL)
        return wr_fail(info, WR_TIMEOUT, "job %s is being prepared; ask again when it runs", j->name);
    WR_TRY(wr_remote_decode(&remote, spec->graph, spec->graph_bytes, info));
    wr_err err = newest(j, &m, &found, &read, info);
    if (err != WR_OK) goto out;
    WR_GOTO(enough_groups(j, wr_remote_job(remote), info));
    if (found) {
        WR_GOTO(wr_remote_restored(remote, &m, info));
        WR_GOTO(wr_restore_match(&m, wr_remote_job(remote), spec->allow_non_restored, NULL, info));
    }
    WR_GOTO(wr_exec_new(wr_remote_job(remote), &exec, info));
    *slots = exec->slots;
    if (exec->slots > WR_SLOTS_MAX)
        err = wr_fail(info, WR_LIMIT, "the job would need %u slots; a job has at most %d", exec->slots, WR_SLOTS_MAX);
out:
    if (read) wr_manifest_free(&m);
    wr_exec_free(exec);
    wr_remote_free(remote);
    return err;
}

/* Nothing of it runs, nor is being ended: it waits for slots, or for its time. */
static bool rests(const wr_jm_job *j)
{
    bool state = j->core.state == WR_JOB_CREATED || j->core.state == WR_JOB_RESTARTING;
    return state && !wr_core_job_alive(&j->core);
}

static bool runs(const wr_jm_job *j)
{
    return j->core.state == WR_JOB_RUNNING && j->coordinator != NULL && !j->quiet;
}

static wr_err enough_slots(const wr_jm_job *j, uint32_t slots, wr_errinfo *info)
{
    uint32_t reach = wr_core_pool_reach(&j->jm->pool, j->id);
    if (slots <= reach) return WR_OK;
    uint32_t missing = slots - reach;
    return wr_fail(
        info, WR_LIMIT,
        "job %s would need %u slots, and there are %u: its own, and those that are free; %u %s missing; start a "
        "TaskManager, lower the parallelism, or let it wait for them by --wait",
        j->name, slots, reach, missing, missing == 1 ? "is" : "are");
}

static wr_err may_rescale(const wr_jm_job *j, const wr_message *m, uint32_t *slots, wr_errinfo *info)
{
    const wr_ledger_job *l = j != NULL ? wr_ledger_find(j->jm->ledger, j->id) : NULL;
    if (l == NULL) return wr_fail(info, WR_CONFIG, "the job has ended already");
    if (m->ask.spec.module.name == NULL) return wr_fail(info, WR_USAGE, "a rescale brings the new graph");
    if (l->spec.snapshots[0] == 0)
        return wr_fail(info, WR_CONFIG,
                       "job %s takes no snapshots, and would lose its state; submit it with --snapshots DIR", j->name);
    if (l->stopping != 0) return wr_fail(info, WR_CONFIG, "job %s is being stopped", j->name);
    if (j->spec_next != NULL) return wr_fail(info, WR_CONFIG, "job %s is being rescaled already", j->name);
    if (!runs(j) && !rests(j))
        return wr_fail(info, WR_TIMEOUT, "job %s is %s; ask again when it runs", j->name,
                       wr_job_state_name(j->core.state));
    const wr_job_spec spec = changed(&l->spec, &m->ask.spec);
    return try_graph(j, &spec, slots, info);
}

/* ---- its steps ---- */

static wr_jm_wait *asker(const wr_jm_job *j)
{
    wr_jm_wait *w = j->jm->wait;
    while (w != NULL && (w->job != j->id || w->kind != WR_JM_WAIT_RESCALED)) w = w->next;
    return w;
}

/* From here on nobody takes them. */
static bool reserve(wr_jm_job *j, uint32_t slots, wr_errinfo *info)
{
    if (enough_slots(j, slots, info) != WR_OK) return false;
    wr_jm_pool(j->jm, (wr_pool_event){.kind = WR_POOL_RESERVE, .job = j->id, .slots = slots});
    return true;
}

/* The slots are there. Who runs takes a snapshot for it; who does not, has its newest one. */
static void begin(wr_jm_job *j, wr_jm_wait *w)
{
    j->short_of_slots = false;
    if (runs(j)) {
        wr_coordinator_request(j->coordinator, w->ticket, WR_SNAPSHOT, NULL);
        return;
    }
    wr_errinfo none = {0};
    w->taken = j->respec = true; /* the next WANT is for it */
    j->restart = j->core.waits;
    if (!j->restart) reserve(j, j->slots_next, &none);
}

void wr_jm_rescale(wr_jobmanager *jm, uint64_t peer, wr_message *m, wr_jm_job *j)
{
    wr_errinfo info = {0};
    uint32_t   slots = 0;
    wr_err     err = may_rescale(j, m, &slots, &info);
    bool       enough = err == WR_OK && enough_slots(j, slots, &info) == WR_OK;
    if (err == WR_OK && !enough && !m->ask.follow) err = info.code;
    if (err == WR_OK) {
        const wr_ledger_job *l = wr_ledger_find(jm->ledger, j->id);
        const wr_job_spec    spec = changed(&l->spec, &m->ask.spec);
        err = wr_job_spec_encode(&spec, &j->spec_next, &j->spec_next_bytes, &info);
    }
    if (err != WR_OK) {
        wr_jm_reply(jm, peer, m->request, &info, 0, 0);
        return;
    }
    wr_jm_wait *w = wr_jm_wait_new(jm, peer, m->request, j->id, WR_JM_WAIT_RESCALED);
    if (w == NULL) {
        free(j->spec_next);
        j->spec_next = NULL;
        return;
    }
    w->follow = m->ask.follow;
    j->slots_next = slots;
    j->short_of_slots = !enough;
    if (enough)
        begin(j, w);
    else
        wr_log(WR_LOG_INFO, "job %s is to be rescaled: %s", j->name, info.text);
}

void wr_jm_rescales(wr_jobmanager *jm)
{
    wr_errinfo none = {0};
    for (uint32_t i = 0; i < jm->jobs; i++) {
        wr_jm_job           *j = jm->job[i];
        wr_jm_wait          *w = j->short_of_slots ? asker(j) : NULL;
        const wr_ledger_job *l = wr_ledger_find(jm->ledger, j->id);
        if (l == NULL || l->stopping != 0) continue; /* it is on its way to its end */
        if (w != NULL && (runs(j) || rests(j)) && enough_slots(j, j->slots_next, &none) == WR_OK) begin(j, w);
    }
}

void wr_jm_not_rescaled(wr_jm_job *j, const wr_errinfo *why)
{
    free(j->spec_next);
    j->spec_next = NULL;
    j->respec = j->short_of_slots = false;
    for (wr_jm_wait *w = j->jm->wait, *next; w != NULL; w = next) {
        next = w->next;
        if (w->job != j->id || w->kind != WR_JM_WAIT_RESCALED) continue;
        if (w->peer != 0) wr_jm_reply(j->jm, w->peer, w->request, why, j->id, 0);
        wr_jm_wait_end(j->jm, w);
    }
}

bool wr_jm_move_fits(wr_jm_job *j)
{
    wr_errinfo none = {0};
    return j->run.exec == NULL || reserve(j, j->run.exec->slots, &none);
}

bool wr_jm_rescale_fits(wr_jm_job *j)
{
    wr_arena    arena = {0};
    wr_job_spec spec;
    wr_errinfo  info = {0};
    wr_jm_wait *w = asker(j);
    wr_err      err = wr_job_spec_decode(&spec, &arena, j->spec_next, j->spec_next_bytes, &info);
    if (err == WR_OK) err = try_graph(j, &spec, &j->slots_next, &info);
    wr_arena_fini(&arena);
    if (err == WR_OK && reserve(j, j->slots_next, &info)) return true;
    if (err == WR_OK && w != NULL && w->follow) { /* they were taken while the snapshot was */
        j->short_of_slots = true;
        j->respec = w->taken = false;
    } else {
        wr_jm_not_rescaled(j, &info);
    }
    return false;
}

wr_err wr_jm_respec(wr_jm_job *j, wr_errinfo *info)
{
    wr_arena    arena = {0};
    wr_job_spec spec;
    wr_err      err = wr_job_spec_decode(&spec, &arena, j->spec_next, j->spec_next_bytes, info);
    if (err == WR_OK) err = wr_ledger_respec(j->jm->ledger, j->id, &spec, info);
    wr_arena_fini(&arena);
    if (err != WR_OK) wr_jm_not_rescaled(j, info); /* else the next GO would say that it was */
    free(j->spec_next);
    j->spec_next = NULL;
    j->respec = false;
    return err;
}
