"""`nsdata appliance list|show|inspect|bypass|reboot|report|withdraw|remove --manager URL`:
appliances from afar, through the API of their manager. `reboot` and `report` are those of
cli.appliance, which come here when a manager is meant.

The API token comes from a file or the environment: on the command line others would see it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import ssl
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID, uuid4

import typer

from nsdata.errors import EngineError, NsdataError, OutputError, SettingError
from nsdata.output.console import safe
from nsdata.output.shown import lasting

if TYPE_CHECKING:
    import httpx

TRIES = 5  # of a request whose connection was lost
TIMEOUT_S = 30.0
LOOK_S = 0.5
SAY_S = 60.0  # between two lines about a command that waits, where there is no terminal
OTHER_NAME = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
OPEN = ("queued", "sent", "running")
TRANSITIONS = 50  # that are looked through for the one that made the state
OWN_FILES = ("appliance.db", "control.sock")  # of an appliance, in its directory
KEPT = "an hour"  # a command that the appliance has not fetched; then it is not carried out

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
    str,
    typer.Option(
        "--manager",
        help="From afar: https://NAME:PORT, then name the appliance; or NSDATA_MANAGER, when the "
        "argument is no directory of an appliance.",
    ),
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
        self.ca = ca
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
                unknown = _unknown(error)
                if not left or unknown or isinstance(error, httpx.UnsupportedProtocol):
                    why = _of_certificate(unknown, self.ca) if unknown else str(error)
                    raise EngineError(f"{self.manager}: {why}") from error
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
        """Say what a command comes to; exit 1 when it does not come to its end."""
        if not wait:
            print(f"{told['kind']}: {told['state']}; {self.manager}{told['status_url']}")
            self._say_waits(told)
            return
        for last in self._until_over(told):
            told = last
        print(f"{told['kind']}: {told['state']}" + (f": {told['error']}" if told["error"] else ""))
        if told["state"] != "done":
            raise typer.Exit(1)

    def _until_over(self, told: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """A command each time it was looked at, until it is over. One that waits for its appliance
        is said to, and what becomes of one that is not waited for any more, too."""
        from nsdata.cli.progress import bar

        said_at = 0.0
        with bar(quiet=False) as shown:
            task = shown.add_task(told["kind"], total=None)
            try:
                while told["state"] in OPEN:
                    waits = told["state"] != "running"
                    shown.update(
                        task,
                        total=None if waits else 1.0,
                        completed=told["progress"] or 0.0,
                        description=f"{told['kind']}: {told['state']}",
                    )
                    again = shown.disable and time.monotonic() > said_at + SAY_S
                    if waits and (not said_at or again) and self._say_waits(told):
                        said_at = time.monotonic()
                    time.sleep(LOOK_S)
                    told = self.call("GET", f"/commands/{told['id']}")
                    yield told
            except (KeyboardInterrupt, EngineError):
                self._say_left(told)
                raise

    def _say_waits(self, told: dict[str, Any]) -> bool:
        """Say so if its appliance is not heard of; whether that was said."""
        appliance = self.call("GET", f"/appliances/{told['appliance_id']}")
        if appliance["connected"]:
            return False
        last = appliance["last_seen_ns"]
        heard = "never heard of"
        if last is not None:
            heard = f"not heard of for {lasting(time.time_ns() - last)}"
        _tell(f"{appliance['name']} was {heard}: {told['kind']} waits until it is, "
              f"{KEPT} at most")  # fmt: skip
        return True

    def _say_left(self, told: dict[str, Any]) -> None:
        if told["state"] != "running":
            _tell(f"{told['kind']} stays {told['state']} until the appliance is heard of, "
                  f"{KEPT} at most. To take it back: nsdata appliance withdraw {told['id']} "
                  f"--manager {self.manager}")  # fmt: skip
        else:
            _tell(f"{told['kind']} goes on at the appliance; what becomes of it: "
                  f"{self.manager}{told['status_url']}")  # fmt: skip


def _tell(text: str) -> None:
    """To the person, on standard error."""
    print(f"nsdata: {safe(text)}", file=sys.stderr, flush=True)


def _unknown(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    """What was wrong with the manager's certificate, if that is what this comes from."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error


def _of_certificate(error: ssl.SSLCertVerificationError, ca: Path | None) -> str:
    """What to do about a certificate that is refused."""
    if error.verify_code in OTHER_NAME:
        why = error.verify_message.rstrip(".")
        return f"{why}: call it by one of its names (`names` of its configuration)"
    where = "it is ca/ca.pem in the manager's directory; nsdata manager ca show --pem prints it"
    if ca is None:
        return f"the CA of its certificate is not known here: --ca FILE or NSDATA_CA ({where})"
    return f"its certificate is not of the CA in {ca} ({error.verify_message}): {where}"


def list_appliances(
    manager: Manager,
    query: Annotated[str, typer.Option(help="Words; state:fallback in one place.")] = "",
    sort: Annotated[str, typer.Option(help="A column; with - before it: downwards.")] = "name",
    wide: Annotated[
        bool, typer.Option("--wide", help="All columns, however wide the terminal is.")
    ] = False,
    token_file: TokenFile = None,
    ca: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """All appliances of a manager: state, reason, when they were heard of, health, drop ratio,
    throughput; as many columns as fit."""
    from nsdata.cli.remote_shown import print_table

    rows = Remote(manager, token_file, ca).all("/appliances", query=query, sort=sort, limit=500)
    if as_json:
        print(json.dumps(rows))
        return
    print_table(rows, time.time_ns(), wide=wide)


def show(
    appliance: Who,
    manager: Manager,
    token_file: TokenFile = None,
    ca: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """One appliance: its state, why, since when, on what evidence, what to do; drop ratio, health,
    what became of the packets, FPGA."""
    from nsdata.cli.remote_shown import account

    remote = Remote(manager, token_file, ca)
    path = f"/appliances/{remote.id_of(appliance)}"
    told = remote.call("GET", path)
    if as_json:
        print(json.dumps(told))
        return
    history = remote.call("GET", f"{path}/transitions", params={"limit": TRANSITIONS})["items"]
    print("\n".join(account(told, history, time.time_ns())))


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


def manager_of(argument: Path, manager: str) -> str:
    """The manager that `reboot` and `report` are to go through; empty: the appliance in the
    directory `argument` is meant. A named one holds; that of NSDATA_MANAGER unless `argument` is
    such a directory. Raises SettingError."""
    if manager:
        return manager
    if any((argument / name).exists() for name in OWN_FILES):
        return ""
    manager = os.environ.get("NSDATA_MANAGER", "")
    if not manager and not argument.is_dir():
        raise SettingError(
            f"{argument} is no directory of an appliance; for an appliance from afar name its "
            "manager: --manager URL or NSDATA_MANAGER"
        )
    return manager


def reboot(remote: Remote, appliance: str, note: str, wait: bool) -> None:
    """`nsdata appliance reboot --manager`."""
    path = f"/appliances/{remote.id_of(appliance)}/reboot"
    remote.follow(remote.call("POST", path, json={"note": note}), wait)


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
    remote = Remote(manager, token_file, ca)
    path = f"/appliances/{remote.id_of(appliance)}"
    told = remote.call("DELETE", path, params={"force": force})
    print(safe(f"removed {told['name']} ({told['id']}); audit entry {told['audit_id']}"))


def withdraw(
    command: Annotated[str, typer.Argument(metavar="COMMAND", help="Its id.")],
    manager: Manager,
    token_file: TokenFile = None,
    ca: CaFile = None,
) -> None:
    """Take back a command that its appliance has not fetched yet."""
    try:
        number = UUID(command)
    except ValueError:
        raise SettingError(f"{command!r} is not the id of a command") from None
    Remote(manager, token_file, ca).call("DELETE", f"/commands/{number}")
    print(f"withdrawn: {number}")


def add_to(app: typer.Typer) -> None:
    """The verbs, beside those of a local appliance."""
    app.command("list")(list_appliances)
    for verb in (show, inspect, bypass, withdraw, remove):
        app.command()(verb)
