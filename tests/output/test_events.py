"""Events from mappings, and the writer that puts all of them in one file."""

import json
from dataclasses import dataclass
from enum import Enum, StrEnum

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsdata.errors import OutputError, SettingError
from nsdata.output.eve import format_records, record_dtype
from nsdata.output.events import (
    EVENT_TYPES,
    EveWriter,
    dumps,
    fallback_members,
    pcap_tail,
    plain,
    rule_fragment,
    stats_members,
    stats_skeleton,
)

SECOND = 10**9


class Colour(Enum):
    RED = "red"


class Name(StrEnum):
    A = "a"


@dataclass
class Point:
    x: int
    y: float


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.binary(), inner),
    max_leaves=20,
)


@given(JSONISH)
def test_anything_becomes_strict_json(value):
    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    json.loads(dumps(value), parse_constant=refuse)


@given(st.text(st.characters(codec="utf-8")), st.integers(0, 2**32 - 1))
def test_rule_fragment_reads_back(msg, sid):
    raw = rule_fragment(1, sid, 2, msg, "c", 3, {"created_at": ["2020_01_01"]}, ["https://a"])
    alert = json.loads(b"{" + raw + b"}")
    assert (alert["signature"], alert["signature_id"]) == (msg, sid)
    assert alert["metadata"] == {"created_at": ["2020_01_01"]}
    assert alert["references"] == ["https://a"]
    bare = json.loads(b"{" + rule_fragment(1, sid, 2, msg, "", 3) + b"}")
    assert list(bare) == ["gid", "signature_id", "rev", "signature", "category", "severity"]
    r = np.zeros(1, record_dtype())
    assert json.loads(format_records(r, b"", [raw]))["alert"]["signature"] == msg


def test_bytes_of_a_rule_that_are_no_text():
    odd = b"caf\xe9".decode("utf-8", "surrogateescape")
    alert = json.loads(b"{" + rule_fragment(1, 1, 1, odd, "", 3) + b"}")
    assert alert["signature"] == "caf?"


def test_plain_values():
    assert plain(Point(np.int64(1), float("nan"))) == {"x": 1, "y": None}
    assert plain({Colour.RED: {3, 1, 2}, Name.A: np.arange(2)}) == {"red": [1, 2, 3], "a": [0, 1]}
    assert plain(b"a\xff") == "a\\xff"
    assert plain(np.float32("inf")) is None


def test_stats_lays_counters_over_the_skeleton():
    stats = stats_members(
        {
            "uptime": 3,
            "ips.drop_reason.rules": 2,
            "ips": {"blocked": 4, "drop_reason": {"stream midstream": 1, "over-subscription": 5}},
            "detect": {"alert": 9, "rules_loaded": 7, "rules_failed": 1},
            "decoder.event.ipv4.trunc_pkt": 1,
            "own.counter": 1,
        }
    )["stats"]
    assert stats["ips"]["drop_reason"]["rules"] == 2
    assert stats["ips"]["drop_reason"]["stream_midstream"] == 1
    assert stats["ips"]["drop_reason"]["over_subscription"] == 5
    assert stats["ips"]["accepted"] == 0
    assert stats["detect"]["engines"] == [
        {"id": 0, "rules_loaded": 7, "rules_failed": 1, "rules_skipped": 0}
    ]
    assert "rules_loaded" not in stats["detect"]
    assert stats["decoder"]["event"] == {"ipv4": {"trunc_pkt": 1}}
    assert stats["defrag"]["ipv4"] == {"fragments": 0, "reassembled": 0}
    assert stats["own"] == {"counter": 1}
    assert list(stats)[: len(stats_skeleton())] == list(stats_skeleton())
    assert stats_members({})["stats"]["ips"]["blocked"] == 0  # nothing is shared between calls


def test_fallback_of_a_transition():
    class Transition:
        def as_dict(self):
            return {
                "sequence": 1, "at_ns": 5, "at_packet": 12, "from": "normal", "to": "fallback",
                "reason": "threshold error", "severity": "Critical", "evidence": {"ratio": 0.95},
            }  # fmt: skip

    event = fallback_members(Transition())
    assert event == {
        "pcap_cnt": 12,
        "fallback": {
            "state": "fallback", "from": "normal", "reason": "threshold error",
            "severity": "Critical", "sequence": 1, "evidence": {"ratio": 0.95},
        },
    }  # fmt: skip
    assert next(iter(event["fallback"])) == "state"
    with pytest.raises(SettingError, match="needs a mapping"):
        fallback_members(3)


def test_writer_keeps_the_order_of_what_happened(tmp_path):
    path = tmp_path / "eve.json"
    with EveWriter(path, payload=True) as eve:
        eve.formatter.set_rules([rule_fragment(1, 1, 1, "m", "", 3)])
        eve.formatter.set_tail(pcap_tail('/captures/a "b".pcap'))
        eve.formatter.format_array(np.zeros(2, record_dtype()))
        eve.fallback(2 * SECOND, {"from": "normal", "to": "fallback"})
        eve.formatter.format_array(np.zeros(1, record_dtype()))
        eve.drain()
        eve.ledger(3 * SECOND, {"received": 3})
        eve.stats(3 * SECOND, {"uptime": 3})
        assert eve.counts == {
            "alert": 3, "drop": 0, "flow": 0, "stats": 1, "fallback": 1, "ledger": 1,
        }  # fmt: skip
    events = [json.loads(line) for line in path.read_text().splitlines()]
    assert [e["event_type"] for e in events] == [
        "alert", "alert", "fallback", "alert", "ledger", "stats",
    ]  # fmt: skip
    assert events[0]["pcap_filename"] == '/captures/a "b".pcap'
    assert events[2]["timestamp"] == "1970-01-01T00:00:02.000000+0000"
    assert events[4]["ledger"] == {"received": 3}


def test_writer_of_selected_types_and_without_a_file():
    eve = EveWriter(None, ["fallback"])
    eve.formatter.format_array(np.zeros(2, record_dtype()))
    eve.stats(0, {})
    eve.fallback(0, {"to": "fallback"})
    assert [json.loads(x)["event_type"] for x in eve.take().splitlines()] == ["fallback"]
    assert eve.take() == b""
    with pytest.raises(SettingError, match=r"'http'.*alert, drop, flow, stats, fallback, ledger"):
        EveWriter(None, ["http"])
    assert len(EVENT_TYPES) == 6


def test_a_failing_run_keeps_its_own_error():
    with pytest.raises(ZeroDivisionError) as caught, EveWriter("/dev/full") as eve:
        eve.ledger(0, {})
        raise ZeroDivisionError
    assert "No space left" in caught.value.__notes__[0]
    with pytest.raises(OutputError), EveWriter("/dev/full") as eve:
        eve.ledger(0, {})


def test_pcap_tail():
    assert pcap_tail(None) == b""
    assert json.loads(b'{"a":1' + pcap_tail(b"\xff.pcap") + b"}")["pcap_filename"] == "\\xff.pcap"


def test_what_the_guard_and_the_ledger_give_is_written_and_told():
    """The real transition of a run that passes the threshold: event, summary, words."""
    from nsdata.fallback.controller import Moment
    from nsdata.fallback.guard import Guard
    from nsdata.fallback.ledger import LedgerSnapshot, Why
    from nsdata.output.console import evidence_words
    from nsdata.output.summary import Summary

    guard = Guard.build()
    guard.start(Moment(0, 1))
    packets = [0] * len(Why)
    packets[Why.INSPECTED], packets[Why.OVERSUBSCRIBED] = 40, 960
    ledger = LedgerSnapshot.from_counts(1000, 64000, packets, [64 * n for n in packets])
    (transition,) = guard.evaluate(Moment(guard.next_evaluation_ns(), 1001, ledger))
    eve = EveWriter(None)
    eve.fallback(transition.at_ns, transition)
    eve.ledger(transition.at_ns, ledger)
    fallback, books = map(json.loads, eve.take().splitlines())
    assert fallback["fallback"]["state"] == "fallback"
    assert fallback["fallback"]["from"] == "normal"
    assert fallback["fallback"]["reason"] == "threshold error"
    assert fallback["fallback"]["evidence"]["ratio"] == 0.96
    assert fallback["pcap_cnt"] == 1001
    assert books["ledger"]["lost"]["packets"] == 960
    summary = Summary.model_validate({"transitions": [transition.as_dict()]})
    words = evidence_words(summary.transitions[0].evidence)
    assert "960 of 1,000 packets dropped" in words[0]
    assert words[1] == "drop ratio 96.0 %, threshold 90.0 %; from over-subscription"
