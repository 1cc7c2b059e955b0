#include "net/metrics.h"
#include "base/limits.h"
#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_BYTES = 128, COUNTER = 1, HISTOGRAM = 3 };

void wr_metrics_head(FILE *f, const char *name, const char *type, const char *help)
{
    fprintf(f, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void wr_metrics_value(FILE *f, const char *text)
{
    for (; *text != 0; text++) {
        if (*text == '\\' || *text == '"')
            fprintf(f, "\\%c", *text);
        else if (*text == '\n')
            fputs("\\n", f);
        else
            fputc(*text, f);
    }
}

void wr_metrics_of_job(FILE *f, const char *name, const char *job, uint64_t id)
{
    fprintf(f, "%s{job=\"", name);
    wr_metrics_value(f, job);
    fprintf(f, "\",id=\"%016" PRIx64 "\"", id);
}

static void of_operator(FILE *f, const char *name, const wr_metrics_worker *w, uint32_t node, uint32_t subtask)
{
    wr_metrics_of_job(f, name, w->job, w->id);
    fputs(",operator=\"", f);
    wr_metrics_value(f, w->exec->job->node[node].uid);
    fprintf(f, "\",subtask=\"%u\"} ", subtask);
}

/* ---- what the engine measures ---- */

typedef void (*each_worker)(FILE *f, const char *name, const wr_metrics_worker *w, uint32_t which);

static void task_times(FILE *f, const char *name, const wr_metrics_worker *w, uint32_t which)
{
    (void)which;
    for (uint32_t i = 0; w->exec != NULL && i < w->stats->tasks; i++) {
        const wr_stats_task *t = &w->stats->task[i];
        const struct {
            const char *mode;
            uint64_t    ns;
        } mode[] = {{"busy", t->busy_ns}, {"idle", t->idle_ns}, {"back_pressured", t->back_pressured_ns}};
        if (t->subtask >= w->exec->subtasks) continue;
        const wr_subtask *s = &w->exec->subtask[t->subtask];
        for (uint32_t m = 0; m < 3; m++) {
            wr_metrics_of_job(f, name, w->job, w->id);
            fputs(",task=\"", f);
            wr_metrics_value(f, w->exec->vertex[s->vertex].name);
            fprintf(f, "\",subtask=\"%u\",mode=\"%s\"} %.3f\n", s->index, mode[m].mode, (double)mode[m].ns * 1e-9);
        }
    }
}

enum { WATERMARK = 6 }; /* its place in of_operators */

static void operators(FILE *f, const char *name, const wr_metrics_worker *w, uint32_t which)
{
    for (uint32_t i = 0; w->exec != NULL && i < w->stats->ops; i++) {
        const wr_stats_operator *o = &w->stats->op[i];
        const uint64_t           figure[] = {o->in, o->out, o->bad, o->late, o->keys, o->state_bytes};
        if (o->node >= w->exec->job->nodes) continue;
        if (which == WATERMARK && (o->watermark == WEIR_NO_TIME || o->watermark == INT64_MAX)) continue;
        of_operator(f, name, w, o->node, o->subtask);
        if (which == WATERMARK)
            fprintf(f, "%.3f\n", (double)o->watermark * 1e-9);
        else
            fprintf(f, "%" PRIu64 "\n", figure[which]);
    }
}

static void processes(FILE *f, const char *name, const wr_metrics_worker *w, uint32_t which)
{
    const wr_stats *s = w->stats;
    const double    figure[] = {(double)s->rss_bytes, (double)s->state_bytes, (double)s->cpu_ns * 1e-9,
                                (double)s->sent_bytes, (double)s->received_bytes};
    wr_metrics_of_job(f, name, w->job, w->id);
    fputs(",tm=\"", f);
    wr_metrics_value(f, w->tm);
    fprintf(f, "\"} %.17g\n", figure[which]);
}

static const struct family {
    const char *name, *type, *help;
    each_worker each;
    uint32_t    which;
} families[] = {
    {"weir_task_time_seconds_total", "counter", "Where the time of a task's subtask went.", task_times, 0},
    {"weir_records_in_total", "counter", "Records that came to an operator.", operators, 0},
    {"weir_records_out_total", "counter", "Records that it gave.", operators, 1},
    {"weir_records_bad_total", "counter", "Records that it could not take.", operators, 2},
    {"weir_records_late_total", "counter", "Records that came behind the watermark.", operators, 3},
    {"weir_keys", "gauge", "Keys that it has state for.", operators, 4},
    {"weir_state_bytes", "gauge", "Keyed state.", operators, 5},
    {"weir_watermark_timestamp_seconds", "gauge", "Event time that it has come to.", operators, WATERMARK},
    {"weir_worker_resident_memory_bytes", "gauge", "Resident memory of a worker process.", processes, 0},
    {"weir_worker_state_bytes", "gauge", "Memory of its keyed state.", processes, 1},
    {"weir_worker_cpu_seconds_total", "counter", "CPU time of a worker process.", processes, 2},
    {"weir_worker_sent_bytes_total", "counter", "Bytes that it sent to other workers.", processes, 3},
    {"weir_worker_received_bytes_total", "counter", "Bytes that it got from other workers.", processes, 4},
};

/* ---- the pipelines' own ---- */

typedef struct own_name {
    char     name[NAME_BYTES];
    uint32_t kind;
} own_name;

/* Which name each metric of each worker goes under, in their order; WR_NONE: it is left out. */
typedef struct own_names {
    own_name  name[WR_METRIC_NAMES_MAX];
    uint32_t  names;
    uint64_t  left_out;
    uint32_t *of;
} own_names;

static void name_of(char to[NAME_BYTES], const wr_stats_metric *m)
{
    int n = snprintf(to, NAME_BYTES, "weir_user_%.100s", m->name);
    for (int i = 0; i < n; i++)
        if (!isalnum((unsigned char)to[i])) to[i] = '_';
}

/* The same name and labels were there already: another name that only differs in what a name here cannot have. */
static bool comes_twice(const wr_stats *s, uint32_t i, const uint32_t *of, uint32_t name)
{
    const wr_stats_metric *m = &s->metric[i];
    for (uint32_t k = i; k > 0 && s->metric[k - 1].node == m->node && s->metric[k - 1].subtask == m->subtask; k--)
        if (of[k - 1] == name) return true;
    return false;
}

static uint32_t find_name(own_names *all, const wr_stats_metric *m)
{
    char     name[NAME_BYTES];
    uint32_t i = 0;
    name_of(name, m);
    while (i < all->names && strcmp(all->name[i].name, name) != 0) i++;
    if (i == WR_METRIC_NAMES_MAX || (i < all->names && all->name[i].kind != m->kind)) return WR_NONE;
    if (i < all->names) return i;
    memcpy(all->name[i].name, name, sizeof name);
    all->name[i].kind = m->kind;
    return all->names++;
}

static void find_names(own_names *all, const wr_metrics_worker *w, uint32_t n)
{
    uint32_t *of = all->of;
    for (uint32_t i = 0; i < n; of += w[i].stats->metrics, i++) {
        const wr_stats *s = w[i].stats;
        for (uint32_t m = 0; m < s->metrics; m++) {
            bool known = w[i].exec != NULL && s->metric[m].node < w[i].exec->job->nodes;
            of[m] = known ? find_name(all, &s->metric[m]) : WR_NONE;
            if (of[m] != WR_NONE && comes_twice(s, m, of, of[m])) of[m] = WR_NONE;
            all->left_out += of[m] == WR_NONE;
        }
    }
}

/* A gauge may be anything. What C prints for a negative NaN no scraper reads, and with it nothing of the page. */
static void put_number(FILE *f, double value)
{
    if (isnan(value))
        fputs("NaN\n", f);
    else if (isinf(value))
        fputs(value > 0 ? "+Inf\n" : "-Inf\n", f);
    else
        fprintf(f, "%.17g\n", value);
}

static void own_lines(FILE *f, const own_names *all, uint32_t name, const wr_metrics_worker *w, uint32_t n)
{
    const uint32_t *of = all->of;
    const own_name *o = &all->name[name];
    char            part[NAME_BYTES + 8];
    for (uint32_t i = 0; i < n; of += w[i].stats->metrics, i++) {
        for (uint32_t m = 0; m < w[i].stats->metrics; m++) {
            const wr_stats_metric *x = &w[i].stats->metric[m];
            if (of[m] != name) continue;
            snprintf(part, sizeof part, "%s%s", o->name, o->kind == HISTOGRAM ? "_sum" : "");
            of_operator(f, part, &w[i], x->node, x->subtask);
            put_number(f, x->value);
            if (o->kind != HISTOGRAM) continue;
            snprintf(part, sizeof part, "%s_count", o->name);
            of_operator(f, part, &w[i], x->node, x->subtask);
            fprintf(f, "%" PRIu64 "\n", x->count);
        }
    }
}

static void own(FILE *f, const wr_metrics_worker *w, uint32_t n)
{
    size_t metrics = 0;
    for (uint32_t i = 0; i < n; i++) metrics += w[i].stats->metrics;
    own_names *all = calloc(1, sizeof *all + metrics * sizeof *all->of);
    if (all == NULL) return;
    all->of = (uint32_t *)(void *)(all + 1);
    find_names(all, w, n);
    for (uint32_t i = 0; i < all->names; i++) {
        uint32_t kind = all->name[i].kind;
        wr_metrics_head(f, all->name[i].name,
                        kind == COUNTER     ? "counter"
                        : kind == HISTOGRAM ? "summary"
                                            : "gauge",
                        "Of the pipeline itself.");
        own_lines(f, all, i, w, n);
    }
    wr_metrics_head(f, "weir_hidden_user_metrics", "gauge",
                    "Of those, not shown: too many names, or two that read the same.");
    fprintf(f, "weir_hidden_user_metrics %" PRIu64 "\n", all->left_out);
    free(all);
}

void wr_metrics_of_workers(FILE *f, const wr_metrics_worker *w, uint32_t n)
{
    for (uint32_t k = 0; k < sizeof families / sizeof *families; k++) {
        wr_metrics_head(f, families[k].name, families[k].type, families[k].help);
        for (uint32_t i = 0; i < n; i++) families[k].each(f, families[k].name, &w[i], families[k].which);
    }
    own(f, w, n);
}
