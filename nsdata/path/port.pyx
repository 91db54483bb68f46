"""The wire's end of an appliance: frames go to the workers by flow, and on by their verdict.

    offer ─► hash of the two addresses ─► the slot being filled of that worker's ring ─► publish
    collect ◄── slots handed back: verdicts, and what became of the frames

Whatever a worker does, a frame received is settled once: by the worker's answer, or by the port,
which has the frame: in fallback, for a worker that has failed, outside the share (these three as
the frame's segment says), with no slot free. `received = held + the sum of what became of the
others` holds after every call.

Frames between two addresses go to one worker whatever their ports: fragments, ICMP errors and
both directions of a flow stay together.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

import numpy as np

from nsdata.errors import EngineError

from nsdata.path.decode cimport decode_frame
from nsdata.path.packet cimport *
from nsdata.path.ring cimport Answer, Slot, answer_of, judged_of, publish, slot_of
from nsdata.path.shared cimport monotonic_ns

WORKERS_MOST = MAX_WORKERS
PENDING = PENDING_FRAME
FULL_SHARE = WHOLE


cdef inline uint64_t _mix(uint64_t x) noexcept nogil:
    # splitmix64's finaliser
    x = (x ^ (x >> 30)) * <uint64_t> 0xBF58476D1CE4E5B9ULL
    x = (x ^ (x >> 27)) * <uint64_t> 0x94D049BB133111EBULL
    return x ^ (x >> 31)


cdef class Port:
    """The port of `workers` workers (1 to WORKERS_MOST). seed: of the hash. segments: None is
    `default` alone; all are permitted at first. Not thread-safe.

    It takes what slots have waited from CLOCK_MONOTONIC, or from `now_ns` where its host sets that:
    time is then virtual.
    """

    def __init__(self, int workers, uint64_t seed=0, Segments segments=None):
        if not 1 <= workers <= MAX_WORKERS:
            raise EngineError(f"a port has 1 to {MAX_WORKERS} workers, not {workers}")
        self.workers = workers
        self.seed = seed
        self.rings = [None] * workers
        self.segments = segments or Segments()

    def __dealloc__(self):
        cdef int i
        for i in range(MAX_WORKERS):
            free(self.lines[i].frames)
            free(self.lines[i].wire_bytes)

    # --- workers ----------------------------------------------------------------------------

    def attach(self, int worker, Ring ring not None) -> None:
        """From now on this worker takes frames, through a ring that was never used."""
        cdef Line *line
        self._known(worker)
        if self.rings[worker] is not None:
            raise EngineError(f"worker {worker} has a ring; detach it first")
        if ring.waiting or judged_of(&ring.shape):
            raise EngineError("a ring that was used is not used again")
        line = &self.lines[worker]
        free(line.frames)
        free(line.wire_bytes)
        memset(line, 0, sizeof(Line))
        line.frames = <uint32_t *> calloc(ring.shape.slots, sizeof(uint32_t))
        line.wire_bytes = <uint64_t *> calloc(ring.shape.slots, sizeof(uint64_t))
        if line.frames == NULL or line.wire_bytes == NULL:
            raise MemoryError
        line.ring = ring.shape
        self.rings[worker] = ring

    def detach(self, int worker) -> list:
        """This worker has failed, or is to go: what it did not hand back is not inspected, nor are
        its frames from now on. The slots it had, as `collect` gives them, but for the verdicts:
        instead the Why of each frame. Call `collect` before."""
        cdef Line *line
        cdef Ring ring
        self._known(worker)
        ring = self.rings[worker]
        if ring is None:
            return []
        line = &self.lines[worker]
        if line.filling:
            self._publish(line)
        left = []
        while line.settled < line.published:
            fate = self._permit(ring, line)
            left.append((*self._settle(ring, line)[:-1], fate))
        line.ring.head = NULL
        self.rings[worker] = None
        return left

    cdef object _permit(self, Ring ring, Line *line):
        """Book the frames of the oldest slot as those of a failed worker; the Why of each."""
        cdef uint32_t index = line.settled & (line.ring.slots - 1)
        cdef uint32_t n = line.frames[index]
        cdef Slot slot = slot_of(&line.ring, line.settled)
        cdef uint64_t left = line.wire_bytes[index]
        cdef uint64_t at
        cdef uint32_t i, size, caplen
        fates = np.empty(n, np.uint8)
        cdef uint8_t[::1] fate = fates
        for i in range(n):
            # Shared memory: its sizes are looked at once more, its sum is the port's own.
            at, caplen, size = slot.offset[i], slot.caplen[i], slot.wirelen[i]
            if at > line.ring.room or caplen > line.ring.room - at:
                at = caplen = 0
            size = <uint32_t> left if i == n - 1 or size > left else size
            left -= size
            if self.segments.named:
                decode_frame(slot.data + at, caplen, size, slot.linktype[i], False, self.layers, 1)
            fate[i] = <uint8_t> self._uninspected(WHY_WORKER, size)
        return fates

    cdef object _known(self, int worker):
        if not 0 <= worker < self.workers:
            raise EngineError(f"there is no worker {worker}; there are {self.workers}")

    # --- frames -----------------------------------------------------------------------------

    def offer(self, const uint8_t[::1] data not None, const uint64_t[::1] offset not None,
              const uint32_t[::1] caplen not None, const uint32_t[::1] wirelen not None,
              const uint64_t[::1] ts_ns not None, const uint16_t[::1] linktype not None,
              uint8_t[::1] fate not None, int mode=MODE_INSPECT, uint32_t share=WHOLE,
              bint best_effort=False, uint64_t passing=0) -> None:
        """Take a batch. fate[i]: PENDING, or the Why of a frame that is settled already.

        mode: 0 inspect, 1 fallback. share: 0 to FULL_SHARE, of flows that are inspected;
        a flow inside stays inside as it grows. best_effort: with no slot free a frame is permitted
        rather than lost. passing: workers (a bit each) whose frames pass uninspected. Raises
        EngineError for arrays that do not fit each other.
        """
        cdef Py_ssize_t n = offset.shape[0]
        cdef Py_ssize_t i
        cdef uint64_t size = data.shape[0]
        if not (caplen.shape[0] == wirelen.shape[0] == ts_ns.shape[0] == linktype.shape[0]
                == fate.shape[0] == n):
            raise EngineError("the arrays of a batch have one entry for each frame")
        if not MODE_INSPECT <= mode <= MODE_FALLBACK or share > WHOLE:
            raise EngineError(f"mode is 0 or 1 and share 0 to {WHOLE}, not {mode} and {share}")
        for i in range(n):
            if offset[i] > size or caplen[i] > size - offset[i]:
                raise EngineError(f"frame {i} lies outside of the {size} bytes given")
        if n == 0:
            return
        with nogil:
            for i in range(n):
                fate[i] = <uint8_t> self._frame(
                    &data[0] + offset[i], caplen[i], wirelen[i], ts_ns[i], linktype[i],
                    mode, share, best_effort, passing)

    cdef uint32_t _hash(self) noexcept nogil:
        """32 bits of both addresses of the frame that was decoded; 0 without any."""
        cdef Packet *p = self.layers
        cdef uint64_t low, high, a, b
        if p.ip_version == 0:
            return 0
        memcpy(&low, &p.src[0], 8)
        memcpy(&high, &p.src[8], 8)
        a = _mix(_mix(low ^ self.seed) ^ high)
        memcpy(&low, &p.dst[0], 8)
        memcpy(&high, &p.dst[8], 8)
        b = _mix(_mix(low ^ self.seed) ^ high)
        return <uint32_t> (_mix(a + b) >> 32)

    cdef int _frame(self, const uint8_t *data, uint32_t caplen, uint32_t wirelen, uint64_t ts_ns,
                    uint16_t linktype, int mode, uint32_t share, bint best_effort,
                    uint64_t passing) noexcept nogil:
        cdef Line *line = NULL
        cdef Slot slot
        cdef uint32_t hashed, i, worker
        cdef int why = -1
        self.received += 1
        self.received_bytes += wirelen
        if mode == MODE_INSPECT or self.segments.named:
            decode_frame(data, caplen, wirelen, linktype, False, self.layers, 1)
        if mode == MODE_FALLBACK:
            why = WHY_FALLBACK
        else:
            hashed = self._hash()
            worker = (hashed & 0xFFFF) % <uint32_t> self.workers
            line = &self.lines[worker]
            if (hashed >> 16) >= share:   # as nsdata.fallback.share.inside
                why = WHY_SHARE
            elif line.ring.head == NULL:
                why = WHY_WORKER
            elif (passing >> worker) & 1 and not self._blocks():
                why = WHY_BEST_EFFORT
        if why >= 0:
            return self._uninspected(why, wirelen)
        if line.filling and (line.filling == line.ring.frames
                             or caplen > line.ring.room - line.used):
            self._publish(line)
        if (line.published - line.settled >= line.ring.slots) or caplen > line.ring.room:
            if best_effort and not self._blocks():
                return self._uninspected(WHY_BEST_EFFORT, wirelen)
            self._book(WHY_OVERSUBSCRIBED, 1, wirelen)
            return WHY_OVERSUBSCRIBED
        slot = slot_of(&line.ring, line.published)
        i = line.filling
        slot.offset[i] = line.used
        slot.caplen[i] = caplen
        slot.wirelen[i] = wirelen
        slot.ts_ns[i] = ts_ns
        slot.linktype[i] = linktype
        memcpy(slot.data + line.used, data, caplen)
        if i == 0:
            line.wire_bytes[line.published & (line.ring.slots - 1)] = 0
        line.wire_bytes[line.published & (line.ring.slots - 1)] += wirelen
        line.filling += 1
        line.used += caplen
        self.held += 1
        self.held_bytes += wirelen
        return PENDING_FRAME

    cdef uint64_t _now(self) noexcept nogil:
        return self.now_ns if self.now_ns else monotonic_ns()

    cdef bint _blocks(self) noexcept nogil:
        """The segment of the frame that was decoded would rather have none than uninspected ones:
        they wait, or are lost, where others pass by best effort."""
        cdef uint32_t segment = self.segments.of(self.layers) if self.segments.named else 0
        return (self.blocked >> segment) & 1

    cdef int _uninspected(self, int why, uint32_t wirelen) noexcept nogil:
        """Permit or block the frame that was decoded, as its segment says; what it is booked as."""
        cdef uint32_t segment = self.segments.of(self.layers) if self.segments.named else 0
        cdef Exposed *e = &self.exposed[segment]
        if (self.blocked >> segment) & 1:
            why = WHY_FALLBACK_BLOCK
            e.blocked_packets += 1
            e.blocked_bytes += wirelen
        else:
            e.permitted_packets += 1
            e.permitted_bytes += wirelen
        self._book(why, 1, wirelen)
        return why

    cdef void _publish(self, Line *line) noexcept nogil:
        cdef Slot slot = slot_of(&line.ring, line.published)
        line.frames[line.published & (line.ring.slots - 1)] = line.filling
        slot.head.frames = line.filling
        slot.head.used = line.used
        slot.head.ready_ns = self._now()
        line.filling = line.used = 0
        line.published += 1
        publish(&line.ring, line.published)

    def flush(self) -> None:
        """Publish the slots that are being filled."""
        cdef int i
        for i in range(self.workers):
            if self.lines[i].filling:
                self._publish(&self.lines[i])

    def collect(self, int worker) -> list:
        """Settle what this worker handed back. One tuple a slot: (data, offset, caplen, wirelen,
        ts_ns, linktype, verdicts), valid until the next `offer`.

        Raises EngineError when the counts of the first slot are not those of its frames: then it
        is mad, the slot is not settled, and it is to be detached.
        """
        cdef Line *line
        cdef Answer *answer
        cdef Ring ring
        cdef uint64_t judged, packets, nbytes
        cdef uint32_t index
        cdef int k
        self._known(worker)
        ring = self.rings[worker]
        if ring is None:
            return []
        line = &self.lines[worker]
        judged = judged_of(&line.ring)
        if judged > line.published or judged < line.settled:
            raise EngineError(f"worker {worker} claims {judged} slots of {line.published}")
        done = []
        while line.settled < judged:
            index = line.settled & (line.ring.slots - 1)
            answer = answer_of(&line.ring, line.settled)
            packets = nbytes = 0
            for k in range(WHY_COUNT):
                packets += answer.packets[k]
                nbytes += answer.bytes[k]
            if packets != line.frames[index] or nbytes != line.wire_bytes[index]:
                if done:
                    break             # what is settled is to be forwarded first
                raise EngineError(
                    f"worker {worker} accounts for {packets} frames and {nbytes} bytes of a slot "
                    f"of {line.frames[index]} and {line.wire_bytes[index]}")
            for k in range(WHY_COUNT):
                self._book(k, answer.packets[k], answer.bytes[k])
            done.append(self._settle(ring, line))
        return done

    cdef tuple _settle(self, Ring ring, Line *line):
        """The oldest slot is held no more; its arrays."""
        cdef uint32_t index = line.settled & (line.ring.slots - 1)
        cdef uint32_t n = line.frames[index]
        self.held -= n
        self.held_bytes -= line.wire_bytes[index]
        used = slot_of(&line.ring, line.settled).head.used
        line.settled += 1
        views = ring.views[index]
        return (views[0][:used], *(view[:n] for view in views[1:]))

    cdef void _book(self, int why, uint64_t packets, uint64_t nbytes) noexcept nogil:
        self.why_packets[why] += packets
        self.why_bytes[why] += nbytes

    def block(self, uint64_t blocked) -> None:
        """From now on, the segments (a bit each, `default` last) whose frames are blocked when they
        are not inspected; the others are permitted. Raises EngineError for a bit beyond them."""
        if blocked >> (self.segments.named + 1):
            raise EngineError(f"there are {self.segments.named + 1} segments, not those of "
                              f"{blocked:#x}")
        self.blocked = blocked

    # --- figures ----------------------------------------------------------------------------

    def waiting_ns(self, int worker) -> int:
        """How long the oldest slot of this worker has waited; 0 when none does."""
        cdef Line *line
        cdef uint64_t now, since
        self._known(worker)
        line = &self.lines[worker]
        if line.ring.head == NULL or judged_of(&line.ring) >= line.published:
            return 0
        since = slot_of(&line.ring, judged_of(&line.ring)).head.ready_ns
        now = self._now()
        return now - since if now > since else 0

    def counts(self) -> tuple:
        """(received packets, received bytes, packets by Why, bytes by Why) of what is settled:
        `received` less what workers hold."""
        cdef int k
        return (self.received - self.held, self.received_bytes - self.held_bytes,
                [self.why_packets[k] for k in range(WHY_COUNT)],
                [self.why_bytes[k] for k in range(WHY_COUNT)])

    def exposure(self) -> list:
        """Of each segment, `default` last: frames that were not inspected, as (packets permitted,
        bytes, packets blocked, bytes)."""
        cdef uint32_t k
        return [(self.exposed[k].permitted_packets, self.exposed[k].permitted_bytes,
                 self.exposed[k].blocked_packets, self.exposed[k].blocked_bytes)
                for k in range(self.segments.named + 1)]

    @property
    def missing(self) -> int:
        """Workers that take no frames: they have failed, or have not begun."""
        return sum(ring is None for ring in self.rings)

    @property
    def holding(self) -> tuple:
        """(packets, bytes) that workers hold."""
        return self.held, self.held_bytes
