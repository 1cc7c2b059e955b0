/* snapshot/piece.c: regions of an open capture as pieces of a file. Many regions go through each step together, so that
 * what they need from memory is asked for before it is used: undo records lie anywhere. */
#include "snapshot/piece.h"
#include "base/env.h"
#include "base/mem.h"
#include "snapshot/table_inner.h"
#include <stdatomic.h>
#include <stdlib.h>

#define LINKED_AT_ONCE  64u
#define LOOKED_PER_STEP 64u /* work of going past a family that has nothing, in bytes */
#define WORDS_MAX       (WR_REGION_BYTES / 8 / 64)
#define CHAINS_MAX      (WR_PIECES_AT_ONCE * (WR_REGION_BYTES / WR_GRANULE_BYTES))

_Static_assert(WR_PIECE_BYTES_MAX > sizeof(wr_piece) + WORDS_MAX * 8 + WR_REGION_BYTES, "");
_Static_assert(WR_PIECE_BYTES_MAX > sizeof(wr_piece) + 8 + WR_KEY_FIELDS_MAX * 16 + 24 + WR_STATE_BYTES_MAX + 64, "");
_Static_assert(WR_PIECE_BYTES_MAX > sizeof(wr_piece) + 8 + 16 + WR_BATCH_BYTES + 64, "elements are records");

/* One region on its way. */
typedef struct job {
    wr_family *family;
    wr_piece  *piece;
    char      *entries; /* where its entries go */
    uint32_t   position, count, stride, group;
    uint64_t   bits[WORDS_MAX]; /* increments */
    uint16_t   rank[WORDS_MAX]; /* picked entries before each word */
} job;

typedef struct chain {
    uint32_t job, undo; /* the number of a record */
} chain;

/* ---- what to take ------------------------------------------------------------------------------------------------ */

/* The saved bits of [position, position + n), and how many there are. */
static uint32_t take_bits(job *j)
{
    const uint64_t *from = &j->family->capture.saved[j->position >> 6];
    uint32_t        shift = j->position & 63, words = (j->count + 63) / 64, picked = 0;
    for (uint32_t i = 0; i < words; i++) {
        uint64_t word = from[i] >> shift;
        if (shift != 0 && j->count - i * 64 > 64 - shift) word |= from[i + 1] << (64 - shift);
        if (i + 1 == words && (j->count & 63) != 0) word &= (UINT64_C(1) << (j->count & 63)) - 1;
        j->bits[i] = word;
        j->rank[i] = (uint16_t)picked;
        picked += (uint32_t)__builtin_popcountll(word);
    }
    return picked;
}

static void put_index(const job *j, char *to)
{
    uint32_t words = (j->count + 63) / 64, at = 0;
    if (j->piece->form == WR_PIECE_BITS) {
        memcpy(to, j->bits, words * 8u);
        return;
    }
    uint16_t *index = (uint16_t *)(void *)to;
    for (uint32_t i = 0; i < words; i++) {
        for (uint64_t word = j->bits[i]; word != 0; word &= word - 1)
            index[at++] = (uint16_t)(i * 64 + (uint32_t)__builtin_ctzll(word));
    }
    while ((at & 3) != 0) index[at++] = 0;
}

/* A piece for the region, with its index; false: the increment needs nothing of it. */
static bool plan_job(wr_table *table, const wr_capture_walk *walk, job *j, uint16_t number, char *to, uint64_t *changed)
{
    wr_family *family = j->family = wr_table_family(table, walk->family);
    uint32_t   first = wr_family_region_first(family, walk->region);
    uint32_t   entries = wr_family_region_entries(family, walk->region);
    uint32_t   count = family->capture.count[walk->group] - first;
    j->position = __atomic_load_n(&family->group[walk->group].region, __ATOMIC_ACQUIRE)[walk->region];
    j->count = count < entries ? count : entries;
    j->stride = family->stride;
    j->group = walk->group;
    uint32_t picked = table->marking ? take_bits(j) : 0, form = WR_PIECE_FULL;
    *changed += (uint64_t)picked * j->stride;
    if (family->capture.full) {
        picked = j->count;
    } else {
        if (picked == 0) return false;
        form = picked < j->count / 16 ? WR_PIECE_POSITIONS : WR_PIECE_BITS;
        if (picked == j->count) form = WR_PIECE_FULL;
    }
    uint64_t index = wr_piece_index_bytes(form, j->count, picked);
    j->piece = (wr_piece *)(void *)to;
    *j->piece = (wr_piece){.group = table->config.group_first + walk->group,
                           .first = first,
                           .entries = j->count,
                           .picked = picked,
                           .bytes = (uint32_t)(index + (uint64_t)picked * j->stride),
                           .stride = j->stride,
                           .table = number,
                           .family = (uint8_t)walk->family,
                           .form = (uint8_t)form};
    if (form != WR_PIECE_FULL) put_index(j, to + sizeof(wr_piece));
    j->entries = to + sizeof(wr_piece) + index;
    return true;
}

/* Steps over families and groups that have nothing more. True: a region is there. */
static bool find_region(wr_table *table, wr_capture_walk *walk, uint64_t *looked, uint64_t looked_max)
{
    while (walk->group < table->groups && *looked < looked_max) {
        wr_family *family = wr_table_family(table, walk->family);
        if (family != NULL && wr_family_region_first(family, walk->region) < family->capture.count[walk->group])
            return true;
        *looked += LOOKED_PER_STEP;
        walk->region = 0;
        if (++walk->family == wr_capture_families(table)) {
            walk->family = 0;
            walk->group++;
        }
    }
    return false;
}

/* ---- taking ------------------------------------------------------------------------------------------------------ */

/* Inline by force: gcc takes a function that only prefetches for one without effect, and drops its calls. */
static inline __attribute__((always_inline)) void ask_ahead(const job *j)
{
    const wr_capture *capture = &j->family->capture;
    uint32_t          log2 = j->family->granule_log2;
    for (uint32_t at = j->position >> log2; at <= (j->position + j->count - 1) >> log2; at += 16)
        WR_FETCH(&capture->chain[at]);
    if (j->piece->form == WR_PIECE_FULL) return;
    for (uint32_t i = 0; i < (j->count + 63) / 64; i++) {
        for (uint64_t word = j->bits[i]; word != 0; word &= word - 1)
            WR_FETCH(wr_family_at(j->family, j->position + i * 64 + (uint32_t)__builtin_ctzll(word)));
    }
}

#ifdef WR_TSAN
/* What is written meanwhile is read as it happens to be, since old bytes are put over it: meant to be, so that it must
 * not be looked at, nor handed to a memcpy that is. */
__attribute__((no_sanitize_thread, noinline)) static void copy_racing(char *to, const char *from, uint64_t n)
{
    for (uint64_t i = 0; i < n; i += 8)
        *(volatile uint64_t *)(void *)(to + i) = *(const volatile uint64_t *)(const void *)(from + i);
}
#else
static inline void copy_racing(char *to, const char *from, uint64_t n)
{
    if (n == 64)
        memcpy(to, from, 64); /* without a call, like the next: one entry of an increment */
    else if (n == 32)
        memcpy(to, from, 32);
    else
        memcpy(to, from, n);
}
#endif

static void copy_entries(const job *j)
{
    const char *from = wr_family_at(j->family, j->position);
    if (j->piece->form == WR_PIECE_FULL) {
        copy_racing(j->entries, from, (uint64_t)j->count * j->stride);
        return;
    }
    char *to = j->entries;
    for (uint32_t i = 0; i < (j->count + 63) / 64; i++) {
        for (uint64_t word = j->bits[i]; word != 0; word &= word - 1, to += j->stride) {
            const char *entry = from + (uint64_t)(i * 64 + (uint32_t)__builtin_ctzll(word)) * j->stride;
            copy_racing(to, entry, j->stride);
        }
    }
}

static const char *undo_bytes_at(const job *j, uint32_t number)
{
    return j->family->capture.undo_bytes + (uint64_t)number * j->stride;
}

static inline __attribute__((always_inline)) void ask_undo(const job *j, uint32_t number)
{
    WR_FETCH(&j->family->capture.undo_of[number]);
    WR_FETCH(undo_bytes_at(j, number));
}

/* Nobody else sets these bits. */
static void say_taken(const wr_capture *capture, uint32_t first, uint32_t last)
{
    for (uint32_t word = first >> 6; word <= last >> 6; word++) {
        uint64_t bits = UINT64_MAX, *at = &capture->taken[word];
        if (word == first >> 6) bits &= UINT64_MAX << (first & 63);
        if (word == last >> 6) bits &= UINT64_MAX >> (63 - (last & 63));
        __atomic_store_n(at, __atomic_load_n(at, __ATOMIC_RELAXED) | bits, __ATOMIC_RELEASE);
    }
}

static bool is_taken(const wr_capture *capture, uint32_t granule)
{
    return capture->taken[granule >> 6] >> (granule & 63) & 1;
}

/* What was saved by now goes to its granule's chain. */
static void link_saved(wr_family *family)
{
    wr_capture *capture = &family->capture;
    uint32_t    end = __atomic_load_n(&capture->undo_count, __ATOMIC_ACQUIRE), log2 = family->granule_log2;
    while (capture->chained < end) {
        uint32_t first = capture->chained + 1, n = end - capture->chained;
        if (n > LINKED_AT_ONCE) n = LINKED_AT_ONCE;
        for (uint32_t i = 0; i < n; i++) WR_FETCH(&capture->chain[capture->undo_of[first + i].position >> log2]);
        for (uint32_t i = 0; i < n; i++) {
            wr_undo *record = &capture->undo_of[first + i];
            uint32_t granule = record->position >> log2;
            if (is_taken(capture, granule)) continue; /* saved in vain */
            record->next = capture->chain[granule];
            capture->chain[granule] = first + i;
            capture->linked++;
        }
        capture->chained += n;
    }
}

/* From here on what is written to the region saves nothing any more. */
static uint32_t find_chains(const job *j, uint32_t number, chain *chains)
{
    wr_capture *capture = &j->family->capture;
    uint32_t    log2 = j->family->granule_log2, count = 0;
    uint32_t    first = j->position >> log2, last = (j->position + j->count - 1) >> log2;
    link_saved(j->family);
    for (uint32_t at = first; at <= last; at++) {
        uint32_t undo = capture->chain[at];
        if (undo == 0) continue;
        capture->chain[at] = 0;
        ask_undo(j, undo);
        chains[count++] = (chain){number, undo};
    }
    say_taken(capture, first, last);
    return count;
}

/* Old bytes over new ones. Each entry has one record at most, so their order does not matter. */
static void undo_entries(const job *jobs, chain *chains, uint32_t count)
{
    while (count != 0) {
        uint32_t left = 0;
        for (uint32_t c = 0; c < count; c++) {
            const job     *j = &jobs[chains[c].job];
            const uint32_t number = chains[c].undo;
            const wr_undo *record = &j->family->capture.undo_of[number];
            uint32_t       i = record->position - j->position;
            j->family->capture.linked--;
            if (record->next != 0) {
                ask_undo(j, record->next);
                chains[left++] = (chain){chains[c].job, record->next};
            }
            if (i >= j->count) continue;
            if (!j->family->capture.full) {
                uint64_t word = j->bits[i >> 6];
                if ((word >> (i & 63) & 1) == 0) continue;
                i = j->rank[i >> 6] + (uint32_t)__builtin_popcountll(word & ((UINT64_C(1) << (i & 63)) - 1));
            }
            wr_family_copy(j->entries + (uint64_t)i * j->stride, undo_bytes_at(j, number), j->stride);
        }
        count = left;
    }
}

/* ---- strings ----------------------------------------------------------------------------------------------------- */

static void places_of_entries(const wr_table *table, wr_strings *s)
{
    s->rows = 1;
    for (uint32_t i = 0; i < table->key.count; i++) {
        if (table->key.part[i].string) s->offset[s->count++] = table->key.part[i].place;
    }
    for (uint32_t i = 0; i < table->cells; i++) {
        uint32_t kind = table->cell[i].kind;
        if (kind == WEIR_TEXT || kind == WEIR_STR) s->offset[s->count++] = table->state_at + table->cell[i].offset;
    }
}

bool wr_table_strings(wr_table *table)
{
    if (table->strings != NULL) return true;
    table->strings = calloc(wr_capture_families(table), sizeof *table->strings);
    if (table->strings == NULL) return false;
    places_of_entries(table, &table->strings[0]);
    for (uint32_t i = 0; i < table->cells; i++) {
        const wr_cell_plan *plan = &table->cell[i];
        wr_strings         *s = &table->strings[2 + i];
        if (!plan->has_family) continue;
        *s = (wr_strings){
            .at = plan->record_at, .rows = plan->rows, .step = plan->element->size, .count = plan->strings};
        memcpy(s->offset, plan->string, plan->strings * sizeof *s->offset);
    }
    return true;
}

/* Entries that are free keep what their last owner left: what is no address of a blob is not live, and becomes no
 * number of one. */
static void number_string(const wr_family *blobs, char *at)
{
    uint32_t  len;
    uintptr_t far;
    uint64_t  number = UINT64_MAX;
    memcpy(&len, at, 4);
    if (len <= WEIR_STR_INLINE) return;
    memcpy(&far, at + 8, sizeof far);
    uint64_t offset = (uint64_t)far - (uint64_t)(uintptr_t)blobs->base;
    if (offset < blobs->capture.next * WR_BLOB_UNIT)
        number = wr_family_number_of(blobs, (uint32_t)(offset / WR_BLOB_UNIT));
    memcpy(at + 8, &number, 8);
}

static void number_strings(const wr_table *table, const job *j)
{
    const wr_strings *s = &table->strings[j->piece->family];
    if (s->count == 0) return;
    for (uint32_t i = 0; i < j->piece->picked; i++) {
        char *row = j->entries + (uint64_t)i * j->stride + s->at;
        for (uint32_t r = 0; r < s->rows; r++, row += s->step) {
            for (uint32_t k = 0; k < s->count; k++) number_string(&table->blobs, row + s->offset[k]);
        }
    }
}

/* ---- all of it --------------------------------------------------------------------------------------------------- */

enum wr_pieces wr_capture_pieces(wr_table *table, wr_capture_walk *walk, uint16_t number, char *to, uint64_t room,
                                 wr_pieces_result *result)
{
    job      jobs[WR_PIECES_AT_ONCE];
    chain    chains[CHAINS_MAX];
    uint32_t count = 0, all = 0;
    uint64_t looked_max = (uint64_t)WR_PIECES_AT_ONCE * WR_REGION_BYTES;
    bool     apart = table->entries.capture.apart;
    *result = (wr_pieces_result){0};
    check(table->capturing && table->strings != NULL);
    while (count < WR_PIECES_AT_ONCE && find_region(table, walk, &result->looked, looked_max)) {
        if (room - result->bytes < WR_PIECE_BYTES_MAX) {
            if (result->bytes == 0) return WR_PIECES_NO_ROOM;
            break;
        }
        bool some = plan_job(table, walk, &jobs[count], number, to + result->bytes, &result->changed);
        result->looked += some ? (uint64_t)jobs[count].piece->picked * jobs[count].stride + LOOKED_PER_STEP
                               : LOOKED_PER_STEP * 4;
        walk->region++;
        if (!some) continue;
        result->bytes += sizeof(wr_piece) + jobs[count].piece->bytes;
        ask_ahead(&jobs[count++]);
    }
    if (apart) { /* what is not saved by now is in the copy as it was */
        for (uint32_t i = 0; i < count; i++) copy_entries(&jobs[i]);
        wr_fence(memory_order_seq_cst);
    }
    for (uint32_t i = 0; i < count; i++) all += find_chains(&jobs[i], i, chains + all);
    for (uint32_t i = 0; i < count && !apart; i++) copy_entries(&jobs[i]);
    undo_entries(jobs, chains, all);
    for (uint32_t i = 0; i < count; i++) number_strings(table, &jobs[i]);
    return walk->group < table->groups ? WR_PIECES_SOME : WR_PIECES_ALL;
}
