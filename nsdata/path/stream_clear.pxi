# Which bytes of a side need no search. Included by stream.pyx.
#
# The hardware says CLEAR of a frame in which no window of its image lies. `Side.dirty` is the end
# of the last byte for which that is not known: bytes of a frame it did not say so of, bytes that
# were put together in any way but one behind the other, and windows across a seam. Bytes handed
# over from `dirty` on hold no window whole, so no pattern whole.
#
# A window is at most 8 bytes, so one that lies in no single segment ends at most REACH bytes
# behind the last seam in it and begins at most REACH bytes before: the test around each seam, made
# on the bytes in order when the segment behind it comes, sees it however short the segments are.

cdef enum:
    REACH = 7                     # bytes of a window on the far side of a seam


cdef void clear_behind(Core *t, Side *s, uint64_t seam) noexcept nogil:
    """Bytes of a CLEAR frame were appended at `seam`: only a window across it can be dirty."""
    cdef uint64_t low = seam - REACH if seam - s.base > REACH else s.base
    cdef uint64_t high = seam + REACH if s.right - seam > REACH else s.right
    if low == seam:
        return                    # what came before is gone and is handed over no more
    t.seams += 1
    if filter_hit(t.filter, s.buf + (low - s.base), high - low):
        t.seam_hits += 1
        s.dirty = high


cdef inline void new_epoch(const Core *t, Side *s) noexcept nogil:
    """What was clear by another image is not by this one."""
    if s.epoch != t.epoch:
        s.epoch = t.epoch
        s.dirty = s.right


cdef inline bint is_clear(const Core *t, const Side *s, uint64_t start) noexcept nogil:
    """Whether the bytes from `start` on need no search."""
    return t.filter != NULL and s.epoch == t.epoch and start >= s.dirty
