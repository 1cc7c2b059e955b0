#include "taskmanager/blobs.h"
#include "base/check.h"
#include "base/log.h"
#include "net/mac.h"
#include "taskmanager/files.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { HEX_BYTES = 2 * WR_DIGEST_BYTES + 1, FETCHES_MAX = 2 * WR_JOB_FILES_MAX, STEP_BYTES = WR_MIB(4) };
#define ASK_NS         (WR_BLOB_ASK_MS * INT64_C(1000000))
#define KEPT_BYTES_MAX ((uint64_t)WR_MIB(1024))
#define KEPT_NS        INT64_C(60000000000) /* what was wanted so recently stays, however much it is */

/* One that is on its way, failed, or was checked: what a former process left is not believed. */
typedef struct fetch {
    uint8_t    digest[WR_DIGEST_BYTES];
    uint64_t   bytes, offset;
    int64_t    wanted_ns, asked_ns; /* asked_ns: for the piece at `offset` */
    uint32_t   asks;                /* for it, unanswered */
    uint64_t   first;               /* request of its first question: an error that answers an older one is stale */
    uint32_t   state;               /* enum wr_tm_blob_state */
    bool       looks;               /* COMES: first at the file that is there already */
    int        file;                /* descriptor + 1; 0: none */
    wr_sha256 *sum;
    wr_errinfo why;
} fetch;

struct wr_tm_blobs {
    const wr_env *env;
    char         *folder;
    void (*ask)(void *self, uint64_t request, const wr_blob *what);
    void    *self;
    uint64_t requests; /* ever sent */
    fetch   *fetch[FETCHES_MAX];
    uint32_t fetches;
};

static void hex_of(char to[HEX_BYTES], const uint8_t digest[WR_DIGEST_BYTES])
{
    for (int i = 0; i < WR_DIGEST_BYTES; i++) snprintf(to + 2 * i, 3, "%02x", digest[i]);
}

static bool path_of(const wr_tm_blobs *b, char path[WR_PATH_BYTES_MAX], const uint8_t digest[WR_DIGEST_BYTES],
                    const char *tail)
{
    char hex[HEX_BYTES];
    hex_of(hex, digest);
    return snprintf(path, WR_PATH_BYTES_MAX, "%s/%s%s", b->folder, hex, tail) < WR_PATH_BYTES_MAX;
}

wr_err wr_tm_blobs_new(wr_tm_blobs **take, const wr_env *env, const char *folder,
                       void (*ask)(void *self, uint64_t request, const wr_blob *what), void *self, wr_errinfo *info)
{
    *take = NULL;
    if (strlen(folder) > WR_PATH_BYTES_MAX - 2 * HEX_BYTES)
        return wr_fail(info, WR_LIMIT, "the folder's path is too long; %.200s", folder);
    WR_TRY(wr_tm_folder_make(env, folder, info));
    wr_tm_blobs *b = calloc(1, sizeof *b);
    if (b == NULL || (b->folder = strdup(folder)) == NULL) {
        free(b);
        return wr_fail(info, WR_MEMORY, "no memory for the files of jobs");
    }
    b->env = env;
    b->ask = ask;
    b->self = self;
    *take = b;
    return WR_OK;
}

static void forget(wr_tm_blobs *b, uint32_t at)
{
    fetch  *f = b->fetch[at];
    uint8_t digest[WR_DIGEST_BYTES];
    if (f->file > 0) b->env->close(b->env->self, f->file - 1);
    if (f->sum != NULL) wr_sha256_end(f->sum, digest);
    free(f);
    b->fetch[at] = b->fetch[--b->fetches];
}

void wr_tm_blobs_free(wr_tm_blobs *b)
{
    if (b == NULL) return;
    while (b->fetches > 0) forget(b, b->fetches - 1);
    free(b->folder);
    free(b);
}

static fetch *find(const wr_tm_blobs *b, const uint8_t digest[WR_DIGEST_BYTES], uint32_t *at)
{
    for (uint32_t i = 0; i < b->fetches; i++) {
        if (memcmp(b->fetch[i]->digest, digest, WR_DIGEST_BYTES) != 0) continue;
        *at = i;
        return b->fetch[i];
    }
    return NULL;
}

static void fail(wr_tm_blobs *b, fetch *f)
{
    char path[WR_PATH_BYTES_MAX];
    if (f->file > 0) b->env->close(b->env->self, f->file - 1);
    f->file = 0;
    f->state = WR_TM_BLOB_FAILED;
    if (path_of(b, path, f->digest, ".part")) b->env->unlink(b->env->self, path);
}

/* ---- what is there already ---- */

/* A file of the right name and length: its content is looked at from here on. */
static bool look(wr_tm_blobs *b, fetch *f)
{
    char         path[WR_PATH_BYTES_MAX];
    wr_file_info about;
    if (!path_of(b, path, f->digest, "") || b->env->stat(b->env->self, path, &about) < 0) return false;
    bool like = about.is_file && (uint64_t)about.bytes == f->bytes;
    int  file = like ? b->env->open(b->env->self, path, WR_OPEN_READ) : -1;
    f->sum = file >= 0 ? wr_sha256_new() : NULL;
    if (f->sum == NULL) {
        if (file >= 0) b->env->close(b->env->self, file);
        b->env->unlink(b->env->self, path);
        return false;
    }
    f->file = file + 1;
    f->looks = true;
    return true;
}

static void begin(wr_tm_blobs *b, fetch *f);

/* When the answer to what was asked for is overdue. */
static int64_t overdue_ns(const fetch *f)
{
    return f->state == WR_TM_BLOB_COMES && !f->looks ? f->asked_ns + ASK_NS : INT64_MAX;
}

int64_t wr_tm_blobs_due_ns(const wr_tm_blobs *b)
{
    int64_t at = INT64_MAX;
    for (uint32_t i = 0; i < b->fetches; i++) {
        if (b->fetch[i]->looks) return 0;
        if (overdue_ns(b->fetch[i]) < at) at = overdue_ns(b->fetch[i]);
    }
    return at;
}

static void look_further(wr_tm_blobs *b, fetch *f, char *room)
{
    char    path[WR_PATH_BYTES_MAX];
    uint8_t digest[WR_DIGEST_BYTES];
    int64_t got = b->env->read(b->env->self, f->file - 1, room, STEP_BYTES);
    if (got > 0) {
        wr_sha256_add(f->sum, room, (size_t)got);
        return;
    }
    b->env->close(b->env->self, f->file - 1);
    wr_sha256_end(f->sum, digest);
    f->file = 0;
    f->sum = NULL;
    f->looks = false;
    if (got == 0 && memcmp(digest, f->digest, sizeof digest) == 0) {
        f->state = WR_TM_BLOB_HERE;
        return;
    }
    if (path_of(b, path, f->digest, "")) b->env->unlink(b->env->self, path);
    begin(b, f);
}

static void ask_again(wr_tm_blobs *b, fetch *f);

bool wr_tm_blobs_step(wr_tm_blobs *b)
{
    char   *room = NULL;
    bool    more = false;
    int64_t now = b->env->mono_ns(b->env->self);
    for (uint32_t i = 0; i < b->fetches; i++) {
        if (now >= overdue_ns(b->fetch[i])) ask_again(b, b->fetch[i]);
        if (!b->fetch[i]->looks) continue;
        if (room == NULL) room = malloc(STEP_BYTES);
        check(room != NULL);
        look_further(b, b->fetch[i], room);
        more = true;
    }
    free(room);
    return more;
}

/* The one that a file is of, or NULL. */
static fetch *by_name(const wr_tm_blobs *b, const char *name, uint32_t *at)
{
    for (uint32_t i = 0; i < b->fetches; i++) {
        char hex[HEX_BYTES];
        hex_of(hex, b->fetch[i]->digest);
        *at = i;
        if (strncmp(hex, name, HEX_BYTES - 1) == 0) return b->fetch[i];
    }
    return NULL;
}

/* Files that nobody has wanted for a while go; each job works on copies. */
static void make_room(wr_tm_blobs *b)
{
    int64_t  now = b->env->mono_ns(b->env->self);
    uint32_t count;
    char   **name = wr_tm_folder_list(b->env, b->folder, &count);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        char         path[WR_PATH_BYTES_MAX];
        wr_file_info about;
        if (wr_tm_path(path, b->folder, name[i]) && b->env->stat(b->env->self, path, &about) == 0)
            sum += (uint64_t)about.bytes;
    }
    for (uint32_t i = 0; i < count && sum > KEPT_BYTES_MAX; i++) { /* digests are as good as random */
        char         path[WR_PATH_BYTES_MAX];
        wr_file_info about;
        uint32_t     at = 0;
        fetch       *f = by_name(b, name[i], &at);
        if (f != NULL && (f->state == WR_TM_BLOB_COMES || now - f->wanted_ns < KEPT_NS)) continue;
        if (!wr_tm_path(path, b->folder, name[i]) || b->env->stat(b->env->self, path, &about) < 0) continue;
        if (b->env->unlink(b->env->self, path) < 0) continue;
        sum -= (uint64_t)about.bytes;
        if (f != NULL) forget(b, at);
    }
    free(name);
}

/* ---- what comes ---- */

static void ask(wr_tm_blobs *b, fetch *f)
{
    wr_blob what = {.bytes = f->bytes, .offset = f->offset, .data = ""};
    memcpy(what.digest, f->digest, sizeof what.digest);
    f->asked_ns = b->env->mono_ns(b->env->self);
    f->asks++;
    b->ask(b->self, ++b->requests, &what);
}

static void ask_next(wr_tm_blobs *b, fetch *f)
{
    f->asks = 0;
    ask(b, f);
}

/* A connection that lives does not say that what was asked for is on its way. */
static void ask_again(wr_tm_blobs *b, fetch *f)
{
    if (f->asks < WR_BLOB_ASKS_MAX) {
        ask(b, f);
        return;
    }
    wr_fail(&f->why, WR_TIMEOUT,
            "the JobManager does not send a file of the job: it was asked %u times for the bytes behind %llu of %llu",
            f->asks, (unsigned long long)f->offset, (unsigned long long)f->bytes);
    fail(b, f);
}

static void begin(wr_tm_blobs *b, fetch *f)
{
    char path[WR_PATH_BYTES_MAX];
    path_of(b, path, f->digest, ".part");
    make_room(b);
    int file = b->env->open(b->env->self, path, WR_OPEN_WRITE | WR_OPEN_CREATE | WR_OPEN_TRUNCATE);
    f->sum = wr_sha256_new();
    if (file < 0 || f->sum == NULL) {
        wr_fail_errno(&f->why, file < 0 ? -file : ENOMEM, "cannot write %s", path);
        fail(b, f);
        return;
    }
    f->file = file + 1;
    f->first = b->requests + 1;
    ask_next(b, f);
}

/* The one that was wanted longest ago, of those that are not on their way: a file that is here can be looked at again.
 */
static bool forget_one(wr_tm_blobs *b)
{
    uint32_t found = UINT32_MAX;
    for (uint32_t i = 0; i < b->fetches; i++) {
        if (b->fetch[i]->state == WR_TM_BLOB_COMES) continue;
        if (found == UINT32_MAX || b->fetch[i]->wanted_ns < b->fetch[found]->wanted_ns) found = i;
    }
    if (found == UINT32_MAX) return false;
    forget(b, found);
    return true;
}

enum wr_tm_blob_state wr_tm_blob_want(wr_tm_blobs *b, const wr_blob_ref *ref, wr_errinfo *info)
{
    uint32_t at = 0;
    fetch   *f = find(b, ref->digest, &at);
    if (ref->bytes == 0) return WR_TM_BLOB_HERE; /* an empty file, or nothing at all */
    if (f == NULL) {
        if (b->fetches == FETCHES_MAX && !forget_one(b)) return WR_TM_BLOB_COMES;
        f = calloc(1, sizeof *f);
        check(f != NULL);
        memcpy(f->digest, ref->digest, sizeof f->digest);
        f->bytes = ref->bytes;
        f->wanted_ns = b->env->mono_ns(b->env->self);
        b->fetch[b->fetches++] = f;
        f->state = WR_TM_BLOB_COMES;
        if (!look(b, f)) begin(b, f);
        find(b, ref->digest, &at);
    }
    enum wr_tm_blob_state state = (enum wr_tm_blob_state)f->state;
    f->wanted_ns = b->env->mono_ns(b->env->self);
    if (state != WR_TM_BLOB_FAILED) return state;
    *info = f->why;
    forget(b, at);
    return state;
}

/* All of it came. */
static void finish(wr_tm_blobs *b, fetch *f)
{
    char    from[WR_PATH_BYTES_MAX], to[WR_PATH_BYTES_MAX];
    uint8_t digest[WR_DIGEST_BYTES];
    int     result = b->env->close(b->env->self, f->file - 1);
    f->file = 0;
    wr_sha256_end(f->sum, digest);
    f->sum = NULL;
    path_of(b, from, f->digest, ".part");
    path_of(b, to, f->digest, "");
    if (memcmp(digest, f->digest, sizeof digest) != 0) {
        wr_fail(&f->why, WR_IO, "a file of the job arrived damaged; its checksum differs; it is fetched again");
    } else {
        if (result == 0) result = b->env->rename(b->env->self, from, to);
        if (result < 0) wr_fail_errno(&f->why, -result, "cannot keep %s", to);
    }
    f->state = WR_TM_BLOB_HERE;
    if (f->why.code != WR_OK) fail(b, f);
}

static int64_t write_all(const wr_tm_blobs *b, int file, const char *bytes, size_t n)
{
    for (size_t at = 0; at < n;) {
        int64_t got = b->env->write(b->env->self, file, bytes + at, n - at);
        if (got < 0) return got;
        at += (size_t)got;
    }
    return 0;
}

void wr_tm_blob_take(wr_tm_blobs *b, uint64_t request, const wr_blob *piece)
{
    uint32_t at;
    fetch   *f = find(b, piece->digest, &at);
    if (f == NULL || f->state != WR_TM_BLOB_COMES || f->looks) return;
    if (piece->info.code != WR_OK) {
        if (request < f->first) return; /* what was in the way then need not be now */
        f->why = piece->info;
        fail(b, f);
        return;
    }
    if (piece->offset != f->offset) return; /* asked twice */
    if (piece->data_bytes == 0 || piece->data_bytes > f->bytes - f->offset) {
        wr_fail(&f->why, WR_IO, "the JobManager sent a piece of a file that does not fit: %u bytes at %llu of %llu",
                piece->data_bytes, (unsigned long long)f->offset, (unsigned long long)f->bytes);
        fail(b, f);
        return;
    }
    int64_t result = write_all(b, f->file - 1, piece->data, piece->data_bytes);
    if (result < 0) {
        wr_fail_errno(&f->why, (int)-result, "cannot write a file of the job into %s", b->folder);
        fail(b, f);
        return;
    }
    wr_sha256_add(f->sum, piece->data, piece->data_bytes);
    f->offset += piece->data_bytes;
    if (f->offset == f->bytes)
        finish(b, f);
    else
        ask_next(b, f);
}

void wr_tm_blobs_again(wr_tm_blobs *b)
{
    for (uint32_t i = 0; i < b->fetches; i++)
        if (b->fetch[i]->state == WR_TM_BLOB_COMES && !b->fetch[i]->looks) ask_next(b, b->fetch[i]);
}

/* ---- copies ---- */

void wr_tm_blob_copy_end(wr_tm_blobs *b, wr_tm_copy *copy)
{
    uint8_t nobody[WR_DIGEST_BYTES];
    if (copy->in > 0) b->env->close(b->env->self, copy->in - 1);
    if (copy->out > 0) b->env->close(b->env->self, copy->out - 1);
    if (copy->sum != NULL) wr_sha256_end(copy->sum, nobody);
    *copy = (wr_tm_copy){0};
}

static wr_err begin_copy(wr_tm_blobs *b, wr_tm_copy *copy, const wr_blob_ref *ref, const char *to, wr_errinfo *info)
{
    char from[WR_PATH_BYTES_MAX];
    int  out = b->env->open(b->env->self, to, WR_OPEN_WRITE | WR_OPEN_CREATE | WR_OPEN_TRUNCATE);
    if (out < 0) return wr_fail_errno(info, -out, "cannot write %s", to);
    copy->out = out + 1;
    if (ref->bytes == 0) return WR_OK;
    if (!path_of(b, from, ref->digest, "")) return wr_fail(info, WR_LIMIT, "a path is too long; %.200s", b->folder);
    int in = b->env->open(b->env->self, from, WR_OPEN_READ);
    if (in < 0) return wr_fail_errno(info, -in, "cannot open %s", from);
    copy->in = in + 1;
    copy->sum = wr_sha256_new();
    return copy->sum != NULL ? WR_OK : wr_fail(info, WR_MEMORY, "no memory for a checksum");
}

/* It was right when it came, or was looked at. Disks and people change files: who wants it next fetches it again. */
static wr_err damaged(wr_tm_blobs *b, const wr_blob_ref *ref, wr_errinfo *info)
{
    char     path[WR_PATH_BYTES_MAX];
    uint32_t at = 0;
    if (path_of(b, path, ref->digest, "")) b->env->unlink(b->env->self, path);
    const fetch *f = find(b, ref->digest, &at);
    if (f != NULL && f->state != WR_TM_BLOB_COMES) forget(b, at);
    return wr_fail(info, WR_IO,
                   "a file of the job was changed on the disk of the TaskManager, its checksum differs; %s; it is "
                   "fetched again",
                   path);
}

/* All of it was read and written. */
static wr_err end_copy(wr_tm_blobs *b, wr_tm_copy *copy, const wr_blob_ref *ref, const char *to, wr_errinfo *info)
{
    uint8_t digest[WR_DIGEST_BYTES];
    int     result = b->env->close(b->env->self, copy->out - 1);
    bool    whole = copy->sum == NULL;
    copy->out = 0;
    if (copy->sum != NULL) {
        wr_sha256_end(copy->sum, digest);
        copy->sum = NULL;
        whole = memcmp(digest, ref->digest, sizeof digest) == 0;
    }
    wr_tm_blob_copy_end(b, copy);
    if (result < 0) return wr_fail_errno(info, -result, "cannot copy a file of the job to %s", to);
    return whole ? WR_OK : damaged(b, ref, info);
}

wr_err wr_tm_blob_copy(wr_tm_blobs *b, wr_tm_copy *copy, const wr_blob_ref *ref, const char *to, bool *done,
                       wr_errinfo *info)
{
    *done = false;
    if (copy->out == 0) WR_TRY(begin_copy(b, copy, ref, to, info));
    char *room = malloc(STEP_BYTES);
    check(room != NULL);
    int64_t got = copy->in > 0 ? b->env->read(b->env->self, copy->in - 1, room, STEP_BYTES) : 0;
    if (got > 0) wr_sha256_add(copy->sum, room, (size_t)got);
    int64_t result = got > 0 ? write_all(b, copy->out - 1, room, (size_t)got) : got;
    free(room);
    if (result < 0) return wr_fail_errno(info, (int)-result, "cannot copy a file of the job to %s", to);
    if (got > 0) return WR_OK;
    WR_TRY(end_copy(b, copy, ref, to, info));
    *done = true;
    return WR_OK;
}
