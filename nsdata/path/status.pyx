"""A process's status page: its heartbeat and its counters, in memory it shares with who watches it.

One writer, any number of readers, no lock and no system call: a beat is two stores, a publication
a copy of the counters beside the one that stands and one store that exchanges them. A reader gets
a whole copy, of one publication, even when the writer was killed in the middle of the next.
"""

import mmap

from libc.stdint cimport uint64_t
from libc.string cimport memcpy, memset
from posix.unistd cimport getpid

import numpy as np

from nsdata.errors import EngineError

from nsdata.path.shared cimport monotonic_ns, nsd_fence, nsd_load, nsd_store

cdef uint64_t MAGIC = 0x6E73642D70616765ULL   # "nsd-page"
cdef uint32_t VERSION = 1
TRIES = 64
PAGE_BYTES = (sizeof(StatusWords) + mmap.PAGESIZE - 1) // mmap.PAGESIZE * mmap.PAGESIZE
COUNTERS = STATUS_COUNTERS


cdef class StatusPage:
    """The page over `memory`, a writable buffer of PAGE_BYTES (an mmap).

    create: begin it anew, for the process that will write it. Raises EngineError for memory that
    is too small or holds something else.
    """

    def __init__(self, memory, *, bint create=False):
        cdef unsigned char[::1] view = memory
        if view.shape[0] < PAGE_BYTES or <size_t> &view[0] & 63:
            raise EngineError(f"a status page takes {PAGE_BYTES} aligned bytes of shared memory, "
                              f"not {view.shape[0]}")
        self.memory = memory
        self.words = <StatusWords *> &view[0]
        if create:
            memset(self.words, 0, sizeof(StatusWords))
            self.words.version = VERSION
            nsd_store(&self.words.magic, MAGIC)
        elif nsd_load(&self.words.magic) != MAGIC or self.words.version != VERSION:
            raise EngineError("this memory is no status page of this version")

    def enter(self) -> None:
        """Say that this process writes it from now on: its pid, and a first beat."""
        self.words.pid = <unsigned int> getpid()
        self.beat_at(monotonic_ns())

    cdef void beat_at(self, uint64_t now_ns) noexcept nogil:
        self.words.beats += 1
        nsd_store(&self.words.beat_ns, now_ns)

    def beat(self) -> None:
        """A sign of life."""
        self.beat_at(monotonic_ns())

    def publish(self, const uint64_t[::1] counters not None) -> None:
        """A sign of life with counters (at most COUNTERS; those left out stay 0)."""
        cdef uint64_t next_one = self.words.sequence + 1
        cdef StatusCopy *copy = &self.words.copies[next_one & 1]
        cdef Py_ssize_t n = counters.shape[0]
        if n > STATUS_COUNTERS:
            raise EngineError(f"a status page holds {STATUS_COUNTERS} counters, not {n}")
        copy.at_ns = monotonic_ns()
        if n:
            memcpy(copy.counters, &counters[0], n * sizeof(uint64_t))
        nsd_store(&self.words.sequence, next_one)
        nsd_fence()                   # the next write into the other copy comes after this
        self.beat_at(copy.at_ns)

    @property
    def pid(self) -> int:
        """The process that writes it; 0 before `enter`."""
        return self.words.pid

    @property
    def beat_ns(self) -> int:
        """CLOCK_MONOTONIC of the last sign of life; 0 before the first."""
        return nsd_load(&self.words.beat_ns)

    @property
    def beats(self) -> int:
        """Signs of life so far."""
        return nsd_load(&self.words.beats)

    def read(self) -> tuple:
        """(CLOCK_MONOTONIC of the publication, its counters as uint64[COUNTERS]).

        Time 0 before the first. Raises EngineError when the writer publishes faster than this
        can read, which takes a writer gone mad.
        """
        cdef uint64_t before, at_ns
        cdef StatusCopy *copy
        counters = np.empty(STATUS_COUNTERS, np.uint64)
        cdef uint64_t[::1] out = counters
        for _ in range(TRIES):
            before = nsd_load(&self.words.sequence)
            copy = &self.words.copies[before & 1]
            at_ns = copy.at_ns
            memcpy(&out[0], copy.counters, STATUS_COUNTERS * sizeof(uint64_t))
            nsd_fence()
            if nsd_load(&self.words.sequence) == before:
                return at_ns, counters
        raise EngineError(f"process {self.words.pid} publishes its status without a pause")
