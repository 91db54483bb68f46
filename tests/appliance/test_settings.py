"""The configuration file: defaults, paths, and errors that name file, line and key."""

import os
from pathlib import Path

import pytest

from nsdata.appliance.settings import ApplianceSettings
from nsdata.errors import SettingError

LEAST = '[source]\ncaptures = ["a.pcap"]\n'


def load(tmp_path: Path, text: str) -> ApplianceSettings:
    file = tmp_path / "box.toml"
    file.write_text(text)
    return ApplianceSettings.load(file)


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    found = load(tmp_path, 'directory = "run"\nrules = ["r.rules"]\n'
                 '[source]\ncaptures = ["a.pcap", "/b.pcap"]\nrate = "20kpps"\n')  # fmt: skip
    assert found.directory == str(tmp_path / "run")
    assert found.rules == [str(tmp_path / "r.rules")]
    assert found.source.captures == [str(tmp_path / "a.pcap"), "/b.pcap"]
    assert found.source.rate == 20_000
    assert found.output.eve == str(tmp_path / "run" / "eve.json") and found.output.forward is None
    assert found.source_plan() == {"captures": found.source.captures, "rate": 20_000, "loops": 0}


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (LEAST + 'rate = "fast"\n', 3, "source.rate"),
        ("workers = 0\n" + LEAST, 1, "workers"),
        ('in-fallback = "maybe"\n' + LEAST, 1, "in-fallback"),
        ('name = "two words"\n' + LEAST, 1, "name"),
        ("wrokers = 2\n" + LEAST, 1, "wrokers"),
        (LEAST + 'directory = "x"\n', 1, "either captures or a directory"),
        (LEAST + '[settings]\n"protection.loss" = 2\n', 4, "protection.loss"),
        (LEAST + '[settings]\n"exposure.max-time.lan" = "5s"\n', 4,
         "there is no segment 'lan'; there are default"),
        (LEAST + '[settings.exposure.action]\nlan = "block"\n', 3, "no segment 'lan'"),
        ('in-fallback = "block"\n' + LEAST + '[settings]\n"exposure.max-bytes.default" = 5\n', 5,
         "how much may pass"),
        (LEAST + "[segment.lan]\nvlan = [4095]\n", 4, "segment.lan.vlan.0"),
        (LEAST + '[segment.lan]\nnetworks = ["10.0.0.1/8"]\n', 4, "segment.lan.networks.0"),
        (LEAST + "[segment.lan]\n", 3, "name VLANs"),
        (LEAST + "[segment.default]\nvlan = [1]\n", 3, "what no other segment takes"),
        (LEAST + '[segment."a.b"]\nvlan = [1]\n', 3, "segment.a.b"),
        (LEAST + "".join(f"[segment.s{i}]\nvlan = [1]\n" for i in range(33)), 3, "at most 32"),
        ('offload = "model"\nworkers = 2\n' + LEAST, None, "one block serves one worker"),
    ],
)
def test_what_makes_no_sense_is_named(
    tmp_path: Path, text: str, line: int | None, said: str
) -> None:
    with pytest.raises(SettingError) as fault:
        load(tmp_path, text)
    assert said in str(fault.value) and "box.toml" in str(fault.value)
    if line is not None:
        assert f"box.toml:{line}" in str(fault.value)


def test_segments_in_the_order_of_the_file(tmp_path: Path) -> None:
    """`default` comes last, and does what the file says when it has no action of its own."""
    found = load(tmp_path, 'in-fallback = "block"\n' + LEAST
                 + '[segment.zone]\nvlan = [7]\n[segment."card data"]\n'
                 'networks = ["192.0.2.0/24", "2001:db8::/32"]\n'
                 '[settings.exposure.action]\n"card data" = "permit"\n'
                 '[settings.exposure.max-time]\n"card data" = "30s"\n')  # fmt: skip
    assert found.segments == ["zone", "card data", "default"]
    assert found.segment_plan() == [
        {"vlan": [7], "networks": []},
        {"vlan": [], "networks": ["192.0.2.0/24", "2001:db8::/32"]},
    ]
    assert found.exposure().blocked(found.segments) == 0b101
    assert found.exposure().status()["card data"]["max_ns"] == 30 * 10**9


def test_no_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"none\.toml: cannot be read"):
        ApplianceSettings.load(tmp_path / "none.toml")


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    fifo = tmp_path / "box.toml"
    os.mkfifo(fifo)
    for path in (fifo, tmp_path, Path("/dev/zero")):
        with pytest.raises(SettingError, match=f"{path}: cannot be read: .*(regular|directory)"):
            ApplianceSettings.load(path)
    os.unlink(fifo)
    with open(fifo, "wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(SettingError, match="longer than"):
        ApplianceSettings.load(fifo)


def test_a_secret_that_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "token")
    with pytest.raises(SettingError, match=r"metrics\.token-file: .*no regular file"):
        load(tmp_path, LEAST + '[metrics]\ntoken-file = "token"\n')
