"""The scenarios that ship: all expectations hold, and two runs are alike to the byte."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from scenes import ROOT, SHIPPED

from nsdata.fallback.reasons import Reason, State
from nsdata.scenario.files import VIRTUAL_ENDINGS
from nsdata.scenario.real import run as run_real
from nsdata.scenario.scenario import load

REAL = ("01-crash-recovered", "05-fpga", "10-corrupt-answers")


def play(path: Path, out: Path, seed: str) -> None:
    """In a process of its own, with hashes of its own."""
    done = subprocess.run(
        [sys.executable, "-c", "from nsdata.cli import main; main()", "scenario", "run", str(path),
         "--out", str(out), "--quiet"],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_two_runs_are_alike_and_all_holds(path: Path, tmp_path: Path) -> None:
    for seed in ("1", "2"):
        play(path, tmp_path / seed, seed)
    for ending in VIRTUAL_ENDINGS:
        one, other = ((tmp_path / seed / f"{path.stem}.{ending}") for seed in "12")
        assert one.stat().st_size > 0
        assert one.read_bytes() == other.read_bytes(), ending


def test_there_are_twelve_and_each_tells_a_story() -> None:
    assert len(SHIPPED) == 12
    for path in SHIPPED:
        assert "What one learns:" in path.read_text().partition("\ntitle =")[0], path
        assert load(path).file.title


def test_all_eight_reasons_arise() -> None:
    """Each is expected of one at least; that what is expected holds is shown above."""
    found = {one.reason for path in SHIPPED for one in load(path).file.expect
             if one.state is State.FALLBACK and one.reason}  # fmt: skip
    assert found == set(Reason)


@pytest.mark.parametrize("name", REAL)
def test_the_same_file_holds_on_real_processes(name: str) -> None:
    path = next(one for one in SHIPPED if one.stem == name)
    result = run_real(load(path))
    assert result.ok, [one for one in result.verdicts if not one.ok]
    assert not any(one.skipped for one in result.verdicts if one.number < 0)
