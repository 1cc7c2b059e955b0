/* The pool of slots: who gets what, by hand; then random events before an onlooker with books of its own. */
#include "base/prng.h"
#include "jobmanager/core_pool.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { TMS = 4, CLAIMS = 8, SILENT_MS = 5000 };

typedef struct bench {
    wr_core_pool   pool;
    wr_pool_tm     tm[TMS];
    wr_pool_claim  claim[CLAIMS];
    wr_pool_action action[TMS + CLAIMS];
    uint32_t       actions;
    int64_t        now_ms;
} bench;

static void begin(bench *b)
{
    memset(b, 0, sizeof *b);
    wr_core_pool_init(&b->pool, b->tm, TMS, b->claim, CLAIMS, SILENT_MS, 0);
}

static void step(bench *b, wr_pool_event event)
{
    event.now_ms = b->now_ms;
    b->actions = wr_core_pool_step(&b->pool, &event, b->action, TMS + CLAIMS);
    wr_core_pool_check(&b->pool);
}

static void join(bench *b, uint64_t tm, uint32_t slots)
{
    step(b, (wr_pool_event){.kind = WR_POOL_JOIN, .tm = tm, .slots = slots});
}

static void want(bench *b, uint64_t job, uint32_t attempt, uint32_t slots)
{
    step(b, (wr_pool_event){.kind = WR_POOL_WANT, .job = job, .attempt = attempt, .slots = slots, .rank = job});
}

static void freed(bench *b, uint64_t job, uint32_t attempt, uint64_t tm, bool keep)
{
    step(b, (wr_pool_event){.kind = WR_POOL_FREED, .job = job, .attempt = attempt, .tm = tm, .keep = keep});
}

/* This was granted, and nothing else was said. */
static void grants(const bench *b, uint64_t job, uint32_t attempt)
{
    assert_int_equal(b->actions, 1);
    assert_int_equal(b->action[0].kind, WR_POOL_DO_GRANT);
    assert_true(b->action[0].job == job && b->action[0].attempt == attempt);
}

static uint32_t slots_at(const bench *b, uint64_t job, uint32_t attempt, uint64_t tm)
{
    const wr_pool_claim *c = wr_core_pool_claim_of(&b->pool, job, attempt);
    uint32_t             n = 0;
    for (uint32_t i = 0; c != NULL && i < c->slots; i++) n += c->tm[i] == tm;
    return n;
}

static uint32_t free_slots(const bench *b)
{
    wr_pool_sums sums;
    wr_core_pool_sums(&b->pool, &sums);
    return sums.free_slots;
}

static void test_spreads_evenly(void **state)
{
    (void)state;
    bench b;
    begin(&b);
    join(&b, 1, 2);
    join(&b, 2, 2);
    join(&b, 3, 2);
    want(&b, 10, 1, 3);
    grants(&b, 10, 1);
    for (uint64_t tm = 1; tm <= 3; tm++) assert_int_equal(slots_at(&b, 10, 1, tm), 1);
    want(&b, 11, 1, 3);
    for (uint64_t tm = 1; tm <= 3; tm++) assert_int_equal(slots_at(&b, 11, 1, tm), 1);
    begin(&b); /* in proportion */
    join(&b, 1, 6);
    join(&b, 2, 2);
    want(&b, 10, 1, 4);
    assert_int_equal(slots_at(&b, 10, 1, 1), 3);
    assert_int_equal(slots_at(&b, 10, 1, 2), 1);
    begin(&b); /* all are as free: the larger one; of the same size the first */
    join(&b, 1, 2);
    join(&b, 2, 6);
    join(&b, 3, 6);
    want(&b, 10, 1, 1);
    assert_int_equal(slots_at(&b, 10, 1, 2), 1);
}

static void test_waits_until_one_joins(void **state)
{
    (void)state;
    bench b;
    begin(&b);
    want(&b, 10, 1, 4);
    assert_int_equal(b.actions, 0);
    join(&b, 1, 3);
    assert_int_equal(b.actions, 0);
    want(&b, 11, 1, 2); /* fits, though another one was first */
    grants(&b, 11, 1);
    join(&b, 2, 3);
    grants(&b, 10, 1);
    want(&b, 10, 1, 4); /* repeated */
    assert_int_equal(b.actions, 0);
    assert_int_equal(free_slots(&b), 0);
}

static void test_the_oldest_goes_first(void **state)
{
    (void)state;
    bench b;
    begin(&b);
    want(&b, 30, 1, 1);
    want(&b, 20, 1, 1);
    want(&b, 10, 1, 2);
    join(&b, 1, 1);
    grants(&b, 20, 1); /* of less rank than 30; 10 does not fit */
    freed(&b, 20, 1, 1, false);
    grants(&b, 30, 1);
    begin(&b);
    for (uint64_t job = 7; job > 4; job--) /* equal ranks: who waited longest */
        step(&b, (wr_pool_event){.kind = WR_POOL_WANT, .job = job, .attempt = 1, .slots = 1, .rank = 3});
    join(&b, 1, 1);
    grants(&b, 7, 1);
}

/* A job that restarts comes back into its slots, though another one waits for any. */
static void test_kept_slots(void **state)
{
    (void)state;
    bench b;
    begin(&b);
    join(&b, 1, 2);
    want(&b, 20, 1, 2);
    want(&b, 10, 1, 1); /* waits, and is older */
    freed(&b, 20, 1, 1, true);
    assert_int_equal(b.actions, 0);
    want(&b, 20, 2, 2);
    grants(&b, 20, 2);
    assert_null(wr_core_pool_claim_of(&b.pool, 20, 1));
    freed(&b, 20, 2, 1, true);
    want(&b, 20, 3, 3); /* more than there is: nobody else is held up by it */
    grants(&b, 10, 1);
    begin(&b);
    join(&b, 1, 2);
    want(&b, 20, 1, 2);
    want(&b, 10, 1, 1);
    freed(&b, 20, 1, 1, true);
    step(&b, (wr_pool_event){.kind = WR_POOL_FORGET, .job = 20});
    grants(&b, 10, 1);
    assert_int_equal(free_slots(&b), 1);
}

static void test_lost_by_silence_and_by_leaving(void **state)
{
    (void)state;
    bench b;
    begin(&b);
    join(&b, 1, 2);
    b.now_ms = 3000;
    join(&b, 2, 2);
    want(&b, 10, 1, 4);
    assert_true(wr_core_pool_due(&b.pool) == SILENT_MS);
    b.now_ms = SILENT_MS - 1;
    step(&b, (wr_pool_event){.kind = WR_POOL_TICK});
    assert_int_equal(b.actions, 0);
    step(&b, (wr_pool_event){.kind = WR_POOL_HEARD, .tm = 1});
    b.now_ms = 3000 + SILENT_MS;
    step(&b, (wr_pool_event){.kind = WR_POOL_TICK});
    assert_int_equal(b.actions, 1);
    assert_int_equal(b.action[0].kind, WR_POOL_DO_LOST);
    assert_true(b.action[0].tm == 2);
    assert_null(wr_core_pool_tm_of(&b.pool, 2));
    assert_int_equal(slots_at(&b, 10, 1, 2), 0);
    assert_int_equal(slots_at(&b, 10, 1, 1), 2);               /* a worker is still there */
    step(&b, (wr_pool_event){.kind = WR_POOL_HEARD, .tm = 2}); /* of nobody that we know */
    assert_null(wr_core_pool_tm_of(&b.pool, 2));
    join(&b, 2, 2); /* it was only slow: what it had is not its any more */
    assert_int_equal(free_slots(&b), 2);
    step(&b, (wr_pool_event){.kind = WR_POOL_LEAVE, .tm = 1});
    assert_null(wr_core_pool_claim_of(&b.pool, 10, 1));
    assert_int_equal(b.actions, 0);
}

static void test_drained(void **state)
{
    (void)state;
    bench b;
    begin(&b);
    join(&b, 1, 2);
    want(&b, 10, 1, 1);
    step(&b, (wr_pool_event){.kind = WR_POOL_DRAIN, .tm = 1, .on = true});
    want(&b, 11, 1, 1);
    assert_int_equal(b.actions, 0);
    freed(&b, 10, 1, 1, true); /* it was asked to move; its old slot is none for it */
    want(&b, 10, 2, 1);
    assert_int_equal(b.actions, 0);
    assert_int_equal(wr_core_pool_tm_of(&b.pool, 1)->used, 0);
    join(&b, 2, 1);
    grants(&b, 10, 2);
    assert_int_equal(slots_at(&b, 10, 2, 2), 1);
    step(&b, (wr_pool_event){.kind = WR_POOL_DRAIN, .tm = 1, .on = false});
    grants(&b, 11, 1);
}

/* The JobManager is new: what it knows of its jobs' places comes before the TaskManagers do. */
static void test_holds(void **state)
{
    (void)state;
    const uint64_t place[] = {1, 2, 1};
    bench          b;
    begin(&b);
    const wr_pool_event holds = {.kind = WR_POOL_HOLDS, .job = 10, .attempt = 4, .slots = 3, .place = place};
    step(&b, holds);
    want(&b, 11, 1, 1);
    join(&b, 1, 2);
    assert_int_equal(b.actions, 0); /* both are taken */
    assert_int_equal(wr_core_pool_tm_of(&b.pool, 1)->used, 2);
    join(&b, 2, 2);
    grants(&b, 11, 1);
    assert_int_equal(slots_at(&b, 11, 1, 2), 1);
    step(&b, (wr_pool_event){.kind = WR_POOL_LEAVE, .tm = 1});
    join(&b, 1, 2);
    step(&b, holds); /* it came back with what it had */
    assert_int_equal(slots_at(&b, 10, 4, 1), 2);
    assert_int_equal(free_slots(&b), 0);
    join(&b, 3, 1);
    const uint64_t many[] = {3, 3, 3}; /* more than it says it has: nothing is free, and nothing goes below 0 */
    step(&b, (wr_pool_event){.kind = WR_POOL_HOLDS, .job = 12, .attempt = 1, .slots = 3, .place = many});
    assert_int_equal(free_slots(&b), 0);
    freed(&b, 12, 1, 3, false);
    assert_int_equal(free_slots(&b), 1);
}

static void test_given_back(void **state)
{
    (void)state;
    bench b;
    begin(&b);
    join(&b, 1, 2);
    want(&b, 10, 1, 2);
    want(&b, 11, 1, 2);
    step(&b, (wr_pool_event){.kind = WR_POOL_RETURN, .job = 10, .attempt = 1});
    grants(&b, 11, 1);
    freed(&b, 10, 1, 1, false); /* nothing is there to be freed */
    freed(&b, 11, 9, 1, false);
    assert_int_equal(free_slots(&b), 0);
    step(&b, (wr_pool_event){.kind = WR_POOL_FORGET, .job = 11}); /* a worker is there until it is gone */
    assert_int_equal(free_slots(&b), 0);
}

static void test_tables_are_full(void **state)
{
    (void)state;
    bench b;
    begin(&b);
    for (uint64_t tm = 1; tm <= TMS + 1; tm++) join(&b, tm, 1);
    assert_null(wr_core_pool_tm_of(&b.pool, TMS + 1));
    for (uint64_t job = 1; job <= CLAIMS + 1; job++) want(&b, job, 1, 9);
    assert_null(wr_core_pool_claim_of(&b.pool, CLAIMS + 1, 1));
    assert_non_null(wr_core_pool_claim_of(&b.pool, CLAIMS, 1));
}

/* Whoever finds no room asks again, and finds it when all of its old workers are gone at the latest. */
static void test_room_for_who_restarts_when_tables_are_full(void **state)
{
    (void)state;
    bench b;
    begin(&b);
    join(&b, 1, CLAIMS);
    for (uint64_t job = 1; job <= CLAIMS; job++) want(&b, job, 1, 1);
    want(&b, 3, 2, 1);
    assert_null(wr_core_pool_claim_of(&b.pool, 3, 2));
    freed(&b, 3, 1, 1, true);
    want(&b, 3, 2, 1);
    grants(&b, 3, 2);
}

static void reserve(bench *b, uint64_t job, uint32_t slots)
{
    step(b, (wr_pool_event){.kind = WR_POOL_RESERVE, .job = job, .slots = slots});
}

/* A job that is ended because it wants more slots finds them, whoever asks in between. */
static void test_reserved(void **state)
{
    (void)state;
    bench b;
    begin(&b);
    join(&b, 1, 2);
    join(&b, 2, 2);
    want(&b, 10, 1, 2);
    assert_int_equal(wr_core_pool_reach(&b.pool, 10), 4);
    assert_int_equal(wr_core_pool_reach(&b.pool, 11), 2);
    reserve(&b, 10, 5); /* there are not that many */
    assert_int_equal(free_slots(&b), 2);
    reserve(&b, 10, 3);
    assert_int_equal(free_slots(&b), 1);
    reserve(&b, 10, 4); /* instead of what was reserved before */
    assert_int_equal(free_slots(&b), 0);
    assert_int_equal(wr_core_pool_reach(&b.pool, 10), 4);
    want(&b, 11, 1, 1);
    assert_int_equal(b.actions, 0);
    want(&b, 10, 2, 4);
    assert_int_equal(b.actions, 0);
    freed(&b, 10, 1, 1, false);
    assert_int_equal(b.actions, 0);
    freed(&b, 10, 1, 2, false);
    grants(&b, 10, 2);
    begin(&b);
    join(&b, 1, 2);
    want(&b, 10, 1, 1);
    reserve(&b, 10, 2);
    want(&b, 11, 1, 1);
    assert_int_equal(b.actions, 0);
    step(&b, (wr_pool_event){.kind = WR_POOL_FORGET, .job = 10}); /* it has ended meanwhile */
    grants(&b, 11, 1);
}

/* Slots on a TaskManager that is drained are of no use to the next attempt. */
static void test_reserved_elsewhere(void **state)
{
    (void)state;
    bench b;
    begin(&b);
    join(&b, 1, 2);
    want(&b, 10, 1, 2);
    join(&b, 2, 2);
    step(&b, (wr_pool_event){.kind = WR_POOL_DRAIN, .tm = 1, .on = true});
    assert_int_equal(wr_core_pool_reach(&b.pool, 10), 2);
    reserve(&b, 10, 2);
    want(&b, 11, 1, 1);
    assert_int_equal(b.actions, 0);
    want(&b, 10, 2, 2); /* two are kept for it already */
    grants(&b, 10, 2);
    assert_int_equal(slots_at(&b, 10, 2, 2), 2);
}

/* Its old workers go one by one; nobody takes what the first ones left, unless it would be of no use. */
static void test_waits_for_its_own_slots(void **state)
{
    (void)state;
    bench b;
    begin(&b);
    join(&b, 1, 1);
    join(&b, 2, 1);
    want(&b, 20, 1, 2);
    want(&b, 10, 1, 1);
    want(&b, 20, 2, 2); /* it is rescaled: its workers were told to go */
    freed(&b, 20, 1, 1, false);
    assert_int_equal(b.actions, 0);
    freed(&b, 20, 1, 2, false);
    grants(&b, 20, 2);
    want(&b, 20, 3, 3);
    freed(&b, 20, 2, 1, false);
    assert_int_equal(b.actions, 0);
    freed(&b, 20, 2, 2, false); /* three there are not: the others go on */
    grants(&b, 10, 1);
    begin(&b);
    join(&b, 1, 1);
    join(&b, 2, 3);
    want(&b, 20, 1, 2);
    want(&b, 20, 2, 2); /* enough is free beside what it has: it need not wait for anybody */
    grants(&b, 20, 2);
}

/* ---- random events ---- */

enum { JOBS = 4 };
/* A claim as the shell of its job sees it. */
typedef struct claim {
    uint64_t job;
    uint32_t attempt, slots; /* slots 0: none */
    bool     waits;
    uint64_t place[WR_SLOTS_MAX]; /* 0: nobody any more */
    bool     kept[WR_SLOTS_MAX];  /* the worker is gone, the slot is kept */
} claim;
typedef struct books {
    bench    b;
    wr_prng  random;
    claim    claim[CLAIMS];
    uint32_t attempts;
    struct {
        uint32_t slots;
        bool     here, draining;
        int64_t  heard_ms;
    } tm[TMS + 1];
    uint32_t grants, lost, kept, reserved;
} books;

static uint32_t used(const books *k, uint64_t tm)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < CLAIMS; i++)
        for (uint32_t s = 0; s < k->claim[i].slots; s++) n += k->claim[i].place[s] == tm;
    return n;
}

static uint32_t all_free(const books *k)
{
    uint32_t n = 0;
    for (uint64_t t = 1; t <= TMS; t++)
        if (k->tm[t].here && !k->tm[t].draining) n += k->tm[t].slots - used(k, t);
    return n;
}

/* What a job kept and may have again; what of it still runs. */
static uint32_t kept(const books *k, uint64_t job, uint32_t *running)
{
    uint32_t n = 0;
    *running = 0;
    for (uint32_t i = 0; i < CLAIMS; i++) {
        for (uint32_t s = 0; s < k->claim[i].slots && k->claim[i].job == job; s++) {
            uint64_t tm = k->claim[i].place[s];
            n += tm != 0 && k->claim[i].kept[s] && !k->tm[tm].draining;
            *running += tm != 0 && !k->claim[i].kept[s];
        }
    }
    return n;
}

static void forget_kept(books *k, uint64_t job)
{
    for (uint32_t i = 0; i < CLAIMS; i++) {
        for (uint32_t s = 0; s < k->claim[i].slots && k->claim[i].job == job; s++) {
            if (k->claim[i].kept[s]) k->claim[i].place[s] = 0;
            k->claim[i].kept[s] = false;
        }
    }
}

static void tidy(books *k)
{
    for (uint32_t i = 0; i < CLAIMS; i++) {
        bool any = k->claim[i].waits;
        for (uint32_t s = 0; s < k->claim[i].slots; s++) any |= k->claim[i].place[s] != 0;
        if (!any) memset(&k->claim[i], 0, sizeof k->claim[i]);
    }
}

static void tm_gone(books *k, uint64_t tm)
{
    k->tm[tm].here = k->tm[tm].draining = false;
    for (uint32_t i = 0; i < CLAIMS; i++) {
        for (uint32_t s = 0; s < k->claim[i].slots; s++) {
            if (k->claim[i].place[s] != tm) continue;
            k->claim[i].place[s] = 0;
            k->claim[i].kept[s] = false;
        }
    }
}

static void take_grant(books *k, uint64_t job, uint32_t attempt)
{
    const wr_pool_claim *c = wr_core_pool_claim_of(&k->b.pool, job, attempt);
    claim               *mine = NULL;
    for (uint32_t i = 0; i < CLAIMS; i++)
        if (k->claim[i].job == job && k->claim[i].attempt == attempt) mine = &k->claim[i];
    assert_true(mine != NULL && mine->waits && c != NULL && c->state == WR_CLAIM_HELD && c->slots == mine->slots);
    forget_kept(k, job);
    mine->waits = false;
    for (uint32_t s = 0; s < mine->slots; s++) {
        assert_true(c->tm[s] >= 1 && c->tm[s] <= TMS && k->tm[c->tm[s]].here && !k->tm[c->tm[s]].draining);
        mine->place[s] = c->tm[s];
    }
    for (uint64_t t = 1; t <= TMS; t++) assert_true(!k->tm[t].here || used(k, t) <= k->tm[t].slots);
    k->grants++;
}

static void take_actions(books *k)
{
    for (uint32_t i = 0; i < k->b.actions; i++) {
        const wr_pool_action *a = &k->b.action[i];
        uint32_t              running;
        if (a->kind == WR_POOL_DO_LOST) {
            assert_true(k->tm[a->tm].here && k->b.now_ms - k->tm[a->tm].heard_ms >= SILENT_MS);
            tm_gone(k, a->tm);
            k->lost++;
        } else { /* whoever waits in vain gave up what it kept, perhaps for this one */
            for (uint32_t c = 0; c < CLAIMS; c++) {
                kept(k, k->claim[c].job, &running);
                if (k->claim[c].waits && k->claim[c].job != a->job && running == 0) forget_kept(k, k->claim[c].job);
            }
            take_grant(k, a->job, a->attempt);
        }
    }
}

static void look(books *k)
{
    uint32_t running;
    take_actions(k);
    for (uint32_t i = 0; i < CLAIMS; i++) {
        kept(k, k->claim[i].job, &running);
        if (k->claim[i].waits && running == 0) forget_kept(k, k->claim[i].job);
    }
    tidy(k);
    uint32_t free = all_free(k);
    assert_int_equal(free_slots(&k->b), free);
    for (uint32_t i = 0; i < CLAIMS; i++) { /* nobody waits for what is there */
        if (k->claim[i].waits) assert_true(k->claim[i].slots > free + kept(k, k->claim[i].job, &running));
        for (uint32_t s = 0; s < k->claim[i].slots; s++) k->kept += k->claim[i].kept[s];
    }
    for (uint64_t t = 1; t <= TMS; t++) {
        const wr_pool_tm *tm = wr_core_pool_tm_of(&k->b.pool, t);
        assert_int_equal(tm != NULL, k->tm[t].here);
        if (tm != NULL) assert_int_equal(tm->used, used(k, t));
    }
}

static void say_want(books *k, uint64_t job)
{
    claim   *c = NULL;
    uint32_t has = 0;
    for (uint32_t i = 0; i < CLAIMS; i++) {
        if (k->claim[i].job == job && k->claim[i].waits) return;
        has += k->claim[i].job == job;
        if (k->claim[i].slots == 0) c = &k->claim[i];
    }
    if (has > 1 || c == NULL) return;
    *c = (claim){.job = job, .attempt = ++k->attempts, .slots = 1 + (uint32_t)wr_prng_below(&k->random, 5)};
    c->waits = true;
    want(&k->b, job, c->attempt, c->slots);
}

static void say_freed(books *k)
{
    claim   *c = &k->claim[wr_prng_below(&k->random, CLAIMS)];
    uint64_t tm = 1 + wr_prng_below(&k->random, TMS);
    bool     keep = wr_prng_one_in(&k->random, 2), waits = false;
    if (c->slots == 0 || c->waits) return;
    for (uint32_t i = 0; i < CLAIMS; i++) waits |= k->claim[i].job == c->job && k->claim[i].waits;
    for (uint32_t s = 0; s < c->slots; s++) {
        if (c->place[s] != tm) continue;
        c->kept[s] = keep || waits;
        if (!c->kept[s]) c->place[s] = 0;
    }
    freed(&k->b, c->job, c->attempt, tm, keep);
}

static void say_forget(books *k, uint64_t job)
{
    forget_kept(k, job);
    for (uint32_t i = 0; i < CLAIMS; i++)
        if (k->claim[i].job == job && k->claim[i].waits) memset(&k->claim[i], 0, sizeof k->claim[i]);
    step(&k->b, (wr_pool_event){.kind = WR_POOL_FORGET, .job = job});
}

static uint32_t own(const books *k, uint64_t job)
{
    uint32_t running, n = kept(k, job, &running);
    for (uint32_t i = 0; i < CLAIMS; i++)
        for (uint32_t s = 0; s < k->claim[i].slots && k->claim[i].job == job; s++) {
            uint64_t tm = k->claim[i].place[s];
            n += tm != 0 && !k->claim[i].kept[s] && k->tm[tm].here && !k->tm[tm].draining;
        }
    return n;
}

static void say_reserve(books *k, uint64_t job)
{
    uint32_t slots = 1 + (uint32_t)wr_prng_below(&k->random, 6), has;
    claim   *c = NULL;
    assert_int_equal(wr_core_pool_reach(&k->b.pool, job), all_free(k) + own(k, job));
    for (uint32_t i = 0; i < CLAIMS; i++)
        if (k->claim[i].job == job && k->claim[i].attempt == 0) memset(&k->claim[i], 0, sizeof k->claim[i]);
    for (uint32_t i = 0; i < CLAIMS; i++)
        if (k->claim[i].slots == 0) c = &k->claim[i];
    has = own(k, job);
    reserve(&k->b, job, slots);
    if (c == NULL || slots <= has || slots > all_free(k) + has) return;
    const wr_pool_claim *real = wr_core_pool_claim_of(&k->b.pool, job, 0);
    uint32_t             running;
    bool                 waits = false;
    kept(k, job, &running);
    for (uint32_t i = 0; i < CLAIMS; i++) waits |= k->claim[i].job == job && k->claim[i].waits;
    assert_int_equal(real == NULL, waits && running == 0); /* who waits in vain keeps nothing */
    if (real == NULL) return;
    assert_int_equal(real->slots, slots - has);
    *c = (claim){.job = job, .slots = real->slots};
    for (uint32_t s = 0; s < real->slots; s++) {
        assert_true(real->kept[s]);
        c->place[s] = real->tm[s];
        c->kept[s] = true;
    }
    for (uint64_t t = 1; t <= TMS; t++) assert_true(!k->tm[t].here || used(k, t) <= k->tm[t].slots);
    k->reserved++;
}

static void say_of_tm(books *k)
{
    uint64_t tm = 1 + wr_prng_below(&k->random, TMS), what = wr_prng_below(&k->random, 10);
    if (what < 4) {
        if (!k->tm[tm].here) k->tm[tm].slots = 1 + (uint32_t)wr_prng_below(&k->random, 4);
        k->tm[tm].here = true;
        k->tm[tm].heard_ms = k->b.now_ms;
        join(&k->b, tm, k->tm[tm].slots);
    } else if (what < 8) {
        k->tm[tm].heard_ms = k->b.now_ms;
        step(&k->b, (wr_pool_event){.kind = WR_POOL_HEARD, .tm = tm});
    } else if (what < 9) {
        tm_gone(k, tm);
        step(&k->b, (wr_pool_event){.kind = WR_POOL_LEAVE, .tm = tm});
    } else {
        bool on = wr_prng_one_in(&k->random, 2);
        k->tm[tm].draining = on && k->tm[tm].here;
        step(&k->b, (wr_pool_event){.kind = WR_POOL_DRAIN, .tm = tm, .on = on});
    }
}

static void test_random_events(void **state)
{
    (void)state;
    uint32_t grants_seen = 0, lost_seen = 0, kept_seen = 0, reserved_seen = 0;
    for (uint64_t seed = 0; seed < 2000; seed++) {
        static books k;
        memset(&k, 0, sizeof k);
        k.random = wr_prng_of(seed);
        begin(&k.b);
        for (uint32_t n = 0; n < 150; n++) {
            uint64_t id = 1 + wr_prng_below(&k.random, JOBS), what = wr_prng_below(&k.random, 16);
            k.b.actions = 0;
            k.b.now_ms += (int64_t)wr_prng_below(&k.random, 400);
            if (what < 5) say_of_tm(&k);
            if (what == 5 || what == 6) say_want(&k, id);
            if (what > 6 && what < 12) say_freed(&k);
            if (what == 12) say_forget(&k, id);
            if (what == 13) step(&k.b, (wr_pool_event){.kind = WR_POOL_TICK});
            if (what > 13) say_reserve(&k, id);
            look(&k);
        }
        grants_seen += k.grants;
        lost_seen += k.lost;
        kept_seen += k.kept;
        reserved_seen += k.reserved;
    }
    assert_true(grants_seen > 5000 && lost_seen > 1000 && kept_seen > 5000 && reserved_seen > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spreads_evenly),
        cmocka_unit_test(test_waits_until_one_joins),
        cmocka_unit_test(test_the_oldest_goes_first),
        cmocka_unit_test(test_kept_slots),
        cmocka_unit_test(test_waits_for_its_own_slots),
        cmocka_unit_test(test_lost_by_silence_and_by_leaving),
        cmocka_unit_test(test_drained),
        cmocka_unit_test(test_holds),
        cmocka_unit_test(test_given_back),
        cmocka_unit_test(test_tables_are_full),
        cmocka_unit_test(test_room_for_who_restarts_when_tables_are_full),
        cmocka_unit_test(test_reserved),
        cmocka_unit_test(test_reserved_elsewhere),
        cmocka_unit_test(test_random_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
