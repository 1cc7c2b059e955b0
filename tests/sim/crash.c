/* A whole job with snapshots, killed and started again on the same disk until it has finished. */
#include "tests/sim/crash.h"
#include "base/check.h"
#include "cli/local_orders.h"
#include "connectors/connectors.h"
#include "jobmanager/coordinator.h"
#include "jobmanager/core_job.h"
#include "operators/op.h"
#include "snapshot/image.h"
#include "taskmanager/slot.h"
#include "taskmanager/tasklet.h"
#include "tests/sim/states.h"
#include "tests/sim/threads.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* Steps without any progress, per slot: then the slow ones get their turn as well; then nothing will ever move. */
enum {
    FAIR_AFTER = 50,
    IDLE_STEPS_MAX = 20000,
    STEPS_MAX = 6000000,
    ATTEMPTS_MAX = 60,
    FAULTY_ATTEMPTS = 30,
    REPEATS = 4
};

/* How an attempt is to end. */
typedef struct doom {
    bool     comes;
    uint32_t completions; /* so many snapshots of this attempt first */
    uint64_t steps;       /* then so many steps; 0: in the middle of a storage call instead */
    uint64_t calls;
    bool     power;
} doom;

/* What a user asks of an attempt. */
typedef struct wish {
    uint32_t kind; /* enum wish_kind */
    uint64_t steps;
} wish;
enum wish_kind { WISH_NOTHING, WISH_SAVEPOINT, WISH_STOP, WISH_STOP_SAVEPOINT, WISH_DRAIN };

/* What outlives processes. */
typedef struct world {
    const sim_plan   *plan;
    sim_plan          now; /* the same with this attempt's parallelisms */
    sim_vault         vault;
    sim_world        *user;
    sim_clock         clock;
    sim_disk         *disk;
    wr_env            env;
    wr_prng           random, apart; /* apart: of what came later, so that older choices stay */
    sim_crash_result *result;
    bool              trace, finished;
    uint32_t          attempts;
    uint32_t          planned; /* crashes that are still to come */
    uint32_t          wishes;  /* so many attempts may still be asked for something */
    bool              forked;  /* it began from a savepoint, whose writes are committed: never again from before it */
    bool              anew;    /* that was the beginning of another lineage */
    bool              drains;  /* it was asked to end early, with results */
    uint64_t          id;      /* greatest one of all snapshots that were begun */
    uint64_t          savepoint, ticket, saved; /* id of the newest savepoint that nothing was started behind; tickets
                                                 * given; ticket of `savepoint` */
    uint64_t          read[SIM_SOURCES][SIM_SPLITS]; /* how far the last attempt came */
} world;

typedef struct repeat { /* an answer to a barrier, that came already */
    char  *bytes;
    size_t n;
} repeat;

/* One process. One thread, on the stack of attempt. */
typedef struct process {
    world          *w;
    wr_origin       origin;
    bool            open;
    wish            wish;
    repeat          repeat[REPEATS];
    weir_pipeline  *pipeline;
    const wr_job   *job;
    wr_exec        *exec;
    wr_coordinator *snapshots;
    wr_worker      *worker;
    wr_core_job     core;
    wr_execution   *execution;
    wr_job_action  *action;
    doom            doom;
    bool            stirred; /* a task has something to say */
    uint32_t        weight[64], loaded, runnings;
    sim_threads     threads; /* that write its snapshots */
    uint64_t        id;      /* of the snapshot that was begun last */
    uint64_t        completions, steps, idle, faults_until, errors_before;
    int64_t         interval_ms;
} process;

__attribute__((format(printf, 2, 3))) static void violate(world *w, const char *format, ...)
{
    if (w->result->violated) return;
    w->result->violated = true;
    va_list args;
    va_start(args, format);
    vsnprintf(w->result->why, sizeof w->result->why, format, args);
    va_end(args);
}

__attribute__((format(printf, 2, 3))) static void note(world *w, const char *format, ...)
{
    char    line[512];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    for (int i = 0; i < n && i < (int)sizeof line; i++)
        w->result->trace = (w->result->trace ^ (unsigned char)line[i]) * UINT64_C(0x100000001b3);
    if (w->trace) printf("%lld %s\n", (long long)w->clock.now_ns, line);
}

static uint64_t below(world *w, uint64_t bound)
{
    return wr_prng_below(&w->random, bound);
}
static bool one_in(world *w, uint64_t times)
{
    return wr_prng_one_in(&w->random, times) != 0;
}

/* ---- the job machine, as wr_local drives it ---- */

static void feed(process *p, wr_job_event event)
{
    event.now_ms = p->w->clock.now_ns / 1000000;
    uint32_t n = wr_core_job_step(&p->core, &event, p->action, wr_core_job_actions_max(p->exec->subtasks));
    for (uint32_t i = 0; i < n; i++) {
        if (p->action[i].kind == WR_JOB_DO_STOP_SOURCES) wr_coordinator_stop(p->snapshots, 0, false, NULL);
        if (p->action[i].kind == WR_JOB_DO_CANCEL) wr_worker_cancel(p->worker, p->action[i].subtask);
        if (p->action[i].kind == WR_JOB_DO_TELL) note(p->w, "job %s", wr_job_state_name(p->action[i].state));
    }
    if (p->core.state > WR_JOB_RUNNING && p->core.state != WR_JOB_FINISHED) wr_coordinator_close(p->snapshots);
}

static wr_exec_state exec_state_of(wr_task_state state)
{
    switch (state) {
    case WR_TASK_INITIALIZING:
    case WR_TASK_LOADED: return WR_EXEC_INITIALIZING;
    case WR_TASK_RUNNING:
    case WR_TASK_ENDED: return WR_EXEC_RUNNING;
    case WR_TASK_FINISHED: return WR_EXEC_FINISHED;
    case WR_TASK_CANCELED: return WR_EXEC_CANCELED;
    case WR_TASK_FAILED: return WR_EXEC_FAILED;
    default: return WR_EXEC_CREATED;
    }
}

static void check_states(process *p);

/* As cli/local.c does it. False: the disk failed, and the job does. */
static bool begin_lineage(process *p)
{
    wr_errinfo info = {0};
    if (wr_origin_begin(&p->origin, &info) == WR_OK) return true;
    note(p->w, "its lineage cannot be begun: %s", info.text);
    feed(p, (wr_job_event){.kind = WR_JOB_REPORT, .attempt = 1, .reported = WR_EXEC_FAILED, .info = &info});
    for (uint32_t i = 0; i < p->exec->subtasks; i++) wr_worker_cancel(p->worker, i);
    return false;
}

static void take_reports(process *p)
{
    for (wr_task_event e; wr_worker_event(p->worker, &e);) {
        note(p->w, "task %u %s%s%s", e.subtask, wr_task_state_name(e.state), e.info.code ? " " : "", e.info.text);
        bool all_loaded = e.state == WR_TASK_LOADED && ++p->loaded == p->exec->subtasks;
        bool all_run = e.state == WR_TASK_RUNNING && ++p->runnings == p->exec->subtasks;
        if (all_loaded) check_states(p);
        feed(p, (wr_job_event){.kind = WR_JOB_REPORT,
                               .subtask = e.subtask,
                               .attempt = e.attempt,
                               .reported = exec_state_of(e.state),
                               .info = e.state == WR_TASK_FAILED ? &e.info : NULL});
        if (p->core.state == WR_JOB_RUNNING && (all_loaded || all_run) && !begin_lineage(p)) return;
        if (p->core.state == WR_JOB_RUNNING) wr_coordinator_report(p->snapshots, e.subtask, e.state);
        if (p->core.state == WR_JOB_RUNNING && all_loaded) wr_worker_go(p->worker);
        if (p->core.state == WR_JOB_RUNNING && all_run) wr_worker_run(p->worker);
    }
}

static void ordered(void *self, const wr_worker_order *order)
{
    wr_local_order(((process *)self)->worker, order);
}

static void stirred(void *self)
{
    ((process *)self)->stirred = true;
}

/* Before anything runs: what was loaded is what the reference has after the same records, and event time has not gone
 * back. */
static void check_states(process *p)
{
    world     *w = p->w;
    uint64_t   emitted[SIM_SOURCES][SIM_SPLITS];
    sim_digest want[SIM_NODES];
    char       why[256] = "";
    if (!p->origin.restores || !sim_positions(w->plan, &p->origin.manifest, emitted, why)) return;
    for (uint32_t i = 0; i < w->plan->sources; i++) {
        for (uint32_t s = 0; s < w->plan->node[i].splits; s++)
            note(w, "source %u split %u is at %" PRIu64 " of %" PRIu64, i, s, emitted[w->plan->node[i].source][s],
                 w->plan->node[i].records[s]);
    }
    sim_reference_states(w->plan, (const uint64_t(*)[SIM_SPLITS])emitted, want);
    for (uint32_t i = 0; i < w->plan->nodes; i++) {
        const sim_node *n = &w->plan->node[i];
        sim_digest      got = {0};
        uint32_t        tables = 0;
        if (n->kind < SIM_COUNT || n->kind > SIM_TIMER || wr_manifest_find(&p->origin.manifest, n->uid) == NULL)
            continue;
        sim_digest_loaded(n, &p->origin.manifest, p->job, p->worker, &got, &tables, why);
        if (tables == 0 || !sim_state_known(w->plan, i, emitted)) continue;
        w->result->states++;
        if (got.keys != want[i].keys || got.sum != want[i].sum)
            violate(
                w, "%s has %" PRIu64 " keys after the restore of snapshot %" PRIu64 ", and the reference %" PRIu64 "%s",
                n->uid, got.keys, p->origin.manifest.id, want[i].keys,
                got.keys == want[i].keys ? ", with other values" : "");
    }
    if (why[0] != 0) violate(w, "%s", why);
}

/* ---- what readers see ---- */

static void no_hidden(void *arg, const char *name)
{
    if (name[0] == '.') violate(arg, "%s is left behind, though the job has finished", name);
}

static void check_output(world *w, bool all)
{
    uint64_t emitted[SIM_SOURCES][SIM_SPLITS] = {0};
    for (uint32_t i = 0; i < w->plan->sources; i++) {
        const sim_node *n = &w->plan->node[i];
        memcpy(emitted[n->source], n->records, sizeof n->records);
        for (uint32_t s = 0; all && s < n->splits; s++) {
            if (w->drains) emitted[n->source][s] = w->read[n->source][s];
        }
    }
    sim_expected expected;
    sim_reference(w->plan, (const uint64_t(*)[SIM_SPLITS])emitted, UINT32_MAX, &expected);
    for (uint32_t i = 0; i < w->plan->nodes && !w->result->violated; i++) {
        const sim_node *n = &w->plan->node[i];
        if (n->kind != SIM_SINK) continue;
        char      folder[64], why[256] = "", text[256];
        sim_items got = {0};
        snprintf(folder, sizeof folder, "/out/%s", n->uid);
        if (n->vault) {
            sim_vault_read(&w->vault, n->source, &got);
        } else {
            if (all && !w->anew) sim_disk_names(w->disk, folder, no_hidden, w);
            if (!sim_output_read(w->disk, folder, &got, why, sizeof why)) violate(w, "%s", why);
        }
        const char *wrong = sim_output_compare(&got, &expected.sink[n->source], !all, n->ordered, text);
        if (wrong != NULL) violate(w, "sink %s, %s: %s", n->uid, all ? "at the end" : "after a crash", wrong);
        sim_items_free(&got);
    }
    sim_expected_free(&expected);
}

/* A manifest that is found is a snapshot that can be had, whatever came behind it. */
static void check_snapshots(world *w)
{
    static const char folder[] = "/snapshots";
    wr_store_entry   *list;
    uint32_t          n;
    wr_errinfo        info = {0};
    wr_err            err = wr_store_list(&w->env, folder, &list, &n, &info);
    if (err != WR_OK) {
        violate(w, "the snapshots cannot be listed: %s", info.text);
        return;
    }
    for (uint32_t i = 0; i < n && !w->result->violated; i++) {
        char        path[WR_FILE_NAME_BYTES + sizeof folder];
        wr_manifest m;
        snprintf(path, sizeof path, "%s/%s", folder, list[i].name);
        err = wr_store_read(&w->env, path, &m, &info);
        for (uint32_t o = 0; err == WR_OK && o < m.ops; o++) {
            for (uint32_t k = 0; err == WR_OK && k < m.op[o].layers; k++)
                err = wr_image_check(&w->env, folder, &m.op[o].layer[k].file, &info);
        }
        if (err != WR_OK) violate(w, "%s is there and cannot be restored: %s", list[i].name, info.text);
        wr_manifest_free(&m);
        w->result->checked++;
    }
    free(list);
}

/* ---- a process ---- */

static void snapshot_failed(void *self, const wr_snapshot_record *r)
{
    process *p = self;
    char     text[256] = "";
    size_t   n = 0;
    for (uint32_t i = 0; i < p->exec->subtasks && n < sizeof text - 8; i++) {
        if (!r->figures[i].acked) n += (size_t)snprintf(text + n, sizeof text - n, " %u", i);
    }
    note(p->w, "snapshot %" PRIu64 " failed: %s; no answer of%s", r->id, r->why.text, text);
}

static void answered(void *self, uint64_t ticket, uint64_t id, const wr_errinfo *why)
{
    process *p = self;
    note(p->w, "answer %" PRIu64 ": %" PRIu64 " %s", ticket, id, why != NULL ? why->text : "done");
    if (why != NULL || p->wish.kind == WISH_DRAIN || p->wish.kind == WISH_STOP) return;
    p->w->result->savepoints++;
    p->w->savepoint = id;
    p->w->saved = ticket;
}

static wr_err open_origin(process *p, wr_errinfo *info)
{
    world           *w = p->w;
    wr_origin_config of_origin = {.env = &w->env, .job = "sim", .folder = "/snapshots"};
    WR_TRY(wr_origin_open(&p->origin, &of_origin, info));
    p->open = true;
    uint64_t newest = p->origin.restores ? p->origin.manifest.id : 0;
    bool     other = w->savepoint > 0 && !p->origin.finished && newest <= w->savepoint && one_in(w, 2);
    if (w->forked && !p->origin.restores && !p->origin.finished) other = true;
    if (!other) {
        /* Sinks end what they prepared for a savepoint and nobody committed: it is of no use any more. */
        if (newest != w->savepoint) w->savepoint = 0;
        return WR_OK;
    }
    of_origin.fresh = p->origin.restores;
    w->result->forks++;
    w->anew |= of_origin.fresh;
    w->forked = true;
    char path[64];
    snprintf(path, sizeof path, "/save/%" PRIu64, w->saved);
    note(w, "starts from the savepoint %s%s", path, of_origin.fresh ? ", a new lineage" : "");
    wr_origin_close(&p->origin);
    p->open = false;
    of_origin.restore = path;
    WR_TRY(wr_origin_open(&p->origin, &of_origin, info));
    p->open = true;
    return WR_OK;
}

/* How far its sources came: those of the snapshot that it started from, and its own. */
static void note_positions(process *p)
{
    world *w = p->w;
    char   why[256];
    if (!p->origin.restores || !sim_positions(w->plan, &p->origin.manifest, w->read, why))
        memset(w->read, 0, sizeof w->read);
    for (uint32_t i = 0; i < SIM_SOURCES; i++) {
        for (uint32_t s = 0; s < SIM_SPLITS; s++) {
            if (w->user->position[i][s] != UINT64_MAX) w->read[i][s] = w->user->position[i][s];
        }
    }
}

/* False: it died, or cannot; the latter is a violation unless it is told by the disk. */
static bool build(process *p)
{
    world     *w = p->w;
    wr_errinfo info = {0};
    wr_err     err = open_origin(p, &info);
    if (err != WR_OK) goto out;
    if (p->origin.finished) return false;
    p->pipeline = wr_job_new("sim", NULL, 0);
    sim_build(p->pipeline);
    const wr_manifest *restore = p->origin.restores ? &p->origin.manifest : NULL;
    wr_job_settings    settings = {.parallelism_default = 2,
                                   .connector = wr_connector_resolve,
                                   .inspect = wr_connector_inspect,
                                   .restore = restore};
    WR_GOTO(wr_job_finish(p->pipeline, &settings, &p->job, &info));
    WR_GOTO(wr_origin_match(&p->origin, p->job, false, &info));
    WR_GOTO(wr_exec_new(p->job, &p->exec, &info));
    wr_coordinator_options of_snapshots = {.env = &w->env,
                                           .origin = &p->origin,
                                           .interval_ms = p->interval_ms,
                                           .timeout_ms = 3000 + (int64_t)below(w, 20000),
                                           .keep = 1 + (uint32_t)below(w, 3),
                                           .order = ordered,
                                           .failed = snapshot_failed,
                                           .answer = answered,
                                           .alone = true,
                                           .self = p};
    WR_GOTO(wr_coordinator_new(&p->snapshots, p->exec, &of_snapshots, &info));
    wr_worker_options of_worker = {
        .env = &w->env, .job = "sim", .seed = w->plan->seed + w->result->crashes, .notify = stirred, .self = p};
    if (w->result->scribes) of_worker.scribes = (uint32_t)wr_prng_below(&w->apart, 3);
    wr_local_configure(&of_worker, &p->origin, of_snapshots.timeout_ms);
    WR_GOTO(wr_worker_new(&p->worker, p->exec, &of_worker, &info));
    wr_worker_start_scribes(p->worker);
    p->execution = calloc(p->exec->subtasks, sizeof *p->execution);
    p->action = calloc(wr_core_job_actions_max(p->exec->subtasks), sizeof *p->action);
    if (p->execution == NULL || p->action == NULL) abort();
    wr_core_job_init(&p->core, p->execution, p->exec->subtasks, w->clock.now_ns / 1000000);
    feed(p, (wr_job_event){.kind = WR_JOB_SUBMIT, .subtasks = p->exec->subtasks});
    if (restore != NULL) w->result->restores++;
    note(w, "starts from %" PRIu64, restore != NULL ? restore->id : 0);
    return true;
out:
    if (!sim_disk_dead(w->disk)) violate(w, "it cannot be started again: %s", info.text);
    return false;
}

static void unbuild(process *p)
{
    p->threads.hurry = true;
    wr_worker_free(p->worker);
    wr_coordinator_free(p->snapshots);
    wr_exec_free(p->exec);
    if (p->pipeline != NULL) wr_job_free(p->pipeline);
    if (p->open) wr_origin_close(&p->origin);
    free(p->execution);
    free(p->action);
    for (uint32_t i = 0; i < REPEATS; i++) free(p->repeat[i].bytes);
}

static uint64_t completions_of(const process *p)
{
    return wr_coordinator_machine(p->snapshots)->completions;
}

static void begin_faults(process *p)
{
    world      *w = p->w;
    sim_faults *f = sim_disk_faults(w->disk);
    switch (below(w, 5)) {
    case 0: f->write_error = 1 + (uint32_t)below(w, 20); break;
    case 1: f->sync_error = 1 + (uint32_t)below(w, 5); break;
    case 2: f->full = true; break;
    case 3: f->slow_ns = 1 + (int64_t)below(w, 3000000); break;
    default: f->read_error = 1 + (uint32_t)below(w, 20); break;
    }
    p->faults_until = p->steps + 1 + below(w, 3000);
    note(w, "the disk misbehaves");
}

static void change_faults(process *p)
{
    if (p->faults_until > 0 && p->steps >= p->faults_until) {
        *sim_disk_faults(p->w->disk) = (sim_faults){0};
        p->faults_until = 0;
        note(p->w, "the disk is well");
    } else if (p->faults_until == 0 && p->doom.comes && p->w->attempts < FAULTY_ATTEMPTS && one_in(p->w, 6000)) {
        begin_faults(p);
    }
}

/* The user comes. */
static void meet_wish(process *p)
{
    world *w = p->w;
    char   path[64];
    if (p->wish.kind == WISH_NOTHING || p->core.state != WR_JOB_RUNNING || p->steps < p->wish.steps) return;
    p->wish.steps = UINT64_MAX;
    snprintf(path, sizeof path, "/save/%" PRIu64, ++w->ticket);
    note(w, "wish %u, ticket %" PRIu64, p->wish.kind, w->ticket);
    if (p->wish.kind == WISH_SAVEPOINT) {
        wr_coordinator_request(p->snapshots, w->ticket, WR_SAVEPOINT, path);
    } else {
        w->drains |= p->wish.kind == WISH_DRAIN;
        wr_coordinator_stop(p->snapshots, w->ticket, p->wish.kind == WISH_DRAIN,
                            p->wish.kind == WISH_STOP_SAVEPOINT ? path : NULL);
    }
}

/* Crashes when it is time to. */
static void meet_doom(process *p)
{
    doom *d = &p->doom;
    if (!d->comes || p->completions < d->completions) return;
    if (d->calls > 0) {
        sim_disk_die_in(p->w->disk, d->calls);
        d->calls = 0;
        d->steps = UINT64_MAX;
    } else if (d->steps == 0) {
        sim_disk_kill(p->w->disk);
    } else {
        d->steps--;
    }
}

static bool all_done(const wr_slot *slot)
{
    for (uint32_t i = 0; i < slot->tasklets; i++) {
        if (atomic_load(&slot->tasklet[i]->state) < WR_TASK_FINISHED) return false;
    }
    return true;
}

static uint32_t pick_slot(process *p)
{
    uint32_t slots = wr_worker_slots(p->worker);
    for (;;) {
        uint32_t s = (uint32_t)below(p->w, slots);
        if (all_done(wr_worker_slot(p->worker, s)) && !wr_worker_done(p->worker)) continue;
        if (p->idle > FAIR_AFTER * slots || below(p->w, 64) < p->weight[s % 64]) return s;
    }
}

static void step_slot(process *p)
{
    world   *w = p->w;
    uint32_t s = pick_slot(p);
    bool     progress = false;
    /* A turn ends when something was done: tasks that only wait for the last barrier would slow down the others. */
    for (uint32_t i = 0; i < wr_worker_slot(p->worker, s)->tasklets && !progress; i++)
        progress = wr_worker_step(p->worker, s);
    p->idle = progress ? 0 : p->idle + 1;
    p->steps++;
    w->result->steps++;
    w->result->trace = sim_mix(w->result->trace,
                               (uint64_t)w->clock.now_ns ^ (uint64_t)s << 48 ^ (uint64_t)progress << 60);
    if (p->idle > 200 || one_in(w, 500)) w->clock.now_ns += 20000;
    /* A long breath: what is put off for long comes, and sometimes a snapshot takes too long. */
    int64_t wait_ns = wr_coordinator_machine(p->snapshots)->phase == WR_CHECKPOINT_IDLE && p->steps % 64 == 0
                          ? wr_coordinator_wait_ns(p->snapshots)
                          : 0;
    if (wait_ns > 0 && one_in(w, 8)) w->clock.now_ns += (int64_t)below(w, 2 * (uint64_t)wait_ns);
    if (one_in(w, 50000)) w->clock.now_ns += (int64_t)below(w, 30000000000);
}

/* They have processors of their own. */
static void step_scribes(process *p)
{
    world *w = p->w;
    if (p->threads.first == NULL) return;
    for (uint64_t i = wr_prng_below(&w->apart, 4); i > 0 && sim_threads_step(&p->threads, SIM_UNDER_WAY); i--) {
        w->result->scribe_turns++;
        w->result->trace = sim_mix(w->result->trace, p->threads.turns);
        p->idle = 0;
    }
}

/* No id is ever given twice, whatever was restored. */
static void watch_ids(process *p)
{
    const wr_core_checkpoint *m = wr_coordinator_machine(p->snapshots);
    uint64_t                  id = m->pending.barrier.id;
    if ((m->phase != WR_CHECKPOINT_ACKS && m->phase != WR_CHECKPOINT_MANIFEST) || id == p->id) return;
    p->id = id;
    if (id <= p->w->id) violate(p->w, "snapshot %" PRIu64 " is begun, after %" PRIu64 " was", id, p->w->id);
    p->w->id = id;
}

static void note_completions(process *p)
{
    uint64_t now = completions_of(p);
    if (now == p->completions) return;
    p->w->result->snapshots += now - p->completions;
    p->completions = now;
    note(p->w, "snapshot %" PRIu64 " is complete", wr_core_checkpoint_newest(wr_coordinator_machine(p->snapshots)));
}

/* Where everything stands. */
static void describe(const process *p)
{
    if (!p->w->trace) return;
    for (uint32_t s = 0; s < wr_worker_slots(p->worker); s++) {
        const wr_slot *slot = wr_worker_slot(p->worker, s);
        for (uint32_t i = 0; i < slot->tasklets; i++) {
            const wr_tasklet *t = slot->tasklet[i];
            printf("  slot %u task %u %.40s/%u %s called %u%s%s%s; in:", s, t->subtask->id, t->vertex->name,
                   t->subtask->index, wr_task_state_name((wr_task_state)atomic_load(&t->state)), t->called,
                   t->ended ? " ended" : "", t->barriers.aligning ? " aligns" : "", t->barriers.due ? " due" : "");
            for (uint32_t k = 0; k < t->ins; k++)
                printf(" %u<%u%s%s", p->exec->channel[t->subtask->in[k]].from, wr_ring_count(&t->in[k]->data),
                       t->in[k]->blocked ? "b" : "", t->in[k]->ended ? "e" : "");
            printf("; out:");
            for (uint32_t k = 0; k < t->exchanges; k++) {
                wr_exchange *x = &t->exchange[k];
                printf(" [pool %u of %u open %u]", x->pool.out, x->pool.cap, x->open);
                for (uint32_t c = 0; c < x->channels; c++)
                    printf(" %u%s", WR_RING_MAX - wr_ring_free(&x->channel[c]->data),
                           x->channel[c]->pending ? "p" : "");
            }
            puts("");
        }
    }
}

/* As a message that comes twice: now, and at some other time. */
static void repeat_ack(process *p, wr_ack *ack)
{
    world     *w = p->w;
    uint32_t   i = (uint32_t)below(w, REPEATS);
    wr_errinfo info;
    wr_message m = {.kind = WR_MSG_ACK, .attempt = 1, .job = 1, .ack = ack};
    free(p->repeat[i].bytes);
    p->repeat[i].bytes = NULL;
    if (wr_message_encode(&m, &p->repeat[i].bytes, &p->repeat[i].n, &info) != WR_OK)
        violate(w, "an answer to a barrier cannot be sent: %s", info.text);
}

static void take_acks(process *p)
{
    for (wr_ack *ack; (ack = wr_worker_ack(p->worker)) != NULL;) {
        if (one_in(p->w, 6)) repeat_ack(p, ack);
        wr_coordinator_ack(p->snapshots, ack);
    }
    for (uint32_t i = 0; i < REPEATS; i++) {
        wr_message m = {0};
        wr_errinfo info;
        if (p->repeat[i].bytes == NULL || !one_in(p->w, 20)) continue;
        if (wr_message_decode(&m, p->repeat[i].bytes, p->repeat[i].n, &info) != WR_OK) {
            violate(p->w, "an answer to a barrier cannot be read: %s", info.text);
            return;
        }
        wr_coordinator_ack(p->snapshots, m.ack);
        m.ack = NULL;
        wr_message_free(&m);
        p->w->result->repeats++;
    }
}

static void drive(process *p)
{
    world *w = p->w;
    while (!wr_job_state_final(p->core.state) && !w->result->violated && !sim_disk_dead(w->disk)) {
        step_slot(p);
        step_scribes(p);
        bool look = p->steps % 64 == 0; /* for what is due, and not only when somebody says something */
        if (p->stirred || look) {
            p->stirred = !one_in(w, 2); /* sometimes nobody comes to look for a while */
            take_reports(p);
            take_acks(p);
            wr_coordinator_step(p->snapshots);
            watch_ids(p);
            note_completions(p);
        }
        change_faults(p);
        meet_wish(p);
        if (w->user->wrong[0] && !sim_disk_dead(w->disk)) violate(w, "%s", w->user->wrong);
        meet_doom(p);
        if (p->idle > IDLE_STEPS_MAX * wr_worker_slots(p->worker)) violate(w, "nothing moves any more");
        if (p->steps > STEPS_MAX) violate(w, "it does not come to an end");
    }
    if (w->result->violated) describe(p);
}

static void plan_doom(process *p)
{
    world *w = p->w;
    doom  *d = &p->doom;
    *d = (doom){.comes = w->planned > 0, .completions = (uint32_t)below(w, 3), .power = one_in(w, 2)};
    if (one_in(w, 2))
        d->calls = 1 + below(w, one_in(w, 3) ? 20 : 300);
    else
        d->steps = 1 + below(w, one_in(w, 3) ? 50 : 4000);
    if (w->plan->effort > 0 && w->result->restores == 0) { /* it was over before it could be met */
        d->completions = 1;
        d->steps = 1 + below(w, w->plan->effort > 2 ? 20 : 200);
        d->calls = 0;
    }
    if (d->comes && one_in(w, 12)) { /* before it has really begun */
        d->completions = 0;
        sim_disk_die_in(w->disk, 1 + below(w, 60));
        d->calls = 0;
        d->steps = UINT64_MAX;
    }
    if (w->wishes > 0 && one_in(w, 2)) {
        w->wishes--;
        p->wish = (wish){.kind = 1 + (uint32_t)below(w, WISH_DRAIN), .steps = below(w, one_in(w, 3) ? 100 : 6000)};
        if (p->wish.kind == WISH_DRAIN && w->result->restores == 0) p->wish.kind = WISH_SAVEPOINT;
    }
    for (uint32_t i = 0; i < 64; i++) p->weight[i] = one_in(w, 4) ? 20 : 64; /* some slots are slow */
    p->interval_ms = 1 + (int64_t)below(w, 6);
}

static void forget_process(sim_world *user, const sim_plan *plan, sim_vault *vault, uint64_t seed)
{
    memset(user, 0, sizeof *user);
    memset(user->owner, 0xff, sizeof user->owner);
    memset(user->position, 0xff, sizeof user->position);
    user->plan = plan;
    user->vault = vault;
    user->user = wr_prng_of(seed);
    user->exact = true;
    sim_world_now = user;
}

static void count_records(world *w)
{
    for (uint32_t i = 0; i < SIM_SOURCES; i++) {
        for (uint32_t s = 0; s < SIM_SPLITS; s++) w->result->records += w->user->emitted[i][s];
    }
}

/* Ended by itself: finished, or failed because of what the disk did. */
static void end_by_itself(process *p)
{
    world     *w = p->w;
    wr_errinfo info = {0};
    if (p->core.state == WR_JOB_FINISHED) {
        bool stopped = p->wish.steps == UINT64_MAX &&
                       (p->wish.kind == WISH_STOP || p->wish.kind == WISH_STOP_SAVEPOINT);
        bool said = wr_coordinator_finished(p->snapshots, &info) == WR_OK;
        w->result->stops += stopped;
        w->result->drains += p->wish.steps == UINT64_MAX && p->wish.kind == WISH_DRAIN;
        w->finished = said && !stopped; /* what was stopped goes on where it was, unless it had come to its end */
        if (!said && !sim_disk_dead(w->disk) && sim_disk_stats_of(w->disk)->errors == p->errors_before)
            violate(w, "it cannot say that it has finished: %s", info.text);
        return;
    }
    w->result->failures++;
    note(w, "failed: %s", p->core.cause.text);
    if (sim_disk_stats_of(w->disk)->errors == p->errors_before) violate(w, "the job failed: %s", p->core.cause.text);
}

static void attempt(world *w)
{
    process p = {.w = w, .errors_before = sim_disk_stats_of(w->disk)->errors};
    if (one_in(w, 2)) {
        sim_plan_rescale(&w->now, w->plan, wr_prng_next(&w->random));
        w->result->rescales++;
    }
    forget_process(w->user, &w->now, &w->vault, wr_prng_next(&w->random));
    plan_doom(&p);
    sim_threads_init(&p.threads, &w->clock, wr_prng_next(&w->apart));
    w->clock.threads = &p.threads;
    bool built = build(&p);
    if (built) drive(&p);
    if (p.open && p.origin.finished) w->finished = true;
    if (built && !sim_disk_dead(w->disk) && !w->result->violated) end_by_itself(&p);
    count_records(w);
    if (built) note_positions(&p);
    bool crashed = sim_disk_dead(w->disk);
    if (!crashed) sim_disk_kill(w->disk); /* what is freed now must change nothing */
    unbuild(&p);
    check(p.threads.first == NULL);
    w->clock.threads = NULL;
    for (uint32_t i = 0; i < SIM_NODES; i++) {
        for (uint32_t k = 0; k < SIM_SUBTASKS; k++) sim_items_free(&w->user->log[i][k].items);
    }
    sim_disk_restart(w->disk, crashed && p.doom.power);
    if (crashed) {
        w->result->crashes++;
        if (w->planned > 0) w->planned--;
        note(w, "%s, disk %016" PRIx64, p.doom.power ? "power fails" : "killed", sim_disk_hash(w->disk));
        if (!w->result->violated) check_snapshots(w);
        /* What a drain gives early is compared when it is known how far it came. */
        if (!w->result->violated && !w->drains) check_output(w, false);
    }
}

void sim_crash_run(const sim_plan *plan, bool trace, sim_crash_result *result)
{
    static sim_world user; /* too large for a stack */
    memset(result, 0, sizeof *result);
    result->trace = UINT64_C(0xcbf29ce484222325);
    world w = {.plan = plan, .now = *plan, .user = &user, .result = result, .trace = trace};
    w.random = wr_prng_of(plan->seed * 31 + plan->effort);
    w.clock = (sim_clock){.now_ns = 1000000000, .tick_ns = 200, .random = wr_prng_of(plan->seed + 3)};
    w.disk = sim_disk_new(plan->seed + 4, &w.clock);
    w.clock.disk = w.disk;
    w.env = sim_env(&w.clock);
    w.apart = wr_prng_of(plan->seed * 43 + plan->effort + 9);
    result->scribes = wr_prng_one_in(&w.apart, 2) != 0;
    w.planned = 1 + (uint32_t)below(&w, 3) + plan->effort;
    w.wishes = (uint32_t)below(&w, 4);
    w.env.mkdir(w.env.self, "/out");
    w.env.mkdir(w.env.self, "/save");
    int root = w.env.open(w.env.self, "/", WR_OPEN_READ | WR_OPEN_FOLDER);
    w.env.fsync(w.env.self, root);
    w.env.close(w.env.self, root);
    for (uint32_t i = 0; !w.finished && !result->violated; i++) {
        if (i == ATTEMPTS_MAX) violate(&w, "it was started %d times and did not finish", ATTEMPTS_MAX);
        w.attempts = i;
        attempt(&w);
    }
    if (!result->violated) check_output(&w, true);
    result->reuses = sim_disk_stats_of(w.disk)->reuses;
    sim_disk_free(w.disk);
    result->retries = w.vault.retries;
    result->late = w.vault.late;
    sim_vault_free(&w.vault);
}
