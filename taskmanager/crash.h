/* taskmanager/crash.h: what `weir` says when the pipeline's own code crashes: which operator, which signal, which
 * record, and a backtrace with file and line. The process ends with exit code 5: after a wild write nothing in it
 * can be trusted.
 *
 * The record is known where loops keep ctx->at. Where they do not, the batch is run once more, one record at a time,
 * on the crashed thread and with outputs that lead nowhere: the record that crashes again is the one. What waits for a
 * lock that the crashed code holds is given up after some seconds: then the record is not known. */
#ifndef WR_TASKMANAGER_CRASH_H
#define WR_TASKMANAGER_CRASH_H
#include <stdbool.h>

/* Once, before there are threads. lines: arguments of a program that is given our process id and the addresses of
 * the frames and prints them (ended by NULL, at most 3, must live on), or NULL: bare addresses. Without this call
 * nothing here does anything: a program that embeds Weir keeps its own handlers. Under a sanitizer, which reports
 * better, it does nothing. */
void wr_crash_install(const char *const *lines);
/* Each thread that runs user code, at its start and end. Those that the real environment starts are known without. */
void wr_crash_thread_init(void);
void wr_crash_thread_fini(void);
/* The calling thread runs user code that belongs to no operator: "the build function of wordcount"; NULL: no longer.
 * The text must live until then. */
void wr_crash_in(const char *what);
/* The report goes there as well, behind a line "@SUBTASK" (index in wr_exec.subtask) when it is known whose code it
 * was.
 * Appended to; it stays open until the process ends. */
void wr_crash_report_to(int file);
/* Code that calls exit() or quick_exit() is reported like a crash. only_inside: of a thread that runs user code just
 * then; the process
 * may end by exit() otherwise. */
void wr_crash_at_exit(bool only_inside);
/* A signal that makes the thread that gets it report that its code does not return, and ends the process; seconds: how
 * long it has not. 0: there is none. Once, after wr_crash_install. */
int wr_crash_hang_signal(unsigned seconds);
/* A report is being written: others must not write to the terminal. Any thread. */
bool wr_crash_under_way(void);

#endif
