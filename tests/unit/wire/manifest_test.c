/* Manifests: there and back, the golden file, every flip and every truncation, what is refused. */
#include "base/limits.h"
#include "wire/frame.h"
#include "wire/schema.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include "tests/unit/wire/manifest_sample.h"
#include <cmocka.h>

#define GOLDEN "tests/golden/manifest-1.wman"

static void assert_same_op(const wr_manifest_op *a, const wr_manifest_op *b)
{
    assert_string_equal(a->uid, b->uid);
    assert_string_equal(a->name, b->name);
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->parallelism, b->parallelism);
    assert_int_equal(a->max_parallelism, b->max_parallelism);
    assert_int_equal(a->ended, b->ended);
    assert_true(a->watermark == b->watermark);
    assert_int_equal(a->items, b->items);
    for (uint32_t i = 0; i < a->items; i++) {
        assert_int_equal(a->item[i].kind, b->item[i].kind);
        assert_int_equal(a->item[i].from, b->item[i].from);
        assert_int_equal(a->item[i].bytes, b->item[i].bytes);
        assert_memory_equal(a->item[i].data, b->item[i].data, a->item[i].bytes);
    }
    assert_int_equal(a->layers, b->layers);
    for (uint32_t i = 0; i < a->layers; i++) {
        const wr_manifest_layer *x = &a->layer[i], *y = &b->layer[i];
        assert_string_equal(x->file.name, y->file.name);
        assert_true(x->file.bytes == y->file.bytes && x->file.increment == y->file.increment);
        assert_memory_equal(x->file.hash, y->file.hash, 16);
        assert_true(x->file.group_first == y->file.group_first && x->file.group_end == y->file.group_end);
        assert_true(x->snapshot == y->snapshot && x->from == y->from && x->order == y->order);
    }
    assert_true(wr_schema_same(a->record, b->record));
    assert_true(wr_schema_same(a->state, b->state));
    assert_int_equal(a->key.count, b->key.count);
    assert_memory_equal(a->key.field, b->key.field, a->key.count * sizeof a->key.field[0]);
}

static void assert_same(const wr_manifest *a, const wr_manifest *b)
{
    assert_int_equal(a->version, b->version);
    assert_int_equal(a->kind, b->kind);
    assert_true(a->id == b->id && a->base == b->base && a->epoch == b->epoch);
    assert_string_equal(a->job, b->job);
    assert_string_equal(a->lineage, b->lineage);
    assert_string_equal(a->weir, b->weir);
    assert_true(a->triggered_ns == b->triggered_ns && a->completed_ns == b->completed_ns);
    assert_true(a->fingerprint == b->fingerprint && a->ended == b->ended);
    assert_int_equal(a->ops, b->ops);
    for (uint32_t i = 0; i < a->ops; i++) assert_same_op(&a->op[i], &b->op[i]);
}

static void there_and_back(void **state)
{
    (void)state;
    wr_manifest m = sample_manifest(), back;
    wr_errinfo  info = {0};
    char       *bytes;
    size_t      n = 0;
    assert_int_equal(wr_manifest_encode(&m, &bytes, &n, &info), WR_OK);
    assert_int_equal(wr_manifest_decode(&back, bytes, n, "x", &info), WR_OK);
    memset(bytes, 0x55, n); /* nothing of it may be needed any more */
    free(bytes);
    assert_same(&m, &back);
    assert_ptr_equal(wr_manifest_find(&back, "count"), &back.op[1]);
    assert_null(wr_manifest_find(&back, "coun"));
    wr_manifest_free(&back);
    wr_manifest_free(&back);
}

/* As many operators as a job can have, all keyed: nothing that is entered for one may stay open for the next. */
static void the_most_operators(void **state)
{
    (void)state;
    wr_manifest     m = sample_manifest(), back;
    wr_errinfo      info = {0};
    wr_manifest_op *op = calloc(WR_NODES_MAX, sizeof *op);
    char(*uid)[16] = calloc(WR_NODES_MAX, sizeof *uid);
    char  *bytes;
    size_t n = 0;
    assert_true(op != NULL && uid != NULL);
    for (uint32_t i = 0; i < WR_NODES_MAX; i++) {
        op[i] = m.op[1];
        snprintf(uid[i], sizeof uid[i], "op-%u", i);
        op[i].uid = uid[i];
    }
    m.op = op;
    m.ops = WR_NODES_MAX;
    assert_int_equal(wr_manifest_encode(&m, &bytes, &n, &info), WR_OK);
    assert_int_equal(wr_manifest_decode(&back, bytes, n, "x", &info), WR_OK);
    assert_same(&m, &back);
    wr_manifest_free(&back);
    free(bytes);
    free(uid);
    free(op);
}

static void golden(void **state)
{
    (void)state;
    wr_manifest m = sample_manifest(), back;
    wr_errinfo  info = {0};
    char       *bytes;
    size_t      n = 0;
    assert_int_equal(wr_manifest_encode(&m, &bytes, &n, &info), WR_OK);
    assert_true(sample_is_golden(GOLDEN, bytes, n));
    free(bytes);
    bytes = sample_file(GOLDEN, &n);
    assert_non_null(bytes);
    assert_int_equal(wr_manifest_decode(&back, bytes, n, GOLDEN, &info), WR_OK);
    assert_same(&m, &back);
    wr_manifest_free(&back);
    free(bytes);
}

/* Block of its own, so that ASan sees a read behind the end. */
static void assert_damaged(const char *bytes, size_t n)
{
    wr_manifest m;
    wr_errinfo  info = {0};
    char       *copy = malloc(n > 0 ? n : 1);
    if (n > 0) memcpy(copy, bytes, n);
    assert_int_equal(wr_manifest_decode(&m, copy, n, "FILE", &info), WR_DAMAGED);
    assert_non_null(strstr(info.text, "FILE, offset "));
    assert_null(m.arena.chunk);
    free(copy);
}

static void every_flip_and_truncation(void **state)
{
    (void)state;
    size_t n = 0;
    char  *bytes = sample_file(GOLDEN, &n);
    assert_non_null(bytes);
    for (size_t i = 0; i < n; i++) {
        for (int bit = 0; bit < 8; bit++) {
            bytes[i] ^= (char)(1 << bit);
            assert_damaged(bytes, n);
            bytes[i] ^= (char)(1 << bit);
        }
        assert_damaged(bytes, i);
    }
    char *longer = malloc(n + 1);
    memcpy(longer, bytes, n);
    longer[n] = 0;
    assert_damaged(longer, n + 1);
    free(longer);
    free(bytes);
}

/* A body of our making behind a right checksum. */
static wr_err decode_body(const wr_pack *body, uint32_t version, wr_errinfo *info)
{
    wr_manifest m;
    wr_pack     file = {0};
    wr_frame_begin(&file, "WEIRSNAP", version);
    wr_pack_raw(&file, body->data, body->bytes);
    wr_frame_end(&file);
    info->code = WR_OK;
    wr_err err = wr_manifest_decode(&m, file.data, file.bytes, "FILE", info);
    wr_manifest_free(&m);
    wr_pack_free(&file);
    return err;
}

static void newer_version(void **state)
{
    (void)state;
    wr_pack    body = {0};
    wr_errinfo info = {0};
    wr_pack_str(&body, "whatever comes");
    assert_int_equal(decode_body(&body, 2, &info), WR_NEWER);
    assert_non_null(strstr(info.text, "format version 2, this Weir reads up to 1; FILE"));
    wr_pack_free(&body);
}

/* The body's bytes are changed behind a right checksum: no crash, and what is taken is sound. */
static void hostile_bodies(void **state)
{
    (void)state;
    size_t n = 0;
    char  *bytes = sample_file(GOLDEN, &n);
    size_t body = n - WR_FRAME_HEAD_BYTES - WR_FRAME_TAIL_BYTES, taken = 0;
    for (size_t i = 0; i < body; i++) {
        for (int value = 0; value < 256; value += 3) {
            wr_pack    p = {0};
            wr_errinfo info;
            wr_pack_raw(&p, bytes + WR_FRAME_HEAD_BYTES, body);
            p.data[i] = (char)value;
            wr_err err = decode_body(&p, 1, &info);
            assert_true(err == WR_OK || err == WR_DAMAGED);
            taken += err == WR_OK;
            wr_pack_free(&p);
        }
    }
    assert_true(taken > body / 4); /* texts and numbers may say something else */
    free(bytes);
}

static void unknown_members(void **state)
{
    (void)state;
    size_t n = 0;
    char  *bytes = sample_file(GOLDEN, &n);
    size_t body = n - WR_FRAME_HEAD_BYTES - WR_FRAME_TAIL_BYTES;
    assert_int_equal((uint8_t)bytes[WR_FRAME_HEAD_BYTES], 0x8c); /* a map of 12 */
    wr_pack    p = {0};
    wr_errinfo info;
    wr_pack_map(&p, 13);
    wr_pack_str(&p, "of tomorrow");
    wr_pack_array(&p, 2);
    wr_pack_map(&p, 1);
    wr_pack_u64(&p, UINT64_MAX);
    wr_pack_nil(&p);
    wr_pack_bin(&p, "abc", 3);
    wr_pack_raw(&p, bytes + WR_FRAME_HEAD_BYTES + 1, body - 1);
    assert_int_equal(decode_body(&p, 1, &info), WR_OK);
    p.data[0] = (char)0x8e; /* one more is promised */
    assert_int_equal(decode_body(&p, 1, &info), WR_DAMAGED);
    wr_pack_free(&p);
    free(bytes);
}

static void refuse(const char *why, wr_manifest m)
{
    wr_errinfo info = {0};
    char      *bytes;
    size_t     n = 0;
    assert_int_equal(wr_manifest_encode(&m, &bytes, &n, &info), WR_LIMIT);
    if (strstr(info.text, why) == NULL) print_message("%s\n", info.text);
    assert_non_null(strstr(info.text, why));
}

static void refused(void **state)
{
    (void)state;
    wr_manifest       m = sample_manifest();
    wr_manifest_op    op[2];
    wr_manifest_layer layer = sample_layer[0];
    memcpy(op, sample_op, sizeof op);
    m.op = op;
    op[1].uid = "lines";
    refuse("the same uid", m);
    op[1].uid = "";
    refuse("no uid", m);
    op[1] = sample_op[1];
    op[1].parallelism = 0;
    refuse("no subtasks", m);
    op[1] = sample_op[1];
    op[1].key.field[1].offset = 8;
    refuse("no field of its record", m);
    op[1].key.field[1] = (weir_key_field){16, WEIR_F32};
    refuse("no field of its record", m);
    op[1] = sample_op[1];
    op[1].layer = &layer;
    op[1].layers = 1;
    layer.file.group_end = 129;
    refuse("key groups that its operator has not", m);
    layer = sample_layer[0];
    snprintf(layer.file.name, sizeof layer.file.name, "../x");
    refuse("a file's name is none", m);
    layer = sample_layer[0];
    op[1].state = NULL;
    refuse("no schema", m);
    m = sample_manifest();
    m.kind = 3;
    refuse("larger than it may be", m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back),  cmocka_unit_test(the_most_operators),
        cmocka_unit_test(golden),          cmocka_unit_test(every_flip_and_truncation),
        cmocka_unit_test(newer_version),   cmocka_unit_test(hostile_bodies),
        cmocka_unit_test(unknown_members), cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
