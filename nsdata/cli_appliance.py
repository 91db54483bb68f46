"""`nsdata appliance …`: run an appliance, and talk to the one that runs."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

app = typer.Typer(
    help="Run an appliance: inspect live, fall back when it cannot be trusted, say why.",
    no_args_is_help=True,
)
Directory = Annotated[
    Path, typer.Argument(help="The directory of the appliance (its socket is in there).")
]
NOTIFY_TEST_S = 65.0  # longer than the longest time-out of a target
AsJson = Annotated[bool, typer.Option("--json", help="The whole answer as JSON.")]


def _ask(directory: Path, command: str, **members: Any) -> dict[str, Any]:
    from nsdata.appliance.control import ask

    return ask(directory, {"command": command, **members})


@app.command()
def run(
    config: Annotated[Path, typer.Option(help="TOML file: docs/appliance.md explains it.")],
) -> None:
    """Run an appliance in the foreground until SIGTERM or Ctrl-C; SIGHUP reloads it."""
    from nsdata.appliance.log import logging_as
    from nsdata.appliance.settings import ApplianceSettings
    from nsdata.appliance.supervisor import Supervisor

    supervisor = Supervisor(ApplianceSettings.load(config), config)
    print(f"nsdata: appliance {supervisor.settings.name} in {supervisor.settings.directory}",
          flush=True)  # fmt: skip
    with logging_as("supervisor", supervisor.processes.log, rotates=True):
        supervisor.run()


@app.command()
def enrol(
    directory: Directory,
    manager: Annotated[str, typer.Option(help="https://NAME:PORT of the manager.")],
    token: Annotated[
        str, typer.Option(help="The one-time token; others see it in the process list.")
    ] = "",
    token_file: Annotated[
        Path | None, typer.Option(help="The file it is in; - is standard input.")
    ] = None,
    name: Annotated[str, typer.Option(help="Until it reports its own.")] = "",
) -> None:
    """Enrol the appliance in this directory at a manager; one that runs reports from then on."""
    from nsdata.appliance.membership import enrol as enrol_at
    from nsdata.cli_values import read_secret_option

    secret = read_secret_option("token", token, token_file, "NSDATA_ENROL_TOKEN")
    name = name or directory.resolve().name
    member = enrol_at(directory, name, manager, secret)
    print(f"enrolled at {manager} as {member.id}; it reports to {member.agents_url}")


@app.command()
def leave(directory: Directory) -> None:
    """Forget the manager: the appliance reports to nobody and takes no commands from afar."""
    from nsdata.appliance.membership import leave as leave_now

    print("it has left its manager" if leave_now(directory) else "it was enrolled nowhere")


@app.command()
def status(directory: Directory, as_json: AsJson = False) -> None:
    """State, reason, what became of the packets, processes."""
    told = _ask(directory, "status")
    if as_json:
        print(json.dumps(told))
        return
    from nsdata.output.console import safe

    console = Console(highlight=False)
    console.print(f"{safe(told['name'])}: {told['state']} ({told['reason']}, {told['severity']})")
    if told["state"] != "normal":
        console.print(f"  {told['cause']} {told['resolution']}")
    ledger = told["ledger"]
    table = Table("fate", "packets", "bytes")
    for fate in ("received", "inspected", "bypassed", "blocked", "lost"):
        table.add_row(fate, f"{ledger[fate]['packets']:,}", f"{ledger[fate]['bytes']:,}")
    console.print(table)
    protection = told["protection"]
    if protection["alerts_suspended_until_ns"] is not None:
        left_out = protection["suppressed_alerts"]
        console.print(f"  alerts are suspended: too much is lost; {left_out:,} left out so far")
    if off := protection["disabled_rules"]:
        console.print(f"  rules that are disabled: {', '.join(map(str, off))}")
    blocked = [name for name, one in told["segments"].items() if one["action"] == "block"]
    if blocked:
        console.print(f"  blocked when not inspected: {', '.join(map(safe, blocked))}")
    table = Table("process", "phase", "pid", "memory")
    processes = told["processes"]
    if "phase" in told["reporter"]:
        processes["reporter"] = told["reporter"]
    for name, one in processes.items():
        memory = one.get("rss_bytes") or 0
        table.add_row(name, str(one.get("phase")), str(one.get("pid")), f"{memory >> 20} MiB")
    console.print(table)


@app.command()
def stats(
    directory: Directory,
    as_json: AsJson = False,
    watch: Annotated[bool, typer.Option("--watch", help="Go on, once a second.")] = False,
    most: Annotated[int, typer.Option(help="How many rules, costliest first.", min=1)] = 10,
) -> None:
    """Tiers, what is suspended or disabled, rules that cost most, segments and their budgets."""
    told = _ask(directory, "stats", most=most)
    if as_json and not watch:
        print(json.dumps(told))
        return
    from nsdata.output.stats_page import stats_page

    console = Console(highlight=False)
    if not watch:
        console.print(stats_page(told))
        return
    with suppress(KeyboardInterrupt):
        if as_json:
            while True:
                print(json.dumps(told), flush=True)
                time.sleep(1)
                told = _ask(directory, "stats", most=most)
        with Live(stats_page(told), console=console, auto_refresh=False) as live:
            while True:
                time.sleep(1)
                live.update(stats_page(_ask(directory, "stats", most=most)), refresh=True)


def _say_transitions(told: dict[str, Any]) -> None:
    for one in told["transitions"]:
        print(f"{one['from']} -> {one['to']}: {one['reason']} ({one['outcome']})")
        if one["outcome"] == "refused":
            print(f"  {one['evidence'].get('recheck', {}).get('why', '')}; --force overrides")
            raise typer.Exit(1)


@app.command()
def fallback(
    directory: Directory,
    note: Annotated[str, typer.Option(help="Why, for the record.")] = "",
) -> None:
    """Put it into fallback by hand: all traffic is permitted, none inspected."""
    _say_transitions(_ask(directory, "fallback", note=note))


@app.command()
def restore(
    directory: Directory,
    force: Annotated[bool, typer.Option("--force", help="Even while the cause holds.")] = False,
) -> None:
    """Restore it to normal; refused while the cause still holds."""
    _say_transitions(_ask(directory, "restore", force=force))


@app.command()
def reload(
    directory: Directory,
    rules: Annotated[list[Path], typer.Option("--rules", "-r", help="Other rule files.")] = [],  # noqa: B006
) -> None:
    """Read configuration and rules again without losing or skipping a packet.

    What decides and the rules are taken over while packets flow. A setting of the engine, the
    port or the sources takes a restart: then nothing is taken over, and the keys are named.
    With --rules only the rules change, until the next reload.
    """
    more = {"rules": [str(path.resolve()) for path in rules]} if rules else {}
    told = _ask(directory, "reload", **more)
    print(f"asked {', '.join(told['workers']) or 'nobody'} to compile the rules; "
          f"changed: {', '.join(told['changed']) or 'no setting'}")  # fmt: skip


@app.command()
def stop(directory: Directory) -> None:
    """Stop it in order."""
    _ask(directory, "stop")


@app.command(name="notify-test")
def notify_test(
    directory: Directory,
    note: Annotated[str, typer.Option(help="To stand in it.")] = "",
) -> None:
    """Send a test notification to every target, and say what came of it; exit 1 if one failed."""
    import time

    told = _ask(directory, "notify-test", note=note)
    number, targets = told["number"], told["targets"]
    results: dict[str, Any] = {}
    end = time.monotonic() + NOTIFY_TEST_S
    while len(results) < len(targets) and time.monotonic() < end:
        time.sleep(0.05)
        results = _ask(directory, "notify-tested", number=number)["results"]
    for target in targets:
        one = results.get(target, {"delivered": False, "why": "no answer of the reporter"})
        print(f"{target}: {'delivered' if one['delivered'] else 'FAILED'}: {one['why']}")
    if not all(target in results and results[target]["delivered"] for target in targets):
        raise typer.Exit(1)


@app.command()
def transitions(
    directory: Directory,
    most: Annotated[int, typer.Option(help="How many, newest first.", min=1)] = 20,
    as_json: AsJson = False,
) -> None:
    """What it went through, with the evidence."""
    told = _ask(directory, "transitions", most=most)["transitions"]
    if as_json:
        print(json.dumps(told))
        return
    for one in told:
        print(f"{one['wall_ns']} {one['from']} -> {one['to']}: {one['reason']} ({one['outcome']})")
