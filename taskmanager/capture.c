#include "taskmanager/capture.h"
#include "base/check.h"
#include "base/failpoint.h"
#include "snapshot/capture.h"
#include "taskmanager/tasklet.h"
#include "wire/names.h"

enum {
    QUANTUM_LEAST = 32 << 10, /* less is not worth a step */
    QUANTUM_MOST = 256 << 10,
    QUANTUM_WAITING = 1 << 20,
    SHARE = 4,          /* a quarter of the time while records wait, three in a hurry */
    SHARE_PATIENT = 16, /* records that wait for a slot with time to spare will not wait long */
    CREDIT_NS = 300000, /* no more piles up */
    SPARE_SHARE = 32,   /* a slot with so much of its time to spare is not saturated */
    ROOM_SHARE = 2,     /* old bytes: at most as many as the state has, and half of what --state-max leaves */
    LAYERS_MAX = 16,    /* increments over one full file */
    CHAIN_SHARE = 2,    /* they have at most half of its bytes */
    COUNT_EVERY = 8     /* snapshots without marks, until what changes is counted again */
};
#define NS_PER_BYTE_FIRST 0.25
#define NS_PER_BYTE_LEAST 0.01

#define EACH_TABLE(T, I)                                                                                               \
    for (uint32_t I = 0; I < (T)->ops; I++)                                                                            \
        if ((T)->op[I].table != NULL)

bool wr_capture_wanted(const wr_tasklet *t)
{
    EACH_TABLE(t, i) return true;
    return false;
}

/* What was written last is below the next one. */
static wr_chain with_last(wr_chain c)
{
    if (c.last == 0) return c;
    c.since = c.marking ? c.last : 0;
    c.last = 0;
    if (!c.last_increment) {
        c.base_bytes = c.last_bytes;
        c.bytes = c.layers = 0;
    } else {
        c.bytes += c.last_bytes;
        c.layers++;
    }
    return c;
}

/* Whether one more increment pays. One of nearly everything would not: it makes the next one full, keeps the full file
 * below it in use, and is written to new blocks of the disk, where a full one overwrites a retired file. */
static bool goes_on(const wr_chain *c)
{
    return c->since != 0 && c->layers < LAYERS_MAX && c->bytes * CHAIN_SHARE <= c->base_bytes &&
           c->changed * CHAIN_SHARE <= c->base_bytes;
}

/* As if what was written last completes. */
static void foresee(wr_capture_state *c)
{
    const wr_chain next = with_last(c->chain);
    atomic_store_explicit(&c->full_next, !goes_on(&next), memory_order_relaxed);
}

/* Who waits for storage. */
static wr_parker *parker_of(const wr_tasklet *t)
{
    return t->home->scribe != NULL ? wr_scribe_parker(t->home->scribe) : t->home->parker;
}

wr_err wr_capture_mark(wr_tasklet *t, wr_errinfo *info)
{
    t->barriers.capture.chain.marking = true;
    foresee(&t->barriers.capture);
    EACH_TABLE(t, i)
    {
        if (t->home->scribe != NULL) wr_capture_apart(t->op[i].table);
        if (t->barriers.capture.named_by == 0) {
            t->barriers.capture.named_by = i + 1;
            WR_TRY(wr_image_prepare(t->op[i].table, t->home->env, parker_of(t), info));
        }
        WR_TRY(wr_table_mark(t->op[i].table, true, info));
    }
    return WR_OK;
}

/* ---- files made in advance ---- */

static void name_of(const wr_tasklet *t, const wr_barrier *b, char name[WR_FILE_NAME_BYTES])
{
    const wr_op *op = &t->op[t->barriers.capture.named_by - 1];
    wr_name_state(name, b->epoch, b->id, op->node->id, op->node->uid, op->subtask);
}

int wr_capture_create(const wr_tasklet *t, const wr_barrier *barrier, wr_spares *spares, bool *reused)
{
    char                    name[WR_FILE_NAME_BYTES];
    const wr_capture_state *c = &t->barriers.capture;
    *reused = false;
    if (t->barriers.folder == NULL || c->named_by == 0) return 0;
    name_of(t, barrier, name);
    /* An increment is small, and what is left of a large spare would have to be taken away. */
    if (barrier->kind == WR_SNAPSHOT && atomic_load_explicit(&c->full_next, memory_order_relaxed)) {
        int file = wr_spares_take(spares, name);
        *reused = file > 0;
        if (*reused) return file;
    }
    return wr_image_create(t->home->env, t->barriers.folder, name);
}

void wr_capture_drop(const wr_tasklet *t, const wr_barrier *barrier, int file)
{
    char name[WR_FILE_NAME_BYTES];
    if (file <= 0) return;
    if (t->home->lease_until_ns != NULL && barrier->id <= t->barriers.passed) {
        t->home->env->close(t->home->env->self, file); /* the barrier came before the order: it is the one in use */
        return;
    }
    name_of(t, barrier, name);
    wr_image_drop(t->home->env, t->barriers.folder, name, file);
}

static void drop_given(wr_tasklet *t)
{
    wr_capture_state *c = &t->barriers.capture;
    if (c->file_id == 0) return;
    wr_capture_drop(t, &(wr_barrier){.id = c->file_id, .epoch = c->file_epoch}, c->file);
    c->file_id = 0;
}

void wr_capture_give(wr_tasklet *t, const wr_barrier *barrier, int file)
{
    wr_capture_state *c = &t->barriers.capture;
    if (barrier->id <= t->barriers.passed) {
        wr_capture_drop(t, barrier, file);
        return;
    }
    drop_given(t); /* of one that never came */
    c->file_id = barrier->id;
    c->file_epoch = barrier->epoch;
    c->file = file;
}

void wr_capture_forget(wr_tasklet *t, uint64_t id)
{
    if (t->barriers.capture.file_id == id) drop_given(t);
}

static int take_given(wr_tasklet *t, const wr_barrier *barrier)
{
    wr_capture_state *c = &t->barriers.capture;
    if (c->file_id != barrier->id || c->file_epoch != barrier->epoch) return 0;
    c->file_id = 0;
    return c->file;
}

static uint64_t undo_room(const wr_tasklet *t)
{
    uint64_t bytes = 0;
    EACH_TABLE(t, i) bytes += wr_capture_undo_room(t->op[i].table);
    return bytes;
}

static uint64_t table_bytes(const wr_tasklet *t)
{
    uint64_t bytes = 0;
    EACH_TABLE(t, i) bytes += wr_table_bytes(t->op[i].table);
    return bytes;
}

/* ---- which changes are marked ---- */

static void outcome(wr_tasklet *t, bool durable)
{
    EACH_TABLE(t, i) wr_capture_outcome(t->op[i].table, durable);
}

/* The coordinator says which snapshot is the newest that completed: so it is known what became of ours. */
static void settle_last(wr_tasklet *t, uint64_t base)
{
    wr_chain *c = &t->barriers.capture.chain;
    if (c->last == 0) return;
    bool durable = c->last == base;
    outcome(t, durable);
    if (durable) *c = with_last(*c);
    c->last = 0;
}

/* ---- whether changes are marked ----
 * Marks cost a cheap operator a twentieth of its time, and lead to nothing where more than half of the state changes
 * between two snapshots, as all of those are full ones. There they are off, until the keys that were met since the last
 * barrier are too few for so many changes, and now and then for one interval, to count. */

static void unmark(wr_tasklet *t)
{
    wr_capture_state *c = &t->barriers.capture;
    EACH_TABLE(t, i)
    {
        (void)wr_table_mark(t->op[i].table, false, NULL); /* only the other way can fail */
    }
    c->chain.marking = false;
    c->chain.since = 0;
    c->unmarked = 0;
}

/* What has changed was counted: it may be too much. */
static void judge_changes(wr_tasklet *t)
{
    const wr_chain next = with_last(t->barriers.capture.chain);
    if (next.changed * CHAIN_SHARE > next.base_bytes) unmark(t);
}

/* At a barrier, before its capture begins. */
static wr_err mark_again(wr_tasklet *t, wr_errinfo *info)
{
    wr_capture_state *c = &t->barriers.capture;
    uint64_t          met = 0, keys = 0;
    EACH_TABLE(t, i)
    {
        met += wr_table_met(t->op[i].table);
        keys += wr_table_count(t->op[i].table);
    }
    bool few = met * CHAIN_SHARE <= keys;
    if (c->chain.marking || (!few && ++c->unmarked < COUNT_EVERY)) return WR_OK;
    EACH_TABLE(t, i) WR_TRY(wr_table_mark(t->op[i].table, true, info));
    c->chain.marking = true; /* the next one is full as well, and counts */
    return WR_OK;
}

static bool may_be_increment(const wr_chain *c, const wr_barrier *b)
{
    return b->kind == WR_SNAPSHOT && b->base != 0 && c->since == b->base && goes_on(c);
}

static void free_writer(wr_tasklet *t)
{
    wr_capture_state *c = &t->barriers.capture;
    if (atomic_load_explicit(&c->job.state, memory_order_acquire) == WR_SCRIBE_WRITING)
        wr_scribe_take_back(t->home->scribe, &c->job);
    atomic_store_explicit(&c->job.state, WR_SCRIBE_NONE, memory_order_relaxed);
    if (c->writer != NULL) wr_image_writer_free(c->writer);
    c->writer = NULL;
}

/* The file is written, or will never be. */
static void close_capture(wr_tasklet *t, bool written)
{
    wr_capture_state *c = &t->barriers.capture;
    free_writer(t);
    if (!written || c->barrier.kind != WR_SNAPSHOT) { /* else a later barrier tells what became of it */
        outcome(t, false);
        c->chain.last = 0;
    }
    foresee(c);
}

/* ---- begin and end ---- */

static wr_err make_writer(wr_tasklet *t, const wr_barrier *b, wr_errinfo *info)
{
    wr_capture_state *c = &t->barriers.capture;
    char              name[WR_FILE_NAME_BYTES];
    name_of(t, b, name);
    wr_image_config config = {.env = t->home->env,
                              .parker = parker_of(t),
                              .folder = t->barriers.folder,
                              .name = name,
                              .file = take_given(t, b),
                              .raced = t->home->lease_until_ns != NULL,
                              .job = t->home->job,
                              .lineage = t->barriers.lineage,
                              .barrier = *b};
    WR_TRY(wr_image_writer_new(&c->writer, &config, info));
    EACH_TABLE(t, i) WR_TRY(wr_image_writer_add(c->writer, t->op[i].node->uid, t->op[i].table, c->full, info));
    return WR_OK;
}

/* A slot that has had time to spare since the last barrier lets records come first, and spends old bytes for it: it
 * will catch up. One that has none is late anyway: it captures early, as each old byte that need not be saved is time
 * won. */
static void judge_load(wr_tasklet *t)
{
    wr_capture_state *c = &t->barriers.capture;
    int64_t           now = t->home->mono_ns, spare = t->home->spare_ns;
    c->patient = (spare - c->judged_spare_ns) * SPARE_SHARE >= now - c->judged_mono_ns;
    c->judged_spare_ns = spare;
    c->judged_mono_ns = now;
}

wr_err wr_capture_start(wr_tasklet *t, const wr_barrier *b, wr_ack *ack, wr_errinfo *info)
{
    wr_capture_state *c = &t->barriers.capture;
    check(c->writer == NULL);
    judge_load(t);
    settle_last(t, b->base);
    c->barrier = *b;
    if (c->patient || t->home->scribe != NULL) {
        EACH_TABLE(t, i) wr_capture_want(t->op[i].table);
    }
    c->full = !may_be_increment(&c->chain, b);
    c->chain.last = b->id;
    wr_err err = mark_again(t, info);
    if (err == WR_OK) err = make_writer(t, b, info);
    if (err != WR_OK) {
        close_capture(t, false);
        return err;
    }
    c->chain.last_increment = !c->full;
    c->ack = ack;
    c->credit_ns = -CREDIT_NS; /* right behind a barrier each record costs its old bytes: those come first */
    if (c->ns_per_byte == 0) c->ns_per_byte = NS_PER_BYTE_FIRST;
    c->began_mono_ns = c->stepped_mono_ns = t->home->env->mono_ns(t->home->env->self);
    if (t->home->scribe != NULL) {
        c->job.writer = c->writer;
        c->job.owner = t->home->parker;
        c->job.from_mono_ns = c->began_mono_ns + CREDIT_NS; /* the records right behind the barrier come first */
        wr_scribe_give(t->home->scribe, &c->job);
    }
    return WR_OK;
}

void wr_capture_stop(wr_tasklet *t)
{
    wr_capture_state *c = &t->barriers.capture;
    if (c->writer == NULL) return;
    close_capture(t, false);
    wr_ack_free(c->ack);
    c->ack = NULL;
}

static void durable(wr_tasklet *t, int64_t now)
{
    wr_capture_state *c = &t->barriers.capture;
    wr_ack           *ack = c->ack;
    wr_failpoint("after-fsync");
    c->ack = NULL;
    wr_image_writer_result(c->writer, &ack->file, &ack->bytes_full);
    ack->async_ns = now - c->began_mono_ns;
    c->chain.last_bytes = ack->file.bytes;
    bool counted = c->chain.since != 0; /* else all is new, or was not marked */
    if (counted) c->chain.changed = wr_image_writer_changed(c->writer);
    close_capture(t, true);
    if (counted) judge_changes(t);
    foresee(c);
    wr_barrier_answer(t, ack);
}

static void broken(wr_tasklet *t, const wr_errinfo *info)
{
    wr_capture_state *c = &t->barriers.capture;
    uint64_t          id = c->ack->id;
    wr_capture_stop(t);
    wr_barrier_decline(t, id, WR_PHASE_ASYNC, info);
}

/* ---- steps ---- */

static uint64_t without(uint64_t bytes, uint64_t part)
{
    return bytes > part ? bytes - part : 0;
}

/* Whether there are more old bytes than so many eighths of what they may be. Patience may cost as many as there are
 * entries, once their memory is there. */
static bool undo_above(const wr_tasklet *t, uint32_t eighths)
{
    const wr_budget *budget = t->home->budget;
    uint64_t         undo = wr_image_writer_undo_bytes(t->barriers.capture.writer);
    uint64_t         most = t->barriers.capture.patient ? undo_room(t) : without(table_bytes(t), undo);
    if (budget->bytes_max != 0) {
        uint64_t room = without(budget->bytes_max, without(budget->bytes, undo));
        if (most > room / ROOM_SHARE) most = room / ROOM_SHARE;
    }
    return undo > most / 8 * eighths;
}

/* Memory or time for the snapshot runs out. Old bytes are given up only when all is captured, so that waiting for fewer
 * of them would be one long pause: the shares of the time change places instead. */
static bool hurries(const wr_tasklet *t)
{
    const wr_capture_state *c = &t->barriers.capture;
    if (wr_image_writer_captured(c->writer)) return false; /* nothing of ours makes it faster */
    int64_t timeout = t->barriers.timeout_ns;
    return undo_above(t, c->patient ? 6 : 1) || (timeout > 0 && t->home->mono_ns - c->began_mono_ns > timeout / 2);
}

/* How many bytes may be captured now; 0: later. */
static uint64_t quantum(wr_tasklet *t, bool waiting, int64_t now)
{
    wr_capture_state *c = &t->barriers.capture;
    double            others_ns = (double)(now - c->stepped_mono_ns), most = waiting ? QUANTUM_WAITING : QUANTUM_MOST;
    c->credit_ns += hurries(t) ? others_ns * (SHARE - 1) : others_ns / ((c->patient ? SHARE_PATIENT : SHARE) - 1);
    if (c->credit_ns > CREDIT_NS || waiting) c->credit_ns = CREDIT_NS; /* records may come at any moment */
    double bytes = c->credit_ns / c->ns_per_byte;
    if (bytes < QUANTUM_LEAST) return c->credit_ns >= CREDIT_NS ? QUANTUM_LEAST : 0; /* however slow it seems */
    return bytes > most ? (uint64_t)most : (uint64_t)bytes;
}

/* A step from which the system took the processor away says nothing about the others. */
static void note_speed(wr_capture_state *c, double ns_per_byte)
{
    if (ns_per_byte > 2 * c->ns_per_byte) ns_per_byte = 2 * c->ns_per_byte;
    c->ns_per_byte += (ns_per_byte - c->ns_per_byte) / 8;
    if (c->ns_per_byte < NS_PER_BYTE_LEAST) c->ns_per_byte = NS_PER_BYTE_LEAST; /* a clock that stands still */
}

static int64_t clock_of(const wr_tasklet *t)
{
    return t->home->env->mono_ns(t->home->env->self);
}

/* So many bytes from `now` on. False: storage has to be waited for. */
static bool take(wr_tasklet *t, uint64_t bytes, int64_t now)
{
    wr_capture_state *c = &t->barriers.capture;
    wr_errinfo        info = {0};
    wr_failpoint("async-write");
    enum wr_image_step step = wr_image_writer_step(c->writer, bytes, &info);
    int64_t            end = clock_of(t);
    c->stepped_mono_ns = end;
    c->credit_ns -= (double)(end - now);
    if (c->credit_ns < -CREDIT_NS) c->credit_ns = -CREDIT_NS; /* what the system took is not ours to pay back */
    if (step == WR_IMAGE_MORE) note_speed(c, (double)(end - now) / (double)bytes);
    if (step == WR_IMAGE_DURABLE) durable(t, end);
    if (step == WR_IMAGE_FAILED) broken(t, &info);
    return step != WR_IMAGE_WAIT;
}

/* How far the scribe is. */
static bool look_at_scribe(wr_tasklet *t)
{
    wr_capture_state *c = &t->barriers.capture;
    uint32_t          state = atomic_load_explicit(&c->job.state, memory_order_acquire);
    if (state == WR_SCRIBE_WRITING) {
        if (wr_image_writer_captured(c->writer)) wr_image_writer_settle(c->writer);
        return false;
    }
    if (state == WR_SCRIBE_DURABLE)
        durable(t, clock_of(t));
    else
        broken(t, &c->job.info);
    return true;
}

bool wr_capture_step(wr_tasklet *t, bool waiting)
{
    wr_capture_state *c = &t->barriers.capture;
    if (t->home->scribe != NULL) return look_at_scribe(t);
    int64_t  now = clock_of(t);
    uint64_t bytes = quantum(t, waiting, now);
    c->stepped_mono_ns = now;
    if (bytes == 0) return false;
    bool stepped = take(t, bytes, now);
    if (waiting && !t->home->back_pressured) t->home->spare_ns += c->stepped_mono_ns - now;
    return stepped;
}

bool wr_capture_first(wr_tasklet *t, uint32_t *called)
{
    const wr_capture_state *c = &t->barriers.capture;
    if (wr_image_writer_captured(c->writer) || !undo_above(t, c->patient ? 8 : t->home->scribe != NULL ? 4 : 2))
        return false;
    if (t->home->scribe != NULL) { /* it wakes us */
        *called = WR_CALLED_BLOCKED;
        return true;
    }
    bool stepped = take(t, QUANTUM_WAITING, clock_of(t));
    *called = stepped ? WR_CALLED_PROGRESS : WR_CALLED_BLOCKED; /* storage that is slow wakes us */
    return stepped || undo_above(t, c->patient ? 8 : 4);        /* else records come while storage works */
}

void wr_capture_release(wr_tasklet *t)
{
    wr_capture_state *c = &t->barriers.capture;
    drop_given(t);
    free_writer(t); /* before the tables go */
    wr_ack_free(c->ack);
    c->ack = NULL;
}
