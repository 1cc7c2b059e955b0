"""Processes that are killed and paused, connections that are cut, user code that crashes: no record is lost or comes twice, and who
is not concerned goes on."""
import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import time
import urllib.request

import kit
from cluster import WEIR
from kit import Cluster, wait_until
from proxy import Proxy

CRASHES = kit.HEAD + """
WEIR_RECORD(event, (uint64_t, n))
WEIR_FILTER(check, event, in)
{
    if (in->n == 3000) abort();
    return true;
}
WEIR_PIPELINE(crashes, p)
{
    event_stream events = weir_source(event, p, "generator:?rate=10000", .name = "events");
    weir_sink(weir_apply(check, events), "file:crashing", .name = "none");
}
"""
RECORDS = 60000


class Failures(kit.Case):
    def start(self, c, parallelism=4, records=RECORDS, rate=10000, *more):
        """The job whose output is checked; it has taken a snapshot when this returns."""
        counts = c.build("counts", kit.COUNTS)
        job = c.submit(counts, "-p", str(parallelism), "--set", "tallies=file:tallies", "--set",
                       f"events=generator:?keys=100&count={records}&splits=8&rate={rate}", "--restart-delay", "50ms", *more)
        wait_until(lambda: c.snapshots(job) > 0, lambda: f"a first snapshot: {c.weir('info', job).out}")
        return job

    def finish(self, c, job, records=RECORDS):
        self.expect(c.weir("wait", job), 0)
        kit.check_counts(self, c.path("tallies"), records)

    def restarts(self, c, job):
        return c.info(job)["restarts"]

    def after(self, c, job, before, how="a restart"):
        """It restarted, runs again, and has taken a snapshot since."""
        wait_until(lambda: self.restarts(c, job) > before, lambda: f"{how}: {c.weir('info', job).out}\n{c.logs()}")
        c.wait_state(job, "RUNNING", "FINISHED")

    def test_a_taskmanager_is_killed(self):
        with Cluster(taskmanagers=3, slots=2, snapshot_interval="200ms") as c:
            job = self.start(c)
            c.workers()
            c.taskmanagers[0].kill()
            begin = time.monotonic()
            self.after(c, job, 0)
            self.assertLess(time.monotonic() - begin, 5)  # no heartbeat had to be missed for it
            self.assertIn("TaskManager", c.info(job)["exceptions"][0]["text"])
            self.finish(c, job)

    def test_a_worker_is_killed(self):
        with Cluster(taskmanagers=2, slots=2, snapshot_interval="200ms") as c:
            job = self.start(c)
            os.kill(c.workers(c.taskmanagers[0])[0], signal.SIGKILL)
            self.after(c, job, 0)
            self.assertRegex(c.info(job)["exceptions"][0]["text"], "SIGKILL|signal 9|killed")
            self.finish(c, job)

    def test_a_worker_is_killed_whose_snapshots_another_thread_writes(self):
        """As many threads as the TaskManager was told, one for each slot at most; none: the slots do it themselves."""
        for told, expected in (("5", ["weir-scribe-0", "weir-scribe-1"]), ("1", ["weir-scribe-0"]), ("0", [])):
            with self.subTest(told), Cluster(taskmanagers=1, slots=2, snapshot_interval="50ms", snapshot_threads=told) as c:
                job = self.start(c, parallelism=2, records=20000)
                worker = c.workers()[0]
                self.assertEqual([name for name in kit.threads(worker) if name.startswith("weir-scribe")], expected)
                os.kill(worker, signal.SIGKILL)
                self.after(c, job, 0)
                self.finish(c, job, 20000)

    def test_the_jobmanager_is_killed_and_its_jobs_go_on(self):
        with Cluster(taskmanagers=2, slots=2, snapshot_interval="200ms", heartbeat_interval="200ms") as c:
            job = self.start(c)
            workers = sorted(c.workers())
            c.jobmanager.kill()
            c.start_jobmanager()
            c.wait_state(job, "RUNNING")
            before = c.snapshots(job)
            wait_until(lambda: c.snapshots(job) > before, "a snapshot of the job that was taken back")
            self.assertEqual(sorted(c.workers()), workers)  # the same processes
            self.assertEqual(self.restarts(c, job), 0)
            self.finish(c, job)

    def test_the_jobmanager_stays_away_longer_than_the_leases(self):
        with Cluster(taskmanagers=2, slots=2, snapshot_interval="200ms", heartbeat_interval="100ms", lease="1s", heartbeat_timeout="1s") as c:
            job = self.start(c)
            c.workers()
            c.jobmanager.kill()
            wait_until(lambda: not c.workers(), "workers end when their leases are over")
            c.start_jobmanager()
            self.finish(c, job)

    def test_jobmanager_and_a_taskmanager_are_killed_together(self):
        with Cluster(taskmanagers=3, slots=2, snapshot_interval="200ms", heartbeat_interval="200ms", lease="2s", heartbeat_timeout="2s") as c:
            job = self.start(c)
            c.workers()
            c.jobmanager.kill()
            c.taskmanagers[1].kill()
            c.start_jobmanager()
            self.finish(c, job)

    def test_a_taskmanager_is_silent_and_comes_back(self):
        with Cluster(taskmanagers=3, slots=2, snapshot_interval="200ms", heartbeat_interval="200ms", lease="1s", heartbeat_timeout="1s") as c:
            job = self.start(c)
            tm = c.taskmanagers[0]
            stopped = [tm.pid, *c.workers(tm)]
            for pid in stopped:
                os.kill(pid, signal.SIGSTOP)
            self.after(c, job, 0, "the silence to be noticed")
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
            # The zombies end themselves, and the TaskManager is welcome again.
            wait_until(lambda: not any(kit.cluster.alive(pid) for pid in stopped[1:]), "workers of a lost lease end")
            wait_until(lambda: len(c.json("taskmanagers")) == 3, "it registers again")
            self.finish(c, job)

    def test_a_worker_is_silent(self):
        """Its TaskManager lives: the lease alone fences it."""
        with Cluster(taskmanagers=2, slots=2, snapshot_interval="200ms", heartbeat_interval="200ms", lease="1s", heartbeat_timeout="1s",
                     hang_timeout="1s") as c:
            job = self.start(c)
            worker = c.workers(c.taskmanagers[0])[0]
            os.kill(worker, signal.SIGSTOP)
            self.after(c, job, 0, "the worker that hangs to be noticed")
            self.assertFalse(kit.cluster.alive(worker))
            self.finish(c, job)

    def test_the_disk_of_a_taskmanager_hangs(self):
        """In the middle of the files of a job, which are written into a pipe that nobody reads. What runs there goes on."""
        with Cluster(taskmanagers=1, slots=4, snapshot_interval="200ms", heartbeat_interval="200ms", lease="1s", heartbeat_timeout="1s",
                     hang_timeout="3s") as c:
            job, tm = self.start(c, 2, 2 * RECORDS), c.taskmanagers[0]
            another = c.build("another", CRASHES)
            with open(another, "rb") as file:
                digest = hashlib.sha256(file.read()).hexdigest()
            os.mkfifo(c.path(f"tm0/blobs/{digest}.part"))
            late = c.submit(another, "--restart", "none")
            waits = wait_until(lambda: self.disk_waits(tm) > 0 and self.disk_waits(tm), "it tells that its disk hangs")
            self.assertLess(waits, 3600)
            before = c.snapshots(job)
            c.wait_state(late, "FAILED")
            self.expect(c.weir("why", late), 0, "disk of TaskManager tm0 has not answered for [3-9][0-9]* s; " + c.path("tm0"))
            wait_until(lambda: c.snapshots(job) > before, "snapshots of the other job go on")
            self.assertEqual(self.restarts(c, job), 0)
            tm.signal(signal.SIGTERM)  # it ends, though its disk still hangs, and its workers with it
            self.assertEqual(tm.popen.wait(kit.cluster.PATIENCE), 0)
            tm.kill()
            os.unlink(c.path(f"tm0/blobs/{digest}.part"))
            c.start_taskmanager(number=0).ready()
            self.finish(c, job, 2 * RECORDS)

    def disk_waits(self, tm):
        with urllib.request.urlopen(f"http://{tm.behind('http')}/metrics", timeout=30) as answer:
            return float(re.search(r"(?m)^weir_taskmanager_disk_waits_seconds (\S+)$", answer.read().decode()).group(1))

    def test_connections_to_the_jobmanager_are_cut(self):
        with Cluster(snapshot_interval="200ms", heartbeat_interval="200ms", lease="2s", heartbeat_timeout="2s") as c:
            proxies = []
            for _ in range(3):
                proxies.append(Proxy(c.listens))
                c.address = proxies[-1].address
                c.start_taskmanager().ready()
            job = self.start(c, 4, RECORDS, 6000)
            proxies[0].cut()
            self.after(c, job, 0, "a closed connection")
            for direction in ("there", "back"):
                before, at = self.restarts(c, job), int(c.info(job)["workers"][0]["name"][2:])
                proxies[at].stop(direction)
                self.after(c, job, before, f"silence {direction}")
                proxies[at].mend()
                wait_until(lambda: len(c.json("taskmanagers")) == 3, "it registers again")
                c.wait_state(job, "RUNNING", "FINISHED")
            self.finish(c, job)
            for proxy in proxies:
                proxy.close()

    def test_connections_between_taskmanagers_are_cut(self):
        with Cluster(snapshot_interval="200ms", heartbeat_interval="200ms") as c:
            proxies = []
            for i in range(2):
                host = f"127.0.0.{random.randrange(2, 255)}"
                tm = c.start_taskmanager("--host", host).ready()
                proxies.append(Proxy(tm.behind("data").replace(host, "127.0.0.1"), (host, int(tm.behind("data").rsplit(":", 1)[1]))))
            job = self.start(c, 4)
            wait_until(lambda: sum(sum(p.passed.values()) for p in proxies) > 0, "records go through the proxies")
            for proxy in proxies:
                proxy.cut()
            self.after(c, job, 0, "a data connection that breaks")
            self.finish(c, job)
            for proxy in proxies:
                proxy.close()

    def test_a_crash_loop_harms_nobody_else(self):
        with Cluster(taskmanagers=2, slots=2, snapshot_interval="200ms") as c:
            crashing = c.submit(c.build("crashes", CRASHES), "--restart", "fixed", "--restart-delay", "10ms", "--set", "none=file:crashing")
            job = self.start(c, 2)
            before = self.restarts(c, crashing)
            wait_until(lambda: self.restarts(c, crashing) > before + 5, "five more crashes")
            self.assertEqual(self.restarts(c, job), 0)
            self.finish(c, job)
            self.assertEqual(self.restarts(c, job), 0)
            self.assertEqual(c.info(job)["exceptions"], [])
            c.weir("cancel", crashing, code=0)

    def test_a_waiting_job_starts_when_a_taskmanager_comes(self):
        with Cluster(taskmanagers=1, slots=2, snapshot_interval="200ms") as c:
            job = self.start(c, 2)
            waiting = c.submit(c.path("counts.so"), "-n", "waiting", "-p", "2", "--set", "tallies=file:others", "--set",
                               "events=generator:?keys=100&count=1000")
            self.assertEqual(c.state(waiting), "CREATED")
            c.start_taskmanager().ready()
            self.expect(c.weir("wait", waiting), 0)
            self.finish(c, job)

    def test_a_damaged_snapshot_is_named_and_nothing_starts_from_it(self):
        """Nor silently from an older one; that takes somebody's word."""
        with Cluster(taskmanagers=2, slots=1, snapshot_interval="1h") as c:
            counts, kept = c.build("counts", kit.COUNTS), c.path("kept")
            where = ("-p", "2", "--set", "events=generator:?keys=100&splits=8&rate=5000", "--set", "tallies=file:tallies", "--restart-delay", "50ms")
            job = c.submit(counts, *where, "--snapshots", kept)
            c.wait_state(job, "RUNNING")
            for number in (1, 2):
                self.expect(c.weir("snapshot", job), 0, f"snapshot {number} of")
            older, newest = sorted(name for name in os.listdir(kept) if name.endswith(".wman"))
            with open(os.path.join(kept, newest), "rb") as file:
                name = re.findall(rb"s-[0-9a-f-]+-count-\d+\.wst", file.read())[-1].decode()
            with open(os.path.join(kept, name), "r+b") as file:
                file.seek(-100, os.SEEK_END)
                byte = file.read(1)
                file.seek(-100, os.SEEK_END)
                file.write(bytes([byte[0] ^ 1]))
            os.kill(c.workers()[0], signal.SIGKILL)
            c.wait_state(job, "FAILED")
            info = c.info(job)
            self.assertEqual(info["cause"]["code"], "E0601", info)
            self.assertRegex(info["cause"]["text"], re.escape(name) + ".*offset")
            self.expect(c.weir("why", job), 0, "DAMAGED.*" + re.escape(name), "trying again cannot help")
            self.expect(c.weir("submit", counts, *where, "--snapshots", kept), 1, "E0601 DAMAGED.*" + re.escape(name))
            old = os.path.join(kept, older)
            self.expect(c.weir("submit", counts, *where, "--snapshots", kept, "--restore", old), 2, "another folder in --snapshots")
            again = c.submit(counts, *where, "--snapshots", c.path("new"), "--restore", old)
            wait_until(lambda: c.info(again)["snapshots"] is not None, "it begins")
            c.wait_state(again, "RUNNING")
            self.assertEqual(c.json("snapshots", again)["restored"], 1)
            c.weir("cancel", again, code=0)

    def test_all_taskmanagers_are_killed_and_others_come(self):
        with Cluster(taskmanagers=2, slots=2, snapshot_interval="200ms") as c:
            job = self.start(c)
            c.workers()
            for tm in c.taskmanagers:
                tm.kill()
            wait_until(lambda: c.state(job) in ("RESTARTING", "CREATED"), "the job has nowhere to run")
            for i in range(2):
                c.start_taskmanager(number=i)
            self.finish(c, job)

    def test_a_rescale_waits_for_a_taskmanager(self):
        with Cluster(taskmanagers=1, slots=2, snapshot_interval="200ms") as c:
            job = self.start(c, 2)
            got = c.weir("rescale", job, "-p", "3")
            self.assertEqual(got.code, 1, got)
            self.assertIn("E0902 LIMIT", got.err)
            self.assertIn("would need 3 slots, and there are 2", got.err)
            self.assertEqual(c.info(job)["slots"], 2)
            waits = subprocess.Popen([WEIR, "rescale", job, "-p", "3", "--wait"], cwd=c.folder, env=c.env, stdout=subprocess.PIPE)
            try:
                wait_until(lambda: "is to be rescaled" in c.jobmanager.tail(), "the rescale to wait")
                self.assertEqual(c.state(job), "RUNNING")
                c.start_taskmanager().ready()
                self.assertIn(b"parallelism 3", waits.communicate(timeout=60)[0])
                self.assertEqual(waits.returncode, 0)
            finally:
                waits.kill()
                waits.wait()
                waits.stdout.close()
            info = c.info(job)
            self.assertEqual((info["slots"], info["restarts"], info["planned_restarts"]), (3, 0, 1))
            self.finish(c, job)
            self.assertEqual(c.info(job)["exceptions"], [])

    def test_a_job_goes_on_with_the_slots_that_are_left(self):
        with Cluster(taskmanagers=2, slots=1, snapshot_interval="200ms") as c:
            job = self.start(c, 2)
            c.workers()
            c.taskmanagers[0].kill()
            wait_until(lambda: "1 is missing" in c.weir("why", job).out, lambda: f"it waits: {c.weir('why', job).out}")
            self.expect(c.weir("rescale", job, "-p", "2"), 1, "would need 2 slots")
            self.expect(c.weir("rescale", job, "-p", "1"), 0, "parallelism 1")
            self.assertEqual(c.info(job)["slots"], 1)
            self.finish(c, job)

    def test_a_jobmanager_steps_down_for_a_later_one(self):
        with Cluster(taskmanagers=2, slots=2, snapshot_interval="200ms") as c:
            job = self.start(c)
            c.jobmanager.kill()
            shutil.copytree(c.path("jobmanager"), c.path("old"))
            for _ in range(2):  # each leads after the one before
                c.start_jobmanager()
                wait_until(lambda: len(c.json("taskmanagers")) == 2, "the TaskManagers come")
                c.jobmanager.kill()
            os.rename(c.path("jobmanager"), c.path("new"))
            os.rename(c.path("old"), c.path("jobmanager"))
            old = c.start_jobmanager()
            wait_until(lambda: not old.alive(), lambda: f"it ends: {c.logs()}")
            self.assertEqual(old.popen.returncode, 2)
            self.assertIn("obeys a JobManager that leads after this one", old.tail())
            old.kill()
            os.rename(c.path("jobmanager"), c.path("old"))
            os.rename(c.path("new"), c.path("jobmanager"))
            c.start_jobmanager()
            self.finish(c, job)


if __name__ == "__main__":
    kit.main()
