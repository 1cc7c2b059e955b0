/* weir/token.h against a tokenizer of three lines. Each string lies in memory of exactly its size, so that the address
 * sanitizer finds a read of one byte too many at either end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weir/types.h>

static uint64_t seed = 88172645463325252u;

static uint32_t random_below(uint32_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)((seed >> 32) * n >> 32);
}

/* The next token from *at on, or a length of 0. */
static size_t naive_next(const char **at, const char *end, char separator)
{
    while (*at < end && **at == separator) ++*at;
    const char *from = *at;
    while (*at < end && **at != separator) ++*at;
    return (size_t)(*at - from);
}

/* A weir_str over n bytes of a block of its own; short ones are copied into the string. */
static weir_str exact(char **block, const char *text, size_t n)
{
    *block = malloc(n ? n : 1);
    assert_non_null(*block);
    memcpy(*block, text, n);
    return weir_str_of(*block, n);
}

static void check_all(const char *text, size_t n)
{
    char       *block;
    weir_str    s = exact(&block, text, n);
    const char *at = weir_str_data(&s), *end = at + n;
    weir_cursor c = weir_str_cursor(&s);
    weir_str    got;
    for (size_t len; (len = naive_next(&at, end, ' ')) > 0;) {
        assert_true(weir_next_token(&c, ' ', &got));
        weir_str want = weir_str_of(at - len, len);
        assert_memory_equal(&got, &want,
                            sizeof got); /* far ones point to the same byte, short ones are padded by zeros */
    }
    assert_false(weir_next_token(&c, ' ', &got));
    assert_false(weir_next_token(&c, ' ', &got));
    free(block);
}

static void every_length_and_density(void **state)
{
    (void)state;
    char text[400];
    for (size_t n = 0; n < 300; n++) {
        for (uint32_t letters = 0; letters < 24; letters++) {
            for (size_t i = 0; i < n; i++) text[i] = random_below(letters + 1) ? (char)(1 + random_below(255)) : ' ';
            check_all(text, n);
        }
    }
}

static void borders_of_blocks(void **state)
{
    (void)state;
    char text[200];
    for (size_t gap = 0; gap < sizeof text; gap++) {
        memset(text, 'x', sizeof text);
        text[gap] = ' ';
        for (size_t n = 0; n <= sizeof text; n++) check_all(text, n);
    }
    memset(text, ' ', sizeof text);
    for (size_t n = 0; n <= sizeof text; n++) check_all(text, n);
}

static void strings_that_lie_inside(void **state)
{
    (void)state;
    weir_str    s = weir_lit("a bc  d"), token;
    weir_cursor c = weir_str_cursor(&s);
    const char *want[] = {"a", "bc", "d"};
    for (size_t i = 0; i < 3; i++) {
        assert_true(weir_next_token(&c, ' ', &token));
        assert_int_equal(token.len, strlen(want[i]));
        assert_memory_equal(weir_str_data(&token), want[i], token.len);
    }
    assert_false(weir_next_token(&c, ' ', &token));
}

static void another_separator_counts_from_behind_the_last_token(void **state)
{
    (void)state;
    weir_str s = weir_lit("name=value of it;rest of a line that is longer than one block of sixty-four bytes;end"),
             token;
    weir_cursor c = weir_str_cursor(&s);
    const char *want[] = {"name", "value of it", "rest"};
    const char  separator[] = {'=', ';', ' '};
    for (size_t i = 0; i < 3; i++) {
        assert_true(weir_next_token(&c, separator[i], &token));
        assert_int_equal(token.len, strlen(want[i]));
        assert_memory_equal(weir_str_data(&token), want[i], token.len);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_length_and_density),
        cmocka_unit_test(borders_of_blocks),
        cmocka_unit_test(strings_that_lie_inside),
        cmocka_unit_test(another_separator_counts_from_behind_the_last_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
