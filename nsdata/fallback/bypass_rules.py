"""Inspection bypass rules: traffic that is forwarded, or blocked, before inspection.

At most 32 rules. They act on the frame as it arrived (its outermost layer, before
defragmentation and flow tracking), at once and on flows that are already open. The
first enabled rule in file order that matches decides and its hit count goes up by one:
`bypass` forwards the frame uninspected (Why BYPASS_RULE), `block` drops it
(Why BYPASS_RULE_BLOCK). A rule matches when every field it states matches:

========== =========================================================================
ethertype  `ip` (the frame carries IPv4 or IPv6), `not-ip`, a number (0x88cc) or a name
protocol   the IP protocol, after extension headers; a frame without IP never matches
src, dst   CIDR; the address family must match as well
ports      TCP and UDP only. A fragment has no known ports, so it never matches
vlan       identifier of the outermost tag; an untagged frame never matches
========== =========================================================================

A `bidirectional` rule (the default) also matches with source and destination, addresses
and ports together, swapped.

What the C engine matches with is `BypassRules.to_bytes()` (`nsdata.bypass_table.to_array`
is the same as a numpy structured array): one element per rule in order, 64 bytes, little
endian, naturally aligned (a C struct with the same fields in this order is laid out alike):

====== ==== ================= =========================================================
offset type field             meaning
====== ==== ================= =========================================================
0      u1   enabled           0: never matches
1      u1   action            0 bypass, 1 block
2      u1   ethertype_mode    0 any, 1 is IP, 2 is not IP, 3 equals `ethertype`
3      u1   bidirectional     1: the swapped direction matches as well
4      u2   ethertype         host order; read when ethertype_mode is 3
6      i2   proto             -1 any, else 0..255 (needs ip_version ≠ 0)
8      u1   src_version       0 any address (even none), else 4 or 6: must equal ip_version
9      u1   src_prefix        bits of `src` to compare: 0..32 or 0..128
10     u1   dst_version
11     u1   dst_prefix
12     u2   sport_lo          inclusive range, host order; read when ports & 1
14     u2   sport_hi
16     u2   dport_lo          ... when ports & 2
18     u2   dport_hi
20     i4   vlan              -1 any, else 0..4094: n_vlan > 0 and vlan[0] equals it
24     16u1 src               network order as in Packet.src, host bits zero
40     16u1 dst
56     u4   id
60     u1   ports             1: source port stated, 2: destination port stated.
                              Needs proto 6 or 17, an L4 header, and no fragment
61     3u1  pad               zero
====== ==== ================= =========================================================

"Is IP" means: EtherType 0x0800 or 0x86dd, or an IP header was found (`ip_version` ≠ 0;
raw IP captures, PPPoE, MPLS). The engine keeps hit counts in an array of u8 (8-byte)
integers beside this one. `first_match` is the same in plain Python: the oracle for tests.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from nsdata.errors import SettingError
from nsdata.toml_text import KeyPath, place_of, read_toml

MAX_BYPASS_RULES = 32

RULE_BYTES = 64
_RULE = struct.Struct("<BBBBHhBBBBHHHHi16s16sIB3x")

ETHERTYPES: Mapping[str, int] = {
    "ipv4": 0x0800,
    "arp": 0x0806,
    "wol": 0x0842,
    "trill": 0x22F3,
    "rarp": 0x8035,
    "ipx": 0x8137,
    "ipv6": 0x86DD,
    "flow-control": 0x8808,
    "lacp": 0x8809,
    "mpls": 0x8847,
    "mpls-multicast": 0x8848,
    "pppoe-discovery": 0x8863,
    "pppoe": 0x8864,
    "eapol": 0x888E,
    "profinet": 0x8892,
    "ethercat": 0x88A4,
    "goose": 0x88B8,
    "gse": 0x88B9,
    "sv": 0x88BA,
    "lldp": 0x88CC,
    "macsec": 0x88E5,
    "ptp": 0x88F7,
    "cfm": 0x8902,
    "fcoe": 0x8906,
    "roce": 0x8915,
}
IP_PROTOCOLS: Mapping[str, int] = {
    "icmp": 1,
    "igmp": 2,
    "ipip": 4,
    "tcp": 6,
    "udp": 17,
    "ipv6": 41,
    "rsvp": 46,
    "gre": 47,
    "esp": 50,
    "ah": 51,
    "icmpv6": 58,
    "eigrp": 88,
    "ospf": 89,
    "pim": 103,
    "vrrp": 112,
    "l2tp": 115,
    "sctp": 132,
    "udplite": 136,
}
TCP, UDP = 6, 17


class EthertypeMode(IntEnum):
    """What a rule asks of the EtherType."""

    ANY = 0
    IP = 1
    NOT_IP = 2
    VALUE = 3


class BypassAction(StrEnum):
    """What happens to a frame a rule matches."""

    BYPASS = "bypass"
    BLOCK = "block"


IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


def _number(value: Any, what: str, names: Mapping[str, int], top: int) -> int:
    """A number (decimal or 0x…) or one of `names`; ValueError says what is legal."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"must be a number or a name, not {value!r}")
    number: int | None
    if isinstance(value, int):
        number = value
    else:
        text = value.strip().lower()
        number = names.get(text)
        if number is None:
            try:
                number = int(text, 0)
            except ValueError:
                raise ValueError(
                    f"{value!r} is not {what}; legal: a number up to {top}, or {', '.join(names)}"
                ) from None
    if not 0 <= number <= top:
        raise ValueError(f"{number} is outside 0..{top}")
    return number


def _ethertype(value: Any) -> tuple[EthertypeMode, int]:
    if isinstance(value, tuple):
        return EthertypeMode(value[0]), int(value[1])
    if isinstance(value, str):
        text = value.strip().lower().replace("_", "-").replace(" ", "-")
        if text == "any":
            return EthertypeMode.ANY, 0
        if text == "ip":
            return EthertypeMode.IP, 0
        if text in ("not-ip", "!ip", "non-ip"):
            return EthertypeMode.NOT_IP, 0
    names = {"any": 0, "ip": 0, "not-ip": 0, **ETHERTYPES}
    number = _number(value, "an EtherType", names, 0xFFFF)
    if number < 0x0600:
        raise ValueError(f"{number:#06x} is a length, not an EtherType (0x0600..0xffff)")
    return EthertypeMode.VALUE, number


def _protocol(value: Any) -> int | None:
    if value is None or (isinstance(value, str) and value.strip().lower() == "any"):
        return None
    return _number(value, "an IP protocol", IP_PROTOCOLS, 255)


def _network(value: Any) -> IPNetwork | None:
    if value is None or (isinstance(value, str) and value.strip().lower() == "any"):
        return None
    if isinstance(value, ipaddress.IPv4Network | ipaddress.IPv6Network):
        return value
    if not isinstance(value, str) or "%" in value:
        raise ValueError(f"{value!r} is not a CIDR such as 10.0.0.0/8 or 2001:db8::/32")
    try:
        return ipaddress.ip_network(value.strip(), strict=False)
    except ValueError:
        raise ValueError(f"{value!r} is not a CIDR such as 10.0.0.0/8 or 2001:db8::/32") from None


def _port_range(value: Any) -> tuple[int, int] | None:
    if value is None or (isinstance(value, str) and value.strip().lower() == "any"):
        return None
    if isinstance(value, tuple):
        low, high = value
    elif isinstance(value, int) and not isinstance(value, bool):
        low = high = value
    elif isinstance(value, str):
        first, _, last = value.replace(":", "-").partition("-")
        try:
            low = int(first)
            high = int(last) if last.strip() else low
        except ValueError:
            raise ValueError(f"{value!r} is not a port or a range such as 6000-6063") from None
    else:
        raise ValueError(f"{value!r} is not a port or a range such as 6000-6063")
    if not 0 <= low <= high <= 65535:
        raise ValueError(f"port range {low}-{high} is not ascending within 0..65535")
    return low, high


Ethertype = Annotated[tuple[EthertypeMode, int], BeforeValidator(_ethertype)]
Protocol = Annotated[int | None, BeforeValidator(_protocol)]
Network = Annotated[IPNetwork | None, BeforeValidator(_network)]
PortRange = Annotated[tuple[int, int] | None, BeforeValidator(_port_range)]


class BypassRule(BaseModel):
    """One rule, as an operator writes it; see the module for what each field matches."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    id: int = Field(ge=1, le=0xFFFFFFFF, strict=True)
    name: str = Field(default="", max_length=64)
    enabled: bool = Field(default=True, strict=True)
    action: BypassAction = BypassAction.BYPASS
    ethertype: Ethertype = (EthertypeMode.ANY, 0)
    protocol: Protocol = None
    src: Network = None
    dst: Network = None
    src_port: PortRange = Field(default=None, alias="src-port")
    dst_port: PortRange = Field(default=None, alias="dst-port")
    vlan: int | None = Field(default=None, ge=0, le=4094, strict=True)
    bidirectional: bool = Field(default=True, strict=True)

    @field_validator("action", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _can_match(self) -> BypassRule:
        """A rule that could never match is a mistake; say so now."""
        mode, ethertype = self.ethertype
        needs_ip = [
            key
            for key, value in (
                ("protocol", self.protocol),
                ("src", self.src),
                ("dst", self.dst),
                ("src-port", self.src_port),
                ("dst-port", self.dst_port),
            )
            if value is not None
        ]
        if mode is EthertypeMode.NOT_IP and needs_ip:
            raise ValueError(f"ethertype not-ip can never match together with {needs_ip[0]}")
        families = {net.version for net in (self.src, self.dst) if net is not None}
        if len(families) == 2:
            raise ValueError("src and dst are of different address families; never matches")
        if mode is EthertypeMode.VALUE and (
            (ethertype == ETHERTYPES["ipv4"] and 6 in families)
            or (ethertype == ETHERTYPES["ipv6"] and 4 in families)
        ):
            raise ValueError(f"ethertype {ethertype:#06x} and the address family never match")
        if (self.src_port or self.dst_port) and self.protocol not in (None, TCP, UDP):
            raise ValueError("ports need protocol tcp or udp (or none stated: both)")
        return self


@dataclass(frozen=True, slots=True)
class FrameFacts:
    """What a rule looks at: the outermost layer of one frame, as decoded.

    `src` and `dst` are packed addresses (4 or 16 bytes, empty without IP); ports are None
    unless it is TCP or UDP with its header there; `vlan` is the outermost tag or None.
    """

    ethertype: int = 0
    ip_version: int = 0
    protocol: int = 0
    src: bytes = b""
    dst: bytes = b""
    src_port: int | None = None
    dst_port: int | None = None
    vlan: int | None = None


def _in(net: IPNetwork | None, version: int, address: bytes) -> bool:
    if net is None:
        return True
    if net.version != version:
        return False
    return int.from_bytes(address) & int(net.netmask) == int(net.network_address)


def _port_in(ports: tuple[int, int] | None, port: int | None) -> bool:
    return ports is None or (port is not None and ports[0] <= port <= ports[1])


def matches(rule: BypassRule, frame: FrameFacts) -> bool:
    """Whether `rule` matches `frame` (the reference the C matcher is tested against)."""
    if not rule.enabled:
        return False
    mode, ethertype = rule.ethertype
    is_ip = frame.ip_version != 0 or frame.ethertype in (0x0800, 0x86DD)
    if mode is EthertypeMode.IP and not is_ip:
        return False
    if mode is EthertypeMode.NOT_IP and is_ip:
        return False
    if mode is EthertypeMode.VALUE and frame.ethertype != ethertype:
        return False
    if rule.vlan is not None and rule.vlan != frame.vlan:
        return False
    if rule.protocol is not None and (frame.ip_version == 0 or frame.protocol != rule.protocol):
        return False
    if (rule.src_port or rule.dst_port) and (
        frame.protocol not in (TCP, UDP) or frame.src_port is None or frame.dst_port is None
    ):
        return False
    there = (
        _in(rule.src, frame.ip_version, frame.src)
        and _in(rule.dst, frame.ip_version, frame.dst)
        and _port_in(rule.src_port, frame.src_port)
        and _port_in(rule.dst_port, frame.dst_port)
    )
    if there or not rule.bidirectional:
        return there
    return (
        _in(rule.src, frame.ip_version, frame.dst)
        and _in(rule.dst, frame.ip_version, frame.src)
        and _port_in(rule.src_port, frame.dst_port)
        and _port_in(rule.dst_port, frame.src_port)
    )


@dataclass(frozen=True, slots=True)
class BypassRules:
    """The rules in force, in order. Raises SettingError when there are too many."""

    rules: tuple[BypassRule, ...] = ()

    def __post_init__(self) -> None:
        if len(self.rules) > MAX_BYPASS_RULES:
            raise SettingError(
                f"{len(self.rules)} inspection bypass rules; at most {MAX_BYPASS_RULES} are "
                "possible: merge some (a shorter prefix, a port range)"
            )
        seen: set[int] = set()
        for rule in self.rules:
            if rule.id in seen:
                raise SettingError(f"two inspection bypass rules have id {rule.id}")
            seen.add(rule.id)

    def __len__(self) -> int:
        return len(self.rules)

    def first_match(self, frame: FrameFacts) -> int | None:
        """Index of the rule that decides about `frame`, or None: inspect it."""
        for index, rule in enumerate(self.rules):
            if matches(rule, frame):
                return index
        return None

    def to_bytes(self) -> bytes:
        """The rules as the C engine reads them: RULE_BYTES each, laid out as said above."""
        return b"".join(_packed(rule) for rule in self.rules)

    def hit_counts(self, hits: Sequence[int]) -> list[dict[str, Any]]:
        """One entry per rule with its hit count, for the summary; `hits` is per index."""
        return [
            {
                "id": rule.id,
                "name": rule.name,
                "enabled": rule.enabled,
                "action": rule.action.value,
                "hits": int(count),
            }
            for rule, count in zip(self.rules, hits, strict=True)
        ]


def _packed(rule: BypassRule) -> bytes:
    src, dst = rule.src, rule.dst
    sport, dport = rule.src_port or (0, 0), rule.dst_port or (0, 0)
    return _RULE.pack(
        rule.enabled,
        rule.action is BypassAction.BLOCK,
        rule.ethertype[0],
        rule.bidirectional,
        rule.ethertype[1],
        -1 if rule.protocol is None else rule.protocol,
        src.version if src else 0,
        src.prefixlen if src else 0,
        dst.version if dst else 0,
        dst.prefixlen if dst else 0,
        *sport,
        *dport,
        -1 if rule.vlan is None else rule.vlan,
        src.network_address.packed if src else b"",
        dst.network_address.packed if dst else b"",
        rule.id,
        (1 if rule.src_port else 0) | (2 if rule.dst_port else 0),
    )


def parse_bypass_rules(text: str, path: str = "<bypass rules>") -> BypassRules:
    """Rules from TOML text, one `[[rule]]` table each; `path` is for messages.

    Raises SettingError that names file, line and key.
    """
    data, lines = read_toml(text, path)
    for key in data:
        if key != "rule":
            where = place_of(lines, path, (key,))
            raise SettingError(f"{where}: unknown key {key!r}; legal: [[rule]] tables")
    tables = data.get("rule", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        where = place_of(lines, path, ("rule",))
        raise SettingError(f"{where}: write each rule as a [[rule]] table (double brackets)")
    rules: list[BypassRule] = []
    for index, table in enumerate(tables):
        if index == MAX_BYPASS_RULES:
            where = place_of(lines, path, ("rule", index))
            raise SettingError(
                f"{where}: {len(tables)} inspection bypass rules; at most {MAX_BYPASS_RULES} "
                "are possible: merge some (a shorter prefix, a port range)"
            )
        try:
            rule = BypassRule.model_validate(table)
        except ValidationError as fault:
            raise SettingError(_explain(fault, lines, path, index)) from None
        twin = next((n for n, other in enumerate(rules) if other.id == rule.id), None)
        if twin is not None:
            where = place_of(lines, path, ("rule", index, "id"))
            other_place = place_of(lines, path, ("rule", twin, "id"))
            raise SettingError(f"{where}: id {rule.id} is already used at {other_place}")
        rules.append(rule)
    return BypassRules(tuple(rules))


def _explain(fault: ValidationError, lines: Mapping[KeyPath, int], path: str, index: int) -> str:
    keys = [field.alias or name for name, field in BypassRule.model_fields.items()]
    first = fault.errors()[0]
    key = str(first["loc"][0]) if first["loc"] else ""
    where = place_of(lines, path, ("rule", index, key) if key else ("rule", index))
    if first["type"] == "extra_forbidden":
        return f"{where}: unknown key {key!r}; legal: {', '.join(keys)}"
    reason = first["msg"].removeprefix("Value error, ")
    reason = reason[:1].lower() + reason[1:]
    return f"{where}: {key + ': ' if key else ''}{reason}"
