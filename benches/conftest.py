"""Fixtures of the benchmarks, and the tables that close their output.

Nothing here or in a bench_*.py asserts a time: a benchmark measures, a person judges.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import corpus as corpora
import pytest
from rich.console import Console
from rich.table import Table

from nsdata import Engine, LoadedRules, Settings, build_engine
from nsdata.capture import Batch


@dataclass
class Figures:
    """What the benchmarks found, for the closing tables."""

    rates: list[tuple[str, float, int]] = field(default_factory=list)  # name, median s, packets
    ratios: list[tuple[str, list[float], float | None]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def rate(self, name: str, seconds: float, packets: int) -> dict[str, float]:
        """Keep a rate; what goes into pytest-benchmark's extra_info."""
        self.rates.append((name, seconds, packets))
        return {
            "packets": packets,
            "ns_per_packet": round(seconds / packets * 1e9, 1),
            "packets_per_s": round(packets / seconds),
        }

    def ratio(self, name: str, values: list[float], bar: float | None = None) -> dict[str, float]:
        """Keep a ratio measured several times; what goes into extra_info."""
        self.ratios.append((name, values, bar))
        median = statistics.median(values)
        return {
            "ratio": round(median, 3),
            "min": round(min(values), 3),
            "max": round(max(values), 3),
        }


FIGURES = Figures()
Measure = Callable[..., None]


@pytest.fixture(scope="session")
def figures() -> Figures:
    return FIGURES


@pytest.fixture(scope="session")
def corpus() -> corpora.Corpus:
    found = corpora.find()
    FIGURES.notes.append(f"{found.name}: {found.packets:,} packets")
    if found.capture == corpora.OFFICE:
        FIGURES.notes.append(
            "no shared captures: measured on the repository's own, which says little about bars"
        )
    return found


@pytest.fixture(scope="session")
def settings() -> Settings:
    return Settings()


@pytest.fixture(scope="session")
def loaded(corpus: corpora.Corpus, settings: Settings) -> LoadedRules:
    """The rules of the corpus, compiled once for all benchmarks."""
    rules = corpora.compiled(corpus.rules, settings)
    FIGURES.notes.append(f"{len(rules.ruleset.rules):,} rules of {corpus.rules.name} loaded")
    return rules


@pytest.fixture(scope="session")
def no_rules(settings: Settings) -> LoadedRules:
    return corpora.compiled(None, settings)


@pytest.fixture(scope="session")
def batches(corpus: corpora.Corpus) -> list[Batch]:
    """The capture in memory, so that a stage is measured without its reader."""
    return corpora.kept(corpus.capture)


@pytest.fixture
def measure(benchmark: Any, figures: Figures) -> Measure:
    """Time `run(*setup())` several rounds; keep ns/packet and packets/s of the median."""

    def go(
        name: str,
        run: Callable[..., Any],
        packets: int,
        *,
        setup: Callable[[], tuple[Any, ...]] = tuple,
        rounds: int = 5,
    ) -> None:
        benchmark.group = name.split(":")[0]
        benchmark.pedantic(run, setup=lambda: (setup(), {}), rounds=rounds, warmup_rounds=1)
        if benchmark.stats is not None:  # None with --benchmark-disable
            seconds = benchmark.stats.stats.median
            benchmark.extra_info.update(figures.rate(name, seconds, packets))

    return go


@pytest.fixture
def fresh(settings: Settings) -> Callable[..., Callable[[], tuple[Engine]]]:
    """A setup that builds a new engine for every round."""

    def of(rules: LoadedRules, **options: Any) -> Callable[[], tuple[Engine]]:
        return lambda: (build_engine(rules, settings, **options),)

    return of


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: Any) -> None:
    if not FIGURES.rates and not FIGURES.ratios:
        return
    console = Console(file=terminalreporter._tw._file, width=100, soft_wrap=False)
    console.print()
    if FIGURES.rates:
        table = Table(title="Rates (median of the rounds, one core)", title_justify="left")
        for column in ("what", "Mpackets/s", "ns/packet"):
            table.add_column(column, justify="left" if column == "what" else "right")
        for name, seconds, packets in FIGURES.rates:
            rate = packets / seconds / 1e6
            table.add_row(name, f"{rate:.3f}", f"{seconds / packets * 1e9:,.1f}")
        console.print(table)
    if FIGURES.ratios:
        table = Table(title="Ratios (measured in turn, in this run)", title_justify="left")
        for column in ("ratio", "median", "min – max", "bar"):
            table.add_column(column, justify="left" if column == "ratio" else "right")
        for name, values, bar in FIGURES.ratios:
            median = statistics.median(values)
            reached = "" if bar is None else f"≥ {bar:g} {'✓' if median >= bar else '✗'}"
            table.add_row(
                name, f"{median:,.3g}", f"{min(values):,.3g} – {max(values):,.3g}", reached
            )
        console.print(table)
    for note in FIGURES.notes:
        console.print(f"  {note}", highlight=False)
