"""EVE lines of a virtual box: the supervisor's, the workers', the writer's file and its disk."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from nsdata.appliance.record import LINES_KEPT
from nsdata.output.events import event_line
from nsdata.scenario.virtual_sensors import Sensors
from nsdata.scenario.virtual_worker import Process, Worker


class Lines:
    """Bounded as an appliance's are: what finds no room, or no place on the disk, is lost and
    counted. `file`: what was written; `alerts`: by sid, of what was handed to the writer."""

    def __init__(self, name: str, sensors: Sensors) -> None:
        self.name = name
        self.file = bytearray()
        self.written = 0
        self.lost = 0
        self.alerts: Counter[int] = Counter()
        self._sensors = sensors
        self._waiting: list[bytes] = []  # the supervisor's, that no writer has taken

    def say(self, kind: str, now_ns: int, members: Mapping[str, Any]) -> None:
        """An event of the supervisor's own."""
        if len(self._waiting) >= LINES_KEPT:
            self._waiting.pop(0)
            self.lost += 1
        self._waiting.append(event_line(kind, now_ns, {"appliance": self.name, **members}))

    def take(self, writer: Process | None, workers: list[Worker]) -> None:
        """What the writer takes now, if it works."""
        if writer is None or not writer.works:
            return
        for worker in workers:
            while worker.lines and worker.hung_ns is None:
                lines = worker.lines.popleft()
                worker.size -= len(lines)
                self._put(lines)
        for line in self._waiting:
            self._put(line)
        self._waiting.clear()

    def gone(self, worker: Worker) -> None:
        """What a worker that ended had said to nobody is lost."""
        self.lost += worker.lines_lost + sum(one.count(b"\n") for one in worker.lines)
        worker.lines.clear()
        worker.lines_lost = 0

    def end(self) -> None:
        """Nobody takes any more."""
        self.lost += len(self._waiting)

    def _put(self, lines: bytes) -> None:
        """Into the file, if there is room on the disk."""
        for line in lines.splitlines(keepends=True):
            if b'"event_type":"alert"' in line:
                self.alerts[json.loads(line)["alert"]["signature_id"]] += 1
            if len(line) > self._sensors.free:
                self.lost += 1
                continue
            self._sensors.free -= len(line)
            self.file += line
            self.written += 1
