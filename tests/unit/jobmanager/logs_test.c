/* weir logs: from all TaskManagers that may have some of it, and on with those that come. */
#include "tests/unit/jobmanager/jobmanager_kit.h"

static uint64_t running_on_one(void)
{
    join(1, 2);
    uint64_t job = submit("numbers", 1);
    run_all(job, 1, subtasks[0]);
    forget_sent();
    return job;
}

static void ask_logs(uint64_t job, bool follow, bool json)
{
    char       id[17];
    wr_message m = {.kind = WR_MSG_REQUEST, .request = 5};
    snprintf(id, sizeof id, "%016llx", (unsigned long long)job);
    m.ask = (wr_request){.verb = "logs", .job = id, .path = "", .follow = follow, .json = json};
    say(CLIENT, &m);
}

/* The log of a TaskManager, from where it is asked for. Whether it was asked. */
static bool answer(uint64_t tm, const char *log)
{
    const wr_message *get = last(WR_MSG_LOG_GET, tm);
    if (get == NULL) return false;
    wr_message m = {.kind = WR_MSG_LOG, .job = get->job, .request = get->request};
    uint64_t   n = strlen(log), at = get->log.offset < n ? get->log.offset : n;
    m.log = (wr_log_piece){.offset = at, .end = n, .data = log + at, .data_bytes = (uint32_t)(n - at)};
    say(tm, &m);
    return true;
}

static void come_as(uint64_t tm, const char *name)
{
    wr_message m = {.kind = WR_MSG_REGISTER,
                    .reg = {.tm = tm, .name = name, .data = "127.0.0.1:7000", .http = "", .slots = 2, .pid = 1}};
    say(tm, &m);
    forget_sent();
}

/* What the client was told since, joined. */
static const char *told(void)
{
    static char text[4096];
    size_t      n = 0;
    for (uint32_t i = 0; i < outs; i++) {
        const wr_message *m = &outbox[i].m;
        if (outbox[i].peer != CLIENT || m->kind != WR_MSG_PROGRESS) continue;
        assert_in_range(n + m->reply.out_bytes, 0, sizeof text - 1);
        memcpy(text + n, m->reply.out, m->reply.out_bytes);
        n += m->reply.out_bytes;
    }
    text[n] = 0;
    return text;
}

/* Asks for what was written meanwhile, and gets it: by TaskManager, NULL: it is not asked. */
static void round_of(const char *log[4])
{
    forget_sent();
    pass_ms(300);
    const wr_message *get[4] = {NULL};
    for (uint64_t tm = 1; tm < 4; tm++) {
        get[tm] = last(WR_MSG_LOG_GET, tm);
        assert_true((get[tm] != NULL) == (log[tm] != NULL));
    }
    for (uint64_t tm = 1; tm < 4; tm++) {
        if (get[tm] == NULL) continue;
        wr_message m = {.kind = WR_MSG_LOG, .job = get[tm]->job, .request = get[tm]->request};
        uint64_t   n = strlen(log[tm]), at = get[tm]->log.offset < n ? get[tm]->log.offset : n;
        m.log = (wr_log_piece){.offset = at, .end = n, .data = log[tm] + at, .data_bytes = (uint32_t)(n - at)};
        say(tm, &m);
    }
}

static void followers_see_who_comes(void **state)
{
    (void)state;
    uint64_t job = running_on_one();
    ask_logs(job, true, false);
    assert_true(answer(1, "one\n"));
    assert_string_equal(told(), "one\n");
    come_as(2, "other");
    round_of((const char *[4]){[1] = "one\ntwo\n", [2] = "three\n"});
    assert_string_equal(told(), "two\n==> other <==\nthree\n"); /* the first stands below its own words */
    /* One goes, and comes back under another number: its log goes on where it was. */
    hang_up(1);
    round_of((const char *[4]){[2] = "three\n"});
    assert_string_equal(told(), "");
    come_as(3, "host:1");
    round_of((const char *[4]){[2] = "three\n", [3] = "one\ntwo\nfour\n"});
    assert_string_equal(told(), "==> host:1 <==\nfour\n");
    assert_null(last(WR_MSG_REPLY, CLIENT));
}

/* What is written between the last look and the end of the job is told, too. */
static void followers_hear_the_end(void **state)
{
    (void)state;
    uint64_t job = running_on_one();
    ask_logs(job, true, false);
    assert_true(answer(1, "one\n"));
    forget_sent();
    pass_ms(300);
    const wr_message *get = last(WR_MSG_LOG_GET, 1);
    assert_non_null(get);
    wr_message m = {.kind = WR_MSG_LOG, .job = job, .request = get->request};
    m.log = (wr_log_piece){.offset = 4, .end = 4, .data = ""};
    request("cancel", job, false);
    report_all(job, 1, subtasks[0], WR_TASK_CANCELED);
    forget_sent();
    say(1, &m); /* as it was before it was canceled */
    pass_ms(1);
    assert_true(answer(1, "one\nits last words\n"));
    assert_string_equal(told(), "its last words\n");
    assert_int_equal(last(WR_MSG_REPLY, CLIENT)->reply.info.code, WR_OK);
}

/* The JobManager knows nothing of the workers of a job that ended before it began to lead; the TaskManagers have the
 * files. */
static void logs_of_before(void **state)
{
    (void)state;
    uint64_t job = running_on_one();
    request("cancel", job, false);
    report_all(job, 1, subtasks[0], WR_TASK_CANCELED);
    close_jm();
    open_jm();
    ask_logs(job, false, false);
    assert_int_equal(last(WR_MSG_REPLY, CLIENT)->reply.info.code, WR_NOT_FOUND); /* there is nobody to ask */
    forget_sent();
    join(1, 2);
    ask_logs(job, false, false);
    assert_true(answer(1, "what happened\n"));
    assert_string_equal(told(), "what happened\n");
    assert_int_equal(last(WR_MSG_REPLY, CLIENT)->reply.info.code, WR_OK);
}

static void logs_as_json(void **state)
{
    (void)state;
    uint64_t job = running_on_one();
    ask_logs(job, false, true);
    assert_true(answer(1, "said \"so\"\n"));
    assert_string_equal(told(), "{\"taskmanager\":\"host:1\",\"offset\":0,\"text\":\"said \\\"so\\\"\\n\"}\n");
    assert_int_equal(last(WR_MSG_REPLY, CLIENT)->reply.info.code, WR_OK);
}

/* A folder that was made anew is told from its start. */
static void another_log_under_the_same_name(void **state)
{
    (void)state;
    uint64_t job = running_on_one();
    ask_logs(job, true, false);
    assert_true(answer(1, "a long one\n"));
    hang_up(1);
    come_as(2, "host:1");
    round_of((const char *[4]){[2] = "new\n"});
    assert_true(answer(2, "new\n"));
    assert_string_equal(told(), "new\n");
}

/* How often a client was told of a part that is not here. */
static uint32_t told_away(const char *name)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < outs; i++) {
        const wr_message *m = &outbox[i].m;
        bool              away = m->kind == WR_MSG_PROGRESS && m->reply.info.code == WR_NOT_FOUND;
        n += away && strstr(m->reply.info.text, name) != NULL;
    }
    return n;
}

/* One TaskManager had the job, and has gone; the other never had. */
static void what_is_not_here_is_said(void **state)
{
    (void)state;
    uint64_t job = running_on_one();
    ask_logs(job, true, false);
    assert_true(answer(1, "one\n"));
    come_as(2, "other");
    request("cancel", job, false);
    report_all(job, 1, subtasks[0], WR_TASK_CANCELED);
    forget_sent();
    hang_up(1);
    assert_int_equal(told_away("host:1"), 1); /* to the follower */
    pass_ms(300);
    assert_true(answer(2, ""));
    forget_sent();
    ask_logs(job, false, false);
    assert_true(answer(2, ""));
    assert_int_equal(told_away("host:1"), 1);
    assert_int_equal(told_away("other"), 0);
    assert_int_equal(last(WR_MSG_REPLY, CLIENT)->reply.info.code, WR_NOT_FOUND);
    forget_sent();
    ask_logs(job, false, true);
    assert_true(answer(2, ""));
    assert_int_equal(told_away("host:1"), 1);
    assert_string_equal(told(), "{\"taskmanager\":\"host:1\",\"offset\":0,\"text\":\"\",\"away\":true}\n");
    hang_up(2);
    forget_sent();
    ask_logs(job, true, false);
    assert_int_equal(last(WR_MSG_REPLY, CLIENT)->reply.info.code, WR_NOT_FOUND); /* nobody comes with more */
    come_as(3, "host:1");
    ask_logs(job, false, false);
    assert_int_equal(told_away("host:1"), 0);
    assert_true(answer(3, "one\n"));
    assert_int_equal(last(WR_MSG_REPLY, CLIENT)->reply.info.code, WR_OK);
}

static int end_all(void **state)
{
    (void)state;
    free_graphs();
    return 0;
}

int main(void)
{
#define T(NAME) cmocka_unit_test_setup_teardown(NAME, begin, finish)
    const struct CMUnitTest tests[] = {
        T(followers_see_who_comes),         T(followers_hear_the_end),  T(logs_of_before), T(logs_as_json),
        T(another_log_under_the_same_name), T(what_is_not_here_is_said)};
    return cmocka_run_group_tests(tests, NULL, end_all);
}
