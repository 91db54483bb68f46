"""`nsdata appliance …`: run an appliance, and talk to the one that runs."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from nsdata.cli.remote import CaFile, OfManager, TokenFile

app = typer.Typer(
    help="Run an appliance: inspect live, fall back when it cannot be trusted, say why.",
    no_args_is_help=True,
)
Directory = Annotated[
    Path, typer.Argument(help="The directory of the appliance (its socket is in there).")
]
RELOAD_S = 120.0  # for rules to be compiled
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
    name: Annotated[
        str,
        typer.Option(
            help="Until it reports its own; else the name of the one that runs there, "
            "or the directory's."
        ),
    ] = "",
) -> None:
    """Enrol the appliance in this directory at a manager; one that runs reports from then on."""
    from nsdata.appliance.agent.membership import enrol as enrol_at
    from nsdata.cli.values import read_secret_option

    secret = read_secret_option("token", token, token_file, "NSDATA_ENROL_TOKEN")
    name = name or _own_name(directory) or directory.resolve().name
    member = enrol_at(directory, name, manager, secret)
    print(f"enrolled at {manager} as {member.id}; it reports to {member.agents_url}")
    print(f"its name there is {name}, until it reports the name of its configuration")


def _own_name(directory: Path) -> str:
    """Of the appliance that runs in this directory; empty: none does."""
    from nsdata.errors import NsdataError

    try:
        return str(_ask(directory, "status")["name"])
    except NsdataError:
        return ""


@app.command()
def leave(directory: Directory) -> None:
    """Forget the manager: the appliance reports to nobody and takes no commands from afar."""
    from nsdata.appliance.agent.membership import leave as leave_now

    print("it has left its manager" if leave_now(directory) else "it was enrolled nowhere")


@app.command()
def status(directory: Directory, as_json: AsJson = False) -> None:
    """State, reason, what became of the packets, processes."""
    told = _ask(directory, "status")
    if as_json:
        print(json.dumps(told))
        return
    from nsdata.output.console import safe
    from nsdata.output.fpga_lines import fpga_lines

    console = Console(highlight=False)
    console.print(f"{safe(told['name'])}: {told['state']} ({told['reason']}, {told['severity']})")
    if told["state"] != "normal":
        console.print(f"  {told['cause']} {told['resolution']}")
    ledger = told["ledger"]
    table = Table("fate", "packets", "bytes")
    for fate in ("received", "inspected", "bypassed", "blocked", "lost"):
        table.add_row(fate, f"{ledger[fate]['packets']:,}", f"{ledger[fate]['bytes']:,}")
    console.print(table)
    console.print(f"  {safe(_manager_line(told['manager']))}", markup=False, soft_wrap=True)
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
    for line in fpga_lines(told["fpga"]):
        console.print(safe(line), markup=False, soft_wrap=True)


def _manager_line(told: dict[str, Any] | None) -> str:
    """Of `status`: where the appliance is enrolled, and whether it is heard there."""
    from nsdata.output.shown import moment

    if told is None:
        return "manager: enrolled nowhere"
    where = f"manager: {told['url']}, enrolled as {told['id']}; "
    if told["takes"] is None:
        return where + "not asked yet"
    since = "" if told["since_ns"] is None else f" since {moment(told['since_ns'])}"
    if told["takes"]:
        return f"{where}takes its reports{since}"
    return f"{where}does NOT take its reports{since}: {told['why']}"


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


def _say_transitions(told: dict[str, Any], forced: bool = True) -> None:
    """What became of a command; exit 1 when it was refused."""
    for one in told["transitions"]:
        print(f"{one['from']} -> {one['to']}: {one['reason']} ({one['outcome']})")
        if one["outcome"] == "refused":
            why = one["evidence"].get("recheck", {}).get("why", "")
            print(f"  {why}" + ("" if forced else "; --force overrides"))
            raise typer.Exit(1)


@app.command()
def fallback(
    directory: Directory,
    note: Annotated[str, typer.Option(help="Why, for the record.")] = "",
) -> None:
    """Put it into fallback by hand: all traffic is permitted, none inspected."""
    told = _ask(directory, "fallback", note=note)
    if told.get("after_reboot"):
        print("a reboot runs; it stays in fallback when that is over")
    _say_transitions(told)


@app.command()
def restore(
    directory: Directory,
    force: Annotated[bool, typer.Option("--force", help="Even while the cause holds.")] = False,
) -> None:
    """Restore it to normal; refused while the cause still holds."""
    told = _ask(directory, "restore", force=force)
    normal = any(one["from"] == "normal" for one in told["transitions"])
    _say_transitions(told, forced=force or normal)


@app.command()
def reload(
    directory: Directory,
    rules: Annotated[list[Path], typer.Option("--rules", "-r", help="Other rule files.")] = [],  # noqa: B006
    wait: Annotated[bool, typer.Option(help="Until the rules are compiled; exit 1 if not.")] = True,
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
    if wait and told["workers"]:
        _await_reload(directory, told["order"])


def _await_reload(directory: Path, order: int) -> None:
    """Say what each worker made of the rules; exit 1 when one could not compile them."""
    from nsdata.output.console import safe

    until = time.monotonic() + RELOAD_S
    while time.monotonic() < until:
        told = _ask(directory, "reload-status")
        if told["order"] != order:
            print("another reload came after it")
            return
        if set(told["workers"]) <= set(told["answers"]):
            break
        time.sleep(0.1)
    for name in told["workers"]:
        answer = told["answers"].get(name)
        if answer is None:
            print(f"{name}: not compiled yet, after {RELOAD_S:g} s")
        elif answer["ok"]:
            refused = f", {answer['refused']} refused" if answer["refused"] else ""
            print(f"{name}: {answer['rules']} rules{refused}")
        else:
            print(safe(f"{name}: {answer['why']}; the rules from before stay"))
    if not all((told["answers"].get(name) or {}).get("ok") for name in told["workers"]):
        raise typer.Exit(1)


@app.command()
def reboot(
    directory: Directory,
    note: Annotated[str, typer.Option(help="Why, for the record.")] = "",
    port: Annotated[
        bool, typer.Option("--port", help="The port, too, at the end: a gap in the traffic.")
    ] = False,
    number: Annotated[
        str, typer.Option("--id", help="Asked twice with one id, it happens once.")
    ] = "",
    wait: Annotated[bool, typer.Option(help="Until it is over; exit 1 when it failed.")] = True,
    as_json: AsJson = False,
    manager: OfManager = "",
    token_file: TokenFile = None,
    ca: CaFile = None,
) -> None:
    """Begin its processes anew; all traffic is permitted meanwhile, and the state comes back.

    With --manager, of the appliance with that id or name; with NSDATA_MANAGER, too, unless the
    argument is the directory of an appliance.
    """
    from nsdata.cli import remote as afar
    from nsdata.cli.progress import follow_reboot
    from nsdata.errors import SettingError

    if manager := afar.manager_of(directory, manager):
        for option, given in (("--port", port), ("--id", number), ("--json", as_json)):
            if given:
                raise SettingError(f"{option}: only at the appliance itself, not through a manager")
        remote = afar.Remote(manager, token_file, ca)
        return afar.reboot(remote, str(directory), note, wait)

    told = _ask(directory, "reboot", note=note, port=port, id=number, by="the command line")
    if not told["started"] and not as_json:
        print(f"reboot {told['reboot']['id']} was asked for before: {told['reboot']['state']}")
    ended = told["reboot"]
    if wait:
        ended = follow_reboot(partial(_ask, directory), ended, quiet=as_json)
    if as_json:
        print(json.dumps({**told, "reboot": ended}))
    else:
        print(f"reboot {ended['id']}: {ended['state']} {ended['error']}".rstrip())
    if ended["state"] == "failed":
        raise typer.Exit(1)


@app.command()
def report(
    directory: Directory,
    to: Annotated[
        str, typer.Option(help="A URL it is PUT to: docs/support-report.md has the rules.")
    ] = "",
    vendor: Annotated[bool, typer.Option("--vendor", help="To the vendor.")] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Into this file (.tar.gz); else where reports are kept."),
    ] = None,
    packets: Annotated[
        bool, typer.Option("--packets", help="With some packets as they come, unredacted.")
    ] = False,
    as_json: AsJson = False,
    wait: Annotated[bool, typer.Option(help="With --manager: until it is over.")] = True,
    manager: OfManager = "",
    token_file: TokenFile = None,
    ca: CaFile = None,
) -> None:
    """Make a support report, and send it; exit 1 when it failed. Ctrl-C cancels it.

    With --manager, of the appliance with that id or name: it is sent to the manager, and from
    there into the file of --out. With NSDATA_MANAGER, too, unless the argument is the directory of
    an appliance.
    """
    from nsdata.cli import remote as afar
    from nsdata.cli.progress import follow_report
    from nsdata.errors import SettingError

    if sum((bool(to), vendor, out is not None)) > 1:
        raise SettingError("--to, --vendor and --out: one of them")
    if manager := afar.manager_of(directory, manager):
        if out is not None and not wait:
            raise SettingError("--out and --no-wait: the file is there when it is over")
        remote = afar.Remote(manager, token_file, ca)
        to = "vendor" if vendor else to
        return afar.report(remote, str(directory), to, packets, wait, out)
    place = {"to": "vendor" if vendor else to, "out": str(out.absolute()) if out else ""}
    told = _ask(directory, "report", packets=packets, by="the command line", **place)
    try:
        ended = follow_report(partial(_ask, directory), told, quiet=as_json)
    except KeyboardInterrupt:
        _ask(directory, "report-cancel", id=told["id"])
        raise
    if as_json:
        print(json.dumps(ended))
    else:
        _say_report(ended)
    if ended["state"] != "done":
        raise typer.Exit(1)


def _say_report(told: dict[str, Any]) -> None:
    print(f"report {told['id']}: {told['state']} {told['error']}".rstrip())
    if told["location"]:
        print(f"  {told['location']} ({told['size']:,} bytes, SHA-256 {told['sha256']})")
    if told.get("sent_to"):
        print(f"  sent to {told['sent_to']}")


@app.command(name="report-status")
def report_status(
    directory: Directory,
    number: Annotated[str, typer.Option("--id", help="Else the newest.")] = "",
    as_json: AsJson = False,
) -> None:
    """How far a support report is, and what became of it."""
    told = _ask(directory, "report-status", id=number)
    if as_json:
        print(json.dumps(told))
        return
    if told["state"] not in ("done", "failed", "cancelled"):
        print(f"{told['doing']}: {told['progress']:.0%}, since {told['since']}, by {told['by']}")
    _say_report(told)


@app.command(name="report-cancel")
def report_cancel(directory: Directory) -> None:
    """End the support report that is being made."""
    print(f"report {_ask(directory, 'report-cancel')['id']}: asked to end")


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
        _say_transition(one)


def _say_transition(told: dict[str, Any]) -> None:
    """One transition with its evidence, for a person."""
    from nsdata.cli.remote_shown import fact_lines
    from nsdata.output import shown
    from nsdata.output.console import safe

    print(safe(f"{shown.moment(told['wall_ns'])}  {told['from']} -> {told['to']}: "
               f"{told['reason']} ({told['outcome']}, {told['severity']})"))  # fmt: skip
    print(safe(f"  {told['cause']} {told['resolution']}"))

    for line in fact_lines(shown.facts(told["evidence"], told["at_ns"]), "  "):
        print(safe(line))
