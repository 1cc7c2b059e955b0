/* Sources: splits, polls, pace. */
#include "base/check.h"
#include "base/hash.h"
#include "base/sabotage.h"
#include "operators/enumerate.h"
#include "operators/kernels.h"
#include "operators/saver.h"
#include "wire/record.h"
#include <stdlib.h>
#include <weir/io.h>

enum { POSITIONS_MAX = 4 };         /* of a split, in snapshots that are not known to be durable */
enum { POLLS_BEFORE_ANOTHER = 64 }; /* a split that is still not at its end then shares the reader with the next one */

/* Where a split was at a snapshot, for the source's `durable`. */
typedef struct position {
    uint64_t id;
    char    *record;
    size_t   bytes;
} position;

/* One open split: its record, which is its position, and the reader that works on it. */
typedef struct split {
    void    *record, *local;
    char   **owned; /* far strings of the record, by field: ours */
    bool     opened, idle;
    int      always_fd, fd; /* wakes it when it is idle: as OPEN asked; as of now; -1: none */
    uint32_t polls;
    uint64_t number;               /* for wr_home.split */
    position saved[POSITIONS_MAX]; /* oldest first */
    uint32_t saveds;
    uint64_t last;   /* of one at its end: the first snapshot behind that; 0: none yet */
    char    *before; /* sabotage: as it was before the last poll */
    size_t   before_bytes;
} split;

/* What other threads may touch of a source. */
struct weir_waker {
    const wr_env *env;
    wr_parker    *parker;
    bool          given; /* to user code; set before other threads can have it */
};

/* Slot-owned. */
typedef struct source {
    split    **open;
    split     *held; /* not wanted yet, not opened */
    split    **over; /* at their end, but not known to be durable there: kept for `durable` alone */
    uint32_t   count, capacity, next, overs, overs_room;
    uint64_t   changes; /* of the list */
    split     *now;     /* whose function runs; NULL: none, or one that is not told of a ctx */
    bool       opening; /* it is OPEN */
    uint32_t   verdict;
    void      *state[1];
    int64_t    wake_mono_ns; /* INT64_MAX: not asked for */
    bool       sleeps;       /* its one split has nothing before that time, and nobody else can say otherwise */
    double     allowed;      /* records that rate_max allows now */
    int64_t    paced_mono_ns;
    weir_waker waker;
} source;

static void fail_memory(wr_op *op)
{
    wr_op_fail(op, WR_MEMORY,
               "no memory for a split; source %s subtask %u; give the process more, or run fewer subtasks",
               op->node->uid, op->subtask);
}

/* Far strings of the split live as long as the split: copies those that the user's code put there. */
static void split_own_strings(wr_op *op, split *sp, const weir_type *type)
{
    for (uint32_t i = 0; i < type->fields; i++) {
        if (type->field[i].kind != WEIR_STR && type->field[i].kind != WEIR_BYTES) continue;
        weir_str *s = (weir_str *)(void *)((char *)sp->record + type->field[i].offset);
        if (s->len <= WEIR_STR_INLINE || s->u.far == sp->owned[i]) continue;
        char *copy = malloc(s->len);
        if (copy == NULL) {
            fail_memory(op);
            *s = (weir_str){0}; /* nobody must read what it points at */
            continue;
        }
        memcpy(copy, s->u.far, s->len);
        free(sp->owned[i]);
        s->u.far = sp->owned[i] = copy;
    }
}

/* By its identity, the first field: the same wherever and whenever it is read. */
static uint64_t split_number(const weir_type *type, const char *record)
{
    if (type->fields == 0) return 1;
    const weir_field *f = &type->field[0];
    bool              text = f->kind == WEIR_STR || f->kind == WEIR_BYTES;
    uint64_t          hash = text ? wr_hash_str((const weir_str *)(const void *)(record + f->offset))
                                  : wr_hash_bytes(record + f->offset, f->size);
    return hash & ~WR_ORIGIN_CHANNEL;
}

uint32_t wr_source_splits(const wr_op *op)
{
    return ((const source *)op->kernel_state)->count;
}
uint64_t wr_source_split(const wr_op *op, uint32_t index)
{
    return ((const source *)op->kernel_state)->open[index]->number;
}
uint64_t wr_source_changes(const wr_op *op)
{
    return ((const source *)op->kernel_state)->changes;
}

/* The end of a long name says more than its beginning. */
void wr_source_name(const wr_op *op, uint64_t number, char *text, size_t bytes)
{
    const source    *s = op->kernel_state;
    const weir_type *type = op->def->state;
    text[0] = 0;
    for (uint32_t i = 0; i < s->count && type->fields > 0; i++) {
        if (s->open[i]->number != number) continue;
        wr_split_name(type, s->open[i]->record, text, bytes);
        return;
    }
}

/* Whole numbers only: of those a position is made, and their texts are short. False: it is none. */
static bool number_text(const weir_field *f, const char *at, char text[24])
{
    uint64_t value = 0;
    if (f->kind < WEIR_I8 || f->kind > WEIR_U64) return false;
    memcpy(&value, at, f->size);
    uint32_t unused = 64 - 8 * f->size;
    if (f->kind <= WEIR_I64)
        snprintf(text, 24, "%lld", (long long)((int64_t)(value << unused) >> unused));
    else
        snprintf(text, 24, "%llu", (unsigned long long)value);
    return true;
}

void wr_source_position(const wr_op *op, char *text, size_t bytes)
{
    const source    *s = op->kernel_state;
    const weir_type *type = op->def->state;
    char             name[64], number[24];
    const char      *before = " (";
    size_t           n = (size_t)snprintf(text, bytes, "no split");
    if (s->now == NULL) return;
    wr_source_name(op, s->now->number, name, sizeof name);
    n = (size_t)snprintf(text, bytes, "split %s", name);
    for (uint32_t i = 1; i < type->fields && n < bytes; i++) {
        const weir_field *f = &type->field[i];
        if (!number_text(f, (const char *)s->now->record + f->offset, number)) continue;
        n += (size_t)snprintf(text + n, bytes - n, "%s%s %s", before, f->name, number);
        before = ", ";
    }
    if (n < bytes && *before == ',') snprintf(text + n, bytes - n, ")");
}

static void split_close(wr_op *op, split *sp)
{
    source *s = op->kernel_state;
    s->state[0] = sp->record;
    op->ctx.local = sp->local;
    op->ctx.n = 1;
    if (sp->opened && op->def->close != NULL) wr_op_call(op, op->def->close, "in its close function");
    for (uint32_t i = 0; i < op->def->state->fields; i++) free(sp->owned[i]);
    for (uint32_t i = 0; i < sp->saveds; i++) free(sp->saved[i].record);
    free(sp->before);
    free(sp->owned);
    free(sp->record);
    free(sp->local);
    free(sp);
}

/* NULL: the operator has failed. */
static split *split_new(wr_op *op, const void *record)
{
    const weir_type *type = op->def->state;
    split           *sp = calloc(1, sizeof *sp);
    if (sp != NULL) {
        sp->record = calloc(1, type->size);
        sp->local = calloc(1, op->def->local_size ? op->def->local_size : 1);
        sp->owned = calloc(type->fields + 1, sizeof *sp->owned);
    }
    if (sp == NULL || !sp->record || !sp->local || !sp->owned) {
        fail_memory(op);
        if (sp != NULL) {
            free(sp->record);
            free(sp->local);
            free(sp->owned);
        }
        free(sp);
        return NULL;
    }
    memcpy(sp->record, record, type->size);
    sp->always_fd = sp->fd = -1;
    sp->number = split_number(type, record);
    split_own_strings(op, sp, type);
    return sp;
}

/* False: the operator has failed, and the split is gone. sp may be NULL. */
static bool split_list(wr_op *op, split *sp)
{
    source *s = op->kernel_state;
    if (sp == NULL) return false;
    if (s->count == s->capacity) {
        uint32_t more = s->capacity ? 2 * s->capacity : 8;
        split  **open = realloc(s->open, more * sizeof *s->open);
        if (open == NULL) {
            fail_memory(op);
            split_close(op, sp);
            return false;
        }
        s->open = open;
        s->capacity = more;
    }
    s->open[s->count++] = sp;
    s->changes++;
    return true;
}

static void split_open(wr_op *op, split *sp)
{
    source *s = op->kernel_state;
    sp->opened = true;
    s->state[0] = sp->record;
    op->ctx.local = sp->local;
    op->ctx.n = 1;
    s->verdict = 1;
    s->now = sp;
    s->opening = true;
    if (op->def->open != NULL) wr_op_call(op, op->def->open, "in its open function");
    s->opening = false;
    s->now = NULL;
    if (s->verdict == 0 && !wr_op_failed(op)) {
        wr_op_fail(op, WR_USER_FAIL,
                   "the open function of the source returned false; operator %s subtask %u (%s:%u); "
                   "let it call weir_fail(ctx, reason)",
                   op->node->uid, op->subtask, op->def->file ? op->def->file : "?", op->def->line);
    }
}

void wr_source_add(wr_op *op, const void *record)
{
    split *sp = split_new(op, record);
    if (split_list(op, sp)) split_open(op, sp);
}

void wr_source_hold(wr_op *op, const void *record)
{
    source *s = op->kernel_state;
    check(s->held == NULL);
    s->held = split_new(op, record);
}

void wr_source_add_held(wr_op *op)
{
    source *s = op->kernel_state;
    split  *sp = s->held;
    s->held = NULL;
    if (split_list(op, sp)) split_open(op, sp);
}

/* ---- life and snapshots ---- */

static source *source_state(wr_op *op)
{
    if (op->kernel_state != NULL) return op->kernel_state;
    source *s = calloc(1, sizeof *s);
    if (s == NULL) return NULL;
    op->kernel_state = s;
    s->wake_mono_ns = INT64_MAX;
    s->waker.env = op->home->env;
    s->waker.parker = op->home->parker;
    op->ctx.verdict = &s->verdict;
    op->ctx.state = s->state;
    op->ctx.n = 1;
    return s;
}

static wr_err source_open(wr_op *op, wr_errinfo *info)
{
    source *s = source_state(op);
    if (s == NULL) return wr_fail(info, WR_MEMORY, "no memory for source %s", op->node->uid);
    for (uint32_t i = 0; i < s->count && !wr_op_failed(op); i++) split_open(op, s->open[i]); /* those of a snapshot */
    return wr_op_failed(op) ? wr_fail(info, op->failure.code, "%s", op->failure.text) : WR_OK;
}

/* With the number of subtasks of then, each takes its own back; else they go round. */
static bool is_mine(const wr_op *op, const wr_manifest_op *saved, const wr_item *item, uint32_t number)
{
    if (saved->parallelism == op->subtasks) return item->from == op->subtask;
    return number % op->subtasks == op->subtask;
}

static wr_err source_load(wr_op *op, const wr_manifest_op *saved, const char *folder, wr_errinfo *info)
{
    (void)folder;
    const weir_type *type = op->def->state;
    source          *s = source_state(op);
    char            *record = calloc(1, type->size);
    wr_err           err = WR_OK;
    uint32_t         number = 0;
    if (s == NULL || record == NULL) err = wr_fail(info, WR_MEMORY, "no memory for source %s", op->node->uid);
    for (uint32_t i = 0; i < saved->items && err == WR_OK; i++) {
        const wr_item *item = &saved->item[i];
        if (item->kind != WR_ITEM_SPLIT || !is_mine(op, saved, item, number++)) continue;
        if (wr_record_decode(type, item->data, item->bytes, record)) {
            if (!split_list(op, split_new(op, record))) err = wr_fail(info, op->failure.code, "%s", op->failure.text);
        } else
            err = wr_fail(info, WR_STATE,
                          "item %u is no split of type %s; source %s; restore with the pipeline that took the snapshot",
                          i, type->name, op->node->uid);
    }
    free(record);
    return err;
}

/* Where it is now, for `durable`. Of many snapshots that never completed the oldest are forgotten. */
static void note_position(wr_op *op, split *sp, uint64_t id)
{
    if (sp->saveds == POSITIONS_MAX) {
        free(sp->saved[0].record);
        memmove(sp->saved, sp->saved + 1, (POSITIONS_MAX - 1) * sizeof *sp->saved);
        sp->saveds--;
    }
    position *p = &sp->saved[sp->saveds++];
    p->id = id;
    p->record = wr_record_encode(op->def->state, sp->record, &p->bytes);
}

static wr_err source_save(wr_op *op, const wr_barrier *barrier, wr_saver *saver, wr_errinfo *info)
{
    (void)info;
    source *s = op->kernel_state;
    for (uint32_t i = wr_sabotage.lose_split ? 1 : 0; i < s->count; i++) {
        split *sp = s->open[i];
        if (wr_sabotage.position_behind && sp->before != NULL)
            wr_save_item(saver, WR_ITEM_SPLIT, sp->before, sp->before_bytes);
        else
            wr_save_record(saver, WR_ITEM_SPLIT, op->def->state, sp->record);
        if (op->def->durable != NULL && barrier->kind == WR_SNAPSHOT) note_position(op, sp, barrier->id);
    }
    for (uint32_t i = 0; i < s->overs; i++) {
        if (s->over[i]->last != 0 || barrier->kind != WR_SNAPSHOT) continue;
        s->over[i]->last = barrier->id;
        note_position(op, s->over[i], barrier->id);
    }
    if (s->held != NULL) wr_save_record(saver, WR_ITEM_SPLIT, op->def->state, s->held->record);
    return WR_OK;
}

/* The newest position that is durable; those before it went without saying. */
static void split_durable(wr_op *op, split *sp, uint64_t id, void *record)
{
    uint32_t n = 0;
    while (n < sp->saveds && sp->saved[n].id <= id) n++;
    if (n == 0) return;
    const position *p = &sp->saved[n - 1];
    const void     *other = record;
    check(wr_record_decode(op->def->state, p->record, p->bytes, record));
    ((source *)op->kernel_state)->state[0] = sp->record;
    op->ctx.other = &other;
    op->ctx.local = sp->local;
    op->ctx.n = 1;
    wr_op_call(op, op->def->durable, "in its durable function");
    op->ctx.other = NULL;
    for (uint32_t i = 0; i < n; i++) free(sp->saved[i].record);
    memmove(sp->saved, sp->saved + n, (sp->saveds - n) * sizeof *sp->saved);
    sp->saveds -= n;
}

static void source_complete(wr_op *op, uint64_t id)
{
    source *s = op->kernel_state;
    if (s == NULL || op->def->durable == NULL) return;
    void *record = calloc(1, op->def->state->size);
    check(record != NULL);
    for (uint32_t i = 0; i < s->count && !wr_op_failed(op); i++) split_durable(op, s->open[i], id, record);
    uint32_t left = 0;
    for (uint32_t i = 0; i < s->overs; i++) {
        split *sp = s->over[i];
        if (!wr_op_failed(op)) split_durable(op, sp, id, record);
        if (sp->last == 0 || sp->last > id || wr_op_failed(op))
            s->over[left++] = sp;
        else
            split_close(op, sp);
    }
    s->overs = left;
    free(record);
}

static void source_close(wr_op *op)
{
    source *s = op->kernel_state;
    if (s == NULL) return;
    for (uint32_t i = 0; i < s->count; i++) split_close(op, s->open[i]);
    if (s->held != NULL) split_close(op, s->held);
    for (uint32_t i = 0; i < s->overs; i++) split_close(op, s->over[i]);
    free(s->over);
    free(s->open);
    free(s);
    op->kernel_state = NULL;
}

/* ---- polls ---- */

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

/* Its end is a position like any other: the reader hears when that is durable. */
static void split_is_over(wr_op *op, split *sp)
{
    source *s = op->kernel_state;
    if (op->def->durable == NULL || !op->home->snapshots || wr_op_failed(op)) {
        split_close(op, sp);
        return;
    }
    if (s->overs == s->overs_room) {
        uint32_t room = s->overs_room == 0 ? 8 : 2 * s->overs_room;
        split  **more = realloc(s->over, room * sizeof *more);
        if (more == NULL) {
            fail_memory(op);
            split_close(op, sp);
            return;
        }
        s->over = more;
        s->overs_room = room;
    }
    s->over[s->overs++] = sp;
}

static void fail_verdict(wr_op *op, uint32_t verdict)
{
    wr_op_fail(op, WR_USER_FAIL,
               "a poll returned %u; source %s subtask %u (%s:%u); return WEIR_MORE, WEIR_IDLE or WEIR_END", verdict,
               op->node->uid, op->subtask, op->def->file ? op->def->file : "?", op->def->line);
}

enum wr_polled wr_source_poll(wr_op *op)
{
    source *s = op->kernel_state;
    if (s->count == 0) return WR_POLLED_EMPTY;
    if (s->sleeps && s->count == 1 && s->wake_mono_ns > op->home->mono_ns)
        return WR_POLLED_IDLE; /* else a slot with time to spare would look like one that is busy */
    if (s->wake_mono_ns <= op->home->mono_ns) s->wake_mono_ns = INT64_MAX;
    s->sleeps = false;
    uint32_t room = source_pace(op, s);
    if (room == 0) return WR_POLLED_IDLE;
    if (s->next >= s->count) s->next = 0;
    split   *sp = s->open[s->next];
    wr_emit *e = &op->emit[0];
    s->state[0] = sp->record;
    op->ctx.local = sp->local;
    op->ctx.n = 1;
    op->home->split = sp->number;
    op->rejected = false;
    s->verdict = 1;
    s->now = sp;
    sp->fd = sp->always_fd;
    e->pub->borrowed = NULL;
    e->pub->borrowed_bytes = 0;
    uint32_t n = e->capacity < room ? e->capacity : room;
    if (op->home->piece != 0 && op->home->piece < n) n = op->home->piece;
    e->pub->end = e->base + (size_t)n * e->stride;
    uint64_t before = e->records;
    if (__builtin_expect(wr_sabotage.position_behind, 0)) {
        free(sp->before);
        sp->before = wr_record_encode(op->def->state, sp->record, &sp->before_bytes);
    }
    op->home->depth++;
    wr_op_call(op, op->def->on_left, "polling");
    op->ctx.at = 0; /* fused operators count what was emitted */
    uint32_t verdict = s->verdict;
    wr_op_settle(op);
    if (--op->home->depth == 0) wr_scratch_reset(&op->home->scratch);
    s->now = NULL;
    s->allowed -= (double)(e->records - before);
    if (op->def->state->fields) split_own_strings(op, sp, op->def->state);
    sp->polls++;
    sp->idle = verdict == 1;
    if (verdict == 2) {
        s->open[s->next] = s->open[--s->count];
        s->changes++;
        split_is_over(op, sp);
        return s->count > 0 ? WR_POLLED_MORE : WR_POLLED_EMPTY;
    }
    s->next++;
    if (verdict > WEIR_END && !wr_op_failed(op)) {
        fail_verdict(op, verdict);
        return WR_POLLED_MORE;
    }
    s->sleeps = verdict == 1 && s->count == 1 && s->wake_mono_ns != INT64_MAX && sp->fd < 0 && !s->waker.given;
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

void wr_source_waits(const wr_op *op, int *fd, uint32_t *fds, int64_t *until_mono_ns)
{
    const source *s = op->kernel_state;
    *until_mono_ns = s->wake_mono_ns;
    for (uint32_t i = 0; i < s->count; i++) {
        if (s->open[i]->fd < 0) continue;
        if (*fds < WR_PARK_FDS_MAX) {
            fd[(*fds)++] = s->open[i]->fd;
        } else if (*until_mono_ns > op->home->mono_ns + WR_UNWATCHED_NS) {
            *until_mono_ns = op->home->mono_ns + WR_UNWATCHED_NS; /* nobody watches it: it is asked */
        }
    }
}

/* Of the source whose open or poll function runs. NULL: none does, and the operator has failed. */
static source *source_now(weir_ctx *ctx, const char *verb)
{
    wr_op  *op = ctx->engine;
    source *s = op->def->kind == WEIR_OP_SOURCE ? op->kernel_state : NULL;
    if (s != NULL && s->now != NULL) return s;
    wr_op_fail(op, WR_USER_FAIL, "%s: call it in the open function or the body of a source; operator %s subtask %u",
               verb, op->node->uid, op->subtask);
    return NULL;
}

void weir_wake_on_fd(weir_ctx *ctx, int fd)
{
    source *s = source_now(ctx, "weir_wake_on_fd");
    if (s == NULL) return;
    s->now->fd = fd;
    if (s->opening) s->now->always_fd = fd;
}

void weir_wake_after(weir_ctx *ctx, weir_duration d)
{
    const wr_op *op = ctx->engine;
    source      *s = source_now(ctx, "weir_wake_after");
    int64_t      until;
    if (s == NULL) return;
    if (__builtin_add_overflow(op->home->env->mono_ns(op->home->env->self), d, &until) || until == INT64_MAX)
        until = d > 0 ? INT64_MAX - 1 : 0; /* INT64_MAX: not asked for */
    if (until < s->wake_mono_ns) s->wake_mono_ns = until;
}

weir_waker *weir_waker_of(weir_ctx *ctx)
{
    static weir_waker nobody; /* for who goes on, although the operator has failed */
    source           *s = source_now(ctx, "weir_waker_of");
    if (s == NULL) return &nobody;
    s->waker.given = true;
    return &s->waker;
}

/* The slot polls its sources whenever it is awake, so waking it is all. */
void weir_wake(weir_waker *waker)
{
    if (waker->env != NULL) wr_parker_wake(waker->env, waker->parker);
}

const wr_kernel wr_kernel_source = {.name = "source",
                                    .open = source_open,
                                    .save = source_save,
                                    .load = source_load,
                                    .complete = source_complete,
                                    .close = source_close};
