"""Generate everything that follows from hdl/regs/nsd.rdl, the register map.

Written, always the same bytes for the same source:
  hdl/nsd_regs.sv, hdl/nsd_regs_pkg.sv   the register block (PeakRDL-regblock; nsd_csr is its bus)
  hdl/regs/nsd_regs_hwif.txt             every signal of its hardware side
  hdl/regs/nsd_regs.h                    for C (PeakRDL-cheader)
  nsdata/offload/registers.py            for Python
  docs/registers.md                      for people

Usage: python tools/make_regs.py [ROOT_DIR]
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from regs_text import markdown_text, python_text
from systemrdl import RDLCompiler

ROOT = Path(__file__).parents[1]
SOURCE = "hdl/regs/nsd.rdl"

# Reads take two cycles more than they must: the read path is the widest of the block.
REGBLOCK = [
    "--cpuif", "passthrough", "--default-reset", "rst", "--err-if-bad-addr", "--err-if-bad-rw",
    "--rt-read-fanin", "--rt-read-response", "--addr-width", "12",
    "--hwif-report", "--type-style", "hier",
]  # fmt: skip
COPIES = {  # as PeakRDL calls it -> where it goes
    "nsd_regs.sv": "hdl/nsd_regs.sv",
    "nsd_regs_pkg.sv": "hdl/nsd_regs_pkg.sv",
    "nsd_regs_hwif.rpt": "hdl/regs/nsd_regs_hwif.txt",
    "nsd_regs.h": "hdl/regs/nsd_regs.h",
}
GENERATED = (*COPIES.values(), "nsdata/offload/registers.py", "docs/registers.md")


def peakrdl(exporter: str, output: Path, *options: str) -> None:
    """Run one exporter over SOURCE; CalledProcessError when it refuses."""
    command = [sys.executable, "-m", "peakrdl", exporter, SOURCE, "-o", str(output), *options]
    subprocess.run(command, cwd=ROOT, check=True)


def generate(target: Path) -> None:
    """Write the GENERATED files below `target`, a copy of the repository or an empty directory."""
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        peakrdl("regblock", scratch, *REGBLOCK)
        peakrdl("c-header", scratch / "nsd_regs.h", "--type-style", "hier")
        for made, place in COPIES.items():
            (target / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(scratch / made, target / place)
    compiler = RDLCompiler()
    compiler.compile_file(str(ROOT / SOURCE))
    top = compiler.elaborate().top
    for place, text in (
        ("nsdata/offload/registers.py", python_text(top)),
        ("docs/registers.md", markdown_text(top)),
    ):
        (target / place).parent.mkdir(parents=True, exist_ok=True)
        (target / place).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
