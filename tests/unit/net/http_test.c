/* The HTTP port: what it answers, and what it does about everything else that comes. */
#include "net/http.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* One test's server, and its answers. */
typedef struct fixture {
    const wr_env *env;
    wr_parker     parker;
    wr_http      *http;
    char          asked[128];
    uint32_t      times;
} fixture;

static char *read_it(void *self, const char *what, size_t *n)
{
    fixture *f = self;
    f->times++;
    snprintf(f->asked, sizeof f->asked, "%s", what);
    if (strcmp(what, "metrics") != 0 && strncmp(what, "jobs", 4) != 0) return NULL;
    char *text = strdup(what[0] == 'm' ? "weir_test 1\n" : "[\"a job\"]\n");
    *n = strlen(text);
    return text;
}

static void begin(fixture *f)
{
    *f = (fixture){.env = wr_env_real()};
    assert_int_equal(f->env->parker_init(f->env->self, &f->parker), 0);
    wr_http_config config = {.env = f->env, .listen = "127.0.0.1:0", .read = read_it, .self = f};
    wr_errinfo     info = {0};
    if (wr_http_new(&f->http, &config, &info) != WR_OK) fail_msg("%s", info.text);
}

static void finish(fixture *f)
{
    wr_http_free(f->http);
    f->env->parker_fini(f->env->self, &f->parker);
}

static void turn(fixture *f)
{
    int     fd = wr_http_fd(f->http);
    int64_t wait = wr_http_wait_ns(f->http);
    wr_parker_prepare(&f->parker);
    f->env->park_fds(f->env->self, &f->parker, wait < 0 || wait > 5000000 ? 5000000 : wait, &fd, 1);
    wr_http_step(f->http);
}

static int call(fixture *f)
{
    const wr_env *e = f->env;
    int           s = e->connect(e->self, wr_http_address(f->http));
    assert_true(s >= 0);
    while (e->connected(e->self, s) == -EAGAIN) turn(f);
    return s;
}

/* Everything until the server hangs up, or until `enough` stands in it. */
static const char *hear(fixture *f, int s, const char *enough)
{
    static char text[65536];
    size_t      n = 0;
    int64_t     until = f->env->mono_ns(f->env->self) + 20000000000;
    for (;;) {
        text[n] = 0;
        if (enough != NULL && strstr(text, enough) != NULL) return text;
        int64_t more = f->env->receive(f->env->self, s, &(wr_span){text + n, sizeof text - 1 - n}, 1);
        if (more == 0 || (more < 0 && more != -EAGAIN)) return text;
        if (more > 0) n += (size_t)more;
        if (more == -EAGAIN) turn(f);
        assert_true(f->env->mono_ns(f->env->self) < until);
    }
}

static void say(fixture *f, int s, const char *text)
{
    assert_int_equal(f->env->send(f->env->self, s, &(wr_span){(void *)(uintptr_t)text, strlen(text)}, 1), strlen(text));
}

static const char *ask(fixture *f, const char *request)
{
    int s = call(f);
    say(f, s, request);
    const char *text = hear(f, s, NULL);
    f->env->hang_up(f->env->self, s);
    return text;
}

#define GET(PATH) "GET " PATH " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

static void metrics_and_json(void **state)
{
    (void)state;
    fixture f;
    begin(&f);
    const char *text = ask(&f, GET("/metrics"));
    assert_non_null(strstr(text, "HTTP/1.1 200 "));
    assert_non_null(strstr(text, "text/plain; version=0.0.4"));
    assert_non_null(strstr(text, "\nweir_test 1\n"));
    assert_non_null(strstr(text, "\nweir_build_info{version="));
    assert_non_null(strstr(text, "\n# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total "));
    assert_non_null(strstr(text, "\nprocess_threads 1\n"));
    assert_non_null(strstr(text, "\nweir_http_requests_total{code=\"200\"} 0\n"));
    text = ask(&f, GET("/v1/jobs/a%20b/top?x=1"));
    assert_non_null(strstr(text, "HTTP/1.1 400 "));
    text = ask(&f, GET("/v1/jobs/abc/top?x=1"));
    assert_non_null(strstr(text, "HTTP/1.1 200 "));
    assert_non_null(strstr(text, "application/json"));
    assert_non_null(strstr(text, "\r\n\r\n[\"a job\"]\n"));
    assert_string_equal(f.asked, "jobs/abc/top");
    assert_non_null(strstr(ask(&f, GET("/healthz")), "\r\n\r\nok\n"));
    text = ask(&f, "HEAD /metrics HTTP/1.1\r\nHost: 127.0.0.1:1\r\nConnection: close\r\n\r\n");
    assert_non_null(strstr(text, "HTTP/1.1 200 "));
    assert_null(strstr(text, "weir_test"));
    assert_non_null(strstr(ask(&f, GET("/metrics")), "\nweir_http_requests_total{code=\"200\"} 4\n"));
    finish(&f);
}

static void what_is_not_there(void **state)
{
    (void)state;
    fixture f;
    begin(&f);
    static const char *const NONE[] = {GET("/"),     GET("/v1"),         GET("/v1/"),          GET("/v1/metrics"),
                                       GET("/v1/x"), GET("/etc/passwd"), GET("/v1/../metrics")};
    for (size_t i = 0; i < sizeof NONE / sizeof NONE[0]; i++) {
        const char *text = ask(&f, NONE[i]);
        assert_non_null(strstr(text, "HTTP/1.1 404 "));
        assert_non_null(strstr(text, "{\"code\":404,"));
    }
    const char *text = ask(
        &f, "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc");
    assert_non_null(strstr(text, "HTTP/1.1 405 "));
    assert_non_null(strstr(text, "Allow: GET, HEAD"));
    text = ask(&f, "DELETE /v1/jobs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_non_null(strstr(text, "HTTP/1.1 405 "));
    finish(&f);
}

/* A name server that points a stranger's name at us. */
static void other_names_are_refused(void **state)
{
    (void)state;
    fixture f;
    begin(&f);
    static const char *const HOSTS[] = {"evil.example", "evil.example:8081", "10.0.0.1", "localhost.evil.example", ""};
    for (size_t i = 0; i < sizeof HOSTS / sizeof HOSTS[0]; i++) {
        char request[256];
        snprintf(request, sizeof request, "GET /metrics HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", HOSTS[i]);
        assert_non_null(strstr(ask(&f, request), "HTTP/1.1 403 "));
    }
    assert_int_equal(f.times, 0);
    assert_non_null(strstr(ask(&f, "GET /metrics HTTP/1.1\r\nHost: [::1]:80\r\nConnection: close\r\n\r\n"), " 200 "));
    assert_non_null(strstr(ask(&f, "GET /metrics HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\n\r\n"), " 200 "));
    finish(&f);
}

static void connections_are_kept(void **state)
{
    (void)state;
    fixture f;
    begin(&f);
    int s = call(&f);
    for (uint32_t i = 1; i <= 20; i++) {
        say(&f, s, "GET /v1/jobs HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_non_null(strstr(hear(&f, s, "[\"a job\"]\n"), " 200 "));
        assert_int_equal(f.times, i);
    }
    f.env->hang_up(f.env->self, s);
    finish(&f);
}

static void nonsense(void **state)
{
    (void)state;
    fixture f;
    begin(&f);
    static const char *const WRONG[] = {"\r\n\r\nhello there\r\n\r\n", "GET\r\n\r\n", "GET /metrics HTTP/1.1\r\n\r\n",
                                        "\x16\x03\x01\x02\x01\x01\xfc\x03\r\n\r\n"};
    for (size_t i = 0; i < sizeof WRONG / sizeof WRONG[0]; i++) {
        int s = call(&f);
        say(&f, s, WRONG[i]);
        assert_non_null(strstr(ask(&f, GET("/healthz")), " 200 ")); /* whatever becomes of that one */
        char    heard[4096] = {0};
        int64_t n = f.env->receive(f.env->self, s, &(wr_span){heard, sizeof heard - 1}, 1);
        assert_true(n <= 0 || strstr(heard, " 200 ") == NULL);
        f.env->hang_up(f.env->self, s);
    }
    char *large = malloc(40000);
    assert_non_null(large);
    int n = snprintf(large, 40000, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: ");
    memset(large + n, 'x', 39999 - (size_t)n);
    memcpy(large + 39990, "\r\n\r\n", 5);
    int s = call(&f);
    f.env->send(f.env->self, s, &(wr_span){large, strlen(large)}, 1);
    assert_null(strstr(hear(&f, s, NULL), " 200 "));
    f.env->hang_up(f.env->self, s);
    free(large);
    assert_int_equal(f.times, 0);
    assert_non_null(strstr(ask(&f, GET("/metrics")), " 200 "));
    finish(&f);
}

/* More than may wait, all silent: the oldest make room, and who asks gets an answer while the others are there. */
static void many_that_say_nothing(void **state)
{
    (void)state;
    enum { COUNT = 3 * WR_HALF_OPEN_MAX };
    fixture f;
    int     s[COUNT];
    begin(&f);
    int friend = call(&f); /* who has asked is none of them */
    say(&f, friend, "GET /v1/jobs HTTP/1.1\r\nHost: localhost\r\n\r\n");
    hear(&f, friend, "[\"a job\"]\n");
    for (uint32_t i = 0; i < COUNT; i++) {
        s[i] = call(&f);
        if (i < 4) f.env->send(f.env->self, s[i], &(wr_span){"GET /me", 7}, 1);
        turn(&f);
    }
    assert_non_null(strstr(ask(&f, GET("/healthz")), " 200 "));
    for (uint32_t i = 0; i <= COUNT - WR_HALF_OPEN_MAX; i++) assert_string_equal(hear(&f, s[i], NULL), "");
    assert_non_null(strstr(ask(&f, GET("/metrics")), "weir_http_refused_total{reason=\"too_many\"} 257\n"));
    say(&f, friend, "GET /v1/jobs HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_non_null(strstr(hear(&f, friend, "[\"a job\"]\n"), " 200 "));
    for (uint32_t i = 0; i < COUNT; i++) f.env->hang_up(f.env->self, s[i]);
    f.env->hang_up(f.env->self, friend);
    finish(&f);
}

/* All have asked once, and stay. */
static void many_that_stay(void **state)
{
    (void)state;
    fixture f;
    int     s[WR_HTTP_CONNECTIONS_MAX];
    begin(&f);
    for (uint32_t i = 0; i < WR_HTTP_CONNECTIONS_MAX; i++) {
        s[i] = call(&f);
        say(&f, s[i], "GET /v1/jobs HTTP/1.1\r\nHost: localhost\r\n\r\n");
        hear(&f, s[i], "[\"a job\"]\n");
    }
    assert_non_null(strstr(ask(&f, GET("/metrics")), "weir_http_refused_total{reason=\"too_many\"} 1\n"));
    assert_string_equal(hear(&f, s[0], NULL), "");
    for (uint32_t i = 0; i < WR_HTTP_CONNECTIONS_MAX; i++) f.env->hang_up(f.env->self, s[i]);
    finish(&f);
}

/* A byte now and then does not buy more time. */
static void slow_ones(void **state)
{
    (void)state;
    fixture f;
    begin(&f);
    int     s = call(&f);
    int64_t now = f.env->mono_ns(f.env->self), until = now + 3 * WR_GREETING_MS * INT64_C(1000000), next = now;
    say(&f, s, "GET /metrics HTTP/1.1\r\nX: ");
    for (int64_t heard = -EAGAIN; heard != 0; now = f.env->mono_ns(f.env->self)) {
        char byte;
        assert_true(now < until);
        if (now >= next) {
            f.env->send(f.env->self, s, &(wr_span){"x", 1}, 1);
            next = now + 100000000;
        }
        turn(&f);
        heard = f.env->receive(f.env->self, s, &(wr_span){&byte, 1}, 1);
        assert_true(heard == 0 || heard == -EAGAIN);
    }
    assert_non_null(strstr(ask(&f, GET("/metrics")), "weir_http_refused_total{reason=\"slow\"} 1\n"));
    f.env->hang_up(f.env->self, s);
    finish(&f);
}

static void wrong_addresses(void **state)
{
    (void)state;
    fixture    f;
    wr_http   *other;
    wr_errinfo info = {0};
    begin(&f);
    wr_http_config config = {.env = f.env, .listen = "0.0.0.0:0", .read = read_it, .self = &f};
    assert_int_equal(wr_http_new(&other, &config, &info), WR_CONFIG);
    assert_non_null(strstr(info.text, "--insecure"));
    config.listen = "nonsense";
    assert_int_equal(wr_http_new(&other, &config, NULL), WR_CONFIG);
    config.listen = wr_http_address(f.http);
    assert_int_equal(wr_http_new(&other, &config, NULL), WR_BUSY);
    config.listen = "0.0.0.0:0";
    config.insecure = true;
    assert_int_equal(wr_http_new(&other, &config, NULL), WR_OK);
    wr_http_free(other);
    finish(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metrics_and_json),
        cmocka_unit_test(what_is_not_there),
        cmocka_unit_test(other_names_are_refused),
        cmocka_unit_test(connections_are_kept),
        cmocka_unit_test(nonsense),
        cmocka_unit_test(many_that_say_nothing),
        cmocka_unit_test(many_that_stay),
        cmocka_unit_test(slow_ones),
        cmocka_unit_test(wrong_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
