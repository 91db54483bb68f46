"""Print what the soak measured: python -m sim.bulk [--frames N] [--width 64|512] [--seed S]."""

import argparse
import random
import time

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from nsdata.offload.rtl.block import Block
from sim.bulk.soak import Figures, Soak, throughput
from sim.traffic import World


def report(console: Console, figures: Figures, seconds: float) -> None:
    """One table of one soak."""
    table = Table(title=f"{figures.width} b", title_justify="left", show_header=False)
    rows = {
        "frames": f"{figures.frames:,} ({figures.bytes / figures.frames:.0f} bytes on average)",
        "cycles": f"{figures.cycles:,} ({figures.cycles / seconds / 1e6:.2f} M/s,"
        f" {figures.frames / seconds:,.0f} frames/s)",
        "lost, made, reordered, changed": "0",
        "judged by the model": f"{figures.exact:,}",
        "bypassed during a fault": f"{figures.bypassed:,}",
        "dropped (flows blocked)": f"{figures.dropped:,}",
        "cancelled by a reset": f"{figures.cancelled:,} in {figures.resets} resets",
        "faults, re-arms": f"{sum(figures.errors.values())}, {figures.rearms}",
        "verdicts": ", ".join(f"{k} {v:,}" for k, v in figures.verdicts.items()),
        "errors": ", ".join(f"{k} {v}" for k, v in sorted(figures.errors.items())),
    }
    for name, value in rows.items():
        table.add_row(name, value)
    console.print(table)


def main() -> int:
    """Soak, then throughput."""
    parser = argparse.ArgumentParser(prog="python -m sim.bulk", description=__doc__)
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, choices=(64, 512), default=64)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", type=int, default=5, help="per 10,000 frames")
    options = parser.parse_args()
    console = Console()
    world = World(random.Random(options.seed))
    with console.status("building the block"):
        block = Block(options.width, seed=options.seed)
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("frames", total=options.frames)
        begin = time.monotonic()
        soak = Soak(options.width, options.seed, block, world)
        figures = soak.run(
            options.frames, options.faults, lambda done: progress.update(task, completed=done)
        )
    report(console, figures, time.monotonic() - begin)
    sizes = [*range(1, 257), 512, 1000, 1514, 1518, 4096, 9018]
    rates = throughput(block, world, sizes)
    console.print(f"{min(rates.values()):.3f} beats per cycle at each of {len(sizes)} frame sizes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
