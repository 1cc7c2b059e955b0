/* no comma between the type and the name of a field */
/* says: WEIR_A_FIELD_IS_type_COMMA_name_IN_PARENTHESES|too few arguments provided to function-like macro */
#include "common.h"
WEIR_RECORD(person, (weir_str, name), (uint32_t age))
