/* a table by a field that cannot be a key */
/* says: weir_this_field_cannot_be_a_key */
#include "common.h"
WEIR_TABLE(word, weight)
