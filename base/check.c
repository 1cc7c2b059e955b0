#include "base/check.h"
#include "base/failed_check.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static size_t append(char *line, size_t at, size_t cap, const char *text)
{
    size_t count = strlen(text);
    if (count > cap - at) count = cap - at;
    memcpy(line + at, text, count);
    return at + count;
}

static size_t append_number(char *line, size_t at, size_t cap, int number)
{
    char  digits[12];
    char *from = digits + sizeof digits - 1;
    *from = 0;
    unsigned rest = number < 0 ? 0 : (unsigned)number;
    do *--from = (char)('0' + rest % 10);
    while ((rest /= 10) != 0);
    return append(line, at, cap, from);
}

static const char *_Atomic failed;

const char *wr_check_text(void)
{
    return atomic_load_explicit(&failed, memory_order_acquire);
}

/* No stdio: a check may fail in a signal handler or with a broken heap. */
void wr_check_failed(const char *file, int line, const char *expr)
{
    static char        kept[512];
    static atomic_flag taken = ATOMIC_FLAG_INIT;
    char               text[512];
    size_t             cap = sizeof text - 1, at = 0;
    at = append(text, at, cap, "weir: check failed: ");
    at = append(text, at, cap, expr);
    at = append(text, at, cap, "; at ");
    at = append(text, at, cap, file);
    at = append(text, at, cap, ":");
    at = append_number(text, at, cap, line);
    if (!atomic_flag_test_and_set(&taken)) { /* the first one; kept ends with a zero */
        memcpy(kept, text + sizeof "weir: " - 1, at - (sizeof "weir: " - 1));
        atomic_store_explicit(&failed, kept, memory_order_release);
    }
    text[at++] = '\n';
    ssize_t written = write(STDERR_FILENO, text, at);
    (void)written;
    abort();
}
