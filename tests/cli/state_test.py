"""weir state and weir restore --check."""
import json
import os
import shutil
import subprocess

from kit import HEAD, WEIR, Case, main

PIPELINE = HEAD.replace("WEIR_STATE(counter, (int64_t, seen))", "STATE") + """
WEIR_FLAT_MAP(split, line, in, word, out)
{
    weir_cursor c = weir_str_cursor(&in->text);
    for (weir_str token; weir_next_token(&c, ' ', &token);) word_emit(out, (word){ .text = token, .n = 1 });
}
WEIR_KEYED(count, word, in, counter, state, word, out, ctx)
{
    state->seen += 1;
    weir_text_set(ctx, &state->last, in->text);
    word_emit(out, (word){ .text = in->text, .n = (int64_t)state->seen });
}
WEIR_PIPELINE(counted, p)
{
    weir_sink(weir_apply(count, weir_key_by(weir_apply(split, weir_source(line, p, "file:in.txt", .name = "lines")), text),
                         .uid = "COUNT"), "file:out", .name = "out");
}
"""
STATE = "WEIR_STATE(counter, (int64_t, seen), (weir_text, last))"


WINDOWED = """#include <weir/pipeline.h>
WEIR_RECORD(event, (weir_time, at), (uint64_t, key), (uint64_t, n))
WEIR_REDUCE(latest, event, so_far, in) { so_far->n += in->n; }
WEIR_PIPELINE(windowed, p)
{
    event_stream events = weir_event_time(weir_source(event, p, "file:events.csv", .format = WEIR_CSV, .name = "events"), at);
    weir_sink(weir_apply(latest, weir_window(weir_key_by(events, key), WINDOW), .uid = "sums"), "blackhole:", .name = "out");
}
"""

# What windows keep: an accumulator with and without RETRACT, and records. OPERATOR, WINDOW and SLOW come from the environment.
KEEPING = """#include <weir/pipeline.h>
#include <stdlib.h>
#include <string.h>
WEIR_RECORD(event, (weir_time, at), (uint64_t, key), (uint32_t, n))
WEIR_RECORD(told, (int64_t, c), (int64_t, s))
WEIR_STATE(acc_t, (int32_t, c), (int64_t, s))
static void merge(acc_t *into, const acc_t *from) { into->c += from->c; into->s += from->s; }
static void retract(acc_t *from, const acc_t *gone) { from->c -= gone->c; from->s -= gone->s; }
static void tell(const event *key, const acc_t *acc, told_out *out, weir_ctx *ctx)
{
    (void)key, (void)ctx;
    told_emit(out, (told){ (int64_t)acc->c, (int64_t)acc->s });
}
WEIR_AGGREGATE(fold, event, in, acc_t, acc, told, merge, tell) { acc->c += 1; acc->s += in->n; }
WEIR_AGGREGATE(roll, event, in, acc_t, acc, told, merge, tell, retract) { acc->c += 1; acc->s += in->n; }
WEIR_WINDOW(full, event, rows, told, out)
{
    told made = { 0 };
    for (const event *e; (e = event_next(rows)) != NULL; made.c++) made.s += (int64_t)e->n;
    told_emit(out, made);
}
WEIR_PIPELINE(keeping, p)
{
    const char  *of = getenv("OPERATOR"), *cut = getenv("WINDOW");
    event_stream events = weir_source(event, p, "file:kept.csv", .format = WEIR_CSV, .name = "events",
                                      .rate_max = getenv("SLOW") ? 100 : 0);
    event_keyed  keyed = weir_key_by(weir_event_time(events, at), key);
    weir_window  window = !strcmp(cut, "tumbling")  ? weir_tumbling(WEIR_HOUR)
                          : !strcmp(cut, "sliding") ? weir_sliding(WEIR_HOUR, WEIR_HOUR / 2)
                                                    : weir_session(WEIR_HOUR);
    told_stream  results;
    if (!strcmp(of, "fold")) results = weir_apply(fold, weir_window(keyed, window), .uid = "sums");
    else if (!strcmp(of, "roll")) results = weir_apply(roll, weir_window(keyed, window), .uid = "sums");
    else results = weir_apply(full, weir_window(keyed, window), .uid = "sums");
    weir_sink(results, "file:told", .name = "out");
}
"""
KEEPS = "WEIR_STATE(acc_t, (int32_t, c), (int64_t, s))"
EVENTS = 300

# KEY: which of two fields of one type the state belongs to.
KEYED = """#include <weir/pipeline.h>
WEIR_RECORD(event, (uint64_t, user), (uint64_t, shop))
WEIR_STATE(visits, (uint64_t, n))
WEIR_KEYED(tally, event, in, visits, state, event, out) { state->n++; event_emit(out, *in); }
WEIR_FILTER(all, event, in) { return in->user < 1000; }
WEIR_REDUCE(latest, event, so_far, in) { *so_far = *in; }
WEIR_PIPELINE(keyed, p)
{
    event_stream events = weir_source(event, p, "file:visits.csv", .format = WEIR_CSV, .name = "events");
    weir_sink(OPERATOR, "blackhole:", .name = "out");
}
"""

# A key of each kind; what has state of one field.
ODD_KEYS = """#include <weir/pipeline.h>
WEIR_RECORD(row, (weir_str, text), (int32_t, n), (bool, b), (weir_time, at))
WEIR_RECORD(seen, (uint64_t, n))
WEIR_STATE(counter, (uint64_t, seen))
WEIR_KEYED(count, row, in, counter, state, seen, out) { (void)in; seen_emit(out, (seen){ ++state->seen }); }
WEIR_PIPELINE(keys, p)
{
    row_stream rows = weir_source(row, p, "file:keys.csv", .format = WEIR_CSV, .name = "rows");
    weir_sink(weir_apply(count, weir_key_by(rows, text, n, b, at)), "blackhole:", .name = "out");
}
"""

BUSY = """#include <weir/pipeline.h>
WEIR_RECORD(event, (uint64_t, n), (uint64_t, key))
WEIR_STATE(counter, (uint64_t, seen))
WEIR_KEYED(count, event, in, counter, state, event, out) { state->seen++; event_emit(out, *in); }
WEIR_PIPELINE(busy, p)
{
    event_stream events = weir_source(event, p, "generator:?keys=20000&rate=200000", .name = "events");
    weir_sink(weir_apply(count, weir_key_by(events, key)), "blackhole:", .name = "out");
}
"""


class State(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.build("one", PIPELINE.replace("STATE", STATE))
        cls.build("wider", PIPELINE.replace("STATE", STATE.replace("(int64_t, seen)", "(int64_t, seen), (double, more)")))
        cls.build("narrower", PIPELINE.replace("STATE", STATE.replace("int64_t", "int16_t")))
        cls.build("renamed", PIPELINE.replace("STATE", STATE).replace("COUNT", "other"))
        cls.write("in.txt", "a b a\na long-word-of-many-letters\n")

    def snapshot(self, name, text="a b a\na long-word-of-many-letters\n"):
        self.write("in.txt", text)
        got = self.weir("run", "-q", "-p", "2", self.path("one.so"), "--snapshots", self.path(name), "--set",
                        "out=file:" + self.path(name + "-out"))
        self.assertEqual(0, got.code, got)
        return self.path(name)

    def test_what_it_holds(self):
        where = self.snapshot("held")
        shown = json.loads(self.expect(self.weir("state", where, "--json"), 0).out)
        self.assertEqual(("snapshot", "counted", True), (shown["kind"], shown["job"], shown["finished"]))
        keyed = [op for op in shown["operators"] if op["uid"] == "COUNT"][0]
        self.assertEqual(("keyed", "counter", 2), (keyed["kind"], keyed["state"], keyed["parallelism"]))
        rows = [json.loads(row) for row in self.expect(self.weir("state", where, "dump"), 0).out.splitlines()]
        self.assertEqual({"a": 3, "b": 1, "long-word-of-many-letters": 1},
                         {row["key"]["text"]: row["state"]["seen"] for row in rows})
        self.assertTrue(all(row["state"]["last"] == row["key"]["text"] for row in rows))
        got = self.expect(self.weir("state", where, "get", "COUNT", "long-word-of-many-letters"), 0)
        self.assertEqual(1, json.loads(got.out)["state"]["seen"])
        manifest = [name for name in os.listdir(where) if name.endswith(".wman")][0]
        self.assertEqual(3, len(self.weir("state", os.path.join(where, manifest), "dump", "COUNT").out.splitlines()))

    def test_negative_keys(self):
        """A number is no flag, and -- ends the flags."""
        self.build("negative", ODD_KEYS.replace("rows, text, n, b, at", "rows, n").replace("keys, p", "negative, p"))
        self.write("keys.csv", "a,-7,true,2026-01-02T03:04:05.500Z\n")
        self.expect(self.weir("run", "-q", "negative.so", "--snapshots", "below"), 0)
        for args in (("-7",), ("--", "-7"), ("-7", "--json")):
            self.assertEqual({"n": -7}, json.loads(self.expect(self.weir("state", "below", "get", "count", *args), 0).out)["key"])
        self.expect(self.weir("state", "--json", "--", "below", "get", "count", "-7"), 0)
        self.error(self.weir("state", "below", "get", "count", "--", "-8"), 1, 402, "NOT_FOUND", "no state of key '-8'")
        self.error(self.weir("state", "below", "get", "count", "-x"), 2, 101, "USAGE", "unknown flag of `weir state`: -x")

    def test_an_upgrade_that_refuses(self):
        """What it says stands in the error."""
        where = self.snapshot("refusing")
        fails = ("WEIR_STATE(old_counter, (int64_t, seen), (weir_text, last))\nWEIR_STATE(counter, (int64_t, seen), (weir_text, last), (int64_t, more))\n"
                 "WEIR_UPGRADE(v1, old_counter, old, counter, now, ctx) { now->seen = old->seen; weir_fail(ctx, \"too old for us\"); }")
        self.build("refusing", PIPELINE.replace("STATE\n", fails + "\n", 1).replace('.uid = "COUNT"', '.uid = "COUNT", .upgrade = { &v1 }'))
        got = self.weir("run", "-q", "-p", "2", "refusing.so", "--restore", where, "--set", "out=file:" + self.path("refusing-out"))
        self.error(got, 5, 505, "USER_FAIL", "too old for us; operator COUNT subtask .; the WEIR_UPGRADE of its state counter failed")

    def test_what_it_does_not_hold(self):
        where = self.snapshot("not")
        self.error(self.weir("state", where, "get", "COUNT", "c"), 1, 402, "NOT_FOUND", "no state of key 'c'")
        self.error(self.weir("state", where, "dump", "nobody"), 1, 402, "NOT_FOUND", "no operator 'nobody'")
        self.error(self.weir("state", where, "got"), 2, 101, "USAGE", "unknown: got")
        self.error(self.weir("state", self.path("nowhere")), 1, 402, "NOT_FOUND", "nowhere")

    def test_every_key_is_found(self):
        """By what it is, not by how JSON has to write it; where fields are empty, long, or no UTF-8."""
        self.build("keys", ODD_KEYS)
        texts = [b"a", b"x,y", b'quo"te', b"tab\there", "\u00fcn\u00ef".encode(), b"", b"back\\slash", b"L" * 5000, b"\x01",
                 b"bad\xff", b"bad\xfe", b"a,-1"]
        csv = lambda t: b'"' + t.replace(b'"', b'""') + b'"'
        at = b"2026-01-02T03:04:05.500Z"
        rows = [b",".join((csv(t), str(-1 - n).encode(), b"true" if n % 2 else b"false", at)) for n, t in enumerate(texts)]
        for name, some in (("odd", rows), ("other", [row.replace(b"bad\xff", b"bad\xfd") for row in rows])):
            self.write("keys.csv", b"\n".join(some) + b"\n")
            self.expect(self.weir("run", "-q", "-p", "2", "keys.so", "--snapshots", name), 0)
        for n, text in enumerate(texts):
            key = text + b"," + str(-1 - n).encode() + (b",true" if n % 2 else b",false") + b",2026-01-02T03:04:05.500Z"
            got = subprocess.run([WEIR, "state", "odd", "get", "count", key], cwd=self.folder, capture_output=True, check=False)
            self.assertEqual(0, got.returncode, (key, got))
            row = json.loads(got.stdout)
            self.assertEqual((-1 - n, bool(n % 2), 1), (row["key"]["n"], row["key"]["b"], row["state"]["seen"]), key)
            for wrong in (key + b",", key[:-1], b"," + key, key.replace(b"true", b"false") if n % 2 else key + b"x"):
                got = subprocess.run([WEIR, "state", "odd", "get", "count", wrong], cwd=self.folder, capture_output=True, check=False)
                self.assertEqual((1, b""), (got.returncode, got.stdout), wrong)
        self.assertEqual("1 keys gone, 1 new, 0 changed", self.weir("state", "odd", "diff", "other").out.splitlines()[-1])
        self.assertEqual("0 keys gone, 0 new, 0 changed\n", self.weir("state", "odd", "diff", "odd").out)

    def test_the_job_may_run_meanwhile(self):
        """It retires snapshots while they are looked at; what was asked for comes all the same."""
        self.build("busy", BUSY)
        run = self.start("run", "busy.so", "-q", "-p", "2", "--snapshots", "busy", "--snapshot-interval", "5ms", "--snapshots-keep", "1")
        try:
            self.wait_until(lambda: self.weir("state", "busy").code == 0, "a snapshot")
            for _ in range(60):
                got = self.expect(self.weir("state", "busy", "dump"), 0)
                self.assertGreater(len(got.out.splitlines()), 0)
            for _ in range(10):
                self.expect(self.weir("restore", "busy", "busy.so", "--check"), 0)
            self.assertIsNone(run.poll())
        finally:
            run.kill()
            run.communicate()
        gone = sorted(name for name in os.listdir(self.path("busy")) if name.endswith(".wst"))
        for name in gone:
            os.remove(os.path.join(self.path("busy"), name))
        self.error(self.weir("state", "busy", "dump"), 1, 402, "NOT_FOUND", "retired the snapshot meanwhile")

    def test_arguments_and_output(self):
        where = self.snapshot("used")
        for extra in (("ls", "x"), ("dump", "COUNT", "x"), ("diff", where, "x")):
            self.error(self.weir("state", where, *extra), 2, 101, "USAGE", "one argument too many: x")
        self.error(self.weir("state", where, "get", "lines", "a"), 1, 402, "NOT_FOUND", "'lines' keeps no state by key")
        self.write("in.txt", "".join(f"word-{n}\n" for n in range(5000)))
        self.expect(self.weir("run", "-q", "one.so", "--snapshots", "many", "--set", "out=blackhole:"), 0)
        for verb in (("state", "many", "dump"), ("state", where), ("restore", where, "one.so", "--check"), ("check", "one.so"), ("help",),
                     ("help", "run"), ("config",), ("plan", "one.so")):
            with open("/dev/full", "wb") as full:
                got = subprocess.run([WEIR, *verb], cwd=self.folder, stdout=full, stderr=subprocess.PIPE, check=False)
            self.assertEqual(got.returncode, 1, (verb, got))
            self.assertIn(b"error[E0401 IO]: cannot write to standard output", got.stderr, verb)

    def test_differences(self):
        one, two = self.snapshot("first"), self.snapshot("second", "a b a a\nc\n")
        got = self.expect(self.weir("state", one, "diff", two), 0).out.splitlines()
        self.assertEqual("1 keys gone, 1 new, 0 changed", got[-1])
        self.assertEqual(["+", "-"], sorted(line[0] for line in got[:-1]))
        self.assertEqual("0 keys gone, 0 new, 0 changed\n", self.weir("state", one, "diff", one).out)

    def test_what_a_pipeline_would_make_of_it(self):
        where = self.snapshot("checked")
        check = lambda name, *more: self.weir("restore", where, self.path(name + ".so"), "--check", "-p", "3", *more)
        self.assertIn("same       COUNT", self.expect(check("one"), 0).out)
        self.assertRegex(self.expect(check("wider"), 0).out, r"(?m)^  converted  COUNT .*; adds more$")
        self.expect(check("narrower"), 7, "E0603 STATE", "field seen of counter")
        got = check("renamed")
        self.expect(got, 7, "E0603 STATE", "--allow-non-restored-state")
        self.assertIn("missing    COUNT", got.out)
        self.assertIn("new        other", got.out)
        self.expect(check("renamed", "--allow-non-restored-state"), 0)
        ops = json.loads(check("wider", "--json").out)["operators"]
        self.assertEqual(["converted"], [op["what"] for op in ops if op["uid"] == "COUNT"])
        self.error(self.weir("restore", where, self.path("one.so")), 2, 101, "USAGE", "add --check")

    def test_windows_are_compared_beforehand(self):
        """As the job itself would when it starts: what they are cut by, and whether there are any."""
        windows = {"minute": "weir_tumbling(WEIR_MINUTE)", "hour": "weir_tumbling(WEIR_HOUR)",
                   "slides": "weir_sliding(WEIR_MINUTE, WEIR_SECOND)", "shifted": "weir_shifted(weir_tumbling(WEIR_MINUTE), WEIR_SECOND)",
                   "one": "weir_one_window()"}
        for name, window in windows.items():
            self.build(name + "-window", WINDOWED.replace("WINDOW", window))
        self.write("events.csv", "".join(f"2026-01-01T00:00:{n % 60:02}Z,{n % 5},{n}\n" for n in range(500)))
        where = {name: self.path("windows-" + name) for name in ("minute", "one")}
        for name in where:
            self.expect(self.weir("run", "-q", "-p", "2", f"{name}-window.so", "--snapshots", where[name]), 0)
        check = lambda taken, name: self.weir("restore", where[taken], f"{name}-window.so", "--check")
        self.assertIn("same       sums", self.expect(check("minute", "minute"), 0).out)
        self.assertIn("same       sums", self.expect(check("one", "one"), 0).out)
        for name in ("hour", "slides", "shifted"):
            got = self.expect(check("minute", name), 7, "E0603 STATE", "the window of operator sums is another one")
            self.assertIn("refused    sums", got.out)
        self.expect(check("minute", "one"), 7, "E0603 STATE", "no such window")
        self.expect(check("one", "minute"), 7, "E0603 STATE", "state without windows")

    def keeping(self, operator, window):
        """A snapshot with all windows open."""
        where = self.path(f"keeping-{operator}-{window}")
        os.environ.update(OPERATOR=operator, WINDOW=window, SLOW="1")
        shutil.rmtree(self.path("told"), ignore_errors=True)
        run = self.start("run", "keeps-base.so", "-q", "-p", "2", "--snapshots", where, "--snapshot-interval", "20ms")
        try:
            self.wait_until(lambda: len(self.weir("state", where, "dump", "sums").out.splitlines()) == 3, "three keys", 20)
        finally:
            run.kill()
            run.communicate()
        del os.environ["SLOW"]
        return where

    def compare(self, where, name, verdict, *says, right=True):
        """What is said beforehand is what the job does."""
        said = self.weir("restore", where, f"keeps-{name}.so", "--check")
        shutil.rmtree(self.path("told"), ignore_errors=True)
        done = self.weir("run", "-q", "-p", "2", f"keeps-{name}.so", "--restore", where)
        self.assertRegex(said.out, rf"(?m)^  {verdict} +sums ", said)
        for text in says:
            self.assertIn(text, said.out)
        if verdict == "refused":
            self.expect(said, 7, "E0603 STATE", "operator 'sums'")
            self.expect(done, 7, "E0603 STATE")
            self.assertEqual(said.err.splitlines()[-1], done.err.splitlines()[-1])
            self.assertNotIn("WEIR_UPGRADE", said.err)
            return
        self.expect(said, 0)
        self.expect(done, 0)
        if right:
            rows = []
            for part in sorted(os.listdir(self.path("told"))):
                rows += [line.split(",") for line in self.read(os.path.join("told", part)).splitlines()]
            times = 2 if os.environ["WINDOW"] == "sliding" else 1
            self.assertEqual([times * EVENTS, times * sum(range(EVENTS))], [sum(int(row[i]) for row in rows) for i in (0, 1)])

    def test_what_windows_keep_is_compared_beforehand(self):
        state = lambda fields: KEEPING.replace(KEEPS, f"WEIR_STATE(acc_t, {fields})")
        record = lambda field: KEEPING.replace("(uint32_t, n)", field)
        variants = {"base": KEEPING, "short": state("(int32_t, c), (int16_t, s)"), "double": state("(int32_t, c), (double, s)"),
                    "renamed": state("(int32_t, b), (int64_t, s)").replace("->c += 1", "->b += 1").replace("acc->c", "acc->b")
                    .replace("into->c += from->c", "into->b += from->b").replace("from->c -= gone->c", "from->b -= gone->b"),
                    "added": state("(int32_t, c), (int64_t, s), (double, more)"), "wider": state("(int64_t, c), (int64_t, s)"),
                    "row-short": record("(uint16_t, n)"), "row-wider": record("(uint64_t, n)"),
                    "row-renamed": record("(uint32_t, m)").replace("->n", "->m")}
        for name, text in variants.items():
            self.build("keeps-" + name, text)
        self.write("kept.csv", "".join(f"2026-01-01T00:{n // 60:02}:{n % 60:02}Z,{n % 3},{n}\n" for n in range(EVENTS)))
        self.addCleanup(lambda: [os.environ.pop(name, None) for name in ("OPERATOR", "WINDOW", "SLOW")])
        for window in ("tumbling", "sliding", "session"):
            with self.subTest(keeps="accumulators", window=window):
                where = self.keeping("fold", window)
                self.compare(where, "base", "same")
                self.compare(where, "short", "refused", "operator sums", "field s of acc_t was i64 (8 bytes)", "is i16 (2 bytes) now")
                self.compare(where, "double", "refused", "operator sums", "field s of acc_t was i64 (8 bytes)", "is f64 (8 bytes) now")
                self.compare(where, "renamed", "converted", "adds b, drops c", right=False)
                self.compare(where, "added", "converted", "adds more")
                self.compare(where, "wider", "converted", "changes c")
            with self.subTest(keeps="records", window=window):
                where = self.keeping("full", window)
                self.compare(where, "base", "same")
                self.compare(where, "row-short", "refused", "operator sums", "field n of event was u32 (4 bytes)", "is u16 (2 bytes) now")
                self.compare(where, "row-wider", "converted", "changes n")
                self.compare(where, "row-renamed", "converted", "adds m, drops n", right=False)
        where = self.keeping("roll", "sliding")
        self.compare(where, "base", "same")
        self.compare(where, "short", "refused", "accumulator acc_t of operator sums", "changes s", "another uid")
        self.compare(where, "added", "refused", "accumulator acc_t of operator sums", "adds more")
        os.environ["OPERATOR"] = "fold"
        self.compare(where, "base", "refused", "had a RETRACT")

    def test_state_stays_with_its_key(self):
        """Another field of the same type is another key; an operator that had no state keeps nobody from its uid."""
        operators = {"user": 'weir_apply(tally, weir_key_by(events, user), .uid = "it")',
                     "shop": 'weir_apply(tally, weir_key_by(events, shop), .uid = "it")',
                     "both": 'weir_apply(tally, weir_key_by(events, user, shop), .uid = "it")',
                     "turned": 'weir_apply(tally, weir_key_by(events, shop, user), .uid = "it")',
                     "user-window": 'weir_apply(latest, weir_window(weir_key_by(events, user), weir_count(1000, 1000)), .uid = "it")',
                     "shop-window": 'weir_apply(latest, weir_window(weir_key_by(events, shop), weir_count(1000, 1000)), .uid = "it")',
                     "none": 'weir_apply(all, events, .uid = "it")'}
        self.write("visits.csv", "".join(f"{n % 7},{n % 3}\n" for n in range(100)))
        for name, operator in operators.items():
            self.build(name, KEYED.replace("OPERATOR", operator))
        for was, now, field in (("user", "shop", "user"), ("both", "turned", "user"), ("user-window", "shop-window", "user")):
            with self.subTest(was=was, now=now):
                where = self.path(f"keyed-{was}-{now}")
                self.expect(self.weir("run", "-q", f"{was}.so", "--snapshots", where), 0)
                got = self.expect(self.weir("restore", where, f"{now}.so", "--check"), 7, "E0603 STATE", f"was {field} in the snapshot and is shop now")
                self.assertIn("refused    it", got.out)
                self.expect(self.weir("run", "-q", f"{now}.so", "--restore", where), 7, "E0603 STATE", f"was {field} in")
                self.expect(self.weir("restore", where, f"{was}.so", "--check"), 0)
        where = self.path("keyed-none")
        self.expect(self.weir("run", "-q", "none.so", "--snapshots", where), 0)
        self.expect(self.weir("restore", where, "user.so", "--check"), 0)
        self.expect(self.weir("run", "-q", "user.so", "--restore", where), 0)

    def test_damage_is_named(self):
        where = self.snapshot("damaged")
        name = sorted(name for name in os.listdir(where) if name.endswith(".wst"))[0]
        with open(os.path.join(where, name), "r+b") as file:
            file.seek(5000)
            byte = file.read(1)
            file.seek(5000)
            file.write(bytes([byte[0] ^ 1]))
        for verb in (("restore", where, self.path("one.so"), "--check"), ("state", where, "dump")):
            got = self.weir(*verb)
            self.assertEqual(1, got.code, got)
            self.assertIn("E0601 DAMAGED", got.err)
            self.assertIn(name, got.err)
            self.assertIn("offset", got.err)
        shutil.rmtree(where)


if __name__ == "__main__":
    main()
