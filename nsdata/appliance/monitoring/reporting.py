"""The supervisor's end of the reporter: hands it the figures and what there is to tell."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from nsdata.appliance.channel import Message
from nsdata.appliance.companion import Companion
from nsdata.appliance.monitoring.board import new_board
from nsdata.appliance.monitoring.notification import Notification
from nsdata.appliance.monitoring.snapshot import Snapshots
from nsdata.errors import EngineError

if TYPE_CHECKING:
    from nsdata.appliance.supervisor import Supervisor

PUT_UP_NS = 500_000_000  # between two notices


class Reporting(Companion):
    """Of one supervisor. Nothing runs when nothing is to be reported."""

    name = "reporter"

    def __init__(self, box: Supervisor) -> None:
        super().__init__(box)
        self.board_fd, self.board = new_board("reporter")
        self.snapshots = Snapshots(box)
        self.lost = 0  # messages it did not take
        self.address: tuple[int, Message] = (0, {})  # of /metrics: host and port, by attempt
        self.tests: dict[int, dict[str, Message]] = {}  # what came of the latest, by target
        self._number = 0
        self._put_up_ns = 0

    def due(self) -> bool:
        """Somebody is to be served or told."""
        settings = self.box.settings
        return bool(settings.metrics.listen or settings.notify.targets)

    def plan(self) -> dict[str, int]:
        """The board that notices are put up on."""
        return {"board": self.board_fd}

    def setup(self) -> dict[str, Any]:
        """What to serve, and whom to tell."""
        settings = self.box.settings
        return {
            "name": settings.name,
            "directory": settings.directory,
            "since_ns": self.box.record.since_ns,
            "metrics": settings.metrics.model_dump(mode="json"),
            "notify": settings.notify.model_dump(mode="json"),
        }

    def seen(self, now: int) -> None:
        """Put up the figures of now."""
        if now < self._put_up_ns:
            return
        self._put_up_ns = now + PUT_UP_NS
        notice = self.snapshots.build(now)
        notice["processes"][self.name] = self.snapshots.process(
            self.watch.status()[self.name], self.process, self.name, now
        )
        self.board.write({**notice, "messages_lost": self.lost})

    def said(self, message: Message) -> None:
        """Where it listens, and what came of a test."""
        what = message.pop("what")
        if what == "listening" and self.process is not None:
            self.address = (self.process.attempt, message)
            self.box.record.note("metrics served", self.name, message)
        elif what == "tested":
            self.tests.setdefault(message["number"], {})[message["target"]] = message

    # --- telling it -----------------------------------------------------------------------

    def tell(self, one: Notification) -> None:
        """Something that may be notified. One it does not take it finds in the store."""
        if self.process is None or one.kind not in self.box.settings.notify.on:
            return
        try:
            taken = self.process.send("event", at_ns=one.at_ns, kind=one.kind, told=dict(one.told))
        except ValueError:  # too long for a message
            taken = False
        self.lost += not taken

    def test(self, note: str) -> int:
        """Have a test sent to every target; its number. Raises EngineError."""
        targets = self.box.settings.notify.targets
        if not targets:
            raise EngineError("nobody is to be notified: neither notify.webhook nor notify.syslog")
        self._number += 1
        self.tests = {self._number: {}}
        if self.process is None or not self.process.send("test", number=self._number, note=note):
            raise EngineError("the reporter does not answer; try again in a second")
        return self._number

    def status(self) -> dict[str, Any]:
        """For the operator."""
        told = self.watch.status().get(self.name, {})
        attempt, address = self.address
        listening = address if self.process and self.process.attempt == attempt else {}
        return {**told, "listening": listening, "events_lost": self.lost}

    def close(self) -> None:
        """It is gone when this returns."""
        super().close()
        os.close(self.board_fd)
