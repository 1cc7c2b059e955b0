#include "base/mem.h"
#include "base/check.h"
#include "base/limits.h"
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

static _Atomic uint64_t reserved; /* shared; a count, so relaxed */
static uint64_t         bound;    /* frozen before there are threads; 0: none */
static pthread_mutex_t  raising = PTHREAD_MUTEX_INITIALIZER;

static size_t round_up(size_t bytes)
{
    return (bytes + WR_PAGE_BYTES - 1) & ~(size_t)(WR_PAGE_BYTES - 1);
}

/* What is reserved counts as data to the system, touched or not: it comes on top of what may be had. One at a time: a
 * sum that was made before another's range was counted, and set after it, would leave too little for everybody. */
static void raise_bound(void)
{
    struct rlimit limit;
    if (bound == 0) return;
    pthread_mutex_lock(&raising);
    if (getrlimit(RLIMIT_DATA, &limit) == 0) {
        uint64_t most = bound + wr_mem_reserved_bytes();
        limit.rlim_cur = most < limit.rlim_max ? most : limit.rlim_max;
        setrlimit(RLIMIT_DATA, &limit);
    }
    pthread_mutex_unlock(&raising);
}

static void count(uint64_t more)
{
    atomic_fetch_add_explicit(&reserved, more, memory_order_relaxed);
    raise_bound();
}

static void discount(uint64_t less)
{
    atomic_fetch_sub_explicit(&reserved, less, memory_order_relaxed);
    raise_bound();
}

void wr_mem_bound(uint64_t bytes)
{
    bound = bytes;
    raise_bound();
}

void *wr_mem_reserve(size_t bytes)
{
    check(bytes > 0 && bytes <= SIZE_MAX / 4);
    bytes = round_up(bytes);
    /* Take 2 MiB more, then cut both ends, so that the range starts on a huge page. */
    size_t wide = bytes + WR_HUGE_BYTES;
    count(wide); /* before it is there: whoever sets the bound meanwhile leaves room for it */
    char *from = mmap(NULL, wide, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (from == MAP_FAILED) {
        discount(wide);
        return NULL;
    }
    char *at = (char *)(((uintptr_t)from + WR_HUGE_BYTES - 1) & ~(uintptr_t)(WR_HUGE_BYTES - 1));
    if (at > from) munmap(from, (size_t)(at - from));
    size_t behind = (size_t)(from + wide - (at + bytes));
    if (behind > 0) munmap(at + bytes, behind);
    discount(wide - bytes);
    return at;
}

void wr_mem_huge(void *at, size_t bytes)
{
    madvise(at, round_up(bytes), MADV_HUGEPAGE);
}

void wr_mem_discard(void *at, size_t bytes)
{
    check(((uintptr_t)at | bytes) % WR_PAGE_BYTES == 0);
    if (bytes > 0) check(madvise(at, bytes, MADV_DONTNEED) == 0);
}

void wr_mem_release(void *at, size_t bytes)
{
    if (at == NULL) return;
    bytes = round_up(bytes);
    check(munmap(at, bytes) == 0);
    discount(bytes);
}

uint64_t wr_mem_reserved_bytes(void)
{
    return atomic_load_explicit(&reserved, memory_order_relaxed);
}

uint64_t wr_mem_resident_bytes(void)
{
    char text[128];
    int  file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    ssize_t count = read(file, text, sizeof text - 1);
    close(file);
    if (count <= 0) return 0;
    text[count] = 0;
    char *second = NULL;
    strtoull(text, &second, 10); /* total pages; the second number is the resident ones */
    return second == NULL ? 0 : strtoull(second, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}
