#include "net/http.h"
#include "base/check.h"
#include "base/mem.h"
#include "net/address.h"
#include "net/complain.h"
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

enum { CODES = 6 };
static const unsigned code_of[CODES] = {200, 400, 403, 404, 405, 500};

/* libmicrohttpd's functions. */
typedef struct library {
    void                                        *handle;
    __typeof__(&MHD_start_daemon)                start;
    __typeof__(&MHD_stop_daemon)                 stop;
    __typeof__(&MHD_run)                         run;
    __typeof__(&MHD_get_timeout)                 timeout;
    __typeof__(&MHD_get_daemon_info)             info;
    __typeof__(&MHD_create_response_from_buffer) respond;
    __typeof__(&MHD_destroy_response)            drop;
    __typeof__(&MHD_queue_response)              queue;
    __typeof__(&MHD_add_response_header)         header;
    __typeof__(&MHD_lookup_connection_value)     lookup;
    __typeof__(&MHD_get_connection_info)         about;
} library;

/* libmicrohttpd closes a connection in the step behind that in which we end it: until then it has its place beside
 * those that stay. */
enum { LEAVING_MAX = 32, PLACES = WR_HTTP_CONNECTIONS_MAX + LEAVING_MAX };

typedef enum guest_state {
    GUEST_NONE,
    GUEST_SILENT, /* it has not said a whole head yet */
    GUEST_ASKED,
    GUEST_LEAVING
} guest_state;

/* One connection. Owner: its server. */
typedef struct guest {
    guest_state state;
    int         socket;
    uint64_t    order;  /* the least came, or asked, the longest ago */
    int64_t     due_ns; /* a silent one must have asked until then */
} guest;

/* Owner: one thread. */
struct wr_http {
    wr_http_config     config;
    library            mhd;
    struct MHD_Daemon *daemon;
    int                poller;
    char               address[WR_HOST_BYTES_MAX + 16];
    double             started_s;
    uint64_t           answers[CODES];
    guest              guest[PLACES];
    uint32_t           silent, asked;
    uint64_t           order, garbage, slow, crowded;
    bool               ending;
    wr_complaints      complaints;
};

/* ---- what every process says of itself ---- */

static uint32_t entries(const char *folder)
{
    uint32_t n = 0;
    DIR     *dir = opendir(folder);
    if (dir == NULL) return 0;
    while (readdir(dir) != NULL) n++;
    closedir(dir);
    return n > 2 ? n - 2 : 0;
}

static void put(FILE *f, const char *name, const char *type, const char *help, double value)
{
    fprintf(f, "# HELP %s %s\n# TYPE %s %s\n%s %.17g\n", name, help, name, type, name, value);
}

static void put_process(wr_http *h, FILE *f)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    fprintf(f,
            "# HELP weir_build_info Version of this process.\n# TYPE weir_build_info gauge\n"
            "weir_build_info{version=\"%s\"} 1\n",
            WR_VERSION);
    put(f, "process_start_time_seconds", "gauge", "When this process began, since 1970.", h->started_s);
    put(f, "process_cpu_seconds_total", "counter", "Processor time of this process.",
        (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
            (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e-6);
    put(f, "process_resident_memory_bytes", "gauge", "Resident memory of this process.",
        (double)wr_mem_resident_bytes());
    put(f, "process_open_fds", "gauge", "Open descriptors.", entries("/proc/self/fd"));
    put(f, "process_threads", "gauge", "Threads.", entries("/proc/self/task"));
    fputs("# HELP weir_http_requests_total Answers of this server.\n# TYPE weir_http_requests_total counter\n", f);
    for (int i = 0; i < CODES; i++)
        fprintf(f, "weir_http_requests_total{code=\"%u\"} %" PRIu64 "\n", code_of[i], h->answers[i]);
    fprintf(f,
            "# HELP weir_http_refused_total Connections that were closed before a request, or for others.\n"
            "# TYPE weir_http_refused_total counter\nweir_http_refused_total{reason=\"garbage\"} %" PRIu64
            "\nweir_http_refused_total{reason=\"slow\"} %" PRIu64
            "\nweir_http_refused_total{reason=\"too_many\"} %" PRIu64 "\n",
            h->garbage, h->slow, h->crowded);
}

static char *read_metrics(wr_http *h, size_t *n)
{
    char  *text = NULL;
    size_t own_n = 0;
    char  *own = h->config.read(h->config.self, "metrics", &own_n);
    FILE  *f = open_memstream(&text, n);
    if (f != NULL) {
        put_process(h, f);
        if (own != NULL) fwrite(own, 1, own_n, f);
        if (fclose(f) != 0) {
            free(text);
            text = NULL;
        }
    }
    free(own);
    return text;
}

/* ---- answers ---- */

static enum MHD_Result answer(wr_http *h, struct MHD_Connection *c, unsigned code, const char *type, char *text,
                              size_t n)
{
    struct MHD_Response *r = h->mhd.respond(n, text, MHD_RESPMEM_MUST_FREE);
    if (r == NULL) {
        free(text);
        return MHD_NO;
    }
    for (int i = 0; i < CODES; i++) h->answers[i] += code_of[i] == code;
    h->mhd.header(r, "Content-Type", type);
    h->mhd.header(r, "Cache-Control", "no-store");
    h->mhd.header(r, "X-Content-Type-Options", "nosniff");
    if (code == 405) h->mhd.header(r, "Allow", "GET, HEAD");
    enum MHD_Result result = h->mhd.queue(c, code, r);
    h->mhd.drop(r);
    return result;
}

static enum MHD_Result complain(wr_http *h, struct MHD_Connection *c, unsigned code, const char *message,
                                const char *hint)
{
    char *text = NULL;
    int   n = asprintf(&text, "{\"code\":%u,\"message\":\"%s\",\"hint\":\"%s\"}\n", code, message, hint);
    if (n < 0) return MHD_NO;
    return answer(h, c, code, "application/json", text, (size_t)n);
}

/* A page of a stranger's that has been made to point at this machine by its name server must not read what is here. */
static bool meant_for_us(const wr_http *h, struct MHD_Connection *c)
{
    char        address[WR_HOST_BYTES_MAX + 16];
    const char *host = h->mhd.lookup(c, MHD_HEADER_KIND, "Host");
    if (h->config.insecure) return true;
    if (host == NULL || strlen(host) >= WR_HOST_BYTES_MAX) return false;
    const char *bracket = strrchr(host, ']'), *colon = strrchr(bracket != NULL ? bracket : host, ':');
    snprintf(address, sizeof address, colon != NULL ? "%s" : "%s:80", host);
    return wr_address_loopback(address);
}

static enum MHD_Result route(wr_http *h, struct MHD_Connection *c, const char *url)
{
    static const char TEXT[] = "text/plain; charset=utf-8", METRICS[] = "text/plain; version=0.0.4; charset=utf-8";
    size_t            n = 0, length = strlen(url);
    char             *text = NULL;
    bool              metrics = strcmp(url, "/metrics") == 0;
    if (strcmp(url, "/healthz") == 0) {
        text = strdup("ok\n");
        return text == NULL ? MHD_NO : answer(h, c, 200, TEXT, text, 3);
    }
    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)url[i] <= ' ' || url[i] == 0x7f)
            return complain(h, c, 400, "the path has characters that no path here has", "see /v1/jobs");
    }
    if (metrics) text = read_metrics(h, &n);
    if (strncmp(url, "/v1/", 4) == 0 && strcmp(url + 4, "metrics") != 0)
        text = h->config.read(h->config.self, url + 4, &n);
    if (text != NULL) return answer(h, c, 200, metrics ? METRICS : "application/json", text, n);
    if (metrics) return complain(h, c, 500, "the metrics could not be put together", "look at the log");
    return complain(h, c, 404, "there is no such thing here",
                    "there are /metrics, /healthz, and on the JobManager "
                    "/v1/jobs, /v1/jobs/ID, /v1/taskmanagers, /v1/top");
}

/* ---- who comes ---- */

static void leave(wr_http *h, guest *g)
{
    if (g->state == GUEST_SILENT) h->silent--;
    if (g->state == GUEST_ASKED) h->asked--;
    g->state = GUEST_LEAVING;
}

/* libmicrohttpd notices that nothing comes any more, and closes it. */
static void turn_away(wr_http *h, guest *g, uint64_t *counter, const char *why)
{
    (*counter)++;
    wr_complain(&h->complaints, h->config.env, WR_LOG_INFO, "HTTP port", "closed a connection: %s", why);
    leave(h, g);
    shutdown(g->socket, SHUT_RDWR);
}

static void make_room(wr_http *h)
{
    bool   crowd = h->silent == WR_HALF_OPEN_MAX;
    guest *oldest = NULL;
    if (!crowd && h->silent + h->asked < WR_HTTP_CONNECTIONS_MAX) return;
    for (uint32_t i = 0; i < PLACES; i++) {
        guest *g = &h->guest[i];
        if (g->state != GUEST_SILENT && (crowd || g->state != GUEST_ASKED)) continue;
        if (oldest == NULL || g->order < oldest->order) oldest = g;
    }
    turn_away(h, oldest, &h->crowded, crowd ? "there are too many that say nothing" : "there are too many");
}

static void welcome(wr_http *h, guest *g, int socket)
{
    const wr_env *e = h->config.env;
    make_room(h);
    *g = (guest){.state = GUEST_SILENT,
                 .socket = socket,
                 .order = ++h->order,
                 .due_ns = e->mono_ns(e->self) + WR_GREETING_MS * INT64_C(1000000)};
    h->silent++;
}

static void on_connection(void *self, struct MHD_Connection *c, void **place, enum MHD_ConnectionNotificationCode what)
{
    wr_http *h = self;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        guest *g = h->guest;
        while (g < h->guest + PLACES && g->state != GUEST_NONE) g++;
        check(g < h->guest + PLACES); /* as many as libmicrohttpd lets in */
        *place = g;
        welcome(h, g, h->mhd.about(c, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd);
        return;
    }
    guest *g = *place;
    if (g->state == GUEST_SILENT && !h->ending) {
        h->garbage++;
        wr_complain(&h->complaints, h->config.env, WR_LOG_INFO, "HTTP port",
                    "closed a connection: it ended before a whole request, or that was none");
    }
    leave(h, g);
    g->state = GUEST_NONE;
}

static void has_asked(wr_http *h, struct MHD_Connection *c)
{
    guest *g = h->mhd.about(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    g->order = ++h->order;
    if (g->state != GUEST_SILENT) return;
    g->state = GUEST_ASKED;
    h->silent--;
    h->asked++;
}

static enum MHD_Result on_request(void *self, struct MHD_Connection *c, const char *url, const char *method,
                                  const char *version, const char *upload, size_t *upload_n, void **seen)
{
    wr_http *h = self;
    (void)version;
    (void)upload;
    if (*seen == NULL) { /* an answer now would end the connection; the second call comes behind the head */
        *seen = h;
        has_asked(h, c);
        return MHD_YES;
    }
    if (*upload_n > 0) { /* nobody wants it */
        *upload_n = 0;
        return MHD_YES;
    }
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        return complain(h, c, 405, "this port is for reading only", "use the command weir to change something");
    if (!meant_for_us(h, c))
        return complain(h, c, 403, "this port answers to localhost only", "reach it as 127.0.0.1, ::1 or localhost");
    return route(h, c, url);
}

/* ---- the server ---- */

static wr_err load(library *l, wr_errinfo *info)
{
    l->handle = dlopen("libmicrohttpd.so.12", RTLD_NOW | RTLD_LOCAL);
    if (l->handle == NULL)
        return wr_fail(info, WR_NOT_FOUND,
                       "libmicrohttpd is not there (%s), so /metrics is not served; install libmicrohttpd12",
                       dlerror());
#define LOAD_(MEMBER, NAME)                                                                                            \
    do {                                                                                                               \
        l->MEMBER = (__typeof__(l->MEMBER))(uintptr_t)dlsym(l->handle, #NAME);                                         \
        if (l->MEMBER == NULL) return wr_fail(info, WR_WRONG_ABI, "libmicrohttpd has no %s; is it 0.9?", #NAME);       \
    } while (0)
    LOAD_(start, MHD_start_daemon);
    LOAD_(stop, MHD_stop_daemon);
    LOAD_(run, MHD_run);
    LOAD_(timeout, MHD_get_timeout);
    LOAD_(info, MHD_get_daemon_info);
    LOAD_(respond, MHD_create_response_from_buffer);
    LOAD_(drop, MHD_destroy_response);
    LOAD_(queue, MHD_queue_response);
    LOAD_(header, MHD_add_response_header);
    LOAD_(lookup, MHD_lookup_connection_value);
    LOAD_(about, MHD_get_connection_info);
#undef LOAD_
    return WR_OK;
}

static wr_err listen_at(wr_http *h, int *socket, wr_errinfo *info)
{
    const wr_env *e = h->config.env;
    const char   *where = h->config.listen;
    char          host[WR_HOST_BYTES_MAX];
    uint16_t      port;
    WR_TRY(wr_address_split(where, host, &port, info));
    if (!h->config.insecure && !wr_address_loopback(where))
        return wr_fail(info, WR_CONFIG,
                       "%s can be reached by others, and HTTP has no TLS here; serve it at 127.0.0.1 and put a reverse "
                       "proxy in front, or say --insecure where the network is yours",
                       where);
    *socket = e->listen(e->self, where);
    if (*socket == -EADDRINUSE)
        return wr_fail(info, WR_BUSY, "the HTTP port %s is taken by another process; choose another one, or port 0",
                       where);
    if (*socket < 0) return wr_fail_errno(info, -*socket, "cannot listen for HTTP at %s", where);
    snprintf(h->address, sizeof h->address, strchr(host, ':') != NULL ? "[%s]:%d" : "%s:%d", host,
             e->port_of(e->self, *socket));
    return WR_OK;
}

static wr_err start(wr_http *h, wr_errinfo *info)
{
    int socket;
    WR_TRY(load(&h->mhd, info));
    WR_TRY(listen_at(h, &socket, info));
    h->daemon = h->mhd.start(MHD_USE_EPOLL, 0, NULL, NULL, on_request, h, MHD_OPTION_LISTEN_SOCKET, socket,
                             MHD_OPTION_NOTIFY_CONNECTION, on_connection, h, MHD_OPTION_CONNECTION_TIMEOUT,
                             WR_HTTP_TIMEOUT_S, MHD_OPTION_CONNECTION_LIMIT, PLACES, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                             (size_t)WR_HTTP_HEAD_BYTES_MAX, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
    if (h->daemon == NULL) {
        h->config.env->hang_up(h->config.env->self, socket);
        return wr_fail(info, WR_IO, "libmicrohttpd cannot serve %s", h->address);
    }
    const union MHD_DaemonInfo *about = h->mhd.info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    check(about != NULL);
    h->poller = about->epoll_fd;
    return WR_OK;
}

wr_err wr_http_new(wr_http **take, const wr_http_config *config, wr_errinfo *info)
{
    wr_http *h = calloc(1, sizeof *h);
    if (h == NULL) return wr_fail(info, WR_MEMORY, "no memory for the HTTP server");
    h->config = *config;
    h->started_s = (double)config->env->wall_ns(config->env->self) * 1e-9;
    wr_err err = start(h, info);
    if (err == WR_OK)
        *take = h;
    else
        wr_http_free(h);
    return err;
}

const char *wr_http_address(const wr_http *h)
{
    return h->address;
}

void wr_http_step(wr_http *h)
{
    int64_t now = h->config.env->mono_ns(h->config.env->self);
    for (uint32_t i = 0; h->silent > 0 && i < PLACES; i++) {
        guest *g = &h->guest[i];
        if (g->state == GUEST_SILENT && now >= g->due_ns) turn_away(h, g, &h->slow, "its request took too long");
    }
    h->mhd.run(h->daemon);
}

int wr_http_fd(const wr_http *h)
{
    return h->poller;
}

int64_t wr_http_wait_ns(const wr_http *h)
{
    const wr_env      *e = h->config.env;
    unsigned long long ms;
    int64_t            wait = h->mhd.timeout(h->daemon, &ms) == MHD_YES ? (int64_t)ms * 1000000 : -1;
    int64_t            now = h->silent > 0 ? e->mono_ns(e->self) : 0;
    for (uint32_t i = 0; h->silent > 0 && i < PLACES; i++) {
        if (h->guest[i].state != GUEST_SILENT) continue;
        int64_t left = h->guest[i].due_ns > now ? h->guest[i].due_ns - now : 0;
        if (wait < 0 || left < wait) wait = left;
    }
    return wait;
}

void wr_http_free(wr_http *h)
{
    if (h == NULL) return;
    h->ending = true;
    if (h->daemon != NULL) h->mhd.stop(h->daemon); /* closes the listener, too */
    /* The library stays open: it and its TLS library do not like to go. */
    free(h);
}
