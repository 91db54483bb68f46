"""A report's file: whole, under its name, and nobody else's file touched."""

import os
import tarfile
from pathlib import Path

import pytest

from nsdata.errors import OutputError
from nsdata.support.archive import Archive, half, report_name, sweep

WIDE = "測" * 63  # a name of an appliance; 189 bytes
STAMP = "20261123T034748Z"


def report(directory: Path, token: str, name: str = "edge", age_s: int = 0) -> Path:
    path = directory / f"{report_name(name, STAMP, token)}.tar.gz"
    path.write_bytes(b"report")
    os.utime(path, (1_000_000 - age_s, 1_000_000 - age_s))
    return path


def test_what_is_not_its_own_is_not_swept(tmp_path: Path) -> None:
    """Neither other names, nor other appliances' reports, nor what is no regular file."""
    others = [
        tmp_path / "backup.tar.gz", tmp_path / ".backup.tar.gz.part", tmp_path / "edge.tar.gz",
        tmp_path / "nsdata-support-edge-notes.tar.gz",
        half(tmp_path, report_name("edge-2", STAMP, "00000000")),
        report(tmp_path, "00000000", "edge-2"), report(tmp_path, "0000000g"),
        report(tmp_path, "00000000", "xedge"),
    ]  # fmt: skip
    for path in others:
        path.write_bytes(b"precious")
        os.utime(path, (1, 1))
    dangling = tmp_path / f"{report_name('edge', STAMP, '000000aa')}.tar.gz"
    dangling.symlink_to("/nowhere")
    (tmp_path / "dangling.tar.gz").symlink_to("/nowhere")
    folder = tmp_path / f"{report_name('edge', STAMP, '000000bb')}.tar.gz"
    folder.mkdir()
    left = half(tmp_path, report_name("edge", STAMP, "00000001"))
    left.write_bytes(b"half")
    oldest, old = report(tmp_path, "00000002", age_s=9), report(tmp_path, "00000003", age_s=5)
    written = report(tmp_path, "00000004", age_s=20)  # the clock was set back
    assert sweep(written, "edge", 2) == [left, oldest]
    assert old.exists() and written.exists() and not (left.exists() or oldest.exists())
    assert all(path.read_bytes() == b"precious" for path in others)
    assert dangling.is_symlink() and folder.is_dir() and (tmp_path / "dangling.tar.gz").is_symlink()
    assert sweep(written, "edge", 1) == [old]
    assert written.exists()


def test_a_dangling_link_is_there_already(tmp_path: Path) -> None:
    path = tmp_path / "r.tar.gz"
    path.symlink_to("/nowhere")
    with pytest.raises(OutputError, match="never overwritten"):
        Archive(path, "report", 1, 1 << 20)
    assert path.is_symlink() and list(tmp_path.iterdir()) == [path]


def test_what_comes_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "r.tar.gz"
    with Archive(path, "report", 1, 1 << 20) as archive:
        path.write_bytes(b"precious")
        with pytest.raises(OutputError, match="never overwritten"):
            archive.finish({})
    assert path.read_bytes() == b"precious" and list(tmp_path.iterdir()) == [path]


def test_any_name_of_an_appliance_fits(tmp_path: Path) -> None:
    folder = report_name(WIDE, STAMP, "0123abcd")
    path = tmp_path / f"{folder}.tar.gz"
    with Archive(path, folder, 1, 1 << 20) as archive:
        archive.add("transitions.jsonl", b"{}\n")
        archive.finish({})
    with tarfile.open(path) as tar:
        assert tar.getnames() == [f"{folder}/transitions.jsonl", f"{folder}/manifest.json"]


def test_what_the_format_cannot_hold_is_an_error_like_others(tmp_path: Path) -> None:
    with Archive(tmp_path / "r.tar.gz", "report", 1, 1 << 20) as archive:
        archive.folder = "\ud800"  # no UTF-8
        with pytest.raises(OutputError, match="cannot be written"):
            archive.finish({})
    assert not list(tmp_path.iterdir())
