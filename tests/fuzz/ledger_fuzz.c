/* Ledgers. The input is a list of bodies, which get right heads and checksums, so that parsing them is what is tested;
 * behind the last one stands whatever is left. First byte 0: the bytes are a whole file; odd: of version 1, else 2. */
#include "jobmanager/ledger.h"
#include "tests/fuzz/fuzz.h"
#include "wire/pack.h"
#include <xxhash.h>

static void put_record(wr_pack *file, const void *body, uint32_t n)
{
    uint64_t head[2] = {file->bytes, n};
    uint64_t sum = XXH3_64bits_withSeed(body, n, XXH3_64bits(head, sizeof head));
    wr_pack_raw(file, "Wrec", 4);
    wr_pack_raw(file, &n, 4);
    wr_pack_raw(file, &sum, 8);
    wr_pack_raw(file, body, n);
}

static void look(void *arg, const wr_ledger_job *j)
{
    ++*(uint32_t *)arg;
    must(j->id != 0 && j->spec.name != NULL && j->spec.name[0] != 0 && j->spec.module.name != NULL);
    must((j->place != NULL) == (j->places > 0) && j->places <= WR_SLOTS_MAX);
    must(j->places == 0 || j->attempt > 0);
    for (uint32_t i = 0; i < j->places; i++) must(j->place[i] != 0);
    must(j->failures <= WR_FAILURES_KEPT);
    for (uint32_t i = 0; i < j->failures; i++) must(strlen(j->failure[i].info.text) < WR_ERROR_BYTES_MAX);
    must(j->state == 0 || (wr_job_state_final(j->state) && j->state < WR_JOB_STATES && j->place == NULL));
    must(j->failed_times <= WR_RESTART_RATE_MAX && j->target != NULL && strlen(j->target) < WR_PATH_BYTES_MAX);
    must((j->next_spec != NULL) == (j->next_spec_bytes > 0) && (j->next_spec == NULL || j->restarting > 0));
    must(j->restarting == 0 || j->restarting == j->attempt);
    must(j->stopping <= WR_LEDGER_CANCEL && wr_err_name(j->cause.code)[0] != '?');
    volatile char last = j->spec.graph_bytes > 0 ? j->spec.graph[j->spec.graph_bytes - 1] : 0; /* it is all there */
    (void)last;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    input      in = {bytes, bytes + size};
    wr_pack    file = {0};
    wr_errinfo info = {0};
    uint8_t    first = take_u8(&in);
    bool       whole = first == 0;
    size_t     good = 0, parsed = 0;
    uint64_t   leader = 0;
    uint32_t   jobs = 0;
    if (!whole) {
        uint32_t words[2] = {first % 2 == 1 ? 1 : 2, 0};
        wr_pack_raw(&file, "WEIRLDGR", 8);
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
    wr_err err = wr_ledger_parse(copy, file.bytes, "f", &leader, &parsed, look, &jobs, &info);
    must(err == WR_OK || err == WR_DAMAGED || err == WR_NEWER);
    must(err == info.code);
    if (err == WR_OK) must(leader > 0 && parsed <= file.bytes && parsed >= good);
    must(err == WR_OK || jobs == 0);
    free(copy);
    wr_pack_free(&file);
    return 0;
}
