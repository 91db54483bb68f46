"""What the processes of an appliance have in common: how they are started, told and watched.

A child ends when it is told to, when it gets SIGTERM, or (but for the port) when the supervisor is
gone. `nsdata.appliance.__main__` is where it begins.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from nsdata.appliance.channel import Channel, Gone, Message, close_all
from nsdata.path.status import StatusPage

BEAT_NS = 50_000_000  # a sign of life at least so often
BALLAST = 1 << 24  # bytes taken at a time
PUBLISH_NS = 1_000_000  # between two publications of counters while there is much to do


class Child:
    """One process's ends: its page, its channel, and whether it is to stop."""

    def __init__(self, name: str, page: StatusPage, channel: Channel) -> None:
        self.name = name
        self.page = page
        self.channel = channel
        self.stopping = False
        self.orphan = False  # the supervisor is gone
        self.counters = np.zeros(0, np.uint64)
        self._handlers: dict[str, Callable[[Message, list[int]], None]] = {}
        self._ballast: list[bytes] = []
        self.on("bloat", self._bloat)
        page.enter()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._signalled)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the supervisor's to act upon

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self.stopping = True

    def _bloat(self, message: Message, descriptors: list[int]) -> None:
        """For tests: hold so many bytes of memory, as a leak would; 0 lets go of them."""
        close_all(descriptors)
        left = int(message["bytes"])
        self._ballast = []
        while left > 0:
            self._ballast.append(b"\x01" * min(left, BALLAST))
            left -= BALLAST
            self.page.beat()  # it grows, it does not hang

    def on(self, what: str, handler: Callable[[Message, list[int]], None]) -> None:
        """Messages with `what` go to `handler`, with their descriptors."""
        self._handlers[what] = handler

    def listen(self) -> None:
        """Act on every message that has come."""
        try:
            while not self.orphan and (got := self.channel.receive()) is not None:
                message, descriptors = got
                if message["what"] == "stop":
                    self.stopping = True
                    close_all(descriptors)
                elif handler := self._handlers.get(message["what"]):
                    handler(message, descriptors)
                else:
                    close_all(descriptors)
                    self.tell("refused", why=f"{self.name} does not know {message['what']!r}")
        except Gone:
            self.orphan = True

    def tell(self, what: str, **members: Any) -> bool:
        """A message to the supervisor; whether it was taken."""
        try:
            return not self.orphan and self.channel.send({"what": what, **members})
        except Gone:
            self.orphan = True
            return False

    def pause(self, ns: int, *others: int) -> None:
        """Sleep, at most until a message comes or one of `others` can be read; and beat."""
        ends = [*others] if self.orphan else [self.channel.fileno(), *others]
        ns = min(ns, BEAT_NS)
        if ends:
            select.select(ends, [], [], ns / 1e9)
        else:
            time.sleep(ns / 1e9)


def command(role: str, plan: dict[str, Any]) -> list[str]:
    """The command line of a child."""
    return [sys.executable, "-m", "nsdata.appliance", role, json.dumps(plan)]


def environment() -> dict[str, str]:
    """A child's environment: this nsdata, whatever directory it runs in; one thread a process."""
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH", "")])])
    return {**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"}
