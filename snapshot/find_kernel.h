/* check: part. snapshot/find_kernel.h: the batch look-up, compiled once per instruction set. The includer defines
 *   WR_KERNEL(NAME)    NAME with the set's suffix
 *   WR_KERNEL_TARGET   the function attribute
 *   WR_KERNEL_AVX2     1 when one compare takes a whole bucket's tags
 *
 * Three passes over strips of 64 records, each one strip behind the one before, so that a line has a strip's time to
 * come from memory: (a) bucket address, (b) tags, entry address, (c) key. What is not right in the home bucket's first
 * match goes to the miss list without a branch; the caller resolves it one by one. */
#ifndef WR_STRIP
#define WR_STRIP 64u
#endif
#define WR_INLINE static inline __attribute__((always_inline)) WR_KERNEL_TARGET

WR_INLINE uint32_t WR_KERNEL(match)(const wr_bucket *bucket, uint32_t tag)
{
#if WR_KERNEL_AVX2
    __m256i tags = _mm256_load_si256((const __m256i *)bucket->tag);
    __m256i equal = _mm256_cmpeq_epi32(tags, _mm256_set1_epi32((int)tag));
    return (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(equal));
#else
    return wr_bucket_match(bucket, tag);
#endif
}

/* Pass (a). The arithmetic is a loop of its own, so that it is vectorised. */
WR_INLINE void WR_KERNEL(buckets)(const wr_index *index, const uint64_t *hash, uint32_t n, const wr_bucket **bucket,
                                  uint32_t *tag)
{
    const uint64_t    low = index->low;
    const uint32_t    norm = index->norm, shift = index->shift;
    wr_bucket *const *directory = index->directory;
    uint32_t          segment[WR_STRIP], within[WR_STRIP];
    for (uint32_t i = 0; i < n; i++) {
        uint64_t x = (hash[i] - low) << norm;
        tag[i] = (uint32_t)(x >> 32) | 1;
        segment[i] = (uint32_t)(x >> shift);
        within[i] = (uint32_t)hash[i] & (WR_SEGMENT_BUCKETS - 1);
    }
    for (uint32_t i = 0; i < n; i++) {
        bucket[i] = directory[segment[i]] + within[i];
        __builtin_prefetch(bucket[i]);
    }
}

/* Pass (b). An entry at position 0 is readable and belongs to nobody. */
WR_INLINE void WR_KERNEL(entries)(const wr_bucket *const *bucket, const uint32_t *tag, uint32_t n, char *base,
                                  const uint64_t stride, char **entry, uint8_t *bad)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t match = WR_KERNEL(match)(bucket[i], tag[i]);
        char    *at = base + bucket[i]->position[(uint32_t)__builtin_ctz(match | 0x80)] * stride;
        __builtin_prefetch(at, 1);
        entry[i] = at;
        bad[i] = match == 0;
    }
}

/* What the three passes of a look-up share: two strips of each, one being written, one being read. */
typedef struct WR_KERNEL(strips) {
    const wr_bucket *bucket[2][WR_STRIP];
    char            *entry[2][WR_STRIP];
    uint32_t         tag[2][WR_STRIP];
    uint8_t          bad[2][WR_STRIP];
} WR_KERNEL(strips);

/* Passes (a) of strip s + 1 and (b) of strip s. */
WR_INLINE void WR_KERNEL(advance)(WR_KERNEL(strips) * strips, const wr_index *index, const uint64_t *hash, uint32_t n,
                                  uint32_t at, char *base, uint64_t stride)
{
    uint32_t now = at / WR_STRIP & 1, next = now ^ 1, ahead = at + WR_STRIP;
    uint32_t a_n = ahead >= n ? 0 : n - ahead < WR_STRIP ? n - ahead : WR_STRIP;
    uint32_t b_n = at >= n ? 0 : n - at < WR_STRIP ? n - at : WR_STRIP;
    WR_KERNEL(buckets)(index, hash + ahead, a_n, strips->bucket[next], strips->tag[next]);
    WR_KERNEL(entries)(strips->bucket[now], strips->tag[now], b_n, base, stride, strips->entry[now], strips->bad[now]);
}

/* How far the misses have been asked for. */
typedef struct WR_KERNEL(asked) {
    uint32_t buckets, entries;
} WR_KERNEL(asked);

/* The misses of this strip ask for the bucket behind their home, those of the strip before for the entry that it
 * names. Few misses are known keys away from home; many are new keys, and the caller asks for those shortly before
 * it inserts them. */
WR_INLINE void WR_KERNEL(ask_misses)(WR_KERNEL(asked) * asked, const wr_index *index, const uint64_t *hash,
                                     const uint32_t *miss, uint32_t misses)
{
    for (; asked->entries < asked->buckets; asked->entries++) wr_index_ask_entry(index, hash[miss[asked->entries]]);
    if (misses - asked->buckets > WR_STRIP / 8) asked->entries = asked->buckets = misses;
    for (; asked->buckets < misses; asked->buckets++) wr_index_ask_bucket(index, hash[miss[asked->buckets]]);
}

/* place: a constant NULL, or whose place is looked for beside the key, which lies in the same line. */
WR_INLINE uint32_t WR_KERNEL(integers)(const wr_index *index, char *base, uint32_t stride, const char *key,
                                       uint32_t key_stride, const uint64_t *hash, uint32_t n, uint32_t state_at,
                                       void **state, uint32_t *miss, const wr_table_place *place, uint32_t *rest,
                                       uint32_t *rest_n)
{
    WR_KERNEL(strips) strips;
    WR_KERNEL(asked) asked = {0};
    uint32_t             misses = 0, rests = 0;
    const wr_table_place in = place != NULL ? *place : (wr_table_place){0};
    WR_KERNEL(buckets)(index, hash, n < WR_STRIP ? n : WR_STRIP, strips.bucket[0], strips.tag[0]);
    for (uint32_t at = 0; at < n + WR_STRIP; at += WR_STRIP) {
        WR_KERNEL(advance)(&strips, index, hash, n, at, base, stride);
        if (at == 0) continue;
        uint32_t     from = at - WR_STRIP, count = n - from < WR_STRIP ? n - from : WR_STRIP, was = from / WR_STRIP & 1;
        const char  *wanted_at = key + (uint64_t)from * key_stride;
        char *const *entry = strips.entry[was];
        const uint8_t *bad = strips.bad[was];
        for (uint32_t i = 0; i < count; i++, wanted_at += key_stride) {
            uint64_t stored, wanted, word;
            memcpy(&stored, entry[i], 8);
            memcpy(&wanted, wanted_at, 8);
            state[from + i] = entry[i] + state_at;
            uint32_t wrong = bad[i] | (stored != wanted);
            miss[misses] = from + i;
            misses += wrong;
            if (place == NULL) continue;
            memcpy(&word, entry[i] + state_at + in.word, 8);
            rest[rests] = from + i;
            rests += (wrong | wr_table_placed(&in, word)) ^ 1;
        }
        WR_KERNEL(ask_misses)(&asked, index, hash, miss, misses);
    }
    WR_KERNEL(ask_misses)(&asked, index, hash, miss, misses);
    if (place != NULL) *rest_n = rests;
    return misses;
}

WR_KERNEL_TARGET uint32_t WR_KERNEL(wr_find_integer)(const wr_index *index, char *base, uint32_t stride,
                                                     const char *key, uint32_t key_stride, const uint64_t *hash,
                                                     uint32_t n, uint32_t state_at, void **state, uint32_t *miss)
{
    return WR_KERNEL(integers)(index, base, stride, key, key_stride, hash, n, state_at, state, miss, NULL, NULL, NULL);
}

WR_KERNEL_TARGET uint32_t WR_KERNEL(wr_find_in_place)(const wr_index *index, char *base, uint32_t stride,
                                                      const char *key, uint32_t key_stride, const uint64_t *hash,
                                                      uint32_t n, uint32_t state_at, void **state, uint32_t *miss,
                                                      const wr_table_place *place, uint32_t *rest, uint32_t *rests)
{
    return WR_KERNEL(integers)(index, base, stride, key, key_stride, hash, n, state_at, state, miss, place, rest,
                               rests);
}

/* The same for a string. Equal length, prefix and tag of a long one: its bytes are compared in a second round,
 * prefetched. */
WR_KERNEL_TARGET uint32_t WR_KERNEL(wr_find_string)(const wr_index *index, char *base, uint32_t stride, const char *key,
                                                    uint32_t key_stride, const uint64_t *hash, uint32_t n,
                                                    uint32_t state_at, void **state, uint32_t *miss)
{
    WR_KERNEL(strips) strips;
    WR_KERNEL(asked) asked = {0};
    uint32_t       misses = 0, longs = 0, late[WR_FIND_MAX];
    const uint64_t step = key_stride;
    WR_KERNEL(buckets)(index, hash, n < WR_STRIP ? n : WR_STRIP, strips.bucket[0], strips.tag[0]);
    for (uint32_t at = 0; at < n + WR_STRIP; at += WR_STRIP) {
        WR_KERNEL(advance)(&strips, index, hash, n, at, base, stride);
        if (at == 0) continue;
        uint32_t     from = at - WR_STRIP, count = n - from < WR_STRIP ? n - from : WR_STRIP, was = from / WR_STRIP & 1;
        char *const *entry = strips.entry[was];
        const uint8_t *bad = strips.bad[was];
        for (uint32_t i = 0; i < count; i++) {
            uint64_t stored[2], wanted[2];
            memcpy(stored, entry[i], 16);
            memcpy(wanted, key + (from + i) * step, 16);
            state[from + i] = entry[i] + state_at;
            uint32_t inlined = (uint32_t)wanted[0] <= WEIR_STR_INLINE;
            uint64_t far = inlined - UINT64_C(1); /* all ones when the bytes lie elsewhere */
            __builtin_prefetch((const char *)(uintptr_t)((stored[1] & far) | ((uint64_t)(uintptr_t)entry[i] & ~far)));
            uint32_t wrong = bad[i] | (stored[0] != wanted[0]) | (inlined & (stored[1] != wanted[1]));
            miss[misses] = from + i;
            misses += wrong;
            late[longs] = from + i;
            longs += (wrong | inlined) ^ 1;
        }
        WR_KERNEL(ask_misses)(&asked, index, hash, miss, misses);
    }
    WR_KERNEL(ask_misses)(&asked, index, hash, miss, misses);
    for (uint32_t q = 0; q < longs; q++) {
        uint32_t        i = late[q];
        const weir_str *stored = (const weir_str *)(const void *)((char *)state[i] - state_at);
        const weir_str *wanted = (const weir_str *)(const void *)(key + i * step);
        miss[misses] = i;
        misses += !wr_key_far_equal(stored->u.far, wanted->u.far, wanted->len);
    }
    return misses;
}
#undef WR_INLINE
