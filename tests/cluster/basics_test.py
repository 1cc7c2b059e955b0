"""The cluster as a user meets it: the results of `weir run`, and every verb about jobs."""
import contextlib
import ctypes
import json
import os
import re
import signal
import struct
import subprocess

import kit
from kit import Cluster, wait_until

WORDS = os.path.join(kit.cluster.ROOT, "examples/wordcount.c")
FILES = kit.HEAD + """
WEIR_RECORD(event, (uint64_t, n))
WEIR_RECORD(line, (weir_str, text))
WEIR_FLAT_MAP(tell, event, in, line, out)
{
    char  text[64] = "";
    FILE *file = fopen("shipped.txt", "r");
    if (in->n == 0 && file != NULL) {
        fgets(text, sizeof text, file);
        text[strcspn(text, "\\n")] = 0;
        fprintf(stderr, "user code says hello\\n");
        line_emit(out, (line){.text = weir_str_of(text, strlen(text))});
    }
    if (file != NULL) fclose(file);
}
WEIR_PIPELINE(files, p)
{
    event_stream events = weir_source(event, p, "generator:?count=10", .name = "events");
    weir_sink(weir_apply(tell, events), "file:told", .name = "told");
}
"""
FAILS = kit.HEAD + """
WEIR_RECORD(event, (uint64_t, n))
WEIR_FILTER(check, event, in)
{
    if (in->n == 500) abort();
    return true;
}
WEIR_PIPELINE(fails, p)
{
    event_stream events = weir_source(event, p, "generator:?count=1000", .name = "events");
    weir_sink(weir_apply(check, events), "file:none", .name = "none");
}
"""


def own_cluster(c):
    """`weir cluster` has a folder of its own in that of c."""
    for name in ("WEIR_JOBMANAGER", "WEIR_TOKEN"):
        c.env.pop(name)
    c.env["WEIR_CLUSTER_DIR"] = c.path("mine")


def processes_of(c):
    """Of the cluster that `weir cluster` starts for c, by their arguments: also those that it does not know."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if os.fsencode(c.path("mine")) in file.read() and kit.cluster.alive(pid):
                    found.append(int(pid))
        except (FileNotFoundError, ProcessLookupError):
            pass
    return found


def end_processes(c):
    for pid in processes_of(c):
        os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def starting(c):
    """A `weir cluster start` that has started some processes, and has many more to start. None is left."""
    own_cluster(c)
    with subprocess.Popen([kit.cluster.WEIR, "cluster", "start", "--taskmanagers", "60"], cwd=c.folder, env=c.env, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True) as start:
        try:
            wait_until(lambda: len(processes_of(c)) >= 4, "some processes were started")
            yield start
        finally:
            start.kill()
            start.wait()
            end_processes(c)


def kill_without_effect():
    """From here on the system says 0 to kill(2), and does nothing: as to a process that hangs in the kernel."""
    class Program(ctypes.Structure):
        _fields_ = [("n", ctypes.c_ushort), ("at", ctypes.c_char_p)]

    number = {"x86_64": 62, "aarch64": 129}[os.uname().machine]
    filters = ((0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x00050000), (0x06, 0, 0, 0x7FFF0000))  # ld nr; jeq; errno 0; allow
    bytes_of = b"".join(struct.pack("=HBBI", *one) for one in filters)
    libc = ctypes.CDLL(None, use_errno=True)
    program = Program(len(filters), bytes_of)
    if libc.prctl(38, 1, 0, 0, 0) != 0 or libc.prctl(22, 2, ctypes.byref(program), 0, 0) != 0:  # no new privileges; seccomp
        raise OSError(ctypes.get_errno(), "no filter of system calls")


class Basics(kit.Case):
    def test_word_count_is_that_of_one_process(self):
        with Cluster(taskmanagers=3, slots=2) as c:
            text = c.path("text")
            with open(text, "wb") as file:
                for name in ("GPL-3", "GPL-2", "Artistic"):
                    with open(f"/usr/share/common-licenses/{name}", "rb") as source:
                        file.write(source.read() * 20)
            pipeline = c.path("wordcount.so")
            c.weir("build", "-q", WORDS, "-o", pipeline, code=0)
            c.weir("run", "-q", pipeline, "-p", "2", "--set", f"lines=file:{text}", "--set", "result=file:here", code=0)
            got = c.weir("submit", pipeline, "-p", "6", "--set", f"lines=file:{text}", "--set", "result=file:there", code=0)
            self.assertIn("is job", got.err)
            expected = sorted(kit.lines_of(c.path("here")))
            self.assertGreater(len(expected), 1000)
            self.assertEqual(sorted(kit.lines_of(c.path("there"))), expected)
            summary = c.json("submit", pipeline, "-p", "2", "--set", f"lines=file:{text}", "--set", "result=file:elsewhere")
            self.assertEqual(summary["state"], "FINISHED")
            jobs = c.json("list")[1:]
            self.assertEqual([(job["job"], job["state"]) for job in jobs], [("wordcount", "FINISHED")])
            self.assertEqual(c.info(jobs[0]["id"])["restarts"], 0)
            # It ran on all of them, and nothing is left of it.
            wait_until(lambda: not c.workers(), "workers end after the job")
            self.assertEqual([(tm["slots"], tm["free"]) for tm in c.json("taskmanagers")], [(2, 2)] * 3)

    def test_jobs_by_name_and_id(self):
        with Cluster(taskmanagers=1, slots=4) as c:
            counts = c.build("counts", kit.COUNTS)
            one = c.submit(counts, "-n", "first", "--set", "tallies=file:one")
            two = c.submit(counts, "-n", "second", "--set", "tallies=file:two")
            self.assertRegex(one, "^[0-9a-f]{16}$")
            for job in ("first", one, one[:9]):
                self.assertEqual(c.info(job)["id"], one)
            c.wait_state("first", "RUNNING")
            c.wait_state("second", "RUNNING")
            self.expect(c.weir("info", "third"), 4, "E0406 NO_JOB")
            for name in ("two\nlines", "red\x1b[31m", "x" * 300):
                self.expect(c.weir("submit", counts, "-d", "-n", name), 2, "a name of 1 to 128 printable bytes")
            self.expect(c.weir("info", ""), 2)
            got = c.weir("list", code=0)
            self.assertRegex(got.out, rf"(?m)^{one} +first +RUNNING")
            self.expect(c.weir("cancel", "first"), 0, "first is canceled")
            self.assertEqual(c.state(one), "CANCELED")
            self.expect(c.weir("wait", one), 130)
            self.expect(c.weir("cancel", two, "--json"), 0, two)
            self.assertEqual({job["state"] for job in c.json("list")}, {"CANCELED"})
            # A name is the newest job's that has it.
            three = c.submit(counts, "-n", "first", "--set", "tallies=file:three")
            self.assertEqual(c.info("first")["id"], three)
            c.weir("cancel", three, code=0)

    def test_shipped_files_arguments_and_logs(self):
        with Cluster(taskmanagers=2, slots=1) as c:
            files = c.build("files", FILES)
            with open(c.path("shipped.txt"), "w", encoding="utf-8") as file:
                file.write("what was shipped\n")
            c.weir("submit", files, "-q", "-p", "2", "--file", c.path("shipped.txt"), "--set", "told=file:told", code=0)
            self.assertEqual(kit.lines_of(c.path("told")), ["what was shipped"])
            os.mkfifo(c.path("pipe"))
            with open(c.path("huge"), "wb") as file:
                file.truncate(1 << 40)
            for path, why in ((c.path("pipe"), "is no regular file"), ("/dev/zero", "is no regular file"), (c.path("huge"), "too large")):
                self.expect(c.weir("submit", files, "--file", path, "--set", "told=file:no"), 1 if "huge" in path else 2, path, why)
            self.expect(c.weir("submit", c.path("pipe")), 2, "is no regular file")
            self.assertIn("user code says hello", c.weir("logs", "files", code=0).out)

    def test_a_job_that_fails(self):
        with Cluster(taskmanagers=1, slots=2) as c:
            fails = c.build("fails", FAILS)
            got = self.expect(c.weir("submit", fails, "--set", "none=file:none", "--restart", "none"), 5, "E0506 CRASH", "check")
            self.assertIn("SIGABRT", got.err)
            info = c.info("fails")
            self.assertEqual(info["state"], "FAILED")
            self.assertEqual(info["cause"]["code"], "E0506")
            self.expect(c.weir("wait", "fails"), 5, "E0506 CRASH")
            self.expect(c.weir("why", "fails"), 0, "check")
            self.assertIn("fails.c:", c.weir("logs", "fails", code=0).out)  # the backtrace
            # A strategy with an end.
            c.weir("submit", fails, "-n", "again", "--set", "none=file:none2", "--restart", "fixed", "--restart-attempts", "2",
                   "--restart-delay", "10ms", code=5)
            self.assertEqual((c.info("again")["state"], c.info("again")["restarts"]), ("FAILED", 2))

    def test_snapshot_savepoint_stop_restore(self):
        with Cluster(taskmanagers=2, slots=1, snapshot_interval="1h") as c:
            counts = c.build("counts", kit.COUNTS)
            where = ("-p", "2", "--set", "events=generator:?keys=100&count=40000&rate=10000", "--set", "tallies=file:tallies", "--snapshots",
                     "kept")
            job = c.submit(counts, *where)
            c.wait_state(job, "RUNNING")
            self.expect(c.weir("snapshot", job), 0, "snapshot 1 of .* completed")
            self.expect(c.weir("savepoint", "counts", "saved"), 0, "savepoint 2 of counts completed", c.path("saved"))
            self.expect(c.weir("snapshots", "counts"), 0, "savepoint completed", "snapshot  completed")
            self.assertEqual(c.json("snapshots", "counts")["completed"], 2)
            self.expect(c.weir("stop", "counts"), 0, "snapshot 3 is the last of counts")
            why = c.json("why", "counts")["reasons"]
            self.assertEqual({reason["kind"] for reason in why}, {"stopped"})
            self.assertIn(f"it was stopped; snapshot 3 in {c.path('kept')} is its last", why[0]["text"])
            self.assertEqual(c.state(job), "FINISHED")
            part = len(kit.lines_of(c.path("tallies")))
            self.assertLess(part, 40000)
            self.assertGreater(part, 0)
            self.expect(c.weir("state", "saved"), 0, "count")
            # The same folder: it goes on where it was.
            self.expect(c.weir("submit", counts, "-q", *where), 0)
            kit.check_counts(self, c.path("tallies"), 40000)
            # From the savepoint, elsewhere: the rest once more.
            self.expect(c.weir("submit", counts, "-q", "-p", "1", "--set", "events=generator:?keys=100&count=40000", "--set",
                               "tallies=file:others", "--restore", "saved"), 0)
            self.assertLess(len(kit.lines_of(c.path("others"))), 40000)
            self.expect(c.weir("submit", c.build("fails", FAILS), "--set", "none=file:none", "--restore", "saved"), 7, "E0603 STATE")

    def test_restore_latest(self):
        """The newest job's newest snapshot, or an error: never an older one, past which sinks may have committed."""
        with Cluster(taskmanagers=1, slots=1, snapshot_interval="1h") as c:
            counts = c.build("counts", kit.COUNTS)
            where = ("--set", "events=generator:?keys=100&rate=10000", "--set", "tallies=file:tallies", "--restore", "latest")
            self.expect(c.weir("submit", counts, "-d", *where, "--snapshots", "first"), 1, "no job called counts has a snapshot")
            first = c.submit(counts, *where[:4], "--snapshots", "first")
            c.wait_state(first, "RUNNING")
            self.expect(c.weir("stop", first), 0)
            second = c.submit(counts, *where, "--snapshots", "second")
            c.wait_state(second, "RUNNING")
            self.assertRegex(c.jobmanager.tail(), rf"{second}\): attempt 1 .*, from {c.path('first')}/m-")
            self.expect(c.weir("stop", second), 0)
            [manifest] = [name for name in os.listdir(c.path("second")) if name.endswith(".wman")]
            damaged = os.path.join(c.path("second"), manifest)
            with open(damaged, "rb") as file:
                whole = file.read()
            with open(damaged, "wb") as file:
                file.write(whole[:-1])
            third = ("submit", counts, "-d", *where, "--snapshots", "third")
            self.expect(c.weir(*third), 1, "E0601 DAMAGED", second, damaged)
            with open(damaged, "wb") as file:
                file.write(whole)
            os.rename(c.path("second"), c.path("elsewhere"))
            self.expect(c.weir(*third), 1, second, "mount it, or name a snapshot by its path")
            os.rename(c.path("elsewhere"), c.path("second"))
            third = c.submit(*third[1:2], *where, "--snapshots", "third")
            c.wait_state(third, "RUNNING")
            self.assertRegex(c.jobmanager.tail(), rf"{third}\): attempt 1 .*, from {c.path('second')}/m-")
            c.weir("cancel", third, code=0)

    def test_stop_with_drain_and_savepoint(self):
        with Cluster(taskmanagers=1, slots=1, snapshot_interval="1h") as c:
            counts = c.build("counts", kit.COUNTS)
            job = c.submit(counts, "--set", "tallies=file:tallies")
            c.wait_state(job, "RUNNING")
            self.expect(c.weir("stop", job, "--drain", "--savepoint", "last"), 0, "a savepoint of it is in")
            self.assertEqual(c.state(job), "FINISHED")
            self.expect(c.weir("state", "last"), 0, "count")
            self.expect(c.weir("why", job), 0, "it was stopped with --drain", "a savepoint of it is in " + re.escape(c.path("last")))

    def test_savepoints_keep_what_sinks_prepared(self):
        """In a folder of the worker's own as well: nobody but the savepoint has these records."""
        with Cluster(taskmanagers=2, slots=1, snapshot_interval="1h") as c:
            counts = c.build("counts", kit.COUNTS)
            events = ("--set", "events=generator:?keys=100&count=20000")
            for name, sets in (("told", ("--set", "tallies=file:told")), ("own", ())):
                job = c.submit(counts, "-n", name, "-p", "2", events[0], events[1] + "&rate=5000", *sets, "--snapshots", "kept-" + name)
                c.wait_state(job, "RUNNING")
                tried = []

                def saved():
                    tried.append(f"saved-{name}-{len(tried)}")
                    self.expect(c.weir("savepoint", name, tried[-1]), 0)
                    return [file for file in os.listdir(c.path(tried[-1])) if file.startswith("prepared-")]
                wait_until(saved, "a savepoint behind the first records")
                c.weir("cancel", job, code=0)
                self.assertEqual(kit.lines_of(c.path("told")), [], "a savepoint commits nothing")
                self.expect(c.weir("submit", counts, "-n", name + "-again", "-q", "-p", "1", *events, "--set", f"tallies=file:{name}-again",
                                   "--restore", tried[-1]), 0)
                kit.check_counts(self, c.path(name + "-again"), 20000)

    def test_waiting_for_slots(self):
        with Cluster(taskmanagers=1, slots=2) as c:
            counts = c.build("counts", kit.COUNTS)
            job = c.submit(counts, "-p", "4", "--set", "tallies=file:tallies", "--set", "events=generator:?keys=10&count=1000")
            got = wait_until(lambda: re.search("2 are missing", c.weir("why", job, code=0).out), "why says which slots are missing")
            self.assertTrue(got)
            self.expect(c.weir("wait", job, "--timeout", "300ms"), 6, "E0404 TIMEOUT")
            # A smaller one is not held up by it.
            self.expect(c.weir("submit", counts, "-q", "-n", "small", "--set", "tallies=file:small", "--set",
                               "events=generator:?keys=10&count=1000"), 0)
            c.start_taskmanager().ready()
            self.expect(c.weir("wait", job), 0)
            kit.check_counts(self, c.path("tallies"), 1000)

    def test_rescale_under_load(self):
        with Cluster(taskmanagers=3, slots=2, snapshot_interval="200ms") as c:
            counts, records = c.build("counts", kit.COUNTS), 60000
            job = c.submit(counts, "-p", "2", "--set", "tallies=file:tallies", "--set", f"events=generator:?keys=100&count={records}&splits=6&rate=10000")
            c.wait_state(job, "RUNNING")
            for parallelism in (6, 2):
                before = c.snapshots(job)
                wait_until(lambda: c.snapshots(job) > before, "a snapshot")
                self.expect(c.weir("rescale", job, "-p", str(parallelism)), 0, f"parallelism {parallelism}")
                c.wait_state(job, "RUNNING")
                info = c.info(job)
                self.assertEqual(info["slots"], parallelism, info)
            self.expect(c.weir("wait", job), 0)
            kit.check_counts(self, c.path("tallies"), records)
            self.assertEqual(c.info(job)["exceptions"], [])

    def test_drain_of_a_taskmanager(self):
        with Cluster(taskmanagers=2, slots=1, snapshot_interval="200ms") as c:
            counts, records = c.build("counts", kit.COUNTS), 30000
            job = c.submit(counts, "--set", "tallies=file:tallies", "--set", f"events=generator:?keys=100&count={records}&rate=5000")
            c.wait_state(job, "RUNNING")
            at = c.info(job)["workers"][0]["name"]
            self.expect(c.weir("drain", at), 0, f"{at} takes no new work")
            wait_until(lambda: [w["name"] for w in c.info(job)["workers"]] not in ([], [at]), "the job moves")
            self.expect(c.weir("wait", job), 0)
            kit.check_counts(self, c.path("tallies"), records)
            self.assertEqual((c.info(job)["restarts"], c.info(job)["planned_restarts"]), (0, 1))
            self.expect(c.weir("drain", at, "--undo"), 0, f"{at} takes work again")

    def test_top_and_taskmanagers(self):
        with Cluster(taskmanagers=1, slots=1) as c:
            counts = c.build("counts", kit.COUNTS)
            job = c.submit(counts, "--set", "tallies=file:tallies")
            c.wait_state(job, "RUNNING")
            wait_until(lambda: re.search(r"(?m)^.*count.*\d", c.weir("top", job, code=0).out), "top shows the operators")
            c.json("top")
            tms = c.json("taskmanagers")
            self.assertEqual([(tm["name"], tm["slots"], tm["free"]) for tm in tms], [("tm0", 1, 0)])
            c.weir("cancel", job, code=0)

    def test_a_job_here_and_one_of_the_cluster(self):
        with Cluster(taskmanagers=1, slots=1, snapshot_interval="1h") as c:
            counts = c.build("counts", kit.COUNTS)
            job = c.submit(counts, "--set", "tallies=file:tallies")
            c.wait_state(job, "RUNNING")
            with subprocess.Popen([kit.cluster.WEIR, "run", counts, "-q", "-p", "1", "--set", "tallies=file:mine", "--snapshots", "kept"],
                                  cwd=c.folder, env=c.env) as here:
                wait_until(lambda: [j for j in c.json("list") if j.get("pid") == here.pid and j["state"] == "RUNNING"], "the job here")
                self.assertEqual(sorted(("pid" in j, j["job"]) for j in c.json("list")), [(False, "counts"), (True, "counts")])
                self.expect(c.weir("snapshot", "counts"), 2, "both have a job counts")
                self.expect(c.weir("snapshot", here.pid), 0, "snapshot 1 of")
                self.expect(c.weir("snapshot", "counts", "--jobmanager", c.listens), 0, "snapshot 1 of counts")
                self.expect(c.weir("stop", here.pid), 0)
                self.assertEqual(here.wait(60), 0)
            self.expect(c.weir("snapshot", "counts"), 0, "snapshot 2 of counts")
            self.assertEqual(c.state(job), "RUNNING")
            c.weir("cancel", job, code=0)

    def test_attached_client_is_interrupted(self):
        with Cluster(taskmanagers=1, slots=1) as c:
            counts = c.build("counts", kit.COUNTS)
            with subprocess.Popen([kit.cluster.WEIR, "submit", counts, "--set", "tallies=file:tallies"], cwd=c.folder, env=c.env,
                                  stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as client:
                wait_until(lambda: [job for job in c.json("list") if job["state"] == "RUNNING"], "the job runs")
                client.send_signal(2)
                _, err = client.communicate(timeout=30)
            self.assertEqual(client.returncode, 0, err)
            self.assertIn("goes on: `weir info", err)
            self.assertEqual(c.state("counts"), "RUNNING")
            c.weir("cancel", "counts", code=0)

    def test_cluster_verb(self):
        """weir cluster start | status | stop, and clients that find it by themselves."""
        with Cluster() as c:
            folder = c.path("mine")
            for name in ("WEIR_JOBMANAGER", "WEIR_TOKEN"):
                c.env.pop(name)
            c.env["WEIR_CLUSTER_DIR"] = folder
            try:
                self.expect(c.weir("cluster", "start", "--taskmanagers", "2", "--slots", "1"), 0, "2 TaskManagers of 1 slots")
                self.expect(c.weir("cluster", "start"), 1, "E0604 BUSY")
                status = c.json("cluster", "status")
                self.assertEqual([(p["role"], p["alive"]) for p in status["processes"]],
                                 [("jobmanager", True), ("taskmanager", True), ("taskmanager", True)])
                wait_until(lambda: len(c.json("taskmanagers")) == 2, "both are registered")
                for tm in status["processes"][1:]:  # the CPUs that no slot of either has are not taken twice
                    with open(f"/proc/{tm['pid']}/cmdline", encoding="utf-8") as file:
                        argv = file.read().split("\0")
                    spare = max(len(os.sched_getaffinity(0)) - 2, 0)
                    self.assertEqual(int(argv[argv.index("--snapshot-threads") + 1]), (spare + 1) // 2)
                counts = c.build("counts", kit.COUNTS)
                c.weir("submit", "-q", counts, "-p", "2", "--set", "tallies=file:tallies", "--set", "events=generator:?keys=10&count=1000", code=0)
                kit.check_counts(self, c.path("tallies"), 1000)
                os.kill(status["processes"][0]["pid"], signal.SIGKILL)
                wait_until(lambda: c.weir("cluster", "status").code == 3, "the JobManager is gone")
                self.expect(c.weir("cluster", "start"), 1, "E0604 BUSY.*1 of its 3 processes have ended")
            finally:
                got = c.weir("cluster", "stop")
            self.expect(got, 0, "2 processes have ended")
            self.expect(c.weir("cluster", "status"), 3, "no cluster was started")
            for process in status["processes"]:
                self.assertFalse(kit.cluster.alive(process["pid"]), process)

    def test_cluster_start_that_is_interrupted(self):
        """It ends what it has started."""
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(number), Cluster() as c, starting(c) as start:
                start.send_signal(number)
                _, err = start.communicate(timeout=60)
                self.assertEqual(start.returncode, 130, err)
                self.assertIn("interrupted before all processes were ready", err)
                self.assertEqual(processes_of(c), [])
                self.expect(c.weir("cluster", "status"), 3, "no cluster was started")

    def test_cluster_start_that_is_killed(self):
        """stop knows each process that it has started, and the folder is free then."""
        with Cluster() as c, starting(c) as start:
            start.kill()
            start.wait()
            self.expect(c.weir("cluster", "start"), 1, "E0604 BUSY")
            known = {p["pid"] for p in json.loads(c.weir("cluster", "status", "--json").out)["processes"]}
            self.assertLessEqual(set(processes_of(c)), known)
            self.expect(c.weir("cluster", "stop"), 0, "processes have ended")
            self.assertEqual(processes_of(c), [])
            self.expect(c.weir("cluster", "start"), 0, "1 TaskManager of 2 slots")
            self.expect(c.weir("cluster", "stop"), 0, "2 processes have ended")

    def test_cluster_stop_that_cannot_end_a_process(self):
        """It says so, and still knows the process."""
        with Cluster() as c:
            own_cluster(c)
            try:
                c.weir("cluster", "start", code=0)
                pids = sorted(processes_of(c))
                got = subprocess.run([kit.cluster.WEIR, "cluster", "stop"], cwd=c.folder, env=c.env, capture_output=True, timeout=120,
                                     text=True, check=False, preexec_fn=kill_without_effect)
                self.assertEqual(got.returncode, 6, got)
                self.assertIn("2 of 2 processes do not end", got.stderr)
                self.assertEqual(got.stdout, "")
                self.assertEqual(sorted(p["pid"] for p in c.json("cluster", "status")["processes"] if p["alive"]), pids)
                self.expect(c.weir("cluster", "stop"), 0, "2 processes have ended")
                self.assertEqual(processes_of(c), [])
            finally:
                end_processes(c)


if __name__ == "__main__":
    kit.main()
