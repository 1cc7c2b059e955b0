/* The queue between two threads. ctest: threads */
#include "base/env.h"
#include "base/ring.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void one_thread(void **state)
{
    (void)state;
    wr_ring *ring = aligned_alloc(WR_CACHE_LINE, sizeof *ring);
    int      item[8];
    wr_ring_init(ring, 4);
    assert_null(wr_ring_pop(ring));
    assert_null(wr_ring_peek(ring));
    assert_int_equal(wr_ring_free(ring), 4);
    for (int round = 0; round < 100; round++) { /* the indices go around many times */
        for (int i = 0; i < 4; i++) assert_true(wr_ring_push(ring, &item[i]));
        assert_false(wr_ring_push(ring, &item[4]));
        assert_int_equal(wr_ring_count(ring), 4);
        assert_int_equal(wr_ring_free(ring), 0);
        assert_ptr_equal(wr_ring_peek(ring), &item[0]);
        assert_ptr_equal(wr_ring_pop(ring), &item[0]);
        assert_true(wr_ring_push(ring, &item[4]));
        for (int i = 1; i < 5; i++) assert_ptr_equal(wr_ring_pop(ring), &item[i]);
        assert_null(wr_ring_pop(ring));
        assert_int_equal(wr_ring_count(ring), 0);
    }
    wr_ring_init(ring, 1);
    assert_true(wr_ring_push(ring, &item[0]));
    assert_false(wr_ring_push(ring, &item[1]));
    assert_ptr_equal(wr_ring_pop(ring), &item[0]);
    free(ring);
}

enum { ITEMS = 200000 };

/* Shared by both threads of the test. The parkers belong to the side named. */
typedef struct pair {
    wr_ring   there, back;
    wr_parker consumer, producer;
    uint64_t  sum; /* consumer's */
} pair;

static void consume(void *arg)
{
    pair         *p = arg;
    const wr_env *env = wr_env_real();
    for (uintptr_t expected = 1; expected <= ITEMS;) {
        uint64_t *item = wr_ring_pop(&p->there);
        if (item == NULL) {
            wr_parker_prepare(&p->consumer);
            if (wr_ring_count(&p->there) > 0)
                wr_parker_cancel(&p->consumer);
            else
                env->park(env->self, &p->consumer, -1);
            continue;
        }
        if (*item != expected) return; /* out of order: the sum will be wrong */
        p->sum += *item;
        expected++;
        while (!wr_ring_push(&p->back, item)) {}
        wr_parker_wake(env, &p->producer);
    }
}

/* Items travel there and back; a lost wake-up would hang, and the contents written by one side are seen by the
 * other. */
static void two_threads(void **state)
{
    (void)state;
    const wr_env   *env = wr_env_real();
    static uint64_t item[8];
    pair           *p = aligned_alloc(WR_CACHE_LINE, sizeof *p);
    p->sum = 0;
    wr_ring_init(&p->there, 8);
    wr_ring_init(&p->back, 8);
    assert_int_equal(env->parker_init(env->self, &p->consumer), 0);
    assert_int_equal(env->parker_init(env->self, &p->producer), 0);
    for (int i = 0; i < 8; i++) assert_true(wr_ring_push(&p->back, &item[i]));
    wr_thread *thread;
    assert_int_equal(env->thread_start(env->self, &thread, consume, p, "consumer", -1), 0);
    for (uint64_t next = 1; next <= ITEMS;) {
        uint64_t *mine = wr_ring_pop(&p->back);
        if (mine == NULL) {
            wr_parker_prepare(&p->producer);
            if (wr_ring_count(&p->back) > 0)
                wr_parker_cancel(&p->producer);
            else
                env->park(env->self, &p->producer, -1);
            continue;
        }
        *mine = next++;
        assert_true(wr_ring_push(&p->there, mine));
        wr_parker_wake(env, &p->consumer);
    }
    env->thread_join(env->self, thread);
    assert_true(p->sum == (uint64_t)ITEMS * (ITEMS + 1) / 2);
    env->parker_fini(env->self, &p->consumer);
    env->parker_fini(env->self, &p->producer);
    free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_thread), cmocka_unit_test(two_threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
