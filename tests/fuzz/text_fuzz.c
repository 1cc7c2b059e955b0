/* Numbers, times, durations and sizes: any text is read or refused, what is read prints to a text that reads back as
 * the same, and any value prints to such a text. */
#include "base/text.h"
#include "tests/fuzz/fuzz.h"
#include <math.h>

#define UNTOUCHED INT64_C(0x5a5a5a5a5a5a5a5a)

static bool same_f64(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

static void print_i64(int64_t value)
{
    char    text[WR_TEXT_NUMBER_MAX + 1], plain[64];
    int64_t back;
    size_t  n = wr_text_of_i64(text, value);
    must(n == (size_t)snprintf(plain, sizeof plain, "%lld", (long long)value) && strcmp(text, plain) == 0);
    must(wr_text_to_i64(text, n, &back) && back == value);
    n = wr_text_of_time(text, value);
    must(n <= WR_TEXT_NUMBER_MAX && strlen(text) == n);
    must(wr_text_to_time(text, n, &back) && back == value);
    n = wr_text_of_duration(text, value);
    must(n <= WR_TEXT_NUMBER_MAX && strlen(text) == n);
    must(wr_text_to_duration(text, n, &back) && back == value);
}

static void print_u64(uint64_t value)
{
    char     text[WR_TEXT_NUMBER_MAX + 1];
    uint64_t back;
    size_t   n = wr_text_of_u64(text, value);
    must(wr_text_to_u64(text, n, &back) && back == value);
    n = wr_text_of_size(text, value);
    must(n <= WR_TEXT_NUMBER_MAX && strlen(text) == n);
    char *blank = strchr(text, ' '); /* for people; without the blank it is a size again, not more than was said */
    must(blank != NULL);
    memmove(blank, blank + 1, strlen(blank));
    must(wr_text_to_size(text, n - 1, &back) && back <= value && value - back <= value / 10);
}

static void print_f64(double value)
{
    char   text[WR_TEXT_NUMBER_MAX + 1];
    double back;
    size_t n = wr_text_of_f64(text, value);
    must(n <= WR_TEXT_NUMBER_MAX && strlen(text) == n);
    must(wr_text_to_f64(text, n, &back) && same_f64(back, value));
    float small = (float)value;
    n = wr_text_of_f32(text, small);
    must(n <= WR_TEXT_NUMBER_MAX && strlen(text) == n);
    must(wr_text_to_f64(text, n, &back) && same_f64((double)(float)back, (double)small));
}

/* The same as strtod wherever both take the text. */
static void read_f64(const char *text, size_t n)
{
    double value;
    memcpy(&value, &(int64_t){UNTOUCHED}, 8);
    if (!wr_text_to_f64(text, n, &value)) {
        must(memcmp(&value, &(int64_t){UNTOUCHED}, 8) == 0);
        return;
    }
    char  *copy = own_text(text, n), *end;
    double plain = strtod(copy, &end);
    must(end == copy + n && same_f64(value, plain));
    free(copy);
    print_f64(value);
}

static void read_integers(const char *text, size_t n)
{
    int64_t  i = UNTOUCHED, ns = UNTOUCHED, time = UNTOUCHED;
    uint64_t u = UNTOUCHED, size = UNTOUCHED;
    bool     flag = false;
    if (wr_text_to_i64(text, n, &i))
        print_i64(i);
    else
        must(i == UNTOUCHED);
    if (wr_text_to_u64(text, n, &u))
        print_u64(u);
    else
        must(u == UNTOUCHED);
    if (wr_text_to_duration(text, n, &ns))
        print_i64(ns);
    else
        must(ns == UNTOUCHED);
    if (wr_text_to_size(text, n, &size))
        print_u64(size);
    else
        must(size == UNTOUCHED);
    if (wr_text_to_time(text, n, &time))
        print_i64(time);
    else
        must(time == UNTOUCHED);
    if (!wr_text_to_bool(text, n, &flag)) must(!flag);
}

/* Words from outside are compared with names. */
static void compare(const char *text, size_t n)
{
    static const char *const names[] = {"split-bytes", NULL, "header", "a"};
    char                    *word = own_text(text, n);
    const char              *near = wr_did_you_mean(word, names, 4);
    must(wr_text_distance(word, word) == 0);
    must(wr_text_distance(word, "header") == wr_text_distance("header", word));
    if (near != NULL) must(wr_text_distance(word, near) <= 3);
    free(word);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    input  in = {bytes, bytes + size};
    char  *text = own(bytes, size);
    double value;
    read_integers(text, size);
    read_f64(text, size);
    compare(text, size);
    free(text);
    uint64_t bits = take_u64(&in);
    memcpy(&value, &bits, sizeof value);
    print_i64((int64_t)bits);
    print_u64(bits);
    print_f64(value);
    return 0;
}
