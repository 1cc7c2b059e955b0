/* Sources and sinks of one job that would harm each other. */
#include "tests/unit/connectors/drive.h"
#include <sys/stat.h>

enum { NODES = 4 };

/* Some nodes, and what is said about the last that is wrong. */
typedef struct job {
    wr_arena       arena;
    wr_node        node[NODES];
    const wr_node *list[NODES];
    uint32_t       n, wrong, at;
    wr_err         err;
    char           text[WR_ERROR_BYTES_MAX];
} job;

static void note(void *to, uint32_t at, wr_err err, const char *text)
{
    job *j = to;
    j->wrong++;
    j->at = at;
    j->err = err;
    snprintf(j->text, sizeof j->text, "%s", text);
}

static void add(job *j, const char *name, bool sink, const char *path)
{
    char       uri[512];
    wr_errinfo info = {0};
    snprintf(uri, sizeof uri, "file:%s", path);
    wr_endpoint_spec spec = {.name = name, .uri = uri, .sink = sink, .type = &line_type};
    wr_node         *n = &j->node[j->n];
    *n = (wr_node){.kind = sink ? WR_NODE_SINK : WR_NODE_SOURCE,
                   .connector = &wr_connector_file,
                   .type = &line_type,
                   .uid = name,
                   .name = name};
    n->endpoint = wr_endpoint_new(&j->arena, &spec, n->connector, note_problem, &info);
    assert_int_equal(info.code, WR_OK);
    n->uri = n->endpoint->uri;
    j->list[j->n++] = n;
}

static void compare(job *j, bool restores)
{
    wr_env env = *wr_env_real();
    j->wrong = 0;
    wr_connector_compare(&env, j->list, j->n, restores, note, j);
    wr_arena_fini(&j->arena);
    j->n = 0;
}

static bool two_sinks(const char *one, const char *other)
{
    job j = {0};
    add(&j, "one", true, one);
    add(&j, "other", true, other);
    compare(&j, false);
    if (j.wrong == 0) return true;
    assert_int_equal(j.wrong, 1);
    assert_int_equal(j.at, 1);
    assert_int_equal(j.err, WR_CONFIG);
    assert_contains(j.text, "it writes where sink 'one' (file:");
    return false;
}

static void two_sinks_in_one_file(void **state)
{
    (void)state;
    folder f = folder_make();
    mkdir(folder_path(&f, "d"), 0777);
    assert_int_equal(symlink("d", folder_path(&f, "link")), 0);
    file_write_text(folder_path(&f, "there"), "");
    assert_int_equal(link(folder_path(&f, "there"), folder_path(&f, "too")), 0);
    assert_false(two_sinks(folder_path(&f, "out"), folder_path(&f, "out")));
    assert_false(two_sinks(folder_path(&f, "out"), folder_path(&f, "d/../out/")));
    assert_false(two_sinks(folder_path(&f, "d/out"), folder_path(&f, "link/out")));
    assert_false(two_sinks(folder_path(&f, "there"), folder_path(&f, "too?overwrite=true")));
    assert_false(two_sinks(folder_path(&f, "none/out"), folder_path(&f, "none/out")));
    assert_true(two_sinks(folder_path(&f, "out"), folder_path(&f, "d/out")));
    assert_true(two_sinks(folder_path(&f, "out"), folder_path(&f, "there")));
    assert_true(two_sinks("/dev/null", "/dev/null"));
    folder_remove(&f);
}

static bool source_and_sink(const char *in, const char *out, bool restores)
{
    job j = {0};
    add(&j, "out", true, out);
    add(&j, "in", false, in);
    compare(&j, restores);
    if (j.wrong == 0) return true;
    assert_int_equal(j.wrong, 1);
    assert_int_equal(j.at, 0);
    assert_contains(j.text, ", which source 'in' (file:");
    return false;
}

static void what_is_read_is_not_cleared(void **state)
{
    (void)state;
    folder f = folder_make();
    mkdir(folder_path(&f, "parts"), 0777);
    mkdir(folder_path(&f, "results"), 0777);
    file_write_text(folder_path(&f, "x"), "a\n");
    file_write_text(folder_path(&f, "y"), "a\n");
    assert_int_equal(link(folder_path(&f, "x"), folder_path(&f, "name")), 0);
    file_write_text(folder_path(&f, "parts/part-00003"), "a\n");
    file_write_text(folder_path(&f, "parts/mine"), "a\n");
    file_write_text(folder_path(&f, "results/job-out-0123abcd-00000-0000000001-000000.csv"), "a\n");
    file_write_text(folder_path(&f, "results/job-in-0123abcd-00000-0000000001-000000.csv"), "a\n");
    const struct {
        const char *in, *out;
        bool        fine;
    } cases[] = {
        {"x", "x?overwrite=true", false},
        {"x", "name?overwrite=true", false},
        {"y,x", "x?overwrite=true", false},
        {"[xz]", "x?overwrite=true", false},
        {"y", "x?overwrite=true", true},
        {"none", "x?overwrite=true", true},
        {"x", "x", true}, /* refused when it runs: it is not empty */
        {"parts", "parts/?overwrite=true", false},
        {"parts/part-00003", "parts?overwrite=true", false},
        {"parts/mine", "parts?overwrite=true", true},
        {"results", "results?overwrite=true", false},
        {"results/*-in-*", "results?overwrite=true", true}, /* of another sink: they stay */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char in[512] = "";
        for (const char *at = cases[i].in; *at != 0;) { /* a list */
            size_t n = strcspn(at, ",");
            size_t used = strlen(in);
            snprintf(in + used, sizeof in - used, "%s%s/%.*s", used ? "," : "", f.path, (int)n, at);
            at += n + (at[n] == ',');
        }
        bool fine = source_and_sink(in, folder_path(&f, cases[i].out), false);
        if (fine != cases[i].fine) fail_msg("%s -> %s", cases[i].in, cases[i].out);
        assert_true(source_and_sink(in, folder_path(&f, cases[i].out), true)); /* clears nothing */
    }
    folder_remove(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_sinks_in_one_file),
        cmocka_unit_test(what_is_read_is_not_cleared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
