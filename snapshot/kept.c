#include "snapshot/kept.h"
#include "base/limits.h"
#include "wire/members.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { FILE_NAME_BYTES_MAX = 63, COPY_BYTES = WR_KIB(256) };

static const wr_member kept_members[] = {
    WR_MEMBER(wr_kept, name, WR_IS_STR, WR_PATH_BYTES_MAX - 1),
    WR_MEMBER(wr_kept, path, WR_IS_STR, WR_PATH_BYTES_MAX - 1),
    WR_MEMBER(wr_kept, file, WR_IS_STR, FILE_NAME_BYTES_MAX),
    WR_MEMBER(wr_kept, bytes, WR_IS_U64, INT64_MAX),
    WR_MEMBER(wr_kept, hash, WR_IS_FIXED, 16),
};

static const char *kept_wrong(const void *it)
{
    const wr_kept *k = it;
    const char    *file = k->file != NULL ? k->file : "";
    if (k->name == NULL || k->name[0] == 0) return "a file of a sink has no name";
    return file[0] == '.' || strchr(file, '/') != NULL ? "a file's name is none" : NULL;
}
static const wr_struct kept_struct = WR_STRUCT(wr_kept, kept_members, .wrong = kept_wrong);

wr_err wr_kept_encode(const wr_kept *k, char **bytes, size_t *n, wr_errinfo *info)
{
    wr_pack     p = {0};
    const char *bad = wr_struct_pack(&p, &kept_struct, k);
    if (bad != NULL) {
        wr_pack_free(&p);
        return wr_fail(info, WR_LIMIT, "a file of a sink cannot be kept by a savepoint: %s; %s", bad, k->path);
    }
    *bytes = p.data;
    *n = p.bytes;
    return WR_OK;
}

wr_err wr_kept_decode(wr_kept *k, wr_arena *arena, const char *bytes, size_t n, wr_errinfo *info)
{
    wr_unpack u;
    wr_unpack_init(&u, bytes, n);
    wr_struct_unpack(&u, arena, arena->bytes + WR_MIB(1), &kept_struct, k);
    wr_unpack_end(&u);
    if (u.problem == NULL) return WR_OK;
    return wr_fail(info, WR_DAMAGED, "a file that a savepoint keeps for a sink is described by no such thing: %s",
                   u.problem);
}

/* ---- bytes ------------------------------------------------------------------------------------------------------- */

/* Stack of wr_kept_copy. */
typedef struct copy {
    const wr_env *env;
    int           from, to; /* -1: none */
    XXH3_state_t *hash;
    char         *buffer;
    uint64_t      bytes;
} copy;

static int write_all(copy *c, size_t n)
{
    for (size_t at = 0; at < n && c->to >= 0;) {
        int64_t got = c->env->write(c->env->self, c->to, c->buffer + at, n - at);
        if (got <= 0) return got < 0 ? (int)got : -ENOSPC;
        at += (size_t)got;
    }
    return 0;
}

/* 0, -errno, or 1: stopped. *reading: which of the two files it was. */
static int move_all(copy *c, _Atomic bool *stop, bool *reading)
{
    for (;;) {
        *reading = true;
        if (stop != NULL && atomic_load(stop)) return 1;
        int64_t got = c->env->read(c->env->self, c->from, c->buffer, COPY_BYTES);
        if (got < 0) return (int)got;
        *reading = false;
        if (got == 0) return c->to >= 0 ? c->env->fsync(c->env->self, c->to) : 0;
        if (XXH3_128bits_update(c->hash, c->buffer, (size_t)got) == XXH_ERROR) return -EIO;
        c->bytes += (uint64_t)got;
        int result = write_all(c, (size_t)got);
        if (result < 0) return result;
    }
}

static wr_err open_both(copy *c, const char *from, const char *to, wr_errinfo *info)
{
    c->hash = XXH3_createState();
    c->buffer = malloc(COPY_BYTES);
    if (c->hash == NULL || c->buffer == NULL) return wr_fail(info, WR_MEMORY, "no memory to copy %s", from);
    (void)XXH3_128bits_reset(c->hash);
    c->from = c->env->open(c->env->self, from, WR_OPEN_READ);
    if (c->from < 0) return wr_fail_errno(info, -c->from, "cannot read %s", from);
    if (to == NULL) return WR_OK;
    c->to = c->env->open(c->env->self, to, WR_OPEN_WRITE | WR_OPEN_CREATE | WR_OPEN_TRUNCATE);
    return c->to < 0 ? wr_fail_errno(info, -c->to, "cannot write %s", to) : WR_OK;
}

wr_err wr_kept_copy(const wr_env *env, const char *from, const char *to, _Atomic bool *stop, wr_kept *k,
                    wr_errinfo *info)
{
    copy   c = {.env = env, .from = -1, .to = -1};
    bool   reading = true;
    wr_err err = open_both(&c, from, to, info);
    int    result = err == WR_OK ? move_all(&c, stop, &reading) : 0;
    if (c.from >= 0) env->close(env->self, c.from);
    if (c.to >= 0) {
        int closed = env->close(env->self, c.to);
        if (result == 0 && closed < 0) result = closed;
    }
    if (result < 0) err = wr_fail_errno(info, -result, "cannot %s %s", reading ? "read" : "write", reading ? from : to);
    if (result > 0) err = wr_fail(info, WR_CANCELED, "copying %s was stopped", from);
    if (err == WR_OK) {
        XXH128_hash_t hash = XXH3_128bits_digest(c.hash);
        k->bytes = c.bytes;
        k->hash[0] = hash.low64;
        k->hash[1] = hash.high64;
    } else if (c.to >= 0) {
        env->unlink(env->self, to);
    }
    if (c.hash != NULL) (void)XXH3_freeState(c.hash);
    free(c.buffer);
    return err;
}

/* ---- lists ------------------------------------------------------------------------------------------------------- */

wr_err wr_kept_add(wr_kept_list *list, const char *folder, const wr_item *item, wr_errinfo *info)
{
    if (list->folder == NULL) list->folder = wr_arena_str(&list->arena, folder);
    if (list->n == list->room) {
        uint32_t room = list->room == 0 ? 8 : 2 * list->room;
        wr_kept *more = wr_arena_array(&list->arena, wr_kept, room);
        if (list->n > 0) memcpy(more, list->kept, list->n * sizeof *more);
        list->kept = more;
        list->room = room;
    }
    WR_TRY(wr_kept_decode(&list->kept[list->n], &list->arena, item->data, item->bytes, info));
    if (list->kept[list->n].file[0] == 0)
        return wr_fail(info, WR_DAMAGED, "a file that a savepoint keeps for a sink (%s) is not in its folder",
                       list->kept[list->n].name);
    list->n++;
    return WR_OK;
}

const wr_kept *wr_kept_find(const wr_kept_list *list, const char *name, size_t n)
{
    for (uint32_t i = 0; i < list->n; i++) {
        if (strlen(list->kept[i].name) == n && memcmp(list->kept[i].name, name, n) == 0) return &list->kept[i];
    }
    return NULL;
}

void wr_kept_fini(wr_kept_list *list)
{
    wr_arena_fini(&list->arena);
    memset(list, 0, sizeof *list);
}
