/* cli/module.h: opens a pipeline from a shared object, after everything that can be checked without running a line
 * of it was checked. */
#ifndef WR_CLI_MODULE_H
#define WR_CLI_MODULE_H
#include "base/error.h"
#include <weir/op.h>

/* Caller's storage, one thread. Never closed: its strings and code may be in use until the process ends. */
typedef struct wr_module {
    const char        *path; /* the caller's */
    void              *handle;
    const weir_module *descriptor;
} wr_module;

/* NOT_FOUND, PERMISSION, NOT_A_PIPELINE, WRONG_CPU, WRONG_ABI; info says what to do. */
wr_err wr_module_open(wr_module *module, const char *path, wr_errinfo *info);
/* The part that runs nothing of it: there, readable, a whole shared object, for this CPU. path is followed by what
 * it is meant to be: "pipeline", "connector". */
wr_err wr_module_look(const char *path, const char *what, wr_errinfo *info);
/* The descriptor, whoever it is from. */
wr_err wr_module_accept(const weir_module *m, const char *path, wr_errinfo *info);

#endif
