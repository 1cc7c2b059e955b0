/* msgpack both ways: what msgpack-c packs is read back; hostile counts, depths and tags are refused without memory. */
#include "wire/pack.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void numbers(void **state)
{
    (void)state;
    static const uint64_t u[] = {0,     1,     127,        128,         255,       256,
                                 65535, 65536, UINT32_MAX, 4294967296u, INT64_MAX, UINT64_MAX};
    static const int64_t  s[] = {0,      -1,        -32,         -33,       -128,      -129, -32768,
                                 -32769, INT32_MIN, -2147483649, INT64_MIN, INT64_MAX, 200};
    wr_pack               p = {0};
    wr_unpack             in;
    for (size_t i = 0; i < sizeof u / sizeof *u; i++) wr_pack_u64(&p, u[i]);
    for (size_t i = 0; i < sizeof s / sizeof *s; i++) wr_pack_i64(&p, s[i]);
    wr_unpack_init(&in, p.data, p.bytes);
    for (size_t i = 0; i < sizeof u / sizeof *u; i++) assert_true(wr_unpack_u64(&in, UINT64_MAX) == u[i]);
    for (size_t i = 0; i < sizeof s / sizeof *s; i++) assert_true(wr_unpack_i64(&in) == s[i]);
    wr_unpack_end(&in);
    assert_null(in.problem);
    wr_pack_free(&p);
}

static void texts(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 31, 32, 255, 256, 65535, 65536, 100000};
    wr_pack             p = {0};
    wr_unpack           in;
    char               *text = malloc(100001);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        memset(text, 'a' + (int)i, sizes[i]);
        text[sizes[i]] = 0;
        wr_pack_str(&p, text);
        wr_pack_bin(&p, text, sizes[i]);
    }
    wr_pack_str(&p, NULL);
    wr_pack_bool(&p, true);
    wr_pack_bool(&p, false);
    wr_unpack_init(&in, p.data, p.bytes);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t n;
        assert_non_null(wr_unpack_str(&in, 100000, &n));
        assert_int_equal(n, sizes[i]);
        const char *bytes = wr_unpack_bin(&in, 100000, &n);
        assert_int_equal(n, sizes[i]);
        assert_true(n == 0 || bytes[n - 1] == 'a' + (char)i);
    }
    assert_true(wr_unpack_is_nil(&in));
    assert_true(wr_unpack_bool(&in));
    assert_false(wr_unpack_bool(&in));
    wr_unpack_end(&in);
    assert_null(in.problem);
    wr_pack_free(&p);
    free(text);
}

#define UNPACK(BYTES) unpack(BYTES, sizeof(BYTES) - 1)
static wr_unpack unpack(const char *bytes, size_t n)
{
    wr_unpack in;
    wr_unpack_init(&in, bytes, n);
    return in;
}

static void assert_problem(const wr_unpack *in, const char *why, size_t offset)
{
    assert_non_null(in->problem);
    assert_non_null(strstr(in->problem, why));
    assert_int_equal(in->offset, offset);
}

static void hostile(void **state)
{
    (void)state;
    size_t    n;
    wr_unpack in = UNPACK("\xdd\xff\xff\xff\xff");
    assert_int_equal(wr_unpack_array(&in), 0);
    assert_problem(&in, "more elements", 5);
    in = UNPACK("\xdf\x00\x00\x00\x02\x01\x01\x01");
    assert_int_equal(wr_unpack_map(&in), 0);
    assert_problem(&in, "more elements", 5);
    in = UNPACK("\xdb\xff\xff\xff\xff"
                "abc");
    assert_null(wr_unpack_str(&in, SIZE_MAX, &n));
    assert_problem(&in, "in the middle of a text", 5);
    in = UNPACK("\xa3"
                "a\0b");
    assert_null(wr_unpack_str(&in, 10, &n));
    in = UNPACK("\xa3"
                "abc");
    assert_null(wr_unpack_str(&in, 2, &n));
    in = UNPACK("\xcd\x01");
    assert_int_equal(wr_unpack_u64(&in, 1000), 0);
    assert_problem(&in, "middle of a value", 1);
    assert_int_equal(wr_unpack_u64(&in, 1000), 0); /* the first problem stays */
    assert_problem(&in, "middle of a value", 1);
    in = UNPACK("\xcd\x01\x00");
    assert_int_equal(wr_unpack_u64(&in, 255), 0);
    assert_problem(&in, "larger", 3);
    in = UNPACK("\xcf\xff\xff\xff\xff\xff\xff\xff\xff");
    assert_true(wr_unpack_i64(&in) == 0);
    assert_problem(&in, "larger", 9);
    in = UNPACK("\xff");
    assert_int_equal(wr_unpack_u64(&in, 1000), 0);
    assert_problem(&in, "not negative", 0);
    in = UNPACK("\xc1");
    wr_unpack_skip(&in);
    assert_problem(&in, "begins no value", 0);
}

static void depth(void **state)
{
    (void)state;
    char deep[64];
    memset(deep, 0x91, sizeof deep);
    deep[63] = 1;
    wr_unpack in = unpack(deep, sizeof deep);
    wr_unpack_skip(&in);
    assert_problem(&in, "nested", 17);
    in = unpack(deep, sizeof deep);
    for (int i = 0; i < 40; i++) wr_unpack_array(&in);
    assert_problem(&in, "nested", 17);
    in = unpack(deep + 50, 14); /* 13 arrays around a number */
    wr_unpack_skip(&in);
    wr_unpack_end(&in);
    assert_null(in.problem);
}

static void keys(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "bc"};
    uint64_t                 seen = 0;
    wr_unpack                in = UNPACK("\x84\xa2"
                                                        "bc"
                                                        "\x07\xa1"
                                                        "x"
                                                        "\x92\x01\x81\xa1"
                                                        "q\xc0\xa1"
                                                        "a\x08\xa2"
                                                        "bc"
                                                        "\x09");
    assert_int_equal(wr_unpack_map(&in), 4);
    assert_int_equal(wr_unpack_key(&in, names, 2, &seen), 1);
    assert_int_equal(wr_unpack_u64(&in, 100), 7);
    assert_int_equal(wr_unpack_key(&in, names, 2, &seen), -1);
    assert_int_equal(wr_unpack_key(&in, names, 2, &seen), 0);
    assert_int_equal(wr_unpack_u64(&in, 100), 8);
    assert_null(in.problem);
    assert_int_equal(wr_unpack_key(&in, names, 2, &seen), -1);
    assert_non_null(strstr(in.problem, "twice"));
}

/* Everything that can be skipped: each tag with what belongs to it, and nothing behind. */
static void skips(void **state)
{
    (void)state;
    static const char all[] = "\x00\x7f\x80\x81\x01\x02\x90\x91\x01\xa0\xa1"
                              "a"
                              "\xc0\xc2\xc3\xc4\x01"
                              "a"
                              "\xc5\x00\x01"
                              "a"
                              "\xc6\x00\x00\x00\x01"
                              "a"
                              "\xc7\x01\x05"
                              "a"
                              "\xc8\x00\x01\x05"
                              "a"
                              "\xc9\x00\x00\x00\x01\x05"
                              "a"
                              "\xca"
                              "abcd"
                              "\xcb"
                              "abcdefgh"
                              "\xcc"
                              "a"
                              "\xcd"
                              "ab"
                              "\xce"
                              "abcd"
                              "\xcf"
                              "abcdefgh"
                              "\xd0"
                              "a"
                              "\xd1"
                              "ab"
                              "\xd2"
                              "abcd"
                              "\xd3"
                              "abcdefgh"
                              "\xd4\x05"
                              "a"
                              "\xd5\x05"
                              "ab"
                              "\xd6\x05"
                              "abcd"
                              "\xd7\x05"
                              "abcdefgh"
                              "\xd8\x05"
                              "abcdefghabcdefgh"
                              "\xd9\x01"
                              "a"
                              "\xda\x00\x01"
                              "a"
                              "\xdb\x00\x00\x00\x01"
                              "a"
                              "\xdc\x00\x01\x01"
                              "\xdd\x00\x00\x00\x01\x01"
                              "\xde\x00\x01\x01\x01"
                              "\xdf\x00\x00\x00\x01\x01\x01"
                              "\xe0\xff";
    wr_unpack         in = UNPACK(all);
    int               values = 0;
    for (; in.at < in.end; values++) wr_unpack_skip(&in);
    assert_null(in.problem);
    assert_int_equal(values, 41);
    for (size_t n = 0; n < sizeof all - 1; n++) { /* cut anywhere: ends, never reads on */
        char *copy = malloc(n > 0 ? n : 1);
        memcpy(copy, all, n);
        in = unpack(copy, n);
        while (in.at < in.end) wr_unpack_skip(&in);
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(numbers), cmocka_unit_test(texts), cmocka_unit_test(hostile),
                                       cmocka_unit_test(depth),   cmocka_unit_test(keys),  cmocka_unit_test(skips)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
