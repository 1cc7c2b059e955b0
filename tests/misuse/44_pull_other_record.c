/* a test that pulls into another record than the stream has */
/* says: incompatible pointer type */
#include "common.h"
bool f(weir_test *t)
{
    word_stream w = weir_source(word, weir_test_pipeline(t), "test:");
    line        got;
    return weir_test_pull(t, w, &got);
}
