/* A JobManager whose connections are lists: TaskManagers and clients are what a test says. */
#ifndef WR_TESTS_JOBMANAGER_KIT_H
#define WR_TESTS_JOBMANAGER_KIT_H
#include "connectors/connectors.h"
#include "graph/exec.h"
#include "graph/remote.h"
#include "jobmanager/jobmanager.h"
#include "net/mac.h"
#include "wire/control.h"
#include "wire/task.h"
#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <weir/pipeline.h>

#include <cmocka.h>

WEIR_RECORD(number, (uint64_t, n))
WEIR_STATE(total, (uint64_t, n))
WEIR_KEYED(add, number, in, total, state, number, out)
{
    state->n++;
    number_emit(out, *in);
}

enum { EVENTS = 256, CLIENT = 100 };

/* ---- a world of one thread ---- */

typedef struct sent {
    uint64_t   peer;
    wr_message m;
} sent;

static wr_env         env;
static int64_t        now_ns;
static wr_peer_event  inbox[EVENTS];
static uint32_t       in_first, in_count;
static sent           outbox[1024];
static uint32_t       outs;
static uint64_t       closed[32];
static uint32_t       closes;
static wr_parker      parker;
static wr_jobmanager *jm;
static uint64_t       leader;
static char           folder[64], own[96], snaps[96];
static char          *graph[3];
static size_t         graph_bytes[3];
static uint32_t       subtasks[3];
static bool           all_ended;

static inline int64_t fake_now(void *self)
{
    (void)self;
    return now_ns;
}
static inline void take_out(void *self, uint64_t peer, char *bytes, size_t n)
{
    wr_errinfo info = {0};
    (void)self;
    assert_in_range(outs, 0, 1023);
    outbox[outs].peer = peer;
    if (wr_message_decode(&outbox[outs].m, bytes, n, &info) != WR_OK) fail_msg("%s", info.text);
    assert_int_equal(outbox[outs].m.leader, leader);
    outs++;
    free(bytes);
}
static inline void take_close(void *self, uint64_t peer)
{
    (void)self;
    closed[closes++ % 32] = peer;
}
static inline bool give_next(void *self, wr_peer_event *e)
{
    (void)self;
    if (in_first == in_count) return false;
    *e = inbox[in_first++];
    if (in_first == in_count) in_first = in_count = 0;
    return true;
}
static wr_peers peers = {.send = take_out, .close = take_close, .next = give_next};

static uint32_t all_sent;

static inline void forget_sent(void)
{
    all_sent += outs;
    for (uint32_t i = 0; i < outs; i++) wr_message_free(&outbox[i].m);
    outs = 0;
}

static inline void step(void)
{
    wr_jobmanager_step(jm);
}

static inline void pass_ms(int64_t ms)
{
    now_ns += ms * 1000000;
    step();
}

static inline void say(uint64_t peer, const wr_message *m)
{
    wr_peer_event e = {
        .kind = WR_PEER_MESSAGE, .peer = peer, .role = peer < CLIENT ? WR_ROLE_TASKMANAGER : WR_ROLE_CLIENT};
    wr_errinfo info = {0};
    if (wr_message_encode(m, &e.bytes, &e.n, &info) != WR_OK) fail_msg("%s", info.text);
    assert_in_range(in_count, 0, EVENTS - 1);
    inbox[in_count++] = e;
    step();
}

static inline void hang_up(uint64_t peer)
{
    inbox[in_count++] = (wr_peer_event){.kind = WR_PEER_CLOSED, .peer = peer};
    step();
}

/* The newest message of this kind to that peer; peer 0: to anybody. */
static inline wr_message *last(uint32_t kind, uint64_t peer)
{
    for (uint32_t i = outs; i-- > 0;)
        if (outbox[i].m.kind == kind && (peer == 0 || outbox[i].peer == peer)) return &outbox[i].m;
    return NULL;
}

static inline uint32_t orders(uint32_t verb)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < outs; i++) n += outbox[i].m.kind == WR_MSG_ORDER && outbox[i].m.order.verb == verb;
    return n;
}

static inline const wr_message *order_of(uint32_t verb)
{
    for (uint32_t i = outs; i-- > 0;)
        if (outbox[i].m.kind == WR_MSG_ORDER && outbox[i].m.order.verb == verb) return &outbox[i].m;
    return NULL;
}

/* ---- what takes part ---- */

static char  *wide_graph; /* more subtasks than the others have key groups */
static size_t wide_graph_bytes;

static inline void build_graph(char **to, size_t *bytes, uint32_t *tasks, uint32_t parallelism)
{
    weir_pipeline *p = wr_job_new("numbers", NULL, 0);
    number_stream  numbers = weir_source(number, p, "generator:", .options = "rate=1000 keys=50", .parallelism = 1);
    weir_sink(weir_apply(add, weir_key_by(numbers, n)), "blackhole:", .name = "gone");
    wr_job_settings settings = {
        .parallelism = parallelism, .connector = wr_connector_resolve, .inspect = wr_connector_inspect};
    const wr_job *job;
    wr_exec      *exec;
    wr_errinfo    info = {0};
    if (wr_job_finish(p, &settings, &job, &info) != WR_OK) fail_msg("%s", info.text);
    if (wr_remote_encode(job, to, bytes, &info) != WR_OK) fail_msg("%s", info.text);
    assert_int_equal(wr_exec_new(job, &exec, &info), WR_OK);
    *tasks = exec->subtasks;
    assert_int_equal(exec->slots, parallelism);
    wr_exec_free(exec);
    wr_job_free(p);
}

static inline void open_jm(void)
{
    wr_errinfo                 info = {0};
    const wr_jobmanager_config config = {.env = &env,
                                         .peers = &peers,
                                         .parker = &parker,
                                         .folder = own,
                                         .snapshots = snaps,
                                         .heartbeat_ms = 1000,
                                         .lease_ms = 5000,
                                         .silent_ms = 5000,
                                         .cancel_timeout_ms = 10000,
                                         .seed = 7};
    leader = 0;
    if (wr_jobmanager_new(&jm, &config, &leader, &info) != WR_OK) fail_msg("%s", info.text);
    assert_int_not_equal(leader, 0);
}

static inline int begin(void **state)
{
    (void)state;
    env = *wr_env_real();
    env.mono_ns = fake_now;
    now_ns = 1000000000;
    snprintf(folder, sizeof folder, "/tmp/weir-jm-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(own, sizeof own, "%s/jm", folder);
    snprintf(snaps, sizeof snaps, "%s/snapshots", folder);
    assert_int_equal(env.mkdir(env.self, own), 0);
    assert_int_equal(env.parker_init(env.self, &parker), 0);
    for (uint32_t i = 0; i < 3; i++)
        if (graph[i] == NULL) build_graph(&graph[i], &graph_bytes[i], &subtasks[i], i + 1);
    if (wide_graph == NULL) build_graph(&wide_graph, &wide_graph_bytes, &(uint32_t){0}, 200);
    open_jm();
    return 0;
}

static inline void close_jm(void)
{
    wr_jobmanager_free(jm);
    jm = NULL;
    forget_sent();
    closes = 0;
}

static inline int remove_one(const char *path, const struct stat *about, int kind, struct FTW *where)
{
    (void)about;
    (void)kind;
    (void)where;
    return remove(path);
}

static inline int finish(void **state)
{
    (void)state;
    close_jm();
    env.parker_fini(env.self, &parker);
    return nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void come(uint64_t tm, uint32_t slots)
{
    wr_message m = {
        .kind = WR_MSG_REGISTER,
        .reg = {.tm = tm, .name = "host:1", .data = "127.0.0.1:7000", .http = "", .slots = slots, .pid = 1}};
    say(tm, &m);
}

static inline void join(uint64_t tm, uint32_t slots)
{
    come(tm, slots);
    assert_non_null(last(WR_MSG_REGISTERED, tm));
}

static inline wr_message submit_message(const char *name, uint32_t parallelism)
{
    wr_message m = {.kind = WR_MSG_REQUEST, .request = 77 + parallelism};
    m.ask = (wr_request){.verb = "submit", .job = "", .path = ""};
    m.ask.spec = (wr_job_spec){.name = name,
                               .module = {.name = "numbers.so"},
                               .parallelism = parallelism,
                               .parallelism_default = 1,
                               .graph = graph[parallelism - 1],
                               .graph_bytes = (uint32_t)graph_bytes[parallelism - 1],
                               .snapshots = "",
                               .restore = ""};
    return m;
}

static inline uint64_t submit(const char *name, uint32_t parallelism)
{
    wr_message m = submit_message(name, parallelism);
    say(CLIENT, &m);
    const wr_message *reply = last(WR_MSG_REPLY, CLIENT);
    assert_non_null(reply);
    if (reply->reply.info.code != WR_OK) fail_msg("%s", reply->reply.info.text);
    assert_int_not_equal(reply->reply.job, 0);
    return reply->reply.job;
}

static inline void request(const char *verb, uint64_t job, bool json)
{
    char       id[17];
    wr_message m = {.kind = WR_MSG_REQUEST, .request = 5};
    snprintf(id, sizeof id, "%016llx", (unsigned long long)job);
    m.ask = (wr_request){.verb = verb, .job = job != 0 ? id : "", .path = "", .json = json};
    say(CLIENT, &m);
}

static inline void expect_text(const char *part)
{
    const wr_message *reply = last(WR_MSG_REPLY, CLIENT);
    assert_non_null(reply);
    char *text = strndup(reply->reply.out, reply->reply.out_bytes);
    if (strstr(text, part) == NULL) fail_msg("no '%s' in: %s (%s)", part, text, reply->reply.info.text);
    free(text);
}

static inline void beat(uint64_t tm, uint64_t seq)
{
    wr_message m = {.kind = WR_MSG_HEARTBEAT, .seq = seq};
    say(tm, &m);
}

static inline void report(uint64_t tm, uint64_t job, uint32_t attempt, uint32_t first, uint32_t end, uint32_t state)
{
    wr_task_report r[16] = {0};
    for (uint32_t i = first; i < end; i++) r[i - first] = (wr_task_report){.subtask = i, .state = state};
    if (state == WR_TASK_FAILED) wr_fail(&r[0].info, WR_USER_FAIL, "it did not want to");
    wr_message m = {.kind = WR_MSG_REPORT, .job = job, .attempt = attempt, .report = {r, end - first}};
    say(tm, &m);
}

static inline void report_all(uint64_t job, uint32_t attempt, uint32_t n, uint32_t state)
{
    for (uint32_t i = 0; i < n; i++) { /* whoever has it: what others say is dropped */
        report(1, job, attempt, i, i + 1, state);
        report(2, job, attempt, i, i + 1, state);
    }
}

static inline void run_all(uint64_t job, uint32_t attempt, uint32_t n)
{
    report_all(job, attempt, n, WR_TASK_INITIALIZING);
    assert_int_equal(orders(WR_DO_GO), 0);
    report_all(job, attempt, n, WR_TASK_LOADED);
    assert_in_range(orders(WR_DO_GO), 1, 2);
    report_all(job, attempt, n, WR_TASK_RUNNING);
}

static inline void gone(uint64_t tm, uint64_t job, uint32_t attempt, bool clean)
{
    wr_message m = {.kind = WR_MSG_GONE, .job = job, .attempt = attempt};
    m.gone = (wr_gone){.clean = clean, .subtask = clean ? UINT32_MAX : 1, .report = ""};
    if (!clean) wr_fail(&m.gone.info, WR_CRASH, "segmentation fault in add");
    say(tm, &m);
}

/* Answers the barrier that was sent last, for all subtasks. */
static inline uint64_t ack_all(uint64_t job, uint32_t attempt, uint32_t n)
{
    const wr_message *trigger = order_of(WR_DO_TRIGGER);
    assert_non_null(trigger);
    uint64_t id = trigger->order.barrier.id;
    for (uint32_t i = 0; i < n; i++) {
        for (uint64_t tm = 1; tm <= 2; tm++) {
            wr_ack     ack = {.id = id, .subtask = i, .attempt = attempt, .ended = all_ended};
            wr_message m = {.kind = WR_MSG_ACK, .job = job, .attempt = attempt, .ack = &ack};
            say(tm, &m);
        }
    }
    return id;
}

static inline void come_back(uint64_t tm, uint64_t job, uint32_t attempt, const bool *has, uint32_t n)
{
    wr_task_report    r[16];
    wr_running_worker w = {.job = job, .attempt = attempt, .task = r};
    for (uint32_t i = 0; i < n; i++)
        if (has[i]) r[w.tasks++] = (wr_task_report){.subtask = i, .state = WR_TASK_RUNNING};
    wr_message m = {.kind = WR_MSG_REGISTER,
                    .reg = {.tm = tm,
                            .name = "host:1",
                            .data = "127.0.0.1:7000",
                            .http = "",
                            .slots = 2,
                            .pid = 1,
                            .worker = &w,
                            .workers = 1}};
    say(tm, &m);
}

static inline void free_graphs(void)
{
    for (uint32_t i = 0; i < 3; i++) free(graph[i]);
    free(wide_graph);
}

/* A job of that parallelism, on two TaskManagers of two slots. */
static inline uint64_t running(uint32_t parallelism)
{
    join(1, 2);
    join(2, 2);
    uint64_t job = submit("numbers", parallelism);
    run_all(job, 1, subtasks[parallelism - 1]);
    return job;
}

static inline void drain(const char *verb, uint64_t tm)
{
    char       name[17];
    wr_message m = {.kind = WR_MSG_REQUEST, .request = 5};
    snprintf(name, sizeof name, "%016llx", (unsigned long long)tm);
    m.ask = (wr_request){.verb = verb, .job = "", .path = name};
    say(CLIENT, &m);
}

static bool disk_fails; /* of failing_fsync */

static inline int failing_fsync(void *self, int file)
{
    return disk_fails ? -EIO : wr_env_real()->fsync(self, file);
}

#endif
