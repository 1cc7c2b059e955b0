/* snapshot/table.c: making and freeing, and the walk over all entries. */
#include "base/limits.h"
#include "base/mem.h"
#include "snapshot/table_inner.h"
#include <stdlib.h>

/* ---- making and freeing ------------------------------------------------------------------------------------------ */

static wr_err check_config(const wr_table_config *config, wr_errinfo *info)
{
    check(config->record != NULL && config->state != NULL && config->budget != NULL && config->uid != NULL);
    check(config->group_first < config->group_end && config->group_end <= config->max_parallelism);
    check(config->max_parallelism <= WR_PARALLELISM_MAX);
    if (config->state->size > WR_STATE_BYTES_MAX)
        return wr_fail(info, WR_LIMIT, "state %s of operator %s has %u bytes; at most %d; use a list or a table",
                       config->state->name, config->uid, config->state->size, WR_STATE_BYTES_MAX);
    check(config->state->fields <= WR_FIELDS_MAX);
    return WR_OK;
}

static void lay_out(wr_table *table)
{
    uint32_t at = table->key.bytes;
    table->id_at = at;
    if (table->has_ids) at += 8;
    if (table->config.ttl_ns != 0) {
        table->stamp_at = at;
        table->expires = true;
        at += 8;
    }
    table->state_at = at;
}

/* The hashes of key groups [first, end). */
static void hash_range(const wr_table_config *config, uint64_t *low, uint64_t *range)
{
    uint64_t groups = config->max_parallelism;
    uint64_t from = (((uint64_t)config->group_first << 32) + groups - 1) / groups;
    uint64_t to = (((uint64_t)config->group_end << 32) + groups - 1) / groups;
    *low = from << 32;
    *range = (to - from) << 32; /* 0 when it is all of them */
}

static uint64_t hash_at(const void *table, uint32_t position)
{
    return wr_table_hash_at(table, position);
}

static wr_err init(wr_table *table, wr_errinfo *info)
{
    const wr_table_config *config = &table->config;
    WR_TRY(check_config(config, info));
    WR_TRY(wr_key_layout_of(&table->key, &config->key, info));
    WR_TRY(wr_cells_init(table, info));
    lay_out(table);
    uint32_t stride = wr_family_stride((uint64_t)table->state_at + config->state->size);
    WR_TRY(wr_family_init(&table->entries, stride, table->groups, config->budget, &table->bytes, config->large_pages,
                          info));
    if (table->has_blobs) WR_TRY(wr_blobs_init(table, info));
    if (table->has_ids) {
        table->ids = calloc(table->groups, sizeof *table->ids);
        if (table->ids == NULL) return wr_fail(info, WR_MEMORY, "out of memory: a table of operator %s", config->uid);
    }
    uint64_t low, range;
    hash_range(config, &low, &range);
    if (table->key.count == 0) low = range = 0;
    if (table->key.shape == WR_KEY_STRING)
        table->find = wr_find_string();
    else if (table->key.shape != WR_KEY_NONE)
        table->find = wr_find_integer();
    if (table->key.shape == WR_KEY_INTEGER) table->find_place = wr_find_in_place();
    return wr_index_init(&table->index, low, range, hash_at, table, &table->entries, info);
}

wr_err wr_table_new(wr_table **take, const wr_table_config *config, wr_errinfo *info)
{
    *take = NULL;
    wr_table *table = calloc(1, sizeof *table);
    if (table == NULL) return wr_fail(info, WR_MEMORY, "out of memory: a table of operator %s", config->uid);
    table->config = *config;
    table->groups = config->group_end - config->group_first;
    table->generation = 1;
    wr_err err = init(table, info);
    if (err != WR_OK) {
        wr_table_free(table);
        return err;
    }
    *take = table;
    return WR_OK;
}

void wr_table_free(wr_table *table)
{
    if (table == NULL) return;
    wr_capture_fini(table);
    wr_index_fini(&table->index);
    wr_family_fini(&table->entries);
    wr_blobs_fini(table);
    wr_cells_fini(table);
    table->config.budget->bytes -= table->bytes;
    free(table->ids);
    free(table->pending);
    free(table->forgotten);
    free(table);
}

uint64_t wr_table_count(const wr_table *table)
{
    return table->count;
}
uint64_t wr_table_generation(const wr_table *table)
{
    return table->generation;
}
uint64_t wr_table_bytes(const wr_table *table)
{
    return table->bytes;
}
uint32_t wr_table_state_size(const wr_table *table)
{
    return table->config.state->size;
}
const wr_table_config *wr_table_config_of(const wr_table *table)
{
    return &table->config;
}

/* ---- scan -------------------------------------------------------------------------------------------------------- */

/* The keys of n entries that lie side by side, as records. */
static void scatter_keys(const wr_table *table, const char *entry, uint32_t n, char *record)
{
    uint64_t size = table->config.record->size, stride = table->entries.stride;
    uint32_t kind = table->key.part[0].kind;
    memset(record, 0, n * size);
    if (table->key.shape == WR_KEY_INTEGER && (kind == WEIR_U64 || kind == WEIR_I64 || kind == WEIR_TIME)) {
        record += table->key.part[0].offset;
        for (uint32_t i = 0; i < n; i++) memcpy(record + i * size, entry + i * stride, 8);
        return;
    }
    for (uint32_t i = 0; i < n; i++) wr_key_scatter(&table->key, entry + i * stride, record + i * size);
}

uint32_t wr_table_scan_next(wr_table *table, wr_table_scan *scan, void **state, void *keys, uint32_t n)
{
    const wr_family *entries = &table->entries;
    uint32_t         count = 0;
    while (count < n && scan->group < table->groups) {
        const wr_group *group = &entries->group[scan->group];
        if (scan->entry >= group->count) {
            scan->group++;
            scan->entry = 0;
            continue;
        }
        uint32_t first, region = wr_family_region_of(entries, scan->entry, &first);
        uint32_t end = first + wr_family_region_entries(entries, region);
        if (end > group->count) end = group->count;
        if (end - scan->entry > n - count) end = scan->entry + (n - count);
        const char *entry = wr_family_at(entries, group->region[region] + (scan->entry - first));
        uint32_t    more = end - scan->entry;
        if (keys != NULL) scatter_keys(table, entry, more, (char *)keys + (uint64_t)count * table->config.record->size);
        for (uint32_t i = 0; i < more; i++)
            state[count++] = (void *)(uintptr_t)(entry + (uint64_t)i * entries->stride + table->state_at);
        scan->entry = end;
    }
    return count;
}

char *wr_table_walk_next(const wr_table *table, wr_table_walk *walk, uint32_t most, uint32_t *n)
{
    const wr_family *entries = &table->entries;
    uint32_t         log2 = entries->granule_log2, end = (uint32_t)(entries->next >> log2);
    dcheck(most >= WR_TABLE_RUN_MIN && 1u << log2 <= WR_TABLE_RUN_MIN);
    *n = 0;
    if (walk->granule == 0) walk->granule = 1; /* position 0 is nobody's */
    while (walk->granule < end) {
        uint64_t where = entries->where[walk->granule];
        uint32_t all = entries->group[where >> 32].count, number = (uint32_t)where, first;
        uint32_t region = wr_family_region_of(entries, number, &first);
        uint32_t there = all > number ? all - number : 0; /* of a region, the first ones are in use */
        uint32_t room = first + wr_family_region_entries(entries, region) - number;
        char    *state = wr_family_at(entries, walk->granule << log2) + table->state_at;
        if (room > most) room = most >> log2 << log2;
        walk->granule += room >> log2;
        *n = there < room ? there : room;
        if (*n != 0) return state;
    }
    return NULL;
}

uint32_t wr_table_stride(const wr_table *table)
{
    return table->entries.stride;
}

uint32_t wr_table_sweep_next(wr_table *table, wr_table_sweep *sweep, void **state, uint32_t n, uint32_t *group)
{
    const wr_family *entries = &table->entries;
    for (; sweep->group < table->groups; sweep->group++, sweep->inside = false) {
        const wr_group *in = &entries->group[sweep->group];
        if (!sweep->inside) sweep->left = in->count;
        sweep->inside = true;
        if (sweep->left == 0) continue;
        uint32_t first, region = wr_family_region_of(entries, sweep->left - 1, &first);
        uint32_t from = sweep->left > n && sweep->left - n > first ? sweep->left - n : first, more = sweep->left - from;
        const char *entry = wr_family_at(entries, in->region[region] + (from - first));
        for (uint32_t i = 0; i < more; i++)
            state[i] = (void *)(uintptr_t)(entry + (uint64_t)i * entries->stride + table->state_at);
        sweep->left = from;
        *group = sweep->group + table->config.group_first;
        return more;
    }
    return 0;
}

void wr_table_put_keys(const wr_table *table, void *const *state, uint32_t n, void *keys)
{
    uint64_t size = table->config.record->size;
    uint32_t kind = table->key.part[0].kind;
    char    *record = keys;
    if (table->key.shape == WR_KEY_INTEGER && (kind == WEIR_U64 || kind == WEIR_I64 || kind == WEIR_TIME)) {
        record += table->key.part[0].offset;
        for (uint32_t i = 0; i < n; i++) memcpy(record + i * size, wr_table_entry_of(table, state[i]), 8);
        return;
    }
    for (uint32_t i = 0; i < n; i++) wr_key_scatter(&table->key, wr_table_entry_of(table, state[i]), record + i * size);
}

void wr_table_keys(const wr_table *table, void *const *state, uint32_t n, void *keys)
{
    memset(keys, 0, (uint64_t)n * table->config.record->size);
    wr_table_put_keys(table, state, n, keys);
}

uint64_t wr_table_hash_of(const wr_table *table, const void *state)
{
    return table->key.count == 0 ? 0 : wr_table_hash_at(table, wr_table_position_of(table, state));
}

uint32_t wr_table_by_hash(const wr_table *table, uint64_t hash, void **state, uint32_t n)
{
    uint32_t found = 0;
    if (table->key.count == 0) {
        if (table->count == 0) return 0;
        state[0] = wr_family_at(&table->entries, wr_family_place(&table->entries, 0, 0)) + table->state_at;
        return 1;
    }
    wr_probe probe = wr_probe_begin(&table->index, hash);
    for (uint32_t position; found < n && (position = wr_probe_next(&probe)) != 0;) {
        if (wr_table_hash_at(table, position) == hash)
            state[found++] = wr_family_at(&table->entries, position) + table->state_at;
    }
    return found;
}
