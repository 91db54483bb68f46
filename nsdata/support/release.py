"""Whether this is the latest version there is, by the word of a document that settings name.

    {"version": "1.4.2"}

The vendor takes reports of the latest version only. nsdata asks no server on its own: without such
a document nobody can say which version is the latest, and then none is taken to be.
"""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import Any

from packaging.version import InvalidVersion, Version

from nsdata.errors import NsdataError, SettingError
from nsdata.files import read_whole
from nsdata.support.connection import Ways, connect, said, within
from nsdata.support.url import split

LARGEST = 65536  # bytes of the document
LIMIT_S = 30.0  # to get it


@dataclass(frozen=True, slots=True)
class Release:
    """Whether the running version is the latest, and how that is known."""

    running: str
    latest: str | None  # None: not known
    why: str  # in words, either way

    @property
    def is_latest(self) -> bool:
        """Not older than the latest there is."""
        return self.latest is not None and Version(self.running) >= Version(self.latest)


def check(running: str, document: str | None, ways: Ways) -> Release:
    """Compare with the document: a URL, or the path of a file. Raises nothing: what cannot be
    known is said."""
    if not document:
        return Release(running, None, "which version is the latest is not known: "
                       "support.vendor.latest names no document")  # fmt: skip
    try:
        latest = _version(_read(document, ways))
    except (NsdataError, OSError, http.client.HTTPException, ValueError) as error:
        return Release(running, None, "which version is the latest is not known: "
                       f"{document.partition('?')[0]}: {said(error)}")  # fmt: skip
    found = Release(running, str(latest), "")
    told = f"{running} runs, {latest} is the latest version"
    return Release(running, str(latest), told if found.is_latest else f"{told}: update first")


def _read(document: str, ways: Ways) -> bytes:
    if "://" not in document:
        return read_whole(document, LARGEST)
    to = split(document)
    connection = connect(to, ways)
    try:
        with within(connection, LIMIT_S):
            connection.putrequest("GET", to.target, skip_host=True, skip_accept_encoding=True)
            connection.putheader("Host", to.authority)
            connection.endheaders()
            answer = connection.getresponse()
            if answer.status != 200:
                raise SettingError(f"HTTP {answer.status}")
            return answer.read(LARGEST + 1)
    finally:
        connection.close()


def _version(text: bytes) -> Version:
    if len(text) > LARGEST:
        raise ValueError(f"it is longer than {LARGEST:,} bytes")
    try:
        told: Any = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    version = told.get("version") if isinstance(told, dict) else None
    if not isinstance(version, str):
        raise ValueError('it is not {"version": "…"}')
    try:
        return Version(version)
    except InvalidVersion as error:
        raise ValueError(str(error)) from None
