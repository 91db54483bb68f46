"""Generate everything that follows from hdl/regs/nsd.rdl, the register map.

Written, always the same bytes for the same source:
  hdl/nsd_regs.sv, hdl/nsd_regs_pkg.sv   the register block (PeakRDL-regblock; nsd_csr is its bus)
  hdl/regs/nsd_regs_hwif.txt             every signal of its hardware side
  hdl/regs/nsd_regs.h                    for C (PeakRDL-cheader)
  nsdata/offload/registers.py            for Python
  docs/registers.md                      for people

Usage: python tools/make_regs.py [ROOT_DIR]
"""

import re
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


def between(text: str, start: str, end: str) -> tuple[int, int]:
    """Where the one stretch from after `start` to `end` lies; ValueError if there is not one."""
    if text.count(start) != 1 or text.find(end, text.find(start)) < 0:
        raise ValueError(f"not as PeakRDL-regblock 1.3 writes it: {start.strip()!r}")
    first = text.index(start) + len(start)
    return first, text.index(end, first)


def retime(text: str) -> str:
    """Put two registers into the address decoder of the generated block.

    PeakRDL decodes an address and writes, or selects, the register in one cycle: the longest
    path of the whole block. nsd_csr holds address and data until the answer, so the halves of
    the address may be decoded in one cycle and the strobes of the registers in the next; they
    then also select what is read, and that none of them came is the error. ValueError when the
    text is not as known: then another version of PeakRDL wrote it; look at it again.
    """
    first, last = between(
        text,
        "decoded_reg_strb_t decoded_reg_strb;\n    logic decoded_err;\n",
        "    assign decoded_req = cpuif_req_masked;\n",
    )
    decoder = text[first:last].replace("cpuif_req_masked", "req_now")
    strobes = dict(
        (address, name)
        for name, address in re.findall(
            r"decoded_reg_strb\.([\w.\[\]]+) = req_now & \(cpuif_addr == (.+?)\)(?: &|;)", decoder
        )
    )
    comb, end = between(decoder, "    always_comb begin\n", "\n    end\n")
    lines = [line for line in decoder[comb:end].split("\n") if "is_valid" not in line]
    hot = r"(high_hot[ad_hi(\1)] & low_hot[5'(ad_low(\1) >> 2)] & req_reg)"
    decode = [
        re.sub(r"req_now & \(cpuif_addr == (.+?)\)(?= &|;)", hot, line).replace(
            "decoded_reg_strb.", "strb_next."
        )
        for line in lines
    ]
    known = [
        re.sub(r"(decoded_reg_strb\.[\w.\[\]]+) = .*;", r"strobed |= \1;", line) for line in lines
    ]
    retimed = [
        "    decoded_reg_strb_t strb_next;",
        "    logic req_now, req_reg, strobed;",
        "    logic [31:0] high_hot, low_hot;",
        "    assign req_now = cpuif_req_masked & !rst;",
        decoder[: decoder.index("    always_comb begin\n")].rstrip("\n"),
        "    always_comb begin",
        *decode,
        "    end",
        "    always_ff @(posedge clk) begin",
        "        for(int i=0; i<32; i++) begin",
        "            high_hot[i] <= cpuif_addr[11:7] == 5'(i);",
        "            low_hot[i] <= cpuif_addr[6:0] == 7'(4*i);",
        "        end",
        "        req_reg <= req_now;",
        "        decoded_reg_strb <= strb_next;",
        "        decoded_req <= req_reg;",
        "    end",
        "    always_comb begin",
        "        strobed = '0;",
        *known,
        "    end",
        "    assign decoded_err = decoded_req & !strobed;",
        decoder[end + len("\n    end\n") :],
    ]
    text = text[:first] + "\n".join(retimed) + text[last:].split("\n", 1)[1]

    first, last = between(text, "    // readback stage 1\n", "readback_data_rt_c = ")
    reads = re.sub(
        r"ad_low\(rd_mux_addr\) == ad_low\((.+)\)\) begin",
        lambda found: f"decoded_reg_strb.{strobes[found[1]]}) begin",
        text[first:last],
    )
    # One register at most is selected: OR, so that no order is implied.
    reads = re.sub(r"(readback_data_var\[ad_hi.+?\](?:\[[\d:]+\])) = ", r"\1 |= ", reads)
    text = text[:first] + reads + text[last:]

    return re.sub(
        r"    assign cpuif_wr_ack = (.+;)\n(.*\n)    assign cpuif_wr_err = (.+;)\n",
        "\\2    always_ff @(posedge clk) begin\n"
        "        cpuif_wr_ack <= !rst & \\1\n        cpuif_wr_err <= \\3\n    end\n",
        text,
    )


def generate(target: Path) -> None:
    """Write the GENERATED files below `target`, a copy of the repository or an empty directory."""
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        peakrdl("regblock", scratch, *REGBLOCK)
        peakrdl("c-header", scratch / "nsd_regs.h", "--type-style", "hier")
        for made, place in COPIES.items():
            (target / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(scratch / made, target / place)
        block = target / "hdl/nsd_regs.sv"
        block.write_text(retime(block.read_text()))
    compiler = RDLCompiler()
    compiler.compile_file(str(ROOT / SOURCE))
    top = compiler.elaborate().top
    for place, text in (
        ("nsdata/offload/registers.py", python_text(top)),
        ("docs/registers.md", markdown_text(top)),
    ):
        (target / place).parent.mkdir(parents=True, exist_ok=True)
        (target / place).write_text(text, encoding="utf-8")


def update(target: Path) -> None:
    """Write those of the GENERATED files below `target` that change, and say which."""
    with tempfile.TemporaryDirectory() as name:
        generate(Path(name))
        for place in GENERATED:
            made, kept = Path(name) / place, target / place
            same = kept.is_file() and kept.read_bytes() == made.read_bytes()
            if not same:
                kept.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(made, kept)
            print(f"{'unchanged' if same else 'written  '}  {place}")


if __name__ == "__main__":
    update(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
