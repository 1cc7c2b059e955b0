/* a field that goes along with tokens, and has another type there */
/* says: WEIR_SPLIT_WITH\(words\): note.rank and ranked.rank differ in type */
#include "common.h"
WEIR_RECORD(note, (weir_str, text), (int32_t, rank))
WEIR_RECORD(ranked, (weir_str, word), (int64_t, rank))
WEIR_SPLIT_WITH(words, note, text, ' ', ranked, word, rank)
