/* base/failed_check.h: for the crash report: a check that failed is our error, whoever's code had called us. */
#ifndef WR_BASE_FAILED_CHECK_H
#define WR_BASE_FAILED_CHECK_H

/* What wr_check_failed printed, from "check failed" on and without its line end; NULL: no check has failed.
 * Any thread; async-signal-safe. */
const char *wr_check_text(void);

#endif
