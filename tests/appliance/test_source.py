"""Sources: looped captures and a directory, their rate and their time stamps."""

import os
from itertools import pairwise
from pathlib import Path

import pytest
from capture_frames import write_capture

from nsdata.appliance.source import (
    BATCH,
    GAP_NS,
    LATEST_NS,
    RETRY_NS,
    SAID,
    SAY_NS,
    DirectorySource,
    Failures,
    LoopSource,
    Pace,
    Source,
    is_capture,
)
from nsdata.errors import CaptureError, SettingError

MS = 1_000_000
FRAME = bytes(60)


def capture(path: Path, frames: int, first_ns: int = 1_000 * MS) -> Path:
    return write_capture(path, [FRAME] * frames, [first_ns + i * MS for i in range(frames)])


def taken(source: Source, now_ns: int, rounds: int = 20) -> list[int]:
    """The time stamps of what is due now."""
    stamps: list[int] = []
    for _ in range(rounds):
        batch = source.next(now_ns)
        if batch is not None:
            stamps += [int(at) for at in batch.ts_ns]
    return stamps


def test_time_goes_on_from_loop_to_loop(tmp_path: Path) -> None:
    one, two = capture(tmp_path / "a.pcap", 3), capture(tmp_path / "b.pcap", 2, 10 * MS)
    source = LoopSource([str(one), str(two)], loops=2)
    stamps = taken(source, 0)
    assert len(stamps) == 10 and source.ended and source.last_ns == stamps[-1]
    gaps = [b - a for a, b in pairwise(stamps)]
    assert gaps == [MS, MS, GAP_NS, MS, GAP_NS, MS, MS, GAP_NS, MS]


def test_it_goes_on_where_another_source_ended(tmp_path: Path) -> None:
    path = str(capture(tmp_path / "a.pcap", 2))
    source = LoopSource([path], loops=1, after_ns=10**18)
    assert taken(source, 0) == [10**18 + GAP_NS, 10**18 + GAP_NS + MS]


def test_a_rate_is_kept_and_what_was_missed_is_not_made_up_for() -> None:
    pace = Pace(1000)
    assert pace.wait_ns(0) == 0
    pace.took(BATCH)
    assert pace.wait_ns(0) == BATCH * MS
    assert pace.wait_ns(BATCH * MS) == 0
    assert pace.wait_ns(10**12) == 0  # stopped for a quarter of an hour
    pace.took(1)
    assert pace.wait_ns(10**12) == MS
    with pytest.raises(SettingError, match="0 to 1e9 is legal"):
        Pace(-1)


def test_captures_without_a_frame_end_it(tmp_path: Path) -> None:
    source = LoopSource([str(capture(tmp_path / "a.pcap", 0))])
    with pytest.raises(CaptureError, match="no capture holds a frame"):
        taken(source, 0)
    assert source.ended and source.next(0) is None


def test_a_directory_is_read_as_it_is_filled(tmp_path: Path) -> None:
    capture(tmp_path / "b.pcap", 2)
    capture(tmp_path / "a.pcap", 1)
    capture(tmp_path / "c.pcap.part", 1)
    source = DirectorySource(tmp_path)
    assert len(taken(source, 0)) == 3
    assert source.wait_ns(1) > 0
    (tmp_path / "c.pcap.part").rename(tmp_path / "c.pcap")
    assert len(taken(source, 10**9)) == 1
    assert taken(source, 2 * 10**9) == []  # each is read once
    assert not source.ended


def test_a_capture_that_is_none_is_told_and_the_next_one_read(tmp_path: Path) -> None:
    (tmp_path / "a.pcap").write_bytes(b"nothing of the kind, at some length")
    capture(tmp_path / "b.pcap", 2)
    source = DirectorySource(tmp_path)
    with pytest.raises(CaptureError, match=r"a\.pcap"):
        taken(source, 0)
    assert len(taken(source, 0)) == 2


@pytest.mark.parametrize(
    ("name", "yes"), [("a.pcap", True), ("a.pcapng.gz", True), ("a.cap.zst", True),
                      ("a.pcap.part", False), ("eve.json", False), (".gz", False)],
)  # fmt: skip
def test_names_of_captures(name: str, yes: bool) -> None:
    assert is_capture(name) is yes


def test_a_fifo_among_captures_is_told_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.pcap")
    capture(tmp_path / "b.pcap", 2)
    source = DirectorySource(tmp_path)
    with pytest.raises(CaptureError, match=r"a\.pcap: not a regular file"):
        taken(source, 0)
    assert len(taken(source, 0)) == 2


def test_a_directory_that_is_none() -> None:
    with pytest.raises(SettingError, match="is no directory"):
        DirectorySource("/nowhere/at/all")


def test_another_rate_may_be_offered_and_nothing(tmp_path: Path) -> None:
    source = LoopSource([str(capture(tmp_path / "a.pcap", 1000))], rate=1000)
    assert len(taken(source, 0)) == BATCH
    assert source.wait_ns(0) == BATCH * MS
    source.offer(None)
    assert taken(source, 10**12) == [] and source.wait_ns(10**12) > 0
    source.offer(100)
    assert len(taken(source, 10**12)) == BATCH
    assert source.wait_ns(10**12) == BATCH * 10 * MS


def torn(path: Path, frames: int) -> Path:
    """Its last record is cut off."""
    with open(capture(path, frames), "ab") as file:
        file.write(b"\1" * 40)
    return path


def test_a_round_in_which_a_capture_failed_is_followed_by_a_wait(tmp_path: Path) -> None:
    source = LoopSource([str(torn(tmp_path / "a.pcap", 3)), str(capture(tmp_path / "b.pcap", 2))])
    assert len(source.next(0) or []) == 3
    with pytest.raises(CaptureError, match=r"a\.pcap"):
        source.next(0)
    assert len(taken(source, 0)) == 2
    assert source.wait_ns(0) == RETRY_NS and source.next(RETRY_NS - 1) is None
    assert source.wait_ns(RETRY_NS) == 0
    assert len(source.next(RETRY_NS) or []) == 3
    assert not source.ended


def test_a_directory_that_goes_is_looked_for_ever_less_often(tmp_path: Path) -> None:
    where = tmp_path / "in"
    where.mkdir()
    source = DirectorySource(where)
    assert taken(source, 0) == []
    where.rmdir()
    now, waits = 10**9, []
    for _ in range(8):
        with pytest.raises(CaptureError, match="cannot be listed"):
            source.next(now)
        waits.append(source.wait_ns(now))
        now += waits[-1]
    assert [wait // MS for wait in waits] == [100, 200, 400, 800, 1600, 3200, 5000, 5000]
    where.mkdir()
    capture(where / "a.pcap", 2)
    assert len(taken(source, now)) == 2


def test_the_same_failure_is_told_once_a_second_with_a_count() -> None:
    failures = Failures()
    assert [failures.add("a", now) for now in range(10)] == [1] + [0] * 9
    assert failures.add("b", 10) == 10
    assert [failures.add("a", 11), failures.add("b", 12)] == [0, 0]
    assert failures.add("a", SAY_NS) == 3
    told = [failures.add(f"capture {i}", SAY_NS + 1) for i in range(1000)]
    assert sum(map(bool, told)) == SAID - 1


def test_time_never_runs_back_whatever_captures_say(tmp_path: Path) -> None:
    """Stamps of the last second that fits, then of 1970, and so on for many rounds."""
    second, last = 10**9, 4_294_967_295 * 10**9
    paths = [
        str(write_capture(tmp_path / f"{i}.pcap", [FRAME] * len(stamps), stamps))
        for i, stamps in enumerate([[second, 2 * second], [last, 0, 0], [5, 0, last], [second]])
    ]
    source = LoopSource(paths, loops=5)
    stamps = taken(source, 0, rounds=100)
    assert len(stamps) == 45 and stamps == sorted(stamps)
    assert stamps[:6] == [second, 2 * second, *[2 * second + GAP_NS] * 3, 2 * second + 2 * GAP_NS]
    assert stamps[-1] == source.last_ns == LATEST_NS


@pytest.mark.parametrize("after_ns", [LATEST_NS, 18_446_744_071_000_000_000])
def test_a_clock_beyond_the_latest_is_not_carried_over(tmp_path: Path, after_ns: int) -> None:
    source = LoopSource([str(capture(tmp_path / "a.pcap", 2))], loops=1, after_ns=after_ns)
    assert taken(source, 0) == [LATEST_NS, LATEST_NS]
