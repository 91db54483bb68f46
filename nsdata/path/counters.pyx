"""Counters of the EVE stats event that no stage keeps: frames by link type, layers by
protocol and tunnel, events, and how flows ended."""

from libc.stdint cimport uint8_t, uint64_t

from nsdata.path.events import event_names

from nsdata.path.packet cimport *


cdef class Counters:
    """All start at zero and never go back."""

    def stats(self) -> dict:
        """The counters: `frames`, `invalid`, and by number `protocols`, `versions` (of IP),
        `tunnels` (Tunnel); `events` by name. Zero ones are left out of the last four."""
        cdef int k
        names = {bit: name for name, bit in event_names().items()}
        return {
            "frames": self.frames,
            "invalid": self.invalid,
            "protocols": {k: self.protocols[k] for k in range(256) if self.protocols[k]},
            "versions": {k: self.versions[k] for k in range(16) if self.versions[k]},
            "tunnels": {k: self.tunnels[k] for k in range(16) if self.tunnels[k]},
            "events": {names[k]: self.event_count[k] for k in range(256)
                       if self.event_count[k]},
        }

    cdef void packet(self, const Packet *p, const Packet *outer) noexcept nogil:
        """Count a layer; `outer` is the one around it, or NULL."""
        cdef uint8_t flags
        self.versions[p.ip_version & 15] += 1
        if p.ip_version:
            self.protocols[p.proto] += 1
        self.tunnels[p.tunnel & 15] += 1
        if p.flags & PKT_INVALID:
            self.invalid += 1
        if p.layer == 0 and not p.flags & PKT_REBUILT:
            if p.linktype == 1:
                self.frames.ethernet += 1
            elif p.linktype == 0 or p.linktype == 108:
                self.frames.null += 1
            elif p.linktype == 113:
                self.frames.sll += 1
            elif p.linktype == 276:
                self.frames.sll2 += 1
            elif p.linktype == 9:
                self.frames.ppp += 1
            elif p.linktype == 104:
                self.frames.chdlc += 1
            else:
                self.frames.raw += 1
            self.frames.arp += p.ethertype == 0x0806
            self.frames.vlan += p.n_vlan > 0
            self.frames.vlan_qinq += p.n_vlan > 1
            if p.wirelen > self.frames.max_pkt_size:
                self.frames.max_pkt_size = p.wirelen
        if p.proto == 6 and p.l4 != NULL and not p.flags & PKT_FRAGMENT:
            flags = p.tcp_flags & 0x16
            self.frames.syn += flags == 0x02
            self.frames.synack += flags == 0x12
            self.frames.rst += flags & 0x04 != 0
        if outer != NULL and (p.tunnel == TUN_IPV4 or p.tunnel == TUN_IPV6):
            if p.ip_version == 4 and outer.ip_version == 4:
                self.frames.ipv4_in_ipv4 += 1
            elif p.ip_version == 4:
                self.frames.ipv4_in_ipv6 += 1
            elif outer.ip_version == 4:
                self.frames.ipv6_in_ipv4 += 1
            else:
                self.frames.ipv6_in_ipv6 += 1
        self.events(p)

    cdef void events(self, const Packet *p) noexcept nogil:
        """Count the events of a packet."""
        cdef uint64_t bits
        cdef int w
        cdef int bit
        for w in range(EVENT_WORDS):
            bits = p.events[w]
            bit = 0
            while bits:
                if bits & 1:
                    self.event_count[w * 64 + bit] += 1
                bits >>= 1
                bit += 1

    cdef void flow_end(self, const Flow *f) noexcept nogil:
        """Count a flow by the state it ended in."""
        if f.flags & FLOW_BYPASS:
            self.frames.flows_bypassed += 1
        elif f.state == FLOW_NEW:
            self.frames.flows_new += 1
        elif f.state == FLOW_EST:
            self.frames.flows_established += 1
        else:
            self.frames.flows_closed += 1
