/* Event time over a restart: a job's answers to a barrier become a manifest, and another one, of another parallelism,
 * goes on from it: greatest times of splits are known wherever they are read, and nothing goes back. */
#include "graph/exec.h"
#include "taskmanager/slot.h"
#include "taskmanager/worker.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <weir/pipeline.h>

#include <cmocka.h>

enum { SPLITS = 5, TIMES = 16, SUBTASKS_MAX = 64 };
static const int64_t NONE = WEIR_NO_TIME;

static struct world {
    int64_t  time[SPLITS][TIMES];
    uint32_t count[SPLITS];
    uint32_t parallelism;
    char     folder[64];
    void (*build)(weir_pipeline *);
} world;

WEIR_RECORD(event, (uint64_t, key), (weir_time, at))
WEIR_RECORD(spring, (weir_str, name), (uint32_t, index), (uint64_t, given))
typedef struct bucket {
    int unused;
} bucket;
static void springs_of(spring_out *out, weir_ctx *ctx)
{
    for (uint32_t i = 0; i < SPLITS; i++)
        spring_emit(out, (spring){.name = weir_format(ctx, "the spring with the number %u", i), .index = i});
}
static bool bucket_open(const spring *split, bucket *b, weir_ctx *ctx)
{
    return split != NULL && b != NULL && ctx != NULL;
}
static void bucket_close(bucket *b)
{
    (void)b;
}
WEIR_SOURCE(well, spring, split, bucket, b, event, out, ctx, springs_of, bucket_open, bucket_close)
{
    (void)b;
    (void)ctx;
    uint32_t i = split->index;
    while (split->given < world.count[i] && weir_room(&out->out)) {
        event_emit(out, (event){.key = split->given, .at = {world.time[i][split->given]}});
        split->given++;
    }
    return WEIR_IDLE;
}
WEIR_MAP(pass, event, in, event, out)
{
    *out = *in;
    return true;
}
static bool drain_open(bucket *d, weir_ctx *ctx)
{
    return d != NULL && ctx != NULL;
}
static void drain_close(bucket *d, weir_ctx *ctx)
{
    (void)d;
    (void)ctx;
}
WEIR_SINK(sewer, event, in, bucket, d, ctx, drain_open, drain_open, drain_close)
{
    (void)d;
    if (weir_time_of(ctx).ns != in->at.ns) weir_fail(ctx, "a record lost its time");
}

static void build(weir_pipeline *p)
{
    event_stream in = weir_event_time(weir_read(well, p, .parallelism = world.parallelism), at, .max_delay = 10);
    event_stream passed = weir_apply(pass, weir_rebalance(in), .parallelism = world.parallelism);
    weir_write(sewer, passed, .blocking = WEIR_ON_SLOT, .parallelism = world.parallelism);
}

WEIR_STATE(tally, (uint64_t, n))
WEIR_KEYED(count, event, in, tally, state, event, out)
{
    state->n++;
    event_emit(out, *in);
}
static void build_keyed(weir_pipeline *p)
{
    event_stream in = weir_event_time(weir_read(well, p, .parallelism = world.parallelism), at, .max_delay = 10);
    event_stream counted = weir_apply(count, weir_key_by(in, key), .parallelism = world.parallelism);
    weir_write(sewer, counted, .blocking = WEIR_ON_SLOT, .parallelism = world.parallelism);
}

typedef struct run {
    weir_pipeline *pipeline;
    const wr_job  *job;
    wr_exec       *exec;
    wr_worker     *worker;
    wr_ack        *ack[SUBTASKS_MAX];
    uint32_t       acks;
} run;

static void settle(run *r)
{
    for (uint32_t quiet = 0; quiet < SPLITS + 3; quiet++) { /* each round asks one split of a reader */
        for (uint32_t i = 0; i < wr_worker_slots(r->worker); i++) {
            for (uint32_t k = 0; k < wr_worker_slot(r->worker, i)->tasklets; k++) {
                if (wr_worker_step(r->worker, i)) quiet = 0;
            }
        }
    }
    for (wr_task_event e; wr_worker_event(r->worker, &e);) {
        if (e.state == WR_TASK_FAILED) fail_msg("%s", e.info.text);
    }
}

static void begin(run *r, uint32_t parallelism, const wr_manifest *restore)
{
    wr_errinfo info = {0};
    memset(r, 0, sizeof *r);
    world.parallelism = parallelism;
    r->pipeline = wr_job_new("times", NULL, 0);
    world.build(r->pipeline);
    wr_job_settings   settings = {.parallelism_default = 1, .restore = restore};
    wr_worker_options options = {.env = wr_env_real(),
                                 .job = "times",
                                 .snapshots = world.folder,
                                 .lineage = "l",
                                 .restore = restore,
                                 .restore_folder = world.folder};
    if (wr_job_finish(r->pipeline, &settings, &r->job, &info) != WR_OK ||
        wr_exec_new(r->job, &r->exec, &info) != WR_OK || wr_worker_new(&r->worker, r->exec, &options, &info) != WR_OK) {
        fail_msg("%s", info.text);
    }
    settle(r);
    if (restore != NULL) wr_worker_go(r->worker);
    settle(r);
}

static void end(run *r)
{
    for (uint32_t i = 0; i < r->exec->subtasks; i++) wr_worker_cancel(r->worker, i);
    settle(r);
    for (uint32_t i = 0; i < r->acks; i++) wr_ack_free(r->ack[i]);
    wr_worker_free(r->worker);
    wr_exec_free(r->exec);
    wr_job_free(r->pipeline);
}

static int64_t watermark_of(const run *r, const char *uid, uint32_t subtask)
{
    for (uint32_t i = 0; i < r->job->nodes; i++) {
        if (strcmp(r->job->node[i].uid, uid) == 0) return wr_worker_op(r->worker, i, subtask)->watermark;
    }
    fail_msg("no operator %s", uid);
    return 0;
}

static void expect(const run *r, const char *uid, int64_t watermark)
{
    for (uint32_t i = 0; i < world.parallelism; i++) assert_int_equal(watermark_of(r, uid, i), watermark);
}

static void give(uint32_t split, int64_t time)
{
    world.time[split][world.count[split]++] = time;
}

/* All that the tasks have answered, as the coordinator puts it together. */
static void manifest_of(const run *r, wr_manifest *m)
{
    *m = (wr_manifest){.version = WR_MANIFEST_VERSION, .kind = WR_SNAPSHOT, .id = 1, .epoch = 1, .job = "times"};
    wr_arena_init(&m->arena);
    m->op = wr_arena_array(&m->arena, wr_manifest_op, r->job->nodes);
    m->ops = r->job->nodes;
    for (uint32_t i = 0; i < r->job->nodes; i++) {
        const wr_node  *node = &r->job->node[i];
        wr_manifest_op *op = &m->op[i];
        *op = (wr_manifest_op){.uid = wr_arena_str(&m->arena, node->uid),
                               .name = wr_arena_str(&m->arena, node->name),
                               .kind = node->op->kind,
                               .parallelism = node->parallelism,
                               .max_parallelism = node->max_parallelism,
                               .watermark = INT64_MAX,
                               .item = wr_arena_array(&m->arena, wr_item, 64),
                               .key = node->key[0],
                               .record = node->key[0].count > 0 ? node->op->left : NULL,
                               .state = node->op->state};
        for (uint32_t a = 0; a < r->acks; a++) {
            for (uint32_t k = 0; k < r->ack[a]->ops; k++) {
                const wr_ack_op *from = &r->ack[a]->op[k];
                if (from->node != i) continue;
                if (from->watermark < op->watermark) op->watermark = from->watermark;
                for (uint32_t n = 0; n < from->items; n++) {
                    wr_item *item = &op->item[op->items++];
                    *item = from->item[n];
                    item->data = wr_arena_copy(&m->arena, item->data, item->bytes);
                }
            }
        }
    }
}

static void snapshot(run *r, wr_manifest *m)
{
    wr_worker_trigger(r->worker, &(wr_barrier){.id = 1, .kind = WR_SNAPSHOT, .epoch = 1});
    settle(r);
    for (wr_ack *ack; (ack = wr_worker_ack(r->worker)) != NULL;) {
        assert_false(ack->declined);
        r->ack[r->acks++] = ack;
    }
    assert_int_equal(r->acks, r->exec->subtasks);
    manifest_of(r, m);
}

static void test_time_goes_on_at_any_parallelism(void **state)
{
    (void)state;
    static const uint32_t widths[] = {1, 2, 3, 7};
    for (uint32_t from = 0; from < 4; from++) {
        for (uint32_t to = 0; to < 4; to++) {
            run         r;
            wr_manifest m;
            memset(world.count, 0, sizeof world.count);
            begin(&r, widths[from], NULL);
            for (uint32_t i = 0; i < SPLITS; i++) give(i, 1000 + 100 * i);
            settle(&r);
            expect(&r, "pass", 1000 - 11);
            snapshot(&r, &m);
            give(0, 9000); /* after the barrier: it will be read again */
            settle(&r);
            assert_true(watermark_of(&r, "pass", 0) >= 1100 - 11);
            end(&r);

            world.count[0] = 1;
            begin(&r, widths[to], &m);
            expect(&r, "pass", 989); /* before any record */
            expect(&r, "sewer", 989);
            give(1, 500); /* far too late: nothing goes back, and the split's greatest time stays */
            settle(&r);
            expect(&r, "pass", 989);
            give(0, 1350); /* the others' greatest times are known, though they give nothing now */
            settle(&r);
            expect(&r, "pass", 1100 - 11);
            give(1, 2000);
            settle(&r);
            expect(&r, "sewer", 1200 - 11);
            end(&r);
            wr_arena_fini(&m.arena);
        }
    }
}

/* A split that had said nothing yet holds time back after the restart as it did before. */
static void test_nothing_known_stays_so(void **state)
{
    (void)state;
    run         r;
    wr_manifest m;
    memset(world.count, 0, sizeof world.count);
    begin(&r, 2, NULL);
    for (uint32_t i = 1; i < SPLITS; i++) give(i, 1000);
    settle(&r);
    expect(&r, "pass", NONE);
    snapshot(&r, &m);
    end(&r);
    begin(&r, 3, &m);
    for (uint32_t i = 1; i < SPLITS; i++) give(i, 5000);
    settle(&r);
    expect(&r, "pass", NONE);
    give(0, 2000);
    settle(&r);
    expect(&r, "pass", 1989);
    end(&r);
    wr_arena_fini(&m.arena);
}

/* As compose puts it together when subtasks had come to different times: s of them had come to 1000 + 100 s. */
static void say_apart(wr_manifest *m, uint32_t subtasks)
{
    wr_manifest_op *op = (wr_manifest_op *)(uintptr_t)wr_manifest_find(m, "count");
    for (uint32_t i = 0; i < m->ops; i++) m->op[i].watermark = NONE;
    op->watermark = 1000;
    for (uint32_t s = 1; s < subtasks; s++) {
        int64_t at = 1000 + 100 * (int64_t)s;
        op->item[op->items++] = (wr_item){
            .kind = WR_ITEM_WATERMARK, .from = s, .bytes = 8, .data = wr_arena_copy(&m->arena, &at, 8)};
    }
}

/* For no key does event time go back: each subtask begins where those were whose keys it has now. */
static void test_subtasks_that_were_apart(void **state)
{
    (void)state;
    static const uint32_t widths[] = {1, 2, 3, 7};
    world.build = build_keyed;
    for (uint32_t from = 0; from < 4; from++) {
        for (uint32_t to = 0; to < 4; to++) {
            run         r;
            wr_manifest m;
            memset(world.count, 0, sizeof world.count);
            begin(&r, widths[from], NULL);
            manifest_of(&r, &m);
            end(&r);
            say_apart(&m, widths[from]);
            begin(&r, widths[to], &m);
            for (uint32_t s = 0; s < widths[to]; s++) {
                wr_key_groups own = wr_key_groups_of(s, widths[to], 128);
                uint32_t      last = wr_subtask_of(own.end - 1, widths[from], 128);
                assert_int_equal(watermark_of(&r, "count", s), 1000 + 100 * last);
                if (widths[to] == widths[from]) assert_int_equal(watermark_of(&r, "sewer", s), 1000 + 100 * s);
            }
            for (uint32_t i = 0; i < SPLITS; i++) give(i, 9010 + 1);
            settle(&r);
            expect(&r, "count", 9000);
            end(&r);
            wr_arena_fini(&m.arena);
        }
    }
    world.build = build;
}

static int make_folder(void **state)
{
    (void)state;
    world.build = build;
    snprintf(world.folder, sizeof world.folder, "/tmp/weir-time-XXXXXX");
    return mkdtemp(world.folder) != NULL ? 0 : -1;
}
static int drop_folder(void **state)
{
    (void)state;
    return rmdir(world.folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_time_goes_on_at_any_parallelism),
        cmocka_unit_test(test_nothing_known_stays_so),
        cmocka_unit_test(test_subtasks_that_were_apart),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
