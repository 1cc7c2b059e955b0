/* Agents of one job, stepped by hand, with a TaskManager that the test plays; data goes over real sockets. */
#include "graph/remote.h"
#include "net/dial.h"
#include "taskmanager/agent.h"
#include "tests/unit/taskmanager/jobs.h"
#include <errno.h>
#include <sched.h>

#include "tests/unit/taskmanager/fakes.h"

enum { MS = 1000000, WORKERS_MAX = 2, UP = 1 };

/* One worker process, and its TaskManager's data port. */
typedef struct node {
    fake_peers     up;
    wr_agent      *agent;
    weir_pipeline *pipeline;
    wr_exec       *exec;
    wr_acceptor   *port;
    char           address[32];
    uint8_t        secret[32];
    bool           refuses;
    bool           ended;
    int            exit_code;
} node;

static node     nodes[WORKERS_MAX];
static uint32_t node_count;
static uint8_t  secret[32] = {1, 2, 3};
static bool     holds; /* the data ports know no attempt yet */
static bool     threads;
static bool     slow; /* loading takes longer than a lease, which is renewed meanwhile */

static wr_err load(void *self, const wr_deploy *deploy, const wr_manifest *restore, const wr_exec **exec,
                   wr_errinfo *info)
{
    node         *n = self;
    const wr_job *job;
    (void)deploy, (void)restore;
    if (n->refuses) return wr_fail(info, WR_NOT_A_PIPELINE, "as planned");
    if (slow) {
        fake_now_ns += 6000 * (int64_t)MS;
        wr_message m = {.kind = WR_MSG_LEASE, .job = 11, .attempt = 3, .leader = 5};
        m.until_mono_ns = fake_now_ns + 5000 * (int64_t)MS;
        fake_tell(&n->up, UP, WR_PEER_MESSAGE, &m);
    }
    n->pipeline = wr_job_new("jobs", NULL, 0);
    jobs_build(n->pipeline);
    const wr_job_settings settings = {.parallelism = jobs.parallelism};
    WR_TRY(wr_job_finish(n->pipeline, &settings, &job, info));
    WR_TRY(wr_exec_new(job, &n->exec, info));
    *exec = n->exec;
    return WR_OK;
}
static void unload(void *self)
{
    node *n = self;
    if (n->exec != NULL) wr_exec_free(n->exec);
    if (n->pipeline != NULL) wr_job_free(n->pipeline);
    n->exec = NULL;
    n->pipeline = NULL;
}
static int accepted(void *self, wr_data_hello *hello)
{
    int socket;
    return wr_acceptor_take(((node *)self)->port, &socket, hello) ? socket : -1;
}
static bool secret_of(void *self, uint64_t job, uint32_t attempt, uint8_t to[32])
{
    memcpy(to, secret, 32);
    (void)self;
    return job == 11 && attempt == 3 && !holds;
}

static void begin(uint32_t workers)
{
    wr_errinfo info = {0};
    memset(nodes, 0, sizeof nodes);
    node_count = workers;
    for (uint32_t i = 0; i < workers; i++) {
        node *n = &nodes[i];
        fake_peers_init(&n->up);
        const wr_acceptor_config port = {.env = fake_env(), .listen = "127.0.0.1:0", .secret = secret_of, .self = n};
        assert_int_equal(wr_acceptor_new(&n->port, &port, &info), WR_OK);
        snprintf(n->address, sizeof n->address, "127.0.0.1:%d", wr_acceptor_port(n->port));
        const wr_agent_config config = {.env = fake_env(),
                                        .peers = &n->up.table,
                                        .up = UP,
                                        .load = load,
                                        .unload = unload,
                                        .accepted = accepted,
                                        .self = n,
                                        .threads = threads,
                                        .stats_ms = 1000};
        assert_int_equal(wr_agent_new(&n->agent, &config, &info), WR_OK);
    }
}

static void end(void)
{
    for (uint32_t i = 0; i < node_count; i++) {
        node *n = &nodes[i];
        wr_agent_free(n->agent);
        wr_acceptor_free(n->port);
        fake_peers_fini(&n->up);
        assert_null(n->exec); /* unloaded, if it was loaded */
    }
    assert_int_equal(atomic_load(&jobs.open), 0);
}

/* A round of everything; time moves by a millisecond. */
static bool turn(void)
{
    bool worked = false;
    fake_now_ns += MS;
    for (uint32_t i = 0; i < node_count; i++) {
        node *n = &nodes[i];
        wr_acceptor_step(n->port);
        if (!n->ended) n->ended = wr_agent_step(n->agent, &n->exit_code);
        wr_worker *w = n->ended ? NULL : wr_agent_worker(n->agent);
        for (uint32_t s = 0; w != NULL && s < wr_worker_slots(w); s++) worked |= wr_worker_step(w, s);
    }
    return worked;
}

static void tell(uint32_t to, wr_message *m)
{
    m->job = m->job != 0 ? m->job : 11;
    m->attempt = m->attempt != 0 ? m->attempt : 3;
    m->leader = m->leader != 0 ? m->leader : 5;
    fake_tell(&nodes[to].up, UP, WR_PEER_MESSAGE, m);
}

static void order_all(uint32_t verb)
{
    for (uint32_t i = 0; i < node_count; i++) {
        wr_message m = {.kind = WR_MSG_ORDER, .order = {.verb = verb}};
        tell(i, &m);
    }
}

/* Slot i is on worker i modulo their number. */
static void deploy_all(void)
{
    wr_errinfo      info = {0};
    const wr_job   *job = NULL;
    wr_exec        *exec = NULL;
    char           *graph = NULL;
    size_t          n = 0;
    wr_job_settings settings = {.parallelism = jobs.parallelism};
    weir_pipeline  *p = wr_job_new("jobs", NULL, 0);
    jobs_build(p);
    if (wr_job_finish(p, &settings, &job, &info) != WR_OK || wr_exec_new(job, &exec, &info) != WR_OK ||
        wr_remote_encode(job, &graph, &n, &info) != WR_OK)
        fail_msg("%s", info.text);
    wr_place place[16];
    assert_true(exec->slots <= 16);
    for (uint32_t i = 0; i < exec->slots; i++)
        place[i] = (wr_place){.tm = 100 + i % node_count, .data = nodes[i % node_count].address};
    for (uint32_t i = 0; i < node_count; i++) {
        wr_message m = {.kind = WR_MSG_DEPLOY};
        m.deploy.spec = (wr_job_spec){.name = "jobs",
                                      .module = {.name = "jobs.so"},
                                      .parallelism = jobs.parallelism,
                                      .graph = graph,
                                      .graph_bytes = (uint32_t)n,
                                      .snapshots = "",
                                      .restore = ""};
        m.deploy.place = place;
        m.deploy.places = exec->slots;
        m.deploy.self = 100 + i;
        memcpy(m.deploy.secret, secret, sizeof secret);
        m.deploy.lineage = m.deploy.restore_manifest = m.deploy.restore_folder = "";
        tell(i, &m);
    }
    free(graph);
    wr_exec_free(exec);
    wr_job_free(p);
}

/* How many subtasks were reported to be, or to have been, in that state. */
static uint32_t reported(uint32_t state)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < node_count; i++) {
        const fake_peers *f = &nodes[i].up;
        for (uint32_t k = 0; k < f->saids; k++) {
            const wr_message *m = f->said[k];
            if (m->kind != WR_MSG_REPORT) continue;
            assert_true(m->job == 11 && m->attempt == 3 && m->leader == 5);
            for (uint32_t t = 0; t < m->report.tasks; t++) n += m->report.task[t].state == state;
        }
    }
    return n;
}

static uint32_t subtasks(void)
{
    assert_non_null(nodes[0].exec);
    return nodes[0].exec->subtasks;
}

static void until(uint32_t state, uint32_t count)
{
    for (int i = 0; reported(state) < count; i++) {
        turn();
        if (i > 200000) fail_msg("%u of %u subtasks came to %u", reported(state), count, state);
    }
}

/* Enumerators have finished long ago. */
static void cancel_all(void)
{
    order_all(WR_DO_CANCEL);
    for (int i = 0; reported(WR_TASK_CANCELED) + reported(WR_TASK_FINISHED) < subtasks(); i++) {
        turn();
        if (i > 200000) fail_msg("%u of %u subtasks are canceled", reported(WR_TASK_CANCELED), subtasks());
    }
}

static void start_all(void)
{
    deploy_all();
    turn();
    until(WR_TASK_LOADED, subtasks());
    assert_int_equal(reported(WR_TASK_RUNNING), 0);
    order_all(WR_DO_GO);
    until(WR_TASK_RUNNING, subtasks());
}

/* ---- tests ---- */

static void one_job_on_two_workers(void **state)
{
    (void)state;
    jobs_reset(4, 4, 5000);
    jobs.strings = true;
    begin(2);
    start_all();
    until(WR_TASK_FINISHED, subtasks());
    assert_true(jobs.sent == 20000 && jobs.seen == 20000 && jobs.sent_sum == jobs.seen_sum);
    for (int i = 0; i < 10; i++) turn();
    assert_false(nodes[0].ended || nodes[1].ended); /* not before they are told to */
    order_all(WR_DO_RELEASE);
    turn();
    assert_true(nodes[0].ended && nodes[1].ended && nodes[0].exit_code == 0);
    end();
}

/* What one cannot reach is not LOADED. */
static void without_its_connections_nothing_is_loaded(void **state)
{
    (void)state;
    jobs_reset(2, 2, 100);
    begin(2);
    holds = true;
    deploy_all();
    for (int i = 0; i < 200; i++) turn();
    assert_true(reported(WR_TASK_LOADED) < subtasks()); /* who dialed does not know yet that nobody answers */
    holds = false;
    until(WR_TASK_LOADED, subtasks());
    cancel_all();
    end();
}

static void another_graph_is_refused(void **state)
{
    (void)state;
    jobs_reset(2, 2, 100);
    begin(1);
    deploy_all();
    jobs.parallelism = 1; /* what the build function sees here is not what it saw there */
    turn();
    assert_true(nodes[0].ended);
    const wr_message *m = fake_said(&nodes[0].up, WR_MSG_GONE);
    assert_non_null(m);
    assert_int_equal(m->gone.info.code, WR_GRAPH);
    assert_int_equal(nodes[0].exit_code, WR_EXIT_USAGE);
    end();
}

static void a_pipeline_that_cannot_be_loaded_is_told(void **state)
{
    (void)state;
    jobs_reset(2, 2, 100);
    begin(1);
    nodes[0].refuses = true;
    deploy_all();
    turn();
    assert_true(nodes[0].ended);
    assert_int_equal(fake_said(&nodes[0].up, WR_MSG_GONE)->gone.info.code, WR_NOT_A_PIPELINE);
    end();
}

static void a_worker_ends_with_its_lease(void **state)
{
    (void)state;
    wr_message m = {.kind = WR_MSG_LEASE, .until_mono_ns = fake_now_ns + 500 * (int64_t)MS};
    jobs_reset(2, 2, UINT64_MAX);
    begin(1);
    tell(0, &m);
    start_all();
    m.until_mono_ns = fake_now_ns + 300 * (int64_t)MS;
    tell(0, &m);
    turn();
    int64_t wait = wr_agent_wait_ns(nodes[0].agent);
    assert_true(wait >= 0 && wait <= 300 * (int64_t)MS);
    fake_now_ns += 290 * (int64_t)MS;
    turn();
    assert_false(nodes[0].ended);
    fake_now_ns += 20 * (int64_t)MS;
    m.until_mono_ns = fake_now_ns + 500 * (int64_t)MS; /* it lies in the queue, and comes too late */
    tell(0, &m);
    turn();
    assert_true(nodes[0].ended);
    assert_int_not_equal(nodes[0].exit_code, 0);
    end();
}

static void loading_may_take_longer_than_a_lease(void **state)
{
    (void)state;
    wr_message m = {.kind = WR_MSG_LEASE, .until_mono_ns = fake_now_ns + 5000 * (int64_t)MS};
    jobs_reset(2, 2, UINT64_MAX);
    threads = slow = true;
    begin(1);
    tell(0, &m);
    deploy_all();
    for (int i = 0; i == 0 || reported(WR_TASK_LOADED) < subtasks(); i++) {
        assert_false(wr_agent_step(nodes[0].agent, &nodes[0].exit_code));
        assert_int_equal(reported(WR_TASK_FAILED), 0);
        sched_yield();
    }
    threads = slow = false;
    end();
}

static void a_lost_taskmanager_ends_its_worker(void **state)
{
    (void)state;
    jobs_reset(2, 2, UINT64_MAX);
    begin(1);
    start_all();
    fake_tell(&nodes[0].up, UP, WR_PEER_CLOSED, NULL);
    turn();
    assert_true(nodes[0].ended);
    end();
}

static void stale_orders_have_no_effect(void **state)
{
    (void)state;
    wr_message m = {.kind = WR_MSG_ORDER, .order = {.verb = WR_DO_CANCEL}};
    jobs_reset(2, 2, UINT64_MAX);
    begin(1);
    start_all();
    m.leader = 4;
    tell(0, &m);
    m.leader = 0;
    m.attempt = 2;
    tell(0, &m);
    m.attempt = 0;
    m.job = 12;
    tell(0, &m);
    for (int i = 0; i < 50; i++) turn();
    assert_int_equal(reported(WR_TASK_CANCELED), 0);
    cancel_all();
    end();
}

static void a_failure_is_reported_with_its_cause(void **state)
{
    (void)state;
    jobs_reset(2, 1, UINT64_MAX);
    jobs.fail_at = 1000;
    begin(1);
    start_all();
    until(WR_TASK_FAILED, 1);
    const wr_message *m = fake_said(&nodes[0].up, WR_MSG_REPORT);
    bool              found = false;
    for (uint32_t i = 0; i < m->report.tasks; i++)
        found |= m->report.task[i].state == WR_TASK_FAILED && m->report.task[i].info.code == WR_USER_FAIL &&
                 strstr(m->report.task[i].info.text, "as planned") != NULL;
    assert_true(found);
    order_all(WR_DO_CANCEL);
    for (int i = 0; i < 1000; i++) turn();
    end();
}

static void measures_now_and_then(void **state)
{
    (void)state;
    jobs_reset(2, 2, UINT64_MAX);
    begin(1);
    start_all();
    uint32_t before = fake_count(&nodes[0].up, WR_MSG_STATS);
    for (int i = 0; i < 3000; i++) turn();
    assert_in_range(fake_count(&nodes[0].up, WR_MSG_STATS) - before, 2, 4);
    const wr_message *m = fake_said(&nodes[0].up, WR_MSG_STATS);
    assert_int_equal(m->stats.tasks, subtasks());
    uint64_t in = 0;
    for (uint32_t i = 0; i < m->stats.ops; i++) in += m->stats.op[i].in;
    assert_true(in > 1000 && m->stats.rss_bytes > 0);
    cancel_all();
    end();
}

/* Sockets of others, and of slots that are not here. */
static void strange_connections_are_closed(void **state)
{
    (void)state;
    wr_errinfo info = {0};
    wr_dialer *d;
    int        socket, got = 0;
    uint64_t   tag;
    jobs_reset(2, 2, UINT64_MAX);
    begin(1);
    start_all();
    assert_int_equal(wr_dialer_new(&d, fake_env(), secret, &info), WR_OK);
    for (uint32_t i = 0; i < 3; i++) {
        const wr_data_hello h = {.job = 11, .attempt = 3, .from_slot = i == 0 ? 0 : 1, .to_slot = i == 2 ? 9 : 1};
        assert_int_equal(wr_dialer_dial(d, nodes[0].address, &h, i, fake_now_ns + 1000000 * (int64_t)MS, &info), WR_OK);
    }
    const wr_env *env = wr_env_real();
    for (int i = 0; got < 3; i++) {
        turn();
        wr_dialer_step(d);
        while (wr_dialer_take(d, &tag, &socket, &info)) {
            char    byte;
            wr_span span = {&byte, 1};
            int64_t n;
            assert_true(socket >= 0);
            for (int k = 0; (n = env->receive(env->self, socket, &span, 1)) == -EAGAIN; k++) {
                turn();
                if (k > 100000) fail_msg("connection %u stays open", (unsigned)tag);
            }
            assert_true(n <= 0);
            env->hang_up(env->self, socket);
            got++;
        }
        if (i > 100000) fail_msg("%d of 3 connections came", got);
    }
    wr_dialer_free(d);
    cancel_all();
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_job_on_two_workers),
        cmocka_unit_test(without_its_connections_nothing_is_loaded),
        cmocka_unit_test(another_graph_is_refused),
        cmocka_unit_test(a_pipeline_that_cannot_be_loaded_is_told),
        cmocka_unit_test(a_worker_ends_with_its_lease),
        cmocka_unit_test(a_lost_taskmanager_ends_its_worker),
        cmocka_unit_test(stale_orders_have_no_effect),
        cmocka_unit_test(a_failure_is_reported_with_its_cause),
        cmocka_unit_test(measures_now_and_then),
        cmocka_unit_test(strange_connections_are_closed),
        cmocka_unit_test(loading_may_take_longer_than_a_lease),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
