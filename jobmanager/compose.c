#include "jobmanager/compose.h"
#include <string.h>
#include <weir/state.h>

/* What the acks say about one node, added up. */
typedef struct sums {
    uint32_t items, layers, subtasks, ended;
    int64_t  watermark; /* least */
    bool     named;
} sums;

static bool of_enumerator(const wr_compose *c, uint32_t subtask)
{
    return c->exec->vertex[c->exec->subtask[subtask].vertex].kind == WR_VERTEX_ENUMERATOR;
}

static const wr_manifest_op *base_op(const wr_compose *c, const char *uid)
{
    return c->base != NULL ? wr_manifest_find(c->base, uid) : NULL;
}

/* Layers of one subtask in the base. */
static uint32_t base_layers(const wr_compose *c, const char *uid, uint32_t index)
{
    const wr_manifest_op *op = base_op(c, uid);
    uint32_t              n = 0;
    for (uint32_t i = 0; op != NULL && i < op->layers; i++) n += op->layer[i].from == index;
    return n;
}

static wr_err add_up(const wr_compose *c, sums *sum, wr_errinfo *info)
{
    const wr_job *job = c->exec->job;
    for (uint32_t s = 0; s < c->exec->subtasks; s++) {
        const wr_ack *a = c->ack[s];
        uint32_t      index = c->exec->subtask[s].index;
        for (uint32_t i = 0; i < a->ops; i++) {
            const wr_ack_op *op = &a->op[i];
            if (op->node >= job->nodes)
                return wr_fail(info, WR_INTERNAL, "subtask %u named operator %u, which is not there", s, op->node);
            sums *t = &sum[op->node];
            t->named = true;
            t->items += op->items;
            if (of_enumerator(c, s)) continue;
            if (t->subtasks == 0 || op->watermark < t->watermark) t->watermark = op->watermark;
            t->subtasks++;
            t->ended += a->ended;
            if (!op->table || a->file.name[0] == 0) continue;
            uint32_t below = a->file.increment ? base_layers(c, job->node[op->node].uid, index) : 0;
            if (a->file.increment && (below == 0 || c->base->id != c->barrier.base))
                return wr_fail(info, WR_INTERNAL,
                               "subtask %u of %s wrote an increment to snapshot %llu, which has no full state of it",
                               index, job->node[op->node].uid, (unsigned long long)c->barrier.base);
            t->layers += below + 1;
        }
    }
    return WR_OK;
}

static void add_layers(wr_manifest_op *to, const wr_compose *c, const wr_ack *a, uint32_t index)
{
    const wr_manifest_op *base = a->file.increment ? base_op(c, to->uid) : NULL;
    uint32_t              order = 0;
    for (uint32_t i = 0; base != NULL && i < base->layers; i++) {
        if (base->layer[i].from != index) continue;
        to->layer[to->layers] = base->layer[i];
        to->layer[to->layers++].order = order++;
    }
    to->layer[to->layers++] = (wr_manifest_layer){
        .file = a->file, .snapshot = c->barrier.id, .from = index, .order = order};
}

/* Where an input fell idle and came back, one subtask may have taken the others' word before that and another behind
 * it: they have come to different times, and for none of their keys may it go back. */
static void add_watermark(wr_arena *arena, wr_manifest_op *to, uint32_t index, int64_t watermark)
{
    if (to->key.count == 0 || watermark <= to->watermark || watermark == INT64_MAX) return;
    to->item[to->items++] = (wr_item){.kind = WR_ITEM_WATERMARK,
                                      .from = index,
                                      .bytes = sizeof watermark,
                                      .data = wr_arena_copy(arena, &watermark, sizeof watermark)};
}

static void add_ack(wr_arena *arena, wr_manifest_op *to, const wr_compose *c, uint32_t subtask, const wr_ack_op *op)
{
    const wr_ack *a = c->ack[subtask];
    for (uint32_t i = 0; i < op->items; i++) to->item[to->items++] = op->item[i];
    if (of_enumerator(c, subtask)) return;
    add_watermark(arena, to, c->exec->subtask[subtask].index, op->watermark);
    if (op->table) { /* windows make types of their own */
        to->record = op->record;
        to->state = op->state;
        to->key = *op->key;
    }
    if (op->table && a->file.name[0] != 0) add_layers(to, c, a, c->exec->subtask[subtask].index);
}

static void fill_op(wr_manifest *m, const wr_compose *c, const wr_node *node, const sums *sum)
{
    wr_manifest_op *to = &m->op[m->ops++];
    const weir_op  *def = node->op;
    bool            sink = node->kind == WR_NODE_SINK || node->kind == WR_NODE_WRITE;
    to->uid = node->uid;
    to->name = node->name;
    to->kind = def->kind;
    to->parallelism = node->parallelism;
    to->max_parallelism = node->max_parallelism;
    to->ended = sum->subtasks > 0 && sum->ended == sum->subtasks;
    to->record = node->key[0].count > 0 ? def->left : NULL;
    to->state = sink ? def->shared : def->state;
    to->key = node->key[0];
    to->item = wr_arena_array(&m->arena, wr_item, sum->items + sum->subtasks + 1);
    to->layer = wr_arena_array(&m->arena, wr_manifest_layer, sum->layers + 1);
    to->watermark = sum->subtasks > 0 ? sum->watermark : WEIR_NO_TIME;
    for (uint32_t s = 0; s < c->exec->subtasks; s++) {
        for (uint32_t i = 0; i < c->ack[s]->ops; i++)
            if (c->ack[s]->op[i].node == node->id) add_ack(&m->arena, to, c, s, &c->ack[s]->op[i]);
    }
}

wr_err wr_compose_manifest(wr_manifest *m, const wr_compose *c, wr_errinfo *info)
{
    const wr_job *job = c->exec->job;
    memset(m, 0, sizeof *m);
    sums  *sum = wr_arena_array(&m->arena, sums, job->nodes + 1);
    wr_err err = add_up(c, sum, info);
    if (err != WR_OK) {
        wr_manifest_free(m);
        return err;
    }
    m->version = WR_MANIFEST_VERSION;
    m->kind = c->barrier.kind;
    m->id = c->barrier.id;
    m->base = c->barrier.base;
    m->epoch = c->barrier.epoch;
    m->job = wr_arena_str(&m->arena, job->name);
    m->lineage = wr_arena_str(&m->arena, c->lineage);
    m->weir = WR_VERSION;
    m->triggered_ns = c->triggered_ns;
    m->completed_ns = c->completed_ns;
    m->fingerprint = job->fingerprint;
    m->ended = true;
    for (uint32_t s = 0; s < c->exec->subtasks; s++) m->ended = m->ended && c->ack[s]->ended;
    m->op = wr_arena_array(&m->arena, wr_manifest_op, job->nodes + 1);
    for (uint32_t n = 0; n < job->nodes; n++)
        if (sum[n].named) fill_op(m, c, &job->node[n], &sum[n]);
    return WR_OK;
}
