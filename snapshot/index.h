/* snapshot/index.h: from a hash to positions in a family. Holds no keys: who asks compares them.
 *
 * Owner: a table, its slot's thread. Buckets of one cache line (8 tags, 8 positions) in segments of 8 KiB under a
 * directory over the top bits of x = (hash - low) << norm, so that the directory begins at the table's own hash
 * range. The bucket comes from the low bits of the hash, the tag from the top of x: a split needs no key, except for
 * entries away from home. A key is at most WR_PROBE_MAX buckets away from home. Where that and the greatest depth do
 * not suffice (keys chosen by an enemy), it goes to `over`, a second index over a salted hash, which nobody can aim
 * at. */
#ifndef WR_SNAPSHOT_INDEX_H
#define WR_SNAPSHOT_INDEX_H
#include "base/mem.h"
#include "snapshot/family.h"
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define WR_SEGMENT_BUCKETS 128u
#define WR_SEGMENT_FULL    (WR_SEGMENT_BUCKETS * 8 * 7 / 10)
#define WR_PROBE_MAX       8u
#define WR_TAG_FREE        0u
#define WR_TAG_DELETED     2u /* real tags are odd */

typedef struct wr_bucket {
    uint32_t tag[8];
    uint32_t position[8];
} __attribute__((aligned(64))) wr_bucket;

typedef struct wr_segment {
    uint16_t live;
    uint8_t  depth;
    uint8_t  over; /* some of its keys are in `over` */
} wr_segment;

typedef struct wr_index wr_index;
struct wr_index {
    wr_bucket **directory; /* 2^depth */
    uint32_t    shift;     /* 64 - depth */
    uint32_t    norm;
    uint64_t    low, range;
    wr_bucket  *bucket; /* all segments, one after the other */
    wr_segment *segment;
    uint32_t    depth, segments;
    uint64_t    segments_max;
    uint64_t    live;
    wr_index   *over;
    uint64_t    salt;
    wr_index   *parent; /* whose `over` this is */
    uint64_t (*hash_of)(const void *self, uint32_t position);
    const void      *self;
    const wr_family *family;                                       /* where the positions point */
    uint64_t         directory_bytes, bucket_bytes, segment_bytes; /* reserved */
    uint64_t         directory_counted;
    bool             large, huge;
    wr_ahead_range   ahead;
};

/* The hashes of an index are in [low, low + range); range 0 = 2^64. */
wr_err wr_index_init(wr_index *index, uint64_t low, uint64_t range, uint64_t (*hash_of)(const void *, uint32_t),
                     const void *self, const wr_family *family, wr_errinfo *info);
void   wr_index_fini(wr_index *index);
/* So many keys will come: an empty index makes the segments that they need now instead of splitting its way there. */
void wr_index_expect(wr_index *index, uint64_t keys);
/* The key must not be in it. */
void wr_index_insert(wr_index *index, uint64_t hash, uint32_t position);
void wr_index_remove(wr_index *index, uint64_t hash, uint32_t position);        /* must be there */
void wr_index_move(wr_index *index, uint64_t hash, uint32_t from, uint32_t to); /* must be there */

static inline uint64_t wr_index_x(const wr_index *index, uint64_t hash)
{
    return (hash - index->low) << index->norm;
}
static inline uint32_t wr_index_tag(uint64_t x)
{
    return (uint32_t)(x >> 32) | 1;
}
static inline wr_bucket *wr_index_home(const wr_index *index, uint64_t x)
{
    return index->directory[x >> index->shift];
}

/* Bit i: tag[i] == tag. */
static inline uint32_t wr_bucket_match(const wr_bucket *bucket, uint32_t tag)
{
#ifdef __SSE2__
    __m128i wanted = _mm_set1_epi32((int)tag);
    __m128i low = _mm_cmpeq_epi32(_mm_load_si128((const __m128i *)bucket->tag), wanted);
    __m128i high = _mm_cmpeq_epi32(_mm_load_si128((const __m128i *)bucket->tag + 1), wanted);
    return (uint32_t)_mm_movemask_ps(_mm_castsi128_ps(low)) | (uint32_t)_mm_movemask_ps(_mm_castsi128_ps(high)) << 4;
#else
    uint32_t match = 0;
    for (uint32_t i = 0; i < 8; i++) match |= (uint32_t)(bucket->tag[i] == tag) << i;
    return match;
#endif
}

static inline wr_segment *wr_index_segment(const wr_index *index, const wr_bucket *bucket)
{
    return &index->segment[(uint64_t)((const char *)bucket - (const char *)index->bucket) /
                           (WR_SEGMENT_BUCKETS * sizeof(wr_bucket))];
}

/* The common insert: true when the home bucket shows that the key is not there and has room for it; then it goes into
 * *slot of *bucket, by wr_index_fill. */
static inline bool wr_index_room(const wr_index *index, uint64_t hash, wr_bucket **bucket, uint32_t *slot)
{
    uint64_t x = wr_index_x(index, hash);
    *bucket = wr_index_home(index, x) + (hash & (WR_SEGMENT_BUCKETS - 1));
    const wr_segment *segment = wr_index_segment(index, *bucket);
    uint32_t          room = wr_bucket_match(*bucket, WR_TAG_FREE);
    *slot = (uint32_t)__builtin_ctz(room | 0x100);
    bool known = wr_bucket_match(*bucket, wr_index_tag(x)) != 0;
    return room != 0 && !known && segment->live < WR_SEGMENT_FULL && !segment->over;
}
static inline void wr_index_fill(wr_index *index, uint64_t hash, wr_bucket *bucket, uint32_t slot, uint32_t position)
{
    bucket->tag[slot] = wr_index_tag(wr_index_x(index, hash));
    bucket->position[slot] = position;
    wr_index_segment(index, bucket)->live++;
    index->live++;
}

/* Inline by force: gcc takes a function that only prefetches for one without effect, and drops its calls. */
#define WR_ASK static inline __attribute__((always_inline)) void

/* What a look-up that missed in the home bucket will read, asked for in two steps: first the bucket behind a full
 * one, later the entry that it names. */
static inline const wr_bucket *wr_index_second(const wr_index *index, uint64_t hash)
{
    const wr_bucket *segment = wr_index_home(index, wr_index_x(index, hash));
    uint32_t         p = (uint32_t)hash & (WR_SEGMENT_BUCKETS - 1);
    bool             full = wr_bucket_match(&segment[p], WR_TAG_FREE) == 0;
    return &segment[(p + full) & (WR_SEGMENT_BUCKETS - 1)];
}
WR_ASK wr_index_ask_home(const wr_index *index, uint64_t hash)
{
    WR_FETCH(wr_index_home(index, wr_index_x(index, hash)) + (hash & (WR_SEGMENT_BUCKETS - 1)));
}
WR_ASK wr_index_ask_bucket(const wr_index *index, uint64_t hash)
{
    WR_FETCH(wr_index_second(index, hash));
}
WR_ASK wr_index_ask_entry(const wr_index *index, uint64_t hash)
{
    const wr_bucket *bucket = wr_index_second(index, hash);
    uint32_t         match = wr_bucket_match(bucket, wr_index_tag(wr_index_x(index, hash)));
    const char      *entry = wr_family_at(index->family, bucket->position[(uint32_t)__builtin_ctz(match | 0x80)]);
    uintptr_t        none = (uintptr_t)(match != 0) - 1; /* all ones: it names no entry; then the next bucket may */
    WR_FETCH((const void *)(((uintptr_t)entry & ~none) | ((uintptr_t)(bucket + 1) & none)));
    WR_FETCH(wr_index_segment(index, bucket));
}
/* And the entry that the third bucket names, if the second one names none. */
WR_ASK wr_index_ask_third(const wr_index *index, uint64_t hash)
{
    uint32_t         tag = wr_index_tag(wr_index_x(index, hash));
    const wr_bucket *second = wr_index_second(index, hash);
    if (__builtin_expect(wr_bucket_match(second, tag) != 0, 1)) return;
    const wr_bucket *segment = wr_index_home(index, wr_index_x(index, hash));
    const wr_bucket *third = &segment[(uint32_t)(second + 1 - segment) & (WR_SEGMENT_BUCKETS - 1)];
    uint32_t         match = wr_bucket_match(third, tag);
    WR_FETCH(wr_family_at(index->family, third->position[(uint32_t)__builtin_ctz(match | 0x80)]));
}

/* The candidates for a hash, one after the other: the caller compares keys until one is right.
 *   wr_probe probe = wr_probe_begin(index, hash);
 *   for (uint32_t position; (position = wr_probe_next(&probe)) != 0;) if (is_it(position)) ... */
typedef struct wr_probe {
    const wr_index  *index;
    uint64_t         hash;
    const wr_bucket *segment;
    uint32_t         bucket, tag, match, left;
} wr_probe;

wr_probe wr_probe_begin(const wr_index *index, uint64_t hash);
uint32_t wr_probe_more(wr_probe *probe);

static inline uint32_t wr_probe_next(wr_probe *probe)
{
    if (probe->match == 0) return wr_probe_more(probe);
    uint32_t slot = (uint32_t)__builtin_ctz(probe->match);
    probe->match &= probe->match - 1;
    return probe->segment[probe->bucket].position[slot];
}

#endif
