"""kill -9 of the JobManager at every named step of what it writes: the step must be reached, and when it starts again the job ends with
each record once. Whoever was not told that the job was taken submits it again, and it is there once."""
import os
import signal
import threading

import kit
from kit import Cluster, Failed, wait_until

# Places of the JobManager, and at which of its visits to die. Records of the ledger: the job, its attempt, its end.
START = ("ledger-temp", "ledger-synced", "ledger-renamed")
PLACES = {
    "ledger-append": (1, 2, 3), "ledger-durable": (1, 2, 3), "journal-temp": (1,), "journal-renamed": (1,), "journal-append": (1,),
    "journal-durable": (1,), "manifest": (2,), "manifest-begin": (1,), "manifest-written": (2,),
    "manifest-synced": (1,), "manifest-renamed": (1, 3), "manifest-durable": (2,), "complete": (1, 3), "retention": (1,), "sweep": (2,),
}
RECORDS = 8000
CRASHES = kit.HEAD + """
WEIR_RECORD(event, (uint64_t, n))
WEIR_FILTER(check, event, in)
{
    if (in->n == 300) abort();
    return true;
}
WEIR_PIPELINE(crashes, p)
{
    event_stream events = weir_source(event, p, "generator:?rate=1000", .name = "events");
    weir_sink(weir_apply(check, events), "blackhole:", .name = "none");
}
"""


class Failpoints(kit.Case):
    def begin(self, c, place):
        """A JobManager that will die there."""
        c.jobmanager.kill()
        c.env["WEIR_FAILPOINT"] = place
        try:
            return c.start_jobmanager()
        finally:
            del c.env["WEIR_FAILPOINT"]

    def job_of(self, c, request):
        """The job, whether its submit was answered or not."""
        found = [job["id"] for job in c.json("list") if job["job"] == "counts"]
        self.assertLess(len(found), 2)
        return found[0] if found else c.submit(*request)

    def die_at(self, counts, place):
        with Cluster(taskmanagers=2, slots=1, snapshot_interval="50ms") as c:
            jobmanager = self.begin(c, place)
            wait_until(lambda: not jobmanager.alive() or len(c.json("taskmanagers")) == 2, "TaskManagers come back")
            out = os.path.join(c.folder, "tallies")
            request = [counts, "-p", "2", "--set", f"tallies=file:{out}", "--restart-delay", "50ms", "--set",
                       f"events=generator:?keys=100&count={RECORDS}&splits=4&rate=5000"]
            submit = threading.Thread(target=c.weir, args=("submit", "-d", "-q", "--timeout", "10s", *request))
            submit.start()
            wait_until(lambda: not jobmanager.alive(), lambda: f"{place} to be reached; {c.weir('list').out}")
            self.assertEqual(jobmanager.popen.wait(), -signal.SIGKILL)
            submit.join()
            c.start_jobmanager()
            job = self.job_of(c, request)
            self.assertEqual(c.weir("wait", job).code, 0, f"{place}\n{c.weir('info', job).out}\n{c.logs()}")
            kit.check_counts(self, out, RECORDS)

    def test_at_each_place(self):
        with Cluster() as c:
            counts = c.build("counts", kit.COUNTS)
            for place, visits in PLACES.items():
                for visit in visits:
                    with self.subTest(f"{place}:{visit}"):
                        self.die_at(counts, f"{place}:{visit}")

    def test_while_a_crash_report_is_kept(self):
        """All of it is there afterwards, or nothing: the worker that could say it again is gone."""
        with Cluster() as builder:
            crashes = builder.build("crashes", CRASHES)
            for place in ("crash-written", "crash-synced", "crash-renamed"):
                with self.subTest(place), Cluster(taskmanagers=1, slots=1) as c:
                    jobmanager = self.begin(c, f"{place}:1")
                    wait_until(lambda: len(c.json("taskmanagers")) == 1, "the TaskManager comes back")
                    job = c.submit(crashes, "--restart", "none")
                    wait_until(lambda: not jobmanager.alive(), f"{place} to be reached")
                    self.assertEqual(jobmanager.popen.wait(), -signal.SIGKILL)
                    c.start_jobmanager()
                    c.wait_state(job, "FAILED")
                    kept = [job] if place == "crash-renamed" else []
                    self.assertEqual(os.listdir(c.path("jobmanager/crashes")), kept)
                    self.assertEqual("check" in (c.info(job)["report"] or ""), bool(kept))

    def test_while_it_starts(self):
        for place in START:
            with self.subTest(place), Cluster() as c:
                with self.assertRaises(Failed):
                    self.begin(c, place)
                c.jobmanager.kill()
                c.start_jobmanager()
                self.assertEqual(c.json("list"), [])


if __name__ == "__main__":
    kit.unittest.main()
