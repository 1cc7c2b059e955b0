/* weir state: what a snapshot or savepoint holds, without the pipeline: by the schemas in its manifest. */
#include "base/json.h"
#include "base/text.h"
#include "cli/options.h"
#include "jobmanager/store.h"
#include "snapshot/image.h"
#include "snapshot/key.h"
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* ---- values as JSON ---------------------------------------------------------------------------------------------- */

/* *n of them; NULL: no memory. The caller frees it. */
static char *base64_of(const weir_str *s, size_t *n)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t    *b = (const uint8_t *)weir_str_data(s);
    char             *text = malloc(4 * ((size_t)s->len / 3 + 1) + 1), *to = text;
    for (size_t i = 0; text != NULL && i < s->len; i += 3) {
        size_t   left = s->len - i;
        uint32_t word = (uint32_t)b[i] << 16 | (left > 1 ? (uint32_t)b[i + 1] << 8 : 0) | (left > 2 ? b[i + 2] : 0u);
        *to++ = digit[word >> 18];
        *to++ = digit[word >> 12 & 63];
        *to++ = left > 1 ? digit[word >> 6 & 63] : '=';
        *to++ = left > 2 ? digit[word & 63] : '=';
    }
    *n = text != NULL ? (size_t)(to - text) : 0;
    return text;
}

static void put_base64(wr_json *j, const char *key, const weir_str *s)
{
    size_t n;
    char  *text = base64_of(s, &n);
    wr_json_bytes(j, key, text, n);
    free(text);
}

static void put_time(wr_json *j, const char *key, int64_t ns)
{
    char text[WR_TEXT_NUMBER_MAX + 1];
    if (ns == WEIR_NO_TIME) {
        wr_json_null(j, key);
        return;
    }
    text[wr_text_of_time(text, ns)] = 0;
    wr_json_str(j, key, text);
}

/* A number, bool, time or string that lies at `at`. */
static void put_plain(wr_json *j, const char *key, uint32_t kind, const void *at)
{
    union {
        int8_t   i8;
        int16_t  i16;
        int32_t  i32;
        int64_t  i64;
        uint8_t  u8;
        uint16_t u16;
        uint32_t u32;
        uint64_t u64;
        float    f32;
        double   f64;
        weir_str s;
    } v;
    static const uint8_t bytes[] = {[WEIR_BOOL] = 1, [WEIR_I8] = 1,   [WEIR_I16] = 2,  [WEIR_I32] = 4,   [WEIR_I64] = 8,
                                    [WEIR_U8] = 1,   [WEIR_U16] = 2,  [WEIR_U32] = 4,  [WEIR_U64] = 8,   [WEIR_F32] = 4,
                                    [WEIR_F64] = 8,  [WEIR_TIME] = 8, [WEIR_STR] = 16, [WEIR_BYTES] = 16};
    memcpy(&v, at, bytes[kind]);
    switch (kind) {
    case WEIR_BOOL: wr_json_bool(j, key, v.u8 != 0); break;
    case WEIR_I8: wr_json_i64(j, key, v.i8); break;
    case WEIR_I16: wr_json_i64(j, key, v.i16); break;
    case WEIR_I32: wr_json_i64(j, key, v.i32); break;
    case WEIR_I64: wr_json_i64(j, key, v.i64); break;
    case WEIR_U8: wr_json_u64(j, key, v.u8); break;
    case WEIR_U16: wr_json_u64(j, key, v.u16); break;
    case WEIR_U32: wr_json_u64(j, key, v.u32); break;
    case WEIR_U64: wr_json_u64(j, key, v.u64); break;
    case WEIR_F32: wr_json_f64(j, key, (double)v.f32); break;
    case WEIR_F64: wr_json_f64(j, key, v.f64); break;
    case WEIR_TIME: put_time(j, key, v.i64); break;
    case WEIR_STR: wr_json_bytes(j, key, weir_str_data(&v.s), v.s.len); break;
    default: put_base64(j, key, &v.s); break;
    }
}

static void put_array(wr_json *j, const weir_field *f, const char *at)
{
    static const uint8_t bytes[] = {[WEIR_I8] = 1,  [WEIR_I16] = 2, [WEIR_I32] = 4, [WEIR_I64] = 8, [WEIR_U8] = 1,
                                    [WEIR_U16] = 2, [WEIR_U32] = 4, [WEIR_U64] = 8, [WEIR_F32] = 4, [WEIR_F64] = 8};
    uint32_t             kind = f->kind & ~(uint32_t)WEIR_ARRAY;
    wr_json_array(j, f->name);
    for (uint32_t i = 0; i < f->size; i += bytes[kind]) put_plain(j, NULL, kind, at + i);
    wr_json_end(j);
}

static void put_record(wr_json *j, const char *key, const weir_type *type, const void *record)
{
    wr_json_object(j, key);
    for (uint32_t i = 0; i < type->fields; i++) {
        const weir_field *f = &type->field[i];
        const char       *at = (const char *)record + f->offset;
        if (f->kind & WEIR_ARRAY)
            put_array(j, f, at);
        else
            put_plain(j, f->name, f->kind, at);
    }
    wr_json_end(j);
}

static void put_cell(wr_json *j, const weir_field *f, const wr_table *table, const void *state, const void *at)
{
    const weir_cell *cell = at;
    if (f->kind == WEIR_CELL_VALUE) {
        const void *value = wr_cell_value_get(table, state, cell);
        if (value == NULL)
            wr_json_null(j, f->name);
        else
            put_record(j, f->name, f->element, value);
        return;
    }
    weir_rows rows = wr_cell_rows(table, state, cell);
    size_t    size = f->element->size;
    wr_json_array(j, f->name);
    while (rows.at != rows.end || wr_cell_rows_refill(&rows, size)) {
        if (rows.at == rows.end) continue;
        const char *row = rows.at;
        rows.at += size;
        put_record(j, NULL, f->element, row);
    }
    wr_json_end(j);
}

static void put_state(wr_json *j, const weir_type *type, const wr_table *table, const void *state)
{
    wr_json_object(j, "state");
    for (uint32_t i = 0; i < type->fields; i++) {
        const weir_field *f = &type->field[i];
        const void       *at = (const char *)state + f->offset;
        int64_t           due;
        switch (f->kind) {
        case WEIR_TEXT: {
            weir_str text = wr_cell_text_get(at);
            wr_json_bytes(j, f->name, weir_str_data(&text), text.len);
            break;
        }
        case WEIR_EVENT_TIMER:
        case WEIR_CLOCK_TIMER:
            memcpy(&due, at, sizeof due); /* + 1; 0: not set */
            put_time(j, f->name, due == 0 ? WEIR_NO_TIME : due - 1);
            break;
        case WEIR_CELL_VALUE:
        case WEIR_CELL_LIST:
        case WEIR_CELL_TABLE: put_cell(j, f, table, state, at); break;
        default:
            if (f->kind & WEIR_ARRAY)
                put_array(j, f, at);
            else
                put_plain(j, f->name, f->kind, at);
        }
    }
    wr_json_end(j);
}

static void put_key(wr_json *j, const wr_manifest_op *op, const void *key)
{
    wr_json_object(j, "key");
    for (uint32_t i = 0; i < op->key.count; i++) {
        for (uint32_t k = 0; k < op->record->fields; k++) {
            const weir_field *f = &op->record->field[k];
            if (f->offset == op->key.field[i].offset) put_plain(j, f->name, f->kind, (const char *)key + f->offset);
        }
    }
    wr_json_end(j);
}

/* ---- walking ----------------------------------------------------------------------------------------------------- */

/* A snapshot that is looked at, and the line of the state that it has come to. Owner: the main thread. */
typedef struct look {
    wr_manifest   m;
    char          folder[WR_PATH_BYTES_MAX];
    FILE         *memory;
    char         *line; /* `bytes` of them */
    size_t        bytes;
    const void   *key; /* whose line it is: a record in which only the key is set */
    XXH3_state_t *hash;
    bool          printed, lost; /* lost: a file of it is not there any more */
    const char   *wanted;        /* NULL: every key */
    /* Each state of the operators called `uid` (NULL: all). False ends the walk. */
    bool (*each)(struct look *l, const wr_manifest_op *op, void *arg);
    void *arg;
} look;

static wr_err open_look(look *l, const char *path, wr_errinfo *info)
{
    const wr_env *env = wr_env_real();
    memset(l, 0, sizeof *l);
    WR_TRY(wr_store_load(env, path, &l->m, l->folder, info));
    l->memory = open_memstream(&l->line, &l->bytes);
    l->hash = XXH3_createState();
    return l->memory != NULL && l->hash != NULL ? WR_OK : wr_fail(info, WR_MEMORY, "out of memory: %s", path);
}

static void close_look(look *l)
{
    wr_manifest_free(&l->m);
    if (l->memory != NULL) fclose(l->memory);
    if (l->hash != NULL) (void)XXH3_freeState(l->hash);
    free(l->line);
}

static void make_line(look *l, const wr_manifest_op *op, const wr_table *table, const void *key, const void *state)
{
    wr_json j;
    rewind(l->memory);
    wr_json_init_file(&j, l->memory);
    wr_json_object(&j, NULL);
    wr_json_str(&j, "operator", op->uid);
    put_key(&j, op, key);
    l->key = key;
    put_state(&j, op->state, table, state);
    wr_json_end(&j);
    size_t n = (size_t)ftell(l->memory);
    fflush(l->memory);
    l->bytes = n;
}

/* Whether `want` begins with the field's text, and how much of it that is. Strings stand for themselves, whatever bytes
 * they have; everything else as JSON prints it. */
static bool field_is(uint32_t kind, const void *at, const char *want, size_t *n)
{
    char        text[WR_TEXT_NUMBER_MAX + 8];
    const char *is = text;
    char       *bytes = NULL;
    uint64_t    value = kind < WEIR_STR ? wr_key_widen(kind, at) : 0;
    weir_str    s;
    switch (kind) {
    case WEIR_BOOL: *n = (size_t)snprintf(text, sizeof text, value != 0 ? "true" : "false"); break;
    case WEIR_I8:
    case WEIR_I16:
    case WEIR_I32:
    case WEIR_I64: *n = wr_text_of_i64(text, (int64_t)value); break;
    case WEIR_TIME:
        *n = (int64_t)value == WEIR_NO_TIME ? (size_t)snprintf(text, sizeof text, "null")
                                            : wr_text_of_time(text, (int64_t)value);
        break;
    case WEIR_STR:
    case WEIR_BYTES:
        memcpy(&s, at, sizeof s);
        *n = s.len;
        is = weir_str_data(&s);
        if (kind == WEIR_BYTES) is = bytes = base64_of(&s, n);
        break;
    default: *n = wr_text_of_u64(text, value);
    }
    bool same = is != NULL && strncmp(want, is, *n) == 0 && memchr(is, 0, *n) == NULL;
    free(bytes);
    return same;
}

/* Several fields are joined by commas. */
static bool key_is(const wr_manifest_op *op, const void *key, const char *want)
{
    for (uint32_t i = 0; i < op->key.count; i++) {
        const weir_key_field *f = &op->key.field[i];
        size_t                n;
        if (i > 0 && *want++ != ',') return false;
        if (!field_is(f->kind, (const char *)key + f->offset, want, &n)) return false;
        want += n;
    }
    return *want == 0;
}

static wr_err walk_op(look *l, const wr_manifest_op *op, bool *go_on, wr_errinfo *info)
{
    wr_image_reader *r;
    const wr_table  *table;
    const void      *key, *state;
    wr_errinfo       why = {0};
    if (wr_image_reader_new(&r, wr_env_real(), l->folder, op, &why) != WR_OK) {
        l->lost |= why.code == WR_NOT_FOUND;
        return wr_fail(info, why.code, "%s", why.text);
    }
    while (*go_on && wr_image_reader_next(r, &table, &key, &state, &why)) {
        if (l->wanted != NULL && !key_is(op, key, l->wanted)) continue;
        make_line(l, op, table, key, state);
        *go_on = l->each(l, op, l->arg);
    }
    wr_image_reader_free(r);
    l->lost |= why.code == WR_NOT_FOUND;
    return why.code == WR_OK ? WR_OK : wr_fail(info, why.code, "%s", why.text);
}

static wr_err walk(look *l, const char *uid, wr_errinfo *info)
{
    bool go_on = true;
    if (uid != NULL && wr_manifest_find(&l->m, uid) == NULL)
        return wr_fail(info, WR_NOT_FOUND, "the snapshot has no operator '%s'; %s; `weir state PATH ls` lists them",
                       uid, l->folder);
    for (uint32_t i = 0; i < l->m.ops && go_on; i++) {
        const wr_manifest_op *op = &l->m.op[i];
        if (op->layers == 0 || (uid != NULL && strcmp(uid, op->uid) != 0)) continue;
        WR_TRY(walk_op(l, op, &go_on, info));
    }
    return WR_OK;
}

/* ---- ls ---------------------------------------------------------------------------------------------------------- */

static uint64_t bytes_of(const wr_manifest_op *op)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < op->layers; i++) bytes += op->layer[i].file.bytes;
    return bytes;
}

static const char *kind_name(uint32_t kind)
{
    static const char *const name[] = {"?",        "map",     "filter",    "flat map", "keyed",  "co-keyed",
                                       "flat map", "keyed",   "aggregate", "reduce",   "window", "update",
                                       "join",     "cogroup", "async",     "source",   "sink",   "two-phase sink"};
    return name[kind < sizeof name / sizeof *name ? kind : 0];
}

static int list_json(const look *l)
{
    wr_json j;
    wr_json_init_file(&j, stdout);
    wr_json_object(&j, NULL);
    wr_json_u64(&j, "snapshot", l->m.id);
    wr_json_str(&j, "kind", l->m.kind == WR_SAVEPOINT ? "savepoint" : "snapshot");
    wr_json_str(&j, "job", l->m.job);
    wr_json_str(&j, "lineage", l->m.lineage);
    wr_json_str(&j, "weir", l->m.weir);
    wr_json_u64(&j, "epoch", l->m.epoch);
    wr_json_bool(&j, "finished", l->m.ended);
    put_time(&j, "completed", l->m.completed_ns);
    wr_json_array(&j, "operators");
    for (uint32_t i = 0; i < l->m.ops; i++) {
        const wr_manifest_op *op = &l->m.op[i];
        wr_json_object(&j, NULL);
        wr_json_str(&j, "uid", op->uid);
        wr_json_str(&j, "kind", kind_name(op->kind));
        wr_json_u64(&j, "parallelism", op->parallelism);
        wr_json_u64(&j, "max_parallelism", op->max_parallelism);
        wr_json_u64(&j, "items", op->items);
        wr_json_u64(&j, "files", op->layers);
        wr_json_u64(&j, "bytes", bytes_of(op));
        put_time(&j, "watermark", op->watermark == INT64_MAX ? WEIR_NO_TIME : op->watermark);
        wr_json_bool(&j, "ended", op->ended);
        if (op->layers > 0) wr_json_str(&j, "state", op->state->name);
        wr_json_end(&j);
    }
    wr_json_end(&j);
    wr_json_end(&j);
    return WR_EXIT_OK;
}

static int list_text(const look *l)
{
    char time[WR_TEXT_NUMBER_MAX + 1], size[WR_TEXT_NUMBER_MAX + 1];
    time[wr_text_of_time(time, l->m.completed_ns)] = 0;
    printf("%s %llu of job %s, %s%s\n", l->m.kind == WR_SAVEPOINT ? "savepoint" : "snapshot",
           (unsigned long long)l->m.id, l->m.job, time, l->m.ended ? ", finished" : "");
    printf("%-24s %-14s %11s %8s %6s %10s  %s\n", "operator", "kind", "parallelism", "items", "files", "bytes",
           "state");
    for (uint32_t i = 0; i < l->m.ops; i++) {
        const wr_manifest_op *op = &l->m.op[i];
        size[wr_text_of_size(size, bytes_of(op))] = 0;
        printf("%-24s %-14s %11u %8u %6u %10s  %s\n", op->uid, kind_name(op->kind), op->parallelism, op->items,
               op->layers, size, op->layers > 0 ? op->state->name : "-");
    }
    return WR_EXIT_OK;
}

/* ---- get, dump --------------------------------------------------------------------------------------------------- */

static bool print_line(look *l, const wr_manifest_op *op, void *arg)
{
    (void)op;
    (void)arg;
    l->printed = true;
    return fwrite(l->line, 1, l->bytes, stdout) == l->bytes;
}

static bool print_wanted(look *l, const wr_manifest_op *op, void *arg)
{
    ++*(uint64_t *)arg;
    return print_line(l, op, NULL);
}

/* ---- diff -------------------------------------------------------------------------------------------------------- */

typedef struct print { /* of one state */
    XXH128_hash_t key, line;
} print;
typedef struct prints {
    print   *print;
    uint64_t n, room;
    bool     full;
} prints;

/* The key by its values: strings that JSON cannot say would look alike. */
static print print_of(const look *l, const wr_manifest_op *op)
{
    (void)XXH3_128bits_reset(l->hash);
    (void)XXH3_128bits_update(l->hash, op->uid, strlen(op->uid) + 1);
    for (uint32_t i = 0; i < op->key.count; i++) {
        const weir_key_field *f = &op->key.field[i];
        const char           *at = (const char *)l->key + f->offset;
        weir_str              s = {0};
        uint64_t              value;
        if (f->kind >= WEIR_STR) memcpy(&s, at, sizeof s);
        value = f->kind >= WEIR_STR ? s.len : wr_key_widen(f->kind, at);
        (void)XXH3_128bits_update(l->hash, &value, sizeof value);
        if (s.len > 0) (void)XXH3_128bits_update(l->hash, weir_str_data(&s), s.len);
    }
    return (print){XXH3_128bits_digest(l->hash), XXH3_128bits(l->line, l->bytes)};
}

static bool collect(look *l, const wr_manifest_op *op, void *arg)
{
    prints *p = arg;
    if (p->n == p->room) {
        uint64_t room = p->room == 0 ? 1024 : 2 * p->room;
        print   *more = realloc(p->print, room * sizeof *more);
        p->full = more == NULL;
        if (p->full) return false;
        p->print = more;
        p->room = room;
    }
    p->print[p->n++] = print_of(l, op);
    return true;
}

static int by_key(const void *a, const void *b)
{
    return XXH128_cmp(&((const print *)a)->key, &((const print *)b)->key);
}

typedef struct side {
    const prints *other;
    char          sign;
    uint64_t      added, changed;
    bool          json;
} side;

static bool print_difference(look *l, const wr_manifest_op *op, void *arg)
{
    side        *s = arg;
    print        own = print_of(l, op);
    const print *same = bsearch(&own, s->other->print, s->other->n, sizeof own, by_key);
    if (same != NULL && XXH128_isEqual(same->line, own.line)) return true;
    s->added += same == NULL;
    s->changed += same != NULL;
    l->printed = true;
    if (s->json)
        printf("{\"side\":\"%c\",%.*s", s->sign, (int)(l->bytes - 1), l->line + 1);
    else
        printf("%c %.*s", s->sign, (int)l->bytes, l->line);
    return true;
}

static wr_err diff(look *a, look *b, bool json, wr_errinfo *info)
{
    prints   pa = {0}, pb = {0};
    uint64_t counts[3] = {0};
    a->each = b->each = collect;
    a->arg = &pa;
    b->arg = &pb;
    wr_err err = walk(a, NULL, info);
    if (err == WR_OK) err = walk(b, NULL, info);
    if (err == WR_OK && (pa.full || pb.full)) err = wr_fail(info, WR_MEMORY, "out of memory: comparing snapshots");
    if (err == WR_OK) {
        if (pa.n > 0) qsort(pa.print, pa.n, sizeof *pa.print, by_key);
        if (pb.n > 0) qsort(pb.print, pb.n, sizeof *pb.print, by_key);
        side sa = {.other = &pb, .sign = '-', .json = json}, sb = {.other = &pa, .sign = '+', .json = json};
        a->each = b->each = print_difference;
        a->arg = &sa;
        b->arg = &sb;
        err = walk(a, NULL, info);
        if (err == WR_OK) err = walk(b, NULL, info);
        counts[0] = sa.added;
        counts[1] = sb.added;
        counts[2] = sb.changed;
    }
    if (err == WR_OK && !json)
        printf("%llu keys gone, %llu new, %llu changed\n", (unsigned long long)counts[0], (unsigned long long)counts[1],
               (unsigned long long)counts[2]);
    free(pa.print);
    free(pb.print);
    return err;
}

/* ---- the verb ---------------------------------------------------------------------------------------------------- */

static wr_err too_many(const char *argument, wr_errinfo *info)
{
    return wr_fail(info, WR_USAGE,
                   "one argument too many: %s; usage: weir state PATH [ls | dump [OPERATOR] | get OPERATOR KEY | diff "
                   "OTHER]",
                   argument);
}

static wr_err get(look *l, const char *uid, const char *key, wr_errinfo *info)
{
    uint64_t              found = 0;
    const wr_manifest_op *op = wr_manifest_find(&l->m, uid);
    if (op != NULL && op->layers == 0 && op->key.count == 0)
        return wr_fail(info, WR_NOT_FOUND,
                       "operator '%s' keeps no state by key; %s; `weir state PATH ls` shows who does", uid, l->folder);
    l->each = print_wanted;
    l->arg = &found;
    l->wanted = key;
    WR_TRY(walk(l, uid, info));
    return found > 0
               ? WR_OK
               : wr_fail(info, WR_NOT_FOUND, "operator '%s' has no state of key '%.200s'; %s", uid, key, l->folder);
}

static wr_err run(look *l, const wr_options *o, wr_errinfo *info)
{
    const char *what = o->second != NULL ? o->second : "ls";
    if (strcmp(what, "ls") == 0) {
        if (o->third != NULL) return too_many(o->third, info);
        if (o->json)
            list_json(l);
        else
            list_text(l);
        return WR_OK;
    }
    if (strcmp(what, "dump") == 0) {
        if (o->fourth != NULL) return too_many(o->fourth, info);
        l->each = print_line;
        return walk(l, o->third, info);
    }
    if (strcmp(what, "get") == 0) {
        if (o->third == NULL || o->fourth == NULL)
            return wr_fail(info, WR_USAGE, "of which operator and key? usage: weir state PATH get OPERATOR KEY");
        return get(l, o->third, o->fourth, info);
    }
    if (strcmp(what, "diff") == 0) {
        look other = {0};
        if (o->third == NULL) return wr_fail(info, WR_USAGE, "against which one? usage: weir state PATH diff OTHER");
        if (o->fourth != NULL) return too_many(o->fourth, info);
        wr_err err = open_look(&other, o->third, info);
        if (err == WR_OK) err = diff(l, &other, o->json, info);
        l->printed |= other.printed;
        l->lost |= other.lost;
        close_look(&other);
        return err;
    }
    return wr_fail(info, WR_USAGE,
                   "unknown: %s; usage: weir state PATH [ls | dump [OPERATOR] | get OPERATOR KEY | diff OTHER]", what);
}

int wr_cli_state(const wr_options *options)
{
    enum { LOOKS = 8 };
    wr_errinfo info = {0}, why = {0};
    bool       again = true;
    wr_err     err = WR_OK;
    for (uint32_t i = 1; again; i++) { /* the job may run, and retire a snapshot while it is looked at */
        look l;
        why = (wr_errinfo){0};
        err = open_look(&l, options->file, &why);
        if (err == WR_OK) err = run(&l, options, &why);
        again = l.lost && !l.printed && i < LOOKS;
        if (l.lost)
            wr_fail(&info, err,
                    "%s; if a job has retired the snapshot meanwhile: look at a savepoint, or let it keep more",
                    why.text);
        else
            info = why;
        close_look(&l);
    }
    return err == WR_OK ? WR_EXIT_OK : wr_cli_fail(&info);
}
