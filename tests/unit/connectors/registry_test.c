/* Finding connectors by scheme, and loading a third party's .so. The .so is compiled here, so that each of its faults
 * is real. */
#include "tests/unit/connectors/drive.h"
#include <spawn.h>
#include <sys/wait.h>

static void schemes_are_found(void **state)
{
    (void)state;
    const char *near = NULL;
    assert_ptr_equal(wr_connector_find("file", 4, &near), &wr_connector_file);
    assert_ptr_equal(wr_connector_find("stdin:", 5, &near), &wr_connector_stdin);
    assert_ptr_equal(wr_connector_resolve(NULL, "print", 5, &near), &wr_connector_print);
    assert_null(wr_connector_find("fil", 3, &near));
    assert_string_equal(near, "file");
    assert_null(wr_connector_find("blakhole", 8, &near));
    assert_string_equal(near, "blackhole");
    assert_null(wr_connector_find("zookeeper", 9, &near));
    assert_null(near);
}

static void built_in_descriptors_are_sound(void **state)
{
    (void)state;
    const weir_connector *c;
    for (uint32_t i = 0; (c = wr_connector_at(i)) != NULL; i++) {
        wr_errinfo info = {0};
        if (wr_connector_check(c, "built in", &info) != WR_OK) fail_msg("%s", info.text);
        assert_non_null(c->summary);
        for (uint32_t k = 0; k < c->options; k++) {
            assert_non_null(c->option[k].help);
            assert_non_null(c->option[k].otherwise);
        }
    }
}

static const char source[] =
    "#include <weir/connector.h>\n"
    "#ifndef SYMBOL\n#define SYMBOL weir_connector_v1\n#endif\n"
    "#ifndef MAGIC\n#define MAGIC WEIR_CONNECTOR_MAGIC\n#endif\n"
    "#ifndef ABI\n#define ABI WEIR_ABI\n#endif\n"
    "#ifndef SIZE\n#define SIZE sizeof(weir_connector)\n#endif\n"
    "#ifndef SCHEME\n#define SCHEME \"own\"\n#endif\n"
    "#ifndef ENUMERATE\n#define ENUMERATE none\n#endif\n"
    "static void none(weir_ctx *c) { (void)c; }\n"
    "static const weir_field f[] = {{\"n\", 0, 8, WEIR_U64, 0, 0, 0, 0, 0, {0}}};\n"
    "static const weir_type split = {sizeof(weir_type), 1, \"split\", 8, 8, f, 0, 0};\n"
    "static const weir_op op = {.abi_size = sizeof(weir_op), .kind = WEIR_OP_SOURCE, .name = \"own\",\n"
    "    .state = &split, .on_left = none, .enumerate = ENUMERATE};\n"
    "__attribute__((visibility(\"default\"))) extern const weir_connector SYMBOL;\n"
    "const weir_connector SYMBOL = {.magic = MAGIC, .abi = ABI, .size = SIZE, .scheme = SCHEME,\n"
    "    .source_formats = \"text\", .source = &op};\n";

/* Compiles the source with one macro changed. */
static const char *compiled(const folder *f, const char *name, const char *change)
{
    extern char **environ;
    pid_t         child;
    int           status = 0;
    const char   *path = folder_path(f, name), *from = folder_path(f, "c.c"), *compiler = getenv("CC");
    const char   *args[] = {
          compiler ? compiler : "cc", "-std=gnu17", "-shared", "-fPIC", "-Iinclude", "-o", path, from, change, NULL};
    file_write_text(from, source);
    assert_int_equal(posix_spawnp(&child, args[0], NULL, NULL, (char **)args, environ), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    return path;
}

static void third_parties_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *name, *macros;
        wr_err      err;
        const char *text;
    } cases[] = {
        {"symbol.so", "-DSYMBOL=another", WR_NOT_A_PIPELINE, "exports no weir_connector_v1"},
        {"magic.so", "-DMAGIC=7", WR_NOT_A_PIPELINE, "not a connector"},
        {"abi.so", "-DABI=99", WR_WRONG_ABI, "ABI 99"},
        {"size.so", "-DSIZE=4096", WR_WRONG_ABI, "descriptor of 4096 bytes"},
        {"scheme.so", "-DSCHEME=\"O:wn\"", WR_CONFIG, "without a proper scheme"},
        {"lacks.so", "-DENUMERATE=NULL", WR_CONFIG, "lacks the loop enumerate"},
        {"taken.so", "-DSCHEME=\"file\"", WR_CONFIG, "there is a connector file: already"},
        {"good.so", "-DPLAIN", WR_OK, ""},
    };
    folder f = folder_make();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        wr_errinfo info = {0};
        assert_int_equal(wr_connector_load(compiled(&f, cases[i].name, cases[i].macros), &info), cases[i].err);
        assert_contains(info.text, cases[i].text);
    }
    const weir_connector *own = wr_connector_find("own", 3, NULL);
    assert_non_null(own);
    assert_string_equal(own->scheme, "own");
    wr_errinfo info = {0};
    assert_int_equal(wr_connector_load(folder_path(&f, "good.so"), &info), WR_OK); /* again: nothing new */
    assert_int_equal(wr_connector_load(folder_path(&f, "none.so"), &info), WR_NOT_FOUND);
    assert_contains(info.text, "cannot load the connector");
    folder_remove(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(schemes_are_found),
        cmocka_unit_test(built_in_descriptors_are_sound),
        cmocka_unit_test(third_parties_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
