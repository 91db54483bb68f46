"""Writing captures: what is written is read back, and a failing disk leaves whole packets."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from capture_builders import ETHERNET, MODIFIED, RAW, USEC, Frame, pcap, pcapng, read
from hypothesis import given, settings
from hypothesis import strategies as st

from nsdata.capture import Batch, CaptureWriter, capture_info, open_capture
from nsdata.errors import OutputError

FRAMES: list[Frame] = [
    (1_600_000_000_123_456_789 + i, bytes(range(i * 5)), i * 5 + 3, ETHERNET) for i in range(12)
]


def copy(source: Path, target: Path) -> int:
    with open_capture(source) as reader, CaptureWriter(target, inputs=[source]) as writer:
        return sum(writer.write(batch) for batch in reader)


@pytest.mark.parametrize("name", ["out.pcap", "out.cap", "out.pcapng", "OUT.PCAPNG"])
@pytest.mark.parametrize("order", "<>")
def test_round_trip(tmp_path: Path, name: str, order: str) -> None:
    source = tmp_path / "in"
    source.write_bytes(pcap(FRAMES, order))
    assert copy(source, tmp_path / name) == len(FRAMES)
    assert read(tmp_path / name) == (FRAMES, None)
    with open_capture(tmp_path / name) as reader:
        assert reader.format == ("pcapng" if "ng" in name.lower() else "pcap")
        assert reader.resolution in ("10^-9 s", "")
        list(reader)
        assert reader.resolution == "10^-9 s"


@pytest.mark.parametrize("magic", [USEC, MODIFIED])
def test_microseconds_come_out_unchanged(tmp_path: Path, magic: int) -> None:
    source, target = tmp_path / "in", tmp_path / "out.pcap"
    source.write_bytes(pcap(FRAMES, magic=magic))
    copy(source, target)
    assert read(target) == read(source)


@given(
    frames=st.lists(
        st.builds(
            lambda ts, data, more, link: (ts, data, len(data) + more, link),
            st.integers(0, 2**63 - 1),
            st.binary(max_size=40),
            st.integers(0, 99),
            st.sampled_from([ETHERNET, RAW, 0, 65535]),
        ),
        max_size=25,
    ),
    picks=st.lists(st.integers(0, 10**6), max_size=30),
    batch=st.integers(1, 30),
)
@settings(max_examples=80, deadline=None)
def test_pcapng_round_trip_of_any_choice(tmp_path_factory, frames, picks, batch) -> None:
    base = tmp_path_factory.getbasetemp()
    source, target = base / "choice.in", base / "choice.pcapng"
    source.write_bytes(pcapng(frames))
    expected: list[Frame] = []
    with open_capture(source) as reader, CaptureWriter(target) as writer:
        start = 0
        for found in reader.batches(batch):
            indices = [pick % len(found) for pick in picks]
            assert writer.write(found, np.array(indices, np.int64)) == len(indices)
            expected += [frames[start + i] for i in indices]
            start += len(found)
    assert writer.frames == len(expected)
    assert read(target) == (expected, None)


def test_mask_indices_and_nothing(tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out.pcap"
    source.write_bytes(pcap(FRAMES))
    mask = np.array([i % 3 == 0 for i in range(len(FRAMES))])
    with open_capture(source) as reader, CaptureWriter(target) as writer:
        batch = next(iter(reader))
        assert writer.write(batch, mask) == 4
        assert writer.write(batch, []) == 0
        assert writer.write(batch, [5, 1]) == 2
        for wrong in ([12], [-1]):
            with pytest.raises(OutputError, match="not in the batch"):
                writer.write(batch, wrong)
        for shape in (mask[:3], [[1]], [0.5]):
            with pytest.raises(ValueError):
                writer.write(batch, shape)
    frames, fault = read(target)
    assert fault is None
    assert frames == [*FRAMES[::3], FRAMES[5], FRAMES[1]]


def test_batch_that_points_outside_its_data_is_refused(tmp_path: Path) -> None:
    batch = Batch(
        np.zeros(10, np.uint8),
        np.array([0, 2**64 - 1], np.uint64),
        np.array([10, 5], np.uint32),
        np.array([10, 5], np.uint32),
        np.array([1, 2], np.uint64),
        np.array([1, 1], np.uint16),
    )
    with CaptureWriter(tmp_path / "out.pcap") as writer:
        with pytest.raises(OutputError, match="frame 1 is not in the batch"):
            writer.write(batch)
        batch.caplen = batch.caplen[:1]
        with pytest.raises(ValueError, match="length"):
            writer.write(batch)


def test_without_frames_the_file_is_still_a_capture(tmp_path: Path) -> None:
    for name in ("none.pcap", "none.pcapng"):
        CaptureWriter(tmp_path / name, linktype=RAW).close()
        assert read(tmp_path / name) == ([], None)
        with open_capture(tmp_path / name) as reader:
            assert reader.linktypes == ((RAW,) if name == "none.pcap" else ())


def test_second_link_type_needs_pcapng(tmp_path: Path) -> None:
    frames = [(1, b"one", 3, ETHERNET), (2, b"two", 3, RAW), (3, b"three", 5, ETHERNET)]
    source = tmp_path / "in"
    source.write_bytes(pcapng(frames))
    with pytest.raises(OutputError, match=r"out\.pcap: .*link type 101.*name the output .pcapng"):
        copy(source, tmp_path / "out.pcap")
    assert read(tmp_path / "out.pcap") == (frames[:1], None)
    copy(source, tmp_path / "out.pcapng")
    assert read(tmp_path / "out.pcapng") == (frames, None)


def test_time_past_2106_is_held_in_a_pcap(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.write_bytes(pcapng([(2**63 - 1, b"late", 4, 1)]))
    copy(source, tmp_path / "out.pcap")
    assert read(tmp_path / "out.pcap")[0][0][0] == (2**32 - 1) * 10**9 + 999_999_999


def test_output_over_the_input_is_refused(tmp_path: Path) -> None:
    source, alias = tmp_path / "in.pcap", tmp_path / "alias.pcap"
    source.write_bytes(pcap(FRAMES))
    alias.symlink_to(source)
    with pytest.raises(OutputError, match="capture being read"):
        CaptureWriter(alias, inputs=[source])
    assert read(source) == (FRAMES, None)


def test_paths_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="make the directory first"):
        CaptureWriter(tmp_path / "absent" / "out.pcap")
    with pytest.raises(OutputError, match="name a file in it"):
        CaptureWriter(tmp_path)


def test_use_after_close(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.write_bytes(pcap(FRAMES))
    with open_capture(source) as reader:
        batch = next(iter(reader))
        writer = CaptureWriter(tmp_path / "out.pcap")
        writer.close()
        writer.close()
        with pytest.raises(OutputError, match="closed"):
            writer.write(batch)


def test_full_disk(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    source = tmp_path / "in"
    source.write_bytes(pcap(FRAMES))
    with pytest.raises(OutputError, match=r"/dev/full: .*No space left.*free some space"):
        copy(source, Path("/dev/full"))


LIMITED = """
import sys
from nsdata.capture import CaptureWriter, open_capture
from nsdata.errors import OutputError
with open_capture(sys.argv[1]) as reader:
    try:
        with CaptureWriter(sys.argv[2]) as writer:
            for batch in reader:
                writer.write(batch)
    except OutputError as error:
        print(error)
"""


@pytest.mark.parametrize("limit", [0, 10, 24, 28, 60, 61, 100, 1_048_576, 1_300_001, 2_097_160])
@pytest.mark.parametrize("name", ["out.pcap", "out.pcapng"])
def test_file_ends_behind_a_whole_packet_when_the_disk_fails(
    tmp_path: Path, name: str, limit: int
) -> None:
    frames = [(i, bytes([i % 256]) * (i % 700), i % 700, 1) for i in range(8000)]
    source, target = tmp_path / "in", tmp_path / name
    source.write_bytes(pcap(frames))

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(source), str(target)],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=limited,
    )
    assert str(target) in done.stdout and "size limit" in done.stdout
    size = target.stat().st_size
    assert size <= limit
    if size >= 28:
        found, fault = read(target)
        assert fault is None
        assert found == frames[: len(found)]
        following = frames[len(found)][1]
        assert limit - size < len(following) + 3 + 32 + 32  # nothing that fitted is missing


def test_info(tmp_path: Path) -> None:
    frames = [(30, b"123", 9, 1), (10, b"1234", 4, RAW), (20, b"", 2, 1), (15, b"5", 5, 1)]
    path = tmp_path / "some.pcapng"
    path.write_bytes(pcapng(frames, ">") + b"\6\0\0")
    info = capture_info(path)
    assert (info.format, info.byte_order, info.compression) == ("pcapng", "big", None)
    assert (info.frames, info.captured_bytes, info.wire_bytes) == (4, 8, 20)
    assert (info.first_ns, info.last_ns, info.duration_ns) == (10, 30, 20)
    assert (info.backwards, info.shortened, info.mean_size) == (2, 3, 5.0)
    assert info.frames_by_linktype == {1: 3, RAW: 1}
    assert [i.linktype for i in info.interfaces] == [1, RAW]
    assert info.truncated
    assert info.error is not None and "ends inside this block" in info.error
    assert info.error_offset == path.stat().st_size - 3
    path.write_bytes(pcap([]))
    info = capture_info(path)
    assert (info.frames, info.first_ns, info.duration_ns, info.mean_size) == (0, None, 0, 0.0)
    assert info.error is None and not info.truncated


def test_time_going_backwards_between_batches_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "long.pcap"
    path.write_bytes(pcap([(5 if i < 4096 else 3, b"", 0, 1) for i in range(5000)]))
    assert capture_info(path).backwards == 1
