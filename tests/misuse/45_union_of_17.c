/* a union of 17 streams */
/* says: WEIR_UNION_OF_AT_MOST_16_NOT_17 */
#include "common.h"
void f(weir_pipeline *p)
{
    word_stream s = weir_source(word, p, "x:");
    weir_union(s, s, s, s, s, s, s, s, s, s, s, s, s, s, s, s, s);
}
