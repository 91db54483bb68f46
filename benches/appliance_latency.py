"""How long from a cause until all traffic is permitted, by reason, on real processes.

    python benches/appliance_latency.py [--runs 20] [--write]

The cause is brought about at a time of CLOCK_MONOTONIC, the port says at which one it obeyed:
their difference is measured, on whatever else the machine does. `--write` puts the table into
docs/appliance.md.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from box import CAPTURE, Box, many_flows  # noqa: E402

PERMIT = 1  # the port's mode
QUICK = """
"watch.heartbeat-clear" = "300ms"
"watch.stable" = "300ms"
"watch.unknown-clear" = "300ms"
"watch.restart-delay" = "50ms"
"watch.restart-delay-max" = "100ms"
"""
PAGE = re.compile(r"<!-- latency -->.*?<!-- /latency -->", re.S)


@dataclass(frozen=True)
class Case:
    """One reason: how its cause is brought about, and what is to be taken off."""

    reason: str
    cause: str
    act: Callable[[Box], int | None]  # its time, when it is not that of the call
    undo: Callable[[Box], None] = lambda box: None
    settings: str = ""
    more: str = ""
    limit_ms: float = 0.0  # what has to pass before it is one: taken off
    bar: str = ""
    capture: Callable[[Path], Path] = lambda path: CAPTURE


def passes_its_limit(box: Box) -> int:
    """The time at which the worker was first seen past its memory limit, every 0.2 ms."""
    found = re.search(r'max-memory-of.worker" = "(\d+)b"', box.config.read_text())
    assert found
    statm, page = Path(f"/proc/{box.pid('worker-0')}/statm"), os.sysconf("SC_PAGE_SIZE")
    while int(statm.read_text().split()[1]) * page <= int(found[1]):
        time.sleep(0.0002)
    return time.monotonic_ns()


def hang(box: Box) -> None:
    """Stop the worker."""
    box.signal("worker-0", signal.SIGSTOP)


def resume(box: Box) -> None:
    """Let it go on, if it is the one that was stopped."""
    with suppress(ProcessLookupError):
        box.signal("worker-0", signal.SIGCONT)


def heat(box: Box) -> None:
    """Two sensors past their critical thresholds, as atomically as a file can."""
    for name, value in (("temperature-inlet", "99"), ("power-supply-1", "0")):
        part = box.directory.parent / f".{name}"
        part.write_text(value)
        part.rename(box.directory.parent / "sensors" / name)


def cool(box: Box) -> None:
    """Both well."""
    for name, value in (("temperature-inlet", "40"), ("power-supply-1", "1")):
        (box.directory.parent / "sensors" / name).write_text(value)


HOT = """
"health.sensor-directory" = "SENSORS"
"health.interval" = "200ms"
"health.deadline" = "200ms"
"health.stale-after" = "2s"
"health.required" = []
"""
MEMORY = """
"watch.memory-clear" = "300ms"
"watch.memory-clear-share" = 0.99
"watch.max-memory-of.worker" = "LIMITb"
"""
METER = """
"drop-meter.window" = "200ms"
"drop-meter.interval" = "200ms"
"watch.heartbeat" = "30s"
"""
CASES = (
    Case("process error", "a worker is killed, with a budget of one crash",
         lambda box: box.signal("worker-0", signal.SIGKILL) and None,
         settings='"watch.crashes" = 1\n', bar="≤ 50 ms"),
    Case("heartbeat error", "a worker is stopped; less its limit of 500 ms", hang, resume,
         limit_ms=500, bar="≤ 20 ms"),
    Case("memory error", "a worker grows past its limit, which is looked at every 100 ms",
         passes_its_limit, settings=MEMORY, capture=many_flows),
    Case("threshold error", "a worker gets no CPU, its ring of 128 frames is full; less the 180 ms "
         "until 90 % of a window of 200 ms are lost", hang, resume, settings=METER,
         more="[ring]\nslots = 2\n", limit_ms=180, bar="≤ an evaluation interval (200 ms)"),
    Case("low health score error", "two sensors get critical; two evaluations of 200 ms", heat,
         cool, settings=HOT, bar="two evaluations"),
    Case("FPGA reported error", "the block notes an error of class SEU",
         lambda box: box.ask("inject", error="SEU") and None,
         more='offload = "model:64"\ntesting = true\n'),
    Case("unknown", "a worker accounts for frames that it was never given",
         lambda box: box.madden(0),
         settings='"watch.crashes" = 1000\n'),
    Case("no error", "an operator asks for it", lambda box: box.ask("fallback") and None),
)  # fmt: skip


def once(box: Box, case: Case) -> float:
    """Milliseconds from the cause until the port obeyed; back to normal afterwards."""
    order = box.status()["obeyed"].get("order", 0)
    called_ns = time.monotonic_ns()
    at_ns = case.act(box) or called_ns
    told = box.wait(
        lambda t: (t["state"], t["reason"]) == ("fallback", case.reason)
        and t["obeyed"].get("order", 0) > order and t["obeyed"]["mode"] == PERMIT,
        case.reason,
    )  # fmt: skip
    first = told["obeyed"]["at_ns"]
    case.undo(box)
    box.wait(lambda t: t["processes"]["worker-0"]["phase"] == "running", "it runs")
    box.wait(
        lambda t: (
            bool(box.ask("restore", force=case.reason == "threshold error"))
            and box.status()["state"] == "normal"
        ),
        "restored",
    )
    if case.capture is not many_flows:  # there it grows on
        box.inspects()
    return float((first - at_ns) / 1e6 - case.limit_ms)


def measure(case: Case, runs: int) -> list[float]:
    """The distribution of one reason."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "sensors").mkdir()
        settings = QUICK + case.settings.replace("SENSORS", str(directory / "sensors"))
        more, ring = ("", case.more) if "[" in case.more else (case.more, "")
        if "LIMIT" in settings:
            with Box(directory) as box:
                small = int(box.status()["processes"]["worker-0"]["rss_bytes"])
            settings = settings.replace("LIMIT", str(small + (6 << 20)))
        capture = case.capture(directory / "made.pcap")
        box = Box(directory, rate="20kpps", settings=settings, more=more, capture=capture)
        cool(box)
        box.config.write_text(box.config.read_text() + ring)
        with box:
            return [once(box, case) for _ in range(runs)]


def table(found: dict[str, list[float]], runs: int) -> str:
    """Markdown."""
    rows = [f"{runs} of each, in milliseconds.", "",
            "| reason | cause | p50 | p99 | bar |", "| --- | --- | --- | --- | --- |"]  # fmt: skip
    for case in CASES:
        if values := sorted(found.get(case.reason, [])):
            worst = values[min(len(values) - 1, int(len(values) * 0.99))]
            p50 = statistics.median(values)
            bar = case.bar or "–"
            rows.append(f"| {case.reason} | {case.cause} | {p50:.1f} | {worst:.1f} | {bar} |")
    return "\n".join(rows)


def main() -> None:
    """Measure, print, and write where asked to."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=20)
    options.add_argument("--only", default="", help="part of a reason's name")
    options.add_argument("--write", action="store_true")
    given = options.parse_args()
    found = {}
    for case in CASES:
        if given.only in case.reason:
            found[case.reason] = measure(case, given.runs)
            print(case.reason, [round(value, 1) for value in found[case.reason]], flush=True)
    text = table(found, given.runs)
    print(text)
    if given.write:
        page = ROOT / "docs" / "appliance.md"
        new = f"<!-- latency -->\n{text}\n<!-- /latency -->"
        page.write_text(PAGE.sub(lambda _: new, page.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
