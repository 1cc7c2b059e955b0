/* a loop closed with another record */
/* says: type mismatch|incompatible operand types */
#include "common.h"
void f(weir_pipeline *p)
{
    word_stream back = weir_feedback(word, p);
    line_stream l = weir_source(line, p, "x:");
    weir_feed(back, l);
}
