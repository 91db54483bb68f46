"""docs/health.md: its example runs as printed, its tables are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from readings import by_name, value_of

from nsdata.appliance.sensor_files import DirectorySource
from nsdata.appliance.sensors import OutputSource, SystemSource
from nsdata.config.health import HealthSettings
from nsdata.fallback.health import markdown_table
from nsdata.fallback.sensor import Bad, Resource
from nsdata.units import size_text

DOC = (Path(__file__).parents[2] / "docs" / "health.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", DOC, re.S)
    assert found is not None
    return found[1]


def test_the_example_prints_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(block("python"), "docs/health.md", "exec"), names)
    assert capsys.readouterr().out == block("text")


def test_the_toml_of_the_example_is_a_sensor(tmp_path: Path) -> None:
    (tmp_path / "rack-humidity").write_text("61")
    (tmp_path / "rack-humidity.toml").write_text(block("toml"))
    reading = by_name(DirectorySource(tmp_path, HealthSettings()).read())["rack-humidity"]
    assert value_of(reading) == 61 and reading.resource is Resource.OTHER
    assert reading.sensor is not None
    assert (reading.sensor.bad, reading.sensor.major) == (Bad.HIGH, 60)
    assert reading.sensor.action == "Look for water below the rack."


def test_it_holds_the_points() -> None:
    assert markdown_table().rstrip() in DOC


def test_it_states_the_thresholds_of_every_sensor(tmp_path: Path) -> None:
    settings = HealthSettings()
    readings = [*SystemSource(settings).read(), *OutputSource(tmp_path, settings).read()]
    sensors = {r.name: r.sensor for r in readings if r.sensor is not None}
    for kind, name in (
        ("temperature", "temperature/CHIP/…"),
        ("fan", "fan/CHIP/…"),
        ("psu", "psu/NAME"),
        ("hard-disk-temperature", "hard-disk-temperature/CHIP/…"),
        ("hard-disk", "hard-disk/NAME"),
        ("answer", "answer/SOURCE"),
        ("directory", "directory/readable"),
    ):
        sensors[name] = settings.sensor(kind, name)
    rows = {
        cells[1].strip(" `"): (cells[4].strip(), cells[5].strip(), cells[3])
        for cells in (line.split("|") for line in DOC.splitlines() if line.startswith("| `"))
        if len(cells) == 8
    }
    assert set(rows) == set(sensors)
    for name, sensor in sensors.items():
        major, critical, unit = rows[name]
        shown = [
            size_text(int(value)) if sensor.unit == "bytes" else f"{value:g}"
            for value in (sensor.major, sensor.critical)
        ]
        assert [major, critical] == shown, name
        assert sensor.bad.value in unit, name
