/* base/error.h: the one table of errors that can happen in operation, and the one way to report them.
 *
 * A function that can fail returns wr_err and takes a wr_errinfo * of its caller, which may be NULL. The text names
 * the cause first, then the place (operator, file and line, URI, offset), then what to do, parted by "; ". */
#ifndef WR_BASE_ERROR_H
#define WR_BASE_ERROR_H
#include "base/limits.h"
#include <stdio.h>

/* What the coordinator does about it; the code that saw the error never decides this. */
typedef enum wr_reaction {
    WR_RETRY,     /* the same call may succeed later */
    WR_FAIL_TASK, /* this attempt is over; the job restarts by its policy */
    WR_FAIL_JOB,  /* trying again cannot help */
    WR_FATAL,     /* this process must end */
} wr_reaction;

/* Exit codes of `weir`. */
enum {
    WR_EXIT_OK = 0,
    WR_EXIT_FAILED = 1,
    WR_EXIT_USAGE = 2,       /* wrong use, or an invalid pipeline */
    WR_EXIT_UNREACHABLE = 3, /* no JobManager */
    WR_EXIT_NO_JOB = 4,      /* job not found */
    WR_EXIT_JOB_FAILED = 5,
    WR_EXIT_TIMEOUT = 6,
    WR_EXIT_INCOMPATIBLE = 7, /* ABI or state */
    WR_EXIT_PERMISSION = 8,
    WR_EXIT_INTERRUPTED = 130,
};

/* clang-format off */
/* X(name, number, exit code, reaction, text). Numbers are documented and never re-used. */
#define WR_ERRORS(X)                                                                                                   \
    X(USAGE,            101, WR_EXIT_USAGE,        WR_FAIL_JOB,  "wrong use of the command")                           \
    X(CONFIG,           102, WR_EXIT_USAGE,        WR_FAIL_JOB,  "wrong configuration")                                \
    X(NOT_YET,          103, WR_EXIT_USAGE,        WR_FAIL_JOB,  "not yet available in this version")                  \
    X(NOT_A_PIPELINE,   201, WR_EXIT_INCOMPATIBLE, WR_FAIL_JOB,  "not a pipeline")                                     \
    X(WRONG_ABI,        202, WR_EXIT_INCOMPATIBLE, WR_FAIL_JOB,  "built for another version of Weir")                  \
    X(WRONG_CPU,        203, WR_EXIT_INCOMPATIBLE, WR_FAIL_JOB,  "built for another CPU")                              \
    X(GRAPH,            301, WR_EXIT_USAGE,        WR_FAIL_JOB,  "the pipeline is not valid")                          \
    X(URI,              302, WR_EXIT_USAGE,        WR_FAIL_JOB,  "wrong URI")                                          \
    X(OPTION,           303, WR_EXIT_USAGE,        WR_FAIL_JOB,  "wrong option")                                       \
    X(FORMAT,           304, WR_EXIT_USAGE,        WR_FAIL_JOB,  "wrong format")                                       \
    X(IO,               401, WR_EXIT_FAILED,       WR_FAIL_TASK, "input or output failed")                             \
    X(NOT_FOUND,        402, WR_EXIT_FAILED,       WR_FAIL_JOB,  "not found")                                          \
    X(PERMISSION,       403, WR_EXIT_PERMISSION,   WR_FAIL_JOB,  "permission denied")                                  \
    X(TIMEOUT,          404, WR_EXIT_TIMEOUT,      WR_RETRY,     "timed out")                                          \
    X(UNREACHABLE,      405, WR_EXIT_UNREACHABLE,  WR_RETRY,     "cannot be reached")                                  \
    X(NO_JOB,           406, WR_EXIT_NO_JOB,       WR_FAIL_JOB,  "no such job")                                        \
    X(BAD_RECORD,       501, WR_EXIT_JOB_FAILED,   WR_FAIL_JOB,  "a record cannot be read")                            \
    X(RECORD_TOO_LARGE, 502, WR_EXIT_JOB_FAILED,   WR_FAIL_JOB,  "a record is larger than the maximum")                \
    X(STATE_MAX,        503, WR_EXIT_JOB_FAILED,   WR_FAIL_JOB,  "state is larger than its maximum")                   \
    X(OVERDRAFT,        504, WR_EXIT_JOB_FAILED,   WR_FAIL_JOB,  "one call emitted more than the maximum")             \
    X(USER_FAIL,        505, WR_EXIT_JOB_FAILED,   WR_FAIL_TASK, "the pipeline's own code reported a failure")         \
    X(CRASH,            506, WR_EXIT_JOB_FAILED,   WR_FAIL_TASK, "the pipeline's own code crashed")                    \
    X(CANCELED,         507, WR_EXIT_INTERRUPTED,  WR_FAIL_JOB,  "canceled")                                           \
    X(COMMIT_LOST,      508, WR_EXIT_JOB_FAILED,   WR_FAIL_JOB,  "a prepared write cannot be committed any more")     \
    X(DAMAGED,          601, WR_EXIT_FAILED,       WR_FAIL_JOB,  "a file of a snapshot is damaged")                    \
    X(NEWER,            602, WR_EXIT_INCOMPATIBLE, WR_FAIL_JOB,  "written by a newer version of Weir")                 \
    X(STATE,            603, WR_EXIT_INCOMPATIBLE, WR_FAIL_JOB,  "the snapshot does not fit the pipeline")             \
    X(BUSY,             604, WR_EXIT_FAILED,       WR_FAIL_JOB,  "another process is using it")                        \
    X(MEMORY,           901, WR_EXIT_FAILED,       WR_FATAL,     "out of memory")                                      \
    X(LIMIT,            902, WR_EXIT_FAILED,       WR_FAIL_JOB,  "a limit of the engine is exceeded")                  \
    X(INTERNAL,         903, WR_EXIT_FAILED,       WR_FATAL,     "an error inside Weir")
/* clang-format on */

typedef enum wr_err {
    WR_OK = 0,
#define WR_ERR_ENUM_(NAME, NUMBER, EXIT, REACTION, TEXT) WR_##NAME = NUMBER,
    WR_ERRORS(WR_ERR_ENUM_)
#undef WR_ERR_ENUM_
} wr_err;

/* Caller's storage, one thread. Zero (or wr_errinfo_init) means no error yet. */
typedef struct wr_errinfo {
    wr_err code;
    char   text[WR_ERROR_BYTES_MAX];
} wr_errinfo;

const char *wr_err_name(wr_err err); /* "NOT_FOUND"; "OK"; "?" for a number that is not in the table */
const char *wr_err_text(wr_err err); /* the table's text */
/* What is known of this error, else the table's text. */
static inline const char *wr_errinfo_text(const wr_errinfo *info)
{
    return info->text[0] != 0 ? info->text : wr_err_text(info->code);
}
int         wr_err_exit(wr_err err); /* exit code of a command that ends with it; 0 for WR_OK */
wr_reaction wr_err_reaction(wr_err err);
/* ENOENT -> WR_NOT_FOUND, EACCES -> WR_PERMISSION, ENOMEM -> WR_MEMORY, and so on; else WR_IO. */
wr_err wr_err_of_errno(int number);

static inline void wr_errinfo_init(wr_errinfo *info)
{
    info->code = WR_OK;
    info->text[0] = 0;
}

/* Stores code and text unless info already holds an error: the first one wins. Longer texts are cut. Returns err. */
wr_err wr_fail(wr_errinfo *info, wr_err err, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The same with ": " and the text of errno appended; number is a positive errno. The code is
 * wr_err_of_errno(number). */
wr_err wr_fail_errno(wr_errinfo *info, int number, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* "weir: error[E0402 NOT_FOUND]: TEXT\n". Does nothing when there is no error. */
void wr_err_print(FILE *file, const wr_errinfo *info);

#define WR_TRY(CALL)                                                                                                   \
    do {                                                                                                               \
        wr_err err_ = (CALL);                                                                                          \
        if (__builtin_expect(err_ != WR_OK, 0)) return err_;                                                           \
    } while (0)
/* Needs a variable `wr_err err` and a label `out:`. */
#define WR_GOTO(CALL)                                                                                                  \
    do {                                                                                                               \
        err = (CALL);                                                                                                  \
        if (__builtin_expect(err != WR_OK, 0)) goto out;                                                               \
    } while (0)

#endif
