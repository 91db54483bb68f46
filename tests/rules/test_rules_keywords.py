"""What each keyword makes of its value: one table row per form."""

from pathlib import Path
from typing import Any

import pytest

from nsdata.path.events import Event
from nsdata.path.rulebase import (
    Buffer,
    Compare,
    Csum,
    Field,
    FlagsCompare,
    FlowField,
    FlowIntOp,
    MathOp,
    OpFlag,
    OpKind,
    ProtoBit,
    RuleFlag,
    StreamSide,
    ThresholdKind,
    Track,
    VlanLayer,
)
from nsdata.rules.ir import Op, RuleIR
from nsdata.rules.keywords.header import EVENTS
from nsdata.rules.registry import KEYWORDS
from nsdata.rules.ruleset import load_text


def load(options: str, header: str = "alert ip any any -> any any") -> RuleIR:
    """The one rule with these options; fails when it is refused."""
    rules = load_text(f"{header} ({options} sid:1;)")
    assert rules.refused == []
    (rule,) = rules.rules
    return rule


def fields(op: Op, **want: Any) -> None:
    for name, value in want.items():
        assert getattr(op, name) == value, name


# --- checks on the packet and the flow -------------------------------------------------

CHECKS: list[tuple[str, dict[str, Any]]] = [
    ("ttl:5", {"data": Field.FIELD_TTL, "cmp": Compare.CMP_EQ, "a": 5}),
    ("ttl:!5", {"cmp": Compare.CMP_NE, "a": 5}),
    ("ttl:<5", {"cmp": Compare.CMP_LT, "a": 5}),
    ("ttl:<=5", {"cmp": Compare.CMP_LE, "a": 5}),
    ("ttl:>=5", {"cmp": Compare.CMP_GE, "a": 5}),
    ("ttl:5-9", {"cmp": Compare.CMP_BETWEEN, "a": 5, "b": 9}),
    ("ttl:!5-9", {"cmp": Compare.CMP_NOT_WITHIN, "a": 6, "b": 8}),
    ("tos:0x10", {"data": Field.FIELD_TOS, "a": 16}),
    ("id:65535", {"data": Field.FIELD_IP_ID, "a": 65535}),
    ("dsize: 10 <> 20", {"data": Field.FIELD_DSIZE, "cmp": Compare.CMP_BETWEEN, "a": 10, "b": 20}),
    ("dsize:>400", {"cmp": Compare.CMP_GT, "a": 400}),
    ("seq:4294967295", {"data": Field.FIELD_SEQ, "a": 4294967295}),
    ("tcp.seq:1", {"data": Field.FIELD_SEQ, "a": 1}),
    ("ack:7", {"data": Field.FIELD_ACK, "a": 7}),
    ("tcp.ack:7", {"data": Field.FIELD_ACK, "a": 7}),
    ("window:!55808", {"data": Field.FIELD_WINDOW, "cmp": Compare.CMP_NE, "a": 55808}),
    ("tcp.window:1", {"data": Field.FIELD_WINDOW, "a": 1}),
    ("tcp.mss:<536", {"data": Field.FIELD_MSS, "cmp": Compare.CMP_LT, "a": 536}),
    ("tcp.wscale:>10", {"data": Field.FIELD_TCP_WSCALE, "cmp": Compare.CMP_GT, "a": 10}),
    ("itype:8", {"data": Field.FIELD_ITYPE, "a": 8}),
    ("itype:7<>20", {"cmp": Compare.CMP_BETWEEN, "a": 7, "b": 20}),
    ("icode:>1", {"data": Field.FIELD_ICODE, "cmp": Compare.CMP_GT, "a": 1}),
    ('icmp_id:"300"', {"data": Field.FIELD_ICMP_ID, "a": 300}),
    ("icmp_seq:0", {"data": Field.FIELD_ICMP_SEQ, "a": 0}),
    ("fragoffset:>0", {"data": Field.FIELD_FRAGOFFSET, "cmp": Compare.CMP_GT, "a": 0}),
    ("vlan.layers:2", {"data": Field.FIELD_VLAN_LAYERS, "a": 2}),
    ("ip_proto:47", {"data": Field.FIELD_IP_PROTO, "cmp": Compare.CMP_EQ, "a": 47}),
    ("ip_proto:gre", {"data": Field.FIELD_IP_PROTO, "a": 47}),
    ("ip_proto:!TCP", {"cmp": Compare.CMP_NE, "a": 6}),
    ("ip_proto:>100", {"cmp": Compare.CMP_GT, "a": 100}),
    ("flags:SA", {"kind": OpKind.CHK_TCP_FLAGS, "cmp": FlagsCompare.FLAGS_EXACT, "a": 18, "b": 0}),
    ("flags:S,12", {"cmp": FlagsCompare.FLAGS_EXACT, "a": 2, "b": 192}),
    ("flags:S,CE", {"a": 2, "b": 192}),
    ("flags:+S", {"cmp": FlagsCompare.FLAGS_ALL, "a": 2}),
    ("flags:S+", {"cmp": FlagsCompare.FLAGS_ALL, "a": 2}),
    ("flags:*FPU", {"cmp": FlagsCompare.FLAGS_ANY, "a": 41}),
    ("tcp.flags:!A", {"cmp": FlagsCompare.FLAGS_NOT, "a": 16}),
    ("tcp.flags:0", {"cmp": FlagsCompare.FLAGS_EXACT, "a": 0}),
    ("fragbits:M", {"kind": OpKind.CHK_FRAGBITS, "cmp": FlagsCompare.FLAGS_EXACT, "a": 1}),
    ("fragbits:+DR", {"cmp": FlagsCompare.FLAGS_ALL, "a": 6}),
    ("fragbits:!D", {"cmp": FlagsCompare.FLAGS_NOT, "a": 2}),
    ("sameip", {"kind": OpKind.CHK_SAMEIP}),
    ("ipopts:lsrr", {"kind": OpKind.CHK_IPOPT, "data": 131}),
    ("tcpv4-csum:invalid", {"kind": OpKind.CHK_CSUM, "data": Csum.CSUM_TCPV4, "a": 0}),
    ("udpv6-csum:valid", {"data": Csum.CSUM_UDPV6, "a": 1}),
    ("ipv4-csum:valid", {"data": Csum.CSUM_IPV4, "a": 1}),
    ("icmpv4-csum:valid", {"data": Csum.CSUM_ICMPV4, "a": 1}),
    ("icmpv6-csum:valid", {"data": Csum.CSUM_ICMPV6, "a": 1}),
    ("tcpv6-csum:valid", {"data": Csum.CSUM_TCPV6, "a": 1}),
    ("udpv4-csum:valid", {"data": Csum.CSUM_UDPV4, "a": 1}),
    ("vlan.id:200", {"kind": OpKind.CHK_VLAN_ID, "data": VlanLayer.VLAN_ANY, "a": 200}),
    ("vlan.id:0x12C,1", {"data": 1, "a": 300}),
    ("vlan.id:!500,all", {"data": VlanLayer.VLAN_ALL, "cmp": Compare.CMP_NE, "a": 500}),
    ("vlan.id:400,-1", {"data": VlanLayer.VLAN_LAST}),
    ("vlan.id:400,-2", {"data": 251}),
    ("vlan.id:400,-3", {"data": 250}),
    ("decode-event:ipv4.opt_invalid_len",
     {"kind": OpKind.CHK_EVENT, "data": Event.EV_IPV4__OPT_INVALID_LEN}),
    ("engine-event:tcp.hlen_too_small", {"data": Event.EV_TCP__HLEN_TOO_SMALL}),
    ("stream-event:est_invalid_ack", {"data": Event.EV_STREAM__EST_INVALID_ACK}),
    ("flowbits:isset,a", {"kind": OpKind.CHK_FLOWBITS_ISSET, "names": ("a",)}),
    ("flowbits:isnotset,a|b", {"kind": OpKind.CHK_FLOWBITS_ISNOTSET, "names": ("a", "b")}),
    ("flowint:n,>=,10",
     {"kind": OpKind.CHK_FLOWINT, "cmp": Compare.CMP_GE, "a": 10, "names": ("n",)}),
    ("flowint: n , == , m", {"operand": "m", "flags": OpFlag.OPF_VAR_A}),
    ("flowint:n,isset", {"kind": OpKind.CHK_FLOWINT_ISSET, "flags": 0}),
    ("flowint:n,notset", {"kind": OpKind.CHK_FLOWINT_ISSET, "flags": OpFlag.OPF_NEGATED}),
    ("xbits:isset,x,track ip_pair", {"kind": OpKind.CHK_XBITS, "length": Track.TRACK_BOTH}),
    ("xbits:isnotset,x,track ip_dst", {"flags": OpFlag.OPF_NEGATED, "length": Track.TRACK_DST}),
    ("hostbits:isset,x", {"kind": OpKind.CHK_XBITS, "length": Track.TRACK_SRC}),
    ("hostbits:isset,x,dst", {"length": Track.TRACK_DST}),
    ("flow.age:>60", {"kind": OpKind.CHK_FLOW, "data": FlowField.FLOWF_AGE, "a": 60}),
    ("flow.pkts:toclient,=10", {"data": FlowField.FLOWF_PKTS_TC, "cmp": Compare.CMP_EQ, "a": 10}),
    ("flow.pkts:either,10", {"data": FlowField.FLOWF_PKTS_EITHER}),
    ("flow.pkts_toserver:3", {"data": FlowField.FLOWF_PKTS_TS}),
    ("flow.pkts_toclient:3", {"data": FlowField.FLOWF_PKTS_TC}),
    ("flow.bytes:toserver,<3000", {"data": FlowField.FLOWF_BYTES_TS, "cmp": Compare.CMP_LT}),
    ("flow.bytes_toserver:3", {"data": FlowField.FLOWF_BYTES_TS}),
    ("flow.bytes_toclient:>8000", {"data": FlowField.FLOWF_BYTES_TC}),
    ("stream_size:server,<,1111",
     {"kind": OpKind.CHK_STREAM_SIZE, "data": StreamSide.SIDE_SERVER, "cmp": Compare.CMP_LT,
      "a": 1111}),
    ("stream_size:both,!=,6", {"data": StreamSide.SIDE_BOTH, "cmp": Compare.CMP_NE}),
]  # fmt: skip


@pytest.mark.parametrize(("option", "want"), CHECKS, ids=[one[0] for one in CHECKS])
def test_checks(option: str, want: dict[str, Any]) -> None:
    (op,) = load(f"{option};").checks
    fields(op, **want)


POSTS: list[tuple[str, dict[str, Any]]] = [
    ("flowbits:set,a", {"kind": OpKind.POST_FLOWBITS_SET, "names": ("a",)}),
    ("flowbits: unset , a", {"kind": OpKind.POST_FLOWBITS_UNSET, "names": ("a",)}),
    ("flowbits:toggle,a", {"kind": OpKind.POST_FLOWBITS_TOGGLE}),
    ("flowint:n,+,1", {"kind": OpKind.POST_FLOWINT, "cmp": FlowIntOp.FLOWINT_ADD, "a": 1}),
    ("flowint:n,-,m", {"cmp": FlowIntOp.FLOWINT_SUB, "operand": "m"}),
    ("flowint:n,=,0", {"cmp": FlowIntOp.FLOWINT_SET, "a": 0}),
    ("xbits:set,x,track ip_src", {"kind": OpKind.POST_XBITS_SET, "a": 30}),
    ("xbits:set,x,track ip_dst, expire 21600", {"a": 21600, "length": Track.TRACK_DST}),
    ("xbits:unset,x,track ip_src", {"kind": OpKind.POST_XBITS_UNSET}),
    ("xbits:toggle,x,track ip_src", {"kind": OpKind.POST_XBITS_TOGGLE}),
    ("hostbits:set,x", {"kind": OpKind.POST_XBITS_SET, "a": 300, "length": Track.TRACK_SRC}),
]


@pytest.mark.parametrize(("option", "want"), POSTS, ids=[one[0] for one in POSTS])
def test_posts(option: str, want: dict[str, Any]) -> None:
    (op,) = load(f"{option};").posts
    fields(op, **want)


# --- ops on the payload ----------------------------------------------------------------

F = OpFlag
PAYLOAD: list[tuple[str, dict[str, Any]]] = [
    ('content:"abc"', {"kind": OpKind.OP_CONTENT, "text": b"abc"}),
    ('content:"a|0d 0A|b"', {"text": b"a\r\nb"}),
    ('content:"|de,ad|"', {"text": b"\xde\xad"}),
    (r'content:"\"\;\:\\"', {"text": b'";:\\'}),
    ('content:"é"', {"text": "é".encode()}),
    ('content:!"abc"', {"flags": F.OPF_NEGATED}),
    ('content: ! "abc"', {"flags": F.OPF_NEGATED}),
    ('content:"abc"; offset:4; depth:3', {"offset": 4, "depth": 3}),
    ('content:"abc"; distance:-2; within:10', {"distance": -2, "within": 10}),
    ('content:"abc"; startswith', {"offset": 0, "depth": 3}),
    ('content:"abcdef"; fast_pattern:2,3', {"chop": (2, 3)}),
    ("isdataat:10", {"kind": OpKind.OP_ISDATAAT, "a": 10, "flags": 0}),
    ("isdataat:!1,relative", {"flags": F.OPF_NEGATED | F.OPF_RELATIVE, "a": 1}),
    ("isdataat:5,rawbytes", {"flags": 0}),
    ('pcre:"/ab+c/iR"', {"kind": OpKind.OP_PCRE, "text": b"ab+c", "letters": "i",
                         "flags": F.OPF_RELATIVE}),
    ('pcre:!"/a/smx"', {"flags": F.OPF_NEGATED, "letters": "msx"}),
    (r'pcre:"/a\/b\;/O"', {"text": rb"a\/b\;", "letters": ""}),
    ("byte_test:4,>,1000,20", {"kind": OpKind.OP_BYTE_TEST, "nbytes": 4, "a": 1000, "offset": 20,
                               "cmp": Compare.CMP_GT, "flags": 0}),
    ("byte_test:1,!&,0x40,2,relative,little",
     {"cmp": Compare.CMP_AND, "flags": F.OPF_CMP_NEGATED | F.OPF_RELATIVE | F.OPF_LITTLE}),
    ("byte_test:1,!,5,0", {"cmp": Compare.CMP_EQ, "flags": F.OPF_CMP_NEGATED}),
    ("byte_test:2,^,1,0", {"cmp": Compare.CMP_OR}),
    ("byte_test:5,<=,9,0,string,dec", {"flags": F.OPF_STRING, "c": 10}),
    ("byte_test:5,=,9,-1,relative,string,hex", {"offset": -1, "c": 16}),
    ("byte_test:2,=,0x90a,0, bitmask 0xf8f8", {"mask": 0xF8F8, "flags": F.OPF_BITMASK}),
    ("byte_test:8,=,18446744073709551615,0", {"a": -1}),
    ("byte_jump:4,12", {"kind": OpKind.OP_BYTE_JUMP, "nbytes": 4, "offset": 12, "b": 1, "a": 0}),
    ("byte_jump:2,-4,relative,multiplier 3,align,post_offset -5",
     {"b": 3, "a": -5, "flags": F.OPF_RELATIVE | F.OPF_ALIGN}),
    ("byte_jump:1,0,from_end", {"flags": F.OPF_FROM_END}),
    ("byte_jump:1,0,from_beginning,little", {"flags": F.OPF_FROM_BEGINNING | F.OPF_LITTLE}),
    ("byte_jump:0,0,relative,post_offset 7", {"nbytes": 0, "a": 7}),
    ("byte_extract:2,0,len", {"kind": OpKind.OP_BYTE_EXTRACT, "nbytes": 2, "result": 0, "b": 1}),
    ("byte_extract:1,0,len,multiplier 4,align 4", {"b": 4, "c": 4, "flags": F.OPF_ALIGN}),
    ("byte_extract:3,0,len,string,oct", {"c": 8, "flags": F.OPF_STRING}),
    ("byte_math:bytes 2, offset 1, oper *, rvalue 8, result r",
     {"kind": OpKind.OP_BYTE_MATH, "cmp": MathOp.MATH_MUL, "a": 8, "nbytes": 2, "offset": 1}),
    ("byte_math:bytes 1,offset 0,oper <<,rvalue 2,result r,relative,endian little,bitmask 0xf0",
     {"cmp": MathOp.MATH_SHL, "mask": 0xF0,
      "flags": F.OPF_RELATIVE | F.OPF_LITTLE | F.OPF_BITMASK}),
    ("byte_math:bytes 4,offset 0,oper /,rvalue 3,result r,string dec",
     {"cmp": MathOp.MATH_DIV, "c": 10, "flags": F.OPF_STRING}),
]  # fmt: skip


@pytest.mark.parametrize(("options", "want"), PAYLOAD, ids=[one[0] for one in PAYLOAD])
def test_payload(options: str, want: dict[str, Any]) -> None:
    (op,) = load(f"{options};").payload
    op.flags &= ~F.OPF_FAST_PATTERN
    fields(op, **want)


@pytest.mark.parametrize(
    ("modifier", "flag"),
    [
        ("nocase", F.OPF_NOCASE),
        ("endswith", F.OPF_ENDSWITH),
        ("startswith", F.OPF_STARTSWITH | F.OPF_OFFSET | F.OPF_DEPTH),
        ("offset:1", F.OPF_OFFSET),
        ("depth:9", F.OPF_DEPTH),
        ("distance:1", F.OPF_DISTANCE),
        ("within:9", F.OPF_WITHIN),
        ("rawbytes", 0),
        ("fast_pattern", 0),
        ("prefilter", 0),
    ],
)
def test_modifiers_mark_the_last_content(modifier: str, flag: int) -> None:
    first, second = load(f'content:"abc"; content:"de"; {modifier};').payload
    assert second.flags & ~F.OPF_FAST_PATTERN == flag
    assert not first.flags & ~(F.OPF_FAST_PATTERN | F.OPF_NEXT_RELATIVE)


def test_relative_keywords_mark_what_they_depend_on() -> None:
    ops = load(
        'content:"abc"; byte_test:1,>,5,0; content:!"zz"; isdataat:4,relative; content:"x";'
    ).payload
    marked = [bool(op.flags & F.OPF_NEXT_RELATIVE) for op in ops]
    assert marked == [True, True, True, False, False]


def test_variables_stand_in_for_numbers() -> None:
    ops = load(
        'byte_extract:1,0,n; byte_math:bytes n,offset 0,oper +,rvalue n,result m; content:"abc"; '
        'offset:n; depth:m; content:"d"; distance:n; within:m; byte_test:1,=,m,n; '
        "byte_jump:n,m; isdataat:m;"
    ).payload
    assert ops[1].flags == F.OPF_VAR_NBYTES | F.OPF_VAR_A
    assert (ops[2].offset, ops[2].depth) == (0, 1)
    assert ops[2].has(F.OPF_VAR_OFFSET) and ops[2].has(F.OPF_VAR_DEPTH)
    assert ops[3].has(F.OPF_VAR_DISTANCE) and ops[3].has(F.OPF_VAR_WITHIN)
    assert ops[4].has(F.OPF_VAR_A) and ops[4].has(F.OPF_VAR_OFFSET)
    assert ops[5].has(F.OPF_VAR_NBYTES) and ops[6].has(F.OPF_VAR_A)


# --- sticky buffers, flow, and the rest ------------------------------------------------


@pytest.mark.parametrize(
    ("name", "buffer"),
    [
        ("ipv4.hdr", Buffer.BUF_IPV4_HDR),
        ("ipv6.hdr", Buffer.BUF_IPV6_HDR),
        ("tcp.hdr", Buffer.BUF_TCP_HDR),
        ("udp.hdr", Buffer.BUF_UDP_HDR),
        ("icmpv4.hdr", Buffer.BUF_ICMPV4_HDR),
        ("icmpv6.hdr", Buffer.BUF_ICMPV6_HDR),
    ],
)
def test_sticky_buffers(name: str, buffer: Buffer) -> None:
    rule = load(f'content:"p"; {name}; content:"abc"; bsize:>3; pkt_data; content:"q";')
    headers, payload = rule.buffers
    assert headers[0] == buffer
    assert [op.kind for op in headers[1]] == [OpKind.OP_CONTENT, OpKind.OP_BSIZE]
    assert [op.text for op in payload[1]] == [b"p", b"q"]
    assert rule.flags & RuleFlag.RF_REQUIRE_PACKET


@pytest.mark.parametrize(
    ("value", "flags"),
    [
        ("to_server", RuleFlag.RF_TO_SERVER | RuleFlag.RF_NEEDS_FLOW),
        ("from_client", RuleFlag.RF_TO_SERVER | RuleFlag.RF_NEEDS_FLOW),
        ("from_server,established",
         RuleFlag.RF_TO_CLIENT | RuleFlag.RF_ESTABLISHED | RuleFlag.RF_NEEDS_FLOW),
        ("TO_CLIENT", RuleFlag.RF_TO_CLIENT | RuleFlag.RF_NEEDS_FLOW),
        ("not_established", RuleFlag.RF_NOT_ESTABLISHED | RuleFlag.RF_NEEDS_FLOW),
        ("stateless", RuleFlag.RF_STATELESS),
        ("only_stream",
         RuleFlag.RF_ONLY_STREAM | RuleFlag.RF_NEEDS_FLOW | RuleFlag.RF_REQUIRE_STREAM),
        ("no_stream", RuleFlag.RF_NO_STREAM | RuleFlag.RF_NEEDS_FLOW | RuleFlag.RF_REQUIRE_PACKET),
        ("only_frag", RuleFlag.RF_ONLY_FRAG),
        ("no_frag", RuleFlag.RF_NO_FRAG),
    ],
)  # fmt: skip
def test_flow(value: str, flags: int) -> None:
    assert load(f"flow:{value};").flags == flags


def test_meta() -> None:
    rule = load(
        r'msg:"a\;\"b\" é"; gid:5; rev:7; classtype:trojan-activity; reference:url,x\;y; '
        "reference:cve,2021-1; metadata:a b c, d e; metadata:a f; target:src_ip;"
    )
    assert rule.msg == 'a;"b" é'
    assert (rule.gid, rule.sid, rule.rev, rule.priority) == (5, 1, 7, 1)
    assert (rule.classtype, rule.category) == (
        "trojan-activity",
        "A Network Trojan was detected",
    )
    assert rule.references == [("url", "x;y"), ("cve", "2021-1")]
    assert rule.metadata == {"a": ["b c", "f"], "d": ["e"]}
    assert rule.target == "src_ip"


@pytest.mark.parametrize(
    ("options", "priority"),
    [
        ("", 3),
        ("priority:9;", 9),
        ("priority:9; classtype:trojan-activity;", 9),
        ("classtype:trojan-activity; priority:9;", 9),
        ("classtype:misc-activity; classtype:trojan-activity;", 1),
        ("classtype:trojan-activity; classtype:misc-activity;", 1),
        ("classtype:never-heard-of;", 3),
    ],
)
def test_priority(options: str, priority: int) -> None:
    assert load(options).priority == priority


@pytest.mark.parametrize(
    ("action", "options", "silent"),
    [
        ("alert", "", False),
        ("alert", "noalert;", True),
        ("alert", "flowbits:noalert;", True),
        ("alert", "hostbits:noalert;", True),
        ("alert", "xbits:noalert;", True),
        ("alert", "alert;", False),
        ("drop", "noalert;", True),
        ("pass", "", True),
        ("pass", "alert;", False),
    ],
)
def test_noalert(action: str, options: str, silent: bool) -> None:
    rule = load(options, f"{action} ip any any -> any any")
    assert bool(rule.flags & RuleFlag.RF_NOALERT) is silent


@pytest.mark.parametrize(
    ("value", "want"),
    [
        ("threshold: type limit, track by_src, count 1, seconds 60",
         (ThresholdKind.THRESHOLD_LIMIT, Track.TRACK_SRC, 1, 60, 0)),
        ("threshold:type threshold,track by_dst,seconds 5,count 3",
         (ThresholdKind.THRESHOLD_THRESHOLD, Track.TRACK_DST, 3, 5, 0)),
        ("threshold:type both,track by_both,seconds 5,count 3",
         (ThresholdKind.THRESHOLD_BOTH, Track.TRACK_BOTH, 3, 5, 0)),
        ("threshold:type backoff, track by_flow, count 1, multiplier 10",
         (ThresholdKind.THRESHOLD_BACKOFF, Track.TRACK_FLOW, 1, 0, 10)),
        ("detection_filter:track by_rule, count 5, seconds 2",
         (ThresholdKind.THRESHOLD_DETECTION_FILTER, Track.TRACK_RULE, 5, 2, 0)),
    ],
)  # fmt: skip
def test_thresholds(value: str, want: tuple[int, ...]) -> None:
    one = load(f"{value};").threshold
    assert one is not None
    assert (one.kind, one.track, one.count, one.seconds, one.multiplier) == want


def test_bypass_and_tag() -> None:
    assert load("bypass;").flags & RuleFlag.RF_BYPASS
    for value in ("session", "session,5,packets", "host,9,packets,src", "host,60,seconds,dst"):
        assert load(f"tag:{value};").notes == ["tag is accepted and not acted on"]


@pytest.mark.parametrize(
    ("value", "loads"),
    [
        ("version >= 7", True),
        ("version >= 8.0.0", True),
        ("version >= 7 < 8", False),
        ("version >= 7.0.3 < 8 | >= 8.0.1", True),
        ("version >= 10", False),
        ("version < 8", False),
        ("feature ja4", False),
        ("keyword content", True),
        ("keyword nonsense", False),
        ("version >= 7, keyword content", True),
        ("something else", False),
    ],
)
def test_requires(value: str, loads: bool) -> None:
    # what follows is wrong: a rule for another engine may hold anything
    rest = "" if loads else "foo:bar; content:5;"
    rules = load_text(f"alert ip any any -> any any (requires: {value}; {rest} sid:1;)")
    assert rules.refused == []
    assert (len(rules.rules), len(rules.skipped)) == (int(loads), int(not loads))


PROTOCOLS = [
    ("ip", ProtoBit.PB_ANY, 0),
    ("IP", ProtoBit.PB_ANY, 0),
    ("ipv4", ProtoBit.PB_ANY, RuleFlag.RF_IPV4),
    ("ip6", ProtoBit.PB_ANY, RuleFlag.RF_IPV6),
    ("tcp", ProtoBit.PB_TCP, 0),
    ("tcp-pkt", ProtoBit.PB_TCP, RuleFlag.RF_REQUIRE_PACKET),
    ("tcp-stream", ProtoBit.PB_TCP, RuleFlag.RF_REQUIRE_STREAM),
    ("udp", ProtoBit.PB_UDP, 0),
    ("icmp", ProtoBit.PB_ICMP | ProtoBit.PB_ICMPV6, 0),
    ("icmpv4", ProtoBit.PB_ICMP, RuleFlag.RF_IPV4),
    ("icmpv6", ProtoBit.PB_ICMPV6, RuleFlag.RF_IPV6),
    ("sctp", ProtoBit.PB_SCTP, 0),
    ("pkthdr", ProtoBit.PB_ANY, RuleFlag.RF_PKTHDR),
]


@pytest.mark.parametrize(("name", "protos", "flags"), PROTOCOLS)
def test_protocols(name: str, protos: int, flags: int) -> None:
    rule = load("", f"alert {name} any any -> any any")
    assert (rule.protos, rule.flags) == (protos, flags)


def test_the_ip_version() -> None:
    assert load("l3_proto:ipv4;").flags == RuleFlag.RF_IPV4
    assert load("l3_proto:IP6;").flags == RuleFlag.RF_IPV6


def test_keywords_narrow_the_protocols() -> None:
    assert load("flags:S;").protos == ProtoBit.PB_TCP
    assert load("itype:8;").protos == ProtoBit.PB_ICMP | ProtoBit.PB_ICMPV6
    assert load("ip_proto:17;").protos == ProtoBit.PB_UDP
    assert load("ip_proto:!6;").protos == ProtoBit.PB_ANY & ~ProtoBit.PB_TCP


def test_every_event_has_a_name_and_a_type(root: Path) -> None:
    assert len(EVENTS) == Event.EV_COUNT
    stub = (root / "nsdata" / "path" / "events.pyi").read_text(encoding="utf-8")
    for name, number in Event.__members__.items():
        assert f"    {name} = {int(number)}\n" in stub
    for name in EVENTS:
        kind = "stream-event" if name.startswith("stream.") else "decode-event"
        load(f"{kind}:{name.removeprefix('stream.')};")


def test_every_keyword_is_in_a_table() -> None:
    """A keyword nobody tries is a keyword nobody knows."""
    text = (
        " ; ".join(
            [one[0] for one in CHECKS + POSTS + PAYLOAD]
            + ["nocase endswith distance within rawbytes fast_pattern prefilter depth offset"]
            + ["ipv4.hdr ipv6.hdr tcp.hdr udp.hdr icmpv4.hdr icmpv6.hdr pkt_data bsize flow"]
            + ["msg sid gid rev classtype reference metadata target priority noalert alert"]
            + ["threshold detection_filter bypass tag requires l3_proto"]
        )
        .replace(":", " ")
        .replace(";", " ")
    )
    assert sorted(set(KEYWORDS) - set(text.split())) == []
