/* splits with all kinds of fields that go along */
#include "common.h"
WEIR_RECORD(note, (weir_str, text), (int32_t, rank), (weir_bytes, raw), (WEIR_ARRAY_OF(int16_t, 4), marks))
WEIR_RECORD(part, (WEIR_ARRAY_OF(int16_t, 4), marks), (weir_str, word), (int32_t, rank), (weir_bytes, raw))
WEIR_SPLIT(words, line, text, ' ', part, word)
WEIR_SPLIT_WITH(parts, note, text, '\t', part, word, rank, raw, marks)
WEIR_FILTER(high, note, in)
{
    return in->rank > 3;
}
WEIR_FUSE(high_parts, high, parts)
void f(weir_pipeline *p);
void f(weir_pipeline *p)
{
    weir_apply(words, weir_source(line, p, "x:"));
    weir_apply(parts, weir_source(note, p, "y:"));
    weir_apply(high_parts, weir_source(note, p, "z:"));
}
