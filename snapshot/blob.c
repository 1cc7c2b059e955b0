/* snapshot/blob.c: immutable bytes of strings, in units of 16 bytes and size classes, per key group. Up to 8 KiB a
 * blob lies in one region, above it is a run of regions. A blob never moves. Freed ones join the free list of their
 * class and group. */
#include "base/limits.h"
#include "base/mem.h"
#include "snapshot/table_inner.h"

#define REGION_UNITS (WR_REGION_BYTES / WR_BLOB_UNIT)
#define SMALL_UNITS  (REGION_UNITS / 2)

/* Classes have 1, 2, 3, 4, 6, 8, 12 ... units, from half a region up in whole regions. */
static uint32_t nominal_units(uint32_t class)
{
    if (class == 0) return 1;
    return (class & 1) != 0 ? 1u << ((class + 1) / 2) : 3u << (class / 2 - 1);
}

uint64_t wr_blob_class_units(uint32_t class)
{
    uint64_t units = nominal_units(class);
    return units <= SMALL_UNITS ? units : (units + REGION_UNITS - 1) / REGION_UNITS * REGION_UNITS;
}

uint32_t wr_blob_class(uint32_t len)
{
    uint32_t units = (len + WR_BLOB_UNIT - 1) / WR_BLOB_UNIT;
    if (units <= 1) return 0;
    uint32_t log2 = 31 - (uint32_t)__builtin_clz(units); /* 2^log2 <= units */
    uint32_t class = 2 * log2 - 1;
    return class + (units > 1u << log2) + (units > (1u << log2) + (1u << (log2 - 1)));
}

wr_err wr_blobs_init(wr_table *table, wr_errinfo *info)
{
    const wr_table_config *config = &table->config;
    WR_TRY(wr_family_init(&table->blobs, WR_BLOB_UNIT, table->groups, config->budget, &table->bytes,
                          config->large_pages, info));
    table->blob_free_bytes = (uint64_t)table->groups * WR_BLOB_CLASSES * sizeof *table->blob_free;
    table->blob_free = wr_mem_reserve(table->blob_free_bytes);
    if (table->blob_free == NULL)
        return wr_fail(info, WR_MEMORY, "no address space left for a table; raise the limit (ulimit -v)");
    return WR_OK;
}

void wr_blobs_fini(wr_table *table)
{
    if (table->has_blobs) wr_family_fini(&table->blobs);
    wr_mem_release(table->blob_free, table->blob_free_bytes);
    table->blob_free = NULL;
}

static void put_free(wr_table *table, uint32_t group, uint32_t number, uint32_t class)
{
    uint32_t  position = wr_family_place(&table->blobs, group, number);
    uint32_t *head = &table->blob_free[group * WR_BLOB_CLASSES + class];
    wr_family_touch(&table->blobs, position);
    memcpy(wr_family_at(&table->blobs, position), head, 4);
    *head = number + 1;
}

void wr_blob_give(wr_table *table, uint32_t position, uint32_t class)
{
    put_free(table, wr_family_group_of(&table->blobs, position), wr_family_number_of(&table->blobs, position), class);
}

/* What is left of the group's newest region becomes small free blobs. */
static void use_up(wr_table *table, uint32_t group)
{
    wr_group *g = &table->blobs.group[group];
    while (g->tail != g->end) {
        uint32_t left = g->end - g->tail, class = 0;
        while (class + 1 < WR_BLOB_CLASSES && nominal_units(class + 1) <= left &&
               nominal_units(class + 1) <= SMALL_UNITS)
            class ++;
        uint32_t number = g->count;
        g->count += nominal_units(class);
        g->tail += nominal_units(class);
        put_free(table, group, number, class);
    }
}

static uint32_t take_run(wr_table *table, uint32_t group, uint32_t regions)
{
    wr_family *blobs = &table->blobs;
    wr_group  *g = &blobs->group[group];
    use_up(table, group);
    while (g->count >> blobs->full_log2 == 0) { /* runs begin behind the small first regions */
        wr_family_advance(blobs, group);
        use_up(table, group);
    }
    uint32_t number = g->count;
    wr_family_grow(blobs, group, regions);
    g->count += regions * REGION_UNITS;
    wr_family_retail(blobs, group);
    return wr_family_place(blobs, group, number);
}

static uint32_t take_new(wr_table *table, uint32_t group, uint32_t units)
{
    wr_family *blobs = &table->blobs;
    wr_group  *g = &blobs->group[group];
    if (units > SMALL_UNITS) return take_run(table, group, units / REGION_UNITS);
    while (g->end - g->tail < units) {
        use_up(table, group);
        wr_family_advance(blobs, group);
    }
    uint32_t position = g->tail;
    g->tail += units;
    g->count += units;
    return position;
}

char *wr_blob_new(wr_table *table, uint32_t group, const char *bytes, uint32_t len)
{
    dcheck(len > WEIR_STR_INLINE && len <= WR_CELL_BYTES_MAX);
    uint32_t class = wr_blob_class(len), units = (uint32_t)wr_blob_class_units(class);
    uint32_t *head = &table->blob_free[group * WR_BLOB_CLASSES + class];
    uint32_t  position;
    if (*head != 0) {
        position = wr_family_place(&table->blobs, group, *head - 1);
        memcpy(head, wr_family_at(&table->blobs, position), 4);
    } else {
        position = take_new(table, group, units);
    }
    wr_family_touch_run(&table->blobs, position, (len + WR_BLOB_UNIT - 1) / WR_BLOB_UNIT);
    char *blob = wr_family_at(&table->blobs, position);
    memcpy(blob, bytes, len);
    return blob;
}

void wr_blob_free(wr_table *table, const char *bytes, uint32_t len)
{
    uint32_t class = wr_blob_class(len);
    wr_table_pend(table, &table->blobs, wr_family_position(&table->blobs, bytes), class);
}
