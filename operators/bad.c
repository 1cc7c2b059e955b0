/* Bad records: which one it is, where it stood, and what the policy makes of it. */
#include "operators/kernels.h"
#include "wire/record.h"
#include <stdio.h>
#include <weir/io.h>

static inline wr_op *op_of(const weir_ctx *ctx)
{
    return (wr_op *)ctx->engine;
}

/* Whether the function that runs now works on the records of a push: then they have numbers. */
static bool works_on_records(const wr_op *op)
{
    const weir_op *def = op->def;
    weir_loop     *loop = wr_user_now.op == op ? wr_user_now.loop : NULL;
    if (loop == NULL || def->kind == WEIR_OP_SOURCE) return false;
    return loop == def->on_left || loop == def->on_near || loop == def->on_right;
}

/* The record now in user code, or the key that a timer or a result is for; NULL: there is none. Only of the loop that
 * runs: what ctx->in has besides may be of another type, or gone. */
static const void *current_record(const wr_op *op, const weir_type **type)
{
    const weir_op *def = op->def;
    weir_loop     *loop = wr_user_now.op == op ? wr_user_now.loop : NULL;
    const char    *records = works_on_records(op) ? op->ctx.in : NULL;
    *type = loop != NULL && loop == def->on_right ? def->right : def->left;
    if (loop != NULL && (loop == def->on_timer || loop == def->on_result)) records = op->ctx.key;
    if (*type == NULL || records == NULL || op->ctx.at >= op->ctx.n) return NULL;
    return records + (size_t)op->ctx.at * (*type)->size;
}

void wr_op_place(const wr_op *op, char place[WR_PLACE_BYTES])
{
    const weir_op *def = op->def;
    if (works_on_records(op)) {
        uint64_t before = atomic_load_explicit(&op->stats.in, memory_order_relaxed) - op->behind - op->ctx.n;
        snprintf(place, WR_PLACE_BYTES, "record %llu of subtask %u", (unsigned long long)(before + op->ctx.at),
                 op->subtask);
    } else if (def->kind == WEIR_OP_SOURCE && wr_user_now.op == op && wr_user_now.loop == def->on_left) {
        int n = snprintf(place, WR_PLACE_BYTES, "subtask %u, ", op->subtask);
        wr_source_position(op, place + n, WR_PLACE_BYTES - (size_t)n);
    } else {
        bool said = wr_user_now.op == op && wr_user_now.does != NULL && *wr_user_now.does != 0;
        snprintf(place, WR_PLACE_BYTES, "%s%ssubtask %u", said ? wr_user_now.does : "", said ? ", " : "", op->subtask);
    }
}

/* As the raw format has it. Memory of the batch, as for all that is emitted; what is beyond the bound of that fails the
 * task, and a letter that is too large for a channel does. */
static weir_str raw_record(wr_op *op)
{
    const weir_type *type;
    const void      *record = current_record(op, &type);
    if (record == NULL) return weir_str_of("", 0);
    size_t n = wr_record_bytes(type, record);
    char  *raw = wr_scratch_take(&op->home->scratch, n);
    return weir_str_of(raw, wr_record_write(type, record, raw));
}

bool weir_reject(weir_ctx *ctx, const char *reason)
{
    wr_op *op = op_of(ctx);
    op->rejected = true;
    op->rejected_at = ctx->at;
    wr_op_bad(op, reason, NULL, NULL, 0);
    return false;
}

void weir_reject_unmapped(weir_ctx *ctx, uint32_t at)
{
    wr_op *op = op_of(ctx);
    if (op->rejected && op->rejected_at == at) { /* weir_reject has said why */
        op->rejected = false;
        return;
    }
    ctx->at = at;
    weir_reject(ctx, "the map function returned false");
    op->rejected = false;
}

static weir_str str_of_text(const char *text)
{
    return weir_str_of(text, strlen(text));
}

static void send_letter(wr_op *op, const char *reason, const char *place, weir_str raw)
{
    wr_emit  *e = op->dead;
    weir_out *o = e->pub;
    if (o->next == o->end) {
        weir_grown g = weir_out_grow(o->engine, o->next);
        o->next = g.next;
        o->end = g.end;
    }
    wr_dead *dead = (wr_dead *)(void *)o->next;
    *dead = (wr_dead){.uid = str_of_text(op->node->uid),
                      .reason = str_of_text(reason),
                      .source = str_of_text(op->node->name),
                      .position = str_of_text(place),
                      .at = weir_now(&op->ctx)};
    dead->record.raw = raw;
    weir_str *s[] = {&dead->uid, &dead->reason, &dead->source, &dead->position, &dead->record.raw};
    for (size_t i = 0; i < sizeof s / sizeof s[0]; i++) {
        if (s[i]->len > WEIR_STR_INLINE) weir_out_own(o->engine, s[i]);
    }
    o->next = (char *)(dead + 1);
}

void wr_op_bad(wr_op *op, const char *reason, const char *place, const void *raw, size_t raw_bytes)
{
    uint64_t bad = atomic_load_explicit(&op->stats.bad, memory_order_relaxed);
    atomic_store_explicit(&op->stats.bad, bad + 1, memory_order_relaxed);
    if (op->on_error == WEIR_SKIP) return;
    char where[WR_PLACE_BYTES];
    if (place == NULL) {
        wr_op_place(op, where);
        place = where;
    }
    if (op->on_error != WEIR_DEAD_LETTER || op->dead == NULL) {
        wr_op_fail(op, WR_BAD_RECORD,
                   "%s; operator %s, %s; correct the record, or set .on_error to WEIR_SKIP or WEIR_DEAD_LETTER", reason,
                   op->node->uid, place);
        return;
    }
    send_letter(op, reason, place, raw != NULL ? weir_str_of(raw, raw_bytes) : raw_record(op));
}
