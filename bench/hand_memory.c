/* How fast this machine's memory is, for whoever compares figures of two machines: rows with 10 million keys or 512 MB
 * of state are little else.
 *
 *     hand_memory    -> seconds=... one_ns=... many_ns=...
 *
 * one_ns: a cache line from anywhere in 512 MB, when each is waited for; many_ns: when many are asked for at a time. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { LINE = 64, LINES = 8 << 20, ALONE = 1000000, ALL = 16 << 20, AT_ONCE = 1024 };

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static uint64_t next(uint64_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    return *x * 0x9E3779B97F4A7C15u;
}

/* The line that is read says where the next one is, so nothing can be asked for before. */
static double one_ns(char *at)
{
    uint64_t x = 88172645463325252u, word = 0;
    double   start = now_s();
    for (uint32_t i = 0; i < ALONE; i++) memcpy(&word, at + ((next(&x) ^ word) % LINES) * LINE, 8);
    double ns = (now_s() - start) * 1e9 / ALONE;
    return word == 1 ? 0 : ns; /* it is not, but the compiler does not know that */
}

static double many_ns(char *at)
{
    static uint32_t line[AT_ONCE];
    uint64_t        x = 88172645463325252u, sum = 0, word;
    double          start = now_s();
    for (uint32_t i = 0; i < ALL; i += AT_ONCE) {
        for (uint32_t k = 0; k < AT_ONCE; k++) {
            line[k] = (uint32_t)(next(&x) >> 32) % LINES;
            __builtin_prefetch(at + (uint64_t)line[k] * LINE, 0, 2);
        }
        for (uint32_t k = 0; k < AT_ONCE; k++) {
            memcpy(&word, at + (uint64_t)line[k] * LINE, 8);
            sum += word;
        }
    }
    double ns = (now_s() - start) * 1e9 / ALL;
    return sum == 1 ? 0 : ns;
}

int main(void)
{
    const size_t bytes = (size_t)LINES * LINE;
    double       start = now_s();
    char        *at = aligned_alloc(2 << 20, bytes);
    if (at == NULL) return 1;
    madvise(at, bytes, MADV_HUGEPAGE);
    memset(at, 0, bytes);
    double one = one_ns(at), many = many_ns(at);
    printf("seconds=%.3f one_ns=%.0f many_ns=%.1f\n", now_s() - start, one, many);
    free(at);
    return 0;
}
