/* an accumulator that owns memory */
/* says: aggregate sum: an accumulator holds plain fields */
#include "common.h"
static void merge(counter *a, const counter *b)
{
    a->seen += b->seen;
}
static void result(const word *key, const counter *acc, tally_out *out, weir_ctx *ctx)
{
    (void)ctx;
    tally_emit(out, (tally){.word = key->text, .count = acc->seen});
}
WEIR_AGGREGATE(sum, word, in, counter, acc, tally, merge, result)
{
    (void)in;
    acc->seen++;
}
