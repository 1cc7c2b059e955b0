#include "taskmanager/barrier.h"
#include "base/check.h"
#include "base/failpoint.h"
#include "base/lease.h"
#include "base/sabotage.h"
#include "operators/saver.h"
#include "taskmanager/tasklet.h"
#include <stdlib.h>

void wr_barriers_init(wr_barriers *b, const char *folder, const char *lineage, int64_t timeout_ns)
{
    *b = (wr_barriers){.folder = folder, .lineage = lineage, .timeout_ns = timeout_ns};
    wr_mail_init(&b->mail);
}

void wr_barriers_fini(wr_tasklet *t)
{
    wr_barriers *b = &t->barriers;
    do {
        for (wr_order *o; (o = wr_mail_next(&b->mail)) != NULL;) {
            if (o->kind == WR_ORDER_FILE) wr_capture_drop(t, &o->barrier, o->file);
            free(o);
        }
    } while (wr_mail_retry(&b->mail));
    wr_capture_release(t);
    wr_mail_fini(&b->mail);
}

/* ---- answers ---- */

void wr_barrier_answer(wr_tasklet *t, wr_ack *ack)
{
    wr_mail_answer(&t->barriers.mail, ack);
    t->barriers.news = true;
    wr_failpoint("after-ack");
}

static wr_ack *new_ack(const wr_tasklet *t, uint64_t id)
{
    wr_ack *ack = calloc(1, sizeof *ack);
    check(ack != NULL);
    ack->id = id;
    ack->subtask = t->subtask->id;
    ack->attempt = t->attempt;
    return ack;
}

void wr_barrier_decline(wr_tasklet *t, uint64_t id, uint32_t phase, const wr_errinfo *info)
{
    if (t->barriers.folder == NULL) return;
    wr_ack *ack = new_ack(t, id);
    ack->declined = true;
    ack->phase = phase;
    ack->info = *info;
    wr_barrier_answer(t, ack);
}

static void decline_for(wr_tasklet *t, uint64_t id, uint32_t phase, uint64_t newer)
{
    wr_errinfo info = {0};
    wr_fail(&info, WR_TIMEOUT,
            phase == WR_PHASE_ALIGN
                ? "snapshot %llu began before all inputs had delivered the barrier of snapshot %llu; "
                  "task %s subtask %u; take snapshots less often"
                : "snapshot %llu began while snapshot %llu was still being written; task %s "
                  "subtask %u; take snapshots less often",
            (unsigned long long)newer, (unsigned long long)id, t->vertex->name, t->subtask->index);
    wr_barrier_decline(t, id, phase, &info);
}

/* ---- the step at the barrier ---- */

static void save_op(wr_tasklet *t, wr_op *op, wr_ack *ack, wr_errinfo *info)
{
    wr_ack_op *to = &ack->op[ack->ops++];
    wr_saver   saver = {.to = to, .from = t->subtask->index};
    to->node = op->node->id;
    to->watermark = op->watermark;
    to->table = op->table != NULL;
    if (op->table != NULL) {
        const wr_table_config *config = wr_table_config_of(op->table);
        to->record = config->record;
        to->state = config->state;
        to->key = &op->node->key[0]; /* as the table has it, which goes with a failed task: the answer stays */
    }
    if (op->kernel->save == NULL || info->code != WR_OK) return;
    wr_err err = op->kernel->save(op, &t->barriers.now, &saver, info);
    if (err != WR_OK && info->code == WR_OK) wr_fail(info, err, "operator %s cannot be saved", op->node->uid);
}

/* State of the chain, head first. What fails here fails the snapshot and not the job. */
static wr_ack *save_all(wr_tasklet *t, wr_errinfo *info)
{
    wr_ack *ack = new_ack(t, t->barriers.now.id);
    ack->ended = t->said_end;
    ack->op = calloc(t->ops + 1, sizeof *ack->op);
    check(ack->op != NULL);
    if (t->enumerator != NULL) {
        wr_saver saver = {.to = &ack->op[ack->ops++], .from = 0};
        saver.to->node = t->vertex->node;
        saver.to->watermark = WEIR_NO_TIME;
        wr_enumerator_save(t->enumerator, &saver);
    }
    for (uint32_t i = 0; i < t->ops; i++) save_op(t, &t->op[i], ack, info);
    return ack;
}

static void unblock(wr_tasklet *t)
{
    for (uint32_t i = 0; i < t->ins; i++) t->in[i]->blocked = false;
    t->barriers.aligning = t->barriers.due = false;
}

static bool any_failed(const wr_tasklet *t)
{
    for (uint32_t i = 0; i < t->ops; i++) {
        if (wr_op_failed(&t->op[i])) return true;
    }
    return false;
}

/* The answer, if it can be given now: the capture sends its own. */
static wr_ack *save(wr_tasklet *t, int64_t begun_mono_ns)
{
    wr_barriers *b = &t->barriers;
    wr_errinfo   info = {0};
    wr_ack      *ack = save_all(t, &info);
    bool         captures = info.code == WR_OK && wr_capture_wanted(t);
    if (captures) wr_capture_start(t, &b->now, ack, &info);
    wr_failpoint("sync");
    if (info.code != WR_OK) {
        ack->declined = true;
        ack->phase = WR_PHASE_SYNC;
        ack->info = info;
        return ack;
    }
    ack->start_delay_ns = b->triggered_mono_ns != 0 ? b->arrived_mono_ns - b->triggered_mono_ns : 0;
    ack->align_ns = begun_mono_ns - b->arrived_mono_ns;
    ack->sync_ns = t->home->env->mono_ns(t->home->env->self) - begun_mono_ns;
    return captures ? NULL : ack;
}

void wr_barrier_pass(wr_tasklet *t)
{
    wr_barriers  *b = &t->barriers;
    const wr_env *env = t->home->env;
    int64_t       begun = env->mono_ns(env->self);
    wr_failpoint("barrier");
    check(b->due);
    b->due = false;
    unblock(t);
    if (b->capture.writer != NULL) {
        uint64_t old = b->capture.barrier.id;
        wr_capture_stop(t);
        decline_for(t, old, WR_PHASE_ASYNC, b->now.id);
    }
    for (uint32_t i = 0; i < t->ops; i++) wr_op_flush(&t->op[i]);
    if (any_failed(t)) return; /* the task is at its end: nobody below may believe it was saved */
    t->home->epoch = b->passed = b->now.id;
    wr_ack *ack = b->folder != NULL ? save(t, begun) : NULL;
    if (any_failed(t)) { /* it lost something while it was being saved */
        wr_ack_free(ack);
        return;
    }
    for (uint32_t i = 0; i < t->exchanges; i++) wr_exchange_barrier(&t->exchange[i], &b->now, b->triggered_mono_ns);
    if (ack != NULL) wr_barrier_answer(t, ack);
}

/* ---- barriers come ---- */

static bool is_old(const wr_barriers *b, const wr_barrier *barrier)
{
    return (barrier->id <= b->last || barrier->epoch < b->epoch) && !wr_sabotage.drop_id_check;
}

static void begin(wr_tasklet *t, const wr_barrier *barrier, int64_t triggered_mono_ns)
{
    wr_barriers *b = &t->barriers;
    if (b->aligning) {
        unblock(t);
        decline_for(t, b->now.id, WR_PHASE_ALIGN, barrier->id);
    }
    b->now = *barrier;
    if (barrier->id > b->last) b->last = barrier->id;
    b->epoch = barrier->epoch;
    b->aligning = true;
    b->triggered_mono_ns = triggered_mono_ns;
    b->arrived_mono_ns = t->home->mono_ns;
}

void wr_barrier_take(wr_tasklet *t, wr_pipe *p, const wr_batch *element)
{
    wr_barriers *b = &t->barriers;
    bool         known = b->aligning && element->barrier.id == b->now.id;
    if (!known) {
        if (is_old(b, &element->barrier)) return;
        begin(t, &element->barrier, element->at);
    }
    p->blocked = true;
    for (uint32_t i = 0; i < t->ins && !wr_sabotage.skip_alignment; i++) {
        if (t->in[i]->blocked) continue;
        if (!known) wr_failpoint("alignment");
        return;
    }
    b->due = true;
}

bool wr_barrier_head(wr_tasklet *t)
{
    wr_barriers *b = &t->barriers;
    if (!b->wanted) return false;
    b->wanted = false;
    begin(t, &b->want, b->want_mono_ns);
    b->due = true;
    return true;
}

/* ---- aborts ---- */

/* Each subtask tells it once to those below: many ways lead there, and the worker's owner tells all of them too. */
static void mark(wr_tasklet *t, uint64_t id)
{
    if (id <= t->barriers.marked) return;
    t->barriers.marked = id;
    for (uint32_t i = 0; i < t->exchanges; i++) wr_exchange_control(&t->exchange[i], WR_ABORT, (int64_t)id);
}

void wr_barrier_abort(wr_tasklet *t, uint64_t id)
{
    wr_barriers *b = &t->barriers;
    if (b->wanted && b->want.id == id) b->wanted = false;
    if (b->aligning && b->now.id == id) unblock(t);
    if (b->capture.writer != NULL && b->capture.barrier.id == id) wr_capture_stop(t);
    wr_capture_forget(t, id);
    if (id > b->last) b->last = id; /* its barrier may still come */
    mark(t, id);
}

/* ---- orders ---- */

static void complete(wr_tasklet *t, uint64_t id)
{
    if (id <= t->barriers.completed) return;
    if (t->ops > 0 && wr_lease_over(t->home->env, t->home->lease_until_ns)) {
        /* Renewed in the next moment or not: it must not go on, and finish, as if this had been done. */
        wr_op_fail(&t->op[0], WR_UNREACHABLE,
                   "the worker's lease ended before snapshot %llu could be committed; task %s subtask %u",
                   (unsigned long long)id, t->vertex->name, t->subtask->index);
        return;
    }
    t->barriers.completed = id;
    for (uint32_t i = 0; i < t->ops; i++) {
        wr_op *op = &t->op[i];
        if (!wr_op_failed(op) && op->kernel->complete != NULL) op->kernel->complete(op, id);
    }
}

static void trigger(wr_tasklet *t, const wr_order *o)
{
    wr_barriers *b = &t->barriers;
    if (is_old(b, &o->barrier) || (b->wanted && o->barrier.id <= b->want.id)) return;
    if (b->wanted) decline_for(t, b->want.id, WR_PHASE_ALIGN, o->barrier.id);
    b->wanted = true;
    b->want = o->barrier;
    b->want_mono_ns = o->at_mono_ns;
}

bool wr_barrier_orders(wr_tasklet *t)
{
    wr_barriers *b = &t->barriers;
    bool         any = false;
    if (b->mail.unsents > 0) {
        wr_mail_flush(&b->mail);
        b->news = true;
    }
    for (wr_order *o; (o = wr_mail_next(&b->mail)) != NULL;) {
        switch (o->kind) {
        case WR_ORDER_TRIGGER: trigger(t, o); break;
        case WR_ORDER_ABORT: wr_barrier_abort(t, o->barrier.id); break;
        case WR_ORDER_FILE: wr_capture_give(t, &o->barrier, o->file); break;
        case WR_ORDER_COMPLETE: complete(t, o->barrier.id); break;
        default: t->finishing = true; break;
        }
        any = true;
        free(o);
    }
    return any;
}
