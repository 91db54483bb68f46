"""`make synth`: synthesise, place and route, and compare with the kept figures.

Place and route differs by seed, so the slowest of three seeds counts. The figures that are kept
(figures.json, shown in docs/fpga.md) may not get worse by more than 5 %: then the exit status is
1. `--update` keeps the new ones.
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from sim.synth import flow
from sim.synth.figures import FIGURES, TOLERANCE, compare, table_text, write_docs

ECP5 = flow.Design("ecp5-64", {"DATA_W": 64})
ULTRASCALE = flow.Design(
    "ultrascale-512", {"DATA_W": 512, "SETS_LOG2": 12, "BUCKETS_LOG2": 12, "PF_WORDS": 2}
)


def main(
    seeds: Annotated[str, typer.Option(help="Seeds of place and route, by comma.")] = "1,2,3",
    jobs: Annotated[int, typer.Option(help="Runs side by side.")] = 2,
    update: Annotated[bool, typer.Option(help="Keep the figures and rewrite the docs.")] = False,
    only: Annotated[str, typer.Option(help="ecp5 or ultrascale; both without.")] = "",
    out: Annotated[Path, typer.Option(help="Where logs and netlists go.")] = Path("build/synth"),
) -> None:
    """Say what the block costs in cells and how fast it runs."""
    console = Console(stderr=True)
    out.mkdir(parents=True, exist_ok=True)
    measured: dict[str, dict[str, float]] = {}
    start = time.monotonic()

    def note(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - start:6.0f} s[/]  {text}")

    try:
        if only in ("", "ecp5"):
            note("ECP5: synthesis")
            netlist = flow.synth_ecp5(ECP5, out)

            def one(seed: int) -> dict[str, float]:
                note(f"ECP5: place and route, seed {seed}")
                result = flow.place_and_route(netlist, seed, out)
                note(f"ECP5: seed {seed}: {result['fmax_mhz']} MHz")
                return result

            wanted = [int(seed) for seed in seeds.split(",")]
            with ThreadPoolExecutor(jobs) as pool:
                runs = dict(zip(wanted, pool.map(one, wanted), strict=True))
            slowest = min(runs, key=lambda seed: runs[seed]["fmax_mhz"])
            measured["ecp5-64"] = runs[slowest] | {
                f"fmax_mhz_seed{seed}": runs[seed]["fmax_mhz"] for seed in wanted
            }
            for line in flow.critical_path(netlist, slowest, out):
                console.print(line, highlight=False, markup=False)
        if only in ("", "ultrascale"):
            note("UltraScale+: synthesis at 512 b")
            measured["ultrascale-512"] = flow.synth_ultrascale(ULTRASCALE, out)
    except flow.ToolFailed as error:
        console.print(str(error), style="red", markup=False)
        raise typer.Exit(2) from None
    note("done")

    (out / "results.json").write_text(json.dumps(measured, indent=2) + "\n")
    kept = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    worse = compare(kept, measured)
    table = Table("design", "figure", "kept", "now", "")
    for design, figures in measured.items():
        for name, value in figures.items():
            before = kept.get(design, {}).get(name)
            shown = "–" if before is None else f"{before:g}"
            mark = "worse" if (design, name) in worse else ""
            table.add_row(design, name, shown, f"{value:g}", mark)
    Console().print(table)
    if update:
        FIGURES.write_text(json.dumps(kept | measured, indent=2) + "\n")
        write_docs()
        print(table_text(json.loads(FIGURES.read_text())))
        return
    slow = measured.get("ecp5-64", {}).get("fmax_mhz", flow.TARGET_MHZ) < flow.TARGET_MHZ
    if slow:
        console.print(f"slower than {flow.TARGET_MHZ} MHz on at least one seed", style="red")
    if worse:
        console.print(f"worse than kept by more than {TOLERANCE:.0%}: {worse}", style="red")
    sys.exit(1 if worse or slow else 0)


if __name__ == "__main__":
    typer.run(main)
