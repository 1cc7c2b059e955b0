/* base/env.h: the one table of everything outside the program: clock, random, storage, network and threads.
 *
 * Whoever needs one of these is given a `const wr_env *` and calls through it; nothing else in the engine calls the
 * operating system for them. The real table is wr_env_real(); the simulator has its own, with a virtual clock, a
 * seeded random, a file system in memory that can lie, and threads that are steps of one scheduler. A table is
 * frozen after build and may be shared by all threads; each function says which threads may call it. */
#ifndef WR_BASE_ENV_H
#define WR_BASE_ENV_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct wr_env    wr_env;
typedef struct wr_thread wr_thread; /* opaque; made by thread_start, freed by thread_join */

/* Owner: the thread that parks on it. Shared: state (atomic), fd (frozen). */
typedef struct wr_parker {
    _Atomic uint32_t state; /* WR_PARKER_AWAKE or WR_PARKER_PARKED */
    int              fd;    /* real: an eventfd, which may stand in an epoll set; simulated: an index */
    void            *extra; /* the environment's own */
} wr_parker;

enum { WR_PARKER_AWAKE = 0, WR_PARKER_PARKED = 1 };
#define WR_PARK_FDS_MAX 16

typedef struct wr_file_info {
    int64_t bytes;
    int64_t changed_ns; /* wall clock */
    /* Which file it is, whatever it is called; both 0: not known. */
    uint64_t device, inode;
    bool     is_file, is_folder;
} wr_file_info;

enum { /* flags of open; exactly one of the first three */
       WR_OPEN_READ = 1,
       WR_OPEN_WRITE = 2,
       WR_OPEN_READ_WRITE = 3,
       WR_OPEN_CREATE = 4,
       WR_OPEN_TRUNCATE = 8,
       WR_OPEN_APPEND = 16,
       WR_OPEN_EXCLUSIVE = 32, /* with CREATE: fails when it is there */
       WR_OPEN_FOLDER = 64,    /* to fsync a folder */
       WR_OPEN_DIRECT = 128,   /* around the page cache where the file system can; buffers, offsets and lengths are
                                  multiples of WR_PAGE_BYTES then */
       WR_OPEN_PLAIN = 256,    /* no symbolic link, and it never waits: in folders where others write */
       WR_OPEN_NO_WAIT = 512   /* it never waits: -ENXIO for writing to a pipe that nobody reads */
};

/* Storage in the background: a queue of writes and syncs that one thread submits and reaps. */
typedef struct wr_io wr_io;
enum wr_io_kind { WR_IO_WRITE = 1, WR_IO_READ, WR_IO_SYNC }; /* SYNC: of all writes reaped before it was submitted */
typedef struct wr_io_op {
    uint32_t kind; /* enum wr_io_kind */
    int      file;
    void    *at; /* stays valid until reaped */
    size_t   bytes;
    int64_t  offset;
    uint64_t tag;
} wr_io_op;
typedef struct wr_io_done {
    uint64_t tag;
    int64_t  result; /* bytes, never short but at the end of a file; 0 of a sync; -errno */
} wr_io_done;

/* Bytes that go out, or come in, one after the other. */
typedef struct wr_span {
    void  *at;
    size_t bytes;
} wr_span;
#define WR_SPANS_MAX 8 /* of one call */
enum wr_watch { WR_WATCH_IN = 1, WR_WATCH_OUT = 2 };

struct wr_env {
    void *self; /* first argument of every function */

    /* Clock. Any thread. mono_ns never goes back, and goes on while the machine is suspended (where the system can
     * tell); wall_ns is since 1970 UTC and may go back. */
    int64_t (*mono_ns)(void *self);
    int64_t (*wall_ns)(void *self);

    /* Random bits for ids and seeds; any thread. Not for the data path: seed a wr_prng from it. */
    uint64_t (*random)(void *self);

    /* Storage. Any thread; a file is used by one thread at a time. Results are >= 0, or -errno. read and write may
     * be short, and read returns 0 at the end. Interrupted calls are retried inside. */
    int (*open)(void *self, const char *path, int flags);
    int (*close)(void *self, int file);
    int64_t (*read)(void *self, int file, void *to, size_t bytes);
    int64_t (*write)(void *self, int file, const void *from, size_t bytes);
    int64_t (*pread)(void *self, int file, void *to, size_t bytes, int64_t offset);
    int64_t (*pwrite)(void *self, int file, const void *from, size_t bytes, int64_t offset);
    int (*fsync)(void *self, int file);
    int (*truncate)(void *self, int file, int64_t bytes);
    int (*rename)(void *self, const char *from, const char *to);
    /* -EEXIST when `to` is there; -EINVAL when the file system cannot say so. */
    int (*rename_new)(void *self, const char *from, const char *to);
    int (*unlink)(void *self, const char *path);
    int (*mkdir)(void *self, const char *path); /* one level, mode 0777 less the umask; -EEXIST when it is there */
    int (*rmdir)(void *self, const char *path);
    int (*stat)(void *self, const char *path, wr_file_info *info);
    /* Calls each(arg, name) for every entry but "." and "..", in no order, until one returns false. */
    int (*list)(void *self, const char *folder, bool (*each)(void *arg, const char *name), void *arg);
    /* Exclusive, of a file opened for reading and writing, until it is closed or the process ends. 0, and the file's
     * content is the holder's; or -EAGAIN when another process (or opening) has it, *holder: its number, 0: unknown. */
    int (*lock)(void *self, int file, uint64_t *holder);
    /* Until it is closed: nobody else has it so (`alone`; opened for writing, or a folder), or nobody has it alone
     * (opened for reading). 0; -EAGAIN: others stand against it, or (`alone`) it is a file that has another name, too;
     * else the file system cannot. Never waits. */
    int (*hold)(void *self, int file, bool alone);
    /* Of a file opened for writing, until it is closed or the process ends: who else asks for it, in this way or by
     * hold, gets -EAGAIN. 0; -EAGAIN: another process (or opening) has it; else the file system cannot. Never waits. */
    int (*own)(void *self, int file);

    /* Storage in the background. One thread at a time uses a queue; `parker` (may be NULL) is woken when something
     * can be reaped. depth: operations under way at most. */
    int (*io_new)(void *self, wr_io **io, wr_parker *parker, uint32_t depth); /* 0 or -errno */
    void (*io_free)(void *self, wr_io *io);                                   /* waits for what is under way */
    int (*io_submit)(void *self, wr_io *io, const wr_io_op *op);              /* 0; -EAGAIN: reap first */
    uint32_t (*io_reap)(void *self, wr_io *io, wr_io_done *done, uint32_t n); /* never waits */

    /* Network: streams of bytes between slots of different processes, never blocking. Any thread; a socket is used by
     * one thread at a time. Addresses are "HOST:PORT". Results are >= 0, or -errno; -EAGAIN: nothing now. */
    int (*listen)(void *self, const char *address);  /* port 0: any free one; see port_of */
    int (*port_of)(void *self, int socket);          /* its own */
    int (*accept)(void *self, int listener);         /* a socket */
    int (*connect)(void *self, const char *address); /* a socket on its way: connected */
    int (*connected)(void *self, int socket);        /* 0, -EAGAIN: not yet, or why it never will */
    int64_t (*send)(void *self, int socket, const wr_span *from, uint32_t n); /* may be short */
    int64_t (*receive)(void *self, int socket, const wr_span *to,
                       uint32_t n);            /* may be short; 0: the other side ended */
    int (*half_close)(void *self, int socket); /* no more will be sent */
    /* Milliseconds since the other side's machine has said anything, while it has something to acknowledge; 0: it has
     * nothing. A process there that does not read is no reason: its machine answers. */
    int64_t (*unheard_ms)(void *self, int socket);
    void (*hang_up)(void *self, int socket);
    /* What to wait at, for many sockets at once: a descriptor for park_fds. watch: what is wanted of a socket, enum
     * wr_watch; 0: nothing any more, to be said before hang_up. ready: sockets at which something may be done, never
     * waits. A poller belongs to one thread. */
    int (*poll_new)(void *self);
    void (*poll_free)(void *self, int poller);
    int (*watch)(void *self, int poller, int socket, uint32_t what);
    uint32_t (*ready)(void *self, int poller, int *socket, uint32_t n);

    /* Threads. cpu >= 0 pins the thread to that CPU (failing to pin is not an error); with -1 it may use those of the
     * process, whoever starts it. name is cut to 15 bytes. thread_start returns 0 or -errno. thread_join waits for the
     * end and frees; once per thread. */
    int (*thread_start)(void *self, wr_thread **thread, void (*run)(void *arg), void *arg, const char *name, int cpu);
    void (*thread_join)(void *self, wr_thread *thread);
    /* Who calls: the same for one thread, another one for each that lives. Only to be compared. */
    const void *(*thread_self)(void *self);
    int (*cpu_count)(void *self); /* CPUs that this process may use, at least 1: its mask, and base/quota.h */

    /* Parking. The owner calls wr_parker_prepare, looks at its rings ONCE MORE, and then either wr_parker_cancel or
     * park; so a push between the last look and the park is never lost. park returns when woken or after timeout_ns
     * (negative: no limit; 0: at once); it may return early. Others make something visible, then call
     * wr_parker_wake. */
    int (*parker_init)(void *self, wr_parker *parker); /* 0 or -errno */
    void (*parker_fini)(void *self, wr_parker *parker);
    void (*park)(void *self, wr_parker *parker, int64_t timeout_ns); /* owner only */
    /* The same, but a readable descriptor wakes as well; at most WR_PARK_FDS_MAX of them. */
    void (*park_fds)(void *self, wr_parker *parker, int64_t timeout_ns, const int *fd, uint32_t fds);
    void (*wake)(void *self, wr_parker *parker); /* any thread; use wr_parker_wake */
};

/* The operating system's table. Frozen, any thread. */
const wr_env *wr_env_real(void);
/* Folders that the real one makes from now on belong to this group and hand it on: setgid, for user and group only.
 * UINT32_MAX: as usual. Before threads are started. */
void wr_env_share_folders(uint32_t gid);
/* Threads that the real one starts with cpu -1 leave these CPUs alone, if the process may use others: they are those of
 * pinned slots, and the system moves what wakes there too late. Before threads are started. */
void wr_env_keep_off(const int *cpu, uint32_t n);
/* Each thread that the real table starts calls it, first (begins) and last: by that the crash report knows ours from
 * those of a pipeline. Before there are threads. */
void wr_env_watch_threads(void (*watch)(bool begins));

#if defined(__SANITIZE_THREAD__)
#define WR_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WR_TSAN 1
#endif
#endif

/* For what is ordered without being atomic. ThreadSanitizer does not know fences: there, what is meant to race is not
 * looked at, and the rest must be ordered without them. */
#ifdef WR_TSAN
#define wr_fence(ORDER) ((void)(ORDER))
#else
#define wr_fence(ORDER) atomic_thread_fence(ORDER)
#endif

static inline void wr_parker_prepare(wr_parker *parker)
{
    atomic_exchange_explicit(&parker->state, WR_PARKER_PARKED, memory_order_seq_cst);
#ifndef WR_TSAN
    atomic_thread_fence(memory_order_seq_cst);
#endif
}

static inline void wr_parker_cancel(wr_parker *parker)
{
    atomic_store_explicit(&parker->state, WR_PARKER_AWAKE, memory_order_relaxed);
}

/* Any thread, after a release store that the parker's owner will look at. Costs a fence and a load unless it is
 * parked. */
static inline void wr_parker_wake(const wr_env *env, wr_parker *parker)
{
#ifdef WR_TSAN /* does not know fences; a read-modify-write on the same word orders as well, but moves the cache line */
    uint32_t state = atomic_fetch_add_explicit(&parker->state, 0, memory_order_seq_cst);
#else
    atomic_thread_fence(memory_order_seq_cst);
    uint32_t state = atomic_load_explicit(&parker->state, memory_order_relaxed);
#endif
    if (__builtin_expect(state == WR_PARKER_PARKED, 0)) env->wake(env->self, parker);
}

#endif
