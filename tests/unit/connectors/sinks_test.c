/* Sinks: files and folders of parts, print, collect; and weir_encode, weir_decode. */
#include "tests/unit/connectors/drive.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

typedef struct tally {
    weir_str word;
    uint64_t count;
} tally;
static const weir_field tally_fields[] = {FIELD(tally, word, WEIR_STR), FIELD(tally, count, WEIR_U64)};
static const weir_type  tally_type = TYPE(tally, tally_fields);

static const tally some[] = {{{3, "the", {"\0"}}, 7}, {{0, "", {"\0"}}, 0}};

static wr_endpoint_spec spec_of(const char *uri)
{
    return (wr_endpoint_spec){.type = &tally_type, .uri = uri, .sink = true};
}

static const char *uri_of(const folder *f, const char *rest)
{
    static char text[512];
    snprintf(text, sizeof text, "file:%s/%s", f->path, rest);
    return text;
}

static void run(drive *d, const char *uri, uint32_t subtask, uint32_t subtasks, uint32_t n)
{
    if (!drive_init(d, spec_of(uri))) fail_msg("%s", d->problem.text);
    d->subtask = subtask;
    d->subtasks = subtasks;
    if (drive_open(d)) {
        for (uint32_t i = 0; i < n; i++) {
            tally t = {weir_lit("word, longer than twelve"), i};
            drive_write(d, &t, 1);
        }
        wr_op_end(&d->op);
    } else if (d->op.failure.code == WR_OK) {
        d->op.failure = d->problem;
    }
}

static void assert_file(const folder *f, const char *name, const char *text)
{
    char *bytes = file_read_all(folder_path(f, name));
    assert_string_equal(bytes, text);
    free(bytes);
}

static void files_and_folders(void **state)
{
    (void)state;
    folder f = folder_make();
    drive  d;
    run(&d, uri_of(&f, "out.csv?header=true"), 0, 1, 2);
    assert_file(
        &f, "out.csv",
        "word,count\n\"word, longer than twelve\",0\n\"word, longer than twelve\",1\n"); /* flushed at the end */
    drive_close(&d);
    drive_fini(&d);

    run(&d, uri_of(&f, "out.csv"), 0, 1, 1); /* never over what is there, unless told */
    assert_contains(d.op.failure.text, "is there already and has 69 bytes");
    assert_contains(d.op.failure.text, "?overwrite=true");
    drive_close(&d);
    drive_fini(&d);
    run(&d, uri_of(&f, "out.csv?overwrite=true"), 0, 1, 1);
    drive_close(&d);
    drive_fini(&d);
    assert_file(&f, "out.csv", "\"word, longer than twelve\",0\n");

    for (uint32_t i = 3; i-- > 0;) {
        run(&d, uri_of(&f, "parts"), i, 3, i);
        drive_close(&d);
        assert_int_equal(d.op.failure.code, WR_OK);
        drive_fini(&d);
    }
    assert_file(&f, "parts/part-00000", "");
    assert_file(&f, "parts/part-00001", "\"word, longer than twelve\",0\n");
    assert_file(&f, "parts/part-00002", "\"word, longer than twelve\",0\n\"word, longer than twelve\",1\n");
    file_write_text(folder_path(&f, "parts/notes"), "not ours");
    for (uint32_t i = 0; i < 2; i++) { /* fewer subtasks: the old part goes, other files stay */
        run(&d, uri_of(&f, "parts?overwrite=true"), i, 2, 0);
        drive_close(&d);
        drive_fini(&d);
    }
    assert_int_equal(access(folder_path(&f, "parts/part-00002"), F_OK), -1);
    assert_int_equal(access(folder_path(&f, "parts/part-00001"), F_OK), 0);
    assert_file(&f, "parts/notes", "not ours");
    folder_remove(&f);
}

/* Another task may yet refuse the job: opening alone changes nothing, and neither does a cancel then. */
static void what_is_replaced_goes_with_the_first_record(void **state)
{
    (void)state;
    folder f = folder_make();
    drive  d;
    mkdir(folder_path(&f, "parts"), 0777);
    file_write_text(folder_path(&f, "parts/part-00000"), "old\n");
    file_write_text(folder_path(&f, "parts/part-00007"), "older\n");
    for (int i = 0; i < 2; i++) {
        if (!drive_init(&d, spec_of(uri_of(&f, "parts/?overwrite=true&header=true")))) fail_msg("%s", d.problem.text);
        assert_true(drive_open(&d));
        d.op.kernel->flush(&d.op);
        assert_file(&f, "parts/part-00000", "old\n");
        assert_file(&f, "parts/part-00007", "older\n");
        if (i == 1) drive_write(&d, &some[0], 1);
        drive_close(&d);
        drive_fini(&d);
    }
    assert_file(&f, "parts/part-00000", "word,count\nthe,7\n");
    assert_int_equal(access(folder_path(&f, "parts/part-00007"), F_OK), -1);
    run(&d, uri_of(&f, "parts/?overwrite=true"), 0, 1, 0); /* nor does an end without records keep it */
    drive_close(&d);
    drive_fini(&d);
    assert_file(&f, "parts/part-00000", "");
    folder_remove(&f);
}

static void paths_that_cannot_be_written(void **state)
{
    (void)state;
    folder f = folder_make();
    drive  d;
    mkdir(folder_path(&f, "d"), 0777);
    file_write_text(folder_path(&f, "file"), "x");
    const struct {
        const char *path;
        uint32_t    subtasks;
        const char *text;
    } cases[] = {
        {"none/out", 1, "make the folder around it first"},
        {"d", 1, "is a folder, but 1 subtask writes a file"},
        {"file", 2, "is a file, but 2 subtasks write a folder"},
        {"none/out", 2, "cannot make the folder"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        run(&d, uri_of(&f, cases[i].path), 0, cases[i].subtasks, 0);
        assert_contains(d.op.failure.text, cases[i].text);
        assert_contains(d.op.failure.text, "sink it (file:");
        drive_close(&d);
        drive_fini(&d);
    }
    run(&d, uri_of(&f, "d/"), 0, 1, 1); /* a slash at the end asks for a folder */
    drive_close(&d);
    drive_fini(&d);
    assert_file(&f, "d/part-00000", "\"word, longer than twelve\",0\n");
    folder_remove(&f);
}

/* An at-least-once sink opens behind what a killed process has left, and writes `some`. */
static bool goes_on(drive *d, const folder *f, wr_endpoint_spec spec, const char *had, size_t n)
{
    wr_manifest_op saved = {.parallelism = 1};
    file_write_bytes(folder_path(f, "out"), had, n);
    spec.uri = uri_of(f, "out");
    spec.sink = true;
    assert_true(drive_init(d, spec));
    d->node.guarantee = WEIR_AT_LEAST_ONCE;
    d->op = (wr_op){.def = d->node.op, .node = &d->node, .home = &d->home, .endpoint = d->endpoint, .subtasks = 1};
    assert_int_equal(wr_op_init(&d->op, &d->problem), WR_OK);
    assert_int_equal(d->op.kernel->load(&d->op, &saved, "", NULL), WR_OK);
    bool opened = wr_op_open(&d->op, &d->problem) == WR_OK;
    if (opened) drive_write(d, some, 1);
    if (opened) wr_op_end(&d->op);
    drive_close(d);
    drive_fini(d);
    return opened;
}

#define RAW(TEXT) TEXT, sizeof TEXT - 1
static void half_a_record_is_cut_off(void **state)
{
    (void)state;
    static const struct {
        const char *format;
        bool        header;
        const char *had;
        size_t      n, kept;
    } cases[] = {
        {"csv", false, RAW("abc,1"), 0},
        {"csv", false, RAW("ab,2\nabc,1"), 5},
        {"csv", false, RAW("ab,2\n"), 5},
        {"csv", false, RAW(""), 0},
        {"csv", false, RAW("ab,2\n\"two\nlin"), 5}, /* a line break within quotes ends nothing */
        {"csv", false, RAW("\"x\ny\",2\n\"a \"\"b\n"), 8},
        {"csv", true, RAW("word,cou"), 0}, /* the header comes again */
        {"csv", true, RAW("word,count\nab,2\nab"), 16},
        {"raw", false, RAW("\x02\0\0\0ab\x02\0\0\0\0\0\0\0\x09\0\0\0abc"), 14},
        {"raw", false, RAW("\x02\0\0\0ab\x02\0\0\0\0\0\0\0\x09\0"), 14},
        {"raw", false, RAW("\x02\0\0\0ab\x02\0\0\0\0\0\0\0"), 14},
    };
    folder f = folder_make();
    drive  d;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bool  raw = strcmp(cases[i].format, "raw") == 0;
        char  want[128];
        FILE *file = fmemopen(want, sizeof want, "w");
        fwrite(cases[i].had, 1, cases[i].kept, file);
        if (cases[i].header && cases[i].kept == 0) fputs("word,count\n", file);
        if (raw)
            fwrite("\x03\0\0\0the\x07\0\0\0\0\0\0\0", 1, 15, file);
        else
            fputs("the,7\n", file);
        long n = ftell(file);
        fclose(file);
        wr_endpoint_spec spec = {.type = &tally_type, .format = cases[i].format, .header = cases[i].header};
        if (!goes_on(&d, &f, spec, cases[i].had, cases[i].n)) fail_msg("case %zu: %s", i, d.problem.text);
        file = fopen(folder_path(&f, "out"), "rb");
        char got[128];
        assert_int_equal(fread(got, 1, sizeof got, file), n);
        fclose(file);
        assert_memory_equal(got, want, n);
    }
    wr_endpoint_spec spec = {.type = &tally_type, .format = "raw"}; /* no raw record has a string of 4 GiB */
    assert_false(goes_on(&d, &f, spec, "\xff\xff\xff\xff....", 8));
    assert_contains(d.problem.text, "/out does not hold records of format raw");
    folder_remove(&f);
}

static int no_locks(void *self, int file)
{
    (void)self, (void)file;
    return -ENOLCK;
}

/* One more that opens the file: *code is why not. */
static bool opens_too(const char *uri, uint32_t attempt, int (*own)(void *self, int file), wr_err *code)
{
    drive  d;
    wr_env env = *wr_env_real();
    if (own != NULL) env.own = own;
    assert_true(drive_init(&d, spec_of(uri)));
    d.home.env = &env;
    d.home.attempt = attempt;
    bool opened = drive_open(&d);
    *code = d.problem.code;
    if (!opened) assert_contains(d.problem.text, "/out is being written by somebody else");
    drive_close(&d);
    drive_fini(&d);
    return opened;
}

static void one_writer_at_a_time(void **state)
{
    (void)state;
    folder      f = folder_make();
    drive       d;
    wr_err      code;
    const char *uri = uri_of(&f, "out?overwrite=true");
    run(&d, uri, 0, 1, 1);
    assert_int_equal(d.op.failure.code, WR_OK);
    assert_false(opens_too(uri, 0, NULL, &code));
    assert_int_equal(code, WR_BUSY);
    assert_false(opens_too(uri, 1, NULL, &code));
    assert_int_equal(code, WR_BUSY);
    assert_false(opens_too(uri, 2, NULL, &code)); /* whoever has it may be about to end: the job tries again */
    assert_int_equal(code, WR_IO);
    assert_true(opens_too(uri, 0, no_locks, &code)); /* a file system without locks is no reason to write nothing */
    assert_file(&f, "out", "\"word, longer than twelve\",0\n"); /* and what is there was touched by none of them */
    drive_close(&d);
    drive_fini(&d);
    assert_true(opens_too(uri, 0, NULL, &code));
    folder_remove(&f);
}

/* A disk that is full after some bytes. */
static int64_t disk_room;
static int64_t full_write(void *self, int file, const void *from, size_t bytes)
{
    (void)self;
    if (disk_room == 0) return -ENOSPC;
    size_t n = bytes < (size_t)disk_room ? bytes : (size_t)disk_room;
    disk_room -= (int64_t)n;
    return write(file, from, n); /* short, then refused */
}

static void a_full_disk_fails_the_task(void **state)
{
    (void)state;
    folder f = folder_make();
    drive  d;
    wr_env env = *wr_env_real();
    env.write = full_write;
    disk_room = 100;
    assert_true(drive_init(&d, spec_of(uri_of(&f, "out"))));
    d.home.env = &env;
    assert_true(drive_open(&d));
    for (int i = 0; i < 10; i++) drive_write(&d, some, 2);
    wr_op_end(&d.op);
    assert_int_equal(d.op.failure.code, WR_OK); /* 10 * (6 + 2) bytes */
    for (int i = 0; i < 10; i++) drive_write(&d, some, 2);
    wr_op_end(&d.op);
    assert_contains(d.op.failure.text, "No space left on device");
    drive_close(&d);
    drive_fini(&d);
    char *bytes = file_read_all(folder_path(&f, "out"));
    assert_int_equal(strlen(bytes), 100);
    free(bytes);
    folder_remove(&f);
}

static void what_is_written_is_read_again(void **state)
{
    (void)state;
    static const char *const formats[] = {"csv", "raw"};
    folder                   f = folder_make();
    for (int i = 0; i < 2; i++) {
        drive d;
        char *text = malloc(300000);
        memset(text, 'z', 300000);
        tally            many[] = {{weir_str_of(text, 300000), 1}, {weir_lit("\"quoted\""), 2}, {weir_lit("short"), 3}};
        wr_endpoint_spec spec = spec_of(uri_of(&f, "t?overwrite=true"));
        spec.format = formats[i];
        assert_true(drive_init(&d, spec));
        assert_true(drive_open(&d));
        for (int k = 0; k < 20; k++) drive_write(&d, many, 3); /* larger than the buffer */
        wr_op_end(&d.op);
        drive_close(&d);
        drive_fini(&d);
        spec = (wr_endpoint_spec){.type = &tally_type, .uri = uri_of(&f, "t"), .format = formats[i]};
        assert_true(drive_init(&d, spec));
        if (!drive_all(&d)) fail_msg("%s", d.op.failure.text);
        assert_int_equal(d.count, 60);
        for (uint32_t k = 0; k < 60; k++) {
            const tally *t = &((const tally *)(const void *)d.records)[k];
            assert_int_equal(t->count, k % 3 + 1);
            assert_true(weir_str_equal(&t->word, &many[k % 3].word));
        }
        drive_fini(&d);
        free(text);
    }
    folder_remove(&f);
}

/* What is between a sink and a source of the same record and options, whatever the strings are. */
typedef struct way {
    const char *format;
    char        options[64];
    bool        header, multiline;
    const char *fields;
} way;

static weir_str any_text(wr_prng *prng, char *room, bool breaks)
{
    static const char *const pieces[] = {"a", "b c", ",", ";", "\t", "\"", "\"\"", "\xef\xbb\xbf", "\r", "\n", "\r\n"};
    size_t                   n = 0;
    for (uint64_t i = wr_prng_below(prng, 6); i > 0; i--) {
        const char *piece = pieces[wr_prng_below(prng, breaks ? 11 : 8)];
        memcpy(room + n, piece, strlen(piece));
        n += strlen(piece);
    }
    if (wr_prng_one_in(prng, 8)) room[n++] = 0;
    return weir_str_of(room, n);
}

static void there_and_back(const folder *f, wr_prng *prng, const way *w)
{
    enum { MANY = 12 };
    char             text[MANY][64], uri[512];
    tally            t[MANY];
    drive            d;
    wr_endpoint_spec spec = spec_of(uri_of(f, "t?overwrite=true"));
    uint32_t         n = (uint32_t)wr_prng_below(prng, MANY);
    for (uint32_t i = 0; i < n; i++) t[i] = (tally){any_text(prng, text[i], w->multiline), wr_prng_next(prng)};
    spec.format = w->format;
    spec.header = w->header;
    spec.fields = w->fields;
    spec.options = w->options;
    if (!drive_init(&d, spec)) fail_msg("%s", d.problem.text);
    assert_true(drive_open(&d));
    if (n > 0) drive_write(&d, t, n);
    wr_op_end(&d.op);
    drive_close(&d);
    drive_fini(&d);
    bool csv = strcmp(w->format, "csv") == 0;
    snprintf(uri, sizeof uri, "file:%s/t%s", f->path, csv && w->multiline ? "?multiline=true" : "");
    spec.uri = uri;
    spec.sink = false;
    if (!drive_init(&d, spec)) fail_msg("%s", d.problem.text);
    if (!drive_all(&d)) fail_msg("%s", d.op.failure.text);
    assert_int_equal(d.count, n);
    for (uint32_t i = 0; i < n; i++) {
        const tally *back = &((const tally *)(const void *)d.records)[i];
        assert_int_equal(back->count, t[i].count);
        if (!weir_str_equal(&back->word, &t[i].word)) fail_msg("record %u of %u differs", i, n);
    }
    drive_fini(&d);
}

static void any_string_is_read_again(void **state)
{
    (void)state;
    folder  f = folder_make();
    wr_prng prng = wr_prng_of(11);
    char   *longest = malloc(WR_CSV_HEADER_BYTES_MAX), *wide = longest;
    memset(longest, 'x', WR_CSV_HEADER_BYTES_MAX);
    memcpy(longest, "word=", 5);
    longest[5 + 30000] = 0; /* it may need twice as many bytes, as far as is known before */
    for (int round = 0; round < 4000; round++) {
        static const char *const separators[] = {",", ";", "tab"};
        way  w = {.format = wr_prng_one_in(&prng, 4) ? "raw" : "csv", .multiline = wr_prng_one_in(&prng, 2)};
        bool csv = strcmp(w.format, "csv") == 0;
        if (csv) snprintf(w.options, sizeof w.options, "separator=%s", separators[wr_prng_below(&prng, 3)]);
        w.header = csv && wr_prng_one_in(&prng, 2);
        if (csv) w.fields = wr_prng_one_in(&prng, 3) ? "word=\xef\xbb\xbf\"w" : round % 50 == 0 ? wide : NULL;
        there_and_back(&f, &prng, &w);
    }
    drive            d;
    wr_endpoint_spec spec = spec_of(uri_of(&f, "t?overwrite=true"));
    longest[5 + 30000] = 'x';
    longest[5 + 40000] = 0;
    spec.header = true;
    spec.fields = wide;
    assert_false(drive_init(&d, spec));
    assert_contains(d.problem.text,
                    "the header line of record tally may have up to 80017 bytes, and at most 65536 are possible");
    drive_fini(&d);
    free(longest);
    folder_remove(&f);
}

static void prints_lines(void **state)
{
    (void)state;
    folder f = folder_make();
    drive  d;
    fflush(stdout);
    int saved = dup(STDOUT_FILENO), to = open(folder_path(&f, "out"), O_WRONLY | O_CREAT, 0600);
    dup2(to, STDOUT_FILENO);
    close(to);
    run(&d, "print:?prefix=true", 1, 2, 2);
    drive_close(&d);
    drive_fini(&d);
    run(&d, "print:", 0, 1, 1);
    drive_close(&d);
    drive_fini(&d);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    assert_file(
        &f, "out",
        "2> \"word, longer than twelve\",0\n2> \"word, longer than twelve\",1\n\"word, longer than twelve\",0\n");
    assert_false(drive_init(&d, spec_of("print:?to=nowhere")));
    assert_contains(d.problem.text, "option to=nowhere is neither stdout nor stderr");
    drive_fini(&d);
    folder_remove(&f);
}

static void open_beside(drive *d, const drive *first, uint32_t subtask)
{
    assert_true(drive_init(d, spec_of("print:?header=true")));
    d->node.endpoint = d->endpoint = first->endpoint; /* one job, so one endpoint */
    d->subtask = subtask;
    d->subtasks = 3;
    assert_true(drive_open(d));
}

/* Whichever subtask opens first, whoever writes first, and whether it has ended when the next one opens. */
static void the_header_is_the_first_line(void **state)
{
    (void)state;
    folder f = folder_make();
    drive  d[3], whole;
    fflush(stdout);
    int saved = dup(STDOUT_FILENO), to = open(folder_path(&f, "out"), O_WRONLY | O_CREAT | O_APPEND, 0600);
    assert_true(drive_init(&whole, spec_of("print:?header=true")));
    dup2(to, STDOUT_FILENO);
    close(to);
    open_beside(&d[0], &whole, 2);
    open_beside(&d[1], &whole, 1);
    drive_write(&d[1], some, 1);
    wr_op_end(&d[1].op);
    drive_close(&d[1]);
    drive_close(&d[0]);
    open_beside(&d[2], &whole, 0);
    drive_write(&d[2], some + 1, 1);
    wr_op_end(&d[2].op);
    drive_close(&d[2]);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    for (int i = 0; i < 3; i++) drive_fini(&d[i]);
    drive_fini(&whole);
    assert_file(&f, "out", "word,count\nthe,7\n,0\n");
    folder_remove(&f);
}

/* In a pipe, pieces up to PIPE_BUF stay whole even when several subtasks write: never more in one call, unless a line
 * is. */
static size_t  largest_write;
static int64_t noting_write(void *self, int file, const void *from, size_t bytes)
{
    (void)self, (void)file;
    if (bytes > largest_write) largest_write = bytes;
    if (((const char *)from)[bytes - 1] != '\n') fail_msg("a write ends within a line");
    return (int64_t)bytes;
}
static int no_stat(void *self, const char *path, wr_file_info *info)
{
    (void)self, (void)path, (void)info;
    return -ENOENT;
}

static void pipes_get_whole_lines(void **state)
{
    (void)state;
    drive  d;
    wr_env env = *wr_env_real();
    env.write = noting_write;
    env.stat = no_stat;
    assert_true(drive_init(&d, spec_of("print:")));
    d.home.env = &env;
    assert_true(drive_open(&d));
    for (int i = 0; i < 5000; i++) drive_write(&d, some, 2);
    wr_op_end(&d.op);
    assert_in_range(largest_write, 3000, 4096);
    drive_close(&d);
    drive_fini(&d);
}

/* A reader that stands still holds the slot until the task is canceled, and no longer. */
static void a_full_pipe_lets_go_of_a_canceled_task(void **state)
{
    (void)state;
    for (int flags = 0; flags <= O_NONBLOCK; flags += O_NONBLOCK) {
        drive            d;
        int              ends[2];
        char             bytes[4096] = "";
        _Atomic uint32_t command = 0;
        assert_int_equal(pipe(ends), 0);
        fcntl(ends[1], F_SETFL, O_NONBLOCK);
        while (write(ends[1], bytes, sizeof bytes) > 0) {}
        fcntl(ends[1], F_SETFL, flags);
        fflush(stdout);
        int saved = dup(STDOUT_FILENO);
        assert_true(drive_init(&d, spec_of("print:")));
        d.home.command = &command;
        dup2(ends[1], STDOUT_FILENO);
        bool opened = drive_open(&d);
        drive_write(&d, some, 1);
        atomic_store(&command, WR_HOME_CANCEL);
        alarm(20); /* else it would wait for ever */
        d.op.kernel->flush(&d.op);
        alarm(0);
        dup2(saved, STDOUT_FILENO);
        close(saved);
        assert_true(opened);
        assert_int_equal(d.op.failure.code, WR_CANCELED);
        assert_contains(d.op.failure.text, "nobody reads what is written to standard output; sink it");
        drive_close(&d);
        drive_fini(&d);
        close(ends[0]);
        close(ends[1]);
    }
}

static void collects(void **state)
{
    (void)state;
    drive         d;
    tally         t;
    wr_collector *c = wr_collector_new("results", &tally_type, 1000);
    assert_false(wr_collector_take(c, &t));
    run(&d, "collect:results", 0, 1, 3);
    assert_int_equal(wr_collector_count(c), 3);
    for (uint64_t i = 0; i < 3; i++) {
        assert_true(wr_collector_take(c, &t));
        assert_int_equal(t.count, i);
        assert_str(&t.word, "word, longer than twelve");
    }
    assert_false(wr_collector_take(c, &t));
    for (int i = 0; i < 100 && d.op.failure.code == WR_OK; i++) drive_write(&d, some, 2);
    assert_int_equal(d.op.failure.code, WR_LIMIT);
    assert_contains(d.op.failure.text, "more than 1000 bytes");
    drive_close(&d);
    drive_fini(&d);
    wr_collector_free(c);
    run(&d, "collect:results", 0, 1, 0);
    assert_contains(d.op.failure.text, "nobody collects its records");
    drive_close(&d);
    drive_fini(&d);
    run(&d, "blackhole:", 0, 1, 100);
    assert_int_equal(d.op.failure.code, WR_OK);
    drive_close(&d);
    drive_fini(&d);
}

/* A connector as a third party writes it: both public functions, in one loop. */
static void echo_write(weir_ctx *ctx)
{
    for (uint32_t i = 0; i < ctx->n; i++) {
        weir_str text = weir_encode(ctx, &((const tally *)ctx->in)[i]);
        assert_str(&text, i == 0 ? "the,7\n" : ",0\n");
    }
}

static void public_encode(void **state)
{
    (void)state;
    static const weir_op echo = {
        .abi_size = sizeof(weir_op), .kind = WEIR_OP_SINK, .name = "echo", .on_left = echo_write};
    drive d;
    assert_true(drive_init(&d, spec_of("print:")));
    d.node.op = &echo;
    assert_true(drive_open(&d));
    drive_write(&d, some, 2);
    drive_write(&d, some, 2);
    assert_int_equal(d.op.failure.code, WR_OK);
    drive_close(&d);
    drive_fini(&d);
}

static void words_poll(weir_ctx *ctx)
{
    char text[] = "\"a \"\"quoted\"\" word\",1";
    assert_true(weir_decode(ctx, text, strlen(text), "PLACE", 1));
    memset(text, '?', sizeof text - 1); /* the record has copies */
    assert_true(weir_decode(ctx, "short,2", 7, "PLACE", 2));
    assert_false(weir_decode(ctx, "short,x", 7, "PLACE", 3));
    ctx->verdict[0] = WEIR_END;
}

static void words_enumerate(weir_ctx *ctx)
{
    *(line *)(void *)ctx->out[0].next = (line){weir_lit("one")};
    ctx->out[0].next += sizeof(line);
}

static void public_decode(void **state)
{
    (void)state;
    static const weir_op words = {.abi_size = sizeof(weir_op),
                                  .kind = WEIR_OP_SOURCE,
                                  .name = "words",
                                  .outs = 1,
                                  .out = wr_endpoint_out,
                                  .state = &line_type,
                                  .on_left = words_poll,
                                  .enumerate = words_enumerate};
    drive                d;
    assert_true(drive_init(&d, (wr_endpoint_spec){.type = &tally_type, .uri = "stdin:", .format = "csv"}));
    d.node.op = &words;
    assert_false(drive_all(&d));
    assert_contains(d.op.failure.text, "field count: 'x' is not a whole number; operator it, PLACE:3;");
    assert_int_equal(d.count, 2);
    assert_str(&((tally *)(void *)d.records)[0].word, "a \"quoted\" word");
    drive_fini(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_and_folders),
        cmocka_unit_test(what_is_replaced_goes_with_the_first_record),
        cmocka_unit_test(paths_that_cannot_be_written),
        cmocka_unit_test(half_a_record_is_cut_off),
        cmocka_unit_test(one_writer_at_a_time),
        cmocka_unit_test(a_full_disk_fails_the_task),
        cmocka_unit_test(what_is_written_is_read_again),
        cmocka_unit_test(any_string_is_read_again),
        cmocka_unit_test(prints_lines),
        cmocka_unit_test(the_header_is_the_first_line),
        cmocka_unit_test(pipes_get_whole_lines),
        cmocka_unit_test(a_full_pipe_lets_go_of_a_canceled_task),
        cmocka_unit_test(collects),
        cmocka_unit_test(public_encode),
        cmocka_unit_test(public_decode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
