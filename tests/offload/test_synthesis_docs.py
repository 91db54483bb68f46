"""docs/fpga.md shows the kept figures of synthesis, and worse ones are told from noise."""

import json

import pytest

from sim.synth import figures

kept_figures = pytest.mark.skipif(
    not figures.FIGURES.exists(), reason="no figures are kept yet: make synth SYNTH_ARGS=--update"
)


@kept_figures
def test_docs_show_the_kept_figures() -> None:
    kept = json.loads(figures.FIGURES.read_text())
    assert figures.written(figures.DOCS.read_text()) == figures.table_text(kept).strip()


@pytest.mark.parametrize(
    ("name", "now", "worse"),
    [
        ("fmax_mhz", 160.0, False),
        ("fmax_mhz", 151.9, True),
        ("lut4", 1050, False),
        ("lut4", 1051, True),
        ("bram", 56, False),
        ("bram", 60, True),
    ],
)
def test_five_percent_is_the_limit(name: str, now: float, worse: bool) -> None:
    kept = {"ecp5-64": {"fmax_mhz": 160.0, "lut4": 1000.0, "bram": 56.0}}
    found = figures.compare(kept, {"ecp5-64": kept["ecp5-64"] | {name: now}})
    assert found == ([("ecp5-64", name)] if worse else [])


def test_a_kept_figure_that_was_not_measured_is_named() -> None:
    kept = {"ecp5-64": {"fmax_mhz": 160.0, "bram": 56.0, "fmax_mhz_seed3": 160.0}}
    assert figures.compare(kept, {"ecp5-64": {"fmax_mhz": 160.0}}) == [("ecp5-64", "bram")]
    assert figures.compare(kept, {"ultrascale-512": {"ff": 1.0}}) == []


@kept_figures
def test_the_bar_was_met_on_three_seeds() -> None:
    kept = json.loads(figures.FIGURES.read_text())["ecp5-64"]
    seeds = [value for name, value in kept.items() if "_seed" in name]
    assert len(seeds) == 3
    assert min(seeds) >= 156.25
