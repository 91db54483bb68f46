"""Where a running appliance's frames come from: a capture looped at a rate, or a directory.

`next(now_ns)` gives what is due by then, or None; `wait_ns` how long nothing will be. The clock is
the caller's (CLOCK_MONOTONIC), time stamps go on from loop to loop and file to file, and from
`after_ns`, where another source ended.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from nsdata.capture import Batch, CaptureReader, open_capture
from nsdata.errors import CaptureError, SettingError

BATCH = 64  # frames at once: little enough to be spread evenly over time
LATE_NS = 100_000_000  # further behind than this, what was missed is not made up for
GAP_NS = 1_000_000  # between the last frame of a capture and the first of the next
LOOK_NS = 50_000_000  # between two looks into a directory
RETRY_NS = 100_000_000  # after a round of captures in which one failed, and a failed listing
LONGEST_NS = 5_000_000_000  # between two listings that fail
LATEST_NS = 1 << 62  # the last time stamp given (the year 2116), with room for durations after it
SAY_NS = 1_000_000_000  # between two words about the same failure
SAID = 8  # failures told in that time, at most
SUFFIXES = (".pcap", ".pcapng", ".cap")
PACKED = (".gz", ".zst")


class Source(Protocol):
    """What the port reads from."""

    def next(self, now_ns: int) -> Batch | None:
        """Frames that are due, valid until the next call. Raises CaptureError for a capture that
        cannot be read further: the next call goes on with the one after it."""

    def wait_ns(self, now_ns: int) -> int:
        """How long to wait before asking again; 0: something is due."""

    @property
    def ended(self) -> bool:
        """Nothing will come any more."""

    @property
    def last_ns(self) -> int:
        """The latest time stamp given; 0 before the first."""

    def offer(self, rate: float | None) -> None:
        """Another rate (frames a second) from now on; None: nothing."""

    def close(self) -> None:
        """Let go of the file being read."""


class _Stamps:
    """Time stamps that go on: each capture begins where the one before ended, and none runs back.

    Captures may say anything: from LATEST_NS on time stands still.
    """

    def __init__(self, after_ns: int) -> None:
        self.last = min(after_ns, LATEST_NS)
        self._first = self._base = 0  # what the first of this capture says, and is given
        self._begun = True

    def begin(self) -> None:
        """The next batch is the first of a capture."""
        self._begun = not self.last

    def put(self, batch: Batch) -> Batch:
        """The batch, its time stamps shifted."""
        if not len(batch):
            return batch
        says = np.minimum(batch.ts_ns, np.uint64(LATEST_NS)).astype(np.int64)
        if not self._begun:
            self._begun = True
            self._first, self._base = int(says[0]), min(self.last + GAP_NS, LATEST_NS)
        low, high = self.last - self._base, LATEST_NS - self._base
        given = np.clip(says - self._first, low, high) + self._base
        batch.ts_ns = np.maximum.accumulate(given).astype(np.uint64)
        self.last = int(batch.ts_ns[-1])
        return batch


class Failures:
    """Which failures are told: each at once, the same one again after SAY_NS, never many."""

    def __init__(self) -> None:
        self._texts: set[str] = set()  # told since
        self._until_ns = 0
        self._untold = 0

    def add(self, text: str, now_ns: int) -> int:
        """A failure: how many to tell of, this one the last; 0: not now."""
        self._untold += 1
        if now_ns >= self._until_ns:
            self._until_ns = now_ns + SAY_NS
            self._texts.clear()
        if text in self._texts or len(self._texts) >= SAID:
            return 0
        self._texts.add(text)
        untold, self._untold = self._untold, 0
        return untold


class Pace:
    """Frames by a stated rate, in frames a second; 0: as fast as they are taken."""

    def __init__(self, rate: float, *, paused: bool = False) -> None:
        if rate < 0 or rate > 1e9:
            raise SettingError(f"appliance.source.rate: {rate:g} packets/s; 0 to 1e9 is legal")
        self.rate = rate
        self.paused = paused  # nothing is due
        self._start: int | None = None
        self._sent = 0

    def wait_ns(self, now_ns: int) -> int:
        """How long until the next batch is due."""
        if self.paused:
            return LOOK_NS
        if not self.rate:
            return 0
        if self._start is None:
            self._start = now_ns
        due = self._start + int(self._sent / self.rate * 1e9)
        if now_ns - due > LATE_NS:  # stopped, or too slow: a wire does not wait either
            self._start, self._sent = now_ns, 0
            return 0
        return max(0, due - now_ns)

    def took(self, frames: int) -> None:
        """So many have been taken."""
        self._sent += frames


class _Reading:
    """A capture that is being read, at a rate; time stamps go on after `after_ns`."""

    def __init__(self, rate: float, after_ns: int) -> None:
        self._pace = Pace(rate)
        self._stamps = _Stamps(after_ns)
        self._reader: CaptureReader | None = None
        self._batches: Iterator[Batch] = iter(())

    def offer(self, rate: float | None) -> None:
        """Another rate from now on; None: nothing."""
        self._pace = Pace(rate or 0, paused=rate is None)

    @property
    def last_ns(self) -> int:
        """The latest time stamp given."""
        return self._stamps.last

    def _read(self, path: str) -> None:
        try:
            regular = stat.S_ISREG(os.stat(path).st_mode)
        except OSError as error:
            raise CaptureError(path, f"cannot be opened: {error.strerror}") from error
        if not regular:  # to open a FIFO would be to wait for its writer
            raise CaptureError(path, "not a regular file: an appliance reads captures only")
        self._stamps.begin()
        self._reader = open_capture(path)
        self._batches = self._reader.batches(BATCH)

    def _batch(self) -> Batch | None:
        """The next of the capture, or None at its end."""
        batch = next(self._batches, None)
        if batch is None:
            return None
        self._pace.took(len(batch))
        return self._stamps.put(batch)

    def close(self) -> None:
        """Let go of the capture."""
        self._batches = iter(())
        if self._reader is not None:
            self._reader.close()
            self._reader = None


class LoopSource(_Reading):
    """Captures played in order, again and again (`loops` times; 0: for ever), at a rate."""

    def __init__(
        self, captures: Sequence[str], rate: float = 0, loops: int = 0, after_ns: int = 0
    ) -> None:
        if not captures:
            raise SettingError("appliance.source.captures: name at least one capture")
        super().__init__(rate, after_ns)
        self._captures = [os.fspath(path) for path in captures]
        self._loops = loops
        self._at = 0  # captures begun
        self._frames = 0  # of this round
        self._failed = False  # a capture of this round
        self._retry_ns = 0
        self.ended = False

    def wait_ns(self, now_ns: int) -> int:
        return 0 if self.ended else max(self._retry_ns - now_ns, self._pace.wait_ns(now_ns))

    def next(self, now_ns: int) -> Batch | None:
        if self.ended or self.wait_ns(now_ns):
            return None
        try:
            for _ in range(len(self._captures) + 1):
                if (batch := self._batch()) is not None:
                    self._frames += len(batch)
                    return batch
                self.close()
                if self._wait_after_failure(now_ns) or not self._open():
                    return None
        except CaptureError:
            self.close()
            self._failed = True
            raise
        return None

    def _wait_after_failure(self, now_ns: int) -> bool:
        """Whether a round is over in which a capture failed: the next one is not begun at once,
        which would open it as often as the machine can."""
        if self._failed and self._at % len(self._captures) == 0 and self._frames:
            self._failed = False
            self._retry_ns = now_ns + RETRY_NS
            return True
        return False

    def _open(self) -> bool:
        """The next capture; False at the end."""
        rounds, index = divmod(self._at, len(self._captures))
        if not index and rounds:
            if not self._frames:
                self.ended = True  # no frame in any of them
                raise CaptureError(self._captures[0], "no capture holds a frame")
            self._frames = 0
            if self._loops and rounds >= self._loops:
                self.ended = True
                return False
        self._at += 1
        self._read(self._captures[index])
        return True


class DirectorySource(_Reading):
    """Captures in the order their names are sorted, as they appear in a directory.

    A file counts once it has its name: write it under another (`.part`) and rename it. Each is read
    once; what was there before the start is read, too. `rate` as above.
    """

    def __init__(
        self, directory: str | os.PathLike[str], rate: float = 0, after_ns: int = 0
    ) -> None:
        self._directory = Path(directory)
        if not self._directory.is_dir():
            raise SettingError(f"appliance.source.directory: {directory} is no directory")
        super().__init__(rate, after_ns)
        self._seen: set[str] = set()
        self._waiting: list[str] = []
        self._look_ns = 0
        self._retry_ns = RETRY_NS
        self.ended = False

    def wait_ns(self, now_ns: int) -> int:
        if self._reader is None and not self._waiting:
            return max(0, self._look_ns - now_ns)
        return self._pace.wait_ns(now_ns)

    def next(self, now_ns: int) -> Batch | None:
        if self.wait_ns(now_ns):
            return None
        if (batch := self._batch()) is not None:
            return batch
        self.close()
        if not self._waiting:
            self._look(now_ns)
        if self._waiting:
            self._read(str(self._directory / self._waiting.pop(0)))
        return None

    def _look(self, now_ns: int) -> None:
        self._look_ns = now_ns + LOOK_NS
        try:
            names = sorted(os.listdir(self._directory))
        except OSError as error:
            self._look_ns = now_ns + self._retry_ns
            self._retry_ns = min(2 * self._retry_ns, LONGEST_NS)
            why = f"cannot be listed: {error.strerror}"
            raise CaptureError(str(self._directory), why) from error
        self._retry_ns = RETRY_NS
        here = {name for name in names if is_capture(name)}
        self._seen &= here  # a name that went may come again
        self._waiting = [name for name in names if name in here and name not in self._seen]
        self._seen.update(self._waiting)


def is_capture(name: str) -> bool:
    """Whether a file's name is a capture's: pcap, pcapng or cap, plain or compressed."""
    for packed in PACKED:
        name = name.removesuffix(packed)
    return name.endswith(SUFFIXES)
