/* Whole files through the file source, in one piece; cut into splits, read a few bytes at a time and taken up again at
 * positions in between; through standard input; and line by line in a plain loop. The same records must come out. */
#include "base/arena.h"
#include "connectors/connectors.h"
#include "connectors/host.h"
#include "operators/enumerate.h"
#include "operators/kernels.h"
#include "tests/fuzz/memory.h"
#include <fcntl.h>
#include <unistd.h>

typedef struct line {
    weir_str text;
} line;
static const weir_field line_fields[] = {FUZZ_FIELD(line, text, WEIR_STR)};
static const weir_type  line_type = FUZZ_TYPE(line, line_fields);

typedef struct row {
    weir_str name, note;
    int32_t  number;
} row;
static const weir_field row_fields[] = {FUZZ_FIELD(row, name, WEIR_STR), FUZZ_FIELD(row, number, WEIR_I32),
                                        FUZZ_FIELD(row, note, WEIR_STR)};
static const weir_type  row_type = FUZZ_TYPE(row, row_fields);

typedef struct pair {
    uint16_t first;
    uint8_t  second;
} pair;
static const weir_field pair_fields[] = {FUZZ_FIELD(pair, first, WEIR_U16), FUZZ_FIELD(pair, second, WEIR_U8)};
static const weir_type  pair_type = FUZZ_TYPE(pair, pair_fields);

/* How a file is read. */
typedef struct way {
    uint32_t split_bytes, read_max;
    uint32_t capacity; /* records of one poll; 0: as the engine has it */
    uint32_t polls;    /* then the split is closed and opened again; 0: never */
    bool     header, multiline, skip_blank, pipe;
} way;

/* What came out, in raw or as text. */
typedef struct got {
    const wr_codec *codec;
    char           *bytes;
    size_t          n, room;
    uint32_t        records;
    bool            failed;
} got;

static void got_add(got *g, const void *record)
{
    size_t bound = g->codec->format->bound(g->codec, record);
    if (g->n + bound > g->room) {
        g->room = 2 * (g->n + bound);
        g->bytes = realloc(g->bytes, g->room);
        must(g->bytes != NULL);
    }
    g->n = (size_t)(g->codec->format->encode(g->codec, record, g->bytes + g->n) - g->bytes);
    g->records++;
}

static void take_push(wr_op *op, const wr_view *view, uint32_t port)
{
    got *g = op->kernel_state;
    (void)port;
    for (uint32_t i = 0; i < view->n; i++) got_add(g, view->records + (size_t)i * g->codec->type->size);
}

static const wr_kernel take_kernel = {.name = "take", .push = take_push};

/* ---- through the source ------------------------------------------------------------------------------------------ */

/* Caller's storage, one thread. */
typedef struct task {
    wr_home       home;
    wr_node       node;
    wr_enumerator splits;
    wr_op         op, taker;
    weir_op       take_def;
} task;

static void task_open(task *t, const way *w, got *g)
{
    wr_errinfo info = {0};
    t->op = (wr_op){.def = t->node.op, .node = &t->node, .home = &t->home, .endpoint = t->node.endpoint, .subtasks = 1};
    must(wr_op_init(&t->op, &info) == WR_OK);
    t->taker = (wr_op){
        .def = &t->take_def, .node = &t->node, .home = &t->home, .kernel = &take_kernel, .kernel_state = g};
    t->op.emit[0].target = calloc(1, sizeof(wr_target));
    must(t->op.emit[0].target != NULL);
    t->op.emit[0].target[0].op = &t->taker;
    t->op.emit[0].targets = 1;
    if (w->capacity > 0) t->op.emit[0].capacity = w->capacity;
    must(wr_op_open(&t->op, &info) == WR_OK);
}

/* One split; with w->polls by a new reader every few polls, as if the job had been restored there. */
static void task_read(task *t, const way *w, const void *split, got *g)
{
    char   at[512];
    size_t bytes = t->node.op->state->size, numbers = 2 * sizeof(weir_str); /* behind its two strings, which stay */
    bool   ended = false;
    must(bytes <= sizeof at);
    memcpy(at, split, bytes);
    for (uint32_t rounds = 0; !ended && !g->failed; rounds++) {
        must(rounds < 1 << 20); /* gets on */
        task_open(t, w, g);
        wr_source_add(&t->op, at);
        /* A poll that found no whole record in so few bytes does not count: a new reader would begin again. */
        for (uint32_t moved = 0; !ended && !wr_op_failed(&t->op) && (w->polls == 0 || moved < w->polls);) {
            uint64_t before = t->op.emit[0].records;
            ended = wr_source_poll(&t->op) == WR_POLLED_EMPTY;
            moved += t->op.emit[0].records > before;
        }
        g->failed = wr_op_failed(&t->op);
        if (g->failed) must(t->op.failure.text[0] != 0);
        if (!ended && !g->failed) memcpy(at + numbers, (const char *)t->op.ctx.state[0] + numbers, bytes - numbers);
        wr_op_fini(&t->op);
    }
}

static void no_problem(void *self, wr_err err, const char *text)
{
    (void)self, (void)err;
    fprintf(stderr, "%s\n", text);
    must(!"an endpoint that is right is refused");
}

static void read_source(const weir_type *type, const char *format, const way *w, memory *m, got *g)
{
    wr_arena         arena = {0};
    char             options[128];
    task            *t = calloc(1, sizeof *t);
    wr_endpoint_spec spec = {.name = "it", .format = format, .options = options, .header = w->header, .type = type};
    const weir_connector *connector = w->pipe ? &wr_connector_stdin : &wr_connector_file;
    must(t != NULL);
    spec.uri = w->pipe ? "stdin:" : "file:f";
    int n = w->pipe ? 0 : snprintf(options, sizeof options, "split-bytes=%u", w->split_bytes);
    snprintf(options + n, sizeof options - (size_t)n, "%s%s", w->multiline ? " multiline=true" : "",
             w->skip_blank ? " skip-blank=true" : "");
    m->read_max = w->read_max;
    m->taken = 0;
    t->home.env = &m->env;
    t->node = (wr_node){.kind = WR_NODE_SOURCE,
                        .op = connector->source,
                        .connector = connector,
                        .type = type,
                        .uid = "it",
                        .name = "it",
                        .parallelism = 1,
                        .on_error = WEIR_SKIP};
    t->node.endpoint = wr_endpoint_new(&arena, &spec, connector, no_problem, NULL);
    t->op = (wr_op){.def = t->node.op, .node = &t->node, .home = &t->home, .endpoint = t->node.endpoint};
    must(wr_enumerator_init(&t->splits, &t->op, NULL) == WR_OK);
    must(wr_enumerator_run(&t->splits));
    for (uint32_t i = 0; i < t->splits.count && !g->failed; i++) task_read(t, w, t->splits.split[i], g);
    must(m->open == 0);
    wr_enumerator_fini(&t->splits);
    wr_scratch_fini(&t->home.scratch);
    wr_arena_fini(&arena);
    free(t);
}

/* ---- in a plain loop --------------------------------------------------------------------------------------------- */

static void naive_lines(const way *w, const memory_file *file, got *g)
{
    const wr_codec *codec = g->codec;
    bool            csv = strcmp(codec->format->name, "csv") == 0, first = true;
    size_t          at = csv && file->n >= 3 && memcmp(file->bytes, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    wr_reason       reason;
    wr_layout       layout;
    if (file->n == 0) return; /* no split, so nobody looks for a header */
    wr_layout_init(&layout, codec);
    for (; at < file->n || (first && w->header); first = false) {
        const char       *newline = memchr(file->bytes + at, '\n', file->n - at);
        size_t            end = newline != NULL ? (size_t)(newline - file->bytes) : file->n, n = end - at;
        const char       *bytes = file->bytes + at;
        _Alignas(16) char record[64] = {0};
        char             *scratch = malloc(n + 1);
        must(scratch != NULL && codec->type->size <= sizeof record);
        at = newline != NULL ? end + 1 : end;
        if (n > 0 && bytes[n - 1] == '\r') n--;
        if (first && w->header)
            g->failed = !wr_layout_of_header(&layout, codec, bytes, n, &reason);
        else if (!(w->skip_blank && n == 0) &&
                 codec->format->decode(codec, &layout, bytes, n, record, scratch, &reason))
            got_add(g, record);
        free(scratch);
        if (g->failed) return;
    }
}

static void compare(const got *a, const got *b)
{
    must(a->failed == b->failed);
    if (a->failed) return;
    must(a->records == b->records && a->n == b->n);
    must(a->n == 0 || memcmp(a->bytes, b->bytes, a->n) == 0);
}

/* Standard input is asked whether it has bytes before it is read: the empty file always says yes. */
static void input_is_ready(void)
{
    static bool done;
    if (done) return;
    int file = open("/dev/null", O_RDONLY | O_CLOEXEC);
    must(file >= 0 && dup2(file, STDIN_FILENO) == STDIN_FILENO);
    if (file != STDIN_FILENO) close(file);
    done = true;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const weir_type *const types[] = {&line_type, &row_type, &pair_type, &row_type};
    static const char *const      formats[] = {"text", "csv", "raw", "raw"};
    input                         in = {bytes, bytes + size};
    uint8_t                       flags = take_u8(&in), kind = flags & 3;
    way                           cut = {.header = kind == 1 && flags & 4,
                                         .multiline = kind == 1 && flags & 8,
                                         .skip_blank = kind < 2 && flags & 16,
                                         .split_bytes = take_u8(&in)};
    uint8_t                       steps = take_u8(&in);
    cut.read_max = 1 + (steps & 15);
    cut.capacity = 1 + (steps >> 4 & 3);
    cut.polls = steps >> 6;
    way           whole = cut;
    memory        m;
    wr_codec     *codec;
    memory_file   file = {"f", own(in.at, rest(&in)), rest(&in)};
    wr_codec_spec spec = {
        .type = types[kind], .format = formats[kind], .header = cut.header, .multiline = cut.multiline};
    input_is_ready();
    must(wr_codec_new(&codec, &spec, NULL) == WR_OK);
    whole.split_bytes = whole.read_max = whole.capacity = whole.polls = 0;
    memory_init(&m, &file, 1);

    got a = {.codec = codec}, b = {.codec = codec}, c = {.codec = codec}, d = {.codec = codec};
    read_source(spec.type, spec.format, &whole, &m, &a);
    read_source(spec.type, spec.format, &cut, &m, &b);
    compare(&a, &b);
    cut.pipe = true;
    cut.polls = 0; /* it cannot be read twice */
    read_source(spec.type, spec.format, &cut, &m, &d);
    compare(&a, &d);
    if (kind < 2 && !cut.multiline) {
        naive_lines(&whole, &file, &c);
        compare(&a, &c);
    }
    free(a.bytes);
    free(b.bytes);
    free(c.bytes);
    free(d.bytes);
    free((char *)(uintptr_t)file.bytes);
    wr_codec_free(codec);
    return 0;
}
