"""kill -9 at every named step of a snapshot: the step must be reached, and the same command must then end with each
record once. WEIR_FAILPOINT=NAME:N kills the process when it comes to the place for the N-th time."""
import os
import re
import signal
import subprocess

from kit import Case, main
from snapshots_test import chain

# Every place there is, and at which of its visits to die: early ones, when there is no snapshot yet, and later ones.
PLACES = {
    "trigger": (1, 3), "alignment": (1, 4), "barrier": (1, 5), "sync": (2, 7), "async-write": (1, 5), "after-fsync": (1, 4),
    "after-ack": (1, 6), "manifest": (1, 3), "manifest-begin": (1, 3), "manifest-written": (1, 3), "manifest-synced": (1, 3),
    "manifest-renamed": (1, 3), "manifest-durable": (1, 3), "complete": (1, 3), "commit": (1, 3), "retention": (1, 2),
    "sweep": (1, 3), "spare": (1, 3), "recycling": (1, 3), "journal-append": (1, 2), "journal-durable": (1, 2),
    "journal-temp": (1,), "journal-synced": (1,), "journal-renamed": (1,),
}
# Of a JobManager: tests/cluster/failpoints_test.py.
CLUSTER = {"ledger-temp", "ledger-synced", "ledger-renamed", "ledger-append", "ledger-durable", "crash-written", "crash-synced",
           "crash-renamed"}
SAVEPOINT = ("savepoint-file", "savepoint-written", "savepoint-synced", "savepoint-renamed")
COUNT = 60000


def places_in_sources():
    """The names that stand in the engine: a new one must be added above."""
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
    names = set()
    for folder in ("cli", "jobmanager", "taskmanager", "operators", "snapshot", "connectors", "wire"):
        for name in os.listdir(os.path.join(root, folder)):
            if not name.endswith(".c"):
                continue
            with open(os.path.join(root, folder, name), encoding="utf-8") as file:
                text = file.read()
            names.update(re.findall(r'wr_failpoint\("([-a-z]+)"\)', text))
            names.update(re.findall(r'\.(?:written|synced|renamed|durable) = "([-a-z]+)"', text))
    return names


class Failpoints(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        os.mkdir(cls.path("runtime"), 0o700)
        os.environ["XDG_RUNTIME_DIR"] = cls.path("runtime")
        cls.build("chain", chain())

    def args(self, name, rate, slots=2):
        return ["run", "chain.so", "-q", "-p", str(slots), "--set",
                f"events=generator:?count={COUNT}&keys=3000&splits=2&rate={rate}", "--set", f"links=file:{name}-links", "--snapshots", f"{name}-snapshots", "--snapshot-interval", "20ms",
                "--snapshots-keep", "2"]

    def test_every_place_is_here(self):
        self.assertEqual(places_in_sources() - {*PLACES, *SAVEPOINT} - CLUSTER, set(), "places without a test")
        self.assertEqual({*PLACES, *SAVEPOINT, *CLUSTER} - places_in_sources(), set(), "tests without a place")

    def die_at(self, place, visit, slots=2):
        # Slow enough that ten seconds of a slow disk suffice for each place; it dies as soon as it is there.
        name = f"{place}-{visit}-{slots}"
        got = self.weir(*self.args(name, 6000, slots), env={"WEIR_FAILPOINT": f"{place}:{visit}"})
        self.assertEqual(got.code, -signal.SIGKILL, f"{place} was not reached {visit} times: {got}")
        self.again(name)

    def die_in_savepoint(self, place):
        args = self.args(place, 5000)
        run = subprocess.Popen([os.environ["WEIR"], *args], cwd=self.folder, env={**os.environ, "WEIR_FAILPOINT": place})
        self.wait_until(lambda: "RUNNING" in self.weir("list").out or run.poll() is not None, "the job is listed")
        self.expect(self.weir("savepoint", str(run.pid), f"{place}-savepoint"), 3, "UNREACHABLE")
        self.assertEqual(run.wait(timeout=60), -signal.SIGKILL, f"{place} was not reached")
        self.again(place)

    def again(self, name):
        self.expect(self.weir(*self.args(name, 0)), 0)
        numbers = []
        for file in os.listdir(self.path(f"{name}-links")):
            self.assertFalse(file.startswith("."), f"{name}: a file that was never finished")
            for row in self.read(os.path.join(f"{name}-links", file)).split():
                numbers.append(int(row.split(",")[0]))
        self.assertEqual(len(numbers), COUNT, name)
        self.assertEqual(len(set(numbers)), COUNT, name)
        left = subprocess.run([os.environ["WEIR"], *self.args(name, 0)], capture_output=True, cwd=self.folder, check=False)
        self.assertEqual(left.returncode, 0, name)


def add(place, visit, slots=2):
    def test(self):
        self.die_at(place, visit, slots)
    setattr(Failpoints, f"test_{place.replace('-', '_')}_{visit}_{slots}", test)


for place_, visits in PLACES.items():
    for visit_ in visits:
        add(place_, visit_)

# Where a processor is left a thread of its own captures and writes.
for place_ in ("sync", "async-write", "after-fsync", "after-ack", "complete"):
    add(place_, 4, slots=1)

def add_savepoint(place):
    def test(self):
        self.die_in_savepoint(place)
    setattr(Failpoints, f"test_{place.replace('-', '_')}", test)


for place_ in SAVEPOINT:
    add_savepoint(place_)

if __name__ == "__main__":
    main()
