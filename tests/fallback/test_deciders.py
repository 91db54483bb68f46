"""The deciders together: what one decides reaches the others, and the hands, in order."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nsdata.fallback.controller import Moment, Transition
from nsdata.fallback.deciders import Deciders
from nsdata.fallback.decisions import Kill, Start
from nsdata.fallback.drop_meter import SECOND_NS, DropMeter
from nsdata.fallback.guard import Guard
from nsdata.fallback.health import Health
from nsdata.fallback.ledger import LedgerSnapshot, Why
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

    def __post_init__(self) -> None:
        meter = DropMeter(SECOND_NS, SECOND_NS, 0.9, 10)
        policy = ReentryPolicy(automatic=True, wait_ns=5 * SECOND_NS, graduated=Graduated.AUTOMATIC,
                               steps=(Step.parse("1%:10s"), Step.parse("100%:10s")))  # fmt: skip
        reentry = Reentry(policy, DropMeter(SECOND_NS, SECOND_NS, 0.5, 10))
        self.deciders = Deciders(self, Guard.build(meter), Watch(), reentry, Health())
        self.deciders.start()
        self.deciders.carry_out(self.deciders.watch.add("worker-0", self.now_ns))

    def moment(self) -> Moment:
        received, nbytes = sum(self.packets), [100 * n for n in self.packets]
        ledger = LedgerSnapshot.from_counts(received, 100 * received, self.packets, nbytes)
        return Moment(self.now_ns, received + 1, ledger, {})

    def start(self, decision: Start) -> None:
        self.done.append(("start", decision.name, decision.attempt))

    def kill(self, decision: Kill) -> None:
        self.done.append(("kill", decision.name, decision.attempt))

    def obey(self) -> None:
        self.done.append(("obey", self.deciders.state.value, self.deciders.share))

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
