/* a key of five fields */
/* says: WEIR_KEY_FIELDS_AT_MOST_4_NOT_5 */
#include "common.h"
WEIR_RECORD(five, (uint8_t, a), (uint8_t, b), (uint8_t, c), (uint8_t, d), (uint8_t, e))
void f(weir_pipeline *p)
{
    five_stream s = weir_source(five, p, "x:");
    five_keyed  k = weir_key_by(s, a, b, c, d, e);
    (void)k;
}
