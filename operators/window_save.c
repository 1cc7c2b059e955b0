/* Windows in snapshots: which windows they are and how far they have come; their data lies in the table. */
#include "base/hash.h"
#include "operators/kernels.h"
#include "operators/window.h"
#include "snapshot/image_convert.h"
#include <stdlib.h>

enum { VERSION_ALIKE = 1, VERSION_APART };

/* What a snapshot keeps besides the table, per subtask. Behind it, in version 2, come ranges of key groups: subtasks
 * may have come to different times, and after a restore a subtask can have key groups of several. */
typedef struct saved_windows {
    int64_t version, kind, size, slide, offset, clock, rows, places;
    int64_t fired, dead, clock_ns; /* fired: of the key group that is furthest behind */
    int64_t acc;                   /* of the accumulator's fields: rings are kept as bytes */
} saved_windows;

/* Up to `end`, which is not in it; from the range before, or the subtask's first key group. Ascending, to its last. */
typedef struct saved_range {
    int64_t end, fired;
} saved_range;

static int64_t fields_of(const weir_type *type)
{
    uint64_t hash = type->size;
    for (uint32_t i = 0; i < type->fields; i++) {
        const weir_field *f = &type->field[i];
        const weir_str    name = weir_str_of(f->name, strlen(f->name));
        hash = wr_hash_fold(wr_hash_fold(hash, wr_hash_str(&name)),
                            (uint64_t)f->offset << 40 | (uint64_t)f->size << 8 | f->kind);
    }
    return (int64_t)(hash >> 1 | 1);
}

/* ---- saving ------------------------------------------------------------------------------------------------------ */

/* Key groups that have come equally far, together. */
static uint32_t ranges_of(const wr_op *op, const wr_windows *k, saved_range *range)
{
    wr_key_groups own = wr_key_groups_of(op->subtask, op->subtasks, op->max_parallelism);
    uint32_t      n = 0;
    for (uint32_t g = own.first; g < own.end; g++) {
        int64_t fired = k->fired_of[g - own.first] > k->fired ? k->fired_of[g - own.first] : k->fired;
        if (n == 0 || range[n - 1].fired != fired) range[n++].fired = fired;
        range[n - 1].end = g + 1;
    }
    return n;
}

wr_err wr_windows_save(wr_op *op, const wr_barrier *barrier, wr_saver *saver, wr_errinfo *info)
{
    (void)barrier;
    const wr_windows *k = op->kernel_state;
    check(!k->sweeping || wr_op_failed(op));
    saved_windows s = {.version = VERSION_ALIKE,
                       .kind = k->window.kind,
                       .size = k->window.size,
                       .slide = k->window.slide,
                       .offset = k->window.offset,
                       .clock = k->window.clock,
                       .rows = k->rows,
                       .places = k->type.places,
                       .fired = k->fired,
                       .dead = k->dead,
                       .clock_ns = k->clock_ns,
                       .acc = k->ring ? fields_of(op->def->state) : 0};
    if (k->fired_of == NULL) {
        wr_save_item(saver, WR_ITEM_OWN, &s, sizeof s);
        return WR_OK;
    }
    wr_key_groups own = wr_key_groups_of(op->subtask, op->subtasks, op->max_parallelism);
    char         *all = malloc(sizeof s + (size_t)(own.end - own.first) * sizeof(saved_range));
    if (all == NULL) return wr_fail(info, WR_MEMORY, "no memory to save the windows of operator %s", op->node->uid);
    uint32_t ranges = ranges_of(op, k, (saved_range *)(void *)(all + sizeof s));
    s.version = VERSION_APART;
    memcpy(all, &s, sizeof s);
    wr_save_item(saver, WR_ITEM_OWN, all, sizeof s + ranges * sizeof(saved_range));
    free(all);
    return WR_OK;
}

/* ---- checking ---------------------------------------------------------------------------------------------------- */

static bool fired_fits(int64_t fired)
{
    return fired >= WR_SLICE_NEVER && fired <= -WR_SLICE_NEVER;
}

static saved_range range_of(const wr_item *item, uint32_t i)
{
    saved_range r;
    memcpy(&r, (const char *)item->data + sizeof(saved_windows) + i * sizeof r, sizeof r);
    return r;
}

static uint32_t ranges_in(const wr_item *item)
{
    return (uint32_t)((item->bytes - sizeof(saved_windows)) / sizeof(saved_range));
}

static bool ranges_fit(const wr_item *item, const saved_windows *s, wr_key_groups its)
{
    uint32_t n = ranges_in(item);
    int64_t  from = its.first;
    if (s->version == VERSION_ALIKE) return item->bytes == sizeof *s;
    if (n == 0 || item->bytes != sizeof *s + n * sizeof(saved_range)) return false;
    for (uint32_t i = 0; i < n; i++) {
        saved_range r = range_of(item, i);
        if (r.end <= from || r.fired < s->fired || !fired_fits(r.fired)) return false;
        from = r.end;
    }
    return from == its.end;
}

static wr_key_groups groups_of(const wr_manifest_op *saved, const wr_item *item)
{
    return wr_key_groups_of(item->from, saved->parallelism, saved->max_parallelism);
}

static wr_err check_saved(const wr_node *node, const wr_manifest_op *saved, const wr_item *item, saved_windows *s,
                          wr_errinfo *info)
{
    const weir_window *w = &node->window.window;
    if (item->bytes < sizeof *s || item->from >= saved->parallelism) goto damaged;
    memcpy(s, item->data, sizeof *s);
    if (s->version > VERSION_APART)
        return wr_fail(info, WR_NEWER,
                       "windows of operator %s were saved by a newer version of Weir; restore with that one",
                       node->uid);
    bool place = s->places == 1 || s->places == 2 || s->places == 4 || s->places == WR_PLACES_MAX;
    if (s->version < VERSION_ALIKE || !place || !fired_fits(s->fired) || s->dead > s->fired ||
        !ranges_fit(item, s, groups_of(saved, item)))
        goto damaged;
    if (s->kind != w->kind || s->size != w->size || s->slide != w->slide || s->offset != w->offset ||
        s->clock != w->clock || s->rows != (node->op->kind == WEIR_OP_WINDOW))
        return wr_fail(
            info, WR_STATE,
            "the window of operator %s is another one than in the snapshot (kind, size, slide, offset or clock); "
            "give it the same window, or another uid to begin anew",
            node->uid);
    if (s->acc != 0 && s->rows) goto damaged;
    return WR_OK;
damaged:
    return wr_fail(info, WR_DAMAGED, "the snapshot's windows of operator %s cannot be read; use another snapshot",
                   node->uid);
}

wr_err wr_windows_places(const wr_node *node, const wr_manifest_op *saved, uint32_t *places, wr_errinfo *info)
{
    *places = 0;
    for (uint32_t i = 0; i < saved->items; i++) {
        saved_windows s;
        if (saved->item[i].kind != WR_ITEM_OWN) continue;
        WR_TRY(check_saved(node, saved, &saved->item[i], &s, info));
        *places = (uint32_t)s.places;
    }
    if (*places != 0 || saved->layers == 0) return WR_OK;
    return wr_fail(info, WR_STATE,
                   "operator %s has state without windows in the snapshot, and a window now; give it another uid",
                   node->uid);
}

/* ---- what they keep ---------------------------------------------------------------------------------------------- */

/* The user's fields of what windows keep; the first field is always a list that has all of them. */
static void fields_of_user(const weir_type *made, const weir_type *named, weir_type *user, weir_field *field)
{
    const weir_type *row = made->fields != 0 ? made->field[0].element : NULL;
    *user = *named;
    user->field = field;
    user->fields = 0;
    for (uint32_t i = 0; row != NULL && i < row->fields; i++) {
        if (row->field[i].name[0] != '(') field[user->fields++] = row->field[i];
    }
}

/* Rings are kept as bytes, and what lies in one lies nowhere else. */
static wr_err ring_fits(const wr_node *node, const wr_manifest_op *saved, const wr_window_type *type,
                        const weir_type *was, wr_errinfo *info)
{
    const weir_type *acc = node->op->state;
    saved_windows    s = {0};
    char             changes[WR_ERROR_BYTES_MAX / 2];
    for (uint32_t i = 0; i < saved->items; i++) {
        if (saved->item[i].kind == WR_ITEM_OWN) memcpy(&s, saved->item[i].data, sizeof s);
    }
    if (s.acc == 0) return WR_OK;
    if (s.acc != fields_of(acc)) {
        wr_schema_changes(was, acc, changes, sizeof changes);
        return wr_fail(info, WR_STATE,
                       "accumulator %s of operator %s has other fields than in the snapshot (%s), which sliding "
                       "windows with a RETRACT cannot convert; undo that, or give the operator another uid",
                       acc->name, node->uid, changes[0] != 0 ? changes : "they lie otherwise");
    }
    if (type->ring != WR_NONE) return WR_OK;
    return wr_fail(info, WR_STATE,
                   "sliding windows of operator %s had a RETRACT and no .lateness in the snapshot, and cannot go on "
                   "otherwise; undo that, or give the operator another uid",
                   node->uid);
}

/* The verdict is that of the types as they lie in the table; the words are about the user's. */
wr_err wr_windows_fit(const wr_node *node, const wr_manifest_op *saved, const wr_window_type *type, uint32_t *match,
                      wr_errinfo *info)
{
    weir_type  was, is;
    weir_field was_field[WR_FIELDS_MAX], is_field[WR_FIELDS_MAX];
    wr_errinfo made = {0}, of_user = {0};
    *match = saved->layers == 0 ? WR_SCHEMA_SAME : WR_SCHEMA_REFUSED;
    if (saved->layers == 0) return WR_OK;
    const weir_type *named = node->op->kind == WEIR_OP_WINDOW ? node->op->left : node->op->state;
    fields_of_user(saved->state, named, &was, was_field);
    fields_of_user(&type->state, named, &is, is_field);
    WR_TRY(ring_fits(node, saved, type, &was, info));
    *match = wr_schema_match(saved->state, &type->state, NULL, &made);
    if (*match == WR_SCHEMA_CONVERT && info != NULL) wr_schema_changes(&was, &is, info->text, sizeof info->text);
    if (*match != WR_SCHEMA_REFUSED) return WR_OK;
    bool users = wr_schema_match(&was, &is, NULL, &of_user) == WR_SCHEMA_REFUSED;
    return wr_fail(info, WR_STATE, "windows of operator %s: %s", node->uid, users ? of_user.text : made.text);
}

wr_err wr_windows_match(const wr_node *node, const wr_manifest_op *saved, uint32_t *match, wr_errinfo *info)
{
    wr_window_type type;
    uint32_t       places;
    *match = WR_SCHEMA_REFUSED;
    if (node->op == NULL || wr_kernel_of_node(node->op, node) != &wr_kernel_windows)
        return wr_fail(info, WR_STATE, "it has the state of a window, and the pipeline has no such window there");
    WR_TRY(wr_windows_places(node, saved, &places, info));
    WR_TRY(wr_window_type_make(&type, node, places, info));
    wr_err err = wr_windows_fit(node, saved, &type, match, info);
    wr_window_type_free(&type);
    return err;
}

/* ---- loading ----------------------------------------------------------------------------------------------------- */

/* What one subtask of the snapshot says of our key groups. */
static void take_times(wr_windows *k, wr_key_groups own, const wr_item *item, wr_key_groups its, int64_t *least)
{
    saved_windows s;
    saved_range   r = {.end = 0};
    memcpy(&s, item->data, sizeof s);
    if (s.clock_ns > k->clock_ns) k->clock_ns = s.clock_ns;
    for (uint32_t g = its.first, i = 0; g < its.end; g++) {
        if (s.version == VERSION_ALIKE)
            r.fired = s.fired;
        else if (g == its.first || g == r.end)
            r = range_of(item, i++);
        if (g < own.first || g >= own.end) continue;
        k->fired_of[g - own.first] = r.fired;
        if (r.fired > k->fired_most) k->fired_most = r.fired;
        if (r.fired >= *least) continue;
        *least = r.fired;
        k->dead = s.dead;
    }
}

wr_err wr_windows_times(wr_op *op, wr_windows *k, const wr_manifest_op *saved, wr_errinfo *info)
{
    wr_key_groups own = wr_key_groups_of(op->subtask, op->subtasks, op->max_parallelism);
    int64_t       least = INT64_MAX;
    k->fired_of = malloc((own.end - own.first) * sizeof *k->fired_of);
    if (k->fired_of == NULL) return wr_fail(info, WR_MEMORY, "no memory for windows of operator %s", op->node->uid);
    for (uint32_t g = own.first; g < own.end; g++) k->fired_of[g - own.first] = WR_SLICE_NEVER;
    k->fired_most = INT64_MIN;
    for (uint32_t i = 0; i < saved->items; i++) {
        const wr_item *item = &saved->item[i];
        saved_windows  s;
        if (item->kind != WR_ITEM_OWN) continue;
        WR_TRY(check_saved(op->node, saved, item, &s, info));
        take_times(k, own, item, groups_of(saved, item), &least);
    }
    if (least <= k->fired_most) {
        k->fired = least;
        if (k->lateness == 0) k->dead = least; /* what was saved may be that of a key group further behind */
    }
    if (k->form == &wr_form_slices) wr_dead_until(k, k->dead);
    if (least < k->fired_most) return WR_OK;
    free(k->fired_of);
    k->fired_of = NULL;
    return WR_OK;
}
