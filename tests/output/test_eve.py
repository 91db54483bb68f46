"""Lines from records: the texts, every field back again, any bytes valid JSON."""

import base64
import ipaddress
import json
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nsdata.errors import EngineError, SettingError
from nsdata.output.eve import EveFormatter, format_records, format_time, record_dtype
from nsdata.output.events import rule_fragment
from nsdata.output.fields import POLICY_REASONS, PROTOCOL_NAMES, TCP_STATES

DTYPE = record_dtype()
ALERT, DROP, FLOW = 0, 1, 2
NO_RULE = 0xFFFFFFFF
FLAG_NAMES = [
    "blocked", "tunnel", "stream", "pseudo", "rebuilt", "verdict_drop", "verdict_pass",
    "reject_src", "reject_dst", "established", "flow_drop", "flow_pass", "flow_bypass",
]  # fmt: skip
FLAGS = {name: 1 << bit for bit, name in enumerate(FLAG_NAMES)}
FRAGMENT = rule_fragment(1, 7, 2, "a rule", "Misc activity", 3)
FIXED_ROOM = 4096


def record(**values):
    """One record: an alert of rule 0 on a TCP packet to the server, but for `values`."""
    r = np.zeros(1, DTYPE)
    r["ip_version"], r["proto"], r["flow_id"], r["frame_no"] = 4, 6, 99, 5
    for name, value in values.items():
        if name == "flags":
            value = sum(FLAGS[flag] for flag in value.split())
        elif isinstance(value, str):
            raw = ipaddress.ip_address(value).packed
            value = list(raw) + [0] * (16 - len(raw))
        elif isinstance(value, bytes):
            value = list(value)
        r[name][0] = value
    return r


def several(*records):
    """Records in one array; np.concatenate would repack the dtype."""
    return np.frombuffer(b"".join(r.tobytes() for r in records), DTYPE)


def one(r, arena=b"", rules=(FRAGMENT,), **options):
    lines = format_records(r, arena, rules, **options).splitlines()
    assert len(lines) == 1
    return json.loads(lines[0])


def test_alert_has_the_fields_of_eve_in_order():
    event = one(
        record(
            ts_ns=1369743207123456999, src="10.0.0.1", dst="255.255.255.255", sport=1, dport=65535,
            flow_src="10.0.0.1", flow_dst="255.255.255.255", flow_sport=1, flow_dport=65535,
            flow_packets=[3, 2], flow_bytes=[300, 200], flow_first_ns=1369743200000000000,
            has_eth=1, eth=bytes(range(12)), n_vlan=2, vlan=[100, 4095, 0], linktype=1,
            payload_len=4, packet_off=4, packet_len=2,
        ),
        b"GET\xff\x01\x02",
    )  # fmt: skip
    assert event == {
        "timestamp": "2013-05-28T12:13:27.123456+0000",
        "flow_id": 99,
        "pcap_cnt": 5,
        "event_type": "alert",
        "vlan": [100, 4095],
        "src_ip": "10.0.0.1",
        "src_port": 1,
        "dest_ip": "255.255.255.255",
        "dest_port": 65535,
        "proto": "TCP",
        "ip_v": 4,
        "pkt_src": "wire/pcap",
        "ether": {"src_mac": "06:07:08:09:0a:0b", "dest_mac": "00:01:02:03:04:05"},
        "alert": {
            "action": "allowed",
            "gid": 1,
            "signature_id": 7,
            "rev": 2,
            "signature": "a rule",
            "category": "Misc activity",
            "severity": 3,
        },
        "direction": "to_server",
        "flow": {
            "pkts_toserver": 3,
            "pkts_toclient": 2,
            "bytes_toserver": 300,
            "bytes_toclient": 200,
            "start": "2013-05-28T12:13:20.000000+0000",
            "src_ip": "10.0.0.1",
            "src_port": 1,
            "dest_ip": "255.255.255.255",
            "dest_port": 65535,
        },
        "payload": "R0VU/w==",
        "payload_printable": "GET.",
        "stream": 0,
        "packet": "AQI=",
        "packet_info": {"linktype": 1, "linktype_name": "EN10MB"},
        "verdict": {"action": "alert"},
    }
    assert list(event)[:4] == ["timestamp", "flow_id", "pcap_cnt", "event_type"]


def test_ipv6_is_written_in_full():
    event = one(record(ip_version=6, src="fe80::1", dst="2001:db8:85a3::8a2e:370:7334"))
    assert event["src_ip"] == "fe80:0000:0000:0000:0000:0000:0000:0001"
    assert event["dest_ip"] == "2001:0db8:85a3:0000:0000:8a2e:0370:7334"
    assert event["ip_v"] == 6


@pytest.mark.parametrize(
    ("proto", "name"),
    [(6, "TCP"), (17, "UDP"), (1, "ICMP"), (58, "IPv6-ICMP"), (132, "SCTP"), (4, "IP-in-IP"),
     (41, "IPv6"), (47, "GRE"), (50, "ESP"), (89, "OSPF"), (103, "PIM"), (112, "VRRP"),
     (143, "Ethernet"), (144, "144"), (255, "255")],
)  # fmt: skip
def test_protocol_names(proto, name):
    event = one(record(proto=proto))
    assert event["proto"] == name
    assert ("src_port" in event) == (proto in (6, 17, 132))
    assert ("icmp_type" in event) == (proto in (1, 58))


def test_name_tables_are_complete():
    assert len(PROTOCOL_NAMES) == 256
    assert len(TCP_STATES) == len(POLICY_REASONS) == 11


@pytest.mark.parametrize(
    ("values", "source"),
    [
        ({}, "wire/pcap"),
        ({"flags": "pseudo", "tunnel": 1}, "stream (flow timeout)"),
        ({"flags": "rebuilt", "tunnel": 1}, "defrag"),
        ({"tunnel": 1}, "gre tunnel"),
        ({"tunnel": 6}, "gre tunnel"),
        ({"flags": "tunnel", "tunnel": 2, "outer_version": 4}, "ipv4 tunnel"),
        ({"flags": "tunnel", "tunnel": 3, "outer_version": 4}, "ipv4 tunnel"),  # 6in4
        ({"flags": "tunnel", "tunnel": 2, "outer_version": 6}, "ipv6 tunnel"),  # 4in6
        ({"flags": "tunnel", "tunnel": 3, "outer_version": 6}, "ipv6 tunnel"),
        ({"tunnel": 4}, "vxlan encapsulation"),
        ({"tunnel": 5}, "geneve encapsulation"),
        ({"tunnel": 7}, "teredo tunnel"),
    ],
)
def test_packet_source(values, source):
    assert one(record(**values))["pkt_src"] == source


def test_tunnel():
    event = one(
        record(
            flags="tunnel", tunnel=4, outer_version=4, outer_proto=17, outer_src="10.1.0.1",
            outer_dst="10.1.0.2", outer_sport=40000, outer_dport=4789, outer_depth=1,
        )
    )  # fmt: skip
    assert event["tunnel"] == {
        "src_ip": "10.1.0.1",
        "src_port": 40000,
        "dest_ip": "10.1.0.2",
        "dest_port": 4789,
        "proto": "UDP",
        "depth": 1,
        "pcap_cnt": 5,
        "pkt_src": "wire/pcap",
    }


@pytest.mark.parametrize(
    ("proto", "flags", "verdict"),
    [
        (6, "", {"action": "alert"}),
        (6, "verdict_drop", {"action": "drop"}),
        (6, "verdict_pass", {"action": "pass"}),
        (6, "verdict_drop verdict_pass", {"action": "drop"}),
        (6, "verdict_drop reject_dst",
         {"action": "drop", "reject-target": "to_server", "reject": ["tcp-reset"]}),
        (17, "reject_src",
         {"action": "alert", "reject-target": "to_client", "reject": ["icmp-prohib"]}),
        (1, "verdict_drop reject_src reject_dst",
         {"action": "drop", "reject-target": "both", "reject": ["icmp-prohib"]}),
        (47, "reject_src", {"action": "alert", "reject-target": "to_client", "reject": []}),
    ],
)  # fmt: skip
def test_verdict_is_that_of_the_packet(proto, flags, verdict):
    assert one(record(proto=proto, flags=flags))["verdict"] == verdict


def test_blocked_alert_and_alert_without_a_rule():
    assert one(record(flags="blocked"))["alert"]["action"] == "blocked"
    assert one(record(rule=NO_RULE))["alert"] == {"action": "allowed"}
    assert one(record(rule=1))["alert"] == {"action": "allowed"}


@pytest.mark.parametrize(
    ("why", "policy", "reason"),
    [(6, 0, "rules"), (7, 0, "rules"), (8, 0, "flow drop"), (9, 0, "bypass rule"),
     (10, 0, "exception policy"), (10, 1, "stream midstream"), (10, 2, "stream error"),
     (10, 7, "defrag memcap"), (10, 10, "exception policy flow drop"),
     (10, 200, "exception policy"), (11, 0, "over-subscription"), (0, 0, "unknown"),
     (250, 0, "unknown")],
)  # fmt: skip
def test_drop_reasons(why, policy, reason):
    event = one(record(kind=DROP, why=why, policy=policy, rule=NO_RULE))
    assert event["drop"]["reason"] == reason
    assert "alert" not in event
    assert event["verdict"] == {"action": "drop"}


def test_drop_has_the_headers():
    event = one(
        record(kind=DROP, why=6, ip_len=60, tos=8, ttl=64, ip_id=3, seq=4294967295, ack=2,
               window=512, tcp_flags=0x12, urgent=7)
    )  # fmt: skip
    assert event["event_type"] == "drop"
    assert event["drop"] == {
        "len": 60, "tos": 8, "ttl": 64, "ipid": 3, "tcpseq": 4294967295, "tcpack": 2,
        "tcpwin": 512, "syn": True, "ack": True, "psh": False, "rst": False, "urg": False,
        "fin": False, "tcpres": 0, "tcpurgp": 7, "reason": "rules",
    }  # fmt: skip
    assert event["alert"]["action"] == "blocked"
    assert event["direction"] == "to_server"
    six = one(record(kind=DROP, why=6, ip_version=6, proto=17, ip_len=60, ttl=3, udp_len=20))
    assert six["drop"] == {"len": 20, "tc": 0, "hoplimit": 3, "udplen": 20, "reason": "rules"}
    echo = one(record(kind=DROP, why=8, proto=1, icmp_id=1, icmp_seq=2, ip_len=20))
    assert (echo["drop"]["icmp_id"], echo["drop"]["icmp_seq"]) == (1, 2)


def test_flow_event():
    event = one(
        record(kind=FLOW, flow_src="10.0.0.1", flow_dst="10.0.0.2", flow_sport=1000, flow_dport=80,
               src="1.1.1.1", flow_first_ns=1_999_999_999, flow_last_ns=5_000_000_000,
               flow_packets=[2, 1], flow_bytes=[120, 60], flow_state=3, flow_end=1,
               flow_alerts=2, flags="flow_drop", tcp_flags=0x03, tcp_flags_tc=0x12, tcp_state=10)
    )  # fmt: skip
    assert event["event_type"] == "flow"
    assert (event["src_ip"], event["dest_port"]) == ("10.0.0.1", 80)
    assert event["flow"] == {
        "pkts_toserver": 2, "pkts_toclient": 1, "bytes_toserver": 120, "bytes_toclient": 60,
        "start": "1970-01-01T00:00:01.999999+0000", "end": "1970-01-01T00:00:05.000000+0000",
        "age": 4, "state": "closed", "reason": "shutdown", "alerted": True, "action": "drop",
    }  # fmt: skip
    assert event["tcp"] == {
        "tcp_flags": "13", "tcp_flags_ts": "03", "tcp_flags_tc": "12", "syn": True, "fin": True,
        "ack": True, "state": "closed",
    }  # fmt: skip
    assert "pcap_cnt" not in event
    assert "pkt_src" not in event


@pytest.mark.parametrize(
    ("values", "state", "reason", "action"),
    [
        ({"flow_state": 1, "flow_end": 0}, "new", "timeout", None),
        ({"flow_state": 2, "flow_end": 2, "flags": "flow_pass"}, "established", "forced", "pass"),
        ({"flow_state": 2, "flow_end": 3, "flags": "flow_bypass"}, "bypassed", "tcp_reuse", None),
    ],
)
def test_flow_states(values, state, reason, action):
    flow = one(record(kind=FLOW, **values))["flow"]
    assert (flow["state"], flow["reason"], flow.get("action")) == (state, reason, action)
    assert flow.get("bypass") == ("local" if state == "bypassed" else None)


@pytest.mark.parametrize(
    ("proto", "request_type", "response"),
    [(1, 8, 0), (1, 0, 8), (1, 13, 14), (1, 18, 17), (1, 3, 255), (58, 128, 129), (58, 1, 255)],
)
def test_icmp_flow_names_the_response(proto, request_type, response):
    both = record(kind=FLOW, proto=proto, icmp_type=request_type, flow_packets=[1, 1])
    assert one(both)["response_icmp_type"] == response
    lone = record(kind=FLOW, proto=proto, icmp_type=request_type, flow_packets=[1, 0])
    assert "response_icmp_type" not in one(lone)


def test_packet_without_ip_has_no_addresses():
    event = one(record(ip_version=0, proto=0, flow_id=0))
    assert not {"src_ip", "src_port", "proto", "ip_v", "flow", "direction"} & set(event)
    dropped = one(record(kind=DROP, ip_version=0, flow_id=0, why=9))
    assert dropped["drop"] == {"reason": "bypass rule"}


def test_selection_of_types_and_options():
    records = several(record(), record(kind=DROP, why=6), record(kind=FLOW))
    formatter = EveFormatter(["drop"])
    formatter.format_array(records)
    (line,) = formatter.take().splitlines()
    assert json.loads(line)["event_type"] == "drop"
    assert formatter.counts == {"alert": 0, "drop": 1, "flow": 0}
    assert formatter.take() == b""
    bare = one(record(has_eth=1), payload=False, packet=False, ethernet=False)
    assert not {"payload", "payload_printable", "stream", "packet", "packet_info", "ether"} & set(
        bare
    )
    with pytest.raises(SettingError, match="'stats'"):
        EveFormatter(["stats"])


def test_bytes_outside_the_arena_are_never_read():
    r = several(record(payload_off=2, payload_len=3), record(payload_len=4))
    formatter = EveFormatter(payload=True)
    with pytest.raises(EngineError, match="outside the arena"):
        formatter.format_array(r, b"abcd")
    first, second = map(json.loads, formatter.take().splitlines())
    assert (first["payload"], second["payload_printable"]) == ("", "abcd")
    for offset, length in [(0xFFFFFFFF, 0xFFFFFFFF), (5, 0), (0xFFFFFFFF, 1)]:
        with pytest.raises(EngineError):
            formatter.format_array(record(payload_off=offset, payload_len=length), b"abcd")
    with pytest.raises(EngineError, match="dtype"):
        formatter.format_array(np.zeros(1, np.uint8))


def test_rules_can_be_swapped():
    formatter = EveFormatter()
    for sid in (1, 2):
        formatter.set_rules([rule_fragment(1, sid, 0, "m", "", 3)])
        formatter.format_array(record())
    sids = [json.loads(line)["alert"]["signature_id"] for line in formatter.take().splitlines()]
    assert sids == [1, 2]
    with pytest.raises(TypeError):
        formatter.set_rules(["text"])
    formatter.format_array(record())
    assert json.loads(formatter.take())["alert"]["signature_id"] == 2


@given(st.integers(0, 2**64 - 1))
def test_time(ts_ns):
    seconds, rest = divmod(ts_ns, 10**9)
    when = datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1000)
    assert format_time(ts_ns) == when.strftime("%Y-%m-%dT%H:%M:%S.%f+0000")


@pytest.mark.parametrize(
    "day", ["2000-02-29", "2100-02-28", "2100-03-01", "1999-12-31", "2400-02-29"]
)
def test_time_of_leap_days(day):
    when = datetime.fromisoformat(day + "T23:59:59+00:00")
    assert format_time(int(when.timestamp()) * 10**9).startswith(day + "T23:59:59.000000")


EXTREMES = st.sampled_from([0, 1, 127, 128, 255])


@st.composite
def records_and_arena(draw):
    """Any bits in any record, its ranges kept inside the arena."""
    arena = draw(st.binary(max_size=64))
    size = DTYPE.itemsize
    raw = draw(st.one_of(st.binary(min_size=size, max_size=size), EXTREMES.map(bytes)))
    if len(raw) != size:
        raw = bytes([draw(EXTREMES)]) * size
    r = np.frombuffer(raw, DTYPE).copy()
    r["kind"] = draw(st.integers(0, 2))
    r["ip_version"] = draw(st.sampled_from([0, 4, 6]))
    r["proto"] = draw(st.sampled_from([1, 6, 17, 58, 132, 200]))
    r["rule"] = draw(st.sampled_from([0, 1, NO_RULE]))
    for name in ("payload", "packet"):
        offset = draw(st.integers(0, len(arena)))
        r[f"{name}_off"] = offset
        r[f"{name}_len"] = draw(st.integers(0, len(arena) - offset))
    return r, arena


def full(address, version):
    """An address as EVE has it."""
    ip = ipaddress.ip_address(bytes(address[:4] if version == 4 else address))
    return ip.exploded


@settings(max_examples=400)
@given(records_and_arena())
def test_any_record_is_valid_json_and_reads_back(case):
    r, arena = case
    lines = format_records(r, arena, [FRAGMENT], tail=b',"pcap_filename":"a"')
    assert lines == format_records(r, arena, [FRAGMENT], tail=b',"pcap_filename":"a"')
    assert lines.endswith(b"\n") and lines.count(b"\n") == 1
    assert lines.isascii()
    event = json.loads(lines, object_pairs_hook=no_duplicates)
    v = r[0]
    flow = v["kind"] == FLOW
    assert event["event_type"] == ("alert", "drop", "flow")[v["kind"]]
    assert event["timestamp"] == format_time(int(v["ts_ns"]))
    assert event.get("flow_id", 0) == v["flow_id"]
    assert event["pcap_filename"] == "a"
    if v["ip_version"]:
        src, dst = ("flow_src", "flow_dst") if flow else ("src", "dst")
        assert event["src_ip"] == full(v[src], v["ip_version"])
        assert event["dest_ip"] == full(v[dst], v["ip_version"])
        if v["proto"] in (6, 17, 132):
            assert event["src_port"] == v["flow_sport" if flow else "sport"]
            assert event["dest_port"] == v["flow_dport" if flow else "dport"]
    if v["n_vlan"]:
        assert event["vlan"] == v["vlan"][: v["n_vlan"]].tolist()
    if flow:
        assert event["flow"]["bytes_toclient"] == v["flow_bytes"][1]
        assert event["flow"]["age"] >= 0
    if v["kind"] == ALERT:
        payload = arena[v["payload_off"] : v["payload_off"] + v["payload_len"]]
        assert base64.b64decode(event["payload"], validate=True) == payload
        keep = [*range(32, 127), 10, 13]
        printable = "".join(chr(c) if c in keep else "." for c in payload)
        assert event["payload_printable"] == printable
        packet = arena[v["packet_off"] : v["packet_off"] + v["packet_len"]]
        assert base64.b64decode(event["packet"], validate=True) == packet


def no_duplicates(pairs):
    assert len({key for key, _ in pairs}) == len(pairs), pairs
    return dict(pairs)


def test_the_fixed_room_holds_the_longest_line():
    r = np.frombuffer(b"\xff" * DTYPE.itemsize, DTYPE).copy()
    r["payload_len"] = r["packet_len"] = 0
    r["payload_off"] = r["packet_off"] = 0
    r["rule"] = NO_RULE
    r["ip_version"] = r["outer_version"] = 6
    longest = 0
    for kind in (ALERT, DROP, FLOW):
        for proto in range(256):
            r["kind"], r["proto"], r["outer_proto"] = kind, proto, proto
            longest = max(longest, len(format_records(r)))
    assert longest < FIXED_ROOM // 2


def test_large_payloads_grow_the_buffer():
    arena = bytes(range(256)) * 1024
    r = np.repeat(record(payload_len=len(arena), packet_len=len(arena)), 3)
    for line in format_records(r, arena).splitlines():
        assert base64.b64decode(json.loads(line)["payload"]) == arena
