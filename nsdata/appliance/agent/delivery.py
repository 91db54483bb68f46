"""The archive of a support report on its way to the manager: in pieces, each where the last ended.

A lost connection, or a manager that is away, holds it up: it goes on where the manager says. What
the manager refuses (no room, too large, not wanted any more) ends it, and the manager is asked to
throw away what has come.
"""

from __future__ import annotations

import os
import random
import ssl
import threading
import time
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import httpx

from nsdata.appliance.agent.membership import Membership, problem
from nsdata.appliance.protocol import ARCHIVE_PATH, PIECE, Received
from nsdata.errors import EngineError, NsdataError

TIMEOUT_S = 30.0
RETRY_S, RETRY_MOST_S = 0.5, 30.0
SILENT_S = 3600.0  # without a byte taken: it has failed
OFFSET = "urn:nsdata:problem:archive-offset"
DIGEST = "urn:nsdata:problem:archive-digest"  # what has come was spoilt: once more, from the start


class _Later(NsdataError):
    """Not now, but it may be taken."""


class Delivery(threading.Thread):
    """Of one archive. directory: of the appliance; report_id: the command's. `over`, then `error`:
    why it was not delivered; empty: it was."""

    def __init__(
        self, directory: Path, report_id: UUID, file: Path, size: int, sha256: str
    ) -> None:
        super().__init__(name=f"delivery-{report_id}", daemon=True)
        self.directory = directory
        self.path = ARCHIVE_PATH.format(report_id=report_id)
        self.file, self.size, self.sha256 = file, size, sha256
        self.received = 0  # by the manager
        self.error = self.failing = ""
        self.over = False
        self._stop = threading.Event()
        self._spoilt = False

    def stop(self) -> None:
        """It is not wanted any more."""
        self._stop.set()

    def run(self) -> None:
        """Until it is there, or never will be."""
        try:
            self._deliver()
        except (NsdataError, OSError, ValueError) as error:
            self.error = str(error)
            self._drop()
        except Exception as error:
            self.error = f"{type(error).__name__}: {error}"
            raise
        finally:
            self.over = True

    def _deliver(self) -> None:
        retry_s, silent = RETRY_S, time.monotonic() + SILENT_S
        with open(self.file, "rb") as file:
            while True:
                before = self.received
                try:
                    with self._client() as client:
                        return self._send(client, file.fileno())
                except (httpx.HTTPError, _Later) as error:
                    self.failing = f"{type(error).__name__.strip('_')}: {error}"
                    if self.received > before:
                        retry_s, silent = RETRY_S, time.monotonic() + SILENT_S
                    if time.monotonic() > silent:
                        raise EngineError(f"the manager does not take it: {error}") from error
                self._stop.wait(retry_s * random.uniform(0.5, 1.5))
                self._wanted()
                retry_s = min(retry_s * 2, RETRY_MOST_S)

    def _client(self) -> httpx.Client:
        """For the membership that holds. Raises NsdataError, OSError, _Later."""
        member = Membership.load(self.directory)
        if member is None:
            raise EngineError("the appliance is enrolled nowhere any more")
        try:
            context = member.context()
        except ssl.SSLError as error:
            raise _Later(str(error)) from error
        return httpx.Client(
            base_url=member.agents_url, verify=context, trust_env=False, timeout=TIMEOUT_S
        )

    def _send(self, client: httpx.Client, file: int) -> None:
        self._put(client, b"")  # where it stands
        while self.received < self.size:
            self._wanted()
            data = os.pread(file, min(PIECE, self.size - self.received), self.received)
            if not data:
                raise EngineError(f"{self.file}: became shorter while it was sent")
            self._put(client, data)
            self.failing = ""

    def _put(self, client: httpx.Client, data: bytes) -> None:
        where: dict[str, str | int] = {
            "offset": self.received, "size": self.size, "sha256": self.sha256,
            "name": self.file.name,
        }  # fmt: skip
        answer = client.put(self.path, params=where, content=data)
        if answer.status_code == 200:
            self.received = Received.model_validate_json(answer.content).received
            return
        kind = _kind(answer)
        if kind == OFFSET:
            self.received = Received.model_validate_json(answer.content).received
        elif kind == DIGEST and not self._spoilt:
            self._spoilt, self.received = True, 0
        elif answer.status_code >= 500 and answer.status_code != 507:
            raise _Later(problem(answer))
        else:
            raise EngineError(problem(answer))

    def _wanted(self) -> None:
        if self._stop.is_set():
            raise EngineError("it was cancelled")

    def _drop(self) -> None:
        """What has come of it is not to stay there."""
        with suppress(NsdataError, OSError, httpx.HTTPError), self._client() as client:
            client.delete(self.path)


def _kind(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["type"])
    except (ValueError, KeyError, TypeError):
        return ""
