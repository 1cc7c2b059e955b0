/* jobmanager/journal.c: 16 bytes of head (magic, version, checksum of both), then records: length of the body (4),
 * xxh3-64 of offset, length and body (8), body (msgpack). The offset in the checksum tells a record that was moved.
 * The first record holds everything; opening and compaction write a new file with one such record, and rename it. So
 * only what was appended since can be cut off by a crash, and all of it can be made up for from the files' names. */
#include "jobmanager/journal.h"
#include "base/check.h"
#include "base/failpoint.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/sabotage.h"
#include "jobmanager/files.h"
#include "jobmanager/store.h"
#include "wire/pack.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define VERSION 2u /* 1 is read, too: it does not count attempts */
enum { HEAD_BYTES = 16, RECORD_BYTES = 12, BODY_BYTES_MAX = 4096, LINEAGE_BYTES = 32 };
/* Ids that a record may have reserved which a crash, or worse, cut off: they are skipped. */
#define SKIP_IDS (UINT64_C(1) << 20)
static const char magic[8] = {'W', 'E', 'I', 'R', 'J', 'R', 'N', 'L'};

enum { TYPE_ALL = 1, TYPE_IDS, TYPE_FINISHED };
enum { J_TYPE, J_JOB, J_LINEAGE, J_EPOCH, J_IDS, J_FINISHED, J_SNAPSHOT, J_WEIR, J_ATTEMPT, J_KEYS };
static const char *const key_name[] = {"type",     "job",      "lineage", "epoch",  "ids",
                                       "finished", "snapshot", "weir",    "attempt"};

/* What the records add up to. */
typedef struct state {
    char     job[WR_NAME_BYTES_MAX + 1], lineage[LINEAGE_BYTES + 1];
    uint32_t version, epoch, attempt;
    uint64_t ids, snapshot;
    bool     finished;
} state;

struct wr_journal {
    const wr_env *env;
    char          folder[WR_PATH_BYTES_MAX], path[WR_PATH_BYTES_MAX];
    int           lock, whole; /* the lock file, the folder itself */
    int           file;        /* -1 after an error: the next record goes into a new file */
    uint64_t      bytes;
    state         now;     /* durable, but for what `pending` says */
    bool          pending; /* opened fresh, and not begun: nothing is written */
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
    wr_pack_raw(file, &n, 4);
    wr_pack_raw(file, &sum, 8);
    wr_pack_raw(file, body->data, n);
}

static void put_number(wr_pack *p, int key, uint64_t value)
{
    wr_pack_str(p, key_name[key]);
    wr_pack_u64(p, value);
}

static void put_all(wr_pack *p, const state *s)
{
    wr_pack_map(p, J_KEYS);
    put_number(p, J_TYPE, TYPE_ALL);
    wr_pack_str(p, key_name[J_JOB]);
    wr_pack_str(p, s->job);
    wr_pack_str(p, key_name[J_LINEAGE]);
    wr_pack_str(p, s->lineage);
    put_number(p, J_EPOCH, s->epoch);
    put_number(p, J_IDS, s->ids);
    wr_pack_str(p, key_name[J_FINISHED]);
    wr_pack_bool(p, s->finished);
    put_number(p, J_SNAPSHOT, s->snapshot);
    wr_pack_str(p, key_name[J_WEIR]);
    wr_pack_str(p, WR_VERSION);
    put_number(p, J_ATTEMPT, s->attempt);
}

static void put_change(wr_pack *p, const state *s)
{
    wr_pack_map(p, 2);
    put_number(p, J_TYPE, s->finished ? TYPE_FINISHED : TYPE_IDS);
    put_number(p, s->finished ? J_SNAPSHOT : J_IDS, s->finished ? s->snapshot : s->ids);
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static void take_text(wr_unpack *u, char *to, size_t max)
{
    size_t      n;
    const char *from = wr_unpack_str(u, max, &n);
    if (from == NULL) return;
    memcpy(to, from, n);
    to[n] = 0;
}

/* Changes *s. What a record of its type must have is checked by `seen`. */
static void read_body(wr_unpack *u, state *s, bool first)
{
    const uint64_t need[] = {[TYPE_ALL] = s->version < 2 ? 0x7f : 0x7f | 1 << J_ATTEMPT,
                             [TYPE_IDS] = 1 << J_IDS,
                             [TYPE_FINISHED] = 1 << J_SNAPSHOT};
    uint64_t       seen = 0, type = 0;
    for (uint32_t n = wr_unpack_map(u); n > 0 && u->problem == NULL; n--) {
        char weir[65];
        switch (wr_unpack_key(u, key_name, J_KEYS, &seen)) {
        case J_TYPE: type = wr_unpack_u64(u, UINT32_MAX); break;
        case J_JOB: take_text(u, s->job, WR_NAME_BYTES_MAX); break;
        case J_LINEAGE: take_text(u, s->lineage, LINEAGE_BYTES); break;
        case J_EPOCH: s->epoch = (uint32_t)wr_unpack_u64(u, UINT32_MAX); break;
        case J_IDS: s->ids = wr_unpack_u64(u, UINT64_MAX); break;
        case J_FINISHED: s->finished = wr_unpack_bool(u); break;
        case J_SNAPSHOT: s->snapshot = wr_unpack_u64(u, UINT64_MAX); break;
        case J_ATTEMPT: s->attempt = (uint32_t)wr_unpack_u64(u, UINT32_MAX - 1); break;
        case J_WEIR: take_text(u, weir, sizeof weir - 1); break;
        default: break;
        }
    }
    wr_unpack_leave(u);
    wr_unpack_end(u);
    if (u->problem != NULL) return;
    if (type == 0 || type > TYPE_FINISHED || first != (type == TYPE_ALL))
        wr_unpack_fail(u, "a record is of a type that does not belong here");
    else if ((seen & need[type]) != need[type])
        wr_unpack_fail(u, "a record lacks a member");
    else if (type == TYPE_ALL && (strlen(s->lineage) != LINEAGE_BYTES || s->job[0] == 0))
        wr_unpack_fail(u, "a job's name or lineage is none");
    if (type == TYPE_FINISHED) s->finished = true;
}

/* The body of the record at `at`, or NULL: what stands there is none. */
static const char *record_at(const char *bytes, size_t n, size_t at, uint32_t *body)
{
    uint64_t sum;
    if (n - at < RECORD_BYTES) return NULL;
    memcpy(body, bytes + at, 4);
    memcpy(&sum, bytes + at + 4, 8);
    if (*body == 0 || *body > BODY_BYTES_MAX || *body > n - at - RECORD_BYTES) return NULL;
    const char *from = bytes + at + RECORD_BYTES;
    return checksum(at, *body, from) == sum ? from : NULL;
}

/* Something stands at `at` that is no record. A crash leaves that at the end only. */
static wr_err check_tail(const char *bytes, size_t n, size_t at, const char *path, wr_errinfo *info)
{
    uint32_t body;
    for (size_t i = at + 1; i < n; i++) {
        if (record_at(bytes, n, i, &body) == NULL) continue;
        return wr_fail(info, WR_DAMAGED,
                       "a record of the journal is damaged, and good ones stand behind it; %s, offset %zu; put back a "
                       "copy, or move it away: ids and epoch then go on from the names of the files",
                       path, at);
    }
    return WR_OK;
}

/* *end: where the good records end. */
static wr_err parse(state *s, const char *bytes, size_t n, const char *path, size_t *end, wr_errinfo *info)
{
    uint32_t    sum, body;
    const char *todo = "put back a copy, or move it away: ids and epoch then go on from the names of the files";
    if (n < HEAD_BYTES || memcmp(bytes, magic, sizeof magic) != 0)
        return wr_fail(info, WR_DAMAGED, "this is no journal; %s, offset 0; %s", path, todo);
    memcpy(&s->version, bytes + 8, 4);
    memcpy(&sum, bytes + 12, 4);
    if (sum != (uint32_t)XXH3_64bits(bytes, 12))
        return wr_fail(info, WR_DAMAGED, "the head of the journal is damaged; %s, offset 12; %s", path, todo);
    if (s->version == 0 || s->version > VERSION)
        return wr_fail(info, WR_NEWER,
                       "the journal has format version %u, this Weir reads 1 to %u; %s; use the Weir that wrote it, or "
                       "a newer one",
                       s->version, VERSION, path);
    size_t at = HEAD_BYTES;
    while (at < n) {
        const char *from = record_at(bytes, n, at, &body);
        if (from == NULL) {
            if (at == HEAD_BYTES) /* was renamed into place as a whole: no crash cuts it off */
                return wr_fail(info, WR_DAMAGED, "the first record of the journal is damaged; %s, offset %zu; %s", path,
                               at, todo);
            WR_TRY(check_tail(bytes, n, at, path, info));
            break;
        }
        wr_unpack u;
        wr_unpack_init(&u, from, body);
        read_body(&u, s, at == HEAD_BYTES);
        if (u.problem != NULL)
            return wr_fail(info, WR_DAMAGED, "%s; %s, offset %zu; %s", u.problem, path, at + RECORD_BYTES + u.offset,
                           todo);
        at += RECORD_BYTES + body;
    }
    *end = at;
    if (at == HEAD_BYTES) return wr_fail(info, WR_DAMAGED, "the journal is empty; %s, offset %zu; %s", path, at, todo);
    return WR_OK;
}

wr_err wr_journal_parse(const char *bytes, size_t n, const char *path, wr_journal_view *view, wr_errinfo *info)
{
    state  s = {0};
    size_t end = 0;
    WR_TRY(parse(&s, bytes, n, path, &end, info));
    *view = (wr_journal_view){
        .epoch = s.epoch, .ids = s.ids, .snapshot = s.snapshot, .finished = s.finished, .good_bytes = end};
    if (s.version >= 2) view->attempt = s.attempt;
    memcpy(view->job, s.job, sizeof s.job);
    memcpy(view->lineage, s.lineage, sizeof s.lineage);
    return WR_OK;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static void close_file(wr_journal *j)
{
    if (j->file >= 0) j->env->close(j->env->self, j->file);
    j->file = -1;
}

/* A new file that holds `next` and nothing else. */
static wr_err rewrite(wr_journal *j, const state *next, wr_errinfo *info)
{
    static const wr_publish steps = {
        .name = WR_JOURNAL_NAME, .written = "journal-temp", .synced = "journal-synced", .renamed = "journal-renamed"};
    wr_publish what = steps;
    wr_pack    body = {0}, file = {0};
    uint32_t   head[2] = {VERSION, 0};
    bool       published;
    close_file(j);
    what.folder = j->folder;
    wr_pack_raw(&file, magic, sizeof magic);
    wr_pack_raw(&file, head, sizeof head);
    head[1] = (uint32_t)XXH3_64bits(file.data, 12);
    memcpy(file.data + 12, &head[1], 4);
    put_all(&body, next);
    put_record(&file, HEAD_BYTES, &body);
    wr_err err = wr_file_publish(j->env, &what, file.data, file.bytes, &published, info);
    j->bytes = file.bytes;
    wr_pack_free(&body);
    wr_pack_free(&file);
    if (err != WR_OK) return err;
    j->now = *next;
    int opened = j->env->open(j->env->self, j->path, WR_OPEN_READ_WRITE);
    j->file = opened < 0 ? -1 : opened; /* without it the next change is a new file again */
    return WR_OK;
}

/* One more record. After an error the next change makes a new file. */
static wr_err append(wr_journal *j, const state *next, wr_errinfo *info)
{
    if (j->file < 0 || j->bytes > WR_JOURNAL_BYTES_MAX) return rewrite(j, next, info);
    const wr_append to = {.file = j->file, .path = j->path, .written = "journal-append", .durable = "journal-durable"};
    wr_pack         body = {0}, record = {0};
    put_change(&body, next);
    put_record(&record, j->bytes, &body);
    wr_err err = wr_file_append(j->env, &to, &j->bytes, record.data, record.bytes, info);
    wr_pack_free(&body);
    wr_pack_free(&record);
    if (err != WR_OK)
        close_file(j);
    else
        j->now = *next;
    return err;
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

static wr_err busy(const wr_journal *j, uint64_t holder, wr_errinfo *info)
{
    char who[40] = "another process";
    if (holder != 0) snprintf(who, sizeof who, "process %llu", (unsigned long long)holder);
    return wr_fail(info, WR_BUSY, "%s runs a job with these snapshots; %s; stop it first, or use another folder", who,
                   j->folder);
}

/* The file says who has it. But files are removed by people who take them for left over: the folder is locked as well,
 * where its file system can do that. */
static wr_err lock(wr_journal *j, wr_errinfo *info)
{
    char     path[WR_PATH_BYTES_MAX];
    uint64_t holder = 0;
    WR_TRY(wr_path_join(path, j->folder, WR_LOCK_NAME, info));
    j->lock = j->env->open(j->env->self, path, WR_OPEN_READ_WRITE | WR_OPEN_CREATE);
    if (j->lock < 0) return wr_fail_errno(info, -j->lock, "cannot open %s", path);
    int result = j->env->lock(j->env->self, j->lock, &holder);
    if (result == -EAGAIN) return busy(j, holder, info);
    if (result < 0) return wr_fail_errno(info, -result, "cannot lock %s", path);
    j->whole = j->env->open(j->env->self, j->folder, WR_OPEN_READ | WR_OPEN_FOLDER);
    bool taken = j->whole >= 0 && j->env->hold(j->env->self, j->whole, true) == -EAGAIN;
    return taken ? busy(j, 0, info) : WR_OK;
}

static void new_lineage(const wr_env *env, state *s)
{
    unsigned long long high = env->random(env->self), low = env->random(env->self);
    snprintf(s->lineage, sizeof s->lineage, "%016llx%016llx", high, low);
    s->finished = false;
    s->snapshot = 0;
}

/* No journal: a new folder, or one that lost it. */
static wr_err begin(wr_journal *j, const wr_journal_config *config, state *s, wr_errinfo *info)
{
    wr_manifest m;
    bool        found;
    snprintf(s->job, sizeof s->job, "%s", config->job);
    new_lineage(j->env, s);
    wr_err err = wr_store_newest(j->env, j->folder, NULL, &m, &found, config->fresh ? NULL : info);
    if (err != WR_OK || !found) return config->fresh ? WR_OK : err;
    wr_log(WR_LOG_WARN, "the folder has snapshots, but no journal: ids and epoch go on from the names of the files; %s",
           j->folder);
    snprintf(s->job, sizeof s->job, "%s", m.job);
    if (strlen(m.lineage) == LINEAGE_BYTES) memcpy(s->lineage, m.lineage, LINEAGE_BYTES);
    wr_manifest_free(&m);
    return WR_OK;
}

/* Whoever begins anew does not need what it said. */
static wr_err begin_without(wr_journal *j, const wr_journal_config *config, state *s, const wr_errinfo *why)
{
    wr_log(WR_LOG_WARN, "%s; the journal is made anew", why->text);
    memset(s, 0, sizeof *s);
    return begin(j, config, s, NULL);
}

static wr_err load(wr_journal *j, const wr_journal_config *config, state *s, wr_errinfo *info)
{
    wr_file_info about;
    wr_errinfo   why = {0};
    char        *bytes;
    size_t       n, end = 0;
    if (j->env->stat(j->env->self, j->path, &about) == -ENOENT) return begin(j, config, s, info);
    wr_err err = wr_file_read(j->env, j->path, 2 * WR_JOURNAL_BYTES_MAX, &bytes, &n, &why);
    if (err == WR_OK) {
        err = parse(s, bytes, n, j->path, &end, &why);
        free(bytes);
    }
    if (err == WR_DAMAGED && config->fresh) return begin_without(j, config, s, &why);
    if (err != WR_OK) return wr_fail(info, err, "%s", why.text);
    if (end == n) return WR_OK;
    wr_log(WR_LOG_WARN, "the last record of the journal was cut off by a crash and is dropped; %s, offset %zu", j->path,
           end);
    if (s->ids < UINT64_MAX - SKIP_IDS) s->ids += SKIP_IDS;
    return WR_OK;
}

/* Each attempt opened its folder: where nothing counted them, there were no more of them than epochs. */
static wr_err count_attempts(const wr_journal *j, const wr_journal_config *config, state *s, wr_errinfo *info)
{
    if (s->version < 2) s->attempt = s->epoch;
    bool before = s->attempt < config->attempt;
    if (config->next && !before && s->attempt >= UINT32_MAX - 1)
        return wr_fail(info, WR_LIMIT, "no number of an attempt is left; %s; use a new folder", j->folder);
    if (before)
        s->attempt = config->attempt;
    else if (config->next)
        s->attempt++;
    return WR_OK;
}

static wr_err open_locked(wr_journal *j, const wr_journal_config *config, wr_errinfo *info)
{
    state    s = {0};
    uint32_t epoch;
    uint64_t id;
    WR_TRY(load(j, config, &s, info));
    if (strcmp(s.job, config->job) != 0)
        return wr_fail(info, WR_CONFIG, "the snapshots are those of the job '%s', not of '%s'; %s; use another folder",
                       s.job, config->job, j->folder);
    WR_TRY(wr_store_greatest(j->env, j->folder, &epoch, &id, info));
    if (s.epoch < epoch) s.epoch = epoch;
    if (s.ids < id) s.ids = id;
    if (config->fresh) new_lineage(j->env, &s);
    j->now = s;
    if (s.finished) return WR_OK;
    if (s.epoch == UINT32_MAX)
        return wr_fail(info, WR_LIMIT, "no leader epoch is left; %s; use a new folder", j->folder);
    WR_TRY(count_attempts(j, config, &s, info));
    s.epoch++;
    if (!config->fresh) return rewrite(j, &s, info);
    j->now = s;
    j->pending = true;
    return WR_OK;
}

wr_err wr_journal_open(wr_journal **take, const wr_journal_config *config, wr_errinfo *info)
{
    *take = NULL;
    if (config->job[0] == 0 || strlen(config->job) > WR_NAME_BYTES_MAX)
        return wr_fail(info, WR_LIMIT, "a job's name has 1 to %d bytes", WR_NAME_BYTES_MAX);
    if (strlen(config->folder) >= WR_PATH_BYTES_MAX)
        return wr_fail(info, WR_LIMIT, "a path is too long; %.200s...", config->folder);
    wr_journal *j = calloc(1, sizeof *j);
    if (j == NULL) return wr_fail(info, WR_MEMORY, "out of memory: the journal");
    j->env = config->env;
    j->lock = j->whole = j->file = -1;
    snprintf(j->folder, sizeof j->folder, "%s", config->folder);
    wr_err err = wr_path_join(j->path, j->folder, WR_JOURNAL_NAME, info);
    if (err == WR_OK) err = wr_folder_make(j->env, j->folder, info);
    if (err == WR_OK) err = lock(j, info);
    if (err == WR_OK) err = open_locked(j, config, info);
    if (err != WR_OK) {
        wr_journal_close(j);
        return err;
    }
    *take = j;
    return WR_OK;
}

wr_err wr_journal_begin(wr_journal *j, wr_errinfo *info)
{
    const state next = j->now;
    if (!j->pending) return WR_OK;
    WR_TRY(rewrite(j, &next, info));
    j->pending = false;
    return WR_OK;
}

void wr_journal_close(wr_journal *j)
{
    if (j == NULL) return;
    close_file(j);
    if (j->whole >= 0) j->env->close(j->env->self, j->whole);
    if (j->lock >= 0) j->env->close(j->env->self, j->lock);
    free(j);
}

/* ---- what it knows, and changes ---------------------------------------------------------------------------------- */

uint32_t wr_journal_epoch(const wr_journal *j)
{
    return j->now.epoch;
}
uint32_t wr_journal_attempt(const wr_journal *j)
{
    return j->now.attempt;
}
const char *wr_journal_lineage(const wr_journal *j)
{
    return j->now.lineage;
}
uint64_t wr_journal_ids(const wr_journal *j)
{
    return j->now.ids;
}

bool wr_journal_finished(const wr_journal *j, uint64_t *snapshot)
{
    if (snapshot != NULL) *snapshot = j->now.snapshot;
    return j->now.finished;
}

wr_err wr_journal_reserve(wr_journal *j, uint64_t up_to, wr_errinfo *info)
{
    check(!j->now.finished && !j->pending);
    if (up_to <= j->now.ids) return WR_OK;
    state next = j->now;
    next.ids = up_to;
    if (wr_sabotage.ids_not_durable) {
        j->now = next;
        return WR_OK;
    }
    return append(j, &next, info);
}

bool wr_journal_replaced(const wr_journal *j, wr_errinfo *info)
{
    state      s = {0};
    wr_errinfo why = {0};
    char      *bytes;
    size_t     n, end;
    if (j->pending) return false;
    wr_err err = wr_file_read(j->env, j->path, 2 * WR_JOURNAL_BYTES_MAX, &bytes, &n, &why);
    if (err == WR_NOT_FOUND) {
        wr_fail(info, WR_NOT_FOUND,
                "%s is not there, so this is not the folder that the job began with; mount it, or put it back",
                j->path);
        return true;
    }
    if (err != WR_OK) return false;
    err = parse(&s, bytes, n, j->path, &end, &why);
    free(bytes);
    if (err != WR_OK || (s.epoch == j->now.epoch && strcmp(s.lineage, j->now.lineage) == 0)) return false;
    wr_fail(info, WR_BUSY,
            "%s is another folder than the one that this job began with, and another job may be at work there; put the "
            "old one back",
            j->folder);
    return true;
}

wr_err wr_journal_finish(wr_journal *j, uint64_t snapshot, wr_errinfo *info)
{
    check(!j->pending);
    if (j->now.finished) return WR_OK;
    state next = j->now;
    next.finished = true;
    next.snapshot = snapshot;
    return append(j, &next, info);
}
