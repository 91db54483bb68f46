"""What an appliance's agent and its manager say to each other: the one module both import.

    agent ── POST /agent/v1/reports: Batch ──► manager        at least once, each second
          ◄── Answer: acked, commands ────────                after the batch is committed

A batch has the agent's boot (a UUID made at its start) and reports numbered from 1, so that a
report that comes twice is stored once. History rows are the appliance's own store's, by row and
time, and are sent until they are acknowledged. A command is carried out once; its result is sent
until it is acknowledged.

    agent ── PUT /agent/v1/support-reports/ID/archive?offset&size&sha256&name: bytes ──► manager
          ◄── Received: bytes that are there ─────────────────────────────────────────
"""

from __future__ import annotations

from enum import StrEnum
from math import isfinite
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

VERSION = 1
REPORTS_PATH = "/agent/v1/reports"
RENEW_PATH = "/agent/v1/certificate"
ARCHIVE_PATH = "/agent/v1/support-reports/{report_id}/archive"
ENROL_PATH = "/api/v1/enrol"
CA_PATH = "/api/v1/ca"
BODY_MOST = 4 << 20  # bytes of a batch
PIECE = 1 << 20  # bytes of an archive that are sent at a time
REPORTS_MOST = 300  # of a batch
HISTORY_MOST = 500
RESULTS_MOST = 100
REPORT_S = 1.0  # between two reports
BIGGEST = (1 << 63) - 1  # what both databases hold

Name = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=r"^[\w.-]+$")]
Count = Annotated[int, Field(ge=0, le=BIGGEST)]
Number = Annotated[int, Field(ge=1, le=BIGGEST)]
Short = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]


def _storable(value: Any) -> Any:
    """The same, as both databases and JSON hold it: integers saturated at 64 bit, null for numbers
    that are none, U+FFFD for NUL."""
    kind = type(value)
    if kind is str:
        return value.replace("\0", "\ufffd") if "\0" in value else value
    if kind is int:
        return value if -BIGGEST <= value <= BIGGEST else max(-BIGGEST, min(BIGGEST, value))
    if kind is float:
        return value if isfinite(value) else None
    if kind is dict:
        return {_storable(key): _storable(one) for key, one in value.items()}
    if kind is list:
        return [_storable(one) for one in value]
    return value


Text = Annotated[str, StringConstraints(max_length=2000), AfterValidator(_storable)]
Told = Annotated[dict[str, Any], AfterValidator(_storable)]


class _Message(BaseModel):
    """A part of the protocol; what a newer agent adds is left out."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Support(_Message):
    """Where an appliance may send support reports."""

    vendor: Told | None = None  # whether it takes one (available), and why
    allow: list[Short] = Field(default_factory=list, max_length=1000)  # networks


class Report(_Message):
    """An appliance at one instant. Counters count since its supervisor started."""

    sequence: Number
    at_ns: Count  # since the epoch, by the appliance's clock
    name: Name
    version: Short
    started_ns: Count  # since the epoch: counters began at 0 then
    state: Literal["normal", "fallback"]
    reason: Short
    severity: Literal["Critical", "Warning", "Info"]
    cause: Text
    resolution: Text
    ledger: Told  # as in EVE: received, inspected, … each packets and bytes, and by_why
    since_ns: Count | None = None  # in this state, since the epoch
    # In fallback, what a restore is judged by: holds (whether the cause does), why.
    recheck: Told | None = None
    drop_ratio: float = Field(ge=0, le=1, allow_inf_nan=False)
    drop_threshold: float = Field(ge=0, le=1, allow_inf_nan=False)
    health: Told = Field(default_factory=dict)  # score, thresholds, sensors, resources
    tiers: list[Told] = Field(default_factory=list)
    top_rules: list[Told] = Field(default_factory=list)
    processes: Told = Field(default_factory=dict)
    reentry: Told = Field(default_factory=dict)
    fpga: Told | None = None  # None: there is none
    support: Support = Field(default_factory=Support)

    def received(self) -> tuple[int, int]:
        """(packets, bytes) received since the supervisor started."""
        return self._count("received")

    def fate(self, name: str) -> int:
        """Packets inspected, bypassed, blocked or lost."""
        return self._count(name)[0]

    def _count(self, name: str) -> tuple[int, int]:
        one = self.ledger.get(name)
        if not isinstance(one, dict):
            return 0, 0
        return _counted(one.get("packets")), _counted(one.get("bytes"))

    def health_score(self) -> float | None:
        """0 to 100; None while no sensor was read."""
        score = self.health.get("score")
        if not isinstance(score, int | float) or isinstance(score, bool) or score != score:
            return None
        return float(min(100, max(0, score)))  # a larger integer would be no float


def _counted(value: Any) -> int:
    usable = isinstance(value, int) and not isinstance(value, bool)
    return min(BIGGEST, max(0, value)) if usable else 0


class History(_Message):
    """A row of the appliance's store: a transition with its evidence, or an event."""

    kind: Literal["transition", "event"]
    row: Number
    at_ns: Count
    told: Told


class CommandKind(StrEnum):
    """What can be asked of an appliance from afar."""

    INSPECT = "inspect"
    BYPASS = "bypass"
    REBOOT = "reboot"
    RELOAD = "reload"
    SUPPORT_REPORT = "support-report"
    STOP_REPORT = "stop-report"


class Outcome(StrEnum):
    """What became of a command, or where it stands."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Result(_Message):
    """What a command came to; `progress` of one that runs is from 0 to 1."""

    id: UUID
    outcome: Outcome
    at_ns: Count
    progress: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    error: Text = ""
    told: Told = Field(default_factory=dict)


class Command(_Message):
    """To be carried out once, however often it is received, and while it is good only."""

    id: UUID
    kind: CommandKind
    parameters: dict[str, Any] = Field(default_factory=dict)
    asked_ns: Count = 0  # by the manager's clock
    expires_ns: Count = BIGGEST
    # When it is handed out: the appliance's clock may be wrong. None: of a manager that says none.
    good_for_s: float | None = None


class Batch(_Message):
    """What an agent has to say since the last acknowledgement."""

    protocol: Literal[1] = 1
    boot: UUID
    reports: list[Report] = Field(default=[], max_length=REPORTS_MOST)
    history: list[History] = Field(default=[], max_length=HISTORY_MOST)
    results: list[Result] = Field(default=[], max_length=RESULTS_MOST)


class Answer(_Message):
    """Everything of the batch is stored. Commands stay in it until their result is."""

    acked: int  # the highest sequence stored of this boot
    commands: list[Command] = []
    interval_s: float = REPORT_S
    renew: bool = False  # the certificate is to be renewed


class PieceOf(BaseModel):
    """Where a piece of an archive belongs; an empty one asks where the next does."""

    model_config = ConfigDict(extra="forbid")
    offset: Count
    size: Number  # of the archive
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    name: Annotated[str, StringConstraints(min_length=1, max_length=200)]


class Received(_Message):
    """Bytes of an archive that the manager has; all: it is whole, and kept."""

    received: Count


class EnrolRequest(BaseModel):
    """An appliance asks for its certificate: a one-time token, a signing request (PEM)."""

    model_config = ConfigDict(extra="forbid")
    token: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    name: Name
    csr: Annotated[str, StringConstraints(min_length=1, max_length=10_000)]


class Enrolment(BaseModel):
    """What an enrolled appliance keeps."""

    id: UUID
    certificate: str  # PEM
    ca: str  # PEM
    agents_url: str  # of the listener for agents


class RenewRequest(BaseModel):
    """A new signing request of an enrolled appliance."""

    model_config = ConfigDict(extra="forbid")
    csr: Annotated[str, StringConstraints(min_length=1, max_length=10_000)]
