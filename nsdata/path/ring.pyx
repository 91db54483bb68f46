"""A ring of batches between the port and one worker, in two memories they share.

    port:    fills slot `published`, then publishes it         each memory has one writer,
    worker:  takes slot `judged`, writes its answer (verdicts    no lock, no system call
             and what became of the frames), hands it back

The worker maps the frames read-only: it cannot change what the port forwards. A slot belongs to
the worker from its publication until it is handed back. What a worker that died or hangs did not
hand back is known by the counters, and no part of it counts: the port has the frames and settles
them itself. Such a ring is not used again.
"""

import mmap

from libc.stdint cimport uint64_t
from libc.string cimport memset

import numpy as np

from nsdata.errors import EngineError

from nsdata.path.shared cimport nsd_load, nsd_store

cdef uint64_t MAGIC = 0x6E73642D72696E67ULL   # "nsd-ring"
cdef uint32_t VERSION = 1
LARGEST_FRAME = 262144            # bytes; as the capture readers take


cdef size_t _aligned(size_t size) noexcept nogil:
    return (size + 63) & ~<size_t> 63


cdef size_t _stride(uint32_t frames, uint32_t room) noexcept nogil:
    return (_aligned(sizeof(SlotHead)) + 2 * _aligned(8 * <size_t> frames)
            + 2 * _aligned(4 * <size_t> frames) + _aligned(2 * <size_t> frames)
            + _aligned(room))


cdef size_t _answer_stride(uint32_t frames) noexcept nogil:
    return _aligned(sizeof(Answer)) + _aligned(frames)


def ring_bytes(uint32_t slots, uint32_t frames, uint32_t room) -> tuple:
    """Bytes of the two memories of a ring, in whole pages: (frames, answers).

    slots: batches in flight, a power of two, 2 to 4096. frames: of a batch, 1 to 4096. room: bytes
    of a batch's frames, at least LARGEST_FRAME and at most 16 MiB. Raises EngineError.
    """
    if not 2 <= slots <= 4096 or slots & (slots - 1):
        raise EngineError(f"a ring has 2 to 4096 slots, a power of two, not {slots}")
    if not 1 <= frames <= 4096:
        raise EngineError(f"a slot holds 1 to 4096 frames, not {frames}")
    if not LARGEST_FRAME <= room <= 1 << 24:
        raise EngineError(f"a slot has {LARGEST_FRAME} to {1 << 24} bytes, not {room}")
    size = sizeof(RingHead) + slots * _stride(frames, room)
    answers = sizeof(AnswerHead) + slots * _answer_stride(frames)
    page = mmap.PAGESIZE
    return ((size + page - 1) // page * page, (answers + page - 1) // page * page)


cdef Slot slot_of(const Shape *ring, uint64_t number) noexcept nogil:
    """Where slot `number` (of all ever published) lies."""
    cdef Slot s
    cdef uint8_t *p = (<uint8_t *> ring.head + sizeof(RingHead)
                       + <size_t> (number & (ring.slots - 1)) * ring.stride)
    s.head = <SlotHead *> p
    p += _aligned(sizeof(SlotHead))
    s.offset = <uint64_t *> p
    p += _aligned(8 * <size_t> ring.frames)
    s.ts_ns = <uint64_t *> p
    p += _aligned(8 * <size_t> ring.frames)
    s.caplen = <uint32_t *> p
    p += _aligned(4 * <size_t> ring.frames)
    s.wirelen = <uint32_t *> p
    p += _aligned(4 * <size_t> ring.frames)
    s.linktype = <uint16_t *> p
    s.data = p + _aligned(2 * <size_t> ring.frames)
    return s


cdef Answer *answer_of(const Shape *ring, uint64_t number) noexcept nogil:
    return <Answer *> (<uint8_t *> ring.answers + sizeof(AnswerHead)
                       + <size_t> (number & (ring.slots - 1)) * ring.answer_stride)


cdef uint64_t published_of(const Shape *ring) noexcept nogil:
    return nsd_load(&ring.head.published)


cdef uint64_t judged_of(const Shape *ring) noexcept nogil:
    return nsd_load(&ring.answers.judged)


cdef void publish(const Shape *ring, uint64_t count) noexcept nogil:
    nsd_store(&ring.head.published, count)


cdef class Ring:
    """The ring over two memories (mmaps): `frames`, that the port writes, and `answers`.

    With slots, per_slot and room (see ring_bytes) it is begun anew, by the port; without, it is one
    that the port has begun, and `frames` may be read-only. Raises EngineError for memory that is
    too small or holds something else.
    """

    def __init__(self, frames, answers, uint32_t slots=0, uint32_t per_slot=0, uint32_t room=0):
        cdef const uint8_t[::1] front = frames
        cdef uint8_t[::1] back = answers
        cdef uint8_t[::1] writable
        if (<size_t> front.shape[0] < sizeof(RingHead) or <size_t> &front[0] & 63
                or <size_t> back.shape[0] < sizeof(AnswerHead) or <size_t> &back[0] & 63):
            raise EngineError("a ring takes aligned shared memory; this is too small")
        self.frame_memory, self.answer_memory = frames, answers
        self.shape.head = <RingHead *> &front[0]
        self.shape.answers = <AnswerHead *> &back[0]
        fresh = slots > 0
        if not fresh:
            if nsd_load(&self.shape.head.magic) != MAGIC or self.shape.head.version != VERSION:
                raise EngineError("this memory is no ring of this version")
            slots, per_slot = self.shape.head.slots, self.shape.head.frames
            room = self.shape.head.room
        need = ring_bytes(slots, per_slot, room)
        if front.shape[0] < need[0] or back.shape[0] < need[1]:
            raise EngineError(f"this ring takes {need[0]} and {need[1]} bytes, not "
                              f"{front.shape[0]} and {back.shape[0]}")
        # Taken once: what stands in the memory may change.
        self.shape.slots, self.shape.frames, self.shape.room = slots, per_slot, room
        self.shape.stride = _stride(per_slot, room)
        self.shape.answer_stride = _answer_stride(per_slot)
        if fresh:
            writable = frames
            memset(&writable[0], 0, sizeof(RingHead))
            memset(self.shape.answers, 0, sizeof(AnswerHead))
            self.shape.head.version = VERSION
            self.shape.head.slots, self.shape.head.frames = slots, per_slot
            self.shape.head.room = room
            self.shape.answers.magic = MAGIC
            nsd_store(&self.shape.head.magic, MAGIC)
        elif self.shape.answers.magic != MAGIC:
            raise EngineError("this memory is no ring's answers")
        self.views = [self._views(i) for i in range(slots)]

    def _views(self, uint64_t number):
        """The arrays of a slot: data, offset, caplen, wirelen, ts_ns, linktype, verdicts.

        They keep the memory: who has one may read it when the ring is gone.
        """
        cdef Slot s = slot_of(&self.shape, number)
        cdef uint8_t *front = <uint8_t *> self.shape.head
        cdef Py_ssize_t n = self.shape.frames
        frames = self.frame_memory
        views = (
            np.frombuffer(frames, np.uint8, self.shape.room, <uint8_t *> s.data - front),
            np.frombuffer(frames, np.uint64, n, <uint8_t *> s.offset - front),
            np.frombuffer(frames, np.uint32, n, <uint8_t *> s.caplen - front),
            np.frombuffer(frames, np.uint32, n, <uint8_t *> s.wirelen - front),
            np.frombuffer(frames, np.uint64, n, <uint8_t *> s.ts_ns - front),
            np.frombuffer(frames, np.uint16, n, <uint8_t *> s.linktype - front),
        )
        for array in views:
            array.flags.writeable = False
        verdicts = (<uint8_t *> answer_of(&self.shape, number) + _aligned(sizeof(Answer))
                    - <uint8_t *> self.shape.answers)
        return *views, np.frombuffer(self.answer_memory, np.uint8, n, verdicts)

    # --- the worker's side ------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Slots published and not handed back."""
        return published_of(&self.shape) - judged_of(&self.shape)

    def take(self):
        """The oldest slot: (data, offset, caplen, wirelen, ts_ns, linktype, verdicts), or None.

        The arrays are the shared memory itself, the first six read-only; verdicts are written in
        place, then `hand_back`. Raises EngineError when the slot makes no sense.
        """
        cdef uint64_t number = judged_of(&self.shape)
        cdef SlotHead *head
        cdef uint32_t n, used
        if published_of(&self.shape) == number:
            return None
        head = slot_of(&self.shape, number).head
        n, used = head.frames, head.used
        if n > self.shape.frames or used > self.shape.room:
            raise EngineError(f"slot {number} claims {n} frames of {self.shape.frames} and "
                              f"{used} bytes of {self.shape.room}")
        data, offset, caplen, wirelen, ts_ns, linktype, verdicts = self.views[
            number & (self.shape.slots - 1)]
        return (data[:used], offset[:n], caplen[:n], wirelen[:n], ts_ns[:n], linktype[:n],
                verdicts[:n])

    def hand_back(self, packets not None, nbytes not None) -> None:
        """The oldest slot is judged: packets and bytes of it by Why.

        Raises EngineError when no slot is out, or the counts are not those of its frames.
        """
        cdef uint64_t number = judged_of(&self.shape)
        cdef Answer *answer
        cdef int k
        if published_of(&self.shape) == number:
            raise EngineError("no slot is out that could be handed back")
        if len(packets) != WHY_COUNT or len(nbytes) != WHY_COUNT:
            raise EngineError(f"{WHY_COUNT} counts of packets and of bytes are wanted")
        frames = slot_of(&self.shape, number).head.frames
        if sum(packets) != frames:
            raise EngineError(f"{sum(packets)} frames were judged of a slot of {frames}")
        answer = answer_of(&self.shape, number)
        for k in range(WHY_COUNT):
            answer.packets[k] = packets[k]
            answer.bytes[k] = nbytes[k]
        nsd_store(&self.shape.answers.judged, number + 1)
