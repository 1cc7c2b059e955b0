"""What the verbs promise: an answer or an error within --timeout, JSON where something is read, and no silent loss of what a cluster
cannot do as one process does."""
import json
import os
import pty
import re
import signal
import subprocess
import time

import kit
from kit import Cluster, wait_until

BUILDS = kit.HEAD + """
#include <string.h>
WEIR_RECORD(event, (uint64_t, n))
static void wait_for_ever(void) { for (;;) sleep(1); }
WEIR_PIPELINE(builds, p)
{
    if (access("hang", F_OK) == 0) wait_for_ever();
    if (access("exit", F_OK) == 0) exit(0);
    if (access("_exit", F_OK) == 0) _exit(0);
    event_stream events = weir_source(event, p, "generator:?rate=1000", .name = "events");
    weir_sink(events, "blackhole:", .name = "out");
}
"""
LINES = kit.HEAD + """
WEIR_RECORD(line, (weir_str, text))
WEIR_PIPELINE(lines, p)
{
    line_stream lines = weir_source(line, p, "stdin:", .name = "lines");
    weir_sink(lines, "file:copies", .name = "copies");
}
"""
SAYS = kit.HEAD + """
WEIR_RECORD(event, (uint64_t, n))
WEIR_FILTER(leave, event, in)
{
    if (in->n == 500) { printf("about to leave\\n"); exit(3); }
    return true;
}
WEIR_PIPELINE(says, p)
{
    event_stream events = weir_source(event, p, "generator:?count=1000", .name = "events");
    weir_sink(weir_apply(leave, events), "blackhole:", .name = "out");
}
"""
# The event time of the one creeps, that of the other runs.
APART = kit.HEAD + """
WEIR_RECORD(event, (uint64_t, n), (weir_time, at))
WEIR_RECORD(sum, (uint64_t, n), (uint64_t, many))
WEIR_AGGREGATE_FIELDS(many, event, sum, (n, key, n), (many, count))
WEIR_PIPELINE(apart, p)
{
    event_stream a = weir_source(event, p, "generator:?rate=20000", .name = "a", .parallelism = 1);
    event_stream b = weir_source(event, p, "generator:?rate=5", .name = "b", .parallelism = 1);
    event_stream both = weir_union(weir_event_time(a, at), weir_event_time(b, at));
    weir_sink(weir_apply(many, weir_window(weir_key_by(both, n), weir_tumbling(WEIR_SECOND))), "blackhole:", .name = "out");
}
"""


class Verbs(kit.Case):
    def timed(self, c, *args):
        begun = time.monotonic()
        return c.weir(*args), time.monotonic() - begun

    def test_a_build_function_that_hangs_ends_with_the_timeout(self):
        with Cluster(taskmanagers=1, slots=1) as c:
            builds = c.build("builds", BUILDS)
            hang = c.path("hang")
            with open(hang, "w", encoding="utf-8"):
                pass
            got, seconds = self.timed(c, "submit", builds, "-d", "--timeout", "1s")
            self.expect(got, 6, "E0404 TIMEOUT.*the build function of .*builds.so did not return within the --timeout")
            self.assertLess(seconds, 20)  # without --timeout: 30
            self.assertEqual(c.json("list"), [])
            os.unlink(hang)
            self.expect(c.weir("submit", builds, "-d", "-n", "in-time", "--timeout", "20s"), 0)

    def test_a_build_function_that_ends_the_process(self):
        with Cluster() as c:
            builds = c.build("builds", BUILDS)
            for how in ("exit", "_exit"):
                with open(c.path(how), "w", encoding="utf-8"):
                    pass
                self.expect(c.weir("submit", builds, "-d"), 5, "E0506 CRASH.*build function")
                os.unlink(c.path(how))

    def test_a_jobmanager_that_stops_answering(self):
        """Each verb that asks gives up in time, and says what may go on."""
        with Cluster(taskmanagers=1, slots=1, lease="10m", heartbeat_timeout="10m") as c:
            job = c.submit(c.build("counts", kit.COUNTS), "--set", "tallies=file:tallies")
            c.wait_state(job, "RUNNING")
            c.jobmanager.pause()
            try:
                for verb in (("list",), ("info", job), ("why", job), ("top",), ("logs", job), ("snapshots", job), ("taskmanagers",),
                             ("snapshot", job), ("savepoint", job, "saved"), ("stop", job), ("cancel", job), ("wait", job),
                             ("rescale", job, "-p", "2"), ("drain", "tm0"), ("submit", c.path("counts.so"), "-d")):
                    with self.subTest(verb[0]):
                        got, seconds = self.timed(c, *verb, "--timeout", "300ms")
                        self.expect(got, 6, "E0404 TIMEOUT.*did not answer in time; nothing was asked of it")
                        self.assertLess(seconds, 4)  # without --timeout: 5
            finally:
                c.jobmanager.go_on()
            self.assertEqual(c.state(job), "RUNNING")  # nothing of that came to it later
            # After it has begun to answer: the job waits for slots.
            with subprocess.Popen([kit.cluster.WEIR, "submit", c.path("counts.so"), "-n", "more", "--set", "tallies=file:more", "--timeout",
                                   "5s"], cwd=c.folder, env=c.env, stderr=subprocess.PIPE, text=True) as client:
                more = re.match("weir: more is job ([0-9a-f]+)", client.stderr.readline()).group(1)
                self.assertIn("CREATED", client.stderr.readline())
                c.jobmanager.pause()
                _, err = client.communicate(timeout=60)
            c.jobmanager.go_on()
            self.assertEqual(client.returncode, 6)
            self.assertIn(f"what was asked for may go on; `weir list` and `weir info {more}` show how things stand", err)

    def test_a_job_that_takes_longer_than_the_timeout(self):
        """It is not the JobManager that is late."""
        with Cluster(taskmanagers=1, slots=1, snapshot_interval="1h") as c:
            c.submit(c.build("counts", kit.COUNTS), "--set", "tallies=file:tallies")
            c.wait_state("counts", "RUNNING")
            self.expect(c.weir("wait", "counts", "--timeout", "2s"), 6,
                        "E0404 TIMEOUT.: the job counts has not ended in time; it is RUNNING; `weir info counts`")
            [worker] = c.workers()
            os.kill(worker, signal.SIGSTOP)  # so its last snapshot does not come
            got = c.weir("stop", "counts", "--timeout", "2s")
            os.kill(worker, signal.SIGCONT)
            self.expect(got, 6, "E0404 TIMEOUT.: the stop of job counts was not done in time, and goes on; the job is STOPPING; "
                        "`weir why counts`")
            self.expect(c.weir("wait", "counts"), 0)

    def test_top_on_a_terminal(self):
        with Cluster(taskmanagers=1, slots=1) as c:
            job = c.submit(c.build("counts", kit.COUNTS), "--set", "tallies=file:tallies")
            c.wait_state(job, "RUNNING")
            master, slave = pty.openpty()
            with subprocess.Popen([kit.cluster.WEIR, "top", "--timeout", "1s"], cwd=c.folder, env=c.env, stdout=slave,
                                  stderr=subprocess.PIPE) as top:
                os.close(slave)
                seen = b""
                while seen.count(b"operator ") < 2:  # again and again
                    seen += os.read(master, 4096)
                c.jobmanager.pause()
                try:
                    self.assertEqual(top.wait(60), 6)
                    self.assertIn(b"E0404 TIMEOUT", top.stderr.read())
                finally:
                    top.kill()
                    c.jobmanager.go_on()
            os.close(master)

    def test_standard_input_is_not_shipped(self):
        """It would be read from nowhere, and the job would finish without a record."""
        with Cluster(taskmanagers=1, slots=1) as c:
            lines = c.build("lines", LINES)
            self.expect(c.weir("submit", lines, "--set", "copies=file:copies"), 2, r"E0302 URI.*source 'lines' \(stdin:\).*--set lines=file:PATH")
            self.assertEqual(c.json("list"), [])
            with open(c.path("text"), "w", encoding="utf-8") as file:
                file.write("one\ntwo\n")
            got = self.expect(c.weir("submit", lines, "--set", "lines=file:text", "--set", "copies=file:copies"), 0)
            self.assertNotIn("warning", got.err)
            self.assertEqual(kit.lines_of(c.path("copies")), ["one", "two"])

    def test_relative_paths_of_a_list(self):
        with Cluster(taskmanagers=1, slots=1) as c:
            lines = c.build("lines", LINES)
            os.mkdir(c.path("other"))
            for name, text in (("a.txt", "a"), ("b.txt", "b"), ("c.txt", "c"), ("other/a.txt", "shipped")):
                with open(c.path(name), "w", encoding="utf-8") as file:
                    file.write(text + "\n")
            for number, (paths, ship, wanted) in enumerate((
                    ("a.txt,b.txt", (), ["a", "b"]), (c.path("c.txt") + ",b.txt,a.txt", (), ["a", "b", "c"]),
                    ("[ab].txt,c.txt?split-bytes=0", (), ["a", "b", "c"]), ("a.txt,c.txt", ("--file", "other/a.txt"), ["c", "shipped"]))):
                copies = f"copies,{number}"  # no list: it is a sink's
                c.weir("submit", lines, "-n", f"list{number}", *ship, "--set", f"lines=file:{paths}", "--set", f"copies=file:{copies}", code=0)
                self.assertEqual(sorted(kit.lines_of(c.path(copies))), wanted)

    def test_results_that_would_go_with_the_job_are_warned_of(self):
        with Cluster(taskmanagers=1, slots=1) as c:
            counts = c.build("counts", kit.COUNTS)
            some = ("--set", "events=generator:?keys=10&count=10")
            got = c.weir("submit", counts, *some, code=0)
            self.assertRegex(got.err, r"warning: sink 'tallies' \(file:tallies\) writes below the working folders .*--set tallies=file:PATH")
            got = c.weir("submit", counts, *some, "--set", "tallies=file:kept", code=0)
            self.assertNotIn("warning", got.err)
            kit.check_counts(self, c.path("kept"), 10)

    def test_jobs_without_snapshots(self):
        """Also where the JobManager has a folder for those that name none."""
        with Cluster(taskmanagers=1, slots=1) as c:
            counts = c.build("counts", kit.COUNTS)
            c.weir("submit", counts, "--snapshots", "none", "--set", "events=generator:?keys=10&count=10", "--set", "tallies=file:kept", code=0)
            self.assertIsNone(c.info("counts")["snapshot_folder"])
            self.assertEqual((os.path.exists(c.path("none")), os.path.exists(c.path("snapshots"))), (False, False))
            with open(c.path("kept"), encoding="utf-8") as file:  # one file, since nothing is committed in parts
                self.assertEqual(len(file.readlines()), 10)

    def test_what_reads_has_json(self):
        with Cluster(taskmanagers=2, slots=1, snapshot_interval="200ms") as c:
            job = c.submit(c.build("counts", kit.COUNTS), "-p", "2", "--set", "tallies=file:tallies")
            wait_until(lambda: c.snapshots(job) > 0, "a snapshot")
            running = c.json("snapshots", job)
            drained = c.json("drain", "tm0")
            self.assertEqual((drained["taskmanager"], drained["draining"], drained["jobs"]), ("tm0", True, [{"id": job, "job": "counts", "moves": True}]))
            undrained = c.json("drain", "tm0", "--undo")
            self.assertEqual((undrained["draining"], undrained["jobs"]), (False, []))
            self.expect(c.weir("drain", "nobody"), 1, "weir taskmanagers shows")
            c.weir("stop", job, code=0)
            stopped = c.json("snapshots", job)
            self.assertEqual(set(running) - set(stopped), set())
            self.assertGreaterEqual(stopped["newest"], running["newest"])

    def test_logs(self):
        """Of each attempt, wherever it was; also after the JobManager was started again; as text, as JSON, and followed."""
        with Cluster(taskmanagers=2, slots=1) as c:
            says = c.build("says", SAYS)
            with subprocess.Popen([kit.cluster.WEIR, "submit", says, "--restart", "fixed", "--restart-attempts", "1", "--restart-delay", "10ms",
                                   "-d", "-q"], cwd=c.folder, env=c.env, stdout=subprocess.PIPE, text=True) as submit:
                job = submit.communicate()[0].strip()
            with subprocess.Popen([kit.cluster.WEIR, "logs", job, "-f"], cwd=c.folder, env=c.env, stdout=subprocess.PIPE, text=True) as follow:
                followed = follow.communicate(timeout=60)[0]
            self.assertEqual(c.state(job), "FAILED")
            for text in (c.weir("logs", job, code=0).out, followed):
                self.assertEqual(text.count("about to leave"), 2, text)
                self.assertEqual(text.count("it called exit(3)"), 2, text)
            c.jobmanager.kill()
            c.start_jobmanager()
            wait_until(lambda: len(c.json("taskmanagers")) == 2, "they come back")
            self.assertEqual(c.weir("logs", job, code=0).out.count("about to leave"), 2)
            pieces = [json.loads(line) for line in c.weir("logs", job, "--json", code=0).out.splitlines()]
            self.assertEqual("".join(piece["text"] for piece in pieces).count("about to leave"), 2)
            self.assertLessEqual({piece["taskmanager"] for piece in pieces}, {"tm0", "tm1"})

    def test_logs_that_are_not_here(self):
        with Cluster(taskmanagers=2, slots=1) as c:
            says = c.build("says", SAYS)
            self.expect(c.weir("submit", says, "-n", "says", "-q", "--restart", "none"), 5)
            piece = json.loads(c.weir("logs", "says", "--json", code=0).out.splitlines()[0])
            at = int(piece["taskmanager"][2:])
            c.taskmanagers[at].kill()
            wait_until(lambda: len(c.json("taskmanagers")) == 1, "it is lost")
            for more in ((), ("-f",)):
                self.expect(c.weir("logs", "says", *more), 1, f"weir: warning: .*TaskManager tm{at}, which is not here", "NOT_FOUND.*nothing of")
            got = c.weir("logs", "says", "--json", code=1)
            self.assertEqual(json.loads(got.out), {"taskmanager": f"tm{at}", "offset": 0, "text": "", "away": True})

    def test_wait_as_json(self):
        with Cluster(taskmanagers=1, slots=1) as c:
            counts = c.build("counts", kit.COUNTS)
            job = c.submit(counts, "--set", "tallies=file:tallies", "--set", "events=generator:?keys=10&count=10")
            self.assertEqual(c.json("wait", job), {"job": job, "state": "FINISHED", "cause": None})
            job = c.submit(counts, "--set", "tallies=file:tallies2")
            c.weir("cancel", job, code=0)
            got = self.expect(c.weir("wait", job, "--json"), 130)
            self.assertEqual(json.loads(got.out), {"job": job, "state": "CANCELED", "cause": None})
            # Its folder of results cannot be made.
            job = c.submit(counts, "--restart", "none", "--set", "tallies=file:counts.so/below")
            got = self.expect(c.weir("wait", job, "--json"), 5)
            said = json.loads(got.out)
            self.assertEqual((said["state"], said["cause"]["code"]), ("FAILED", c.info(job)["cause"]["code"]))

    def test_why_names_the_input_that_is_behind(self):
        with Cluster(taskmanagers=1, slots=1) as c:
            job = c.submit(c.build("apart", APART), "-p", 1)
            wait_until(lambda: re.search("event time at 'many' waits for 'b'.*, which has only come to .* s behind 'a'",
                                         c.weir("why", job, code=0).out), lambda: c.weir("why", job).out + c.weir("top", job).out)


if __name__ == "__main__":
    kit.main()
