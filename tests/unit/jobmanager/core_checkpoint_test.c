/* Snapshots of one job: each rule by hand, then random events against what must hold. */
#include "base/prng.h"
#include "jobmanager/core_checkpoint.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SUBTASKS = 4, ACTIONS = WR_CHECKPOINT_ACTIONS_MAX, TIMEOUT = 500, INTERVAL = 100, PAUSE = 20, BACKOFF = 40 };

typedef struct bench {
    wr_core_checkpoint   m;
    wr_snapshot_figures  figures[WR_SNAPSHOT_HISTORY * SUBTASKS];
    bool                 ended[SUBTASKS];
    wr_checkpoint_action action[ACTIONS];
    uint32_t             actions;
    int64_t              now_ms;
} bench;

static const wr_checkpoint_config PLAIN = {.subtasks = SUBTASKS,
                                           .epoch = 7,
                                           .interval_ms = INTERVAL,
                                           .timeout_ms = TIMEOUT,
                                           .pause_ms = PAUSE,
                                           .backoff_ms = BACKOFF,
                                           .backoff_most_ms = 10 * BACKOFF,
                                           .keep = 2,
                                           .ids = WR_SNAPSHOT_ID_BLOCK};

static void begin_with(bench *b, const wr_checkpoint_config *config)
{
    memset(b, 0, sizeof *b);
    b->now_ms = 1000;
    memset(b->figures, 0xee, sizeof b->figures); /* the machine clears what it shows */
    wr_core_checkpoint_init(&b->m, config, b->figures, b->ended, b->now_ms);
}

static void step(bench *b, wr_checkpoint_event event)
{
    event.now_ms = b->now_ms;
    event.wall_ms = b->now_ms + 1000000;
    b->actions = wr_core_checkpoint_step(&b->m, &event, b->action, ACTIONS);
}

static void tick(bench *b, int64_t ms)
{
    b->now_ms += ms;
    step(b, (wr_checkpoint_event){.kind = WR_CHECKPOINT_TICK});
}

static const wr_checkpoint_action *find(const bench *b, wr_checkpoint_action_kind kind)
{
    for (uint32_t i = 0; i < b->actions; i++)
        if (b->action[i].kind == kind) return &b->action[i];
    return NULL;
}

/* The barrier that the last step sent; answers what it asked for on the way. */
static wr_barrier triggered(bench *b)
{
    if (find(b, WR_CHECKPOINT_DO_IDS) != NULL) step(b, (wr_checkpoint_event){.kind = WR_CHECKPOINT_IDS_DONE});
    const wr_checkpoint_action *a = find(b, WR_CHECKPOINT_DO_TRIGGER);
    assert_non_null(a);
    assert_int_equal(a->id, a->barrier.id);
    assert_int_equal(a->barrier.epoch, 7);
    return a->barrier;
}

static void begin(bench *b)
{
    begin_with(b, &PLAIN);
    step(b, (wr_checkpoint_event){.kind = WR_CHECKPOINT_START});
    assert_int_equal(b->actions, 0);
}

static void ack(bench *b, uint64_t id, uint32_t subtask, bool ended)
{
    wr_ack a = {.id = id, .subtask = subtask, .attempt = 1, .ended = ended, .bytes_full = 100, .align_ns = subtask};
    a.file.bytes = 10;
    a.file.increment = true;
    step(b, (wr_checkpoint_event){.kind = WR_CHECKPOINT_ACK, .ack = &a});
}

static void decline(bench *b, uint64_t id, uint32_t subtask, uint32_t phase)
{
    wr_ack a = {.id = id, .subtask = subtask, .attempt = 1, .declined = true, .phase = phase};
    wr_fail(&a.info, WR_IO, "disk full");
    step(b, (wr_checkpoint_event){.kind = WR_CHECKPOINT_ACK, .ack = &a});
}

static void written(bench *b, uint64_t id)
{
    step(b, (wr_checkpoint_event){.kind = WR_CHECKPOINT_MANIFEST_DONE, .id = id});
}

static void ack_all(bench *b, uint64_t id, bool ended)
{
    for (uint32_t i = 0; i < SUBTASKS; i++) {
        assert_null(find(b, WR_CHECKPOINT_DO_MANIFEST));
        ack(b, id, i, ended);
    }
    assert_non_null(find(b, WR_CHECKPOINT_DO_MANIFEST));
}

static void complete(bench *b, uint64_t id)
{
    ack_all(b, id, false);
    written(b, id);
}

static void test_periodic(void **state)
{
    (void)state;
    bench b;
    begin(&b);
    assert_int_equal(wr_core_checkpoint_due(&b.m), b.now_ms + INTERVAL);
    tick(&b, INTERVAL - 1);
    assert_int_equal(b.actions, 0);
    tick(&b, 1);
    wr_barrier first = triggered(&b);
    assert_int_equal(first.id, WR_SNAPSHOT_ID_BLOCK + 1); /* those up to there may have been used */
    assert_int_equal(first.base, 0);
    assert_int_equal(first.kind, WR_SNAPSHOT);
    ack_all(&b, first.id, false);
    assert_int_equal(b.actions, 1); /* not complete: the manifest is not durable */
    assert_int_equal(wr_core_checkpoint_newest(&b.m), 0);
    assert_int_equal(wr_core_checkpoint_due(&b.m), INT64_MAX);
    written(&b, first.id);
    assert_int_equal(b.action[0].kind, WR_CHECKPOINT_DO_COMPLETE);
    assert_int_equal(b.action[0].id, first.id);
    assert_int_equal(b.action[1].kind, WR_CHECKPOINT_DO_SWEEP);
    assert_int_equal(b.actions, 2);
    assert_int_equal(wr_core_checkpoint_newest(&b.m), first.id);
    tick(&b, INTERVAL);
    wr_barrier second = triggered(&b);
    assert_int_equal(second.id, first.id + 1);
    assert_int_equal(second.base, first.id);
}

static void test_ids_are_durable_first(void **state)
{
    (void)state;
    bench b;
    begin(&b);
    tick(&b, INTERVAL);
    const wr_checkpoint_action *a = find(&b, WR_CHECKPOINT_DO_IDS);
    assert_int_equal(b.actions, 1);
    assert_int_equal(a->id, 2 * WR_SNAPSHOT_ID_BLOCK);
    tick(&b, 10 * INTERVAL); /* nothing begins meanwhile */
    assert_int_equal(b.actions, 0);
    wr_errinfo why = {WR_IO, "journal broken"};
    step(&b, (wr_checkpoint_event){.kind = WR_CHECKPOINT_IDS_DONE, .info = &why});
    assert_int_equal(b.actions, 0);
    assert_int_equal(b.m.failures, 1);
    const wr_snapshot_record *r = wr_core_checkpoint_record(&b.m, 0);
    assert_int_equal(r->outcome, WR_SNAPSHOT_FAILED);
    assert_int_equal(r->id, 0);
    assert_string_equal(r->why.text, "journal broken");
    tick(&b, BACKOFF);
    assert_non_null(find(&b, WR_CHECKPOINT_DO_IDS));
    assert_int_equal(triggered(&b).id, WR_SNAPSHOT_ID_BLOCK + 1);
}

static void test_pause_and_one_at_a_time(void **state)
{
    (void)state;
    bench b;
    begin(&b);
    tick(&b, INTERVAL);
    wr_barrier first = triggered(&b);
    tick(&b, 3 * INTERVAL); /* slower than the interval */
    assert_int_equal(b.actions, 0);
    complete(&b, first.id);
    assert_null(find(&b, WR_CHECKPOINT_DO_TRIGGER));
    assert_int_equal(wr_core_checkpoint_due(&b.m), b.now_ms + PAUSE);
    tick(&b, PAUSE - 1);
    assert_int_equal(b.actions, 0);
    tick(&b, 1);
    triggered(&b);
}

static void test_stale_late_and_repeated_acks(void **state)
{
    (void)state;
    bench b;
    begin(&b);
    ack(&b, 1, 0, false); /* of nothing */
    assert_int_equal(b.m.stale, 1);
    tick(&b, INTERVAL);
    wr_barrier first = triggered(&b);
    ack(&b, first.id + 1, 0, false);
    ack(&b, first.id, SUBTASKS, false);
    assert_int_equal(b.m.stale, 3);
    for (uint32_t i = 0; i < 2 * SUBTASKS; i++) ack(&b, first.id, 1, false);
    assert_int_equal(b.m.repeated, 2 * SUBTASKS - 1);
    assert_int_equal(b.m.pending.acked, 1);
    tick(&b, TIMEOUT);
    assert_int_equal(find(&b, WR_CHECKPOINT_DO_ABORT)->id, first.id);
    for (uint32_t i = 0; i < SUBTASKS; i++) {
        ack(&b, first.id, i, false); /* too late */
        assert_null(find(&b, WR_CHECKPOINT_DO_MANIFEST));
    }
    const wr_snapshot_record *r = wr_core_checkpoint_record(&b.m, 0);
    assert_int_equal(r->outcome, WR_SNAPSHOT_FAILED);
    assert_int_equal(r->failed_subtask, 0); /* the first that was silent */
    assert_int_equal(r->why.code, WR_TIMEOUT);
    assert_int_equal(r->acked, 1);
}

/* The shell cannot even send it: nobody's fault among the subtasks, and the next one is tried. */
static void test_refused(void **state)
{
    (void)state;
    bench      b;
    wr_errinfo why = {0};
    begin(&b);
    wr_fail(&why, WR_BUSY, "the folder is another one");
    tick(&b, INTERVAL);
    wr_barrier n = triggered(&b);
    step(&b, (wr_checkpoint_event){.kind = WR_CHECKPOINT_REFUSED, .id = n.id + 1, .info = &why}); /* of none */
    assert_int_equal(b.actions, 0);
    step(&b, (wr_checkpoint_event){.kind = WR_CHECKPOINT_REFUSED, .id = n.id, .info = &why});
    assert_int_equal(find(&b, WR_CHECKPOINT_DO_ABORT)->id, n.id);
    const wr_snapshot_record *r = wr_core_checkpoint_find(&b.m, n.id);
    assert_int_equal(r->outcome, WR_SNAPSHOT_FAILED);
    assert_int_equal(r->failed_subtask, WR_SNAPSHOT_NOBODY);
    assert_int_equal(r->phase, WR_PHASE_START);
    assert_string_equal(r->why.text, "the folder is another one");
    assert_null(wr_core_checkpoint_find(&b.m, n.id + 1));
    ack(&b, n.id, 0, false); /* stale */
    assert_null(find(&b, WR_CHECKPOINT_DO_MANIFEST));
    tick(&b, 10 * INTERVAL);
    n = triggered(&b);
    complete(&b, n.id);
}

static void test_declined(void **state)
{
    (void)state;
    bench b;
    begin(&b);
    int64_t wait_ms = BACKOFF;
    for (uint32_t round = 1; round <= 8; round++) {
        tick(&b, 10 * INTERVAL);
        wr_barrier n = triggered(&b);
        ack(&b, n.id, 0, false);
        decline(&b, n.id, 2, WR_PHASE_ASYNC);
        assert_int_equal(find(&b, WR_CHECKPOINT_DO_ABORT)->id, n.id);
        assert_int_equal(b.m.failures, round);
        const wr_snapshot_record *r = wr_core_checkpoint_record(&b.m, 0);
        assert_int_equal(r->failed_subtask, 2);
        assert_int_equal(r->phase, WR_PHASE_ASYNC);
        assert_string_equal(r->why.text, "disk full");
        assert_int_equal(b.m.not_before_ms, b.now_ms + wait_ms);
        wait_ms = wait_ms * 2 > 10 * BACKOFF ? 10 * BACKOFF : wait_ms * 2;
        decline(&b, n.id, 2, WR_PHASE_ASYNC);
        assert_int_equal(b.m.failures, round); /* told twice, counted once */
    }
    tick(&b, 10 * INTERVAL);
    complete(&b, triggered(&b).id);
    assert_int_equal(b.m.failures, 0);
    assert_int_equal(b.m.failures_all, 8);
}

static void test_manifest_fails(void **state)
{
    (void)state;
    bench b;
    begin(&b);
    tick(&b, INTERVAL);
    wr_barrier n = triggered(&b);
    ack_all(&b, n.id, false);
    tick(&b, 10 * TIMEOUT); /* its end is not known: it is not aborted */
    assert_int_equal(b.actions, 0);
    wr_errinfo why = {WR_IO, "no space"};
    step(&b, (wr_checkpoint_event){.kind = WR_CHECKPOINT_MANIFEST_DONE, .id = n.id, .info = &why});
    assert_int_equal(find(&b, WR_CHECKPOINT_DO_ABORT)->id, n.id);
    assert_null(find(&b, WR_CHECKPOINT_DO_COMPLETE));
    assert_int_equal(wr_core_checkpoint_newest(&b.m), 0);
    assert_int_equal(wr_core_checkpoint_record(&b.m, 0)->phase, WR_PHASE_MANIFEST);
}

/* An increment to what is damaged would be as useless: the next one has no base, until one has completed. */
static void test_damaged_files(void **state)
{
    (void)state;
    const wr_errinfo why = {WR_DAMAGED, "a file is not there"};
    bench            b;
    begin(&b);
    tick(&b, INTERVAL);
    uint64_t first = triggered(&b).id;
    complete(&b, first);
    tick(&b, 10 * INTERVAL);
    wr_barrier n = triggered(&b);
    assert_int_equal(n.base, first);
    ack_all(&b, n.id, false);
    step(&b, (wr_checkpoint_event){.kind = WR_CHECKPOINT_MANIFEST_DONE, .id = n.id, .info = &why});
    assert_int_equal(wr_core_checkpoint_newest(&b.m), first);
    for (int i = 0; i < 2; i++) { /* a decline changes nothing */
        tick(&b, 10 * INTERVAL);
        n = triggered(&b);
        assert_int_equal(n.base, 0);
        if (i == 0) decline(&b, n.id, 0, WR_PHASE_SYNC);
    }
    complete(&b, n.id);
    tick(&b, 10 * INTERVAL);
    assert_int_equal(triggered(&b).base, n.id);
}

static void ask(bench *b, uint64_t ticket, uint32_t kind)
{
    step(b, (wr_checkpoint_event){.kind = WR_CHECKPOINT_REQUEST, .ticket = ticket, .barrier_kind = kind});
}

static void expect_answer(const bench *b, uint64_t ticket, wr_err code)
{
    for (uint32_t i = 0; i < b->actions; i++) {
        const wr_checkpoint_action *a = &b->action[i];
        if (a->kind != WR_CHECKPOINT_DO_ANSWER || a->ticket != ticket) continue;
        assert_int_equal(a->info != NULL ? a->info->code : WR_OK, code);
        return;
    }
    fail_msg("no answer to ticket %llu", (unsigned long long)ticket);
}

static void test_requests(void **state)
{
    (void)state;
    bench b;
    begin_with(&b, &PLAIN);
    ask(&b, 1, WR_SNAPSHOT); /* waits until all run */
    assert_int_equal(b.actions, 0);
    step(&b, (wr_checkpoint_event){.kind = WR_CHECKPOINT_START});
    wr_barrier first = triggered(&b);
    ask(&b, 2, WR_SAVEPOINT);
    ask(&b, 3, WR_SNAPSHOT); /* began after the first one: not served by it */
    ask(&b, 4, WR_SNAPSHOT);
    ask(&b, 5, WR_SAVEPOINT);
    assert_int_equal(b.actions, 0);
    complete(&b, first.id);
    expect_answer(&b, 1, WR_OK);
    wr_barrier savepoint = triggered(&b);
    assert_int_equal(savepoint.kind, WR_SAVEPOINT);
    assert_int_equal(savepoint.base, first.id);
    ack_all(&b, savepoint.id, false);
    assert_int_equal(b.action[0].ticket, 2); /* whose place it is written to */
    written(&b, savepoint.id);
    expect_answer(&b, 2, WR_OK);
    assert_null(find(&b, WR_CHECKPOINT_DO_COMPLETE)); /* commits nothing */
    assert_int_equal(wr_core_checkpoint_newest(&b.m), first.id);
    wr_barrier both = triggered(&b);
    assert_int_equal(both.base, first.id);
    complete(&b, both.id);
    expect_answer(&b, 3, WR_OK);
    expect_answer(&b, 4, WR_OK);
    wr_barrier last = triggered(&b);
    decline(&b, last.id, 3, WR_PHASE_SYNC);
    expect_answer(&b, 5, WR_IO);
    for (uint64_t i = 0; i < WR_SNAPSHOT_QUEUE_MAX + 2; i++) ask(&b, 100 + i, WR_SAVEPOINT);
    expect_answer(&b, 100 + WR_SNAPSHOT_QUEUE_MAX + 1, WR_LIMIT); /* one began, a queue full waits */
}

static void test_retention(void **state)
{
    (void)state;
    bench                       b;
    const wr_completed_snapshot known[] = {{3}, {5}, {9}};
    wr_checkpoint_config        config = PLAIN;
    config.known = known;
    config.knowns = 3;
    config.base = 9;
    begin_with(&b, &config);
    assert_int_equal(b.m.completeds, 2);
    assert_int_equal(b.m.completed[0].id, 5);
    step(&b, (wr_checkpoint_event){.kind = WR_CHECKPOINT_START});
    tick(&b, INTERVAL);
    wr_barrier n = triggered(&b);
    assert_int_equal(n.base, 9);
    complete(&b, n.id);
    assert_int_equal(b.m.completeds, 2);
    assert_int_equal(b.m.completed[0].id, 9);
    assert_int_equal(b.m.completed[1].id, n.id);
}

static void test_stop(void **state)
{
    (void)state;
    bench b;
    begin(&b);
    tick(&b, INTERVAL);
    wr_barrier n = triggered(&b);
    step(&b, (wr_checkpoint_event){.kind = WR_CHECKPOINT_STOP, .ticket = 8});
    assert_int_equal(b.actions, 1);
    assert_int_equal(b.action[0].kind, WR_CHECKPOINT_DO_PAUSE_SOURCES);
    ask(&b, 9, WR_SNAPSHOT);
    expect_answer(&b, 9, WR_UNREACHABLE);
    complete(&b, n.id); /* began before the pause: not the last */
    assert_null(find(&b, WR_CHECKPOINT_DO_FINISH));
    wr_barrier last = triggered(&b);
    decline(&b, last.id, 0, WR_PHASE_ASYNC);
    assert_int_equal(wr_core_checkpoint_due(&b.m), b.now_ms + BACKOFF);
    tick(&b, BACKOFF); /* tried again: nothing else can end this job with its results safe */
    last = triggered(&b);
    complete(&b, last.id);
    assert_non_null(find(&b, WR_CHECKPOINT_DO_COMPLETE));
    assert_int_equal(find(&b, WR_CHECKPOINT_DO_FINISH)->id, last.id);
    expect_answer(&b, 8, WR_OK);
    assert_true(wr_core_checkpoint_record(&b.m, 0)->last);
    tick(&b, 100 * INTERVAL);
    assert_int_equal(b.actions, 0);
    step(&b, (wr_checkpoint_event){.kind = WR_CHECKPOINT_CLOSE});
    assert_int_equal(b.actions, 0);
}

static void end(bench *b, uint32_t subtask)
{
    step(b, (wr_checkpoint_event){.kind = WR_CHECKPOINT_ENDED, .subtask = subtask});
}

static void test_end_of_input(void **state)
{
    (void)state;
    bench b;
    begin(&b);
    for (uint32_t i = 0; i + 1 < SUBTASKS; i++) end(&b, i);
    end(&b, 0); /* told twice */
    end(&b, SUBTASKS);
    assert_int_equal(b.actions, 0);
    tick(&b, INTERVAL); /* snapshots go on */
    wr_barrier n = triggered(&b);
    for (uint32_t i = 0; i + 1 < SUBTASKS; i++) ack(&b, n.id, i, true);
    end(&b, SUBTASKS - 1);
    assert_int_equal(b.actions, 0); /* one is under way; its last part may or may not be of the end */
    ack(&b, n.id, SUBTASKS - 1, false);
    written(&b, n.id);
    assert_null(find(&b, WR_CHECKPOINT_DO_FINISH));
    wr_barrier last = triggered(&b); /* at once */
    ack_all(&b, last.id, true);
    written(&b, last.id);
    assert_int_equal(find(&b, WR_CHECKPOINT_DO_FINISH)->id, last.id);
}

static void test_end_within_a_snapshot(void **state)
{
    (void)state;
    bench b;
    begin(&b);
    tick(&b, INTERVAL);
    wr_barrier n = triggered(&b);
    for (uint32_t i = 0; i < SUBTASKS; i++) end(&b, i);
    ack_all(&b, n.id, true); /* all of it was of the end: no other one is needed */
    written(&b, n.id);
    assert_non_null(find(&b, WR_CHECKPOINT_DO_FINISH));
}

static void test_drain(void **state)
{
    (void)state;
    bench b;
    begin(&b);
    tick(&b, INTERVAL);
    uint64_t pending = triggered(&b).id; /* some would answer before they end, and some behind it */
    step(&b, (wr_checkpoint_event){.kind = WR_CHECKPOINT_STOP, .ticket = 4, .drain = true});
    assert_int_equal(find(&b, WR_CHECKPOINT_DO_ABORT)->id, pending);
    assert_non_null(find(&b, WR_CHECKPOINT_DO_END_SOURCES));
    tick(&b, 10 * INTERVAL);
    ask(&b, 6, WR_SNAPSHOT); /* none begins before all have ended: what has more to read would read on behind the end */
    assert_int_equal(b.actions, 0);
    assert_int_equal(wr_core_checkpoint_due(&b.m), INT64_MAX); /* or who asks would ask again and again */
    step(&b, (wr_checkpoint_event){.kind = WR_CHECKPOINT_STOP, .ticket = 5, .drain = true});
    expect_answer(&b, 5, WR_CONFIG);
    for (uint32_t i = 0; i < SUBTASKS; i++) end(&b, i);
    wr_barrier last = triggered(&b);
    ack_all(&b, last.id, true);
    written(&b, last.id);
    expect_answer(&b, 4, WR_OK);
    assert_non_null(find(&b, WR_CHECKPOINT_DO_FINISH));
}

static void test_close(void **state)
{
    (void)state;
    bench b;
    begin(&b);
    ask(&b, 1, WR_SNAPSHOT);
    wr_barrier n = triggered(&b);
    ask(&b, 2, WR_SAVEPOINT);
    step(&b, (wr_checkpoint_event){.kind = WR_CHECKPOINT_STOP, .ticket = 3});
    step(&b, (wr_checkpoint_event){.kind = WR_CHECKPOINT_CLOSE});
    for (uint64_t i = 1; i <= 3; i++) expect_answer(&b, i, WR_CANCELED);
    assert_int_equal(find(&b, WR_CHECKPOINT_DO_ABORT)->id, n.id);
    tick(&b, 10 * TIMEOUT);
    assert_int_equal(b.actions, 0);
    ask(&b, 5, WR_SNAPSHOT);
    expect_answer(&b, 5, WR_UNREACHABLE);
    assert_int_equal(wr_core_checkpoint_due(&b.m), INT64_MAX);
}

static void test_close_while_the_manifest_is_written(void **state)
{
    (void)state;
    bench b;
    begin(&b);
    tick(&b, INTERVAL);
    wr_barrier n = triggered(&b);
    ack_all(&b, n.id, false);
    step(&b, (wr_checkpoint_event){.kind = WR_CHECKPOINT_CLOSE});
    assert_int_equal(b.actions, 0);
    written(&b, n.id); /* it is a snapshot, whatever becomes of the job */
    assert_int_equal(wr_core_checkpoint_newest(&b.m), n.id);
    assert_null(find(&b, WR_CHECKPOINT_DO_FINISH));
}

static void test_history(void **state)
{
    (void)state;
    bench b;
    begin(&b);
    for (uint32_t i = 0; i < WR_SNAPSHOT_HISTORY + 5; i++) {
        tick(&b, INTERVAL);
        wr_barrier n = triggered(&b);
        if (i % 3 == 0)
            decline(&b, n.id, 1, WR_PHASE_ALIGN);
        else
            complete(&b, n.id);
        b.now_ms += 20 * BACKOFF;
    }
    uint32_t lines = 0;
    uint64_t before = UINT64_MAX;
    for (const wr_snapshot_record *r; (r = wr_core_checkpoint_record(&b.m, lines)) != NULL; lines++) {
        assert_true(r->id < before);
        before = r->id;
        assert_true(r->outcome == WR_SNAPSHOT_COMPLETED || r->outcome == WR_SNAPSHOT_FAILED);
        if (r->outcome == WR_SNAPSHOT_FAILED) {
            assert_false(r->figures[0].acked);
            continue;
        }
        assert_int_equal(r->bytes, 10 * SUBTASKS);
        assert_int_equal(r->bytes_full, 100 * SUBTASKS);
        for (uint32_t i = 0; i < SUBTASKS; i++) assert_int_equal(r->figures[i].align_ns, i);
    }
    assert_int_equal(lines, WR_SNAPSHOT_HISTORY);
}

/* ---- random ---- */

/* What an onlooker saw; the machine's own view is not asked. */
typedef struct onlooker {
    bool     acked[SUBTASKS];
    uint32_t acks;
    uint64_t newest_id, pending, ids, completed, told; /* told: the newest DO_COMPLETE */
    uint32_t pending_kind;
    int64_t  begun_ms;
    bool     manifest, ids_asked, closed, finished, paused, pending_paused;
    uint64_t snapshots, aborts;
    uint32_t tickets, answers;
    bool     open[4096];
    bool     anew;
} onlooker;

static void watch(onlooker *w, const bench *b)
{
    for (uint32_t i = 0; i < b->actions; i++) {
        const wr_checkpoint_action *a = &b->action[i];
        switch (a->kind) {
        case WR_CHECKPOINT_DO_IDS:
            assert_false(w->ids_asked);
            assert_true(a->id > w->ids);
            w->ids_asked = true;
            break;
        case WR_CHECKPOINT_DO_TRIGGER:
            assert_true(w->pending == 0 && !w->closed && !w->finished); /* one at a time */
            assert_true(a->id > w->newest_id && a->id <= w->ids);       /* never twice, and durable */
            assert_int_equal(a->barrier.base, w->anew ? 0 : w->completed);
            w->newest_id = w->pending = a->id;
            w->pending_kind = a->barrier.kind;
            w->pending_paused = w->paused;
            w->begun_ms = b->now_ms;
            w->acks = 0;
            memset(w->acked, 0, sizeof w->acked);
            w->snapshots++;
            break;
        case WR_CHECKPOINT_DO_ABORT:
            assert_int_equal(a->id, w->pending);
            w->pending = 0;
            w->manifest = false;
            w->aborts++;
            break;
        case WR_CHECKPOINT_DO_MANIFEST:
            assert_int_equal(a->id, w->pending);
            assert_int_equal(w->acks, SUBTASKS); /* only when all have acked */
            assert_false(w->manifest);
            w->manifest = true;
            break;
        case WR_CHECKPOINT_DO_COMPLETE:
            assert_int_equal(a->id, w->completed); /* only what was said to be durable */
            assert_true(a->id > w->told);
            w->told = a->id;
            break;
        case WR_CHECKPOINT_DO_PAUSE_SOURCES:
            assert_false(w->paused);
            w->paused = true;
            break;
        case WR_CHECKPOINT_DO_FINISH:
            assert_false(w->finished);
            assert_int_equal(a->id, w->told);
            w->finished = true;
            break;
        case WR_CHECKPOINT_DO_ANSWER:
            assert_true(a->ticket < 4096 && w->open[a->ticket]); /* each once */
            w->open[a->ticket] = false;
            w->answers++;
            break;
        default: break;
        }
    }
}

static void random_ack(onlooker *w, bench *b, wr_prng *random)
{
    uint64_t id = w->pending != 0 && wr_prng_next(random) % 8 != 0 ? w->pending
                                                                   : wr_prng_next(random) % (w->newest_id + 2);
    uint32_t subtask = (uint32_t)(wr_prng_next(random) % (SUBTASKS + 1));
    if (wr_prng_next(random) % 16 == 0) {
        decline(b, id, subtask, WR_PHASE_SYNC);
    } else {
        bool counts = id == w->pending && id != 0 && subtask < SUBTASKS && !w->acked[subtask] && !w->manifest &&
                      b->now_ms < w->begun_ms + TIMEOUT;
        if (counts) {
            w->acked[subtask] = true;
            w->acks++;
        }
        ack(b, id, subtask, b->ended[subtask < SUBTASKS ? subtask : 0]);
    }
    watch(w, b);
}

static void random_answer(onlooker *w, bench *b, wr_prng *random)
{
    static const wr_err error[8] = {WR_IO, WR_DAMAGED}; /* else WR_OK */
    wr_errinfo          why = {error[wr_prng_next(random) % 8], ""};
    if (w->ids_asked) {
        w->ids_asked = false;
        if (why.code == WR_OK) w->ids += WR_SNAPSHOT_ID_BLOCK;
        step(b, (wr_checkpoint_event){.kind = WR_CHECKPOINT_IDS_DONE, .info = &why});
    } else if (w->manifest) {
        uint64_t id = w->pending;
        if (why.code == WR_OK) {
            w->pending = 0;
            w->manifest = false;
            if (w->pending_kind == WR_SNAPSHOT) w->completed = id;
            if (w->pending_kind == WR_SNAPSHOT) w->anew = false;
        }
        w->anew |= why.code == WR_DAMAGED;
        step(b, (wr_checkpoint_event){.kind = WR_CHECKPOINT_MANIFEST_DONE, .id = id, .info = &why});
    } else {
        return;
    }
    watch(w, b);
}

static void random_request(onlooker *w, bench *b, wr_prng *random)
{
    if (w->tickets == 4095) return;
    uint32_t ticket = ++w->tickets;
    w->open[ticket] = true;
    if (wr_prng_next(random) % 64 == 0)
        step(b, (wr_checkpoint_event){
                    .kind = WR_CHECKPOINT_STOP, .ticket = ticket, .drain = wr_prng_next(random) % 2 == 0});
    else
        ask(b, ticket, wr_prng_next(random) % 2 == 0 ? WR_SNAPSHOT : WR_SAVEPOINT);
    watch(w, b);
}

static uint64_t random_life(uint64_t seed)
{
    wr_prng  random = wr_prng_of(seed);
    bench    b;
    onlooker w = {.ids = PLAIN.ids, .newest_id = PLAIN.ids};
    begin(&b);
    uint32_t steps = 200 + (uint32_t)(wr_prng_next(&random) % 800);
    for (uint32_t i = 0; i < steps; i++) {
        uint32_t what = (uint32_t)(wr_prng_next(&random) % 32);
        if (what < 14) {
            random_ack(&w, &b, &random);
        } else if (what < 20) {
            random_answer(&w, &b, &random);
        } else if (what < 28) {
            tick(&b, (int64_t)(wr_prng_next(&random) % (what == 20 ? TIMEOUT : INTERVAL / 4)));
            watch(&w, &b);
        } else if (what < 30) {
            random_request(&w, &b, &random);
        } else if (i > steps / 2 && what == 30 && wr_prng_next(&random) % 4 == 0) {
            end(&b, (uint32_t)(wr_prng_next(&random) % SUBTASKS));
            watch(&w, &b);
        }
        assert_int_equal(w.completed, wr_core_checkpoint_newest(&b.m));
        assert_true(w.pending == 0 || w.manifest || b.now_ms < w.begun_ms + TIMEOUT); /* nothing waits for ever */
    }
    w.closed = true;
    step(&b, (wr_checkpoint_event){.kind = WR_CHECKPOINT_CLOSE});
    watch(&w, &b);
    while (w.manifest || w.ids_asked) random_answer(&w, &b, &random);
    assert_int_equal(w.answers, w.tickets); /* whoever asked was told */
    return w.snapshots;
}

static void test_random_lives(void **state)
{
    (void)state;
    uint64_t snapshots = 0;
    for (uint64_t seed = 1; seed <= 2000; seed++) snapshots += random_life(seed);
    assert_true(snapshots > 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_periodic),
        cmocka_unit_test(test_ids_are_durable_first),
        cmocka_unit_test(test_pause_and_one_at_a_time),
        cmocka_unit_test(test_stale_late_and_repeated_acks),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_declined),
        cmocka_unit_test(test_manifest_fails),
        cmocka_unit_test(test_damaged_files),
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_retention),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_end_of_input),
        cmocka_unit_test(test_end_within_a_snapshot),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_close),
        cmocka_unit_test(test_close_while_the_manifest_is_written),
        cmocka_unit_test(test_history),
        cmocka_unit_test(test_random_lives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
