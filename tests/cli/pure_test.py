"""The machines that decide (jobmanager/core_*.c) call nothing but each other: neither clock nor file, thread, allocator or log. The linker's
view of their objects proves it. Arguments: the object files."""
import subprocess
import sys

ALLOWED = {"memcpy", "memset", "memcmp", "memmove", "__memcpy_chk", "__memset_chk", "__memmove_chk", "__stack_chk_fail",
           "_GLOBAL_OFFSET_TABLE_", "wr_check_failed",
           "wr_fail", "wr_err_reaction"}  # words into the caller's memory; a table

objects = [path for path in sys.argv[1:] if "/jobmanager/core_" in path]
if not objects:
    sys.exit("no object of jobmanager/core_*.c")


def names(option, path):
    lines = subprocess.run(["nm", option, path], capture_output=True, check=True, text=True).stdout.splitlines()
    return {line.split()[-1] for line in lines}


wrong = 0
own = set().union(*(names("--defined-only", path) for path in objects))
for path in objects:
    for name in sorted(names("-u", path) - ALLOWED - own):
        print(f"{path}: calls {name}")
        wrong += 1
sys.exit(wrong != 0)
