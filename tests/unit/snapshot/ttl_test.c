/* Keys whose time is over go in small steps: how many entries one step looks at, and that a round misses none. */
#include "snapshot/table_inner.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { KEYS = 20000, BATCH = 1000, GROUPS = 128, TTL_NS = 1000, RUN = 64 };

typedef struct row {
    uint64_t key;
} row;
typedef struct tally {
    uint64_t n;
} tally;

static const weir_field row_fields[] = {{.name = "key", .offset = 0, .size = 8, .kind = WEIR_U64}};
static const weir_field tally_fields[] = {{.name = "n", .offset = 0, .size = 8, .kind = WEIR_U64}};
static const weir_type  row_type = {
     .abi_size = sizeof(weir_type), .fields = 1, .name = "row", .size = sizeof(row), .align = 8, .field = row_fields};
static const weir_type tally_type = {.abi_size = sizeof(weir_type),
                                     .fields = 1,
                                     .name = "tally",
                                     .size = sizeof(tally),
                                     .align = 8,
                                     .field = tally_fields};
static const weir_key  by_key = {1, {{0, WEIR_U64}}};

/* Keys [from, to) are met at now_ns. */
static void meet(wr_table *table, uint64_t from, uint64_t to, int64_t now_ns)
{
    static row      rows[BATCH];
    static uint64_t hash[BATCH];
    static void    *state[BATCH];
    static uint8_t  fresh[BATCH];
    wr_table_now(table, now_ns);
    for (uint64_t at = from; at < to; at += BATCH) {
        uint32_t n = to - at < BATCH ? (uint32_t)(to - at) : BATCH;
        for (uint32_t i = 0; i < n; i++) rows[i].key = at + i;
        wr_key_hash(&by_key, rows, sizeof *rows, n, hash);
        wr_table_find(table, rows, n, hash, NULL, 0, state, fresh);
        for (uint32_t i = 0; i < n; i++) ((tally *)state[i])->n = at + i + 1;
        wr_table_settle(table);
    }
}

static wr_table *filled(wr_budget *budget)
{
    wr_table       *table;
    wr_table_config config = {.uid = "test",
                              .record = &row_type,
                              .key = by_key,
                              .state = &tally_type,
                              .max_parallelism = GROUPS,
                              .group_end = GROUPS,
                              .budget = budget,
                              .ttl_ns = TTL_NS,
                              .ttl_rule = WEIR_TTL_ON_READ};
    assert_int_equal(wr_table_new(&table, &config, NULL), WR_OK);
    assert_true(wr_table_expires(table));
    meet(table, 0, KEYS, 1);
    assert_true(wr_table_count(table) == KEYS);
    return table;
}

/* One round of steps of so many entries. Returns how many steps it took. */
static uint32_t round_of(wr_table *table, uint32_t entries)
{
    for (uint32_t steps = 1;; steps++) {
        uint64_t before = wr_table_count(table);
        bool     all = wr_ttl_sweep(table, entries);
        assert_true(before - wr_table_count(table) < entries + RUN);
        assert_true(steps <= KEYS / entries + 2); /* no step looks at fewer, unless it is the last one */
        if (all) return steps;
    }
}

static void a_step_is_small(void **unused)
{
    (void)unused;
    const uint32_t sizes[] = {64, 256, 1024, KEYS * 2};
    for (uint32_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        wr_budget budget = {0};
        wr_table *table = filled(&budget);
        wr_table_now(table, TTL_NS); /* nothing is over yet */
        (void)round_of(table, sizes[i]);
        assert_true(wr_table_count(table) == KEYS);
        wr_table_now(table, TTL_NS + 2);
        uint32_t steps = round_of(table, sizes[i]);
        assert_true(wr_table_count(table) == 0);
        assert_true(steps >= KEYS / (sizes[i] + RUN));
        wr_table_free(table);
        assert_int_equal(budget.bytes, 0);
    }
}

/* Between two steps keys come, are met again, and go: those that are over go within two rounds, and only those. */
static void keys_come_and_go_between_steps(void **unused)
{
    (void)unused;
    wr_budget budget = {0};
    wr_table *table = filled(&budget);
    int64_t   now = TTL_NS + 2;
    uint32_t  rounds = 0;
    for (uint64_t met = 0; rounds < 2; met = (met + BATCH) % (KEYS / 2)) {
        meet(table, met, met + BATCH, now); /* the first half, and a thousand new ones */
        if (met == 0) meet(table, KEYS, KEYS + BATCH, now);
        wr_table_now(table, now);
        rounds += wr_ttl_sweep(table, 256);
    }
    meet(table, 0, KEYS / 2, now);
    assert_true(wr_table_count(table) == KEYS / 2 + BATCH);
    now += TTL_NS + 2;
    wr_table_now(table, now);
    while (!wr_ttl_sweep(table, 256)) continue;
    while (!wr_ttl_sweep(table, 256)) continue;
    assert_true(wr_table_count(table) == 0);
    wr_table_free(table);
    assert_int_equal(budget.bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_is_small),
        cmocka_unit_test(keys_come_and_go_between_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
