"""What an appliance puts on record: EVE lines through the writer, rows in the store.

Neither may hold the supervisor up: lines wait for a writer, bounded, and rows for a store that
takes them; that the store fails is said once.
"""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from nsdata.appliance.store import Store
from nsdata.fallback.controller import Transition
from nsdata.fallback.ledger import LedgerSnapshot
from nsdata.fallback.reasons import Reason, State
from nsdata.output.events import event_line

LINES_KEPT = 1000  # while there is no writer
SAVE_NS = 1_000_000_000  # between two writes of counters
TRIM_NS = 3_600_000_000_000  # between two looks for rows that are too many


class Clock:
    """Nanoseconds since the epoch that never run back: the wall's at the start, then its own."""

    def __init__(self) -> None:
        self._shift = time.time_ns() - time.monotonic_ns()

    def now(self) -> int:
        """For the record; deciders get CLOCK_MONOTONIC."""
        return time.monotonic_ns() + self._shift


class Record:
    """The record of one appliance. `writer_end`: an end to the writer, None while there is none."""

    def __init__(
        self, name: str, store: Store, writer_end: Callable[[], socket.socket | None]
    ) -> None:
        self.name = name
        self.store = store
        self.lost = 0  # lines that found no room
        self._writer_end = writer_end
        self._clock = Clock()
        self._end: socket.socket | None = None
        self._lines: deque[bytes] = deque()
        self._save_ns = 0
        self._trim_ns = 0
        self._failing = False

    def say(self, kind: str, members: Mapping[str, Any]) -> None:
        """An EVE event of the appliance's own."""
        line = event_line(kind, self._clock.now(), {"appliance": self.name, **members})
        if len(self._lines) >= LINES_KEPT:
            self.lost += 1
            self._lines.popleft()
        self._lines.append(line)
        self.push()

    def note(self, kind: str, subject: str, evidence: Mapping[str, Any]) -> None:
        """Something happened that changes no state."""
        self.say("appliance", {"event": kind, "subject": subject, "evidence": dict(evidence)})
        self.store.event(self._clock.now(), kind, subject, evidence)

    def transition(self, transition: Transition) -> None:
        """A change of state or reason, or a refusal."""
        told = transition.as_dict()
        self.say("fallback", {"fallback": told})
        self.store.transition(self._clock.now(), told)

    def push(self) -> None:
        """Hand over what the writer takes now."""
        if self._end is None:
            self._end = self._writer_end()
        while self._lines and self._end is not None:
            try:
                self._end.send(self._lines[0])
            except BlockingIOError:
                return
            except OSError:  # it is gone: the next one gets them
                self._end.close()
                self._end = None
                return
            self._lines.popleft()

    def let_go(self) -> None:
        """Of the writer, which is to end: later lines wait for the next one."""
        self.push()
        if self._end is not None:
            self._end.close()
            self._end = None

    def save(self, now_ns: int, ledger: LedgerSnapshot, state: State, reason: Reason) -> None:
        """Keep the store up to date: counters once a second, old rows gone once an hour."""
        if now_ns < self._save_ns:
            return
        self._save_ns = now_ns + SAVE_NS
        self.counters(ledger, state, reason)
        if now_ns >= self._trim_ns:
            self._trim_ns = now_ns + TRIM_NS
            self.store.trim()
        failing = bool(self.store.error)
        if failing is not self._failing:
            self._failing = failing
            told = {"error": self.store.error, "rows_lost": self.store.lost}
            kind = "store failed" if failing else "store works again"
            self.say("appliance", {"event": kind, "subject": self.name, "evidence": told})

    def counters(self, ledger: LedgerSnapshot, state: State, reason: Reason) -> None:
        """The ledger, state and reason of now, into the store."""
        self.store.counters(self._clock.now(), ledger, state, reason)

    def close(self) -> None:
        """Write what waits, and let go."""
        self.let_go()
        self.store.close()
