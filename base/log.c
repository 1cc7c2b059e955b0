#include "base/log.h"
#include "base/limits.h"
#include "base/text.h"
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *const NAME[] = {"error", "warn", "info", "debug", "trace"};

/* Shared; set before there are threads, so relaxed loads do. */
static _Atomic int                    log_fd = STDERR_FILENO;
static _Atomic int                    log_level = WR_LOG_WARN;
static _Atomic(const struct wr_env *) log_clock;

void wr_log_setup(int fd, wr_log_level level, const wr_env *clock)
{
    atomic_store_explicit(&log_fd, fd, memory_order_relaxed);
    atomic_store_explicit(&log_level, (int)level, memory_order_relaxed);
    atomic_store_explicit(&log_clock, clock, memory_order_relaxed);
}

bool wr_log_wanted(wr_log_level level)
{
    return (int)level <= atomic_load_explicit(&log_level, memory_order_relaxed);
}

bool wr_log_level_of(const char *name, wr_log_level *level)
{
    for (size_t i = 0; i < sizeof NAME / sizeof NAME[0]; i++) {
        if (strcmp(name, NAME[i]) != 0) continue;
        *level = (wr_log_level)i;
        return true;
    }
    return false;
}

static size_t add(char *line, size_t at, const char *text)
{
    size_t count = strlen(text), room = WR_LOG_LINE_BYTES_MAX - 1 - at;
    if (count > room) count = room;
    memcpy(line + at, text, count);
    return at + count;
}

static size_t add_stamp(char *line, const wr_env *clock)
{
    int64_t ms = clock->wall_ns(clock->self) / 1000000;
    size_t  count = wr_text_of_time(line, ms * 1000000);
    line[count++] = ' ';
    return count;
}

void wr_log_vline(wr_log_level level, const char *where, const char *format, va_list args)
{
    if (!wr_log_wanted(level)) return;
    char          line[WR_LOG_LINE_BYTES_MAX];
    const wr_env *clock = atomic_load_explicit(&log_clock, memory_order_relaxed);
    size_t        at = clock != NULL ? add_stamp(line, clock) : 0;
    at = add(line, at, NAME[level]);
    at = add(line, at, level == WR_LOG_WARN || level == WR_LOG_INFO ? "  " : " ");
    if (where != NULL) {
        at = add(line, at, where);
        at = add(line, at, ": ");
    }
    size_t room = sizeof line - at;
    int    count = vsnprintf(line + at, room, format, args);
    size_t end = count < 0 ? at : at + ((size_t)count < room - 1 ? (size_t)count : room - 1);
    for (size_t i = at; i < end; i++) /* one message stays one line */
        if (line[i] == '\n') line[i] = ' ';
    line[end++] = '\n';
    /* One write, so that lines of several threads do not mix. Nothing can be done about a log that cannot be
     * written. */
    ssize_t written = write(atomic_load_explicit(&log_fd, memory_order_relaxed), line, end);
    (void)written;
}

void wr_log_line(wr_log_level level, const char *where, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    wr_log_vline(level, where, format, args);
    va_end(args);
}
