#include "connectors/parts.h"
#include "base/check.h"
#include "base/hash.h"
#include "base/lease.h"
#include "base/sabotage.h"
#include "operators/kernels.h"
#include "snapshot/kept.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { BUFFER_BYTES = WR_KIB(256), SLUG_BYTES = 32 };

#define FIELD(NAME, KIND)                                                                                              \
    {                                                                                                                  \
#NAME, offsetof(wr_part, NAME), sizeof(((wr_part *)0)->NAME), KIND, 0, NULL, 0, 0, 0,                          \
        {                                                                                                              \
            0                                                                                                          \
        }                                                                                                              \
    }
static const weir_field part_fields[] = {FIELD(name, WEIR_STR), FIELD(bytes, WEIR_U64)};
#undef FIELD
const weir_type wr_part_type = {.abi_size = sizeof(weir_type),
                                .fields = sizeof part_fields / sizeof part_fields[0],
                                .name = "file_part",
                                .size = sizeof(wr_part),
                                .align = _Alignof(wr_part),
                                .field = part_fields};

/* ---- names ------------------------------------------------------------------------------------------------------- */

/* What is not a letter or a digit becomes '_': '-' parts what stands in a name. */
static void slug(char to[SLUG_BYTES + 1], const char *text)
{
    size_t n = 0;
    for (; text[n] != 0 && n < SLUG_BYTES; n++) {
        char c = text[n];
        bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        to[n] = plain ? c : '_';
    }
    to[n] = 0;
}

static void name_prefixes(wr_parts *p, const weir_sink_id *id)
{
    char     job[SLUG_BYTES + 1], uid[SLUG_BYTES + 1];
    uint64_t hash = wr_hash_bytes(id->job, strlen(id->job)); /* slugs are cut, and a lineage is long */
    hash = wr_hash_fold(hash, wr_hash_bytes(id->uid, strlen(id->uid)));
    hash = wr_hash_fold(hash, wr_hash_bytes(id->lineage, strlen(id->lineage)));
    slug(job, id->job);
    slug(uid, id->uid);
    snprintf(p->job, sizeof p->job, "%s-%s-", *job ? job : "job", uid);
    snprintf(p->prefix, sizeof p->prefix, "%s%08x-", p->job, (unsigned)(hash >> 32));
}

static void path_of(const wr_parts *p, char path[WR_PATH_BYTES_MAX], const char *name, size_t n, const char *state)
{
    snprintf(path, WR_PATH_BYTES_MAX, "%s/%s%.*s%s", p->folder, *state ? "." : "", (int)n, name, state);
}

/* What a file's name says. */
typedef struct part_name {
    const char *name; /* NAME within it */
    size_t      n;
    const char *state; /* behind it: "" (finished), ".open", ".pending" */
    uint32_t    subtask, attempt;
} part_name;

/* The end of SUBTASK-EPOCH-NUMBER. or, in a cluster, SUBTASK-EPOCH-ATTEMPT-NUMBER. */
static bool read_numbers(const char *at, part_name *to)
{
    unsigned number, end = 0;
    uint64_t epoch;
    if (sscanf(at, "%5u-%10lu-%10u-%6u.%n", &to->subtask, &epoch, &to->attempt, &number, (int *)&end) == 4 && end >= 30)
        return true;
    end = 0;
    to->attempt = 0;
    return sscanf(at, "%5u-%10lu-%6u.%n", &to->subtask, &epoch, &number, (int *)&end) == 3 && end >= 24;
}

/* False: not of this sink. */
static bool read_name(const char *file, const char *prefix, part_name *to)
{
    bool        hidden = *file == '.';
    const char *at = file + hidden;
    size_t      bytes = strlen(at), tail = 0;
    to->name = at;
    to->state = "";
    if (hidden) {
        static const char *const states[] = {".open", ".pending"};
        for (int i = 0; i < 2 && tail == 0; i++) {
            size_t have = strlen(states[i]);
            if (bytes > have && strcmp(at + bytes - have, states[i]) == 0) tail = have;
        }
        if (tail == 0) return false;
        to->state = at + bytes - tail;
    }
    to->n = bytes - tail;
    size_t   skip = strlen(prefix);
    unsigned hash, end = 0;
    if (bytes < skip || memcmp(at, prefix, skip) != 0) return false;
    at += skip;
    if (skip > 0 && sscanf(at, "%8x-%n", &hash, (int *)&end) == 1 && end == 9) at += end; /* prefix is p->job */
    return read_numbers(at, to);
}

bool wr_parts_is_result(const char *file, const char *uid)
{
    char mark[SLUG_BYTES + 3], name[SLUG_BYTES + 1];
    slug(name, uid);
    snprintf(mark, sizeof mark, "-%s-", name);
    for (const char *at = strstr(file, mark); at != NULL; at = strstr(at + 1, mark)) {
        part_name   part;
        unsigned    hash, end = 0;
        const char *behind = at + strlen(mark);
        if (sscanf(behind, "%8x-%n", &hash, (int *)&end) == 1 && end == 9 && read_numbers(behind + end, &part))
            return true;
    }
    return false;
}

/* ---- the folder -------------------------------------------------------------------------------------------------- */

static int sync_folder(const wr_parts *p, const wr_env *env, const char *path)
{
    if (!p->sync || wr_sabotage.sink_no_sync) return 0;
    int folder = env->open(env->self, path, WR_OPEN_READ | WR_OPEN_FOLDER);
    if (folder < 0) return folder;
    int result = env->fsync(env->self, folder);
    env->close(env->self, folder);
    return result;
}

static bool make_folder(wr_parts *p, weir_ctx *ctx)
{
    const wr_env *env = wr_host_env(ctx);
    wr_file_info  info;
    int           result = env->stat(env->self, p->folder, &info);
    if (result == 0 && !info.is_folder) {
        wr_op_fail(
            wr_host_op(ctx), WR_CONFIG,
            "%s is a file, but exactly once needs a folder of files; sink %s (%s); remove it, name another path, "
            "or set .guarantee = WEIR_AT_LEAST_ONCE",
            p->folder, wr_host_endpoint(ctx)->name, wr_host_endpoint(ctx)->uri);
        return false;
    }
    bool there = result == 0;
    if (!there) result = env->mkdir(env->self, p->folder);
    if (result == -EEXIST) result = 0;
    if (result == 0) { /* also when it is there: whoever made it may have been killed before it did this */
        char  around[WR_PATH_BYTES_MAX];
        char *slash;
        snprintf(around, sizeof around, "%s", p->folder);
        slash = strrchr(around, '/');
        if (slash == NULL)
            snprintf(around, sizeof around, ".");
        else
            slash[slash == around] = 0;
        result = sync_folder(p, env, around);
        if (there && (result == -EACCES || result == -EPERM)) result = 0; /* it is somebody else's, and older than we */
    }
    if (result == 0) return true;
    wr_host_fail_errno(ctx, -result, "make the folder", p->folder,
                       "make the folder around it, and check that this user may write there");
    return false;
}

/* Some names of a folder, and which of them are meant. */
typedef struct names {
    const wr_parts *parts;
    uint32_t        subtask, subtasks; /* those whose subtask is this one's, modulo subtasks */
    bool            all;               /* of all lineages, and finished ones as well; but not what we write */
    bool            finished;          /* only those: nobody reads the others */
    uint32_t        attempt;           /* ours: what a later one of this job writes is not ours to touch */
    const wr_part  *known;
    uint32_t        knowns;
    char            found[64][200];
    uint32_t        n;
} names;

static bool is_known(const names *s, const char *name, size_t n)
{
    for (uint32_t i = 0; i < s->knowns; i++) {
        if (s->known[i].name.len == n && memcmp(weir_str_data(&s->known[i].name), name, n) == 0) return true;
    }
    return false;
}

static bool take_name(void *arg, const char *file)
{
    names    *s = arg;
    part_name part = {0};
    int       end = 0;
    if (s->finished && *file == '.') return true;
    bool plain = s->all && sscanf(file, "part-%5u%n", &part.subtask, &end) == 1 && file[end] == 0 && end == 10;
    if (!plain) {
        if (!read_name(file, s->all ? s->parts->job : s->parts->prefix, &part)) return true;
        if (!s->all && (*part.state == 0 || is_known(s, part.name, part.n))) return true;
        bool of_job = strncmp(part.name, s->parts->prefix, strlen(s->parts->prefix)) == 0;
        if (of_job && part.attempt > s->attempt && !wr_sabotage.stale_epoch) return true;
        if (of_job && s->all && *part.state != 0) return true; /* recover left none of an earlier attempt */
    }
    if (part.subtask % s->subtasks != s->subtask || strlen(file) >= sizeof s->found[0]) return true;
    memcpy(s->found[s->n++], file, strlen(file) + 1);
    return s->n < sizeof s->found / sizeof s->found[0];
}

/* Removes what `s` means. Returns how many files, or -errno. */
static int64_t remove_names(wr_parts *p, const wr_env *env, names *s)
{
    int64_t removed = 0;
    do {
        s->n = 0;
        int result = env->list(env->self, p->folder, take_name, s);
        for (uint32_t i = 0; i < s->n && result >= 0; i++) {
            char path[WR_PATH_BYTES_MAX];
            snprintf(path, sizeof path, "%s/%s", p->folder, s->found[i]);
            result = env->unlink(env->self, path);
            if (result == -ENOENT) result = 0;
        }
        if (result < 0) return result;
        removed += s->n;
    } while (s->n == sizeof s->found / sizeof s->found[0]);
    int result = removed > 0 ? sync_folder(p, env, p->folder) : 0;
    return result < 0 ? result : removed;
}

static names *all_names(wr_parts *p, weir_ctx *ctx, bool finished)
{
    names *s = calloc(1, sizeof *s);
    if (s == NULL) return NULL;
    *s = (names){.parts = p,
                 .subtask = ctx->subtask,
                 .subtasks = ctx->subtasks,
                 .all = true,
                 .finished = finished,
                 .attempt = wr_host_op(ctx)->home->attempt};
    return s;
}

static bool looked(const wr_parts *p, weir_ctx *ctx, int64_t result)
{
    if (result >= 0) return true;
    wr_host_fail_errno(ctx, (int)-result, "look through", p->folder, "check that this user may write there");
    return false;
}

/* A start from nothing into a folder with results: a reader could not tell them from ours. */
static bool begin_anew(wr_parts *p, weir_ctx *ctx)
{
    const wr_env        *env = wr_host_env(ctx);
    const weir_endpoint *endpoint = wr_host_endpoint(ctx);
    p->replaces = weir_endpoint_u64(endpoint, "overwrite") != 0;
    if (p->replaces) return true;
    names *s = all_names(p, ctx, true); /* recover removes what is hidden and of this lineage */
    int    result = s == NULL ? -ENOMEM : env->list(env->self, p->folder, take_name, s);
    bool   found = result >= 0 && s->n > 0;
    if (found)
        wr_op_fail(wr_host_op(ctx), WR_CONFIG,
                   "%s has results of an earlier run (%s); sink %s (%s); remove them, or add ?overwrite=true",
                   p->folder, s->found[0], endpoint->name, endpoint->uri);
    free(s);
    return !found && looked(p, ctx, result);
}

/* Not while it opens: another task may yet refuse the job. But before the first snapshot counts: who starts from that
 * one looks for nothing any more. */
static bool replace(wr_parts *p, weir_ctx *ctx)
{
    if (!p->replaces) return true;
    names  *s = all_names(p, ctx, false);
    int64_t result = s == NULL ? -ENOMEM : remove_names(p, wr_host_env(ctx), s);
    free(s);
    p->replaces = result < 0;
    return looked(p, ctx, result);
}

bool wr_parts_open(wr_parts *p, weir_ctx *ctx, bool restored)
{
    const weir_endpoint *endpoint = wr_host_endpoint(ctx);
    size_t               n = strlen(endpoint->path);
    while (n > 1 && endpoint->path[n - 1] == '/') n--;
    if (n == 0) {
        wr_op_fail(wr_host_op(ctx), WR_URI, "no path; sink %s (%s); write file:PATH or file:///PATH", endpoint->name,
                   endpoint->uri);
        return false;
    }
    p->folder = strndup(endpoint->path, n);
    if (p->folder == NULL) {
        wr_host_fail_errno(ctx, ENOMEM, "write", endpoint->path, "free some memory");
        return false;
    }
    const char *format = endpoint->format != NULL ? endpoint->format : "";
    snprintf(p->extension, sizeof p->extension, "%.6s", strcmp(format, "text") == 0 ? "txt" : format);
    p->roll_bytes = weir_endpoint_u64(endpoint, "roll-bytes");
    p->roll_every_ns = (int64_t)weir_endpoint_u64(endpoint, "roll-every");
    p->sync = weir_endpoint_u64(endpoint, "sync") != 0;
    p->epoch = UINT64_MAX;
    name_prefixes(p, weir_sink_id_of(ctx));
    p->writer.path = p->folder;
    return wr_writer_open(&p->writer, ctx, BUFFER_BYTES) && make_folder(p, ctx) && (restored || begin_anew(p, ctx));
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

/* In a cluster it names the attempt: a worker that was taken for dead must not meet the files of the next one. */
static void name_part(wr_parts *p, const weir_ctx *ctx, uint32_t attempt)
{
    char of_attempt[16] = "";
    if (attempt > 0) snprintf(of_attempt, sizeof of_attempt, "%05u-", attempt);
    snprintf(p->name, sizeof p->name, "%s%05u-%010llu-%s%06llu.%s", p->prefix, ctx->subtask,
             (unsigned long long)p->epoch, of_attempt, (unsigned long long)p->number, p->extension);
}

static bool begin_file(wr_parts *p, weir_ctx *ctx)
{
    const wr_env *env = wr_host_env(ctx);
    uint64_t      epoch = wr_host_op(ctx)->home->epoch;
    char          path[WR_PATH_BYTES_MAX];
    int           file = -EEXIST;
    p->number = epoch == p->epoch ? p->number + 1 : 0;
    p->epoch = epoch;
    /* A name may be there only when a job was set back by hand: it is never written over. */
    for (; file == -EEXIST; p->number += file == -EEXIST) {
        wr_file_info info;
        name_part(p, ctx, wr_host_op(ctx)->home->attempt);
        path_of(p, path, p->name, strlen(p->name), "");
        if (env->stat(env->self, path, &info) == 0) continue;
        path_of(p, path, p->name, strlen(p->name), ".open");
        file = env->open(env->self, path, WR_OPEN_WRITE | WR_OPEN_CREATE | WR_OPEN_EXCLUSIVE);
    }
    if (file < 0) {
        wr_host_fail_errno(ctx, -file, "write", path, "check that this user may write there");
        return false;
    }
    p->file = file + 1;
    p->writer.file = file;
    p->writer.written = 0;
    p->opened_ns = wr_host_op(ctx)->home->mono_ns;
    return wr_writer_header(&p->writer, ctx);
}

static void add_closed(wr_parts *p, const char *name, uint64_t bytes)
{
    if (p->closeds == p->room) {
        p->room = p->room ? 2 * p->room : 8;
        p->closed = realloc(p->closed, p->room * sizeof *p->closed);
    }
    char *copy = strdup(name);
    check(p->closed != NULL && copy != NULL);
    p->closed[p->closeds++] = (wr_part){.name = weir_str_of(copy, strlen(copy)), .bytes = bytes};
    if (strlen(copy) <= WEIR_STR_INLINE) free(copy);
}

static void forget_closed(wr_parts *p)
{
    for (uint32_t i = 0; i < p->closeds; i++) {
        if (p->closed[i].name.len > WEIR_STR_INLINE) free((char *)(uintptr_t)p->closed[i].name.u.far);
    }
    p->closeds = 0;
}

/* Open becomes pending. What the disk has refused once is lost: the task fails, and its records are read again. */
static bool end_file(wr_parts *p, weir_ctx *ctx)
{
    const wr_env *env = wr_host_env(ctx);
    char          from[WR_PATH_BYTES_MAX], to[WR_PATH_BYTES_MAX];
    if (p->file == 0) return true;
    path_of(p, from, p->name, strlen(p->name), ".open");
    path_of(p, to, p->name, strlen(p->name), ".pending");
    bool good = wr_writer_flush(&p->writer, ctx);
    int  file = p->file - 1, result = 0;
    p->file = 0;
    if (good && p->sync && !wr_sabotage.sink_no_sync) result = env->fsync(env->self, file);
    int closed = env->close(env->self, file);
    if (result == 0) result = closed;
    if (good && wr_lease_over(env, wr_host_op(ctx)->home->lease_until_ns)) {
        wr_op_fail(wr_host_op(ctx), WR_UNREACHABLE,
                   "the worker's lease is over, and another one may write by now; sink %s (%s)",
                   wr_host_endpoint(ctx)->name, wr_host_endpoint(ctx)->uri);
        return false;
    }
    if (good && result == 0) result = env->rename(env->self, from, to);
    if (good && result < 0)
        wr_host_fail_errno(ctx, -result, "finish", from,
                           result == -ENOSPC ? "make room on the disk" : "check the disk");
    if (!good || result < 0) return false;
    add_closed(p, p->name, p->writer.written);
    return true;
}

void wr_parts_write(wr_parts *p, weir_ctx *ctx)
{
    if (p->file == 0 && !begin_file(p, ctx)) return;
    wr_writer_put(&p->writer, ctx);
    int64_t now_ns = wr_host_op(ctx)->home->mono_ns;
    bool    large = p->roll_bytes > 0 && p->writer.written + p->writer.used >= p->roll_bytes;
    bool    old = p->roll_every_ns > 0 && now_ns - p->opened_ns >= p->roll_every_ns;
    if ((large || old) && !p->writer.broken) end_file(p, ctx);
}

bool wr_parts_prepare(wr_parts *p, weir_ctx *ctx)
{
    if (p->writer.broken || !end_file(p, ctx) || !replace(p, ctx)) return false;
    int result = p->closeds > 0 ? sync_folder(p, wr_host_env(ctx), p->folder) : 0;
    if (result < 0) {
        wr_host_fail_errno(ctx, -result, "sync", p->folder, "check the disk");
        return false;
    }
    weir_out out = ctx->out[0];
    for (uint32_t i = 0; i < p->closeds; i++) {
        wr_emit_room(&out);
        wr_part *part = (wr_part *)(void *)out.next;
        memcpy(part, &p->closed[i], sizeof *part);
        if (part->name.len > WEIR_STR_INLINE) weir_out_own(out.engine, &part->name);
        out.next += sizeof *part;
        if (out.time != NULL) *out.time++ = (weir_time){WEIR_NO_TIME};
    }
    ctx->out[0] = out;
    forget_closed(p);
    return true;
}

/* ---- committing -------------------------------------------------------------------------------------------------- */

/* Whoever copies it may be another process: so the path is a whole one. */
bool wr_parts_file(const wr_parts *p, const void *committable, char *path, char *name)
{
    const wr_part *part = committable;
    char           at[WR_PATH_BYTES_MAX], here[WR_PATH_BYTES_MAX];
    path_of(p, at, weir_str_data(&part->name), part->name.len, ".pending");
    bool whole = at[0] == '/' || getcwd(here, sizeof here) == NULL;
    int  n = snprintf(path, WR_PATH_BYTES_MAX, "%s%s%s", whole ? "" : here, whole ? "" : "/", at);
    if (n < 0 || n >= WR_PATH_BYTES_MAX) snprintf(path, WR_PATH_BYTES_MAX, "%s", at);
    snprintf(name, WR_PATH_BYTES_MAX, "%.*s", (int)part->name.len, weir_str_data(&part->name));
    return true;
}

/* Neither pending nor finished: a restart from an older snapshot removed it, it was finished and taken away, or the
 * output goes elsewhere now. The savepoint that speaks of it has kept it: it comes (again), as all does that came
 * behind the savepoint. */
static weir_commit commit_kept(wr_parts *p, weir_ctx *ctx, const wr_part *part, const char *to)
{
    const wr_env  *env = wr_host_env(ctx);
    const char    *name = weir_str_data(&part->name);
    char           from[WR_PATH_BYTES_MAX], open[WR_PATH_BYTES_MAX], state[32];
    wr_kept        copied = {0};
    wr_errinfo     info = {0};
    const wr_kept *kept = wr_two_phase_kept(wr_host_op(ctx), name, part->name.len, from);
    if (kept == NULL) {
        weir_log(ctx, WEIR_LOG_WARN, "%s is not there any more; it was finished before this start, or is lost", to);
        return WEIR_COMMITTED;
    }
    /* A name of its own: a worker that was taken for dead may be at the same. */
    snprintf(state, sizeof state, ".%016llx.open", (unsigned long long)env->random(env->self));
    path_of(p, open, name, part->name.len, state);
    if (wr_kept_copy(env, from, open, NULL, &copied, &info) != WR_OK) {
        weir_log(ctx, WEIR_LOG_WARN, "cannot finish %s: %s; it is tried again", to, info.text);
        return WEIR_RETRY;
    }
    if (copied.bytes != part->bytes || memcmp(copied.hash, kept->hash, sizeof copied.hash) != 0) {
        weir_log(ctx, WEIR_LOG_ERROR, "%s of the savepoint is damaged", from);
        env->unlink(env->self, open);
        return WEIR_LOST;
    }
    int result = env->rename(env->self, open, to);
    if (result == 0) return WEIR_COMMITTED;
    weir_log(ctx, WEIR_LOG_WARN, "cannot finish %s: %s; it is tried again", to, strerror(-result));
    env->unlink(env->self, open); /* the next try has another name */
    return WEIR_RETRY;
}

static weir_commit commit_one(wr_parts *p, weir_ctx *ctx, const wr_part *part)
{
    const wr_env *env = wr_host_env(ctx);
    char          from[WR_PATH_BYTES_MAX], to[WR_PATH_BYTES_MAX];
    const char   *name = weir_str_data(&part->name);
    wr_file_info  info;
    if (part->name.len == 0 || part->name.len > 150 || memchr(name, '/', part->name.len) != NULL) {
        weir_log(ctx, WEIR_LOG_ERROR, "a prepared file of the snapshot has a name that is none of ours");
        return WEIR_LOST;
    }
    path_of(p, from, name, part->name.len, ".pending");
    path_of(p, to, name, part->name.len, "");
    int result = env->stat(env->self, from, &info);
    if (result == -ENOENT) { /* a commit takes it away: then it is done */
        result = env->stat(env->self, to, &info);
        if (result == 0) return WEIR_COMMITTED;
        if (result == -ENOENT) return commit_kept(p, ctx, part, to);
    }
    if (result == 0 && info.bytes != (int64_t)part->bytes) {
        weir_log(ctx, WEIR_LOG_ERROR, "%s has %lld bytes, and the snapshot says %llu", from, (long long)info.bytes,
                 (unsigned long long)part->bytes);
        return WEIR_LOST;
    }
    if (result == 0) result = env->rename(env->self, from, to);
    if (result == 0) return WEIR_COMMITTED;
    weir_log(ctx, WEIR_LOG_WARN, "cannot finish %s: %s; it is tried again", to, strerror(-result));
    return WEIR_RETRY;
}

weir_commit wr_parts_commit(wr_parts *p, weir_ctx *ctx)
{
    const wr_part *part = ctx->in;
    for (uint32_t i = 0; i < ctx->n; i++) {
        weir_commit verdict = commit_one(p, ctx, &part[i]);
        if (verdict != WEIR_COMMITTED) return verdict;
    }
    int result = ctx->n > 0 ? sync_folder(p, wr_host_env(ctx), p->folder) : 0;
    if (result == 0) return WEIR_COMMITTED;
    weir_log(ctx, WEIR_LOG_WARN, "cannot sync %s: %s; it is tried again", p->folder, strerror(-result));
    return WEIR_RETRY;
}

bool wr_parts_recover(wr_parts *p, weir_ctx *ctx, const weir_sink_id *id)
{
    names *s = calloc(1, sizeof *s);
    if (s == NULL) return false;
    *s = (names){.parts = p,
                 .subtask = id->subtask % id->subtasks,
                 .subtasks = id->subtasks,
                 .attempt = wr_host_op(ctx)->home->attempt,
                 .known = ctx->in,
                 .knowns = ctx->n};
    int64_t result = remove_names(p, wr_host_env(ctx), s);
    free(s);
    if (result >= 0) return true;
    wr_host_fail_errno(ctx, (int)-result, "clear", p->folder, "check that this user may write there");
    return false;
}

void wr_parts_close(wr_parts *p, weir_ctx *ctx)
{
    const wr_env *env = wr_host_env(ctx);
    if (p->file > 0) env->close(env->self, p->file - 1);
    forget_closed(p);
    free(p->closed);
    free(p->folder);
    wr_writer_close(&p->writer);
    memset(p, 0, sizeof *p);
}
