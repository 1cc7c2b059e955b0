/* base/log.h: one line per message, made in a local buffer and given to the system by one write. No lock, no
 * allocation; any thread. Lines over WR_LOG_LINE_BYTES_MAX are cut. */
#ifndef WR_BASE_LOG_H
#define WR_BASE_LOG_H
#include "base/env.h"
#include <stdarg.h>
#include <stdbool.h>

typedef enum wr_log_level { WR_LOG_ERROR, WR_LOG_WARN, WR_LOG_INFO, WR_LOG_DEBUG, WR_LOG_TRACE } wr_log_level;

/* Where lines go and which: fd (standard error at first), the most talkative level wanted (WR_LOG_WARN at first),
 * and the clock that stamps them (NULL, at first: no stamp). Set at start, before there are threads. */
void wr_log_setup(int fd, wr_log_level level, const wr_env *clock);
bool wr_log_wanted(wr_log_level level);
bool wr_log_level_of(const char *name, wr_log_level *level); /* "error" "warn" "info" "debug" "trace" */

/* "[2024-05-06T07:08:09.123Z ]info  WHERE: text". where may be NULL. */
void wr_log_line(wr_log_level level, const char *where, const char *format, ...) __attribute__((format(printf, 3, 4)));
void wr_log_vline(wr_log_level level, const char *where, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));

#define wr_log(LEVEL, ...) (wr_log_wanted(LEVEL) ? wr_log_line(LEVEL, NULL, __VA_ARGS__) : (void)0)

#endif
