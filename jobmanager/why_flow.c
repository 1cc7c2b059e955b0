/* Who is slow, and why nothing comes out. Back-pressure goes upstream: the cause is the last one that is not held back
 * itself, below those that are. */
#include "jobmanager/why_flow.h"
#include "base/text.h"
#include <stdlib.h>
#include <string.h>

static const double HELD_BACK = 0.2, BUSY = 0.9, SKEWED = 0.5, PER_CENT = 100;
static const double APART_S = 10; /* of event time, between inputs: nothing to speak of */

static bool held_back(const wr_why_input *in, uint32_t vertex)
{
    const wr_why_time *t = &in->time[vertex];
    return t->measured > 0 && t->back_pressured >= HELD_BACK;
}

/* Tasks that a vertex holds back: those with a link to it which wait for room. "" when there are none. */
static uint32_t holds_back(const wr_why_input *in, uint32_t vertex, char *to, size_t bytes)
{
    uint32_t n = 0;
    to[0] = 0;
    for (uint32_t i = 0; i < in->exec->links; i++) {
        const wr_link *l = &in->exec->link[i];
        size_t         at = strlen(to);
        if (l->to_vertex != vertex || l->kind != WR_LINK_DATA || !held_back(in, l->from_vertex)) continue;
        if (n++ > 2) continue;
        snprintf(to + at, bytes - at, "%s'%s' (%.0f %% of its time)", at > 0 ? ", " : "",
                 in->exec->vertex[l->from_vertex].name, in->time[l->from_vertex].back_pressured * PER_CENT);
    }
    return n;
}

static void say_skew(const wr_why_input *in, wr_why_answer *a, uint32_t vertex)
{
    const wr_vertex   *v = &in->exec->vertex[vertex];
    const wr_why_time *t = &in->time[vertex];
    if (t->measured < 2 || t->busiest < BUSY || t->busy > t->busiest * SKEWED) return;
    wr_why_say(a, WR_WHY_SKEW,
               "subtask %u of '%s' is busy %.0f %% of its time, all of them together %.0f %%: most records go to it; "
               "look at how its keys, or the splits of its source, are spread",
               t->busiest_subtask, v->name, t->busiest * PER_CENT, t->busy * PER_CENT);
}

static bool say_slow(const wr_why_input *in, wr_why_answer *a)
{
    bool any = false;
    for (uint32_t v = in->exec->vertices; v-- > 0;) { /* consumers first: nearer to the cause */
        char               others[512];
        const wr_why_time *t = &in->time[v];
        if (t->measured == 0 || held_back(in, v)) continue;
        uint32_t n = holds_back(in, v, others, sizeof others);
        if (n == 0) continue;
        any = true;
        if (t->busiest >= BUSY)
            wr_why_say(a, WR_WHY_SLOW,
                       "'%s' is the slowest: its busiest subtask is busy %.0f %% of its time, and holds back %s; give "
                       "it more parallelism, or make its function cheaper",
                       in->exec->vertex[v].name, t->busiest * PER_CENT, others);
        else
            wr_why_say(a, WR_WHY_SLOW,
                       "%s wait%s for '%s', which is busy %.0f %% of its time: it takes records in bursts, or the "
                       "connection to it is slow",
                       others, n == 1 ? "s" : "", in->exec->vertex[v].name, t->busiest * PER_CENT);
        say_skew(in, a, v);
    }
    for (uint32_t v = 0; v < in->exec->vertices && !any; v++) {
        const wr_why_time *t = &in->time[v];
        if (t->measured == 0 || t->busiest < BUSY) continue;
        wr_why_say(a, WR_WHY_SLOW, "'%s' has no time left: its busiest subtask is busy %.0f %% of its time%s",
                   in->exec->vertex[v].name, t->busiest * PER_CENT,
                   in->exec->vertex[v].ins == 0 ? "; it reads as fast as it can" : "");
        say_skew(in, a, v);
    }
    return any;
}

/* ---- event time ---- */

static bool is_timer(const wr_node *node)
{
    return node->kind == WR_NODE_TIME;
}

static void say_event_time(const wr_why_input *in, wr_why_answer *a)
{
    const wr_job *job = in->exec->job;
    for (uint32_t i = 0; i < job->nodes; i++) {
        const wr_why_flow *f = &in->flow[i];
        char               at[WR_TEXT_NUMBER_MAX + 1], held[512] = "";
        if (!is_timer(&job->node[i]) || !f->measured) continue;
        if (f->held != NULL && f->held[0] != 0) snprintf(held, sizeof held, "; it is held back by %s", f->held);
        if (f->watermark == WEIR_NO_TIME) {
            wr_why_say(a, WR_WHY_EVENT_TIME,
                       "event time has not begun: subtask %u of '%s' has had no record of some split or channel yet%s; "
                       "windows and timers wait for it; set .idle_after if it may stay silent",
                       f->slowest, job->node[i].name, held);
        } else if (f->stands && f->watermark < INT64_MAX) {
            wr_text_of_time(at, f->watermark);
            wr_why_say(a, WR_WHY_EVENT_TIME, "event time stands at %s: subtask %u of '%s' is the furthest behind%s; %s",
                       at, f->slowest, job->node[i].name, held,
                       job->node[i].idle_after > 0 ? "its .idle_after is not over, or its records are not newer"
                                                   : "set .idle_after if a split or channel may stay silent");
        }
    }
}

/* ---- inputs that are apart ---- */

/* Two time operators above one operator: up to what they have seen, that is without their .max_delay. */
typedef struct pair {
    const wr_node *least, *most;
    double         least_s, most_s;
} pair;

static double seconds_of(int64_t ns)
{
    return (double)ns * 1e-9; /* event times are the user's: their differences may be too large for 64 bits */
}

/* It keeps what it has until event time comes to it. span_s: for so long it does so anyway. */
static bool waits_for_time(const wr_node *n, double *span_s)
{
    const weir_window *w = &n->window.window;
    bool sized = !w->clock && (w->kind == WEIR_TUMBLING || w->kind == WEIR_SLIDING || w->kind == WEIR_SESSION);
    *span_s = sized ? seconds_of(w->size) : 0;
    return sized || (n->op != NULL && n->op->on_timer != NULL);
}

/* The nearest time operators above a node, and all between them. */
static void mark_above(const wr_job *job, uint32_t node, bool *above)
{
    bool again = true;
    memset(above, 0, job->nodes);
    above[node] = true;
    while (again) {
        again = false;
        for (uint32_t i = job->edges; i-- > 0;) {
            const wr_edge *e = &job->edge[i];
            if (!above[e->to] || above[e->from] || is_timer(&job->node[e->to])) continue;
            above[e->from] = again = true;
        }
    }
}

/* Without one that is silent, whom nobody waits for: event time has passed it. */
static pair find_pair(const wr_why_input *in, uint32_t node, const bool *above)
{
    const wr_job *job = in->exec->job;
    pair          p = {0};
    for (uint32_t i = 0; i < job->nodes; i++) {
        const wr_node     *n = &job->node[i];
        const wr_why_flow *f = &in->flow[i];
        if (!above[i] || !is_timer(n) || !f->measured || f->ahead == WEIR_NO_TIME) continue;
        double least_s = seconds_of(f->watermark), delay_s = seconds_of(n->max_delay);
        double most_s = seconds_of(f->ahead) + delay_s;
        if (p.most == NULL || most_s > p.most_s) {
            p.most = n;
            p.most_s = most_s;
        }
        if (seconds_of(in->flow[node].watermark) - least_s > APART_S) continue;
        if (p.least == NULL || least_s + delay_s < p.least_s) {
            p.least = n;
            p.least_s = least_s + delay_s;
        }
    }
    return p;
}

/* The source above a time operator; itself where there are several. */
static const wr_node *source_of(const wr_job *job, const wr_node *timer)
{
    const wr_node *n = timer;
    for (;;) {
        const wr_edge *in = NULL;
        for (uint32_t i = 0; i < job->edges; i++) {
            if (job->edge[i].to != n->id) continue;
            if (in != NULL) return timer;
            in = &job->edge[i];
        }
        if (in == NULL) return n;
        n = &job->node[in->from];
    }
}

static void say_pair(const wr_why_input *in, wr_why_answer *a, const wr_node *node, const pair *p)
{
    const wr_why_flow *f = &in->flow[p->least->id];
    const wr_job      *job = in->exec->job;
    char               at[WR_TEXT_NUMBER_MAX + 1], which[32] = "", held[512] = "", most[256];
    wr_text_of_time(at, f->watermark);
    if (p->least->parallelism > 1) snprintf(which, sizeof which, "subtask %u of ", f->slowest);
    if (f->held != NULL && f->held[0] != 0) snprintf(held, sizeof held, " (%s)", f->held);
    if (p->most == p->least)
        snprintf(most, sizeof most, "another one of it");
    else
        snprintf(most, sizeof most, "'%.200s'", source_of(job, p->most)->name);
    wr_why_say(a, WR_WHY_EVENT_TIME,
               "event time at '%s' waits for %s'%s'%s, which has only come to %s, %.0f s behind %s; until it comes, "
               "nothing later leaves windows and timers, and their state grows",
               node->name, which, source_of(job, p->least)->name, held, at, p->most_s - p->least_s, most);
}

static void say_apart(const wr_why_input *in, wr_why_answer *a)
{
    const wr_job  *job = in->exec->job;
    const wr_node *said = NULL;
    bool          *above = malloc(job->nodes);
    for (uint32_t i = 0; above != NULL && i < job->nodes; i++) {
        double             span_s;
        const wr_why_flow *f = &in->flow[i];
        if (!waits_for_time(&job->node[i], &span_s) || !f->measured || f->watermark == INT64_MAX) continue;
        mark_above(job, i, above);
        pair p = find_pair(in, i, above);
        if (p.least == NULL || p.least == said || p.most_s - p.least_s <= APART_S + span_s) continue;
        const wr_why_flow *slow = &in->flow[p.least->id];
        if (slow->stands || slow->watermark == WEIR_NO_TIME) continue; /* that was said */
        say_pair(in, a, &job->node[i], &p);
        said = p.least;
    }
    free(above);
}

/* ---- input ---- */

/* well: nothing else is to be said of its records. */
static void say_input(const wr_why_input *in, wr_why_answer *a, bool well)
{
    const wr_job *job = in->exec->job;
    char          silent[256] = "";
    double        rate = 0;
    uint32_t      sources = 0, dry = 0;
    for (uint32_t i = 0; i < job->nodes; i++) {
        const wr_node *node = &job->node[i];
        size_t         at = strlen(silent);
        if (node->in_edges > 0 || !in->flow[i].measured) continue;
        sources++;
        rate += in->flow[i].out_rate;
        if (in->flow[i].out_rate > 0) continue;
        if (dry++ < 3) snprintf(silent + at, sizeof silent - at, "%s'%.60s'", at > 0 ? ", " : "", node->name);
    }
    if (dry > 0)
        wr_why_say(a, WR_WHY_NO_INPUT, "%s gave%s no record lately: nothing came in, or all of it was read", silent,
                   dry == sources ? ", as all sources," : "");
    if (!well || dry > 0 || sources == 0) return;
    wr_why_say(a, WR_WHY_RUNS, "it runs: %.0f records a second come in, and nobody is held back", rate);
}

void wr_why_flows(const wr_why_input *in, wr_why_answer *a, bool ending)
{
    uint32_t measured = 0, before = a->lines;
    for (uint32_t i = 0; in->exec != NULL && in->time != NULL && in->flow != NULL && i < in->exec->job->nodes; i++)
        measured += in->flow[i].measured;
    if (measured == 0) {
        wr_why_say(a, WR_WHY_UNKNOWN, "its workers have not measured enough yet; ask again in a few seconds");
        return;
    }
    bool slow = say_slow(in, a);
    say_event_time(in, a);
    say_apart(in, a);
    if (!ending && !slow) say_input(in, a, a->lines == before);
    if (a->lines == 0) wr_why_say(a, WR_WHY_RUNS, "it runs, and nobody is held back");
}
