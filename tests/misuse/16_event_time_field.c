/* event time from a field that is no time */
/* says: weir_event_time_needs_a_weir_time_field */
#include "common.h"
void f(weir_pipeline *p)
{
    word_stream w = weir_source(word, p, "x:");
    weir_event_time(w, weight, .max_delay = WEIR_SECOND);
}
