"""The drop meter: what share of all packets received was dropped, over a sliding window.

    ratio = (blocked by rules + lost to over-subscription) / received

over *all* packets received in the window, those permitted during a fallback included. What a
segment blocks because it is not inspected is no drop: it counts among those bypassed here.
The ratio is over the threshold when it is strictly above it (default 0.90) and at least
`minimum_packets` were received in the window.

Time is cut into intervals `[t, t + interval)` from the start; at each boundary the host
gives cumulative counters and gets a `Reading` of the window `[t - window, t)`. Until a
whole window has gone by, the window is what there is: a short burst is judged as soon as
it holds enough packets, for waiting would mean dropping.

The minimum is there because a ratio of few packets says little: of 200 packets at 90 %
the standard error is 2 points, and 200 packets in 5 s (40 packets/s) is less than an idle
office produces. A scan of a dozen packets that a rule blocks at night must not switch
inspection off.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import NamedTuple

from nsdata.errors import EngineError, LedgerError, SettingError
from nsdata.fallback.ledger import LedgerSnapshot, Why
from nsdata.units import duration_text

SECOND_NS = 1_000_000_000
DEFAULT_WINDOW_NS = 5 * SECOND_NS
DEFAULT_INTERVAL_NS = SECOND_NS
DEFAULT_THRESHOLD = 0.90
DEFAULT_MINIMUM_PACKETS = 200
MAX_SAMPLES = 100_000  # window / interval; bounds the memory of the meter
TOP_RULES = 10


class Attribution(StrEnum):
    """What the drops come from, and so what an operator can do about them."""

    NONE = "none"
    OVER_SUBSCRIPTION = "over-subscription"  # ≥ 2/3 of the drops were lost
    OVER_TUNING = "over-tuning"  # ≥ 2/3 were blocked by rules
    BOTH = "both"


class RuleShare(NamedTuple):
    """A rule that dropped packets: `share` is of all packets dropped in the window."""

    rule: int
    packets: int
    share: float


class _Sample(NamedTuple):
    """Cumulative packets at one instant: an evaluation is made of two of these."""

    at_ns: int
    received: int
    inspected: int
    bypassed: int
    blocked: int
    lost: int
    drops_by_rule: Mapping[int, int]


def _sample(at_ns: int, ledger: LedgerSnapshot, drops_by_rule: Mapping[int, int]) -> _Sample:
    inspected, bypassed, blocked, lost = ledger.by_fate
    # No rule dropped what a segment blocks because it is not inspected: a policy did.
    uninspected = ledger.why(Why.FALLBACK_BLOCK).packets
    return _Sample(
        at_ns,
        ledger.received.packets,
        inspected.packets,
        bypassed.packets + uninspected,
        blocked.packets - uninspected,
        lost.packets,
        dict(drops_by_rule) if drops_by_rule else _NO_DROPS,
    )


_NO_DROPS: Mapping[int, int] = {}


@dataclass(frozen=True, slots=True)
class Reading:
    """The drop ratio over one window `[window_start_ns, now_ns)`; counts are packets in it."""

    now_ns: int
    window_start_ns: int
    received: int
    inspected: int
    bypassed: int
    blocked: int
    lost: int
    ratio: float
    judged: bool  # enough packets for a verdict
    over: bool  # judged, and strictly above the threshold
    peak_ratio: float  # highest judged ratio since the start, this reading included
    peak_at_ns: int | None
    drops_before: Mapping[int, int]  # by rule, cumulative, at the window's start
    drops_now: Mapping[int, int]

    @property
    def dropped(self) -> int:
        """Blocked and lost."""
        return self.blocked + self.lost

    @property
    def attribution(self) -> Attribution:
        """What the drops come from."""
        return attribute(self.blocked, self.lost)

    @property
    def top_rules(self) -> tuple[RuleShare, ...]:
        """The rules that dropped most in the window: most packets first, then number."""
        return _top(self.drops_before, self.drops_now, self.dropped)

    @property
    def length_ns(self) -> int:
        return self.now_ns - self.window_start_ns

    @property
    def offered_pps(self) -> float:
        """Packets per second that came in."""
        return self._rate(self.received)

    @property
    def served_pps(self) -> float:
        """Packets per second that were not lost: what the engine kept up with."""
        return self._rate(self.received - self.lost)

    def _rate(self, packets: int) -> float:
        return packets * SECOND_NS / self.length_ns if self.length_ns else 0.0


class DropMeter:
    """Sliding-window drop ratio. Pure: counters and the time come in as arguments."""

    def __init__(
        self,
        window_ns: int = DEFAULT_WINDOW_NS,
        interval_ns: int = DEFAULT_INTERVAL_NS,
        threshold: float = DEFAULT_THRESHOLD,
        minimum_packets: int = DEFAULT_MINIMUM_PACKETS,
    ) -> None:
        if interval_ns <= 0 or window_ns <= 0 or window_ns % interval_ns:
            raise SettingError(
                f"drop-meter.window {duration_text(window_ns)} must be a whole multiple of "
                f"drop-meter.interval {duration_text(interval_ns)}, both above 0"
            )
        if window_ns // interval_ns > MAX_SAMPLES:
            raise SettingError(
                f"drop-meter.window is {window_ns // interval_ns} intervals long; at most "
                f"{MAX_SAMPLES} are kept: make drop-meter.interval longer"
            )
        if not 0.0 < threshold < 1.0:
            raise SettingError(
                f"drop-meter.threshold {threshold} is not a share between 0 and 1, such as 0.90"
            )
        if minimum_packets < 1:
            raise SettingError(f"drop-meter.minimum-packets {minimum_packets} must be at least 1")
        self.window_ns = window_ns
        self.interval_ns = interval_ns
        self.threshold = threshold
        self.minimum_packets = minimum_packets
        exact = Fraction(threshold).limit_denominator(1_000_000)
        self._over, self._of = exact.numerator, exact.denominator  # compared without rounding
        self._samples: deque[_Sample] = deque()
        self._next_ns = 0
        self._peak_ratio = 0.0
        self._peak_at_ns: int | None = None
        self.last: Reading | None = None

    def start(
        self,
        now_ns: int,
        ledger: LedgerSnapshot | None = None,
        drops_by_rule: Mapping[int, int] | None = None,
    ) -> None:
        """Begin at `now_ns` (the first packet's time) with these counters; forget the rest."""
        self._peak_ratio = 0.0
        self._peak_at_ns = None
        self.restart(now_ns, ledger or LedgerSnapshot.empty(), drops_by_rule or {})

    def restart(
        self, now_ns: int, ledger: LedgerSnapshot, drops_by_rule: Mapping[int, int]
    ) -> None:
        """Begin the window anew at `now_ns`: what was dropped before counts no more.

        Done when inspection resumes, or old drops would trip the threshold again at once.
        The peak is kept.
        """
        self._samples.clear()
        self._samples.append(_sample(now_ns, ledger, drops_by_rule))
        self._next_ns = now_ns + self.interval_ns
        self.last = None

    @property
    def policy(self) -> tuple[int, int, float, int]:
        """What it was built with: window and interval (ns), threshold, packets at least."""
        return self.window_ns, self.interval_ns, self.threshold, self.minimum_packets

    @property
    def peak_ratio(self) -> float:
        """The highest judged ratio since `start`."""
        return self._peak_ratio

    @property
    def peak_at_ns(self) -> int | None:
        """When that was; None when no window was judged."""
        return self._peak_at_ns

    @property
    def started(self) -> bool:
        return bool(self._samples)

    def next_evaluation_ns(self) -> int:
        """When `observe` is due: before the first packet whose time is not below this."""
        if not self._samples:
            raise EngineError("the drop meter was not started: call start() with the first time")
        return self._next_ns

    def observe(
        self, now_ns: int, ledger: LedgerSnapshot, drops_by_rule: Mapping[int, int]
    ) -> Reading:
        """The reading at `now_ns`, from counters that hold every packet before it.

        `ledger` and `drops_by_rule` (rule number → packets it dropped) are cumulative.
        Raises EngineError when time or LedgerError when a counter runs backwards.
        """
        if not self._samples:
            raise EngineError("the drop meter was not started: call start() with the first time")
        newest = self._samples[-1]
        if now_ns < newest.at_ns:
            raise EngineError(f"time ran backwards in the drop meter: {newest.at_ns} → {now_ns}")
        sample = _sample(now_ns, ledger, drops_by_rule)
        for then, now in zip(newest[1:6], sample[1:6], strict=True):
            if now < then:
                raise LedgerError(f"a counter went backwards: {newest} → {sample}")
        if now_ns == newest.at_ns and len(self._samples) > 1:
            self._samples.pop()  # the same instant again: the later counters hold
        self._samples.append(sample)
        while len(self._samples) > 2 and self._samples[1].at_ns <= now_ns - self.window_ns:
            self._samples.popleft()
        if now_ns >= self._next_ns:
            behind = (now_ns - self._next_ns) // self.interval_ns
            self._next_ns += (behind + 1) * self.interval_ns
        self.last = self._read(self._samples[0], sample)
        return self.last

    def skip_idle(self, until_ns: int) -> None:
        """Leave out the evaluations up to `until_ns`, when no packet came in the window.

        They would all read the same: nothing received. Without this a gap of days between
        two frames would mean an evaluation for every second of it. Afterwards the next
        evaluation is the last boundary not above `until_ns`, or unchanged.
        """
        if self.last is None or self.last.received or self.last.length_ns < self.window_ns:
            return
        ahead = (until_ns - self._next_ns) // self.interval_ns
        if ahead > 0:
            self._next_ns += ahead * self.interval_ns
            quiet = self._samples[-1]
            width = self.window_ns // self.interval_ns
            self._samples = deque(
                quiet._replace(at_ns=self._next_ns - back * self.interval_ns)
                for back in range(width, 0, -1)
            )

    def _read(self, old: _Sample, new: _Sample) -> Reading:
        received = new.received - old.received
        blocked, lost = new.blocked - old.blocked, new.lost - old.lost
        dropped = blocked + lost
        ratio = dropped / received if received else 0.0
        judged = received >= self.minimum_packets
        if judged and (self._peak_at_ns is None or ratio > self._peak_ratio):
            self._peak_ratio, self._peak_at_ns = ratio, new.at_ns
        return Reading(
            now_ns=new.at_ns,
            window_start_ns=old.at_ns,
            received=received,
            inspected=new.inspected - old.inspected,
            bypassed=new.bypassed - old.bypassed,
            blocked=blocked,
            lost=lost,
            ratio=ratio,
            judged=judged,
            over=judged and dropped * self._of > self._over * received,
            peak_ratio=self._peak_ratio,
            peak_at_ns=self._peak_at_ns,
            drops_before=old.drops_by_rule,
            drops_now=new.drops_by_rule,
        )


def attribute(blocked: int, lost: int) -> Attribution:
    """Which part of the drops dominates: at least two thirds of them."""
    dropped = blocked + lost
    if not dropped:
        return Attribution.NONE
    if 3 * lost >= 2 * dropped:
        return Attribution.OVER_SUBSCRIPTION
    if 3 * blocked >= 2 * dropped:
        return Attribution.OVER_TUNING
    return Attribution.BOTH


def _top(old: Mapping[int, int], new: Mapping[int, int], dropped: int) -> tuple[RuleShare, ...]:
    delta = [(rule, count - old.get(rule, 0)) for rule, count in new.items()]
    most = sorted(((rule, n) for rule, n in delta if n > 0), key=lambda item: (-item[1], item[0]))
    return tuple(
        RuleShare(rule, n, n / dropped if dropped else 0.0) for rule, n in most[:TOP_RULES]
    )
