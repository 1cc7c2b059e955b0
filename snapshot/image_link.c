/* snapshot/image_link.c: a group whose entries were copied in becomes part of the table. What entries say of each other
 * (numbers of blobs, chunks, elements, free entries) is checked: it came from outside, though under a checksum. */
#include "snapshot/image_inner.h"
#include <stdlib.h>

#define STRIP 32u /* entries whose index lines are asked for together */

/* The group that is being linked. */
typedef struct link {
    wr_table   *table;
    uint32_t    group;
    wr_linking *scratch;
} link;

void wr_linking_fini(wr_linking *linking)
{
    for (uint32_t i = 0; i < WR_IMAGE_FAMILIES_MAX; i++) free(linking->bits[i]);
    *linking = (wr_linking){0};
}

static bool is_set(const link *l, uint32_t family, uint32_t number)
{
    return (l->scratch->bits[family][number >> 6] >> (number & 63) & 1) != 0;
}

/* ---- free entries ------------------------------------------------------------------------------------------------ */

static bool clear_bits(link *l, uint32_t family, uint32_t count)
{
    wr_linking *s = l->scratch;
    uint64_t    words = count / 64u + 1;
    if (words > s->words[family]) {
        free(s->bits[family]);
        s->bits[family] = malloc(words * sizeof(uint64_t));
        s->words[family] = s->bits[family] == NULL ? 0 : words;
        if (s->bits[family] == NULL) return false;
    }
    memset(s->bits[family], 0, words * sizeof(uint64_t));
    return true;
}

/* Takes [number, number + units) for one owner; false: some of it has one. */
static bool claim_units(const link *l, uint32_t family, uint32_t number, uint32_t units)
{
    uint64_t *bits = l->scratch->bits[family];
    uint64_t  taken = 0;
    while (units != 0) {
        uint32_t shift = number & 63, n = units < 64 - shift ? units : 64 - shift;
        uint64_t mask = (n == 64 ? ~UINT64_C(0) : (UINT64_C(1) << n) - 1) << shift;
        taken |= bits[number >> 6] & mask;
        bits[number >> 6] |= mask;
        number += n;
        units -= n;
    }
    return taken == 0;
}

/* Walks a free list: `head` is a number + 1. False: it leads nowhere or comes back. */
static bool walk_free(link *l, uint32_t family, uint32_t head, uint32_t units)
{
    wr_family *f = wr_table_family(l->table, family);
    uint32_t   count = f->group[l->group].count;
    while (head != 0) {
        uint32_t number = head - 1;
        if (number >= count || units > count - number || !claim_units(l, family, number, units)) return false;
        memcpy(&head, wr_family_at(f, wr_family_place(f, l->group, number)), 4);
    }
    return true;
}

static const char *link_frees(link *l)
{
    wr_table *table = l->table;
    for (uint32_t i = 1; i < wr_capture_families(table); i++) {
        const wr_family *f = wr_table_family(table, i);
        if (f == NULL) continue;
        if (!clear_bits(l, i, f->group[l->group].count)) return "out of memory";
        if (i > 1 && !walk_free(l, i, f->group[l->group].free, 1)) return "a free list";
    }
    for (uint32_t c = 0; table->has_blobs && c < WR_BLOB_CLASSES; c++) {
        uint32_t head = table->blob_free[l->group * WR_BLOB_CLASSES + c];
        if (!walk_free(l, 1, head, (uint32_t)wr_blob_class_units(c))) return "a free list of strings";
    }
    return "";
}

/* ---- strings ----------------------------------------------------------------------------------------------------- */

static bool link_string(const link *l, char *at)
{
    uint32_t len;
    uint64_t number;
    memcpy(&len, at, 4);
    if (len <= WEIR_STR_INLINE) return true;
    memcpy(&number, at + 8, 8);
    const wr_family *blobs = &l->table->blobs;
    uint64_t         count = blobs->group[l->group].count;
    if (len > WR_CELL_BYTES_MAX || number >= count) return false;
    uint64_t units = wr_blob_class_units(wr_blob_class(len));
    if (units > count - number || !claim_units(l, 1, (uint32_t)number, (uint32_t)units)) return false;
    const char *far = wr_family_at(blobs, wr_family_place(blobs, l->group, (uint32_t)number));
    memcpy(at + 8, &far, sizeof far);
    return true;
}

static bool link_strings(const link *l, uint32_t family, char *entry)
{
    const wr_strings *s = &l->table->strings[family];
    for (uint32_t r = 0; r < s->rows; r++) {
        for (uint32_t k = 0; k < s->count; k++) {
            if (!link_string(l, entry + s->at + (uint64_t)r * s->step + s->offset[k])) return false;
        }
    }
    return true;
}

/* The strings of the rows that are there. */
static bool link_chunk(const link *l, uint32_t family, char *entry, uint32_t first, uint32_t count)
{
    const wr_strings *s = &l->table->strings[family];
    for (uint32_t r = first; s->count != 0 && r < first + count; r++) {
        for (uint32_t k = 0; k < s->count; k++) {
            if (!link_string(l, entry + s->at + (uint64_t)r * s->step + s->offset[k])) return false;
        }
    }
    return true;
}

/* ---- cells ------------------------------------------------------------------------------------------------------- */

static bool link_entry(link *l, const wr_cell_plan *plan, uint32_t family, char *entry)
{
    uint32_t word[4];
    if (plan->kind != WEIR_CELL_LIST) return link_strings(l, family, entry);
    memcpy(word, entry, sizeof word);
    return (uint64_t)word[2] + word[3] <= plan->rows && link_chunk(l, family, entry, word[2], word[3]);
}

static const char *link_cells(link *l, uint32_t family)
{
    wr_cell_plan *plan = &l->table->cell[family - 2];
    uint32_t      count = plan->family.group[l->group].count;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t position = wr_family_place(&plan->family, l->group, i);
        if (is_set(l, family, i)) continue;
        if (!link_entry(l, plan, family, wr_family_at(&plan->family, position))) return "an entry of a cell";
    }
    if (plan->kind != WEIR_CELL_TABLE) return "";
    for (uint32_t from = 0; from < count; from += STRIP) {
        uint64_t hash[STRIP];
        uint32_t position[STRIP], n = 0;
        for (uint32_t i = from; i < count && i < from + STRIP; i++) {
            if (is_set(l, family, i)) continue;
            position[n] = wr_family_place(&plan->family, l->group, i);
            hash[n] = wr_element_hash_at(plan, position[n]);
            wr_index_ask_home(&plan->index, hash[n++]);
        }
        for (uint32_t i = 0; i < n; i++) wr_index_insert(&plan->index, hash[i], position[i]);
    }
    return "";
}

/* ---- keys -------------------------------------------------------------------------------------------------------- */

/* An entry that nobody has claimed and that is not free: now it is claimed. `number` + 1. */
static const char *claim(const link *l, uint32_t family, uint32_t number)
{
    const wr_family *f = wr_table_family(l->table, family);
    if (number == 0 || number > f->group[l->group].count || is_set(l, family, number - 1)) return NULL;
    l->scratch->bits[family][(number - 1) >> 6] |= UINT64_C(1) << ((number - 1) & 63);
    return wr_family_at(f, wr_family_place(f, l->group, number - 1));
}

/* The chunks of a list or elements of a table, from the first to the last: each has one owner, and links both ways. */
static bool claim_chain(const link *l, uint32_t family, const weir_cell *cell, uint64_t id)
{
    bool     list = l->table->cell[family - 2].kind == WEIR_CELL_LIST;
    uint32_t before = 0, at = (uint32_t)cell->body;
    uint64_t rows = 0;
    while (at != 0) {
        uint32_t    word[4];
        uint64_t    own_id;
        const char *entry = claim(l, family, at);
        if (entry == NULL) return false;
        memcpy(word, entry, sizeof word);
        memcpy(&own_id, entry, sizeof own_id);
        const uint32_t *links = list ? word : word + 2; /* the one before, the next one */
        if (links[0] != before || (list ? word[3] == 0 : own_id != id)) return false;
        rows += list ? word[3] : 1;
        before = at;
        at = links[1];
    }
    return before == (uint32_t)(cell->body >> 32) && rows == cell->count;
}

static bool link_state(const link *l, char *entry)
{
    const wr_table *table = l->table;
    uint64_t        id = 0;
    if (table->has_ids) {
        memcpy(&id, entry + table->id_at, sizeof id);
        if (id >> 48 != table->config.group_first + l->group) return false;
    }
    if (table->strings[0].count != 0 && !link_strings(l, 0, entry)) return false;
    for (uint32_t i = 0; i < table->cells; i++) {
        const wr_cell_plan *plan = &table->cell[i];
        weir_cell           cell;
        if (!plan->has_family) continue;
        memcpy(&cell, entry + table->state_at + plan->offset, sizeof cell);
        if (plan->kind != WEIR_CELL_VALUE) {
            if (!claim_chain(l, i + 2, &cell, id)) return false;
        } else if (cell.body != 0 && (cell.body > UINT32_MAX || claim(l, i + 2, (uint32_t)cell.body) == NULL)) {
            return false;
        }
    }
    return true;
}

static const char *link_keys(link *l)
{
    wr_table        *table = l->table;
    const wr_family *entries = &table->entries;
    uint32_t         count = entries->group[l->group].count;
    bool             plain = !table->owns && table->strings[0].count == 0;
    for (uint32_t from = 0; from < count; from += STRIP) {
        uint64_t hash[STRIP];
        uint32_t position[STRIP], n = count - from < STRIP ? count - from : STRIP;
        for (uint32_t i = 0; i < n; i++) {
            position[i] = wr_family_place(entries, l->group, from + i);
            if (!plain && !link_state(l, wr_family_at(entries, position[i]))) return "an entry";
            hash[i] = table->key.count == 0 ? 0 : wr_table_hash_at(table, position[i]);
            if (wr_table_group_of(table, hash[i]) != l->group) return "a key of another key group";
            wr_index_ask_home(&table->index, hash[i]);
        }
        for (uint32_t i = 0; i < n; i++) wr_index_insert(&table->index, hash[i], position[i]);
    }
    table->count += count;
    return "";
}

wr_err wr_group_link(wr_table *table, uint32_t group, wr_linking *scratch, const char *path, wr_errinfo *info)
{
    link        l = {.table = table, .group = group, .scratch = scratch};
    const char *problem = link_frees(&l);
    for (uint32_t i = 2; problem[0] == 0 && i < wr_capture_families(table); i++) {
        if (wr_table_family(table, i) != NULL) problem = link_cells(&l, i);
    }
    if (problem[0] == 0) problem = link_keys(&l);
    if (problem[0] == 0) return WR_OK;
    return wr_fail(info, WR_DAMAGED,
                   "%s: %s of key group %u of operator %s makes no sense; offset %u; restore another "
                   "snapshot",
                   path, problem, table->config.group_first + group, table->config.uid, WR_PAGE_BYTES);
}
