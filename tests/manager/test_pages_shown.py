"""Figures, times and evidence in words."""

from typing import Any

import pytest

from nsdata.manager.models import SamplePoint, Samples
from nsdata.manager.pages.charts import draw
from nsdata.output import shown

S = 10**9
AT = 63_860 * S  # by an appliance's own clock


@pytest.mark.parametrize(
    ("key", "given", "said"),
    [
        ("ratio", 0.926, "92.6 %"),
        ("drop_threshold", 1, "100.0 %"),
        ("ratio", 3.5, "3.5"),
        ("length_ns", 5 * S, "5 s"),
        ("longest_ns", 50_951_862, "51 ms"),
        ("wait_ns", 900 * S, "15 min"),
        ("silence_ns", 0, "0 ns"),
        ("at_ns", AT, "then"),
        ("last_beat_ns", AT - S // 2, "500 ms before"),
        ("since_ns", AT + S, "1 s after"),
        ("at_ns", 1_369_743_202 * S, "2013-05-28 12:13:22 UTC"),
        ("at_ns", 1 << 80, f"{1 << 80} ns"),
        ("rss_bytes", 1536, "1.5 KiB"),
        ("offered_pps", 4000.0, "4 kpkt/s"),
        ("pid", 13595, "13595"),
        ("packets", 13595, "13,595"),
        ("score", float("nan"), "–"),
        ("holds", True, "yes"),
        ("why", None, "–"),
        ("note", "x" * 501, "x" * 500 + "…"),
    ],
)
def test_a_figure_has_its_unit(key: str, given: Any, said: str) -> None:
    assert shown.value(key, given, AT) == said


def test_a_time_of_an_unknown_clock_is_no_duration() -> None:
    assert shown.value("last_beat_ns", AT) == "at 17 h 44 min of its clock"
    assert shown.value("start_at_ns", AT + S, AT) == "1 s after"


def test_a_reading_has_its_unit() -> None:
    assert shown.reading(97.5, "°C") == "97.5 °C" and shown.reading(80, "°C", False) == "80"
    assert shown.reading(1 << 30, "bytes", False) == "1 GiB"
    assert shown.reading(0, "1: read-only") == "0 (1: read-only)"
    assert shown.reading(None, "bytes") == "–"


def test_evidence_is_bounded() -> None:
    deep: Any = "bottom"
    for _ in range(100):
        deep = [{"in": deep}]
    many = {f"k{i}": i for i in range(1000)}
    found = shown.facts({"deep": deep, "many": many, "list": list(range(1000)), "none": []}, AT)
    assert [one.label for one in found] == ["deep", "many", "list", "none"]
    assert "bottom" not in str(found) and "…" in str(found)
    assert len(found[1].facts) == 100 and found[3].text == "–"


def test_how_long_since() -> None:
    now = 10**18
    for seconds, said in ((0, "just now"), (5, "5 s ago"), (3700, "1 h 1 min ago"),
                          (90_000, "1 d 1 h ago")):  # fmt: skip
        assert shown.ago(now - seconds * S, now) == said
    assert shown.ago(None, now) == "never"


def test_charts_have_few_columns_and_true_sums() -> None:
    def point(at_s: int) -> SamplePoint:
        return SamplePoint(
            at_s=at_s,
            packets_per_second=100,
            bits_per_second=8e5,
            inspected=100,
            bypassed=0,
            blocked=0,
            lost=0,
            drop_ratio=0.25,
            health_score=None,
        )

    points = [point(at) for at in range(1000, 1600)]
    charts = draw(Samples(step_s=1, points=points), 0.9)
    assert len(charts) == 3
    for _, svg, _words in charts:
        assert 100 <= svg.count("<title>") <= 122
        assert len(svg) < 30_000
    assert "inspected 100 pkt/s" in charts[0][1] and "800 kbit/s" in charts[1][1]
    assert "25.0 %" in charts[2][1]
    packets, bits, ratio = (words for _, _, words in charts)
    assert packets.startswith("inspected: lately 100 pkt/s, at most 100 pkt/s at 00:16:40")
    assert "blocked" not in packets and bits.endswith("at most 800 kbit/s at 00:16:40")
    assert ratio.startswith("lately 25.0 %")
    gap = draw(Samples(step_s=1, points=[point(1000), point(1500)]), None)
    assert gap[0][1].count("<title>") == 2
    assert draw(Samples(step_s=60, points=[]), 0.9) == []
    assert len(draw(Samples(step_s=60, points=[point(1000)]), 0.9)) == 3
