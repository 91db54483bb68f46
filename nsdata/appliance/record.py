"""What an appliance puts on record: EVE lines through the writer, rows in the store.

Neither may hold the supervisor up: lines wait for a writer, bounded, and rows for a store that
takes them; that the store fails is said once.
"""

from __future__ import annotations

import logging
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any

from nsdata.appliance.monitoring.notification import EVENT, HEALTH, TRANSITION, Notification
from nsdata.appliance.store import Store
from nsdata.fallback.controller import Transition
from nsdata.fallback.ledger import LedgerSnapshot
from nsdata.fallback.reasons import Reason, Severity, State
from nsdata.output.events import event_line, fallback_members

LINES_KEPT = 1000  # while there is no writer
SAVE_NS = 1_000_000_000  # between two writes of counters
TRIM_NS = 3_600_000_000_000  # between two looks for rows that are too many
log = logging.getLogger(__name__)
LEVELS = {
    Severity.CRITICAL: logging.CRITICAL, Severity.WARNING: logging.WARNING,
    Severity.INFO: logging.INFO,
}  # fmt: skip


class Clock:
    """Nanoseconds since the epoch that never run back: the wall's at the start, then its own."""

    def __init__(self) -> None:
        self.start_ns = self._last = time.time_ns()
        self._shift = self.start_ns - time.monotonic_ns()

    def now(self) -> int:
        """For the record, each time another one; deciders get CLOCK_MONOTONIC."""
        self._last = max(self._last + 1, time.monotonic_ns() + self._shift)
        return self._last


class Record:
    """The record of one appliance. `writer_end`: an end to the writer, None while there is none."""

    def __init__(
        self, name: str, store: Store, writer_end: Callable[[], socket.socket | None]
    ) -> None:
        self.name = name
        self.store = store
        self.lost = 0  # lines that found no room
        self.transitions: Counter[tuple[str, str, str]] = Counter()  # outcome, reason, trigger
        self.events: Counter[str] = Counter()
        self.tell: Callable[[Notification], None] = _nobody  # what may be notified
        self._writer_end = writer_end
        self._clock = Clock()
        self._end: socket.socket | None = None
        self._lines: deque[bytes] = deque()
        self._save_ns = 0
        self._trim_ns = 0
        self._failing = False

    @property
    def since_ns(self) -> int:
        """When it began, since the epoch: nothing on it is older."""
        return self._clock.start_ns

    def say(self, kind: str, members: Mapping[str, Any]) -> None:
        """An EVE event of the appliance's own."""
        self._line(kind, self._clock.now(), members)

    def _line(self, kind: str, at_ns: int, members: Mapping[str, Any]) -> None:
        line = event_line(kind, at_ns, {"appliance": self.name, **members})
        if len(self._lines) >= LINES_KEPT:
            self.lost += 1
            self._lines.popleft()
        self._lines.append(line)
        self.push()

    def note(self, kind: str, subject: str, evidence: Mapping[str, Any]) -> None:
        """Something happened that changes no state."""
        told = {"event": kind, "subject": subject, "evidence": dict(evidence)}
        one = Notification(self.name, self._clock.now(), EVENT, told)
        self.events[kind] += 1
        self._line("appliance", one.at_ns, told)
        self.store.event(one.at_ns, kind, subject, evidence)
        self._tell(one, kind, subject, evidence)

    def health(self, report: Mapping[str, Any]) -> None:
        """The level of the health score has changed."""
        one = Notification(self.name, self._clock.now(), HEALTH, report)
        self._line("health", one.at_ns, {"health": report})
        self.store.event(one.at_ns, HEALTH, self.name, report)
        self._tell(one, HEALTH, self.name, {"score": report["score"], "level": report["level"]})

    def transition(self, transition: Transition) -> None:
        """A change of state or reason, or a refusal."""
        told = transition.as_dict()
        one = Notification(self.name, self._clock.now(), TRANSITION, told)
        self.transitions[told["outcome"], told["reason"], told["trigger"]] += 1
        self._line("fallback", one.at_ns, fallback_members(told))
        self.store.transition(one.at_ns, told)
        self._tell(one, transition.outcome.value, transition.reason.value, told["evidence"])

    def _tell(
        self, one: Notification, kind: str, subject: str, evidence: Mapping[str, Any]
    ) -> None:
        """To the log, and to whoever is to be notified."""
        members = {"event": kind, "subject": subject, "evidence": evidence}
        log.log(LEVELS[one.severity], "%s", one.summary, extra=members)
        self.tell(one)

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
            self.note(kind, self.name, told)

    def counters(self, ledger: LedgerSnapshot, state: State, reason: Reason) -> None:
        """The ledger, state and reason of now, into the store."""
        self.store.counters(self._clock.now(), ledger, state, reason)

    def close(self) -> None:
        """Write what waits, and let go."""
        self.let_go()
        self.store.close()


def _nobody(one: Notification) -> None:
    """Nobody is to be notified."""
