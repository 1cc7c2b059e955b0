#include "base/env_io.h"
#include "base/check.h"
#include "base/ring.h"
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>

/* One operation under way, until it is reaped. */
typedef struct under_way {
    wr_io_op op;
    size_t   bytes_done; /* of op.bytes; the rest was or will be asked for again */
    int64_t  result;
    uint32_t next; /* free list; index + 1 */
} under_way;

/* Owner: the thread that submits and reaps. Shared: the two rings and helper_parker (helper thread), stop (atomic). */
struct wr_io {
    wr_parker *parker;
    under_way *slot;
    uint32_t   depth, free, busy; /* free: index + 1 of the first free slot */
    bool       uring;
    /* io_uring */
    struct io_uring ring;
    uint32_t       *again; /* slots whose rest is still to be submitted */
    uint32_t        agains;
    /* helper thread */
    wr_thread  *helper;
    wr_parker   helper_parker;
    atomic_bool stop;
    wr_ring    *todo, *done;
};

static under_way *take_slot(wr_io *io)
{
    if (io->free == 0) return NULL;
    under_way *u = &io->slot[io->free - 1];
    io->free = u->next;
    io->busy++;
    return u;
}

static void give_slot(wr_io *io, under_way *u)
{
    u->next = io->free;
    io->free = (uint32_t)(u - io->slot) + 1;
    io->busy--;
}

/* What one system call or completion has given. True: the operation is over, with u->result. */
static bool settle(under_way *u, int64_t result)
{
    if (u->op.kind == WR_IO_SYNC || (result < 0 && u->bytes_done == 0)) {
        u->result = result < 0 ? result : 0;
        return true;
    }
    if (result < 0) {
        /* The rest of a direct read behind the end of a file is refused for its alignment: that is the end. */
        u->result = u->op.kind == WR_IO_READ && result == -EINVAL ? (int64_t)u->bytes_done : result;
        return true;
    }
    u->bytes_done += (size_t)result;
    if (u->bytes_done < u->op.bytes && result > 0) return false;
    u->result = (int64_t)u->bytes_done;
    if (u->op.kind == WR_IO_WRITE && u->bytes_done < u->op.bytes) u->result = -EIO; /* wrote nothing, said nothing */
    return true;
}

/* ---- io_uring ---- */

static bool uring_prepare(wr_io *io, under_way *u)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&io->ring);
    if (sqe == NULL) return false;
    char    *at = (char *)u->op.at + u->bytes_done;
    size_t   rest = u->op.bytes - u->bytes_done;
    uint64_t offset = (uint64_t)u->op.offset + u->bytes_done;
    unsigned bytes = rest > WR_MIB(1024) ? WR_MIB(1024) : (unsigned)rest;
    if (u->op.kind == WR_IO_WRITE) io_uring_prep_write(sqe, u->op.file, at, bytes, offset);
    if (u->op.kind == WR_IO_READ) io_uring_prep_read(sqe, u->op.file, at, bytes, offset);
    if (u->op.kind == WR_IO_SYNC) io_uring_prep_fsync(sqe, u->op.file, 0);
    io_uring_sqe_set_data64(sqe, (uint64_t)(u - io->slot));
    return true;
}

/* What the kernel does not take now (it is short of memory) stays in the ring and goes with the next call. */
static void uring_enter(wr_io *io)
{
    int result;
    do result = io_uring_submit(&io->ring);
    while (result == -EINTR);
    check(result >= 0 || result == -EAGAIN || result == -EBUSY || result == -ENOMEM);
}

/* False: the queue was empty. */
static bool uring_complete(wr_io *io, under_way **over)
{
    struct io_uring_cqe *cqe;
    *over = NULL;
    if (io_uring_peek_cqe(&io->ring, &cqe) != 0) return false;
    uint64_t index = io_uring_cqe_get_data64(cqe);
    int64_t  result = cqe->res;
    io_uring_cqe_seen(&io->ring, cqe);
    check(index < io->depth);
    under_way *u = &io->slot[index];
    if (result != -EINTR && result != -EAGAIN && settle(u, result))
        *over = u;
    else
        io->again[io->agains++] = (uint32_t)index;
    return true;
}

static uint32_t uring_reap(wr_io *io, under_way **over, uint32_t n)
{
    uint32_t count = 0;
    while (count < n && uring_complete(io, &over[count])) count += over[count] != NULL;
    bool more = io_uring_sq_ready(&io->ring) > 0;
    while (io->agains > 0 && uring_prepare(io, &io->slot[io->again[io->agains - 1]])) {
        io->agains--;
        more = true;
    }
    if (more) uring_enter(io);
    return count;
}

static bool uring_can(struct io_uring *ring)
{
    struct io_uring_probe *probe = io_uring_get_probe_ring(ring);
    if (probe == NULL) return false;
    bool can = io_uring_opcode_supported(probe, IORING_OP_READ) && io_uring_opcode_supported(probe, IORING_OP_WRITE) &&
               io_uring_opcode_supported(probe, IORING_OP_FSYNC);
    io_uring_free_probe(probe);
    return can;
}

static bool uring_new(wr_io *io)
{
    const char *wish = getenv("WEIR_IO");
    if (wish != NULL && strcmp(wish, "thread") == 0) return false;
    if (io_uring_queue_init(io->depth, &io->ring, 0) != 0) return false;
    /* The kernel writes the parker's eventfd itself, whether its owner is parked or not: an owner that was not parked
     * then comes back from its next park at once, which it may. */
    if (uring_can(&io->ring) && (io->parker == NULL || io_uring_register_eventfd(&io->ring, io->parker->fd) == 0))
        return true;
    io_uring_queue_exit(&io->ring);
    return false;
}

static void uring_free(wr_io *io)
{
    uint32_t never = io_uring_sq_ready(&io->ring) + io->agains; /* the kernel does not know of these */
    while (io->busy > never) {
        struct io_uring_cqe *cqe;
        int                  result = io_uring_wait_cqe(&io->ring, &cqe);
        if (result == -EINTR) continue;
        check(result == 0);
        io_uring_cqe_seen(&io->ring, cqe);
        io->busy--;
    }
    io_uring_queue_exit(&io->ring);
}

/* ---- the helper thread ---- */

static void perform(const wr_env *env, under_way *u)
{
    int64_t result;
    do {
        char   *at = (char *)u->op.at + u->bytes_done;
        size_t  rest = u->op.bytes - u->bytes_done;
        int64_t offset = u->op.offset + (int64_t)u->bytes_done;
        if (u->op.kind == WR_IO_WRITE)
            result = env->pwrite(env->self, u->op.file, at, rest, offset);
        else if (u->op.kind == WR_IO_READ)
            result = env->pread(env->self, u->op.file, at, rest, offset);
        else
            result = env->fsync(env->self, u->op.file);
    } while (!settle(u, result));
}

static void helper_main(void *arg)
{
    wr_io        *io = arg;
    const wr_env *env = wr_env_real();
    for (;;) {
        under_way *u = wr_ring_pop(io->todo);
        if (u != NULL) {
            perform(env, u);
            check(wr_ring_push(io->done, u)); /* as long as the queue is deep */
            if (io->parker != NULL) wr_parker_wake(env, io->parker);
            continue;
        }
        wr_parker_prepare(&io->helper_parker);
        bool stop = atomic_load_explicit(&io->stop, memory_order_acquire); /* before the last look at the ring */
        if (wr_ring_count(io->todo) > 0) {
            wr_parker_cancel(&io->helper_parker);
        } else if (stop) {
            return;
        } else {
            env->park(env->self, &io->helper_parker, -1);
        }
    }
}

static wr_ring *new_ring(uint32_t depth)
{
    wr_ring *ring = aligned_alloc(_Alignof(wr_ring), sizeof *ring);
    uint32_t capacity = 1;
    while (capacity < depth) capacity *= 2;
    if (ring != NULL) wr_ring_init(ring, capacity);
    return ring;
}

static int helper_new(wr_io *io)
{
    const wr_env *env = wr_env_real();
    io->todo = new_ring(io->depth);
    io->done = new_ring(io->depth);
    if (io->todo == NULL || io->done == NULL) return -ENOMEM;
    int result = env->parker_init(env->self, &io->helper_parker);
    if (result < 0) return result;
    atomic_init(&io->stop, false);
    result = env->thread_start(env->self, &io->helper, helper_main, io, "weir-io", -1);
    if (result < 0) env->parker_fini(env->self, &io->helper_parker);
    return result;
}

static void helper_free(wr_io *io)
{
    const wr_env *env = wr_env_real();
    atomic_store_explicit(&io->stop, true, memory_order_release);
    wr_parker_wake(env, &io->helper_parker);
    env->thread_join(env->self, io->helper);
    env->parker_fini(env->self, &io->helper_parker);
}

/* ---- both ---- */

static void release(wr_io *io)
{
    free(io->todo);
    free(io->done);
    free(io->slot);
    free(io->again);
    free(io);
}

int wr_io_real_new(void *self, wr_io **take, wr_parker *parker, uint32_t depth)
{
    (void)self;
    check(depth >= 1 && depth <= WR_RING_SLOTS_MAX);
    wr_io *io = calloc(1, sizeof *io);
    if (io == NULL) return -ENOMEM;
    io->parker = parker;
    io->depth = depth;
    io->slot = calloc(depth, sizeof *io->slot);
    io->again = calloc(depth, sizeof *io->again);
    int result = io->slot == NULL || io->again == NULL ? -ENOMEM : 0;
    for (uint32_t i = 0; i < depth && result == 0; i++) io->slot[i].next = i;
    io->free = depth;
    if (result == 0) {
        io->uring = uring_new(io);
        if (!io->uring) result = helper_new(io);
    }
    if (result < 0)
        release(io);
    else
        *take = io;
    return result;
}

void wr_io_real_free(void *self, wr_io *io)
{
    (void)self;
    if (io->uring)
        uring_free(io);
    else
        helper_free(io);
    release(io);
}

int wr_io_real_submit(void *self, wr_io *io, const wr_io_op *op)
{
    (void)self;
    check(op->kind >= WR_IO_WRITE && op->kind <= WR_IO_SYNC);
    under_way *u = take_slot(io);
    if (u == NULL) return -EAGAIN;
    *u = (under_way){.op = *op};
    if (!io->uring) {
        check(wr_ring_push(io->todo, u));
        wr_parker_wake(wr_env_real(), &io->helper_parker);
        return 0;
    }
    if (!uring_prepare(io, u)) { /* the kernel has not taken earlier ones yet */
        give_slot(io, u);
        return -EAGAIN;
    }
    uring_enter(io);
    return 0;
}

uint32_t wr_io_real_reap(void *self, wr_io *io, wr_io_done *done, uint32_t n)
{
    (void)self;
    under_way *over[WR_RING_SLOTS_MAX];
    uint32_t   count = 0;
    if (n > WR_RING_SLOTS_MAX) n = WR_RING_SLOTS_MAX;
    if (io->uring) {
        count = uring_reap(io, over, n);
    } else {
        while (count < n && (over[count] = wr_ring_pop(io->done)) != NULL) count++;
    }
    for (uint32_t i = 0; i < count; i++) {
        done[i] = (wr_io_done){.tag = over[i]->op.tag, .result = over[i]->result};
        give_slot(io, over[i]);
    }
    return count;
}

const char *wr_io_real_name(const wr_io *io)
{
    return io->uring ? "io_uring" : "thread";
}
