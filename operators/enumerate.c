#include "operators/enumerate.h"
#include "base/check.h"
#include "graph/job.h"
#include <stdlib.h>

static bool same_field(const weir_type *type, const void *a, const void *b)
{
    const weir_field *f = &type->field[0];
    const char       *x = (const char *)a + f->offset, *y = (const char *)b + f->offset;
    if (f->kind == WEIR_STR || f->kind == WEIR_BYTES)
        return weir_str_equal((const weir_str *)(const void *)x, (const weir_str *)(const void *)y);
    return memcmp(x, y, f->size) == 0;
}

/* Takes copies of splits out of the batches that enumerate emits. */
static void take_push(wr_op *op, const wr_view *view, uint32_t port)
{
    (void)port;
    wr_enumerator   *e = op->kernel_state;
    const weir_type *type = e->outs[0];
    for (uint32_t i = 0; i < view->n; i++) {
        const char *from = view->records + (size_t)i * type->size;
        bool        known = false;
        for (uint32_t k = 0; k < e->count && !known; k++) known = same_field(type, e->split[k], from);
        if (known) continue;
        if (e->count == e->capacity) {
            e->capacity = e->capacity ? 2 * e->capacity : 64;
            e->split = realloc(e->split, e->capacity * sizeof *e->split);
            if (e->split == NULL) abort();
        }
        char *to = wr_arena_get(&e->arena, type->size);
        memcpy(to, from, type->size);
        for (uint32_t k = 0; k < type->fields; k++) {
            if (type->field[k].kind != WEIR_STR && type->field[k].kind != WEIR_BYTES) continue;
            weir_str *s = (weir_str *)(void *)(to + type->field[k].offset);
            if (s->len <= WEIR_STR_INLINE) continue;
            char *copy = wr_arena_get(&e->arena, s->len);
            memcpy(copy, s->u.far, s->len);
            s->u.far = copy;
        }
        e->split[e->count++] = to;
    }
}

static const wr_kernel take_kernel = {.name = "splits", .push = take_push};

wr_err wr_enumerator_init(wr_enumerator *e, const wr_op *like, wr_errinfo *info)
{
    memset(e, 0, sizeof *e);
    wr_arena_init(&e->arena);
    e->def = *like->def;
    e->outs[0] = like->def->state;
    e->def.out = e->outs;
    e->def.outs = 1;
    e->op.def = &e->def;
    e->op.node = like->node;
    e->op.home = like->home;
    e->op.args = like->args;
    e->op.endpoint = like->endpoint;
    e->op.subtasks = 1;
    WR_TRY(wr_op_init(&e->op, info));
    e->op.on_error = WEIR_FAIL;
    e->taker.def = &e->take;
    e->taker.node = like->node;
    e->taker.home = like->home;
    e->taker.kernel = &take_kernel;
    e->taker.kernel_state = e;
    e->op.emit[0].target = calloc(1, sizeof(wr_target));
    if (e->op.emit[0].target == NULL)
        return wr_fail(info, WR_MEMORY, "no memory for the enumerator of %s", like->node->uid);
    e->op.emit[0].target[0].op = &e->taker;
    e->op.emit[0].targets = 1;
    return WR_OK;
}

void wr_enumerator_fini(wr_enumerator *e)
{
    e->op.kernel = NULL; /* it was never opened as a source */
    wr_op_fini(&e->op);
    wr_arena_fini(&e->arena);
    free(e->split);
    e->split = NULL;
}

bool wr_enumerator_run(wr_enumerator *e)
{
    e->op.ctx.n = 1;
    e->op.home->depth++;
    if (e->def.enumerate != NULL) wr_op_call(&e->op, e->def.enumerate);
    wr_op_settle(&e->op);
    if (--e->op.home->depth == 0) wr_scratch_reset(&e->op.home->scratch);
    return !wr_op_failed(&e->op);
}

const void *wr_enumerator_next(const wr_enumerator *e)
{
    return e->assigned < e->count ? e->split[e->assigned] : NULL;
}
