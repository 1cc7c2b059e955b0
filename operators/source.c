/* Sources: splits, polls, pace. */
#include "base/check.h"
#include "operators/kernels.h"
#include <stdlib.h>
#include <weir/io.h>

enum { POLLS_BEFORE_ANOTHER = 64 }; /* a split that is still not at its end then shares the reader with the next one */

/* One open split: its record, which is its position, and the reader that works on it. */
typedef struct split {
    void    *record, *local;
    char   **owned; /* far strings of the record, by field: ours */
    bool     idle, ended;
    uint32_t polls;
} split;

/* What other threads may touch of a source. */
struct weir_waker {
    const wr_env *env;
    wr_parker    *parker;
};

/* Slot-owned. */
typedef struct source {
    split    **open;
    uint32_t   count, capacity, next;
    uint32_t   verdict;
    void      *state[1];
    int64_t    wake_mono_ns; /* INT64_MAX: not asked for */
    int        wake_fd;      /* -1: none */
    double     allowed;      /* records that rate_max allows now */
    int64_t    paced_mono_ns;
    weir_waker waker;
} source;

static wr_err source_open(wr_op *op, wr_errinfo *info)
{
    source *s = calloc(1, sizeof *s);
    if (s == NULL) return wr_fail(info, WR_MEMORY, "no memory for source %s", op->node->uid);
    op->kernel_state = s;
    s->wake_mono_ns = INT64_MAX;
    s->wake_fd = -1;
    s->waker.env = op->home->env;
    s->waker.parker = op->home->parker;
    op->ctx.verdict = &s->verdict;
    op->ctx.state = s->state;
    op->ctx.n = 1;
    return WR_OK;
}

/* Far strings of the split live as long as the split: copies those that the user's code put there. */
static void split_own_strings(split *sp, const weir_type *type)
{
    for (uint32_t i = 0; i < type->fields; i++) {
        if (type->field[i].kind != WEIR_STR && type->field[i].kind != WEIR_BYTES) continue;
        weir_str *s = (weir_str *)(void *)((char *)sp->record + type->field[i].offset);
        if (s->len <= WEIR_STR_INLINE || s->u.far == sp->owned[i]) continue;
        char *copy = malloc(s->len);
        if (copy == NULL) abort();
        memcpy(copy, s->u.far, s->len);
        free(sp->owned[i]);
        s->u.far = sp->owned[i] = copy;
    }
}

static void split_close(wr_op *op, split *sp)
{
    source *s = op->kernel_state;
    s->state[0] = sp->record;
    op->ctx.local = sp->local;
    op->ctx.n = 1;
    if (op->def->close != NULL) wr_op_call(op, op->def->close);
    for (uint32_t i = 0; i < op->def->state->fields; i++) free(sp->owned[i]);
    free(sp->owned);
    free(sp->record);
    free(sp->local);
    free(sp);
}

void wr_source_add(wr_op *op, const void *record)
{
    source          *s = op->kernel_state;
    const weir_type *type = op->def->state;
    split           *sp = calloc(1, sizeof *sp);
    if (s->count == s->capacity) {
        s->capacity = s->capacity ? 2 * s->capacity : 8;
        s->open = realloc(s->open, s->capacity * sizeof *s->open);
    }
    if (sp != NULL) {
        sp->record = calloc(1, type->size);
        sp->local = calloc(1, op->def->local_size ? op->def->local_size : 1);
        sp->owned = calloc(type->fields + 1, sizeof *sp->owned);
    }
    if (sp == NULL || s->open == NULL || !sp->record || !sp->local || !sp->owned) abort();
    memcpy(sp->record, record, type->size);
    split_own_strings(sp, type);
    s->open[s->count++] = sp;
    s->state[0] = sp->record;
    op->ctx.local = sp->local;
    op->ctx.n = 1;
    s->verdict = 1;
    if (op->def->open != NULL) wr_op_call(op, op->def->open);
    if (s->verdict == 0 && !wr_op_failed(op)) {
        wr_op_fail(op, WR_USER_FAIL,
                   "the open function of the source returned false; operator %s subtask %u (%s:%u); "
                   "let it call weir_fail(ctx, reason)",
                   op->node->uid, op->subtask, op->def->file ? op->def->file : "?", op->def->line);
    }
}

/* How many records may be emitted now; UINT32_MAX without a limit. Lets at most a tenth of a second pile up. */
static uint32_t source_pace(wr_op *op, source *s)
{
    uint64_t rate = op->node->rate_max;
    if (rate == 0) return UINT32_MAX;
    int64_t now = op->home->mono_ns;
    if (s->paced_mono_ns == 0) s->paced_mono_ns = now - 1000000;
    s->allowed += (double)rate * 1e-9 * (double)(now - s->paced_mono_ns);
    double most = (double)rate / 10 > 1 ? (double)rate / 10 : 1;
    if (s->allowed > most) s->allowed = most;
    s->paced_mono_ns = now;
    if (s->allowed >= 1) return s->allowed > 1e9 ? UINT32_MAX : (uint32_t)s->allowed;
    int64_t until = now + (int64_t)((1 - s->allowed) / (double)rate * 1e9) + 1000;
    if (until < s->wake_mono_ns) s->wake_mono_ns = until;
    return 0;
}

enum wr_polled wr_source_poll(wr_op *op)
{
    source *s = op->kernel_state;
    if (s->count == 0) return WR_POLLED_EMPTY;
    if (s->wake_mono_ns <= op->home->mono_ns) s->wake_mono_ns = INT64_MAX;
    uint32_t room = source_pace(op, s);
    if (room == 0) return WR_POLLED_IDLE;
    if (s->next >= s->count) s->next = 0;
    split   *sp = s->open[s->next];
    wr_emit *e = &op->emit[0];
    s->state[0] = sp->record;
    op->ctx.local = sp->local;
    op->ctx.n = 1;
    op->rejected = false;
    s->verdict = 1;
    s->wake_fd = -1;
    e->pub->borrowed = NULL;
    e->pub->borrowed_bytes = 0;
    uint32_t n = e->capacity < room ? e->capacity : room;
    e->pub->end = e->base + (size_t)n * e->stride;
    uint64_t before = e->records;
    op->home->depth++;
    wr_op_call(op, op->def->on_left);
    uint32_t verdict = s->verdict;
    wr_op_settle(op);
    if (--op->home->depth == 0) wr_scratch_reset(&op->home->scratch);
    s->allowed -= (double)(e->records - before);
    if (op->def->state->fields) split_own_strings(sp, op->def->state);
    sp->polls++;
    sp->idle = verdict == 1;
    if (verdict == 2) {
        split_close(op, sp);
        s->open[s->next] = s->open[--s->count];
        return s->count > 0 ? WR_POLLED_MORE : WR_POLLED_EMPTY;
    }
    s->next++;
    if (verdict == 0) return WR_POLLED_MORE;
    for (uint32_t i = 0; i < s->count; i++) {
        if (!s->open[i]->idle) return WR_POLLED_MORE;
    }
    return e->records != before ? WR_POLLED_MORE : WR_POLLED_IDLE;
}

bool wr_source_wants(const wr_op *op)
{
    const source *s = op->kernel_state;
    for (uint32_t i = 0; i < s->count; i++) {
        if (!s->open[i]->idle && s->open[i]->polls < POLLS_BEFORE_ANOTHER) return false;
    }
    return true;
}

void wr_source_waits(const wr_op *op, int *fd, int64_t *until_mono_ns)
{
    const source *s = op->kernel_state;
    *fd = s->wake_fd;
    *until_mono_ns = s->wake_mono_ns;
}

static void source_close(wr_op *op)
{
    source *s = op->kernel_state;
    if (s == NULL) return;
    for (uint32_t i = 0; i < s->count; i++) split_close(op, s->open[i]);
    free(s->open);
    free(s);
    op->kernel_state = NULL;
}

void weir_wake_on_fd(weir_ctx *ctx, int fd)
{
    wr_op *op = ctx->engine;
    check(op->def->kind == WEIR_OP_SOURCE);
    ((source *)op->kernel_state)->wake_fd = fd;
}

void weir_wake_after(weir_ctx *ctx, weir_duration d)
{
    wr_op  *op = ctx->engine;
    source *s = op->kernel_state;
    check(op->def->kind == WEIR_OP_SOURCE);
    int64_t until = op->home->env->mono_ns(op->home->env->self) + d;
    if (until < s->wake_mono_ns) s->wake_mono_ns = until;
}

weir_waker *weir_waker_of(weir_ctx *ctx)
{
    wr_op *op = ctx->engine;
    check(op->def->kind == WEIR_OP_SOURCE);
    return &((source *)op->kernel_state)->waker;
}

/* The slot polls its sources whenever it is awake, so waking it is all. */
void weir_wake(weir_waker *waker)
{
    wr_parker_wake(waker->env, waker->parker);
}

const wr_kernel wr_kernel_source = {.name = "source", .open = source_open, .close = source_close};
