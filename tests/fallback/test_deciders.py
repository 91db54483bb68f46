"""The deciders together: what one decides reaches the others, and the hands, in order."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nsdata.fallback.controller import Moment, Transition
from nsdata.fallback.deciders import Deciders, Measures
from nsdata.fallback.decisions import Kill, Start
from nsdata.fallback.drop_meter import SECOND_NS, DropMeter
from nsdata.fallback.exposure import Exposure, SegmentAction, SegmentPolicy
from nsdata.fallback.guard import Guard
from nsdata.fallback.health import Health
from nsdata.fallback.ledger import LedgerSnapshot, Why
from nsdata.fallback.protection import Adaptive, Protection, ProtectionPolicy, RuleCost
from nsdata.fallback.reasons import Reason, State
from nsdata.fallback.reentry import Graduated, Reentry, ReentryPolicy
from nsdata.fallback.sensor import Bad, Reading, Resource, Sensor
from nsdata.fallback.share import ALL, Step
from nsdata.fallback.watch import Watch


@dataclass
class Bench:
    """Hands that note what they are asked for; time and counters are set by the test."""

    now_ns: int = SECOND_NS
    packets: list[int] = field(default_factory=lambda: [0] * len(Why))
    done: list[tuple[Any, ...]] = field(default_factory=list)
    measured: Measures = field(default_factory=Measures)

    def __post_init__(self) -> None:
        meter = DropMeter(SECOND_NS, SECOND_NS, 0.9, 10)
        policy = ReentryPolicy(automatic=True, wait_ns=5 * SECOND_NS, graduated=Graduated.AUTOMATIC,
                               steps=(Step.parse("1%:10s"), Step.parse("100%:10s")))  # fmt: skip
        reentry = Reentry(policy, DropMeter(SECOND_NS, SECOND_NS, 0.5, 10))
        limits = ProtectionPolicy(window_ns=SECOND_NS, minimum_packets=10, adaptive=Adaptive.AUTO,
                                  suppression_ns=3 * SECOND_NS, calm_ns=3 * SECOND_NS)  # fmt: skip
        segments = {"dmz": SegmentPolicy(SegmentAction.BLOCK), "lan": SegmentPolicy(max_bytes=500)}
        self.deciders = Deciders(self, Guard.build(meter), Watch(), reentry, Health(),
                                 Protection(limits), Exposure(segments))  # fmt: skip
        self.deciders.start()
        self.deciders.carry_out(self.deciders.watch.add("worker-0", self.now_ns))

    def moment(self) -> Moment:
        received, nbytes = sum(self.packets), [100 * n for n in self.packets]
        ledger = LedgerSnapshot.from_counts(received, 100 * received, self.packets, nbytes)
        return Moment(self.now_ns, received + 1, ledger, {})

    def measures(self) -> Measures:
        return self.measured

    def start(self, decision: Start) -> None:
        self.done.append(("start", decision.name, decision.attempt))

    def kill(self, decision: Kill) -> None:
        self.done.append(("kill", decision.name, decision.attempt))

    def obey(self) -> None:
        self.done.append(("obey", self.deciders.state.value, self.deciders.share))

    def protect(self) -> None:
        self.done.append(("protect", self.deciders.suspended, *self.deciders.disabled))

    def transition(self, entry: Transition) -> None:
        self.done.append(("transition", entry.to_state.value, entry.reason.value))

    def note(self, kind: str, subject: str, evidence: Mapping[str, Any]) -> None:
        self.done.append(("note", kind, subject))

    def health(self, told: Mapping[str, Any]) -> None:
        self.done.append(("health", told["level"]))

    def pass_by(self, seconds: int, why: Why) -> None:
        """So many seconds with 100 packets each that end like this."""
        for _ in range(10 * seconds):
            self.now_ns += SECOND_NS // 10
            self.packets[why] += 10
            self.deciders.look()

    def asked(self, *kinds: str) -> list[tuple[Any, ...]]:
        """What the hands were asked for since the last call, of these kinds."""
        found = [one for one in self.done if one[0] in kinds]
        self.done.clear()
        return found


def test_a_fault_is_declared_before_the_process_is_killed() -> None:
    bench = Bench()
    watch = bench.deciders.watch
    assert bench.asked("start") == [("start", "worker-0", 1)]
    bench.deciders.carry_out(watch.started("worker-0", 1, 99, bench.now_ns))
    bench.deciders.carry_out(watch.ready("worker-0", 1, bench.now_ns))
    bench.deciders.carry_out(watch.beat("worker-0", 1, bench.now_ns, 1, bench.now_ns))
    bench.pass_by(2, Why.INSPECTED)
    order = bench.asked("obey", "transition", "kill")
    assert order == [
        ("obey", "fallback", ALL),
        ("transition", "fallback", "heartbeat error"),
        ("kill", "worker-0", 1),
    ]


def test_a_share_that_fell_back_does_not_outlast_its_re_entry() -> None:
    """Restored by hand after a re-entry of 1 % that failed: everything is inspected."""
    bench = Bench()
    deciders = bench.deciders
    deciders.watch.stop("worker-0", bench.now_ns)
    deciders.fault(Reason.FPGA, {})
    deciders.clear(Reason.FPGA, {})
    bench.pass_by(6, Why.FALLBACK)
    assert deciders.state is State.NORMAL and 0 < deciders.share < ALL // 50
    assert bench.asked("obey")[-1] == ("obey", "normal", deciders.share)
    bench.pass_by(3, Why.OVERSUBSCRIBED)
    assert deciders.state is State.FALLBACK and deciders.reason is Reason.THRESHOLD
    bench.pass_by(3, Why.FALLBACK)
    deciders.restore(force=True)
    assert deciders.state is State.NORMAL
    assert bench.asked("obey")[-1] == ("obey", "normal", ALL)


def test_a_level_of_health_is_told_once_and_a_low_score_is_a_fault() -> None:
    bench = Bench()
    bench.deciders.watch.stop("worker-0", bench.now_ns)
    for celsius in (40.0, 40.0, 99.0, 99.0, 99.0):
        bench.now_ns += SECOND_NS
        both = [
            Reading(name, Resource.TEMPERATURE, bench.now_ns, celsius,
                    Sensor(name, Resource.TEMPERATURE, "C", Bad.HIGH, 70.0, 90.0))
            for name in ("inlet", "outlet")
        ]  # fmt: skip
        bench.deciders.read_sensors(both, bench.now_ns)
    # yellow: sensors that are required of a box are missing on this bench
    assert bench.asked("health") == [("health", "yellow"), ("health", "red")]
    assert bench.deciders.reason is Reason.HEALTH


def test_loss_suspends_alerts_and_disables_the_costliest_rule() -> None:
    """Workers are told what holds, each time it changes; and again after a reload."""
    bench = Bench()
    bench.deciders.watch.stop("worker-0", bench.now_ns)
    for spent in (100, 200, 300):
        bench.measured = Measures({1: RuleCost(spent, 0, spent), 2: RuleCost(9, 0, 1)}, spent)
        bench.pass_by(1, Why.INSPECTED)
        bench.packets[Why.OVERSUBSCRIBED] += 5
    order = bench.asked("protect", "note")
    assert order[:2] == [("protect", False, 1), ("note", "rule disabled", "1")]
    assert order[2:] == [("protect", True, 1), ("note", "alerts suspended", "")]
    bench.deciders.reloaded()
    assert bench.asked("protect") == [("protect", True)]
    bench.pass_by(5, Why.INSPECTED)
    assert bench.asked("protect", "note") == [
        ("protect", False), ("note", "alerts written again", ""),
    ]  # fmt: skip


def test_a_budget_counts_while_something_is_not_inspected() -> None:
    """In fallback, and while a worker is missing; not otherwise."""
    bench = Bench()
    deciders = bench.deciders
    deciders.watch.stop("worker-0", bench.now_ns)
    assert deciders.exposure.blocked(["lan", "dmz", "other"]) == 0b010
    bench.measured = Measures(permitted_bytes={"lan": 400})
    bench.pass_by(1, Why.INSPECTED)
    deciders.fallback()
    bench.pass_by(1, Why.FALLBACK)
    bench.measured = Measures(permitted_bytes={"lan": 800})
    bench.pass_by(1, Why.FALLBACK)
    assert not bench.asked("note")
    deciders.restore()
    bench.measured = Measures(permitted_bytes={"lan": 800}, missing=1)
    bench.pass_by(1, Why.WORKER)
    bench.measured = Measures(permitted_bytes={"lan": 900}, missing=1)
    bench.asked("note")
    bench.pass_by(1, Why.WORKER)
    assert bench.asked("obey", "note") == [("obey", "normal", ALL), ("note", "segment", "lan")]
    assert deciders.exposure.blocked(["lan", "dmz", "other"]) == 0b011
    bench.measured = Measures(permitted_bytes={"lan": 900})
    bench.pass_by(1, Why.INSPECTED)
    assert bench.asked("obey", "note") == [("obey", "normal", ALL), ("note", "segment", "lan")]
    assert deciders.exposure.blocked(["lan", "dmz", "other"]) == 0b010


def test_tiers_are_read_every_second() -> None:
    bench = Bench()
    bench.deciders.watch.stop("worker-0", bench.now_ns)
    bench.pass_by(3, Why.INSPECTED)
    first, _, third, _ = bench.deciders.tiers.as_dict()
    assert first["packets_per_second"] == third["packets_per_second"] == 100
