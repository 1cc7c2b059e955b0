/* Word count: reads lines, splits them, counts each word. */
#include <weir/pipeline.h>

WEIR_RECORD(line, (weir_str, text))
WEIR_RECORD(word, (weir_str, text))
WEIR_RECORD(tally, (weir_str, word), (uint64_t, count))

WEIR_SPLIT(split, line, text, ' ', word, text)

WEIR_AGGREGATE_FIELDS(count, word, tally, (word, key, text), (count, count))

WEIR_PIPELINE(wordcount, p)
{
    line_stream  lines = weir_source(line, p, "file:///usr/share/common-licenses/GPL-3", .name = "lines");
    word_stream  words = weir_apply(split, lines);
    tally_stream sums = weir_apply(count, weir_window(weir_key_by(words, text), weir_one_window()));
    weir_sink(sums, "print:", .name = "result");
}
