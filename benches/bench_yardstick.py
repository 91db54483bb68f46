"""The replay beside a yardstick in C, in turn, so that a noisy machine hurts both alike.

The yardstick (shared/bench/yardstick.c) touches every frame (*walk*) and scans every frame for
all fast patterns of the rules with bare Hyperscan (*scan*). A ratio above 1 means that we do
more packets/s. Skips where the yardstick, its capture or a C compiler is not there.
"""

import re
import statistics
import subprocess
from pathlib import Path

import pytest
import runs
from bench_bypass import FALLBACK
from corpus import SHARED, Corpus

TURNS = 4
OURS = 3  # of each replay in a turn


@pytest.fixture(scope="module")
def yardstick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = SHARED / "bench" / "yardstick.c"
    if not source.is_file():
        pytest.skip(f"no yardstick at {source}; NSDATA_SHARED can name another place")
    program = tmp_path_factory.mktemp("yardstick") / "yardstick"
    command = ["gcc", "-O3", "-march=native", str(source), "-o", str(program), "-lhs"]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        pytest.skip(f"the yardstick cannot be compiled: {getattr(error, 'stderr', error)}")
    return program


def measured(program: Path, capture: Path) -> dict[str, list[float]]:
    """Packets/s of its three rounds of walk and scan."""
    command = [str(program), str(capture), str(SHARED / "bench" / "fast-patterns.txt")]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rates: dict[str, list[float]] = {"walk": [], "scan": []}
    for kind, rate in re.findall(r"^(walk|scan)\s+([\d.]+) Mpkt/s", text, re.M):
        rates[kind].append(float(rate) * 1e6)
    return rates


def test_against_yardstick(benchmark, figures, corpus: Corpus, loaded, yardstick: Path) -> None:
    ratios: dict[tuple[str, float | None], list[float]] = {}
    rates: dict[str, list[float]] = {}
    ways = {
        "whole replay, EVE alerts": ({"eve_types": ["alert"]}, "scan", 1.0),
        "whole replay, all EVE": ({}, "scan", 1.0),
        "bypass (whole replay in fallback)": ({"switches": [FALLBACK]}, "walk", 0.2),
    }

    def turn() -> None:
        theirs = measured(yardstick, corpus.capture)
        for kind, values in theirs.items():
            rates.setdefault(f"yardstick: {kind}", []).extend(values)
        for name, (options, kind, bar) in ways.items():
            seconds = [runs.whole_replay(corpus, loaded, **options) for _ in range(OURS)]
            for clock, which in (("summary.seconds", 0), ("wall", 1)):
                ours = corpus.packets / statistics.median(one[which] for one in seconds)
                key = (f"{name} / {kind}, by {clock}", bar)
                ratios.setdefault(key, []).append(ours / statistics.median(theirs[kind]))

    benchmark.group = "in turn"
    benchmark.pedantic(turn, rounds=TURNS)
    for (name, bar), values in ratios.items():
        benchmark.extra_info[name] = figures.ratio(name, values, bar)
    for name, values in rates.items():
        figures.rate(name, corpus.frames / statistics.median(values), corpus.frames)
