/* Lines of plain text through the file source against a loop over bytes: where line ends lie in the blocks that are
 * searched for them, how many there are, and where outputs, windows and splits end in between. */
#include "tests/unit/connectors/drive.h"

enum { WINDOW = 64 * 1024 };

/* A text, and how it is read. */
typedef struct text {
    char    *bytes;
    size_t   n, room;
    size_t   split_bytes; /* 0: one split */
    uint32_t capacity;    /* of the output; 0: as it is */
    bool     skip_blank;
} text;

static void put(text *t, const char *bytes, size_t n)
{
    if (t->n + n > t->room) {
        t->room = 2 * (t->n + n);
        t->bytes = realloc(t->bytes, t->room);
        assert_non_null(t->bytes);
    }
    memcpy(t->bytes + t->n, bytes, n);
    t->n += n;
}

static void put_line(text *t, size_t n, const char *end)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
    for (; n > 0; n--) put(t, &letters[t->n * 7 % 26], 1);
    put(t, end, strlen(end));
}

/* The next line at *at, without its end. */
static size_t naive_line(const text *t, size_t *at, const char **line)
{
    size_t end = *at;
    *line = t->bytes + *at;
    while (end < t->n && t->bytes[end] != '\n') end++;
    size_t n = end - *at;
    *at = end + 1;
    return n > 0 && t->bytes[end - 1] == '\r' ? n - 1 : n;
}

static void read_all(drive *d, const text *t)
{
    assert_true(drive_enumerate(d));
    if (t->split_bytes > 0 && t->split_bytes < t->n / 2) assert_true(d->enumerator.count > 1);
    for (uint32_t i = 0; i < d->enumerator.count; i++) {
        assert_true(drive_open(d));
        if (t->capacity > 0) d->op.emit[0].capacity = t->capacity;
        wr_source_add(&d->op, d->enumerator.split[i]);
        while (!wr_op_failed(&d->op) && drive_poll(d) != WR_POLLED_EMPTY) {}
        if (wr_op_failed(&d->op)) fail_msg("%s", d->op.failure.text);
        drive_close(d);
    }
}

static void assert_reads(const folder *f, const text *t)
{
    drive d;
    char  uri[128], options[64];
    snprintf(uri, sizeof uri, "file:%s/t", f->path);
    snprintf(options, sizeof options, "%s", t->skip_blank ? "skip-blank=true" : "");
    file_write_bytes(folder_path(f, "t"), t->bytes, t->n);
    assert_true(drive_init(&d, (wr_endpoint_spec){.type = &line_type, .uri = uri, .options = options}));
    drive_cut(&d, t->split_bytes);
    read_all(&d, t);
    uint32_t count = 0;
    for (size_t at = 0; at < t->n;) {
        const char *wanted;
        size_t      n = naive_line(t, &at, &wanted);
        if (t->skip_blank && n == 0) continue;
        if (count == d.count) fail_msg("only %u lines", count);
        const weir_str *got = &((const line *)(const void *)d.records)[count++].text;
        weir_str        made = weir_str_of(wanted, n);
        if (!weir_str_equal(got, &made)) fail_msg("line %u: %u bytes, and not %zu, or others", count, got->len, n);
    }
    assert_int_equal(d.count, count);
    drive_fini(&d);
}

static void assert_reads_in_all_ways(const folder *f, text *t)
{
    static const uint32_t capacities[] = {0, 1, 3, 511, 512, 513};
    for (uint32_t way = 0; way < 12; way++) {
        t->capacity = capacities[way % 6];
        t->skip_blank = way >= 6;
        for (uint32_t split = 0; split < 3; split++) { /* one split; halves; a few, anywhere */
            t->split_bytes = split == 0 ? 0 : split == 1 ? t->n / 2 : t->n / 5 - 1;
            assert_reads(f, t);
        }
    }
    free(t->bytes);
    *t = (text){0};
}

static void ends_at_the_edges_of_blocks(void **state)
{
    (void)state;
    folder f = folder_make();
    text   t = {0};
    for (size_t multiple = 1; multiple <= 3; multiple++) { /* the end is the last byte of a block, or the first */
        for (size_t extra = 0; extra < 3; extra++) {
            for (int i = 0; i < 100; i++) put_line(&t, 64 * multiple - 2 + (i == 0 ? extra : 1), "\n");
            assert_reads_in_all_ways(&f, &t);
        }
    }
    for (int i = 0; i < 100; i++) put_line(&t, 63, "\r\n"); /* blocks end between the two, and everywhere else */
    assert_reads_in_all_ways(&f, &t);
    for (int i = 0; i < 64; i++) put_line(&t, 64, "\n\n\n");
    put_line(&t, 128, ""); /* the last line has no end */
    assert_reads_in_all_ways(&f, &t);
    folder_remove(&f);
}

static void many_ends_in_a_block(void **state)
{
    (void)state;
    folder f = folder_make();
    text   t = {0};
    for (size_t n = 0; n <= 22; n++) { /* 64 ends in a block, 32, ... two */
        for (int i = 0; i < 1300; i++) put_line(&t, n, "\n");
        assert_reads_in_all_ways(&f, &t);
    }
    for (int i = 0; i < 1300; i++) put_line(&t, (size_t)i % 5, i % 3 == 0 ? "\r\n" : "\n");
    assert_reads_in_all_ways(&f, &t);
    for (int i = 0; i < 40; i++) { /* none for some blocks, then all at once */
        put_line(&t, 300 + (size_t)i, "\n");
        for (int k = 0; k < 9 * i; k++) put_line(&t, 0, k % 7 == 0 ? "\r\n" : "\n");
    }
    assert_reads_in_all_ways(&f, &t);
    folder_remove(&f);
}

static void ends_around_the_edge_of_a_window(void **state)
{
    (void)state;
    folder f = folder_make();
    text   t = {0};
    for (size_t less = 0; less < 6; less++) {
        put_line(&t, WINDOW - 3 - less, "\r\n");
        for (int i = 0; i < 700; i++) put_line(&t, (size_t)i % 3, i % 2 == 0 ? "\n" : "\r\n");
        put_line(&t, WINDOW, "\n");
        put_line(&t, 5, "");
        assert_reads_in_all_ways(&f, &t);
    }
    folder_remove(&f);
}

/* The window before was full of line ends, which still lie behind the last, shorter one. */
static void ends_behind_the_window_are_none(void **state)
{
    (void)state;
    static const size_t rests[] = {1, 12, 62, 63, 64, 65, 127, 128, 191};
    folder              f = folder_make();
    for (size_t i = 0; i < sizeof rests / sizeof rests[0]; i++) {
        text t = {0};
        while (t.n < WINDOW) put_line(&t, 0, "\n");
        put_line(&t, rests[i], "");
        assert_reads(&f, &t);
        free(t.bytes);
    }
    folder_remove(&f);
}

static void random_lines(void **state)
{
    (void)state;
    folder  f = folder_make();
    wr_prng prng = wr_prng_of(11);
    for (int round = 0; round < 300; round++) {
        text     t = {0};
        uint32_t longest = 1 + (uint32_t)wr_prng_below(&prng, wr_prng_one_in(&prng, 3) ? 200 : 20);
        uint32_t lines = 20 + (uint32_t)wr_prng_below(&prng, 3000), crs = (uint32_t)wr_prng_below(&prng, 4);
        for (uint32_t i = 0; i < lines; i++) {
            size_t n = wr_prng_one_in(&prng, 4) ? 0 : wr_prng_below(&prng, longest);
            put_line(&t, n, wr_prng_one_in(&prng, crs) ? "\r\n" : wr_prng_one_in(&prng, 50) ? "\r" : "\n");
        }
        t.split_bytes = wr_prng_one_in(&prng, 2) ? 1 + wr_prng_below(&prng, t.n - 1) : 0;
        t.capacity = wr_prng_one_in(&prng, 2) ? 1 + (uint32_t)wr_prng_below(&prng, 600) : 0;
        t.skip_blank = wr_prng_one_in(&prng, 2);
        if (t.split_bytes > 0 && t.split_bytes < t.n / 50) t.split_bytes = t.n / 50 + 1;
        assert_reads(&f, &t);
        free(t.bytes);
    }
    folder_remove(&f);
}

/* Which line it is, is known behind any number of them. */
static void lines_are_counted(void **state)
{
    (void)state;
    folder f = folder_make();
    drive  d;
    char   uri[128], place[128];
    for (uint32_t blank = 0; blank < 2; blank++) {
        text t = {0};
        for (uint32_t i = 0; i < 1299; i++) put_line(&t, blank ? i % 2 : 9, "\n");
        for (size_t n = t.n; t.n < n + WR_RECORD_BYTES_MAX + 10;) put_line(&t, 9973, "");
        snprintf(uri, sizeof uri, "file:%s/t", f.path);
        file_write_bytes(folder_path(&f, "t"), t.bytes, t.n);
        assert_true(drive_init(
            &d, (wr_endpoint_spec){.type = &line_type, .uri = uri, .options = blank ? "skip-blank=true" : NULL}));
        assert_false(drive_all(&d));
        snprintf(place, sizeof place, "%s/t:1300;", f.path);
        assert_contains(d.op.failure.text, place);
        drive_fini(&d);
        free(t.bytes);
    }
    folder_remove(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ends_at_the_edges_of_blocks),
        cmocka_unit_test(many_ends_in_a_block),
        cmocka_unit_test(ends_around_the_edge_of_a_window),
        cmocka_unit_test(ends_behind_the_window_are_none),
        cmocka_unit_test(random_lines),
        cmocka_unit_test(lines_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
