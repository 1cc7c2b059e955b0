#include "taskmanager/report.h"
#include <string.h>

/* Printable ASCII and line ends; a record may print anything. */
static void clean(char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if ((c < ' ' && c != '\n') || c == 0x7f) bytes[i] = ' ';
    }
}

/* "weir: error[E0506 CRASH]: TEXT"; the frames follow on lines of their own. */
static void read_line(const char *text, wr_errinfo *info)
{
    unsigned    number = 0;
    int         at = 0;
    const char *line = strstr(text, "weir: error[E");
    if (line == NULL || sscanf(line, "weir: error[E%4u %*[A-Z_]]: %n", &number, &at) < 1 || at == 0) return;
    line += at;
    size_t n = strcspn(line, "\n");
    if (n >= sizeof info->text) n = sizeof info->text - 1;
    info->code = (wr_err)number;
    if (number == 0 || strcmp(wr_err_name(info->code), "?") == 0) info->code = WR_CRASH;
    memcpy(info->text, line, n);
    info->text[n] = 0;
}

/* The innermost frame of the pipeline: those of the C library are named by paths that are relative to nothing here. */
static void first_frame(const char *text, wr_errinfo *info)
{
    const char *frame = info->code != WR_OK ? strstr(text, "\n  #0 ") : NULL;
    for (; frame != NULL; frame = strstr(frame + 1, "\n  #")) {
        const char *name = frame + 4;
        name += strspn(name, "0123456789 ");
        int         n = (int)strcspn(name, "\n");
        const char *place = strstr(name, "  at ");
        if (place == NULL || place >= name + n || place[5] == '.') continue;
        size_t have = strlen(info->text);
        snprintf(info->text + have, sizeof info->text - have, "; in %.*s", n, name);
        return;
    }
}

void wr_crash_report_read(wr_crash_report *report, char *bytes, size_t n)
{
    unsigned subtask;
    int      at = 0;
    clean(bytes, n);
    *report = (wr_crash_report){.subtask = UINT32_MAX, .text = bytes};
    if (sscanf(bytes, "@%9u\n%n", &subtask, &at) == 1 && at > 0) {
        report->subtask = subtask;
        report->text = bytes + at;
    }
    read_line(report->text, &report->info);
    first_frame(report->text, &report->info);
}
