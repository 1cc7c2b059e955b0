#!/usr/bin/env python3
"""Shows what the demo counted and compares it with what tr, sort and uniq counted. Argument: the demo's folder."""
import csv
import glob
import json
import os
import sys


def counted(folder):
    """The rows of the result: one file, or a folder with a part for each subtask."""
    place = os.path.join(folder, "counts")
    parts = sorted(glob.glob(os.path.join(place, "*"))) if os.path.isdir(place) else [place]
    rows = []
    for part in parts:
        with open(part, newline="", encoding="utf-8", errors="surrogateescape") as file:
            rows += [(word, int(count)) for word, count in csv.reader(file)]
    return rows


def expected(folder):
    counts = {}
    with open(os.path.join(folder, "expected.txt"), encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            count, word = line.split(None, 1)
            counts[word.rstrip("\n")] = int(count)
    return counts


def main():
    folder = sys.argv[1]
    rows, want = counted(folder), expected(folder)
    with open(os.path.join(folder, "run.json"), encoding="utf-8") as file:
        seconds = json.loads(file.read().strip().splitlines()[-1])["seconds"]
    print("== the ten most frequent words")
    for word, count in sorted(rows, key=lambda row: (-row[1], row[0]))[:10]:
        print(f"{count:8d}  {word}")
    equal = len(rows) == len(want) and dict(rows) == want
    words = sum(count for _, count in rows)
    print(f"the full result is in {folder}/counts")
    print(f"{words} records counted in {seconds:.3f} s: {words / seconds:,.0f} records per second")
    print(f"demo words {words} distinct {len(rows)} seconds {seconds:.3f} equal {'yes' if equal else 'no'}")
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
