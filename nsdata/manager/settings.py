"""What a manager is told at its start: one TOML file (or none), typed and checked.

    directory = "/var/lib/nsdata-manager"    # database, CA; made if need be
    listen = "127.0.0.1:8443"                # people and programs
    agents = "0.0.0.0:8444"                  # appliances
    names = ["manager.example.net"]          # by which it is reached; in its certificate
    database = "postgresql+psycopg://…"      # default: SQLite in the directory
    certificate = "manager.pem"              # of the first listener, and its key;
    key = "manager.key"                      # default: made by its own CA

Paths are relative to the file. What makes no sense is a SettingError with file, line and key.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, NamedTuple, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from nsdata.errors import SettingError
from nsdata.toml_text import place_of, read_toml
from nsdata.units import parse_duration, parse_size

Duration = Annotated[int, BeforeValidator(parse_duration)]  # nanoseconds
Size = Annotated[int, BeforeValidator(parse_size)]  # bytes
_NAME = re.compile(
    r"^(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
    r"(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$"
)
MINUTE, HOUR, DAY = 60 * 10**9, 3600 * 10**9, 86400 * 10**9


class Address(BaseModel):
    """Where to listen."""

    model_config = ConfigDict(frozen=True)
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_address(text: object) -> object:
    """`127.0.0.1:8443` or `[::1]:8443`; port 0 takes any. ValueError says what is legal."""
    if isinstance(text, Address):
        return text
    host, colon, port = str(text).rpartition(":")
    try:
        number = int(port)
        found = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        colon = ""
    if not colon or not 0 <= number <= 65535:
        raise ValueError("legal: an address and a port such as 127.0.0.1:8443 or [::]:8443")
    return Address(host=str(found), port=number)


Listen = Annotated[Address, BeforeValidator(parse_address)]


class ReportLimits(NamedTuple):
    """Of archives of support reports that are kept here."""

    keep: int  # of an appliance, the newest
    size: int  # bytes of one
    age_ns: int  # how long
    reserve: int  # bytes of the disk that stay free


class ManagerSettings(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    directory: str = "nsdata-manager"
    listen: Listen = Address(host="127.0.0.1", port=8443)
    agents: Listen = Address(host="127.0.0.1", port=8444)
    names: list[str] = ["localhost"]
    database: str = ""
    certificate: str | None = None
    key: str | None = None
    session_lifetime: Duration = Field(default=12 * HOUR, alias="session-lifetime", gt=0)
    session_idle: Duration = Field(default=HOUR, alias="session-idle", gt=0)
    appliance_gone: Duration = Field(default=10 * 10**9, alias="appliance-gone", gt=0)
    report_keep: int = Field(default=5, alias="report-keep", ge=1, le=1000)
    report_size: Size = Field(default=256 << 20, alias="report-size", ge=1)
    report_age: Duration = Field(default=90 * DAY, alias="report-age", gt=0)
    report_reserve: Size = Field(default=256 << 20, alias="report-reserve")

    @field_validator("names")
    @classmethod
    def _names(cls, names: list[str]) -> list[str]:
        for name in names:
            try:
                ipaddress.ip_address(name)
            except ValueError:
                if not _NAME.match(name):
                    raise ValueError(f"{name!r} is neither a host name nor an address") from None
        if not names:
            raise ValueError("name at least one by which the manager is reached")
        return names

    @field_validator("database")
    @classmethod
    def _database(cls, url: str) -> str:
        if url:
            try:
                made = make_url(url)
                driver = made.drivername
            except ArgumentError:
                driver = ""
            if driver == "sqlite" and made.database in (None, "", ":memory:"):
                driver = ""  # it is of two processes
            if driver not in ("sqlite", "postgresql+psycopg"):
                raise ValueError("legal: sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME")
        return url

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if bool(self.certificate) != bool(self.key):
            raise ValueError("name both certificate and key, or neither")
        return self

    @classmethod
    def load(cls, path: Path | None) -> ManagerSettings:
        """Of the file, or the defaults. Raises SettingError."""
        if path is None:
            return cls()
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingError(f"{path}: cannot be read: {error}") from error
        values, lines = read_toml(text, str(path))
        try:
            found = cls.model_validate(values)
        except ValidationError as fault:
            first = fault.errors()[0]
            key = tuple(first["loc"])
            said = first["msg"].removeprefix("Value error, ")
            where = ".".join(map(str, key)) or "manager"
            raise SettingError(f"{place_of(lines, str(path), key)}: {where}: {said}") from None
        base = path.resolve().parent
        files = {
            n: v and str(base / v)
            for n in ("directory", "certificate", "key")
            if (v := getattr(found, n)) is not None
        }
        return found.model_copy(update=files)

    @property
    def report_limits(self) -> ReportLimits:
        """What is kept of support reports."""
        return ReportLimits(
            self.report_keep, self.report_size, self.report_age, self.report_reserve
        )

    @property
    def database_url(self) -> str:
        """Where the tables are."""
        return self.database or f"sqlite:///{Path(self.directory).resolve() / 'manager.db'}"
