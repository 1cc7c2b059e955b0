#include "operators/enumerate.h"
#include "base/check.h"
#include "base/hash.h"
#include "graph/job.h"
#include "wire/record.h"
#include <stdlib.h>

static bool same_field(const weir_type *type, const void *a, const void *b)
{
    const weir_field *f = &type->field[0];
    const char       *x = (const char *)a + f->offset, *y = (const char *)b + f->offset;
    if (f->kind == WEIR_STR || f->kind == WEIR_BYTES)
        return weir_str_equal((const weir_str *)(const void *)x, (const weir_str *)(const void *)y);
    return memcmp(x, y, f->size) == 0;
}

static uint64_t hash_of(const weir_type *type, const void *split)
{
    const weir_field *f = &type->field[0];
    const char       *at = (const char *)split + f->offset;
    const weir_str   *str = (const weir_str *)(const void *)at;
    bool              is_string = f->kind == WEIR_STR || f->kind == WEIR_BYTES;
    return is_string ? wr_hash_bytes(weir_str_data(str), str->len) : wr_hash_bytes(at, f->size);
}

/* Where its number is, or is to be put: 0. */
static uint32_t *place_of(const wr_enumerator *e, const void *split)
{
    const weir_type *type = e->outs[0];
    for (uint64_t i = hash_of(type, split);; i++) {
        uint32_t *at = &e->place[i & (2 * (uint64_t)e->capacity - 1)];
        if (*at == 0 || same_field(type, e->split[*at - 1], split)) return at;
    }
}

/* False: no memory. */
static bool grow(wr_enumerator *e)
{
    uint32_t  more = e->capacity ? 2 * e->capacity : 64;
    void    **split = realloc(e->split, more * sizeof *split);
    uint32_t *place = calloc(2 * (size_t)more, sizeof *place);
    if (split != NULL) e->split = split;
    if (split == NULL || place == NULL) {
        free(place);
        wr_op_fail(&e->op, WR_MEMORY, "no memory for %u splits; source %s; name fewer files", more, e->op.node->uid);
        return false;
    }
    free(e->place);
    e->place = place;
    e->capacity = more;
    for (uint32_t i = 0; i < e->count; i++) *place_of(e, split[i]) = i + 1;
    return true;
}

/* False: no memory. */
static bool keep(wr_enumerator *e, const char *from)
{
    const weir_type *type = e->outs[0];
    if (e->count == e->capacity && !grow(e)) return false;
    uint32_t *place = place_of(e, from);
    if (*place != 0) return true;
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
    *place = e->count;
    return true;
}

/* Takes copies of splits out of the batches that enumerate emits. */
static void take_push(wr_op *op, const wr_view *view, uint32_t port)
{
    (void)port;
    wr_enumerator *e = op->kernel_state;
    for (uint32_t i = 0; i < view->n && keep(e, view->records + (size_t)i * e->outs[0]->size); i++) {}
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
    e->op.task = like->task;
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
    free(e->place);
    e->split = NULL;
    e->place = NULL;
}

bool wr_enumerator_run(wr_enumerator *e)
{
    e->ran = true;
    e->op.ctx.n = 1;
    e->op.home->depth++;
    if (e->def.enumerate != NULL) wr_op_call(&e->op, e->def.enumerate, "in its enumerate function");
    wr_op_settle(&e->op);
    if (--e->op.home->depth == 0) wr_scratch_reset(&e->op.home->scratch);
    return !wr_op_failed(&e->op);
}

const void *wr_enumerator_next(const wr_enumerator *e)
{
    return e->assigned < e->count ? e->split[e->assigned] : NULL;
}

/* ---- snapshots ---- */

void wr_enumerator_save(const wr_enumerator *e, wr_saver *saver)
{
    const weir_type *type = e->outs[0];
    bool             again = e->op.node->discover_every > 0;
    if (e->ran) wr_save_item(saver, WR_ITEM_OWN, "", 0);
    for (uint32_t i = 0; again && i < e->assigned; i++) wr_save_record(saver, WR_ITEM_SEEN, type, e->split[i]);
    for (uint32_t i = e->assigned; i < e->count; i++) wr_save_record(saver, WR_ITEM_ENUMERATOR, type, e->split[i]);
}

static wr_err load_kind(wr_enumerator *e, const wr_manifest_op *saved, uint32_t kind, wr_errinfo *info)
{
    const weir_type *type = e->outs[0];
    char            *record = calloc(1, type->size);
    wr_err err = record != NULL ? WR_OK : wr_fail(info, WR_MEMORY, "no memory for the splits of %s", saved->uid);
    for (uint32_t i = 0; i < saved->items && err == WR_OK; i++) {
        const wr_item *item = &saved->item[i];
        if (item->kind != kind) continue;
        if (wr_record_decode(type, item->data, item->bytes, record)) {
            if (!keep(e, record)) err = wr_fail(info, WR_MEMORY, "%s", e->op.failure.text);
        } else
            err = wr_fail(info, WR_STATE,
                          "item %u is no split of type %s; enumerator of %s; restore with the pipeline "
                          "that took the snapshot",
                          i, type->name, saved->uid);
    }
    free(record);
    return err;
}

wr_err wr_enumerator_load(wr_enumerator *e, const wr_manifest_op *saved, wr_errinfo *info)
{
    for (uint32_t i = 0; i < saved->items; i++) e->ran |= saved->item[i].kind == WR_ITEM_OWN;
    WR_TRY(load_kind(e, saved, WR_ITEM_SEEN, info));
    e->assigned = e->count;
    return load_kind(e, saved, WR_ITEM_ENUMERATOR, info);
}

bool wr_enumerator_rests(const wr_enumerator *e)
{
    return e->ran && e->op.node->discover_every == 0;
}
