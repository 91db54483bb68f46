# A ring of batches between the port and a worker, in shared memory. See ring.pyx.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from nsdata.path.packet cimport WHY_COUNT

# --- what the port writes and the worker may only read
cdef struct RingHead:
    uint64_t magic
    uint32_t version
    uint32_t slots
    uint32_t frames           # of a slot at most
    uint32_t room             # bytes of a slot's frames at most
    uint64_t reserved[4]
    uint64_t published        # slots handed over, ever
    uint64_t padding[7]

# A batch. The arrays follow, `frames` of each, then `room` bytes.
cdef struct SlotHead:
    uint32_t frames           # how many
    uint32_t used             # bytes of them
    uint64_t ready_ns         # CLOCK_MONOTONIC of the publication

cdef struct Slot:
    SlotHead *head
    uint64_t *offset
    uint64_t *ts_ns
    uint32_t *caplen
    uint32_t *wirelen
    uint16_t *linktype
    uint8_t *data

# --- what the worker writes
cdef struct AnswerHead:
    uint64_t magic
    uint64_t judged           # slots handed back, ever
    uint64_t padding[6]

# What became of the frames of a slot. Their verdicts follow.
cdef struct Answer:
    uint64_t packets[WHY_COUNT]
    uint64_t bytes[WHY_COUNT]


# Where everything is: a copy of its own for each side, since what stands in shared memory may
# change.
cdef struct Shape:
    RingHead *head
    AnswerHead *answers
    uint32_t slots
    uint32_t frames
    uint32_t room
    size_t stride             # bytes of a slot
    size_t answer_stride


cdef Slot slot_of(const Shape *ring, uint64_t number) noexcept nogil
cdef Answer *answer_of(const Shape *ring, uint64_t number) noexcept nogil
cdef uint64_t published_of(const Shape *ring) noexcept nogil
cdef uint64_t judged_of(const Shape *ring) noexcept nogil
cdef void publish(const Shape *ring, uint64_t count) noexcept nogil


cdef class Ring:
    cdef Shape shape
    cdef object frame_memory  # keep the mappings alive
    cdef object answer_memory
    cdef list views           # of each slot: arrays over the shared memory
