"""The system, the output's file system and the reader: on the real /proc and real mounts."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from readings import by_name, health_settings, value_of

from nsdata.appliance.sensor_files import DirectorySource
from nsdata.appliance.sensors import OutputSource, SensorReader, Source, SystemSource, sources
from nsdata.config.health import HealthSettings
from nsdata.fallback.controller import Moment, Transition
from nsdata.fallback.guard import Guard
from nsdata.fallback.health import Health, Policy
from nsdata.fallback.reasons import Reason, Severity, State
from nsdata.fallback.sensor import Reading, Resource

WRITES = "file-system/write-failures"
IN_TIME = 2.0  # seconds; the deadline is 0.2, and the machine may be busy with other tests


# --- the system --------------------------------------------------------------------------


def test_cpu_and_memory_are_those_of_the_box() -> None:
    source = SystemSource(HealthSettings())
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        pass
    readings = by_name(source.read())
    assert 0 < value_of(readings["cpu/use"]) <= 100, "one core was busy all the time"
    assert value_of(readings["memory/use"]) == pytest.approx(
        psutil.virtual_memory().percent, abs=10
    )


def test_cpu_use_is_unknown_when_no_time_went_by(monkeypatch: pytest.MonkeyPatch) -> None:
    source = SystemSource(HealthSettings())
    times = psutil.cpu_times()
    monkeypatch.setattr(psutil, "cpu_times", lambda: times)
    source.read()
    assert "stand still" in by_name(source.read())["cpu/use"].problem


# --- the file system of the output -------------------------------------------------------


def run(*command: str) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not there")
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    if done.returncode:
        pytest.skip(f"{' '.join(command)}: {done.stderr.strip()}")


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB and 64 inodes of its own."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    path = tmp_path / "mounted"
    path.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=4m,nr_inodes=64", "tmpfs", str(path))
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


SMALL = health_settings(
    "file-system.free-major=1mb", "file-system.free-critical=64kb", "interval=1s", "deadline=500ms"
)


def levels(readings: list[Reading]) -> dict[str, str]:
    policy = Policy(required=frozenset(), low_evaluations=1)
    report = Health(policy).evaluate(readings, time.monotonic_ns())
    return {s["sensor"]: s["level"] for s in report.sensors if s["level"] != "green"}


def test_an_output_that_takes_writes_is_green(tmp_path: Path) -> None:
    readings = OutputSource(tmp_path, HealthSettings()).read()
    seen = {r.name.removeprefix("file-system/"): r.value for r in readings}
    assert {"free", "use", "read-only", "write-failures"} <= set(seen)
    assert (seen["read-only"], seen["write-failures"]) == (0, 0)
    assert list(tmp_path.iterdir()) == [], "the probe is gone"


def test_a_disk_that_fills_up_becomes_yellow_then_red_and_recovers(mounted: Path) -> None:
    source = OutputSource(mounted, SMALL)
    assert levels(source.read()) == {}
    filler = mounted / "filler"
    filler.write_bytes(bytes(3300 * 1024))
    assert levels(source.read()) == {"file-system/free": "yellow"}
    with filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(65536))
            file.flush()
    full = source.read()
    assert levels(full) == {
        "file-system/free": "red",
        "file-system/use": "red",
        "file-system/write-failures": "yellow",
    }
    assert by_name(full)["file-system/write-failures"].note == "last: No space left on device"
    source.read()
    assert levels(source.read())["file-system/write-failures"] == "red", "three of ten"
    assert [p.name for p in mounted.iterdir()] == ["filler"]
    filler.unlink()
    assert levels(source.read()) == {"file-system/write-failures": "red"}
    for _ in range(9):
        last = source.read()
    assert levels(last) == {}, "ten good ones have followed"


def test_a_disk_without_inodes_is_red(mounted: Path) -> None:
    with contextlib.suppress(OSError):
        for number in range(100):
            (mounted / str(number)).touch()
    found = levels(OutputSource(mounted, SMALL).read())
    assert found["file-system/inodes"] == "red"
    assert found["file-system/write-failures"] == "yellow"


def test_a_read_only_disk_is_red_and_not_written_to(mounted: Path) -> None:
    source = OutputSource(mounted, SMALL)
    source.read()
    run("mount", "-o", "remount,ro", str(mounted))
    assert levels(source.read()) == {"file-system/read-only": "red"}
    run("mount", "-o", "remount,rw", str(mounted))
    assert levels(source.read()) == {}


def test_an_output_directory_that_is_gone(tmp_path: Path) -> None:
    found = OutputSource(tmp_path / "gone", HealthSettings()).read()
    assert levels(found) == {
        "file-system/free": "unknown",
        "file-system/use": "unknown",
        "file-system/inodes": "unknown",
        "file-system/write-failures": "yellow",
    }


def test_a_probe_left_behind_is_no_failure_and_a_link_in_its_place_is_not_followed(
    tmp_path: Path,
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    output = tmp_path / "output"
    output.mkdir()
    (output / f".nsdata-probe-{os.getpid()}").symlink_to(victim)
    assert (
        by_name(OutputSource(output, HealthSettings()).read())["file-system/write-failures"].value
        == 0
    )
    assert victim.read_text() == "precious"


@pytest.mark.parametrize(
    ("call", "number", "name", "note"),
    [
        ("fsync", errno.EIO, "file-system/write-failures", "last: Input/output error"),
        ("open", errno.EROFS, "file-system/read-only", ""),
    ],
)
def test_faults_of_a_disk_that_a_test_cannot_break(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    number: int,
    name: str,
    note: str,
) -> None:
    def refuse(*args: object) -> None:
        raise OSError(number, os.strerror(number))

    source = OutputSource(tmp_path, HealthSettings())
    with monkeypatch.context() as patched:
        patched.setattr(os, call, refuse)
        readings = by_name(source.read())
    found = {r.name: (r.value, r.note) for r in readings.values() if r.name in (name, WRITES)}
    assert found[name] == (1, note)
    assert sum(value or 0 for value, _ in found.values()) == 1, "counted once, as what it is"
    assert list(tmp_path.iterdir()) == []


# --- the reader: in time, whatever the sources do ----------------------------------------


class Stuck:
    """A source that answers only when it is let go, as a call into a hung kernel would."""

    name = "stuck"
    resource = Resource.FILE_SYSTEM

    def __init__(self) -> None:
        self.go = threading.Event()
        self.go.set()
        self.sensor = HealthSettings().sensor("psu", "psu/stuck")
        self.calls = 0

    def read(self) -> list[Reading]:
        self.calls += 1
        at_ns = time.monotonic_ns()
        self.go.wait()
        return [Reading.of(self.sensor, 1, at_ns)]


QUICK = health_settings("interval=1s", "deadline=200ms", "answer.major=0.1", "answer.critical=0.5")


@pytest.fixture
def stuck() -> Iterator[Stuck]:
    source = Stuck()
    yield source
    source.go.set()


def test_a_source_that_hangs_is_unknown_in_time_and_never_asked_twice(
    stuck: Stuck, tmp_path: Path
) -> None:
    (tmp_path / "fan-1").write_text("5000")
    others: list[Source] = [stuck, DirectorySource(tmp_path, QUICK)]
    reader = SensorReader(others, QUICK)
    assert value_of(by_name(reader.read())["psu/stuck"]) == 1
    stuck.go.clear()
    for _ in range(3):
        began = time.monotonic()
        readings = by_name(reader.read())
        assert time.monotonic() - began < IN_TIME
        assert readings["psu/stuck"].problem.startswith("stuck has not answered for 0.")
        assert value_of(readings["fan-1"]) == 5000, "the others are not held up"
    assert stuck.calls == 2
    silent = readings["answer/stuck"]
    assert value_of(silent) >= 0.6 and silent.resource is Resource.FILE_SYSTEM
    report = Health(Policy(required=frozenset(), low_evaluations=1)).evaluate(
        list(readings.values()), time.monotonic_ns()
    )
    assert report.holds, "a file system that does not answer is red"
    assert not reader.close(0.1), "its thread hangs, and says so"
    stuck.go.set()


def test_it_is_found_again_when_it_answers(stuck: Stuck) -> None:
    reader = SensorReader([stuck], QUICK)
    stuck.go.clear()
    assert "psu/stuck" not in by_name(reader.read()), "never seen, so not known by name"
    stuck.go.set()
    reader.read()
    readings = by_name(reader.read())
    assert value_of(readings["psu/stuck"]) == 1
    assert value_of(readings["answer/stuck"]) < 0.2
    assert reader.close()


def test_poll_never_waits(stuck: Stuck) -> None:
    reader = SensorReader([stuck], QUICK)
    assert reader.poll() is None, "nothing was asked"
    stuck.go.clear()
    began = time.monotonic()
    reader.ask()
    assert reader.poll() is None
    assert time.monotonic() - began < 0.1
    while (readings := reader.poll()) is None:
        time.sleep(0.01)
    assert time.monotonic() - began >= 0.2
    assert [r.name for r in readings] == ["answer/stuck"]
    assert reader.poll() is None, "given once"
    stuck.go.set()
    for _ in range(1000):
        reader.ask()  # again and again: what is under way is not begun anew
        if (readings := reader.poll()) is not None and len(readings) == 2:
            break
        time.sleep(0.01)
    assert [r.name for r in readings or ()] == ["psu/stuck", "answer/stuck"]
    assert reader.close()


def test_a_source_that_breaks_is_unknown_with_the_reason() -> None:
    class Broken(Stuck):
        def read(self) -> list[Reading]:
            if self.calls:
                raise ZeroDivisionError("by zero")
            return super().read()

    reader = SensorReader([Broken()], QUICK)
    reader.read()
    for _ in range(2):
        readings = by_name(reader.read())
        assert {n: r.problem for n, r in readings.items()} == {
            "psu/stuck": "ZeroDivisionError: by zero",
            "answer/stuck": "ZeroDivisionError: by zero",
        }
    assert reader.close()


@pytest.fixture
def freezable(tmp_path: Path) -> Iterator[Path]:
    """An ext4 file system that can be frozen: every write to it then hangs in the kernel."""
    if os.geteuid() != 0:
        pytest.skip("a file system that hangs needs root (loop device, fsfreeze)")
    image, path = tmp_path / "image", tmp_path / "frozen"
    path.mkdir()
    with image.open("wb") as file:
        file.truncate(8 << 20)
    run("mkfs.ext4", "-q", "-F", str(image))
    run("mount", "-o", "loop", str(image), str(path))
    try:
        yield path
    finally:
        subprocess.run(["fsfreeze", "--unfreeze", str(path)], capture_output=True)
        subprocess.run(["umount", str(path)], check=True)


def test_a_hung_file_system_does_not_hang_the_caller_and_becomes_red(freezable: Path) -> None:
    given_settings = health_settings(
        "interval=1s",
        "deadline=200ms",
        "answer.major=0.1",
        "answer.critical=0.5",
        "file-system.free-major=1mb",
        "file-system.free-critical=64kb",
    )
    reader = SensorReader(sources(given_settings, freezable), given_settings)
    health = Health(given_settings.policy())
    assert not health.evaluate(reader.read(), time.monotonic_ns()).holds
    run("fsfreeze", "--freeze", str(freezable))
    try:
        for _ in range(5):
            began = time.monotonic()
            readings = reader.read()
            assert time.monotonic() - began < IN_TIME
            report = health.evaluate(readings, time.monotonic_ns())
    finally:
        run("fsfreeze", "--unfreeze", str(freezable))
    assert report.holds
    worst = report.evidence()["sensors"][0]
    assert (worst["sensor"], worst["level"], worst["points"]) == ("answer/output", "red", 70)
    free = next(s for s in report.sensors if s["sensor"] == "file-system/free")
    assert "output has not answered for" in free["problem"]
    for _ in range(100):
        report = health.evaluate(reader.read(), time.monotonic_ns())
        if report.cleared:
            break
        time.sleep(0.05)
    assert report.cleared, "and it comes back by itself"
    assert reader.close()


def test_the_sources_of_an_appliance(tmp_path: Path) -> None:
    directory = tmp_path / "sensors"
    directory.mkdir()
    (directory / "temperature-lab").write_text("20")
    chosen = health_settings(f"sensor-directory={directory}")
    reader = SensorReader(sources(chosen, tmp_path), chosen)
    readings = by_name(reader.read())
    assert {"cpu/use", "memory/use", "file-system/free", "temperature-lab"} <= set(readings)
    assert {f"answer/{s}" for s in ("system", "output", "hardware", "directory")} <= set(readings)
    assert "directory" not in {s.name for s in sources(HealthSettings(), tmp_path)}
    assert reader.close()


# --- from a file to the fallback ---------------------------------------------------------


def test_a_sensor_file_leads_to_fallback_and_back(tmp_path: Path) -> None:
    directory = tmp_path / "sensors"
    directory.mkdir()
    chosen = health_settings(f"sensor-directory={directory}", "clear-evaluations=2")
    reader = SensorReader([DirectorySource(directory, chosen)], chosen)
    health = Health(replace(chosen.policy(), required=frozenset()))
    guard = Guard.build()
    guard.start(Moment(time.monotonic_ns(), 1))

    def round_with(value: str) -> list[Transition]:
        (directory / "temperature-inlet.tmp").write_text(value)
        os.replace(directory / "temperature-inlet.tmp", directory / "temperature-inlet")
        report = health.evaluate(reader.read(), time.monotonic_ns())
        moment = Moment(report.now_ns, 1)
        if report.entered:
            return guard.fault(Reason.HEALTH, moment, report.evidence())
        return guard.clear_fault(Reason.HEALTH, moment) if report.cleared else []

    assert round_with("25") == round_with("99") == []
    (entered,) = round_with("99")
    assert (entered.to_state, entered.reason) == (State.FALLBACK, Reason.HEALTH)
    assert entered.severity is Severity.CRITICAL
    evidence = json.loads(json.dumps(entered.as_dict(), allow_nan=False))["evidence"]["given"]
    worst = evidence["sensors"][0]
    assert (evidence["score"], worst["sensor"], worst["value"]) == (30, "temperature-inlet", 99)
    assert round_with("25") == []
    (refused,) = guard.restore(Moment(time.monotonic_ns(), 1))
    assert refused.refused, "one good evaluation is not enough"
    round_with("25")
    (restored,) = guard.restore(Moment(time.monotonic_ns(), 1))
    assert guard.state is State.NORMAL and not restored.refused
    assert reader.close()
