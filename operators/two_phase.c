/* Two-phase sinks: what was written becomes visible when the snapshot that holds it is durable.
 *
 * A committable waits, encoded, from PREPARE until its COMMIT has succeeded, and every snapshot taken meanwhile holds
 * it: so those of a snapshot that failed come with the next one, and a savepoint neither commits nor forgets. */
#include "base/check.h"
#include "base/failpoint.h"
#include "base/lease.h"
#include "base/sabotage.h"
#include "operators/kernels.h"
#include "operators/saver.h"
#include "snapshot/kept.h"
#include "wire/record.h"
#include "wire/schema.h"
#include <stdlib.h>

/* A committable that is not known to be committed. */
typedef struct prepared {
    uint64_t snapshot; /* the barrier at which it was prepared; 0: found in the snapshot that we start from */
    char    *bytes;
    size_t   n;
} prepared;

/* Slot-owned. */
typedef struct two_phase {
    uint32_t      verdict;
    bool          called, opened; /* called: open was called, so close is, too */
    prepared     *wait;           /* in the order of their preparation, so by snapshot, too */
    uint32_t      waiting, room;
    uint64_t      collecting; /* the barrier that is being prepared */
    uint64_t      complete;   /* newest snapshot known to be durable */
    uint32_t      attempts;   /* to commit what is complete, without success */
    uint32_t      was;        /* subtasks when the snapshot was taken that we start from; 0: from nothing */
    weir_op       take_def;
    wr_op         taker;   /* takes what PREPARE emits */
    wr_sink_file *file_of; /* or NULL: committables are all that there is */
    wr_kept_list  kept;    /* files in the savepoint that we start from; until open is over */
} two_phase;

static two_phase *state_of(wr_op *op)
{
    if (op->kernel_state == NULL) op->kernel_state = calloc(1, sizeof(two_phase));
    return op->kernel_state;
}

static void add_waiting(two_phase *s, uint64_t snapshot, char *bytes, size_t n)
{
    if (s->waiting == s->room) {
        s->room = s->room ? 2 * s->room : 8;
        s->wait = realloc(s->wait, s->room * sizeof *s->wait);
    }
    check(s->wait != NULL && bytes != NULL);
    s->wait[s->waiting++] = (prepared){snapshot, bytes, n};
}

static void drop_waiting(two_phase *s, uint32_t n)
{
    if (n == 0) return;
    for (uint32_t i = 0; i < n; i++) free(s->wait[i].bytes);
    s->waiting -= n;
    memmove(s->wait, s->wait + n, s->waiting * sizeof *s->wait);
}

/* The first n that wait, as records; their strings lie in the encoded bytes. NULL after it has failed the task. */
static char *decode_waiting(wr_op *op, uint32_t n)
{
    two_phase       *s = op->kernel_state;
    const weir_type *type = op->def->shared;
    char            *records = aligned_alloc(WR_CACHE_LINE, ((size_t)(n + 1) * type->size + 127) & ~(size_t)63);
    if (records == NULL) {
        wr_op_fail(op, WR_MEMORY, "no memory for %u prepared writes; sink %s subtask %u", n, op->node->uid,
                   op->subtask);
        return NULL;
    }
    for (uint32_t i = 0; i < n; i++)
        check(wr_record_decode(type, s->wait[i].bytes, s->wait[i].n, records + (size_t)i * type->size));
    return records;
}

/* Calls user code with n committables, outside of a push. */
static uint32_t call(wr_op *op, weir_loop *loop, const char *does, const void *records, uint32_t n, uint64_t snapshot)
{
    two_phase *s = op->kernel_state;
    s->verdict = 1;
    op->ctx.in = records;
    op->ctx.time = NULL;
    op->ctx.n = n;
    op->ctx.snapshot = snapshot;
    op->home->depth++;
    wr_op_call(op, loop, does);
    if (op->outs > 0) wr_op_settle(op);
    if (--op->home->depth == 0) wr_scratch_reset(&op->home->scratch);
    op->ctx.in = NULL;
    return s->verdict;
}

static void says_false(wr_op *op, const char *function)
{
    if (wr_op_failed(op)) return;
    wr_op_fail(op, WR_USER_FAIL,
               "the %s function of the sink returned false; operator %s subtask %u (%s:%u); "
               "let it call weir_fail(ctx, reason)",
               function, op->node->uid, op->subtask, op->def->file ? op->def->file : "?", op->def->line);
}

/* ---- prepare ---- */

static void take_push(wr_op *taker, const wr_view *view, uint32_t port)
{
    (void)port;
    wr_op           *op = taker->kernel_state;
    two_phase       *s = op->kernel_state;
    const weir_type *type = op->def->shared;
    for (uint32_t i = 0; i < view->n; i++) {
        size_t n = 0;
        char  *bytes = wr_record_encode(type, view->records + (size_t)i * type->size, &n);
        add_waiting(s, s->collecting, bytes, n);
    }
}

static const wr_kernel take_kernel = {.name = "committables", .push = take_push};

static wr_err taker_init(wr_op *op, wr_errinfo *info)
{
    two_phase *s = op->kernel_state;
    s->taker.def = &s->take_def;
    s->taker.node = op->node;
    s->taker.home = op->home;
    s->taker.kernel = &take_kernel;
    s->taker.kernel_state = op;
    check(op->outs >= 1 && op->emit[0].targets == 0); /* nobody else gets committables */
    op->emit[0].target = calloc(1, sizeof(wr_target));
    if (op->emit[0].target == NULL) return wr_fail(info, WR_MEMORY, "no memory for sink %s", op->node->uid);
    op->emit[0].target[0].op = &s->taker;
    op->emit[0].targets = 1;
    return WR_OK;
}

static bool prepare(wr_op *op, uint64_t id)
{
    two_phase *s = op->kernel_state;
    s->collecting = id;
    if (call(op, op->def->prepare, "in its prepare function", NULL, 1, 0) == 0) says_false(op, "prepare");
    return !wr_op_failed(op);
}

/* ---- commit ---- */

/* Tries once. False: later again, at op->due_mono_ns, or the task has failed. */
static bool commit_records(wr_op *op, const void *records, uint32_t n, uint64_t snapshot)
{
    two_phase *s = op->kernel_state;
    wr_failpoint("commit");
    if (wr_lease_over(op->home->env, op->home->lease_until_ns)) {
        wr_op_fail(op, WR_UNREACHABLE,
                   "nothing was heard of the JobManager for so long that another worker may commit by now; sink %s "
                   "subtask %u; it stops",
                   op->node->uid, op->subtask);
        return false;
    }
    uint32_t verdict = call(op, op->def->commit, "in its commit function", records, n, snapshot);
    op->due_mono_ns = INT64_MAX;
    if (wr_op_failed(op)) return false;
    if (verdict == WEIR_COMMITTED) {
        s->attempts = 0;
        return true;
    }
    if (verdict != WEIR_RETRY && verdict != WEIR_LOST) {
        wr_op_fail(op, WR_USER_FAIL,
                   "a commit returned %u; sink %s subtask %u (%s:%u); return WEIR_COMMITTED, WEIR_RETRY or WEIR_LOST",
                   verdict, op->node->uid, op->subtask, op->def->file ? op->def->file : "?", op->def->line);
        return false;
    }
    if (verdict == WEIR_LOST || s->attempts == WR_COMMIT_RETRIES_MAX) {
        wr_op_fail(op, verdict == WEIR_LOST ? WR_COMMIT_LOST : WR_USER_FAIL,
                   "%u prepared write%s of snapshot %llu cannot be committed%s; sink %s subtask %u; %s", n,
                   n == 1 ? "" : "s", (unsigned long long)snapshot,
                   verdict == WEIR_LOST ? " any more" : ", and it was tried many times", op->node->uid, op->subtask,
                   verdict == WEIR_LOST ? "look at what the sink logged; its output is incomplete"
                                        : "start the job again when what it writes to is there: it goes on from there");
        return false;
    }
    int64_t wait_ns = (int64_t)WR_COMMIT_RETRY_NS << (s->attempts < 9 ? s->attempts : 9);
    s->attempts++;
    op->due_mono_ns = op->home->mono_ns + wait_ns;
    return false;
}

static uint32_t complete_ones(const two_phase *s)
{
    uint32_t n = 0;
    while (n < s->waiting && s->wait[n].snapshot <= s->complete) n++;
    return n;
}

static bool commit_complete(wr_op *op)
{
    two_phase *s = op->kernel_state;
    uint32_t   n = complete_ones(s);
    if (n == 0 || wr_op_failed(op)) return true;
    char *records = decode_waiting(op, n);
    if (records == NULL) return false;
    bool done = commit_records(op, records, n, s->complete);
    free(records);
    if (done) drop_waiting(s, n);
    return done;
}

static void two_phase_complete(wr_op *op, uint64_t id)
{
    two_phase *s = op->kernel_state;
    if (s == NULL || !s->opened || id <= s->complete) return;
    s->complete = id;
    if (op->due_mono_ns != INT64_MAX) return; /* a retry is due anyhow, and takes these along */
    commit_complete(op);
}

/* ---- snapshots ---- */

/* What the newest completed snapshot has is committed, whatever becomes of us; the savepoint keeps the rest. */
static wr_err save_files(wr_op *op, const wr_barrier *barrier, wr_saver *saver, wr_errinfo *info)
{
    two_phase *s = op->kernel_state;
    char      *records = decode_waiting(op, s->waiting), *bytes;
    size_t     n;
    if (records == NULL) return wr_fail(info, op->failure.code, "%s", op->failure.text);
    wr_err err = WR_OK;
    for (uint32_t i = 0; i < s->waiting && err == WR_OK; i++) {
        char          path[WR_PATH_BYTES_MAX], name[WR_PATH_BYTES_MAX];
        const wr_kept kept = {.name = name, .path = path};
        const char   *record = records + (size_t)i * op->def->shared->size;
        if (s->wait[i].snapshot <= barrier->base || !s->file_of(op->ctx.local, record, path, name)) continue;
        err = wr_kept_encode(&kept, &bytes, &n, info);
        if (err != WR_OK) break;
        wr_save_item(saver, WR_ITEM_FILE, bytes, n);
        free(bytes);
    }
    free(records);
    return err;
}

static wr_err two_phase_save(wr_op *op, const wr_barrier *barrier, wr_saver *saver, wr_errinfo *info)
{
    two_phase *s = op->kernel_state;
    if (wr_sabotage.abort_committables) drop_waiting(s, s->waiting);
    if (!prepare(op, barrier->id)) return wr_fail(info, op->failure.code, "%s", op->failure.text);
    for (uint32_t i = 0; i < s->waiting; i++) wr_save_item(saver, WR_ITEM_COMMITTABLE, s->wait[i].bytes, s->wait[i].n);
    if (barrier->kind == WR_SAVEPOINT && s->file_of != NULL) WR_TRY(save_files(op, barrier, saver, info));
    if (wr_sabotage.commit_early) two_phase_complete(op, barrier->id);
    return WR_OK;
}

/* Each committable goes to exactly one subtask, however many there are now. */
static wr_err two_phase_load(wr_op *op, const wr_manifest_op *saved, const char *folder, wr_errinfo *info)
{
    const weir_type *type = op->def->shared;
    two_phase       *s = state_of(op);
    if (s == NULL) return wr_fail(info, WR_MEMORY, "no memory for sink %s", op->node->uid);
    s->was = saved->parallelism > 0 ? saved->parallelism : 1;
    char *record = malloc(type->size + 1);
    if (record == NULL) return wr_fail(info, WR_MEMORY, "no memory for sink %s", op->node->uid);
    wr_err err = WR_OK;
    for (uint32_t i = 0; i < saved->items && err == WR_OK; i++) {
        const wr_item *item = &saved->item[i];
        if (item->kind == WR_ITEM_FILE && item->from % op->subtasks == op->subtask)
            err = wr_kept_add(&s->kept, folder, item, info);
        if (item->kind != WR_ITEM_COMMITTABLE || item->from % op->subtasks != op->subtask) continue;
        if (saved->state != NULL && !wr_schema_same(saved->state, type)) {
            err = wr_fail(info, WR_STATE,
                          "the snapshot has prepared writes of another kind (record %s) than sink %s has now (%s); "
                          "finish the job with the pipeline that took it",
                          saved->state->name, op->node->uid, type->name);
        } else if (!wr_record_decode(type, item->data, item->bytes, record)) {
            err = wr_fail(info, WR_DAMAGED, "prepared write %u of sink %s is no %s", i, op->node->uid, type->name);
        } else {
            char *copy = malloc(item->bytes + 1);
            if (copy != NULL) memcpy(copy, item->data, item->bytes);
            add_waiting(s, 0, copy, item->bytes);
        }
    }
    free(record);
    return err;
}

/* ---- open ---- */

/* Under every id that was ours or is now: subtasks that there are no more have an heir. */
static bool recover(wr_op *op, const void *known, uint32_t n)
{
    two_phase *s = op->kernel_state;
    uint32_t   ids = s->was > op->subtasks ? s->was : op->subtasks;
    if (wr_sabotage.skip_recover) return true;
    for (uint32_t id = op->subtask; id < ids && !wr_op_failed(op); id += op->subtasks) {
        op->sink_id.subtask = id;
        if (call(op, op->def->recover, "in its recover function", known, n, op->home->epoch) == 0)
            says_false(op, "recover");
    }
    op->sink_id.subtask = op->subtask;
    return !wr_op_failed(op);
}

/* What the snapshot holds is committed, what it does not is ended. Known ones that were committed before are committed
 * again: nobody knows how far the last process came. Tries once: while it is not done no record comes, but the slot's
 * other tasks go on. */
static void take_over(wr_op *op)
{
    two_phase *s = op->kernel_state;
    uint32_t   n = s->waiting;
    char      *known = decode_waiting(op, n);
    if (known == NULL) return;
    s->opened = (n == 0 || commit_records(op, known, n, op->home->epoch)) && recover(op, known, n);
    free(known);
    if (!s->opened) return;
    drop_waiting(s, n);
    wr_kept_fini(&s->kept);
}

static bool two_phase_tick(wr_op *op)
{
    two_phase *s = op->kernel_state;
    if (op->home->mono_ns < op->due_mono_ns) return true;
    if (s->opened)
        commit_complete(op);
    else
        take_over(op);
    return true;
}

static bool two_phase_opened(const wr_op *op)
{
    const two_phase *s = op->kernel_state;
    return s->opened;
}

static wr_err two_phase_open(wr_op *op, wr_errinfo *info)
{
    two_phase *s = state_of(op);
    op->ctx.local = calloc(1, op->def->local_size ? op->def->local_size : 1);
    if (s == NULL || op->ctx.local == NULL) return wr_fail(info, WR_MEMORY, "no memory for sink %s", op->node->uid);
    weir_sink_id_of(&op->ctx);
    op->ctx.verdict = &s->verdict;
    WR_TRY(taker_init(op, info));
    s->called = true;
    if (op->def->open != NULL && call(op, op->def->open, "in its open function", NULL, 1, 0) == 0)
        says_false(op, "open");
    if (!wr_op_failed(op)) take_over(op);
    return wr_op_failed(op) ? wr_fail(info, op->failure.code, "%s", op->failure.text) : WR_OK;
}

/* ---- records ---- */

static void two_phase_push(wr_op *op, const wr_view *view, uint32_t port)
{
    (void)port;
    op->ctx.in = view->records;
    op->ctx.time = view->time;
    op->ctx.n = view->n;
    wr_op_call(op, op->def->on_left, "writing");
    if (op->dead != NULL) wr_op_settle(op);
}

static void two_phase_flush(wr_op *op)
{
    two_phase *s = op->kernel_state;
    if (s == NULL || !s->opened || op->def->flush == NULL) return;
    if (call(op, op->def->flush, "in its flush function", NULL, 1, 0) == 0) says_false(op, "flush");
}

/* Without snapshots the end of input is the one commit. With them the last snapshot prepares. */
static bool two_phase_end(wr_op *op)
{
    if (op->home->snapshots) return true;
    if (prepare(op, 0)) commit_complete(op); /* what is to be tried again, settled() holds the task for */
    return true;
}

/* A job is not finished, or stopped, without the commits of its last snapshot. */
static bool two_phase_settled(const wr_op *op)
{
    const two_phase *s = op->kernel_state;
    return s == NULL || !s->opened || complete_ones(s) == 0;
}

static void two_phase_close(wr_op *op)
{
    two_phase *s = op->kernel_state;
    if (s == NULL) return;
    if (s->called && op->def->close != NULL) call(op, op->def->close, "in its close function", NULL, 1, 0);
    drop_waiting(s, s->waiting);
    free(s->wait);
    wr_kept_fini(&s->kept);
    free(op->ctx.local);
    op->ctx.local = NULL;
    free(s);
    op->kernel_state = NULL;
}

bool wr_two_phase_restored(const wr_op *op)
{
    const two_phase *s = op->kernel_state;
    return s != NULL && s->was > 0;
}

uint32_t wr_two_phase_waiting(const wr_op *op)
{
    const two_phase *s = op->kernel_state;
    return s != NULL ? s->waiting : 0;
}

void wr_two_phase_files(wr_op *op, wr_sink_file *file_of)
{
    two_phase *s = op->kernel_state;
    s->file_of = file_of;
}

const wr_kept *wr_two_phase_kept(const wr_op *op, const char *name, size_t n, char *path)
{
    const two_phase *s = op->kernel_state;
    const wr_kept   *kept = wr_kept_find(&s->kept, name, n);
    if (kept != NULL) snprintf(path, WR_PATH_BYTES_MAX, "%s/%s", s->kept.folder, kept->file);
    return kept;
}

const wr_kernel wr_kernel_two_phase = {
    .name = "two-phase sink",
    .open = two_phase_open,
    .push = two_phase_push,
    .end = two_phase_end,
    .tick = two_phase_tick,
    .save = two_phase_save,
    .load = two_phase_load,
    .complete = two_phase_complete,
    .settled = two_phase_settled,
    .opened = two_phase_opened,
    .flush = two_phase_flush,
    .close = two_phase_close,
};
