/* Runs what worker_build.c made: threads, commands, reports, measures. */
#include "taskmanager/worker.h"
#include "base/check.h"
#include "base/failpoint.h"
#include "net/plane.h"
#include "taskmanager/worker_inner.h"
#include <stdlib.h>

const char *wr_task_state_name(wr_task_state state)
{
    static const char *const names[] = {"?",     "CREATED",  "INITIALIZING", "LOADED", "RUNNING",
                                        "ENDED", "FINISHED", "CANCELED",     "FAILED"};
    return state <= WR_TASK_FAILED ? names[state] : "?";
}

wr_err wr_worker_new(wr_worker **take, const wr_exec *exec, const wr_worker_options *options, wr_errinfo *info)
{
    wr_worker *w = calloc(1, sizeof *w);
    *take = NULL;
    if (w == NULL) return wr_fail(info, WR_MEMORY, "no memory for a worker");
    w->exec = exec;
    w->options = *options;
    atomic_init(&w->lease_until_ns, INT64_MAX);
    if (options->here != NULL) w->here = calloc(exec->slots + 1, sizeof *w->here);
    bool good = options->here == NULL || w->here != NULL;
    if (good && w->here != NULL) memcpy(w->here, options->here, exec->slots * sizeof *w->here);
    wr_err err = good ? wr_worker_build(w, info) : wr_fail(info, WR_MEMORY, "no memory for a worker");
    if (err != WR_OK) {
        wr_worker_free(w);
        return err;
    }
    *take = w;
    return WR_OK;
}

/* ---- run ---- */

static void command(wr_worker *w, wr_tasklet *t, uint32_t bit)
{
    atomic_fetch_or_explicit(&t->command, bit, memory_order_release);
    wr_parker_wake(w->options.env, t->home->parker);
}

static void command_all(wr_worker *w, uint32_t bit)
{
    for (uint32_t i = 0; i < w->tasklets; i++) command(w, &w->tasklet[i], bit);
}

/* Where there is no memory or thread for one, the slots do without. */
void wr_worker_start_scribes(wr_worker *w)
{
    const wr_env *env = w->options.env;
    if (w->options.scribes == 0 || w->options.snapshots == NULL) return;
    w->scribe = calloc(w->options.scribes, sizeof *w->scribe);
    for (uint32_t i = 0, n = 0; w->scribe != NULL && i < w->exec->slots; i++) {
        if (w->slot[i].tasklets == 0) continue;
        if (w->scribes < w->options.scribes) {
            w->scribe[w->scribes] = wr_scribe_new(env, w->scribes);
            if (w->scribe[w->scribes] != NULL) w->scribes++;
        }
        if (w->scribes != 0) w->slot[i].home.scribe = w->scribe[n++ % w->scribes];
    }
}

wr_err wr_worker_start(wr_worker *w, wr_errinfo *info)
{
    const wr_env *env = w->options.env;
    w->started = true;
    w->ahead = wr_ahead_new(env); /* of help to threads only, and where there is no memory for it they do without */
    for (uint32_t i = 0; i < w->slots; i++) w->slot[i].budget.ahead = w->ahead;
    wr_worker_start_scribes(w);
    for (uint32_t i = 0; i < w->slots; i++) {
        wr_slot *s = &w->slot[i];
        if (s->tasklets == 0 && !s->serves) continue;
        int got = env->thread_start(env->self, &s->thread, wr_slot_run, s, s->name, s->cpu);
        if (got == 0) continue;
        s->thread = NULL;
        command_all(w, WR_COMMAND_CANCEL);
        for (uint32_t k = i; k < w->slots; k++) { /* nobody will run these */
            for (uint32_t n = 0; n < w->slot[k].tasklets; n++)
                atomic_store(&w->slot[k].tasklet[n]->state, WR_TASK_CANCELED);
        }
        return wr_fail_errno(info, -got, "cannot start the thread of slot %u; raise the limit of threads or lower -p",
                             i);
    }
    return WR_OK;
}

bool wr_worker_event(wr_worker *w, wr_task_event *event)
{
    for (uint32_t i = 0; i < w->tasklets; i++) {
        uint32_t    at = (w->event_next + i) % w->tasklets;
        wr_tasklet *t = &w->tasklet[at];
        uint32_t    state = atomic_load_explicit(&t->state, memory_order_acquire);
        if (state == t->reported || (state == WR_TASK_LOADED && !wr_worker_connected(w))) continue;
        t->reported = state;
        w->event_next = at + 1;
        memset(event, 0, sizeof *event);
        event->subtask = t->subtask->id;
        event->attempt = t->attempt;
        event->state = (wr_task_state)state;
        if (state == WR_TASK_FAILED) event->info = t->failure;
        return true;
    }
    return false;
}

void wr_worker_stop_sources(wr_worker *w)
{
    command_all(w, WR_COMMAND_STOP);
}

void wr_worker_cancel(wr_worker *w, uint32_t subtask)
{
    if (w->tasklet_of[subtask] != NULL) command(w, w->tasklet_of[subtask], WR_COMMAND_CANCEL);
}

/* ---- snapshots ---- */

static bool is_done(const wr_tasklet *t)
{
    return atomic_load_explicit(&t->state, memory_order_acquire) >= WR_TASK_FINISHED;
}

static void order(wr_worker *w, wr_tasklet *t, uint32_t kind, const wr_barrier *barrier, int file)
{
    wr_order o = {
        .kind = kind, .barrier = *barrier, .file = file, .at_mono_ns = w->options.env->mono_ns(w->options.env->self)};
    wr_mail_order(&t->barriers.mail, &o);
    wr_parker_wake(w->options.env, t->home->parker);
}

static void order_all(wr_worker *w, uint32_t kind, uint64_t id)
{
    wr_barrier about = {.id = id};
    for (uint32_t i = 0; i < w->tasklets; i++) {
        if (!is_done(&w->tasklet[i])) order(w, &w->tasklet[i], kind, &about, 0); /* else nobody would read it */
    }
}

/* After what was ordered before. */
static void hear(wr_worker *w, uint64_t id)
{
    for (uint32_t i = 0; i < w->tasklets; i++) {
        wr_tasklet *t = &w->tasklet[i];
        if (!t->heeds || id <= atomic_load_explicit(&t->heard, memory_order_relaxed)) continue;
        atomic_store_explicit(&t->heard, id, memory_order_release);
        wr_parker_wake(w->options.env, t->home->parker);
    }
}

/* Files first: so that they are there when the barrier is, and the slots create none. */
void wr_worker_trigger(wr_worker *w, const wr_barrier *barrier)
{
    wr_failpoint("trigger");
    wr_spares_begin(&w->spares, w->options.env, w->options.snapshots);
    for (uint32_t i = 0; i < w->tasklets; i++) {
        wr_tasklet *t = &w->tasklet[i];
        uint32_t    state = atomic_load_explicit(&t->state, memory_order_acquire);
        bool        runs = state >= WR_TASK_RUNNING && state < WR_TASK_FINISHED, reused = false;
        int         file = runs ? wr_capture_create(t, barrier, &w->spares, &reused) : 0;
        if (reused) t->reused_id = barrier->id;
        if (file > 0) order(w, t, WR_ORDER_FILE, barrier, file);
    }
    for (uint32_t i = 0; i < w->tasklets; i++) {
        wr_tasklet *t = &w->tasklet[i];
        if (t->ins == 0 && t->splits == NULL && !is_done(t)) order(w, t, WR_ORDER_TRIGGER, barrier, 0);
    }
    hear(w, barrier->id);
}

void wr_worker_abort(wr_worker *w, uint64_t id)
{
    order_all(w, WR_ORDER_ABORT, id);
    hear(w, id);
}

void wr_worker_complete(wr_worker *w, uint64_t id)
{
    order_all(w, WR_ORDER_COMPLETE, id);
}

void wr_worker_finish(wr_worker *w)
{
    order_all(w, WR_ORDER_FINISH, 0);
}

void wr_worker_go(wr_worker *w)
{
    command_all(w, WR_COMMAND_GO);
}

void wr_worker_run(wr_worker *w)
{
    command_all(w, WR_COMMAND_RUN);
}

void wr_worker_pause_sources(wr_worker *w)
{
    command_all(w, WR_COMMAND_PAUSE);
}

/* A file that was longer before ends where the new one does, before anybody counts on it. */
static void cut_file(const wr_worker *w, const wr_tasklet *t, wr_ack *ack)
{
    wr_errinfo info = {0};
    if (ack->declined || ack->file.name[0] == 0 || ack->id != t->reused_id) return;
    if (wr_image_cut(w->options.env, w->options.snapshots, &ack->file, &info) == WR_OK) return;
    ack->declined = true;
    ack->phase = WR_PHASE_ASYNC;
    ack->info = info;
}

wr_ack *wr_worker_ack(wr_worker *w)
{
    for (uint32_t i = 0; i < w->tasklets; i++) {
        uint32_t    at = (w->ack_next + i) % w->tasklets;
        wr_tasklet *t = &w->tasklet[at];
        if (wr_mail_retry(&t->barriers.mail)) wr_parker_wake(w->options.env, t->home->parker);
        wr_ack *ack = wr_mail_ack(&t->barriers.mail);
        if (ack == NULL) continue;
        w->ack_next = at + 1;
        cut_file(w, t, ack);
        if (w->here == NULL || !wr_lease_over(w->options.env, &w->lease_until_ns)) return ack;
        wr_ack_free(ack); /* nobody may count on it any more */
    }
    return NULL;
}

bool wr_worker_done(const wr_worker *w)
{
    for (uint32_t i = 0; i < w->tasklets; i++) {
        if (atomic_load_explicit(&w->tasklet[i].state, memory_order_acquire) < WR_TASK_FINISHED) return false;
    }
    return true;
}

void wr_worker_join(wr_worker *w)
{
    atomic_store_explicit(&w->leaving, true, memory_order_release);
    for (uint32_t i = 0; i < w->slots; i++) {
        if (w->slot[i].thread != NULL) wr_parker_wake(w->options.env, &w->slot[i].parker);
    }
    for (uint32_t i = 0; i < w->slots; i++) {
        if (w->slot[i].thread != NULL) w->options.env->thread_join(w->options.env->self, w->slot[i].thread);
        w->slot[i].thread = NULL;
    }
    w->joined = true;
}

static void free_tasklet(wr_tasklet *t)
{
    wr_barriers_fini(t); /* before the tables that it captures */
    free(t->held);
    free(t->pieces.batch);
    for (uint32_t i = 0; i < t->ops; i++) wr_op_fini(&t->op[i]);
    free(t->op);
    if (t->enumerator != NULL) wr_enumerator_fini(t->enumerator);
    free(t->enumerator);
    for (uint32_t i = 0; i < t->exchanges; i++) {
        wr_exchange *x = &t->exchange[i];
        for (uint32_t c = 0; c < x->channels; c++) wr_pipe_fini(x->channel[c]);
        free(x->channel);
        wr_exchange_fini(x);
    }
    free(t->exchange);
    free(t->in);
}

void wr_worker_free(wr_worker *w)
{
    if (w == NULL) return;
    check(!w->started || w->joined);
    for (uint32_t i = 0; w->tasklet != NULL && i < w->tasklets; i++) free_tasklet(&w->tasklet[i]);
    for (uint32_t i = 0; i < w->scribes; i++) wr_scribe_free(w->scribe[i]); /* before the parkers of those they wake */
    free(w->scribe);
    for (uint32_t i = 0; w->slot != NULL && i < w->slots; i++) {
        wr_slot *s = &w->slot[i];
        if (s->serves) wr_plane_free(s->plane);
        if (s->home.env != NULL && s->tasklet != NULL) s->home.env->parker_fini(s->home.env->self, &s->parker);
        wr_scratch_fini(&s->home.scratch);
        free(s->tasklet);
    }
    wr_ahead_free(w->ahead);
    wr_spares_fini(&w->spares);
    free(w->slot);
    free(w->tasklet);
    free(w->tasklet_of);
    free(w->here);
    free(w->op);
    free(w->pipe);
    free(w->split_edge);
    free(w->args);
    free(w->op_of);
    free(w->op_first);
    free(w);
}

uint32_t wr_worker_slots(const wr_worker *w)
{
    return w->slots;
}

bool wr_worker_step(wr_worker *w, uint32_t slot)
{
    check(slot < w->slots && !w->started);
    return wr_slot_step(&w->slot[slot]);
}

wr_slot *wr_worker_slot(wr_worker *w, uint32_t slot)
{
    check(slot < w->slots && !w->started);
    return &w->slot[slot];
}

wr_op *wr_worker_op(wr_worker *w, uint32_t node, uint32_t subtask)
{
    if (node >= w->exec->job->nodes || subtask >= w->exec->job->node[node].parallelism) return NULL;
    return w->op_of[w->op_first[node] + subtask];
}

/* ---- in a cluster ---- */

bool wr_worker_remote(const wr_worker *w, uint32_t index, uint32_t *slot, uint32_t *remote)
{
    for (uint32_t i = 0; i < w->slots; i++) {
        const wr_slot *s = &w->slot[i];
        if (!s->serves) continue;
        if (wr_plane_remote(s->plane, index, remote)) {
            *slot = i;
            return true;
        }
        index -= wr_plane_remotes(s->plane);
    }
    return false;
}

void wr_worker_connect(wr_worker *w, uint32_t slot, uint32_t remote, int socket)
{
    if (slot < w->slots && w->slot[slot].serves)
        wr_plane_give(w->slot[slot].plane, remote, socket);
    else
        w->options.env->hang_up(w->options.env->self, socket);
}

bool wr_worker_connected(const wr_worker *w)
{
    for (uint32_t i = 0; i < w->slots; i++) {
        if (w->slot[i].serves && !wr_plane_connected(w->slot[i].plane)) return false;
    }
    return true;
}

void wr_worker_lease(wr_worker *w, int64_t until_mono_ns)
{
    atomic_store_explicit(&w->lease_until_ns, until_mono_ns, memory_order_release);
}

void wr_worker_plane_stats(const wr_worker *w, wr_plane_stats *sum)
{
    *sum = (wr_plane_stats){0};
    for (uint32_t i = 0; i < w->slots; i++) {
        wr_plane_stats one;
        if (!w->slot[i].serves) continue;
        wr_plane_stats_of(w->slot[i].plane, &one);
        sum->sent_bytes += one.sent_bytes;
        sum->received_bytes += one.received_bytes;
        sum->sent_frames += one.sent_frames;
        sum->received_frames += one.received_frames;
        sum->stalled += one.stalled;
    }
}

/* ---- measures ---- */

static uint64_t relaxed(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

bool wr_worker_operator_stats(const wr_worker *w, uint32_t index, wr_operator_stats *stats)
{
    if (index >= w->ops) return false;
    const wr_op *op = w->op[index];
    *stats = (wr_operator_stats){.node = op->node,
                                 .subtask = op->subtask,
                                 .in = relaxed(&op->stats.in),
                                 .out = relaxed(&op->stats.out),
                                 .bad = relaxed(&op->stats.bad),
                                 .late = relaxed(&op->stats.late),
                                 .watermark = atomic_load_explicit(&op->stats.watermark, memory_order_relaxed),
                                 .batches = relaxed(&op->stats.batches),
                                 .state_bytes = relaxed(&op->stats.state_bytes),
                                 .keys = relaxed(&op->stats.keys)};
    _Static_assert(sizeof stats->held == WR_HOLDER_BYTES, "");
    wr_holder_get(&op->holder, stats->held);
    return true;
}

bool wr_worker_task_stats(const wr_worker *w, uint32_t index, wr_task_stats *stats)
{
    if (index >= w->tasklets) return false;
    const wr_tasklet *t = &w->tasklet[index];
    *stats = (wr_task_stats){.subtask = t->subtask->id,
                             .state = (wr_task_state)atomic_load_explicit(&t->state, memory_order_acquire),
                             .busy_ns = relaxed(&t->busy_ns),
                             .idle_ns = relaxed(&t->idle_ns),
                             .back_pressured_ns = relaxed(&t->back_pressured_ns),
                             .place = t->subtask->place};
    return true;
}

bool wr_worker_metric(const wr_worker *w, uint32_t index, wr_user_metric *metric)
{
    for (uint32_t i = 0; i < w->ops; i++) {
        const wr_op *op = w->op[i];
        uint32_t     n = atomic_load_explicit(&op->metrics, memory_order_acquire);
        if (index >= n) {
            index -= n;
            continue;
        }
        const wr_metric *m = &op->metric[index];
        uint64_t         bits = relaxed(&m->value);
        double           value = (double)bits;
        if (m->kind == 2) memcpy(&value, &bits, sizeof value);
        *metric = (wr_user_metric){op->node, op->subtask, m->name, m->kind, value, relaxed(&m->count)};
        return true;
    }
    return false;
}

uint64_t wr_worker_state_bytes(const wr_worker *w)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < w->ops; i++) bytes += relaxed(&w->op[i]->stats.state_bytes);
    return bytes;
}

int64_t wr_worker_due(const wr_worker *w)
{
    int64_t due = INT64_MAX;
    for (uint32_t i = 0; i < w->ops; i++) {
        const wr_op *op = w->op[i];
        if (op->due_ns < due) due = op->due_ns;
        if (op->due_mono_ns == INT64_MAX) continue;
        int64_t at = op->home->now_ns + (op->due_mono_ns - op->home->mono_ns);
        if (at < due) due = at;
    }
    return due;
}
