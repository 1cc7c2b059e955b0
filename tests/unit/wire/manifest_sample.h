/* A manifest with everything in it, as golden files and tests use it. */
#ifndef WR_TESTS_MANIFEST_SAMPLE_H
#define WR_TESTS_MANIFEST_SAMPLE_H
#include "wire/manifest.h"
#include <stdio.h>
#include <string.h>

static const weir_field sample_word_fields[] = {
    {.name = "text", .offset = 0, .size = 16, .kind = WEIR_STR},
    {.name = "at", .offset = 16, .size = 8, .kind = WEIR_TIME},
    {.name = "n", .offset = 24, .size = 4, .kind = WEIR_I32},
};
static const weir_type sample_word = {
    .abi_size = sizeof(weir_type), .fields = 3, .name = "word", .size = 32, .align = 8, .field = sample_word_fields};
static const weir_field sample_state_fields[] = {
    {.name = "seen", .offset = 0, .size = 8, .kind = WEIR_U64},
    {.name = "due", .offset = 8, .size = 8, .kind = WEIR_EVENT_TIMER},
    {.name = "note", .offset = 16, .size = 16, .kind = WEIR_TEXT},
    {.name = "mean", .offset = 32, .size = 12, .kind = WEIR_ARRAY | WEIR_F32},
    {.name = "words",
     .offset = 48,
     .size = 16,
     .kind = WEIR_CELL_TABLE,
     .element = &sample_word,
     .key = 0,
     .key_kind = WEIR_STR,
     .ttl = WEIR_HOUR},
    {.name = "last", .offset = 64, .size = 16, .kind = WEIR_CELL_LIST, .element = &sample_word},
};
static const weir_type sample_state = {.abi_size = sizeof(weir_type),
                                       .fields = 6,
                                       .name = "counter",
                                       .size = 80,
                                       .align = 8,
                                       .field = sample_state_fields};

static wr_item sample_item[] = {
    {WR_ITEM_SPLIT, 0, 5, (char *)"split"}, {WR_ITEM_SPLIT, 1, 0, (char *)""}, {WR_ITEM_TIME, 1, 3, (char *)"\0\1\2"}};
static wr_manifest_layer sample_layer[] = {
    {.file = {.name = "s-00000003-0000000000000007-2-count-0.wst",
              .bytes = 123456,
              .hash = {UINT64_C(0x0123456789abcdef), UINT64_C(0xfedcba9876543210)},
              .group_first = 0,
              .group_end = 64},
     .snapshot = 7,
     .from = 0,
     .order = 0},
    {.file = {.name = "s-00000004-0000000000000009-2-count-1.wst",
              .bytes = 4096,
              .hash = {1, 2},
              .group_first = 64,
              .group_end = 128,
              .increment = true},
     .snapshot = 9,
     .from = 1,
     .order = 1},
};
static wr_manifest_op sample_op[] = {
    {.uid = "lines",
     .name = "lines",
     .kind = WEIR_OP_SOURCE,
     .parallelism = 2,
     .max_parallelism = 128,
     .watermark = WEIR_NO_TIME,
     .item = sample_item,
     .items = 3,
     .state = &sample_word},
    {.uid = "count",
     .name = "count words",
     .kind = WEIR_OP_KEYED,
     .parallelism = 2,
     .max_parallelism = 128,
     .ended = true,
     .watermark = -5,
     .layer = sample_layer,
     .layers = 2,
     .record = &sample_word,
     .state = &sample_state,
     .key = {2, {{0, WEIR_STR}, {24, WEIR_I32}}}},
};

static inline wr_manifest sample_manifest(void)
{
    return (wr_manifest){.version = WR_MANIFEST_VERSION,
                         .kind = WR_SNAPSHOT,
                         .id = 9,
                         .base = 7,
                         .epoch = 4,
                         .job = "wordcount",
                         .lineage = "0123456789abcdef0123456789abcdef",
                         .weir = "0.1.0",
                         .triggered_ns = INT64_C(1700000000000000000),
                         .completed_ns = INT64_C(1700000000250000000),
                         .fingerprint = UINT64_C(0xabcdef0123456789),
                         .op = sample_op,
                         .ops = 2};
}

/* A whole file; free it. */
static inline char *sample_file(const char *path, size_t *n)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) return NULL;
    char *bytes = malloc(1 << 20);
    *n = fread(bytes, 1, 1 << 20, file);
    fclose(file);
    return bytes;
}

/* The bytes must be those of the golden file. WEIR_GOLDEN=write makes it: only with a new version of the format. */
static inline bool sample_is_golden(const char *path, const char *bytes, size_t n)
{
    size_t m = 0;
    if (getenv("WEIR_GOLDEN") != NULL) {
        FILE *file = fopen(path, "wb");
        bool  ok = file != NULL && fwrite(bytes, 1, n, file) == n;
        return file != NULL && fclose(file) == 0 && ok;
    }
    char *golden = sample_file(path, &m);
    bool  same = golden != NULL && m == n && memcmp(golden, bytes, n) == 0;
    free(golden);
    return same;
}

#endif
