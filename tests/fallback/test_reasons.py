"""The reasons, and that docs/operations.md says what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest

from nsdata.config import settings as config
from nsdata.fallback import controller, reasons
from nsdata.fallback.reasons import ABOUT, FAULT_REASONS, Reason, Severity

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


def test_eight_reasons_each_described() -> None:
    assert len(Reason) == 8
    assert list(ABOUT) == list(Reason)
    assert all(about.cause and about.resolution for about in ABOUT.values())
    assert {r for r in Reason if r.about.severity is Severity.INFO} == {Reason.NO_ERROR}
    assert {r for r in Reason if r.about.severity is Severity.WARNING} == {Reason.UNKNOWN}
    assert len(FAULT_REASONS) == 6


def test_rank_is_total() -> None:
    assert sorted(r.rank for r in Reason) == list(range(8))
    assert Reason.FPGA.rank < Reason.THRESHOLD.rank < Reason.UNKNOWN.rank < Reason.NO_ERROR.rank


@pytest.mark.parametrize(
    "table",
    [
        reasons.markdown_table(),
        controller.markdown_table(),
        controller.mermaid_diagram(),
        config.settings_table(),
    ],
    ids=["reasons", "states", "diagram", "settings"],
)
def test_operations_holds_the_table(table: str) -> None:
    assert table.rstrip() in OPERATIONS.read_text(), "copy the table of the code into the document"
