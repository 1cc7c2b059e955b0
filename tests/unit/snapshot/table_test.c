/* Keyed tables against a naive map: keys are numbers 0 ... K-1 dressed up as each kind of key. */
#include "base/env.h"
#include "base/hash.h"
#include "base/prng.h"
#include "snapshot/capture.h"
#include "snapshot/near.h"
#include "snapshot/table.h"
#include "snapshot/table_inner.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

typedef struct row {
    uint64_t wide;
    int32_t  narrow;
    uint8_t  tiny;
    bool     flag;
    weir_str name;
    uint64_t padding;
} row;
typedef struct tally {
    uint64_t id, seen;
} tally;

static const weir_field row_fields[] = {
    {.name = "wide", .offset = offsetof(row, wide), .size = 8, .kind = WEIR_U64},
    {.name = "narrow", .offset = offsetof(row, narrow), .size = 4, .kind = WEIR_I32},
    {.name = "tiny", .offset = offsetof(row, tiny), .size = 1, .kind = WEIR_U8},
    {.name = "flag", .offset = offsetof(row, flag), .size = 1, .kind = WEIR_BOOL},
    {.name = "name", .offset = offsetof(row, name), .size = 16, .kind = WEIR_STR},
    {.name = "padding", .offset = offsetof(row, padding), .size = 8, .kind = WEIR_U64},
};
static const weir_type row_type = {
    .abi_size = sizeof(weir_type), .fields = 6, .name = "row", .size = sizeof(row), .align = 8, .field = row_fields};
static const weir_field tally_fields[] = {
    {.name = "id", .offset = 0, .size = 8, .kind = WEIR_U64},
    {.name = "seen", .offset = 8, .size = 8, .kind = WEIR_U64},
};
static const weir_type tally_type = {.abi_size = sizeof(weir_type),
                                     .fields = 2,
                                     .name = "tally",
                                     .size = sizeof(tally),
                                     .align = 8,
                                     .field = tally_fields};

#define WIDE                                                                                                           \
    {                                                                                                                  \
        offsetof(row, wide), WEIR_U64                                                                                  \
    }
#define NARROW                                                                                                         \
    {                                                                                                                  \
        offsetof(row, narrow), WEIR_I32                                                                                \
    }
#define TINY                                                                                                           \
    {                                                                                                                  \
        offsetof(row, tiny), WEIR_U8                                                                                   \
    }
#define FLAG                                                                                                           \
    {                                                                                                                  \
        offsetof(row, flag), WEIR_BOOL                                                                                 \
    }
#define NAME                                                                                                           \
    {                                                                                                                  \
        offsetof(row, name), WEIR_STR                                                                                  \
    }

enum craft { PLAIN, SAME_TOP, SAME_TOP_AND_LOW, SAME_LOW };

typedef struct scenario {
    const char *name;
    weir_key    key;
    uint32_t    keys, max_parallelism, first, end, batches;
    enum craft  craft;
    bool        near;
} scenario;

/* ---- records out of numbers -------------------------------------------------------------------------------------- */

enum { BATCH = 700, NAME_BYTES = 96 };
static char names[BATCH][NAME_BYTES];

/* Hashes that an enemy would choose: fmix64 can be inverted. */
static uint64_t wide_of(enum craft craft, uint64_t id)
{
    if (craft == SAME_TOP) return wr_unfmix64(UINT64_C(0xabcdef1234000000) | id);
    if (craft == SAME_TOP_AND_LOW) return wr_unfmix64(UINT64_C(0xabcdef1234000011) | id << 7);
    if (craft == SAME_LOW) return wr_unfmix64(id << 44 | 0x55);
    return id * UINT64_C(0x9e3779b97f4a7c15);
}

static row row_of(enum craft craft, uint64_t id, char *room)
{
    row r = {.wide = wide_of(craft, id),
             .narrow = (int32_t)(id * 3) - 1000,
             .tiny = (uint8_t)id,
             .flag = id & 1,
             .padding = ~id};
    int len = id % 3 == 0 ? snprintf(room, NAME_BYTES, "%u", (unsigned)id)
                          : snprintf(room, NAME_BYTES, "name of record %0*u", (int)(8 + id % 50), (unsigned)id);
    r.name = weir_str_of(room, (size_t)len);
    return r;
}

/* ---- the model --------------------------------------------------------------------------------------------------- */

typedef struct world {
    const scenario *s;
    wr_table       *table;
    wr_budget       budget;
    wr_near         near;
    bool            has_near;
    wr_prng         prng;
    uint64_t       *seen;    /* 0: unknown */
    uint8_t        *allowed; /* its hash lies in the table's groups */
    uint64_t        known;
    row             rows[BATCH];
    uint32_t        ids[BATCH];
    uint64_t        hash[BATCH];
    void           *state[BATCH];
    uint8_t         fresh[BATCH];
} world;

static uint32_t distinct(const scenario *s, uint32_t id)
{
    if (s->key.count == 0) return 0;
    if (s->key.count == 1 && s->key.field[0].kind == WEIR_U8) return id & 255;
    if (s->key.count == 1 && s->key.field[0].kind == WEIR_BOOL) return id & 1;
    return id;
}

static bool in_groups(const scenario *s, uint64_t hash)
{
    uint64_t group = ((hash >> 32) * s->max_parallelism) >> 32;
    return s->key.count == 0 || (group >= s->first && group < s->end);
}

static uint32_t pick_id(world *w)
{
    for (;;) {
        uint32_t id = distinct(w->s, (uint32_t)wr_prng_below(&w->prng, w->s->keys));
        if (w->allowed[id]) return id;
    }
}

static void setup(world *w, const scenario *s, uint64_t seed)
{
    memset(w, 0, sizeof *w);
    w->s = s;
    w->prng = wr_prng_of(seed);
    wr_table_config config = {.uid = "test",
                              .record = &row_type,
                              .key = s->key,
                              .state = &tally_type,
                              .max_parallelism = s->max_parallelism,
                              .group_first = s->first,
                              .group_end = s->end,
                              .budget = &w->budget,
                              .large_pages = seed & 1};
    wr_errinfo      info = {0};
    assert_int_equal(wr_table_new(&w->table, &config, &info), WR_OK);
    w->has_near = s->near && wr_near_init(&w->near, w->table, false);
    w->seen = calloc(s->keys, sizeof *w->seen);
    w->allowed = calloc(s->keys, 1);
    uint32_t some = 0;
    for (uint32_t id = 0; id < s->keys; id++) {
        row      r = row_of(s->craft, id, names[0]);
        uint64_t hash;
        wr_key_hash(&s->key, &r, sizeof r, 1, &hash);
        w->allowed[id] = in_groups(s, hash);
        some += w->allowed[id];
    }
    assert_true(some > 0);
}

static void teardown(world *w)
{
    if (w->has_near) wr_near_fini(&w->near);
    wr_table_free(w->table);
    assert_int_equal(w->budget.bytes, 0);
    free(w->seen);
    free(w->allowed);
}

static void fill_batch(world *w, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        w->ids[i] = pick_id(w);
        w->rows[i] = row_of(w->s->craft, w->ids[i], names[i]);
    }
    wr_key_hash(&w->s->key, w->rows, sizeof *w->rows, n, w->hash);
}

/* One record as the user's loop sees it. */
static void update(world *w, uint32_t i, bool is_fresh, bool know_fresh)
{
    tally   *t = w->state[i];
    uint32_t id = w->ids[i];
    assert_non_null(t);
    if (w->seen[id] == 0) w->known++;
    if (know_fresh && w->seen[id] == 0) assert_true(is_fresh || t->seen == 0);
    if (know_fresh && w->seen[id] != 0) assert_false(is_fresh);
    assert_int_equal(t->seen, w->seen[id]);
    if (t->seen != 0) assert_int_equal(t->id, id);
    t->id = id;
    t->seen++;
    w->seen[id]++;
    if (wr_prng_one_in(&w->prng, 9)) {
        wr_table_forget(w->table, t);
        w->seen[id] = 0;
        w->known--;
    }
}

static void run_plain(world *w, uint32_t n, const uint32_t *pick, uint32_t pick_n)
{
    memset(w->state, 0xee, sizeof w->state);
    memset(w->fresh, 0xee, sizeof w->fresh);
    assert_true(wr_table_find(w->table, w->rows, n, w->hash, pick, pick_n, w->state, w->fresh));
    uint32_t count = pick != NULL ? pick_n : n;
    for (uint32_t j = 0; j < count; j++) {
        uint32_t i = pick != NULL ? pick[j] : j;
        update(w, i, w->fresh[i] == 1, true);
    }
}

/* The inline probe of a keyed loop, with 8-byte and 16-byte lines. */
static void run_near(world *w, uint32_t n)
{
    weir_near *near = &w->near.probe;
    near->misses = 0;
    for (uint32_t i = 0; i < n; i++) {
        const char *at = (const char *)&w->rows[i] + near->offset;
        uint64_t    word[2];
        memcpy(word, at, near->bytes == 8 ? 8 : 16);
        void *state = NULL;
        if (near->bytes == 8) {
            word[0] &= near->mask;
            const weir_near8 *line = &((weir_near8 *)near->line)[(word[0] * WEIR_NEAR_MIX) >> near->shift];
            if (line->key == word[0]) state = line->state;
        } else if (w->rows[i].name.len <= 12) {
            uint64_t           mixed = word[0] ^ word[1] * WEIR_NEAR_MIX;
            const weir_near16 *line = &((weir_near16 *)near->line)[(mixed * WEIR_NEAR_MIX) >> near->shift];
            if (line->lo == word[0] && line->hi == word[1]) state = line->state;
        }
        w->state[i] = state;
        if (state == NULL)
            near->miss[near->misses++] = i;
        else
            update(w, i, false, false);
    }
    uint32_t misses = near->misses;
    wr_key_hash_picked(&w->s->key, w->rows, sizeof *w->rows, near->miss, misses, w->hash);
    assert_true(wr_table_find(w->table, w->rows, n, w->hash, near->miss, misses, w->state, NULL));
    wr_near_end(&w->near, w->table, w->rows, n, w->state, true);
    for (uint32_t q = 0; q < misses; q++) update(w, near->miss[q], false, false);
}

static void run_peek(world *w)
{
    uint32_t n = 1 + (uint32_t)wr_prng_below(&w->prng, BATCH);
    fill_batch(w, n);
    wr_table_peek(w->table, w->rows, n, w->hash, NULL, 0, w->state);
    for (uint32_t i = 0; i < n; i++) {
        const tally *t = w->state[i];
        assert_true((t != NULL) == (w->seen[w->ids[i]] != 0));
        if (t != NULL) assert_int_equal(t->seen, w->seen[w->ids[i]]);
    }
}

/* The same entries, in order of address. */
static void check_walk(const world *w, uint64_t ids)
{
    wr_table_walk walk = {0};
    const char   *before = NULL;
    uint64_t      count = 0;
    for (uint32_t n;; count += n) {
        const char *state = wr_table_walk_next(w->table, &walk, 512, &n);
        if (n == 0) break;
        assert_true(n <= 512);
        for (uint32_t i = 0; i < n; i++, state += wr_table_stride(w->table)) {
            assert_true((uintptr_t)state > (uintptr_t)before);
            before = state;
            ids -= ((const tally *)(const void *)state)->id;
        }
    }
    assert_int_equal(count, w->known);
    assert_int_equal(ids, 0);
}

static void check_scan(world *w)
{
    wr_table_scan scan = {0};
    static row    keys[97], again[97];
    void         *state[97];
    uint64_t      count = 0, before = 0, ids = 0;
    assert_int_equal(wr_table_count(w->table), w->known);
    for (;;) {
        memset(keys, 0x5a, sizeof keys); /* what is no key is zeroed */
        memset(again, 0x5a, sizeof again);
        uint32_t n = wr_table_scan_next(w->table, &scan, state, keys, 97);
        if (n == 0) break;
        wr_table_keys(w->table, state, n, again);
        assert_memory_equal(again, keys, sizeof keys);
        uint64_t hash[97];
        wr_key_hash(&w->s->key, keys, sizeof *keys, n, hash);
        for (uint32_t i = 0; i < n; i++) {
            const tally *t = state[i];
            uint64_t     group = ((hash[i] >> 32) * w->s->max_parallelism) >> 32, expected;
            assert_true(group >= before || w->s->key.count == 0);
            before = group;
            assert_true(t->id < w->s->keys && w->seen[t->id] == t->seen);
            ids += t->id;
            row r = row_of(w->s->craft, t->id, names[0]);
            wr_key_hash(&w->s->key, &r, sizeof r, 1, &expected);
            assert_int_equal(hash[i], expected);
            assert_int_equal(keys[i].padding, 0);
        }
        count += n;
    }
    assert_int_equal(count, w->known);
    check_walk(w, ids);
}

static void run_scenario(const scenario *s, uint64_t seed)
{
    static world worlds;
    world       *w = &worlds;
    setup(w, s, seed);
    for (uint32_t b = 0; b < s->batches; b++) {
        uint32_t n = 1 + (uint32_t)wr_prng_below(&w->prng, BATCH);
        fill_batch(w, n);
        if (w->has_near && wr_near_begin(&w->near, w->table, n)) {
            run_near(w, n);
        } else if (wr_prng_one_in(&w->prng, 3)) {
            uint32_t pick[BATCH], picks = 0;
            for (uint32_t i = 0; i < n; i++) {
                pick[picks] = i;
                picks += wr_prng_one_in(&w->prng, 2) ? 1 : 0;
            }
            run_plain(w, n, pick, picks);
        } else {
            run_plain(w, n, NULL, 0);
        }
        wr_table_settle(w->table);
        if (b % 16 == 0) run_peek(w);
        if (b % 64 == 0) check_scan(w);
    }
    check_scan(w);
    teardown(w);
}

static const scenario scenarios[] = {
    {"u64", {1, {WIDE}}, 20000, 128, 0, 128, 600, PLAIN, false},
    {"u64 with a lookaside", {1, {WIDE}}, 3000, 128, 0, 128, 600, PLAIN, true},
    {"u64, one group of many", {1, {WIDE}}, 60000, 128, 77, 78, 200, PLAIN, false},
    {"u64, a third of the groups", {1, {WIDE}}, 30000, 96, 32, 64, 400, PLAIN, false},
    {"u64, groups across the middle", {1, {WIDE}}, 30000, 100, 33, 66, 400, PLAIN, false},
    {"u64, many groups", {1, {WIDE}}, 20000, 32768, 0, 32768, 400, PLAIN, false},
    {"u64, one group", {1, {WIDE}}, 20000, 1, 0, 1, 400, PLAIN, false},
    {"i32", {1, {NARROW}}, 20000, 128, 0, 128, 400, PLAIN, true},
    {"u8", {1, {TINY}}, 256, 128, 0, 128, 200, PLAIN, true},
    {"bool", {1, {FLAG}}, 2, 128, 0, 128, 50, PLAIN, false},
    {"no key", {0, {WIDE}}, 1, 128, 0, 128, 50, PLAIN, false},
    {"string", {1, {NAME}}, 20000, 128, 0, 128, 500, PLAIN, false},
    {"string with a lookaside", {1, {NAME}}, 2000, 128, 0, 128, 400, PLAIN, true},
    {"two integers", {2, {NARROW, WIDE}}, 20000, 128, 0, 128, 300, PLAIN, false},
    {"four fields", {4, {FLAG, NAME, NARROW, WIDE}}, 20000, 128, 0, 128, 300, PLAIN, false},
    {"string first", {2, {NAME, TINY}}, 10000, 128, 0, 128, 300, PLAIN, false},
    {"equal top 40 bits", {1, {WIDE}}, 20000, 128, 0, 128, 300, SAME_TOP, false},
    {"equal top 40 bits, one bucket", {1, {WIDE}}, 20000, 128, 0, 128, 300, SAME_TOP_AND_LOW, false},
    {"one bucket", {1, {WIDE}}, 20000, 128, 0, 128, 300, SAME_LOW, false},
};

static void follows_the_model(void **unused)
{
    (void)unused;
    for (uint32_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++) {
        for (uint64_t seed = 1; seed <= 2; seed++) run_scenario(&scenarios[i], seed * 1000 + i);
    }
}

/* ---- more -------------------------------------------------------------------------------------------------------- */

static wr_table *wide_table(wr_budget *budget, uint64_t seed)
{
    wr_table_config config = {.uid = "test",
                              .record = &row_type,
                              .key = {1, {WIDE}},
                              .state = &tally_type,
                              .max_parallelism = 128,
                              .group_end = 128,
                              .budget = budget,
                              .large_pages = seed & 1};
    wr_table       *table;
    assert_int_equal(wr_table_new(&table, &config, NULL), WR_OK);
    return table;
}

static void put_range(wr_table *table, uint64_t from, uint64_t to, enum craft craft, bool forget)
{
    static row      rows[1024];
    static uint64_t hash[1024];
    static void    *state[1024];
    static uint8_t  fresh[1024];
    const weir_key  key = {1, {WIDE}};
    for (uint64_t at = from; at < to; at += 1024) {
        uint32_t n = to - at < 1024 ? (uint32_t)(to - at) : 1024;
        for (uint32_t i = 0; i < n; i++) rows[i].wide = wide_of(craft, at + i);
        wr_key_hash(&key, rows, sizeof *rows, n, hash);
        wr_table_find(table, rows, n, hash, NULL, 0, state, fresh);
        for (uint32_t i = 0; i < n; i++) {
            tally *t = state[i];
            assert_true(fresh[i] == (t->seen == 0));
            assert_true(t->seen == 0 || t->id == at + i);
            t->id = at + i;
            t->seen++;
            if (forget) wr_table_forget(table, t);
        }
        wr_table_settle(table);
    }
}

static void grows_shrinks_and_grows(void **unused)
{
    (void)unused;
#ifdef __SANITIZE_ADDRESS__
    const uint64_t keys = 200000;
#else
    const uint64_t keys = 2000000;
#endif
    wr_budget budget = {0};
    wr_table *table = wide_table(&budget, 1);
    put_range(table, 0, keys, PLAIN, false);
    assert_int_equal(wr_table_count(table), keys);
    put_range(table, 0, keys, PLAIN, false);
    assert_int_equal(wr_table_count(table), keys);
    uint64_t bytes = budget.bytes;
    assert_true(bytes > keys * 32 && bytes < keys * 64);
    put_range(table, 0, keys, PLAIN, true); /* from full buckets; what is left must still be found */
    assert_int_equal(wr_table_count(table), 0);
    put_range(table, keys / 2, keys * 3 / 2, PLAIN, false); /* splits after deletes, tombstones */
    put_range(table, keys / 2, keys, PLAIN, true);
    put_range(table, keys, keys * 3 / 2, PLAIN, false);
    assert_int_equal(wr_table_count(table), keys / 2);
    assert_true(budget.bytes < bytes * 3 / 2);
    wr_table_free(table);
    assert_int_equal(budget.bytes, 0);
}

static void keys_of_an_enemy_stay_cheap(void **unused)
{
    (void)unused;
    for (enum craft craft = SAME_TOP; craft <= SAME_LOW; craft++) {
        wr_budget budget = {0};
        wr_table *table = wide_table(&budget, 0);
        uint64_t  keys = craft == SAME_LOW ? 100000 : 130000;
        put_range(table, 0, keys, craft, false);
        put_range(table, 0, keys, craft, false);
        assert_int_equal(wr_table_count(table), keys);
        assert_true(budget.bytes < keys * 300); /* no directory of 2^24 for them */
        put_range(table, 0, keys, craft, true);
        assert_int_equal(wr_table_count(table), 0);
        wr_table_free(table);
    }
}

static void budget_is_kept_and_reported(void **unused)
{
    (void)unused;
    wr_budget budget = {.bytes_max = 1 << 20};
    wr_table *table = wide_table(&budget, 0);
    put_range(table, 0, 1000, PLAIN, false);
    assert_false(budget.exceeded);
    put_range(table, 1000, 100000, PLAIN, false);
    assert_true(budget.exceeded);
    assert_int_equal(wr_table_count(table), 100000); /* complete nevertheless */
    assert_int_equal(wr_table_bytes(table), budget.bytes);
    wr_table_free(table);
}

static void forgotten_and_used_again_stays(void **unused)
{
    (void)unused;
    wr_budget      budget = {0};
    wr_table      *table = wide_table(&budget, 0);
    row            rows[2] = {{.wide = 7}, {.wide = 7}};
    const weir_key key = {1, {WIDE}};
    uint64_t       hash[2];
    void          *state[2];
    uint8_t        fresh[2];
    wr_key_hash(&key, rows, sizeof *rows, 2, hash);
    wr_table_find(table, rows, 2, hash, NULL, 0, state, fresh);
    assert_ptr_equal(state[0], state[1]);
    assert_true(fresh[0] == 1 && fresh[1] == 0);
    tally *t = state[0];
    t->seen = 5;
    wr_table_forget(table, t);
    assert_int_equal(t->seen, 0);
    t->seen = 1; /* the second record */
    wr_table_settle(table);
    assert_int_equal(wr_table_count(table), 1);
    wr_table_peek(table, rows, 1, hash, NULL, 0, state);
    assert_int_equal(((tally *)state[0])->seen, 1);
    uint64_t generation = wr_table_generation(table);
    wr_table_forget(table, state[0]);
    wr_table_forget(table, state[0]); /* twice is once */
    wr_table_settle(table);
    assert_int_equal(wr_table_count(table), 0);
    assert_true(wr_table_generation(table) != generation);
    wr_table_free(table);
}

enum { ASK = 1024 };
static void    *a[ASK], *b[ASK];
static uint32_t miss_a[ASK + 1], miss_b[ASK + 1];

static uint32_t find_with(wr_find_fn *find, const wr_table *table, const row *rows, const uint64_t *hash, uint32_t n,
                          void **state, uint32_t *miss)
{
    return find(&table->index, table->entries.base, table->entries.stride, (const char *)rows, sizeof *rows, hash, n,
                table->state_at, state, miss);
}

static void same_answer(uint32_t n_b, uint32_t n_a, uint32_t n)
{
    assert_int_equal(n_a, n_b);
    assert_memory_equal(miss_a, miss_b, n_a * sizeof *miss_a);
    for (uint32_t i = 0, q = 0; i < n; i++) {
        bool missed = q < n_a && miss_a[q] == i;
        q += missed;
        if (!missed) assert_ptr_equal(a[i], b[i]);
    }
}

static void kernels_agree(void **unused)
{
    (void)unused;
    enum { KEYS = 50000 };
    wr_budget budget = {0};
    wr_table *table = wide_table(&budget, 0);
    put_range(table, 0, KEYS, PLAIN, false);
    static row      rows[ASK];
    static uint64_t hash[ASK];
    const weir_key  key = {1, {WIDE}};
    wr_prng         prng = wr_prng_of(3);
    for (uint32_t n = 0; n <= ASK; n += 1 + n / 3) {
        for (uint32_t i = 0; i < n; i++) rows[i].wide = wide_of(PLAIN, wr_prng_below(&prng, KEYS * 2));
        wr_key_hash(&key, rows, sizeof *rows, n, hash);
        for (uint32_t i = 0; i < n; i++) assert_int_equal(hash[i], wr_fmix64(rows[i].wide));
        uint32_t n_a = find_with(wr_find_integer_plain, table, rows, hash, n, a, miss_a);
#if defined(__x86_64__)
        if (wr_find_has_avx2()) same_answer(find_with(wr_find_integer_avx2, table, rows, hash, n, b, miss_b), n_a, n);
        if (wr_find_has_avx512())
            same_answer(find_with(wr_find_integer_avx512, table, rows, hash, n, b, miss_b), n_a, n);
#endif
        assert_true(n == 0 || n_a < n || n < 4);
    }
    wr_table_free(table);
}

/* In the order of keys, and of records within one. */
static int by_key(const void *left, const void *right, void *rows)
{
    uint32_t   i = *(const uint32_t *)left, j = *(const uint32_t *)right;
    const row *r = rows;
    if (r[i].wide != r[j].wide) return r[i].wide < r[j].wide ? -1 : 1;
    return i < j ? -1 : i > j;
}

/* Each kernel lists exactly the records whose state does not have the number in its place. */
static void places_are_found(void **unused)
{
    (void)unused;
    enum { KEYS = 20000, MOST = 3000 };
    static row      rows[MOST];
    static uint64_t hash[MOST];
    static void    *state[MOST];
    static uint32_t rest[MOST], expected[MOST];
    static uint8_t  fresh[MOST];
    wr_budget       budget = {0};
    wr_table       *table = wide_table(&budget, 0);
    const weir_key  key = {1, {WIDE}};
    wr_prng         prng = wr_prng_of(5);
    put_range(table, 0, KEYS, PLAIN, false);
    assert_true(wr_table_has_find_place(table));
    wr_find_place_fn *kernel[3] = {wr_find_in_place_plain};
    uint32_t          kernels = 1;
#if defined(__x86_64__)
    if (wr_find_has_avx2()) kernel[kernels++] = wr_find_in_place_avx2;
    if (wr_find_has_avx512()) kernel[kernels++] = wr_find_in_place_avx512;
#endif
    for (uint32_t round = 0; round < 60; round++) {
        uint32_t n = (uint32_t)wr_prng_below(&prng, round % 3 == 0 ? 70 : MOST + 1), rests, wanted = 0, news = 0;
        uint32_t known = (uint32_t)wr_table_count(table);
        for (uint32_t i = 0; i < n; i++) rows[i].wide = wide_of(PLAIN, wr_prng_below(&prng, KEYS + round * 100));
        wr_key_hash(&key, rows, sizeof *rows, n, hash);
        uint32_t       places = 2u << wr_prng_below(&prng, 3);
        int64_t        number = (int64_t)wr_prng_below(&prng, 9) - 4;
        wr_table_place place = {.number = number,
                                .word = offsetof(tally, seen),
                                .value = 8 * (round % 2),
                                .place = (uint32_t)number & (places - 1),
                                .places = places};
        table->find_place = kernel[round % kernels];
        assert_true(wr_table_find_place(table, rows, n, hash, &place, state, fresh, rest, &rests));
        for (uint32_t i = 0; i < n; i++) {
            state[i] = (char *)state[i] - place.value;
            const tally *t = state[i];
            int64_t      base = (int64_t)t->seen >> 8;
            bool         has = number >= base && number < base + places && (t->seen >> place.place & 1);
            news += fresh[i];
            if (!has) expected[wanted++] = i;
        }
        assert_int_equal(wr_table_count(table), known + news);
        assert_int_equal(rests, wanted);
        for (uint32_t q = 1; q < rests; q++) /* those of one key in their order */
            for (uint32_t p = q > 40 ? q - 40 : 0; p < q; p++)
                assert_true(rows[rest[p]].wide != rows[rest[q]].wide || rest[p] < rest[q]);
        qsort_r(rest, rests, sizeof *rest, by_key, rows);
        qsort_r(expected, wanted, sizeof *expected, by_key, rows);
        assert_memory_equal(rest, expected, rests * sizeof *rest);
        for (uint32_t i = 0; i < n; i++) { /* other marks for the next round */
            uint64_t base = wr_prng_below(&prng, 9) - 4, bits = wr_prng_below(&prng, 1u << places);
            if (wr_prng_below(&prng, 2) != 0) ((tally *)state[i])->seen = base << 8 | bits;
        }
    }
    wr_table_free(table);
    assert_int_equal(budget.bytes, 0);
}

static void hashes_agree(void **unused)
{
    (void)unused;
    static uint64_t word[300], expected[100], hash[100];
    wr_prng         prng = wr_prng_of(4);
    for (uint32_t i = 0; i < 300; i++) word[i] = wr_prng_next(&prng);
    for (uint32_t n = 0; n <= 100; n++) {
        for (uint32_t i = 0; i < n; i++) expected[i] = wr_fmix64(word[i * 3]);
        wr_key_words_plain((const char *)word, 24, n, hash);
        assert_memory_equal(hash, expected, n * 8);
#if defined(__x86_64__)
        memset(hash, 0, sizeof hash);
        if (__builtin_cpu_supports("avx2")) wr_key_words_avx2((const char *)word, 24, n, hash);
        if (__builtin_cpu_supports("avx2")) assert_memory_equal(hash, expected, n * 8);
        memset(hash, 0, sizeof hash);
        if (__builtin_cpu_supports("avx512dq")) wr_key_words_avx512((const char *)word, 24, n, hash);
        if (__builtin_cpu_supports("avx512dq")) assert_memory_equal(hash, expected, n * 8);
#endif
    }
}

/* Long before the first barrier; nothing of it where the slot captures by itself. */
static void memory_for_old_bytes_grows_with_the_table(void **unused)
{
    (void)unused;
    const wr_env *env = wr_env_real();
    wr_parker     parker;
    assert_int_equal(env->parker_init(env->self, &parker), 0);
    for (uint32_t apart = 0; apart < 2; apart++) {
        wr_ahead  *ahead = wr_ahead_new(env);
        wr_budget  budget = {.ahead = ahead};
        wr_table  *table = wide_table(&budget, 1);
        wr_family *family = &table->entries;
        assert_non_null(ahead);
        assert_int_equal(wr_table_mark(table, true, NULL), WR_OK);
        if (apart) wr_capture_apart(table);
        for (uint64_t keys = 0; keys < 1000000; keys += 250000) { /* 32 bytes each */
            put_range(table, keys, keys + 250000, PLAIN, false);
            uint64_t least = apart ? family->next * family->stride / 3 : 0;
            while (wr_ahead_ready(&family->capture.ahead_bytes) < least) env->park(env->self, &parker, 100000);
        }
        if (!apart) assert_int_equal(wr_ahead_ready(&family->capture.ahead_bytes), 0);
        wr_table_free(table);
        wr_ahead_free(ahead);
    }
    env->parker_fini(env->self, &parker);
}

static void refuses_what_it_cannot_do(void **unused)
{
    (void)unused;
    wr_budget budget = {0};
    wr_table *table;
    weir_type huge = tally_type;
    huge.size = WR_STATE_BYTES_MAX + 8;
    wr_table_config config = {.uid = "test",
                              .record = &row_type,
                              .key = {1, {{0, WEIR_F64}}},
                              .state = &tally_type,
                              .max_parallelism = 128,
                              .group_end = 128,
                              .budget = &budget};
    wr_errinfo      info = {0};
    assert_int_equal(wr_table_new(&table, &config, &info), WR_NOT_YET);
    config.key = (weir_key){1, {WIDE}};
    config.state = &huge;
    wr_errinfo info2 = {0};
    assert_int_equal(wr_table_new(&table, &config, &info2), WR_LIMIT);
    assert_int_equal(budget.bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows_the_model),
        cmocka_unit_test(grows_shrinks_and_grows),
        cmocka_unit_test(keys_of_an_enemy_stay_cheap),
        cmocka_unit_test(budget_is_kept_and_reported),
        cmocka_unit_test(forgotten_and_used_again_stays),
        cmocka_unit_test(kernels_agree),
        cmocka_unit_test(places_are_found),
        cmocka_unit_test(hashes_agree),
        cmocka_unit_test(memory_for_old_bytes_grows_with_the_table),
        cmocka_unit_test(refuses_what_it_cannot_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
