/* The look at a pipeline before it is opened: any bytes as a file. Said to be whole only when each part that the
 * loader maps lies in the file, by a second reading of the same bytes. */
#include "cli/module.h"
#include "tests/fuzz/fuzz.h"
#include <elf.h>
#include <sys/mman.h>
#include <unistd.h>

static bool naive_whole(const uint8_t *bytes, size_t size)
{
    Elf64_Ehdr head;
    if (size < sizeof head) return false;
    memcpy(&head, bytes, sizeof head);
    if (memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 || head.e_ident[EI_CLASS] != ELFCLASS64) return false;
    if (head.e_type != ET_DYN || head.e_phnum == 0 || head.e_phentsize != sizeof(Elf64_Phdr)) return false;
    if (head.e_phoff > size || (size - head.e_phoff) / sizeof(Elf64_Phdr) < head.e_phnum) return false;
    for (unsigned i = 0; i < head.e_phnum; i++) {
        Elf64_Phdr part;
        memcpy(&part, bytes + head.e_phoff + i * sizeof part, sizeof part);
        if (part.p_type != PT_LOAD && part.p_type != PT_DYNAMIC) continue;
        if (part.p_offset > size || part.p_filesz > size - part.p_offset) return false;
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    char       path[64];
    wr_errinfo info = {0};
    int        file = memfd_create("module", MFD_CLOEXEC);
    must(file >= 0);
    for (size_t at = 0; at < size;) {
        ssize_t n = write(file, bytes + at, size - at);
        must(n > 0);
        at += (size_t)n;
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    if (wr_module_look(path, "pipeline", &info) == WR_OK) {
        must(naive_whole(bytes, size));
        must(info.code == WR_OK);
    } else {
        must(info.code == WR_NOT_A_PIPELINE || info.code == WR_WRONG_CPU);
        must(strstr(info.text, path) != NULL);
    }
    close(file);
    return 0;
}
