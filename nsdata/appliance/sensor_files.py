"""Sensors that are files: the kernel's (sysfs), and a directory with one file per sensor.

The directory lets a lab, a test or another program (IPMI, a room sensor) give real readings:

    sensors/temperature-inlet          41.5
    sensors/temperature-inlet.toml     major = 40   (optional: what it is, its thresholds)

docs/health.md has the format. Files should be replaced whole (write NAME.tmp, rename it): what is
there at a reading is read, and half a number is a number.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from nsdata.config.group import Group, of
from nsdata.config.health import KIND_OF_RESOURCE, HealthSettings
from nsdata.config.values import DurationNs
from nsdata.errors import SettingError
from nsdata.fallback.sensor import MAX_NAME, Bad, Reading, Resource, Sensor
from nsdata.toml_text import place_of, read_toml

MAX_VALUE_BYTES = 256
MAX_TOML_BYTES = 4096
MAX_SENSORS = 256  # in the directory; more are not read, and that is reported
AHEAD_NS = 2_000_000_000  # a file may be dated so far ahead: clocks of file servers
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_NOT_SENSORS = (".toml", ".tmp", "~")
_OPEN = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC
Clock = Callable[[], int]


class Unreadable(Exception):
    """A sensor file that gives no value; the text says why."""


def read_small(path: str | Path, limit: int, dir_fd: int | None = None) -> tuple[bytes, int]:
    """Content of a regular file of at most `limit` bytes, and when it was written (wall clock, ns).

    Follows no symbolic link and waits for no pipe. Raises Unreadable.
    """
    try:
        file = os.open(path, _OPEN, dir_fd=dir_fd)
    except OSError as fault:
        if fault.errno == errno.ELOOP:  # by O_NOFOLLOW
            raise Unreadable("is a symbolic link, which is not followed") from None
        raise Unreadable(fault.strerror or str(fault)) from None
    try:
        about = os.fstat(file)
        if not stat.S_ISREG(about.st_mode):
            raise Unreadable("is not a regular file")
        content = os.read(file, limit + 1)
    except OSError as fault:
        raise Unreadable(fault.strerror or str(fault)) from None
    finally:
        os.close(file)
    if len(content) > limit:
        raise Unreadable(f"is longer than {limit} bytes")
    return content, about.st_mtime_ns


def number(content: bytes) -> float:
    """The one number that is all of `content`. Raises Unreadable."""
    try:
        text = content.decode("ascii").strip()
    except UnicodeDecodeError:
        text = ""
    if not _NUMBER.fullmatch(text):
        what = repr(content[:20]) + ("…" if len(content) > 20 else "")
        raise Unreadable(f"holds {what if content else 'nothing'}; a number is legal")
    return float(text)


class _About(Group):
    """What NAME.toml may hold."""

    resource: Resource | None = of(None, "what the sensor belongs to")
    unit: str | None = of(None, "unit of value and thresholds", max_length=40)
    bad: Bad | None = of(None, "which values are bad")
    major: float | None = of(None, "yellow from here on")
    critical: float | None = of(None, "red from here on")
    margin: float | None = of(None, "how far back until a level is left")
    after: DurationNs | None = of(None, "how long it must be at a level")
    clear_after: DurationNs | None = of(None, "left when not reached for so long")
    stale_after: DurationNs | None = of(None, "unknown when the file is older")
    action: str = of("", "what an operator should do", max_length=500)


class DirectorySource:
    """A directory with one file per sensor."""

    name = "directory"
    resource = Resource.OTHER

    def __init__(
        self,
        directory: Path,
        settings: HealthSettings,
        clock: Clock = time.monotonic_ns,
        wall_clock: Clock = time.time_ns,
    ) -> None:
        self.directory = directory
        self._settings = settings
        self._clock = clock
        self._wall_clock = wall_clock
        self._itself = settings.sensor("directory", "directory/readable")

    def read(self) -> list[Reading]:
        """Every sensor of the directory, in order of name, and whether it could be read."""
        at_ns = self._clock()
        try:
            directory = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as fault:
            problem = f"{self.directory}: {fault.strerror}"
            return [Reading.failed(self._itself, problem, at_ns)]
        try:
            found = os.listdir(directory)
            files = {name for name in found if _is_sensor(name)}
            stated = {name.removesuffix(".toml") for name in found if name.endswith(".toml")}
            names = sorted(files | {name for name in stated if _is_sensor(name)})
            readings = [
                self._read_one(name, directory, name in stated, at_ns)
                for name in names[:MAX_SENSORS]
            ]
        except OSError as fault:
            problem = f"{self.directory}: {fault.strerror}"
            return [Reading.failed(self._itself, problem, at_ns)]
        finally:
            os.close(directory)
        if len(names) > MAX_SENSORS:
            problem = f"{self.directory}: {len(names)} sensors, of which {MAX_SENSORS} are read"
            return [*readings, Reading.failed(self._itself, problem, at_ns)]
        return [*readings, Reading.of(self._itself, 1, at_ns)]

    def _read_one(self, name: str, directory: int, stated: bool, at_ns: int) -> Reading:
        about, resource = _About(), resource_of(name)
        if not name.isprintable() or len(name) > MAX_NAME:
            shown = ascii(name)[: MAX_NAME - 1]
            return Reading.unnamed(shown, resource, "a file name that names no sensor", at_ns)
        try:
            if stated:
                about = _read_about(f"{name}.toml", directory)
                resource = about.resource or resource
            sensor = self._sensor(name, resource, about)
        except (Unreadable, SettingError) as fault:
            return Reading.unnamed(name, resource, str(fault), at_ns)
        try:
            content, written_ns = read_small(name, MAX_VALUE_BYTES, directory)
            age_ns = self._wall_clock() - written_ns
            if about.stale_after is not None and not -AHEAD_NS <= age_ns <= about.stale_after:
                raise Unreadable(f"was written {age_ns / 1e9:.1f} s ago")
            return Reading.of(sensor, number(content), at_ns)
        except Unreadable as fault:
            return Reading.failed(sensor, f"{name} {fault}", at_ns)

    def _sensor(self, name: str, resource: Resource, about: _About) -> Sensor:
        """The resource's own thresholds with what is stated in their place."""
        stated: dict[str, Any] = {
            field: value
            for field, value in (
                ("unit", about.unit),
                ("bad", about.bad),
                ("major", about.major),
                ("critical", about.critical),
                ("clear_margin", about.margin),
                ("after_ns", about.after),
                ("clear_after_ns", about.clear_after),
                ("action", about.action or None),
            )
            if value is not None
        }
        kind = KIND_OF_RESOURCE.get(resource)
        if kind is not None:
            return replace(self._settings.sensor(kind, name), **stated)
        missing = [key for key in ("bad", "major", "critical") if key not in stated]
        if missing:
            raise SettingError(
                f"{name}.toml: missing: {', '.join(missing)}; or name the file, or its resource, "
                f"as one that has thresholds: {', '.join(KIND_OF_RESOURCE)}"
            )
        usual: dict[str, Any] = {"unit": "", "clear_after_ns": self._settings.clear_after}
        return Sensor(name, resource, **{**usual, **stated})


def _is_sensor(name: str) -> bool:
    return not name.startswith(".") and not name.endswith(_NOT_SENSORS)


def resource_of(name: str) -> Resource:
    """The resource a file name begins with (`fan-1`, `psu2`, `temperature`); OTHER if none."""
    for resource in KIND_OF_RESOURCE:
        if re.match(rf"{resource.value}(?![a-z])", name):
            return resource
    return Resource.OTHER


def _read_about(file: str, directory: int) -> _About:
    """What the TOML file says. Raises Unreadable or SettingError, naming file, line and key."""
    try:
        text = read_small(file, MAX_TOML_BYTES, directory)[0].decode("utf-8")
    except Unreadable as fault:
        raise Unreadable(f"{file} {fault}") from None
    except UnicodeDecodeError as fault:
        raise Unreadable(f"{file} is not UTF-8 text at byte {fault.start}") from None
    data, lines = read_toml(text, file)
    try:
        return _About.model_validate(data)
    except ValidationError as faults:
        first = faults.errors()[0]
        key = str(first["loc"][0])
        reason = first["msg"].removeprefix("Value error, ").replace("Input should be", "legal:")
        if first["type"] == "extra_forbidden":
            legal = ", ".join(field.alias or name for name, field in _About.model_fields.items())
            reason = f"unknown key; legal: {legal}"
        place = place_of(lines, file, (key,))
        raise SettingError(f"{place}: {key} = {first['input']!r:.60}: {reason}") from None


class HardwareSource:
    """What the kernel knows of the hardware: hwmon chips, power supplies, disks.

    A chip's own limits (`temp1_max`, `temp1_crit`, `fan1_min`) stand before the settings' where
    they make sense. A fan that never turned and has no least speed is a header without a fan.
    """

    name = "hardware"
    resource = Resource.OTHER

    def __init__(
        self,
        settings: HealthSettings,
        root: Path = Path("/sys"),
        clock: Clock = time.monotonic_ns,
    ) -> None:
        self._settings = settings
        self._root = root
        self._clock = clock
        self._turned: set[str] = set()

    def read(self) -> list[Reading]:
        """Every sensor there is, in order of name."""
        found = [*self._chips(), *self._supplies(), *self._disks()]
        return sorted(found, key=lambda reading: reading.name)

    def _chips(self) -> Iterator[Reading]:
        for chip in _entries(self._root / "class/hwmon"):
            name = _text(chip / "name") or chip.name
            device = os.path.basename(os.path.realpath(chip / "device"))
            ident = f"{name}@{device}" if (chip / "device").exists() else name
            for input in _entries(chip):
                found = re.fullmatch(r"(temp|fan)([0-9]+)_input", input.name)
                if found is None:
                    continue
                channel = chip / f"{found[1]}{found[2]}"
                label = " ".join(filter(None, (channel.name, _text(f"{channel}_label"))))
                if found[1] == "temp":
                    yield self._temperature(channel, name, f"{ident}/{label}")
                elif (fan := self._fan(channel, f"fan/{ident}/{label}")) is not None:
                    yield fan

    def _temperature(self, channel: Path, chip: str, ident: str) -> Reading:
        disk = chip in ("nvme", "drivetemp")
        kind = "hard-disk-temperature" if disk else "temperature"
        sensor = self._settings.sensor(kind, f"{kind}/{ident}"[:MAX_NAME])
        critical, major = _value(f"{channel}_crit", 1000), _value(f"{channel}_max", 1000)
        if critical is None or not 0 < critical < 150:  # drivers state 0 or 65261 for none
            critical = sensor.critical
        if major is None or not 0 < major < critical:
            major = min(sensor.major, critical)
        sensor = replace(sensor, major=major, critical=critical)
        if _value(f"{channel}_fault"):
            return Reading.failed(sensor, "the chip says that it is faulty", self._clock())
        return self._measure(sensor, f"{channel}_input", 1000)

    def _fan(self, channel: Path, name: str) -> Reading | None:
        sensor = self._settings.sensor("fan", name[:MAX_NAME])
        least = _value(f"{channel}_min")
        if least is not None and least > 0:
            sensor = replace(sensor, major=max(sensor.major, least), critical=least)
        if _value(f"{channel}_fault"):
            return Reading.of(sensor, 0, self._clock())
        reading = self._measure(sensor, f"{channel}_input")
        if reading.value:
            self._turned.add(name)
        elif reading.value == 0 and name not in self._turned and not least:
            return None
        return reading

    def _supplies(self) -> Iterator[Reading]:
        for supply in _entries(self._root / "class/power_supply"):
            if _text(supply / "type") == "Mains":
                sensor = self._settings.sensor("psu", f"psu/{supply.name}"[:MAX_NAME])
                yield self._measure(sensor, supply / "online")

    def _disks(self) -> Iterator[Reading]:
        for disk in _entries(self._root / "block"):
            state = _text(disk / "device/state")
            degraded = _value(disk / "md/degraded")
            if state is None and degraded is None:
                continue
            works = state in (None, "running", "live") and not degraded
            sensor = self._settings.sensor("hard-disk", f"hard-disk/{disk.name}"[:MAX_NAME])
            note = f"state {state}" if state is not None else f"{degraded:g} disks missing"
            yield Reading.of(sensor, int(works), self._clock(), note)

    def _measure(self, sensor: Sensor, path: str | Path, scale: int = 1) -> Reading:
        at_ns = self._clock()
        try:
            value = number(read_small(path, MAX_VALUE_BYTES)[0]) / scale
        except Unreadable as fault:
            return Reading.failed(sensor, f"{os.path.basename(path)} {fault}", at_ns)
        return Reading.of(sensor, value, at_ns)


def _entries(directory: Path) -> list[Path]:
    """What is in it, in order; nothing when there is no such directory."""
    try:
        return [directory / name for name in sorted(os.listdir(directory))]
    except OSError:
        return []


def _text(path: str | Path) -> str | None:
    """One line of sysfs, or None."""
    try:
        text = read_small(path, MAX_VALUE_BYTES)[0].decode("utf-8", "replace").strip()
    except Unreadable:
        return None
    return "".join(char for char in text if char.isprintable()) or None


def _value(path: str | Path, scale: int = 1) -> float | None:
    """One number of sysfs, or None."""
    try:
        return number(read_small(path, MAX_VALUE_BYTES)[0]) / scale
    except Unreadable:
        return None
