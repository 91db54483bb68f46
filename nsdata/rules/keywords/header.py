"""Keywords on header fields: IP, TCP, ICMP, VLAN, checksums and decoder events."""

from __future__ import annotations

import re

from nsdata.path.events import Event
from nsdata.path.rulebase import (
    Csum,
    Field,
    FlagsCompare,
    OpKind,
    ProtoBit,
    RuleFlag,
    VlanLayer,
)
from nsdata.rules.builder import Builder
from nsdata.rules.ir import Op, Refused
from nsdata.rules.numbers import integer, unsigned
from nsdata.rules.registry import Quotes, Value, keyword

FAMILY = "header"
ICMP = ProtoBit.PB_ICMP | ProtoBit.PB_ICMPV6


def _number(
    *names: str,
    field: Field,
    bits: int,
    what: str,
    protos: int = 0,
    quotes: Quotes = Quotes.OPTIONAL,
) -> None:
    """A keyword that compares one packet field with a number."""

    def handler(b: Builder, value: str) -> None:
        if protos:
            b.only(protos)
        b.check_field(field, unsigned(value, bits))

    handler.__doc__ = f"{what}: `N`, `!N`, `<N`, `<=N`, `>N`, `>=N`, `N<>M`, `N-M`."
    keyword(*names, family=FAMILY, quotes=quotes)(handler)


_number("ttl", field=Field.FIELD_TTL, bits=8, what="IPv4 TTL or IPv6 hop limit")
_number("tos", field=Field.FIELD_TOS, bits=8, what="IPv4 TOS byte")
_number("id", field=Field.FIELD_IP_ID, bits=16, what="IPv4 identification")
_number("fragoffset", field=Field.FIELD_FRAGOFFSET, bits=16, what="fragment offset, 8-byte units")
_number(
    "tcp.seq",
    "seq",
    field=Field.FIELD_SEQ,
    bits=32,
    protos=ProtoBit.PB_TCP,
    what="TCP sequence number",
)
_number(
    "tcp.ack",
    "ack",
    field=Field.FIELD_ACK,
    bits=32,
    protos=ProtoBit.PB_TCP,
    what="TCP acknowledgement number",
)
_number(
    "tcp.window",
    "window",
    field=Field.FIELD_WINDOW,
    bits=16,
    protos=ProtoBit.PB_TCP,
    what="TCP window as on the wire",
)
_number(
    "tcp.mss",
    field=Field.FIELD_MSS,
    bits=16,
    protos=ProtoBit.PB_TCP,
    what="TCP maximum segment size option (absent: no match)",
)
_number(
    "tcp.wscale",
    field=Field.FIELD_TCP_WSCALE,
    bits=8,
    protos=ProtoBit.PB_TCP,
    what="TCP window scale option (absent: no match)",
)
_number("itype", field=Field.FIELD_ITYPE, bits=8, protos=ICMP, what="ICMP or ICMPv6 type")
_number("icode", field=Field.FIELD_ICODE, bits=8, protos=ICMP, what="ICMP or ICMPv6 code")
_number("icmp_id", field=Field.FIELD_ICMP_ID, bits=16, protos=ICMP, what="ICMP identifier")
_number("icmp_seq", field=Field.FIELD_ICMP_SEQ, bits=16, protos=ICMP, what="ICMP sequence number")
_number("vlan.layers", field=Field.FIELD_VLAN_LAYERS, bits=8, what="number of VLAN tags")


@keyword("dsize", family=FAMILY)
def dsize(b: Builder, value: str) -> None:
    """Bytes of packet payload: `N`, `!N`, `<N`, `>N`, `N<>M`, …"""
    b.once("dsize")
    b.dsize = b.check_field(Field.FIELD_DSIZE, unsigned(value, 16))


# IANA protocol numbers by the names rules use.
PROTOCOLS = {
    "ip": 0, "hopopt": 0, "icmp": 1, "igmp": 2, "ggp": 3, "ipencap": 4, "ipip": 4, "st": 5,
    "tcp": 6, "egp": 8, "igp": 9, "pup": 12, "udp": 17, "hmp": 20, "xns-idp": 22, "rdp": 27,
    "iso-tp4": 29, "dccp": 33, "xtp": 36, "ddp": 37, "idpr-cmtp": 38, "ipv6": 41,
    "ipv6-route": 43, "ipv6-frag": 44, "idrp": 45, "rsvp": 46, "gre": 47, "esp": 50, "ah": 51,
    "skip": 57, "ipv6-icmp": 58, "icmpv6": 58, "ipv6-nonxt": 59, "ipv6-opts": 60, "rspf": 73,
    "vmtp": 81, "eigrp": 88, "ospf": 89, "ospfigp": 89, "ax.25": 93, "ipip-encap": 94,
    "etherip": 97, "encap": 98, "pim": 103, "ipcomp": 108, "vrrp": 112, "l2tp": 115, "isis": 124,
    "sctp": 132, "fc": 133, "mobility-header": 135, "udplite": 136, "mpls-in-ip": 137,
    "hip": 139, "shim6": 140, "wesp": 141, "rohc": 142,
}  # fmt: skip
_PROTO_BITS = {
    6: ProtoBit.PB_TCP,
    17: ProtoBit.PB_UDP,
    1: ProtoBit.PB_ICMP,
    58: ProtoBit.PB_ICMPV6,
    132: ProtoBit.PB_SCTP,
}


@keyword("ip_proto", family=FAMILY, quotes=Quotes.OPTIONAL)
def ip_proto(b: Builder, value: str) -> None:
    """IP protocol: `[!<>]` and a number or name."""
    match = re.fullmatch(r"\s*([!<>]?)\s*([A-Za-z0-9.-]+)\s*", value)
    if not match:
        raise Refused(f"{value[:40]!r} is no protocol. Write a number or a name, with ! < or >")
    sign, name = match[1], match[2].lower()
    number = integer(name, 0, 255) if name.isdigit() else PROTOCOLS.get(name)
    if number is None:
        raise Refused(f"the IP protocol {name!r} is unknown. Write its number")
    compare = unsigned(f"{sign}{number}", 8)
    matching = [one for one in range(256) if _holds(sign, one, number)]
    bits = 0
    for one in matching:
        bits |= _PROTO_BITS.get(one, ProtoBit.PB_OTHER)
    b.only(bits)
    b.check_field(Field.FIELD_IP_PROTO, compare)


@keyword("l3_proto", family=FAMILY)
def l3_proto(b: Builder, value: str) -> None:
    """`ipv4` or `ipv6` (`ip4`, `ip6`): the IP version."""
    versions = {
        "ipv4": RuleFlag.RF_IPV4,
        "ip4": RuleFlag.RF_IPV4,
        "ipv6": RuleFlag.RF_IPV6,
        "ip6": RuleFlag.RF_IPV6,
    }
    if value.lower() not in versions:
        raise Refused("it is ipv4 or ipv6")
    b.only_version(versions[value.lower()])


def _holds(sign: str, value: int, number: int) -> bool:
    if sign == "!":
        return value != number
    if sign == "<":
        return value < number
    if sign == ">":
        return value > number
    return value == number


_TCP_FLAGS = {
    "F": 1, "S": 2, "R": 4, "P": 8, "A": 16, "U": 32, "E": 64, "2": 64, "C": 128, "1": 128,
}  # fmt: skip
_FLAGS_COMPARE = {
    "": FlagsCompare.FLAGS_EXACT,
    "+": FlagsCompare.FLAGS_ALL,
    "*": FlagsCompare.FLAGS_ANY,
    "!": FlagsCompare.FLAGS_NOT,
}


def _letters(text: str, table: dict[str, int]) -> int:
    bits = 0
    for letter in text:
        if letter not in table:
            raise Refused(f"{letter!r} is no flag. Flags are {' '.join(table)}")
        bits |= table[letter]
    return bits


def _modifier(text: str) -> tuple[FlagsCompare, str]:
    """Split the modifier (+ * !) from either end."""
    found = [char for char in text if char in "+*!"]
    if len(found) > 1:
        raise Refused("more than one of + * !")
    letters = text.strip("+*! ")
    return _FLAGS_COMPARE["".join(found)], letters


@keyword("tcp.flags", "flags", family=FAMILY, quotes=Quotes.OPTIONAL)
def tcp_flags(b: Builder, value: str) -> None:
    """`[+*!]flags[,ignored]`: exactly these flags, all of them (+), any (*), or not these
    (!). Flags: F S R P A U E(2) C(1), 0 for none."""
    wanted, comma, ignored = value.upper().partition(",")
    compare, letters = _modifier(wanted.strip())
    if not letters or (comma and not ignored.strip()):
        raise Refused("write flags:SA or flags:S,CE")
    if letters == "0":
        bits = 0
    else:
        bits = _letters(letters, _TCP_FLAGS)
    mask = _letters(ignored.strip(), _TCP_FLAGS)
    b.only(ProtoBit.PB_TCP)
    b.require_packet()
    b.check(Op(OpKind.CHK_TCP_FLAGS, cmp=compare, a=bits, b=mask))


@keyword("fragbits", family=FAMILY)
def fragbits(b: Builder, value: str) -> None:
    """`[+*!]` and M (more fragments), D (don't fragment), R (reserved)."""
    compare, letters = _modifier(value.upper().strip())
    if not letters:
        raise Refused("write fragbits:M, D or R, with + * or ! before it")
    b.require_packet()
    b.check(Op(OpKind.CHK_FRAGBITS, cmp=compare, a=_letters(letters, {"M": 1, "D": 2, "R": 4})))


@keyword("sameip", family=FAMILY, value=Value.NONE)
def sameip(b: Builder, value: str) -> None:
    """Source and destination address are equal."""
    b.require_packet()
    b.check(Op(OpKind.CHK_SAMEIP))


# RFC 791 and its successors: option type bytes.
IP_OPTIONS = {
    "eol": 0, "nop": 1, "rr": 7, "ts": 68, "sec": 130, "lsrr": 131, "lsrre": 131, "esec": 133,
    "cipso": 134, "satid": 136, "ssrr": 137, "rtralt": 148,
}  # fmt: skip


@keyword("ipopts", family=FAMILY)
def ipopts(b: Builder, value: str) -> None:
    """An IPv4 option is present: rr, lsrr, ssrr, ts, sec, esec, satid, nop, eol, …"""
    if value not in IP_OPTIONS:
        raise Refused(f"{value[:40]!r} is no option. Options are {', '.join(IP_OPTIONS)}")
    b.only_version(RuleFlag.RF_IPV4)
    b.require_packet()
    b.check(Op(OpKind.CHK_IPOPT, data=IP_OPTIONS[value]))


@keyword("vlan.id", family=FAMILY)
def vlan_id(b: Builder, value: str) -> None:
    """`id[,layer]`: a VLAN identifier; layer 0, 1, 2 from outside, −1, −2, −3 from inside,
    any (default) or all."""
    number, comma, layer = value.partition(",")
    compare, low, high = unsigned(number, 16)
    if max(low, high) > 4095:
        raise Refused("a VLAN identifier is 0 to 4095")
    layer = layer.strip()
    if not comma or layer == "any":
        data = int(VlanLayer.VLAN_ANY)
    elif layer == "all":
        data = int(VlanLayer.VLAN_ALL)
    else:
        place = integer(layer, -3, 2, "the layer")
        data = place if place >= 0 else int(VlanLayer.VLAN_LAST) + 1 + place
    b.require_packet()
    b.check(Op(OpKind.CHK_VLAN_ID, cmp=compare, data=data, a=low, b=high))


def _csum(name: str, which: Csum, protos: int, version: int) -> None:
    def handler(b: Builder, value: str) -> None:
        if value.lower() not in ("valid", "invalid"):
            raise Refused("it is valid or invalid")
        if protos:
            b.only(protos)
        b.only_version(version)
        b.require_packet()
        b.check(Op(OpKind.CHK_CSUM, data=which, a=int(value.lower() == "valid")))

    handler.__doc__ = "Checksum is `valid` or `invalid`."
    keyword(name, family=FAMILY, quotes=Quotes.OPTIONAL)(handler)


_csum("ipv4-csum", Csum.CSUM_IPV4, 0, RuleFlag.RF_IPV4)
_csum("tcpv4-csum", Csum.CSUM_TCPV4, ProtoBit.PB_TCP, RuleFlag.RF_IPV4)
_csum("udpv4-csum", Csum.CSUM_UDPV4, ProtoBit.PB_UDP, RuleFlag.RF_IPV4)
_csum("icmpv4-csum", Csum.CSUM_ICMPV4, ProtoBit.PB_ICMP, RuleFlag.RF_IPV4)
_csum("tcpv6-csum", Csum.CSUM_TCPV6, ProtoBit.PB_TCP, RuleFlag.RF_IPV6)
_csum("udpv6-csum", Csum.CSUM_UDPV6, ProtoBit.PB_UDP, RuleFlag.RF_IPV6)
_csum("icmpv6-csum", Csum.CSUM_ICMPV6, ProtoBit.PB_ICMPV6, RuleFlag.RF_IPV6)

EVENTS = {
    name.removeprefix("EV_").replace("__", ".", 1).lower(): int(number)
    for name, number in Event.__members__.items()
    if name != "EV_COUNT"
}


def _event(b: Builder, name: str) -> None:
    number = EVENTS.get(name.strip().lower())
    if number is None:
        near = [one for one in EVENTS if one.split(".")[-1] == name.split(".")[-1]]
        hint = f" Did you mean {near[0]}?" if near else ""
        raise Refused(f"the event {name[:60]!r} is unknown.{hint}")
    b.check(Op(OpKind.CHK_EVENT, data=number))


@keyword("decode-event", "engine-event", family=FAMILY)
def decode_event(b: Builder, value: str) -> None:
    """An event of the decoder, `ipv4.opt_invalid_len`."""
    _event(b, value)


@keyword("stream-event", family=FAMILY)
def stream_event(b: Builder, value: str) -> None:
    """An event of the TCP tracker, `3whs_wrong_seq_wrong_ack`."""
    b.only(ProtoBit.PB_TCP)
    _event(b, f"stream.{value.strip()}")
