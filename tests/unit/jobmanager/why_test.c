/* `weir why`: a sentence for each state of affairs, the root cause first. The graph is written by hand:
 * 'lines' (2) -> 'split, times' (2) -> 'count' (3) -> 'out' (1). */
#include "jobmanager/why.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { VERTICES = 4, SUBTASKS = 8, NODES = 5, LINES = 0, SPLIT, TIMES, COUNT, OUT };

typedef struct scene {
    wr_vertex           vertex[VERTICES];
    wr_subtask          subtask[SUBTASKS];
    wr_link             link[3];
    wr_node             node[NODES];
    wr_job              graph;
    wr_exec             exec;
    wr_core_job         job;
    wr_execution        execution[SUBTASKS];
    wr_job_action       action[SUBTASKS + 8];
    wr_why_time         time[VERTICES];
    wr_why_flow         flow[NODES];
    wr_why_worker       worker[2];
    wr_core_checkpoint  snapshots;
    wr_snapshot_figures figures[WR_SNAPSHOT_HISTORY * SUBTASKS];
    bool                ended[SUBTASKS];
    wr_ledger_failure   failure;
    wr_why_input        in;
    wr_why_answer       a;
} scene;

static const uint32_t width[VERTICES] = {2, 2, 3, 1};

static void build(scene *s)
{
    static const char *const name[NODES] = {"lines", "split", "times", "count", "out"};
    static const char *const task[VERTICES] = {"lines", "split -> times", "count", "out"};
    for (uint32_t v = 0, at = 0; v < VERTICES; at += width[v++]) {
        s->vertex[v] = (wr_vertex){.id = v, .kind = WR_VERTEX_TASK, .name = task[v], .parallelism = width[v]};
        s->vertex[v].ins = v > 0;
        s->vertex[v].first_subtask = at;
        for (uint32_t i = 0; i < width[v]; i++)
            s->subtask[at + i] = (wr_subtask){.id = at + i, .vertex = v, .index = i};
    }
    for (uint32_t l = 0; l < 3; l++)
        s->link[l] = (wr_link){.id = l, .kind = WR_LINK_DATA, .from_vertex = l, .to_vertex = l + 1};
    for (uint32_t n = 0; n < NODES; n++)
        s->node[n] = (wr_node){.id = n, .kind = n == TIMES ? WR_NODE_TIME : WR_NODE_OP, .name = name[n]};
    for (uint32_t n = 1; n < NODES; n++) s->node[n].in_edges = 1;
    s->graph.node = s->node;
    s->graph.nodes = NODES;
    s->exec = (wr_exec){.job = &s->graph,
                        .vertex = s->vertex,
                        .vertices = VERTICES,
                        .subtask = s->subtask,
                        .subtasks = SUBTASKS,
                        .link = s->link,
                        .links = 3,
                        .slots = 3};
}

static void step(scene *s, wr_job_event event)
{
    event.now_ms = s->in.now_ms;
    wr_core_job_step(&s->job, &event, s->action, SUBTASKS + 8);
    s->in.state = s->job.state;
    s->in.failed_subtask = s->job.failed_subtask;
}

/* Submitted, at 1 s. */
static scene *begin(void)
{
    scene *s = calloc(1, sizeof *s);
    assert_non_null(s);
    build(s);
    s->in = (wr_why_input){.name = "wordcount",
                           .job = &s->job,
                           .exec = &s->exec,
                           .cause = &s->job.cause,
                           .slots = 3,
                           .now_ms = 1000,
                           .wall_ms = 1767225600000};
    wr_core_job_config config = {.cancel_timeout_ms = 3000,
                                 .restart = {.strategy = WR_RESTART_FIXED, .delay_ms = 2500}};
    assert_int_equal(wr_restart_complete(&config.restart, true, NULL), WR_OK);
    wr_core_job_init(&s->job, s->execution, SUBTASKS, s->in.now_ms);
    wr_core_job_configure(&s->job, &config);
    step(s, (wr_job_event){.kind = WR_JOB_SUBMIT});
    return s;
}

static void report(scene *s, uint32_t subtask, wr_exec_state state, const wr_errinfo *info)
{
    step(s, (wr_job_event){
                .kind = WR_JOB_REPORT, .subtask = subtask, .attempt = s->job.attempt, .reported = state, .info = info});
}

static scene *running(void)
{
    scene *s = begin();
    step(s, (wr_job_event){.kind = WR_JOB_GRANTED, .attempt = 1, .subtasks = SUBTASKS});
    for (uint32_t i = 0; i < SUBTASKS; i++) report(s, i, WR_EXEC_RUNNING, NULL);
    assert_true(s->job.went);
    for (uint32_t v = 0; v < VERTICES; v++)
        s->time[v] = (wr_why_time){.measured = width[v], .busy = 0.1, .idle = 0.9, .busiest = 0.1};
    for (uint32_t n = 0; n < NODES; n++)
        s->flow[n] = (wr_why_flow){.measured = true, .in_rate = 100, .out_rate = 100, .watermark = WEIR_NO_TIME};
    s->flow[TIMES].watermark = 1000000000;
    s->in.time = s->time;
    s->in.flow = s->flow;
    return s;
}

/* Line i is of this kind, and says this. */
static void says(scene *s, uint32_t i, uint32_t kind, const char *text)
{
    wr_why(&s->in, &s->a);
    if (i >= s->a.lines) fail_msg("only %u lines, the first: %s", s->a.lines, s->a.line[0].text);
    if (s->a.line[i].kind != kind || strstr(s->a.line[i].text, text) == NULL)
        fail_msg("%s: %s", wr_why_kind_name(s->a.line[i].kind), s->a.line[i].text);
}

static void waits_for_slots(void **state)
{
    (void)state;
    scene *s = begin();
    says(s, 0, WR_WHY_SLOTS,
         "it waits for 3 slots, and there is no TaskManager; start one: weir taskmanager --slots 3");
    s->in.pool = (wr_pool_sums){.tms = 2, .slots = 4, .free_slots = 1, .waiting = 1, .wanted = 3};
    says(s, 0, WR_WHY_SLOTS, "it needs 3, 1 of 4 are free, 2 are missing; start a TaskManager, or end another job");
    s->in.pool = (wr_pool_sums){.tms = 3, .draining = 1, .slots = 2, .free_slots = 2, .waiting = 2, .wanted = 7};
    says(s, 0, WR_WHY_SLOTS,
         "2 of 2 are free, 1 is missing; 1 TaskManager takes no work: drained; 2 jobs wait for 7 slots; start a "
         "TaskManager, or lower its parallelism: weir rescale");
    assert_int_equal(s->a.lines, 1);
    free(s);
}

static void starts(void **state)
{
    (void)state;
    scene *s = begin();
    step(s, (wr_job_event){.kind = WR_JOB_GRANTED, .attempt = 1, .subtasks = SUBTASKS});
    s->in.now_ms += 1500;
    says(s, 0, WR_WHY_STARTS, "it starts since 1s500ms: 0 of 8 subtasks are loaded; their workers are being started");
    says(s, 0, WR_WHY_STARTS, "'lines' subtask 0, 'lines' subtask 1, 'split -> times' subtask 0 and 5 more");
    for (uint32_t i = 0; i < SUBTASKS; i++)
        step(
            s,
            (wr_job_event){
                .kind = WR_JOB_REPORT, .subtask = i, .attempt = 1, .reported = WR_EXEC_INITIALIZING, .loaded = i != 5});
    says(s, 0, WR_WHY_STARTS, "7 of 8 subtasks are loaded; state is being read, or connected: 'count' subtask 1");
    free(s);
}

static void fails_and_restarts(void **state)
{
    (void)state;
    const wr_errinfo crash = {WR_CRASH, "SIGSEGV in operator 'count'"};
    scene           *s = running();
    report(s, 4, WR_EXEC_FAILED, &crash);
    says(s, 0, WR_WHY_FAILED, "it failed: CRASH: SIGSEGV in operator 'count'; 'count' subtask 0");
    says(s, 1, WR_WHY_ENDS, "7 subtasks were told to end and did not yet: 'lines' subtask 0");
    says(s, 1, WR_WHY_ENDS, "what is left in 3s is killed");
    for (uint32_t i = 0; i < SUBTASKS; i++)
        if (i != 4) report(s, i, WR_EXEC_CANCELED, NULL);
    s->failure = (wr_ledger_failure){.wall_ms = s->in.wall_ms - 400, .info = crash, .subtask = 4};
    s->in.failure = &s->failure;
    s->in.now_ms += 400;
    says(s, 0, WR_WHY_FAILED, "it failed 400ms ago: CRASH: SIGSEGV");
    says(s, 1, WR_WHY_RESTARTS, "it starts again in 2s100ms, as attempt 2 (restart strategy fixed)");
    s->in.now_ms += 2100;
    step(s, (wr_job_event){.kind = WR_JOB_TICK});
    s->in.pool = (wr_pool_sums){.tms = 1, .slots = 2, .free_slots = 2, .waiting = 1, .wanted = 3};
    says(s, 0, WR_WHY_FAILED, "SIGSEGV");
    says(s, 1, WR_WHY_SLOTS, "1 is missing");
    free(s);
}

static void has_failed(void **state)
{
    (void)state;
    const wr_errinfo bad = {WR_BAD_RECORD, "line 7 is no number"};
    scene           *s = running();
    report(s, 0, WR_EXEC_FAILED, &bad);
    for (uint32_t i = 1; i < SUBTASKS; i++) report(s, i, WR_EXEC_CANCELED, NULL);
    assert_int_equal(s->job.state, WR_JOB_FAILED);
    says(s, 0, WR_WHY_FAILED, "it failed: BAD_RECORD: line 7 is no number; 'lines' subtask 0");
    says(s, 1, WR_WHY_ENDED, "it was not restarted: trying again cannot help");
    s->in.job = NULL; /* in the time of an older JobManager: only the ledger knows */
    s->in.exec = NULL;
    s->in.cause = &bad;
    says(s, 0, WR_WHY_FAILED, "it failed: BAD_RECORD: line 7 is no number");
    s->in.state = WR_JOB_CANCELED;
    says(s, 0, WR_WHY_ENDED, "it was canceled");
    s->in.state = WR_JOB_FINISHED;
    says(s, 0, WR_WHY_ENDED, "it has finished");
    free(s);
}

static void reconciles(void **state)
{
    (void)state;
    scene *s = begin();
    wr_core_job_init(&s->job, s->execution, SUBTASKS, s->in.now_ms);
    wr_core_job_config config = {.cancel_timeout_ms = 3000, .restart = {.strategy = WR_RESTART_NONE}};
    wr_core_job_configure(&s->job, &config);
    step(s, (wr_job_event){.kind = WR_JOB_ADOPT, .attempt = 4, .subtasks = SUBTASKS});
    s->worker[0] = (wr_why_worker){.name = "east:17"};
    s->worker[1] = (wr_why_worker){.name = "west:18", .awaited = true};
    s->in.worker = s->worker;
    s->in.workers = 2;
    says(s, 0, WR_WHY_RECONCILES, "waits for 1 of 2 TaskManagers that had workers of this job: west:18;");
    s->worker[1].awaited = false;
    says(s, 0, WR_WHY_RECONCILES, "waits for 8 subtasks to say how they are");
    free(s);
}

static void back_pressure(void **state)
{
    (void)state;
    scene *s = running();
    s->time[0].back_pressured = 0.7; /* the cause is two tasks further down */
    s->time[1].back_pressured = 0.8;
    s->time[2] = (wr_why_time){.measured = 3, .busy = 0.97, .busiest = 0.99};
    says(s, 0, WR_WHY_SLOW,
         "'count' is the slowest: its busiest subtask is busy 99 % of its time, and holds back "
         "'split -> times' (80 % of its time); give it more parallelism");
    assert_int_equal(s->a.lines, 1);
    s->time[2] = (wr_why_time){.measured = 3, .busy = 0.35, .busiest = 0.99, .busiest_subtask = 2};
    says(s, 1, WR_WHY_SKEW, "subtask 2 of 'count' is busy 99 % of its time, all of them together 35 %");
    s->time[2] = (wr_why_time){.measured = 3, .busy = 0.2, .busiest = 0.3};
    says(s, 0, WR_WHY_SLOW, "'split -> times' (80 % of its time) waits for 'count', which is busy 30 %");
    s->time[0].back_pressured = s->time[1].back_pressured = 0; /* nobody waits, one has no time left */
    s->time[0].busiest = 0.95;
    says(s, 0, WR_WHY_SLOW, "'lines' has no time left: its busiest subtask is busy 95 % of its time; it reads as fast");
    free(s);
}

static void event_time(void **state)
{
    (void)state;
    scene *s = running();
    s->flow[TIMES].stands = true;
    s->flow[TIMES].slowest = 1;
    says(s, 0, WR_WHY_EVENT_TIME,
         "event time stands at 1970-01-01T00:00:01Z: subtask 1 of 'times' is the furthest "
         "behind; set .idle_after");
    s->flow[TIMES].held = "split 3 of 'lines' (old.txt)";
    says(s, 0, WR_WHY_EVENT_TIME, "it is held back by split 3 of 'lines' (old.txt)");
    s->flow[TIMES].watermark = WEIR_NO_TIME;
    says(s, 0, WR_WHY_EVENT_TIME, "event time has not begun: subtask 1 of 'times' has had no record of some split");
    s->flow[TIMES].watermark = INT64_MAX; /* the end of time: of input that has ended */
    says(s, 0, WR_WHY_RUNS, "it runs: 100 records a second");
    free(s);
}

/* 'lines' -> 'split', a time operator as well -> 'count', a window <- 'times' <- 'out', which is a source here. */
static void apart(void **state)
{
    (void)state;
    static wr_edge edge[] = {{.from = LINES, .to = SPLIT},
                             {.from = SPLIT, .to = COUNT},
                             {.from = OUT, .to = TIMES},
                             {.from = TIMES, .to = COUNT}};
    const int64_t  s_ns = 1000000000;
    scene         *s = running();
    s->graph.edge = edge;
    s->graph.edges = 4;
    s->node[SPLIT].kind = WR_NODE_TIME;
    s->node[SPLIT].parallelism = s->node[TIMES].parallelism = 1;
    s->node[COUNT].window.window = weir_tumbling(s_ns);
    s->flow[SPLIT].watermark = s->flow[SPLIT].ahead = 160 * s_ns;
    s->flow[TIMES].watermark = s->flow[TIMES].ahead = s->flow[COUNT].watermark = 10 * s_ns;
    s->flow[TIMES].held = "split 3";
    says(s, 0, WR_WHY_EVENT_TIME,
         "event time at 'count' waits for 'out' (split 3), which has only come to 1970-01-01T00:00:10Z, 150 s behind "
         "'lines'; until it comes");
    assert_int_equal(s->a.lines, 1);
    s->node[COUNT].window.window = weir_tumbling(140 * s_ns); /* it keeps so much anyway */
    says(s, 0, WR_WHY_RUNS, "it runs");
    s->node[COUNT].window.window = weir_tumbling(139 * s_ns);
    says(s, 0, WR_WHY_EVENT_TIME, "150 s behind");
    s->node[TIMES].max_delay = 2 * s_ns; /* so much later were its newest records */
    says(s, 0, WR_WHY_RUNS, "it runs");
    s->node[TIMES].max_delay = 0;
    s->flow[TIMES].stands = true;
    says(s, 0, WR_WHY_EVENT_TIME, "event time stands at");
    assert_int_equal(s->a.lines, 1);
    s->flow[TIMES].stands = false;
    s->flow[COUNT].watermark = 160 * s_ns; /* it is silent, and nobody waits for it */
    says(s, 0, WR_WHY_RUNS, "it runs");
    s->node[COUNT].window.window = weir_tumbling(s_ns);
    s->node[SPLIT].parallelism = 2; /* one of its subtasks */
    s->flow[COUNT].watermark = s->flow[SPLIT].watermark = 5 * s_ns;
    s->flow[SPLIT].slowest = 1;
    says(s, 0, WR_WHY_EVENT_TIME, "waits for subtask 1 of 'lines', which has only come to 1970-01-01T00:00:05Z, 155 s");
    free(s);
}

static void input(void **state)
{
    (void)state;
    scene *s = running();
    says(s, 0, WR_WHY_RUNS, "it runs: 100 records a second come in, and nobody is held back");
    s->flow[LINES].out_rate = 0;
    says(s, 0, WR_WHY_NO_INPUT, "'lines' gave, as all sources, no record lately");
    s->flow[LINES].out_rate = 100;
    s->failure = (wr_ledger_failure){
        .wall_ms = s->in.wall_ms - 59000, .info = {WR_IO, "disk full"}, .subtask = UINT32_MAX};
    s->in.failure = &s->failure;
    says(s, 0, WR_WHY_FAILED, "it failed 59s ago: IO: disk full"); /* it may well do so again */
    says(s, 1, WR_WHY_RESTARTS, "it was started again, as attempt 1");
    says(s, 2, WR_WHY_RUNS, "it runs: 100 records");
    s->failure.wall_ms -= 1000;
    says(s, 0, WR_WHY_RUNS, "it runs: 100 records");
    s->in.time = NULL;
    says(s, 0, WR_WHY_UNKNOWN, "have not measured enough yet");
    free(s);
}

static void snapshots_fail(void **state)
{
    (void)state;
    const wr_checkpoint_config config = {.subtasks = SUBTASKS,
                                         .epoch = 1,
                                         .interval_ms = 1000,
                                         .timeout_ms = 60000,
                                         .backoff_ms = 1,
                                         .backoff_most_ms = 1,
                                         .keep = 1};
    wr_checkpoint_action       action[WR_CHECKPOINT_ACTIONS_MAX];
    scene                     *s = running();
    wr_core_checkpoint_init(&s->snapshots, &config, s->figures, s->ended, s->in.now_ms);
    s->in.snapshots = &s->snapshots;
    wr_checkpoint_event e = {.kind = WR_CHECKPOINT_START, .now_ms = s->in.now_ms};
    wr_core_checkpoint_step(&s->snapshots, &e, action, WR_CHECKPOINT_ACTIONS_MAX);
    e.kind = WR_CHECKPOINT_TICK;
    e.now_ms = s->in.now_ms += 2000;
    assert_true(wr_core_checkpoint_step(&s->snapshots, &e, action, WR_CHECKPOINT_ACTIONS_MAX) > 0);
    wr_errinfo ok = {0};
    e = (wr_checkpoint_event){.kind = WR_CHECKPOINT_IDS_DONE, .now_ms = s->in.now_ms, .info = &ok, .id = action[0].id};
    wr_core_checkpoint_step(&s->snapshots, &e, action, WR_CHECKPOINT_ACTIONS_MAX);
    assert_int_equal(s->snapshots.phase, WR_CHECKPOINT_ACKS);
    says(s, 0, WR_WHY_RUNS, "it runs");
    s->in.now_ms += 5000;
    says(s, 0, WR_WHY_SNAPSHOTS, "is under way since 5s, and waits for 8 of 8 subtasks: 'lines' subtask 0");
    e = (wr_checkpoint_event){.kind = WR_CHECKPOINT_TICK, .now_ms = s->in.now_ms + 60000};
    wr_core_checkpoint_step(&s->snapshots, &e, action, WR_CHECKPOINT_ACTIONS_MAX);
    says(s, 0, WR_WHY_SNAPSHOTS, "the last snapshot failed, and results are not committed: not every subtask");
    free(s);
}

static void a_savepoint_takes_long(void **state)
{
    (void)state;
    scene *s = running();
    s->snapshots.config.interval_ms = 2000;
    s->in.snapshots = &s->snapshots;
    s->in.savepoint = "/mnt/saved";
    s->in.savepoint_ms = s->in.now_ms;
    s->in.now_ms += 2000;
    says(s, 0, WR_WHY_RUNS, "it runs");
    s->in.now_ms += 3000;
    says(s, 0, WR_WHY_SNAPSHOTS,
         "a savepoint is being written since 5s, and snapshots wait for it, so results are not committed: see that "
         "this folder answers: /mnt/saved");
    says(s, 1, WR_WHY_RUNS, "it runs");
    s->snapshots.finished = true; /* of a stop: behind the last snapshot */
    step(s, (wr_job_event){.kind = WR_JOB_STOP});
    says(s, 0, WR_WHY_STOPS, "it was ordered to stop");
    says(s, 1, WR_WHY_SNAPSHOTS, "since 5s, and the job ends after it: see that this folder answers: /mnt/saved");
    free(s);
}

static void stops(void **state)
{
    (void)state;
    scene *s = running();
    step(s, (wr_job_event){.kind = WR_JOB_STOP});
    says(s, 0, WR_WHY_STOPS, "it was ordered to stop");
    step(s, (wr_job_event){.kind = WR_JOB_CANCEL});
    says(s, 0, WR_WHY_ENDS, "it was canceled");
    says(s, 1, WR_WHY_ENDS, "8 subtasks were told to end");
    free(s);
}

static void was_stopped(void **state)
{
    (void)state;
    const wr_errinfo full = {WR_IO, "the disk is full"};
    scene           *s = begin();
    s->in.state = WR_JOB_FINISHED;
    s->in.stop = (wr_why_stop){.how = WR_LEDGER_STOP, .folder = "/kept", .savepoint = "", .last = 7, .seen = true};
    says(s, 0, WR_WHY_STOPPED, "it was stopped; snapshot 7 in /kept is its last");
    says(s, 1, WR_WHY_STOPPED, "to go on where it was: weir submit PIPELINE --restore /kept");
    assert_int_equal(s->a.lines, 2);
    s->in.stop.savepoint = "/saved";
    says(s, 1, WR_WHY_STOPPED, "a savepoint of it is in /saved");
    says(s, 2, WR_WHY_STOPPED, "--restore /saved");
    s->in.stop.failure = &full;
    says(s, 1, WR_WHY_STOPPED, "not all that was asked for was done: the disk is full");
    says(s, 2, WR_WHY_STOPPED, "--restore /kept");
    s->in.job = NULL; /* only the ledger knows: the order, not what became of it */
    s->in.stop = (wr_why_stop){.how = WR_LEDGER_STOP, .folder = "/kept", .savepoint = "/saved"};
    says(s, 0, WR_WHY_STOPPED, "it was stopped; its last snapshot is in /kept");
    says(s, 1, WR_WHY_STOPPED, "a savepoint of it was to go to /saved");
    says(s, 2, WR_WHY_STOPPED, "--restore /kept");
    s->in.stop = (wr_why_stop){.how = WR_LEDGER_DRAIN, .folder = "/kept", .savepoint = ""};
    says(s, 0, WR_WHY_STOPPED, "it was stopped with --drain");
    assert_int_equal(s->a.lines, 1);
    s->in.stop = (wr_why_stop){.how = WR_LEDGER_STOP, .folder = "", .savepoint = ""};
    says(s, 0, WR_WHY_STOPPED, "it took no snapshots");
    s->in.stop.how = WR_LEDGER_CANCEL; /* too late */
    says(s, 0, WR_WHY_ENDED, "it has finished: all of its input was processed");
    free(s);
}

static void as_json(void **state)
{
    (void)state;
    char    text[512];
    wr_json json;
    scene  *s = begin();
    wr_why(&s->in, &s->a);
    wr_json_init_text(&json, text, sizeof text);
    wr_why_json(&json, &s->in, &s->a);
    assert_true(wr_json_ok(&json));
    assert_string_equal(text,
                        "{\"job\":\"wordcount\",\"state\":\"CREATED\",\"reasons\":[{\"kind\":\"slots\",\"text\":\"it "
                        "waits for 3 slots, and there is no TaskManager; start one: weir taskmanager --slots 3\"}]}");
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waits_for_slots),
        cmocka_unit_test(starts),
        cmocka_unit_test(fails_and_restarts),
        cmocka_unit_test(has_failed),
        cmocka_unit_test(reconciles),
        cmocka_unit_test(back_pressure),
        cmocka_unit_test(event_time),
        cmocka_unit_test(apart),
        cmocka_unit_test(input),
        cmocka_unit_test(snapshots_fail),
        cmocka_unit_test(stops),
        cmocka_unit_test(was_stopped),
        cmocka_unit_test(as_json),
        cmocka_unit_test(a_savepoint_takes_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
