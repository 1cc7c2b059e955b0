/* libdw is opened here and nowhere else: it costs start time and memory that no ordinary run should pay. */
#include "cli/lines.h"
#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

const char *const wr_cli_lines_program[] = {"weir", "crash-lines", NULL};

#ifdef WR_HAVE_LIBDW
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>

/* X(function): what is taken from libdw. */
#define LIBDW(X)                                                                                                       \
    X(dwfl_begin)                                                                                                      \
    X(dwfl_linux_proc_report)                                                                                          \
    X(dwfl_report_end)                                                                                                 \
    X(dwfl_linux_proc_find_elf)                                                                                        \
    X(dwfl_standard_find_debuginfo)                                                                                    \
    X(dwfl_addrmodule)                                                                                                 \
    X(dwfl_module_addrname)                                                                                            \
    X(dwfl_module_info)                                                                                                \
    X(dwfl_module_getsrc)                                                                                              \
    X(dwfl_lineinfo)                                                                                                   \
    X(dwfl_module_addrdie)                                                                                             \
    X(dwarf_getscopes)                                                                                                 \
    X(dwarf_getscopes_die)                                                                                             \
    X(dwarf_tag)                                                                                                       \
    X(dwarf_diename)                                                                                                   \
    X(dwarf_attr)                                                                                                      \
    X(dwarf_formudata)                                                                                                 \
    X(dwarf_getsrcfiles)                                                                                               \
    X(dwarf_filesrc)

static struct {
#define MEMBER(NAME) __typeof__(NAME) *NAME;
    LIBDW(MEMBER)
#undef MEMBER
} dw;

static bool load(void)
{
    void *handle = dlopen("libdw.so.1", RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) return false;
#define LOAD(NAME)                                                                                                     \
    *(void **)&dw.NAME = dlsym(handle, #NAME);                                                                         \
    if (dw.NAME == NULL) return false;
    LIBDW(LOAD)
#undef LOAD
    return true;
}

/* What was printed last, so that a recursion takes one line. */
static struct {
    int         number, line, again;
    const char *function, *file;
} last_frame;

static void print_repeats(void)
{
    if (last_frame.again > 0) printf("       ... and %d more of these\n", last_frame.again);
    last_frame.again = 0;
}

/* The loops that the macros of the headers make around user functions. */
static bool is_loop(const char *function)
{
    static const char *const PREFIX[] = {
        "weir_loop_",         "weir_near_loop_", "weir_push_",       "weir_poll_into_",
        "weir_enumerate_of_", "weir_open_",      "weir_close_",      "weir_flush_of_",
        "weir_result_of_",    "weir_merge_of_",  "weir_retract_of_", "weir_timer_of_",
        "weir_prepare_of_",   "weir_commit_of_", "weir_recover_of_", "weir_durable_of_"};
    for (size_t i = 0; i < sizeof PREFIX / sizeof PREFIX[0]; i++)
        if (strncmp(function, PREFIX[i], strlen(PREFIX[i])) == 0) return true;
    return false;
}

/* part: of the frame that was printed last, which an optimizer may have cut into several. */
static void print_frame(const char *function, const char *file, int line, const char *module, bool part)
{
    static const char USER[] = "weir_user_"; /* the macros put it before the names of operators */
    if (function == NULL) function = "?";
    if (is_loop(function) && last_frame.number > 0) return;
    if (strncmp(function, USER, sizeof USER - 1) == 0) function += sizeof USER - 1;
    if (last_frame.function != NULL && strcmp(function, last_frame.function) == 0 && file == last_frame.file &&
        line == last_frame.line) {
        last_frame.again += !part;
        return;
    }
    print_repeats();
    printf("  #%-2d %s", last_frame.number++, function);
    if (file != NULL)
        printf("  at %s:%d", file, line);
    else if (module != NULL)
        printf("  in %s", module);
    printf("\n");
    last_frame.function = function;
    last_frame.file = file;
    last_frame.line = line;
}

/* Where an inlined function was called. */
static const char *call_site(Dwarf_Die *cu, Dwarf_Die *inlined, int *line)
{
    Dwarf_Attribute attribute;
    Dwarf_Word      file = 0, at = 0;
    Dwarf_Files    *files;
    size_t          count;
    if (dw.dwarf_formudata(dw.dwarf_attr(inlined, DW_AT_call_file, &attribute), &file) != 0) return NULL;
    if (dw.dwarf_formudata(dw.dwarf_attr(inlined, DW_AT_call_line, &attribute), &at) != 0) return NULL;
    if (dw.dwarf_getsrcfiles(cu, &files, &count) != 0 || file >= count) return NULL;
    *line = (int)at;
    return dw.dwarf_filesrc(files, file, NULL, NULL);
}

/* One frame for each function that was inlined there, innermost first, and one for the function itself. */
static void print_address(Dwfl *dwfl, Dwarf_Addr address, bool *last)
{
    Dwfl_Module *module = dw.dwfl_addrmodule(dwfl, address);
    if (module == NULL) {
        printf("  #%-2d 0x%llx: no code there: a call through a wrong pointer\n", last_frame.number++,
               (unsigned long long)address);
        return;
    }
    const char *symbol = dw.dwfl_module_addrname(module, address);
    const char *path = dw.dwfl_module_info(module, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
    const char *file = NULL;
    int         line = 0, scopes;
    Dwfl_Line  *at = dw.dwfl_module_getsrc(module, address);
    Dwarf_Addr  bias = 0;
    Dwarf_Die  *cu = dw.dwfl_module_addrdie(module, address, &bias), *scope = NULL;
    if (at != NULL) file = dw.dwfl_lineinfo(at, NULL, &line, NULL, NULL, NULL);
    *last = symbol != NULL && (strcmp(symbol, "wr_user_call") == 0 || strcmp(symbol, "wr_op_close_resources") == 0);
    if (*last) return; /* from here outwards it is the engine */
    scopes = cu != NULL ? dw.dwarf_getscopes(cu, address - bias, &scope) : 0;
    if (scopes > 0) { /* those are where the code was written; who called it is the chain of the innermost one */
        Dwarf_Die *chain = NULL;
        scopes = dw.dwarf_getscopes_die(&scope[0], &chain);
        free(scope);
        scope = chain;
    }
    bool printed = false, part = false;
    for (int i = 0; i < scopes && !printed; i++) {
        int tag = dw.dwarf_tag(&scope[i]);
        if (tag != DW_TAG_inlined_subroutine && tag != DW_TAG_subprogram) continue;
        printed = tag == DW_TAG_subprogram;
        print_frame(dw.dwarf_diename(&scope[i]), file, line, path, part);
        part = true;
        if (!printed) file = call_site(cu, &scope[i], &line);
    }
    if (!printed) print_frame(symbol, file, line, path, false);
    free(scope);
}

static bool print_all(pid_t pid, int count, char *const address[])
{
    unsetenv("DEBUGINFOD_URLS"); /* no network in a crash report */
    if (!load()) return false;
    static char                *debug_path = NULL;
    static const Dwfl_Callbacks CALLBACKS_NONE = {0};
    Dwfl_Callbacks              callbacks = CALLBACKS_NONE;
    callbacks.find_elf = dw.dwfl_linux_proc_find_elf;
    callbacks.find_debuginfo = dw.dwfl_standard_find_debuginfo;
    callbacks.debuginfo_path = &debug_path;
    Dwfl *dwfl = dw.dwfl_begin(&callbacks);
    if (dwfl == NULL || dw.dwfl_linux_proc_report(dwfl, pid) != 0) return false;
    if (dw.dwfl_report_end(dwfl, NULL, NULL) != 0) return false;
    bool last = false;
    for (int i = 0; i < count && !last; i++) {
        Dwarf_Addr at = strtoull(address[i], NULL, 16);
        print_address(dwfl, i == 0 || at == 0 ? at : at - 1, &last);
    }
    print_repeats();
    return last_frame.number > 0;
}
#else
static bool print_all(pid_t pid, int count, char *const address[])
{
    (void)pid, (void)count, (void)address;
    return false;
}
#endif

int wr_cli_lines(int argc, char *const argv[])
{
    alarm(15);
    if (argc < 2) return 2;
    return print_all((pid_t)strtol(argv[0], NULL, 0), argc - 1, argv + 1) && fflush(stdout) == 0 ? 0 : 1;
}
