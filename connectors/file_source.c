/* connectors/file_source.c: files, cut into splits by byte ranges, read in parallel.
 *
 * A record belongs to the split in which it begins. A split that begins within a file starts one byte earlier and
 * skips to behind the next line end: so it is right also when a line begins exactly at its first byte. */
#include "base/hash.h"
#include "base/text.h"
#include "connectors/connectors.h"
#include "connectors/names.h"
#include "connectors/reader.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    TAIL_BYTES = WR_KIB(4),   /* read beyond a split's end at once: the rest of its last line is mostly within */
    HEADER_BYTES = WR_KIB(4), /* read at once: a header line is mostly within */
    BEFORE_BYTES_MAX = 64,    /* of what was read last: told apart from a file that was written anew */
    LINES_FROM_START_MAX = WR_MIB(64), /* a bad record further on is named by its byte, not by its line */
};

/* The split and its position: everything below `at` is done. */
typedef struct file_split {
    weir_str name, path;
    int64_t  first, end; /* records that begin in [first, end) */
    int64_t  at;
    int64_t  file_bytes; /* when the splits were made */
    uint64_t lines;      /* line ends between the first byte read and at */
    uint64_t before;     /* hash of the `behind` bytes before `at`: whether it is still the same file */
    uint8_t  behind;
    uint8_t  skip; /* `at` lies in a record that is not ours, or too long */
} file_split;

#define FIELD(NAME, KIND)                                                                                              \
    {                                                                                                                  \
#NAME, offsetof(file_split, NAME), sizeof(((file_split *)0)->NAME), KIND, 0, NULL, 0, 0, 0,                    \
        {                                                                                                              \
            0                                                                                                          \
        }                                                                                                              \
    }
static const weir_field split_fields[] = {
    FIELD(name, WEIR_STR),  FIELD(path, WEIR_STR),       FIELD(first, WEIR_I64), FIELD(end, WEIR_I64),
    FIELD(at, WEIR_I64),    FIELD(file_bytes, WEIR_I64), FIELD(lines, WEIR_U64), FIELD(before, WEIR_U64),
    FIELD(behind, WEIR_U8), FIELD(skip, WEIR_U8),
};
#undef FIELD
static const weir_type split_type = {.abi_size = sizeof(weir_type),
                                     .fields = sizeof split_fields / sizeof split_fields[0],
                                     .name = "file_split",
                                     .size = sizeof(file_split),
                                     .align = _Alignof(file_split),
                                     .field = split_fields};

/* One open split. */
typedef struct file_reader {
    wr_reader reader;
    int       file; /* descriptor + 1; 0: not open */
    bool      hungry;
    int64_t   base;        /* offset of buffer[0] in the file */
    int64_t   lines_first; /* line ends before the first byte of the split, or -1: not counted yet */
    uint64_t  lines_seen;  /* reader.lines that are in split.lines already */
    char     *path;
} file_reader;

/* ---- splits ------------------------------------------------------------------------------------------------------ */

/* A file of which splits are made. Caller's storage. */
typedef struct listed_file {
    const wr_name *name;
    int            file;  /* open, for what stands before splits; -1: there is one only */
    bool           lines; /* records end with a line break; others begin exactly where their split does */
    wr_arena      *arena;
} listed_file;

/* What stands before `at`, `want` bytes; fewer where the file ends. -errno. */
static int64_t read_before(const wr_env *env, int file, int64_t at, char *bytes, size_t want)
{
    size_t n = 0;
    for (int64_t got = 1; got > 0 && n < want; n += (size_t)got) {
        got = env->pread(env->self, file, bytes + n, want - n, at - (int64_t)want + (int64_t)n);
        if (got < 0) return got;
    }
    return (int64_t)n;
}

/* So that whoever opens it sees when another file has its name by then: a part of each would be read. */
static bool note_before(weir_ctx *ctx, const listed_file *of, file_split *split)
{
    char    bytes[BEFORE_BYTES_MAX];
    size_t  want = split->at < (int64_t)sizeof bytes ? (size_t)split->at : sizeof bytes;
    int64_t n = of->file < 0 ? 0 : read_before(wr_host_env(ctx), of->file, split->at, bytes, want);
    if (n < 0) {
        wr_host_fail_errno(ctx, (int)-n, "read", of->name->path, "check the file");
        return false;
    }
    if (n < (int64_t)want) return true; /* it became shorter: whoever reads it says so */
    split->behind = (uint8_t)want;
    split->before = wr_hash_bytes(bytes, want);
    return true;
}

/* False after it has failed the task. */
static bool emit_split(weir_ctx *ctx, weir_out *out, const listed_file *of, int64_t first, int64_t end)
{
    bool        within = first > 0 && of->lines;
    const char *path = of->name->path, *name = wr_arena_printf(of->arena, "%s#%lld", path, (long long)first);
    file_split  split = {.name = weir_str_of(name, strlen(name)),
                         .path = weir_str_of(path, strlen(path)),
                         .first = first,
                         .end = end,
                         .at = first - within,
                         .file_bytes = of->name->bytes,
                         .skip = within};
    if (!note_before(ctx, of, &split)) return false;
    wr_emit_room(out);
    memcpy(out->next, &split, sizeof split);
    weir_str *str = (weir_str *)(void *)out->next; /* name, path */
    for (int i = 0; i < 2; i++) {
        if (str[i].len > WEIR_STR_INLINE) weir_out_own(out->engine, &str[i]);
    }
    out->next += sizeof split;
    if (out->time != NULL) *out->time++ = (weir_time){WEIR_NO_TIME};
    return true;
}

/* Bytes of a split; 0: files are not cut. */
static int64_t split_bytes(const weir_endpoint *endpoint, const wr_codec *codec)
{
    uint64_t bytes = weir_endpoint_u64(endpoint, "split-bytes");
    if (bytes == 0 || bytes > INT64_MAX / 2 || codec->multiline) return 0;
    /* The first split of CSV reaches behind the mark of UTF-8 (3 bytes), or no split would have the record there. */
    if (codec->format == &wr_format_csv && bytes < 4) bytes = 4;
    if (codec->format->lines) return (int64_t)bytes;
    if (codec->record_bytes == 0) return 0; /* where a record begins can only be known from the one before */
    return (int64_t)(bytes / codec->record_bytes + 1) * codec->record_bytes;
}

/* Files of /proc say that they have no bytes, and give some: to take them for empty would lose all that they hold.
 * False: it is such a file, or cannot be read. */
static bool really_empty(weir_ctx *ctx, const char *path)
{
    const wr_env        *env = wr_host_env(ctx);
    const weir_endpoint *endpoint = wr_host_endpoint(ctx);
    wr_file_info         now;
    char                 byte;
    int                  file = env->open(env->self, path, WR_OPEN_READ);
    int64_t              got = file < 0 ? file : env->pread(env->self, file, &byte, 1, 0);
    if (file >= 0) env->close(env->self, file);
    if (got == 0) return true;
    if (got < 0) {
        wr_host_fail_errno(ctx, (int)-got, "read", path, "check that the file is there and that this user may read it");
        return false;
    }
    if (env->stat(env->self, path, &now) == 0 && now.bytes > 0) return true; /* it was, and somebody writes it now */
    wr_op_fail(
        wr_host_op(ctx), WR_CONFIG,
        "%s says that it has 0 bytes, but there are some, as in files of /proc; source %s (%s); copy it to a file "
        "first, or read it by the source stdin:",
        path, endpoint->name, endpoint->uri);
    return false;
}

/* cut: bytes of a split; 0: files are not cut. False after it has failed the task. */
static bool emit_file(weir_ctx *ctx, weir_out *out, listed_file *of, int64_t cut)
{
    const wr_env *env = wr_host_env(ctx);
    int64_t       first = 0, bytes = of->name->bytes;
    bool          many = cut > 0 && bytes > cut + cut / 8, good = true;
    of->file = many ? env->open(env->self, of->name->path, WR_OPEN_READ) : -1;
    if (many && of->file < 0) {
        wr_host_fail_errno(ctx, -of->file, "open", of->name->path,
                           "check that the file is there and that this user may read it");
        return false;
    }
    for (; good && many && bytes - first > cut + cut / 8; first += cut)
        good = emit_split(ctx, out, of, first, first + cut);
    if (good && bytes > first) good = emit_split(ctx, out, of, first, bytes);
    if (of->file >= 0) env->close(env->self, of->file);
    return good;
}

static void file_enumerate(weir_ctx *ctx)
{
    wr_arena             arena;
    wr_names             names;
    wr_errinfo           info = {0};
    const weir_endpoint *endpoint = wr_host_endpoint(ctx);
    wr_codec            *codec = wr_host_codec(ctx);
    if (codec == NULL) return;
    wr_arena_init(&arena);
    if (wr_names_find(&names, &arena, wr_host_env(ctx), endpoint->path, &info) != WR_OK) {
        wr_op_fail(wr_host_op(ctx), info.code, "%s; source %s (%s); check the path, and that this user may read it",
                   info.text, endpoint->name, endpoint->uri);
    } else {
        int64_t  cut = split_bytes(endpoint, codec);
        weir_out out = ctx->out[0];
        for (uint32_t i = 0; i < names.count; i++) {
            listed_file of = {.name = &names.name[i], .lines = codec->format->lines, .arena = &arena};
            if (of.name->bytes == 0 && !really_empty(ctx, of.name->path)) break;
            if (!emit_file(ctx, &out, &of, cut)) break;
        }
        ctx->out[0] = out;
    }
    wr_codec_free(codec);
    wr_arena_fini(&arena);
}

/* ---- places ------------------------------------------------------------------------------------------------------ */

static int64_t count_lines(const wr_env *env, int file, int64_t bytes)
{
    char    block[WR_KIB(16)];
    int64_t lines = 0, at = 0;
    while (at < bytes) {
        int64_t want = bytes - at < (int64_t)sizeof block ? bytes - at : (int64_t)sizeof block;
        int64_t got = env->pread(env->self, file, block, (size_t)want, at);
        if (got <= 0) break;
        for (int64_t i = 0; i < got; i++) lines += block[i] == '\n';
        at += got;
    }
    return lines;
}

/* Only bad records have a place: so the lines before a split are counted when the first one turns up. */
static void file_place(const wr_reader *reader, weir_ctx *ctx, size_t at, char *text, size_t n)
{
    file_reader      *f = (file_reader *)(uintptr_t)reader; /* its first member; we only count lines in it */
    const file_split *split = ctx->state[0];
    int64_t           offset = f->base + (int64_t)at, start = split->first > 0 ? split->first - 1 : 0;
    if (reader->codec->format->lines && f->lines_first < 0 && start <= LINES_FROM_START_MAX)
        f->lines_first = count_lines(wr_host_env(ctx), f->file - 1, start);
    if (reader->codec->format->lines && f->lines_first >= 0) {
        uint64_t line = (uint64_t)f->lines_first + split->lines + (reader->lines - f->lines_seen) + 1;
        snprintf(text, n, "%s:%llu", f->path, (unsigned long long)line);
    } else {
        snprintf(text, n, "%s, byte %lld", f->path, (long long)offset);
    }
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* Reads the header line, which says where each field stands. Sets *bytes to its length. */
static bool read_header(file_reader *f, weir_ctx *ctx, int64_t *bytes)
{
    const wr_env *env = wr_host_env(ctx);
    char          line[WR_CSV_HEADER_BYTES_MAX];
    wr_reason     reason;
    size_t        n = 0;
    for (int64_t got = 1; got > 0 && n < sizeof line && memchr(line, '\n', n) == NULL; n += (size_t)got) {
        size_t want = sizeof line - n < HEADER_BYTES ? sizeof line - n : HEADER_BYTES;
        if (n >= HEADER_BYTES && !f->reader.codec->header) break; /* only the mark of UTF-8 is looked for */
        got = env->pread(env->self, f->file - 1, line + n, want, (int64_t)n);
        if (got < 0) {
            wr_host_fail_errno(ctx, (int)-got, "read", f->path, "check the file");
            return false;
        }
    }
    size_t      bom = n >= 3 && memcmp(line, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    const char *end = memchr(line + bom, '\n', n - bom);
    size_t      content = (size_t)((end != NULL ? end : line + n) - (line + bom));
    *bytes = (int64_t)(bom + content + (end != NULL));
    if (!f->reader.codec->header) {
        *bytes = (int64_t)bom;
        return true;
    }
    bool ok = end != NULL || n < sizeof line ||
              wr_reason_set(&reason, "the header line is longer than %d bytes", WR_CSV_HEADER_BYTES_MAX);
    if (content > 0 && line[bom + content - 1] == '\r') content--;
    if (ok && wr_layout_of_header(&f->reader.layout, f->reader.codec, line + bom, content, &reason)) return true;
    wr_op_fail(wr_host_op(ctx), WR_BAD_RECORD, "%s; %s:1; source %s (%s)", reason.text, f->path,
               wr_host_endpoint(ctx)->name, wr_host_endpoint(ctx)->uri);
    return false;
}

/* A position means something only in the file that it was taken from. */
static bool same_file(file_reader *f, weir_ctx *ctx, const file_split *split)
{
    const wr_env        *env = wr_host_env(ctx);
    const weir_endpoint *endpoint = wr_host_endpoint(ctx);
    char                 bytes[BEFORE_BYTES_MAX];
    size_t               want = split->behind;
    const char          *was = split->at <= split->first ? "cut into parts" : "read"; /* up to `at` */
    if (want > sizeof bytes || (int64_t)want > split->at) want = 0; /* from a snapshot: anything may stand there */
    int64_t n = read_before(env, f->file - 1, split->at, bytes, want);
    if (n < 0) {
        wr_host_fail_errno(ctx, (int)-n, "read", f->path, "check the file");
        return false;
    }
    if (n == (int64_t)want && (want == 0 || wr_hash_bytes(bytes, want) == split->before)) return true;
    if (n < (int64_t)want) {
        wr_op_fail(wr_host_op(ctx), WR_IO,
                   "%s became shorter: it was %s up to byte %lld of %lld, and now ends before; source %s (%s); put the "
                   "file back as it was, or start anew",
                   f->path, was, (long long)split->at, (long long)split->file_bytes, endpoint->name, endpoint->uri);
    } else {
        wr_op_fail(
            wr_host_op(ctx), WR_IO,
            "%s was changed: it was %s up to byte %lld, and other bytes stand before it now; source %s (%s); put "
            "the file back as it was, or start anew",
            f->path, was, (long long)split->at, endpoint->name, endpoint->uri);
    }
    return false;
}

static bool open_split(file_reader *f, weir_ctx *ctx, const file_split *split)
{
    const wr_env *env = wr_host_env(ctx);
    int64_t       header = 0;
    f->reader.place = file_place;
    f->lines_first = split->first > 0 ? -1 : 0;
    f->path = strndup(weir_str_data(&split->path), split->path.len);
    if (f->path == NULL) {
        wr_host_fail_errno(ctx, ENOMEM, "open", "a file", "free some memory");
        return false;
    }
    if (!wr_reader_open(&f->reader, ctx)) return false;
    int file = env->open(env->self, f->path, WR_OPEN_READ);
    if (file < 0) {
        wr_host_fail_errno(ctx, -file, "open", f->path, "check that the file is there and that this user may read it");
        return false;
    }
    f->file = file + 1;
    if (!same_file(f, ctx, split)) return false;
    if (f->reader.codec->format == &wr_format_csv && !read_header(f, ctx, &header)) return false;
    f->reader.skipping = split->skip != 0;
    f->base = split->at;
    if (split->at == 0) {
        f->base = header;
        f->reader.lines = f->reader.codec->header;
    }
    f->hungry = true;
    return true;
}

static void file_open(weir_ctx *ctx)
{
    ctx->verdict[0] = open_split(ctx->local, ctx, ctx->state[0]);
}

/* Puts more of the file behind the window. Between two polls only. */
static bool fill(file_reader *f, weir_ctx *ctx, const file_split *split)
{
    const wr_env *env = wr_host_env(ctx);
    size_t        room, dropped;
    char         *to = wr_reader_space(&f->reader, ctx, &room, &dropped);
    if (to == NULL) return false;
    f->base += (int64_t)dropped;
    int64_t at = f->base + (int64_t)f->reader.end;
    int64_t want = at < split->end ? split->end - at + TAIL_BYTES : WR_KIB(64);
    if (want > (int64_t)room) want = (int64_t)room;
    int64_t got = env->pread(env->self, f->file - 1, to, (size_t)want, at);
    if (got < 0) {
        wr_host_fail_errno(ctx, (int)-got, "read", f->path, "check the disk, then start again");
        return false;
    }
    f->reader.end += (size_t)got;
    f->reader.ended = got == 0;
    if (got > 0 || at >= split->file_bytes) return true;
    wr_op_fail(wr_host_op(ctx), WR_IO,
               "%s shrank while it was read: it had %lld bytes and now ends at byte %lld; source %s (%s); "
               "give the source files that nobody rewrites",
               f->path, (long long)split->file_bytes, (long long)at, wr_host_endpoint(ctx)->name,
               wr_host_endpoint(ctx)->uri);
    return false;
}

static void file_poll(weir_ctx *ctx)
{
    file_split  *split = ctx->state[0];
    file_reader *f = ctx->local;
    if (f->hungry && !f->reader.ended && !fill(f, ctx, split)) {
        ctx->verdict[0] = WEIR_MORE;
        return;
    }
    weir_out     out = ctx->out[0];
    int64_t      limit = split->end - f->base;
    enum wr_read read = limit > 0 ? wr_reader_emit(&f->reader, ctx, &out, (size_t)limit) : WR_READ_DONE;
    ctx->out[0] = out;
    f->hungry = read == WR_READ_HUNGRY;
    split->at = f->base + (int64_t)f->reader.begin;
    if (f->reader.begin > 0) {
        split->behind = (uint8_t)(f->reader.begin < BEFORE_BYTES_MAX ? f->reader.begin : BEFORE_BYTES_MAX);
        split->before = wr_hash_bytes(f->reader.buffer + f->reader.begin - split->behind, split->behind);
    }
    split->skip = f->reader.skipping;
    split->lines += f->reader.lines - f->lines_seen;
    f->lines_seen = f->reader.lines;
    ctx->verdict[0] = read == WR_READ_DONE ? WEIR_END : WEIR_MORE;
}

static void file_close(weir_ctx *ctx)
{
    file_reader  *f = ctx->local;
    const wr_env *env = wr_host_env(ctx);
    if (f->file > 0) env->close(env->self, f->file - 1);
    wr_reader_close(&f->reader);
    free(f->path);
    memset(f, 0, sizeof *f);
}

const weir_op wr_file_source = {
    WR_CONNECTOR_OP(WEIR_OP_SOURCE, "file"),
    .outs = 1,
    .out = wr_endpoint_out,
    .state = &split_type,
    .local_size = sizeof(file_reader),
    .on_left = file_poll,
    .open = file_open,
    .close = file_close,
    .enumerate = file_enumerate,
};
