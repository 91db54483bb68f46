"""The builder of the rtl transport: a build is made anew exactly when a source changed."""

from pathlib import Path

import pytest

from nsdata.errors import OffloadError
from nsdata.offload.rtl import sources
from nsdata.offload.rtl.build import build

STUB = ("sim/bulk/nsd_top.sv", "sim/harness/slice.sv")


@pytest.fixture
def stub(tmp_path: Path, root: Path) -> list[Path]:
    """A register slice in nsd_top's clothes, copied so that it can be changed."""
    if why := sources.missing():
        pytest.skip(why)
    copies = [tmp_path / Path(name).name for name in STUB]
    for name, copy in zip(STUB, copies, strict=True):
        copy.write_text((root / name).read_text())
    return copies


def test_a_build_is_made_anew_when_a_source_changed_only(stub: list[Path]) -> None:
    first = build(64, stub)
    made = first.stat().st_mtime_ns
    stub[1].touch()
    assert build(64, stub) == first and first.stat().st_mtime_ns == made
    stub[1].write_text(stub[1].read_text() + "// another comment\n")
    second = build(64, stub)
    assert second != first and second.is_file() and first.stat().st_mtime_ns == made


def test_without_the_sources_it_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "HDL", tmp_path)
    assert "in a checkout" in sources.missing()
    with pytest.raises(OffloadError, match=r"the RTL cannot be built: .*NSDATA_HDL"):
        build(64)


def test_a_parameter_out_of_range_is_said(root: Path) -> None:
    if why := sources.missing():
        pytest.skip(why)
    with pytest.raises(OffloadError, match="does not build; the log is"):
        build(64, SETS_LOG2=99)
