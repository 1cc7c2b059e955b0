/* Keyed operators and time: event timers, clock timers, and the sweep of what has outlived its time. */
#include "base/check.h"
#include "base/limits.h"
#include "operators/keyed.h"
#include <stdlib.h>

#define KEYS_BYTES    WR_MIB(1)
#define KEYS_LEAST    16u
#define SWEEP_ENTRIES 256u /* in one step; a tick does at most SWEEP_STEPS */
#define SWEEP_STEPS   16u
#define SWEEP_NS_MIN  1000000

static inline wr_keyed *keyed_of(const wr_op *op)
{
    return op->kernel_state;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static int64_t shortest_ttl(const wr_op *op)
{
    const weir_type *state = op->def->state;
    int64_t          least = op->node->ttl;
    for (uint32_t i = 0; i < state->fields; i++) {
        int64_t ttl = state->field[i].ttl;
        if (ttl != 0 && (least == 0 || ttl < least)) least = ttl;
    }
    return least;
}

static wr_err open_timers(wr_op *op, wr_keyed_time *kt, wr_errinfo *info)
{
    uint64_t stride = op->def->left->size;
    kt->keys_max = (uint32_t)(KEYS_BYTES / stride);
    if (kt->keys_max > WR_TIMERS_AT_ONCE) kt->keys_max = WR_TIMERS_AT_ONCE;
    if (kt->keys_max < KEYS_LEAST) kt->keys_max = KEYS_LEAST;
    kt->keys = aligned_alloc(WR_CACHE_LINE, (kt->keys_max * stride + WR_BATCH_SPARE_BYTES + WR_CACHE_LINE - 1) &
                                                ~(uint64_t)(WR_CACHE_LINE - 1));
    if (kt->keys == NULL) return wr_fail(info, WR_MEMORY, "no memory for the timers of operator %s", op->node->uid);
    WR_TRY(wr_timers_new(&kt->timers, op->table, info));
    wr_timers_rebuild(kt->timers);
    kt->early = wr_timers_next(kt->timers, WR_TIMER_EVENT) <= op->watermark;
    return WR_OK;
}

wr_err wr_keyed_time_open(wr_op *op, wr_errinfo *info)
{
    bool    has_timers = op->def->on_timer != NULL && wr_timers_in(op->def->state);
    int64_t ttl = shortest_ttl(op);
    if (!has_timers && ttl == 0) return WR_OK;
    wr_keyed_time *kt = calloc(1, sizeof *kt);
    if (kt == NULL) return wr_fail(info, WR_MEMORY, "no memory for the timers of operator %s", op->node->uid);
    keyed_of(op)->time = kt;
    kt->ttl_ns = ttl;
    wr_table_now(op->table, op->home->now_ns);
    wr_ttl_loaded(op->table);
    if (has_timers) WR_TRY(open_timers(op, kt, info));
    wr_keyed_time_arm(op); /* what was loaded may be due */
    return WR_OK;
}

void wr_keyed_time_close(wr_op *op)
{
    wr_keyed_time *kt = keyed_of(op)->time;
    if (kt == NULL) return;
    wr_timers_free(kt->timers);
    free(kt->keys);
    free(kt);
    keyed_of(op)->time = NULL;
}

/* ---- when the next tick is wanted -------------------------------------------------------------------------------- */

/* A full round of the sweep takes a quarter of the time to live. *steps of it at a time. */
static int64_t sweep_interval(const wr_op *op, const wr_keyed_time *kt, uint32_t *steps)
{
    int64_t all = (int64_t)(wr_table_count(op->table) / SWEEP_ENTRIES) + 1;
    int64_t interval = kt->ttl_ns / 4 / all;
    *steps = 1;
    if (interval >= SWEEP_NS_MIN) return interval;
    while (*steps < SWEEP_STEPS && interval * *steps < SWEEP_NS_MIN) ++*steps;
    return SWEEP_NS_MIN;
}

void wr_keyed_time_begin(wr_op *op)
{
    if (keyed_of(op)->time->ttl_ns != 0) wr_table_now(op->table, op->home->now_ns);
}

void wr_keyed_time_arm(wr_op *op)
{
    wr_keyed_time *kt = keyed_of(op)->time;
    int64_t        due = INT64_MAX;
    uint32_t       steps;
    if (kt->timers != NULL) {
        wr_timers_settle(kt->timers);
        due = wr_timers_next(kt->timers, WR_TIMER_CLOCK);
        if (kt->early && due > op->home->now_ns) due = op->home->now_ns;
    }
    if (kt->ttl_ns != 0 && wr_table_count(op->table) == 0) kt->sweep_ns = 0;
    if (kt->ttl_ns != 0 && wr_table_count(op->table) != 0) {
        if (kt->sweep_ns == 0) kt->sweep_ns = op->home->now_ns + sweep_interval(op, kt, &steps);
        if (kt->sweep_ns < due) due = kt->sweep_ns;
    }
    op->due_ns = due;
}

/* ---- firing ------------------------------------------------------------------------------------------------------ */

static void call_timers(wr_op *op, uint32_t n)
{
    wr_keyed      *k = keyed_of(op);
    wr_keyed_time *kt = k->time;
    weir_ctx      *ctx = &op->ctx;
    wr_table_keys(op->table, k->state, n, kt->keys);
    ctx->n = n;
    ctx->in = ctx->key = kt->keys;
    ctx->time = kt->due;
    ctx->pick = NULL;
    op->rejected = false;
    if (kt->ttl_ns != 0) {
        wr_ttl_read(op->table, k->state, n);
        wr_ttl_before(op->table, k->state, NULL, n, kt->seen);
    }
    wr_op_borrow(op, &(wr_view){0});
    wr_op_call(op, op->def->on_timer, "in its timer function");
    if (kt->ttl_ns != 0) wr_ttl_after(op->table, k->state, NULL, n, kt->seen);
    wr_op_settle(op);
    ctx->in = ctx->key = NULL;
    ctx->time = NULL;
    ctx->n = 0;
}

/* A batch of what is due by limit_ns. True: that was all. */
static bool fire(wr_op *op, uint32_t clock, int64_t limit_ns)
{
    wr_keyed      *k = keyed_of(op);
    wr_keyed_time *kt = k->time;
    bool           all;
    wr_keyed_time_begin(op);
    uint32_t most = wr_home_results(op->home, kt->keys_max);
    uint32_t n = wr_timers_take(kt->timers, clock, limit_ns, most, k->state, kt->due, kt->cell, &all);
    op->home->results += n;
    if (n != 0) {
        op->home->depth++;
        kt->firing = clock == WR_TIMER_EVENT ? WR_FIRING_EVENT : WR_FIRING_CLOCK;
        call_timers(op, n);
        kt->firing = WR_FIRING_NONE;
        if (--op->home->depth == 0) wr_scratch_reset(&op->home->scratch);
        wr_table_settle(op->table);
        wr_keyed_note(op);
    }
    return all || wr_op_failed(op);
}

/* The same for event timers. One that a timer function sets to a time that is over comes before event time moves on. */
static bool fire_events(wr_op *op, wr_keyed_time *kt)
{
    kt->early = false;
    bool all = fire(op, WR_TIMER_EVENT, op->watermark) && (!kt->early || wr_op_failed(op));
    kt->early = !all;
    return all;
}

bool wr_keyed_advance(wr_op *op)
{
    wr_keyed_time *kt = keyed_of(op)->time;
    if (kt == NULL || kt->timers == NULL || wr_op_failed(op)) return true;
    bool all = fire_events(op, kt);
    wr_keyed_time_arm(op);
    return all;
}

bool wr_keyed_swept(wr_op *op)
{
    wr_keyed_time *kt = keyed_of(op)->time;
    if (kt == NULL || kt->ttl_ns == 0) return true;
    wr_keyed_time_begin(op);
    if (!kt->ending) wr_ttl_sweep_anew(op->table);
    kt->ending = true;
    return wr_ttl_sweep(op->table, SWEEP_ENTRIES * SWEEP_STEPS);
}

static void sweep(wr_op *op, wr_keyed_time *kt)
{
    uint32_t steps;
    int64_t  interval = sweep_interval(op, kt, &steps);
    wr_keyed_time_begin(op);
    wr_ttl_sweep(op->table, steps * SWEEP_ENTRIES);
    kt->sweep_ns = op->home->now_ns + interval;
    wr_keyed_note(op);
}

bool wr_keyed_tick(wr_op *op)
{
    wr_keyed_time *kt = keyed_of(op)->time;
    int64_t        now_ns = op->home->now_ns;
    bool           all = true;
    op->due_ns = INT64_MAX;
    if (kt == NULL || wr_op_failed(op)) return true;
    if (kt->early) all = fire_events(op, kt);
    if (all && kt->timers != NULL) all = fire(op, WR_TIMER_CLOCK, now_ns);
    if (all && kt->sweep_ns != 0 && now_ns >= kt->sweep_ns) sweep(op, kt);
    wr_keyed_time_arm(op);
    if (!all) op->due_ns = now_ns;
    return all;
}

/* All inputs have ended: event time is at its end, whoever has said so. Clock timers that are still set never fire. */
bool wr_keyed_end(wr_op *op)
{
    const wr_keyed_time *kt = keyed_of(op)->time;
    if (kt == NULL || kt->timers == NULL) return true;
    op->watermark = INT64_MAX;
    bool all = wr_keyed_advance(op);
    if (all) op->due_ns = INT64_MAX;
    return all;
}

/* ---- what user functions call ------------------------------------------------------------------------------------ */

/* A state with timers is refused without a timer function, and only keyed operators have states. */
static wr_keyed_time *time_of(const weir_ctx *ctx)
{
    const wr_op *op = ctx->engine;
    check(keyed_of(op) != NULL && keyed_of(op)->time != NULL && keyed_of(op)->time->timers != NULL);
    return keyed_of(op)->time;
}

void weir_event_timer_set(weir_ctx *ctx, weir_event_timer *cell, weir_time at)
{
    wr_keyed_time *kt = time_of(ctx);
    const wr_op   *op = ctx->engine;
    wr_timers_set(kt->timers, WR_TIMER_EVENT, ctx->current, cell, at.ns);
    kt->early |= at.ns != WEIR_NO_TIME && at.ns <= op->watermark;
}
void weir_event_timer_clear(weir_ctx *ctx, weir_event_timer *cell)
{
    wr_timers_clear(time_of(ctx)->timers, WR_TIMER_EVENT, ctx->current, cell);
}
void weir_clock_timer_set(weir_ctx *ctx, weir_clock_timer *cell, weir_time at)
{
    wr_timers_set(time_of(ctx)->timers, WR_TIMER_CLOCK, ctx->current, cell, at.ns);
}
void weir_clock_timer_clear(weir_ctx *ctx, weir_clock_timer *cell)
{
    wr_timers_clear(time_of(ctx)->timers, WR_TIMER_CLOCK, ctx->current, cell);
}

static bool fired(const weir_ctx *ctx, uint32_t firing, const void *cell)
{
    const wr_keyed_time *kt = time_of(ctx);
    if (kt->firing != firing) return false;
    return (uint64_t)((const char *)cell - (const char *)ctx->current) == kt->cell[ctx->at];
}
bool weir_event_timer_fired(const weir_ctx *ctx, const weir_event_timer *cell)
{
    return fired(ctx, WR_FIRING_EVENT, cell);
}
bool weir_clock_timer_fired(const weir_ctx *ctx, const weir_clock_timer *cell)
{
    return fired(ctx, WR_FIRING_CLOCK, cell);
}
