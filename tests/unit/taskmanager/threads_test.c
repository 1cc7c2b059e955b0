/* ctest: threads timeout=300
 * Whole jobs on real threads, many and small: what begins, ends, stops, is canceled or fails while others run. Run by
 * ThreadSanitizer as well. */
#include "base/prng.h"
#include "tests/unit/taskmanager/jobs.h"
#include <sched.h>

enum { ROUNDS = 80 };

static void vary(wr_prng *r)
{
    jobs.own_keyed = wr_prng_one_in(r, 2);
    jobs.own_sink = wr_prng_one_in(r, 2);
    jobs.strings = wr_prng_one_in(r, 2);
    jobs.idles = wr_prng_one_in(r, 3);
}

static void wait_until_seen(uint64_t least)
{
    while (atomic_load(&jobs.seen) < least) sched_yield();
}

static void test_bounded_jobs_finish_with_every_record(void **state)
{
    (void)state;
    wr_prng random = wr_prng_of(1);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        jobs_run r;
        jobs_reset((uint32_t)wr_prng_below(&random, 6), 1 + (uint32_t)wr_prng_below(&random, 4),
                   1 + wr_prng_below(&random, 4000));
        vary(&random);
        jobs_new(&r, wr_env_real());
        jobs_start(&r);
        jobs_end(&r);
        assert_int_equal(r.in[WR_TASK_FINISHED], r.exec->subtasks);
        assert_int_equal(jobs.sent, jobs.splits * jobs.records);
        assert_int_equal(jobs.seen, jobs.sent);
        assert_int_equal(jobs.seen_sum, jobs.sent_sum);
        jobs_free(&r);
    }
}

static void test_stopped_sources_lose_nothing(void **state)
{
    (void)state;
    wr_prng random = wr_prng_of(2);
    for (uint32_t i = 0; i < ROUNDS / 2; i++) {
        jobs_run r;
        jobs_reset(4, 1 + (uint32_t)wr_prng_below(&random, 4), UINT64_MAX);
        vary(&random);
        jobs_new(&r, wr_env_real());
        jobs_start(&r);
        wait_until_seen(wr_prng_below(&random, 5000));
        wr_worker_stop_sources(r.worker);
        jobs_end(&r);
        assert_int_equal(r.in[WR_TASK_FINISHED], r.exec->subtasks);
        assert_int_equal(jobs.seen, jobs.sent);
        assert_int_equal(jobs.seen_sum, jobs.sent_sum);
        jobs_free(&r);
    }
}

/* It has said when it has something: until then the slot has time to spare, and its other tasks are not held up. */
static void test_a_source_that_rests_is_left_alone(void **state)
{
    (void)state;
    jobs_run r;
    jobs_reset(1, 1, 20);
    jobs.rest_ns = 3 * WEIR_MILLISECOND;
    jobs_new(&r, wr_env_real());
    jobs_start(&r);
    jobs_end(&r);
    assert_int_equal(jobs.seen, 20);
    assert_int_equal(jobs.polls, 20); /* each gave a record; the last one said that it was the last */
    jobs_free(&r);
}

static void test_cancel_at_any_moment(void **state)
{
    (void)state;
    wr_prng random = wr_prng_of(3);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        jobs_run r;
        jobs_reset(4, 1 + (uint32_t)wr_prng_below(&random, 4), UINT64_MAX);
        vary(&random);
        jobs_new(&r, wr_env_real());
        jobs_start(&r);
        wait_until_seen(wr_prng_one_in(&random, 2) ? 0 : wr_prng_below(&random, 3000));
        jobs_cancel(&r);
        jobs_end(&r);
        assert_int_equal(r.in[WR_TASK_FAILED], 0);
        assert_int_equal(r.in[WR_TASK_CANCELED] + r.in[WR_TASK_FINISHED], r.exec->subtasks);
        assert_true(jobs.seen <= jobs.sent);
        jobs_free(&r);
    }
}

static void test_a_failure_ends_the_job(void **state)
{
    (void)state;
    wr_prng random = wr_prng_of(4);
    for (uint32_t i = 0; i < ROUNDS / 2; i++) {
        jobs_run r;
        jobs_reset(4, 1 + (uint32_t)wr_prng_below(&random, 4), UINT64_MAX);
        vary(&random);
        jobs.fail_at = 1 + wr_prng_below(&random, 3000);
        jobs_new(&r, wr_env_real());
        jobs_start(&r);
        jobs_end(&r);
        assert_int_equal(r.failure.code, WR_USER_FAIL);
        assert_non_null(strstr(r.failure.text, "as planned; operator counted"));
        assert_true(r.in[WR_TASK_FAILED] >= 1);
        jobs_free(&r);
    }
}

static void test_canceled_before_it_started(void **state)
{
    (void)state;
    jobs_run r;
    jobs_reset(2, 3, UINT64_MAX);
    jobs_new(&r, wr_env_real());
    jobs_cancel(&r);
    jobs_start(&r);
    jobs_end(&r);
    assert_int_equal(r.in[WR_TASK_CANCELED], r.exec->subtasks);
    assert_int_equal(jobs.sent, 0);
    jobs_free(&r);
}

static void test_never_started(void **state)
{
    (void)state;
    jobs_run r;
    jobs_reset(2, 2, 10);
    jobs_new(&r, wr_env_real());
    jobs_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bounded_jobs_finish_with_every_record),
        cmocka_unit_test(test_stopped_sources_lose_nothing),
        cmocka_unit_test(test_a_source_that_rests_is_left_alone),
        cmocka_unit_test(test_cancel_at_any_moment),
        cmocka_unit_test(test_a_failure_ends_the_job),
        cmocka_unit_test(test_canceled_before_it_started),
        cmocka_unit_test(test_never_started),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
