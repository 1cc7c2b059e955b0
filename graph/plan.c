/* The plan as text. Widths are measured by a first pass that prints nothing. */
#include "graph/plan.h"
#include "base/arena.h"
#include "base/check.h"
#include "base/text.h"
#include "graph/endpoint.h"

/* One print. Stack of wr_plan_text. */
typedef struct wr_print {
    const wr_job *job;
    FILE         *file; /* NULL: measure */
    wr_arena      arena;
    bool         *shown;
    int           name_width, what_width;
} wr_print;

enum { INDENT = 2, WIDTH_MAX = 60 };

static void widen(int *width, size_t count)
{
    int n = count > WIDTH_MAX ? WIDTH_MAX : (int)count;
    if (n > *width) *width = n;
}

/* "word, user" */
static void key_text(char *text, size_t size, const weir_type *type, const weir_key *key)
{
    size_t used = 0;
    *text = 0;
    for (uint32_t i = 0; i < key->count && used < size; i++) {
        used += (size_t)snprintf(text + used, size - used, "%s%s", i ? ", " : "",
                                 wr_key_field_name(type, key->field[i].offset));
    }
}

/* "event time by at, up to 5s late, idle after 1m" */
static const char *time_text(wr_print *print, const wr_node *n)
{
    char        delay[64], idle[64];
    const char *field = wr_key_field_name(n->in[0], n->time_offset);
    delay[wr_text_of_duration(delay, n->max_delay)] = 0;
    idle[wr_text_of_duration(idle, n->idle_after)] = 0;
    return wr_arena_printf(&print->arena, "event time by %s%s%s%s%s%s%s", field, n->watermark ? ", watermarks by " : "",
                           n->watermark ? n->watermark->name : "", n->max_delay ? ", up to " : "",
                           n->max_delay ? wr_arena_printf(&print->arena, "%s late", delay) : "",
                           n->idle_after ? ", idle after " : "", n->idle_after ? idle : "");
}

static const char *what_text(wr_print *print, const wr_node *n)
{
    const char *kind = wr_node_kind_name(n);
    char        key[WR_NAME_BYTES_MAX];
    if (n->uri) {
        return wr_arena_printf(&print->arena, "%s %s%s%s%s", kind, n->uri, n->format ? " (" : "",
                               n->format ? n->format : "", n->format ? ")" : "");
    }
    if (n->kind == WR_NODE_TIME) return time_text(print, n);
    if (n->kind == WR_NODE_READ || n->kind == WR_NODE_WRITE) return wr_arena_printf(&print->arena, "custom %s", kind);
    if (!n->key[0].count) return kind;
    key_text(key, sizeof key, n->in[0], &n->key[0]);
    return wr_arena_printf(&print->arena, "%s by %s", kind, key);
}

static const char *route_text(wr_print *print, const wr_edge *e)
{
    char key[WR_NAME_BYTES_MAX];
    if (e->from_port == WR_PORT_DEAD) return "dead letters";
    if (e->from_port == WEIR_PORT_LATE)
        return wr_arena_printf(&print->arena, "late records, %s", wr_route_name(e->route));
    if (e->route != WR_ROUTE_HASH) return wr_route_name(e->route);
    key_text(key, sizeof key, e->type, &e->key);
    return wr_arena_printf(&print->arena, "hash by %s", key);
}

/* "rebalance, output 2, right input, chained": how the records come. */
static const char *edge_text(wr_print *print, const wr_edge *e)
{
    const wr_node *from = &print->job->node[e->from];
    const char    *port = from->outs > 1 && e->from_port < from->outs
                              ? wr_arena_printf(&print->arena, ", output %u", e->from_port)
                              : "";
    return wr_arena_printf(&print->arena, "%s%s%s%s", route_text(print, e), port, e->to_port ? ", right input" : "",
                           e->chained ? ", chained" : "");
}

static void node_line(wr_print *print, uint32_t id, int depth, const wr_edge *by)
{
    const wr_node *n = &print->job->node[id];
    const char    *what = what_text(print, n), *how = by ? edge_text(print, by) : "";
    int            indent = INDENT * (depth + 1);
    if (!print->file) {
        widen(&print->name_width, (size_t)indent + strlen(n->name));
        widen(&print->what_width, strlen(what));
        return;
    }
    fprintf(print->file, "%*s%-*s  %-*s  x%u", indent, "", print->name_width - indent, n->name, print->what_width, what,
            n->parallelism);
    if (*how) fprintf(print->file, "  %s", how);
    if (n->blocking) fprintf(print->file, ", own thread");
    fputc('\n', print->file);
}

static void node_tree(wr_print *print, uint32_t id, int depth, const wr_edge *by)
{
    const wr_node *n = &print->job->node[id];
    if (print->shown[id]) {
        const char *name = wr_arena_printf(&print->arena, "(%s)", n->name);
        int         indent = INDENT * (depth + 1);
        if (!print->file) widen(&print->name_width, (size_t)indent + strlen(name));
        if (print->file) {
            fprintf(print->file, "%*s%-*s  %-*s      %s\n", indent, "", print->name_width - indent, name,
                    print->what_width, "see above", edge_text(print, by));
        }
        return;
    }
    print->shown[id] = true;
    node_line(print, id, depth, by);
    for (uint32_t i = 0; i < n->out_edges; i++) {
        const wr_edge *e = &print->job->edge[n->out_edge[i]];
        node_tree(print, e->to, depth + 1, e);
    }
}

static void job_graph(wr_print *print)
{
    memset(print->shown, 0, print->job->nodes * sizeof *print->shown);
    for (uint32_t i = 0; i < print->job->nodes; i++) {
        if (print->job->node[i].in_edges == 0) node_tree(print, i, 0, NULL);
    }
}

static void chains(wr_print *print)
{
    const wr_job *job = print->job;
    int           width = 0;
    fprintf(print->file, "\nchains\n");
    for (uint32_t i = 0; i < job->tasks; i++) widen(&width, strlen(job->task[i].name));
    for (uint32_t i = 0; i < job->tasks; i++) {
        const wr_task *t = &job->task[i];
        fprintf(print->file, "  %-*s  x%u", width, t->name, t->parallelism);
        if (strcmp(t->slot_group, "default") != 0) fprintf(print->file, "  slot group %s", t->slot_group);
        fprintf(print->file, "%s\n", t->blocking ? "  own thread" : "");
    }
}

static void vertices(const wr_exec *x, FILE *file)
{
    int width = 0;
    for (uint32_t i = 0; i < x->vertices; i++) widen(&width, strlen(x->vertex[i].name));
    for (uint32_t i = 0; i < x->vertices; i++) {
        const wr_vertex  *v = &x->vertex[i];
        const wr_subtask *s = &x->subtask[v->first_subtask];
        uint32_t          last = s->place + v->parallelism - 1;
        fprintf(file, "  %-*s  %u subtask%s on %s%s %u", width, v->name, v->parallelism, v->parallelism == 1 ? "" : "s",
                v->blocking ? "own thread" : "slot", v->parallelism == 1 ? "" : "s", s->place);
        if (last != s->place) fprintf(file, "-%u", last);
        if (x->job->node[v->node].key[0].count && v->kind == WR_VERTEX_TASK) {
            fprintf(file, ", %u key groups", v->max_parallelism);
        }
        fputc('\n', file);
    }
}

static void exec_graph(wr_print *print, const wr_exec *x)
{
    FILE *file = print->file;
    fprintf(file, "\nexecution graph: %u subtask%s, %u channel%s, %u slot%s, %u own thread%s\n", x->subtasks,
            x->subtasks == 1 ? "" : "s", x->channels, x->channels == 1 ? "" : "s", x->slots, x->slots == 1 ? "" : "s",
            x->threads, x->threads == 1 ? "" : "s");
    vertices(x, file);
    if (x->links) fprintf(file, "  links\n");
    for (uint32_t i = 0; i < x->links; i++) {
        const wr_link *l = &x->link[i];
        const char    *from = x->vertex[l->from_vertex].kind == WR_VERTEX_ENUMERATOR ? x->vertex[l->from_vertex].name
                                                                                     : x->job->node[l->from_node].name;
        fprintf(file, "    %s => %s: %s, %u channel%s\n", from, x->job->node[l->to_node].name,
                l->kind == WR_LINK_SPLITS ? "splits" : route_text(print, &x->job->edge[l->edge]), l->channels,
                l->channels == 1 ? "" : "s");
    }
}

void wr_plan_text(const wr_job *job, const wr_exec *exec, FILE *file)
{
    wr_print print = {.job = job};
    check(!exec || exec->job == job);
    wr_arena_init(&print.arena);
    print.shown = wr_arena_array(&print.arena, bool, job->nodes + 1);
    job_graph(&print);
    print.file = file;
    fprintf(file, "pipeline %s, parallelism %u, fingerprint %016llx\n\njob graph\n", job->name, job->parallelism,
            (unsigned long long)job->fingerprint);
    job_graph(&print);
    chains(&print);
    if (exec) exec_graph(&print, exec);
    wr_arena_fini(&print.arena);
}
