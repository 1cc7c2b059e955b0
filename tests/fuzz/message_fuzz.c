/* Messages of the control plane, and a job's specification by itself (first byte 0): any bytes are refused in words, or
 * are a message that can be written again, and reads back as the same bytes from then on. */
#include "tests/fuzz/fuzz.h"
#include "wire/control.h"
#include "wire/schema.h"

static void look(const wr_message *m)
{
    must(strcmp(wr_message_name(m->kind), "?") != 0);
    if (m->kind == WR_MSG_ACK) {
        for (uint32_t i = 0; i < m->ack->ops; i++) {
            const wr_ack_op *op = &m->ack->op[i];
            must(!op->table || (op->record != NULL && op->state != NULL && op->key != NULL));
            must(op->record == NULL || wr_schema_problem(op->record)[0] == 0);
        }
        must(strchr(m->ack->file.name, '/') == NULL);
    } else if (m->kind == WR_MSG_DEPLOY) {
        must(strchr(m->deploy.spec.module.name, '/') == NULL);
    } else if (m->kind == WR_MSG_BLOB_PUT && m->blob.info.code == WR_OK) {
        must(m->blob.offset + m->blob.data_bytes <= m->blob.bytes);
    }
}

static void message(const char *bytes, size_t n)
{
    wr_message m, again;
    wr_errinfo info = {0};
    char      *one, *two;
    size_t     k, l;
    wr_err     err = wr_message_decode(&m, bytes, n, &info);
    must(err == WR_OK ? info.code == WR_OK : (err == WR_DAMAGED || err == WR_NEWER) && info.code == err);
    if (err != WR_OK) return;
    look(&m);
    must(wr_message_encode(&m, &one, &k, &info) == WR_OK);
    must(wr_message_decode(&again, one, k, &info) == WR_OK);
    must(wr_message_encode(&again, &two, &l, &info) == WR_OK);
    must(k == l && memcmp(one, two, k) == 0);
    free(one);
    free(two);
    wr_message_free(&m);
    wr_message_free(&again);
}

static void spec(const char *bytes, size_t n)
{
    wr_job_spec s, again;
    wr_arena    arena = {0};
    wr_errinfo  info = {0};
    char       *one, *two;
    size_t      k, l;
    wr_err      err = wr_job_spec_decode(&s, &arena, bytes, n, &info);
    must(err == WR_OK || (err == WR_DAMAGED && info.code == err));
    if (err == WR_OK) {
        must(wr_job_spec_encode(&s, &one, &k, &info) == WR_OK);
        must(wr_job_spec_decode(&again, &arena, one, k, &info) == WR_OK);
        must(wr_job_spec_encode(&again, &two, &l, &info) == WR_OK);
        must(k == l && memcmp(one, two, k) == 0);
        free(one);
        free(two);
    }
    wr_arena_fini(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size == 0) return 0;
    bool  alone = bytes[0] == 0;
    char *copy = own(bytes + alone, size - alone);
    if (alone)
        spec(copy, size - 1);
    else
        message(copy, size);
    free(copy);
    return 0;
}
