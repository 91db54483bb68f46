"""detect: headers, flows, streams, and what rules remember, over frames built by hand."""

import ipaddress
import itertools
from typing import Any

import pytest
import traffic
from engines import ALERT, Run, fired
from hypothesis import given, settings
from hypothesis import strategies as st
from traffic import ACK, FIN, PSH, SYN, Talk

from nsdata.rules.ruleset import load_text

UDP = traffic.udp(b"hello")
UDP6 = traffic.udp(b"hello", traffic.CLIENT6, traffic.SERVER6)
PING = traffic.icmp()
PING6 = traffic.icmp(128, 0, b"ping", 7, 1, traffic.CLIENT6, traffic.SERVER6)


def one(rule: str, *frames: bytes, **options: Any) -> int:
    """How often a rule (without sid) fires on the frames."""
    return fired(rule[:-1] + " sid:1;)", frames, **options)[1]


HEADERS = [
    # protocol and addresses
    ("alert ip any any -> any any ()", UDP, 1),
    ("alert udp any any -> any any ()", UDP, 1),
    ("alert tcp any any -> any any ()", UDP, 0),
    ("alert icmp any any -> any any ()", PING, 1),
    ("alert icmp any any -> any any ()", PING6, 1),
    ("alert icmp any any -> any any ()", UDP, 0),
    ("alert udp 10.0.0.1 any -> any any ()", UDP, 1),
    ("alert udp any any -> 10.0.0.1 any ()", UDP, 0),
    ("alert udp any any <> 10.0.0.1 any ()", UDP, 1),
    ("alert udp 10.0.0.0/31 any -> 10.0.0.2/31 any ()", UDP, 1),
    ("alert udp !10.0.0.0/8 any -> any any ()", UDP, 0),
    ("alert udp [10.0.0.0/8,!10.0.0.1] any -> any any ()", UDP, 0),
    ("alert udp [192.168.0.0/16,10.0.0.1] any -> any any ()", UDP, 1),
    ("alert udp 10.0.0.0-10.0.0.5 any -> any any ()", UDP, 1),
    ("alert udp $HOME_NET any -> any any ()", UDP, 1),
    ("alert udp fd00::/8 any -> fd00::2 any ()", UDP6, 1),
    ("alert udp fd00::/127 any -> any any ()", UDP6, 1),
    ("alert udp fd00::2 any -> any any ()", UDP6, 0),
    ("alert udp 10.0.0.0/8 any -> any any ()", UDP6, 0),
    ("alert ipv4 any any -> any any ()", UDP6, 0),
    ("alert ipv6 any any -> any any ()", UDP6, 1),
    # ports
    ("alert udp any 1024 -> any 5000 ()", UDP, 1),
    ("alert udp any 5000 -> any 1024 ()", UDP, 0),
    ("alert udp any 5000 <> any 1024 ()", UDP, 1),
    ("alert udp any any -> any 4999:5001 ()", UDP, 1),
    ("alert udp any any -> any :4999 ()", UDP, 0),
    ("alert udp any any -> any 5000: ()", UDP, 1),
    ("alert udp any any -> any !5000 ()", UDP, 0),
    ("alert udp any any -> any [53,5000] ()", UDP, 1),
    ("alert udp any any -> any [4000:6000,!5000] ()", UDP, 0),
    # IP header
    ("alert ip any any -> any any (ttl:64;)", UDP, 1),
    ("alert ip any any -> any any (ttl:<64;)", UDP, 0),
    ("alert ip any any -> any any (ttl:>63;)", UDP, 1),
    ("alert ip any any -> any any (ttl:60-65;)", UDP, 1),
    ("alert ip any any -> any any (ttl:60-64;)", UDP, 0),
    ("alert ip any any -> any any (ttl:64;)", UDP6, 1),
    ("alert ip any any -> any any (tos:0;)", UDP, 1),
    ("alert ip any any -> any any (tos:8;)", UDP, 0),
    ("alert ip any any -> any any (id:1;)", UDP, 1),
    ("alert ip any any -> any any (id:2;)", UDP, 0),
    ("alert ip any any -> any any (ip_proto:17;)", UDP, 1),
    ("alert ip any any -> any any (ip_proto:!17;)", UDP, 0),
    ("alert ip any any -> any any (ip_proto:udp;)", UDP6, 1),
    ("alert ip any any -> any any (sameip;)", UDP, 0),
    ("alert ip any any -> any any (sameip;)", traffic.udp(b"", "1.2.3.4", "1.2.3.4"), 1),
    ("alert ip any any -> any any (fragbits:D;)", UDP, 0),
    ("alert ip any any -> any any (fragbits:D;)", traffic.udp(b"", frag=0x4000), 1),
    ("alert ip any any -> any any (fragbits:!D;)", traffic.udp(b"", frag=0x4000), 0),
    ("alert ip any any -> any any (fragbits:+R;)", traffic.udp(b"", frag=0xC000), 1),
    ("alert ip any any -> any any (ipopts:rr;)", UDP, 0),
    (
        "alert ip any any -> any any (ipopts:rr;)",
        traffic.frame(traffic.ip(17, traffic.udp_datagram(b"", "10.0.0.1", "10.0.0.2"),
                                 options=b"\7\7\4\0\0\0\0\0")),
        1,
    ),
    # ICMP
    ("alert icmp any any -> any any (itype:8;)", PING, 1),
    ("alert icmp any any -> any any (itype:0;)", PING, 0),
    ("alert icmp any any -> any any (itype:>7;)", PING, 1),
    ("alert icmp any any -> any any (itype:128;)", PING6, 1),
    ("alert icmp any any -> any any (icode:0;)", PING, 1),
    ("alert icmp any any -> any any (icode:>0;)", PING, 0),
    ("alert icmp any any -> any any (icmp_id:7;)", PING, 1),
    ("alert icmp any any -> any any (icmp_id:8;)", PING, 0),
    ("alert icmp any any -> any any (icmp_seq:1;)", PING6, 1),
    ("alert icmp any any -> any any (icmp_id:7;)", traffic.icmp(3, 3), 0),
    # TCP
    ("alert tcp any any -> any any (flags:S;)", traffic.tcp(flags=SYN), 1),
    ("alert tcp any any -> any any (flags:S;)", traffic.tcp(flags=SYN | ACK), 0),
    ("alert tcp any any -> any any (flags:S+;)", traffic.tcp(flags=SYN | ACK), 1),
    ("alert tcp any any -> any any (flags:*SF;)", traffic.tcp(flags=SYN | ACK), 1),
    ("alert tcp any any -> any any (flags:!S;)", traffic.tcp(flags=SYN), 0),
    ("alert tcp any any -> any any (flags:0;)", traffic.tcp(flags=0), 1),
    ("alert tcp any any -> any any (flags:S,CE;)", traffic.tcp(flags=SYN | 0xC0), 1),
    ("alert tcp any any -> any any (flags:S;)", traffic.tcp(flags=SYN | 0xC0), 0),
    ("alert tcp any any -> any any (flags:FPU;)", traffic.tcp(flags=FIN | PSH | 0x20), 1),
    ("alert tcp any any -> any any (seq:77;)", traffic.tcp(seq=77), 1),
    ("alert tcp any any -> any any (seq:78;)", traffic.tcp(seq=77), 0),
    ("alert tcp any any -> any any (ack:5;)", traffic.tcp(ack=5), 1),
    ("alert tcp any any -> any any (window:8192;)", traffic.tcp(), 1),
    ("alert tcp any any -> any any (window:!8192;)", traffic.tcp(), 0),
    (
        "alert tcp any any -> any any (tcp.mss:>500;)",
        traffic.tcp(flags=SYN, options=b"\2\4\5\xb4"),
        1,
    ),
    ("alert tcp any any -> any any (tcp.mss:<500;)", traffic.tcp(flags=SYN), 0),
    (
        'alert tcp any any -> any any (tcp.hdr; content:"|02 04 05 b4|"; offset:20;)',
        traffic.tcp(flags=SYN, options=b"\2\4\5\xb4"),
        1,
    ),
    ('alert icmp any any -> any any (icmpv4.hdr; content:"|08 00|"; startswith;)', PING, 1),
    ('alert icmp any any -> any any (icmpv6.hdr; content:"|80 00|"; startswith;)', PING6, 1),
    ('alert ip any any -> any any (ipv6.hdr; content:"|11 40|"; offset:6; depth:2;)', UDP6, 1),
    # VLAN
    ("alert udp any any -> any any (vlan.id:5;)", traffic.udp(b"", vlans=(5,)), 1),
    ("alert udp any any -> any any (vlan.id:5;)", UDP, 0),
    ("alert udp any any -> any any (vlan.id:6,1;)", traffic.udp(b"", vlans=(5, 6)), 1),
    ("alert udp any any -> any any (vlan.id:5,1;)", traffic.udp(b"", vlans=(5, 6)), 0),
    ("alert udp any any -> any any (vlan.layers:2;)", traffic.udp(b"", vlans=(5, 6)), 1),
    # checksums
    ("alert udp any any -> any any (udpv4-csum:valid;)", UDP, 1),
    ("alert udp any any -> any any (udpv4-csum:invalid;)", UDP, 0),
    ("alert udp any any -> any any (udpv4-csum:invalid;)", UDP[:-1] + b"!", 1),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "frame", "times"), HEADERS)
def test_headers(rule: str, frame: bytes, times: int) -> None:
    assert one(rule, frame) == times


# ---- addresses and ports against plain membership ---------------------------------------

NETS = ["10.0.0.0/8", "10.0.0.1", "10.0.0.0/30", "10.0.0.2-10.0.0.9", "192.168.0.0/16", "0.0.0.0/1",
        "fd00::/16", "fd00::1", "::/0"]  # fmt: skip
SPANS = ["80", "0:1023", "1024:", ":79", "8080", "5000:6000", "65535"]
HOSTS = ["10.0.0.1", "10.0.0.4", "10.200.0.1", "192.168.1.1", "200.1.1.1", "fd00::1", "fe80::2"]
PORTS = [0, 79, 80, 1023, 1024, 5000, 8080, 65535]
groups = st.tuples(st.booleans(), st.lists(st.tuples(st.booleans(), st.integers(0, 8)),
                                           min_size=1, max_size=3))  # fmt: skip
Group = tuple[bool, list[tuple[bool, int]]]


def inside(net: str, host: str) -> bool:
    address = ipaddress.ip_address(host)
    if "-" in net:
        low, high = map(ipaddress.ip_address, net.split("-"))
        return address.version == 4 and int(low) <= int(address) <= int(high)
    return address in ipaddress.ip_network(net)


def within(span: str, port: int) -> bool:
    low, colon, high = span.partition(":")
    return int(low or 0) <= port <= int(high or (65535 if colon else low))


def text_of(group: Group | None, names: list[str]) -> str:
    if group is None:
        return "any"
    parts = [("!" if no else "") + names[n % len(names)] for no, n in group[1]]
    return ("!" if group[0] else "") + f"[{','.join(parts)}]"


def member(group: Group | None, names: list[str], has: Any, thing: Any) -> bool:
    """In any of what the group lists and in nothing it negates; where it only negates, in
    everything. Addresses are taken by family."""
    if group is None:
        return True
    mine = [
        (no, names[n % len(names)])
        for no, n in group[1]
        if not isinstance(thing, str) or (":" in names[n % len(names)]) == (":" in thing)
    ]
    yes = [name for no, name in mine if not no]
    negated = [name for no, name in mine if no]
    found = any(has(name, thing) for name in yes) or (bool(negated) and not yes)
    return (found and not any(has(name, thing) for name in negated)) != group[0]


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(*[st.none() | groups] * 2, *[st.none() | groups] * 2, st.booleans()),
             min_size=3, max_size=12),
    st.lists(st.tuples(st.sampled_from(HOSTS), st.sampled_from(HOSTS), st.sampled_from(PORTS),
                       st.sampled_from(PORTS)), min_size=5, max_size=20),
)  # fmt: skip
def test_headers_match_by_plain_membership(
    rules: list[tuple[Any, ...]], packets: list[tuple[str, str, int, int]]
) -> None:
    lines, kept = [], []
    for sid, (src, dst, sport, dport, both) in enumerate(rules, 1):
        head = (
            f"alert udp {text_of(src, NETS)} {text_of(sport, SPANS)} "
            f"{'<>' if both else '->'} {text_of(dst, NETS)} {text_of(dport, SPANS)}"
        )
        line = f'{head} (content:"x"; ttl:>0; sid:{sid};)'
        # a group that leaves nothing is refused, and all-negated groups keep to a family
        plain = all(g is None or (not g[0] and any(not no for no, _ in g[1])) for g in (src, dst))
        if plain and not load_text(line).refused:
            lines.append(line)
            kept.append((sid, src, dst, sport, dport, both))
    if not lines:
        return
    packets = [p for p in packets if (":" in p[0]) == (":" in p[1])]
    frames = [traffic.udp(b"x", *ends) for ends in packets]
    expected = set()
    for number, (src_host, dst_host, src_port, dst_port) in enumerate(packets, 1):
        for sid, src, dst, sport, dport, both in kept:
            for a, b, c, d in ((src_host, dst_host, src_port, dst_port),
                               (dst_host, src_host, dst_port, src_port))[: 1 + both]:  # fmt: skip
                if (
                    member(src, NETS, inside, a)
                    and member(dst, NETS, inside, b)
                    and member(sport, SPANS, within, c)
                    and member(dport, SPANS, within, d)
                ):
                    expected.add((number, sid))  # fmt: skip
    assert set(Run("\n".join(lines)).feed(frames).alerts()) == expected, "\n".join(lines)


# ---- flows and streams -----------------------------------------------------------------


def web() -> Talk:
    return Talk().open().client(b"GET /foo").server(b"200 bar").close()


@pytest.mark.parametrize(
    ("options", "frames"),
    [
        ("flow:established;", {4, 5, 6, 7, 8, 9, 10}),
        ("flow:established,to_server;", {4, 7, 8, 10}),
        ("flow:established,to_client;", {5, 6, 9}),
        ("flow:to_server;", {1, 3, 4, 7, 8, 10}),
        ("flow:from_client;", {1, 3, 4, 7, 8, 10}),
        ("flow:from_server;", {2, 5, 6, 9}),
        ("flow:not_established;", {1, 2, 3}),
        ("flow:stateless;", set(range(1, 11))),
        ("flow:stateless; flags:S;", {1}),
        ("flow:established; flags:A;", {5, 7, 10}),
    ],
)
def test_flow_over_a_handshake(options: str, frames: set[int]) -> None:
    # ttl keeps the rule one of packets: those are looked at one by one
    run = Run(f"alert tcp any any -> any any ({options} ttl:>0; sid:1;)").feed(web().frames)
    assert {frame for frame, _ in run.finish().alerts()} == frames


def test_flow_needs_what_udp_shows_in_both_directions() -> None:
    there, back = UDP, traffic.udp(b"hi", traffic.SERVER, traffic.CLIENT, 5000, 1024)
    rule = "alert udp any any -> any any (flow:established; ttl:>0; sid:1;)"
    assert one(rule[:-8] + ")", there) == 0
    assert Run(rule).feed([there, back, there]).alerts() == [(2, 1), (3, 1)]


@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize(
    ("parts", "options", "times"),
    [
        ((b"foo", b"bar"), 'content:"foobar";', 1),
        ((b"f", b"o", b"o", b"b", b"ar"), 'content:"foobar";', 1),
        ((b"foo", b"bar"), 'content:"foo"; content:"bar"; distance:0;', 1),
        ((b"foo", b"xbar"), 'content:"foobar";', 0),
        ((b"foo", b"bar"), 'pcre:"/o+b/"; content:"bar";', 1),
        ((b"foo", b"bar"), 'content:"FOOBAR"; nocase;', 1),
        ((b"x" * 1400, b"y" * 1400, b"end"), 'content:"yend";', 1),
        ((b"foobar" + b"." * 3000,), 'content:"foobar";', 1),
        ((b"fo", b"obar"), 'content:"foobar"; content:!"zzz";', 1),
        ((b"fo", b"obar"), 'content:"foobar"; flow:to_client;', 0),
        ((b"fo", b"obar"), 'content:"foobar"; flow:no_stream;', 0),
        ((b"fo", b"foobar"), 'content:"foobar"; flow:no_stream;', 1),
        ((b"fo", b"obar"), 'content:"foobar"; flow:only_stream;', 1),
        ((b"fo", b"obar"), 'content:"foobar"; dsize:<99;', 0),
    ],
)
def test_content_across_segments(
    inline: bool, parts: tuple[bytes, ...], options: str, times: int
) -> None:
    rule = f"alert tcp any any -> any any ({options} sid:1;)"
    talk = Talk().open().client(*parts).close()
    assert fired(rule, talk.frames, inline=inline)[1] == times


PLACES = "|".join(f'content:"{text}";' for text in ("foobar", "ab", "xyzzy", "a.b"))


@settings(max_examples=120, deadline=None)
@given(
    st.text("fobarxyz.", min_size=1, max_size=80).map(lambda t: t + "foobar"[: len(t) % 7]),
    st.lists(st.integers(1, 80), max_size=8),
    st.randoms(use_true_random=False),
    st.booleans(),
    st.booleans(),
)
def test_however_a_stream_is_cut_the_same_rules_match(
    text: str, cuts: list[int], order: Any, inline: bool, shuffled: bool
) -> None:
    rules = "\n".join(
        f"alert tcp any any -> any any (flow:established; {place} sid:{sid};)"
        for sid, place in enumerate(PLACES.split("|"), 1)
    )
    data = text.encode()
    edges = sorted({0, len(data), *(c for c in cuts if c < len(data))})
    talk = Talk().open()
    start = talk.next[0]
    pieces = [
        talk.segment(0, PSH | ACK, data[a:b], start + a) for a, b in itertools.pairwise(edges)
    ]
    if shuffled:
        order.shuffle(pieces)
    talk.frames += pieces
    talk.next[0] += len(data)
    talk.send(1, ACK).close()
    expected = {sid for sid, place in enumerate(PLACES.split("|"), 1) if place[9:-2] in text}
    assert set(fired(rules, talk.frames, inline=inline)) == expected


@pytest.mark.parametrize("inline", [False, True])
def test_a_match_in_the_stream_is_told_once(inline: bool) -> None:
    rule = 'alert tcp any any -> any any (flow:established; content:"foobar"; sid:1;)'
    talk = Talk().open().client(b"foo", b"bar", b"more", b"and more").server(b"x", b"y").close()
    assert fired(rule, talk.frames, inline=inline)[1] == 1
    again = Talk().open().client(b"foo", b"bar", b"." * 1400, b"." * 1400, b"foobar").close()
    assert fired(rule, again.frames, inline=inline)[1] == 2


@pytest.mark.parametrize("inline", [False, True])
def test_segments_out_of_order_are_put_in_order(inline: bool) -> None:
    talk = Talk().open()
    first = talk.segment(0, PSH | ACK, b"foo")
    talk.next[0] += 3
    talk.frames += [talk.segment(0, PSH | ACK, b"bar"), first]
    talk.next[0] += 3
    talk.send(1, ACK).close()
    rule = 'alert tcp any any -> any any (content:"foobar"; sid:1;)'
    assert fired(rule, talk.frames, inline=inline)[1] == 1


def test_inline_looks_as_it_passes_and_ids_when_acknowledged() -> None:
    rule = 'alert tcp any any -> any any (content:"foobar"; sid:1;)'
    frames = Talk().open().client(b"foo", b"bar").frames
    assert Run(rule, inline=True).feed(frames).alerts() == [(6, 1)]
    run = Run(rule, ["stream.reassembly.toserver-chunk-size=6"]).feed(frames)
    assert run.alerts() == []
    run.feed(Talk().open().client(b"foo", b"bar", b"!").frames[7:])
    assert [sid for _, sid in run.alerts()] == [1]
    run = Run(rule).feed(frames)  # too little to be worth a look by itself
    assert run.alerts() == [] and run.finish().fired() == {1: 1}


def test_data_never_acknowledged_is_inspected_at_the_end() -> None:
    rule = 'alert tcp any any -> any any (content:"foobar"; sid:1;)'
    talk = Talk().open().send(0, PSH | ACK, b"foo").send(0, PSH | ACK, b"bar")
    run = Run(rule).feed(talk.frames)
    assert run.alerts() == []
    (event,) = run.finish().of(ALERT)
    assert event.sid == 1 and event.flags & (1 << 3)  # RECF_PSEUDO


def test_without_a_handshake_there_is_no_stream_unless_midstream_is_on() -> None:
    frames = Talk().client(b"foo", b"bar").frames
    rule = 'alert tcp any any -> any any (content:"foobar"; sid:1;)'
    assert fired(rule, frames)[1] == 0
    assert fired(rule, frames, settings=["stream.midstream=true"])[1] == 1


def test_wrong_checksums_are_refused_by_the_stream_or_not() -> None:
    frames = Talk().open().client(b"foo", b"bar").frames
    data = bytearray(frames[5])
    data[-1:] = b"x"  # the checksum is wrong now
    frames[5] = bytes(data)
    rule = 'alert tcp any any -> any any (flow:established; content:"foobax"; sid:1;)'
    assert fired(rule, frames)[1] == 0
    assert fired(rule, frames, checksums=False)[1] == 1


def test_stream_size() -> None:
    rule = "alert tcp any any -> any any (stream_size:client,>,10; ttl:>0; sid:1;)"
    run = Run(rule).feed(Talk().open().client(b"12345", b"1234567", b"x").frames)
    assert min(frame for frame, _ in run.alerts()) == 6


# ---- IPv6, tunnels, fragments ----------------------------------------------------------


def gre(inner: bytes) -> bytes:
    return traffic.frame(traffic.ip(47, b"\0\0\x08\0" + inner, "192.0.2.1", "192.0.2.2"))


INNER = traffic.ip(17, traffic.udp_datagram(b"inner", "10.9.0.1", "10.9.0.2"), "10.9.0.1",
                   "10.9.0.2")  # fmt: skip
VXLAN = traffic.udp(b"\x08\0\0\0\0\0\5\0" + traffic.frame(INNER), "192.0.2.1", "192.0.2.2", 9, 4789)
TUNNELS = {
    "gre": gre(INNER),
    "ipip": traffic.frame(traffic.ip(4, INNER, "192.0.2.1", "192.0.2.2")),
    "vxlan": VXLAN,
    "4in6": traffic.frame(traffic.ip(4, INNER, "fd00::1", "fd00::2")),
}


@pytest.mark.parametrize("name", TUNNELS)
def test_both_layers_of_a_tunnel_are_inspected(name: str) -> None:
    rules = """
        alert udp 10.9.0.1 any -> 10.9.0.2 5000 (content:"inner"; sid:1;)
        alert ip [192.0.2.1,fd00::1] any -> any any (ttl:64; sid:2;)
        alert ip 203.0.113.0/24 any -> any any (sid:3;)
    """
    assert fired(rules, [TUNNELS[name]]) == {1: 1, 2: 1}


def test_a_drop_in_either_layer_drops_the_frame() -> None:
    for address in ("10.9.0.1", "192.0.2.1"):
        run = Run(f"drop ip {address} any -> any any (ttl:64; sid:1;)", inline=True)
        assert run.feed([TUNNELS["gre"]]).finish().verdicts[0] in (1, 2)


def test_fragments_are_rebuilt_and_inspected() -> None:
    datagram = traffic.ip(17, traffic.udp_datagram(b"x" * 30 + b"smuggled" + b"y" * 30,
                                                   traffic.CLIENT, traffic.SERVER))  # fmt: skip
    frames = traffic.fragments(datagram, 40)
    rules = """
        alert udp any any -> any 5000 (content:"smuggled"; sid:1;)
        alert udp any any -> any any (content:"smuggled"; flow:no_frag; sid:2;)
        alert udp any any -> any any (content:"smuggled"; flow:only_frag; sid:3;)
        alert ip any any -> any any (fragbits:M; sid:4;)
        alert ip any any -> any any (fragoffset:5; sid:5;)
    """
    run = Run(rules).feed(frames).finish()
    assert run.fired() == {1: 1, 3: 1, 4: 1, 5: 1}
    assert {frame for frame, sid in run.alerts() if sid in (1, 3)} == {2}
    backwards = Run(rules).feed(frames[::-1]).finish()
    assert (2, 1) in backwards.alerts()
    assert fired(rules, frames[:1])[1] == 0
