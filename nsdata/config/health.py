"""Settings of the health score: thresholds of every resource, hysteresis, where sensors are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from nsdata.config.group import Group, of
from nsdata.config.values import DurationNs, Size, listed
from nsdata.errors import SettingError
from nsdata.fallback.health import Policy
from nsdata.fallback.sensor import Bad, Resource, Sensor

_AT_ONCE = 0  # of a state, not a measure: what is over is over
KIND_OF_RESOURCE = {  # of a sensor that states no thresholds of its own
    Resource.CPU: "cpu-use",
    Resource.MEMORY: "memory-use",
    Resource.TEMPERATURE: "temperature",
    Resource.FAN: "fan",
    Resource.PSU: "psu",
    Resource.HARD_DISK: "hard-disk-temperature",
    Resource.FILE_SYSTEM: "file-system-use",
}


class _Thresholds(Group):
    """Base of the groups with thresholds: they are sound if sensors can be made of them."""

    def sensors(self) -> Iterator[Sensor]:
        """A sensor of each kind in the group, named by its kind."""
        raise NotImplementedError

    @model_validator(mode="after")
    def _sound(self) -> Self:
        try:
            list(self.sensors())
        except SettingError as fault:
            raise ValueError(str(fault)) from None
        return self


class FileSystemHealth(_Thresholds):
    """The file system that the output is written to."""

    free_major: Size = of("1gb", "yellow at so many bytes left, or fewer")
    free_critical: Size = of("128mb", "red at so many bytes left, or fewer")
    use_major: float = of(90.0, "yellow at so many percent in use")
    use_critical: float = of(100.0, "red at so many percent in use")
    inodes_major: float = of(90.0, "yellow at so many percent of the inodes in use")
    inodes_critical: float = of(99.0, "red at so many percent of the inodes in use")
    failures_major: int = of(1, "yellow at so many failed write probes of the last ten", ge=1)
    failures_critical: int = of(
        3, "red at so many failed write probes of the last ten", ge=1, le=10
    )

    def sensors(self) -> Iterator[Sensor]:
        kind = Resource.FILE_SYSTEM
        major, critical = self.free_major, self.free_critical
        yield Sensor("file-system-free", kind, "bytes", Bad.LOW, major, critical, major / 10)
        major_use, critical_use = self.use_major, self.use_critical
        yield Sensor("file-system-use", kind, "%", Bad.HIGH, major_use, critical_use, 2)
        yield Sensor(
            "file-system-inodes", kind, "%", Bad.HIGH, self.inodes_major, self.inodes_critical, 2
        )
        yield Sensor(
            "file-system-write-failures",
            kind,
            "of the last 10 write probes",
            Bad.HIGH,
            self.failures_major,
            self.failures_critical,
            clear_after_ns=_AT_ONCE,
        )
        yield Sensor(
            "file-system-read-only", kind, "1: read-only", Bad.HIGH, 1, 1, clear_after_ns=_AT_ONCE
        )


class CpuHealth(_Thresholds):
    """All cores together."""

    major: float = of(95.0, "yellow at so many percent busy, for health.cpu.after")
    critical: float = of(99.0, "red at so many percent busy, for health.cpu.after")
    margin: float = of(5.0, "percent back until a level is left", ge=0)
    after: DurationNs = of("10m", "how long it must be so busy")

    def sensors(self) -> Iterator[Sensor]:
        yield Sensor(
            "cpu-use",
            Resource.CPU,
            "%",
            Bad.HIGH,
            self.major,
            self.critical,
            self.margin,
            after_ns=self.after,
        )


class MemoryHealth(_Thresholds):
    """The memory of the box; limits of single processes are apart."""

    major: float = of(90.0, "yellow at so many percent in use (not available)")
    critical: float = of(97.0, "red at so many percent in use (not available)")
    margin: float = of(3.0, "percent back until a level is left", ge=0)

    def sensors(self) -> Iterator[Sensor]:
        yield Sensor(
            "memory-use", Resource.MEMORY, "%", Bad.HIGH, self.major, self.critical, self.margin
        )


class TemperatureHealth(_Thresholds):
    """Temperature sensors that state no thresholds of their own."""

    major: float = of(80.0, "yellow at so many °C")
    critical: float = of(95.0, "red at so many °C")
    margin: float = of(5.0, "°C back until a level is left", ge=0)

    def sensors(self) -> Iterator[Sensor]:
        yield Sensor(
            "temperature",
            Resource.TEMPERATURE,
            "°C",
            Bad.HIGH,
            self.major,
            self.critical,
            self.margin,
        )


class FanHealth(_Thresholds):
    """Fans that state no least speed of their own."""

    major: float = of(1000.0, "yellow at so many rpm, or fewer")
    critical: float = of(300.0, "red at so many rpm, or fewer")
    margin: float = of(200.0, "rpm back until a level is left", ge=0)

    def sensors(self) -> Iterator[Sensor]:
        yield Sensor("fan", Resource.FAN, "rpm", Bad.LOW, self.major, self.critical, self.margin)


class HardDiskHealth(_Thresholds):
    """Temperature of disks that state no thresholds of their own."""

    major: float = of(60.0, "yellow at so many °C")
    critical: float = of(70.0, "red at so many °C")
    margin: float = of(3.0, "°C back until a level is left", ge=0)

    def sensors(self) -> Iterator[Sensor]:
        kind = Resource.HARD_DISK
        yield Sensor(
            "hard-disk-temperature", kind, "°C", Bad.HIGH, self.major, self.critical, self.margin
        )
        yield Sensor("hard-disk", kind, "1: works", Bad.LOW, 0, 0, clear_after_ns=_AT_ONCE)


class AnswerHealth(_Thresholds):
    """How long a source of readings takes: a hung disk answers late before it answers never."""

    major: float = of(1.0, "yellow when a source took so many seconds, or takes them by now", gt=0)
    critical: float = of(10.0, "red when a source took so many seconds, or takes them by now")

    def sensors(self) -> Iterator[Sensor]:
        yield Sensor(
            "answer",
            Resource.OTHER,
            "s",
            Bad.HIGH,
            self.major,
            self.critical,
            clear_after_ns=_AT_ONCE,
        )


class HealthSettings(Group):
    """The health score, its sensors, and the reason *low health score error*."""

    interval: DurationNs = of("5s", "between two evaluations", gt=0)
    deadline: DurationNs = of("1s", "a source that has not answered by then is unknown", gt=0)
    stale_after: DurationNs = of("15s", "a reading older than this is unknown", gt=0)
    low_critical: int = of(30, "the error begins at this score, or below it", ge=0, le=100)
    clear: int = of(60, "the error ends at this score, or above it", ge=0, le=100)
    low_evaluations: int = of(2, "evaluations in a row until it begins", ge=1)
    clear_evaluations: int = of(3, "evaluations in a row until it ends", ge=1)
    clear_after: DurationNs = of(
        "5m", "a sensor leaves a level it has not reached for so long, though within its margin"
    )
    required: Annotated[tuple[Resource, ...], BeforeValidator(listed)] = of(
        (Resource.FILE_SYSTEM, Resource.CPU, Resource.MEMORY),
        "resources that cost as unknown while no sensor reads them",
    )
    sensor_directory: str | None = of(None, "directory with one file per sensor (docs/health.md)")
    file_system: FileSystemHealth = Field(default_factory=FileSystemHealth)
    cpu: CpuHealth = Field(default_factory=CpuHealth)
    memory: MemoryHealth = Field(default_factory=MemoryHealth)
    temperature: TemperatureHealth = Field(default_factory=TemperatureHealth)
    fan: FanHealth = Field(default_factory=FanHealth)
    hard_disk: HardDiskHealth = Field(default_factory=HardDiskHealth)
    answer: AnswerHealth = Field(default_factory=AnswerHealth)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.deadline > self.interval:
            raise ValueError("deadline: legal: at most interval")
        if self.stale_after <= self.interval:
            raise ValueError("stale-after: legal: longer than interval")
        try:
            self.policy()
        except SettingError as fault:
            raise ValueError(str(fault)) from None
        return self

    def policy(self) -> Policy:
        """What nsdata.fallback.health judges by."""
        return Policy(
            self.low_critical,
            self.clear,
            self.low_evaluations,
            self.clear_evaluations,
            self.stale_after,
            frozenset(self.required),
        )

    def sensor(self, kind: str, name: str, resource: Resource | None = None) -> Sensor:
        """A sensor of that kind (`temperature`, `fan`, …) with the thresholds set here.

        Raises KeyError for a kind that does not exist.
        """
        template = self._kinds[kind]
        clear_after = template.clear_after_ns and self.clear_after
        return replace(
            template,
            name=name,
            resource=resource or template.resource,
            clear_after_ns=clear_after,
        )

    @cached_property
    def _kinds(self) -> dict[str, Sensor]:
        groups: tuple[_Thresholds, ...] = (
            self.file_system,
            self.cpu,
            self.memory,
            self.temperature,
            self.fan,
            self.hard_disk,
            self.answer,
        )
        kinds = {sensor.name: sensor for group in groups for sensor in group.sensors()}
        kinds["psu"] = Sensor(
            "psu", Resource.PSU, "1: works", Bad.LOW, 0, 0, clear_after_ns=_AT_ONCE
        )
        kinds["directory"] = Sensor(
            "directory", Resource.OTHER, "1: readable", Bad.LOW, 0, 0, clear_after_ns=_AT_ONCE
        )
        return kinds
