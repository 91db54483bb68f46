"""Where readings come from: the system, the file system of the output, and a reader in time.

    reader = SensorReader(sources(settings.health, output_directory), settings.health)
    reader.ask()                          # never waits
    readings = reader.poll()              # None while it is early and a source is still reading
    if readings is not None:
        report = health.evaluate(readings, time.monotonic_ns())

A call into the kernel on a hung file system cannot be cut short, by no signal and no time-out;
so each source reads in a thread of its own, of which the caller never waits longer than the
deadline. What has not answered by then is unknown, and how long it has been silent is itself a
reading (`answer/SOURCE`): an output disk that hangs becomes red. A thread that hangs is left
alone, asked nothing more, and found again when its call returns; so at most one thread per
source can hang. (A process with such a thread cannot end before the kernel lets it go.)

Every source yields readings and raises nothing: what cannot be read is an unknown sensor that
says why. Times are of `time.monotonic_ns`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import psutil

from nsdata.appliance.sensor_files import DirectorySource, HardwareSource
from nsdata.config.health import HealthSettings
from nsdata.fallback.sensor import Reading, Resource

PROBE_BYTES = 4096
PROBES_KEPT = 10  # failures are counted among so many (health.file-system.failures-*)
Clock = Callable[[], int]


class Source(Protocol):
    """Something that reads sensors; `read` may take any time and may fail in any way."""

    @property
    def name(self) -> str: ...

    @property
    def resource(self) -> Resource:
        """What is not well when it does not answer."""
        ...

    def read(self) -> list[Reading]: ...


class SystemSource:
    """CPU and memory of the box, through psutil; CPU use is since the reading before."""

    name = "system"
    resource = Resource.OTHER

    def __init__(self, settings: HealthSettings, clock: Clock = time.monotonic_ns) -> None:
        self._clock = clock
        self._cpu = settings.sensor("cpu-use", "cpu/use")
        self._memory = settings.sensor("memory-use", "memory/use")
        self._before = _cpu_seconds()

    def read(self) -> list[Reading]:
        """Both, each on its own."""
        return [self._read_cpu(), self._read_memory()]

    def _read_cpu(self) -> Reading:
        now_ns = self._clock()
        busy, total = _cpu_seconds()
        busy_before, total_before = self._before
        self._before = busy, total
        if total <= total_before:
            return Reading.failed(self._cpu, "the kernel's CPU times stand still", now_ns)
        share = (busy - busy_before) / (total - total_before)
        return Reading.of(self._cpu, round(min(max(100 * share, 0.0), 100.0), 2), now_ns)

    def _read_memory(self) -> Reading:
        now_ns = self._clock()
        return Reading.of(self._memory, psutil.virtual_memory().percent, now_ns)


def _cpu_seconds() -> tuple[float, float]:
    """(busy, all) of all cores; what guests use is part of user and nice already."""
    times: Any = psutil.cpu_times()  # its fields are the platform's; these are Linux's
    idle = times.idle + times.iowait
    busy = times.user + times.nice + times.system + times.irq + times.softirq + times.steal
    return busy, busy + idle


class OutputSource:
    """The file system below a directory: room, inodes, read-only, and whether it takes writes.

    The probe writes a small file, has it put on the disk (fsync) and removes it. Its failures
    are counted over the last ten; a success among them says that the disk is there again.
    """

    name = "output"
    resource = Resource.FILE_SYSTEM

    def __init__(
        self, directory: Path, settings: HealthSettings, clock: Clock = time.monotonic_ns
    ) -> None:
        self.directory = directory
        self._clock = clock
        self._probe = directory / f".nsdata-probe-{os.getpid()}"
        self._failures: deque[OSError | None] = deque(maxlen=PROBES_KEPT)
        self._free = settings.sensor("file-system-free", "file-system/free")
        self._use = settings.sensor("file-system-use", "file-system/use")
        self._inodes = settings.sensor("file-system-inodes", "file-system/inodes")
        self._read_only = settings.sensor("file-system-read-only", "file-system/read-only")
        self._writes = settings.sensor("file-system-write-failures", "file-system/write-failures")

    def read(self) -> list[Reading]:
        """All of it; the write probe last, as it is the one that may hang."""
        at_ns = self._clock()
        readings: list[Reading] = []
        refused = False
        try:
            fs = os.statvfs(self.directory)
        except OSError as fault:
            problem = f"{self.directory}: {fault.strerror}"
            sensors = (self._free, self._use, self._inodes)
            readings += [Reading.failed(sensor, problem, at_ns) for sensor in sensors]
        else:
            refused = bool(fs.f_flag & os.ST_RDONLY)
            used = fs.f_blocks - fs.f_bfree
            of = used + fs.f_bavail  # as df: what is kept for root is not there for us
            readings.append(Reading.of(self._free, fs.f_bavail * fs.f_frsize, at_ns))
            readings.append(Reading.of(self._use, _percent(used, of), at_ns))
            if fs.f_files:  # btrfs and others have no fixed number
                taken = fs.f_files - fs.f_ffree
                share = _percent(taken, taken + fs.f_favail)
                readings.append(Reading.of(self._inodes, share, at_ns))
        failure = None if refused else self._write()
        refused = refused or (failure is not None and failure.errno == errno.EROFS)
        readings.append(Reading.of(self._read_only, int(refused), at_ns))
        if not refused:
            self._failures.append(failure)
        failures = [failure for failure in self._failures if failure is not None]
        note = f"last: {failures[-1].strerror}" if failures else ""
        readings.append(Reading.of(self._writes, len(failures), at_ns, note))
        return readings

    def _write(self) -> OSError | None:
        """Write, sync and remove the probe; what went wrong, if anything."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._probe)  # of an earlier process of this number
            file = os.open(self._probe, flags, 0o600)
            try:
                written = os.write(file, os.urandom(PROBE_BYTES))
                if written < PROBE_BYTES:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(file)
            finally:
                os.close(file)
                os.unlink(self._probe)
        except OSError as fault:
            return fault
        return None


def _percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 2) if whole > 0 else 100.0


class _Worker:
    """A source in its thread: asked, and looked at, never waited for beyond a deadline."""

    def __init__(self, source: Source, settings: HealthSettings, clock: Clock) -> None:
        self.source = source
        self._clock = clock
        self._answer = settings.sensor("answer", f"answer/{source.name}", source.resource)
        self._asked = threading.Semaphore(0)
        self._closing = False
        self._began_ns = 0
        self._took_ns = 0
        self._readings: list[Reading] = []
        self._fault = ""
        self._known: dict[str, Reading] = {}  # the latest of every sensor of the source
        self.idle = threading.Event()
        self.idle.set()
        name = f"sensors-{source.name}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def ask(self) -> None:
        """Read anew, unless it is still reading."""
        if self.idle.is_set():
            self._began_ns = self._clock()
            self.idle.clear()
            self._asked.release()

    def _run(self) -> None:
        while True:
            self._asked.acquire()
            if self._closing:
                return
            try:
                self._readings, self._fault = self.source.read(), ""
            except Exception as fault:  # whatever it is: a reading that failed, never a dead thread
                self._fault = f"{type(fault).__name__}: {fault}"[:200]
            self._took_ns = self._clock() - self._began_ns
            self.idle.set()

    def collect(self) -> list[Reading]:
        """What it said; what it would have said, as unknown, when it is late or failed."""
        now_ns = self._clock()
        if not self.idle.is_set():
            seconds = (now_ns - self._began_ns) / 1e9
            silent = Reading.of(self._answer, round(seconds, 3), now_ns)
            problem = f"{self.source.name} has not answered for {seconds:.1f} s"
        elif self._fault:
            problem = self._fault
            silent = Reading.failed(self._answer, problem, now_ns)
        else:
            self._known = {reading.name: reading for reading in self._readings}
            took = Reading.of(self._answer, round(self._took_ns / 1e9, 3), now_ns)
            return [*self._readings, took]
        lost = [
            Reading(known.name, known.resource, now_ns, None, known.sensor, problem)
            for known in self._known.values()
        ]
        return [*lost, silent]

    def close(self, timeout: float) -> bool:
        self._closing = True
        self._asked.release()
        self._thread.join(timeout)
        return not self._thread.is_alive()


class SensorReader:
    """All sources, read side by side. For one caller: not to be called from several threads."""

    def __init__(
        self,
        sources: Sequence[Source],
        settings: HealthSettings,
        clock: Clock = time.monotonic_ns,
    ) -> None:
        self._clock = clock
        self._deadline_ns = settings.deadline
        self._workers = [_Worker(source, settings, clock) for source in sources]
        self._asked_ns: int | None = None

    def ask(self) -> None:
        """Have every source read that is not still reading. Does not wait.

        Until `poll` has given what was asked for, asking again changes nothing.
        """
        if self._asked_ns is not None:
            return
        self._asked_ns = self._clock()
        for worker in self._workers:
            worker.ask()

    def poll(self) -> list[Reading] | None:
        """The readings asked for, once: when all have answered, or at the deadline.

        None before that, and when nothing was asked. Does not wait.
        """
        if self._asked_ns is None:
            return None
        late = self._clock() - self._asked_ns >= self._deadline_ns
        if not late and not all(worker.idle.is_set() for worker in self._workers):
            return None
        self._asked_ns = None
        return [reading for worker in self._workers for reading in worker.collect()]

    def read(self) -> list[Reading]:
        """Ask and wait, up to the deadline: for callers that have nothing else to do."""
        self.ask()
        until = time.monotonic() + self._deadline_ns / 1e9
        for worker in self._workers:
            worker.idle.wait(max(0.0, until - time.monotonic()))
        self._asked_ns = None
        return [reading for worker in self._workers for reading in worker.collect()]

    def close(self, timeout: float = 1.0) -> bool:
        """End the threads; False if one hangs in the kernel (it ends when that lets it go)."""
        return all([worker.close(timeout) for worker in self._workers])


def sources(settings: HealthSettings, output_directory: Path) -> list[Source]:
    """The sources of an appliance that writes to `output_directory`."""
    found: list[Source] = [
        SystemSource(settings),
        OutputSource(output_directory, settings),
        HardwareSource(settings),
    ]
    if settings.sensor_directory is not None:
        found.append(DirectorySource(Path(settings.sensor_directory), settings))
    return found
