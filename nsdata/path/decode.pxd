# From the bytes of a frame to one Packet per IP layer. The work is in the inline parts:
# decode_link, decode_ip, decode_l4, decode_tunnel on top of decode_base.
from libc.stdint cimport uint8_t, uint16_t, uint32_t

from nsdata.path.packet cimport Packet

# Decode a frame. Fills out[0..n-1], one Packet per IP layer, outermost first, and returns
# n ≥ 1: a frame without IP gives one Packet with ip_version 0. Each Packet is zeroed
# first; ts_ns and frame_no are the engine's to set. 1 ≤ room ≤ MAX_LAYERS.
#
# What readers may rely on: pointers are NULL or lie within the frame; l4 is NULL when
# the L4 header does not hold; a fragment has l4/l4_len (its data) but no payload, and an
# IPv6 fragment has proto 44; PKT_TRUNCATED keeps what the IP header says and nothing more.
cdef int decode_frame(const uint8_t *data, uint32_t caplen, uint32_t wirelen,
                      uint16_t linktype, bint checksums, Packet *out,
                      int room) noexcept nogil

# Decode an IP datagram that defrag put together. What concerns the link, the time and the
# layer comes from `parent` (the fragment that completed it); sets PKT_REBUILT.
cdef int decode_datagram(const uint8_t *data, uint32_t length, const Packet *parent,
                         bint checksums, Packet *out, int room) noexcept nogil
