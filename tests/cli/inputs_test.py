"""Files that are not there, records that cannot be read, bounds that are passed."""
import os
import re
import shutil
import subprocess

from kit import COUNT, HEAD, Case, main

WORDS = HEAD + COUNT + """
WEIR_PIPELINE(words, p)
{
    line_stream lines = weir_source(line, p, "file:in.txt", .name = "lines");
    weir_sink(weir_apply(count, weir_key_by(weir_apply(split, lines), text)), "file:out.csv", .name = "out");
}
"""
# -DPOLICY: what is done with a record that cannot be read.
TABLE = HEAD + """
WEIR_RECORD(row, (weir_str, name), (int64_t, amount))
WEIR_PIPELINE(table, p)
{
    row_stream rows = weir_source(row, p, "file:rows.csv", .format = WEIR_CSV, .name = "rows", .on_error = POLICY);
    weir_sink(rows, "file:out.csv", .name = "out");
#ifdef LETTERS
    weir_sink(weir_dead_letters(p), "file:dead.raw", .format = WEIR_RAW, .name = "dead");
#endif
}
"""
PICKY = HEAD + """
WEIR_MAP(picky, line, in, line, out, ctx)
{
    if (in->text.len == 3) return weir_reject(ctx, "three letters are bad luck");
    out->text = in->text;
    return true;
}
WEIR_MAP(strict, line, in, line, out, ctx)
{
    if (in->text.len == 4) weir_fail(ctx, "four letters are the end");
    out->text = in->text;
    return true;
}
WEIR_PIPELINE(picky, p)
{
    line_stream lines = weir_source(line, p, "file:in.txt", .name = "lines");
    weir_sink(weir_apply(strict, weir_apply(picky, lines, .on_error = POLICY)), "file:out.txt", .name = "out");
}
"""
# A source whose open fails; told: its close says so.
REFUSING = HEAD + """
WEIR_RECORD(part, (uint64_t, id))
typedef struct reader { FILE *file; } reader;
static void list_parts(part_out *out, weir_ctx *ctx) { (void)ctx; for (uint64_t i = 0; i < 3; i++) part_emit(out, (part){ i }); }
static bool open_part(const part *p, reader *r, weir_ctx *ctx)
{
    (void)p;
    r->file = fopen("no/such/file", "r");
    if (r->file == NULL) weir_fail(ctx, "cannot open the input");
    return r->file != NULL;
}
static void close_part(reader *r) { (void)r; fprintf(stderr, "closed\\n"); }
WEIR_SOURCE(refusing, part, p, reader, r, word, out, ctx, list_parts, open_part, close_part)
{
    (void)p, (void)out, (void)ctx;
    return fgetc(r->file) == EOF ? WEIR_END : WEIR_MORE;
}
WEIR_PIPELINE(refusing, p) { weir_sink(weir_read(refusing, p), "blackhole:", .name = "out"); }
"""
# 4 MiB of state for each of many keys: far more in one batch than any bound.
LARGE = HEAD + """
WEIR_RECORD(num, (uint64_t, n))
WEIR_STATE(kept, (weir_text, text))
WEIR_KEYED(keep, num, in, kept, state, num, out, ctx)
{
    static char much[4 << 20];
    weir_text_set(ctx, &state->text, weir_str_of(much, sizeof much));
    num_emit(out, *in);
}
WEIR_PIPELINE(large, p)
{
    num_stream n = weir_source(num, p, "generator:?count=1000000", .name = "in");
    weir_sink(weir_apply(keep, weir_key_by(n, n)), "blackhole:", .name = "out");
}
"""
# Numbers that mean nothing: of a poll, of a commit.
STRANGE = HEAD + """
WEIR_RECORD(part, (uint64_t, id))
typedef struct reader { int n; } reader;
typedef struct writer { int n; } writer;
static void list_parts(part_out *out, weir_ctx *ctx) { (void)ctx; part_emit(out, (part){ 1 }); }
static bool open_part(const part *p, reader *r, weir_ctx *ctx) { (void)p, (void)r, (void)ctx; return true; }
static void close_part(reader *r) { (void)r; }
WEIR_SOURCE(odd, part, p, reader, r, word, out, ctx, list_parts, open_part, close_part)
{
    (void)p;
    if (r->n++ == 0 && weir_room(&out->out)) word_emit(out, (word){ .n = 1 });
    return weir_arg_i64(weir_ctx_args(ctx), "poll", 0) ? (weir_poll)7 : WEIR_END;
}
static bool open_book(writer *w, weir_ctx *ctx) { (void)w, (void)ctx; return true; }
static void close_book(writer *w, weir_ctx *ctx) { (void)w, (void)ctx; }
static bool prepare_book(writer *w, part_out *out, weir_ctx *ctx) { (void)ctx; part_emit(out, (part){ w->n }); return true; }
static weir_commit commit_book(writer *w, const part *c, uint32_t n, uint64_t snapshot, weir_ctx *ctx)
{
    (void)w, (void)c, (void)n, (void)snapshot, (void)ctx;
    return (weir_commit)9;
}
static bool recover_book(writer *w, const weir_sink_id *id, const part *known, uint32_t n, weir_ctx *ctx)
{
    (void)w, (void)id, (void)known, (void)n, (void)ctx;
    return true;
}
WEIR_TWO_PHASE_SINK(book, word, in, writer, w, part, ctx, open_book, close_book, prepare_book, commit_book, recover_book) { w->n += in->n; }
WEIR_PIPELINE(strange, p) { weir_write(book, weir_read(odd, p)); }
"""


class Inputs(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.build("words", WORDS)
        for policy in ("FAIL", "SKIP"):
            cls.build("table_" + policy, TABLE, f"-DPOLICY=WEIR_{policy}")
            cls.build("picky_" + policy, PICKY, f"-DPOLICY=WEIR_{policy}")
        cls.build("table_LETTERS", TABLE, "-DPOLICY=WEIR_DEAD_LETTER", "-DLETTERS")
        cls.build("refusing", REFUSING)
        cls.build("large", LARGE)
        cls.build("strange", STRANGE)
        cls.write("rows.csv", "ann,1\nbob,two\ncid,3\ndan\neve,5\n")

    def setUp(self):
        for name in ("out.csv", "out.txt", "dead.raw", "in.txt"):
            if os.path.isdir(self.path(name)):  # of several subtasks
                shutil.rmtree(self.path(name))
            elif os.path.exists(self.path(name)):
                os.unlink(self.path(name))

    def test_missing_file(self):
        self.expect(self.weir("run", "words.so", "-p1", "--set", "lines=file:none.txt"), 1, r"error\[E0402 NOT_FOUND\]: .*none\.txt.*lines")

    def test_file_that_hides_its_size(self):
        got = self.weir("run", "words.so", "-p1", "--set", "lines=file:/proc/self/status")
        self.error(got, 2, 102, "CONFIG", r"/proc/self/status says that it has 0 bytes, but there are some", "lines", "stdin:")
        self.write("in.txt", "")
        self.expect(self.weir("run", "-q", "words.so", "-p1"), 0)
        self.assertEqual(self.read("out.csv"), "")

    def test_pipe_as_a_sink(self):
        pipe = self.path("pipe")
        os.mkfifo(pipe)
        self.write("in.txt", "a a\n")
        got = self.weir("run", "words.so", "-p1", "--set", "out=file:pipe")
        self.expect(got, 1, r"error\[E0401 IO\]: .*pipe.*start its reader first")
        with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE) as reader:
            # It may not have opened the pipe yet: then this says so, and writes nothing.
            self.wait_until(lambda: self.weir("run", "-q", "words.so", "-p1", "--set", "out=file:pipe").code == 0, "a reader")
            self.assertEqual(reader.communicate(timeout=60)[0], b"a,1\na,2\n")
        for device, code in (("/dev/null", 0), ("/dev/full", 1)):
            self.expect(self.weir("run", "-q", "words.so", "-p1", "--set", "out=file:" + device), code)
        got = self.expect(self.weir("run", "-q", "words.so", "-p1", "--set", "out=file:/dev/stdout"), 0)
        self.assertEqual(got.out, "a,1\na,2\n")

    def test_unreadable_file(self):
        if os.geteuid() == 0:
            self.skipTest("root reads everything")
        os.chmod(self.write("secret.txt", "x"), 0)
        self.expect(self.weir("run", "words.so", "-p1", "--set", "lines=file:secret.txt"), 8, r"error\[E0403 PERMISSION\]: .*secret\.txt.*lines")

    def test_folder_that_cannot_be_written(self):
        self.write("in.txt", "a\n")
        self.expect(self.weir("run", "words.so", "-p1", "--set", "out=file:no/such/folder/out"), 1, r"error\[E0402 NOT_FOUND\]: .*no/such/folder.*out")

    def test_malformed_record_fails(self):
        got = self.expect(self.weir("run", "table_FAIL.so", "-p1"), 5, r"error\[E0501 BAD_RECORD\]: .*amount.*rows.*rows\.csv:2")
        self.assertRegex(got.err, r"table failed after")

    def test_malformed_record_is_skipped_and_counted(self):
        self.expect(self.weir("run", "table_SKIP.so", "-p1"), 0, r"table finished after", r"(?m)^  bad +rows +2 records \(skipped\)$")
        self.assertEqual(self.read("out.csv"), "ann,1\ncid,3\neve,5\n")

    def test_malformed_record_becomes_a_dead_letter(self):
        self.expect(self.weir("run", "table_LETTERS.so", "-p1"), 0, r"(?m)^  bad +rows +2 records \(dead letters\)$")
        self.assertEqual(self.read("out.csv"), "ann,1\ncid,3\neve,5\n")
        dead = self.read("dead.raw")
        for word in ("rows.csv:2", "rows.csv:4", "bob,two"):
            self.assertIn(word, dead)

    def test_rejected_record(self):
        self.write("in.txt", "a\nbbb\nc\n")
        self.expect(self.weir("run", "picky_FAIL.so", "-p1"), 5, r"E0501 BAD_RECORD\]: three letters are bad luck; operator picky")
        self.setUp()
        self.write("in.txt", "a\nbbb\nc\n")
        self.expect(self.weir("run", "picky_SKIP.so", "-p1"), 0, r"(?m)^  bad +picky +1 records? \(skipped\)$")
        self.assertEqual(self.read("out.txt"), "a\nc\n")

    def test_failure_by_user_code(self):
        self.write("in.txt", "a\ndddd\nc\n")
        self.expect(self.weir("run", "picky_SKIP.so", "-p1"), 5, r"error\[E0505 USER_FAIL\]: four letters are the end; operator strict subtask \d")

    def test_source_that_does_not_open_is_closed_and_never_polled(self):
        got = self.expect(self.weir("run", "refusing.so", "-p1"), 5,
                          r"error\[E0505 USER_FAIL\]: cannot open the input; operator refusing subtask 0")
        self.assertEqual(re.findall(r"(?m)^closed$", got.err), ["closed"], got)

    def test_generator_whose_option_is_wrong(self):
        flags = ("--set", "lines=generator:?count=10&start=x", "--set", "out=blackhole:")
        self.expect(self.weir("run", "words.so", "-p1", *flags), 2, r"error\[E0303 OPTION\]: .*option start=x is not a time")

    def test_record_too_large(self):
        self.write("in.txt", b"short\n" + b"x" * (17 << 20) + b"\nshort\n")
        self.expect(self.weir("run", "words.so", "-p1"), 5, r"error\[E0501 BAD_RECORD\]: a record of more than \d+ bytes, which is the maximum; operator lines, in\.txt:2")

    def test_large_record_that_fits(self):
        self.write("in.txt", b"short\n" + b"x" * (3 << 20) + b"\nshort\n")
        self.expect(self.weir("run", "words.so", "-p1"), 0)
        self.assertEqual(sorted(len(row) for row in self.read("out.csv").split()), [7, 7, (3 << 20) + 2])

    def test_state_bound(self):
        self.write("in.txt", "".join(f"word{i}\n" for i in range(200000)))
        self.expect(self.weir("run", "words.so", "-p1", "--state-max", "256KiB"), 5, r"error\[E0503 STATE_MAX\]: .*count.*--state-max")
        self.expect(self.weir("run", "words.so", "-p1", "--state-max", "1GiB", "--set", "out=blackhole:"), 0)

    def test_state_bound_within_a_batch(self):
        for bound in ("100MiB", "1MiB"):
            self.expect(self.weir("run", "-q", "large.so", "-p2", "--state-max", bound), 5,
                        r"error\[E0503 STATE_MAX\]: keyed state is larger than --state-max .*operator keep subtask \d with \d+ keys")

    def test_poll_that_returns_no_known_number(self):
        self.expect(self.weir("run", "-q", "strange.so", "-p1", "--", "poll=1", timeout=30), 5,
                    r"error\[E0505 USER_FAIL\]: a poll returned 7; source odd subtask 0 \(strange.c:\d+\); return WEIR_MORE, WEIR_IDLE or WEIR_END")

    def test_commit_that_returns_no_known_number(self):
        self.expect(self.weir("run", "-q", "strange.so", "-p1"), 5,
                    r"error\[E0505 USER_FAIL\]: a commit returned 9; sink book subtask 0 \(strange.c:\d+\); return WEIR_COMMITTED, ")


if __name__ == "__main__":
    main()
