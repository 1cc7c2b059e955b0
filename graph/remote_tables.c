#include "graph/remote_tables.h"
#include "base/limits.h"

enum {
    TYPES_MAX = 65536,
    TEXT_BYTES_MAX = WR_KIB(64),
    TASK_NAME_BYTES_MAX = 4 * WR_NAME_BYTES_MAX,
    LOOPS_MAX = (1 << WR_REMOTE_LOOPS) - 1
};

/* A member of a struct within the struct; NAME is what it is called in the bytes. */
#define IN(TYPE, NAME, PATH, KIND, MAX)                                                                                \
    {                                                                                                                  \
        .name = NAME, .kind = KIND, .at = offsetof(TYPE, PATH), .max = MAX                                             \
    }
#define MAYBE(TYPE, NAME, PATH, MAX)                                                                                   \
    {                                                                                                                  \
        .name = NAME, .kind = WR_IS_STR, .at = offsetof(TYPE, PATH), .max = MAX, .optional = true                      \
    }

/* ---- operators --------------------------------------------------------------------------------------------------- */

static const wr_member op_members[] = {
    IN(wr_remote_op, "kind", op.kind, WR_IS_U32, 0xffff),
    IN(wr_remote_op, "name", op.name, WR_IS_STR, TEXT_BYTES_MAX),
    IN(wr_remote_op, "file", op.file, WR_IS_STR, TEXT_BYTES_MAX),
    IN(wr_remote_op, "line", op.line, WR_IS_U32, UINT32_MAX),
    IN(wr_remote_op, "flags", op.flags, WR_IS_U32, UINT32_MAX),
    IN(wr_remote_op, "mode", op.mode, WR_IS_U32, UINT32_MAX),
    IN(wr_remote_op, "outputs", op.outs, WR_IS_U32, WR_OUTS_MAX),
    IN(wr_remote_op, "local_size", op.local_size, WR_IS_U32, UINT32_MAX),
    WR_MEMBER(wr_remote_op, loops, WR_IS_U32, LOOPS_MAX),
    WR_MEMBER(wr_remote_op, left, WR_IS_U32, TYPES_MAX),
    WR_MEMBER(wr_remote_op, right, WR_IS_U32, TYPES_MAX),
    WR_MEMBER(wr_remote_op, state, WR_IS_U32, TYPES_MAX),
    WR_MEMBER(wr_remote_op, shared, WR_IS_U32, TYPES_MAX),
    WR_MEMBER_MANY(wr_remote_op, out, outs, WR_IS_U32S, WR_OUTS_MAX, TYPES_MAX),
};
static const wr_struct op_struct = WR_STRUCT(wr_remote_op, op_members);

static const wr_member window_members[] = {
    WR_MEMBER(weir_window, kind, WR_IS_U32, 0xffff),      WR_MEMBER(weir_window, field, WR_IS_U32, UINT32_MAX),
    WR_MEMBER(weir_window, field_kind, WR_IS_U32, 0xff),  WR_MEMBER(weir_window, clock, WR_IS_BOOL, 0),
    WR_MEMBER(weir_window, threshold, WR_IS_F64, 0),      WR_MEMBER(weir_window, relative, WR_IS_BOOL, 0),
    WR_MEMBER(weir_window, start, WR_IS_F64, 0),          WR_MEMBER(weir_window, size, WR_IS_I64, UINT64_MAX),
    WR_MEMBER(weir_window, slide, WR_IS_I64, UINT64_MAX), WR_MEMBER(weir_window, offset, WR_IS_I64, UINT64_MAX)};
static const wr_struct window_struct = WR_STRUCT(weir_window, window_members);
static const wr_member spec_members[] = {
    WR_MEMBER_OF(weir_window_spec, window, window_struct),
    WR_MEMBER(weir_window_spec, lateness, WR_IS_I64, UINT64_MAX),
    IN(weir_window_spec, "trigger", trigger.kind, WR_IS_U32, 0xffff),
    IN(weir_window_spec, "purge", trigger.purge, WR_IS_BOOL, 0),
    IN(weir_window_spec, "every", trigger.every, WR_IS_I64, UINT64_MAX),
    IN(weir_window_spec, "evict", evict.kind, WR_IS_U32, 0xffff),
    IN(weir_window_spec, "keep", evict.amount, WR_IS_I64, UINT64_MAX),
};
static bool spec_empty(const void *it)
{
    return ((const weir_window_spec *)it)->window.kind == 0;
}
static const wr_struct spec_struct = WR_STRUCT(weir_window_spec, spec_members, .empty = spec_empty);

static const wr_member upgrade_members[] = {WR_MEMBER(wr_remote_upgrade, from, WR_IS_U32, TYPES_MAX),
                                            WR_MEMBER(wr_remote_upgrade, to, WR_IS_U32, TYPES_MAX)};
static const wr_struct upgrade_struct = WR_STRUCT(wr_remote_upgrade, upgrade_members);

/* ---- nodes, edges, chains ---------------------------------------------------------------------------------------- */

#define N(NAME, KIND, MAX) IN(wr_remote_node, #NAME, n.NAME, KIND, MAX)
static const wr_member node_members[] = {
    N(kind, WR_IS_U32, WR_NODE_TIME),
    N(uid, WR_IS_STR, WR_NAME_BYTES_MAX),
    N(name, WR_IS_STR, WR_NAME_BYTES_MAX),
    N(slot_group, WR_IS_STR, WR_NAME_BYTES_MAX),
    MAYBE(wr_remote_node, "args", n.args, TEXT_BYTES_MAX),
    N(parallelism, WR_IS_U32, WR_PARALLELISM_MAX),
    N(max_parallelism, WR_IS_U32, WR_PARALLELISM_MAX),
    N(chaining, WR_IS_U32, WEIR_CHAIN_NEVER),
    N(on_error, WR_IS_U32, WEIR_DEAD_LETTER),
    N(blocking, WR_IS_BOOL, 0),
    N(dead, WR_IS_BOOL, 0),
    N(timed, WR_IS_BOOL, 0),
    N(late, WR_IS_BOOL, 0),
    N(replaced, WR_IS_BOOL, 0),
    MAYBE(wr_remote_node, "uri", n.uri, TEXT_BYTES_MAX),
    MAYBE(wr_remote_node, "format", n.format, TEXT_BYTES_MAX),
    MAYBE(wr_remote_node, "fields", n.fields, TEXT_BYTES_MAX),
    MAYBE(wr_remote_node, "options", n.options, TEXT_BYTES_MAX),
    WR_MEMBER(wr_remote_node, separator, WR_IS_U32, 255),
    N(header, WR_IS_BOOL, 0),
    N(rate_max, WR_IS_U64, UINT64_MAX),
    N(guarantee, WR_IS_U32, 0xffff),
    N(mode, WR_IS_U32, 0xffff),
    N(ttl, WR_IS_I64, INT64_MAX),
    N(ttl_rule, WR_IS_U32, 0xffff),
    WR_MEMBER_LIST(wr_remote_node, upgrade, upgrades, WR_REMOTE_UPGRADES, upgrade_struct),
    IN(wr_remote_node, "key", n.key[0], WR_IS_KEY, 0),
    IN(wr_remote_node, "right_key", n.key[1], WR_IS_KEY, 0),
    {.name = "window",
     .kind = WR_IS_STRUCT,
     .at = offsetof(wr_remote_node, n.window),
     .of = &spec_struct,
     .optional = true},
    N(discover_every, WR_IS_I64, UINT64_MAX),
    N(time_offset, WR_IS_U32, UINT32_MAX),
    N(max_delay, WR_IS_I64, UINT64_MAX),
    N(idle_after, WR_IS_I64, UINT64_MAX),
    MAYBE(wr_remote_node, "watermark", watermark, TEXT_BYTES_MAX),
    WR_MEMBER(wr_remote_node, type, WR_IS_U32, TYPES_MAX),
    WR_MEMBER(wr_remote_node, left, WR_IS_U32, TYPES_MAX),
    WR_MEMBER(wr_remote_node, right, WR_IS_U32, TYPES_MAX),
    WR_MEMBER_MANY(wr_remote_node, out, outs, WR_IS_U32S, WR_OUTS_MAX, TYPES_MAX),
    WR_MEMBER_OF(wr_remote_node, op, op_struct),
};

static const char *node_wrong(const void *it)
{
    const wr_remote_node *n = it;
    if (n->n.kind == 0) return "an operator is of no kind";
    return n->n.window.window.size < 0 ? "a window has a negative size" : NULL;
}
static const wr_struct node_struct = WR_STRUCT(wr_remote_node, node_members, .wrong = node_wrong);

static const wr_member edge_members[] = {
    IN(wr_remote_edge, "from", e.from, WR_IS_U32, WR_NODES_MAX),
    IN(wr_remote_edge, "output", e.from_port, WR_IS_U32, WEIR_PORT_LATE),
    IN(wr_remote_edge, "to", e.to, WR_IS_U32, WR_NODES_MAX),
    IN(wr_remote_edge, "input", e.to_port, WR_IS_U32, 1),
    IN(wr_remote_edge, "route", e.route, WR_IS_U32, WR_ROUTE_HASH),
    IN(wr_remote_edge, "key", e.key, WR_IS_KEY, 0),
    IN(wr_remote_edge, "chained", e.chained, WR_IS_BOOL, 0),
    WR_MEMBER(wr_remote_edge, own, WR_IS_BOOL, 0),
    WR_MEMBER(wr_remote_edge, type, WR_IS_U32, TYPES_MAX),
};
static const wr_struct edge_struct = WR_STRUCT(wr_remote_edge, edge_members);

static const wr_member task_members[] = {
    WR_MEMBER(wr_remote_task, name, WR_IS_STR, TASK_NAME_BYTES_MAX),
    WR_MEMBER_MANY(wr_remote_task, nodes, n, WR_IS_U32S, WR_CHAIN_MAX, WR_NODES_MAX)};
static const wr_struct task_struct = WR_STRUCT(wr_remote_task, task_members);

/* ---- the job ----------------------------------------------------------------------------------------------------- */

#define J(NAME, KIND, MAX) IN(wr_remote_job_bytes, #NAME, job.NAME, KIND, MAX)
static const wr_member job_members[] = {
    WR_MEMBER(wr_remote_job_bytes, version, WR_IS_U32, UINT32_MAX),
    J(name, WR_IS_STR, TEXT_BYTES_MAX),
    J(parallelism, WR_IS_U32, WR_PARALLELISM_MAX),
    J(max_parallelism, WR_IS_U32, WR_PARALLELISM_MAX),
    J(fingerprint, WR_IS_U64, UINT64_MAX),
    WR_MEMBER_MANY(wr_remote_job_bytes, type, types, WR_IS_TYPES, TYPES_MAX, 0),
    WR_MEMBER_LIST(wr_remote_job_bytes, node, nodes, WR_NODES_MAX, node_struct),
    WR_MEMBER_LIST(wr_remote_job_bytes, edge, edges, WR_EDGES_MAX, edge_struct),
    WR_MEMBER_LIST(wr_remote_job_bytes, task, tasks, WR_NODES_MAX, task_struct),
};
const wr_struct wr_remote_struct = WR_STRUCT(wr_remote_job_bytes, job_members);
