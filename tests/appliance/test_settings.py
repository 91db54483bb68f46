"""The configuration file: defaults, paths, and errors that name file, line and key."""

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
        ('in_fallback = "maybe"\n' + LEAST, 1, "in_fallback"),
        ('name = "two words"\n' + LEAST, 1, "name"),
        ("wrokers = 2\n" + LEAST, 1, "wrokers"),
        (LEAST + 'directory = "x"\n', 1, "either captures or a directory"),
        ('settings."protection.loss" = 0.02\n' + LEAST, 1, "not carried out yet"),
        ('settings."exposure.max-time.lan" = "5s"\n' + LEAST, 1, "not carried out yet"),
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


def test_no_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"none\.toml: cannot be read"):
        ApplianceSettings.load(tmp_path / "none.toml")
