"""Results, summaries, arguments and signals."""
import fcntl
import json
import os
import select
import signal
import struct
import termios
import time

from kit import COUNT, HEAD, Case, main

WORDS = HEAD + COUNT + """
WEIR_FILTER(wanted, word, in, ctx) { return in->text.len >= (uint32_t)weir_arg_i64(weir_ctx_args(ctx), "least", 1); }
static const weir_counter kept = { "kept" };
WEIR_MAP(seen, word, in, word, out, ctx) { weir_counter_add(ctx, &kept, 2); *out = *in; return true; }
WEIR_PIPELINE(words, p)
{
    line_stream lines = weir_source(line, p, "file:in.txt", .name = "lines");
    word_stream words = weir_apply(seen, weir_apply(wanted, weir_apply(split, lines)));
    weir_sink(weir_apply(count, weir_key_by(words, text)), "print:", .name = "out");
}
"""
# Each record takes a while, so that a drain does.
SLOW = HEAD + """
WEIR_MAP(slow, line, in, line, out) { usleep(500); out->text = in->text; return true; }
WEIR_PIPELINE(slow, p)
{
    weir_sink(weir_apply(slow, weir_source(line, p, "file:in.txt", .name = "lines"), .chaining = WEIR_CHAIN_NEVER), "print:", .name = "out");
}
"""


def last_line(text):
    return text.rstrip("\n").split("\n")[-1]


class Running(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.build("words", WORDS)
        cls.build("slow", SLOW)
        cls.write("in.txt", "to be or not to be\nthat is the question\n")

    def counts(self, text):
        result = {}
        for row in text.split():
            word, n = row.split(",")
            result[word] = max(result.get(word, 0), int(n))
        return result

    def test_cancel_while_nobody_reads(self):
        run = self.start("run", "words.so", "-p1", "--set", "lines=generator:")
        self.addCleanup(lambda: (run.kill(), run.communicate()))
        said = b""

        def told(word):
            nonlocal said
            if select.select([run.stderr], [], [], 0)[0]:
                said += os.read(run.stderr.fileno(), 65536)
            return word in said
        self.wait_until(lambda: struct.unpack("i", fcntl.ioctl(run.stdout, termios.FIONREAD, bytes(4)))[0] > 60000, "the pipe fills")
        for word in (b"stopping", b"canceling"):
            run.send_signal(signal.SIGINT)
            self.wait_until(lambda w=word: told(w), word.decode())
        self.assertEqual(run.wait(60), 130)
        said += run.stderr.read()
        self.assertNotIn(b"does not return", said)

    def test_header_is_printed_before_all_lines(self):
        for word in "abcdefgh":  # some of these keys are on subtask 0, some on subtask 1
            self.write("one.txt", f"{word} {word}\n")
            self.expect(self.weir("run", "-q", "words.so", "-p2", "--set", "lines=file:one.txt", "--set", "out=print:?header=true"), 0,
                        out=f"text,n\n{word},1\n{word},2\n")

    def test_results_at_any_parallelism(self):
        for p in (1, 2, 3, 8):
            got = self.expect(self.weir("run", "words.so", "-p", p), 0, r"words finished after \d+\.\d+ s, .* records/s, \d+ slots?")
            self.assertEqual(self.counts(got.out),
                             {"to": 2, "be": 2, "or": 1, "not": 1, "that": 1, "is": 1, "the": 1, "question": 1})

    def test_summary(self):
        got = self.weir("run", "words.so", "-p", "2")
        self.expect(got, 0, r"(?m)^  source +lines +2 records +\S+/s$", r"(?m)^  sink +out +10 records$",
                    r"(?m)^  state +count +8 keys +\S+ \S+$", r"(?m)^  metric +seen\.kept +20$")
        self.expect(self.weir("run", "words.so", "--quiet"), 0, r"^$")

    def test_json(self):
        got = self.expect(self.weir("run", "words.so", "--json", "-p", "2"), 0)
        self.assertEqual(got.out.count("\n"), 10, "data only on standard output")
        self.assertEqual(got.err.count("\n"), 1)
        s = json.loads(last_line(got.err))
        self.assertEqual((s["job"], s["state"], s["records"], s["error"], s["bad_records"]), ("words", "FINISHED", 2, None, 0))
        self.assertGreater(s["seconds"], 0)
        by_uid = {o["uid"]: o for o in s["operators"]}
        self.assertEqual((by_uid["count"]["in"], by_uid["count"]["out"], by_uid["count"]["keys"], by_uid["out"]["in"]), (10, 10, 8, 10))
        self.assertEqual({t["state"] for t in s["tasks"]}, {"FINISHED"})
        self.assertEqual(s["metrics"][0]["value"], 20)

    def test_json_of_a_failure(self):
        got = self.expect(self.weir("run", "words.so", "--json", "--set", "lines=file:none"), 1, r"^weir: error\[E0402")
        s = json.loads(last_line(got.err))
        self.assertEqual((s["state"], s["error"]["code"], s["error"]["name"]), ("FAILED", "E0402", "NOT_FOUND"))

    def test_arguments(self):
        got = self.expect(self.weir("run", "words.so", "-q", "--", "least=4"), 0)
        self.assertEqual(self.counts(got.out), {"that": 1, "question": 1})
        self.expect(self.weir("run", "words.so", "-q", "--", "least=four"), 2, r"E0102 CONFIG\].*least.*four.*wanted")
        self.error(self.weir("run", "words.so", "--", "least"), 2, 102, "CONFIG", "least")

    def test_set_replaces_source_and_sink(self):
        self.write("other.txt", "x\n")
        self.expect(self.weir("run", "words.so", "-q", "-p1", "--set", "lines=file:other.txt", "--set=out=file:result.txt"), 0, out="")
        self.assertEqual(self.read("result.txt"), "x,1\n")

    def test_standard_input(self):
        got = self.weir("run", "words.so", "-q", "-p", "2", "--set", "lines=stdin:", stdin=b"a b\na\n")
        self.assertEqual(self.counts(self.expect(got, 0).out), {"a": 2, "b": 1})

    def test_pin(self):
        for how in ("off", "auto", "0"):
            self.expect(self.weir("run", "words.so", "-q", "-p", "1", "--pin", how), 0)
        self.error(self.weir("run", "words.so", "-p", "1", "--pin", "4095"), 2, 101, "USAGE", "-?pin")
        self.error(self.weir("run", "words.so", "-p", "1", "--pin", "fast"), 2, 101, "USAGE", '--pin takes off, auto or CPUs .* not "fast"')
        self.error(self.weir("run", "words.so", "-p", "2", "--pin", "0"), 2, 101, "USAGE", "1 CPUs? for 2 slots")

    def test_threads_that_write_snapshots(self):
        for how in ("auto", "0", "1", "5"):
            self.expect(self.weir("run", "words.so", "-q", "-p", "2", "--snapshot-threads", how), 0)
        for how in ("-1", "many", "257"):
            self.error(self.weir("run", "words.so", "-p", "2", "--snapshot-threads", how), 2, 101, "USAGE",
                       f'--snapshot-threads takes auto or a number to 256, not "{how}"')

    def test_closed_output(self):
        process = self.start("run", "words.so", "--set", "lines=generator:?rate=20000")
        process.stdout.close()
        _, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 1, err)
        self.assertRegex(err.decode(), r"error\[E0401 IO\]: .*out")

    def read_lines(self, process, n):
        return [process.stdout.readline() for _ in range(n)]

    def test_interrupt_drains(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            process = self.start("run", "words.so", "-p", "2", "--set", "lines=generator:?rate=1000")
            self.read_lines(process, 10)
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 0, err)
            self.assertRegex(err.decode(), r"weir: stopping: .*\nwords finished after .*, stopped\n")
            self.assertTrue(out == b"" or out.endswith(b"\n"), out)

    def test_interrupt_on_idle_input(self):
        process = self.start("run", "words.so", "--set", "lines=stdin:")
        process.stdin.write(b"one two\n")
        process.stdin.flush()
        self.assertEqual(sorted(self.read_lines(process, 2)), [b"one,1\n", b"two,1\n"])  # an idle source flushes
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
        process.communicate()
        self.assertEqual(process.returncode, 0)

    def test_second_interrupt_cancels(self):
        self.write("many.txt", "x\n" * 100000)
        process = self.start("run", "slow.so", "-p", "1", "--set", "lines=file:many.txt")
        self.read_lines(process, 1)  # the source has read more than is soon written
        process.send_signal(signal.SIGINT)
        said = process.stderr.readline()
        while said and b"weir: stopping" not in said:  # a warning that the slot is held may come first
            said = process.stderr.readline()
        self.assertTrue(said, "the first interrupt is answered")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=100)
        self.assertEqual(process.returncode, 130, err)
        self.assertRegex(err.decode(), r"error\[E0507 CANCELED\]|did not end within")

    def test_user_code_that_does_not_return(self):
        self.build("stuck", SLOW.replace("usleep(500);", 'write(2, "stuck\\n", 6); for (;;) pause();'))
        self.write("few.txt", "x\n")
        process = self.start("run", "stuck.so", "-p", "1", "--set", "lines=file:few.txt")
        self.assertEqual(process.stderr.readline(), b"stuck\n")
        for _ in range(3):  # the third one waits for nobody
            process.send_signal(signal.SIGINT)
            time.sleep(0.02)
        process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130)


if __name__ == "__main__":
    main()
