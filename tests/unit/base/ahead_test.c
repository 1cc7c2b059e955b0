/* Memory that a helper touches before its owner does. ctest: threads */
#include "base/ahead.h"
#include "base/limits.h"
#include "base/mem.h"
#include <sys/mman.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define BYTES ((uint64_t)WR_MIB(64))

static bool resident(char *at)
{
    unsigned char page = 0;
    assert_int_equal(mincore(at, WR_PAGE_BYTES, &page), 0);
    return page & 1;
}

/* Waits until the page is there; the test's time limit is the failure. */
static void wait_for(const wr_env *env, char *at)
{
    wr_parker parker;
    assert_int_equal(env->parker_init(env->self, &parker), 0);
    while (!resident(at)) env->park(env->self, &parker, 100000);
    env->parker_fini(env->self, &parker);
}

static bool kernel_can(void)
{
    char *at = wr_mem_reserve(WR_HUGE_BYTES);
    bool  can = madvise(at, WR_PAGE_BYTES, 23 /* MADV_POPULATE_WRITE */) == 0;
    wr_mem_release(at, WR_HUGE_BYTES);
    return can;
}

static void touches_in_front_of_its_owner(void **state)
{
    (void)state;
    if (!kernel_can()) skip();
    const wr_env  *env = wr_env_real();
    wr_ahead      *ahead = wr_ahead_new(env);
    wr_ahead_range range = {0};
    char          *base = wr_mem_reserve(BYTES);
    assert_non_null(base);
    assert_false(resident(base));
    wr_ahead_add(ahead, &range, base, BYTES, 0);
    wait_for(env, base + WR_MIB(8));
    assert_false(resident(base + BYTES - WR_PAGE_BYTES)); /* not more than its lead */
    base[WR_MIB(8)] = 7;
    wr_ahead_used(&range, (uint64_t)WR_MIB(40));
    wait_for(env, base + BYTES - WR_PAGE_BYTES);
    assert_int_equal(base[WR_MIB(8)], 7); /* what is there stays */
    wr_ahead_remove(&range);
    wr_mem_release(base, BYTES);
    wr_ahead_free(ahead);
}

static void touches_what_is_wanted(void **state)
{
    (void)state;
    if (!kernel_can()) skip();
    const wr_env  *env = wr_env_real();
    wr_ahead      *ahead = wr_ahead_new(env);
    wr_ahead_range range = {.no_lead = true};
    wr_ahead_want(&range, BYTES); /* nobody runs ahead */
    assert_int_equal(wr_ahead_ready(&range), 0);
    char *base = wr_mem_reserve(BYTES);
    wr_ahead_add(ahead, &range, base, BYTES, 0);
    wr_ahead_want(&range, (uint64_t)WR_MIB(45)); /* no whole number of steps */
    wait_for(env, base + WR_MIB(45) - WR_PAGE_BYTES);
    wr_parker parker;
    assert_int_equal(env->parker_init(env->self, &parker), 0);
    while (wr_ahead_ready(&range) < (uint64_t)WR_MIB(45)) env->park(env->self, &parker, 100000);
    env->parker_fini(env->self, &parker);
    assert_int_equal(wr_ahead_ready(&range), WR_MIB(48));
    assert_false(resident(base + WR_MIB(48))); /* and not more */
    wr_ahead_want(&range, 1);                  /* it stays */
    wr_ahead_want(&range, 2 * BYTES);
    wait_for(env, base + BYTES - WR_PAGE_BYTES);
    wr_ahead_remove(&range);
    wr_mem_release(base, BYTES);
    wr_ahead_free(ahead);
}

/* Whose owner is in the middle of a page. */
static void begins_anywhere(void **state)
{
    (void)state;
    if (!kernel_can()) skip();
    const wr_env  *env = wr_env_real();
    wr_ahead      *ahead = wr_ahead_new(env);
    wr_ahead_range range = {0};
    char          *base = wr_mem_reserve(BYTES);
    assert_non_null(base);
    wr_ahead_add(ahead, &range, base, BYTES, (uint64_t)WR_MIB(4) + 520);
    wait_for(env, base + WR_MIB(16));
    wr_ahead_remove(&range);
    wr_mem_release(base, BYTES);
    wr_ahead_free(ahead);
}

/* Ranges come and go while the helper works: nothing is touched after it was removed. */
static void ranges_come_and_go(void **state)
{
    (void)state;
    wr_ahead *ahead = wr_ahead_new(wr_env_real());
    for (int i = 0; i < 50; i++) {
        wr_ahead_range range = {0};
        char          *base = wr_mem_reserve(BYTES);
        wr_ahead_add(ahead, &range, base, BYTES, 0);
        wr_ahead_used(&range, WR_AHEAD_STEP_BYTES * 2);
        wr_ahead_remove(&range);
        wr_mem_release(base, BYTES);
    }
    wr_ahead_free(ahead);
}

static void nobody_is_no_error(void **state)
{
    (void)state;
    wr_ahead_range range = {0};
    wr_ahead_add(NULL, &range, NULL, BYTES, 0);
    wr_ahead_used(&range, BYTES);
    wr_ahead_remove(&range);
    wr_ahead_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(touches_in_front_of_its_owner),
        cmocka_unit_test(touches_what_is_wanted),
        cmocka_unit_test(begins_anywhere),
        cmocka_unit_test(ranges_come_and_go),
        cmocka_unit_test(nobody_is_no_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
