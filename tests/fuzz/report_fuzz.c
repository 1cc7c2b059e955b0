/* Reports of crashed workers. */
#include "base/check.h"
#include "taskmanager/report.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    wr_crash_report report;
    char           *copy = malloc(size + 1); /* of its own size: reads behind it are seen */
    check(copy != NULL);
    if (size > 0) memcpy(copy, bytes, size);
    copy[size] = 0;
    wr_crash_report_read(&report, copy, size);
    check(report.text >= copy && report.text <= copy + size);
    check(strlen(report.info.text) < sizeof report.info.text);
    check(report.info.code == WR_OK || strcmp(wr_err_name(report.info.code), "?") != 0);
    for (const char *at = report.text; *at != 0; at++) check((unsigned char)*at >= ' ' || *at == '\n');
    free(copy);
    return 0;
}
