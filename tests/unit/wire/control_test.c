/* Messages: each kind there and back, its golden file, every flip and every truncation, what is refused. */
#include "base/limits.h"
#include "wire/pack.h"
#include "wire/schema.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include "tests/unit/wire/control_sample.h"
#include <cmocka.h>

static char *encoded(const wr_message *m, size_t *n)
{
    char      *bytes = NULL;
    wr_errinfo info = {0};
    if (wr_message_encode(m, &bytes, n, &info) != WR_OK) fail_msg("%s", info.text);
    return bytes;
}

/* In a block of its own, so that ASan sees a read behind the end, and a pointer into it after it went. */
static wr_err decoded(wr_message *m, const char *bytes, size_t n, wr_errinfo *info)
{
    char *copy = calloc(n > 0 ? n : 1, 1);
    if (n > 0) memcpy(copy, bytes, n);
    wr_err err = wr_message_decode(m, copy, n, info);
    memset(copy, 0x55, n);
    free(copy);
    return err;
}

static void every_kind(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < SAMPLES; i++) {
        wr_message m, back;
        wr_errinfo info = {0};
        size_t     n, k;
        control_sample(&m, i);
        char *one = encoded(&m, &n);
        if (decoded(&back, one, n, &info) != WR_OK) fail_msg("%s: %s", wr_message_name(m.kind), info.text);
        assert_int_equal(back.kind, m.kind);
        assert_true(back.leader == 5 && back.job == m.job && back.attempt == 3 && back.request == 42);
        char *two = encoded(&back, &k);
        assert_int_equal(n, k);
        assert_memory_equal(one, two, n);
        free(one);
        free(two);
        wr_message_free(&back);
        wr_message_free(&back);
    }
    assert_string_equal(wr_message_name(WR_MSG_BLOB_PUT), "BLOB_PUT");
    assert_string_equal(wr_message_name(99), "?");
}

/* The bytes being the same, members could still have been forgotten on both ways. */
static void members(void **state)
{
    (void)state;
    wr_errinfo info = {0};
    wr_message m, back;
    size_t     n;
    for (uint32_t i = 0; i < SAMPLES; i++) {
        control_sample(&m, i);
        char *bytes = encoded(&m, &n);
        assert_int_equal(decoded(&back, bytes, n, &info), WR_OK);
        free(bytes);
        if (m.kind == WR_MSG_HELLO) {
            assert_memory_equal(back.greeting.nonce, m.greeting.nonce, 32);
            assert_memory_equal(back.greeting.mac, m.greeting.mac, 32);
            assert_int_equal(back.greeting.role, WR_ROLE_TASKMANAGER);
        } else if (m.kind == WR_MSG_REGISTER) {
            assert_int_equal(back.reg.workers, 2);
            assert_true(back.reg.worker[0].job == 0x1122334455667788 && back.reg.worker[1].tasks == 0);
            assert_int_equal(back.reg.worker[0].task[1].info.code, WR_CRASH);
            assert_string_equal(back.reg.worker[0].task[1].info.text, "it crashed; in 'count'");
        } else if (m.kind == WR_MSG_HEARD) {
            assert_true(back.seq == UINT64_MAX);
        } else if (m.kind == WR_MSG_LEASE) {
            assert_true(back.until_mono_ns == m.until_mono_ns);
        } else if (m.kind == WR_MSG_STATS) {
            assert_true(back.stats.metric[0].value == -12.5 && back.stats.metric[1].count == UINT64_MAX);
            assert_true(back.stats.op[0].watermark == WEIR_NO_TIME && back.stats.op[0].keys == 12);
            assert_string_equal(back.stats.op[0].held, "split old.txt");
            assert_true(back.stats.task[0].back_pressured_ns == 300 && back.stats.received_bytes == 6);
        } else if (m.kind == WR_MSG_DEPLOY) {
            const wr_job_spec *s = &back.deploy.spec, *t = &m.deploy.spec;
            assert_int_equal(back.deploy.places, 2);
            assert_string_equal(back.deploy.place[1].data, "[::1]:40002");
            assert_memory_equal(s->graph, t->graph, 11);
            assert_string_equal(s->arg[1], "unit=");
            assert_string_equal(s->set[0], control_sets[0]);
            assert_string_equal(s->file[1].name, "cities.csv");
            assert_memory_equal(s->module.digest, t->module.digest, 32);
            assert_true(s->allow_non_restored && s->restart_factor_permille == 1500 && s->snapshots_keep == 3);
        }
        wr_message_free(&back);
    }
}

/* It can be kept when its message goes. */
static void kept_ack(void **state)
{
    (void)state;
    wr_errinfo info = {0};
    wr_message m = {.kind = WR_MSG_ACK, .ack = &control_ack}, back;
    size_t     n;
    char      *bytes = encoded(&m, &n);
    assert_int_equal(decoded(&back, bytes, n, &info), WR_OK);
    free(bytes);
    wr_ack *ack = back.ack;
    back.ack = NULL;
    wr_message_free(&back);
    assert_int_equal(ack->ops, 2);
    assert_true(wr_schema_same(ack->op[0].state, &sample_state) && wr_schema_same(ack->op[0].record, &sample_word));
    assert_memory_equal(ack->op[0].key, &control_key, sizeof control_key.count + 2 * sizeof control_key.field[0]);
    assert_null(ack->op[1].record);
    assert_int_equal(ack->op[1].items, 2);
    assert_memory_equal(ack->op[1].item[1].data, "\0\1\2", 3);
    assert_string_equal(ack->file.name, control_ack.file.name);
    assert_memory_equal(ack->file.hash, control_ack.file.hash, 16);
    assert_true(ack->ended && ack->file.increment && ack->bytes_full == 1 << 20);
    wr_ack_free(ack);
}

static void golden(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < SAMPLES; i++) {
        char       path[100];
        wr_message m, back;
        wr_errinfo info = {0};
        size_t     n;
        control_sample(&m, i);
        snprintf(path, sizeof path, "tests/golden/control1/%s", wr_message_name(m.kind));
        char *bytes = encoded(&m, &n);
        if (!sample_is_golden(path, bytes, n)) fail_msg("%s is another one", path);
        free(bytes);
        bytes = sample_file(path, &n);
        assert_non_null(bytes);
        assert_int_equal(decoded(&back, bytes, n, &info), WR_OK);
        free(bytes);
        wr_message_free(&back);
    }
}

/* Refused in words, or something that can be said again. */
static void assert_sound(const char *bytes, size_t n)
{
    wr_message m;
    wr_errinfo info = {0};
    wr_err     err = decoded(&m, bytes, n, &info);
    if (err != WR_OK) {
        assert_true((err == WR_DAMAGED || err == WR_NEWER) && info.code == err && info.text[0] != 0);
        assert_null(m.arena.chunk);
        return;
    }
    size_t k;
    free(encoded(&m, &k));
    wr_message_free(&m);
}

static void flips_and_truncations(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < SAMPLES; i++) {
        wr_message m;
        wr_errinfo info = {0};
        size_t     n;
        control_sample(&m, i);
        char *bytes = encoded(&m, &n);
        for (size_t k = 0; k < n; k++) assert_int_equal(decoded(&m, bytes, k, &info), WR_DAMAGED);
        for (size_t k = 0; k < n; k++) {
            static const char with[] = {1, (char)0x80, (char)0xff, 0x10};
            for (size_t w = 0; w < sizeof with; w++) {
                bytes[k] ^= with[w];
                assert_sound(bytes, n);
                bytes[k] ^= with[w];
            }
        }
        free(bytes);
    }
}

static void pack_head(wr_pack *p, uint32_t kind, uint32_t members)
{
    *p = (wr_pack){0};
    wr_pack_map(p, 6 + members);
    const char *const key[] = {"kind", "leader", "job", "attempt", "request"};
    for (uint32_t i = 0; i < 5; i++) {
        wr_pack_str(p, key[i]);
        wr_pack_u64(p, i == 0 ? kind : 7);
    }
}

static void assert_refused(wr_pack *p, wr_err err, const char *why)
{
    wr_message m;
    wr_errinfo info = {0};
    assert_int_equal(decoded(&m, p->data, p->bytes, &info), err);
    if (strstr(info.text, why) == NULL) fail_msg("'%s' is not in: %s", why, info.text);
    wr_pack_free(p);
}

/* What a later version adds is stepped over; what it invents is told apart from damage. */
static void later_versions(void **state)
{
    (void)state;
    wr_pack    p;
    wr_message m;
    wr_errinfo info = {0};
    pack_head(&p, WR_MSG_HEARTBEAT, 1);
    wr_pack_str(&p, "zone");
    wr_pack_str(&p, "north");
    wr_pack_str(&p, "body");
    wr_pack_map(&p, 2);
    wr_pack_str(&p, "mood");
    wr_pack_array(&p, 1);
    wr_pack_map(&p, 0);
    wr_pack_str(&p, "seq");
    wr_pack_u64(&p, 12);
    assert_int_equal(decoded(&m, p.data, p.bytes, &info), WR_OK);
    assert_true(m.seq == 12 && m.leader == 7);
    wr_message_free(&m);
    wr_pack_free(&p);
    pack_head(&p, 200, 0);
    wr_pack_str(&p, "body");
    wr_pack_nil(&p);
    assert_refused(&p, WR_NEWER, "kind 200");
    pack_head(&p, WR_MSG_HEARTBEAT, 0);
    wr_pack_str(&p, "body");
    wr_pack_map(&p, 0);
    assert_refused(&p, WR_DAMAGED, "a member is missing");
}

static void counts_without_bytes(void **state)
{
    (void)state;
    wr_pack p;
    /* A list of reports that claims to be long: no memory is taken for what is not there. */
    pack_head(&p, WR_MSG_REPORT, 0);
    wr_pack_str(&p, "body");
    wr_pack_map(&p, 1);
    wr_pack_str(&p, "task");
    wr_pack_raw(&p, "\xdd\x00\x0f\xff\xff", 5);
    assert_refused(&p, WR_DAMAGED, "it ends where a value should begin");
    pack_head(&p, WR_MSG_REPORT, 0);
    wr_pack_str(&p, "body");
    wr_pack_map(&p, 1);
    wr_pack_str(&p, "task");
    wr_pack_array(&p, 1000000); /* of 1 KB each in memory */
    for (int i = 0; i < 1000000; i++) wr_pack_map(&p, 0);
    assert_refused(&p, WR_DAMAGED, "more memory than a message may");
}

static void assert_not_sent(const wr_message *m, const char *member)
{
    char      *bytes = NULL;
    size_t     n = 0;
    wr_errinfo info = {0};
    assert_int_equal(wr_message_encode(m, &bytes, &n, &info), WR_LIMIT);
    if (strstr(info.text, member) == NULL) fail_msg("'%s' is not in: %s", member, info.text);
}

static void bounds_hold_when_sending(void **state)
{
    (void)state;
    char *large = calloc(1, WR_BLOB_PIECE_BYTES + 1), name[WR_NAME_BYTES_MAX + 2] = {0};
    memset(name, 'x', WR_NAME_BYTES_MAX + 1);
    wr_message m = {.kind = WR_MSG_BLOB_PUT,
                    .blob = {.bytes = 1 << 20, .data = large, .data_bytes = WR_BLOB_PIECE_BYTES + 1}};
    assert_not_sent(&m, "data");
    m = (wr_message){.kind = WR_MSG_REQUEST, .ask = {.verb = "list", .job = name}};
    assert_not_sent(&m, "job");
    m = (wr_message){.kind = WR_MSG_REQUEST, .ask = {.verb = "submit", .spec = control_spec()}};
    m.ask.spec.parallelism = WR_PARALLELISM_MAX + 1;
    assert_not_sent(&m, "parallelism");
    m = (wr_message){.kind = WR_MSG_REGISTER, .reg = {.tm = 1, .name = "n", .slots = WR_SLOTS_MAX + 1}};
    assert_not_sent(&m, "slots");
    m = (wr_message){.kind = WR_MSG_REGISTER,
                     .reg = {.tm = 1, .name = "n", .slots = 1, .workers = WR_TM_WORKERS_MAX + 1}};
    assert_not_sent(&m, "worker");
    m = (wr_message){.kind = WR_MSG_ORDER, .order = {.verb = 99}};
    assert_not_sent(&m, "verb");
    free(large);
}

/* What no single member shows. */
static void what_makes_no_sense(void **state)
{
    (void)state;
    static const char *const bad_names[] = {"", ".", "..", "a/b", "/etc/passwd"};
    wr_message               m;
    for (size_t i = 0; i < sizeof bad_names / sizeof bad_names[0]; i++) {
        m = (wr_message){.kind = WR_MSG_REQUEST, .ask = {.verb = "submit", .spec = control_spec()}};
        m.ask.spec.module.name = bad_names[i];
        assert_not_sent(&m, "a file's name is none");
    }
    m = (wr_message){.kind = WR_MSG_REQUEST, .ask = {.verb = "submit", .spec = control_spec()}};
    m.ask.spec.module.name = "cities.csv";
    assert_not_sent(&m, "two files of a job have the same name");
    m = (wr_message){.kind = WR_MSG_ORDER, .order = {.verb = WR_DO_TRIGGER, .barrier = {.id = 1}}};
    assert_not_sent(&m, "of no kind");
    m.order = (wr_worker_order){.verb = WR_DO_ABORT};
    assert_not_sent(&m, "names none");
    m = (wr_message){.kind = WR_MSG_BLOB_PUT, .blob = {.bytes = 9, .offset = 5, .data = "hello", .data_bytes = 5}};
    assert_not_sent(&m, "behind its file");
    wr_ack ack = control_ack;
    snprintf(ack.file.name, sizeof ack.file.name, "../x");
    m = (wr_message){.kind = WR_MSG_ACK, .ack = &ack};
    assert_not_sent(&m, "a file's name is none");
    wr_task_report report = {.subtask = 1};
    m = (wr_message){.kind = WR_MSG_REPORT, .report = {&report, 1}};
    assert_not_sent(&m, "has no state");
}

/* Without a spec, an empty text where nothing was said. */
static void short_request(void **state)
{
    (void)state;
    wr_message m = {.kind = WR_MSG_REQUEST, .ask = {.verb = "list"}}, back;
    wr_errinfo info = {0};
    size_t     n;
    char      *bytes = encoded(&m, &n);
    assert_int_equal(decoded(&back, bytes, n, &info), WR_OK);
    assert_string_equal(back.ask.verb, "list");
    assert_string_equal(back.ask.job, "");
    assert_null(back.ask.spec.module.name);
    assert_null(back.ask.spec.name);
    wr_message_free(&back);
    free(bytes);
}

static void spec_by_itself(void **state)
{
    (void)state;
    wr_job_spec spec = control_spec(), back;
    wr_arena    arena = {0};
    wr_errinfo  info = {0};
    char       *bytes, *again;
    size_t      n, k;
    assert_int_equal(wr_job_spec_encode(&spec, &bytes, &n, &info), WR_OK);
    assert_true(sample_is_golden("tests/golden/control1/job-spec", bytes, n));
    for (size_t i = 0; i < n; i++) {
        wr_errinfo why = {0};
        assert_int_equal(wr_job_spec_decode(&back, &arena, bytes, i, &why), WR_DAMAGED);
    }
    assert_int_equal(wr_job_spec_decode(&back, &arena, bytes, n, &info), WR_OK);
    assert_int_equal(wr_job_spec_encode(&back, &again, &k, &info), WR_OK);
    assert_int_equal(n, k);
    assert_memory_equal(bytes, again, n);
    free(bytes);
    free(again);
    wr_arena_fini(&arena);
}

/* Every member of the value, at any depth, stands on the page between backquotes. */
static void assert_told(wr_unpack *u, const char *page)
{
    uint8_t tag = (uint8_t)*u->at;
    if ((tag & 0xf0) == 0x80 || tag == 0xde || tag == 0xdf) {
        for (uint32_t n = wr_unpack_map(u); n > 0; n--) {
            char        quoted[100];
            size_t      bytes;
            const char *key = wr_unpack_str(u, 90, &bytes);
            assert_non_null(key);
            snprintf(quoted, sizeof quoted, "`%.*s`", (int)bytes, key);
            if (strstr(page, quoted) == NULL) fail_msg("docs/protocol.md does not tell of %s", quoted);
            bool schema = strcmp(quoted, "`record`") == 0 || strcmp(quoted, "`state`") == 0;
            if (schema && (uint8_t)*u->at >= 0x80)
                wr_unpack_skip(u); /* a page of its own */
            else
                assert_told(u, page);
        }
        wr_unpack_leave(u);
    } else if ((tag & 0xf0) == 0x90 || tag == 0xdc || tag == 0xdd) {
        for (uint32_t n = wr_unpack_array(u); n > 0; n--) assert_told(u, page);
        wr_unpack_leave(u);
    } else {
        wr_unpack_skip(u);
    }
}

static void the_page_tells_all(void **state)
{
    (void)state;
    size_t n = 0;
    char  *page = sample_file("docs/protocol.md", &n);
    assert_non_null(page);
    page[n] = 0;
    for (uint32_t i = 0; i < SAMPLES; i++) {
        wr_message m;
        wr_unpack  u;
        size_t     k;
        char       row[100];
        control_sample(&m, i);
        snprintf(row, sizeof row, "\n| %u | %s |", m.kind, wr_message_name(m.kind));
        if (strstr(page, row) == NULL) fail_msg("docs/protocol.md has no row %s", row + 1);
        char *bytes = encoded(&m, &k);
        wr_unpack_init(&u, bytes, k);
        assert_told(&u, page);
        assert_null(u.problem);
        free(bytes);
    }
    free(page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind),
        cmocka_unit_test(members),
        cmocka_unit_test(kept_ack),
        cmocka_unit_test(golden),
        cmocka_unit_test(flips_and_truncations),
        cmocka_unit_test(later_versions),
        cmocka_unit_test(counts_without_bytes),
        cmocka_unit_test(bounds_hold_when_sending),
        cmocka_unit_test(what_makes_no_sense),
        cmocka_unit_test(short_request),
        cmocka_unit_test(spec_by_itself),
        cmocka_unit_test(the_page_tells_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
