"""What every test may ask for: the captures of the repo, and the shared ones when present."""

import os
import signal
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def pytest_configure() -> None:
    """Tests see one terminal and one way of interrupting, whatever they are run from: rich draws
    by these variables."""
    os.environ["TERM"] = "xterm"
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"):
        os.environ.pop(name, None)
    # What a shell starts with & ignores it, and all that is started from there.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def captures() -> Path:
    """The captures of the repository (tests/captures; see its README)."""
    return ROOT / "tests" / "captures"


@pytest.fixture(scope="session")
def office(captures: Path) -> Path:
    """The capture recorded by tools/record_demo.py: calm, a burst, calm again."""
    return captures / "office.pcap"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The directory of shared captures, rules and conformance cases, or skip.

    It stands beside the repository as `shared`; the variable NSDATA_SHARED names another place.
    """
    path = Path(os.environ.get("NSDATA_SHARED") or ROOT.parent / "shared")
    if not path.is_dir():
        pytest.skip(f"no shared captures at {path}; NSDATA_SHARED can name another place")
    return path
