/* The JSON writer. */
#include "base/json.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void write_all(wr_json *json)
{
    wr_json_object(json, NULL);
    wr_json_str(json, "name", "a \"b\"\\\n\x01/");
    wr_json_str(json, "none", NULL);
    wr_json_i64(json, "low", INT64_MIN);
    wr_json_u64(json, "high", UINT64_MAX);
    wr_json_f64(json, "half", 0.5);
    wr_json_f64(json, "nan", (double)NAN);
    wr_json_bool(json, "yes", true);
    wr_json_array(json, "list");
    wr_json_i64(json, NULL, 1);
    wr_json_object(json, NULL);
    wr_json_end(json);
    wr_json_printf(json, NULL, "%d%%", 7);
    wr_json_end(json);
    wr_json_array(json, "empty");
    wr_json_end(json);
    wr_json_end(json);
}

static const char EXPECTED[] =
    "{\"name\":\"a \\\"b\\\"\\\\\\n\\u0001/\",\"none\":null,\"low\":-9223372036854775808,\"high\":18446744073709551615,"
    "\"half\":0.5,\"nan\":null,\"yes\":true,\"list\":[1,{},\"7%\"],\"empty\":[]}";

static void into_text(void **state)
{
    (void)state;
    char    text[512];
    wr_json json;
    wr_json_init_text(&json, text, sizeof text);
    write_all(&json);
    assert_true(wr_json_ok(&json));
    assert_string_equal(text, EXPECTED);
}

static void cut(void **state)
{
    (void)state;
    for (size_t cap = 1; cap <= sizeof EXPECTED; cap++) {
        char   *text = malloc(cap); /* exactly cap: one byte more is found by the sanitizer */
        wr_json json;
        wr_json_init_text(&json, text, cap);
        write_all(&json);
        assert_int_equal(wr_json_ok(&json), cap == sizeof EXPECTED);
        assert_int_equal(json.count, sizeof EXPECTED - 1);
        assert_int_equal(strlen(text), cap - 1);
        assert_memory_equal(text, EXPECTED, cap - 1);
        free(text);
    }
}

static void into_file(void **state)
{
    (void)state;
    char   *text = NULL;
    size_t  count;
    FILE   *file = open_memstream(&text, &count);
    wr_json json;
    wr_json_init_file(&json, file);
    json.pretty = true;
    wr_json_array(&json, NULL);
    wr_json_object(&json, NULL);
    wr_json_i64(&json, "a", 1);
    wr_json_i64(&json, "b", 2);
    assert_false(wr_json_ok(&json));
    wr_json_end(&json);
    wr_json_end(&json);
    assert_true(wr_json_ok(&json));
    fclose(file);
    assert_string_equal(text, "[\n  {\n    \"a\": 1,\n    \"b\": 2\n  }\n]\n");
    free(text);
}

/* One string of bytes in, what stands between the quotes out. */
static const char *escaped(const char *bytes, size_t count)
{
    static char text[100];
    wr_json     json;
    wr_json_init_text(&json, text, sizeof text);
    wr_json_bytes(&json, NULL, bytes, count);
    assert_true(wr_json_ok(&json));
    text[strlen(text) - 1] = 0;
    return text + 1;
}

#define BAD "\xef\xbf\xbd"

static void utf8(void **state)
{
    (void)state;
    static const char *const GOOD[] = {"\xc3\xb6", "\xe4\xb8\xad", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf", "\x7f"};
    for (size_t i = 0; i < sizeof GOOD / sizeof GOOD[0]; i++)
        assert_string_equal(escaped(GOOD[i], strlen(GOOD[i])), GOOD[i]);
    assert_string_equal(escaped("a\xff z", 4), "a" BAD " z");
    assert_string_equal(escaped("\xc3", 1), BAD);                 /* cut short */
    assert_string_equal(escaped("\xc0\x80", 2), BAD BAD);         /* overlong */
    assert_string_equal(escaped("\xe0\x80\x80", 3), BAD BAD BAD); /* overlong */
    assert_string_equal(escaped("\xed\xa0\x80", 3), BAD BAD BAD); /* a surrogate */
    assert_string_equal(escaped("\xf4\x90\x80\x80", 4), BAD BAD BAD BAD);
    assert_string_equal(escaped("a\0b", 3), "a\\u0000b");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(into_text),
        cmocka_unit_test(cut),
        cmocka_unit_test(into_file),
        cmocka_unit_test(utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
