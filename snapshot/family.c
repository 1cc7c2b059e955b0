/* snapshot/family.c: regions of key groups, and what is remembered of them before they change. */
#include "snapshot/family.h"
#include "base/mem.h"
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define RANGE_BYTES_MAX  (UINT64_C(256) << 30)
#define RANGE_BYTES_MIN  (UINT64_C(64) << 20)
#define SCARCE_SHARE     8u
#define AHEAD_FROM_BYTES (UINT64_C(8) << 20) /* the helper's lead must not dwarf the table */
#define HUGE_FROM_BYTES  (UINT64_C(1) << 20) /* smaller tables must not take 2 MiB each */

void wr_budget_add(wr_budget *budget, uint64_t *table_bytes, int64_t bytes)
{
    *table_bytes += (uint64_t)bytes;
    budget->bytes += (uint64_t)bytes;
    if (budget->bytes_max != 0 && budget->bytes > budget->bytes_max) budget->exceeded = true;
}

/* Where address space is scarce (ulimit -v, valgrind), whoever came first would take all of it: an eighth of what there
 * is leaves enough for those that come. */
uint64_t wr_family_reserve(void **at, uint64_t most, uint64_t least)
{
    uint64_t bytes = most;
    while ((*at = wr_mem_reserve(bytes)) == NULL) {
        if (bytes / 2 < least) return 0;
        bytes /= 2;
    }
    if (bytes == most || bytes / SCARCE_SHARE < least) return bytes;
    wr_mem_release(*at, bytes);
    bytes = bytes / SCARCE_SHARE & ~(uint64_t)(WR_HUGE_BYTES - 1);
    *at = wr_mem_reserve(bytes);
    return *at != NULL ? bytes : 0;
}

/* No table is larger than the machine's memory or its budget; address space is not free either. */
uint64_t wr_family_range_bytes(const wr_budget *budget)
{
    uint64_t bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t bound = budget->bytes_max * 2 + (UINT64_C(512) << 20);
    if (budget->bytes_max != 0 && bound < bytes) bytes = bound;
    if (bytes > RANGE_BYTES_MAX) bytes = RANGE_BYTES_MAX;
    if (bytes < RANGE_BYTES_MIN) bytes = RANGE_BYTES_MIN;
    return bytes & ~(uint64_t)(WR_HUGE_BYTES - 1);
}

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

void wr_family_huge(void *base, uint64_t bytes)
{
    wr_mem_huge(base, bytes);
    (void)madvise(base, WR_HUGE_BYTES,
                  MADV_COLLAPSE); /* advice: an older kernel refuses, and the table works as well */
}

void wr_family_ahead(wr_ahead_range *range, const wr_budget *budget, void *base, uint64_t bytes, uint64_t used)
{
    if (range->ahead != NULL)
        wr_ahead_used(range, used);
    else if (budget->ahead != NULL && used >= AHEAD_FROM_BYTES)
        wr_ahead_add(budget->ahead, range, base, bytes, used);
}

static uint64_t inverse_of_odd(uint64_t odd)
{
    uint64_t inverse = odd; /* right in 3 bits; each step doubles them */
    for (int i = 0; i < 5; i++) inverse *= 2 - odd * inverse;
    return inverse;
}

static void set_shape(wr_family *family, uint32_t stride)
{
    family->stride = stride;
    family->stride_log2 = (uint32_t)__builtin_ctz(stride);
    family->stride_odd = inverse_of_odd(stride >> family->stride_log2);
    while (((uint64_t)stride << (family->full_log2 + 1)) <= WR_REGION_BYTES) family->full_log2++;
    while (family->granule_log2 < family->full_log2 && (stride << family->granule_log2) < WR_GRANULE_BYTES)
        family->granule_log2++;
}

wr_err wr_family_init(wr_family *family, uint32_t stride, uint32_t groups, wr_budget *budget, uint64_t *table_bytes,
                      bool large, wr_errinfo *info)
{
    check(stride >= 8 && (stride > 64 ? stride % 64 == 0 : (stride & (stride - 1)) == 0));
    *family = (wr_family){.groups = groups, .budget = budget, .table_bytes = table_bytes, .large = large};
    set_shape(family, stride);
    family->group = calloc(groups, sizeof *family->group);
    if (family->group == NULL) return wr_fail(info, WR_MEMORY, "out of memory: %u key groups of a table", groups);
    void *base = NULL, *where = NULL;
    family->reserved_bytes = wr_family_reserve(&base, wr_family_range_bytes(budget), RANGE_BYTES_MIN);
    family->base = base;
    family->limit = family->reserved_bytes / stride;
    if (family->limit > UINT32_MAX) family->limit = UINT32_MAX;
    family->where_bytes = ((family->limit >> family->granule_log2) + 1) * sizeof *family->where;
    if (base != NULL && wr_family_reserve(&where, family->where_bytes, family->where_bytes) == 0) where = NULL;
    family->where = where;
    if (base == NULL || where == NULL) {
        wr_family_fini(family);
        return wr_fail(info, WR_MEMORY, "no address space left for a table; raise the limit (ulimit -v)");
    }
    family->next = UINT64_C(1) << family->granule_log2; /* position 0 is nobody's */
    wr_budget_add(budget, table_bytes, (int64_t)(groups * sizeof *family->group));
    return WR_OK;
}

void wr_family_fini(wr_family *family)
{
    if (family->group != NULL) {
        for (uint32_t i = 0; i < family->groups; i++) free(family->group[i].region);
    }
    free(family->group);
    wr_ahead_remove(&family->ahead);
    wr_mem_release(family->base, family->reserved_bytes);
    wr_mem_release(family->where, family->where_bytes);
    *family = (wr_family){0};
}

/* While a capture is open another thread may read the list that there was. */
static uint32_t *longer(wr_family *family, const wr_group *g, uint32_t most)
{
    if (family->mark != WR_MARK_CAPTURE || g->region == NULL) return realloc(g->region, most * sizeof *g->region);
    uint32_t    *region = malloc(most * sizeof *region);
    wr_outgrown *outgrown = malloc(sizeof *outgrown);
    check(region != NULL && outgrown != NULL);
    memcpy(region, g->region, g->regions * sizeof *region);
    *outgrown = (wr_outgrown){family->capture.outgrown, g->region};
    family->capture.outgrown = outgrown;
    return region;
}

static void add_region(wr_family *family, uint32_t group, uint32_t position)
{
    wr_group *g = &family->group[group];
    if (g->regions == g->regions_max) {
        uint32_t  more = g->regions_max == 0 ? 4 : g->regions_max * 2;
        uint32_t *region = longer(family, g, more);
        check(region != NULL);
        wr_budget_add(family->budget, family->table_bytes, (int64_t)(more - g->regions_max) * (int64_t)sizeof *region);
        __atomic_store_n(&g->region, region, __ATOMIC_RELEASE);
        g->regions_max = more;
    }
    uint32_t entries = wr_family_region_entries(family, g->regions);
    uint32_t number = wr_family_region_first(family, g->regions);
    g->region[g->regions++] = position;
    for (uint32_t i = 0; i < entries; i += 1u << family->granule_log2) {
        uint32_t granule = (position + i) >> family->granule_log2;
        family->where[granule] = (uint64_t)group << 32 | (number + i);
    }
}

void wr_family_grow(wr_family *family, uint32_t group, uint32_t n)
{
    wr_group *g = &family->group[group];
    uint64_t  entries = wr_family_region_entries(family, g->regions);
    dcheck(n == 1 || entries == 1u << family->full_log2);
    uint64_t bytes = n * entries * family->stride;
    check(family->next + n * entries <= family->limit); /* the range is larger than the machine's memory */
    if (family->next + n * entries > family->limit - family->limit / 8) family->budget->exceeded = true; /* in time */
    for (uint32_t i = 0; i < n; i++) {
        add_region(family, group, (uint32_t)family->next);
        family->next += entries;
    }
    wr_budget_add(family->budget, family->table_bytes, (int64_t)(bytes + bytes / 64));
    if (family->large && !family->huge && family->next * family->stride > HUGE_FROM_BYTES) {
        wr_family_huge(family->base, family->reserved_bytes);
        family->huge = true;
    }
    if (!family->huge) return;
    wr_family_ahead(&family->ahead, family->budget, family->base, family->reserved_bytes,
                    family->next * family->stride);
    if (family->capture.apart) wr_capture_grown(family);
}

void wr_family_advance(wr_family *family, uint32_t group)
{
    wr_family_retail(family, group); /* deletes may have left regions empty */
    if (family->group[group].tail != family->group[group].end) return;
    wr_family_grow(family, group, 1);
    wr_family_retail(family, group);
}

void wr_family_retail(wr_family *family, uint32_t group)
{
    wr_group *g = &family->group[group];
    uint32_t  first, region = wr_family_region_of(family, g->count, &first);
    if (region >= g->regions) {
        g->tail = g->end = 0;
        return;
    }
    g->tail = g->region[region] + (g->count - first);
    g->end = g->region[region] + wr_family_region_entries(family, region);
}

void wr_family_touch_run(wr_family *family, uint32_t position, uint32_t n)
{
    if (family->mark == WR_MARK_OFF) return;
    for (uint32_t i = 0; i < n; i++) wr_family_touch_slow(family, position + i);
}
