/* Two-phase sinks: what is prepared, kept, committed, recovered, and when. Barriers and completions come by hand. */
#include "base/sabotage.h"
#include "operators/kernels.h"
#include "operators/saver.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <weir/pipeline.h>

#include <cmocka.h>

WEIR_RECORD(number, (uint64_t, n))
WEIR_RECORD(chunk, (weir_str, name), (uint64_t, records))

/* What the sink was asked, and what it is to answer. */
static struct {
    char        log[4096];
    bool        opens, prepares, recovers;
    weir_commit verdict[8]; /* of the next commits */
    uint32_t    verdicts;
    uint64_t    chunks;
} w;

static void note(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void note(const char *format, ...)
{
    size_t  n = strlen(w.log);
    va_list args;
    va_start(args, format);
    vsnprintf(w.log + n, sizeof w.log - n, format, args);
    va_end(args);
}

typedef struct writer {
    uint64_t records;
} writer;
static bool store_open(writer *s, weir_ctx *ctx)
{
    const weir_sink_id *id = weir_sink_id_of(ctx);
    note("open %s %s %s %u/%u;", id->job, id->lineage, id->uid, id->subtask, id->subtasks);
    s->records = 0;
    return w.opens;
}
static void store_close(writer *s, weir_ctx *ctx)
{
    (void)s, (void)ctx;
    note("close;");
}
static bool store_prepare(writer *s, chunk_out *out, weir_ctx *ctx)
{
    (void)ctx;
    note("prepare;");
    char name[64];
    if (s->records > 0) {
        snprintf(name, sizeof name, "a name that does not lie in the string, chunk %llu",
                 (unsigned long long)++w.chunks);
        chunk_emit(out, (chunk){.name = weir_str_of(name, strlen(name)), .records = s->records});
    }
    s->records = 0;
    return w.prepares;
}
static void note_chunks(const char *what, const chunk *c, uint32_t n)
{
    note("%s", what);
    for (uint32_t i = 0; i < n; i++)
        note(" %c:%llu", weir_str_data(&c[i].name)[c[i].name.len - 1], (unsigned long long)c[i].records);
}
static weir_commit store_commit(writer *s, const chunk *c, uint32_t n, uint64_t snapshot, weir_ctx *ctx)
{
    (void)s, (void)ctx;
    note_chunks("commit", c, n);
    note(" at %llu;", (unsigned long long)snapshot);
    if (w.verdicts == 0) return WEIR_COMMITTED;
    weir_commit verdict = w.verdict[0];
    memmove(w.verdict, w.verdict + 1, --w.verdicts * sizeof verdict);
    return verdict;
}
static bool store_recover(writer *s, const weir_sink_id *id, const chunk *known, uint32_t n, weir_ctx *ctx)
{
    (void)s, (void)ctx;
    note("recover %u/%u", id->subtask, id->subtasks);
    note_chunks(":", known, n);
    note(";");
    return w.recovers;
}
WEIR_TWO_PHASE_SINK(store, number, in, writer, s, chunk, ctx, store_open, store_close, store_prepare, store_commit,
                    store_recover)
{
    (void)ctx, (void)in;
    s->records++;
}

/* One subtask of the sink, and what its barriers gave. */
typedef struct task {
    wr_home   home;
    wr_node   node;
    wr_op     op;
    wr_ack_op saved; /* of the last barrier */
} task;

static void forget_items(task *t)
{
    for (uint32_t i = 0; i < t->saved.items; i++) free(t->saved.item[i].data);
    free(t->saved.item);
    t->saved = (wr_ack_op){0};
}

static void make(task *t, uint32_t subtask, uint32_t subtasks, bool snapshots)
{
    memset(t, 0, sizeof *t);
    memset(&w, 0, sizeof w);
    w.opens = w.prepares = w.recovers = true;
    const wr_env *env = wr_env_real();
    t->home = (wr_home){.env = env, .job = "shop", .lineage = snapshots ? "L1" : "", .snapshots = snapshots};
    t->home.now_ns = env->wall_ns(env->self);
    t->node = (wr_node){.uid = "orders", .name = "orders", .op = &weir_op_store, .on_error = WEIR_FAIL};
    t->op = (wr_op){
        .def = &weir_op_store, .node = &t->node, .home = &t->home, .subtask = subtask, .subtasks = subtasks};
    assert_int_equal(wr_op_init(&t->op, NULL), WR_OK);
}

static void end(task *t)
{
    wr_op_fini(&t->op);
    wr_scratch_fini(&t->home.scratch);
    forget_items(t);
}

static void write_some(task *t, uint32_t n)
{
    number  records[16] = {{0}};
    wr_view view = {.records = (const char *)records, .n = n};
    wr_op_push(&t->op, &view, 0);
}

static wr_err barrier(task *t, uint64_t id, uint32_t kind)
{
    wr_barrier b = {.id = id, .kind = kind};
    wr_saver   saver = {.to = &t->saved, .from = t->op.subtask};
    forget_items(t);
    wr_err err = t->op.kernel->save(&t->op, &b, &saver, NULL);
    t->home.epoch = id;
    return err;
}

static void said(const char *log)
{
    assert_string_equal(w.log, log);
    w.log[0] = 0;
}

static void complete_commits_all_before(void **state)
{
    (void)state;
    task t;
    make(&t, 0, 1, true);
    assert_int_equal(wr_op_open(&t.op, NULL), WR_OK);
    said("open shop L1 orders 0/1;recover 0/1:;");
    write_some(&t, 3);
    assert_int_equal(barrier(&t, 5, WR_SNAPSHOT), WR_OK);
    assert_int_equal(t.saved.items, 1);
    write_some(&t, 4);
    t.op.kernel->complete(&t.op, 5);
    said("prepare;commit 1:3 at 5;");
    t.op.kernel->complete(&t.op, 5); /* repeated, late: nothing */
    t.op.kernel->complete(&t.op, 2);
    barrier(&t, 6, WR_SNAPSHOT); /* fails somewhere else: its committables come with the next */
    assert_int_equal(t.saved.items, 1);
    write_some(&t, 1);
    barrier(&t, 7, WR_SNAPSHOT);
    assert_int_equal(t.saved.items, 2);
    barrier(&t, 8, WR_SNAPSHOT); /* nothing written: prepared all the same, and the others are in it still */
    assert_int_equal(t.saved.items, 2);
    t.op.kernel->complete(&t.op, 7);
    said("prepare;prepare;prepare;commit 2:4 3:1 at 7;");
    t.op.kernel->complete(&t.op, 8);
    said("");
    end(&t);
    said("close;");
}

static void savepoints_do_not_commit(void **state)
{
    (void)state;
    task t;
    make(&t, 0, 1, true);
    wr_op_open(&t.op, NULL);
    write_some(&t, 2);
    barrier(&t, 1, WR_SAVEPOINT);
    assert_int_equal(t.saved.items, 1);
    write_some(&t, 2);
    w.log[0] = 0;
    barrier(&t, 2, WR_SNAPSHOT);
    assert_int_equal(t.saved.items, 2);
    t.op.kernel->complete(&t.op, 2);
    said("prepare;commit 1:2 2:2 at 2;");
    end(&t);
}

/* As the tasklet does before it is FINISHED: nobody waits within a call. */
static void settle(task *t, uint32_t ticks)
{
    for (; ticks > 0; ticks--) {
        assert_false(t->op.kernel->settled(&t->op));
        assert_true(t->op.due_mono_ns > t->home.mono_ns && t->op.due_mono_ns < INT64_MAX);
        t->home.mono_ns = t->op.due_mono_ns;
        t->op.kernel->tick(&t->op);
    }
    assert_true(t->op.kernel->settled(&t->op));
}

static void without_snapshots_the_end_commits(void **state)
{
    (void)state;
    task t;
    make(&t, 1, 2, false);
    wr_op_open(&t.op, NULL);
    said("open shop shop orders 1/2;recover 1/2:;");
    write_some(&t, 2);
    w.verdict[0] = w.verdict[1] = WEIR_RETRY;
    w.verdicts = 2;
    assert_true(wr_op_end(&t.op));
    assert_false(wr_op_failed(&t.op));
    said("prepare;commit 1:2 at 0;");
    settle(&t, 2);
    said("commit 1:2 at 0;commit 1:2 at 0;");
    end(&t);
    said("close;");
}

static void with_snapshots_the_last_one_commits(void **state)
{
    (void)state;
    task t;
    make(&t, 0, 1, true);
    wr_op_open(&t.op, NULL);
    write_some(&t, 2);
    w.log[0] = 0;
    assert_true(wr_op_end(&t.op));
    said("");
    barrier(&t, 9, WR_SNAPSHOT);
    w.verdict[0] = WEIR_RETRY;
    w.verdicts = 1;
    t.op.kernel->complete(&t.op, 9);
    said("prepare;commit 1:2 at 9;");
    settle(&t, 1); /* FINISHED comes before the retry was due: it is not finished without */
    said("commit 1:2 at 9;");
    end(&t);
    said("close;");
}

/* Stopped without an end: the last snapshot's commit is not forgotten. Canceled: nobody waits for it. */
static void stopped_or_canceled(void **state)
{
    (void)state;
    for (int canceled = 0; canceled < 2; canceled++) {
        task t;
        make(&t, 0, 1, true);
        wr_op_open(&t.op, NULL);
        write_some(&t, 2);
        barrier(&t, 9, WR_SNAPSHOT);
        w.verdict[0] = WEIR_RETRY;
        w.verdicts = 1;
        w.log[0] = 0;
        t.op.kernel->complete(&t.op, 9);
        said("commit 1:2 at 9;");
        if (!canceled) settle(&t, 1);
        if (!canceled) said("commit 1:2 at 9;");
        end(&t);
        said("close;");
    }
}

static void retries_are_due_later_and_end(void **state)
{
    (void)state;
    task t;
    make(&t, 0, 1, true);
    wr_op_open(&t.op, NULL);
    write_some(&t, 1);
    barrier(&t, 1, WR_SNAPSHOT);
    w.verdict[0] = WEIR_RETRY;
    w.verdicts = 1;
    w.log[0] = 0;
    assert_int_equal(t.op.due_mono_ns, INT64_MAX);
    t.op.kernel->complete(&t.op, 1);
    assert_true(t.op.due_mono_ns > t.home.mono_ns && t.op.due_mono_ns < INT64_MAX);
    write_some(&t, 1);
    barrier(&t, 2, WR_SNAPSHOT);
    t.op.kernel->complete(&t.op, 2); /* waits for the retry, and goes with it */
    t.op.kernel->tick(&t.op);
    said("commit 1:1 at 1;prepare;");
    t.home.mono_ns = t.op.due_mono_ns;
    t.op.kernel->tick(&t.op);
    said("commit 1:1 2:1 at 2;");
    assert_int_equal(t.op.due_mono_ns, INT64_MAX);
    write_some(&t, 1);
    barrier(&t, 3, WR_SNAPSHOT);
    t.op.kernel->complete(&t.op, 2);
    for (int i = 0; i < 100 && !wr_op_failed(&t.op); i++) {
        w.verdict[0] = WEIR_RETRY;
        w.verdicts = 1;
        if (i == 0)
            t.op.kernel->complete(&t.op, 3);
        else
            t.op.kernel->tick(&t.op);
        t.home.mono_ns = t.op.due_mono_ns;
    }
    assert_int_equal(t.op.failure.code, WR_USER_FAIL);
    assert_non_null(strstr(t.op.failure.text, "1 prepared write of snapshot 3 cannot be committed, and it was tried"));
    end(&t);
}

static void lost_fails_the_job(void **state)
{
    (void)state;
    task t;
    make(&t, 0, 1, true);
    wr_op_open(&t.op, NULL);
    write_some(&t, 1);
    barrier(&t, 1, WR_SNAPSHOT);
    w.verdict[0] = WEIR_LOST;
    w.verdicts = 1;
    t.op.kernel->complete(&t.op, 1);
    assert_int_equal(t.op.failure.code, WR_COMMIT_LOST);
    assert_int_equal(wr_err_reaction(WR_COMMIT_LOST), WR_FAIL_JOB);
    end(&t);
}

/* Takes a snapshot of two subtasks with one committable each, and gives it as a manifest's operator. */
static wr_manifest_op saved_by_two(wr_item item[2])
{
    wr_manifest_op saved = {.uid = "orders", .parallelism = 2, .item = item, .items = 2, .state = &weir_type_chunk};
    for (uint32_t i = 0; i < 2; i++) {
        task t;
        make(&t, i, 2, true);
        wr_op_open(&t.op, NULL);
        w.chunks = i + 4;
        write_some(&t, i + 1);
        barrier(&t, 7, WR_SNAPSHOT);
        assert_int_equal(t.saved.items, 1);
        item[i] = t.saved.item[0];
        t.saved.items = 0; /* the data are the manifest's now */
        end(&t);
    }
    return saved;
}

static void a_restart_commits_and_recovers(void **state)
{
    (void)state;
    wr_item        item[2];
    wr_manifest_op saved = saved_by_two(item);
    task           t;
    make(&t, 0, 1, true); /* one subtask takes over what were two */
    t.home.epoch = 7;
    assert_false(wr_two_phase_restored(&t.op));
    assert_int_equal(t.op.kernel->load(&t.op, &saved, "", NULL), WR_OK);
    said("");
    w.verdict[0] = WEIR_RETRY;
    w.verdicts = 1;
    assert_int_equal(wr_op_open(&t.op, NULL), WR_OK);
    assert_true(wr_two_phase_restored(&t.op));
    said("open shop L1 orders 0/1;commit 5:1 6:2 at 7;");
    /* Nobody waits within a call: its slot has other tasks. */
    assert_false(t.op.kernel->opened(&t.op));
    assert_true(wr_op_due_at(&t.op) == t.op.due_mono_ns && t.op.due_mono_ns > t.home.mono_ns);
    t.home.now_ns += INT64_C(3600000000000); /* whatever becomes of the wall clock */
    assert_false(wr_op_due(&t.op));
    t.op.kernel->tick(&t.op);
    said("");
    t.home.now_ns -= INT64_C(7200000000000);
    t.home.mono_ns = t.op.due_mono_ns;
    assert_true(wr_op_due(&t.op));
    t.op.kernel->tick(&t.op);
    said("commit 5:1 6:2 at 7;recover 0/1: 5:1 6:2;recover 1/1: 5:1 6:2;");
    assert_true(t.op.kernel->opened(&t.op));
    assert_true(wr_op_due_at(&t.op) == INT64_MAX);
    write_some(&t, 1);
    barrier(&t, 8, WR_SNAPSHOT);
    assert_int_equal(t.saved.items, 1); /* those of before are done */
    end(&t);
    for (uint32_t i = 0; i < 3; i++) { /* three subtasks: each committable has one owner */
        make(&t, i, 3, true);
        assert_int_equal(t.op.kernel->load(&t.op, &saved, "", NULL), WR_OK);
        assert_int_equal(wr_op_open(&t.op, NULL), WR_OK);
        said(i == 0   ? "open shop L1 orders 0/3;commit 5:1 at 0;recover 0/3: 5:1;"
             : i == 1 ? "open shop L1 orders 1/3;commit 6:2 at 0;recover 1/3: 6:2;"
                      : "open shop L1 orders 2/3;recover 2/3:;");
        end(&t);
    }
    for (uint32_t i = 0; i < 2; i++) free(item[i].data);
}

/* Closed while it is still trying, and never committed: the next start does it. */
static void canceled_while_it_opens(void **state)
{
    (void)state;
    wr_item        item[2];
    wr_manifest_op saved = saved_by_two(item);
    task           t;
    make(&t, 0, 1, true);
    assert_int_equal(t.op.kernel->load(&t.op, &saved, "", NULL), WR_OK);
    w.verdict[0] = WEIR_RETRY;
    w.verdicts = 1;
    assert_int_equal(wr_op_open(&t.op, NULL), WR_OK);
    w.log[0] = 0;
    end(&t);
    said("close;");
    for (uint32_t i = 0; i < 2; i++) free(item[i].data);
}

/* Of another folder, say: whose ids are far above those that the barriers of this one will have. */
static void ids_may_begin_below_the_restored_one(void **state)
{
    (void)state;
    wr_item        item[2];
    wr_manifest_op saved = saved_by_two(item);
    task           t;
    make(&t, 0, 1, true);
    t.home.epoch = 500;
    assert_int_equal(t.op.kernel->load(&t.op, &saved, "", NULL), WR_OK);
    assert_int_equal(wr_op_open(&t.op, NULL), WR_OK);
    write_some(&t, 3);
    w.log[0] = 0;
    barrier(&t, 1, WR_SNAPSHOT);
    t.op.kernel->complete(&t.op, 1);
    said("prepare;commit 1:3 at 1;");
    write_some(&t, 2);
    assert_true(wr_op_end(&t.op));
    barrier(&t, 2, WR_SNAPSHOT);
    end(&t); /* canceled: nobody has said that it is complete */
    said("prepare;close;");
    for (uint32_t i = 0; i < 2; i++) free(item[i].data);
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    wr_item        item[2];
    wr_manifest_op saved = saved_by_two(item);
    wr_errinfo     info = {0};
    task           t;
    saved.state = &weir_type_number;
    make(&t, 0, 1, true);
    assert_int_equal(t.op.kernel->load(&t.op, &saved, "", &info), WR_STATE);
    assert_non_null(strstr(info.text, "record number"));
    end(&t);
    said(""); /* never opened, never closed */
    saved.state = &weir_type_chunk;
    for (uint32_t n = 0; n < item[0].bytes; n++) { /* every truncation */
        wr_item        cut = {.kind = WR_ITEM_COMMITTABLE, .bytes = n, .data = item[0].data};
        wr_manifest_op less = saved;
        less.item = &cut;
        less.items = 1;
        make(&t, 0, 1, true);
        assert_int_equal(t.op.kernel->load(&t.op, &less, "", NULL), WR_DAMAGED);
        end(&t);
    }
    for (uint32_t i = 0; i < 2; i++) free(item[i].data);
}

static void false_fails_the_task(void **state)
{
    (void)state;
    wr_errinfo info = {0};
    task       t;
    make(&t, 0, 1, true);
    w.opens = false;
    assert_int_equal(wr_op_open(&t.op, &info), WR_USER_FAIL);
    assert_non_null(strstr(info.text, "the open function of the sink returned false; operator orders subtask 0"));
    end(&t);
    said("open shop L1 orders 0/1;close;");
    make(&t, 0, 1, true);
    w.recovers = false;
    assert_int_equal(wr_op_open(&t.op, NULL), WR_USER_FAIL);
    end(&t);
    make(&t, 0, 1, true);
    w.prepares = false;
    wr_op_open(&t.op, NULL);
    assert_int_equal(barrier(&t, 1, WR_SNAPSHOT), WR_USER_FAIL);
    assert_true(wr_op_failed(&t.op));
    end(&t);
}

/* The simulator's switches do what they say. */
static void sabotage(void **state)
{
    (void)state;
    task t;
    make(&t, 0, 1, true);
    wr_sabotage.skip_recover = wr_sabotage.commit_early = true;
    wr_op_open(&t.op, NULL);
    write_some(&t, 1);
    barrier(&t, 1, WR_SNAPSHOT);
    said("open shop L1 orders 0/1;prepare;commit 1:1 at 1;");
    wr_sabotage = (wr_sabotage_switches){.abort_committables = true};
    write_some(&t, 1);
    barrier(&t, 2, WR_SNAPSHOT);
    barrier(&t, 3, WR_SNAPSHOT);
    assert_int_equal(t.saved.items, 0);
    wr_sabotage = (wr_sabotage_switches){0};
    end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(complete_commits_all_before),
        cmocka_unit_test(savepoints_do_not_commit),
        cmocka_unit_test(without_snapshots_the_end_commits),
        cmocka_unit_test(with_snapshots_the_last_one_commits),
        cmocka_unit_test(stopped_or_canceled),
        cmocka_unit_test(retries_are_due_later_and_end),
        cmocka_unit_test(lost_fails_the_job),
        cmocka_unit_test(a_restart_commits_and_recovers),
        cmocka_unit_test(canceled_while_it_opens),
        cmocka_unit_test(ids_may_begin_below_the_restored_one),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(false_fails_the_task),
        cmocka_unit_test(sabotage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
