/* What the TaskManager and its workers measure, as Prometheus reads it. */
#include "taskmanager/supervisor_parts.h"
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* Text that grows; a failed one stays as it was. */
typedef struct text {
    char  *bytes;
    size_t n, room;
} text;

static void put(text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(text *t, const char *format, ...)
{
    char    line[1024];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (n <= 0 || n >= (int)sizeof line) return;
    if (t->n + (size_t)n + 1 > t->room) {
        size_t room = 2 * t->room + 4096;
        char  *grown = realloc(t->bytes, room);
        if (grown == NULL) return;
        t->bytes = grown;
        t->room = room;
    }
    memcpy(t->bytes + t->n, line, (size_t)n + 1);
    t->n += (size_t)n;
}

static void head(text *t, const char *name, const char *type, const char *help)
{
    put(t, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void one(text *t, const char *name, const char *type, const char *help, double value)
{
    head(t, name, type, help);
    put(t, "%s %.17g\n", name, value);
}

/* Names come from users: quotes, backslashes and line ends must not end a label. */
static void put_label(char *to, size_t room, const char *name)
{
    size_t n = 0;
    for (; name != NULL && *name != 0 && n + 3 < room; name++) {
        if (*name == '"' || *name == '\\') to[n++] = '\\';
        to[n++] = (unsigned char)*name < ' ' ? ' ' : *name;
    }
    to[n] = 0;
}

static void put_own(const wr_supervisor *s, text *t)
{
    const wr_tm_counts *c = &s->count;
    wr_acceptor_stats   data = {0};
    wr_acceptor_stats_of(s->acceptor, &data);
    one(t, "weir_taskmanager_registered", "gauge", "Whether the JobManager knows it.", s->link == WR_TM_REGISTERED);
    one(t, "weir_taskmanager_slots", "gauge", "Slots that it offers.", s->config.slots);
    one(t, "weir_taskmanager_workers", "gauge", "Worker processes.", s->workers);
    one(t, "weir_taskmanager_workers_started_total", "counter", "Deployments that it took.", (double)c->deployed);
    one(t, "weir_taskmanager_workers_crashed_total", "counter", "Workers that ended and should not have.",
        (double)c->crashed);
    one(t, "weir_taskmanager_heartbeats_total", "counter", "Heartbeats that were answered.", (double)c->heartbeats);
    one(t, "weir_taskmanager_heartbeat_round_trip_seconds", "gauge", "Of the last one.",
        (double)c->round_trip_ns / 1e9);
    one(t, "weir_taskmanager_connections_lost_total", "counter", "Times that the JobManager was lost.",
        (double)c->lost);
    one(t, "weir_taskmanager_stale_messages_total", "counter", "Of old leaders and old attempts.", (double)c->stale);
    one(t, "weir_taskmanager_garbage_messages_total", "counter", "That could not be read.", (double)c->garbage);
    one(t, "weir_data_port_connections_total", "counter", "Data connections that came.", (double)data.accepted);
    one(t, "weir_data_port_refused_total", "counter", "Of those: without a proof, with garbage, too slow, too many.",
        (double)(data.garbage + data.unproved + data.slow + data.refused));
}

typedef uint64_t (*of_worker)(const wr_stats *s);
static uint64_t rss_of(const wr_stats *s)
{
    return s->rss_bytes;
}
static uint64_t state_of(const wr_stats *s)
{
    return s->state_bytes;
}
static uint64_t sent_of(const wr_stats *s)
{
    return s->sent_bytes;
}
static uint64_t received_of(const wr_stats *s)
{
    return s->received_bytes;
}

static void put_workers(const wr_supervisor *s, text *t, const char *name, const char *type, const char *help,
                        of_worker value)
{
    head(t, name, type, help);
    for (uint32_t i = 0; i < s->workers; i++) {
        const wr_tm_worker *w = s->worker[i];
        if (w->stats.kind == 0) continue;
        put(t, "%s{job=\"%016llx\"} %llu\n", name, (unsigned long long)w->job,
            (unsigned long long)value(&w->stats.stats));
    }
}

static void put_cpu(const wr_supervisor *s, text *t)
{
    head(t, "weir_worker_cpu_seconds_total", "counter", "Processor time of a worker process.");
    for (uint32_t i = 0; i < s->workers; i++) {
        const wr_tm_worker *w = s->worker[i];
        if (w->stats.kind != 0)
            put(t, "weir_worker_cpu_seconds_total{job=\"%016llx\"} %.9g\n", (unsigned long long)w->job,
                (double)w->stats.stats.cpu_ns / 1e9);
    }
}

static void put_tasks(const wr_supervisor *s, text *t)
{
    static const char name[] = "weir_task_time_seconds_total";
    head(t, name, "counter", "What a subtask's time went into.");
    for (uint32_t i = 0; i < s->workers; i++) {
        const wr_tm_worker *w = s->worker[i];
        for (uint32_t k = 0; w->stats.kind != 0 && k < w->stats.stats.tasks; k++) {
            const wr_stats_task *o = &w->stats.stats.task[k];
            const double         value[] = {(double)o->busy_ns, (double)o->idle_ns, (double)o->back_pressured_ns};
            static const char   *mode[] = {"busy", "idle", "backpressured"};
            for (int m = 0; m < 3; m++)
                put(t, "%s{job=\"%016llx\",task=\"%u\",mode=\"%s\"} %.9g\n", name, (unsigned long long)w->job,
                    o->subtask, mode[m], value[m] / 1e9);
        }
    }
}

typedef struct column {
    const char *name, *type, *help;
    size_t      at;
} column;

static void put_operators(const wr_supervisor *s, text *t)
{
    static const column columns[] = {
        {"weir_records_in_total", "counter", "Records that an operator took.", offsetof(wr_stats_operator, in)},
        {"weir_records_out_total", "counter", "Records that it gave.", offsetof(wr_stats_operator, out)},
        {"weir_bad_records_total", "counter", "Records that could not be worked.", offsetof(wr_stats_operator, bad)},
        {"weir_late_records_total", "counter", "Records behind the watermark.", offsetof(wr_stats_operator, late)},
        {"weir_state_bytes", "gauge", "Keyed state.", offsetof(wr_stats_operator, state_bytes)},
        {"weir_state_keys", "gauge", "Keys with state.", offsetof(wr_stats_operator, keys)},
    };
    for (size_t c = 0; c < sizeof columns / sizeof *columns; c++) {
        head(t, columns[c].name, columns[c].type, columns[c].help);
        for (uint32_t i = 0; i < s->workers; i++) {
            const wr_tm_worker *w = s->worker[i];
            for (uint32_t k = 0; w->stats.kind != 0 && k < w->stats.stats.ops; k++) {
                const wr_stats_operator *o = &w->stats.stats.op[k];
                uint64_t                 value;
                memcpy(&value, (const char *)o + columns[c].at, sizeof value);
                put(t, "%s{job=\"%016llx\",operator=\"%u\",subtask=\"%u\"} %llu\n", columns[c].name,
                    (unsigned long long)w->job, o->node, o->subtask, (unsigned long long)value);
            }
        }
    }
}

static void put_users(const wr_supervisor *s, text *t)
{
    static const char name[] = "weir_user_metric";
    char              label[2 * WR_NAME_BYTES_MAX];
    head(t, name, "gauge", "What the pipeline's own code measures.");
    for (uint32_t i = 0; i < s->workers; i++) {
        const wr_tm_worker *w = s->worker[i];
        for (uint32_t k = 0; w->stats.kind != 0 && k < w->stats.stats.metrics; k++) {
            const wr_stats_metric *m = &w->stats.stats.metric[k];
            put_label(label, sizeof label, m->name);
            put(t, "%s{job=\"%016llx\",operator=\"%u\",subtask=\"%u\",name=\"%s\"} %.17g\n", name,
                (unsigned long long)w->job, m->node, m->subtask, label, m->value);
        }
    }
}

char *wr_supervisor_metrics(wr_supervisor *s, size_t *n)
{
    text t = {0};
    put_own(s, &t);
    put_workers(s, &t, "weir_worker_resident_memory_bytes", "gauge", "Of a worker process.", rss_of);
    put_workers(s, &t, "weir_worker_state_bytes", "gauge", "Keyed state of a worker.", state_of);
    put_workers(s, &t, "weir_network_sent_bytes_total", "counter", "To slots of other workers.", sent_of);
    put_workers(s, &t, "weir_network_received_bytes_total", "counter", "From slots of other workers.", received_of);
    put_cpu(s, &t);
    put_tasks(s, &t);
    put_operators(s, &t);
    put_users(s, &t);
    *n = t.n;
    return t.bytes;
}
