#!/usr/bin/env python3
"""From kill -9 to the first new output: seconds, of a job with STATE_BYTES of keyed state on all of its processors.

The process is killed when a snapshot has just completed, so that next to nothing is read again: what remains is to start,
to check and load the state, and to go on. "New" is a record that had not come out before."""
import argparse
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ENTRY_BYTES = 64
PATIENCE_S = 120


class Run:
    def __init__(self, weir, pipeline, folder, slots, keys, rate):
        source = f"events=generator:?splits={slots}" + (f"&rate={rate}" if rate else "")
        self.argv = [weir, "run", pipeline, "-q", "-p", str(slots), "--set", source, "--snapshots", folder,
                     "--snapshot-interval", "1s", "--", f"keys={keys}"]
        self.process = subprocess.Popen(self.argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def next(self):
        """The next number that was printed."""
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{' '.join(self.argv)} ended: {self.process.stderr.read().strip()[-500:]}")
        return int(line.split(",")[0])

    def until(self, done):
        most = 0
        end = time.monotonic() + PATIENCE_S
        while not done(most):
            most = max(most, self.next())
            if time.monotonic() > end:
                raise RuntimeError(f"{' '.join(self.argv)} did not come so far within {PATIENCE_S} s")
        return most

    def kill(self):
        """What had come out by then."""
        self.process.kill()
        rest = self.process.stdout.read()
        self.process.wait()
        return max([int(line.split(",")[0]) for line in rest.split() if re.fullmatch(r"\d+,\d+", line)], default=0)

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.stdout.read()
        if self.process.wait() != 0:
            raise RuntimeError(self.process.stderr.read().strip()[-500:])


def newest(folder):
    return max((name for name in os.listdir(folder) if name.startswith("m-") and name.endswith(".wman")), default="")


def measure(weir, pipeline, build, slots, state_bytes, rounds, rate=300_000):
    keys = state_bytes // ENTRY_BYTES
    with tempfile.TemporaryDirectory(prefix="recovery-", dir=build) as folder:
        filling = Run(weir, pipeline, folder, slots, keys, 0)
        filling.until(lambda most: most >= keys)  # every key has been met, give or take a batch
        filling.stop()
        times = []
        run = Run(weir, pipeline, folder, slots, keys, rate)
        run.until(lambda most: most > 0)
        for _ in range(rounds):
            most = 0
            for _ in range(2):  # the first one after a start is full, and long: the second one leaves little behind it
                before = newest(folder)
                most = max(most, run.until(lambda most: newest(folder) > before))
            most = max(most, run.kill())
            killed = time.monotonic()
            run = Run(weir, pipeline, folder, slots, keys, rate)
            run.until(lambda n: n > most)
            times.append(time.monotonic() - killed)
        run.stop()
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weir", default=os.path.join(HERE, "../build/release/weir"))
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--state-mb", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="recovery-", dir=os.environ.get("TMPDIR", "/tmp")) as build:
        pipeline = os.path.join(build, "recovery.so")
        subprocess.run([options.weir, "build", "-q", os.path.join(HERE, "recovery.c"), "-o", pipeline], check=True)
        times = measure(options.weir, pipeline, build, options.slots, options.state_mb << 20, options.rounds)
    print(f"recovery median {statistics.median(times):.3f} s maximum {max(times):.3f} s of {len(times)}")


if __name__ == "__main__":
    sys.exit(main())
