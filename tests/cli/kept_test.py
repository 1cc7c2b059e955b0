"""Pipelines that were built against older headers: they load and run unchanged."""
import os
import platform
import unittest

from kit import Case, main

KEPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "abi1")


@unittest.skipUnless(platform.machine() == "x86_64", "the kept binaries are for x86-64")
class Kept(Case):
    def kept(self, name):
        return os.path.join(KEPT, f"{name}-x86-64.so")

    def test_all_are_accepted(self):
        names = [name for name in sorted(os.listdir(KEPT)) if name.endswith(".so")]
        self.assertEqual(4, len(names))
        for name in names:
            got = self.weir("check", os.path.join(KEPT, name))
            self.assertEqual(0, got.code, (name, got))

    def test_cells_of_all_kinds(self):
        views = b"ada,/home,2\nada,/tea,9\nbob,/home,5\nada,/home,1\nada,/leave,0\nada,/bread,7\nada,/leave,0\n"
        got = self.weir("run", "-q", "-p", "1", self.kept("history"), stdin=views)
        self.assertEqual((0, "ada,/home,/tea,3 views of 2 pages,/tea /home\nada,/bread,/bread,1 views of 1 pages,/bread\n"),
                         (got.code, got.out), got)

    def test_own_source_partitioner_and_sink(self):
        got = self.weir("run", "-q", "-p", "2", self.kept("numbers"), "--", "end=100000")
        self.assertEqual(0, got.code, got)
        lines = [self.read(f"primes-{i}").splitlines() for i in range(2)]
        self.assertEqual([4783, 4809], [len(part) for part in lines])
        self.assertTrue(all(int(n) % 4 == 1 for n in lines[0]) and all(int(n) % 4 != 1 for n in lines[1]))

    def test_outputs_and_dead_letters(self):
        got = self.weir("run", "-q", "-p", "1", self.kept("routed"), "--", "limit=1000",
                        stdin=b"kiln,800\nroof,21\nkiln,1250\nroof,warm\nroof,-300\n")
        self.assertEqual((0, "kiln,800\nroof,21\n"), (got.code, got.out), got)
        self.assertEqual("kiln,1250,1000\n", self.read("alarms"))
        self.assertEqual(["check,colder than anything can be", "readings,field celsius: 'warm' is not a number"],
                         sorted(self.read("bad").splitlines()))

    def test_aggregate_over_one_window(self):
        words = self.write("words.txt", "to be or not to be\n" * 1000)
        got = self.weir("run", "-q", "-p", "2", self.kept("wordcount"), "--set", f"lines=file:{words}", "--set",
                        "result=file:counts")
        self.assertEqual(0, got.code, got)
        folder = self.path("counts")
        parts = [os.path.join(folder, name) for name in os.listdir(folder)] if os.path.isdir(folder) else [folder]
        found = sorted(line for part in parts for line in self.read(os.path.relpath(part, self.folder)).splitlines())
        self.assertEqual(["be,2000", "not,1000", "or,1000", "to,2000"], found)


if __name__ == "__main__":
    main()
