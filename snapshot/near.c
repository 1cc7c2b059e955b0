/* snapshot/near.c: the lookaside: filling, dropping, and the rule when it is on. */
#include "snapshot/near.h"
#include "base/limits.h"
#include "base/mem.h"
#include "snapshot/table_inner.h"

#define LINE_BYTES_8     (128u * 1024) /* half of a small second-level cache or less */
#define LINE_BYTES_16    (512u * 1024) /* of strings, where a miss costs more, and loops wait for none */
#define WARM_UP          32768u        /* records after the lines were dropped that say nothing: all miss once */
#define TRIAL            16384u        /* records that are judged */
#define DROP_RARE        (16u * WARM_UP)
#define HITS_MIN_PERCENT 80u        /* a loop that branches on a hit */
#define HITS_MIN_BLIND   50u        /* one that does not */
#define OFF_FIRST        (2u << 20) /* records */
#define OFF_MAX          (4u << 20)

static uint32_t width_of(uint32_t kind)
{
    switch (kind) {
    case WEIR_BOOL:
    case WEIR_U8:
    case WEIR_I8: return 1;
    case WEIR_U16:
    case WEIR_I16: return 2;
    case WEIR_U32:
    case WEIR_I32: return 4;
    default: return 8;
    }
}

bool wr_near_init(wr_near *near, const wr_table *table, bool blind)
{
    *near = (wr_near){.off_length = OFF_FIRST, .cold = WARM_UP}; /* generation 0: emptied before it is used */
    const wr_key_layout *key = &table->key;
    if (key->shape != WR_KEY_INTEGER && key->shape != WR_KEY_STRING) return false;
    bool     string = key->shape == WR_KEY_STRING;
    uint64_t bytes = string ? LINE_BYTES_16 : LINE_BYTES_8;
    uint64_t lines = bytes / (string ? sizeof(weir_near16) : sizeof(weir_near8));
    uint32_t width = string ? 8 : width_of(key->part[0].kind);
    near->bytes = bytes + WR_BATCH_RECORDS_MAX * sizeof(uint32_t);
    void *line = wr_mem_reserve(near->bytes);
    if (line == NULL) return false;
    near->budget = table->config.budget;
    near->budget->bytes += near->bytes;
    near->hits_min_percent = blind && string ? HITS_MIN_BLIND : HITS_MIN_PERCENT;
    near->probe = (weir_near){.bytes = string ? 16 : 8,
                              .shift = 64 - (uint32_t)__builtin_ctzll(lines),
                              .offset = key->part[0].offset,
                              .mask = width == 8 ? UINT64_MAX : (UINT64_C(1) << width * 8) - 1,
                              .line = line,
                              .miss = (uint32_t *)(void *)((char *)line + bytes)};
    return true;
}

void wr_near_fini(wr_near *near)
{
    if (near->probe.line == NULL) return;
    near->budget->bytes -= near->bytes;
    wr_mem_release(near->probe.line, near->bytes);
    *near = (wr_near){0};
}

static uint64_t line8(const wr_near *near, uint64_t word)
{
    return word * WEIR_NEAR_MIX >> near->probe.shift;
}

static uint64_t line16(const wr_near *near, const uint64_t word[2])
{
    return (word[0] ^ word[1] * WEIR_NEAR_MIX) * WEIR_NEAR_MIX >> near->probe.shift;
}

/* No key is found in an empty line: of 16 bytes, as no string is that long; of 8, as it has no state. */
static const weir_near16 EMPTY16 = {.lo = UINT64_MAX};

static void empty_all(wr_near *near)
{
    weir_near16 *line = near->probe.line;
    if (near->probe.bytes == 8)
        memset(line, 0, LINE_BYTES_8);
    else
        for (uint64_t i = 0; i < LINE_BYTES_16 / sizeof *line; i++) line[i] = EMPTY16;
}

void wr_near_forget(wr_near *near, const wr_table *table, const void *state)
{
    uint64_t word[2];
    if (near->probe.line == NULL || near->generation == 0) return; /* none, or all will be dropped */
    memcpy(word, wr_table_entry_of(table, state), near->probe.bytes);
    if (near->probe.bytes == 8) {
        word[0] &= near->probe.mask;
        weir_near8 *line = (weir_near8 *)near->probe.line + line8(near, word[0]);
        if (line->key == word[0]) *line = (weir_near8){0};
    } else if ((uint32_t)word[0] <= WEIR_STR_INLINE) {
        weir_near16 *line = (weir_near16 *)near->probe.line + line16(near, word);
        if (line->lo == word[0] && line->hi == word[1]) *line = EMPTY16;
    }
}

bool wr_near_begin(wr_near *near, const wr_table *table, uint32_t n)
{
    if (near->probe.line == NULL) return false;
    if (near->off_left != 0) {
        near->off_left = near->off_left > n ? near->off_left - n : 0;
        return false;
    }
    if (near->generation != table->generation) {
        empty_all(near);
        near->generation = table->generation;
        /* Dropped now and then, by barriers: warm up again. Dropped all the time, by deletes: that counts. */
        if (near->since_drop >= DROP_RARE) near->cold = WARM_UP;
        near->since_drop = 0;
    }
    near->since_drop += n;
    near->probe.misses = 0;
    return true;
}

static void fill8(wr_near *near, const char *records, uint32_t stride, void *const *state)
{
    weir_near8 *line = near->probe.line;
    for (uint32_t q = 0; q < near->probe.misses; q++) {
        uint32_t i = near->probe.miss[q];
        uint64_t word;
        memcpy(&word, records + (uint64_t)i * stride + near->probe.offset, 8);
        word &= near->probe.mask;
        line[line8(near, word)] = (weir_near8){word, state[i]};
    }
}

static void fill16(wr_near *near, const char *records, uint32_t stride, void *const *state)
{
    weir_near16 *line = near->probe.line;
    for (uint32_t q = 0; q < near->probe.misses; q++) {
        uint32_t i = near->probe.miss[q];
        uint64_t word[2];
        memcpy(word, records + (uint64_t)i * stride + near->probe.offset, 16);
        if ((uint32_t)word[0] > WEIR_STR_INLINE) continue; /* holds a pointer: equal keys may differ in it */
        line[line16(near, word)] = (weir_near16){word[0], word[1], state[i], 0};
    }
}

static void judge(wr_near *near, uint32_t n)
{
    if (near->cold > 0) {
        near->cold = near->cold > n ? near->cold - n : 0;
        return;
    }
    near->seen += n;
    near->hits += n - near->probe.misses;
    if (near->seen < TRIAL) return;
    if (near->hits * 100 < near->seen * near->hits_min_percent) {
        near->off_left = near->off_length;
        near->off_length = near->off_length * 2 > OFF_MAX ? OFF_MAX : near->off_length * 2;
        near->generation = 0; /* nothing drops lines in the meantime */
    } else {
        near->off_length = OFF_FIRST;
    }
    near->seen = near->hits = 0;
}

void wr_near_end(wr_near *near, const wr_table *table, const void *records, uint32_t n, void *const *state, bool fill)
{
    check(near->probe.misses <= n);
    if (fill && near->probe.misses != 0) {
        if (near->probe.bytes == 8)
            fill8(near, records, table->config.record->size, state);
        else
            fill16(near, records, table->config.record->size, state);
    }
    judge(near, n);
}
