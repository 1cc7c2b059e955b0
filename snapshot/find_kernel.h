/* check: part. snapshot/find_kernel.h: the batch look-up, compiled once per instruction set. The includer defines
 *   WR_KERNEL(NAME)    NAME with the set's suffix
 *   WR_KERNEL_TARGET   the function attribute
 *   WR_KERNEL_BITS     of its vectors that are used here: 0, 256 or 512
 *
 * Three passes over strips of 64 records, each one strip behind the one before, so that a line has a strip's time to
 * come from memory: (a) bucket address, (b) tags, entry address, (c) key. What is not right in the home bucket's first
 * match goes to the miss list; the caller resolves it one by one. Passes (a) to (c) only fetch, record by record. A
 * strip is judged at once, in masks of a bit per record, and one more strip behind: its branches are mispredicted now
 * and then, and if what they depend on were still on its way from memory, nothing else would be asked for meanwhile. */
#define WR_STRIP  64u /* bits of a mask */
#define WR_INLINE static inline __attribute__((always_inline)) WR_KERNEL_TARGET

WR_INLINE uint32_t WR_KERNEL(match)(const wr_bucket *bucket, uint32_t tag)
{
#if WR_KERNEL_BITS
    __m256i tags = _mm256_load_si256((const __m256i *)bucket->tag);
    __m256i equal = _mm256_cmpeq_epi32(tags, _mm256_set1_epi32((int)tag));
    return (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(equal));
#else
    return wr_bucket_match(bucket, tag);
#endif
}

/* What the passes of a look-up share: two strips of each, one being written, one being read. */
typedef struct WR_KERNEL(strips) {
    const wr_bucket *bucket[2][WR_STRIP];
    uint32_t         tag[2][WR_STRIP];
    uint8_t          match[4][WR_STRIP];                  /* which tags of the bucket are the record's */
    uint32_t         segment[WR_STRIP], within[WR_STRIP]; /* of the strip that is in pass (a) */
    uint64_t         differ[2][WR_STRIP];                 /* of pass (c): in which bits the keys differ */
    uint64_t         word[2][WR_STRIP];                   /* places in use */
} WR_KERNEL(strips);

/* What a look-up reads and writes. at: of what state[] points at, from an entry's beginning. rest: integers without
 * their place, or strings to be looked at once more. */
typedef struct WR_KERNEL(found) {
    const char *key;
    uint64_t    key_stride, state_at, at;
    void      **state;
    uint32_t   *miss, *rest;
    uint32_t    misses, rests;
} WR_KERNEL(found);

/* The arithmetic of pass (a) is a loop of its own, so that it is vectorised. */
WR_INLINE void WR_KERNEL(segments)(WR_KERNEL(strips) * s, uint32_t turn, const wr_index *index, const uint64_t *hash,
                                   uint32_t n)
{
    const uint64_t low = index->low;
    const uint32_t norm = index->norm, shift = index->shift;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t x = (hash[i] - low) << norm;
        s->tag[turn][i] = (uint32_t)(x >> 32) | 1;
        s->segment[i] = (uint32_t)(x >> shift);
        s->within[i] = (uint32_t)hash[i] & (WR_SEGMENT_BUCKETS - 1);
    }
}

/* Pass (a) of one record. */
WR_INLINE void WR_KERNEL(bucket)(WR_KERNEL(strips) * s, uint32_t turn, uint32_t i, wr_bucket *const *directory)
{
    const wr_bucket *at = directory[s->segment[i]] + s->within[i];
    s->bucket[turn][i] = at;
    WR_FETCH(at);
}

/* Pass (b) of record from + i, which is number i of its strip. An entry at position 0 is readable and belongs to
 * nobody. */
WR_INLINE void WR_KERNEL(entry)(const WR_KERNEL(found) * f, WR_KERNEL(strips) * s, uint32_t turn, uint32_t from,
                                uint32_t i, char *base, uint64_t stride)
{
    const wr_bucket *bucket = s->bucket[turn][i];
    uint32_t         match = WR_KERNEL(match)(bucket, s->tag[turn][i]);
    char            *entry = base + bucket->position[(uint32_t)__builtin_ctz(match | 0x80)] * stride;
    WR_FETCH(entry);
    f->state[from + i] = entry + f->at;
    s->match[from / WR_STRIP & 3][i] = (uint8_t)match;
}

/* How many of the records from `at` on are in this strip. */
static inline uint32_t WR_KERNEL(strip)(uint32_t at, uint32_t n)
{
    return at >= n ? 0 : n - at < WR_STRIP ? n - at : WR_STRIP;
}

/* How far the misses have been asked for. */
typedef struct WR_KERNEL(asked) {
    uint32_t buckets, entries, thirds;
} WR_KERNEL(asked);

/* The misses of this strip ask for the bucket behind their home, those of the strip before for the entry that it
 * names. Few misses are known keys away from home; many are new keys, and the caller asks for those shortly before
 * it inserts them. */
WR_INLINE void WR_KERNEL(ask_misses)(WR_KERNEL(asked) * asked, const wr_index *index, const uint64_t *hash,
                                     const uint32_t *miss, uint32_t misses)
{
    for (; asked->thirds < asked->entries; asked->thirds++) wr_index_ask_third(index, hash[miss[asked->thirds]]);
    for (; asked->entries < asked->buckets; asked->entries++) wr_index_ask_entry(index, hash[miss[asked->entries]]);
    if (misses - asked->buckets > WR_STRIP / 8) asked->thirds = asked->entries = asked->buckets = misses;
    for (; asked->buckets < misses; asked->buckets++) wr_index_ask_bucket(index, hash[miss[asked->buckets]]);
}

/* Pass (c). */
WR_INLINE void WR_KERNEL(compare)(const WR_KERNEL(found) * f, WR_KERNEL(strips) * s, uint32_t turn, uint32_t from,
                                  uint32_t i, const wr_table_place *place)
{
    uint64_t    stored, wanted;
    const char *entry = (const char *)f->state[from + i] - f->at;
    memcpy(&stored, entry, 8);
    memcpy(&wanted, f->key + (from + i) * f->key_stride, 8);
    s->differ[turn][i] = stored ^ wanted;
    if (place != NULL) memcpy(&s->word[turn][i], entry + f->state_at + place->word, 8);
}

/* Bit i of a mask: value[i] is 0, for the n <= WR_STRIP first ones. */
WR_INLINE uint64_t WR_KERNEL(zeros)(const uint64_t *value, uint32_t n)
{
    uint64_t mask = 0;
#if WR_KERNEL_BITS == 512
    for (uint32_t i = 0; n == WR_STRIP && i < WR_STRIP; i += 8) {
        __m512i v = _mm512_loadu_si512(value + i);
        mask |= (uint64_t)_mm512_testn_epi64_mask(v, v) << i;
    }
    if (n == WR_STRIP) return mask;
#elif WR_KERNEL_BITS == 256
    for (uint32_t i = 0; n == WR_STRIP && i < WR_STRIP; i += 4) {
        __m256i v = _mm256_cmpeq_epi64(_mm256_loadu_si256((const __m256i *)(value + i)), _mm256_setzero_si256());
        mask |= (uint64_t)(uint32_t)_mm256_movemask_pd(_mm256_castsi256_pd(v)) << i;
    }
    if (n == WR_STRIP) return mask;
#endif
    for (uint32_t i = 0; i < n; i++) mask |= (uint64_t)(value[i] == 0) << i;
    return mask;
}

/* The same for bytes that are not 0. */
WR_INLINE uint64_t WR_KERNEL(matches)(const uint8_t *value, uint32_t n)
{
    uint64_t mask = 0;
#if WR_KERNEL_BITS
    for (uint32_t i = 0; n == WR_STRIP && i < WR_STRIP; i += 32) {
        __m256i none = _mm256_cmpeq_epi8(_mm256_loadu_si256((const __m256i *)(value + i)), _mm256_setzero_si256());
        mask |= (uint64_t) ~(uint32_t)_mm256_movemask_epi8(none) << i;
    }
    if (n == WR_STRIP) return mask;
#endif
    for (uint32_t i = 0; i < n; i++) mask |= (uint64_t)(value[i] != 0) << i;
    return mask;
}

/* The same for words that have the place's number: wr_table_placed. */
WR_INLINE uint64_t WR_KERNEL(placed)(const uint64_t *word, uint32_t n, const wr_table_place *in)
{
    uint64_t mask = 0;
#if WR_KERNEL_BITS == 512
    const __m512i number = _mm512_set1_epi64(in->number), places = _mm512_set1_epi64(in->places),
                  bit = _mm512_set1_epi64(INT64_C(1) << in->place);
    for (uint32_t i = 0; n == WR_STRIP && i < WR_STRIP; i += 8) {
        __m512i w = _mm512_loadu_si512(word + i), above = _mm512_sub_epi64(number, _mm512_srai_epi64(w, WR_PLACE_BITS));
        __mmask8 near = _mm512_cmplt_epu64_mask(above, places);
        mask |= (uint64_t)_mm512_mask_test_epi64_mask(near, w, bit) << i;
    }
    if (n == WR_STRIP) return mask;
#endif
    for (uint32_t i = 0; i < n; i++) mask |= (uint64_t)wr_table_placed(in, word[i]) << i;
    return mask;
}

/* from + the number of each bit. Returns how many the list has then. */
WR_INLINE uint32_t WR_KERNEL(list)(uint64_t mask, uint32_t from, uint32_t *list, uint32_t n)
{
    for (; mask != 0; mask &= mask - 1) list[n++] = from + (uint32_t)__builtin_ctzll(mask);
    return n;
}

/* The same for words that say that all is over: wr_table_all_over. */
WR_INLINE uint64_t WR_KERNEL(over)(const uint64_t *word, uint32_t n, const wr_table_place *in)
{
    uint64_t mask = 0;
#if WR_KERNEL_BITS == 512
    const __m512i one = _mm512_set1_epi64(1), places = _mm512_set1_epi64(in->places - 1),
                  alive = _mm512_set1_epi64(in->alive), bits = _mm512_set1_epi64((1 << WR_PLACE_BITS) - 1);
    for (uint32_t i = 0; n == WR_STRIP && i < WR_STRIP; i += 8) {
        __m512i  w = _mm512_loadu_si512(word + i), base = _mm512_srai_epi64(w, WR_PLACE_BITS);
        __m512i  lowest = _mm512_sllv_epi64(one, _mm512_and_si512(base, places));
        __mmask8 dead = _mm512_cmplt_epi64_mask(base, alive), none = _mm512_testn_epi64_mask(w, bits);
        __mmask8 alone = _mm512_mask_cmpeq_epi64_mask(dead, _mm512_and_si512(w, bits), lowest);
        mask |= (uint64_t)(uint8_t)(none | alone) << i;
    }
    if (n == WR_STRIP) return mask;
#endif
    for (uint32_t i = 0; i < n; i++) mask |= (uint64_t)wr_table_all_over(in, word[i]) << i;
    return mask;
}

/* The number takes its place in the states of a mask, where all is over, unless something lies elsewhere: the mask of
 * those. Here, while lines come from memory, it costs little. Of two records of one key that come so close to each
 * other that both saw the state as it was, both take it, which is the same: nothing is added until all are found. */
WR_INLINE uint64_t WR_KERNEL(take)(void *const *value, uint64_t mask, const wr_table_place *place)
{
    uint64_t left = 0;
    for (; mask != 0; mask &= mask - 1) {
        char    *state = (char *)value[(uint32_t)__builtin_ctzll(mask)] - place->value;
        uint32_t others;
        memcpy(&others, state + place->others, 4);
        if (__builtin_expect(others != 0, 0))
            left |= mask & -mask;
        else
            wr_table_put_place(place, state);
    }
    return left;
}

/* What pass (c) has fetched of n records from `from` on. */
WR_INLINE void WR_KERNEL(judge)(WR_KERNEL(found) * f, const WR_KERNEL(strips) * s, uint32_t turn, uint32_t from,
                                uint32_t n, const wr_table_place *place)
{
    const uint64_t all = ~UINT64_C(0) >> (64 - n), known = WR_KERNEL(matches)(s->match[from / WR_STRIP & 3], n);
    const uint64_t right = WR_KERNEL(zeros)(s->differ[turn], n) & known;
    f->misses = WR_KERNEL(list)(all & ~right, from, f->miss, f->misses);
    if (place == NULL) return;
    uint64_t rest = right & ~WR_KERNEL(placed)(s->word[turn], n, place);
    if (place->words != 0) {
        uint64_t over = rest & WR_KERNEL(over)(s->word[turn], n, place);
        rest = (rest & ~over) | WR_KERNEL(take)(f->state + from, over, place);
    }
    f->rests = WR_KERNEL(list)(rest, from, f->rest, f->rests);
}

WR_INLINE void WR_KERNEL(compare_string)(WR_KERNEL(found) * f, const WR_KERNEL(strips) * s, uint32_t from, uint32_t i)
{
    uint64_t    stored[2], wanted[2];
    const char *entry = (const char *)f->state[from + i] - f->at;
    memcpy(stored, entry, 16);
    memcpy(wanted, f->key + (from + i) * f->key_stride, 16);
    uint32_t inlined = (uint32_t)wanted[0] <= WEIR_STR_INLINE;
    uint64_t far = inlined - UINT64_C(1); /* all ones when the bytes lie elsewhere */
    WR_FETCH((const char *)(uintptr_t)((stored[1] & far) | ((uint64_t)(uintptr_t)entry & ~far)));
    uint32_t wrong = (s->match[from / WR_STRIP & 3][i] == 0) | (stored[0] != wanted[0]) |
                     (inlined & (stored[1] != wanted[1]));
    f->miss[f->misses] = from + i;
    f->misses += wrong;
    f->rest[f->rests] = from + i;
    f->rests += (wrong | inlined) ^ 1;
}

/* Whole strips in all passes, of which `turn`, a constant, is the one in pass (a). Record by record: what one pass asks
 * for comes from memory evenly, and while the others work. */
WR_INLINE void WR_KERNEL(three)(WR_KERNEL(found) * f, WR_KERNEL(strips) * s, uint32_t turn, uint32_t from,
                                const wr_index *index, char *base, uint64_t stride, bool string,
                                const wr_table_place *place)
{
    wr_bucket *const *directory = index->directory;
    for (uint32_t i = 0; i < WR_STRIP; i++) {
        if (string)
            WR_KERNEL(compare_string)(f, s, from, i);
        else
            WR_KERNEL(compare)(f, s, turn, from, i, place);
        WR_KERNEL(entry)(f, s, turn ^ 1, from + WR_STRIP, i, base, stride);
        WR_KERNEL(bucket)(s, turn, i, directory);
    }
}

/* The same at both ends: a, b, c records are in the passes. */
WR_INLINE void WR_KERNEL(ends)(WR_KERNEL(found) * f, WR_KERNEL(strips) * s, uint32_t turn, uint32_t from,
                               const wr_index *index, char *base, uint64_t stride, bool string,
                               const wr_table_place *place, uint32_t a, uint32_t b, uint32_t c)
{
    for (uint32_t i = 0; i < a; i++) WR_KERNEL(bucket)(s, turn, i, index->directory);
    for (uint32_t i = 0; i < b; i++) WR_KERNEL(entry)(f, s, turn ^ 1, from + WR_STRIP, i, base, stride);
    for (uint32_t i = 0; i < c; i++) {
        if (string)
            WR_KERNEL(compare_string)(f, s, from, i);
        else
            WR_KERNEL(compare)(f, s, turn, from, i, place);
    }
}

/* string: a constant. place: a constant NULL, or whose place is looked for beside the key, which lies in the same line.
 * The last strip is in pass (a) at `at`, in (b), (c) and judged one strip later each. */
WR_INLINE uint32_t WR_KERNEL(find)(const wr_index *index, char *base, const uint64_t stride, const uint64_t *hash,
                                   uint32_t n, bool string, const wr_table_place *place, WR_KERNEL(found) * to)
{
    WR_KERNEL(strips) s;
    WR_KERNEL(asked) asked = {0};
    WR_KERNEL(found) f = *to;
    const wr_table_place  copy = place != NULL ? *place : (wr_table_place){0};
    const wr_table_place *in = place != NULL ? &copy : NULL;
    for (uint32_t at = 0; at < n + 3 * WR_STRIP; at += WR_STRIP) {
        uint32_t turn = at / WR_STRIP & 1, a = WR_KERNEL(strip)(at, n), from = at - 2 * WR_STRIP;
        uint32_t b = at >= WR_STRIP ? WR_KERNEL(strip)(at - WR_STRIP, n) : 0;
        uint32_t c = at >= 2 * WR_STRIP ? WR_KERNEL(strip)(from, n) : 0;
        uint32_t judged = at >= 3 * WR_STRIP ? WR_KERNEL(strip)(from - WR_STRIP, n) : 0;
        WR_KERNEL(segments)(&s, turn, index, hash + at, a);
        if (a != WR_STRIP || c != WR_STRIP)
            WR_KERNEL(ends)(&f, &s, turn, from, index, base, stride, string, in, a, b, c);
        else if (turn == 0)
            WR_KERNEL(three)(&f, &s, 0, from, index, base, stride, string, in);
        else
            WR_KERNEL(three)(&f, &s, 1, from, index, base, stride, string, in);
        if (judged == 0) continue;
        if (!string) WR_KERNEL(judge)(&f, &s, turn ^ 1, from - WR_STRIP, judged, in);
        WR_KERNEL(ask_misses)(&asked, index, hash, f.miss, f.misses);
    }
    for (uint32_t i = 0; i < 2; i++) WR_KERNEL(ask_misses)(&asked, index, hash, f.miss, f.misses);
    to->rests = f.rests;
    return f.misses;
}

WR_KERNEL_TARGET uint32_t WR_KERNEL(wr_find_integer)(const wr_index *index, char *base, uint32_t stride,
                                                     const char *key, uint32_t key_stride, const uint64_t *hash,
                                                     uint32_t n, uint32_t state_at, void **state, uint32_t *miss)
{
    WR_KERNEL(found)
    f = {.key = key, .key_stride = key_stride, .state_at = state_at, .at = state_at, .state = state, .miss = miss};
    return WR_KERNEL(find)(index, base, stride, hash, n, false, NULL, &f);
}

WR_KERNEL_TARGET uint32_t WR_KERNEL(wr_find_in_place)(const wr_index *index, char *base, uint32_t stride,
                                                      const char *key, uint32_t key_stride, const uint64_t *hash,
                                                      uint32_t n, uint32_t state_at, void **state, uint32_t *miss,
                                                      const wr_table_place *place, uint32_t *rest, uint32_t *rests)
{
    WR_KERNEL(found)
    f = {.key = key, .key_stride = key_stride, .state_at = state_at, .state = state, .miss = miss, .rest = rest};
    f.at = state_at + place->value;
    uint32_t misses = WR_KERNEL(find)(index, base, stride, hash, n, false, place, &f);
    *rests = f.rests;
    return misses;
}

/* Equal length, prefix and tag of a long string: its bytes are compared in a second round, prefetched. */
WR_KERNEL_TARGET uint32_t WR_KERNEL(wr_find_string)(const wr_index *index, char *base, uint32_t stride, const char *key,
                                                    uint32_t key_stride, const uint64_t *hash, uint32_t n,
                                                    uint32_t state_at, void **state, uint32_t *miss)
{
    uint32_t late[WR_FIND_MAX];
    WR_KERNEL(found)
    f = {.key = key, .key_stride = key_stride, .state_at = state_at, .state = state, .miss = miss, .rest = late};
    f.at = state_at;
    uint32_t misses = WR_KERNEL(find)(index, base, stride, hash, n, true, NULL, &f);
    for (uint32_t q = 0; q < f.rests; q++) {
        uint32_t        i = late[q];
        const weir_str *stored = (const weir_str *)(const void *)((char *)state[i] - state_at);
        const weir_str *wanted = (const weir_str *)(const void *)(key + (uint64_t)i * key_stride);
        miss[misses] = i;
        misses += !wr_key_far_equal(stored->u.far, wanted->u.far, wanted->len);
    }
    return misses;
}
#undef WR_INLINE
