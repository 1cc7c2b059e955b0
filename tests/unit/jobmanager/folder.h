/* Snapshot folders for tests: a temporary one, an environment that fails or stops at its n-th step, manifests. */
#ifndef WR_TESTS_FOLDER_H
#define WR_TESTS_FOLDER_H
#include "base/env.h"
#include "jobmanager/store.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* The real environment, whose writing steps (open to write, write, sync, rename, unlink, mkdir) are counted; from step
 * fail_at on (1: the first; 0: never) `fails` of them fail with `error`. Owner: one test. */
typedef struct broken {
    wr_env   env;
    uint32_t steps, fail_at, fails;
    int      error;
    uint32_t syncs, no_sync_from; /* from this sync on (1: the first; 0: none) all syncs fail as well */
} broken;

static inline int broken_step(broken *b)
{
    b->steps++;
    return b->fail_at != 0 && b->steps >= b->fail_at && b->steps - b->fail_at < b->fails ? -b->error : 0;
}
#define BROKEN_STEP(SELF)                                                                                              \
    do {                                                                                                               \
        int step_ = broken_step(SELF);                                                                                 \
        if (step_ != 0) return step_;                                                                                  \
    } while (0)
static int broken_open(void *self, const char *path, int flags)
{
    if ((flags & 3) != WR_OPEN_READ) BROKEN_STEP(self);
    return wr_env_real()->open(NULL, path, flags);
}
static int64_t broken_pwrite(void *self, int file, const void *from, size_t bytes, int64_t offset)
{
    BROKEN_STEP(self);
    return wr_env_real()->pwrite(NULL, file, from, bytes, offset);
}
static int broken_fsync(void *self, int file)
{
    broken *b = self;
    BROKEN_STEP(b);
    if (b->no_sync_from != 0 && ++b->syncs >= b->no_sync_from) return -b->error;
    return wr_env_real()->fsync(NULL, file);
}
static int broken_rename(void *self, const char *from, const char *to)
{
    BROKEN_STEP(self);
    return wr_env_real()->rename(NULL, from, to);
}
static int broken_unlink(void *self, const char *path)
{
    BROKEN_STEP(self);
    return wr_env_real()->unlink(NULL, path);
}
static int broken_mkdir(void *self, const char *path)
{
    BROKEN_STEP(self);
    return wr_env_real()->mkdir(NULL, path);
}

static inline void broken_init(broken *b)
{
    memset(b, 0, sizeof *b);
    b->env = *wr_env_real();
    b->env.self = b;
    b->env.open = broken_open;
    b->env.pwrite = broken_pwrite;
    b->env.fsync = broken_fsync;
    b->env.rename = broken_rename;
    b->env.unlink = broken_unlink;
    b->env.mkdir = broken_mkdir;
    b->error = EIO;
    b->fails = 1;
}

/* ---- folders ---- */

static char folder_top[64], folder[80];

static inline bool folder_remove(void *arg, const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", (const char *)arg, name);
    unlink(path);
    return true;
}
static inline int folder_begin(void **state)
{
    (void)state;
    snprintf(folder_top, sizeof folder_top, "/tmp/weir-store-XXXXXX");
    if (mkdtemp(folder_top) == NULL) return -1;
    snprintf(folder, sizeof folder, "%s/snapshots", folder_top);
    return 0;
}
static inline int folder_end(void **state)
{
    (void)state;
    wr_env_real()->list(NULL, folder, folder_remove, folder);
    rmdir(folder);
    return rmdir(folder_top);
}
static inline const char *in_folder(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}
static inline void put_file(const char *name, const void *bytes, size_t n)
{
    FILE *file = fopen(in_folder(name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}
static inline char *get_file(const char *name, size_t *n)
{
    FILE *file = fopen(in_folder(name), "rb");
    assert_non_null(file);
    char *bytes = malloc(1 << 20);
    assert_non_null(bytes);
    *n = fread(bytes, 1, 1 << 20, file);
    fclose(file);
    return bytes;
}
static inline bool is_there(const char *name)
{
    return access(in_folder(name), F_OK) == 0;
}
static inline bool count_file(void *arg, const char *name)
{
    (void)name;
    ++*(uint32_t *)arg;
    return true;
}
static inline uint32_t files_in_folder(void)
{
    uint32_t n = 0;
    wr_env_real()->list(NULL, folder, count_file, &n);
    return n;
}

#endif
