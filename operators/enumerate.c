#include "operators/enumerate.h"
#include "base/check.h"
#include "base/hash.h"
#include "base/text.h"
#include "graph/job.h"
#include "wire/record.h"
#include <stdio.h>
#include <stdlib.h>

static bool same_field(const weir_type *type, const void *a, const void *b)
{
    const weir_field *f = &type->field[0];
    const char       *x = (const char *)a + f->offset, *y = (const char *)b + f->offset;
    if (f->kind == WEIR_STR || f->kind == WEIR_BYTES)
        return weir_str_equal((const weir_str *)(const void *)x, (const weir_str *)(const void *)y);
    return memcmp(x, y, f->size) == 0;
}

static uint64_t hash_of(const weir_field *f, const void *record)
{
    const char *at = (const char *)record + f->offset;
    if (f->kind == WEIR_STR || f->kind == WEIR_BYTES) return wr_hash_str((const weir_str *)(const void *)at);
    return wr_hash_bytes(at, f->size);
}

void wr_split_name(const weir_type *type, const void *record, char *text, size_t bytes)
{
    const weir_field *f = &type->field[0];
    const char       *at = (const char *)record + f->offset;
    text[0] = 0;
    if (f->kind == WEIR_STR || f->kind == WEIR_BYTES) {
        const weir_str *name = (const weir_str *)(const void *)at;
        size_t          n = name->len, cut = n < bytes ? 0 : n - bytes + 1 + sizeof "..." - 1;
        snprintf(text, bytes, "%s%.*s", cut > 0 ? "..." : "", (int)(n - cut), weir_str_data(name) + cut);
        wr_text_printable(text); /* it is any bytes */
    } else if (f->size <= 8) {
        uint64_t value = 0;
        memcpy(&value, at, f->size);
        snprintf(text, bytes, "%llu", (unsigned long long)value);
    }
}

/* A split that is known. False: this call has listed another one by its name, and one of them would be lost. */
static bool again(wr_enumerator *e, wr_listed *known, const wr_listed *now, const char *record)
{
    char name[128];
    bool lost = now->call > 0 && known->call == now->call && known->content != now->content;
    known->call = now->call;
    known->content = now->content;
    if (!lost) return true;
    wr_split_name(e->outs[0], record, name, sizeof name);
    wr_op_fail(&e->op, WR_USER_FAIL,
               "enumerate listed two different splits with the name '%s'; source %s; the first field of %s names the "
               "split: give each one its own",
               name, e->op.node->uid, e->outs[0]->name);
    return false;
}

/* False: no room for one more. */
static bool grow(wr_enumerator *e)
{
    if (e->count < e->capacity) return true;
    uint32_t   more = e->capacity ? 2 * e->capacity : 64;
    void      *split = realloc(e->split, more * sizeof *e->split);
    wr_listed *listed = split != NULL ? realloc(e->listed, more * sizeof *e->listed) : NULL;
    if (split != NULL) e->split = split;
    if (listed == NULL) return false;
    e->listed = listed;
    e->capacity = more;
    return true;
}

/* False: it has failed. */
static bool keep(wr_enumerator *e, const char *from)
{
    const weir_type *type = e->outs[0];
    uint64_t         name = hash_of(&type->field[0], from);
    wr_listed        now = {.content = name, .call = e->calls};
    uint32_t         step = 0;
    for (uint32_t i = 1; i < type->fields; i++) now.content = wr_hash_fold(now.content, hash_of(&type->field[i], from));
    for (uint32_t k; (k = wr_lookup_next(&e->names, name, &step)) != WR_LOOKUP_NONE;) {
        if (same_field(type, e->split[k], from)) return again(e, &e->listed[k], &now, from);
    }
    if (!grow(e) || !wr_lookup_add(&e->names, name, e->count)) {
        wr_op_fail(&e->op, WR_MEMORY, "no memory for %u splits; source %s; name fewer files", e->count + 1,
                   e->op.node->uid);
        return false;
    }
    e->listed[e->count] = now;
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
    wr_lookup_fini(&e->names);
    free(e->split);
    free(e->listed);
    e->split = NULL;
    e->listed = NULL;
}

bool wr_enumerator_run(wr_enumerator *e)
{
    e->ran = true;
    e->calls++;
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
