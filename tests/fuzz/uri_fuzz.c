/* URIs with options, .options and .fields of a source or sink: any text gives an endpoint or complaints in words,
 * and an endpoint without complaints is one that its connector and its format take. */
#include "base/arena.h"
#include "base/text.h"
#include "connectors/connectors.h"
#include "connectors/format.h"
#include "tests/fuzz/fuzz.h"

typedef struct event {
    weir_str  name, note;
    weir_time at;
    uint32_t  count;
} event;
static const weir_field event_fields[] = {FUZZ_FIELD(event, name, WEIR_STR), FUZZ_FIELD(event, at, WEIR_TIME),
                                          FUZZ_FIELD(event, count, WEIR_U32), FUZZ_FIELD(event, note, WEIR_STR)};
static const weir_type  event_type = FUZZ_TYPE(event, event_fields);

static const weir_option_def options[] = {{"text", WEIR_OPTION_STR, 0, NULL, NULL},
                                          {"flag", WEIR_OPTION_BOOL, 0, "yes", NULL},
                                          {"count", WEIR_OPTION_U64, 0, "7", "help"},
                                          {"bytes", WEIR_OPTION_BYTES, 0, "64KiB", NULL},
                                          {"after", WEIR_OPTION_DURATION, 0, NULL, "help"}};
static const weir_connector  every_kind = {.magic = WEIR_CONNECTOR_MAGIC,
                                           .abi = WEIR_ABI,
                                           .size = sizeof(weir_connector),
                                           .scheme = "every",
                                           .source_formats = "csv text raw",
                                           .sink_formats = " raw csv",
                                           .option = options,
                                           .options = sizeof options / sizeof options[0]};

static void complain(void *self, wr_err err, const char *text)
{
    must(err != WR_OK && text[0] != 0 && strlen(text) < WR_ERROR_BYTES_MAX);
    ++*(uint32_t *)self;
}

/* %41 is A; what is behind a complaint does not matter. */
static void path_like_naive(const weir_endpoint *e)
{
    const char *at = strchr(e->uri, ':') + 1, *to = e->path;
    if (at[0] == '/' && at[1] == '/') at += 2;
    for (; *at != 0 && *at != '?'; at++, to++) {
        unsigned code = (unsigned char)*at;
        if (*at == '%') must(sscanf(at + 1, "%2x", &code) == 1);
        must((unsigned char)*to == code);
        if (*at == '%') at += 2;
    }
    must(*to == 0);
}

static void values(const weir_endpoint *e)
{
    const weir_connector *c = e->connector;
    for (uint32_t i = 0; i < c->options; i++) {
        const wr_endpoint_value *v = &e->value[i];
        uint64_t                 number = 0;
        int64_t                  ns = 0;
        bool                     flag = false;
        must(!v->given || v->text != NULL);
        must(v->given || v->text == c->option[i].otherwise);
        if (v->text == NULL) continue;
        size_t n = strlen(v->text);
        switch (c->option[i].kind) {
        case WEIR_OPTION_BOOL: must(wr_text_to_bool(v->text, n, &flag) && v->number == flag); break;
        case WEIR_OPTION_U64: must(wr_text_to_u64(v->text, n, &number) && v->number == number); break;
        case WEIR_OPTION_BYTES: must(wr_text_to_size(v->text, n, &number) && v->number == number); break;
        case WEIR_OPTION_DURATION: must(wr_text_to_duration(v->text, n, &ns) && v->number == (uint64_t)ns); break;
        default: must(v->number == 0);
        }
        must(weir_endpoint_str(e, c->option[i].name) == v->text);
    }
}

static void fields(const weir_endpoint *e)
{
    for (uint32_t i = 0; i < e->type->fields; i++) {
        must(e->field[i].name != NULL && e->field[i].name[0] != 0);
        must(e->field[i].unit <= WR_UNIT_ISO);
        must(e->field[i].unit == WR_UNIT_NONE || e->type->field[i].kind == WEIR_TIME);
        for (uint32_t k = 0; k < i; k++) must(strcmp(e->field[i].name, e->field[k].name) != 0);
    }
}

static void whole(const weir_endpoint *e, bool sink)
{
    wr_errinfo info = {0};
    size_t     n;
    path_like_naive(e);
    must(wr_uri_scheme(e->uri, &n));
    if (e->connector == NULL) return;
    values(e);
    fields(e);
    if (e->format != NULL) {
        const char *list = sink ? e->connector->sink_formats : e->connector->source_formats;
        must(strstr(list, e->format) != NULL && wr_format_find(e->format) != NULL);
    }
    if (wr_connector_inspect(NULL, e, sink, &info) != WR_OK) must(info.text[0] != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const char *const given_format[] = {NULL, "csv", "text", "raw", "json", "cvs"};
    input                    in = {bytes, bytes + size};
    uint8_t                  flags = take_u8(&in), what = take_u8(&in);
    char                    *uri = take_text(&in, '\n'), *more = take_text(&in, '\n'), *mapped = take_text(&in, 0);
    wr_arena                 arena = {0};
    uint32_t                 complaints = 0;
    size_t                   n = 0;
    wr_endpoint_spec         spec = {.name = "it",
                                     .uri = uri,
                                     .format = given_format[what % 6],
                                     .fields = mapped,
                                     .options = more,
                                     .separator = flags & 1 ? ';' : 0,
                                     .header = flags & 2,
                                     .sink = flags & 4,
                                     .replaced = flags & 8,
                                     .type = &event_type};
    const weir_connector    *connector = NULL;
    const char              *meant = NULL;
    if (wr_uri_scheme(uri, &n)) {
        must(n > 0 && uri[n] == ':');
        connector = n == 5 && memcmp(uri, "every", 5) == 0 ? &every_kind : wr_connector_find(uri, n, &meant);
        const weir_endpoint *e = wr_endpoint_new(&arena, &spec, connector, complain, &complaints);
        must(e != NULL && strcmp(e->uri, uri) == 0);
        if (complaints == 0) whole(e, spec.sink);
    }
    wr_arena_fini(&arena);
    free(uri);
    free(more);
    free(mapped);
    return 0;
}
