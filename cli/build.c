/* weir build: calls the compiler with the flags of `pkg-config --cflags weir`, from the build tree as well as
 * installed. */
#include "base/env.h"
#include "cli/options.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FLAGS_OF_CC_MAX = 32, OWN_FLAGS_MAX = 32 };

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n > m && strcmp(text + n - m, end) == 0;
}

static bool is_cpp(const char *path)
{
    return ends_with(path, ".cc") || ends_with(path, ".cpp") || ends_with(path, ".cxx") || ends_with(path, ".C");
}

/* The folder that holds weir/pipeline.h: beside the program's folder when installed (PREFIX/bin, PREFIX/include),
 * above it in the build tree (build/release, include), else where the build was told. */
static bool find_headers(char folder[WR_PATH_BYTES_MAX])
{
    char    self[WR_PATH_BYTES_MAX - 64], file[WR_PATH_BYTES_MAX + 32];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = 0;
    char *slash = strrchr(self, '/');
    if (slash != NULL) *slash = 0;
    const char *const PLACE[] = {"/../include", "/../../include", WR_INCLUDE_INSTALLED, WR_INCLUDE_BUILD};
    for (size_t i = 0; i < sizeof PLACE / sizeof PLACE[0]; i++) {
        snprintf(folder, WR_PATH_BYTES_MAX, "%s%s", i < 2 ? self : "", PLACE[i]);
        snprintf(file, sizeof file, "%s/weir/pipeline.h", folder);
        if (access(file, R_OK) != 0) continue;
        char *straight = realpath(folder, NULL);
        if (straight != NULL) snprintf(folder, WR_PATH_BYTES_MAX, "%s", straight);
        free(straight);
        return true;
    }
    return false;
}

/* "ccache gcc-12 -m64": words, in place. */
static int split_words(char *text, char *word[], int most)
{
    int   n = 0;
    char *save = NULL;
    for (char *at = strtok_r(text, " \t", &save); at != NULL && n < most; at = strtok_r(NULL, " \t", &save))
        word[n++] = at;
    return n;
}

/* Runs a program and gives its exit code, or 128 + its signal; -errno when it cannot be run. */
static int run_program(char *const argv[])
{
    int out[2];
    if (pipe2(out, O_CLOEXEC) != 0) return -errno;
    pid_t pid = fork();
    if (pid < 0) return -errno;
    if (pid == 0) {
        execvp(argv[0], argv);
        int     number = errno;
        ssize_t n = write(out[1], &number, sizeof number);
        _exit(n > 0 ? 127 : 126);
    }
    close(out[1]);
    int     status = 0, number = 0;
    ssize_t n = read(out[0], &number, sizeof number);
    close(out[0]);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    if (n == sizeof number) return -number;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* clang and gcc name the flag that shortens macro traces differently. */
static bool is_clang(char *const compiler[], int words)
{
    char command[1024], line[256];
    int  n = 0;
    for (int i = 0; i < words && n < (int)sizeof command; i++)
        n += snprintf(command + n, sizeof command - (size_t)n, "%s ", compiler[i]);
    if (n >= (int)sizeof command - 32) return false;
    snprintf(command + n, sizeof command - (size_t)n, "--version 2>/dev/null");
    FILE *pipe = popen(command, "r");
    if (pipe == NULL) return false;
    bool clang = false;
    while (fgets(line, sizeof line, pipe) != NULL) clang |= strstr(line, "clang") != NULL;
    pclose(pipe);
    return clang;
}

/* x.c -> x.so beside it. */
static void default_output(char to[WR_PATH_BYTES_MAX], const char *source)
{
    const char *dot = strrchr(source, '.'), *slash = strrchr(source, '/'), *name = slash != NULL ? slash + 1 : source;
    size_t      n = dot != NULL && dot > name ? (size_t)(dot - source) : strlen(source);
    snprintf(to, WR_PATH_BYTES_MAX, "%.*s.so", (int)n, source);
}

static wr_err look_at_source(const char *path, wr_errinfo *info)
{
    if (ends_with(path, ".so"))
        return wr_fail(info, WR_USAGE, "this is compiled already: %s; run it: weir run %s", path, path);
    if (!ends_with(path, ".c") && !is_cpp(path))
        return wr_fail(info, WR_USAGE, "not a C or C++ source by its name: %s; .c, .cc, .cpp and .cxx are", path);
    if (access(path, R_OK) != 0) return wr_fail_errno(info, errno, "cannot read %s", path);
    return WR_OK;
}

static int compile(const wr_options *options, const char *output, char *compiler, const char *headers)
{
    wr_errinfo info = {0};
    char       include[WR_PATH_BYTES_MAX + 2];
    bool       cpp = is_cpp(options->file);
    char     **argv = calloc(FLAGS_OF_CC_MAX + OWN_FLAGS_MAX + options->rests, sizeof *argv);
    if (argv == NULL) {
        wr_fail(&info, WR_MEMORY, "no memory for the compiler's arguments");
        return wr_cli_fail(&info);
    }
    int words = split_words(compiler, argv, FLAGS_OF_CC_MAX), n = words;
    snprintf(include, sizeof include, "-I%s", headers);
    const char *const OWN[] = {cpp ? "-std=gnu++17" : "-std=gnu17",
                               "-Wall",
                               "-Wextra",
                               "-O3",
                               "-g",
                               "-fPIC",
                               "-fvisibility=hidden",
                               "-fno-semantic-interposition",
                               is_clang(argv, words) ? "-fmacro-backtrace-limit=1" : "-ftrack-macro-expansion=0",
                               include,
                               "-shared"};
    for (size_t i = 0; i < sizeof OWN / sizeof OWN[0]; i++) argv[n++] = (char *)(uintptr_t)OWN[i];
    argv[n++] = (char *)(uintptr_t)options->file;
    for (uint32_t i = 0; i < options->rests; i++) argv[n++] = (char *)(uintptr_t)options->rest[i];
    argv[n++] = (char *)(uintptr_t) "-o";
    argv[n++] = (char *)(uintptr_t)output;
    int got = run_program(argv);
    if (got < 0)
        wr_fail(&info, WR_NOT_FOUND, "cannot run the compiler %s: %s; install it, or name another one in %s", argv[0],
                strerror(-got), cpp ? "CXX" : "CC");
    if (got > 0)
        wr_fail(&info, WR_CONFIG, "the compiler (%s) refused it; %s; see its messages above", argv[0], options->file);
    free(argv);
    if (got != 0) return wr_cli_fail(&info);
    if (!options->quiet) fprintf(stderr, "weir: built %s\n", output);
    return WR_EXIT_OK;
}

int wr_cli_build(const wr_options *options)
{
    wr_errinfo info = {0};
    char       headers[WR_PATH_BYTES_MAX], beside[WR_PATH_BYTES_MAX];
    if (look_at_source(options->file, &info) != WR_OK) return wr_cli_fail(&info);
    if (!find_headers(headers)) {
        wr_fail(&info, WR_NOT_FOUND,
                "cannot find the headers (weir/pipeline.h) beside this program; install Weir as a whole");
        return wr_cli_fail(&info);
    }
    const char *wanted = getenv(is_cpp(options->file) ? "CXX" : "CC");
    if (wanted == NULL || wanted[strspn(wanted, " \t")] == 0) wanted = is_cpp(options->file) ? "c++" : "cc";
    default_output(beside, options->file);
    char *compiler = strdup(wanted);
    if (compiler == NULL) {
        wr_fail(&info, WR_MEMORY, "no memory");
        return wr_cli_fail(&info);
    }
    int exit_code = compile(options, options->output != NULL ? options->output : beside, compiler, headers);
    free(compiler);
    return exit_code;
}
