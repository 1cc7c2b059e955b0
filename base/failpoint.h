/* base/failpoint.h: places at which a test can kill the process as kill -9 would. WEIR_FAILPOINT=name:n does so when
 * the place `name` is reached for the n-th time (without :n the first). tests/cli/failpoints_test.py visits them. */
#ifndef WR_BASE_FAILPOINT_H
#define WR_BASE_FAILPOINT_H
#include <stdatomic.h>

extern _Atomic int wr_failpoint_state; /* 0: the environment was not read yet; 1: off; 2: on */
void               wr_failpoint_slow(const char *name);

/* A load and a branch when it is off. Any thread. */
static inline void wr_failpoint(const char *name)
{
    if (__builtin_expect(atomic_load_explicit(&wr_failpoint_state, memory_order_relaxed) != 1, 0))
        wr_failpoint_slow(name);
}

#endif
