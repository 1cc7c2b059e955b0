/* A JobManager whose disk does not answer: leases are renewed all the same, and what came meanwhile is done after it,
 * in its order. */
#include "jobmanager/savepoint.h"
#include "tests/unit/jobmanager/jobmanager_kit.h"
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>

enum { PATIENCE_MS = 20000 };

static _Atomic uint32_t answered_beats;
static uint32_t         wanted_beats; /* frozen while a call waits for them */
static _Atomic bool     stuck, in_vain;
static _Atomic uint32_t waits; /* calls that did */

/* A call of storage that takes until all heartbeats that came were answered: on the JobManager's own thread it would do
 * so in vain. */
static void wait_for_beats(void)
{
    if (!atomic_exchange(&stuck, false)) return;
    int64_t until = wr_env_real()->mono_ns(NULL) + PATIENCE_MS * INT64_C(1000000);
    atomic_fetch_add(&waits, 1);
    while (atomic_load(&answered_beats) < wanted_beats) {
        if (wr_env_real()->mono_ns(NULL) > until) {
            atomic_store(&in_vain, true);
            return;
        }
        sched_yield();
    }
}

static int slow_fsync(void *self, int file)
{
    wait_for_beats();
    return wr_env_real()->fsync(self, file);
}

static int64_t slow_pread(void *self, int file, void *to, size_t bytes, int64_t offset)
{
    wait_for_beats();
    return wr_env_real()->pread(self, file, to, bytes, offset);
}

static _Atomic bool savepoint_hangs, savepoint_waits;

/* On the savepoint's own thread. */
static int slow_open(void *self, const char *path, int flags)
{
    if (strstr(path, "savepoint.wman") != NULL && (flags & WR_OPEN_CREATE) != 0) {
        int64_t until = wr_env_real()->mono_ns(NULL) + PATIENCE_MS * INT64_C(1000000);
        atomic_store(&savepoint_waits, true);
        while (atomic_load(&savepoint_hangs) && wr_env_real()->mono_ns(NULL) < until) sched_yield();
        atomic_store(&savepoint_hangs, false);
    }
    return wr_env_real()->open(self, path, flags);
}

/* Whoever waits for a savepoint that was given up does so in vain, and not for long. */
static void slow_park(void *self, wr_parker *p, int64_t timeout_ns)
{
    bool leaves = timeout_ns == WR_SAVING_LEAVE_MS * INT64_C(1000000);
    wr_env_real()->park(self, p, leaves ? 0 : timeout_ns);
    if (leaves) now_ns += timeout_ns;
}

static void send_counting(void *self, uint64_t peer, char *bytes, size_t n)
{
    take_out(self, peer, bytes, n);
    if (outbox[outs - 1].m.kind == WR_MSG_HEARD) atomic_fetch_add(&answered_beats, 1);
}

static void open_with_threads(void)
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
                                         .threads = true,
                                         .seed = 7};
    leader = 0;
    if (wr_jobmanager_new(&jm, &config, &leader, &info) != WR_OK) fail_msg("%s", info.text);
}

static int begin_slow(void **state)
{
    int result = begin(state);
    close_jm();
    peers.send = send_counting;
    env.fsync = slow_fsync;
    env.pread = slow_pread;
    env.open = slow_open;
    env.park = slow_park;
    atomic_store(&answered_beats, 0);
    atomic_store(&waits, 0);
    atomic_store(&in_vain, false);
    open_with_threads();
    return result;
}

/* It lies there when the next step begins. */
static void put(uint64_t peer, const wr_message *m)
{
    wr_peer_event e = {
        .kind = WR_PEER_MESSAGE, .peer = peer, .role = peer < CLIENT ? WR_ROLE_TASKMANAGER : WR_ROLE_CLIENT};
    assert_int_equal(wr_message_encode(m, &e.bytes, &e.n, NULL), WR_OK);
    inbox[in_count++] = e;
}

static void put_beat(uint64_t tm, uint64_t seq)
{
    put(tm, &(wr_message){.kind = WR_MSG_HEARTBEAT, .seq = seq});
}

/* From now on one call of storage lasts until `n` more heartbeats were answered. */
static void disk_hangs_for(uint32_t n)
{
    wanted_beats = atomic_load(&answered_beats) + n;
    atomic_store(&stuck, true);
}

static void disk_went_on(void)
{
    assert_int_equal(atomic_load(&waits), 1);
    assert_false(atomic_load(&in_vain));
    atomic_store(&waits, 0);
}

/* All is stepped until nothing more happens. */
static void settle_down(void)
{
    for (uint32_t i = 0; i < 10000 && (wr_jobmanager_wait_ns(jm) == 0 || i == 0); i++) step();
}

/* Behind a ledger that is being written lie heartbeats, and a word that must not overtake anything. */
static void test_the_ledger(void **state)
{
    (void)state;
    join(1, 2);
    join(2, 2);
    wr_message m = submit_message("numbers", 2), list = {.kind = WR_MSG_REQUEST, .request = 9};
    list.ask = (wr_request){.verb = "list", .job = "", .path = ""};
    put(CLIENT, &m);
    put(CLIENT, &list);
    put_beat(1, 41);
    put_beat(2, 42);
    put_beat(3, 43); /* of nobody: not answered */
    disk_hangs_for(2);
    settle_down();
    disk_went_on();
    assert_int_equal(last(WR_MSG_HEARD, 1)->seq, 41);
    assert_int_equal(last(WR_MSG_HEARD, 2)->seq, 42);
    assert_null(last(WR_MSG_HEARD, 3));
    expect_text("numbers"); /* the submit was before it */
}

/* n requests lie behind a submit whose ledger is being written, heartbeats between them: answered in their order. */
static void expect_order(const char *job, uint32_t n)
{
    wr_message m = submit_message(job, 2);
    uint32_t   answered = 0;
    m.request = n; /* else it would be the one before, asked for once more */
    forget_sent();
    put(CLIENT, &m);
    for (uint32_t i = 1; i <= n; i++) {
        wr_message list = {.kind = WR_MSG_REQUEST, .request = 1000 + i};
        list.ask = (wr_request){.verb = "list", .job = "", .path = ""};
        put(CLIENT, &list);
        if (i == n / 2) put_beat(1, i);
    }
    put_beat(2, n);
    disk_hangs_for(2);
    settle_down();
    disk_went_on();
    for (uint32_t i = 0; i < outs; i++) {
        if (outbox[i].m.kind != WR_MSG_REPLY || outbox[i].m.request < 1000) continue;
        assert_int_equal(outbox[i].m.request, 1000 + ++answered);
    }
    assert_int_equal(answered, n);
}

/* The second time there are too many for the memory of the first, which has been gone through to its middle. */
static void test_the_order_of_what_came_meanwhile(void **state)
{
    (void)state;
    join(1, 2);
    join(2, 2);
    expect_order("first", 10);
    expect_order("second", 40);
}

static uint64_t run_one(void)
{
    join(1, 2);
    join(2, 2);
    uint64_t job = submit("numbers", 2);
    settle_down();
    run_all(job, 1, subtasks[1]);
    return job;
}

/* A TaskManager that spoke while the disk hung is not silent, however long that was. */
static void test_nobody_is_lost_by_a_slow_manifest(void **state)
{
    (void)state;
    uint64_t job = run_one();
    forget_sent();
    request("snapshot", job, false);
    settle_down();
    const wr_message *trigger = order_of(WR_DO_TRIGGER);
    assert_non_null(trigger);
    uint64_t id = trigger->order.barrier.id;
    now_ns += INT64_C(4900) * 1000000; /* just before they were silent for too long */
    for (uint32_t i = 0; i < subtasks[1]; i++) {
        for (uint64_t tm = 1; tm <= 2; tm++) {
            wr_ack     ack = {.id = id, .subtask = i, .attempt = 1};
            wr_message m = {.kind = WR_MSG_ACK, .job = job, .attempt = 1, .ack = &ack};
            put(tm, &m);
        }
    }
    put_beat(1, 1);
    put_beat(2, 1);
    disk_hangs_for(2);
    settle_down();
    while (last(WR_MSG_REPLY, CLIENT) == NULL && !atomic_load(&in_vain)) {
        sched_yield(); /* its thread */
        step();
    }
    now_ns += INT64_C(200) * 1000000;
    settle_down();
    disk_went_on();
    assert_int_equal(closes, 0);
    assert_int_equal(last(WR_MSG_REPLY, CLIENT)->reply.snapshot, id);
    assert_int_equal(orders(WR_DO_COMPLETE), 2);
    assert_int_equal(orders(WR_DO_CANCEL), 0);
}

/* It has no limit of time: who asks why nothing is committed hears of it. */
static void test_a_savepoint_whose_folder_hangs(void **state)
{
    (void)state;
    uint64_t job = run_one();
    char     id[17], path[128], text[256];
    snprintf(id, sizeof id, "%016llx", (unsigned long long)job);
    snprintf(path, sizeof path, "%s/saved", folder);
    wr_message m = {.kind = WR_MSG_REQUEST, .request = 8};
    m.ask = (wr_request){.verb = "savepoint", .job = id, .path = path};
    atomic_store(&savepoint_hangs, true);
    atomic_store(&savepoint_waits, false);
    say(CLIENT, &m);
    settle_down();
    uint64_t snapshot = ack_all(job, 1, subtasks[1]);
    while (!atomic_load(&savepoint_waits)) sched_yield();
    for (uint64_t i = 1; i <= 15; i++) { /* longer than from one snapshot to the next */
        beat(1, i);
        beat(2, i);
        pass_ms(1000);
    }
    forget_sent();
    request("why", job, false);
    snprintf(text, sizeof text,
             "a savepoint is being written since 15s, and snapshots wait for it, so results are not "
             "committed: see that this folder answers: %s\n",
             path);
    atomic_store(&savepoint_hangs, false); /* ahead of what may fail: its thread is waited for */
    expect_text(text);
    while (last(WR_MSG_REPLY, CLIENT)->reply.snapshot != snapshot) {
        sched_yield();
        step();
    }
    request("why", job, false);
    expect_text("not measured enough");
}

/* The job ends all the same, and the JobManager goes on with all it has to do. */
static void test_a_cancel_while_the_folder_of_a_savepoint_hangs(void **state)
{
    (void)state;
    uint64_t job = run_one();
    char     id[17], path[128];
    snprintf(id, sizeof id, "%016llx", (unsigned long long)job);
    snprintf(path, sizeof path, "%s/saved", folder);
    wr_message m = {.kind = WR_MSG_REQUEST, .request = 8};
    m.ask = (wr_request){.verb = "savepoint", .job = id, .path = path};
    atomic_store(&savepoint_hangs, true);
    atomic_store(&savepoint_waits, false);
    say(CLIENT, &m);
    settle_down();
    ack_all(job, 1, subtasks[1]);
    while (!atomic_load(&savepoint_waits)) sched_yield();
    request("cancel", job, false);
    report_all(job, 1, subtasks[1], WR_TASK_CANCELED);
    gone(1, job, 1, true);
    gone(2, job, 1, true);
    settle_down();
    request("list", 0, false);
    bool still = atomic_load(&savepoint_hangs);
    atomic_store(&savepoint_hangs, false); /* ahead of what may fail */
    assert_true(still);
    expect_text("CANCELED");
    bool refused = false;
    for (uint32_t i = 0; i < outs; i++)
        refused |= outbox[i].m.kind == WR_MSG_REPLY && outbox[i].m.request == 8 &&
                   outbox[i].m.reply.info.code == WR_CANCELED &&
                   strstr(outbox[i].m.reply.info.text, "does not answer") != NULL;
    assert_true(refused);
    while (wr_savepoint_may_write(wr_env_real(), path, NULL) == WR_BUSY) sched_yield();
}

/* What was cut off while the disk hung is lost after it, not before, and not twice. */
static void test_a_connection_that_ends_meanwhile(void **state)
{
    (void)state;
    uint64_t job = run_one();
    forget_sent();
    wr_message m = submit_message("numbers", 1);
    put(CLIENT, &m);
    put_beat(1, 7);
    put_beat(2, 8);
    inbox[in_count++] = (wr_peer_event){.kind = WR_PEER_CLOSED, .peer = 2};
    disk_hangs_for(2);
    settle_down();
    disk_went_on();
    assert_int_equal(orders(WR_DO_CANCEL), 1); /* to the one that is left */
    request("info", job, false);
    expect_text("TaskManager host:1 is lost");
}

/* Whoever is closed by us is not heard any more, though its words came before that. */
static void test_words_of_who_was_closed(void **state)
{
    (void)state;
    join(1, 2);
    wr_message    m = submit_message("numbers", 1);
    wr_message    late = {.kind = WR_MSG_REGISTER,
                          .reg = {.tm = 9, .name = "h", .data = "h:1", .http = "", .slots = 2, .pid = 1}};
    wr_peer_event garbage = {
        .kind = WR_PEER_MESSAGE, .role = WR_ROLE_TASKMANAGER, .peer = 9, .bytes = strdup("no"), .n = 2};
    put(CLIENT, &m);
    put_beat(1, 1);
    inbox[in_count++] = garbage;
    put(9, &late);
    disk_hangs_for(1);
    settle_down();
    disk_went_on();
    assert_true(closes == 1 && closed[0] == 9);
    assert_null(last(WR_MSG_REGISTERED, 9));
}

/* It obeys a JobManager that leads after this one, and none of its workers may live on our word. */
static void test_a_heartbeat_of_a_later_leader(void **state)
{
    (void)state;
    wr_errinfo info = {0};
    join(1, 2);
    join(2, 2);
    wr_message m = submit_message("numbers", 1);
    put(CLIENT, &m);
    put(2, &(wr_message){.kind = WR_MSG_HEARTBEAT, .seq = 7, .leader = leader + 1});
    put_beat(1, 8);
    disk_hangs_for(1);
    step();
    disk_went_on();
    assert_null(last(WR_MSG_HEARD, 2));
    assert_int_equal(last(WR_MSG_HEARD, 1)->seq, 8);
    assert_true(wr_jobmanager_over(jm, &info));
}

/* It ends, and has forgotten all TaskManagers: it says nothing any more, however long its files take. */
static void test_the_end(void **state)
{
    (void)state;
    join(1, 2);
    forget_sent();
    put_beat(1, 1);
    now_ns += INT64_C(1000000000);
    wr_jobmanager_free(jm);
    jm = NULL;
    assert_int_equal(outs, 0);
    in_first = in_count = 0;
}

#define TEST(NAME) cmocka_unit_test_setup_teardown(NAME, begin_slow, finish)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_ledger),
        TEST(test_the_order_of_what_came_meanwhile),
        TEST(test_nobody_is_lost_by_a_slow_manifest),
        TEST(test_a_savepoint_whose_folder_hangs),
        TEST(test_a_cancel_while_the_folder_of_a_savepoint_hangs),
        TEST(test_a_connection_that_ends_meanwhile),
        TEST(test_words_of_who_was_closed),
        TEST(test_a_heartbeat_of_a_later_leader),
        TEST(test_the_end),
    };
    int result = cmocka_run_group_tests(tests, NULL, NULL);
    free_graphs();
    return result;
}
