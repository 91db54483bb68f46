"""How an appliance gets its certificate: a one-time token, made by an admin.

The token has two parts: what is secret (kept as a hash) and the fingerprint of the manager's CA, by
which the appliance knows the manager before it says anything.
"""

from __future__ import annotations

import time
from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from nsdata.appliance.protocol import Enrolment, EnrolRequest
from nsdata.manager import secrets
from nsdata.manager.audit import Actor, Role, record
from nsdata.manager.ca import Authority
from nsdata.manager.database import Database
from nsdata.manager.problems import Problem, not_found
from nsdata.manager.settings import HOUR, MINUTE
from nsdata.manager.tables import Appliance, EnrolmentToken
from nsdata.manager.throttle import Throttle, origin, too_many

REFUSED, REFUSED_NS = 20, 15 * MINUTE  # of an address


class Enrolments:
    """Of one manager."""

    def __init__(self, database: Database, authority: Authority) -> None:
        self.database = database
        self.authority = authority
        self._refused = Throttle(REFUSED, REFUSED_NS)
        self.agents_url = ""  # known when the listener is open

    def tokens(self) -> list[EnrolmentToken]:
        """All, newest first."""
        with self.database.reading() as session:
            newest = select(EnrolmentToken).order_by(EnrolmentToken.id.desc())
            return list(session.scalars(newest))

    def add_token(self, actor: Actor, note: str, hours: float) -> tuple[EnrolmentToken, str]:
        """(what is kept, the token itself: shown once)."""
        secret, now = secrets.new_token("nsde"), time.time_ns()
        with self.database.writing() as session:
            row = EnrolmentToken(
                digest=secrets.digest(secret),
                note=note,
                made_by=actor.name,
                made_ns=now,
                expires_ns=now + int(hours * HOUR),
            )
            session.add(row)
            session.flush()
            record(
                session,
                actor,
                "enrolment-token.add",
                f"{row.id}",
                details={"note": note, "hours": hours},
            )
        return row, f"{secret}.{self.authority.fingerprint}"

    def revoke_token(self, actor: Actor, token_id: int) -> None:
        """Nobody enrols with it any more. Raises Problem (404)."""
        with self.database.writing() as session:
            row = session.get(EnrolmentToken, token_id)
            if row is None:
                raise not_found("enrolment token")
            row.revoked_ns = row.revoked_ns or time.time_ns()
            record(session, actor, "enrolment-token.revoke", f"{row.id}")

    def enrol(self, request: EnrolRequest, source: str) -> Enrolment:
        """A new appliance, and its certificate. The token is used up. Raises Problem: 403 for a
        token that is not usable, 429 for too many of them from an address, 422 for a signing
        request that is not usable."""
        digest = secrets.digest(request.token.partition(".")[0])
        appliance_id, now = str(uuid4()), time.time_ns()
        who = Actor(f"appliance:{appliance_id}", Role.VIEWER, source)
        wanted = select(EnrolmentToken).where(EnrolmentToken.digest == digest)
        with self.database.reading() as session:
            usable = not _unusable(session.scalar(wanted), now)
        if not usable and (wait := self._refused.take(origin(source), now)):
            raise too_many(wait, "tokens that are not usable")  # and not a row of the audit log
        with self.database.writing() as session:
            token = session.scalar(wanted)
            why = _unusable(token, now)
            if token is None or why:
                problem: Problem | None = Problem(403, why, kind="enrolment-token")
                record(session, who, "appliance.enrol", request.name, "refused", {"why": why})
            else:
                problem, certificate = self._admit(session, token, request, appliance_id, now)
                if problem is None:
                    details = {"name": request.name, "token": token.id}
                    record(session, who, "appliance.enrol", appliance_id, details=details)
        if problem is not None:
            raise problem
        return Enrolment(
            id=UUID(appliance_id),
            certificate=certificate,
            ca=self.authority.pem,
            agents_url=self.agents_url,
        )

    def _admit(
        self,
        session: Session,
        token: EnrolmentToken,
        request: EnrolRequest,
        appliance_id: str,
        now: int,
    ) -> tuple[Problem | None, str]:
        try:
            certificate, fingerprint = self.authority.sign_appliance(request.csr, appliance_id)
        except ValueError as error:
            return Problem(422, f"csr: {error}"), ""
        session.add(
            Appliance(id=appliance_id, name=request.name, certificate=fingerprint, enrolled_ns=now)
        )
        token.used_ns, token.used_by = now, appliance_id
        return None, certificate

    def renew(self, appliance_id: str, certificate: str, csr: str) -> str:
        """Another certificate for an enrolled appliance; the old one is good until the new one is
        used. Raises Problem (403, 422)."""
        with self.database.writing() as session:
            row = session.get(Appliance, appliance_id)
            if row is None or certificate not in (row.certificate, row.next_certificate):
                raise Problem(403, "this appliance is not enrolled", kind="not-enrolled")
            try:
                made, fingerprint = self.authority.sign_appliance(csr, appliance_id)
            except ValueError as error:
                raise Problem(422, f"csr: {error}") from error
            row.certificate, row.next_certificate = certificate, fingerprint
            who = Actor(f"appliance:{appliance_id}", Role.VIEWER, "agent")
            record(session, who, "appliance.renew", appliance_id)
        return made


def _unusable(token: EnrolmentToken | None, now: int) -> str:
    if token is None:
        return "the enrolment token is not known"
    if token.used_ns is not None:
        return "the enrolment token is used up: ask for another one"
    if token.revoked_ns is not None:
        return "the enrolment token is revoked"
    return "the enrolment token has expired" if token.expires_ns <= now else ""
