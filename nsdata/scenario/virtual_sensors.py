"""The sensors of a virtual box: numbers that a scenario sets, judged like any other."""

from __future__ import annotations

from nsdata.appliance.sensor_files import resource_of
from nsdata.config.health import KIND_OF_RESOURCE, HealthSettings
from nsdata.fallback.sensor import Reading, Sensor
from nsdata.scenario.actions import SetSensor
from nsdata.scenario.scenario import Scenario

WELL = {  # of a sensor that a scenario names, until it sets it
    "cpu-use": 10.0, "memory-use": 20.0, "temperature": 40.0, "fan": 4000.0, "psu": 1.0,
    "hard-disk-temperature": 35.0, "file-system-use": 20.0,
}  # fmt: skip


def at_first(scenario: Scenario) -> dict[str, float]:
    """What the sensors that a scenario names read at its start."""
    names = (one.sensor for one in scenario.file.action if isinstance(one, SetSensor))
    return {name: WELL[KIND_OF_RESOURCE[resource_of(name)]] for name in names}


class Sensors:
    """What a running appliance always reads (its output's disk, CPU, memory), and what the
    scenario names."""

    def __init__(self, scenario: Scenario) -> None:
        self._settings: HealthSettings = scenario.settings.health
        self.size = self.free = scenario.file.appliance.disk
        self._named: dict[str, tuple[Sensor, float | None]] = {}
        for name, value in at_first(scenario).items():
            kind = KIND_OF_RESOURCE[resource_of(name)]
            self._named[name] = (self._settings.sensor(kind, name), value)

    def set(self, name: str, value: float | None) -> None:
        """It reads this from now on; None: nothing."""
        self._named[name] = (self._named[name][0], value)

    def read(self, now_ns: int) -> list[Reading]:
        """All of them."""
        of = self._settings.sensor
        free = max(self.free, 0)
        use = 20.0 if free == self.size else round(100 * (1 - free / max(self.size, 1)), 2)
        found = [
            Reading.of(of("file-system-free", "file-system/free"), free, now_ns),
            Reading.of(of("file-system-use", "file-system/use"), use, now_ns),
            Reading.of(of("cpu-use", "cpu/use"), WELL["cpu-use"], now_ns),
            Reading.of(of("memory-use", "memory/use"), WELL["memory-use"], now_ns),
        ]
        for sensor, value in self._named.values():
            if value is None:
                found.append(Reading.failed(sensor, f"{sensor.name} is not there", now_ns))
            else:
                found.append(Reading.of(sensor, value, now_ns))
        return found
