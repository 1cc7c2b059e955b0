/* snapshot/capture.c: dirty bits and undo records. piece.c takes the regions. */
#include "snapshot/capture.h"
#include "base/mem.h"
#include "base/sabotage.h"
#include "snapshot/table_inner.h"
#include <stdatomic.h>
#include <stdlib.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum {
    UNDO_SHARE = 8,       /* of the state: old bytes that there may be at once, whatever their memory costs */
    UNDO_SHARE_APART = 3, /* that are made ready where another thread captures: it takes as long as storage does */
    UNDO_GROWTH = 2
};

/* ---- one family -------------------------------------------------------------------------------------------------- */

static uint64_t bitmap_bytes(const wr_family *family)
{
    return (family->limit / 64 + 1) * 8;
}
static uint64_t chain_bytes(const wr_family *family)
{
    return ((family->limit >> family->granule_log2) + 1) * sizeof(uint32_t);
}

static uint64_t taken_bytes(const wr_family *family)
{
    return ((family->limit >> family->granule_log2) / 64 + 1) * 8;
}

static wr_err reserve_bits(wr_family *family, wr_errinfo *info)
{
    wr_capture *capture = &family->capture;
    if (capture->dirty == NULL) capture->dirty = wr_mem_reserve(bitmap_bytes(family));
    if (capture->saved == NULL) capture->saved = wr_mem_reserve(bitmap_bytes(family));
    if (capture->chain == NULL) capture->chain = wr_mem_reserve(chain_bytes(family));
    if (capture->taken == NULL) capture->taken = wr_mem_reserve(taken_bytes(family));
    if (capture->count == NULL) capture->count = calloc(family->groups, sizeof *capture->count);
    if (capture->free == NULL) capture->free = calloc(family->groups, sizeof *capture->free);
    if (capture->undo_bytes == NULL) {
        void *base = NULL;
        capture->undo_reserved = wr_family_reserve(&base, family->reserved_bytes, UINT64_C(1) << 26);
        capture->undo_bytes = base;
        capture->undo_of_reserved = capture->undo_reserved / family->stride * sizeof(wr_undo);
    }
    if (capture->undo_of == NULL) capture->undo_of = wr_mem_reserve(capture->undo_of_reserved);
    if (capture->dirty == NULL || capture->saved == NULL || capture->chain == NULL || capture->taken == NULL ||
        capture->undo_bytes == NULL || capture->undo_of == NULL || capture->count == NULL || capture->free == NULL)
        return wr_fail(info, WR_MEMORY, "no address space left for snapshots of a table; raise the limit (ulimit -v)");
    return WR_OK;
}

/* What is touched anywhere needs few pages: else each access walks the page table. And memory for old bytes must be
 * there before: the first touch of it, with records waiting, can take longer than all the rest of a snapshot. */
static void make_huge(wr_family *family)
{
    wr_capture *capture = &family->capture;
    wr_ahead   *ahead = family->budget->ahead;
    if (!family->huge || capture->huge || capture->undo_bytes == NULL) return;
    capture->huge = true;
    wr_family_huge(capture->dirty, bitmap_bytes(family));
    wr_family_huge(capture->saved, bitmap_bytes(family));
    wr_family_huge(capture->chain, chain_bytes(family));
    wr_family_huge(capture->undo_bytes, capture->undo_reserved);
    wr_family_huge(capture->undo_of, capture->undo_of_reserved);
    capture->ahead_bytes.no_lead = capture->ahead_of.no_lead = true;
    wr_ahead_add(ahead, &capture->ahead_bytes, capture->undo_bytes, capture->undo_reserved, 0);
    wr_ahead_add(ahead, &capture->ahead_of, capture->undo_of, capture->undo_of_reserved, 0);
}

/* Not much more than the last one needed: where memory is short, what is never needed must not be there. */
static void want_more(wr_family *family)
{
    wr_capture *capture = &family->capture;
    uint64_t    records = UNDO_GROWTH * (uint64_t)capture->undo_last;
    uint64_t    least = family->next / (capture->apart ? UNDO_SHARE_APART : UNDO_SHARE);
    if (records < least) records = least;
    if (records > family->next) records = family->next;
    const wr_budget *budget = family->budget;
    uint64_t         left = budget->bytes < budget->bytes_max ? budget->bytes_max - budget->bytes : 0;
    uint64_t         most = left / 2 / (family->stride + sizeof(wr_undo));
    if (budget->bytes_max != 0 && records > most) records = most;
    wr_ahead_want(&capture->ahead_bytes, records * family->stride);
    wr_ahead_want(&capture->ahead_of, records * sizeof(wr_undo));
}

static void free_outgrown(wr_capture *capture)
{
    while (capture->outgrown != NULL) {
        wr_outgrown *outgrown = capture->outgrown;
        capture->outgrown = outgrown->next;
        free(outgrown->at);
        free(outgrown);
    }
}

static void release_bits(wr_family *family)
{
    wr_capture *capture = &family->capture;
    free_outgrown(capture);
    wr_ahead_remove(&capture->ahead_bytes);
    wr_ahead_remove(&capture->ahead_of);
    wr_mem_release(capture->dirty, bitmap_bytes(family));
    wr_mem_release(capture->saved, bitmap_bytes(family));
    wr_mem_release(capture->chain, chain_bytes(family));
    wr_mem_release(capture->taken, taken_bytes(family));
    wr_mem_release(capture->undo_bytes, capture->undo_reserved);
    wr_mem_release(capture->undo_of, capture->undo_of_reserved);
    free(capture->count);
    free(capture->free);
    *capture = (wr_capture){0};
}

/* ---- before a write ---------------------------------------------------------------------------------------------- */

static uint64_t undo_bytes(const wr_family *family)
{
    return (uint64_t)family->capture.undo_count * (family->stride + sizeof(wr_undo));
}

/* To memory that is not read soon: past the caches, which the operator needs, and without fetching what is there. */
static inline void set_aside(char *to, const char *from, uint32_t stride)
{
#ifdef __SSE2__
    if (stride == 64) {
        for (uint32_t i = 0; i < 64; i += 16)
            _mm_stream_si128((__m128i *)(void *)(to + i), _mm_load_si128((const __m128i *)(const void *)(from + i)));
        return;
    }
#endif
    wr_family_copy(to, from, stride);
}

/* Other threads see that before what is written next. */
static inline void set_aside_ends(void)
{
#ifdef __SSE2__
    _mm_sfence();
#endif
}

/* The old bytes of entries that the open capture still has to take. Who captures may be another thread, which copies
 * entries first and looks at how many were saved then: so old bytes are there before they count, and they count before
 * the entry changes. What was taken in between is saved in vain. */
static void save(wr_family *family, const uint32_t *position, uint32_t n)
{
    wr_capture *capture = &family->capture;
    uint64_t    before = undo_bytes(family);
    uint32_t    first = capture->undo_count + 1;
    check((capture->undo_count + n + UINT64_C(1)) * family->stride <= capture->undo_reserved);
    for (uint32_t i = 0; i < n; i++) {
        set_aside(capture->undo_bytes + (uint64_t)(first + i) * family->stride, wr_family_at(family, position[i]),
                  family->stride);
        capture->undo_of[first + i].position = position[i];
    }
    if (capture->apart) set_aside_ends();
    __atomic_store_n(&capture->undo_count, capture->undo_count + n, __ATOMIC_RELEASE);
    wr_fence(memory_order_release);
    wr_budget_add(family->budget, family->table_bytes, (int64_t)(undo_bytes(family) - before));
}

/* Of these, the ones that the open capture may still have to take. */
static uint32_t not_taken(const wr_family *family, const uint32_t *position, uint32_t n, uint32_t *left)
{
    const wr_capture *capture = &family->capture;
    const uint64_t   *taken = capture->taken;
    uint32_t          count = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t granule = position[i] >> family->granule_log2;
        uint64_t bit = __atomic_load_n(&taken[granule >> 6], __ATOMIC_RELAXED) >> (granule & 63) & 1;
        left[count] = position[i];
        count += (bit == 0) & (position[i] < capture->next);
    }
    wr_fence(memory_order_acquire); /* an entry that was taken changes after it was seen to be */
    return count;
}

/* Of these, the ones that an increment takes. */
static uint32_t of_increment(const wr_family *family, uint32_t *position, uint32_t n)
{
    const uint64_t *saved = family->capture.saved;
    uint32_t        count = 0;
    for (uint32_t i = 0; i < n; i++) {
        position[count] = position[i];
        count += saved[position[i] >> 6] >> (position[i] & 63) & 1;
    }
    return count;
}

static void mark_all(const wr_family *family, const uint32_t *position, uint32_t n)
{
    uint64_t *dirty = family->capture.dirty;
    for (uint32_t i = 0; i < n; i++) dirty[position[i] >> 6] |= UINT64_C(1) << (position[i] & 63);
}

/* The same; those that were not set go to fresh[]. No branch: they are as good as a coin toss. */
static uint32_t set_dirty(const wr_family *family, const uint32_t *position, uint32_t n, uint32_t *fresh)
{
    uint64_t *dirty = family->capture.dirty;
    uint32_t  count = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t *word = &dirty[position[i] >> 6], was = *word;
        uint32_t  at = position[i] & 63;
        *word = was | UINT64_C(1) << at;
        fresh[count] = position[i];
        count += !(was >> at & 1);
    }
    return count;
}

void wr_family_touch_all(wr_family *family, const uint32_t *position, uint32_t n)
{
    uint32_t          left[WR_TOUCH_MAX], fresh[WR_TOUCH_MAX];
    const wr_capture *capture = &family->capture;
    check(n <= WR_TOUCH_MAX);
    if (family->mark == WR_MARK_DIRTY) mark_all(family, position, n); /* nearly always, where snapshots are taken */
    if (family->mark != WR_MARK_CAPTURE) return;
    if (!capture->marking) { /* dirty bits are read only here: one of what is taken would be in vain */
        n = not_taken(family, position, n, left);
        position = left;
    }
    for (uint32_t i = 0; i < n; i++) WR_FETCH(&capture->dirty[position[i] >> 6]);
    n = set_dirty(family, position, n, fresh);
    if (capture->marking) n = not_taken(family, fresh, n, fresh);
    if (!capture->full) n = of_increment(family, fresh, n);
    if (n != 0) save(family, fresh, n);
}

void wr_family_touch_slow(wr_family *family, uint32_t position)
{
    wr_family_touch_all(family, &position, 1);
}

static void clear_bits(const wr_family *family, uint64_t *bits)
{
    memset(bits, 0, (family->next / 64 + 1) * 8);
}

static void family_begin(wr_family *family, bool full, bool marking)
{
    wr_capture *capture = &family->capture;
    make_huge(family);
    if (marking) {
        uint64_t *swap = capture->dirty;
        capture->dirty = capture->saved;
        capture->saved = swap;
    }
    for (uint32_t i = 0; i < family->groups; i++) {
        capture->count[i] = family->group[i].count;
        capture->free[i] = family->group[i].free;
    }
    capture->full = full;
    capture->marking = marking;
    capture->next = family->next;
    family->mark = WR_MARK_CAPTURE;
}

/* The simulator must notice that an entry is in no increment. */
static void lose_a_bit(wr_family *family)
{
    for (uint64_t i = 0; i <= family->next / 64; i++) {
        uint64_t *word = &family->capture.saved[i];
        if (*word == 0) continue;
        *word &= *word - 1;
        return;
    }
}

static void family_end(wr_family *family, bool marking)
{
    wr_capture *capture = &family->capture;
    uint64_t    granules = (family->next >> family->granule_log2) + 1;
    memset(capture->taken, 0, (granules / 64 + 1) * 8);
    /* Of a capture that was given up, or of entries that are no part of the image though their granule is. */
    if (capture->linked != 0) memset(capture->chain, 0, granules * sizeof *capture->chain);
    capture->chained = capture->linked = 0;
    wr_budget_add(family->budget, family->table_bytes, -(int64_t)undo_bytes(family));
    free_outgrown(capture);
    capture->undo_last = capture->undo_count;
    capture->undo_count = 0;
    if (!marking) clear_bits(family, capture->dirty);
    family->mark = marking ? WR_MARK_DIRTY : WR_MARK_OFF;
}

static void family_outcome(wr_family *family, bool durable)
{
    wr_capture *capture = &family->capture;
    if (!durable) {
        for (uint64_t i = 0; i <= family->next / 64; i++) capture->dirty[i] |= capture->saved[i];
    }
    clear_bits(family, capture->saved);
}

/* ---- the families of a table ------------------------------------------------------------------------------------- */

wr_family *wr_table_family(const wr_table *table, uint32_t i)
{
    wr_table *t = (wr_table *)(uintptr_t)table;
    if (i == 0) return &t->entries;
    if (i == 1) return t->has_blobs ? &t->blobs : NULL;
    return t->cell[i - 2].has_family ? &t->cell[i - 2].family : NULL;
}

uint32_t wr_capture_families(const wr_table *table)
{
    return 2 + table->cells;
}

static wr_err prepare(wr_table *table, wr_errinfo *info)
{
    for (uint32_t i = 0; i < wr_capture_families(table); i++) {
        if (wr_table_family(table, i) != NULL) WR_TRY(reserve_bits(wr_table_family(table, i), info));
    }
    if (table->ids_begin == NULL) table->ids_begin = calloc(table->groups, sizeof *table->ids_begin);
    if (table->ids_begin == NULL)
        return wr_fail(info, WR_MEMORY, "out of memory: snapshots of operator %s", table->config.uid);
    if (table->has_blobs && table->blob_free_begin == NULL) {
        table->blob_free_begin = wr_mem_reserve(table->blob_free_bytes);
        if (table->blob_free_begin == NULL)
            return wr_fail(info, WR_MEMORY, "no address space left for snapshots of operator %s", table->config.uid);
    }
    return WR_OK;
}

void wr_capture_fini(wr_table *table)
{
    for (uint32_t i = 0; i < wr_capture_families(table); i++) {
        wr_family *family = wr_table_family(table, i);
        if (family != NULL && family->group != NULL) release_bits(family);
    }
    free(table->ids_begin);
    free(table->strings);
    if (table->staging_free != NULL) table->staging_free(table->staging);
    wr_mem_release(table->blob_free_begin, table->blob_free_bytes);
}

wr_err wr_table_mark(wr_table *table, bool on, wr_errinfo *info)
{
    check(!table->capturing);
    if (on == table->marking) return WR_OK;
    WR_TRY(prepare(table, info));
    for (uint32_t i = 0; i < wr_capture_families(table); i++) {
        wr_family *family = wr_table_family(table, i);
        if (family == NULL) continue;
        if (!on) { /* they are clear as long as it is off */
            clear_bits(family, family->capture.dirty);
            clear_bits(family, family->capture.saved);
        }
        family->mark = on ? WR_MARK_DIRTY : WR_MARK_OFF;
    }
    table->marking = on;
    table->generation++; /* lines of unmarked entries must go */
    return WR_OK;
}

uint64_t wr_table_met(wr_table *table)
{
    uint64_t met = table->met;
    table->met = 0;
    return met;
}

wr_err wr_capture_begin(wr_table *table, bool full, wr_errinfo *info)
{
    check(!table->capturing && (full || table->marking));
    check(table->forgottens == 0 && table->pendings == 0); /* between batches */
    WR_TRY(prepare(table, info));
    for (uint32_t i = 0; i < wr_capture_families(table); i++) {
        wr_family *family = wr_table_family(table, i);
        if (family == NULL) continue;
        family_begin(family, full, table->marking);
        bool skips = wr_sabotage.skip_undo || (wr_sabotage.no_undo_apart && family->capture.apart);
        if (i > 1 && skips) family->mark = table->marking ? WR_MARK_DIRTY : WR_MARK_OFF;
        if (i == 0 && !full && wr_sabotage.lose_dirty_bit) lose_a_bit(family);
    }
    if (table->has_ids) memcpy(table->ids_begin, table->ids, table->groups * sizeof *table->ids);
    if (table->has_blobs) memcpy(table->blob_free_begin, table->blob_free, table->blob_free_bytes);
    table->capturing = true;
    if (!wr_sabotage.stale_lookaside) table->generation++;
    return WR_OK;
}

wr_group_image wr_capture_group(const wr_table *table, uint32_t group, uint32_t family)
{
    const wr_family *f = wr_table_family(table, family);
    uint32_t         local = group - table->config.group_first;
    check(table->capturing && f != NULL && local < table->groups);
    return (wr_group_image){.count = f->capture.count[local],
                            .free = f->capture.free[local],
                            .ids = family == 0 && table->has_ids ? table->ids_begin[local] : 0};
}

uint64_t wr_capture_undo_bytes(const wr_table *table)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < wr_capture_families(table); i++) {
        const wr_family *family = wr_table_family(table, i);
        if (family != NULL) bytes += undo_bytes(family);
    }
    return bytes;
}

uint64_t wr_capture_undo_room(const wr_table *table)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < wr_capture_families(table); i++) {
        const wr_family *family = wr_table_family(table, i);
        if (family == NULL) continue;
        uint64_t all = family->next * family->stride, ready = wr_ahead_ready(&family->capture.ahead_bytes);
        if (!family->huge || family->budget->ahead == NULL || ready >= all)
            bytes += 2 * all; /* more than there can be */
        else
            bytes += ready > all / UNDO_SHARE ? ready : all / UNDO_SHARE;
    }
    return bytes;
}

void wr_capture_want(wr_table *table)
{
    for (uint32_t i = 0; i < wr_capture_families(table); i++) {
        if (wr_table_family(table, i) != NULL) want_more(wr_table_family(table, i));
    }
}

void wr_capture_apart(wr_table *table)
{
    for (uint32_t i = 0; i < wr_capture_families(table); i++) {
        if (wr_table_family(table, i) != NULL) wr_table_family(table, i)->capture.apart = true;
    }
}

void wr_capture_grown(wr_family *family)
{
    make_huge(family);
    want_more(family);
}

void wr_capture_end(wr_table *table)
{
    check(table->capturing);
    for (uint32_t i = 0; i < wr_capture_families(table); i++) {
        if (wr_table_family(table, i) != NULL) family_end(wr_table_family(table, i), table->marking);
    }
    table->capturing = false;
}

void wr_capture_outcome(wr_table *table, bool durable)
{
    check(!table->capturing);
    if (!table->marking) return;
    for (uint32_t i = 0; i < wr_capture_families(table); i++) {
        if (wr_table_family(table, i) != NULL) family_outcome(wr_table_family(table, i), durable);
    }
}
