/* Windows of all kinds against a naive reference: random, late and out-of-order records, random batches and
 * watermarks, several subtasks, and in the middle a snapshot that is loaded at another parallelism.
 * ctest: timeout=240 */
#include "base/prng.h"
#include "operators/kernels.h"
#include "operators/saver.h"
#include "snapshot/image.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <weir/pipeline.h>

#include <cmocka.h>

WEIR_RECORD(event, (uint32_t, key), (weir_str, word), (int64_t, value), (uint64_t, n), (weir_str, name),
            (weir_time, at))
WEIR_RECORD(result, (uint64_t, key), (weir_time, start), (weir_time, end), (uint64_t, count), (int64_t, sum),
            (int64_t, most), (uint64_t, order))
WEIR_STATE(tally, (uint64_t, count), (int64_t, sum), (int64_t, most))

static uint32_t key_of(const event *e)
{
    if (e->word.len == 0) return e->key;
    const char *digits = weir_str_data(&e->word) + e->word.len - 6; /* the last six bytes are digits */
    char        copy[7] = {0};
    memcpy(copy, digits, 6);
    return (uint32_t)strtoul(copy, NULL, 10);
}

static void add_up(tally *into, const tally *from)
{
    assert_true(into->count > 0 && from->count > 0); /* what is merged has data */
    into->count += from->count;
    into->sum += from->sum;
    if (from->most > into->most) into->most = from->most;
}
static void take_off(tally *from, const tally *leaving)
{
    from->count -= leaving->count;
    from->sum -= leaving->sum;
}
static void tell(const event *key, const tally *acc, result_out *out, weir_ctx *ctx)
{
    weir_span span = weir_window_of(ctx);
    result_emit(out, (result){key_of(key), span.start, span.end, acc->count, acc->sum, acc->most, 0});
}
static void tell_no_most(const event *key, const tally *acc, result_out *out, weir_ctx *ctx)
{
    weir_span span = weir_window_of(ctx);
    result_emit(out, (result){key_of(key), span.start, span.end, acc->count, acc->sum, 0, 0});
}
WEIR_AGGREGATE(total, event, in, tally, acc, result, add_up, tell)
{
    if (acc->count == 0 || in->value > acc->most) acc->most = in->value;
    acc->count++;
    acc->sum += in->value;
}
WEIR_AGGREGATE(rolling, event, in, tally, acc, result, add_up, tell_no_most, take_off)
{
    acc->count++;
    acc->sum += in->value;
}
/* Too large for a ring of slices in the entry. */
WEIR_STATE(large, (uint64_t, count), (int64_t, sum), (WEIR_ARRAY_OF(uint64_t, 100), more))
static void add_large(large *into, const large *from)
{
    assert_true(into->count > 0 && from->count > 0 && from->more[99] == from->count);
    into->count += from->count;
    into->sum += from->sum;
    into->more[99] += from->more[99];
}
static void take_large_off(large *from, const large *leaving)
{
    from->count -= leaving->count;
    from->sum -= leaving->sum;
    from->more[99] -= leaving->more[99];
}
static void tell_large(const event *key, const large *acc, result_out *out, weir_ctx *ctx)
{
    weir_span span = weir_window_of(ctx);
    assert_int_equal(acc->more[99], acc->count);
    result_emit(out, (result){key_of(key), span.start, span.end, acc->count, acc->sum, 0, 0});
}
WEIR_AGGREGATE(rolling_large, event, in, large, acc, result, add_large, tell_large, take_large_off)
{
    acc->count++;
    acc->sum += in->value;
    acc->more[99]++;
}
WEIR_REDUCE(longest, event, so_far, in)
{
    so_far->n += in->n;
    so_far->value += in->value;
    if (in->name.len > so_far->name.len) so_far->name = in->name;
}
WEIR_WINDOW(listed, event, rows, result, out, ctx)
{
    weir_span span = weir_window_of(ctx);
    result    made = {.start = span.start, .end = span.end, .most = INT64_MIN};
    for (const event *e; (e = event_next(rows)) != NULL;) {
        made.key = key_of(e);
        made.count++;
        made.sum += e->value;
        if (e->value > made.most) made.most = e->value;
        made.order = made.order * 31 + (uint64_t)e->value;
        assert_int_equal(weir_str_data(&e->name)[e->name.len - 1], 'x');
    }
    result_emit(out, made);
}

/* ---- the reference ---- */

enum { EVENTS_MAX = 6000, SUBTASKS_MAX = 7, SUBTASKS_RANDOM = 5, CAUGHT_MAX = 400000 };

typedef struct window {
    uint32_t  key, n, max;
    int64_t   start, end; /* sessions: end is the last time + gap */
    bool      fired;
    uint32_t *at; /* events, in order of arrival */
} window;

/* Everything that a trial has. One at a time. */
typedef struct trial {
    weir_window_spec spec;
    const weir_op   *def;
    bool             keyed, by_word;
    wr_prng          random;

    event    events[EVENTS_MAX];
    uint32_t n;
    char     words[EVENTS_MAX][32], names[EVENTS_MAX][48];
    window  *open;
    uint32_t opens, opens_max;
    result  *want;
    uint32_t wants;
    uint64_t lates;
    int64_t  watermark;

    wr_home   home;
    wr_node   node;
    wr_op     op[SUBTASKS_MAX];
    uint32_t  subtasks;
    wr_budget budget;
    weir_op   catch_def;
    wr_op     catcher, late_catcher;
    result   *got;
    uint32_t  gots;
    uint64_t  late_got;
    char      folder[64];
    uint64_t  snapshots;
} trial;
static trial t;

static result sum_of(const window *w)
{
    result r = {.key = w->key, .start = {w->start}, .end = {w->end}, .most = INT64_MIN};
    for (uint32_t i = 0; i < w->n; i++) {
        const event *e = &t.events[w->at[i]];
        r.count++;
        r.sum += e->value;
        if (t.def != &weir_op_longest && e->value > r.most) r.most = e->value;
        if (t.def == &weir_op_longest && (i == 0 || e->name.len > r.most)) r.most = e->name.len;
        r.order = r.order * 31 + (uint64_t)e->value;
    }
    if (t.def == &weir_op_rolling || t.def == &weir_op_rolling_large) r.most = 0;
    if (t.def != &weir_op_listed) r.order = 0;
    if (t.def == &weir_op_longest) r.start.ns = 0;
    return r;
}

static void want(const window *w)
{
    assert_true(t.wants < CAUGHT_MAX);
    t.want[t.wants++] = sum_of(w);
}

static void put(window *w, uint32_t at)
{
    if (w->n == w->max) w->at = realloc(w->at, (w->max = w->max * 2 + 8) * sizeof *w->at);
    w->at[w->n++] = at;
}

static window *make(uint32_t key, int64_t start, int64_t end)
{
    if (t.opens == t.opens_max) t.open = realloc(t.open, (t.opens_max = t.opens_max * 2 + 8) * sizeof *t.open);
    t.open[t.opens] = (window){.key = key, .start = start, .end = end};
    return &t.open[t.opens++];
}

static void drop(uint32_t i)
{
    free(t.open[i].at);
    t.open[i] = t.open[--t.opens];
}

static bool over(int64_t end)
{
    return t.watermark != WEIR_NO_TIME && end - 1 + t.spec.lateness <= t.watermark;
}

static void expect_fixed(uint32_t at)
{
    const event *e = &t.events[at];
    int64_t      size = t.spec.window.size, slide = t.spec.window.slide, offset = t.spec.window.offset;
    int64_t      rest = (e->at.ns - offset) % slide, last = e->at.ns - (rest < 0 ? rest + slide : rest);
    bool         taken = false;
    int64_t      first = last;
    while (first - slide + size > e->at.ns) first -= slide;
    for (int64_t start = first; start <= last; start += slide) {
        if (over(start + size)) continue;
        taken = true;
        window *w = NULL;
        for (uint32_t i = 0; i < t.opens && w == NULL; i++) {
            if (t.open[i].key == e->key && t.open[i].start == start) w = &t.open[i];
        }
        if (w == NULL) w = make(e->key, start, start + size);
        put(w, at);
        if (w->end - 1 <= t.watermark) want(w);
    }
    t.lates += !taken;
}

static int up(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void expect_session(uint32_t at)
{
    const event *e = &t.events[at];
    int64_t      gap = t.spec.window.size, start = e->at.ns, end = e->at.ns + gap;
    for (uint32_t i = 0; i < t.opens; i++) {
        const window *w = &t.open[i];
        if (w->key != e->key || w->start > e->at.ns + gap || w->end < e->at.ns) continue;
        if (w->start < start) start = w->start;
        if (w->end > end) end = w->end;
    }
    if (over(end)) {
        t.lates++;
        return;
    }
    window *made = make(e->key, start, end);
    for (uint32_t i = 0; i + 1 < t.opens;) {
        window *w = &t.open[i];
        if (w->key != e->key || w->start > e->at.ns + gap || w->end < e->at.ns) {
            i++;
            continue;
        }
        made = &t.open[t.opens - 1];
        for (uint32_t k = 0; k < w->n; k++) put(made, w->at[k]);
        window last = *made;
        free(w->at);
        *w = t.open[t.opens - 2]; /* the one made last stays the last */
        t.open[t.opens - 2] = last;
        t.opens--;
    }
    made = &t.open[t.opens - 1];
    put(made, at);
    qsort(made->at, made->n, sizeof *made->at, up);
    made->fired = end - 1 <= t.watermark;
    if (made->fired) want(made);
}

static void expect_count(uint32_t at, bool running)
{
    const event *e = &t.events[at];
    window      *w = NULL;
    for (uint32_t i = 0; i < t.opens && w == NULL; i++) {
        if (t.open[i].key == e->key) w = &t.open[i];
    }
    if (w == NULL) w = make(e->key, INT64_MIN + 1, INT64_MAX);
    put(w, at);
    if (running) {
        want(w);
    } else if (w->n % (uint64_t)t.spec.window.slide == 0) {
        window part = *w;
        if (part.n > t.spec.window.size) part.at += part.n - t.spec.window.size;
        if (part.n > t.spec.window.size) part.n = (uint32_t)t.spec.window.size;
        want(&part);
    }
}

static void expect(uint32_t at)
{
    if (t.events[at].at.ns == WEIR_NO_TIME) {
        t.lates++;
        return;
    }
    switch (t.spec.window.kind) {
    case WEIR_TUMBLING:
    case WEIR_SLIDING: expect_fixed(at); break;
    case WEIR_SESSION: expect_session(at); break;
    case WEIR_COUNT: expect_count(at, false); break;
    case WEIR_RUNNING: expect_count(at, true); break;
    default: break;
    }
}

static void expect_time(int64_t watermark)
{
    int64_t before = t.watermark;
    t.watermark = watermark;
    for (uint32_t i = 0; i < t.opens;) {
        window *w = &t.open[i];
        bool    session = t.spec.window.kind == WEIR_SESSION;
        bool    due = session ? !w->fired : before == WEIR_NO_TIME || w->end - 1 > before;
        if (t.spec.window.kind >= WEIR_COUNT) return;
        if (w->end - 1 <= watermark && due) {
            want(w);
            w->fired = true;
        }
        if (over(w->end))
            drop(i);
        else
            i++;
    }
}

/* ---- the engine ---- */

static void catch_push(wr_op *op, const wr_view *view, uint32_t port)
{
    (void)op;
    (void)port;
    for (uint32_t i = 0; i < view->n; i++) {
        assert_true(t.gots < CAUGHT_MAX);
        result *r = &t.got[t.gots++];
        if (t.def == &weir_op_longest) {
            const event *e = (const event *)(const void *)view->records + i;
            *r = (result){.key = key_of(e), .count = e->n, .sum = e->value, .most = e->name.len};
            assert_int_equal(weir_str_data(&e->name)[e->name.len - 1], 'x');
            r->end.ns = t.spec.window.kind >= WEIR_COUNT ? INT64_MAX : view->time[i].ns + 1;
        } else {
            *r = ((const result *)(const void *)view->records)[i];
            if (t.spec.window.kind < WEIR_COUNT) assert_int_equal(view->time[i].ns, r->end.ns - 1);
        }
    }
}
static void late_push(wr_op *op, const wr_view *view, uint32_t port)
{
    (void)op;
    (void)port;
    t.late_got += view->n;
}
static const wr_kernel catch_kernel = {.name = "catcher", .push = catch_push};
static const wr_kernel late_kernel = {.name = "late", .push = late_push};

static void aim(wr_emit *e, wr_op *at)
{
    e->target = calloc(1, sizeof *e->target);
    e->target[0].op = at;
    e->targets = 1;
}

static void start(wr_op *op, uint32_t subtask, const wr_manifest_op *saved)
{
    wr_errinfo info = {0};
    *op = (wr_op){.def = t.def, .node = &t.node, .home = &t.home, .subtask = subtask, .subtasks = t.subtasks};
    op->max_parallelism = 128;
    assert_int_equal(wr_op_init(op, &info), WR_OK);
    if (saved != NULL && op->kernel->load(op, saved, t.folder, &info) != WR_OK) fail_msg("%s", info.text);
    op->watermark = t.watermark;
    if (wr_op_open(op, &info) != WR_OK) fail_msg("%s", info.text);
    aim(&op->emit[0], &t.catcher);
    aim(op->late, &t.late_catcher);
}

static void open_ops(uint32_t subtasks, const wr_manifest_op *saved)
{
    t.subtasks = t.keyed ? subtasks : 1;
    for (uint32_t i = 0; i < t.subtasks; i++) start(&t.op[i], i, saved);
}

static void healthy(const wr_op *op)
{
    if (wr_op_failed(op)) fail_msg("%s", op->failure.text);
}

/* A snapshot of all subtasks, then others that start from it. */
static void go_over(uint32_t subtasks)
{
    wr_manifest_layer layer[SUBTASKS_MAX];
    wr_item           item[SUBTASKS_MAX];
    wr_manifest_op    saved = {.uid = "w",
                               .kind = t.def->kind,
                               .parallelism = t.subtasks,
                               .max_parallelism = 128,
                               .watermark = t.watermark,
                               .layer = layer,
                               .layers = t.subtasks,
                               .item = item,
                               .items = t.subtasks,
                               .record = t.def->left,
                               .state = wr_table_config_of(t.op[0].table)->state,
                               .key = t.node.key[0]};
    wr_ack_op         ack[SUBTASKS_MAX] = {0};
    for (uint32_t i = 0; i < t.subtasks; i++) {
        wr_errinfo       info = {0};
        wr_image_writer *w;
        char             name[64];
        snprintf(name, sizeof name, "s-%llu-%u.wst", (unsigned long long)++t.snapshots, i);
        wr_image_config config = {.env = t.home.env,
                                  .parker = t.home.parker,
                                  .folder = t.folder,
                                  .name = name,
                                  .job = "j",
                                  .lineage = "l",
                                  .barrier = {.id = t.snapshots, .kind = WR_SNAPSHOT, .epoch = 1}};
        if (wr_image_writer_new(&w, &config, &info) != WR_OK || wr_image_writer_add(w, "w", t.op[i].table, true, &info))
            fail_msg("%s", info.text);
        enum wr_image_step step;
        while ((step = wr_image_writer_step(w, 1 << 20, &info)) != WR_IMAGE_DURABLE) {
            if (step == WR_IMAGE_FAILED) fail_msg("%s", info.text);
        }
        uint64_t full;
        layer[i] = (wr_manifest_layer){.snapshot = t.snapshots, .from = i};
        wr_image_writer_result(w, &layer[i].file, &full);
        wr_image_writer_free(w);
        wr_saver saver = {.to = &ack[i], .from = i};
        assert_int_equal(t.op[i].kernel->save(&t.op[i], &config.barrier, &saver, &info), WR_OK);
        assert_int_equal(ack[i].items, 1);
        item[i] = ack[i].item[0];
    }
    wr_op    old[SUBTASKS_MAX];
    uint32_t olds = t.subtasks;
    memcpy(old, t.op, sizeof old);
    /* The types of the old states must outlive the loading: the manifest names them. */
    open_ops(subtasks, &saved);
    for (uint32_t i = 0; i < olds; i++) {
        for (uint32_t e = 0; e < old[i].outs; e++) old[i].emit[e].op = &old[i]; /* it was moved */
        wr_op_fini(&old[i]);
        free(ack[i].item[0].data);
        free(ack[i].item);
        char path[192];
        snprintf(path, sizeof path, "%.64s/%.64s", t.folder, layer[i].file.name);
        unlink(path);
    }
}

static uint32_t subtask_of(const event *e)
{
    uint64_t hash;
    wr_key_hash(&t.node.key[0], e, sizeof *e, 1, &hash);
    return wr_subtask_of(wr_key_group_of(hash, 128), t.subtasks, 128);
}

static void push(uint32_t from, uint32_t to)
{
    static event     part[SUBTASKS_MAX][EVENTS_MAX];
    static weir_time time[SUBTASKS_MAX][EVENTS_MAX];
    uint32_t         n[SUBTASKS_MAX] = {0};
    for (uint32_t i = from; i < to; i++) {
        uint32_t s = subtask_of(&t.events[i]);
        part[s][n[s]] = t.events[i];
        time[s][n[s]++] = t.events[i].at;
    }
    for (uint32_t s = 0; s < t.subtasks; s++) {
        if (n[s] == 0) continue;
        wr_view view = {.records = (const char *)part[s], .n = n[s], .time = time[s]};
        wr_op_push(&t.op[s], &view, 0);
        healthy(&t.op[s]);
    }
}

static void advance(int64_t watermark)
{
    for (uint32_t s = 0; s < t.subtasks; s++) {
        uint32_t first = t.gots;
        t.op[s].watermark = watermark;
        while (!wr_op_advance(&t.op[s])) healthy(&t.op[s]);
        healthy(&t.op[s]);
        for (uint32_t i = first + 1; i < t.gots; i++) assert_true(t.got[i - 1].end.ns <= t.got[i].end.ns);
    }
}

/* ---- a trial ---- */

static int by_all(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(result));
}

static void compare(const char *what, uint64_t seed)
{
    qsort(t.got, t.gots, sizeof *t.got, by_all);
    qsort(t.want, t.wants, sizeof *t.want, by_all);
    for (uint32_t i = 0; i < t.gots || i < t.wants; i++) {
        if (i < t.gots && i < t.wants && memcmp(&t.got[i], &t.want[i], sizeof(result)) == 0) continue;
        const result *r[2] = {i < t.gots ? &t.got[i] : &(result){0}, i < t.wants ? &t.want[i] : &(result){0}};
        for (int k = 0; k < 2; k++)
            print_message("%s: key %lu [%ld, %ld) count %lu sum %ld most %ld order %lx\n", k ? "want" : "got",
                          (unsigned long)r[k]->key, (long)r[k]->start.ns, (long)r[k]->end.ns,
                          (unsigned long)r[k]->count, (long)r[k]->sum, (long)r[k]->most, (unsigned long)r[k]->order);
        fail_msg("%s seed %lu: result %u of %u got, %u wanted; watermark %ld", what, (unsigned long)seed, i, t.gots,
                 t.wants, (long)t.watermark);
    }
    t.gots = t.wants = 0;
    assert_int_equal(t.late_got, t.lates);
}

static uint64_t below(uint64_t n)
{
    return wr_prng_below(&t.random, n);
}

static void make_event(int64_t at, uint32_t keys)
{
    event *e = &t.events[t.n];
    *e = (event){.key = t.keyed ? (uint32_t)below(keys) : 0, .value = (int64_t)below(1000) - 300, .n = 1, .at = {at}};
    if (t.by_word) {
        int n = snprintf(t.words[t.n], sizeof t.words[0], e->key % 3 == 0 ? "w%06u" : "a word that is long %06u",
                         e->key);
        e->word = weir_str_of(t.words[t.n], (size_t)n);
    }
    size_t len = 1 + below(40);
    memset(t.names[t.n], 'a', sizeof t.names[0]);
    t.names[t.n][len - 1] = 'x';
    e->name = weir_str_of(t.names[t.n], len);
    t.n++;
}

static void set_up(const weir_op *def, weir_window_spec spec, uint32_t how, uint64_t seed)
{
    result *want = t.want, *got = t.got;
    memset(&t, 0, sizeof t);
    t.want = want ? want : malloc(CAUGHT_MAX * sizeof *want);
    t.got = got ? got : malloc(CAUGHT_MAX * sizeof *got);
    t.def = def;
    t.spec = spec;
    t.keyed = how != 0;
    t.by_word = how == 2;
    t.random = wr_prng_of(seed);
    t.watermark = WEIR_NO_TIME;
    t.home = (wr_home){.env = wr_env_real(), .budget = &t.budget};
    t.home.parker = NULL;
    t.node = (wr_node){.uid = "w", .name = "w", .kind = WR_NODE_OP, .op = def, .timed = true, .late = true};
    t.node.window = spec;
    if (how == 1) t.node.key[0] = (weir_key){1, {{offsetof(event, key), WEIR_U32}}};
    if (how == 2) t.node.key[0] = (weir_key){1, {{offsetof(event, word), WEIR_STR}}};
    t.catcher = (wr_op){.def = &t.catch_def, .node = &t.node, .home = &t.home, .kernel = &catch_kernel};
    t.late_catcher = (wr_op){.def = &t.catch_def, .node = &t.node, .home = &t.home, .kernel = &late_kernel};
    /* In memory where it can be: thousands of snapshots, and none is about the disk. */
    snprintf(t.folder, sizeof t.folder, "%s/weir-window-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(t.folder));
}

static void tear_down(void)
{
    for (uint32_t i = 0; i < t.subtasks; i++) wr_op_fini(&t.op[i]);
    while (t.opens > 0) drop(t.opens - 1);
    free(t.open);
    assert_int_equal(t.budget.bytes, 0);
    wr_scratch_fini(&t.home.scratch);
    assert_int_equal(rmdir(t.folder), 0);
}

/* Sources that are some windows apart and take turns: each batch is of one source and of one time. */
static void feed_apart(const char *what, uint64_t seed, int64_t step)
{
    int64_t  now[4] = {0};
    uint32_t sources = 2 + (uint32_t)below(3), keys = 1 + (uint32_t)below(30);
    for (uint32_t s = 1; s < sources; s++) now[s] = (int64_t)below(5) * step;
    while (t.n < 2000) {
        uint32_t s = (uint32_t)below(sources), from = t.n, batch = 1 + (uint32_t)below(60);
        now[s] += (int64_t)below((uint64_t)(step / 4) + 1);
        for (uint32_t i = 0; i < batch && t.n < 2000; i++) make_event(now[s], keys);
        for (uint32_t i = from; i < t.n; i++) expect(i);
        push(from, t.n);
        compare(what, seed);
        int64_t watermark = now[0];
        for (uint32_t i = 1; i < sources; i++) watermark = now[i] < watermark ? now[i] : watermark;
        if (--watermark > t.watermark && below(2) == 0) {
            expect_time(watermark);
            advance(watermark);
            compare(what, seed);
        }
        if (below(60) == 0) go_over(1 + (uint32_t)below(SUBTASKS_RANDOM));
    }
    expect_time(INT64_MAX);
    advance(INT64_MAX);
    compare(what, seed);
}

/* Records and time until all has fired. The operators are open. */
static void feed(const char *what, uint64_t seed)
{
    const weir_window_spec spec = t.spec;
    int64_t                step = spec.window.size > 0 ? spec.window.size : WEIR_SECOND;
    int64_t now = below(2) ? -20 * step : (int64_t)below(1000) * step, delay = (int64_t)below(3) * step / 2, most = now;
    uint32_t keys = 1 + (uint32_t)below(40), events = 300 + (uint32_t)below(1200);
    bool     crawl = below(3) == 0; /* many records in a slice */
    while (t.n < events) {
        uint32_t from = t.n, batch = 1 + (uint32_t)below(below(3) ? 200 : 10);
        for (uint32_t i = 0; i < batch && t.n < events; i++) {
            now += (int64_t)below((uint64_t)(crawl ? step / 100 : step / 8) + 1);
            int64_t at = now - (int64_t)below((uint64_t)(2 * delay) + 1) + (below(50) ? 0 : (int64_t)below(5) * step);
            if (below(40) == 0) at -= (int64_t)below((uint64_t)(6 * step));
            if (below(10) == 0) at = at / step * step - (int64_t)below(2); /* at the borders */
            bool timeless = spec.window.kind < WEIR_COUNT && below(200) == 0;
            make_event(timeless ? WEIR_NO_TIME : at, keys);
            if (at > most) most = at;
        }
        for (uint32_t i = from; i < t.n; i++) expect(i);
        push(from, t.n);
        compare(what, seed);
        if (below(2) == 0) {
            int64_t watermark = now - delay - 1 + (below(20) ? 0 : 3 * step);
            if (watermark > t.watermark) {
                expect_time(watermark);
                advance(watermark);
                compare(what, seed);
            }
        }
        if (below(12) == 0) go_over(1 + (uint32_t)below(SUBTASKS_RANDOM));
    }
    expect_time(INT64_MAX);
    advance(INT64_MAX);
    compare(what, seed);
}

static void run(const char *what, const weir_op *def, weir_window_spec spec, uint32_t how, uint64_t seed)
{
    set_up(def, spec, how, seed);
    open_ops(1 + (uint32_t)below(SUBTASKS_RANDOM), NULL);
    if (seed % 4 == 3 && spec.window.kind <= WEIR_SLIDING)
        feed_apart(what, seed, spec.window.slide);
    else
        feed(what, seed);
    tear_down();
}

typedef struct kind {
    const char *name;
    weir_window window;
} kind;

static void all_of(const weir_op *def, const char *name)
{
    const kind kinds[] = {
        {"tumbling", weir_tumbling(WEIR_SECOND)},
        {"shifted", weir_shifted(weir_tumbling(WEIR_SECOND), 7 * WEIR_SECOND + 300 * WEIR_MILLISECOND)},
        {"sliding", weir_sliding(WEIR_SECOND, WEIR_SECOND / 10)},
        {"sliding3", weir_shifted(weir_sliding(3 * WEIR_SECOND, 2 * WEIR_SECOND), -WEIR_SECOND / 3)},
        {"session", weir_session(WEIR_SECOND / 5)},
        {"count", weir_count(7, 7)},
        {"count sliding", weir_count(12, 4)},
        {"count odd", weir_count(6, 4)},
        {"count gaps", weir_count(3, 5)},
        {"one", weir_count(1, 1)},
        {"running", weir_running()}};
    const int64_t late[] = {0, WEIR_SECOND / 2, 10 * WEIR_SECOND};
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        for (size_t l = 0; l < 3; l++) {
            if (kinds[k].window.kind >= WEIR_COUNT && l > 0) continue;
            weir_window_spec spec = {.window = kinds[k].window, .lateness = late[l]};
            for (uint64_t seed = 1; seed <= 9; seed++) {
                char what[100];
                snprintf(what, sizeof what, "%s %s lateness %lu", name, kinds[k].name, (unsigned long)l);
                run(what, def, spec, (uint32_t)(seed % 3), seed);
            }
        }
    }
}

static void test_aggregates(void **state)
{
    (void)state;
    all_of(&weir_op_total, "aggregate");
}
static void test_aggregates_that_retract(void **state)
{
    (void)state;
    all_of(&weir_op_rolling, "retract");
    all_of(&weir_op_rolling_large, "retract large");
}
/* The places of an entry are those of the snapshot that it came from: more than a window without lateness makes. */
static void test_less_lateness_than_in_the_snapshot(void **state)
{
    (void)state;
    const weir_op    *ops[] = {&weir_op_total, &weir_op_rolling, &weir_op_longest};
    const weir_window windows[] = {weir_tumbling(WEIR_SECOND), weir_sliding(2 * WEIR_SECOND, WEIR_SECOND),
                                   weir_sliding(3 * WEIR_SECOND, WEIR_SECOND),
                                   weir_sliding(WEIR_SECOND, WEIR_SECOND / 10)};
    for (uint64_t seed = 1; seed <= 48; seed++) {
        char what[64];
        snprintf(what, sizeof what, "less lateness, window %lu", (unsigned long)(seed / 3 % 4));
        set_up(ops[seed % 3], (weir_window_spec){.window = windows[seed / 3 % 4], .lateness = 10 * WEIR_SECOND}, 1,
               seed);
        open_ops(2, NULL);
        t.spec.lateness = t.node.window.lateness = 0;
        go_over(1 + (uint32_t)below(SUBTASKS_RANDOM));
        feed(what, seed);
        tear_down();
    }
}
static void test_reduce_with_strings(void **state)
{
    (void)state;
    all_of(&weir_op_longest, "reduce");
}
static void test_full_windows(void **state)
{
    (void)state;
    all_of(&weir_op_listed, "rows");
}

/* By the clock: subtasks look at it at different times, and a snapshot finds them at different windows. All windows
 * give their results once, with all their records. */
static void run_by_clock(const char *what, const weir_op *def, weir_window window, uint64_t seed)
{
    set_up(def, (weir_window_spec){.window = weir_by_clock(window)}, 1, seed);
    t.home.now_ns = (int64_t)below(1000) * WEIR_SECOND;
    open_ops(1 + (uint32_t)below(SUBTASKS_RANDOM), NULL);
    for (int round = 0; round < 60; round++) {
        uint32_t from = t.n, batch = (uint32_t)below(20);
        t.home.now_ns += (int64_t)below(WEIR_SECOND / 3);
        for (uint32_t i = 0; i < batch; i++) make_event(t.home.now_ns, 12);
        for (uint32_t i = from; i < t.n; i++) expect(i);
        push(from, t.n);
        for (uint32_t s = 0; s < t.subtasks; s++) {
            while (t.op[s].due_ns <= t.home.now_ns && below(2)) (void)wr_op_tick(&t.op[s]);
            if (below(2)) wr_op_flush(&t.op[s]);
            healthy(&t.op[s]);
        }
        if (below(4) != 0) continue;
        for (uint32_t s = 0; s < t.subtasks; s++) wr_op_flush(&t.op[s]); /* as before every barrier */
        go_over(1 + (uint32_t)below(SUBTASKS_RANDOM));
    }
    for (uint32_t s = 0; s < t.subtasks; s++) {
        while (!wr_op_end(&t.op[s])) healthy(&t.op[s]);
        healthy(&t.op[s]);
    }
    expect_time(INT64_MAX);
    compare(what, seed);
    tear_down();
}

static void test_by_the_clock(void **state)
{
    (void)state;
    const weir_op *ops[] = {&weir_op_total, &weir_op_rolling, &weir_op_longest, &weir_op_listed};
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        for (uint64_t seed = 1; seed <= 12; seed++) {
            run_by_clock("clock tumbling", ops[i], weir_tumbling(WEIR_SECOND), seed);
            run_by_clock("clock sliding", ops[i], weir_sliding(WEIR_SECOND, WEIR_SECOND / 5), seed);
            run_by_clock("clock session", ops[i], weir_session(WEIR_SECOND / 4), seed);
        }
    }
}

/* Some subtasks' input ends before a snapshot, that of others goes on: their key groups have fired up to the end of
 * time, and come together with others in one subtask, then in another one, before any time has passed there. */
static void run_apart(const weir_op *def, weir_window window, const uint32_t parallelism[3], uint64_t seed)
{
    enum { KEYS = 40 };
    bool ended[KEYS] = {0};
    char what[64];
    set_up(def, (weir_window_spec){.window = weir_by_clock(window)}, 1, seed);
    t.home.now_ns = (int64_t)below(1000) * WEIR_SECOND;
    open_ops(parallelism[0], NULL);
    for (uint32_t part = 0; part < 3; part++) {
        for (int round = 0; round < 10; round++) {
            uint32_t from = t.n;
            t.home.now_ns += (int64_t)below(WEIR_SECOND / 3);
            for (uint32_t i = 0; i < 20; i++) {
                make_event(t.home.now_ns, KEYS);
                if (ended[t.events[t.n - 1].key]) t.n--;
            }
            for (uint32_t i = from; i < t.n; i++) expect(i);
            push(from, t.n);
            for (uint32_t s = 0; s < t.subtasks; s++) {
                while (t.op[s].due_ns <= t.home.now_ns && below(2)) (void)wr_op_tick(&t.op[s]);
                healthy(&t.op[s]);
            }
        }
        if (part == 2) break;
        for (uint32_t s = 0; s < t.subtasks && t.subtasks > 1; s++) {
            wr_op_flush(&t.op[s]);
            if (below(2)) continue;
            while (!wr_op_end(&t.op[s])) healthy(&t.op[s]);
            for (uint32_t key = 0; key < KEYS; key++) ended[key] |= subtask_of(&(event){.key = key}) == s;
        }
        for (uint32_t to = 1; to < 3; to++) {
            for (uint32_t s = 0; s < t.subtasks; s++) wr_op_flush(&t.op[s]); /* as before every barrier */
            go_over(parallelism[to]);
        }
    }
    for (uint32_t s = 0; s < t.subtasks; s++) {
        while (!wr_op_end(&t.op[s])) healthy(&t.op[s]);
        healthy(&t.op[s]);
    }
    expect_time(INT64_MAX);
    snprintf(what, sizeof what, "apart %u, %u, %u", parallelism[0], parallelism[1], parallelism[2]);
    compare(what, seed);
    tear_down();
}

static void test_key_groups_apart(void **state)
{
    (void)state;
    static const uint32_t p[] = {1, 2, 3, 7};
    const weir_op        *ops[] = {&weir_op_total, &weir_op_rolling, &weir_op_rolling_large, &weir_op_listed};
    for (uint32_t k = 0; k < 64; k++) {
        const uint32_t parallelism[] = {p[k % 4], p[k / 4 % 4], p[k / 16]};
        weir_window    window = weir_tumbling(WEIR_SECOND);
        if (k / 2 % 2 != 0) window = weir_sliding(WEIR_SECOND, WEIR_SECOND / 5);
        run_apart(ops[(k + k / 4 + k / 16) % 4], window, parallelism, k);
    }
}

/* A snapshot's word on how far key groups had come is looked at before it is believed. */
static void test_damaged_ranges_are_refused(void **state)
{
    (void)state;
    set_up(&weir_op_total, (weir_window_spec){.window = weir_by_clock(weir_tumbling(WEIR_SECOND))}, 1, 1);
    t.home.now_ns = 1000 * WEIR_SECOND;
    open_ops(2, NULL);
    while (!wr_op_end(&t.op[1])) healthy(&t.op[1]);
    go_over(1);
    wr_ack_op  ack = {0};
    wr_errinfo info = {0};
    wr_saver   saver = {.to = &ack};
    assert_int_equal(t.op[0].kernel->save(&t.op[0], &(wr_barrier){.id = 1}, &saver, &info), WR_OK);
    wr_item        good = ack.item[0], item = good;
    wr_manifest_op op = {.uid = "w", .parallelism = 1, .max_parallelism = 128, .item = &item, .items = 1};
    uint32_t       match;
    assert_int_equal(wr_windows_match(&t.node, &op, &match, &info), WR_OK);
    assert_int_equal(match, WR_SCHEMA_SAME);
    assert_int_equal(good.bytes % 16, 0);
    assert_int_equal(((const int64_t *)good.data)[0], 2);
    char *copy = malloc(good.bytes);
    for (uint32_t n = 0; n < good.bytes; n++) { /* any other length */
        item = (wr_item){.kind = good.kind, .data = good.data, .bytes = n};
        assert_int_equal(wr_windows_match(&t.node, &op, &match, &info), WR_DAMAGED);
    }
    const uint32_t ranges = good.bytes - 32; /* two of them: {64, fired}, {128, the end of time} */
    const struct {
        uint32_t at;
        int64_t  value;
    } wrong[] = {{0, 0},    {0, 128},  {0, 129},        {0, -1},         {8, INT64_MIN},
                 {16, 127}, {16, 129}, {16, INT64_MAX}, {24, INT64_MAX}, {24, INT64_MIN}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        memcpy(copy, good.data, good.bytes);
        memcpy(copy + ranges + wrong[i].at, &wrong[i].value, 8);
        item = (wr_item){.kind = good.kind, .data = copy, .bytes = good.bytes};
        assert_int_equal(wr_windows_match(&t.node, &op, &match, &info), WR_DAMAGED);
    }
    item = good;
    item.from = 1; /* of a subtask that there was not */
    assert_int_equal(wr_windows_match(&t.node, &op, &match, &info), WR_DAMAGED);
    free(copy);
    free(good.data);
    free(ack.item);
    tear_down();
}

/* ---- what they keep becomes what others keep ---- */

/* An operator whose accumulator, or record that windows keep, is another one. */
typedef struct changed_op {
    weir_op    op;
    weir_type  type;
    weir_field field[WR_FIELDS_MAX];
    uint32_t   number; /* the field that changes, an i64 */
} changed_op;

static void change_from(changed_op *c, const weir_op *op)
{
    bool             rows = op->kind == WEIR_OP_WINDOW;
    const weir_type *of = rows ? op->left : op->state;
    *c = (changed_op){.op = *op, .type = *of};
    memcpy(c->field, of->field, of->fields * sizeof *c->field);
    c->type.field = c->field;
    *(rows ? &c->op.left : &c->op.state) = &c->type;
    while (c->field[c->number].kind != WEIR_I64) c->number++;
}

static void add_field(changed_op *c)
{
    c->field[c->type.fields++] = (weir_field){.name = "added", .offset = c->type.size, .size = 8, .kind = WEIR_F64};
    c->type.size += 8;
}

/* The look says `match` and `text`; what it refuses the load refuses with the same words. */
static void looks(const wr_manifest_op *saved, const weir_op *as, uint32_t match, const char *text)
{
    wr_errinfo info = {0}, of_load = {0};
    uint32_t   got;
    wr_node    node = t.node;
    wr_op      op = {.def = as, .node = &node, .home = &t.home, .subtasks = 1, .max_parallelism = 128};
    node.op = as;
    wr_err err = wr_windows_match(&node, saved, &got, &info);
    if (got != match || strstr(info.text, text) == NULL) fail_msg("%u, not %u; %s", got, match, info.text);
    assert_int_equal(err, match == WR_SCHEMA_REFUSED ? WR_STATE : WR_OK);
    if (match != WR_SCHEMA_REFUSED) return;
    assert_null(strstr(info.text, "WEIR_UPGRADE"));
    assert_int_equal(wr_op_init(&op, NULL), WR_OK);
    assert_int_equal(op.kernel->load(&op, saved, t.folder, &of_load), WR_STATE);
    assert_string_equal(of_load.text, info.text);
    wr_op_fini(&op);
}

static void look_at_changes(const wr_manifest_op *saved, bool ring)
{
    changed_op c;
    char       text[128];
    change_from(&c, t.def);
    weir_field *f = &c.field[c.number];
    const char *name = f->name;
    looks(saved, &c.op, WR_SCHEMA_SAME, "");
    f->kind = WEIR_F64;
    snprintf(text, sizeof text, "field %s of %s was i64", name, c.type.name);
    looks(saved, &c.op, WR_SCHEMA_REFUSED, ring ? "RETRACT" : text);
    f->kind = WEIR_I32;
    f->size = 4;
    looks(saved, &c.op, WR_SCHEMA_REFUSED, ring ? "RETRACT" : text);
    change_from(&c, t.def);
    f->name = "else";
    snprintf(text, sizeof text, "adds else, drops %s", name);
    looks(saved, &c.op, ring ? WR_SCHEMA_REFUSED : WR_SCHEMA_CONVERT, text);
    change_from(&c, t.def);
    add_field(&c);
    looks(saved, &c.op, ring ? WR_SCHEMA_REFUSED : WR_SCHEMA_CONVERT, "adds added");
    change_from(&c, t.def);
    c.op.on_retract = NULL;
    if (ring) looks(saved, &c.op, WR_SCHEMA_REFUSED, "had a RETRACT");
}

static void test_what_windows_keep_is_compared(void **state)
{
    (void)state;
    const weir_window windows[] = {
        weir_tumbling(WEIR_SECOND), weir_sliding(WEIR_SECOND, WEIR_SECOND / 10), weir_session(WEIR_SECOND),
        weir_count(10, 5),          weir_by_clock(weir_tumbling(1000000)),       weir_running()};
    const weir_op *ops[] = {&weir_op_total, &weir_op_rolling, &weir_op_rolling_large, &weir_op_longest,
                            &weir_op_listed};
    for (uint32_t i = 0; i < 30; i++) {
        wr_manifest_layer layer = {0};
        wr_ack_op         ack = {0};
        wr_saver          saver = {.to = &ack};
        set_up(ops[i % 5], (weir_window_spec){.window = windows[i / 5]}, 1, i);
        open_ops(1, NULL);
        assert_int_equal(t.op[0].kernel->save(&t.op[0], &(wr_barrier){.id = 1}, &saver, NULL), WR_OK);
        wr_manifest_op saved = {.uid = "w",
                                .parallelism = 1,
                                .max_parallelism = 128,
                                .layer = &layer,
                                .layers = 1,
                                .item = ack.item,
                                .items = ack.items,
                                .record = t.def->left,
                                .state = wr_table_config_of(t.op[0].table)->state,
                                .key = t.node.key[0]};
        look_at_changes(&saved, t.def == &weir_op_rolling && t.spec.window.kind == WEIR_SLIDING);
        free(ack.item[0].data);
        free(ack.item);
        tear_down();
    }
}

static int free_all(void **state)
{
    (void)state;
    free(t.want);
    free(t.got);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_less_lateness_than_in_the_snapshot),
        cmocka_unit_test(test_aggregates),
        cmocka_unit_test(test_aggregates_that_retract),
        cmocka_unit_test(test_reduce_with_strings),
        cmocka_unit_test(test_full_windows),
        cmocka_unit_test(test_by_the_clock),
        cmocka_unit_test(test_key_groups_apart),
        cmocka_unit_test(test_damaged_ranges_are_refused),
        cmocka_unit_test(test_what_windows_keep_is_compared),
    };
    return cmocka_run_group_tests(tests, NULL, free_all);
}
