/* snapshot/element.c: tables in a state: elements under (id of the key, key of the element), found by an index of
 * the operator and linked with the others of their key in order of first put. The cell's body holds the numbers (+
 * 1) of the first element and, shifted by 32, of the last. */
#include "base/limits.h"
#include "snapshot/table_inner.h"

typedef struct element {
    uint64_t id;
    uint32_t prev, next; /* number + 1 in the group; 0: none */
} element;

static element *element_at(const wr_cell_plan *plan, uint32_t position)
{
    return (element *)(void *)wr_family_at(&plan->family, position);
}

static char *record_of(const wr_cell_plan *plan, const element *e)
{
    return (char *)(uintptr_t)e + plan->record_at;
}

static int64_t stamp_of(const wr_cell_plan *plan, const element *e)
{
    int64_t stamp;
    memcpy(&stamp, (const char *)e + plan->stamp_at, 8);
    return stamp;
}

static uint32_t position_of(const wr_cell_plan *plan, uint32_t group, uint32_t link)
{
    return wr_family_place(&plan->family, group, link - 1);
}

static element *open_element(wr_cell_plan *plan, uint32_t group, uint32_t link)
{
    uint32_t position = position_of(plan, group, link);
    wr_family_touch(&plan->family, position);
    return element_at(plan, position);
}

static uint64_t id_of(const wr_table *table, const void *state)
{
    uint64_t id;
    memcpy(&id, wr_table_entry_of(table, state) + table->id_at, 8);
    return id;
}

static uint64_t hash_of(const wr_cell_plan *plan, uint64_t id, const void *packed)
{
    return wr_hash_fold(wr_fmix64(id), wr_key_hash_packed(&plan->key, packed));
}

uint64_t wr_element_hash_at(const void *self, uint32_t position)
{
    const wr_cell_plan *plan = self;
    const element      *e = element_at(plan, position);
    uint64_t            packed[2];
    wr_key_pack(&plan->key, record_of(plan, e), packed);
    return hash_of(plan, e->id, packed);
}

/* Position of the element, or 0. packed: the key as in entries. */
static uint32_t find(const wr_cell_plan *plan, uint64_t id, const void *packed, uint64_t hash)
{
    wr_probe probe = wr_probe_begin(&plan->index, hash);
    for (uint32_t position; (position = wr_probe_next(&probe)) != 0;) {
        const element *e = element_at(plan, position);
        if (e->id != id) continue;
        uint64_t theirs[2];
        wr_key_pack(&plan->key, record_of(plan, e), theirs);
        if (wr_key_equal(&plan->key, packed, theirs)) return position;
    }
    return 0;
}

/* A key by itself, as the caller of get and remove has it. */
static void pack_key(const wr_cell_plan *plan, const void *key, uint64_t packed[2])
{
    wr_key_pack(&plan->key, (const char *)key - plan->key.part[0].offset, packed);
}

static wr_cell_plan *table_plan(const wr_table *table, const void *state, const weir_cell *cell)
{
    wr_cell_plan *plan = wr_cell_of(table, state, cell);
    check(plan->kind == WEIR_CELL_TABLE);
    return plan;
}

const void *wr_cell_table_get(const wr_table *table, const void *state, const weir_cell *cell, const void *key)
{
    const wr_cell_plan *plan = table_plan(table, state, cell);
    if (cell->count == 0) return NULL;
    uint64_t packed[2], id = id_of(table, state);
    pack_key(plan, key, packed);
    uint32_t position = find(plan, id, packed, hash_of(plan, id, packed));
    if (position == 0) return NULL;
    const element *e = element_at(plan, position);
    return plan->ttl_ns != 0 && wr_ttl_over(table, stamp_of(plan, e), plan->ttl_ns) ? NULL : record_of(plan, e);
}

static void link_last(wr_cell_plan *plan, uint32_t group, weir_cell *cell, uint32_t position)
{
    uint32_t link = wr_family_number_of(&plan->family, position) + 1, last = (uint32_t)(cell->body >> 32);
    element_at(plan, position)->prev = last;
    if (last != 0) open_element(plan, group, last)->next = link;
    cell->body = (uint64_t)link << 32 | (last == 0 ? link : (uint32_t)cell->body);
    cell->count++;
}

/* The cell's flags tell the oldest stamp of its elements, or an older one, in units of 2^stamp_log2 ns, modulo 2^32 and
 * plus 1; 0: not known. Since stamps are whole units, a walk that looks for what is over is due at most about a hundred
 * times in a time to live. */
static uint32_t flags_of(const wr_cell_plan *plan, int64_t stamp)
{
    uint32_t flags = (uint32_t)(stamp >> plan->stamp_log2) + 1;
    return flags == 0 ? 1 : flags;
}

static void put_stamp(const wr_table *table, const wr_cell_plan *plan, element *e, weir_cell *cell)
{
    int64_t  unit = INT64_C(1) << plan->stamp_log2, stamp = (table->now_ns + unit - 1) & ~(unit - 1);
    uint32_t flags = flags_of(plan, stamp);
    memcpy((char *)e + plan->stamp_at, &stamp, 8);
    if (cell->count == 0 || (cell->flags != 0 && (int32_t)(flags - cell->flags) < 0)) cell->flags = flags;
}

wr_err wr_cell_table_put(wr_table *table, void *state, weir_cell *cell, const void *record)
{
    wr_cell_plan *plan = table_plan(table, state, cell);
    uint32_t      group = wr_table_state_group(table, state), size = plan->element->size;
    for (uint32_t i = 0; i < plan->strings; i++) {
        if (((const weir_str *)(const void *)((const char *)record + plan->string[i]))->len > WR_CELL_BYTES_MAX)
            return WR_RECORD_TOO_LARGE;
    }
    uint64_t packed[2], id = id_of(table, state);
    wr_key_pack(&plan->key, record, packed);
    uint64_t hash = hash_of(plan, id, packed);
    uint32_t position = cell->count == 0 ? 0 : find(plan, id, packed, hash);
    bool     known = position != 0;
    if (!known) {
        if (cell->count == UINT32_MAX) return WR_RECORD_TOO_LARGE;
        position = wr_family_take(&plan->family, group);
        memset(wr_family_at(&plan->family, position), 0, plan->family.stride);
    } else {
        wr_family_touch(&plan->family, position);
    }
    element *e = element_at(plan, position);
    if (known) wr_cell_free_strings(table, plan, record_of(plan, e)); /* at settle: `record` may still point at them */
    memmove(record_of(plan, e), record, size);
    if (plan->strings != 0) (void)wr_cell_own_strings(table, group, plan, record_of(plan, e));
    if (plan->ttl_ns != 0) put_stamp(table, plan, e, cell);
    wr_table_wrote(table, state);
    if (known) return WR_OK;
    e->id = id;
    link_last(plan, group, cell, position);
    wr_index_insert(&plan->index, hash, position);
    return WR_OK;
}

static void drop(wr_table *table, wr_cell_plan *plan, uint32_t group, weir_cell *cell, uint32_t position)
{
    const element *e = element_at(plan, position);
    uint32_t       first = (uint32_t)cell->body, last = (uint32_t)(cell->body >> 32);
    wr_index_remove(&plan->index, wr_element_hash_at(plan, position), position);
    wr_cell_free_strings(table, plan, record_of(plan, e));
    if (e->prev != 0)
        open_element(plan, group, e->prev)->next = e->next;
    else
        first = e->next;
    if (e->next != 0)
        open_element(plan, group, e->next)->prev = e->prev;
    else
        last = e->prev;
    cell->body = (uint64_t)last << 32 | first;
    cell->count--;
    wr_table_pend(table, &plan->family, position, 0);
}

bool wr_cell_table_remove(wr_table *table, void *state, weir_cell *cell, const void *key)
{
    wr_cell_plan *plan = table_plan(table, state, cell);
    if (cell->count == 0) return false;
    uint64_t packed[2], id = id_of(table, state);
    pack_key(plan, key, packed);
    uint32_t position = find(plan, id, packed, hash_of(plan, id, packed));
    if (position == 0) return false;
    drop(table, plan, wr_table_state_group(table, state), cell, position);
    return true;
}

void wr_element_clear(wr_table *table, void *state, wr_cell_plan *plan, weir_cell *cell)
{
    uint32_t group = wr_table_state_group(table, state);
    for (uint32_t link = (uint32_t)cell->body; link != 0;) {
        uint32_t       position = position_of(plan, group, link);
        const element *e = element_at(plan, position);
        link = e->next;
        wr_index_remove(&plan->index, wr_element_hash_at(plan, position), position);
        wr_cell_free_strings(table, plan, record_of(plan, e));
        wr_table_pend(table, &plan->family, position, 0);
    }
    *cell = (weir_cell){0};
}

bool wr_element_refill(wr_cell_plan *plan, weir_rows *rows)
{
    uint32_t       group = (uint32_t)(rows->reserved[0] >> 32), link = (uint32_t)rows->reserved[0];
    const element *e = element_at(plan, position_of(plan, group, link));
    rows->at = record_of(plan, e);
    rows->end = rows->at + plan->element->size;
    if (rows->left != 0) rows->left--;
    rows->reserved[1] = link;
    rows->reserved[0] = (uint64_t)group << 32 | e->next;
    return true;
}

void wr_element_rows_remove(wr_table *table, void *state, wr_cell_plan *plan, weir_cell *cell, weir_rows *rows)
{
    uint32_t group = wr_table_state_group(table, state);
    drop(table, plan, group, cell, position_of(plan, group, (uint32_t)rows->reserved[1]));
    rows->reserved[1] = 0;
}

bool wr_element_expired(const wr_table *table, const wr_cell_plan *plan, const weir_cell *cell)
{
    if (cell->count == 0) return false;
    if (cell->flags == 0) return true;
    return (int32_t)(flags_of(plan, table->now_ns - plan->ttl_ns) - cell->flags) >= 0;
}

void wr_element_expire(wr_table *table, void *state, wr_cell_plan *plan, weir_cell *cell)
{
    uint32_t group = wr_table_state_group(table, state);
    int64_t  oldest = INT64_MAX;
    for (uint32_t link = (uint32_t)cell->body; link != 0;) {
        uint32_t       position = position_of(plan, group, link);
        const element *e = element_at(plan, position);
        int64_t        stamp = stamp_of(plan, e);
        link = e->next;
        if (wr_ttl_over(table, stamp, plan->ttl_ns))
            drop(table, plan, group, cell, position);
        else if (stamp < oldest)
            oldest = stamp;
    }
    cell->flags = cell->count == 0 ? 0 : flags_of(plan, oldest);
}
