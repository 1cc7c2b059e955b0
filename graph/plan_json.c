/* The plan as JSON: everything that the text says, by ids. */
#include "base/check.h"
#include "base/json.h"
#include "graph/endpoint.h"
#include "graph/plan.h"

static const char *const policies[] = {"default", "fail", "skip", "dead letter"};

static void key(wr_json *j, const weir_type *type, const weir_key *k)
{
    if (!k->count) return;
    wr_json_array(j, "key");
    for (uint32_t i = 0; i < k->count; i++) wr_json_str(j, NULL, wr_key_field_name(type, k->field[i].offset));
    wr_json_end(j);
}

static void node(wr_json *j, const wr_node *n)
{
    wr_json_object(j, NULL);
    wr_json_u64(j, "id", n->id);
    wr_json_str(j, "uid", n->uid);
    wr_json_str(j, "name", n->name);
    wr_json_str(j, "kind", wr_node_kind_name(n));
    if (n->uri) wr_json_str(j, "uri", n->uri);
    if (n->format) wr_json_str(j, "format", n->format);
    bool own = n->kind == WR_NODE_OP || n->kind == WR_NODE_READ || n->kind == WR_NODE_WRITE;
    if (own && n->op->file) {
        wr_json_str(j, "file", n->op->file);
        wr_json_u64(j, "line", n->op->line);
    }
    wr_json_u64(j, "parallelism", n->parallelism);
    wr_json_u64(j, "max_parallelism", n->max_parallelism);
    wr_json_str(j, "slot_group", n->slot_group);
    wr_json_str(j, "on_error", n->on_error < 4 ? policies[n->on_error] : "?");
    wr_json_bool(j, "blocking", n->blocking);
    if (n->rate_max) wr_json_u64(j, "rate_max", n->rate_max);
    wr_json_u64(j, "chain", n->task);
    key(j, n->in[0], &n->key[0]);
    if (n->timed) wr_json_bool(j, "event_time", true);
    if (n->kind == WR_NODE_TIME) {
        wr_json_str(j, "time", wr_key_field_name(n->in[0], n->time_offset));
        wr_json_i64(j, "max_delay_ns", n->max_delay);
        wr_json_i64(j, "idle_after_ns", n->idle_after);
        if (n->watermark) wr_json_str(j, "watermark", n->watermark->name);
    }
    wr_json_end(j);
}

static void job_graph(wr_json *j, const wr_job *job)
{
    wr_json_array(j, "nodes");
    for (uint32_t i = 0; i < job->nodes; i++) node(j, &job->node[i]);
    wr_json_end(j);
    wr_json_array(j, "edges");
    for (uint32_t i = 0; i < job->edges; i++) {
        const wr_edge *e = &job->edge[i];
        wr_json_object(j, NULL);
        wr_json_u64(j, "id", e->id);
        wr_json_u64(j, "from", e->from);
        if (e->from_port == WR_PORT_DEAD) {
            wr_json_str(j, "output", "dead letters");
        } else if (e->from_port == WEIR_PORT_LATE) {
            wr_json_str(j, "output", "late");
        } else {
            wr_json_u64(j, "output", e->from_port);
        }
        wr_json_u64(j, "to", e->to);
        wr_json_u64(j, "input", e->to_port);
        wr_json_str(j, "route", wr_route_name(e->route));
        key(j, e->type, &e->key);
        wr_json_str(j, "record", e->type->name);
        wr_json_bool(j, "chained", e->chained);
        wr_json_end(j);
    }
    wr_json_end(j);
    wr_json_array(j, "chains");
    for (uint32_t i = 0; i < job->tasks; i++) {
        const wr_task *t = &job->task[i];
        wr_json_object(j, NULL);
        wr_json_u64(j, "id", t->id);
        wr_json_str(j, "name", t->name);
        wr_json_u64(j, "parallelism", t->parallelism);
        wr_json_bool(j, "blocking", t->blocking);
        wr_json_array(j, "nodes");
        for (uint32_t k = 0; k < t->n; k++) wr_json_u64(j, NULL, t->nodes[k]);
        wr_json_end(j);
        wr_json_end(j);
    }
    wr_json_end(j);
}

static void subtasks(wr_json *j, const wr_exec *x, const wr_vertex *v)
{
    bool keyed = v->kind == WR_VERTEX_TASK && x->job->node[v->node].key[0].count;
    wr_json_array(j, "subtasks");
    for (uint32_t k = 0; k < v->parallelism; k++) {
        const wr_subtask *s = &x->subtask[v->first_subtask + k];
        wr_json_object(j, NULL);
        wr_json_u64(j, "id", s->id);
        wr_json_u64(j, "index", s->index);
        wr_json_u64(j, "attempt", s->attempt);
        wr_json_u64(j, s->own_thread ? "own_thread" : "slot", s->place);
        if (keyed) {
            wr_json_u64(j, "first_key_group", s->groups.first);
            wr_json_u64(j, "end_key_group", s->groups.end);
        }
        wr_json_u64(j, "input_channels", s->ins);
        wr_json_u64(j, "output_channels", s->outs);
        wr_json_end(j);
    }
    wr_json_end(j);
}

static void exec_graph(wr_json *j, const wr_exec *x)
{
    wr_json_object(j, "execution");
    wr_json_u64(j, "slots", x->slots);
    wr_json_u64(j, "own_threads", x->threads);
    wr_json_u64(j, "subtasks", x->subtasks);
    wr_json_u64(j, "channels", x->channels);
    wr_json_array(j, "vertices");
    for (uint32_t i = 0; i < x->vertices; i++) {
        const wr_vertex *v = &x->vertex[i];
        wr_json_object(j, NULL);
        wr_json_u64(j, "id", v->id);
        wr_json_str(j, "name", v->name);
        wr_json_str(j, "kind", v->kind == WR_VERTEX_ENUMERATOR ? "enumerator" : "task");
        wr_json_u64(j, "chain", v->task);
        wr_json_u64(j, "parallelism", v->parallelism);
        wr_json_u64(j, "max_parallelism", v->max_parallelism);
        subtasks(j, x, v);
        wr_json_end(j);
    }
    wr_json_end(j);
    wr_json_array(j, "links");
    for (uint32_t i = 0; i < x->links; i++) {
        const wr_link *l = &x->link[i];
        wr_json_object(j, NULL);
        wr_json_u64(j, "id", l->id);
        wr_json_str(j, "kind", l->kind == WR_LINK_SPLITS ? "splits" : "data");
        if (l->kind == WR_LINK_DATA) wr_json_u64(j, "edge", l->edge);
        wr_json_u64(j, "from", l->from_vertex);
        wr_json_u64(j, "to", l->to_vertex);
        if (l->kind == WR_LINK_DATA) wr_json_str(j, "route", wr_route_name(l->route));
        wr_json_str(j, "record", l->type->name);
        wr_json_u64(j, "channels", l->channels);
        wr_json_end(j);
    }
    wr_json_end(j);
    wr_json_end(j);
}

void wr_plan_json(const wr_job *job, const wr_exec *exec, FILE *file)
{
    wr_json j;
    char    fingerprint[17];
    check(!exec || exec->job == job);
    wr_json_init_file(&j, file);
    j.pretty = true;
    snprintf(fingerprint, sizeof fingerprint, "%016llx", (unsigned long long)job->fingerprint);
    wr_json_object(&j, NULL);
    wr_json_str(&j, "name", job->name);
    wr_json_u64(&j, "parallelism", job->parallelism);
    wr_json_str(&j, "fingerprint", fingerprint);
    job_graph(&j, job);
    if (exec) exec_graph(&j, exec);
    wr_json_end(&j);
}
