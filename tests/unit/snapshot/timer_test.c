/* Timers against a list of all cells: random sets, moves, clears, forgets and limits. And the wheel by itself. */
#include "base/prng.h"
#include "snapshot/table_inner.h"
#include "snapshot/timer.h"
#include "snapshot/wheel.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- the wheel --------------------------------------------------------------------------------------------------- */

/* Adds n hints at times that `spread` bits tell apart, then takes all of them in steps of the limit, with more hints
 * added on the way; each comes once, none before its time, all in order. */
static void drain(uint32_t n, uint32_t spread, uint32_t steps, uint64_t base, uint64_t seed)
{
    wr_budget  budget = {0};
    uint64_t   bytes = 0;
    wr_wheel  *wheel = malloc(sizeof *wheel);
    wr_errinfo info;
    wr_prng    prng;
    uint32_t   added = 0, taken = 0;
    uint64_t   mask = spread == 64 ? UINT64_MAX : (UINT64_C(1) << spread) - 1;
    wr_hint   *all = calloc(2 * n, sizeof *all);
    uint8_t   *seen = calloc(2 * n, 1);
    wr_errinfo_init(&info);
    prng = wr_prng_of(seed);
    assert_int_equal(wr_wheel_init(wheel, &budget, &bytes, &info), WR_OK);
    for (; added < n; added++) {
        all[added] = (wr_hint){base + (wr_prng_next(&prng) & mask), added, added ^ 5};
        wr_wheel_add(wheel, all[added].key, added, added ^ 5);
    }
    for (uint32_t step = 0; step <= steps; step++) {
        uint64_t limit = step == steps ? UINT64_MAX : base + (uint64_t)((unsigned __int128)mask * step / steps);
        uint64_t before = 0, next;
        for (;;) {
            uint32_t            work = 3;
            enum wr_wheel_state look = wr_wheel_look(wheel, limit, &work);
            if (look == WR_WHEEL_NOT_YET) break;
            if (look == WR_WHEEL_SINKING) continue;
            assert_true(wr_wheel_next(wheel, &next));
            wr_hint hint = *wr_wheel_first(wheel);
            assert_true(hint.key == next && hint.key <= limit && hint.key >= before);
            assert_true(hint.position < added && hint.key == all[hint.position].key);
            assert_int_equal(hint.field, hint.position ^ 5);
            assert_int_equal(seen[hint.position]++, 0);
            before = hint.key;
            wr_wheel_drop(wheel);
            taken++;
            if (added < 2 * n && taken % 3 == 0) { /* at this very time, soon, or whenever */
                uint32_t how = wr_prng_next(&prng) % 3;
                uint64_t key = how == 0 ? before : how == 1 ? before + wr_prng_next(&prng) % 300 : 0;
                if (how == 2 || key < before) key = before + (wr_prng_next(&prng) & mask) % (UINT64_MAX - before);
                all[added] = (wr_hint){key, added, added ^ 5};
                wr_wheel_add(wheel, key, added, added ^ 5);
                added++;
            }
        }
        for (uint32_t i = 0; i < added; i++) assert_int_equal(seen[i], all[i].key <= limit);
    }
    uint64_t none;
    assert_int_equal(taken, added);
    assert_int_equal(wheel->count, 0);
    assert_false(wr_wheel_next(wheel, &none));
    wr_wheel_fini(wheel);
    assert_int_equal(bytes, 0);
    assert_int_equal(budget.bytes, 0);
    free(wheel);
    free(all);
    free(seen);
}

static void test_a_wheel_gives_everything_in_order(void **state)
{
    (void)state;
    static const uint32_t spread[] = {0, 1, 7, 8, 9, 16, 23, 24, 32, 40, 55, 56, 63, 64};
    for (uint32_t i = 0; i < sizeof spread / sizeof *spread; i++) {
        uint64_t base = spread[i] == 64 ? 0 : UINT64_C(1) << 63;
        drain(300, spread[i], 5, base, i);
        drain(20000, spread[i], 3, base, i + 100);
        drain(9000, spread[i], 40, spread[i] == 64 ? 0 : base - (UINT64_C(1) << spread[i]) / 3, i + 200);
    }
}

static void test_a_flood_gives_its_memory_back(void **state)
{
    (void)state;
    wr_budget  budget = {0};
    uint64_t   bytes = 0;
    wr_wheel  *wheel = malloc(sizeof *wheel);
    wr_errinfo info;
    wr_errinfo_init(&info);
    assert_int_equal(wr_wheel_init(wheel, &budget, &bytes, &info), WR_OK);
    for (uint32_t round = 0; round < 3; round++) {
        uint64_t from = (uint64_t)(round + 1) << 40, last = from;
        for (uint32_t i = 0; i < 500000; i++) wr_wheel_add(wheel, from + i * UINT64_C(7919) % 1000000007, i, 0);
        assert_in_range(bytes, 500000 * 16, 500000 * 17 + (1 << 20));
        for (uint32_t n = 0; n < 500000;) {
            uint32_t work = 100;
            if (wr_wheel_look(wheel, UINT64_MAX - 1, &work) != WR_WHEEL_DUE) continue;
            assert_true(wr_wheel_first(wheel)->key >= last);
            last = wr_wheel_first(wheel)->key;
            wr_wheel_drop(wheel);
            n++;
        }
        assert_in_range(bytes, 0, 1 << 17);
    }
    wr_wheel_fini(wheel);
    free(wheel);
}

/* ---- timers ------------------------------------------------------------------------------------------------------ */

typedef struct row {
    uint64_t key;
} row;
typedef struct kept {
    uint64_t         seen;
    weir_event_timer first, second;
    weir_clock_timer clock;
} kept;
static const weir_field row_fields[] = {{.name = "key", .offset = 0, .size = 8, .kind = WEIR_U64}};
static const weir_type  row_type = {
     .abi_size = sizeof(weir_type), .fields = 1, .name = "row", .size = sizeof(row), .align = 8, .field = row_fields};
static const weir_field kept_fields[] = {
    {.name = "seen", .offset = offsetof(kept, seen), .size = 8, .kind = WEIR_U64},
    {.name = "first", .offset = offsetof(kept, first), .size = 8, .kind = WEIR_EVENT_TIMER},
    {.name = "second", .offset = offsetof(kept, second), .size = 8, .kind = WEIR_EVENT_TIMER},
    {.name = "clock", .offset = offsetof(kept, clock), .size = 8, .kind = WEIR_CLOCK_TIMER},
};
static const weir_type kept_type = {
    .abi_size = sizeof(weir_type), .fields = 4, .name = "kept", .size = sizeof(kept), .align = 8, .field = kept_fields};
static const uint32_t field_at[] = {offsetof(kept, first), offsetof(kept, second), offsetof(kept, clock)};

/* What must be: for each key its due times, INT64_MIN for none. */
typedef struct world {
    wr_table  *table;
    wr_timers *timers;
    wr_budget  budget;
    wr_prng    prng;
    uint32_t   keys;
    int64_t (*due)[3];
    int64_t  now[2]; /* watermark, clock */
    uint64_t fired;
} world;

static uint64_t random_of(world *w, uint64_t below)
{
    return wr_prng_next(&w->prng) % below;
}

static void begin(world *w, uint32_t keys, uint64_t seed)
{
    wr_errinfo      info;
    wr_table_config config = {.uid = "timers",
                              .record = &row_type,
                              .key = {.count = 1, .field = {{0, WEIR_U64}}},
                              .state = &kept_type,
                              .max_parallelism = 128,
                              .group_end = 128,
                              .budget = &w->budget};
    *w = (world){.keys = keys, .due = calloc(keys, sizeof *w->due)};
    wr_errinfo_init(&info);
    w->prng = wr_prng_of(seed);
    assert_int_equal(wr_table_new(&w->table, &config, &info), WR_OK);
    assert_int_equal(wr_timers_new(&w->timers, w->table, &info), WR_OK);
    for (uint32_t i = 0; i < keys; i++) w->due[i][0] = w->due[i][1] = w->due[i][2] = INT64_MIN;
    w->now[0] = w->now[1] = INT64_MIN;
}

static void end(world *w)
{
    wr_timers_free(w->timers);
    wr_table_free(w->table);
    assert_int_equal(w->budget.bytes, 0);
    free(w->due);
}

static kept *state_of(world *w, uint64_t key)
{
    row      r = {key};
    uint64_t hash;
    void    *state;
    wr_key_hash(&wr_table_config_of(w->table)->key, &r, sizeof r, 1, &hash);
    assert_true(wr_table_find(w->table, &r, 1, &hash, NULL, 1, &state, NULL));
    return state;
}

static void set(world *w, kept *at, uint64_t key, uint32_t field, int64_t due)
{
    wr_timers_set(w->timers, field == 2, at, (char *)at + field_at[field], due);
    w->due[key][field] = due == INT64_MAX ? due - 1 : due == -1 ? 0 : due;
}

static int64_t some_time(world *w, uint32_t field)
{
    static const int64_t width[] = {3, 200, 70000, 20000000, INT64_C(5000000000), INT64_C(4000000000000)};
    int64_t              from = w->now[field == 2] == INT64_MIN ? -1000 : w->now[field == 2];
    uint64_t             how = random_of(w, 30);
    if (from > INT64_MAX / 2) from = INT64_MAX / 2;
    if (how == 0) return INT64_MAX;
    if (how == 1) return -1;
    if (how == 2) return from - (int64_t)random_of(w, 1000);
    return from + (int64_t)random_of(w, (uint64_t)width[random_of(w, 6)]);
}

static void change(world *w)
{
    uint64_t key = random_of(w, w->keys);
    uint32_t field = (uint32_t)random_of(w, 3);
    kept    *at = state_of(w, key);
    at->seen = key + 1;
    switch (random_of(w, 8)) {
    case 0:
        wr_timers_clear(w->timers, field == 2, at, (char *)at + field_at[field]);
        w->due[key][field] = INT64_MIN;
        break;
    case 1:
        wr_table_forget(w->table, at);
        w->due[key][0] = w->due[key][1] = w->due[key][2] = INT64_MIN;
        break;
    case 2: /* later, then sooner */
        set(w, at, key, field, some_time(w, field));
        set(w, at, key, field, some_time(w, field));
        break;
    default: set(w, at, key, field, some_time(w, field));
    }
    if (random_of(w, 4) == 0) {
        wr_table_settle(w->table);
        wr_timers_settle(w->timers);
    }
}

static int64_t least_due(const world *w, uint32_t clock, int64_t limit)
{
    int64_t least = INT64_MAX;
    for (uint32_t i = 0; i < w->keys; i++) {
        for (uint32_t f = clock == 0 ? 0 : 2; f < (clock == 0 ? 2u : 3u); f++) {
            if (w->due[i][f] != INT64_MIN && w->due[i][f] <= limit && w->due[i][f] < least) least = w->due[i][f];
        }
    }
    return least;
}

/* One batch; in it timers may set and clear those of their own key. */
static bool take(world *w, uint32_t clock, uint32_t max)
{
    void     *state[WR_TIMERS_AT_ONCE];
    weir_time due[WR_TIMERS_AT_ONCE];
    uint32_t  cell[WR_TIMERS_AT_ONCE];
    bool      all;
    int64_t   limit = w->now[clock], least = least_due(w, clock, limit);
    uint32_t  n = wr_timers_take(w->timers, clock, limit, max, state, due, cell, &all);
    row       keys[WR_TIMERS_AT_ONCE];
    wr_table_keys(w->table, state, n, keys);
    for (uint32_t i = 0; i < n; i++) {
        kept    *at = state[i];
        uint32_t field = cell[i] == field_at[0] ? 0 : cell[i] == field_at[1] ? 1 : 2;
        int64_t *must = &w->due[keys[i].key][field];
        int64_t  held;
        assert_int_equal(at->seen, keys[i].key + 1);
        assert_int_equal(cell[i], field_at[field]);
        assert_true(due[i].ns == *must && *must <= limit && (i == 0 ? *must == least : *must >= due[i - 1].ns));
        memcpy(&held, (char *)at + cell[i], 8);
        assert_int_equal(held, 0);
        for (uint32_t k = 0; k < i; k++) assert_true(state[k] != state[i]);
        *must = INT64_MIN;
    }
    for (uint32_t i = 0; i < n; i++) {
        kept    *at = state[i];
        uint64_t key = keys[i].key;
        if (random_of(w, 5) == 0) set(w, at, key, (uint32_t)random_of(w, 3), some_time(w, clock == 0 ? 0 : 2));
        if (random_of(w, 9) == 0) {
            wr_table_forget(w->table, at);
            w->due[key][0] = w->due[key][1] = w->due[key][2] = INT64_MIN;
        }
    }
    w->fired += n;
    wr_table_settle(w->table);
    wr_timers_settle(w->timers);
    if (all) assert_true(least_due(w, clock, limit) == INT64_MAX || n > 0);
    return all && least_due(w, clock, limit) == INT64_MAX;
}

static void check_next(world *w)
{
    for (uint32_t clock = 0; clock < 2; clock++)
        assert_true(wr_timers_next(w->timers, clock) <= least_due(w, clock, INT64_MAX));
}

static void run(uint32_t keys, uint32_t rounds, uint64_t seed)
{
    world w;
    begin(&w, keys, seed);
    for (uint32_t round = 0; round < rounds; round++) {
        uint32_t clock = round % 2;
        for (uint64_t n = random_of(&w, 200); n > 0; n--) change(&w);
        wr_table_settle(w.table);
        wr_timers_settle(w.timers);
        check_next(&w);
        if (random_of(&w, 3) != 0) {
            int64_t next = some_time(&w, clock == 0 ? 0 : 2);
            if (next > w.now[clock] && next < INT64_MAX / 2) w.now[clock] = next;
        }
        uint32_t max = 1 + (uint32_t)random_of(&w, 40);
        for (uint32_t tries = 0; !take(&w, clock, max); tries++) assert_true(tries < 1000000);
        if (random_of(&w, 40) == 0) { /* as after a restore */
            wr_errinfo info;
            wr_errinfo_init(&info);
            wr_timers_free(w.timers);
            assert_int_equal(wr_timers_new(&w.timers, w.table, &info), WR_OK);
            wr_timers_rebuild(w.timers);
        }
    }
    w.now[0] = INT64_MAX;
    /* at the end of time timers that set themselves again never end: clear those */
    for (uint32_t tries = 0; tries < 200 && !take(&w, 0, 100); tries++) {}
    assert_true(w.fired > rounds);
    end(&w);
}

static void test_random_timers_fire_as_they_must(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        run(7, 400, seed);
        run(150, 300, seed + 50);
    }
}

/* The common pattern of a deadline that is met: set far ahead, forgotten soon. The index must not grow for ever. */
static void test_stale_hints_do_not_pile_up(void **state)
{
    (void)state;
    world w;
    begin(&w, 2000, 9);
    uint64_t most = 0;
    for (uint64_t key = 1000; key < 2000; key++) { /* these stay as they are: the new index must have them, too */
        state_of(&w, key)->seen = key + 1;
        set(&w, state_of(&w, key), key, 0, 2500000000 + (int64_t)key);
    }
    for (uint32_t i = 0; i < 400000; i++) {
        uint64_t key = i % 1000;
        kept    *at = state_of(&w, key);
        at->seen = key + 1;
        switch (i / 100000) {
        case 0: /* forgotten before it is due */
            if (i / 1000 % 2 == 0)
                set(&w, at, key, 0, 1000000000 + (int64_t)i);
            else
                wr_table_forget(w.table, at);
            break;
        case 1: /* moved later each time */ set(&w, at, key, 0, 1000000000 + (int64_t)i); break;
        case 2: /* cleared and set */
            wr_timers_clear(w.timers, 0, at, &at->first);
            set(&w, at, key, 0, 1000000000 + (int64_t)i);
            break;
        default: /* sooner, later */ set(&w, at, key, 0, 2000000000 + (int64_t)(i / 1000 % 2) * 1000 - (int64_t)i);
        }
        if (i % 100 == 99) {
            wr_table_settle(w.table);
            wr_timers_settle(w.timers);
        }
        if (wr_timers_hints(w.timers, 0) > most) most = wr_timers_hints(w.timers, 0);
    }
    assert_in_range(most, 20000, 55000);
    w.now[0] = 3000000000;
    uint32_t n = 0;
    for (bool all = false; !all;) {
        void     *at[256];
        weir_time due[256];
        uint32_t  cell[256];
        n += wr_timers_take(w.timers, 0, w.now[0], 256, at, due, cell, &all);
    }
    assert_int_equal(n, 2000);
    end(&w);
}

static void test_the_ends_of_time(void **state)
{
    (void)state;
    world     w;
    void     *at[4];
    weir_time due[4];
    uint32_t  cell[4];
    bool      all;
    begin(&w, 3, 1);
    wr_timers_set(w.timers, 0, state_of(&w, 0), &state_of(&w, 0)->first, INT64_MIN + 1);
    wr_timers_set(w.timers, 0, state_of(&w, 1), &state_of(&w, 1)->first, INT64_MAX);
    wr_timers_set(w.timers, 0, state_of(&w, 2), &state_of(&w, 2)->first, 5);
    wr_timers_set(w.timers, 0, state_of(&w, 2), &state_of(&w, 2)->first, WEIR_NO_TIME); /* clears */
    assert_int_equal(wr_timers_count(w.timers, 0), 2);
    assert_int_equal(wr_timers_take(w.timers, 0, INT64_MIN, 4, at, due, cell, &all), 0);
    assert_true(all);
    assert_int_equal(wr_timers_take(w.timers, 0, INT64_MAX - 2, 4, at, due, cell, &all), 1);
    assert_int_equal(due[0].ns, INT64_MIN + 1);
    assert_int_equal(wr_timers_take(w.timers, 0, INT64_MAX, 4, at, due, cell, &all), 1);
    assert_int_equal(due[0].ns, INT64_MAX - 1);
    assert_int_equal(wr_timers_next(w.timers, 0), INT64_MAX);
    assert_int_equal(wr_timers_next(w.timers, 1), INT64_MAX);
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_wheel_gives_everything_in_order),
        cmocka_unit_test(test_a_flood_gives_its_memory_back),
        cmocka_unit_test(test_random_timers_fire_as_they_must),
        cmocka_unit_test(test_stale_hints_do_not_pile_up),
        cmocka_unit_test(test_the_ends_of_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
