"""The closing tables say what happened; the progress display is silent off a terminal."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from nsdata.output.console import (
    BLOCKS,
    DropPoint,
    ReplayProgress,
    duration,
    evidence_words,
    percent,
    print_summary,
    resample,
    scaled,
    sparkline,
    summary_text,
)
from nsdata.output.summary import Summary

SUMMARY = Summary.model_validate(
    {
        "packets": 184711, "bytes": 10**9, "received": 184711, "inspected": 100000,
        "bypassed": 60000, "blocked": 20000, "lost": 4711, "alerts": 77, "seconds": 0.5,
        "rules_loaded": 8000, "rules_refused": 5560, "state": "fallback",
        "reason": "threshold error",
        "drops": {"ratio": 0.13, "peak": 0.953, "peak_seconds": 31.2,
                  "attribution": "over-subscription"},
        "top_rules": [{"sid": 2013, "signature": "[bold]odd[/] \x1b[31mred", "alerts": 5}],
        "transitions": [{
            "at": "2013-05-28T12:13:27.123456+0000", "at_packet": 1234, "from": "normal",
            "to": "fallback", "outcome": "entered", "reason": "threshold error",
            "resolution": "Verify the load.",
            "evidence": {
                "counters": {"received": 1000, "dropped": 953, "blocked": 1, "lost": 952},
                "window": {"length_ns": 5 * 10**9}, "ratio": 0.953, "threshold": 0.9,
                "attribution": "over-subscription", "offered_pps": 2e5, "served_pps": 1e4,
                "top_rules": [{"rule": 3, "share": 0.5}],
            },
        }],
        "errors": [{"kind": "CaptureError", "message": "a.pcap: byte 12: truncated"}],
    }
)  # fmt: skip


def test_tables_say_what_happened():
    text = summary_text(SUMMARY, [DropPoint(i, i / 100) for i in range(100)])
    for words in (
        "184,711", "100,000  (54.1 %)", "2013", "369 kpkt/s, 16 Gbit/s",
        "8,000 loaded, 5,560 refused", "95.3 % at 31.2 s, over-subscription",
        "normal → FALLBACK  threshold error", "packet 1,234",
        "953 of 1,000 packets dropped in 5 s: 1 blocked by rules, 952 lost",
        "drop ratio 95.3 %, threshold 90.0 %; from over-subscription",
        "offered 200 kpkt/s, served 10 kpkt/s", "dropped most by rule 3 (50.0 %)",
        "Verify the load.", "ended in state FALLBACK: threshold error",
        "CaptureError: a.pcap: byte 12: truncated", "[bold]odd[/]", BLOCKS[-1],
    ):  # fmt: skip
        assert words in text, words
    assert "\x1b" not in text  # neither ours nor the rule's
    assert summary_text(SUMMARY) == summary_text(SUMMARY)


def test_empty_run_and_narrow_ascii_terminal():
    assert "ended in state normal" in summary_text(Summary())
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="replace")
    print_summary(SUMMARY, [DropPoint(0, 1.0)], Console(file=out, width=30))
    out.flush()
    assert b"#" in out.buffer.getvalue() or b"%" in out.buffer.getvalue()


@given(st.lists(st.floats(0, 1), max_size=300), st.integers(1, 80))
def test_resampling_keeps_the_peak(ratios, width):
    points = [DropPoint(i, r) for i, r in enumerate(ratios)]
    kept = resample(points, width)
    assert len(kept) == min(len(points), width)
    assert max((p.ratio for p in kept), default=0) == max(ratios, default=0)


def said(**given):
    """Console text, blanks folded."""
    return " ".join(summary_text(Summary.model_validate(given)).split())


def test_a_refusal_is_no_change_of_state():
    change = {"from": "fallback", "to": "fallback", "outcome": "refused",
              "input": "restore by hand", "reason": "threshold error"}  # fmt: skip
    text = said(transitions=[change])
    assert "restore refused, stays in FALLBACK threshold error" in text and "→" not in text
    text = said(transitions=[{**change, "from": "normal", "to": "normal", "reason": "no error"}])
    assert "restore refused, the engine was in normal state already" in text
    text = said(transitions=[{**change, "input": "fallback by hand"}])
    assert "fallback refused, the engine was in FALLBACK already" in text


def test_a_fallback_by_hand_is_called_that():
    change = {"from": "normal", "to": "fallback", "outcome": "entered", "reason": "no error",
              "resolution": "Normal: nothing to do. Fallback: restore to normal."}  # fmt: skip
    text = said(state="fallback", reason="no error", transitions=[change])
    assert "normal → FALLBACK by hand" in text and "ended in state FALLBACK: put there by h" in text
    assert "Restore to normal to resume" in text
    assert "nothing to do" not in text and "no error" not in text
    change = {"from": "fallback", "to": "normal", "outcome": "restored", "reason": "no error"}
    for origin, words in (("restore by hand", "by hand"), ("restore time reached",) * 2):
        assert f"FALLBACK → normal {words}" in said(transitions=[{**change, "input": origin}])


def test_the_peak_says_what_it_is_the_peak_of():
    assert "none: no window held ≥ 200 packets" in said(drops={"ratio": 0.5})
    drops = {"peak": 0.1, "peak_seconds": 3.0, "minimum_packets": 50}
    assert "10.0 % at 3 s, of windows with ≥ 50 packets" in said(drops={**drops, "ratio": 0.5})
    assert "windows" not in said(drops={**drops, "ratio": 0.05})


def test_hint_on_handshakes_only_where_they_are_why():
    blocked = {"received": 100, "inspected": 40, "blocked": 60}
    assert "51 packets were blocked because" in said(**blocked, midstream_blocked=51)
    assert "handshake" not in said(**blocked, midstream_blocked=30)
    few = {"received": 100, "inspected": 99, "blocked": 1, "midstream_blocked": 1}
    assert "handshake" not in said(**few)


def test_sparkline_colours():
    line = sparkline([DropPoint(0, 0.1), DropPoint(1, 0.95), DropPoint(2, 0.2, "fallback")], 0.9)
    assert [span.style for span in line.spans] == ["green", "bold red", "yellow"]
    assert line.plain == "▁█▂"
    line = sparkline([DropPoint(0, 0.95, judged=False)], 0.9)
    assert [span.style for span in line.spans] == ["green"]
    assert sparkline([DropPoint(0, 0.0), DropPoint(1, 1.0)], 0.9, ascii_only=True).plain == ".%"


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(0, "0.0 %"), (1e-6, "<0.1 %"), (0.9034, "90.3 %"), (0.99999, ">99.9 %"), (1, "100.0 %")],
)
def test_percent_is_honest_at_the_ends(ratio, text):
    assert percent(ratio) == text


def test_numbers():
    assert scaled(1_530_000, "pkt/s") == "1.53 Mpkt/s"
    assert scaled(12, "pkt/s") == "12 pkt/s"
    assert [duration(s) for s in (2e-6, 0.21, 5, 312, 7265)] == [
        "2 µs", "210 ms", "5 s", "5:12 min", "2:01:05",
    ]  # fmt: skip


def test_evidence_may_be_partial_or_odd():
    assert evidence_words({}) == []
    assert evidence_words({"ratio": 0.5}) == ["drop ratio 50.0 %"]
    none = {"counters": {"received": 9, "dropped": 0}, "top_rules": [{"rule": 1, "share": 0.0}]}
    assert not any("rule 1" in words for words in evidence_words(none))
    assert evidence_words({"counters": 3, "top_rules": "x", "ratio": None}) == []
    assert evidence_words({"permitted": {"packets": 1200}}) == [
        "1,200 packets permitted uninspected meanwhile"
    ]


def test_progress_is_silent_off_a_terminal_and_shows_state_on_one():
    quiet = io.StringIO()
    with ReplayProgress(100, Console(file=quiet)) as progress:
        progress.update(50, 1e6, 0.5, "fallback")
        progress.note("hello")
    assert quiet.getvalue() == ""
    loud = io.StringIO()
    with ReplayProgress(100, Console(file=loud, force_terminal=True, width=120)) as progress:
        progress.update(50, 1e6, 0.5, "fallback")
        progress.note("went into fallback")
    assert "FALLBACK" in loud.getvalue()
    assert "1 Mpkt/s" in loud.getvalue()
    assert "went into fallback" in loud.getvalue()
