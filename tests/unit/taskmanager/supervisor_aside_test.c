/* A TaskManager whose disk does not answer: what needs no disk goes on as ever, what needs it waits, and is given up
 * when that takes too long. */
#include "tests/unit/taskmanager/supervisor_kit.h"
#include <sched.h>
#include <stdatomic.h>

enum { PATIENCE_MS = 20000, ROUND_MS = 1000 };

static _Atomic bool hangs, in_vain; /* in_vain: nothing went on meanwhile */
static _Atomic bool waits;          /* somebody waits for it */
static _Atomic bool reads_hang;
static world       *now;     /* whose disk hangs */
static bool (*enough)(void); /* what must happen before the disk answers */
static void (*comes)(void);  /* what comes when it hangs; NULL: nothing more */
static uint32_t answered;    /* heartbeats */
static uint64_t sent_late;   /* a job that is deployed when the disk has hung for long; 0: none */

static void wait_for_the_disk(void)
{
    int64_t until = wr_env_real()->mono_ns(NULL) + PATIENCE_MS * INT64_C(1000000);
    while (atomic_load(&hangs)) {
        atomic_store(&waits, true);
        if (wr_env_real()->mono_ns(NULL) > until) {
            atomic_store(&in_vain, true);
            atomic_store(&hangs, false);
        }
        sched_yield();
    }
}

static int64_t slow_read(void *self, int file, void *to, size_t bytes)
{
    if (atomic_load(&reads_hang)) wait_for_the_disk();
    return wr_env_real()->read(self, file, to, bytes);
}

static int64_t start_slowly(void *arg)
{
    (void)arg;
    wait_for_the_disk();
    return 0;
}

static wr_err slow_start(void *self, const wr_process_spec *spec, uint64_t *process, uint64_t *peer, wr_errinfo *info)
{
    wr_aside_run(spec->aside, start_slowly, NULL);
    return fake_start(self, spec, process, peer, info);
}

static void deploy_event(uint64_t job)
{
    static wr_place place = {.tm = 1, .data = "127.0.0.1:1"};
    wr_message      m = {.kind = WR_MSG_DEPLOY, .job = job, .attempt = 1, .leader = now->leader};
    m.deploy.spec = (wr_job_spec){.name = "job",
                                  .module = {.name = "job.so", .bytes = sizeof now->blob},
                                  .graph = "g",
                                  .graph_bytes = 1,
                                  .snapshots = "",
                                  .restore = ""};
    memcpy(m.deploy.spec.module.digest, now->digest, sizeof now->digest);
    m.deploy.place = &place;
    m.deploy.places = 1;
    m.deploy.self = place.tm;
    m.deploy.lineage = m.deploy.restore_manifest = m.deploy.restore_folder = "";
    fake_tell(&now->jm, now->jm.last, WR_PEER_MESSAGE, &m);
}

/* The first worker is alive. */
static void worker_speaks(void)
{
    static wr_task_report r = {.subtask = 2, .state = 4};
    const wr_message      m = {.kind = WR_MSG_REPORT, .job = 11, .attempt = 1, .report = {.task = &r, .tasks = 1}};
    fake_tell(&now->workers, 101, WR_PEER_MESSAGE, &m);
}

/* While the disk hangs, this is the rest of the world: time passes, JobManager and worker speak. */
static bool next_while_it_hangs(void *self, wr_peer_event *e)
{
    fake_peers *f = self;
    if (atomic_load(&waits) && atomic_load(&hangs)) {
        const wr_message *beat = fake_said(f, WR_MSG_HEARTBEAT);
        fake_now_ns += ROUND_MS * (int64_t)MS;
        if (beat != NULL && beat->seq != answered) {
            answered = (uint32_t)beat->seq;
            wr_message m = {.kind = WR_MSG_HEARD, .seq = beat->seq, .leader = now->leader};
            fake_tell(f, f->last, WR_PEER_MESSAGE, &m);
        }
        if (sent_late != 0 && wr_supervisor_stuck_ms(now->s) > 40000) {
            deploy_event(sent_late);
            sent_late = 0;
        }
        worker_speaks();
        if (comes != NULL) comes();
        comes = NULL;
        if (enough()) atomic_store(&hangs, false);
    }
    return fake_next(self, e);
}

static int begin_slow(void **state)
{
    helper_reads = slow_read;
    atomic_store(&reads_hang, true);
    int result = begin(state);
    now = *state;
    now->jm.table.next = next_while_it_hangs;
    answered = 0;
    sent_late = 0;
    atomic_store(&hangs, false);
    atomic_store(&waits, false);
    atomic_store(&in_vain, false);
    return result;
}

static void hang(void (*then)(void), bool (*until)(void))
{
    comes = then;
    enough = until;
    atomic_store(&waits, false);
    atomic_store(&hangs, true);
}

static void went_on(void)
{
    assert_true(atomic_load(&waits));
    assert_false(atomic_load(&in_vain));
}

static uint32_t gones(uint64_t job, bool clean)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < now->jm.saids; i++) {
        const wr_message *m = now->jm.said[i];
        n += m->kind == WR_MSG_GONE && m->job == job && m->gone.clean == clean;
    }
    return n;
}

/* ---- what goes on ---- */

static bool leases_and_words(void)
{
    return answered >= 10 && fake_said(&now->workers, WR_MSG_ORDER) != NULL &&
           fake_said(&now->jm, WR_MSG_REPORT) != NULL;
}

static void an_order_comes(void)
{
    wr_message pause = {.kind = WR_MSG_ORDER, .job = 11, .attempt = 1, .leader = now->leader};
    pause.order.verb = WR_DO_PAUSE_SOURCES;
    fake_tell(&now->jm, now->jm.last, WR_PEER_MESSAGE, &pause);
}

static void what_runs_goes_on(void **state)
{
    world *w = *state;
    join(w);
    run_one(w, 11, 1);
    hang(an_order_comes, leases_and_words);
    int64_t since = fake_now_ns;
    deploy_event(12); /* whose file is here, and must be copied */
    step(w);
    went_on();
    assert_int_equal(w->jm.closes, 0);
    assert_int_equal(w->processes.count, 2); /* and then the other one */
    assert_int_equal(fake_count(&w->jm, WR_MSG_GONE), 0);
    int64_t until = 0;
    for (uint32_t i = 0; i < w->workers.saids; i++)
        if (w->workers.said_to[i] == 101 && w->workers.said[i]->kind == WR_MSG_LEASE)
            until = w->workers.said[i]->until_mono_ns;
    assert_true(until > since + 12000 * (int64_t)MS);
}

static bool one_is_gone(void)
{
    return gones(11, false) == 1;
}

static void it_crashes(void)
{
    fake_end(&now->processes, 1, 11, 0, WR_CRASH, "as planned");
}

/* The JobManager hears of a crash at once; what the worker leaves is put away when the disk answers. */
static void a_worker_ends_meanwhile(void **state)
{
    world *w = *state;
    char   folder[WR_PATH_BYTES_MAX];
    join(w);
    run_one(w, 11, 1);
    snprintf(folder, sizeof folder, "%s", w->processes.process[0].folder);
    hang(it_crashes, one_is_gone);
    deploy_event(12);
    step(w);
    went_on();
    assert_int_equal(gones(11, false), 1);
    assert_int_not_equal(access(folder, F_OK), 0);
    assert_int_equal(w->processes.count, 2);
}

/* ---- what does not ---- */

static bool all_are_gone(void)
{
    return gones(12, false) == 1 && gones(13, false) == 1 && gones(14, false) == 1;
}

static void another_comes(void)
{
    deploy_event(13);
}

/* One whose file is being copied, one that comes meanwhile, one that comes when it is known that the disk hangs. */
static void who_waits_too_long_is_given_up(void **state)
{
    world *w = *state;
    join(w);
    run_one(w, 11, 1);
    hang(another_comes, all_are_gone);
    sent_late = 14;
    int64_t since = fake_now_ns;
    deploy_event(12);
    step(w);
    went_on();
    assert_true(fake_now_ns - since > 30000 * (int64_t)MS);
    for (uint64_t job = 12; job <= 14; job++) {
        const wr_message *m = NULL;
        for (uint32_t i = 0; i < w->jm.saids; i++)
            if (w->jm.said[i]->kind == WR_MSG_GONE && w->jm.said[i]->job == job) m = w->jm.said[i];
        assert_non_null(m);
        assert_int_equal(m->gone.info.code, WR_TIMEOUT);
        assert_non_null(strstr(m->gone.info.text, w->folder));
        assert_non_null(strstr(m->gone.info.text, "here:1"));
    }
    assert_int_equal(gones(11, false) + gones(11, true), 0);
    assert_false(w->processes.process[0].killed);
    assert_int_equal(w->processes.count, 1);
    wr_message kill = {.kind = WR_MSG_KILL, .job = 12, .attempt = 1};
    tell(w, &kill);
    assert_int_equal(gones(12, true), 1); /* it is known no more */
    deploy(w, 15, 1);                     /* the disk answers again */
    assert_int_equal(w->processes.count, 2);
}

static bool it_is_killed(void)
{
    return gones(12, true) == 1;
}

static void the_kill_comes(void)
{
    const wr_message kill = {.kind = WR_MSG_KILL, .job = 12, .attempt = 1, .leader = now->leader};
    fake_tell(&now->jm, now->jm.last, WR_PEER_MESSAGE, &kill);
}

/* What was ended while it began must not stay. */
static void one_is_killed_while_it_starts(void **state)
{
    world *w = *state;
    join(w);
    run_one(w, 11, 1);
    atomic_store(&reads_hang, false);
    w->processes.table.start = slow_start;
    hang(the_kill_comes, it_is_killed);
    deploy_event(12);
    step(w);
    went_on();
    assert_int_equal(w->processes.count, 2);
    assert_true(w->processes.process[1].killed);
    assert_false(w->processes.process[0].killed);
    assert_int_equal(gones(12, true), 1);
    assert_int_equal(gones(12, false), 0);
}

#define TEST(NAME) cmocka_unit_test_setup_teardown(NAME, begin_slow, end)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_runs_goes_on),
        TEST(a_worker_ends_meanwhile),
        TEST(who_waits_too_long_is_given_up),
        TEST(one_is_killed_while_it_starts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
