"""`nsdata scenario …`: incidents written down, run, asserted, compared."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from nsdata.scenario.run import Result

app = typer.Typer(
    help="Write an incident down, run it, assert what the appliance must do.\n\n"
    "A scenario is a TOML file: traffic, a timeline of what happens (load, a process that is "
    "killed or hangs, an error of the FPGA, a sensor, a full disk, an operator), and what must "
    "be true then. In virtual time a run takes seconds and gives the same bytes every time; "
    "with --real the same file runs against real processes.\n\n"
    "Begin with `nsdata scenario new my.toml`, then `nsdata scenario run my.toml`; "
    "examples/scenarios has twelve to learn from, docs/scenarios.md explains every key.",
    no_args_is_help=True,
)
Files = Annotated[list[Path], typer.Argument(metavar="FILE...", help="Scenario files (TOML).")]
ABREAST = 4  # policies in one table
File = Annotated[Path, typer.Argument(metavar="FILE", help="A scenario file (TOML).")]


@contextmanager
def _bar(names: Sequence[str], quiet: bool) -> Iterator[Callable[[int, float], None]]:
    """A progress bar over several runs; nothing where nobody looks."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True, quiet=quiet)
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal,
    ) as progress:  # fmt: skip
        task = progress.add_task("", total=len(names))

        def told(number: int, share: float) -> None:
            progress.update(task, description=names[number], completed=number + share)

        yield told


def _line(result: Result) -> None:
    """What a run came to, a line an expectation."""
    from nsdata.output.console import safe

    verdicts = result.verdicts
    held = sum(one.ok for one in verdicts)
    mark = "ok    " if result.ok else "FAILED"
    print(f"{mark} {safe(result.scenario.path)}: {held} of {len(verdicts)} expectations hold")
    for one in verdicts:
        if not one.ok:
            place = result.scenario.place("expect", one.number) if one.number >= 0 else ""
            print(f"  {safe(place)} {safe(one.title)}")
            print(f"    expected: {safe(one.expected)}")
            print(f"    found:    {safe(one.found)}")
        elif one.skipped:
            print(f"  left out: {safe(one.title)} ({safe(one.skipped)})")


@app.command()
def run(
    files: Files,
    real: Annotated[
        bool, typer.Option("--real", help="Against a real appliance: processes, signals, files.")
    ] = False,
    junit: Annotated[
        Path | None, typer.Option(metavar="OUT.xml", help="Write the verdicts as JUnit XML.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="OUT.html", help="Write a report with the timeline.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write EVE, summary and ledger of each run there."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summaries as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> None:
    """Run scenarios; exit 0 when every expectation holds, 1 when one fails, 2 for a wrong file.

    Examples:

      nsdata scenario run examples/scenarios/*.toml

      nsdata scenario run my.toml --html report.html --junit results.xml --out out/

      nsdata scenario run my.toml --real
    """
    from nsdata.output.eve_file import write_whole
    from nsdata.scenario.files import as_json as json_of
    from nsdata.scenario.files import check_names, summary, write_run
    from nsdata.scenario.junit import junit as junit_of
    from nsdata.scenario.page import page
    from nsdata.scenario.run import compiled
    from nsdata.scenario.run import run as run_virtual
    from nsdata.scenario.scenario import load

    if out is not None:
        check_names(files)
    scenarios = [load(path) for path in files]  # all are sound before one is run
    results: list[Result] = []
    with _bar([one.name for one in scenarios], quiet or as_json) as told:
        for number, scenario in enumerate(scenarios):

            def share(done: float, number: int = number) -> None:
                told(number, done)

            if real:
                from nsdata.scenario.real import run as run_real

                result = run_real(scenario, share)
            else:
                result = run_virtual(scenario, share, compiled(scenario))
            results.append(result)
            if out is not None:
                write_run(result, out)
            if not as_json:
                _line(result)
    if as_json:
        print(json_of([summary(one) for one in results]), end="")
    if junit is not None:
        write_whole(junit, junit_of(results))
    if html is not None:
        write_whole(html, page(results))
    if not all(one.ok for one in results):
        raise typer.Exit(1)


@app.command()
def check(files: Files) -> None:
    """Say whether files are sound, without running them; exit 2 at the first that is not."""
    from nsdata.output.console import safe
    from nsdata.scenario.run import compiled
    from nsdata.scenario.scenario import load
    from nsdata.scenario.traffic import offered

    for path in files:
        scenario = load(path)
        compiled(scenario)
        frames = len(offered(scenario))
        file = scenario.file
        print(f"{safe(str(path))}: sound; {len(file.action)} actions, {len(file.expect)} "
              f"expectations, {frames:,} frames a round")  # fmt: skip


@app.command()
def new(file: File) -> None:
    """Write a scenario to begin with: it runs as it is, and comments say what may be changed."""
    from nsdata.output.console import safe
    from nsdata.scenario.files import create
    from nsdata.scenario.template import TEMPLATE

    create(file, TEMPLATE)
    print(f"{safe(str(file))} written; try: nsdata scenario run {safe(str(file))}")


@app.command()
def compare(
    file: File,
    sets: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="KEY=A,B,C",
            help="A setting and its values (docs/operations.md), or a key of the scenario such as "
            "appliance.workers; drop_threshold is drop-meter.threshold in percent. Several --set: "
            "every combination. Values that are lists themselves are parted by |.",
        ),
    ],
    html: Annotated[
        Path | None, typer.Option(metavar="OUT.html", help="Write the policies below each other.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> None:
    """Run one incident under several policies and show where they differ.

    Exit 0 whatever the expectations say: they are counted for each policy.

    Examples:

      nsdata scenario compare --set drop_threshold=50,70,90 flood.toml

      nsdata scenario compare --set watch.heartbeat=500ms,2s --set appliance.workers=1,2 hang.toml
    """
    from nsdata.output.eve_file import write_whole
    from nsdata.scenario.compare import HEAD, comparison, differing, page_of, policies, row
    from nsdata.scenario.files import as_json as json_of
    from nsdata.scenario.scenario import load

    scenario = load(file)
    chosen = policies(sets)
    with _bar([", ".join(one) for one in chosen], quiet or as_json) as told:
        results = comparison(scenario, chosen, told)
    rows = [row(one) for one in results]
    if html is not None:
        write_whole(html, page_of(results))
    if as_json:
        print(json_of([dict(zip(HEAD, one, strict=True)) for one in rows]), end="")
        return
    console = Console()
    for start in range(0, len(rows), ABREAST):
        console.print(_abreast(scenario.title, HEAD, rows, slice(start, start + ABREAST)))
    words = "≠: the policies differ in it" if differing(rows) else "no policy differs"
    print(words, file=sys.stderr)


def _abreast(
    title: str, head: Sequence[str], rows: Sequence[tuple[Any, ...]], part: slice
) -> Table:
    """Policies side by side, a line for each figure; those that differ are marked."""
    table = Table(title=Text(title), title_justify="left", show_lines=True)
    for name in ("", "", *(one[0].replace(", ", "\n") for one in rows[part])):
        table.add_column(Text(name, overflow="fold"), overflow="fold")
    for at, name in enumerate(head[1:], 1):
        alike = len({one[at] for one in rows}) == 1
        style = "" if alike else "bold yellow"
        cells = (
            Text(
                f"{one[at]:,}" if isinstance(one[at], int) else one[at].replace(" → ", "\n"), style
            )
            for one in rows[part]
        )
        table.add_row("" if alike else "≠", Text(name), *cells)
    return table
