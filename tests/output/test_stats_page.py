"""Statistics of an appliance as tables: every figure is where it belongs."""

import re
from typing import Any

from rich.console import Console

from nsdata.fallback.exposure import Exposure, SegmentPolicy
from nsdata.fallback.ledger import Count
from nsdata.fallback.protection import Protection
from nsdata.fallback.tiers import Tiers
from nsdata.output.stats_page import stats_page

SECOND = 10**9
NOTHING = dict.fromkeys(
    ("permitted_packets", "permitted_bytes", "blocked_packets", "blocked_bytes"), 0
)


def told(**more: Any) -> dict[str, Any]:
    """What a box says that has just begun, and `more`."""
    tiers = Tiers()
    tiers.observe(0, [Count()] * 4)
    segments = Exposure({"default": SegmentPolicy()}).status()
    return {
        "name": "box", "now_ns": 5 * SECOND, "state": "normal", "reason": "no error", "share": 1.0,
        "tiers": tiers.as_dict(), "rules": [],
        "protection": {**Protection().status(), "suppressed_alerts": 0},
        "segments": {name: {**one, **NOTHING} for name, one in segments.items()},
        **more,
    }  # fmt: skip


def shown(**more: Any) -> str:
    console = Console(width=140, highlight=False, color_system=None)
    with console.capture() as captured:
        console.print(stats_page(told(**more)))
    return captured.get()


def row(text: str, first: str) -> list[str]:
    """The cells of a row."""
    (line,) = (line for line in text.splitlines() if re.match(rf"│ {first}\b", line))
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_a_box_that_has_just_begun() -> None:
    text = shown()
    assert text.startswith("box: normal (no error)\n")
    assert row(text, "1 bypass and fallback")[1:] == ["0", "0", "0.00", "0.00", "–"]
    assert "Alerts are written; 0 left out so far." in text
    assert row(text, "default") == ["default", "permit", "0 (0 bytes)", "0 (0 bytes)", "–"]
    assert "Disabled" not in text and "costly" not in text


def test_tiers_with_rates_watermarks_and_ratios() -> None:
    tiers = Tiers()
    tiers.observe(0, [Count()] * 4)
    counts = [Count(4000, 500_000), Count(3000, 400_000), Count(1500, 1), Count(30, 1)]
    tiers.observe(SECOND, counts)
    tiers.observe(2 * SECOND, counts)
    text = shown(tiers=tiers.as_dict())
    assert row(text, "1 bypass")[1:] == ["0", "4,000", "0.00", "4.00", "–"]
    tiers.observe(3 * SECOND, [Count(2 * n, 2 * b) for n, b in counts])
    text = shown(tiers=tiers.as_dict())
    assert row(text, "1 bypass")[1:] == ["4,000", "4,000", "4.00", "4.00", "0.750"]
    assert row(text, "4 TCP")[1:3] == ["30", "30"]


def test_what_is_suspended_disabled_and_blocked() -> None:
    rule = {"rule": 7, "share": 0.914, "work": 12_345_678, "checked": 1000, "verified": 900,
            "matches": 3, "disabled": True}  # fmt: skip
    protection = {"alerts_suspended_until_ns": 65 * SECOND, "suppressed_alerts": 1234,
                  "costly_rules": [{"rule": 7}, {"rule": 9}], "disabled_rules": [7]}  # fmt: skip
    dmz = {"action": "block", "used_bytes": 2048, "max_bytes": 1024, "used_ns": 1_500_000_000,
           "max_ns": 30 * SECOND, **NOTHING}  # fmt: skip
    dmz.update(blocked_packets=5, blocked_bytes=500)
    text = shown(rules=[rule], protection=protection, segments={"dmz": dmz}, share=0.01)
    assert "box: normal (no error), 1.00% of the flows are inspected" in text
    assert "Alerts are suspended for 60 s more; 1,234 left out so far." in text
    assert row(text, "7") == ["7", "91.4%", "12.3 ms", "1,000", "900", "3", "disabled"]
    assert "Named as costly: 7, 9" in text and "Disabled: 7" in text
    assert row(text, "dmz")[3:] == ["5 (500 bytes)", "2,048 of 1,024 bytes, 1.5 s of 30s"]
