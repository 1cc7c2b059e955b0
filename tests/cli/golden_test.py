"""A snapshot folder and a savepoint of format version 1: restored, read, damaged, and taken over by changed pipelines."""
import json
import os
import platform
import random
import re
import shutil
import subprocess
import tarfile
import unittest

from kit import SANITIZED, WEIR, Case, Result, main

KEPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "snapshot1")
SINKS = ("stories", "rings", "minutes", "sittings", "booked")
PLACES = int(os.environ.get("WEIR_PLACES", "4" if SANITIZED else "40"))  # that are damaged, in each file


def lines_of(folder):
    """What a reader of the folder sees."""
    found = []
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        if not name.startswith("."):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                found += file.read().splitlines()
    return found


def kept(name):
    with open(os.path.join(KEPT, name), encoding="utf-8") as file:
        return file.read().splitlines()


class Golden(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.number = 0
        os.mkdir(cls.path("runtime"), 0o700)
        os.environ["XDG_RUNTIME_DIR"] = cls.path("runtime")
        shutil.copy(os.path.join(KEPT, "diary-x86-64.so"), cls.path("diary.so"))

    def setUp(self):
        type(self).number += 1
        self.place = self.path(f"copy-{self.number}")
        self.copy()

    def copy(self):
        """The folder as it was when the job was killed."""
        shutil.rmtree(self.place, ignore_errors=True)
        os.makedirs(os.path.join(self.place, "again"))
        with tarfile.open(os.path.join(KEPT, "folders.tar.gz")) as tar:
            tar.extractall(self.place)
        for name in ("visits.csv", "charges.csv"):
            shutil.copy(os.path.join(KEPT, name), self.place)

    def here(self, *args, timeout=300):
        done = subprocess.run([WEIR, *map(str, args)], capture_output=True, timeout=timeout, cwd=self.place, check=False)
        return Result(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))

    def run_on(self, *more, pipeline="../diary.so", p=2):
        return self.here("run", pipeline, "-p", p, "--snapshots", "snapshots", "--snapshot-interval", "1h", *more)

    def results(self, sinks=SINKS, out="out"):
        for sink in sinks:
            self.assertEqual(sorted(lines_of(os.path.join(self.place, out, sink))), kept(f"expected/{sink}"), sink)

    def variant(self, name, *changes):
        """A pipeline of the kept source, in which each (old, new) is replaced."""
        with open(os.path.join(KEPT, "diary.c"), encoding="utf-8") as file:
            text = file.read()
        for old, new in changes:
            self.assertIn(old, text)
            text = text.replace(old, new)
        return "../" + self.build(name, text)


@unittest.skipUnless(platform.machine() == "x86_64", "the kept binary is for x86-64")
class Restored(Golden):
    def test_goes_on_at_any_parallelism(self):
        for p in (1, 2, 3):
            with self.subTest(p=p):
                self.copy()
                before = {sink: len(lines_of(os.path.join(self.place, "out", sink))) for sink in SINKS}
                self.expect(self.run_on(p=p), 0, "diary goes on from snapshot 2 in snapshots")
                self.results()
                self.assertTrue(all(0 < before[sink] < len(kept(f"expected/{sink}")) for sink in SINKS), before)
                self.expect(self.run_on(p=p), 0, "diary has finished")

    def test_from_the_savepoint(self):
        # What it has seen of the input is not given again: together with what was finished by then it is everything.
        for p in (1, 2, 3):
            with self.subTest(p=p):
                self.copy()
                sets = [word for sink in SINKS for word in ("--set", f"{sink}=file:again/{sink}")]
                got = self.here("run", "../diary.so", "-p", p, "--snapshots", "new", "--snapshot-interval", "1h", "--restore",
                                "savepoint", *sets)
                self.expect(got, 0, "diary goes on from")
                for sink in SINKS:
                    lines, all_lines = lines_of(os.path.join(self.place, "again", sink)), kept(f"expected/{sink}")
                    self.assertTrue(0 < len(lines) < len(all_lines), sink)
                    rest = sorted(all_lines)
                    for line in lines:
                        rest.remove(line)
                    finished = lines_of(os.path.join(self.place, "out", sink))
                    self.assertEqual(len(set(finished) - set(rest)), 0, sink)

    def test_an_older_snapshot_in_a_new_folder(self):
        manifests = sorted(n for n in os.listdir(os.path.join(self.place, "snapshots")) if n.endswith(".wman"))
        sets = [word for sink in SINKS for word in ("--set", f"{sink}=file:again/{sink}")]
        got = self.here("run", "../diary.so", "-p", "3", "--snapshots", "new", "--restore", f"snapshots/{manifests[0]}", *sets)
        self.expect(got, 0, "diary goes on from snapshot 1 ")

    def test_read_without_the_pipeline(self):
        for what in ("snapshots", "savepoint"):
            got = self.expect(self.here("state", what, "dump"), 0)
            self.assertEqual(sorted(got.out.splitlines()), sorted(kept(f"{what}.json")))
            for line in got.out.splitlines():
                json.loads(line)
        got = self.here("restore", "snapshots", "../diary.so", "--check")
        self.expect(got, 0)
        self.assertRegex(got.out, r"(?m)^ +same +remember +2 -> ")


@unittest.skipUnless(platform.machine() == "x86_64", "the kept binary is for x86-64")
class Damaged(Golden):
    def tree(self):
        """All files but those that only say that there was a start."""
        return {os.path.join(root, n): (os.stat(os.path.join(root, n)).st_size, os.stat(os.path.join(root, n)).st_mtime_ns)
                for root, _, names in os.walk(self.place) for n in names if n not in ("lock", "journal")}

    def damage(self, name, whole, rng, i):
        """Truncated or with one bit changed; what was done."""
        at = rng.randrange(len(whole))
        broken = bytearray(whole)
        if i % 2 == 0:
            del broken[at:]
            what = f"{name} cut at {at}"
        else:
            broken[at] ^= 1 << rng.randrange(8)
            what = f"{name} changed at {at}"
        with open(os.path.join(self.place, name), "wb") as file:
            file.write(broken)
        return what

    def each(self, names, command, pattern):
        rng = random.Random(1)
        for name in names:
            path = os.path.join(self.place, name)
            with open(path, "rb") as file:
                whole = file.read()
            for i in range(PLACES):
                what = self.damage(name, whole, rng, i)
                before = self.tree()
                got = command()
                self.assertIn(got.code, (1, 7), (what, got))
                self.assertRegex(got.err, pattern(os.path.basename(name)), (what, got))
                self.assertEqual(self.tree(), before, (what, got))
            with open(path, "wb") as file:
                file.write(whole)

    @staticmethod
    def named(name):
        return rf"error\[E0601 DAMAGED\]: .*{re.escape(name)}.*offset \d+"

    def test_snapshots(self):
        folder = os.path.join(self.place, "snapshots")
        newest = max(n for n in os.listdir(folder) if n.endswith(".wman"))
        states = sorted(n for n in os.listdir(folder) if n.endswith(".wst"))
        self.assertEqual(len(states), 20)
        # All files of an operator with every kind of cell, full and increment; of the others those of one subtask.
        states = [n for n in states if "-remember-" in n or n.endswith("-1.wst")]
        self.each([f"snapshots/{n}" for n in [newest, *states]], self.run_on, self.named)
        self.expect(self.run_on(), 0)
        self.results()

    def test_savepoint(self):
        names = sorted(os.listdir(os.path.join(self.place, "savepoint")))
        self.assertEqual(len(names), 6)
        self.each([f"savepoint/{n}" for n in names],
                  lambda: self.here("run", "../diary.so", "-p", "2", "--snapshots", "new", "--restore", "savepoint"), self.named)

    def test_missing_files(self):
        for name in sorted(os.listdir(os.path.join(self.place, "snapshots"))):
            if not name.endswith(".wst"):
                continue
            path = os.path.join(self.place, "snapshots", name)
            os.rename(path, path + ".away")
            got = self.run_on()
            self.assertNotEqual(got.code, 0, name)
            self.assertIn(name, got.err)
            os.rename(path + ".away", path)

    def test_journal(self):
        """Its end may be torn, which costs nothing; anything else is named. No way leads to other results."""
        path = os.path.join(self.place, "snapshots", "journal")
        with open(path, "rb") as file:
            whole = file.read()
        rng = random.Random(2)
        refused = 0
        for i in range(PLACES):
            self.copy()
            what = self.damage("snapshots/journal", whole, rng, i)
            before = self.tree()
            got = self.run_on()
            if got.code == 0:
                self.results()
                continue
            refused += 1
            self.assertRegex(got.err, r"error\[E0\d\d\d \w+\]: .*(journal|snapshots)", (what, got))
            self.assertEqual(self.tree(), before, (what, got))
        self.assertGreater(refused, 0)


class Changed(Golden):
    """The same snapshot, other pipelines: what docs/snapshots.md and docs/api.md promise."""

    def test_built_anew(self):
        self.expect(self.run_on(pipeline=self.variant("anew")), 0, "goes on from snapshot 2")
        self.results()

    def test_an_operator_more(self):
        so = self.variant("more", ("WEIR_PIPELINE(diary, p)",
                                   "WEIR_STATE(much, (uint64_t, n))\n"
                                   "WEIR_KEYED(tell, visit, in, much, st, nth, out) { nth_emit(out, (nth){ in->ms, ++st->n }); }\n"
                                   "WEIR_PIPELINE(diary, p)"),
                          ('    weir_sink(weir_apply(wind, visits)',
                           '    weir_sink(weir_apply(tell, visits), "file:out/told", .name = "told");\n    weir_sink(weir_apply(wind, visits)'))
        got = self.here("restore", "snapshots", so, "--check")
        self.expect(got, 0)
        self.assertRegex(got.out, r"(?m)^ +new +tell ")
        self.expect(self.run_on(pipeline=so), 0)
        self.results()
        self.assertGreater(len(lines_of(os.path.join(self.place, "out", "told"))), 0)

    REMOVED = [('    weir_sink(weir_apply(wind, visits), "file:out/rings", .name = "rings");\n', "")]

    def test_an_operator_less(self):
        so = self.variant("less", *self.REMOVED)
        before = len(lines_of(os.path.join(self.place, "out", "rings")))
        self.error(self.run_on(pipeline=so), 7, 603, "STATE", "'wind'", "--allow-non-restored-state")
        self.expect(self.run_on("--allow-non-restored-state", pipeline=so), 0)
        self.results(s for s in SINKS if s != "rings")
        self.assertLessEqual(before, len(lines_of(os.path.join(self.place, "out", "rings"))))

    def test_another_uid(self):
        so = self.variant("uid", ("weir_apply(book, weir_key_by(charges, account))",
                                  'weir_apply(book, weir_key_by(charges, account), .uid = "ledger")'))
        self.error(self.run_on(pipeline=so), 7, 603, "STATE", "'book'", "--allow-non-restored-state")
        got = self.here("restore", "snapshots", so, "--check")
        self.assertEqual(got.code, 7, got)
        self.assertRegex(got.out, r"(?m)^ +missing +book ")
        self.assertRegex(got.out, r"(?m)^ +new +ledger ")
        self.expect(self.run_on("--allow-non-restored-state", pipeline=so), 0)
        self.results(s for s in SINKS if s != "booked")
        booked = lines_of(os.path.join(self.place, "out", "booked"))
        self.assertEqual(len(booked), len(kept("expected/booked")))
        self.assertNotEqual(sorted(booked), kept("expected/booked"), "its numbers began anew")

    def test_fields_come_go_and_grow(self):
        changes = {
            "added": [("(uint32_t, n), (int64_t, cents))", "(weir_text, note), (uint32_t, n), (int64_t, cents), (double, more))")],
            "removed": [("WEIR_STATE(account, (uint32_t, n), (int64_t, cents))", "WEIR_STATE(account, (uint32_t, n))"),
                        ("    st->cents += in->cents;\n", "")],
            "wider": [("WEIR_STATE(account, (uint32_t, n)", "WEIR_STATE(account, (uint64_t, n)"),
                      ("WEIR_STATE(memory, (uint32_t, visits)", "WEIR_STATE(memory, (uint64_t, visits)"),
                      ("st->visits, weir_text_get(ctx, &st->first)", "(uint32_t)st->visits, weir_text_get(ctx, &st->first)"),
                      ("++st->n}", "(uint32_t)++st->n}"),
                      ("(weir_str, name), (uint32_t, views))", "(weir_str, name), (uint64_t, views))")],
        }
        for name, what in changes.items():
            for p in (1, 3):
                with self.subTest(change=name, p=p):
                    self.copy()
                    so = self.variant(name, *what)
                    got = self.here("restore", "snapshots", so, "--check")
                    self.expect(got, 0)
                    self.assertRegex(got.out, r"(?m)^ +converted +book ")
                    self.expect(self.run_on(pipeline=so, p=p), 0)
                    self.results()

    def test_what_cannot_be_converted_is_named(self):
        refused = {
            "narrower": ("cents", [("(uint32_t, n), (int64_t, cents))", "(uint32_t, n), (int32_t, cents))"),
                                   ("st->cents += in->cents", "st->cents += (int32_t)in->cents")]),
            "float": ("cents", [("(uint32_t, n), (int64_t, cents))", "(uint32_t, n), (double, cents))"),
                                ("st->cents += in->cents", "st->cents += (double)in->cents")]),
            "text": ("known", [("(bool, known)", "(weir_text, known)"), ("!st->known", "st->rings == 0"),
                               ("    st->known = true;\n", "")]),
        }
        for name, (field, what) in refused.items():
            with self.subTest(change=name):
                so = self.variant(name, *what)
                uid = "wind" if field == "known" else "book"
                before = sorted(n for n in os.listdir(os.path.join(self.place, "snapshots")) if n != "lock")
                self.error(self.run_on(pipeline=so), 7, 603, "STATE", uid, field)
                self.error(self.run_on("--allow-non-restored-state", pipeline=so), 7, 603, "STATE", uid, field)
                got = self.here("restore", "snapshots", so, "--check")
                self.assertEqual(got.code, 7, got)
                self.assertRegex(got.out, rf"(?m)^ +refused +{uid} .*{field}")
                after = sorted(n for n in os.listdir(os.path.join(self.place, "snapshots")) if n != "lock")
                self.assertEqual(before, after)
        self.expect(self.run_on(pipeline=self.variant("anew")), 0)
        self.results()

    def test_another_window_needs_another_uid(self):
        old = "weir_apply(per_minute, weir_window(visits, weir_tumbling(WEIR_MINUTE)))"
        so = self.variant("window", (old, old.replace("WEIR_MINUTE", "2 * WEIR_MINUTE")))
        got = self.run_on(pipeline=so)
        self.assertEqual(got.code, 7, got)
        self.assertRegex(got.err, r"error\[E0603 STATE\]: .*per_minute")

    def test_an_upgrade(self):
        so = self.variant("upgrade",
                          ("WEIR_STATE(account, (uint32_t, n), (int64_t, cents))",
                           "WEIR_STATE(account_v1, (uint32_t, n), (int64_t, cents))\n"
                           "WEIR_STATE(account, (weir_text, cents), (uint64_t, booked))\n"
                           "WEIR_UPGRADE(v1, account_v1, old, account, now, ctx)\n{\n    now->booked = old->n;\n"
                           '    weir_text_set(ctx, &now->cents, weir_format(ctx, "%lld", (long long)old->cents));\n}'),
                          ("WEIR_KEYED(book, charge, in, account, st, nth, out)", "WEIR_KEYED(book, charge, in, account, st, nth, out, ctx)"),
                          ("    st->cents += in->cents;\n", "    (void)ctx;\n"),
                          ("++st->n}", "(uint32_t)++st->booked}"),
                          ("weir_apply(book, weir_key_by(charges, account))",
                           "weir_apply(book, weir_key_by(charges, account), .upgrade = { &v1 })"))
        got = self.here("restore", "snapshots", so, "--check")
        self.expect(got, 0)
        self.assertRegex(got.out, r"(?m)^ +upgraded +book ")
        self.expect(self.run_on(pipeline=so, p=3), 0)
        self.results()


if __name__ == "__main__":
    main()
