/* The hand-written side of word count: reads a file, splits it on white space, counts every word. One thread.
 *
 *     hand_wordcount FILE [COUNTS-FILE]
 *
 * White space is every byte up to 0x20; a word is anything else, of any length. COUNTS-FILE gets "word count" lines,
 * unsorted and outside the measured time, so that the result can be compared with another program's.
 *
 * Three passes over arrays that stay in the second-level cache: a chunk of text becomes two lists of positions (where
 * words start and end, 64 bytes per compare), the positions become 16-byte words (zero padded), the words are counted,
 * with the table's entries fetched early. Words of more than 16 bytes are set aside and counted in a table of their
 * own.
 *
 *     gcc -O3 -march=native hand_wordcount.c -o hand_wordcount
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define CHUNK          (64u << 10) /* bytes per read */
#define CHUNK_MAX      (1u << 30)  /* a word that is longer is refused */
#define PAD            256u        /* readable bytes behind a chunk, writable places behind a list */
#define SHORT_MAX      16u         /* bytes of a word that is kept in its entry */
#define PREFETCH_AHEAD 32u         /* words between prefetch and update */
#define SLOTS_FIRST    (1u << 12)
#define SLOTS_PER_WORD 4u /* a sparse table: what costs is the mispredicted second probe */
#define GOLDEN         0x9E3779B97F4A7C15ull
#define MIX            0xD6E8FEB86659FD93ull
#define HUGE_PAGE      ((size_t)2 << 20)
#define INLINE         static inline __attribute__((always_inline))
#define OUT_OF_LINE    static __attribute__((noinline))

static void fail(const char *what)
{
    fprintf(stderr, "hand_wordcount: ");
    perror(what);
    exit(1);
}

static void *alloc_zeroed(size_t bytes)
{
    bytes = (bytes + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
    void *p = aligned_alloc(HUGE_PAGE, bytes);
    if (!p) fail("memory");
    madvise(p, bytes, MADV_HUGEPAGE);
    return memset(p, 0, bytes);
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- short words -------------------------------------------------------------------------------------------- */

typedef struct {
    uint64_t lo, hi;
} word16; /* zero padded; no word has a zero byte */
typedef struct {
    word16   word;
    uint64_t count, pad;
} short_entry; /* word.lo == 0: free */
typedef struct {
    short_entry *entries;
    uint64_t     mask, used;
    uint32_t     shift;
} short_table;

INLINE uint64_t short_hash(word16 w)
{
    return (w.lo ^ w.hi * GOLDEN) * MIX;
}

static short_table short_new(uint64_t slots)
{
    return (short_table){alloc_zeroed(slots * sizeof(short_entry)), slots - 1, 0,
                         64u - (uint32_t)__builtin_ctzll(slots)};
}

/* Adds a word that the table does not have, and grows first when it gets too full. */
OUT_OF_LINE void short_insert(short_table *t, word16 w, uint64_t hash, uint64_t count)
{
    if ((t->used + 1) * SLOTS_PER_WORD > t->mask + 1) {
        short_table bigger = short_new((t->mask + 1) * 2);
        for (uint64_t i = 0; i <= t->mask; i++) {
            const short_entry *e = &t->entries[i];
            if (e->word.lo) short_insert(&bigger, e->word, short_hash(e->word), e->count);
        }
        free(t->entries);
        *t = bigger;
    }
    uint64_t slot = hash >> t->shift;
    while (t->entries[slot].word.lo) slot = (slot + 1) & t->mask;
    t->entries[slot] = (short_entry){w, count, 0};
    t->used++;
}

INLINE void short_add(short_table *t, word16 w, uint64_t hash)
{
    for (uint64_t slot = hash >> t->shift;; slot = (slot + 1) & t->mask) {
        short_entry *e = &t->entries[slot];
        if (__builtin_expect((e->word.lo == w.lo) & (e->word.hi == w.hi), 1)) {
            e->count++;
            return;
        }
        if (!e->word.lo) {
            short_insert(t, w, hash, 1);
            return;
        }
    }
}

/* `hashes` has room for n + PREFETCH_AHEAD. */
OUT_OF_LINE void short_count(short_table *t, const word16 *words, uint64_t *hashes, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) hashes[i] = short_hash(words[i]);
    memset(hashes + n, 0, PREFETCH_AHEAD * sizeof *hashes);
    for (uint32_t i = 0; i < n; i++) {
        __builtin_prefetch(&t->entries[hashes[i + PREFETCH_AHEAD] >> t->shift], 1);
        short_add(t, words[i], hashes[i]);
    }
}

/* ---- long words --------------------------------------------------------------------------------------------- */

typedef struct {
    const char *text;
    uint64_t    bytes;
} long_word;
typedef struct {
    char    *text;
    uint64_t bytes, hash, count;
} long_entry; /* text == NULL: free */
typedef struct {
    long_entry *entries;
    uint64_t    mask, used;
} long_table;

static uint64_t long_hash(const char *text, uint64_t bytes)
{
    uint64_t h = bytes * GOLDEN, part;
    for (; bytes >= 8; bytes -= 8, text += 8) {
        memcpy(&part, text, 8);
        h = (h ^ part) * MIX;
        h ^= h >> 29;
    }
    part = 0;
    memcpy(&part, text, bytes);
    h = (h ^ part) * MIX;
    return h ^ h >> 32;
}

static void long_grow(long_table *t)
{
    uint64_t    slots = t->entries ? (t->mask + 1) * 2 : 1024;
    long_entry *entries = alloc_zeroed(slots * sizeof *entries);
    for (uint64_t i = 0; t->entries && i <= t->mask; i++) {
        uint64_t slot = t->entries[i].hash & (slots - 1);
        if (!t->entries[i].text) continue;
        while (entries[slot].text) slot = (slot + 1) & (slots - 1);
        entries[slot] = t->entries[i];
    }
    free(t->entries);
    t->entries = entries;
    t->mask = slots - 1;
}

static void long_add(long_table *t, const char *text, uint64_t bytes)
{
    if (!t->entries || (t->used + 1) * 2 > t->mask + 1) long_grow(t);
    uint64_t hash = long_hash(text, bytes), slot = hash & t->mask;
    for (;; slot = (slot + 1) & t->mask) {
        long_entry *e = &t->entries[slot];
        if (e->text && (e->hash != hash || e->bytes != bytes || memcmp(e->text, text, bytes) != 0)) continue;
        if (!e->text) {
            *e = (long_entry){malloc(bytes), bytes, hash, 0};
            if (!e->text) fail("memory");
            memcpy(e->text, text, bytes);
            t->used++;
        }
        e->count++;
        return;
    }
}

/* ---- splitting ---------------------------------------------------------------------------------------------- */

/* A bit per byte of 64: set where there is white space. */
#if defined(__AVX512BW__) && defined(__AVX512VL__)
#define SPLITTER "avx512"
INLINE uint64_t spaces_of(const char *text)
{
    return _mm512_cmple_epu8_mask(_mm512_loadu_si512(text), _mm512_set1_epi8(0x20));
}
#elif defined(__AVX2__)
#define SPLITTER "avx2"
INLINE uint64_t spaces_of(const char *text)
{
    const __m256i space = _mm256_set1_epi8(0x20);
    __m256i       low = _mm256_loadu_si256((const void *)text), high = _mm256_loadu_si256((const void *)(text + 32));
    uint32_t      low_bits = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_max_epu8(low, space), space));
    uint32_t      high_bits = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_max_epu8(high, space), space));
    return (uint64_t)high_bits << 32 | low_bits;
}
#else
#define SPLITTER "scalar"
INLINE uint64_t spaces_of(const char *text)
{
    uint64_t bits = 0;
    for (uint32_t i = 0; i < 64; i++) bits |= (uint64_t)((uint8_t)text[i] <= 0x20) << i;
    return bits;
}
#endif

/* Appends base + (position of each set bit); may write up to 64 places. Nearly always fewer than 16 words start in 64
 * bytes, so that the one branch is predicted. */
#if defined(__AVX512VBMI2__) && defined(__AVX512BW__)
INLINE uint32_t *positions_of(uint32_t *to, uint32_t base, uint64_t bits)
{
    static const uint8_t count_up[64] = {
        0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
        22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43,
        44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63,
    };
    __m512i packed = _mm512_maskz_compress_epi8(bits, _mm512_loadu_si512(count_up)),
            start = _mm512_set1_epi32((int)base);
    uint32_t n = (uint32_t)__builtin_popcountll(bits);
    _mm512_storeu_si512(to, _mm512_add_epi32(start, _mm512_cvtepu8_epi32(_mm512_castsi512_si128(packed))));
    if (n > 16) /* at most 32 words start in 64 bytes */
        _mm512_storeu_si512(to + 16,
                            _mm512_add_epi32(start, _mm512_cvtepu8_epi32(_mm512_extracti32x4_epi32(packed, 1))));
    return to + n;
}
#else
INLINE uint32_t *positions_of(uint32_t *to, uint32_t base, uint64_t bits)
{
    uint32_t n = (uint32_t)__builtin_popcountll(bits);
    for (uint32_t i = 0; i < n; i++, bits &= bits - 1) to[i] = base + (uint32_t)__builtin_ctzll(bits);
    return to + n;
}
#endif

/* The first `bytes` bytes (at most 16), the rest zero; 16 bytes are readable. */
#if defined(__AVX512BW__) && defined(__AVX512VL__)
INLINE word16 word_load(const char *text, uint32_t bytes)
{
    __mmask16 wanted = (__mmask16)(0xffffu >> (16 - bytes));
    word16    w;
    _mm_storeu_si128((__m128i *)&w, _mm_maskz_loadu_epi8(wanted, text));
    return w;
}
#else
INLINE word16 word_load(const char *text, uint32_t bytes)
{
    word16 w;
    memcpy(&w, text, 16);
    uint64_t low_bits = bytes >= 8 ? 64 : bytes * 8, high_bits = bytes <= 8 ? 0 : (bytes - 8) * 8;
    w.lo &= low_bits == 64 ? ~0ull : (1ull << low_bits) - 1;
    w.hi &= high_bits == 64 ? ~0ull : (1ull << high_bits) - 1;
    return w;
}
#endif

/* Scratch lists of one chunk. A chunk of n bytes has at most n / 2 + 1 words. */
typedef struct {
    uint32_t  *starts, *ends;
    word16    *shorts;
    uint64_t  *hashes;
    long_word *longs;
    uint32_t   short_n, long_n;
} chunk_lists;

/* Fills the lists with the words that end within the n bytes; returns how many bytes they and the space between them
 * take: what follows is an unfinished word. The PAD bytes behind the text hold no white space. */
OUT_OF_LINE uint32_t split(const char *text, uint32_t n, chunk_lists *lists)
{
    uint32_t *start = lists->starts, *end = lists->ends;
    uint64_t  before_is_space = 1;
    for (uint32_t base = 0; base < n; base += 64) {
        uint64_t spaces = spaces_of(text + base), after_space = spaces << 1 | before_is_space;
        start = positions_of(start, base, ~spaces & after_space);
        end = positions_of(end, base, spaces & ~after_space);
        before_is_space = spaces >> 63;
    }
    uint32_t word_n = (uint32_t)(end - lists->ends), short_n = 0, long_n = 0;
    bool     unfinished = start - lists->starts > word_n;
    for (uint32_t i = 0; i < word_n; i++) {
        const char *word = text + lists->starts[i];
        uint32_t    bytes = lists->ends[i] - lists->starts[i];
        if (__builtin_expect(bytes <= SHORT_MAX, 1))
            lists->shorts[short_n++] = word_load(word, bytes);
        else
            lists->longs[long_n++] = (long_word){word, bytes};
    }
    lists->short_n = short_n;
    lists->long_n = long_n;
    if (!unfinished || lists->starts[word_n] > n) return n;
    return lists->starts[word_n];
}

/* ---- the program -------------------------------------------------------------------------------------------- */

typedef struct {
    short_table shorts;
    long_table  longs;
    uint64_t    words;
} counts;

static chunk_lists lists_new(size_t chunk_bytes)
{
    size_t words = chunk_bytes / 2 + PAD;
    return (chunk_lists){
        .starts = alloc_zeroed(words * sizeof(uint32_t)),
        .ends = alloc_zeroed(words * sizeof(uint32_t)),
        .shorts = alloc_zeroed(words * sizeof(word16)),
        .hashes = alloc_zeroed(words * sizeof(uint64_t)),
        .longs = alloc_zeroed((chunk_bytes / SHORT_MAX + PAD) * sizeof(long_word)),
    };
}

static void lists_free(chunk_lists *l)
{
    free(l->starts);
    free(l->ends);
    free(l->shorts);
    free(l->hashes);
    free(l->longs);
}

static void count_file(int fd, counts *c)
{
    uint32_t    capacity = CHUNK, have = 0; /* have: bytes of an unfinished word at the start of the text */
    char       *text = alloc_zeroed(capacity + PAD);
    chunk_lists lists = lists_new(capacity);
    for (bool more = true; more;) {
        if (have == capacity) { /* a word longer than the chunk: take twice as much */
            if (capacity >= CHUNK_MAX) fail("word too long");
            char *bigger = alloc_zeroed(2 * (size_t)capacity + PAD);
            memcpy(bigger, text, have);
            free(text);
            lists_free(&lists);
            text = bigger;
            capacity *= 2;
            lists = lists_new(capacity);
        }
        ssize_t got = read(fd, text + have, capacity - have);
        if (got < 0) fail("read");
        uint32_t n = have + (uint32_t)got;
        more = got > 0;
        if (!more) text[n++] = '\n'; /* ends the last word; there is room: PAD */
        memset(text + n, 'x', PAD / 2);
        uint32_t taken = split(text, n, &lists);
        short_count(&c->shorts, lists.shorts, lists.hashes, lists.short_n);
        for (uint32_t i = 0; i < lists.long_n; i++) long_add(&c->longs, lists.longs[i].text, lists.longs[i].bytes);
        c->words += lists.short_n + lists.long_n;
        have = n - taken;
        memmove(text, text + taken, have);
    }
    free(text);
    lists_free(&lists);
}

static void write_counts(const counts *c, const char *path)
{
    FILE *f = fopen(path, "w");
    if (!f) fail(path);
    for (uint64_t i = 0; i <= c->shorts.mask; i++) {
        const short_entry *e = &c->shorts.entries[i];
        if (e->word.lo) fprintf(f, "%.16s %llu\n", (const char *)&e->word, (unsigned long long)e->count);
    }
    for (uint64_t i = 0; c->longs.entries && i <= c->longs.mask; i++) {
        const long_entry *e = &c->longs.entries[i];
        if (!e->text) continue;
        fwrite(e->text, 1, e->bytes, f);
        fprintf(f, " %llu\n", (unsigned long long)e->count);
    }
    if (fclose(f) != 0) fail(path);
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: hand_wordcount FILE [COUNTS-FILE]\n");
        return 2;
    }
    int fd = open(argv[1], O_RDONLY);
    if (fd < 0) fail(argv[1]);
    double start_s = now_s();
    counts c = {.shorts = short_new(SLOTS_FIRST)};
    count_file(fd, &c);
    double seconds = now_s() - start_s;
    close(fd);
    if (argc == 3) write_counts(&c, argv[2]);
    printf("words=%llu distinct=%llu seconds=%.6f splitter=%s\n", (unsigned long long)c.words,
           (unsigned long long)(c.shorts.used + c.longs.used), seconds, SPLITTER);
    return 0;
}
