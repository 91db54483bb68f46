# What processes that share memory need: loads and stores that are seen in order, and one clock.
from libc.stdint cimport uint64_t
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

cdef extern from *:
    """
    #define nsd_load(at) __atomic_load_n(at, __ATOMIC_ACQUIRE)
    #define nsd_store(at, value) __atomic_store_n(at, value, __ATOMIC_RELEASE)
    #define nsd_fence() __atomic_thread_fence(__ATOMIC_SEQ_CST)
    """
    uint64_t nsd_load(const uint64_t *at) noexcept nogil
    void nsd_store(uint64_t *at, uint64_t value) noexcept nogil
    void nsd_fence() noexcept nogil


cdef inline uint64_t monotonic_ns() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <uint64_t> now.tv_sec * 1000000000 + <uint64_t> now.tv_nsec
