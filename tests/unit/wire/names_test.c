/* Names of files: there and back, and what is not ours. */
#include "wire/names.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void there_and_back(void **state)
{
    (void)state;
    char     name[WR_FILE_NAME_BYTES];
    uint32_t epoch;
    uint64_t id;
    wr_name_manifest(name, 0x1a, 0x2c);
    assert_string_equal(name, "m-0000001a-000000000000002c.wman");
    assert_int_equal(wr_name_read(name, &epoch, &id), WR_NAME_MANIFEST);
    assert_true(epoch == 0x1a && id == 0x2c);
    char temp[WR_FILE_NAME_BYTES + 4];
    snprintf(temp, sizeof temp, "%s.tmp", name);
    assert_int_equal(wr_name_read(temp, &epoch, &id), WR_NAME_TEMP);
    assert_true(epoch == 0x1a && id == 0x2c);
    wr_name_state(name, 3, 7, 2, "count words/\xc3\xa4", 1);
    assert_string_equal(name, "s-00000003-0000000000000007-2-count-words----1.wst");
    assert_int_equal(wr_name_read(name, &epoch, &id), WR_NAME_STATE);
    assert_true(epoch == 3 && id == 7);
    wr_name_state(name, UINT32_MAX, UINT64_MAX, 1023, "a-very-long-uid-that-is-cut-somewhere", 32767);
    assert_int_equal(wr_name_read(name, &epoch, &id), WR_NAME_STATE);
    assert_true(epoch == UINT32_MAX && id == UINT64_MAX);
    assert_true(strlen(name) < WR_FILE_NAME_BYTES && strstr(name, "-32767.wst") != NULL);
    char spare[WR_FILE_NAME_BYTES], other[WR_FILE_NAME_BYTES];
    wr_name_spare(spare, name);
    assert_true(spare[0] == 'r' && strcmp(spare + 1, name + 1) == 0);
    assert_int_equal(wr_name_read(spare, &epoch, &id), WR_NAME_SPARE);
    assert_true(epoch == UINT32_MAX && id == UINT64_MAX);
    wr_name_state(other, 3, 7, 1023, "a-very-long-uid-that-is-cut-somewhere", 32767);
    assert_string_equal(wr_name_task(spare), wr_name_task(other));
    wr_name_state(other, UINT32_MAX, UINT64_MAX, 1023, "a-very-long-uid-that-is-cut-somewhere", 3276);
    assert_string_not_equal(wr_name_task(spare), wr_name_task(other));
    assert_string_equal(wr_name_task("m-0000001a-000000000000002c.wman"), "");
    assert_int_equal(wr_name_read("journal", &epoch, &id), WR_NAME_JOURNAL);
    assert_int_equal(wr_name_read("journal.tmp", &epoch, &id), WR_NAME_TEMP);
    assert_int_equal(wr_name_read("lock", &epoch, &id), WR_NAME_LOCK);
}

static void others(void **state)
{
    (void)state;
    static const char *const names[] = {"",
                                        "m",
                                        "m-",
                                        "notes.txt",
                                        "m-0000001a-000000000000002c",
                                        "m-0000001a-000000000000002c.wman.bak",
                                        "m-0000001A-000000000000002c.wman",
                                        "m-0000001g-000000000000002c.wman",
                                        "m_0000001a-000000000000002c.wman",
                                        "s-0000001a-000000000000002c.wst",
                                        "r-0000001a-000000000000002c.wst",
                                        "r-0000001a-000000000000002c-0-x-0.wman",
                                        "s-0000001a-000000000000002c-x",
                                        "x-0000001a-000000000000002c.wman"};
    uint32_t                 epoch;
    uint64_t                 id;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_int_equal(wr_name_read(names[i], &epoch, &id), WR_NAME_OTHER);
        assert_true(epoch == 0 && id == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(there_and_back), cmocka_unit_test(others)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
