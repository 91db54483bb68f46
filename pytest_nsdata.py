"""Pytest plugin: an FPGA block, an engine and captures as fixtures. docs/testing.md has it all.

    pytest --fpga=model|rtl|cocotb|pcie:ADDR

It stands beside the package nsdata, and imports it only when a fixture is used, so that test
runs without one pay nothing. The entry point has this module's name: naming it once more
(`-p pytest_nsdata`, `pytest_plugins`) does no harm.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from nsdata.testing import Capture, Fpga, LoopEngine

DEFAULT = "model"
MARKERS = (
    "capture(path): the capture of the fixture `capture`; beside the test file, or from rootdir",
    "rules(*rules, inline=False, strict=True): rule files (or one text) of the fixture `engine`",
    "settings(*sets): settings of the fixture `engine`, each KEY=VALUE",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--fpga`."""
    group = parser.getgroup("nsdata", "nsdata: hardware in the loop")
    group.addoption(
        "--fpga", metavar="model|rtl|cocotb|pcie:ADDR", default=None,
        help="the block of the fixtures fpga and engine: its golden model (default), the Verilated "
        "RTL in this process, a simulator of its own, or a card",
    )  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """The markers; a transport that is none ends the run before it begins."""
    for line in MARKERS:
        config.addinivalue_line("markers", line)
    if spec := config.getoption("--fpga"):
        from nsdata.testing.fpga import check_spec

        check_spec(spec)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Which block, when one was asked for."""
    spec = config.getoption("--fpga")
    return [f"nsdata: --fpga={spec}"] if spec else []


@pytest.fixture(scope="session")
def _nsdata_fpga(request: pytest.FixtureRequest) -> Iterator[Fpga]:
    """One way to the block for the whole run: a simulator is slow to start."""
    from nsdata.errors import NsdataError
    from nsdata.testing import Fpga

    spec = request.config.getoption("--fpga") or DEFAULT
    try:
        fpga = Fpga(spec)
    except NsdataError as error:
        raise _teaching(f"--fpga={spec} cannot be used here: {error}") from None
    yield fpga
    fpga.close()


@pytest.fixture
def fpga(_nsdata_fpga: Fpga) -> Fpga:
    """The block of `--fpga`, as after power-on (nsdata.testing.Fpga)."""
    _nsdata_fpga.begin()
    return _nsdata_fpga


@pytest.fixture
def engine(request: pytest.FixtureRequest, fpga: Fpga) -> LoopEngine:
    """An engine with that block in the loop (nsdata.testing.LoopEngine).

    `@pytest.mark.rules` names its rules, `@pytest.mark.settings` its settings.
    """
    from nsdata import NsdataError, Settings
    from nsdata.testing import LoopEngine

    marker = request.node.get_closest_marker("rules")
    if marker is None or not marker.args:
        raise _teaching(
            "the fixture engine wants rules: @pytest.mark.rules('my.rules'), or for the whole file "
            "pytestmark = pytest.mark.rules('my.rules')",
        )
    options = dict(marker.kwargs)
    strict = options.pop("strict", True)
    inline = options.pop("inline", False)
    if options:
        raise _teaching(
            f"@pytest.mark.rules: {', '.join(options)} means nothing to it; there are inline and "
            "strict",
        )
    # Those nearest to the test come last, and win.
    sets = [one for m in reversed(list(request.node.iter_markers("settings"))) for one in m.args]
    try:
        made = LoopEngine(
            _rules(request, marker.args), fpga, inline=inline, settings=Settings.load(sets=sets)
        )
    except NsdataError as error:
        raise _teaching(f"the engine of this test cannot be made: {error}") from None
    if strict and made.refused:
        refused = "\n".join(made.refused)
        raise _teaching(
            f"rules were refused (strict=False of @pytest.mark.rules goes on without them):\n"
            f"{refused}",
        )
    return made


@pytest.fixture
def capture(request: pytest.FixtureRequest) -> Capture:
    """The capture `@pytest.mark.capture` names (nsdata.testing.Capture)."""
    from nsdata import NsdataError
    from nsdata.testing import Capture

    marker = request.node.get_closest_marker("capture")
    if marker is None or len(marker.args) != 1 or marker.kwargs:
        raise _teaching(
            "the fixture capture wants one file: @pytest.mark.capture('traffic.pcap')",
        )
    try:
        return Capture(_found(request, marker.args[0], "capture"))
    except NsdataError as error:
        raise _teaching(str(error)) from None


def _rules(request: pytest.FixtureRequest, given: tuple[Any, ...]) -> str | list[Path]:
    """Rule files where they are found, or a text as it is."""
    if len(given) == 1 and isinstance(given[0], str) and ("(" in given[0] or "\n" in given[0]):
        return given[0]
    return [_found(request, one, "rules") for one in given]


def _found(request: pytest.FixtureRequest, name: Any, marker: str) -> Path:
    """A file: beside the test file, else from rootdir."""
    places: list[Path] = [request.path.parent / name, request.config.rootpath / name]
    for path in places:
        if path.is_file():
            return path
    tried = " and ".join(str(path) for path in dict.fromkeys(places))
    raise _teaching(f"@pytest.mark.{marker}({str(name)!r}): no such file; tried {tried}")


def _teaching(text: str) -> BaseException:
    """A failure that is its words alone."""
    return pytest.fail.Exception(text, pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """A test that failed shows state, ledger, transitions and block of its engine."""
    report = yield
    engine: Any = getattr(item, "funcargs", {}).get("engine")
    ours = engine is not None and hasattr(engine, "assert_ledger_balanced")
    if ours and report.when == "call" and report.failed:
        report.sections.append(("nsdata engine", engine.describe()))
    return report
