/* A list of files in which each stands many times: each is named once, and finding that out takes no walk through all
 * of them. (What patterns and folders mean is in file_source_test.c.) */
#include "connectors/names.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { FILES = 65536, TIMES = 40 };
_Static_assert(FILES == WR_FILES_MAX, "as many as there may be");

/* One folder of FILES files, which no disk has to hold. */
static int many_stat(void *self, const char *path, wr_file_info *info)
{
    (void)self;
    memset(info, 0, sizeof *info);
    info->is_folder = strcmp(path, "folder") == 0;
    info->is_file = !info->is_folder;
    info->bytes = 1;
    return strchr(path, ',') == NULL ? 0 : -2;
}

static int many_list(void *self, const char *folder, bool (*take)(void *arg, const char *name), void *arg)
{
    (void)self;
    assert_string_equal(folder, "folder");
    for (int i = 0; i < FILES; i++) {
        char name[16];
        snprintf(name, sizeof name, "part-%05d", i);
        if (!take(arg, name)) break;
    }
    return 0;
}

static void each_is_named_once(void **state)
{
    (void)state;
    wr_env     env = *wr_env_real();
    wr_arena   arena;
    wr_names   names;
    wr_errinfo info = {0};
    char       path[TIMES * sizeof "folder"] = "";
    for (int i = 0; i < TIMES; i++) memcpy(path + (size_t)i * sizeof "folder", "folder,", sizeof "folder");
    path[sizeof path - 1] = 0;
    env.stat = many_stat;
    env.list = many_list;
    wr_arena_init(&arena);
    assert_int_equal(wr_names_find(&names, &arena, &env, path, &info), WR_OK);
    assert_int_equal(names.count, FILES);
    assert_string_equal(names.name[0].path, "folder/part-00000");
    assert_string_equal(names.name[FILES - 1].path, "folder/part-65535");
    assert_int_equal(wr_names_find(&names, &arena, &env, "folder,one-more", &info), WR_LIMIT);
    wr_arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_is_named_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
