"""What the tests of sensors share."""

from __future__ import annotations

from nsdata.config.health import HealthSettings
from nsdata.config.settings import Settings
from nsdata.fallback.sensor import Reading


def health_settings(*sets: str) -> HealthSettings:
    """The settings `health.*` with some set: `interval=1s`."""
    return Settings.load(sets=[f"health.{one}" for one in sets]).health


def by_name(readings: list[Reading]) -> dict[str, Reading]:
    """Readings by name, each of which is there once."""
    assert len({reading.name for reading in readings}) == len(readings)
    return {reading.name: reading for reading in readings}


def value_of(reading: Reading) -> float:
    """Its value, which it must have."""
    assert not reading.problem and reading.value is not None
    return reading.value
