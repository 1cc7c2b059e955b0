/* snapshot/ttl.c: times to live: stamps of keys, what is over when a key is met, and the sweep. */
#include "base/limits.h"
#include "snapshot/table_inner.h"
#include <xxhash.h>

bool wr_table_expires(const wr_table *table)
{
    return table->expires;
}

void wr_table_now(wr_table *table, int64_t now_ns)
{
    table->now_ns = now_ns;
}

static inline char *stamp_of(const wr_table *table, const void *state)
{
    return wr_table_entry_of(table, state) + table->stamp_at;
}

static inline bool key_over(const wr_table *table, const char *entry)
{
    int64_t stamp;
    memcpy(&stamp, entry + table->stamp_at, 8);
    return wr_ttl_over(table, stamp, table->config.ttl_ns);
}

bool wr_ttl_gone(const wr_table *table, uint32_t position)
{
    return key_over(table, wr_family_at(&table->entries, position));
}

/* ---- when a key is met ------------------------------------------------------------------------------------------- */

static bool cells_over(const wr_table *table, const void *state)
{
    for (uint32_t i = 0; i < table->cells; i++) {
        const wr_cell_plan *plan = &table->cell[i];
        const weir_cell    *cell = (const weir_cell *)(const void *)((const char *)state + plan->offset);
        if (plan->ttl_ns == 0) continue;
        if (plan->kind == WEIR_CELL_LIST && wr_list_expired(table, state, plan, cell)) return true;
        if (plan->kind == WEIR_CELL_TABLE && wr_element_expired(table, plan, cell)) return true;
    }
    return false;
}

void wr_ttl_cells(wr_table *table, void *state)
{
    for (uint32_t i = 0; i < table->cells; i++) {
        wr_cell_plan *plan = &table->cell[i];
        weir_cell    *cell = (weir_cell *)(void *)((char *)state + plan->offset);
        if (plan->ttl_ns == 0) continue;
        if (plan->kind == WEIR_CELL_LIST)
            wr_list_expire(table, state, plan, cell);
        else if (plan->kind == WEIR_CELL_TABLE && wr_element_expired(table, plan, cell))
            wr_element_expire(table, state, plan, cell);
    }
}

/* A state whose time is over begins anew. */
static void begin_anew(wr_table *table, void *state)
{
    if (table->timers != NULL) wr_timers_forgotten(table->timers, state);
    if (table->owns) wr_cells_release(table, state);
    memset(state, 0, table->config.state->size);
}

void wr_ttl_found(wr_table *table, void *const *state, uint8_t *fresh, uint32_t n)
{
    bool read = table->config.ttl_rule == WEIR_TTL_ON_READ;
    for (uint32_t i = 0; i < n; i++) {
        bool over = table->stamp_at != 0 && key_over(table, wr_table_entry_of(table, state[i]));
        if (over) {
            begin_anew(table, state[i]);
            if (fresh != NULL) fresh[i] = 1;
        } else {
            wr_ttl_cells(table, state[i]);
        }
        if (table->stamp_at != 0 && (over || read)) memcpy(stamp_of(table, state[i]), &table->now_ns, 8);
    }
}

void wr_ttl_read(wr_table *table, void *const *state, uint32_t n)
{
    bool stamps = table->stamp_at != 0 && table->config.ttl_rule == WEIR_TTL_ON_READ;
    for (uint32_t i = 0; i < n; i++) {
        wr_ttl_cells(table, state[i]);
        if (stamps) memcpy(stamp_of(table, state[i]), &table->now_ns, 8);
    }
}

/* ---- whether a function has written ------------------------------------------------------------------------------ */

static bool asks_for_writes(const wr_table *table)
{
    return table->stamp_at != 0 && table->config.ttl_rule == WEIR_TTL_ON_WRITE;
}

void wr_ttl_before(const wr_table *table, void *const *state, const uint32_t *pick, uint32_t n, uint64_t *seen)
{
    if (!asks_for_writes(table)) return;
    for (uint32_t i = 0; i < n; i++)
        seen[i] = XXH3_64bits(state[pick != NULL ? pick[i] : i], table->config.state->size);
}

void wr_ttl_after(wr_table *table, void *const *state, const uint32_t *pick, uint32_t n, const uint64_t *seen)
{
    if (!asks_for_writes(table)) return;
    for (uint32_t i = 0; i < n; i++) {
        void *at = state[pick != NULL ? pick[i] : i];
        if (XXH3_64bits(at, table->config.state->size) != seen[i]) memcpy(stamp_of(table, at), &table->now_ns, 8);
    }
}

/* ---- sweep ------------------------------------------------------------------------------------------------------- */

bool wr_ttl_sweep(wr_table *table, uint32_t entries)
{
    void    *state[64];
    uint32_t group, n = 0, at = table->sweep.group;
    if (at < table->groups && table->sweep.left > table->entries.group[at].count)
        table->sweep.left = table->entries.group[at].count; /* others have forgotten keys in the meantime */
    for (uint32_t done = 0; done < entries; done += n) {
        n = wr_table_sweep_next(table, &table->sweep, state, 64, &group);
        if (n == 0) {
            table->sweep = (wr_table_sweep){0};
            return true;
        }
        for (uint32_t i = 0; i < n; i++) {
            bool over = table->stamp_at != 0 && key_over(table, wr_table_entry_of(table, state[i]));
            if (!over && !cells_over(table, state[i])) continue;
            wr_table_touch(table, &state[i], 1);
            if (over)
                wr_table_forget(table, state[i]);
            else
                wr_ttl_cells(table, state[i]);
        }
        wr_table_settle(table);
    }
    return false;
}

void wr_ttl_sweep_anew(wr_table *table)
{
    table->sweep = (wr_table_sweep){0};
}

void wr_ttl_loaded(wr_table *table)
{
    void         *state[64];
    wr_table_scan scan = {0};
    bool          any = false;
    for (uint32_t i = 0; i < table->cells; i++)
        any |= table->cell[i].kind == WEIR_CELL_TABLE && table->cell[i].ttl_ns != 0;
    for (uint32_t n; any && (n = wr_table_scan_next(table, &scan, state, NULL, 64)) != 0;) {
        for (uint32_t i = 0; i < n * table->cells; i++) {
            const wr_cell_plan *plan = &table->cell[i % table->cells];
            weir_cell          *cell = (weir_cell *)(void *)((char *)state[i / table->cells] + plan->offset);
            if (plan->kind == WEIR_CELL_TABLE && plan->ttl_ns != 0) cell->flags = 0;
        }
    }
}
