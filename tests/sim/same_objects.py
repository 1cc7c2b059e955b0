#!/usr/bin/env python3
"""same_objects.py WEIR SIM LIBRARY OBJECT...

The simulator is made of the engine's objects as they are in `weir`: none of its own objects defines a symbol that the
engine defines, and every function of the engine stands in both programs."""
import subprocess
import sys


def defined(path, kinds):
    out = subprocess.run(["nm", "--defined-only", path], check=True, capture_output=True, text=True).stdout
    rows = [line.split() for line in out.splitlines()]
    return {row[-1] for row in rows if len(row) == 3 and row[1] in kinds}


def main():
    weir, sim, library, *objects = sys.argv[1:]
    engine = defined(library, "TDBRVW")
    if len(engine) < 100 or not objects:
        sys.exit(f"{library} defines {len(engine)} symbols, {len(objects)} objects: nothing to compare")
    own = set()
    for path in objects:
        own |= defined(path, "TDBRVW")
    twice = sorted(own & engine)
    if twice:
        sys.exit("defined by the simulator and by the engine: " + " ".join(twice))
    functions = {name for name in defined(library, "T") if name.startswith(("wr_", "weir_"))}
    for program in (weir, sim):
        missing = sorted(functions - defined(program, "TtWwVv"))
        if missing:
            sys.exit(f"{program} lacks functions of the engine: " + " ".join(missing))
    print(f"{len(functions)} functions of the engine in both, none replaced by the {len(own)} symbols of the simulator")


main()
