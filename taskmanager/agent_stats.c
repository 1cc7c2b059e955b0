#include "taskmanager/agent_stats.h"
#include "net/plane.h"
#include "taskmanager/proc.h"

static void put_tasks(const wr_worker *w, wr_message *m)
{
    wr_task_stats s;
    uint32_t      n = 0;
    while (wr_worker_task_stats(w, n, &s)) n++;
    m->stats.task = wr_arena_array(&m->arena, wr_stats_task, n + 1);
    for (uint32_t i = 0; i < n && wr_worker_task_stats(w, i, &s); i++)
        m->stats.task[m->stats.tasks++] = (wr_stats_task){
            .subtask = s.subtask, .busy_ns = s.busy_ns, .idle_ns = s.idle_ns, .back_pressured_ns = s.back_pressured_ns};
}

static void put_operators(const wr_worker *w, wr_message *m)
{
    wr_operator_stats s;
    uint32_t          n = 0;
    while (wr_worker_operator_stats(w, n, &s)) n++;
    m->stats.op = wr_arena_array(&m->arena, wr_stats_operator, n + 1);
    for (uint32_t i = 0; i < n && wr_worker_operator_stats(w, i, &s); i++)
        m->stats.op[m->stats.ops++] = (wr_stats_operator){.node = s.node->id,
                                                          .subtask = s.subtask,
                                                          .in = s.in,
                                                          .out = s.out,
                                                          .bad = s.bad,
                                                          .late = s.late,
                                                          .batches = s.batches,
                                                          .state_bytes = s.state_bytes,
                                                          .keys = s.keys,
                                                          .watermark = s.watermark,
                                                          .held = s.held[0] != 0 ? wr_arena_str(&m->arena, s.held)
                                                                                 : ""};
}

static void put_metrics(const wr_worker *w, wr_message *m)
{
    wr_user_metric s;
    uint32_t       n = 0;
    while (wr_worker_metric(w, n, &s)) n++;
    m->stats.metric = wr_arena_array(&m->arena, wr_stats_metric, n + 1);
    for (uint32_t i = 0; i < n && wr_worker_metric(w, i, &s); i++)
        m->stats.metric[m->stats.metrics++] = (wr_stats_metric){.node = s.node->id,
                                                                .subtask = s.subtask,
                                                                .name = s.name,
                                                                .kind = s.kind,
                                                                .value = s.value,
                                                                .count = s.count};
}

void wr_agent_measure(const wr_worker *w, const wr_env *env, wr_message *m)
{
    wr_plane_stats plane = {0};
    put_tasks(w, m);
    put_operators(w, m);
    put_metrics(w, m);
    wr_worker_plane_stats(w, &plane);
    m->stats.sent_bytes = plane.sent_bytes;
    m->stats.received_bytes = plane.received_bytes;
    m->stats.state_bytes = wr_worker_state_bytes(w);
    m->stats.rss_bytes = wr_process_rss_bytes(env, "self");
    m->stats.cpu_ns = wr_process_cpu_ns(env, "self");
}
