"""Peak memory of replays of different length: it should not grow with the capture.

    .venv/bin/python tools/memory.py [CAPTURE [RULES]]

Replays the capture once, 20 times (`loops`), and as one file of 20 copies made in a temporary
directory (needs 20 times its size there), each in a process of its own, with EVE going to a
file. Prints the peak resident set (VmHWM; ru_maxrss would count the parent's) as a whole, and
without what is mapped from files: pages of a mapped capture count as resident, but the kernel
may take them back. Linux only.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
COPIES = 20
GAP_S = 1  # between two copies
HEADER, RECORD = 24, 16

CHILD = """
import json, sys
from nsdata import Settings, LoadedRules, load_rules, replay
capture, rules, loops, eve = sys.argv[1:5]
loaded = LoadedRules.build(load_rules([rules] if rules else [], Settings()), Settings())
def status(key):
    with open("/proc/self/status") as lines:
        return next((int(l.split()[1]) for l in lines if l.startswith(key + ":")), 0)
before, peak = status("RssAnon"), [0]
def watch(progress):
    peak[0] = max(peak[0], status("RssAnon"))
result = replay(capture, loaded=loaded, loops=int(loops), eve=eve, progress=watch)
print(json.dumps({
    "packets": result.summary.packets, "ok": result.ok,
    "rss": status("VmHWM"), "anonymous": peak[0],
    "rules": before,
}))
"""


@dataclass(frozen=True)
class Peak:
    """One replay; sizes in KiB. `rules`: anonymous memory before the first packet."""

    name: str
    packets: int
    rss: int
    anonymous: int
    rules: int


def copies(capture: Path, into: Path, count: int = COPIES) -> None:
    """`count` copies of a pcap file as one, their times following on.

    Raises ValueError for anything but a whole pcap file of this machine's byte order.
    """
    raw = bytearray(capture.read_bytes())
    order = sys.byteorder
    if int.from_bytes(raw[:4], order) not in (0xA1B2C3D4, 0xA1B23C4D):
        raise ValueError(f"{capture}: not a pcap file of this byte order; give another one")
    at, seconds = HEADER, []
    places = []
    while at < len(raw):
        places.append(at)
        seconds.append(int.from_bytes(raw[at : at + 4], order))
        at += RECORD + int.from_bytes(raw[at + 8 : at + 12], order)
    if at != len(raw):
        raise ValueError(f"{capture}: ends within a record; give a whole capture")
    shift = max(seconds) - min(seconds) + GAP_S
    with into.open("wb") as out:
        out.write(raw[:HEADER])
        for copy in range(count):
            for place, second in zip(places, seconds, strict=True):
                raw[place : place + 4] = (second + copy * shift).to_bytes(4, order)
            out.write(memoryview(raw)[HEADER:])


def replayed(name: str, capture: Path, rules: Path | None, loops: int, work: Path) -> Peak:
    """Peak memory of one replay in a process of its own. Raises CalledProcessError."""
    command = [sys.executable, "-c", CHILD, str(capture), str(rules or ""), str(loops)]
    done = subprocess.run(
        [*command, str(work / "eve.json")], check=True, capture_output=True, text=True, cwd=ROOT
    )
    found = json.loads(done.stdout)
    if not found["ok"]:
        raise ValueError(f"{capture}: the replay failed")
    return Peak(name, found["packets"], found["rss"], found["anonymous"], found["rules"])


def measure(capture: Path, rules: Path | None) -> list[Peak]:
    """The three replays."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        long = work / "long.pcap"
        peaks = [
            replayed("1 ×", capture, rules, 1, work),
            replayed(f"{COPIES} × (loops)", capture, rules, COPIES, work),
        ]
        copies(capture, long)
        peaks.append(replayed(f"{COPIES} × (one file)", long, rules, 1, work))
    return peaks


def lines(peaks: list[Peak]) -> list[str]:
    """A table, as lines."""
    rows = [f"{'replay':18}{'packets':>12}{'peak RSS':>12}{'anonymous':>12}{'of it rules':>13}"]
    for peak in peaks:
        sizes = (peak.rss, peak.anonymous, peak.rules)
        mib = [f"{size / 1024:,.1f} MiB" for size in sizes]
        rows.append(f"{peak.name:18}{peak.packets:12,}{mib[0]:>12}{mib[1]:>12}{mib[2]:>13}")
    return rows


def main(argv: list[str]) -> int:
    shared = Path(os.environ.get("NSDATA_SHARED") or ROOT.parent / "shared")
    mixed, et = shared / "captures" / "mixed.pcap", shared / "rules" / "et-open-2021.rules"
    office, demo = ROOT / "tests" / "captures" / "office.pcap", ROOT / "demo" / "demo.rules"
    capture = Path(argv[0]) if argv else mixed if mixed.is_file() else office
    rules = Path(argv[1]) if len(argv) > 1 else et if et.is_file() else demo
    print(f"{capture.name}, {rules.name}")
    print("\n".join(lines(measure(capture.resolve(), rules.resolve()))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
