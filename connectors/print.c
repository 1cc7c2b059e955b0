/* connectors/print.c: one line per record on standard output or standard error. */
#include "connectors/connectors.h"
#include "connectors/writer.h"
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

enum { FILE_BYTES = WR_KIB(64) };

/* Of the marks below, which are not 0 once the header is out. While opening only. */
static pthread_mutex_t headers = PTHREAD_MUTEX_INITIALIZER;

/* Whoever opens first writes it, and it is out before anybody has opened: so it stands before all lines. */
static bool print_header(wr_writer *writer, weir_ctx *ctx)
{
    uint32_t *mark = wr_host_endpoint(ctx)->mark;
    bool      good = true;
    pthread_mutex_lock(&headers);
    if (*mark == 0) good = wr_writer_header(writer, ctx) && wr_writer_flush(writer, ctx);
    if (good) *mark = 1;
    pthread_mutex_unlock(&headers);
    return good;
}

wr_err wr_print_check_options(const weir_endpoint *endpoint, wr_errinfo *info)
{
    const char *to = weir_endpoint_str(endpoint, "to");
    if (strcmp(to, "stdout") == 0 || strcmp(to, "stderr") == 0) return WR_OK;
    return wr_fail(info, WR_OPTION, "option to=%s is neither stdout nor stderr; correct it", to);
}

static void print_open(weir_ctx *ctx)
{
    wr_writer           *writer = ctx->local;
    const weir_endpoint *endpoint = wr_host_endpoint(ctx);
    const wr_env        *env = wr_host_env(ctx);
    bool                 error = strcmp(weir_endpoint_str(endpoint, "to"), "stderr") == 0;
    wr_file_info         file;
    writer->file = error ? STDERR_FILENO : STDOUT_FILENO;
    writer->path = error ? "standard error" : "standard output";
    if (weir_endpoint_u64(endpoint, "prefix") != 0)
        writer->prefix_bytes = (size_t)snprintf(writer->prefix, sizeof writer->prefix, "%u> ", ctx->subtask + 1);
    /* All subtasks write to one pipe without a lock: the system keeps a write together up to PIPE_BUF bytes. To a
     * file, any. */
    bool is_file = env->stat(env->self, error ? "/proc/self/fd/2" : "/proc/self/fd/1", &file) == 0 && file.is_file;
    writer->waits = !is_file;
    ctx->verdict[0] = wr_writer_open(writer, ctx, is_file ? FILE_BYTES : PIPE_BUF) && print_header(writer, ctx);
}

static void print_write(weir_ctx *ctx)
{
    wr_writer_put(ctx->local, ctx);
}

static void print_flush(weir_ctx *ctx)
{
    ctx->verdict[0] = wr_writer_flush(ctx->local, ctx);
}

static void print_close(weir_ctx *ctx)
{
    wr_writer *writer = ctx->local;
    if (writer->buffer != NULL) wr_writer_flush(writer, ctx); /* also after a failure: what was printed stays whole */
    wr_writer_close(writer);
}

static const weir_op print_sink = {
    WR_CONNECTOR_OP(WEIR_OP_SINK, "print"),
    .local_size = sizeof(wr_writer),
    .on_left = print_write,
    .open = print_open,
    .flush = print_flush,
    .close = print_close,
};

static const weir_option_def options[] = {
    {"prefix", WEIR_OPTION_BOOL, 0, "false", "each line begins with the number of its subtask, \"2> \""},
    {"to", WEIR_OPTION_STR, 0, "stdout", "stdout or stderr"},
};

const weir_connector wr_connector_print = {
    .magic = WEIR_CONNECTOR_MAGIC,
    .abi = WEIR_ABI,
    .size = sizeof(weir_connector),
    .scheme = "print",
    .summary = "sink: a line per record on standard output",
    .sink_formats = "csv text",
    .option = options,
    .options = sizeof options / sizeof options[0],
    .sink = &print_sink,
};
