/* Schemas: there and back, what is the same, what is no type. */
#include "base/limits.h"
#include "wire/schema.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include "tests/unit/wire/manifest_sample.h"
#include <cmocka.h>

static const weir_type *back(const weir_type *type, wr_arena *arena, const char **problem)
{
    wr_pack   p = {0};
    wr_unpack u;
    wr_schema_pack(&p, type);
    wr_unpack_init(&u, p.data, p.bytes);
    const weir_type *got = wr_schema_unpack(&u, arena);
    wr_unpack_end(&u);
    *problem = u.problem;
    wr_pack_free(&p);
    return got;
}

static void there_and_back(void **state)
{
    (void)state;
    wr_arena         arena = {0};
    const char      *problem;
    const weir_type *got = back(&sample_state, &arena, &problem);
    assert_null(problem);
    assert_true(wr_schema_same(got, &sample_state));
    assert_string_equal(got->name, "counter");
    assert_true(got->size == 80 && got->align == 8 && got->abi_size == sizeof(weir_type));
    for (uint32_t i = 0; i < got->fields; i++) {
        assert_string_equal(got->field[i].name, sample_state.field[i].name);
        assert_int_equal(got->field[i].offset, sample_state.field[i].offset);
        assert_true(got->field[i].ttl == sample_state.field[i].ttl && got->field[i].key == sample_state.field[i].key);
    }
    assert_null(back(NULL, &arena, &problem));
    assert_null(problem);
    const weir_type *copy = wr_schema_copy(&arena, &sample_state);
    assert_true(wr_schema_same(copy, &sample_state) && copy->field != sample_state.field);
    assert_true(copy->field[4].element != &sample_word);
    assert_null(wr_schema_copy(&arena, NULL));
    wr_arena_fini(&arena);
}

static void same(void **state)
{
    (void)state;
    weir_field f[6];
    weir_type  t = sample_state;
    weir_type  element = sample_word;
    weir_field e[3];
    t.field = f;
    element.field = e;
#define FRESH() (memcpy(f, sample_state_fields, sizeof f), memcpy(e, sample_word_fields, sizeof e), t.fields = 6)
    FRESH();
    f[0].offset = 72;
    t.name = "another";
    t.size = 160;
    assert_true(wr_schema_same(&t, &sample_state));
    f[0].name = "sawn";
    assert_false(wr_schema_same(&t, &sample_state));
    FRESH();
    f[0].kind = WEIR_I64;
    assert_false(wr_schema_same(&t, &sample_state));
    FRESH();
    f[3].size = 16;
    assert_false(wr_schema_same(&t, &sample_state));
    FRESH();
    f[4].ttl = 0;
    assert_false(wr_schema_same(&t, &sample_state));
    FRESH();
    f[4].element = &element;
    assert_true(wr_schema_same(&t, &sample_state));
    f[4].key = 24; /* another field is the key */
    assert_false(wr_schema_same(&t, &sample_state));
    FRESH();
    f[5].element = &element;
    e[2].name = "m";
    assert_false(wr_schema_same(&t, &sample_state));
    FRESH();
    t.fields = 5;
    assert_false(wr_schema_same(&t, &sample_state));
    assert_false(wr_schema_same(NULL, &sample_state));
    assert_true(wr_schema_same(NULL, NULL));
}

static void no_types(void **state)
{
    (void)state;
    wr_arena    arena = {0};
    const char *problem;
    weir_field  f[6], e[3];
    weir_type   t = sample_state, element = sample_word;
    t.field = f;
    element.field = e;
#define REFUSE(CHANGE, WHY)                                                                                            \
    do {                                                                                                               \
        FRESH();                                                                                                       \
        element = sample_word;                                                                                         \
        element.field = e;                                                                                             \
        t = sample_state;                                                                                              \
        t.field = f;                                                                                                   \
        f[4].element = f[5].element = &element;                                                                        \
        CHANGE;                                                                                                        \
        assert_null(back(&t, &arena, &problem));                                                                       \
        if (problem == NULL || strstr(problem, WHY) == NULL) fail_msg("%s", problem);                                  \
    } while (0)
    REFUSE(t.name = "", "has no name");
    REFUSE(t.size = 79, "ends behind its record");
    REFUSE(t.align = 3, "cannot be aligned");
    REFUSE(t.size = WR_MIB(1), "larger");
    REFUSE(f[0].name = "", "has no name");
    REFUSE(f[0].kind = 23, "does not know");
    REFUSE(f[0].kind = WEIR_OPTIONAL | WEIR_U64, "does not know");
    REFUSE(f[0].size = 4, "size of its kind");
    REFUSE(f[3].kind = WEIR_ARRAY | WEIR_TIME, "no number");
    REFUSE(f[3].size = 13, "size of its kind");
    REFUSE(f[0].offset = 16, "overlap");
    REFUSE(f[1].name = "seen", "twice");
    REFUSE(f[2].offset = 20, "not aligned");
    REFUSE(f[4].element = NULL, "does not say what it holds");
    REFUSE(f[0].element = &element, "no cell has elements");
    REFUSE(f[4].key = 8, "no field of its elements");
    REFUSE(f[4].key_kind = WEIR_F64, "no key");
    REFUSE(f[4].ttl = -1, "negative");
    REFUSE((e[1].kind = WEIR_EVENT_TIMER), "holds a cell");
    REFUSE((e[0] = f[5], e[0].offset = 0, e[0].element = &sample_word), "element of a cell holds a cell");
    wr_arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(there_and_back), cmocka_unit_test(same),
                                       cmocka_unit_test(no_types)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
