/* Lists, patterns and folders of files in a small tree in memory: what is found is there, each once; a plain path is
 * found exactly when it is there. */
#include "base/arena.h"
#include "connectors/names.h"
#include "tests/fuzz/memory.h"

static const memory_file tree[] = {
    {"a", "", 0},       {"b.csv", "x", 1},         {"data/1.csv", "12", 2},     {"data/2.csv", "", 0},
    {"data/.h", "", 0}, {"data/_tmp", "", 0},      {"data/deep/3.csv", "", 0},  {"data/deep/4", "", 0},
    {"a,b", "", 0},     {"/root/x[1].csv", "", 0}, {"/root/more/y.csv", "", 0}, {"/top", "", 0},
};
enum { FILES = sizeof tree / sizeof tree[0] };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    memory     m;
    wr_names   names;
    wr_arena   arena = {0};
    wr_errinfo info = {0};
    char      *path = own_text(bytes, size);
    memory_init(&m, tree, FILES);
    wr_err err = wr_names_find(&names, &arena, &m.env, path, &info);
    must((err == WR_OK) == (info.code == WR_OK));
    if (err == WR_OK) {
        must(names.count > 0 || memory_find(&m, path) < 0); /* an empty folder gives none */
        for (uint32_t i = 0; i < names.count; i++) {
            wr_file_info file;
            must(memory_stat(&m, names.name[i].path, &file) == 0 && file.is_file);
            must(file.bytes == names.name[i].bytes);
            for (uint32_t k = 0; k < i; k++) must(strcmp(names.name[i].path, names.name[k].path) != 0);
        }
    } else {
        must(info.text[0] != 0 && memory_find(&m, path) < 0);
    }
    if (memory_find(&m, path) >= 0) must(names.count == 1 && strcmp(names.name[0].path, path) == 0);
    wr_arena_fini(&arena);
    free(path);
    return 0;
}
