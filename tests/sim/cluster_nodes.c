/* The processes: how they begin and how they are killed. */
#include "base/check.h"
#include "connectors/connectors.h"
#include "graph/exec.h"
#include "taskmanager/slot.h"
#include "taskmanager/tasklet.h"
#include "tests/sim/cluster_inner.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t seed(world *w)
{
    return wr_prng_next(&w->random);
}

/* ---- workers ---- */

static wr_err load(void *self, const wr_deploy *d, const wr_manifest *restore, const wr_exec **exec, wr_errinfo *info)
{
    worker_node  *n = self;
    const wr_job *job = NULL;
    uint32_t      variant = d->spec.parallelism - 1; /* says which one */
    check(variant <= OTHER);
    n->other = variant == OTHER;
    if (n->other) n->user->vault = &n->w->other_vault;
    const tm_node *tm = &n->w->tm[n->tm]; /* the next one has cleared away what was the last one's */
    bool           cared = tm->alive && tm->incarnation == n->parent;
    if (cared && memcmp(d->spec.module.digest, n->w->client.digest, WR_DIGEST_BYTES) == 0)
        sim_check_file(n->w, n->folder);
    n->plan = n->w->variant[variant];
    n->user->plan = &n->plan;
    sim_world_now = n->user;
    n->pipeline = wr_job_new("sim", NULL, 0);
    sim_build(n->pipeline);
    wr_job_settings settings = {.parallelism_default = d->spec.parallelism_default,
                                .connector = wr_connector_resolve,
                                .inspect = wr_connector_inspect,
                                .restore = restore};
    WR_TRY(wr_job_finish(n->pipeline, &settings, &job, info));
    WR_TRY(wr_exec_new(job, &n->exec, info));
    *exec = n->exec;
    return WR_OK;
}
static void unload(void *self)
{
    worker_node *n = self;
    if (n->exec != NULL) wr_exec_free(n->exec);
    if (n->pipeline != NULL) wr_job_free(n->pipeline);
    n->exec = NULL;
    n->pipeline = NULL;
}
static int accepted(void *self, wr_data_hello *hello)
{
    worker_node *n = self;
    if (n->gifts == 0) return -1;
    gift g = n->gift[0];
    memmove(n->gift, n->gift + 1, --n->gifts * sizeof *n->gift);
    *hello = g.hello;
    return g.socket;
}

static worker_node *worker_of(tm_node *tm, uint64_t process)
{
    for (uint32_t i = 0; i < WORKERS; i++) {
        worker_node *n = &tm->w->worker[i];
        if (n->used && n->process == process) return n;
    }
    return NULL;
}

static wr_err process_start(void *self, const wr_process_spec *spec, uint64_t *process, uint64_t *peer,
                            wr_errinfo *info)
{
    tm_node     *tm = self;
    world       *w = tm->w;
    worker_node *n = w->worker;
    uint64_t     up;
    while (n < w->worker + WORKERS && n->used) n++;
    check(n < w->worker + WORKERS);
    memset(n, 0, sizeof *n);
    *n = (worker_node){.w = w, .used = true, .tm = tm->index, .parent = tm->incarnation, .process = ++w->processes};
    sim_host_init(&n->host, &w->clock, w->net, MACHINE_TM + tm->index, seed(w));
    snprintf(n->folder, sizeof n->folder, "%s", spec->folder);
    n->user = calloc(1, sizeof *n->user);
    check(n->user != NULL);
    memset(n->user->owner, 0xff, sizeof n->user->owner);
    memset(n->user->position, 0xff, sizeof n->user->position);
    n->user->user = wr_prng_of(seed(w));
    n->user->exact = true;
    n->user->vault = &w->vault;
    n->host.env.parker_init(n->host.env.self, &n->parker);
    n->port = sim_port_new(w->net, &n->host, NULL, 0, sim_watch_worker, n);
    sim_port_join(n->port, tm->down, &up, peer);
    n->starts_ns = w->clock.now_ns + (int64_t)below(w, 2000000);
    const uint32_t scribes = w->result->scribes ? (uint32_t)wr_prng_below(&w->apart, 3) : 0;
    n->host.threaded = scribes > 0;
    const wr_agent_config config = {.env = &n->host.env,
                                    .scribes = scribes,
                                    .peers = sim_port_table(n->port),
                                    .up = up,
                                    .parker = &n->parker,
                                    .load = load,
                                    .unload = unload,
                                    .accepted = accepted,
                                    .self = n,
                                    .stats_ms = 5};
    *process = n->process;
    wr_err err = wr_agent_new(&n->agent, &config, info);
    check(err == WR_OK);
    sim_note(w, "%s starts worker %" PRIu64 " of attempt %u", tm->name, n->process, spec->attempt);
    return WR_OK;
}

static void process_kill(void *self, uint64_t process)
{
    tm_node     *tm = self;
    worker_node *n = tm->host.dead ? NULL : worker_of(tm, process); /* the dead kill nobody */
    if (n != NULL) sim_worker_kill(n, 9);
}

static void process_give(void *self, uint64_t process, int socket, const wr_data_hello *hello)
{
    tm_node     *tm = self;
    worker_node *n = worker_of(tm, process);
    if (n == NULL || n->gifts == GIFTS) {
        tm->host.env.hang_up(tm->host.env.self, socket);
        return;
    }
    sim_socket_give(tm->w->net, socket, &n->host);
    n->gift[n->gifts++] = (gift){socket, *hello};
    sim_worker_wake(n);
}

static bool process_ended(void *self, wr_process_end *end)
{
    tm_node *tm = self;
    if (tm->ends == 0) return false;
    *end = tm->end[0];
    memmove(tm->end, tm->end + 1, --tm->ends * sizeof *tm->end);
    return true;
}

/* How far the readers of the newest attempt have come. */
void sim_note_read(const worker_node *n)
{
    world *w = n->w;
    if (!n->used || n->other || w->newest == 0 || n->attempt != w->newest) return;
    for (uint32_t i = 0; i < SIM_SOURCES; i++) {
        for (uint32_t s = 0; s < SIM_SPLITS; s++) {
            if (n->user->position[i][s] != UINT64_MAX) w->read[i][s] = n->user->position[i][s];
        }
    }
}

/* exit_code in the place of a signal when that is 0. */
static void worker_over(worker_node *n, int signal, int exit_code)
{
    world   *w = n->w;
    tm_node *tm = &w->tm[n->tm];
    sim_note(w, "worker %" PRIu64 " of attempt %u is over: signal %d, exit %d", n->process, n->attempt, signal,
             exit_code);
    sim_world_now = n->user;
    sim_note_read(n);
    sim_host_kill(&n->host);
    wr_agent_free(n->agent);
    unload(n);
    sim_port_free(n->port);
    n->host.env.parker_fini(n->host.env.self, &n->parker);
    for (uint32_t i = 0; i < SIM_SOURCES; i++) {
        for (uint32_t s = 0; s < SIM_SPLITS && !n->other; s++) w->result->records += n->user->emitted[i][s];
    }
    free(n->user);
    if (tm->alive && tm->incarnation == n->parent && tm->ends < ENDS) {
        wr_process_end *e = &tm->end[tm->ends++];
        *e = (wr_process_end){
            .process = n->process, .signal = signal, .exit_code = exit_code, .report = "", .subtask = UINT32_MAX};
        if (signal != 0) wr_fail(&e->info, WR_CRASH, "killed by signal %d", signal);
    }
    n->used = false;
}

void sim_worker_kill(worker_node *n, int signal)
{
    worker_over(n, signal, 0);
}

void sim_worker_step(worker_node *n)
{
    world *w = n->w;
    int    exit_code = 0;
    if (w->clock.now_ns < n->starts_ns) return;
    sim_world_now = n->user;
    uint64_t arrived = sim_net_arrived(w->net);
    bool     over = wr_agent_step(n->agent, &exit_code);
    if (sim_net_arrived(w->net) != arrived) sim_worker_wake(n);
    if (n->host.dead)
        sim_worker_kill(n, 9);
    else if (over)
        worker_over(n, 0, exit_code);
    else
        sim_watch_lease(n);
}

/* ---- slots ----
 * A slot whose tasks had nothing to do is left alone, as its thread would park, until it is woken, something of its
 * sockets or its disk is due, or a time comes that one of its tasks waits for; and it looks again now and then. */

static bool is_parked(const wr_slot *slot)
{
    return atomic_load(&slot->parker.state) == WR_PARKER_PARKED;
}

void sim_worker_wake(worker_node *n)
{
    n->looks_ns = 0;
}

static wr_worker *running(worker_node *n)
{
    wr_worker *worker = n->w->clock.now_ns < n->starts_ns ? NULL : wr_agent_worker(n->agent);
    check(worker == NULL || wr_worker_slots(worker) <= RESTS);
    return worker;
}

/* It looked once more after it said so, and nobody has woken it. */
static bool rests(const worker_node *n, const wr_slot *slot, uint32_t s)
{
    return n->rest[s].idle > slot->tasklets && is_parked(slot);
}

static void park(worker_node *n, wr_slot *slot, uint32_t s)
{
    n->rest[s].due_ns = sim_host_io_due_ns(&n->host);
    for (uint32_t i = 0; i < slot->tasklets; i++) {
        int      fd[WR_PARK_FDS_MAX];
        uint32_t fds = 0;
        wr_tasklet_waits(slot->tasklet[i], fd, &fds, &n->rest[s].due_ns);
    }
}

/* Those for which something can have changed get up. */
static void look_around(worker_node *n, wr_worker *worker)
{
    int64_t  now = n->w->clock.now_ns;
    bool     stirred = now >= n->host.stirred_ns, all = now >= n->looks_ns;
    wr_slot *slot = wr_worker_slot(worker, 0);
    for (uint32_t s = 0; s < wr_worker_slots(worker); s++) {
        if (!rests(n, &slot[s], s)) continue;
        if (all || now >= n->rest[s].due_ns || (stirred && slot[s].serves)) wr_parker_cancel(&slot[s].parker);
    }
    if (all) n->looks_ns = now + LOOKS_EVERY_NS;
    if (stirred) n->host.stirred_ns = sim_net_host_due_ns(n->w->net, &n->host);
}

/* The slot's next task. */
static bool turn(worker_node *n, wr_worker *worker, uint32_t s)
{
    wr_slot *slot = wr_worker_slot(worker, s);
    sim_world_now = n->user;
    bool done = wr_worker_step(worker, s);
    n->rest[s].idle = done ? 0 : n->rest[s].idle + 1;
    if (n->rest[s].idle > slot->tasklets && !is_parked(slot)) {
        wr_parker_prepare(&slot->parker);
        n->rest[s].idle = 0;
    } else if (n->rest[s].idle == slot->tasklets + 1) {
        park(n, slot, s);
    }
    if (n->user->wrong[0] && !n->host.dead) sim_violate(n->w, "%s", n->user->wrong);
    return done;
}

/* Of the threads that write its snapshots: they have processors of their own. */
static bool scribes_turn(worker_node *n)
{
    bool done = false;
    for (uint32_t i = 0; i < 2 && sim_threads_step(&n->host.threads, SIM_UNDER_WAY); i++) {
        n->w->result->scribe_turns++;
        done = true;
    }
    return done;
}

/* Up to `most` turns of its slots, one at random after the other, until one did something. */
bool sim_worker_turns(worker_node *n, uint32_t most)
{
    wr_worker *worker = running(n);
    bool       done = false;
    uint32_t   up[RESTS], ups = 0;
    if (worker == NULL) return false;
    look_around(n, worker);
    for (uint32_t s = 0; s < wr_worker_slots(worker); s++) {
        if (!rests(n, wr_worker_slot(worker, s), s)) up[ups++] = s;
    }
    for (uint32_t i = 0; i < most && ups > 0 && !done && !n->host.dead; i++)
        done = turn(n, worker, up[below(n->w, ups)]);
    done |= scribes_turn(n);
    if (n->host.dead) sim_worker_kill(n, 9);
    return done;
}

/* Each task of each slot gets a turn. */
bool sim_worker_round(worker_node *n)
{
    wr_worker *worker = running(n);
    bool       done = false;
    if (worker == NULL) return false;
    look_around(n, worker);
    for (uint32_t s = 0; s < wr_worker_slots(worker); s++) {
        wr_slot *slot = wr_worker_slot(worker, s);
        uint32_t turns = 2 * (slot->tasklets + 1);
        for (uint32_t i = 0; i < turns && !n->host.dead && !rests(n, slot, s); i++) done |= turn(n, worker, s);
    }
    done |= scribes_turn(n);
    if (n->host.dead) sim_worker_kill(n, 9);
    return done;
}

/* When one of its slots has something to do, as far as it is known. */
int64_t sim_worker_due_ns(worker_node *n)
{
    wr_worker *worker = running(n);
    int64_t    due = worker != NULL ? sim_threads_due_ns(&n->host.threads, SIM_UNDER_WAY) : INT64_MAX;
    for (uint32_t s = 0; worker != NULL && s < wr_worker_slots(worker); s++) {
        if (rests(n, wr_worker_slot(worker, s), s) && n->rest[s].due_ns < due) due = n->rest[s].due_ns;
    }
    return due;
}

/* ---- TaskManagers ---- */

void sim_tm_start(tm_node *n)
{
    world         *w = n->w;
    wr_errinfo     info = {0};
    const uint64_t errors = sim_disk_stats_of(w->disk)->errors;
    sim_host_init(&n->host, &w->clock, w->net, MACHINE_TM + n->index, seed(w));
    n->incarnation = ++w->incarnations;
    n->ends = 0;
    w->top_leader[n->index] = 0;
    snprintf(n->name, sizeof n->name, "tm%u", n->index + 1);
    snprintf(n->folder, sizeof n->folder, "/%s", n->name);
    snprintf(n->listen, sizeof n->listen, "%s:0", n->name);
    n->up = sim_port_new(w->net, &n->host, NULL, WR_ROLE_TASKMANAGER, sim_watch_tm, n);
    n->down = sim_port_new(w->net, &n->host, NULL, 0, NULL, NULL);
    n->processes = (wr_processes){
        .self = n, .start = process_start, .kill = process_kill, .give = process_give, .ended = process_ended};
    wr_supervisor_config config = {.env = &n->host.env,
                                   .peers = sim_port_table(n->up),
                                   .workers = sim_port_table(n->down),
                                   .processes = &n->processes,
                                   .jobmanager = "jm:6123",
                                   .name = n->name,
                                   .folder = n->folder,
                                   .data_listen = n->listen,
                                   .data_host = "",
                                   .http = "",
                                   .slots = SLOTS,
                                   .pid = n->incarnation};
    wr_err               err = wr_supervisor_new(&n->supervisor, &config, &info);
    n->alive = err == WR_OK;
    n->paused_ns = 0;
    sim_note(w, "%s begins%s%s", n->name, err != WR_OK ? ", and cannot: " : "", info.text);
    if (n->alive && !n->host.dead) return;
    if (err != WR_OK && !n->host.dead && sim_disk_stats_of(w->disk)->errors == errors)
        sim_violate(w, "%s cannot begin: %s", n->name, info.text);
    sim_tm_kill(n);
}

void sim_tm_kill(tm_node *n)
{
    world *w = n->w;
    sim_host_kill(&n->host);
    bool was = n->alive;
    n->alive = false;
    if (was) wr_supervisor_free(n->supervisor);
    sim_port_free(n->up);
    sim_port_free(n->down);
    n->supervisor = NULL;
    n->starts_ns = w->clock.now_ns + (int64_t)below(w, one_in(w, 3) ? 100000000 : 5000000);
}
