"""The kept figures of synthesis, and the table of docs/fpga.md that shows them."""

import json
from pathlib import Path

FIGURES = Path(__file__).with_name("figures.json")
DOCS = Path(__file__).parents[2] / "docs" / "fpga.md"
BEGIN = "<!-- synthesis: written by make synth -->"
END = "<!-- /synthesis -->"
TOLERANCE = 0.05

# figure -> (what the table calls it, capacity of the device: ECP5-85, VU9P)
ECP5 = {"lut4": ("LUT4", 83_640), "ff": ("FF", 83_640), "bram": ("block RAM (18 kb)", 208)}
ULTRASCALE = {
    "lut6": ("LUT6", 1_182_240),
    "lutram": ("LUT RAM cells", 0),
    "ff": ("FF", 2_364_480),
    "bram36": ("block RAM (36 kb)", 2_160),
    "uram": ("URAM (288 kb)", 960),
}

Figures = dict[str, dict[str, float]]


def compare(kept: Figures, measured: Figures) -> list[tuple[str, str]]:
    """The figures that got worse by more than TOLERANCE (fewer MHz, or more cells), and those of
    a measured design that are kept and were not measured; seeds may be left out."""
    worse = []
    for design, figures in measured.items():
        before = {name for name in kept.get(design, {}) if "_seed" not in name}
        worse += [(design, name) for name in sorted(before - figures.keys())]
        for name, value in figures.items():
            if name not in before:
                continue
            limit = kept[design][name]
            if name == "fmax_mhz":
                bad = value < limit * (1 - TOLERANCE)
            else:
                bad = value > limit * (1 + TOLERANCE)
            if bad:
                worse.append((design, name))
    return worse


def _cells(names: dict[str, tuple[str, int]], figures: dict[str, float]) -> list[str]:
    rows = []
    for name, (title, capacity) in names.items():
        share = f"{figures[name] / capacity:.1%}" if capacity else ""
        rows.append(f"| {title} | {figures[name]:,g} | {share} |")
    return rows


def table_text(figures: Figures) -> str:
    """The tables of docs/fpga.md, from the kept figures."""
    lines: list[str] = []
    if "ecp5-64" in figures:
        ecp5 = figures["ecp5-64"]
        lines += ["| 64 b, ECP5-85 speed grade 8 | | of the device |", "| --- | ---: | ---: |"]
        lines += _cells(ECP5, ecp5)
        for name, value in sorted(ecp5.items()):
            if "_seed" in name:
                seed = name.rpartition("seed")[2]
                lines.append(f"| Fmax, seed {seed} | {value:.1f} MHz | |")
        lines.append("")
    if "ultrascale-512" in figures:
        lines += ["| 512 b, UltraScale+ | | of a VU9P |", "| --- | ---: | ---: |"]
        lines += _cells(ULTRASCALE, figures["ultrascale-512"])
        lines.append("")
    return "\n".join(lines)


def written(text: str) -> str:
    """What stands between the marks in a document; raises ValueError without them."""
    start = text.index(BEGIN) + len(BEGIN)
    return text[start : text.index(END, start)].strip()


def write_docs() -> None:
    """Put the kept figures into docs/fpga.md."""
    text = DOCS.read_text()
    start = text.index(BEGIN) + len(BEGIN)
    end = text.index(END, start)
    tables = table_text(json.loads(FIGURES.read_text()))
    DOCS.write_text(f"{text[:start]}\n{tables}\n{text[end:]}")
