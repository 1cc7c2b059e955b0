#include "taskmanager/heads.h"
#include "base/check.h"

/* ---- sources ---- */

/* The enumerator's credit: it sends the next split once this one's batch came home. */
static void give_home(wr_tasklet *t, wr_batch *b)
{
    wr_pipe_return(t->splits, b, t->home->env);
}

static void take_split(wr_tasklet *t, const wr_batch *b)
{
    for (uint32_t i = 0; i < b->n; i++) wr_source_add(&t->op[0], b->records + (size_t)i * b->stride);
}

/* A split that is not wanted yet leaves the channel only for what comes behind it: a barrier must find it on one side.
 * Its batch, and with it the credit, stays here. */
static bool take_records(wr_tasklet *t, bool wants)
{
    wr_batch *b = wr_ring_peek(&t->splits->data);
    if (wants) {
        check(wr_ring_pop(&t->splits->data) == b);
        take_split(t, b);
        give_home(t, b);
        return true;
    }
    if (t->held != NULL || wr_ring_count(&t->splits->data) < 2) return false;
    check(wr_ring_pop(&t->splits->data) == b && b->n == 1);
    wr_source_hold(&t->op[0], b->records);
    t->held = b;
    return true;
}

/* In a cluster the barrier of an enumerator elsewhere can be faster than the orders to this worker. It waits for its
 * own, so that a pause that was ordered before the last snapshot is one before its barrier. */
static bool was_ordered(const wr_tasklet *t, const wr_barrier *b)
{
    return !t->heeds || b->id <= atomic_load_explicit(&t->heard, memory_order_acquire);
}

static bool take_from_enumerator(wr_tasklet *t)
{
    if (t->splits == NULL) return false;
    bool wants = !t->ended && wr_source_wants(&t->op[0]);
    if (t->held != NULL && wants) {
        wr_source_add_held(&t->op[0]);
        give_home(t, t->held);
        t->held = NULL;
        return true;
    }
    wr_batch *b = wr_ring_peek(&t->splits->data);
    if (b == NULL) return false;
    if (b->kind == WR_RECORDS) return take_records(t, wants);
    if (b->kind == WR_BARRIER && !was_ordered(t, &b->barrier)) return false;
    wr_ring_pop(&t->splits->data);
    switch (b->kind) {
    case WR_END: t->splits_ended = true; break;
    case WR_BARRIER: wr_barrier_take(t, t->splits, b); break;
    case WR_ABORT: wr_barrier_abort(t, (uint64_t)b->at); break;
    default: break;
    }
    give_home(t, b);
    return true;
}

bool wr_heads_read(wr_tasklet *t)
{
    bool     took = wr_barrier_head(t) || take_from_enumerator(t);
    uint32_t command = atomic_load_explicit(&t->command, memory_order_acquire);
    if (wr_op_failed(&t->op[0])) return true; /* a split that came did not open: its reader is not to be used */
    if (t->ended || t->barriers.due) return took;
    if (command & WR_COMMAND_STOP) {
        t->ended = true;
        return true;
    }
    if (command & WR_COMMAND_PAUSE) return took;
    switch (wr_pieces_poll(t)) {
    case WR_POLLED_MORE: return true;
    case WR_POLLED_EMPTY:
        if (t->splits_ended && t->held == NULL) t->ended = true;
        return t->ended || took;
    default: return took;
    }
}

/* ---- enumerators ---- */

static void assign_splits(wr_tasklet *t, bool *progress)
{
    wr_exchange *x = &t->exchange[0];
    for (uint32_t i = 0; i < x->channels; i++) {
        const void *split = wr_enumerator_next(t->enumerator);
        if (split == NULL) return;
        if (++t->next >= x->channels) t->next = 0;
        wr_pipe *p = x->channel[t->next];
        wr_pipe_reclaim(p);
        if (p->away > 0) continue; /* one credit: it has not taken the last one */
        wr_exchange_put(x, t->next, split);
        wr_enumerator_assigned(t->enumerator);
        *progress = true;
    }
}

bool wr_heads_discover(wr_tasklet *t)
{
    wr_enumerator *e = t->enumerator;
    if (!wr_enumerator_run(e)) return false;
    weir_duration every = e->op.node->discover_every;
    t->discover_mono_ns = every > 0 ? t->home->mono_ns + every : INT64_MAX;
    return true;
}

enum wr_called wr_heads_enumerate(wr_tasklet *t)
{
    wr_enumerator *e = t->enumerator;
    uint32_t       command = atomic_load_explicit(&t->command, memory_order_acquire);
    if (wr_barrier_head(t)) return WR_CALLED_PROGRESS;
    if (t->said_end) return wr_tasklet_rest(t);
    if (command & WR_COMMAND_STOP) {
        wr_tasklet_say_end(t);
        return WR_CALLED_PROGRESS;
    }
    if (command & WR_COMMAND_PAUSE) return WR_CALLED_IDLE;
    bool progress = false;
    if (t->home->mono_ns >= t->discover_mono_ns) {
        progress = true;
        if (!wr_heads_discover(t)) {
            t->failure = e->op.failure;
            return wr_tasklet_leave(t, WR_TASK_FAILED);
        }
    }
    assign_splits(t, &progress);
    if (wr_enumerator_next(e) == NULL && t->discover_mono_ns == INT64_MAX) {
        wr_tasklet_say_end(t);
        return WR_CALLED_PROGRESS;
    }
    return progress ? WR_CALLED_PROGRESS : WR_CALLED_IDLE;
}
