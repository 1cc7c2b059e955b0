/* What the TaskManager and its workers measure, as Prometheus reads it. */
#include "net/metrics.h"
#include "taskmanager/supervisor_parts.h"
#include <inttypes.h>
#include <stdlib.h>

static void one(FILE *f, const char *name, const char *type, const char *help, double value)
{
    wr_metrics_head(f, name, type, help);
    fprintf(f, "%s %.17g\n", name, value);
}

static void put_own(const wr_supervisor *s, FILE *f)
{
    const wr_tm_counts *c = &s->count;
    wr_acceptor_stats   data = {0};
    wr_acceptor_stats_of(s->acceptor, &data);
    one(f, "weir_taskmanager_registered", "gauge", "Whether the JobManager knows it.", s->link == WR_TM_REGISTERED);
    one(f, "weir_taskmanager_slots", "gauge", "Slots that it offers.", s->config.slots);
    one(f, "weir_taskmanager_workers", "gauge", "Worker processes.", s->workers);
    one(f, "weir_taskmanager_workers_started_total", "counter", "Deployments that it took.", (double)c->deployed);
    one(f, "weir_taskmanager_workers_crashed_total", "counter", "Workers that ended and should not have.",
        (double)c->crashed);
    one(f, "weir_taskmanager_disk_waits_seconds", "gauge", "How long its disk has not answered by now.",
        (double)wr_supervisor_stuck_ms(s) / 1e3);
    one(f, "weir_taskmanager_heartbeats_total", "counter", "Heartbeats that were answered.", (double)c->heartbeats);
    one(f, "weir_taskmanager_heartbeat_round_trip_seconds", "gauge", "Of the last one.",
        (double)c->round_trip_ns / 1e9);
    one(f, "weir_taskmanager_connections_lost_total", "counter", "Times that the JobManager was lost.",
        (double)c->lost);
    one(f, "weir_taskmanager_stale_messages_total", "counter", "Of old leaders and old attempts.", (double)c->stale);
    one(f, "weir_taskmanager_garbage_messages_total", "counter", "That could not be read.", (double)c->garbage);
    one(f, "weir_data_port_connections_total", "counter", "Data connections that came.", (double)data.accepted);
    one(f, "weir_data_port_refused_total", "counter", "Of those: without a proof, with garbage, too slow, too many.",
        (double)(data.garbage + data.unproved + data.slow + data.refused));
}

/* Names of tasks and operators stand in the graph of the job. It is looked at when somebody asks, once; a worker
 * refuses one that is not its pipeline's. */
static const wr_exec *graph_of(wr_tm_worker *w)
{
    const wr_job_spec *spec = &w->deployment.deploy.spec;
    wr_errinfo         silent = {0};
    if (w->graph_seen) return w->exec;
    w->graph_seen = true;
    if (wr_remote_decode(&w->graph, spec->graph, spec->graph_bytes, &silent) == WR_OK)
        wr_exec_new(wr_remote_job(w->graph), &w->exec, &silent);
    return w->exec;
}

static bool put_workers(const wr_supervisor *s, FILE *f)
{
    uint32_t           n = 0;
    wr_metrics_worker *all = calloc((size_t)s->workers + 1, sizeof *all);
    if (all == NULL) return false;
    for (uint32_t i = 0; i < s->workers; i++) {
        wr_tm_worker *w = s->worker[i];
        if (w->stats.kind == 0) continue;
        all[n++] = (wr_metrics_worker){.job = w->deployment.deploy.spec.name,
                                       .id = w->job,
                                       .tm = s->name,
                                       .exec = graph_of(w),
                                       .stats = &w->stats.stats};
    }
    wr_metrics_of_workers(f, all, n);
    free(all);
    return true;
}

char *wr_supervisor_metrics(wr_supervisor *s, size_t *n)
{
    char *text = NULL;
    FILE *f = open_memstream(&text, n);
    if (f == NULL) return NULL;
    put_own(s, f);
    bool all = put_workers(s, f);
    if (fclose(f) == 0 && all) return text;
    free(text);
    return NULL;
}
