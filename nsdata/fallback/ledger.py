"""The ledger: every packet received is inspected, bypassed, blocked or lost; exactly one.

The C engine counts in three plain places: `received` when a frame comes in, and packets
and bytes per `Why` when its fate is settled. Because they are counted apart, `check`
can fail. Numbers and names mirror the enums `Fate` and `Why` in nsdata/path/packet.pxd.
Packets are frames as captured; bytes are wire bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

from nsdata.errors import LedgerError


class Fate(IntEnum):
    """Where a frame ended up."""

    INSPECTED = 0
    BYPASSED = 1
    BLOCKED = 2
    LOST = 3

    @property
    def token(self) -> str:
        """Name in JSON."""
        return self.name.lower()

    @property
    def text(self) -> str:
        return _FATE_TEXT[self]


class Why(IntEnum):
    """Why it ended up there; each belongs to one fate."""

    INSPECTED = 0
    FALLBACK = 1
    BYPASS_RULE = 2
    FLOW_BYPASS = 3
    FLOW_PASS = 4
    NOT_IP = 5
    RULE_DROP = 6
    RULE_REJECT = 7
    FLOW_DROP = 8
    BYPASS_RULE_BLOCK = 9
    POLICY = 10
    OVERSUBSCRIBED = 11
    OFFLOAD_BYPASS = 12
    OFFLOAD_FAULT = 13
    OFFLOAD_BLOCK = 14
    WORKER = 15
    SHARE = 16
    BEST_EFFORT = 17
    FALLBACK_BLOCK = 18
    PORT = 19

    @property
    def token(self) -> str:
        """Name in JSON."""
        return self.name.lower()

    @property
    def fate(self) -> Fate:
        return _WHY[self][0]

    @property
    def text(self) -> str:
        return _WHY[self][1]


_FATE_TEXT = {
    Fate.INSPECTED: "inspected and forwarded",
    Fate.BYPASSED: "forwarded without inspection",
    Fate.BLOCKED: "dropped on purpose",
    Fate.LOST: "dropped because it could not be inspected in time",
}

_WHY: dict[Why, tuple[Fate, str]] = {
    Why.INSPECTED: (Fate.INSPECTED, "inspected and permitted"),
    Why.FALLBACK: (Fate.BYPASSED, "the engine is in fallback"),
    Why.BYPASS_RULE: (Fate.BYPASSED, "an inspection bypass rule"),
    Why.FLOW_BYPASS: (Fate.BYPASSED, "its flow was bypassed by a rule"),
    Why.FLOW_PASS: (Fate.BYPASSED, "its flow was passed by a rule"),
    Why.NOT_IP: (Fate.BYPASSED, "nothing to inspect in it and no rule could match"),
    Why.RULE_DROP: (Fate.BLOCKED, "a drop rule"),
    Why.RULE_REJECT: (Fate.BLOCKED, "a reject rule"),
    Why.FLOW_DROP: (Fate.BLOCKED, "its flow was dropped"),
    Why.BYPASS_RULE_BLOCK: (Fate.BLOCKED, "an inspection bypass rule with action block"),
    Why.POLICY: (Fate.BLOCKED, "an exception policy (memcap, midstream …)"),
    Why.OVERSUBSCRIBED: (Fate.LOST, "the inspection queue was full"),
    Why.OFFLOAD_BYPASS: (Fate.BYPASSED, "its flow is bypassed by the FPGA's table"),
    Why.OFFLOAD_FAULT: (Fate.BYPASSED, "the FPGA had a fault and permitted it"),
    Why.OFFLOAD_BLOCK: (Fate.BLOCKED, "dropped by the FPGA, as its flow was"),
    Why.WORKER: (Fate.BYPASSED, "its worker failed, or was not ready yet"),
    Why.SHARE: (Fate.BYPASSED, "outside the share that is inspected after a restore"),
    Why.BEST_EFFORT: (Fate.BYPASSED, "it would have waited too long to be inspected"),
    Why.FALLBACK_BLOCK: (Fate.BLOCKED, "in fallback, and its segment blocks then"),
    Why.PORT: (Fate.LOST, "the port held it when it ended"),
}


class Count(NamedTuple):
    """Packets, and their bytes on the wire."""

    packets: int = 0
    bytes: int = 0

    def __sub__(self, older: Count) -> Count:
        return Count(self.packets - older.packets, self.bytes - older.bytes)

    def __add__(self, other: Count) -> Count:  # type: ignore[override]
        return Count(self.packets + other.packets, self.bytes + other.bytes)


_FATE_OF = tuple(_WHY[why][0].value for why in Why)
_FATES, _WHYS = len(Fate), len(Why)


def _fates_of(by_why: Sequence[Count]) -> tuple[Count, ...]:
    """The counts of each fate, summed over its reasons."""
    number, size = [0] * _FATES, [0] * _FATES
    for fate, count in zip(_FATE_OF, by_why, strict=True):
        number[fate] += count[0]
        size[fate] += count[1]
    return tuple(map(Count, number, size))


@dataclass(frozen=True, slots=True)
class LedgerSnapshot:
    """The ledger at one instant, or between two (`difference`).

    `by_fate` is indexed by Fate (length 4), `by_why` by Why (one entry each).
    """

    received: Count
    by_fate: tuple[Count, ...]
    by_why: tuple[Count, ...]

    @classmethod
    def from_counts(
        cls,
        received_packets: int,
        received_bytes: int,
        packets: Sequence[int],
        nbytes: Sequence[int],
    ) -> LedgerSnapshot:
        """From the engine's arrays: `packets` and `nbytes` have one entry per Why.

        Raises LedgerError when their lengths are not the number of reasons.
        """
        if len(packets) != _WHYS or len(nbytes) != _WHYS:
            raise LedgerError(
                f"{len(packets)} packet and {len(nbytes)} byte counters for {_WHYS} reasons: "
                "nsdata/path/packet.pxd and nsdata/fallback/ledger.py do not match; rebuild"
            )
        # taken at every evaluation of the drop meter: plain integers, no enum lookups
        by_why = tuple(map(Count, map(int, packets), map(int, nbytes)))
        received = Count(int(received_packets), int(received_bytes))
        return cls(received, _fates_of(by_why), by_why)

    @classmethod
    def empty(cls) -> LedgerSnapshot:
        return cls(Count(), (Count(),) * len(Fate), (Count(),) * len(Why))

    def fate(self, fate: Fate) -> Count:
        return self.by_fate[fate]

    def why(self, why: Why) -> Count:
        return self.by_why[why]

    @property
    def inspected(self) -> Count:
        return self.by_fate[Fate.INSPECTED]

    @property
    def bypassed(self) -> Count:
        return self.by_fate[Fate.BYPASSED]

    @property
    def blocked(self) -> Count:
        return self.by_fate[Fate.BLOCKED]

    @property
    def lost(self) -> Count:
        return self.by_fate[Fate.LOST]

    @property
    def dropped(self) -> Count:
        """Blocked by rules and lost to over-subscription: what the drop meter watches."""
        return self.blocked + self.lost

    def difference(self, older: LedgerSnapshot) -> LedgerSnapshot:
        """What was counted since `older`. Raises LedgerError if a counter went back."""
        gone = LedgerSnapshot(
            self.received - older.received,
            tuple(now - then for now, then in zip(self.by_fate, older.by_fate, strict=True)),
            tuple(now - then for now, then in zip(self.by_why, older.by_why, strict=True)),
        )
        counts = (gone.received, *gone.by_fate, *gone.by_why)
        if any(count.packets < 0 or count.bytes < 0 for count in counts):
            raise LedgerError(f"a counter went backwards: {self.figures()}; {older.figures()}")
        return gone

    def check(self) -> None:
        """Raise LedgerError with all figures unless the ledger balances.

        received = inspected + bypassed + blocked + lost, in packets and in bytes, and the
        reasons of each fate sum to that fate. (`difference` of two balanced ones balances.)
        """
        # checked at every evaluation of the drop meter: the fault is looked for when there is one
        if (
            _fates_of(self.by_why) == self.by_fate
            and tuple(map(sum, zip(*self.by_fate, strict=True))) == self.received
            and min(map(min, self.by_why)) >= 0
        ):
            return
        faults: list[str] = []
        total = sum(self.by_fate, Count())
        for unit in ("packets", "bytes"):
            came, went = getattr(self.received, unit), getattr(total, unit)
            if came != went:
                faults.append(f"received {came} {unit} ≠ {went} accounted ({came - went:+d})")
            for fate in Fate:
                reasons = sum(getattr(self.by_why[why], unit) for why in Why if why.fate is fate)
                stated = getattr(self.by_fate[fate], unit)
                if reasons != stated:
                    faults.append(f"{fate.token} {stated} {unit} ≠ {reasons} by its reasons")
        negative = [
            why.token for why in Why if min(self.by_why[why].packets, self.by_why[why].bytes) < 0
        ]
        if negative:
            faults.append(f"negative: {', '.join(negative)}")
        if faults:
            raise LedgerError(
                f"the ledger does not balance: {'; '.join(faults)}. {self.figures()}. "
                "This is a bug in nsdata; please report it with the capture"
            )

    def figures(self) -> str:
        """All counters in one line."""
        parts = [f"received {self.received.packets} packets {self.received.bytes} bytes"]
        parts += [
            f"{fate.token} {self.by_fate[fate].packets}/{self.by_fate[fate].bytes}" for fate in Fate
        ]
        parts += [
            f"{why.token} {self.by_why[why].packets}/{self.by_why[why].bytes}"
            for why in Why
            if self.by_why[why] != Count() and why.token != why.fate.token  # it stands above
        ]
        return ", ".join(parts)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: received and each fate with packets and bytes, and `reasons`."""
        out: dict[str, Any] = {
            "received": {"packets": self.received.packets, "bytes": self.received.bytes}
        }
        for fate in Fate:
            count = self.by_fate[fate]
            out[fate.token] = {
                "packets": count.packets,
                "bytes": count.bytes,
                "reasons": {why.token: self.by_why[why].packets for why in Why if why.fate is fate},
            }
        return out
