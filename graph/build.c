/* What a build function calls. Nothing here fails at once: problems are collected in the pipeline. */
#include "graph/build.h"
#include "base/check.h"
#include <stdarg.h>
#include <stdlib.h>

/* A stream that was never assigned names no pipeline; the one that this thread builds is told. */
static _Thread_local weir_pipeline *building;

static void bad_argument(void *self, const char *text)
{
    wr_job_problem(self, WR_CONFIG, "%s; change it, or leave it out for the default", text);
}

weir_pipeline *wr_job_new(const char *name, const char *const args[], uint32_t count)
{
    weir_pipeline *p = calloc(1, sizeof *p);
    check(p);
    wr_errinfo info;
    wr_errinfo_init(&info);
    wr_arena_init(&p->arena);
    p->name = wr_arena_str(&p->arena, name && *name ? name : "pipeline");
    p->dead = WR_NONE;
    const weir_args *list;
    wr_err           err = wr_args_new(&p->arena, args, count, &list, &info);
    weir_args       *mine = wr_arena_array(&p->arena, weir_args, 1);
    *mine = wr_args_view(list, bad_argument, p);
    p->args = mine;
    if (err) wr_job_problem(p, err, "%s", info.text);
    building = p;
    return p;
}

void wr_job_free(weir_pipeline *p)
{
    if (!p) return;
    if (building == p) building = NULL;
    wr_arena_fini(&p->arena);
    free(p);
}

static void keep_problem(weir_pipeline *p, const wr_draft *draft, wr_err err, const char *text)
{
    if (p->problems == WR_PROBLEMS_MAX) {
        p->problems_more++;
        return;
    }
    p->problem_code[p->problems] = err;
    p->problem_of[p->problems] = draft;
    p->problem[p->problems++] = text;
}

static const char *vprint(wr_arena *arena, const char *format, va_list list)
{
    char text[WR_ERROR_BYTES_MAX];
    vsnprintf(text, sizeof text, format, list);
    return wr_arena_str(arena, text);
}

void wr_job_problem(weir_pipeline *p, wr_err err, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    keep_problem(p, NULL, err, vprint(&p->arena, format, list));
    va_end(list);
}

const char *wr_graph_where(weir_pipeline *p, const wr_draft *draft)
{
    const wr_node *n = &draft->node;
    const char    *kind = n->kind == WR_NODE_SOURCE || n->kind == WR_NODE_READ  ? "source"
                          : n->kind == WR_NODE_SINK || n->kind == WR_NODE_WRITE ? "sink"
                                                                                : "operator";
    if (n->kind == WR_NODE_DEAD_LETTERS) return "the dead letters";
    if (n->uri) return wr_arena_printf(&p->arena, "%s '%s' (%.200s)", kind, n->name, n->uri);
    if (n->op && n->op->file && *n->op->file) {
        return wr_arena_printf(&p->arena, "%s '%s' (%.200s:%u)", kind, n->name, n->op->file, n->op->line);
    }
    return wr_arena_printf(&p->arena, "%s '%s'", kind, n->name ? n->name : "?");
}

void wr_graph_problem(weir_pipeline *p, wr_draft *draft, wr_err err, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    const char *text = vprint(&p->arena, format, list);
    va_end(list);
    draft->wrong = true;
    keep_problem(p, draft, err, wr_arena_printf(&p->arena, "%s: %s", wr_graph_where(p, draft), text));
}

uint32_t wr_job_problems(const weir_pipeline *p, const char *const **texts)
{
    *texts = (const char *const *)p->problem;
    return p->problems + (p->problems_more && p->problem[WR_PROBLEMS_MAX] ? 1 : 0);
}

uint32_t wr_job_problems_all(const weir_pipeline *p)
{
    return p->problems + p->problems_more;
}

bool wr_job_problem_at(const weir_pipeline *p, uint32_t i, wr_problem *problem)
{
    if (i >= p->problems) return false;
    const wr_draft *draft = p->problem_of[i];
    *problem = (wr_problem){p->problem_code[i], draft != NULL ? draft->node.name : NULL, p->problem[i]};
    return true;
}

/* ---- streams and drafts ------------------------------------------------------------------------------------------ */

wr_stream *wr_graph_stream(weir_pipeline *p, uint32_t kind, weir_node *node)
{
    *node = (weir_node){.pipeline = p, .id = 0, .port = 0};
    if (p->streams == WR_STREAMS_MAX) {
        if (!p->too_many) {
            wr_job_problem(p, WR_LIMIT, "the pipeline has more than %d streams; make it smaller", WR_STREAMS_MAX);
        }
        p->too_many = true;
        return NULL;
    }
    wr_stream *stream = wr_arena_array(&p->arena, wr_stream, 1);
    stream->kind = kind;
    node->id = p->streams;
    p->stream[p->streams++] = stream;
    return stream;
}

static weir_node broken(weir_pipeline *p)
{
    weir_node node;
    wr_graph_stream(p, WR_STREAM_BROKEN, &node);
    return node;
}

wr_draft *wr_graph_draft(weir_pipeline *p, uint32_t kind, weir_node *node)
{
    wr_stream *stream = wr_graph_stream(p, WR_STREAM_NODE, node);
    if (!stream) return NULL;
    if (p->drafts == WR_NODES_MAX) {
        if (!p->too_many) {
            wr_job_problem(p, WR_LIMIT, "the pipeline has more than %d operators; make it smaller", WR_NODES_MAX);
        }
        p->too_many = true;
        stream->kind = WR_STREAM_BROKEN;
        return NULL;
    }
    wr_draft *draft = wr_arena_array(&p->arena, wr_draft, 1);
    draft->node.id = p->drafts;
    draft->node.kind = kind;
    draft->node.uid = draft->node.name = "?";
    draft->node.task = WR_NONE;
    stream->node = p->drafts;
    p->draft[p->drafts++] = draft;
    return draft;
}

/* The pipeline of a verb that has only streams to go by. */
weir_pipeline *wr_graph_pipeline_of(weir_node node, const char *verb)
{
    if (node.pipeline) return node.pipeline;
    check(building); /* a graph verb outside of every build function */
    wr_job_problem(building, WR_GRAPH, "%s: this stream was never assigned; build it before it is used", verb);
    return building;
}

void wr_graph_give(wr_draft *draft, const weir_type *type)
{
    draft->node.type = draft->out_one = type;
    draft->node.out = &draft->out_one;
    draft->node.outs = 1;
}

/* ---- verbs ------------------------------------------------------------------------------------------------------- */

const weir_args *weir_pipeline_args(const weir_pipeline *p)
{
    return p->args;
}

static const char *op_name(const weir_op *op)
{
    return op && op->name && *op->name ? op->name : "?";
}

weir_node weir_graph_op(const weir_op *op, const weir_inputs *inputs, const weir_options *options)
{
    weir_pipeline *p = wr_graph_pipeline_of(inputs ? inputs->left : (weir_node){0}, op_name(op));
    weir_node      node;
    wr_draft      *draft = wr_graph_draft(p, WR_NODE_OP, &node);
    if (!draft) return node;
    draft->node.name = draft->node.uid = op_name(op);
    bool sized = inputs && inputs->size == sizeof(weir_inputs);
    if (!sized) {
        wr_graph_problem(p, draft, WR_WRONG_ABI, "its inputs are of another version of the headers; compile it again");
    }
    if (!wr_graph_check_op(p, draft, op) || !sized) {
        p->stream[node.id]->kind = WR_STREAM_BROKEN;
        draft->unread = true;
        return node;
    }
    draft->node.op = op;
    draft->node.in[0] = op->left;
    draft->node.in[1] = op->right;
    draft->node.out = op->out;
    draft->node.outs = op->outs;
    draft->node.type = op->outs ? op->out[0] : NULL;
    draft->inputs = op->right ? 2 : 1;
    draft->input[0] = inputs->left;
    draft->input[1] = inputs->right;
    draft->node.key[0] = inputs->left_key;
    draft->node.key[1] = inputs->right_key;
    draft->node.window = inputs->window;
    wr_graph_op_options(p, draft, options);
    wr_graph_check_parts(p, draft);
    wr_graph_check_keys(p, draft);
    wr_graph_later_op(p, draft);
    wr_graph_window(p, draft, &inputs->window);
    return node;
}

weir_node weir_graph_source(weir_pipeline *p, const weir_type *type, const weir_source_options *options)
{
    weir_node           node;
    weir_source_options o;
    wr_draft           *draft = wr_graph_draft(p, WR_NODE_SOURCE, &node);
    if (!draft) return node;
    wr_node *n = &draft->node;
    n->name = n->uid = type && type->name ? type->name : "source";
    wr_graph_give(draft, type);
    if (!wr_graph_options(p, draft, options, &o, sizeof o, "weir_source_options")) return node;
    n->uri = wr_arena_str(&p->arena, o.uri ? o.uri : "");
    wr_graph_common(
        p, draft,
        (const weir_options *)((const char *)&o + offsetof(weir_source_options, uid) - offsetof(weir_options, uid)),
        n->name);
    wr_graph_check_type(p, draft, type, WR_ROLE_RECORD);
    n->format = wr_arena_str(&p->arena, o.format);
    n->fields = wr_arena_str(&p->arena, o.fields);
    n->options = wr_arena_str(&p->arena, o.options);
    n->separator = o.separator;
    n->header = o.header;
    n->rate_max = o.rate_max;
    if (o.journal) wr_graph_problem(p, draft, WR_NOT_YET, ".journal does not run yet; leave it out");
    if (o.latest || o.until) {
        wr_graph_problem(p, draft, WR_NOT_YET, ".latest and .until do not run yet; leave them out");
    }
    return node;
}

weir_node weir_graph_read(weir_pipeline *p, const weir_op *op, const weir_read_options *options)
{
    weir_node         node;
    weir_read_options o;
    wr_draft         *draft = wr_graph_draft(p, WR_NODE_READ, &node);
    if (!draft) return node;
    draft->node.name = draft->node.uid = op_name(op);
    if (!wr_graph_check_op(p, draft, op)) {
        p->stream[node.id]->kind = WR_STREAM_BROKEN;
        draft->unread = true;
        return node;
    }
    draft->node.op = op;
    draft->node.out = op->out;
    draft->node.outs = op->outs;
    draft->node.type = op->outs ? op->out[0] : NULL;
    if (!wr_graph_options(p, draft, options, &o, sizeof o, "weir_read_options")) return node;
    wr_graph_common(p, draft, (const weir_options *)&o, op->name);
    wr_graph_check_parts(p, draft);
    draft->node.discover_every = o.discover_every;
    draft->node.rate_max = o.rate_max;
    if (o.discover_every < 0) {
        wr_graph_problem(p, draft, WR_GRAPH, ".discover_every is negative; give a duration, or leave it out");
    }
    if (o.latest || o.until) {
        wr_graph_problem(p, draft, WR_NOT_YET, ".latest and .until do not run yet; leave them out");
    }
    return node;
}

static void sink_modes(weir_pipeline *p, wr_draft *draft, const weir_sink_options *o)
{
    if (o->mode != WEIR_APPEND) {
        wr_graph_problem(p, draft, WR_NOT_YET, "output modes other than WEIR_APPEND do not run yet; leave .mode out");
    }
    if (o->guarantee > WEIR_BEST_EFFORT) {
        wr_graph_problem(p, draft, WR_OPTION, "%u is no guarantee; use one of enum weir_guarantee", o->guarantee);
    }
}

void weir_graph_sink(weir_node from, const weir_type *type, const weir_sink_options *options)
{
    weir_pipeline    *p = wr_graph_pipeline_of(from, type && type->name ? type->name : "sink");
    weir_node         node;
    weir_sink_options o;
    wr_draft         *draft = wr_graph_draft(p, WR_NODE_SINK, &node);
    if (!draft) return;
    wr_node *n = &draft->node;
    n->name = n->uid = type && type->name ? type->name : "sink";
    n->type = n->in[0] = type;
    draft->inputs = 1;
    draft->input[0] = from;
    p->stream[node.id]->used = true;
    if (!wr_graph_options(p, draft, options, &o, sizeof o, "weir_sink_options")) return;
    n->uri = wr_arena_str(&p->arena, o.uri ? o.uri : "");
    wr_graph_common(
        p, draft,
        (const weir_options *)((const char *)&o + offsetof(weir_sink_options, uid) - offsetof(weir_options, uid)),
        n->name);
    wr_graph_check_type(p, draft, type, WR_ROLE_RECORD);
    n->format = wr_arena_str(&p->arena, o.format);
    n->fields = wr_arena_str(&p->arena, o.fields);
    n->options = wr_arena_str(&p->arena, o.options);
    n->separator = o.separator;
    n->header = o.header;
    n->mode = o.mode;
    n->guarantee = o.guarantee;
    sink_modes(p, draft, &o);
}

void weir_graph_write(weir_node from, const weir_op *op, const weir_options *options)
{
    weir_pipeline *p = wr_graph_pipeline_of(from, op_name(op));
    weir_node      node;
    weir_options   o;
    wr_draft      *draft = wr_graph_draft(p, WR_NODE_WRITE, &node);
    if (!draft) return;
    draft->node.name = draft->node.uid = op_name(op);
    draft->inputs = 1;
    draft->input[0] = from;
    p->stream[node.id]->used = true;
    draft->unread = !wr_graph_check_op(p, draft, op);
    if (draft->unread) return;
    draft->node.op = op;
    draft->node.type = draft->node.in[0] = op->left;
    if (!wr_graph_options(p, draft, options, &o, sizeof o, "weir_options")) return;
    wr_graph_common(p, draft, &o, op->name);
    wr_graph_check_parts(p, draft);
    wr_graph_later_op(p, draft);
}

weir_node weir_graph_feedback(weir_pipeline *p, const weir_type *type, const weir_options *options)
{
    weir_node  node;
    wr_stream *stream = wr_graph_stream(p, WR_STREAM_FEEDBACK, &node);
    (void)options;
    wr_job_problem(p, WR_NOT_YET,
                   "weir_feedback of record '%s': feedback does not run yet; unroll the loop a fixed number of times",
                   type && type->name ? type->name : "?");
    if (stream) stream->type = type;
    return node;
}

void weir_graph_feed(weir_node feedback, weir_node from)
{
    weir_pipeline *p = wr_graph_pipeline_of(feedback, "weir_feed");
    if (from.pipeline == p && from.id < p->streams) p->stream[from.id]->used = true;
}

weir_node weir_graph_union(uint32_t n, ...)
{
    weir_node *from = NULL, node;
    va_list    list;
    va_start(list, n);
    weir_node      first = va_arg(list, weir_node);
    weir_pipeline *p = wr_graph_pipeline_of(first, "weir_union");
    wr_stream     *stream = wr_graph_stream(p, WR_STREAM_UNION, &node);
    if (stream && n >= 1 && n <= WR_EDGES_MAX) {
        from = wr_arena_array(&p->arena, weir_node, n);
        from[0] = first;
        for (uint32_t i = 1; i < n; i++) from[i] = va_arg(list, weir_node);
        stream->from = from;
        stream->froms = n;
    }
    va_end(list);
    return node;
}

static weir_node view(weir_node from, uint32_t kind, const char *verb, wr_stream **stream)
{
    weir_pipeline *p = wr_graph_pipeline_of(from, verb);
    weir_node      node;
    *stream = wr_graph_stream(p, kind, &node);
    if (!*stream) return node;
    weir_node *copy = wr_arena_array(&p->arena, weir_node, 1);
    *copy = from;
    (*stream)->from = copy;
    (*stream)->froms = 1;
    return node;
}

weir_node weir_graph_route(weir_node from, uint32_t route, weir_loop *own)
{
    wr_stream *stream;
    weir_node  node = view(from, WR_STREAM_ROUTE, "route", &stream);
    if (!stream) return node;
    if (route < WEIR_ROUTE_REBALANCE || route > WEIR_ROUTE_OWN || (route == WEIR_ROUTE_OWN) != (own != NULL)) {
        wr_job_problem(node.pipeline, WR_GRAPH, "route %u %s; use one of enum weir_route, and a function with OWN only",
                       route, route == WEIR_ROUTE_OWN ? "has no function" : "is none");
        return broken(node.pipeline);
    }
    stream->route = route;
    stream->own = own;
    return node;
}

void weir_graph_job(weir_pipeline *p, const weir_job_options *options)
{
    if (p->configured) {
        wr_job_problem(p, WR_GRAPH, "weir_configure is called twice; give all options in one call");
        return;
    }
    p->configured = true;
    if (!options || options->size != sizeof *options) {
        wr_job_problem(p, WR_WRONG_ABI, "weir_job_options are of another version of the headers; compile again");
        return;
    }
    p->options = *options;
    p->options.snapshots = wr_arena_str(&p->arena, options->snapshots);
    if (options->on_error > WEIR_DEAD_LETTER) {
        wr_job_problem(p, WR_OPTION, "weir_configure: %u is no policy; use WEIR_FAIL, WEIR_SKIP or WEIR_DEAD_LETTER",
                       options->on_error);
        p->options.on_error = WEIR_FAIL;
    }
    if (options->snapshot_every < 0 ||
        (options->snapshot_every > 0 && options->snapshot_every < WR_SNAPSHOT_EVERY_NS_MIN)) {
        wr_job_problem(
            p, WR_OPTION,
            "weir_configure: .snapshot_every is %lld ns, and an interval of snapshots is at least 1 ms; give "
            "one, or leave it out for the default",
            (long long)options->snapshot_every);
    }
    wr_graph_later_job(p, options);
}

const char *wr_job_wants_snapshots(const weir_pipeline *p, weir_duration *every)
{
    *every = p->configured ? p->options.snapshot_every : 0;
    return p->configured ? p->options.snapshots : NULL;
}
