"""No output of a replay may be one of its inputs, or another output: nothing is touched then."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from nsdata import SettingError, replay
from nsdata.replay.files import check_files, check_forwarded

PLAIN = Path(__file__).parents[1] / "captures" / "variants" / "plain.pcap"
OUTPUTS = ("eve", "summary", "write_forwarded")
BYPASS = "[[rule]]\nid = 1\nvlan = 4\n"


def straight(path: Path) -> Path:
    return path


def dotted(path: Path) -> Path:
    return path.parent / "." / ".." / path.parent.name / path.name


def symlink(path: Path) -> Path:
    link = path.with_name("link")
    link.symlink_to(path)
    return link


def hard_link(path: Path) -> Path:
    link = path.with_name("hard")
    os.link(path, link)
    return link


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Path]:
    files = {
        "captures": tmp_path / "c.pcap", "rules": tmp_path / "r.rules",
        "bypass_rules": tmp_path / "b.toml",
    }  # fmt: skip
    files["captures"].write_bytes(PLAIN.read_bytes())
    files["rules"].write_text('alert ip any any -> any any (msg:"any"; ttl:>0; sid:1;)\n')
    files["bypass_rules"].write_text(BYPASS)
    return files


@pytest.mark.parametrize("name", [straight, dotted, symlink, hard_link])
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("source", ["captures", "rules", "bypass_rules"])
def test_an_output_is_no_input(
    inputs: dict[str, Path], tmp_path: Path, source: str, output: str,
    name: Callable[[Path], Path],
) -> None:  # fmt: skip
    before = {path: path.read_bytes() for path in inputs.values()}
    given = {output: name(inputs[source])}
    option = "--" + output.replace("_", "-")
    other = {"captures": "capture", "rules": "--rules", "bypass_rules": "--bypass-rules"}[source]
    files = set(tmp_path.iterdir())
    with pytest.raises(SettingError, match=rf"{option} .*{other} .*overwritten"):
        replay(**inputs, **given)  # type: ignore[arg-type]
    assert {path: path.read_bytes() for path in inputs.values()} == before
    assert set(tmp_path.iterdir()) == files


@pytest.mark.parametrize("name", [straight, dotted, symlink])
@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize(
    ("one", "two"), [("eve", "summary"), ("summary", "write_forwarded"), ("eve", "write_forwarded")]
)
def test_two_outputs_are_two_files(
    inputs: dict[str, Path], tmp_path: Path, one: str, two: str, there: bool,
    name: Callable[[Path], Path],
) -> None:  # fmt: skip
    out = tmp_path / "out"
    if there:
        out.write_text("old")
    with pytest.raises(SettingError, match=rf"--{two.replace('_', '-')} .* and --{one} "):
        replay(**inputs, **{one: out, two: name(out)})  # type: ignore[arg-type]
    assert out.exists() == there and (not there or out.read_text() == "old")


def test_standard_output_holds_one_output(inputs: dict[str, Path]) -> None:
    with pytest.raises(SettingError, match="--summary - and --eve -"):
        replay(**inputs, eve="-", summary="-")  # type: ignore[arg-type]


def test_devices_and_other_files_are_no_clash(inputs: dict[str, Path], tmp_path: Path) -> None:
    given = {name: "/dev/null" for name in ("eve", "write_forwarded")}
    assert replay(**inputs, **given).ok  # type: ignore[arg-type]
    given = {name: str(tmp_path / name) for name in OUTPUTS}
    assert replay(**inputs, **given).ok  # type: ignore[arg-type]
    check_files([("a", "-")], [("b", "-x")])


@pytest.mark.parametrize("ending", [".gz", ".zst", ".GZ", ".xz", ".bz2"])
def test_a_name_that_promises_compression_is_refused(
    inputs: dict[str, Path], tmp_path: Path, ending: str
) -> None:
    out = tmp_path / f"f.pcap{ending}"
    with pytest.raises(SettingError, match=r"not compressed as they are written. Write .*f.pcap "):
        replay(**inputs, write_forwarded=out)  # type: ignore[arg-type]
    assert not out.exists()
    check_forwarded("--write-forwarded", tmp_path / "gz.pcap")
