/* snapshot/image_load.c: filling a table from files whose entries lie as its own: regions are copied, later layers over
 * earlier ones, and the indexes are made anew, group by group as their last bytes come in. */
#include "snapshot/image_load.h"
#include "base/check.h"
#include <stdlib.h>

/* ---- which files ------------------------------------------------------------------------------------------------- */

static int by_order(const void *a, const void *b)
{
    const wr_manifest_layer *x = *(const wr_manifest_layer *const *)a, *y = *(const wr_manifest_layer *const *)b;
    if (x->from != y->from) return x->from < y->from ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

/* The layers that may have groups of [first, end), chain after chain, each in order. */
static wr_err pick_layers(wr_image_source *s, const wr_manifest_op *op, wr_errinfo *info)
{
    s->layer = calloc(op->layers + 1u, sizeof *s->layer);
    s->file = calloc(op->layers + 1u, sizeof *s->file);
    s->table = calloc(op->layers + 1u, sizeof *s->table);
    if (s->layer == NULL || s->file == NULL || s->table == NULL)
        return wr_fail(info, WR_MEMORY, "out of memory: state of operator %s", op->uid);
    for (uint32_t i = 0; i < op->layers; i++) {
        const wr_state_file *file = &op->layer[i].file;
        if (file->name[0] == 0 || file->group_first >= s->group_end || file->group_end <= s->group_first) continue;
        s->layer[s->layers++] = &op->layer[i];
    }
    qsort(s->layer, s->layers, sizeof *s->layer, by_order);
    return WR_OK;
}

static wr_err open_layer(wr_image_source *s, uint32_t i, const char *folder, wr_errinfo *info)
{
    const wr_manifest_layer *layer = s->layer[i];
    wr_image_file           *f = &s->file[i];
    WR_TRY(wr_image_file_open(f, s->env, folder, &layer->file, info));
    s->opened = i + 1;
    if (f->head->id != layer->snapshot)
        return wr_image_damaged(f, 0, info, "it is of snapshot %llu, not %llu", (unsigned long long)f->head->id,
                                (unsigned long long)layer->snapshot);
    uint32_t at = 0;
    while (at < f->tables && strcmp(f->table[at].uid, s->uid) != 0) at++;
    if (at == f->tables) return wr_image_damaged(f, f->tail->footer_at, info, "it has no state of operator %s", s->uid);
    const wr_footer_table *t = &f->table[at];
    s->table[i] = at;
    if (t->max_parallelism != s->max_parallelism)
        return wr_fail(info, WR_STATE, "operator %s has %u key groups, but its state in %s has %u; set max_parallelism",
                       s->uid, s->max_parallelism, f->path, t->max_parallelism);
    bool first = i == 0 || s->layer[i - 1]->from != layer->from;
    if (t->increment == first)
        return wr_image_damaged(f, 0, info,
                                first ? "it is an increment without a base" : "it is full, not an increment");
    if (first) return WR_OK;
    const wr_footer_table *base = &s->file[i - 1].table[s->table[i - 1]];
    if (base->group_first != t->group_first || base->group_end != t->group_end ||
        base->layout_bytes != t->layout_bytes || memcmp(base->layout, t->layout, t->layout_bytes) != 0)
        return wr_image_damaged(f, f->tail->footer_at, info, "it does not continue %s", s->file[i - 1].path);
    return WR_OK;
}

/* Each group must come from exactly one chain. */
static wr_err check_groups(const wr_image_source *s, wr_errinfo *info)
{
    for (uint32_t g = s->group_first; g < s->group_end; g++) {
        uint32_t found = 0;
        for (uint32_t i = 0; i < s->layers; i++) {
            const wr_footer_table *t = &s->file[i].table[s->table[i]];
            found += !t->increment && g >= t->group_first && g < t->group_end;
        }
        if (found != 1)
            return wr_fail(info, WR_DAMAGED,
                           "%s: %s has key group %u of operator %s; offset 0; restore another snapshot", s->folder,
                           found == 0 ? "no file" : "more than one file", g, s->uid);
    }
    return WR_OK;
}

wr_err wr_image_source_open(wr_image_source *s, const wr_env *env, const char *folder, const wr_manifest_op *op,
                            uint32_t group_first, uint32_t group_end, wr_errinfo *info)
{
    *s = (wr_image_source){.env = env,
                           .folder = folder,
                           .uid = op->uid,
                           .max_parallelism = op->max_parallelism,
                           .group_first = group_first,
                           .group_end = group_end};
    wr_err err = wr_image_reads_init(&s->reads, env, info);
    if (err == WR_OK) err = pick_layers(s, op, info);
    for (uint32_t i = 0; err == WR_OK && i < s->layers; i++) err = open_layer(s, i, folder, info);
    if (err == WR_OK && s->layers != 0) err = check_groups(s, info);
    if (err != WR_OK) wr_image_source_close(s);
    return err;
}

void wr_image_source_close(wr_image_source *s)
{
    for (uint32_t i = 0; i < s->opened; i++) wr_image_file_close(&s->file[i]);
    wr_image_reads_fini(&s->reads);
    wr_linking_fini(&s->linking);
    free(s->layer);
    free(s->file);
    free(s->table);
    *s = (wr_image_source){0};
}

bool wr_image_source_fits(const wr_image_source *s, const wr_table *table)
{
    wr_bytes layout = {0};
    wr_layout_put(&layout, table);
    bool fits = !layout.failed;
    for (uint32_t i = 0; i < s->layers; i++) {
        const wr_footer_table *t = &s->file[i].table[s->table[i]];
        fits = fits && t->layout_bytes == layout.n && memcmp(t->layout, layout.at, layout.n) == 0 &&
               t->families == wr_capture_families(table);
        for (uint32_t k = 0; fits && k < t->families; k++) {
            const wr_family *family = wr_table_family(table, k);
            fits = t->stride[k] == (family == NULL ? 0 : family->stride);
        }
    }
    free(layout.at);
    return fits;
}

/* ---- filling ----------------------------------------------------------------------------------------------------- */

/* One file on its way into a table. */
typedef struct filling {
    wr_image_source *source;
    wr_table        *table;
    bool             last;   /* of its chain: groups are done when it has come past them */
    uint32_t         linked; /* groups below it are done; absolute */
    const char      *path;
    /* increments: this layer and the one before; groups below `checked` have all entries that the one before lacks;
     * how many of the next group's have come, per family */
    const wr_footer_table *own, *before;
    uint32_t               checked, added[WR_IMAGE_FAMILIES_MAX];
} filling;

static wr_err link_up_to(filling *f, uint32_t group, wr_errinfo *info)
{
    if (!f->last) return WR_OK;
    for (; f->linked < group; f->linked++)
        WR_TRY(wr_group_link(f->table, f->linked - f->table->config.group_first, &f->source->linking, f->path, info));
    return WR_OK;
}

/* An entry that is in no layer would be a hole. (Strings leave some: the units behind the last byte.) */
static wr_err check_up_to(filling *f, uint32_t group, wr_errinfo *info)
{
    for (; f->before != NULL && f->checked < group; f->checked++) {
        for (uint32_t i = 0; i < f->own->families; i++) {
            uint32_t has = wr_footer_count(f->own, f->checked, i), had = wr_footer_count(f->before, f->checked, i);
            if (i != 1 && has > had && f->added[i] != has - had)
                return wr_fail(info, WR_DAMAGED,
                               "%s: it does not continue the file before: entries of key group %u of operator %s are "
                               "missing; offset 0; restore another snapshot",
                               f->path, f->checked, f->source->uid);
            f->added[i] = 0;
        }
    }
    return WR_OK;
}

/* Entries of an increment that the layer before does not have. */
static uint32_t count_added(const wr_piece *piece, uint32_t had)
{
    const char *index = (const char *)(piece + 1);
    uint32_t    from = had > piece->first ? had - piece->first : 0, count = 0;
    if (from >= piece->entries) return 0;
    if (piece->form == WR_PIECE_FULL) return piece->entries - from;
    for (uint32_t i = 0; piece->form == WR_PIECE_POSITIONS && i < piece->picked; i++) {
        uint16_t at;
        memcpy(&at, index + (uint64_t)i * 2, 2);
        count += at >= from;
    }
    for (uint32_t i = from / 64; piece->form == WR_PIECE_BITS && i < (piece->entries + 63) / 64; i++) {
        uint64_t word;
        memcpy(&word, index + (uint64_t)i * 8, 8);
        if (i == from / 64) word &= ~UINT64_C(0) << (from & 63);
        count += (uint32_t)__builtin_popcountll(word);
    }
    return count;
}

static wr_err take_piece(void *arg, const wr_piece *piece, wr_errinfo *info)
{
    filling *f = arg;
    WR_TRY(check_up_to(f, piece->group, info));
    if (f->before != NULL)
        f->added[piece->family] += count_added(piece, wr_footer_count(f->before, piece->group, piece->family));
    WR_TRY(link_up_to(f, piece->group, info));
    if (wr_piece_apply(f->table, piece)) return WR_OK;
    return wr_fail(info, WR_DAMAGED,
                   "%s: a piece of key group %u is longer than a region; offset %u; restore another "
                   "snapshot",
                   f->path, piece->group, WR_PAGE_BYTES);
}

/* Regions, counts, free lists and counters of a group, as the chain's last layer has them. False: there is no room. */
static bool make_room(wr_table *table, const wr_footer_table *t, uint32_t group)
{
    uint32_t               g = group - table->config.group_first;
    const wr_footer_group *from = &t->group[group - t->group_first];
    for (uint32_t i = 0; i < t->families; i++) {
        wr_family *family = wr_table_family(table, i);
        uint32_t   count = wr_footer_count(t, group, i), first, region;
        if (family == NULL || count == 0) continue;
        region = wr_family_region_of(family, count - 1, &first);
        uint64_t entries = (uint64_t)first + wr_family_region_entries(family, region);
        if (entries > family->limit - family->next) return false;
        while (family->group[g].regions <= region) wr_family_grow(family, g, 1);
        family->group[g].count = count;
        family->group[g].free = wr_footer_free(t, group, i);
        wr_family_retail(family, g);
    }
    if (table->has_ids) table->ids[g] = from->ids;
    for (uint32_t i = 0; table->has_blobs && i < from->free_count; i++) {
        uint32_t free_one[2];
        memcpy(free_one, from->frees + i * 8u, sizeof free_one);
        table->blob_free[g * WR_BLOB_CLASSES + free_one[0]] = free_one[1];
    }
    return !table->config.budget->exceeded;
}

/* The groups of a file that are asked for; false: none. */
static bool groups_of(const wr_image_source *s, const wr_footer_table *t, uint32_t *first, uint32_t *end)
{
    *first = s->group_first > t->group_first ? s->group_first : t->group_first;
    *end = s->group_end < t->group_end ? s->group_end : t->group_end;
    return *first < *end;
}

/* One chain: layers [from, to). */
static wr_err fill_chain(wr_image_source *s, uint32_t from, uint32_t to, wr_table *table, wr_errinfo *info)
{
    uint32_t first, end;
    if (!groups_of(s, &s->file[from].table[s->table[from]], &first, &end)) return WR_OK;
    for (uint32_t i = from; i < to; i++) {
        filling        f = {.source = s,
                            .table = table,
                            .last = i + 1 == to,
                            .linked = first,
                            .path = s->file[i].path,
                            .own = &s->file[i].table[s->table[i]],
                            .before = i == from ? NULL : &s->file[i - 1].table[s->table[i - 1]],
                            .checked = first};
        wr_image_range range = {s->table[i], first, end};
        WR_TRY(wr_image_pieces(&s->file[i], &s->reads, &range, take_piece, &f, info));
        WR_TRY(check_up_to(&f, end, info));
        WR_TRY(link_up_to(&f, end, info));
    }
    return WR_OK;
}

/* Room for all that will come, and indexes that need not split on the way. The last layer of a chain counts. */
static wr_err prepare(wr_image_source *s, wr_table *table, wr_errinfo *info)
{
    uint64_t keys = 0, elements[WR_FIELDS_MAX] = {0};
    for (uint32_t i = 0; i < s->layers; i++) {
        const wr_footer_table *t = &s->file[i].table[s->table[i]];
        uint32_t               g, end;
        if (i + 1 < s->layers && s->layer[i + 1]->from == s->layer[i]->from) continue;
        for (bool some = groups_of(s, t, &g, &end); some && g < end; g++) {
            if (!make_room(table, t, g))
                return wr_fail(info, WR_STATE_MAX, "state of operator %s does not fit --state-max; raise it", s->uid);
            keys += wr_footer_count(t, g, 0);
            for (uint32_t k = 0; k < table->cells; k++) elements[k] += wr_footer_count(t, g, k + 2);
        }
    }
    wr_index_expect(&table->index, keys);
    for (uint32_t k = 0; k < table->cells; k++) {
        if (table->cell[k].kind == WEIR_CELL_TABLE) wr_index_expect(&table->cell[k].index, elements[k]);
    }
    return WR_OK;
}

wr_err wr_image_source_fill(wr_image_source *s, wr_table *table, wr_errinfo *info)
{
    check(table->count == 0 && !table->capturing);
    if (!wr_table_strings(table)) return wr_fail(info, WR_MEMORY, "out of memory: state of operator %s", s->uid);
    WR_TRY(prepare(s, table, info));
    for (uint32_t from = 0, to; from < s->layers; from = to) {
        for (to = from + 1; to < s->layers && s->layer[to]->from == s->layer[from]->from;) to++;
        WR_TRY(fill_chain(s, from, to, table, info));
    }
    table->generation++;
    return WR_OK;
}
