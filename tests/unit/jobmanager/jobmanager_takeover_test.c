/* What the JobManager before had been told, and had begun, is gone on with. */
#include "base/log.h"
#include "jobmanager/ledger.h"
#include "tests/unit/jobmanager/jobmanager_kit.h"
#include <sys/stat.h>

static uint64_t submit_with(uint32_t parallelism, const wr_job_spec *restart)
{
    wr_message m = submit_message("numbers", parallelism);
    m.ask.spec.restart = restart->restart;
    m.ask.spec.restart_delay_ms = restart->restart_delay_ms;
    m.ask.spec.restart_attempts = restart->restart_attempts;
    join(1, 2);
    join(2, 2);
    say(CLIENT, &m);
    const wr_message *reply = last(WR_MSG_REPLY, CLIENT);
    assert_int_equal(reply->reply.info.code, WR_OK);
    return reply->reply.job;
}

static uint64_t running_with(uint32_t parallelism, const wr_job_spec *restart)
{
    uint64_t job = submit_with(parallelism, restart);
    run_all(job, 1, subtasks[parallelism - 1]);
    return job;
}

static void other_jobmanager(void)
{
    close_jm();
    open_jm();
}

static void all_come_back(uint64_t job, uint32_t attempt, uint32_t n)
{
    bool all[16];
    memset(all, 1, sizeof all);
    come_back(1, job, attempt, all, n);
    come_back(2, job, attempt, all, n);
}

static void ask_stop(uint64_t job, const char *target, bool drain)
{
    char       id[17];
    wr_message m = {.kind = WR_MSG_REQUEST, .request = 6};
    snprintf(id, sizeof id, "%016llx", (unsigned long long)job);
    m.ask = (wr_request){.verb = "stop", .job = id, .path = target, .drain = drain};
    say(CLIENT, &m);
}

static void finishes(uint64_t job, uint32_t attempt, uint32_t n)
{
    report_all(job, attempt, n, WR_TASK_FINISHED);
    gone(1, job, attempt, true);
    gone(2, job, attempt, true);
    request("list", 0, false);
    expect_text("FINISHED");
}

/* They are not silent meanwhile. */
static void time_goes_on(int64_t ms)
{
    for (int64_t left = ms; left > 0; left -= 500) {
        now_ns += (left < 500 ? left : 500) * 1000000;
        beat(1, 1);
        beat(2, 1);
    }
}

/* ---- what was learned of a crash ---- */

/* Of a job that has ended and of one that goes on; of one that is forgotten, nothing stays. */
static void test_a_crash_report_is_kept(void **state)
{
    (void)state;
    char           path[160];
    const uint64_t nobody = 1;
    uint64_t       job = running_with(2, &(wr_job_spec){.restart = WR_RESTART_NONE});
    wr_message     m = {.kind = WR_MSG_GONE, .job = job, .attempt = 1};
    m.gone = (wr_gone){.subtask = 1, .report = "line 7 of the pipeline\n"};
    wr_fail(&m.gone.info, WR_CRASH, "segmentation fault in add");
    say(1, &m);
    report_all(job, 1, subtasks[1], WR_TASK_CANCELED);
    gone(2, job, 1, true);
    request("list", 0, false);
    expect_text("FAILED");
    snprintf(path, sizeof path, "%s/crashes/%016llx", own, (unsigned long long)nobody);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fclose(f);
    for (uint32_t i = 0; i < 2; i++) {
        request("info", job, i == 1);
        expect_text("line 7 of the pipeline");
        other_jobmanager();
    }
    request("info", job, false);
    expect_text("line 7 of the pipeline");
    assert_int_equal(access(path, F_OK), -1);
}

/* ---- stop with a savepoint ---- */

static void test_a_stop_keeps_its_savepoint(void **state)
{
    (void)state;
    char     target[128], manifest[160];
    uint64_t job = running_with(2, &(wr_job_spec){0});
    snprintf(target, sizeof target, "%s/saved", folder);
    snprintf(manifest, sizeof manifest, "%s/savepoint.wman", target);
    ask_stop(job, target, false);
    assert_int_equal(orders(WR_DO_PAUSE_SOURCES), 2);
    other_jobmanager();
    all_come_back(job, 1, subtasks[1]);
    ask_stop(job, target, false); /* by the client whose connection broke */
    assert_null(last(WR_MSG_REPLY, CLIENT));
    assert_int_equal(orders(WR_DO_PAUSE_SOURCES), 2);
    uint64_t id = ack_all(job, 1, subtasks[1]);
    pass_ms(1);
    assert_int_equal(orders(WR_DO_FINISH), 2);
    assert_int_equal(access(manifest, F_OK), 0);
    finishes(job, 1, subtasks[1]);
    bool answered = false;
    for (uint32_t i = 0; i < outs; i++)
        answered |= outbox[i].m.kind == WR_MSG_REPLY && outbox[i].m.request == 6 && outbox[i].m.reply.snapshot == id &&
                    outbox[i].m.reply.info.code == WR_OK;
    assert_true(answered);
}

static void put_text(const char *in, const char *name, const char *text)
{
    char path[192];
    snprintf(path, sizeof path, "%s/%s", in, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static bool is_there_a(const char *in, const char *name)
{
    char path[192];
    snprintf(path, sizeof path, "%s/%s", in, name);
    return access(path, F_OK) == 0;
}

/* Job and JobManager: a stop with a savepoint was ordered, and its folder is there. */
static uint64_t stopped_when_it_died(char target[128])
{
    uint64_t job = running_with(2, &(wr_job_spec){0});
    snprintf(target, 128, "%s/saved", folder);
    ask_stop(job, target, false);
    close_jm();
    mkdir(target, 0700);
    return job;
}

/* The JobManager died while it wrote the savepoint: what it left is no savepoint, and nobody else's. */
static void test_a_savepoint_that_was_begun_is_written_again(void **state)
{
    (void)state;
    char     target[128];
    uint64_t job = stopped_when_it_died(target);
    put_text(target, "state-7-some-uid.rows", "a part");
    put_text(target, "prepared-3", "a part");
    put_text(target, "savepoint.wman.tmp", "a part");
    open_jm();
    all_come_back(job, 1, subtasks[1]);
    ack_all(job, 1, subtasks[1]);
    pass_ms(1);
    assert_int_equal(orders(WR_DO_FINISH), 2);
    assert_true(is_there_a(target, "savepoint.wman") && !is_there_a(target, "state-7-some-uid.rows"));
    other_jobmanager(); /* it is whole, and the job has not ended: once more */
    all_come_back(job, 1, subtasks[1]);
    uint64_t id = ack_all(job, 1, subtasks[1]);
    pass_ms(1);
    assert_true(is_there_a(target, "savepoint.wman"));
    ask_stop(job, "", false);
    finishes(job, 1, subtasks[1]);
    bool answered = false;
    for (uint32_t i = 0; i < outs; i++)
        answered |= outbox[i].m.kind == WR_MSG_REPLY && outbox[i].m.request == 6 && outbox[i].m.reply.snapshot == id;
    assert_true(answered);
}

/* What is not ours stays, and the job stops without its savepoint. */
static void test_a_folder_that_others_use_is_left_alone(void **state)
{
    (void)state;
    char     target[128];
    uint64_t job = stopped_when_it_died(target);
    put_text(target, "my-notes", "important");
    open_jm();
    all_come_back(job, 1, subtasks[1]);
    ack_all(job, 1, subtasks[1]);
    pass_ms(1);
    assert_int_equal(orders(WR_DO_FINISH), 2);
    assert_true(is_there_a(target, "my-notes") && !is_there_a(target, "savepoint.wman"));
    finishes(job, 1, subtasks[1]);
}

/* Whoever asks for it: also the client whose connection broke, and who comes when that has failed already. */
static void test_a_savepoint_that_failed_is_told_to_all(void **state)
{
    (void)state;
    char     target[128];
    uint64_t job = stopped_when_it_died(target);
    put_text(target, "my-notes", "important");
    open_jm();
    ask_stop(job, target, false);
    ask_stop(job, "", false); /* has nothing to do with a savepoint */
    all_come_back(job, 1, subtasks[1]);
    ack_all(job, 1, subtasks[1]);
    pass_ms(1);
    ask_stop(job, target, false);
    finishes(job, 1, subtasks[1]);
    uint32_t failed = 0, good = 0;
    for (uint32_t i = 0; i < outs; i++) {
        if (outbox[i].m.kind != WR_MSG_REPLY || outbox[i].m.request != 6) continue;
        failed += outbox[i].m.reply.info.code == WR_CONFIG;
        good += outbox[i].m.reply.info.code == WR_OK;
    }
    assert_int_equal(failed, 2);
    assert_int_equal(good, 1);
}

/* It has finished by itself, the ledger does not have it yet, and a stop is ordered: nobody is left to take a savepoint
 * of. */
static void test_a_stop_behind_the_end_has_no_savepoint(void **state)
{
    (void)state;
    char     target[128];
    uint64_t job = running_with(2, &(wr_job_spec){0});
    snprintf(target, sizeof target, "%s/saved", folder);
    env.fsync = failing_fsync;
    disk_fails = true;
    report_all(job, 1, subtasks[1], WR_TASK_FINISHED);
    disk_fails = false;
    forget_sent();
    ask_stop(job, target, false);
    assert_null(last(WR_MSG_REPLY, CLIENT));
    time_goes_on(10000);
    const wr_message *answer = last(WR_MSG_REPLY, CLIENT);
    assert_non_null(answer);
    assert_int_equal(answer->reply.info.code, WR_NOT_FOUND);
    assert_non_null(strstr(answer->reply.info.text, target));
    request("list", 0, false);
    expect_text("FINISHED");
}

/* A job is not stopped for a savepoint that has no place. */
static void test_a_stop_into_a_full_folder_is_refused(void **state)
{
    (void)state;
    uint64_t job = running_with(2, &(wr_job_spec){0});
    ask_stop(job, folder, false);
    assert_int_equal(last(WR_MSG_REPLY, CLIENT)->reply.info.code, WR_CONFIG);
    assert_int_equal(orders(WR_DO_PAUSE_SOURCES), 0);
    other_jobmanager();
    all_come_back(job, 1, subtasks[1]);
    assert_int_equal(orders(WR_DO_PAUSE_SOURCES), 0);
}

static void test_another_stop_is_refused(void **state)
{
    (void)state;
    char     target[128];
    uint64_t job = running_with(2, &(wr_job_spec){0});
    snprintf(target, sizeof target, "%s/saved", folder);
    ask_stop(job, target, false);
    other_jobmanager();
    ask_stop(job, "/somewhere/else", false);
    assert_int_equal(last(WR_MSG_REPLY, CLIENT)->reply.info.code, WR_CONFIG);
    forget_sent();
    ask_stop(job, target, true);
    assert_int_equal(last(WR_MSG_REPLY, CLIENT)->reply.info.code, WR_CONFIG);
    forget_sent();
    ask_stop(job, "", false); /* waits with the others */
    assert_null(last(WR_MSG_REPLY, CLIENT));
}

/* ---- drained TaskManagers ---- */

static void ask_drain(const char *verb, const char *tm)
{
    wr_message m = {.kind = WR_MSG_REQUEST, .request = 8};
    m.ask = (wr_request){.verb = verb, .job = "", .path = tm};
    say(CLIENT, &m);
}

static void test_draining_is_not_forgotten(void **state)
{
    (void)state;
    char name[17];
    join(1, 2);
    snprintf(name, sizeof name, "%016llx", 1ull);
    ask_drain("drain", name);
    assert_int_equal(last(WR_MSG_REPLY, CLIENT)->reply.info.code, WR_OK);
    other_jobmanager();
    submit("numbers", 1); /* waits already when it comes */
    join(1, 2);           /* the same process: it kept its number */
    assert_null(last(WR_MSG_DEPLOY, 0));
    hang_up(1); /* nor by a connection that broke */
    join(1, 2);
    assert_null(last(WR_MSG_DEPLOY, 0));
    ask_drain("undrain", name);
    assert_non_null(last(WR_MSG_DEPLOY, 0));
    other_jobmanager();
    join(1, 2);
    request("taskmanagers", 0, false);
    const wr_message *reply = last(WR_MSG_REPLY, CLIENT);
    assert_null(memmem(reply->reply.out, reply->reply.out_bytes, "drain", 5));
}

/* ---- restart strategies ---- */

static void fails(uint64_t job, uint32_t attempt, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) { /* whoever has it */
        report(1, job, attempt, i, i + 1, i == 0 ? WR_TASK_FAILED : WR_TASK_CANCELED);
        report(2, job, attempt, i, i + 1, i == 0 ? WR_TASK_FAILED : WR_TASK_CANCELED);
    }
    gone(1, job, attempt, true);
    gone(2, job, attempt, true);
}

static int64_t wall_of_now(void *self)
{
    (void)self;
    return INT64_C(1800000000) * 1000000000 + now_ns;
}

static void test_back_off_goes_on(void **state)
{
    (void)state;
    env.wall_ns = wall_of_now;
    uint64_t job = running_with(
        2, &(wr_job_spec){.restart = WR_RESTART_FIXED, .restart_delay_ms = 4000, .restart_attempts = 2});
    fails(job, 1, subtasks[1]);
    forget_sent();
    time_goes_on(1000);
    other_jobmanager();
    join(1, 2);
    join(2, 2);
    time_goes_on(2000);
    assert_null(last(WR_MSG_DEPLOY, 0)); /* a second is left */
    assert_true(wr_jobmanager_wait_ns(jm) > 0);
    time_goes_on(1001);
    assert_int_equal(last(WR_MSG_DEPLOY, 0)->attempt, 2);
    forget_sent();
    run_all(job, 2, subtasks[1]);
    fails(job, 2, subtasks[1]);
    forget_sent();
    other_jobmanager();
    join(1, 2);
    join(2, 2);
    time_goes_on(4001);
    forget_sent();
    run_all(job, 3, subtasks[1]);
    fails(job, 3, subtasks[1]); /* the third, of three JobManagers */
    request("list", 0, false);
    expect_text("FAILED");
}

/* Its delays grow on, and a job that ran long enough begins with the first one: also when another JobManager saw it
 * begin. */
static void test_quiet_time_goes_on(void **state)
{
    (void)state;
    env.wall_ns = wall_of_now;
    uint64_t job = running_with(2, &(wr_job_spec){.restart = WR_RESTART_EXPONENTIAL, .restart_delay_ms = 1000});
    for (uint32_t attempt = 1; attempt <= 3; attempt++) {
        fails(job, attempt, subtasks[1]);
        time_goes_on(attempt == 1 ? 1200 : attempt == 2 ? 1800 : 2600);
        forget_sent();
        run_all(job, attempt + 1, subtasks[1]);
    }
    other_jobmanager();
    all_come_back(job, 4, subtasks[1]);
    fails(job, 4, subtasks[1]);
    time_goes_on(2900); /* 3375, less a tenth */
    assert_null(last(WR_MSG_DEPLOY, 0));
    time_goes_on(1000);
    forget_sent();
    run_all(job, 5, subtasks[1]);
    time_goes_on(70000);
    other_jobmanager();
    all_come_back(job, 5, subtasks[1]);
    forget_sent();
    fails(job, 5, subtasks[1]);
    time_goes_on(1200); /* as for the first time */
    assert_int_equal(last(WR_MSG_DEPLOY, 0)->attempt, 6);
}

/* The JobManager before us knew that it had failed for good, and died in the middle of saying so. */
static void test_what_has_failed_does_not_begin_again(void **state)
{
    (void)state;
    uint64_t   job = submit_with(2, &(wr_job_spec){.restart = WR_RESTART_NONE});
    wr_ledger *l;
    close_jm();
    assert_int_equal(wr_ledger_open(&l, &env, own, NULL), WR_OK);
    const wr_ledger_failure failure = {
        .wall_ms = 1, .attempt = 1, .subtask = 0, .info = {WR_CRASH, "it crashed"}, .count = 0, .delay_ms = -1};
    assert_int_equal(wr_ledger_failed(l, job, &failure, NULL), WR_OK);
    wr_ledger_close(l);
    open_jm();
    join(1, 2);
    join(2, 2);
    assert_null(last(WR_MSG_DEPLOY, 0));
    request("wait", job, false);
    assert_int_equal(last(WR_MSG_REPLY, CLIENT)->reply.info.code, WR_CRASH);
    request("list", 0, false);
    expect_text("FAILED");
}

/* ---- ended by order ---- */

static void ask_rescale(uint64_t job, uint32_t parallelism)
{
    char       id[17];
    wr_message m = submit_message("numbers", parallelism);
    snprintf(id, sizeof id, "%016llx", (unsigned long long)job);
    m.request = 2001;
    m.ask.verb = "rescale";
    m.ask.job = id;
    say(CLIENT, &m);
}

/* The workers were told to end when the JobManager died: that is no failure, and the new width is not forgotten. */
static void rescale_across_a_death(bool workers_are_there)
{
    uint64_t job = running_with(2, &(wr_job_spec){.restart = WR_RESTART_NONE});
    ask_rescale(job, 1);
    ack_all(job, 1, subtasks[1]);
    assert_int_equal(orders(WR_DO_CANCEL), 2);
    other_jobmanager();
    if (workers_are_there) {
        all_come_back(job, 1, subtasks[1]);
        report_all(job, 1, subtasks[1], WR_TASK_CANCELED);
        gone(1, job, 1, true);
        gone(2, job, 1, true);
    } else {
        join(1, 2);
        join(2, 2);
        pass_ms(1000);
    }
    const wr_message *deploy = last(WR_MSG_DEPLOY, 0);
    assert_non_null(deploy);
    assert_int_equal(deploy->attempt, 2);
    assert_int_equal(deploy->deploy.places, 1);
    assert_non_null(strstr(deploy->deploy.restore_manifest, ".wman"));
    forget_sent();
    run_all(job, 2, subtasks[0]);
    request("info", job, false);
    expect_text("RUNNING");
    other_jobmanager(); /* done, and not done again */
    all_come_back(job, 2, subtasks[0]);
    assert_int_equal(orders(WR_DO_CANCEL), 0);
    request("info", job, false);
    expect_text("RUNNING");
}

static void test_a_rescale_goes_on(void **state)
{
    (void)state;
    rescale_across_a_death(true);
}

static void test_a_rescale_goes_on_when_all_has_ended(void **state)
{
    (void)state;
    rescale_across_a_death(false);
}

/* ---- why a worker ended ---- */

static void test_a_late_gone_says_why(void **state)
{
    (void)state;
    uint64_t job = running_with(2, &(wr_job_spec){0});
    bool     all[16];
    memset(all, 1, sizeof all);
    other_jobmanager();
    come_back(1, job, 1, all, subtasks[1]);
    join(2, 2); /* without its worker */
    gone(2, job, 1, false);
    report(1, job, 1, 0, subtasks[1], WR_TASK_CANCELED);
    gone(1, job, 1, true);
    request("info", job, true);
    expect_text("segmentation fault in add");
}

/* It comes later than anybody waits for it, and the others have not ended yet. */
static void test_a_very_late_gone_says_why(void **state)
{
    (void)state;
    uint64_t job = running_with(2, &(wr_job_spec){0});
    bool     all[16];
    memset(all, 1, sizeof all);
    other_jobmanager();
    come_back(1, job, 1, all, subtasks[1]);
    join(2, 2);
    pass_ms(600);
    request("info", job, false);
    expect_text("FAILING");
    gone(2, job, 1, false);
    report(1, job, 1, 0, subtasks[1], WR_TASK_CANCELED);
    gone(1, job, 1, true);
    request("info", job, true);
    expect_text("segmentation fault in add");
}

static int begin_quietly(void **state)
{
    wr_log_setup(2, WR_LOG_ERROR, NULL);
    return begin(state);
}

#define TEST(NAME) cmocka_unit_test_setup_teardown(NAME, begin_quietly, finish)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_crash_report_is_kept),
        TEST(test_a_stop_keeps_its_savepoint),
        TEST(test_a_savepoint_that_was_begun_is_written_again),
        TEST(test_a_folder_that_others_use_is_left_alone),
        TEST(test_a_savepoint_that_failed_is_told_to_all),
        TEST(test_a_stop_behind_the_end_has_no_savepoint),
        TEST(test_a_stop_into_a_full_folder_is_refused),
        TEST(test_another_stop_is_refused),
        TEST(test_draining_is_not_forgotten),
        TEST(test_back_off_goes_on),
        TEST(test_quiet_time_goes_on),
        TEST(test_what_has_failed_does_not_begin_again),
        TEST(test_a_rescale_goes_on),
        TEST(test_a_rescale_goes_on_when_all_has_ended),
        TEST(test_a_late_gone_says_why),
        TEST(test_a_very_late_gone_says_why),
    };
    int result = cmocka_run_group_tests(tests, NULL, NULL);
    free_graphs();
    return result;
}
