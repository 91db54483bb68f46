"""`nsdata offload`: make and read the tables the FPGA block is loaded with."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nsdata.errors import OutputError, SettingError

if TYPE_CHECKING:
    from nsdata.config.settings import Settings
    from nsdata.rules.ir import RuleIR

app = typer.Typer(
    help="The FPGA block: compile rules into its tables, and say what is in them.",
    no_args_is_help=True,
)

Row = tuple[str, str]


@app.command("compile")
def compile_(
    rules: Annotated[
        list[Path] | None, typer.Argument(help="Rule files, as for nsdata replay.")
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Write the image here.")
    ] = Path("image.nsd"),
    buckets: Annotated[
        int, typer.Option(help="Buckets of the block's table: a power of two (BUCKETS_LOG2).")
    ] = 1024,
    words: Annotated[
        int, typer.Option(help="64-bit words of a bucket; each holds three patterns (PF_WORDS).")
    ] = 1,
    seed: Annotated[
        str | None, typer.Option(help="Seed of the hash to try first: 12345 or 0x9e3779b9.")
    ] = None,
    sample: Annotated[
        Path | None,
        typer.Option(help="Capture of typical traffic: what is common in it is not searched for."),
    ] = None,
    patterns: Annotated[
        Path | None,
        typer.Option(
            help="In place of rules: a file of patterns, one a line, i (any case) or s, then hex."
        ),
    ] = None,
    leave_common: Annotated[
        float,
        typer.Option(
            metavar="PERCENT",
            help="Leave rules to the software whose pattern is expected in more frames than this, "
            "or is below 4 bytes with more than 1024 ports. 100 leaves none.",
        ),
    ] = 100.0,
    report: Annotated[
        Path | None, typer.Option(help="Write the report as JSON here (- is stdout).")
    ] = None,
    sets: Annotated[
        list[str], typer.Option("--set", metavar="KEY=VALUE", help="One setting, e.g. vars….")
    ] = [],  # noqa: B006 (typer copies it)
    config: Annotated[
        Path | None, typer.Option(help="TOML file of settings; --set goes before it.")
    ] = None,
) -> None:
    """Compile rules into the image the block's prefilter is loaded with.

    For every rule the block must find the fast pattern, wherever it stands in a frame: such a
    frame is SUSPECT, and the software searches it. Of each pattern the rarest window of 8, 6 or
    4 bytes goes into the table. Patterns below 4 bytes cannot be searched for: frames from or to
    their rules' ports are always SUSPECT. Rules without a fast pattern stay with the software,
    which tries them on CLEAR frames too. A few rules on common bytes can make nearly every frame
    SUSPECT: --leave-common 1 leaves those to the software as well.

    The same rules, sizes and seed give the same bytes. When a pattern does not fit, nothing is
    written and the message says what to try.

    Examples:

      nsdata offload compile demo.rules -o demo.nsd

      nsdata offload compile large.rules --buckets 4096 --words 2 --sample office.pcap -o large.nsd
    """
    from nsdata.config.settings import Settings
    from nsdata.offload.fit import FIRST_SEED
    from nsdata.offload.image import compile_image
    from nsdata.offload.patterns import from_list, from_rules, read_list
    from nsdata.offload.rarity import sample_frames

    if bool(rules) == bool(patterns):
        raise SettingError("give rule files, or a list of patterns with --patterns, not both")
    if buckets < 16 or buckets & (buckets - 1):
        raise SettingError(f"--buckets {buckets}: legal are powers of two from 16 on")
    if not 0 < leave_common <= 100:
        raise SettingError(f"--leave-common {leave_common:g}: legal is above 0 up to 100 (percent)")
    first_seed = FIRST_SEED if seed is None else _seed(seed)
    inputs = [*(rules or ()), *filter(None, (patterns, sample, config))]
    _not_over(inputs, output, report)
    if patterns is not None:
        wanted = from_list(read_list(patterns), f"{patterns.name} pattern")
    else:
        settings = Settings.load(config, sets)
        wanted = from_rules(_rules(rules or [], settings), settings.tunnel_ports())
    learn = None if sample is None else (lambda: sample_frames(sample))
    image = compile_image(
        wanted, buckets_log2=buckets.bit_length() - 1, words=words, seed=first_seed,
        most_common=leave_common / 100, sample=learn,
    )  # fmt: skip
    image.save(output)
    if report is not None:
        text = json.dumps(image.report, indent=2) + "\n"
        if str(report) == "-":
            sys.stdout.write(text)
        else:
            _write(report, text.encode())
    console = Console(stderr=str(report) == "-")
    _print(console, f"wrote {output}", rows_of(image.report, image.signature))
    for note in notes_on(image.report):
        _say(note)


@app.command()
def show(
    image: Annotated[Path, typer.Argument(help="Image written by nsdata offload compile.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    entries: Annotated[
        bool, typer.Option("--entries", help="Print the filled buckets: address, words in hex.")
    ] = False,
    software: Annotated[
        bool, typer.Option("--software", help="List the rules that stay with the software.")
    ] = False,
) -> None:
    """Say what an image holds, how full its table is, and what it leaves to the software.

    `expected share` of a window is a guess at how many frames hold it: patterns whose rarest
    window is common make many frames SUSPECT in vain. A --sample capture makes the guesses good.

    Examples:

      nsdata offload show demo.nsd

      nsdata offload show demo.nsd --software
    """
    from nsdata.offload.image import PrefilterImage
    from nsdata.output.console import safe

    loaded = PrefilterImage.load(image)
    report = loaded.report
    if as_json:
        print(json.dumps({**report, "signature": loaded.signature}, indent=2))
    elif entries:
        for address in range(len(loaded.table)):
            if any(loaded.entry(address)):
                print(f"{address:5d}", *(f"{word:016x}" for word in loaded.entry(address)))
    elif software:
        for rule, reason, _ in report["always"]:
            print(safe(f"{rule}: {reason}"))
    else:
        console = Console()
        _print(console, str(image), rows_of(report, loaded.signature))
        for title, key in (("common windows", "common"), ("short patterns", "short")):
            if report[key]:
                _print(console, title, list(_listed(report[key])))


def rows_of(report: dict[str, Any], signature: int) -> list[Row]:
    """What an image came to, as (name, value)."""
    sizes = ", ".join(f"{n:,} of {size} bytes" for size, n in report["windows"].items())
    ranges = report["ranges"]
    return [
        ("rules", f"{report['rules']:,}"),
        ("patterns", f"{report['patterns']:,}, as {report['slots']:,} windows: {sizes}"),
        ("table", f"{100 * report['load']:.1f} % of {report['capacity']:,} slots"),
        ("seed", f"0x{report['seed']:08x}, number {report['seeds_tried']} that was tried"),
        ("signature", f"0x{signature:08x}"),
        ("short patterns", f"{report['short_patterns']:,}"),
        ("always SUSPECT", "; ".join(ranges) if ranges else "no ports"),
        ("left to software", f"{report['always_software']:,} rules"),
        *(
            (f"  {n:,}", f"because {reason}")
            for reason, n in sorted(report["always_reasons"].items(), key=lambda one: -one[1])
        ),
        ("false by chance", f"{100 * report['chance_share']:.3f} % of frames"),
    ]


def notes_on(report: dict[str, Any]) -> Iterator[str]:
    """What of an image will make many frames SUSPECT, as sentences."""
    if any("all ports" in one for one in report["ranges"]):
        who = "; ".join(f"{one['pattern']} of {one['rules']}" for one in report["short"][:2])
        yield (
            "note: patterns below 4 bytes without ports make every frame of their protocol "
            f"SUSPECT ({who}). Give those rules ports or longer contents, or leave them out by "
            "--leave-common 1"
        )
    if report["common_windows"]:
        worst = report["common"][0]
        yield (
            f"note: {report['common_windows']:,} patterns have no rare window, the commonest is "
            f"{worst['pattern']} of {worst['rules']} (in perhaps {_percent(worst['share'])} of "
            "frames). nsdata offload show lists them, --leave-common 1 leaves them out"
        )


def _percent(share: float) -> str:
    return f"{100 * share:.{0 if share >= 0.1 else 1}f} %"


def _listed(items: Iterable[dict[str, Any]]) -> Iterator[Row]:
    for one in items:
        share = f"expected share {_percent(one['share'])}, " if "share" in one else ""
        yield one["pattern"], share + one["rules"]


def _rules(files: list[Path], settings: Settings) -> list[RuleIR]:
    """The rules that load; what is refused is said."""
    from nsdata.rules.ruleset import load_rules

    ruleset = load_rules(files, settings)
    if ruleset.refused:
        _say(
            f"{len(ruleset.refused):,} rules were refused and are not in the image; "
            "nsdata rules check FILE names each"
        )
    return ruleset.rules


def _seed(text: str) -> int:
    try:
        value = int(text, 0)
    except ValueError:
        value = -1
    if not 0 <= value < 1 << 32:
        raise SettingError(f"--seed {text}: legal are 0 to 0xffffffff")
    return value


def _not_over(inputs: list[Path], *outputs: Path | None) -> None:
    """No output may overwrite an input."""
    for output in outputs:
        if output is not None and any(output.resolve() == one.resolve() for one in inputs):
            raise SettingError(f"{output}: is read, so it cannot be written. Name another file")
    if len({one.resolve() for one in outputs if one}) < len([one for one in outputs if one]):
        raise SettingError("--output and --report name the same file")


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error


def _print(console: Console, title: str, rows: list[Row]) -> None:
    from nsdata.output.console import safe

    table = Table(
        box=None, show_header=False, pad_edge=False, title=Text(safe(title)), title_justify="left"
    )
    for name, value in rows:
        table.add_row(Text(safe(name)), Text(safe(value)))
    console.print(table)


def _say(text: str) -> None:
    """A line on standard error, of which no part can steer the terminal."""
    from nsdata.output.console import safe

    print(f"nsdata: {safe(text)}", file=sys.stderr)
