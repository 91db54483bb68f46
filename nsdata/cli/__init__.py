"""The command line: one function per verb.

Exit status 0 done, 1 the run failed, 2 misuse; 130 and 143 when SIGINT or SIGTERM ended a
replay, whose record is complete nevertheless. What came from files and captures is printed
by `safe`: it cannot steer the terminal.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nsdata.cli.appliance import app as appliance_app
from nsdata.cli.manager import app as manager_app
from nsdata.cli.offload import app as offload_app
from nsdata.cli.remote import add_to as add_remote_verbs
from nsdata.cli.scenario import app as scenario_app
from nsdata.cli.values import (
    Stop,
    notes_after,
    notes_before,
    parse_capacity,
    parse_duration_option,
    parse_switches,
)
from nsdata.errors import CaptureError, NsdataError, RuleError, SettingError

app = typer.Typer(
    name="nsdata",
    help="Inline packet inspection that knows what it drops and fails open.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
rules_app = typer.Typer(help="Work with rule files.", no_args_is_help=True)
app.add_typer(rules_app, name="rules")
app.add_typer(offload_app, name="offload")
app.add_typer(appliance_app, name="appliance")
app.add_typer(scenario_app, name="scenario")
add_remote_verbs(appliance_app)
app.add_typer(manager_app, name="manager")

SHOWN_REFUSALS = 10
DEFAULT_QUEUE = 4096

Captures = Annotated[
    list[Path], typer.Argument(help="pcap or pcapng files, plain, gzip or zstd; played in order.")
]
Sets = Annotated[
    list[str],
    typer.Option(
        "--set", metavar="KEY=VALUE",
        help="One setting, e.g. stream.midstream=true; docs/operations.md lists them all.",
    ),
]  # fmt: skip
Config = Annotated[Path | None, typer.Option(help="TOML file of settings; --set goes before it.")]


def _version(wanted: bool) -> None:
    if wanted:
        from nsdata import __version__

        print(f"nsdata {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version.")
    ] = False,
) -> None:
    pass


def _say(text: object) -> None:
    """A line on standard error, of which no part can steer the terminal."""
    from nsdata.output.console import safe

    print(f"nsdata: {safe(str(text))}", file=sys.stderr)


@app.command()
def replay(
    captures: Captures,
    rules: Annotated[
        list[Path], typer.Option("--rules", "-r", help="Rule file; may be given several times.")
    ] = [],  # noqa: B006 (typer copies it)
    eve: Annotated[Path | None, typer.Option(help="Write EVE JSON here (- is stdout).")] = None,
    summary: Annotated[Path | None, typer.Option(help="Write the summary as JSON here.")] = None,
    report: Annotated[
        Path | None,
        typer.Option(help="Write a page of HTML here: rates over time, states, evidence, ledger."),
    ] = None,
    inline: Annotated[
        bool, typer.Option("--inline", help="Sit inline: drop and reject rules take effect.")
    ] = False,
    checksum_validation: Annotated[
        str, typer.Option(metavar="all|none", help="Validate checksums, or do not.")
    ] = "all",
    sets: Sets = [],  # noqa: B006
    config: Config = None,
    write_forwarded: Annotated[
        Path | None, typer.Option(help="Write the forwarded frames as a capture.")
    ] = None,
    bypass_rules: Annotated[
        Path | None, typer.Option(help="TOML file of inspection bypass rules (at most 32).")
    ] = None,
    speed: Annotated[
        str, typer.Option(metavar="max|1x|10x", help="As fast as it goes, or paced by the clock.")
    ] = "max",
    capacity: Annotated[
        str | None,
        typer.Option(
            metavar="RATE",
            help="Model an engine that inspects so many packets a second, in virtual time: "
            "500pps, 200kpps, 1.5Mpps.",
        ),
    ] = None,
    queue: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Packets that may wait for the modelled engine.",
            show_default=str(DEFAULT_QUEUE),
        ),
    ] = None,
    fallback_at: Annotated[
        list[str],
        typer.Option(
            metavar="T|#N", help="Fall back by hand: 10s after the start, or at packet #N."
        ),
    ] = [],  # noqa: B006
    restore_at: Annotated[
        list[str], typer.Option(metavar="T|#N", help="Restore by hand, likewise.")
    ] = [],  # noqa: B006
    restore_after: Annotated[
        str | None, typer.Option(metavar="T", help="Restore so long after each fallback.")
    ] = None,
    force_restore: Annotated[
        bool, typer.Option("--force-restore", help="Restore even while the cause holds.")
    ] = False,
    offload: Annotated[
        str | None,
        typer.Option(
            metavar="model|rtl|cocotb|pcie:ADDR",
            help="Have the FPGA block judge frames first; model is its bit-exact model.",
        ),
    ] = None,
    offload_image: Annotated[
        Path | None,
        typer.Option(help="Its tables (nsdata offload compile); else made of the rules."),
    ] = None,
    fpga_failure: Annotated[
        str | None,
        typer.Option(
            metavar="fallback|software",
            help="When the FPGA fails: fall back, or inspect without it (offload.on-failure).",
        ),
    ] = None,
    offload_check_share: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Share of the frames it spares that are judged and inspected by software too.",
        ),
    ] = None,
    loops: Annotated[int, typer.Option(min=1, help="Play the captures so often.")] = 1,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse to run when a rule is refused.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no tables.")] = False,
) -> None:
    """Replay captures through the engine: inspect, account for every packet, fall back.

    Every packet is inspected, bypassed, blocked or lost, and counted once. When more than 90 %
    of the packets of a 5 s window are dropped (by rules, or lost to over-subscription), the
    engine falls back: from the next packet on everything is permitted, nothing inspected.

    Examples:

      nsdata replay office.pcap --rules demo.rules --eve eve.json --summary summary.json

      nsdata replay office.pcap -r demo.rules --inline --write-forwarded forwarded.pcap

      nsdata replay office.pcap -r demo.rules --offload model

      nsdata replay office.pcap -r demo.rules --capacity 200pps --queue 64 --restore-after 10s
    """
    from nsdata.assembly import LoadedRules
    from nsdata.config.settings import Settings
    from nsdata.output.console import ReplayProgress, print_summary
    from nsdata.replay.files import check_files
    from nsdata.replay.run import Progress, read_by, written_by
    from nsdata.replay.run import replay as run_replay
    from nsdata.rules.ruleset import load_rules

    if checksum_validation not in ("all", "none"):
        raise SettingError(f"--checksum-validation {checksum_validation}: legal are all and none")
    sets = [
        *sets,
        *([] if fpga_failure is None else [f"offload.on-failure={fpga_failure}"]),
        *([] if offload_check_share is None else [f"offload.check-share={offload_check_share}"]),
    ]
    inputs = read_by(captures, rules, bypass_rules, offload_image)
    if config is not None:
        inputs.append(("--config", config))
    check_files(inputs, written_by(eve, summary, write_forwarded, report))
    settings = Settings.load(config, sets)
    switches = parse_switches(fallback_at, restore_at, force_restore)
    capacity_pps = parse_capacity(capacity) if capacity is not None else 0.0
    restore_after_ns = parse_duration_option("--restore-after", restore_after)
    for note in notes_before(
        queue=queue is not None, capacity=capacity is not None, force_restore=force_restore,
        restore_at=bool(restore_at),
    ):  # fmt: skip
        _say(note)
    ruleset = load_rules(rules, settings)
    _say_refusals(ruleset.refused)
    if strict and ruleset.refused:
        raise NsdataError(
            f"{len(ruleset.refused)} rules were refused and --strict was given: nothing was "
            "replayed. Mend them, or leave --strict out to run with the rest"
        )
    loaded = LoadedRules.build(ruleset, settings)
    total = sum(p.stat().st_size for p in captures if p.is_file()) * loops
    console = Console(stderr=True, quiet=quiet)
    with ReplayProgress(total, console) as bar, Stop() as stop:

        def show(progress: Progress) -> None:
            rate = progress.packets / progress.seconds if progress.seconds else 0.0
            bar.update(progress.done_bytes, rate, progress.drop_ratio, progress.state)
            for note in progress.notes:
                bar.note(note)

        result = run_replay(
            captures, eve=eve, summary=summary, report=report, inline=inline,
            checksum_validation=checksum_validation == "all", settings=settings,
            write_forwarded=write_forwarded, bypass_rules=bypass_rules, speed=speed,
            capacity_pps=capacity_pps, queue=queue or DEFAULT_QUEUE, switches=switches,
            restore_after_ns=restore_after_ns, loaded=loaded, loops=loops, offload=offload,
            offload_image=offload_image, progress=show, stop=stop.asked,
        )  # fmt: skip
    to_stdout = "-" in (str(eve), str(summary), str(report))
    nothing = not result.summary.received  # tables of nothing would only mislead
    if not quiet and not nothing:
        print_summary(result.summary, result.points, Console(stderr=to_stdout), faults=False)
    if nothing and result.ok and not quiet:
        _say("the captures hold no packets")
    if not nothing:
        for note in notes_after(result.summary, result.not_reached):
            _say(note)
    if eve is None and not quiet and result.summary.alerts:
        print("(no --eve FILE given: the events were not kept)", file=sys.stderr)
    for fault in result.summary.errors:
        _say(fault.message)
    if stop.signal:
        raise typer.Exit(128 + stop.signal)
    if not result.ok:
        raise typer.Exit(1)


@rules_app.command("check")
def rules_check(
    files: Annotated[list[Path], typer.Argument(help="Rule files.")],
    sets: Sets = [],  # noqa: B006
    config: Config = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 1 when a rule is refused.")
    ] = False,
    compile_: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Build the rule image as well.")
    ] = True,
) -> None:
    """Load rule files; say what is refused, where and why, and what the rest comes to."""
    from nsdata.assembly import LoadedRules
    from nsdata.config.settings import Settings
    from nsdata.output.console import safe
    from nsdata.rules.ruleset import load_rules

    settings = Settings.load(config, sets)
    ruleset = load_rules(files, settings)
    for error in ruleset.refused:
        print(safe(str(error)))
    for raw, why in ruleset.skipped:
        print(safe(f"{raw.path}:{raw.line}: skipped: {why}"))
    console = Console()
    total = len(ruleset.rules) + len(ruleset.refused)
    if ruleset.refused:
        table = Table("keyword", "rules refused", box=None, pad_edge=False)
        for keyword, n in ruleset.refused_by_keyword.most_common():
            table.add_row(Text(safe(keyword)), f"{n:,}")
        console.print(table)
    share = f" ({100 * len(ruleset.rules) / total:.1f} %)" if total else ""
    print(
        f"{len(ruleset.rules):,} of {total:,} rules loaded{share}, "
        f"{len(ruleset.refused):,} refused, {len(ruleset.skipped):,} skipped"
    )
    if compile_:
        loaded = LoadedRules.build(ruleset, settings)
        memory = loaded.base.memory()
        print(
            f"image: {memory['arrays'] / 1e6:.1f} MB of arrays, "
            f"{memory['hyperscan'] / 1e6:.1f} MB of Hyperscan databases"
        )
    if strict and ruleset.refused:
        raise typer.Exit(1)


@app.command()
def info(captures: Captures) -> None:
    """Say what captures hold: format, frames, times, link types, and where they are damaged."""
    from nsdata.capture import capture_info
    from nsdata.cli.values import info_rows
    from nsdata.output.console import safe

    console = Console()
    damaged = False
    for path in captures:
        found = capture_info(path)
        table = Table(
            box=None, show_header=False, pad_edge=False, title=Text(safe(str(path))),
            title_justify="left",
        )  # fmt: skip
        for name, value in info_rows(found):
            table.add_row(name, Text(safe(value)))
        console.print(table)
        if found.error is not None:
            damaged = True
            _say(CaptureError(
                found.path, found.error, found.error_offset, found.compression is not None
            ))  # fmt: skip
    if damaged:
        raise typer.Exit(1)


def _say_refusals(refused: list[RuleError]) -> None:
    for error in refused[:SHOWN_REFUSALS]:
        _say(error)
    if len(refused) > SHOWN_REFUSALS:
        worst = Counter(error.keyword or "syntax" for error in refused).most_common(5)
        words = ", ".join(f"{keyword} {n:,}" for keyword, n in worst)
        _say(
            f"… {len(refused):,} rules refused in all (by keyword: {words}, …); "
            "nsdata rules check FILE names each"
        )


def main() -> None:
    """Entry point: errors raised on purpose become one line and an exit status."""
    try:
        app()
    except SettingError as error:
        _say(error)
        sys.exit(2)
    except NsdataError as error:
        _say(error)
        sys.exit(1)
    except KeyboardInterrupt:
        print("nsdata: interrupted", file=sys.stderr)
        sys.exit(130)
    except SystemExit as end:
        if end.code == 130 and not Stop.last:  # typer made it of an interrupt, without a word
            print("nsdata: interrupted", file=sys.stderr)
        raise
    except BrokenPipeError:
        sys.exit(1)
