/* weir/pipeline.h: everything a pipeline needs. cc $(pkg-config --cflags weir) -shared -fPIC p.c -o p.so
 *
 * Nouns: record -> T_stream -> T_keyed -> T_windowed: plain values; each step is one verb, and an operator takes
 * exactly one of them. Verbs: weir_verb(operator, stream, .option = value, ...). All verbs run in the build
 * function's thread and only describe: a build function runs at submit and once per worker, so it must do the same
 * each time. Strings are copied. */
#ifndef WEIR_PIPELINE_H
#define WEIR_PIPELINE_H
#include <weir/io.h>

/* What weir_dead_letters gives: records that a policy of WEIR_DEAD_LETTER took out, with the reason. record: the bytes
 * that a format could not read, as they came; of a record that a function rejected, what the raw format would write
 * (docs/connectors.md), strings included. position: FILE:LINE, the record's number, or a source's split. */
WEIR_RECORD(weir_dead, (weir_str, uid), (weir_str, reason), (weir_str, source), (weir_str, position),
            (weir_bytes, record), (weir_time, at))

/* ---- in and out --------------------------------------------------------------------------------------------------
 *   weir_source(T, p, "uri", .format = ...)    a T_stream from a connector
 *   weir_sink(stream, "uri", .format = ...)    into a connector
 *   weir_read(NAME, p, .parallelism = ...)     a stream from a WEIR_SOURCE, or a WEIR_FUSE that begins with one
 *   weir_write(NAME, stream, ...)              into a WEIR_SINK or WEIR_TWO_PHASE_SINK */
#define weir_source(T, P, ...)                                                                                         \
    weir_source_of_##T(P,                                                                                              \
                       (weir_source_options){.size = sizeof(weir_source_options), .uri = __VA_ARGS__, .weir_end_ = 0})
#define weir_sink(S, ...)                                                                                              \
    weir_sink_(WEIR_PLAIN_(S),                                                                                         \
               (weir_sink_options){.size = sizeof(weir_sink_options), .uri = __VA_ARGS__, .weir_end_ = 0})
#define weir_read(NAME, ...)                                                                                           \
    weir_read_by_##NAME(WEIR_FIRST_(__VA_ARGS__), WEIR_OPTIONS_(weir_read_options, __VA_ARGS__))
#define weir_write(NAME, ...) weir_write_##NAME(WEIR_FIRST_(__VA_ARGS__), WEIR_OPTIONS_(weir_options, __VA_ARGS__))

/* ---- operators ---------------------------------------------------------------------------------------------------
 *   weir_apply(NAME, stream, ...)               one input: T_stream, T_keyed or T_windowed, as the operator wants it
 *   weir_connect(NAME, left, right, ...)        two inputs: LEFT and RIGHT, or a *_SHARED and what is broadcast to it
 *   weir_join(NAME, left, right, who, ...)      two T_keyed
 *   weir_cross(NAME, left, right, who, ...)     two T_stream, without keys
 *   weir_late(NAME, result)                     what NAME's windows refused as too late: a stream of its input
 *   weir_dead_letters(p)                        the job's dead letters: a weir_dead_stream */
#define weir_apply(NAME, ...)                                                                                          \
    weir_apply_##NAME(WEIR_FIRST_(__VA_ARGS__), WEIR_OPTIONS_(weir_options_of_##NAME, __VA_ARGS__))
#define weir_connect(NAME, LEFT, ...)                                                                                  \
    weir_connect_##NAME(LEFT, WEIR_FIRST_(__VA_ARGS__), WEIR_OPTIONS_(weir_options_of_##NAME, __VA_ARGS__))
#define weir_join(NAME, LEFT, RIGHT, ...)                                                                              \
    weir_join_##NAME(LEFT, RIGHT, WEIR_FIRST_(__VA_ARGS__), WEIR_OPTIONS_(weir_state_options, __VA_ARGS__))
#define weir_cross(NAME, LEFT, RIGHT, ...)                                                                             \
    weir_cross_##NAME(LEFT, RIGHT, WEIR_FIRST_(__VA_ARGS__), WEIR_OPTIONS_(weir_state_options, __VA_ARGS__))
#define weir_late(NAME, RESULT) weir_late_##NAME((RESULT).handle.node)
#define weir_dead_letters(P)    weir_stream_weir_dead(weir_graph_dead_letters(P))

/* ---- shapes ------------------------------------------------------------------------------------------------------
 *   weir_key_by(stream, field, ...)            a T_keyed; up to 4 fields, no floating point
 *   weir_window(keyed, when, ...)              a T_windowed; for `when` see weir/window.h; .lateness and the like
 *   weir_window_all(stream, when, ...)         without a key; parallelism 1
 *   weir_delta(keyed, field, threshold, ...)   .relative = true, .start = 100: fires when the field has moved by more
 *                                              than the threshold since then
 *   weir_union(a, b, ...)                      2 to 16 streams of one record, before they are keyed */
#define weir_key_by(S, ...)                                                                                            \
    WEIR_MAKE_((S).needs_a_plain_stream, .handle = weir_handle_by_((S).handle, WEIR_KEY_(WEIR_T_(S), __VA_ARGS__)))
#define weir_window(K, ...)                                                                                            \
    WEIR_MAKE_((K).needs_weir_key_by, .handle = (K).handle, .window = {.window = __VA_ARGS__, .weir_end_ = 0})
#define weir_window_all(S, ...)                                                                                        \
    WEIR_MAKE_((S).needs_a_plain_stream_, .handle = (S).handle, .window = {.window = __VA_ARGS__, .weir_end_ = 0})
#define weir_delta(K, FIELD, ...)                                                                                      \
    WEIR_MAKE_((K).needs_weir_key_by, .handle = (K).handle,                                                            \
               .window = {.window = {.kind = WEIR_DELTA,                                                               \
                                     .field = (uint32_t)offsetof(WEIR_T_(K), FIELD),                                   \
                                     .field_kind = WEIR_KIND_(WEIR_FIELD_OF_(WEIR_T_(K), FIELD)),                      \
                                     .threshold = __VA_ARGS__},                                                        \
                          .weir_end_ = 0})
#define weir_union(A, ...)                                                                                             \
    WEIR_LIKE_(A, weir_union_(WEIR_PLAIN_(A), WEIR_CAT_(WEIR_UNION_OF_AT_MOST_16_NOT_, WEIR_COUNT_(A, __VA_ARGS__)),   \
                              (weir_nodes_){{WEIR_EACH_(WEIR_UNION_, A, __VA_ARGS__)}}))

/* ---- time --------------------------------------------------------------------------------------------------------
 * weir_event_time(stream, field, .max_delay = ...)          event time is that weir_time field
 * weir_event_time_by(NAME, stream, field, ...)              with watermarks by a WEIR_WATERMARK */
#define weir_event_time(S, ...)                                                                                        \
    WEIR_LIKE_(S, weir_event_time_(WEIR_PLAIN_(S), WEIR_TIME_FIELD_(S, WEIR_FIRST_(__VA_ARGS__)),                      \
                                   WEIR_OPTIONS_(weir_time_options, __VA_ARGS__)))
#define weir_event_time_by(NAME, S, ...)                                                                               \
    weir_event_time_by_##NAME(S, WEIR_TIME_FIELD_(S, WEIR_FIRST_(__VA_ARGS__)),                                        \
                              WEIR_OPTIONS_(weir_time_options, __VA_ARGS__))

/* ---- routes: how records reach the next operator's subtasks; without one: forward --------------------------------
 *   rebalance  round robin over all        rescale    round robin over the nearest      shuffle  at random
 *   global     all to the first            broadcast  each to all                     partition  by a WEIR_PARTITION */
#define weir_rebalance(S)       WEIR_LIKE_(S, weir_route_(WEIR_PLAIN_(S), WEIR_ROUTE_REBALANCE))
#define weir_rescale(S)         WEIR_LIKE_(S, weir_route_(WEIR_PLAIN_(S), WEIR_ROUTE_RESCALE))
#define weir_shuffle(S)         WEIR_LIKE_(S, weir_route_(WEIR_PLAIN_(S), WEIR_ROUTE_SHUFFLE))
#define weir_global(S)          WEIR_LIKE_(S, weir_route_(WEIR_PLAIN_(S), WEIR_ROUTE_GLOBAL))
#define weir_broadcast(S)       WEIR_LIKE_(S, weir_route_(WEIR_PLAIN_(S), WEIR_ROUTE_BROADCAST))
#define weir_partition(NAME, S) weir_partition_##NAME(S)

/* ---- loops: back = weir_feedback(T, p) is a stream with no input yet; weir_feed(back, result) closes the loop ---- */
#define weir_feedback(T, ...) weir_feedback_##T(WEIR_FIRST_(__VA_ARGS__), WEIR_OPTIONS_(weir_options, __VA_ARGS__))
#define weir_feed(BACK, FROM) weir_graph_feed((BACK).handle.node, WEIR_NODE_AS_(BACK, FROM))

/* ---- the job: weir_configure(p, .parallelism = ...); flags of `weir run` win. weir_args_of(p): arguments ---- */
#define weir_configure(P, ...)                                                                                         \
    weir_configure_(P, (weir_job_options){.size = sizeof(weir_job_options), __VA_ARGS__, .weir_end_ = 0})
#define weir_args_of(P) weir_pipeline_args(P)

/* ---- WEIR_PIPELINE(NAME, P) {...}: once per .so; makes the only exported symbol, which is const data -------------
 * To embed instead, write a plain function: static void NAME(weir_pipeline *P). */
#define WEIR_PIPELINE(NAME, P)                                                                                         \
    static void                    weir_build_##NAME(weir_pipeline *);                                                 \
    WEIR_EXPORT_ const weir_module WEIR_MODULE_NAME;                                                                   \
    const weir_module              WEIR_MODULE_NAME = {                                                                \
                     .magic = WEIR_MODULE_MAGIC,                                                                       \
                     .abi = WEIR_ABI,                                                                                  \
                     .header = WEIR_HEADER,                                                                            \
                     .module_size = sizeof(weir_module),                                                               \
                     .op_size = sizeof(weir_op),                                                                       \
                     .ctx_size = sizeof(weir_ctx),                                                                     \
                     .out_size = sizeof(weir_out),                                                                     \
                     .type_size = sizeof(weir_type),                                                                   \
                     .field_size = sizeof(weir_field),                                                                 \
                     .rows_size = sizeof(weir_rows),                                                                   \
                     .str_size = sizeof(weir_str),                                                                     \
                     .near_size = sizeof(weir_near),                                                                   \
                     .name = #NAME,                                                                                    \
                     .build = weir_build_##NAME,                                                                       \
                     .file = __FILE__,                                                                                 \
    };                                                                                                    \
    static void weir_build_##NAME(weir_pipeline *P)
#ifndef WEIR_MODULE_NAME
#define WEIR_MODULE_NAME weir_module_v1
#endif
#ifdef __cplusplus
#define WEIR_EXPORT_ extern "C" __attribute__((visibility("default")))
#else
#define WEIR_EXPORT_ extern __attribute__((visibility("default")))
#endif

/* ---- plumbing ---------------------------------------------------------------------------------------------------- */
#define WEIR_OPTIONS_(TYPE, ...)                                                                                       \
    (TYPE)                                                                                                             \
    {                                                                                                                  \
        .size = sizeof(TYPE), WEIR_REST_(__VA_ARGS__, .weir_end_ = 0)                                                  \
    }
/* The record of a stream, as a type. */
#define WEIR_T_(S) __typeof__(*(S).record)
/* A handle of the type that a phantom member points to. Each argument is evaluated once: it may add an operator. */
#define WEIR_MAKE_(POINTER, ...) ((__typeof__(*(POINTER))){__VA_ARGS__})
#define WEIR_LIKE_(S, HANDLE)    ((__typeof__(S)){.handle = HANDLE})
#define WEIR_PLAIN_(S)           ((void)sizeof((S).needs_a_plain_stream), (S).handle)
/* The node of S, which must be a stream of the same record as A. A is not evaluated. */
#define WEIR_NODE_AS_(A, S) ((0 ? (A) : (S)).handle.node)
#define WEIR_UNION_(A, S)   WEIR_NODE_AS_(A, S),

#define WEIR_KEY_(T, ...)                                                                                              \
    (weir_key)                                                                                                         \
    {                                                                                                                  \
        .count = WEIR_CAT_(WEIR_KEY_FIELDS_AT_MOST_4_NOT_, WEIR_COUNT_(__VA_ARGS__)), .field = {                       \
            WEIR_EACH_(WEIR_KEY_FIELD_, T, __VA_ARGS__)                                                                \
        }                                                                                                              \
    }
#define WEIR_KEY_FIELD_(T, F) {.offset = (uint32_t)offsetof(T, F), .kind = WEIR_KEY_KIND_(WEIR_FIELD_OF_(T, F))},

#define WEIR_KEY_FIELDS_AT_MOST_4_NOT_1 1
#define WEIR_KEY_FIELDS_AT_MOST_4_NOT_2 2
#define WEIR_KEY_FIELDS_AT_MOST_4_NOT_3 3
#define WEIR_KEY_FIELDS_AT_MOST_4_NOT_4 4

/* The offset of a field that must be a weir_time. The odd name of the struct is the error message. */
#define WEIR_TIME_FIELD_(S, F) WEIR_TIME_FIELD2_(S, F)
#ifdef __cplusplus
#define WEIR_TIME_FIELD2_(S, F)                                                                                        \
    (uint32_t)(offsetof(WEIR_T_(S), F) * weir_detail::time_field<WEIR_BARE_(WEIR_FIELD_OF_(WEIR_T_(S), F))>::value)
#else
#define WEIR_TIME_FIELD2_(S, F)                                                                                        \
    ((weir_key_field){.offset = _Generic(WEIR_FIELD_OF_(WEIR_T_(S), F), weir_time                                      \
                                         : (uint32_t)offsetof(WEIR_T_(S), F), default                                  \
                                         : (struct weir_event_time_needs_a_weir_time_field *)0)})                      \
        .offset
#endif

/* An enumeration, so that one more is an unknown name: the count in it is the error message. */
enum {
    WEIR_UNION_OF_AT_MOST_16_NOT_2 = 2,
    WEIR_UNION_OF_AT_MOST_16_NOT_3,
    WEIR_UNION_OF_AT_MOST_16_NOT_4,
    WEIR_UNION_OF_AT_MOST_16_NOT_5,
    WEIR_UNION_OF_AT_MOST_16_NOT_6,
    WEIR_UNION_OF_AT_MOST_16_NOT_7,
    WEIR_UNION_OF_AT_MOST_16_NOT_8,
    WEIR_UNION_OF_AT_MOST_16_NOT_9,
    WEIR_UNION_OF_AT_MOST_16_NOT_10,
    WEIR_UNION_OF_AT_MOST_16_NOT_11,
    WEIR_UNION_OF_AT_MOST_16_NOT_12,
    WEIR_UNION_OF_AT_MOST_16_NOT_13,
    WEIR_UNION_OF_AT_MOST_16_NOT_14,
    WEIR_UNION_OF_AT_MOST_16_NOT_15,
    WEIR_UNION_OF_AT_MOST_16_NOT_16
};
typedef struct weir_nodes_ {
    weir_node node[15];
} weir_nodes_;
WEIR_FN_ weir_handle weir_handle_by_(weir_handle h, weir_key key)
{
    h.key = key;
    return h;
}
WEIR_FN_ void weir_sink_(weir_handle h, weir_sink_options o)
{
    weir_graph_sink(h.node, h.type, &o);
}
WEIR_FN_ weir_handle weir_event_time_(weir_handle h, uint32_t offset, weir_time_options o)
{
    h.node = weir_graph_time(h.node, offset, NULL, &o);
    return h;
}
WEIR_FN_ weir_handle weir_route_(weir_handle h, uint32_t route)
{
    h.node = weir_graph_route(h.node, route, NULL);
    return h;
}
/* n nodes in all. The callee takes as many of the arguments as n says. */
WEIR_FN_ weir_handle weir_union_(weir_handle h, uint32_t n, weir_nodes_ more)
{
    const weir_node *m = more.node;
    h.node = weir_graph_union(n, h.node, m[0], m[1], m[2], m[3], m[4], m[5], m[6], m[7], m[8], m[9], m[10], m[11],
                              m[12], m[13], m[14]);
    return h;
}
WEIR_FN_ void weir_configure_(weir_pipeline *p, weir_job_options o)
{
    weir_graph_job(p, &o);
}
#endif
