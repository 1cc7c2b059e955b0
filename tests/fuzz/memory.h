/* tests/fuzz/memory.h: files in memory behind the environment table; a read may be short. Folders are what their files'
 * paths say. */
#ifndef WR_TESTS_FUZZ_MEMORY_H
#define WR_TESTS_FUZZ_MEMORY_H
#include "base/env.h"
#include "base/prng.h"
#include "tests/fuzz/fuzz.h"
#include <errno.h>

typedef struct memory_file {
    const char *path, *bytes;
    size_t      n;
} memory_file;

/* One thread. env.self points back here. */
typedef struct memory {
    wr_env             env;
    const memory_file *file;
    int                files;
    size_t             read_max; /* bytes of one read; 0: no bound */
    int                open;     /* descriptors that are not closed */
    size_t             taken;    /* of the first file, which is standard input too */
} memory;

static int memory_find(const memory *m, const char *path)
{
    for (int i = 0; i < m->files; i++) {
        if (strcmp(m->file[i].path, path) == 0) return i;
    }
    return -ENOENT;
}

/* Whether `path` is a folder above file i: gives what stands behind it and its '/'. */
static const char *memory_below(const memory *m, int i, const char *path)
{
    size_t n = strlen(path);
    if (strcmp(path, ".") == 0 && m->file[i].path[0] != '/') return m->file[i].path;
    while (n > 0 && path[n - 1] == '/') n--;
    bool below = strncmp(m->file[i].path, path, n) == 0 && m->file[i].path[n] == '/' && (n > 0 || path[0] == '/');
    return below ? m->file[i].path + n + 1 : NULL;
}

static int memory_open(void *self, const char *path, int flags)
{
    int file = memory_find(self, path);
    must((flags & ~WR_OPEN_DIRECT) == WR_OPEN_READ);
    ((memory *)self)->open += file >= 0;
    return file;
}

static int memory_close(void *self, int file)
{
    must(file >= 0 && file < ((memory *)self)->files);
    ((memory *)self)->open--;
    return 0;
}

static int64_t memory_pread(void *self, int file, void *to, size_t bytes, int64_t offset)
{
    const memory *m = self;
    must(file >= 0 && file < m->files && offset >= 0);
    const memory_file *f = &m->file[file];
    if ((uint64_t)offset >= f->n) return 0;
    if (bytes > f->n - (size_t)offset) bytes = f->n - (size_t)offset;
    if (m->read_max > 0 && bytes > m->read_max) bytes = m->read_max;
    memcpy(to, f->bytes + offset, bytes);
    return (int64_t)bytes;
}

static int64_t memory_read(void *self, int file, void *to, size_t bytes)
{
    memory *m = self;
    must(file == 0); /* standard input, the only one that is read in turn */
    int64_t n = memory_pread(self, 0, to, bytes, (int64_t)m->taken);
    m->taken += (size_t)n;
    return n;
}

static int memory_hold(void *self, int file, bool alone)
{
    const memory *m = self;
    must(file >= 0 && file < m->files && !alone);
    return 0;
}

static int memory_stat(void *self, const char *path, wr_file_info *info)
{
    const memory *m = self;
    int           file = memory_find(m, path);
    *info = (wr_file_info){0};
    if (file >= 0) {
        info->is_file = true;
        info->device = 1;
        info->inode = (uint64_t)file + 1;
        info->bytes = (int64_t)m->file[file].n;
        return 0;
    }
    for (int i = 0; i < m->files; i++) info->is_folder |= path[0] != 0 && memory_below(m, i, path) != NULL;
    return info->is_folder ? 0 : -ENOENT;
}

static int memory_list(void *self, const char *folder, bool (*each)(void *arg, const char *name), void *arg)
{
    const memory *m = self;
    bool          there = false;
    for (int i = 0; i < m->files; i++) {
        const char *name = memory_below(m, i, folder);
        if (name == NULL) continue;
        char   part[256];
        size_t n = strcspn(name, "/");
        bool   twice = false; /* two files of one folder below */
        there = true;
        for (int k = 0; k < i; k++) {
            const char *other = memory_below(m, k, folder);
            twice |= other != NULL && strcspn(other, "/") == n && memcmp(other, name, n) == 0;
        }
        snprintf(part, sizeof part, "%.*s", (int)n, name);
        if (!twice && !each(arg, part)) break;
    }
    return there ? 0 : -ENOENT;
}

static int64_t memory_clock(void *self)
{
    (void)self;
    return 1000000000;
}

/* Whatever is not about files is not there: who calls it is seen. */
WEIR_UNUSED_ static void memory_init(memory *m, const memory_file *file, int files)
{
    *m = (memory){.env = {.self = m,
                          .mono_ns = memory_clock,
                          .wall_ns = memory_clock,
                          .open = memory_open,
                          .close = memory_close,
                          .read = memory_read,
                          .pread = memory_pread,
                          .hold = memory_hold,
                          .stat = memory_stat,
                          .list = memory_list},
                  .file = file,
                  .files = files};
}

#endif
