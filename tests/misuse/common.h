#include <weir/test.h>
WEIR_RECORD(line, (weir_str, text))
WEIR_RECORD(word, (weir_str, text), (double, weight), (weir_time, at))
WEIR_RECORD(tally, (weir_str, word), (uint64_t, count))
WEIR_STATE(counter, (uint64_t, seen), (weir_text, name))
WEIR_STATE(timed, (uint64_t, seen), (weir_event_timer, end))
WEIR_MAP(to_word, line, in, word, out)
{
    out->text = in->text;
    return true;
}
WEIR_KEYED(count, word, in, counter, st, tally, out)
{
    tally_emit(out, (tally){.word = in->text, .count = ++st->seen});
}
WEIR_REDUCE(heaviest, word, so_far, in)
{
    if (in->weight > so_far->weight) *so_far = *in;
}
