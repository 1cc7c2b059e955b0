/* Memory of one batch: what is in it is found, however much there is. */
#include "operators/op.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Each string that an operator emits is looked for in all chunks: with one for each 64 KiB that took the square of what
 * a call makes. */
static void much_of_it_is_in_few_chunks(void **state)
{
    (void)state;
    enum { BYTES = 40, COUNT = 1600000 };
    wr_scratch  s = {0};
    char        elsewhere[BYTES];
    const char *first = wr_scratch_take(&s, BYTES), *last = first;
    assert_int_equal(s.chunks, 1);
    for (int i = 1; i < COUNT; i++) {
        char *p = wr_scratch_take(&s, BYTES);
        p[0] = p[BYTES - 1] = (char)i;
        last = p;
    }
    assert_int_equal(s.bytes, (uint64_t)BYTES * COUNT);
    assert_in_range(s.chunks, 2, 128);
    assert_true(wr_scratch_holds(&s, first) && wr_scratch_holds(&s, last));
    assert_false(wr_scratch_holds(&s, elsewhere));
    wr_scratch_reset(&s);
    assert_int_equal(s.chunks, 0);
    first = wr_scratch_take(&s, BYTES);
    assert_int_equal(s.chunks, 1);
    wr_scratch_reset(&s); /* the usual case: it is used again */
    assert_ptr_equal(wr_scratch_take(&s, BYTES), first);
    assert_int_equal(s.chunks, 1);
    wr_scratch_fini(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(much_of_it_is_in_few_chunks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
