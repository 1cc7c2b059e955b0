/* Tables reserve much more address space than they use: where there is little of it they share it. */
#include "tests/unit/snapshot/image_kit.h"
#include <sys/resource.h>
#include <sys/wait.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

enum { TABLES = 6, GIB = 40 };

/* In a process of its own: 0, or what went wrong. */
static int in_little_room(void)
{
    struct rlimit   limit = {.rlim_cur = (rlim_t)GIB << 30, .rlim_max = (rlim_t)GIB << 30};
    static kit      k[TABLES];
    static kit_copy copy;
    if (setrlimit(RLIMIT_AS, &limit) != 0) return 1;
    for (uint32_t i = 0; i < TABLES; i++) {
        wr_errinfo      info = {0};
        wr_table_config config = {.uid = "keeper",
                                  .record = &kit_event_type,
                                  .key = kit_keys[2],
                                  .state = &kit_tally_type,
                                  .max_parallelism = KIT_GROUPS,
                                  .group_end = KIT_GROUPS,
                                  .budget = &k[i].budget};
        k[i] = (kit){.prng = wr_prng_of(i), .key = 2, .users = 40, .cells = false, .heavy = 40};
        if (wr_table_new(&k[i].table, &config, &info) != WR_OK) {
            fprintf(stderr, "table %u: %s\n", i, info.text);
            return 2;
        }
    }
    for (uint32_t i = 0; i < TABLES; i++) { /* and all of them have room */
        kit_batches(&k[i], 50);
        memset(&copy, 0, sizeof copy);
        kit_copy_add(&k[i], k[i].table, &copy);
        wr_table_free(k[i].table);
    }
    return 0;
}

static void tables_share_what_there_is(void **unused)
{
    (void)unused;
#ifdef SANITIZED
    skip(); /* which need all of it for themselves */
#endif
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) _exit(in_little_room());
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(tables_share_what_there_is)};
    return cmocka_run_group_tests(tests, kit_folder_begin, kit_folder_end);
}
