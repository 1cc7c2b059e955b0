/* base/check.h: checks for programmer errors. check() is always on: use it per batch or per call. dcheck() is for
 * debug builds and the simulator only: use it per record. Errors that can happen in operation are base/error.h,
 * never these. */
#ifndef WR_BASE_CHECK_H
#define WR_BASE_CHECK_H

/* Prints "weir: check failed: EXPR" and the place to stderr, then aborts. Any thread; async-signal-safe. */
_Noreturn void wr_check_failed(const char *file, int line, const char *expr);

#define check(EXPR) (__builtin_expect(!!(EXPR), 1) ? (void)0 : wr_check_failed(__FILE__, __LINE__, #EXPR))

#ifdef WR_DEBUG
#define dcheck(EXPR) check(EXPR)
#else
#define dcheck(EXPR) ((void)sizeof(!(EXPR))) /* not evaluated, but it must compile, and its variables count as used */
#endif

#endif
