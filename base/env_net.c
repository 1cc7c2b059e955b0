#include "base/env_net.h"
#include "base/check.h"
#include "base/limits.h"
#include "base/text.h"
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

_Static_assert(sizeof(wr_span) == sizeof(struct iovec) && offsetof(wr_span, at) == offsetof(struct iovec, iov_base) &&
                   offsetof(wr_span, bytes) == offsetof(struct iovec, iov_len),
               "a span is what the system calls a vector");

#define RETRY(RESULT, CALL)                                                                                            \
    do RESULT = (CALL);                                                                                                \
    while (RESULT < 0 && errno == EINTR)

static int result_of(int result)
{
    return result < 0 ? -errno : result;
}

/* ---- addresses ---- */

/* "HOST:PORT", "[HOST]:PORT"; an empty host is every address of this machine. */
static bool split(const char *address, char host[256], char port[8])
{
    const char *colon = strrchr(address, ':');
    uint64_t    number;
    if (colon == NULL || !wr_text_to_u64(colon + 1, strlen(colon + 1), &number) || number > UINT16_MAX) return false;
    const char *from = address;
    size_t      n = (size_t)(colon - address);
    if (n >= 2 && from[0] == '[' && from[n - 1] == ']') {
        from++;
        n -= 2;
    } else if (memchr(from, ':', n) != NULL) {
        return false; /* the last part of a bare IPv6 address is not meant as a port */
    }
    if (n >= 256) return false;
    memcpy(host, from, n);
    host[n] = 0;
    snprintf(port, 8, "%u", (unsigned)number);
    return true;
}

static int error_of_lookup(int code)
{
    if (code == EAI_SYSTEM) return -errno;
    if (code == EAI_MEMORY) return -ENOMEM;
    return -EHOSTUNREACH;
}

/* A silent connection is asked each second whether the other side's machine is there; without an answer it is lost
 * within WR_UNHEARD_MS and a second. The system's own time is two hours. Accepted sockets inherit all of it. */
static void keep_alive(int s)
{
    static const int ONE = 1, ASKS = WR_UNHEARD_MS / 1000;
    setsockopt(s, SOL_SOCKET, SO_KEEPALIVE, &ONE, sizeof ONE);
    setsockopt(s, IPPROTO_TCP, TCP_KEEPIDLE, &ONE, sizeof ONE);
    setsockopt(s, IPPROTO_TCP, TCP_KEEPINTVL, &ONE, sizeof ONE);
    setsockopt(s, IPPROTO_TCP, TCP_KEEPCNT, &ASKS, sizeof ASKS);
}

/* The first address that `use` (bind or connect) accepts. */
static int open_socket(const char *address, bool listener)
{
    char             host[256], port[8];
    struct addrinfo *list, hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    if (!split(address, host, port)) return -EINVAL;
    if (listener) hints.ai_flags |= AI_PASSIVE;
    int code = getaddrinfo(host[0] != 0 ? host : NULL, port, &hints, &list);
    if (code != 0) return error_of_lookup(code);
    int result = -EHOSTUNREACH;
    for (struct addrinfo *a = list; a != NULL && result < 0; a = a->ai_next) {
        static const int ONE = 1;
        int              s = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (s < 0) {
            result = -errno;
            continue;
        }
        setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &ONE, sizeof ONE); /* accepted ones inherit it */
        keep_alive(s);
        int done;
        if (listener) {
            setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &ONE, sizeof ONE);
            done = bind(s, a->ai_addr, a->ai_addrlen) == 0 ? listen(s, SOMAXCONN) : -1;
        } else {
            RETRY(done, connect(s, a->ai_addr, a->ai_addrlen));
        }
        if (done == 0 || errno == EINPROGRESS || (!listener && errno == EALREADY)) {
            result = s;
        } else {
            result = -errno;
            close(s);
        }
    }
    freeaddrinfo(list);
    return result;
}

int wr_net_real_listen(void *self, const char *address)
{
    (void)self;
    return open_socket(address, true);
}

int wr_net_real_connect(void *self, const char *address)
{
    (void)self;
    return open_socket(address, false);
}

static int name_of(int socket, bool peer, struct sockaddr_storage *name, socklen_t *bytes)
{
    *bytes = sizeof *name;
    memset(name, 0, sizeof *name);
    return result_of(peer ? getpeername(socket, (struct sockaddr *)name, bytes)
                          : getsockname(socket, (struct sockaddr *)name, bytes));
}

int wr_net_real_port_of(void *self, int socket)
{
    (void)self;
    struct sockaddr_storage name;
    socklen_t               bytes;
    int                     result = name_of(socket, false, &name, &bytes);
    if (result < 0) return result;
    if (name.ss_family == AF_INET) return ntohs(((struct sockaddr_in *)&name)->sin_port);
    if (name.ss_family == AF_INET6) return ntohs(((struct sockaddr_in6 *)&name)->sin6_port);
    return -EAFNOSUPPORT;
}

/* ---- connections ---- */

int wr_net_real_accept(void *self, int listener)
{
    (void)self;
    int s;
    do s = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    while (s < 0 && (errno == EINTR || errno == ECONNABORTED || errno == EPROTO));
    return result_of(s);
}

int wr_net_real_connected(void *self, int socket)
{
    (void)self;
    struct pollfd wait = {.fd = socket, .events = POLLOUT};
    int           count;
    RETRY(count, poll(&wait, 1, 0));
    if (count < 0) return -errno;
    if (count == 0) return -EAGAIN;
    int       error = 0;
    socklen_t bytes = sizeof error;
    if (getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &bytes) < 0) return -errno;
    if (error != 0) return -error;
    struct sockaddr_storage here, there;
    socklen_t               here_bytes, there_bytes;
    int                     result = name_of(socket, true, &there, &there_bytes);
    if (result == 0) result = name_of(socket, false, &here, &here_bytes);
    if (result < 0) return result;
    /* Who dials a free port of its own machine now and then meets itself. */
    if (here_bytes == there_bytes && memcmp(&here, &there, here_bytes) == 0) return -ECONNREFUSED;
    return 0;
}

int64_t wr_net_real_send(void *self, int socket, const wr_span *from, uint32_t n)
{
    (void)self;
    check(n <= WR_SPANS_MAX);
    struct iovec vector[WR_SPANS_MAX];
    memcpy(vector, from, n * sizeof *from);
    struct msghdr message = {.msg_iov = vector, .msg_iovlen = n};
    ssize_t       count;
    RETRY(count, sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT));
    return count < 0 ? -errno : count;
}

int64_t wr_net_real_receive(void *self, int socket, const wr_span *to, uint32_t n)
{
    (void)self;
    check(n <= WR_SPANS_MAX);
    struct iovec vector[WR_SPANS_MAX];
    memcpy(vector, to, n * sizeof *to);
    struct msghdr message = {.msg_iov = vector, .msg_iovlen = n};
    ssize_t       count;
    RETRY(count, recvmsg(socket, &message, MSG_DONTWAIT));
    return count < 0 ? -errno : count;
}

int wr_net_real_half_close(void *self, int socket)
{
    (void)self;
    return result_of(shutdown(socket, SHUT_WR));
}

/* A window that is closed is probed, each answer counts anew: so one probe may be on its way. */
int64_t wr_net_real_unheard_ms(void *self, int socket)
{
    (void)self;
    struct tcp_info about;
    socklen_t       bytes = sizeof about;
    memset(&about, 0, sizeof about);
    if (getsockopt(socket, IPPROTO_TCP, TCP_INFO, &about, &bytes) != 0) return 0;
    return about.tcpi_unacked > 0 || about.tcpi_probes > 1 ? about.tcpi_last_ack_recv : 0;
}

void wr_net_real_hang_up(void *self, int socket)
{
    (void)self;
    close(socket);
}

/* ---- pollers ---- */

int wr_net_real_poll_new(void *self)
{
    (void)self;
    return result_of(epoll_create1(EPOLL_CLOEXEC));
}

void wr_net_real_poll_free(void *self, int poller)
{
    (void)self;
    close(poller);
}

int wr_net_real_watch(void *self, int poller, int socket, uint32_t what)
{
    (void)self;
    struct epoll_event event = {.data.fd = socket};
    if (what == 0) {
        int result = epoll_ctl(poller, EPOLL_CTL_DEL, socket, &event);
        return result < 0 && errno != ENOENT ? -errno : 0;
    }
    if (what & WR_WATCH_IN) event.events |= EPOLLIN;
    if (what & WR_WATCH_OUT) event.events |= EPOLLOUT;
    if (epoll_ctl(poller, EPOLL_CTL_MOD, socket, &event) == 0) return 0;
    return errno == ENOENT ? result_of(epoll_ctl(poller, EPOLL_CTL_ADD, socket, &event)) : -errno;
}

uint32_t wr_net_real_ready(void *self, int poller, int *socket, uint32_t n)
{
    (void)self;
    struct epoll_event event[64];
    if (n > 64) n = 64;
    if (n == 0) return 0;
    int count;
    RETRY(count, epoll_wait(poller, event, (int)n, 0));
    check(count >= 0);
    for (int i = 0; i < count; i++) socket[i] = event[i].data.fd;
    return (uint32_t)count;
}
