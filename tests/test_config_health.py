"""The settings health.*: defaults as documented, and refusals that name key, value and what is
legal."""

from __future__ import annotations

import pytest

from nsdata.config.health import KIND_OF_RESOURCE, HealthSettings
from nsdata.config.settings import Settings
from nsdata.errors import SettingError
from nsdata.fallback.health import Policy
from nsdata.fallback.sensor import Bad, Resource

SECOND = 10**9


def test_defaults_are_those_of_the_policy() -> None:
    assert HealthSettings().policy() == Policy()


def test_settings_reach_policy_and_sensors() -> None:
    health = Settings.load(
        sets=[
            "health.low-critical=10",
            "health.clear=90",
            "health.required=fan,psu",
            "health.clear-after=7s",
            "health.fan.major=900",
            "health.cpu.after=1s",
            "health.file-system.free-major=2mb",
            "health.file-system.free-critical=1mb",
        ]
    ).health
    policy = health.policy()
    assert (policy.low_critical, policy.clear) == (10, 90)
    assert policy.required == {Resource.FAN, Resource.PSU}
    fan = health.sensor("fan", "fan/7")
    assert (fan.name, fan.major, fan.critical, fan.bad) == ("fan/7", 900, 300, Bad.LOW)
    assert fan.clear_after_ns == 7 * SECOND
    assert health.sensor("psu", "p").clear_after_ns == 0, "a state is left at once"
    assert health.sensor("cpu-use", "c").after_ns == SECOND
    free = health.sensor("file-system-free", "f")
    assert (free.major, free.critical) == (2 << 20, 1 << 20)
    answer = health.sensor("answer", "a", Resource.FILE_SYSTEM)
    assert answer.resource is Resource.FILE_SYSTEM


def test_every_resource_but_other_has_a_kind_for_sensors_without_thresholds() -> None:
    assert set(KIND_OF_RESOURCE) == set(Resource) - {Resource.OTHER}
    for resource, kind in KIND_OF_RESOURCE.items():
        assert HealthSettings().sensor(kind, "x").resource is resource


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("temperature.major=99", "health.temperature: sensor temperature: major = 99"),
        ("fan.critical=1001", "major is legal at or above critical"),
        ("memory.margin=-1", "health.memory.margin = '-1'"),
        ("file-system.free-critical=2gb", "health.file-system: sensor file-system-free"),
        ("file-system.failures-critical=11", "less than or equal to 10"),
        ("hard-disk.critical=nan", "critical = nan: legal: a number"),
        ("answer.critical=0.5", "sensor answer: major = 1, critical = 0.5"),
        ("low-critical=60", "low-critical = 60, clear = 60: legal: 0 <= low-critical < clear"),
        ("low-evaluations=0", "health.low-evaluations = '0'"),
        ("deadline=6s", "deadline: legal: at most interval"),
        ("stale-after=5s", "stale-after: legal: longer than interval"),
        ("interval=0", "health.interval = 0: legal: greater than 0"),
        ("required=lamp", "health.required.0 = 'lamp': legal: 'file-system'"),
        ("fan.majro=1", "did you mean health.fan.major"),
    ],
)
def test_what_makes_no_sense_is_refused(text: str, says: str) -> None:
    with pytest.raises(SettingError) as raised:
        Settings.load(sets=[f"health.{text}"])
    assert says in str(raised.value)
