/* an option that this operator does not have */
/* says: no member named .ttl.|field designator 'ttl' does not refer */
#include "common.h"
void f(weir_pipeline *p)
{
    line_stream l = weir_source(line, p, "x:");
    weir_apply(to_word, l, .ttl = WEIR_HOUR);
}
