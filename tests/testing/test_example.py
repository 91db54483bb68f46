"""examples/hil works as its README says, by every transport that is here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from offload.blocks import PARAMETERS, needed

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "hil"
README = (EXAMPLE / "README.md").read_text(encoding="utf-8")


def run(place: Path, *arguments: str) -> str:
    """Its tests in a process of their own; what pytest said."""
    command = [sys.executable, "-m", "pytest", "-p", "pytest_nsdata", "-p", "no:cacheprovider"]
    search = f"{ROOT}"  # as installed: the plugin and nsdata, and nothing of tests/
    done = subprocess.run(
        [*command, "-q", "-rs", *arguments], cwd=place, capture_output=True, text=True,
        env={"PYTHONPATH": search, "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The project, copied to where nothing else is."""
    return Path(
        shutil.copytree(EXAMPLE, tmp_path / "hil", ignore=shutil.ignore_patterns(".venv", "__*"))
    )


def test_on_the_model_with_the_test_of_its_readme(copied: Path) -> None:
    [code] = re.findall(r"```python\n(.*?)```", README, re.S)
    (copied / "test_readme.py").write_text(code)
    said = run(copied, "--fpga=model")
    assert "18 passed" in said and "skipped" not in said


def test_on_the_rtl(copied: Path) -> None:
    needed("rtl")
    said = run(copied, f"--fpga=rtl:64,{PARAMETERS}")
    assert "17 passed" in said and "skipped" not in said


@pytest.mark.skipif(not os.environ.get("NSDATA_FULL"), reason="builds a block: NSDATA_FULL=1")
def test_a_killed_simulator(copied: Path) -> None:
    needed("cocotb")
    said = run(copied, f"--fpga=cocotb:64,{PARAMETERS}", "-k", "dies or silent or SEU")
    assert "3 passed" in said


def test_the_capture_is_what_its_script_writes(tmp_path: Path) -> None:
    path = tmp_path / "traffic.pcap"
    subprocess.run([sys.executable, EXAMPLE / "make_traffic.py", path], check=True)
    assert path.read_bytes() == (EXAMPLE / "traffic.pcap").read_bytes()


def test_its_modules_are_called_like_no_other_test() -> None:
    """pytest collects both without packages, by name."""
    mine = {path.name for path in EXAMPLE.glob("test_*.py")}
    assert mine and not mine & {path.name for path in (ROOT / "tests").rglob("test_*.py")}


def test_the_readme_names_what_is_there() -> None:
    for name in re.findall(r"^\| `([^`]+)` \|", README, re.M):
        assert (EXAMPLE / name).is_file()
    for kind in ("model", "rtl", "cocotb", "pcie:"):
        assert f".venv/bin/pytest --fpga={kind}" in README
    assert '"$NSDATA[testing,sim]"' in README
