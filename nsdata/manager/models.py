"""What the API answers and takes, and what pages show: the view models."""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, WithJsonSchema

from nsdata.manager.audit import Role
from nsdata.manager.secrets import PASSWORD_LEAST, PASSWORD_MOST
from nsdata.support.url import LONGEST

T = TypeVar("T")
CONTROL = r"^[^\x00-\x1f\x7f]*$"
Line = Annotated[str, StringConstraints(max_length=200, pattern=CONTROL)]
UserName = Annotated[
    str, StringConstraints(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9_.@-]+$")
]
TokenName = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=CONTROL)]
Password = Annotated[str, StringConstraints(min_length=PASSWORD_LEAST, max_length=PASSWORD_MOST)]
OneTime = Annotated[str, StringConstraints(min_length=1, max_length=200)]
State = Literal["normal", "fallback"]
Severity = Literal["Critical", "Warning", "Info"]
CommandState = Literal["queued", "sent", "running", "done", "failed"]
Destination = Literal["manager", "vendor", "custom", "local"]
URL = {"type": "string", "maxLength": LONGEST, "description": "Its rules: docs/support-report.md."}


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Page(BaseModel, Generic[T]):
    """A part of a list. `next` is the cursor of the part after it; null: that was the last."""

    items: list[T]
    next: str | None = None


class ApplianceRow(BaseModel):
    """An appliance in the table. Null: it has not reported yet."""

    id: UUID
    name: str
    connected: bool = Field(description="It has reported lately.")
    state: State | None
    reason: str | None
    fallback_since_ns: int | None = Field(default=None, description="By the manager's clock.")
    severity: Severity | None
    health_score: float | None = Field(description="0 to 100.")
    packets_per_second: float
    bits_per_second: float
    drop_ratio: float | None
    drop_threshold: float | None
    version: str | None
    enrolled_ns: int
    last_seen_ns: int | None = Field(description="By the manager's clock, since the epoch.")


class ApplianceDetail(ApplianceRow):
    """An appliance, with all of its last report."""

    cause: str | None = None
    resolution: str | None = None
    recheck: dict[str, Any] | None = Field(
        default=None,
        description="In fallback: `holds`, whether its cause does and a restore would be refused, "
        "and `why`.",
    )
    evidence: dict[str, Any] = Field(default={}, description="Of the last transition.")
    reported_ns: int | None = Field(default=None, description="By the appliance's clock.")
    started_ns: int | None = None
    reports: int = Field(description="Stored since it was enrolled.")
    ledger: dict[str, Any] = {}
    health: dict[str, Any] = {}
    tiers: list[dict[str, Any]] = []
    top_rules: list[dict[str, Any]] = []
    processes: dict[str, Any] = {}
    reentry: dict[str, Any] = {}
    fpga: dict[str, Any] | None = None
    support: dict[str, Any] = {}
    open_commands: list[CommandStatus] = []


class Search(_In):
    """All that are given have to hold."""

    text: Line = Field(default="", description="As `query` of the list.")
    state: list[State] = Field(default=[], max_length=2)
    reason: list[Line] = Field(default=[], max_length=20)
    severity: list[Severity] = Field(default=[], max_length=3)
    version: list[Line] = Field(default=[], max_length=20)
    connected: bool | None = None
    health_below: float | None = Field(default=None, ge=0, le=100, allow_inf_nan=False)
    drop_ratio_above: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)


class InspectionWanted(_In):
    """`bypass`: into fallback by hand. `inspect`: restored to normal."""

    state: Literal["inspect", "bypass"]
    note: Line = Field(default="", description="Why, for the record.")
    force: bool = Field(default=False, description="Restore even while the cause holds.")


class RebootWanted(_In):
    """Its processes begin anew."""

    note: Line = Field(default="", description="Why, for the record.")


class Inspection(BaseModel):
    """The inspection state, and what was asked of it last."""

    state: Literal["inspect", "bypass"] | None = Field(description="Null: not reported yet.")
    reason: str | None
    severity: Severity | None
    cause: str | None
    resolution: str | None
    connected: bool
    command: CommandStatus | None = Field(description="The last that was to change it.")


class ReportWanted(_In):
    """A support report. `manager`: sent here, to be downloaded; `vendor`: to the endpoint that is
    configured on the appliance; `custom`: an HTTP PUT to `url`; `local`: kept on the appliance."""

    destination: Destination = "manager"
    url: Annotated[str, StringConstraints(max_length=8192), WithJsonSchema(URL)] = ""
    packets: bool = Field(default=False, description="With packet samples.")


class CommandStatus(BaseModel):
    """A command and what came of it."""

    id: UUID
    appliance_id: UUID
    kind: str
    parameters: dict[str, Any]
    state: CommandState
    progress: float | None = Field(description="0 to 1, of one that runs.")
    asked_ns: int
    asked_by: str
    changed_ns: int
    error: str
    result: dict[str, Any]
    status_url: str


class Archive(BaseModel):
    """An archive that is kept at the manager."""

    file_name: str
    size: int = Field(description="Bytes.")
    sha256: str
    kept_ns: int = Field(description="Since when.")


class ReportStatus(CommandStatus):
    """A support report: the command, and the archive where it is kept here."""

    archive: Archive | None = Field(description="Null: it is not here.")


class HistoryEntry(BaseModel):
    """A transition or event; `told` is as in EVE, with the evidence."""

    id: int
    kind: Literal["transition", "event"]
    at_ns: int = Field(description="By the appliance's clock.")
    subject: str
    told: dict[str, Any]


class SamplePoint(BaseModel):
    """Rates of one step of time."""

    at_s: int
    packets_per_second: float
    bits_per_second: float
    inspected: int
    bypassed: int
    blocked: int
    lost: int
    drop_ratio: float
    health_score: float | None


class Samples(BaseModel):
    """Oldest first."""

    step_s: int
    points: list[SamplePoint]


class Removed(BaseModel):
    """An appliance was removed."""

    id: UUID
    name: str
    audit_id: int = Field(description="The audit row that keeps its history.")


class SignIn(_In):
    """Name and password."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=CONTROL)]
    password: Annotated[str, StringConstraints(min_length=1, max_length=PASSWORD_MOST)]


class SessionInfo(BaseModel):
    """Who you are; of a session, the token to send with changes as X-CSRF-Token."""

    actor: str
    role: Role
    csrf_token: str | None


class NewPassword(_In):
    """With the token of a one-time link."""

    token: OneTime
    password: Password


class UserInfo(BaseModel):
    """A user."""

    id: int
    name: str
    role: Role
    enabled: bool
    has_password: bool
    made_ns: int


class NewUser(_In):
    """A user without a password yet."""

    name: UserName
    role: Role


class UserChange(_In):
    """What is to be other."""

    role: Role | None = None
    enabled: bool | None = None


class UserLink(BaseModel):
    """A user and the link to set the password, shown once."""

    user: UserInfo
    link: str


class TokenInfo(BaseModel):
    """An API token, without itself."""

    id: int
    name: str
    role: Role
    made_by: str
    owner: str | None = Field(
        description="The user with whom it ends, and whose role it never exceeds; null: it was "
        "made at the console."
    )
    made_ns: int
    expires_ns: int
    revoked_ns: int | None


class NewToken(_In):
    """An API token."""

    name: TokenName
    role: Role
    days: float = Field(default=90, gt=0, le=3650, allow_inf_nan=False)


class MadeToken(BaseModel):
    """The token, shown once."""

    token: str
    info: TokenInfo


class EnrolmentTokenInfo(BaseModel):
    """An enrolment token, without itself."""

    id: int
    note: str
    made_by: str
    made_ns: int
    expires_ns: int
    used_ns: int | None
    used_by: UUID | None
    revoked_ns: int | None


class NewEnrolmentToken(_In):
    """Lets one appliance enrol."""

    note: Line = ""
    hours: float = Field(default=24, gt=0, le=24 * 30, allow_inf_nan=False)


class MadeEnrolmentToken(BaseModel):
    """The token, shown once, and the command that uses it."""

    token: str
    command: str
    info: EnrolmentTokenInfo


class AuditEntry(BaseModel):
    """Who did what, from where, and what came of it."""

    id: int
    at_ns: int
    actor: str
    role: str
    source: str
    action: str
    subject: str
    result: str
    details: dict[str, Any]


class About(BaseModel):
    """The manager."""

    version: str
    appliances: int
    connected: int
    in_fallback: int
    database: Literal["sqlite", "postgresql"]
    failing: str = Field(description="Why nothing can be stored now; empty: it can.")
    refused_connections: int = Field(
        description="Ended since the start because there were too many; the log says of which "
        "listener."
    )


ApplianceDetail.model_rebuild()
Inspection.model_rebuild()
