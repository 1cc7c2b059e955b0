/* The hand-written side of the reference query: what a careful programmer reaches without an engine.
 *
 *     generate bids -> keep price % 100 >= 10 -> key by auction -> sum and count per key over the whole run -> checksum
 *
 *     hand_query one|two RECORDS KEYS [--warm|--cold]
 *
 * one: a single thread. two: two threads; each generates half of the records and owns half of the keys, and bids
 * travel to the owner of their key through a ring of batches.
 * --warm (default): every key is in its table before the clock starts. --cold: the table is allocated and touched, but
 * empty.
 *
 * Compiled with -DWINDOW_MS=1000 it sums per key and window of a second of event time instead: an entry's count has the
 * number of its window above it, and an entry of an older window begins anew. At the end of each window all windows'
 * sums are taken by a scan of the table; two threads close it when the peer's last batch of it has come.
 *
 * The trick is software pipelining: while batch n is generated, batch n - 1 is aggregated in the same loop, so that the
 * table's latency hides under the generator's (a chain of six dependent instructions per record). Beyond 1,000 keys the
 * table does not fit the first-level cache, and the entry of the bid PREFETCH_AHEAD places on is fetched early.
 *
 *     gcc -O3 -march=native -pthread hand_query.c -o hand_query
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define BATCH          1024u /* records per batch: 32 KiB */
#define PREFETCH_AHEAD 32u   /* records between prefetch and update */
#define RING           32u   /* batches in flight per direction */
#define SEED           88172645463325252ull
#define SEED_STEP      7919u  /* thread i starts from SEED + i * SEED_STEP */
#define EVENTS_PER_MS  10000u /* event time: ten million bids per second */
#ifndef WINDOW_MS
#define WINDOW_MS 0u /* no windows */
#endif
#define GOLDEN      0x9E3779B97F4A7C15ull
#define HUGE_PAGE   ((size_t)2 << 20)
#define INLINE      static inline __attribute__((always_inline))
#define OUT_OF_LINE static __attribute__((noinline))

typedef struct {
    uint64_t auction, bidder, price, ts;
} bid;

/* ---- memory, time, processors ------------------------------------------------------------------------------- */

/* Zeroed and touched, on huge pages where the kernel gives them. Never freed: the process ends with its one run. */
static void *alloc_touched(size_t bytes)
{
    bytes = (bytes + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
    char *raw = mmap(NULL, bytes + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw == MAP_FAILED) {
        perror("hand_query: mmap");
        exit(1);
    }
    char *aligned = (char *)(((uintptr_t)raw + HUGE_PAGE - 1) & ~(uintptr_t)(HUGE_PAGE - 1));
    madvise(aligned, bytes, MADV_HUGEPAGE);
    memset(aligned, 0, bytes);
    return aligned;
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Pins the calling thread to the index-th processor that the process was given (taskset is honoured). */
static bool pin_to(const cpu_set_t *given, int index)
{
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, given) || index-- > 0) continue;
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        return pthread_setaffinity_np(pthread_self(), sizeof one, &one) == 0;
    }
    return false;
}

INLINE void cpu_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* ---- the table: open addressing, linear probing, two entries per cache line --------------------------------- */

typedef struct {
    uint64_t key_plus_1, sum, count, pad;
} entry; /* key_plus_1 == 0: free; with windows, count has the window's number in its upper half */
typedef struct {
    entry   *entries;
    uint64_t mask, window;
    uint32_t shift;
} table;
typedef struct {
    uint64_t keys, count, sum;
} totals;

static table table_new(uint64_t slots_min)
{
    uint64_t slots = 16;
    while (slots < slots_min) slots <<= 1;
    return (table){alloc_touched(slots * sizeof(entry)), slots - 1, 1, 64u - (uint32_t)__builtin_ctzll(slots)};
}

INLINE uint64_t table_slot(const table *t, uint64_t key)
{
    return (key * GOLDEN) >> t->shift;
}

INLINE entry *table_find_or_add(const table *t, uint64_t key)
{
    for (uint64_t slot = table_slot(t, key);; slot = (slot + 1) & t->mask) {
        entry *e = &t->entries[slot];
        if (__builtin_expect(e->key_plus_1 == key + 1, 1)) return e;
        if (!e->key_plus_1) {
            e->key_plus_1 = key + 1;
            return e;
        }
    }
}

/* Adds bids[i] to its key, after asking for the entry of a later one. `bids` is readable PREFETCH_AHEAD places beyond
 * its end: what lies there only moves a prefetch. */
INLINE void table_update(const table *t, const bid *bids, uint32_t i, bool prefetch)
{
    if (prefetch) __builtin_prefetch(&t->entries[table_slot(t, bids[i + PREFETCH_AHEAD].auction)], 0, 2);
    entry *e = table_find_or_add(t, bids[i].auction);
    if (WINDOW_MS && __builtin_expect(e->count >> 32 != t->window, 0)) {
        e->sum = bids[i].price;
        e->count = t->window << 32 | 1;
        return;
    }
    e->sum += bids[i].price;
    e->count++;
}

INLINE void update_batch_inline(const table *shared, const bid *bids, uint32_t n, bool prefetch)
{
    table t = *shared;
    if (prefetch)
        for (uint32_t i = 0; i < PREFETCH_AHEAD && i < n; i++)
            __builtin_prefetch(&t.entries[table_slot(&t, bids[i].auction)], 0, 2);
    for (uint32_t i = 0; i < n; i++) table_update(&t, bids, i, prefetch);
}

OUT_OF_LINE void update_batch_plain(const table *t, const bid *bids, uint32_t n)
{
    update_batch_inline(t, bids, n, false);
}
OUT_OF_LINE void update_batch_ahead(const table *t, const bid *bids, uint32_t n)
{
    update_batch_inline(t, bids, n, true);
}

static void update_batch(const table *t, const bid *bids, uint32_t n, bool prefetch)
{
    (prefetch ? update_batch_ahead : update_batch_plain)(t, bids, n);
}

/* The end of the run, or of a window, after which the table is ready for the next one. */
OUT_OF_LINE void table_total(table *t, totals *to)
{
    uint64_t results = 0, count = 0, sum = 0, window = t->window;
    for (uint64_t slot = 0; slot <= t->mask; slot++) {
        const entry *e = &t->entries[slot];
        uint64_t     has = 0 - (uint64_t)(WINDOW_MS ? e->count >> 32 == window : e->key_plus_1 != 0);
        results -= has;
        count += (WINDOW_MS ? e->count & UINT32_MAX : e->count) & has;
        sum += e->sum & has;
    }
    to->keys += results;
    to->count += count;
    to->sum += sum;
    t->window++;
}

/* ---- the generator ------------------------------------------------------------------------------------------ */

INLINE uint64_t xorshift(uint64_t x)
{
    x ^= x << 13;
    x ^= x >> 7;
    return x ^ x << 17;
}

/* price % 100 >= 10 without a division: price * ceil(2^64 / 100) modulo 2^64 orders prices by their remainder. */
INLINE uint64_t bid_wanted(uint64_t price)
{
    const uint64_t inverse = 184467440737095517ull;
    return price * inverse >= 10 * inverse;
}

INLINE uint64_t bid_make(bid *to, uint64_t x, uint64_t keys, uint64_t ts)
{
    uint64_t price = (x * GOLDEN) >> 44;
    to->auction = (uint64_t)(((unsigned __int128)x * keys) >> 64);
    to->bidder = x & 0xfffff;
    to->price = price;
    to->ts = ts;
    return bid_wanted(price);
}

/* How many of the next `left` records, from `record` on, carry the same event time (written to *ts). All `sources`
 * generate side by side and share the event time. */
INLINE uint64_t same_time_run(uint64_t record, uint64_t left, uint64_t sources, uint64_t *ts)
{
    *ts = record * sources / EVENTS_PER_MS;
    uint64_t end = ((*ts + 1) * EVENTS_PER_MS + sources - 1) / sources;
    return end - record < left ? end - record : left;
}

INLINE uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The first record behind the window of this one. */
INLINE uint64_t window_end(uint64_t record, uint64_t sources, uint64_t records)
{
    if (!WINDOW_MS) return records;
    uint64_t next_ms = (record * sources / EVENTS_PER_MS / (WINDOW_MS ? WINDOW_MS : 1) + 1) * WINDOW_MS;
    return min_u64((next_ms * EVENTS_PER_MS + sources - 1) / sources, records);
}

/* ---- one thread --------------------------------------------------------------------------------------------- */

/* Generates records first .. first + n - 1 into `out`, keeps the wanted ones, and meanwhile aggregates the previous
 * batch. An unwanted bid is written too and overwritten by the next: no branch. Returns how many were kept. */
INLINE uint32_t generate_inline(bid *out, uint64_t *rng, uint64_t first, uint32_t n, uint64_t keys, const table *shared,
                                const bid *previous, uint32_t previous_n, bool prefetch)
{
    table    t = *shared;
    uint64_t x = *rng, i = 0, j = 0, ts;
    bid     *next = out;
    while (i < n) {
        uint64_t end = i + same_time_run(first + i, n - i, 1, &ts);
        uint64_t both = min_u64(end, i + (previous_n - j));
        for (; i < both; i++, j++) {
            x = xorshift(x);
            next += bid_make(next, x, keys, ts);
            table_update(&t, previous, (uint32_t)j, prefetch);
        }
        for (; i < end; i++) {
            x = xorshift(x);
            next += bid_make(next, x, keys, ts);
        }
    }
    for (; j < previous_n; j++) table_update(&t, previous, (uint32_t)j, prefetch);
    *rng = x;
    return (uint32_t)(next - out);
}

typedef uint32_t generate_loop(bid *, uint64_t *, uint64_t, uint32_t, uint64_t, const table *, const bid *, uint32_t);

OUT_OF_LINE uint32_t generate_plain(bid *out, uint64_t *rng, uint64_t first, uint32_t n, uint64_t keys, const table *t,
                                    const bid *previous, uint32_t previous_n)
{
    return generate_inline(out, rng, first, n, keys, t, previous, previous_n, false);
}

OUT_OF_LINE uint32_t generate_ahead(bid *out, uint64_t *rng, uint64_t first, uint32_t n, uint64_t keys, const table *t,
                                    const bid *previous, uint32_t previous_n)
{
    return generate_inline(out, rng, first, n, keys, t, previous, previous_n, true);
}

static double run_one(uint64_t records, uint64_t keys, bool warm, totals *result)
{
    static bid     batches[2][BATCH + 2 * PREFETCH_AHEAD] __attribute__((aligned(4096)));
    bool           prefetch = keys > 1000;
    generate_loop *generate = prefetch ? generate_ahead : generate_plain;
    table          t = table_new((uint64_t)((double)keys * 1.2));
    for (uint64_t key = 0; warm && key < keys; key++) table_find_or_add(&t, key);

    double   start_s = now_s();
    uint64_t rng = SEED;
    uint32_t turn = 0;
    for (uint64_t from = 0, to; from < records; from = to) {
        uint32_t kept = 0;
        to = window_end(from, 1, records);
        for (uint64_t first = from; first < to; first += BATCH, turn ^= 1) {
            uint32_t n = (uint32_t)min_u64(BATCH, to - first);
            kept = generate(batches[turn], &rng, first, n, keys, &t, batches[turn ^ 1], kept);
        }
        update_batch(&t, batches[turn ^ 1], kept, prefetch);
        table_total(&t, result);
    }
    return now_s() - start_s;
}

/* ---- two threads -------------------------------------------------------------------------------------------- */

#define END_OF_INPUT UINT32_MAX /* or of the window */

typedef bid ring_batch[BATCH + 2 * PREFETCH_AHEAD];

/* One producer, one consumer; each index has its own cache line, and so has each batch's count. */
typedef struct {
    ring_batch *batches;
    struct {
        _Alignas(64) uint32_t n;
    } counts[RING];
    _Alignas(64) _Atomic uint64_t produced;
    _Alignas(64) _Atomic uint64_t consumed;
} ring;

/* Owned by one of the two threads; the rings are shared. */
typedef struct {
    uint64_t         records, keys, rng;
    uint32_t         me; /* 0 or 1: index of the thread, and which keys are its own */
    bool             prefetch, input_ended;
    const cpu_set_t *given;
    ring            *to_peer, *from_peer;
    uint64_t         produced, consumed; /* this side's own indexes */
    table            t;
    totals           result;
} worker;

/* Which thread owns a key: bits that are independent of those that choose the table's slot. */
INLINE uint32_t owner_of(uint64_t key)
{
    key ^= key >> 33;
    key *= 0xff51afd7ed558ccdull;
    return (uint32_t)(key >> 63);
}

INLINE bool ring_full(const worker *w)
{
    return w->produced - atomic_load_explicit(&w->to_peer->consumed, memory_order_acquire) >= RING - 1;
}

INLINE uint64_t ring_ready(const worker *w)
{
    return atomic_load_explicit(&w->from_peer->produced, memory_order_acquire) - w->consumed;
}

INLINE void ring_push(worker *w, uint32_t n)
{
    w->to_peer->counts[w->produced % RING].n = n;
    atomic_store_explicit(&w->to_peer->produced, ++w->produced, memory_order_release);
}

INLINE void ring_pop(worker *w)
{
    atomic_store_explicit(&w->from_peer->consumed, ++w->consumed, memory_order_release);
}

/* Next received batch, or NULL: none yet, or the peer has ended. The caller pops it. */
INLINE const bid *ring_peek(worker *w, uint32_t *n)
{
    if (w->input_ended || !ring_ready(w)) return NULL;
    *n = w->from_peer->counts[w->consumed % RING].n;
    if (*n != END_OF_INPUT) return w->from_peer->batches[w->consumed % RING];
    w->input_ended = true;
    ring_pop(w);
    return NULL;
}

static void receive(worker *w, uint32_t batches_max)
{
    uint32_t   n;
    const bid *batch;
    while (batches_max-- > 0 && (batch = ring_peek(w, &n))) {
        update_batch(&w->t, batch, n, w->prefetch);
        ring_pop(w);
    }
}

/* Where one generation step reads and writes. */
typedef struct {
    bid       *own, *remote;        /* room for n records each */
    const bid *previous, *received; /* batches to aggregate meanwhile */
    uint32_t   previous_n, received_n;
    uint32_t   own_n, remote_n; /* out: kept records of either kind */
} step;

/* As generate_inline, but each kept bid goes to its owner's batch, again without a branch, and two batches are
 * aggregated on the way: the thread's own previous one and one from the peer. */
INLINE void exchange_inline(step *s, uint64_t *rng, uint64_t first, uint32_t n, uint64_t keys, uint32_t me,
                            const table *shared, bool prefetch)
{
    table      t = *shared;
    uint64_t   x = *rng, i = 0, j = 0, k = 0, ts;
    bid       *own = s->own, *remote = s->remote;
    const bid *previous = s->previous, *received = s->received;
    uint32_t   previous_n = s->previous_n, received_n = s->received_n;

#define GENERATE_AND_ROUTE()                                                                                           \
    do {                                                                                                               \
        x = xorshift(x);                                                                                               \
        bid      made;                                                                                                 \
        uint64_t keep = bid_make(&made, x, keys, ts);                                                                  \
        uint64_t away = owner_of(made.auction) ^ me;                                                                   \
        __builtin_prefetch(remote + PREFETCH_AHEAD, 1);                                                                \
        *(away ? remote : own) = made;                                                                                 \
        own += keep & ~away;                                                                                           \
        remote += keep & away;                                                                                         \
    } while (0)

    while (i < n) {
        uint64_t end = i + same_time_run(first + i, n - i, 2, &ts);
        uint64_t both = min_u64(end, i + (previous_n - j));
        for (; i < both; i++, j++) {
            GENERATE_AND_ROUTE();
            table_update(&t, previous, (uint32_t)j, prefetch);
        }
        both = min_u64(end, i + (received_n - k));
        for (; i < both; i++, k++) {
            GENERATE_AND_ROUTE();
            __builtin_prefetch(received + k + PREFETCH_AHEAD, 0);
            table_update(&t, received, (uint32_t)k, prefetch);
        }
        for (; i < end; i++) GENERATE_AND_ROUTE();
    }
#undef GENERATE_AND_ROUTE
    for (; j < previous_n; j++) table_update(&t, previous, (uint32_t)j, prefetch);
    for (; k < received_n; k++) table_update(&t, received, (uint32_t)k, prefetch);
    s->own_n = (uint32_t)(own - s->own);
    s->remote_n = (uint32_t)(remote - s->remote);
    *rng = x;
}

typedef void exchange_loop(step *, uint64_t *, uint64_t, uint32_t, uint64_t, uint32_t, const table *);

OUT_OF_LINE void exchange_plain(step *s, uint64_t *rng, uint64_t first, uint32_t n, uint64_t keys, uint32_t me,
                                const table *t)
{
    exchange_inline(s, rng, first, n, keys, me, t, false);
}

OUT_OF_LINE void exchange_ahead(step *s, uint64_t *rng, uint64_t first, uint32_t n, uint64_t keys, uint32_t me,
                                const table *t)
{
    exchange_inline(s, rng, first, n, keys, me, t, true);
}

/* One window, or all: generates and exchanges its records, then waits for the peer's. */
static void work(worker *w, exchange_loop *exchange, ring_batch *own, uint64_t from, uint64_t to)
{
    uint32_t turn = 0;
    step     s = {0};
    w->input_ended = false;
    for (uint64_t first = from; first < to; first += BATCH, turn ^= 1) {
        while (ring_full(w)) {
            if (!w->input_ended && ring_ready(w))
                receive(w, 1);
            else
                cpu_relax();
        }
        s.own = own[turn];
        s.remote = w->to_peer->batches[w->produced % RING];
        s.previous = own[turn ^ 1];
        s.previous_n = s.own_n;
        s.received_n = 0;
        s.received = ring_peek(w, &s.received_n);
        if (!s.received) s.received_n = 0;
        exchange(&s, &w->rng, first, (uint32_t)min_u64(BATCH, to - first), w->keys, w->me, &w->t);
        ring_push(w, s.remote_n);
        if (s.received) ring_pop(w);
        if (!w->input_ended && ring_ready(w) > 2) receive(w, 2);
    }
    while (ring_full(w)) receive(w, 1);
    ring_push(w, END_OF_INPUT);
    update_batch(&w->t, own[turn ^ 1], s.own_n, w->prefetch);
    while (!w->input_ended) receive(w, RING);
    table_total(&w->t, &w->result);
}

static void *worker_main(void *argument)
{
    worker *w = argument;
    pin_to(w->given, (int)w->me);
    ring_batch *own = alloc_touched(2 * sizeof(ring_batch));
    for (uint64_t from = 0, to; from < w->records; from = to) {
        to = window_end(from, 2, w->records);
        work(w, w->prefetch ? exchange_ahead : exchange_plain, own, from, to);
    }
    return NULL;
}

static double run_two(uint64_t records, uint64_t keys, bool warm, const cpu_set_t *given, totals *result)
{
    static ring   rings[2];
    static worker workers[2];
    double        room = keys < 1000000 ? 2 : 1.02;
    for (uint32_t i = 0; i < 2; i++) {
        rings[i].batches = alloc_touched(RING * sizeof(ring_batch));
        workers[i] = (worker){
            .records = records / 2,
            .keys = keys,
            .rng = SEED + i * SEED_STEP,
            .me = i,
            .prefetch = keys > 1000,
            .given = given,
            .to_peer = &rings[i],
            .from_peer = &rings[i ^ 1],
            .t = table_new((uint64_t)(((double)keys / 2 * room + 8) * 1.2)),
        };
    }
    for (uint64_t key = 0; warm && key < keys; key++) table_find_or_add(&workers[owner_of(key)].t, key);

    pthread_t threads[2];
    double    start_s = now_s();
    for (uint32_t i = 0; i < 2; i++) {
        if (pthread_create(&threads[i], NULL, worker_main, &workers[i]) != 0) {
            fprintf(stderr, "hand_query: cannot start a thread\n");
            exit(1);
        }
    }
    for (uint32_t i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    double seconds = now_s() - start_s;
    for (uint32_t i = 0; i < 2; i++) {
        result->keys += workers[i].result.keys;
        result->count += workers[i].result.count;
        result->sum += workers[i].result.sum;
    }
    return seconds;
}

/* ---- main --------------------------------------------------------------------------------------------------- */

int main(int argc, char **argv)
{
    bool     two = argc > 1 && !strcmp(argv[1], "two"), cold = argc > 4 && !strcmp(argv[4], "--cold");
    uint64_t records = argc > 2 ? strtoull(argv[2], NULL, 10) : 0, keys = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;
    if (argc < 4 || argc > 5 || (!two && strcmp(argv[1], "one") != 0) || records < 2 || keys == 0 ||
        (argc == 5 && !cold && strcmp(argv[4], "--warm") != 0)) {
        fprintf(stderr, "usage: hand_query one|two RECORDS KEYS [--warm|--cold]\n");
        return 2;
    }
    cpu_set_t given;
    sched_getaffinity(0, sizeof given, &given);
    if (two && CPU_COUNT(&given) < 2) {
        fprintf(stderr, "hand_query: two threads need two processors, this process was given one\n");
        return 2;
    }
    if (!two) pin_to(&given, 0);
    totals result = {0};
    double seconds = two ? run_two(records, keys, !cold, &given, &result) : run_one(records, keys, !cold, &result);
    printf("records=%llu keys=%llu seconds=%.6f count=%llu sum=%llu\n",
           (unsigned long long)(two ? records / 2 * 2 : records), (unsigned long long)keys, seconds,
           (unsigned long long)result.count, (unsigned long long)result.sum);
    return 0;
}
