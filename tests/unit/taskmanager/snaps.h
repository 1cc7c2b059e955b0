/* tests/unit/taskmanager/snaps.h: jobs whose records are all counted, stepped by hand in one thread; snapshots of them
 * put together from the answers of their tasks; restarts from those at any parallelism.
 *
 * Two things are looked at. The cut: what the sinks had when they answered is exactly what the sources had given when
 * they did. And the state: after a restart, counts and sums by key at the end are those of a run without a crash. */
#ifndef WR_TESTS_TASKMANAGER_SNAPS_H
#define WR_TESTS_TASKMANAGER_SNAPS_H
#include "base/prng.h"
#include "graph/exec.h"
#include "operators/op.h"
#include "taskmanager/slot.h"
#include "wire/record.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <weir/pipeline.h>

#include <cmocka.h>

enum snaps_shape { SNAPS_ROUTE, SNAPS_UNION, SNAPS_DIAMOND, SNAPS_SIDE, SNAPS_SHAPES };
enum {
    SNAPS_SPLITS = 6,
    SNAPS_SUBTASKS = 64,
    SNAPS_KEYS = 41,
    SNAPS_KEYS_MAX = 4096,
    SNAPS_STEPS_MAX = 3000000,
    SNAPS_WORKERS = 4
};

/* What runs, and what it saw. Stepped: one thread. With threads: each member is written by one of them. */
typedef struct snaps_world {
    uint32_t shape, route, splits, keys;
    uint32_t source_parallelism, parallelism, sink_parallelism;
    bool     keyed, own, names;         /* names: splits have long strings */
    bool     threads;                   /* the worker runs on its own: what sinks saw is not looked at before its end */
    bool     discovers;                 /* sources look for more splits for ever */
    uint32_t scribes;                   /* with threads: who writes */
    uint32_t workers;                   /* above 1: so many, with sockets between them; which slot is where is drawn */
    bool     tagged;                    /* records have long strings, which the sinks look at */
    uint64_t records[2 * SNAPS_SPLITS]; /* of each split; those of source b from SNAPS_SPLITS on */
    uint64_t may[2 * SNAPS_SPLITS];     /* so far it may read now */
    bool     enumerated[2];             /* by source: a, b */
    uint64_t seen[SNAPS_SUBTASKS], sum[SNAPS_SUBTASKS]; /* by sinks */
    uint64_t best[SNAPS_KEYS], best_sum[SNAPS_KEYS], last[SNAPS_KEYS];
    uint64_t disorder, wrong_tags;
    uint64_t durable; /* the greatest position that was called durable, of split 0 */
} snaps_world;
static snaps_world   snaps;
static const wr_env *snaps_env; /* NULL: the real one */

WEIR_RECORD(num, (uint32_t, key), (uint64_t, value), (weir_str, tag), (bool, odd))
WEIR_RECORD(total, (uint32_t, key), (uint64_t, n), (uint64_t, sum), (weir_str, tag))
WEIR_RECORD(range, (weir_str, name), (uint32_t, index), (uint64_t, at))
WEIR_STATE(totals, (uint64_t, n), (uint64_t, sum))

static char snaps_name[2 * SNAPS_SPLITS][64];

static void ranges_of(range_out *out, weir_ctx *ctx)
{
    uint32_t me = (uint32_t)weir_arg_i64(weir_ctx_args(ctx), "me", 0);
    for (uint32_t i = me * SNAPS_SPLITS; i < me * SNAPS_SPLITS + snaps.splits; i++) {
        int n = snprintf(snaps_name[i], sizeof snaps_name[i], snaps.names ? "the range with the number %u" : "r%u", i);
        range_emit(out, (range){.name = weir_str_of(snaps_name[i], (size_t)n), .index = i});
    }
}
/* What a record of that value has: the end of a long text, or of a short one. */
static const char snaps_text[] = "a text that is longer than what lies inside of a string, and ends in different ways";
static weir_str   snaps_tag(uint64_t value)
{
    return snaps.tagged ? weir_str_of(snaps_text + value % 75, sizeof snaps_text - 1 - value % 75) : (weir_str){0};
}

typedef struct ranger {
    uint64_t at;
} ranger;
static bool ranger_open(const range *split, ranger *r, weir_ctx *ctx)
{
    (void)ctx;
    r->at = split->at;
    return true;
}
static void ranger_close(ranger *r)
{
    (void)r;
}
static void ranger_durable(const range *split, ranger *r)
{
    assert_true(split->at <= r->at);
    if (split->index == 0 && split->at > snaps.durable) snaps.durable = split->at;
}
WEIR_SOURCE(numbers, range, split, ranger, r, num, out, ctx, ranges_of, ranger_open, ranger_close, ranger_durable)
{
    (void)ctx;
    uint64_t end = snaps.records[split->index], may = snaps.may[split->index];
    for (int n = 0; r->at < end && r->at < may && n < 50 && weir_room(&out->out); n++) {
        num_emit(out, (num){.key = (uint32_t)((r->at * 7 + split->index) % snaps.keys),
                            .value = r->at + 1,
                            .tag = snaps_tag(r->at + 1),
                            .odd = r->at % 2 == 0});
        r->at++;
    }
    split->at = r->at;
    if (r->at == end) return WEIR_END;
    return r->at < may ? WEIR_MORE : WEIR_IDLE;
}

WEIR_MAP(same, num, in, num, out)
{
    *out = *in;
    return true;
}
WEIR_OUTPUTS(halves, (num, even), (num, odd))
WEIR_FLAT_MAP(halve, num, in, halves, out)
{
    if (!in->odd)
        num_emit(&out->even, *in);
    else
        num_emit(&out->odd, *in);
}
WEIR_KEYED(sum_up, num, in, totals, st, total, out)
{
    st->sum += in->value;
    weir_str tag = snaps_tag(in->value);
    bool     right = weir_str_equal(&tag, &in->tag) && in->odd == (in->value % 2 == 1);
    total_emit(out, (total){.key = in->key, .n = ++st->n, .sum = st->sum, .tag = right ? in->tag : weir_lit("wrong")});
}
WEIR_MAP(alone, num, in, total, out)
{
    *out = (total){.key = in->key, .n = 0, .sum = in->value, .tag = in->tag};
    return true;
}

typedef struct looker {
    uint32_t subtask;
} looker;
static bool looker_open(looker *l, weir_ctx *ctx)
{
    l->subtask = weir_subtask(ctx);
    return true;
}
static bool looker_flush(looker *l, weir_ctx *ctx)
{
    return l != NULL && ctx != NULL;
}
static void looker_close(looker *l, weir_ctx *ctx)
{
    (void)l;
    (void)ctx;
}
/* sums by key grow one by one. */
WEIR_SINK(looked, total, in, looker, l, ctx, looker_open, looker_flush, looker_close)
{
    (void)ctx;
    weir_str tag = snaps_tag(in->sum);
    if (in->n == 0 ? !weir_str_equal(&tag, &in->tag) : in->tag.len == 5) snaps.wrong_tags++;
    snaps.seen[l->subtask]++;
    snaps.sum[l->subtask] += in->n == 0 ? in->sum : 0;
    if (in->n == 0 || in->key >= SNAPS_KEYS) return;
    if (snaps.last[in->key] != 0 && in->n != snaps.last[in->key] + 1) snaps.disorder++;
    snaps.last[in->key] = in->n;
    if (in->n > snaps.best[in->key]) {
        snaps.best[in->key] = in->n;
        snaps.best_sum[in->key] = in->sum;
    }
}

static num_stream snaps_route(num_stream s)
{
    switch (snaps.route) {
    case WEIR_ROUTE_REBALANCE: return weir_rebalance(s);
    case WEIR_ROUTE_RESCALE: return weir_rescale(s);
    case WEIR_ROUTE_SHUFFLE: return weir_shuffle(s);
    case WEIR_ROUTE_GLOBAL: return weir_global(s);
    case WEIR_ROUTE_BROADCAST: return weir_broadcast(s);
    default: return s;
    }
}

static void snaps_build(weir_pipeline *p)
{
    uint32_t   n = snaps.parallelism;
    uint32_t   where = snaps.own ? WEIR_OWN_THREAD : WEIR_ON_SLOT;
    num_stream a = weir_read(numbers, p, .uid = "a", .parallelism = snaps.source_parallelism, .args = "me=0",
                             .discover_every = snaps.discovers ? 100 * WEIR_MICROSECOND : 0);
    num_stream both;
    if (snaps.shape == SNAPS_ROUTE) {
        both = snaps_route(a);
    } else if (snaps.shape == SNAPS_UNION) {
        num_stream b = weir_read(numbers, p, .uid = "b", .parallelism = 1, .args = "me=1");
        both = weir_union(snaps_route(a), snaps_route(b));
    } else if (snaps.shape == SNAPS_DIAMOND) {
        num_stream left = weir_apply(same, snaps_route(a), .uid = "left", .parallelism = n);
        num_stream right = weir_apply(same, weir_rebalance(a), .uid = "right", .parallelism = n + 1);
        both = weir_union(left, weir_rebalance(right));
    } else {
        halves_streams h = weir_apply(halve, snaps_route(a), .uid = "halve", .parallelism = n);
        both = weir_union(h.even, weir_apply(same, weir_rebalance(h.odd), .uid = "odd", .parallelism = n));
    }
    num_stream   mid = weir_apply(same, both, .uid = "mid", .parallelism = n, .blocking = where);
    total_stream end = snaps.keyed ? weir_apply(sum_up, weir_key_by(mid, key), .uid = "sums", .parallelism = n)
                                   : weir_apply(alone, mid, .uid = "alone", .parallelism = n);
    weir_write(looked, end, .uid = "end", .blocking = where, .parallelism = snaps.sink_parallelism);
}

/* How often each record reaches the sinks. */
static uint64_t snaps_times(void)
{
    uint64_t broadcast = snaps.route == WEIR_ROUTE_BROADCAST ? snaps.parallelism : 1;
    return snaps.shape == SNAPS_DIAMOND ? broadcast + 1 : broadcast;
}

/* One snapshot, as far as answers came. */
typedef struct snaps_shot {
    wr_barrier barrier;
    wr_ack    *ack[SNAPS_SUBTASKS * 4];
    uint32_t   acked, declined, phase;
    wr_errinfo why;          /* the last one declined */
    uint64_t   cut, cut_sum; /* what the sinks had when they answered */
} snaps_shot;

enum { SNAPS_SHOTS = 16 };
typedef struct snaps_run {
    weir_pipeline *pipeline;
    const wr_job  *job;
    wr_exec       *exec;
    wr_worker     *worker, *more[SNAPS_WORKERS]; /* more: all of them, this one first */
    uint32_t       workers;
    wr_prng        random;
    wr_errinfo     failure;
    uint32_t       in[WR_TASK_FAILED + 1]; /* tasks by state */
    uint32_t       state[SNAPS_SUBTASKS * 4];
    snaps_shot     shot[SNAPS_SHOTS];
    uint32_t       shots;
    uint64_t       from, from_sum; /* positions at the restart */
    char           folder[64];
} snaps_run;

#define SNAPS_EACH(RUN, W)                                                                                             \
    for (uint32_t W##_ = 0; W##_ < (RUN)->workers; W##_++)                                                             \
        for (wr_worker *W = (RUN)->more[W##_]; W != NULL; W = NULL)

static snaps_shot *snaps_shot_of(snaps_run *r, uint64_t id)
{
    for (uint32_t i = 0; i < r->shots; i++) {
        if (r->shot[i].barrier.id == id) return &r->shot[i];
    }
    return NULL;
}

static const wr_node *snaps_node(const snaps_run *r, const char *uid)
{
    for (uint32_t i = 0; i < r->job->nodes; i++) {
        if (strcmp(r->job->node[i].uid, uid) == 0) return &r->job->node[i];
    }
    fail_msg("no node %s", uid);
    return NULL;
}

static void snaps_take_ack(snaps_run *r, wr_ack *ack)
{
    snaps_shot *s = snaps_shot_of(r, ack->id);
    if (s == NULL) { /* of one that was called off long ago */
        assert_true(snaps.threads);
        wr_ack_free(ack);
        return;
    }
    if (ack->declined) {
        s->declined++;
        s->phase = ack->phase;
        s->why = ack->info;
        wr_ack_free(ack);
        return;
    }
    assert_null(s->ack[ack->subtask]); /* once */
    s->ack[ack->subtask] = ack;
    s->acked++;
    uint32_t sink = snaps_node(r, "end")->id;
    for (uint32_t i = 0; i < ack->ops && !snaps.threads; i++) {
        if (ack->op[i].node != sink) continue;
        uint32_t subtask = r->exec->subtask[ack->subtask].index;
        s->cut += snaps.seen[subtask];
        s->cut_sum += snaps.sum[subtask];
    }
}

static void snaps_listen(snaps_run *r)
{
    SNAPS_EACH(r, w) for (wr_task_event e; wr_worker_event(w, &e);)
    {
        r->in[r->state[e.subtask]]--;
        r->in[r->state[e.subtask] = e.state]++;
        if (e.state == WR_TASK_FAILED && r->failure.code == WR_OK) r->failure = e.info;
    }
    SNAPS_EACH(r, w) for (wr_ack *a; (a = wr_worker_ack(w)) != NULL;) snaps_take_ack(r, a);
}

/* Both ends of a new connection over the loopback. */
static void snaps_socket_pair(int socket[2])
{
    const wr_env *env = wr_env_real();
    char          address[32];
    int           listener = env->listen(env->self, "127.0.0.1:0");
    snprintf(address, sizeof address, "127.0.0.1:%d", env->port_of(env->self, listener));
    socket[0] = env->connect(env->self, address);
    do socket[1] = env->accept(env->self, listener);
    while (socket[1] < 0);
    env->hang_up(env->self, listener);
}

static void snaps_connect(snaps_run *r, const uint32_t *worker_of)
{
    uint32_t slot, remote;
    SNAPS_EACH(r, w) for (uint32_t i = 0; wr_worker_remote(w, i, &slot, &remote); i++)
    {
        if (slot > remote) continue;
        int socket[2];
        snaps_socket_pair(socket);
        wr_worker_connect(w, slot, remote, socket[0]);
        wr_worker_connect(r->more[worker_of[remote]], remote, slot, socket[1]);
    }
    SNAPS_EACH(r, w) assert_true(wr_worker_connected(w));
}

/* Which slots a worker has is drawn, so that all ways of sharing come. */
static void snaps_cluster(snaps_run *r, wr_worker_options options)
{
    wr_errinfo info = {0};
    bool       here[SNAPS_WORKERS][SNAPS_SUBTASKS] = {{false}};
    uint32_t   worker_of[SNAPS_SUBTASKS];
    assert_true(r->exec->slots <= SNAPS_SUBTASKS && snaps.workers <= SNAPS_WORKERS);
    for (uint32_t i = 0; i < r->exec->slots; i++) {
        worker_of[i] = i < snaps.workers ? i : (uint32_t)wr_prng_below(&r->random, snaps.workers);
        here[worker_of[i]][i] = true;
    }
    options.job_id = 0x1234567890;
    options.attempt = 7;
    options.wait_go = true;
    for (; r->workers < snaps.workers; r->workers++) {
        options.here = here[r->workers];
        if (wr_worker_new(&r->more[r->workers], r->exec, &options, &info) != WR_OK) fail_msg("%s", info.text);
    }
    r->worker = r->more[0];
    snaps_connect(r, worker_of);
}

static void snaps_new(snaps_run *r, uint64_t seed, const char *folder, const wr_manifest *restore, uint32_t slots)
{
    wr_errinfo info = {0};
    *r = (snaps_run){.random = wr_prng_of(seed)};
    memset(snaps.seen, 0, sizeof snaps.seen);
    memset(snaps.sum, 0, sizeof snaps.sum);
    memset(snaps.last, 0, sizeof snaps.last);
    r->pipeline = wr_job_new("snaps", NULL, 0);
    snaps_build(r->pipeline);
    wr_job_settings   settings = {.parallelism_default = slots};
    wr_worker_options options = {.env = snaps_env != NULL ? snaps_env : wr_env_real(),
                                 .job = "snaps",
                                 .seed = seed,
                                 .scribes = snaps.scribes,
                                 .snapshots = folder,
                                 .lineage = "l",
                                 .restore = restore};
    if (wr_job_finish(r->pipeline, &settings, &r->job, &info) != WR_OK || wr_exec_new(r->job, &r->exec, &info) != WR_OK)
        fail_msg("%s", info.text);
    if (snaps.workers > 1) {
        snaps_cluster(r, options);
    } else {
        if (wr_worker_new(&r->worker, r->exec, &options, &info) != WR_OK) fail_msg("%s", info.text);
        r->more[r->workers++] = r->worker;
    }
    assert_true(r->exec->subtasks <= SNAPS_SUBTASKS * 4);
    for (uint32_t i = 0; i < r->exec->subtasks; i++) r->state[i] = WR_TASK_CREATED;
    r->in[WR_TASK_CREATED] = r->exec->subtasks;
}

WEIR_UNUSED_ static void snaps_step(snaps_run *r)
{
    wr_worker *w = r->workers > 1 ? r->more[wr_prng_below(&r->random, r->workers)] : r->worker;
    wr_worker_step(w, (uint32_t)wr_prng_below(&r->random, wr_worker_slots(w)));
    snaps_listen(r);
}

/* Steps in a random order until nothing has happened for a while. */
WEIR_UNUSED_ static void snaps_settle(snaps_run *r)
{
    uint32_t slots = wr_worker_slots(r->worker);
    for (uint32_t quiet = 0; quiet < 2;) {
        for (uint32_t i = 0; i < 4 * slots; i++) snaps_step(r);
        quiet++;
        for (uint32_t i = 0; i < slots; i++) {
            for (uint32_t k = 0; k < wr_worker_slot(r->worker, i)->tasklets; k++) {
                if (wr_worker_step(r->worker, i)) quiet = 0;
                snaps_listen(r);
            }
        }
    }
}

static uint32_t snaps_at_least(const snaps_run *r, wr_task_state state)
{
    uint32_t n = 0;
    for (uint32_t i = state; i <= WR_TASK_FAILED; i++) n += r->in[i];
    return n;
}

/* Until all tasks are in this state, or in a later one. */
WEIR_UNUSED_ static void snaps_all_in(snaps_run *r, wr_task_state state)
{
    for (uint32_t i = 0; snaps_at_least(r, state) < r->exec->subtasks; i++) {
        if (r->failure.code != WR_OK) fail_msg("%s", r->failure.text);
        if (i == SNAPS_STEPS_MAX) {
            for (uint32_t k = 0; k < r->exec->subtasks; k++)
                printf("%s %u: %s\n", r->exec->vertex[r->exec->subtask[k].vertex].name, r->exec->subtask[k].index,
                       wr_task_state_name(r->state[k]));
            fail_msg("not all tasks are %s", wr_task_state_name(state));
        }
        snaps_step(r);
    }
}

static snaps_shot *snaps_trigger(snaps_run *r, wr_barrier barrier)
{
    assert_true(r->shots < SNAPS_SHOTS);
    snaps_shot *s = &r->shot[r->shots++];
    *s = (snaps_shot){.barrier = barrier};
    SNAPS_EACH(r, w) wr_worker_trigger(w, &barrier);
    return s;
}

WEIR_UNUSED_ static void snaps_take(snaps_run *r, snaps_shot *s)
{
    for (uint32_t i = 0; s->acked < r->exec->subtasks; i++) {
        if (s->declined > 0) fail_msg("%s", s->why.text);
        if (r->failure.code != WR_OK) fail_msg("%s", r->failure.text);
        assert_true(i < SNAPS_STEPS_MAX);
        snaps_step(r);
    }
}

/* Positions of all splits in the answers. Each split is in exactly one place. */
WEIR_UNUSED_ static void snaps_positions(snaps_run *r, const snaps_shot *s, uint64_t *records, uint64_t *sum,
                                         uint32_t *splits)
{
    *records = *sum = 0;
    *splits = 0;
    uint32_t found = 0;
    bool     ran[2] = {false}; /* the enumerators of a and b, when they answered */
    for (uint32_t i = 0; i < r->exec->subtasks; i++) {
        for (uint32_t k = 0; k < s->ack[i]->ops; k++) {
            const wr_ack_op *op = &s->ack[i]->op[k];
            const char      *uid = r->job->node[op->node].uid;
            for (uint32_t n = 0; n < op->items; n++) {
                if (op->item[n].kind == WR_ITEM_OWN) ran[strcmp(uid, "b") == 0] = true;
            }
            for (uint32_t n = 0; n < op->items; n++) {
                range at;
                if (op->item[n].kind != WR_ITEM_SPLIT && op->item[n].kind != WR_ITEM_ENUMERATOR) continue;
                assert_true(wr_record_decode(&weir_type_range, op->item[n].data, op->item[n].bytes, &at));
                assert_int_equal(found >> at.index & 1, 0);
                found |= 1u << at.index;
                *records += at.at;
                *sum += at.at * (at.at + 1) / 2;
                ++*splits;
            }
        }
    }
    /* What is nowhere was read to its end, if it was listed at all. */
    uint32_t of_b = snaps.shape == SNAPS_UNION ? snaps.splits : 0;
    for (uint32_t i = 0; i < SNAPS_SPLITS + of_b; i++) {
        if ((i >= snaps.splits && i < SNAPS_SPLITS) || (found >> i & 1) || snaps.may[i] < snaps.records[i]) continue;
        if (!ran[i / SNAPS_SPLITS]) continue;
        *records += snaps.records[i];
        *sum += snaps.records[i] * (snaps.records[i] + 1) / 2;
    }
}

WEIR_UNUSED_ static void snaps_free_shots(snaps_run *r)
{
    for (uint32_t i = 0; i < r->shots; i++) {
        for (uint32_t k = 0; k < r->exec->subtasks; k++) wr_ack_free(r->shot[i].ack[k]);
    }
    r->shots = 0;
}

/* Ends it however it stands. */
WEIR_UNUSED_ static void snaps_free(snaps_run *r)
{
    SNAPS_EACH(r, w)
    {
        for (uint32_t i = 0; i < r->exec->subtasks; i++) wr_worker_cancel(w, i);
        for (uint32_t i = 0; !wr_worker_done(w); i++) wr_worker_step(w, i % wr_worker_slots(w));
    }
    snaps_free_shots(r);
    SNAPS_EACH(r, w) wr_worker_free(w);
    wr_exec_free(r->exec);
    wr_job_free(r->pipeline);
}

WEIR_UNUSED_ static void snaps_reset(uint32_t shape, uint32_t route, uint32_t parallelism, uint64_t records)
{
    memset(&snaps, 0, sizeof snaps);
    snaps.shape = shape;
    snaps.route = route;
    snaps.splits = 3;
    snaps.keys = SNAPS_KEYS;
    snaps.source_parallelism = 2;
    snaps.parallelism = parallelism;
    snaps.sink_parallelism = parallelism;
    for (uint32_t i = 0; i < 2 * SNAPS_SPLITS; i++) {
        snaps.records[i] = records;
        snaps.may[i] = UINT64_MAX;
    }
}

/* ---- the test's own folder ---- */

static char snaps_folder[64];

static bool snaps_remove(void *arg, const char *name)
{
    (void)arg;
    char path[512];
    snprintf(path, sizeof path, "%s/%s", snaps_folder, name);
    unlink(path);
    return true;
}

WEIR_UNUSED_ static bool snaps_folder_make(void)
{
    snprintf(snaps_folder, sizeof snaps_folder, "/tmp/weir-snaps-XXXXXX");
    return mkdtemp(snaps_folder) != NULL;
}

/* With all that lies in it. */
WEIR_UNUSED_ static int snaps_folder_drop(void)
{
    const wr_env *env = wr_env_real();
    env->list(env->self, snaps_folder, snaps_remove, NULL);
    return rmdir(snaps_folder);
}

/* How many of the tasks with state mark what changes. */
WEIR_UNUSED_ static uint32_t snaps_marking(const snaps_run *r)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < wr_worker_slots(r->worker); i++) {
        const wr_slot *slot = wr_worker_slot(r->worker, i);
        for (uint32_t k = 0; k < slot->tasklets; k++) {
            const wr_capture_state *c = &slot->tasklet[k]->barriers.capture;
            n += c->named_by != 0 && c->chain.marking;
        }
    }
    return n;
}

/* ---- restarts ---- */

static const wr_manifest_layer *snaps_layer(const wr_manifest_op *op, uint32_t from, uint32_t *at)
{
    for (; op != NULL && *at < op->layers; ++*at) {
        if (op->layer[*at].from == from) return &op->layer[(*at)++];
    }
    return NULL;
}

static void snaps_add_layers(wr_manifest *m, wr_manifest_op *op, const wr_ack *ack, uint32_t from,
                             const wr_manifest *base)
{
    uint32_t                 at = 0, order = 0;
    const wr_manifest_op    *below = base != NULL ? wr_manifest_find(base, op->uid) : NULL;
    const wr_manifest_layer *layer;
    while (ack->file.increment && (layer = snaps_layer(below, from, &at)) != NULL) {
        op->layer[op->layers++] = *layer;
        order = layer->order + 1;
    }
    assert_true(!ack->file.increment || order > 0);
    op->layer[op->layers++] = (wr_manifest_layer){.file = ack->file, .snapshot = m->id, .from = from, .order = order};
}

static void snaps_add_op(wr_manifest *m, const wr_ack *ack, const wr_ack_op *from_ack, const wr_node *node,
                         uint32_t subtask, const wr_manifest *base)
{
    wr_manifest_op *op = (wr_manifest_op *)(uintptr_t)wr_manifest_find(m, node->uid);
    if (op == NULL) {
        op = &m->op[m->ops++];
        *op = (wr_manifest_op){.uid = wr_arena_str(&m->arena, node->uid),
                               .name = wr_arena_str(&m->arena, node->name),
                               .kind = node->op->kind,
                               .parallelism = node->parallelism,
                               .max_parallelism = node->max_parallelism,
                               .ended = true,
                               .watermark = INT64_MAX,
                               .record = node->op->left,
                               .state = node->op->state,
                               .key = node->key[0]};
        op->item = wr_arena_array(&m->arena, wr_item, 256);
        op->layer = wr_arena_array(&m->arena, wr_manifest_layer, 1024);
    }
    op->ended &= ack->ended;
    if (from_ack->watermark < op->watermark) op->watermark = from_ack->watermark;
    for (uint32_t i = 0; i < from_ack->items; i++) {
        wr_item *item = &op->item[op->items++];
        *item = from_ack->item[i];
        item->data = wr_arena_copy(&m->arena, item->data, item->bytes);
        assert_true(op->items < 256);
    }
    if (from_ack->table) snaps_add_layers(m, op, ack, subtask, base);
}

/* Of answers that all came; base: the manifest that the barrier named, or NULL. Freed by wr_arena_fini of its arena. */
WEIR_UNUSED_ static void snaps_manifest(wr_manifest *m, const snaps_run *r, const snaps_shot *s,
                                        const wr_manifest *base)
{
    *m = (wr_manifest){.version = WR_MANIFEST_VERSION,
                       .kind = s->barrier.kind,
                       .id = s->barrier.id,
                       .base = s->barrier.base,
                       .epoch = s->barrier.epoch,
                       .job = "snaps",
                       .lineage = "l",
                       .weir = "test",
                       .ended = true};
    wr_arena_init(&m->arena);
    m->op = wr_arena_array(&m->arena, wr_manifest_op, r->job->nodes + 1);
    for (uint32_t i = 0; i < r->exec->subtasks; i++) {
        const wr_ack *ack = s->ack[i];
        m->ended &= ack->ended;
        for (uint32_t k = 0; k < ack->ops; k++)
            snaps_add_op(m, ack, &ack->op[k], &r->job->node[ack->op[k].node], r->exec->subtask[i].index, base);
    }
}

/* How many keys of the tables of `sums` have another count or sum than all records of all splits give. */
WEIR_UNUSED_ static uint64_t snaps_wrong_keys(snaps_run *r)
{
    uint64_t n[SNAPS_KEYS_MAX] = {0}, sum[SNAPS_KEYS_MAX] = {0}, keys = 0, wrong = 0;
    assert_true(snaps.keys <= SNAPS_KEYS_MAX);
    uint32_t of_b = snaps.shape == SNAPS_UNION ? snaps.splits : 0;
    for (uint32_t i = 0; i < SNAPS_SPLITS + of_b; i++) {
        if (i >= snaps.splits && i < SNAPS_SPLITS) continue;
        for (uint64_t at = 0; at < snaps.records[i]; at++) {
            uint32_t key = (uint32_t)((at * 7 + i) % snaps.keys);
            n[key] += snaps_times();
            sum[key] += (at + 1) * snaps_times();
        }
    }
    const wr_node *node = snaps_node(r, "sums");
    for (uint32_t i = 0; i < node->parallelism; i++) {
        wr_op *op = NULL;
        SNAPS_EACH(r, w) op = op != NULL ? op : wr_worker_op(w, node->id, i);
        wr_table     *table = op->table;
        wr_table_scan scan = {0};
        void         *state[64];
        num           key[64];
        for (uint32_t got; (got = wr_table_scan_next(table, &scan, state, key, 64)) > 0;) {
            for (uint32_t k = 0; k < got; k++, keys++) {
                const totals *t = state[k];
                wrong += t->n != n[key[k].key] || t->sum != sum[key[k].key];
            }
        }
    }
    uint64_t wanted = 0;
    for (uint32_t i = 0; i < snaps.keys; i++) wanted += n[i] > 0;
    return wrong + (keys < wanted ? wanted - keys : keys - wanted);
}
#endif
