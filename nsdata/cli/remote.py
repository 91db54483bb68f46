"""`nsdata appliance list|show|inspect|bypass|reboot|report|remove --manager URL`: appliances from
afar, through the API of their manager. `reboot` and `report` are those of cli.appliance, which
come here when a manager is named.

The API token comes from a file or the environment: on the command line others would see it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID, uuid4

import typer
from rich.console import Console
from rich.table import Table

from nsdata.errors import EngineError, NsdataError, OutputError, SettingError

if TYPE_CHECKING:
    import httpx

TRIES = 5  # of a request whose connection was lost
TIMEOUT_S = 30.0
LOOK_S = 0.5

Manager = Annotated[
    str, typer.Option(envvar="NSDATA_MANAGER", help="https://NAME:PORT of the manager.")
]
TokenFile = Annotated[
    Path | None,
    typer.Option(help="The file with the API token; - is standard input; or: NSDATA_TOKEN."),
]
CaFile = Annotated[
    Path | None,
    typer.Option(
        "--ca", envvar="NSDATA_CA", help="Its CA (nsdata manager ca show --pem); else the system's."
    ),
]
Who = Annotated[str, typer.Argument(metavar="APPLIANCE", help="Its id, or its name if unique.")]
AsJson = Annotated[bool, typer.Option("--json", help="The answer as JSON.")]
OfManager = Annotated[
    str, typer.Option("--manager", help="From afar: https://NAME:PORT; then name the appliance.")
]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for its end.")]


class Remote:
    """A manager's API. Errors are NsdataErrors with what the manager says."""

    def __init__(self, manager: str, token_file: Path | None, ca: Path | None) -> None:
        import httpx

        from nsdata.cli.values import read_secret_option

        if not manager.startswith("https://"):
            raise SettingError(f"--manager {manager}: legal is https://NAME:PORT")
        token = read_secret_option("token", "", token_file, "NSDATA_TOKEN")
        try:
            context = ssl.create_default_context(cafile=None if ca is None else str(ca))
        except (OSError, ssl.SSLError) as error:
            raise SettingError(f"--ca {ca}: {error}") from error
        self.manager = manager.rstrip("/")
        self.client: httpx.Client = httpx.Client(
            base_url=self.manager + "/api/v1",
            verify=context,
            timeout=TIMEOUT_S,
            headers={"Authorization": f"Bearer {token}"},
            trust_env=False,
        )

    def call(self, method: str, path: str, **more: Any) -> Any:
        """The answer's JSON. A request whose connection is lost is sent again: commands carry a
        key, so they are done once."""
        import httpx

        from nsdata.appliance.agent.membership import problem

        if method != "GET":
            more["headers"] = {"Idempotency-Key": str(uuid4())}
        for left in reversed(range(TRIES)):
            try:
                answer = self.client.request(method, path, **more)
                break
            except httpx.TransportError as error:
                if not left or isinstance(error, httpx.UnsupportedProtocol):
                    raise EngineError(f"{self.manager}: {error}") from error
                time.sleep(LOOK_S)
        if answer.status_code >= 400:
            raise NsdataError(f"{self.manager}: {problem(answer)}")
        return answer.json() if answer.content else {}

    def fetch(self, path: str, out: Path) -> tuple[int, str]:
        """An archive into a file that is not there yet, whole or not at all; (size, SHA-256)."""
        import httpx

        from nsdata.appliance.agent.membership import problem

        for left in reversed(range(TRIES)):
            try:
                with self.client.stream("GET", path) as answer:
                    if answer.status_code >= 400:
                        answer.read()
                        raise NsdataError(f"{self.manager}: {problem(answer)}")
                    return _keep(answer, out)
            except httpx.TransportError as error:
                if not left:
                    raise EngineError(f"{self.manager}: {error}") from error
                time.sleep(LOOK_S)
        raise AssertionError("the last try returns or raises")

    def all(self, path: str, **query: Any) -> list[dict[str, Any]]:
        """A list, all of its parts."""
        found: list[dict[str, Any]] = []
        cursor: str | None = ""
        while cursor is not None:
            part = self.call(
                "GET", path, params={**query, **({"cursor": cursor} if cursor else {})}
            )
            found += part["items"]
            cursor = part["next"]
        return found

    def id_of(self, who: str) -> str:
        """The id of the appliance that is meant. Raises NsdataError."""
        try:
            return str(UUID(who))
        except ValueError:
            pass
        if not who or any(one.isspace() for one in who):
            raise SettingError(f"{who!r} is neither the id nor the name of an appliance")
        found = [one for one in self.all("/appliances", query=f"name:{who}") if one["name"] == who]
        if len(found) != 1:
            ids = ", ".join(one["id"] for one in found)
            raise NsdataError(
                f"{len(found) or 'no'} appliances are called {who}"
                + (f": name one by its id: {ids}" if found else "")
            )
        return str(found[0]["id"])

    def follow(self, told: dict[str, Any], wait: bool) -> None:
        """Say what a command comes to; exit 1 when it fails."""
        from nsdata.cli.progress import bar

        if not wait:
            print(f"{told['kind']}: {told['state']}; {self.manager}{told['status_url']}")
            return
        with bar(quiet=False) as shown:
            task = shown.add_task(told["kind"], total=1.0)
            while told["state"] not in ("done", "failed"):
                shown.update(task, completed=told["progress"] or 0.0)
                time.sleep(LOOK_S)
                told = self.call("GET", f"/commands/{told['id']}")
        print(f"{told['kind']}: {told['state']}" + (f": {told['error']}" if told["error"] else ""))
        if told["state"] == "failed":
            raise typer.Exit(1)


def list_appliances(
    manager: Manager,
    query: Annotated[str, typer.Option(help="Words; state:fallback in one place.")] = "",
    sort: Annotated[str, typer.Option(help="A column; with - before it: downwards.")] = "name",
    token_file: TokenFile = None,
    ca: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """All appliances of a manager: state, reason, health, throughput, drop ratio."""
    from nsdata.output.console import safe

    rows = Remote(manager, token_file, ca).all("/appliances", query=query, sort=sort, limit=500)
    if as_json:
        print(json.dumps(rows))
        return
    table = Table(
        "name", "state", "reason", "health", "packets/s", "Mbit/s", "drops", "version", "seen", "id"
    )
    for one in rows:
        health, drops = one["health_score"], one["drop_ratio"]
        table.add_row(
            safe(one["name"]),
            one["state"] or "–",
            safe(one["reason"] or "–"),
            "–" if health is None else f"{health:.0f}",
            f"{one['packets_per_second']:,.0f}",
            f"{one['bits_per_second'] / 1e6:,.2f}",
            "–" if drops is None else f"{100 * drops:.1f} %",
            safe(one["version"] or "–"),
            "now" if one["connected"] else _ago(one["last_seen_ns"]),
            one["id"],
        )
    Console(highlight=False).print(table)


def show(
    appliance: Who,
    manager: Manager,
    token_file: TokenFile = None,
    ca: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """One appliance: state, reason with cause and resolution, what became of the packets, FPGA."""
    from nsdata.output.console import safe
    from nsdata.output.fpga_lines import fpga_lines

    remote = Remote(manager, token_file, ca)
    told = remote.call("GET", f"/appliances/{remote.id_of(appliance)}")
    if as_json:
        print(json.dumps(told))
        return
    seen = "connected" if told["connected"] else f"seen {_ago(told['last_seen_ns'])}"
    state = told["state"] or "has not reported yet"
    print(safe(f"{told['name']} ({told['id']}): {state}, {seen}"))
    if told["state"] is not None:
        print(safe(f"  {told['reason']} ({told['severity']}): {told['cause']}"))
        print(safe(f"  {told['resolution']}"))
        for fate in ("received", "inspected", "bypassed", "blocked", "lost"):
            print(f"  {fate:<10}{told['ledger'].get(fate, {}).get('packets', 0):>16,} packets")
    for line in fpga_lines(told["fpga"]):
        print(safe(f"  {line}"))
    for one in told["open_commands"]:
        print(safe(f"  {one['kind']}: {one['state']} (asked by {one['asked_by']})"))


def inspect(
    appliance: Who,
    manager: Manager,
    force: Annotated[bool, typer.Option("--force", help="Even while the cause holds.")] = False,
    note: Annotated[str, typer.Option(help="Why, for the record.")] = "",
    wait: Wait = True,
    token_file: TokenFile = None,
    ca: CaFile = None,
) -> None:
    """Have an appliance inspect again; refused while the cause of its fallback holds."""
    _switch(
        Remote(manager, token_file, ca),
        appliance,
        wait,
        {"state": "inspect", "note": note, "force": force},
    )


def bypass(
    appliance: Who,
    manager: Manager,
    note: Annotated[str, typer.Option(help="Why, for the record.")] = "",
    wait: Wait = True,
    token_file: TokenFile = None,
    ca: CaFile = None,
) -> None:
    """Put an appliance into fallback by hand: all traffic is permitted, none inspected."""
    _switch(Remote(manager, token_file, ca), appliance, wait, {"state": "bypass", "note": note})


def _switch(remote: Remote, appliance: str, wait: bool, wanted: dict[str, Any]) -> None:
    path = f"/appliances/{remote.id_of(appliance)}/inspection"
    remote.follow(remote.call("PUT", path, json=wanted), wait)


def reboot(remote: Remote, appliance: str, wait: bool) -> None:
    """`nsdata appliance reboot --manager`."""
    path = f"/appliances/{remote.id_of(appliance)}/reboot"
    remote.follow(remote.call("POST", path), wait)


def report(
    remote: Remote, appliance: str, to: str, packets: bool, wait: bool, out: Path | None
) -> None:
    """`nsdata appliance report --manager`. `to`: a URL, `vendor`, or empty: the manager, and from
    there into the file `out`."""
    if out is not None and (os.path.lexists(out) or not out.parent.is_dir()):
        why = "is there already" if os.path.lexists(out) else "its directory is not there"
        raise SettingError(f"--out {out}: {why}; reports are never overwritten")
    destination = "vendor" if to == "vendor" else "custom" if to else "manager"
    wanted = {"destination": destination, "packets": packets,
              "url": to if destination == "custom" else ""}  # fmt: skip
    path = f"/appliances/{remote.id_of(appliance)}/support-reports"
    told = remote.call("POST", path, json=wanted)
    remote.follow(told, wait)
    if out is not None:
        size, digest = remote.fetch(f"{path}/{told['id']}/archive", out)
        print(f"  {out} ({size:,} bytes, SHA-256 {digest})")
    elif wait and destination == "manager":
        print(f"  {remote.manager}/api/v1{path}/{told['id']}/archive")


def _keep(answer: httpx.Response, out: Path) -> tuple[int, str]:
    """What is streamed, as a file whose digest is the one that the manager says."""
    digest, size = hashlib.sha256(), 0
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        with open(part, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            for data in answer.iter_raw():
                file.write(data)
                digest.update(data)
                size += len(data)
            file.flush()
            os.fsync(file.fileno())
        found = base64.b64encode(digest.digest()).decode()
        if answer.headers.get("repr-digest") != f"sha-256=:{found}:":
            raise EngineError(f"{out}: what came has another SHA-256 than the manager says")
        os.link(part, out)
    except OSError as error:
        raise OutputError(f"{out}: {error.strerror or error}; nothing of it is left") from error
    finally:
        part.unlink(missing_ok=True)
    return size, digest.hexdigest()


def remove(
    appliance: Who,
    manager: Manager,
    force: Annotated[bool, typer.Option("--force", help="Even while it reports.")] = False,
    token_file: TokenFile = None,
    ca: CaFile = None,
) -> None:
    """Remove an appliance that reports no more; its history stays in the audit log."""
    from nsdata.output.console import safe

    remote = Remote(manager, token_file, ca)
    path = f"/appliances/{remote.id_of(appliance)}"
    told = remote.call("DELETE", path, params={"force": force})
    print(safe(f"removed {told['name']} ({told['id']}); audit entry {told['audit_id']}"))


def _ago(at_ns: int | None) -> str:
    if at_ns is None:
        return "never"
    seconds = max(0, (time.time_ns() - at_ns) // 10**9)
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds // length} {unit} ago"
    return f"{seconds} s ago"


def add_to(app: typer.Typer) -> None:
    """The verbs, beside those of a local appliance."""
    app.command("list")(list_appliances)
    for verb in (show, inspect, bypass, remove):
        app.command()(verb)
