/* cli/lines.h: functions and lines behind addresses of another process: the backtrace of a crash. It runs in a
 * process of its own, started by the crash handler as `weir crash-lines PID ADDRESS...`. */
#ifndef WR_CLI_LINES_H
#define WR_CLI_LINES_H

/* For wr_crash_install. */
extern const char *const wr_cli_lines_program[];
/* The first address is that of the faulting instruction, the others are return addresses. Prints to standard output;
 * gives the exit code, not 0 when nothing was printed. */
int wr_cli_lines(int argc, char *const argv[]);

#endif
