"""Settings of a running appliance: the watch, coming back, exposure, protections."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from nsdata.config.group import Group, of
from nsdata.config.values import DurationNs, Size, TextList, listed
from nsdata.errors import SettingError
from nsdata.fallback.drop_meter import DropMeter
from nsdata.fallback.exposure import Exposure, SegmentAction, SegmentPolicy
from nsdata.fallback.protection import Adaptive, BestEffort, ProtectionPolicy
from nsdata.fallback.reentry import Graduated, Reentry, ReentryPolicy
from nsdata.fallback.share import Step
from nsdata.fallback.watch_policy import ProcessLimits, WatchPolicy
from nsdata.units import duration_text


def _legal(build: Callable[[], Any]) -> None:
    """Have the decider itself say whether its settings make sense."""
    try:
        build()
    except SettingError as fault:
        raise ValueError(str(fault)) from None


def _at_least(key: str, duration_ns: int, least_ns: int) -> None:
    """Shorter ones would be nothing but work for the supervisor."""
    if duration_ns < least_ns:
        told = f"{key} {duration_text(duration_ns)}; legal: at least {duration_text(least_ns)}"
        raise ValueError(told)


class WatchSettings(Group):
    """The watch over critical processes (docs/watch.md)."""

    interval: DurationNs = of("20ms", "the supervisor looks at least so often")
    stall: DurationNs = of("100ms", "of a longer gap between two looks only so much is silence")
    heartbeat: DurationNs = of("500ms", "longer without a heartbeat is a heartbeat error")
    heartbeat_of: Mapping[str, DurationNs] = of(
        {}, "the same for one process (`port`) or one kind (`worker`)"
    )
    start_grace: DurationNs = of("60s", "within which a process gets ready, rules loaded")
    max_memory: Size = of("4gb", "more resident memory is a memory error; 0 watches none")
    max_memory_of: Mapping[str, Size] = of({}, "the same for one process or one kind")
    crashes: int = of(3, "so many crashes within `watch.crash-window` are a process error", ge=1)
    crash_window: DurationNs = of("60s", "the time for that")
    restart_delay: DurationNs = of("100ms", "before a restart; doubles with failures in a row")
    restart_delay_max: DurationNs = of("30s", "the longest such delay")
    stop_grace: DurationNs = of("10s", "a process asked to stop is killed after it")
    kill_grace: DurationNs = of("2s", "a process still there so long after a kill is an error")
    heartbeat_clear: DurationNs = of("10s", "a heartbeat error is over after beating for so long")
    stable: DurationNs = of("30s", "a process error is over after running for so long")
    memory_clear: DurationNs = of("30s", "a memory error is over after so long below")
    memory_clear_share: float = of(0.8, "this share of the maximum", gt=0, le=1)
    unknown_clear: DurationNs = of("60s", "an unknown error is over after so long without one")

    @model_validator(mode="after")
    def _sound(self) -> Self:
        def build() -> None:
            policy = self.build()
            for name in ("", *self.heartbeat_of, *self.max_memory_of):
                policy.check(self.limits(name))

        _at_least("watch.interval", self.interval, 1_000_000)
        _legal(build)
        return self

    def build(self) -> WatchPolicy:
        """What the watch takes."""
        return WatchPolicy(
            interval_ns=self.interval,
            stall_ns=self.stall,
            crashes=self.crashes,
            crash_window_ns=self.crash_window,
            restart_delay_ns=self.restart_delay,
            restart_delay_max_ns=self.restart_delay_max,
            stop_grace_ns=self.stop_grace,
            kill_grace_ns=self.kill_grace,
            heartbeat_clear_ns=self.heartbeat_clear,
            stable_ns=self.stable,
            memory_clear_ns=self.memory_clear,
            memory_clear_share=self.memory_clear_share,
            unknown_clear_ns=self.unknown_clear,
        )

    def limits(self, process: str) -> ProcessLimits:
        """Of one process: what is set for its name, else its kind (`worker 3`: worker)."""
        kind = process.rstrip("0123456789").rstrip(" -")
        beat, memory = (
            of.get(process, of.get(kind, usual))
            for of, usual in (
                (self.heartbeat_of, self.heartbeat),
                (self.max_memory_of, self.max_memory),
            )
        )
        return ProcessLimits(beat, self.start_grace, memory or None)


class RestoreSettings(Group):
    """Coming back from fallback (docs/watch.md)."""

    automatic: bool = of(False, "restore by itself when the causes are gone")
    wait: DurationNs = of("300s", "for so long; doubles with each attempt that fails")
    wait_max: DurationNs = of("1h", "the longest such wait")
    max_attempts: int = of(5, "that failed; then a person has to act", ge=1)
    graduated: Graduated = of(
        "automatic", "inspect a share of the flows first: off, after automatic restores, or always"
    )
    steps: TextList = of("1%:60s, 10%:60s, 100%:60s", "the shares, and each for how long")
    drop_threshold: float = of(
        0.90, "share of drops among what is inspected above which it falls back again", gt=0, lt=1
    )

    @model_validator(mode="after")
    def _sound(self) -> Self:
        _legal(lambda: self.build(DropMeter()))
        return self

    def build(self, like: DropMeter) -> Reentry:
        """Its meter is `like` the drop meter but for the threshold."""
        policy = ReentryPolicy(
            automatic=self.automatic,
            wait_ns=self.wait,
            wait_max_ns=self.wait_max,
            max_attempts=self.max_attempts,
            graduated=self.graduated,
            steps=tuple(map(Step.parse, self.steps)),
        )
        meter = DropMeter(
            like.window_ns, like.interval_ns, self.drop_threshold, like.minimum_packets
        )
        return Reentry(policy, meter)


class ExposureSettings(Group):
    """What becomes of the frames of a segment that are not inspected (docs/watch.md)."""

    action: Mapping[str, SegmentAction] = of({}, "permit (default) or block, by segment")
    max_bytes: Mapping[str, Size] = of({}, "permitted uninspected at most; then they are blocked")
    max_time: Mapping[str, DurationNs] = of({}, "the same as a time")
    refill: DurationNs = of("600s", "of full inspection, after which these count anew")

    @model_validator(mode="after")
    def _sound(self) -> Self:
        _legal(self.build)
        return self

    def named(self) -> list[str]:
        """The segments that have settings."""
        return sorted({*self.action, *self.max_bytes, *self.max_time})

    def build(
        self, segments: Iterable[str] = (), otherwise: SegmentAction = SegmentAction.PERMIT
    ) -> Exposure:
        """The decider, with a policy for every segment there is; `otherwise`: the action of those
        that have none."""
        names = {**dict.fromkeys(segments), **dict.fromkeys(self.named())}
        policies = {
            name: SegmentPolicy(
                self.action.get(name, otherwise),
                self.max_bytes.get(name),
                self.max_time.get(name),
            )
            for name in names
        }
        return Exposure(policies, self.refill)


class AdaptiveSettings(Group):
    """Rules that cost too much while packets are lost."""

    mode: Adaptive = of("name", "off, name them, or auto: disable them")
    share: float = of(
        0.10, "of the cost of all rules, from which on one costs too much", gt=0, lt=1
    )
    calm: DurationNs = of("600s", "without loss, after which they are enabled again")
    exempt: Annotated[tuple[Annotated[int, Field(ge=1)], ...], BeforeValidator(listed)] = of(
        (), "rules (sid) that are never disabled"
    )


class BestEffortSettings(Group):
    """Frames pass uninspected while they would wait too long."""

    enabled: bool = of(False, "pass frames uninspected while a queue's latency is too high")
    latency: DurationNs = of("1ms", "from which on it is")
    leave: float = of(20.0, "percent of that, at which frames are inspected again", gt=0, lt=100)

    @model_validator(mode="after")
    def _sound(self) -> Self:
        _legal(lambda: self.build(""))
        return self

    def build(self, queue: str) -> BestEffort:
        """The decider of one queue."""
        return BestEffort(queue, self.latency, self.leave)


class ProtectionSettings(Group):
    """Protections before fallback (docs/protections.md)."""

    window: DurationNs = of("5s", "over which loss is taken")
    loss: float = of(0.01, "share of packets lost above which there is loss", gt=0, lt=1)
    minimum_packets: int = of(200, "packets in the window without which none is judged", ge=1)
    windows: int = of(2, "so many windows with loss in a row suspend alerts", ge=1)
    suppression: DurationNs = of("600s", "for so long; 0 never suspends them")
    adaptive: AdaptiveSettings = Field(default_factory=AdaptiveSettings)
    best_effort: BestEffortSettings = Field(default_factory=BestEffortSettings)

    @model_validator(mode="after")
    def _sound(self) -> Self:
        _at_least("protection.window", self.window, 10_000_000)
        _legal(self.build)
        return self

    def build(self) -> ProtectionPolicy:
        """What `Protection` takes."""
        return ProtectionPolicy(
            window_ns=self.window,
            loss=self.loss,
            minimum_packets=self.minimum_packets,
            windows=self.windows,
            suppression_ns=self.suppression,
            adaptive=self.adaptive.mode,
            rule_share=self.adaptive.share,
            calm_ns=self.adaptive.calm,
            exempt=frozenset(self.adaptive.exempt),
        )
