/* connectors/file_sink.c: one file, or with several subtasks a folder of part-00000, part-00001, ...; and where the job
 * takes snapshots, or exactly once is asked for, a folder of files that parts.c commits. */
#include "connectors/connectors.h"
#include "connectors/parts.h"
#include "connectors/tail.h"
#include "connectors/writer.h"
#include "operators/kernels.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { BUFFER_BYTES = WR_KIB(256) };

/* One subtask's file. */
typedef struct file_writer {
    wr_writer writer;
    char     *path;
    int       file; /* descriptor + 1; 0: not open */
    bool      sync;
    bool      restored; /* goes on behind what is there: records may be in it twice */
    bool      replaces; /* what is there goes with the first record or the end: all tasks have opened by then */
    bool      cuts;     /* so its own file */
    bool      clears;   /* so parts of subtasks that there are no more */
} file_writer;

/* The one or the other, by what the job wants. */
typedef struct file_sink {
    bool        exact;
    file_writer plain;
    wr_parts    parts;
} file_sink;

bool wr_file_is_part(const char *name, uint32_t *number)
{
    int end = 0;
    return sscanf(name, "part-%5u%n", number, &end) == 1 && name[end] == 0 && end >= 10;
}

/* Parts that an earlier run with more subtasks left behind. */
typedef struct stale {
    uint32_t from, found;
    uint32_t number[1024];
} stale;

static bool take_stale(void *arg, const char *name)
{
    stale   *s = arg;
    uint32_t number;
    if (wr_file_is_part(name, &number) && number >= s->from) s->number[s->found++] = number;
    return s->found < sizeof s->number / sizeof s->number[0];
}

static bool remove_stale(weir_ctx *ctx, const char *folder)
{
    const wr_env *env = wr_host_env(ctx);
    stale         s = {.from = ctx->subtasks};
    do {
        s.found = 0;
        int result = env->list(env->self, folder, take_stale, &s);
        for (uint32_t i = 0; i < s.found && result >= 0; i++) {
            char path[WR_PATH_BYTES_MAX];
            snprintf(path, sizeof path, "%s/part-%05u", folder, s.number[i]);
            result = env->unlink(env->self, path);
            if (result == -ENOENT) result = 0;
        }
        if (result < 0) {
            wr_host_fail_errno(ctx, -result, "clear", folder, "check that this user may write there");
            return false;
        }
    } while (s.found == sizeof s.number / sizeof s.number[0]);
    return true;
}

/* Several subtasks: makes the folder and the part's path. */
static bool choose_path(file_writer *w, weir_ctx *ctx, const char *path, bool overwrite)
{
    const wr_env        *env = wr_host_env(ctx);
    const weir_endpoint *endpoint = wr_host_endpoint(ctx);
    wr_file_info         file;
    size_t               n = strlen(path);
    bool                 folder = ctx->subtasks > 1 || (n > 0 && path[n - 1] == '/');
    bool                 there = env->stat(env->self, path, &file) == 0;
    while (folder && n > 1 && path[n - 1] == '/') n--;
    if (n == 0) {
        wr_op_fail(wr_host_op(ctx), WR_URI, "no path; sink %s (%s); write file:PATH or file:///PATH", endpoint->name,
                   endpoint->uri);
        return false;
    }
    if (there && file.is_folder != folder) {
        wr_op_fail(
            wr_host_op(ctx), WR_CONFIG,
            folder ? "%s is a file, but %u subtasks write a folder; sink %s (%s); remove it, or set .parallelism = 1"
                   : "%s is a folder, but %u subtask writes a file; sink %s (%s); end the path with /, or name a file",
            path, ctx->subtasks, endpoint->name, endpoint->uri);
        return false;
    }
    if (!folder) {
        w->path = strdup(path);
    } else {
        int result = there ? 0 : env->mkdir(env->self, path);
        if (result < 0 && result != -EEXIST) {
            wr_host_fail_errno(ctx, -result, "make the folder", path,
                               "make the folder around it, and check that this user may write there");
            return false;
        }
        w->clears = overwrite && !w->restored && ctx->subtask == 0;
        if (asprintf(&w->path, "%.*s/part-%05u", (int)n, path, ctx->subtask) < 0) w->path = NULL;
    }
    if (w->path != NULL) return true;
    wr_host_fail_errno(ctx, ENOMEM, "write", path, "free some memory");
    return false;
}

/* Nobody else may write it as long as we do: two would write over each other. The lock of a process that was killed is
 * gone with it. Where the file system has no locks, all is as it was without. */
static bool own_file(file_writer *w, weir_ctx *ctx)
{
    const wr_env        *env = wr_host_env(ctx);
    const wr_home       *home = wr_host_op(ctx)->home;
    const weir_endpoint *endpoint = wr_host_endpoint(ctx);
    if (env->own(env->self, w->file - 1) != -EAGAIN) return true;
    /* The worker of the attempt before may be about to end: then it helps to try again. */
    bool again = home->attempt > 1 || (home->attempt > 0 && w->restored);
    wr_op_fail(wr_host_op(ctx), again ? WR_IO : WR_BUSY,
               "%s is being written by somebody else: another run, or another sink of this job; sink %s (%s); wait for "
               "its end, or name another path",
               w->path, endpoint->name, endpoint->uri);
    return false;
}

static bool must_be_empty(const file_writer *w, weir_ctx *ctx, int64_t bytes)
{
    const weir_endpoint *endpoint = wr_host_endpoint(ctx);
    wr_op_fail(wr_host_op(ctx), WR_CONFIG,
               "%s is there already and has %lld bytes; sink %s (%s); remove it, or add ?overwrite=true", w->path,
               (long long)bytes, endpoint->name, endpoint->uri);
    return false;
}

/* A process that was killed may have left the beginning of a record: what comes now must not stand behind that. *bytes:
 * of the file, before and after. */
static bool cut_tail(file_writer *w, weir_ctx *ctx, int64_t *bytes)
{
    const wr_env        *env = wr_host_env(ctx);
    const weir_endpoint *endpoint = wr_host_endpoint(ctx);
    if (!w->restored || *bytes == 0) return true;
    int64_t whole = wr_tail_find(env, w->file - 1, w->writer.codec, *bytes);
    if (whole == -EBADMSG) {
        wr_op_fail(wr_host_op(ctx), WR_CONFIG,
                   "%s does not hold records of format %s, so where the next one may stand is not known; sink %s (%s); "
                   "put the file away, or name another path",
                   w->path, endpoint->format, endpoint->name, endpoint->uri);
        return false;
    }
    int64_t result = whole;
    if (whole >= 0 && whole < *bytes) {
        weir_log(ctx, WEIR_LOG_WARN, "the last %lld bytes of %s are the beginning of a record, and are cut off",
                 (long long)(*bytes - whole), w->path);
        result = env->truncate(env->self, w->file - 1, whole);
    }
    if (result < 0) wr_host_fail_errno(ctx, (int)-result, "go on behind", w->path, "check the disk");
    *bytes = whole;
    return result >= 0;
}

/* To open a pipe that nobody reads would hold the slot until somebody does: that there is a reader is seen first. */
static int open_special(const wr_env *env, const char *path, int flags)
{
    int seen = env->open(env->self, path, flags | WR_OPEN_NO_WAIT);
    if (seen < 0) return seen;
    int opened = env->open(env->self, path, flags);
    env->close(env->self, seen); /* only now: the reader would take it for the end */
    return opened;
}

static bool open_file(file_writer *w, weir_ctx *ctx)
{
    const wr_env        *env = wr_host_env(ctx);
    const weir_endpoint *endpoint = wr_host_endpoint(ctx);
    bool                 overwrite = weir_endpoint_u64(endpoint, "overwrite") != 0;
    wr_file_info         file;
    w->sync = weir_endpoint_u64(endpoint, "sync") != 0;
    if (!choose_path(w, ctx, endpoint->path, overwrite)) return false;
    bool special = env->stat(env->self, w->path, &file) == 0 && !file.is_file; /* a pipe or device */
    bool behind = w->restored && !special;
    int  flags = WR_OPEN_CREATE | (behind ? WR_OPEN_READ_WRITE | WR_OPEN_APPEND : WR_OPEN_WRITE);
    int  opened = special ? open_special(env, w->path, flags) : env->open(env->self, w->path, flags);
    if (opened < 0) {
        wr_host_fail_errno(ctx, -opened, "write", w->path,
                           opened == -ENOENT             ? "make the folder around it first"
                           : opened == -ENXIO && special ? "it is a pipe that nobody reads: start its reader first"
                                                         : "check that this user may write there");
        return false;
    }
    w->file = opened + 1;
    w->writer.file = opened;
    w->writer.path = w->path;
    if (special) w->sync = false; /* there is nothing to sync */
    if (!special && !own_file(w, ctx)) return false;
    int     result = special ? 0 : env->stat(env->self, w->path, &file); /* as whoever had it before us left it */
    int64_t bytes = special ? 0 : file.bytes;
    if (result < 0) {
        wr_host_fail_errno(ctx, -result, "look at", w->path, "check the disk");
        return false;
    }
    if (bytes > 0 && !overwrite && !w->restored) return must_be_empty(w, ctx, bytes);
    w->replaces = overwrite && !w->restored;
    w->cuts = bytes > 0 && w->replaces;
    if (!wr_writer_open(&w->writer, ctx, BUFFER_BYTES) || !cut_tail(w, ctx, &bytes)) return false;
    return (bytes > 0 && w->restored) || wr_writer_header(&w->writer, ctx);
}

static void release(file_writer *w, const wr_env *env)
{
    if (w->file > 0) env->close(env->self, w->file - 1);
    wr_writer_close(&w->writer);
    free(w->path);
    memset(w, 0, sizeof *w);
}

static bool replace(file_writer *w, weir_ctx *ctx)
{
    const wr_env *env = wr_host_env(ctx);
    if (!w->replaces) return true;
    w->replaces = false;
    if (w->clears && !remove_stale(ctx, wr_host_endpoint(ctx)->path)) return false;
    int result = w->cuts ? env->truncate(env->self, w->file - 1, 0) : 0;
    if (result < 0) wr_host_fail_errno(ctx, -result, "write", w->path, "check that this user may write there");
    w->writer.broken = result < 0;
    return result >= 0;
}

static bool flush_and_sync(file_writer *w, weir_ctx *ctx)
{
    const wr_env *env = wr_host_env(ctx);
    if (!wr_writer_flush(&w->writer, ctx)) return false;
    int result = w->sync ? env->fsync(env->self, w->file - 1) : 0;
    if (result < 0) wr_host_fail_errno(ctx, -result, "sync", w->path, "check the disk");
    return result >= 0;
}

static void close_file(file_writer *w, weir_ctx *ctx)
{
    if (w->file == 0) return;
    if (!w->replaces) flush_and_sync(w, ctx); /* also after a failure elsewhere: what was written stays */
    release(w, wr_host_env(ctx));
}

/* ---- which of the two -------------------------------------------------------------------------------------------- */

static bool given(const weir_endpoint *endpoint, const char *option)
{
    const weir_connector *c = endpoint->connector;
    for (uint32_t i = 0; i < c->options; i++) {
        if (strcmp(c->option[i].name, option) == 0) return endpoint->value[i].given;
    }
    return false;
}

/* False after it has failed the task. */
static bool choose(file_sink *f, weir_ctx *ctx)
{
    const wr_op         *op = wr_host_op(ctx);
    const weir_endpoint *endpoint = op->endpoint;
    bool                 rolls = given(endpoint, "roll-bytes") || given(endpoint, "roll-every");
    uint32_t             guarantee = op->node->guarantee;
    bool                 less = guarantee == WEIR_AT_LEAST_ONCE || guarantee == WEIR_BEST_EFFORT;
    /* What goes on from a snapshot has prepared files, whether it takes snapshots itself or not. */
    bool restored = wr_two_phase_restored(op);
    f->exact = guarantee == WEIR_EXACTLY_ONCE || (!less && (rolls || op->home->snapshots || restored));
    if (!f->exact && wr_two_phase_waiting(op) > 0) {
        wr_op_fail(
            wr_host_op(ctx), WR_STATE,
            "the snapshot has files that were prepared exactly once, and .guarantee asks for less now: they would "
            "be lost; sink %s (%s); give it the guarantee back, or another uid",
            endpoint->name, endpoint->uri);
        return false;
    }
    if (!less || !rolls) return true;
    wr_op_fail(wr_host_op(ctx), WR_OPTION,
               "roll-bytes and roll-every are for exactly once, and .guarantee asks for less; sink %s (%s); leave out "
               "the one or the other",
               endpoint->name, endpoint->uri);
    return false;
}

static bool file_of(void *local, const void *committable, char *path, char *name)
{
    const file_sink *f = local;
    return f->exact && wr_parts_file(&f->parts, committable, path, name);
}

static void file_open(weir_ctx *ctx)
{
    file_sink *f = ctx->local;
    bool       restored = wr_two_phase_restored(wr_host_op(ctx));
    ctx->verdict[0] = choose(f, ctx);
    if (!ctx->verdict[0]) return;
    wr_two_phase_files(wr_host_op(ctx), file_of);
    if (f->exact) {
        ctx->verdict[0] = wr_parts_open(&f->parts, ctx, restored);
    } else {
        f->plain.restored = restored;
        ctx->verdict[0] = open_file(&f->plain, ctx);
        if (!ctx->verdict[0]) release(&f->plain, wr_host_env(ctx));
    }
}

static void file_write(weir_ctx *ctx)
{
    file_sink *f = ctx->local;
    if (f->exact)
        wr_parts_write(&f->parts, ctx);
    else if (replace(&f->plain, ctx))
        wr_writer_put(&f->plain.writer, ctx);
}

static void file_flush(weir_ctx *ctx)
{
    file_sink *f = ctx->local;
    ctx->verdict[0] = f->exact || f->plain.replaces || wr_writer_flush(&f->plain.writer, ctx);
}

/* Without exactly once: what was written before a barrier is on the disk, and a restart goes on behind it. */
static void file_prepare(weir_ctx *ctx)
{
    file_sink *f = ctx->local;
    bool       barrier = wr_host_op(ctx)->home->snapshots;
    if (f->exact)
        ctx->verdict[0] = wr_parts_prepare(&f->parts, ctx);
    else
        ctx->verdict[0] = replace(&f->plain, ctx) &&
                          (barrier ? flush_and_sync(&f->plain, ctx) : wr_writer_flush(&f->plain.writer, ctx));
}

static void file_commit(weir_ctx *ctx)
{
    file_sink *f = ctx->local;
    ctx->verdict[0] = f->exact ? wr_parts_commit(&f->parts, ctx) : WEIR_COMMITTED;
}

static void file_recover(weir_ctx *ctx)
{
    file_sink *f = ctx->local;
    ctx->verdict[0] = !f->exact || wr_parts_recover(&f->parts, ctx, weir_sink_id_of(ctx));
}

static void file_close(weir_ctx *ctx)
{
    file_sink *f = ctx->local;
    if (f->exact)
        wr_parts_close(&f->parts, ctx);
    else
        close_file(&f->plain, ctx);
}

static const weir_type *const committables[] = {&wr_part_type};

const weir_op wr_file_sink = {
    WR_CONNECTOR_OP(WEIR_OP_TWO_PHASE_SINK, "file"),
    .outs = 1,
    .out = committables,
    .shared = &wr_part_type,
    .local_size = sizeof(file_sink),
    .on_left = file_write,
    .open = file_open,
    .flush = file_flush,
    .close = file_close,
    .prepare = file_prepare,
    .commit = file_commit,
    .recover = file_recover,
};

/* In the order of the options below: which direction each one is for. */
static const bool for_sinks[] = {false, false, false, true, true, true, true};

wr_err wr_file_check_options(const weir_endpoint *endpoint, bool sink, wr_errinfo *info)
{
    const weir_connector *file = &wr_connector_file;
    for (uint32_t i = 0; i < file->options; i++) {
        if (!endpoint->value[i].given || for_sinks[i] == sink) continue;
        return wr_fail(info, WR_OPTION, "option %s is for %s, and this is a %s; leave it out", file->option[i].name,
                       sink ? "sources" : "sinks", sink ? "sink" : "source");
    }
    uint64_t split = weir_endpoint_u64(endpoint, "split-bytes");
    if (split > 0 && split < WR_SPLIT_BYTES_MIN)
        return wr_fail(
            info, WR_OPTION,
            "option split-bytes=%llu makes parts that are hardly worth opening a file; give %d or more, or 0 "
            "for none",
            (unsigned long long)split, WR_SPLIT_BYTES_MIN);
    return WR_OK;
}

static const weir_option_def options[] = {
    {"split-bytes", WEIR_OPTION_BYTES, 0, "16MiB",
     "source: larger files are read in parts of this size, side by side; 0: never"},
    {"skip-blank", WEIR_OPTION_BOOL, 0, "false", "source: lines without a byte are no records"},
    {"multiline", WEIR_OPTION_BOOL, 0, "false",
     "source, csv: a quoted field may hold line breaks; files are not split"},
    {"overwrite", WEIR_OPTION_BOOL, 0, "false", "sink: replaces what is there; otherwise it must be empty"},
    {"sync", WEIR_OPTION_BOOL, 0, "true", "sink: the end waits until the disk has everything"},
    {"roll-bytes", WEIR_OPTION_BYTES, 0, "128MiB", "sink, exactly once: a file of this size is closed; 0: never"},
    {"roll-every", WEIR_OPTION_DURATION, 0, "0s", "sink, exactly once: a file of this age is closed; 0s: never"},
};
_Static_assert(sizeof options / sizeof options[0] == sizeof for_sinks, "each option has its direction");
_Static_assert(WR_SPLIT_BYTES == WR_MIB(16), "the default of split-bytes above is written out");

const weir_connector wr_connector_file = {
    .magic = WEIR_CONNECTOR_MAGIC,
    .abi = WEIR_ABI,
    .size = sizeof(weir_connector),
    .scheme = "file",
    .summary = "source: files, lists, folders, patterns; sink: a file, or a folder of parts",
    .source_formats = "text csv raw",
    .sink_formats = "csv text raw",
    .option = options,
    .options = sizeof options / sizeof options[0],
    .source = &wr_file_source,
    .sink = &wr_file_sink,
};
