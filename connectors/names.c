/* connectors/names.c: lists, patterns and folders of files. Patterns go through the environment's list of a folder,
 * level by level, so that a simulated file system is searched like a real one. */
#include "connectors/names.h"
#include "base/hash.h"
#include "base/lookup.h"
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

/* Caller's storage, one thread: one search. */
typedef struct search {
    wr_names     *names;
    wr_lookup     paths; /* numbers of names */
    wr_arena     *arena;
    const wr_env *env;
    wr_errinfo   *info;
    wr_err        err;
} search;

/* Entries of one folder. In the arena of the search. */
typedef struct entries {
    search      *search;
    const char  *pattern; /* NULL: what is not hidden */
    const char **name;
    uint32_t     count, room;
} entries;

static wr_err add_file(search *s, const char *path, const wr_file_info *file)
{
    wr_names *names = s->names;
    uint64_t  hash = wr_hash_bytes(path, strlen(path));
    uint32_t  step = 0;
    for (uint32_t i; (i = wr_lookup_next(&s->paths, hash, &step)) != WR_LOOKUP_NONE;) {
        if (strcmp(names->name[i].path, path) == 0) return WR_OK;
    }
    if (!file->is_file)
        return wr_fail(s->info, WR_CONFIG,
                       "%s is not a regular file; pipes and terminals are read by the source stdin:", path);
    if (names->count == WR_FILES_MAX)
        return wr_fail(s->info, WR_LIMIT, "more than %d files; at %s; name fewer, or split the job", WR_FILES_MAX,
                       path);
    if (names->count == names->room) {
        wr_name *more = wr_arena_array(s->arena, wr_name, names->room * 2 + 16);
        if (names->count > 0) memcpy(more, names->name, names->count * sizeof *more);
        names->name = more;
        names->room = names->room * 2 + 16;
    }
    if (!wr_lookup_add(&s->paths, hash, names->count))
        return wr_fail(s->info, WR_MEMORY, "no memory for %u files; at %s", names->count + 1, path);
    names->name[names->count++] = (wr_name){wr_arena_str(s->arena, path), file->bytes};
    return WR_OK;
}

static bool has_pattern(const char *text)
{
    return strpbrk(text, "*?[") != NULL;
}

static bool take_entry(void *arg, const char *name)
{
    entries *e = arg;
    if (e->pattern != NULL ? fnmatch(e->pattern, name, FNM_PERIOD) != 0 : name[0] == '.' || name[0] == '_') return true;
    if (e->count == WR_FILES_MAX) {
        e->search->err = wr_fail(e->search->info, WR_LIMIT, "more than %d files in one folder; at %s", WR_FILES_MAX,
                                 name);
        return false;
    }
    if (e->count == e->room) {
        const char **more = wr_arena_array(e->search->arena, const char *, e->room * 2 + 64);
        if (e->count > 0) memcpy(more, e->name, e->count * sizeof *more);
        e->name = more;
        e->room = e->room * 2 + 64;
    }
    e->name[e->count++] = wr_arena_str(e->search->arena, name);
    return true;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static wr_err list_folder(search *s, const char *folder, const char *pattern, entries *e)
{
    *e = (entries){.search = s, .pattern = pattern};
    int result = s->env->list(s->env->self, folder[0] != 0 ? folder : ".", take_entry, e);
    if (s->err != WR_OK) return s->err;
    if (result == -ENOENT || result == -ENOTDIR) return WR_OK;
    if (result < 0) return wr_fail_errno(s->info, -result, "cannot list the folder %s", folder[0] != 0 ? folder : ".");
    if (e->count > 1) qsort(e->name, e->count, sizeof *e->name, by_name);
    return WR_OK;
}

static wr_err add_folder(search *s, const char *folder)
{
    entries e;
    WR_TRY(list_folder(s, folder, NULL, &e));
    for (uint32_t i = 0; i < e.count; i++) {
        wr_file_info file;
        size_t       n = strlen(folder);
        const char  *path = wr_arena_printf(s->arena, "%s%s%s", folder, n > 0 && folder[n - 1] == '/' ? "" : "/",
                                            e.name[i]);
        int          result = s->env->stat(s->env->self, path, &file);
        if (result < 0) return wr_fail_errno(s->info, -result, "cannot look at %s", path);
        if (file.is_file) WR_TRY(add_file(s, path, &file));
    }
    return WR_OK;
}

typedef struct wanted {
    const char *name;
    bool        found;
} wanted;

static bool is_wanted(void *arg, const char *name)
{
    wanted *w = arg;
    w->found = strcmp(name, w->name) == 0;
    return !w->found;
}

/* A link that leads nowhere is an entry of its folder, too. */
static bool has_entry(const search *s, const char *folder, const char *name)
{
    wanted w = {.name = name};
    int    result = s->env->list(s->env->self, folder[0] != 0 ? folder : ".", is_wanted, &w);
    return w.found || result < 0;
}

/* done is a path without patterns and ends with '/' or is empty; rest is what is still to be matched below it. */
static wr_err match(search *s, const char *done, const char *rest, uint32_t depth)
{
    while (*rest == '/') rest++;
    size_t      n = strcspn(rest, "/");
    const char *part = wr_arena_copy(s->arena, rest, n), *below = rest + n;
    entries     e = {.name = &part, .count = 1};
    if (depth > 64) return wr_fail(s->info, WR_URI, "a pattern of more than 64 folders; at %s", done);
    if (has_pattern(part)) WR_TRY(list_folder(s, done, part, &e));
    for (uint32_t i = 0; i < e.count; i++) {
        wr_file_info file;
        const char  *path = wr_arena_printf(s->arena, "%s%s", done, e.name[i]);
        int          result = s->env->stat(s->env->self, path, &file);
        if (result == -ENOENT && !has_pattern(part) && !has_entry(s, done, part)) continue;
        if (result < 0) /* it has a name there: to leave it out would be to lose records without a word */
            return wr_fail_errno(s->info, -result, "cannot look at %s, which the pattern matches", path);
        if (*below == 0) {
            if (!file.is_folder) WR_TRY(add_file(s, path, &file));
        } else if (file.is_folder) {
            WR_TRY(match(s, wr_arena_printf(s->arena, "%s/", path), below, depth + 1));
        }
    }
    return WR_OK;
}

static wr_err add_part(search *s, const char *part)
{
    wr_file_info file;
    uint32_t     before = s->names->count;
    int          result = s->env->stat(s->env->self, part, &file);
    if (result == 0) return file.is_folder ? add_folder(s, part) : add_file(s, part, &file);
    if (!has_pattern(part) || (result != -ENOENT && result != -ENOTDIR))
        return wr_fail_errno(s->info, -result, "cannot read %s", part);
    WR_TRY(match(s, part[0] == '/' ? "/" : "", part, 0));
    if (s->names->count == before) return wr_fail(s->info, WR_NOT_FOUND, "no file matches the pattern %s", part);
    return WR_OK;
}

static wr_err find_all(search *s, const char *path)
{
    wr_file_info file;
    if (path[0] == 0)
        return wr_fail(s->info, WR_URI, "no path; write file:PATH, file:///PATH, a list A,B or a pattern");
    if (strchr(path, ',') == NULL || s->env->stat(s->env->self, path, &file) == 0) return add_part(s, path);
    for (const char *at = path; *at != 0;) {
        size_t n = strcspn(at, ",");
        if (n > 0) WR_TRY(add_part(s, wr_arena_copy(s->arena, at, n)));
        at += n + (at[n] == ',');
    }
    if (s->names->count == 0) return wr_fail(s->info, WR_NOT_FOUND, "the list names no file: %s", path);
    return WR_OK;
}

wr_err wr_names_find(wr_names *names, wr_arena *arena, const wr_env *env, const char *path, wr_errinfo *info)
{
    search s = {.names = names, .arena = arena, .env = env, .info = info};
    *names = (wr_names){0};
    wr_err err = find_all(&s, path);
    wr_lookup_fini(&s.paths);
    return err;
}
