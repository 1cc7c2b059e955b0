/* A cluster under seeded faults, from the submission of a job to its end. */
#include "tests/sim/cluster.h"
#include "base/check.h"
#include "taskmanager/slot.h"
#include "taskmanager/tasklet.h"
#include "tests/sim/cluster_inner.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool sim_shared_fate;

enum { STEPS_MAX = 500000, CONTROL_EVERY = 6, IDLE_STEPS = 8 };

void sim_violate(world *w, const char *format, ...)
{
    if (w->result->violated) return;
    w->result->violated = true;
    va_list args;
    va_start(args, format);
    vsnprintf(w->result->why, sizeof w->result->why, format, args);
    va_end(args);
    if (w->trace) printf("%lld VIOLATION %s\n", (long long)w->clock.now_ns, w->result->why);
}

void sim_note(world *w, const char *format, ...)
{
    char    line[512];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    for (int i = 0; i < n && i < (int)sizeof line - 1; i++)
        w->result->trace = (w->result->trace ^ (unsigned char)line[i]) * UINT64_C(0x100000001b3);
    if (w->trace) printf("%lld %s\n", (long long)w->clock.now_ns, line);
}

/* ---- what readers see ---- */

/* A job that has finished leaves nothing unfinished, of its own and of those that were stopped before it. */
static void no_hidden(void *arg, const char *name)
{
    world *w = arg;
    if (name[0] == '.') sim_violate(w, "at the end a sink's folder still has %s", name);
}

static void check_output(world *w, bool all)
{
    uint64_t     emitted[SIM_SOURCES][SIM_SPLITS] = {0};
    sim_expected expected;
    for (uint32_t i = 0; i < w->plan->sources; i++)
        memcpy(emitted[w->plan->node[i].source], w->plan->node[i].records, sizeof w->plan->node[i].records);
    if (all && w->drained) memcpy(emitted, w->read, sizeof emitted);
    sim_reference(w->plan, (const uint64_t(*)[SIM_SPLITS])emitted, UINT32_MAX, &expected);
    for (uint32_t i = 0; i < w->plan->nodes && !w->result->violated; i++) {
        const sim_node *n = &w->plan->node[i];
        char            folder[64], why[256] = "", text[256];
        sim_items       got = {0};
        if (n->kind != SIM_SINK) continue;
        snprintf(folder, sizeof folder, "/out/%s", n->uid);
        if (n->vault)
            sim_vault_read(&w->vault, n->source, &got);
        else if (!sim_output_read(w->disk, folder, &got, why, sizeof why))
            sim_violate(w, "%s", why);
        if (all && !n->vault && w->result->forks == 0) sim_disk_names(w->disk, folder, no_hidden, w);
        const char *wrong = sim_output_compare(&got, &expected.sink[n->source], !all, n->ordered, text);
        if (wrong != NULL) sim_violate(w, "sink %s, %s: %s", n->uid, all ? "at the end" : "after a crash", wrong);
        sim_items_free(&got);
    }
    sim_expected_free(&expected);
}

/* ---- faults ---- */

static worker_node *some_worker(world *w)
{
    uint32_t first = (uint32_t)below(w, WORKERS);
    for (uint32_t i = 0; i < WORKERS; i++) {
        worker_node *n = &w->worker[(first + i) % WORKERS];
        if (n->used) return n;
    }
    return NULL;
}

static jm_node *some_jm(world *w)
{
    return w->jm[1].alive ? &w->jm[1] : &w->jm[0];
}

static void kill_machine(world *w, tm_node *tm)
{
    for (uint32_t i = 0; i < WORKERS; i++) {
        worker_node *n = &w->worker[i];
        if (n->used && n->tm == tm->index) sim_worker_kill(n, 9);
    }
    if (tm->alive) sim_tm_kill(tm);
}

/* All machines lose their power at once; so what is not on the disk is gone. */
static void power_fails(world *w)
{
    w->result->powers++;
    sim_disk_kill(w->disk);
    for (uint32_t i = 0; i < TMS; i++) kill_machine(w, &w->tm[i]);
    for (uint32_t i = 0; i < WORKERS; i++) {
        if (w->worker[i].used) sim_worker_kill(&w->worker[i], 9);
    }
    for (uint32_t i = 0; i < 2; i++) {
        if (w->jm[i].alive) sim_jm_kill(&w->jm[i]);
    }
    sim_disk_restart(w->disk, true);
    if (sim_disk_unmounted(w->disk)) sim_disk_mount(w->disk);
    w->broken = false;
}

static int64_t some_time(world *w)
{
    return 100000 + (int64_t)below(w, one_in(w, 2) ? 5000000 : 3 * (uint64_t)LEASE_MS * 1000000);
}

static void stop_something(world *w)
{
    int64_t  until = w->clock.now_ns + some_time(w);
    uint32_t what = (uint32_t)below(w, 4), i = (uint32_t)below(w, TMS);
    w->result->pauses++;
    sim_note(w, "stopped until %lld: %s", (long long)until,
             what == 0   ? "a worker"
             : what == 1 ? "a supervisor"
             : what == 2 ? "a machine"
                         : "the JobManager");
    if (what == 0) {
        worker_node *n = some_worker(w);
        if (n != NULL) n->paused_ns = until;
    } else if (what == 3) {
        jm_node *jm = some_jm(w), *other = jm == w->jm ? &w->jm[1] : &w->jm[0];
        jm->paused_ns = until;
        if (!other->alive) other->starts_ns = w->clock.now_ns + (int64_t)below(w, 5000000); /* to take its place */
    } else {
        w->tm[i].paused_ns = until;
        for (uint32_t k = 0; k < WORKERS && what == 2; k++) {
            if (w->worker[k].used && w->worker[k].tm == i) w->worker[k].paused_ns = until;
        }
    }
}

static void part_something(world *w)
{
    uint32_t a = MACHINE_TM + (uint32_t)below(w, TMS);
    uint32_t b = one_in(w, 2) ? MACHINE_JM : MACHINE_TM + (uint32_t)below(w, TMS);
    uint32_t ways = 1 + (uint32_t)below(w, 3);
    w->result->partitions++;
    w->calm_ns = w->clock.now_ns + some_time(w);
    sim_note(w, "machines %u and %u are parted, ways %u", a, b, ways);
    if (ways & 1) sim_net_part(w->net, a, b, true);
    if (ways & 2) sim_net_part(w->net, b, a, true);
}

static void disk_goes_bad(world *w)
{
    sim_faults *f = sim_disk_faults(w->disk);
    switch (below(w, 6)) {
    case 0: f->write_error = 1 + (uint32_t)below(w, 20); break;
    case 1: f->sync_error = 1 + (uint32_t)below(w, 5); break;
    case 2: f->full = true; break;
    case 3: f->slow_ns = 1 + (int64_t)below(w, 3000000); break;
    case 4: f->look_error = 1 + (uint32_t)below(w, 12); break;
    default: f->read_error = 1 + (uint32_t)below(w, 20); break;
    }
    w->broken = true;
    w->calm_ns = w->clock.now_ns + some_time(w);
    sim_note(w, "the disk misbehaves");
}

/* The folder of the snapshots is empty, or not there, while the job is to go on in it. */
static void unmount(world *w)
{
    char               path[64] = "/snapshots";
    const client_node *c = &w->client;
    if (c->job == 0 || c->ending != ENDS_ITSELF || c->over_job != 0 || w->completed == 0) return;
    if (sim_disk_unmounted(w->disk)) return;
    if (one_in(w, 2)) snprintf(path, sizeof path, "/snapshots/sim%u", c->folder);
    if (!sim_disk_is_folder(w->disk, path)) return;
    sim_note(w, "%s is not mounted", path);
    sim_disk_unmount(w->disk, path, one_in(w, 2));
    w->result->unmounts++;
    w->broken = true;
    w->calm_ns = w->clock.now_ns + 20000000 + some_time(w);
    if (one_in(w, 3)) return; /* lazily: what is open stays open */
    for (uint32_t i = 0; i < 2; i++) {
        if (w->jm[i].alive) sim_jm_kill(&w->jm[i]);
    }
    w->jm[0].starts_ns = w->clock.now_ns + (int64_t)below(w, 3000000); /* and the next one comes soon */
    for (uint32_t i = 0; i < TMS && !one_in(w, 4); i++) kill_machine(w, &w->tm[i]);
}

/* In the middle of a storage call that comes soon. */
static void doom_something(world *w)
{
    uint64_t     calls = 1 + below(w, one_in(w, 2) ? 10 : 100);
    worker_node *n = some_worker(w);
    tm_node     *tm = &w->tm[below(w, TMS)];
    uint64_t     what = below(w, 3);
    sim_note(w, "dies in %" PRIu64 " storage calls: %s", calls, what == 0 ? "a worker" : what == 1 ? tm->name : "jm");
    if (what == 0 && n != NULL) n->host.die_in = calls;
    if (what == 1 && tm->alive) tm->host.die_in = calls;
    if (what == 2 && some_jm(w)->alive) some_jm(w)->host.die_in = calls;
    w->result->crashes++;
}

static void make_fault(world *w)
{
    worker_node *n = some_worker(w);
    tm_node     *tm = &w->tm[below(w, TMS)];
    w->faults--;
    w->fault_ns = w->clock.now_ns + (int64_t)below(w, one_in(w, 3) ? 100000000 : 15000000);
    switch (below(w, 14)) {
    case 0:
    case 1:
        if (n != NULL) sim_worker_kill(n, 9);
        w->result->crashes += n != NULL;
        break;
    case 2:
        if (tm->alive) {
            sim_note(w, "%s is killed", tm->name);
            sim_tm_kill(tm);
            w->result->crashes++;
        }
        break;
    case 3:
        sim_note(w, "the machine of %s is off", tm->name);
        sim_net_silence(w->net, MACHINE_TM + tm->index, one_in(w, 2));
        kill_machine(w, tm);
        sim_net_silence(w->net, MACHINE_TM + tm->index, false);
        w->result->crashes++;
        break;
    case 4:
    case 5:
        if (some_jm(w)->alive) {
            sim_note(w, "the JobManager is killed");
            sim_jm_kill(some_jm(w));
            w->result->crashes++;
        }
        break;
    case 6: stop_something(w); break;
    case 7: part_something(w); break;
    case 8:
        sim_note(w, "connections break");
        sim_net_break(w->net, one_in(w, 2) ? MACHINE_JM : MACHINE_TM + tm->index, SIM_MACHINES,
                      1 + (uint32_t)below(w, 3));
        w->result->breaks++;
        break;
    case 9: disk_goes_bad(w); break;
    case 11:
    case 12: unmount(w); break;
    case 10:
        sim_note(w, "power fails everywhere");
        power_fails(w);
        w->result->crashes++;
        break;
    default: doom_something(w); break;
    }
    /* What a drain gives early is compared when it is known how far it came. */
    if (one_in(w, 4) && !w->result->violated && w->client.ending != ENDS_DRAINED) check_output(w, false);
}

static void calm(world *w)
{
    w->calm_ns = 0;
    for (uint32_t a = 0; a < SIM_MACHINES; a++) {
        for (uint32_t b = 0; b < SIM_MACHINES; b++) sim_net_part(w->net, a, b, false);
    }
    for (uint32_t i = 0; i < WORKERS; i++) sim_worker_wake(&w->worker[i]);
    *sim_disk_faults(w->disk) = (sim_faults){0};
    if (sim_disk_unmounted(w->disk)) sim_disk_mount(w->disk);
    if (w->broken) sim_note(w, "the disk is well");
    w->broken = false;
}

/* Its process crashes whenever it has come to something. */
static void crash_the_other(world *w)
{
    for (uint32_t i = 0; i < WORKERS; i++) {
        worker_node *n = &w->worker[i];
        if (!n->used || !n->other || wr_agent_worker(n->agent) == NULL || !one_in(w, 60)) continue;
        sim_worker_kill(n, 11);
        w->result->others++;
        worker_node *ours = some_worker(w);
        if (sim_shared_fate && ours != NULL && w->attempts < 2) sim_worker_kill(ours, 11);
    }
}

/* ---- steps ---- */

static void step_tm(tm_node *n)
{
    world *w = n->w;
    if (n->alive && w->clock.now_ns >= n->paused_ns) {
        wr_supervisor_step(n->supervisor);
        if (n->host.dead) sim_tm_kill(n);
    } else if (!n->alive && w->clock.now_ns >= n->starts_ns) {
        sim_tm_start(n);
    }
}

static void step_actor(world *w, uint32_t what)
{
    if (what == 0) sim_client_step(w);
    if (what == 1 || what == 2) sim_jm_step(&w->jm[what - 1]);
    if (what > 2 && what < 3 + TMS) step_tm(&w->tm[what - 3]);
    if (what < 3 + TMS) return;
    worker_node *n = &w->worker[what - 3 - TMS];
    if (n->used && w->clock.now_ns >= n->paused_ns) sim_worker_step(n);
}

static void step_control(world *w)
{
    uint32_t     what = (uint32_t)below(w, 4 + 2 * TMS);
    worker_node *n = what < 3 + TMS ? NULL : some_worker(w);
    if (what < 3 + TMS)
        step_actor(w, what);
    else if (n != NULL)
        step_actor(w, 3 + TMS + (uint32_t)(n - w->worker));
}

static bool step_slots(world *w)
{
    worker_node *n = some_worker(w);
    if (n == NULL || w->clock.now_ns < n->paused_ns) return false;
    bool done = sim_worker_turns(n, 4);
    w->result->trace = sim_mix(w->result->trace, (uint64_t)w->clock.now_ns ^ (uint64_t)done << 60);
    return done;
}

/* Everybody gets a turn. True: somebody did something. */
static bool sweep(world *w)
{
    uint64_t arrived = sim_net_arrived(w->net);
    bool     done = false;
    for (uint32_t i = 0; i < 3 + TMS + WORKERS; i++) step_actor(w, i);
    for (uint32_t i = 0; i < 2; i++) done |= sim_jm_turns(&w->jm[i]);
    for (uint32_t i = 0; i < WORKERS; i++) {
        worker_node *n = &w->worker[i];
        if (n->used && w->clock.now_ns >= n->paused_ns) done |= sim_worker_round(n);
    }
    return done || sim_net_arrived(w->net) != arrived;
}

static void sooner(int64_t *due, int64_t at, int64_t now)
{
    if (at > now && at < *due) *due = at;
}

/* Nothing can be done now: until something is due. */
static void wait_for_something(world *w)
{
    int64_t now = w->clock.now_ns, due = now + 20000000;
    sooner(&due, sim_net_due_ns(w->net), now);
    sooner(&due, w->calm_ns, now);
    if (w->faults > 0) sooner(&due, w->fault_ns, now);
    for (uint32_t i = 0; i < 2; i++) {
        const jm_node *n = &w->jm[i];
        sooner(&due, n->alive ? n->paused_ns : n->starts_ns, now);
        if (n->alive) sooner(&due, sim_jm_due_ns(n), now);
    }
    for (uint32_t i = 0; i < TMS; i++) {
        const tm_node *n = &w->tm[i];
        sooner(&due, n->alive ? n->paused_ns : n->starts_ns, now);
        int64_t wait = n->alive && n->paused_ns <= now ? wr_supervisor_wait_ns(n->supervisor) : -1;
        if (wait >= 0) sooner(&due, now + wait + 1, now);
    }
    for (uint32_t i = 0; i < WORKERS; i++) {
        worker_node *n = &w->worker[i];
        if (!n->used) continue;
        sooner(&due, n->paused_ns, now);
        sooner(&due, n->starts_ns, now);
        sooner(&due, sim_worker_due_ns(n), now);
        int64_t wait = n->paused_ns <= now ? wr_agent_wait_ns(n->agent) : -1;
        if (wait >= 0) sooner(&due, now + wait + 1, now);
    }
    w->clock.now_ns = due;
}

static void step(world *w)
{
    bool     done = false;
    uint64_t arrived = sim_net_arrived(w->net);
    for (uint32_t i = 0; i < CONTROL_EVERY; i++) done |= step_slots(w);
    step_control(w);
    for (uint32_t i = 0; i < 2; i++) done |= sim_jm_turns(&w->jm[i]);
    done |= sim_net_arrived(w->net) != arrived;
    w->idle = done ? 0 : w->idle + 1;
    w->result->steps++;
    if (w->idle > IDLE_STEPS) {
        w->idle = IDLE_STEPS / 2;
        if (!sweep(w)) wait_for_something(w);
    }
    if (w->others) crash_the_other(w);
    if (w->result->restores == 0 && w->completed > 0 && !w->alone && one_in(w, w->plan->effort > 0 ? 50 : 200)) {
        worker_node *n = some_worker(w); /* it was over before anything could happen to it */
        if (n != NULL) sim_worker_kill(n, 9);
        w->result->crashes += n != NULL;
    }
    if (w->clock.now_ns >= w->inject_ns && w->client.job != 0) sim_inject(w);
    if (w->calm_ns > 0 && w->clock.now_ns >= w->calm_ns) calm(w);
    if (w->faults > 0 && w->clock.now_ns >= w->fault_ns && w->client.job != 0) make_fault(w);
}

/* Where everything stands. */
static void describe(world *w)
{
    static const char *const whats[] = {"jobs", "taskmanagers"};
    for (uint32_t i = 0; i < 4 && w->trace; i++) {
        size_t n = 0;
        char  *text = sim_jm_between(&w->jm[i / 2]) ? wr_jobmanager_read(w->jm[i / 2].jm, whats[i % 2], &n) : NULL;
        if (text != NULL) printf("  %s: %.*s\n", whats[i % 2], (int)n, text);
        free(text);
    }
    for (uint32_t i = 0; i < WORKERS && w->trace; i++) {
        worker_node *n = &w->worker[i];
        wr_worker   *worker = n->used ? wr_agent_worker(n->agent) : NULL;
        if (n->used) printf("  worker %" PRIu64 " of attempt %u on tm%u\n", n->process, n->attempt, n->tm + 1);
        for (uint32_t s = 0; worker != NULL && s < wr_worker_slots(worker); s++) {
            const wr_slot *slot = wr_worker_slot(worker, s);
            for (uint32_t k = 0; k < slot->tasklets; k++) {
                const wr_tasklet *t = slot->tasklet[k];
                printf("    slot %u task %u %.40s/%u %s%s%s; in:", s, t->subtask->id, t->vertex->name,
                       t->subtask->index, wr_task_state_name((wr_task_state)atomic_load(&t->state)),
                       t->ended ? " ended" : "", t->barriers.aligning ? " aligns" : "");
                for (uint32_t c = 0; c < t->ins; c++)
                    printf(" %u<%u%s%s", t->subtask->in[c], wr_ring_count(&t->in[c]->data),
                           t->in[c]->blocked ? "b" : "", t->in[c]->ended ? "e" : "");
                puts("");
            }
        }
    }
}

/* ---- from the beginning to the end ---- */

static void begin(world *w)
{
    static const char *const folders[] = {"/out", "/save", "/jm", "/snapshots", "/tm1", "/tm2", "/tm3"};
    wr_env                   env = sim_env(&w->clock);
    for (uint32_t i = 0; i < sizeof folders / sizeof *folders; i++) env.mkdir(env.self, folders[i]);
    int root = env.open(env.self, "/", WR_OPEN_READ | WR_OPEN_FOLDER);
    env.fsync(env.self, root);
    env.close(env.self, root);
    for (uint32_t i = 0; i < 2; i++) w->jm[i].w = w;
    for (uint32_t i = 0; i < TMS; i++) w->tm[i] = (tm_node){.w = w, .index = i};
    sim_jm_start(&w->jm[0]);
    for (uint32_t i = 0; i < TMS; i++) w->tm[i].starts_ns = w->clock.now_ns + (int64_t)below(w, 3000000);
    sim_client_start(w);
}

static void end_all(world *w)
{
    for (uint32_t i = 0; i < TMS; i++) kill_machine(w, &w->tm[i]);
    for (uint32_t i = 0; i < WORKERS; i++) {
        if (w->worker[i].used) sim_worker_kill(&w->worker[i], 9);
    }
    for (uint32_t i = 0; i < 2; i++) {
        if (w->jm[i].alive) sim_jm_kill(&w->jm[i]);
    }
    sim_client_free(w);
}

/* Another job, with one slot. Now and then it is all that happens: ours must not notice. */
static void plan_the_other(world *w)
{
    sim_plan *p = &w->variant[OTHER];
    w->others = one_in(w, 4);
    w->alone = w->others && one_in(w, 2);
    if (!w->others) return;
    if (w->alone) w->faults = 0;
    sim_plan_make(p, w->plan->seed + 77, 0, true);
    p->ending = SIM_TO_THE_END;
    for (uint32_t i = 0; i < p->nodes; i++) {
        p->node[i].parallelism = 1;
        p->node[i].vault = true; /* its results are its own */
    }
}

void sim_cluster_run(const sim_plan *plan, enum sim_threading threads, bool trace, sim_cluster_result *result)
{
    world *w = calloc(1, sizeof *w);
    check(w != NULL);
    memset(result, 0, sizeof *result);
    result->trace = UINT64_C(0xcbf29ce484222325);
    *w = (world){.plan = plan, .result = result, .trace = trace};
    w->random = wr_prng_of(plan->seed * 37 + plan->effort);
    w->clock = (sim_clock){.now_ns = 1000000000, .tick_ns = 800, .random = wr_prng_of(plan->seed + 5)};
    w->disk = sim_disk_new(plan->seed + 6, &w->clock);
    w->clock.disk = w->disk;
    w->net = sim_net_new(plan->seed + 7, &w->clock);
    w->variant[0] = *plan;
    for (uint32_t i = 1; i < VARIANTS; i++) sim_plan_rescale(&w->variant[i], plan, plan->seed * VARIANTS + i);
    w->faults = 1 + (uint32_t)below(w, 5) + plan->effort;
    w->fault_ns = w->clock.now_ns + (int64_t)below(w, 30000000);
    plan_the_other(w);
    w->apart = wr_prng_of(plan->seed * 41 + plan->effort + 8);
    result->aside = !wr_prng_one_in(&w->apart, 4);
    result->scribes = !wr_prng_one_in(&w->apart, 2);
    if (threads != SIM_AS_SEED) result->aside = result->scribes = threads == SIM_THREADS;
    begin(w);
    while (!w->finished && !result->violated) {
        step(w);
        if (result->steps > STEPS_MAX) sim_violate(w, "it does not come to an end");
    }
    for (uint32_t i = 0; i < WORKERS; i++) sim_note_read(&w->worker[i]);
    result->drains += w->drained;
    result->alone = w->alone;
    if (w->alone && w->attempts > 1) sim_violate(w, "only the other job crashed, and ours began %u times", w->attempts);
    if (!result->violated) check_output(w, true);
    if (result->violated) describe(w);
    result->messages = sim_net_stats_of(w->net)->messages;
    result->bytes = sim_net_stats_of(w->net)->bytes;
    end_all(w);
    sim_net_free(w->net);
    sim_disk_free(w->disk);
    result->late = w->vault.late;
    sim_vault_free(&w->vault);
    sim_vault_free(&w->other_vault);
    free(w);
}
