/* snapshot/index.c: growth, insert and removal of the index. The batch look-up is find_kernel.h. */
#include "snapshot/index.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/mem.h"
#include <stdlib.h>
#include <sys/auxv.h>

#define SEGMENT_BYTES   (WR_SEGMENT_BUCKETS * sizeof(wr_bucket))
#define DIRECTORY_SLACK 64u                   /* directory entries that one segment may cost */
#define EXPECTED_MAX    600u                  /* keys of a segment on average: few exceed WR_SEGMENT_FULL then */
#define SPLIT_MIN       (WR_SEGMENT_FULL / 3) /* emptier segments do not split: their keys were chosen */

static uint32_t new_segment(wr_index *index, uint32_t depth, uint32_t over)
{
    check(index->segments < index->segments_max);
    uint32_t id = index->segments++;
    index->segment[id] = (wr_segment){.depth = (uint8_t)depth, .over = (uint8_t)over};
    wr_budget_add(index->family->budget, index->family->table_bytes, SEGMENT_BYTES + sizeof(wr_segment));
    if (index->large && !index->huge && index->segments * SEGMENT_BYTES > WR_HUGE_BYTES / 2) {
        wr_family_huge(index->bucket, index->bucket_bytes);
        index->huge = true;
    }
    if (index->huge)
        wr_family_ahead(&index->ahead, index->family->budget, index->bucket, index->bucket_bytes,
                        index->segments * SEGMENT_BYTES);
    return id;
}

wr_err wr_index_init(wr_index *index, uint64_t low, uint64_t range, uint64_t (*hash_of)(const void *, uint32_t),
                     const void *self, const wr_family *family, wr_errinfo *info)
{
    *index = (wr_index){.low = low, .hash_of = hash_of, .self = self, .family = family, .depth = 1, .shift = 63};
    index->large = family->large;
    index->range = range;
    index->norm = range <= 1 ? 0 : (uint32_t)__builtin_clzll(range - 1);
    index->directory_bytes = sizeof(void *) << WR_DIRECTORY_DEPTH_MAX;
    index->segments_max = UINT64_C(1) << WR_DIRECTORY_DEPTH_MAX;
    index->segment_bytes = index->segments_max * sizeof(wr_segment);
    void *bucket = NULL;
    index->directory = wr_mem_reserve(index->directory_bytes);
    index->segment = wr_mem_reserve(index->segment_bytes);
    index->bucket_bytes = wr_family_reserve(&bucket, wr_family_range_bytes(family->budget), UINT64_C(1) << 26);
    index->bucket = bucket;
    if (index->directory == NULL || index->segment == NULL || bucket == NULL) {
        wr_index_fini(index);
        return wr_fail(info, WR_MEMORY, "no address space left for a table's index; raise the limit (ulimit -v)");
    }
    if (index->segments_max > index->bucket_bytes / SEGMENT_BYTES)
        index->segments_max = index->bucket_bytes / SEGMENT_BYTES;
    uint32_t id = new_segment(index, 0, 0);
    index->directory[0] = index->directory[1] = &index->bucket[(uint64_t)id * WR_SEGMENT_BUCKETS];
    return WR_OK;
}

void wr_index_fini(wr_index *index)
{
    if (index->over != NULL) {
        wr_index_fini(index->over);
        free(index->over);
    }
    wr_mem_release(index->directory, index->directory_bytes);
    wr_mem_release(index->segment, index->segment_bytes);
    wr_ahead_remove(&index->ahead);
    wr_mem_release(index->bucket, index->bucket_bytes);
    *index = (wr_index){0};
}

/* ---- looking ----------------------------------------------------------------------------------------------------- */

static inline uint64_t salted(const wr_index *over, uint64_t hash)
{
    return wr_fmix64(wr_fmix64(hash ^ over->salt) + over->salt);
}

wr_probe wr_probe_begin(const wr_index *index, uint64_t hash)
{
    uint64_t x = wr_index_x(index, hash);
    wr_probe probe = {.index = index,
                      .hash = hash,
                      .segment = wr_index_home(index, x),
                      .tag = wr_index_tag(x),
                      .bucket = (uint32_t)hash & (WR_SEGMENT_BUCKETS - 1),
                      .left = WR_PROBE_MAX};
    probe.match = wr_bucket_match(&probe.segment[probe.bucket], probe.tag);
    return probe;
}

uint32_t wr_probe_more(wr_probe *probe)
{
    for (;;) {
        if (--probe->left == 0 || wr_bucket_match(&probe->segment[probe->bucket], WR_TAG_FREE) != 0) {
            const wr_index *index = probe->index;
            if (index->over == NULL || !wr_index_segment(index, probe->segment)->over) {
                probe->left = 1; /* asking again gives 0 again */
                return 0;
            }
            *probe = wr_probe_begin(index->over, salted(index->over, probe->hash));
            return wr_probe_next(probe);
        }
        probe->bucket = (probe->bucket + 1) & (WR_SEGMENT_BUCKETS - 1);
        probe->match = wr_bucket_match(&probe->segment[probe->bucket], probe->tag);
        if (probe->match != 0) return wr_probe_next(probe);
    }
}

/* The slot that holds a position, or NULL. *in is the index that has it. */
static wr_bucket *slot_of(wr_index *index, uint64_t hash, uint32_t position, uint32_t *slot, wr_index **in)
{
    uint64_t   x = wr_index_x(index, hash);
    wr_bucket *segment = wr_index_home(index, x);
    uint32_t   p = (uint32_t)hash & (WR_SEGMENT_BUCKETS - 1);
    for (uint32_t i = 0; i < WR_PROBE_MAX; i++, p = (p + 1) & (WR_SEGMENT_BUCKETS - 1)) {
        for (uint32_t match = wr_bucket_match(&segment[p], wr_index_tag(x)); match != 0; match &= match - 1) {
            *slot = (uint32_t)__builtin_ctz(match);
            *in = index;
            if (segment[p].position[*slot] == position) return &segment[p];
        }
        if (wr_bucket_match(&segment[p], WR_TAG_FREE) != 0) break;
    }
    if (index->over == NULL) return NULL;
    return slot_of(index->over, salted(index->over, hash), position, slot, in);
}

void wr_index_move(wr_index *index, uint64_t hash, uint32_t from, uint32_t to)
{
    uint32_t   slot;
    wr_index  *in;
    wr_bucket *bucket = slot_of(index, hash, from, &slot, &in);
    check(bucket != NULL);
    bucket->position[slot] = to;
}

void wr_index_remove(wr_index *index, uint64_t hash, uint32_t position)
{
    uint32_t   slot;
    wr_index  *in;
    wr_bucket *bucket = slot_of(index, hash, position, &slot, &in);
    check(bucket != NULL);
    /* A full bucket may have been passed by a key on its way to the next one: no hole in it, or that key would be
     * lost. */
    bucket->tag[slot] = wr_bucket_match(bucket, WR_TAG_FREE) != 0 ? WR_TAG_FREE : WR_TAG_DELETED;
    bucket->position[slot] = 0;
    wr_index_segment(in, bucket)->live--;
    in->live--;
}

/* ---- growing ----------------------------------------------------------------------------------------------------- */

/* Into a segment that is not full; false when no bucket near home has room. */
static bool place(wr_bucket *segment, uint64_t hash, uint32_t tag, uint32_t position)
{
    uint32_t p = (uint32_t)hash & (WR_SEGMENT_BUCKETS - 1);
    for (uint32_t i = 0; i < WR_PROBE_MAX; i++, p = (p + 1) & (WR_SEGMENT_BUCKETS - 1)) {
        uint32_t room = wr_bucket_match(&segment[p], WR_TAG_FREE);
        if (room == 0) room = wr_bucket_match(&segment[p], WR_TAG_DELETED);
        if (room == 0) continue;
        uint32_t slot = (uint32_t)__builtin_ctz(room);
        segment[p].tag[slot] = tag;
        segment[p].position[slot] = position;
        return true;
    }
    return false;
}

static void into_over(wr_index *index, wr_segment *segment, uint64_t hash, uint32_t position)
{
    if (index->over == NULL) {
        wr_index *over = malloc(sizeof *over);
        check(over != NULL);
        wr_errinfo info = {0};
        check(wr_index_init(over, 0, 0, index->hash_of, index->self, index->family, &info) == WR_OK);
        memcpy(&over->salt, (const void *)getauxval(AT_RANDOM),
               sizeof over->salt); /* never seen outside: only time shows it */
        over->parent = index;
        index->over = over;
    }
    segment->over = 1;
    wr_index_insert(index->over, salted(index->over, hash), position);
}

static bool can_double(const wr_index *index)
{
    return index->depth < WR_DIRECTORY_DEPTH_MAX &&
           (UINT64_C(2) << index->depth) <= (uint64_t)DIRECTORY_SLACK * index->segments + 1024;
}

static void double_directory(wr_index *index)
{
    for (uint64_t i = UINT64_C(1) << index->depth; i-- > 0;)
        index->directory[2 * i] = index->directory[2 * i + 1] = index->directory[i];
    index->depth++;
    index->shift--;
    uint64_t bytes = sizeof(void *) << index->depth;
    if (bytes > WR_PAGE_BYTES) {
        wr_budget_add(index->family->budget, index->family->table_bytes, (int64_t)(bytes - index->directory_counted));
        index->directory_counted = bytes;
    }
}

void wr_index_expect(wr_index *index, uint64_t keys)
{
    check(index->live == 0 && index->segments == 1 && index->parent == NULL);
    uint32_t depth = 0;
    uint64_t used = 1; /* directory entries that hashes can lead to: the range begins at 0 and need not fill it */
    while (depth < WR_DIRECTORY_DEPTH_MAX - 1 && keys / used > EXPECTED_MAX &&
           (UINT64_C(4) << depth) <= index->segments_max) {
        depth++;
        used = index->range == 0 ? UINT64_C(1) << depth : (((index->range << index->norm) - 1) >> (64 - depth)) + 1;
    }
    if (depth == 0) return;
    index->depth = depth;
    index->shift = 64 - depth;
    uint64_t all = UINT64_C(1) << depth, span;
    for (uint64_t at = 0; at < all; at += span) {
        span = at < used ? 1 : at & -at; /* the rest in as few segments as can be */
        uint32_t own = depth - (uint32_t)__builtin_ctzll(span), id = 0;
        if (at == 0)
            index->segment[0].depth = (uint8_t)own;
        else
            id = new_segment(index, own, 0);
        for (uint64_t i = 0; i < span; i++)
            index->directory[at + i] = &index->bucket[(uint64_t)id * WR_SEGMENT_BUCKETS];
    }
    uint64_t bytes = sizeof(void *) << depth;
    if (bytes > WR_PAGE_BYTES) {
        wr_budget_add(index->family->budget, index->family->table_bytes, (int64_t)bytes);
        index->directory_counted = bytes;
    }
}

/* An entry that may be away from home, on its way through a split. */
typedef struct stray {
    uint32_t tag, position;
} stray;

static uint64_t hash_at(const wr_index *index, uint32_t position)
{
    if (index->parent != NULL) return salted(index, hash_at(index->parent, position));
    return index->hash_of(index->self, position);
}

/* Deals one segment's buckets out to two. The bit of the tag tells which; strays are left for later. */
static uint32_t deal(wr_bucket *old, wr_bucket *made, uint32_t bit, stray *strays, uint32_t *moved, uint32_t *kept)
{
    uint32_t count = 0, stayed = 0, went = 0;
    bool     first_full = wr_bucket_match(&old[0], WR_TAG_FREE) == 0;
    bool     before_full = wr_bucket_match(&old[WR_SEGMENT_BUCKETS - 1], WR_TAG_FREE) == 0;
    for (uint32_t i = 0; i < WR_SEGMENT_BUCKETS; i++) {
        wr_bucket from = old[i];
        bool      full = i == 0 ? first_full : wr_bucket_match(&from, WR_TAG_FREE) == 0;
        uint32_t  a = 0, b = 0;
        memset(&old[i], 0, sizeof old[i]);
        if (__builtin_expect(before_full, 0)) {
            for (uint32_t k = 0; k < 8; k++) {
                strays[count] = (stray){from.tag[k], from.position[k]};
                count += from.tag[k] & 1;
            }
        } else {
            /* Both sides are written and one cursor moves: no branch to mispredict. */
            uint32_t low_tag[9], low_position[9], high_tag[9], high_position[9];
            for (uint32_t k = 0; k < 8; k++) {
                uint32_t real = from.tag[k] & 1, up = from.tag[k] >> bit & real;
                low_tag[a] = high_tag[b] = from.tag[k];
                low_position[a] = high_position[b] = from.position[k];
                a += real & ~up;
                b += up;
            }
            for (uint32_t k = 0; k < a; k++) old[i].tag[k] = low_tag[k], old[i].position[k] = low_position[k];
            for (uint32_t k = 0; k < b; k++) made[i].tag[k] = high_tag[k], made[i].position[k] = high_position[k];
        }
        stayed += a;
        went += b;
        before_full = full;
    }
    *kept = stayed;
    *moved = went;
    return count;
}

/* Splits the segment of x in two by one more bit. */
static void split(wr_index *index, uint64_t x)
{
    uint64_t    at = x >> index->shift;
    wr_bucket  *old = index->directory[at];
    wr_segment *segment = wr_index_segment(index, old);
    if (segment->depth == index->depth) {
        double_directory(index);
        at = x >> index->shift;
    }
    uint32_t   depth = segment->depth + 1u;
    uint32_t   id = new_segment(index, depth, segment->over);
    wr_bucket *made = &index->bucket[(uint64_t)id * WR_SEGMENT_BUCKETS];
    segment->depth = (uint8_t)depth;
    uint64_t span = UINT64_C(1) << (index->depth - depth);
    uint64_t base = at & ~(2 * span - 1);
    for (uint64_t i = 0; i < span; i++) index->directory[base + span + i] = made;

    stray    strays[WR_SEGMENT_BUCKETS * 8 + 1];
    uint32_t moved, kept, bit = 32 - depth;
    uint32_t count = deal(old, made, bit, strays, &moved, &kept);
    index->segment[id].live = (uint16_t)moved;
    segment->live = (uint16_t)kept;
    for (uint32_t i = 0; i < count; i++) WR_FETCH(wr_family_at(index->family, strays[i].position));
    for (uint32_t i = 0; i < count; i++) {
        uint64_t    hash = hash_at(index, strays[i].position);
        bool        up = strays[i].tag >> bit & 1;
        wr_segment *to = up ? &index->segment[id] : segment;
        if (place(up ? made : old, hash, strays[i].tag, strays[i].position)) {
            to->live++;
        } else {
            index->live--;
            into_over(index, to, hash, strays[i].position);
        }
    }
}

void wr_index_insert(wr_index *index, uint64_t hash, uint32_t position)
{
    uint64_t x = wr_index_x(index, hash);
    for (;;) {
        wr_bucket  *home = wr_index_home(index, x);
        wr_segment *segment = wr_index_segment(index, home);
        if (segment->live < WR_SEGMENT_FULL && place(home, hash, wr_index_tag(x), position)) {
            segment->live++;
            index->live++;
            return;
        }
        bool may_split = segment->live >= SPLIT_MIN && (segment->depth < index->depth || can_double(index));
        if (!may_split) {
            into_over(index, segment, hash, position);
            return;
        }
        split(index, x);
    }
}
