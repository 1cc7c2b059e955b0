/* Feeds files to a fuzz target: replay FILE_OR_FOLDER... Without libFuzzer, so that every input that once failed
 * stays a test. The empty input comes first. */
#include "tests/fuzz/fuzz.h"
#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

static int replay_file(const char *path, const struct stat *info)
{
    FILE    *file = fopen(path, "rb");
    size_t   n = (size_t)info->st_size;
    uint8_t *bytes = malloc(n > 0 ? n : 1);
    if (file == NULL || bytes == NULL || fread(bytes, 1, n, file) != n) {
        fprintf(stderr, "replay: cannot read %s: %s\n", path, strerror(errno));
        exit(2);
    }
    fclose(file);
    fprintf(stderr, "%s\n", path); /* the last one printed is the one that fails */
    LLVMFuzzerTestOneInput(bytes, n);
    free(bytes);
    return 1;
}

/* Returns how many files it fed. */
static int replay(const char *path)
{
    struct stat     info;
    struct dirent **entry;
    if (stat(path, &info) != 0) {
        fprintf(stderr, "replay: cannot find %s: %s\n", path, strerror(errno));
        exit(2);
    }
    if (!S_ISDIR(info.st_mode)) return replay_file(path, &info);
    int count = scandir(path, &entry, NULL, alphasort), fed = 0;
    for (int i = 0; i < count; i++) {
        char name[4096];
        snprintf(name, sizeof name, "%s/%s", path, entry[i]->d_name);
        if (entry[i]->d_name[0] != '.') fed += replay(name);
        free(entry[i]);
    }
    if (count >= 0) free(entry);
    return fed;
}

int main(int argc, char **argv)
{
    int fed = 0;
    LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    for (int i = 1; i < argc; i++) fed += replay(argv[i]);
    fprintf(stderr, "%d inputs\n", fed);
    return fed > 0 ? 0 : 2; /* a test of nothing is none */
}
