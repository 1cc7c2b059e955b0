#include "cli/progress.h"
#include "base/json.h"
#include "base/text.h"
#include "jobmanager/history.h"
#include <stdlib.h>
#include <string.h>

/* Of one operator, over all of its subtasks. */
typedef struct totals {
    uint64_t in, out, bad, late, batches, state_bytes, keys;
    int64_t  watermark; /* the least; WEIR_NO_TIME: one has none yet */
} totals;

void wr_progress_init(wr_progress *p, const wr_env *env, const wr_exec *exec, const wr_local *local)
{
    memset(p, 0, sizeof *p);
    p->env = env;
    p->exec = exec;
    p->local = local;
    p->start_ns = env->mono_ns(env->self);
}

void wr_progress_fini(wr_progress *p)
{
    free(p->before);
    p->before = NULL;
}

static bool is_source(const wr_node *node)
{
    return node->kind == WR_NODE_SOURCE || node->kind == WR_NODE_READ;
}

static bool is_sink(const wr_node *node)
{
    return node->kind == WR_NODE_SINK || node->kind == WR_NODE_WRITE;
}

static uint64_t source_records(const wr_progress *p)
{
    wr_operator_stats s;
    uint64_t          sum = 0;
    for (uint32_t i = 0; wr_worker_operator_stats(wr_local_worker(p->local), i, &s); i++)
        if (is_source(s.node)) sum += s.out;
    return sum;
}

static uint64_t late_records(const wr_progress *p)
{
    wr_operator_stats s;
    uint64_t          sum = 0;
    for (uint32_t i = 0; wr_worker_operator_stats(wr_local_worker(p->local), i, &s); i++) sum += s.late;
    return sum;
}

/* Totals by node id; freed by the caller; NULL without memory. */
static totals *all_totals(const wr_progress *p)
{
    totals           *t = calloc(p->exec->job->nodes + 1, sizeof *t);
    wr_operator_stats s;
    for (uint32_t i = 0; t != NULL && wr_worker_operator_stats(wr_local_worker(p->local), i, &s); i++) {
        totals *of = &t[s.node->id];
        if (s.subtask == 0 || s.watermark < of->watermark) of->watermark = s.watermark;
        of->late += s.late;
        of->in += s.in;
        of->out += s.out;
        of->bad += s.bad;
        of->batches += s.batches;
        of->state_bytes += s.state_bytes;
        of->keys += s.keys;
    }
    return t;
}

/* 950, 12.3k, 4.56M: short, for people. */
static void short_count(char to[16], double n)
{
    static const char UNIT[] = " kMGT";
    int               u = 0;
    while (n >= 999.5 && u < 4) {
        n /= 1000;
        u++;
    }
    if (u == 0)
        snprintf(to, 16, "%.0f", n);
    else
        snprintf(to, 16, n < 9.995 ? "%.2f%c" : n < 99.95 ? "%.1f%c" : "%.0f%c", n, UNIT[u]);
}

/* 1,234,567. */
static void long_count(char to[32], uint64_t n)
{
    char digits[24];
    int  count = snprintf(digits, sizeof digits, "%llu", (unsigned long long)n);
    for (int i = 0; i < count; i++) {
        if (i > 0 && (count - i) % 3 == 0) *to++ = ',';
        *to++ = digits[i];
    }
    *to = 0;
}

/* ---- the line ---- */

typedef struct worst {
    const char *busy, *pressed;
    double      busy_share, pressed_share;
} worst;

/* The busiest and the most back-pressured task since the last line. */
static worst find_worst(wr_progress *p)
{
    worst w = {0};
    if (p->before == NULL) p->before = calloc(p->exec->subtasks, sizeof *p->before);
    if (p->before == NULL) return w;
    wr_task_stats s;
    for (uint32_t i = 0; wr_worker_task_stats(wr_local_worker(p->local), i, &s); i++) {
        wr_task_sample *b = &p->before[i];
        double busy = (double)(s.busy_ns - b->busy_ns), pressed = (double)(s.back_pressured_ns - b->back_pressured_ns);
        double all = busy + pressed + (double)(s.idle_ns - b->idle_ns);
        const char *name = p->exec->vertex[p->exec->subtask[i].vertex].name;
        *b = (wr_task_sample){s.busy_ns, s.idle_ns, s.back_pressured_ns};
        if (all <= 0 || s.state != WR_TASK_RUNNING) continue;
        if (busy / all > w.busy_share) w = (worst){name, w.pressed, busy / all, w.pressed_share};
        if (pressed / all > w.pressed_share) w = (worst){w.busy, name, w.busy_share, pressed / all};
    }
    return w;
}

void wr_progress_line(wr_progress *p)
{
    int64_t  now = p->env->mono_ns(p->env->self), since = p->line_ns ? p->line_ns : p->start_ns;
    uint64_t records = source_records(p);
    double   seconds = (double)(now - since) * 1e-9;
    char     count[16], rate[16], state[WR_TEXT_NUMBER_MAX + 1], line[256];
    short_count(count, (double)records);
    short_count(rate, seconds > 0 ? (double)(records - p->line_records) / seconds : 0);
    wr_text_of_size(state, wr_worker_state_bytes(wr_local_worker(p->local)));
    worst    w = find_worst(p);
    int      n = snprintf(line, sizeof line, "%s %.1f s  %s records in, %s/s  state %s", p->exec->job->name,
                          (double)(now - p->start_ns) * 1e-9, count, rate, state);
    uint64_t late = late_records(p);
    short_count(count, (double)late);
    if (late > 0 && n < (int)sizeof line) n += snprintf(line + n, sizeof line - (size_t)n, "  late %s", count);
    if (w.busy != NULL && n < (int)sizeof line)
        n += snprintf(line + n, sizeof line - (size_t)n, "  busy %.0f%% %s", 100 * w.busy_share, w.busy);
    if (w.pressed != NULL && w.pressed_share > 0.05 && n < (int)sizeof line)
        snprintf(line + n, sizeof line - (size_t)n, "  back-pressured %.0f%% %s", 100 * w.pressed_share, w.pressed);
    fprintf(stderr, "\r\033[K%.118s", line);
    fflush(stderr);
    p->line_ns = now;
    p->line_records = records;
    p->shown = true;
}

void wr_progress_clear(wr_progress *p)
{
    if (p->shown) fputs("\r\033[K", stderr);
    p->shown = false;
}

/* ---- the summary ---- */

static double seconds_of(wr_progress *p)
{
    if (p->end_ns == 0) p->end_ns = p->env->mono_ns(p->env->self);
    return (double)(p->end_ns - p->start_ns) * 1e-9;
}

/* What the next run can go on from. */
static void text_snapshots(FILE *file, const wr_progress *p)
{
    const wr_coordinator *s = wr_local_snapshots(p->local);
    if (s == NULL) return;
    const wr_core_checkpoint *m = wr_coordinator_machine(s);
    char                      n[32];
    long_count(n, m->completions);
    fprintf(file, "  %-7s %-20s %15s completed, %llu failed, newest %llu\n", "snaps", "", n,
            (unsigned long long)m->failures_all, (unsigned long long)m->newest);
}

static void text_row(FILE *file, const char *what, const char *name, uint64_t count, const char *unit)
{
    char n[32];
    long_count(n, count);
    fprintf(file, "  %-7s %-20s %15s %s", what, name, n, unit);
}

static void text_nodes(FILE *file, const wr_progress *p, const totals *t, double seconds)
{
    const wr_job *job = p->exec->job;
    char          rate[16];
    for (uint32_t i = 0; i < job->nodes; i++) {
        if (!is_source(&job->node[i])) continue;
        text_row(file, "source", job->node[i].name, t[i].out, "records");
        short_count(rate, (double)t[i].out / seconds);
        fprintf(file, "  %s/s\n", rate);
    }
    for (uint32_t i = 0; i < job->nodes; i++) {
        if (!is_sink(&job->node[i])) continue;
        text_row(file, "sink", job->node[i].name, t[i].in, "records\n");
    }
    for (uint32_t i = 0; i < job->nodes; i++) {
        if (t[i].bad == 0) continue;
        const char *became = job->node[i].on_error == WEIR_SKIP          ? "records (skipped)\n"
                             : job->node[i].on_error == WEIR_DEAD_LETTER ? "records (dead letters)\n"
                                                                         : "record (the job failed)\n";
        text_row(file, "bad", job->node[i].uid, t[i].bad, became);
    }
    for (uint32_t i = 0; i < job->nodes; i++) {
        if (t[i].late == 0) continue;
        text_row(file, "late", job->node[i].uid, t[i].late, job->node[i].late ? "records\n" : "records (dropped)\n");
    }
    for (uint32_t i = 0; i < job->nodes; i++) {
        if (t[i].keys == 0) continue;
        char size[WR_TEXT_NUMBER_MAX + 1];
        wr_text_of_size(size, t[i].state_bytes);
        text_row(file, "state", job->node[i].uid, t[i].keys, "keys");
        fprintf(file, "  %s\n", size);
    }
}

/* One row for each metric of each operator: counters and histograms are summed over subtasks. */
typedef struct metric_sum {
    const wr_node *node;
    const char    *name;
    uint32_t       kind;
    double         value;
    uint64_t       count;
} metric_sum;

static metric_sum *all_metrics(const wr_progress *p, uint32_t *count)
{
    metric_sum    *sum = NULL;
    wr_user_metric m;
    *count = 0;
    for (uint32_t i = 0; wr_worker_metric(wr_local_worker(p->local), i, &m); i++) {
        uint32_t k = 0;
        while (k < *count && (sum[k].node != m.node || strcmp(sum[k].name, m.name) != 0 || sum[k].kind != m.kind)) k++;
        if (k == *count) {
            metric_sum *grown = realloc(sum, (k + 1) * sizeof *sum);
            if (grown == NULL) break;
            sum = grown;
            sum[(*count)++] = (metric_sum){.node = m.node, .name = m.name, .kind = m.kind};
        }
        sum[k].value += m.value;
        sum[k].count += m.count;
    }
    return sum;
}

static void text_metrics(FILE *file, const wr_progress *p)
{
    uint32_t    count;
    metric_sum *sum = all_metrics(p, &count);
    for (uint32_t i = 0; i < count; i++) {
        const metric_sum *m = &sum[i];
        char              name[64], value[WR_TEXT_NUMBER_MAX + 1];
        snprintf(name, sizeof name, "%s.%s", m->node->uid, m->name);
        wr_text_of_f64(value, m->kind == 3 && m->count > 0 ? m->value / (double)m->count : m->value);
        fprintf(file, "  %-7s %-20s %15s%s", "metric", name, value, m->kind == 3 ? " mean" : "");
        if (m->kind == 3) fprintf(file, " of %llu", (unsigned long long)m->count);
        fputs("\n", file);
    }
    free(sum);
}

void wr_progress_summary_text(wr_progress *p, FILE *file)
{
    double  seconds = seconds_of(p);
    totals *t = all_totals(p);
    if (t == NULL) return;
    static const char *const WORD[WR_JOB_STATES] = {
        [WR_JOB_FAILED] = "failed", [WR_JOB_CANCELED] = "canceled", [WR_JOB_FINISHED] = "finished"};
    const wr_core_job *job = wr_local_job(p->local);
    const char        *word = WORD[job->state];
    char               rate[16];
    short_count(rate, (double)source_records(p) / (seconds > 0 ? seconds : 1));
    fprintf(file, "%s %s after %.3f s, %s records/s, %u slot%s%s\n", p->exec->job->name, word != NULL ? word : "ended",
            seconds, rate, p->exec->slots, p->exec->slots == 1 ? "" : "s",
            job->stopping && job->state == WR_JOB_FINISHED ? ", stopped" : "");
    text_nodes(file, p, t, seconds > 0 ? seconds : 1);
    text_metrics(file, p);
    text_snapshots(file, p);
    free(t);
}

/* At the end of the input event time is over: "end". */
static void json_watermark(wr_json *j, int64_t watermark)
{
    char text[WR_TEXT_NUMBER_MAX + 1];
    wr_text_of_time(text, watermark);
    if (watermark == WEIR_NO_TIME)
        wr_json_null(j, "watermark");
    else
        wr_json_str(j, "watermark", watermark == INT64_MAX ? "end" : text);
}

static void json_operators(wr_json *j, const wr_progress *p, const totals *t)
{
    const wr_job *job = p->exec->job;
    wr_json_array(j, "operators");
    for (uint32_t i = 0; i < job->nodes; i++) {
        const wr_node *node = &job->node[i];
        wr_json_object(j, NULL);
        wr_json_str(j, "uid", node->uid);
        wr_json_str(j, "name", node->name);
        wr_json_str(j, "kind", wr_node_kind_name(node));
        wr_json_u64(j, "parallelism", node->parallelism);
        wr_json_u64(j, "in", t[i].in);
        wr_json_u64(j, "out", t[i].out);
        wr_json_u64(j, "bad", t[i].bad);
        wr_json_u64(j, "late", t[i].late);
        if (node->timed) json_watermark(j, t[i].watermark);
        wr_json_u64(j, "batches", t[i].batches);
        wr_json_u64(j, "keys", t[i].keys);
        wr_json_u64(j, "state_bytes", t[i].state_bytes);
        wr_json_end(j);
    }
    wr_json_end(j);
}

static void json_tasks(wr_json *j, const wr_progress *p)
{
    wr_task_stats s;
    wr_json_array(j, "tasks");
    for (uint32_t i = 0; wr_worker_task_stats(wr_local_worker(p->local), i, &s); i++) {
        const wr_subtask *of = &p->exec->subtask[i];
        wr_json_object(j, NULL);
        wr_json_str(j, "name", p->exec->vertex[of->vertex].name);
        wr_json_u64(j, "subtask", of->index);
        wr_json_str(j, "state", wr_task_state_name(s.state));
        wr_json_f64(j, "busy_seconds", (double)s.busy_ns * 1e-9);
        wr_json_f64(j, "idle_seconds", (double)s.idle_ns * 1e-9);
        wr_json_f64(j, "back_pressured_seconds", (double)s.back_pressured_ns * 1e-9);
        wr_json_end(j);
    }
    wr_json_end(j);
}

static void json_metrics(wr_json *j, const wr_progress *p)
{
    static const char *const KIND[] = {"?", "counter", "gauge", "histogram"};
    uint32_t                 count;
    metric_sum              *sum = all_metrics(p, &count);
    wr_json_array(j, "metrics");
    for (uint32_t i = 0; i < count; i++) {
        wr_json_object(j, NULL);
        wr_json_str(j, "operator", sum[i].node->uid);
        wr_json_str(j, "name", sum[i].name);
        wr_json_str(j, "kind", KIND[sum[i].kind <= 3 ? sum[i].kind : 0]);
        wr_json_f64(j, sum[i].kind == 3 ? "sum" : "value", sum[i].value);
        if (sum[i].kind == 3) wr_json_u64(j, "count", sum[i].count);
        wr_json_end(j);
    }
    wr_json_end(j);
    free(sum);
}

void wr_progress_summary_json(wr_progress *p, FILE *file)
{
    double  seconds = seconds_of(p);
    totals *t = all_totals(p);
    if (t == NULL) return;
    const wr_core_job *job = wr_local_job(p->local);
    uint64_t           records = source_records(p), bad = 0, late = 0;
    for (uint32_t i = 0; i < p->exec->job->nodes; i++) {
        bad += t[i].bad;
        late += t[i].late;
    }
    wr_json j;
    wr_json_init_file(&j, file);
    wr_json_object(&j, NULL);
    wr_json_str(&j, "job", p->exec->job->name);
    wr_json_str(&j, "state", wr_job_state_name(job->state));
    wr_json_bool(&j, "stopped", job->stopping);
    wr_json_f64(&j, "seconds", seconds);
    wr_json_u64(&j, "records", records);
    wr_json_f64(&j, "records_per_second", seconds > 0 ? (double)records / seconds : 0);
    wr_json_u64(&j, "bad_records", bad);
    wr_json_u64(&j, "late_records", late);
    wr_json_u64(&j, "slots", p->exec->slots);
    wr_json_u64(&j, "state_bytes", wr_worker_state_bytes(wr_local_worker(p->local)));
    if (job->cause.code == WR_OK) {
        wr_json_null(&j, "error");
    } else {
        wr_json_object(&j, "error");
        wr_json_printf(&j, "code", "E%04d", (int)job->cause.code);
        wr_json_str(&j, "name", wr_err_name(job->cause.code));
        wr_json_str(&j, "text", wr_errinfo_text(&job->cause));
        wr_json_end(&j);
    }
    json_operators(&j, p, t);
    json_tasks(&j, p);
    json_metrics(&j, p);
    wr_history_json(&j, "snapshots", wr_local_snapshots(p->local));
    wr_json_end(&j);
    free(t);
}
