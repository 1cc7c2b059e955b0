/* tests/unit/connectors/drive.h: runs a source or sink by URI through the engine's own operators, in one thread, and
 * keeps what comes out. */
#ifndef WR_TESTS_CONNECTORS_DRIVE_H
#define WR_TESTS_CONNECTORS_DRIVE_H
#include "base/arena.h"
#include "base/prng.h"
#include "base/text.h"
#include "connectors/connectors.h"
#include "connectors/host.h"
#include "connectors/memory.h"
#include "graph/job.h"
#include "operators/enumerate.h"
#include "operators/kernels.h"
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define FIELD(TYPE, NAME, KIND)                                                                                        \
    {                                                                                                                  \
#NAME, offsetof(TYPE, NAME), sizeof(((TYPE *)0)->NAME), KIND, 0, NULL, 0, 0, 0,                                \
        {                                                                                                              \
            0                                                                                                          \
        }                                                                                                              \
    }
#define TYPE(NAME, FIELDS)                                                                                             \
    {                                                                                                                  \
        .abi_size = sizeof(weir_type), .fields = sizeof FIELDS / sizeof FIELDS[0], .name = #NAME,                      \
        .size = sizeof(NAME), .align = _Alignof(NAME), .field = FIELDS                                                 \
    }

typedef struct line {
    weir_str text;
} line;
static const weir_field             line_fields[] = {FIELD(line, text, WEIR_STR)};
WEIR_UNUSED_ static const weir_type line_type = TYPE(line, line_fields);

/* One task at a time. Records that a source emits are kept, with their strings. */
typedef struct drive {
    wr_arena             arena;
    wr_home              home;
    wr_node              node;
    const weir_endpoint *endpoint;
    wr_op                like; /* what the enumerator is made after */
    wr_enumerator        enumerator;
    wr_op                op, taker;
    weir_op              take_def;
    uint32_t             subtask, subtasks;
    char                *records;
    uint32_t             count, room;
    wr_errinfo           problem; /* of the URI */
} drive;

static void take_push(wr_op *op, const wr_view *view, uint32_t port)
{
    (void)port;
    drive           *d = op->kernel_state;
    const weir_type *type = d->node.type;
    if (d->count + view->n > d->room) {
        d->room = 2 * (d->count + view->n);
        d->records = realloc(d->records, (size_t)d->room * type->size);
        assert_non_null(d->records);
    }
    for (uint32_t i = 0; i < view->n; i++) {
        char *to = d->records + (size_t)d->count++ * type->size;
        memcpy(to, view->records + (size_t)i * type->size, type->size);
        for (uint32_t f = 0; f < type->fields; f++) {
            weir_str *str = (weir_str *)(void *)(to + type->field[f].offset);
            if (!wr_kind_is_string(type->field[f].kind) || str->len <= WEIR_STR_INLINE) continue;
            char *copy = wr_arena_copy(&d->arena, str->u.far, str->len);
            assert_memory_equal(str->head, copy, 4);
            str->u.far = copy;
        }
    }
}

static const wr_kernel take_kernel = {.name = "take", .push = take_push};

static void note_problem(void *self, wr_err err, const char *text)
{
    wr_fail(self, err, "%s", text);
}

/* spec: type, uri, and what else a build function says. Problems of the URI or the format are in d->problem. */
WEIR_UNUSED_ static bool drive_init(drive *d, wr_endpoint_spec spec)
{
    size_t n = 0;
    memset(d, 0, sizeof *d);
    wr_arena_init(&d->arena);
    d->home.env = wr_env_real();
    d->home.mono_ns = d->home.env->mono_ns(d->home.env->self);
    d->home.now_ns = d->home.env->wall_ns(d->home.env->self);
    if (spec.name == NULL) spec.name = "it";
    assert_true(wr_uri_scheme(spec.uri, &n));
    const weir_connector *connector = wr_connector_find(spec.uri, n, NULL);
    assert_non_null(connector);
    d->endpoint = wr_endpoint_new(&d->arena, &spec, connector, note_problem, &d->problem);
    if (d->problem.code != WR_OK) return false;
    if (wr_connector_inspect(NULL, d->endpoint, spec.sink, &d->problem) != WR_OK) return false;
    d->node = (wr_node){.kind = spec.sink ? WR_NODE_SINK : WR_NODE_SOURCE,
                        .op = spec.sink ? connector->sink : connector->source,
                        .connector = connector,
                        .endpoint = d->endpoint,
                        .type = spec.type,
                        .uid = spec.name,
                        .name = spec.name,
                        .parallelism = 1,
                        .on_error = WEIR_FAIL};
    d->subtasks = 1;
    return true;
}

/* split-bytes below what a URI may ask for, so that small files are cut everywhere. 0: not at all. */
WEIR_UNUSED_ static void drive_cut(drive *d, uint64_t bytes)
{
    for (uint32_t i = 0; i < d->endpoint->connector->options; i++) {
        if (strcmp(d->endpoint->connector->option[i].name, "split-bytes") == 0)
            ((wr_endpoint_value *)(uintptr_t)d->endpoint->value)[i].number = bytes;
    }
}

/* Opens the reader or writer of one subtask. */
WEIR_UNUSED_ static bool drive_open(drive *d)
{
    d->op = (wr_op){.def = d->node.op,
                    .node = &d->node,
                    .home = &d->home,
                    .endpoint = d->endpoint,
                    .subtask = d->subtask,
                    .subtasks = d->subtasks};
    assert_int_equal(wr_op_init(&d->op, &d->problem), WR_OK);
    d->taker = (wr_op){
        .def = &d->take_def, .node = &d->node, .home = &d->home, .kernel = &take_kernel, .kernel_state = d};
    if (d->op.outs > 0 && d->node.op->kind == WEIR_OP_SOURCE) {
        d->op.emit[0].target = calloc(1, sizeof(wr_target));
        d->op.emit[0].target[0].op = &d->taker;
        d->op.emit[0].targets = 1;
    }
    return wr_op_open(&d->op, &d->problem) == WR_OK;
}

WEIR_UNUSED_ static void drive_close(drive *d)
{
    wr_op_fini(&d->op);
    wr_scratch_reset(&d->home.scratch);
}

WEIR_UNUSED_ static void drive_fini(drive *d)
{
    if (d->enumerator.op.home != NULL) wr_enumerator_fini(&d->enumerator);
    wr_scratch_fini(&d->home.scratch);
    wr_arena_fini(&d->arena);
    free(d->records);
}

/* Makes the splits; they are in d->enumerator.split. */
WEIR_UNUSED_ static bool drive_enumerate(drive *d)
{
    d->like = (wr_op){.def = d->node.op, .node = &d->node, .home = &d->home, .endpoint = d->endpoint, .subtasks = 1};
    assert_int_equal(wr_enumerator_init(&d->enumerator, &d->like, &d->problem), WR_OK);
    return wr_enumerator_run(&d->enumerator);
}

/* Polls once; the clock goes on as the slot's would. */
WEIR_UNUSED_ static enum wr_polled drive_poll(drive *d)
{
    d->home.mono_ns = d->home.env->mono_ns(d->home.env->self);
    return wr_source_poll(&d->op);
}

/* Reads one split to its end. False: it failed; see d->op.failure. */
WEIR_UNUSED_ static bool drive_read(drive *d, const void *split)
{
    assert_true(drive_open(d));
    wr_source_add(&d->op, split);
    while (!wr_op_failed(&d->op) && drive_poll(d) != WR_POLLED_EMPTY) {}
    bool ok = !wr_op_failed(&d->op);
    drive_close(d);
    return ok;
}

/* Everything: all splits one after the other. */
WEIR_UNUSED_ static bool drive_all(drive *d)
{
    if (!drive_enumerate(d)) {
        d->op.failure = d->enumerator.op.failure;
        return false;
    }
    for (uint32_t i = 0; i < d->enumerator.count; i++) {
        if (!drive_read(d, d->enumerator.split[i])) return false;
    }
    return true;
}

/* Writes n records into a sink. */
WEIR_UNUSED_ static void drive_write(drive *d, const void *records, uint32_t n)
{
    wr_view view = {.records = records, .n = n};
    wr_op_push(&d->op, &view, 0);
}

/* ---- files in a folder of their own ------------------------------------------------------------------------------ */

typedef struct folder {
    char path[64];
} folder;

WEIR_UNUSED_ static folder folder_make(void)
{
    folder f = {"/tmp/weir-test-XXXXXX"};
    assert_non_null(mkdtemp(f.path));
    return f;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *at)
{
    (void)info, (void)kind, (void)at;
    return remove(path);
}

WEIR_UNUSED_ static void folder_remove(const folder *f)
{
    assert_int_equal(nftw(f->path, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

/* "PATH/name", in a ring of buffers: good for a few calls. */
WEIR_UNUSED_ static const char *folder_path(const folder *f, const char *name)
{
    static char text[16][256];
    static int  next;
    char       *to = text[next++ % 16];
    snprintf(to, sizeof text[0], "%s/%s", f->path, name);
    return to;
}

WEIR_UNUSED_ static void file_write_bytes(const char *path, const char *bytes, size_t n)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    fclose(file);
}

WEIR_UNUSED_ static void file_write_text(const char *path, const char *text)
{
    file_write_bytes(path, text, strlen(text));
}

/* Ended by a zero byte; the caller frees. */
WEIR_UNUSED_ static char *file_read_all(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) fail_msg("%s is not there", path);
    char  *bytes = calloc(1, 1 << 20);
    size_t n = fread(bytes, 1, (1 << 20) - 1, file);
    bytes[n] = 0;
    fclose(file);
    return bytes;
}

WEIR_UNUSED_ static void assert_str(const weir_str *str, const char *text)
{
    assert_int_equal(str->len, strlen(text));
    assert_memory_equal(weir_str_data(str), text, str->len);
}

WEIR_UNUSED_ static void assert_contains(const char *text, const char *part)
{
    if (strstr(text, part) == NULL) fail_msg("\"%s\" does not contain \"%s\"", text, part);
}

#endif
