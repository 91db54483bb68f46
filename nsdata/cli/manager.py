"""`nsdata manager …`: run a manager; its CA, users and tokens, from the console of its machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from nsdata.manager.audit import Role
    from nsdata.manager.service import Service

app = typer.Typer(help="Run a manager of appliances: API, pages, enrolment.", no_args_is_help=True)
user_app = typer.Typer(help="Users of the manager.", no_args_is_help=True)
token_app = typer.Typer(help="API tokens.", no_args_is_help=True)
enrol_app = typer.Typer(help="One-time tokens with which appliances enrol.", no_args_is_help=True)
ca_app = typer.Typer(help="The manager's certificate authority.", no_args_is_help=True)
app.add_typer(user_app, name="user")
app.add_typer(token_app, name="token")
app.add_typer(enrol_app, name="enrol-token")
app.add_typer(ca_app, name="ca")

Config = Annotated[
    Path | None, typer.Option(help="TOML file: docs/manager.md explains it; default: none.")
]
RoleName = Annotated[str, typer.Option("--role", metavar="viewer|operator|admin")]


def _service(config: Path | None) -> Service:
    from nsdata.manager.service import Service
    from nsdata.manager.settings import ManagerSettings

    return Service(ManagerSettings.load(config))


@app.command()
def run(config: Config = None) -> None:
    """Run the manager in the foreground until SIGTERM or Ctrl-C.

    The first start makes its database and CA, and prints a one-time link that sets the admin's
    password.
    """
    import logging

    from nsdata.manager.server import Manager

    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    service = _service(config)
    manager = Manager(service)

    def ready() -> None:
        said = [f"manager at {service.url}, agents at {service.enrolments.agents_url}"]
        if token := service.accounts.first_admin():
            said += [
                "nobody can sign in yet. Set the admin's password once, within 24 h:",
                service.password_link(token),
            ]
        print("\n".join(f"nsdata: {line}" for line in said), flush=True)

    manager.run(ready)


@app.command()
def demo(
    directory: Annotated[Path, typer.Option(help="Where it is kept.")] = Path("out/manager-demo"),
    listen: Annotated[str, typer.Option(help="Of people and programs.")] = "127.0.0.1:8443",
    agents: Annotated[str, typer.Option(help="Of appliances.")] = "127.0.0.1:8444",
    capture: Annotated[Path | None, typer.Option(help="Another one than the project's.")] = None,
) -> None:
    """A manager and three real appliances that replay a capture, on this machine, until Ctrl-C.

    Prints the one-time link that sets the admin's password.
    """
    from nsdata.cli.demo import CAPTURE, Demo
    from nsdata.errors import SettingError
    from nsdata.manager.settings import Address, parse_address

    def address(option: str, text: str) -> Address:
        try:
            return Address.model_validate(parse_address(text))
        except ValueError as error:
            raise SettingError(f"{option} {text}: {error}") from error

    people, appliances = address("--listen", listen), address("--agents", agents)
    Demo(directory, people, appliances, capture or CAPTURE).run()


def _role(name: str) -> Role:
    from nsdata.errors import SettingError
    from nsdata.manager.audit import Role

    try:
        return Role(name)
    except ValueError:
        raise SettingError(f"--role {name}: legal are {', '.join(Role)}") from None


def _user_id(service: Service, name: str) -> int:
    from nsdata.errors import NsdataError

    found = next((user.id for user in service.accounts.users() if user.name == name), None)
    if found is None:
        raise NsdataError(f"there is no user {name}")
    return found


class _Told:
    """Problems of the manager become one line, as all errors do."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        from nsdata.errors import NsdataError
        from nsdata.manager.problems import Problem

        if isinstance(error, Problem):
            raise NsdataError(error.detail) from error


def _say_link(token: str) -> None:
    print(f"set the password once, within 24 h, at: <manager>/password/{token}")


@user_app.command("list")
def list_users(config: Config = None) -> None:
    """All users."""
    for user in _service(config).accounts.users():
        state = "enabled" if user.enabled else "disabled"
        print(
            f"{user.name}\t{user.role}\t{state}\t"
            f"{'password set' if user.password else 'no password yet'}"
        )


@user_app.command("add")
def add_user(name: str, role: RoleName, config: Config = None) -> None:
    """A user; prints the one-time link that sets the password."""
    from nsdata.errors import SettingError
    from nsdata.manager.audit import console
    from nsdata.manager.models import NewUser

    try:
        wanted = NewUser(name=name, role=_role(role))
    except ValueError:
        raise SettingError(f"{name!r}: a user's name has letters, digits and _ . @ -") from None
    with _Told():
        _, token = _service(config).accounts.add_user(console(), wanted.name, wanted.role)
    _say_link(token)


@user_app.command("change")
def change_user(
    name: str,
    role: Annotated[str | None, typer.Option(metavar="viewer|operator|admin")] = None,
    enabled: Annotated[bool | None, typer.Option("--enable/--disable")] = None,
    config: Config = None,
) -> None:
    """Other role; or nobody signs in as them."""
    from nsdata.manager.audit import console

    service = _service(config)
    with _Told():
        service.accounts.change_user(
            console(), _user_id(service, name), None if role is None else _role(role), enabled
        )


@user_app.command("remove")
def remove_user(name: str, config: Config = None) -> None:
    """Gone, with their sessions."""
    from nsdata.manager.audit import console

    service = _service(config)
    with _Told():
        service.accounts.remove_user(console(), _user_id(service, name))


@user_app.command("password-link")
def password_link(name: str, config: Config = None) -> None:
    """A one-time link that sets another password."""
    from nsdata.manager.audit import console

    service = _service(config)
    with _Told():
        _, token = service.accounts.password_link(console(), _user_id(service, name))
    _say_link(token)


@token_app.command("list")
def list_tokens(config: Config = None) -> None:
    """All API tokens, without themselves; the last column is the owner."""
    for row, owner in _service(config).accounts.tokens():
        state = "revoked" if row.revoked_ns else f"until {_day(row.expires_ns)}"
        print(f"{row.id}\t{row.name}\t{row.role}\t{state}\t{owner or '-'}")


@token_app.command("add")
def add_token(
    name: str,
    role: RoleName,
    days: Annotated[float, typer.Option(min=0.01, max=3650)] = 90,
    config: Config = None,
) -> None:
    """An API token; printed once."""
    from nsdata.errors import SettingError
    from nsdata.manager.audit import console
    from nsdata.manager.models import NewToken

    try:
        wanted = NewToken(name=name, role=_role(role), days=days)
    except ValueError:
        raise SettingError(
            f"{name!r}: a token's name has at most 63 printable characters"
        ) from None
    made = _service(config).accounts.add_token(console(), wanted.name, wanted.role, wanted.days)
    print(made[1])


@token_app.command("revoke")
def revoke_token(number: int, config: Config = None) -> None:
    """It is good for nothing from now on."""
    from nsdata.manager.audit import console

    with _Told():
        _service(config).accounts.revoke_token(console(), number)


@enrol_app.command("list")
def list_enrolment_tokens(config: Config = None) -> None:
    """All enrolment tokens, without themselves."""
    for row in _service(config).enrolments.tokens():
        state = (
            f"used by {row.used_by}"
            if row.used_ns
            else "revoked"
            if row.revoked_ns
            else f"until {_day(row.expires_ns)}"
        )
        print(f"{row.id}\t{row.note}\t{state}")


@enrol_app.command("add")
def add_enrolment_token(
    note: Annotated[str, typer.Option(help="What it is for.")] = "",
    hours: Annotated[float, typer.Option(min=0.01, max=720)] = 24,
    config: Config = None,
) -> None:
    """A one-time token with which one appliance enrols; printed once."""
    from nsdata.manager.audit import console

    print(_service(config).enrolments.add_token(console(), note[:200], hours)[1])


@enrol_app.command("revoke")
def revoke_enrolment_token(number: int, config: Config = None) -> None:
    """Nobody enrols with it any more."""
    from nsdata.manager.audit import console

    with _Told():
        _service(config).enrolments.revoke_token(console(), number)


@ca_app.command("show")
def show_ca(
    pem: Annotated[bool, typer.Option("--pem", help="The certificate itself.")] = False,
    config: Config = None,
) -> None:
    """The CA's certificate, by which browsers and programs know the manager; made if need be."""
    authority = _service(config).authority
    if pem:
        print(authority.pem, end="")
        return
    print(f"file         {authority.certificate_file}")
    print(f"SHA-256      {authority.fingerprint}")
    print(f"valid until  {authority.expires:%Y-%m-%d}")


def _day(at_ns: int) -> str:
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(at_ns / 1e9, UTC):%Y-%m-%d %H:%M} UTC"
