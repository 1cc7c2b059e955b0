/* The kernels of WEIR_SPLIT against a loop over bytes, with random texts; how much a stretch takes. */
#include "base/prng.h"
#include "tests/unit/operators/split_kit.h"
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { LINES = 700, TEXT_BYTES = 24000, LINE_MAX = 4200 };

/* Some lines of a text, which is a block of its own without a byte around it. */
typedef struct sample {
    wr_prng     prng;
    char       *text, *strings, *away[LINES];
    uint32_t    from[LINES], bytes[LINES], lines, aways;
    size_t      used;
    split_batch batch;
} sample;

static uint32_t below(sample *s, uint32_t bound)
{
    return (uint32_t)wr_prng_below(&s->prng, bound);
}
static bool one_in(sample *s, uint32_t times)
{
    return wr_prng_one_in(&s->prng, times);
}

/* ---- texts ------------------------------------------------------------------------------------------------------- */

static void put(sample *s, uint32_t n, int byte)
{
    memset(s->text + s->used, byte, n);
    s->used += n;
}

static void put_token(sample *s, uint32_t n)
{
    for (; n > 0; n--) {
        char byte = (char)below(s, 256);
        put(s, 1, byte == s->batch.separator ? byte + 1 : byte);
    }
}

static uint32_t token_bytes(sample *s)
{
    static const uint32_t edges[] = {4, 8, 11, 12, 13, 16, 63, 64, 65, 251, 252, 255, 256, 257, 260, 264};
    if (one_in(s, 12)) return 1 + below(s, 400);
    return one_in(s, 8) ? edges[below(s, 16)] : 1 + below(s, 10);
}

static uint32_t line_bytes(sample *s)
{
    static const uint32_t edges[] = {0, 1, 12, 13, 62, 63, 64, 65, 127, 128, 129, 4095, 4096, 4097};
    switch (below(s, 8)) {
    case 0: return edges[below(s, one_in(s, 8) ? 14 : 11)];
    case 1: return below(s, one_in(s, 5) ? 3000 : 400);
    case 2: return below(s, 13);
    case 3: return 0;
    default: return 20 + below(s, 80);
    }
}

static void put_line(sample *s)
{
    uint32_t bytes = line_bytes(s);
    size_t   end = s->used + bytes;
    bool     dense = one_in(s, 8); /* as many tokens as there can be */
    s->from[s->lines] = (uint32_t)s->used;
    s->bytes[s->lines++] = bytes;
    if (one_in(s, 5) && bytes > 0) put(s, 1, s->batch.separator);
    while (s->used < end) {
        uint32_t left = (uint32_t)(end - s->used), token = dense ? 1 : token_bytes(s);
        put_token(s, token < left ? token : left);
        left = (uint32_t)(end - s->used);
        uint32_t apart = !dense && one_in(s, 6) ? 1 + below(s, one_in(s, 4) ? 150 : 5) : 1;
        put(s, apart < left ? apart : left, s->batch.separator);
    }
}

/* Lines with one kind of gap between them: "\n", "\r\n", or up to 20 bytes of anything. */
static void put_lines(sample *s)
{
    uint32_t kind = below(s, 3), most = 1 + below(s, one_in(s, 3) ? LINES - 1 : 60);
    if (one_in(s, 4)) put_token(s, below(s, 6));
    while (s->lines < most && s->used < TEXT_BYTES) {
        if (s->lines > 0 && kind == 1) put(s, 1, '\r');
        if (s->lines > 0 && kind < 2) put(s, 1, '\n');
        if (s->lines > 0 && kind == 2) put_token(s, one_in(s, 3) ? below(s, 21) : 1 + below(s, 2));
        put_line(s);
    }
    if (one_in(s, 4)) put_token(s, below(s, 20));
}

/* Where the lines of the batch are: in order or not, all or not, in the text or elsewhere. */
static void take_lines(sample *s)
{
    bool         mixes = one_in(s, 5), omits = one_in(s, 5), elsewhere = one_in(s, 5);
    split_batch *b = &s->batch;
    uint32_t     order[LINES];
    for (uint32_t i = 0; i < s->lines; i++) {
        if (omits && one_in(s, 6)) continue;
        order[b->n++] = i;
        if (!mixes || !one_in(s, 4)) continue;
        uint32_t k = below(s, b->n);
        order[b->n - 1] = order[k];
        order[k] = i;
    }
    size_t bytes = b->n > 0 ? (size_t)(b->n - 1) * b->stride + sizeof(weir_str) : 1;
    b->strings = s->strings = malloc(bytes);
    assert_non_null(s->strings);
    memset(s->strings, '#', bytes);
    for (uint32_t i = 0; i < b->n; i++) {
        uint32_t    n = s->bytes[order[i]];
        const char *text = s->text + s->from[order[i]];
        if (elsewhere && one_in(s, 6) && n > 0) {
            s->away[s->aways] = malloc(n);
            assert_non_null(s->away[s->aways]);
            text = memcpy(s->away[s->aways++], text, n);
        }
        weir_str str = weir_str_of(text, n);
        memcpy(s->strings + (size_t)i * b->stride, &str, sizeof str);
    }
}

static void sample_make(sample *s, uint64_t seed)
{
    static const uint32_t strides[] = {16, 24, 40};
    memset(s, 0, sizeof *s);
    s->prng = wr_prng_of(seed);
    s->batch = (split_batch){.separator = (char)(one_in(s, 3) ? below(s, 256) : ' '),
                             .stride = strides[below(s, 3)],
                             .to_stride = one_in(s, 2) ? 16 : strides[below(s, 3)],
                             .piece = one_in(s, 2) ? 1024 : 1 + below(s, 70)};
    s->text = malloc(TEXT_BYTES + LINE_MAX + 64);
    assert_non_null(s->text);
    put_lines(s);
    char *exact = malloc(s->used > 0 ? s->used : 1);
    assert_non_null(exact);
    memcpy(exact, s->text, s->used);
    free(s->text);
    s->text = exact;
    take_lines(s);
    if (one_in(s, 8)) return; /* no region */
    s->batch.region = s->text;
    s->batch.region_bytes = s->used;
    if (!one_in(s, 5)) return;
    uint32_t first = below(s, s->lines), last = first + below(s, s->lines - first);
    s->batch.region = s->text + s->from[first];
    s->batch.region_bytes = s->from[last] + s->bytes[last] - s->from[first];
}

static void sample_free(sample *s)
{
    while (s->aways > 0) free(s->away[--s->aways]);
    free(s->strings);
    free(s->text);
}

static void random_texts(void **state)
{
    (void)state;
    split_kernels kernel[2];
    uint32_t      kernels = split_kernels_here(kernel);
    split_seen    seen[2], all = {0};
    sample       *s = malloc(sizeof *s);
    assert_non_null(s);
    for (uint64_t seed = 1; seed <= 1500; seed++) {
        sample_make(s, seed);
        for (uint32_t k = 0; k < kernels; k++) {
            const char *why = split_holds(&s->batch, &kernel[k], &seen[k]);
            if (why != NULL) fail_msg("seed %u, kernels %u: %s", (unsigned)seed, k, why);
            assert_memory_equal(&seen[k], &seen[0], sizeof seen[0]);
        }
        all.stretches += seen[0].stretches;
        all.lines += seen[0].lines;
        all.tokens += seen[0].tokens;
        all.far += seen[0].far;
        sample_free(s);
    }
    free(s);
    assert_true(all.lines > 2 * all.stretches && all.stretches > 10000); /* or the texts would say little */
    assert_true(all.far > all.tokens / 50 && all.tokens > 1000000);
}

/* ---- how much a stretch takes ------------------------------------------------------------------------------------ */

/* Strings over lines of a literal or an array, which is the region. */
typedef struct lines {
    const char *text;
    size_t      bytes;
    weir_str    str[600];
    uint32_t    n;
    wr_stretch  stretch;
} lines;

static uint32_t take(lines *l, uint32_t first)
{
    wr_stretch_take(&l->stretch, (const char *)&l->str[first], l->n - first, sizeof l->str[0], l->text, l->bytes);
    return l->stretch.lines;
}

/* A line is everything between gaps, which are `gap` bytes of '\n', or '\r' and '\n'. */
static void cut(lines *l, const char *text, size_t bytes, const char *gap)
{
    size_t gap_bytes = strlen(gap);
    l->text = text;
    l->bytes = bytes;
    l->n = 0;
    for (size_t from = 0, at = 0; at <= bytes; at++) {
        if (at < bytes && (bytes - at < gap_bytes || memcmp(text + at, gap, gap_bytes) != 0)) continue;
        assert_true(l->n < 600);
        l->str[l->n++] = weir_str_of(text + from, at - from);
        from = at + gap_bytes;
        if (at < bytes) at = from - 1;
    }
}

static void assert_one_stretch(const char *text, const char *gap, uint32_t wanted)
{
    lines l;
    cut(&l, text, strlen(text), gap);
    assert_int_equal(l.n, wanted);
    assert_int_equal(take(&l, 0), wanted);
    assert_int_equal(l.stretch.bytes, l.bytes);
}

static void short_lines_do_not_end_a_stretch(void **state)
{
    (void)state;
    assert_one_stretch("a line of some bytes", "\n", 1);
    assert_one_stretch("a line of some bytes\nshort\n\ntwelve bytes\n\n\nx\nthirteen byte\ny", "\n", 9);
    assert_one_stretch("a line of some bytes\r\nshort\r\ntwelve bytes\r\nx\r\nthirteen byte\r\ny", "\r\n", 6);
    assert_one_stretch("the first one of two\n\n\n\n\n\n\n\nthe second one of two", "\n\n\n\n\n\n\n\n", 2);
}

static void what_ends_a_stretch(void **state)
{
    (void)state;
    lines       l;
    const char *far_apart = "the first one of two\n\n\n\n\n\n\n\n\nthe second one of two";
    cut(&l, far_apart, strlen(far_apart), "\n\n\n\n\n\n\n\n\n");
    assert_int_equal(l.n, 2);
    assert_int_equal(take(&l, 0), 1);
    const char *three = "the first one of three\nthe second one of three\nthe third one of three";
    cut(&l, three, strlen(three), "\n");
    assert_int_equal(take(&l, 0), 3);
    l.bytes -= 1; /* the last one is not within */
    assert_int_equal(take(&l, 0), 2);
    l.bytes = 0;
    assert_int_equal(take(&l, 0), 1);
    assert_ptr_equal(l.stretch.readable, three);
    assert_ptr_equal(l.stretch.readable_end, three + strlen("the first one of three"));
    l.bytes = strlen(three);
    weir_str last = l.str[2];
    l.str[2] = l.str[1];
    l.str[1] = last;
    assert_int_equal(take(&l, 0), 1);
    assert_int_equal(take(&l, 1), 1);
    l.str[1] = weir_lit("another"); /* short, and the text goes on with something else */
    assert_int_equal(take(&l, 0), 1);
    assert_int_equal(take(&l, 1), 1); /* lies in its record */
    assert_ptr_equal(l.stretch.readable_end, l.stretch.base + strlen("another"));
    const char *adjacent = "the first one of twothe second one of two";
    l.text = adjacent;
    l.bytes = strlen(adjacent);
    l.n = 2;
    l.str[0] = weir_str_of(adjacent, 20);
    l.str[1] = weir_str_of(adjacent + 20, l.bytes - 20);
    assert_int_equal(take(&l, 0), 1);
}

static void a_stretch_has_bounds(void **state)
{
    (void)state;
    static lines  l;
    static char   text[60000];
    split_kernels kernel[2];
    split_seen    seen;
    memset(text, 'x', sizeof text);
    for (size_t i = 15; i < sizeof text; i += 16) text[i] = '\n';
    cut(&l, text, 16 * 300 - 1, "\n"); /* 16 bytes each: as many lines as bytes */
    assert_int_equal(take(&l, 0), 256);
    assert_int_equal(take(&l, 256), 44);
    memset(text, 'x', sizeof text);
    for (size_t i = 100; i < sizeof text; i += 101) text[i] = '\n';
    cut(&l, text, 101 * 80 - 1, "\n");
    assert_int_equal(take(&l, 0), 40); /* of 4039 bytes */
    memset(text, 'x', sizeof text);
    text[4095 - 20] = '\n'; /* both together fill it */
    l.text = text;
    l.bytes = sizeof text;
    l.n = 2;
    l.str[0] = weir_str_of(text, 4095 - 20);
    for (uint32_t more = 0; more < 2; more++) {
        l.str[1] = weir_str_of(text + 4096 - 20, 20 + more);
        assert_int_equal(take(&l, 0), 2 - more);
    }
    for (size_t i = 1; i < sizeof text; i += 2) text[i] = ';';
    l.n = 1;
    for (uint32_t bytes = 4094; bytes <= 4097; bytes++) {
        l.str[0] = weir_str_of(text, bytes);
        assert_int_equal(take(&l, 0), bytes <= 4096);
        split_batch b = {(const char *)l.str, 1, sizeof l.str[0], text, sizeof text, ';', sizeof(weir_str), 5000};
        for (uint32_t k = split_kernels_here(kernel); k-- > 0;) {
            const char *why = split_holds(&b, &kernel[k], &seen);
            if (why != NULL) fail_msg("%u bytes, kernels %u: %s", bytes, k, why);
            assert_int_equal(seen.tokens, bytes <= 4096 ? (bytes + 1) / 2 : 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_texts),
        cmocka_unit_test(short_lines_do_not_end_a_stretch),
        cmocka_unit_test(what_ends_a_stretch),
        cmocka_unit_test(a_stretch_has_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
