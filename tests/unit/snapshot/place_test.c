/* Numbers that take their places during the look-up: with each kernel, against what the states were before. */
#include "base/prng.h"
#include "snapshot/capture.h"
#include "snapshot/find.h"
#include "snapshot/table_inner.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { KEYS = 6000, MOST = 2500, ROUNDS = 90, VALUES_MAX = 6 };

typedef struct row {
    uint64_t before, key;
} row;
typedef struct held {
    uint64_t others, word, value[VALUES_MAX];
} held;

static const weir_field row_fields[] = {{.name = "before", .offset = 0, .size = 8, .kind = WEIR_U64},
                                        {.name = "key", .offset = 8, .size = 8, .kind = WEIR_U64}};
static const weir_field held_fields[] = {
    {.name = "others", .offset = 0, .size = 8, .kind = WEIR_U64},
    {.name = "word", .offset = 8, .size = 8, .kind = WEIR_U64},
    {.name = "value", .offset = 16, .size = VALUES_MAX * 8, .kind = WEIR_ARRAY | WEIR_U64}};
static const weir_type row_type = {
    .abi_size = sizeof(weir_type), .fields = 2, .name = "row", .size = sizeof(row), .align = 8, .field = row_fields};
static const weir_type held_type = {
    .abi_size = sizeof(weir_type), .fields = 3, .name = "held", .size = sizeof(held), .align = 8, .field = held_fields};
static const weir_key by_key = {1, {{offsetof(row, key), WEIR_U64}}};

typedef struct world {
    wr_budget budget;
    wr_table *table;
    wr_prng   prng;
    uint32_t  n, taken, refused;
    row       rows[MOST];
    uint64_t  hash[MOST];
    void     *at[MOST];
    uint32_t  rest[MOST];
    uint8_t   fresh[MOST];
    held      model[KEYS * 2];
    bool      known[KEYS * 2];
} world;

static uint64_t below(world *w, uint64_t n)
{
    return wr_prng_below(&w->prng, n);
}

static world *new_world(void)
{
    world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->prng = wr_prng_of(77);
    wr_table_config config = {.uid = "test",
                              .record = &row_type,
                              .key = by_key,
                              .state = &held_type,
                              .max_parallelism = 16,
                              .group_end = 16,
                              .budget = &w->budget};
    assert_int_equal(wr_table_new(&w->table, &config, NULL), WR_OK);
    return w;
}

/* Any mark that may be there, with values that are not zero, and now and then something elsewhere. */
static held any_state(world *w, uint32_t places)
{
    held h = {.others = below(w, 8) == 0 ? 1 + below(w, 3) : 0};
    h.word = (below(w, 7) - 3) << 8 | below(w, 1u << places);
    if (below(w, 3) == 0) h.word = (h.word >> 8) << 8 | 1u << ((h.word >> 8) & (places - 1));
    for (uint32_t i = 0; i < VALUES_MAX; i++) h.value[i] = below(w, 1000) + 1;
    return h;
}

/* What is written in the definition, and nothing else. */
static bool may_take(const held *was, const wr_table_place *p)
{
    int64_t lowest = (int64_t)was->word >> 8;
    if (was->others != 0) return false;
    for (uint32_t d = 0; d < p->places; d++) {
        int64_t number = lowest + d;
        if ((was->word >> (number & (p->places - 1)) & 1) && (d != 0 || number >= p->alive)) return false;
    }
    return true;
}

static bool has_place(const held *h, const wr_table_place *p)
{
    int64_t lowest = (int64_t)h->word >> 8;
    return p->number >= lowest && p->number < lowest + p->places && (h->word >> p->place & 1);
}

/* A record that is not in rest[]: its state had the number, or has taken it just now. */
static void look_at_taken(world *w, const wr_table_place *p, const held *was, const held *is, bool capturing)
{
    held expected = *was;
    if (!has_place(was, p)) {
        assert_false(capturing);
        assert_true(may_take(was, p));
        expected.word = (uint64_t)p->number << 8 | 1u << p->place;
        memset((char *)&expected + p->value, 0, p->words * 8);
        w->taken++;
    }
    assert_memory_equal(is, &expected, sizeof expected);
}

/* One that is: its state is as it was, or an earlier record of the batch has taken the number there. */
static void look_at_rest(world *w, const wr_table_place *p, const held *was, const held *is)
{
    assert_false(has_place(was, p));
    if (memcmp(was, is, sizeof *was) == 0)
        w->refused++;
    else
        look_at_taken(w, p, was, is, false);
}

static void one_batch(world *w, wr_find_place_fn *kernel, uint32_t keys, bool capturing)
{
    uint32_t       rests, places = 2u << below(w, 3);
    int64_t        number = (int64_t)below(w, 9) - 4;
    uint32_t       words = (uint32_t)below(w, 4);
    wr_table_place p = {.number = number,
                        .word = offsetof(held, word),
                        .value = offsetof(held, value) + (uint32_t)below(w, 3) * 8,
                        .place = (uint32_t)number & (places - 1),
                        .places = places,
                        .alive = number - (int64_t)below(w, 3),
                        .others = offsetof(held, others),
                        .words = words};
    w->n = (uint32_t)below(w, below(w, 3) == 0 ? 70 : MOST + 1);
    for (uint32_t i = 0; i < w->n; i++) w->rows[i].key = below(w, keys);
    wr_key_hash(&by_key, w->rows, sizeof *w->rows, w->n, w->hash);
    w->table->find_place = kernel;
    assert_true(wr_table_find_place(w->table, w->rows, w->n, w->hash, &p, w->at, w->fresh, w->rest, &rests));
    bool *rest = calloc(w->n + 1, sizeof *rest);
    assert_non_null(rest);
    for (uint32_t q = 0; q < rests; q++) rest[w->rest[q]] = true;
    for (uint32_t i = 0; i < w->n; i++) {
        const held *is = (const held *)(void *)((char *)w->at[i] - p.value), *was = &w->model[w->rows[i].key];
        if (!w->known[w->rows[i].key]) continue; /* new ones are the caller's */
        if (rest[i])
            look_at_rest(w, &p, was, is);
        else
            look_at_taken(w, &p, was, is, capturing || words == 0);
    }
    free(rest);
    for (uint32_t i = 0; i < w->n; i++) { /* other marks for the next one */
        held *is = (held *)(void *)((char *)w->at[i] - p.value);
        *is = any_state(w, places);
        w->model[w->rows[i].key] = *is;
        w->known[w->rows[i].key] = true;
    }
}

static void numbers_take_their_places(void **unused)
{
    (void)unused;
    world            *w = new_world();
    wr_find_place_fn *kernel[3] = {wr_find_in_place_plain};
    uint32_t          kernels = 1;
#if defined(__x86_64__)
    if (wr_find_has_avx2()) kernel[kernels++] = wr_find_in_place_avx2;
    if (wr_find_has_avx512()) kernel[kernels++] = wr_find_in_place_avx512;
#endif
    for (uint32_t round = 0; round < ROUNDS; round++) one_batch(w, kernel[round % kernels], KEYS + round * 50, false);
    assert_true(w->taken > 1000 && w->refused > 1000);
    wr_table_free(w->table);
    assert_int_equal(w->budget.bytes, 0);
    free(w);
}

/* While a snapshot is being taken, what was there must be saved before the number takes its place: none takes it. */
static void nothing_is_taken_during_a_capture(void **unused)
{
    (void)unused;
    world *w = new_world();
    for (uint32_t round = 0; round < 9; round++) one_batch(w, w->table->find_place, KEYS, false);
    assert_int_equal(wr_capture_begin(w->table, true, NULL), WR_OK);
    w->taken = 0;
    for (uint32_t round = 0; round < 9; round++) one_batch(w, w->table->find_place, KEYS, true);
    assert_int_equal(w->taken, 0);
    wr_capture_end(w->table);
    wr_table_free(w->table);
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_take_their_places),
        cmocka_unit_test(nothing_is_taken_during_a_capture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
