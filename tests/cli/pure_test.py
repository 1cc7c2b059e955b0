"""The machines that decide (jobmanager/core_*.c) call nothing: neither clock nor file, thread, allocator or log. The linker's
view of their objects proves it. Arguments: the object files."""
import subprocess
import sys

ALLOWED = {"memcpy", "memset", "memcmp", "memmove", "__memcpy_chk", "__memset_chk", "__memmove_chk", "__stack_chk_fail",
           "_GLOBAL_OFFSET_TABLE_", "wr_check_failed"}

objects = [path for path in sys.argv[1:] if "/jobmanager/core_" in path]
if not objects:
    sys.exit("no object of jobmanager/core_*.c")
wrong = 0
for path in objects:
    names = subprocess.run(["nm", "-u", path], capture_output=True, check=True, text=True).stdout.split()
    for name in sorted(set(names) - ALLOWED - {"U"}):
        print(f"{path}: calls {name}")
        wrong += 1
sys.exit(wrong != 0)
