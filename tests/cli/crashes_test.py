"""Crashes of user code: the report names operator, signal, line and record."""
import re
import unittest

from kit import HEAD, SANITIZED, Case, main

CRASH = HEAD + r"""
static volatile int zero;
static int *volatile nothing;
static bool is(const weir_str *s, const char *text) { weir_str t = weir_str_of(text, strlen(text)); return weir_str_equal(s, &t); }
static int deep(int n)
{
    volatile char big[1000];
    big[0] = (char)n;
    return n < 0 ? 0 : deep(n + 1) + big[0];
}
WEIR_MAP(copy, line, in, line, out) { out->text = in->text; return true; }
WEIR_FLAT_MAP(boom, line, in, word, out)
{
    if (is(&in->text, "null")) *nothing = 1; /* here: null */
    if (is(&in->text, "abort")) abort(); /* here: abort */
    if (is(&in->text, "zero")) zero = (int)in->text.len / zero; /* here: zero */
    if (is(&in->text, "stack")) zero = deep(1);
    if (is(&in->text, "call")) ((void (*)(void))nothing)(); /* here: call */
    if (is(&in->text, "trap")) __builtin_trap(); /* here: trap */
    word_emit(out, (word){ .text = in->text, .n = 1 });
}
WEIR_KEYED(tracked, word, in, counter, state, word, out, ctx)
{
    if (is(&in->text, "tracked")) *nothing = 1; /* here: tracked */
    word_emit(out, (word){ .text = in->text, .n = ++state->seen });
}
WEIR_KEYED(counted, word, in, counter, state, word, out)
{
    state->seen++;
    if (is(&in->text, "counted")) *nothing = 1; /* here: counted */
    word_emit(out, *in);
}
WEIR_PIPELINE(crash, p)
{
    if (weir_arg_i64(weir_args_of(p), "build", 0)) *nothing = 1; /* here: build */
    line_stream lines = weir_source(line, p, "file:in.txt", .name = "lines");
    word_stream words = weir_apply(boom, weir_apply(copy, lines));
    word_stream once = weir_apply(tracked, weir_key_by(words, text));
    weir_sink(weir_apply(counted, weir_key_by(once, text)), "file:out.txt", .name = "out");
}
"""

# Crashes where -- where=NAME says, outside of plain operators.
EDGES = HEAD + r"""
#include <pthread.h>
WEIR_RECORD(part, (weir_str, name), (uint64_t, at))
WEIR_RECORD(number, (uint64_t, n))
WEIR_STATE(adder, (uint64_t, sum))
typedef struct reader { int unused; } reader;
typedef struct writer { int unused; } writer;
static int *volatile nothing;
static const char *where = "";
static void crash_in(const char *place) { if (strcmp(where, place) == 0) *nothing = 1; }
static void *own_thread(void *arg) { crash_in("thread"); return arg; }
static void list_parts(part_out *out, weir_ctx *ctx)
{
    (void)ctx;
    crash_in("enumerate");
    part_emit(out, (part){ .name = weir_lit("the only part") });
}
static bool open_part(const part *p, reader *r, weir_ctx *ctx) { (void)p, (void)r, (void)ctx; crash_in("open"); return true; }
static void close_part(reader *r) { (void)r; }
WEIR_SOURCE(numbers, part, p, reader, r, number, out, ctx, list_parts, open_part, close_part)
{
    (void)r, (void)ctx;
    while (weir_room(&out->out)) {
        if (p->at == 1000) crash_in("poll");
        if (p->at == 2000) return WEIR_END;
        number_emit(out, (number){ .n = p->at++ });
    }
    return WEIR_MORE;
}
WEIR_PARTITION(spread, number, in, channels)
{
    if (in->n == 500) crash_in("partition");
    return (uint32_t)(in->n % channels);
}
WEIR_MAP(wild, number, in, line, out)
{
    out->text = weir_str_of("a text of more than twelve bytes", 32);
    return true;
}
WEIR_FILTER(look, line, in)
{
    static int count;
    if (++count == 600 && strcmp(where, "wild") == 0) ((line *)(uintptr_t)in)->text.u.far = (const char *)16;
    return weir_str_data(&in->text)[0] == 'a';
}
WEIR_KEYED(late, number, in, adder, state, number, out)
{
    if (++state->sum == 1 && in->n == 700) crash_in("once"); /* not again when it is run again: then it is 2 */
    number_emit(out, *in);
}
static bool open_sink(writer *w, weir_ctx *ctx) { (void)w, (void)ctx; return true; }
static bool flush_sink(writer *w, weir_ctx *ctx) { (void)w, (void)ctx; return true; }
static void close_sink(writer *w, weir_ctx *ctx) { (void)w, (void)ctx; }
WEIR_SINK(keep, number, in, writer, w, ctx, open_sink, flush_sink, close_sink)
{
    (void)w, (void)ctx;
    if (in->n == 800) crash_in("write");
    if (in->n == 801 && strcmp(where, "thread") == 0) {
        pthread_t thread;
        pthread_create(&thread, NULL, own_thread, NULL);
        pthread_join(thread, NULL);
    }
}
WEIR_PIPELINE(edges, p)
{
    where = weir_arg(weir_args_of(p), "where", "");
    number_stream all = weir_read(numbers, p);
    weir_write(keep, weir_partition(spread, weir_apply(late, weir_key_by(all, n))));
    weir_sink(weir_apply(look, weir_apply(wild, all)), "blackhole:", .name = "out");
}
"""


@unittest.skipIf(SANITIZED, "a sanitizer reports crashes itself")
class Crashes(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.build("crash", CRASH)
        cls.build("edges", EDGES)

    def line_of(self, mark):
        return CRASH[: CRASH.index(f"/* here: {mark} */")].count("\n") + 1

    def crashes(self, word, *flags):
        """800 lines, the 501st of which is the word."""
        lines = [str(i) for i in range(800)]
        lines[500] = word
        self.write("in.txt", "\n".join(lines) + "\n")
        got = self.weir("run", "crash.so", "-p", "1", *flags)
        self.expect(got, 5, r"weir: error\[E0506 CRASH\]: the pipeline's own code crashed: ")
        return got

    def names(self, word, operator, signal, mark):
        got = self.crashes(word)
        self.expect(got, 5, f"crashed: {signal}", f"operator {operator}, subtask 0 of 1 \\(declared at crash.c:\\d+\\)",
                    f'record 501 of \\d+ in its batch.*: {{text="{word}"',
                    rf"(?m)^  #\d+ +{operator} +at .*crash\.c:{self.line_of(mark)}$")

    def test_null_pointer(self):
        self.names("null", "boom", "SIGSEGV, address 0x0: a null pointer", "null")

    def test_abort(self):
        self.names("abort", "boom", r"SIGABRT: abort\(\) was called", "abort")

    def test_division_by_zero(self):
        self.names("zero", "boom", "SIGFPE: integer division by zero", "zero")

    def test_illegal_instruction(self):
        self.names("trap", "boom", "SIGILL: illegal instruction", "trap")

    def test_call_of_a_null_pointer(self):
        got = self.crashes("call")
        self.expect(got, 5, "SIGSEGV, address 0x0", r"#0 +0x0: no code there", rf"#1 +boom +at .*crash\.c:{self.line_of('call')}")

    def test_stack_overflow(self):
        got = self.crashes("stack")
        self.expect(got, 5, "SIGSEGV, address 0x[0-9a-f]+: stack overflow", 'record 501 of .*{text="stack"}', r"#0 +deep +at .*crash\.c",
                    r"and \d+ more of these")

    def test_record_that_the_loop_tracks(self):
        self.names("tracked", "tracked", "SIGSEGV", "tracked")

    def test_record_of_a_keyed_loop_by_replay(self):
        self.names("counted", "counted", "SIGSEGV", "counted")

    def test_no_replay_reaches_the_sink(self):
        self.crashes("counted")
        try:
            written = self.read("out.txt").split()
        except FileNotFoundError:
            written = []
        self.assertEqual(len(written), len(set(written)), "a record was written twice")

    def edge(self, where, *patterns):
        got = self.weir("run", "edges.so", "-p", "2", "--", "where=" + where)
        return self.expect(got, 5, "E0506 CRASH.*SIGSEGV, address 0x0: a null pointer", *patterns, rf"#0 +crash_in +at .*edges\.c",)

    def test_without_a_crash(self):
        self.expect(self.weir("run", "edges.so", "-p", "2"), 0)

    def test_source(self):
        self.edge("enumerate", "operator numbers, .*, in its enumerate function", "#1 +list_parts")
        self.edge("open", "operator numbers, .*, in its open function", "#1 +open_part")
        self.edge("poll", r'operator numbers, .*, polling \(declared at edges.c:\d+\), split {name="the only part", at=1000}', "#1 +numbers")

    def test_sink(self):
        self.edge("write", r"operator keep, .*, writing \(.*, record \d+ of \d+ in its batch: {n=800}", "#1 +keep")

    def test_partitioner(self):
        self.edge("partition", "operator late, .*, in the partitioner behind it", "#1 +spread")

    def test_thread_of_the_pipeline(self):
        self.edge("thread", "in a thread that Weir did not start", "#1 +own_thread")

    def test_crash_that_does_not_happen_again(self):
        self.edge("once", r"operator late, .*, record unknown, one of \d+ in its batch;", "#1 +late")

    def test_record_that_cannot_be_read(self):
        got = self.weir("run", "edges.so", "-p", "1", "--", "where=wild")
        self.expect(got, 5, r"SIGSEGV, address 0x10: a null pointer; operator look, .*, record \d+ of \d+ .*: {it cannot be read}; ",
                    r"#0 +.*look", )

    def test_build_function(self):
        for verb in ("run", "check", "plan"):
            got = self.weir(verb, "crash.so", "--", "build=1")
            self.expect(got, 5, r"E0506 CRASH.*SIGSEGV.*in the build function of crash;", rf"crash\.c:{self.line_of('build')}", out="")
            self.assertEqual(len(re.findall("E0506", got.err)), 1)


if __name__ == "__main__":
    main()
