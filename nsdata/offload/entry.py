"""Words of the block's flow table: flow_key_t, flow_entry_t and port_range_t of hdl/nsd_pkg.sv.

Numbers are the values a header shows. A key packed is one integer of 323 bits; what goes over
the bus are 64-bit words, low word first.
"""

from __future__ import annotations

import ipaddress
from enum import IntEnum
from typing import NamedTuple

KEY_BITS = 323
KEY_BYTES = 41  # 328 bits: what the hash of a set is taken over
ENTRY_WORDS = 6  # 64-bit words of a flow table entry
PORT_RANGES = 16
MAX_FRAME = 16384  # bytes of the longest frame, unless the block was built for another

_KEY = (1 << KEY_BITS) - 1


class Verdict(IntEnum):
    """verdict_t: what the block says of a frame."""

    FAULT = 0
    CLEAR = 1
    SUSPECT = 2
    BYPASS = 3
    BLOCK = 4


class FlowAction(IntEnum):
    """action_t: what the flow table says of a frame."""

    NONE = 0
    BYPASS = 1
    BLOCK = 2


class Parse(IntEnum):
    """parse_t: how the parser understood a frame. Everything but OK is SUSPECT."""

    OK = 0
    RUNT = 1
    NOT_IP = 2
    MALFORMED = 3
    FRAGMENT = 4
    TUNNEL = 5
    OTHER = 6


class FlowKey(NamedTuple):
    """flow_key_t: one direction of a flow; IPv4 addresses stand in the low 32 bits."""

    v6: int = 0
    tags: int = 0
    vlan_outer: int = 0
    vlan_inner: int = 0
    proto: int = 0
    src: int = 0
    dst: int = 0
    sport: int = 0
    dport: int = 0

    @classmethod
    def of(
        cls,
        src: str,
        dst: str,
        proto: int,
        sport: int = 0,
        dport: int = 0,
        vlans: tuple[int, ...] = (),
    ) -> FlowKey:
        """The key of a flow's direction; `vlans`: VIDs, outer first, at most two.

        Raises ValueError when addresses are of two versions or a number does not fit.
        """
        one, other = ipaddress.ip_address(src), ipaddress.ip_address(dst)
        if one.version != other.version:
            raise ValueError(f"{src} and {dst} are addresses of two IP versions")
        for name, value, limit in (
            ("protocol", proto, 255), ("port", sport, 65535), ("port", dport, 65535),
            ("number of VLAN tags", len(vlans), 2), *(("VLAN id", vid, 4095) for vid in vlans),
        ):  # fmt: skip
            if not 0 <= value <= limit:
                raise ValueError(f"{name} {value}: legal are 0 to {limit}")
        outer, inner = (*vlans, 0, 0)[:2]
        return cls(
            int(one.version == 6), len(vlans), outer, inner, proto, int(one), int(other),
            sport, dport,
        )  # fmt: skip

    def reversed(self) -> FlowKey:
        """The key of the other direction."""
        return self._replace(src=self.dst, dst=self.src, sport=self.dport, dport=self.sport)

    def pack(self) -> int:
        """The packed struct as one integer of KEY_BITS bits."""
        return (
            self.v6 << 322 | self.tags << 320 | self.vlan_outer << 308 | self.vlan_inner << 296
            | self.proto << 288 | self.src << 160 | self.dst << 32 | self.sport << 16 | self.dport
        )  # fmt: skip

    @classmethod
    def unpack(cls, key: int) -> FlowKey:
        """The fields of a packed key."""
        return cls(
            key >> 322 & 1, key >> 320 & 3, key >> 308 & 0xFFF, key >> 296 & 0xFFF,
            key >> 288 & 0xFF, key >> 160 & (1 << 128) - 1, key >> 32 & (1 << 128) - 1,
            key >> 16 & 0xFFFF, key & 0xFFFF,
        )  # fmt: skip


class FlowEntry(NamedTuple):
    """flow_entry_t: one way of a set."""

    key: FlowKey
    action: int
    generation: int
    valid: int = 1

    def pack(self) -> int:
        """The packed struct as one integer of 384 bits."""
        return (
            self.key.pack() | self.generation << 323 | self.action << 331 | self.valid << 333
        )  # fmt: skip

    @classmethod
    def unpack(cls, entry: int) -> FlowEntry:
        """The fields of a packed entry; reserved bits are dropped."""
        key = FlowKey.unpack(entry & _KEY)
        return cls(key, entry >> 331 & 3, entry >> 323 & 0xFF, entry >> 333 & 1)

    def words(self) -> tuple[int, ...]:
        """The entry as ENTRY_WORDS 64-bit words, low word first."""
        packed = self.pack()
        return tuple(packed >> 64 * i & (1 << 64) - 1 for i in range(ENTRY_WORDS))


class PortRange(NamedTuple):
    """port_range_t: frames of these protocols with a port in low..high are SUSPECT.

    ICMP and ICMPv6 have no ports: their bit alone decides.
    """

    low: int = 0
    high: int = 0
    tcp: bool = False
    udp: bool = False
    icmp: bool = False

    def pack(self) -> int:
        """The packed struct as one integer of 35 bits."""
        return self.low | self.high << 16 | self.tcp << 32 | self.udp << 33 | self.icmp << 34

    @classmethod
    def unpack(cls, word: int) -> PortRange:
        """The fields of a packed range."""
        return cls(
            word & 0xFFFF, word >> 16 & 0xFFFF, bool(word >> 32 & 1), bool(word >> 33 & 1),
            bool(word >> 34 & 1),
        )  # fmt: skip


class Parsed(NamedTuple):
    """What the parser makes of a frame. `key` is packed and zero unless `parse` is OK."""

    parse: Parse
    key: int
    lookup: bool
    len_short: bool

    @property
    def fields(self) -> FlowKey:
        """The key's fields."""
        return FlowKey.unpack(self.key)
