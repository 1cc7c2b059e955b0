"""Jobs that take snapshots: killed, stopped, resumed, asked, restored; and what is refused."""
import json
import os
import re
import shutil
import signal
import time

from kit import SANITIZED, Case, Result, main

CHAIN = """#include <weir/pipeline.h>
WEIR_RECORD(event, (uint64_t, n), (uint64_t, key))
WEIR_RECORD(link, (uint64_t, n), (uint64_t, key), (uint64_t, seq))
WEIR_STATE(chain, (uint64_t, seq))
WEIR_KEYED(follow, event, in, chain, state, link, out)
{
    link_emit(out, (link){ .n = in->n, .key = in->key, .seq = ++state->seq });
}
WEIR_PIPELINE(NAME, p)
{
    OPTIONS
    event_stream events = weir_source(event, p, "generator:?count=1000&keys=10", .name = "events");
    weir_sink(weir_apply(follow, weir_key_by(events, key), .uid = "UID"), "file:links", .name = "links");
}
"""


# A sink whose commits are refused until the file `let` is there; then it says how many records it has committed.
STUBBORN = """#include <stdio.h>
#include <unistd.h>
#include <weir/pipeline.h>
WEIR_RECORD(event, (uint64_t, n))
WEIR_RECORD(page, (uint64_t, rows))
typedef struct book { uint64_t rows; } book;
static bool book_open(book *b, weir_ctx *ctx) { return b && ctx; }
static void book_close(book *b, weir_ctx *ctx) { (void)b, (void)ctx; }
static bool book_prepare(book *b, page_out *out, weir_ctx *ctx)
{
    (void)ctx;
    if (b->rows > 0) page_emit(out, (page){ b->rows });
    b->rows = 0;
    return true;
}
static weir_commit book_commit(book *b, const page *c, uint32_t n, uint64_t snapshot, weir_ctx *ctx)
{
    (void)b, (void)snapshot, (void)ctx;
    FILE *file = fopen("asked", "a");
    fclose(file);
    if (access("let", F_OK) != 0) return WEIR_RETRY;
    file = fopen("committed", "a");
    for (uint32_t i = 0; i < n; i++) fprintf(file, "%llu\\n", (unsigned long long)c[i].rows);
    fclose(file);
    return WEIR_COMMITTED;
}
static bool book_recover(book *b, const weir_sink_id *id, const page *known, uint32_t n, weir_ctx *ctx)
{
    (void)b, (void)id, (void)known, (void)n, (void)ctx;
    return true;
}
WEIR_TWO_PHASE_SINK(ledger, event, in, book, b, page, ctx, book_open, book_close, book_prepare, book_commit, book_recover)
{
    (void)in, (void)ctx;
    b->rows++;
}
WEIR_PIPELINE(stubborn, p)
{
    event_stream events = weir_source(event, p, "generator:?count=1000000&rate=5000", .name = "events", .parallelism = 1);
    weir_write(ledger, events, .parallelism = 1);
}
"""


def chain(name="chain", uid="follow", options=""):
    return CHAIN.replace("NAME", name).replace("UID", uid).replace("OPTIONS", options)


class Snapshots(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        os.mkdir(cls.path("runtime"), 0o700)
        os.environ["XDG_RUNTIME_DIR"] = cls.path("runtime")
        cls.build("chain", chain())
        cls.build("other", chain("other"))
        cls.build("renamed", chain(uid="renamed"))
        cls.build("filed", chain().replace('"generator:?count=1000&keys=10"', '"file:nowhere.csv", .format = WEIR_CSV'))

    def setUp(self):
        self.number = getattr(Snapshots, "count", 0)
        Snapshots.count = self.number + 1
        self.snapshots = f"snapshots-{self.number}"
        self.links = f"links-{self.number}"
        self.running = []

    def tearDown(self):
        for run in self.running:
            if run.poll() is None:
                run.kill()
            run.communicate()

    def args(self, *more, count=100000, rate=0, keys=500, pipeline="chain.so", interval="50ms", source=None, links=""):
        source = source or f"events=generator:?count={count}&keys={keys}&splits=2" + (f"&rate={rate}" if rate else "")
        return ["run", pipeline, "-p", "2", "--set", source, "--set", f"links=file:{self.links}{links}", "--snapshots", self.snapshots,
                "--snapshot-interval", interval, *more]

    def begin(self, *args):
        run = self.start(*args)
        self.running.append(run)
        return run

    def manifests(self):
        try:
            return sorted(name for name in os.listdir(self.path(self.snapshots)) if re.fullmatch(r"m-.*\.wman", name))
        except FileNotFoundError:
            return []

    def until_snapshots(self, run, n=1):
        before = set(self.manifests())
        self.wait_until(lambda: len(set(self.manifests()) - before) >= n or run.poll() is not None, "a snapshot")
        self.assertIsNone(run.poll(), "the job ended by itself")

    def end(self, run, code):
        out, err = run.communicate(timeout=120)
        got = Result(run.returncode, out.decode(), err.decode())
        self.assertEqual(got.code, code, got)
        return got

    def result(self):
        """Record numbers, and per key the numbers in its chain, as they stand in the finished files."""
        numbers, chains = [], {}
        for name in os.listdir(self.path(self.links)):
            self.assertFalse(name.startswith("."), "a file that was never finished")
            for row in self.read(os.path.join(self.links, name)).split():
                n, key, seq = map(int, row.split(","))
                numbers.append(n)
                chains.setdefault(key, []).append(seq)
        return numbers, chains

    def exact(self, count=100000):
        numbers, chains = self.result()
        self.assertEqual(len(numbers), count)
        self.assertEqual(len(set(numbers)), count)
        for key, seqs in chains.items():
            self.assertEqual(sorted(seqs), list(range(1, len(seqs) + 1)), f"key {key}")

    def test_to_the_end_and_again(self):
        got = self.expect(self.weir(*self.args("--json")), 0)
        summary = json.loads(got.err.splitlines()[-1])
        self.assertGreaterEqual(summary["snapshots"]["completed"], 1)
        self.assertTrue(summary["snapshots"]["history"][0]["last"])
        self.assertEqual(summary["snapshots"]["failed"], 0)
        self.exact()
        self.expect(self.weir(*self.args()), 0, r"^weir: chain has finished, and snapshots-\d+ has its last snapshot, \d+; --fresh starts it anew$")
        again = json.loads(self.weir(*self.args("--json")).err)
        self.assertEqual((again["state"], again["before"]), ("FINISHED", True))
        self.exact()
        self.links += "-fresh"
        self.expect(self.weir(*self.args("--fresh")), 0, r"chain finished after")
        self.exact()

    def test_killed_and_again(self):
        for _ in range(3):
            run = self.begin(*self.args(rate=50000))
            self.until_snapshots(run)
            run.kill()
            self.end(run, -signal.SIGKILL)
        got = self.expect(self.weir(*self.args()), 0, r"weir: chain goes on from snapshot \d+ in ")
        self.assertRegex(got.err, r"snaps +\d+ completed, 0 failed, newest \d+")
        self.exact()

    def test_a_signal_takes_a_last_snapshot(self):
        run = self.begin(*self.args(rate=20000, interval="1h"))
        self.wait_until(lambda: os.path.exists(self.path(self.links)), "the job runs")
        run.send_signal(signal.SIGINT)
        self.end(run, 0)
        self.assertEqual(len(self.manifests()), 1)
        first, _ = self.result()
        self.expect(self.weir(*self.args()), 0, r"goes on from snapshot")
        self.assertGreater(100000, len(first))
        self.exact()

    def test_one_folder_one_job(self):
        run = self.begin(*self.args(rate=1000))
        self.until_snapshots(run)
        got = self.weir(*self.args())
        self.expect(got, 1, r"error\[E0604 BUSY\]: ")
        self.expect(self.weir(*self.args(pipeline="other.so")), 1, r"error\[E0604 BUSY\]: ")
        run.kill()
        self.end(run, -signal.SIGKILL)
        got = self.weir(*self.args(pipeline="other.so"))
        self.assertNotEqual(got.code, 0, got)
        self.assertRegex(got.err, r"chain")

    def test_verbs(self):
        run = self.begin(*self.args(rate=5000, interval="1h"))
        self.wait_until(lambda: self.weir("list").out.count("RUNNING") == 1, "the job is listed")
        jobs = json.loads(self.weir("list", "--json").out)
        self.assertEqual([(j["job"], j["pid"], j["completed"]) for j in jobs], [("chain", run.pid, 0)])
        self.expect(self.weir("snapshot", "chain"), 0, out="snapshot 1 of chain completed\n")
        got = json.loads(self.weir("snapshot", str(run.pid), "--json").out)
        self.assertEqual(got, {"job": "chain", "id": 2, "savepoint": None})
        history = json.loads(self.weir("snapshots", "chain", "--json").out)
        self.assertEqual((history["completed"], history["failed"], history["newest"]), (2, 0, 2))
        self.assertEqual([r["id"] for r in history["history"]], [2, 1])
        newest = history["history"][0]
        self.assertEqual(newest["outcome"], "completed")
        keyed = [s for s in newest["subtasks"] if s["task"].startswith("follow")]
        self.assertEqual(len(keyed), 2)
        self.assertTrue(all(s["bytes"] > 0 and s["bytes_full"] > 0 and s["acknowledged"] for s in keyed))
        text = self.weir("snapshots", "chain").out
        self.assertRegex(text, r"^2 completed, 0 failed, in ")
        self.assertRegex(text, r"(?m)^ +2 snapshot +completed ")
        self.assertRegex(text, r"(?m)^ +(full|delta) follow -> links 1 ")
        self.expect(self.weir("stop", "chain", "--timeout", "60s"), 0, out="snapshot 3 is the last of chain, which has ended\n")
        self.assertEqual(run.wait(timeout=10), 0)
        self.expect(self.weir("list"), 0, out="")
        self.assertEqual(json.loads(self.weir("list", "--json").out), [])
        self.error(self.weir("stop", "chain"), 4, 406, "NO_JOB", "weir list")
        self.expect(self.weir(*self.args()), 0, r"goes on from snapshot 3 ")
        self.exact()

    def test_savepoints(self):
        run = self.begin(*self.args(rate=5000, interval="1h"))
        self.wait_until(lambda: "RUNNING" in self.weir("list").out, "the job is listed")
        self.expect(self.weir("snapshot", "chain"), 0)
        one, two = f"{self.snapshots}-one", f"{self.snapshots}-two"
        self.expect(self.weir("savepoint", "chain", one), 0, out=f"savepoint 2 of chain completed\nit is in {self.path(one)}\n")
        got = json.loads(self.weir("snapshots", "chain", "--json").out)
        self.assertEqual((got["newest"], [r["kind"] for r in got["history"]]), (1, ["savepoint", "snapshot"]))
        again = self.weir("savepoint", "chain", one)
        self.assertNotEqual(again.code, 0, "a folder that is not empty")
        self.assertIsNone(run.poll(), "a savepoint that fails harms nobody")
        got = json.loads(self.weir("stop", "chain", "--savepoint", two, "--json").out)
        self.assertEqual(got["savepoint"], self.path(two))
        self.end(run, 0)
        first, _ = self.result()
        names = sorted(os.listdir(self.path(two)))
        for more in ((), ("--fresh",), ("--restore", one)):  # not a folder to take snapshots into
            args = self.args(*more)
            args[args.index(self.snapshots)] = two
            self.error(self.weir(*args), 2, 102, "CONFIG", rf"{two} is a savepoint.*--restore {two}, and name another folder in --snapshots")
        self.assertEqual(sorted(os.listdir(self.path(two))), names)
        self.snapshots, self.links = self.snapshots + "-new", self.links + "-new"
        args = self.args("--restore", two)
        args[args.index("-p") + 1] = "3"
        self.expect(self.weir(*args), 0, r"goes on from snapshot")
        second, _ = self.result()
        self.assertEqual(sorted(first + second), list(range(100000)))

    def test_what_was_prepared_comes_without_snapshots_too(self):
        """Whoever goes on from a savepoint, or a snapshot, and takes none: what sinks had prepared is not lost."""
        self.build("loose", chain().replace('"file:links"', '"file:links", .guarantee = WEIR_AT_LEAST_ONCE'))
        run = self.begin(*self.args(rate=20000, interval="1h"))
        self.wait_until(lambda: "RUNNING" in self.weir("list").out, "the job is listed")
        self.wait_until(lambda: os.path.isdir(self.path(self.links)) and os.listdir(self.path(self.links)), "records")
        saved = f"{self.snapshots}-saved"
        self.expect(self.weir("savepoint", "chain", saved), 0)
        self.assertTrue([name for name in os.listdir(self.path(saved)) if name.startswith("prepared-")])
        run.kill()
        run.wait()
        for p in ("1", "3"):
            args = ["run", "chain.so", "-p", p, "--restore", saved, "--set", "events=generator:?count=100000&keys=500&splits=2",
                    "--set", f"links=file:{self.links}-{p}"]
            self.expect(self.weir(*args), 0, r"goes on from snapshot")
            links, self.links = self.links, f"{self.links}-{p}"
            self.exact()
            self.links = links
        args[args.index("chain.so")] = "loose.so"
        self.error(self.weir(*args, "-q"), 7, 603, "STATE", "prepared exactly once", "'?links'?")

    def test_no_stop_for_a_savepoint_without_a_place(self):
        """Where it cannot be written is seen before the job ends, and no snapshot fails for it."""
        run = self.begin(*self.args(rate=5000, interval="1h"))
        self.wait_until(lambda: "RUNNING" in self.weir("list").out, "the job is listed")
        self.write("a-file", "x")
        for place, number, name in (("a-file", 402, "NOT_FOUND"), ("not/there", 402, "NOT_FOUND"), (self.snapshots, 102, "CONFIG")):
            for verb in (("stop", "chain", "--savepoint", place), ("stop", "chain", "--drain", "--savepoint", place), ("savepoint", "chain", place)):
                got = self.weir(*verb)
                self.expect(got, 2 if number == 102 else 1, rf"error\[E0{number} {name}\]: .*{place}")
        self.expect(self.weir("savepoint", "chain", ""), 2)
        for verb in (("stop", "chain", "--savepoint"), ("savepoint", "chain")):  # it is there, and takes no folders
            got = self.weir(*verb, "/proc/saved")
            self.assertRegex(got.err, r"error\[E040[1-3] .*cannot make the folder /proc/saved")
        self.assertIsNone(run.poll(), "the job goes on")
        self.assertEqual(json.loads(self.weir("snapshots", "chain", "--json").out)["failed"], 0)
        self.expect(self.weir("stop", "chain", "--savepoint", f"{self.snapshots}-good"), 0)
        self.end(run, 0)

    def test_a_stop_whose_savepoint_fails_late(self):
        """The place was good when it was ordered: the error says that the job has ended, and with which snapshot."""
        run = self.begin(*self.args(rate=5000, interval="1h"))
        self.wait_until(lambda: "RUNNING" in self.weir("list").out, "the job is listed")
        folder, place = self.path(self.snapshots), self.path(f"{self.snapshots}-place")
        os.mkdir(place)
        os.rename(folder, folder + "-away")
        stop = self.begin("stop", "chain", "--savepoint", os.path.join(place, "saved"))
        self.wait_until(lambda: "STOPPING" in self.weir("list").out, "it stops")
        self.assertEqual(os.listdir(place), [], "what was tried there is gone")
        self.error(self.weir("stop", "chain"), 2, 102, "CONFIG", "the job is stopping already")
        os.rmdir(place)
        os.rename(folder + "-away", folder)
        got = self.end(stop, 1)
        self.assertEqual(self.weir("list").out, "", "it has ended, as is said")
        self.end(run, 0)
        self.assertRegex(got.err, r"error\[E0402 NOT_FOUND\]: cannot make the folder .*saved.*; there is no savepoint, but the job has ended, "
                                  r"and its last snapshot, \d+, has everything; --restore \S+\.wman takes that as well")
        first, _ = self.result()
        manifest = re.search(r"--restore (\S+\.wman)", got.err).group(1)
        self.snapshots, self.links = self.snapshots + "-new", self.links + "-new"
        self.expect(self.weir(*self.args("--restore", manifest)), 0, r"goes on from snapshot")
        second, _ = self.result()
        self.assertEqual(sorted(first + second), list(range(100000)))

    def test_savepoints_keep_what_sinks_prepared(self):
        """A savepoint commits nothing; a restart from an older snapshot removes what that one does not know; and yet the
        savepoint has everything: in the same folder, in another one, and where the old one cannot be reached."""
        args = self.args(rate=5000, interval="1h")
        run = self.begin(*args)
        self.wait_until(lambda: "RUNNING" in self.weir("list").out, "the job is listed")
        self.expect(self.weir("snapshot", "chain"), 0)
        hidden = lambda tail: [name for name in os.listdir(self.path(self.links)) if name.startswith(".") and name.endswith(tail)]
        finished = lambda: [int(row.split(",")[0]) for name in os.listdir(self.path(self.links)) if not name.startswith(".")
                            for row in self.read(os.path.join(self.links, name)).split()]
        self.wait_until(lambda: finished() and hidden(".open"), "results of the snapshot, and records behind it")
        saved = f"{self.snapshots}-saved"
        self.expect(self.weir("savepoint", "chain", saved), 0)
        kept = [name for name in os.listdir(self.path(saved)) if name.startswith("prepared-")]
        self.assertTrue(kept, "the savepoint has files of the sink")
        run.kill()
        run.wait()
        self.assertTrue(hidden(".pending"))
        before = finished()
        run = self.begin(*args)
        self.wait_until(lambda: not hidden(".pending"), "a restart removes what its snapshot does not know")
        run.kill()
        run.wait()
        # Elsewhere: what was visible before, and what the savepoint knows.
        moved = saved + "-moved"
        shutil.copytree(self.path(saved), self.path(moved))
        old_snapshots, old_links = self.snapshots, self.links
        self.snapshots, self.links = self.snapshots + "-else", self.links + "-else"
        self.expect(self.weir(*self.args("--restore", moved)), 0, r"goes on from (snapshot|savepoint)")
        after, _ = self.result()
        self.assertEqual(sorted(before + after), list(range(100000)))
        # A damaged one is named before anything runs.
        name = os.path.join(self.path(moved), kept[0])
        with open(name, "r+b") as file:
            file.seek(1)
            byte = file.read(1)
            file.seek(1)
            file.write(bytes([byte[0] ^ 1]))
        self.snapshots, self.links = self.snapshots + "-bad", self.links + "-bad"
        self.error(self.weir(*self.args("--restore", moved)), 1, 601, "DAMAGED", kept[0])
        self.error(self.weir("restore", moved, "chain.so", "--check"), 1, 601, "DAMAGED", kept[0])
        # In the same folder, and twice: each record once.
        self.snapshots, self.links = old_snapshots, old_links
        run = self.begin(*args, "--fresh", "--restore", saved)
        self.wait_until(lambda: len(finished()) > len(before), "the savepoint's files")
        run.kill()
        run.wait()
        self.expect(self.weir(*self.args("--fresh", "--restore", saved)), 0, r"goes on from (snapshot|savepoint)")
        self.assertEqual(sorted(finished()), list(range(100000)))

    def stubborn(self, *more):
        if not os.path.exists(self.path("stubborn.so")):
            self.build("stubborn", STUBBORN)
        for name in ("asked", "let", "committed"):
            if os.path.exists(self.path(name)):
                os.remove(self.path(name))
        run = self.begin("run", "stubborn.so", "--snapshots", self.snapshots, "--snapshot-interval", "50ms", *more)
        self.wait_until(lambda: os.path.exists(self.path("asked")), "a commit")
        return run

    def test_a_stop_waits_for_its_commit(self):
        run = self.stubborn()
        run.send_signal(signal.SIGINT)

        def last():
            got = self.weir("snapshots", "stubborn", "--json")
            return run.poll() is not None or (got.code == 0 and json.loads(got.out)["history"][0]["last"])
        self.wait_until(last, "the last snapshot")
        self.assertIsNone(run.poll(), "it is not stopped without the commit")
        self.write("let", "")
        got = self.end(run, 0)
        committed = sum(map(int, self.read("committed").split()))
        records = int(re.search(r"sink +ledger +([0-9,]+) records", got.err).group(1).replace(",", ""))
        self.assertEqual(committed, records)

    def test_a_commit_that_is_tried_again_holds_up_no_cancel(self):
        run = self.stubborn()
        run.send_signal(signal.SIGINT)
        self.wait_until(lambda: "STOPPING" in self.weir("list").out or run.poll() is not None, "it stops")
        begun = time.monotonic()
        run.send_signal(signal.SIGINT)
        self.end(run, 130)
        self.assertLess(time.monotonic() - begun, 30, "20 tries take a minute")
        self.assertFalse(os.path.exists(self.path("committed")))

    def begin_again(self):
        """What the last snapshot holds is committed before anything else, and refused for now."""
        run = self.stubborn()
        run.kill()
        run.wait()
        os.remove(self.path("asked"))
        run = self.begin("run", "stubborn.so", "--snapshots", self.snapshots, "--snapshot-interval", "50ms")
        self.wait_until(lambda: os.path.exists(self.path("asked")), "a commit at the start")
        return run

    def test_a_commit_at_the_start_holds_up_no_cancel(self):
        run = self.begin_again()
        begun = time.monotonic()
        run.send_signal(signal.SIGTERM)
        self.wait_until(lambda: "STOPPING" in self.weir("list").out or run.poll() is not None, "it stops")
        run.send_signal(signal.SIGTERM)
        got = self.end(run, 130)
        self.assertLess(time.monotonic() - begun, 8, f"20 tries take a minute {got}")
        self.assertNotIn("did not return", got.err)

    def test_a_commit_at_the_start_comes_first(self):
        run = self.begin_again()
        self.write("let", "")
        self.wait_until(lambda: len(self.read("committed").split()) > 1 if os.path.exists(self.path("committed")) else False, "further commits")
        run.send_signal(signal.SIGINT)
        self.end(run, 0)

    def test_exactly_once_needs_a_source_that_reads_again(self):
        text = chain("strict").replace('"file:links"', '"file:links", .guarantee = WEIR_EXACTLY_ONCE')
        self.build("strict", text.replace('"generator:?count=1000&keys=10"', '"stdin:", .format = WEIR_CSV'))
        args = ["run", "strict.so", "-q", "--set", f"links=file:{self.links}"]
        self.error(self.weir(*args, "--snapshots", self.snapshots, stdin=b"1,2\n"), 2, 303, "OPTION", "'links'.*'events' \\(stdin:\\)")
        self.assertFalse(os.path.exists(self.path(self.links)), "nothing was begun")
        self.expect(self.weir(*args, stdin=b"1,2\n"), 0)  # all at the end, or nothing

    def test_what_never_ran_has_no_folder(self):
        """A pipeline that is refused, or a start that comes to nothing, leaves the folder to whoever comes next."""
        self.build("typo", chain("typo").replace("?count", "?coun"))
        args = ["--snapshots", self.snapshots, "--set", f"links=file:{self.links}"]
        self.error(self.weir("run", "typo.so", *args), 2, 303, "OPTION", "did you mean 'count'")
        self.error(self.weir("run", "other.so", *args, "--pin", "x"), 2, 101, "USAGE")
        self.expect(self.weir("run", "chain.so", *args), 0, "chain finished")
        self.error(self.weir("run", "typo.so", *args), 2, 102, "CONFIG", "'?chain'?")
        self.expect(self.weir("run", "chain.so", *args), 0, "chain has finished")

    def test_drain_finishes(self):
        run = self.begin(*self.args(rate=5000))
        self.until_snapshots(run)
        self.expect(self.weir("stop", "chain", "--drain", "--json"), 0)
        self.end(run, 0)
        self.expect(self.weir(*self.args()), 0, r"chain has finished")

    def test_without_snapshots(self):
        run = self.begin("run", "chain.so", "--set", "events=generator:?count=1000000&rate=1000", "--set", "links=blackhole:")
        self.wait_until(lambda: "RUNNING" in self.weir("list").out, "the job is listed")
        self.assertRegex(self.weir("list").out, r"no snapshots")
        self.error(self.weir("snapshot", "chain"), 2, 102, "CONFIG", r"--snapshots DIR")
        self.error(self.weir("snapshots", "chain"), 2, 102, "CONFIG", r"--snapshots DIR")
        self.expect(self.weir("stop", "chain"), 0, out="chain has ended\n")
        self.end(run, 0)

    def test_sockets_of_the_dead(self):
        run = self.begin(*self.args(rate=1000))
        self.wait_until(lambda: "RUNNING" in self.weir("list").out, "the job is listed")
        run.kill()
        self.end(run, -signal.SIGKILL)
        folder = os.path.join(self.path("runtime"), "weir")
        self.assertEqual(len(os.listdir(folder)), 1)
        self.expect(self.weir("list"), 0, r"no job of this user runs here", out="")
        self.assertEqual(os.listdir(folder), [])
        self.assertEqual(os.stat(folder).st_mode & 0o777, 0o700)

    def test_two_of_a_name(self):
        runs = []
        for _ in range(2):
            runs.append(self.begin("run", "chain.so", "--set", "events=generator:?rate=1000", "--set", "links=blackhole:"))
        self.wait_until(lambda: self.weir("list").out.count("RUNNING") == 2, "both are listed")
        self.error(self.weir("stop", "chain"), 2, 101, "USAGE", "2 jobs are called chain")
        for run in runs:
            self.expect(self.weir("stop", str(run.pid)), 0)
            self.end(run, 0)

    def test_folder_that_others_can_enter(self):
        bad = self.path("open")
        os.makedirs(os.path.join(bad, "weir"))
        os.chmod(os.path.join(bad, "weir"), 0o755)
        env = {"XDG_RUNTIME_DIR": bad}
        self.error(self.weir("list", env=env), 8, 403, "PERMISSION", "nobody else can enter")
        got = self.weir(*self.args(count=1000), env=env)
        self.expect(got, 0, r"nobody can talk to this job: ")

    def test_the_folder_is_named(self):
        """Whoever chooses one is told which; and that of a login is looked into without its variable, and the reverse."""
        folder = os.path.join(self.path("runtime"), "weir")
        self.error(self.weir("stop", "nobody"), 4, 406, "NO_JOB", rf"no job nobody runs here; in {folder}; `weir list`")
        self.expect(self.weir("list"), 0, rf"no job of this user runs here, in {folder}\n")
        login = f"/run/user/{os.getuid()}"
        missing = [path for path in ("/run/user", login, login + "/weir") if not os.path.isdir(path)]
        try:
            for path in missing:
                os.mkdir(path, 0o700 if path != "/run/user" else 0o755)
        except OSError:
            missing = [path for path in missing if os.path.isdir(path)]
        self.addCleanup(lambda: [os.rmdir(path) for path in reversed(missing) if not os.listdir(path)])
        if not os.path.isdir(login + "/weir"):
            self.skipTest("no place for a login's folder")
        self.build("wanted", chain("wanted"))
        kept = os.environ.pop("XDG_RUNTIME_DIR")
        try:
            for start, ask in (({}, {"XDG_RUNTIME_DIR": login}), ({"XDG_RUNTIME_DIR": login}, {})):
                os.environ.update(start)
                run = self.begin("run", "wanted.so", "-q", "--set", "events=generator:?rate=1000", "--set", "links=blackhole:")
                for name in start:
                    del os.environ[name]
                me = str(run.pid)
                self.wait_until(lambda me=me, ask=ask: me in self.weir("list", env=ask).out, "it is listed")
                self.error(self.weir("stop", "nobody-else", env=ask), 4, 406, "NO_JOB", "/run/user/.* and /tmp/weir-|/tmp/weir-.* and /run/user/")
                self.error(self.weir("stop", me, env={"XDG_RUNTIME_DIR": kept}), 4, 406, "NO_JOB", folder)
                self.expect(self.weir("stop", me, env=ask), 0)
                self.end(run, 0)
        finally:
            os.environ["XDG_RUNTIME_DIR"] = kept

    def test_patience(self):
        run = self.begin(*self.args(rate=1000, interval="1h"))
        self.wait_until(lambda: "RUNNING" in self.weir("list").out, "the job is listed")
        run.send_signal(signal.SIGSTOP)
        try:
            self.error(self.weir("snapshot", "chain", "--timeout", "200ms"), 6, 404, "TIMEOUT", "do not answer")
            self.expect(self.weir("list", "--timeout", "200ms"), 0, rf"process {run.pid} has a job, but does not answer")
        finally:
            run.send_signal(signal.SIGCONT)
        self.expect(self.weir("snapshot", "chain"), 0)

    def test_damage_is_named(self):
        run = self.begin(*self.args(rate=20000))
        self.until_snapshots(run, 2)
        run.kill()
        self.end(run, -signal.SIGKILL)
        newest = self.manifests()[-1]
        path = self.path(os.path.join(self.snapshots, newest))
        with open(path, "rb") as file:
            whole = file.read()
        broken = bytearray(whole)
        broken[len(broken) // 2] ^= 1
        self.write(os.path.join(self.snapshots, newest), bytes(broken))
        self.expect(self.weir(*self.args()), 1, r"error\[E0601 DAMAGED\]: .*" + re.escape(newest) + r".*offset")
        self.write(os.path.join(self.snapshots, newest), whole)
        state = re.findall(rb"s-[0-9a-f]{8}-[0-9a-f]{16}-[-\w]+\.wst", whole)[0].decode()
        with open(self.path(os.path.join(self.snapshots, state)), "r+b") as file:
            file.seek(300)
            byte = file.read(1)
            file.seek(300)
            file.write(bytes([byte[0] ^ 0x40]))
        self.expect(self.weir(*self.args()), 1, r"error\[E0601 DAMAGED\]: .*" + re.escape(state) + r".*offset")
        self.assertFalse([n for n in os.listdir(self.path(self.links)) if "goes on" in n])

    def damaged(self, name):
        with open(self.path(name), "r+b") as file:
            file.seek(40)
            byte = file.read(1)
            file.seek(40)
            file.write(bytes([byte[0] ^ 1]))

    def test_a_fresh_start_that_comes_to_nothing(self):
        """It changes nothing: the same command without --fresh goes on where the job was."""
        run = self.begin(*self.args(rate=50000))
        self.until_snapshots(run, 2)
        self.expect(self.weir("stop", "chain"), 0)
        self.end(run, 0)
        bad = f"{self.snapshots}-bad"
        shutil.copytree(self.path(self.snapshots), self.path(bad))
        self.damaged(os.path.join(bad, self.manifests()[-1]))
        journal = self.read(os.path.join(self.snapshots, "journal"))
        self.error(self.weir(*self.args("--fresh", "--restore", "nowhere")), 1, 402, "NOT_FOUND", "nowhere")
        self.error(self.weir(*self.args("--fresh", "--restore", bad)), 1, 601, "DAMAGED", "offset")
        self.error(self.weir(*self.args("--fresh", "--restore", self.snapshots, pipeline="renamed.so")), 7, 603, "STATE", "follow")
        self.error(self.weir(*self.args("--fresh", "--pin", "x")), 2, 101, "USAGE")
        got = self.weir(*self.args("--fresh", "--set", "nothing=print:"))
        self.assertEqual(got.code, 2, got)
        self.assertEqual(self.read(os.path.join(self.snapshots, "journal")), journal)
        self.expect(self.weir(*self.args()), 0, r"goes on from snapshot")
        self.exact()

    def killed(self, **more):
        run = self.begin(*self.args(rate=50000, **more))
        self.until_snapshots(run, 2)
        run.kill()
        self.end(run, -signal.SIGKILL)

    def fresh_refused(self):
        """By the sink, by the source, by the folder of a sink: what the tasks look at only when they open."""
        self.error(self.weir(*self.args("--fresh")), 2, 102, "CONFIG", "has results of an earlier run")
        for links in ("-anew", "?overwrite=true"):
            got = self.weir(*self.args("--fresh", pipeline="filed.so", source="events=file:nowhere.csv", links=links))
            self.error(got, 1, 402, "NOT_FOUND", "nowhere.csv")
        self.error(self.weir(*self.args("--fresh", links="-none/deep")), 1, 402, "NOT_FOUND", "cannot make the folder")

    def test_a_fresh_start_that_a_task_refuses(self):
        """Likewise: journal, snapshots and results stay, also those that overwrite=true would have replaced."""
        self.killed()
        before = self.manifests(), self.read(os.path.join(self.snapshots, "journal")), sorted(os.listdir(self.path(self.links)))
        self.fresh_refused()
        after = self.manifests(), self.read(os.path.join(self.snapshots, "journal")), sorted(os.listdir(self.path(self.links)))
        self.assertEqual(after, before)
        self.expect(self.weir(*self.args()), 0, r"goes on from snapshot")
        self.exact()
        self.fresh_refused()
        self.expect(self.weir(*self.args()), 0, r"chain has finished")
        self.exact()

    def test_overwrite_without_snapshots(self):
        """A plain file, too, stays until something is to be written into it."""
        self.write("plain.csv", "of an earlier run\n")
        to = ("--set", "links=file:plain.csv?overwrite=true")
        self.error(self.weir("run", "filed.so", "-p", "1", *to), 1, 402, "NOT_FOUND", "nowhere.csv")
        self.assertEqual(self.read("plain.csv"), "of an earlier run\n")
        self.expect(self.weir("run", "chain.so", "-p", "1", *to), 0)
        self.assertEqual(len(self.read("plain.csv").splitlines()), 1000)

    def test_a_fresh_start_that_is_killed(self):
        """Before its first snapshot and behind it: it has begun, and goes on where it was."""
        over = "?overwrite=true"
        for early in (True, False):
            with self.subTest(early=early):
                self.killed(links=over)
                old = self.read(os.path.join(self.snapshots, "journal"))
                run = self.begin(*self.args("--fresh", links=over, rate=50000, interval="1h" if early else "50ms"))
                self.wait_until(lambda: self.read(os.path.join(self.snapshots, "journal")) != old, "it begins")
                if not early:
                    self.until_snapshots(run, 2)
                run.kill()
                self.end(run, -signal.SIGKILL)
                got = self.expect(self.weir(*self.args(links=over)), 0, r"chain finished after")
                self.assertEqual("goes on from snapshot" not in got.err, early)
                self.exact()
                shutil.rmtree(self.path(self.snapshots))

    def test_fresh_helps_out_of_damage(self):
        """As docs/operations.md says: from an older snapshot, or from the beginning."""
        run = self.begin(*self.args(rate=50000))
        self.until_snapshots(run, 3)
        run.kill()
        self.end(run, -signal.SIGKILL)
        older, newest = self.manifests()[-2:]
        for what, place in (("manifest", newest), ("journal", "journal")):
            with self.subTest(damaged=what):
                folder, links = f"{self.snapshots}-{what}", f"{self.links}-{what}"
                shutil.copytree(self.path(self.snapshots), self.path(folder))
                self.damaged(os.path.join(folder, place))
                args = self.args()
                args[args.index(self.snapshots)] = folder
                args[args.index(f"links=file:{self.links}")] = f"links=file:{links}"
                self.expect(self.weir(*args), 1, r"E0601 DAMAGED.*" + re.escape(place))
                self.expect(self.weir(*args, "--fresh", "--restore", os.path.join(folder, older)), 0, r"goes on from snapshot")
                shutil.rmtree(self.path(links))
                self.damaged(os.path.join(folder, "journal"))
                self.expect(self.weir(*args, "--fresh"), 0, r"the journal is made anew", r"chain finished after")
                kept, self.links = self.links, links
                self.exact()
                self.links = kept
                self.expect(self.weir(*args), 0, r"has finished")

    def test_a_finished_job_is_not_restored_into(self):
        self.expect(self.weir(*self.args(count=1000)), 0)
        got = self.weir(*self.args("--restore", "nowhere"))
        self.error(got, 2, 102, "CONFIG", "has finished", "--fresh")
        self.error(self.weir(*self.args("--restore", self.snapshots)), 2, 102, "CONFIG", "has finished", "--fresh")

    def test_a_folder_that_others_have_now(self):
        """Renamed while the job runs, and another run makes a new one of that name: neither touches the other's files."""
        args = self.args(rate=20000)
        run = self.begin(*args)
        self.until_snapshots(run)
        folder, away = self.path(self.snapshots), self.path(self.snapshots + "-away")
        os.rename(folder, away)
        other = list(args)
        other[other.index(f"links=file:{self.links}")] = f"links=file:{self.links}-other"
        second = self.begin(*other)
        self.until_snapshots(second, 3)
        answers = lambda: json.loads(self.weir("snapshots", str(run.pid), "--json").out)
        self.wait_until(lambda: answers()["failed_in_a_row"] >= 2, "the first one's fail")
        failed = [r["failure"]["text"] for r in answers()["history"] if r["outcome"] == "failed"]
        self.assertTrue(any("another folder" in text for text in failed), failed)
        second.kill()
        second.wait()
        self.expect(self.weir(*other), 0, r"goes on from snapshot")
        links, self.links = self.links, self.links + "-other"
        self.exact()
        self.links = links
        shutil.rmtree(folder)
        os.rename(away, folder)
        self.end(run, 0)  # its last snapshot found the folder again
        self.exact()

    def test_a_failure_harms_nobody(self):
        """A job goes on without its folder, whoever looks is told why no snapshot comes, and the last one waits for it."""
        run = self.begin(*self.args(rate=5000))
        self.until_snapshots(run)
        folder, away = self.path(self.snapshots), self.path(self.snapshots + "-away")
        os.rename(folder, away)
        history = lambda: json.loads(self.weir("snapshots", "chain", "--json").out)
        self.wait_until(lambda: history()["failed_in_a_row"] >= 2, "failures")
        failed = [r["failure"] for r in history()["history"] if r["outcome"] == "failed"]
        self.assertTrue(any("is not there, so this is not the folder" in f["text"] for f in failed), failed)
        self.assertRegex(self.weir("snapshots", "chain").out, r"(?m)^ +\d+ snapshot +failed .*\n +.*phase .*: .*journal is not there")
        job = json.loads(self.weir("list", "--json").out)[0]
        self.assertGreaterEqual(job["failed_in_a_row"], 2)
        self.assertRegex(job["failing"], "journal is not there")
        self.assertEqual(self.weir("stop", "chain", "--timeout", "300ms").code, 6)
        self.assertRegex(self.weir("list").out, r"STOPPING.*; the last \d+ failed: .*journal is not there")
        os.rename(away, folder)
        self.assertRegex(self.end(run, 0).err, r"warn +snapshot \d+ failed: .*; the job goes on, and tries again")
        self.expect(self.weir(*self.args()), 0, r"goes on from snapshot")
        self.exact()

    def test_the_pipeline_names_its_folder(self):
        self.build("named", chain("named", options='weir_configure(p, .snapshots = "file:from-pipeline", .snapshot_every = 20 * WEIR_MILLISECOND);'))
        args = ["run", "named.so", "--set", f"links=file:{self.links}", "--set", "events=generator:?count=2000&rate=10000", "--json"]
        got = json.loads(self.expect(self.weir(*args), 0).err.splitlines()[-1])
        self.assertGreater(got["snapshots"]["completed"], 2)
        self.assertEqual(got["snapshots"]["folder"], "from-pipeline")
        args[args.index(f"links=file:{self.links}")] += "-2"
        got = json.loads(self.expect(self.weir(*args, "--snapshots", "elsewhere", "--snapshot-interval", "1h"), 0).err.splitlines()[-1])
        self.assertEqual((got["snapshots"]["folder"], got["snapshots"]["completed"]), ("elsewhere", 1))

    def test_restore(self):
        run = self.begin(*self.args(rate=50000))
        self.until_snapshots(run, 2)
        self.expect(self.weir("stop", "chain"), 0)
        self.end(run, 0)
        origin = self.snapshots
        first, _ = self.result()
        for p in (1, 3, 5):
            self.snapshots, self.links = f"{origin}-{p}", f"{origin}-links-{p}"
            args = self.args("--restore", origin)
            args[args.index("-p") + 1] = str(p)
            self.expect(self.weir(*args), 0, r"goes on from snapshot")
            numbers, _ = self.result()
            self.assertEqual(sorted(first + numbers), list(range(100000)))
        self.error(self.weir(*self.args("--restore", "nowhere", "--fresh")), 1, 402, "NOT_FOUND", "nowhere")

    def test_restore_checks_uids(self):
        run = self.begin(*self.args(rate=50000))
        self.until_snapshots(run)
        self.expect(self.weir("stop", "chain"), 0)
        self.end(run, 0)
        self.error(self.weir(*self.args(pipeline="renamed.so")), 7, 603, "STATE", "'?follow'?", "--allow-non-restored-state")
        self.expect(self.weir(*self.args("--allow-non-restored-state", pipeline="renamed.so")), 0, r"goes on from snapshot")

    def test_key_groups_stay(self):
        run = self.begin(*self.args(rate=50000))
        self.until_snapshots(run)
        self.expect(self.weir("stop", "chain"), 0)
        self.end(run, 0)
        args = self.args()
        args[args.index("-p") + 1] = "129"
        got = self.weir(*args)
        self.assertEqual(got.code, 2, got)
        self.assertRegex(got.err, r"parallelism 129 is above its max_parallelism of 128, which the snapshot fixes; run it with at most -p 128, or give this")
        self.assertNotIn("raise", got.err)
        got = self.expect(self.weir("restore", self.snapshots, "chain.so", "--check"), 0)
        self.assertNotIn("another job", got.out)
        got = self.expect(self.weir("restore", self.snapshots, "other.so", "--check"), 0)
        self.assertRegex(got.out, r"of job chain\n  the pipeline is another job, other: it can start by --restore, but not with this folder in --snapshots\n")
        got = json.loads(self.weir("restore", self.snapshots, "other.so", "--check", "--json").out)
        self.assertEqual(("chain", "other", True), (got["job"], got["pipeline"], got["ok"]))
        links, self.links = self.links, self.links + "-other"
        self.expect(self.weir("run", "other.so", "-q", "--restore", self.snapshots, "--set", f"links=file:{self.links}",
                              "--set", "events=generator:?count=100000&keys=500&splits=2"), 0)
        self.links = links
        args[args.index("129")] = "128"
        self.expect(self.weir("restore", self.snapshots, "chain.so", "--check", "-p", "128"), 0)

    def test_wrong_use(self):
        self.error(self.weir("run", "chain.so", "--fresh"), 2, 101, "USAGE", "--snapshots DIR")
        self.error(self.weir("run", "chain.so", "--snapshot-interval", "soon"), 2, 101, "USAGE", "500ms, 10s, 5m")
        for keep in ("0", "65", "1000", "few"):
            for verb in (self.args("--snapshots-keep", keep), ["submit", "chain.so", "--snapshots-keep", keep]):
                self.error(self.weir(*verb), 2, 101, "USAGE", "--snapshots-keep takes a number from 1 to 64, not")
        self.error(self.weir("run", "chain.so", "--snapshots", "s3://x"), 2, 302, "URI", "folder")
        self.error(self.weir("savepoint", "chain"), 2, 101, "USAGE", "usage: weir savepoint JOB DIR")


if __name__ == "__main__":
    main()
