"""Estimate the slowest paths of a mapped ECP5 netlist, in seconds instead of a place and route.

    python -m sim.synth.estimate build/synth/ecp5-64.json --over 5.2

Cell delays are about those of speed grade 8; a net costs more the more it drives. Placement is
unknown here, so the figures order paths rather than promise a clock: nextpnr finds wide nets and
far block RAMs slower. What is above 5.2 ns here has no hope of 6.4 ns there.
"""

import json
import math
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

FF_TO_Q, RAM_TO_Q, LUT, MUX, CARRY, SUM, LUT_RAM = 0.4, 0.74, 0.22, 0.2, 0.07, 0.45, 0.4
INPUTS = {
    "LUT4": "A B C D",
    "PFUMX": "ALUT BLUT C0",
    "L6MUX21": "D0 D1 SD",
    "CCU2C": "A0 B0 C0 D0 A1 B1 C1 D1 CIN",
    "TRELLIS_DPR16X4": "RAD",
}
OUTPUTS = {
    "LUT4": "Z",
    "PFUMX": "Z",
    "L6MUX21": "Z",
    "CCU2C": "S0 S1 COUT",
    "TRELLIS_DPR16X4": "DO",
}


@dataclass(frozen=True)
class End:
    """Where a path ends: the arrival in ns, levels of logic, the net, the register and its pin."""

    arrival: float
    levels: int
    net: int
    register: str
    pin: str


@dataclass
class Netlist:
    """One mapped module; arrivals are computed when they are asked for."""

    cells: dict[str, Any]
    names: dict[int, str] = field(default_factory=dict)
    fan_out: Counter[int] = field(default_factory=Counter)
    driver: dict[int, tuple[str, str]] = field(default_factory=dict)  # net -> (cell, output)
    start: dict[int, float] = field(default_factory=dict)
    known: dict[int, tuple[float, int, int | None]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, top: str) -> "Netlist":
        """A netlist as `synth_ecp5 -json` writes it, flattened."""
        module = json.loads(path.read_text())["modules"][top]
        netlist = cls(module["cells"])
        hidden: dict[int, int] = {}
        for name, net in module["netnames"].items():
            for index, bit in enumerate(net["bits"]):
                rank = net.get("hide_name", 0)
                if isinstance(bit, int) and rank <= hidden.get(bit, 2):
                    hidden[bit] = rank
                    netlist.names[bit] = f"{name}[{index}]" if len(net["bits"]) > 1 else name
        for name, cell in netlist.cells.items():
            netlist._connect(name, cell)
        return netlist

    def _connect(self, name: str, cell: Any) -> None:
        for pin, bits in cell["connections"].items():
            out = cell["port_directions"].get(pin) == "output"
            for bit in bits:
                if not isinstance(bit, int):
                    continue
                if not out:
                    self.fan_out[bit] += 1
                elif pin in OUTPUTS.get(cell["type"], "").split():
                    self.driver[bit] = (name, pin)
                elif cell["type"] in ("TRELLIS_FF", "DP16KD"):
                    self.start[bit] = FF_TO_Q if cell["type"] == "TRELLIS_FF" else RAM_TO_Q

    def wire(self, net: int) -> float:
        """Delay of a net, by its fan-out alone."""
        return 0.55 + 0.13 * math.log2(max(self.fan_out[net], 1))

    def arrival(self, net: int) -> tuple[float, int, int | None]:
        """(ns, levels, the net before) of the slowest path to the driver of `net`."""
        if net not in self.known:
            self.known[net] = (self.start.get(net, 0.0), 0, None)  # also ends a loop
            if net not in self.start and net in self.driver:
                self.known[net] = max(self._through(net), key=lambda found: found[0])
        return self.known[net]

    def _through(self, net: int) -> list[tuple[float, int, int | None]]:
        name, out = self.driver[net]
        cell = self.cells[name]
        found: list[tuple[float, int, int | None]] = [(0.0, 0, None)]
        for pin in INPUTS[cell["type"]].split():
            for bit in cell["connections"].get(pin, []):
                if not isinstance(bit, int):
                    continue
                time, levels, _ = self.arrival(bit)
                if pin == "CIN":
                    step, level = (CARRY if out == "COUT" else SUM), 0
                elif pin in ("ALUT", "BLUT", "D0", "D1") and cell["type"] != "CCU2C":
                    step, level = MUX, 0
                else:
                    own = {"CCU2C": SUM, "TRELLIS_DPR16X4": LUT_RAM}.get(cell["type"], LUT)
                    step, level = self.wire(bit) + own, 1
                found.append((time + step, levels + level, bit))
        return found

    def ends(self) -> list[End]:
        """Every register input, the slowest first."""
        found = []
        for name, cell in self.cells.items():
            if cell["type"] not in ("TRELLIS_FF", "DP16KD"):
                continue
            for pin, bits in cell["connections"].items():
                if cell["port_directions"][pin] == "output" or pin.startswith("CLK"):
                    continue
                for bit in bits:
                    if isinstance(bit, int):
                        time, levels, _ = self.arrival(bit)
                        time += self.wire(bit) + (0.0 if pin == "DI" else 0.3)
                        q = cell["connections"].get("Q", [None])[0]
                        register = self.names.get(q, name) if isinstance(q, int) else name
                        found.append(End(time, levels, bit, register, pin))
        return sorted(found, key=lambda end: -end.arrival)

    def path(self, net: int) -> str:
        """The nets of the slowest path to `net`, last first, with their fan-out."""
        hops, at = [], net
        while at is not None:
            hops.append(f"{self.names.get(at, at)} ({self.fan_out[at]})")
            at = self.arrival(at)[2]  # type: ignore[assignment]
        return "\n    <= ".join(hops)


def main(
    netlist: Annotated[Path, typer.Argument(help="JSON of synth_ecp5, flattened.")],
    top: Annotated[str, typer.Option(help="Its top module.")] = "nsd_top",
    over: Annotated[float, typer.Option(help="List registers slower than this, ns.")] = 5.2,
    paths: Annotated[int, typer.Option(help="Show so many whole paths.")] = 5,
) -> None:
    """List the registers whose inputs come late, slowest first."""
    found = Netlist.read(netlist, top)
    ends = found.ends()
    seen: set[str] = set()
    for end in ends:
        if len(seen) < paths and (short := re.sub(r"\[\d+\]", "[]", end.register)) not in seen:
            seen.add(short)
            print(f"{end.arrival:.2f} ns, {end.levels} levels, {end.pin} of {end.register}")
            print(f"    <= {found.path(end.net)}")
    late: Counter[tuple[str, str]] = Counter()
    worst: dict[tuple[str, str], End] = {}
    for end in ends:
        if end.arrival > over:
            name = re.sub(r"_(TRELLIS|LUT4|PFUMX|CCU2C|L6MUX).*|\[\d+\]", "", end.register)
            late[name, end.pin] += 1
            worst.setdefault((name, end.pin), end)
    for key, end in worst.items():
        print(f"{end.arrival:6.2f} ns {end.levels:3} levels {late[key]:5} x {key[1]:4} {key[0]}")
    print(f"{sum(late.values())} inputs over {over} ns, the slowest {ends[0].arrival:.2f} ns")


if __name__ == "__main__":
    import sys

    sys.setrecursionlimit(100_000)
    typer.run(main)
