"""Steps on the mapped ECP5 netlist, before place and route.

`absorb` uses the block RAMs' own output registers, which Yosys leaves out. Every table of the block
reads in two cycles (hdl/nsd_ram.sv): the RAM's and a register right behind it. A DP16KD has
that second register inside (REGMODE "OUTREG", Lattice TN1264); without it the RAM's slow
clock-to-output and the way to a register in the fabric are the longest path of the device.
Vendors' tools do this themselves.

`ring` puts two registers behind every input pin and before every output pin but clock and reset:
one that stands by the pin, one by the logic. The block stands between other logic, not between
pins: without the ring, the paths from ready and valid have no clock to be measured by, and pins
at random places pull the logic apart.

`merged` names registers that are kept three times in the source and no more in the netlist.
"""

import itertools
import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

Cell = dict[str, Any]


def plain(cell: Cell, clock: object) -> bool:
    """A register on `clock` that is written in every cycle and never reset."""
    connections, parameters = cell["connections"], cell["parameters"]
    free = all(connections.get(pin, ["0"]) == ["0"] for pin in ("LSR", "M"))
    always = "CE" not in connections or parameters.get("CEMUX", "").strip() == "1"
    edge = connections["CLK"] == clock and parameters.get("CLKMUX", "CLK") == "CLK"
    return free and always and edge and parameters.get("REGSET", "RESET") == "RESET"


def absorb(module: Cell) -> int:
    """Move what can be moved in a mapped module; the number of registers that went."""
    cells: dict[str, Cell] = module["cells"]
    readers: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for name, cell in cells.items():
        for pin, bits in cell["connections"].items():
            if cell["port_directions"][pin] == "input":
                for bit in bits:
                    readers[bit].append((name, pin))
    for port in module["ports"].values():
        for bit in port["bits"]:
            readers[bit].append(("", ""))
    gone = 0
    for ram in [cell for cell in cells.values() if cell["type"] == "DP16KD"]:
        outputs = [
            (pin, bits[0])
            for pin, bits in ram["connections"].items()
            if pin.startswith(("DOA", "DOB")) and readers[bits[0]]
        ]
        followers = [readers[bit] for _, bit in outputs]
        if not all(
            len(one) == 1
            and one[0][1] == "DI"
            and cells[one[0][0]]["type"] == "TRELLIS_FF"
            and plain(cells[one[0][0]], ram["connections"]["CLKB"])
            for one in followers
        ):
            continue
        for (pin, _), [(register, _)] in zip(outputs, followers, strict=True):
            ram["connections"][pin] = cells.pop(register)["connections"]["Q"]
            gone += 1
        for side in "AB":
            ram["parameters"][f"REGMODE_{side}"] = "OUTREG"
            ram["connections"][f"OCE{side}"] = ["1"]
    return gone


def ring(module: Cell, clock: str = "clk", reset: str = "rst") -> int:
    """Two registers in a row at each pin of a mapped module; how many in all."""
    cells: dict[str, Cell] = module["cells"]
    [clock_bit] = module["ports"][clock]["bits"]
    top = max(
        bit for cell in cells.values() for bits in cell["connections"].values()
        for bit in bits if isinstance(bit, int)
    )  # fmt: skip
    added = 0
    for name, port in module["ports"].items():
        if name in (clock, reset):
            continue
        for i, inner in enumerate(port["bits"]):
            middle, pin = top + 1, top + 2
            top += 2
            way = (inner, middle, pin) if port["direction"] == "output" else (pin, middle, inner)
            for stage, (into, out) in enumerate(itertools.pairwise(way)):
                cells[f"ring.{name}.{i}.{stage}"] = _register(clock_bit, into, out)
                added += 1
            port["bits"][i] = pin
    return added


def _register(clock: object, into: object, out: object) -> Cell:
    return {
        "hide_name": 0,
        "type": "TRELLIS_FF",
        "parameters": {
            "CEMUX": "1 ", "CLKMUX": "CLK", "GSR": "DISABLED", "LSRMUX": "LSR",
            "REGSET": "RESET", "SRMODE": "LSR_OVER_CE",
        },
        "attributes": {},
        "port_directions": {"CLK": "input", "DI": "input", "LSR": "input", "Q": "output"},
        "connections": {"CLK": [clock], "DI": [into], "LSR": ["0"], "Q": [out]},
    }  # fmt: skip


def merged(module: Cell, scopes: tuple[str, ...]) -> list[str]:
    """Registers `scope[i].name`, i = 0 to 2, that are not three registers; [] is as it must be.

    A scope without any is named, too: nothing would be looked at.
    """
    driven = {
        cell["connections"]["Q"][0]
        for cell in module["cells"].values()
        if cell["type"] == "TRELLIS_FF"
    }
    wrong = []
    for scope in scopes:
        copies: dict[str, set[int]] = defaultdict(set)
        for name, net in module["netnames"].items():
            found = re.fullmatch(re.escape(scope) + r"\[[012]\]\.(\w+_reg)", name)
            if found:
                copies[found[1]] |= set(net["bits"]) & driven
        wrong += [f"{scope}[*].{name}" for name, bits in copies.items() if len(bits) != 3]
        wrong += [] if copies else [scope]
    return wrong


def rewrite(netlist: Path, top: str, voted: tuple[str, ...] = ()) -> list[str]:
    """`absorb` and `ring` for the top module of a Yosys JSON netlist, in place; `merged`."""
    design = json.loads(netlist.read_text())
    module = design["modules"][top]
    wrong = merged(module, voted)
    absorb(module)
    ring(module)
    for name in module["ports"]:  # a net of the port's name must be the pin's
        if name in module["netnames"]:
            module["netnames"][f"ring.{name}"] = module["netnames"].pop(name)
    netlist.write_text(json.dumps(design))
    return wrong
