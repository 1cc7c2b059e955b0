#include "cli/module.h"
#include "taskmanager/crash.h"
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__x86_64__)
#define THIS_MACHINE EM_X86_64
#elif defined(__aarch64__)
#define THIS_MACHINE EM_AARCH64
#elif defined(__riscv)
#define THIS_MACHINE EM_RISCV
#elif defined(__powerpc64__)
#define THIS_MACHINE EM_PPC64
#elif defined(__s390x__)
#define THIS_MACHINE EM_S390
#else
#error "which ELF machine is this?"
#endif
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define THIS_ORDER ELFDATA2LSB
#else
#define THIS_ORDER ELFDATA2MSB
#endif

static const char *machine_name(unsigned machine, char *other, size_t n)
{
    static const struct {
        unsigned    machine;
        const char *name;
    } NAME[] = {{EM_X86_64, "x86-64"},     {EM_AARCH64, "AArch64"},    {EM_386, "x86 (32 bits)"},
                {EM_ARM, "ARM (32 bits)"}, {EM_RISCV, "RISC-V"},       {EM_PPC64, "PowerPC 64"},
                {EM_S390, "s390x"},        {EM_LOONGARCH, "LoongArch"}};
    for (size_t i = 0; i < sizeof NAME / sizeof NAME[0]; i++)
        if (NAME[i].machine == machine) return NAME[i].name;
    snprintf(other, n, "machine %u", machine);
    return other;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static bool is_source(const char *path)
{
    static const char *const END[] = {".c", ".cc", ".cpp", ".cxx"};
    for (size_t i = 0; i < sizeof END / sizeof END[0]; i++)
        if (ends_with(path, END[i])) return true;
    return false;
}

static wr_err not_one(const char *path, const char *what, const char *cause, wr_errinfo *info)
{
    return wr_fail(info, WR_NOT_A_PIPELINE, "%s; %s; give the .so of a %s, as `weir build` makes it", cause, path,
                   what);
}

/* All segments that the loader would map lie in the file: mapping a cut file succeeds, and touching it kills. */
static bool whole(int file, const Elf64_Ehdr *head, off_t bytes)
{
    uint64_t sections;
    if (__builtin_add_overflow(head->e_shoff, (uint64_t)head->e_shnum * head->e_shentsize, &sections)) return false;
    if (sections > (uint64_t)bytes)
        return false; /* their table stands last: what lacks it was cut off, be it loadable */
    if (head->e_phentsize != sizeof(Elf64_Phdr) || head->e_phnum == 0) return false;
    for (unsigned i = 0; i < head->e_phnum; i++) {
        Elf64_Phdr segment;
        if (pread(file, &segment, sizeof segment, (off_t)(head->e_phoff + i * sizeof segment)) != sizeof segment)
            return false;
        if (segment.p_type != PT_LOAD && segment.p_type != PT_DYNAMIC) continue;
        uint64_t end;
        if (__builtin_add_overflow(segment.p_offset, segment.p_filesz, &end) || end > (uint64_t)bytes) return false;
    }
    return true;
}

static wr_err look_into(int file, const char *path, const char *what, wr_errinfo *info)
{
    struct stat st;
    Elf64_Ehdr  head;
    char        a[32], b[32];
    if (fstat(file, &st) != 0) return wr_fail_errno(info, errno, "cannot look at %s", path);
    if (S_ISDIR(st.st_mode)) return not_one(path, what, "this is a folder", info);
    if (!S_ISREG(st.st_mode)) return not_one(path, what, "this is a pipe or a device, not a file", info);
    ssize_t n = pread(file, &head, sizeof head, 0);
    if (n < 0) return wr_fail_errno(info, errno, "cannot read %s", path);
    if (is_source(path)) {
        return wr_fail(info, WR_NOT_A_PIPELINE, "this is source code; %s; compile it first: weir build %s", path, path);
    }
    if (n < EI_NIDENT || memcmp(head.e_ident, ELFMAG, SELFMAG) != 0)
        return not_one(path, what, "not a shared object", info);
    if ((size_t)n < sizeof(Elf32_Ehdr)) return not_one(path, what, "the file was cut off", info);
    /* Class and order first: they say how to read the rest. e_machine lies at the same place in both classes. */
    bool     order = head.e_ident[EI_DATA] == THIS_ORDER;
    unsigned machine = order ? head.e_machine : __builtin_bswap16(head.e_machine);
    if (machine != THIS_MACHINE || head.e_ident[EI_CLASS] != ELFCLASS64 || !order) {
        bool half = machine == THIS_MACHINE && head.e_ident[EI_CLASS] == ELFCLASS32; /* x32, say */
        return wr_fail(info, WR_WRONG_CPU,
                       "built for %s%s%s, and this is %s; %s; compile it on this machine: weir build",
                       machine_name(machine, a, sizeof a), half ? " with addresses of 32 bits" : "",
                       order ? "" : " with the other byte order", machine_name(THIS_MACHINE, b, sizeof b), path);
    }
    if ((size_t)n < sizeof head || !whole(file, &head, st.st_size))
        return not_one(path, what, "the file was cut off", info);
    if (head.e_type != ET_DYN) {
        return not_one(path, what,
                       head.e_type == ET_REL ? "an object file, not a shared object" : "a program, not a shared object",
                       info);
    }
    return WR_OK;
}

wr_err wr_module_look(const char *path, const char *what, wr_errinfo *info)
{
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0) {
        int  number = errno;
        char beside[WR_PATH_BYTES_MAX];
        snprintf(beside, sizeof beside, "%s.so", path);
        bool there = number == ENOENT && access(beside, R_OK) == 0;
        if (there) return wr_fail(info, WR_NOT_FOUND, "there is no file %s; did you mean %s?", path, beside);
        return wr_fail(info, wr_err_of_errno(number), "cannot open the %s: %s; %s; %s", what, strerror(number), path,
                       number == EACCES ? "make it readable for this user"
                                        : "check the path, or build it with `weir build`");
    }
    wr_err err = look_into(file, path, what, info);
    close(file);
    return err;
}

/* dlerror says: "PATH: undefined symbol: NAME", "libX.so: cannot open shared object file: ...". */
static wr_err not_loaded(const char *path, const char *why, wr_errinfo *info)
{
    static const char UNDEFINED[] = "undefined symbol: ";
    const char       *at = why != NULL ? strstr(why, UNDEFINED) : NULL;
    if (why == NULL) why = "the loader does not say why";
    if (at == NULL) {
        wr_err err = strstr(why, "cannot open shared object file") != NULL ? WR_NOT_FOUND : WR_NOT_A_PIPELINE;
        return wr_fail(info, err,
                       "it cannot be loaded: %s; %s; install what is missing, or compile it again with `weir build`",
                       why, path);
    }
    at += strlen(UNDEFINED);
    int n = (int)strcspn(at, ", \n");
    if (strncmp(at, "weir_", 5) == 0) {
        return wr_fail(
            info, WR_WRONG_ABI,
            "it needs %.*s, which Weir %s does not have; %s; compile it again with the headers of this version", n, at,
            WR_VERSION, path);
    }
    return wr_fail(
        info, WR_NOT_A_PIPELINE,
        "it needs %.*s, which neither Weir nor the libraries that it names have; %s; name the library when you "
        "build it: weir build SOURCE.c -- -lNAME",
        n, at, path);
}

typedef struct size_rule {
    const char *what;
    size_t      theirs, ours;
    bool        equal; /* an array of them crosses the border: their stride must be ours */
} size_rule;

wr_err wr_module_accept(const weir_module *m, const char *path, wr_errinfo *info)
{
    if (m->magic != WEIR_MODULE_MAGIC)
        return not_one(path, "pipeline", "weir_module_v1 does not begin with its mark", info);
    if (m->abi != WEIR_ABI) {
        return wr_fail(info, WR_WRONG_ABI, "built for ABI %u, and Weir %s has ABI %u; %s; compile it again: weir build",
                       m->abi, WR_VERSION, WEIR_ABI, path);
    }
    if (m->module_size < offsetof(weir_module, reserved)) /* or name and build are not in it */
        return not_one(path, "pipeline", "its descriptor says that it is shorter than any version of it", info);
    const size_rule RULE[] = {
        {"weir_module", m->module_size, sizeof(weir_module), false},
        {"weir_op", m->op_size, sizeof(weir_op), false},
        {"weir_ctx", m->ctx_size, sizeof(weir_ctx), false},
        {"weir_near", m->near_size, sizeof(weir_near), false},
        {"weir_type", m->type_size, sizeof(weir_type), false},
        {"weir_out", m->out_size, sizeof(weir_out), true},
        {"weir_field", m->field_size, sizeof(weir_field), true},
        {"weir_rows", m->rows_size, sizeof(weir_rows), true},
        {"weir_str", m->str_size, sizeof(weir_str), true},
    };
    for (size_t i = 0; i < sizeof RULE / sizeof RULE[0]; i++) {
        const size_rule *r = &RULE[i];
        if (r->theirs != 0 && (r->equal ? r->theirs == r->ours : r->theirs <= r->ours)) continue;
        return wr_fail(
            info, WR_WRONG_ABI,
            "built by headers %u where %s has %zu bytes, and Weir %s (headers %u) has %zu; %s; compile it again with "
            "the headers of this version",
            m->header, r->what, r->theirs, WR_VERSION, WEIR_HEADER, r->ours, path);
    }
    if (m->build == NULL || m->name == NULL)
        return not_one(path, "pipeline", "its descriptor has no name or no build function", info);
    return WR_OK;
}

wr_err wr_module_open(wr_module *module, const char *path, wr_errinfo *info)
{
    memset(module, 0, sizeof *module);
    module->path = path;
    WR_TRY(wr_module_look(path, "pipeline", info));
    char *whole_path = realpath(path, NULL); /* a bare name would be looked for in the library path */
    if (whole_path == NULL) return wr_fail_errno(info, errno, "cannot find %s", path);
    wr_crash_in("what runs when the pipeline's file is loaded");
    module->handle = dlopen(whole_path, RTLD_NOW | RTLD_LOCAL);
    wr_crash_in(NULL);
    free(whole_path);
    if (module->handle == NULL) return not_loaded(path, dlerror(), info);
    module->descriptor = dlsym(module->handle, "weir_module_v1");
    if (module->descriptor == NULL) {
        return not_one(path, "pipeline", "it exports no weir_module_v1: no WEIR_PIPELINE in it", info);
    }
    return wr_module_accept(module->descriptor, path, info);
}
