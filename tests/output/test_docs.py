"""docs/eve.md and docs/summary.md: examples come from the writer, tables from the code.

After a change: `NSDATA_WRITE_DOCS=1 pytest tests/output/test_docs.py` writes them anew.
"""

import json
import os
import re
from pathlib import Path

import pytest

from nsdata.output.eve import format_records
from nsdata.output.events import (
    DROP_REASONS,
    EVENT_TYPES,
    EveWriter,
    pcap_tail,
    rule_fragment,
    stats_skeleton,
)
from nsdata.output.fields import POLICY_REASONS, TCP_STATES
from nsdata.output.summary import schema_markdown

from .test_eve import record

DOCS = Path(__file__).parents[2] / "docs"
START = 1369743207123456000
RULE = rule_fragment(
    1, 2013028, 3, "ET POLICY curl User-Agent Outbound", "Potential Corporate Privacy Violation",
    1, {"created_at": ["2011_06_14"]},
)  # fmt: skip
PACKET = {
    "ts_ns": START, "flow_id": 1805461738637437, "frame_no": 4, "src": "192.0.2.10",
    "dst": "198.51.100.7", "sport": 40312, "dport": 80, "has_eth": 1,
    "eth": bytes.fromhex("020000000002020000000001"), "linktype": 1,
}  # fmt: skip
FLOW = {
    "flow_src": "192.0.2.10", "flow_dst": "198.51.100.7", "flow_sport": 40312, "flow_dport": 80,
    "flow_first_ns": START - 40_000_000, "flow_packets": [3, 1], "flow_bytes": [284, 74],
}  # fmt: skip
PAYLOAD = b"GET / HTTP/1.1\r\nUser-Agent: curl/7.88.1\r\n\r\n"


def line(r, arena=b"", **options):
    return json.loads(format_records(r, arena, [RULE], **options))


def event(kind, *given):
    writer = EveWriter(None)
    getattr(writer, kind)(START, *given)
    return json.loads(writer.take())


def examples():
    """Name of the example in docs/eve.md -> the event."""
    plain = {"payload": False, "packet": False}
    tunnel = {
        **PACKET, "flags": "tunnel blocked verdict_drop reject_dst", "tunnel": 4, "layer": 1,
        "outer_version": 4, "outer_proto": 17, "outer_src": "203.0.113.1",
        "outer_dst": "203.0.113.2", "outer_sport": 51111, "outer_dport": 4789, "outer_depth": 1,
    }  # fmt: skip
    del tunnel["layer"]
    stats = {
        "uptime": 12, "decoder.pkts": 1000, "decoder.bytes": 640000, "detect.alert": 3,
        "detect.rules_loaded": 7500, "detect.rules_failed": 6060, "ips.accepted": 990,
        "ips.blocked": 10, "ips.drop_reason.rules": 2, "ips.drop_reason.flow_drop": 8,
    }  # fmt: skip
    transition = {
        "sequence": 1, "at_ns": START, "at_packet": 48213, "from": "normal", "to": "fallback",
        "outcome": "entered", "input": "drop ratio over threshold", "reason": "threshold error",
        "severity": "Critical",
        "cause": "More than 90 % of all packets received are dropped, from over-subscription or "
        "over-tuning.",
        "resolution": "Verify that the engine is no longer over-subscribed, then restore it to "
        "normal.",
        "trigger": "automatic",
        "evidence": {
            "window": {"start_ns": START - 5 * 10**9, "end_ns": START, "length_ns": 5 * 10**9},
            "counters": {"received": 20000, "inspected": 1480, "bypassed": 0, "blocked": 20,
                         "lost": 18500, "dropped": 18520},
            "ratio": 0.926, "threshold": 0.9, "minimum_packets": 200,
            "attribution": "over-subscription", "offered_pps": 4000.0, "served_pps": 300.0,
            "top_rules": [{"rule": 17, "packets": 20, "share": 0.00108}],
        },
    }  # fmt: skip
    ledger = {
        "received": {"packets": 10, "bytes": 6400},
        "inspected": {"packets": 6, "bytes": 4000, "reasons": {"inspected": 6}},
        "bypassed": {"packets": 2, "bytes": 1400, "reasons": {"fallback": 2}},
        "blocked": {"packets": 1, "bytes": 600, "reasons": {"rule_drop": 1}},
        "lost": {"packets": 1, "bytes": 400, "reasons": {"oversubscribed": 1}},
    }
    return {
        "alert": line(
            record(**PACKET, **FLOW, flags="stream", payload_len=len(PAYLOAD)), PAYLOAD,
            packet=False, tail=pcap_tail("office.pcap"),
        ),
        "alert in a tunnel": line(record(**tunnel, **FLOW), **plain),
        "drop": line(
            record(**PACKET, kind=1, why=8, rule=0xFFFFFFFF, ip_len=52, ttl=64, ip_id=4711,
                   seq=305419896, ack=1, window=501, tcp_flags=0x18),
        ),
        "flow": line(
            record(**{**PACKET, **FLOW}, kind=2, flow_last_ns=START, flow_state=3, flow_end=0,
                   tcp_flags=0x1B, tcp_flags_tc=0x1A, tcp_state=10, flow_alerts=1)
        ),
        "stats": event("stats", stats),
        "fallback": event("fallback", transition),
        "ledger": event("ledger", ledger),
    }  # fmt: skip


def with_examples(text):
    """`text` with the block after each `<!-- example: NAME -->` made by the writer."""
    made = examples()
    used = []

    def block(match):
        used.append(match[1])
        body = json.dumps(made[match[1]], indent=2, ensure_ascii=False)
        return f"<!-- example: {match[1]} -->\n```json\n{body}\n```"

    text = re.sub(r"<!-- example: (.+?) -->\n```json\n.*?\n```", block, text, flags=re.S)
    assert used == list(made), "docs/eve.md must show every example, in this order"
    return text


def check(name, expected):
    path = DOCS / name
    if os.environ.get("NSDATA_WRITE_DOCS"):
        path.write_text(expected, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == expected, (
        f"docs/{name} is out of date: run with NSDATA_WRITE_DOCS=1"
    )


def test_eve_examples_are_what_the_writer_writes():
    check("eve.md", with_examples((DOCS / "eve.md").read_text(encoding="utf-8")))


def test_summary_is_generated_from_the_model():
    check("summary.md", schema_markdown())


def members(value, path=""):
    """Every dotted member name in an event."""
    if isinstance(value, dict):
        for key, below in value.items():
            yield f"{path}{key}"
            yield from members(below, f"{path}{key}.")


def test_every_member_of_the_examples_is_described():
    text = (DOCS / "eve.md").read_text(encoding="utf-8")
    text = re.sub(r"```json.*?```", "", text, flags=re.S)
    named = set(re.findall(r"`([\w.-]+)`", text))
    free = ("stats.", "fallback.evidence.", "alert.metadata.", "ledger.")  # described in words
    for example, made in examples().items():
        for name in members(made):
            if not name.startswith(free):
                assert name in named, f"{example}: {name}"


@pytest.mark.parametrize("word", [*EVENT_TYPES, *POLICY_REASONS, *TCP_STATES, *stats_skeleton()])
def test_every_name_is_listed(word):
    assert f"`{word}`" in (DOCS / "eve.md").read_text(encoding="utf-8")


def test_every_policy_reason_has_a_counter():
    for reason in POLICY_REASONS[1:]:
        assert reason.replace(" ", "_") in DROP_REASONS
