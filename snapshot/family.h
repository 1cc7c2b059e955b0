/* snapshot/family.h: entries of one size, in regions that belong to one key group each. Everything that a snapshot
 * holds is an entry of a family: keys with their states, elements of tables, chunks of lists, bytes of strings.
 *
 * Owner: a table, its slot's thread. An entry has a position (address = base + position * stride, for ever) and a
 * number in its group (0, 1, 2 ...), which is what a snapshot keeps. Regions of a group have g, g, 2g, 4g ...
 * entries up to 16 KiB (`full`), then all `full`: so the region of a number is arithmetic. Position 0 is nobody's:
 * garbage may point at it. */
#ifndef WR_SNAPSHOT_FAMILY_H
#define WR_SNAPSHOT_FAMILY_H
#include "base/ahead.h"
#include "base/check.h"
#include "snapshot/table.h"
#include <string.h>

#define WR_REGION_BYTES  16384u
#define WR_GRANULE_BYTES 512u /* the smallest region has at least this, or one entry */
#define WR_TOUCH_MAX     256u

/* Owner: its family. */
typedef struct wr_group {
    uint32_t  count;     /* numbers below it are in use or on a free list */
    uint32_t  free;      /* number + 1 of the first free entry, which holds the next one; 0: none */
    uint32_t  tail, end; /* positions left in the newest region that is in use */
    uint32_t *region;    /* first position of each region */
    uint32_t  regions, regions_max;
} wr_group;

enum wr_mark { WR_MARK_OFF, WR_MARK_DIRTY, WR_MARK_CAPTURE };

/* Whose old bytes were saved. Owner: its family; `next` is of who captures. */
typedef struct wr_undo {
    uint32_t position, next; /* next: the number of another record of the granule; 0: none */
} wr_undo;

/* Somebody may still read it. Owner: its capture. */
typedef struct wr_outgrown {
    struct wr_outgrown *next;
    void               *at;
} wr_outgrown;

/* What one family keeps while marking is on or a capture is open. */
typedef struct wr_capture {
    uint64_t *dirty; /* bit per position: written since the last begin */
    uint64_t *saved; /* the same of the epoch before: what an increment captures */
    uint64_t *taken; /* bit per granule: the capture has it. Small enough for caches; who captures sets them */
    uint32_t *count; /* per group, at begin */
    uint32_t *free;
    uint64_t  next;                            /* at begin: positions from here on are not of the image */
    bool      full;                            /* all entries, not only the saved bits */
    bool      marking;                         /* dirty bits are more than a note of what was saved */
    bool      huge;                            /* the memory of these has huge pages */
    bool      apart;                           /* another thread captures */
    wr_undo  *undo_of;                         /* records 1, 2, 3 ... */
    char     *undo_bytes;                      /* the old bytes of record n at n * stride */
    uint32_t  undo_count, undo_last;           /* read by who captures; undo_last: of the capture before */
    uint64_t  undo_reserved, undo_of_reserved; /* address space, in bytes */
    /* Of who captures. */
    uint32_t *chain;           /* per granule: number of the newest record, of those that were looked at; 0: none */
    uint32_t  chained, linked; /* records that were looked at; those that a chain has now */

    wr_ahead_range ahead_bytes, ahead_of; /* of undo_bytes, of undo_of */
    wr_outgrown   *outgrown;              /* lists of regions that were too short, since begin */
} wr_capture;

/* Owner: a table, its slot's thread. */
typedef struct wr_family {
    char          *base;
    uint32_t       stride, stride_log2;     /* log2 of the stride's power of two ... */
    uint64_t       stride_odd;              /* ... and the inverse of its odd part modulo 2^64 */
    uint32_t       full_log2, granule_log2; /* entries of a full region, of a granule */
    uint32_t       mark;                    /* enum wr_mark */
    uint32_t       groups;
    uint64_t       next, limit; /* positions: to be given to a region next; end of the range */
    wr_group      *group;
    uint64_t      *where; /* per granule: group << 32 | number of its first entry */
    wr_budget     *budget;
    uint64_t      *table_bytes;
    uint64_t       reserved_bytes, where_bytes;
    wr_capture     capture;
    bool           large, huge;
    wr_ahead_range ahead;
} wr_family;

/* stride: 8, 16, 32, 64 or a multiple of 64 (blobs: 16). */
wr_err wr_family_init(wr_family *family, uint32_t stride, uint32_t groups, wr_budget *budget, uint64_t *table_bytes,
                      bool large, wr_errinfo *info);
void   wr_family_fini(wr_family *family);
/* Room for one more entry at the group's tail. */
void wr_family_advance(wr_family *family, uint32_t group);
/* Adds n regions to a group; n > 1 only once its regions are full ones, and then they lie side by side. */
void wr_family_grow(wr_family *family, uint32_t group, uint32_t n);
/* Moves the group's tail to where its count says. */
void wr_family_retail(wr_family *family, uint32_t group);
void wr_family_touch_slow(wr_family *family, uint32_t position);
/* Of n <= WR_TOUCH_MAX entries at once; one may be there twice. */
void wr_family_touch_all(wr_family *family, const uint32_t *position, uint32_t n);
void wr_family_touch_run(wr_family *family, uint32_t position, uint32_t n);
void wr_capture_grown(wr_family *family); /* a large one whose capture is another thread's */
void wr_budget_add(wr_budget *budget, uint64_t *table_bytes, int64_t bytes);
/* Huge pages from here on, and for the first 2 MiB, which were small so far. 0.2 ms, once. */
void wr_family_huge(void *base, uint64_t bytes);
/* A range that fills from its beginning and uses so much: has it touched ahead once that pays. */
void wr_family_ahead(wr_ahead_range *range, const wr_budget *budget, void *base, uint64_t bytes, uint64_t used);
/* How much address space a family may want. */
uint64_t wr_family_range_bytes(const wr_budget *budget);
/* Address space: at least `least`, if possible `most`; the bytes got, or 0. */
uint64_t wr_family_reserve(void **at, uint64_t most, uint64_t least);

/* The smallest stride of entries of this size. */
static inline uint32_t wr_family_stride(uint64_t bytes)
{
    if (bytes > 64) return (uint32_t)((bytes + 63) & ~UINT64_C(63));
    uint32_t stride = 8;
    while (stride < bytes) stride *= 2;
    return stride;
}

static inline char *wr_family_at(const wr_family *family, uint32_t position)
{
    return family->base + (uint64_t)position * family->stride;
}

/* One entry. The usual strides without a call. */
static inline void wr_family_copy(void *to, const void *from, uint32_t stride)
{
    if (stride == 64)
        memcpy(to, from, 64);
    else if (stride == 32)
        memcpy(to, from, 32);
    else
        memcpy(to, from, stride);
}

/* Of the address of an entry's first byte. */
static inline uint32_t wr_family_position(const wr_family *family, const void *entry)
{
    uint64_t offset = (uint64_t)((const char *)entry - family->base);
    return (uint32_t)((offset >> family->stride_log2) * family->stride_odd);
}

static inline uint32_t wr_family_group_of(const wr_family *family, uint32_t position)
{
    return (uint32_t)(family->where[position >> family->granule_log2] >> 32);
}

static inline uint32_t wr_family_number_of(const wr_family *family, uint32_t position)
{
    return (uint32_t)family->where[position >> family->granule_log2] + (position & ((1u << family->granule_log2) - 1));
}

/* Which region of its group holds an entry, and the number that the region starts with. */
static inline uint32_t wr_family_region_of(const wr_family *family, uint32_t number, uint32_t *first)
{
    if (number >> family->full_log2) {
        *first = number >> family->full_log2 << family->full_log2;
        return family->full_log2 - family->granule_log2 + (number >> family->full_log2);
    }
    uint32_t granule = number >> family->granule_log2;
    uint32_t log2 = 31 - (uint32_t)__builtin_clz(granule | 1);
    *first = granule == 0 ? 0 : 1u << (family->granule_log2 + log2);
    return granule == 0 ? 0 : log2 + 1;
}

/* The number that region r of a group starts with. */
static inline uint32_t wr_family_region_first(const wr_family *family, uint32_t region)
{
    uint32_t small = family->full_log2 - family->granule_log2;
    if (region > small) return (region - small) << family->full_log2;
    return region == 0 ? 0 : 1u << (family->granule_log2 + region - 1);
}

/* How many entries region r of a group has. */
static inline uint32_t wr_family_region_entries(const wr_family *family, uint32_t region)
{
    uint32_t small = family->full_log2 - family->granule_log2;
    if (region > small) return 1u << family->full_log2;
    return region == 0 ? 1u << family->granule_log2 : 1u << (family->granule_log2 + region - 1);
}

/* Position of the number-th entry of a group; number < count, or the region is there. */
static inline uint32_t wr_family_place(const wr_family *family, uint32_t group, uint32_t number)
{
    uint32_t first, region = wr_family_region_of(family, number, &first);
    return family->group[group].region[region] + (number - first);
}

/* Before the first write to an entry in an epoch, and before every write that may be the first. */
static inline void wr_family_touch(wr_family *family, uint32_t position)
{
    if (__builtin_expect(family->mark != WR_MARK_OFF, 0)) wr_family_touch_slow(family, position);
}

/* One more entry; its bytes are what the last owner left. Touched. */
static inline uint32_t wr_family_append(wr_family *family, uint32_t group)
{
    wr_group *g = &family->group[group];
    if (__builtin_expect(g->tail == g->end, 0)) wr_family_advance(family, group);
    uint32_t position = g->tail++;
    g->count++;
    wr_family_touch(family, position);
    return position;
}

/* An entry from the free list, else a new one. The first 4 bytes of a free entry hold the next one's number + 1. */
static inline uint32_t wr_family_take(wr_family *family, uint32_t group)
{
    wr_group *g = &family->group[group];
    if (g->free == 0) return wr_family_append(family, group);
    uint32_t position = wr_family_place(family, group, g->free - 1);
    memcpy(&g->free, wr_family_at(family, position), 4);
    wr_family_touch(family, position);
    return position;
}

/* Back to the free list. Only from wr_table_settle: what is freed in a batch may still be read in it. */
static inline void wr_family_give(wr_family *family, uint32_t position)
{
    wr_group *g = &family->group[wr_family_group_of(family, position)];
    wr_family_touch(family, position);
    memcpy(wr_family_at(family, position), &g->free, 4);
    g->free = wr_family_number_of(family, position) + 1;
}

/* The last entry of the group is no more. */
static inline void wr_family_pop(wr_family *family, uint32_t group)
{
    family->group[group].count--;
    wr_family_retail(family, group);
}

#endif
