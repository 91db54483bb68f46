# Parts of an EVE line; see fields.pyx. Together with a line's fixed text they need less
# than eve.FIXED_ROOM bytes. Each returns the byte after what it wrote.
from libc.stdint cimport uint8_t, uint16_t

from nsdata.path.packet cimport Record

cdef uint8_t *put_tuple(uint8_t *p, int version, uint8_t proto, const uint8_t *src,
                        const uint8_t *dst, uint16_t sport, uint16_t dport) noexcept nogil
cdef uint8_t *put_header(uint8_t *p, const Record *r) noexcept nogil
cdef uint8_t *put_ether(uint8_t *p, const Record *r) noexcept nogil
cdef uint8_t *put_tunnel(uint8_t *p, const Record *r) noexcept nogil
cdef uint8_t *put_counts(uint8_t *p, const Record *r) noexcept nogil
cdef uint8_t *put_verdict(uint8_t *p, const Record *r) noexcept nogil
cdef uint8_t *put_drop(uint8_t *p, const Record *r) noexcept nogil
cdef uint8_t *put_flow_event(uint8_t *p, const Record *r) noexcept nogil
cdef const char *link_name(uint16_t linktype) noexcept nogil
