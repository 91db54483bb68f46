"""Users, passwords, sessions, API tokens. Every change is in the audit log.

What is wrong is a Problem: 401 who are you, 403 you may not, 404, 409, 429 too many tries.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import delete, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from nsdata.manager import secrets
from nsdata.manager.audit import Actor, Role, record
from nsdata.manager.database import Database, said
from nsdata.manager.problems import Problem, not_found
from nsdata.manager.settings import DAY, HOUR, MINUTE, ManagerSettings
from nsdata.manager.tables import ApiToken, AuditRow, PasswordLink, SessionRow, User
from nsdata.manager.throttle import Throttle, origin, too_many

T = TypeVar("T")
LINK_NS = 24 * HOUR
TOKEN_DAYS = 90
TOUCH_NS = MINUTE  # between two notes that a session is used
# Wrong passwords of a name from an address, from an address, of a name from where nobody has signed
# in by it before; in this time.
TRIES, TRIES_OF_ADDRESS, TRIES_OF_NAME, TRIES_NS = 5, 20, 20, 15 * MINUTE
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A new session: the cookie's value, shown once."""

    cookie: str
    actor: Actor
    lifetime_s: int


class Accounts:
    """All accounts of a manager."""

    def __init__(self, database: Database, settings: ManagerSettings) -> None:
        self.database = database
        self.settings = settings
        self._by_pair = Throttle(TRIES, TRIES_NS)
        self._by_name = Throttle(TRIES_OF_NAME, TRIES_NS)
        self._by_address = Throttle(TRIES_OF_ADDRESS, TRIES_NS)

    # --- who asks ---------------------------------------------------------------------------

    def by_token(self, token: str, source: str) -> Actor:
        """Whose API token this is. Raises Problem (401)."""
        with self.database.reading() as session:
            row = session.execute(
                select(ApiToken, User)
                .outerjoin(User, User.id == ApiToken.user_id)
                .where(ApiToken.digest == secrets.digest(token))
            ).first()
        if row is None:
            raise unauthenticated("the token is not known")
        found, owner = row.ApiToken, row.User
        if found.revoked_ns is not None:
            raise unauthenticated("the token is revoked")
        if found.expires_ns <= time.time_ns():
            raise unauthenticated("the token has expired")
        if owner is not None and not owner.enabled:
            raise unauthenticated("the token's owner is disabled")
        role = Role(found.role)
        if owner is not None and not Role(owner.role).includes(role):
            role = Role(owner.role)
        return Actor(f"token:{found.id} ({found.name})", role, source, found.user_id)

    def by_session(self, cookie: str, source: str, *, by_itself: bool = False) -> Actor:
        """Whose session this is; the idle time begins anew, unless a page asks `by_itself`. Raises
        Problem (401)."""
        digest, now = secrets.digest(cookie), time.time_ns()
        with self.database.reading() as session:
            row = session.execute(
                select(SessionRow, User)
                .join(User, User.id == SessionRow.user_id)
                .where(SessionRow.digest == digest)
            ).first()
        idle = self.settings.session_idle
        if row is None or not row.User.enabled:
            raise unauthenticated("you are not signed in")
        if row.SessionRow.expires_ns <= now or row.SessionRow.used_ns + idle <= now:
            raise unauthenticated("the session is over: sign in again")
        if not by_itself and row.SessionRow.used_ns + min(TOUCH_NS, idle // 4) <= now:
            try:
                with self.database.writing() as session:
                    if kept := session.get(SessionRow, digest):
                        kept.used_ns = now
            except SQLAlchemyError as error:  # reading goes on while nothing can be stored
                log.warning("a session's use is not noted: %s", said(error))
        return Actor(
            f"user:{row.User.name}",
            Role(row.User.role),
            source,
            row.User.id,
            digest,
            row.SessionRow.csrf,
        )

    def check_csrf(self, actor: Actor, given: str) -> None:
        """A change over a session needs its CSRF token; over an API token it needs none."""
        if actor.csrf is not None and not secrets.same(actor.csrf, given):
            raise Problem(
                403, "the CSRF token of the session is missing or wrong (X-CSRF-Token)", kind="csrf"
            )

    # --- signing in -------------------------------------------------------------------------

    def sign_in(self, name: str, password: str, source: str) -> SignedIn:
        """A session. Raises Problem: 401 wrong, 429 too many wrong ones of this name or address,
        503 too many at once."""
        now = time.time_ns()
        tries = self._take(name, source, now)
        try:
            with self.database.reading() as session:
                user = session.scalar(select(User).where(User.name == name))
            usable = user is not None and user.enabled
            right = secrets.password_matches(user.password if user and usable else None, password)
        except BaseException:  # not judged
            _give_back(tries, now)
            raise
        who = Actor(f"user:{name[:63]}", Role(user.role) if user else Role.VIEWER, source)
        if user is None or not right:
            with self.database.writing() as session:
                record(session, who, "session.begin", name[:63], "refused")
            raise unauthenticated("name or password is wrong")
        _give_back(tries, now)
        self._by_pair.forget((name, origin(source)))
        return self._begin(user.id, who, password)

    def _take(self, name: str, source: str, now: int) -> list[tuple[Throttle, Hashable]]:
        """A try of this name from this address, which counts until it is given back. Raises
        Problem (429)."""
        address = origin(source)
        taken: list[tuple[Throttle, Hashable]] = []
        for throttle, key in (
            (self._by_pair, (name, address)),
            (self._by_address, address),
            (self._by_name, name),
        ):
            wait = throttle.take(key, now)
            if not wait:
                taken.append((throttle, key))
            elif throttle is not self._by_name or not self._was_here(name, source):
                _give_back(taken, now)
                raise too_many(wait)
        return taken

    def _was_here(self, name: str, source: str) -> bool:
        """Whether somebody has signed in by this name from this very address: whoever else tries
        does not keep them out."""
        before = select(AuditRow.id).where(
            AuditRow.actor == f"user:{name}",
            AuditRow.action == "session.begin",
            AuditRow.source == source,
            AuditRow.result == "done",
        )
        with self.database.reading() as session:
            return session.scalar(before.limit(1)) is not None

    def _begin(self, user_id: int, who: Actor, password: str) -> SignedIn:
        now, lifetime = time.time_ns(), self.settings.session_lifetime
        cookie, csrf = secrets.new_token("nsds"), secrets.new_token("csrf")
        with self.database.writing() as session:
            user = session.get(User, user_id)
            if user is None or not user.enabled:
                raise unauthenticated("name or password is wrong")
            if user.password and secrets.needs_rehash(user.password):
                user.password = secrets.hash_password(password)
            session.add(
                SessionRow(
                    digest=secrets.digest(cookie),
                    user_id=user.id,
                    csrf=csrf,
                    made_ns=now,
                    used_ns=now,
                    expires_ns=now + lifetime,
                )
            )
            record(session, who, "session.begin", user.name)
            actor = Actor(
                who.name, Role(user.role), who.source, user.id, secrets.digest(cookie), csrf
            )
        return SignedIn(cookie, actor, lifetime // 10**9)

    def sign_out(self, actor: Actor) -> None:
        """The session is over."""
        with self.database.writing() as session:
            session.execute(delete(SessionRow).where(SessionRow.digest == actor.session))
            record(session, actor, "session.end", actor.name)

    # --- users ------------------------------------------------------------------------------

    def users(self) -> list[User]:
        """All, by name."""
        with self.database.reading() as session:
            return list(session.scalars(select(User).order_by(User.name)))

    def add_user(self, actor: Actor, name: str, role: Role) -> tuple[User, str]:
        """(user, one-time token to set the password). Raises Problem (409)."""
        with self.database.writing() as session:
            if session.scalar(select(User.id).where(User.name == name)) is not None:
                raise Problem(409, f"there is a user {name} already")
            user = User(name=name, role=role.value, made_ns=time.time_ns(), enabled=True)
            session.add(user)
            session.flush()
            token = self._link(session, user)
            record(session, actor, "user.add", name, details={"role": role})
        return user, token

    def change_user(
        self, actor: Actor, user_id: int, role: Role | None, enabled: bool | None
    ) -> User:
        """Other role; or nobody signs in as them any more. Raises Problem (404, 409)."""
        with self.database.writing() as session:
            user = _found(session.get(User, user_id), "user")
            before = {"role": user.role, "enabled": user.enabled}
            user.role = user.role if role is None else role.value
            user.enabled = user.enabled if enabled is None else enabled
            session.flush()
            _keep_an_admin(session)
            if not user.enabled or user.role != before["role"]:
                session.execute(delete(SessionRow).where(SessionRow.user_id == user.id))
            after = {"role": user.role, "enabled": user.enabled}
            record(
                session, actor, "user.change", user.name, details={"before": before, "after": after}
            )
        return user

    def remove_user(self, actor: Actor, user_id: int) -> None:
        """Gone, with their sessions and API tokens. Raises Problem (404, 409)."""
        with self.database.writing() as session:
            user = _found(session.get(User, user_id), "user")
            own = select(ApiToken).where(ApiToken.user_id == user.id)
            tokens = [f"{row.id} ({row.name})" for row in session.scalars(own)]
            session.execute(delete(ApiToken).where(ApiToken.user_id == user.id))
            session.execute(delete(SessionRow).where(SessionRow.user_id == user.id))
            session.execute(delete(PasswordLink).where(PasswordLink.user_id == user.id))
            session.delete(user)
            session.flush()
            _keep_an_admin(session)
            record(session, actor, "user.remove", user.name, details={"tokens": tokens})

    def password_link(self, actor: Actor, user_id: int) -> tuple[User, str]:
        """(user, one-time token to set another password); earlier ones are void."""
        with self.database.writing() as session:
            user = _found(session.get(User, user_id), "user")
            token = self._link(session, user)
            record(session, actor, "user.password-link", user.name)
        return user, token

    def _link(self, session: Session, user: User) -> str:
        session.execute(delete(PasswordLink).where(PasswordLink.user_id == user.id))
        token = secrets.new_token("nsdp")
        session.add(
            PasswordLink(
                digest=secrets.digest(token), user_id=user.id, expires_ns=time.time_ns() + LINK_NS
            )
        )
        return token

    def first_admin(self) -> str | None:
        """The one-time token for the admin's password while nobody has set one; else None."""
        with self.database.writing() as session:
            if session.scalar(select(User.id).where(User.password.is_not(None)).limit(1)):
                return None
            user = session.scalar(select(User).where(User.name == "admin"))
            if user is None:
                user = User(
                    name="admin", role=Role.ADMIN.value, made_ns=time.time_ns(), enabled=True
                )
                session.add(user)
                session.flush()
            return self._link(session, user)

    def link_user(self, token: str) -> str | None:
        """The name of the user whose password this token sets; None: it is not usable."""
        with self.database.reading() as session:
            return session.scalar(
                select(User.name)
                .join(PasswordLink, PasswordLink.user_id == User.id)
                .where(
                    PasswordLink.digest == secrets.digest(token),
                    PasswordLink.expires_ns > time.time_ns(),
                )
            )

    def set_password(self, token: str, password: str, source: str) -> str:
        """With a one-time token, which is used up; the user's name. All their sessions end.
        Raises Problem: 403, 429 too many wrong tokens from this address, 503 too many at once."""
        if self.link_user(token) is None:
            if wait := self._by_address.take(origin(source), time.time_ns()):
                raise too_many(wait)
            raise _wrong_link()
        hashed = secrets.hash_password(password)
        with self.database.writing() as session:
            link = session.get(PasswordLink, secrets.digest(token))
            if link is None:  # used meanwhile
                raise _wrong_link()
            user = _found(session.get(User, link.user_id), "user")
            user.password = hashed
            session.delete(link)
            session.execute(delete(SessionRow).where(SessionRow.user_id == user.id))
            who = Actor(f"user:{user.name}", Role(user.role), source)
            record(session, who, "user.password", user.name)
        self._by_name.forget(user.name)
        self._by_pair.forget_all(user.name)
        return user.name

    # --- API tokens -------------------------------------------------------------------------

    def tokens(self) -> list[tuple[ApiToken, str | None]]:
        """All, newest first, and whose they are (None: made at the console)."""
        newest = (
            select(ApiToken, User.name)
            .outerjoin(User, User.id == ApiToken.user_id)
            .order_by(ApiToken.id.desc())
        )
        with self.database.reading() as session:
            return [(row, owner) for row, owner in session.execute(newest)]

    def owner(self, token: ApiToken) -> str | None:
        """The name of the user whose token it is; None: made at the console."""
        with self.database.reading() as session:
            return session.scalar(select(User.name).where(User.id == token.user_id))

    def add_token(self, actor: Actor, name: str, role: Role, days: float) -> tuple[ApiToken, str]:
        """(what is kept, the token itself: shown once)."""
        token, now = secrets.new_token("nsdt"), time.time_ns()
        with self.database.writing() as session:
            row = ApiToken(
                digest=secrets.digest(token),
                name=name,
                role=role.value,
                made_by=actor.name,
                user_id=actor.user_id,
                made_ns=now,
                expires_ns=now + int(days * DAY),
            )
            session.add(row)
            session.flush()
            record(
                session,
                actor,
                "token.add",
                f"{row.id} ({name})",
                details={"role": role, "days": days},
            )
        return row, token

    def revoke_token(self, actor: Actor, token_id: int) -> None:
        """It is good for nothing from now on. Raises Problem (404)."""
        with self.database.writing() as session:
            row = _found(session.get(ApiToken, token_id), "token")
            row.revoked_ns = row.revoked_ns or time.time_ns()
            record(session, actor, "token.revoke", f"{row.id} ({row.name})")


def unauthenticated(why: str) -> Problem:
    """401."""
    return Problem(401, why, headers={"WWW-Authenticate": 'Bearer realm="nsdata"'})


def _wrong_link() -> Problem:
    return Problem(403, "the link is used, expired or wrong: ask for another one", kind="link")


def _give_back(tries: Iterable[tuple[Throttle, Hashable]], taken: int) -> None:
    for throttle, key in tries:
        throttle.give_back(key, taken)


def _found(row: T | None, what: str) -> T:
    if row is None:
        raise not_found(what)
    return row


def _keep_an_admin(session: Session) -> None:
    admins = select(func.count()).where(User.role == Role.ADMIN.value, User.enabled.is_(True))
    if not session.scalar(admins):
        raise Problem(409, "one enabled admin has to remain")
