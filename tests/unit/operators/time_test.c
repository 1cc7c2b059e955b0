/* The time operator by itself: times of records, the least of the origins, silence, own watermarks, snapshots. */
#include "operators/kernels.h"
#include "operators/saver.h"
#include "operators/time.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <weir/pipeline.h>

#include <cmocka.h>

WEIR_RECORD(click, (uint64_t, key), (weir_time, at))
WEIR_WATERMARK(even, click, in)
{
    return (weir_time){in->key % 2 == 0 ? in->at.ns : WEIR_NO_TIME};
}

enum { MAX = WR_BATCH_RECORDS_MAX };

/* An operator that keeps what it is given. */
typedef struct catcher {
    wr_op    op;
    weir_op  def;
    uint32_t n;
    click    record[MAX];
    int64_t  time[MAX];
} catcher;

static void catch_push(wr_op *op, const wr_view *view, uint32_t port)
{
    catcher *c = op->kernel_state;
    assert_int_equal(port, 0);
    assert_non_null(view->time);
    for (uint32_t i = 0; i < view->n; i++) {
        memcpy(&c->record[c->n], view->records + i * sizeof(click), sizeof(click));
        c->time[c->n++] = view->time[i].ns;
    }
}
static const wr_kernel catch_kernel = {.name = "catcher", .push = catch_push};

typedef struct fixture {
    wr_home   home;
    wr_node   node;
    weir_op   def;
    wr_op     op;
    wr_target target;
    catcher   behind;
} fixture;
static fixture f;

static const weir_type *const outs[] = {&weir_type_click};

static void setup(int64_t max_delay, int64_t idle_after, weir_loop *own)
{
    memset(&f, 0, sizeof f);
    f.home.env = wr_env_real();
    f.node = (wr_node){.uid = "t",
                       .name = "t",
                       .kind = WR_NODE_TIME,
                       .timed = true,
                       .type = &weir_type_click,
                       .time_offset = offsetof(click, at),
                       .max_delay = max_delay,
                       .idle_after = idle_after};
    f.def = (weir_op){.kind = WR_OP_TIME, .outs = 1, .left = &weir_type_click, .out = outs, .on_left = own};
    f.op.node = &f.node;
    f.op.def = &f.def;
    f.op.home = &f.home;
    assert_int_equal(wr_op_init(&f.op, NULL), WR_OK);
    f.behind.op = (wr_op){.def = &f.behind.def, .node = &f.node, .home = &f.home, .kernel = &catch_kernel};
    f.behind.op.kernel_state = &f.behind;
    f.op.emit[0].target = calloc(1, sizeof(wr_target));
    f.op.emit[0].target[0].op = &f.behind.op;
    f.op.emit[0].targets = 1;
}

static void begin(int64_t max_delay, int64_t idle_after, weir_loop *own)
{
    setup(max_delay, idle_after, own);
    assert_int_equal(wr_op_open(&f.op, NULL), WR_OK);
}

static void end(void)
{
    wr_op_fini(&f.op);
}

/* One record of an origin. */
static void give(uint64_t origin, int64_t at)
{
    click   c = {.key = (uint64_t)at, .at = {at}};
    wr_view view = {.records = (const char *)&c, .n = 1};
    f.home.split = origin;
    wr_op_push(&f.op, &view, 0);
}

static int64_t mark(int64_t clock_ns)
{
    wr_time_look(&f.op, clock_ns);
    return f.op.mark;
}

static void test_records_keep_and_get_their_times(void **state)
{
    (void)state;
    static click c[MAX];
    begin(0, 0, NULL);
    for (uint32_t i = 0; i < MAX; i++) c[i] = (click){i, {(int64_t)i * 7 % 1000 - 300}};
    wr_view view = {.records = (const char *)c, .n = MAX};
    f.home.split = 5;
    wr_op_push(&f.op, &view, 0);
    assert_int_equal(f.behind.n, MAX);
    for (uint32_t i = 0; i < MAX; i++) {
        assert_int_equal(f.behind.record[i].key, i);
        assert_int_equal(f.behind.time[i], c[i].at.ns);
    }
    assert_int_equal(mark(0), 699 - 1);
    assert_int_equal(atomic_load(&f.op.stats.out), MAX);
    end();
}

static void test_the_least_of_the_origins_holds_time_back(void **state)
{
    (void)state;
    begin(10, 0, NULL);
    wr_time_open(&f.op, 1, 0);
    wr_time_open(&f.op, 2, 0);
    give(1, 100);
    assert_int_equal(mark(0), WEIR_NO_TIME); /* 2 has said nothing yet */
    give(2, 50);
    assert_int_equal(mark(0), 50 - 10 - 1);
    give(2, 40); /* never back */
    assert_int_equal(mark(0), 39);
    give(2, 200);
    assert_int_equal(mark(0), 100 - 11);
    wr_time_open(&f.op, 3, 0); /* a new one holds all of them */
    give(1, 300);
    give(2, 300);
    assert_int_equal(mark(0), 89);
    give(3, 150);
    assert_int_equal(mark(0), 139);
    wr_time_close(&f.op, 3);
    assert_int_equal(mark(0), 289);
    wr_time_close(&f.op, 1);
    wr_time_close(&f.op, 2); /* the last one's promise stays */
    assert_int_equal(mark(0), 289);
    wr_time_end(&f.op);
    assert_int_equal(mark(0), INT64_MAX);
    end();
}

static void held_by(const char *text)
{
    char held[WR_HOLDER_BYTES];
    wr_holder_get(&f.op.holder, held);
    assert_string_equal(held, text);
}

/* For people who ask why time stands. */
static void test_tells_which_origin_holds_time_back(void **state)
{
    (void)state;
    begin(0, 1000, NULL);
    held_by("");
    wr_time_open(&f.op, WR_ORIGIN_CHANNEL | 1, 0);
    wr_time_open(&f.op, WR_ORIGIN_CHANNEL | 2, 0);
    mark(0);
    held_by("input channel 1");
    give(WR_ORIGIN_CHANNEL | 1, 100);
    mark(0);
    held_by("input channel 2"); /* has said nothing yet */
    give(WR_ORIGIN_CHANNEL | 2, 200);
    mark(0);
    held_by("input channel 1");
    give(WR_ORIGIN_CHANNEL | 2, 300);
    mark(1000);
    held_by("input channel 2"); /* 1 is idle: nobody waits for it */
    mark(2000);
    held_by("");
    end();
}

static void test_a_silent_origin_is_let_go(void **state)
{
    (void)state;
    begin(0, 1000, NULL);
    wr_time_open(&f.op, 1, 0);
    wr_time_open(&f.op, 2, 0);
    give(1, 100);
    assert_int_equal(mark(500), WEIR_NO_TIME);
    assert_int_equal(wr_time_idle_at(&f.op), 1000); /* 2, which was opened at 0 */
    assert_int_equal(mark(999), WEIR_NO_TIME);
    assert_int_equal(mark(1000), 99);
    assert_false(f.op.idle);
    assert_int_equal(wr_time_idle_at(&f.op), 1500);
    assert_int_equal(mark(1500), 99); /* both: time stays, and nobody waits for us */
    assert_true(f.op.idle);
    assert_int_equal(wr_time_idle_at(&f.op), INT64_MAX);
    give(2, 50); /* back, and behind: it cannot turn time back */
    assert_int_equal(mark(1600), 99);
    assert_false(f.op.idle);
    give(2, 150);
    assert_int_equal(mark(1700), 149); /* 1 is idle still */
    give(1, 120);
    give(2, 170);
    assert_int_equal(mark(1800), 149); /* 1 holds it again */
    end();
}

static void test_nothing_to_read_is_silence(void **state)
{
    (void)state;
    begin(0, 1000, NULL);
    assert_int_equal(mark(100), WEIR_NO_TIME);
    assert_false(f.op.idle); /* splits may be on their way */
    assert_int_equal(wr_time_idle_at(&f.op), 1100);
    mark(1100);
    assert_true(f.op.idle);
    wr_time_open(&f.op, 1, 1200);
    mark(1200);
    assert_false(f.op.idle);
    wr_time_close(&f.op, 1);
    mark(1300);
    assert_false(f.op.idle);
    mark(2300);
    assert_true(f.op.idle);
    end();
}

static void test_own_watermarks(void **state)
{
    (void)state;
    begin(0, 0, weir_watermark_even.loop);
    give(1, 101); /* says nothing */
    assert_int_equal(mark(0), WEIR_NO_TIME);
    give(1, 50);
    assert_int_equal(mark(0), 50);
    give(1, 99);
    assert_int_equal(mark(0), 50);
    give(1, 90);
    assert_int_equal(mark(0), 90);
    assert_int_equal(f.behind.time[0], 101);
    end();
}

static void test_the_ends_of_time(void **state)
{
    (void)state;
    begin(1000, 0, NULL);
    give(1, WEIR_NO_TIME);
    assert_int_equal(f.behind.time[0], WEIR_NO_TIME);
    assert_int_equal(mark(0), WEIR_NO_TIME);
    give(1, INT64_MIN + 500);
    assert_int_equal(mark(0), WEIR_NO_TIME); /* nothing underflows */
    give(1, INT64_MIN + 2000);
    assert_int_equal(mark(0), INT64_MIN + 999);
    give(1, INT64_MAX);
    assert_int_equal(mark(0), INT64_MAX - 1001);
    end();
}

/* ---- snapshots ---- */

static wr_item items_of(wr_ack_op *ack, uint32_t index)
{
    assert_true(index < ack->items);
    assert_int_equal(ack->item[index].kind, WR_ITEM_TIME);
    return ack->item[index];
}

static void test_restored_splits_go_on_where_they_were(void **state)
{
    (void)state;
    wr_ack_op one[2] = {0};
    for (uint32_t subtask = 0; subtask < 2; subtask++) { /* two subtasks of then */
        begin(10, 0, NULL);
        wr_time_open(&f.op, 10 + subtask, 0);
        wr_time_open(&f.op, 20 + subtask, 0);
        wr_time_open(&f.op, 30 + subtask, 0); /* gave nothing yet */
        wr_time_open(&f.op, WR_ORIGIN_CHANNEL | 1, 0);
        give(10 + subtask, 1000 + subtask);
        give(20 + subtask, 2000 + subtask);
        give(WR_ORIGIN_CHANNEL | 1, 3000);
        wr_saver saver = {.to = &one[subtask], .from = subtask};
        assert_int_equal(wr_kernel_time.save(&f.op, NULL, &saver, NULL), WR_OK);
        assert_int_equal(one[subtask].items, 2);
        end();
    }
    wr_item        all[4] = {items_of(&one[0], 0), items_of(&one[0], 1), items_of(&one[1], 0), items_of(&one[1], 1)};
    wr_manifest_op saved = {.item = all, .items = 4};
    setup(10, 0, NULL);
    f.op.watermark = 900; /* as the tasklet restores it */
    assert_int_equal(wr_kernel_time.load(&f.op, &saved, NULL, NULL), WR_OK);
    assert_int_equal(wr_op_open(&f.op, NULL), WR_OK);
    assert_int_equal(f.op.mark, 900);
    wr_time_open(&f.op, 11, 0); /* of the other subtask then */
    wr_time_open(&f.op, 20, 0);
    assert_int_equal(mark(0), 1001 - 11);
    wr_time_open(&f.op, 30, 0); /* nothing is known of it */
    give(11, 5000);
    assert_int_equal(mark(0), 990);
    give(30, 100); /* behind all of them: never back */
    assert_int_equal(mark(0), 990);
    end();

    all[2].bytes = 15;
    wr_errinfo info = {0};
    setup(10, 0, NULL);
    assert_int_equal(wr_kernel_time.load(&f.op, &saved, NULL, &info), WR_DAMAGED);
    assert_non_null(strstr(info.text, "15 bytes instead of 16; operator t"));
    wr_kernel_time.close(&f.op);
    end();
    for (uint32_t i = 0; i < 4; i++) free(all[i].data);
    free(one[0].item);
    free(one[1].item);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records_keep_and_get_their_times),
        cmocka_unit_test(test_the_least_of_the_origins_holds_time_back),
        cmocka_unit_test(test_a_silent_origin_is_let_go),
        cmocka_unit_test(test_tells_which_origin_holds_time_back),
        cmocka_unit_test(test_nothing_to_read_is_silence),
        cmocka_unit_test(test_own_watermarks),
        cmocka_unit_test(test_the_ends_of_time),
        cmocka_unit_test(test_restored_splits_go_on_where_they_were),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
