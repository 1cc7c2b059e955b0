/* One message of each kind with every member set, as golden files, tests and the fuzzer's corpus use them. */
#ifndef WR_TESTS_CONTROL_SAMPLE_H
#define WR_TESTS_CONTROL_SAMPLE_H
#include "tests/unit/wire/manifest_sample.h"
#include "wire/control.h"
#include <weir/op.h>

enum { SAMPLES = 24 };

static wr_task_report    control_tasks[] = {{.subtask = 0, .state = 4},
                                            {.subtask = 7, .state = 8, .info = {WR_CRASH, "it crashed; in 'count'"}}};
static wr_running_worker control_workers[] = {
    {.job = 0x1122334455667788, .attempt = 3, .task = control_tasks, .tasks = 2}, {.job = 9, .attempt = 1}};
static wr_blob_ref       control_files[] = {{.name = "mqtt.so", .digest = {1, 2, 3}, .bytes = 12345},
                                            {.name = "cities.csv", .digest = {0xff}, .bytes = 0}};
static const char *const control_args[] = {"limit=120", "unit="};
static const char *const control_sets[] = {"lines=file:///data/x.txt"};
static wr_place          control_places[] = {{.tm = 77, .data = "127.0.0.1:40001"}, {.tm = 78, .data = "[::1]:40002"}};
static wr_stats_task     control_stats_tasks[] = {{3, 100, 200, 300}, {4, 1, 2, 3}};
static wr_stats_operator control_stats_ops[] = {{.node = 2,
                                                 .subtask = 1,
                                                 .in = 10,
                                                 .out = 9,
                                                 .bad = 1,
                                                 .late = 2,
                                                 .batches = 3,
                                                 .state_bytes = 4096,
                                                 .keys = 12,
                                                 .watermark = WEIR_NO_TIME,
                                                 .held = "split old.txt"}};
static wr_stats_metric   control_stats_metrics[] = {
      {.node = 2, .subtask = 1, .name = "temperature", .kind = 2, .value = -12.5, .count = 0},
      {.node = 2, .subtask = 1, .name = "seen", .kind = 1, .value = 0, .count = UINT64_MAX}};
static weir_key  control_key = {2, {{0, WEIR_STR}, {24, WEIR_I32}}};
static wr_item   control_items[] = {{WR_ITEM_SPLIT, 1, 5, (char *)"split"}, {WR_ITEM_TIME, 1, 3, (char *)"\0\1\2"}};
static wr_ack_op control_ack_ops[] = {
    {.node = 1, .watermark = -5, .table = true, .record = &sample_word, .state = &sample_state, .key = &control_key},
    {.node = 2, .watermark = WEIR_NO_TIME, .item = control_items, .items = 2}};
static wr_ack control_ack = {.id = 9,
                             .subtask = 7,
                             .attempt = 3,
                             .phase = WR_PHASE_ASYNC,
                             .ended = true,
                             .start_delay_ns = 1,
                             .align_ns = 2,
                             .sync_ns = 3,
                             .async_ns = 4,
                             .bytes_full = 1 << 20,
                             .op = control_ack_ops,
                             .ops = 2,
                             .file = {.name = "s-00000003-0000000000000007-2-count-0.wst",
                                      .bytes = 123456,
                                      .hash = {UINT64_C(0x0123456789abcdef), 2},
                                      .group_first = 0,
                                      .group_end = 64,
                                      .increment = true}};

static inline wr_job_spec control_spec(void)
{
    return (wr_job_spec){.name = "wordcount",
                         .module = {.name = "wordcount.so", .digest = {9, 8, 7}, .bytes = 54321},
                         .file = control_files,
                         .files = 2,
                         .arg = control_args,
                         .args = 2,
                         .set = control_sets,
                         .sets = 1,
                         .parallelism = 6,
                         .parallelism_default = 2,
                         .graph = "graph\0bytes",
                         .graph_bytes = 11,
                         .snapshots = "/var/lib/weir/wordcount",
                         .snapshot_interval_ms = 10000,
                         .snapshot_timeout_ms = 600000,
                         .snapshots_keep = 3,
                         .restore = "latest",
                         .allow_non_restored = true,
                         .state_max = 1 << 30,
                         .memory_max = UINT64_C(2) << 30,
                         .restart = 3,
                         .restart_delay_ms = 100,
                         .restart_delay_most_ms = 60000,
                         .restart_window_ms = 600000,
                         .restart_attempts = 5,
                         .restart_factor_permille = 1500};
}

static inline wr_greeting control_greeting(void)
{
    wr_greeting g = {.protocol = 1, .protocol_min = 1, .role = WR_ROLE_TASKMANAGER, .weir = "0.1.0"};
    for (int i = 0; i < 32; i++) g.nonce[i] = (uint8_t)i, g.mac[i] = (uint8_t)(255 - i);
    return g;
}

static inline void control_sample_job(wr_message *m)
{
    switch (m->kind) {
    case WR_MSG_DEPLOY:
        m->deploy = (wr_deploy){.spec = control_spec(),
                                .place = control_places,
                                .places = 2,
                                .self = 77,
                                .secret = {4, 5, 6},
                                .lineage = "0123456789abcdef0123456789abcdef",
                                .restore_manifest = "/s/m-00000001-0000000000000009.wman",
                                .restore_folder = "/s"};
        break;
    case WR_MSG_ORDER:
        m->order = (wr_worker_order){WR_DO_TRIGGER, {.id = 9, .base = 7, .kind = WR_SNAPSHOT, .epoch = 4}};
        break;
    case WR_MSG_ACK: m->ack = &control_ack; break;
    case WR_MSG_STATS:
        m->stats = (wr_stats){.task = control_stats_tasks,
                              .op = control_stats_ops,
                              .metric = control_stats_metrics,
                              .tasks = 2,
                              .ops = 1,
                              .metrics = 2,
                              .rss_bytes = 16 << 20,
                              .cpu_ns = 1000000007,
                              .sent_bytes = 5,
                              .received_bytes = 6,
                              .state_bytes = 7};
        break;
    case WR_MSG_REQUEST:
        m->ask = (wr_request){.verb = "submit",
                              .job = "word",
                              .path = "/tmp/savepoint",
                              .json = true,
                              .drain = true,
                              .all = true,
                              .follow = true,
                              .parallelism = 4,
                              .offset = 99,
                              .spec = control_spec()};
        break;
    default: break;
    }
}

/* The i-th kind's, i < SAMPLES. Nothing in it is to be freed. */
static inline void control_sample(wr_message *m, uint32_t i)
{
    static const uint32_t kinds[SAMPLES] = {
        WR_MSG_CHALLENGE,  WR_MSG_HELLO, WR_MSG_WELCOME, WR_MSG_REFUSED, WR_MSG_REGISTER, WR_MSG_HEARTBEAT,
        WR_MSG_REPORT,     WR_MSG_ACK,   WR_MSG_STATS,   WR_MSG_GONE,    WR_MSG_BLOB_GET, WR_MSG_LOG,
        WR_MSG_REGISTERED, WR_MSG_HEARD, WR_MSG_DEPLOY,  WR_MSG_ORDER,   WR_MSG_KILL,     WR_MSG_BLOB,
        WR_MSG_LOG_GET,    WR_MSG_LEASE, WR_MSG_REQUEST, WR_MSG_REPLY,   WR_MSG_PROGRESS, WR_MSG_BLOB_PUT};
    memset(m, 0, sizeof *m);
    m->kind = kinds[i];
    m->leader = 5;
    m->job = UINT64_C(0xfedcba9876543210);
    m->attempt = 3;
    m->request = 42;
    wr_blob blob = {.digest = {7}, .bytes = 1000, .offset = 990, .data = "0123456789", .data_bytes = 10};
    switch (m->kind) {
    case WR_MSG_CHALLENGE:
    case WR_MSG_HELLO:
    case WR_MSG_WELCOME: m->greeting = control_greeting(); break;
    case WR_MSG_REFUSED: m->refused = (wr_errinfo){WR_PERMISSION, "the token is another one"}; break;
    case WR_MSG_REGISTER:
        m->reg = (wr_register){.tm = 77,
                               .name = "host:123",
                               .data = "127.0.0.1:40001",
                               .http = "",
                               .slots = 2,
                               .pid = 123,
                               .worker = control_workers,
                               .workers = 2};
        break;
    case WR_MSG_HEARTBEAT:
    case WR_MSG_HEARD: m->seq = UINT64_MAX; break;
    case WR_MSG_LEASE: m->until_mono_ns = INT64_C(123456789012345); break;
    case WR_MSG_REPORT:
        m->report.task = control_tasks;
        m->report.tasks = 2;
        break;
    case WR_MSG_GONE:
        m->gone = (wr_gone){.subtask = 7, .info = {WR_CRASH, "SIGSEGV"}, .report = "backtrace:\n #0 f\n"};
        break;
    case WR_MSG_BLOB_GET: m->blob = (wr_blob){.digest = {7}, .offset = 990}; break;
    case WR_MSG_BLOB:
    case WR_MSG_BLOB_PUT: m->blob = blob; break;
    case WR_MSG_LOG: m->log = (wr_log_piece){.offset = 10, .end = 15, .data = "hello", .data_bytes = 5}; break;
    case WR_MSG_LOG_GET: m->log = (wr_log_piece){.offset = 10, .data_bytes = 4096}; break;
    case WR_MSG_REGISTERED: m->registered = (wr_registered){1000, 5000}; break;
    case WR_MSG_REPLY:
    case WR_MSG_PROGRESS:
        m->reply = (wr_reply){
            .info = {WR_NO_JOB, "no such job"}, .out = "text\n", .out_bytes = 5, .job = 0xfedc, .snapshot = 9};
        break;
    default: control_sample_job(m); break;
    }
}

#endif
