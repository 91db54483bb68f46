"""The figures of a running appliance, over all processes there were: one ledger, what segments had
uninspected, what rules dropped and cost, what workers left out and verified."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nsdata.appliance.port import EXPOSED, exposed_of, figures, ledger_of
from nsdata.appliance.worker import FIGURES, RULES_TOLD
from nsdata.errors import LedgerError
from nsdata.fallback.controller import Moment
from nsdata.fallback.deciders import Measures
from nsdata.fallback.exposure import DEFAULT_SEGMENT
from nsdata.fallback.ledger import Count, LedgerSnapshot, Why
from nsdata.fallback.protection import RuleCost
from nsdata.path.status import StatusPage

SUPPRESSED, VERIFIED_PACKETS, VERIFIED_BYTES = (
    FIGURES.index(name) for name in ("suppressed_alerts", "verified_packets", "verified_bytes")
)


def _add(drops: dict[int, int], more: Mapping[int, int]) -> None:
    for sid, packets in more.items():
        drops[sid] = drops.get(sid, 0) + packets


class Figures:
    """What has been counted since the appliance started. `segments`: names, `default` last."""

    def __init__(self, segments: Sequence[str] = (DEFAULT_SEGMENT,)) -> None:
        self.port: dict[str, int] = {}  # the words of the port's page, when last read
        self.costs: dict[int, RuleCost] = {}  # by sid, since the rules were loaded
        self._alone = (0, 0)  # packets and nanoseconds of the port alone that are told
        self._segments = segments
        shape = (len(segments), len(EXPOSED))
        self._exposed = np.zeros(shape, np.uint64)  # of the port that runs, when last read
        self._exposed_before = np.zeros(shape, np.uint64)  # of ports that ended
        self._workers: dict[str, list[int]] = {}  # the pages, when last read
        self._workers_before = [0] * len(FIGURES)  # of workers that ended
        self._ended = LedgerSnapshot.empty()  # of ports that ended
        self._sound = self._ended  # the last that balanced
        self._drops: dict[str, dict[int, int]] = {}  # by worker, by rule
        self._drops_before: dict[int, int] = {}  # of workers that ended, by rule

    def ledger(self, page: StatusPage | None) -> LedgerSnapshot:
        """Of all frames that are settled. Raises LedgerError when it does not balance."""
        found = self._ended
        at_ns, counters = (0, None) if page is None else page.read()
        if at_ns and counters is not None:
            self.port = figures(counters)
            self._exposed = exposed_of(counters, len(self._segments))
            found = total(found, ledger_of(counters))
        found.check()
        found.difference(self._sound)
        self._sound = found
        return found

    def moment(self, now_ns: int, page: StatusPage | None) -> Moment:
        """For the deciders; with the last ledger that balanced when this one does not, so that
        a fault of the ledger can be declared at all."""
        try:
            ledger = self.ledger(page)
        except LedgerError:
            ledger = self._sound
        drops = dict(self._drops_before)
        for by_rule in self._drops.values():
            _add(drops, by_rule)
        received = ledger.received.packets + self.port.get("held_packets", 0)
        return Moment(now_ns, received + 1, ledger, drops)

    def dropped(self, worker: str, by_rule: Mapping[str, int]) -> None:
        """What a worker's rules dropped, cumulative."""
        self._drops[worker] = {int(sid): packets for sid, packets in by_rule.items()}

    def spent(self, by_rule: Mapping[str, Sequence[int]]) -> None:
        """What a worker's rules cost since it told last: checked, verified, nanoseconds."""
        for sid, more in by_rule.items():
            before = self.costs.get(int(sid), RuleCost())
            self.costs[int(sid)] = RuleCost(
                *(then + now for then, now in zip(before, more, strict=True))
            )

    def reloaded(self) -> None:
        """Costs are those of other rules from now on."""
        self.costs = {}

    def worker(self, worker: str, page: StatusPage) -> None:
        """What stands on a worker's page now. A counter that runs back is a worker gone mad, and
        stands still here."""
        at_ns, counters = page.read()
        if at_ns:
            words = counters[: len(FIGURES)].tolist()
            self._workers[worker] = list(map(max, words, self._workers.get(worker, words)))

    def worker_gone(self, worker: str, page: StatusPage) -> None:
        """What it counted goes on, of rules for the RULES_TOLD that dropped most."""
        _add(self._drops_before, self._drops.pop(worker, {}))
        if len(self._drops_before) > RULES_TOLD:
            most = sorted(self._drops_before.items(), key=lambda one: -one[1])[:RULES_TOLD]
            self._drops_before = dict(most)
        self.worker(worker, page)
        if worker in self._workers:
            self._workers_before = _sum(self._workers_before, self._workers.pop(worker))

    def measures(self) -> Measures:
        """What the protections are decided by; as last read."""
        words = self._workers_before
        for more in self._workers.values():
            words = _sum(words, more)
        exposed = self.exposed()
        return Measures(
            costs=self.costs,
            suppressed=words[SUPPRESSED],
            verified=Count(words[VERIFIED_PACKETS], words[VERIFIED_BYTES]),
            permitted_bytes={name: one["permitted_bytes"] for name, one in exposed.items()},
            missing=self.port.get("missing", 0),
        )

    def exposed(self) -> dict[str, dict[str, int]]:
        """By segment: what was permitted uninspected, and what was blocked."""
        rows = (self._exposed_before + self._exposed).tolist()
        return {
            name: dict(zip(EXPOSED, row, strict=True))
            for name, row in zip(self._segments, rows, strict=True)
        }

    def was_alone(self) -> dict[str, Any]:
        """What the port did without a supervisor, once, when that is over; else nothing."""
        alone = self.port.get("alone_packets", 0), self.port.get("alone_ns", 0)
        if self.port.get("alone") or alone == self._alone:
            return {}
        (packets, ns), self._alone = self._alone, alone
        return {"packets": alone[0] - packets, "seconds": round((alone[1] - ns) / 1e9, 3)}

    def port_gone(self, page: StatusPage) -> dict[str, Any]:
        """Its ledger goes on; what it held was forwarded by nobody: lost with it. How much."""
        at_ns, counters = page.read()
        if not at_ns:
            return {}
        words = figures(counters)
        self._ended = _ended(self._ended, counters, words)
        self._exposed_before += exposed_of(counters, len(self._segments))
        self._exposed = np.zeros_like(self._exposed_before)
        self.port, self._alone = {}, (0, 0)
        return {"lost_packets": words["held_packets"], "lost_bytes": words["held_bytes"]}


def _sum(one: list[int], other: list[int]) -> list[int]:
    return [a + b for a, b in zip(one, other, strict=True)]


def total(one: LedgerSnapshot, other: LedgerSnapshot) -> LedgerSnapshot:
    """Both ledgers as one."""
    return LedgerSnapshot(
        one.received + other.received,
        tuple(a + b for a, b in zip(one.by_fate, other.by_fate, strict=True)),
        tuple(a + b for a, b in zip(one.by_why, other.by_why, strict=True)),
    )


def _ended(
    before: LedgerSnapshot, counters: npt.NDArray[np.uint64], words: Mapping[str, int]
) -> LedgerSnapshot:
    found = total(before, ledger_of(counters))
    packets, nbytes = words["held_packets"], words["held_bytes"]
    by_packets = [count.packets for count in found.by_why]
    by_bytes = [count.bytes for count in found.by_why]
    by_packets[Why.PORT] += packets
    by_bytes[Why.PORT] += nbytes
    return LedgerSnapshot.from_counts(
        found.received.packets + packets, found.received.bytes + nbytes, by_packets, by_bytes
    )
