#include "jobmanager/core_pool.h"
#include "base/check.h"
#include <string.h>

#define MAGIC 0x506f6f31u

typedef struct out {
    wr_pool_action *action;
    uint32_t        count, cap;
} out;

void wr_core_pool_init(wr_core_pool *p, wr_pool_tm *tm, uint32_t tms_max, wr_pool_claim *claim, uint32_t claims_max,
                       int64_t silent_ms, int64_t now_ms)
{
    check(tms_max > 0 && claims_max > 0 && silent_ms > 0);
    memset(p, 0, sizeof *p);
    memset(tm, 0, tms_max * sizeof *tm);
    memset(claim, 0, claims_max * sizeof *claim);
    p->magic = MAGIC;
    p->silent_ms = silent_ms;
    p->now_ms = now_ms;
    p->tm = tm;
    p->tms_max = tms_max;
    p->claim = claim;
    p->claims_max = claims_max;
}

static void act(out *o, wr_pool_action action)
{
    check(o->count < o->cap);
    o->action[o->count++] = action;
}

/* ---- looking ---- */

static wr_pool_tm *tm_of(const wr_core_pool *p, uint64_t tm)
{
    for (uint32_t i = 0; i < p->tms_max && tm != 0; i++)
        if (p->tm[i].state != WR_TM_FREE && p->tm[i].tm == tm) return &p->tm[i];
    return NULL;
}

const wr_pool_tm *wr_core_pool_tm_of(const wr_core_pool *p, uint64_t tm)
{
    return tm_of(p, tm);
}

static wr_pool_claim *claim_of(const wr_core_pool *p, uint64_t job, uint32_t attempt)
{
    for (uint32_t i = 0; i < p->claims_max; i++) {
        wr_pool_claim *c = &p->claim[i];
        if (c->state != WR_CLAIM_NONE && c->job == job && c->attempt == attempt) return c;
    }
    return NULL;
}

const wr_pool_claim *wr_core_pool_claim_of(const wr_core_pool *p, uint64_t job, uint32_t attempt)
{
    return claim_of(p, job, attempt);
}

static uint32_t free_of(const wr_pool_tm *t)
{
    return t->state == WR_TM_ALIVE && t->used < t->slots ? t->slots - t->used : 0;
}

static uint32_t free_slots(const wr_core_pool *p)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < p->tms_max; i++) sum += free_of(&p->tm[i]);
    return sum < UINT32_MAX ? (uint32_t)sum : UINT32_MAX;
}

/* What a job has where it could have it again, running or kept. */
static uint32_t own_of(const wr_core_pool *p, uint64_t job)
{
    uint32_t own = 0;
    for (uint32_t i = 0; i < p->claims_max; i++) {
        const wr_pool_claim *c = &p->claim[i];
        for (uint32_t s = 0; c->state == WR_CLAIM_HELD && c->job == job && s < c->slots; s++) {
            const wr_pool_tm *t = tm_of(p, c->tm[s]);
            own += t != NULL && t->state == WR_TM_ALIVE;
        }
    }
    return own;
}

uint32_t wr_core_pool_reach(const wr_core_pool *p, uint64_t job)
{
    uint32_t free = free_slots(p), own = own_of(p, job);
    return free < UINT32_MAX - own ? free + own : UINT32_MAX;
}

int64_t wr_core_pool_due(const wr_core_pool *p)
{
    int64_t due = INT64_MAX;
    for (uint32_t i = 0; i < p->tms_max; i++) {
        const wr_pool_tm *t = &p->tm[i];
        if (t->state != WR_TM_FREE && t->heard_ms + p->silent_ms < due) due = t->heard_ms + p->silent_ms;
    }
    return due;
}

void wr_core_pool_sums(const wr_core_pool *p, wr_pool_sums *sums)
{
    *sums = (wr_pool_sums){.free_slots = free_slots(p)};
    for (uint32_t i = 0; i < p->tms_max; i++) {
        const wr_pool_tm *t = &p->tm[i];
        sums->tms += t->state != WR_TM_FREE;
        sums->draining += t->state == WR_TM_DRAINING;
        if (t->state == WR_TM_ALIVE) sums->slots += t->slots;
    }
    for (uint32_t i = 0; i < p->claims_max; i++) {
        const wr_pool_claim *c = &p->claim[i];
        if (c->state == WR_CLAIM_WAITS) {
            sums->waiting++;
            sums->wanted += c->slots;
        } else if (c->state == WR_CLAIM_HELD) {
            for (uint32_t s = 0; s < c->slots; s++) sums->kept += c->kept[s];
        }
    }
}

static void check_claim(const wr_pool_claim *c)
{
    check(c->state <= WR_CLAIM_HELD);
    if (c->state == WR_CLAIM_NONE) return;
    check(c->job != 0 && c->slots >= 1 && c->slots <= WR_SLOTS_MAX);
    uint32_t held = 0;
    for (uint32_t s = 0; s < WR_SLOTS_MAX; s++) {
        held += c->tm[s] != 0;
        check(c->tm[s] == 0 || s < c->slots);
        check(!c->kept[s] || c->tm[s] != 0);
    }
    check((held > 0) == (c->state == WR_CLAIM_HELD));
}

void wr_core_pool_check(const wr_core_pool *p)
{
    check(p->magic == MAGIC);
    for (uint32_t i = 0; i < p->claims_max; i++) check_claim(&p->claim[i]);
    for (uint32_t i = 0; i < p->tms_max; i++) {
        const wr_pool_tm *t = &p->tm[i];
        check(t->state <= WR_TM_DRAINING && (t->state == WR_TM_FREE || t->tm != 0));
        if (t->state == WR_TM_FREE) continue;
        check(tm_of(p, t->tm) == t); /* nobody is here twice */
        uint32_t used = 0;
        for (uint32_t k = 0; k < p->claims_max; k++)
            for (uint32_t s = 0; s < p->claim[k].slots; s++) used += p->claim[k].tm[s] == t->tm;
        check(used == t->used);
    }
}

/* ---- giving and taking ---- */

static void tidy(wr_pool_claim *c)
{
    for (uint32_t s = 0; s < c->slots; s++)
        if (c->tm[s] != 0) return;
    memset(c, 0, sizeof *c);
}

static void give_back(wr_core_pool *p, wr_pool_claim *c, uint32_t slot)
{
    wr_pool_tm *t = tm_of(p, c->tm[slot]);
    if (t != NULL) {
        check(t->used > 0);
        t->used--;
    }
    c->tm[slot] = 0;
    c->kept[slot] = false;
}

static bool give_back_kept(wr_core_pool *p, uint64_t job)
{
    bool any = false;
    for (uint32_t i = 0; i < p->claims_max; i++) {
        wr_pool_claim *c = &p->claim[i];
        if (c->state != WR_CLAIM_HELD || c->job != job) continue;
        for (uint32_t s = 0; s < c->slots; s++)
            if (c->kept[s]) {
                give_back(p, c, s);
                any = true;
            }
        tidy(c);
    }
    return any;
}

/* The TaskManager with the most free slots per slot; of equal ones the one with more, then the first. */
static wr_pool_tm *freest(const wr_core_pool *p)
{
    wr_pool_tm *best = NULL;
    for (uint32_t i = 0; i < p->tms_max; i++) {
        wr_pool_tm *t = &p->tm[i];
        uint64_t    f = free_of(t);
        if (f == 0) continue;
        uint64_t a = best != NULL ? f * best->slots : 1, b = best != NULL ? (uint64_t)free_of(best) * t->slots : 0;
        if (a > b || (a == b && f > free_of(best))) best = t;
    }
    return best;
}

/* What a job left and may have again; `running`: what of its older attempts is not gone yet. */
static uint32_t kept_of(const wr_core_pool *p, uint64_t job, uint32_t *running)
{
    uint32_t kept = 0;
    *running = 0;
    for (uint32_t i = 0; i < p->claims_max; i++) {
        const wr_pool_claim *c = &p->claim[i];
        if (c->state != WR_CLAIM_HELD || c->job != job) continue;
        for (uint32_t s = 0; s < c->slots; s++) {
            const wr_pool_tm *t = c->kept[s] ? tm_of(p, c->tm[s]) : NULL;
            kept += t != NULL && t->state == WR_TM_ALIVE;
            *running += c->tm[s] != 0 && !c->kept[s];
        }
    }
    return kept;
}

static bool fits(const wr_core_pool *p, const wr_pool_claim *c)
{
    uint32_t running;
    return c->slots <= (uint64_t)free_slots(p) + kept_of(p, c->job, &running);
}

static bool grant(wr_core_pool *p, wr_pool_claim *c, out *o)
{
    if (!fits(p, c)) return false;
    give_back_kept(p, c->job);
    for (uint32_t s = 0; s < c->slots; s++) {
        wr_pool_tm *t = freest(p);
        check(t != NULL);
        t->used++;
        c->tm[s] = t->tm;
    }
    c->state = WR_CLAIM_HELD;
    act(o, (wr_pool_action){.kind = WR_POOL_DO_GRANT, .job = c->job, .attempt = c->attempt});
    return true;
}

static wr_pool_claim *next_waiting(const wr_core_pool *p)
{
    wr_pool_claim *best = NULL;
    for (uint32_t i = 0; i < p->claims_max; i++) {
        wr_pool_claim *c = &p->claim[i];
        if (c->state != WR_CLAIM_WAITS || !fits(p, c)) continue;
        if (best == NULL || c->rank < best->rank || (c->rank == best->rank && c->order < best->order)) best = c;
    }
    return best;
}

/* A job that waits keeps what it left only as long as more of it may come. */
static bool give_up(wr_core_pool *p)
{
    bool any = false;
    for (uint32_t i = 0; i < p->claims_max; i++) {
        const wr_pool_claim *c = &p->claim[i];
        uint32_t             running;
        if (c->state != WR_CLAIM_WAITS) continue;
        kept_of(p, c->job, &running);
        if (running == 0) any |= give_back_kept(p, c->job);
    }
    return any;
}

static void grant_all(wr_core_pool *p, out *o)
{
    do {
        for (wr_pool_claim *c; (c = next_waiting(p)) != NULL;) check(grant(p, c, o));
    } while (give_up(p));
}

/* ---- events ---- */

static void join(wr_core_pool *p, const wr_pool_event *e)
{
    check(e->tm != 0);
    wr_pool_tm *t = tm_of(p, e->tm);
    if (t == NULL) {
        for (uint32_t i = 0; i < p->tms_max && t == NULL; i++)
            if (p->tm[i].state == WR_TM_FREE) t = &p->tm[i];
        if (t == NULL) return;
        *t = (wr_pool_tm){.tm = e->tm, .state = e->on ? WR_TM_DRAINING : WR_TM_ALIVE, .slots = e->slots};
        for (uint32_t i = 0; i < p->claims_max; i++) /* what was said to be there before it came */
            for (uint32_t s = 0; s < p->claim[i].slots; s++) t->used += p->claim[i].tm[s] == e->tm;
    }
    t->heard_ms = p->now_ms;
}

static void leave(wr_core_pool *p, uint64_t tm)
{
    wr_pool_tm *t = tm_of(p, tm);
    if (t == NULL) return;
    for (uint32_t i = 0; i < p->claims_max; i++) {
        wr_pool_claim *c = &p->claim[i];
        if (c->state != WR_CLAIM_HELD) continue;
        for (uint32_t s = 0; s < c->slots; s++)
            if (c->tm[s] == tm) give_back(p, c, s);
        tidy(c);
    }
    memset(t, 0, sizeof *t);
}

static wr_pool_claim *new_claim(wr_core_pool *p, const wr_pool_event *e, uint32_t state)
{
    check(e->job != 0 && e->slots >= 1 && e->slots <= WR_SLOTS_MAX);
    for (uint32_t i = 0; i < p->claims_max; i++) {
        wr_pool_claim *c = &p->claim[i];
        if (c->state != WR_CLAIM_NONE) continue;
        *c = (wr_pool_claim){.job = e->job,
                             .attempt = e->attempt,
                             .state = state,
                             .slots = e->slots,
                             .rank = e->rank,
                             .order = ++p->asked};
        return c;
    }
    return NULL;
}

static void want(wr_core_pool *p, const wr_pool_event *e, out *o)
{
    check(e->attempt > 0);
    if (claim_of(p, e->job, e->attempt) != NULL) return; /* it has asked */
    wr_pool_claim *c = new_claim(p, e, WR_CLAIM_WAITS);
    if (c == NULL && give_back_kept(p, e->job)) c = new_claim(p, e, WR_CLAIM_WAITS);
    if (c != NULL) grant(p, c, o);
}

static void reserve(wr_core_pool *p, const wr_pool_event *e)
{
    wr_pool_claim *c = claim_of(p, e->job, 0);
    for (uint32_t s = 0; c != NULL && s < c->slots; s++)
        if (c->tm[s] != 0) give_back(p, c, s);
    if (c != NULL) tidy(c);
    uint32_t own = own_of(p, e->job);
    if (e->slots <= own || e->slots > wr_core_pool_reach(p, e->job)) return;
    wr_pool_event lacks = *e;
    lacks.attempt = 0;
    lacks.slots -= own;
    c = new_claim(p, &lacks, WR_CLAIM_HELD);
    if (c == NULL) return;
    for (uint32_t s = 0; s < c->slots; s++) {
        wr_pool_tm *t = freest(p);
        check(t != NULL);
        t->used++;
        c->tm[s] = t->tm;
        c->kept[s] = true;
    }
}

static void holds(wr_core_pool *p, const wr_pool_event *e)
{
    wr_pool_claim *c = claim_of(p, e->job, e->attempt);
    if (c == NULL) c = new_claim(p, e, WR_CLAIM_HELD);
    if (c == NULL) return;
    check(c->state == WR_CLAIM_HELD && c->slots == e->slots);
    for (uint32_t s = 0; s < c->slots; s++) {
        if (c->tm[s] != 0 || e->place[s] == 0) continue;
        c->tm[s] = e->place[s];
        wr_pool_tm *t = tm_of(p, e->place[s]);
        if (t != NULL) t->used++;
    }
    tidy(c);
}

static bool waits(const wr_core_pool *p, uint64_t job)
{
    for (uint32_t i = 0; i < p->claims_max; i++)
        if (p->claim[i].state == WR_CLAIM_WAITS && p->claim[i].job == job) return true;
    return false;
}

static void freed(wr_core_pool *p, const wr_pool_event *e)
{
    wr_pool_claim *c = claim_of(p, e->job, e->attempt);
    if (c == NULL || c->state != WR_CLAIM_HELD) return;
    bool keep = e->keep || waits(p, e->job);
    for (uint32_t s = 0; s < c->slots; s++) {
        if (c->tm[s] != e->tm || e->tm == 0) continue;
        if (keep)
            c->kept[s] = true;
        else
            give_back(p, c, s);
    }
    tidy(c);
}

static void give_back_all(wr_core_pool *p, const wr_pool_event *e)
{
    wr_pool_claim *c = claim_of(p, e->job, e->attempt);
    if (c == NULL || c->state != WR_CLAIM_HELD) return;
    for (uint32_t s = 0; s < c->slots; s++)
        if (c->tm[s] != 0) give_back(p, c, s);
    tidy(c);
}

static void forget(wr_core_pool *p, uint64_t job)
{
    give_back_kept(p, job);
    for (uint32_t i = 0; i < p->claims_max; i++)
        if (p->claim[i].state == WR_CLAIM_WAITS && p->claim[i].job == job) memset(&p->claim[i], 0, sizeof p->claim[i]);
}

static void tick(wr_core_pool *p, out *o)
{
    for (uint32_t i = 0; i < p->tms_max; i++) {
        wr_pool_tm *t = &p->tm[i];
        if (t->state == WR_TM_FREE || p->now_ms - t->heard_ms < p->silent_ms) continue;
        act(o, (wr_pool_action){.kind = WR_POOL_DO_LOST, .tm = t->tm});
        leave(p, t->tm);
    }
}

uint32_t wr_core_pool_step(wr_core_pool *p, const wr_pool_event *event, wr_pool_action *actions, uint32_t cap)
{
    check(p->magic == MAGIC && event->now_ms >= p->now_ms && cap >= p->tms_max + p->claims_max);
    out         o = {actions, 0, cap};
    wr_pool_tm *t = tm_of(p, event->tm);
    p->now_ms = event->now_ms;
    switch (event->kind) {
    case WR_POOL_JOIN: join(p, event); break;
    case WR_POOL_LEAVE: leave(p, event->tm); break;
    case WR_POOL_HEARD:
        if (t != NULL) t->heard_ms = p->now_ms;
        return 0;
    case WR_POOL_DRAIN:
        if (t != NULL) t->state = event->on ? WR_TM_DRAINING : WR_TM_ALIVE;
        break;
    case WR_POOL_WANT: want(p, event, &o); break;
    case WR_POOL_RESERVE: reserve(p, event); break;
    case WR_POOL_HOLDS: holds(p, event); break;
    case WR_POOL_FREED: freed(p, event); break;
    case WR_POOL_RETURN: give_back_all(p, event); break;
    case WR_POOL_FORGET: forget(p, event->job); break;
    case WR_POOL_TICK: tick(p, &o); break;
    default: check(!"an event of a kind that there is not");
    }
    grant_all(p, &o);
    return o.count;
}
