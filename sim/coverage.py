"""Read Verilator's coverage records and judge them: python -m sim.coverage (make sim-coverage).

Verilator writes lines `C '\\x01key\\x02value\\x01key\\x02value…' count`. A record is a piece of the
source: page `v_line` (a block), `v_branch` (one way of an if, a case or a ?:), with the file `f`,
line `l`, column `n`, what it is `o`, and the lines `S` it covers. The same piece of several
instances, parameters and tests is added up.

Bars: lines 95 %, branches 90 % of every module and in all, and every functional point of
sim/points.py. What cannot be reached is named, with the reason, in sim/coverage_waivers.toml.
Functions that run at elaboration alone are not counted (sim/elaboration.py); the report says how
many lines they are. Writes build/coverage/report.md and, for each module, an annotated listing
build/coverage/*.txt.
"""

import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sim import points
from sim.elaboration import elaboration_lines

ROOT = Path(__file__).parents[1]
OUT = ROOT / "build" / "coverage"
WAIVERS = ROOT / "sim" / "coverage_waivers.toml"
LINE_BAR = 95.0
BRANCH_BAR = 90.0
RECORD = re.compile(rb"^C '(.*)' (\d+)\s*$")
WAYS = ("if", "else", "elsif", "case")
PROCEDURAL = re.compile(r"^\s*(always\w*|initial|final|function)\b", re.MULTILINE)
GENERATED = {"nsd_regs.sv", "nsd_regs_pkg.sv"}  # PeakRDL's, judged by sim/regs through its bus


@dataclass(frozen=True, order=True)
class Piece:
    """One record without its instance and count."""

    file: str  # name alone: one module per file
    line: int
    column: int
    branch: bool
    what: str
    covers: tuple[int, ...]


@dataclass(frozen=True)
class Waiver:
    """Pieces whose source line holds `text` need not be reached, because of `why`."""

    file: str
    text: str
    why: str
    branch_only: bool = False


@dataclass
class Module:
    """One file's figures; `missed_lines` and `missed_branches` are after the waivers."""

    name: str
    lines: int = 0
    lines_hit: int = 0
    branches: int = 0
    branches_hit: int = 0
    waived: int = 0
    early: int = 0  # lines of functions that run at elaboration alone: not counted
    missed_lines: list[int] = field(default_factory=list)
    missed_branches: list[Piece] = field(default_factory=list)
    counts: dict[int, int] = field(default_factory=dict)  # line -> times reached

    @property
    def line_percent(self) -> float:
        """Lines reached or waived, percent."""
        return 100.0 * self.lines_hit / self.lines if self.lines else 100.0

    @property
    def branch_percent(self) -> float:
        """Branches reached or waived, percent."""
        return 100.0 * self.branches_hit / self.branches if self.branches else 100.0


def spans(text: str) -> tuple[int, ...]:
    """The lines of an `S` value, as 12-14,17; an implied else has none."""
    found: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return tuple(found)


def records(data: bytes) -> Iterator[tuple[Piece, int]]:
    """The records of one file that belong to hdl/."""
    for row in data.splitlines():
        match = RECORD.match(row)
        if not match:
            continue
        values = dict(
            part.split("\x02", 1)
            for part in match[1].decode("utf-8", "replace").split("\x01")
            if "\x02" in part
        )
        path = Path(values.get("f", ""))
        page, what = values.get("page", "").split("/")[0], values.get("o", "")
        if path.parent.name != "hdl" or path.name in GENERATED:
            continue
        # Verilator files `else if` and the items of a case under lines: they are ways too.
        branch = page == "v_branch" or what in WAYS
        piece = Piece(path.name, int(values["l"]), int(values.get("n", 0)), branch, what,
                      spans(values.get("S", "")))  # fmt: skip
        yield piece, int(match[2])


def read(paths: Iterable[Path]) -> dict[Piece, int]:
    """Every piece of all files with how often it was reached."""
    total: dict[Piece, int] = defaultdict(int)
    for path in paths:
        for piece, count in records(path.read_bytes()):
            total[piece] += count
    return dict(total)


def waivers(path: Path = WAIVERS) -> list[Waiver]:
    """The reviewed waivers. ValueError when one has no reason."""
    if not path.is_file():
        return []
    found = []
    for row in tomllib.loads(path.read_text(encoding="utf-8")).get("waiver", []):
        if len(row.get("why", "")) < 15:
            raise ValueError(f"{path.name}: a waiver for {row.get('file')} says no reason")
        found.append(Waiver(row["file"], row["text"], row["why"], row.get("branch_only", False)))
    return found


def judge(
    pieces: dict[Piece, int], waived: list[Waiver], source: dict[str, list[str]]
) -> tuple[list[Module], list[Waiver]]:
    """Figures of each file, and the waivers nothing needed. `source`: the lines of each file."""
    used: set[Waiver] = set()

    def excused(file: str, line: int, branch: bool) -> bool:
        text = source[file][line - 1] if line <= len(source[file]) else ""
        for waiver in waived:
            if waiver.file == file and waiver.text in text and (branch or not waiver.branch_only):
                used.add(waiver)
                return True
        return False

    modules = []
    early = elaboration_lines(source)
    for file in sorted(source):
        module = Module(file)
        module.early = len(early.get(file, ()))
        mine = {
            piece: count
            for piece, count in pieces.items()
            if piece.file == file and piece.line not in early.get(file, ())
        }
        for piece, count in mine.items():
            for line in piece.covers:
                module.counts[line] = max(module.counts.get(line, 0), count)
            if piece.branch:
                module.branches += 1
                if count:
                    module.branches_hit += 1
                elif excused(file, piece.line, True):
                    module.branches_hit += 1
                    module.waived += 1
                else:
                    module.missed_branches.append(piece)
        module.lines = len(module.counts)
        for line, count in sorted(module.counts.items()):
            if count:
                module.lines_hit += 1
            elif excused(file, line, False):
                module.lines_hit += 1
                module.waived += 1
            else:
                module.missed_lines.append(line)
        modules.append(module)
    return modules, [waiver for waiver in waived if waiver not in used]


def listing(module: Module, source: list[str]) -> str:
    """The source, each line with how often it was reached; `!` what was missed."""
    missed = set(module.missed_lines)
    branches = defaultdict(list)
    for piece in module.missed_branches:
        branches[piece.line].append(piece.what)
    rows = []
    for number, text in enumerate(source, 1):
        count = module.counts.get(number)
        sign = "!" if number in missed else "?" if number in branches else " "
        tail = f"   // not taken: {', '.join(branches[number])}" if number in branches else ""
        rows.append(f"{sign}{'' if count is None else count:>10} {number:4} {text}{tail}")
    return "\n".join(rows) + "\n"


def report(modules: list[Module], useless: list[Waiver], missing: list[points.Point]) -> str:
    """build/coverage/report.md."""
    total = Module("all")
    rows = []
    for module in modules:
        for name in ("lines", "lines_hit", "branches", "branches_hit", "waived", "early"):
            setattr(total, name, getattr(total, name) + getattr(module, name))
        rows.append(module)
    text = "# Coverage of the simulation\n\n"
    text += "| module | lines | | branches | | waived | at elaboration |\n"
    text += "|---|---:|---:|---:|---:|---:|---:|\n"
    for module in [*rows, total]:
        text += (
            f"| {module.name} | {module.lines} | {module.line_percent:.1f} % | {module.branches} "
            f"| {module.branch_percent:.1f} % | {module.waived} | {module.early} |\n"
        )
    wanted = sum(len(group) for group in points.UNIVERSE.values())
    text += f"\nFunctional points: {wanted - len(missing)} of {wanted}.\n"
    text += "".join(f"- not hit: {': '.join(point)}\n" for point in missing)
    text += "".join(f"- waiver nothing needs: {w.file}: {w.text}\n" for w in useless)
    text += "\n## Not reached\n\n"
    for module in modules:
        text += "".join(f"- {module.name}:{line}\n" for line in module.missed_lines)
        text += "".join(
            f"- {module.name}:{p.line}:{p.column} branch {p.what}\n"
            for p in sorted(module.missed_branches)
        )
    return text


def failures(
    modules: list[Module],
    useless: list[Waiver],
    missing: list[points.Point],
    source: dict[str, list[str]],
) -> list[str]:
    """What is below its bar, in words."""
    found = []
    for module in modules:
        if not module.lines:
            # Verilator records nothing of continuous assignments.
            if not module.early and PROCEDURAL.search("\n".join(source[module.name])):
                found.append(f"{module.name}: nothing was recorded")
            continue
        if module.line_percent < LINE_BAR:
            found.append(f"{module.name}: {module.line_percent:.1f} % of lines")
        if module.branch_percent < BRANCH_BAR:
            found.append(f"{module.name}: {module.branch_percent:.1f} % of branches")
    if missing:
        found.append(f"{len(missing)} functional points were not hit")
    if useless:
        found.append(f"{len(useless)} waivers nothing needs")
    return found


def main() -> int:
    """Judge what a run with NSDATA_COVERAGE=1 left under build/coverage."""
    paths = sorted((OUT / "raw").glob("*.dat"))
    if not paths:
        print("no coverage was recorded; run: make sim-coverage", file=sys.stderr)
        return 2
    source = {
        path.name: path.read_text(encoding="utf-8").splitlines()
        for path in sorted((ROOT / "hdl").glob("*.sv"))
        if path.name not in GENERATED
    }
    modules, useless = judge(read(paths), waivers(), source)
    seen = points.found()
    missing = [(g, *p) for g, group in points.UNIVERSE.items() for p in group
               if (g, *p) not in seen]  # fmt: skip
    for module in modules:
        (OUT / f"{module.name}.txt").write_text(listing(module, source[module.name]))
    text = report(modules, useless, missing)
    (OUT / "report.md").write_text(text)
    print(text.split("## Not reached")[0].rstrip())
    bad = failures(modules, useless, missing, source)
    print(f"listings: {OUT.relative_to(ROOT)}/*.txt")
    print("coverage: FAILED: " + "; ".join(bad) if bad else "coverage: every bar is reached")
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
