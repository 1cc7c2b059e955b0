/* Event times: from a field of the record; and watermarks: from the greatest time of each origin. */
#include "operators/time.h"
#include "base/check.h"
#include "operators/kernels.h"
#include <stdlib.h>

typedef struct origin {
    uint64_t number;
    int64_t  greatest; /* time; with an own generator: watermark. WEIR_NO_TIME: none yet */
    int64_t  since_ns; /* on the clock: silent since */
    bool     seen;     /* since the last look */
    bool     idle;
} origin;

/* What a snapshot knows of a split. The order of its bytes is that of the machine: little endian. */
typedef struct saved {
    uint64_t number;
    int64_t  greatest;
} saved;

/* Slot-owned. */
typedef struct timer {
    weir_time time[WR_BATCH_RECORDS_MAX]; /* of the view that is being passed on */
    weir_time mark[WR_BATCH_RECORDS_MAX]; /* what an own generator says after each record */
    origin   *open;
    uint32_t  count, capacity, last; /* last: the one that the last batch came from */
    bool      none;                  /* no origin was open at the last look, nor since none_ns on the clock */
    int64_t   none_ns;
    uint64_t  holder; /* the origin that op->holder names; 0: none */
    saved    *saved;
    uint32_t  saves;
} timer;

static wr_err timer_of(wr_op *op, timer **t, wr_errinfo *info)
{
    if (op->kernel_state == NULL) op->kernel_state = calloc(1, sizeof(timer));
    *t = op->kernel_state;
    return *t != NULL ? WR_OK : wr_fail(info, WR_MEMORY, "no memory for operator %s", op->node->uid);
}

static wr_err time_open(wr_op *op, wr_errinfo *info)
{
    timer *t;
    WR_TRY(timer_of(op, &t, info));
    if (op->watermark > op->mark) op->mark = op->watermark; /* restored: time does not go back */
    op->ctx.mark = t->mark;
    return WR_OK;
}

static void time_close(wr_op *op)
{
    timer *t = op->kernel_state;
    if (t == NULL) return;
    free(t->open);
    free(t->saved);
    free(t);
    op->kernel_state = NULL;
}

/* ---- origins ---- */

/* Origins mostly come in turns. */
static origin *find(timer *t, uint64_t number)
{
    if (t->last < t->count && t->open[t->last].number == number) return &t->open[t->last];
    for (uint32_t i = 1; i <= t->count; i++) {
        uint32_t at = (t->last + i) % t->count;
        if (t->open[at].number != number) continue;
        t->last = at;
        return &t->open[at];
    }
    return NULL;
}

static int64_t saved_greatest(const timer *t, uint64_t number)
{
    int64_t greatest = WEIR_NO_TIME;
    for (uint32_t i = 0; i < t->saves; i++) {
        if (t->saved[i].number == number && t->saved[i].greatest > greatest) greatest = t->saved[i].greatest;
    }
    return greatest;
}

void wr_time_open(wr_op *op, uint64_t number, int64_t clock_ns)
{
    timer *t = op->kernel_state;
    if (find(t, number) != NULL) return;
    if (t->count == t->capacity) {
        t->capacity = t->capacity ? 2 * t->capacity : 8;
        t->open = realloc(t->open, t->capacity * sizeof *t->open);
        if (t->open == NULL) abort();
    }
    t->open[t->count++] = (origin){.number = number, .greatest = saved_greatest(t, number), .since_ns = clock_ns};
}

void wr_time_close(wr_op *op, uint64_t number)
{
    timer  *t = op->kernel_state;
    origin *o = find(t, number);
    if (o != NULL) *o = t->open[--t->count];
}

/* Brings the open ones into the source's order, so that the next time little has to be looked for. */
void wr_time_follow(wr_op *op, const wr_op *source, int64_t clock_ns)
{
    timer   *t = op->kernel_state;
    uint32_t count = wr_source_splits(source);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t number = wr_source_split(source, i);
        if (i < t->count && t->open[i].number == number) continue;
        wr_time_open(op, number, clock_ns);
        origin *o = find(t, number), kept = *o;
        *o = t->open[i]; /* all before i are of the source already, so o stands at i or behind it */
        t->open[i] = kept;
    }
    t->count = count;
}

/* ---- records ---- */

static int64_t greatest_of(const weir_time *time, uint32_t n)
{
    int64_t greatest = WEIR_NO_TIME;
    for (uint32_t i = 0; i < n; i++) greatest = time[i].ns > greatest ? time[i].ns : greatest;
    return greatest;
}

/* Copies the times out of their field and returns the greatest. Two at a time, as each comparison waits for the one
 * before. */
static int64_t take_times_plain(weir_time *to, const char *at, uint32_t stride, uint32_t n)
{
    int64_t  even = WEIR_NO_TIME, odd = WEIR_NO_TIME;
    uint32_t i = 0;
    for (; i + 2 <= n; i += 2, at += 2 * (size_t)stride) {
        int64_t one, two;
        memcpy(&one, at, 8);
        memcpy(&two, at + stride, 8);
        to[i].ns = one;
        to[i + 1].ns = two;
        even = one > even ? one : even;
        odd = two > odd ? two : odd;
    }
    if (i < n) {
        memcpy(&to[i].ns, at, 8);
        even = to[i].ns > even ? to[i].ns : even;
    }
    return even > odd ? even : odd;
}

#if defined(__x86_64__)
/* Four at a time. */
__attribute__((target("avx2"))) static int64_t take_times_avx2(weir_time *to, const char *at, uint32_t stride,
                                                               uint32_t n)
{
    typedef int64_t four __attribute__((vector_size(32)));
    four            most = {WEIR_NO_TIME, WEIR_NO_TIME, WEIR_NO_TIME, WEIR_NO_TIME};
    uint32_t        i = 0;
    for (; i + 4 <= n; i += 4, at += 4 * (size_t)stride) {
        int64_t is[4];
        for (uint32_t j = 0; j < 4; j++) memcpy(&is[j], at + j * (size_t)stride, 8);
        four now = {is[0], is[1], is[2], is[3]}, later = now > most;
        memcpy(&to[i], &now, sizeof now);
        most = (now & later) | (most & ~later);
    }
    int64_t greatest = take_times_plain(to + i, at, stride, n - i);
    for (uint32_t j = 0; j < 4; j++) greatest = most[j] > greatest ? most[j] : greatest;
    return greatest;
}
#endif

static int64_t take_times(weir_time *to, const char *at, uint32_t stride, uint32_t n)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) return take_times_avx2(to, at, stride, n);
#endif
    return take_times_plain(to, at, stride, n);
}

static void call_watermark(wr_op *op)
{
    const weir_watermark_def *own = op->node->watermark;
    weir_loop                *loop = op->def->on_left;
    wr_user_call((wr_user){op, loop, "in its watermark function", own != NULL ? own->name : NULL, 0}, loop, &op->ctx);
}

static void time_push(wr_op *op, const wr_view *view, uint32_t port)
{
    (void)port;
    timer      *t = op->kernel_state;
    const char *at = view->records + op->node->time_offset;
    uint32_t    stride = op->def->left->size;
    check(view->n <= WR_BATCH_RECORDS_MAX);
    int64_t greatest = take_times(t->time, at, stride, view->n);
    if (op->def->on_left != NULL) {
        op->ctx.in = view->records;
        op->ctx.time = t->time;
        op->ctx.n = view->n;
        call_watermark(op);
        greatest = greatest_of(t->mark, view->n);
    }
    origin *o = find(t, op->home->split);
    if (o == NULL) { /* a split that was opened since the last look */
        wr_time_open(op, op->home->split, 0);
        o = find(t, op->home->split);
    }
    if (greatest > o->greatest) o->greatest = greatest;
    o->seen = true;
    wr_view passed = *view;
    passed.time = t->time;
    wr_op_pass(op, &passed);
}

/* ---- how far time has come ---- */

static bool silent(origin *o, int64_t idle_after, int64_t clock_ns)
{
    if (o->seen) {
        o->seen = false;
        o->since_ns = clock_ns;
    }
    return idle_after > 0 && clock_ns - o->since_ns >= idle_after;
}

/* Tells others which origin all wait for. */
static void name_holder(wr_op *op, timer *t, const origin *o)
{
    char         text[WR_HOLDER_BYTES] = "", name[WR_HOLDER_BYTES - 8] = "";
    const wr_op *head = op;
    t->holder = o != NULL ? o->number : 0;
    while (head->up != NULL) head = head->up;
    if (o != NULL && (o->number & WR_ORIGIN_CHANNEL) != 0)
        snprintf(text, sizeof text, "input channel %llu", (unsigned long long)(o->number & ~WR_ORIGIN_CHANNEL));
    else if (o != NULL && head->kernel == &wr_kernel_source)
        wr_source_name(head, o->number, name, sizeof name);
    if (name[0] != 0) snprintf(text, sizeof text, "split %s", name);
    wr_holder_set(&op->holder, text);
}

void wr_time_look(wr_op *op, int64_t clock_ns)
{
    timer        *t = op->kernel_state;
    const origin *holder = NULL;
    int64_t       least = INT64_MAX;
    uint32_t      active = 0;
    for (uint32_t i = 0; i < t->count; i++) {
        origin *o = &t->open[i];
        o->idle = silent(o, op->node->idle_after, clock_ns);
        if (o->idle) continue;
        active++;
        if (holder == NULL || o->greatest < least) holder = o;
        if (o->greatest < least) least = o->greatest;
    }
    if (t->holder != (holder != NULL ? holder->number : 0)) name_holder(op, t, holder);
    if (t->count > 0) {
        t->none = false;
    } else if (!t->none) { /* nothing to read counts as something silent */
        t->none = true;
        t->none_ns = clock_ns;
    }
    if (op->mark == INT64_MAX) return; /* it has ended */
    bool over = op->node->idle_after > 0 && clock_ns - t->none_ns >= op->node->idle_after;
    op->idle = t->none ? over : active == 0;
    if (active == 0 || least == WEIR_NO_TIME) return;
    if (op->def->on_left == NULL) {
        int64_t delay = op->node->max_delay;
        if (least <= INT64_MIN + 1 + delay + 1) return;
        least -= delay + 1;
    }
    if (least == INT64_MAX) least--; /* that is the end of the input, and nothing else */
    if (least > op->mark) op->mark = least;
}

int64_t wr_time_idle_at(const wr_op *op)
{
    const timer *t = op->kernel_state;
    int64_t      at = INT64_MAX;
    if (t->none && op->node->idle_after > 0 && !op->idle) at = t->none_ns + op->node->idle_after;
    for (uint32_t i = 0; op->node->idle_after > 0 && i < t->count; i++) {
        const origin *o = &t->open[i];
        if (!o->idle && o->since_ns + op->node->idle_after < at) at = o->since_ns + op->node->idle_after;
    }
    return at;
}

void wr_time_end(wr_op *op)
{
    op->mark = INT64_MAX;
    op->idle = false;
}

void wr_time_force(wr_op *op, int64_t mark)
{
    if (mark > op->mark) op->mark = mark;
}

/* ---- snapshots ---- */

static wr_err time_save(wr_op *op, const wr_barrier *barrier, wr_saver *saver, wr_errinfo *info)
{
    const timer *t = op->kernel_state;
    (void)barrier;
    (void)info;
    for (uint32_t i = 0; i < t->count; i++) {
        const origin *o = &t->open[i];
        saved         item = {o->number, o->greatest};
        /* A channel's number says nothing to another execution: its promise is in the watermark. */
        if (o->greatest != WEIR_NO_TIME && !(o->number & WR_ORIGIN_CHANNEL))
            wr_save_item(saver, WR_ITEM_TIME, &item, sizeof item);
    }
    return WR_OK;
}

/* All of them: any split may turn up here. */
static wr_err time_load(wr_op *op, const wr_manifest_op *from, const char *folder, wr_errinfo *info)
{
    timer *t;
    (void)folder;
    WR_TRY(timer_of(op, &t, info));
    t->saved = calloc(from->items + 1, sizeof *t->saved);
    if (t->saved == NULL) return wr_fail(info, WR_MEMORY, "no memory for operator %s", op->node->uid);
    for (uint32_t i = 0; i < from->items; i++) {
        const wr_item *item = &from->item[i];
        if (item->kind != WR_ITEM_TIME) continue;
        if (item->bytes != sizeof(saved)) {
            return wr_fail(
                info, WR_DAMAGED,
                "the snapshot's time of a split has %u bytes instead of %zu; operator %s; use another snapshot",
                item->bytes, sizeof(saved), op->node->uid);
        }
        memcpy(&t->saved[t->saves++], item->data, sizeof(saved));
    }
    return WR_OK;
}

const wr_kernel wr_kernel_time = {.name = "event time",
                                  .open = time_open,
                                  .push = time_push,
                                  .save = time_save,
                                  .load = time_load,
                                  .close = time_close};
