/* What tasks answered becomes a manifest: items of all subtasks, layers of increments in order, least watermarks. */
#include "jobmanager/compose.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <weir/pipeline.h>

#include <cmocka.h>

WEIR_RECORD(event, (uint64_t, n))
WEIR_STATE(counter, (uint64_t, n))

/* An enumerator (subtask 0), its readers (1, 2), and a keyed operator with a stateless one behind it (3, 4). */
enum { SOURCE, KEYED, PLAIN, NODES, SUBTASKS = 5 };

typedef struct bench {
    weir_op       op[NODES];
    wr_node       node[NODES];
    wr_job        job;
    wr_vertex     vertex[3];
    wr_subtask    subtask[SUBTASKS];
    wr_exec       exec;
    wr_ack        ack[SUBTASKS];
    wr_ack_op     ack_op[SUBTASKS][2];
    wr_item       item[SUBTASKS];
    const wr_ack *acks[SUBTASKS];
} bench;

static void begin(bench *b)
{
    static const char *const uid[] = {"events", "count", "plain"};
    static const weir_key    key = {.count = 1, .field = {{.kind = WEIR_U64}}};
    memset(b, 0, sizeof *b);
    for (uint32_t i = 0; i < NODES; i++) {
        b->op[i].kind = i == SOURCE ? WEIR_OP_SOURCE : i == KEYED ? WEIR_OP_KEYED : WEIR_OP_MAP;
        b->node[i] = (wr_node){.id = i,
                               .kind = i == SOURCE ? WR_NODE_SOURCE : WR_NODE_OP,
                               .op = &b->op[i],
                               .uid = uid[i],
                               .name = uid[i],
                               .parallelism = 2,
                               .max_parallelism = 128};
    }
    b->op[KEYED].left = &weir_type_event;
    b->op[KEYED].state = &weir_type_counter;
    b->node[KEYED].key[0] = key;
    b->job = (wr_job){.name = "job", .node = b->node, .nodes = NODES, .fingerprint = 99};
    b->vertex[0].kind = WR_VERTEX_ENUMERATOR;
    b->vertex[1].kind = b->vertex[2].kind = WR_VERTEX_TASK;
    for (uint32_t i = 0; i < SUBTASKS; i++)
        b->subtask[i] = (wr_subtask){.id = i, .vertex = (i + 1) / 2, .index = i == 0 ? 0 : (i - 1) % 2, .attempt = 1};
    b->exec = (wr_exec){
        .job = &b->job, .vertex = b->vertex, .vertices = 3, .subtask = b->subtask, .subtasks = SUBTASKS};
}

/* Everybody's answer: one item each but for the keyed ones, which have files. */
static void answer(bench *b, uint64_t id)
{
    for (uint32_t i = 0; i < SUBTASKS; i++) {
        wr_ack *a = &b->ack[i];
        *a = (wr_ack){.id = id, .subtask = i, .attempt = 1, .op = b->ack_op[i], .ops = i < 3 ? 1 : 2};
        b->item[i] = (wr_item){.kind = WR_ITEM_OWN, .from = b->subtask[i].index, .bytes = 1, .data = &"abcde"[i]};
        b->ack_op[i][0] = (wr_ack_op){.node = i < 3 ? SOURCE : KEYED, .watermark = i == 0 ? WEIR_NO_TIME : 100 + i};
        b->ack_op[i][1] = (wr_ack_op){.node = PLAIN, .watermark = 50};
        if (i < 3) {
            b->ack_op[i][0].item = &b->item[i];
            b->ack_op[i][0].items = 1;
        } else {
            b->ack_op[i][0].table = true;
            b->ack_op[i][0].record = &weir_type_event;
            b->ack_op[i][0].state = &weir_type_counter;
            b->ack_op[i][0].key = &b->node[KEYED].key[0];
            snprintf(a->file.name, sizeof a->file.name, "s-%u-%u", (unsigned)id, i - 3);
        }
        b->acks[i] = a;
    }
}

static wr_err compose(bench *b, wr_manifest *m, uint64_t id, const wr_manifest *base, wr_errinfo *info)
{
    const wr_compose c = {.exec = &b->exec,
                          .barrier = {.id = id, .base = base != NULL ? base->id : 0, .kind = WR_SNAPSHOT, .epoch = 3},
                          .lineage = "l",
                          .triggered_ns = 1,
                          .completed_ns = 2,
                          .ack = b->acks,
                          .base = base};
    return wr_compose_manifest(m, &c, info);
}

static void expect_layer(const wr_manifest_op *op, uint32_t at, uint64_t snapshot, uint32_t from, uint32_t order)
{
    char name[64];
    snprintf(name, sizeof name, "s-%u-%u", (unsigned)snapshot, from);
    assert_true(at < op->layers);
    assert_string_equal(op->layer[at].file.name, name);
    assert_int_equal(op->layer[at].snapshot, snapshot);
    assert_int_equal(op->layer[at].from, from);
    assert_int_equal(op->layer[at].order, order);
}

static void test_full(void **state)
{
    (void)state;
    bench       b;
    wr_manifest m;
    begin(&b);
    answer(&b, 7);
    assert_int_equal(compose(&b, &m, 7, NULL, NULL), WR_OK);
    assert_int_equal(m.id, 7);
    assert_int_equal(m.epoch, 3);
    assert_int_equal(m.fingerprint, 99);
    assert_false(m.ended);
    assert_int_equal(m.ops, 3);
    const wr_manifest_op *source = wr_manifest_find(&m, "events"), *keyed = wr_manifest_find(&m, "count");
    assert_int_equal(source->items, 3); /* the enumerator's stand with those of the readers */
    assert_int_equal(source->watermark, 101);
    assert_int_equal(source->layers, 0);
    assert_int_equal(keyed->watermark, 103);
    assert_int_equal(keyed->items, 1); /* who was ahead says so; readers do not, their splits do */
    assert_int_equal(keyed->item[0].kind, WR_ITEM_WATERMARK);
    assert_int_equal(keyed->item[0].from, 1);
    assert_int_equal(keyed->item[0].bytes, 8);
    assert_memory_equal(keyed->item[0].data, &(int64_t){104}, 8);
    assert_int_equal(keyed->layers, 2);
    expect_layer(keyed, 0, 7, 0, 0);
    expect_layer(keyed, 1, 7, 1, 0);
    assert_ptr_equal(keyed->record, &weir_type_event);
    assert_ptr_equal(keyed->state, &weir_type_counter);
    assert_int_equal(keyed->key.count, 1);
    assert_int_equal(wr_manifest_find(&m, "plain")->layers, 0);
    wr_manifest_free(&m);
}

/* The end of time says nothing about records that others still get; equal ones need no word. */
static void test_watermarks(void **state)
{
    (void)state;
    bench       b;
    wr_manifest m;
    begin(&b);
    answer(&b, 7);
    b.ack_op[4][0].watermark = INT64_MAX;
    assert_int_equal(compose(&b, &m, 7, NULL, NULL), WR_OK);
    assert_int_equal(wr_manifest_find(&m, "count")->watermark, 103);
    assert_int_equal(wr_manifest_find(&m, "count")->items, 0);
    wr_manifest_free(&m);
    b.ack_op[4][0].watermark = 103;
    assert_int_equal(compose(&b, &m, 7, NULL, NULL), WR_OK);
    assert_int_equal(wr_manifest_find(&m, "count")->items, 0);
    wr_manifest_free(&m);
    b.ack_op[4][0].watermark = WEIR_NO_TIME;
    assert_int_equal(compose(&b, &m, 7, NULL, NULL), WR_OK);
    assert_int_equal(wr_manifest_find(&m, "count")->watermark, WEIR_NO_TIME);
    assert_int_equal(wr_manifest_find(&m, "count")->items, 1);
    wr_manifest_free(&m);
}

static void test_increments(void **state)
{
    (void)state;
    bench       b;
    wr_manifest first, second, third;
    begin(&b);
    answer(&b, 1);
    assert_int_equal(compose(&b, &first, 1, NULL, NULL), WR_OK);
    answer(&b, 2);
    b.ack[3].file.increment = b.ack[4].file.increment = true;
    assert_int_equal(compose(&b, &second, 2, &first, NULL), WR_OK);
    answer(&b, 5);
    b.ack[4].file.increment = true; /* subtask 0 writes all of it again */
    assert_int_equal(compose(&b, &third, 5, &second, NULL), WR_OK);
    wr_manifest_free(&first);
    wr_manifest_free(&second); /* what it names is copied */
    const wr_manifest_op *keyed = wr_manifest_find(&third, "count");
    assert_int_equal(keyed->layers, 4);
    expect_layer(keyed, 0, 5, 0, 0);
    expect_layer(keyed, 1, 1, 1, 0);
    expect_layer(keyed, 2, 2, 1, 1);
    expect_layer(keyed, 3, 5, 1, 2);
    wr_manifest_free(&third);
}

static void test_increment_to_nothing(void **state)
{
    (void)state;
    bench       b;
    wr_manifest first, second;
    wr_errinfo  info = {0};
    begin(&b);
    answer(&b, 2);
    b.ack[3].file.increment = true;
    assert_int_equal(compose(&b, &second, 2, NULL, &info), WR_INTERNAL);
    answer(&b, 1);
    assert_int_equal(compose(&b, &first, 1, NULL, NULL), WR_OK);
    answer(&b, 3);
    b.ack[3].file.increment = true;
    first.id = 2; /* not the base that the barrier named */
    b.ack[3].op[0].node = NODES;
    wr_errinfo_init(&info);
    assert_int_equal(compose(&b, &second, 3, &first, &info), WR_INTERNAL); /* an operator that is not there */
    wr_manifest_free(&first);
}

static void test_ended(void **state)
{
    (void)state;
    bench       b;
    wr_manifest m;
    begin(&b);
    answer(&b, 7);
    for (uint32_t i = 0; i < 4; i++) b.ack[i].ended = true;
    assert_int_equal(compose(&b, &m, 7, NULL, NULL), WR_OK);
    assert_false(m.ended);
    assert_true(wr_manifest_find(&m, "events")->ended);
    assert_false(wr_manifest_find(&m, "count")->ended); /* one of two */
    wr_manifest_free(&m);
    b.ack[4].ended = true;
    assert_int_equal(compose(&b, &m, 7, NULL, NULL), WR_OK);
    assert_true(m.ended && wr_manifest_find(&m, "count")->ended);
    wr_manifest_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full),       cmocka_unit_test(test_watermarks),
        cmocka_unit_test(test_increments), cmocka_unit_test(test_increment_to_nothing),
        cmocka_unit_test(test_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
