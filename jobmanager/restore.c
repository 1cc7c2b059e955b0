#include "jobmanager/restore.h"
#include "operators/kernels.h"
#include "snapshot/image_convert.h"
#include "wire/schema.h"
#include <string.h>

const char *wr_restore_what_name(uint32_t what)
{
    static const char *const name[] = {"?", "same", "converted", "upgraded", "new", "missing", "refused"};
    return name[what <= WR_RESTORE_REFUSED ? what : 0];
}

static const wr_node *find_node(const wr_job *job, const char *uid)
{
    for (uint32_t i = 0; i < job->nodes; i++) {
        if (strcmp(job->node[i].uid, uid) == 0) return &job->node[i];
    }
    return NULL;
}

static bool is_source(const wr_node *node)
{
    return node->kind == WR_NODE_SOURCE || node->kind == WR_NODE_READ;
}

static bool is_sink(const wr_node *node)
{
    return node->kind == WR_NODE_SINK || node->kind == WR_NODE_WRITE;
}

static bool has_items(const wr_manifest_op *op, uint32_t a, uint32_t b)
{
    for (uint32_t i = 0; i < op->items; i++) {
        if (op->item[i].kind == a || op->item[i].kind == b) return true;
    }
    return false;
}

static uint32_t refuse(wr_errinfo *why, const char *text)
{
    wr_fail(why, WR_STATE, "%s", text);
    return WR_RESTORE_REFUSED;
}

static bool is_window(const wr_node *node)
{
    return node->op != NULL && wr_kernel_of_node(node->op, node) == &wr_kernel_windows;
}

static uint32_t what_of(uint32_t match)
{
    switch (match) {
    case WR_SCHEMA_SAME: return WR_RESTORE_SAME;
    case WR_SCHEMA_CONVERT: return WR_RESTORE_CONVERT;
    case WR_SCHEMA_UPGRADE: return WR_RESTORE_UPGRADE;
    default: return WR_RESTORE_REFUSED;
    }
}

/* Keyed state: the key, then the schema. */
static uint32_t match_state(const wr_manifest_op *op, const wr_node *node, wr_errinfo *why)
{
    const weir_type  *state = node->op != NULL ? node->op->state : NULL;
    const wr_keyed_by from = {op->record, &op->key}, to = {node->op != NULL ? node->op->left : NULL, &node->key[0]};
    bool              made = op->state->name[0] == '('; /* windows make types of their own */
    uint32_t          match = WR_SCHEMA_REFUSED;
    if (op->max_parallelism != node->max_parallelism)
        return refuse(why, "max_parallelism is fixed by the snapshot: leave it as it was");
    if (wr_key_match(&from, &to, op->uid, why) != WR_OK) return WR_RESTORE_REFUSED;
    if (made) return wr_windows_match(node, op, &match, why) == WR_OK ? what_of(match) : WR_RESTORE_REFUSED;
    if (is_window(node)) return refuse(why, "it has state without windows, and the pipeline has a window there");
    if (state == NULL) return refuse(why, "it has another kind of state in the pipeline");
    match = wr_schema_match(op->state, state, node->upgrade, why);
    if (match == WR_SCHEMA_CONVERT) wr_schema_changes(op->state, state, why->text, sizeof why->text);
    return what_of(match);
}

static uint32_t match_op(const wr_manifest_op *op, const wr_node *node, wr_errinfo *why)
{
    const weir_op *def = node->op;
    bool           splits = has_items(op, WR_ITEM_SPLIT, WR_ITEM_ENUMERATOR);
    if (op->layers > 0 && (is_source(node) || is_sink(node) || def == NULL))
        return refuse(why, "it has keyed state, and is a source or a sink in the pipeline");
    if (splits && !is_source(node)) return refuse(why, "it was a source, and is none in the pipeline");
    if (splits && (def == NULL || !wr_schema_same(op->state, def->state)))
        return refuse(why,
                      "its splits have other fields in the pipeline: the connector, or its version, is another; go "
                      "back to that, or give the source another .uid: with --allow-non-restored-state it begins anew");
    if (has_items(op, WR_ITEM_COMMITTABLE, WR_ITEM_COMMITTABLE)) {
        if (!is_sink(node) || def == NULL || !wr_schema_same(op->state, def->shared))
            return refuse(why, "what it has prepared to be written cannot be committed by what the pipeline has there; "
                               "go back to that sink, or give this one another .uid: with --allow-non-restored-state "
                               "what was prepared is lost");
    }
    if (op->layers > 0) return match_state(op, node, why);
    uint32_t match = WR_SCHEMA_SAME; /* no key has state: windows look at what they are cut by all the same */
    if (is_window(node) && wr_windows_match(node, op, &match, why) != WR_OK) return WR_RESTORE_REFUSED;
    return what_of(match);
}

static uint64_t bytes_of(const wr_manifest_op *op)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < op->layers; i++) bytes += op->layer[i].file.bytes;
    return bytes;
}

static void look_at(wr_restore_report *r, const wr_manifest_op *op, const wr_job *job)
{
    const wr_node *node = find_node(job, op->uid);
    wr_errinfo     why = {0};
    bool           nothing = op->layers == 0 && op->items == 0;
    wr_restore_op *to = &r->op[r->ops++];
    *to = (wr_restore_op){
        .uid = op->uid, .from_parallelism = op->parallelism, .bytes = bytes_of(op), .items = op->items, .why = ""};
    if (node == NULL) {
        to->what = WR_RESTORE_MISSING;
        to->why = nothing ? "it had no state" : "its state would be dropped";
        r->missing += !nothing;
        return;
    }
    to->parallelism = node->parallelism;
    to->what = match_op(op, node, &why);
    to->why = wr_arena_str(&r->arena, why.text);
    r->refused += to->what == WR_RESTORE_REFUSED;
}

static wr_err verdict(const wr_manifest *m, const wr_restore_report *r, bool allow, wr_errinfo *info)
{
    for (uint32_t i = 0; i < r->ops; i++) {
        const wr_restore_op *op = &r->op[i];
        if (op->what == WR_RESTORE_REFUSED)
            return wr_fail(info, WR_STATE, "operator '%s' cannot take its state of snapshot %llu: %s", op->uid,
                           (unsigned long long)m->id, op->why);
        if (op->what == WR_RESTORE_MISSING && !allow && (op->bytes > 0 || op->items > 0))
            return wr_fail(info, WR_STATE,
                           "snapshot %llu has state of operator '%s', which the pipeline does not have; give the "
                           "operator its uid back, or drop the state by --allow-non-restored-state",
                           (unsigned long long)m->id, op->uid);
    }
    return WR_OK;
}

wr_err wr_restore_match(const wr_manifest *m, const wr_job *job, bool allow, wr_restore_report *report,
                        wr_errinfo *info)
{
    wr_restore_report own = {0}, *r = report != NULL ? report : &own;
    memset(r, 0, sizeof *r);
    r->op = wr_arena_array(&r->arena, wr_restore_op, (size_t)m->ops + job->nodes + 1);
    for (uint32_t i = 0; i < m->ops; i++) look_at(r, &m->op[i], job);
    for (uint32_t i = 0; i < job->nodes; i++) {
        const wr_node *node = &job->node[i];
        bool           state = node->op != NULL && (node->op->state != NULL || node->op->shared != NULL);
        if (!state || wr_manifest_find(m, node->uid) != NULL) continue;
        r->op[r->ops++] = (wr_restore_op){
            .uid = node->uid, .what = WR_RESTORE_NEW, .parallelism = node->parallelism, .why = "begins without state"};
    }
    wr_err err = verdict(m, r, allow, info);
    if (report == NULL) wr_restore_report_free(&own);
    return err;
}

void wr_restore_report_free(wr_restore_report *report)
{
    wr_arena_fini(&report->arena);
    memset(report, 0, sizeof *report);
}
