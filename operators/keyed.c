/* State per key: keyed functions, and accumulators of one window over the whole input. */
#include "operators/keyed.h"
#include "base/check.h"
#include "operators/kernels.h"
#include "snapshot/image.h"
#include <stdlib.h>

static wr_err make_table(wr_op *op, wr_errinfo *info)
{
    wr_key_groups   groups = wr_key_groups_of(op->subtask, op->subtasks, op->max_parallelism);
    wr_table_config config = {.uid = op->node->uid,
                              .record = op->def->left,
                              .key = op->node->key[0],
                              .state = op->def->state,
                              .max_parallelism = op->max_parallelism,
                              .group_first = groups.first,
                              .group_end = groups.end,
                              .budget = op->home->budget,
                              .large_pages = true,
                              .ttl_ns = op->node->ttl,
                              .ttl_rule = op->node->ttl_rule};
    return wr_table_new(&op->table, &config, info);
}

static void call_upgrade(weir_ctx *ctx, const weir_upgrade *upgrade)
{
    const wr_user user = {ctx->engine, NULL, "in its upgrade from state", upgrade->from->name, 0};
    wr_user_call(user, upgrade->loop, ctx);
}

static wr_err keyed_load(wr_op *op, const wr_manifest_op *saved, const char *folder, wr_errinfo *info)
{
    const wr_upgrading how = {
        .upgrade = op->node->upgrade, .ctx = &op->ctx, .call = call_upgrade, .old = &op->upgrading};
    WR_TRY(make_table(op, info));
    wr_table_now(op->table, op->home->now_ns); /* keys that had no time to live begin it now */
    wr_errinfo why = {0};
    wr_err     err = wr_image_upgrade(op->table, op->home->env, folder, saved, &how, &why);
    op->upgrading = NULL;
    if (err == WR_OK) return WR_OK;
    if (err == WR_USER_FAIL && op->failure.code != WR_OK) /* user code has said why */
        return wr_fail(info, op->failure.code, "%s; the WEIR_UPGRADE of its state %s failed", op->failure.text,
                       op->def->state->name);
    return wr_fail(info, err, "%s", why.text);
}

static wr_err keyed_open(wr_op *op, wr_errinfo *info)
{
    wr_keyed *k = aligned_alloc(WR_CACHE_LINE, (sizeof(wr_keyed) + WR_CACHE_LINE - 1) & ~(size_t)(WR_CACHE_LINE - 1));
    if (k == NULL) return wr_fail(info, WR_MEMORY, "no memory for keyed operator %s", op->node->uid);
    memset(k, 0, sizeof *k);
    op->kernel_state = k;
    if (op->table == NULL) WR_TRY(make_table(op, info)); /* else it was loaded */
    WR_TRY(wr_keyed_time_open(op, info));
    k->reads = (op->def->flags & WEIR_OP_READS) != 0;
    /* A hit would not look at the clock. */
    bool near = op->def->on_near != NULL && !k->reads && !wr_table_expires(op->table);
    k->has_near = near && wr_near_init(&k->near, op->table, wr_near_blind(op->def));
    op->ctx.state = k->state;
    op->ctx.fresh = k->fresh;
    op->ctx.near = &k->near.probe;
    return WR_OK;
}

static void keyed_close(wr_op *op)
{
    wr_keyed *k = op->kernel_state;
    if (k != NULL) {
        if (k->has_near) wr_near_fini(&k->near);
        wr_keyed_time_close(op);
        free(k->keys);
    }
    free(k);
    op->kernel_state = NULL;
    wr_table_free(op->table);
    op->table = NULL;
}

void wr_keyed_fail_state_max(wr_op *op)
{
    const wr_budget *budget = op->home->budget;
    if (budget->bytes_max == 0 || budget->bytes <= budget->bytes_max) {
        wr_op_fail(
            op, WR_STATE_MAX,
            "keyed state has filled its address space (%llu bytes in this slot); operator %s subtask %u with %llu "
            "keys; raise the limit (ulimit -v), run with more slots, or forget keys",
            (unsigned long long)budget->bytes, op->node->uid, op->subtask,
            (unsigned long long)wr_table_count(op->table));
        return;
    }
    wr_op_fail(op, WR_STATE_MAX,
               "keyed state is larger than --state-max (%llu of %llu bytes in this slot); operator %s "
               "subtask %u with %llu keys; "
               "raise --state-max, run with more slots, or forget keys",
               (unsigned long long)budget->bytes, (unsigned long long)budget->bytes_max, op->node->uid, op->subtask,
               (unsigned long long)wr_table_count(op->table));
}

void wr_keyed_note(wr_op *op)
{
    if (op->home->budget->exceeded && !wr_op_failed(op)) wr_keyed_fail_state_max(op);
    atomic_store_explicit(&op->stats.keys, wr_table_count(op->table), memory_order_relaxed);
    atomic_store_explicit(&op->stats.state_bytes, wr_table_bytes(op->table), memory_order_relaxed);
}

/* Finds the states of the picked records (NULL: all) and runs the loop over them. */
static void run_found(wr_op *op, wr_keyed *k, const wr_view *view, const uint32_t *pick, uint32_t pick_n)
{
    weir_ctx *ctx = &op->ctx;
    if (k->reads)
        wr_table_peek(op->table, view->records, view->n, k->hash, pick, pick_n, k->state);
    else if (!wr_table_find(op->table, view->records, view->n, k->hash, pick, pick_n, k->state, k->fresh))
        wr_keyed_fail_state_max(op);
    ctx->pick = pick;
    ctx->pick_n = pick_n;
    bool stamps = k->time != NULL && k->time->ttl_ns != 0 && !k->reads;
    if (stamps) wr_ttl_before(op->table, k->state, pick, pick != NULL ? pick_n : view->n, k->time->seen);
    wr_op_call(op, op->def->on_left, "");
    if (stamps) wr_ttl_after(op->table, k->state, pick, pick != NULL ? pick_n : view->n, k->time->seen);
    ctx->pick = NULL;
}

static void keyed_push(wr_op *op, const wr_view *view, uint32_t port)
{
    (void)port;
    wr_keyed *k = op->kernel_state;
    weir_ctx *ctx = &op->ctx;
    uint32_t  n = view->n;
    if (k->time != NULL) wr_keyed_time_begin(op);
    wr_op_borrow(op, view);
    ctx->in = view->records;
    ctx->time = view->time;
    ctx->n = n;
    if (k->has_near && wr_near_begin(&k->near, op->table, n)) {
        k->near.probe.misses = 0;
        wr_op_call(op, op->def->on_near, "");
        uint32_t misses = k->near.probe.misses;
        check(misses <= n);
        if (misses > 0 && !wr_op_failed(op)) {
            wr_key_hash_picked(&op->node->key[0], view->records, op->def->left->size, k->near.probe.miss, misses,
                               k->hash);
            run_found(op, k, view, k->near.probe.miss, misses);
        }
        wr_near_end(&k->near, op->table, view->records, n, k->state, !wr_op_failed(op));
    } else {
        wr_key_hash(&op->node->key[0], view->records, op->def->left->size, n, k->hash);
        run_found(op, k, view, NULL, n);
    }
    wr_op_settle(op); /* before the table's: what was emitted may borrow from a cell */
    wr_table_settle(op->table);
    if (k->time != NULL) wr_keyed_time_arm(op);
    wr_keyed_note(op);
}

const wr_kernel wr_kernel_keyed = {.name = "keyed",
                                   .open = keyed_open,
                                   .push = keyed_push,
                                   .end = wr_keyed_end,
                                   .advance = wr_keyed_advance,
                                   .tick = wr_keyed_tick,
                                   .load = keyed_load,
                                   .close = keyed_close};

/* ---- one window over the whole input: the accumulator is the key's entry, results come at the end ---- */

/* So many at a time at most, then room is looked for: what is made of them further down the chain, and copied to each
 * channel, must fit into what may lie beyond the room of channels. Batches may leave half empty. */
enum { RESULTS = 128 };

static const weir_span WHOLE[RESULTS] = {[0 ... RESULTS - 1] = {{INT64_MIN + 1}, {INT64_MAX}}};

static bool window_end(wr_op *op)
{
    wr_keyed *k = op->kernel_state;
    weir_ctx *ctx = &op->ctx;
    if (k->scan.group == 0 && k->scan.entry == 0 && !wr_keyed_swept(op)) return false;
    if (k->keys == NULL) {
        size_t bytes = (size_t)op->def->left->size * RESULTS + WR_BATCH_SPARE_BYTES;
        k->keys = aligned_alloc(WR_CACHE_LINE, (bytes + WR_CACHE_LINE - 1) & ~(size_t)(WR_CACHE_LINE - 1));
        if (k->keys == NULL) {
            wr_op_fail(op, WR_MEMORY, "no memory for the results; operator %s", op->node->uid);
            return true;
        }
    }
    uint32_t n = wr_table_scan_next(op->table, &k->scan, k->state, k->keys, wr_home_results(op->home, RESULTS));
    if (n == 0) return true;
    op->home->results += n;
    ctx->n = n;
    ctx->key = k->keys;
    ctx->in = k->keys;
    ctx->window = WHOLE;
    ctx->time = NULL;
    wr_op_borrow(op, &(wr_view){0});
    wr_op_call(op, op->def->on_result, "making a result");
    wr_op_settle(op);
    ctx->window = NULL;
    ctx->key = NULL;
    return false;
}

const wr_kernel wr_kernel_aggregate = {.name = "aggregate",
                                       .open = keyed_open,
                                       .push = keyed_push,
                                       .end = window_end,
                                       .tick = wr_keyed_tick,
                                       .load = keyed_load,
                                       .close = keyed_close};
const wr_kernel wr_kernel_reduce = {.name = "reduce",
                                    .open = keyed_open,
                                    .push = keyed_push,
                                    .end = window_end,
                                    .tick = wr_keyed_tick,
                                    .load = keyed_load,
                                    .close = keyed_close};
