/* One run: builds the plan's job, steps its slots one at a time in an order that the seed gives, looks at what is on
 * the channels, and holds what comes out against the reference. */
#include "graph/exec.h"
#include "jobmanager/core_job.h"
#include "taskmanager/slot.h"
#include "taskmanager/worker.h"
#include "tests/sim/sim.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* Steps without any progress, per slot: then the slow ones get their turn as well; then nothing will ever move. A slow
 * one with all of a long job is slow no longer after SLOW_STEPS. */
enum { FAIR_AFTER = 50, IDLE_STEPS_MAX = 1500, STEPS_MAX = 30000000, SLOW_STEPS = 2000000 };

/* One thread, on the stack of sim_run. */
typedef struct run {
    const sim_plan *plan;
    sim_world      *world;
    sim_clock       clock;
    wr_env          env;
    wr_prng         random;
    weir_pipeline  *pipeline;
    const wr_job   *job;
    wr_exec        *exec;
    wr_worker      *worker;
    wr_core_job     core;
    wr_execution   *execution;
    wr_job_action  *action;
    uint32_t       *looked;    /* by channel: elements that were looked at */
    int64_t        *watermark; /* by operator instance, as last seen */
    bool           *idle_said; /* by channel */
    uint32_t        weight[64];
    uint32_t        idle; /* steps since the last one that did something */
    bool            ended, trace;
    sim_result     *result;
} run;

static void violate(run *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void violate(run *r, const char *format, ...)
{
    if (r->result->violated) return;
    r->result->violated = true;
    va_list args;
    va_start(args, format);
    vsnprintf(r->result->why, sizeof r->result->why, format, args);
    va_end(args);
}

static void note(run *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void note(run *r, const char *format, ...)
{
    char    line[512];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    for (int i = 0; i < n; i++)
        r->result->trace = (r->result->trace ^ (unsigned char)line[i]) * UINT64_C(0x100000001b3);
    if (r->trace) puts(line);
}

/* The line of a step: hashed as numbers, since formatting would cost more than the step. */
static void note_step(run *r, uint32_t slot, const wr_tasklet *t)
{
    static const char *const said[] = {"progress", "idle", "blocked", "done"};
    const wr_op             *op = t->enumerator != NULL ? &t->enumerator->op : t->op;
    uint64_t                 in = atomic_load(&op->stats.in), out = atomic_load(&op->stats.out);
    const uint64_t what[] = {r->result->steps, slot, t->subtask->id, t->called, in, out, (uint64_t)r->clock.now_ns};
    for (uint32_t i = 0; i < sizeof what / sizeof what[0]; i++) r->result->trace = sim_mix(r->result->trace, what[i]);
    if (!r->trace) return;
    printf("%llu slot %u task %u %s in %llu out %llu at %lld\n", (unsigned long long)r->result->steps, slot,
           t->subtask->id, said[t->called], (unsigned long long)in, (unsigned long long)out,
           (long long)r->clock.now_ns);
}

/* ---- the job machine, as every shell drives it ---- */

static void act(run *r, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const wr_job_action *a = &r->action[i];
        if (a->kind == WR_JOB_DO_STOP_SOURCES) wr_worker_stop_sources(r->worker);
        if (a->kind == WR_JOB_DO_CANCEL) wr_worker_cancel(r->worker, a->subtask);
        if (a->kind == WR_JOB_DO_TELL) note(r, "job %s", wr_job_state_name(a->state));
    }
}

static void feed(run *r, wr_job_event event)
{
    event.now_ms = r->clock.now_ns / 1000000;
    act(r, wr_core_job_step(&r->core, &event, r->action, wr_core_job_actions_max(r->exec->subtasks)));
}

static void take_reports(run *r)
{
    static const wr_exec_state states[] = {
        [WR_TASK_CREATED] = WR_EXEC_CREATED,   [WR_TASK_INITIALIZING] = WR_EXEC_INITIALIZING,
        [WR_TASK_RUNNING] = WR_EXEC_RUNNING,   [WR_TASK_FINISHED] = WR_EXEC_FINISHED,
        [WR_TASK_CANCELED] = WR_EXEC_CANCELED, [WR_TASK_FAILED] = WR_EXEC_FAILED};
    for (wr_task_event e; wr_worker_event(r->worker, &e);) {
        note(r, "task %u %s%s%s", e.subtask, wr_task_state_name(e.state), e.info.code ? " " : "", e.info.text);
        feed(r, (wr_job_event){.kind = WR_JOB_REPORT,
                               .subtask = e.subtask,
                               .attempt = e.attempt,
                               .reported = states[e.state],
                               .info = e.state == WR_TASK_FAILED ? &e.info : NULL});
    }
}

/* ---- building ---- */

static bool build(run *r)
{
    wr_errinfo info = {0};
    sim_world_now = r->world;
    r->pipeline = wr_job_new("sim", NULL, 0);
    sim_build(r->pipeline);
    wr_job_settings   settings = {.parallelism_default = 2};
    wr_worker_options options = {.env = &r->env, .job = "sim", .seed = r->plan->seed};
    if (wr_job_finish(r->pipeline, &settings, &r->job, &info) != WR_OK ||
        wr_exec_new(r->job, &r->exec, &info) != WR_OK || wr_worker_new(&r->worker, r->exec, &options, &info) != WR_OK) {
        violate(r, "the job cannot be built: %s", info.text);
        return false;
    }
    r->execution = calloc(r->exec->subtasks, sizeof *r->execution);
    r->action = calloc(wr_core_job_actions_max(r->exec->subtasks), sizeof *r->action);
    r->looked = calloc(r->exec->channels + 1, sizeof *r->looked);
    r->idle_said = calloc(r->exec->channels + 1, sizeof *r->idle_said);
    r->watermark = calloc(r->exec->subtasks * SIM_NODES, sizeof *r->watermark);
    if (!r->execution || !r->action || !r->looked || !r->idle_said || !r->watermark) abort();
    for (uint32_t i = 0; i < r->exec->subtasks * SIM_NODES; i++) r->watermark[i] = WEIR_NO_TIME;
    wr_core_job_init(&r->core, r->execution, r->exec->subtasks, 0);
    feed(r, (wr_job_event){.kind = WR_JOB_SUBMIT, .subtasks = r->exec->subtasks});
    return true;
}

static void unbuild(run *r)
{
    wr_worker_free(r->worker);
    wr_exec_free(r->exec);
    wr_job_free(r->pipeline);
    free(r->execution);
    free(r->action);
    free(r->looked);
    free(r->idle_said);
    free(r->watermark);
    for (uint32_t i = 0; i < SIM_NODES; i++) {
        for (uint32_t k = 0; k < SIM_SUBTASKS; k++) sim_items_free(&r->world->log[i][k].items);
    }
}

/* ---- event time ---- */

static uint32_t index_of(const wr_tasklet *t)
{
    return t->subtask->id;
}
static uint32_t state_of(const wr_tasklet *t)
{
    return atomic_load(&t->state);
}

/* The next element of a channel, once: a record is never behind the watermark that went before it, unless a silent
 * split came back; watermarks rise; idle and active take turns. */
static void look_at(run *r, const wr_pipe *p, const wr_batch *b, uint32_t channel)
{
    if (b->kind == WR_RECORDS) {
        if ((b->time != NULL) != (p->watermark != WEIR_NO_TIME) && b->time == NULL)
            violate(r, "channel %u has a watermark, and records without times", channel);
        for (uint32_t i = 0; b->time != NULL && r->plan->idle_after_ns == 0 && i < b->n; i++) {
            if (b->time[i].ns > p->watermark || b->time[i].ns == WEIR_NO_TIME) continue;
            violate(r, "on channel %u a record of %lld is behind the watermark %lld", channel, (long long)b->time[i].ns,
                    (long long)p->watermark);
        }
    }
    if (b->kind == WR_WATERMARK) {
        r->result->watermarks++;
        if (b->at <= p->watermark) violate(r, "on channel %u the watermark does not rise", channel);
        if (b->at == INT64_MAX) violate(r, "on channel %u the end of time is told twice", channel);
        if (!r->plan->timed) violate(r, "there are watermarks in a job without event time");
    }
    if (b->kind == WR_IDLE) {
        r->result->idles++;
        if (r->plan->idle_after_ns == 0) violate(r, "channel %u is idle, and nothing ever is", channel);
        if ((b->at != 0) == r->idle_said[channel]) violate(r, "channel %u says again whether it is idle", channel);
        r->idle_said[channel] = b->at != 0;
    }
}

static void look_at_slot(run *r, wr_slot *slot)
{
    for (uint32_t i = 0; i < slot->tasklets; i++) {
        wr_tasklet *t = slot->tasklet[i];
        for (uint32_t k = 0; k < t->ins; k++) {
            wr_pipe        *p = t->in[k];
            uint32_t        channel = t->subtask->in[k + (t->subtask->ins - t->ins)];
            const wr_batch *b = wr_ring_peek(&p->data);
            uint32_t        popped = (uint32_t)atomic_load(&p->data.popped) + 1;
            if (b == NULL || r->looked[channel] == popped) continue;
            r->looked[channel] = popped;
            look_at(r, p, b, channel);
        }
    }
}

/* After a call of t. */
static void watch(run *r, const wr_tasklet *t)
{
    for (uint32_t i = 0; i < t->ops; i++) {
        const wr_op *op = &t->op[i];
        int64_t     *seen = &r->watermark[index_of(t) * SIM_NODES + i];
        if (op->watermark < *seen) violate(r, "the watermark of %s went back", op->node->uid);
        if (!op->timed && op->watermark != WEIR_NO_TIME) violate(r, "%s has a watermark and no times", op->node->uid);
        if (state_of(t) == WR_TASK_FINISHED && op->timed && op->watermark != INT64_MAX)
            violate(r, "%s has finished before event time came to its end", op->node->uid);
        *seen = op->watermark;
    }
}

/* ---- what must hold ---- */

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(sim_item));
}

/* subset: a canceled job has written a part of it. */
static void check_sink(run *r, const sim_node *n, const sim_items *expected, bool subset)
{
    sim_items got = {0};
    for (uint32_t k = 0; k < n->parallelism; k++) {
        const sim_log *log = &r->world->log[n->source][k];
        for (uint32_t i = 0; i < log->items.n; i++) sim_items_add(&got, log->items.at[i]);
    }
    if (got.n > 0) qsort(got.at, got.n, sizeof *got.at, compare);
    if (expected->n > 0) qsort(expected->at, expected->n, sizeof *expected->at, compare);
    if (!subset && got.n != expected->n) violate(r, "%s has %u records instead of %u", n->uid, got.n, expected->n);
    for (uint32_t i = 0, e = 0; i < got.n; i++, e++) {
        while (subset && e < expected->n && compare(&expected->at[e], &got.at[i]) < 0) e++;
        if (e < expected->n && compare(&expected->at[e], &got.at[i]) == 0) continue;
        const sim_item *x = &got.at[i];
        violate(r, "%s has a wrong record: key %llu seq %llu value %llx ink %llx", n->uid, (unsigned long long)x->key,
                (unsigned long long)x->seq, (unsigned long long)x->value, (unsigned long long)x->ink);
        break;
    }
    sim_items_free(&got);
}

static void check_sinks(run *r, sim_expected *e, bool subset)
{
    for (uint32_t i = 0; i < r->plan->nodes; i++) {
        const sim_node *n = &r->plan->node[i];
        if (n->kind == SIM_SINK) check_sink(r, n, &e->sink[n->source], subset);
    }
}

static void check_stats(run *r, const sim_expected *e)
{
    uint64_t          in[SIM_NODES] = {0}, out[SIM_NODES] = {0}, bad[SIM_NODES] = {0};
    wr_operator_stats s;
    for (uint32_t i = 0; wr_worker_operator_stats(r->worker, i, &s); i++) {
        r->result->batches += s.batches;
        for (uint32_t k = 0; k < r->plan->nodes; k++) {
            if (strcmp(r->plan->node[k].uid, s.node->uid) != 0) continue;
            in[k] += s.in;
            out[k] += s.out;
            bad[k] += s.bad;
        }
    }
    for (uint32_t k = 0; k < r->plan->nodes; k++) {
        const sim_node *n = &r->plan->node[k];
        if (n->kind == SIM_SOURCE) r->result->records += out[k];
        if (r->plan->ending == SIM_CANCEL || r->plan->ending == SIM_FAIL) continue;
        if (in[k] != e->in[k] || (n->kind != SIM_SINK && out[k] != e->out[k]) || bad[k] != e->bad[k]) {
            violate(r, "%s counts %llu in, %llu out, %llu bad instead of %llu, %llu, %llu", n->uid,
                    (unsigned long long)in[k], (unsigned long long)out[k], (unsigned long long)bad[k],
                    (unsigned long long)e->in[k], (unsigned long long)e->out[k], (unsigned long long)e->bad[k]);
        }
    }
}

static void check_closed(run *r)
{
    sim_world *w = r->world;
    if (w->resources != 0) violate(r, "%d resources are still open", (int)w->resources);
    if (w->readers != 0) violate(r, "%d readers are still open", (int)w->readers);
    for (uint32_t i = 0; i < r->plan->nodes; i++) {
        const sim_node *n = &r->plan->node[i];
        for (uint32_t k = 0; n->kind == SIM_SINK && k < n->parallelism; k++) {
            const sim_log *log = &w->log[n->source][k];
            if (log->opened != log->closed || log->opened > 1)
                violate(r, "%s was opened %u and closed %u times", n->uid, log->opened, log->closed);
            if (log->unflushed && r->plan->ending <= SIM_STOP) violate(r, "%s was not flushed at the end", n->uid);
        }
    }
}

static void check_end(run *r)
{
    static const wr_job_state states[] = {WR_JOB_FINISHED, WR_JOB_FINISHED, WR_JOB_CANCELED, WR_JOB_FAILED};
    const sim_plan           *p = r->plan;
    bool                      late = r->core.state == WR_JOB_FINISHED; /* it was over before it could be ended */
    if (r->core.state != states[p->ending] && !late)
        violate(r, "the job is %s: %s", wr_job_state_name(r->core.state), r->core.cause.text);
    if (r->core.state == WR_JOB_FAILED && strstr(r->core.cause.text, "as planned; operator") == NULL)
        violate(r, "the job failed: %s", r->core.cause.text);
    bool     broken = p->ending >= SIM_CANCEL && !late;
    uint64_t all[SIM_SOURCES][SIM_SPLITS] = {0};
    for (uint32_t i = 0; i < p->sources; i++) {
        for (uint32_t s = 0; s < p->node[i].splits; s++) {
            if (p->ending == SIM_TO_THE_END &&
                (r->world->emitted[i][s] != p->node[i].records[s] || !r->world->read[i][s])) {
                violate(r, "source %u gave %llu of the %llu records of split %u", i,
                        (unsigned long long)r->world->emitted[i][s], (unsigned long long)p->node[i].records[s], s);
            }
            all[i][s] = broken ? p->node[i].records[s] : r->world->emitted[i][s];
        }
    }
    sim_expected e;
    sim_reference(p, (const uint64_t(*)[SIM_SPLITS])all, UINT32_MAX, &e);
    check_sinks(r, &e, broken);
    check_stats(r, &e);
    if (!broken && r->world->dead != e.dead)
        violate(r, "%llu dead letters instead of %llu", (unsigned long long)r->world->dead, (unsigned long long)e.dead);
    sim_expected_free(&e);
    check_closed(r);
}

/* ---- stepping ---- */

static bool all_done(const wr_slot *slot)
{
    for (uint32_t i = 0; i < slot->tasklets; i++) {
        if (state_of(slot->tasklet[i]) < WR_TASK_FINISHED) return false;
    }
    return true;
}

static uint32_t pick_slot(run *r)
{
    uint32_t slots = wr_worker_slots(r->worker);
    for (;;) { /* some slots are slow: that is where back-pressure comes from */
        uint32_t s = (uint32_t)wr_prng_below(&r->random, slots);
        if (all_done(wr_worker_slot(r->worker, s)) && !wr_worker_done(r->worker)) continue;
        bool fair = r->idle > FAIR_AFTER * slots || r->result->steps > SLOW_STEPS;
        if (fair || wr_prng_below(&r->random, 64) < r->weight[s % 64]) return s;
    }
}

static bool step(run *r)
{
    uint32_t s = pick_slot(r);
    look_at_slot(r, wr_worker_slot(r->worker, s));
    bool        progress = wr_worker_step(r->worker, s);
    wr_tasklet *t = wr_worker_slot(r->worker, s)->last;
    r->result->steps++;
    if (t == NULL) return false;
    r->result->blocked += t->called == WR_CALLED_BLOCKED;
    note_step(r, s, t);
    watch(r, t);
    return progress;
}

static void end_early(run *r)
{
    if (r->ended || r->result->steps < r->plan->ending_after) return;
    r->ended = true;
    if (r->plan->ending == SIM_STOP) feed(r, (wr_job_event){.kind = WR_JOB_STOP});
    if (r->plan->ending == SIM_CANCEL) feed(r, (wr_job_event){.kind = WR_JOB_CANCEL});
}

static void describe_tasklet(const run *r, const wr_tasklet *t)
{
    printf("  task %u %.40s/%u %s called %u ended %d live %u; in:", index_of(t), t->vertex->name, t->subtask->index,
           wr_task_state_name(state_of(t)), t->called, t->ended, t->live);
    for (uint32_t i = 0; i < t->ins; i++) {
        wr_pipe *p = t->in[i];
        printf(" %u<%u%s%s", r->exec->channel[t->subtask->in[i]].from, wr_ring_count(&p->data), p->blocked ? "b" : "",
               p->ended ? "e" : "");
    }
    printf("; out:");
    for (uint32_t i = 0; i < t->exchanges; i++) {
        wr_exchange *x = &t->exchange[i];
        printf(" [pool %u of %u open %u]", x->pool.out, x->pool.cap, x->open);
        for (uint32_t c = 0; c < x->channels; c++)
            printf(" %u%s", WR_RING_MAX - wr_ring_free(&x->channel[c]->data), x->channel[c]->pending ? "p" : "");
    }
    puts("");
}

static void describe_stuck(run *r)
{
    for (uint32_t s = 0; s < wr_worker_slots(r->worker); s++) {
        const wr_slot *slot = wr_worker_slot(r->worker, s);
        for (uint32_t i = 0; i < slot->tasklets; i++) {
            if (state_of(slot->tasklet[i]) < WR_TASK_FINISHED) describe_tasklet(r, slot->tasklet[i]);
        }
    }
    violate(r, "nothing moves any more");
}

static void drive(run *r)
{
    while (!wr_job_state_final(r->core.state) && !r->result->violated) {
        bool progress = step(r);
        take_reports(r);
        end_early(r);
        if (r->world->wrong[0]) violate(r, "%s", r->world->wrong);
        r->idle = progress ? 0 : r->idle + 1;
        if (r->idle > 200 || wr_prng_one_in(&r->random, 500)) r->clock.now_ns += 1000000;
        if (r->idle > IDLE_STEPS_MAX * wr_worker_slots(r->worker) || r->result->steps > STEPS_MAX) describe_stuck(r);
    }
}

void sim_run(const sim_plan *plan, bool trace, sim_result *result)
{
    static sim_world world; /* too large for a stack */
    memset(result, 0, sizeof *result);
    memset(&world, 0, sizeof world);
    memset(world.owner, 0xff, sizeof world.owner);
    result->trace = UINT64_C(0xcbf29ce484222325);
    world.plan = plan;
    world.user = wr_prng_of(plan->seed + 1);
    world.failing = 1 + plan->ending_after % 800;
    run r = {.plan = plan, .world = &world, .random = wr_prng_of(plan->seed + 2), .result = result, .trace = trace};
    r.clock = (sim_clock){.now_ns = 1000000000, .random = wr_prng_of(plan->seed + 3)};
    r.env = sim_env(&r.clock);
    for (uint32_t i = 0; i < 64; i++) r.weight[i] = wr_prng_one_in(&r.random, 4) ? 5 : 64;
    if (build(&r)) {
        result->channels = r.exec->channels;
        drive(&r);
        if (!result->violated) check_end(&r);
        if (!result->violated && world.wrong[0]) violate(&r, "%s", world.wrong);
    }
    unbuild(&r);
    if (!result->violated && r.clock.parkers != 0)
        violate(&r, "%llu parkers were not freed", (unsigned long long)r.clock.parkers);
}
