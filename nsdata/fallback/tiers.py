"""Tiers: how far packets go, how fast, and what part goes on to the next.

1. *bypass and fallback*: every packet received
2. *load balancing and trust*: those not settled by a bypass rule, a fallback, a worker that
   failed, being outside the share of a re-entry, or having nothing to inspect
3. *IP reassembly and triggers*: those neither lost in the queue, nor passed by best effort, nor
   of a flow that is decided
4. *TCP reassembly and verification*: those of which rules were verified in full

A tier whose ratio to the next is near 1 saves nothing: inspection gets nearly all it gets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nsdata.errors import EngineError, LedgerError
from nsdata.fallback.drop_meter import SECOND_NS
from nsdata.fallback.ledger import Count, LedgerSnapshot, Why

NAMES = (
    "bypass and fallback",
    "load balancing and trust",
    "IP reassembly and triggers",
    "TCP reassembly and verification",
)
SETTLED_IN_1 = frozenset(
    {
        Why.FALLBACK,
        Why.FALLBACK_BLOCK,
        Why.SHARE,
        Why.WORKER,
        Why.BYPASS_RULE,
        Why.BYPASS_RULE_BLOCK,
        Why.NOT_IP,
        Why.OFFLOAD_FAULT,
    }
)
SETTLED_IN_2 = frozenset(
    {
        Why.OVERSUBSCRIBED,
        Why.BEST_EFFORT,
        Why.PORT,
        Why.FLOW_BYPASS,
        Why.FLOW_PASS,
        Why.FLOW_DROP,
        Why.OFFLOAD_BYPASS,
        Why.OFFLOAD_BLOCK,
    }
)


def entered(ledger: LedgerSnapshot, verified: Count) -> tuple[Count, Count, Count, Count]:
    """Packets and bytes that entered each tier, cumulative; `verified`: those of tier 4."""
    first = ledger.received
    second = _less(first, ledger, SETTLED_IN_1)
    return first, second, _less(second, ledger, SETTLED_IN_2), verified


def _less(count: Count, ledger: LedgerSnapshot, settled: frozenset[Why]) -> Count:
    for why in sorted(settled):
        count = count - ledger.why(why)
    return count


@dataclass(slots=True)
class _Tier:
    pps: float = 0.0
    bps: float = 0.0
    high_pps: float = 0.0
    high_bps: float = 0.0
    high_pps_at_ns: int | None = None
    high_bps_at_ns: int | None = None
    ratio: float | None = None  # to the next, by packets; None: no packets, or the last tier


class Tiers:
    """Rates over the last interval, high watermarks, ratios. Counters are cumulative."""

    def __init__(self, interval_ns: int = SECOND_NS) -> None:
        self.interval_ns = interval_ns
        self._tiers = [_Tier() for _ in NAMES]
        self._at_ns: int | None = None
        self._before: tuple[Count, ...] = ()

    def observe(self, now_ns: int, counts: Sequence[Count]) -> bool:
        """Counters of the four tiers (`entered`); whether an interval was over and read.

        EngineError when time, LedgerError when a counter runs backwards.
        """
        if self._at_ns is None:
            self._at_ns, self._before = now_ns, tuple(counts)
            return False
        if now_ns < self._at_ns:
            raise EngineError(f"time ran backwards in the tiers: {self._at_ns} → {now_ns}")
        lasted = now_ns - self._at_ns
        if lasted < self.interval_ns:
            return False
        gone = [now - before for now, before in zip(counts, self._before, strict=True)]
        if any(min(count) < 0 for count in gone):
            raise LedgerError(f"a counter of the tiers went backwards: {self._before} → {counts}")
        for at, (tier, count) in enumerate(zip(self._tiers, gone, strict=True)):
            tier.pps = count.packets * SECOND_NS / lasted
            tier.bps = 8 * count.bytes * SECOND_NS / lasted
            if tier.high_pps_at_ns is None or tier.pps > tier.high_pps:
                tier.high_pps, tier.high_pps_at_ns = tier.pps, now_ns
            if tier.high_bps_at_ns is None or tier.bps > tier.high_bps:
                tier.high_bps, tier.high_bps_at_ns = tier.bps, now_ns
            on = gone[at + 1].packets if at + 1 < len(gone) else None
            tier.ratio = None if on is None or not count.packets else on / count.packets
        self._at_ns, self._before = now_ns, tuple(counts)
        return True

    def as_dict(self) -> list[dict[str, Any]]:
        """Of each tier: packets/s and bits/s now and at most, ratio to the next; JSON-ready."""
        return [
            {
                "tier": number,
                "name": name,
                "packets_per_second": round(tier.pps, 3),
                "bits_per_second": round(tier.bps, 3),
                "highest_packets_per_second": round(tier.high_pps, 3),
                "highest_packets_at_ns": tier.high_pps_at_ns,
                "highest_bits_per_second": round(tier.high_bps, 3),
                "highest_bits_at_ns": tier.high_bps_at_ns,
                "ratio_to_next": None if tier.ratio is None else round(tier.ratio, 6),
            }
            for number, (name, tier) in enumerate(zip(NAMES, self._tiers, strict=True), 1)
        ]
