/* taskmanager/report.h: reads what a dying worker has left (taskmanager/crash.h writes it). It was written by a process
 * that had gone mad: nothing in it is believed. Pure. */
#ifndef WR_TASKMANAGER_REPORT_H
#define WR_TASKMANAGER_REPORT_H
#include "base/error.h"
#include <stddef.h>
#include <stdint.h>

typedef struct wr_crash_report {
    uint32_t    subtask; /* index in wr_exec.subtask; UINT32_MAX: not known */
    wr_errinfo  info;    /* its first error, with the innermost frame of the pipeline; code WR_OK: none */
    const char *text;    /* the whole report, for people: within `bytes` */
} wr_crash_report;

/* bytes[n] is a zero byte; what cannot be shown is made spaces in place. */
void wr_crash_report_read(wr_crash_report *report, char *bytes, size_t n);

#endif
