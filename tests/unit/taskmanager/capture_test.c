/* What happens to a snapshot while it is written: storage that fails or stands still, orders to stop, and which
 * snapshots may be increments. */
#include "base/env.h"
#include "tests/unit/taskmanager/snaps.h"
#include <errno.h>
#include <unistd.h>

static wr_env   env;
static bool     stalled;
static int64_t  result_now; /* of writes; 0: what it is */
static uint32_t epoch;

static uint32_t odd_reap(void *self, wr_io *io, wr_io_done *done, uint32_t n)
{
    if (stalled) return 0;
    uint32_t got = wr_env_real()->io_reap(self, io, done, n);
    for (uint32_t i = 0; i < got && result_now != 0; i++) done[i].result = result_now;
    return got;
}

static int make_folder(void **state)
{
    (void)state;
    env = *wr_env_real();
    env.io_reap = odd_reap;
    snaps_env = &env;
    return snaps_folder_make() ? 0 : -1;
}

static int drop_folder(void **state)
{
    (void)state;
    return snaps_folder_drop();
}

/* One source, one keyed operator, one sink; so many records read. */
static void begin(snaps_run *r, uint32_t keys, uint64_t read)
{
    epoch++;
    stalled = false;
    result_now = 0;
    snaps_reset(SNAPS_ROUTE, 0, 1, UINT64_MAX);
    snaps.splits = 1;
    snaps.source_parallelism = 1;
    snaps.keyed = true;
    snaps.keys = keys;
    snaps.may[0] = read;
    snaps_new(r, 1, snaps_folder, NULL, 1);
    snaps_all_in(r, WR_TASK_RUNNING);
    snaps_settle(r);
    assert_int_equal(snaps.seen[0], read);
}

static snaps_shot *trigger(snaps_run *r, uint64_t id, uint64_t base)
{
    return snaps_trigger(r, (wr_barrier){.id = id, .base = base, .kind = WR_SNAPSHOT, .epoch = epoch});
}

static const wr_state_file *file_of(const snaps_run *r, const snaps_shot *s)
{
    for (uint32_t i = 0; i < r->exec->subtasks; i++) {
        if (s->ack[i] != NULL && s->ack[i]->file.name[0] != 0) return &s->ack[i]->file;
    }
    return NULL;
}

static void read_more(snaps_run *r, uint64_t n)
{
    snaps.may[0] += n;
    snaps_settle(r);
}

/* Waits for storage. */
static bool taken(snaps_run *r, snaps_shot *s)
{
    while (s->acked + s->declined < r->exec->subtasks) snaps_step(r);
    if (s->declined > 0) printf("%s\n", s->why.text);
    return s->acked == r->exec->subtasks;
}

/* As far as it goes while storage stands still. */
static bool under_way(snaps_run *r, snaps_shot *s)
{
    snaps_settle(r);
    return s->acked == r->exec->subtasks - 1 && s->declined == 0;
}

/* ---- storage ---- */

static void test_a_failed_write_fails_the_snapshot_only(void **state)
{
    (void)state;
    snaps_run r;
    begin(&r, 5000, 20000);
    snaps_shot *s = trigger(&r, 1, 0);
    assert_true(taken(&r, s));
    result_now = -ENOSPC;
    read_more(&r, 3000);
    s = trigger(&r, 2, 1);
    assert_false(taken(&r, s));
    assert_int_equal(s->declined, 1);
    assert_int_equal(s->phase, WR_PHASE_ASYNC);
    assert_non_null(strstr(s->why.text, "No space left"));
    result_now = 0;
    read_more(&r, 3000);
    s = trigger(&r, 3, 1);
    assert_true(taken(&r, s));
    assert_int_equal(snaps.seen[0], 26000);
    snaps_free(&r);
}

static void test_a_folder_that_is_gone_fails_the_snapshot_only(void **state)
{
    (void)state;
    snaps_run r;
    char      kept[64];
    memcpy(kept, snaps_folder, sizeof snaps_folder);
    snprintf(snaps_folder, sizeof snaps_folder, "/tmp/weir-no-such-folder");
    begin(&r, 500, 2000);
    snaps_shot *s = trigger(&r, 1, 0);
    snaps_settle(&r);
    assert_int_equal(s->declined, 1);
    read_more(&r, 100);
    assert_int_equal(snaps.seen[0], 2100);
    snaps_free(&r);
    memcpy(snaps_folder, kept, sizeof snaps_folder);
}

static void test_the_next_snapshot_ends_one_that_is_still_written(void **state)
{
    (void)state;
    snaps_run r;
    begin(&r, 5000, 20000);
    stalled = true;
    snaps_shot *first = trigger(&r, 1, 0);
    assert_true(under_way(&r, first));
    read_more(&r, 5000); /* records flow in the meantime */
    assert_int_equal(snaps.seen[0], 25000);
    assert_int_equal(first->declined, 0);
    stalled = false; /* or it could not be cleared away */
    snaps_shot *second = trigger(&r, 2, 0);
    for (int i = 0; i < 20 && first->declined == 0; i++) wr_worker_step(r.worker, 0), snaps_listen(&r);
    assert_true(taken(&r, second));
    assert_true(first->declined == 1 || first->acked == r.exec->subtasks); /* it may have been quick */
    snaps_free(&r);
}

static void test_an_abort_ends_the_writing(void **state)
{
    (void)state;
    snaps_run r;
    begin(&r, 5000, 20000);
    stalled = true;
    snaps_shot *s = trigger(&r, 1, 0);
    assert_true(under_way(&r, s));
    wr_worker_abort(r.worker, 1);
    stalled = false;
    snaps_settle(&r);
    assert_true(s->acked < r.exec->subtasks);
    assert_int_equal(s->declined, 0);
    s = trigger(&r, 2, 0);
    assert_true(taken(&r, s));
    snaps_free(&r);
}

enum {
    MANY_KEYS = 1200000
}; /* a state larger than what storage takes at once: old bytes pile up while it stands still */

static wr_op *sums_of(snaps_run *r)
{
    return wr_worker_op(r->worker, snaps_node(r, "sums")->id, 0);
}

/* Every key is written once while nothing can be stored. Returns how many records were taken, then lets storage go on,
 * and sees that all comes to a good end. */
static uint64_t taken_while_stalled(snaps_run *r, wr_budget *budget)
{
    stalled = true;
    snaps_shot *s = trigger(r, 1, 0);
    snaps_settle(r);
    uint64_t before = snaps.seen[0];
    snaps.may[0] += MANY_KEYS;
    for (int i = 0; i < 50000; i++) snaps_step(r);
    int64_t spare_ns = sums_of(r)->home->spare_ns;
    for (int i = 0; i < 50000; i++) snaps_step(r);
    uint64_t count = snaps.seen[0] - before;
    /* Records that wait for capturing are not time to spare. */
    if (count < MANY_KEYS) assert_int_equal(sums_of(r)->home->spare_ns, spare_ns);
    assert_false(budget->exceeded);
    stalled = false;
    assert_true(taken(r, s));
    snaps_settle(r);
    assert_int_equal(snaps.seen[0], before + MANY_KEYS);
    assert_false(budget->exceeded);
    return count;
}

static void test_a_saturated_slot_captures_before_old_bytes_are_many(void **state)
{
    (void)state;
    snaps_run r;
    begin(&r, MANY_KEYS, MANY_KEYS);
    uint64_t count = taken_while_stalled(&r, sums_of(&r)->home->budget);
    assert_true(count < MANY_KEYS); /* records wait */
    assert_true(count > 0);         /* but not from the first old byte on */
    snaps_free(&r);
}

static void test_a_slot_with_time_to_spare_lets_records_come_first(void **state)
{
    (void)state;
    snaps_run r;
    begin(&r, MANY_KEYS, MANY_KEYS);
    sums_of(&r)->home->spare_ns = INT64_MAX / 64;
    assert_int_equal(taken_while_stalled(&r, sums_of(&r)->home->budget), MANY_KEYS);
    snaps_free(&r);
}

static void test_old_bytes_leave_room_under_state_max(void **state)
{
    (void)state;
    snaps_run r;
    begin(&r, MANY_KEYS, MANY_KEYS);
    wr_budget *budget = sums_of(&r)->home->budget;
    budget->bytes_max = budget->bytes + budget->bytes / 4;
    sums_of(&r)->home->spare_ns = INT64_MAX / 64;
    uint64_t count = taken_while_stalled(&r, budget);
    assert_true(count < MANY_KEYS);
    assert_true(count > 0);
    snaps_free(&r);
}

/* ---- increments ---- */

static void test_increments_hold_what_changed(void **state)
{
    (void)state;
    snaps_run r;
    begin(&r, 20000, 40000);
    snaps_shot *s = trigger(&r, 1, 0);
    assert_true(taken(&r, s));
    assert_false(file_of(&r, s)->increment);
    uint64_t full = file_of(&r, s)->bytes;
    read_more(&r, 100);
    s = trigger(&r, 2, 1);
    assert_true(taken(&r, s));
    assert_true(file_of(&r, s)->increment);
    assert_true(file_of(&r, s)->bytes < full / 4);
    read_more(&r, 100);
    s = trigger(&r, 3, 1); /* 2 never completed: its changes belong to 3 */
    assert_true(taken(&r, s));
    assert_true(file_of(&r, s)->increment);
    s = trigger(&r, 4, 0); /* nobody knows a base */
    assert_true(taken(&r, s));
    assert_false(file_of(&r, s)->increment);
    snaps_free(&r);
}

static void test_a_savepoint_is_full_and_no_base(void **state)
{
    (void)state;
    snaps_run r;
    begin(&r, 20000, 40000);
    snaps_shot *s = trigger(&r, 1, 0);
    assert_true(taken(&r, s));
    uint64_t full = file_of(&r, s)->bytes;
    read_more(&r, 100);
    s = snaps_trigger(&r, (wr_barrier){.id = 2, .base = 1, .kind = WR_SAVEPOINT, .epoch = epoch});
    assert_true(taken(&r, s));
    assert_false(file_of(&r, s)->increment);
    assert_true(file_of(&r, s)->bytes >= full);
    s = trigger(&r, 3, 1);
    assert_true(taken(&r, s));
    assert_true(file_of(&r, s)->increment);
    assert_true(file_of(&r, s)->bytes < full / 4);
    snaps_free(&r);
}

static void test_chains_of_increments_end(void **state)
{
    (void)state;
    snaps_run r;
    uint32_t  run = 0, longest = 0, fulls = 0;
    begin(&r, 20000, 40000);
    for (uint64_t id = 1; id <= 40; id++) {
        snaps_free_shots(&r);
        snaps_shot *s = trigger(&r, id, id - 1);
        assert_true(taken(&r, s));
        run = file_of(&r, s)->increment ? run + 1 : 0;
        fulls += run == 0;
        if (run > longest) longest = run;
        read_more(&r, 10);
    }
    assert_true(longest > 3 && longest <= 16);
    assert_true(fulls >= 3);
    snaps_free(&r);
}

enum { KEYS = 20000 };

/* The next snapshot, on top of the one before it. Returns whether it was an increment. */
static bool next_one(snaps_run *r, uint64_t *id)
{
    snaps_free_shots(r);
    snaps_shot *s = trigger(r, *id + 1, *id);
    ++*id;
    assert_true(taken(r, s));
    return file_of(r, s)->increment;
}

/* All of it has changed before each snapshot. */
static void begin_unmarked(snaps_run *r, uint64_t *id)
{
    begin(r, KEYS, KEYS);
    for (uint32_t i = 0; i < 3; i++) {
        (void)next_one(r, id);
        read_more(r, KEYS);
    }
    assert_int_equal(snaps_marking(r), 0);
}

static void test_nothing_is_marked_where_most_of_it_changes(void **state)
{
    (void)state;
    snaps_run r;
    uint64_t  id = 0;
    uint32_t  marked = 0;
    begin(&r, KEYS, KEYS);
    assert_false(next_one(&r, &id));
    assert_int_equal(snaps_marking(&r), 1); /* who knows what will change */
    read_more(&r, KEYS);
    (void)next_one(&r, &id);
    assert_int_equal(snaps_marking(&r), 0); /* all of it */
    for (uint32_t i = 0; i < 36; i++) {
        read_more(&r, KEYS);
        assert_false(next_one(&r, &id));
        marked += snaps_marking(&r);
    }
    assert_int_equal(marked, 4); /* after eight without, to count */
    snaps_free(&r);
}

static void test_marks_come_back_when_little_changes(void **state)
{
    (void)state;
    snaps_run r;
    uint64_t  id = 0;
    begin_unmarked(&r, &id);
    (void)next_one(&r, &id);
    read_more(&r, KEYS / 4);
    assert_false(next_one(&r, &id)); /* what changed before it was not marked */
    assert_int_equal(snaps_marking(&r), 1);
    read_more(&r, 100);
    assert_false(next_one(&r, &id)); /* this one counts */
    assert_int_equal(snaps_marking(&r), 1);
    read_more(&r, 100);
    assert_true(next_one(&r, &id));
    assert_int_equal(snaps_marking(&r), 1);
    snaps_free(&r);
}

/* The few keys that change are met very often: only counting can tell. */
static void test_marks_come_back_when_few_keys_change(void **state)
{
    (void)state;
    snaps_run r;
    uint64_t  id = 0;
    begin_unmarked(&r, &id);
    snaps.keys = KEYS / 100;
    for (uint32_t i = 0; i < 8; i++) {
        read_more(&r, KEYS);
        assert_false(next_one(&r, &id));
    }
    assert_int_equal(snaps_marking(&r), 1);
    read_more(&r, KEYS);
    (void)next_one(&r, &id);
    read_more(&r, KEYS);
    assert_true(next_one(&r, &id));
    assert_int_equal(snaps_marking(&r), 1);
    snaps_free(&r);
}

/* What an unmarked one leaves out must not be left out by the one behind it. */
static void test_what_failed_is_no_base_where_nothing_was_marked(void **state)
{
    (void)state;
    snaps_run r;
    uint64_t  id = 0;
    begin_unmarked(&r, &id);
    assert_false(next_one(&r, &id));
    assert_int_equal(snaps_marking(&r), 0);
    uint64_t durable = id;
    read_more(&r, 100);
    snaps_free_shots(&r);
    result_now = -ENOSPC; /* marks come back at this one's barrier, and it fails */
    assert_false(taken(&r, trigger(&r, ++id, durable)));
    result_now = 0;
    assert_int_equal(snaps_marking(&r), 1);
    snaps_shot *s = trigger(&r, ++id, durable);
    assert_true(taken(&r, s));
    assert_false(file_of(&r, s)->increment);
    read_more(&r, 100);
    assert_false(next_one(&r, &id)); /* this one counts */
    read_more(&r, 100);
    assert_true(next_one(&r, &id));
    snaps_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_failed_write_fails_the_snapshot_only),
        cmocka_unit_test(test_a_folder_that_is_gone_fails_the_snapshot_only),
        cmocka_unit_test(test_the_next_snapshot_ends_one_that_is_still_written),
        cmocka_unit_test(test_an_abort_ends_the_writing),
        cmocka_unit_test(test_a_saturated_slot_captures_before_old_bytes_are_many),
        cmocka_unit_test(test_a_slot_with_time_to_spare_lets_records_come_first),
        cmocka_unit_test(test_old_bytes_leave_room_under_state_max),
        cmocka_unit_test(test_increments_hold_what_changed),
        cmocka_unit_test(test_a_savepoint_is_full_and_no_base),
        cmocka_unit_test(test_chains_of_increments_end),
        cmocka_unit_test(test_nothing_is_marked_where_most_of_it_changes),
        cmocka_unit_test(test_marks_come_back_when_little_changes),
        cmocka_unit_test(test_marks_come_back_when_few_keys_change),
        cmocka_unit_test(test_what_failed_is_no_base_where_nothing_was_marked),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
