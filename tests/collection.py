"""Collect the tests twice and compare: workers that see different tests refuse to run them.

The two runs begin more than a second apart and with different hash seeds, so that neither the clock nor the
order of a set can stand in a test's name.
"""

import difflib
import os
import subprocess
import sys


def collect_names(hash_seed: int) -> list[str]:
    """Return the names of all tests, in pytest's order."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "--quiet", "--override-ini", "addopts="]
    answer = subprocess.run(
        command,
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode:
        sys.exit(answer.stdout + answer.stderr)
    # The last line tells how long it took.
    return answer.stdout.splitlines()[:-1]


first, second = collect_names(1), collect_names(2)
if first != second:
    sys.exit("\n".join(difflib.unified_diff(first, second, "first", "second", lineterm="", n=0)))
print(f"the same {len(first)} lines twice")
