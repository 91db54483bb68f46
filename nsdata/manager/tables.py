"""The tables of the manager. Times are nanoseconds since the epoch, ids of appliances and commands
UUIDs as text; JSON is stored as text so that both databases keep the same bytes."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Float, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeEngine

# SQLite gives out row numbers for INTEGER primary keys only.
Row: TypeEngine[Any] = BigInteger().with_variant(Integer, "sqlite")


class Base(DeclarativeBase):
    """All tables."""


class Appliance(Base):
    """An enrolled appliance, with what the list of them shows; gone when it is removed."""

    __tablename__ = "appliances"
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    name: Mapped[str] = mapped_column(String(63), index=True)
    certificate: Mapped[str] = mapped_column(String(64))  # SHA-256 of the one it may show
    next_certificate: Mapped[str | None] = mapped_column(String(64))  # renewed, not shown yet
    enrolled_ns: Mapped[int] = mapped_column(BigInteger)
    last_seen_ns: Mapped[int | None] = mapped_column(BigInteger, index=True)
    reported_ns: Mapped[int | None] = mapped_column(BigInteger)  # by its own clock
    boot: Mapped[str | None] = mapped_column(String(36))
    sequence: Mapped[int] = mapped_column(BigInteger, default=0)  # the last stored of this boot
    reports: Mapped[int] = mapped_column(BigInteger, default=0)  # stored, of all boots
    state: Mapped[str | None] = mapped_column(String(20), index=True)
    reason: Mapped[str | None] = mapped_column(String(200))
    severity: Mapped[str | None] = mapped_column(String(20))
    health_score: Mapped[float | None] = mapped_column(Float)
    packets_per_second: Mapped[float] = mapped_column(Float, default=0.0)
    bits_per_second: Mapped[float] = mapped_column(Float, default=0.0)
    drop_ratio: Mapped[float | None] = mapped_column(Float)
    drop_threshold: Mapped[float | None] = mapped_column(Float)
    version: Mapped[str | None] = mapped_column(String(200))


class Latest(Base):
    """The last report of an appliance, whole."""

    __tablename__ = "latest"
    appliance_id: Mapped[str] = mapped_column(
        ForeignKey("appliances.id", ondelete="CASCADE"), primary_key=True
    )
    report: Mapped[str] = mapped_column(Text)


class Boot(Base):
    """How far the reports of one start of an agent are stored."""

    __tablename__ = "boots"
    appliance_id: Mapped[str] = mapped_column(
        ForeignKey("appliances.id", ondelete="CASCADE"), primary_key=True
    )
    boot: Mapped[str] = mapped_column(String(36), primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger)
    seen_ns: Mapped[int] = mapped_column(BigInteger)


class Sample(Base):
    """Rates of one interval. A ring of slots for each step: the oldest is written over."""

    __tablename__ = "samples"
    appliance_id: Mapped[str] = mapped_column(
        ForeignKey("appliances.id", ondelete="CASCADE"), primary_key=True
    )
    step_s: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    slot: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    at_s: Mapped[int] = mapped_column(BigInteger)  # the interval's beginning
    packets_per_second: Mapped[float] = mapped_column(Float)
    bits_per_second: Mapped[float] = mapped_column(Float)
    inspected: Mapped[int] = mapped_column(BigInteger)  # packets of the interval
    bypassed: Mapped[int] = mapped_column(BigInteger)
    blocked: Mapped[int] = mapped_column(BigInteger)
    lost: Mapped[int] = mapped_column(BigInteger)
    drop_ratio: Mapped[float] = mapped_column(Float)  # the highest
    health_score: Mapped[float | None] = mapped_column(Float)  # the lowest
    reports: Mapped[int] = mapped_column(Integer)  # it was made of


class HistoryRow(Base):
    """A transition or event of an appliance, each row of its store once."""

    __tablename__ = "history"
    id: Mapped[int] = mapped_column(Row, primary_key=True)
    appliance_id: Mapped[str] = mapped_column(ForeignKey("appliances.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(20))
    row: Mapped[int] = mapped_column(BigInteger)
    at_ns: Mapped[int] = mapped_column(BigInteger)
    subject: Mapped[str] = mapped_column(String(200))  # reason, or kind of event
    told: Mapped[str] = mapped_column(Text)
    __table_args__ = (
        UniqueConstraint("appliance_id", "kind", "row", "at_ns", name="uq_history"),
        Index("ix_history_list", "appliance_id", "kind", "id"),
    )


class CommandRow(Base):
    """A command to an appliance."""

    __tablename__ = "commands"
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, unique=True)  # in the order they were asked
    appliance_id: Mapped[str] = mapped_column(ForeignKey("appliances.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(20))
    parameters: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(20))  # queued, sent, running, done, failed
    progress: Mapped[float | None] = mapped_column(Float)
    asked_ns: Mapped[int] = mapped_column(BigInteger)
    asked_by: Mapped[str] = mapped_column(String(200))
    changed_ns: Mapped[int] = mapped_column(BigInteger)
    error: Mapped[str] = mapped_column(Text, default="")
    told: Mapped[str] = mapped_column(Text, default="{}")
    __table_args__ = (Index("ix_commands_open", "state", "appliance_id"),)


class User(Base):
    """A person. Without a password nobody can sign in as them."""

    __tablename__ = "users"
    id: Mapped[int] = mapped_column(Row, primary_key=True)
    name: Mapped[str] = mapped_column(String(63), unique=True)
    role: Mapped[str] = mapped_column(String(20))
    password: Mapped[str | None] = mapped_column(String(200))
    enabled: Mapped[bool] = mapped_column(default=True)
    made_ns: Mapped[int] = mapped_column(BigInteger)


class PasswordLink(Base):
    """A one-time link by which a user sets a password."""

    __tablename__ = "password_links"
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    expires_ns: Mapped[int] = mapped_column(BigInteger)


class SessionRow(Base):
    """Somebody who has signed in."""

    __tablename__ = "sessions"
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    csrf: Mapped[str] = mapped_column(String(64))
    made_ns: Mapped[int] = mapped_column(BigInteger)
    used_ns: Mapped[int] = mapped_column(BigInteger)
    expires_ns: Mapped[int] = mapped_column(BigInteger)


class ApiToken(Base):
    """A program's token. It goes with the user who made it, and may no more than they."""

    __tablename__ = "api_tokens"
    id: Mapped[int] = mapped_column(Row, primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(String(63))
    role: Mapped[str] = mapped_column(String(20))
    made_by: Mapped[str] = mapped_column(String(200))
    user_id: Mapped[int | None] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE", name="fk_api_tokens_user")
    )  # None: made at the console
    made_ns: Mapped[int] = mapped_column(BigInteger)
    expires_ns: Mapped[int] = mapped_column(BigInteger)
    revoked_ns: Mapped[int | None] = mapped_column(BigInteger)


class EnrolmentToken(Base):
    """Lets one appliance enrol."""

    __tablename__ = "enrolment_tokens"
    id: Mapped[int] = mapped_column(Row, primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    note: Mapped[str] = mapped_column(String(200))
    made_by: Mapped[str] = mapped_column(String(200))
    made_ns: Mapped[int] = mapped_column(BigInteger)
    expires_ns: Mapped[int] = mapped_column(BigInteger)
    used_ns: Mapped[int | None] = mapped_column(BigInteger)
    used_by: Mapped[str | None] = mapped_column(String(36))  # the appliance
    revoked_ns: Mapped[int | None] = mapped_column(BigInteger)


class AuditRow(Base):
    """Who did what, from where, and what came of it. Never changed, never removed."""

    __tablename__ = "audit"
    id: Mapped[int] = mapped_column(Row, primary_key=True)
    at_ns: Mapped[int] = mapped_column(BigInteger, index=True)
    actor: Mapped[str] = mapped_column(String(200), index=True)
    role: Mapped[str] = mapped_column(String(20))
    source: Mapped[str] = mapped_column(String(100))  # address
    action: Mapped[str] = mapped_column(String(63), index=True)
    subject: Mapped[str] = mapped_column(String(200), index=True)
    result: Mapped[str] = mapped_column(String(20))  # done, accepted, refused, failed
    details: Mapped[str] = mapped_column(Text)
