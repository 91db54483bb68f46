"""Image files that are not as they were written, though their checksum is right."""

import json
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nsdata.cli.offload import notes_on, rows_of
from nsdata.errors import EngineError
from nsdata.offload.image import PrefilterImage, compile_image
from nsdata.offload.patterns import from_list
from nsdata.offload.session import ModelOffload

SOUND = compile_image(from_list([(b"needle in hay", False), (b"ab", False)]), buckets_log2=5)
BODY = SOUND.to_bytes()[:-4]
RANGES, REPORT = 24 + 8 * 32, 24 + 8 * 32 + 8 * 16


def signed(body: bytes) -> bytes:
    """An image with a right checksum."""
    return body + zlib.crc32(body).to_bytes(4, "little")


def with_report(text: bytes) -> bytes:
    return signed(BODY[:20] + len(text).to_bytes(4, "little") + BODY[24:REPORT] + text)


def but(**changes: Any) -> bytes:
    return json.dumps({**SOUND.report, **changes}).encode()


def ranges(count: int) -> bytes:
    words = (BODY[RANGES:REPORT] * 2)[: 8 * count]
    return signed(BODY[:16] + count.to_bytes(4, "little") + BODY[20:RANGES] + words + BODY[REPORT:])


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (with_report(b"{x}"), r"x\.nsd: byte 408: its report is unfit: Invalid JSON"),
        (with_report(b"\xff"), "byte 408: its report is unfit: Invalid JSON"),
        (with_report(b"[]"), "byte 408: its report is unfit: Input should be an object"),
        (with_report(b"{}"), "byte 408: its report is unfit: rules: Field required"),
        (with_report(b"[" * 100_000), "byte 408: its report is unfit"),
        (with_report(but(rules="7")), "rules: Input should be a valid integer"),
        (with_report(but(short=[7])), r"short\.0: Input should be an object"),
        (with_report(but(always=[["a", "b"]])), r"always\.0\.2: Field required"),
        (with_report(but(more=1)), "more: Extra inputs are not permitted"),
        (ranges(0), "byte 16: port ranges 0: legal are 16 to 16"),
        (ranges(1), "byte 16: port ranges 1: legal are 16 to 16"),
        (ranges(17), "byte 16: port ranges 17: legal are 16 to 16"),
        (signed(BODY[:280] + b"\xff" * 8 + BODY[288:]), "byte 280: port range 0 is none: 0xffff"),
        (signed(BODY[:39] + b"\x80" + BODY[40:]), "byte 32: a word of the table is more than its"),
        (signed(BODY[:11] + b"\0" + BODY[12:24] + BODY[280:]), "byte 11: words 0: legal are 1"),
    ],
)  # fmt: skip
def test_right_checksums_over_wrong_contents(tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / "x.nsd"
    path.write_bytes(data)
    with pytest.raises(EngineError, match=says) as raised:
        PrefilterImage.load(path)
    assert str(raised.value).startswith(f"{path}: byte ")


CHANGE = st.tuples(st.integers(0, len(BODY) - 1), st.integers(0, 255))
CUT = st.tuples(st.integers(0, len(BODY)), st.integers(0, 9), st.binary(max_size=9))


@settings(deadline=None, max_examples=400)
@given(st.lists(CHANGE, max_size=4), st.lists(CUT, max_size=2))
def test_whatever_is_in_an_image_it_loads_or_is_refused(
    changes: list[tuple[int, int]], cuts: list[tuple[int, int, bytes]]
) -> None:
    body = bytearray(BODY)
    for at, value in changes:
        body[at] = value
    for at, size, more in cuts:
        body[at : at + size] = more
    try:
        image = PrefilterImage.from_bytes(signed(bytes(body)))
    except EngineError:
        return
    again = image.to_bytes()
    assert again[:20] == body[:20] and again[24:REPORT] == body[24:REPORT]
    assert rows_of(image.report, image.signature)
    list(notes_on(image.report))
    ModelOffload().load(image)
