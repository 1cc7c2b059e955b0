#include "tests/sim/states.h"
#include "base/check.h"
#include "operators/op.h"
#include "wire/record.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const weir_field *field_of(const weir_type *type, const char *name)
{
    for (uint32_t i = 0; i < type->fields; i++) {
        if (strcmp(type->field[i].name, name) == 0) return &type->field[i];
    }
    return NULL;
}

static void positions_of(const sim_node *n, const wr_manifest_op *op, uint64_t emitted[SIM_SPLITS], char why[256])
{
    const weir_field *index = field_of(op->state, "index"), *at = field_of(op->state, "at");
    bool              listed = false, there[SIM_SPLITS] = {false};
    char             *record = malloc(op->state->size + 64);
    check(record != NULL && index != NULL && at != NULL);
    for (uint32_t k = 0; k < op->items; k++) {
        const wr_item *item = &op->item[k];
        uint32_t       number;
        uint64_t       position;
        listed |= item->kind == WR_ITEM_OWN;
        if (item->kind != WR_ITEM_SPLIT && item->kind != WR_ITEM_ENUMERATOR) continue;
        if (!wr_record_decode(op->state, item->data, item->bytes, record)) continue;
        memcpy(&number, record + index->offset, sizeof number);
        memcpy(&position, record + at->offset, sizeof position);
        if (number >= n->splits) continue;
        if (there[number]) snprintf(why, 256, "split %u of %s is in a snapshot twice", number, n->uid);
        there[number] = true;
        emitted[number] = position;
    }
    for (uint32_t k = 0; k < n->splits && listed; k++) {
        if (!there[k]) emitted[k] = n->records[k]; /* read to its end */
    }
    free(record);
}

bool sim_positions(const sim_plan *plan, const wr_manifest *m, uint64_t emitted[SIM_SOURCES][SIM_SPLITS], char why[256])
{
    why[0] = 0;
    memset(emitted, 0, sizeof(uint64_t[SIM_SOURCES][SIM_SPLITS]));
    for (uint32_t i = 0; i < plan->sources; i++) {
        const sim_node       *n = &plan->node[i];
        const wr_manifest_op *op = wr_manifest_find(m, n->uid);
        if (op == NULL || op->state == NULL) return false;
        positions_of(n, op, emitted[n->source], why);
    }
    return true;
}

static void digest_table(const sim_node *n, wr_table *table, sim_digest *d)
{
    void         *state[64];
    wr_table_scan scan = {0};
    for (uint32_t got; (got = wr_table_scan_next(table, &scan, state, NULL, 64)) > 0;) {
        for (uint32_t i = 0; i < got; i++) {
            uint64_t word[3] = {0};
            size_t   size = wr_table_state_size(table);
            memcpy(word, state[i], size < sizeof word ? size : sizeof word);
            if (n->kind == SIM_CHAIN)
                sim_digest_add(d, word[0], word[1]);
            else if (n->kind == SIM_COUNT || n->kind == SIM_FORGET)
                sim_digest_add(d, word[0], 0);
            else
                sim_digest_add(d, word[1], word[2]);
        }
    }
}

void sim_digest_loaded(const sim_node *n, const wr_manifest *m, const wr_job *job, wr_worker *worker, sim_digest *got,
                       uint32_t *tables, char why[256])
{
    const wr_manifest_op *saved = wr_manifest_find(m, n->uid);
    for (uint32_t k = 0; k < job->nodes && saved != NULL; k++) {
        if (strcmp(job->node[k].uid, n->uid) != 0) continue;
        for (uint32_t s = 0; s < job->node[k].parallelism; s++) {
            wr_op *op = wr_worker_op(worker, job->node[k].id, s);
            if (op == NULL) continue; /* another worker has it */
            if (saved->watermark != WEIR_NO_TIME && op->watermark < saved->watermark)
                snprintf(why, 256, "%s subtask %u has event time %lld after a restore, and had %lld", n->uid, s,
                         (long long)op->watermark, (long long)saved->watermark);
            if (op->table == NULL) continue;
            digest_table(n, op->table, got);
            ++*tables;
        }
    }
}

/* What windows give at the end comes subtask by subtask; the reference knows no such moment. */
static bool behind_window(const sim_plan *plan, uint32_t node)
{
    const sim_node *n = &plan->node[node];
    for (uint32_t i = 0; i < n->ins; i++) {
        uint32_t from = n->in[i].node;
        bool     window = plan->node[from].kind >= SIM_REDUCE && plan->node[from].kind <= SIM_TIMER;
        if (window || behind_window(plan, from)) return true;
    }
    return false;
}

/* All that the node hangs on is read. */
static bool may_have_ended(const sim_plan *plan, const sim_node *n, uint64_t emitted[SIM_SOURCES][SIM_SPLITS])
{
    for (uint32_t i = 0; i < plan->sources; i++) {
        const sim_node *source = &plan->node[i];
        if ((n->sources >> source->source & 1) == 0) continue;
        for (uint32_t s = 0; s < source->splits; s++) {
            if (emitted[source->source][s] < source->records[s]) return false;
        }
    }
    return true;
}

bool sim_state_known(const sim_plan *plan, uint32_t node, uint64_t emitted[SIM_SOURCES][SIM_SPLITS])
{
    const sim_node *n = &plan->node[node];
    if (n->kind < SIM_COUNT || n->kind >= SIM_TOTAL_ALL || behind_window(plan, node)) return false;
    return n->kind <= SIM_FORGET || !may_have_ended(plan, n, emitted);
}
