"""What follows from a rule whole: its type, what it inspects, its fast pattern, its order."""

import pytest

from nsdata.path.rulebase import OpFlag, RuleFlag, RuleType
from nsdata.rules.groups import classes_of, directions_of
from nsdata.rules.ir import RuleIR
from nsdata.rules.ruleset import load_rules, load_text
from nsdata.rules.validate import required_size, strength

PACKET, STREAM = RuleFlag.RF_REQUIRE_PACKET, RuleFlag.RF_REQUIRE_STREAM


def load(text: str) -> RuleIR:
    rules = load_text(text)
    assert rules.refused == []
    return rules.rules[0]


TYPES = [
    ("alert ip any any -> any any (sid:1;)", RuleType.RULE_IPONLY, 0),
    ("drop tcp 1.2.3.4 any -> $HOME_NET any (sid:1;)", RuleType.RULE_IPONLY, 0),
    ("alert tcp any any -> 1.1.1.1 any (flowbits:set,x; sid:1;)", RuleType.RULE_IPONLY, 0),
    ("alert ip any any -> any any (threshold:type limit, track by_src, count 1, seconds 1; "
     "sid:1;)", RuleType.RULE_IPONLY, 0),
    ("drop ip !1.2.3.4 any -> any any (sid:1;)", RuleType.RULE_LIKE_IPONLY, 0),
    ("drop ip $EXTERNAL_NET any -> any any (sid:1;)", RuleType.RULE_LIKE_IPONLY, 0),
    ("drop tcp any any -> any 80 (sid:1;)", RuleType.RULE_IPONLY, 0),
    ("drop tcp any any -> any any (xbits:set,x,track ip_src; sid:1;)", RuleType.RULE_IPONLY, 0),
    ("drop tcp any any -> any any (xbits:isset,x,track ip_src; sid:1;)", RuleType.RULE_PACKET, 0),
    ("drop tcp any any -> any any (flowbits:unset,x; sid:1;)", RuleType.RULE_PACKET, 0),
    ("pass ip any any -> 1.1.1.1 [4433,8143] (ip_proto:6; sid:1;)", RuleType.RULE_IPONLY, PACKET),
    ("drop tcp any any -> any any (flow:to_server; sid:1;)", RuleType.RULE_PACKET, 0),
    ("alert tcp any any -> 1.1.1.1 any (flowbits:isset,x; sid:1;)", RuleType.RULE_PACKET, 0),
    ("alert tcp any any -> any any (flags:S; sid:1;)", RuleType.RULE_PACKET, PACKET),
    ("alert tcp-pkt any any -> any any (content:\"a\"; sid:1;)", RuleType.RULE_PACKET, PACKET),
    ("alert tcp any any -> any any (content:\"a\"; dsize:5; sid:1;)", RuleType.RULE_PACKET, PACKET),
    ("alert tcp any any -> any any (tcp.hdr; content:\"a\"; sid:1;)", RuleType.RULE_PACKET, PACKET),
    ("alert tcp any any -> any any (content:\"b\"; tcp.hdr; content:\"a\"; sid:1;)",
     RuleType.RULE_PACKET, PACKET),
    ("alert tcp any any -> any any (content:\"a\"; flow:no_stream; sid:1;)",
     RuleType.RULE_PACKET, PACKET),
    ("alert tcp any any -> any any (content:\"a\"; sid:1;)", RuleType.RULE_STREAM, STREAM),
    ("alert tcp any any -> any any (pcre:\"/a/\"; sid:1;)", RuleType.RULE_STREAM, STREAM),
    ("alert tcp-stream any any -> any any (content:\"a\"; offset:3; sid:1;)",
     RuleType.RULE_STREAM, STREAM),
    ("alert tcp any any -> any any (content:\"a\"; flow:only_stream; sid:1;)",
     RuleType.RULE_STREAM, STREAM),
    ("alert tcp any any -> any any (content:\"a\"; depth:3; sid:1;)",
     RuleType.RULE_PACKET_STREAM, PACKET | STREAM),
    ("alert tcp any any -> any any (content:\"a\"; startswith; sid:1;)",
     RuleType.RULE_PACKET_STREAM, PACKET | STREAM),
    ("alert tcp any any -> any any (content:\"a\"; stream_size:server,>,3; sid:1;)",
     RuleType.RULE_PACKET_STREAM, PACKET | STREAM),
    ("alert ip any any -> any any (content:\"a\"; sid:1;)", RuleType.RULE_STREAM, STREAM),
    ("alert udp any any -> any any (content:\"a\"; offset:3; sid:1;)",
     RuleType.RULE_PACKET_STREAM, 0),
    ("drop pkthdr any any -> any any (decode-event:ipv4.opt_invalid_len; sid:1;)",
     RuleType.RULE_EVENT, 0),
    ("drop tcp any any -> any any (flow:to_client; stream-event:3whs_ack_data_inject; sid:1;)",
     RuleType.RULE_EVENT, 0),
    ("alert tcp any any -> any any (stream-event:pkt_retransmission; flowint:n,>,1; sid:1;)",
     RuleType.RULE_PACKET, 0),
    ("alert pkthdr any any -> any any (sid:1;)", RuleType.RULE_PACKET, 0),
]  # fmt: skip


@pytest.mark.parametrize(("text", "kind", "inspects"), TYPES, ids=[one[0] for one in TYPES])
def test_types(text: str, kind: RuleType, inspects: int) -> None:
    rule = load(text)
    assert rule.type == kind
    assert rule.flags & (PACKET | STREAM) == inspects


PATTERNS = [
    ('content:"abc";', b"abc", False),
    ('content:"ABC"; nocase;', b"abc", True),
    ('content:"ab"; content:"abcd"; content:"abc";', b"abcd", False),
    ('content:"aaaaaa"; content:"abcde";', b"abcde", False),
    ('content:"|00 00 00 00|"; content:"xyz";', b"xyz", False),
    ('content:"abcdefgh"; content:"xy"; fast_pattern;', b"xy", False),
    ('content:"abcdefgh"; content:"xy"; fast_pattern:only;', b"xy", False),
    ('content:"abcdefgh"; fast_pattern:2,3; content:"xyzuvwabcdef";', b"cde", False),
    ('content:!"abcdefgh"; content:"xy";', b"xy", False),
    ('content:!"abcdefgh"; fast_pattern; content:"xy";', b"xy", False),
    ('content:"ab"; tcp.hdr; content:"abcdefgh";', b"ab", False),
    ('content:"ab"; tcp.hdr; content:"abcdefgh"; fast_pattern;', b"ab", False),
    (f'content:"{"a" * 300}";', b"a" * 255, False),
]


@pytest.mark.parametrize(("options", "data", "nocase"), PATTERNS, ids=[p[0] for p in PATTERNS])
def test_fast_patterns(options: str, data: bytes, nocase: bool) -> None:
    rule = load(f"alert tcp any any -> any any ({options} sid:1;)")
    assert rule.pattern is not None
    assert (rule.pattern.data, rule.pattern.nocase) == (data, nocase)
    assert sum(op.has(OpFlag.OPF_FAST_PATTERN) for op in rule.payload) >= 1


@pytest.mark.parametrize("options", ['content:!"abc";', 'pcre:"/a/";', "dsize:5;", ""])
def test_rules_without_a_fast_pattern(options: str) -> None:
    assert load(f"alert tcp any any -> any any ({options} sid:1;)").pattern is None


def test_strength_prefers_the_rare() -> None:
    assert strength(b"abc", False) < strength(b"abcd", False)
    assert strength(b"aaaa", False) < strength(b"abcd", False)
    assert strength(b"abcd", True) <= strength(b"ABCD", False)
    assert strength(b"\x00\x00\x00", False) < strength(b"\x90\x17\xe8", False)


def test_required_size_follows_the_chain() -> None:
    ops = load(
        'alert tcp any any -> any any (content:"abc"; offset:4; content:"de"; distance:2; '
        'pcre:"/x/R"; content:"fgh"; distance:1; content:"i"; sid:1;)'
    ).payload
    assert required_size(ops, 1000) == 4 + 3 + 2 + 2


def test_buffers_are_tried_in_an_order_that_knows_the_variables() -> None:
    rule = load(
        "alert tcp any any -> any any (byte_extract:1,0,n; tcp.hdr; byte_test:1,=,n,0; sid:1;)"
    )
    assert [int(buffer) for buffer, _ in rule.buffers] == [0, 3]


@pytest.mark.parametrize(
    ("header", "options", "classes", "directions"),
    [
        ("tcp", "", [0], (0, 1)),
        ("tcp", 'content:"a"; flow:to_server;', [1], (0,)),
        ("tcp", 'content:"a"; depth:1; flow:to_client;', [0, 1], (1,)),
        ("udp", 'content:"a";', [2], (0, 1)),
        ("icmp", "itype:8;", [3], (0, 1)),
        ("ip", "", [0, 2, 3], (0, 1)),
        ("ip", 'content:"a";', [1, 2, 3], (0, 1)),
        ("ip", 'content:"a"; dsize:1;', [0, 2, 3], (0, 1)),
    ],
)
def test_group_classes(
    header: str, options: str, classes: list[int], directions: tuple[int, ...]
) -> None:
    rule = load(f"alert {header} any any -> any any ({options} sid:1;)")
    assert [int(one) for one in classes_of(rule)] == classes
    assert directions_of(rule) == directions


# --- order, duplicates, files ----------------------------------------------------------

ORDER = """
alert tcp any any -> any any (sid:30;)
alert tcp any any -> any any (priority:1; sid:31;)
alert tcp any any -> any any (flowbits:isset,a; priority:1; sid:22;)
alert tcp any any -> any any (flowbits:isset,a; flowbits:set,b; sid:21;)
alert tcp any any -> any any (flowbits:set,a; priority:9; sid:20;)
alert tcp any any -> any any (flowint:a,>,1; sid:25;)
alert tcp any any -> any any (flowint:a,+,1; sid:24;)
alert tcp any any -> any any (xbits:isset,a,track ip_src; sid:28;)
alert tcp any any -> any any (xbits:set,a,track ip_src; sid:27;)
alert tcp any any -> any any (sid:29;)
reject tcp any any -> any any (sid:10;)
rejectboth tcp any any -> any any (sid:9;)
drop tcp any any -> any any (sid:5;)
pass tcp any any -> any any (sid:99;)
"""


def test_evaluation_order() -> None:
    order = [rule.sid for rule in load_text(ORDER).rules]
    assert order == [99, 5, 9, 10, 20, 21, 22, 24, 25, 27, 28, 31, 29, 30]


def test_the_action_order_is_a_setting() -> None:
    class Groups:
        address_groups = {"MINE": "1.2.3.4"}  # noqa: RUF012
        port_groups = {"WEB": "[80,8080]"}  # noqa: RUF012

    class Settings:
        vars = Groups()
        action_order = ("alert", "reject", "drop", "pass")

    text = "drop tcp $MINE any -> any $WEB (sid:1;)\nalert tcp any any -> any any (sid:2;)\n"
    rules = load_text(text, settings=Settings())
    assert [rule.sid for rule in rules.rules] == [2, 1]
    assert rules.rules[1].dport == ((80, 80), (8080, 8080))
    assert rules.rules[1].src.v4 == ((0x01020304, 0x01020304),)


def test_of_two_rules_with_one_sid_the_newer_counts() -> None:
    one = 'alert tcp any any -> any any (msg:"{}"; sid:{}; rev:{};)\n'
    rules = load_text(one.format("a", 1, 1) + one.format("b", 1, 2) + one.format("c", 1, 2)
                      + one.format("d", 2, 1))  # fmt: skip
    assert [(rule.sid, rule.msg) for rule in rules.rules] == [(1, "b"), (2, "d")]
    assert [rule.msg for rule in rules.replaced] == ["a"]
    (error,) = rules.refused
    assert (error.line, error.keyword) == (3, "sid")
    assert "<rules>:2 (rev 2)" in error.reason


def test_one_sid_with_two_gids_is_two_rules() -> None:
    text = "alert tcp any any -> any any (gid:{}; sid:1;)\n"
    assert len(load_text(text.format(1) + text.format(2)).rules) == 2


def test_refusals_are_counted_by_keyword(tmp_path) -> None:  # type: ignore[no-untyped-def]
    first, second = tmp_path / "a.rules", tmp_path / "b.rules"
    first.write_text("alert http any any -> any any (sid:1;)\nalert tcp x any -> any any (sid:2;)")
    second.write_text("# no\nalert http any any -> any any (sid:1;)\nalert tcp any\n")
    rules = load_rules([first, second])
    assert rules.refused_by_keyword == {"protocol:http": 2, "header": 1, "syntax": 1}
    assert [(e.path, e.line) for e in rules.refused] == [
        (str(first), 1), (str(first), 2), (str(second), 2), (str(second), 3),
    ]  # fmt: skip
    assert rules.comments == 1
    assert rules.paths == [str(first), str(second)]
