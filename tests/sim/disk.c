#include "tests/sim/disk.h"
#include "base/check.h"
#include "base/limits.h"
#include "tests/sim/threads.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { SECTOR = 512, HANDLES = 4096, HANDLE_FIRST = 1000 };

typedef struct inode inode;
typedef struct entry {
    char  *name;
    inode *to;
} entry;
typedef struct entries {
    entry   *at;
    uint32_t n, room;
} entries;
/* One change of a folder: name now means `to` (NULL: nothing), and, of a rename, `gone` means nothing. */
typedef struct change {
    char  *name, *gone;
    inode *to;
} change;

struct inode {
    inode   *next; /* all that there ever were */
    uint64_t number;
    bool     folder, dirty, poisoned, marked;
    char    *data; /* as processes see it */
    size_t   bytes, room;
    char    *stable; /* as the disk has it; NULL: the first stable_bytes of data */
    size_t   stable_bytes;
    int64_t  changed_ns;
    int      locked_by;   /* handle + 1 */
    uint32_t readers;     /* handles that hold it with others */
    entries  now, before; /* before: the disk has these */
    change  *log;         /* from before to now */
    uint32_t logs, logs_room;
};

typedef struct handle {
    inode  *of;
    int64_t at;
    int     flags;
    bool    reads; /* one of the inode's readers */
} handle;

struct sim_disk {
    sim_clock     *clock;
    wr_prng        random;
    inode         *all, *root;
    inode         *hidden, *above; /* not mounted; the folder that it is in */
    char           mount[64];      /* its name there */
    handle         handle[HANDLES];
    bool           dead;
    uint64_t       die_in;
    sim_faults     faults;
    sim_disk_stats stats;
    wr_io         *queues; /* of the living process */
};

typedef struct pending {
    wr_io_op op;
    int64_t  due_ns;
    bool     used;
} pending;
struct wr_io {
    wr_io           *next;
    const wr_parker *parker; /* of who waits for it */
    uint32_t         depth;
    bool             dead;
    pending          slot[WR_RING_SLOTS_MAX];
};

static sim_disk *disk_of(void *self)
{
    return ((sim_clock *)self)->disk;
}

/* ---- names ---- */

static void *grown(void *at, uint32_t *room, uint32_t n, size_t size)
{
    if (n < *room) return at;
    *room = *room ? 2 * *room : 8;
    at = realloc(at, *room * size);
    check(at != NULL);
    return at;
}

static entry *find(const entries *e, const char *name, size_t n)
{
    for (uint32_t i = 0; i < e->n; i++) {
        if (strncmp(e->at[i].name, name, n) == 0 && e->at[i].name[n] == 0) return &e->at[i];
    }
    return NULL;
}

static void set_entry(entries *e, const char *name, inode *to)
{
    entry *have = find(e, name, strlen(name));
    if (have != NULL && to != NULL) {
        have->to = to;
    } else if (have != NULL) {
        free(have->name);
        *have = e->at[--e->n];
    } else if (to != NULL) {
        e->at = grown(e->at, &e->room, e->n, sizeof *e->at);
        e->at[e->n++] = (entry){strdup(name), to};
    }
}

static void clear_entries(entries *e)
{
    for (uint32_t i = 0; i < e->n; i++) free(e->at[i].name);
    e->n = 0;
}

static void copy_entries(entries *to, const entries *from)
{
    clear_entries(to);
    for (; to->n < from->n; to->n++) {
        to->at = grown(to->at, &to->room, to->n, sizeof *to->at);
        to->at[to->n] = (entry){strdup(from->at[to->n].name), from->at[to->n].to};
    }
}

static void apply(entries *e, const change *c)
{
    if (c->gone != NULL) set_entry(e, c->gone, NULL);
    set_entry(e, c->name, c->to);
}

static void clear_log(inode *folder)
{
    for (uint32_t i = 0; i < folder->logs; i++) {
        free(folder->log[i].name);
        free(folder->log[i].gone);
    }
    folder->logs = 0;
}

static void change_folder(sim_disk *d, inode *folder, const char *name, inode *to, const char *gone)
{
    change c = {strdup(name), gone != NULL ? strdup(gone) : NULL, to};
    folder->log = grown(folder->log, &folder->logs_room, folder->logs, sizeof *folder->log);
    folder->log[folder->logs++] = c;
    apply(&folder->now, &c);
    folder->changed_ns = d->clock->now_ns;
}

static inode *new_inode(sim_disk *d, bool folder)
{
    inode *i = calloc(1, sizeof *i);
    check(i != NULL);
    i->folder = folder;
    i->next = d->all;
    i->number = d->all != NULL ? d->all->number + 1 : 1;
    i->changed_ns = d->clock->now_ns;
    d->all = i;
    return i;
}

/* The inode of a path, or NULL; *folder and *name: where it is or would be; *folder is NULL when there is no such. */
static inode *walk(const sim_disk *d, const char *path, inode **folder, const char **name)
{
    inode *at = d->root;
    *folder = NULL;
    *name = "";
    while (at != NULL) {
        while (*path == '/') path++;
        size_t n = strcspn(path, "/");
        if (n == 0) return at;
        if (n == 1 && *path == '.') {
            path++;
            continue;
        }
        if (!at->folder) {
            *folder = NULL;
            return NULL;
        }
        entry *e = find(&at->now, path, n);
        bool   last = path[n + strspn(path + n, "/")] == 0;
        *folder = last ? at : NULL;
        *name = path;
        if (e == NULL) return NULL;
        at = e->to;
        path += n;
    }
    return NULL;
}

/* ---- what happens to a call ---- */

static bool one_in(sim_disk *d, uint32_t times)
{
    if (times == 0 || !wr_prng_one_in(&d->random, times)) return false;
    d->stats.errors++;
    return true;
}

static bool full(sim_disk *d)
{
    if (d->faults.full) d->stats.errors++;
    return d->faults.full;
}

/* 0, or the error of a dead process. */
static int enter(sim_disk *d)
{
    if (d->die_in > 0 && --d->die_in == 0) sim_disk_kill(d);
    if (d->dead) return -EIO;
    if (d->faults.slow_ns > 0 && !d->clock->apart)
        d->clock->now_ns += (int64_t)wr_prng_below(&d->random, (uint64_t)d->faults.slow_ns);
    return 0;
}

static handle *handle_of(sim_disk *d, int file)
{
    if (file < HANDLE_FIRST || file >= HANDLE_FIRST + HANDLES) return NULL;
    handle *h = &d->handle[file - HANDLE_FIRST];
    return h->of != NULL ? h : NULL;
}

/* ---- bytes ---- */

/* Before bytes from `at` on change. */
static void keep_stable(inode *i, size_t at)
{
    i->dirty = true;
    if (i->stable != NULL || at >= i->stable_bytes) return;
    i->stable = malloc(i->stable_bytes + 1);
    check(i->stable != NULL);
    memcpy(i->stable, i->data, i->stable_bytes);
}

static void resize(inode *i, size_t bytes)
{
    if (bytes > i->room) {
        i->room = bytes + bytes / 2 + 64;
        i->data = realloc(i->data, i->room);
        check(i->data != NULL);
    }
    if (bytes > i->bytes) memset(i->data + i->bytes, 0, bytes - i->bytes);
    i->bytes = bytes;
}

static void write_bytes(sim_disk *d, inode *i, const char *from, size_t n, size_t at)
{
    keep_stable(i, at < i->bytes ? at : i->bytes);
    if (at + n > i->bytes) resize(i, at + n);
    if (n > 0) memcpy(i->data + at, from, n);
    i->changed_ns = d->clock->now_ns;
    d->stats.writes++;
}

static void make_stable(inode *i)
{
    if (i->poisoned) return;
    free(i->stable);
    i->stable = NULL;
    i->stable_bytes = i->bytes;
    i->dirty = false;
}

/* What a power failure leaves of a file. */
static void tear(sim_disk *d, inode *i)
{
    if (!i->dirty) return;
    size_t   most = i->bytes > i->stable_bytes ? i->bytes : i->stable_bytes;
    char    *left = calloc(1, most + 1);
    uint64_t how = wr_prng_below(&d->random, 3);
    size_t   bytes = i->stable_bytes;
    check(left != NULL);
    const char *stable = i->stable != NULL ? i->stable : i->data;
    if (i->stable_bytes > 0) memcpy(left, stable, i->stable_bytes);
    if (how == 0) {
        d->stats.files_lost++;
    } else if (how == 1 && !i->poisoned) { /* it happened to be written */
        if (i->bytes > 0) memcpy(left, i->data, i->bytes);
        bytes = i->bytes;
    } else if (!i->poisoned) {
        d->stats.files_torn++;
        if (wr_prng_one_in(&d->random, 2)) bytes = i->bytes;
        for (size_t at = 0; at < bytes && at < i->bytes; at += SECTOR) {
            size_t n = i->bytes - at < SECTOR ? i->bytes - at : SECTOR;
            if (at + n > bytes) n = bytes - at;
            if (wr_prng_one_in(&d->random, 2)) memcpy(left + at, i->data + at, n);
        }
    }
    free(i->data);
    i->data = left;
    i->room = most + 1;
    i->bytes = bytes;
    i->poisoned = false;
    make_stable(i);
}

static int64_t write_at(sim_disk *d, int file, const void *from, size_t bytes, int64_t at)
{
    handle *h = handle_of(d, file);
    if (h == NULL || (h->flags & WR_OPEN_WRITE) == 0) return -EBADF;
    if (one_in(d, d->faults.write_error)) return -EIO;
    size_t n = bytes;
    if (d->faults.full && (size_t)at + bytes > h->of->bytes) {
        n = wr_prng_one_in(&d->random, 2) ? 0 : (size_t)wr_prng_below(&d->random, bytes + 1);
        d->stats.errors++;
        if (n == 0) return -ENOSPC;
    }
    write_bytes(d, h->of, from, n, (size_t)at);
    return (int64_t)n;
}

static int64_t read_at(sim_disk *d, int file, void *to, size_t bytes, int64_t at)
{
    handle *h = handle_of(d, file);
    if (h == NULL || (h->flags & WR_OPEN_READ) == 0) return -EBADF;
    if (h->of->folder) return -EISDIR;
    if (one_in(d, d->faults.read_error)) return -EIO;
    size_t left = (size_t)at < h->of->bytes ? h->of->bytes - (size_t)at : 0;
    if (bytes > left) bytes = left;
    if (bytes > 1 && wr_prng_one_in(&d->random, 16)) bytes = 1 + (size_t)wr_prng_below(&d->random, bytes - 1);
    if (bytes > 0) memcpy(to, h->of->data + at, bytes);
    return (int64_t)bytes;
}

static int sync_now(sim_disk *d, int file)
{
    handle *h = handle_of(d, file);
    if (h == NULL) return -EBADF;
    inode *i = h->of;
    if (one_in(d, d->faults.sync_error)) {
        if (i->dirty) i->poisoned = true; /* thrown away, and marked as written */
        return -EIO;
    }
    d->stats.syncs++;
    if (!i->folder) {
        make_stable(i);
        return 0;
    }
    copy_entries(&i->before, &i->now);
    clear_log(i);
    return 0;
}

/* ---- the table ---- */

static int disk_open(void *self, const char *path, int flags)
{
    sim_disk   *d = disk_of(self);
    inode      *folder, *i;
    const char *name;
    int         error = enter(d), free_one = -1;
    if (error < 0) return error;
    for (int k = 0; k < HANDLES && free_one < 0; k++) free_one = d->handle[k].of == NULL ? k : -1;
    if (free_one < 0) return -EMFILE;
    i = walk(d, path, &folder, &name);
    if (i == NULL && (folder == NULL || (flags & WR_OPEN_CREATE) == 0)) return -ENOENT;
    if (i != NULL && one_in(d, d->faults.look_error)) return wr_prng_one_in(&d->random, 2) ? -EIO : -EACCES;
    if (i != NULL && (flags & WR_OPEN_CREATE) && (flags & WR_OPEN_EXCLUSIVE)) return -EEXIST;
    if (i != NULL && i->folder != ((flags & WR_OPEN_FOLDER) != 0)) return i->folder ? -EISDIR : -ENOTDIR;
    if (i == NULL) {
        if (full(d)) return -ENOSPC;
        if (one_in(d, d->faults.write_error)) return -EIO;
        i = new_inode(d, false);
        char *only = strndup(name, strcspn(name, "/"));
        change_folder(d, folder, only, i, NULL);
        free(only);
    } else if (flags & WR_OPEN_TRUNCATE) {
        keep_stable(i, 0);
        i->bytes = 0;
    }
    d->handle[free_one] = (handle){.of = i, .flags = flags};
    return HANDLE_FIRST + free_one;
}

static int disk_close(void *self, int file)
{
    sim_disk *d = disk_of(self);
    handle   *h = handle_of(d, file);
    if (d->dead || h == NULL) return d->dead ? 0 : -EBADF;
    if (h->of->locked_by == file) h->of->locked_by = 0;
    h->of->readers -= h->reads;
    h->of = NULL;
    return 0;
}

static int64_t disk_pread(void *self, int file, void *to, size_t bytes, int64_t offset)
{
    sim_disk *d = disk_of(self);
    int       error = enter(d);
    return error < 0 ? error : read_at(d, file, to, bytes, offset);
}
static int64_t disk_read(void *self, int file, void *to, size_t bytes)
{
    handle *h = handle_of(disk_of(self), file);
    int64_t n = disk_pread(self, file, to, bytes, h != NULL ? h->at : 0);
    if (n > 0) h->at += n;
    return n;
}
static int64_t disk_pwrite(void *self, int file, const void *from, size_t bytes, int64_t offset)
{
    sim_disk *d = disk_of(self);
    int       error = enter(d);
    if (error == 0 && bytes > 1 && wr_prng_one_in(&d->random, 16))
        bytes = 1 + (size_t)wr_prng_below(&d->random, bytes - 1); /* short */
    return error < 0 ? error : write_at(d, file, from, bytes, offset);
}
static int64_t disk_write(void *self, int file, const void *from, size_t bytes)
{
    handle *h = handle_of(disk_of(self), file);
    if (h == NULL) return -EBADF;
    if (h->flags & WR_OPEN_APPEND) h->at = (int64_t)h->of->bytes;
    int64_t n = disk_pwrite(self, file, from, bytes, h->at);
    if (n > 0) h->at += n;
    return n;
}

static int disk_fsync(void *self, int file)
{
    sim_disk *d = disk_of(self);
    int       error = enter(d);
    return error < 0 ? error : sync_now(d, file);
}

static int disk_truncate(void *self, int file, int64_t bytes)
{
    sim_disk *d = disk_of(self);
    handle   *h = handle_of(d, file);
    int       error = enter(d);
    if (error < 0 || h == NULL) return error < 0 ? error : -EBADF;
    keep_stable(h->of, (size_t)bytes < h->of->bytes ? (size_t)bytes : h->of->bytes);
    resize(h->of, (size_t)bytes);
    return 0;
}

static int disk_rename(void *self, const char *from, const char *to)
{
    sim_disk   *d = disk_of(self);
    inode      *from_folder, *to_folder;
    const char *from_name, *to_name;
    int         error = enter(d);
    if (error < 0) return error;
    inode *i = walk(d, from, &from_folder, &from_name);
    inode *over = walk(d, to, &to_folder, &to_name);
    if (i == NULL || to_folder == NULL) return -ENOENT;
    if (over != NULL && over->folder) return -EISDIR;
    if (from_folder != to_folder) return -EXDEV; /* nobody does: it would not be one change of one folder */
    if (one_in(d, d->faults.write_error)) return -EIO;
    char *a = strndup(from_name, strcspn(from_name, "/")), *b = strndup(to_name, strcspn(to_name, "/"));
    if (strcmp(a, b) != 0) change_folder(d, to_folder, b, i, a);
    free(a);
    free(b);
    d->stats.renames++;
    return 0;
}

static int disk_rename_new(void *self, const char *from, const char *to)
{
    inode      *folder;
    const char *name;
    if (walk(disk_of(self), to, &folder, &name) != NULL) return -EEXIST;
    int result = disk_rename(self, from, to);
    disk_of(self)->stats.reuses += result == 0;
    return result;
}

static int disk_unlink(void *self, const char *path)
{
    sim_disk   *d = disk_of(self);
    inode      *folder;
    const char *name;
    int         error = enter(d);
    if (error < 0) return error;
    inode *i = walk(d, path, &folder, &name);
    if (i == NULL) return -ENOENT;
    if (i->folder) return -EISDIR;
    if (one_in(d, d->faults.write_error)) return -EIO;
    char *only = strndup(name, strcspn(name, "/"));
    change_folder(d, folder, only, NULL, NULL);
    free(only);
    return 0;
}

static int disk_mkdir(void *self, const char *path)
{
    sim_disk   *d = disk_of(self);
    inode      *folder;
    const char *name;
    int         error = enter(d);
    if (error < 0) return error;
    if (walk(d, path, &folder, &name) != NULL) return -EEXIST;
    if (folder == NULL) return -ENOENT;
    if (full(d)) return -ENOSPC;
    char *only = strndup(name, strcspn(name, "/"));
    change_folder(d, folder, only, new_inode(d, true), NULL);
    free(only);
    return 0;
}

static int disk_rmdir(void *self, const char *path)
{
    sim_disk   *d = disk_of(self);
    inode      *folder;
    const char *name;
    int         error = enter(d);
    if (error < 0) return error;
    inode *i = walk(d, path, &folder, &name);
    if (i == NULL || folder == NULL) return -ENOENT;
    if (!i->folder || i->now.n > 0) return i->folder ? -ENOTEMPTY : -ENOTDIR;
    char *only = strndup(name, strcspn(name, "/"));
    change_folder(d, folder, only, NULL, NULL);
    free(only);
    return 0;
}

static int disk_stat(void *self, const char *path, wr_file_info *info)
{
    sim_disk   *d = disk_of(self);
    inode      *folder;
    const char *name;
    int         error = enter(d);
    if (error < 0) return error;
    inode *i = walk(d, path, &folder, &name);
    if (i != NULL && one_in(d, d->faults.look_error)) return wr_prng_one_in(&d->random, 2) ? -EIO : -EACCES;
    if (i == NULL) return -ENOENT;
    *info = (wr_file_info){.bytes = (int64_t)i->bytes,
                           .changed_ns = i->changed_ns,
                           .device = 1,
                           .inode = i->number,
                           .is_file = !i->folder,
                           .is_folder = i->folder};
    return 0;
}

static int disk_list(void *self, const char *path, bool (*each)(void *arg, const char *name), void *arg)
{
    sim_disk   *d = disk_of(self);
    inode      *folder;
    const char *name;
    int         error = enter(d);
    if (error < 0) return error;
    inode *i = walk(d, path, &folder, &name);
    if (i == NULL || !i->folder) return i == NULL ? -ENOENT : -ENOTDIR;
    if (one_in(d, d->faults.read_error) || one_in(d, d->faults.look_error)) return -EIO;
    entries copy = {0};
    copy_entries(&copy, &i->now);
    for (uint32_t k = copy.n; k > 1; k--) { /* in no order */
        uint32_t other = (uint32_t)wr_prng_below(&d->random, k);
        entry    e = copy.at[k - 1];
        copy.at[k - 1] = copy.at[other];
        copy.at[other] = e;
    }
    for (uint32_t k = 0; k < copy.n && each(arg, copy.at[k].name); k++) {}
    clear_entries(&copy);
    free(copy.at);
    return 0;
}

static int disk_lock(void *self, int file, uint64_t *holder)
{
    sim_disk *d = disk_of(self);
    handle   *h = handle_of(d, file);
    int       error = enter(d);
    if (error < 0 || h == NULL) return error < 0 ? error : -EBADF;
    if (h->of->locked_by != 0 && h->of->locked_by != file) {
        *holder = 1;
        return -EAGAIN;
    }
    h->of->locked_by = file;
    resize(h->of, 0);
    write_bytes(d, h->of, "1\n", 2, 0);
    return 0;
}

static int disk_hold(void *self, int file, bool alone)
{
    sim_disk *d = disk_of(self);
    handle   *h = handle_of(d, file);
    int       error = enter(d);
    if (error < 0 || h == NULL) return error < 0 ? error : -EBADF;
    inode *i = h->of;
    if ((i->locked_by != 0 && i->locked_by != file) || (alone && i->readers > h->reads)) return -EAGAIN;
    i->readers += (uint32_t)!alone - h->reads;
    h->reads = !alone;
    i->locked_by = alone ? file : 0;
    return 0;
}

static int disk_own(void *self, int file)
{
    return disk_hold(self, file, true); /* there are no hard links here */
}

/* ---- in the background: done some time later, and not in order ---- */

static int disk_io_new(void *self, wr_io **io, wr_parker *parker, uint32_t depth)
{
    sim_disk *d = disk_of(self);
    *io = calloc(1, sizeof **io);
    check(*io != NULL && depth >= 1 && depth <= WR_RING_SLOTS_MAX);
    (*io)->parker = parker;
    (*io)->depth = depth;
    (*io)->next = d->queues;
    d->queues = *io;
    return 0;
}

static int64_t perform(sim_disk *d, const wr_io_op *op)
{
    if (d->dead) return -EIO;
    if (op->kind == WR_IO_SYNC) return sync_now(d, op->file);
    if (op->kind == WR_IO_WRITE) {
        int64_t n = write_at(d, op->file, op->at, op->bytes, op->offset);
        return n >= 0 && n < (int64_t)op->bytes ? -ENOSPC : n;
    }
    size_t done = 0;
    while (done < op->bytes) {
        int64_t n = read_at(d, op->file, (char *)op->at + done, op->bytes - done, op->offset + (int64_t)done);
        if (n < 0) return n;
        if (n == 0) break;
        done += (size_t)n;
    }
    return (int64_t)done;
}

static void disk_io_free(void *self, wr_io *io)
{
    sim_disk *d = disk_of(self);
    for (uint32_t i = 0; i < io->depth; i++) {
        if (io->slot[i].used && !io->dead) perform(d, &io->slot[i].op);
    }
    for (wr_io **at = &d->queues; *at != NULL; at = &(*at)->next) {
        if (*at != io) continue;
        *at = io->next;
        break;
    }
    free(io);
}

static int disk_io_submit(void *self, wr_io *io, const wr_io_op *op)
{
    sim_disk *d = disk_of(self);
    sim_thread_breathe();
    for (uint32_t i = 0; i < io->depth; i++) {
        if (io->slot[i].used) continue;
        int64_t slow = 20000 + d->faults.slow_ns;
        io->slot[i] = (pending){.op = *op, .used = true};
        io->slot[i].due_ns = d->clock->now_ns + (int64_t)wr_prng_below(&d->random, (uint64_t)slow);
        return 0;
    }
    return -EAGAIN;
}

static uint32_t disk_io_reap(void *self, wr_io *io, wr_io_done *done, uint32_t n)
{
    sim_disk *d = disk_of(self);
    sim_thread_breathe();
    uint32_t count = 0, first = (uint32_t)wr_prng_below(&d->random, io->depth);
    for (uint32_t i = 0; i < io->depth && count < n; i++) {
        pending *p = &io->slot[(first + i) % io->depth];
        if (!p->used || (!d->dead && !io->dead && p->due_ns > d->clock->now_ns)) continue;
        p->used = false;
        done[count++] = (wr_io_done){.tag = p->op.tag, .result = io->dead ? -EIO : perform(d, &p->op)};
    }
    return count;
}

int64_t sim_disk_io_due_ns(const wr_io *io)
{
    int64_t due = INT64_MAX;
    for (uint32_t i = 0; i < io->depth; i++) {
        if (io->slot[i].used && io->slot[i].due_ns < due) due = io->slot[i].due_ns;
    }
    return due;
}

int64_t sim_disk_wakes_ns(const sim_disk *d, const wr_parker *parker)
{
    int64_t due = INT64_MAX;
    for (const wr_io *io = d->queues; io != NULL; io = io->next) {
        int64_t at = io->parker == parker ? sim_disk_io_due_ns(io) : INT64_MAX;
        if (at < due) due = at;
    }
    return due;
}

void sim_disk_env(wr_env *env)
{
    env->open = disk_open;
    env->close = disk_close;
    env->read = disk_read;
    env->write = disk_write;
    env->pread = disk_pread;
    env->pwrite = disk_pwrite;
    env->fsync = disk_fsync;
    env->truncate = disk_truncate;
    env->rename = disk_rename;
    env->rename_new = disk_rename_new;
    env->unlink = disk_unlink;
    env->mkdir = disk_mkdir;
    env->rmdir = disk_rmdir;
    env->stat = disk_stat;
    env->list = disk_list;
    env->lock = disk_lock;
    env->hold = disk_hold;
    env->own = disk_own;
    env->io_new = disk_io_new;
    env->io_free = disk_io_free;
    env->io_submit = disk_io_submit;
    env->io_reap = disk_io_reap;
}

/* ---- life and death ---- */

sim_disk *sim_disk_new(uint64_t seed, sim_clock *clock)
{
    sim_disk *d = calloc(1, sizeof *d);
    check(d != NULL);
    d->clock = clock;
    d->random = wr_prng_of(seed);
    d->root = new_inode(d, true);
    return d;
}

static void free_inode(inode *i)
{
    clear_entries(&i->now);
    clear_entries(&i->before);
    clear_log(i);
    free(i->now.at);
    free(i->before.at);
    free(i->log);
    free(i->data);
    free(i->stable);
    free(i);
}

void sim_disk_free(sim_disk *d)
{
    check(d->queues == NULL);
    for (inode *i = d->all, *next; i != NULL; i = next) {
        next = i->next;
        free_inode(i);
    }
    free(d);
}

/* What the system had been given may or may not come to the disk; nobody can tell. */
void sim_disk_kill_io(sim_disk *d, wr_io *io)
{
    for (uint32_t i = 0; i < io->depth && !io->dead; i++) {
        pending *p = &io->slot[i];
        if (!p->used || p->op.kind != WR_IO_WRITE || wr_prng_one_in(&d->random, 3)) continue;
        size_t n = p->op.bytes;
        if (wr_prng_one_in(&d->random, 2)) n = (size_t)wr_prng_below(&d->random, n + 1) / SECTOR * SECTOR;
        handle *h = handle_of(d, p->op.file);
        if (h != NULL && n > 0) write_bytes(d, h->of, p->op.at, n, (size_t)p->op.offset);
    }
    io->dead = true;
}

void sim_disk_kill(sim_disk *d)
{
    for (wr_io *io = d->queues; io != NULL; io = io->next) sim_disk_kill_io(d, io);
    d->dead = true;
}

static void mark(inode *folder)
{
    folder->marked = true;
    for (uint32_t i = 0; i < folder->now.n; i++) {
        inode *to = folder->now.at[i].to;
        if (to->folder)
            mark(to);
        else
            to->marked = true;
    }
}

static void sweep(sim_disk *d)
{
    for (inode *i = d->all; i != NULL; i = i->next) i->marked = false;
    mark(d->root);
    if (d->hidden != NULL) mark(d->hidden);
    for (inode **at = &d->all; *at != NULL;) {
        inode *i = *at;
        if (i->marked) {
            at = &i->next;
            continue;
        }
        *at = i->next;
        free_inode(i);
    }
}

void sim_disk_restart(sim_disk *d, bool power)
{
    check(d->queues == NULL); /* freed by the dead process */
    memset(d->handle, 0, sizeof d->handle);
    for (inode *i = d->all; i != NULL; i = i->next) {
        i->locked_by = 0;
        i->readers = 0;
        if (!power) continue;
        if (!i->folder) {
            tear(d, i);
            continue;
        }
        /* A file system that writes its journal now and then loses all of it at once. */
        uint32_t kept = wr_prng_one_in(&d->random, 4) ? 0 : (uint32_t)wr_prng_below(&d->random, i->logs + 1);
        copy_entries(&i->now, &i->before);
        for (uint32_t k = 0; k < kept; k++) apply(&i->now, &i->log[k]);
        d->stats.names_lost += i->logs - kept;
        copy_entries(&i->before, &i->now);
        clear_log(i);
    }
    if (power) sweep(d);
    d->dead = false;
    d->die_in = 0;
    d->faults = (sim_faults){0};
}

void sim_disk_unmount(sim_disk *d, const char *path, bool missing)
{
    const char *name;
    inode      *empty = missing ? NULL : new_inode(d, true);
    check(d->hidden == NULL);
    d->hidden = walk(d, path, &d->above, &name);
    check(d->hidden != NULL && d->above != NULL && strlen(name) < sizeof d->mount);
    memcpy(d->mount, name, strlen(name) + 1);
    set_entry(&d->above->now, d->mount, empty);
    set_entry(&d->above->before, d->mount, empty);
    d->stats.errors++;
}

void sim_disk_mount(sim_disk *d)
{
    check(d->hidden != NULL);
    set_entry(&d->above->now, d->mount, d->hidden);
    copy_entries(&d->above->before, &d->above->now); /* and nothing that happened in its place is done again */
    clear_log(d->above);
    d->hidden = NULL;
}

bool sim_disk_unmounted(const sim_disk *d)
{
    return d->hidden != NULL;
}

void sim_disk_die_in(sim_disk *d, uint64_t calls)
{
    d->die_in = calls;
}
bool sim_disk_dead(const sim_disk *d)
{
    return d->dead;
}
sim_faults *sim_disk_faults(sim_disk *d)
{
    return &d->faults;
}
sim_disk_stats *sim_disk_stats_of(sim_disk *d)
{
    return &d->stats;
}

void sim_disk_names(sim_disk *d, const char *path, void (*each)(void *arg, const char *name), void *arg)
{
    inode      *folder;
    const char *name;
    inode      *i = walk(d, path, &folder, &name);
    for (uint32_t k = 0; i != NULL && k < i->now.n; k++) each(arg, i->now.at[k].name);
}

bool sim_disk_is_folder(sim_disk *d, const char *path)
{
    inode      *folder;
    const char *name;
    inode      *i = walk(d, path, &folder, &name);
    return i != NULL && i->folder;
}

bool sim_disk_content(sim_disk *d, const char *path, const char **bytes, size_t *n)
{
    inode      *folder;
    const char *name;
    inode      *i = walk(d, path, &folder, &name);
    if (i == NULL || i->folder) return false;
    *bytes = i->data != NULL ? i->data : "";
    *n = i->bytes;
    return true;
}

/* Between the fields of a state there may lie what was on a stack, so files of states count by their size. */
static uint64_t hash_of(const inode *i, bool content)
{
    uint64_t hash = i->folder ? 11 : 22;
    for (size_t k = 0; k < i->bytes && content; k++)
        hash = (hash ^ (unsigned char)i->data[k]) * UINT64_C(0x100000001b3);
    for (uint32_t k = 0; k < i->now.n; k++) { /* names stand in any order */
        uint64_t one = hash_of(i->now.at[k].to, strstr(i->now.at[k].name, ".csv") != NULL);
        for (const char *c = i->now.at[k].name; *c != 0; c++) one = sim_mix(one, (unsigned char)*c);
        hash += one;
    }
    return sim_mix(hash, i->bytes);
}

uint64_t sim_disk_hash(const sim_disk *d)
{
    return hash_of(d->root, true);
}
