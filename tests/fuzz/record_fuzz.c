/* Records as bytes (splits, committables, rows of savepoints): what is taken is written back as the same bytes, strings
 * are in canonical form, and nothing points outside. */
#include "tests/fuzz/fuzz.h"
#include "wire/record.h"

typedef struct all {
    bool       flag;
    int16_t    small;
    weir_str   text;
    double     array[2];
    weir_bytes raw;
    weir_time  at;
} all;
static const weir_field all_fields[] = {FUZZ_FIELD(all, flag, WEIR_BOOL), FUZZ_FIELD(all, small, WEIR_I16),
                                        FUZZ_FIELD(all, text, WEIR_STR),  FUZZ_FIELD(all, array, WEIR_ARRAY | WEIR_F64),
                                        FUZZ_FIELD(all, raw, WEIR_BYTES), FUZZ_FIELD(all, at, WEIR_TIME)};
static const weir_type  all_type = FUZZ_TYPE(all, all_fields);

static void text_is_sound(const weir_str *s, const char *from, size_t n)
{
    weir_str again = weir_str_of(weir_str_data(s), s->len);
    if (s->len > WEIR_STR_INLINE) must(s->u.far >= from && s->u.far + s->len <= from + n);
    must(memcmp(&again, s, sizeof again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    char  *from = own(bytes, size);
    size_t at = 0;
    while (at < size) {
        all    record;
        size_t n, took = wr_record_read(&all_type, from + at, size - at, &record);
        must(took <= size - at);
        must(wr_record_decode(&all_type, from + at, size - at, &record) == (took > 0 && took == size - at));
        if (took == 0) break;
        text_is_sound(&record.text, from, size);
        text_is_sound(&record.raw.raw, from, size);
        char *back = wr_record_encode(&all_type, &record, &n);
        must(n == took && memcmp(back, from + at, n) == 0);
        free(back);
        at += took;
    }
    free(from);
    return 0;
}
