/* a built-in aggregate into a field of the wrong type */
/* says: aggregate summary, field mean: mean of word.weight needs a number and a double */
#include "common.h"
WEIR_RECORD(report, (weir_str, text), (uint64_t, mean))
WEIR_AGGREGATE_FIELDS(summary, word, report, (text, key, text), (mean, mean, weight))
