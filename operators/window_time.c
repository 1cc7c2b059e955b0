/* From times to slices and back, and which slices have data. All of it saturates at the ends of time. */
#include "operators/window.h"
#include <stdlib.h>

static int64_t floor_div(int64_t a, int64_t b)
{
    int64_t q = a / b;
    return q - (a % b < 0);
}

static int64_t gcd(int64_t a, int64_t b)
{
    while (b != 0) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

int64_t wr_saturating(int64_t a, int64_t b)
{
    int64_t sum;
    if (__builtin_add_overflow(a, b, &sum)) sum = b > 0 ? INT64_MAX : INT64_MIN + 1;
    return sum;
}

int64_t wr_slices_per(const weir_window *w)
{
    return w->size / gcd(w->size, w->slide);
}

void wr_slices_init(wr_windows *k)
{
    const weir_window *w = &k->window;
    k->slice_ns = gcd(w->size, w->slide);
    k->offset = w->offset - floor_div(w->offset, w->slide) * w->slide;
    k->step = w->slide / k->slice_ns;
    k->per = wr_slices_per(w);
    k->slice_from = 1; /* an empty range */
    k->fired = k->dead = k->alive = WR_SLICE_NEVER;
    k->next_ns = INT64_MAX;
}

int64_t wr_slice_of(const wr_windows *k, int64_t ns)
{
    return floor_div(wr_saturating(ns, -k->offset), k->slice_ns);
}

int64_t wr_slice_start(const wr_windows *k, int64_t slice)
{
    int64_t ns;
    if (__builtin_mul_overflow(slice, k->slice_ns, &ns)) return slice > 0 ? INT64_MAX : INT64_MIN + 1;
    ns = wr_saturating(ns, k->offset);
    return ns == INT64_MIN ? INT64_MIN + 1 : ns;
}

/* Window j holds the slices [j * step, j * step + per). */
int64_t wr_slice_first_end(const wr_windows *k, int64_t slice)
{
    return -floor_div(-(slice - k->per + 1), k->step) * k->step + k->per;
}

int64_t wr_slice_last_end(const wr_windows *k, int64_t slice)
{
    return floor_div(slice, k->step) * k->step + k->per;
}

int64_t wr_slice_ends_by(const wr_windows *k, int64_t watermark)
{
    if (watermark == WEIR_NO_TIME) return WR_SLICE_NEVER;
    if (watermark == INT64_MAX) return -WR_SLICE_NEVER;
    return wr_slice_of(k, watermark + 1);
}

/* ---- slices that have data ---- */

static int64_t next_fire(const wr_windows *k, int64_t slice)
{
    int64_t first = wr_slice_first_end(k, slice);
    if (first > k->fired) return first;
    return floor_div(k->fired - k->per, k->step) * k->step + k->step + k->per; /* the first end behind `fired` */
}

/* Event time of the watermark at which the slice wants attention: a window of it fires, or it is over for good. */
static int64_t attention(const wr_windows *k, int64_t slice, int64_t *end, bool *purge)
{
    int64_t last = wr_slice_last_end(k, slice);
    *end = next_fire(k, slice);
    *purge = *end > last;
    if (!*purge) return wr_slice_start(k, *end) - 1;
    *end = last;
    return wr_saturating(wr_slice_start(k, last) - 1, k->lateness);
}

bool wr_live_next(const wr_windows *k, int64_t watermark, int64_t *end, bool *purge)
{
    int64_t best = INT64_MAX;
    bool    found = false;
    for (uint32_t i = 0; i < k->lives; i++) {
        int64_t at_end;
        bool    purges;
        int64_t at = attention(k, k->live[i], &at_end, &purges);
        if (at > watermark || (found && (at > best || (at == best && *purge <= purges)))) continue;
        found = true;
        best = at;
        *end = at_end;
        *purge = purges;
    }
    return found;
}

static void find_next(wr_windows *k)
{
    k->next_ns = INT64_MAX;
    for (uint32_t i = 0; i < k->lives; i++) {
        int64_t end;
        bool    purge;
        int64_t at = attention(k, k->live[i], &end, &purge);
        if (at < k->next_ns) k->next_ns = at;
    }
}

void wr_live_add(wr_windows *k, int64_t slice)
{
    uint32_t at = k->lives;
    while (at > 0 && k->live[at - 1] > slice) at--; /* mostly the newest */
    if (at > 0 && k->live[at - 1] == slice) return;
    if (k->lives == k->lives_max) {
        k->lives_max = k->lives_max == 0 ? 64 : 2 * k->lives_max;
        k->live = realloc(k->live, k->lives_max * sizeof *k->live);
        check(k->live != NULL);
    }
    memmove(k->live + at + 1, k->live + at, (k->lives - at) * sizeof *k->live);
    k->live[at] = slice;
    k->lives++;
    int64_t end;
    bool    purge;
    int64_t when = attention(k, slice, &end, &purge);
    if (when < k->next_ns) k->next_ns = when;
}

void wr_dead_until(wr_windows *k, int64_t end)
{
    k->dead = end;
    k->alive = end <= WR_SLICE_NEVER ? WR_SLICE_NEVER : (floor_div(end - k->per, k->step) + 1) * k->step;
}

void wr_live_drop(wr_windows *k)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < k->lives; i++) {
        if (k->live[i] >= k->alive) k->live[kept++] = k->live[i];
    }
    k->lives = kept;
    find_next(k);
}

/* One of the two differences is negative otherwise, also when they overflow. */
#define WITHIN_(NAME, ...)                                                                                             \
    __VA_ARGS__ static bool NAME(const weir_time *time, uint32_t n, uint64_t from, uint64_t last)                      \
    {                                                                                                                  \
        uint64_t outside = 0;                                                                                          \
        for (uint32_t i = 0; i < n; i++) outside |= ((uint64_t)time[i].ns - from) | (last - (uint64_t)time[i].ns);     \
        return (int64_t)outside >= 0;                                                                                  \
    }
WITHIN_(within_plain)
#if defined(__x86_64__)
WITHIN_(within_avx2, __attribute__((target("avx2"))))
#endif

bool wr_times_within(const weir_time *time, uint32_t n, int64_t from, int64_t to)
{
    if (from >= to) return false;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) return within_avx2(time, n, (uint64_t)from, (uint64_t)to - 1);
#endif
    return within_plain(time, n, (uint64_t)from, (uint64_t)to - 1);
}
