#include "base/env.h"
#include "base/check.h"
#include "base/env_io.h"
#include "base/env_net.h"
#include "base/quota.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- clock and random ---- */

static int64_t ns_of(struct timespec t)
{
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* CLOCK_MONOTONIC stands still while the machine is suspended, and who wakes up would believe in its lease. */
static int64_t real_mono_ns(void *self)
{
    struct timespec t;
    (void)self;
    if (clock_gettime(CLOCK_BOOTTIME, &t) != 0) clock_gettime(CLOCK_MONOTONIC, &t);
    return ns_of(t);
}

static int64_t real_wall_ns(void *self)
{
    struct timespec t;
    (void)self;
    clock_gettime(CLOCK_REALTIME, &t);
    return ns_of(t);
}

static uint64_t real_random(void *self)
{
    (void)self;
    uint64_t bits;
    ssize_t  count;
    do count = getrandom(&bits, sizeof bits, 0);
    while (count < 0 && errno == EINTR);
    check(count == sizeof bits);
    return bits;
}

/* ---- storage ---- */

#define RETRY(RESULT, CALL)                                                                                            \
    do RESULT = (CALL);                                                                                                \
    while (RESULT < 0 && errno == EINTR)

static int result_of(int result)
{
    return result < 0 ? -errno : result;
}

static int real_open(void *self, const char *path, int flags)
{
    (void)self;
    static const int ACCESS[] = {0, O_RDONLY, O_WRONLY, O_RDWR};
    check((flags & 3) != 0);
    int real = ACCESS[flags & 3] | O_CLOEXEC;
    if (flags & WR_OPEN_CREATE) real |= O_CREAT;
    if (flags & WR_OPEN_TRUNCATE) real |= O_TRUNC;
    if (flags & WR_OPEN_APPEND) real |= O_APPEND;
    if (flags & WR_OPEN_EXCLUSIVE) real |= O_EXCL;
    if (flags & WR_OPEN_FOLDER) real |= O_DIRECTORY;
    if (flags & WR_OPEN_DIRECT) real |= O_DIRECT;
    if (flags & WR_OPEN_NO_WAIT) real |= O_NONBLOCK;
    if (flags & WR_OPEN_PLAIN) real |= O_NOFOLLOW | O_NONBLOCK;
    int file;
    RETRY(file, open(path, real, 0666));
    if (file < 0 && errno == EINVAL && (flags & WR_OPEN_DIRECT)) {
        /* The file system cannot. An exclusive create may have made the file before it was refused. */
        real &= ~O_DIRECT & ~(flags & WR_OPEN_CREATE ? O_EXCL : 0);
        RETRY(file, open(path, real, 0666));
    }
    return result_of(file);
}

static int real_close(void *self, int file)
{
    (void)self;
    int result = close(file); /* never retried: the descriptor is gone even after EINTR */
    return result < 0 && errno != EINTR ? -errno : 0;
}

static int64_t real_read(void *self, int file, void *to, size_t bytes)
{
    (void)self;
    ssize_t count;
    RETRY(count, read(file, to, bytes));
    return count < 0 ? -errno : count;
}

static int64_t real_write(void *self, int file, const void *from, size_t bytes)
{
    (void)self;
    ssize_t count;
    RETRY(count, write(file, from, bytes));
    return count < 0 ? -errno : count;
}

static int64_t real_pread(void *self, int file, void *to, size_t bytes, int64_t offset)
{
    (void)self;
    ssize_t count;
    RETRY(count, pread(file, to, bytes, offset));
    return count < 0 ? -errno : count;
}

static int64_t real_pwrite(void *self, int file, const void *from, size_t bytes, int64_t offset)
{
    (void)self;
    ssize_t count;
    RETRY(count, pwrite(file, from, bytes, offset));
    return count < 0 ? -errno : count;
}

static int real_fsync(void *self, int file)
{
    (void)self;
    int result;
    RETRY(result, fsync(file));
    return result_of(result);
}

static int real_truncate(void *self, int file, int64_t bytes)
{
    (void)self;
    int result;
    RETRY(result, ftruncate(file, bytes));
    return result_of(result);
}

static int real_rename(void *self, const char *from, const char *to)
{
    (void)self;
    return result_of(rename(from, to));
}

static int real_rename_new(void *self, const char *from, const char *to)
{
    (void)self;
    return result_of(renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE));
}

static int real_unlink(void *self, const char *path)
{
    (void)self;
    return result_of(unlink(path));
}

static uint32_t folders_gid = UINT32_MAX; /* written before threads start; none */

void wr_env_share_folders(uint32_t gid)
{
    folders_gid = gid;
}

static int real_mkdir(void *self, const char *path)
{
    (void)self;
    int result = result_of(mkdir(path, 0777));
    if (result < 0 || folders_gid == UINT32_MAX) return result;
    if (chown(path, (uid_t)-1, folders_gid) == 0 && chmod(path, 02770) == 0) return 0;
    result = -errno;
    rmdir(path);
    return result;
}

static int real_rmdir(void *self, const char *path)
{
    (void)self;
    return result_of(rmdir(path));
}

static int real_stat(void *self, const char *path, wr_file_info *info)
{
    (void)self;
    struct stat real;
    if (stat(path, &real) < 0) return -errno;
    info->bytes = real.st_size;
    info->changed_ns = (int64_t)real.st_mtim.tv_sec * 1000000000 + real.st_mtim.tv_nsec;
    info->device = real.st_dev;
    info->inode = real.st_ino;
    info->is_file = S_ISREG(real.st_mode);
    info->is_folder = S_ISDIR(real.st_mode);
    return 0;
}

static int real_list(void *self, const char *folder, bool (*each)(void *arg, const char *name), void *arg)
{
    (void)self;
    DIR *dir = opendir(folder);
    if (dir == NULL) return -errno;
    int result = 0;
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            result = -errno;
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (!each(arg, entry->d_name)) break;
    }
    closedir(dir);
    return result;
}

static int real_lock(void *self, int file, uint64_t *holder)
{
    (void)self;
    int  result;
    char text[24] = {0};
    RETRY(result, flock(file, LOCK_EX | LOCK_NB));
    if (result < 0 && errno != EWOULDBLOCK) return -errno;
    if (result < 0) {
        ssize_t n = pread(file, text, sizeof text - 1, 0);
        *holder = n > 0 ? strtoull(text, NULL, 10) : 0;
        return -EAGAIN;
    }
    int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(file, 0) < 0 || pwrite(file, text, (size_t)n, 0) != n) return 0; /* locked, only not told by whom */
    return 0;
}

static int real_hold(void *self, int file, bool alone)
{
    (void)self;
    int result;
    RETRY(result, flock(file, (alone ? LOCK_EX : LOCK_SH) | LOCK_NB));
    if (result < 0 || !alone) return result_of(result);
    struct stat about; /* a hard link is a copy of the file to whoever made it */
    if (fstat(file, &about) < 0) return result_of(-1);
    return S_ISREG(about.st_mode) && about.st_nlink > 1 ? -EAGAIN : 0; /* a folder always has several */
}

static int real_own(void *self, int file)
{
    (void)self;
    int result;
    RETRY(result, flock(file, LOCK_EX | LOCK_NB));
    return result_of(result);
}

/* ---- threads ---- */

/* Owner: who started it. Frozen once the thread runs. */
struct wr_thread {
    pthread_t handle;
    void (*run)(void *arg);
    void *arg;
    int   cpu;
    char  name[16];
};

static cpu_set_t others_cpus; /* of pinned threads; written before threads start; none */

void wr_env_keep_off(const int *cpu, uint32_t n)
{
    CPU_ZERO(&others_cpus);
    for (uint32_t i = 0; i < n; i++) CPU_SET((size_t)cpu[i] % CPU_SETSIZE, &others_cpus);
}

static void (*watch_thread)(bool begins); /* written before threads start */

void wr_env_watch_threads(void (*watch)(bool begins))
{
    watch_thread = watch;
}

/* The process's, not those of a slot that happens to start it, and of them those that no slot has. */
static void use_free_cpus(void)
{
    cpu_set_t all, left;
    if (sched_getaffinity(getpid(), sizeof all, &all) != 0) return;
    CPU_AND(&left, &all, &others_cpus);
    CPU_XOR(&left, &all, &left);
    sched_setaffinity(0, sizeof all, CPU_COUNT(&left) != 0 ? &left : &all);
}

static void *thread_main(void *arg)
{
    wr_thread *thread = arg;
    pthread_setname_np(pthread_self(), thread->name);
    if (thread->cpu >= 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET((size_t)thread->cpu % CPU_SETSIZE, &set);
        sched_setaffinity(0, sizeof set, &set); /* advice: the CPU may be outside what we were given */
    } else {
        use_free_cpus();
    }
    if (watch_thread != NULL) watch_thread(true);
    thread->run(thread->arg);
    if (watch_thread != NULL) watch_thread(false);
    return NULL;
}

static int real_thread_start(void *self, wr_thread **result, void (*run)(void *arg), void *arg, const char *name,
                             int cpu)
{
    (void)self;
    wr_thread *thread = calloc(1, sizeof *thread);
    if (thread == NULL) return -ENOMEM;
    thread->run = run;
    thread->arg = arg;
    thread->cpu = cpu;
    snprintf(thread->name, sizeof thread->name, "%s", name);
    int error = pthread_create(&thread->handle, NULL, thread_main, thread);
    if (error != 0) {
        free(thread);
        return -error;
    }
    *result = thread;
    return 0;
}

static void real_thread_join(void *self, wr_thread *thread)
{
    (void)self;
    check(pthread_join(thread->handle, NULL) == 0);
    free(thread);
}

static const void *real_thread_self(void *self)
{
    static _Thread_local char here;
    (void)self;
    return &here;
}

static int real_cpu_count(void *self)
{
    (void)self;
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    int count = CPU_COUNT(&set), quota = (int)wr_cpu_quota("");
    if (quota != 0 && quota < count) count = quota;
    return count > 0 ? count : 1;
}

/* ---- parking ---- */

static int real_parker_init(void *self, wr_parker *parker)
{
    (void)self;
    atomic_init(&parker->state, WR_PARKER_AWAKE);
    parker->extra = NULL;
    parker->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return parker->fd < 0 ? -errno : 0;
}

static void real_parker_fini(void *self, wr_parker *parker)
{
    (void)self;
    close(parker->fd);
    parker->fd = -1;
}

static void real_park_fds(void *self, wr_parker *parker, int64_t timeout_ns, const int *fd, uint32_t fds)
{
    (void)self;
    struct pollfd wait[1 + WR_PARK_FDS_MAX] = {{.fd = parker->fd, .events = POLLIN}};
    check(fds <= WR_PARK_FDS_MAX);
    for (uint32_t i = 0; i < fds; i++) wait[1 + i] = (struct pollfd){.fd = fd[i], .events = POLLIN};
    struct timespec time = {.tv_sec = timeout_ns / 1000000000, .tv_nsec = timeout_ns % 1000000000};
    if (ppoll(wait, 1 + fds, timeout_ns < 0 ? NULL : &time, NULL) > 0 && wait[0].revents != 0) {
        uint64_t count;
        ssize_t  got = read(parker->fd, &count, sizeof count); /* may find it empty: an early return is allowed */
        (void)got;
    }
    atomic_store_explicit(&parker->state, WR_PARKER_AWAKE, memory_order_relaxed);
}

static void real_park(void *self, wr_parker *parker, int64_t timeout_ns)
{
    real_park_fds(self, parker, timeout_ns, NULL, 0);
}

static void real_wake(void *self, wr_parker *parker)
{
    (void)self;
    if (atomic_exchange_explicit(&parker->state, WR_PARKER_AWAKE, memory_order_acq_rel) != WR_PARKER_PARKED) return;
    uint64_t one = 1;
    ssize_t  put = write(parker->fd, &one, sizeof one); /* fails only when it is already awake for ever */
    (void)put;
}

static const wr_env REAL = {
    .mono_ns = real_mono_ns,
    .wall_ns = real_wall_ns,
    .random = real_random,
    .open = real_open,
    .close = real_close,
    .read = real_read,
    .write = real_write,
    .pread = real_pread,
    .pwrite = real_pwrite,
    .fsync = real_fsync,
    .truncate = real_truncate,
    .rename = real_rename,
    .rename_new = real_rename_new,
    .unlink = real_unlink,
    .mkdir = real_mkdir,
    .rmdir = real_rmdir,
    .stat = real_stat,
    .list = real_list,
    .lock = real_lock,
    .hold = real_hold,
    .own = real_own,
    .io_new = wr_io_real_new,
    .io_free = wr_io_real_free,
    .io_submit = wr_io_real_submit,
    .io_reap = wr_io_real_reap,
    .listen = wr_net_real_listen,
    .port_of = wr_net_real_port_of,
    .accept = wr_net_real_accept,
    .connect = wr_net_real_connect,
    .connected = wr_net_real_connected,
    .send = wr_net_real_send,
    .receive = wr_net_real_receive,
    .half_close = wr_net_real_half_close,
    .unheard_ms = wr_net_real_unheard_ms,
    .hang_up = wr_net_real_hang_up,
    .poll_new = wr_net_real_poll_new,
    .poll_free = wr_net_real_poll_free,
    .watch = wr_net_real_watch,
    .ready = wr_net_real_ready,
    .thread_start = real_thread_start,
    .thread_join = real_thread_join,
    .thread_self = real_thread_self,
    .cpu_count = real_cpu_count,
    .parker_init = real_parker_init,
    .parker_fini = real_parker_fini,
    .park = real_park,
    .park_fds = real_park_fds,
    .wake = real_wake,
};

const wr_env *wr_env_real(void)
{
    return &REAL;
}
