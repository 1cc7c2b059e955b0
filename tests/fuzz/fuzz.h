/* tests/fuzz/fuzz.h: what the targets share: taking values out of the input, and checks that end the program. */
#ifndef WR_TESTS_FUZZ_FUZZ_H
#define WR_TESTS_FUZZ_FUZZ_H
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weir/op.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* An oracle's verdict. Never compiled out. */
#define must(COND) ((COND) ? (void)0 : must_failed_(#COND, __FILE__, __LINE__))
_Noreturn WEIR_UNUSED_ static void must_failed_(const char *what, const char *file, int line)
{
    fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
    abort();
}

/* What is left of the bytes. They end, and then all further values are 0. */
typedef struct input {
    const uint8_t *at, *end;
} input;

WEIR_UNUSED_ static size_t rest(const input *in)
{
    return (size_t)(in->end - in->at);
}

WEIR_UNUSED_ static uint8_t take_u8(input *in)
{
    return in->at < in->end ? *in->at++ : 0;
}

WEIR_UNUSED_ static uint16_t take_u16(input *in)
{
    uint16_t low = take_u8(in);
    return (uint16_t)(low | take_u8(in) << 8);
}

WEIR_UNUSED_ static uint64_t take_u64(input *in)
{
    uint64_t value = 0;
    for (int i = 0; i < 64; i += 8) value |= (uint64_t)take_u8(in) << i;
    return value;
}

/* A copy in a block of its own, so that a read behind its end is seen. The caller frees. */
WEIR_UNUSED_ static char *own(const void *bytes, size_t n)
{
    char *copy = malloc(n > 0 ? n : 1);
    must(copy != NULL);
    if (n > 0) memcpy(copy, bytes, n);
    return copy;
}

/* The same with a zero byte behind. */
WEIR_UNUSED_ static char *own_text(const void *bytes, size_t n)
{
    char *copy = malloc(n + 1);
    must(copy != NULL);
    if (n > 0) memcpy(copy, bytes, n);
    copy[n] = 0;
    return copy;
}

/* Everything up to the next `stop` (which goes too) or the end. The caller frees. */
WEIR_UNUSED_ static char *take_text(input *in, char stop)
{
    const uint8_t *end = rest(in) > 0 ? memchr(in->at, stop, rest(in)) : NULL;
    size_t         n = end != NULL ? (size_t)(end - in->at) : rest(in);
    char          *text = own_text(in->at, n);
    in->at += n + (end != NULL);
    return text;
}

/* Fields and record types as data. */
#define FUZZ_FIELD(TYPE, NAME, KIND)                                                                                   \
    {                                                                                                                  \
        .name = #NAME, .offset = offsetof(TYPE, NAME), .size = sizeof(((TYPE *)0)->NAME), .kind = (KIND)               \
    }
#define FUZZ_TYPE(NAME, FIELDS)                                                                                        \
    {                                                                                                                  \
        .abi_size = sizeof(weir_type), .fields = sizeof FIELDS / sizeof FIELDS[0], .name = #NAME,                      \
        .size = sizeof(NAME), .align = _Alignof(NAME), .field = FIELDS                                                 \
    }

#endif
