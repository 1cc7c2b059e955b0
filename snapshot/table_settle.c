/* snapshot/table_settle.c: forgetting keys, and what happens between two batches. */
#include "snapshot/table_inner.h"
#include <stdlib.h>

static void *grown(void *array, uint32_t *max, size_t size)
{
    *max = *max == 0 ? 256 : *max * 2;
    array = realloc(array, *max * size);
    check(array != NULL);
    return array;
}

void wr_table_pend(wr_table *table, wr_family *family, uint32_t position, uint32_t class)
{
    if (table->pendings == table->pendings_max)
        table->pending = grown(table->pending, &table->pendings_max, sizeof *table->pending);
    table->pending[table->pendings++] = (wr_pending){family, position, class};
}

void wr_table_forget(wr_table *table, void *state)
{
    if (table->timers != NULL) wr_timers_forgotten(table->timers, state);
    if (table->owns) wr_cells_release(table, state);
    memset(state, 0, table->config.state->size);
    uint32_t position = wr_table_position_of(table, state);
    if (table->forgottens == table->forgottens_max)
        table->forgotten = grown(table->forgotten, &table->forgottens_max, sizeof *table->forgotten);
    uint64_t where = table->entries.where[position >> table->entries.granule_log2];
    table->forgotten[table->forgottens++] = where + (position & ((1u << table->entries.granule_log2) - 1));
}

static void sift(uint64_t *heap, uint32_t at, uint32_t n)
{
    for (uint32_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && heap[child + 1] > heap[child]) child++;
        if (heap[at] >= heap[child]) return;
        uint64_t swap = heap[at];
        heap[at] = heap[child];
        heap[child] = swap;
    }
}

static bool all_zero(const char *bytes, uint32_t n)
{
    uint64_t any = 0, word = 0;
    for (; n >= 8; n -= 8, bytes += 8) {
        memcpy(&word, bytes, 8);
        any |= word;
    }
    word = 0;
    memcpy(&word, bytes, n);
    return (any | word) == 0;
}

/* Takes an entry out; its group's last entry fills the hole. Both positions go through the snapshot hook: the hole
 * is written here, the last one when it is used again. */
static void remove_entry(wr_table *table, uint32_t group, uint32_t number)
{
    wr_family *entries = &table->entries;
    uint32_t   hole = wr_family_place(entries, group, number);
    uint32_t   last = wr_family_place(entries, group, entries->group[group].count - 1);
    char      *entry = wr_family_at(entries, hole);
    for (uint32_t i = 0; i < table->key.count; i++) {
        const weir_str *s = (const weir_str *)(const void *)(entry + table->key.part[i].place);
        if (table->key.part[i].string && s->len > WEIR_STR_INLINE) wr_blob_free(table, s->u.far, s->len);
    }
    wr_index_remove(&table->index, wr_table_hash_at(table, hole), hole);
    if (last != hole) {
        wr_family_touch(entries, hole);
        wr_index_move(&table->index, wr_table_hash_at(table, last), last, hole);
        memcpy(entry, wr_family_at(entries, last), entries->stride);
        if (table->timers != NULL) wr_timers_moved(table->timers, hole);
    }
    wr_family_pop(entries, group);
    table->count--;
}

/* What the removal of the next entries will touch: their buckets, the last entries of their groups and the buckets
 * of those. where: group << 32 | number, ascending; the last ones come first. */
static void ask_removals(const wr_table *table, const uint64_t *where, uint32_t n)
{
    const wr_family *entries = &table->entries;
    uint32_t         last[WR_ASK_AT_ONCE], lasts = 0, before = UINT32_MAX, same = 0;
    for (uint32_t i = n; i-- > 0;) {
        uint32_t group = (uint32_t)(where[i] >> 32), position = wr_family_place(entries, group, (uint32_t)where[i]);
        wr_index_ask_home(&table->index, wr_table_hash_at(table, position));
        same = group == before ? same + 1 : 0;
        before = group;
        if (same >= entries->group[group].count) continue;
        last[lasts] = wr_family_place(entries, group, entries->group[group].count - 1 - same);
        WR_FETCH(wr_family_at(entries, last[lasts++]));
    }
    for (uint32_t i = 0; i < lasts; i++) wr_index_ask_home(&table->index, wr_table_hash_at(table, last[i]));
}

static void sort(uint64_t *where, uint32_t n)
{
    for (uint32_t i = n / 2; i-- > 0;) sift(where, i, n);
    for (uint32_t i = n; i-- > 1;) {
        uint64_t most = where[0];
        where[0] = where[i];
        where[i] = most;
        sift(where, 0, i);
    }
}

/* From the highest number of a group down: so what moves into a hole is never itself still to be removed. */
static void remove_forgotten(wr_table *table)
{
    const wr_family *entries = &table->entries;
    uint64_t        *where = table->forgotten, before = UINT64_MAX;
    uint32_t         n = table->forgottens;
    table->forgottens = 0;
    sort(where, n);
    for (uint32_t done = 0; n > 0; n--, done++) {
        uint32_t ahead = n < WR_ASK_AT_ONCE ? n : WR_ASK_AT_ONCE;
        if (done % WR_ASK_AT_ONCE == 0) ask_removals(table, where + n - ahead, ahead);
        if (where[n - 1] == before) continue; /* forgotten twice */
        before = where[n - 1];
        uint32_t    group = (uint32_t)(before >> 32), number = (uint32_t)before;
        const char *entry = wr_family_at(entries, wr_family_place(entries, group, number));
        if (all_zero(entry + table->state_at, table->config.state->size)) remove_entry(table, group, number);
    }
    table->generation++;
}

void wr_table_settle(wr_table *table)
{
    if (__builtin_expect((table->forgottens | table->pendings) == 0, 1)) return;
    if (table->forgottens != 0) remove_forgotten(table);
    for (uint32_t i = 0; i < table->pendings; i++) {
        const wr_pending *pending = &table->pending[i];
        if (pending->family == &table->blobs)
            wr_blob_give(table, pending->position, pending->class);
        else
            wr_family_give(pending->family, pending->position);
    }
    table->pendings = 0;
}
