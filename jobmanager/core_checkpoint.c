#include "jobmanager/core_checkpoint.h"
#include "base/check.h"
#include <string.h>

#define MAGIC 0x536e6170u

/* Where a step collects its actions. */
typedef struct out {
    wr_checkpoint_action *action;
    uint32_t              count, cap;
} out;

const char *wr_snapshot_outcome_name(uint32_t outcome)
{
    static const char *const name[] = {"?", "under way", "completed", "failed"};
    return name[outcome <= WR_SNAPSHOT_FAILED ? outcome : 0];
}

static int64_t later(int64_t at_ms, int64_t by_ms)
{
    int64_t sum;
    return __builtin_add_overflow(at_ms, by_ms, &sum) ? INT64_MAX : sum;
}

void wr_core_checkpoint_init(wr_core_checkpoint *m, const wr_checkpoint_config *config, wr_snapshot_figures *figures,
                             bool *ended, int64_t now_ms)
{
    check(config->subtasks > 0 && figures != NULL && ended != NULL);
    check(config->keep >= 1 && config->keep <= WR_SNAPSHOTS_KEEP_MAX);
    check(config->interval_ms >= 0 && config->timeout_ms > 0 && config->pause_ms >= 0);
    check(config->backoff_ms > 0 && config->backoff_most_ms >= config->backoff_ms);
    memset(m, 0, sizeof *m);
    m->magic = MAGIC;
    m->config = *config;
    m->phase = WR_CHECKPOINT_IDLE;
    m->now_ms = now_ms;
    m->next_ms = INT64_MAX;
    m->not_before_ms = now_ms;
    m->ids_durable = config->ids;
    m->next_id = config->ids + 1;
    m->newest = config->base;
    check(config->base <= config->ids);
    m->figures = figures;
    m->subtask_ended = ended;
    memset(ended, 0, config->subtasks * sizeof *ended);
    /* Of those that were there, the newest ones: retention goes on where it was. */
    uint32_t first = config->knowns > config->keep ? config->knowns - config->keep : 0;
    for (uint32_t i = first; i < config->knowns; i++) {
        check(config->known[i].id <= config->ids && (i == 0 || config->known[i - 1].id < config->known[i].id));
        m->completed[m->completeds++] = config->known[i];
    }
    m->config.known = NULL; /* the caller's array may go */
    wr_core_checkpoint_check(m);
}

uint64_t wr_core_checkpoint_newest(const wr_core_checkpoint *m)
{
    return m->newest;
}

const wr_snapshot_record *wr_core_checkpoint_record(const wr_core_checkpoint *m, uint32_t i)
{
    if (i >= m->records || i >= WR_SNAPSHOT_HISTORY) return NULL;
    return &m->record[(m->records - 1 - i) % WR_SNAPSHOT_HISTORY];
}

const wr_snapshot_record *wr_core_checkpoint_failing(const wr_core_checkpoint *m)
{
    const wr_snapshot_record *r = NULL;
    for (uint32_t i = 0; m->failures > 0 && (r = wr_core_checkpoint_record(m, i)) != NULL; i++)
        if (r->outcome == WR_SNAPSHOT_FAILED) return r;
    return NULL;
}

const wr_snapshot_record *wr_core_checkpoint_find(const wr_core_checkpoint *m, uint64_t id)
{
    const wr_snapshot_record *r = NULL;
    for (uint32_t i = 0; (r = wr_core_checkpoint_record(m, i)) != NULL && r->id != id; i++) {}
    return r;
}

/* What the next one builds on. */
static uint64_t base(const wr_core_checkpoint *m)
{
    return m->anew ? 0 : m->newest;
}

static bool under_way(const wr_core_checkpoint *m)
{
    return m->phase == WR_CHECKPOINT_ACKS || m->phase == WR_CHECKPOINT_MANIFEST;
}

void wr_core_checkpoint_check(const wr_core_checkpoint *m)
{
    check(m->magic == MAGIC);
    check(m->phase >= WR_CHECKPOINT_IDLE && m->phase <= WR_CHECKPOINT_MANIFEST);
    check(m->next_id >= 1 && m->next_id <= m->ids_durable + 1);
    check(m->ended <= m->config.subtasks);
    check(m->queued <= WR_SNAPSHOT_QUEUE_MAX);
    check(m->completeds <= m->config.keep);
    check(m->closed || m->finished || m->started || !under_way(m));
    for (uint32_t i = 0; i < m->completeds; i++)
        check(m->completed[i].id < m->next_id && (i == 0 || m->completed[i - 1].id < m->completed[i].id));
    const wr_pending_snapshot *p = &m->pending;
    if (!under_way(m)) {
        check(p->record == NULL && p->tickets == 0);
        return;
    }
    check(p->barrier.id < m->next_id && p->barrier.id > wr_core_checkpoint_newest(m));
    check(p->barrier.base == base(m));
    check(p->tickets <= WR_SNAPSHOT_QUEUE_MAX && p->ended <= p->acked && p->acked <= m->config.subtasks);
    check((p->acked == m->config.subtasks) == (m->phase == WR_CHECKPOINT_MANIFEST));
    check(p->record->id == p->barrier.id && p->record->outcome == WR_SNAPSHOT_UNDER_WAY);
}

static void act(out *o, wr_checkpoint_action action)
{
    check(o->count < o->cap);
    o->action[o->count++] = action;
}

static void answer(out *o, uint64_t ticket, uint64_t id, const wr_errinfo *why)
{
    act(o, (wr_checkpoint_action){.kind = WR_CHECKPOINT_DO_ANSWER, .ticket = ticket, .id = id, .info = why});
}

/* ---- the history ---- */

static wr_snapshot_record *new_record(wr_core_checkpoint *m, uint64_t id, uint32_t kind)
{
    uint32_t             at = (uint32_t)(m->records++ % WR_SNAPSHOT_HISTORY);
    wr_snapshot_record  *r = &m->record[at];
    wr_snapshot_figures *figures = m->figures + (size_t)at * m->config.subtasks;
    memset(r, 0, sizeof *r);
    memset(figures, 0, m->config.subtasks * sizeof *figures);
    r->id = id;
    r->base = base(m);
    r->kind = kind;
    r->outcome = WR_SNAPSHOT_UNDER_WAY;
    r->wall_ms = m->wall_ms;
    r->begun_ms = m->now_ms;
    r->failed_subtask = WR_SNAPSHOT_NOBODY;
    r->figures = figures;
    return r;
}

static void back_off(wr_core_checkpoint *m)
{
    int64_t wait_ms = m->config.backoff_ms;
    for (uint32_t i = 0; i < m->failures && wait_ms < m->config.backoff_most_ms; i++) {
        wait_ms = wait_ms > INT64_MAX / 2 ? INT64_MAX : 2 * wait_ms;
    }
    if (wait_ms > m->config.backoff_most_ms) wait_ms = m->config.backoff_most_ms;
    if (m->failures < UINT32_MAX) m->failures++;
    m->failures_all++;
    m->not_before_ms = later(m->now_ms, wait_ms);
}

static void record_failure(wr_core_checkpoint *m, wr_snapshot_record *r, uint32_t subtask, uint32_t phase,
                           const wr_errinfo *why)
{
    r->outcome = WR_SNAPSHOT_FAILED;
    r->ended_ms = m->now_ms;
    r->failed_subtask = subtask;
    r->phase = phase;
    r->why = *why;
    if (r->why.code == WR_OK) r->why.code = WR_INTERNAL;
}

/* ---- how one ends ---- */

static void forget_pending(wr_core_checkpoint *m)
{
    memset(&m->pending, 0, sizeof m->pending);
    m->phase = WR_CHECKPOINT_IDLE;
}

/* The next periodic one keeps its distance to this end. */
static void ended_now(wr_core_checkpoint *m)
{
    int64_t at = later(m->now_ms, m->config.pause_ms);
    if (m->next_ms < at) m->next_ms = at;
}

static void fail_pending(wr_core_checkpoint *m, uint32_t subtask, uint32_t phase, const wr_errinfo *why, out *o)
{
    wr_pending_snapshot *p = &m->pending;
    record_failure(m, p->record, subtask, phase, why);
    back_off(m);
    act(o, (wr_checkpoint_action){.kind = WR_CHECKPOINT_DO_ABORT, .id = p->barrier.id});
    for (uint32_t i = 0; i < p->tickets; i++) answer(o, p->ticket[i], p->barrier.id, &p->record->why);
    forget_pending(m);
    ended_now(m);
}

static void retain(wr_core_checkpoint *m, uint64_t id)
{
    m->completed[m->completeds++] = (wr_completed_snapshot){.id = id};
    m->newest = id;
    m->anew = false;
    if (m->completeds <= m->config.keep) return;
    memmove(m->completed, m->completed + 1, (m->completeds - 1) * sizeof *m->completed);
    m->completeds--;
}

static bool all_ended(const wr_core_checkpoint *m)
{
    return m->ended == m->config.subtasks;
}

static void complete_pending(wr_core_checkpoint *m, out *o)
{
    wr_pending_snapshot p = m->pending;
    bool                ordinary = p.barrier.kind == WR_SNAPSHOT;
    bool                last = ordinary && (p.paused || p.ended == m->config.subtasks) && m->queued == 0;
    check(p.acked == m->config.subtasks);
    p.record->outcome = WR_SNAPSHOT_COMPLETED;
    p.record->ended_ms = m->now_ms;
    p.record->last = last && !m->closed;
    m->failures = 0;
    m->not_before_ms = m->now_ms;
    m->completions++;
    if (!ordinary) m->savepoints++;
    forget_pending(m);
    ended_now(m);
    if (ordinary) {
        retain(m, p.barrier.id);
        act(o, (wr_checkpoint_action){.kind = WR_CHECKPOINT_DO_COMPLETE, .id = p.barrier.id});
    }
    for (uint32_t i = 0; i < p.tickets; i++) answer(o, p.ticket[i], p.barrier.id, NULL);
    act(o, (wr_checkpoint_action){.kind = WR_CHECKPOINT_DO_SWEEP});
    if (!last || m->closed || m->finished) return;
    m->finished = true;
    act(o, (wr_checkpoint_action){.kind = WR_CHECKPOINT_DO_FINISH, .id = p.barrier.id});
    if (m->stop_waits) answer(o, m->stop_ticket, p.barrier.id, NULL);
    m->stop_waits = false;
}

/* ---- how one begins ---- */

/* Whether one may begin now, and of which kind. */
static bool wanted(const wr_core_checkpoint *m, uint32_t *kind)
{
    *kind = WR_SNAPSHOT;
    if (!m->started || m->closed || m->finished || m->phase != WR_CHECKPOINT_IDLE) return false;
    /* Some sources have ended and have more to read: who started from that would read on when event time is over. */
    if (m->draining && !all_ended(m)) return false;
    if (m->queued > 0) {
        *kind = m->queue[0].kind;
        return true;
    }
    if (m->now_ms < m->not_before_ms) return false;
    return m->stopping || all_ended(m) || m->now_ms >= m->next_ms;
}

static void take_from_queue(wr_core_checkpoint *m, uint32_t at)
{
    memmove(m->queue + at, m->queue + at + 1, (m->queued - at - 1) * sizeof *m->queue);
    m->queued--;
}

/* One ordinary snapshot serves all who wait for one; savepoints go to places of their own. */
static void take_tickets(wr_core_checkpoint *m, wr_pending_snapshot *p)
{
    if (m->queued == 0) return;
    if (p->barrier.kind == WR_SAVEPOINT) {
        p->ticket[p->tickets++] = m->queue[0].ticket;
        take_from_queue(m, 0);
        return;
    }
    for (uint32_t i = 0; i < m->queued;) {
        if (m->queue[i].kind != WR_SNAPSHOT) {
            i++;
            continue;
        }
        p->ticket[p->tickets++] = m->queue[i].ticket;
        take_from_queue(m, i);
    }
}

static void begin(wr_core_checkpoint *m, uint32_t kind, out *o)
{
    wr_pending_snapshot *p = &m->pending;
    *p = (wr_pending_snapshot){.barrier = {.id = m->next_id++, .base = base(m), .kind = kind, .epoch = m->config.epoch},
                               .begun_ms = m->now_ms,
                               .paused = m->stopping};
    p->record = new_record(m, p->barrier.id, kind);
    p->figures = m->figures + (size_t)(p->record - m->record) * m->config.subtasks;
    take_tickets(m, p);
    m->phase = WR_CHECKPOINT_ACKS;
    if (m->config.interval_ms > 0) m->next_ms = later(m->now_ms, m->config.interval_ms);
    act(o, (wr_checkpoint_action){.kind = WR_CHECKPOINT_DO_TRIGGER, .id = p->barrier.id, .barrier = p->barrier});
}

static void begin_if_due(wr_core_checkpoint *m, out *o)
{
    uint32_t kind;
    if (!wanted(m, &kind)) return;
    if (m->next_id > m->ids_durable) {
        m->phase = WR_CHECKPOINT_IDS;
        act(o, (wr_checkpoint_action){.kind = WR_CHECKPOINT_DO_IDS, .id = m->ids_durable + WR_SNAPSHOT_ID_BLOCK});
        return;
    }
    begin(m, kind, o);
}

/* ---- events ---- */

static void ids_done(wr_core_checkpoint *m, const wr_checkpoint_event *e, out *o)
{
    check(m->phase == WR_CHECKPOINT_IDS);
    m->phase = WR_CHECKPOINT_IDLE;
    if (e->info == NULL || e->info->code == WR_OK) {
        m->ids_durable += WR_SNAPSHOT_ID_BLOCK;
        return;
    }
    wr_snapshot_record *r = new_record(m, 0, m->queued > 0 ? m->queue[0].kind : WR_SNAPSHOT);
    record_failure(m, r, WR_SNAPSHOT_NOBODY, WR_PHASE_START, e->info);
    back_off(m);
    ended_now(m);
    if (m->queued == 0) return;
    answer(o, m->queue[0].ticket, 0, &r->why);
    take_from_queue(m, 0);
}

static void request(wr_core_checkpoint *m, const wr_checkpoint_event *e, out *o)
{
    static const wr_errinfo late = {WR_UNREACHABLE, "the job is ending; it takes no more requests for snapshots"};
    static const wr_errinfo full = {WR_LIMIT, "too many requests for snapshots are waiting; ask again later"};
    check(e->barrier_kind == WR_SNAPSHOT || e->barrier_kind == WR_SAVEPOINT);
    if (m->closed || m->finished || m->stopping) {
        answer(o, e->ticket, 0, &late);
    } else if (m->queued == WR_SNAPSHOT_QUEUE_MAX) {
        answer(o, e->ticket, 0, &full);
    } else {
        m->queue[m->queued++] = (wr_checkpoint_request){.ticket = e->ticket, .kind = e->barrier_kind};
    }
}

static void stop(wr_core_checkpoint *m, const wr_checkpoint_event *e, out *o)
{
    static const wr_errinfo twice = {WR_CONFIG, "the job is stopping already; its last snapshot is on its way"};
    static const wr_errinfo ending = {WR_UNREACHABLE, "the job is ending already"};
    if (m->closed || m->finished || m->stopping || (m->draining && m->stop_waits)) {
        if (!e->nobody) answer(o, e->ticket, 0, m->closed || m->finished ? &ending : &twice);
        return;
    }
    if (!e->nobody) {
        m->stop_ticket = e->ticket;
        m->stop_waits = true;
    }
    if (e->drain || m->draining) { /* what drains goes on draining: its results are on their way */
        static const wr_errinfo drains = {WR_CANCELED, "the job is being drained; its last snapshot follows"};
        if (m->draining) return;
        if (m->phase == WR_CHECKPOINT_ACKS) {
            fail_pending(m, WR_SNAPSHOT_NOBODY, WR_PHASE_START, &drains, o);
            m->not_before_ms = m->now_ms; /* nothing is wrong */
        }
        act(o, (wr_checkpoint_action){.kind = WR_CHECKPOINT_DO_END_SOURCES});
        m->draining = true;
        return;
    }
    m->stopping = true;
    act(o, (wr_checkpoint_action){.kind = WR_CHECKPOINT_DO_PAUSE_SOURCES});
}

static void subtask_ended(wr_core_checkpoint *m, uint32_t subtask)
{
    if (subtask >= m->config.subtasks || m->subtask_ended[subtask]) return;
    m->subtask_ended[subtask] = true;
    m->ended++;
}

static void refused(wr_core_checkpoint *m, const wr_checkpoint_event *e, out *o)
{
    if (m->phase == WR_CHECKPOINT_ACKS && e->id == m->pending.barrier.id)
        fail_pending(m, WR_SNAPSHOT_NOBODY, WR_PHASE_START, e->info, o);
}

static void ack(wr_core_checkpoint *m, const wr_ack *a, out *o)
{
    wr_pending_snapshot *p = &m->pending;
    if (m->phase != WR_CHECKPOINT_ACKS || a->id != p->barrier.id || a->subtask >= m->config.subtasks) {
        m->stale++;
        return;
    }
    wr_snapshot_figures *f = &p->figures[a->subtask];
    if (f->acked) {
        m->repeated++;
        return;
    }
    if (a->declined) {
        fail_pending(m, a->subtask, a->phase, &a->info, o);
        return;
    }
    *f = (wr_snapshot_figures){.acked = true,
                               .ended = a->ended,
                               .increment = a->file.increment,
                               .start_delay_ns = a->start_delay_ns,
                               .align_ns = a->align_ns,
                               .sync_ns = a->sync_ns,
                               .async_ns = a->async_ns,
                               .bytes = a->file.bytes,
                               .bytes_full = a->bytes_full};
    p->record->bytes += f->bytes;
    p->record->bytes_full += f->bytes_full;
    p->record->acked = ++p->acked;
    if (a->ended) p->ended++;
    if (p->acked < m->config.subtasks) return;
    m->phase = WR_CHECKPOINT_MANIFEST;
    act(o, (wr_checkpoint_action){.kind = WR_CHECKPOINT_DO_MANIFEST,
                                  .id = p->barrier.id,
                                  .barrier = p->barrier,
                                  .ticket = p->tickets > 0 ? p->ticket[0] : 0});
}

static void manifest_done(wr_core_checkpoint *m, const wr_checkpoint_event *e, out *o)
{
    check(m->phase == WR_CHECKPOINT_MANIFEST && e->id == m->pending.barrier.id);
    if (e->info == NULL || e->info->code == WR_OK) {
        complete_pending(m, o);
        return;
    }
    fail_pending(m, WR_SNAPSHOT_NOBODY, WR_PHASE_MANIFEST, e->info, o);
    m->anew = m->anew || e->info->code == WR_DAMAGED; /* no increment mends that */
}

/* A manifest that is being written may be durable already: only its writer knows how that ends. */
static void time_out(wr_core_checkpoint *m, out *o)
{
    if (m->phase != WR_CHECKPOINT_ACKS || m->now_ms < later(m->pending.begun_ms, m->config.timeout_ms)) return;
    static const wr_errinfo why = {WR_TIMEOUT, "not every subtask answered in time"};
    uint32_t                slow = 0;
    while (slow + 1 < m->config.subtasks && m->pending.figures[slow].acked) slow++;
    fail_pending(m, slow, WR_PHASE_START, &why, o);
}

static void close_all(wr_core_checkpoint *m, out *o)
{
    static const wr_errinfo why = {WR_CANCELED, "the job ended before"};
    if (m->closed) return;
    m->closed = true;
    if (m->phase == WR_CHECKPOINT_ACKS) fail_pending(m, WR_SNAPSHOT_NOBODY, WR_PHASE_START, &why, o);
    for (uint32_t i = 0; i < m->queued; i++) answer(o, m->queue[i].ticket, 0, &why);
    m->queued = 0;
    if (m->stop_waits) answer(o, m->stop_ticket, 0, &why);
    m->stop_waits = false;
}

uint32_t wr_core_checkpoint_step(wr_core_checkpoint *m, const wr_checkpoint_event *event, wr_checkpoint_action *actions,
                                 uint32_t cap)
{
    wr_core_checkpoint_check(m);
    check(event->now_ms >= m->now_ms && cap >= WR_CHECKPOINT_ACTIONS_MAX);
    out o = {actions, 0, cap};
    m->now_ms = event->now_ms;
    m->wall_ms = event->wall_ms;
    switch (event->kind) {
    case WR_CHECKPOINT_START:
        check(!m->started);
        m->started = true;
        if (m->config.interval_ms > 0) m->next_ms = later(m->now_ms, m->config.interval_ms);
        break;
    case WR_CHECKPOINT_TICK: break;
    case WR_CHECKPOINT_REQUEST: request(m, event, &o); break;
    case WR_CHECKPOINT_STOP: stop(m, event, &o); break;
    case WR_CHECKPOINT_ACK: ack(m, event->ack, &o); break;
    case WR_CHECKPOINT_ENDED: subtask_ended(m, event->subtask); break;
    case WR_CHECKPOINT_IDS_DONE: ids_done(m, event, &o); break;
    case WR_CHECKPOINT_MANIFEST_DONE: manifest_done(m, event, &o); break;
    case WR_CHECKPOINT_REFUSED: refused(m, event, &o); break;
    case WR_CHECKPOINT_CLOSE: close_all(m, &o); break;
    default: check(!"an event of a kind that there is not");
    }
    time_out(m, &o);
    begin_if_due(m, &o);
    wr_core_checkpoint_check(m);
    return o.count;
}

int64_t wr_core_checkpoint_due(const wr_core_checkpoint *m)
{
    if (!m->started || m->closed || m->finished) return INT64_MAX;
    if (m->phase == WR_CHECKPOINT_ACKS) return later(m->pending.begun_ms, m->config.timeout_ms);
    if (m->phase != WR_CHECKPOINT_IDLE) return INT64_MAX;
    if (m->draining && !all_ended(m)) return INT64_MAX; /* as in wanted: that they have ended is an event */
    int64_t at = m->stopping || all_ended(m) ? m->now_ms : m->next_ms;
    if (at == INT64_MAX) return at;
    return at > m->not_before_ms ? at : m->not_before_ms;
}
