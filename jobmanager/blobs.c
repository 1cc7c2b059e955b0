#include "jobmanager/blobs.h"
#include "base/log.h"
#include "jobmanager/files.h"
#include "net/mac.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { UPLOADS = 16, SENDINGS = 64, HEX = 2 * WR_DIGEST_BYTES, CLAIMS_MAX = 65536 };
enum {
    CLAIM_MS = 120000, /* who has lost its connection dials again, and submits then */
    SWEEP_MS = 3600000 /* jobs are forgotten, and with them their files */
};

/* One that is on its way. Part of a wr_blobs. */
typedef struct upload {
    uint64_t   peer; /* 0: free */
    uint8_t    digest[WR_DIGEST_BYTES];
    uint64_t   bytes, have;
    int        file;
    char       path[WR_PATH_BYTES_MAX];
    wr_sha256 *sum;
} upload;

/* One that goes to a TaskManager, piece after piece. Part of a wr_blobs. */
typedef struct sending {
    uint64_t   peer; /* 0: free */
    uint8_t    digest[WR_DIGEST_BYTES];
    uint64_t   sent, used; /* used: when, in sendings */
    wr_sha256 *sum;        /* of what was sent */
} sending;

/* Somebody has shipped it, or was told that it is there, and may be about to submit a job with it. */
typedef struct claim {
    uint64_t peer; /* 0: its connection has gone */
    int64_t  until_ms;
    uint8_t  digest[WR_DIGEST_BYTES];
} claim;

struct wr_blobs {
    const wr_env *env;
    char          folder[WR_PATH_BYTES_MAX];
    upload        upload[UPLOADS];
    sending       sending[SENDINGS];
    uint64_t      sendings; /* pieces ever sent */
    claim        *claim;
    uint32_t      claims, room;
    int64_t       swept_ms;
};

static void hex_of(char to[HEX + 1], const uint8_t digest[WR_DIGEST_BYTES])
{
    for (uint32_t i = 0; i < WR_DIGEST_BYTES; i++) snprintf(to + 2 * i, 3, "%02x", digest[i]);
}

static wr_err path_of(const wr_blobs *b, char to[WR_PATH_BYTES_MAX], const uint8_t digest[WR_DIGEST_BYTES],
                      wr_errinfo *info)
{
    char name[HEX + 1];
    hex_of(name, digest);
    return wr_path_join(to, b->folder, name, info);
}

/* ---- what is in the folder ---- */

typedef struct found {
    char (*name)[HEX + 8];
    uint32_t n, room;
} found;

static bool collect(void *arg, const char *name)
{
    found *f = arg;
    if (strlen(name) >= sizeof f->name[0]) return true; /* not ours */
    if (f->n == f->room) {
        void *more = realloc(f->name, (f->room + 64) * sizeof f->name[0]);
        if (more == NULL) return false;
        f->name = more;
        f->room += 64;
    }
    snprintf(f->name[f->n++], sizeof f->name[0], "%s", name);
    return true;
}

static bool digest_of(const char *name, uint8_t digest[WR_DIGEST_BYTES])
{
    if (strlen(name) != HEX || strspn(name, "0123456789abcdef") != HEX) return false;
    for (uint32_t i = 0; i < WR_DIGEST_BYTES; i++) {
        const char two[3] = {name[2 * i], name[2 * i + 1], 0};
        digest[i] = (uint8_t)strtoul(two, NULL, 16);
    }
    return true;
}

static int64_t now_ms(const wr_blobs *b)
{
    return b->env->mono_ns(b->env->self) / 1000000;
}

static void add_claim(wr_blobs *b, uint64_t peer, const uint8_t digest[WR_DIGEST_BYTES])
{
    for (uint32_t i = 0; i < b->claims; i++)
        if (b->claim[i].peer == peer && memcmp(b->claim[i].digest, digest, WR_DIGEST_BYTES) == 0) return;
    if (b->claims == CLAIMS_MAX) return; /* it may be swept, and is shipped again */
    if (b->claims == b->room) {
        claim *more = realloc(b->claim, (2 * b->room + 64) * sizeof *more);
        if (more == NULL) return;
        b->claim = more;
        b->room = 2 * b->room + 64;
    }
    claim *c = &b->claim[b->claims++];
    *c = (claim){.peer = peer, .until_ms = INT64_MAX};
    memcpy(c->digest, digest, WR_DIGEST_BYTES);
}

static bool claimed(const wr_blobs *b, const uint8_t digest[WR_DIGEST_BYTES])
{
    for (uint32_t i = 0; i < b->claims; i++)
        if (memcmp(b->claim[i].digest, digest, WR_DIGEST_BYTES) == 0) return true;
    return false;
}

static bool comes(const wr_blobs *b, const char *name)
{
    for (uint32_t i = 0; i < UPLOADS; i++) {
        const char *slash = b->upload[i].peer != 0 ? strrchr(b->upload[i].path, '/') : NULL;
        if (slash != NULL && strcmp(slash + 1, name) == 0) return true;
    }
    return false;
}

int64_t wr_blobs_due_ms(const wr_blobs *b)
{
    int64_t at = b->swept_ms + SWEEP_MS;
    for (uint32_t i = 0; i < b->claims; i++)
        if (b->claim[i].until_ms < at) at = b->claim[i].until_ms;
    return at;
}

void wr_blobs_sweep(wr_blobs *b, bool (*named)(void *self, const uint8_t digest[WR_DIGEST_BYTES]), void *self)
{
    found   f = {0};
    uint8_t digest[WR_DIGEST_BYTES];
    char    path[WR_PATH_BYTES_MAX];
    b->swept_ms = now_ms(b);
    for (uint32_t i = b->claims; i > 0; i--)
        if (b->claim[i - 1].until_ms <= b->swept_ms) b->claim[i - 1] = b->claim[--b->claims];
    b->env->list(b->env->self, b->folder, collect, &f);
    for (uint32_t i = 0; i < f.n; i++) {
        size_t n = strlen(f.name[i]);
        bool   temp = n > 4 && strcmp(f.name[i] + n - 4, ".tmp") == 0;
        if (temp ? comes(b, f.name[i]) : !digest_of(f.name[i], digest) || named(self, digest) || claimed(b, digest))
            continue;
        if (wr_path_join(path, b->folder, f.name[i], NULL) == WR_OK) b->env->unlink(b->env->self, path);
    }
    free(f.name);
}

wr_err wr_blobs_open(wr_blobs **take, const wr_env *env, const char *folder, wr_errinfo *info)
{
    *take = NULL;
    wr_blobs *b = calloc(1, sizeof *b);
    if (b == NULL) return wr_fail(info, WR_MEMORY, "no memory for the store of shipped files");
    b->env = env;
    snprintf(b->folder, sizeof b->folder, "%s", folder);
    wr_err err = wr_folder_make(env, folder, info);
    if (err != WR_OK) {
        free(b);
        return err;
    }
    *take = b;
    return WR_OK;
}

/* ---- coming ---- */

static void drop(wr_blobs *b, upload *u)
{
    uint8_t nobody[WR_DIGEST_BYTES];
    if (u->peer == 0) return;
    if (u->file >= 0) b->env->close(b->env->self, u->file);
    b->env->unlink(b->env->self, u->path);
    if (u->sum != NULL) wr_sha256_end(u->sum, nobody);
    memset(u, 0, sizeof *u);
}

static void drop_sending(sending *s)
{
    uint8_t nobody[WR_DIGEST_BYTES];
    if (s->sum != NULL) wr_sha256_end(s->sum, nobody);
    memset(s, 0, sizeof *s);
}

void wr_blobs_close(wr_blobs *b)
{
    if (b == NULL) return;
    for (uint32_t i = 0; i < UPLOADS; i++) drop(b, &b->upload[i]);
    for (uint32_t i = 0; i < SENDINGS; i++) drop_sending(&b->sending[i]);
    free(b->claim);
    free(b);
}

static void drop_of(wr_blobs *b, uint64_t peer)
{
    for (uint32_t i = 0; i < UPLOADS; i++)
        if (b->upload[i].peer == peer) drop(b, &b->upload[i]);
}

void wr_blobs_peer_gone(wr_blobs *b, uint64_t peer)
{
    drop_of(b, peer);
    for (uint32_t i = 0; i < SENDINGS; i++)
        if (b->sending[i].peer == peer) drop_sending(&b->sending[i]);
    for (uint32_t i = 0; i < b->claims; i++) {
        if (b->claim[i].peer != peer) continue;
        b->claim[i].peer = 0;
        b->claim[i].until_ms = now_ms(b) + CLAIM_MS;
    }
}

bool wr_blobs_has(const wr_blobs *b, const uint8_t digest[WR_DIGEST_BYTES], uint64_t bytes)
{
    char         path[WR_PATH_BYTES_MAX];
    wr_file_info about;
    return path_of(b, path, digest, NULL) == WR_OK && b->env->stat(b->env->self, path, &about) == 0 &&
           (uint64_t)about.bytes == bytes;
}

/* Its content is still what its name says: disks forget, and people change files. */
static bool is_right(const wr_blobs *b, const uint8_t digest[WR_DIGEST_BYTES])
{
    char       path[WR_PATH_BYTES_MAX];
    uint8_t    found[WR_DIGEST_BYTES] = {0};
    int64_t    got = -1;
    char      *room = malloc(WR_BLOB_PIECE_BYTES);
    wr_sha256 *sum = wr_sha256_new();
    int        file = path_of(b, path, digest, NULL) == WR_OK ? b->env->open(b->env->self, path, WR_OPEN_READ) : -1;
    while (room != NULL && sum != NULL && file >= 0) {
        got = b->env->read(b->env->self, file, room, WR_BLOB_PIECE_BYTES);
        if (got <= 0) break;
        wr_sha256_add(sum, room, (size_t)got);
    }
    if (file >= 0) b->env->close(b->env->self, file);
    if (sum != NULL) wr_sha256_end(sum, found);
    free(room);
    bool right = got == 0 && memcmp(found, digest, sizeof found) == 0;
    if (!right) wr_log(WR_LOG_WARN, "a shipped file is damaged here, and is taken anew; %s", path);
    return right;
}

static wr_err begin(wr_blobs *b, uint64_t peer, const wr_blob *piece, upload **take, wr_errinfo *info)
{
    upload *u = NULL;
    char    name[HEX + 1];
    if (piece->bytes > WR_BLOB_BYTES_MAX)
        return wr_fail(info, WR_LIMIT, "a file of %llu bytes is too large to be shipped; the limit is %llu",
                       (unsigned long long)piece->bytes, (unsigned long long)WR_BLOB_BYTES_MAX);
    drop_of(b, peer);
    for (uint32_t i = 0; i < UPLOADS && u == NULL; i++)
        if (b->upload[i].peer == 0) u = &b->upload[i];
    if (u == NULL) return wr_fail(info, WR_LIMIT, "%d files are being shipped already; try again", UPLOADS);
    hex_of(name, piece->digest);
    u->peer = peer;
    u->file = -1;
    u->bytes = piece->bytes;
    memcpy(u->digest, piece->digest, sizeof u->digest);
    /* Its own name per slot: two clients may ship the same file at once. */
    if (snprintf(u->path, sizeof u->path, "%s/%.32s-%u.tmp", b->folder, name, (unsigned)(u - b->upload)) >=
        (int)sizeof u->path)
        return wr_fail(info, WR_LIMIT, "the path of the JobManager's folder is too long; %s", b->folder);
    u->file = b->env->open(b->env->self, u->path, WR_OPEN_WRITE | WR_OPEN_CREATE | WR_OPEN_TRUNCATE);
    if (u->file < 0) return wr_fail_errno(info, -u->file, "the JobManager cannot keep the file; %s", u->path);
    u->sum = wr_sha256_new();
    *take = u;
    return WR_OK;
}

static wr_err end(wr_blobs *b, upload *u, wr_errinfo *info)
{
    uint8_t digest[WR_DIGEST_BYTES];
    char    path[WR_PATH_BYTES_MAX];
    wr_sha256_end(u->sum, digest);
    u->sum = NULL;
    if (memcmp(digest, u->digest, sizeof digest) != 0)
        return wr_fail(info, WR_DAMAGED, "a shipped file is not what its digest says; ship it again");
    WR_TRY(path_of(b, path, u->digest, info));
    int result = b->env->fsync(b->env->self, u->file);
    b->env->close(b->env->self, u->file);
    u->file = -1;
    if (result >= 0) result = b->env->rename(b->env->self, u->path, path);
    if (result < 0) return wr_fail_errno(info, -result, "the JobManager cannot keep the file; %s", path);
    WR_TRY(wr_folder_sync(b->env, b->folder, info));
    memset(u, 0, sizeof *u);
    return WR_OK;
}

static wr_err add(wr_blobs *b, upload *u, const wr_blob *piece, wr_errinfo *info)
{
    for (uint32_t done = 0; done < piece->data_bytes;) {
        int64_t n = b->env->write(b->env->self, u->file, piece->data + done, piece->data_bytes - done);
        if (n <= 0) return wr_fail_errno(info, n < 0 ? (int)-n : 5, "the JobManager cannot keep the file; %s", u->path);
        done += (uint32_t)n;
    }
    wr_sha256_add(u->sum, piece->data, piece->data_bytes);
    u->have += piece->data_bytes;
    return WR_OK;
}

wr_err wr_blobs_put(wr_blobs *b, uint64_t peer, const wr_blob *piece, uint64_t *have, wr_errinfo *info)
{
    upload *u = NULL;
    wr_err  err = WR_OK;
    *have = piece->bytes;
    if (piece->offset == 0 && wr_blobs_has(b, piece->digest, piece->bytes) && is_right(b, piece->digest)) {
        add_claim(b, peer, piece->digest);
        return WR_OK;
    }
    for (uint32_t i = 0; i < UPLOADS; i++)
        if (b->upload[i].peer == peer) u = &b->upload[i];
    if (piece->offset == 0) {
        WR_GOTO(begin(b, peer, piece, &u, info));
    } else if (u == NULL || memcmp(u->digest, piece->digest, sizeof u->digest) != 0 || u->have != piece->offset ||
               u->bytes != piece->bytes) {
        err = wr_fail(info, WR_CONFIG, "a piece of a shipped file does not follow the one before; ship it again");
        goto out;
    }
    if (piece->data_bytes > u->bytes - u->have) {
        err = wr_fail(info, WR_CONFIG, "a shipped file is longer than it was said to be; ship it again");
        goto out;
    }
    WR_GOTO(add(b, u, piece, info));
    *have = u->have;
    if (u->have == u->bytes) {
        WR_GOTO(end(b, u, info));
        add_claim(b, peer, piece->digest);
    }
    return WR_OK;
out:
    drop_of(b, peer);
    return err;
}

/* ---- going ---- */

/* Whatever it is, the file was there: the job is tried again as its strategy says. */
static wr_err unreadable(wr_errinfo *info, int64_t result, const char *path)
{
    wr_errinfo why = {0};
    wr_fail_errno(&why, (int)-result, "the JobManager cannot read the file; %s", path);
    return wr_fail(info, WR_IO, "%s", why.text);
}

static sending *sending_of(wr_blobs *b, uint64_t peer, const uint8_t digest[WR_DIGEST_BYTES], bool begins)
{
    sending *oldest = &b->sending[0];
    for (uint32_t i = 0; i < SENDINGS; i++) {
        sending *s = &b->sending[i];
        if (s->peer == peer && memcmp(s->digest, digest, WR_DIGEST_BYTES) == 0) {
            oldest = s;
            break;
        }
        if (i + 1 == SENDINGS && !begins) return NULL;
        if (s->used < oldest->used) oldest = s;
    }
    if (begins) {
        drop_sending(oldest);
        oldest->peer = peer;
        memcpy(oldest->digest, digest, WR_DIGEST_BYTES);
        oldest->sum = wr_sha256_new();
    }
    oldest->used = ++b->sendings;
    return oldest->sum != NULL ? oldest : NULL;
}

/* The sum of what goes out, in order: with the last piece it is known whether all of it was right. A piece that was
 * asked for twice counts once; where somebody begins in the middle, only he can tell. */
static wr_err sum_up(wr_blobs *b, uint64_t peer, const wr_blob *piece, const char *path, wr_errinfo *info)
{
    uint8_t  digest[WR_DIGEST_BYTES];
    sending *s = sending_of(b, peer, piece->digest, piece->offset == 0);
    if (s == NULL || s->sent != piece->offset) return WR_OK;
    wr_sha256_add(s->sum, piece->data, piece->data_bytes);
    s->sent += piece->data_bytes;
    if (s->sent < piece->bytes) return WR_OK;
    wr_sha256_end(s->sum, digest);
    s->sum = NULL;
    drop_sending(s);
    if (memcmp(digest, piece->digest, sizeof digest) == 0) return WR_OK;
    return wr_fail(
        info, WR_IO,
        "a shipped file was changed on the JobManager's disk, its checksum differs; %s; submit a job with it "
        "again, which ships it anew",
        path);
}

wr_err wr_blobs_get(wr_blobs *b, uint64_t peer, const wr_blob *want, wr_blob *piece, wr_errinfo *info)
{
    char         path[WR_PATH_BYTES_MAX];
    wr_file_info about;
    memset(piece, 0, sizeof *piece);
    memcpy(piece->digest, want->digest, sizeof piece->digest);
    WR_TRY(path_of(b, path, want->digest, info));
    int result = b->env->stat(b->env->self, path, &about);
    if (result == -ENOENT)
        return wr_fail(info, WR_NOT_FOUND, "the JobManager does not have the file; submit the job again");
    if (result < 0) return unreadable(info, result, path);
    piece->bytes = (uint64_t)about.bytes;
    piece->offset = want->offset < piece->bytes ? want->offset : piece->bytes;
    uint64_t rest = piece->bytes - piece->offset;
    uint32_t n = rest < WR_BLOB_PIECE_BYTES ? (uint32_t)rest : WR_BLOB_PIECE_BYTES;
    char    *data = malloc(n + 1u);
    if (data == NULL) return wr_fail(info, WR_MEMORY, "no memory for a piece of a file");
    int     file = b->env->open(b->env->self, path, WR_OPEN_READ);
    int64_t got = file;
    while (file >= 0 && piece->data_bytes < n) {
        got = b->env->pread(b->env->self, file, data + piece->data_bytes, n - piece->data_bytes,
                            (int64_t)(piece->offset + piece->data_bytes));
        if (got <= 0) break;
        piece->data_bytes += (uint32_t)got;
    }
    if (file >= 0) b->env->close(b->env->self, file);
    piece->data = data;
    wr_err err = piece->data_bytes == n ? sum_up(b, peer, piece, path, info)
                                        : unreadable(info, got < 0 ? got : -EIO, path);
    if (err == WR_OK) return WR_OK;
    free(data);
    piece->data = NULL;
    piece->data_bytes = 0; /* an answer is made of the piece all the same */
    return err;
}
