"""Rows of ./dev bench about a cluster of real processes: how soon a job that is submitted has its first record, what idle processes
need, how soon there is new output after kill -9 of a TaskManager."""
import os
import re
import socket
import struct
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests/cluster"))
import cluster  # noqa: E402
from cluster import Failed as ClusterFailed  # noqa: E402, F401 (for bench/run)

ENTRY_BYTES = 64
PATIENCE_S = 120
IDLE_S = 10
CPU_MOST = 0.005  # of one processor


class Port:
    """Numbers of records, as bench/failover.c sends them."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self.socket.bind(("127.0.0.1", 0))
        self.number = self.socket.getsockname()[1]
        self.old = set()  # processes whose records do not count any more

    def next(self, seconds):
        """None: nothing came in time."""
        self.socket.settimeout(max(seconds, 0.000001))
        try:
            number, pid = struct.unpack("=QQ", self.socket.recv(16))
            return None if pid in self.old else number
        except (TimeoutError, BlockingIOError):
            return None

    def drain(self):
        most, got = 0, 0
        while got is not None:
            most, got = max(most, got), self.next(0)
        return most

    def until(self, done, what):
        """Greatest number seen when done(it) is true."""
        most, end = 0, time.monotonic() + PATIENCE_S
        while not done(most):
            got = self.next(0.01)
            most = max(most, got if got is not None else 0)
            if time.monotonic() > end:
                raise RuntimeError(f"{what}: not within {PATIENCE_S} s")
        return most


def cluster_of(weir, **more):
    cluster.WEIR = weir
    return cluster.Cluster(**more)


def submit(weir, pipeline, rounds):
    """From the start of `weir submit` to the first record that has gone through; a new job each time."""
    values, port = [], Port()
    with cluster_of(weir, taskmanagers=2, slots=1) as c:
        for _ in range(2 * rounds):
            begin = time.monotonic()
            job = c.submit(pipeline, "-p", "2", "--set", "events=generator:?rate=100000", "--", f"port={port.number}")
            if port.next(PATIENCE_S) is None:
                raise RuntimeError(f"no record within {PATIENCE_S} s: {c.logs()}")
            values.append(time.monotonic() - begin)  # the command has returned by then, too
            c.weir("cancel", job, code=0)
            port.drain()
    return values


def written(path, c, job):
    """What a sink writes when it ends."""
    try:
        cluster.wait_until(lambda: os.path.exists(path), f"{path} to be written", PATIENCE_S)
    except ClusterFailed as why:
        raise RuntimeError(f"{why}; {c.weir('logs', job).out[-1000:]}")
    c.wait_state(job, "FINISHED", seconds=PATIENCE_S)
    with open(path, encoding="ascii") as file:
        return file.read()


def query(weir, pipeline, build, args):
    """One line with the seconds of the reference query on two TaskManagers of one slot; they share a clock in a file."""
    with tempfile.TemporaryDirectory(prefix="query-", dir=build) as folder, cluster_of(weir, taskmanagers=2, slots=1) as c:
        meter = os.path.join(folder, "meter")
        with open(meter, "wb") as file:
            file.truncate(4096)
        job = c.submit(pipeline, "-p", "2", "--", f"meter={meter}", *(f"{k}={v}" for k, v in args.items()))
        return written(meter + ".txt", c, job)


def latency(weir, pipeline, build, rate, seconds):
    with tempfile.TemporaryDirectory(prefix="latency-", dir=build) as folder, cluster_of(weir, taskmanagers=2, slots=1) as c:
        out = os.path.join(folder, "out")
        job = c.submit(pipeline, "--", f"rate={rate}", f"seconds={seconds}", f"out={out}")
        return written(out, c, job)


def seconds_of(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        return int(re.search(r"VmRSS:\s+(\d+) kB", file.read())[1]) * 1024


def idle(weir, which, failed):
    """Resident bytes of a JobManager, or of a TaskManager, in a cluster of two that has nothing to do."""
    with cluster_of(weir, taskmanagers=2, slots=2) as c:
        time.sleep(2)  # what starting costs is not idling
        pid = c.jobmanager.pid if which == "jm" else c.taskmanagers[0].pid
        before, begin = seconds_of(pid), time.monotonic()
        time.sleep(IDLE_S)
        share = (seconds_of(pid) - before) / (time.monotonic() - begin)
        print(f"{'':18} idle-rss-{which}: {share * 100:.2f} % of a processor while idle, at most {CPU_MOST * 100} %")
        if share > CPU_MOST:
            raise failed(f"it needs {share * 100:.2f} % of a processor while idle")
        return [resident(pid)]


def newest(folder):
    return max((name for name in os.listdir(folder) if name.startswith("m-") and name.endswith(".wman")), default="") if os.path.isdir(folder) else ""


def failover(weir, pipeline, build, slots, state_bytes, rounds, rate=300_000):
    """From kill -9 of a TaskManager to the first record that had not come out before; another one has spare slots."""
    keys, port, times = state_bytes // ENTRY_BYTES, Port(), []
    with tempfile.TemporaryDirectory(prefix="failover-", dir=build) as folder, cluster_of(weir, taskmanagers=2, slots=slots) as c:
        kept = os.path.join(folder, "kept")

        def start(rate):
            return c.submit(pipeline, "-p", slots, "--set", f"events=generator:?splits={slots}" + (f"&rate={rate}" if rate else ""),
                            "--snapshots", kept, "--snapshot-interval", "1s", "--restart", "fixed", "--restart-delay", "1ms", "--",
                            f"keys={keys}", f"port={port.number}")
        job = start(0)
        port.until(lambda most: most >= keys, "every key to be met")
        c.weir("stop", job, "--timeout", "120s", code=0)
        job = start(rate)
        port.drain()
        for _ in range(rounds):
            most = 0
            for _ in range(2):  # the first one after a start is full, and long: the second one leaves little behind it
                before = newest(kept)
                most = max(most, port.until(lambda _, before=before: newest(kept) > before, "a snapshot"))
            workers = c.workers()
            victim = next(i for i, tm in enumerate(c.taskmanagers) if c.workers(tm))
            c.taskmanagers[victim].kill()
            killed = time.monotonic()
            end = killed + 0.002  # what was on its way
            while time.monotonic() < end:
                most = max(most, port.next(0.001) or 0)  # also of the one that lives on
            port.old.update(workers)  # one of them lives on for a moment
            port.until(lambda n, most=most: n > most, "new output")
            times.append(time.monotonic() - killed)
            c.start_taskmanager(number=victim).ready()
        c.weir("cancel", job, code=0)
    return times
