/* What top and /metrics say of a job whose workers are gone, and of one that begins where another ended. */
#include "tests/unit/jobmanager/jobmanager_kit.h"
#include <math.h>

static void expect_metric(const char *part)
{
    size_t n;
    char  *text = wr_jobmanager_read(jm, "metrics", &n);
    assert_non_null(text);
    if (strstr(text, part) == NULL) fail_msg("no '%s' in %s", part, text);
    free(text);
}

static void stats(uint64_t tm, uint64_t job, uint32_t attempt, uint64_t in, uint64_t busy_ns)
{
    wr_stats_task     t = {.subtask = 1, .busy_ns = busy_ns, .idle_ns = 1000};
    wr_stats_operator o = {.node = 1, .subtask = 0, .in = in, .watermark = WEIR_NO_TIME};
    wr_message        m = {.kind = WR_MSG_STATS, .job = job, .attempt = attempt};
    m.stats = (wr_stats){.task = &t, .tasks = 1, .op = &o, .ops = 1, .rss_bytes = 4096};
    say(tm, &m);
}

/* A job that waits to start again does nothing, however busy its last attempt was. */
static void workers_that_are_gone_do_nothing(void **state)
{
    (void)state;
    join(1, 1);
    uint64_t job = submit("numbers", 1);
    run_all(job, 1, subtasks[0]);
    stats(1, job, 1, 1000, 0);
    now_ns += 2000000000;
    stats(1, job, 1, 5000, 1000);
    request("top", job, true);
    expect_text("\"in_per_second\":2000,");
    expect_metric("weir_jobs{state=\"RUNNING\"} 1\n");
    expect_metric("weir_jobs{state=\"RESTARTING\"} 0\n");
    gone(1, job, 1, false);
    request("top", job, true);
    expect_text("\"busiest\":0,");
    expect_text("\"in_per_second\":0,");
    expect_text("\"in\":5000,");
    expect_metric("weir_jobs{state=\"RUNNING\"} 0\n");
    expect_metric("weir_jobs{state=\"RESTARTING\"} 1\n");
}

/* Attempts are counted on in a folder of snapshots; restarts are this job's own. */
static void restarts_are_the_jobs_own(void **state)
{
    (void)state;
    char path[128];
    snprintf(path, sizeof path, "%s/mine", folder);
    join(1, 1);
    wr_message m = submit_message("numbers", 1);
    m.ask.spec.snapshots = path;
    for (uint32_t attempt = 1; attempt < 3; attempt++) {
        m.request = 1000 + attempt;
        say(CLIENT, &m);
        uint64_t job = last(WR_MSG_REPLY, CLIENT)->reply.job;
        if (job == 0) fail_msg("%s", last(WR_MSG_REPLY, CLIENT)->reply.info.text);
        assert_int_equal(last(WR_MSG_DEPLOY, 1)->attempt, attempt);
        expect_metric("weir_job_restarts_total{job=\"numbers\",id=");
        size_t n;
        char  *text = wr_jobmanager_read(jm, "metrics", &n), id[64];
        snprintf(id, sizeof id, "weir_job_restarts_total{job=\"numbers\",id=\"%016llx\"} 0\n", (unsigned long long)job);
        if (strstr(text, id) == NULL) fail_msg("no '%s' in %s", id, text);
        free(text);
        request("cancel", job, false);
        report_all(job, attempt, subtasks[0], WR_TASK_CANCELED);
        gone(1, job, attempt, true);
        forget_sent();
    }
}

static const int64_t wall_ns = INT64_C(1767225600000000000);

static int64_t fake_wall(void *self)
{
    (void)self;
    return wall_ns;
}

/* Of one subtask of 'add', for the job's first attempt. */
static void measured(uint64_t tm, uint64_t job, wr_stats_task t, int64_t watermark)
{
    wr_stats_operator o = {.node = 1, .subtask = (uint32_t)tm - 1, .in = 1000, .watermark = watermark};
    wr_message        m = {.kind = WR_MSG_STATS, .job = job, .attempt = 1};
    t.subtask = (uint32_t)tm + 1; /* behind the source and what gives it its splits */
    m.stats = (wr_stats){.task = &t, .tasks = 1, .op = &o, .ops = 1};
    say(tm, &m);
}

/* Where the time since the measurement before went, and not all time. */
static void top_says_where_time_goes(void **state)
{
    (void)state;
    uint64_t job = running(2);
    for (uint64_t tm = 1; tm <= 2; tm++)
        measured(tm, job, (wr_stats_task){.busy_ns = 5000, .idle_ns = 9000, .back_pressured_ns = 7000}, WEIR_NO_TIME);
    now_ns += 1000000000;
    measured(1, job, (wr_stats_task){.busy_ns = 6000, .idle_ns = 10000, .back_pressured_ns = 9000}, WEIR_NO_TIME);
    measured(2, job, (wr_stats_task){.busy_ns = 6000, .idle_ns = 12000, .back_pressured_ns = 7000}, WEIR_NO_TIME);
    request("top", job, true); /* 25, 25, 50 and 25, 75, 0 */
    expect_text("\"busy\":0.25,\"busiest\":0.25,\"idle\":0.5,\"back_pressured\":0.25,");
    expect_text("\"watermark_lag_seconds\":null");
    request("top", job, false);
    expect_text(" 25.0  50.0  25.0 ");
}

/* An operator is as far as the subtask that is furthest behind. */
static void top_says_how_far_behind_event_time_is(void **state)
{
    (void)state;
    const wr_stats_task none = {0};
    uint64_t            job = running(2);
    env.wall_ns = fake_wall;
    measured(1, job, none, wall_ns - INT64_C(7500000000));
    measured(2, job, none, wall_ns - INT64_C(2500000000));
    request("top", job, true);
    expect_text("\"watermark_lag_seconds\":7.5");
    request("top", job, false);
    expect_text(" 7.5 s ");
    measured(1, job, none, wall_ns - INT64_C(500000000));
    request("top", job, true);
    expect_text("\"watermark_lag_seconds\":2.5");
    request("top", job, false);
    expect_text(" 2.5 s ");
}

static void fake_stats(void *self, wr_peers_stats *s)
{
    (void)self;
    *s = (wr_peers_stats){.refused = 1,
                          .garbage = 2,
                          .oversized = 3,
                          .slow = 4,
                          .wrong_token = 5,
                          .wrong_version = 6,
                          .overflowed = 7,
                          .open = 8,
                          .half_open = 9};
}

static void every_refused_connection_is_counted(void **state)
{
    (void)state;
    static const char *const lines[] = {"garbage\"} 2\n",     "oversized\"} 3\n",     "slow\"} 4\n",
                                        "wrong_token\"} 5\n", "wrong_version\"} 6\n", "overflowed\"} 7\n",
                                        "undecodable\"} 0\n", "wrong_role\"} 0\n",    "other\"} 1\n"};
    peers.stats = fake_stats;
    for (uint32_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char line[128];
        snprintf(line, sizeof line, "\nweir_connections_refused_total{reason=\"%s", lines[i]);
        expect_metric(line);
    }
    expect_metric("weir_connections{state=\"open\"} 8\nweir_connections{state=\"half_open\"} 9\n");
    peers.stats = NULL;
}

static void expect_no_metric(const char *part)
{
    size_t n;
    char  *text = wr_jobmanager_read(jm, "metrics", &n);
    assert_non_null(text);
    if (strstr(text, part) != NULL) fail_msg("'%s' in %s", part, text);
    free(text);
}

/* A counter never goes back, and what is not there yet is not 0: an attempt that follows is the same job. */
static void figures_of_snapshots_are_the_jobs(void **state)
{
    (void)state;
    char path[128];
    snprintf(path, sizeof path, "%s/mine", folder);
    join(1, 1);
    wr_message m = submit_message("numbers", 1);
    m.ask.spec.snapshots = path;
    m.ask.spec.snapshot_interval_ms = 3600000;
    m.ask.spec.restart = 2; /* fixed */
    m.ask.spec.restart_delay_ms = 1;
    say(CLIENT, &m);
    uint64_t job = last(WR_MSG_REPLY, CLIENT)->reply.job;
    assert_int_not_equal(job, 0);
    run_all(job, 1, subtasks[0]);
    expect_no_metric("\nweir_snapshot_last_");
    request("snapshot", job, false);
    uint64_t id = ack_all(job, 1, subtasks[0]);
    char     line[128];
    for (uint32_t attempt = 1; attempt <= 2; attempt++) {
        snprintf(line, sizeof line, "weir_snapshots_completed_total{job=\"numbers\",id=\"%016llx\"} 1\n",
                 (unsigned long long)job);
        expect_metric(line);
        snprintf(line, sizeof line, "weir_snapshot_last_id{job=\"numbers\",id=\"%016llx\"} %llu\n",
                 (unsigned long long)job, (unsigned long long)id);
        expect_metric(line);
        expect_metric("\nweir_snapshot_last_completed_timestamp_seconds{");
        if (attempt == 2) break;
        gone(1, job, 1, false);
        pass_ms(10);
        assert_int_equal(last(WR_MSG_DEPLOY, 1)->attempt, 2);
        forget_sent();
        run_all(job, 2, subtasks[0]);
    }
    request("snapshot", job, false);
    ack_all(job, 2, subtasks[0]);
    snprintf(line, sizeof line, "weir_snapshots_completed_total{job=\"numbers\",id=\"%016llx\"} 2\n",
             (unsigned long long)job);
    expect_metric(line);
}

/* What cannot be shown is counted. */
static void own_metrics_beyond_the_bound_are_counted(void **state)
{
    (void)state;
    enum { MANY = WR_METRIC_NAMES_MAX + 7 };
    static wr_stats_metric own_metric[MANY + 3];
    static char            name[MANY][16];
    uint64_t               job = running(1);
    wr_message             m = {.kind = WR_MSG_STATS, .job = job, .attempt = 1};
    own_metric[0] = (wr_stats_metric){.node = 1, .name = "a-b", .kind = 1, .value = 5};
    own_metric[1] = (wr_stats_metric){.node = 1, .name = "a.b", .kind = 1, .value = 6};
    own_metric[2] = (wr_stats_metric){.node = 1, .name = "h", .kind = 3, .value = 12, .count = 4};
    m.stats = (wr_stats){.metric = own_metric, .metrics = 3};
    say(last(WR_MSG_DEPLOY, 0)->deploy.self, &m);
    expect_metric("# TYPE weir_user_a_b counter\nweir_user_a_b{job=\"numbers\",id=");
    expect_metric("operator=\"add\",subtask=\"0\"} 5\n");
    expect_no_metric("subtask=\"0\"} 6\n");
    expect_metric("# TYPE weir_user_h summary\nweir_user_h_sum{");
    expect_metric("subtask=\"0\"} 12\nweir_user_h_count{");
    expect_metric("\nweir_hidden_user_metrics 1\n");
    for (uint32_t i = 0; i < MANY; i++) {
        snprintf(name[i], sizeof name[i], "own%u", i);
        own_metric[3 + i] = (wr_stats_metric){.node = 1, .name = name[i], .kind = 2, .value = i};
    }
    own_metric[MANY + 2].name = "h"; /* a gauge now, and shown as none */
    m.stats.metrics = MANY + 3;
    say(last(WR_MSG_DEPLOY, 0)->deploy.self, &m);
    snprintf(name[0], sizeof name[0], "own%u{", WR_METRIC_NAMES_MAX - 3);
    expect_metric(name[0]); /* a_b and h have two of the places */
    expect_no_metric("own254{");
    expect_metric("\nweir_hidden_user_metrics 10\n"); /* 1, and those from 254 to 262, the last of which is called h */
}

/* The words of the format: one line that cannot be read costs a scraper all others. */
static void gauges_may_be_no_numbers(void **state)
{
    (void)state;
    static const char *const word[] = {"NaN", "NaN", "+Inf", "-Inf"};
    const double             value[] = {(double)NAN, -(double)NAN, (double)INFINITY, -(double)INFINITY};
    wr_stats_metric          gauge = {.node = 1, .name = "ratio", .kind = 2};
    uint64_t                 job = running(1);
    wr_message               m = {.kind = WR_MSG_STATS, .job = job, .attempt = 1};
    m.stats = (wr_stats){.metric = &gauge, .metrics = 1};
    for (int i = 0; i < 4; i++) {
        char line[128];
        gauge.value = value[i];
        say(last(WR_MSG_DEPLOY, 0)->deploy.self, &m);
        snprintf(line, sizeof line,
                 "weir_user_ratio{job=\"numbers\",id=\"%016llx\",operator=\"add\",subtask=\"0\"} %s\n",
                 (unsigned long long)job, word[i]);
        expect_metric(line);
    }
}

static int end_all(void **state)
{
    (void)state;
    free_graphs();
    return 0;
}

int main(void)
{
#define T(NAME) cmocka_unit_test_setup_teardown(NAME, begin, finish)
    const struct CMUnitTest tests[] = {T(workers_that_are_gone_do_nothing),
                                       T(restarts_are_the_jobs_own),
                                       T(top_says_where_time_goes),
                                       T(top_says_how_far_behind_event_time_is),
                                       T(every_refused_connection_is_counted),
                                       T(figures_of_snapshots_are_the_jobs),
                                       T(own_metrics_beyond_the_bound_are_counted),
                                       T(gauges_may_be_no_numbers)};
    return cmocka_run_group_tests(tests, NULL, end_all);
}
