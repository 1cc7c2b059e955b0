#include "base/check.h"
#include "operators/op.h"
#include <stdio.h>
#include <stdlib.h>

#define CHUNK_BYTES_MAX WR_MIB(1) /* but for larger strings; what one call keeps is counted by chunks */

/* Owned by its wr_scratch. */
struct wr_scratch_chunk {
    struct wr_scratch_chunk *next;
    size_t                   bytes;
    char                     memory[];
};

static struct wr_scratch_chunk *chunk_new(size_t bytes)
{
    struct wr_scratch_chunk *c = malloc(sizeof *c + bytes);
    if (c == NULL) {
        fprintf(stderr, "weir: out of memory for %zu bytes of strings\n", bytes);
        abort();
    }
    c->bytes = bytes;
    c->next = NULL;
    return c;
}

wr_op *wr_calls_add(wr_calls *calls, uint64_t first, uint64_t bytes)
{
    wr_op *op = wr_user_now.op;
    /* A loop that does not say which record it is at cannot be told from one call. */
    if (op == NULL || (op->ctx.n > 1 && (op->def->flags & WEIR_OP_TRACKS) == 0)) return NULL;
    if (calls->op == op && calls->number == wr_user_now.number && calls->at == op->ctx.at)
        calls->bytes += bytes;
    else
        *calls = (wr_calls){.op = op, .number = wr_user_now.number, .bytes = first, .at = op->ctx.at};
    return calls->bytes > WR_OVERDRAFT_BYTES_MAX ? op : NULL;
}

void wr_op_fail_overdraft(wr_op *op, bool strings, bool step)
{
    char where[64] = "";
    if (op->ctx.at < op->ctx.n && op->def->kind != WEIR_OP_SOURCE)
        snprintf(where, sizeof where, ", record %u of %u of its batch", op->ctx.at + 1, op->ctx.n);
    wr_op_fail(op, WR_OVERDRAFT, "%s %s more than %d MiB %s; operator %s subtask %u%s; emit less per record",
               step ? "the calls for one batch" : "one call", strings ? "kept" : "emitted",
               (step ? WR_STEP_BYTES_MAX : WR_OVERDRAFT_BYTES_MAX) >> 20, strings ? "of strings" : "beyond its room",
               op->node->uid, op->subtask, where);
}

/* Another chunk. Once per chunk, not per string. */
static void count(wr_scratch *s, size_t bytes)
{
    wr_op *whose = wr_calls_add(&s->calls, bytes, bytes);
    if (whose != NULL) wr_op_fail_overdraft(whose, true, false);
    if (s->bytes <= WR_STEP_BYTES_MAX) return;
    if (wr_user_now.op != NULL)
        wr_op_fail_overdraft(wr_user_now.op, true, true);
    else
        s->exhausted = true;
}

/* The more there is, the larger the next one: each string that an operator emits is looked for in all of them. */
static size_t next_bytes(const wr_scratch *s, size_t wanted)
{
    uint64_t bytes = s->bytes / 4 / WR_BATCH_HEAP_BYTES * WR_BATCH_HEAP_BYTES;
    if (bytes > CHUNK_BYTES_MAX) bytes = CHUNK_BYTES_MAX;
    if (bytes < WR_BATCH_HEAP_BYTES) bytes = WR_BATCH_HEAP_BYTES;
    return wanted > bytes ? wanted : bytes;
}

void *wr_scratch_take(wr_scratch *s, size_t bytes)
{
    size_t rounded = (bytes + 7) & ~(size_t)7;
    if ((size_t)(s->end - s->at) < rounded) {
        struct wr_scratch_chunk *c = s->spare;
        if (c != NULL && c->bytes >= rounded)
            s->spare = NULL;
        else
            c = chunk_new(next_bytes(s, rounded));
        c->next = s->chunk;
        s->chunk = c;
        s->chunks++;
        count(s, c->bytes);
        s->at = c->memory;
        s->end = c->memory + c->bytes;
    }
    void *p = s->at;
    s->at += rounded;
    s->bytes += rounded;
    return p;
}

bool wr_scratch_holds(const wr_scratch *s, const char *p)
{
    for (const struct wr_scratch_chunk *c = s->chunk; c != NULL; c = c->next) {
        if (p >= c->memory && p < c->memory + c->bytes) return true;
    }
    return false;
}

void wr_scratch_reset(wr_scratch *s)
{
    if (s->chunk == NULL) return;
    s->before += s->bytes;
    if (s->chunk->next == NULL && s->chunk->bytes == WR_BATCH_HEAP_BYTES) { /* the usual case: use it again */
        s->at = s->chunk->memory;
    } else {
        while (s->chunk != NULL) {
            struct wr_scratch_chunk *c = s->chunk;
            s->chunk = c->next;
            if (s->spare == NULL && c->bytes == WR_BATCH_HEAP_BYTES) {
                s->spare = c;
                c->next = NULL;
            } else {
                free(c);
            }
        }
        s->at = s->end = NULL;
        s->chunks = 0;
    }
    s->bytes = 0;
    s->exhausted = false;
}

void wr_scratch_fini(wr_scratch *s)
{
    wr_scratch_reset(s);
    free(s->chunk);
    free(s->spare);
    memset(s, 0, sizeof *s);
}
