"""What the processes of an appliance have in common: how they are started, told and watched.

    python -m nsdata.appliance.child ROLE JSON

JSON names the descriptors handed on (status page, channel, …) and the role's own settings. A child
ends when it is told to, when it gets SIGTERM, or (but for the port) when the supervisor is gone.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from nsdata.appliance.channel import Channel, Gone, Message, close_all
from nsdata.appliance.memory import view
from nsdata.errors import NsdataError
from nsdata.path.status import StatusPage

ROLES = ("port", "worker", "writer")
EXIT_FAILED = 70  # sysexits: it could not go on, and said why
BEAT_NS = 50_000_000  # a sign of life at least so often


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
        page.enter()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._signalled)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the supervisor's to act upon

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self.stopping = True

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


def main(arguments: list[str]) -> int:
    """Be the child that the arguments describe."""
    role, text = arguments
    plan = json.loads(text)
    child = Child(
        plan["name"],
        StatusPage(view(plan["page"])),
        Channel(socket.socket(fileno=plan["channel"])),
    )
    try:
        if role == "port":
            from nsdata.appliance.port import run
        elif role == "worker":
            from nsdata.appliance.worker import run
        elif role == "writer":
            from nsdata.appliance.writer import run
        else:
            raise SystemExit(f"nsdata: no role {role!r}; there are {', '.join(ROLES)}")
        run(child, plan)
    except NsdataError as error:
        child.tell("failed", why=str(error))
        print(f"nsdata {plan['name']}: {error}", file=sys.stderr)
        return EXIT_FAILED
    return 0


def command(role: str, plan: dict[str, Any]) -> list[str]:
    """The command line of a child."""
    return [sys.executable, "-m", "nsdata.appliance.child", role, json.dumps(plan)]


def environment() -> dict[str, str]:
    """A child's environment: this nsdata, whatever directory it runs in; one thread a process."""
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH", "")])])
    return {**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"}


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
