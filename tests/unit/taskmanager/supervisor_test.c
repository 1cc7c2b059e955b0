/* The supervisor, with a JobManager, workers and processes that the test plays. */
#include "tests/unit/taskmanager/supervisor_kit.h"
#include "wire/task.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

/* ---- registration, heartbeats ---- */

static void registers(void **state)
{
    world *w = *state;
    step(w);
    assert_int_equal(w->jm.dials, 1);
    assert_string_equal(w->jm.dialed, "127.0.0.1:6123");
    join(w);
    const wr_message *m = fake_said(&w->jm, WR_MSG_REGISTER);
    assert_true(m->reg.tm != 0 && m->reg.slots == 4 && m->reg.pid == 77 && m->reg.workers == 0);
    assert_string_equal(m->reg.name, "here:1");
    assert_string_equal(m->reg.data, wr_supervisor_data(w->s));
    assert_int_equal(fake_count(&w->jm, WR_MSG_HEARTBEAT), 1);
    step(w);
    assert_int_equal(fake_count(&w->jm, WR_MSG_HEARTBEAT), 1);
    assert_true(wr_supervisor_wait_ns(w->s) > 0 && wr_supervisor_wait_ns(w->s) <= 1000 * (int64_t)MS);
    fake_now_ns += 1000 * (int64_t)MS;
    step(w);
    assert_int_equal(fake_count(&w->jm, WR_MSG_HEARTBEAT), 2);
}

static void dials_again_with_pauses(void **state)
{
    world *w = *state;
    step(w);
    for (uint32_t i = 1; i < 12; i++) {
        fake_tell(&w->jm, w->jm.last, WR_PEER_CLOSED, NULL);
        step(w);
        assert_int_equal(w->jm.dials, i);
        assert_true(wr_supervisor_wait_ns(w->s) > 0 && wr_supervisor_wait_ns(w->s) <= 1250 * (int64_t)MS);
        fake_now_ns += wr_supervisor_wait_ns(w->s);
        step(w);
        assert_int_equal(w->jm.dials, i + 1);
    }
}

/* A connection that is dead without saying so. */
static void silence_is_an_end(void **state)
{
    world *w = *state;
    join(w);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(w->jm.closes, 0);
        fake_now_ns += 1000 * (int64_t)MS;
        step(w);
    }
    assert_int_equal(w->jm.closes, 1);
    assert_false(wr_supervisor_registered(w->s));
    fake_now_ns += 1000 * (int64_t)MS;
    step(w);
    assert_int_equal(w->jm.dials, 2);
}

static void lower_leaders_are_not_heard(void **state)
{
    world *w = *state;
    join(w);
    w->leader = 4;
    deploy(w, 11, 1);
    assert_int_equal(fake_count(&w->jm, WR_MSG_BLOB_GET), 0);
    w->leader = 6;
    deploy(w, 11, 1);
    assert_int_equal(fake_count(&w->jm, WR_MSG_BLOB_GET), 1);
    w->leader = 5;
    fake_tell(&w->jm, w->jm.last, WR_PEER_CLOSED, NULL);
    step(w);
    fake_now_ns += 1250 * (int64_t)MS;
    step(w);
    fake_tell(&w->jm, w->jm.last, WR_PEER_OPENED, NULL);
    wr_message m = {.kind = WR_MSG_REGISTERED, .registered = {.heartbeat_ms = 1000, .lease_ms = 5000}};
    tell(w, &m);
    assert_false(wr_supervisor_registered(w->s)); /* and it has hung up */
    assert_int_equal(w->jm.closes, 1);
}

static void two_do_not_share_a_folder(void **state)
{
    world                     *w = *state;
    wr_supervisor             *other;
    wr_errinfo                 info = {0};
    const wr_supervisor_config config = {.env = fake_env(),
                                         .peers = &w->jm.table,
                                         .workers = &w->workers.table,
                                         .processes = &w->processes.table,
                                         .jobmanager = "127.0.0.1:1",
                                         .name = "other",
                                         .folder = w->folder,
                                         .data_listen = "127.0.0.1:0",
                                         .slots = 1};
    assert_int_equal(wr_supervisor_new(&other, &config, &info), WR_BUSY);
    assert_null(other);
}

/* ---- deployment ---- */

static void a_worker_gets_its_files_and_its_deployment(void **state)
{
    world     *w = *state;
    char       path[WR_PATH_BYTES_MAX], *bytes;
    size_t     n;
    wr_errinfo info = {0};
    join(w);
    deploy(w, 11, 1);
    assert_int_equal(w->processes.count, 0);
    give_piece(w, 1000);
    give_piece(w, 1999);
    assert_int_equal(w->processes.count, 0);
    give_piece(w, 1);
    assert_int_equal(w->processes.count, 1);
    const fake_process *p = &w->processes.process[0];
    assert_true(p->job == 11 && p->attempt == 1 && p->memory_max == 1000);
    assert_true(wr_tm_path(path, p->folder, "job.so"));
    assert_int_equal(wr_tm_file_read(wr_env_real(), path, 10000, &bytes, &n, &info), WR_OK);
    assert_int_equal(n, sizeof w->blob);
    assert_memory_equal(bytes, w->blob, n);
    free(bytes);
    assert_int_equal(w->workers.said[0]->kind, WR_MSG_LEASE); /* before anything else */
    assert_true(w->workers.said[0]->until_mono_ns == fake_now_ns + 5000 * (int64_t)MS);
    assert_int_equal(w->workers.said[1]->kind, WR_MSG_DEPLOY);
    assert_true(w->workers.said[1]->job == 11 && w->workers.said[1]->deploy.secret[0] == 7);
    /* The next one has it already. */
    uint32_t asked = fake_count(&w->jm, WR_MSG_BLOB_GET);
    deploy(w, 12, 1);
    assert_int_equal(w->processes.count, 2);
    assert_int_equal(fake_count(&w->jm, WR_MSG_BLOB_GET), asked);
}

static void a_damaged_file_is_not_believed(void **state)
{
    world *w = *state;
    join(w);
    deploy(w, 11, 1);
    w->blob[5] ^= 1;
    give_piece(w, 3000);
    const wr_message *m = fake_said(&w->jm, WR_MSG_GONE);
    assert_non_null(m);
    assert_true(m->job == 11 && m->attempt == 1 && !m->gone.clean);
    assert_int_equal(m->gone.info.code, WR_IO);
    w->blob[5] ^= 1;
    run_one(w, 11, 2);
}

/* Of a former process: believed when it is what its name says. */
static void files_that_are_there_are_looked_at(void **state)
{
    world *w = *state;
    char   path[256];
    join(w);
    run_one(w, 11, 1);
    for (int damaged = 0; damaged < 2; damaged++) {
        wr_supervisor_free(w->s);
        new_supervisor(w);
        uint32_t count;
        snprintf(path, sizeof path, "%.100s/blobs", w->folder);
        char **name = wr_tm_folder_list(wr_env_real(), path, &count);
        assert_int_equal(count, 1);
        snprintf(path + strlen(path), 100, "/%.80s", name[0]);
        free(name);
        FILE *file = fopen(path, "r+");
        assert_non_null(file);
        if (damaged) fputc('x', file);
        fclose(file);
        fake_forget(&w->jm);
        uint32_t before = w->processes.count;
        join(w);
        deploy(w, 12, 1);
        assert_int_equal(fake_count(&w->jm, WR_MSG_BLOB_GET), damaged);
        assert_int_equal(w->processes.count - before, !damaged);
    }
    give_piece(w, 3000);
    step(w);
    assert_int_equal(w->processes.count, 3);
}

static void give_error(world *w, const wr_message *ask)
{
    wr_message m = {.kind = WR_MSG_BLOB, .request = ask->request, .blob = ask->blob};
    m.blob.bytes = sizeof w->blob;
    m.blob.data = "";
    m.blob.data_bytes = 0;
    wr_fail(&m.blob.info, WR_NOT_FOUND, "no such file");
    tell(w, &m);
}

static void a_file_that_is_not_there_fails_the_worker(void **state)
{
    world *w = *state;
    join(w);
    deploy(w, 11, 1);
    const wr_message first = *fake_said(&w->jm, WR_MSG_BLOB_GET);
    give_error(w, &first);
    assert_int_equal(fake_said(&w->jm, WR_MSG_GONE)->gone.info.code, WR_NOT_FOUND);
    assert_int_equal(fake_count(&w->jm, WR_MSG_GONE), 1);
    deploy(w, 12, 1);
    give_error(w, &first); /* it was asked twice; the second answer comes when the file is there */
    assert_int_equal(fake_count(&w->jm, WR_MSG_GONE), 1);
    while (w->processes.count == 0) give_piece(w, 1000);
    assert_int_equal(w->processes.process[0].job, 12);
}

static void old_and_repeated_deployments_have_no_effect(void **state)
{
    world *w = *state;
    join(w);
    run_one(w, 11, 2);
    deploy(w, 11, 2);
    deploy(w, 11, 1);
    assert_int_equal(w->processes.count, 1);
    assert_int_equal(fake_count(&w->jm, WR_MSG_GONE), 0);
    fake_end(&w->processes, 1, 0, 1, WR_OK, "");
    step(w);
    deploy(w, 11, 2); /* it has been here */
    assert_int_equal(w->processes.count, 1);
    /* A newer one ends what is left of an older one. */
    run_one(w, 11, 3);
    assert_false(w->processes.process[1].killed);
    run_one(w, 11, 4);
    assert_true(w->processes.process[1].killed);
    assert_false(w->processes.process[2].killed);
}

static void a_process_that_cannot_be_started_is_told(void **state)
{
    world *w = *state;
    join(w);
    w->processes.refuse = WR_MEMORY;
    deploy(w, 11, 1);
    give_piece(w, 3000);
    const wr_message *m = fake_said(&w->jm, WR_MSG_GONE);
    assert_non_null(m);
    assert_true(!m->gone.clean && m->gone.info.code == WR_MEMORY);
}

/* ---- messages in both directions ---- */

static void messages_pass(void **state)
{
    world         *w = *state;
    wr_task_report task[2] = {{.subtask = 0, .state = WR_TASK_RUNNING}, {.subtask = 3, .state = WR_TASK_LOADED}};
    wr_message     m = {.kind = WR_MSG_REPORT, .job = 11, .attempt = 1};
    join(w);
    run_one(w, 11, 1);
    order(w, 11, 1, WR_DO_GO);
    assert_int_equal(fake_said(&w->workers, WR_MSG_ORDER)->order.verb, WR_DO_GO);
    m.report.task = task;
    m.report.tasks = 2;
    worker_says(w, 1, &m);
    assert_int_equal(fake_said(&w->jm, WR_MSG_REPORT)->report.tasks, 2);
    /* For another attempt: not passed on. */
    m.attempt = 2;
    worker_says(w, 1, &m);
    assert_int_equal(fake_count(&w->jm, WR_MSG_REPORT), 1);
    order(w, 11, 2, WR_DO_GO);
    order(w, 12, 1, WR_DO_GO);
    assert_int_equal(fake_count(&w->workers, WR_MSG_ORDER), 1);
    /* A new connection says what runs, as far as it has come. */
    fake_tell(&w->jm, w->jm.last, WR_PEER_CLOSED, NULL);
    step(w);
    fake_forget(&w->jm);
    m.attempt = 1;
    m.report.tasks = 1;
    task[0] = (wr_task_report){.subtask = 3, .state = WR_TASK_RUNNING};
    worker_says(w, 1, &m);
    assert_int_equal(fake_count(&w->jm, WR_MSG_REPORT), 0);
    fake_now_ns += 1250 * (int64_t)MS;
    join(w);
    const wr_register *r = &fake_said(&w->jm, WR_MSG_REGISTER)->reg;
    assert_int_equal(r->workers, 1);
    assert_true(r->worker[0].job == 11 && r->worker[0].attempt == 1 && r->worker[0].tasks == 2);
    assert_int_equal(r->worker[0].task[0].state, WR_TASK_RUNNING);
    assert_int_equal(r->worker[0].task[1].state, WR_TASK_RUNNING);
}

/* A JobManager that heard of a later leader would end: no user code may say that to it. */
static void a_worker_does_not_speak_of_later_leaders(void **state)
{
    world         *w = *state;
    wr_task_report task = {.subtask = 0, .state = WR_TASK_RUNNING};
    wr_message     m = {.kind = WR_MSG_REPORT, .job = 11, .attempt = 1, .report = {.task = &task, .tasks = 1}};
    join(w);
    run_one(w, 11, 1);
    const uint64_t ours = fake_said(&w->jm, WR_MSG_HEARTBEAT)->leader;
    m.leader = ours + 1;
    worker_says(w, 1, &m);
    assert_int_equal(fake_count(&w->jm, WR_MSG_REPORT), 0);
    m.leader = ours;
    worker_says(w, 1, &m);
    assert_int_equal(fake_count(&w->jm, WR_MSG_REPORT), 1);
}

/* Behind the registration, which says how far it was: else nobody would ever hear of it. */
static void reports_while_it_registers_are_not_lost(void **state)
{
    world         *w = *state;
    wr_task_report task = {.subtask = 3, .state = WR_TASK_FINISHED};
    wr_message     m = {.kind = WR_MSG_REPORT, .job = 11, .attempt = 1};
    join(w);
    run_one(w, 11, 1);
    fake_tell(&w->jm, w->jm.last, WR_PEER_CLOSED, NULL);
    step(w);
    fake_forget(&w->jm);
    fake_now_ns += 1250 * (int64_t)MS;
    step(w);
    fake_tell(&w->jm, w->jm.last, WR_PEER_OPENED, NULL);
    step(w);
    assert_int_equal(fake_said(&w->jm, WR_MSG_REGISTER)->reg.worker[0].tasks, 0);
    m.report.task = &task;
    m.report.tasks = 1;
    worker_says(w, 1, &m);
    assert_false(wr_supervisor_registered(w->s));
    assert_int_equal(fake_count(&w->jm, WR_MSG_REPORT), 1);
}

static void leases_are_renewed_by_round_trips_only(void **state)
{
    world     *w = *state;
    wr_message m = {.kind = WR_MSG_HEARD};
    join(w);
    run_one(w, 11, 1);
    fake_forget(&w->workers);
    fake_now_ns += 1000 * (int64_t)MS;
    int64_t sent = fake_now_ns;
    step(w); /* heartbeat 2 */
    assert_int_equal(w->workers.saids, 0);
    fake_now_ns += 300 * (int64_t)MS;
    m.seq = 2;
    tell(w, &m);
    assert_true(fake_said(&w->workers, WR_MSG_LEASE)->until_mono_ns == sent + 5000 * (int64_t)MS);
    fake_forget(&w->workers);
    m.seq = 9; /* was never sent */
    tell(w, &m);
    m.seq = 0;
    tell(w, &m);
    assert_int_equal(w->workers.saids, 0);
}

/* The JobManager counts from when it heard of us: a lease that began later would last longer than its patience. */
static void a_registration_counts_from_when_it_was_sent(void **state)
{
    world     *w = *state;
    wr_message m = {.kind = WR_MSG_REGISTERED, .registered = {.heartbeat_ms = 1000, .lease_ms = 5000}};
    join(w);
    run_one(w, 11, 1);
    fake_tell(&w->jm, w->jm.last, WR_PEER_CLOSED, NULL);
    step(w);
    fake_now_ns += 1250 * (int64_t)MS;
    step(w);
    fake_forget(&w->workers);
    fake_tell(&w->jm, w->jm.last, WR_PEER_OPENED, NULL);
    step(w);
    int64_t sent = fake_now_ns;
    fake_now_ns += 300 * (int64_t)MS;
    tell(w, &m);
    assert_true(wr_supervisor_registered(w->s));
    assert_true(fake_said(&w->workers, WR_MSG_LEASE)->until_mono_ns == sent + 5000 * (int64_t)MS);
}

/* When a heartbeat was sent is remembered for 64 of them: beyond that another one stands in its place. */
static void answers_to_forgotten_heartbeats_renew_nothing(void **state)
{
    world     *w = *state;
    wr_message m = {.kind = WR_MSG_HEARD};
    join(w);
    run_one(w, 11, 1);
    while (fake_count(&w->jm, WR_MSG_HEARTBEAT) < 67) {
        wr_message working = {.kind = WR_MSG_STATS, .job = 11, .attempt = 1};
        fake_now_ns += 1000 * (int64_t)MS;
        worker_says(w, 1, &working);
        order(w, 12, 1, WR_DO_GO); /* of nobody here: the connection is not silent */
    }
    int64_t sent = fake_now_ns; /* 67 */
    fake_forget(&w->workers);
    m.seq = 3;
    tell(w, &m);
    assert_int_equal(w->workers.saids, 0);
    m.seq = 4;
    tell(w, &m);
    assert_true(fake_said(&w->workers, WR_MSG_LEASE)->until_mono_ns == sent - (63 - 5) * 1000 * (int64_t)MS);
}

/* ---- data connections ---- */

static int dialed(world *w, uint64_t job, wr_dialer *d)
{
    const wr_data_hello hello = {.job = job, .attempt = 1, .from_slot = 0, .to_slot = 1};
    wr_errinfo          info = {0};
    uint64_t            tag;
    int                 socket = -1;
    assert_int_equal(wr_dialer_dial(d, wr_supervisor_data(w->s), &hello, 0, INT64_MAX, &info), WR_OK);
    while (!wr_dialer_take(d, &tag, &socket, &info)) {
        wr_dialer_step(d);
        step(w);
    }
    assert_true(socket >= 0);
    return socket;
}

/* Files may come slowly: who dials has waited for as long. */
static void connections_wait_for_their_worker(void **state)
{
    world     *w = *state;
    wr_dialer *d;
    wr_errinfo info = {0};
    uint8_t    secret[32];
    char       byte;
    wr_span    span = {&byte, 1};
    join(w);
    memset(secret, 7, sizeof secret);
    assert_int_equal(wr_dialer_new(&d, fake_env(), secret, &info), WR_OK);
    deploy(w, 11, 1);
    deploy(w, 12, 1);
    int one = dialed(w, 11, d), other = dialed(w, 12, d);
    for (int i = 0; i < 20; i++) {
        wr_message m = {.kind = WR_MSG_HEARD, .seq = 1};
        fake_now_ns += 1000 * (int64_t)MS;
        tell(w, &m);
        assert_true(wr_env_real()->receive(wr_env_real()->self, one, &span, 1) == -EAGAIN);
    }
    wr_message kill = {.kind = WR_MSG_KILL, .job = 12, .attempt = 1};
    tell(w, &kill);
    int64_t n;
    while ((n = wr_env_real()->receive(wr_env_real()->self, other, &span, 1)) == -EAGAIN) step(w);
    assert_true(n <= 0); /* it went with its worker */
    while (w->processes.count == 0) give_piece(w, 1000);
    assert_int_equal(w->processes.process[0].given, 1);
    wr_env_real()->hang_up(wr_env_real()->self, one);
    wr_env_real()->hang_up(wr_env_real()->self, other);
    wr_dialer_free(d);
}

/* ---- ends ---- */

static void an_end_that_was_ordered_is_clean(void **state)
{
    world *w = *state;
    join(w);
    run_one(w, 11, 1);
    order(w, 11, 1, WR_DO_RELEASE);
    assert_int_equal(fake_said(&w->workers, WR_MSG_ORDER)->order.verb, WR_DO_RELEASE);
    assert_int_equal(fake_count(&w->jm, WR_MSG_GONE), 0);
    assert_int_equal(access(w->processes.process[0].folder, F_OK), 0);
    fake_end(&w->processes, 1, 0, 0, WR_OK, "");
    step(w);
    const wr_message *m = fake_said(&w->jm, WR_MSG_GONE);
    assert_true(m != NULL && m->gone.clean && m->job == 11 && m->attempt == 1);
    assert_int_not_equal(access(w->processes.process[0].folder, F_OK), 0);
    assert_int_equal(access(w->processes.process[0].log, F_OK), -1); /* the process would have made it */
}

static void one_that_does_not_end_is_killed(void **state)
{
    world *w = *state;
    join(w);
    run_one(w, 11, 1);
    order(w, 11, 1, WR_DO_RELEASE);
    for (int i = 0; i < 11; i++) {
        wr_message m = {.kind = WR_MSG_HEARD, .seq = 1};
        fake_now_ns += 1000 * (int64_t)MS;
        tell(w, &m);
    }
    assert_true(w->processes.process[0].killed);
    assert_true(fake_said(&w->jm, WR_MSG_GONE)->gone.clean);
}

static void a_kill_is_clean_and_can_be_repeated(void **state)
{
    world     *w = *state;
    wr_message m = {.kind = WR_MSG_KILL, .job = 11, .attempt = 1};
    join(w);
    tell(w, &m); /* nobody is there */
    assert_true(fake_said(&w->jm, WR_MSG_GONE)->gone.clean);
    run_one(w, 11, 1);
    tell(w, &m);
    assert_true(w->processes.process[0].killed);
    assert_int_equal(fake_count(&w->jm, WR_MSG_GONE), 2);
    tell(w, &m);
    assert_int_equal(fake_count(&w->jm, WR_MSG_GONE), 3);
    /* While its files come, too. */
    memset(w->digest, 9, sizeof w->digest);
    deploy(w, 12, 1);
    m.job = 12;
    tell(w, &m);
    assert_int_equal(fake_count(&w->jm, WR_MSG_GONE), 4);
    assert_int_equal(w->processes.count, 1);
}

static void a_crash_is_told_with_its_cause(void **state)
{
    world *w = *state;
    join(w);
    run_one(w, 11, 1);
    run_one(w, 12, 1);
    fake_end(&w->processes, 1, 0, 5, WR_CRASH, "it crashed");
    step(w);
    const wr_message *m = fake_said(&w->jm, WR_MSG_GONE);
    assert_true(m->job == 11 && !m->gone.clean && m->gone.info.code == WR_CRASH);
    assert_string_equal(m->gone.info.text, "it crashed");
    assert_string_equal(m->gone.report, "a report");
    assert_int_equal(fake_count(&w->jm, WR_MSG_GONE), 1); /* the other one goes on */
    assert_false(w->processes.process[1].killed);
}

static void the_last_word_of_a_worker_counts(void **state)
{
    world     *w = *state;
    wr_message m = {.kind = WR_MSG_GONE, .job = 11, .attempt = 1};
    join(w);
    run_one(w, 11, 1);
    m.gone.subtask = UINT32_MAX;
    m.gone.report = "";
    wr_fail(&m.gone.info, WR_GRAPH, "another graph");
    worker_says(w, 1, &m);
    assert_int_equal(fake_count(&w->jm, WR_MSG_GONE), 0);
    fake_end(&w->processes, 1, 0, 2, WR_CRASH, "exit code 2");
    step(w);
    assert_int_equal(fake_said(&w->jm, WR_MSG_GONE)->gone.info.code, WR_GRAPH);
}

static wr_message last_word;
static world     *says_it;

static bool ended_with_a_word(void *self, wr_process_end *end)
{
    bool ended = fake_ended(self, end);
    if (ended) fake_tell(&says_it->workers, 100 + end->process, WR_PEER_MESSAGE, &last_word);
    return ended;
}

/* It comes when the supervisor has just looked at what workers say. */
static void a_late_last_word_counts(void **state)
{
    world *w = *state;
    join(w);
    run_one(w, 11, 1);
    says_it = w;
    last_word = (wr_message){.kind = WR_MSG_GONE, .job = 11, .attempt = 1, .gone = {.report = ""}};
    wr_fail(&last_word.gone.info, WR_LIMIT, "too much state");
    w->processes.table.ended = ended_with_a_word;
    fake_end(&w->processes, 1, 0, 2, WR_CRASH, "exit code 2");
    step(w);
    assert_int_equal(fake_said(&w->jm, WR_MSG_GONE)->gone.info.code, WR_LIMIT);
}

static void what_happens_without_a_connection_is_told_later(void **state)
{
    world *w = *state;
    join(w);
    run_one(w, 11, 1);
    fake_tell(&w->jm, w->jm.last, WR_PEER_CLOSED, NULL);
    step(w);
    fake_end(&w->processes, 1, 11, 0, WR_CRASH, "it crashed");
    step(w);
    assert_int_equal(fake_count(&w->jm, WR_MSG_GONE), 0);
    fake_now_ns += 1250 * (int64_t)MS;
    fake_forget(&w->jm);
    join(w);
    assert_int_equal(fake_said(&w->jm, WR_MSG_REGISTER)->reg.workers, 0);
    assert_int_equal(fake_count(&w->jm, WR_MSG_GONE), 1);
}

static void a_silent_worker_is_killed(void **state)
{
    world     *w = *state;
    wr_message beat = {.kind = WR_MSG_HEARD, .seq = 1}, m = {.kind = WR_MSG_STATS, .job = 11, .attempt = 1};
    join(w);
    run_one(w, 11, 1);
    for (int i = 0; i < 60; i++) {
        fake_now_ns += 1000 * (int64_t)MS;
        if (i < 30) worker_says(w, 1, &m);
        tell(w, &beat);
        if (i < 58) assert_false(w->processes.process[0].killed);
    }
    assert_true(w->processes.process[0].killed);
    const wr_message *gone = fake_said(&w->jm, WR_MSG_GONE);
    assert_true(!gone->gone.clean && gone->gone.info.code == WR_CRASH);
}

/* One that has said nothing at all may be in the pipeline's build function: it says so itself, a little later. */
static void a_worker_that_builds_is_given_more_time(void **state)
{
    world     *w = *state;
    wr_message beat = {.kind = WR_MSG_HEARD, .seq = 1};
    join(w);
    run_one(w, 11, 1);
    for (int i = 1; i <= 40; i++) {
        assert_false(w->processes.process[0].killed);
        fake_now_ns += 1000 * (int64_t)MS;
        tell(w, &beat);
    }
    assert_true(w->processes.process[0].killed);
}

/* ---- logs ---- */

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void logs(void **state)
{
    world     *w = *state;
    wr_message m = {.kind = WR_MSG_LOG_GET, .job = 11, .request = 8};
    char       folder[WR_PATH_BYTES_MAX], path[WR_PATH_BYTES_MAX + 64];
    join(w);
    m.log.data_bytes = 6;
    tell(w, &m); /* no such job */
    assert_int_equal(fake_said(&w->jm, WR_MSG_LOG)->log.data_bytes, 0);
    run_one(w, 11, 1);
    snprintf(folder, sizeof folder, "%s", w->processes.process[0].log);
    *strrchr(folder, '/') = 0;
    snprintf(path, sizeof path, "%s/log-%020d", folder, 4);
    write_text(path, "efgh");
    snprintf(path, sizeof path, "%s/log-%020d", folder, 8);
    write_text(path, "ijkl");
    m.log.offset = 0; /* gone already */
    tell(w, &m);
    const wr_log_piece *piece = &fake_said(&w->jm, WR_MSG_LOG)->log;
    assert_true(piece->offset == 4 && piece->end == 12 && piece->data_bytes == 6);
    assert_memory_equal(piece->data, "efghij", 6);
    m.log.offset = 10;
    tell(w, &m);
    piece = &fake_said(&w->jm, WR_MSG_LOG)->log;
    assert_true(piece->offset == 10 && piece->data_bytes == 2);
    assert_memory_equal(piece->data, "kl", 2);
    m.log.offset = UINT64_MAX;
    tell(w, &m);
    piece = &fake_said(&w->jm, WR_MSG_LOG)->log;
    assert_true(piece->offset == 6 && piece->data_bytes == 6 && fake_said(&w->jm, WR_MSG_LOG)->request == 8);
    assert_memory_equal(piece->data, "ghijkl", 6);
}

/* Folders of old jobs go, but not that of a job that has been silent for long and runs. */
static void logs_of_running_jobs_stay(void **state)
{
    world                *w = *state;
    char                  folder[WR_PATH_BYTES_MAX], path[WR_PATH_BYTES_MAX + 64];
    const struct timespec long_ago[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    join(w);
    run_one(w, 11, 1);
    snprintf(folder, sizeof folder, "%s", w->processes.process[0].log);
    *strrchr(folder, '/') = 0;
    assert_int_equal(utimensat(AT_FDCWD, folder, long_ago, 0), 0);
    for (int i = 0; i < 120; i++) {
        snprintf(path, sizeof path, "%.100s/logs/%016x", w->folder, 1000 + i);
        assert_int_equal(mkdir(path, 0777), 0);
    }
    run_one(w, 12, 1);
    assert_int_equal(access(folder, F_OK), 0);
    uint32_t count;
    snprintf(path, sizeof path, "%.100s/logs", w->folder);
    free(wr_tm_folder_list(wr_env_real(), path, &count));
    assert_in_range(count, 50, 101); /* the others went */
}

/* The machine's owner says how much one job may take; a job may say less, never more. */
static void the_smaller_bound_of_memory_holds(void **state)
{
    static const uint64_t said[] = {0, 500, 1000, 5000}, holds[] = {1000, 500, 1000, 1000};
    world                *w = *state;
    join(w);
    for (uint32_t i = 0; i < 4; i++) {
        w->memory_max = said[i];
        run_one(w, 11 + i, 1);
        assert_int_equal(w->processes.process[i].memory_max, holds[i]);
    }
}

static void garbage_is_counted(void **state)
{
    world *w = *state;
    join(w);
    run_one(w, 11, 1);
    for (int i = 0; i < 2; i++) {
        fake_peers    *f = i == 0 ? &w->jm : &w->workers;
        wr_peer_event *e = &f->event[f->events++];
        *e = (wr_peer_event){
            .kind = WR_PEER_MESSAGE, .peer = i == 0 ? w->jm.last : 101, .bytes = strdup("garbage"), .n = 7};
    }
    step(w);
    size_t n;
    char  *text = wr_supervisor_metrics(w->s, &n);
    assert_non_null(strstr(text, "weir_taskmanager_garbage_messages_total 2\n"));
    assert_non_null(strstr(text, "weir_taskmanager_workers 1\n"));
    assert_int_equal(strlen(text), n);
    free(text);
}

/* Whatever a JobManager gave it for a graph: what needs no name of it is served, and the rest is left out. */
static void metrics_of_a_graph_that_cannot_be_read(void **state)
{
    world            *w = *state;
    wr_stats_task     task = {.subtask = 0, .busy_ns = 1000};
    wr_stats_operator op = {.node = 0, .in = 7, .watermark = 0};
    wr_stats_metric   own = {.node = 0, .name = "mine", .kind = 1, .value = 1};
    wr_message        m = {.kind = WR_MSG_STATS, .job = 11, .attempt = 1};
    join(w);
    run_one(w, 11, 1);
    m.stats = (wr_stats){.task = &task,
                         .tasks = 1,
                         .op = &op,
                         .ops = 1,
                         .metric = &own,
                         .metrics = 1,
                         .rss_bytes = 4096,
                         .sent_bytes = 9};
    worker_says(w, w->processes.process[0].number, &m);
    for (int i = 0; i < 2; i++) {
        size_t n;
        char  *text = wr_supervisor_metrics(w->s, &n);
        assert_non_null(strstr(text,
                               "\nweir_worker_resident_memory_bytes{job=\"job\",id=\"000000000000000b\",tm=\"here:1\"} "
                               "4096\n"));
        assert_null(strstr(text, "\nweir_records_in_total{"));
        assert_null(strstr(text, "\nweir_task_time_seconds_total{"));
        assert_non_null(strstr(text, "\nweir_hidden_user_metrics 1\n"));
        free(text);
    }
}

int main(void)
{
#define TEST(NAME) cmocka_unit_test_setup_teardown(NAME, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(registers),
        TEST(dials_again_with_pauses),
        TEST(silence_is_an_end),
        TEST(lower_leaders_are_not_heard),
        TEST(two_do_not_share_a_folder),
        TEST(a_worker_gets_its_files_and_its_deployment),
        TEST(a_damaged_file_is_not_believed),
        TEST(files_that_are_there_are_looked_at),
        TEST(a_file_that_is_not_there_fails_the_worker),
        TEST(old_and_repeated_deployments_have_no_effect),
        TEST(a_process_that_cannot_be_started_is_told),
        TEST(messages_pass),
        TEST(a_worker_does_not_speak_of_later_leaders),
        TEST(reports_while_it_registers_are_not_lost),
        TEST(leases_are_renewed_by_round_trips_only),
        TEST(a_registration_counts_from_when_it_was_sent),
        TEST(answers_to_forgotten_heartbeats_renew_nothing),
        TEST(connections_wait_for_their_worker),
        TEST(an_end_that_was_ordered_is_clean),
        TEST(one_that_does_not_end_is_killed),
        TEST(a_kill_is_clean_and_can_be_repeated),
        TEST(a_crash_is_told_with_its_cause),
        TEST(the_last_word_of_a_worker_counts),
        TEST(a_late_last_word_counts),
        TEST(what_happens_without_a_connection_is_told_later),
        TEST(a_silent_worker_is_killed),
        TEST(a_worker_that_builds_is_given_more_time),
        TEST(logs),
        TEST(logs_of_running_jobs_stay),
        TEST(the_smaller_bound_of_memory_holds),
        TEST(garbage_is_counted),
        TEST(metrics_of_a_graph_that_cannot_be_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
