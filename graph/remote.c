/* A job graph as bytes. Types stand in one list and are named by their place in it, from 1; 0 is none. Whoever decodes
 * gets the same graph with loops that must not run. */
#include "graph/remote.h"
#include "base/check.h"
#include "graph/build.h"
#include "graph/remote_tables.h"
#include "wire/schema.h"
#include <stdlib.h>

/* Every pointer to user code. Which of them are there is part of the graph: an enumerator makes a vertex. */
static const size_t loop_at[] = {
    offsetof(weir_op, on_left),   offsetof(weir_op, on_right), offsetof(weir_op, on_near),
    offsetof(weir_op, on_timer),  offsetof(weir_op, on_merge), offsetof(weir_op, on_retract),
    offsetof(weir_op, on_result), offsetof(weir_op, open),     offsetof(weir_op, close),
    offsetof(weir_op, enumerate), offsetof(weir_op, flush),    offsetof(weir_op, prepare),
    offsetof(weir_op, commit),    offsetof(weir_op, recover),  offsetof(weir_op, durable)};
enum { LOOPS = sizeof loop_at / sizeof loop_at[0] };
_Static_assert((int)LOOPS == (int)WR_REMOTE_LOOPS, "the table knows how many");

static void not_here(weir_ctx *ctx)
{
    (void)ctx;
    check(!"user code where there is none");
}

/* ---- encode ------------------------------------------------------------------------------------------------------ */

/* Stack of wr_remote_encode. */
typedef struct writer {
    wr_arena          arena;
    const weir_type **type; /* as the job has them, one for each schema */
    wr_pack          *schema;
    uint32_t          types, room;
} writer;

/* One number for all types with the same schema, so that it does not matter how the linker laid them out. */
static uint32_t type_number(writer *w, const weir_type *type)
{
    if (type == NULL) return 0;
    for (uint32_t i = 0; i < w->types; i++) {
        if (w->type[i] == type) return i + 1;
    }
    wr_pack schema = {0};
    wr_schema_pack(&schema, type);
    for (uint32_t i = 0; i < w->types; i++) {
        if (w->schema[i].bytes != schema.bytes || memcmp(w->schema[i].data, schema.data, schema.bytes) != 0) continue;
        wr_pack_free(&schema);
        return i + 1;
    }
    if (w->types == w->room) {
        uint32_t          room = w->room == 0 ? 64 : 2 * w->room;
        const weir_type **list = wr_arena_array(&w->arena, const weir_type *, room);
        wr_pack          *packs = wr_arena_array(&w->arena, wr_pack, room);
        if (w->types > 0) memcpy(list, w->type, w->types * sizeof *list);
        if (w->types > 0) memcpy(packs, w->schema, w->types * sizeof *packs);
        w->type = list;
        w->schema = packs;
        w->room = room;
    }
    w->type[w->types] = type;
    w->schema[w->types] = schema;
    return ++w->types;
}

static uint32_t *type_numbers(writer *w, const weir_type *const *type, uint32_t n)
{
    uint32_t *list = wr_arena_array(&w->arena, uint32_t, n + 1);
    for (uint32_t i = 0; i < n; i++) list[i] = type_number(w, type[i]);
    return list;
}

static void put_op(writer *w, wr_remote_op *to, const weir_op *op)
{
    to->op = *op;
    to->left = type_number(w, op->left);
    to->right = type_number(w, op->right);
    to->state = type_number(w, op->state);
    to->shared = type_number(w, op->shared);
    to->outs = op->out != NULL ? op->outs : 0;
    to->out = op->out != NULL ? type_numbers(w, op->out, op->outs) : NULL;
    for (uint32_t i = 0; i < LOOPS; i++) {
        weir_loop *loop;
        memcpy(&loop, (const char *)op + loop_at[i], sizeof loop);
        to->loops |= (uint32_t)(loop != NULL) << i;
    }
}

static void put_node(writer *w, wr_remote_node *to, const wr_node *n)
{
    to->n = *n;
    to->separator = (unsigned char)n->separator;
    to->type = type_number(w, n->type);
    to->left = type_number(w, n->in[0]);
    to->right = type_number(w, n->in[1]);
    to->outs = n->outs;
    to->out = type_numbers(w, n->out, n->outs);
    to->watermark = n->watermark != NULL ? n->watermark->name : NULL;
    to->upgrade = wr_arena_array(&w->arena, wr_remote_upgrade, WR_REMOTE_UPGRADES);
    for (; to->upgrades < WR_REMOTE_UPGRADES && n->upgrade[to->upgrades] != NULL; to->upgrades++) {
        to->upgrade[to->upgrades].from = type_number(w, n->upgrade[to->upgrades]->from);
        to->upgrade[to->upgrades].to = type_number(w, n->upgrade[to->upgrades]->to);
    }
    put_op(w, &to->op, n->op);
}

static void put_job(writer *w, wr_remote_job_bytes *to, const wr_job *job)
{
    to->version = WR_REMOTE_VERSION;
    to->job = *job;
    to->node = wr_arena_array(&w->arena, wr_remote_node, job->nodes + 1);
    to->edge = wr_arena_array(&w->arena, wr_remote_edge, job->edges + 1);
    to->task = wr_arena_array(&w->arena, wr_remote_task, job->tasks + 1);
    to->nodes = job->nodes;
    to->edges = job->edges;
    to->tasks = job->tasks;
    for (uint32_t i = 0; i < job->nodes; i++) put_node(w, &to->node[i], &job->node[i]);
    for (uint32_t i = 0; i < job->edges; i++) {
        to->edge[i].e = job->edge[i];
        to->edge[i].type = type_number(w, job->edge[i].type);
        to->edge[i].own = job->edge[i].own != NULL;
    }
    for (uint32_t i = 0; i < job->tasks; i++) {
        to->task[i].name = job->task[i].name;
        to->task[i].n = job->task[i].n;
        to->task[i].nodes = (uint32_t *)(uintptr_t)job->task[i].nodes; /* read only */
    }
    to->type = w->type;
    to->types = w->types;
}

wr_err wr_remote_encode(const wr_job *job, char **bytes, size_t *n, wr_errinfo *info)
{
    writer              w = {0};
    wr_pack             p = {0};
    wr_remote          *back = NULL;
    wr_errinfo          why = {0};
    wr_remote_job_bytes all = {0};
    for (uint32_t i = 0; i < job->nodes; i++) {
        if (job->node[i].op == NULL)
            return wr_fail(info, WR_URI, "'%s' has no connector; a graph with such a node cannot be sent",
                           job->node[i].name);
    }
    put_job(&w, &all, job);
    const char *bad = wr_struct_pack(&p, &wr_remote_struct, &all);
    for (uint32_t i = 0; i < w.types; i++) wr_pack_free(&w.schema[i]);
    wr_arena_fini(&w.arena);
    if (bad != NULL) wr_fail(&why, WR_LIMIT, "beyond its bounds: %s", bad);
    /* A graph that cannot be read is worth nothing: so the reader says whether this one may be sent. */
    if (bad == NULL && wr_remote_decode(&back, p.data, p.bytes, &why) == WR_OK) {
        wr_remote_free(back);
        *bytes = p.data;
        *n = p.bytes;
        return WR_OK;
    }
    wr_fail(info, WR_LIMIT, "the graph of '%s' cannot be sent: %s", job->name, why.text);
    wr_pack_free(&p);
    return WR_LIMIT;
}

/* ---- decode ------------------------------------------------------------------------------------------------------ */

struct wr_remote {
    wr_arena            arena;
    wr_job              job;
    wr_remote_job_bytes all;
    const char         *problem; /* the first one */
};

static void bad(wr_remote *r, const char *problem)
{
    if (r->problem == NULL) r->problem = problem;
}

static const weir_type *type_of(wr_remote *r, uint32_t number)
{
    if (number > r->all.types) bad(r, "a type has a number that none has");
    return number == 0 || number > r->all.types ? NULL : r->all.type[number - 1];
}

/* all: a descriptor of a connector says none, since its endpoint does. */
static const weir_type *const *types_of(wr_remote *r, const uint32_t *number, uint32_t n, bool all)
{
    const weir_type **list = wr_arena_array(&r->arena, const weir_type *, n + 1);
    for (uint32_t i = 0; i < n; i++) {
        list[i] = type_of(r, number[i]);
        if (list[i] == NULL && (all || number[i] != 0)) bad(r, "an output has no type");
    }
    return list;
}

static const weir_op *get_op(wr_remote *r, const wr_remote_op *from)
{
    weir_op *op = wr_arena_array(&r->arena, weir_op, 1);
    *op = from->op;
    op->abi_size = sizeof *op;
    op->left = type_of(r, from->left);
    op->right = type_of(r, from->right);
    op->state = type_of(r, from->state);
    op->shared = type_of(r, from->shared);
    if (from->outs > 0) op->out = types_of(r, from->out, from->outs, false);
    if (from->outs > 0 && from->outs != op->outs)
        bad(r, "an operator has another number of outputs than types of them");
    for (uint32_t i = 0; i < LOOPS; i++) {
        weir_loop *loop = not_here;
        if (from->loops >> i & 1) memcpy((char *)op + loop_at[i], &loop, sizeof loop);
    }
    if (op->enumerate != NULL && op->state == NULL) bad(r, "a source has an enumerator, but no type of its splits");
    return op;
}

static bool key_fits(const weir_key *key, const weir_type *type)
{
    for (uint32_t i = 0; i < key->count; i++) {
        uint32_t kind = key->field[i].kind;
        bool     found = false;
        for (uint32_t f = 0; type != NULL && f < type->fields && !found; f++)
            found = type->field[f].offset == key->field[i].offset && type->field[f].kind == kind;
        if (!found || kind < WEIR_BOOL || kind > WEIR_BYTES || kind == WEIR_F32 || kind == WEIR_F64) return false;
    }
    return true;
}

static void get_node(wr_remote *r, wr_node *n, const wr_remote_node *from, uint32_t id)
{
    *n = from->n;
    n->id = id;
    n->separator = (char)from->separator;
    n->type = type_of(r, from->type);
    n->in[0] = type_of(r, from->left);
    n->in[1] = type_of(r, from->right);
    n->outs = from->outs;
    n->out = types_of(r, from->out, from->outs, true);
    if (from->watermark != NULL) {
        weir_watermark_def *def = wr_arena_array(&r->arena, weir_watermark_def, 1);
        def->name = from->watermark;
        n->watermark = def;
    }
    for (uint32_t i = 0; i < from->upgrades; i++) {
        weir_upgrade *u = wr_arena_array(&r->arena, weir_upgrade, 1);
        *u = (weir_upgrade){type_of(r, from->upgrade[i].from), type_of(r, from->upgrade[i].to), not_here};
        if (u->from == NULL || u->to == NULL) bad(r, "an upgrade has no type");
        n->upgrade[i] = u;
    }
    n->op = get_op(r, &from->op);
    if (n->uid[0] == 0 || n->name[0] == 0) bad(r, "an operator has no name");
    if (n->parallelism == 0 || n->parallelism > n->max_parallelism) bad(r, "a parallelism is none");
    if (!key_fits(&n->key[0], n->in[0]) || !key_fits(&n->key[1], n->in[1])) bad(r, "a key is no field of its record");
    for (uint32_t i = 0; i < id; i++) {
        if (strcmp(r->job.node[i].uid, n->uid) == 0) bad(r, "two operators have the same uid");
    }
}

static void get_edge(wr_remote *r, wr_edge *e, const wr_remote_edge *from, uint32_t id)
{
    const wr_job *job = &r->job;
    *e = from->e;
    e->id = id;
    e->type = type_of(r, from->type);
    e->own = from->own ? not_here : NULL;
    if (e->type == NULL) bad(r, "a stream has no type");
    if (e->from >= job->nodes || e->to >= job->nodes) {
        bad(r, "a stream begins or ends nowhere");
        return;
    }
    const wr_node *a = &job->node[e->from], *b = &job->node[e->to];
    bool           beside = e->from_port == WR_PORT_DEAD || e->from_port == WEIR_PORT_LATE;
    if (!beside && e->from_port >= a->outs) bad(r, "a stream comes from an output that is not there");
    if (e->route == WR_ROUTE_FORWARD && a->parallelism != b->parallelism) bad(r, "a stream cannot go forward");
    if (e->chained && a->parallelism != b->parallelism) bad(r, "operators of a chain have different parallelism");
    if ((e->route == WR_ROUTE_HASH) != (e->key.count > 0) || !key_fits(&e->key, e->type))
        bad(r, "a key is no field of its record");
}

static void get_task(wr_remote *r, wr_task *t, const wr_remote_task *from, uint32_t id)
{
    *t = (wr_task){.id = id, .name = from->name, .n = from->n, .nodes = from->nodes};
    for (uint32_t i = 0; i < t->n; i++) {
        if (t->nodes[i] >= r->job.nodes || r->job.node[t->nodes[i]].task != WR_NONE) {
            bad(r, "an operator is in two chains, or is none");
            return;
        }
        r->job.node[t->nodes[i]].task = id;
    }
    if (t->n == 0) {
        bad(r, "a chain is empty");
        return;
    }
    const wr_node *head = &r->job.node[t->nodes[0]];
    t->parallelism = head->parallelism;
    t->max_parallelism = head->max_parallelism;
    t->blocking = head->blocking;
    t->slot_group = head->slot_group;
}

/* Producers come before consumers, between chains and in each: so there is no cycle. */
static void check_chains(wr_remote *r)
{
    const wr_job *job = &r->job;
    uint32_t     *place = wr_arena_array(&r->arena, uint32_t, job->nodes + 1);
    uint64_t      subtasks = 0;
    for (uint32_t i = 0; i < job->tasks; i++) {
        for (uint32_t k = 0; k < job->task[i].n; k++) place[job->task[i].nodes[k]] = k;
        subtasks += job->task[i].parallelism;
    }
    if (subtasks > WR_CHANNELS_MAX) bad(r, "it has too many subtasks");
    for (uint32_t i = 0; i < job->nodes; i++) {
        const wr_node *n = &job->node[i];
        if (n->task == WR_NONE) bad(r, "an operator is in no chain");
        if (place[i] > 0 && (n->in_edges != 1 || !job->edge[n->in_edge[0]].chained))
            bad(r, "an operator within a chain is not called by it");
    }
    for (uint32_t i = 0; i < job->edges && r->problem == NULL; i++) {
        const wr_edge *e = &job->edge[i];
        uint32_t       from = job->node[e->from].task, to = job->node[e->to].task;
        if (e->chained ? from != to || place[e->from] >= place[e->to] : from >= to || place[e->to] != 0)
            bad(r, "chains are not in order");
    }
}

static void get_job(wr_remote *r)
{
    wr_remote_job_bytes *all = &r->all;
    wr_job              *job = &r->job;
    *job = all->job; /* its numbers and name */
    job->nodes = all->nodes;
    job->edges = all->edges;
    job->tasks = all->tasks;
    job->node = wr_arena_array(&r->arena, wr_node, all->nodes + 1);
    job->edge = wr_arena_array(&r->arena, wr_edge, all->edges + 1);
    job->task = wr_arena_array(&r->arena, wr_task, all->tasks + 1);
    for (uint32_t i = 0; i < all->nodes; i++) {
        get_node(r, &job->node[i], &all->node[i], i);
        job->node[i].task = WR_NONE;
    }
    for (uint32_t i = 0; i < all->edges && r->problem == NULL; i++) get_edge(r, &job->edge[i], &all->edge[i], i);
    for (uint32_t i = 0; i < all->tasks && r->problem == NULL; i++) get_task(r, &job->task[i], &all->task[i], i);
    if (r->problem != NULL) return;
    wr_graph_link_nodes(&r->arena, job);
    check_chains(r);
}

wr_err wr_remote_decode(wr_remote **take, const char *bytes, size_t n, wr_errinfo *info)
{
    wr_unpack u;
    *take = NULL;
    if (n > WR_GRAPH_BYTES_MAX)
        return wr_fail(info, WR_LIMIT, "a job graph has %zu bytes; at most %d are taken", n, WR_GRAPH_BYTES_MAX);
    wr_remote *r = calloc(1, sizeof *r);
    if (r == NULL) return wr_fail(info, WR_MEMORY, "no memory for a job graph");
    wr_unpack_init(&u, bytes, n);
    wr_struct_unpack(&u, &r->arena, WR_MESSAGE_MEMORY_MAX, &wr_remote_struct, &r->all);
    wr_unpack_end(&u);
    if (u.problem == NULL && r->all.version > WR_REMOTE_VERSION) {
        wr_fail(info, WR_NEWER, "a job graph is of version %u; this Weir reads up to %u", r->all.version,
                WR_REMOTE_VERSION);
        wr_remote_free(r);
        return WR_NEWER;
    }
    if (u.problem == NULL) get_job(r);
    if (u.problem == NULL && r->problem == NULL) {
        *take = r;
        return WR_OK;
    }
    wr_fail(info, WR_DAMAGED, "a job graph is none: %s; offset %zu", u.problem != NULL ? u.problem : r->problem,
            u.problem != NULL ? u.offset : n);
    wr_remote_free(r);
    return WR_DAMAGED;
}

const wr_job *wr_remote_job(const wr_remote *r)
{
    return &r->job;
}

void wr_remote_free(wr_remote *r)
{
    if (r == NULL) return;
    wr_arena_fini(&r->arena);
    free(r);
}
