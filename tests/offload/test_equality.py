"""The block itself in front of the engine: the same alerts and EVE as without it.

The golden model has the whole of this in test_session.py. The RTL gets every capture of the
repository and a part of the shared ones; all of those with NSDATA_FULL=1.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from offload.blocks import PARAMETERS, needed
from test_session import DEMO, all_captures, assert_alike, level_1

from nsdata import LoadedRules, Settings
from nsdata.capture import open_capture
from nsdata.errors import CaptureError, OffloadError
from nsdata.offload.session import image_for
from nsdata.rules.ruleset import load_rules

FULL = os.environ.get("NSDATA_FULL", "") not in ("", "0")
FRAMES = 2000  # of the shared captures, and of the conformance cases together
CASE = 200  # frames: larger cases are for NSDATA_FULL
TABLE = (10, 1)  # nsd_top's


@pytest.fixture(autouse=True)
def tools() -> None:
    needed("rtl")


@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("capture", all_captures(), ids=lambda p: p.name)
def test_captures_are_alike(capture: Path, inline: bool) -> None:
    found = assert_alike(capture, DEMO, ["offload.check-share=0.1"], "rtl", inline=inline)
    assert found.offload is not None and found.offload.transport == "rtl"
    assert not found.offload.block_errors


def test_512_bits_are_alike(office: Path) -> None:
    if not FULL:
        pytest.skip("builds the wide block: NSDATA_FULL=1")
    assert_alike(office, DEMO, ["offload.check-share=0.1"], "rtl:512", inline=True)


def test_a_cocotb_bench_is_alike(captures: Path) -> None:
    needed("cocotb")
    capture = captures / "variants" / "plain.pcap"
    found = assert_alike(capture, DEMO, [], f"cocotb:64,{PARAMETERS}", inline=True)
    assert found.offload is not None and found.offload.verdicts["clear"]


def beginning(capture: Path, frames: int, into: Path) -> Path:
    """The first frames of a little-endian pcap."""
    with capture.open("rb") as file:
        head = file.read(24)
        assert head[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1")
        with into.open("wb") as out:
            out.write(head)
            for _ in range(frames):
                record = file.read(16)
                if len(record) < 16:
                    break
                out.write(record + file.read(struct.unpack("<8xI4x", record)[0]))
    return into


@pytest.mark.parametrize("inline", [False, True])
def test_the_shared_capture_is_alike(shared: Path, tmp_path: Path, inline: bool) -> None:
    capture, rules = shared / "captures" / "mixed.pcap", shared / "rules" / "et-open-2021.rules"
    if not capture.is_file() or not rules.is_file():
        pytest.skip(f"no {capture} or no {rules}")
    part = capture if FULL else beginning(capture, FRAMES, tmp_path / "part.pcap")
    found = assert_alike(part, rules, [], "rtl", inline=inline, checksum_validation=False)
    assert found.received >= FRAMES and found.offload is not None and found.offload.spared_bytes


def frames_in(capture: Path) -> int:
    """Whole frames of a capture."""
    count = 0
    try:
        with open_capture(capture) as reader:
            for batch in reader.batches():
                count += len(batch)
    except CaptureError:
        pass
    return count


def test_conformance_captures_are_alike(shared: Path) -> None:
    """Cases of level 1, the small ones first to come, until FRAMES."""
    cases = frames = 0
    for rules, captures in level_1(shared):
        sizes = [frames_in(capture) for capture in captures]
        if not FULL and (sum(sizes) > CASE or frames + sum(sizes) > FRAMES):
            continue
        built = LoadedRules.build(load_rules(rules, Settings()), Settings())
        try:
            image_for(built, table=TABLE)
        except OffloadError:
            continue  # more rules than the default block holds
        for capture in captures:
            assert_alike(capture, rules, ["offload.check-share=0"], "rtl", inline=cases % 2 == 0)
        cases += 1
        frames += sum(sizes)
    assert cases > 20 and frames > 500
    print(f"{cases} cases of level 1, {frames} frames")
