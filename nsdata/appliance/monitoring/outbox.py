"""What one target is still to be told, in order, and what it was told: that outlives a restart.

Notifications come at once from the supervisor, and again from the store, which has what was missed:
whoever was told is not told again. Its file keeps up to which row of the store all is settled, and
what was told beyond it. It is written after a delivery, so a notification may be
delivered twice (when the reporter dies in between, or the file cannot be written), and none is
left out.
"""

from __future__ import annotations

import json
import os
import threading
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nsdata.appliance.monitoring.notification import EVENT, HEALTH, TRANSITION, Notification
from nsdata.appliance.store import StoreReader

ROOM = 256  # notifications kept in memory; the store has the others
REMEMBERED = 2 * ROOM + 1024  # told last: enough for all that the store may still bring


@dataclass(slots=True)
class _Table:
    """How far one table of the store was read. A place is (number of a row, its time)."""

    rows: Callable[[int, int], list[tuple[int, int, dict[str, Any]]]]
    floor_ns: int  # older rows are not told
    scanned: tuple[int, int] = (0, 0)
    open: dict[int, tuple[int, int]] = field(default_factory=dict)  # not told: the place before

    @property
    def settled(self) -> tuple[int, int]:
        """The place up to which all was told."""
        return min(self.open.values(), default=self.scanned)


class Outbox:
    """Of one target. kinds: of which notifications. since_ns: when the appliance started, from
    which on it is told, where nothing is on record of this target yet."""

    def __init__(
        self, path: Path, reader: StoreReader, appliance: str, kinds: Collection[str], since_ns: int
    ) -> None:
        self.path = path
        self.appliance = appliance
        self.kinds = frozenset(kinds)
        self.since_ns = since_ns
        self.unsaved = 0  # times the file could not be written
        self._lock = threading.Lock()
        self._waiting: dict[int, Notification] = {}
        self._told: deque[int] = deque(maxlen=REMEMBERED)
        self._tables = {"transitions": _Table(reader.transitions, since_ns),
                        "events": _Table(reader.events, since_ns)}  # fmt: skip
        if TRANSITION not in self.kinds:
            del self._tables["transitions"]
        if not self.kinds & {HEALTH, EVENT}:
            del self._tables["events"]
        self._at_ns = reader.at_ns
        self._load()

    def _load(self) -> None:
        try:
            kept = json.loads(self.path.read_bytes())
            told = [int(one) for one in kept["told"]]
            rows = {name: (int(row), int(at), int(floor))
                    for name, (row, at, floor) in kept["rows"].items()}  # fmt: skip
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            # None yet, or damaged: everything since the start is told, perhaps again. From here
            # on it is known since when, whatever happens before the first delivery.
            self._save()
            return
        self._told.extend(told)
        for name, table in self._tables.items():
            if row := rows.get(name):
                table.scanned, table.floor_ns = row[:2], row[2]

    def _save(self) -> None:
        rows = {name: (*one.settled, one.floor_ns) for name, one in self._tables.items()}
        text = json.dumps({"rows": rows, "told": list(self._told)})
        beside = self.path.with_name(self.path.name + ".new")
        try:
            with open(beside, "w", encoding="ascii") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self.path)
        except OSError:
            self.unsaved += 1

    def __len__(self) -> int:
        return len(self._waiting)

    def offer(self, one: Notification) -> None:
        """It has just come about. Without room it is left to the store."""
        with self._lock:
            if one.kind in self.kinds and one.at_ns not in self._told and len(self) < ROOM:
                self._waiting.setdefault(one.at_ns, one)

    def next(self) -> Notification | None:
        """The oldest that waits."""
        with self._lock:
            return self._waiting[min(self._waiting)] if self._waiting else None

    def settle(self, one: Notification) -> None:
        """It was told, or never will be."""
        with self._lock:
            self._waiting.pop(one.at_ns, None)
            self._told.append(one.at_ns)
            for table in self._tables.values():
                table.open.pop(one.at_ns, None)
            self._save()

    def refill(self) -> None:
        """Take what the store has and was not told. Raises OutputError."""
        with self._lock:
            before = [table.settled for table in self._tables.values()]
            for name in self._tables:
                self._from_store(name)
            if [table.settled for table in self._tables.values()] != before:
                self._save()

    def _from_store(self, name: str) -> None:
        table = self._tables[name]
        number, at_ns = table.scanned
        if number and self._at_ns(name, number) != at_ns:  # another store was begun
            table.scanned, table.floor_ns = (0, 0), min(self.since_ns, at_ns)
            table.open.clear()
        while found := table.rows(table.scanned[0], ROOM):
            for number, at_ns, told in found:
                one = self._notification(name, at_ns, told)
                if one is not None and at_ns >= table.floor_ns and at_ns not in self._told:
                    if at_ns not in self._waiting and len(self) >= ROOM:
                        return
                    self._waiting.setdefault(at_ns, one)
                    table.open[at_ns] = table.scanned
                table.scanned = (number, at_ns)

    def _notification(self, table: str, at_ns: int, told: dict[str, Any]) -> Notification | None:
        kind = TRANSITION
        if table == "events":
            kind = HEALTH if told["event"] == HEALTH else EVENT
            told = told["evidence"] if kind == HEALTH else told
        return Notification(self.appliance, at_ns, kind, told) if kind in self.kinds else None
