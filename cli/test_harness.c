/* weir/test.h: a pipeline in one thread under a clock that the test moves. The engine is the one that `weir run` has;
 * only the clock of its environment is another, and slots are stepped here instead of by threads. */
#include "base/arena.h"
#include "cli/test_kept.h"
#include "connectors/connectors.h"
#include "connectors/memory.h"
#include "graph/exec.h"
#include "operators/time.h"
#include "taskmanager/worker.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <weir/test.h>

enum { ARGS_MAX = WR_ARGS_MAX, STEPS_MAX = 100000000, START_NS = 1000000000 };

/* A record that went by, with its strings behind it. Owned by its tap. */
typedef struct caught {
    struct caught *next;
    _Alignas(16) char record[];
} caught;

/* Catches what leaves one output, of all subtasks. Owned by its weir_test. */
typedef struct tap {
    const weir_type *type;
    caught          *first, **last, *given; /* given: the one whose strings the test may still look at */
} tap;

/* One for each (operator instance, output): an operator that feeds a tap. */
typedef struct tap_op {
    weir_op def;
    wr_op   op;
} tap_op;

/* The test's thread. */
struct weir_test {
    wr_env          env;
    int64_t         now_ns;
    char           *args, *set;
    weir_pipeline  *pipeline;
    const wr_job   *job;
    wr_exec        *exec;
    wr_worker      *worker;
    wr_test_kept   *kept;   /* snapshots are taken; or NULL */
    uint32_t        loaded; /* subtasks */
    wr_test_queue **queue;  /* by node; NULL: no "test:" source */
    tap           **taps;   /* by node, one for each output, and one for late records */
    tap_op         *tap_op;
    uint32_t        tap_ops;
    bool            ended;
    wr_errinfo      why;
};

static void stop(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
static void stop(const char *format, ...)
{
    va_list args;
    fputs("weir_test: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    abort();
}

static void *zeroed(size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size);
    if (p == NULL) stop("no memory for %zu bytes", count * size);
    return p;
}

static char *copy_text(const char *text)
{
    char *copy = strdup(text != NULL ? text : "");
    if (copy == NULL) stop("no memory");
    return copy;
}

/* Words of a text, in place. */
static uint32_t split(char *text, const char *word[ARGS_MAX])
{
    uint32_t n = 0;
    char    *save = NULL;
    for (char *at = strtok_r(text, " \t\n", &save); at != NULL; at = strtok_r(NULL, " \t\n", &save)) {
        if (n == ARGS_MAX) stop("more than %d arguments", ARGS_MAX);
        word[n++] = at;
    }
    return n;
}

/* ---- the clock ---- */

static int64_t clock_mono_ns(void *self)
{
    return START_NS + ((weir_test *)self)->now_ns;
}
static int64_t clock_wall_ns(void *self)
{
    return ((weir_test *)self)->now_ns;
}

weir_test *weir_test_new(const char *args)
{
    weir_test  *t = zeroed(1, sizeof *t);
    const char *word[ARGS_MAX];
    t->env = *wr_env_real();
    t->env.self = t; /* the other functions of the real table do not look at theirs */
    t->env.mono_ns = clock_mono_ns;
    t->env.wall_ns = clock_wall_ns;
    t->args = copy_text(args);
    t->set = copy_text(NULL);
    t->pipeline = wr_job_new("test", word, split(t->args, word));
    return t;
}

weir_pipeline *weir_test_pipeline(weir_test *t)
{
    if (t->worker != NULL) stop("the pipeline runs already; build all of it before the first push or pull");
    return t->pipeline;
}

void weir_test_build(weir_test *t, void (*build)(weir_pipeline *), const char *set)
{
    build(weir_test_pipeline(t));
    free(t->set);
    t->set = copy_text(set);
}

/* ---- taps ---- */

static size_t far_bytes(const weir_type *type, const char *record)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < type->fields; i++) {
        const weir_field *f = &type->field[i];
        const weir_str   *s = (const weir_str *)(const void *)(record + f->offset);
        if ((f->kind == WEIR_STR || f->kind == WEIR_BYTES) && s->len > WEIR_STR_INLINE) bytes += s->len;
    }
    return bytes;
}

static void tap_take(tap *tap, const char *record)
{
    const weir_type *type = tap->type;
    caught          *c = zeroed(1, sizeof *c + type->size + far_bytes(type, record));
    char            *far = c->record + type->size;
    memcpy(c->record, record, type->size);
    for (uint32_t i = 0; i < type->fields; i++) {
        const weir_field *f = &type->field[i];
        weir_str         *s = (weir_str *)(void *)(c->record + f->offset);
        if ((f->kind != WEIR_STR && f->kind != WEIR_BYTES) || s->len <= WEIR_STR_INLINE) continue;
        memcpy(far, s->u.far, s->len);
        s->u.far = far;
        far += s->len;
    }
    *tap->last = c;
    tap->last = &c->next;
}

static void tap_push(wr_op *op, const wr_view *view, uint32_t port)
{
    (void)port;
    tap *tap = op->kernel_state;
    for (uint32_t i = 0; i < view->n; i++) tap_take(tap, view->records + (size_t)i * tap->type->size);
}

static const wr_kernel tap_kernel = {.name = "tap", .push = tap_push};

static void tap_free(tap *tap)
{
    while (tap->first != NULL) {
        caught *c = tap->first;
        tap->first = c->next;
        free(c);
    }
    free(tap->given);
}

static void attach(weir_test *t, wr_op *op, wr_emit *emit, tap *tap)
{
    tap_op *o = &t->tap_op[t->tap_ops++];
    o->op.def = &o->def;
    o->op.node = op->node;
    o->op.home = op->home;
    o->op.kernel = &tap_kernel;
    o->op.kernel_state = tap;
    wr_target *target = zeroed(emit->targets + 1, sizeof *target);
    /* In front: operators behind may write over the buffer that it reads. */
    target[0].op = &o->op;
    if (emit->targets > 0) memcpy(target + 1, emit->target, emit->targets * sizeof *target);
    free(emit->target);
    emit->target = target;
    emit->targets++;
}

static void attach_all(weir_test *t)
{
    uint32_t outputs = 0;
    bool     again = t->taps != NULL; /* after a crash: what they have caught stays */
    for (uint32_t i = 0; i < t->job->nodes; i++) outputs += (t->job->node[i].outs + 1) * t->job->node[i].parallelism;
    free(t->tap_op);
    t->tap_ops = 0;
    t->tap_op = zeroed(outputs, sizeof *t->tap_op);
    if (!again) t->taps = zeroed(t->job->nodes, sizeof *t->taps);
    for (uint32_t i = 0; i < t->job->nodes; i++) {
        const wr_node *node = &t->job->node[i];
        if (!again) t->taps[i] = zeroed(node->outs + 1, sizeof **t->taps);
        for (uint32_t port = 0; port <= node->outs; port++) {
            tap *tap = &t->taps[i][port];
            if (!again) tap->last = &tap->first;
            for (uint32_t s = 0; s < node->parallelism; s++) {
                wr_op   *op = wr_worker_op(t->worker, i, s);
                wr_emit *emit = port < node->outs ? &op->emit[port] : op->late;
                if (emit == NULL) continue;
                tap->type = emit->type;
                attach(t, op, emit, tap);
            }
        }
    }
}

/* ---- running ---- */

static void open_queues(weir_test *t)
{
    t->queue = zeroed(t->job->nodes, sizeof(wr_test_queue *));
    for (uint32_t i = 0; i < t->job->nodes; i++) {
        const wr_node *node = &t->job->node[i];
        if (node->kind != WR_NODE_SOURCE || node->connector != &wr_connector_test) continue;
        const char *path = weir_endpoint_path(node->endpoint);
        const char *name = path != NULL && path[0] != 0 ? path : node->name;
        t->queue[i] = wr_test_queue_new(name, node->type);
        if (t->queue[i] == NULL)
            stop("two \"test:\" sources are called %s; give them names: .name = or \"test:NAME\"", name);
    }
}

static void stop_with_problems(const weir_test *t, const wr_errinfo *info)
{
    const char *const *text = NULL;
    uint32_t           n = wr_job_problems(t->pipeline, &text);
    if (n == 0) stop("%s", info->text);
    for (uint32_t i = 1; i < n; i++) fprintf(stderr, "weir_test: %s\n", text[i]);
    stop("%s", text[0]);
}

static void start_worker(weir_test *t)
{
    wr_errinfo        info = {0};
    wr_worker_options options = {.env = &t->env, .job = "test", .seed = 1};
    t->loaded = 0;
    if (t->kept != NULL && wr_test_kept_configure(t->kept, &options, &info) != WR_OK) stop("%s", info.text);
    if (wr_worker_new(&t->worker, t->exec, &options, &info) != WR_OK) stop("%s", info.text);
    attach_all(t);
}

static void start(weir_test *t)
{
    if (t->worker != NULL) return;
    wr_errinfo            info = {0};
    const char           *word[ARGS_MAX];
    const wr_job_settings settings = {.parallelism_default = 1,
                                      .set = word,
                                      .sets = split(t->set, word),
                                      .loose_ends = true,
                                      .connector = wr_connector_resolve,
                                      .inspect = wr_connector_inspect,
                                      .compare = wr_connector_compare,
                                      .self = &t->env};
    if (wr_job_finish(t->pipeline, &settings, &t->job, &info) != WR_OK) stop_with_problems(t, &info);
    if (wr_exec_new(t->job, &t->exec, &info) != WR_OK) stop("%s", info.text);
    open_queues(t);
    start_worker(t);
}

static void cancel_all(weir_test *t)
{
    for (uint32_t i = 0; i < t->exec->subtasks; i++) wr_worker_cancel(t->worker, i);
}

static void look_for_failure(weir_test *t)
{
    for (wr_task_event e; wr_worker_event(t->worker, &e);) {
        bool restores = t->kept != NULL && wr_test_kept_restores(t->kept);
        if (restores && e.state == WR_TASK_LOADED && ++t->loaded == t->exec->subtasks) wr_worker_go(t->worker);
        if (e.state != WR_TASK_FAILED || t->why.code != WR_OK) continue;
        t->why = e.info;
        cancel_all(t);
    }
}

/* Steps every tasklet in turn. Quiet is a second round without progress: in the first one idle tasklets send what they
 * hold, some of them to others whose turn was before. */
static void run(weir_test *t)
{
    uint32_t slots = wr_worker_slots(t->worker);
    uint64_t steps = 0;
    for (uint32_t quiet = 0; quiet < 3 && !wr_worker_done(t->worker); quiet++) {
        for (uint32_t s = 0; s < slots; s++) {
            for (uint32_t i = 0; i < t->exec->subtasks; i++) {
                if (wr_worker_step(t->worker, s)) quiet = 0;
            }
        }
        steps += slots;
        look_for_failure(t);
        if (steps > STEPS_MAX)
            stop("the pipeline never gets quiet: a source gives records without end; set its .rate_max");
    }
    look_for_failure(t);
}

void weir_test_free(weir_test *t)
{
    if (t == NULL) return;
    if (t->worker != NULL && !wr_worker_done(t->worker)) {
        cancel_all(t);
        run(t);
    }
    wr_worker_free(t->worker);
    wr_test_kept_free(t->kept);
    for (uint32_t i = 0; t->taps != NULL && i < t->job->nodes; i++) {
        for (uint32_t port = 0; port <= t->job->node[i].outs; port++) tap_free(&t->taps[i][port]);
        free(t->taps[i]);
        wr_test_queue_free(t->queue[i]);
    }
    free(t->taps);
    free(t->tap_op);
    free(t->queue);
    if (t->exec != NULL) wr_exec_free(t->exec);
    wr_job_free(t->pipeline);
    free(t->args);
    free(t->set);
    free(t);
}

/* ---- what tests do ---- */

static uint32_t node_of(weir_test *t, weir_node stream, uint32_t *port, const char *verb)
{
    start(t);
    if (stream.pipeline != t->pipeline) stop("%s: this stream belongs to another pipeline", verb);
    uint32_t node = wr_job_node_of(t->pipeline, stream, port);
    if (node == WR_NONE)
        stop("%s: a union is no stream of its own here; name one of its inputs, or what follows", verb);
    return node;
}

/* A source may be named by its stream with event time as well. */
static uint32_t source_of(const weir_test *t, uint32_t node)
{
    const wr_node *n = &t->job->node[node];
    return n->kind == WR_NODE_TIME && n->in_edges == 1 ? t->job->edge[n->in_edge[0]].from : node;
}

void weir_test_push_(weir_test *t, weir_node source, const weir_type *type, const void *record)
{
    uint32_t port, node = source_of(t, node_of(t, source, &port, "push"));
    if (t->queue[node] == NULL) stop("push: %s is no source \"test:\"", t->job->node[node].uid);
    if (t->ended) stop("push: weir_test_end came before");
    if (type->size != t->job->node[node].type->size) stop("push: %s takes another record", t->job->node[node].uid);
    wr_test_queue_push(t->queue[node], record);
    run(t);
}

bool weir_test_pull_(weir_test *t, weir_node stream, const weir_type *type, void *record)
{
    uint32_t port, node = node_of(t, stream, &port, "pull");
    run(t);
    if (port == WEIR_PORT_LATE && t->job->node[node].late)
        port = t->job->node[node].outs;
    else if (port >= t->job->node[node].outs)
        stop("pull: %s has no such output", t->job->node[node].uid);
    tap *tap = &t->taps[node][port];
    if (tap->type->size != type->size) stop("pull: %s gives another record", t->job->node[node].uid);
    free(tap->given);
    caught *c = tap->given = tap->first;
    if (c == NULL) return false;
    tap->first = c->next;
    if (tap->first == NULL) tap->last = &tap->first;
    memcpy(record, c->record, type->size);
    return true;
}

void weir_test_advance(weir_test *t, weir_duration by)
{
    start(t);
    if (by < 0) stop("advance: time does not go back");
    /* Timers on the way fire when it is their time, so that those that they set can fire as well. */
    int64_t until = t->now_ns + by;
    do {
        int64_t due = wr_worker_due(t->worker);
        t->now_ns = due > t->now_ns && due < until ? due : until;
        run(t);
    } while (t->now_ns < until);
}

void weir_test_end(weir_test *t)
{
    start(t);
    for (uint32_t i = 0; i < t->job->nodes && !t->ended; i++) {
        if (t->queue[i] != NULL) wr_test_queue_end(t->queue[i]);
    }
    t->ended = true;
    run(t);
}

uint64_t weir_test_counter(weir_test *t, const char *uid, const char *name)
{
    uint64_t       sum = 0;
    wr_user_metric m;
    start(t);
    for (uint32_t i = 0; wr_worker_metric(t->worker, i, &m); i++) {
        if (m.kind == 1 && strcmp(m.node->uid, uid) == 0 && strcmp(m.name, name) == 0) sum += (uint64_t)m.value;
    }
    return sum;
}

const char *weir_test_why(const weir_test *t)
{
    return t->why.code != WR_OK ? t->why.text : NULL;
}

void weir_test_batch(weir_test *t)
{
    (void)t;
    stop("not yet: micro-batches");
}

uint64_t weir_test_snapshot(weir_test *t)
{
    wr_errinfo info = {0};
    if (t->worker == NULL && wr_test_kept_new(&t->kept, &t->env, &info) != WR_OK) stop("snapshot: %s", info.text);
    start(t);
    if (t->kept == NULL) stop("snapshot: the first one comes before the first push, pull or advance");
    run(t);
    wr_err err = wr_test_kept_trigger(t->kept, t->exec, t->worker, &info);
    for (bool all = false; err == WR_OK && !all;) {
        run(t);
        if (t->why.code != WR_OK) stop("snapshot: the job has failed: %s", t->why.text);
        err = wr_test_kept_take(t->kept, t->worker, &all, &info);
    }
    if (err != WR_OK) stop("snapshot: %s", info.text);
    wr_worker_complete(t->worker, wr_test_kept_newest(t->kept));
    run(t);
    return wr_test_kept_newest(t->kept);
}

void weir_test_crash(weir_test *t)
{
    if (t->kept == NULL || wr_test_kept_newest(t->kept) == 0) stop("crash: there is no snapshot to go back to");
    cancel_all(t);
    run(t);
    wr_worker_free(t->worker);
    wr_errinfo_init(&t->why);
    start_worker(t);
    do run(t);
    while (t->why.code == WR_OK && wr_test_kept_restores(t->kept) && t->loaded < t->exec->subtasks);
    run(t);
}

static uint32_t force_time(weir_test *t, uint32_t node, weir_time at)
{
    uint32_t n = t->job->node[node].parallelism;
    for (uint32_t s = 0; s < n; s++) wr_time_force(wr_worker_op(t->worker, node, s), at.ns);
    return n;
}

void weir_test_watermark_(weir_test *t, weir_node source, weir_time at)
{
    uint32_t       port, node = node_of(t, source, &port, "watermark"), found = 0;
    const wr_node *n = &t->job->node[node];
    if (t->ended) stop("watermark: weir_test_end came before");
    if (n->kind == WR_NODE_TIME) found = force_time(t, node, at);
    for (uint32_t i = 0; n->kind != WR_NODE_TIME && i < n->out_edges; i++) {
        uint32_t to = t->job->edge[n->out_edge[i]].to;
        if (t->job->node[to].kind == WR_NODE_TIME) found += force_time(t, to, at);
    }
    if (found == 0) stop("watermark: %s has no event time; give it one by weir_event_time", n->uid);
    run(t);
}
