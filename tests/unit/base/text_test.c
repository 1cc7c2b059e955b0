/* Text to numbers, times and sizes, and back. */
#include "base/prng.h"
#include "base/text.h"
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(ARRAY) (sizeof(ARRAY) / sizeof(ARRAY)[0])

static void integers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t     value;
    } GOOD[] = {
        {"0", 0},   {"-0", 0}, {"+7", 7}, {"9223372036854775807", INT64_MAX}, {"-9223372036854775808", INT64_MIN},
        {"007", 7},
    };
    static const char *const BAD[] = {"",
                                      "-",
                                      "+",
                                      " 1",
                                      "1 ",
                                      "1.0",
                                      "0x10",
                                      "9223372036854775808",
                                      "-9223372036854775809",
                                      "1a",
                                      "--1",
                                      "-+1",
                                      "+-1",
                                      "1e3",
                                      "99999999999999999999"};
    char                     text[WR_TEXT_NUMBER_MAX + 1];
    int64_t                  value = 5;
    uint64_t                 size = 5;
    for (size_t i = 0; i < COUNT(GOOD); i++) {
        assert_true(wr_text_to_i64(GOOD[i].text, strlen(GOOD[i].text), &value));
        assert_true(value == GOOD[i].value);
    }
    value = 5;
    for (size_t i = 0; i < COUNT(BAD); i++) {
        assert_false(wr_text_to_i64(BAD[i], strlen(BAD[i]), &value));
        assert_true(value == 5);
    }
    assert_true(wr_text_to_u64("18446744073709551615", 20, &size) && size == UINT64_MAX);
    assert_false(wr_text_to_u64("18446744073709551616", 20, &size));
    assert_false(wr_text_to_u64("-1", 2, &size));
    assert_true(wr_text_to_i64("123456", 3, &value) && value == 123); /* count, not the zero byte, is the end */
    assert_int_equal(wr_text_of_i64(text, INT64_MIN), 20);
    assert_string_equal(text, "-9223372036854775808");
    assert_int_equal(wr_text_of_u64(text, UINT64_MAX), 20);
    assert_string_equal(text, "18446744073709551615");
    wr_text_of_i64(text, 0);
    assert_string_equal(text, "0");
}

static void check_f64(double value)
{
    char   text[WR_TEXT_NUMBER_MAX + 1];
    double back = 0;
    size_t count = wr_text_of_f64(text, value);
    assert_true(count == strlen(text) && count <= WR_TEXT_NUMBER_MAX);
    if (!wr_text_to_f64(text, count, &back) || memcmp(&back, &value, 8) != 0)
        fail_msg("%.17g was printed as %s and read as %.17g", value, text, back);
    assert_true(strtod(text, NULL) == value);
}

static void floats(void **state)
{
    (void)state;
    static const char *const SAME[] = {"0",
                                       "-0",
                                       "1",
                                       "-1.5",
                                       "0.1",
                                       "3.14159",
                                       "1e+22",
                                       "1e-07",
                                       "12345.678",
                                       "5e-324",
                                       "1.7976931348623157e+308",
                                       "2.2250738585072014e-308",
                                       "inf",
                                       "-inf",
                                       "nan",
                                       "0.001",
                                       "123456789",
                                       "0.30000000000000004",
                                       "100000000000000"};
    static const char *const BAD[] = {"",   ".",     "-",     "e5",  "1e",      "1e+",    "1 ",
                                      " 1", "0x1p3", "1.2.3", "1,5", "infinit", "nan(1)", "1e5x"};
    char                     text[WR_TEXT_NUMBER_MAX + 1];
    double                   value = 0;
    for (size_t i = 0; i < COUNT(SAME); i++) {
        assert_true(wr_text_to_f64(SAME[i], strlen(SAME[i]), &value));
        wr_text_of_f64(text, value);
        assert_string_equal(text, SAME[i]);
    }
    value = 5;
    for (size_t i = 0; i < COUNT(BAD); i++) {
        if (wr_text_to_f64(BAD[i], strlen(BAD[i]), &value)) fail_msg("'%s' was read as %g", BAD[i], value);
        assert_true(value == 5);
    }
    wr_prng prng = wr_prng_of(3);
    for (int i = 0; i < 100000; i++) {
        uint64_t bits = wr_prng_next(&prng);
        memcpy(&value, &bits, 8);
        if (isfinite(value)) check_f64(value);
        check_f64((double)(int64_t)(bits >> 20) / 1000);
        check_f64(wr_prng_unit(&prng));
    }
    static const char LONG[] = "0.1000000000000000055511151231257827021181583404541015625000000000000000000000000000000"
                               "00000000000000000000000000000000000000000000000000000000";
    assert_true(wr_text_to_f64(LONG, sizeof LONG - 1, &value) && value == 0.1);
    assert_true(wr_text_to_f64("1e999999999999", 14, &value) && isinf(value));
    wr_text_of_f32(text, 0.1f);
    assert_string_equal(text, "0.1");
    wr_text_of_f32(text, 16777216.0f);
    assert_true(strtof(text, NULL) == 16777216.0f);
}

static void any_locale(void **state)
{
    (void)state;
    /* Whichever of these the machine has; in each the decimal point is a comma. */
    if (setlocale(LC_ALL, "de_DE.UTF-8") == NULL && setlocale(LC_ALL, "fr_FR.UTF-8") == NULL) skip();
    double value = 0;
    char   text[WR_TEXT_NUMBER_MAX + 1];
    bool   good = wr_text_to_f64("0.30000000000000004", 19, &value);
    wr_text_of_f64(text, value);
    setlocale(LC_ALL, "C");
    assert_true(good && value == 0.30000000000000004);
    assert_string_equal(text, "0.30000000000000004");
}

static void booleans(void **state)
{
    (void)state;
    bool value = false;
    assert_true(wr_text_to_bool("true", 4, &value) && value);
    assert_true(wr_text_to_bool("0", 1, &value) && !value);
    assert_true(wr_text_to_bool("YES", 3, &value) && value);
    assert_true(wr_text_to_bool("off", 3, &value) && !value);
    assert_false(wr_text_to_bool("", 0, &value));
    assert_false(wr_text_to_bool("2", 1, &value));
    char text[WR_TEXT_NUMBER_MAX + 1];
    assert_int_equal(wr_text_of_bool(text, true), 4);
    assert_string_equal(text, "true");
    assert_int_equal(wr_text_of_bool(text, false), 5);
    assert_string_equal(text, "false");
}

static void times(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t     ns;
        const char *printed; /* NULL: the same */
    } GOOD[] = {
        {"1970-01-01T00:00:00Z", 0, NULL},
        {"1970-01-01", 0, "1970-01-01T00:00:00Z"},
        {"2000-02-29T12:34:56.789Z", INT64_C(951827696789000000), NULL},
        {"2000-02-29 12:34:56.789", INT64_C(951827696789000000), "2000-02-29T12:34:56.789Z"},
        {"2024-05-06T07:08+02:00", INT64_C(1714972080000000000), "2024-05-06T05:08:00Z"},
        {"2024-05-06T07:08:09-0130", INT64_C(1714984689000000000), "2024-05-06T08:38:09Z"},
        {"1969-12-31T23:59:59.999999999Z", -1, NULL},
        {"1969-12-31T23:59:59.5Z", -500000000, "1969-12-31T23:59:59.500Z"},
        {"2262-04-11T23:47:16.854775807Z", INT64_MAX, NULL},
        {"1677-09-21T00:12:43.145224192Z", INT64_MIN, NULL},
        {"2001-09-09T01:46:40.000001Z", INT64_C(1000000000000001000), NULL},
    };
    static const char *const BAD[] = {"",
                                      "2024",
                                      "2024-13-01",
                                      "2024-02-30",
                                      "2023-02-29",
                                      "1900-02-29",
                                      "2024-05-06T",
                                      "2024-05-06T25:00",
                                      "2024-05-06T07:60",
                                      "2024-05-06T07:08:60",
                                      "24-05-06",
                                      "2024-5-6",
                                      "2024-05-06X",
                                      "2024-05-06T07:08:09.",
                                      "2024-05-06T07:08:09ZZ",
                                      "2262-04-12",
                                      "1677-09-20",
                                      "2024-05-06T07:08+25:00",
                                      "2024-00-10",
                                      "2024-01-00"};
    char                     text[WR_TEXT_NUMBER_MAX + 1];
    int64_t                  ns = 5;
    for (size_t i = 0; i < COUNT(GOOD); i++) {
        assert_true(wr_text_to_time(GOOD[i].text, strlen(GOOD[i].text), &ns));
        assert_true(ns == GOOD[i].ns);
        size_t count = wr_text_of_time(text, ns);
        assert_int_equal(count, strlen(text));
        assert_string_equal(text, GOOD[i].printed != NULL ? GOOD[i].printed : GOOD[i].text);
    }
    for (size_t i = 0; i < COUNT(BAD); i++)
        if (wr_text_to_time(BAD[i], strlen(BAD[i]), &ns)) fail_msg("'%s' was read as %lld", BAD[i], (long long)ns);
    wr_prng prng = wr_prng_of(4);
    for (int i = 0; i < 100000; i++) {
        int64_t value = (int64_t)wr_prng_next(&prng), back = 0;
        if (i % 3 == 0) value = value / 1000000 * 1000000;
        assert_true(wr_text_to_time(text, wr_text_of_time(text, value), &back));
        assert_true(back == value);
    }
}

static void durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t     ns;
        const char *printed;
    } GOOD[] = {
        {"250ms", 250000000, NULL},
        {"5s", INT64_C(5000000000), NULL},
        {"1h30m", INT64_C(5400000000000), NULL},
        {"1.5s", 1500000000, "1s500ms"},
        {"2d", INT64_C(172800000000000), NULL},
        {"0", 0, "0s"},
        {"0s", 0, NULL},
        {"-3us", -3000, NULL},
        {"90m", INT64_C(5400000000000), "1h30m"},
    };
    static const char *const BAD[] = {"",     "-", "5", "s", "5 s", "5x", "1h30", "1..5s", "1.s", "999999999999d",
                                      "--5s", "5S"};
    char                     text[WR_TEXT_NUMBER_MAX + 1];
    int64_t                  ns = 5;
    for (size_t i = 0; i < COUNT(GOOD); i++) {
        assert_true(wr_text_to_duration(GOOD[i].text, strlen(GOOD[i].text), &ns));
        assert_true(ns == GOOD[i].ns);
        size_t count = wr_text_of_duration(text, ns);
        assert_int_equal(count, strlen(text));
        assert_string_equal(text, GOOD[i].printed != NULL ? GOOD[i].printed : GOOD[i].text);
    }
    for (size_t i = 0; i < COUNT(BAD); i++)
        if (wr_text_to_duration(BAD[i], strlen(BAD[i]), &ns)) fail_msg("'%s' was read as %lld", BAD[i], (long long)ns);
    static const int64_t EDGE[] = {INT64_MIN, INT64_MIN + 1, INT64_MAX, -1, 1, 999999999};
    for (size_t i = 0; i < COUNT(EDGE); i++) {
        assert_true(wr_text_to_duration(text, wr_text_of_duration(text, EDGE[i]), &ns));
        assert_true(ns == EDGE[i]);
    }
}

static void sizes(void **state)
{
    (void)state;
    uint64_t bytes = 0;
    assert_true(wr_text_to_size("4096", 4, &bytes) && bytes == 4096);
    assert_true(wr_text_to_size("64MiB", 5, &bytes) && bytes == 64u << 20);
    assert_true(wr_text_to_size("64M", 3, &bytes) && bytes == 64u << 20);
    assert_true(wr_text_to_size("64MB", 4, &bytes) && bytes == 64000000);
    assert_true(wr_text_to_size("1.5GiB", 6, &bytes) && bytes == UINT64_C(3) << 29);
    assert_true(wr_text_to_size("2TiB", 4, &bytes) && bytes == UINT64_C(2) << 40);
    static const char *const BAD[] = {
        "", "MiB", "-1", "1 MiB", "1Mib", "1MiB2", "1.", "99999999TiB", "18446744073709551616"};
    for (size_t i = 0; i < COUNT(BAD); i++)
        if (wr_text_to_size(BAD[i], strlen(BAD[i]), &bytes))
            fail_msg("'%s' was read as %llu", BAD[i], (unsigned long long)bytes);
    char text[WR_TEXT_NUMBER_MAX + 1];
    wr_text_of_size(text, 7);
    assert_string_equal(text, "7 B");
    wr_text_of_size(text, 1536);
    assert_string_equal(text, "1.5 KiB");
    wr_text_of_size(text, 12 << 20);
    assert_string_equal(text, "12 MiB");
    size_t count = wr_text_of_size(text, UINT64_MAX);
    assert_int_equal(count, strlen(text));
}

static void printable(void **state)
{
    (void)state;
    char text[] = "a\nb\tc\x1b[2J\x7f \xc3\xa4";
    wr_text_printable(text);
    assert_string_equal(text, "a?b?c?[2J? \xc3\xa4"); /* other bytes stay: they are letters of UTF-8 */
}

static void did_you_mean(void **state)
{
    (void)state;
    static const char *const NAMES[] = {"separator", NULL, "format", "header", "rate", "p"};
    assert_int_equal(wr_text_distance("rate", "rate"), 0);
    assert_int_equal(wr_text_distance("rate", "raet"), 1); /* two neighbours swapped */
    assert_int_equal(wr_text_distance("", "abc"), 3);
    assert_int_equal(wr_text_distance("kitten", "sitting"), 3);
    assert_string_equal(wr_did_you_mean("seperator", NAMES, COUNT(NAMES)), "separator");
    assert_string_equal(wr_did_you_mean("fromat", NAMES, COUNT(NAMES)), "format");
    assert_string_equal(wr_did_you_mean("headers", NAMES, COUNT(NAMES)), "header");
    assert_null(wr_did_you_mean("parallelism", NAMES, COUNT(NAMES)));
    assert_null(wr_did_you_mean("x", NAMES, COUNT(NAMES)));
    assert_null(wr_did_you_mean("", NAMES, COUNT(NAMES)));
    char word[200];
    memset(word, 'a', sizeof word - 1);
    word[sizeof word - 1] = 0;
    assert_int_equal(wr_text_distance(word, ""), 64); /* cut, not overrun */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers), cmocka_unit_test(floats),       cmocka_unit_test(any_locale),
        cmocka_unit_test(booleans), cmocka_unit_test(times),        cmocka_unit_test(durations),
        cmocka_unit_test(sizes),    cmocka_unit_test(did_you_mean), cmocka_unit_test(printable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
