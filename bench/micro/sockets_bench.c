/* Frames over loopback TCP: epoll with sendmsg and recvmsg, as net/plane.h does it, against io_uring in several ways.
 * Nobody looks into the frames; what is measured is what the transport costs.
 *
 *     gcc -O2 -std=gnu17 bench/micro/sockets_bench.c -luring -lpthread -o /tmp/sockets_bench
 *     sockets_bench [ROUNDS [MEGABYTES [BODY_BYTES [SPIN_US [CPU CPU]]]]]
 *
 * Shapes: `one`: a thread with both ends of each connection; `two`: one thread sends, the other receives; `duplex`: two
 * threads, both do both. Each way runs once per round, in turn; medians are printed, and their ratio to epoll's. */
#define _GNU_SOURCE
#include <errno.h>
#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define must(X)                                                                                                        \
    do {                                                                                                               \
        if (!(X)) {                                                                                                    \
            fprintf(stderr, "sockets_bench: line %d: %s: %s\n", __LINE__, #X, strerror(errno));                        \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

enum { HEAD = 64, CONNECTIONS = 16, ENDS = 2 * CONNECTIONS, DIRECT = 2, SENDS = 4, RECEIVES = 2, BUFFERS = 64 };

/* epoll: up to SENDS frames per connection and step. epoll-1: one. io_uring: a sendmsg and a recvmsg under way per end.
 * fixed: registered buffers. chain: SENDS linked sends. multishot: received into the ring's buffers and copied into
 * the frame; no-copy: not copied, which no receiver of frames could do. */
typedef enum way { EPOLL, EPOLL_1, URING, FIXED, CHAIN, MULTISHOT, NO_COPY, WAYS } way;
static const char *const way_name[WAYS] = {"epoll", "epoll-1", "io_uring", "fixed", "chain", "multishot", "no-copy"};
typedef enum shape { ONE, TWO, DUPLEX, SHAPES } shape;
static const char *const shape_name[SHAPES] = {"one", "two", "duplex"};

static size_t body_bytes = 32 << 10, frame_bytes;
static int    cpus[2] = {-1, -1};
static double spin; /* seconds before it waits */

/* One end of a connection; the thread that drives it. */
typedef struct end {
    int           socket;
    uint64_t      to_send, to_receive; /* bytes */
    char         *out, *in;            /* a frame; in: and the next one's head */
    size_t        out_at, in_at;
    bool          blocked, dry;
    uint32_t      watched, under_way; /* under_way: sends of a chain */
    struct iovec  out_piece[2], in_piece[2];
    struct msghdr out_msg, in_msg;
} end;

/* What a thread drives. */
typedef struct loop {
    way                       how;
    int                       cpu;
    end                       end[ENDS];
    uint32_t                  ends;
    uint64_t                  left; /* bytes to send and to receive */
    struct io_uring           ring;
    struct io_uring_buf_ring *buffers;
    char                     *memory; /* of the buffers */
} loop;

static double clock_of(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- frames ---- */

/* What is left of the frame, in two pieces. */
static struct msghdr *out_of(end *e)
{
    uint32_t n = 0;
    if (e->out_at < HEAD) e->out_piece[n++] = (struct iovec){e->out + e->out_at, HEAD - e->out_at};
    size_t at = e->out_at > HEAD ? e->out_at : HEAD;
    e->out_piece[n++] = (struct iovec){e->out + at, frame_bytes - at};
    e->out_msg = (struct msghdr){.msg_iov = e->out_piece, .msg_iovlen = n};
    return &e->out_msg;
}

/* What is left of this one, and the head of the next. */
static struct msghdr *in_of(end *e)
{
    e->in_piece[0] = (struct iovec){e->in + e->in_at, frame_bytes - e->in_at};
    e->in_piece[1] = (struct iovec){e->in + frame_bytes, HEAD};
    e->in_msg = (struct msghdr){.msg_iov = e->in_piece, .msg_iovlen = 2};
    return &e->in_msg;
}

static void went(loop *l, end *e, size_t n)
{
    e->out_at = (e->out_at + n) % frame_bytes;
    e->to_send -= n;
    l->left -= n;
}

static void came(loop *l, end *e, size_t n)
{
    e->in_at += n;
    if (e->in_at >= frame_bytes) {
        e->in_at -= frame_bytes;
        memcpy(e->in, e->in + frame_bytes, e->in_at);
    }
    e->to_receive -= n;
    l->left -= n;
}

/* ---- epoll ---- */

static bool receive(loop *l, end *e)
{
    bool progress = false;
    for (int i = 0; i < RECEIVES && e->to_receive > 0; i++) {
        size_t  wanted = frame_bytes - e->in_at + HEAD;
        ssize_t n = recvmsg(e->socket, in_of(e), MSG_DONTWAIT);
        must(n > 0 || (n < 0 && errno == EAGAIN));
        e->dry = n < (ssize_t)wanted;
        if (n < 0) break;
        came(l, e, (size_t)n);
        progress = true;
        if (e->dry) break;
    }
    return progress;
}

static bool give(loop *l, end *e)
{
    bool progress = false;
    for (int i = 0; i < (l->how == EPOLL ? SENDS : 1) && e->to_send > 0; i++) {
        size_t  wanted = frame_bytes - e->out_at;
        ssize_t n = sendmsg(e->socket, out_of(e), MSG_DONTWAIT | MSG_NOSIGNAL);
        must(n > 0 || (n < 0 && errno == EAGAIN));
        e->blocked = n < (ssize_t)wanted;
        if (n > 0) went(l, e, (size_t)n);
        progress |= n > 0;
        if (e->blocked) break;
    }
    return progress;
}

static void watch(int poller, end *e, uint32_t what)
{
    struct epoll_event event = {.events = what, .data.ptr = e};
    if (e->watched == what) return;
    must(epoll_ctl(poller, e->watched == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, e->socket, &event) == 0);
    e->watched = what;
}

static void ask(int poller, int timeout_ms)
{
    struct epoll_event event[ENDS];
    int                n = epoll_wait(poller, event, ENDS, timeout_ms);
    must(n >= 0);
    for (int i = 0; i < n; i++) {
        end *e = event[i].data.ptr;
        e->dry = e->blocked = false;
    }
}

static void run_epoll(loop *l)
{
    int poller = epoll_create1(0);
    must(poller >= 0);
    for (uint32_t i = 0; i < l->ends; i++) watch(poller, &l->end[i], EPOLLIN);
    for (double since = 0; l->left > 0;) {
        bool progress = false;
        if (l->ends > DIRECT) ask(poller, 0);
        for (uint32_t i = 0; i < l->ends; i++) {
            end *e = &l->end[i];
            if (e->to_receive > 0 && (l->ends <= DIRECT || !e->dry)) progress |= receive(l, e);
        }
        for (uint32_t i = 0; i < l->ends; i++) {
            end *e = &l->end[i];
            if (e->to_send > 0 && (l->ends <= DIRECT || !e->blocked)) progress |= give(l, e);
        }
        if (progress) since = 0;
        if (progress || l->left == 0) continue;
        if (spin > 0) {
            double now = clock_of(CLOCK_MONOTONIC);
            if (since == 0) since = now;
            if (now - since < spin) continue;
            since = 0;
        }
        for (uint32_t i = 0; i < l->ends; i++) {
            end *e = &l->end[i];
            watch(poller, e, (e->to_receive > 0 ? EPOLLIN : 0u) | (e->to_send > 0 && e->blocked ? EPOLLOUT : 0u));
        }
        ask(poller, -1);
    }
    close(poller);
}

/* ---- io_uring ---- */

static struct io_uring_sqe *entry(loop *l, uint32_t index, bool sends)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&l->ring);
    must(sqe != NULL);
    sqe->user_data = 2 * (uint64_t)index + sends; /* prep keeps it not: set again by the caller */
    return sqe;
}

static void ask_send(loop *l, uint32_t index)
{
    end *e = &l->end[index];
    if (e->to_send == 0) return;
    uint64_t frames = l->how == CHAIN ? (e->to_send + frame_bytes - 1) / frame_bytes : 1;
    if (frames > SENDS) frames = SENDS;
    for (uint64_t i = 0; i < frames; i++) {
        struct io_uring_sqe *sqe = entry(l, index, true);
        if (l->how == FIXED)
            io_uring_prep_write_fixed(sqe, (int)index, e->out + e->out_at, (unsigned)(frame_bytes - e->out_at), 0,
                                      2 * (int)index);
        else
            io_uring_prep_sendmsg(sqe, (int)index, out_of(e), MSG_NOSIGNAL | MSG_WAITALL);
        io_uring_sqe_set_data64(sqe, 2 * (uint64_t)index + 1);
        sqe->flags |= IOSQE_FIXED_FILE | (i + 1 < frames ? IOSQE_IO_LINK : 0);
        e->under_way++;
    }
}

static void ask_receive(loop *l, uint32_t index)
{
    end *e = &l->end[index];
    if (e->to_receive == 0) return;
    struct io_uring_sqe *sqe = entry(l, index, false);
    if (l->how == FIXED)
        io_uring_prep_read_fixed(sqe, (int)index, e->in + e->in_at, (unsigned)(frame_bytes - e->in_at + HEAD), 0,
                                 2 * (int)index + 1);
    else if (l->how >= MULTISHOT)
        io_uring_prep_recv_multishot(sqe, (int)index, NULL, 0, 0);
    else
        io_uring_prep_recvmsg(sqe, (int)index, in_of(e), 0);
    io_uring_sqe_set_data64(sqe, 2 * (uint64_t)index);
    sqe->flags |= IOSQE_FIXED_FILE;
    if (l->how < MULTISHOT) return;
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = 0;
}

/* A piece of the stream in one of the ring's buffers: into the frame, and the buffer back. */
static void came_in_buffer(loop *l, end *e, const struct io_uring_cqe *cqe)
{
    uint16_t id = (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
    char    *from = l->memory + id * frame_bytes;
    for (size_t n = (size_t)cqe->res; n > 0;) {
        size_t room = frame_bytes - e->in_at, part = n < room ? n : room;
        if (l->how == MULTISHOT) memcpy(e->in + e->in_at, from, part);
        from += part;
        n -= part;
        came(l, e, part);
    }
    io_uring_buf_ring_add(l->buffers, l->memory + id * frame_bytes, (unsigned)frame_bytes, id,
                          io_uring_buf_ring_mask(BUFFERS), 0);
    io_uring_buf_ring_advance(l->buffers, 1);
}

static void complete(loop *l, const struct io_uring_cqe *cqe)
{
    uint32_t index = (uint32_t)(cqe->user_data / 2);
    end     *e = &l->end[index];
    if (cqe->res <= 0) errno = -cqe->res;
    if (cqe->user_data % 2) {
        must(cqe->res > 0);
        went(l, e, (size_t)cqe->res);
        if (--e->under_way == 0) ask_send(l, index);
    } else if (l->how < MULTISHOT) {
        must(cqe->res > 0);
        came(l, e, (size_t)cqe->res);
        ask_receive(l, index);
    } else {
        must(cqe->res > 0 || cqe->res == -ENOBUFS);
        if (cqe->res > 0) came_in_buffer(l, e, cqe);
        if (!(cqe->flags & IORING_CQE_F_MORE)) ask_receive(l, index);
    }
}

static void ring_new(loop *l)
{
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE, .cq_entries = 1024};
    int          socket[ENDS];
    struct iovec piece[2 * ENDS];
    must(io_uring_queue_init_params(256, &l->ring, &params) == 0);
    for (uint32_t i = 0; i < l->ends; i++) {
        socket[i] = l->end[i].socket;
        piece[2 * i] = (struct iovec){l->end[i].out, frame_bytes};
        piece[2 * i + 1] = (struct iovec){l->end[i].in, frame_bytes + HEAD};
    }
    must(io_uring_register_files(&l->ring, socket, l->ends) == 0);
    if (l->how == FIXED) must(io_uring_register_buffers(&l->ring, piece, 2 * l->ends) == 0);
    if (l->how < MULTISHOT) return;
    size_t bytes = BUFFERS * sizeof(struct io_uring_buf);
    l->memory = aligned_alloc(4096, (BUFFERS * frame_bytes + 4095) / 4096 * 4096);
    l->buffers = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    struct io_uring_buf_reg reg = {.ring_addr = (uint64_t)(uintptr_t)l->buffers, .ring_entries = BUFFERS};
    must(io_uring_register_buf_ring(&l->ring, &reg, 0) == 0);
    io_uring_buf_ring_init(l->buffers);
    for (uint16_t i = 0; i < BUFFERS; i++)
        io_uring_buf_ring_add(l->buffers, l->memory + i * frame_bytes, (unsigned)frame_bytes, i,
                              io_uring_buf_ring_mask(BUFFERS), i);
    io_uring_buf_ring_advance(l->buffers, BUFFERS);
}

static void run_uring(loop *l)
{
    ring_new(l);
    for (uint32_t i = 0; i < l->ends; i++) {
        ask_receive(l, i);
        ask_send(l, i);
    }
    for (double since = 0; l->left > 0;) {
        struct io_uring_cqe *cqe[128];
        double               now = spin > 0 ? clock_of(CLOCK_MONOTONIC) : 0;
        if (since == 0) since = now;
        if (now - since < spin)
            must(io_uring_submit_and_get_events(&l->ring) >= 0);
        else
            must(io_uring_submit_and_wait(&l->ring, 1) >= 0);
        unsigned n = io_uring_peek_batch_cqe(&l->ring, cqe, 128);
        for (unsigned i = 0; i < n; i++) {
            struct io_uring_cqe copy = *cqe[i];
            complete(l, &copy);
        }
        io_uring_cq_advance(&l->ring, n);
        if (n > 0) since = 0;
    }
    io_uring_queue_exit(&l->ring);
    if (l->how < MULTISHOT) return;
    free(l->memory);
    free(l->buffers);
}

/* ---- rounds ---- */

static void *run(void *arg)
{
    loop     *l = arg;
    cpu_set_t set;
    CPU_ZERO(&set);
    if (l->cpu >= 0) {
        CPU_SET(l->cpu, &set);
        must(sched_setaffinity(0, sizeof set, &set) == 0);
    }
    if (l->how <= EPOLL_1)
        run_epoll(l);
    else
        run_uring(l);
    return NULL;
}

static void end_add(loop *l, int socket, uint64_t to_send, uint64_t to_receive)
{
    end *e = &l->end[l->ends++];
    *e = (end){.socket = socket, .to_send = to_send, .to_receive = to_receive};
    e->out = aligned_alloc(4096, (frame_bytes + HEAD + 4095) / 4096 * 4096);
    e->in = aligned_alloc(4096, (frame_bytes + HEAD + 4095) / 4096 * 4096);
    memset(e->out, 1, frame_bytes);
    memset(e->in, 1, frame_bytes + HEAD);
    l->left += to_send + to_receive;
}

static void pair(int socket_of[2])
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t          bytes = sizeof at;
    int                listener = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    must(listener >= 0 && bind(listener, (struct sockaddr *)&at, bytes) == 0 && listen(listener, 1) == 0);
    must(getsockname(listener, (struct sockaddr *)&at, &bytes) == 0);
    socket_of[0] = socket(AF_INET, SOCK_STREAM, 0);
    must(connect(socket_of[0], (struct sockaddr *)&at, bytes) == 0);
    socket_of[1] = accept(listener, NULL, NULL);
    must(socket_of[1] >= 0);
    for (int i = 0; i < 2; i++) setsockopt(socket_of[i], IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    close(listener);
}

/* [0]: seconds of the clock, [1]: of the processor. */
static void measure(way how, shape s, uint32_t connections, uint64_t bytes, double took[2])
{
    loop     *l = calloc(2, sizeof *l);
    pthread_t thread[2];
    uint32_t  threads = s == ONE ? 1 : 2;
    uint64_t  each = bytes / connections / (s == DUPLEX ? 2 : 1) / frame_bytes * frame_bytes;
    l[0].how = l[1].how = how;
    l[0].cpu = cpus[0];
    l[1].cpu = cpus[1];
    for (uint32_t i = 0; i < connections; i++) {
        int socket_of[2];
        pair(socket_of);
        end_add(&l[0], socket_of[0], each, s == DUPLEX ? each : 0);
        end_add(&l[s == ONE ? 0 : 1], socket_of[1], s == DUPLEX ? each : 0, each);
    }
    took[0] = clock_of(CLOCK_MONOTONIC);
    took[1] = clock_of(CLOCK_PROCESS_CPUTIME_ID);
    for (uint32_t i = 0; i < threads; i++) must(pthread_create(&thread[i], NULL, run, &l[i]) == 0);
    for (uint32_t i = 0; i < threads; i++) pthread_join(thread[i], NULL);
    took[0] = clock_of(CLOCK_MONOTONIC) - took[0];
    took[1] = clock_of(CLOCK_PROCESS_CPUTIME_ID) - took[1];
    for (uint32_t t = 0; t < 2; t++) {
        for (uint32_t i = 0; i < l[t].ends; i++) {
            close(l[t].end[i].socket);
            free(l[t].end[i].out);
            free(l[t].end[i].in);
        }
    }
    free(l);
}

static int rising(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *of, uint32_t n)
{
    qsort(of, n, sizeof *of, rising);
    return n % 2 ? of[n / 2] : (of[n / 2 - 1] + of[n / 2]) / 2;
}

static void compare(shape s, uint32_t connections, uint64_t bytes, uint32_t rounds)
{
    double(*wall)[rounds] = calloc(WAYS, sizeof *wall), (*cpu)[rounds] = calloc(WAYS, sizeof *cpu);
    double frames = (double)bytes / (double)frame_bytes, base[2] = {0};
    for (uint32_t r = 0; r < rounds; r++) {
        for (int w = 0; w < WAYS; w++) {
            double took[2];
            measure((way)w, s, connections, bytes, took);
            wall[w][r] = took[0];
            cpu[w][r] = took[1];
        }
    }
    for (int w = 0; w < WAYS; w++) {
        double t = median(wall[w], rounds), c = median(cpu[w], rounds);
        if (w == EPOLL) base[0] = t, base[1] = c;
        printf("%-7s %11u  %-9s %8.2f %13.0f %11.2f %11.2f\n", shape_name[s], connections, way_name[w],
               (double)bytes / t * 1e-9, c / frames * 1e9, base[0] / t, base[1] / c);
    }
    fflush(stdout);
    free(wall);
    free(cpu);
}

int main(int argc, char **argv)
{
    uint32_t rounds = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 7;
    uint64_t bytes = (argc > 2 ? strtoull(argv[2], NULL, 10) : 1024) << 20;
    if (argc > 3) body_bytes = strtoull(argv[3], NULL, 10);
    if (argc > 4) spin = strtod(argv[4], NULL) * 1e-6;
    for (int i = 0; i < 2 && argc > 6; i++) cpus[i] = (int)strtol(argv[5 + i], NULL, 10);
    frame_bytes = HEAD + body_bytes;
    must(rounds > 0 && body_bytes > HEAD);
    printf("shape   connections  way           GB/s  cpu ns/frame  speed ratio   cpu ratio\n");
    for (int s = 0; s < SHAPES; s++) {
        for (uint32_t n = 1; n <= CONNECTIONS; n *= 4) compare((shape)s, n, bytes, rounds);
    }
    return 0;
}
