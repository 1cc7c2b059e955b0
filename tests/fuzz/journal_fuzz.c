/* Journals. The input is a list of bodies, which get right heads and checksums, so that parsing them is what is tested;
 * behind the last one stands whatever is left. First byte 0: the bytes are a whole file; else its lowest bit says which
 * version. */
#include "jobmanager/journal.h"
#include "tests/fuzz/fuzz.h"
#include "wire/pack.h"
#include <xxhash.h>

static void put_record(wr_pack *file, const void *body, uint32_t n)
{
    uint64_t head[2] = {file->bytes, n};
    uint64_t sum = XXH3_64bits_withSeed(body, n, XXH3_64bits(head, sizeof head));
    wr_pack_raw(file, &n, 4);
    wr_pack_raw(file, &sum, 8);
    wr_pack_raw(file, body, n);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    input           in = {bytes, bytes + size};
    wr_pack         file = {0};
    wr_journal_view view = {0};
    wr_errinfo      info = {0};
    uint8_t         first = take_u8(&in);
    bool            whole = first == 0;
    size_t          good = 0;
    if (!whole) {
        uint32_t words[2] = {1 + (first & 1), 0};
        wr_pack_raw(&file, "WEIRJRNL", 8);
        wr_pack_raw(&file, words, 8);
        uint32_t sum = (uint32_t)XXH3_64bits(file.data, 12);
        memcpy(file.data + 12, &sum, 4);
        while (rest(&in) > 0) {
            uint32_t n = take_u16(&in) % 4000;
            if (n > rest(&in) || n == 0) break;
            put_record(&file, in.at, n);
            in.at += n;
        }
        good = file.bytes;
    }
    wr_pack_raw(&file, in.at, rest(&in));
    char  *copy = own(file.data, file.bytes);
    wr_err err = wr_journal_parse(copy, file.bytes, "f", &view, &info);
    must(err == WR_OK || err == WR_DAMAGED || err == WR_NEWER);
    must(err == info.code);
    if (err == WR_OK) {
        must(view.good_bytes <= file.bytes && view.good_bytes >= good);
        must(view.job[0] != 0 && strlen(view.job) < sizeof view.job && strlen(view.lineage) == 32);
        must(view.attempt < UINT32_MAX);
    }
    free(copy);
    wr_pack_free(&file);
    return 0;
}
