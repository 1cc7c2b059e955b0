/* a borrowed string declared in a state */
/* says: state last_seen, field name: this type cannot be kept */
#include "common.h"
WEIR_STATE(last_seen, (weir_str, name))
