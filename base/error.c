#include "base/error.h"
#include <errno.h>
#include <stdarg.h>
#include <string.h>

typedef struct error_row {
    wr_err      code;
    int         exit;
    wr_reaction reaction;
    const char *name, *text;
} error_row;

static const error_row TABLE[] = {{WR_OK, WR_EXIT_OK, WR_RETRY, "OK", "no error"},
#define ROW(NAME, NUMBER, EXIT, REACTION, TEXT) {WR_##NAME, EXIT, REACTION, #NAME, TEXT},
                                  WR_ERRORS(ROW)
#undef ROW
};

static const error_row UNKNOWN = {WR_INTERNAL, WR_EXIT_FAILED, WR_FATAL, "?", "an error that the table does not have"};

static const error_row *row_of(wr_err err)
{
    for (size_t i = 0; i < sizeof TABLE / sizeof TABLE[0]; i++)
        if (TABLE[i].code == err) return &TABLE[i];
    return &UNKNOWN;
}

const char *wr_err_name(wr_err err)
{
    return row_of(err)->name;
}

const char *wr_err_text(wr_err err)
{
    return row_of(err)->text;
}

int wr_err_exit(wr_err err)
{
    return row_of(err)->exit;
}

wr_reaction wr_err_reaction(wr_err err)
{
    return row_of(err)->reaction;
}

wr_err wr_err_of_errno(int number)
{
    switch (number) {
    case 0: return WR_OK;
    case ENOENT:
    case ENOTDIR: return WR_NOT_FOUND;
    case EACCES:
    case EPERM:
    case EROFS: return WR_PERMISSION;
    case ENOMEM: return WR_MEMORY;
    case ETIMEDOUT: return WR_TIMEOUT;
    case ECONNREFUSED:
    case EHOSTUNREACH:
    case ENETUNREACH: return WR_UNREACHABLE;
    default: return WR_IO;
    }
}

/* True when info is there and still empty. */
static int takes(const wr_errinfo *info)
{
    return info != NULL && info->code == WR_OK;
}

wr_err wr_fail(wr_errinfo *info, wr_err err, const char *format, ...)
{
    if (!takes(info)) return err;
    va_list args;
    va_start(args, format);
    vsnprintf(info->text, sizeof info->text, format, args);
    va_end(args);
    info->code = err;
    return err;
}

wr_err wr_fail_errno(wr_errinfo *info, int number, const char *format, ...)
{
    wr_err err = wr_err_of_errno(number);
    if (!takes(info)) return err;
    va_list args;
    va_start(args, format);
    vsnprintf(info->text, sizeof info->text, format, args);
    va_end(args);
    size_t at = strlen(info->text);
    char   text[128];
    /* The GNU strerror_r: thread-safe, and may return a constant instead of filling text. */
    snprintf(info->text + at, sizeof info->text - at, ": %s", strerror_r(number, text, sizeof text));
    info->code = err;
    return err;
}

void wr_err_print(FILE *file, const wr_errinfo *info)
{
    if (info->code == WR_OK) return;
    fprintf(file, "weir: error[E%04d %s]: %s\n", (int)info->code, wr_err_name(info->code), wr_errinfo_text(info));
}
