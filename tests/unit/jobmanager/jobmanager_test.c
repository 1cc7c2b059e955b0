/* The JobManager's shell with connections that are a list: what happens to jobs. */
#include "jobmanager/core_restart.h"
#include "jobmanager/inside.h"
#include "tests/unit/jobmanager/jobmanager_kit.h"
#include <errno.h>
#include <sys/stat.h>

/* ---- the tests ---- */

static void test_a_job_runs_and_ends(void **state)
{
    (void)state;
    join(1, 1);
    uint64_t job = submit("numbers", 2);
    assert_null(last(WR_MSG_DEPLOY, 0)); /* one slot is not enough */
    request("list", 0, false);
    expect_text("CREATED");
    join(2, 1);
    const wr_message *one = last(WR_MSG_DEPLOY, 1), *two = last(WR_MSG_DEPLOY, 2);
    assert_non_null(one);
    assert_non_null(two);
    assert_int_equal(one->attempt, 1);
    assert_int_equal(one->deploy.places, 2);
    assert_int_equal(one->deploy.spec.graph_bytes, graph_bytes[1]);
    assert_memory_equal(one->deploy.spec.graph, graph[1], graph_bytes[1]);
    assert_memory_equal(one->deploy.secret, two->deploy.secret, WR_MAC_BYTES);
    assert_string_equal(one->deploy.restore_manifest, "");
    run_all(job, 1, subtasks[1]);
    request("info", job, false);
    expect_text("RUNNING");
    request("info", job, true);
    expect_text("\"state\":\"RUNNING\"");
    report_all(job, 1, subtasks[1], WR_TASK_ENDED);
    pass_ms(1);
    all_ended = true;
    ack_all(job, 1, subtasks[1]);
    all_ended = false;
    assert_int_equal(orders(WR_DO_FINISH), 2);
    request("wait", job, false);
    report_all(job, 1, subtasks[1], WR_TASK_FINISHED);
    assert_int_equal(last(WR_MSG_REPLY, CLIENT)->reply.info.code, WR_OK);
    assert_int_equal(orders(WR_DO_RELEASE), 2);
    gone(1, job, 1, true);
    gone(2, job, 1, true);
    request("list", 0, false);
    expect_text("FINISHED");
    request("taskmanagers", 0, true);
    expect_text("\"free\":1");
    close_jm();
    open_jm();
    request("snapshots", job, false);
    expect_text("1 kept, in");
    request("info", job, true);
    expect_text("\"state\":\"FINISHED\"");
    request("wait", job, false);
    assert_int_equal(last(WR_MSG_REPLY, CLIENT)->reply.info.code, WR_OK);
}

static void test_a_repeated_submit_is_one_job(void **state)
{
    (void)state;
    uint64_t job = submit("numbers", 1);
    assert_int_equal(submit("numbers", 1), job);
}

static void test_what_does_not_fit_is_refused_at_once(void **state)
{
    (void)state;
    wr_message m = submit_message("numbers", 1);
    m.ask.spec.restore = "/nowhere/at/all";
    say(CLIENT, &m);
    assert_int_equal(last(WR_MSG_REPLY, CLIENT)->reply.info.code, WR_NOT_FOUND);
    m.ask.spec.restore = "";
    m.ask.spec.graph_bytes /= 2;
    say(CLIENT, &m);
    assert_int_not_equal(last(WR_MSG_REPLY, CLIENT)->reply.info.code, WR_OK);
    m.ask.spec.graph_bytes = (uint32_t)graph_bytes[0];
    m.ask.spec.module.bytes = 5; /* nobody shipped it */
    say(CLIENT, &m);
    assert_int_equal(last(WR_MSG_REPLY, CLIENT)->reply.info.code, WR_NOT_FOUND);
    request("list", 0, false);
    expect_text("no jobs");
    request("info", 0x1234, false);
    assert_int_equal(last(WR_MSG_REPLY, CLIENT)->reply.info.code, WR_NO_JOB);
}

static void test_a_lost_taskmanager_is_a_restart(void **state)
{
    (void)state;
    uint64_t job = running(2);
    forget_sent();
    hang_up(2);
    assert_int_equal(orders(WR_DO_CANCEL), 1); /* to the one that is left */
    report(1, job, 1, 0, subtasks[1], WR_TASK_CANCELED);
    assert_int_equal(orders(WR_DO_RELEASE), 1);
    gone(1, job, 1, true);
    request("info", job, false);
    expect_text("TaskManager host:1 is lost");
    pass_ms(200); /* the delay */
    const wr_message *deploy = last(WR_MSG_DEPLOY, 1);
    assert_non_null(deploy);
    assert_int_equal(deploy->attempt, 2);
    forget_sent();
    report(1, job, 1, 0, 1, WR_TASK_RUNNING); /* stale: it is told to end */
    assert_non_null(last(WR_MSG_KILL, 1));
    assert_int_equal(last(WR_MSG_KILL, 1)->attempt, 1);
    run_all(job, 2, subtasks[1]);
    request("info", job, false);
    expect_text("RUNNING");
}

static void test_a_silent_taskmanager_is_lost(void **state)
{
    (void)state;
    running(2);
    forget_sent();
    for (uint32_t i = 0; i < 6; i++) {
        now_ns += 1000000000;
        beat(1, 40 + i);
        assert_int_equal(last(WR_MSG_HEARD, 1)->seq, 40 + i);
    }
    assert_int_equal(closes, 1);
    assert_int_equal(closed[0], 2);
    assert_int_equal(orders(WR_DO_CANCEL), 1);
}

static void test_a_crash_says_why(void **state)
{
    (void)state;
    uint64_t job = running(2);
    gone(1, job, 1, false);
    report(2, job, 1, 0, subtasks[1], WR_TASK_CANCELED);
    gone(2, job, 1, true);
    request("info", job, true);
    expect_text("segmentation fault in add");
    pass_ms(200);
    assert_int_equal(last(WR_MSG_DEPLOY, 0)->attempt, 2);
}

static void test_cancel(void **state)
{
    (void)state;
    uint64_t job = running(2);
    forget_sent();
    request("cancel", job, false);
    assert_int_equal(orders(WR_DO_CANCEL), 2);
    assert_null(last(WR_MSG_REPLY, CLIENT));
    for (uint32_t i = 0; i < 11; i++) { /* they do not listen */
        now_ns += 1000000000;
        beat(1, i);
        beat(2, i);
    }
    assert_non_null(last(WR_MSG_KILL, 1));
    gone(1, job, 1, true);
    gone(2, job, 1, true);
    assert_int_equal(last(WR_MSG_REPLY, CLIENT)->reply.info.code, WR_OK);
    request("list", 0, false);
    expect_text("CANCELED");
    request("cancel", job, false);
    assert_int_equal(last(WR_MSG_REPLY, CLIENT)->reply.info.code, WR_CONFIG);
}

static void test_snapshots_and_what_a_restart_begins_with(void **state)
{
    (void)state;
    uint64_t job = running(2);
    forget_sent();
    request("snapshot", job, false);
    assert_int_equal(orders(WR_DO_TRIGGER), 2);
    assert_null(last(WR_MSG_REPLY, CLIENT));
    uint64_t id = ack_all(job, 1, subtasks[1]);
    assert_int_equal(orders(WR_DO_COMPLETE), 2);
    assert_int_equal(last(WR_MSG_REPLY, CLIENT)->reply.snapshot, id);
    report(1, job, 1, 0, 1, WR_TASK_FAILED);
    report(2, job, 1, 0, 1, WR_TASK_FAILED);
    report_all(job, 1, subtasks[1], WR_TASK_CANCELED);
    gone(1, job, 1, true);
    gone(2, job, 1, true);
    pass_ms(200);
    const wr_message *deploy = last(WR_MSG_DEPLOY, 0);
    assert_int_equal(deploy->attempt, 2);
    assert_non_null(strstr(deploy->deploy.restore_manifest, ".wman"));
    request("info", job, false);
    expect_text("it did not want to");
}

static void test_stop_takes_a_last_snapshot(void **state)
{
    (void)state;
    uint64_t job = running(2);
    forget_sent();
    request("stop", job, false);
    assert_int_equal(orders(WR_DO_PAUSE_SOURCES), 2);
    pass_ms(1);
    uint64_t id = ack_all(job, 1, subtasks[1]);
    assert_int_equal(orders(WR_DO_FINISH), 2);
    report_all(job, 1, subtasks[1], WR_TASK_FINISHED);
    assert_int_equal(last(WR_MSG_REPLY, CLIENT)->reply.info.code, WR_OK);
    assert_int_equal(last(WR_MSG_REPLY, CLIENT)->reply.snapshot, id);
    char text[64];
    snprintf(text, sizeof text, "it was stopped; snapshot %llu in ", (unsigned long long)id);
    request("why", job, false);
    expect_text(text);
    close_jm();
    open_jm();
    request("why", job, false);
    expect_text("it was stopped; its last snapshot is in ");
}

/* Sinks tell by the attempt whose files are the later ones. */
static void test_attempts_go_on_in_the_same_folder(void **state)
{
    (void)state;
    uint64_t   job[2];
    char       path[128];
    wr_message m = submit_message("numbers", 1);
    snprintf(path, sizeof path, "%s/mine", folder);
    m.ask.spec.snapshots = path;
    join(1, 2);
    join(2, 2);
    for (uint32_t i = 0; i < 2; i++) {
        m.request = 500 + i;
        say(CLIENT, &m);
        job[i] = last(WR_MSG_REPLY, CLIENT)->reply.job;
        assert_int_equal(last(WR_MSG_DEPLOY, 0)->attempt, i + 1);
        request("info", job[i], true);
        expect_text("\"restarts\":0");
        request("cancel", job[i], false);
        report_all(job[i], i + 1, subtasks[0], WR_TASK_CANCELED);
        gone(1, job[i], i + 1, true);
        gone(2, job[i], i + 1, true);
    }
}

/* The lock of the folder would only name this process. */
static void test_a_folder_that_a_job_has_is_named_with_that_job(void **state)
{
    (void)state;
    char       path[128], text[64];
    wr_message m = submit_message("numbers", 1);
    snprintf(path, sizeof path, "%s/mine", folder);
    m.ask.spec.snapshots = path;
    say(CLIENT, &m); /* there is no TaskManager yet: it waits */
    uint64_t job = last(WR_MSG_REPLY, CLIENT)->reply.job;
    snprintf(text, sizeof text, "job numbers (%016llx) has these snapshots", (unsigned long long)job);
    m = submit_message("others", 1);
    m.request = 500;
    m.ask.spec.snapshots = path;
    say(CLIENT, &m);
    const wr_reply *r = &last(WR_MSG_REPLY, CLIENT)->reply;
    assert_int_equal(r->info.code, WR_BUSY);
    if (strstr(r->info.text, text) == NULL) fail_msg("%s", r->info.text);
    request("cancel", job, false);
    m = submit_message("numbers", 1);
    m.request = 501;
    m.ask.spec.snapshots = path;
    say(CLIENT, &m);
    assert_int_equal(last(WR_MSG_REPLY, CLIENT)->reply.info.code, WR_OK);
}

/* The JobManager's folder is lost, and the one of the snapshots has another path: its journal knows what was. */
static void test_attempts_go_on_when_the_ledger_is_lost(void **state)
{
    (void)state;
    char       path[128], lost[128];
    wr_message m = submit_message("numbers", 1);
    m.ask.spec.snapshots = path;
    for (uint32_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%smine", folder, i == 1 ? "./" : i == 2 ? "/" : "");
        join(1, 2);
        join(2, 2);
        say(CLIENT, &m);
        uint64_t job = last(WR_MSG_REPLY, CLIENT)->reply.job;
        assert_int_equal(last(WR_MSG_DEPLOY, 0)->attempt, 2 * i + 1);
        run_all(job, 2 * i + 1, subtasks[0]);
        report(1, job, 2 * i + 1, 0, 1, WR_TASK_FAILED);
        report(2, job, 2 * i + 1, 0, 1, WR_TASK_FAILED);
        report_all(job, 2 * i + 1, subtasks[0], WR_TASK_CANCELED);
        gone(1, job, 2 * i + 1, true);
        gone(2, job, 2 * i + 1, true);
        pass_ms(200);
        assert_int_equal(last(WR_MSG_DEPLOY, 0)->attempt, 2 * i + 2);
        request("info", job, true);
        expect_text("\"restarts\":1,");
        close_jm();
        snprintf(lost, sizeof lost, "%s/lost%u", folder, i);
        assert_int_equal(rename(own, lost), 0);
        assert_int_equal(mkdir(own, 0777), 0);
        open_jm();
    }
}

static void ask_path(const char *verb, uint64_t job, const char *path)
{
    char       id[17];
    wr_message m = {.kind = WR_MSG_REQUEST, .request = 8};
    snprintf(id, sizeof id, "%016llx", (unsigned long long)job);
    m.ask = (wr_request){.verb = verb, .job = id, .path = path};
    say(CLIENT, &m);
}

static void test_savepoints(void **state)
{
    (void)state;
    uint64_t job = running(2);
    char     path[128];
    snprintf(path, sizeof path, "%s/saved", folder);
    forget_sent();
    ask_path("savepoint", job, "");
    assert_int_equal(last(WR_MSG_REPLY, CLIENT)->reply.info.code, WR_USAGE);
    forget_sent();
    ask_path("savepoint", job, path);
    uint64_t id = ack_all(job, 1, subtasks[1]);
    step();
    assert_int_equal(last(WR_MSG_REPLY, CLIENT)->reply.snapshot, id);
    snprintf(path, sizeof path, "%s/saved/savepoint.wman", folder);
    assert_int_equal(access(path, F_OK), 0);
    forget_sent();
    snprintf(path, sizeof path, "%s/stopped", folder);
    ask_path("stop", job, path);
    pass_ms(1);
    id = ack_all(job, 1, subtasks[1]);
    step();
    assert_int_equal(orders(WR_DO_FINISH), 2);
    assert_null(last(WR_MSG_REPLY, CLIENT));
    report_all(job, 1, subtasks[1], WR_TASK_FINISHED);
    assert_int_equal(last(WR_MSG_REPLY, CLIENT)->reply.snapshot, id);
    snprintf(path, sizeof path, "%s/stopped/savepoint.wman", folder);
    assert_int_equal(access(path, F_OK), 0);
    wr_message m = submit_message("numbers", 1);
    snprintf(path, sizeof path, "%s/stopped", folder);
    m.ask.spec.snapshots = path; /* no folder to take snapshots into */
    say(CLIENT, &m);
    assert_int_equal(last(WR_MSG_REPLY, CLIENT)->reply.info.code, WR_CONFIG);
    snprintf(path, sizeof path, "%s/stopped/journal", folder);
    assert_int_equal(access(path, F_OK), -1);
}

/* Its place goes away behind the order: who asked hears of it when the job has ended, and with which snapshot. */
static void test_a_stop_whose_savepoint_fails(void **state)
{
    (void)state;
    uint64_t job = running(2);
    char     place[128], path[140];
    snprintf(place, sizeof place, "%s/place", folder);
    snprintf(path, sizeof path, "%s/saved", place);
    forget_sent();
    ask_path("stop", job, path);
    assert_int_equal(last(WR_MSG_REPLY, CLIENT)->reply.info.code, WR_NOT_FOUND); /* and the job goes on */
    assert_int_equal(mkdir(place, 0700), 0);
    forget_sent();
    ask_path("stop", job, path);
    pass_ms(1);
    assert_int_equal(rmdir(place), 0); /* it is empty: what was tried there is gone */
    uint64_t id = ack_all(job, 1, subtasks[1]);
    step();
    assert_int_equal(orders(WR_DO_FINISH), 2);
    assert_null(last(WR_MSG_REPLY, CLIENT));
    report_all(job, 1, subtasks[1], WR_TASK_FINISHED);
    const wr_reply *r = &last(WR_MSG_REPLY, CLIENT)->reply;
    assert_true(r->info.code == WR_NOT_FOUND && r->snapshot == id);
    assert_non_null(strstr(r->info.text, "the job has ended, and its last snapshot"));
}

static void test_drain_moves_a_job(void **state)
{
    (void)state;
    uint64_t   job = running(1);
    uint64_t   at = last(WR_MSG_DEPLOY, 0)->deploy.self, other = 3 - at;
    char       name[17];
    wr_message m = {.kind = WR_MSG_REQUEST, .request = 5};
    snprintf(name, sizeof name, "%016llx", (unsigned long long)at);
    m.ask = (wr_request){.verb = "drain", .job = "", .path = name};
    forget_sent();
    say(CLIENT, &m);
    expect_text("moves as soon as");
    ack_all(job, 1, subtasks[0]);
    report_all(job, 1, subtasks[0], WR_TASK_CANCELED);
    gone(at, job, 1, true);
    assert_non_null(last(WR_MSG_DEPLOY, other));
    assert_null(last(WR_MSG_DEPLOY, at));
}

static void test_a_new_jobmanager_takes_the_job_back(void **state)
{
    (void)state;
    uint64_t job = running(2), before = leader;
    bool     all[16];
    memset(all, 1, sizeof all);
    request("snapshot", job, false);
    uint64_t id = ack_all(job, 1, subtasks[1]);
    close_jm();
    open_jm();
    assert_int_equal(leader, before + 1);
    request("info", job, false);
    expect_text("RECONCILING");
    come_back(1, job, 1, all, subtasks[1]);
    assert_int_equal(orders(WR_DO_COMPLETE), 0);
    come_back(2, job, 1, all, subtasks[1]);
    request("info", job, false);
    expect_text("RUNNING");
    assert_null(last(WR_MSG_DEPLOY, 0));
    assert_int_equal(order_of(WR_DO_COMPLETE)->order.barrier.id, id);
    assert_in_range(orders(WR_DO_ABORT), 2, 200); /* ids that nobody knows of */
    forget_sent();
    request("snapshot", job, false);
    uint64_t next = ack_all(job, 1, subtasks[1]);
    assert_in_range(next, id + 1, UINT64_MAX);
    assert_int_equal(last(WR_MSG_REPLY, CLIENT)->reply.snapshot, next);
}

static void test_a_job_whose_workers_do_not_come_back_restarts(void **state)
{
    (void)state;
    uint64_t job = running(2);
    bool     all[16];
    memset(all, 1, sizeof all);
    close_jm();
    open_jm();
    come_back(1, job, 1, all, subtasks[1]);
    for (uint32_t i = 0; i < 7; i++) {
        now_ns += 1000000000;
        beat(1, i);
    }
    assert_int_equal(orders(WR_DO_CANCEL), 1);
    report_all(job, 1, subtasks[1], WR_TASK_CANCELED);
    gone(1, job, 1, true);
    pass_ms(200);
    assert_int_equal(last(WR_MSG_DEPLOY, 1)->attempt, 2);
}

static void test_shipped_files(void **state)
{
    (void)state;
    static char bytes[WR_BLOB_PIECE_BYTES + 100];
    memset(bytes, 'x', sizeof bytes);
    wr_message m = {.kind = WR_MSG_BLOB_PUT, .request = 9};
    m.blob = (wr_blob){.bytes = sizeof bytes, .data = bytes, .data_bytes = WR_BLOB_PIECE_BYTES};
    wr_sha256 *sum = wr_sha256_new();
    wr_sha256_add(sum, bytes, sizeof bytes);
    wr_sha256_end(sum, m.blob.digest);
    say(CLIENT, &m);
    assert_int_equal(last(WR_MSG_REPLY, CLIENT)->reply.snapshot, WR_BLOB_PIECE_BYTES);
    m.blob.offset = WR_BLOB_PIECE_BYTES;
    m.blob.data_bytes = 100;
    say(CLIENT, &m);
    assert_int_equal(last(WR_MSG_REPLY, CLIENT)->reply.snapshot, sizeof bytes);
    m.blob.offset = 0;
    m.blob.data_bytes = 0;
    say(CLIENT, &m); /* it is there */
    assert_int_equal(last(WR_MSG_REPLY, CLIENT)->reply.snapshot, sizeof bytes);
    join(1, 1);
    wr_message get = {.kind = WR_MSG_BLOB_GET, .request = 3};
    memcpy(get.blob.digest, m.blob.digest, WR_DIGEST_BYTES);
    get.blob.offset = WR_BLOB_PIECE_BYTES;
    get.blob.data = "";
    say(1, &get);
    assert_int_equal(last(WR_MSG_BLOB, 1)->blob.data_bytes, 100);
    get.blob.digest[0] ^= 1;
    say(1, &get);
    assert_int_equal(last(WR_MSG_BLOB, 1)->blob.info.code, WR_NOT_FOUND);
    submit("numbers", 1); /* its file is nowhere, and is called by its name */
    memset(get.blob.digest, 0, WR_DIGEST_BYTES);
    say(1, &get);
    assert_int_equal(strncmp(last(WR_MSG_BLOB, 1)->blob.info.text, "numbers.so: ", 12), 0);
    m.blob.digest[0] ^= 1; /* not what it says */
    m.blob.bytes = m.blob.data_bytes = 10;
    say(CLIENT, &m);
    assert_int_equal(last(WR_MSG_REPLY, CLIENT)->reply.info.code, WR_DAMAGED);
}

static void expect_read(const char *what, const char *part)
{
    size_t n;
    char  *text = wr_jobmanager_read(jm, what, &n);
    assert_non_null(text);
    assert_int_equal(strlen(text), n);
    if (strstr(text, part) == NULL) fail_msg("no '%s' in %s", part, text);
    free(text);
}

static void measured(uint64_t tm, uint64_t job, uint64_t in, uint64_t busy_ns)
{
    wr_stats_task     t = {.subtask = 1, .busy_ns = busy_ns, .idle_ns = 1000};
    wr_stats_operator o = {.node = 1, .subtask = 0, .in = in, .watermark = WEIR_NO_TIME};
    wr_message        m = {.kind = WR_MSG_STATS, .job = job, .attempt = 1};
    m.stats = (wr_stats){.task = &t, .tasks = 1, .op = &o, .ops = 1, .rss_bytes = 4096};
    say(tm, &m);
}

static void test_what_is_measured_is_shown(void **state)
{
    (void)state;
    uint64_t job = running(1), at = last(WR_MSG_DEPLOY, 0)->deploy.self;
    char     path[64];
    measured(at, job, 1000, 0);
    now_ns += 2000000000;
    measured(at, job, 5000, 1000);
    request("top", job, true);
    expect_text("\"in_per_second\":2000");
    request("top", 0, false);
    expect_text("numbers");
    expect_read("metrics", "weir_records_in_total{job=\"numbers\"");
    expect_read("metrics", "weir_slots{state=\"used\"} 1\n");
    expect_read("metrics", "state=\"RUNNING\"} 1\n");
    expect_read("jobs", "\"job\":\"numbers\"");
    expect_read("taskmanagers", "\"slots\":2");
    snprintf(path, sizeof path, "jobs/%016llx/snapshots", (unsigned long long)job);
    expect_read(path, "\"history\"");
    snprintf(path, sizeof path, "jobs/%016llx/why", (unsigned long long)job);
    expect_read(path, "{");
    expect_read("jobs", "\"newest\":0");
    snprintf(path, sizeof path, "jobs/%016llx", (unsigned long long)job);
    expect_read(path, "\"state\":\"RUNNING\"");
    size_t n;
    assert_null(wr_jobmanager_read(jm, "jobs/none", &n));
    assert_null(wr_jobmanager_read(jm, "nothing", &n));
}

static void test_logs(void **state)
{
    (void)state;
    uint64_t job = running(1), at = last(WR_MSG_DEPLOY, 0)->deploy.self;
    forget_sent();
    request("logs", job, false);
    const wr_message *get = last(WR_MSG_LOG_GET, at);
    assert_non_null(get);
    wr_message m = {.kind = WR_MSG_LOG, .job = job, .request = get->request};
    m.log = (wr_log_piece){.offset = 0, .end = 9, .data = "hello", .data_bytes = 5};
    say(at, &m);
    assert_memory_equal(last(WR_MSG_PROGRESS, CLIENT)->reply.out, "hello", 5);
    assert_int_equal(last(WR_MSG_LOG_GET, at)->log.offset, 5);
    wr_message nothing = {.kind = WR_MSG_LOG, .job = job, .request = get->request, .log = {.data = ""}};
    say(at == 1 ? 2 : 1, &nothing); /* it may have had an attempt, too */
    assert_null(last(WR_MSG_REPLY, CLIENT));
    m.log = (wr_log_piece){.offset = 5, .end = 9, .data = " you", .data_bytes = 4};
    say(at, &m);
    assert_int_equal(last(WR_MSG_REPLY, CLIENT)->reply.info.code, WR_OK);
}

/* Reports of subtasks that are elsewhere, of none, in no state; answers to barriers that nobody sent. */
static void test_what_makes_no_sense_has_no_effect(void **state)
{
    (void)state;
    uint64_t       job = running(2);
    wr_task_report r = {.subtask = 4000, .state = WR_TASK_FAILED};
    wr_message     m = {.kind = WR_MSG_REPORT, .job = job, .attempt = 1, .report = {&r, 1}};
    say(1, &m);
    wr_ack     ack = {.id = 7, .subtask = 4000, .attempt = 1};
    wr_message a = {.kind = WR_MSG_ACK, .job = job, .attempt = 1, .ack = &ack};
    say(1, &a);
    ack.subtask = 0;
    say(1, &a);
    say(2, &a);
    say(3, &a); /* nobody */
    a.job++;
    say(1, &a);
    assert_int_equal(last(WR_MSG_KILL, 1)->job, a.job);
    m.attempt = 9;
    say(1, &m);
    request("info", job, false);
    expect_text("RUNNING");
}

static void test_a_follower_hears_of_each_state(void **state)
{
    (void)state;
    uint64_t   job = running(1);
    char       id[17];
    wr_message m = {.kind = WR_MSG_REQUEST, .request = 6};
    snprintf(id, sizeof id, "%016llx", (unsigned long long)job);
    m.ask = (wr_request){.verb = "wait", .job = "numbers", .path = "", .follow = true};
    say(CLIENT, &m);
    assert_memory_equal(last(WR_MSG_PROGRESS, CLIENT)->reply.out, "RUNNING\n", 8);
    id[5] = 0;
    m = (wr_message){.kind = WR_MSG_REQUEST, .request = 7};
    m.ask = (wr_request){.verb = "cancel", .job = id, .path = ""};
    say(CLIENT, &m);
    assert_memory_equal(last(WR_MSG_PROGRESS, CLIENT)->reply.out, "CANCELLING\n", 11);
    report_all(job, 1, subtasks[0], WR_TASK_CANCELED);
    for (uint32_t i = 0; i < outs; i++)
        if (outbox[i].m.kind == WR_MSG_REPLY && outbox[i].m.request == 6)
            assert_int_equal(outbox[i].m.reply.info.code, WR_CANCELED);
    hang_up(CLIENT);
}

/* The ledger keeps the order: the next JobManager goes on with it. */
static void test_a_stop_survives_the_jobmanager(void **state)
{
    (void)state;
    uint64_t job = running(2);
    bool     all[16];
    memset(all, 1, sizeof all);
    request("stop", job, false);
    close_jm();
    open_jm();
    come_back(1, job, 1, all, subtasks[1]);
    come_back(2, job, 1, all, subtasks[1]);
    assert_int_equal(orders(WR_DO_PAUSE_SOURCES), 2);
    pass_ms(1);
    ack_all(job, 1, subtasks[1]);
    assert_int_equal(orders(WR_DO_FINISH), 2);
}

/* It died behind FINISH: some have obeyed, and those that have not hear it again. */
static void test_finish_is_said_again(void **state)
{
    (void)state;
    uint64_t job = running(2);
    report_all(job, 1, subtasks[1], WR_TASK_ENDED);
    pass_ms(1);
    all_ended = true;
    ack_all(job, 1, subtasks[1]);
    all_ended = false;
    report_all(job, 1, 1, WR_TASK_FINISHED);
    close_jm();
    open_jm();
    for (uint64_t tm = 1; tm <= 2; tm++) {
        wr_task_report    r[16];
        wr_running_worker w = {.job = job, .attempt = 1, .task = r};
        for (uint32_t i = 0; i < subtasks[1]; i++)
            r[w.tasks++] = (wr_task_report){.subtask = i, .state = i == 0 ? WR_TASK_FINISHED : WR_TASK_ENDED};
        wr_message m = {.kind = WR_MSG_REGISTER,
                        .reg = {.tm = tm,
                                .name = "host:1",
                                .data = "h:1",
                                .http = "",
                                .slots = 2,
                                .pid = 1,
                                .worker = &w,
                                .workers = 1}};
        say(tm, &m);
    }
    assert_int_equal(orders(WR_DO_FINISH), 2);
    assert_int_equal(orders(WR_DO_TRIGGER), 0);
    report_all(job, 1, subtasks[1], WR_TASK_FINISHED);
    request("list", 0, false);
    expect_text("FINISHED");
}

static void test_garbage_closes_its_connection(void **state)
{
    (void)state;
    running(1);
    uint64_t at = last(WR_MSG_DEPLOY, 0)->deploy.self;
    inbox[in_count++] = (wr_peer_event){.kind = WR_PEER_MESSAGE, .peer = at, .bytes = strdup("garbage"), .n = 7};
    step();
    assert_int_equal(closed[0], at);
    request("taskmanagers", 0, false);
}

/* ---- what must not stay behind ---- */

static uint64_t running_without_snapshots(void)
{
    wr_message m = submit_message("numbers", 1);
    m.ask.spec.snapshots = "none";
    join(1, 2);
    join(2, 2);
    say(CLIENT, &m);
    uint64_t job = last(WR_MSG_REPLY, CLIENT)->reply.job;
    run_all(job, 1, subtasks[0]);
    return job;
}

/* A job that cannot move is looked at again while its TaskManager is drained, and not for ever after. */
static void test_a_drain_that_was_taken_back_is_at_rest(void **state)
{
    (void)state;
    running_without_snapshots();
    uint64_t at = last(WR_MSG_DEPLOY, 0)->deploy.self;
    drain("drain", at);
    assert_in_range(wr_jobmanager_wait_ns(jm), 1, 300000000);
    pass_ms(400);
    drain("undrain", at);
    pass_ms(400);
    assert_in_range(wr_jobmanager_wait_ns(jm), 1000000000, INT64_MAX);
}

static void test_a_move_whose_snapshot_failed_is_tried_again(void **state)
{
    (void)state;
    uint64_t job = running(1), at = last(WR_MSG_DEPLOY, 0)->deploy.self;
    drain("drain", at);
    wr_ack     ack = {.id = order_of(WR_DO_TRIGGER)->order.barrier.id, .attempt = 1, .declined = true};
    wr_message m = {.kind = WR_MSG_ACK, .job = job, .attempt = 1, .ack = &ack};
    pass_ms(400);
    wr_fail(&ack.info, WR_IO, "the disk is full");
    forget_sent();
    say(at, &m);
    assert_int_equal(orders(WR_DO_ABORT), 1);
    pass_ms(400);
    assert_int_equal(orders(WR_DO_TRIGGER), 1);
    ack_all(job, 1, subtasks[0]);
    assert_int_equal(orders(WR_DO_CANCEL), 1);
}

/* A job that ends without having run has the folder of its snapshots no longer. */
static void test_a_canceled_job_lets_its_folder_go(void **state)
{
    (void)state;
    char       path[128];
    wr_message m = submit_message("numbers", 1);
    snprintf(path, sizeof path, "%s/mine/", folder);
    m.ask.spec.snapshots = path;
    for (uint32_t i = 0; i < 2; i++) {
        m.request = 500 + i;
        say(CLIENT, &m);
        const wr_message *reply = last(WR_MSG_REPLY, CLIENT);
        if (reply->reply.info.code != WR_OK) fail_msg("%s", reply->reply.info.text);
        request("cancel", reply->reply.job, false);
        assert_int_equal(last(WR_MSG_REPLY, CLIENT)->reply.info.code, WR_OK);
    }
}

/* The last of a job fails while its savepoint is written already: nothing is looked for in a folder that it let go. */
static void test_a_job_fails_behind_its_savepoint(void **state)
{
    (void)state;
    char       path[128];
    wr_message m = submit_message("numbers", 1);
    m.ask.spec.restart = WR_RESTART_NONE;
    join(1, 1);
    say(CLIENT, &m);
    uint64_t job = last(WR_MSG_REPLY, CLIENT)->reply.job;
    run_all(job, 1, subtasks[0]);
    snprintf(path, sizeof path, "%s/saved", folder);
    ask_path("savepoint", job, path);
    uint64_t id = order_of(WR_DO_TRIGGER)->order.barrier.id;
    for (uint32_t i = 0; i < subtasks[0]; i++) { /* in one step: it is written, and nobody has looked */
        wr_ack        ack = {.id = id, .subtask = i, .attempt = 1};
        wr_message    said = {.kind = WR_MSG_ACK, .job = job, .attempt = 1, .ack = &ack};
        wr_peer_event e = {.kind = WR_PEER_MESSAGE, .peer = 1, .role = WR_ROLE_TASKMANAGER};
        wr_errinfo    info = {0};
        assert_int_equal(wr_message_encode(&said, &e.bytes, &e.n, &info), WR_OK);
        inbox[in_count++] = e;
    }
    hang_up(1);
    assert_int_equal(last(WR_MSG_REPLY, CLIENT)->reply.snapshot, id);
    request("list", 0, false);
    expect_text("FAILED");
}

static void test_a_log_of_a_lost_taskmanager_ends(void **state)
{
    (void)state;
    uint64_t job = running(1), at = last(WR_MSG_DEPLOY, 0)->deploy.self;
    forget_sent();
    request("logs", job, false);
    assert_non_null(last(WR_MSG_LOG_GET, at));
    assert_null(last(WR_MSG_REPLY, CLIENT));
    hang_up(at);
    assert_null(last(WR_MSG_REPLY, CLIENT));
    hang_up(at == 1 ? 2 : 1);
    assert_non_null(last(WR_MSG_REPLY, CLIENT));
}

/* It comes back to a job that is ending already: it was not there when the others were told. */
static void test_who_comes_back_late_is_canceled(void **state)
{
    (void)state;
    uint64_t job = running(2);
    bool     all[16], none[16] = {0};
    memset(all, 1, sizeof all);
    close_jm();
    open_jm();
    come_back(1, job + 1, 1, none, 1); /* without its worker */
    pass_ms(600);                      /* and nobody says why */
    request("info", job, false);
    expect_text("FAILING");
    come_back(2, job, 1, all, subtasks[1]);
    assert_int_equal(orders(WR_DO_CANCEL), 1);
    report_all(job, 1, subtasks[1], WR_TASK_CANCELED);
    assert_int_equal(orders(WR_DO_RELEASE), 1);
}

static void come_back_as(uint64_t tm, uint64_t job, uint32_t task_state)
{
    wr_task_report    r[16];
    wr_running_worker w = {.job = job, .attempt = 1, .task = r};
    for (uint32_t i = 0; i < subtasks[1]; i++) r[w.tasks++] = (wr_task_report){.subtask = i, .state = task_state};
    wr_message m = {.kind = WR_MSG_REGISTER,
                    .reg = {.tm = tm, .name = "h:1", .data = "h:1", .http = "", .slots = 2, .pid = 1, .worker = &w}};
    m.reg.workers = 1;
    say(tm, &m);
}

/* As above, but who has obeyed says so after the takeover: a snapshot would wait for it for ever. */
static void test_finish_is_said_again_to_a_running_job(void **state)
{
    (void)state;
    uint64_t job = running(2);
    report_all(job, 1, subtasks[1], WR_TASK_ENDED);
    pass_ms(1);
    all_ended = true;
    ack_all(job, 1, subtasks[1]);
    all_ended = false;
    close_jm();
    open_jm();
    for (uint64_t tm = 1; tm <= 2; tm++) come_back_as(tm, job, WR_TASK_ENDED);
    assert_int_equal(orders(WR_DO_FINISH), 0);
    report_all(job, 1, 1, WR_TASK_FINISHED);
    assert_int_equal(orders(WR_DO_FINISH), 2);
    report_all(job, 1, subtasks[1], WR_TASK_FINISHED);
    request("list", 0, false);
    expect_text("FINISHED");
}

/* The end of a job that could not be kept is kept later: the next JobManager does not run it again. Until then nobody
 * hears of it: its workers still know how it ended, if this JobManager does not come to it. */
static void test_an_end_is_kept_in_the_end(void **state)
{
    (void)state;
    uint64_t job = running_without_snapshots();
    env.fsync = failing_fsync;
    forget_sent();
    request("wait", job, false);
    disk_fails = true;
    report_all(job, 1, subtasks[0], WR_TASK_FINISHED);
    disk_fails = false;
    request("wait", job, false);
    assert_null(last(WR_MSG_REPLY, CLIENT));
    assert_int_equal(orders(WR_DO_RELEASE), 0);
    assert_in_range(wr_jobmanager_wait_ns(jm), 1, 5000000000);
    beat(1, 1);
    beat(2, 1);
    for (uint32_t i = 0; i < 2; i++) {
        pass_ms(2500);
        beat(1, 1);
        beat(2, 1);
    }
    assert_int_equal(last(WR_MSG_REPLY, CLIENT)->reply.info.code, WR_OK);
    assert_int_equal(orders(WR_DO_RELEASE), 1);
    gone(1, job, 1, true);
    gone(2, job, 1, true);
    close_jm();
    open_jm();
    request("list", 0, false);
    expect_text("FINISHED");
}

static void fail_once(uint64_t job, uint32_t attempt)
{
    report(1, job, attempt, 0, 1, WR_TASK_FAILED);
    report(2, job, attempt, 0, 1, WR_TASK_FAILED);
    report_all(job, attempt, subtasks[1], WR_TASK_CANCELED);
    gone(1, job, attempt, true);
    gone(2, job, attempt, true);
    forget_sent();
}

static uint32_t stats_until_failure;

static int failing_stat(void *self, const char *path, wr_file_info *about)
{
    bool manifest = strstr(path, ".wman") != NULL && stats_until_failure > 0;
    return manifest && --stats_until_failure == 0 ? -EIO : wr_env_real()->stat(self, path, about);
}

/* Whatever cannot be looked at: an attempt begins with the newest snapshot, or not at all. */
static void test_no_attempt_begins_without_its_snapshot(void **state)
{
    (void)state;
    uint64_t job = running(2);
    request("snapshot", job, false);
    ack_all(job, 1, subtasks[1]);
    env.stat = failing_stat;
    for (uint32_t i = 1; i < 8; i++) {
        const wr_message *deploy = last(WR_MSG_DEPLOY, 0);
        fail_once(job, deploy->attempt);
        stats_until_failure = i;
        while ((deploy = last(WR_MSG_DEPLOY, 0)) == NULL) {
            beat(1, i);
            beat(2, i);
            pass_ms(1000);
        }
        assert_non_null(strstr(deploy->deploy.restore_manifest, ".wman"));
    }
}

static void test_a_folder_that_is_not_there_is_waited_for(void **state)
{
    (void)state;
    char     away[128];
    uint64_t job = running(2);
    request("snapshot", job, false);
    ack_all(job, 1, subtasks[1]);
    snprintf(away, sizeof away, "%s/away", folder);
    assert_int_equal(rename(snaps, away), 0);
    fail_once(job, 1);
    for (uint32_t i = 0; i < 10; i++) {
        beat(1, i);
        beat(2, i);
        pass_ms(1000);
    }
    assert_null(last(WR_MSG_DEPLOY, 0));
    assert_int_not_equal(access(snaps, F_OK), 0); /* nothing is made in its place */
    close_jm();
    open_jm();
    join(1, 2);
    join(2, 2);
    assert_null(last(WR_MSG_DEPLOY, 0));
    assert_int_equal(rename(away, snaps), 0);
    for (uint32_t i = 0; i < 10; i++) {
        beat(1, i);
        beat(2, i);
        pass_ms(1000);
    }
    assert_non_null(strstr(last(WR_MSG_DEPLOY, 0)->deploy.restore_manifest, ".wman"));
}

static void test_uploads_of_who_sends_garbage_are_dropped(void **state)
{
    (void)state;
    wr_message m = {.kind = WR_MSG_BLOB_PUT, .request = 9};
    m.blob = (wr_blob){.bytes = 10, .data = "12345", .data_bytes = 5};
    for (uint64_t peer = 200; peer < 217; peer++) {
        m.blob.digest[0] = (uint8_t)peer;
        say(peer, &m);
        assert_int_equal(last(WR_MSG_REPLY, peer)->reply.info.code, WR_OK);
        inbox[in_count++] = (wr_peer_event){.kind = WR_PEER_MESSAGE, .peer = peer, .bytes = strdup("garbage"), .n = 7};
        step();
    }
}

#define T(NAME) cmocka_unit_test_setup_teardown(NAME, begin, finish)
int main(void)
{
    const struct CMUnitTest tests[] = {T(test_a_job_runs_and_ends),
                                       T(test_a_repeated_submit_is_one_job),
                                       T(test_what_does_not_fit_is_refused_at_once),
                                       T(test_a_lost_taskmanager_is_a_restart),
                                       T(test_a_silent_taskmanager_is_lost),
                                       T(test_a_crash_says_why),
                                       T(test_cancel),
                                       T(test_snapshots_and_what_a_restart_begins_with),
                                       T(test_stop_takes_a_last_snapshot),
                                       T(test_attempts_go_on_in_the_same_folder),
                                       T(test_attempts_go_on_when_the_ledger_is_lost),
                                       T(test_a_folder_that_a_job_has_is_named_with_that_job),
                                       T(test_savepoints),
                                       T(test_a_stop_whose_savepoint_fails),
                                       T(test_drain_moves_a_job),
                                       T(test_a_new_jobmanager_takes_the_job_back),
                                       T(test_a_job_whose_workers_do_not_come_back_restarts),
                                       T(test_shipped_files),
                                       T(test_what_is_measured_is_shown),

                                       T(test_logs),
                                       T(test_what_makes_no_sense_has_no_effect),
                                       T(test_a_follower_hears_of_each_state),
                                       T(test_a_stop_survives_the_jobmanager),
                                       T(test_finish_is_said_again),
                                       T(test_a_drain_that_was_taken_back_is_at_rest),
                                       T(test_a_move_whose_snapshot_failed_is_tried_again),
                                       T(test_a_canceled_job_lets_its_folder_go),
                                       T(test_a_job_fails_behind_its_savepoint),
                                       T(test_a_log_of_a_lost_taskmanager_ends),
                                       T(test_who_comes_back_late_is_canceled),
                                       T(test_finish_is_said_again_to_a_running_job),
                                       T(test_no_attempt_begins_without_its_snapshot),
                                       T(test_a_folder_that_is_not_there_is_waited_for),
                                       T(test_an_end_is_kept_in_the_end),
                                       T(test_uploads_of_who_sends_garbage_are_dropped),
                                       T(test_garbage_closes_its_connection)};
    int                     result = cmocka_run_group_tests(tests, NULL, NULL);
    free_graphs();
    return result;
}
