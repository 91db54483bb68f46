# Packet checks: conditions on header fields, events and flow counters.
from nsdata.path.packet cimport Flow, Packet
from nsdata.path.rulebase cimport Op

cdef bint check_packet(const Op *op, const Packet *p, const Flow *f) noexcept nogil
