/* What a savepoint says about a file that it keeps: refused, or a name within its folder; written back the same. */
#include "snapshot/kept.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    wr_kept    k, again;
    wr_arena   arena = {0};
    wr_errinfo info = {0};
    char      *copy = own(bytes, size), *one, *two;
    size_t     n, m;
    wr_err     err = wr_kept_decode(&k, &arena, copy, size, &info);
    free(copy);
    must(err == WR_OK || (err == WR_DAMAGED && info.code == err));
    if (err == WR_OK) {
        must(k.name[0] != 0 && strchr(k.file, '/') == NULL && k.file[0] != '.');
        must(wr_kept_encode(&k, &one, &n, &info) == WR_OK);
        must(wr_kept_decode(&again, &arena, one, n, &info) == WR_OK);
        must(wr_kept_encode(&again, &two, &m, &info) == WR_OK);
        must(n == m && memcmp(one, two, n) == 0);
        free(one);
        free(two);
    }
    wr_arena_fini(&arena);
    return 0;
}
