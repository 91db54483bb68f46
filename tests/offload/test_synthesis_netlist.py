"""Steps on a mapped netlist: what may move into a block RAM, and registers at the pins."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from sim.synth import flow
from sim.synth.netlist import absorb, merged, ring


def register(data: int, out: int, **connections: list[Any]) -> dict[str, Any]:
    """A TRELLIS_FF on clock 2 that is written in every cycle."""
    return {
        "type": "TRELLIS_FF",
        "parameters": {"CEMUX": "1 ", "CLKMUX": "CLK", "REGSET": "RESET"},
        "port_directions": {
            pin: "input" for pin in ("CLK", "DI", "LSR", "CE")} | {"Q": "output"},
        "connections": {"CLK": [2], "DI": [data], "Q": [out], "LSR": ["0"]} | connections,
    }  # fmt: skip


def netlist() -> dict[str, Any]:
    """A block RAM of two used outputs, a register behind each."""
    ram = {
        "type": "DP16KD",
        "parameters": {"REGMODE_A": "NOREG", "REGMODE_B": "NOREG"},
        "port_directions": {"CLKB": "input", "OCEA": "input", "OCEB": "input",
                            "DOB0": "output", "DOB1": "output", "DOB2": "output"},
        "connections": {"CLKB": [2], "OCEA": ["0"], "OCEB": ["0"],
                        "DOB0": [10], "DOB1": [11], "DOB2": [12]},
    }  # fmt: skip
    return {
        "ports": {"clk": {"direction": "input", "bits": [2]},
                  "rst": {"direction": "input", "bits": [3]},
                  "d": {"direction": "input", "bits": [4]},
                  "q": {"direction": "output", "bits": [20, 21]}},
        "cells": {"ram": ram, "r0": register(10, 20), "r1": register(11, 21)},
    }  # fmt: skip


def test_registers_behind_a_memory_become_its_own() -> None:
    module = netlist()
    assert absorb(module) == 2
    assert set(module["cells"]) == {"ram"}
    ram = module["cells"]["ram"]
    assert ram["connections"]["DOB0"] == [20] and ram["connections"]["DOB1"] == [21]
    assert ram["connections"]["DOB2"] == [12]
    assert {ram["parameters"][f"REGMODE_{side}"] for side in "AB"} == {"OUTREG"}
    assert ram["connections"]["OCEA"] == ram["connections"]["OCEB"] == ["1"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda m: m["cells"].update(r0=register(10, 20, LSR=[3])),  # it is reset
        lambda m: m["cells"]["r0"]["connections"].update(CLK=[5]),  # another clock
        lambda m: m["cells"].update(r2=register(10, 22)),  # a second reader
        lambda m: m["ports"]["q"]["bits"].append(11),  # the raw output leaves the block
        lambda m: (m["cells"]["r1"]["parameters"].update(CEMUX="CE"),
                   m["cells"]["r1"]["connections"].update(CE=[6])),  # it holds at times
        lambda m: m["cells"]["r0"]["parameters"].update(REGSET="SET"),  # it starts at one
    ],
)  # fmt: skip
def test_a_memory_whose_registers_differ_stays_as_it_is(spoil: Any) -> None:
    module = netlist()
    spoil(module)
    before = copy.deepcopy(module)
    assert absorb(module) == 0 and module == before


def test_every_pin_but_clock_and_reset_gets_two_registers() -> None:
    module = netlist()
    assert ring(module) == 6
    cells, ports = module["cells"], module["ports"]
    assert ports["clk"]["bits"] == [2] and ports["rst"]["bits"] == [3]

    def way(name: str) -> list[Any]:
        first, second = (cells[f"ring.{name}.{stage}"]["connections"] for stage in (0, 1))
        assert first["Q"] == second["DI"]
        return [*first["DI"], *second["Q"]]

    assert way("d.0") == [ports["d"]["bits"][0], 4]
    assert way("q.1") == [21, ports["q"]["bits"][1]]


def test_the_registers_of_a_real_memory_all_move(tmp_path: Path) -> None:
    design = flow.Design("ram", {"WIDTH": 36, "DEPTH_LOG2": 9}, "nsd_ram")
    out = flow.synth_ecp5(design, tmp_path)
    cells = json.loads(out.read_text())["modules"]["nsd_ram"]["cells"]
    kinds = [cell["type"] for name, cell in cells.items() if not name.startswith("ring.")]
    assert kinds == ["DP16KD"]


def test_copies_that_were_merged_are_named() -> None:
    cells = {f"r{i}": register(10, 30 + i) for i in range(3)}
    names = {f"a.copy[{i}].x_reg": {"bits": [30 + i]} for i in range(3)}
    module = {"cells": cells, "netnames": names}
    assert merged(module, ("a.copy",)) == []
    assert merged(module, ("a.copy", "b.copy")) == ["b.copy"]
    names["a.copy[2].x_reg"] = {"bits": [30]}
    assert merged(module, ("a.copy",)) == ["a.copy[*].x_reg"]
    names["a.copy[2].x_reg"] = {"bits": [10]}  # no register drives it
    assert merged(module, ("a.copy",)) == ["a.copy[*].x_reg"]
