#include "taskmanager/advance.h"
#include "operators/time.h"
#include "taskmanager/tasklet.h"

static bool is_time(const wr_op *op)
{
    return op->def->kind == WR_OP_TIME;
}
static bool is_source(const wr_tasklet *t)
{
    return t->op[0].def->kind == WEIR_OP_SOURCE;
}

/* Subtasks may have come to different times: WR_ITEM_WATERMARK. Those whose keys are here now say how far it was. */
wr_err wr_advance_load(wr_op *op, const wr_manifest_op *saved, wr_errinfo *info)
{
    wr_key_groups own = wr_key_groups_of(op->subtask, op->subtasks, op->max_parallelism);
    for (uint32_t i = 0; i < saved->items && op->node->key[0].count > 0; i++) {
        const wr_item *item = &saved->item[i];
        int64_t        at;
        if (item->kind != WR_ITEM_WATERMARK) continue;
        if (item->bytes != sizeof at || item->from >= saved->parallelism)
            return wr_fail(
                info, WR_DAMAGED,
                "the snapshot's event time of subtask %u of operator %s cannot be read; use another snapshot",
                item->from, saved->uid);
        wr_key_groups its = wr_key_groups_of(item->from, saved->parallelism, saved->max_parallelism);
        memcpy(&at, item->data, sizeof at);
        if (its.first < own.end && own.first < its.end && at > op->mark) op->mark = at;
    }
    return WR_OK;
}

void wr_advance_open(wr_tasklet *t)
{
    wr_advance *a = &t->advance;
    *a = (wr_advance){.clock_mono_ns = t->home->mono_ns, .last_mono_ns = t->home->mono_ns};
    a->news = t->restore != NULL;
    for (uint32_t i = 0; i < t->ops; i++) {
        a->timed |= t->op[i].timed;
        a->ticks += t->op[i].kernel->tick != NULL;
        a->times += is_time(&t->op[i]);
    }
    if (t->ins > 1 && a->times == 0) t->hold.apart_ns = t->op[0].apart_ns;
    for (uint32_t i = 0; i < t->ins; i++) {
        t->in[i]->origin = WR_ORIGIN_CHANNEL | i;
        for (uint32_t k = 0; k < t->ops; k++) {
            if (is_time(&t->op[k])) wr_time_open(&t->op[k], t->in[i]->origin, 0);
        }
    }
}

/* ---- what inputs say ---- */

/* The least of all that may still move it. When none may, time stays where it is. */
static void merge(wr_tasklet *t)
{
    int64_t  least = INT64_MAX;
    uint32_t active = 0, live = 0;
    t->hold.slowest = NULL;
    for (uint32_t i = 0; i < t->ins; i++) {
        const wr_pipe *p = t->in[i];
        live += !p->ended;
        if (p->ended || p->idle) continue;
        active++;
        if (p->watermark >= least) continue;
        least = p->watermark;
        t->hold.slowest = p;
    }
    if (active > 0 && least > t->watermark) t->watermark = least;
    t->advance.idle = live > 0 && active == 0;
    t->advance.news = true;
}

void wr_advance_watermark(wr_tasklet *t, wr_pipe *p, int64_t at)
{
    if (at > p->watermark) p->watermark = at;
    merge(t);
}

void wr_advance_idle(wr_tasklet *t, wr_pipe *p, bool idle)
{
    p->idle = idle;
    merge(t);
}

void wr_advance_ended(wr_tasklet *t, wr_pipe *p)
{
    for (uint32_t i = 0; i < t->ops && t->advance.times > 0; i++) {
        if (is_time(&t->op[i])) wr_time_close(&t->op[i], p->origin);
    }
    merge(t);
}

/* ---- passes ---- */

/* Time in which nothing could come because there was no room does not count as silence; nor does that of a barrier's
 * alignment. */
static void run_clock(wr_tasklet *t)
{
    wr_advance *a = &t->advance;
    bool        stands = t->called == WR_CALLED_BLOCKED || t->barriers.aligning;
    if (!stands) a->clock_ns += t->home->mono_ns - a->clock_mono_ns;
    a->clock_mono_ns = t->home->mono_ns;
}

static void look(wr_tasklet *t)
{
    wr_advance *a = &t->advance;
    bool        follow = is_source(t) && wr_source_changes(&t->op[0]) != a->splits_known;
    if (follow) a->splits_known = wr_source_changes(&t->op[0]);
    for (uint32_t i = 0; i < t->ops; i++) {
        if (!is_time(&t->op[i])) continue;
        if (follow) wr_time_follow(&t->op[i], &t->op[0], a->clock_ns);
        wr_time_look(&t->op[i], a->clock_ns);
    }
}

static int64_t incoming(const wr_tasklet *t, const wr_op *op)
{
    if (is_time(op)) return op->mark;
    int64_t to = op->up != NULL ? op->up->watermark : t->watermark;
    return to > op->mark ? to : op->mark;
}

static bool idle_of(const wr_tasklet *t, const wr_op *op)
{
    return is_time(op) ? op->idle : op->up != NULL ? op->up->idle : t->advance.idle;
}

/* An operator has something to learn. */
static bool moved(const wr_tasklet *t)
{
    for (uint32_t i = 0; i < t->ops; i++) {
        const wr_op *op = &t->op[i];
        if (op->timed && (incoming(t, op) > op->watermark || idle_of(t, op) != op->idle)) return true;
    }
    return false;
}

static bool begin(wr_tasklet *t)
{
    wr_advance *a = &t->advance;
    if (a->times > 0) look(t);
    a->news = false;
    a->under_way = moved(t);
    a->at = 0;
    a->entered = false;
    return a->under_way;
}

/* The end of time is not told: the end of the stream says so, and beside an input that is only silent it must not
 * count. */
static bool tell(wr_exchange *x)
{
    int64_t to = x->op->watermark;
    bool    idle = x->op->idle;
    if (!x->timed || to == INT64_MAX || (x->idle_sent == idle && x->watermark_sent >= to)) return false;
    if (x->idle_sent && !idle) wr_exchange_control(x, WR_IDLE, 0);
    if (to > x->watermark_sent) wr_exchange_control(x, WR_WATERMARK, to);
    if (!x->idle_sent && idle) wr_exchange_control(x, WR_IDLE, 1);
    x->idle_sent = idle;
    x->watermark_sent = to;
    return true;
}

bool wr_advance_tell(wr_tasklet *t)
{
    bool some = false;
    t->advance.last_mono_ns = t->home->mono_ns;
    for (uint32_t i = 0; i < t->exchanges; i++) some |= tell(&t->exchange[i]);
    return some;
}

/* As far as one batch of results goes. True: there was one; call again. */
static bool go_on(wr_tasklet *t)
{
    wr_advance *a = &t->advance;
    for (bool worked = false; a->at < t->ops; a->at++, a->entered = false) {
        wr_op *op = &t->op[a->at];
        if (!op->timed) continue;
        if (!a->entered) {
            int64_t to = incoming(t, op);
            op->idle = idle_of(t, op);
            if (to <= op->watermark) continue;
            if (worked && op->kernel->advance != NULL) return true;
            op->watermark = to;
            atomic_store_explicit(&op->stats.watermark, to, memory_order_relaxed);
        }
        if (op->kernel->advance == NULL) continue;
        worked = true;
        a->entered = true;
        if (!wr_pieces_step(t, op, wr_op_advance)) return true;
        if (wr_op_failed(op)) return true; /* its caller looks */
    }
    a->under_way = false;
    return false;
}

/* One operator whose hour has come. */
static bool tick(wr_tasklet *t)
{
    for (uint32_t i = 0; i < t->ops; i++) {
        wr_op *op = &t->op[i];
        if (!wr_op_due(op) || op->kernel->tick == NULL) continue;
        wr_pieces_step(t, op, wr_op_tick);
        return true;
    }
    return false;
}

bool wr_advance_step(wr_tasklet *t)
{
    wr_advance *a = &t->advance;
    if (a->timed) {
        if (a->times > 0) run_clock(t);
        if (a->under_way && go_on(t)) return true;
        bool due = t->home->mono_ns - a->last_mono_ns >= WR_WATERMARK_NS;
        if ((a->news || (due && a->times > 0)) && begin(t) && go_on(t)) return true;
        if (due) wr_advance_tell(t);
    }
    return a->ticks > 0 && tick(t);
}

bool wr_advance_now(wr_tasklet *t)
{
    if (!t->advance.timed) return false;
    if (!t->advance.under_way && !begin(t)) return wr_advance_tell(t);
    go_on(t);
    return true;
}

bool wr_advance_end(wr_tasklet *t)
{
    wr_advance *a = &t->advance;
    if (!a->timed) return false;
    if (!a->end_begun) {
        a->end_begun = true;
        t->watermark = INT64_MAX;
        a->idle = false;
        a->times = 0; /* their origins are gone */
        for (uint32_t i = 0; i < t->ops; i++) {
            if (is_time(&t->op[i])) wr_time_end(&t->op[i]);
        }
    }
    return wr_advance_now(t);
}

void wr_advance_waits(const wr_tasklet *t, int64_t *until_mono_ns)
{
    const wr_advance *a = &t->advance;
    for (uint32_t i = 0; i < t->ops; i++) {
        const wr_op *op = &t->op[i];
        int64_t      until = INT64_MAX;
        if (op->kernel->tick != NULL) until = wr_op_due_at(op);
        if (a->times > 0 && is_time(op)) {
            int64_t at = wr_time_idle_at(op);
            if (at != INT64_MAX) until = t->home->mono_ns + (at > a->clock_ns ? at - a->clock_ns : 0);
        }
        if (until < *until_mono_ns) *until_mono_ns = until;
    }
}
