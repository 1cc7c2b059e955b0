/* snapshot/wheel.c: slots, runs and the heap of latecomers. */
#include "snapshot/wheel.h"
#include "base/check.h"
#include "base/limits.h"
#include "base/mem.h"
#include "snapshot/family.h"
#include <stdlib.h>

#define CHUNK_BYTES       1024u
#define CHUNK_HINTS       63u
#define CHUNKS_KEPT       4096u /* an empty wheel with more gives its memory back */
#define COUNTED_BYTES     65536u
#define INSERTION_MAX     24u
#define RANGE_BYTES_LEAST (UINT64_C(1) << 24)

typedef struct chunk {
    uint32_t next, n;
    uint64_t unused;
    wr_hint  hint[CHUNK_HINTS];
} chunk;
_Static_assert(sizeof(chunk) == CHUNK_BYTES, "");

static inline chunk *chunk_at(const wr_wheel *wheel, uint32_t i)
{
    return (chunk *)(void *)(wheel->base + (uint64_t)i * CHUNK_BYTES);
}

wr_err wr_wheel_init(wr_wheel *wheel, wr_budget *budget, uint64_t *table_bytes, wr_errinfo *info)
{
    *wheel = (wr_wheel){.budget = budget, .table_bytes = table_bytes, .chunks = 1};
    void    *base = NULL, *heap = NULL;
    uint64_t most = wr_family_range_bytes(budget);
    wheel->reserved_bytes = wr_family_reserve(&base, most, RANGE_BYTES_LEAST);
    wheel->heap_bytes = wr_family_reserve(&heap, most, RANGE_BYTES_LEAST);
    wheel->base = base;
    wheel->heap = heap;
    wheel->run = malloc(2 * WR_WHEEL_RUN_MAX * sizeof *wheel->run);
    if (base == NULL || heap == NULL || wheel->run == NULL)
        return wr_fail(info, WR_MEMORY, "no memory for the timers of a table; raise the limit (ulimit -v)");
    wheel->other = wheel->run + WR_WHEEL_RUN_MAX;
    return WR_OK;
}

void wr_wheel_fini(wr_wheel *wheel)
{
    if (wheel->counted_bytes + wheel->heap_counted != 0)
        wr_budget_add(wheel->budget, wheel->table_bytes, -(int64_t)(wheel->counted_bytes + wheel->heap_counted));
    wr_mem_release(wheel->base, wheel->reserved_bytes);
    wr_mem_release(wheel->heap, wheel->heap_bytes);
    free(wheel->run < wheel->other ? wheel->run : wheel->other);
    *wheel = (wr_wheel){0};
}

/* ---- chunks ------------------------------------------------------------------------------------------------------ */

static uint32_t take_chunk(wr_wheel *wheel)
{
    uint32_t i = wheel->free;
    if (i != 0) {
        wheel->free = chunk_at(wheel, i)->next;
    } else {
        i = wheel->chunks++;
        uint64_t used = (uint64_t)wheel->chunks * CHUNK_BYTES;
        check(used + COUNTED_BYTES <= wheel->reserved_bytes); /* the range is larger than the machine's memory */
        if (used > wheel->counted_bytes) {
            wr_budget_add(wheel->budget, wheel->table_bytes, COUNTED_BYTES);
            wheel->counted_bytes += COUNTED_BYTES;
        }
    }
    chunk_at(wheel, i)->n = 0;
    return i;
}

static void give_chunk(wr_wheel *wheel, uint32_t i)
{
    chunk_at(wheel, i)->next = wheel->free;
    wheel->free = i;
}

/* After a flood of timers: their memory goes back to the system. */
static void trim(wr_wheel *wheel)
{
    if (wheel->chunks > CHUNKS_KEPT && wheel->spill == 0) {
        wr_mem_discard(wheel->base, wheel->counted_bytes);
        wr_budget_add(wheel->budget, wheel->table_bytes, -(int64_t)wheel->counted_bytes);
        wheel->counted_bytes = 0;
        wheel->chunks = 1;
        wheel->free = 0;
    }
    if (wheel->heap_counted > (uint64_t)CHUNKS_KEPT * CHUNK_BYTES) {
        wr_mem_discard(wheel->heap, wheel->heap_counted);
        wr_budget_add(wheel->budget, wheel->table_bytes, -(int64_t)wheel->heap_counted);
        wheel->heap_counted = 0;
    }
}

/* ---- slots ------------------------------------------------------------------------------------------------------- */

static void put(wr_wheel *wheel, const wr_hint *hint)
{
    uint64_t differs = hint->key ^ wheel->at;
    uint32_t level = differs == 0 ? 0 : (63 - (uint32_t)__builtin_clzll(differs)) >> 3;
    uint32_t digit = (uint32_t)(hint->key >> level * 8) & 255, head = wheel->head[level][digit];
    chunk   *into = chunk_at(wheel, head);
    if (__builtin_expect(head == 0 || into->n == CHUNK_HINTS, 0)) {
        uint32_t fresh = take_chunk(wheel);
        into = chunk_at(wheel, fresh);
        into->next = head;
        wheel->head[level][digit] = fresh;
        wheel->map[level][digit >> 6] |= UINT64_C(1) << (digit & 63);
    }
    into->hint[into->n++] = *hint;
}

/* The slot with the earliest hints: the first one of the lowest level that has any. */
static bool first_slot(const wr_wheel *wheel, uint32_t *level, uint32_t *digit)
{
    for (*level = 0; *level < 8; ++*level) {
        const uint64_t *map = wheel->map[*level];
        for (uint32_t i = 0; i < 4; i++) {
            if (map[i] == 0) continue;
            *digit = i * 64 + (uint32_t)__builtin_ctzll(map[i]);
            return true;
        }
    }
    return false;
}

/* The times that a slot stands for, [first, last]. */
static uint64_t slot_first(const wr_wheel *wheel, uint32_t level, uint32_t digit, uint64_t *last)
{
    uint64_t below = (UINT64_C(1) << level * 8) - 1, own = UINT64_C(255) << level * 8;
    uint64_t first = (wheel->at & ~(own | below)) | (uint64_t)digit << level * 8;
    *last = first | below;
    return first;
}

/* ---- the heap of latecomers -------------------------------------------------------------------------------------- */

static void heap_push(wr_wheel *wheel, const wr_hint *hint)
{
    uint64_t at = wheel->heaped++, bytes = wheel->heaped * sizeof *hint;
    check(bytes + COUNTED_BYTES <= wheel->heap_bytes);
    if (bytes > wheel->heap_counted) {
        wr_budget_add(wheel->budget, wheel->table_bytes, COUNTED_BYTES);
        wheel->heap_counted += COUNTED_BYTES;
    }
    for (uint64_t up; at != 0 && wheel->heap[up = (at - 1) / 2].key > hint->key; at = up)
        wheel->heap[at] = wheel->heap[up];
    wheel->heap[at] = *hint;
}

static void heap_pop(wr_wheel *wheel)
{
    wr_hint  last = wheel->heap[--wheel->heaped];
    uint64_t at = 0;
    for (uint64_t child; (child = 2 * at + 1) < wheel->heaped; at = child) {
        if (child + 1 < wheel->heaped && wheel->heap[child + 1].key < wheel->heap[child].key) child++;
        if (wheel->heap[child].key >= last.key) break;
        wheel->heap[at] = wheel->heap[child];
    }
    wheel->heap[at] = last;
}

/* ---- runs -------------------------------------------------------------------------------------------------------- */

static void sort_few(wr_hint *hint, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++) {
        wr_hint  one = hint[i];
        uint32_t at = i;
        for (; at != 0 && hint[at - 1].key > one.key; at--) hint[at] = hint[at - 1];
        hint[at] = one;
    }
}

/* By the low `bytes` bytes: the others are equal. */
static void sort_run(wr_wheel *wheel, uint32_t bytes)
{
    uint32_t n = wheel->run_end;
    if (n <= INSERTION_MAX) {
        sort_few(wheel->run, n);
        return;
    }
    for (uint32_t shift = 0; shift < bytes * 8; shift += 8) {
        uint32_t       place[256] = {0}, sum = 0;
        const wr_hint *from = wheel->run;
        wr_hint       *to = wheel->other;
        for (uint32_t i = 0; i < n; i++) place[from[i].key >> shift & 255]++;
        if (place[from[0].key >> shift & 255] == n) continue;
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t count = place[i];
            place[i] = sum;
            sum += count;
        }
        for (uint32_t i = 0; i < n; i++) to[place[from[i].key >> shift & 255]++] = from[i];
        wheel->other = wheel->run;
        wheel->run = to;
    }
}

/* Whole chunks of a slot, as many as fit. Returns what is left of it. */
static uint32_t load_run(wr_wheel *wheel, uint32_t head)
{
    while (head != 0 && wheel->run_end + CHUNK_HINTS <= WR_WHEEL_RUN_MAX) {
        const chunk *from = chunk_at(wheel, head);
        uint32_t     next = from->next;
        memcpy(wheel->run + wheel->run_end, from->hint, from->n * sizeof *from->hint);
        wheel->run_end += from->n;
        give_chunk(wheel, head);
        head = next;
    }
    return head;
}

static bool fits_run(const wr_wheel *wheel, uint32_t head)
{
    uint32_t room = (WR_WHEEL_RUN_MAX - wheel->run_end) / CHUNK_HINTS;
    for (; head != 0 && room != 0; head = chunk_at(wheel, head)->next) room--;
    return head == 0;
}

static void empty_slot(wr_wheel *wheel, uint32_t level, uint32_t digit)
{
    wheel->head[level][digit] = 0;
    wheel->map[level][digit >> 6] &= ~(UINT64_C(1) << (digit & 63));
}

/* The slot's time has come, or begins. Slots that are due as a whole are taken together as long as they fit. */
static void open_slot(wr_wheel *wheel, uint32_t level, uint32_t digit, uint64_t limit)
{
    uint64_t last, first = slot_first(wheel, level, digit, &last);
    uint32_t head = wheel->head[level][digit];
    wheel->run_at = wheel->run_end = 0;
    if (level == 0 && !fits_run(wheel, head)) { /* one time: in pieces */
        wheel->head[level][digit] = load_run(wheel, head);
        wheel->at = first;
        wheel->past = false;
        return;
    }
    if (last > limit || !fits_run(wheel, head)) {
        wheel->spill = head;
        wheel->at = first;
        wheel->past = false;
        empty_slot(wheel, level, digit);
        return;
    }
    for (; digit < 256; digit++) {
        uint64_t end;
        head = wheel->head[level][digit];
        if (head == 0) continue;
        (void)slot_first(wheel, level, digit, &end);
        if (end > limit || !fits_run(wheel, head)) break;
        (void)load_run(wheel, head);
        empty_slot(wheel, level, digit);
        last = end;
    }
    wheel->at = last;
    wheel->past = true;
    sort_run(wheel, level + 1);
}

/* One chunk of the slot that sinks. */
static void sink(wr_wheel *wheel)
{
    uint32_t     i = wheel->spill;
    const chunk *from = chunk_at(wheel, i);
    wheel->spill = from->next;
    for (uint32_t k = 0; k < from->n; k++) put(wheel, &from->hint[k]);
    give_chunk(wheel, i);
}

/* ---- what others call -------------------------------------------------------------------------------------------- */

void wr_wheel_add(wr_wheel *wheel, uint64_t key, uint32_t position, uint32_t field)
{
    wr_hint hint = {key, position, field};
    wheel->count++;
    if (key < wheel->at || (wheel->past && key == wheel->at))
        heap_push(wheel, &hint);
    else
        put(wheel, &hint);
}

const wr_hint *wr_wheel_first(const wr_wheel *wheel)
{
    const wr_hint *run = wheel->run_at != wheel->run_end ? &wheel->run[wheel->run_at] : NULL;
    const wr_hint *heap = wheel->heaped != 0 ? &wheel->heap[0] : NULL;
    if (run == NULL || heap == NULL) return run == NULL ? heap : run;
    return heap->key < run->key ? heap : run;
}

void wr_wheel_drop(wr_wheel *wheel)
{
    const wr_hint *first = wr_wheel_first(wheel);
    check(first != NULL);
    if (wheel->heaped != 0 && first == &wheel->heap[0])
        heap_pop(wheel);
    else
        wheel->run_at++;
    if (--wheel->count == 0) trim(wheel);
}

enum wr_wheel_state wr_wheel_look(wr_wheel *wheel, uint64_t limit, uint32_t *work)
{
    for (;;) {
        const wr_hint *first = wr_wheel_first(wheel);
        if (first != NULL) return first->key <= limit ? WR_WHEEL_DUE : WR_WHEEL_NOT_YET;
        if (wheel->spill != 0) {
            if (*work == 0) return WR_WHEEL_SINKING;
            --*work;
            sink(wheel);
            continue;
        }
        uint32_t level, digit;
        uint64_t last;
        if (!first_slot(wheel, &level, &digit)) return WR_WHEEL_NOT_YET;
        if (slot_first(wheel, level, digit, &last) > limit) return WR_WHEEL_NOT_YET;
        open_slot(wheel, level, digit, limit);
    }
}

bool wr_wheel_next(const wr_wheel *wheel, uint64_t *key)
{
    const wr_hint *first = wr_wheel_first(wheel);
    uint32_t       level, digit;
    uint64_t       last;
    if (first != NULL) {
        *key = first->key;
        return true;
    }
    *key = wheel->at;
    if (wheel->spill != 0) return true;
    if (!first_slot(wheel, &level, &digit)) return false;
    *key = slot_first(wheel, level, digit, &last);
    return true;
}
