/* bench/micro/table_bench.c: what the keyed table costs, nanoseconds per record, medians of 5 rounds. Built on
 * demand:
 *   cc -std=gnu17 -D_GNU_SOURCE -O3 -I. -Iinclude bench/micro/table_bench.c build/lib/libweir.a -lm -o table_bench
 * The loop around the table is the reference query's without its filter: generate 1,024 records of 32 bytes, hash,
 * find, update {sum, count}. */
#include "base/hash.h"
#include "snapshot/near.h"
#include "snapshot/table.h"
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { BATCH = 1024, ROUNDS = 5 };

typedef struct bid {
    uint64_t auction, price, bidder;
    int64_t  time;
} bid;
typedef struct named {
    weir_str name;
    uint64_t price;
    int64_t  time;
} named;
typedef struct total {
    uint64_t sum, count;
} total;

static const weir_field total_fields[] = {
    {.name = "sum", .offset = 0, .size = 8, .kind = WEIR_U64},
    {.name = "count", .offset = 8, .size = 8, .kind = WEIR_U64},
};
static const weir_type total_type = {
    .abi_size = sizeof(weir_type), .fields = 2, .name = "total", .size = 16, .align = 8, .field = total_fields};
static const weir_type bid_type = {.abi_size = sizeof(weir_type), .name = "bid", .size = sizeof(bid), .align = 8};
static const weir_type named_type = {.abi_size = sizeof(weir_type), .name = "named", .size = sizeof(named), .align = 8};
static const weir_key  bid_key = {1, {{0, WEIR_U64}}};
static const weir_key  name_key = {1, {{0, WEIR_STR}}};

static bid      bids[BATCH + 8] __attribute__((aligned(64)));
static named    nameds[BATCH + 8] __attribute__((aligned(64)));
static char     heap[BATCH * 32];
static uint64_t hash[BATCH];
static void    *state[BATCH];
static uint8_t  fresh[BATCH];

static double clock_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}
static double now(void) /* time of this thread: what others take from the core does not count */
{
    return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
static double median(double *values, uint32_t n)
{
    qsort(values, n, sizeof *values, by_value);
    return values[n / 2];
}

static inline uint64_t step(uint64_t *seed)
{
    uint64_t x = *seed;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *seed = x;
}

static __attribute__((noinline)) void generate(uint64_t *seed, uint64_t keys, uint64_t at)
{
    uint64_t x = *seed;
    for (uint32_t i = 0; i < BATCH; i++) {
        uint64_t r = step(&x);
        bids[i] = (bid){(uint64_t)((unsigned __int128)r * keys >> 64), r & 1023, r >> 32, (int64_t)(at + i)};
    }
    *seed = x;
}

static __attribute__((noinline)) void generate_names(uint64_t *seed, uint64_t keys, uint32_t len)
{
    uint64_t x = *seed;
    for (uint32_t i = 0; i < BATCH; i++) {
        uint64_t r = step(&x), key = wr_fmix64((uint64_t)((unsigned __int128)r * keys >> 64));
        char    *p = heap + i * 32;
        memcpy(p, &key, 8);
        memcpy(p + 8, &key, 8);
        memcpy(p + 16, &key, 8);
        nameds[i] = (named){weir_str_of(p, len), r & 1023, 0};
    }
    *seed = x;
}

static __attribute__((noinline)) void update(uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        total *t = state[i];
        t->sum += bids[i].price;
        t->count++;
    }
}
static __attribute__((noinline)) void update_names(uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        total *t = state[i];
        t->sum += nameds[i].price;
        t->count++;
    }
}

static wr_table *make(const weir_type *record, const weir_key *key, wr_budget *budget)
{
    wr_table_config config = {.uid = "bench",
                              .record = record,
                              .key = *key,
                              .state = &total_type,
                              .max_parallelism = 128,
                              .group_end = 128,
                              .budget = budget,
                              .large_pages = true};
    wr_table       *table;
    wr_errinfo      info = {0};
    if (wr_table_new(&table, &config, &info) != WR_OK) {
        fprintf(stderr, "%s\n", info.text);
        exit(1);
    }
    return table;
}

/* A virtual machine's host hands out memory when it is touched first, at 10 ms for 2 MiB; that is not ours to
 * measure. */
static void warm_memory(uint64_t bytes)
{
    char *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) return;
    madvise(at, bytes, MADV_HUGEPAGE);
    for (uint64_t i = 0; i < bytes; i += 4096) at[i] = 1;
    munmap(at, bytes);
}

static double *batch_us;

/* All keys in order; prints the cost of an insert. */
static void grow(wr_table *table, uint64_t keys, bool print)
{
    uint32_t batches = 0;
    double   all = 0;
    if (print) warm_memory(UINT64_C(3) << 30);
    if (print) batch_us = malloc((keys / BATCH + 1) * sizeof *batch_us);
    for (uint64_t at = 0; at < keys; at += BATCH) {
        uint32_t n = keys - at < BATCH ? (uint32_t)(keys - at) : BATCH;
        for (uint32_t i = 0; i < n; i++) bids[i] = (bid){.auction = at + i, .price = 1};
        double from = now();
        wr_key_hash(&bid_key, bids, sizeof *bids, n, hash);
        wr_table_find(table, bids, n, hash, NULL, 0, state, fresh);
        update(n);
        wr_table_settle(table);
        double took = now() - from;
        all += took;
        if (print) batch_us[batches++] = took / 1e3;
    }
    if (!print) return;
    qsort(batch_us, batches, sizeof *batch_us, by_value);
    printf("grow to %9lu keys: %5.1f ns per insert; batch: median %.0f us, p99.9 %.0f us, worst %.0f us; "
           "%.1f bytes per key\n",
           keys, all / (double)keys, batch_us[batches / 2], batch_us[(uint64_t)batches * 999 / 1000],
           batch_us[batches - 1], (double)wr_table_bytes(table) / (double)keys);
    free(batch_us);
}

static void integers(uint64_t keys, uint64_t records)
{
    wr_budget budget = {0};
    wr_table *table = make(&bid_type, &bid_key, &budget);
    grow(table, keys, keys >= 1000000);
    double   bare[ROUNDS], whole[ROUNDS], hashes[ROUNDS], finds[ROUNDS];
    uint64_t seed = 88172645463325252u;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint64_t copy = seed;
        double   from = now();
        for (uint64_t at = 0; at < records; at += BATCH) generate(&copy, keys, at);
        bare[round] = (now() - from) / (double)records;
        copy = seed;
        from = now();
        for (uint64_t at = 0; at < records; at += BATCH) {
            generate(&copy, keys, at);
            wr_key_hash(&bid_key, bids, sizeof *bids, BATCH, hash);
        }
        hashes[round] = (now() - from) / (double)records;
        copy = seed;
        from = now();
        for (uint64_t at = 0; at < records; at += BATCH) {
            generate(&copy, keys, at);
            wr_key_hash(&bid_key, bids, sizeof *bids, BATCH, hash);
            wr_table_find(table, bids, BATCH, hash, NULL, 0, state, fresh);
            wr_table_settle(table);
        }
        finds[round] = (now() - from) / (double)records;
        from = now();
        for (uint64_t at = 0; at < records; at += BATCH) {
            generate(&seed, keys, at);
            wr_key_hash(&bid_key, bids, sizeof *bids, BATCH, hash);
            wr_table_find(table, bids, BATCH, hash, NULL, 0, state, fresh);
            update(BATCH);
            wr_table_settle(table);
        }
        whole[round] = (now() - from) / (double)records;
    }
    double g = median(bare, ROUNDS), h = median(hashes, ROUNDS), f = median(finds, ROUNDS), w = median(whole, ROUNDS);
    printf("integers %9lu keys: whole loop %5.2f ns; generator %.2f, hash %.2f, find %.2f, update %.2f\n", keys, w, g,
           h - g, f - h, w - f);
    if (keys >= 1000000) {
        uint64_t gone = 0;
        double   took = 0;
        for (uint64_t at = 0; at < 2000000; at += BATCH) {
            generate(&seed, keys, at);
            double from = now();
            wr_key_hash(&bid_key, bids, sizeof *bids, BATCH, hash);
            wr_table_peek(table, bids, BATCH, hash, NULL, 0, state);
            for (uint32_t i = 0; i < BATCH; i++) {
                if (state[i] != NULL) wr_table_forget(table, state[i]);
            }
            uint64_t before = wr_table_count(table);
            wr_table_settle(table);
            gone += before - wr_table_count(table);
            took += now() - from;
        }
        printf("delete of %lu random keys: %.0f ns each, looking up included\n", gone, took / (double)gone);
        wr_table_scan scan = {0};
        uint64_t      sum = 0, seen = 0;
        double        from = now();
        for (uint32_t n; (n = wr_table_scan_next(table, &scan, state, bids, BATCH)) != 0;) {
            for (uint32_t i = 0; i < n; i++) sum += ((total *)state[i])->count + bids[i].auction;
            seen += n;
        }
        printf("scan: %.2f ns per key (%lu)\n", (now() - from) / (double)seen, sum & 1);
    }
    wr_table_free(table);
}

static void strings(uint64_t keys, uint64_t records, uint32_t len)
{
    wr_budget budget = {0};
    wr_table *table = make(&named_type, &name_key, &budget);
    double    bare[ROUNDS], whole[ROUNDS];
    uint64_t  seed = 5;
    for (uint32_t round = 0; round <= ROUNDS; round++) { /* the first one fills the table */
        uint64_t copy = seed, n = round == 0 ? keys * 12 : records;
        double   from = now();
        for (uint64_t at = 0; at < n; at += BATCH) generate_names(&copy, keys, len);
        double took = now() - from;
        if (round > 0) bare[round - 1] = took / (double)n;
        from = now();
        for (uint64_t at = 0; at < n; at += BATCH) {
            generate_names(&seed, keys, len);
            wr_key_hash(&name_key, nameds, sizeof *nameds, BATCH, hash);
            wr_table_find(table, nameds, BATCH, hash, NULL, 0, state, fresh);
            update_names(BATCH);
            wr_table_settle(table);
        }
        if (round > 0) whole[round - 1] = (now() - from) / (double)n;
    }
    double g = median(bare, ROUNDS), w = median(whole, ROUNDS);
    printf("strings of %u bytes, %lu keys: hash, find and update %.2f ns (whole loop %.2f)\n", len,
           wr_table_count(table), w - g, w);
    wr_table_free(table);
}

int main(int argc, char **argv)
{
    uint64_t  most = argc > 1 ? strtoull(argv[1], NULL, 10) : 10000000;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(argc > 2 ? strtoul(argv[2], NULL, 10) : 0, &set);
    sched_setaffinity(0, sizeof set, &set);
    if (argc > 3) {
        integers(most, 16 << 20);
        return 0;
    }
    integers(1000, 32 << 20);
    integers(100000, 32 << 20);
    if (most >= 10000000) integers(10000000, 48 << 20);
    strings(1000, 8 << 20, 12);
    strings(100000, 8 << 20, 12);
    strings(100000, 8 << 20, 24);
    if (most >= 10000000) strings(10000000, 16 << 20, 24);
    return 0;
}
