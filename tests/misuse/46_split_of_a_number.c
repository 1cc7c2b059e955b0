/* the tokens of a field that is no weir_str */
/* says: WEIR_SPLIT\(words\): word.weight and line.text must be weir_str */
#include "common.h"
WEIR_SPLIT(words, word, weight, ' ', line, text)
