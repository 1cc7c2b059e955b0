/* The members of every kind of message, with their bounds: docs/protocol.md is the same in words. */
#include "wire/control_tables.h"
#include "base/limits.h"
#include "wire/task.h"
#include <string.h>

enum {
    ADDRESS_BYTES_MAX = 512, /* HOST:PORT */
    TEXT_BYTES_MAX = WR_KIB(64),
    SUBTASKS_MAX = WR_CHANNELS_MAX,
    LINEAGE_BYTES_MAX = 64,
    VERSION_BYTES_MAX = 64,
    VERB_BYTES_MAX = 32,
    RESTART_MAX = 15,
    METRIC_KINDS = 3,
    PER_MILLE_MAX = 1000000
};
#define SPAN_MAX INT64_MAX /* of times: not negative */

/* ---- errors ------------------------------------------------------------------------------------------------------ */

static const wr_member info_members[] = {WR_MEMBER(wr_errinfo, code, WR_IS_U32, 9999),
                                         WR_MEMBER(wr_errinfo, text, WR_IS_CHARS, WR_ERROR_BYTES_MAX - 1)};
static const wr_struct info_struct = WR_STRUCT(wr_errinfo, info_members);

/* ---- greeting ---------------------------------------------------------------------------------------------------- */

static const wr_member greeting_members[] = {WR_MEMBER(wr_greeting, protocol, WR_IS_U32, UINT32_MAX),
                                             WR_MEMBER(wr_greeting, protocol_min, WR_IS_U32, UINT32_MAX),
                                             WR_MEMBER(wr_greeting, role, WR_IS_U32, UINT32_MAX),
                                             WR_MEMBER(wr_greeting, weir, WR_IS_STR, VERSION_BYTES_MAX),
                                             WR_MEMBER(wr_greeting, nonce, WR_IS_FIXED, WR_NONCE_BYTES),
                                             WR_MEMBER(wr_greeting, mac, WR_IS_FIXED, WR_MAC_BYTES)};

static const char *greeting_wrong(const void *it)
{
    const wr_greeting *g = it;
    return g->protocol_min > g->protocol ? "the oldest version of the protocol is above the newest" : NULL;
}
static const wr_struct greeting_struct = WR_STRUCT(wr_greeting, greeting_members, .wrong = greeting_wrong);

/* ---- registering ------------------------------------------------------------------------------------------------- */

static const wr_member report_members[] = {WR_MEMBER(wr_task_report, subtask, WR_IS_U32, SUBTASKS_MAX),
                                           WR_MEMBER(wr_task_report, state, WR_IS_U32, WR_TASK_FAILED),
                                           WR_MEMBER_OF(wr_task_report, info, info_struct)};

static const char *report_wrong(const void *it)
{
    return ((const wr_task_report *)it)->state == 0 ? "a subtask has no state" : NULL;
}
static const wr_struct report_struct = WR_STRUCT(wr_task_report, report_members, .wrong = report_wrong);

static const wr_member running_members[] = {
    WR_MEMBER(wr_running_worker, job, WR_IS_U64, UINT64_MAX),
    WR_MEMBER(wr_running_worker, attempt, WR_IS_U32, UINT32_MAX),
    WR_MEMBER_LIST(wr_running_worker, task, tasks, SUBTASKS_MAX, report_struct)};
static const wr_struct running_struct = WR_STRUCT(wr_running_worker, running_members);

static const wr_member register_members[] = {
    WR_MEMBER(wr_register, tm, WR_IS_U64, UINT64_MAX),
    WR_MEMBER(wr_register, name, WR_IS_STR, WR_NAME_BYTES_MAX),
    WR_MEMBER(wr_register, data, WR_IS_STR, ADDRESS_BYTES_MAX),
    WR_MEMBER(wr_register, http, WR_IS_STR, ADDRESS_BYTES_MAX),
    WR_MEMBER(wr_register, slots, WR_IS_U32, WR_SLOTS_MAX),
    WR_MEMBER(wr_register, pid, WR_IS_U64, UINT64_MAX),
    WR_MEMBER_LIST(wr_register, worker, workers, WR_TM_WORKERS_MAX, running_struct)};

static const char *register_wrong(const void *it)
{
    const wr_register *r = it;
    if (r->tm == 0) return "a TaskManager has no number";
    return r->slots == 0 ? "a TaskManager has no slots" : NULL;
}
static const wr_struct register_struct = WR_STRUCT(wr_register, register_members, .wrong = register_wrong);

static const wr_member registered_members[] = {WR_MEMBER(wr_registered, heartbeat_ms, WR_IS_I64, SPAN_MAX),
                                               WR_MEMBER(wr_registered, lease_ms, WR_IS_I64, SPAN_MAX)};
static const wr_struct registered_struct = WR_STRUCT(wr_registered, registered_members);

static const wr_member seq_members[] = {WR_MEMBER(wr_message, seq, WR_IS_U64, UINT64_MAX)};
static const wr_struct seq_struct = WR_STRUCT(wr_message, seq_members);
static const wr_member lease_members[] = {WR_MEMBER(wr_message, until_mono_ns, WR_IS_I64, SPAN_MAX)};
static const wr_struct lease_struct = WR_STRUCT(wr_message, lease_members);
static const wr_struct none_struct = {.bytes = 0};

/* Both members lie in a struct without a name. */
static const wr_member reports_members[] = {{.name = "task",
                                             .kind = WR_IS_LIST,
                                             .at = offsetof(wr_message, report.task),
                                             .count_at = offsetof(wr_message, report.tasks),
                                             .count_max = SUBTASKS_MAX,
                                             .of = &report_struct}};
static const wr_struct reports_struct = WR_STRUCT(wr_message, reports_members);

/* ---- jobs -------------------------------------------------------------------------------------------------------- */

static const wr_member ref_members[] = {WR_MEMBER(wr_blob_ref, name, WR_IS_STR, WR_NAME_BYTES_MAX),
                                        WR_MEMBER(wr_blob_ref, digest, WR_IS_FIXED, WR_DIGEST_BYTES),
                                        WR_MEMBER(wr_blob_ref, bytes, WR_IS_U64, WR_BLOB_BYTES_MAX)};

/* A name, never a path: it becomes a file in the job's folder. */
static const char *ref_wrong(const void *it)
{
    const char *name = ((const wr_blob_ref *)it)->name;
    bool        none = name == NULL || name[0] == 0 || strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
    return none || strchr(name, '/') != NULL ? "a file's name is none" : NULL;
}
static const wr_struct ref_struct = WR_STRUCT(wr_blob_ref, ref_members, .wrong = ref_wrong);

static const wr_member spec_members[] = {
    WR_MEMBER(wr_job_spec, name, WR_IS_STR, WR_NAME_BYTES_MAX),
    WR_MEMBER_OF(wr_job_spec, module, ref_struct),
    WR_MEMBER_LIST(wr_job_spec, file, files, WR_JOB_FILES_MAX, ref_struct),
    WR_MEMBER_MANY(wr_job_spec, arg, args, WR_IS_STRS, WR_ARGS_MAX, TEXT_BYTES_MAX),
    WR_MEMBER_MANY(wr_job_spec, set, sets, WR_IS_STRS, WR_NODES_MAX, TEXT_BYTES_MAX),
    WR_MEMBER(wr_job_spec, parallelism, WR_IS_U32, WR_PARALLELISM_MAX),
    WR_MEMBER(wr_job_spec, parallelism_default, WR_IS_U32, WR_PARALLELISM_MAX),
    WR_MEMBER_MANY(wr_job_spec, graph, graph_bytes, WR_IS_BYTES, 0, WR_GRAPH_BYTES_MAX),
    WR_MEMBER(wr_job_spec, snapshots, WR_IS_STR, WR_PATH_BYTES_MAX),
    WR_MEMBER(wr_job_spec, snapshot_interval_ms, WR_IS_I64, SPAN_MAX),
    WR_MEMBER(wr_job_spec, snapshot_timeout_ms, WR_IS_I64, SPAN_MAX),
    WR_MEMBER(wr_job_spec, snapshots_keep, WR_IS_U32, WR_SNAPSHOTS_KEEP_MAX),
    WR_MEMBER(wr_job_spec, restore, WR_IS_STR, WR_PATH_BYTES_MAX),
    WR_MEMBER(wr_job_spec, allow_non_restored, WR_IS_BOOL, 0),
    WR_MEMBER(wr_job_spec, state_max, WR_IS_U64, UINT64_MAX),
    WR_MEMBER(wr_job_spec, memory_max, WR_IS_U64, UINT64_MAX),
    WR_MEMBER(wr_job_spec, restart, WR_IS_U32, RESTART_MAX),
    WR_MEMBER(wr_job_spec, restart_delay_ms, WR_IS_I64, SPAN_MAX),
    WR_MEMBER(wr_job_spec, restart_delay_most_ms, WR_IS_I64, SPAN_MAX),
    WR_MEMBER(wr_job_spec, restart_window_ms, WR_IS_I64, SPAN_MAX),
    WR_MEMBER(wr_job_spec, restart_attempts, WR_IS_U32, UINT32_MAX),
    WR_MEMBER(wr_job_spec, restart_factor_permille, WR_IS_U32, PER_MILLE_MAX),
};

static const char *spec_wrong(const void *it)
{
    const wr_job_spec *s = it;
    if (s->name == NULL || s->name[0] == 0) return "a job has no name";
    for (uint32_t i = 0; i < s->files; i++) {
        if (strcmp(s->file[i].name, s->module.name) == 0) return "two files of a job have the same name";
        for (uint32_t k = 0; k < i; k++) {
            if (strcmp(s->file[i].name, s->file[k].name) == 0) return "two files of a job have the same name";
        }
    }
    return NULL;
}
static bool spec_empty(const void *it)
{
    return ((const wr_job_spec *)it)->module.name == NULL;
}
const wr_struct wr_job_spec_struct = WR_STRUCT(wr_job_spec, spec_members, .wrong = spec_wrong, .empty = spec_empty);

static const wr_member place_members[] = {WR_MEMBER(wr_place, tm, WR_IS_U64, UINT64_MAX),
                                          WR_MEMBER(wr_place, data, WR_IS_STR, ADDRESS_BYTES_MAX)};
static const wr_struct place_struct = WR_STRUCT(wr_place, place_members);
static const wr_member deploy_members[] = {
    WR_MEMBER_OF(wr_deploy, spec, wr_job_spec_struct),
    WR_MEMBER_LIST(wr_deploy, place, places, WR_SLOTS_MAX, place_struct),
    WR_MEMBER(wr_deploy, self, WR_IS_U64, UINT64_MAX),
    WR_MEMBER(wr_deploy, secret, WR_IS_FIXED, WR_MAC_BYTES),
    WR_MEMBER(wr_deploy, lineage, WR_IS_STR, LINEAGE_BYTES_MAX),
    WR_MEMBER(wr_deploy, restore_manifest, WR_IS_STR, WR_PATH_BYTES_MAX),
    WR_MEMBER(wr_deploy, restore_folder, WR_IS_STR, WR_PATH_BYTES_MAX),
};
static const wr_struct deploy_struct = WR_STRUCT(wr_deploy, deploy_members);

static const wr_member barrier_members[] = {
    WR_MEMBER(wr_barrier, id, WR_IS_U64, UINT64_MAX), WR_MEMBER(wr_barrier, base, WR_IS_U64, UINT64_MAX),
    WR_MEMBER(wr_barrier, kind, WR_IS_U32, WR_SAVEPOINT), WR_MEMBER(wr_barrier, epoch, WR_IS_U32, UINT32_MAX)};
static const wr_struct barrier_struct = WR_STRUCT(wr_barrier, barrier_members);
static const wr_member order_members[] = {WR_MEMBER(wr_worker_order, verb, WR_IS_U32, WR_DO_RELEASE),
                                          WR_MEMBER_OF(wr_worker_order, barrier, barrier_struct)};

static const char *order_wrong(const void *it)
{
    const wr_worker_order *o = it;
    if (o->verb == 0) return "an order says nothing";
    bool of_snapshot = o->verb == WR_DO_TRIGGER || o->verb == WR_DO_ABORT || o->verb == WR_DO_COMPLETE;
    if (of_snapshot && o->barrier.id == 0) return "an order for a snapshot names none";
    return o->verb == WR_DO_TRIGGER && o->barrier.kind == 0 ? "a barrier is of no kind" : NULL;
}
static const wr_struct order_struct = WR_STRUCT(wr_worker_order, order_members, .wrong = order_wrong);

/* ---- answers to barriers ----------------------------------------------------------------------------------------- */

static const wr_member item_members[] = {WR_MEMBER(wr_item, kind, WR_IS_U32, UINT32_MAX),
                                         WR_MEMBER(wr_item, from, WR_IS_U32, WR_PARALLELISM_MAX),
                                         WR_MEMBER_MANY(wr_item, data, bytes, WR_IS_BYTES, 0, WR_ITEM_BYTES_MAX)};
static const wr_struct item_struct = WR_STRUCT(wr_item, item_members);
static const wr_member ack_op_members[] = {WR_MEMBER(wr_ack_op, node, WR_IS_U32, WR_NODES_MAX),
                                           WR_MEMBER(wr_ack_op, watermark, WR_IS_I64, UINT64_MAX),
                                           WR_MEMBER(wr_ack_op, table, WR_IS_BOOL, 0),
                                           WR_MEMBER(wr_ack_op, record, WR_IS_TYPE, 0),
                                           WR_MEMBER(wr_ack_op, state, WR_IS_TYPE, 0),
                                           WR_MEMBER(wr_ack_op, key, WR_IS_KEY_AT, 0),
                                           WR_MEMBER_LIST(wr_ack_op, item, items, UINT32_MAX, item_struct)};

static const char *ack_op_wrong(const void *it)
{
    const wr_ack_op *op = it;
    bool             whole = op->record != NULL && op->state != NULL && op->key != NULL;
    return op->table && !whole ? "an operator has keyed state, but no schema of it" : NULL;
}
static const wr_struct ack_op_struct = WR_STRUCT(wr_ack_op, ack_op_members, .wrong = ack_op_wrong);

static const wr_member file_members[] = {WR_MEMBER(wr_state_file, name, WR_IS_CHARS, 63),
                                         WR_MEMBER(wr_state_file, bytes, WR_IS_U64, INT64_MAX),
                                         WR_MEMBER(wr_state_file, hash, WR_IS_FIXED, 16),
                                         WR_MEMBER(wr_state_file, group_first, WR_IS_U32, WR_PARALLELISM_MAX),
                                         WR_MEMBER(wr_state_file, group_end, WR_IS_U32, WR_PARALLELISM_MAX),
                                         WR_MEMBER(wr_state_file, increment, WR_IS_BOOL, 0)};

static const char *file_wrong(const void *it)
{
    const wr_state_file *f = it;
    if (f->name[0] == '.' || strchr(f->name, '/') != NULL) return "a file's name is none";
    return f->name[0] != 0 && f->group_first >= f->group_end ? "a range of key groups is empty" : NULL;
}
static const wr_struct file_struct = WR_STRUCT(wr_state_file, file_members, .wrong = file_wrong);

static const wr_member ack_members[] = {
    WR_MEMBER(wr_ack, id, WR_IS_U64, UINT64_MAX),
    WR_MEMBER(wr_ack, subtask, WR_IS_U32, SUBTASKS_MAX),
    WR_MEMBER(wr_ack, attempt, WR_IS_U32, UINT32_MAX),
    WR_MEMBER(wr_ack, declined, WR_IS_BOOL, 0),
    WR_MEMBER(wr_ack, phase, WR_IS_U32, WR_PHASE_COMMIT),
    WR_MEMBER_OF(wr_ack, info, info_struct),
    WR_MEMBER(wr_ack, ended, WR_IS_BOOL, 0),
    WR_MEMBER(wr_ack, start_delay_ns, WR_IS_I64, UINT64_MAX),
    WR_MEMBER(wr_ack, align_ns, WR_IS_I64, UINT64_MAX),
    WR_MEMBER(wr_ack, sync_ns, WR_IS_I64, UINT64_MAX),
    WR_MEMBER(wr_ack, async_ns, WR_IS_I64, UINT64_MAX),
    WR_MEMBER(wr_ack, bytes_full, WR_IS_U64, UINT64_MAX),
    WR_MEMBER_LIST(wr_ack, op, ops, WR_CHAIN_MAX, ack_op_struct),
    WR_MEMBER_OF(wr_ack, file, file_struct),
};
static const wr_struct ack_struct = WR_STRUCT(wr_ack, ack_members);

/* ---- figures ----------------------------------------------------------------------------------------------------- */

static const wr_member stats_task_members[] = {WR_MEMBER(wr_stats_task, subtask, WR_IS_U32, SUBTASKS_MAX),
                                               WR_MEMBER(wr_stats_task, busy_ns, WR_IS_U64, UINT64_MAX),
                                               WR_MEMBER(wr_stats_task, idle_ns, WR_IS_U64, UINT64_MAX),
                                               WR_MEMBER(wr_stats_task, back_pressured_ns, WR_IS_U64, UINT64_MAX)};
static const wr_struct stats_task_struct = WR_STRUCT(wr_stats_task, stats_task_members);
static const wr_member stats_op_members[] = {WR_MEMBER(wr_stats_operator, node, WR_IS_U32, WR_NODES_MAX),
                                             WR_MEMBER(wr_stats_operator, subtask, WR_IS_U32, WR_PARALLELISM_MAX),
                                             WR_MEMBER(wr_stats_operator, in, WR_IS_U64, UINT64_MAX),
                                             WR_MEMBER(wr_stats_operator, out, WR_IS_U64, UINT64_MAX),
                                             WR_MEMBER(wr_stats_operator, bad, WR_IS_U64, UINT64_MAX),
                                             WR_MEMBER(wr_stats_operator, late, WR_IS_U64, UINT64_MAX),
                                             WR_MEMBER(wr_stats_operator, batches, WR_IS_U64, UINT64_MAX),
                                             WR_MEMBER(wr_stats_operator, state_bytes, WR_IS_U64, UINT64_MAX),
                                             WR_MEMBER(wr_stats_operator, keys, WR_IS_U64, UINT64_MAX),
                                             WR_MEMBER(wr_stats_operator, watermark, WR_IS_I64, UINT64_MAX),
                                             WR_MEMBER(wr_stats_operator, held, WR_IS_STR, WR_NAME_BYTES_MAX)};
static const wr_struct stats_op_struct = WR_STRUCT(wr_stats_operator, stats_op_members);
static const wr_member metric_members[] = {WR_MEMBER(wr_stats_metric, node, WR_IS_U32, WR_NODES_MAX),
                                           WR_MEMBER(wr_stats_metric, subtask, WR_IS_U32, WR_PARALLELISM_MAX),
                                           WR_MEMBER(wr_stats_metric, name, WR_IS_STR, WR_NAME_BYTES_MAX),
                                           WR_MEMBER(wr_stats_metric, kind, WR_IS_U32, METRIC_KINDS),
                                           WR_MEMBER(wr_stats_metric, value, WR_IS_F64, 0),
                                           WR_MEMBER(wr_stats_metric, count, WR_IS_U64, UINT64_MAX)};
static const wr_struct metric_struct = WR_STRUCT(wr_stats_metric, metric_members);
static const wr_member stats_members[] = {WR_MEMBER_LIST(wr_stats, task, tasks, SUBTASKS_MAX, stats_task_struct),
                                          WR_MEMBER_LIST(wr_stats, op, ops, SUBTASKS_MAX, stats_op_struct),
                                          WR_MEMBER_LIST(wr_stats, metric, metrics, SUBTASKS_MAX, metric_struct),
                                          WR_MEMBER(wr_stats, rss_bytes, WR_IS_U64, UINT64_MAX),
                                          WR_MEMBER(wr_stats, cpu_ns, WR_IS_U64, UINT64_MAX),
                                          WR_MEMBER(wr_stats, sent_bytes, WR_IS_U64, UINT64_MAX),
                                          WR_MEMBER(wr_stats, received_bytes, WR_IS_U64, UINT64_MAX),
                                          WR_MEMBER(wr_stats, state_bytes, WR_IS_U64, UINT64_MAX)};
static const wr_struct stats_struct = WR_STRUCT(wr_stats, stats_members);

static const wr_member gone_members[] = {
    WR_MEMBER(wr_gone, clean, WR_IS_BOOL, 0), WR_MEMBER(wr_gone, subtask, WR_IS_U32, UINT32_MAX),
    WR_MEMBER_OF(wr_gone, info, info_struct), WR_MEMBER(wr_gone, report, WR_IS_STR, WR_REPORT_BYTES_MAX)};
static const wr_struct gone_struct = WR_STRUCT(wr_gone, gone_members);

/* ---- files ------------------------------------------------------------------------------------------------------- */

static const wr_member blob_members[] = {WR_MEMBER(wr_blob, digest, WR_IS_FIXED, WR_DIGEST_BYTES),
                                         WR_MEMBER(wr_blob, bytes, WR_IS_U64, WR_BLOB_BYTES_MAX),
                                         WR_MEMBER(wr_blob, offset, WR_IS_U64, WR_BLOB_BYTES_MAX),
                                         WR_MEMBER_MANY(wr_blob, data, data_bytes, WR_IS_BYTES, 0, WR_BLOB_PIECE_BYTES),
                                         WR_MEMBER_OF(wr_blob, info, info_struct)};

static const char *blob_wrong(const void *it)
{
    const wr_blob *b = it;
    if (b->info.code != WR_OK) return NULL; /* it says why there is none */
    return b->offset > b->bytes || b->data_bytes > b->bytes - b->offset ? "a piece ends behind its file" : NULL;
}
static const wr_struct blob_struct = WR_STRUCT(wr_blob, blob_members, .wrong = blob_wrong);
static const wr_member blob_get_members[] = {WR_MEMBER(wr_blob, digest, WR_IS_FIXED, WR_DIGEST_BYTES),
                                             WR_MEMBER(wr_blob, offset, WR_IS_U64, WR_BLOB_BYTES_MAX)};
static const wr_struct blob_get_struct = WR_STRUCT(wr_blob, blob_get_members);

static const wr_member log_members[] = {
    WR_MEMBER(wr_log_piece, offset, WR_IS_U64, UINT64_MAX), WR_MEMBER(wr_log_piece, end, WR_IS_U64, UINT64_MAX),
    WR_MEMBER_MANY(wr_log_piece, data, data_bytes, WR_IS_BYTES, 0, WR_BLOB_PIECE_BYTES)};
static const wr_struct log_struct = WR_STRUCT(wr_log_piece, log_members);
static const wr_member log_get_members[] = {WR_MEMBER(wr_log_piece, offset, WR_IS_U64, UINT64_MAX),
                                            WR_MEMBER(wr_log_piece, data_bytes, WR_IS_U32, WR_BLOB_PIECE_BYTES)};
static const wr_struct log_get_struct = WR_STRUCT(wr_log_piece, log_get_members);

/* ---- clients ----------------------------------------------------------------------------------------------------- */

static const wr_member request_members[] = {
    WR_MEMBER(wr_request, verb, WR_IS_STR, VERB_BYTES_MAX),
    WR_MEMBER(wr_request, job, WR_IS_STR, WR_NAME_BYTES_MAX),
    WR_MEMBER(wr_request, path, WR_IS_STR, WR_PATH_BYTES_MAX),
    WR_MEMBER(wr_request, json, WR_IS_BOOL, 0),
    WR_MEMBER(wr_request, drain, WR_IS_BOOL, 0),
    WR_MEMBER(wr_request, all, WR_IS_BOOL, 0),
    WR_MEMBER(wr_request, follow, WR_IS_BOOL, 0),
    WR_MEMBER(wr_request, parallelism, WR_IS_U32, WR_PARALLELISM_MAX),
    WR_MEMBER(wr_request, offset, WR_IS_U64, UINT64_MAX),
    {.name = "spec",
     .kind = WR_IS_STRUCT,
     .at = offsetof(wr_request, spec),
     .of = &wr_job_spec_struct,
     .optional = true},
};
static const wr_struct request_struct = WR_STRUCT(wr_request, request_members);
static const wr_member reply_members[] = {
    WR_MEMBER_OF(wr_reply, info, info_struct),
    WR_MEMBER_MANY(wr_reply, out, out_bytes, WR_IS_BYTES, 0, WR_OUTPUT_BYTES_MAX),
    WR_MEMBER(wr_reply, job, WR_IS_U64, UINT64_MAX),
    WR_MEMBER(wr_reply, snapshot, WR_IS_U64, UINT64_MAX),
};
static const wr_struct reply_struct = WR_STRUCT(wr_reply, reply_members);

/* ---- all of them ------------------------------------------------------------------------------------------------- */

#define BODY(KIND, STRUCT, MEMBER)                                                                                     \
    {                                                                                                                  \
        WR_MSG_##KIND, #KIND, &(STRUCT), offsetof(wr_message, MEMBER)                                                  \
    }
#define BODY_IN_HEAD(KIND, STRUCT)                                                                                     \
    {                                                                                                                  \
        WR_MSG_##KIND, #KIND, &(STRUCT), 0                                                                             \
    }
static const wr_message_body bodies[] = {
    BODY(CHALLENGE, greeting_struct, greeting),
    BODY(HELLO, greeting_struct, greeting),
    BODY(WELCOME, greeting_struct, greeting),
    BODY(REFUSED, info_struct, refused),
    BODY(REGISTER, register_struct, reg),
    BODY_IN_HEAD(HEARTBEAT, seq_struct),
    BODY_IN_HEAD(REPORT, reports_struct),
    BODY(ACK, ack_struct, ack),
    BODY(STATS, stats_struct, stats),
    BODY(GONE, gone_struct, gone),
    BODY(BLOB_GET, blob_get_struct, blob),
    BODY(LOG, log_struct, log),
    BODY(REGISTERED, registered_struct, registered),
    BODY_IN_HEAD(HEARD, seq_struct),
    BODY(DEPLOY, deploy_struct, deploy),
    BODY(ORDER, order_struct, order),
    BODY_IN_HEAD(KILL, none_struct),
    BODY(BLOB, blob_struct, blob),
    BODY(LOG_GET, log_get_struct, log),
    BODY_IN_HEAD(LEASE, lease_struct),
    BODY(REQUEST, request_struct, ask),
    BODY(REPLY, reply_struct, reply),
    BODY(PROGRESS, reply_struct, reply),
    BODY(BLOB_PUT, blob_struct, blob),
};

const wr_message_body *wr_message_body_of(uint32_t kind)
{
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        if (bodies[i].kind == kind) return &bodies[i];
    }
    return NULL;
}
