"""Reading what is not whole: cuts at every byte, damage, compression, memory."""

from __future__ import annotations

import gzip
import os
import random
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from capture_builders import (
    ETHERNET,
    USEC,
    Frame,
    block,
    enhanced,
    interface,
    pcap,
    pcapng,
    read,
    section,
)

from nsdata.capture import open_capture
from nsdata.errors import CaptureError

FRAMES: list[Frame] = [
    (1_600_000_000_123_456_000 + i * 1_000_000, bytes(range(i * 5)), i * 5 + i % 3, ETHERNET)
    for i in range(9)
]


@pytest.fixture
def file(tmp_path: Path) -> Callable[[bytes], Path]:
    def write(data: bytes) -> Path:
        path = tmp_path / "a capture"
        path.write_bytes(data)
        return path

    return write


def test_corrupt_length_in_pcap(file) -> None:
    data = bytearray(pcap(FRAMES))
    at = 24 + sum(16 + len(frame[1]) for frame in FRAMES[:4])
    struct.pack_into("<I", data, at + 8, 262145)
    frames, fault = read(file(bytes(data)))
    assert frames == FRAMES[:4]
    assert fault is not None and fault.offset == at and "262145" in fault.reason


def zst(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


CONTAINERS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda data: data,
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "gzip members": lambda d: gzip.compress(d[:100]) + gzip.compress(d[100:]) + b"\0" * 9,
    "zstd": zst,
    "zstd frames": lambda d: b"\x55\x2a\x4d\x18\3\0\0\0abc" + zst(d[:100]) + zst(d[100:]),
}
SOME = pcapng(FRAMES[:4], "<") + section(">") + interface(">") + enhanced(">", 0, 5, b"swapped")


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("inner", ["pcap", "pcapng"])
def test_cut_at_every_byte(file, container: str, inner: str) -> None:
    whole = pcap(FRAMES[:5]) if inner == "pcap" else SOME
    data = CONTAINERS[container](whole)
    expected, fault = read(file(data))
    assert fault is None and len(expected) == 5
    counts = []
    for cut in range(len(data)):
        frames, fault = read(file(data[:cut]))
        assert frames == expected[: len(frames)]
        counts.append(len(frames))
        if fault is not None:
            assert fault.offset is not None
            assert 0 <= fault.offset <= len(whole)
            if container == "plain" and fault.offset:
                assert fault.offset <= cut
                # Everything before the fault had been read.
                assert read(file(data[: fault.offset]))[0] == frames
        elif container == "plain":  # between two packets, or two blocks
            assert frames == expected[: len(frames)]
        elif "members" not in container and "frames" not in container:
            pytest.fail(f"cut at {cut} of {len(data)} went unseen")
    assert counts == sorted(counts)
    if container == "plain":
        assert set(counts) == {0, 1, 2, 3, 4} | ({5} if inner == "pcapng" else set()) - {5}


@pytest.mark.parametrize("container", ["plain", "gzip", "zstd"])
@pytest.mark.parametrize("inner", ["pcap", "pcapng"])
def test_flipped_bytes_never_crash(file, container: str, inner: str) -> None:
    rng = random.Random(f"{container} {inner}")
    data = CONTAINERS[container](pcap(FRAMES) if inner == "pcap" else SOME)
    for _ in range(400):
        broken = bytearray(data)
        for _ in range(rng.choice([1, 1, 2, 8])):
            broken[rng.randrange(len(broken))] = rng.randrange(256)
        frames, fault = read(file(bytes(broken)), rng.choice([1, 3, 4096]))
        for ts, *_ in frames:
            assert ts < 2**63
        if fault is not None:
            assert fault.offset is not None and fault.offset >= 0


def test_damaged_gzip_gives_what_came_before(file) -> None:
    rng = random.Random(1)
    frames = [(i, rng.randbytes(900), 900, 1) for i in range(400)]
    data = bytearray(gzip.compress(pcap(frames)))
    data[-8] ^= 1  # the checksum: everything is there, and not to be trusted
    found, fault = read(file(bytes(data)))
    assert found == frames
    assert fault is not None and "gzip" in fault.reason
    data = bytearray(zst(pcap(frames)))
    data[-1] ^= 1
    found, fault = read(file(bytes(data)))
    assert found == frames
    assert fault is not None and "zstd" in fault.reason


@pytest.mark.parametrize("container", ["gzip", "zstd"])
def test_garbage_behind_compressed_data(file, container: str) -> None:
    found, fault = read(file(CONTAINERS[container](pcap(FRAMES)) + b"garbage"))
    assert found == FRAMES
    assert fault is not None and f"not {container} follows" in fault.reason


@pytest.mark.parametrize("container", CONTAINERS)
def test_compressed_capture_longer_than_the_buffer(file, container: str) -> None:
    rng = random.Random(2)
    frames = [(i, rng.randbytes(200) * (i % 60), i % 60 * 200, 1) for i in range(1500)]
    assert read(file(CONTAINERS[container](pcap(frames))), 1000) == (frames, None)
    with open_capture(file(CONTAINERS[container](pcapng(frames)))) as reader:
        assert sum(len(batch) for batch in reader) == 1500
        assert reader.position_bytes == reader.size_bytes


def test_block_longer_than_the_buffer(file) -> None:
    data = section() + block("<", 0x0BAD, b"x" * 9_000_000) + interface()
    data += enhanced("<", 0, 1, b"behind")
    for container in ("plain", "gzip", "zstd"):
        assert read(file(CONTAINERS[container](data))) == ([(1000, b"behind", 6, 1)], None)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"\xd4", "too short"),
        (b"\xd4\xc3\xb2\xa1\2\0\4", "ends inside its header: 7 bytes of 24"),
        (b"alert tcp any any -> any any (sid:1;)\n", "rule file"),
        (b"hello\nworld\n", "text file"),
        (b'{"event_type": "alert"}\n', "JSON"),
        (b"<html>", "XML or HTML"),
        (b"\x7fELF\2\1\1", "a program"),
        (b"\xfd7zXZ\0\0", "xz -d"),
        (b"snoop\0\0\0\0\0\0\2", "editcap"),
        (b"\0" * 100, "zeros"),
        (b"\1\2\3\4\5", "begins with 01 02 03 04"),
        (struct.pack("<IHHiIII", USEC, 3, 1, 0, 0, 0, 1), "version 3.1"),
        (gzip.compress(b"just text", mtime=0), "inside the gzip data: this looks like a text file"),
        (gzip.compress(b"", mtime=0), "there is nothing"),
        (zst(b'{"a": 1}'), "inside the zstd data: this looks like JSON"),
        (b"\x1f\x8b", "ends early"),
        (b"\x1f\x8b\x07 no gzip", "damaged"),
        (b"\x28\xb5\x2f\xfd", "ends early"),
        (b"\x28\xb5\x2f\xfd\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "damaged"),
    ],
)
def test_what_is_not_a_capture(file, data: bytes, says: str) -> None:
    path = file(data)
    with pytest.raises(CaptureError, match="a capture") as caught:
        open_capture(path)
    assert says in str(caught.value)
    assert caught.value.offset is not None


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="no such file"):
        open_capture(tmp_path / "absent.pcap")
    with pytest.raises(CaptureError, match="directory"):
        open_capture(tmp_path)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(CaptureError, match="regular file"):
        open_capture(fifo)
    with pytest.raises(CaptureError, match="zero byte"):
        open_capture("a\0b")
    locked = tmp_path / "locked.pcap"
    locked.write_bytes(pcap(FRAMES))
    locked.chmod(0)
    if os.geteuid() != 0:
        with pytest.raises(CaptureError, match="permission denied"):
            open_capture(locked)


def test_file_that_shrinks_while_it_is_read(file) -> None:
    path = file(pcap([(i, b"x" * 1000, 1000, 1) for i in range(1000)]))
    with open_capture(path) as reader:
        batches = reader.batches(10)
        next(batches)
        os.truncate(path, 50_000)
        with pytest.raises(CaptureError, match="shrank from 1016024 to 50000"):
            list(batches)


RSS = """
import resource, sys
import numpy as np
from nsdata.capture import open_capture
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
frames = total = 0
with open_capture(sys.argv[1]) as reader:
    batches = iter(reader)
    next(batches)
    before = peak()
    for batch in batches:
        frames += len(batch)
        first = int(batch.offset[0])
        total += int(batch.data[first : first + 1_000_000 : 4096].sum())
        for start in batch.offset[::1].tolist():
            total += int(batch.data[start])
print(frames, peak() - before)
"""


@pytest.mark.parametrize("container", ["plain", "gzip", "zstd"])
def test_memory_does_not_grow_with_the_capture(tmp_path: Path, container: str) -> None:
    path = tmp_path / "long"
    record = pcap([(10**9, b"\1" * 1484, 1484, 1)])[24:]
    piece = record * 10_000
    header = pcap([])
    if container == "plain":
        with path.open("wb") as out:
            out.write(header)
            for _ in range(14):
                out.write(piece)
    elif container == "gzip":
        path.write_bytes(gzip.compress(header) + gzip.compress(piece) * 14)
    else:
        path.write_bytes(zst(header) + zst(piece) * 14)
    done = subprocess.run(
        [sys.executable, "-c", RSS, str(path)], capture_output=True, text=True, check=True
    )
    frames, grown = done.stdout.split()
    assert int(frames) > 130_000  # 210 MB
    assert float(grown) < 32


def test_bomb_does_not_eat_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb"
    once = gzip.compress(b"\0" * 50_000_000, 9)
    path.write_bytes(gzip.compress(pcap([])) + once * 4)
    done = subprocess.run(
        [sys.executable, "-c", RSS.replace("offset[::1]", "offset[::9999]"), str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    frames, grown = done.stdout.split()
    assert int(frames) > 12_000_000  # empty frames, one after another
    assert float(grown) < 32


def test_fuzz_seeds_are_read_the_same_in_windows_of_any_size(file) -> None:
    """A seed compressed goes through the sliding buffer, plain through the mapping."""
    seeds = sorted((Path(__file__).parents[1] / "fuzz/corpus/capture").iterdir())
    assert seeds
    for seed in seeds:
        data = seed.read_bytes()
        if not data:
            continue
        try:
            plain = outcome(file(data))
        except CaptureError as error:
            with pytest.raises(CaptureError) as caught:
                outcome(file(zst(data)))
            assert caught.value.offset == error.offset
        else:
            assert outcome(file(zst(data))) == plain, seed


def outcome(path: Path) -> tuple[list[Frame], str | None, int | None]:
    with open_capture(path):
        pass
    frames, fault = read(path, 3)
    return frames, fault and fault.reason, fault and fault.offset
