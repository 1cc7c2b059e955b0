/* connectors/clash.c: sources and sinks of one job that would harm each other: two sinks in one file, and a sink that
 * clears what a source reads. Looks at what is there before anything runs, and changes nothing. */
#include "connectors/connectors.h"
#include "connectors/names.h"
#include "connectors/parts.h"
#include <stdlib.h>
#include <string.h>

/* Which file a path means, whatever it is called. */
typedef struct place {
    uint64_t    device, inode; /* of the file; when it is not there, of the folder around it; 0: nor that */
    const char *name;          /* "", or its name in that folder */
} place;

/* Caller's storage: one comparison. */
typedef struct compared {
    const wr_env         *env;
    const wr_node *const *node;
    wr_arena              arena;
    wr_job_clash         *clash;
    void                 *to;
} compared;

static bool is_file(const wr_node *n, bool sink)
{
    bool is_sink = n->kind == WR_NODE_SINK;
    return n->connector == &wr_connector_file && is_sink == sink && n->endpoint->path[0] != 0;
}

static const char *without_slashes(wr_arena *arena, const char *path)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    return wr_arena_copy(arena, path, n);
}

/* False: a pipe or a device, which many may write to. */
static bool find_place(compared *c, const char *path, place *to)
{
    wr_file_info file;
    const char  *bare = without_slashes(&c->arena, path), *slash = strrchr(bare, '/');
    *to = (place){.name = ""};
    if (c->env->stat(c->env->self, bare, &file) == 0) {
        to->device = file.device;
        to->inode = file.inode;
        return file.is_file || file.is_folder;
    }
    const char *folder = slash == NULL   ? "."
                         : slash == bare ? "/"
                                         : wr_arena_copy(&c->arena, bare, (size_t)(slash - bare));
    to->name = bare;
    if (c->env->stat(c->env->self, folder, &file) != 0) return true;
    *to = (place){.device = file.device, .inode = file.inode, .name = slash != NULL ? slash + 1 : bare};
    return true;
}

__attribute__((format(printf, 3, 4))) static void tell(compared *c, uint32_t at, const char *format, ...)
{
    char    text[WR_ERROR_BYTES_MAX];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    c->clash(c->to, at, WR_CONFIG, text);
}

static void compare_sinks(compared *c, uint32_t n)
{
    place    *taken = wr_arena_array(&c->arena, place, n);
    uint32_t *by = wr_arena_array(&c->arena, uint32_t, n), count = 0;
    for (uint32_t i = 0; i < n; i++) {
        place at;
        if (!is_file(c->node[i], true) || !find_place(c, c->node[i]->endpoint->path, &at)) continue;
        uint32_t k = 0;
        while (k < count &&
               (taken[k].device != at.device || taken[k].inode != at.inode || strcmp(taken[k].name, at.name) != 0))
            k++;
        if (k == count) {
            taken[count] = at;
            by[count++] = i;
            continue;
        }
        const wr_node *other = c->node[by[k]];
        tell(c, i,
             "it writes where sink '%s' (%s) does, and each would write over the other; give it a path of its own, or "
             "join the two streams by weir_union",
             other->name, other->uri);
    }
}

/* ---- what a sink clears, and a source reads ---------------------------------------------------------------------- */

typedef struct victim {
    uint64_t device, inode;
} victim;
typedef struct victims {
    compared   *c;
    const char *folder, *uid;
    victim     *at;
    uint32_t    n, room;
} victims;

static void add_victim(victims *v, const wr_file_info *file)
{
    if (v->n == v->room) {
        v->room = v->room ? 2 * v->room : 16;
        victim *more = wr_arena_array(&v->c->arena, victim, v->room);
        if (v->n > 0) memcpy(more, v->at, v->n * sizeof *more);
        v->at = more;
    }
    v->at[v->n++] = (victim){file->device, file->inode};
}

static bool take_result(void *arg, const char *name)
{
    victims      *v = arg;
    wr_env const *env = v->c->env;
    uint32_t      number;
    wr_file_info  file;
    if (!wr_file_is_part(name, &number) && !wr_parts_is_result(name, v->uid)) return true;
    const char *path = wr_arena_printf(&v->c->arena, "%s/%s", v->folder, name);
    if (env->stat(env->self, path, &file) == 0 && file.is_file) add_victim(v, &file);
    return true;
}

static int by_number(const void *a, const void *b)
{
    const victim *x = a, *y = b;
    if (x->device != y->device) return x->device < y->device ? -1 : 1;
    return x->inode < y->inode ? -1 : x->inode > y->inode;
}

/* A source that finds no files says so itself, when it runs. */
static void look_for(const victims *v, uint32_t sink, const wr_node *source)
{
    compared     *c = v->c;
    wr_names      names;
    wr_file_info  file;
    const wr_env *env = c->env;
    if (wr_names_find(&names, &c->arena, env, source->endpoint->path, NULL) != WR_OK) return;
    for (uint32_t i = 0; i < names.count; i++) {
        if (env->stat(env->self, names.name[i].path, &file) != 0) continue;
        victim key = {file.device, file.inode};
        if (bsearch(&key, v->at, v->n, sizeof key, by_number) == NULL) continue;
        tell(c, sink,
             "it would clear %s, which source '%s' (%s) reads; write to another path, or to a copy of the input",
             names.name[i].path, source->name, source->uri);
        return;
    }
}

static void compare_with_sources(compared *c, uint32_t sink, uint32_t n)
{
    const wr_node *s = c->node[sink];
    victims        v = {.c = c, .folder = without_slashes(&c->arena, s->endpoint->path), .uid = s->uid};
    wr_file_info   file;
    if (c->env->stat(c->env->self, v.folder, &file) != 0) return;
    if (file.is_file) add_victim(&v, &file);
    if (file.is_folder && c->env->list(c->env->self, v.folder, take_result, &v) != 0) return;
    if (v.n == 0) return;
    qsort(v.at, v.n, sizeof *v.at, by_number);
    for (uint32_t i = 0; i < n; i++) {
        if (is_file(c->node[i], false)) look_for(&v, sink, c->node[i]);
    }
}

void wr_connector_compare(void *self, const wr_node *const node[], uint32_t n, bool restores, wr_job_clash *clash,
                          void *to)
{
    compared c = {.env = self, .node = node, .clash = clash, .to = to};
    if (self == NULL) return;
    wr_arena_init(&c.arena);
    compare_sinks(&c, n);
    for (uint32_t i = 0; i < n && !restores; i++) { /* what goes on from a snapshot clears nothing */
        if (is_file(node[i], true) && weir_endpoint_u64(node[i]->endpoint, "overwrite") != 0)
            compare_with_sources(&c, i, n);
    }
    wr_arena_fini(&c.arena);
}
