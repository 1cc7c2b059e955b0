/* connectors/stdin.c: standard input, read by one subtask. It cannot be read twice: after a restart it goes on with
 * what comes then. The descriptor is shared with whoever started us, so it is never made non-blocking: we ask before
 * we read. */
#include "connectors/connectors.h"
#include "connectors/reader.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <weir/io.h>

typedef struct stdin_split {
    weir_str name;
    uint64_t bytes; /* taken so far */
    uint64_t lines;
} stdin_split;

#define FIELD(NAME, KIND)                                                                                              \
    {                                                                                                                  \
#NAME, offsetof(stdin_split, NAME), sizeof(((stdin_split *)0)->NAME), KIND, 0, NULL, 0, 0, 0,                  \
        {                                                                                                              \
            0                                                                                                          \
        }                                                                                                              \
    }
static const weir_field split_fields[] = {FIELD(name, WEIR_STR), FIELD(bytes, WEIR_U64), FIELD(lines, WEIR_U64)};
#undef FIELD
static const weir_type split_type = {.abi_size = sizeof(weir_type),
                                     .fields = 3,
                                     .name = "stdin_split",
                                     .size = sizeof(stdin_split),
                                     .align = _Alignof(stdin_split),
                                     .field = split_fields};

/* The one open split. */
typedef struct stdin_reader {
    wr_reader reader;
    bool      hungry, headed; /* headed: what stands before the first record is behind us */
    uint64_t  lines_seen;
    uint64_t  base; /* offset of buffer[0] in the input */
} stdin_reader;

static void stdin_enumerate(weir_ctx *ctx)
{
    stdin_split split = {.name = weir_str_of("stdin", 5)};
    weir_out    out = ctx->out[0];
    wr_emit_room(&out);
    memcpy(out.next, &split, sizeof split);
    out.next += sizeof split;
    ctx->out[0] = out;
}

static void stdin_place(const wr_reader *reader, weir_ctx *ctx, size_t at, char *text, size_t n)
{
    const stdin_reader *s = (const stdin_reader *)reader;
    const stdin_split  *split = ctx->state[0];
    uint64_t            lines = split->lines + (reader->lines - s->lines_seen);
    if (reader->codec->format->lines)
        snprintf(text, n, "standard input:%llu", (unsigned long long)lines + 1);
    else
        snprintf(text, n, "standard input, byte %llu", (unsigned long long)(s->base + at));
}

static void stdin_open(weir_ctx *ctx)
{
    stdin_reader *s = ctx->local;
    s->reader.place = stdin_place;
    s->hungry = true;
    s->base = ((const stdin_split *)ctx->state[0])->bytes;
    if (wr_host_op(ctx)->home->snapshots)
        weir_log(ctx, WEIR_LOG_WARN,
                 "standard input cannot be read again: when this job is started again, records that came after its "
                 "last snapshot are lost");
    ctx->verdict[0] = wr_reader_open(&s->reader, ctx);
    if (s->reader.codec != NULL) s->headed = s->reader.codec->format != &wr_format_csv;
}

enum filled { FILLED, NOTHING_THERE, FAILED };

static enum filled fill(stdin_reader *s, weir_ctx *ctx)
{
    const wr_env *env = wr_host_env(ctx);
    struct pollfd ready = {.fd = STDIN_FILENO, .events = POLLIN};
    size_t        room, dropped;
    if (poll(&ready, 1, 0) <= 0) return NOTHING_THERE; /* also when a signal came: to read might block the slot */
    char *to = wr_reader_space(&s->reader, ctx, &room, &dropped);
    if (to == NULL) return FAILED;
    s->base += dropped;
    int64_t got = env->read(env->self, STDIN_FILENO, to, room);
    if (got == -EAGAIN) return NOTHING_THERE;
    if (got < 0) {
        wr_host_fail_errno(ctx, (int)-got, "read", "standard input", "check what stands before the pipe");
        return FAILED;
    }
    s->reader.end += (size_t)got;
    s->reader.ended = got == 0;
    return FILLED;
}

/* Takes what stands before the first record: the mark of UTF-8 and the header line. False: it is not all there yet, or
 * the task has failed. */
static bool take_header(stdin_reader *s, weir_ctx *ctx)
{
    wr_reader  *r = &s->reader;
    wr_reason   reason;
    const char *line = r->buffer + r->begin;
    size_t      left = r->end - r->begin, bom = 0;
    bool        marked = memcmp(line, "\xef\xbb\xbf", left < 3 ? left : 3) == 0;
    if (marked && left < 3 && !r->ended) return false;
    if (marked && left >= 3) bom = 3;
    if (!r->codec->header || left == 0) { /* nothing at all is an empty file, and no header is missed there */
        r->begin += bom;
        s->headed = true;
        return true;
    }
    const char *end = memchr(line, '\n', left);
    if (end == NULL && !r->ended && left <= WR_CSV_HEADER_BYTES_MAX) return false; /* a longer one is refused below */
    size_t whole = end != NULL ? (size_t)(end + 1 - line) : left, n = whole - bom - (end != NULL);
    if (n > 0 && line[bom + n - 1] == '\r') n--;
    if (!wr_layout_of_header(&r->layout, r->codec, line + bom, n, &reason)) {
        wr_op_fail(wr_host_op(ctx), WR_BAD_RECORD, "%s; standard input:1; source %s", reason.text,
                   wr_host_endpoint(ctx)->name);
        return false;
    }
    r->begin += whole;
    r->lines++;
    s->headed = true;
    return true;
}

static void stdin_poll(weir_ctx *ctx)
{
    stdin_reader *s = ctx->local;
    stdin_split  *split = ctx->state[0];
    ctx->verdict[0] = WEIR_MORE;
    if (s->hungry && !s->reader.ended) {
        enum filled filled = fill(s, ctx);
        if (filled == FAILED) return;
        if (filled == NOTHING_THERE) {
            weir_wake_on_fd(ctx, STDIN_FILENO);
            ctx->verdict[0] = WEIR_IDLE;
            return;
        }
    }
    size_t before = s->reader.begin;
    if (!s->headed && !take_header(s, ctx)) return;
    weir_out     out = ctx->out[0];
    enum wr_read read = wr_reader_emit(&s->reader, ctx, &out, SIZE_MAX);
    ctx->out[0] = out;
    s->hungry = read == WR_READ_HUNGRY;
    split->bytes += s->reader.begin - before;
    split->lines += s->reader.lines - s->lines_seen;
    s->lines_seen = s->reader.lines;
    if (read == WR_READ_DONE) ctx->verdict[0] = WEIR_END;
}

static void stdin_close(weir_ctx *ctx)
{
    wr_reader_close(&((stdin_reader *)ctx->local)->reader);
}

static const weir_op stdin_source = {
    WR_CONNECTOR_OP(WEIR_OP_SOURCE, "stdin"),
    .outs = 1,
    .out = wr_endpoint_out,
    .state = &split_type,
    .local_size = sizeof(stdin_reader),
    .on_left = stdin_poll,
    .open = stdin_open,
    .close = stdin_close,
    .enumerate = stdin_enumerate,
};

static const weir_option_def options[] = {
    {"skip-blank", WEIR_OPTION_BOOL, 0, "false", "lines without a byte are no records"},
    {"multiline", WEIR_OPTION_BOOL, 0, "false", "csv: a quoted field may hold line breaks"},
};

const weir_connector wr_connector_stdin = {
    .magic = WEIR_CONNECTOR_MAGIC,
    .abi = WEIR_ABI,
    .size = sizeof(weir_connector),
    .flags = WEIR_CONNECTOR_ONE | WEIR_CONNECTOR_GONE,
    .scheme = "stdin",
    .summary = "source: standard input until its end",
    .source_formats = "text csv raw",
    .option = options,
    .options = sizeof options / sizeof options[0],
    .source = &stdin_source,
};
