/* emitting into an output that is const */
/* says: discards .*qualifier */
#include "common.h"
static void emit_name(const word_out *out, const line *in)
{
    word_emit(out, (word){.text = in->text});
}
WEIR_FLAT_MAP(split, line, in, word, out)
{
    emit_name(out, in);
}
