/* Where the last whole record of a file ends, whatever is cut off: held against the bytes of each record. */
#include "connectors/tail.h"
#include "tests/unit/connectors/drive.h"

typedef struct pair {
    weir_str name, other;
    uint32_t n;
} pair;
typedef struct numbers {
    uint32_t a;
    uint64_t b;
} numbers;
static const weir_field pair_fields[] = {FIELD(pair, name, WEIR_STR), FIELD(pair, other, WEIR_STR),
                                         FIELD(pair, n, WEIR_U32)};
static const weir_type  pair_type = TYPE(pair, pair_fields);
static const weir_field numbers_fields[] = {FIELD(numbers, a, WEIR_U32), FIELD(numbers, b, WEIR_U64)};
static const weir_type  numbers_type = TYPE(numbers, numbers_fields);

enum { RECORDS = 30, TEXT = 40000 };

/* Strings that could be taken for the end of a record, now and then longer than a block. */
static weir_str random_text(wr_prng *prng, char *at, bool breaks)
{
    static const char some[] = "ab,\"\"\r\n\n";
    size_t            n = wr_prng_one_in(prng, 20) ? TEXT - wr_prng_below(prng, 20) : wr_prng_below(prng, 9);
    for (size_t i = 0; i < n; i++) at[i] = some[wr_prng_below(prng, breaks ? sizeof some - 1 : 5)];
    return weir_str_of(at, n);
}

static const void *random_record(wr_prng *prng, const weir_type *type, char *text, void *to)
{
    bool breaks = type != &line_type;
    if (type == &numbers_type) *(numbers *)to = (numbers){(uint32_t)wr_prng_next(prng), wr_prng_next(prng)};
    if (type == &line_type) *(line *)to = (line){random_text(prng, text, breaks)};
    if (type == &pair_type)
        *(pair *)to = (pair){random_text(prng, text, breaks), random_text(prng, text + TEXT, breaks), 7};
    return to;
}

static void look(wr_prng *prng, const weir_type *type, const char *format, const char *path)
{
    const wr_env     *env = wr_env_real();
    wr_codec         *codec;
    wr_codec_spec     spec = {.type = type, .format = format};
    char             *text = malloc(2 * TEXT), *bytes = malloc(RECORDS * 10 * TEXT), *end = bytes;
    size_t            ends[RECORDS + 1] = {0};
    _Alignas(16) char record[64];
    assert_int_equal(wr_codec_new(&codec, &spec, NULL), WR_OK);
    for (int i = 0; i < RECORDS; i++) {
        end = codec->format->encode(codec, random_record(prng, type, text, record), end);
        ends[i + 1] = (size_t)(end - bytes);
    }
    for (int round = 0; round < 60; round++) {
        uint32_t last = (uint32_t)wr_prng_below(prng, RECORDS);
        size_t   n = ends[last] + wr_prng_below(prng, ends[last + 1] - ends[last]);
        file_write_bytes(path, bytes, n);
        int file = env->open(env->self, path, WR_OPEN_READ);
        assert_int_equal(wr_tail_find(env, file, codec, (int64_t)n), ends[last]);
        env->close(env->self, file);
    }
    wr_codec_free(codec);
    free(bytes);
    free(text);
}

static void wherever_it_is_cut(void **state)
{
    (void)state;
    folder      f = folder_make();
    wr_prng     prng = wr_prng_of(3);
    const char *path = folder_path(&f, "t");
    for (int i = 0; i < 5; i++) {
        look(&prng, &pair_type, "csv", path);
        look(&prng, &pair_type, "raw", path);
        look(&prng, &numbers_type, "csv", path);
        look(&prng, &numbers_type, "raw", path);
        look(&prng, &line_type, "text", path);
        look(&prng, &line_type, "raw", path);
    }
    folder_remove(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(wherever_it_is_cut)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
