"""Status pages: one writer, readers that see whole publications, whatever becomes of the writer."""

import mmap
import os
import signal
import time

import numpy as np
import pytest

from nsdata.errors import EngineError
from nsdata.path.status import COUNTERS, PAGE_BYTES, StatusPage


def memory() -> mmap.mmap:
    return mmap.mmap(-1, PAGE_BYTES)  # shared with children


def test_what_is_published_is_read() -> None:
    shared = memory()
    mine, theirs = StatusPage(shared, create=True), StatusPage(shared)
    assert (theirs.pid, theirs.beats, theirs.beat_ns, theirs.read()[0]) == (0, 0, 0, 0)
    before = time.monotonic_ns()
    mine.enter()
    mine.publish(np.array([1, 2, 3], np.uint64))
    at_ns, counters = theirs.read()
    assert before <= at_ns <= time.monotonic_ns()
    assert theirs.pid == os.getpid() and theirs.beats == 2 and theirs.beat_ns == at_ns
    assert counters[:3].tolist() == [1, 2, 3] and len(counters) == COUNTERS
    mine.beat()
    assert theirs.beats == 3 and theirs.read()[0] == at_ns


def test_limits_are_errors() -> None:
    page = StatusPage(memory(), create=True)
    with pytest.raises(EngineError, match="counters, not"):
        page.publish(np.zeros(COUNTERS + 1, np.uint64))
    with pytest.raises(EngineError, match="no status page"):
        StatusPage(memory())
    with pytest.raises(EngineError, match="aligned bytes"):
        StatusPage(bytearray(64))


def test_a_reader_sees_whole_publications_though_the_writer_is_killed() -> None:
    """All counters of a publication are one number; the writer is killed in the middle of it."""
    shared = memory()
    page = StatusPage(shared, create=True)
    for _ in range(5):
        child = os.fork()
        if not child:
            words = np.zeros(COUNTERS, np.uint64)
            while True:
                words += np.uint64(1)
                page.publish(words)
        end = time.monotonic() + 0.2
        seen = set()
        while time.monotonic() < end:
            try:
                _, counters = page.read()
            except EngineError:  # without a pause: this writer is mad
                continue
            assert len(set(counters.tolist())) == 1
            seen.add(int(counters[0]))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        _, counters = page.read()
        assert len(set(counters.tolist())) == 1
        assert len(seen) > 1
