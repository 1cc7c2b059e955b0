/* `weir top`: what the operators of a job did between the newest two measurements of its workers. */
#include "base/json.h"
#include "base/text.h"
#include "jobmanager/inside.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- sums ---- */

/* What one worker says about a subtask's time since its measurement before; false: nothing yet. */
static bool times_of(const wr_jm_worker *w, uint32_t subtask, wr_stats_task *t)
{
    const wr_stats *s = &w->stats.stats;
    for (uint32_t i = 0; w->measured && i < s->tasks; i++) {
        if (s->task[i].subtask != subtask) continue;
        *t = s->task[i];
        for (uint32_t k = 0; w->compared && k < w->last.stats.tasks; k++) {
            const wr_stats_task *old = &w->last.stats.task[k];
            if (old->subtask != subtask) continue;
            t->busy_ns -= old->busy_ns < t->busy_ns ? old->busy_ns : t->busy_ns;
            t->idle_ns -= old->idle_ns < t->idle_ns ? old->idle_ns : t->idle_ns;
            t->back_pressured_ns -= old->back_pressured_ns < t->back_pressured_ns ? old->back_pressured_ns
                                                                                  : t->back_pressured_ns;
        }
        return true;
    }
    return false;
}

void wr_jm_times_of(const wr_jm_job *j, uint32_t vertex, wr_jm_times *sum)
{
    const wr_vertex *v = &j->run.exec->vertex[vertex];
    memset(sum, 0, sizeof *sum);
    for (uint32_t i = 0; i < v->parallelism; i++) {
        wr_stats_task t;
        for (uint32_t k = 0; k < j->workers; k++) {
            if (j->worker[k].gone) continue; /* what it did last it does no more */
            if (!times_of(&j->worker[k], v->first_subtask + i, &t)) continue;
            double all = (double)t.busy_ns + (double)t.idle_ns + (double)t.back_pressured_ns;
            sum->subtasks++;
            if (all <= 0) continue;
            sum->busy += (double)t.busy_ns / all;
            sum->idle += (double)t.idle_ns / all;
            sum->back_pressured += (double)t.back_pressured_ns / all;
            if ((double)t.busy_ns / all <= sum->busiest) continue;
            sum->busiest = (double)t.busy_ns / all;
            sum->busiest_subtask = i;
        }
    }
    if (sum->subtasks == 0) return;
    sum->busy /= sum->subtasks;
    sum->idle /= sum->subtasks;
    sum->back_pressured /= sum->subtasks;
}

static const wr_stats_operator *find(const wr_stats *s, uint32_t node, uint32_t subtask)
{
    for (uint32_t i = 0; i < s->ops; i++)
        if (s->op[i].node == node && s->op[i].subtask == subtask) return &s->op[i];
    return NULL;
}

void wr_jm_flow_of(const wr_jm_job *j, uint32_t node, wr_jm_flow *sum)
{
    *sum = (wr_jm_flow){.watermark = INT64_MAX, .ahead = WEIR_NO_TIME};
    for (uint32_t k = 0; k < j->workers; k++) {
        const wr_jm_worker *w = &j->worker[k];
        double              seconds = (double)(w->stats_ms - w->before_ms) * 1e-3;
        for (uint32_t i = 0; w->measured && i < w->stats.stats.ops; i++) {
            const wr_stats_operator *o = &w->stats.stats.op[i];
            if (o->node != node) continue;
            const wr_stats_operator *old = w->compared ? find(&w->last.stats, node, o->subtask) : NULL;
            sum->measured = true;
            sum->in += o->in;
            sum->out += o->out;
            sum->bad += o->bad;
            sum->late += o->late;
            sum->state_bytes += o->state_bytes;
            sum->keys += o->keys;
            if (o->watermark > sum->ahead && o->watermark < INT64_MAX) sum->ahead = o->watermark;
            if (o->watermark < sum->watermark) {
                sum->watermark = o->watermark;
                sum->slowest = o->subtask;
                sum->held = o->held;
                sum->stands = old != NULL && old->watermark == o->watermark;
            }
            if (old == NULL || seconds <= 0 || w->gone) continue;
            sum->rated = true;
            sum->in_rate += o->in > old->in ? (double)(o->in - old->in) / seconds : 0;
            sum->out_rate += o->out > old->out ? (double)(o->out - old->out) / seconds : 0;
        }
    }
    if (!sum->measured) sum->watermark = WEIR_NO_TIME;
}

/* ---- what is shown ---- */

static bool lag_of(const wr_jobmanager *jm, const wr_jm_flow *f, double *seconds)
{
    if (f->watermark == WEIR_NO_TIME || f->watermark == INT64_MAX) return false;
    *seconds = ((double)jm->env->wall_ns(jm->env->self) - (double)f->watermark) * 1e-9;
    return true;
}

static void json_operator(wr_json *j, wr_jm_job *job, const wr_node *node, const wr_jm_times *t)
{
    wr_jm_flow f;
    double     lag;
    wr_jm_flow_of(job, node->id, &f);
    wr_json_object(j, NULL);
    wr_json_str(j, "uid", node->uid);
    wr_json_str(j, "name", node->name);
    wr_json_u64(j, "parallelism", node->parallelism);
    wr_json_f64(j, "busy", t->busy);
    wr_json_f64(j, "busiest", t->busiest);
    wr_json_f64(j, "idle", t->idle);
    wr_json_f64(j, "back_pressured", t->back_pressured);
    wr_json_f64(j, "in_per_second", f.in_rate);
    wr_json_f64(j, "out_per_second", f.out_rate);
    wr_json_u64(j, "in", f.in);
    wr_json_u64(j, "out", f.out);
    wr_json_u64(j, "bad", f.bad);
    wr_json_u64(j, "late", f.late);
    wr_json_u64(j, "keys", f.keys);
    wr_json_u64(j, "state_bytes", f.state_bytes);
    if (lag_of(job->jm, &f, &lag))
        wr_json_f64(j, "watermark_lag_seconds", lag);
    else
        wr_json_null(j, "watermark_lag_seconds");
    wr_json_end(j);
}

static void json_top(wr_json *j, wr_jm_job *job)
{
    wr_json_object(j, NULL);
    wr_json_str(j, "job", job->name);
    wr_json_printf(j, "id", "%016" PRIx64, job->id);
    wr_json_str(j, "state", wr_job_state_name(job->core.state));
    wr_json_array(j, "operators");
    for (uint32_t v = 0; job->run.exec != NULL && v < job->run.exec->vertices; v++) {
        const wr_exec *exec = job->run.exec;
        wr_jm_times    t;
        if (exec->vertex[v].kind != WR_VERTEX_TASK) continue;
        wr_jm_times_of(job, v, &t);
        const wr_task *task = &exec->job->task[exec->vertex[v].task];
        for (uint32_t i = 0; i < task->n; i++) json_operator(j, job, &exec->job->node[task->nodes[i]], &t);
    }
    wr_json_end(j);
    wr_json_end(j);
}

static void text_operator(FILE *file, wr_jm_job *job, const wr_node *node, const wr_jm_times *t, bool first)
{
    wr_jm_flow f;
    double     lag;
    char       state[WR_TEXT_NUMBER_MAX + 1] = "-", behind[32] = "-", times[40] = "";
    wr_jm_flow_of(job, node->id, &f);
    if (f.state_bytes > 0) wr_text_of_size(state, f.state_bytes);
    if (lag_of(job->jm, &f, &lag)) snprintf(behind, sizeof behind, "%.1f s", lag);
    if (first && t->subtasks > 0) /* of a chain they are said once: its operators share a thread */
        snprintf(times, sizeof times, "%5.1f %5.1f %5.1f", t->busy * 100, t->idle * 100, t->back_pressured * 100);
    fprintf(file, "%s%-*.28s %4u %17s %12.0f %12.0f %14" PRIu64 " %10s %10s\n", first ? "" : "  ", first ? 28 : 26,
            node->name, node->parallelism, times, f.in_rate, f.out_rate, f.in, behind, state);
}

static void text_top(FILE *file, wr_jm_job *job)
{
    fprintf(file, "%016" PRIx64 "  %s  %s\n", job->id, job->name, wr_job_state_name(job->core.state));
    fprintf(file, "%-28s %4s %5s %5s %5s %12s %12s %14s %10s %10s\n", "operator", "p", "busy%", "idle%", "back%",
            "in/s", "out/s", "in", "behind", "state");
    for (uint32_t v = 0; job->run.exec != NULL && v < job->run.exec->vertices; v++) {
        const wr_exec *exec = job->run.exec;
        wr_jm_times    t;
        if (exec->vertex[v].kind != WR_VERTEX_TASK) continue;
        wr_jm_times_of(job, v, &t);
        const wr_task *task = &exec->job->task[exec->vertex[v].task];
        for (uint32_t i = 0; i < task->n; i++) text_operator(file, job, &exec->job->node[task->nodes[i]], &t, i == 0);
    }
}

/* id 0: all jobs that run. */
char *wr_jm_show_top(wr_jobmanager *jm, uint64_t id, bool json, size_t *n)
{
    char   *text = NULL;
    FILE   *file = open_memstream(&text, n);
    wr_json j;
    if (file == NULL) return NULL;
    if (json) {
        wr_json_init_file(&j, file);
        wr_json_array(&j, NULL);
    }
    for (uint32_t i = 0; i < jm->jobs; i++) {
        wr_jm_job *job = jm->job[i];
        if (id != 0 ? job->id != id : job->ended) continue;
        if (json)
            json_top(&j, job);
        else
            text_top(file, job);
    }
    if (json) wr_json_end(&j);
    if (fclose(file) == 0) return text;
    free(text);
    return NULL;
}
