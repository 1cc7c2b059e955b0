/* latency.c by plain send and recv: two processes, one connection, records of 64 bytes at a given rate; the sender
 * sends what is due, as often as it can, and the receiver takes what is there.
 *
 *     hand_latency RATE SECONDS FILE */
#include "latency.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { AT_ONCE = 512 };
typedef struct ping {
    int64_t  due_ns;
    uint64_t number, rest[6];
} ping;

static void send_all(int s, uint64_t rate, int64_t seconds)
{
    static ping all[AT_ONCE];
    int64_t     start = latency_now() + 200000000, end = start + seconds * 1000000000;
    uint64_t    n = 0;
    for (int64_t now; (now = latency_now()) < end;) {
        uint64_t until = latency_due_until(start, now, rate, n), k = 0;
        for (; n < until && k < AT_ONCE; n++, k++)
            all[k] = (ping){.due_ns = latency_due(start, now, rate, n), .number = n};
        const char *at = (const char *)all;
        for (size_t left = k * sizeof *all; left > 0;) {
            ssize_t sent = send(s, at, left, MSG_NOSIGNAL);
            if (sent <= 0) exit(1);
            at += sent;
            left -= (size_t)sent;
        }
    }
}

static void receive_all(int s, const char *path)
{
    static ping     all[AT_ONCE];
    latency_counts *counts = calloc(1, sizeof *counts);
    size_t          have = 0;
    if (counts == NULL) exit(1);
    for (ssize_t got; (got = recv(s, (char *)all + have, sizeof all - have, 0)) > 0;) {
        have += (size_t)got;
        size_t n = have / sizeof *all;
        for (size_t i = 0; i < n; i++) latency_add(counts, all[i].number, all[i].due_ns);
        memmove(all, all + n, have - n * sizeof *all);
        have -= n * sizeof *all;
    }
    latency_write(counts, path);
    free(counts);
}

int main(int argc, char **argv)
{
    if (argc != 4) return 2;
    int                listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t          bytes = sizeof name;
    if (bind(listener, (struct sockaddr *)&name, bytes) != 0 || listen(listener, 1) != 0 ||
        getsockname(listener, (struct sockaddr *)&name, &bytes) != 0)
        return 1;
    pid_t child = fork();
    if (child == 0) {
        int s = accept(listener, NULL, NULL);
        receive_all(s, argv[3]);
        return 0;
    }
    int s = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(s, (struct sockaddr *)&name, bytes) != 0) return 1;
    setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    send_all(s, strtoull(argv[1], NULL, 10), (int64_t)strtoull(argv[2], NULL, 10));
    close(s);
    int status = 1;
    waitpid(child, &status, 0);
    return status != 0;
}
