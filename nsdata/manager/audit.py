"""Who acts, and the log of what they did. An audit row is written with what it tells, in the same
transaction, so that neither is there without the other."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy.orm import Session

from nsdata.manager.tables import AuditRow

APPLIANCE = "appliance"  # as an actor: appliance:ID, which has no role


class Role(StrEnum):
    """What somebody may do; each may do what those before it may."""

    VIEWER = "viewer"  # read
    OPERATOR = "operator"  # act on appliances
    ADMIN = "admin"  # users, tokens, enrolment, removal, the audit log

    @property
    def rank(self) -> int:
        """0 may least."""
        return list(Role).index(self)

    def includes(self, other: Role) -> bool:
        """Whether it may do what `other` may."""
        return self.rank >= other.rank


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks. Of a session: its digest and CSRF token; of that or a token: whose it is."""

    name: str  # user:anna, token:3 (nightly), console, appliance:…
    role: Role
    source: str  # address
    user_id: int | None = None
    session: str | None = None
    csrf: str | None = None


def console() -> Actor:
    """Who has the manager's directory, at its command line."""
    return Actor("console", Role.ADMIN, "local")


def record(
    session: Session,
    actor: Actor,
    action: str,
    subject: str,
    result: str = "done",
    details: Mapping[str, Any] | None = None,
) -> None:
    """Into the audit log, with this transaction."""
    session.add(
        AuditRow(
            at_ns=time.time_ns(),
            actor=actor.name[:200],
            role=APPLIANCE if actor.name.startswith(f"{APPLIANCE}:") else actor.role.value,
            source=actor.source[:100],
            action=action,
            subject=subject[:200],
            result=result,
            details=json.dumps(dict(details or {}), default=str),
        )
    )
