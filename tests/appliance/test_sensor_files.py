"""Sensors that are files: a directory of them, and the kernel's, on real files."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from readings import by_name, value_of

from nsdata.appliance.sensor_files import DirectorySource, HardwareSource, resource_of
from nsdata.config.health import HealthSettings
from nsdata.fallback.health import Health, Policy
from nsdata.fallback.sensor import Bad, Reading, Resource

SECOND = 10**9


# --- a directory of sensor files --------------------------------------------------------


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "sensors"
    path.mkdir()
    return path


@pytest.fixture
def read(directory: Path) -> Callable[[], dict[str, Reading]]:
    source = DirectorySource(directory, HealthSettings())
    return lambda: by_name(source.read())


Read = Callable[[], dict[str, Reading]]


def test_a_file_is_a_sensor_with_its_resources_thresholds(directory: Path, read: Read) -> None:
    (directory / "temperature-inlet").write_text("41.5\n")
    (directory / "fan-1").write_text(" 2.4e3 ")
    (directory / "psu2").write_text("0")
    readings = read()
    inlet = readings["temperature-inlet"]
    assert (value_of(inlet), inlet.resource) == (41.5, Resource.TEMPERATURE)
    assert inlet.sensor is not None and (inlet.sensor.major, inlet.sensor.critical) == (80, 95)
    assert value_of(readings["fan-1"]) == 2400
    assert value_of(readings["directory/readable"]) == 1
    report = Health(Policy(required=frozenset())).evaluate(
        list(readings.values()), time.monotonic_ns()
    )
    assert report.score == 65, "the power supply says 0"


def test_toml_beside_it_says_what_it_is(directory: Path, read: Read) -> None:
    (directory / "door").write_text("0")
    (directory / "door.toml").write_text(
        'resource = "temperature"\nunit = "m"\nbad = "low"\nmajor = 5\ncritical = 1.5\n'
        'margin = 2\nafter = "3s"\nclear-after = "1m"\naction = "Close it."\n'
    )
    sensor = read()["door"].sensor
    assert sensor is not None
    assert (sensor.resource, sensor.unit, sensor.bad) == (Resource.TEMPERATURE, "m", Bad.LOW)
    assert (sensor.major, sensor.critical, sensor.clear_margin) == (5, 1.5, 2)
    assert (sensor.after_ns, sensor.clear_after_ns) == (3 * SECOND, 60 * SECOND)
    assert sensor.action == "Close it."


def test_one_threshold_stated_leaves_the_others(directory: Path, read: Read) -> None:
    (directory / "temperature").write_text("1")
    (directory / "temperature.toml").write_text("major = 40")
    sensor = read()["temperature"].sensor
    assert sensor is not None and (sensor.major, sensor.critical) == (40, 95)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "holds nothing"),
        (b"warm", "holds b'warm'"),
        (b"1 2", "holds b'1 2'"),
        (b"0x10", "a number is legal"),
        (b"1_000", "a number is legal"),
        (b"nan", "a number is legal"),
        ("٣".encode(), "a number is legal"),
        (b"\x00\xff\x80", "a number is legal"),
        (b"7" * 257, "is longer than 256 bytes"),
        (b" " * 10**6, "is longer than 256 bytes"),
    ],
)
def test_other_content_is_unknown(directory: Path, read: Read, content: bytes, says: str) -> None:
    (directory / "fan-1").write_bytes(content)
    reading = read()["fan-1"]
    assert (reading.value, reading.resource) == (None, Resource.FAN)
    assert reading.problem.startswith("fan-1 ") and says in reading.problem


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=300), st.none() | st.binary(max_size=60) | st.text(max_size=60))
def test_no_content_raises(directory: Path, content: bytes, about: bytes | str | None) -> None:
    (directory / "fan-1").write_bytes(content)
    (directory / "fan-1.toml").unlink(missing_ok=True)
    if about is not None:
        text = about.encode("utf-8", "surrogatepass") if isinstance(about, str) else about
        (directory / "fan-1.toml").write_bytes(text)
    readings = DirectorySource(directory, HealthSettings()).read()
    assert {r.name for r in readings} == {"fan-1", "directory/readable"}
    reading = by_name(readings)["fan-1"]
    assert bool(reading.problem) != (reading.value is not None)


def test_a_number_beyond_floats_is_unknown_to_the_score(directory: Path, read: Read) -> None:
    (directory / "fan-1").write_text("1e999")
    report = Health().evaluate(list(read().values()), time.monotonic_ns())
    problems = [s.get("problem") for s in report.sensors if s["sensor"] == "fan-1"]
    assert problems == ["not a finite number: inf"]


def test_what_is_no_plain_file_is_unknown_and_does_not_block(
    directory: Path, read: Read, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").write_text("5000")
    (directory / "fan-link").symlink_to(tmp_path / "elsewhere")
    (directory / "fan-loop").symlink_to("fan-loop")
    os.mkfifo(directory / "fan-pipe")
    (directory / "fan-dir").mkdir()
    (directory / "fan-tty").symlink_to("/dev/zero")
    readings = read()
    link = "is a symbolic link, which is not followed"
    assert {n: r.problem for n, r in readings.items() if r.problem} == {
        "fan-link": f"fan-link {link}",
        "fan-loop": f"fan-loop {link}",
        "fan-tty": f"fan-tty {link}",
        "fan-pipe": "fan-pipe is not a regular file",
        "fan-dir": "fan-dir is not a regular file",
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("major = 99\n", "major = 99, critical = 95"),
        ("\nmajr = 1\n", "fan-x.toml:2: majr = 1: unknown key; legal: resource, unit, bad"),
        ('major = 1\nbad = "up"\n', "fan-x.toml:2: bad = 'up': legal: 'high' or 'low'"),
        ('after = "soon"\n', "fan-x.toml:1: after = 'soon': legal: a duration"),
        ("major = nan\n", "major = nan: legal: a number"),
        ("major = \n", "fan-x.toml:1: not valid TOML"),
        ("[major]\n", "fan-x.toml:1: major"),
        ('resource = "other"\n', "missing: bad, major, critical"),
        ("#" * 5000, "fan-x.toml is longer than 4096 bytes"),
    ],
)
def test_a_wrong_toml_makes_it_unknown_and_says_where(
    directory: Path, read: Read, text: str, says: str
) -> None:
    (directory / "fan-x").write_text("5000")
    text = text.replace("major = 99", 'resource = "temperature"\nmajor = 99')
    (directory / "fan-x.toml").write_text(text)
    reading = read()["fan-x"]
    assert reading.value is None and says in reading.problem


def test_a_toml_without_its_file_is_a_sensor_that_is_missing(directory: Path, read: Read) -> None:
    (directory / "psu-1.toml").write_text("")
    assert read()["psu-1"].problem == "psu-1 No such file or directory"


def test_files_being_written_and_hidden_ones_are_no_sensors(directory: Path, read: Read) -> None:
    for name in (".fan-1", "fan-1.tmp", "fan-1~", ".fan-1.toml", "fan-1.tmp.toml"):
        (directory / name).write_text("0")
    assert list(read()) == ["directory/readable"]


def test_a_replaced_file_is_seen_at_the_next_reading_whole(directory: Path, read: Read) -> None:
    def put(value: str) -> None:
        (directory / "temperature.tmp").write_text(value)
        os.replace(directory / "temperature.tmp", directory / "temperature")

    for value in range(20, 120):
        put(str(value))
        assert value_of(read()["temperature"]) == value
    put("2")
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            put("11111111111111111111")
            put("2")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen = {read()["temperature"].value for _ in range(300)}
    finally:
        stop.set()
        writer.join()
    assert seen <= {11111111111111111111.0, 2.0}


def test_a_file_that_nobody_writes_any_more_is_unknown(directory: Path) -> None:
    source = DirectorySource(directory, HealthSettings())
    (directory / "fan-1").write_text("5000")
    (directory / "fan-1.toml").write_text('stale-after = "60s"')
    now = time.time()
    problems = []
    for age in (0, 50, 70, -60):
        os.utime(directory / "fan-1", (now - age, now - age))
        problems.append(by_name(source.read())["fan-1"].problem)
    assert problems[:2] == ["", ""]
    assert problems[2].startswith("fan-1 was written 70.")
    assert problems[3].startswith("fan-1 was written -")


def test_names_that_name_no_sensor_are_unknown(directory: Path, read: Read) -> None:
    (directory / "fan\n1").write_text("5000")
    os.close(os.open(os.fsencode(directory) + b"/fan\xff", os.O_CREAT | os.O_WRONLY))
    (directory / ("fan-" + "9" * 97)).write_text("5000")
    (directory / ("fan-" + "9" * 96)).write_text("5000")
    readings = read()
    assert [r.name for r in readings.values() if r.problem] == [
        "'fan\\n1'",
        "'fan-" + "9" * 94,
        "'fan\\udcff'",
    ]
    Health().evaluate(list(readings.values()), time.monotonic_ns()).evidence()


def test_a_flood_of_files_is_bounded_and_reported(directory: Path, read: Read) -> None:
    for number in range(300):
        (directory / f"fan-{number:03}").write_text("5000")
    readings = read()
    assert len(readings) == 257
    assert "300 sensors, of which 256 are read" in readings["directory/readable"].problem


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    (reading,) = DirectorySource(tmp_path / "no", HealthSettings()).read()
    assert reading.problem.endswith("/no: No such file or directory")


@pytest.mark.parametrize(
    ("name", "resource"),
    [
        ("fan", Resource.FAN),
        ("fan-1", Resource.FAN),
        ("psu2", Resource.PSU),
        ("hard-disk.sda", Resource.HARD_DISK),
        ("file-system-var", Resource.FILE_SYSTEM),
        ("fantastic", Resource.OTHER),
        ("my-fan", Resource.OTHER),
    ],
)
def test_the_name_begins_with_the_resource(name: str, resource: Resource) -> None:
    assert resource_of(name) is resource


# --- the hardware as the kernel shows it -------------------------------------------------


@pytest.fixture
def sys(tmp_path: Path) -> Path:
    """A tree of files as below /sys: a CPU, an NVMe disk, fans, supplies, disks."""
    files = {
        "devices/coretemp.0/hwmon/hwmon1/name": "coretemp",
        "devices/coretemp.0/hwmon/hwmon1/temp1_input": "45000",
        "devices/coretemp.0/hwmon/hwmon1/temp1_label": "Package id 0",
        "devices/coretemp.0/hwmon/hwmon1/temp1_max": "84000",
        "devices/coretemp.0/hwmon/hwmon1/temp1_crit": "100000",
        "devices/coretemp.0/hwmon/hwmon1/temp2_input": "46000",
        "devices/coretemp.0/hwmon/hwmon1/temp2_fault": "1",
        "devices/nvme0/hwmon/hwmon0/name": "nvme",
        "devices/nvme0/hwmon/hwmon0/temp1_input": "38850",
        "devices/nvme0/hwmon/hwmon0/temp1_max": "65261850",
        "devices/nvme0/hwmon/hwmon0/temp1_crit": "65261850",
        "devices/nct/hwmon/hwmon2/name": "nct6775",
        "devices/nct/hwmon/hwmon2/fan1_input": "1500",
        "devices/nct/hwmon/hwmon2/fan2_input": "0",
        "devices/nct/hwmon/hwmon2/fan3_input": "0",
        "devices/nct/hwmon/hwmon2/fan3_min": "600",
        "devices/nct/hwmon/hwmon2/fan4_input": "2000",
        "devices/nct/hwmon/hwmon2/fan4_fault": "1",
        "class/power_supply/AC1/type": "Mains",
        "class/power_supply/AC1/online": "1",
        "class/power_supply/BAT0/type": "Battery",
        "block/sda/device/state": "running",
        "block/sdb/device/state": "offline",
        "block/md0/md/degraded": "1",
        "block/loop0/size": "0",
    }
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")
    (tmp_path / "class/hwmon").mkdir()
    for chip in sorted(tmp_path.glob("devices/*/hwmon/hwmon*")):
        (chip / "device").symlink_to(chip.parents[1])
        (tmp_path / "class/hwmon" / chip.name).symlink_to(chip)
    return tmp_path


def test_hardware_is_read_from_sysfs(sys: Path) -> None:
    readings = HardwareSource(HealthSettings(), sys).read()
    shown = {r.name: (r.value, r.sensor.major, r.sensor.critical) for r in readings if r.sensor}
    assert shown == {
        "fan/nct6775@nct/fan1": (1500, 1000, 300),
        "fan/nct6775@nct/fan3": (0, 1000, 600),
        "fan/nct6775@nct/fan4": (0, 1000, 300),
        "hard-disk-temperature/nvme@nvme0/temp1": (38.85, 60, 70),
        "hard-disk/md0": (0, 0, 0),
        "hard-disk/sda": (1, 0, 0),
        "hard-disk/sdb": (0, 0, 0),
        "psu/AC1": (1, 0, 0),
        "temperature/coretemp@coretemp.0/temp1 Package id 0": (45, 84, 100),
        "temperature/coretemp@coretemp.0/temp2": (None, 80, 95),
    }
    notes = {r.name: r.note for r in readings if r.note}
    assert notes == {
        "hard-disk/md0": "1 disks missing",
        "hard-disk/sda": "state running",
        "hard-disk/sdb": "state offline",
    }


def test_a_fan_that_turned_and_stopped_is_seen(sys: Path) -> None:
    source = HardwareSource(HealthSettings(), sys)
    source.read()
    (sys / "devices/nct/hwmon/hwmon2/fan1_input").write_text("0\n")
    assert value_of(by_name(source.read())["fan/nct6775@nct/fan1"]) == 0


def test_a_chip_that_cannot_be_read_is_unknown(sys: Path) -> None:
    (sys / "devices/coretemp.0/hwmon/hwmon1/temp1_input").write_text("")
    reading = by_name(HardwareSource(HealthSettings(), sys).read())[
        "temperature/coretemp@coretemp.0/temp1 Package id 0"
    ]
    assert reading.problem == "temp1_input holds nothing; a number is legal"


def test_a_box_without_sensors_has_none(tmp_path: Path) -> None:
    assert HardwareSource(HealthSettings(), tmp_path).read() == []
    for reading in HardwareSource(HealthSettings()).read():  # the box the tests run on
        assert reading.problem or reading.value is not None
