/* How quiet this machine is: reads the clock without a pause for S seconds and prints how far apart two readings were.
 *
 *     hand_gap S     -> p99_us=... p999_us=... most_us=...   of the gaps above a microsecond, by the time they took
 *
 * The figures of latency mean little below these: nobody can be faster than the machine lets a loop run. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { US_MAX = 1000000 };
static uint64_t lost_ns[US_MAX + 1]; /* time that went by in gaps of so many microseconds */

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* A record that comes at any moment waits for longer than this with probability 1 - share. */
static uint32_t gap_us(double share, uint64_t all_ns)
{
    uint64_t above = 0;
    uint32_t us = US_MAX;
    while (us > 0 && (double)(above += lost_ns[us]) < (double)all_ns * (1 - share)) us--;
    return us;
}

int main(int argc, char **argv)
{
    int64_t seconds = argc > 1 ? strtoll(argv[1], NULL, 10) : 5, start = now_ns(), last = start, most = 0;
    while (last - start < seconds * INT64_C(1000000000)) {
        int64_t now = now_ns(), gap = now - last;
        if (gap > most) most = gap;
        lost_ns[gap / 1000 < US_MAX ? gap / 1000 : US_MAX] += (uint64_t)gap;
        last = now;
    }
    uint64_t all = (uint64_t)(last - start);
    printf("seconds=%lld p99_us=%u p999_us=%u most_us=%.1f\n", (long long)seconds, gap_us(0.99, all),
           gap_us(0.999, all), (double)most * 1e-3);
    return 0;
}
