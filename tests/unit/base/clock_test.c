/* The clock of leases on a machine that is suspended: the system's clock is replaced by one of this file's. */
#include "base/lease.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static time_t suspended_s;
static bool   old_system; /* without CLOCK_BOOTTIME */

int suspendable(clockid_t clock, struct timespec *t) __asm__("clock_gettime");
int suspendable(clockid_t clock, struct timespec *t)
{
    if (clock == CLOCK_BOOTTIME && old_system) {
        errno = EINVAL;
        return -1;
    }
    long result = syscall(SYS_clock_gettime, clock == CLOCK_BOOTTIME ? CLOCK_MONOTONIC : clock, t);
    if (clock == CLOCK_BOOTTIME) t->tv_sec += suspended_s;
    return (int)result;
}

static void a_lease_is_over_after_a_suspend(void **state)
{
    const wr_env *env = wr_env_real();
    (void)state;
    _Atomic int64_t until = env->mono_ns(env->self) + INT64_C(60000000000);
    assert_false(wr_lease_over(env, &until));
    suspended_s = 61;
    assert_true(wr_lease_over(env, &until));
    suspended_s = 0;
}

static void without_such_a_clock_the_other_one_counts(void **state)
{
    const wr_env *env = wr_env_real();
    (void)state;
    old_system = true;
    int64_t before = env->mono_ns(env->self);
    assert_true(before > 0);
    while (env->mono_ns(env->self) == before)
        ;
    assert_true(env->mono_ns(env->self) > before);
    old_system = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_lease_is_over_after_a_suspend),
                                       cmocka_unit_test(without_such_a_clock_the_other_one_counts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
