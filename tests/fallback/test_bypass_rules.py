from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsdata.bypass_table import RULE_DTYPE, to_array
from nsdata.config.settings import load_bypass_rules
from nsdata.errors import SettingError
from nsdata.fallback.bypass_rules import (
    MAX_BYPASS_RULES,
    RULE_BYTES,
    BypassRule,
    BypassRules,
    FrameFacts,
    matches,
    parse_bypass_rules,
)


def rule(**fields: Any) -> BypassRule:
    return BypassRule.model_validate({"id": 1, **fields})


def tcp(src: str, sport: int, dst: str, dport: int, **more: Any) -> FrameFacts:
    return FrameFacts(
        ethertype=0x0800,
        ip_version=4,
        protocol=6,
        src=ipaddress.ip_address(src).packed,
        dst=ipaddress.ip_address(dst).packed,
        src_port=sport,
        dst_port=dport,
        **more,
    )


WEB = tcp("10.1.2.3", 40000, "192.0.2.1", 443)
REPLY = tcp("192.0.2.1", 443, "10.1.2.3", 40000)
ARP = FrameFacts(ethertype=0x0806)


def test_layout_is_the_one_published() -> None:
    assert RULE_DTYPE.itemsize == RULE_BYTES == 64
    fields = RULE_DTYPE.fields
    assert fields is not None
    assert {name: fields[name][1] for name in ("ethertype", "proto", "vlan", "src", "dst")} == {
        "ethertype": 4,
        "proto": 6,
        "vlan": 20,
        "src": 24,
        "dst": 40,
    }
    for name, (kind, offset, *_) in fields.items():
        assert offset % kind.base.itemsize == 0, f"{name} is not aligned"


def test_array_holds_what_the_rule_says() -> None:
    rules = parse_bypass_rules(
        """
        [[rule]]
        id = 7
        name = "backup"
        action = "Block"
        ethertype = "ip"
        protocol = "tcp"
        src = "10.1.2.3/8"
        dst-port = "873-900"
        vlan = 12
        bidirectional = false
        [[rule]]
        id = 8
        enabled = false
        ethertype = 0x88cc
        [[rule]]
        id = 9
        dst = "2001:db8::1"
        """
    )
    first, second, third = to_array(rules)
    assert (first["enabled"], first["action"], first["ethertype_mode"]) == (1, 1, 1)
    assert (first["proto"], first["vlan"], first["bidirectional"], first["id"]) == (6, 12, 0, 7)
    assert (first["src_version"], first["src_prefix"]) == (4, 8)
    assert bytes(first["src"]) == bytes([10]) + bytes(15)
    assert first["dst_version"] == 0
    assert (first["dport_lo"], first["dport_hi"], first["ports"]) == (873, 900, 2)
    assert (second["enabled"], second["ethertype_mode"], second["ethertype"]) == (0, 3, 0x88CC)
    assert (second["proto"], second["vlan"], second["ports"]) == (-1, -1, 0)
    assert (third["dst_version"], third["dst_prefix"]) == (6, 128)
    assert bytes(third["dst"]) == ipaddress.ip_address("2001:db8::1").packed


@pytest.mark.parametrize(
    ("fields", "frame", "hit"),
    [
        ({}, WEB, True),
        ({}, ARP, True),
        ({"enabled": False}, WEB, False),
        ({"ethertype": "ip"}, WEB, True),
        ({"ethertype": "ip"}, ARP, False),
        ({"ethertype": "not-ip"}, ARP, True),
        ({"ethertype": "not-ip"}, WEB, False),
        ({"ethertype": "not-ip"}, FrameFacts(ip_version=6), False),
        ({"ethertype": "arp"}, ARP, True),
        ({"ethertype": "0x0806"}, WEB, False),
        ({"protocol": "tcp"}, WEB, True),
        ({"protocol": 17}, WEB, False),
        ({"protocol": 0}, ARP, False),
        ({"src": "10.0.0.0/8"}, WEB, True),
        ({"src": "10.0.0.0/8"}, REPLY, True),
        ({"src": "10.0.0.0/8", "bidirectional": False}, REPLY, False),
        ({"src": "10.1.2.2/31"}, WEB, True),
        ({"src": "10.1.2.4/31"}, WEB, False),
        ({"src": "0.0.0.0/0"}, WEB, True),
        ({"src": "::/0"}, WEB, False),
        ({"src": "0.0.0.0/0"}, ARP, False),
        ({"src": "10.0.0.0/8", "dst-port": 443}, REPLY, True),
        ({"src": "10.0.0.0/8", "src-port": 443}, WEB, False),
        ({"src": "10.0.0.0/8", "src-port": 443}, REPLY, False),
        ({"dst-port": "440-443"}, WEB, True),
        ({"dst-port": "444-500"}, WEB, False),
        ({"dst-port": "0-65535"}, FrameFacts(0x0800, 4, 6, bytes(4), bytes(4)), False),
        ({"dst-port": 0}, FrameFacts(0x0800, 4, 47, bytes(4), bytes(4), 0, 0), False),
        ({"vlan": 5}, WEB, False),
        ({"vlan": 5}, FrameFacts(0x0806, vlan=5), True),
    ],
)
def test_matches(fields: dict[str, Any], frame: FrameFacts, hit: bool) -> None:
    assert matches(rule(**fields), frame) is hit


addresses = st.integers(0, 2**32 - 1).map(lambda n: n.to_bytes(4))


@given(addresses, addresses, st.integers(0, 65535), st.integers(0, 65535), st.integers(0, 32))
def test_both_directions_of_a_conversation_match_alike(
    src: bytes, dst: bytes, sport: int, dport: int, prefix: int
) -> None:
    net = ipaddress.ip_network((src, prefix), strict=False)
    one = rule(src=str(net), **{"src-port": sport})
    there = FrameFacts(0x0800, 4, 17, src, dst, sport, dport)
    back = FrameFacts(0x0800, 4, 17, dst, src, dport, sport)
    assert matches(one, there) and matches(one, back)
    assert (ipaddress.ip_address(dst) in net and dport == sport) == matches(
        one.model_copy(update={"bidirectional": False}), back
    )


def test_first_match_decides_and_hits_are_reported() -> None:
    rules = BypassRules((rule(id=1, enabled=False), rule(id=2, ethertype="arp"), rule(id=3)))
    assert rules.first_match(ARP) == 1
    assert rules.first_match(WEB) == 2
    assert [entry["hits"] for entry in rules.hit_counts([0, 5, 7])] == [0, 5, 7]
    assert BypassRules().first_match(WEB) is None
    assert to_array(BypassRules()).shape == (0,)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[rule]]\nid = 1\nsource = "x"\n', "b.toml:3: unknown key 'source'; legal: id, name"),
        ('[[rule]]\nname = "x"\n', "b.toml:1: id: field required"),
        ("[[rule]]\nid = 1\n\n[[rule]]\nid = 1\n", "b.toml:5: id 1 is already used at b.toml:2"),
        ('[[rule]]\nid = 1\nsrc = "10.0.0/8"\n', "b.toml:3: src: '10.0.0/8' is not a CIDR"),
        ("[[rule]]\nid = 1\nvlan = 4095\n", "b.toml:3: vlan:"),
        ('[[rule]]\nid = 1\nprotocol = "http"\n', "b.toml:3: protocol: 'http' is not an IP"),
        ("[[rule]]\nid = 1\nprotocol = 256\n", "b.toml:3: protocol: 256 is outside 0..255"),
        ("[[rule]]\nid = 1\nethertype = 100\n", "b.toml:3: ethertype: 0x0064 is a length"),
        ('[[rule]]\nid = 1\ndst-port = "9-1"\n', "b.toml:3: dst-port: port range 9-1"),
        ('[[rule]]\nid = 1\nenabled = "yes"\n', "b.toml:3: enabled:"),
        ('[[rule]]\nid = 1\naction = "allow"\n', "b.toml:3: action: input should be 'bypass'"),
        (
            '[[rule]]\nid = 1\nethertype = "not-ip"\nsrc = "10.0.0.1"\n',
            "b.toml:1: ethertype not-ip can never match together with src",
        ),
        ('[[rule]]\nid = 1\nsrc = "10.0.0.1"\ndst = "::1"\n', "b.toml:1: src and dst are of"),
        ('[[rule]]\nid = 1\nprotocol = "icmp"\ndst-port = 1\n', "b.toml:1: ports need protocol"),
        ("[rule]\nid = 1\n", "b.toml:1: write each rule as a [[rule]] table"),
        ("rules = []\n", "b.toml:1: unknown key 'rules'"),
        ("\n[[rule]]\nid = = 1\n", "b.toml:3: not valid TOML"),
    ],
)
def test_faults_name_file_line_and_key(text: str, said: str) -> None:
    with pytest.raises(SettingError) as fault:
        parse_bypass_rules(text, "b.toml")
    assert str(fault.value).startswith(said)


def test_at_most_32() -> None:
    text = "".join(f"[[rule]]\nid = {n}\n" for n in range(1, MAX_BYPASS_RULES + 2))
    with pytest.raises(SettingError, match=r"b.toml:65: 33 inspection bypass rules; at most 32"):
        parse_bypass_rules(text, "b.toml")
    assert len(parse_bypass_rules(text.rsplit("[[rule]]", 1)[0])) == MAX_BYPASS_RULES
    with pytest.raises(SettingError, match="at most 32"):
        BypassRules(tuple(rule(id=n) for n in range(1, 34)))


@given(st.text(max_size=200))
def test_any_text_is_rules_or_a_setting_error(text: str) -> None:
    try:
        assert parse_bypass_rules(text).rules == ()
    except SettingError as fault:
        assert "<bypass rules>" in str(fault)


def test_load_from_a_file(tmp_path: Any) -> None:
    path = tmp_path / "bypass.toml"
    path.write_text("[[rule]]\nid = 3\n")
    rules = load_bypass_rules(path)
    assert rules.rules[0].id == 3
    assert rules.to_array()["id"].tolist() == [3]
    with pytest.raises(SettingError, match="cannot be read"):
        load_bypass_rules(tmp_path / "absent.toml")


def test_a_file_of_settings_is_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text("[stream]\nmidstream = true\n")
    with pytest.raises(SettingError, match=r"unknown key 'stream'.*--config"):
        load_bypass_rules(path)
    path.write_text("[[rules]]\nid = 1\n")
    with pytest.raises(SettingError, match=r"unknown key 'rules'.*\[\[rule\]\] tables$"):
        load_bypass_rules(path)
