#include "taskmanager/blobs.h"
#include "base/check.h"
#include "base/log.h"
#include "net/mac.h"
#include "taskmanager/files.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { HEX_BYTES = 2 * WR_DIGEST_BYTES + 1, FETCHES_MAX = 2 * WR_JOB_FILES_MAX };
#define KEPT_BYTES_MAX ((uint64_t)WR_MIB(1024))
#define KEPT_NS        INT64_C(60000000000) /* what was wanted so recently stays, however much it is */

/* One that is on its way, failed, or was checked: what a former process left is not believed. */
typedef struct fetch {
    uint8_t    digest[WR_DIGEST_BYTES];
    uint64_t   bytes, offset;
    int64_t    wanted_ns;
    uint32_t   state; /* enum wr_tm_blob_state */
    int        file;  /* descriptor + 1; 0: none */
    wr_sha256 *sum;
    wr_errinfo why;
} fetch;

struct wr_tm_blobs {
    const wr_env *env;
    char         *folder;
    void (*ask)(void *self, const wr_blob *what);
    void    *self;
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
                       void (*ask)(void *self, const wr_blob *what), void *self, wr_errinfo *info)
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

static bool digest_fits(const wr_tm_blobs *b, int file, const uint8_t want[WR_DIGEST_BYTES])
{
    enum { ROOM = WR_KIB(256) };
    char      *room = malloc(ROOM);
    wr_sha256 *sum = room != NULL ? wr_sha256_new() : NULL;
    uint8_t    digest[WR_DIGEST_BYTES];
    int64_t    got = -1;
    while (sum != NULL && (got = b->env->read(b->env->self, file, room, ROOM)) > 0)
        wr_sha256_add(sum, room, (size_t)got);
    if (sum != NULL) wr_sha256_end(sum, digest);
    free(room);
    return sum != NULL && got == 0 && memcmp(digest, want, WR_DIGEST_BYTES) == 0;
}

static bool is_here(const wr_tm_blobs *b, const wr_blob_ref *ref)
{
    char         path[WR_PATH_BYTES_MAX];
    wr_file_info about;
    if (!path_of(b, path, ref->digest, "") || b->env->stat(b->env->self, path, &about) < 0) return false;
    int  file = about.is_file && (uint64_t)about.bytes == ref->bytes ? b->env->open(b->env->self, path, WR_OPEN_READ)
                                                                     : -1;
    bool fits = file >= 0 && digest_fits(b, file, ref->digest);
    if (file >= 0) b->env->close(b->env->self, file);
    if (!fits) b->env->unlink(b->env->self, path);
    return fits;
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

static void ask_next(wr_tm_blobs *b, const fetch *f)
{
    wr_blob what = {.bytes = f->bytes, .offset = f->offset, .data = ""};
    memcpy(what.digest, f->digest, sizeof what.digest);
    b->ask(b->self, &what);
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
    ask_next(b, f);
}

enum wr_tm_blob_state wr_tm_blob_want(wr_tm_blobs *b, const wr_blob_ref *ref, wr_errinfo *info)
{
    uint32_t at = 0;
    fetch   *f = find(b, ref->digest, &at);
    if (ref->bytes == 0) return WR_TM_BLOB_HERE; /* an empty file, or nothing at all */
    if (f == NULL) {
        while (b->fetches == FETCHES_MAX) { /* one that is here can be looked at again */
            for (at = 0; at < b->fetches && b->fetch[at]->state == WR_TM_BLOB_COMES;) at++;
            if (at == b->fetches) return WR_TM_BLOB_COMES;
            forget(b, at);
        }
        f = calloc(1, sizeof *f);
        check(f != NULL);
        memcpy(f->digest, ref->digest, sizeof f->digest);
        f->bytes = ref->bytes;
        f->wanted_ns = b->env->mono_ns(b->env->self);
        b->fetch[b->fetches++] = f;
        f->state = is_here(b, ref) ? WR_TM_BLOB_HERE : WR_TM_BLOB_COMES;
        if (f->state == WR_TM_BLOB_COMES) begin(b, f);
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

void wr_tm_blob_take(wr_tm_blobs *b, const wr_blob *piece)
{
    uint32_t at;
    fetch   *f = find(b, piece->digest, &at);
    if (f == NULL || f->state != WR_TM_BLOB_COMES) return;
    if (piece->info.code != WR_OK) {
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
        if (b->fetch[i]->state == WR_TM_BLOB_COMES) ask_next(b, b->fetch[i]);
}

wr_err wr_tm_blob_copy(wr_tm_blobs *b, const wr_blob_ref *ref, const char *to, wr_errinfo *info)
{
    char from[WR_PATH_BYTES_MAX];
    if (ref->bytes == 0) {
        int file = b->env->open(b->env->self, to, WR_OPEN_WRITE | WR_OPEN_CREATE | WR_OPEN_TRUNCATE);
        if (file < 0) return wr_fail_errno(info, -file, "cannot write %s", to);
        b->env->close(b->env->self, file);
        return WR_OK;
    }
    if (!path_of(b, from, ref->digest, "")) return wr_fail(info, WR_LIMIT, "a path is too long; %.200s", b->folder);
    return wr_tm_file_copy(b->env, from, to, info);
}
