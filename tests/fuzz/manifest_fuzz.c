/* Manifests, their body behind a frame that is right, so that the checksum hides nothing: whatever is taken can be
 * written again, and reads back as the same bytes from then on. The first byte 0: the bytes are a whole file. */
#include "tests/fuzz/fuzz.h"
#include "wire/frame.h"
#include "wire/manifest.h"
#include "wire/schema.h"

static void look(const wr_manifest *m)
{
    must(m->version == 1 && m->job != NULL && m->lineage != NULL);
    for (uint32_t i = 0; i < m->ops; i++) {
        const wr_manifest_op *op = &m->op[i];
        must(wr_manifest_find(m, op->uid) == op);
        must(op->record == NULL || wr_schema_problem(op->record)[0] == 0);
        must(op->state == NULL || wr_schema_problem(op->state)[0] == 0);
        for (uint32_t k = 0; k < op->layers; k++) must(strchr(op->layer[k].file.name, '/') == NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size == 0) return 0;
    wr_pack     file = {0};
    wr_manifest m, again;
    wr_errinfo  info = {0};
    char       *one = NULL, *two = NULL;
    size_t      n, k;
    if (bytes[0] != 0) {
        wr_frame_begin(&file, "WEIRSNAP", 1);
        wr_pack_raw(&file, bytes + 1, size - 1);
        wr_frame_end(&file);
    } else {
        wr_pack_raw(&file, bytes + 1, size - 1);
    }
    char  *copy = own(file.data, file.bytes);
    wr_err err = wr_manifest_decode(&m, copy, file.bytes, "f", &info);
    free(copy);
    wr_pack_free(&file);
    must(err == WR_OK ? info.code == WR_OK : err == WR_DAMAGED || err == WR_NEWER);
    if (err != WR_OK) return 0;
    look(&m);
    must(wr_manifest_encode(&m, &one, &n, &info) == WR_OK);
    must(wr_manifest_decode(&again, one, n, "f", &info) == WR_OK);
    must(wr_manifest_encode(&again, &two, &k, &info) == WR_OK);
    must(n == k && memcmp(one, two, n) == 0);
    free(one);
    free(two);
    wr_manifest_free(&m);
    wr_manifest_free(&again);
    return 0;
}
