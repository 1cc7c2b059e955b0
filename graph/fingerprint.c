/* One number for the structure of a job: a worker that builds the pipeline again must get the same. URIs and
 * arguments are not in it (they may differ from run to run), nor is the job's name. */
#include "base/hash.h"
#include "graph/build.h"

static void mix(uint64_t *hash, uint64_t value)
{
    *hash = wr_hash_fold(*hash, wr_fmix64(value));
}

static void mix_text(uint64_t *hash, const char *text)
{
    *hash = wr_hash_fold(*hash, text ? wr_hash_bytes(text, strlen(text)) : 1);
}

static void mix_type(uint64_t *hash, const weir_type *type)
{
    mix(hash, type ? type->fields : UINT64_MAX);
    if (!type) return;
    mix(hash, (uint64_t)type->size << 32 | type->align);
    for (uint32_t i = 0; i < type->fields; i++) {
        const weir_field *f = &type->field[i];
        mix_text(hash, f->name);
        mix(hash, (uint64_t)f->offset << 32 | f->size);
        mix(hash, (uint64_t)f->kind << 32 | f->key_kind);
        mix(hash, (uint64_t)f->key << 32 | f->logical);
        mix(hash, (uint64_t)f->ttl);
        if (f->element) mix_type(hash, f->element); /* elements are records: two levels at most */
    }
}

static void mix_key(uint64_t *hash, const weir_key *key)
{
    mix(hash, key->count);
    for (uint32_t i = 0; i < key->count; i++) mix(hash, (uint64_t)key->field[i].offset << 32 | key->field[i].kind);
}

static void mix_node(uint64_t *hash, const wr_node *n)
{
    mix(hash, (uint64_t)n->kind << 32 | (n->kind == WR_NODE_OP ? n->op->kind : 0));
    mix_text(hash, n->uid);
    mix_text(hash, n->slot_group);
    mix(hash, (uint64_t)n->parallelism << 32 | n->max_parallelism);
    mix(hash, (uint64_t)n->on_error << 8 | n->blocking);
    mix_type(hash, n->in[0]);
    mix_type(hash, n->in[1]);
    mix(hash, n->outs);
    for (uint32_t i = 0; i < n->outs; i++) mix_type(hash, n->out[i]);
    mix_type(hash, n->op && n->kind != WR_NODE_SOURCE && n->kind != WR_NODE_SINK ? n->op->state : NULL);
    mix(hash, n->window.window.kind);
}

uint64_t wr_graph_fingerprint(const wr_job *job)
{
    uint64_t hash = wr_fmix64(((uint64_t)job->nodes << 32) + job->edges);
    for (uint32_t i = 0; i < job->nodes; i++) mix_node(&hash, &job->node[i]);
    for (uint32_t i = 0; i < job->edges; i++) {
        const wr_edge *e = &job->edge[i];
        mix(&hash, (uint64_t)e->from << 32 | e->from_port);
        mix(&hash, (uint64_t)e->to << 32 | e->to_port);
        mix(&hash, (uint64_t)e->route << 1 | e->chained);
        mix_key(&hash, &e->key);
        mix_type(&hash, e->type);
    }
    return hash;
}
