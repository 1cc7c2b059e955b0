/* The JobManager: jobs that are given other slots, what does not come where it was sent, who may say what. */
#include "jobmanager/core_restart.h"
#include "jobmanager/inside.h"
#include "tests/unit/jobmanager/jobmanager_kit.h"
#include <errno.h>

static void rescale(uint64_t job, uint32_t parallelism, bool waits)
{
    static char id[17];
    wr_message  m = submit_message("numbers", parallelism);
    snprintf(id, sizeof id, "%016llx", (unsigned long long)job);
    m.request = 900 + parallelism;
    m.ask.verb = "rescale";
    m.ask.job = id;
    m.ask.follow = waits;
    say(CLIENT, &m);
}

static uint64_t running_at(uint32_t slots)
{
    join(1, slots);
    uint64_t job = submit("numbers", 2);
    run_all(job, 1, subtasks[1]);
    forget_sent();
    return job;
}

static void test_rescale(void **state)
{
    (void)state;
    uint64_t   job = running(2);
    char       id[17];
    wr_message m = submit_message("numbers", 3);
    snprintf(id, sizeof id, "%016llx", (unsigned long long)job);
    m.ask.verb = "rescale";
    m.ask.job = id;
    forget_sent();
    say(CLIENT, &m);
    ack_all(job, 1, subtasks[1]);
    assert_int_equal(orders(WR_DO_CANCEL), 2);
    report_all(job, 1, subtasks[1], WR_TASK_CANCELED);
    gone(1, job, 1, true);
    gone(2, job, 1, true);
    const wr_message *deploy = last(WR_MSG_DEPLOY, 0);
    assert_non_null(deploy);
    assert_int_equal(deploy->attempt, 2);
    assert_int_equal(deploy->deploy.places, 3);
    assert_null(last(WR_MSG_REPLY, CLIENT));
    run_all(job, 2, subtasks[2]);
    assert_int_equal(last(WR_MSG_REPLY, CLIENT)->reply.info.code, WR_OK);
    request("info", job, true); /* it has not failed */
    expect_text("\"restarts\":0,\"planned_restarts\":1,");
}

/* The state was cut into so many key groups: what needs more is said before anything is ended. */
static void test_a_rescale_that_cannot_be_does_no_harm(void **state)
{
    (void)state;
    uint64_t   job = running(2);
    char       id[17];
    wr_message m = submit_message("numbers", 3);
    snprintf(id, sizeof id, "%016llx", (unsigned long long)job);
    m.ask.verb = "rescale";
    m.ask.job = id;
    m.ask.spec.graph = wide_graph;
    m.ask.spec.graph_bytes = (uint32_t)wide_graph_bytes;
    forget_sent();
    say(CLIENT, &m);
    assert_int_equal(last(WR_MSG_REPLY, CLIENT)->reply.info.code, WR_STATE);
    assert_int_equal(orders(WR_DO_TRIGGER), 0);
    request("info", job, false);
    expect_text("RUNNING");
}

/* It would be ended, and wait: so it is said before. */
static void test_a_rescale_without_slots_is_refused(void **state)
{
    (void)state;
    uint64_t job = running_at(2);
    rescale(job, 3, false);
    const wr_reply *reply = &last(WR_MSG_REPLY, CLIENT)->reply;
    assert_int_equal(reply->info.code, WR_LIMIT);
    assert_non_null(strstr(reply->info.text, "would need 3 slots, and there are 2"));
    assert_int_equal(orders(WR_DO_TRIGGER), 0);
    join(2, 1);
    rescale(job, 3, false);
    assert_int_equal(orders(WR_DO_TRIGGER), 1);
    drain("drain", 2); /* while its snapshot is taken */
    ack_all(job, 1, subtasks[1]);
    assert_int_equal(last(WR_MSG_REPLY, CLIENT)->reply.info.code, WR_LIMIT);
    assert_int_equal(orders(WR_DO_CANCEL), 0);
    request("info", job, false);
    expect_text("RUNNING");
}

/* Another job comes while the old workers are ending: the slots are not its. */
static void test_slots_of_a_rescale_are_kept_for_it(void **state)
{
    (void)state;
    uint64_t job = running_at(3);
    rescale(job, 3, false);
    ack_all(job, 1, subtasks[1]);
    assert_int_equal(orders(WR_DO_CANCEL), 1);
    submit("other", 1);
    assert_null(last(WR_MSG_DEPLOY, 0));
    report_all(job, 1, subtasks[1], WR_TASK_CANCELED);
    gone(1, job, 1, true);
    const wr_message *deploy = last(WR_MSG_DEPLOY, 0);
    assert_non_null(deploy);
    assert_true(deploy->job == job && deploy->deploy.places == 3);
}

static void test_a_rescale_may_wait_for_slots(void **state)
{
    (void)state;
    uint64_t job = running_at(2);
    rescale(job, 3, true);
    assert_null(last(WR_MSG_REPLY, CLIENT));
    assert_int_equal(orders(WR_DO_TRIGGER), 0);
    hang_up(CLIENT); /* whoever asked gives up */
    rescale(job, 3, true);
    assert_null(last(WR_MSG_REPLY, CLIENT));
    join(2, 1);
    assert_int_equal(orders(WR_DO_TRIGGER), 1);
    drain("drain", 2);
    ack_all(job, 1, subtasks[1]);
    assert_int_equal(orders(WR_DO_CANCEL), 0); /* gone again: it waits again */
    forget_sent();
    drain("undrain", 2);
    assert_int_equal(orders(WR_DO_TRIGGER), 1);
    ack_all(job, 1, subtasks[1]);
    assert_int_equal(orders(WR_DO_CANCEL), 1);
    report_all(job, 1, subtasks[1], WR_TASK_CANCELED);
    gone(1, job, 1, true);
    assert_int_equal(last(WR_MSG_DEPLOY, 0)->deploy.places, 3);
    forget_sent();
    run_all(job, 2, subtasks[2]);
    assert_int_equal(last(WR_MSG_REPLY, CLIENT)->reply.info.code, WR_OK);
}

/* A TaskManager is lost for good: with fewer slots the job can go on. */
static void test_a_job_that_waits_for_slots_is_rescaled(void **state)
{
    (void)state;
    join(2, 1);
    uint64_t job = running_at(1);
    request("snapshot", job, false);
    ack_all(job, 1, subtasks[1]);
    hang_up(2);
    rescale(job, 1, false);                                                    /* it waits for its time */
    assert_int_equal(last(WR_MSG_REPLY, CLIENT)->reply.info.code, WR_TIMEOUT); /* it is being ended */
    report(1, job, 1, 0, subtasks[1], WR_TASK_CANCELED);
    gone(1, job, 1, true);
    pass_ms(200);
    assert_null(last(WR_MSG_DEPLOY, 0));
    forget_sent();
    rescale(job, 2, false); /* no use */
    assert_int_equal(last(WR_MSG_REPLY, CLIENT)->reply.info.code, WR_LIMIT);
    forget_sent();
    rescale(job, 1, false);
    const wr_message *deploy = last(WR_MSG_DEPLOY, 1);
    assert_non_null(deploy);
    assert_int_equal(deploy->deploy.places, 1);
    assert_non_null(strstr(deploy->deploy.restore_manifest, ".wman"));
    uint32_t attempt = deploy->attempt;
    assert_null(last(WR_MSG_REPLY, CLIENT));
    run_all(job, attempt, subtasks[0]);
    assert_int_equal(last(WR_MSG_REPLY, CLIENT)->reply.info.code, WR_OK);
}

/* One that waits for its time to begin again, too. */
static void test_a_job_that_waits_for_its_time_is_rescaled(void **state)
{
    (void)state;
    uint64_t job = running_at(2);
    report(1, job, 1, 0, 1, WR_TASK_FAILED);
    report_all(job, 1, subtasks[1], WR_TASK_CANCELED);
    gone(1, job, 1, true);
    forget_sent();
    rescale(job, 1, false);
    assert_null(last(WR_MSG_REPLY, CLIENT));
    pass_ms(200);
    assert_int_equal(last(WR_MSG_DEPLOY, 1)->deploy.places, 1);
}

/* What cannot be kept has not been done, and is not said to have been. */
static void test_a_rescale_that_cannot_be_kept_is_refused(void **state)
{
    (void)state;
    uint64_t   job = running(2);
    char       id[17];
    wr_message m = submit_message("numbers", 3);
    snprintf(id, sizeof id, "%016llx", (unsigned long long)job);
    m.ask.verb = "rescale";
    m.ask.job = id;
    forget_sent();
    env.fsync = failing_fsync;
    say(CLIENT, &m);
    ack_all(job, 1, subtasks[1]);
    assert_int_equal(orders(WR_DO_CANCEL), 2);
    disk_fails = true;
    report_all(job, 1, subtasks[1], WR_TASK_CANCELED);
    disk_fails = false;
    assert_non_null(last(WR_MSG_REPLY, CLIENT));
    assert_int_equal(last(WR_MSG_REPLY, CLIENT)->reply.info.code, WR_IO);
    gone(1, job, 1, true);
    gone(2, job, 1, true);
    pass_ms(2000);
    assert_int_equal(last(WR_MSG_DEPLOY, 0)->deploy.places, 2);
}

static int failing_ledger(void *self, int file)
{
    char    link[64], path[4096];
    ssize_t n;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = 0;
    return disk_fails && strstr(path, "/ledger") != NULL ? -EIO : wr_env_real()->fsync(self, file);
}

/* As above, but it is not even ended; and the slots that were reserved for it are free again. */
static void test_a_rescale_that_cannot_begin_leaves_the_slots(void **state)
{
    (void)state;
    uint64_t job = running_at(3);
    rescale(job, 3, false);
    env.fsync = failing_ledger;
    disk_fails = true;
    ack_all(job, 1, subtasks[1]);
    disk_fails = false;
    assert_int_equal(last(WR_MSG_REPLY, CLIENT)->reply.info.code, WR_IO);
    assert_int_equal(orders(WR_DO_CANCEL), 0);
    submit("other", 1);
    assert_non_null(last(WR_MSG_DEPLOY, 1));
}

/* ---- what does not come ---- */

static void test_a_deployment_that_cannot_be_sent_fails_the_job(void **state)
{
    (void)state;
    uint64_t job = submit("numbers", 2);
    join(1, 1);
    wr_jm_run *run = &wr_jm_job_of(jm, job)->run;
    run->graph_bytes = WR_GRAPH_BYTES_MAX + 1u; /* it grew with what the snapshot knows */
    run->graph = realloc(run->graph, run->graph_bytes);
    assert_non_null(run->graph);
    memset(run->graph, 0, run->graph_bytes);
    join(2, 1);
    assert_null(last(WR_MSG_DEPLOY, 0));
    request("info", job, false);
    expect_text("FAILED");
    expect_text("attempt 1 cannot be sent to TaskManager host:1");
    request("taskmanagers", 0, true);
    expect_text("\"free\":1");
}

/* It was sent, and nothing is heard: a TaskManager that cannot read it, or a worker that hangs early. */
static void test_a_deployment_of_which_nothing_is_heard_fails(void **state)
{
    (void)state;
    join(1, 1);
    join(2, 1);
    uint64_t job = submit("numbers", 2);
    report(1, job, 1, 0, subtasks[1], WR_TASK_INITIALIZING);
    for (uint32_t i = 0; i < WR_DEPLOY_MS / 1000; i++) {
        assert_int_equal(orders(WR_DO_CANCEL), 0);
        forget_sent();
        now_ns += 1000000000;
        beat(1, i);
        beat(2, i);
    }
    assert_int_equal(orders(WR_DO_CANCEL), 2);
    request("info", job, false);
    expect_text("were deployed, and nothing was heard of them for 600 s");
    gone(1, job, 1, true);
    gone(2, job, 1, true);
    pass_ms(200);
    assert_int_equal(last(WR_MSG_DEPLOY, 0)->attempt, 2);
}

/* As many jobs as there may be, and an old worker that does not go: who restarts finds no room to ask for slots. */
static void test_a_job_asks_again_for_slots(void **state)
{
    (void)state;
    wr_message m = submit_message("numbers", 1);
    m.ask.spec.snapshots = "none";
    m.ask.spec.restart = WR_RESTART_FIXED;
    m.ask.spec.restart_delay_ms = 100;
    m.ask.spec.restart_attempts = 3;
    join(1, 2);
    uint64_t first = 0;
    for (uint32_t i = 0; i < WR_JOBS_MAX; i++) {
        m.request = 1000 + i;
        say(CLIENT, &m);
        const wr_reply *reply = &last(WR_MSG_REPLY, CLIENT)->reply;
        if (reply->info.code != WR_OK) fail_msg("%s", reply->info.text);
        if (i == 0) first = reply->job;
        forget_sent();
    }
    report(1, first, 1, 0, 1, WR_TASK_FAILED);
    report(1, first, 1, 1, subtasks[0], WR_TASK_CANCELED);
    beat(1, 1);
    pass_ms(2000);
    request("info", first, false);
    expect_text("RESTARTING");
    gone(1, first, 1, true);
    const wr_message *deploy = last(WR_MSG_DEPLOY, 1);
    assert_non_null(deploy); /* it has no claim: another job was faster */
    uint64_t other = deploy->job;
    assert_true(other != first);
    pass_ms(300);
    report_all(other, 1, subtasks[0], WR_TASK_LOADED);
    report_all(other, 1, subtasks[0], WR_TASK_FINISHED);
    gone(1, other, 1, true);
    deploy = last(WR_MSG_DEPLOY, 1);
    assert_true(deploy->job == first && deploy->attempt == 2);
}

/* ---- who may say what ---- */

static void test_a_client_does_not_register(void **state)
{
    (void)state;
    come(CLIENT + 1, 2);
    assert_int_equal(last(WR_MSG_REFUSED, CLIENT + 1)->refused.code, WR_PERMISSION);
    assert_int_equal(closed[0], CLIENT + 1);
    assert_null(last(WR_MSG_REGISTERED, 0));
    request("taskmanagers", 0, false);
    expect_text("no TaskManagers");
    wr_message m = {.kind = WR_MSG_HEARTBEAT, .seq = 1}; /* nor does it say anything else of that */
    say(CLIENT + 2, &m);
    assert_int_equal(closed[1], CLIENT + 2);
}

static void test_a_taskmanager_asks_for_nothing(void **state)
{
    (void)state;
    join(1, 1);
    wr_message m = submit_message("numbers", 1);
    say(1, &m);
    assert_int_equal(last(WR_MSG_REFUSED, 1)->refused.code, WR_PERMISSION);
    assert_int_equal(closed[0], 1);
    request("taskmanagers", 0, false);
    expect_text("no TaskManagers");
    request("list", 0, false);
    expect_text("no jobs");
}

static bool writes;

static int64_t noting_pwrite(void *self, int file, const void *from, size_t bytes, int64_t offset)
{
    writes = true;
    return wr_env_real()->pwrite(self, file, from, bytes, offset);
}

/* Another JobManager leads by now: this one says nothing more, and changes nothing. */
static void test_steps_down_for_a_greater_leader(void **state)
{
    (void)state;
    wr_errinfo why = {0};
    uint64_t   job = running(2);
    wr_message m = {.kind = WR_MSG_HEARTBEAT, .seq = 3, .leader = leader};
    say(1, &m);
    assert_non_null(last(WR_MSG_HEARD, 1));
    assert_false(wr_jobmanager_over(jm, &why));
    forget_sent();
    env.pwrite = noting_pwrite;
    writes = false;
    m.leader = leader + 1;
    say(CLIENT, &(wr_message){.kind = WR_MSG_REQUEST,
                              .leader = leader + 9,
                              .request = 1,
                              .ask = {.verb = "list", .job = "", .path = ""}});
    assert_false(wr_jobmanager_over(jm, &why)); /* what clients say of leaders is nothing to go by */
    forget_sent();
    say(1, &m);
    assert_true(wr_jobmanager_over(jm, &why));
    assert_int_equal(why.code, WR_CONFIG);
    assert_non_null(strstr(why.text, "leader epoch 2, and this one has 1"));
    hang_up(2);
    report(1, job, 1, 0, 1, WR_TASK_FAILED);
    request("cancel", job, false);
    pass_ms(60000);
    assert_int_equal(outs, 0);
    assert_false(writes);
}

#define T(NAME) cmocka_unit_test_setup_teardown(NAME, begin, finish)
int main(void)
{
    const struct CMUnitTest tests[] = {T(test_rescale),
                                       T(test_a_rescale_that_cannot_be_does_no_harm),
                                       T(test_a_rescale_without_slots_is_refused),
                                       T(test_slots_of_a_rescale_are_kept_for_it),
                                       T(test_a_rescale_may_wait_for_slots),
                                       T(test_a_job_that_waits_for_slots_is_rescaled),
                                       T(test_a_job_that_waits_for_its_time_is_rescaled),
                                       T(test_a_rescale_that_cannot_be_kept_is_refused),
                                       T(test_a_rescale_that_cannot_begin_leaves_the_slots),
                                       T(test_a_deployment_that_cannot_be_sent_fails_the_job),
                                       T(test_a_deployment_of_which_nothing_is_heard_fails),
                                       T(test_a_job_asks_again_for_slots),
                                       T(test_a_client_does_not_register),
                                       T(test_a_taskmanager_asks_for_nothing),
                                       T(test_steps_down_for_a_greater_leader)};
    int                     result = cmocka_run_group_tests(tests, NULL, NULL);
    free_graphs();
    return result;
}
