"""bypass: the matcher in C against the reference in nsdata.fallback.bypass_rules."""

import ipaddress
import struct
from typing import Any

import traffic
from engines import Run
from hypothesis import given, settings
from hypothesis import strategies as st

from nsdata.bypass_table import BypassTable, to_array
from nsdata.fallback.bypass_rules import BypassRule, BypassRules, FrameFacts

WHY_BYPASS_RULE, WHY_BYPASS_RULE_BLOCK = 2, 9
ADDRESSES = ["10.0.0.1", "10.0.0.2", "10.1.0.1", "192.168.7.9", "fd00::1", "fd00::2", "2001:db8::9"]
NETS = ["10.0.0.0/8", "10.0.0.1", "10.0.0.0/31", "0.0.0.0/0", "192.168.7.8/29", "fd00::/64",
        "fd00::1", "::/0", "2001:db8::/33"]  # fmt: skip
PORTS = [0, 53, 80, 1024, 65535]


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Any]:
    """Fields of a rule; some say what can never match and are left out by the caller."""
    fields: dict[str, Any] = {"action": draw(st.sampled_from(["bypass", "block"]))}
    options: dict[str, st.SearchStrategy[Any]] = {
        "enabled": st.booleans(),
        "ethertype": st.sampled_from(["any", "ip", "not-ip", "arp", "ipv4", "ipv6", 0x88CC]),
        "protocol": st.sampled_from(["tcp", "udp", "icmp", "icmpv6", 47, 0]),
        "src": st.sampled_from(NETS),
        "dst": st.sampled_from(NETS),
        "src-port": st.sampled_from(["53", "0-79", "80-1024", "1024-65535", 0]),
        "dst-port": st.sampled_from(["53", "0-79", "80-1024", "1024-65535", 0]),
        "vlan": st.sampled_from([0, 5, 4094]),
        "bidirectional": st.booleans(),
    }
    for name in draw(st.sets(st.sampled_from(sorted(options)), max_size=4)):
        fields[name] = draw(options[name])
    return fields


@st.composite
def frames(draw: st.DrawFn) -> tuple[bytes, FrameFacts]:
    """A frame and what is in it."""
    vlans = draw(st.lists(st.sampled_from([0, 5, 6, 4094]), max_size=2))
    vlan = vlans[0] if vlans else None
    kind = draw(st.sampled_from(["tcp", "udp", "icmp", "gre", "fragment", "arp", "lldp"]))
    if kind in ("arp", "lldp"):
        ethertype = 0x0806 if kind == "arp" else 0x88CC
        body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + bytes(20)
        return traffic.eth(ethertype, body, vlans), FrameFacts(ethertype, vlan=vlan)
    src = draw(st.sampled_from(ADDRESSES))
    same = [a for a in ADDRESSES if (":" in a) == (":" in src)]
    dst = draw(st.sampled_from(same))
    sport, dport = draw(st.sampled_from(PORTS)), draw(st.sampled_from(PORTS))
    version = 6 if ":" in src else 4
    frag = 0
    if kind == "fragment":
        if version == 6:
            fragment = struct.pack("!BBHI", 17, 0, 1, 9)
            body, number, protocol = fragment + bytes(16), 44, 17
        else:
            body, number, protocol, frag = bytes(16), 17, 17, 0x2000
    elif kind == "tcp":
        body, number = traffic.tcp_segment(b"x", src=src, dst=dst, sport=sport, dport=dport), 6
        protocol = 6
    elif kind == "udp":
        body, number = traffic.udp_datagram(b"x", src, dst, sport, dport), 17
        protocol = 17
    elif kind == "icmp":
        number = protocol = 58 if version == 6 else 1
        body = struct.pack("!BBHHH", 128 if version == 6 else 8, 0, 0, 1, 1)
    else:
        number = protocol = 47
        body = struct.pack("!HH", 0, 0x1234) + b"opaque"
    ports = (sport, dport) if kind in ("tcp", "udp") else (None, None)
    datagram = traffic.ip(number, body, src, dst, frag=frag)
    facts = FrameFacts(
        0x86DD if version == 6 else 0x0800,
        version,
        protocol,
        ipaddress.ip_address(src).packed,
        ipaddress.ip_address(dst).packed,
        *ports,
        vlan=vlan,
    )
    return traffic.frame(datagram, vlans), facts


def made(found: list[dict[str, Any]]) -> BypassRules:
    """Those of the rules that are sound."""
    sound = []
    for number, fields in enumerate(found, 1):
        try:
            sound.append(BypassRule.model_validate({"id": number, **fields}))
        except ValueError:
            continue
    return BypassRules(tuple(sound))


ENGINE = Run("alert ip any any -> any any (ttl:255; sid:1;)", inline=True)


@settings(max_examples=400, deadline=None)
@given(st.lists(rules(), max_size=8), st.lists(frames(), min_size=1, max_size=12))
def test_the_first_match_is_that_of_the_reference(
    found: list[dict[str, Any]], sent: list[tuple[bytes, FrameFacts]]
) -> None:
    table = made(found)
    ENGINE.engine.set_bypass(to_array(table))
    before = ENGINE.engine.counts()[2]
    ENGINE.verdicts.clear()
    ENGINE.feed([data for data, _ in sent])
    hits = [0] * len(table)
    blocked = 0
    for (_, facts), verdict in zip(sent, ENGINE.verdicts, strict=True):
        match = table.first_match(facts)
        if match is not None:
            hits[match] += 1
            block = table.rules[match].action == "block"
            blocked += block
            assert verdict == int(block)

    after = ENGINE.engine.counts()[2]
    assert ENGINE.engine.bypass_counts() == hits
    assert after[WHY_BYPASS_RULE_BLOCK] - before[WHY_BYPASS_RULE_BLOCK] == blocked
    assert after[WHY_BYPASS_RULE] - before[WHY_BYPASS_RULE] == sum(hits) - blocked


def test_bypass_acts_before_inspection_and_on_open_flows() -> None:
    rule = 'drop udp any any -> any any (content:"hello"; sid:1;)'
    table = BypassTable((BypassRule(id=1, **{"dst-port": 5000}),))  # type: ignore[arg-type]
    frame = traffic.udp(b"hello")
    run = Run(rule, inline=True).feed([frame])
    assert run.verdicts == [1]
    run.engine.set_bypass(table.to_array())
    run.feed([frame, traffic.udp(b"hello", dport=1)])
    assert run.verdicts == [1, 0, 1] and run.engine.bypass_counts() == [1]
    run.engine.set_bypass(to_array(BypassRules()))
    assert run.feed([frame]).verdicts[-1] == 1


def test_tunnels_are_matched_by_their_outermost_layer() -> None:
    ends = ("10.9.0.1", "10.9.0.2")
    inner = traffic.ip(17, traffic.udp_datagram(b"", *ends), *ends)
    frame = traffic.frame(traffic.ip(4, inner, "192.0.2.1", "192.0.2.2"))
    for net, hits in (("10.9.0.0/16", 0), ("192.0.2.0/24", 1)):
        table = BypassTable((BypassRule(id=1, src=net),))  # type: ignore[arg-type]
        run = Run("", bypass=table.to_array()).feed([frame])
        assert run.engine.bypass_counts() == [hits]
