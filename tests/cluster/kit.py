"""What the scenario tests share."""
import os
import sys
import unittest

import cluster
from cluster import Cluster, Failed, wait_until  # noqa: F401 (for the tests)

HEAD = """#include <weir/pipeline.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
"""
# One record per key and number, throttled by rate; the state makes each record's number within its key.
COUNTS = HEAD + """
WEIR_RECORD(event, (uint64_t, n), (uint64_t, user))
WEIR_RECORD(tally, (uint64_t, user), (uint64_t, n), (uint64_t, nth))
WEIR_STATE(counter, (uint64_t, nth))
WEIR_KEYED(count, event, in, counter, state, tally, out)
{
    tally_emit(out, (tally){.user = in->user, .n = in->n, .nth = ++state->nth});
}
WEIR_PIPELINE(counts, p)
{
    event_stream events = weir_source(event, p, "generator:?keys=100&rate=5000", .name = "events");
    weir_sink(weir_apply(count, weir_key_by(events, user)), "file:tallies", .name = "tallies");
}
"""


class Case(unittest.TestCase):
    maxDiff = 4000

    def expect(self, got, code, *patterns):
        self.assertEqual(got.code, code, got)
        for pattern in patterns:
            self.assertRegex(got.err + got.out, pattern, got)
        return got


def threads(pid):
    """The names of a process's threads, in order."""
    found = []
    for number in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{number}/comm", encoding="utf-8") as file:
                found.append(file.read().strip())
        except (FileNotFoundError, ProcessLookupError):  # it has just ended: the kernel's come and go
            pass
    return sorted(found)


def lines_of(folder):
    """All lines of the finished files of a file sink."""
    found = []
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        if not name.startswith("."):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                found += file.read().splitlines()
    return found


def check_counts(case, folder, records):
    """Each record once, and each key's chain of numbers without a gap: nothing lost, nothing twice."""
    rows = [tuple(map(int, line.split(","))) for line in lines_of(folder)]
    case.assertEqual(sorted(n for _, n, _ in rows), list(range(records)))
    chain = {}
    for user, _, nth in sorted(rows, key=lambda row: (row[0], row[2])):
        case.assertEqual(nth, chain.get(user, 0) + 1, f"key {user}")
        chain[user] = nth


def main():
    if not os.access(cluster.WEIR, os.X_OK):
        sys.exit(f"there is no program {cluster.WEIR}; set WEIR")
    unittest.main(verbosity=2)
