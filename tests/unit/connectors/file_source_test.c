/* The file source: every line exactly once however the file is cut, exact positions, lists and patterns, errors. */
#include "tests/unit/connectors/drive.h"
#include <sys/stat.h>

static wr_endpoint_spec spec_of(const weir_type *type, const char *uri, const char *format)
{
    return (wr_endpoint_spec){.type = type, .uri = uri, .format = format};
}

static const char *uri_of(const folder *f, const char *rest)
{
    static char text[512];
    snprintf(text, sizeof text, "file:%s/%s", f->path, rest);
    return text;
}

static void append(char *to, size_t bytes, const char *text)
{
    size_t used = strlen(to);
    snprintf(to + used, bytes - used, "%s", text);
}

/* The lines that a plain loop finds. */
static uint32_t expected_lines(const char *bytes, size_t n, char lines[][64])
{
    uint32_t count = 0;
    for (size_t at = 0; at < n;) {
        const char *newline = memchr(bytes + at, '\n', n - at);
        size_t      end = newline != NULL ? (size_t)(newline - bytes) : n, length = end - at;
        if (length > 0 && bytes[end - 1] == '\r') length--;
        snprintf(lines[count++], 64, "%.*s", (int)length, bytes + at);
        at = end + 1;
    }
    return count;
}

static void assert_lines(const drive *d, char lines[][64], uint32_t count)
{
    if (d->count != count) fail_msg("%u lines, %u wanted", d->count, count);
    for (uint32_t i = 0; i < count; i++) assert_str(&((const line *)(const void *)d->records)[i].text, lines[i]);
}

static size_t random_text(wr_prng *prng, char *to, size_t room)
{
    size_t n = 0, lines = wr_prng_below(prng, 12);
    for (size_t i = 0; i < lines; i++) {
        size_t length = wr_prng_one_in(prng, 4) ? 0 : wr_prng_below(prng, wr_prng_one_in(prng, 3) ? 40 : 14);
        for (size_t k = 0; k < length && n < room - 3; k++) to[n++] = (char)('a' + wr_prng_below(prng, 26));
        if (wr_prng_one_in(prng, 4)) to[n++] = '\r';
        if (i + 1 < lines || !wr_prng_one_in(prng, 2)) to[n++] = '\n';
    }
    return n;
}

static void each_line_once_at_every_cut(void **state)
{
    (void)state;
    folder  f = folder_make();
    wr_prng prng = wr_prng_of(3);
    char    text[1024], lines[64][64];
    for (int round = 0; round < 60; round++) {
        size_t   n = random_text(&prng, text, sizeof text);
        uint32_t count = expected_lines(text, n, lines);
        file_write_bytes(folder_path(&f, "t"), text, n);
        for (size_t cut = 1; cut <= n + 1; cut += 1 + n / 60) {
            drive            d;
            wr_endpoint_spec spec = spec_of(&line_type, uri_of(&f, "t"), NULL);
            assert_true(drive_init(&d, spec));
            drive_cut(&d, (uint64_t)cut);
            if (!drive_all(&d)) fail_msg("%s", d.op.failure.text);
            if (cut < n / 2) assert_true(d.enumerator.count > 1);
            assert_lines(&d, lines, count);
            drive_fini(&d);
        }
    }
    folder_remove(&f);
}

/* After any poll the split record alone says what is left. */
static void positions_are_exact(void **state)
{
    (void)state;
    folder  f = folder_make();
    wr_prng prng = wr_prng_of(4);
    char    text[1024], lines[64][64];
    for (int round = 0; round < 200; round++) {
        drive            d;
        size_t           n = random_text(&prng, text, sizeof text);
        uint32_t         count = expected_lines(text, n, lines);
        wr_endpoint_spec spec = spec_of(&line_type, uri_of(&f, "t"), NULL);
        file_write_bytes(folder_path(&f, "t"), text, n);
        assert_true(drive_init(&d, spec));
        drive_cut(&d, (uint64_t)(int)wr_prng_below(&prng, 50));
        assert_true(drive_enumerate(&d));
        for (uint32_t i = 0; i < d.enumerator.count; i++) {
            char split[256];
            bool ended = false;
            memcpy(split, d.enumerator.split[i], d.node.op->state->size);
            while (!ended) { /* a new reader every few polls, as if each time the job had been restored */
                char *kept = split;
                assert_true(drive_open(&d));
                d.op.emit[0].capacity = 1 + (uint32_t)wr_prng_below(&prng, 3);
                wr_source_add(&d.op, split);
                for (uint64_t polls = 1 + wr_prng_below(&prng, 4); polls > 0 && !ended; polls--) {
                    ended = drive_poll(&d) == WR_POLLED_EMPTY;
                }
                if (wr_op_failed(&d.op)) fail_msg("%s", d.op.failure.text);
                if (!ended) { /* far strings of the split are the enumerator's: only its numbers move */
                    memcpy(kept + 2 * sizeof(weir_str), (char *)d.op.ctx.state[0] + 2 * sizeof(weir_str),
                           d.node.op->state->size - 2 * sizeof(weir_str));
                }
                drive_close(&d);
            }
        }
        assert_lines(&d, lines, count);
        drive_fini(&d);
    }
    folder_remove(&f);
}

static void large_windows_and_long_lines(void **state)
{
    (void)state;
    folder   f = folder_make();
    drive    d;
    size_t   bytes = 3 << 20, at = 0;
    uint32_t count = 0;
    char    *text = malloc(bytes + 1);
    wr_prng  prng = wr_prng_of(5);
    while (at < bytes - 1) { /* lines of 0 to 300 KiB, so that windows grow and break everywhere */
        size_t n = wr_prng_one_in(&prng, 500) ? wr_prng_below(&prng, 300000) : wr_prng_below(&prng, 100);
        if (n > bytes - at - 1) n = bytes - at - 1;
        for (size_t i = 0; i < n; i++) text[at++] = (char)('A' + (count * 7 + i) % 26);
        text[at++] = '\n';
        count++;
    }
    file_write_bytes(folder_path(&f, "t"), text, at);
    for (int cut = 0; cut <= 700000; cut += 350000) {
        wr_endpoint_spec spec = spec_of(&line_type, uri_of(&f, "t"), NULL);
        assert_true(drive_init(&d, spec));
        drive_cut(&d, (uint64_t)cut);
        if (!drive_all(&d)) fail_msg("%s", d.op.failure.text);
        assert_int_equal(d.count, count);
        const char *p = text;
        for (uint32_t i = 0; i < count; i++) {
            const weir_str *str = &((const line *)(const void *)d.records)[i].text;
            size_t          n = (size_t)((const char *)memchr(p, '\n', (size_t)(text + at - p)) - p);
            assert_int_equal(str->len, n);
            assert_int_equal(memcmp(weir_str_data(str), p, n), 0);
            p += n + 1;
        }
        drive_fini(&d);
    }
    free(text);
    folder_remove(&f);
}

static void lists_patterns_and_folders(void **state)
{
    (void)state;
    folder f = folder_make();
    drive  d;
    mkdir(folder_path(&f, "in"), 0777);
    mkdir(folder_path(&f, "in/sub"), 0777);
    mkdir(folder_path(&f, "more"), 0777);
    file_write_text(folder_path(&f, "in/b.log"), "b\n");
    file_write_text(folder_path(&f, "in/a.log"), "a\n");
    file_write_text(folder_path(&f, "in/c.txt"), "c");
    file_write_text(folder_path(&f, "in/.hidden.log"), "hidden\n");
    file_write_text(folder_path(&f, "in/_done"), "done\n");
    file_write_text(folder_path(&f, "in/sub/d.log"), "d\n");
    file_write_text(folder_path(&f, "more/e.log"), "e\n");
    file_write_text(folder_path(&f, "in/empty.log"), "");
    file_write_text(folder_path(&f, "x,y"), "comma\n");
    file_write_text(folder_path(&f, "[z]"), "bracket\n");
    const struct {
        const char *path, *lines;
    } cases[] = {
        {"in/a.log", "a"},    {"in/*.log", "ab"}, {"in", "abc"},         {"in/", "abc"},
        {"*/%3F.log", "abe"}, {"in/sub/*", "d"},  {"i[mn]/*.log", "ab"}, {"*/*/d.log", "d"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_true(drive_init(&d, spec_of(&line_type, uri_of(&f, cases[i].path), NULL)));
        if (!drive_all(&d)) fail_msg("%s: %s", cases[i].path, d.op.failure.text);
        char found[16] = "";
        for (uint32_t k = 0; k < d.count; k++) strncat(found, weir_str_data(&((line *)(void *)d.records)[k].text), 1);
        assert_string_equal(found, cases[i].lines);
        drive_fini(&d);
    }
    char uri[512];
    snprintf(uri, sizeof uri, "file://%s/in/c.txt,%s/in/*.log,%s/in/c.txt", f.path, f.path, f.path);
    assert_true(drive_init(&d, spec_of(&line_type, uri, NULL)));
    assert_true(drive_all(&d));
    assert_int_equal(d.count, 3);
    assert_str(&((line *)(void *)d.records)[0].text, "c");
    drive_fini(&d);
    assert_true(drive_init(&d, spec_of(&line_type, uri_of(&f, "x,y"), NULL)));
    assert_true(drive_all(&d));
    assert_str(&((line *)(void *)d.records)[0].text, "comma");
    drive_fini(&d);
    assert_true(drive_init(&d, spec_of(&line_type, uri_of(&f, "[z]"), NULL)));
    assert_true(drive_all(&d));
    assert_str(&((line *)(void *)d.records)[0].text, "bracket");
    drive_fini(&d);
    folder_remove(&f);
}

static void what_is_not_there_is_named(void **state)
{
    (void)state;
    folder f = folder_make();
    drive  d;
    mkdir(folder_path(&f, "d"), 0777);
    assert_int_equal(mkfifo(folder_path(&f, "pipe"), 0600), 0);
    const struct {
        const char *path;
        wr_err      err;
        const char *text;
    } cases[] = {
        {"missing.txt", WR_NOT_FOUND, "missing.txt: No such file or directory"},
        {"d/*.log", WR_NOT_FOUND, "no file matches the pattern"},
        {"pipe", WR_CONFIG, "not a regular file"},
        {"links/*.log", WR_NOT_FOUND, "/links/b.log, which the pattern matches: No such file or directory"},
        {"l*s/b.log", WR_NOT_FOUND, "/links/b.log, which the pattern matches: No such file or directory"},
        {"loops/a.*", WR_IO, "/loops/a.log, which the pattern matches: Too many levels of symbolic links"},
        {"lo*/b.log", WR_NOT_FOUND, "/loose, which the pattern matches: No such file or directory"},
    };
    mkdir(folder_path(&f, "links"), 0777);
    mkdir(folder_path(&f, "loops"), 0777);
    file_write_text(folder_path(&f, "links/a.log"), "a\n");
    assert_int_equal(symlink("gone", folder_path(&f, "links/b.log")), 0);
    assert_int_equal(symlink("a.log", folder_path(&f, "loops/a.log")), 0);
    assert_int_equal(symlink("gone", folder_path(&f, "loose")), 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_true(drive_init(&d, spec_of(&line_type, uri_of(&f, cases[i].path), NULL)));
        assert_false(drive_all(&d));
        assert_int_equal(d.op.failure.code, cases[i].err);
        assert_contains(d.op.failure.text, cases[i].text);
        assert_contains(d.op.failure.text, "source it (file:");
        drive_fini(&d);
    }
    file_write_text(folder_path(&f, "t"), "one\ntwo\n");
    assert_true(
        drive_init(&d, spec_of(&line_type, uri_of(&f, "t"), NULL))); /* goes between the listing and the opening */
    assert_true(drive_enumerate(&d));
    unlink(folder_path(&f, "t"));
    assert_false(drive_read(&d, d.enumerator.split[0]));
    assert_contains(d.op.failure.text, "cannot open");
    drive_fini(&d);
    file_write_text(folder_path(&f, "t"), "one\ntwo\nthree\n"); /* shrinks */
    assert_true(drive_init(&d, spec_of(&line_type, uri_of(&f, "t"), NULL)));
    assert_true(drive_enumerate(&d));
    file_write_text(folder_path(&f, "t"), "one\n");
    assert_false(drive_read(&d, d.enumerator.split[0]));
    assert_contains(d.op.failure.text, "shrank while it was read: it had 14 bytes and now ends at byte 4");
    drive_fini(&d);
    folder_remove(&f);
}

/* Parts of one file are opened one after the other; meanwhile another file can get its name. */
static void parts_of_two_files_are_not_mixed(void **state)
{
    (void)state;
    static const char OLD[] = "one\ntwo\nthree\nfour\nfive\n", NEW[] = "six\nten\nseven\nnine\nlast\nmore\n";
    folder            f = folder_make();
    drive             d;
    file_write_text(folder_path(&f, "t"), OLD);
    assert_true(drive_init(&d, spec_of(&line_type, uri_of(&f, "t"), NULL)));
    drive_cut(&d, 8);
    assert_true(drive_enumerate(&d));
    assert_int_equal(d.enumerator.count, 3);
    assert_true(drive_read(&d, d.enumerator.split[0]));
    file_write_text(folder_path(&f, "t"), NEW);
    assert_false(drive_read(&d, d.enumerator.split[1]));
    assert_int_equal(d.op.failure.code, WR_IO);
    assert_contains(d.op.failure.text, "/t was changed: it was cut into parts up to byte 7, and other bytes");
    file_write_text(folder_path(&f, "t"), "one\n");
    assert_false(drive_read(&d, d.enumerator.split[2]));
    assert_contains(d.op.failure.text, "/t became shorter: it was cut into parts up to byte 15 of 24, and now ends");
    file_write_text(folder_path(&f, "t"), "one\ntwo\nthree\nfour\nfive\nsix\n"); /* it has grown */
    assert_true(drive_read(&d, d.enumerator.split[1]));
    assert_true(drive_read(&d, d.enumerator.split[2]));
    assert_int_equal(d.count, 5);
    drive_fini(&d);
    folder_remove(&f);
}

typedef struct pair {
    weir_str name;
    int32_t  n;
} pair;
static const weir_field pair_fields[] = {FIELD(pair, name, WEIR_STR), FIELD(pair, n, WEIR_I32)};
static const weir_type  pair_type = TYPE(pair, pair_fields);

static void csv_files(void **state)
{
    (void)state;
    folder    f = folder_make();
    drive     d;
    char      text[8192] = "\xef\xbb\xbfn;other;name\r\n", row[64];
    const int rows = 100;
    for (int i = 0; i < rows; i++) {
        snprintf(row, sizeof row, "%d;x;\"name \"\"%d\"\" of many\"\r\n", i, i);
        append(text, sizeof text, row);
    }
    file_write_text(folder_path(&f, "t.csv"), text);
    for (int cut = 0; cut < 200; cut += cut < 40 ? 1 : 17) {
        wr_endpoint_spec spec = spec_of(&pair_type, uri_of(&f, "t.csv?header=true&separator=;"), "csv");
        if (!drive_init(&d, spec)) fail_msg("%s", d.problem.text);
        drive_cut(&d, (uint64_t)cut);
        if (!drive_all(&d)) fail_msg("%s", d.op.failure.text);
        assert_int_equal(d.count, rows);
        for (int i = 0; i < rows; i++) {
            const pair *p = &((const pair *)(const void *)d.records)[i];
            snprintf(row, sizeof row, "name \"%d\" of many", i);
            assert_int_equal(p->n, i);
            assert_str(&p->name, row);
        }
        drive_fini(&d);
    }
    file_write_text(folder_path(&f, "m.csv"), "\"two\nlines\",1\n\"a \"\"b\"\"\n\",2\n");
    assert_true(drive_init(&d, spec_of(&pair_type, uri_of(&f, "m.csv?multiline=true"), "csv")));
    if (!drive_all(&d)) fail_msg("%s", d.op.failure.text);
    assert_int_equal(d.count, 2);
    assert_str(&((const pair *)(const void *)d.records)[0].name, "two\nlines");
    assert_str(&((const pair *)(const void *)d.records)[1].name, "a \"b\"\n");
    drive_fini(&d);
    file_write_text(folder_path(&f, "t.csv"), "name,m\na,1\n");
    assert_true(drive_init(&d, spec_of(&pair_type, uri_of(&f, "t.csv?header=true"), "csv")));
    assert_false(drive_all(&d));
    assert_contains(d.op.failure.text, "no column \"n\"");
    assert_contains(d.op.failure.text, "t.csv:1");
    drive_fini(&d);
    folder_remove(&f);
}

static void bad_records_have_a_place(void **state)
{
    (void)state;
    folder f = folder_make();
    drive  d;
    char   text[512] = "", place[512];
    for (int i = 1; i <= 20; i++) append(text, sizeof text, i == 7 || i == 13 ? "a,x\n" : "a,1\n");
    file_write_text(folder_path(&f, "t"), text);
    for (int cut = 0; cut < 80; cut += 9) { /* the line is right in whatever split it lies */
        wr_endpoint_spec spec = spec_of(&pair_type, uri_of(&f, "t"), "csv");
        assert_true(drive_init(&d, spec));
        drive_cut(&d, (uint64_t)cut);
        assert_false(drive_all(&d));
        assert_int_equal(d.op.failure.code, WR_BAD_RECORD);
        snprintf(place, sizeof place, "field n: 'x' is not a whole number; operator it, %s:7;", folder_path(&f, "t"));
        assert_contains(d.op.failure.text, place);
        drive_fini(&d);
        assert_true(drive_init(&d, spec));
        drive_cut(&d, (uint64_t)cut);
        d.node.on_error = WEIR_SKIP;
        assert_true(drive_all(&d));
        assert_int_equal(d.count, 18);
        drive_fini(&d);
    }
    folder_remove(&f);
}

static void records_above_the_maximum(void **state)
{
    (void)state;
    folder f = folder_make();
    drive  d;
    size_t n = WR_RECORD_BYTES_MAX + 100000;
    char  *text = malloc(n + 64);
    memset(text, 'x', n);
    memcpy(text, "first\n", 6);
    memcpy(text + n, "\nlast\n", 7);
    file_write_text(folder_path(&f, "t"), text);
    assert_true(drive_init(&d, spec_of(&line_type, uri_of(&f, "t"), NULL)));
    assert_false(drive_all(&d));
    assert_int_equal(d.op.failure.code, WR_BAD_RECORD);
    assert_contains(d.op.failure.text, "which is the maximum");
    assert_contains(d.op.failure.text, "/t:2");
    drive_fini(&d);
    for (int cut = 0; cut < 2; cut++) { /* whole, and with splits that lie within the line */
        wr_endpoint_spec spec = spec_of(&line_type, uri_of(&f, "t"), NULL);
        spec.options = cut ? "split-bytes=3MiB" : "split-bytes=0";
        assert_true(drive_init(&d, spec));
        d.node.on_error = WEIR_SKIP;
        if (!drive_all(&d)) fail_msg("%s", d.op.failure.text);
        assert_int_equal(d.count, 2);
        assert_str(&((const line *)(const void *)d.records)[1].text, "last");
        assert_int_equal(atomic_load(&d.op.stats.bad), cut ? 0 : 1); /* with splits the first reader counted it */
        drive_fini(&d);
    }
    memset(text, 'x', WR_RECORD_BYTES_MAX); /* the longest that fits */
    memcpy(text + WR_RECORD_BYTES_MAX - sizeof(line), "\nlast", 6);
    file_write_text(folder_path(&f, "t"), text);
    assert_true(drive_init(&d, spec_of(&line_type, uri_of(&f, "t"), NULL)));
    if (!drive_all(&d)) fail_msg("%s", d.op.failure.text);
    assert_int_equal(d.count, 2);
    assert_int_equal(((const line *)(const void *)d.records)[0].text.len, WR_RECORD_BYTES_MAX - sizeof(line));
    drive_fini(&d);
    free(text);
    folder_remove(&f);
}

typedef struct sample {
    uint16_t a;
    double   b;
} sample;
static const weir_field sample_fields[] = {FIELD(sample, a, WEIR_U16), FIELD(sample, b, WEIR_F64)};
static const weir_type  sample_type = TYPE(sample, sample_fields);

static void raw_files(void **state)
{
    (void)state;
    folder f = folder_make();
    drive  d;
    char   bytes[10 * 500];
    for (uint32_t i = 0; i < 500; i++) {
        double b = i * 0.5;
        bytes[10 * i] = (char)i;
        bytes[10 * i + 1] = (char)(i >> 8);
        memcpy(bytes + 10 * i + 2, &b, 8);
    }
    file_write_bytes(folder_path(&f, "t"), bytes, sizeof bytes);
    for (int cut = 0; cut < 200; cut += 7) {
        wr_endpoint_spec spec = spec_of(&sample_type, uri_of(&f, "t"), "raw");
        assert_true(drive_init(&d, spec));
        drive_cut(&d, (uint64_t)cut);
        if (!drive_all(&d)) fail_msg("%s", d.op.failure.text);
        assert_int_equal(d.count, 500);
        for (uint32_t i = 0; i < 500; i++) assert_true(((const sample *)(const void *)d.records)[i].b == i * 0.5);
        drive_fini(&d);
    }
    file_write_bytes(folder_path(&f, "t"), bytes, 25);
    assert_true(drive_init(&d, spec_of(&sample_type, uri_of(&f, "t"), "raw")));
    assert_false(drive_all(&d));
    assert_contains(d.op.failure.text, "field b: the record ends after 5 bytes");
    assert_contains(d.op.failure.text, "byte 20");
    drive_fini(&d);
    folder_remove(&f);
}

/* So many that to compare each with each would take minutes. */
static void many_splits(void **state)
{
    (void)state;
    folder f = folder_make();
    drive  d;
    FILE  *file = fopen(folder_path(&f, "t"), "wb");
    assert_non_null(file);
    assert_int_equal(ftruncate(fileno(file), 400 << 20), 0);
    fclose(file);
    assert_true(drive_init(&d, spec_of(&line_type, uri_of(&f, "t?split-bytes=1KiB"), NULL)));
    assert_true(drive_enumerate(&d));
    assert_int_equal(d.enumerator.count, 400 << 10);
    assert_true(wr_enumerator_run(&d.enumerator)); /* again: all of them are known */
    assert_int_equal(d.enumerator.count, 400 << 10);
    drive_fini(&d);
    folder_remove(&f);
}

static void options_are_checked(void **state)
{
    (void)state;
    drive d;
    assert_false(drive_init(&d, spec_of(&line_type, "file:x?split-byte=3", NULL)));
    assert_contains(d.problem.text, "did you mean 'split-bytes'");
    drive_fini(&d);
    assert_false(drive_init(&d, spec_of(&pair_type, "file:x", NULL)));
    assert_contains(d.problem.text, "use .format = WEIR_CSV");
    drive_fini(&d);
    assert_false(drive_init(&d, spec_of(&line_type, "file:x?overwrite=true", NULL)));
    assert_contains(d.problem.text, "option overwrite is for sinks, and this is a source");
    drive_fini(&d);
    assert_false(drive_init(&d, spec_of(&line_type, "file:x?multiline=true", NULL)));
    assert_contains(d.problem.text, "option multiline has no meaning in format text");
    drive_fini(&d);
    for (int bytes = 1; bytes < WR_SPLIT_BYTES_MIN; bytes = 2 * bytes + 1) {
        char uri[64];
        snprintf(uri, sizeof uri, "file:x?split-bytes=%d", bytes);
        assert_false(drive_init(&d, spec_of(&line_type, uri, NULL)));
        assert_contains(d.problem.text, "hardly worth opening a file; give 1024 or more, or 0 for none");
        drive_fini(&d);
    }
    assert_true(drive_init(&d, spec_of(&line_type, "file:x?split-bytes=1KiB", NULL)));
    drive_fini(&d);
    assert_false(drive_init(&d, spec_of(&pair_type, "file:x?skip-blank=true", "raw")));
    assert_contains(d.problem.text, "option skip-blank has no meaning in format raw");
    drive_fini(&d);
    folder f = folder_make();
    file_write_text(folder_path(&f, "t"), "\na\n\r\n\nb\n\n");
    assert_true(drive_init(&d, spec_of(&line_type, uri_of(&f, "t?skip-blank=yes"), NULL)));
    assert_true(drive_all(&d));
    assert_int_equal(d.count, 2);
    drive_fini(&d);
    folder_remove(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_line_once_at_every_cut),
        cmocka_unit_test(positions_are_exact),
        cmocka_unit_test(large_windows_and_long_lines),
        cmocka_unit_test(lists_patterns_and_folders),
        cmocka_unit_test(what_is_not_there_is_named),
        cmocka_unit_test(parts_of_two_files_are_not_mixed),
        cmocka_unit_test(csv_files),
        cmocka_unit_test(bad_records_have_a_place),
        cmocka_unit_test(records_above_the_maximum),
        cmocka_unit_test(raw_files),
        cmocka_unit_test(many_splits),
        cmocka_unit_test(options_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
