"""The image against brute force: classes, groups, ops — nothing a rule needs gets lost."""

import bisect
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nsdata.path.rulebase import GroupKind, OpFlag, OpKind, RuleType
from nsdata.rules.classes import AddressClasses, PortClasses
from nsdata.rules.compile import Image, compile_rules
from nsdata.rules.groups import Candidate, Groups, classes_of, directions_of
from nsdata.rules.ruleset import load_text
from nsdata.rules.variables import ANY_PORT, ANY_V4, ANY_V6, AddressSet, Intervals, normalise

_port = st.integers(0, 65535)
_ports = st.lists(
    st.tuples(_port, _port).map(lambda p: (min(p), max(p))), min_size=1, max_size=4
).map(normalise)


def inside(intervals: Intervals, value: int) -> bool:
    return any(low <= value <= high for low, high in intervals)


def bit(row: np.ndarray, number: int) -> bool:  # type: ignore[type-arg]
    return bool(int(row[number >> 6]) >> (number & 63) & 1)


@given(st.lists(_ports, max_size=70), st.lists(_port, min_size=1, max_size=10))
@settings(max_examples=50)
def test_port_classes(sets: list[Intervals], probes: list[int]) -> None:
    sets = [ANY_PORT, *sets]
    classes = PortClasses(sets)
    edges = [edge for one in sets for pair in one for edge in pair]
    for port in probes + edges:
        number = int(classes.port_class[port])
        for index, one in enumerate(sets):
            assert bit(classes.bits[number], index) == inside(one, port)
            assert (number in classes.of_set[index]) == inside(one, port)


_v4 = st.lists(
    st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)).map(lambda p: (min(p), max(p))),
    max_size=3,
).map(lambda pairs: normalise(pairs) if pairs else ())
_v6 = st.lists(
    st.tuples(st.integers(0, 2**128 - 1), st.integers(0, 2**128 - 1)).map(
        lambda p: (min(p), max(p))
    ),
    max_size=3,
).map(lambda pairs: normalise(pairs) if pairs else ())


@given(st.lists(st.builds(AddressSet, _v4, _v6), max_size=70))
@settings(max_examples=50)
def test_address_classes(sets: list[AddressSet]) -> None:
    sets = [AddressSet(ANY_V4, ANY_V6), *sets]
    classes = AddressClasses(sets)
    assert classes.v4_starts[0] == 0 and not classes.v6_starts[0].any()
    v6_starts = [int.from_bytes(row.tobytes(), "big") for row in classes.v6_starts]
    families = (
        ([int(one) for one in classes.v4_starts], classes.v4_class, [one.v4 for one in sets], 32),
        (v6_starts, classes.v6_class, [one.v6 for one in sets], 128),
    )
    for starts, numbers, members, bits in families:
        assert starts == sorted(set(starts))
        edges = {0, 2**bits - 1} | {e for one in members for pair in one for e in pair}
        for value in edges | {min(e + 1, 2**bits - 1) for e in edges}:
            row = classes.bits[int(numbers[bisect.bisect_right(starts, value) - 1])]
            for index, one in enumerate(members):
                assert bit(row, index) == inside(one, value)


def reached(image: Image, group_class: int, direction: int, sport: int, dport: int) -> set[int]:
    """The image rules a packet of that class, direction and ports is compared with."""
    found: set[int] = set()
    of = image.group_of[group_class, direction]
    for kind, port in (
        (GroupKind.GROUP_ANY, int(image.port_class[dport])),
        (GroupKind.GROUP_DPORT, int(image.port_class[dport])),
        (GroupKind.GROUP_SPORT, int(image.port_class[sport])),
    ):
        number = int(of[kind, port])
        if number == 0xFFFF:
            continue
        group = image.groups[number]
        found.update(group.always, *(hits for _, _, hits in group.patterns))
    return found


def many_rules(seed: int, count: int) -> str:
    """Rules with all sorts of ports, directions and payloads."""
    rng = random.Random(seed)
    ports = ["any", "80", "[80,443]", "1024:", "!80", "$HTTP_PORTS", "[1:1000,!500]", "53"]
    lines = []
    for sid in range(1, count + 1):
        options = rng.choice(
            ["", 'content:"abc";', 'content:"abc"; depth:5;', "dsize:5;", 'pcre:"/x/";']
        )
        options += rng.choice(["", "flow:to_server;", "flow:to_client;", "flow:established;"])
        protocol = rng.choice(["tcp", "udp", "ip", "icmp", "tcp-pkt", "sctp"])
        arrow = rng.choice(["->", "->", "<>"])
        lines.append(
            f"alert {protocol} any {rng.choice(ports)} {arrow} any {rng.choice(ports)} "
            f"({options} sid:{sid};)"
        )
    return "\n".join(lines)


@pytest.mark.parametrize("seed", range(3))
def test_every_rule_is_reached_by_every_packet_it_could_match(seed: int) -> None:
    rules = load_text(many_rules(seed, 120))
    assert rules.refused == []
    image = rules.compile()
    rng = random.Random(seed)
    probes = [(rng.choice([80, 443, 53, 500, 1, 70, 40000]), rng.choice([80, 443, 500, 2000]))
              for _ in range(40)]  # fmt: skip
    for sport, dport in probes:
        for group_class in range(4):
            for direction in (0, 1):
                candidates = reached(image, group_class, direction, sport, dport)
                for index in range(len(image.rules)):
                    row = image.rules[index]
                    rule = rules.rules[row["number"]]
                    if rule.type == RuleType.RULE_IPONLY:
                        assert index in image.iponly
                        continue
                    ports = image.port_bits
                    could = (
                        group_class in [int(one) for one in classes_of(rule)]
                        and direction in directions_of(rule)
                        and bit(ports[image.port_class[sport]], int(row["sport_set"]))
                        and bit(ports[image.port_class[dport]], int(row["dport_set"]))
                    )
                    if could:
                        assert index in candidates
                    elif row["dport_set"] and not bit(
                        ports[image.port_class[dport]], int(row["dport_set"])
                    ):
                        assert index not in candidates


def test_too_many_entries_move_wide_rules_to_the_group_of_all_ports(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = "\n".join(
        f'alert tcp any any -> any {n} (content:"a{n}"; sid:{n};)\n'
        f'alert tcp any any -> any !{n} (content:"b{n}"; sid:{n + 1000};)'
        for n in range(1, 40)
    )
    rules = load_text(text)
    before = compile_rules(rules.rules)
    monkeypatch.setattr("nsdata.rules.groups.MAX_ENTRIES", 100)
    after = compile_rules(rules.rules)
    size = [sum(len(g.patterns) for g in image.groups) for image in (before, after)]
    assert size[1] < size[0]
    for port in (1, 39, 5000):
        want = {
            index
            for index in range(len(after.rules))
            if bit(after.port_bits[after.port_class[port]], int(after.rules["dport_set"][index]))
        }
        assert want <= reached(after, 1, 0, 1234, port)
        assert reached(before, 1, 0, 1234, port) == want


def test_a_rule_both_ways_is_two_image_rules() -> None:
    rules = load_text("alert tcp 1.1.1.1 any <> 2.2.2.2 80 (sid:1;)")
    image = rules.compile()
    first, second = image.rules
    assert first["number"] == second["number"] == 0
    assert (first["src_set"], first["dport_set"]) == (second["dst_set"], second["sport_set"])
    same = load_text("alert tcp 1.1.1.1 80 <> 1.1.1.1 80 (sid:1;)").compile()
    assert len(same.rules) == 1


def test_ops_are_laid_out_as_the_path_reads_them() -> None:
    rules = load_text(
        'alert tcp any any -> any any (content:"ABC"; nocase; pcre:"/x/i"; flags:S; '
        "flowbits:isset,a|b; flowbits:set,b; flowint:n,=,m; xbits:set,q,track ip_dst; "
        "threshold:type limit, track by_src, count 2, seconds 9; sid:7; gid:8; rev:9;)"
    )
    image = rules.compile()
    (rule,) = image.rules
    assert (rule["sid"], rule["gid"], rule["rev"], rule["priority"]) == (7, 8, 9, 3)
    checks = image.ops[rule["check_at"] :][: rule["n_checks"]]
    posts = image.ops[rule["post_at"] :][: rule["n_posts"]]
    (buffer,) = image.buffers[rule["buffer_at"] :][: rule["n_buffers"]]
    ops = image.ops[buffer["op_at"] :][: buffer["n_ops"]]
    assert [int(op["kind"]) for op in ops] == [OpKind.OP_CONTENT, OpKind.OP_PCRE]
    assert image.pool[ops[0]["data"] :][: ops[0]["length"]] == b"abc"
    assert ops[0]["flags"] & OpFlag.OPF_NOCASE
    assert image.pcres[ops[1]["data"]] == (b"x", "i")
    assert [int(op["kind"]) for op in checks] == [OpKind.CHK_TCP_FLAGS, OpKind.CHK_FLOWBITS_ISSET]
    names = [image.flowbits[n] for n in image.lists[checks[1]["data"] :][: checks[1]["length"]]]
    assert names == ["a", "b"]
    assert image.flowbits[image.lists[posts[0]["data"]]] == "b"
    assert (image.n_flowbits, image.n_flowints, image.n_xbits) == (2, 2, 1)
    assert posts[1]["a"] != posts[1]["data"]
    (threshold,) = image.thresholds
    assert (threshold["count"], threshold["seconds"], rule["threshold"]) == (2, 9, 1)


def test_special_candidates() -> None:
    image = load_text(
        "alert ip 1.1.1.1 any -> any any (sid:1;)\n"
        "alert pkthdr any any -> any any (decode-event:ipv4.trunc_pkt; sid:2;)\n"
        'alert tcp any any -> any any (decode-event:ipv4.trunc_pkt; content:"x"; sid:3;)\n'
    ).compile()
    assert [int(image.rules["sid"][n]) for n in image.iponly] == [1]
    assert [[int(image.rules["sid"][n]) for n in found] for found in image.events.values()] == [[2]]
    assert [int(image.rules["sid"][n]) for n in reached(image, 1, 0, 1, 1)] == [3]


def test_no_rules_make_an_image_as_well() -> None:
    base = load_text("").load()
    assert base.n_rules == 0


def test_images_load_and_differ_in_generation() -> None:
    rules = load_text(many_rules(5, 60))
    one, two = rules.load(), rules.load()
    assert one.n_rules >= 60
    assert one.generation != two.generation
    assert one.memory()["hyperscan"] > 0


def test_groups_without_candidates() -> None:
    groups = Groups([], [[]], 1)
    assert groups.specs == [] and (groups.group_of == 0xFFFF).all()
    assert Candidate.__slots__
