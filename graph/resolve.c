/* What the settings of a run decide: --set, connectors, parallelism, policies, routes and slot groups. */
#include "base/text.h"
#include "graph/build.h"
#include <string.h>

/* ---- --set NAME=URI ---------------------------------------------------------------------------------------------- */

/* A custom source or sink becomes one by URI, of the record that it gives or takes. */
static void replace(weir_pipeline *p, wr_draft *draft, const char *uri)
{
    wr_node *n = &draft->node;
    if (n->kind == WR_NODE_READ && n->outs != 1) {
        wr_graph_problem(p, draft, WR_CONFIG, "--set cannot replace a source with %u outputs; leave it out", n->outs);
        return;
    }
    if (n->kind == WR_NODE_READ) {
        n->kind = WR_NODE_SOURCE;
        draft->out_one = n->type;
        n->out = &draft->out_one;
    } else if (n->kind == WR_NODE_WRITE) {
        n->kind = WR_NODE_SINK;
    }
    n->op = NULL;
    n->uri = wr_arena_str(&p->arena, uri);
    n->options = NULL; /* they were those of the replaced connector */
    n->replaced = true;
}

void wr_graph_set(weir_pipeline *p, const wr_job_settings *settings)
{
    const char **names = wr_arena_array(&p->arena, const char *, p->drafts + 1);
    uint32_t     count = 0;
    for (uint32_t i = 0; i < p->drafts; i++) {
        uint32_t kind = p->draft[i]->node.kind;
        bool     io = kind == WR_NODE_SOURCE || kind == WR_NODE_SINK || kind == WR_NODE_READ || kind == WR_NODE_WRITE;
        if (io) names[count++] = p->draft[i]->node.name;
    }
    for (uint32_t i = 0; i < settings->sets; i++) {
        const char *equal = strchr(settings->set[i], '=');
        if (!equal || equal == settings->set[i] || !equal[1]) {
            wr_job_problem(p, WR_USAGE, "--set %s is not NAME=URI; correct it", settings->set[i]);
            continue;
        }
        char     *name = wr_arena_copy(&p->arena, settings->set[i], (size_t)(equal - settings->set[i]));
        wr_draft *found = NULL;
        for (uint32_t k = 0; k < p->drafts; k++) {
            wr_draft *d = p->draft[k];
            uint32_t  kind = d->node.kind;
            bool      io = kind != WR_NODE_OP && kind != WR_NODE_DEAD_LETTERS && kind != WR_NODE_TIME;
            if (io && !found && strcmp(d->node.name, name) == 0) found = d;
        }
        if (!found) {
            const char *near = wr_did_you_mean(name, names, count);
            wr_job_problem(p, WR_USAGE, "--set %s: no source or sink has this name%s%s%s", settings->set[i],
                           near ? "; did you mean '" : "", near ? near : "",
                           near ? "'?" : "; weir plan shows the names");
        } else if (found->node.replaced) {
            wr_job_problem(p, WR_USAGE, "--set %s: '%s' is replaced twice; give it once", settings->set[i], name);
        } else {
            replace(p, found, equal + 1);
        }
    }
}

/* ---- connectors -------------------------------------------------------------------------------------------------- */

typedef struct wr_report {
    weir_pipeline *p;
    wr_draft      *draft;
} wr_report;

static void report(void *self, wr_err err, const char *text)
{
    wr_report *r = self;
    wr_graph_problem(r->p, r->draft, err, "%s", text);
}

static bool fits(const weir_op *op, bool sink)
{
    bool two_phase = op->kind == WEIR_OP_TWO_PHASE_SINK && op->prepare && op->commit && op->recover && op->shared;
    return sink ? op->kind == WEIR_OP_SINK || two_phase : op->kind == WEIR_OP_SOURCE;
}

static void bind(weir_pipeline *p, wr_draft *draft, const weir_connector *c, size_t n)
{
    wr_node       *node = &draft->node;
    bool           sink = node->kind == WR_NODE_SINK;
    const weir_op *op = sink ? c->sink : c->source;
    int            len = (int)n;
    if (c->magic != WEIR_CONNECTOR_MAGIC || c->abi != WEIR_ABI || c->size != sizeof *c) {
        wr_graph_problem(p, draft, WR_WRONG_ABI, "connector '%.*s' is for another version of Weir; build it again", len,
                         node->uri);
    } else if (!op) {
        wr_graph_problem(p, draft, WR_URI, "'%.*s:' cannot be a %s, only a %s; use another URI", len, node->uri,
                         sink ? "sink" : "source", sink ? "source" : "sink");
    } else if (op->abi_size != sizeof *op || !fits(op, sink) || !op->on_left) {
        wr_graph_problem(p, draft, WR_WRONG_ABI, "connector '%.*s' has a descriptor that does not fit; build it again",
                         len, node->uri);
    } else {
        node->connector = c;
        node->op = op;
    }
}

static void find_connector(weir_pipeline *p, wr_draft *draft, const wr_job_settings *settings)
{
    wr_node    *node = &draft->node;
    const char *meant = NULL;
    size_t      n = 0;
    if (!*node->uri) {
        wr_graph_problem(p, draft, WR_URI, "it has no URI; give one, such as %s",
                         node->kind == WR_NODE_SINK ? "\"print:\"" : "\"file:///var/log/syslog\"");
        return;
    }
    if (!wr_uri_scheme(node->uri, &n)) {
        wr_graph_problem(p, draft, WR_URI, "its URI has no scheme; did you mean 'file://%.200s'?", node->uri);
        return;
    }
    if (!settings->connector) return;
    const weir_connector *c = settings->connector(settings->self, node->uri, n, &meant);
    if (c) {
        bind(p, draft, c, n);
    } else {
        wr_graph_problem(p, draft, WR_URI, "there is no connector for '%.*s:'%s%s%s", (int)(n < 64 ? n : 64), node->uri,
                         meant ? "; did you mean '" : "", meant ? meant : "", meant ? ":'?" : "; correct the URI");
    }
}

static void make_endpoint(weir_pipeline *p, wr_draft *draft, const wr_job_settings *settings)
{
    wr_node         *n = &draft->node;
    wr_report        to = {.p = p, .draft = draft};
    uint32_t         before = p->problems + p->problems_more;
    wr_endpoint_spec spec = {.name = n->name,
                             .uri = n->uri,
                             .format = n->format,
                             .fields = n->fields,
                             .options = n->options,
                             .separator = n->separator,
                             .header = n->header,
                             .sink = n->kind == WR_NODE_SINK,
                             .replaced = n->replaced,
                             .rate_max = n->rate_max,
                             .type = n->type};
    n->endpoint = wr_endpoint_new(&p->arena, &spec, n->connector, report, &to);
    n->format = n->endpoint->format;
    n->separator = n->endpoint->separator;
    n->header = n->endpoint->header;
    if (!settings->inspect || !n->connector || !n->type || p->problems + p->problems_more != before) return;
    wr_errinfo info;
    wr_errinfo_init(&info);
    wr_err err = settings->inspect(settings->self, n->endpoint, spec.sink, &info);
    if (err) wr_graph_problem(p, draft, err, "%s", info.text);
}

/* What is read once and gone: two readers would each get pieces of it. */
static void one_reader(weir_pipeline *p)
{
    const uint32_t once = WEIR_CONNECTOR_ONE | WEIR_CONNECTOR_GONE;
    for (uint32_t i = 0; i < p->drafts; i++) {
        const wr_node *n = &p->draft[i]->node;
        if (n->kind != WR_NODE_SOURCE || n->connector == NULL || (n->connector->flags & once) != once) continue;
        for (uint32_t k = 0; k < i; k++) {
            const wr_node *other = &p->draft[k]->node;
            if (other->kind != WR_NODE_SOURCE || other->connector != n->connector ||
                strcmp(other->endpoint->path, n->endpoint->path) != 0)
                continue;
            wr_graph_problem(p, p->draft[i], WR_GRAPH,
                             "it reads what %s reads, and '%s:' can only be read once; give both operators the stream "
                             "of one source",
                             wr_graph_where(p, p->draft[k]), n->connector->scheme);
            break;
        }
    }
}

void wr_graph_endpoints(weir_pipeline *p, const wr_job_settings *settings)
{
    for (uint32_t i = 0; i < p->drafts; i++) {
        wr_draft *draft = p->draft[i];
        wr_node  *n = &draft->node;
        if (n->kind == WR_NODE_SOURCE || n->kind == WR_NODE_SINK) {
            if (!n->uri) continue; /* its options could not be read */
            find_connector(p, draft, settings);
            make_endpoint(p, draft, settings);
        }
        bool two_phase = n->op && n->op->kind == WEIR_OP_TWO_PHASE_SINK;
        if (n->guarantee == WEIR_EXACTLY_ONCE && n->connector && !two_phase) {
            wr_graph_problem(
                p, draft, WR_OPTION,
                "'%s:' cannot take back what it has written, so after a restart records may come twice: no "
                "WEIR_EXACTLY_ONCE; write to 'file:', or leave .guarantee out for the best that there is",
                n->connector->scheme);
        }
        /* To commit is to wait for a disk. */
        bool blocks = (n->op && n->op->flags & WEIR_OP_BLOCKING) ||
                      (n->connector && n->connector->flags & WEIR_CONNECTOR_BLOCKS) ||
                      (two_phase && n->guarantee == WEIR_EXACTLY_ONCE);
        n->blocking = draft->blocking == WEIR_BLOCKING_DEFAULT ? blocks : draft->blocking == WEIR_OWN_THREAD;
        if (n->kind == WR_NODE_TIME) wr_graph_time_blocking(p, draft);
    }
    one_reader(p);
}

typedef struct wr_compared {
    weir_pipeline *p;
    wr_draft     **draft; /* of each node that is compared */
} wr_compared;

static void note_clash(void *to, uint32_t at, wr_err err, const char *text)
{
    wr_compared *c = to;
    wr_graph_problem(c->p, c->draft[at], err, "%s", text);
}

void wr_graph_compare(weir_pipeline *p, const wr_job_settings *settings)
{
    wr_compared     c = {.p = p, .draft = wr_arena_array(&p->arena, wr_draft *, p->drafts + 1)};
    const wr_node **node = wr_arena_array(&p->arena, const wr_node *, p->drafts + 1);
    uint32_t        n = 0;
    for (uint32_t i = 0; i < p->drafts; i++) {
        const wr_node *one = &p->draft[i]->node;
        if (one->endpoint == NULL || one->connector == NULL) continue;
        c.draft[n] = p->draft[i];
        node[n++] = one;
    }
    if (settings->compare && n > 1)
        settings->compare(settings->self, node, n, settings->restore != NULL, note_clash, &c);
}

/* ---- parallelism ------------------------------------------------------------------------------------------------- */

uint32_t wr_max_parallelism_of(uint32_t parallelism)
{
    uint64_t want = ((uint64_t)parallelism * 3 + 1) / 2, power = WR_KEY_GROUPS_MIN;
    while (power < want && power < WR_PARALLELISM_MAX) power *= 2;
    return (uint32_t)power;
}

/* Key group g belongs to subtask g * P / M; so the first group of subtask s is the least g with g * P >= s * M. */
wr_key_groups wr_key_groups_of(uint32_t subtask, uint32_t parallelism, uint32_t max_parallelism)
{
    uint64_t      p = parallelism, m = max_parallelism, s = subtask;
    wr_key_groups groups = {.first = (uint32_t)((s * m + p - 1) / p), .end = (uint32_t)(((s + 1) * m + p - 1) / p)};
    return groups;
}

/* Key groups are cut by max_parallelism: it stays what it was when the state was written. */
static bool restored_parallelism(weir_pipeline *p, wr_draft *draft, const wr_manifest *restore)
{
    const wr_manifest_op *op = NULL;
    for (uint32_t i = 0; i < restore->ops && op == NULL; i++)
        if (strcmp(restore->op[i].uid, draft->node.uid) == 0) op = &restore->op[i];
    if (op == NULL || op->max_parallelism == 0) return false;
    if (op->layers > 0 && draft->max_parallelism != 0 && draft->max_parallelism != op->max_parallelism)
        wr_graph_problem(p, draft, WR_STATE, "its .max_parallelism is %u, but %u in the snapshot; leave it out",
                         draft->max_parallelism, op->max_parallelism);
    draft->max_parallelism = op->max_parallelism;
    return true;
}

static void one_parallelism(weir_pipeline *p, wr_draft *draft, uint32_t most, const wr_manifest *restore)
{
    if (draft->node.kind == WR_NODE_TIME) {
        wr_graph_time_parallelism(p, draft);
        return;
    }
    bool     restored = restore != NULL && restored_parallelism(p, draft, restore);
    wr_node *n = &draft->node;
    bool     single = n->connector && n->connector->flags & WEIR_CONNECTOR_ONE;
    n->parallelism = draft->parallelism ? draft->parallelism : draft->alone || single ? 1 : p->job.parallelism;
    if (n->parallelism > most) {
        wr_graph_problem(p, draft, WR_GRAPH, "parallelism %u is above the maximum of %u; lower it", n->parallelism,
                         most);
        n->parallelism = 1;
    }
    if ((draft->alone || single) && n->parallelism > 1) {
        wr_graph_problem(p, draft, WR_GRAPH, "it %s, so its parallelism is 1, not %u; leave .parallelism out",
                         single ? "can only run once" : "has one state for all records", n->parallelism);
    }
    n->max_parallelism = draft->max_parallelism   ? draft->max_parallelism
                         : p->job.max_parallelism ? p->job.max_parallelism
                                                  : wr_max_parallelism_of(n->parallelism);
    if (n->max_parallelism > WR_PARALLELISM_MAX) {
        wr_graph_problem(p, draft, WR_GRAPH, "max_parallelism %u is above the maximum of %d; lower it",
                         n->max_parallelism, WR_PARALLELISM_MAX);
    } else if (n->max_parallelism < n->parallelism && restored) {
        wr_graph_problem(p, draft, WR_GRAPH,
                         "parallelism %u is above its max_parallelism of %u, which the snapshot fixes; run it with at "
                         "most -p %u, or give this operator so much by .parallelism",
                         n->parallelism, n->max_parallelism, n->max_parallelism);
    } else if (n->max_parallelism < n->parallelism) {
        wr_graph_problem(p, draft, WR_GRAPH,
                         "parallelism %u is above its max_parallelism of %u; lower it, or raise that", n->parallelism,
                         n->max_parallelism);
    }
}

void wr_graph_parallelism(weir_pipeline *p, const wr_job_settings *settings)
{
    uint32_t most = settings->parallelism_max ? settings->parallelism_max : WR_PARALLELISM_MAX;
    if (most > WR_PARALLELISM_MAX) most = WR_PARALLELISM_MAX;
    wr_job *job = &p->job;
    job->parallelism = settings->parallelism           ? settings->parallelism
                       : p->options.parallelism        ? p->options.parallelism
                       : settings->parallelism_default ? settings->parallelism_default
                                                       : 1;
    job->max_parallelism = p->options.max_parallelism;
    if (job->parallelism > most) {
        wr_job_problem(p, WR_GRAPH, "parallelism %u of the job is above the maximum of %u; lower %s", job->parallelism,
                       most, settings->parallelism ? "-p" : "it in weir_configure");
        job->parallelism = 1;
    }
    for (uint32_t i = 0; i < p->drafts; i++) one_parallelism(p, p->draft[i], most, settings->restore);
}

/* ---- policies ---------------------------------------------------------------------------------------------------- */

/* Marks what the dead letters flow into: there a rejected record cannot become a dead letter again. */
static void mark_behind_dead(weir_pipeline *p, bool *behind)
{
    if (p->dead == WR_NONE) return;
    behind[p->dead] = true;
    for (bool moved = true; moved;) {
        moved = false;
        for (uint32_t i = 0; i < p->job.edges; i++) {
            const wr_edge *e = &p->job.edge[i];
            if (!behind[e->from] || behind[e->to]) continue;
            behind[e->to] = moved = true;
        }
    }
}

void wr_graph_policies(weir_pipeline *p)
{
    bool    *behind = wr_arena_array(&p->arena, bool, p->drafts + 1);
    uint32_t fallback = p->options.on_error == WEIR_POLICY_DEFAULT ? WEIR_FAIL : p->options.on_error, letters = 0;
    bool     told = false, tried = false;
    mark_behind_dead(p, behind);
    for (uint32_t i = 0; i < p->drafts; i++) {
        wr_draft *draft = p->draft[i];
        wr_node  *n = &draft->node;
        bool      said = n->on_error != WEIR_POLICY_DEFAULT;
        if (!said) n->on_error = fallback;
        if (n->on_error != WEIR_DEAD_LETTER) continue;
        tried = true;
        if (behind[i] && !said) {
            n->on_error = WEIR_FAIL;
        } else if (behind[i]) {
            wr_graph_problem(p, draft, WR_GRAPH,
                             "it takes dead letters, so it cannot make some; use WEIR_FAIL or WEIR_SKIP");
        } else if (p->dead == WR_NONE) {
            if (said) {
                wr_graph_problem(p, draft, WR_GRAPH,
                                 "on_error is WEIR_DEAD_LETTER, but nothing takes dead letters; use weir_dead_letters");
            } else if (!told) {
                wr_job_problem(p, WR_GRAPH,
                               "weir_configure: on_error is WEIR_DEAD_LETTER, but nothing takes dead letters; use "
                               "weir_dead_letters");
                told = true;
            }
        } else {
            n->dead = true;
            letters++;
            wr_graph_dead_edge(p, i);
        }
    }
    if (p->dead != WR_NONE && !letters && !tried) {
        wr_graph_problem(p, p->draft[p->dead], WR_GRAPH,
                         "no operator makes any; set .on_error = WEIR_DEAD_LETTER somewhere");
    }
}

/* ---- routes and slot groups -------------------------------------------------------------------------------------- */

void wr_graph_routes(weir_pipeline *p)
{
    for (uint32_t i = 0; i < p->job.edges; i++) {
        wr_edge *e = &p->job.edge[i];
        uint32_t from = p->draft[e->from]->node.parallelism, to = p->draft[e->to]->node.parallelism;
        if (e->route == WR_ROUTE_FORWARD && from != to) e->route = WR_ROUTE_REBALANCE;
    }
}

/* As in Flink: what does not say takes the group of its inputs when they agree. */
void wr_graph_groups(weir_pipeline *p, const uint32_t *order)
{
    static const char standard[] = "default";
    for (uint32_t i = 0; i < p->drafts; i++) {
        wr_draft   *draft = p->draft[order[i]];
        const char *group = draft->slot_group;
        bool        agree = !group;
        for (uint32_t k = 0; agree && k < p->job.edges; k++) {
            const wr_edge *e = &p->job.edge[k];
            if (e->to != order[i] || e->from_port == WR_PORT_DEAD) continue;
            const char *theirs = p->draft[e->from]->node.slot_group;
            if (group && strcmp(group, theirs) != 0) {
                group = standard;
                agree = false;
            } else {
                group = theirs;
            }
        }
        draft->node.slot_group = group ? group : standard;
    }
}
