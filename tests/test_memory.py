"""Peak memory does not grow with the length of a capture."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
import nsdata
nsdata.replay(sys.argv[1], sys.argv[2], eve="/dev/null", loops=int(sys.argv[3]))
with open("/proc/self/status") as status:
    print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""


def peak_kib(capture: Path, rules: Path, loops: int) -> int:
    words = [sys.executable, "-c", PROGRAM, str(capture), str(rules), str(loops)]
    return int(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read in /proc")
def test_peak_memory_does_not_grow_with_the_capture(root: Path, office: Path) -> None:
    rules = root / "demo" / "demo.rules"
    once = peak_kib(office, rules, 2)
    long = peak_kib(office, rules, 100)
    assert long - once < 12 * 1024, f"{once} KiB for 2 loops, {long} KiB for 100"
