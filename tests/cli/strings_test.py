"""Small records that become large ones: jobs with long strings run, in bounded memory; one call that makes too much is named."""
import os
import subprocess

from kit import HEAD, SANITIZED, WEIR, Case, main

# Each number becomes a string of `len` bytes: by a map (way=map), a flat map (flat), from the state of one of ten
# keys (state), or as a window of one record (window); late=N: the first N stay short. Or each of `keys` keys gives one
# at the end: as the result of a window (result, whole), or by a timer (timer). They are counted and added up.
LONG = HEAD + r"""
WEIR_RECORD(num, (uint64_t, n))
WEIR_RECORD(text, (uint64_t, n), (weir_str, s))
WEIR_RECORD(event, (uint64_t, n), (weir_time, at))
WEIR_STATE(ringing, (weir_event_timer, at))
WEIR_STATE(none, (uint64_t, n))
WEIR_RECORD(sized, (uint64_t, key), (uint64_t, bytes), (uint64_t, wrong))
WEIR_STATE(kept, (weir_text, text))
WEIR_STATE(sums, (uint64_t, records), (uint64_t, bytes), (uint64_t, wrong))
static int length_of(weir_ctx *ctx, uint64_t n)
{
    const weir_args *args = weir_ctx_args(ctx);
    return (int64_t)n < weir_arg_i64(args, "late", 0) ? 20 : (int)weir_arg_i64(args, "len", 0);
}
WEIR_MAP(as_map, num, in, text, out, ctx)
{
    *out = (text){ in->n, weir_format(ctx, "%*llu", length_of(ctx, in->n), (unsigned long long)in->n) };
    return true;
}
WEIR_FLAT_MAP(as_flat, num, in, text, out, ctx)
{
    char *bytes = malloc(length_of(ctx, in->n) + 1);
    int   n = sprintf(bytes, "%*llu", length_of(ctx, in->n), (unsigned long long)in->n);
    text_emit(out, (text){ in->n, weir_str_of(bytes, n) });
    free(bytes);
}
WEIR_MAP(of_ten, num, in, num, out) { out->n = in->n % 10; return true; }
WEIR_KEYED(as_state, num, in, kept, state, text, out, ctx)
{
    if (weir_text_get(ctx, &state->text).len == 0)
        weir_text_set(ctx, &state->text, weir_format(ctx, "%*llu", length_of(ctx, in->n), (unsigned long long)in->n));
    text_emit(out, (text){ in->n, weir_text_get(ctx, &state->text) });
}
WEIR_FLAT_MAP(hog, num, in, text, out, ctx) /* record 3000 makes 100 MB, in strings of 1 MB */
{
    int64_t much = in->n == 3000 ? 100 : 1;
    for (int64_t i = 0; i < much; i++) text_emit(out, (text){ in->n, weir_format(ctx, "%*d", in->n == 3000 ? 1000000 : 20, 1) });
}
static weir_str padded(weir_ctx *ctx, uint64_t n) /* only its last digit is there: that is faster */
{
    static _Thread_local char much[2000000];
    int                       length = length_of(ctx, n);
    much[length - 1] = (char)('0' + n % 10);
    return weir_keep(ctx, much, (size_t)length);
}
WEIR_WINDOW(as_window, num, rows, text, out, ctx)
{
    const num *in = num_next(rows);
    text_emit(out, (text){ in->n, padded(ctx, in->n) });
}
WEIR_MAP(of_keys, num, in, event, out, ctx)
{
    *out = (event){ in->n % (uint64_t)weir_arg_i64(weir_ctx_args(ctx), "keys", 1), { 1 } };
    return true;
}
static void long_one(const event *key, text_out *out, weir_ctx *ctx)
{
    text_emit(out, (text){ key->n, padded(ctx, key->n) });
}
static void merge_none(none *into, const none *from) { (void)into, (void)from; }
static void tell_none(const event *key, const none *acc, text_out *out, weir_ctx *ctx) { (void)acc; long_one(key, out, ctx); }
WEIR_AGGREGATE(as_result, event, in, none, acc, text, merge_none, tell_none) { acc->n++; }
static void on_alarm(const event *key, ringing *state, text_out *out, weir_ctx *ctx) { (void)state; long_one(key, out, ctx); }
WEIR_KEYED(as_timer, event, in, ringing, state, text, out, ctx, on_alarm)
{
    (void)out;
    weir_event_timer_set(ctx, &state->at, in->at);
}
static text_stream at_the_end(num_stream n, const char *way)
{
    event_stream events = weir_event_time(weir_apply(of_keys, n), at);
    if (strcmp(way, "timer") == 0) return weir_apply(as_timer, weir_key_by(events, n));
    bool whole = strcmp(way, "whole") == 0;
    return weir_apply(as_result, weir_window(weir_key_by(events, n), whole ? weir_one_window() : weir_tumbling(WEIR_DAY)));
}
WEIR_MAP(size, text, in, sized, out, ctx)
{
    const char *digit = weir_str_data(&in->s) + in->s.len - 1;
    *out = (sized){ 0, in->s.len, (uint64_t)(*digit - '0') != in->n % 10 };
    return true;
}
static void merge(sums *into, const sums *from) { (void)into, (void)from; }
static void tell(const sized *key, const sums *acc, sized_out *out, weir_ctx *ctx)
{
    (void)key, (void)ctx;
    sized_emit(out, (sized){ acc->records, acc->bytes, acc->wrong });
}
WEIR_AGGREGATE(sum, sized, in, sums, acc, sized, merge, tell)
{
    acc->records++;
    acc->bytes += in->bytes;
    acc->wrong += in->wrong;
}
WEIR_PIPELINE(strings, p)
{
    const char *way = weir_arg(weir_args_of(p), "way", "map");
    num_stream  n = weir_source(num, p, "generator:?count=6000&splits=1", .name = "in");
    text_stream t = strcmp(way, "map") == 0  ? weir_apply(as_map, n)
                    : strcmp(way, "flat") == 0 ? weir_apply(as_flat, n)
                    : strcmp(way, "hog") == 0  ? weir_apply(hog, n)
                    : strcmp(way, "window") == 0 ? weir_apply(as_window, weir_window(weir_key_by(n, n), weir_count(1, 1)))
                    : strcmp(way, "state") == 0 ? weir_apply(as_state, weir_key_by(weir_apply(of_ten, n), n))
                                             : at_the_end(n, way);
    if (weir_arg_i64(weir_args_of(p), "away", 0)) t = weir_rebalance(t);
    weir_sink(weir_apply(sum, weir_window(weir_key_by(weir_apply(size, t), key), weir_one_window())), "file:out.csv", .name = "out",
              .options = "overwrite=true", .parallelism = 1);
}
"""


# One line of more words than there is room for at once.
LINE = HEAD + r"""
WEIR_RECORD(token, (weir_str, text))
WEIR_RECORD(tally, (weir_str, text), (uint64_t, n))
WEIR_SPLIT(split, line, text, ' ', token, text)
WEIR_AGGREGATE_FIELDS(count_all, token, tally, (text, key, text), (n, count))
WEIR_PIPELINE(long_line, p)
{
    token_stream tokens = weir_apply(split, weir_source(line, p, "file:line.txt", .name = "lines"));
    weir_sink(weir_apply(count_all, weir_window(weir_key_by(tokens, text), weir_one_window())), "file:counts.csv", .name = "out",
              .options = "overwrite=true", .parallelism = 1);
}
"""


class Strings(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.build("strings", LONG)
        cls.build("line", LINE)

    def peak(self, *args):
        """Most memory of a run that must succeed, in MiB."""
        with subprocess.Popen([WEIR, "run", "-q", "strings.so", "-p", "2", *args], cwd=self.folder, stderr=subprocess.PIPE) as child:
            said = child.stderr.read().decode()
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        self.assertEqual(child.returncode, 0, said)
        return usage.ru_maxrss >> 10

    def runs(self, way, length, mebibytes, late=0, keys=6000):
        for away in (0, 1):
            with self.subTest(way=way, len=length, away=away):
                peak = self.peak("--", f"way={way}", f"len={length}", f"away={away}", f"late={late}", f"keys={keys}")
                self.assertEqual(self.read("out.csv"), f"{keys},{late * 20 + (keys - late) * length},0\n")
                if not SANITIZED:
                    self.assertLess(peak, mebibytes)

    def test_of_a_map(self):
        for length in (16000, 33000, 100000):
            self.runs("map", length, 150)

    def test_of_a_flat_map(self):
        for length in (16000, 33000, 100000):
            self.runs("flat", length, 150)

    def test_of_a_state(self):
        for length in (16000, 33000, 100000):
            self.runs("state", length, 150)

    def test_that_become_long_on_the_way(self):
        self.runs("map", 33000, 600, late=4500)
        self.runs("flat", 33000, 600, late=4500)

    def test_of_windows_one_by_one(self):
        self.runs("window", 200000, 900, late=3000)

    def test_of_results_and_timers(self):
        for way in ("result", "whole", "timer"):
            self.runs(way, 1100000, 300, keys=2400)

    def test_words_of_a_line_as_long_as_it_may_be(self):
        words = 2700000
        self.write("line.txt", b"words a b " * (words // 3))
        self.expect(self.weir("run", "-q", "line.so", "-p", "2"), 0)
        self.assertEqual(sorted(self.read("counts.csv").split()), [f"{word},{words // 3}" for word in ("a", "b", "words")])

    def test_one_call_that_makes_too_much(self):
        for away in (0, 1):
            got = self.weir("run", "-q", "strings.so", "-p", "2", "--", "way=hog", f"away={away}")
            self.expect(got, 5, r"E0504 OVERDRAFT\]: one call (kept more than 64 MiB of strings|emitted more than 64 MiB beyond its room); "
                                r"operator hog subtask \d, record \d+ of \d+ of its batch; emit less per record")


if __name__ == "__main__":
    main()
