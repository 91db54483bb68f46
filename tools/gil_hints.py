"""Fail when Cython says that code of the packet path takes the GIL behind our back.

Cython prints a "performance hint" for a `nogil` function whose exception check needs the
GIL on every call. setup.py is run in a scratch copy (so with its own directives, and
without touching the build), told to make the C of nsdata/path only; any hint, or a stage
that does not compile, makes the exit status 1.

Usage: python tools/gil_hints.py [ROOT]
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HINT = re.compile(r"performance hint: .*GIL")


def hints(root: Path) -> tuple[list[str], int, str]:
    """Every hint about nsdata/path, the exit status of Cython, and what it printed."""
    path = root / "nsdata" / "path"
    modules = sorted(f"path.{source.stem}" for source in path.glob("*.pyx"))
    with tempfile.TemporaryDirectory() as scratch:
        here = Path(scratch)
        shutil.copytree(
            root / "nsdata",
            here / "nsdata",
            ignore=shutil.ignore_patterns("*.so", "*.c", "__pycache__"),
        )
        shutil.copy(root / "setup.py", here)
        run = subprocess.run(
            [sys.executable, "setup.py", "-q", "--name"],
            cwd=here,
            env={**os.environ, "NSDATA_EXT": " ".join(modules), "CYTHON_FORCE_REGEN": "1"},
            capture_output=True,
            text=True,
        )
    output = run.stdout + run.stderr
    return [line for line in output.splitlines() if HINT.search(line)], run.returncode, output


def main() -> int:
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1]).resolve()
    found, status, output = hints(root)
    if status:
        print(output, file=sys.stderr)
        print("gil_hints: nsdata/path does not compile", file=sys.stderr)
        return 1
    for line in found:
        print(line, file=sys.stderr)
    if found:
        print(
            f"gil_hints: {len(found)} place(s) of nsdata/path take the GIL. "
            "Try: declare the function `noexcept nogil`",
            file=sys.stderr,
        )
        return 1
    print("gil_hints: nsdata/path takes the GIL nowhere unasked")
    return 0


if __name__ == "__main__":
    sys.exit(main())
