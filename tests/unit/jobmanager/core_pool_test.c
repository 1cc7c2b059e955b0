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

/* ---- random events ---- */

enum { JOBS = 5 };
/* A job as its shell sees it. */
typedef struct job {
    uint32_t attempt, slots;
    bool     waits, holds;
    uint64_t place[WR_SLOTS_MAX]; /* workers that are alive; 0: none */
    bool     kept[WR_SLOTS_MAX];  /* the worker is gone, the slot is kept */
} job;
typedef struct books {
    bench   b;
    wr_prng random;
    job     job[JOBS + 1];
    struct {
        uint32_t slots;
        bool     here, draining;
        int64_t  heard_ms;
    } tm[TMS + 1];
    uint32_t grants, lost, kept;
} books;

static uint32_t used(const books *k, uint64_t tm)
{
    uint32_t n = 0;
    for (uint32_t j = 1; j <= JOBS; j++)
        for (uint32_t s = 0; s < k->job[j].slots; s++) n += k->job[j].holds && k->job[j].place[s] == tm;
    return n;
}

static uint32_t all_free(const books *k)
{
    uint32_t n = 0;
    for (uint64_t t = 1; t <= TMS; t++)
        if (k->tm[t].here && !k->tm[t].draining) n += k->tm[t].slots - used(k, t);
    return n;
}

static void tm_gone(books *k, uint64_t tm)
{
    k->tm[tm].here = k->tm[tm].draining = false;
    for (uint32_t j = 1; j <= JOBS; j++) {
        bool any = false;
        for (uint32_t s = 0; s < k->job[j].slots && k->job[j].holds; s++) {
            if (k->job[j].place[s] == tm) k->job[j].place[s] = 0;
            any |= k->job[j].place[s] != 0;
        }
        k->job[j].holds &= any;
    }
}

static void take_grant(books *k, uint64_t id, uint32_t attempt)
{
    job                 *j = &k->job[id];
    const wr_pool_claim *c = wr_core_pool_claim_of(&k->b.pool, id, attempt);
    assert_true(j->waits && attempt == j->attempt && c != NULL && c->state == WR_CLAIM_HELD && c->slots == j->slots);
    assert_true(j->slots <= all_free(k));
    j->waits = false;
    j->holds = true;
    memset(j->kept, 0, sizeof j->kept);
    for (uint32_t s = 0; s < j->slots; s++) {
        assert_true(c->tm[s] >= 1 && c->tm[s] <= TMS && k->tm[c->tm[s]].here && !k->tm[c->tm[s]].draining);
        j->place[s] = c->tm[s];
    }
    for (uint64_t t = 1; t <= TMS; t++) assert_true(!k->tm[t].here || used(k, t) <= k->tm[t].slots);
    k->grants++;
}

static void look(books *k)
{
    for (uint32_t i = 0; i < k->b.actions; i++) {
        const wr_pool_action *a = &k->b.action[i];
        if (a->kind == WR_POOL_DO_LOST) {
            assert_true(k->tm[a->tm].here && k->b.now_ms - k->tm[a->tm].heard_ms >= SILENT_MS);
            tm_gone(k, a->tm);
            k->lost++;
        }
    }
    for (uint32_t i = 0; i < k->b.actions; i++)
        if (k->b.action[i].kind == WR_POOL_DO_GRANT) take_grant(k, k->b.action[i].job, k->b.action[i].attempt);
    uint32_t free = all_free(k);
    assert_int_equal(free_slots(&k->b), free);
    for (uint32_t j = 1; j <= JOBS; j++) /* nobody waits for what is there */
        assert_false(k->job[j].waits && k->job[j].slots <= free);
    for (uint64_t t = 1; t <= TMS; t++) {
        const wr_pool_tm *tm = wr_core_pool_tm_of(&k->b.pool, t);
        assert_int_equal(tm != NULL, k->tm[t].here);
        if (tm != NULL) assert_int_equal(tm->used, used(k, t));
    }
}

static void say_want(books *k, uint64_t id)
{
    job *j = &k->job[id];
    bool alive = false;
    for (uint32_t s = 0; s < j->slots; s++) alive |= j->holds && j->place[s] != 0 && !j->kept[s];
    if (j->waits || alive) return;
    *j = (job){.attempt = j->attempt + 1, .slots = 1 + (uint32_t)wr_prng_below(&k->random, 5), .waits = true};
    want(&k->b, id, j->attempt, j->slots);
}

static void say_freed(books *k, uint64_t id)
{
    job     *j = &k->job[id];
    uint64_t tm = 1 + wr_prng_below(&k->random, TMS);
    bool     keep = wr_prng_one_in(&k->random, 2), any = false;
    if (!j->holds) return;
    for (uint32_t s = 0; s < j->slots; s++) {
        if (j->place[s] == tm && keep) j->kept[s] = true;
        if (j->place[s] == tm && !keep) {
            j->place[s] = 0;
            j->kept[s] = false;
        }
        any |= j->place[s] != 0;
        k->kept += j->kept[s];
    }
    j->holds = any;
    freed(&k->b, id, j->attempt, tm, keep);
}

static void say_forget(books *k, uint64_t id)
{
    job *j = &k->job[id];
    bool any = false;
    j->waits = false;
    for (uint32_t s = 0; s < j->slots && j->holds; s++) {
        if (j->kept[s]) j->place[s] = 0;
        j->kept[s] = false;
        any |= j->place[s] != 0;
    }
    j->holds = any;
    step(&k->b, (wr_pool_event){.kind = WR_POOL_FORGET, .job = id});
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
    uint32_t grants_seen = 0, lost_seen = 0, kept_seen = 0;
    for (uint64_t seed = 0; seed < 2000; seed++) {
        static books k;
        memset(&k, 0, sizeof k);
        k.random = wr_prng_of(seed);
        begin(&k.b);
        for (uint32_t n = 0; n < 120; n++) {
            uint64_t id = 1 + wr_prng_below(&k.random, JOBS), what = wr_prng_below(&k.random, 12);
            k.b.actions = 0;
            k.b.now_ms += (int64_t)wr_prng_below(&k.random, 400);
            if (what < 5) say_of_tm(&k);
            if (what == 5 || what == 6) say_want(&k, id);
            if (what == 7 || what == 8) say_freed(&k, id);
            if (what == 9) say_forget(&k, id);
            if (what > 9) step(&k.b, (wr_pool_event){.kind = WR_POOL_TICK});
            look(&k);
        }
        grants_seen += k.grants;
        lost_seen += k.lost;
        kept_seen += k.kept;
    }
    assert_true(grants_seen > 5000 && lost_seen > 1000 && kept_seen > 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spreads_evenly),
        cmocka_unit_test(test_waits_until_one_joins),
        cmocka_unit_test(test_the_oldest_goes_first),
        cmocka_unit_test(test_kept_slots),
        cmocka_unit_test(test_lost_by_silence_and_by_leaving),
        cmocka_unit_test(test_drained),
        cmocka_unit_test(test_holds),
        cmocka_unit_test(test_given_back),
        cmocka_unit_test(test_tables_are_full),
        cmocka_unit_test(test_random_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
