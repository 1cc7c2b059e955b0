/* snapshot/find_kernel.h: the batch look-up, compiled once per instruction set. The includer defines
 *   WR_KERNEL(NAME)    NAME with the set's suffix
 *   WR_KERNEL_TARGET   the function attribute
 *   WR_KERNEL_AVX2     1 when one compare takes a whole bucket's tags
 *
 * Three passes over strips of 64 records, each pass one strip behind the one before, so that a line has a strip's time to come
 * from memory: (a) bucket address, (b) tags, entry address, (c) key. What is not right in the home bucket's first match goes to
 * the miss list without a branch; the caller resolves it one by one. */
#ifndef WR_STRIP
#define WR_STRIP       64u
#define WR_LONG_AHEAD  16u
#define WR_STRIPS_RING 4u /* passes are two strips apart at most; a power of two */
#endif

static inline __attribute__((always_inline)) WR_KERNEL_TARGET uint32_t WR_KERNEL(match)(const wr_bucket *bucket,
                                                                                        uint32_t         tag)
{
#if WR_KERNEL_AVX2
    __m256i tags = _mm256_load_si256((const __m256i *)bucket->tag);
    __m256i equal = _mm256_cmpeq_epi32(tags, _mm256_set1_epi32((int)tag));
    return (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(equal));
#else
    return wr_bucket_match(bucket, tag);
#endif
}

typedef struct WR_KERNEL(ring) {
    const wr_bucket *bucket[WR_STRIP * WR_STRIPS_RING];
    uint32_t         tag[WR_STRIP * WR_STRIPS_RING];
    uint8_t          bad[WR_STRIP * WR_STRIPS_RING];
} WR_KERNEL(ring);
#define WR_RING_MASK (WR_STRIP * WR_STRIPS_RING - 1)

/* Pass (a). */
static inline __attribute__((always_inline)) WR_KERNEL_TARGET void WR_KERNEL(buckets)(WR_KERNEL(ring) * ring,
                                                                                      const wr_index *index,
                                                                                      const uint64_t *hash,
                                                                                      uint32_t from, uint32_t to)
{
    const uint64_t    low = index->low;
    const uint32_t    norm = index->norm, shift = index->shift;
    wr_bucket *const *directory = index->directory;
    for (uint32_t i = from; i < to; i++) {
        uint64_t         x = (hash[i] - low) << norm;
        const wr_bucket *bucket = directory[x >> shift] + (hash[i] & (WR_SEGMENT_BUCKETS - 1));
        ring->bucket[i & WR_RING_MASK] = bucket;
        ring->tag[i & WR_RING_MASK] = (uint32_t)(x >> 32) | 1;
        __builtin_prefetch(bucket);
    }
}

/* Pass (b). An entry at position 0 is readable and belongs to nobody. */
static inline __attribute__((always_inline)) WR_KERNEL_TARGET void WR_KERNEL(entries)(WR_KERNEL(ring) * ring,
                                                                                      char *base, const uint64_t stride,
                                                                                      uint32_t from, uint32_t to,
                                                                                      void **entry)
{
    for (uint32_t i = from; i < to; i++) {
        const wr_bucket *bucket = ring->bucket[i & WR_RING_MASK];
        uint32_t         match = WR_KERNEL(match)(bucket, ring->tag[i & WR_RING_MASK]);
        char            *at = base + bucket->position[(uint32_t)__builtin_ctz(match | 0x80)] * stride;
        __builtin_prefetch(at, 1);
        entry[i] = at;
        ring->bad[i & WR_RING_MASK] = match == 0;
    }
}

/* entry[i] = the state of key i, or anything when i stands in miss[]. Returns how many stand there, ascending. */
WR_KERNEL_TARGET uint32_t WR_KERNEL(wr_find_integer)(const wr_index *index, char *base, uint32_t stride,
                                                     const char *key, uint32_t key_stride, const uint64_t *hash,
                                                     uint32_t n, uint32_t state_at, void **entry, uint32_t *miss)
{
    WR_KERNEL(ring) ring;
    uint32_t       misses = 0;
    const uint64_t step = key_stride;
    WR_KERNEL(buckets)(&ring, index, hash, 0, n < WR_STRIP ? n : WR_STRIP);
    for (uint32_t at = 0; at < n + WR_STRIP; at += WR_STRIP) {
        uint32_t to = at + WR_STRIP < n ? at + WR_STRIP : n;
        uint32_t ahead = at + 2 * WR_STRIP < n ? at + 2 * WR_STRIP : n;
        WR_KERNEL(buckets)(&ring, index, hash, at + WR_STRIP, ahead);
        WR_KERNEL(entries)(&ring, base, stride, at, to, entry);
        if (at == 0) continue;
        for (uint32_t i = at - WR_STRIP, end = at < n ? at : n; i < end; i++) {
            uint64_t stored, wanted;
            memcpy(&stored, entry[i], 8);
            entry[i] = (char *)entry[i] + state_at;
            memcpy(&wanted, key + i * step, 8);
            miss[misses] = i;
            misses += ring.bad[i & WR_RING_MASK] | (stored != wanted);
        }
    }
    return misses;
}

/* The same for a string. Equal length, prefix and tag of a long one: its bytes are compared in a second round, prefetched. */
WR_KERNEL_TARGET uint32_t WR_KERNEL(wr_find_string)(const wr_index *index, char *base, uint32_t stride, const char *key,
                                                    uint32_t key_stride, const uint64_t *hash, uint32_t n,
                                                    uint32_t state_at, void **entry, uint32_t *miss)
{
    WR_KERNEL(ring) ring;
    uint32_t       misses = 0, longs = 0, late[WR_FIND_MAX];
    const uint64_t step = key_stride;
    WR_KERNEL(buckets)(&ring, index, hash, 0, n < WR_STRIP ? n : WR_STRIP);
    for (uint32_t at = 0; at < n + WR_STRIP; at += WR_STRIP) {
        uint32_t to = at + WR_STRIP < n ? at + WR_STRIP : n;
        uint32_t ahead = at + 2 * WR_STRIP < n ? at + 2 * WR_STRIP : n;
        WR_KERNEL(buckets)(&ring, index, hash, at + WR_STRIP, ahead);
        WR_KERNEL(entries)(&ring, base, stride, at, to, entry);
        if (at == 0) continue;
        for (uint32_t i = at - WR_STRIP, end = at < n ? at : n; i < end; i++) {
            uint64_t stored[2], wanted[2];
            memcpy(stored, entry[i], 16);
            entry[i] = (char *)entry[i] + state_at;
            memcpy(wanted, key + i * step, 16);
            uint32_t inlined = (uint32_t)wanted[0] <= WEIR_STR_INLINE;
            uint32_t bad = ring.bad[i & WR_RING_MASK] | (stored[0] != wanted[0]) | (inlined & (stored[1] != wanted[1]));
            miss[misses] = i;
            misses += bad;
            late[longs] = i;
            longs += (bad | inlined) ^ 1;
        }
    }
    for (uint32_t q = 0; q < longs && q < WR_LONG_AHEAD; q++)
        __builtin_prefetch(((const weir_str *)(const void *)((char *)entry[late[q]] - state_at))->u.far);
    for (uint32_t q = 0; q < longs; q++) {
        uint32_t i = late[q], soon = late[q + WR_LONG_AHEAD < longs ? q + WR_LONG_AHEAD : q];
        __builtin_prefetch(((const weir_str *)(const void *)((char *)entry[soon] - state_at))->u.far);
        const weir_str *stored = (const weir_str *)(const void *)((char *)entry[i] - state_at);
        const weir_str *wanted = (const weir_str *)(const void *)(key + i * step);
        miss[misses] = i;
        misses += !wr_key_far_equal(stored->u.far, wanted->u.far, wanted->len);
    }
    return misses;
}
#undef WR_RING_MASK
