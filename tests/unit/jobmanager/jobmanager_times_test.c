/* Heartbeats, leases and silence: which times go together, and who is silent. */
#include "tests/unit/jobmanager/jobmanager_kit.h"
#include <sys/stat.h>

static wr_err begin_with(int64_t heartbeat_ms, int64_t lease_ms, int64_t silent_ms)
{
    wr_jobmanager             *other = NULL;
    wr_errinfo                 info = {0};
    char                       at[128];
    uint64_t                   epoch = 0;
    const wr_jobmanager_config config = {.env = &env,
                                         .peers = &peers,
                                         .parker = &parker,
                                         .folder = at,
                                         .snapshots = snaps,
                                         .heartbeat_ms = heartbeat_ms,
                                         .lease_ms = lease_ms,
                                         .silent_ms = silent_ms,
                                         .cancel_timeout_ms = 10000,
                                         .seed = 7};
    snprintf(at, sizeof at, "%s/other", folder);
    mkdir(at, 0700);
    wr_err err = wr_jobmanager_new(&other, &config, &epoch, &info);
    assert_int_equal(err == WR_OK, other != NULL);
    if (err != WR_OK) assert_non_null(strstr(info.text, "; make "));
    wr_jobmanager_free(other);
    return err;
}

/* Workers that outlive the timeout would run beside those that take their place. */
static void test_a_lease_is_no_longer_than_the_timeout(void **state)
{
    (void)state;
    assert_int_equal(begin_with(1000, 5001, 5000), WR_CONFIG);
    assert_int_equal(begin_with(1000, 5000, 5000), WR_OK);
    assert_int_equal(begin_with(1000, 4000, 5000), WR_OK);
}

/* A lease that ends before the next heartbeat is answered restarts everything for ever. */
static void test_a_lease_is_twice_the_interval(void **state)
{
    (void)state;
    assert_int_equal(begin_with(10000, 5000, 5000), WR_CONFIG);
    assert_int_equal(begin_with(2501, 5000, 5000), WR_CONFIG);
    assert_int_equal(begin_with(2501, 5000, 60000), WR_CONFIG);
    assert_int_equal(begin_with(1, 1, 5000), WR_CONFIG);
    assert_int_equal(begin_with(2500, 5000, 5000), WR_OK);
    assert_int_equal(begin_with(1, 2, 5000), WR_OK);
}

static uint32_t crowd; /* events that lie before all others */

static bool give_crowd(void *self, wr_peer_event *e)
{
    if (crowd == 0) return give_next(self, e);
    crowd--;
    *e = (wr_peer_event){.kind = WR_PEER_OPENED, .peer = 200};
    return true;
}

/* More came than one step takes: the heartbeat behind it is as good as heard. */
static void test_nobody_is_silent_whose_heartbeat_lies_here(void **state)
{
    (void)state;
    join(1, 2);
    join(2, 2);
    peers.next = give_crowd;
    crowd = 1000;
    now_ns += INT64_C(5100) * 1000000;
    beat(1, 41); /* a step takes a part of the crowd */
    assert_true(crowd > 0);
    assert_int_equal(closes, 0);
    for (uint32_t i = 0; i < 100 && wr_jobmanager_wait_ns(jm) == 0; i++) step();
    peers.next = give_next;
    assert_int_equal(last(WR_MSG_HEARD, 1)->seq, 41);
    assert_int_equal(closes, 1);
    assert_int_equal(closed[0], 2); /* it is */
}

#define T(NAME) cmocka_unit_test_setup_teardown(NAME, begin, finish)
int main(void)
{
    const struct CMUnitTest tests[] = {T(test_a_lease_is_no_longer_than_the_timeout),
                                       T(test_a_lease_is_twice_the_interval),
                                       T(test_nobody_is_silent_whose_heartbeat_lies_here)};
    int                     result = cmocka_run_group_tests(tests, NULL, NULL);
    free_graphs();
    return result;
}
