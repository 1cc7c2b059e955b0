/* a field that cannot travel */
/* says: record person, field name: this type cannot travel */
#include "common.h"
WEIR_RECORD(person, (char *, name), (uint32_t, age))
