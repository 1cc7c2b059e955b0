#include "graph/endpoint.h"
#include "base/check.h"
#include "base/text.h"
#include <stdarg.h>
#include <stdio.h>

enum { FORMAT, HEADER, SEPARATOR, COMMON_OPTIONS };
static const char *const common_options[COMMON_OPTIONS] = {"format", "header", "separator"};

/* One parse. Arena of the job; one thread. */
typedef struct wr_parse {
    wr_arena               *arena;
    const wr_endpoint_spec *spec;
    const weir_connector   *connector; /* or NULL */
    weir_endpoint          *e;
    wr_endpoint_value      *value;
    wr_endpoint_bad        *bad;
    void                   *self;
    const char             *format;                 /* from the URI */
    bool                    csv_said;               /* .header or .separator */
    const char             *common[COMMON_OPTIONS]; /* as given: in the URI or in .options */
} wr_parse;

__attribute__((format(printf, 3, 4))) static void bad(wr_parse *s, wr_err err, const char *format, ...)
{
    char    text[WR_ERROR_BYTES_MAX];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    s->bad(s->self, err, text);
}

/* ---- text -------------------------------------------------------------------------------------------------------- */

static int hex(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* %41 becomes A. A % that two hex digits do not follow, and %00, are reported and stay as they are. */
static char *decode(wr_parse *s, const char *text, size_t n)
{
    char  *made = wr_arena_copy(s->arena, text, n);
    size_t to = 0;
    for (size_t i = 0; i < n; i++) {
        int high = -1, low = -1;
        if (text[i] == '%' && i + 2 < n) {
            high = hex(text[i + 1]);
            low = hex(text[i + 2]);
        }
        if (text[i] == '%' && (high < 0 || low < 0 || (!high && !low))) {
            bad(s, WR_URI, "'%.*s' has a '%%' that no two hex digits follow; write %%25 for the sign itself", (int)n,
                text);
            return made;
        }
        if (text[i] == '%') {
            made[to++] = (char)(high * 16 + low);
            i += 2;
        } else {
            made[to++] = text[i];
        }
    }
    made[to] = 0;
    return made;
}

bool wr_uri_scheme(const char *uri, size_t *n)
{
    size_t i = 0;
    while ((uri[i] >= 'a' && uri[i] <= 'z') ||
           (i && ((uri[i] >= '0' && uri[i] <= '9') || uri[i] == '+' || uri[i] == '-' || uri[i] == '.'))) {
        i++;
    }
    if (i == 0 || uri[i] != ':') return false;
    *n = i;
    return true;
}

/* Whether the n bytes of word are one of the words in list, which blanks part. */
static bool listed(const char *list, const char *word)
{
    size_t n = strlen(word);
    while (list && *(list += strspn(list, " "))) {
        size_t have = strcspn(list, " ");
        if (have == n && memcmp(list, word, n) == 0) return true;
        list += have;
    }
    return false;
}

static const char *first_of(wr_parse *s, const char *list)
{
    if (!list) return NULL;
    list += strspn(list, " ");
    size_t n = strcspn(list, " ");
    return n ? wr_arena_copy(s->arena, list, n) : NULL;
}

static const char *meant(wr_parse *s, const char *word, const char *const *names, size_t count)
{
    const char *name = wr_did_you_mean(word, names, count);
    return name ? wr_arena_printf(s->arena, "; did you mean '%s'?", name) : "";
}

/* ---- options ----------------------------------------------------------------------------------------------------- */

static void parse_value(wr_parse *s, const weir_option_def *def, wr_endpoint_value *v)
{
    static const char *const wanted[] = {
        [WEIR_OPTION_BOOL] = "true or false",
        [WEIR_OPTION_U64] = "a whole number, 0 or more",
        [WEIR_OPTION_BYTES] = "a size such as 4096, 64KiB or 1GiB",
        [WEIR_OPTION_DURATION] = "a duration such as 250ms or 5s",
    };
    size_t   n = strlen(v->text);
    uint64_t number = 0;
    int64_t  ns = 0;
    bool     yes = false, good = true;
    switch (def->kind) {
    case WEIR_OPTION_STR: return;
    case WEIR_OPTION_BOOL: good = wr_text_to_bool(v->text, n, &yes); break;
    case WEIR_OPTION_U64: good = wr_text_to_u64(v->text, n, &number); break;
    case WEIR_OPTION_BYTES: good = wr_text_to_size(v->text, n, &number); break;
    case WEIR_OPTION_DURATION: good = wr_text_to_duration(v->text, n, &ns) && ns >= 0; break;
    default:
        bad(s, WR_OPTION, "option '%s' of '%s:' has kind %u, which is none; correct the connector", def->name,
            s->connector->scheme, def->kind);
        return;
    }
    if (!good) {
        bad(s, WR_OPTION, "option %s=%s is not %s; %s", def->name, v->text, wanted[def->kind],
            def->help ? def->help : "correct it");
        return;
    }
    v->number = def->kind == WEIR_OPTION_BOOL ? yes : def->kind == WEIR_OPTION_DURATION ? (uint64_t)ns : number;
}

static void set_common(wr_parse *s, const char *name, const char *value)
{
    if (strcmp(name, "format") == 0) {
        s->format = value;
    } else if (strcmp(name, "header") == 0) {
        s->csv_said = true;
        if (!wr_text_to_bool(value, strlen(value), &s->e->header)) {
            bad(s, WR_OPTION, "option header=%s is not true or false; correct it", value);
        }
    } else {
        s->csv_said = true;
        s->e->separator = strcmp(value, "tab") == 0 ? '\t' : value[0];
        if (strcmp(value, "tab") != 0 && strlen(value) != 1) {
            bad(s, WR_OPTION, "option separator=%s is not one character; correct it, or write tab", value);
        }
    }
}

static void unknown_option(wr_parse *s, const char *name)
{
    const char *names[WR_OPTIONS_MAX + COMMON_OPTIONS];
    size_t      count = 0;
    char        all[WR_ERROR_BYTES_MAX / 2] = "";
    size_t      used = 0;
    for (uint32_t i = 0; i < s->connector->options && count < WR_OPTIONS_MAX; i++) {
        names[count++] = s->connector->option[i].name;
    }
    for (size_t i = 0; i < COMMON_OPTIONS; i++) names[count++] = common_options[i];
    for (size_t i = 0; i < count && used < sizeof all; i++) {
        used += (size_t)snprintf(all + used, sizeof all - used, "%s%s", i ? ", " : "", names[i]);
    }
    bad(s, WR_OPTION, "'%s:' has no option '%s'%s; it has %s", s->connector->scheme, name, meant(s, name, names, count),
        all);
}

/* "name=value" of n bytes, with %.. in both. */
static void option(wr_parse *s, const char *text, size_t n)
{
    const char *equal = memchr(text, '=', n);
    if (!equal || equal == text) {
        bad(s, WR_URI, "option '%.*s' has no value; write name=value", (int)n, text);
        return;
    }
    const char *name = decode(s, text, (size_t)(equal - text));
    const char *value = decode(s, equal + 1, n - (size_t)(equal + 1 - text));
    bool        common = false, own = false;
    for (size_t i = 0; i < COMMON_OPTIONS; i++) {
        if (strcmp(name, common_options[i]) != 0) continue;
        common = true;
        if (s->common[i]) {
            bad(s, WR_OPTION, "option '%s' stands twice (%s and %s); give it once", name, s->common[i], value);
            return;
        }
        s->common[i] = value;
    }
    if (common) set_common(s, name, value);
    if (!s->connector) return;
    for (uint32_t i = 0; i < s->connector->options; i++) {
        const weir_option_def *def = &s->connector->option[i];
        wr_endpoint_value     *v = &s->value[i];
        if (strcmp(name, def->name) != 0) continue;
        own = true;
        if (v->given) {
            bad(s, WR_OPTION, "option '%s' stands twice (%s and %s); give it once", name, v->text, value);
            break;
        }
        v->given = true;
        v->text = value;
        parse_value(s, def, v);
        break;
    }
    if (!own && !common) unknown_option(s, name);
}

static void options(wr_parse *s, const char *text, const char *part)
{
    uint32_t count = 0;
    while (text && *(text += strspn(text, part))) {
        size_t n = strcspn(text, part);
        if (count++ == WR_OPTIONS_MAX) {
            bad(s, WR_LIMIT, "it has more than %d options; give fewer", WR_OPTIONS_MAX);
            return;
        }
        option(s, text, n);
        text += n;
    }
}

static void defaults(wr_parse *s)
{
    if (!s->connector) return;
    for (uint32_t i = 0; i < s->connector->options; i++) {
        const weir_option_def *def = &s->connector->option[i];
        if (s->value[i].given || !def->otherwise) continue;
        s->value[i].text = def->otherwise;
        parse_value(s, def, &s->value[i]);
    }
}

/* ---- format and fields ------------------------------------------------------------------------------------------- */

static bool is_format(const wr_parse *s, const char *name)
{
    return s->e->format && strcmp(s->e->format, name) == 0;
}

static void choose_format(wr_parse *s)
{
    const char *wanted = s->format ? s->format : s->spec->format;
    if (!s->connector) {
        s->e->format = wanted ? wr_arena_str(s->arena, wanted) : NULL;
        return;
    }
    const char *list = s->spec->sink ? s->connector->sink_formats : s->connector->source_formats;
    s->e->format = first_of(s, list);
    /* What was written for the URI that --set replaced is dropped where it does not fit. */
    bool old = s->spec->replaced && !s->format;
    if (!wanted) return;
    if (!s->e->format) {
        if (!old) bad(s, WR_FORMAT, "'%s:' takes no format; leave .format out", s->connector->scheme);
    } else if (listed(list, wanted)) {
        s->e->format = wr_arena_str(s->arena, wanted);
    } else if (old) {
        return;
    } else if (strcmp(wanted, WEIR_JSON) == 0 || strcmp(wanted, WEIR_MSGPACK) == 0) {
        bad(s, WR_NOT_YET, "format %s does not run yet; '%s:' takes %s", wanted, s->connector->scheme, list);
    } else {
        bad(s, WR_FORMAT, "'%s:' has no format '%s'; it takes %s", s->connector->scheme, wanted, list);
    }
}

static void check_csv_options(wr_parse *s)
{
    if (!s->e->separator) s->e->separator = ',';
    if (!s->csv_said || !s->connector || is_format(s, WEIR_CSV)) return;
    /* What the pipeline said of the URI that --set replaced is dropped; what stands in the new one was meant for it. */
    if (s->spec->replaced && s->common[HEADER] == NULL && s->common[SEPARATOR] == NULL) {
        s->e->header = false;
        s->e->separator = ',';
        return;
    }
    bad(s, WR_OPTION,
        "header and separator are for CSV, but its format is %s; add .format = WEIR_CSV or ?format=csv, or leave them "
        "out",
        s->e->format ? s->e->format : "none");
}

static uint32_t unit_of(const char *text)
{
    static const char *const names[] = {"", "s", "ms", "us", "ns", "iso"};
    for (uint32_t i = 1; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(text, names[i]) == 0) return i;
    }
    return WR_UNIT_NONE;
}

/* "at=@timestamp:ms": one field of .fields, without blanks around it. */
static void map_field(wr_parse *s, wr_endpoint_field *fields, const char *text, size_t n)
{
    const weir_type *type = s->spec->type;
    const char      *names[WR_FIELDS_MAX];
    char            *name = wr_arena_copy(s->arena, text, n), *equal = strchr(name, '=');
    if (!equal || equal == name || !equal[1]) {
        bad(s, WR_OPTION, ".fields has '%s'; write FIELD=NAME or FIELD=NAME:UNIT, parted by commas", name);
        return;
    }
    *equal = 0;
    char    *outside = equal + 1, *colon = strrchr(outside, ':');
    uint32_t at = 0, unit = colon ? unit_of(colon + 1) : WR_UNIT_NONE;
    for (; at < type->fields && at < WR_FIELDS_MAX; at++) {
        names[at] = type->field[at].name;
        if (strcmp(names[at], name) == 0) break;
    }
    if (at == type->fields || at == WR_FIELDS_MAX) {
        bad(s, WR_OPTION, ".fields names '%s', which record '%s' does not have%s", name, type->name,
            meant(s, name, names, at));
        return;
    }
    if (unit && type->field[at].kind != WEIR_TIME) {
        bad(s, WR_OPTION, ".fields gives '%s' a unit, but it is no weir_time; leave ':%s' out", name, colon + 1);
    }
    if (unit) *colon = 0;
    if (!*outside) {
        bad(s, WR_OPTION, ".fields gives '%s' a unit but no name; write %s=NAME:%s", name, name, colon + 1);
        return;
    }
    if (fields[at].name != type->field[at].name) {
        bad(s, WR_OPTION, ".fields names '%s' twice; once is enough", name);
    }
    fields[at].name = outside;
    fields[at].unit = unit;
}

static void map_fields(wr_parse *s)
{
    const weir_type *type = s->spec->type;
    const char      *text = s->spec->fields;
    if (!type || !type->field || type->fields > WR_FIELDS_MAX) return;
    wr_endpoint_field *fields = wr_arena_array(s->arena, wr_endpoint_field, type->fields);
    for (uint32_t i = 0; i < type->fields; i++) fields[i].name = type->field[i].name;
    s->e->field = fields;
    if (!text || !*text) return;
    if (is_format(s, WEIR_TEXT_LINES) || is_format(s, WEIR_RAW)) {
        if (s->spec->replaced) return;
        bad(s, WR_OPTION, ".fields needs a format with names, but its format is %s; leave it out", s->e->format);
        return;
    }
    while (*(text += strspn(text, ", \t\n"))) {
        size_t n = strcspn(text, ",");
        size_t trimmed = n;
        while (trimmed && (text[trimmed - 1] == ' ' || text[trimmed - 1] == '\t' || text[trimmed - 1] == '\n'))
            trimmed--;
        map_field(s, fields, text, trimmed);
        text += n;
    }
    for (uint32_t i = 0; i < type->fields; i++) {
        for (uint32_t k = 0; k < i; k++) {
            if (strcmp(fields[i].name, fields[k].name) != 0) continue;
            bad(s, WR_OPTION, ".fields gives '%s' and '%s' one name outside ('%s'); give each its own",
                type->field[k].name, type->field[i].name, fields[i].name);
        }
    }
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

const weir_endpoint *wr_endpoint_new(wr_arena *arena, const wr_endpoint_spec *spec, const weir_connector *connector,
                                     wr_endpoint_bad *report, void *self)
{
    weir_endpoint *e = wr_arena_array(arena, weir_endpoint, 1);
    wr_parse       s = {.arena = arena, .spec = spec, .connector = connector, .e = e, .bad = report, .self = self};
    size_t         scheme = 0;
    e->connector = connector;
    e->type = spec->type;
    e->name = wr_arena_str(arena, spec->name);
    e->uri = wr_arena_str(arena, spec->uri);
    e->separator = spec->separator;
    e->header = spec->header;
    e->sink = spec->sink;
    e->rate_max = spec->rate_max;
    e->mark = wr_arena_array(arena, uint32_t, 1);
    e->path = "";
    s.csv_said = spec->header || spec->separator;
    if (connector) s.value = wr_arena_array(arena, wr_endpoint_value, connector->options + 1);
    e->value = s.value;
    if (strlen(spec->uri) > WR_URI_BYTES_MAX) {
        bad(&s, WR_LIMIT, "its URI is longer than %d bytes; shorten it", WR_URI_BYTES_MAX);
        return e;
    }
    if (wr_uri_scheme(spec->uri, &scheme)) {
        const char *path = spec->uri + scheme + 1;
        if (path[0] == '/' && path[1] == '/') path += 2;
        const char *query = strchr(path, '?');
        e->path = decode(&s, path, query ? (size_t)(query - path) : strlen(path));
        options(&s, query ? query + 1 : NULL, "&");
    }
    options(&s, spec->options, " \t\n");
    defaults(&s);
    choose_format(&s);
    check_csv_options(&s);
    map_fields(&s);
    return e;
}

const char *weir_endpoint_uri(const weir_endpoint *e)
{
    return e->uri;
}

const char *weir_endpoint_path(const weir_endpoint *e)
{
    return e->path;
}

const weir_type *weir_endpoint_type(const weir_endpoint *e)
{
    return e->type;
}

uint64_t weir_endpoint_rate_max(const weir_endpoint *e)
{
    return e->rate_max;
}

/* A connector that asks for an option which it does not declare is wrong in itself. */
static const wr_endpoint_value *value_of(const weir_endpoint *e, const char *name)
{
    uint32_t i = 0;
    check(e->connector);
    while (i < e->connector->options && strcmp(e->connector->option[i].name, name) != 0) i++;
    check(i < e->connector->options);
    return &e->value[i];
}

const char *weir_endpoint_str(const weir_endpoint *e, const char *name)
{
    return value_of(e, name)->text;
}

uint64_t weir_endpoint_u64(const weir_endpoint *e, const char *name)
{
    return value_of(e, name)->number;
}
