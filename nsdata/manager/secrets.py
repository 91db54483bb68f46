"""Secrets: made here, shown once, kept as hashes only."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from nsdata.manager.problems import Problem

PASSWORD_LEAST, PASSWORD_MOST = 12, 200  # characters; NIST SP 800-63B asks for 8 and more
AT_ONCE, IN_ALL = 2, 8  # passwords that are hashed (64 MiB and a core each), with those that wait
WAIT_S = 5.0
_hasher = PasswordHasher()  # argon2id with the library's parameters (RFC 9106, low memory)
_NOBODY = _hasher.hash(secrets.token_urlsafe(16))
_hashing, _waiting = BoundedSemaphore(AT_ONCE), BoundedSemaphore(IN_ALL)


@contextmanager
def _turn() -> Iterator[None]:
    """One's turn to hash. Raises Problem (503) when too many wait, or for too long."""
    busy = Problem(503, "too many sign in at once: try again", headers={"Retry-After": "1"})
    if not _waiting.acquire(blocking=False):
        raise busy
    try:
        if not _hashing.acquire(timeout=WAIT_S):
            raise busy
        try:
            yield
        finally:
            _hashing.release()
    finally:
        _waiting.release()


def new_token(prefix: str) -> str:
    """256 random bits; the prefix says what it is, to people and to scanners for secrets."""
    return f"{prefix}_{secrets.token_urlsafe(32)}"


def digest(token: str) -> str:
    """What is kept of a token. Fast: a token of 256 random bits cannot be guessed."""
    return hashlib.sha256(token.encode()).hexdigest()


def same(one: str, other: str) -> bool:
    """Whether they are equal, in a time that says nothing of where they differ."""
    return hmac.compare_digest(one.encode(), other.encode())


def hash_password(password: str) -> str:
    """Argon2id, with its salt and parameters. Raises Problem (503)."""
    with _turn():
        return _hasher.hash(password)


def password_matches(kept: str | None, password: str) -> bool:
    """Whether it is the password. Takes as long when there is none (`kept` is None). Raises
    Problem (503)."""
    with _turn():
        try:
            return _hasher.verify(kept or _NOBODY, password) and kept is not None
        except (VerificationError, InvalidHashError):
            return False


def needs_rehash(kept: str) -> bool:
    """Whether it was hashed with parameters that are too weak by now."""
    return _hasher.check_needs_rehash(kept)
