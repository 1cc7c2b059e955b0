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


@unittest.skipIf(SANITIZED, "a sanitizer reports crashes itself")
class Crashes(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.build("crash", CRASH)

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
                    f'record 501 of 8\\d\\d in its batch.*: {{text="{word}"',
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
        self.expect(got, 5, "SIGSEGV, address 0x[0-9a-f]+: stack overflow", 'record 501 of 8.*{text="stack"}', r"#0 +deep +at .*crash\.c",
                    r"and \d+ times more")

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

    def test_build_function(self):
        for verb in ("run", "check", "plan"):
            got = self.weir(verb, "crash.so", "--", "build=1")
            self.expect(got, 5, r"E0506 CRASH.*SIGSEGV.*in the build function of crash;", rf"crash\.c:{self.line_of('build')}", out="")
            self.assertEqual(len(re.findall("E0506", got.err)), 1)


if __name__ == "__main__":
    main()
