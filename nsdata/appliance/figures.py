"""The figures of a running appliance: one ledger over all ports there were, drops by rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from nsdata.appliance.port import figures, ledger_of
from nsdata.errors import LedgerError
from nsdata.fallback.controller import Moment
from nsdata.fallback.ledger import LedgerSnapshot, Why
from nsdata.path.status import StatusPage


class Figures:
    """What has been counted since the appliance started."""

    def __init__(self) -> None:
        self.port: dict[str, int] = {}  # the words of the port's page, when last read
        self._ended = LedgerSnapshot.empty()  # of ports that ended
        self._sound = self._ended  # the last that balanced
        self._drops: dict[str, dict[int, int]] = {}  # by worker, by rule

    def ledger(self, page: StatusPage | None) -> LedgerSnapshot:
        """Of all frames that are settled. Raises LedgerError when it does not balance."""
        found = self._ended
        at_ns, counters = (0, None) if page is None else page.read()
        if at_ns and counters is not None:
            self.port = figures(counters)
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
        drops: dict[int, int] = {}
        for by_rule in self._drops.values():
            for sid, packets in by_rule.items():
                drops[sid] = drops.get(sid, 0) + packets
        received = ledger.received.packets + self.port.get("held_packets", 0)
        return Moment(now_ns, received + 1, ledger, drops)

    def dropped(self, worker: str, by_rule: Mapping[str, int]) -> None:
        """What a worker's rules dropped, cumulative."""
        self._drops[worker] = {int(sid): packets for sid, packets in by_rule.items()}

    def worker_gone(self, worker: str) -> None:
        """Its rules drop no more."""
        self._drops.pop(worker, None)

    def port_gone(self, page: StatusPage) -> dict[str, Any]:
        """Its ledger goes on; what it held was forwarded by nobody: lost with it. How much."""
        at_ns, counters = page.read()
        if not at_ns:
            return {}
        words = figures(counters)
        self._ended = _ended(self._ended, counters, words)
        self.port = {}
        return {"lost_packets": words["held_packets"], "lost_bytes": words["held_bytes"]}


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
