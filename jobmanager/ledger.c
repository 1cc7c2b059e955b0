/* jobmanager/ledger.c: 16 bytes of head (magic, version, checksum of both), then records: a mark (4), length of the
 * body (4), xxh3-64 of offset, length and body (8), body (msgpack, ledger_book.c). Opening and compaction write a new
 * file with the least records that give the same, and rename it. The first record says how many bytes that were: below,
 * what is damaged is damaged; behind, it may be what a crash cut off. */
#include "jobmanager/ledger.h"
#include "base/check.h"
#include "base/failpoint.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/sabotage.h"
#include "jobmanager/files.h"
#include "jobmanager/ledger_book.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define VERSION 2u /* and 1 is read */
#define NAME    "ledger"
enum { HEAD_BYTES = 16, RECORD_BYTES = 16, BODY_BYTES_MAX = WR_SPEC_BYTES_MAX + WR_KIB(16) };
static const char magic[8] = {'W', 'E', 'I', 'R', 'L', 'D', 'G', 'R'}, mark[4] = {'W', 'r', 'e', 'c'};

struct wr_ledger {
    const wr_env *env;
    char          folder[WR_PATH_BYTES_MAX], path[WR_PATH_BYTES_MAX];
    int           lock, file; /* file: -1 after an error: the next record goes into a new file */
    uint64_t      bytes, base_bytes;
    wr_book       book; /* durable */
    wr_pack       late; /* sabotage: not written yet */
};

/* ---- records ----------------------------------------------------------------------------------------------------- */

static uint64_t checksum(uint64_t offset, uint32_t n, const char *body)
{
    uint64_t head[2] = {offset, n};
    return XXH3_64bits_withSeed(body, n, XXH3_64bits(head, sizeof head));
}

static void put_record(wr_pack *file, uint64_t offset, const wr_pack *body)
{
    uint32_t n = (uint32_t)body->bytes;
    uint64_t sum = checksum(offset, n, body->data);
    check(body->bytes <= BODY_BYTES_MAX);
    wr_pack_raw(file, mark, sizeof mark);
    wr_pack_raw(file, &n, 4);
    wr_pack_raw(file, &sum, 8);
    wr_pack_raw(file, body->data, n);
}

/* The body of the record at `at`, or NULL: what stands there is none. */
static const char *record_at(const char *bytes, size_t n, size_t at, uint32_t *body)
{
    uint64_t sum;
    if (n - at < RECORD_BYTES || memcmp(bytes + at, mark, sizeof mark) != 0) return NULL;
    memcpy(body, bytes + at + 4, 4);
    memcpy(&sum, bytes + at + 8, 8);
    if (*body == 0 || *body > BODY_BYTES_MAX || *body > n - at - RECORD_BYTES) return NULL;
    const char *from = bytes + at + RECORD_BYTES;
    return checksum(at, *body, from) == sum ? from : NULL;
}

static const char todo[] = "put back a copy, or move it away: jobs must then be submitted again, with --restore";

/* Something stands at `at` that is no record. A crash leaves that at the end only, behind what was renamed. */
static wr_err check_tail(const wr_book *b, const char *bytes, size_t n, size_t at, const char *path, wr_errinfo *info)
{
    uint32_t body;
    if (at < b->base_bytes || b->leader == 0)
        return wr_fail(info, WR_DAMAGED, "a record of the ledger is damaged or cut off; %s, offset %zu; %s", path, at,
                       todo);
    for (const char *i = bytes + at + 1; (i = memmem(i, (size_t)(bytes + n - i), mark, sizeof mark)) != NULL; i++) {
        if (record_at(bytes, n, (size_t)(i - bytes), &body) == NULL) continue;
        return wr_fail(info, WR_DAMAGED,
                       "a record of the ledger is damaged, and good ones stand behind it; %s, offset %zu; %s", path, at,
                       todo);
    }
    return WR_OK;
}

static wr_err check_head(const char *bytes, size_t n, const char *path, uint32_t *version, wr_errinfo *info)
{
    uint32_t sum;
    if (n < HEAD_BYTES || memcmp(bytes, magic, sizeof magic) != 0)
        return wr_fail(info, WR_DAMAGED, "this is no ledger; %s, offset 0; %s", path, todo);
    memcpy(version, bytes + 8, 4);
    memcpy(&sum, bytes + 12, 4);
    if (sum != (uint32_t)XXH3_64bits(bytes, 12))
        return wr_fail(info, WR_DAMAGED, "the head of the ledger is damaged; %s, offset 12; %s", path, todo);
    if (*version == 0 || *version > VERSION)
        return wr_fail(info, WR_NEWER,
                       "the ledger has format version %u, this Weir reads %u; %s; use the Weir that wrote it, or a "
                       "newer one",
                       *version, VERSION, path);
    return WR_OK;
}

/* *end: where the good records end. The caller frees *b in any case. */
static wr_err parse(wr_book *b, const char *bytes, size_t n, const char *path, size_t *end, wr_errinfo *info)
{
    uint32_t body, version = 0;
    WR_TRY(check_head(bytes, n, path, &version, info));
    size_t at = HEAD_BYTES;
    for (const char *from; at < n && (from = record_at(bytes, n, at, &body)) != NULL; at += RECORD_BYTES + body) {
        wr_book_change c;
        size_t         offset;
        const char    *problem = wr_book_take(&c, version, from, body, &offset);
        if (problem == NULL) {
            offset = 0;
            problem = wr_book_apply(b, &c);
        }
        if (problem != NULL)
            return wr_fail(info, WR_DAMAGED, "%s; %s, offset %zu; %s", problem, path, at + RECORD_BYTES + offset, todo);
    }
    *end = at;
    if (at < n || at < b->base_bytes || b->leader == 0) return check_tail(b, bytes, n, at, path, info);
    return WR_OK;
}

wr_err wr_ledger_parse(const char *bytes, size_t n, const char *path, uint64_t *leader, size_t *good_bytes,
                       void (*each)(void *arg, const wr_ledger_job *job), void *arg, wr_errinfo *info)
{
    wr_book b = {0};
    wr_err  err = parse(&b, bytes, n, path, good_bytes, info);
    if (err == WR_OK) {
        *leader = b.leader;
        for (uint32_t i = 0; i < b.jobs; i++) each(arg, &b.job[i]->pub);
    }
    wr_book_free(&b);
    return err;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static void close_file(wr_ledger *l)
{
    if (l->file >= 0) l->env->close(l->env->self, l->file);
    l->file = -1;
}

static void put_change(void *arg, const wr_book_change *change)
{
    wr_pack *file = arg, body = {0};
    wr_book_put(&body, change);
    put_record(file, file->bytes, &body);
    wr_pack_free(&body);
}

/* The whole file. The first record says how long that is, and how long it is depends on what it says: so again until
 * it is true. */
static void put_all(wr_pack *file, const wr_book *b, uint64_t leader)
{
    wr_book_change first = {.type = WR_BOOK_LEADER, .leader = leader};
    for (uint64_t bytes = 0; file->bytes != bytes || bytes == 0;) {
        uint32_t head[2] = {VERSION, 0};
        bytes = first.base_bytes = file->bytes;
        file->bytes = 0;
        wr_pack_raw(file, magic, sizeof magic);
        wr_pack_raw(file, head, sizeof head);
        head[1] = (uint32_t)XXH3_64bits(file->data, 12);
        memcpy(file->data + 12, &head[1], 4);
        put_change(file, &first);
        wr_book_all(b, put_change, file);
    }
}

/* A new file that holds the book and, behind it, one change that is not in the book yet (or NULL). */
static wr_err rewrite(wr_ledger *l, uint64_t leader, const wr_book_change *next, wr_errinfo *info)
{
    static const wr_publish steps = {
        .name = NAME, .written = "ledger-temp", .synced = "ledger-synced", .renamed = "ledger-renamed"};
    wr_publish what = steps;
    wr_pack    file = {0};
    bool       published;
    close_file(l);
    what.folder = l->folder;
    put_all(&file, &l->book, leader);
    uint64_t base = file.bytes;
    if (next != NULL) put_change(&file, next);
    wr_pack_free(&l->late); /* is in the book */
    wr_err err = wr_file_publish(l->env, &what, file.data, file.bytes, &published, info);
    if (err == WR_OK) {
        l->bytes = file.bytes;
        l->base_bytes = base;
        int opened = l->env->open(l->env->self, l->path, WR_OPEN_READ_WRITE);
        l->file = opened < 0 ? -1 : opened; /* without it the next change is a new file again */
    }
    wr_pack_free(&file);
    return err;
}

static wr_err write_at_end(wr_ledger *l, const char *bytes, size_t n, wr_errinfo *info)
{
    const wr_append to = {.file = l->file, .path = l->path, .written = "ledger-append", .durable = "ledger-durable"};
    return wr_file_append(l->env, &to, &l->bytes, bytes, n, info);
}

/* One more record. After an error the next change makes a new file. */
static wr_err append(wr_ledger *l, const wr_book_change *change, wr_errinfo *info)
{
    if (l->file < 0 || l->bytes > 2 * l->base_bytes + WR_LEDGER_SLACK_BYTES)
        return rewrite(l, l->book.leader, change, info);
    wr_pack body = {0}, record = {0};
    wr_err  err = WR_OK;
    wr_book_put(&body, change);
    if (wr_sabotage.ledger_late) { /* what was held back goes now, and this one the next time */
        if (l->late.bytes > 0) {
            put_record(&record, l->bytes, &l->late);
            err = write_at_end(l, record.data, record.bytes, info);
            wr_pack_free(&l->late);
        }
        l->late = body;
        body = (wr_pack){0};
    } else {
        put_record(&record, l->bytes, &body);
        err = write_at_end(l, record.data, record.bytes, info);
    }
    if (err != WR_OK) close_file(l);
    wr_pack_free(&body);
    wr_pack_free(&record);
    return err;
}

static wr_err change(wr_ledger *l, const wr_book_change *c, wr_errinfo *info)
{
    const wr_book_job *j = wr_book_find(&l->book, c->id);
    if (c->type != WR_BOOK_JOB && c->type != WR_BOOK_DRAINED && j == NULL)
        return wr_fail(info, WR_NO_JOB, "there is no job %016llx", (unsigned long long)c->id);
    check(j == NULL || j->ended == 0);
    WR_TRY(append(l, c, info));
    const char *problem = wr_book_apply(&l->book, c);
    if (problem != NULL) wr_log(WR_LOG_ERROR, "the ledger took what it cannot read: %s", problem);
    check(problem == NULL);
    return WR_OK;
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

static wr_err lock(wr_ledger *l, wr_errinfo *info)
{
    char     path[WR_PATH_BYTES_MAX];
    uint64_t holder = 0;
    WR_TRY(wr_path_join(path, l->folder, "lock", info));
    l->lock = l->env->open(l->env->self, path, WR_OPEN_READ_WRITE | WR_OPEN_CREATE);
    if (l->lock < 0) return wr_fail_errno(info, -l->lock, "cannot open %s", path);
    int result = l->env->lock(l->env->self, l->lock, &holder);
    if (result == 0 || wr_sabotage.two_leaders) return WR_OK;
    if (result == -EAGAIN) {
        char who[40] = "another process";
        if (holder != 0) snprintf(who, sizeof who, "process %llu", (unsigned long long)holder);
        return wr_fail(info, WR_BUSY, "%s is the JobManager of this folder; %s; stop it first, or use another folder",
                       who, l->folder);
    }
    return wr_fail_errno(info, -result, "cannot lock %s", path);
}

static wr_err open_locked(wr_ledger *l, wr_errinfo *info)
{
    wr_file_info about;
    char        *bytes;
    size_t       n, end = 0;
    if (l->env->stat(l->env->self, l->path, &about) != -ENOENT) {
        WR_TRY(wr_file_read(l->env, l->path, WR_LEDGER_BYTES_MAX, &bytes, &n, info));
        wr_err err = parse(&l->book, bytes, n, l->path, &end, info);
        free(bytes);
        if (err != WR_OK) return err;
        if (end < n)
            wr_log(WR_LOG_WARN, "the last record of the ledger was cut off by a crash and is dropped; %s, offset %zu",
                   l->path, end);
    }
    uint64_t leader = l->book.leader + 1;
    if (leader == 0) return wr_fail(info, WR_LIMIT, "no leader epoch is left; %s; use a new folder", l->folder);
    WR_TRY(rewrite(l, leader, NULL, info));
    l->book.leader = leader;
    return WR_OK;
}

wr_err wr_ledger_open(wr_ledger **take, const wr_env *env, const char *folder, wr_errinfo *info)
{
    *take = NULL;
    if (strlen(folder) >= WR_PATH_BYTES_MAX) return wr_fail(info, WR_LIMIT, "a path is too long; %.200s...", folder);
    wr_ledger *l = calloc(1, sizeof *l);
    if (l == NULL) return wr_fail(info, WR_MEMORY, "out of memory: the ledger");
    l->env = env;
    l->lock = l->file = -1;
    snprintf(l->folder, sizeof l->folder, "%s", folder);
    wr_err err = wr_path_join(l->path, l->folder, NAME, info);
    if (err == WR_OK) err = wr_folder_make(env, l->folder, info);
    if (err == WR_OK) err = lock(l, info);
    if (err == WR_OK) err = open_locked(l, info);
    if (err != WR_OK) {
        wr_ledger_close(l);
        return err;
    }
    *take = l;
    return WR_OK;
}

void wr_ledger_close(wr_ledger *l)
{
    if (l == NULL) return;
    close_file(l);
    if (l->lock >= 0) l->env->close(l->env->self, l->lock);
    wr_pack_free(&l->late);
    wr_book_free(&l->book);
    free(l);
}

/* ---- what it knows, and changes ---------------------------------------------------------------------------------- */

uint64_t wr_ledger_leader(const wr_ledger *l)
{
    return l->book.leader;
}

const wr_ledger_job *wr_ledger_job_at(const wr_ledger *l, uint32_t i)
{
    return i < l->book.jobs ? &l->book.job[i]->pub : NULL;
}

const wr_ledger_job *wr_ledger_find(const wr_ledger *l, uint64_t id)
{
    const wr_book_job *j = wr_book_find(&l->book, id);
    return j != NULL ? &j->pub : NULL;
}

void wr_ledger_size(const wr_ledger *l, uint64_t *bytes, uint64_t *base_bytes)
{
    *bytes = l->bytes;
    *base_bytes = l->base_bytes;
}

static int64_t wall_ms(const wr_ledger *l)
{
    return l->env->wall_ns(l->env->self) / 1000000;
}

static wr_err can_be_read(const char *bytes, size_t n, wr_errinfo *info)
{
    wr_job_spec spec;
    wr_arena    arena;
    wr_arena_init(&arena);
    wr_err err = wr_job_spec_decode(&spec, &arena, bytes, n, info);
    wr_arena_fini(&arena);
    return err;
}

/* With a specification as bytes: submitted or changed. */
static wr_err change_spec(wr_ledger *l, wr_book_change *c, const wr_job_spec *spec, uint64_t without, wr_errinfo *info)
{
    char  *bytes;
    size_t n;
    WR_TRY(wr_job_spec_encode(spec, &bytes, &n, info));
    wr_err err = WR_OK;
    if (n > WR_SPEC_BYTES_MAX || l->book.living_bytes - without + n > WR_LEDGER_JOBS_BYTES_MAX)
        err = wr_fail(info, WR_LIMIT,
                      "the specifications of all jobs would be larger than the maximum of %d bytes; end one first",
                      WR_LEDGER_JOBS_BYTES_MAX);
    c->spec = bytes;
    c->spec_bytes = n;
    if (err == WR_OK) err = can_be_read(bytes, n, info); /* else it would be noticed too late */
    if (err == WR_OK) err = change(l, c, info);
    free(bytes);
    return err;
}

wr_err wr_ledger_submit(wr_ledger *l, uint64_t id, uint64_t request, const wr_job_spec *spec, wr_errinfo *info)
{
    check(id != 0 && wr_book_find(&l->book, id) == NULL);
    if (l->book.living >= WR_JOBS_MAX)
        return wr_fail(info, WR_LIMIT, "there are %d jobs already, the most that can be; end one first", WR_JOBS_MAX);
    wr_book_change c = {.type = WR_BOOK_JOB, .id = id, .request = request, .wall_ms = wall_ms(l)};
    return change_spec(l, &c, spec, 0, info);
}

wr_err wr_ledger_respec(wr_ledger *l, uint64_t id, const wr_job_spec *spec, wr_errinfo *info)
{
    const wr_book_job *j = wr_book_find(&l->book, id);
    wr_book_change     c = {.type = WR_BOOK_SPEC, .id = id};
    return change_spec(l, &c, spec, j != NULL ? j->spec_bytes : 0, info);
}

wr_err wr_ledger_attempt(wr_ledger *l, uint64_t id, uint32_t attempt, const uint64_t *place, uint32_t places,
                         const uint8_t secret[WR_MAC_BYTES], wr_errinfo *info)
{
    const wr_book_job *j = wr_book_find(&l->book, id);
    check(places <= WR_SLOTS_MAX && attempt > 0 && (j == NULL || attempt > j->pub.attempt));
    for (uint32_t i = 0; i < places; i++) check(place[i] != 0);
    wr_book_change c = {.type = WR_BOOK_ATTEMPT, .id = id, .attempt = attempt, .places = places, .wall_ms = wall_ms(l)};
    c.first = j != NULL && j->pub.first != 0 ? j->pub.first : attempt;
    c.planned = j != NULL ? wr_book_planned(&j->pub, attempt) : 0;
    memcpy(c.place, place, places * sizeof *place);
    memcpy(c.secret, secret, WR_MAC_BYTES);
    return change(l, &c, info);
}

wr_err wr_ledger_failed(wr_ledger *l, uint64_t id, const wr_ledger_failure *failure, wr_errinfo *info)
{
    const wr_book_change c = {.type = WR_BOOK_FAILED,
                              .id = id,
                              .wall_ms = failure->wall_ms,
                              .attempt = failure->attempt,
                              .subtask = failure->subtask,
                              .cause = failure->info,
                              .count = failure->count,
                              .delay_ms = failure->delay_ms};
    return change(l, &c, info);
}

wr_err wr_ledger_stopping(wr_ledger *l, uint64_t id, uint32_t how, const char *target, wr_errinfo *info)
{
    check(how <= WR_LEDGER_CANCEL);
    wr_book_change c = {.type = WR_BOOK_STOPPING, .id = id, .how = how};
    if (snprintf(c.target, sizeof c.target, "%s", target) >= (int)sizeof c.target)
        return wr_fail(info, WR_LIMIT, "a path has at most %d bytes", WR_PATH_BYTES_MAX - 1);
    return change(l, &c, info);
}

wr_err wr_ledger_restart(wr_ledger *l, uint64_t id, const char *spec, size_t spec_bytes, wr_errinfo *info)
{
    const wr_book_job *j = wr_book_find(&l->book, id);
    wr_book_change     c = {.type = WR_BOOK_RESTART, .id = id, .spec = spec, .spec_bytes = spec_bytes};
    if (j != NULL) c.attempt = j->pub.attempt;
    if (l->book.living_bytes + spec_bytes > WR_LEDGER_JOBS_BYTES_MAX)
        return wr_fail(info, WR_LIMIT,
                       "the specifications of all jobs would be larger than the maximum of %d bytes; end one first",
                       WR_LEDGER_JOBS_BYTES_MAX);
    return change(l, &c, info);
}

wr_err wr_ledger_drain(wr_ledger *l, uint64_t tm, bool on, wr_errinfo *info)
{
    if (wr_ledger_drained(l, tm) == on) return WR_OK;
    const wr_book_change c = {.type = WR_BOOK_DRAINED, .tm = tm, .on = on};
    return change(l, &c, info);
}

bool wr_ledger_drained(const wr_ledger *l, uint64_t tm)
{
    for (uint32_t i = 0; i < l->book.draineds; i++)
        if (l->book.drained[i] == tm) return true;
    return false;
}

wr_err wr_ledger_end(wr_ledger *l, uint64_t id, uint32_t state, const wr_errinfo *cause, wr_errinfo *info)
{
    wr_book_change c = {.type = WR_BOOK_END, .id = id, .wall_ms = wall_ms(l)};
    c.state = state == WR_JOB_FAILED     ? WR_BOOK_FAILED_STATE
              : state == WR_JOB_CANCELED ? WR_BOOK_CANCELED_STATE
                                         : WR_BOOK_FINISHED_STATE;
    check(wr_job_state_final((wr_job_state)state));
    if (cause != NULL) c.cause = *cause;
    return change(l, &c, info);
}
