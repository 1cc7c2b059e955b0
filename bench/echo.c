/* The smallest pipeline: lines in, lines out. Its start to its first record is what the row `start` measures. */
#include <weir/pipeline.h>

WEIR_RECORD(line, (weir_str, text))

WEIR_PIPELINE(echo, p)
{
    weir_sink(weir_source(line, p, "stdin:", .name = "lines"), "print:", .name = "echo");
}
