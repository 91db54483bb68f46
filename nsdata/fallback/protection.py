"""Protections before fallback: what gives way first when the engine cannot keep up.

- `LossWindows`: the share of packets lost (not those blocked by rules) in windows of 5 s.
- `AlertSuppression`: loss over 1 % in two windows in a row suspends *alerts* for 600 s, and
  again for as long while that holds. Enforcement goes on; the host counts what it left out.
- `AdaptiveRules`: while there is loss, the rules that cost most are named, or disabled one a
  window (`auto`) unless exempt; when it was calm for long enough they are enabled again.
- `BestEffort`: a queue whose latency reaches 1000 µs has its frames pass uninspected until the
  latency is down to 20 % of that. The port applies the same two limits to every batch.

`Protection` runs the first three on one time line. All figures given are cumulative. Like the
meter's, a window that is looked at late is read with what is known then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from typing import Any, NamedTuple

from nsdata.errors import EngineError, LedgerError, SettingError
from nsdata.fallback.decisions import Decision, Note
from nsdata.fallback.drop_meter import SECOND_NS
from nsdata.fallback.ledger import LedgerSnapshot
from nsdata.units import duration_text

KEPT_RULES = 25  # newest named or disabled rules listed
NAMED_A_WINDOW = 5
MICROSECOND_NS = 1_000


class Adaptive(StrEnum):
    """What becomes of rules that cost too much."""

    OFF = "off"
    NAME = "name"
    AUTO = "auto"


@dataclass(frozen=True, slots=True)
class ProtectionPolicy:
    """The limits; the names of settings are those of `protection.*`."""

    window_ns: int = 5 * SECOND_NS
    loss: float = 0.01
    minimum_packets: int = 200
    windows: int = 2  # in a row over `loss` suspend alerts …
    suppression_ns: int = 600 * SECOND_NS  # … for so long; 0: never
    adaptive: Adaptive = Adaptive.NAME
    rule_share: float = 0.10  # of the cost of all rules, from which on one costs too much
    calm_ns: int = 600 * SECOND_NS  # without loss, after which rules are enabled again
    exempt: frozenset[int] = frozenset()  # never disabled, by rule number

    def __post_init__(self) -> None:
        for key, value in (("window", self.window_ns), ("adaptive.calm", self.calm_ns)):
            if value <= 0:
                raise SettingError(f"protection.{key} {duration_text(value)} must be above 0")
        if self.suppression_ns < 0:
            raise SettingError(f"protection.suppression {self.suppression_ns} ns is below 0")
        for key, share in (("loss", self.loss), ("adaptive.share", self.rule_share)):
            if not 0 < share < 1:
                raise SettingError(
                    f"protection.{key} {share} is not a share between 0 and 1, such as 0.01"
                )
        for key, number in (("minimum-packets", self.minimum_packets), ("windows", self.windows)):
            if number < 1:
                raise SettingError(f"protection.{key} {number} must be at least 1")


@dataclass(frozen=True, slots=True)
class SetAlerts(Decision):
    """Alerts are suspended until `until_ns` at least, or (None) written again."""

    until_ns: int | None
    evidence: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SetRule(Decision):
    """Disable or enable this rule in the running rule image."""

    rule: int
    enabled: bool
    evidence: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SetBestEffort(Decision):
    """Frames of this queue pass uninspected (`active`), or are inspected again."""

    queue: str
    active: bool
    evidence: Mapping[str, Any]


class LossReading(NamedTuple):
    """Loss in one window `[start_ns, end_ns)`; packets."""

    start_ns: int
    end_ns: int
    received: int
    lost: int
    judged: bool
    over: bool

    @property
    def ratio(self) -> float:
        return self.lost / self.received if self.received else 0.0

    def told(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**self._asdict(), "ratio": round(self.ratio, 6)}


class LossWindows:
    """Windows one after the other, from the start on."""

    def __init__(self, window_ns: int, loss: float, minimum_packets: int) -> None:
        self.window_ns = window_ns
        self.minimum_packets = minimum_packets
        self._loss = Fraction(loss).limit_denominator(1_000_000)  # compared without rounding
        self._start: tuple[int, int, int] | None = None  # time, received, lost
        self._next_ns = 0

    @property
    def next_due_ns(self) -> int | None:
        """The end of the window, or None before the start."""
        return None if self._start is None else self._next_ns

    def alike(self, other: LossWindows) -> bool:
        """Whether `other` reads as this does."""
        mine, theirs = (
            (one.window_ns, one.minimum_packets, one._loss) for one in (self, other)
        )
        return mine == theirs

    def start(self, now_ns: int, ledger: LedgerSnapshot) -> None:
        """The first window begins."""
        self._start = (now_ns, ledger.received.packets, ledger.lost.packets)
        self._next_ns = now_ns + self.window_ns

    def read(self, at_ns: int, ledger: LedgerSnapshot) -> LossReading:
        """The window that ends now. LedgerError when a counter runs backwards."""
        assert self._start is not None
        since_ns, received, lost = self._start
        came = ledger.received.packets - received
        gone = ledger.lost.packets - lost
        if came < 0 or gone < 0:
            raise LedgerError(
                f"a counter went backwards: received {received}, lost {lost} → {ledger.figures()}"
            )
        self.start(at_ns, ledger)
        judged = came >= self.minimum_packets
        return LossReading(since_ns, at_ns, came, gone, judged, judged and gone > self._loss * came)

    def skip_idle(self, until_ns: int) -> None:
        """Leave out all but the last of the windows that end up to `until_ns`: nothing can have
        come in them, as the counters of that time were read already."""
        assert self._start is not None
        ahead = (until_ns - self._next_ns) // self.window_ns
        if ahead > 0:
            start_ns, received, lost = self._start
            self._start = (start_ns + ahead * self.window_ns, received, lost)
            self._next_ns += ahead * self.window_ns


class AlertSuppression:
    """When alerts are suspended."""

    def __init__(self, policy: ProtectionPolicy) -> None:
        self.policy = policy
        self._streak: list[LossReading] = []
        self.until_ns: int | None = None  # suspended until then
        self._since_ns = 0
        self._told = 0  # alerts left out that were told
        self._renewed = 0

    def on_window(self, reading: LossReading) -> list[Decision]:
        """A window has ended."""
        policy = self.policy
        if not policy.suppression_ns:
            return []
        self._streak = [*self._streak, reading][-policy.windows :] if reading.over else []
        if len(self._streak) < policy.windows:
            return []
        at_ns = reading.end_ns
        until_ns = at_ns + policy.suppression_ns
        first, self.until_ns = self.until_ns is None, until_ns
        if not first:
            self._renewed += 1
            return []
        self._since_ns, self._renewed = at_ns, 0
        told = {
            "windows": [window.told() for window in self._streak],
            "loss": policy.loss,
            "minimum_packets": policy.minimum_packets,
        }
        return [SetAlerts(at_ns, until_ns, told)]

    def on_time(self, now_ns: int, suppressed: int) -> list[Decision]:
        """Alerts are written again when the time is over; `suppressed`: those left out so far,
        cumulative."""
        if self.until_ns is None or now_ns < self.until_ns:
            return []
        at_ns, self.until_ns = self.until_ns, None
        told = {
            "suspended_ns": at_ns - self._since_ns,
            "renewed": self._renewed,
            "suppressed_alerts": suppressed - self._told,
        }
        self._told = suppressed  # what is left out until the engine obeys is told the next time
        return [SetAlerts(at_ns, None, told)]


class RuleCost(NamedTuple):
    """Of one rule, cumulative: packets it was checked against, matches, work (nanoseconds or
    units of the engine; all 0 where it is not measured: the checks count then), and packets it was
    verified in full."""

    checked: int = 0
    matches: int = 0
    work: int = 0
    verified: int = 0


class AdaptiveRules:
    """Which rules cost too much while packets are lost."""

    def __init__(self, policy: ProtectionPolicy) -> None:
        self.policy = policy
        self._before: dict[int, RuleCost] = {}
        self._named: set[int] = set()  # since it was calm last
        self._loss_ns: int | None = None  # end of the last window with loss
        self.disabled: dict[int, int] = {}  # rule → since, in the order they were
        self.listed: dict[int, dict[str, Any]] = {}  # newest last

    @property
    def next_due_ns(self) -> int | None:
        """When it will have been calm for long enough."""
        return None if self._loss_ns is None else self._loss_ns + self.policy.calm_ns

    def start(self, costs: Mapping[int, RuleCost]) -> None:
        """Costs count from here."""
        self._before = dict(costs)

    def reloaded(self, costs: Mapping[int, RuleCost]) -> None:
        """Another rule set: every rule of it is enabled, costs begin anew."""
        self.disabled.clear()
        self._named.clear()
        self.start(costs)

    def on_window(self, reading: LossReading, costs: Mapping[int, RuleCost]) -> list[Decision]:
        """A window has ended; `costs` by rule number, cumulative (one that began anew is
        counted from 0)."""
        policy = self.policy
        spent = {rule: _since(self._before.get(rule), cost) for rule, cost in costs.items()}
        self._before = dict(costs)
        if policy.adaptive is Adaptive.OFF or not reading.over:
            return []
        self._loss_ns = reading.end_ns
        by_work = any(cost.work for cost in spent.values())
        ranked = sorted(
            ((cost.work if by_work else cost.checked, rule) for rule, cost in spent.items()),
            key=lambda item: (-item[0], item[1]),
        )
        total = sum(cost for cost, _ in ranked)
        least = Fraction(policy.rule_share).limit_denominator(1_000_000) * total
        costly = [(cost, rule) for cost, rule in ranked if cost and cost >= least]
        out: list[Decision] = []
        free = policy.adaptive is Adaptive.AUTO and len(self.disabled) < KEPT_RULES
        for cost, rule in costly[:NAMED_A_WINDOW]:
            if rule in self.disabled:
                continue  # what it cost before it took effect
            disable = free and rule not in policy.exempt
            told = {
                "rule": rule,
                "share": round(cost / total, 6),
                "by": "work" if by_work else "packets checked",
                **spent[rule]._asdict(),
                "exempt": rule in policy.exempt,
                "window": reading.told(),
            }
            if disable:
                free = False  # one a window: its effect is seen before the next
                self.disabled[rule] = reading.end_ns
                out.append(SetRule(reading.end_ns, rule, False, told))
            elif rule not in self._named:
                out.append(Note(reading.end_ns, "costly rule", str(rule), told))
            self._named.add(rule)
            self._list(rule, {**told, "at_ns": reading.end_ns, "disabled": disable})
        return out

    def on_time(self, now_ns: int) -> list[Decision]:
        """Rules are enabled again when it was calm for long enough."""
        due = self.next_due_ns
        if due is None or now_ns < due:
            return []
        told = {"calm_ns": self.policy.calm_ns, "loss_until_ns": self._loss_ns}
        out: list[Decision] = [
            SetRule(due, rule, True, {"rule": rule, "disabled_since_ns": since, **told})
            for rule, since in self.disabled.items()
        ]
        self._loss_ns = None
        self.disabled.clear()
        self._named.clear()
        return out

    def _list(self, rule: int, told: dict[str, Any]) -> None:
        self.listed.pop(rule, None)
        self.listed[rule] = told
        while len(self.listed) > KEPT_RULES:
            del self.listed[next(iter(self.listed))]


def _since(before: RuleCost | None, now: RuleCost) -> RuleCost:
    if before is None or any(new < old for old, new in zip(before, now, strict=True)):
        return now
    return RuleCost(*(new - old for old, new in zip(before, now, strict=True)))


@dataclass(slots=True)
class BestEffort:
    """One queue: frames pass uninspected while its latency is too high."""

    queue: str
    enter_ns: int = 1000 * MICROSECOND_NS
    leave_percent: float = 20.0
    active: bool = field(default=False, init=False)
    _since_ns: int = field(default=0, init=False)
    _passed: int = field(default=0, init=False)
    _highest_ns: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.enter_ns <= 0:
            raise SettingError(
                f"protection.best-effort.latency {duration_text(self.enter_ns)} must be above 0"
            )
        if not 0 < self.leave_percent < 100:
            raise SettingError(
                f"protection.best-effort.leave {self.leave_percent} is not a percentage between "
                "0 and 100, such as 20"
            )

    @property
    def leave_ns(self) -> int:
        """The latency at which frames are inspected again."""
        percent = Fraction(self.leave_percent).limit_denominator(1_000_000)
        return int(self.enter_ns * percent / 100)

    def observe(self, now_ns: int, latency_ns: int, passed: int) -> SetBestEffort | None:
        """Latency of the frame now at the head of the queue (0: it is empty), and the frames
        this queue has passed uninspected, cumulative."""
        if self.active:
            self._highest_ns = max(self._highest_ns, latency_ns)
            if latency_ns > self.leave_ns:
                return None
            told = {
                "latency_ns": latency_ns,
                "leave_ns": self.leave_ns,
                "highest_latency_ns": self._highest_ns,
                "lasted_ns": now_ns - self._since_ns,
                "passed": passed - self._passed,
            }
            self.active = False
            return SetBestEffort(now_ns, self.queue, False, told)
        if latency_ns < self.enter_ns:
            return None
        self.active, self._since_ns = True, now_ns
        self._passed, self._highest_ns = passed, latency_ns
        told = {"latency_ns": latency_ns, "enter_ns": self.enter_ns}
        return SetBestEffort(now_ns, self.queue, True, told)


class Protection:
    """Loss windows, alert suppression and adaptive rules on one time line."""

    def __init__(self, policy: ProtectionPolicy | None = None) -> None:
        self.policy = policy = policy or ProtectionPolicy()
        self.windows = LossWindows(policy.window_ns, policy.loss, policy.minimum_packets)
        self.alerts = AlertSuppression(policy)
        self.rules = AdaptiveRules(policy)
        self._now = 0

    def start(
        self,
        now_ns: int,
        ledger: LedgerSnapshot,
        costs: Mapping[int, RuleCost] | None = None,
    ) -> None:
        """Windows and costs count from here."""
        self._now = now_ns
        self.windows.start(now_ns, ledger)
        self.rules.start(costs or {})

    def adopt(self, other: Protection, now_ns: int, ledger: LedgerSnapshot) -> None:
        """The policy of `other` from now on. A suspension under way, and rules that are disabled,
        end as they would have; the window begins anew when it is another."""
        same = self.windows.alike(other.windows)
        self.policy = self.alerts.policy = self.rules.policy = other.policy
        if not same:
            self.windows = other.windows
            self.windows.start(now_ns, ledger)

    def next_due_ns(self) -> int:
        """When `tick` is due. EngineError before `start`."""
        due = self.windows.next_due_ns
        if due is None:
            raise EngineError("the protections were not started: call start() with the first time")
        return self._others(due)

    def _others(self, at_ns: int) -> int:
        """The end of a suspension or of a calm, or `at_ns` if that is earlier."""
        dues = (self.alerts.until_ns, self.rules.next_due_ns)
        return min([at_ns, *(due for due in dues if due is not None)])

    def tick(
        self,
        now_ns: int,
        ledger: LedgerSnapshot,
        costs: Mapping[int, RuleCost] | None = None,
        suppressed: int = 0,
    ) -> tuple[Decision, ...]:
        """Everything due up to now, in order of time. At the same instant the window is read
        first, so that it renews what would have ended."""
        if now_ns < self._now:
            raise EngineError(f"time ran backwards in the protections: {self._now} → {now_ns}")
        out: list[Decision] = []
        while (at_ns := self.next_due_ns()) <= now_ns:
            if self.windows.next_due_ns == at_ns:
                reading = self.windows.read(at_ns, ledger)
                out += self.alerts.on_window(reading)
                out += self.rules.on_window(reading, costs or {})
                # late: all that came is of that window, and one empty one tells of the others
                self.windows.skip_idle(self._others(now_ns))
            out += self.alerts.on_time(at_ns, suppressed)
            out += self.rules.on_time(at_ns)
        self._now = now_ns
        return tuple(out)

    def status(self) -> dict[str, Any]:
        """For the operator; JSON-ready."""
        return {
            "alerts_suspended_until_ns": self.alerts.until_ns,
            "disabled_rules": list(self.rules.disabled),
            "costly_rules": list(self.rules.listed.values())[::-1],
        }
