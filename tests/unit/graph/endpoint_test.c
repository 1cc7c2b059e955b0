#include "base/prng.h"
#include "fixture.h"
#include "graph/endpoint.h"

static wr_arena arena;
static char     problems[2000];
static int      count_of;
static wr_err   code;

static void bad(void *self, wr_err err, const char *text)
{
    (void)self;
    code = err;
    count_of++;
    snprintf(problems + strlen(problems), sizeof problems - strlen(problems), "%s\n", text);
}

static const weir_endpoint *make(wr_endpoint_spec spec)
{
    problems[0] = 0;
    count_of = 0;
    code = WR_OK;
    spec.name = "e";
    if (!spec.type) spec.type = &fix_word_type;
    return wr_endpoint_new(&arena, &spec, &fix_connectors[0], bad, NULL);
}
#define MAKE(...) make((wr_endpoint_spec){.uri = __VA_ARGS__})

static void test_uri(void **state)
{
    (void)state;
    const weir_endpoint *e = MAKE("mem:///var/log/a%20b?limit=7&every=250ms&chunk=1KiB&follow=yes&group=x%26y");
    assert_string_equal(problems, "");
    assert_string_equal(weir_endpoint_path(e), "/var/log/a b");
    assert_string_equal(weir_endpoint_uri(e),
                        "mem:///var/log/a%20b?limit=7&every=250ms&chunk=1KiB&follow=yes&group=x%26y");
    assert_int_equal(weir_endpoint_u64(e, "limit"), 7);
    assert_int_equal(weir_endpoint_u64(e, "every"), 250 * WEIR_MILLISECOND);
    assert_int_equal(weir_endpoint_u64(e, "chunk"), 1024);
    assert_int_equal(weir_endpoint_u64(e, "follow"), 1);
    assert_string_equal(weir_endpoint_str(e, "group"), "x&y");
    assert_ptr_equal(weir_endpoint_type(e), &fix_word_type);
    assert_string_equal(MAKE("mem:rows")->path, "rows");
    assert_string_equal(MAKE("mem:")->path, "");
    assert_string_equal(MAKE("mem:/a/*.csv?")->path, "/a/*.csv");
    size_t n;
    assert_true(wr_uri_scheme("a+b.2-c:x", &n));
    assert_int_equal(n, 7);
    assert_false(wr_uri_scheme("/a:b", &n));
    assert_false(wr_uri_scheme("2a:b", &n));
    assert_false(wr_uri_scheme("File:b", &n));
    assert_false(wr_uri_scheme("file", &n));
    assert_false(wr_uri_scheme(":b", &n));
}

static void test_defaults_and_options(void **state)
{
    (void)state;
    const weir_endpoint *e = MAKE("mem:x?limit=3", .options = " group=billing  every=1s ", .rate_max = 44);
    assert_string_equal(problems, "");
    assert_int_equal(weir_endpoint_u64(e, "limit"), 3);
    assert_int_equal(weir_endpoint_u64(e, "chunk"), 65536);
    assert_string_equal(weir_endpoint_str(e, "chunk"), "64KiB");
    assert_int_equal(weir_endpoint_u64(e, "follow"), 0);
    assert_string_equal(weir_endpoint_str(e, "group"), "billing");
    assert_int_equal(weir_endpoint_rate_max(e), 44);
    assert_null(weir_endpoint_str(MAKE("mem:"), "group"));
    MAKE("mem:x?limit=3", .options = "limit=4");
    assert_non_null(strstr(problems, "option 'limit' stands twice (3 and 4)"));
    MAKE("mem:x?a=%");
    assert_int_equal(code, WR_OPTION);
    assert_int_equal(count_of, 2); /* the sign, and the name */
    MAKE("mem:?every=-5s");
    assert_non_null(strstr(problems, "option every=-5s is not a duration"));
    MAKE("mem:%00");
    assert_int_equal(code, WR_URI);
    MAKE("mem:?=1&&x");
    assert_non_null(strstr(problems, "option '=1' has no value"));
    assert_non_null(strstr(problems, "option 'x' has no value"));
}

static void test_formats(void **state)
{
    (void)state;
    assert_string_equal(MAKE("mem:")->format, "text");
    assert_string_equal(MAKE("mem:", .format = "csv")->format, "csv");
    const weir_endpoint *e = MAKE("mem:?format=csv&separator=;&header=true");
    assert_string_equal(problems, "");
    assert_string_equal(e->format, "csv");
    assert_int_equal(e->separator, ';');
    assert_true(e->header);
    assert_int_equal(MAKE("mem:?separator=tab&format=csv")->separator, '\t');
    assert_int_equal(MAKE("mem:", .format = "csv")->separator, ',');
    MAKE("mem:", .header = true);
    assert_non_null(strstr(problems, "header and separator are for CSV, but its format is text"));
    MAKE("mem:", .format = "cvs");
    assert_string_equal(problems, "'mem:' has no format 'cvs'; it takes text csv\n");
    assert_int_equal(code, WR_FORMAT);
    MAKE("mem:?format=csv&separator=;;");
    assert_non_null(strstr(problems, "separator=;; is not one character"));
    /* Said for a URI that --set replaced: dropped where it does not fit, kept where it does. */
    e = MAKE("mem:", .format = "json", .header = true, .separator = ';', .fields = "at=x", .replaced = true);
    assert_string_equal(problems, "");
    assert_string_equal(e->format, "text");
    assert_false(e->header);
    e = MAKE("mem:", .format = "csv", .header = true, .replaced = true);
    assert_true(e->header);
    /* What stands in the URI itself is refused there as it is without --set. */
    static const char *const uris[] = {"mem:?header=true", "mem:?separator=;", "mem:?format=text&header=true"};
    for (int i = 0; i < 6; i++) {
        MAKE(uris[i % 3], .replaced = i >= 3);
        assert_int_equal(count_of, 1);
        assert_int_equal(code, WR_OPTION);
        assert_non_null(strstr(problems, "header and separator are for CSV, but its format is text"));
    }
    assert_true(MAKE("mem:?format=csv&header=true", .replaced = true)->header);
    assert_string_equal(problems, "");
}

static void test_fields(void **state)
{
    (void)state;
    const weir_endpoint *e = MAKE("mem:", .format = "csv", .fields = "at=@timestamp:ms, count=n-of:x ,text=a b");
    assert_string_equal(problems, "");
    assert_string_equal(e->field[0].name, "a b");
    assert_string_equal(e->field[1].name, "n-of:x"); /* x is no unit */
    assert_string_equal(e->field[2].name, "shard");
    assert_string_equal(e->field[4].name, "@timestamp");
    assert_int_equal(e->field[4].unit, WR_UNIT_MS);
    assert_int_equal(e->field[0].unit, WR_UNIT_NONE);
    MAKE("mem:", .format = "csv", .fields = "cuont=x,shard=y:s,text,at=text");
    assert_non_null(
        strstr(problems, ".fields names 'cuont', which record 'word' does not have; did you mean 'count'?"));
    assert_non_null(strstr(problems, ".fields gives 'shard' a unit, but it is no weir_time; leave ':s' out"));
    assert_non_null(strstr(problems, ".fields has 'text'; write FIELD=NAME"));
    assert_non_null(strstr(problems, "gives 'text' and 'at' one name outside ('text')"));
    MAKE("mem:", .fields = "at=x");
    assert_non_null(strstr(problems, ".fields needs a format with names, but its format is text"));
}

/* A long URI, and more options than anyone needs. */
static void test_limits(void **state)
{
    (void)state;
    static char uri[WR_URI_BYTES_MAX + 10];
    memset(uri, 'x', sizeof uri - 1);
    memcpy(uri, "mem:", 4);
    MAKE(uri);
    assert_int_equal(code, WR_LIMIT);
    size_t used = (size_t)snprintf(uri, sizeof uri, "mem:?group=1");
    for (int i = 0; i < WR_OPTIONS_MAX; i++) used += (size_t)snprintf(uri + used, sizeof uri - used, "&o%d=1", i);
    MAKE(uri);
    assert_int_equal(code, WR_LIMIT);
}

/* Whatever bytes come: a problem or an endpoint, never a crash (the sanitizers look on). */
static void test_any_bytes(void **state)
{
    (void)state;
    static const char pieces[][12] = {"mem:", "//",     "?",      "&",         "=",  "%",     "%41",  "%0",  "limit",
                                      "12",   "header", "format", "csv",       ",",  "text=", ":ms",  "at=", " ",
                                      "\t",   "\xff",   "follow", "separator", "x;", "every", "group"};
    enum { PIECES = sizeof pieces / sizeof pieces[0] };
    wr_prng prng = wr_prng_of(3);
    for (int round = 0; round < 20000; round++) {
        char   text[3][120];
        size_t used[3] = {0};
        for (int i = 0; i < 3; i++) {
            text[i][0] = 0;
            for (uint64_t n = wr_prng_below(&prng, 10); n > 0; n--) {
                const char *piece = pieces[wr_prng_below(&prng, PIECES)];
                used[i] += (size_t)snprintf(text[i] + used[i], sizeof text[i] - used[i], "%s", piece);
            }
        }
        const weir_endpoint *e = MAKE(text[0], .options = text[1], .fields = text[2],
                                      .format = round % 2 ? "csv" : NULL);
        assert_non_null(e->path);
        assert_true((code == WR_OK) == (count_of == 0));
        if (round % 500 == 0) wr_arena_fini(&arena);
    }
}

static int fini(void **state)
{
    (void)state;
    wr_arena_fini(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_uri),     cmocka_unit_test(test_defaults_and_options),
        cmocka_unit_test(test_formats), cmocka_unit_test(test_fields),
        cmocka_unit_test(test_limits),  cmocka_unit_test(test_any_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, fini);
}
