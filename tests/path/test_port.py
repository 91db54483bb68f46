"""The port, its rings and status pages: nothing is lost, whatever the other side does."""

import gc
import mmap
import os
import signal
import struct
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nsdata.errors import EngineError
from nsdata.fallback.ledger import Count, LedgerSnapshot, Why
from nsdata.path.port import FULL_SHARE, PENDING, Port
from nsdata.path.port_segments import Segments
from nsdata.path.ring import LARGEST_FRAME, Ring, ring_bytes
from nsdata.path.status import COUNTERS, PAGE_BYTES, StatusPage

SLOTS, FRAMES = 4, 8
ROOM = LARGEST_FRAME
FALLBACK = 1  # the mode


def memory(size: int) -> mmap.mmap:
    return mmap.mmap(-1, size)


def make_ring(slots: int = SLOTS, frames: int = FRAMES) -> tuple[Ring, Ring]:
    """The port's side and the worker's."""
    front, back = (memory(size) for size in ring_bytes(slots, frames, ROOM))
    return Ring(front, back, slots, frames, ROOM), Ring(front, back)


def frame(src: int, dst: int, size: int = 60) -> bytes:
    addresses = bytes([10, 0, src >> 8, src & 255]), bytes([10, 1, dst >> 8, dst & 255])
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, size - 14, 0, 0, 64, 17, 0, *addresses)
    return (bytes(12) + b"\x08\x00" + ip + b"\x00\x35\x00\x35\x00\x00\x00\x00").ljust(size, b"x")


def offer(port: Port, frames: list[bytes], **options: int) -> np.ndarray:
    lengths = np.array([len(f) for f in frames], np.uint32)
    offset = np.zeros(len(frames), np.uint64)
    offset[1:] = np.cumsum(lengths[:-1])
    fate = np.zeros(len(frames), np.uint8)
    port.offer(
        np.frombuffer(b"".join(frames), np.uint8), offset, lengths, lengths,
        np.arange(len(frames), dtype=np.uint64), np.ones(len(frames), np.uint16), fate, **options,
    )  # fmt: skip
    return fate


def judge(ring: Ring) -> list[bytes]:
    """A worker that inspects a slot; its frames."""
    slot = ring.take()
    assert slot is not None
    data, offset, caplen, wirelen, _, _, verdicts = slot
    verdicts[:] = 0
    packets, size = [0] * len(Why), [0] * len(Why)
    packets[Why.INSPECTED], size[Why.INSPECTED] = len(offset), int(wirelen.sum())
    frames = [bytes(data[o : o + n]) for o, n in zip(offset, caplen, strict=True)]
    ring.hand_back(packets, size)
    return frames


def frames_of(slots: list) -> list[bytes]:
    """The frames of slots that were collected or left."""
    return [bytes(data[o : o + n]) for data, offset, caplen, *_ in slots
            for o, n in zip(offset, caplen, strict=True)]  # fmt: skip


def ledger(port: Port) -> LedgerSnapshot:
    found = LedgerSnapshot.from_counts(*port.counts())
    found.check()
    return found


def test_frames_go_through_in_order() -> None:
    port, (mine, theirs) = Port(1), make_ring()
    port.attach(0, mine)
    sent = [frame(i, 7, 60 + i) for i in range(20)]
    assert (offer(port, sent) == PENDING).all()
    port.flush()
    got = [one for _ in range(3) for one in judge(theirs)]
    assert got == sent and theirs.take() is None
    assert port.holding == (20, sum(map(len, sent)))
    out = [bytes(data[o : o + n]) for data, offset, caplen, *_ in port.collect(0)
           for o, n in zip(offset, caplen, strict=True)]  # fmt: skip
    assert out == sent and port.holding == (0, 0)
    assert ledger(port).inspected == (20, sum(map(len, sent)))


def test_with_no_slot_free_frames_are_lost_or_permitted() -> None:
    port, (mine, _) = Port(1), make_ring()
    port.attach(0, mine)
    fate = offer(port, [frame(1, 2)] * (SLOTS * FRAMES + 5))
    assert (fate[:-5] == PENDING).all() and (fate[-5:] == Why.OVERSUBSCRIBED).all()
    assert (offer(port, [frame(1, 2)] * 3, best_effort=1) == Why.BEST_EFFORT).all()
    found = ledger(port)
    assert found.lost.packets == 5 and found.bypassed.packets == 3


def test_a_segment_that_blocks_has_no_best_effort() -> None:
    """Its frames wait for a queue that is too slow, and are lost when it is full."""
    port, (mine, _) = Port(1), make_ring()
    port.attach(0, mine)
    port.block(1)
    fate = offer(port, [frame(1, 2)] * (SLOTS * FRAMES + 5), best_effort=1, passing=1)
    assert (fate[:-5] == PENDING).all() and (fate[-5:] == Why.OVERSUBSCRIBED).all()
    port.block(0)
    assert (offer(port, [frame(1, 2)] * 3, best_effort=1) == Why.BEST_EFFORT).all()
    assert (offer(port, [frame(1, 2)] * 2, passing=1) == Why.BEST_EFFORT).all()
    assert port.exposure()[0][0] == 5  # and they count as exposed


def test_frames_of_a_queue_that_is_too_slow_pass() -> None:
    """Those of the workers named, and of no other."""
    port = Port(2)
    for worker in (0, 1):
        port.attach(worker, make_ring()[0])
    frames = [frame(i, i + 1) for i in range(20)]
    everywhere = offer(port, frames, passing=0b11)
    assert (everywhere == Why.BEST_EFFORT).all()
    first = offer(port, frames, passing=0b01)
    port.detach(0)
    without = offer(port, frames)
    assert ((first == Why.BEST_EFFORT) == (without == Why.WORKER)).all()
    assert 0 < (first == PENDING).sum() < 20


def test_what_waits_is_told_by_the_clock_of_the_host() -> None:
    """Where it sets one; else CLOCK_MONOTONIC."""
    port, (mine, theirs) = Port(1), make_ring()
    port.attach(0, mine)
    port.now_ns = 1000
    offer(port, [frame(1, 2)])
    port.flush()
    port.now_ns = 51_000
    assert port.waiting_ns(0) == 50_000
    judge(theirs)
    assert port.waiting_ns(0) == 0
    port.collect(0)
    port.now_ns = 0
    offer(port, [frame(1, 2)])
    port.flush()
    before = port.waiting_ns(0)
    time.sleep(0.002)
    assert port.waiting_ns(0) >= before + 2_000_000


def test_a_failed_worker_loses_nothing() -> None:
    """What it handed back stands, what it did not is permitted; so is what comes after."""
    port, (mine, theirs) = Port(1), make_ring()
    port.attach(0, mine)
    sent = [frame(1, i) for i in range(3 * FRAMES + 2)]
    offer(port, sent)
    port.flush()
    judge(theirs)
    theirs.take()  # and dies
    assert len(port.collect(0)) == 1
    left = port.detach(0)
    assert [slot[1].size for slot in left] == [FRAMES, FRAMES, 2]
    assert frames_of(left) == sent[FRAMES:]
    assert (offer(port, [frame(1, 2)] * 4) == Why.WORKER).all()
    found = ledger(port)
    assert found.why(Why.INSPECTED).packets == FRAMES
    assert found.why(Why.WORKER).packets == 2 * FRAMES + 6
    mine, theirs = make_ring()
    port.attach(0, mine)
    offer(port, [frame(1, 2)])
    port.flush()
    assert len(judge(theirs)) == 1 and len(port.collect(0)) == 1
    assert not port.detach(0) and port.holding == (0, 0)


def test_slots_outlive_their_ring() -> None:
    """A slot that was let go of is memory still: rings go before what they held is forwarded."""
    port, (mine, theirs) = Port(1), make_ring()
    port.attach(0, mine)
    sent = [frame(1, i) for i in range(FRAMES)]
    offer(port, sent)
    left = port.detach(0)
    del port, mine, theirs
    gc.collect()
    assert frames_of(left) == sent


def test_a_mad_worker_is_found_out() -> None:
    port, (mine, theirs) = Port(1), make_ring()
    port.attach(0, mine)
    offer(port, [frame(1, 2)] * 3)
    port.flush()
    theirs.take()
    with pytest.raises(EngineError, match="2 frames were judged of a slot of 3"):
        theirs.hand_back([2] + [0] * (len(Why) - 1), [0] * len(Why))
    theirs.hand_back([3] + [0] * (len(Why) - 1), [1] + [0] * (len(Why) - 1))
    with pytest.raises(EngineError, match="accounts for 3 frames and 1 bytes"):
        port.collect(0)
    assert len(frames_of(port.detach(0))) == 3
    assert ledger(port).why(Why.WORKER).packets == 3


def test_the_modes_and_the_share() -> None:
    port, (mine, _) = Port(1), make_ring(64, 64)
    port.attach(0, mine)
    many = [frame(i, i + 1) for i in range(2000)]
    assert (offer(port, many, mode=FALLBACK) == Why.FALLBACK).all()
    port.block(1)
    assert (offer(port, many, mode=FALLBACK) == Why.FALLBACK_BLOCK).all()
    assert (offer(port, many, share=0) == Why.FALLBACK_BLOCK).all()
    port.block(0)
    assert (offer(port, many, share=0) == Why.SHARE).all()
    tenth = offer(port, many, share=FULL_SHARE // 10) == PENDING
    assert 120 < tenth.sum() < 290
    half = offer(port, many, share=FULL_SHARE // 2) == PENDING
    assert (half | ~tenth).all()  # who was inside stays
    found = ledger(port)
    assert found.blocked.packets == 4000 and found.why(Why.FALLBACK).packets == 2000


@given(st.integers(0, 65535), st.integers(0, 65535), st.integers(1, 8))
@settings(max_examples=60, deadline=None)
def test_both_directions_go_to_one_worker(a: int, b: int, workers: int) -> None:
    port, rings = Port(workers, seed=5), []
    for i in range(workers):
        mine, theirs = make_ring()
        port.attach(i, mine)
        rings.append(theirs)
    forth = frame(a, b)
    back = forth[:26] + forth[30:34] + forth[26:30] + forth[34:]
    offer(port, [forth, back])
    port.flush()
    assert sorted(r.waiting for r in rings) == [0] * (workers - 1) + [1]


@given(st.lists(st.tuples(st.sampled_from("ojjcdapb"), st.integers(0, 40)), max_size=60))
@settings(max_examples=150, deadline=None)
def test_every_frame_is_counted_once(steps: list[tuple[str, int]]) -> None:
    """Whatever happens in whatever order: received = held + what became of the others."""
    port, workers = Port(2, 0, Segments([((), [(4, bytes([10, 0, 0, 0]), 28)])])), 2
    rings: list[Ring | None] = [None] * workers
    received = 0
    for what, n in steps:
        which = n % workers
        ring = rings[which]
        if what == "o":
            offer(port, [frame(n, i) for i in range(1 + n)])
            received += 1 + n
        elif what == "p":
            offer(port, [frame(n, i) for i in range(1 + n)], mode=FALLBACK)
            received += 1 + n
        elif what == "j" and ring is not None:
            port.flush()
            if ring.waiting:
                judge(ring)
        elif what == "b":
            port.block(n % 4)
        elif what == "c":
            port.collect(which)
        elif what == "d":
            port.collect(which)
            port.detach(which)
            rings[which] = None
        elif what == "a" and ring is None:
            mine, rings[which] = make_ring()
            port.attach(which, mine)
        assert ledger(port).received.packets + port.holding[0] == received
        assert ledger(port).received.bytes + port.holding[1] == received * 60
        exposed = np.sum(port.exposure(), axis=0)
        blocked, passed = ledger(port).why(Why.FALLBACK_BLOCK), Count()
        for why in (Why.FALLBACK, Why.SHARE, Why.WORKER):
            passed = passed + ledger(port).why(why)
        assert (*passed, *blocked) == tuple(exposed)


def test_wrong_use_is_refused() -> None:
    with pytest.raises(EngineError, match="1 to 64 workers"):
        Port(0)
    port, (mine, _) = Port(1), make_ring()
    with pytest.raises(EngineError, match="no worker 1"):
        port.attach(1, mine)
    port.attach(0, mine)
    with pytest.raises(EngineError, match="detach it first"):
        port.attach(0, make_ring()[0])
    offer(port, [frame(1, 2)])
    port.detach(0)
    with pytest.raises(EngineError, match="not used again"):
        port.attach(0, mine)
    short = np.zeros(1, np.uint32)
    with pytest.raises(EngineError, match="outside of the 4 bytes"):
        times, links, fate = np.zeros(1, np.uint64), np.ones(1, np.uint16), np.zeros(1, np.uint8)
        at = np.array([3], np.uint64)
        port.offer(np.zeros(4, np.uint8), at, short + 2, short + 2, times, links, fate)
    with pytest.raises(EngineError, match="power of two"):
        ring_bytes(3, 8, ROOM)
    with pytest.raises(EngineError, match="no ring of this version"):
        Ring(memory(4096), memory(4096))


def test_a_worker_cannot_write_frames() -> None:
    mine, theirs = make_ring()
    port = Port(1)
    port.attach(0, mine)
    offer(port, [frame(1, 2)])
    port.flush()
    slot = theirs.take()
    assert slot is not None
    with pytest.raises(ValueError, match="read-only"):
        slot[0][0] = 1


# --- status pages ---------------------------------------------------------------------------


def test_what_is_published_is_read() -> None:
    shared = memory(PAGE_BYTES)
    page, reader = StatusPage(shared, create=True), StatusPage(shared)
    assert reader.beat_ns == 0 and reader.read()[0] == 0 and reader.pid == 0
    page.enter()
    assert reader.pid == os.getpid() and time.monotonic_ns() - reader.beat_ns < 1_000_000_000
    page.publish(np.arange(5, dtype=np.uint64))
    at_ns, counters = reader.read()
    assert at_ns and counters[:6].tolist() == [0, 1, 2, 3, 4, 0] and reader.beats == 2
    page.beat()
    assert reader.beats == 3
    with pytest.raises(EngineError, match="holds"):
        page.publish(np.zeros(COUNTERS + 1, np.uint64))
    with pytest.raises(EngineError, match="no status page"):
        StatusPage(memory(PAGE_BYTES))


def test_a_reader_gets_whole_copies_even_of_a_writer_that_is_killed() -> None:
    """All counters of a publication are alike; the writer is killed in the middle of one."""
    for _ in range(8):
        shared = memory(PAGE_BYTES)
        reader = StatusPage(shared, create=True)
        child = os.fork()
        if not child:
            page = StatusPage(shared)
            page.enter()
            value = np.zeros(COUNTERS, np.uint64)
            while True:
                value += 1
                page.publish(value)
        while reader.beats < 1000:
            pass
        for _ in range(200):
            counters = reader.read()[1]
            assert (counters == counters[0]).all()
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        at_ns, counters = reader.read()
        assert at_ns and (counters == counters[0]).all()
