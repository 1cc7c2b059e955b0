/* Pipelines made by hand, without the macros: what the graph tests build from. */
#ifndef GRAPH_FIXTURE_H
#define GRAPH_FIXTURE_H
#include "graph/exec.h"
#include "graph/job.h"
#include "graph/plan.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
// after the four above
#include <cmocka.h>

__attribute__((unused)) static void fix_loop(weir_ctx *ctx)
{
    (void)ctx;
}

typedef struct fix_word {
    weir_str  text;
    uint64_t  count;
    int32_t   shard;
    double    weight;
    weir_time at;
} fix_word;
#define FIX_FIELD(T, F, K)                                                                                             \
    {                                                                                                                  \
        .name = #F, .offset = offsetof(T, F), .size = sizeof(((T *)0)->F), .kind = K                                   \
    }
static const weir_field fix_word_fields[] = {
    FIX_FIELD(fix_word, text, WEIR_STR),   FIX_FIELD(fix_word, count, WEIR_U64), FIX_FIELD(fix_word, shard, WEIR_I32),
    FIX_FIELD(fix_word, weight, WEIR_F64), FIX_FIELD(fix_word, at, WEIR_TIME),
};
static const weir_type fix_word_type = {.abi_size = sizeof(weir_type),
                                        .fields = 5,
                                        .name = "word",
                                        .size = sizeof(fix_word),
                                        .align = 8,
                                        .field = fix_word_fields};

typedef struct fix_line {
    weir_str text;
} fix_line;
static const weir_field fix_line_fields[] = {FIX_FIELD(fix_line, text, WEIR_STR)};
static const weir_type  fix_line_type = {.abi_size = sizeof(weir_type),
                                         .fields = 1,
                                         .name = "line",
                                         .size = sizeof(fix_line),
                                         .align = 8,
                                         .field = fix_line_fields};

typedef struct fix_state {
    uint64_t seen;
} fix_state;
static const weir_field fix_state_fields[] = {FIX_FIELD(fix_state, seen, WEIR_U64)};
static const weir_type  fix_state_type = {
     .abi_size = sizeof(weir_type), .fields = 1, .name = "counter", .size = 8, .align = 8, .field = fix_state_fields};

static const weir_type *const fix_word_out[] = {&fix_word_type, &fix_word_type};

#define FIX_OP(NAME, KIND, OUTS, ...)                                                                                  \
    __attribute__((unused)) static const weir_op NAME = {.abi_size = sizeof(weir_op),                                  \
                                                         .kind = KIND,                                                 \
                                                         .name = #NAME,                                                \
                                                         .file = "t.c",                                                \
                                                         .line = 7,                                                    \
                                                         .outs = OUTS,                                                 \
                                                         .left = &fix_word_type,                                       \
                                                         .out = fix_word_out,                                          \
                                                         .on_left = fix_loop,                                          \
                                                         __VA_ARGS__}
FIX_OP(map, WEIR_OP_MAP, 1, .mode = 0);
FIX_OP(split, WEIR_OP_FLAT_MAP, 2, .mode = 0);
FIX_OP(count, WEIR_OP_KEYED, 1, .state = &fix_state_type);
FIX_OP(sum, WEIR_OP_AGGREGATE, 1, .state = &fix_state_type, .on_merge = fix_loop, .on_result = fix_loop);
FIX_OP(numbers, WEIR_OP_SOURCE, 1, .state = &fix_word_type, .enumerate = fix_loop, .open = fix_loop, .close = fix_loop);
FIX_OP(store, WEIR_OP_SINK, 0, .flags = WEIR_OP_BLOCKING);

static const weir_key fix_key = {.count = 1, .field = {{.offset = offsetof(fix_word, text), .kind = WEIR_STR}}};

#define FIX_OPTIONS(TYPE, ...) (&(TYPE){.size = sizeof(TYPE), __VA_ARGS__})
/* (pipeline, uri, options...) and so on: one call for each verb. */
#define SOURCE(P, ...)       weir_graph_source(P, &fix_word_type, FIX_OPTIONS(weir_source_options, .uri = __VA_ARGS__))
#define SINK(FROM, ...)      weir_graph_sink(FROM, &fix_word_type, FIX_OPTIONS(weir_sink_options, .uri = __VA_ARGS__))
#define READ(P, OP, ...)     weir_graph_read(P, OP, FIX_OPTIONS(weir_read_options, __VA_ARGS__))
#define WRITE(FROM, OP, ...) weir_graph_write(FROM, OP, FIX_OPTIONS(weir_options, __VA_ARGS__))
#define APPLY(FROM, OP, ...)                                                                                           \
    weir_graph_op(OP, FIX_OPTIONS(weir_inputs, .left = FROM), FIX_OPTIONS(weir_options, __VA_ARGS__))
#define KEYED(FROM, OP, ...)                                                                                           \
    weir_graph_op(OP, FIX_OPTIONS(weir_inputs, .left = FROM, .left_key = fix_key),                                     \
                  (const weir_options *)FIX_OPTIONS(weir_state_options, __VA_ARGS__))
#define WINDOWED(FROM, OP, WINDOW, ...)                                                                                \
    weir_graph_op(OP, FIX_OPTIONS(weir_inputs, .left = FROM, .left_key = fix_key, .window = WINDOW),                   \
                  (const weir_options *)FIX_OPTIONS(weir_state_options, __VA_ARGS__))
#define ONE_WINDOW ((weir_window_spec){.window = weir_one_window()})

/* Connectors of the tests: "mem" reads and writes, "out" only writes and blocks, "one" runs once. */
static const weir_op fix_mem_source = {.abi_size = sizeof(weir_op),
                                       .kind = WEIR_OP_SOURCE,
                                       .name = "mem",
                                       .outs = 1,
                                       .state = &fix_word_type,
                                       .on_left = fix_loop,
                                       .enumerate = fix_loop};
static const weir_op fix_mem_sink = {
    .abi_size = sizeof(weir_op), .kind = WEIR_OP_SINK, .name = "mem", .on_left = fix_loop};
static const weir_option_def fix_mem_options[] = {
    {.name = "limit", .kind = WEIR_OPTION_U64, .otherwise = "10", .help = "how many records"},
    {.name = "every", .kind = WEIR_OPTION_DURATION},
    {.name = "chunk", .kind = WEIR_OPTION_BYTES, .otherwise = "64KiB"},
    {.name = "follow", .kind = WEIR_OPTION_BOOL, .otherwise = "false"},
    {.name = "group", .kind = WEIR_OPTION_STR},
};
static const weir_connector fix_connectors[] = {
    {.magic = WEIR_CONNECTOR_MAGIC,
     .abi = WEIR_ABI,
     .size = sizeof(weir_connector),
     .scheme = "mem",
     .option = fix_mem_options,
     .options = 5,
     .source_formats = "text csv",
     .sink_formats = "text csv",
     .source = &fix_mem_source,
     .sink = &fix_mem_sink},
    {.magic = WEIR_CONNECTOR_MAGIC,
     .abi = WEIR_ABI,
     .size = sizeof(weir_connector),
     .scheme = "out",
     .flags = WEIR_CONNECTOR_BLOCKS,
     .sink = &fix_mem_sink},
    {.magic = WEIR_CONNECTOR_MAGIC,
     .abi = WEIR_ABI,
     .size = sizeof(weir_connector),
     .scheme = "one",
     .flags = WEIR_CONNECTOR_ONE,
     .source = &fix_mem_source,
     .sink = &fix_mem_sink},
    {.magic = 1, .abi = WEIR_ABI, .size = sizeof(weir_connector), .scheme = "bad", .sink = &fix_mem_sink},
};

__attribute__((unused)) static const weir_connector *fix_connector(void *self, const char *scheme, size_t n,
                                                                   const char **suggestion)
{
    (void)self;
    for (size_t i = 0; i < sizeof fix_connectors / sizeof fix_connectors[0]; i++) {
        const char *have = fix_connectors[i].scheme;
        if (strlen(have) == n && memcmp(have, scheme, n) == 0) return &fix_connectors[i];
    }
    *suggestion = "mem";
    return NULL;
}

__attribute__((unused)) static const wr_job *fix_finish(weir_pipeline *p, const wr_job_settings *settings)
{
    const wr_job *job;
    wr_errinfo    info = {0};
    wr_err        err = wr_job_finish(p, settings, &job, &info);
    if (err) print_message("%s\n", info.text);
    assert_int_equal(err, WR_OK);
    return job;
}

__attribute__((unused)) static const wr_node *fix_node(const wr_job *job, const char *name)
{
    for (uint32_t i = 0; i < job->nodes; i++) {
        if (strcmp(job->node[i].name, name) == 0) return &job->node[i];
    }
    fail_msg("no node '%s'", name);
    return NULL;
}

/* The (first) edge between two nodes. */
__attribute__((unused)) static const wr_edge *fix_edge(const wr_job *job, const char *from, const char *to)
{
    uint32_t a = fix_node(job, from)->id, b = fix_node(job, to)->id;
    for (uint32_t i = 0; i < job->edges; i++) {
        if (job->edge[i].from == a && job->edge[i].to == b) return &job->edge[i];
    }
    fail_msg("no edge %s to %s", from, to);
    return NULL;
}

/* The job must fail with exactly the `count` texts, each a part of one problem, in any order. */
__attribute__((unused)) static void fix_problems(weir_pipeline *p, const wr_job_settings *settings, wr_err want,
                                                 uint32_t count, const char *const texts[])
{
    const wr_job      *job;
    const char *const *problem;
    wr_errinfo         info = {0};
    wr_err             err = wr_job_finish(p, settings, &job, &info);
    uint32_t           have = wr_job_problems(p, &problem);
    bool               good = err == want && !job && have == count;
    for (uint32_t i = 0; i < count; i++) {
        bool found = false;
        for (uint32_t k = 0; k < have; k++) found |= strstr(problem[k], texts[i]) != NULL;
        if (!found) print_message("missing: %s\n", texts[i]);
        good &= found;
    }
    if (!good) print_message("error %s, %u problems, %u wanted:\n", wr_err_name(err), have, count);
    for (uint32_t k = 0; k < have && !good; k++) print_message("  %s\n", problem[k]);
    assert_true(good);
    wr_job_free(p);
}
#define PROBLEMS(P, SETTINGS, ERR, ...)                                                                                \
    fix_problems(P, SETTINGS, ERR, sizeof((const char *[]){__VA_ARGS__}) / sizeof(const char *),                       \
                 (const char *[]){__VA_ARGS__})
#endif
