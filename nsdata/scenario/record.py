"""What a run of a scenario left behind, alike of both kinds of run: for the judge and the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nsdata.fallback.ledger import LedgerSnapshot
from nsdata.output.timeline import Timeline
from nsdata.scenario.scenario import Scenario


@dataclass(frozen=True, slots=True)
class Done:
    """An action that was carried out, from `at_ns` to `done_ns` (in virtual time at once).
    `packet`: packets that had come by then."""

    number: int
    name: str | None
    what: str
    at_ns: int
    done_ns: int
    packet: int


@dataclass(frozen=True, slots=True)
class Event:
    """Something that changed no state. `packet`: packets that had come, where that is known."""

    at_ns: int
    kind: str
    subject: str
    evidence: Mapping[str, Any]
    packet: int | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """The counters of one instant, since the start. `came`: packets, held ones included."""

    at_ns: int
    came: int
    ledger: LedgerSnapshot
    alerts: Mapping[int, int]  # by sid


@dataclass(slots=True)
class Record:
    """See the module. Times are nanoseconds of the run's own clock."""

    start_ns: int
    end_ns: int = 0
    real: bool = False
    done: list[Done] = field(default_factory=list)
    entries: list[dict[str, Any]] = field(default_factory=list)  # Transition.as_dict, in order
    events: list[Event] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    packet_ns: dict[int, int] = field(default_factory=dict)  # when so many packets had come
    timeline: Timeline = field(default_factory=Timeline)
    ledger: LedgerSnapshot = field(default_factory=LedgerSnapshot.empty)  # at the end
    alerts: Counter[int] = field(default_factory=Counter)
    offered: int | None = None  # packets that were put on the wire, where that is known
    lines: int = 0  # of EVE
    lines_lost: int = 0
    eve: bytes = b""
    faults: list[str] = field(default_factory=list)  # ledgers that did not balance, and the like

    def sample(self, ns: int) -> Sample:
        """The counters as they stood at `ns`, or soon after it."""
        return next((one for one in self.samples if one.at_ns >= ns), self.samples[-1])

    def seconds(self, ns: int) -> float:
        """Since the start."""
        return (ns - self.start_ns) / 1e9


class Marks:
    """When counters have to be taken, for what is expected of the time between."""

    def __init__(self, scenario: Scenario, start_ns: int) -> None:
        self._due: set[int] = set()
        self._after: dict[str, list[int]] = {}  # by action: how long after it
        self._packets: dict[int, list[int]] = {}
        for expect in scenario.file.expect:
            lasts = expect.lasts or 0
            if expect.after is not None:
                self._after.setdefault(expect.after, []).append(lasts)
            elif expect.at_packet is not None:
                self._packets.setdefault(expect.at_packet, []).append(lasts)
            elif expect.at is not None:
                self._due |= {start_ns + expect.at, start_ns + expect.at + lasts}

    def next_ns(self) -> int | None:
        """The next one."""
        return min(self._due, default=None)

    def next_packet(self) -> int | None:
        """The next number of packets that is asked for."""
        return min(self._packets, default=None)

    def passed(self, now_ns: int) -> bool:
        """Whether one is due by now; it is done with."""
        due = {one for one in self._due if one <= now_ns}
        self._due -= due
        return bool(due)

    def acted(self, name: str | None, now_ns: int) -> None:
        """An action was carried out."""
        self._due |= {now_ns + lasts for lasts in self._after.get(name or "", ()) if lasts}

    def came(self, packets: int, now_ns: int) -> list[int]:
        """So many packets have come; which numbers that were asked for they reach."""
        reached = [one for one in sorted(self._packets) if one <= packets]
        for one in reached:
            self._due |= {now_ns + lasts for lasts in self._packets.pop(one)}
        return reached
