"""Collect the tests twice and compare: workers that see different tests refuse to run them.

The two runs begin more than a second apart and with different hash seeds, so that neither the clock nor the
order of a set can stand in a test's name.
"""

import difflib
import os
import subprocess
import sys
import time


def begin_collection(hash_seed: int) -> subprocess.Popen[str]:
    """Begin to list the names of all tests, in pytest's order."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "--quiet", "--override-ini", "addopts="]
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def read_names(collection: subprocess.Popen[str]) -> list[str]:
    """Return the names once they are listed."""
    output, complaints = collection.communicate()
    if collection.returncode:
        sys.exit(output + complaints)
    # The last line tells how long it took.
    return output.splitlines()[:-1]


first = begin_collection(1)
time.sleep(1.1)
second = begin_collection(2)
names, again = read_names(first), read_names(second)
if names != again:
    sys.exit("\n".join(difflib.unified_diff(names, again, "first", "second", lineterm="", n=0)))
print(f"the same {len(names)} lines twice")
